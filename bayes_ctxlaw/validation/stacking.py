"""Stacking: predictive distributions averaged by weights that held-out scores decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.errors import NotFittedError, SpecificationError
from bayes_ctxlaw.likelihoods import exact_scores
from bayes_ctxlaw.observations import as_design, as_observations
from bayes_ctxlaw.predict import check_options, summarise
from bayes_ctxlaw.schema import OBS_DIM
from bayes_ctxlaw.seeds import seed_or
from bayes_ctxlaw.validation import backtest as _backtest
from bayes_ctxlaw.validation.members import (
    fit_and_keep,
    fit_whole,
    member_draws,
    unfitted_members,
)
from bayes_ctxlaw.validation.result import Backtest, _count
from bayes_ctxlaw.validation.scores import LEVELS
from bayes_ctxlaw.validation.splits import Fold, longest_in_window
from bayes_ctxlaw.validation.weights import best_weights, crps_matrix, mix

_CI_PROB = 0.9  # of the intervals in `Stack.backtest`; weights do not depend on it
_BLOCK = 256  # rows summarised at once


class _OfCompute:
    """In the place of an encoding where observations have no prompts and windows."""

    def __init__(self, obs: xr.Dataset) -> None:
        self._seen = obs[["compute"]]

    def with_chance(self, at: xr.Dataset) -> xr.Dataset:
        """The rows as they are: who forecasts without prompts has chance from its own fit."""
        return at

    def extrapolation(self, at: xr.Dataset) -> dict[str, np.ndarray]:
        """Decades of compute beyond the data."""
        return _backtest._beyond(self._seen, at)


def stack(
    members: Mapping[str, Any] | Sequence[Any],
    split: Callable[[xr.Dataset], Iterable[Fold]] | None = None,
) -> Stack:
    """Average the predictions of several forecasters by how well each extrapolates.

    Parameters
    ----------
    members : mapping of str to forecaster, or sequence of forecasters
        At least two that have draws: ``predict`` takes ``samples=True``. Those of a sequence are
        called by their class, with a number where several are of one. A copy is fitted; those
        given stay as they are.
    split : callable, optional
        What is held out to find the weights, as in ``backtest``: it should be what is most like
        the question. By default ``bcl.splits.longest_in_window()``: the longest quarter of every
        task's prompts that fit their window.

    Returns
    -------
    Stack
        Not yet fitted; a forecaster like its members.

    Raises
    ------
    SpecificationError
        There are fewer than two members, one has no draws, or was fitted and cannot be copied;
        all faults in one message.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> both = bcl.stack({
    ...     "least squares": bcl.rivals.LeastSquaresLaw(resamples=10),
    ...     "compute only": bcl.rivals.ComputeOnlyLaw(resamples=10),
    ... })
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> both = both.fit(obs, random_seed=1, progressbar=False)
    >>> bool(abs(both.weights.sum() - 1) < 1e-9)
    True
    >>> both.predict(obs.isel(obs_id=[0, 1]))["upper"].shape
    (2,)
    """
    return Stack(members, split)


def _has_context(obs: xr.Dataset) -> bool:
    return "prompt_tokens" in obs and "context_window" in obs


class Stack:
    """Forecasters whose predictive distributions are averaged; made by `stack`.

    Attributes
    ----------
    weights : pandas.Series or None
        Share of each member in the mixture, by name, after a fit.
    backtest : Backtest or None
        How the members fared on the held-out rows that the weights follow from.
    members : dict
        Forecasters by name, after a fit fitted to all observations.

    Notes
    -----
    The weights minimise the mean CRPS of the mixture over all held-out rows, a convex quadratic
    problem that is solved exactly (`bayes_ctxlaw.validation.weights`). What they were chosen by
    cannot judge them: a stack beside its members in ``backtest`` shows what it is worth. With few
    held-out checkpoints the weights are rough.

    References
    ----------
    Yao, Vehtari, Simpson and Gelman (2018), doi:10.1214/17-BA1091.
    """

    def __init__(self, members: Any, split: Any = None) -> None:
        self._fresh = unfitted_members(members, split)
        self.split = split
        self.members: dict[str, Any] = dict(self._fresh)
        self.weights: pd.Series | None = None
        self.backtest: Backtest | None = None
        self._encoding: Encoding | _OfCompute | None = None
        self._seed = 0

    def unfitted(self) -> Stack:
        """Make a stack of the same members and split, not fitted."""
        return Stack(self._fresh, self.split)

    @property
    def _split(self) -> Any:
        return longest_in_window() if self.split is None else self.split

    @property
    def _words(self) -> str:
        return _backtest._words(self._split)

    def __str__(self) -> str:
        names = ", ".join(map(repr, self._fresh))
        if self.weights is None:
            return f"Stack of {names}, not fitted yet; weights by {self._words}"
        scores = self.backtest.totals
        table = pd.DataFrame({"weight": self.weights, "held-out CRPS": scores["crps"]})
        shown = table.to_string(formatters=["{:.3f}".format, "{:.4f}".format])
        points, clusters = scores.iloc[0][["points", "clusters"]]
        rest = (
            f"The weights rest on {_count(points, 'score')} of {_count(clusters, 'checkpoint')}, "
            f"held out by {self._words}."
        )
        # The last is about standard errors, which are not shown here.
        return "\n".join([f"Stack of {names}", "", shown, "", rest, *self.backtest.notes[:-1]])

    __repr__ = __str__

    def fit(
        self,
        obs: Any,
        draws: int | None = None,
        tune: int | None = None,
        chains: int | None = None,
        thin: int | None = None,
        random_seed: int | None = None,
        progressbar: bool = True,
        **column_names: str,
    ) -> Stack:
        """Weigh the members by what they predict of held-out rows, then fit them to all.

        Parameters
        ----------
        obs : Dataset, DataFrame, path or list of dict
            Whatever ``as_observations`` takes; without prompts and windows if no member needs them.
        draws, tune, chains, thin : int, optional
            Handed to the members whose ``fit`` has them; else, and if None, their own.
        random_seed : int, optional
            The same seed and observations give the same weights and predictions.
        progressbar : bool
            Show how many fits are done.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        Stack
            Itself.

        Raises
        ------
        SpecificationError
            The split does not suit the observations, or a member predicts without draws.
        ObservationError
            If the observations are at fault.

        Notes
        -----
        Every fit is one job of joblib, as in ``backtest``.
        """
        # A member that cannot do without prompts and windows says so itself.
        obs = as_observations(obs, needs_context=False, **column_names)
        split = self._split
        levels = _backtest._check(self._fresh, split, _CI_PROB, None, LEVELS, random_seed)
        given = {"draws": draws, "tune": tune, "chains": chains, "thin": thin}
        options = {name: value for name, value in given.items() if value is not None}
        seed = _backtest._root(random_seed)
        settings = _backtest._Settings(options, _CI_PROB, levels, seed)
        folds = self._folds(obs)
        found = _backtest._run(fit_and_keep, self._fresh, obs, folds, settings, progressbar)
        parts = {name: [rows.drop_vars("kept") for rows in of] for name, of in found.items()}
        kept = [np.concatenate([rows["kept"].values for rows in of]) for of in found.values()]
        score = np.concatenate([exact_scores(obs.isel(obs_id=fold.test)) for fold in folds])
        weights = best_weights(crps_matrix(score, kept))
        whole = Fold("all observations", np.arange(obs.sizes[OBS_DIM]), np.arange(0))
        fitted = _backtest._run(fit_whole, self._fresh, obs, [whole], settings, progressbar)
        self.members = {name: member for name, (member,) in fitted.items()}
        self.weights = pd.Series(weights, pd.Index(self._fresh, name="member"), name="weight")
        self.backtest = _backtest._result(parts, obs, folds, split, settings)
        self._encoding = Encoding.of(obs, {}) if _has_context(obs) else _OfCompute(obs)
        self._seed = seed
        return self

    def _folds(self, obs: xr.Dataset) -> list[Fold]:
        try:
            return _backtest._folds(self._split, obs)
        except SpecificationError as error:
            if self.split is not None:
                raise
            raise SpecificationError(
                f"there is no default way to find weights: {error} {wording().split_of_stack()}"
            ) from error

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
        """Predict scores with intervals, those of the mixture.

        Parameters
        ----------
        at, ci_prob, kind, new_levels, **column_names
            As in ``ContextLaw.predict``, and as the members with a weight take them.
        random_seed : int, optional
            Of the members' predictions and of the choice of draws. If None, that of the fit.
        samples : bool
            Add all draws as ``samples``, with the ``member`` each is of.

        Returns
        -------
        xr.Dataset
            As from ``ContextLaw.predict``. There are as many draws as of the member with most,
            shared out in proportion to the weights by the largest remainder. The draws of one
            number are of one member in all rows.

        Raises
        ------
        NotFittedError
            If the stack was not fitted.
        UnknownLabelError
            If a member refuses a label.
        SpecificationError
            If an option is unknown, or a member cannot make such a prediction.

        Notes
        -----
        All draws are in memory, whether or not `samples` are asked for: 8 bytes for each draw of
        each row and member.
        """
        if self.weights is None:
            raise NotFittedError("this stack has no weights yet: call fit(obs) first.")
        check_options(kind, ci_prob, new_levels)
        with_context = isinstance(self._encoding, Encoding)
        at = self._encoding.with_chance(as_design(at, needs_context=with_context, **column_names))
        seed = seed_or(random_seed, self._seed)
        weights = self.weights[self.weights > 0.0]
        options = {"kind": kind, "new_levels": new_levels}
        drawn = {
            name: member_draws(name, self.members[name], at, ci_prob, options, seed)
            for name in weights.index
        }
        mixture, member = mix(drawn, weights.to_numpy(), np.random.default_rng(seed))
        out = summarise(
            (mixture[:, first : first + _BLOCK] for first in range(0, mixture.shape[1], _BLOCK)),
            at,
            self._encoding,
            ci_prob=ci_prob,
            shape=(1, len(mixture)),
            samples=samples,
            origin="stacked",
        )
        if samples:
            out = out.assign_coords(member=("draw", member))
        return out.assign_attrs(prediction_kind=kind, new_levels=new_levels)
