"""Ways to hold out scores: what is beyond a prompt length, a compute, a window; labels left out.

A split is called with observations and gives folds: a name, the rows to fit, the rows to predict.
Any callable that does so can stand in its place in a backtest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.encoding import is_number, level_labels
from bayes_ctxlaw.errors import ObservationError, SpecificationError, UnknownLabelError
from bayes_ctxlaw.schema import OBS_DIM

__all__ = [
    "Fold",
    "Split",
    "beyond_compute",
    "beyond_context",
    "beyond_window",
    "leave_out",
    "longest_in_window",
    "rolling_compute",
    "rolling_context",
]

MIN_TRAIN = 2
"""Observations are refused with fewer rows, so a fold needs as many to fit."""


class Fold(NamedTuple):
    """One division of observations into rows to fit and rows to predict.

    Attributes
    ----------
    name : str
        What is held out, in words; unique within a split.
    train, test : ndarray of int
        Positions along ``obs_id``, for ``obs.isel(obs_id=...)``.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


class Split(ABC):
    """A way to divide observations, yet to be applied to them.

    Call it with observations to get its folds.
    """

    def __call__(self, obs: xr.Dataset) -> tuple[Fold, ...]:
        """Divide observations.

        Parameters
        ----------
        obs : xr.Dataset
            From ``as_observations`` or ``load_dataset``.

        Returns
        -------
        tuple of Fold

        Raises
        ------
        SpecificationError
            A fold has nothing to predict or too little to fit; the message says what was found,
            for all folds.
        UnknownLabelError
            A label to leave out is not in the data.
        """
        folds, faults = [], []
        for name, train, test, found in self._divide(obs):
            rows = Fold(name, np.flatnonzero(train), np.flatnonzero(test))
            if not len(rows.test):
                faults.append(f"{name}: no row to predict; {found}")
            if len(rows.train) < MIN_TRAIN:
                number = {0: "no row", 1: "only one row"}[len(rows.train)]
                faults.append(f"{name}: {number} to fit, at least {MIN_TRAIN} are needed; {found}")
            folds.append(rows)
        if faults:
            raise SpecificationError(
                f"{wording().split(str(self))} does not suit these {obs.sizes[OBS_DIM]} "
                f"observations. {'. '.join(faults)}."
            )
        return tuple(folds)

    @abstractmethod
    def _divide(self, obs: xr.Dataset) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
        """Name, mask of rows to fit, mask of rows to predict, and what was found, per fold."""


RATIO = "prompt_tokens / context_window"
_UNITS = {"prompt_tokens": "prompt tokens", "compute": "FLOP", RATIO: "× context window"}


def _values(obs: xr.Dataset, quantity: str) -> np.ndarray:
    needed = ("prompt_tokens", "context_window") if quantity == RATIO else (quantity,)
    missing = [name for name in needed if name not in obs]
    if missing:
        raise ObservationError(
            f"this split goes by {quantity}, and the observations have no "
            f"{' and no '.join(missing)}. Add it, or split by what they have, such as "
            f"{wording().split('beyond_compute')}."
        )
    if quantity == RATIO:
        return obs["prompt_tokens"].values / obs["context_window"].values
    return obs[quantity].values.astype(float)


def _number(value: float) -> str:
    return f"{value:,.10g}" if value < 1e9 else f"{value:.10g}"


