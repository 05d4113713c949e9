"""The items of a task, clustered: which cluster follows its law, and what is left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.rivals.difficulty.clustering import UNLABELLED, improved_mean_shift, pass_rates
from bayes_ctxlaw.rivals.difficulty.curves import Curve


@dataclass(frozen=True)
class TaskData:
    """Counts of one task: what is fitted to, and anchors apart.

    Parameters
    ----------
    llms : tuple of str
        Checkpoints in order of size.
    compute : ndarray (checkpoint,)
        FLOPs.
    passed, samples : ndarray (checkpoint, item)
    anchor : ndarray (anchor, item)
        Pass rates of anchors; no rows if there are none.
    """

    llms: tuple[str, ...]
    compute: np.ndarray
    passed: np.ndarray
    samples: np.ndarray
    anchor: np.ndarray

    @classmethod
    def of(cls, items: xr.Dataset, anchors: tuple[str, ...]) -> TaskData:
        """From the items of a task, in order of compute."""
        passed, samples = items["n_correct"].values, items["n_samples"].values
        labels = items["llm"].values.astype(str)
        aside = np.isin(labels, anchors)
        return cls(
            tuple(labels[~aside].tolist()),
            items["compute"].values[~aside].astype(float),
            passed[~aside],
            samples[~aside],
            passed[aside] / samples[aside],
        )

    @property
    def rate(self) -> np.ndarray:
        """Share of samples passed, (checkpoint, item)."""
        return self.passed / self.samples

    @property
    def passes(self) -> np.ndarray:
        """Whether each item passes at least once."""
        return self.passed.sum(axis=0) > 0

    def counts(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Passes and samples of some items together, (checkpoint,).

        Every item counts the same. Where items have different numbers of samples these are the
        counts that have the mean pass rate, and about its sampling variance.
        """
        size = np.count_nonzero(own) ** 2 / (1.0 / self.samples[:, own]).sum(axis=1)
        return self.rate[:, own].mean(axis=1) * size, size


def cluster_items(data: TaskData) -> np.ndarray:
    """Cluster of every item by its pass rates; -1 for none, and for items that never pass."""
    labels = np.full(len(data.passes), UNLABELLED)
    if data.passes.any():
        features = pass_rates(data.passed, data.samples)[data.passes]
        labels[data.passes] = improved_mean_shift(features)
    return labels


def recluster(data: TaskData, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same with pass rates drawn from their posterior given the counts.

    The prior of an item of a cluster is a beta distribution with the cluster's mean and spread: a
    draw around the observed rate alone would scatter twice, as the sample does and as the draw.
    """
    passed, samples, rate = data.passed, data.samples, data.rate
    # A tenth of a pass and of a failure: no draw is exactly 0, none of a rate of 0 is far from it.
    yes, no = np.full(rate.shape, 0.1), np.full(rate.shape, 0.1)
    for own in members(labels):
        mean = np.clip(rate[:, own].mean(axis=1, keepdims=True), 1e-6, 1.0 - 1e-6)
        room = (mean * (1.0 - mean)).sum()
        noise = (mean * (1.0 - mean) / samples[:, own]).mean(axis=1).sum()
        alike = np.clip((rate[:, own].var(axis=1).sum() - noise) / room, 1e-4, 0.5)
        yes[:, own] = mean * (1.0 / alike - 1.0)
        no[:, own] = (1.0 - mean) * (1.0 / alike - 1.0)
    drawn = rng.beta(passed + yes, samples - passed + no).T
    again = np.full(len(labels), UNLABELLED)
    again[data.passes] = improved_mean_shift(drawn[data.passes], near=labels[data.passes])
    return again


def members(labels: np.ndarray) -> list[np.ndarray]:
    """Whether each item is in a cluster, cluster by cluster."""
    return [labels == number for number in range(labels.max(initial=UNLABELLED) + 1)]


def cluster_table(
    task: str,
    data: TaskData,
    labels: np.ndarray,
    curves: Sequence[Curve],
    refusals: Sequence[str],
) -> pd.DataFrame:
    """One row a cluster, then the items without one: size, parameters, whether it is kept."""
    rate = data.rate
    groups = zip(members(labels), curves, refusals, strict=True)
    rows = [
        {
            "task": task,
            "cluster": number,
            "n_items": int(own.sum()),
            "smallest": rate[0, own].mean(),
            "largest": rate[-1, own].mean(),
            "a": curve.a,
            "b": curve.b,
            "c": curve.c,
            "g": curve.g,
            "kept": not refusal,
            "why": refusal or "follows its law",
        }
        for number, (own, curve, refusal) in enumerate(groups)
    ]
    for why, own in (
        ("passed, but like too few others", (labels == UNLABELLED) & data.passes),
        ("never passed", ~data.passes),
    ):
        if own.any():
            ends = {"smallest": rate[0, own].mean(), "largest": rate[-1, own].mean()}
            size = {"task": task, "cluster": UNLABELLED, "n_items": int(own.sum())}
            rows.append(size | ends | {"kept": False, "why": why})
    return pd.DataFrame(rows)


def refusal_of_task(task: str, clusters: pd.DataFrame) -> str:
    """Why nothing can be forecast, in words; empty if something can."""
    found = clusters[clusters["cluster"] != UNLABELLED]
    if found["kept"].any():
        return ""
    if found.empty:
        return f"{task!r} has no ten items whose pass rates rise alike, so no cluster"
    failed = "; ".join(
        f"cluster {row.cluster} of {row.n_items} items: {row.why}"
        for row in found.head(5).itertuples()
    )
    more = "; …" if len(found) > 5 else ""
    return f"{task!r} has {len(found)} cluster(s), none predictable ({failed}{more})"
