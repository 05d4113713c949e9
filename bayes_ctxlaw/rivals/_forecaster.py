"""Forecasters that are a curve for each task, with intervals by the bootstrap."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, level_labels
from bayes_ctxlaw.errors import NotFittedError, ObservationError
from bayes_ctxlaw.observations import as_design, as_observations
from bayes_ctxlaw.predict import check_options, summarise
from bayes_ctxlaw.rivals._bootstrap import bootstrap_weights, check_bootstrap
from bayes_ctxlaw.rivals._labels import check_tasks, draws_like, label_seed
from bayes_ctxlaw.rivals._least_squares import Bounds, fit_curve
from bayes_ctxlaw.seeds import root_seed, seed_or

_BLOCK = 256  # rows whose noise has one seed, so that memory does not grow with the grid
_NOISES = 5  # noises to each refitted curve: 200 draws alone make a rough 5 % quantile


@dataclass(frozen=True)
class Curve:
    """What was fitted to a task, at its references, and what noise is drawn from."""

    encoding: Encoding
    best: np.ndarray
    resampled: np.ndarray
    noise: np.ndarray


class CurveForecaster(ABC):
    """A forecaster that is a curve for each task; a subclass says what curve.

    Parameters
    ----------
    resamples, centred
        As in ``LeastSquaresLaw``.
    """

    def __init__(self, resamples: int = 200, centred: bool = False) -> None:
        check_bootstrap(resamples, centred)
        self.resamples, self.centred = int(resamples), bool(centred)
        self.curves: dict[str, Curve] = {}
        self._encoding: Encoding | None = None
        self._seed = 0

    @abstractmethod
    def _encode(self, rows: xr.Dataset) -> Encoding:
        """References of a task."""

    @abstractmethod
    def _bounds(self, task: str, rows: xr.Dataset) -> Bounds:
        """Lower and upper bounds of the parameters of a task."""

    @abstractmethod
    def _design(self, ds: xr.Dataset, encoding: Encoding) -> dict[str, np.ndarray]:
        """What the curve is a function of, one number a row each."""

    @abstractmethod
    def _score(self, theta: np.ndarray, design: Mapping[str, np.ndarray]) -> np.ndarray:
        """The curve; theta has the parameters first, and broadcasts with the design."""

    @abstractmethod
    def _natural(self, theta: np.ndarray, encoding: Encoding) -> dict[str, np.ndarray]:
        """Parameters by name on their natural scale."""

    def fit(self, obs: Any, random_seed: int | None = None, **column_names: str) -> CurveForecaster:
        """Fit the curve of every task, and again to every resample.

        Parameters
        ----------
        obs : Dataset, DataFrame, path or list of dict
            Whatever ``as_observations`` takes.
        random_seed : int, optional
            Of the search and the resamples. The same seed and observations give the same fit.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        The forecaster itself.

        Raises
        ------
        ObservationError
            If the observations are at fault, or a task has too few of them for its curve.
        """
        obs = as_observations(obs, **column_names)
        tasks = level_labels(obs, "task")
        parts = {task: np.flatnonzero(tasks == task) for task in dict.fromkeys(tasks.tolist())}
        bounds, faults = {}, []
        for task, rows in parts.items():
            low, _ = bounds[task] = self._bounds(task, obs.isel(obs_id=rows))
            if len(rows) <= len(low):
                faults.append(f"{task!r} has {len(rows)}, and {len(low) + 1} are needed")
        if faults:
            raise ObservationError(
                f"{type(self).__name__} fits each task by itself, so each needs more rows than the "
                f"curve has parameters: {'; '.join(faults)}. Add evaluations, leave those tasks "
                "out, or use ContextLaw, which pools tasks."
            )
        seed = root_seed(random_seed)
        weights = bootstrap_weights(obs, self.resamples, np.random.default_rng([seed, 0]))
        self.curves = {
            task: self._fit_task(
                obs.isel(obs_id=rows), bounds[task], weights[:, rows], label_seed(seed, task)
            )
            for task, rows in parts.items()
        }
        self._encoding, self._seed = Encoding.of(obs, {}), seed
        return self

    def _fit_task(self, rows: xr.Dataset, bounds: Bounds, weights: np.ndarray, seed: int) -> Curve:
        encoding = self._encode(rows)
        design, score = self._design(rows, encoding), rows["score"].values.astype(float)
        fit = fit_curve(self._score, bounds, design, score, weights, seed)
        noise = fit.residuals - (fit.residuals.mean() if self.centred else 0.0)
        # Residuals of parameters fitted to them are smaller than those of new scores.
        noise *= np.sqrt(len(score) / (len(score) - len(fit.best)))
        return Curve(encoding, fit.best, fit.resampled, noise)

    @property
    def parameters(self) -> pd.DataFrame:
        """Fitted parameters of every task, with the references at which they are stated."""
        self._check_fitted()
        return pd.DataFrame.from_dict(
            {task: self._natural(c.best, c.encoding) for task, c in self.curves.items()},
            orient="index",
        ).rename_axis("task")

    def _check_fitted(self) -> None:
        if self._encoding is None:
            name = type(self).__name__
            raise NotFittedError(f"this {name} has no curve yet: call fit(obs) first.")

    def predict(
        self,
        at: Any,
        ci_prob: float = 0.9,
        kind: str = "response",
        new_levels: str = "error",
        random_seed: int | None = None,
        samples: bool = False,
        **column_names: str,
    ) -> xr.Dataset:
        """Predict scores with intervals.

        Parameters
        ----------
        at : Dataset, DataFrame, path or list of dict
            Rows to predict: a ``grid``, observations, or a table.
        ci_prob : float
            Probability of the equal-tailed interval.
        kind : {"response", "llm", "law"}
            ``"law"``: uncertainty of the curve, by the bootstrap; ``"llm"``: the same.
            ``"response"``: with noise, drawn from the residuals of the task's fit; ``n_items`` of
            the new evaluation is not used.
        new_levels : {"error", "uncertainty"}
            What to do with a task that the fit never saw: refuse it, or take the curve and the
            noise of a fitted task at random, another one in every draw. All other labels are
            ignored.
        random_seed : int, optional
            Of the noise and of new tasks. If None, that of the fit.
        samples : bool
            Add all draws as ``samples``: one a resample, five for ``"response"``.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        xr.Dataset
            As from ``ContextLaw.predict``, and ``point``: the score on the curve that was fitted
            to all observations, blank for a new task.

        Raises
        ------
        NotFittedError
            If nothing was fitted.
        UnknownLabelError
            If a task was not in the fit and `new_levels` is ``"error"``.
        SpecificationError
            If an option is unknown.
        """
        self._check_fitted()
        check_options(kind, ci_prob, new_levels)
        at = as_design(at, **column_names)
        if new_levels == "error":
            check_tasks(at, list(self.curves))
        at = self._encoding.with_chance(at)
        seed = seed_or(random_seed, self._seed)
        out = summarise(
            self._blocks(at, kind, seed),
            at,
            self._encoding,
            ci_prob=ci_prob,
            shape=(1, self._draws(kind)),
            samples=samples,
            origin="bootstrap",
        )
        words = {"units": "1", "long_name": "score on the curve fitted to all observations"}
        out["point"] = "obs_id", self._points(at), words
        return out.assign_attrs(prediction_kind=kind, new_levels=new_levels)

    def _points(self, at: xr.Dataset) -> np.ndarray:
        tasks = level_labels(at, "task")
        points = np.full(len(tasks), np.nan)
        for task, curve in self.curves.items():
            design = self._design(at.isel(obs_id=tasks == task), curve.encoding)
            points[tasks == task] = np.clip(self._score(curve.best, design), 0.0, 1.0)
        return points

    def _blocks(self, at: xr.Dataset, kind: str, seed: int) -> Iterator[np.ndarray]:
        """Predicted scores, block after block of rows: arrays (draw, row)."""
        tasks = level_labels(at, "task")
        for block, first in enumerate(range(0, len(tasks), _BLOCK)):
            rows = slice(first, first + _BLOCK)
            here, of_row = at.isel(obs_id=rows), tasks[rows]
            scores = np.empty((self._draws(kind), len(of_row)))
            rng = np.random.default_rng([seed, 1, block])
            for task in dict.fromkeys(of_row.tolist()):
                part = here.isel(obs_id=of_row == task)
                scores[:, of_row == task] = draws_like(
                    [task] if task in self.curves else list(self.curves),
                    partial(self._draw, part, kind, rng),
                    (len(scores), part.sizes["obs_id"]),
                    # By the label: a new task is like the same fitted one in all its rows.
                    [seed, 2, zlib.crc32(task.encode())],
                )
            yield scores

    def _draws(self, kind: str) -> int:
        return self.resamples * (_NOISES if kind == "response" else 1)

    def _draw(self, at: xr.Dataset, kind: str, rng: np.random.Generator, task: str) -> np.ndarray:
        """Draws of the scores of rows, as if they were of this task."""
        curve = self.curves[task]
        design = {n: v[None, :] for n, v in self._design(at, curve.encoding).items()}
        scores = self._score(curve.resampled.T[..., None], design)
        if kind == "response":
            scores = np.repeat(scores, _NOISES, axis=0)
            scores += rng.choice(curve.noise, size=scores.shape)
        return np.clip(scores, 0.0, 1.0)