@dataclass(frozen=True)
class _Beyond(Split):
    """Fit up to each threshold of a quantity, predict beyond it."""

    call: str
    quantity: str
    thresholds: tuple[float, ...]
    in_window: bool | None = None
    horizon: str = "all"

    def __str__(self) -> str:
        return self.call

    def _divide(self, obs: xr.Dataset) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
        values, unit = _values(obs, self.quantity), _UNITS[self.quantity]
        wanted = np.ones(len(values), bool)
        if self.in_window is not None:
            wanted = (_values(obs, RATIO) <= 1.0) == self.in_window
        ends = [math.inf] * len(self.thresholds)
        if self.horizon == "next":
            ends[:-1] = self.thresholds[1:]
        for start, end in zip(self.thresholds, ends, strict=True):
            upto = "" if math.isinf(end) else f" up to {_number(end)}"
            beyond = (values > start) & (values <= end)
            found = (
                f"`{self.quantity}` runs from {_number(values.min())} to {_number(values.max())}"
            )
            if beyond.any() and not (beyond & wanted).any():
                side = "fit their" if self.in_window else "exceed their"
                found += f", and none of the {beyond.sum()} prompts there {side} window"
            name = f"beyond {_number(start)}{upto} {unit}"
            yield name, values <= start, beyond & wanted, found


@dataclass(frozen=True)
class _LeaveOut(Split):
    """Predict the rows of one label after a fit to those of the others."""

    level: str
    labels: tuple[str, ...] | None

    def __str__(self) -> str:
        labels = "" if self.labels is None else f", {list(self.labels)!r}"
        return f"leave_out({self.level!r}{labels})"

    def _divide(self, obs: xr.Dataset) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
        absent = [part for part in self.level.split(":") if part not in obs.data_vars]
        numbers = [
            part
            for part in self.level.split(":")
            if part not in absent and np.issubdtype(obs[part].dtype, np.floating)
        ]
        if absent or numbers:
            labels = [
                n for n, v in obs.data_vars.items() if not np.issubdtype(v.dtype, np.floating)
            ]
            faults = [f"the observations have no `{part}`" for part in absent]
            faults += [f"`{part}` is a measured number, not a label" for part in numbers]
            raise SpecificationError(
                f"{wording().split(str(self))}: {', and '.join(faults)}. Labels here are: "
                f"{', '.join(labels)}. For compute and prompt tokens there are "
                f"{wording().split('beyond_compute')} and {wording().split('beyond_context')}."
            )
        of_row = level_labels(obs, self.level)
        present = list(dict.fromkeys(of_row.tolist()))
        wanted = present if self.labels is None else self.labels
        unknown = [label for label in wanted if label not in present]
        if unknown:
            raise UnknownLabelError(
                f"{wording().split(str(self))}: no row has the {self.level} "
                f"{', '.join(map(repr, unknown))}. The data have: {', '.join(map(repr, present))}."
            )
        number = "1 label" if len(present) == 1 else f"{len(present)} labels"
        for label in wanted:
            test = of_row == label
            yield f"{self.level} {label}", ~test, test, f"`{self.level}` has {number}"


@dataclass(frozen=True)
class _Longest(Split):
    """Predict the longest prompts of every task after a fit to its shorter ones."""

    share: float

    def __str__(self) -> str:
        return f"longest_in_window({self.share:g})"

    def _divide(self, obs: xr.Dataset) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
        tokens, task = _values(obs, "prompt_tokens"), level_labels(obs, "task")
        fits = _values(obs, RATIO) <= 1.0
        start = np.full(len(tokens), math.inf)
        divided = 0
        for label in dict.fromkeys(task.tolist()):
            here = np.sort(tokens[fits & (task == label)])
            if len(lengths := np.unique(here)) < 2:
                continue
            divided += 1
            # Rounded first: 0.2 of 15 rows are 3, not the 4 that 3.0000000000000004 would make.
            wanted = math.ceil(round(self.share * len(here), 9))
            # What the shortest prompts score must remain to be fitted.
            start[task == label] = max(here[-wanted], lengths[1])
        beyond = tokens >= start
        name = f"longest {100 * self.share:g} % of each task's prompts in the window"
        count = "no task has" if divided == 0 else f"{divided} of the tasks have"
        yield name, ~beyond, beyond & fits, f"{count} prompts of two lengths in the window"


