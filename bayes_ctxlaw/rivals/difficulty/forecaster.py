"""Class ``DifficultyClusters``: fit, predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.encoding import decades_beyond, level_labels
from bayes_ctxlaw.errors import NotFittedError, ObservationError, SpecificationError
from bayes_ctxlaw.observations import as_design, as_observations
from bayes_ctxlaw.predict import check_options, summarise
from bayes_ctxlaw.rivals._labels import check_tasks, draws_like, label_seed
from bayes_ctxlaw.rivals.difficulty.bayesian import BayesianTask
from bayes_ctxlaw.rivals.difficulty.grouping import TaskData
from bayes_ctxlaw.rivals.difficulty.items import MIN_SIZES, as_items, distinct_sizes, task_items
from bayes_ctxlaw.rivals.difficulty.published import PublishedTask
from bayes_ctxlaw.seeds import root_seed, seed_or

METHODS = ("bayesian", "published")


class DifficultyClusters:
    """Forecast of a score by clusters of items that are alike in difficulty.

    Items are clustered by how their pass rates rise over a series of checkpoints. Every cluster
    gets a law in compute; those whose law can be extrapolated are, and the score of the whole set
    follows from theirs.

    Parameters
    ----------
    items : DataFrame, path, Dataset or list of dict, optional
        Pass counts, as for ``as_items``. With it ``fit`` takes observations, as in a backtest, and
        only the checkpoints among them are fitted to; without it ``fit`` takes the pass counts.
    method : {"bayesian", "published"}
        ``"published"`` is the algorithm of arXiv:2502.17262: least squares, a monotone spline from
        the predictable subset to the whole set, and a bootstrap over items for an interval, which
        the authors do not have. ``"bayesian"``: see Notes.
    anchor : str or sequence of str, optional
        Checkpoints, by ``llm`` label, that are used for nothing but the map from subset to whole
        set: large ones whose score is known, of whatever family. Their pass counts are always used,
        also in a backtest that holds their scores out.
    draws : int
        Draws of a Bayesian forecast, or bootstrap resamples of the published one. 2000 or 100
        unless given.

    Attributes
    ----------
    clusters : pandas.DataFrame
        After a fit, a row for every cluster: task, number of items, mean pass rate at the smallest
        and the largest checkpoint, a, b, c and g (by least squares, or at the mode of the posterior
        of that cluster alone), whether it is kept, and why not. For the Bayesian form also ``kept
        in``, the share of clusterings in which its items are predictable. Items without a cluster
        have the number -1.

    Notes
    -----
    The Bayesian form clusters as published, once on the pass rates and seven times on draws from
    their posterior. It keeps clusters whose likeliest curve has a > 1 and b > 0.1, and rises by 0.5
    on the logit scale; a low ceiling is no reason for refusal here, since its uncertainty is part
    of the forecast. Counts of a cluster are beta-binomial around its law, with an effect of each
    checkpoint on all clusters, and a posterior by the Laplace approximation around every mode:
    curves may go on rising or level off. Items that are not predictable are of two groups: those
    not solved so far, forecast from what items not solved at earlier checkpoints did later, along a
    line on the logit scale; and the rest, which moves with the predictable subset along a trend
    that goes on from the last checkpoint, with anchors among the points. Beyond the data exponents
    change by a random amount, because curves need not continue.

    ``kind="law"`` has all this but effects of checkpoints; ``"llm"`` adds the effect of the
    checkpoint, a fitted one if its label is known; ``"response"`` the sampling noise of an
    evaluation on the same items, with as many samples as the largest checkpoint had.

    A task with no cluster that can be extrapolated has no forecast: ``fit`` refuses it.

    Prompt length, window and all labels but task and llm are not used.

    References
    ----------
    Xu et al., arXiv:2502.17262.

    Examples
    --------
    >>> from bayes_ctxlaw.rivals.difficulty import DifficultyClusters, simulate_items
    >>> items = simulate_items(n_items=300, random_seed=3)
    >>> law = DifficultyClusters(draws=400).fit(items.isel(llm=slice(8)), random_seed=1)
    >>> at = [{"task": "simulated task", "llm": "target", "compute": 1.4e24}]
    >>> pred = law.predict(at, kind="response")
    >>> bool(pred["lower"][0] < items["n_correct"][8].mean() / 100 < pred["upper"][0])
    True
    """

    def __init__(
        self,
        items: Any = None,
        method: str = "bayesian",
        anchor: str | Sequence[str] | None = None,
        draws: int | None = None,
    ) -> None:
        faults = []
        if method not in METHODS:
            faults.append(f"method={method!r} is not one of {', '.join(map(repr, METHODS))}")
        anchors = () if anchor is None else (anchor,) if isinstance(anchor, str) else tuple(anchor)
        if not all(isinstance(label, str) for label in anchors):
            faults.append(f"anchor={anchor!r} must be the label of an llm, or several")
        whole = isinstance(draws, int | np.integer) and not isinstance(draws, bool)
        if draws is not None and not (whole and draws >= 50):
            faults.append(f"draws={draws!r} must be a whole number of at least 50")
        if faults:
            raise SpecificationError("; ".join(faults) + ".")
        self.items = None if items is None else as_items(items)
        self.method, self.anchors = method, anchors
        self.size = int(draws or {"bayesian": 2000, "published": 100}[method])
        self.tasks: dict[str, BayesianTask | PublishedTask] = {}
        self._seed = 0

    def fit(
        self, obs: Any, random_seed: int | None = None, **column_names: str
    ) -> DifficultyClusters:
        """Cluster the items of every task and fit the laws of their clusters.

        Parameters
        ----------
        obs : DataFrame, path, Dataset or list of dict
            Pass counts, as for ``as_items``; or observations, if `items` were given: their scores
            are not used, only which checkpoints were evaluated on which task.
        random_seed : int, optional
            The same seed and counts give the same fit.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        The forecaster itself.

        Raises
        ------
        ObservationError
            If the counts are at fault; if an observed checkpoint has none; or if no cluster of a
            task can be extrapolated. All tasks in one message.
        """
        seed = root_seed(random_seed)
        if self.items is None:
            items = as_items(obs, **column_names)
            names = dict.fromkeys(items["task"].values.tolist())
            chosen = {name: task_items(items, name) for name in names}
        else:
            chosen = self._observed(as_observations(obs, needs_context=False, **column_names))
        data = self._data(chosen)
        form = BayesianTask if self.method == "bayesian" else PublishedTask
        tasks = {
            name: form(name, one, self.size, label_seed(seed, name)) for name, one in data.items()
        }
        refused = [task.refusal for task in tasks.values() if task.refusal]
        if refused:
            raise ObservationError(
                f"There is no predictable cluster, so clustering on difficulty has no forecast. "
                f"{'. '.join(refused)}. Leave such tasks out, add checkpoints or samples, or use a "
                "forecaster of scores (ComputeOnlyLaw, ContextLaw)."
            )
        self.tasks, self._seed = tasks, seed
        return self

    def _observed(self, obs: xr.Dataset) -> dict[str, xr.Dataset]:
        """Counts of the checkpoints that were observed, and of anchors, by task."""
        chosen, faults = {}, []
        tasks, llms = level_labels(obs, "task"), level_labels(obs, "llm")
        for name in dict.fromkeys(tasks.tolist()):
            part = task_items(self.items, name)
            seen = set(llms[tasks == name])
            known = part["llm"].values if part.sizes["item"] else ()
            absent = sorted(seen - set(known))
            if absent:
                faults.append(f"{name!r} by {', '.join(map(repr, absent))}")
            chosen[name] = part.isel(llm=np.isin(part["llm"].values, [*seen, *self.anchors]))
        if faults:
            raise ObservationError(
                f"`items` has no pass counts for what was observed: {'; '.join(faults)}. Add them, "
                "or leave these observations out."
            )
        self._check_compute(obs)
        return chosen

    def _check_compute(self, obs: xr.Dataset) -> None:
        """Refuse checkpoints whose compute is another one in `items`."""
        own = dict(zip(self.items["llm"].values, self.items["compute"].values, strict=True))
        compute = dict(zip(level_labels(obs, "llm"), obs["compute"].values, strict=True))
        faults = [
            f"{llm!r} has {value:g} FLOPs and {own[llm]:g} in `items`"
            for llm, value in compute.items()
            if not np.isclose(value, own[llm], rtol=1e-6, atol=0.0)
        ]
        if faults:
            raise ObservationError(
                f"checkpoints have another compute in `items`: {'; '.join(faults)}. Correct one of "
                "the two."
            )

    def _data(self, chosen: dict[str, xr.Dataset]) -> dict[str, TaskData]:
        """Counts by task, anchors apart; enough sizes of the others."""
        data, faults = {}, []
        for name, items in chosen.items():
            one = data[name] = TaskData.of(items, self.anchors)
            if len(one.anchor) < len(self.anchors):
                absent = sorted(set(self.anchors) - set(items["llm"].values))
                faults.append(
                    f"{name!r} has no counts of the anchor {', '.join(map(repr, absent))}"
                )
            if (sizes := distinct_sizes(one.compute)) < MIN_SIZES:
                faults.append(
                    f"{name!r} has {sizes} size(s) of checkpoint beside anchors, and {MIN_SIZES} "
                    "are needed"
                )
        if faults:
            raise ObservationError(f"The pass counts cannot be fitted to: {'; '.join(faults)}.")
        return data

    @property
    def clusters(self) -> pd.DataFrame:
        """Clusters of all tasks, one row each."""
        self._check_fitted()
        return pd.concat([task.clusters for task in self.tasks.values()], ignore_index=True)

    def _check_fitted(self) -> None:
        if not self.tasks:
            raise NotFittedError("this DifficultyClusters has no fit yet: call fit(items) first.")

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
        """Predict scores on the whole set of items, with intervals.

        Parameters
        ----------
        at : Dataset, DataFrame, path or list of dict
            Rows to predict. Prompt length and window may be left out.
        ci_prob : float
            Probability of the equal-tailed interval.
        kind : {"response", "llm", "law"}
            See the class.
        new_levels : {"error", "uncertainty"}
            What to do with a task that the fit never saw: refuse it, or take a fitted task at
            random in every draw.
        random_seed : int, optional
            Of effects of new checkpoints and of noise. If None, that of the fit.
        samples : bool
            Add all draws as ``samples``.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        xr.Dataset
            As from ``ContextLaw.predict``, with ``extrapolation`` in compute only. If published,
            also ``point``: the forecast from all items, blank for a new task.

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
        at = as_design(at, needs_context=False, **column_names)
        if new_levels == "error":
            check_tasks(at, list(self.tasks))
        seed = seed_or(random_seed, self._seed)
        out = summarise(
            self._blocks(at, kind, seed),
            at,
            _Reach(self.tasks),
            ci_prob=ci_prob,
            shape=(1, self.size),
            samples=samples,
            origin="posterior" if self.method == "bayesian" else "bootstrap",
        )
        if self.method == "published":
            words = {"units": "1", "long_name": "score from all items"}
            out["point"] = "obs_id", self._points(at), words
        return out.assign_attrs(prediction_kind=kind, new_levels=new_levels)

    def _points(self, at: xr.Dataset) -> np.ndarray:
        rows = zip(level_labels(at, "task"), at["compute"].values, strict=True)
        return np.array(
            [self.tasks[t].point(float(c)) if t in self.tasks else np.nan for t, c in rows]
        )

    def _blocks(self, at: xr.Dataset, kind: str, seed: int) -> Iterator[np.ndarray]:
        """Predicted scores, row after row: arrays (draw, 1)."""
        rows = zip(
            level_labels(at, "task"), level_labels(at, "llm"), at["compute"].values, strict=True
        )
        for name, llm, compute in rows:
            names = [name] if name in self.tasks else list(self.tasks)

            def of_task(task: str, llm: str = llm, compute: float = float(compute)) -> np.ndarray:
                own = label_seed(seed, task)
                return self.tasks[task].draws(compute, llm, kind, own)[:, None]

            yield draws_like(names, of_task, (self.size, 1), [seed, label_seed(seed, name)])


class _Reach:
    """How far rows lie beyond the compute of their task."""

    def __init__(self, tasks: dict[str, BayesianTask | PublishedTask]) -> None:
        self.edges = {name: np.log10(task.data.compute[[0, -1]]) for name, task in tasks.items()}

    def extrapolation(self, at: xr.Dataset) -> dict[str, np.ndarray]:
        """Decades of compute beyond the data."""
        every = np.array(list(self.edges.values()))
        widest = np.array([every[:, 0].min(), every[:, 1].max()])
        low, high = np.array([self.edges.get(t, widest) for t in level_labels(at, "task")]).T
        value = np.log10(at["compute"].values.astype(float))
        return {"compute": decades_beyond(value, low, high)}
