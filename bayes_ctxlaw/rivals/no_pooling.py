"""A law for each task by itself: what is lost when tasks do not inform each other."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.encoding import Encoding, level_labels
from bayes_ctxlaw.errors import NotFittedError, SpecificationError
from bayes_ctxlaw.jobs import named
from bayes_ctxlaw.likelihoods import draw_scores, item_counts
from bayes_ctxlaw.observations import as_design, as_observations
from bayes_ctxlaw.predict import check_options, summarise
from bayes_ctxlaw.rivals._labels import check_tasks, draws_like, label_seed
from bayes_ctxlaw.rivals._options import plain_law
from bayes_ctxlaw.seeds import root_seed, seed_or

_BLOCK = 256  # rows that are in memory with all their draws


class NoPoolingLaw:
    """A ``ContextLaw`` without effects for every task, fitted to the rows of that task alone.

    Parameters
    ----------
    **options
        Of ``ContextLaw``, but for ``groups``: ``context_term``, ``penalty``, ``priors``, …

    Attributes
    ----------
    laws : dict of str to ContextLaw
        By task, after a fit.
    idata : xarray.DataTree
        Posteriors and statistics of the sampler, put together along ``task``; None before a fit.
        A and B are stated at the references of each task: ``laws[task].encoding``.

    Notes
    -----
    Effects of family, technique and checkpoint are left out as well.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> law = bcl.rivals.NoPoolingLaw(penalty="none")
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> idata = law.fit(obs, draws=50, tune=100, chains=2, random_seed=1, progressbar=False)
    >>> idata["posterior"]["alpha"].dims
    ('chain', 'draw', 'task')
    """

    def __init__(self, **options: Any) -> None:
        plain_law("NoPoolingLaw", options)  # refuses now what it would refuse in the fit
        if options.get("discrepancy", "none") == "prompt_tokens":
            raise SpecificationError(
                "NoPoolingLaw has no discrepancy='prompt_tokens': a task by itself cannot tell its "
                "own law from straying from it. Leave it out, or use ContextLaw."
            )
        self.options = options
        self.laws: dict[str, ContextLaw] = {}
        self.idata: xr.DataTree | None = None
        self._encoding: Encoding | None = None
        self._seed = 0

    def fit(
        self,
        obs: Any,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        random_seed: int | None = None,
        progressbar: bool = True,
        thin: int | None = None,
        **column_names: str,
    ) -> xr.DataTree:
        """Sample the posterior of every task's law, one after the other.

        Parameters
        ----------
        obs, draws, tune, chains, random_seed, progressbar, thin, **column_names
            As in ``ContextLaw.fit``.

        Returns
        -------
        xarray.DataTree
            Also kept as ``idata``.

        Raises
        ------
        ObservationError
            If the observations are at fault, or a task has a single row or equal scores only.
        """
        obs = as_observations(obs, **column_names)
        seed = root_seed(random_seed)
        tasks = level_labels(obs, "task")
        laws = {}
        for task in dict.fromkeys(tasks.tolist()):
            laws[task] = plain_law("NoPoolingLaw", self.options)
            with named(f"the task {task!r}, which is fitted by itself"):
                laws[task].fit(
                    obs.isel(obs_id=tasks == task),
                    draws=draws,
                    tune=tune,
                    chains=chains,
                    random_seed=label_seed(seed, task),
                    progressbar=progressbar,
                    thin=thin,
                )
        self.laws, self._encoding, self._seed = laws, Encoding.of(obs, {}), seed
        self.idata = xr.DataTree.from_dict(
            {group: _along_task(laws, group) for group in ("posterior", "sample_stats")}
        )
        return self.idata

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
        at, ci_prob, kind, random_seed, samples, **column_names
            As in ``ContextLaw.predict``. ``"llm"`` is the same as ``"law"``.
        new_levels : {"error", "uncertainty"}
            What to do with a task that the fit never saw: refuse it, or take the law of a fitted
            task at random, another one in every draw. All other labels are ignored.

        Returns
        -------
        xr.Dataset
            As from ``ContextLaw.predict``.

        Raises
        ------
        NotFittedError
            If nothing was fitted.
        UnknownLabelError
            If a task was not in the fit and `new_levels` is ``"error"``.
        SpecificationError
            If an option is unknown.
        """
        if self.idata is None:
            raise NotFittedError("this NoPoolingLaw has no posterior yet: call fit(obs) first.")
        check_options(kind, ci_prob, new_levels)
        at = as_design(at, **column_names)
        if new_levels == "error":
            check_tasks(at, list(self.laws))
        at = self._encoding.with_chance(at)
        seed = seed_or(random_seed, self._seed)
        sizes = self.idata["posterior"].sizes
        out = summarise(
            self._blocks(at, kind, seed),
            at,
            self._encoding,
            ci_prob=ci_prob,
            shape=(sizes["chain"], sizes["draw"]),
            samples=samples,
        )
        return out.assign_attrs(prediction_kind=kind, new_levels=new_levels)

    def _blocks(self, at: xr.Dataset, kind: str, seed: int) -> Iterator[np.ndarray]:
        """Predicted scores, block after block of rows: arrays (draw, row)."""
        tasks = level_labels(at, "task")
        sizes = self.idata["posterior"].sizes
        size = sizes["chain"] * sizes["draw"]
        for first in range(0, len(tasks), _BLOCK):
            here = at.isel(obs_id=slice(first, first + _BLOCK))
            of_row = tasks[first : first + _BLOCK]
            scores = np.empty((size, len(of_row)))
            for task in dict.fromkeys(of_row.tolist()):
                part = here.isel(obs_id=of_row == task)
                scores[:, of_row == task] = draws_like(
                    [task] if task in self.laws else list(self.laws),
                    partial(self._draw, part, kind, label_seed(seed, task), first),
                    (size, part.sizes["obs_id"]),
                    # By the label: a new task is like the same fitted one in all its rows.
                    [seed, zlib.crc32(task.encode())],
                )
            yield scores

    def _draw(self, at: xr.Dataset, kind: str, seed: int, block: int, task: str) -> np.ndarray:
        """Draws of the scores of rows, as if they were of this task."""
        law, rows = self.laws[task], at.sizes["obs_id"]
        at = at.assign(task=("obs_id", np.full(rows, task, dtype=object)))
        # Not by its `predict`, which may have to say of the task what is not true of these rows.
        # The curve is the same in every block of rows; the noise is not.
        mean = np.concatenate(list(law.predictor(seed).blocks(at, "law")), axis=1)
        if kind != "response":
            return mean
        phi = np.zeros((len(mean), 1))
        if "overdispersion" in law.idata["posterior"]:
            phi = law.idata["posterior"]["overdispersion"].values.reshape(-1, 1)
        rng = np.random.default_rng([seed, block])
        phi = np.broadcast_to(phi, mean.shape)
        return draw_scores(law.spec.likelihood, mean, phi, item_counts(at), rng)


def _along_task(laws: dict[str, ContextLaw], group: str) -> xr.Dataset:
    """One group of all fits; what has no task in one of them gets it."""
    parts = []
    for task, law in laws.items():
        found = law.idata[group].to_dataset()
        found = found.drop_vars("task", errors="ignore").drop_attrs(deep=False)
        parts.append(
            found.map(
                lambda v: v if "task" in v.dims else v.expand_dims(task=1, axis=-1)
            ).assign_coords(task=np.array([task], dtype=object))
        )
    return xr.concat(parts, dim="task", join="exact", data_vars="all", coords="minimal")
