"""The search along one curve: where its draws reach a target, and how high they come.

The curve is predicted on a grid, all draws together, and searched from below: a score may fall
again where prompts outgrow the window, so neither bisection nor a quantile of the crossing will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.observations import as_design
from bayes_ctxlaw.schema import OBS_DIM

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
    scores, beyond = _draws(law, wanted, design, wanted.kind)
    curve = scores
    if wanted.kind == "response":
        curve, _ = _draws(law, wanted, design, "llm")
    size = len(scores)
    spare = int((1.0 - wanted.prob) * size + 1e-9)  # draws that may stay below
    reached = (scores >= wanted.target).sum(axis=0)
    enough = reached >= size - spare
    held = np.partition(scores, spare, axis=0)[spare]
    best = int(held.argmax())
    log_values = np.log(values)
    first = int(enough.argmax())
    if not enough.any():
        state, required, place = STATES[2], np.nan, best
    elif first == 0:
        state, required, place = STATES[1], values[0], 0
    else:
        state, place = STATES[0], first
        below, above = reached[first - 1] / size, reached[first] / size
        share = (wanted.prob - below) / (above - below)
        required = np.exp(
            log_values[first - 1] + share * (log_values[first] - log_values[first - 1])
        )
    crossing = np.sort(np.exp(crossings(curve, log_values, wanted.target)))
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
        "never": np.isinf(crossing).mean(),
        "highest_probability": reached.max() / size,
        "ceiling": held[best],
        "ceiling_at": values[best],
        "searched_from": values[0],
        "searched_to": values[-1],
        "extrapolation": beyond.isel({OBS_DIM: place}),
    }


def _draws(
    law: Any, wanted: Wanted, design: xr.Dataset, kind: str
) -> tuple[np.ndarray, xr.DataArray]:
    """Joint draws (draw, value) of a curve, and how far it lies beyond the data."""
    prediction = law.predict(
        design,
        kind=kind,
        ci_prob=wanted.ci_prob,
        new_levels=wanted.new_levels,
        random_seed=wanted.random_seed,
        samples=True,
    )
    samples = prediction["samples"].transpose("chain", "draw", OBS_DIM).values
    return samples.reshape(-1, samples.shape[-1]), prediction["extrapolation"]


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
