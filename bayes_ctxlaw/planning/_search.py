"""The search along one curve: where its draws reach a target, and how high they come.

The curve is predicted on a grid, all draws together, and searched from below: a score may fall
again where prompts outgrow the window, so neither bisection nor a quantile of the crossing will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import brentq

from bayes_ctxlaw.observations import as_design
from bayes_ctxlaw.schema import OBS_DIM

Probability = Callable[[float], np.ndarray]
"""Of a score, the probability (value,) that it is reached, along the values of a curve."""

_SAME = 1e-9  # of a probability: shares of draws have rounding errors
_LEAST = 1e-9  # of a score above 0

STATES = ("reachable", "already reached", "not reachable")


@dataclass(frozen=True)
class Wanted:
    """What is searched for, and how."""

    variable: str
    target: float
    prob: float
    kind: str
    ci_prob: float
    new_levels: str
    random_seed: int | None
    points: int


def search(law: Any, wanted: Wanted, row: pd.DataFrame, values: np.ndarray) -> dict[str, Any]:
    """What `required_context` says of one setting."""
    frame = row.loc[row.index.repeat(len(values))].assign(**{wanted.variable: values})
    design = as_design(frame.reset_index(drop=True))
    curve = _draws(law, wanted, design)
    if wanted.kind == "response":
        probability = _of_evaluations(law, wanted, design, curve)
        ceiling, best = _highest(probability, wanted.prob)
    else:
        probability = _of_curve(curve)
        spare = int((1.0 - wanted.prob) * len(curve) + 1e-9)  # draws that may stay below
        held = np.partition(curve, spare, axis=0)[spare]
        best = int(held.argmax())
        ceiling = held[best]
    reached = probability(wanted.target)
    enough = reached >= wanted.prob - _SAME
    log_values = np.log(values)
    first = int(enough.argmax())
    if not enough.any():
        state, required = STATES[2], np.nan
    elif first == 0:
        state, required = STATES[1], values[0]
    else:
        state = STATES[0]
        below, above = reached[first - 1], reached[first]
        share = min((wanted.prob - below) / (above - below), 1.0)
        required = np.exp(
            log_values[first - 1] + share * (log_values[first] - log_values[first - 1])
        )
    # Never below the range, not even by rounding.
    crossing = np.sort(np.exp(crossings(curve, log_values, wanted.target)).clip(values[0]))
    tail = (1.0 - wanted.ci_prob) / 2.0
    lower, median, upper = (
        np.quantile(crossing, q, method="inverted_cdf") for q in (tail, 0.5, 1.0 - tail)
    )
    return {
        "state": state,
        "required": required,
        "median": median,
        "lower": lower,
        "upper": upper,
        "already": (curve[:, 0] >= wanted.target).mean(),
        "never": np.isinf(crossing).mean(),
        "highest_probability": reached.max(),
        "ceiling": ceiling,
        "ceiling_at": values[best],
        "searched_from": values[0],
        "searched_to": values[-1],
        "extrapolation": _beyond(
            law, wanted, row, values[best] if np.isnan(required) else required
        ),
    }


def _beyond(law: Any, wanted: Wanted, row: pd.DataFrame, value: float) -> xr.DataArray:
    """Decades that a setting with this value lies beyond the data, by axis."""
    at = as_design(row.assign(**{wanted.variable: value}).reset_index(drop=True))
    options = {"new_levels": "uncertainty", "random_seed": wanted.random_seed}
    return law.predict(at, kind="law", **options)["extrapolation"].isel({OBS_DIM: 0})


def _draws(law: Any, wanted: Wanted, design: xr.Dataset) -> np.ndarray:
    """Joint draws (draw, value) of a curve without noise."""
    prediction = law.predict(
        design,
        kind="llm" if wanted.kind == "response" else wanted.kind,
        ci_prob=wanted.ci_prob,
        new_levels=wanted.new_levels,
        random_seed=wanted.random_seed,
        samples=True,
    )
    samples = prediction["samples"].transpose("chain", "draw", OBS_DIM).values
    return samples.reshape(-1, samples.shape[-1])


def _of_curve(curve: np.ndarray) -> Probability:
    return lambda score: (curve >= score).mean(axis=0)


def _of_evaluations(law: Any, wanted: Wanted, design: xr.Dataset, curve: np.ndarray) -> Probability:
    """Of evaluations around a curve, without drawing any.

    Noise drawn at every value by itself would make one of many values lucky, and the first that is
    lucky would be taken for the answer.
    """
    of_draws = law.predictor(wanted.random_seed).reaching(design, curve)
    return lambda score: of_draws(score).mean(axis=0)


def _highest(probability: Probability, prob: float) -> tuple[float, int]:
    """Highest score that is reached with a probability somewhere, and the place of where."""

    def spare(score: float) -> float:
        return float(probability(score).max()) - prob + _SAME

    if spare(_LEAST) < 0.0:
        score = 0.0
    elif spare(1.0) >= 0.0:
        score = 1.0
    else:
        # On the side where it is reached: probabilities of counts fall in steps.
        score = brentq(spare, _LEAST, 1.0, xtol=_LEAST / 4) - _LEAST / 2
    return score, int(probability(max(score, _LEAST)).argmax())


def crossings(curve: np.ndarray, log_values: np.ndarray, target: float) -> np.ndarray:
    """Log of the value at which every draw (draw, value) first reaches a target, else infinity."""
    above = curve >= target
    first = above.argmax(axis=1)
    draw = np.arange(len(curve))
    before = np.maximum(first - 1, 0)
    low, high = curve[draw, before], curve[draw, first]
    rise = np.where(high > low, high - low, 1.0)
    share = np.where(first > 0, (target - low) / rise, 0.0)
    place = log_values[before] + share * (log_values[first] - log_values[before])
    return np.where(above.any(axis=1), place, np.inf)
