"""From Datasets to the rows of curves and points, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError

_NEEDED = ("median", "lower", "upper")
_APART = ("llm", "family", "n_items", "chance", "prompt_tokens_sd", "metric")
"""What may not change along a curve unnoticed where points share their place."""

NEAR_DECADES = 0.1
"""An observation belongs to a curve drawn for a number when it is this near to it (26 %)."""

BEYOND = {"compute": "compute", "prompt_tokens": "prompt tokens", "window_ratio": "window ratio"}


@dataclass(frozen=True)
class CurveAxis:
    """What a curve runs along.

    Attributes
    ----------
    variable : str
        Variable of the design along x.
    title : str
        Text of the x axis.
    label : callable
        Text of its ticks.
    split : tuple of str
        Variables that are constant along a curve.
    """

    variable: str
    title: str
    label: Callable[[float], str]
    split: tuple[str, ...]


def prediction_rows(
    prediction: xr.Dataset, axis: CurveAxis, by: str | None, panels: str | None
) -> pd.DataFrame:
    """Rows of a prediction, checked, with which of them lie beyond the data."""
    if not isinstance(prediction, xr.Dataset):
        raise SpecificationError(
            f"the prediction is a {type(prediction).__name__}: give the Dataset that law.predict "
            "returned, not a table of it."
        )
    missing = [name for name in (*_NEEDED, axis.variable) if name not in prediction]
    if missing:
        raise SpecificationError(
            f"the prediction has no {', '.join(missing)}: give what law.predict returned. "
            f"It has {', '.join(map(str, prediction.data_vars))}."
        )
    for option, name in (("by", by), ("panels", panels)):
        if name is not None and prediction.get(name, xr.DataArray()).dims != ("obs_id",):
            raise SpecificationError(
                f"{option}={name!r} is not a variable of the prediction along obs_id, which has "
                f"{', '.join(n for n, v in prediction.data_vars.items() if v.dims == ('obs_id',))}."
            )
    flat = prediction[[n for n, v in prediction.data_vars.items() if v.dims == ("obs_id",)]]
    rows = flat.to_dataframe().reset_index(drop=True)
    if rows.empty:
        raise SpecificationError("the prediction has no rows: there is nothing to draw.")
    for name in BEYOND:
        rows[f"beyond {name}"] = False
    if "extrapolation" in prediction:
        beyond = prediction["extrapolation"].transpose("obs_id", "axis")
        for name in set(BEYOND) & set(beyond["axis"].values.tolist()):
            rows[f"beyond {name}"] = beyond.sel(axis=name).values > 0
    return rows


def observation_rows(
    observations: xr.Dataset | None,
    axis: CurveAxis,
    by: str | None,
    panels: str | None,
    held_out: Any,
) -> pd.DataFrame | None:
    """Rows of the observations with a boolean column ``open``; None without observations."""
    if observations is None:
        if held_out is not None:
            raise SpecificationError("`held_out` marks observations, but none were given.")
        return None
    needed = ["score", axis.variable, *(name for name in (by, panels) if name is not None)]
    missing = [name for name in needed if name not in observations]
    if missing:
        raise SpecificationError(f"the observations have no {', '.join(missing)}.")
    rows = observations[list(dict.fromkeys(needed))].to_dataframe().reset_index(drop=True)
    rows["open"] = _held_out(observations, held_out)
    return rows


def _held_out(observations: xr.Dataset, held_out: Any) -> np.ndarray:
    """Which observations the fit did not see."""
    size = observations.sizes["obs_id"]
    if held_out is None:
        held_out = observations.get("held_out", np.zeros(size, dtype=bool))
    elif isinstance(held_out, str):
        if held_out not in observations:
            raise SpecificationError(f"the observations have no variable {held_out!r} (held_out).")
        held_out = observations[held_out]
    marks = np.asarray(held_out)
    if marks.dtype != bool or marks.shape != (size,):
        raise SpecificationError(
            f"`held_out` must be true or false for each of the {size} observations; "
            f"got {marks.dtype} of shape {marks.shape}."
        )
    return marks


def values_of(rows: pd.DataFrame, name: str | None) -> list[Any]:
    """Labels in the order of appearance, numbers in increasing order."""
    if name is None:
        return [None]
    if rows[name].isna().any():
        raise SpecificationError(
            f"`{name}` is blank in some rows of the prediction, which then belong to no colour or "
            "panel. Fill it in, or select the other rows."
        )
    values = rows[name].drop_duplicates().tolist()
    return values if isinstance(values[0], str) else sorted(values)


def matches(column: pd.Series, value: Any, among: list[Any]) -> pd.Series:
    """Rows that belong to a label, or that are near enough to a number and no nearer to another."""
    if isinstance(value, str | bool) or not value > 0:
        return column == value
    others = np.array([other for other in among if other > 0], dtype=float)
    with np.errstate(divide="ignore"):  # 0 is near to nothing
        away = np.abs(np.log10(column.to_numpy(dtype=float)[:, None] / others))
    nearest = others[away.argmin(axis=1)] == value
    return pd.Series(nearest & (away.min(axis=1) < NEAR_DECADES), index=column.index)


def along(curve: pd.DataFrame, x: str) -> pd.DataFrame:
    """One row for each place along x, in order: of replicates of a design the first."""
    curve = curve.sort_values(x, kind="stable")
    twice = curve[curve.duplicated(x, keep=False)]
    differing = [n for n in _APART if n in twice and (twice.groupby(x)[n].nunique() > 1).any()]
    if differing:
        raise SpecificationError(
            f"several rows of one curve have the same `{x}` and differ in "
            f"{', '.join(differing)}. Colour or panel by it, such as by={differing[0]!r}, or "
            "select one value first."
        )
    return curve.drop_duplicates(x)
