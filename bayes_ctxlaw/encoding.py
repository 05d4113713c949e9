"""Observations → the numbers the law works with: log ratios to references, and label codes.

One encoding is made at the fit and reused at prediction, so that references and codes are the
same in both. Codes of labels that the fit never saw are -1 and never reach a graph: an index out
of range gives silent garbage under PyTensor's default backend.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.law import PARAMETERS, LawTerms
from bayes_ctxlaw.schema import OBS_DIM, SCHEMA, is_assumed

BASE_LEVELS = ("task", "family", "technique", "llm")
"""Labels of an observation that can carry effects."""

DEFAULT_LEVELS = (*BASE_LEVELS, "task:llm")
"""Levels that have effects unless `groups` says otherwise."""

LEVEL_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "task": PARAMETERS,
    "family": ("A", "alpha", "B", "beta"),
    "technique": ("A", "B", "beta", "D", "kappa", "delta"),
    "llm": ("A", "D", "delta"),
}
"""Which parameters an effect of each level acts on, unless `groups` says otherwise.

A family is what was pre-trained together and shapes what compute and demonstrations buy; how the
window was extended decides where and how sharply it ends; what a checkpoint loses as its window
fills, and where that ends, is its own as well. The other two combinations, family on
kappa and delta and technique on alpha, are for the user to ask for: few data sets tell them from
the effects of technique and of the checkpoint. Tasks that stray from the law have no effects on its
shapes along prompt length (`Specification.decided`).
"""

APPROACH = -math.log(4.0)
"""Log ratio of prompt to window from where on the window's end may show.

A quarter of the nominal one is a common effective window (Hsieh et al. 2024, arXiv:2404.06654).
"""

INTERACTION_PARAMETERS = ("A",)
"""Which parameters an interaction such as ``"task:llm"`` acts on unless told otherwise."""


def level_dim(level: str) -> str:
    """Dimension name of a level: ``"task:technique"`` becomes ``"task_technique"``.

    Examples
    --------
    >>> level_dim("task:technique")
    'task_technique'
    """
    return level.replace(":", "_")


def parse_groups(
    groups: Mapping[str, tuple[str, ...]] | tuple[str, ...] | list[str],
) -> dict[str, tuple[str, ...]]:
    """Levels and the parameters their effects act on.

    Parameters
    ----------
    groups : sequence of str, or mapping of str to sequence of str
        Level names (``"task"``, ``"family"``, ``"technique"``, ``"llm"``, or two of them joined by
        a colon for an interaction); a mapping also says which parameters each acts on.

    Returns
    -------
    dict
        Level → parameters, in the order given.

    Raises
    ------
    SpecificationError
        If a level or a parameter is unknown; all faults in one message.

    Examples
    --------
    >>> parse_groups(["task", "llm"])["llm"]
    ('A', 'D', 'delta')
    """
    if isinstance(groups, str):
        groups = (groups,)
    if groups is None:
        groups = ()
    if not isinstance(groups, Iterable):
        raise SpecificationError(
            f"groups={groups!r} must be names of levels, such as ('task', 'llm'), or a mapping "
            "from them to parameters."
        )
    named = dict(groups) if isinstance(groups, Mapping) else dict.fromkeys(groups)
    faults, parsed = [], {}
    for level, parameters in named.items():
        parts = str(level).split(":")
        if len(set(parts)) != len(parts) or len(parts) > 2 or set(parts) - set(BASE_LEVELS):
            faults.append(
                f"group {level!r} is unknown; use {', '.join(BASE_LEVELS)}, or two of them "
                "joined by a colon, such as 'task:technique'"
            )
            continue
        if parameters is None:
            default = LEVEL_PARAMETERS.get(level, INTERACTION_PARAMETERS)
            parameters = default
        elif isinstance(parameters, str):
            parameters = (parameters,)
        unknown = [name for name in parameters if name not in PARAMETERS]
        if unknown:
            faults.append(
                f"group {level!r} names the parameter(s) {', '.join(map(repr, unknown))}; "
                f"the law has {', '.join(PARAMETERS)}"
            )
        parsed[level] = tuple(name for name in PARAMETERS if name in parameters)
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    return parsed


def _states_chance(ds: xr.Dataset) -> bool:
    """Whether somebody said what guessing scores."""
    return "chance" in ds and not is_assumed(ds["chance"].values, ds["chance"].attrs)


def is_number(value: object) -> bool:
    """Whether it is a real number, and not True or False."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_references(references: Mapping[str, float] | None) -> dict[str, float]:
    """References asked for by the user, checked.

    Raises
    ------
    SpecificationError
        If it is no mapping, a name is unknown or a value is not above 0; all faults in one message.
    """
    if references is not None and not isinstance(references, Mapping):
        raise SpecificationError(
            f"references={references!r} must be a mapping such as {{'prompt_tokens': 1000}}."
        )
    faults, checked = [], {}
    for name, value in (references or {}).items():
        if name not in ("compute", "prompt_tokens"):
            faults.append(f"there is no reference {name!r}; valid: 'compute', 'prompt_tokens'")
        elif not (is_number(value) and math.isfinite(value) and value > 0):
            faults.append(f"reference {name!r} must be a number above 0; got {value!r}")
        else:
            checked[name] = float(value)
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    return checked


