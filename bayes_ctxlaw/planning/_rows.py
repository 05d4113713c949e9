"""The points of a plan: rows of a design, and what tells them apart in words."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._tables import read_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.observations import checked, grid, text_columns
from bayes_ctxlaw.predict import check_law
from bayes_ctxlaw.schema import LABELS, NUMBERS, OBS_DIM

OUTCOMES = ("score", "n_correct")

FOLLOWS = {
    "prompt_tokens": ("prompt_tokens_sd",),
    "compute": ("n_params", "train_tokens", "extension_tokens"),
}
"""What belongs to one value of a variable and says nothing at another."""

_TELLING = {
    "family": "{}",
    "technique": "{}",
    "prompt_tokens": "{} prompt tokens",
    "context_window": "window {}",
    "compute": "{} FLOP",
    "n_items": "{} items",
}
"""What may tell rows of one task and llm apart, in the order in which it is tried."""


def read_points(points: Any, what: str, without: str | None = None) -> tuple[xr.Dataset, bool]:
    """Points as a design, and whether they give the variable that they may be without.

    Parameters
    ----------
    points : mapping, Dataset, DataFrame, path or list of dict
        The axes of a grid, or a table.
    what : str
        Name of the argument, for messages.
    without : str, optional
        A variable of the schema that may be absent; the design then holds 1 there.

    Returns
    -------
    xr.Dataset
    bool

    Raises
    ------
    ObservationError, FileFormatError
        The points are at fault; all faults in one message.
    """
    try:
        if isinstance(points, Mapping) and not isinstance(points, xr.Dataset):
            given = _gives(without, set(points))
            return grid(**(points if given else {**points, without: 1.0})), given
        table = read_table(points, text_columns({}))
        given = _gives(without, set(table.frame.columns))
        if not given:
            table.frame = table.frame.assign(**{without: 1.0})
        return checked(table, {}, target=True, mappable=False), given
    except ObservationError as error:
        raise ObservationError(f"{wording().points(what)}: {error}") from error


def check_draws(law: Any) -> None:
    """Refuse a forecaster that gives no joint draws.

    Raises
    ------
    SpecificationError
    """
    check_law(law, "a plan", "predict")
    if "samples" not in inspect.signature(law.predict).parameters:
        raise SpecificationError(
            f"a {type(law).__name__} cannot be planned with: its predict has no argument "
            "`samples`. Use a ContextLaw."
        )


def _gives(variable: str | None, columns: set[str]) -> bool:
    if variable is None or variable in columns:
        return True
    return variable == "compute" and {"n_params", "train_tokens"} <= columns


def settings(design: xr.Dataset, variable: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The distinct rows of a design but for one variable, and the number of each row's own.

    Scores, what follows from the variable and what is merely carried along are left out.
    """
    out = {variable, *OUTCOMES, *FOLLOWS[variable]}
    names = [n for n in (*LABELS, *NUMBERS) if n in design and n not in out]
    frame = design[names].to_dataframe().reset_index(drop=True)
    number = frame.groupby(names, sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(number, return_index=True)[1]
    return frame.iloc[first].reset_index(drop=True), number


def names_of(rows: pd.DataFrame, always: tuple[str, ...] = ()) -> list[str]:
    """What to call every row: its task and llm, and whatever else tells it from the others.

    Parameters
    ----------
    rows : pandas.DataFrame
    always : tuple of str
        Columns to name in any case.

    Returns
    -------
    list of str

    Examples
    --------
    >>> names_of(pd.DataFrame({"task": ["qa", "qa"], "llm": "A", "prompt_tokens": [9.0, 4000.0]}))
    ['qa, A, 9 prompt tokens', 'qa, A, 4,000 prompt tokens']
    """
    names = [", ".join(row) for row in rows[["task", "llm"]].astype(str).itertuples(index=False)]
    for column in (*always, *(name for name in _TELLING if name not in always)):
        if column not in always and len(set(names)) == len(names):
            break
        if column in rows and (column in always or rows[column].nunique(dropna=False) > 1):
            form = _TELLING[column]
            texts = [form.format(number(v) if isinstance(v, float) else v) for v in rows[column]]
            names = [f"{name}, {text}" for name, text in zip(names, texts, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name}, row {i}" for i, name in enumerate(names)]
    return names


def number(value: float) -> str:
    """A whole number with separators of thousands, any other with three digits that count.

    Examples
    --------
    >>> [number(v) for v in (131072.0, 12345.6, 7.8e22, 0.12345)]
    ['131,072', '12,300', '7.8e+22', '0.123']
    """
    if not np.isfinite(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e12:
        return f"{value:.3g}"
    rounded = value if float(value).is_integer() else float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def with_rows(rows: pd.DataFrame) -> xr.Dataset:
    """Rows as a Dataset along ``obs_id``, labels as objects."""
    variables = {name: (OBS_DIM, rows[name].to_numpy()) for name in rows}
    return xr.Dataset(variables, coords={OBS_DIM: np.arange(len(rows))})
