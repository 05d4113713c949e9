"""The forecasters of a stack: their names, their fits as jobs, their draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw import jobs
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.rivals._labels import label_seed
from bayes_ctxlaw.schema import OBS_DIM
from bayes_ctxlaw.validation import backtest as _backtest
from bayes_ctxlaw.validation.weights import thinned


def unfitted_members(members: Any, split: Any) -> dict[str, Any]:
    """Copies of the forecasters of a stack, by name.

    Parameters
    ----------
    members, split
        As in ``stack``.

    Returns
    -------
    dict

    Raises
    ------
    SpecificationError
        They, or the split, cannot be used; all faults in one message.
    """
    named = _named(members)
    faults = [] if len(named) > 1 else [f"at least 2 members are needed, not {len(named)}"]
    if len({id(member) for member in named.values()}) < len(named):
        faults.append("one forecaster is given twice")
    for name, member in named.items():
        unusable = _backtest._check_forecaster(name, member)
        if not unusable and "samples" not in _backtest._arguments(member.predict):
            unusable = [f"{name!r} has no draws to mix: its predict has no argument samples"]
        faults += unusable
    if split is not None and not callable(split):
        faults.append(f"split={split!r} must be a split such as splits.beyond_context(10_000)")
    if faults:
        raise SpecificationError(f"these cannot be stacked: {'; '.join(faults)}.")
    return {name: _backtest._unfitted(name, member) for name, member in named.items()}


def _named(members: Any) -> dict[Any, Any]:
    """Forecasters by name; a sequence's by their class, numbered where that is not enough."""
    if isinstance(members, Mapping):
        return dict(members)
    if not isinstance(members, Sequence) or isinstance(members, str):
        raise SpecificationError(
            f"members={type(members).__name__} must be a mapping of names to forecasters or a list "
            'of them, such as {"power": ContextLaw(), "least squares": rivals.LeastSquaresLaw()}.'
        )
    classes = [type(member).__name__ for member in members]
    names = [
        f"{what} {classes[: i + 1].count(what)}" if classes.count(what) > 1 else what
        for i, what in enumerate(classes)
    ]
    return dict(zip(names, members, strict=True))


def fit_and_keep(forecaster: Any, train: xr.Dataset, test: xr.Dataset, settings: Any) -> xr.Dataset:
    """A job of the backtest, with enough draws of every row to know its distribution by."""
    rows, prediction = _backtest._fit_and_predict(forecaster, train, test, settings)
    rows["kept"] = (OBS_DIM, "kept_draw"), thinned(_flat(prediction).T)
    return rows


def fit_whole(forecaster: Any, train: xr.Dataset, test: xr.Dataset, settings: Any) -> Any:
    """A job like those of the backtest that gives the fitted copy itself."""
    return _backtest._fitted(forecaster, train, settings)


def _flat(prediction: xr.Dataset) -> np.ndarray:
    """Draws of a prediction, (draw, row)."""
    if "samples" not in prediction:
        raise SpecificationError(
            "it has no draws to mix: predict(..., samples=True) returned no `samples`."
        )
    draws = prediction["samples"].transpose(..., OBS_DIM).values
    return draws.reshape(-1, draws.shape[-1])


def member_draws(
    name: str, member: Any, at: xr.Dataset, ci_prob: float, options: Mapping[str, str], seed: int
) -> np.ndarray:
    """Draws of a member at every row, (draw, row)."""
    known = _backtest._arguments(member.predict)
    at = at.drop_vars(_backtest.HIDDEN, errors="ignore")
    with jobs.named(f"{name!r} of the stack"):
        if "kind" not in known and options["kind"] != "response":
            raise SpecificationError(
                f"its predict has no argument kind, so kind={options['kind']!r} cannot be had."
            )
        own = {"random_seed": label_seed(seed, name), "samples": True, **options}
        given = {option: value for option, value in own.items() if option in known}
        prediction = member.predict(at, ci_prob=ci_prob, **given)
        _backtest._check_answer(prediction, at, ci_prob)
        return _flat(prediction)
