"""Clustering on difficulty as published, with a bootstrap over items for an interval."""

from __future__ import annotations

import zlib

import numpy as np

from bayes_ctxlaw.rivals.difficulty.curves import fit_curve, weighted_mean
from bayes_ctxlaw.rivals.difficulty.grouping import (
    TaskData,
    cluster_items,
    cluster_table,
    members,
    refusal_of_task,
)
from bayes_ctxlaw.rivals.difficulty.mapping import MonotoneSpline


class PublishedTask:
    """Forecast of one task.

    Parameters
    ----------
    name : str
    data : TaskData
    resamples : int
        Bootstrap resamples of items; each keeps its cluster.
    seed : int

    Attributes
    ----------
    refusal : str
        Why there is no forecast, as a sentence; empty if there is one.
    clusters : pandas.DataFrame
    spline : MonotoneSpline
        From the predictable subset to the whole set.
    """

    def __init__(self, name: str, data: TaskData, resamples: int, seed: int) -> None:
        self.data = data
        labels = cluster_items(data)
        every = [np.flatnonzero(own) for own in members(labels)]
        found = [fit_curve(data.compute, data.rate[:, own].mean(axis=1)) for own in every]
        self.clusters = cluster_table(name, data, labels, found, [c.refusal for c in found])
        self.refusal = refusal_of_task(name, self.clusters)
        if self.refusal:
            return
        kept = [number for number, curve in enumerate(found) if not curve.refusal]
        self.curves, owns = [found[number] for number in kept], [every[number] for number in kept]
        self.sizes = np.array([len(own) for own in owns])
        subset = np.concatenate(owns)
        others = np.setdiff1d(np.arange(len(labels)), subset)
        self.spline = self._map(subset, np.arange(len(labels)))
        self._fits = []
        rng = np.random.default_rng([seed, 0])
        for _ in range(resamples):
            drawn = [rng.choice(own, len(own)) for own in owns]
            curves = [
                fit_curve(data.compute, data.rate[:, own].mean(axis=1), start=curve)
                for own, curve in zip(drawn, self.curves, strict=True)
            ]
            left = rng.choice(others, len(others)) if len(others) else others
            chosen = np.concatenate(drawn)
            self._fits.append((curves, self._map(chosen, np.concatenate([chosen, left]))))

    def _map(self, subset: np.ndarray, full: np.ndarray) -> MonotoneSpline:
        rate = np.concatenate([self.data.rate, self.data.anchor])
        return MonotoneSpline(rate[:, subset].mean(axis=1), rate[:, full].mean(axis=1))

    def subset(self, compute: float) -> float:
        """Accuracy of the predictable subset."""
        return float(np.clip(weighted_mean(self.curves, self.sizes, compute), 0.0, 1.0))

    def point(self, compute: float) -> float:
        """The published forecast."""
        return float(self.spline(self.subset(compute)))

    def draws(self, compute: float, llm: str, kind: str, seed: int) -> np.ndarray:
        """Forecasts of the resamples. All kinds are the same, but that ``response`` has noise."""
        score = np.array(
            [
                float(spline(np.clip(weighted_mean(curves, self.sizes, compute), 0.0, 1.0)))
                for curves, spline in self._fits
            ]
        )
        if kind != "response":
            return score
        samples = self.data.samples[-1]
        items, inside = len(samples), self.sizes.sum()
        # By clusters, and what they leave: items that all or no samples pass do not scatter.
        rates = np.array([[curve(compute) for curve in curves] for curves, _ in self._fits])
        rates = np.clip(rates, 0.0, 1.0)
        left = np.clip((items * score - rates @ self.sizes) / max(items - inside, 1), 0.0, 1.0)
        spread = (rates * (1.0 - rates)) @ self.sizes + (items - inside) * left * (1.0 - left)
        variance = spread / items * (1.0 / samples).sum() / items**2
        rng = np.random.default_rng([seed, 1, zlib.crc32(llm.encode())])
        noise = np.sqrt(variance) * rng.standard_normal(len(score))
        return np.clip(score + noise, 0.0, 1.0)