def beyond_context(tokens: float, in_window: bool | None = None) -> Split:
    """Fit prompts of up to so many tokens, predict longer ones.

    Parameters
    ----------
    tokens : float
        Longest prompt to fit.
    in_window : bool, optional
        True: predict only prompts that fit their context window; False: only those that exceed
        it; None: both. The rows to fit are the same in all three.

    Returns
    -------
    Split
        With one fold.

    Raises
    ------
    SpecificationError
        `tokens` is not a positive number.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> [(f.name, len(f.train), len(f.test)) for f in beyond_context(10_000)(obs)]
    [('beyond 10,000 prompt tokens', 96, 21)]
    >>> len(beyond_context(10_000, in_window=True)(obs)[0].test)
    12
    """
    call = f"beyond_context({_shown(tokens)}{_window_argument(in_window)})"
    return _Beyond(call, "prompt_tokens", _thresholds(call, [tokens]), _window(call, in_window))


def beyond_compute(flops: float) -> Split:
    """Fit checkpoints of up to so much training compute, predict larger ones.

    Parameters
    ----------
    flops : float
        Largest training compute to fit, in FLOP.

    Returns
    -------
    Split
        With one fold.

    Raises
    ------
    SpecificationError
        `flops` is not a positive number.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> (fold,) = beyond_compute(1e24)(bcl.load_dataset("helmet_icl"))
    >>> fold.name
    'beyond 1e+24 FLOP'
    """
    call = f"beyond_compute({_shown(flops)})"
    return _Beyond(call, "compute", _thresholds(call, [flops]))


def beyond_window(ratio: float = 1.0) -> Split:
    """Fit prompts that fit their context window, predict those that exceed it.

    Parameters
    ----------
    ratio : float
        Largest ratio of prompt tokens to context window to fit. Below 1, rows near the end of
        the window are predicted too.

    Returns
    -------
    Split
        With one fold.

    Raises
    ------
    SpecificationError
        `ratio` is not a positive number.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> (fold,) = beyond_window()(bcl.load_dataset("montgomery2025"))
    >>> fold.name, len(fold.test)
    ('beyond 1 × context window', 13)
    """
    call = f"beyond_window({_shown(ratio)})"
    return _Beyond(call, RATIO, _thresholds(call, [ratio]))


def leave_out(level: str, labels: Sequence[str] | str | None = None) -> Split:
    """Predict what is known by one label from all others: one fold a label.

    Parameters
    ----------
    level : str
        Label that divides the rows: ``"family"``, ``"task"``, ``"llm"``, ``"technique"``, any
        other label the observations carry, or two joined by a colon (``"task:family"``).
    labels : str or sequence of str, optional
        Labels to leave out, each in a fold of its own, in this order; all, in the order of the
        data, if None. The parts of a joined label stand as ``"qa | Llama-2"``.

    Returns
    -------
    Split

    Raises
    ------
    SpecificationError
        A label is given twice or none is given. When applied: the data lack the level, or have
        one label only.
    UnknownLabelError
        When applied: the data lack a label.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> [fold.name for fold in leave_out("task", ["machine translation"])(obs)]
    ['task machine translation']
    """
    if labels is None:
        return _LeaveOut(str(level), None)
    names = (labels,) if isinstance(labels, str) else tuple(map(str, labels))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        found = f"given twice: {', '.join(map(repr, twice))}" if twice else "none is given"
        raise SpecificationError(
            f"{wording().split(f'leave_out({level!r})')}: labels to leave out: {found}. Name each "
            f"once, or give no {wording().argument('labels')} to take all in turn."
        )
    return _LeaveOut(str(level), names)


