"""Posterior → predictions at any rows, in bounded memory.

Rows are worked through in blocks of a fixed size, so that memory does not grow with the grid and
random numbers do not depend on how it is cut.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayes_ctxlaw.effects import Specification
from bayes_ctxlaw.encoding import Encoding, level_dim, level_labels
from bayes_ctxlaw.errors import SpecificationError, UnknownLabelError
from bayes_ctxlaw.law import mean_score
from bayes_ctxlaw.likelihoods import draw_scores, item_counts
from bayes_ctxlaw.priors import scale_name

KINDS = ("law", "llm", "response")
"""Kinds of prediction, each with one more term than the one before: the law, the checkpoint's own
effect, the noise of an evaluation."""

NEW_LEVELS = ("error", "uncertainty")

_BLOCK = 256  # rows worked on at once: 8 MiB an array at 4,000 draws


def check_options(kind: str, ci_prob: float, new_levels: str) -> None:
    """Refuse unknown options of a prediction, all in one message.

    Raises
    ------
    SpecificationError
    """
    faults = []
    if kind not in KINDS:
        faults.append(f"kind={kind!r} is not one of {', '.join(map(repr, KINDS))}")
    if not (isinstance(ci_prob, (int, float)) and 0 < ci_prob < 1):
        faults.append(f"ci_prob={ci_prob!r} must lie between 0 and 1, such as 0.9")
    if new_levels not in NEW_LEVELS:
        faults.append(f"new_levels={new_levels!r} is not one of {', '.join(map(repr, NEW_LEVELS))}")
    if faults:
        raise SpecificationError("; ".join(faults) + ".")


def _is_llm(level: str) -> bool:
    return "llm" in level.split(":")


@dataclass
class Predictor:
    """Draws of a fit, ready to predict with.

    Parameters
    ----------
    spec : Specification
    encoding : Encoding
    draws : dict of str to ndarray
        Population values (draw,), scales (draw,), effects (draw, label), overdispersion
        (draw, task), by name.
    seed : int
        Root of the random numbers of new labels and of the noise.
    """

    spec: Specification
    encoding: Encoding
    draws: Mapping[str, np.ndarray]
    seed: int

    @property
    def size(self) -> int:
        """Number of draws."""
        return len(self.draws["mu_A"])

    def levels(self, kind: str) -> list[str]:
        """Levels whose labels matter for a kind of prediction."""
        return [
            level
            for level in self.spec.levels
            if level in self.encoding.labels and (kind != "law" or not _is_llm(level))
        ]

    def check_labels(self, at: xr.Dataset, kind: str, new_levels: str) -> None:
        """Refuse labels that the fit never saw, unless asked to be uncertain about them.

        Raises
        ------
        UnknownLabelError
            All unknown labels of all levels in one message, with the known ones.
        """
        faults = []
        for level in self.levels(kind):
            if ":" in level:
                continue
            if level not in at:
                if new_levels == "error":
                    faults.append(f"`{level}` is missing; the fit has effects of it")
                continue
            if new_levels == "error":
                known = self.encoding.labels[level]
                unseen = sorted(set(level_labels(at, level)) - set(known))
                if unseen:
                    shown = ", ".join(map(repr, known[:10])) + (", …" if len(known) > 10 else "")
                    faults.append(
                        f"`{level}`: {', '.join(map(repr, unseen[:5]))}"
                        f"{', …' if len(unseen) > 5 else ''} not in the fit, which saw {shown}"
                    )
        if "task" not in self.spec.levels and new_levels == "error":
            unseen = sorted(set(level_labels(at, "task")) - set(self.encoding.labels["task"]))
            if unseen:
                faults.append(f"`task`: {', '.join(map(repr, unseen[:5]))} not in the fit")
        if faults:
            raise UnknownLabelError(
                "; ".join(faults) + '. Correct the labels, or pass new_levels="uncertainty" to '
                "draw the effect of an unseen label from what such labels vary by."
            )

    def blocks(self, at: xr.Dataset, kind: str) -> Iterator[np.ndarray]:
        """Predicted scores, block after block of rows: arrays (draw, row)."""
        design = self.encoding.design(at, self.spec.terms)
        items = item_counts(at)
        labels = {
            level: level_labels(at, level) if self._has(at, level) else None
            for level in self.levels(kind)
        }
        tasks = level_labels(at, "task")
        for block, first in enumerate(range(0, at.sizes["obs_id"], _BLOCK)):
            rows = slice(first, first + _BLOCK)
            here = {lv: None if every is None else every[rows] for lv, every in labels.items()}
            totals = {name: self._total(name, here, kind) for name in self.spec.terms.parameters}
            arguments = {"log_A": totals["A"], "log_B": totals["B"]}
            for name in ("alpha", "beta", "kappa"):
                if name in totals:
                    arguments[name] = np.exp(np.minimum(totals[name], 300.0))
            if "delta" in totals:
                arguments["delta"] = totals["delta"]
            mean = mean_score(arguments, {k: v[rows] for k, v in design.items()}, self.spec.terms)
            mean = np.broadcast_to(mean, (self.size, len(tasks[rows])))
            if kind == "response":
                phi = self._overdispersion(tasks[rows])
                rng = np.random.default_rng([self.seed, block])
                mean = draw_scores(self.spec.likelihood, mean, phi, items[rows], rng)
            yield mean

    @staticmethod
    def _has(at: xr.Dataset, level: str) -> bool:
        return all(part in at for part in level.split(":"))

    def _total(self, name: str, labels: Mapping[str, np.ndarray | None], kind: str) -> np.ndarray:
        """Population value + effects of one parameter, (draw, row) or (draw, 1)."""
        total = self.draws[f"mu_{name}"][:, None]
        for level in self.spec.levels_of(name, self.encoding):
            if kind == "law" and _is_llm(level):
                continue
            here = labels[level]
            if here is None:
                total = total + self._new_effect(name, level, "")[:, None]
                continue
            distinct, inverse = np.unique(here.astype(str), return_inverse=True)
            effects = np.stack([self._effect(name, level, label) for label in distinct], axis=1)
            total = total + effects[:, inverse]
        return total

    def _effect(self, name: str, level: str, label: str) -> np.ndarray:
        """Draws of a label's effect: the fitted one if there is one, else a new one."""
        known = self.encoding.labels[level]
        if label not in known:
            return self._new_effect(name, level, label)
        if len(known) == 1:
            return np.zeros(self.size)  # it is part of the population value
        return self.draws[f"{name}_{level_dim(level)}"][:, known.index(label)]

    def _new_effect(self, name: str, level: str, label: str) -> np.ndarray:
        # Seeded by what it is the effect of: every row with this label shares it, in any block.
        key = zlib.crc32(f"{name}|{level}|{label}".encode())
        unit = np.random.default_rng([self.seed, 1, key]).standard_normal(self.size)
        scale = self.draws[scale_name(name, level)]
        if len(self.encoding.labels[level]) == 1:
            # The population value holds the one label's own effect; a new one differs by two.
            scale = scale * np.sqrt(2.0)
        return unit * scale

    def _overdispersion(self, tasks: np.ndarray) -> np.ndarray:
        """Draws of each row's overdispersion; that of a task never seen is some fitted task's."""
        if "overdispersion" not in self.draws:
            return np.zeros((self.size, len(tasks)))
        fitted = self.draws["overdispersion"]
        known = self.encoding.labels["task"]
        columns = []
        for task in tasks:
            if task in known:
                columns.append(fitted[:, known.index(task)])
            else:
                key = zlib.crc32(f"overdispersion|{task}".encode())
                pick = np.random.default_rng([self.seed, 2, key]).integers(
                    len(known), size=self.size
                )
                columns.append(fitted[np.arange(self.size), pick])
        return np.stack(columns, axis=1)


