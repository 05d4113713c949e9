"""Clustering on difficulty as a Bayesian forecast: every step with its uncertainty.

Three groups of items. Those of clusters that follow their law are forecast by the posterior of the
curves. Those that have not been solved so far are forecast by what items not solved by smaller
checkpoints did later. The rest moves with the predictable subset along a trend on the logit scale,
which passes through (0, 0) and (1, 1) as the published map does, and goes on from the last
checkpoint. The score of the whole set is the mean over items of all three, so the map is uncertain
only as far as items are not predictable.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from bayes_ctxlaw.rivals.difficulty.cluster_posterior import (
    CurveDraws,
    curve_posterior,
    likeliest_curves,
)
from bayes_ctxlaw.rivals.difficulty.curves import UNIT, Curve, refusal
from bayes_ctxlaw.rivals.difficulty.grouping import (
    TaskData,
    cluster_items,
    cluster_table,
    members,
    recluster,
    refusal_of_task,
)
from bayes_ctxlaw.rivals.difficulty.lines import LineDraws, TrendDraws
from bayes_ctxlaw.rivals.difficulty.remainder import (
    APART,
    NEAREST,
    anchor_logit,
    logit_mean,
    rest_line,
    threshold,
    unsolved_line,
)

REPLICATES = 8
"""Clusterings that a forecast is made from."""

BREAK = 0.15
"""Curves need not continue: sd of the log of what a cluster's exponent in compute changes by beyond
the data. Half of that of `bayes_ctxlaw.predict`, whose law has one exponent where there are many
clusters here."""

RISE = 0.5
"""By how much a cluster must rise over the data, on the logit scale. A flat one, or one that falls,
has a law too: a floor, and a rise that is yet to come."""

_ANCHOR_SD = 0.3  # logit scale: another family meets the same items otherwise


@dataclass(frozen=True)
class Replicate:
    """Draws under one clustering.

    Parameters
    ----------
    shares : ndarray
        Shares of the items: of every kept cluster, of the unsolved, of the rest.
    curves : CurveDraws
    breaks : ndarray (draw, cluster)
        Factors of what lies beyond the data.
    rest : TrendDraws or None
        None where there are no such items.
    unsolved : LineDraws or None
    ends : ndarray
        Logit of the subset's score at the largest checkpoint, and at each anchor.
    anchored : ndarray (anchor,)
        Logit of the anchors' score on unsolved items.
    bend : ndarray (draw,)
        Standard normal: how the line of the rest goes on.
    """

    shares: np.ndarray
    curves: CurveDraws
    breaks: np.ndarray
    rest: TrendDraws | None
    unsolved: LineDraws | None
    ends: np.ndarray
    anchored: np.ndarray
    bend: np.ndarray


class BayesianTask:
    """Forecast of one task.

    Parameters
    ----------
    name : str
    data : TaskData
    draws : int
    seed : int

    Attributes
    ----------
    refusal : str
        Why there is no forecast, as a sentence; empty if there is one.
    clusters : pandas.DataFrame
    """

    def __init__(self, name: str, data: TaskData, draws: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self.data = data
        labels = cluster_items(data)
        first = _Clusters.of(data, labels)
        self.clusters = cluster_table(name, data, labels, first.curves, first.refusals)
        self.refusal = refusal_of_task(name, self.clusters)
        self.replicates: list[Replicate] = []
        if self.refusal:
            return
        again = [_Clusters.of(data, recluster(data, labels, rng)) for _ in range(REPLICATES - 1)]
        used = [first, *(one for one in again if one.kept)]
        often = np.mean([one.subset for one in used], axis=0)
        shares = [often[own].mean() for own in members(labels)]
        self.clusters["kept in"] = np.append(
            shares, np.full(len(self.clusters) - len(shares), np.nan)
        )
        for one, part in zip(used, np.array_split(np.arange(draws), len(used)), strict=True):
            self.replicates.append(_replicate(data, one, len(part), rng))

    def point(self, compute: float) -> float:
        """No single curve stands for this forecast."""
        return np.nan

    def draws(self, compute: float, llm: str, kind: str, seed: int) -> np.ndarray:
        """Draws of the score on the whole set.

        Parameters
        ----------
        compute : float
            FLOPs.
        llm : str
            The fitted effect of a checkpoint is used where its label is known.
        kind : {"law", "llm", "response"}
        seed : int
        """
        rng = np.random.default_rng([seed, 1, zlib.crc32(llm.encode())])
        known = self.data.llms.index(llm) if llm in self.data.llms else None
        parts = [self._part(one, compute, known, kind, rng) for one in self.replicates]
        score, variance = (np.concatenate(both) for both in zip(*parts, strict=True))
        if kind != "response":
            return score
        samples = self.data.samples[-1]
        items = len(samples)
        effective = items**2 / (1.0 / samples).sum()
        return np.clip(
            score + np.sqrt(variance / effective) * rng.standard_normal(len(score)), 0, 1
        )

    def _part(
        self, one: Replicate, compute: float, known: int | None, kind: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score under one clustering, and mean of P (1 − P) over the items."""
        curves, size = one.curves, len(one.bend)
        log_c = np.log(compute / UNIT)
        data_c = np.log(self.data.compute / UNIT)
        unit, around, after = (rng.standard_normal(size) for _ in range(3))
        effect = np.zeros(size)
        if kind != "law":
            effect = curves.tau * unit if known is None else curves.effects[:, known]
        x = log_c + effect
        inside = np.clip(x, data_c[0], data_c[-1])
        beyond = one.breaks * (x - inside)[:, None]
        rate = curves.rate((inside - curves.edge)[:, None], beyond)
        if kind != "law":
            rate = curves.scattered(rate, rng)
        weights = one.shares[:-2]
        place = _logit_of(np.average(rate, axis=1, weights=weights))
        unsolved = rest = np.zeros(size)
        if one.unsolved is not None:
            ahead = np.log(np.maximum(x - data_c[-1], NEAREST))
            height = one.unsolved.at(ahead) + one.unsolved.noise * after
            unsolved = expit(_with_anchors(height, place, one))
        if one.rest is not None:
            # From the scores at the largest checkpoint, by as much as the law of the subset moves.
            at_edge = curves.rate(np.zeros((size, 1)), np.zeros_like(beyond))
            moved = place - _logit_of(np.average(at_edge, axis=1, weights=weights))
            place = one.ends[0] + moved
            height, sd = one.rest.at(place)
            height = height + sd * one.bend
            if kind != "law":
                height = height + np.sqrt(APART) * one.rest.scale * around
            rest = expit(height)
        every = np.column_stack([*rate.T, unsolved, rest])
        return every @ one.shares, (every * (1.0 - every)) @ one.shares


