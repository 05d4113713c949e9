"""How a task strays from the law along prompt length: smoothly, by knots at doublings of it.

Between two knots the discrepancy is interpolated in the log of prompt length. From knot to knot it
is an Ornstein-Uhlenbeck process: what a task strays by at one length it strays by at the next as
well, the less so the further apart they are, and not at all far away.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, level_labels
from bayes_ctxlaw.law import LawTerms

KNOT_DIM = "knot"

REACH = 2.0
"""Natural logarithm of the ratio of two prompt lengths, 7.4, at which the correlation is 1/e."""

_STEP = math.log(2.0)
_KEPT = math.exp(-_STEP / REACH)
_NEW = math.sqrt(1.0 - _KEPT**2)


def spans(encoding: Encoding) -> dict[str, tuple[int, int]]:
    """By task, powers of two of the first and the last of its knots, around all its prompts."""
    found = {}
    for task, (_, _, low, high, *_) in encoding.edges.items():
        found[task] = math.floor(low / _STEP + 1e-9), math.ceil(high / _STEP - 1e-9)
    return found


def knot_labels(encoding: Encoding) -> list[str]:
    """Task and prompt length of every knot, task after task.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> encoding = Encoding.of(bcl.load_dataset("ruler"), {"task": ("A",)})
    >>> knot_labels(encoding)[0]
    'RULER | 4096'
    """
    return [
        f"{task} | {2**power}"
        for task, (first, last) in spans(encoding).items()
        for power in range(first, last + 1)
    ]


def loadings(encoding: Encoding) -> np.ndarray:
    """Matrix (knot, knot) that makes the discrepancy of standard normal numbers, at scale 1."""
    blocks = []
    for first, last in spans(encoding).values():
        power = np.arange(first, last + 1)
        correlation = _KEPT ** np.abs(power[:, None] - power)
        blocks.append(scipy.linalg.cholesky(correlation, lower=True))
    return scipy.linalg.block_diag(*blocks)


def between(prompt_tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of two of the knot below each prompt length, and the share of the knot above it."""
    place = np.log(np.asarray(prompt_tokens, dtype=float)) / _STEP
    place = np.where(np.abs(place - np.round(place)) < 1e-9, np.round(place), place)
    below = np.floor(place)
    return below.astype(np.int64), place - below


