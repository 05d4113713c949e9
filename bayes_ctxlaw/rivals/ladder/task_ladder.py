"""Task ladders: loss from the size of a run, accuracy from loss."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.encoding import level_labels
from bayes_ctxlaw.errors import NotFittedError, SpecificationError
from bayes_ctxlaw.judgement import convergence, verdict
from bayes_ctxlaw.observations import as_design, as_observations
from bayes_ctxlaw.predict import check_options, summarise
from bayes_ctxlaw.rivals._bootstrap import check_bootstrap
from bayes_ctxlaw.rivals._labels import check_tasks, draws_like
from bayes_ctxlaw.rivals.ladder.bayesian import BayesianFit, fit_bayesian
from bayes_ctxlaw.rivals.ladder.graph import FORMS
from bayes_ctxlaw.rivals.ladder.published import NOISES, VARIANTS, PublishedFit, fit_published
from bayes_ctxlaw.rivals.ladder.runs import Place, Runs, place, read_runs
from bayes_ctxlaw.seeds import root_seed, seed_or

_LOG = logging.getLogger(__name__)

METHODS = {"bayes": tuple(FORMS), "least_squares": tuple(VARIANTS)}


class TaskLadder:
    r"""Forecast accuracy from training runs of growing size, through the loss on each task.

    .. math::

        L(N, D) = \frac{A}{N^\alpha} + \frac{B}{D^\beta} + E, \qquad
        P(L) = \frac{a}{1 + e^{-k (L - L_0)}} + b

    Parameters
    ----------
    method : {"bayes", "least_squares"}
        ``"least_squares"`` is the authors' way: each task by itself, Huber's loss on log losses,
        then least squares for the sigmoid over all checkpoints; intervals by a bootstrap over
        runs, which the authors do not give. ``"bayes"`` writes both steps as one hierarchical
        model over tasks.
    variant : str
        ``"task_loss"``, the form above; ``"compute"``, with L = A/C^α + E. Of least squares also
        ``"c4_loss"`` (the variable ``c4_loss`` in place of the task's own), ``"cross_entropy"``
        (``task_cross_entropy``, and P = 1 − a log σ(−k (L − L₀))) and ``"single_step"``
        (accuracy from N and D without a loss). Of ``"bayes"`` also ``"direct"``,
        −log Q = A/N^α + B/D^β + E with Q the accuracy above a floor, rescaled, and
        ``"direct_compute"``, −log Q = A/C^α + E.
    tokens_per_param : float, optional
        D/N of targets of which only compute is given. If None they are refused, unless the
        variant is of compute.
    resamples : int
        Bootstrap resamples, of least squares.

    Attributes
    ----------
    idata : xarray.DataTree or None
        Posterior and statistics of the sampler, of ``"bayes"``.
    parameters : pandas.DataFrame
        Fitted parameters by task.

    Notes
    -----
    Runs are observations with ``n_params``, ``train_tokens`` and ``task_loss``: one row for the end
    of each run and task; rows with ``checkpoint_tokens`` are checkpoints before it. Prompts and
    windows are not used and need not be there.

    In the Bayesian model the score is :math:`f + (1-f)\,\sigma(g - k\,(\ell^\lambda - 1)/\lambda)`
    of the loss ℓ over its mean in the task. The floor f lies near chance; λ = 1 is the published
    sigmoid, λ = 0 one in log loss. Within the data they are alike, and beyond it they part: that λ
    is not known is how the interval widens with distance. Tasks share a population of α, β, λ and
    of the shares of the terms. A run has an effect on the losses of all its tasks; each score
    scatters by a fitted multiple of the binomial standard deviation. If there are checkpoints, they
    tell which part of it is theirs and which the run's. They say nothing else here: before the
    learning rate has decayed they follow another curve, and forecasts are better without them.

    The direct forms have the same floor, and a limit E, which their authors do not have: a curve
    that must end in 1 overshoots far beyond the data. Their exponents may break at the edges of the
    runs, by as much as that of compute in `ContextLaw`: a law of scores need not go on. The law of
    losses is the better founded one, and in the forms of two steps it goes on.

    Fits whose form and numbers of tasks and runs (in steps of 8) are the same share a compiled
    model: in a process only the first takes the time to compile it.

    References
    ----------
    Bhagia et al., arXiv:2412.04403; the direct law: Krajewski et al., arXiv:2512.08894.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> from bayes_ctxlaw.rivals.ladder import TaskLadder
    >>> obs = bcl.load_dataset("ladder")
    >>> runs = obs.isel(obs_id=obs["role"].values == "train")
    >>> law = TaskLadder("least_squares", resamples=5).fit(runs, random_seed=1)
    >>> law.predict(obs.isel(obs_id=obs["llm"].values == "7B-4T")).sizes["obs_id"]
    8
    """

    def __init__(
        self,
        method: str = "bayes",
        variant: str = "task_loss",
        tokens_per_param: float | None = None,
        resamples: int = 200,
    ) -> None:
        faults = []
        if method not in METHODS:
            faults.append(f"method={method!r} is not one of {', '.join(map(repr, METHODS))}")
        elif variant not in METHODS[method]:
            known = ", ".join(map(repr, METHODS[method]))
            faults.append(f"variant={variant!r} is not one of those of {method!r}: {known}")
        if tokens_per_param is not None and not (
            isinstance(tokens_per_param, Real)
            and not isinstance(tokens_per_param, bool)
            and 0.0 < tokens_per_param < np.inf
        ):
            faults.append(f"tokens_per_param={tokens_per_param!r} must be a number above 0 or None")
        if faults:
            raise SpecificationError("; ".join(faults) + ".")
        check_bootstrap(resamples, False)
        self.method, self.variant, self.resamples = method, variant, int(resamples)
        self.tokens_per_param = tokens_per_param
        self._runs: Runs | None = None
        self._fit: BayesianFit | PublishedFit | None = None
        self._seed = 0

    @property
    def idata(self) -> xr.DataTree | None:
        """Posterior and statistics of the sampler; None before a fit, and of least squares."""
        return self._fit.idata if isinstance(self._fit, BayesianFit) else None

    @property
    def _by_compute(self) -> bool:
        if self.method == "bayes":
            return FORMS[self.variant][1]
        return VARIANTS[self.variant].by_compute

    def fit(
        self,
        obs: Any,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        random_seed: int | None = None,
        progressbar: bool = True,
        **column_names: str,
    ) -> TaskLadder:
        """Fit the ladder to training runs.

        Parameters
        ----------
        obs : Dataset, DataFrame, path or list of dict
            Whatever ``as_observations`` takes, with or without prompts.
        draws, tune, chains, progressbar
            Of the sampler; of no effect on least squares.
        random_seed : int, optional
            The same seed and observations give the same fit.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        The ladder itself.

        Raises
        ------
        ObservationError
            If the observations are at fault: a run without loss, fewer than three sizes, …; all
            faults in one message, with their rows.
        KeyboardInterrupt
            If the sampler was interrupted (Ctrl-C). What was sampled after the tuning is kept
            first, and the message says how much.
        """
        obs = as_observations(obs, needs_context=False, **column_names)
        seed = root_seed(random_seed)
        if self.method == "bayes":
            loss, by_compute, _ = FORMS[self.variant]
            runs = read_runs(obs, loss, by_compute, needs_items=True)
            found = fit_bayesian(
                runs,
                self.variant,
                draws=draws,
                tune=tune,
                chains=chains,
                random_seed=seed,
                progressbar=progressbar,
            )
        else:
            variant = VARIANTS[self.variant]
            runs = read_runs(obs, variant.loss, variant.by_compute, needs_items=False)
            rng = np.random.default_rng([seed, 0])
            found = fit_published(runs, variant, self.resamples, rng)
        self._runs, self._fit, self._seed = runs, found, seed
        if self.idata is not None and "interrupted" in self.idata.attrs:
            # It goes on as an interruption, so that a loop of fits ends as well.
            raise KeyboardInterrupt(f"{self.idata.attrs['interrupted']}, in `idata`.")
        if self.idata is not None and not (checks := convergence(self.idata))["passed"].all():
            # Who watches the progress should be told how it ended.
            _LOG.log(logging.WARNING if progressbar else logging.INFO, verdict(checks))
        return self

    @property
    def parameters(self) -> pd.DataFrame:
        """Fitted parameters by task; of a posterior the means."""
        self._check_fitted()
        if isinstance(self._fit, PublishedFit):
            by_task = {task: chain.parameters for task, chain in self._fit.best.items()}
        else:
            by_task = self._fit.means()
        return pd.DataFrame.from_dict(by_task, orient="index").rename_axis("task")

    def _check_fitted(self) -> None:
        if self._fit is None:
            raise NotFittedError("this TaskLadder has not been fitted yet: call fit(obs) first.")

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
            Rows to predict: ``task``, ``llm``, ``n_params`` and ``train_tokens``, or ``compute``.
            Give ``n_items`` for the noise of an evaluation; without it there is none.
        ci_prob : float
            Probability of the equal-tailed interval.
        kind : {"response", "llm", "law"}
            ``"law"``: uncertainty of the curves; ``"llm"``: and of what a run adds (the fitted
            effect of a run that is known); ``"response"``: and the noise of an evaluation. Of least
            squares ``"llm"`` is the same as ``"law"``, and the noise is drawn from the residuals
            of the task's fit.
        new_levels : {"error", "uncertainty"}
            What to do with a task that the fit never saw: refuse it, or take a fitted task at
            random, another one in every draw. A run may always be new.
        random_seed : int, optional
            Of noise and of what is new. If None, that of the fit.
        samples : bool
            Add all draws as ``samples``.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        xr.Dataset
            As from ``ContextLaw.predict``; ``extrapolation`` is along compute, parameters and
            tokens. Of least squares also ``point``, the score on the curve of all runs.

        Raises
        ------
        NotFittedError
            If nothing was fitted.
        UnknownLabelError
            If a task was not in the fit and `new_levels` is ``"error"``.
        SpecificationError
            If an option is unknown, or it is not known where a target lies.
        """
        self._check_fitted()
        check_options(kind, ci_prob, new_levels)
        at = as_design(at, needs_context=False, **column_names)
        if new_levels == "error":
            check_tasks(at, self._runs.tasks)
        where = place(at, self._runs, self._by_compute, self.tokens_per_param)
        seed = seed_or(random_seed, self._seed)
        published = isinstance(self._fit, PublishedFit)
        out = summarise(
            self._blocks(at, where, kind, seed),
            at,
            where,
            ci_prob=ci_prob,
            shape=self._shape(kind),
            samples=samples,
            origin="bootstrap" if published else "posterior",
        )
        if published:
            words = {"units": "1", "long_name": "score on the curve fitted to all runs"}
            out["point"] = "obs_id", self._points(at, where), words
        return out.assign_attrs(prediction_kind=kind, new_levels=new_levels)

    def _shape(self, kind: str) -> tuple[int, int]:
        """Chains and draws of a prediction."""
        if isinstance(self._fit, BayesianFit):
            return self._fit.shape
        return 1, self.resamples * (NOISES if kind == "response" else 1)

    def _points(self, at: xr.Dataset, where: Place) -> np.ndarray:
        tasks = level_labels(at, "task")
        points = np.full(len(tasks), np.nan)
        for task, chain in self._fit.best.items():
            rows = tasks == task
            points[rows] = np.clip(chain.score(*where.rows(rows)), 0.0, 1.0)
        return points

    def _blocks(self, at: xr.Dataset, where: Place, kind: str, seed: int) -> Iterator[np.ndarray]:
        """Predicted scores of all rows, (draw, row): a ladder is asked about few."""
        tasks = level_labels(at, "task")
        known = self._runs.tasks
        size = int(np.prod(self._shape(kind)))
        scores = np.empty((size, len(tasks)))
        for task in dict.fromkeys(tasks.tolist()):
            rows = tasks == task
            scores[:, rows] = draws_like(
                [task] if task in known else known,
                partial(self._draw, at, where, rows, kind, seed),
                (size, int(rows.sum())),
                [seed, 2, zlib.crc32(task.encode())],
            )
        yield scores

    def _draw(
        self, at: xr.Dataset, where: Place, rows: np.ndarray, kind: str, seed: int, task: str
    ) -> np.ndarray:
        if isinstance(self._fit, PublishedFit):
            rng = np.random.default_rng([seed, 3, zlib.crc32(task.encode())])
            return self._fit.draws(task, where, rows, kind == "response", rng)
        blank = np.full(at.sizes["obs_id"], np.nan)
        items = at["n_items"].values if "n_items" in at else blank
        return self._fit.draws(
            task, where, rows, level_labels(at, "llm")[rows], items[rows], kind, seed
        )