def predict(
    predictor: Predictor,
    at: xr.Dataset,
    *,
    kind: str,
    ci_prob: float,
    new_levels: str,
    shape: tuple[int, int],
    samples: bool,
) -> xr.Dataset:
    """Predictions with intervals at every row of a design.

    Parameters
    ----------
    predictor : Predictor
    at : xr.Dataset
        Design, as from ``as_design`` or ``grid``.
    kind, ci_prob, new_levels
        As in ``ContextLaw.predict``.
    shape : tuple of int
        Chains and draws per chain.
    samples : bool
        Whether to add all draws as ``samples`` (chain, draw, obs_id).

    Returns
    -------
    xr.Dataset
    """
    check_options(kind, ci_prob, new_levels)
    predictor.check_labels(at, kind, new_levels)
    tail = (1.0 - ci_prob) / 2.0
    summaries, kept = [], []
    for scores in predictor.blocks(at, kind):
        quantiles = np.quantile(scores, [0.5, tail, 1.0 - tail], axis=0)
        summaries.append(np.vstack([scores.mean(axis=0), scores.std(axis=0), quantiles]))
        if samples:
            kept.append(scores)
    mean, sd, median, lower, upper = np.concatenate(summaries, axis=1)
    out = at.copy()
    interval = f"{100 * ci_prob:g} % equal-tailed interval"
    for name, values, text in (
        ("mean", mean, "posterior mean of the score"),
        ("sd", sd, "posterior standard deviation of the score"),
        ("median", median, "posterior median of the score"),
        ("lower", lower, f"lower end of the {interval}"),
        ("upper", upper, f"upper end of the {interval}"),
    ):
        out[name] = ("obs_id", values, {"units": "1", "long_name": text})
    beyond = predictor.encoding.extrapolation(at)
    out = out.assign_coords(axis=list(beyond))
    out["extrapolation"] = (
        ("obs_id", "axis"),
        np.stack(list(beyond.values()), axis=1),
        {"units": "decades", "long_name": "distance beyond the data of the fit"},
    )
    if samples:
        draws = np.concatenate(kept, axis=1).reshape(*shape, -1)
        out["samples"] = (("chain", "draw", "obs_id"), draws, {"units": "1"})
        out = out.assign_coords(chain=np.arange(shape[0]), draw=np.arange(shape[1]))
    out.attrs |= {
        "prediction_kind": kind,
        "ci_prob": float(ci_prob),
        "ci_kind": "equal-tailed",
        "new_levels": new_levels,
    }
    return out