def rows(
    encoding: Encoding, tasks: Sequence[str], prompt_tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the knots below and above each observation, and the share of the second."""
    begin, at = {}, 0
    for task, (first, last) in spans(encoding).items():
        begin[task] = at - first, at + last - first
        at += last - first + 1
    below, share = between(prompt_tokens)
    offset, end = np.array([begin[task] for task in tasks]).T
    low = below + offset
    return low, np.minimum(low + 1, end), share


@dataclass(frozen=True)
class Straying:
    """What the discrepancies of observations are made of.

    Attributes
    ----------
    loadings : ndarray
        (knot, number): discrepancies of the knots at scale 1, of standard normal numbers.
    parts : tuple of slice
        Knots, and numbers, of each task.
    below, above : ndarray of int
        Knots on both sides of every observation.
    share : ndarray
        By how much the second counts.
    """

    loadings: np.ndarray
    parts: tuple[slice, ...]
    below: np.ndarray
    above: np.ndarray
    share: np.ndarray

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers that make up the discrepancy of each observation, and how much each counts.

        Both (observation, number of its task); where a task has fewer of them than others, its
        first again, which then counts nothing.
        """
        width = max(part.stop - part.start for part in self.parts)
        which = np.empty((len(self.parts), width), dtype=np.int64)
        blank = np.zeros((len(self.parts), width), dtype=bool)
        for k, part in enumerate(self.parts):
            own = np.arange(part.start, part.stop)
            which[k] = np.concatenate([own, np.full(width - len(own), part.start)])
            blank[k, len(own) :] = True
        shares = np.take_along_axis(self.made_of, which[self.task], axis=1)
        return which[self.task], np.where(blank[self.task], 0.0, shares)

    @property
    def task(self) -> np.ndarray:
        """Number of the task of every observation, in the order of `parts`."""
        return np.searchsorted([part.start for part in self.parts], self.below, side="right") - 1

    @property
    def made_of(self) -> np.ndarray:
        """Matrix (observation, number) that makes the discrepancies, at scale 1."""
        low, high = self.loadings[self.below], self.loadings[self.above]
        return (1.0 - self.share)[:, None] * low + self.share[:, None] * high


def straying(obs: xr.Dataset, encoding: Encoding, terms: LawTerms) -> Straying | None:
    """What discrepancies are made of, or None for a law without them."""
    if not terms.strays:
        return None
    ends = np.cumsum([last - first + 1 for first, last in spans(encoding).values()]).tolist()
    parts = tuple(map(slice, [0, *ends[:-1]], ends))
    at = rows(encoding, level_labels(obs, "task"), obs["prompt_tokens"].values)
    return Straying(loadings(encoding), parts, *at)


def to_be_told(obs: xr.Dataset, terms: LawTerms) -> bool:
    """Whether observations can tell a task that strays from the law.

    Of a single task, what it strays by and what the law itself is are one. And a curve of fewer
    prompt lengths than the law has parameters along them is met by these.

    Parameters
    ----------
    obs : xr.Dataset
    terms : LawTerms

    Returns
    -------
    bool
        True with two tasks or more, if most of their curves, one for every checkpoint, have more
        prompt lengths than the law has parameters along them.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> [to_be_told(bcl.load_dataset(name), LawTerms()) for name in ("many_shot_icl", "ruler")]
    [True, False]
    """
    tasks = level_labels(obs, "task")
    if len(set(tasks)) < 2:
        return False
    lengths: dict[tuple[str, str], set[float]] = {}
    for task, llm, n in zip(
        tasks, level_labels(obs, "llm"), obs["prompt_tokens"].values, strict=True
    ):
        lengths.setdefault((task, llm), set()).add(float(n))
    return float(np.median([len(each) for each in lengths.values()])) > len(terms.along_prompt)


class Paths:
    """Draws of the discrepancy at any prompt length of any task.

    Parameters
    ----------
    encoding : Encoding
        Of the fit.
    values : ndarray
        (draw, knot): discrepancies of the knots of the fit.
    scale : ndarray
        (draw,): their standard deviation.
    seed : int
        Root of the random numbers of knots that are not of the fit.
    """

    def __init__(
        self, encoding: Encoding, values: np.ndarray, scale: np.ndarray, seed: int
    ) -> None:
        self._scale, self._seed = scale, seed
        self._spans = spans(encoding)
        self._known: dict[tuple[str, int], np.ndarray] = {}
        at = 0
        for task, (first, last) in self._spans.items():
            for power in range(first, last + 1):
                self._known[task, power] = values[:, at]
                at += 1

    def at(self, task: str, prompt_tokens: np.ndarray) -> np.ndarray:
        """Discrepancy of a task at prompt lengths, (length, draw)."""
        below, share = between(prompt_tokens)
        out = np.empty((len(below), len(self._scale)))
        for i, (power, above) in enumerate(zip(below.tolist(), share.tolist(), strict=True)):
            out[i] = self._knot(task, power)
            if above:
                out[i] += above * (self._knot(task, power + 1) - out[i])
        return out

    def _knot(self, task: str, power: int) -> np.ndarray:
        """A knot of the fit, or one drawn outward from the last that there is."""
        if task not in self._spans:
            # Of a task never seen it begins anywhere, and the same whatever is asked first.
            self._spans[task] = 0, 0
            self._known[task, 0] = self._scale * self._unit(task, 0)
        first, last = self._spans[task]
        for new in (*range(last + 1, power + 1), *range(first - 1, power - 1, -1)):
            inner = new - 1 if new > last else new + 1
            self._known[task, new] = _KEPT * self._known[
                task, inner
            ] + _NEW * self._scale * self._unit(task, new)
        self._spans[task] = min(first, power), max(last, power)
        return self._known[task, power]

    def _unit(self, task: str, power: int) -> np.ndarray:
        key = zlib.crc32(f"discrepancy|{task}|{power}".encode())
        return np.random.default_rng([self._seed, 5, key]).standard_normal(len(self._scale))
