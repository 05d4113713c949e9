"""A task ladder as its authors fit it, one task at a time, and again to every resample of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.optimize import curve_fit, least_squares, minimize
from scipy.special import huber

from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.rivals._bootstrap import bootstrap_weights
from bayes_ctxlaw.rivals.ladder import curves
from bayes_ctxlaw.rivals.ladder.runs import Place, Runs

DELTA = 1e-3
"""Where Huber's loss turns from squares to absolute values, in logarithms of the loss."""

NOISES = 5
"""Noises to each refitted chain: 200 draws alone make a rough 5 % quantile."""

_SAME_COST = 1e-6  # share by which a fit must be better to be another one

_FREE = (None, None)
_UP = (0.0, None)


@dataclass(frozen=True)
class Variant:
    """One of the published forms.

    Parameters
    ----------
    loss : str, optional
        Variable that is the loss between the steps; None if there is one step only.
    first : callable
        Curve of the first step, of `place`, with derivatives.
    start, bounds : tuple
        Of its parameters.
    by_compute : bool
    cross_entropy : bool
        Whether the second step is that of cross-entropy.
    skip : float
        Share of every run's checkpoints that is left out, from its beginning.
    width : int
        Checkpoints in a moving average.
    """

    loss: str | None
    first: Callable[..., curves.Curve]
    names: tuple[str, ...]
    start: tuple[float, ...]
    bounds: tuple[tuple[float | None, float | None], ...]
    by_compute: bool = False
    cross_entropy: bool = False
    skip: float = 0.1
    width: int = 5

    def size(
        self, log_n: np.ndarray, log_d: np.ndarray, log_c: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """What the first step is a function of."""
        return (log_c,) if self.by_compute else (log_n, log_d)


_OF_SIZE = {
    "first": curves.loss_of_size,
    "names": ("log_A", "log_B", "alpha", "beta", "E"),
    "start": (3.0, 6.0, 0.1, 0.2, 1.0),
    "bounds": (_UP,) * 5,
}

VARIANTS = {
    "task_loss": Variant("task_loss", **_OF_SIZE),
    "compute": Variant(
        "task_loss",
        curves.loss_of_compute,
        ("log_A", "alpha", "E"),
        (10.0, 0.4, 0.5),
        (_UP, (0.0, 1.0), _UP),
        by_compute=True,
    ),
    "c4_loss": Variant("c4_loss", **_OF_SIZE),
    "cross_entropy": Variant(
        "task_cross_entropy", **_OF_SIZE, cross_entropy=True, skip=0.5, width=1
    ),
    "single_step": Variant(
        None,
        curves.score_of_size,
        ("log_A", "log_B", "alpha", "beta", "E", "a", "b"),
        (3.0, 5.0, 0.2, 0.3, 0.0, np.nan, 1.0),  # a starts at chance − 1
        (_UP, _UP, _UP, _UP, _FREE, (-1.0, 0.0), (0.0, 1.0)),
    ),
}


@dataclass(frozen=True)
class Chain:
    """Both steps of a task."""

    variant: Variant
    first: np.ndarray
    second: np.ndarray

    def score(self, *size: np.ndarray) -> np.ndarray:
        """Accuracy from log N, log D and log C."""
        found, _ = self.variant.first(self.first, *self.variant.size(*size))
        return found if self.variant.loss is None else self._of_loss(found)

    def _of_loss(self, loss: np.ndarray) -> np.ndarray:
        of_loss = (
            curves.score_of_cross_entropy if self.variant.cross_entropy else curves.score_of_loss
        )
        return of_loss(loss, *self.second)

    @property
    def parameters(self) -> dict[str, float]:
        """By name."""
        second = ("a", "L0", "k", "b")[: len(self.second)]
        return dict(zip((*self.variant.names, *second), (*self.first, *self.second), strict=True))


@dataclass(frozen=True)
class PublishedFit:
    """Chains of all tasks, of all runs and of every resample, and what noise is drawn from."""

    best: dict[str, Chain]
    resampled: dict[str, list[Chain]]
    noise: dict[str, np.ndarray]

    def draws(
        self, task: str, at: Place, rows: np.ndarray, noisy: bool, rng: np.random.Generator
    ) -> np.ndarray:
        """Scores of rows as if they were of a task: (draw, row)."""
        size = at.rows(rows)
        scores = np.stack([chain.score(*size) for chain in self.resampled[task]])
        if noisy:
            scores = np.repeat(scores, NOISES, axis=0)
            scores = scores + rng.choice(self.noise[task], size=scores.shape)
        return np.clip(scores, 0.0, 1.0)


def fit_published(
    runs: Runs, variant: Variant, resamples: int, rng: np.random.Generator
) -> PublishedFit:
    """Fit every task, and again to every bootstrap resample of runs.

    Raises
    ------
    ObservationError
        If a task has no more runs than the first step has parameters, or all of its runs the same
        number of tokens where both sizes are in the law; or a score of 0 is to be the logarithm's.
    """
    _check(runs, variant)
    ends = xr.Dataset({v: ("obs_id", runs.ends[v].to_numpy()) for v in ("task", "llm", "compute")})
    weights = bootstrap_weights(ends, resamples, rng)
    best, resampled, noise = {}, {}, {}
    for task in runs.tasks:
        rows = np.flatnonzero(runs.ends["task"] == task)
        fitter = _TaskFitter(runs, task, variant)
        best[task] = fitter.fit()
        resampled[task] = [fitter.fit(times, best[task]) for times in weights[:, rows]]
        left = fitter.score - best[task].score(*fitter.logs)
        # Residuals of parameters fitted to them are smaller than those of new scores.
        noise[task] = left * np.sqrt(len(left) / (len(left) - len(variant.start)))
    return PublishedFit(best, resampled, noise)


def _check(runs: Runs, variant: Variant) -> None:
    """Refuse runs from which the published steps find nothing; all faults in one message."""
    faults = []
    of_task = runs.ends.groupby("task", sort=False)
    counts = of_task.size()
    few = counts[counts <= len(variant.start)]
    if len(few):
        shown = "; ".join(f"{task!r} has {n}" for task, n in few.items())
        faults.append(
            f"each task is fitted by itself and needs at least {len(variant.start) + 1} runs: "
            f'{shown}. Add runs, leave those tasks out, or use method="bayes", which pools tasks.'
        )
    tokens = of_task["train_tokens"].nunique()
    single = tokens.index[tokens == 1]
    if not variant.by_compute and len(single):
        faults.append(
            f"all runs of {', '.join(map(repr, single))} have the same `train_tokens`, so that "
            "nothing tells what more of them would do from the loss that no run gets below. Add "
            'runs of other lengths, or use variant="compute", or method="bayes", whose priors say '
            "what is known of it."
        )
    if variant.loss is None:
        none = runs.ends[runs.ends["score"] <= 0.0]
        shown = ", ".join(f"{r.llm!r} on {r.task!r}" for r in none.head(5).itertuples())
        if shown:
            faults.append(
                f"the single step is fitted to the logarithm of the score, and {len(none)} "
                f"run(s) score 0: {shown}{', …' if len(none) > 5 else ''}. Leave them out, or use "
                "another variant."
            )
    if faults:
        raise ObservationError("\n".join(faults))


class _TaskFitter:
    """The two steps of one task, for any number of times that each run counts."""

    def __init__(self, runs: Runs, task: str, variant: Variant) -> None:
        ends = runs.ends[runs.ends["task"] == task]
        self.variant, self.chance = variant, float(ends["chance"].iloc[0])
        logs = (np.log(ends[v].to_numpy()) for v in ("n_params", "train_tokens", "compute"))
        self.logs = tuple(logs)
        self.size = variant.size(*self.logs)
        self.score, self.loss = ends["score"].to_numpy(), ends["loss"].to_numpy()
        self.points = self._second_step_points(runs, task, ends["llm"].tolist())

    def _second_step_points(
        self, runs: Runs, task: str, llms: list[str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loss, score and number of the run of what the second step is fitted to.

        The checkpoints of a run but the first of them; its end, where that leaves none.
        """
        of_task = dict(list(runs.checkpoints[runs.checkpoints["task"] == task].groupby("llm")))
        losses, scores, numbers = [], [], []
        for number, llm in enumerate(llms):
            loss, score = self.loss[[number]], self.score[[number]]
            part = of_task.get(llm, runs.checkpoints.iloc[:0])
            kept = part.iloc[int(np.ceil(self.variant.skip * len(part))) :]
            if len(kept):
                loss = curves.moving_average(kept["loss"].to_numpy(), self.variant.width)
                score = curves.moving_average(kept["score"].to_numpy(), self.variant.width)
            losses.append(loss)
            scores.append(score)
            numbers.append(np.full(len(loss), number))
        return tuple(map(np.concatenate, (losses, scores, numbers)))

    def fit(self, times: np.ndarray | None = None, near: Chain | None = None) -> Chain:
        """Both steps; the second from that of another fit if given."""
        times = np.ones(len(self.score)) if times is None else times
        second = np.zeros(0)
        if self.variant.loss is not None:
            second = self._second(times, None if near is None else near.second)
        # The first step always starts anew: from its own end the search gets nowhere.
        return Chain(self.variant, self._first(times), second)

    def _first(self, times: np.ndarray) -> np.ndarray:
        start = np.array(self.variant.start)
        start[np.isnan(start)] = self.chance - 1.0
        log_target = np.log(self.score if self.variant.loss is None else self.loss)

        kept = times > 0
        size, times, log_target = [x[kept] for x in self.size], times[kept], log_target[kept]

        def cost(theta: np.ndarray) -> tuple[float, np.ndarray]:
            # A first step may land where the curve overflows; the search then turns back.
            with np.errstate(all="ignore"):
                value, slopes = self.variant.first(theta, *size)
                off = np.log(value) - log_target
                total = (times * huber(DELTA, off)).sum()
                gradient = slopes @ (times * np.clip(off, -DELTA, DELTA) / value)
            return (total, gradient) if np.isfinite(total) else (np.inf, np.zeros(len(theta)))

        found = minimize(
            cost,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=self.variant.bounds,
            options={"ftol": 0.0, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 10_000},
        )
        return found.x

    def _second(self, times: np.ndarray, near: np.ndarray | None) -> np.ndarray:
        loss, score, run = self.points
        if self.variant.cross_entropy:
            of_loss, start = curves.score_of_cross_entropy, [-0.1, 0.9, 3.0]
            bounds = np.array([-np.inf, 0.0, 0.0]), np.array([0.0, np.inf, np.inf])
            weight = times[run].astype(float)
        else:
            # As published: without loss, nothing is answered wrongly.
            loss, score = np.append(loss, 0.0), np.append(score, 1.0)
            of_loss, start = curves.score_of_loss, [self.chance - 1.0, 0.9, 3.0, 1.0]
            bounds = np.array([-1.0, 0.0, 0.0, 0.0]), np.array([0.0, np.inf, np.inf, 1.0])
            weight = np.append(times[run], 1.0)
        if near is None:
            # The published start suits losses near 1; a loss in other units is the same fit from
            # as far. Where both find the same, the published one stands.
            unit = float(np.average(self.points[0]))
            other = [*start[:1], start[1] * unit, start[2] / unit, *start[3:]]
            options = {"bounds": bounds, "max_nfev": 500_000}
            found = [curve_fit(of_loss, loss, score, p0=p0, **options)[0] for p0 in (start, other)]
            costs = [((of_loss(loss, *theta) - score) ** 2).sum() for theta in found]
            return found[int(costs[1] < costs[0] * (1.0 - _SAME_COST))]
        root = np.sqrt(weight)
        found = least_squares(
            lambda theta: root * (of_loss(loss, *theta) - score), near, bounds=bounds, x_scale="jac"
        )
        return found.x