def longest_in_window(share: float = 0.25) -> Split:
    """Fit the shorter prompts of every task, predict its longest ones that fit their window.

    Unlike with `beyond_context`, every task is fitted, and every task with prompts of several
    lengths is predicted, however their lengths differ between tasks.

    Parameters
    ----------
    share : float
        Part of a task's rows within their window to predict: more where rows of one length would
        be torn apart, but never those of the least length. A task with a single length is fitted
        whole.

    Returns
    -------
    Split
        With one fold.

    Raises
    ------
    SpecificationError
        `share` does not lie between 0 and 1. When applied: no task has prompts of two lengths
        that fit their window.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> (fold,) = longest_in_window()(bcl.load_dataset("montgomery2025"))
    >>> len(fold.train), len(fold.test)
    (77, 27)
    """
    number = is_number(share)
    if not number or not 0.0 < share < 1.0:
        raise SpecificationError(
            f"{wording().split(f'longest_in_window({_shown(share)})')}: give a share between 0 "
            "and 1, such as 0.25."
        )
    return _Longest(float(share))


def rolling_context(
    tokens: Sequence[float], in_window: bool | None = None, horizon: str = "next"
) -> Split:
    """Fit up to one prompt length after the other, predict what comes next: rolling origins.

    Parameters
    ----------
    tokens : sequence of float
        Longest prompt to fit in each fold, increasing.
    in_window : bool, optional
        As in `beyond_context`.
    horizon : {"next", "all"}
        Predict up to the next of `tokens` (after the last: all), so that every row is predicted
        once at most; or predict all longer prompts from each.

    Returns
    -------
    Split
        With one fold for each of `tokens`.

    Raises
    ------
    SpecificationError
        `tokens` are not positive increasing numbers, or an option is unknown.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> for fold in rolling_context([4000, 16_000])(obs):
    ...     print(fold.name, len(fold.test))
    beyond 4,000 up to 16,000 prompt tokens 24
    beyond 16,000 prompt tokens 18
    """
    call = f"rolling_context({_shown(tokens)}{_window_argument(in_window)}, horizon={horizon!r})"
    thresholds = _thresholds(call, tokens)
    return _Beyond(
        call, "prompt_tokens", thresholds, _window(call, in_window), _horizon(call, horizon)
    )


def rolling_compute(flops: Sequence[float], horizon: str = "next") -> Split:
    """Fit up to one training compute after the other, predict what comes next: rolling origins.

    Parameters
    ----------
    flops : sequence of float
        Largest compute to fit in each fold, in FLOP, increasing.
    horizon : {"next", "all"}
        As in `rolling_context`.

    Returns
    -------
    Split
        With one fold for each of `flops`.

    Raises
    ------
    SpecificationError
        `flops` are not positive increasing numbers, or `horizon` is unknown.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> folds = rolling_compute([3e23, 1e24])(bcl.load_dataset("helmet_icl"))
    >>> bool(len(folds[0].train) < len(folds[1].train))
    True
    """
    call = f"rolling_compute({_shown(flops)}, horizon={horizon!r})"
    return _Beyond(call, "compute", _thresholds(call, flops), None, _horizon(call, horizon))


def _shown(value: object) -> str:
    if is_number(value):
        return f"{float(value):.10g}"
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return f"[{', '.join(_shown(v) for v in value)}]"
    return repr(value)


def _thresholds(call: str, values: Sequence[float]) -> tuple[float, ...]:
    listed = list(values) if isinstance(values, Sequence | np.ndarray) else []
    numbers = all(is_number(v) and 0 < v < math.inf for v in listed)
    if not listed or not numbers or listed != sorted(set(listed)):
        raise SpecificationError(
            f"{wording().split(call)}: give positive numbers, each larger than the one before, "
            "such as 10000 tokens or 1e24 FLOP."
        )
    return tuple(map(float, values))


def _window(call: str, in_window: bool | None) -> bool | None:
    if in_window is not None and not isinstance(in_window, bool | np.bool_):
        raise SpecificationError(f"{call}: in_window is True, False or None (both).")
    return in_window


def _window_argument(in_window: bool | None) -> str:
    return "" if in_window is None else f", in_window={in_window!r}"


def _horizon(call: str, horizon: str) -> str:
    if horizon not in ("next", "all"):
        raise SpecificationError(f'{call}: horizon is "next" or "all".')
    return horizon
