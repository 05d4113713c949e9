"""What the benchmarks share: the data of the law as plain arrays, clocks, and a grid to predict at.

Not run by itself. It imports neither PyMC nor JAX, so that a process that needs only one of them
pays only for one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.law import LawTerms
from bayes_ctxlaw.priors import Prior

T4_SHARE = 0.6906  # of the variance of item sampling, in the scale of a Student-t

DATASETS = ("montgomery2025", "helmet_icl")


@dataclass(frozen=True)
class Data:
    """Everything a rival needs to write the model down: arrays, labels and priors.

    Attributes
    ----------
    x, z, w : ndarray
        Log compute and log prompt tokens over their references; log of prompt over window.
    score, chance, edge, inverse_items : ndarray
        The score, its chance level, half an item as a share, one item as a share
        times `T4_SHARE`.
    labels, codes : dict
        By level: its labels, and the position of every row's label among them. A level has the
        name of its dimension, so that ``task:llm`` is ``task_llm`` in names of variables, too.
    levels : dict of str to tuple of str
        Level → parameters it may act on; only levels that the data have.
    priors : dict of str to Prior
    terms : LawTerms
        Form of the law; the rivals follow `zero_context` and `dilution`.
    """

    x: np.ndarray
    z: np.ndarray
    w: np.ndarray
    score: np.ndarray
    chance: np.ndarray
    edge: np.ndarray
    inverse_items: np.ndarray
    labels: dict[str, tuple[str, ...]]
    codes: dict[str, np.ndarray]
    levels: dict[str, tuple[str, ...]]
    priors: Mapping[str, Prior]
    terms: LawTerms

    @classmethod
    def of(
        cls,
        obs: xr.Dataset,
        encoding: Encoding,
        levels: Mapping[str, tuple[str, ...]],
        priors: Mapping[str, Prior],
        terms: LawTerms,
    ) -> Data:
        """Arrays of the observations `obs` under a fit's references and labels."""
        if "prompt_tokens_sd" in obs:
            raise SystemExit("the rivals know prompts of one length only: drop prompt_tokens_sd")
        tokens = obs["prompt_tokens"].values.astype(float)
        none = np.full(len(tokens), np.nan)
        items = obs["n_items"].values.astype(float) if "n_items" in obs else none
        score = obs["score"].values.astype(float) if "score" in obs else none
        known = ~np.isnan(items)
        codes = {level_dim(level): encoding.codes(obs, level) for level in encoding.labels}
        if unseen := [level for level, every in codes.items() if every.min() < 0]:
            # A code of -1 would be taken for the last label.
            raise SystemExit(f"labels that the fit never saw: {', '.join(unseen)}")
        return cls(
            x=np.log(obs["compute"].values / encoding.compute_reference),
            z=np.log(tokens / encoding.prompt_tokens_reference),
            w=np.log(tokens / obs["context_window"].values),
            score=score,
            chance=obs["chance"].values.astype(float) if "chance" in obs else 0.0 * tokens,
            # A thousand items stand in where nobody said how many there were.
            edge=0.5 / (np.where(known, items, 1000.0) + 1.0),
            inverse_items=np.where(known, T4_SHARE / items, 0.0),
            labels={level_dim(level): every for level, every in encoding.labels.items()},
            codes=codes,
            levels={
                level_dim(level): tuple(name for name in names if name in terms.parameters)
                for level, names in levels.items()
                if level in encoding.labels
            },
            priors=priors,
            terms=terms,
        )

    @classmethod
    def of_law(cls, obs: xr.Dataset, law: Any) -> Data:
        """The same from a ``ContextLaw`` whose ``build_model(obs)`` was called."""
        terms = law.terms.context_term, law.terms.compute_term, law.terms.penalty
        if terms != ("power", "exponential", "log_logistic"):
            raise SystemExit(f"the rivals know the default terms only, not {terms}")
        if law.spec.likelihood != "student_t":
            raise SystemExit(f"the rivals know the Student-t only, not {law.spec.likelihood}")
        if law.spec.terms.strays:
            raise SystemExit("the rivals know no discrepancies: fit with discrepancy='none'")
        return cls.of(law.obs, law.encoding, law.levels, law.priors, law.terms)

    def acting(self, parameter: str) -> list[str]:
        """Levels that may shift a parameter: each has a scale."""
        return [level for level, names in self.levels.items() if parameter in names]

    def varying(self, parameter: str) -> list[str]:
        """Those with two labels or more: each has effects.

        The effect of a single label would be one with the population value.
        """
        return [level for level in self.acting(parameter) if len(self.labels[level]) > 1]

    def shared_names(self) -> dict[str, str | None]:
        """Parameters in which every way of writing the model is compared, with their dimension."""
        names: dict[str, str | None] = {}
        for parameter in self.terms.parameters:
            names[f"mu_{parameter}"] = None
            names |= dict.fromkeys(f"{parameter}_{lv}_sd" for lv in self.acting(parameter))
            names |= {f"{parameter}_{level}": level for level in self.varying(parameter)}
        return names | {"overdispersion": "task"}

    def dataset(self, draws: Mapping[str, np.ndarray]) -> xr.Dataset:
        """Draws (chain, draw, …) of the shared parameters, labelled."""
        variables = {
            name: (("chain", "draw") + ((dim,) if dim else ()), np.asarray(draws[name]))
            for name, dim in self.shared_names().items()
        }
        used = {dim for dim in self.shared_names().values() if dim}
        return xr.Dataset(variables, coords={level: list(self.labels[level]) for level in used})