SAME_CHANCE = 1e-3  # 0.333 is a third


def level_labels(ds: xr.Dataset, level: str) -> np.ndarray:
    """Label of every row for a level, as an object array of str; interactions are joined."""
    parts = [ds[part].values.astype(str) for part in level.split(":")]
    if len(parts) == 1:
        return parts[0].astype(object)
    # A bar in a label is doubled, so that no two pairs are joined to the same text.
    return np.array(
        [" | ".join(label.replace("|", "||") for label in row) for row in zip(*parts, strict=True)],
        dtype=object,
    )


def _distinct(obs: xr.Dataset, levels: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Levels that the observations have, without interactions that are something else as well.

    An interaction whose labels part the rows as another level does is that level; one whose every
    label has a single row is the noise.
    """
    present = [lv for lv in levels if all(part in obs for part in lv.split(":"))]
    parted, kept = set(), []
    for level in sorted(present, key=lambda level: ":" in level):
        numbers = {label: i for i, label in enumerate(_unique(level_labels(obs, level)))}
        partition = tuple(numbers[label] for label in level_labels(obs, level))
        if ":" not in level or (partition not in parted and len(numbers) < len(partition)):
            kept.append(level)
        parted.add(partition)
    return [level for level in present if level in kept]


def _unique(labels: np.ndarray) -> tuple[str, ...]:
    """Labels in the order of first appearance."""
    return tuple(dict.fromkeys(labels.tolist()))


def alike(values: np.ndarray, ratio: float) -> np.ndarray:
    """Group of each value, numbered from the smallest up: those that hardly differ are in one.

    A group holds what is at most `ratio` times its smallest.

    Examples
    --------
    >>> alike(np.array([1000.0, 8000.0, 1030.0]), 1.1).tolist()
    [0, 1, 0]
    """
    distinct, place = np.unique(values, return_inverse=True)
    group, upto, count = np.zeros(len(distinct), dtype=int), -np.inf, -1
    for i, value in enumerate(distinct):
        if value > upto:
            count, upto = count + 1, ratio * value
        group[i] = count
    return group[place]


def chance_levels(obs: xr.Dataset) -> dict[str, float | None]:
    """Chance level of every task; None where its rows have several.

    Parameters
    ----------
    obs : xr.Dataset
        Observations.

    Returns
    -------
    dict of str to float or None
    """
    tasks = level_labels(obs, "task")
    chance = obs["chance"].values if "chance" in obs else np.zeros(len(tasks))
    found: dict[str, float | None] = {}
    for task in _unique(tasks):
        own = np.unique(chance[tasks == task])
        found[task] = float(own[0]) if len(own) == 1 else None
    return found


def longest_within(obs: xr.Dataset) -> dict[str, float]:
    """Log prompt tokens of every task's longest prompt, of one past its window what that holds.

    Parameters
    ----------
    obs : xr.Dataset
        Observations.

    Returns
    -------
    dict of str to float
    """
    held = np.log(np.minimum(obs["prompt_tokens"].values, obs["context_window"].values))
    tasks = level_labels(obs, "task")
    return {task: float(held[tasks == task].max()) for task in _unique(tasks)}


def decades_beyond(log10: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """How far numbers lie beyond a range, all as decimal logarithms; a rounding error is none."""
    away = np.maximum(log10 - high, low - log10)
    return np.where(away > 1e-9, away, 0.0)


@dataclass(frozen=True)
class Strata:
    """Observations that share all labels and the compute: they have the same parameters.

    Attributes
    ----------
    index : ndarray of int
        Stratum of every observation.
    first : ndarray of int
        An observation of every stratum.
    codes : dict of str to ndarray of int
        By level, the code of every stratum's label.
    """

    index: np.ndarray
    first: np.ndarray
    codes: dict[str, np.ndarray]


@dataclass(frozen=True)
class Encoding:
    """References and labels of a fit.

    Attributes
    ----------
    compute_reference : float
        C_ref, FLOPs: where x = 0.
    prompt_tokens_reference : float
        n_ref, tokens: where z = 0.
    labels : dict of str to tuple of str
        Labels seen, by level, for the levels that the observations have.
    ranges : dict of str to tuple of float
        Smallest and largest compute, prompt tokens (of prompts that fit into their window) and
        log ratio of prompt to window in the data.
    edges : dict of str to tuple of float
        By task, smallest and largest log compute, the same of log prompt tokens, and of the log
        ratio of prompt to window.
    shown : dict of str to float
        By checkpoint, the largest log ratio of prompt to window.
    within : dict of str to float
        By task, log prompt tokens of the longest prompt, of one past its window what that holds.
    chance : dict of str to float or None
        By task, its chance level; None where its rows have several.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> encoding = Encoding.of(bcl.load_dataset("montgomery2025"), {"task": ("A",)})
    >>> encoding.labels["task"][0]
    'arithmetic reasoning'
    """

    compute_reference: float
    prompt_tokens_reference: float
    labels: dict[str, tuple[str, ...]]
    ranges: dict[str, tuple[float, float]]
    edges: dict[str, tuple[float, ...]]
    shown: dict[str, float]
    within: dict[str, float] = field(default_factory=dict)
    chance: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, obs: xr.Dataset, levels: Mapping[str, tuple[str, ...]]) -> Encoding:
        """Encoding with references at the geometric centre of the observations."""
        log_c, log_n = np.log(obs["compute"].values), np.log(obs["prompt_tokens"].values)
        ratio = log_n - np.log(obs["context_window"].values)
        # A prompt past its window tells of the window, not of what longer prompts are good for.
        fits = log_n[ratio <= 0.0] if (ratio <= 0.0).any() else log_n
        tasks = level_labels(obs, "task")
        edges = {}
        for task in _unique(tasks):
            own = tasks == task
            spans = [(axis[own].min(), axis[own].max()) for axis in (log_c, log_n, ratio)]
            edges[task] = tuple(map(float, np.ravel(spans)))
        llms = level_labels(obs, "llm")
        present = _distinct(obs, levels)
        return cls(
            compute_reference=float(np.exp(log_c.mean())),
            prompt_tokens_reference=float(np.exp(log_n.mean())),
            labels={lv: _unique(level_labels(obs, lv)) for lv in dict.fromkeys(["task", *present])},
            ranges={
                "compute": (float(np.exp(log_c.min())), float(np.exp(log_c.max()))),
                "prompt_tokens": (float(np.exp(fits.min())), float(np.exp(fits.max()))),
                "window_ratio": (float(ratio.min()), float(ratio.max())),
            },
            edges=edges,
            shown={llm: float(ratio[llms == llm].max()) for llm in _unique(llms)},
            within=longest_within(obs),
            chance=chance_levels(obs),
        )

    def at_references(self, references: Mapping[str, float]) -> Encoding:
        """The same with the given references, by ``"compute"`` and ``"prompt_tokens"``."""
        return replace(self, **{f"{name}_reference": v for name, v in references.items()})

    def recentred(self, z: float) -> Encoding:
        """The same with the reference for prompt tokens moved by `z` on the log scale."""
        return replace(self, prompt_tokens_reference=self.prompt_tokens_reference * math.exp(z))

    def codes(self, ds: xr.Dataset, level: str) -> np.ndarray:
        """Position of every row's label among those seen; -1 where the fit never saw it."""
        index = {label: i for i, label in enumerate(self.labels[level])}
        return np.array([index.get(label, -1) for label in level_labels(ds, level)], dtype=np.int64)

    def strata(self, ds: xr.Dataset) -> Strata:
        """Which rows share all their labels and their compute."""
        codes = {level: self.codes(ds, level) for level in self.labels}
        compute = np.unique(ds["compute"].values, return_inverse=True)[1].reshape(-1)
        rows = np.column_stack([*codes.values(), compute])
        _, first, index = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        return Strata(
            index.reshape(-1), first, {level: every[first] for level, every in codes.items()}
        )

    def design(self, ds: xr.Dataset, terms: LawTerms) -> dict[str, np.ndarray]:
        """Numbers of `mean_score`, one per row: x, z, w, chance and what the penalty needs."""
        tokens = ds["prompt_tokens"].values.astype(float)
        window = ds["context_window"].values.astype(float)
        design = {
            "x": np.log(ds["compute"].values.astype(float) / self.compute_reference),
            "z": np.log(tokens / self.prompt_tokens_reference),
            "w": np.log(tokens / window),
            "chance": self.chance_levels(ds),
        }
        if terms.penalty == "token_logistic":
            design["excess_tokens"] = tokens - window
        if "prompt_tokens_sd" in ds and terms.penalty != "none":
            # A blank spread means unknown: the law then takes the cell at its mean length.
            sd = np.nan_to_num(ds["prompt_tokens_sd"].values.astype(float), nan=0.0)
            design["tokens_sd"] = sd
            design["w_sd"] = np.sqrt(np.log1p((sd / tokens) ** 2))
        return design

    def with_chance(self, ds: xr.Dataset) -> xr.Dataset:
        """Rows with their chance level: where it is not stated, that of their task in the fit.

        It is 0 for a task that the fit never saw, which is said if guessing scores in others.

        Raises
        ------
        ObservationError
            If it is not stated for a task that has several in the fit.
        """
        tasks, levels = level_labels(ds, "task"), self.chance_levels(ds)
        if _states_chance(ds):
            self._warn_of_chance(tasks, levels)
            return ds
        new = [task for task in _unique(tasks) if task not in self.chance]
        if new and any(self.chance.values()):
            warnings.warn(
                f"`chance` is not given for {', '.join(map(repr, new[:5]))}"
                f"{', …' if len(new) > 5 else ''}, which the fit never saw; it is taken as "
                "0, though in tasks of the fit guessing scores. Give the column `chance`.",
                UserWarning,
                stacklevel=2,
            )
        variable = SCHEMA["chance"]
        attrs = {"units": variable.units, "long_name": variable.long_name}
        return ds.assign(chance=(OBS_DIM, levels, attrs))

    def chance_levels(self, ds: xr.Dataset) -> np.ndarray:
        """Chance level of every row as `with_chance` has it, with nothing said about it.

        Raises
        ------
        ObservationError
            If it is not stated for a task that has several in the fit.
        """
        if _states_chance(ds):
            return ds["chance"].values.astype(float)
        tasks = level_labels(ds, "task")
        if several := [t for t in _unique(tasks) if self.chance.get(t, 0.0) is None]:
            raise ObservationError(
                f"`chance` is not given, and it is no single one in the fit for "
                f"{', '.join(map(repr, several))}: give the column `chance`, what guessing scores."
            )
        return np.array([self.chance.get(task, 0.0) for task in tasks], dtype=float)

    def _warn_of_chance(self, tasks: np.ndarray, levels: np.ndarray) -> None:
        """Guessing scores the same in all evaluations of a task, unless it was changed."""
        fitted = np.array([self.chance.get(task) for task in tasks], dtype=float)
        # A task that the fit never saw, or with several levels there, has none here.
        other = np.isfinite(fitted) & ~np.isclose(levels, fitted, rtol=0.0, atol=SAME_CHANCE)
        if other.any():
            first = np.flatnonzero(other)[0]
            warnings.warn(
                f"`chance` of {other.sum()} row(s) is not that of their task in the fit: of "
                f"{tasks[first]!r} {levels[first]:g} is given, where the fit has "
                f"{fitted[first]:g}. What is given counts; leave it out for that of the fit.",
                UserWarning,
                stacklevel=2,
            )

    def beyond(self, ds: xr.Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """How far below and above the data of their task rows lie, by axis of `design`.

        Natural logarithms, of compute (``"x"``), of prompt tokens (``"z"``) and of their ratio to
        the window (``"w"``), at least 0. Of a task that the fit never saw: beyond the data of all
        tasks. A prompt that its window holds is beyond those that theirs held, however long others
        were.
        """
        spans = np.array(list(self.edges.values()))
        every = np.where(np.arange(spans.shape[1]) % 2, spans.max(axis=0), spans.min(axis=0))
        tasks = level_labels(ds, "task")
        edges = np.array([self.edges.get(t, every) for t in tasks]).T
        log_c, log_n, log_window = (
            np.log(ds[name].values.astype(float))
            for name in ("compute", "prompt_tokens", "context_window")
        )
        out = {}
        for k, (axis, value) in enumerate((("x", log_c), ("z", log_n), ("w", log_n - log_window))):
            out[axis] = tuple(
                # A rounding error is no extrapolation.
                np.where(away > 1e-9, away, 0.0)
                for away in (edges[2 * k] - value, value - edges[2 * k + 1])
            )
        longest = max(self.within.values(), default=np.inf)
        held = np.minimum(log_n, log_window)
        held = held - np.array([self.within.get(task, longest) for task in tasks])
        below, above = out["z"]
        out["z"] = below, np.maximum(above, np.where(held > 1e-9, held, 0.0))
        return out

    def untried(self, ds: xr.Dataset, past: np.ndarray) -> np.ndarray:
        """How much nearer to the window's end rows are than prompts of their own checkpoint were.

        Natural logarithm of the ratio to the window, at least 0; counted from `APPROACH` at the
        earliest, as shorter prompts show nothing of an end, and for a checkpoint that the fit
        never saw. What is beyond the data of the task, `past` as from ``beyond``, is left out.
        """
        nearest = np.full(ds.sizes["obs_id"], APPROACH)
        if "llm" in ds:
            nearest = np.array([self.shown.get(llm, APPROACH) for llm in level_labels(ds, "llm")])
        ratio = np.log(ds["prompt_tokens"].values.astype(float)) - np.log(
            ds["context_window"].values.astype(float)
        )
        away = ratio - np.maximum(nearest, APPROACH) - past
        return np.where(away > 1e-9, away, 0.0)

    def extrapolation(self, ds: xr.Dataset) -> dict[str, np.ndarray]:
        """Decades of compute, of prompt tokens and of the ratio to the window beyond the data."""
        values = {
            "compute": np.log10(ds["compute"].values.astype(float)),
            "prompt_tokens": np.log10(ds["prompt_tokens"].values.astype(float)),
            "window_ratio": np.log10(
                ds["prompt_tokens"].values.astype(float) / ds["context_window"].values.astype(float)
            ),
        }
        out = {}
        for name, value in values.items():
            low, high = self.ranges[name]
            if name == "window_ratio":
                low, high = low / math.log(10), high / math.log(10)
            else:
                low, high = math.log10(low), math.log10(high)
            out[name] = decades_beyond(value, low, high)
        return out
