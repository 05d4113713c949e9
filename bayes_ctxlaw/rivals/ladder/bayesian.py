"""The posterior of a hierarchical task ladder, and scores drawn from it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.likelihoods import edge_and_inverse, noise_sd
from bayes_ctxlaw.predict import BREAKS
from bayes_ctxlaw.rivals.ladder.curves import sigmoid
from bayes_ctxlaw.rivals.ladder.graph import (
    FORMS,
    Form,
    References,
    build_graph,
    graph_data,
    scatter_of_losses,
)
from bayes_ctxlaw.rivals.ladder.runs import Place, Runs

TARGET_ACCEPT = 0.95

BREAK = BREAKS["x"]
"""A law of scores that holds within the runs need not hold beyond them: sd of the log of what an
exponent of a direct law changes by at their edges, as for compute in the context law."""

_RATIOS = ("log_ratio_n", "log_ratio_d", "log_ratio_c")


@dataclass(frozen=True)
class BayesianFit:
    """Draws of a posterior, one axis of draws for all chains.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` and ``sample_stats``.
    variant : str
    references : References
    tasks, llms : sequence of str
    """

    idata: xr.DataTree
    variant: str
    references: References
    tasks: Sequence[str]
    llms: Sequence[str]

    def __post_init__(self) -> None:
        posterior = self.idata["posterior"].to_dataset().transpose("chain", "draw", ...)
        flat = {name: v.values.reshape(-1, *v.shape[2:]) for name, v in posterior.data_vars.items()}
        object.__setattr__(self, "_flat", flat)

    @property
    def shape(self) -> tuple[int, int]:
        """Chains and draws per chain."""
        sizes = self.idata["posterior"].sizes
        return sizes["chain"], sizes["draw"]

    def means(self) -> dict[str, dict[str, float]]:
        """Posterior means of the parameters of every task, by task and name."""
        _, by_compute, direct = FORMS[self.variant]
        found = {}
        for task in self.tasks:
            own = self._of_task(task)
            values = {"alpha": np.exp(own["log_alpha"])}
            if not by_compute:
                values["beta"] = np.exp(own["log_beta"])
            values["floor"] = own["floor"]
            if direct:
                values["E"] = np.exp(own["log_deficit"]) * sigmoid(own["logit_limit"])
            else:
                terms = [np.exp(own[n]) for n in own if n in _RATIOS]
                level = self.references.log_loss[task] + own["log_loss"]
                values |= {"E": np.exp(level) / (1.0 + sum(terms))}
                values["power"] = own["power"]
            found[task] = {name: float(v.mean()) for name, v in values.items()}
        return found

    def draws(
        self,
        task: str,
        at: Place,
        rows: np.ndarray,
        llms: np.ndarray,
        items: np.ndarray,
        kind: str,
        seed: int,
    ) -> np.ndarray:
        """Scores of rows as if they were of a task: (draw, row).

        Parameters
        ----------
        task : str
            One that was fitted.
        at : Place
        rows : ndarray of bool
        llms : ndarray (row,)
            Labels of runs; one that was not fitted has an effect of its own.
        items : ndarray (row,)
            Items of the evaluation; blank for unknown.
        kind : str
            As in ``predict``.
        seed : int
        """
        own = self._of_task(task)
        share = self._share(own, dict(zip("ndc", at.rows(rows), strict=True)), task, seed)
        effect = np.zeros_like(share)
        if kind != "law":
            effect = np.stack([self._run_effect(name, seed) for name in llms], axis=1)
        rng = np.random.default_rng([seed, 11, zlib.crc32(task.encode())])
        direct = FORMS[self.variant][2]
        if direct:
            stays = sigmoid(own["logit_limit"])
            falls = (1.0 - stays) * np.exp(np.minimum(share + effect, 50.0))
            reached = np.exp(-np.exp(own["log_deficit"]) * (falls + stays))
            score = own["floor"] + (1.0 - own["floor"]) * reached
            edge = np.full_like(score, self.references.highest[task])
        else:
            z = own["log_loss"] + share + effect
            if kind != "law":
                scatter = scatter_of_losses(own["log_loss_scatter"])
                z = z + scatter * np.stack(
                    [self._unit(f"{task}|{name}", seed, t=True) for name in llms], axis=1
                )
            score = _score_of_loss(own, z)
            edge = _score_of_loss(own, np.full_like(z, self.references.lowest[task]))
        # A floor below chance may lie below 0 where chance does not lie far above it.
        score, edge = np.clip(score, 0.0, 1.0), np.clip(edge, 0.0, 1.0)
        if kind == "law":
            return score
        return self._scattered(own, score, edge, items, kind, rng)

    def _scattered(
        self,
        own: dict[str, np.ndarray],
        score: np.ndarray,
        edge: np.ndarray,
        items: np.ndarray,
        kind: str,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """With what a run and, for a response, a single evaluation adds."""
        share = own.get("run_scatter", np.zeros((1, 1))) ** 2
        if kind == "response":
            share = share + own["checkpoint_scatter"] ** 2
        half_item, inverse = edge_and_inverse("normal", items)
        variance = share * noise_sd(score, 0.0, half_item, inverse) ** 2
        if kind == "response":
            # All models answer the same items, and the curve holds their luck. What a score gains
            # beyond the data comes from items that no run of the fit could answer: theirs is new.
            gained = np.clip(score - edge, 0.0, 1.0)
            variance = variance + gained * (1.0 - gained) * inverse
        noise = np.sqrt(variance) * rng.standard_normal(score.shape)
        return np.clip(score + noise, 0.0, 1.0)

    def _of_task(self, task: str) -> dict[str, np.ndarray]:
        """Draws of all parameters of a task, and of those that tasks share: (draw, 1)."""
        number = list(self.tasks).index(task)
        dims = self.idata["posterior"]
        return {
            name: (values[:, number] if "task" in dims[name].dims else values)[:, None]
            for name, values in self._flat.items()
            if "llm" not in dims[name].dims
        }

    def _share(
        self, own: dict[str, np.ndarray], log_size: dict[str, np.ndarray], task: str, seed: int
    ) -> np.ndarray:
        """Log of the law over its value at the references: (draw, row)."""
        _, by_compute, direct = FORMS[self.variant]
        x = {
            axis: self._broken(axis, log_size[axis] - self.references.log_size[axis], task, seed)
            for axis in ("c" if by_compute else "nd")
        }
        alpha = np.exp(own["log_alpha"])
        if by_compute and direct:
            return -alpha * x["c"]
        if by_compute:
            log_terms = [own["log_ratio_c"] - alpha * x["c"]]
            at_reference = [own["log_ratio_c"]]
        else:
            first = np.zeros_like(alpha) if direct else own["log_ratio_n"]
            beta = np.exp(own["log_beta"])
            log_terms = [first - alpha * x["n"], own["log_ratio_d"] - beta * x["d"]]
            at_reference = [first, own["log_ratio_d"]]
        if not direct:
            log_terms.append(np.zeros_like(alpha))
            at_reference.append(np.zeros_like(alpha))
        return np.logaddexp.reduce(np.broadcast_arrays(*log_terms)) - np.logaddexp.reduce(
            at_reference
        )

    def _broken(self, axis: str, x: np.ndarray, task: str, seed: int) -> np.ndarray:
        """Place on an axis, if the exponents of a direct law break at the edges of its data."""
        if not FORMS[self.variant][2]:
            return x
        inside = np.clip(x, *self.references.edges[axis])
        sides = np.where(
            x > inside, *(self._unit(f"{axis}|{s}|{task}", seed)[:, None] for s in "+-")
        )
        return inside + np.exp(BREAK * sides) * (x - inside)

    def _run_effect(self, llm: str, seed: int) -> np.ndarray:
        if llm in self.llms:
            return self._flat["run_effect"][:, list(self.llms).index(llm)]
        return self._flat["run_scale"] * self._unit(llm, seed)

    def _unit(self, label: str, seed: int, t: bool = False) -> np.ndarray:
        """Standard draws that belong to a label: the same in all rows that have it."""
        rng = np.random.default_rng([seed, 12, zlib.crc32(label.encode())])
        size = len(self._flat["run_scale"])
        return rng.standard_t(4, size) if t else rng.standard_normal(size)


def _score_of_loss(own: dict[str, np.ndarray], z: np.ndarray) -> np.ndarray:
    power = own["power"]
    rise = np.expm1(power * z) / power
    return own["floor"] + (1.0 - own["floor"]) * sigmoid(
        own["logit"] - np.exp(own["log_slope"]) * rise
    )


def fit_bayesian(
    runs: Runs,
    variant: str,
    *,
    draws: int,
    tune: int,
    chains: int,
    random_seed: int,
    progressbar: bool,
) -> BayesianFit:
    """Sample the posterior with nutpie.

    Raises
    ------
    SpecificationError
        If a number of draws or chains is none.
    KeyboardInterrupt
        If it was interrupted before there was anything to keep.
    """
    from bayes_ctxlaw.sampling import check_size, sample_compiled

    size = {"draws": draws, "tune": tune, "chains": chains, "target_accept": TARGET_ACCEPT}
    check_size(**size)  # before anything is compiled
    references, form = References.of(runs), Form.of(runs, variant)
    program = _program(form, graph_data(runs, form, references))
    trace = sample_compiled(program, random_seed=random_seed, progressbar=progressbar, **size)
    of_runs = trace["posterior"].to_dataset().isel(llm=slice(len(runs.llms)))
    trace["posterior"] = xr.DataTree(of_runs.assign_coords(task=runs.tasks, llm=runs.llms))
    return BayesianFit(trace, variant, references, runs.tasks, runs.llms)


_PROGRAMS: dict[Form, Any] = {}
"""Compiled models of this process. Few forms are ever used, and compiling one takes longer than to
sample it."""


def _program(form: Form, data: dict[str, np.ndarray]) -> Any:
    """The compiled model of a form, with data."""
    import nutpie

    if form not in _PROGRAMS:
        model = build_graph(form, data)
        compiled = nutpie.compile_pymc_model(model)
        point, names = model.initial_point(), [model.rvs_to_values[v].name for v in model.free_RVs]
        middle = np.concatenate([point[name].ravel() for name in names])

        def start(seed: int) -> np.ndarray:
            # nutpie's own starts differ from one process to the next with the same seed.
            return middle + np.random.default_rng(seed).uniform(-1.0, 1.0, len(middle))

        _PROGRAMS[form] = replace(compiled, initial_point_func=start)
    return _PROGRAMS[form].with_data(**data)