def _logit_of(score: np.ndarray) -> np.ndarray:
    return logit(np.clip(score, 1e-6, 1.0 - 1e-6))


@dataclass(frozen=True)
class _Clusters:
    """Clusters of the items of a task, with the likeliest law of each by itself."""

    members: list[np.ndarray]
    curves: list[Curve]
    refusals: list[str]

    @classmethod
    def of(cls, data: TaskData, labels: np.ndarray) -> _Clusters:
        own = members(labels)
        found = likeliest_curves(data.compute, *_counts(data, own)) if own else np.empty((0, 4))
        curves = [Curve(*row) for row in found.tolist()]
        return cls(own, curves, [_refusal(curve, data) for curve in curves])

    @property
    def kept(self) -> list[np.ndarray]:
        """Members of the clusters whose law can be extrapolated."""
        both = zip(self.members, self.refusals, strict=True)
        return [own for own, refusal in both if not refusal]

    @property
    def subset(self) -> np.ndarray:
        """Whether each item is in a cluster that is kept."""
        return np.any(self.kept, axis=0)


def _refusal(curve: Curve, data: TaskData) -> str:
    """Why the law of a cluster cannot be extrapolated, in words; empty if it can.

    A low ceiling, which the published filter refuses, is none: the posterior knows how far it is
    known, and a cluster that levels off is easy to forecast.
    """
    return refusal(curve.a, curve.b, 0.0) or _flat(curve, data)


def _flat(curve: Curve, data: TaskData) -> str:
    """Whether a law passes the filter only because its rise lies beyond the data, in words."""
    low, high = logit(np.clip(curve(data.compute[[0, -1]]), 1e-9, 1.0 - 1e-9))
    if high - low >= RISE:
        return ""
    return f"rises by {high - low:.2g} on the logit scale, less than {RISE:g}"


def _counts(data: TaskData, own: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Passes and samples of every cluster: two arrays (cluster, checkpoint)."""
    passed, samples = zip(*(data.counts(one) for one in own), strict=True)
    return np.array(passed), np.array(samples)


def _replicate(
    data: TaskData, clusters: _Clusters, size: int, rng: np.random.Generator
) -> Replicate:
    rate, owns, subset = data.rate, clusters.kept, clusters.subset
    unsolved = ~subset & (rate.max(axis=0) <= threshold(rate))
    rest = ~subset & ~unsolved
    score = logit_mean(rate[:, subset], data.samples[:, subset])
    anchors = anchor_logit(data, subset)
    return Replicate(
        shares=np.array([own.mean() for own in (*owns, unsolved, rest)]),
        curves=curve_posterior(data.compute, *_counts(data, owns)).draw(size, rng),
        breaks=np.exp(BREAK * rng.standard_normal((size, len(owns)))),
        rest=rest_line(data, rest, score, anchors, size, rng) if rest.any() else None,
        unsolved=unsolved_line(data, size, rng) if unsolved.any() else None,
        ends=np.append(score[-1], anchors),
        anchored=anchor_logit(data, unsolved) if unsolved.any() else np.empty(0),
        bend=rng.standard_normal(size),
    )


def _with_anchors(height: np.ndarray, place: np.ndarray, one: Replicate) -> np.ndarray:
    """Combine draws with what anchors say, each by its precision."""
    precision = 1.0 / max(height.var(), 1e-6)
    total, heights = np.full(len(height), precision), precision * height
    for end, own in zip(one.ends[1:], one.anchored, strict=True):
        sd = np.hypot(_ANCHOR_SD, 0.5 * np.abs(place - end))
        # One bend for all: what is unsure about one anchor is unsure about the other.
        said = own + (place - end) + sd * one.bend
        total, heights = total + sd**-2.0, heights + said / sd**2.0
    return heights / total