class Clock:
    """Wall and CPU seconds since it was made; CPU of all threads and of children that ended."""

    def __init__(self) -> None:
        self.started = self._now()

    @staticmethod
    def _now() -> np.ndarray:
        times = os.times()
        spent = time.process_time() + times.children_user + times.children_system
        return np.array([time.perf_counter(), spent])

    def read(self) -> tuple[float, float]:
        """Wall and CPU seconds so far."""
        wall, cpu = self._now() - self.started
        return float(wall), float(cpu)


@contextmanager
def clocked(module: Any, name: str) -> Iterator[dict[str, float]]:
    """Time spent inside the function `name` of a module, whoever calls it.

    ``pm.sample`` and ``law.fit`` compile and sample in one call; this tells the two apart. What it
    yields holds ``"wall"`` and ``"cpu"``, or NaN if the function was never called.
    """
    original, spent = getattr(module, name), {"wall": np.nan, "cpu": np.nan}
    running = False

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal running
        if running:  # it calls itself, and that time is counted already
            return original(*args, **kwargs)
        running, clock = True, Clock()
        try:
            return original(*args, **kwargs)
        finally:
            running = False
            now = dict(zip(("wall", "cpu"), clock.read(), strict=True))
            for key, value in now.items():
                spent[key] = value + (0.0 if np.isnan(spent[key]) else spent[key])

    setattr(module, name, timed)
    try:
        yield spent
    finally:
        setattr(module, name, original)


def outcome(
    posterior: xr.Dataset,
    n_steps: np.ndarray,
    divergences: int,
    clock: tuple[float, float],
    sampling: Mapping[str, float],
    note: str = "",
) -> dict[str, Any]:
    """What every contestant returns, under the same names.

    Parameters
    ----------
    posterior : xr.Dataset
        Shared parameters.
    n_steps : ndarray
        Leapfrog steps of every kept draw after tuning.
    divergences : int
    clock : tuple of float
        Wall and CPU seconds in all.
    sampling : mapping
        Those of tuning and drawing alone, NaN if unknown; the rest is building and compiling.
    note : str
        What a reader of the numbers should know.
    """
    wall, cpu = clock
    return {
        "posterior": posterior,
        "n_steps": np.asarray(n_steps),
        "steps_per_draw": float(np.mean(n_steps)),
        "divergences": int(divergences),
        "wall": {"total": wall, "sampling": sampling["wall"], "compile": wall - sampling["wall"]},
        "cpu": {"total": cpu, "sampling": sampling["cpu"], "compile": cpu - sampling["cpu"]},
        "note": note,
    }


def forecast_table(obs: xr.Dataset, lengths: int = 30) -> pd.DataFrame:
    """Rows to predict at: for every task a known checkpoint, the one with the longest window,
    from the shortest prompt of the task to the full window."""
    rows = []
    for task in dict.fromkeys(obs["task"].values):
        here = obs.isel(obs_id=np.flatnonzero(obs["task"].values == task))
        one = here.isel(obs_id=int(np.argmax(here["context_window"].values)))
        names = ("task", "llm", "family", "technique", "compute", "context_window", "n_items")
        fixed = {name: one[name].item() for name in (*names, "chance") if name in one}
        shortest = float(here["prompt_tokens"].min())
        for tokens in np.geomspace(shortest, fixed["context_window"], lengths):
            rows.append(fixed | {"prompt_tokens": tokens})
    return pd.DataFrame(rows)
