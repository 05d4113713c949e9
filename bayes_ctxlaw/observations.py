"""The door: tables of scores → one checked xarray.Dataset along ``obs_id``.

Everything downstream takes the Dataset made here and neither parses, checks nor labels again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw import _checks as checks
from bayes_ctxlaw._faults import Faults, did_you_mean
from bayes_ctxlaw._tables import Table, read_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.compute import training_flops
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.schema import (
    ASSUMED,
    CARRIED,
    CONTEXT,
    LETTER_FOR_LETTER,
    OBS_DIM,
    REQUIRED,
    SCHEMA,
    is_assumed,
)

Tabular = pd.DataFrame | xr.Dataset | str | Path | list[dict[str, Any]]

FIT_OPTIONS = ("draws", "tune", "chains", "thin", "target_accept")
OTHER_OPTIONS = (
    "random_seed", "progressbar", "kind", "ci_prob", "new_levels", "samples", "fit_options",
)  # fmt: skip
"""What keywords that are no columns may have meant. Only ever used to suggest."""

MAX_GRID = 10_000_000
"""Largest number of points `grid` lays out: beyond this a slip is likelier than a wish."""


def as_observations(
    data: Tabular, *, needs_context: bool = True, **column_names: str
) -> xr.Dataset:
    """Check a table of scores and return it as the Dataset all of the package works on.

    Parameters
    ----------
    data : pandas.DataFrame, path, xarray.Dataset or list of dict
        One row per evaluated cell. A path is a CSV (``.csv``, ``.csv.gz``) or Parquet
        (``.parquet``, ``.pq``) file. The variables, their units and ranges are listed by
        `bayes_ctxlaw.schema.schema_table`. Required are ``score`` (or ``n_correct`` and
        ``n_items``), ``task``, ``llm``, ``compute`` (or ``n_params`` and ``train_tokens``, from
        which it follows by `training_flops`), ``prompt_tokens`` and ``context_window``.
    needs_context : bool
        Whether the last two are required; training runs for a ``TaskLadder`` have none.
    **column_names : str
        Canonical name = name of your column, where they differ: ``llm="model"``.

    Returns
    -------
    xarray.Dataset
        Dimension ``obs_id``; its integer coordinate counts the rows from 0, or is kept from a
        column or coordinate of that name. Numbers of the schema are float64, labels are objects
        holding str, each with attributes ``units`` and ``long_name``. ``chance`` is 0 when absent,
        and its attribute ``comment`` says so.
        All other columns are carried along; a blank in a carried column of text is ``""``, since
        netCDF knows no blank text. An observation Dataset passes unchanged.

    Raises
    ------
    ObservationError
        The data are not usable; the message lists every fault with its rows.
    SpecificationError
        `column_names` names an unknown variable or an absent column, or `needs_context` is neither
        True nor False.
    FileFormatError
        The file is missing, unreadable or of an unsupported kind.

    Notes
    -----
    Blank compute (and score) are computed in the rows that hold what they follow from. A named
    index of a DataFrame is a column; an unnamed one, or an unnamed first column of a CSV file, only
    labels the rows in messages. Rows with the same design are replicates and stay; rows equal in
    every column are refused. In a CSV file, only an empty field is a blank label; "None" is one.

    Examples
    --------
    >>> from bayes_ctxlaw.observations import as_observations
    >>> rows = [
    ...     {"score": s, "task": "qa", "model": "A-8k", "compute": 8e22,
    ...      "prompt_tokens": n, "context_window": 8192}
    ...     for s, n in [(0.31, 120), (0.42, 960)]
    ... ]
    >>> obs = as_observations(rows, llm="model")
    >>> obs["score"].values.tolist()
    [0.31, 0.42]
    >>> obs["prompt_tokens"].attrs["units"]
    'tokens'
    """
    return _canonical(data, column_names, target=False, needs_context=needs_context)


def as_design(data: Tabular, *, needs_context: bool = True, **column_names: str) -> xr.Dataset:
    """Check a table of points to predict at; like `as_observations`, but no score is needed.

    Parameters
    ----------
    data, needs_context, **column_names
        As in `as_observations`. ``score`` may be absent or blank; if present it is checked and
        kept.

    Returns
    -------
    xarray.Dataset
        As from `as_observations`, but ``chance`` is absent if it is not given: it is that of the
        task in the fit, once the points are predicted.

    Raises
    ------
    ObservationError, SpecificationError, FileFormatError
        As in `as_observations`.

    Notes
    -----
    A single row and repeated rows are fine, and one `llm` label may stand with several values of
    compute or family: a prediction may ask what if.

    Examples
    --------
    >>> from bayes_ctxlaw.observations import as_design
    >>> at = as_design([{"task": "qa", "llm": "new", "n_params": 7e9, "train_tokens": 2e12,
    ...                  "prompt_tokens": 4000, "context_window": 8192}])
    >>> at["compute"].item()
    8.4e+22
    """
    return _canonical(data, column_names, target=True, needs_context=needs_context)


def grid(*, needs_context: bool = True, **axes: Any) -> xr.Dataset:
    """Lay out points to predict at: the cross product of everything given as a list or array.

    Parameters
    ----------
    needs_context : bool
        As in `as_observations`.
    **axes : scalar, list, tuple or one-dimensional array
        Variables of the schema (``task``, ``llm``, ``compute`` or ``n_params`` and
        ``train_tokens``, ``prompt_tokens``, ``context_window`` are required); other names are
        carried along. Scalars hold everywhere.

    Returns
    -------
    xarray.Dataset
        As from `as_design`, along ``obs_id``, in the order of the arguments, the last varying
        fastest.

    Raises
    ------
    ObservationError
        A value is out of range, a required variable is missing, or a name is nearly but not quite
        one of the schema; the message lists every fault.

    Notes
    -----
    Values that belong together (an llm and its compute) are not a cross product: give those as the
    rows of a DataFrame to `as_design`.

    Examples
    --------
    >>> from bayes_ctxlaw.observations import grid
    >>> at = grid(task=["qa", "maths"], llm="A-8k", compute=8e22, context_window=8192,
    ...           prompt_tokens=[100, 1000, 8000])
    >>> at.sizes["obs_id"]
    6
    >>> at["prompt_tokens"].values[:3].tolist()
    [100.0, 1000.0, 8000.0]
    """
    _check_flag(needs_context)
    scalars, arrays, faults = {}, {}, []
    for name, value in axes.items():
        column, problem = _axis(name, value)
        if problem:
            faults.append(problem)
        elif column.ndim:
            arrays[name] = column
        else:
            scalars[name] = column[()]
    size = int(np.prod([float(len(a)) for a in arrays.values()]))
    if size > MAX_GRID:
        lengths = ", ".join(f"{n} {len(a)}" for n, a in arrays.items())
        faults.append(f"The grid would have {size:.3g} points ({lengths}); at most {MAX_GRID:.0e}.")
    if faults:
        lines = [f"  {i}. {fault}" for i, fault in enumerate(faults, 1)]
        raise ObservationError("\n".join([f"The grid cannot be laid out ({len(faults)}):", *lines]))
    indices = np.indices([len(a) for a in arrays.values()]).reshape(len(arrays), size)
    spread = {name: a[i] for (name, a), i in zip(arrays.items(), indices, strict=True)}
    spread |= {name: np.full(size, v, dtype=np.asarray(v).dtype) for name, v in scalars.items()}
    frame = pd.DataFrame({name: spread[name] for name in axes}, index=range(size))
    table = Table(frame, np.arange(size), "the grid (points counted from 0)")
    return checked(table, {}, target=True, mappable=False, needs_context=needs_context)


def _check_flag(needs_context: object) -> None:
    if not isinstance(needs_context, bool | np.bool_):
        raise SpecificationError(
            f"needs_context={needs_context!r} must be True or False. It is no name of a column: it "
            "says whether `prompt_tokens` and `context_window` are required."
        )


def _axis(name: str, value: Any) -> tuple[np.ndarray, str]:
    """One argument of `grid` as an array of 0 or 1 dimensions, or what is wrong with it."""
    nothing = np.empty(0)
    if isinstance(value, dict | set | frozenset) or (
        not hasattr(value, "__array__") and hasattr(value, "__next__")
    ):
        return nothing, f"`{name}` is a {type(value).__name__}; give a scalar, a list or an array."
    if isinstance(value, list | tuple | range):
        # Object first: NumPy would turn [1, "a"] into text without a word.
        if any(np.ndim(v) for v in value):
            return nothing, f"`{name}` is nested; give a flat list."
        column = np.empty(len(value), dtype=object)
        column[:] = list(value)
        column = pd.Series(column).infer_objects().to_numpy()
    else:
        column = np.asarray(value)
    if column.ndim > 1:
        return nothing, f"`{name}` has {column.ndim} dimensions; give a scalar or one dimension."
    if column.ndim == 1 and len(column) == 0:
        return nothing, f"`{name}` is empty; give at least one value."
    return column, ""


def _canonical(
    data: Tabular, column_names: dict[str, str], target: bool, needs_context: bool
) -> xr.Dataset:
    _check_flag(needs_context)
    table = read_table(data, text_columns(column_names))
    check_mapping(list(table.frame.columns), column_names)
    return checked(table, column_names, target, needs_context=needs_context)


def text_columns(column_names: dict[str, str]) -> frozenset[str]:
    """The user's columns that hold labels, which a CSV reader must take letter for letter."""
    users = (column_names.get(name, name) for name in LETTER_FOR_LETTER)
    return frozenset(name for name in users if isinstance(name, str))


def check_mapping(columns: list[Any], column_names: dict[str, str]) -> None:
    """Refuse keywords that are no canonical names, and a mapping that is not one to one."""
    valid = [*SCHEMA, OBS_DIM, *CARRIED]
    faults = []
    taken: dict[str, str] = {}
    for name, column in column_names.items():
        if name not in valid:
            if not isinstance(column, str) or name in (*FIT_OPTIONS, *OTHER_OPTIONS):
                # An option that is misspelt, or of another function, arrives here as well.
                faults.append(
                    f"{name}={column!r}: {name!r} is no option here{_close_option(name)}, and not "
                    "a name of the schema, to say which column holds it."
                )
                continue
            meant = did_you_mean(name, valid, 2)
            settled = column in SCHEMA and {name, column} & {*columns}
            if settled and column in columns:
                meant += f", and your column {column!r} has a canonical name already: leave it out"
            elif settled:
                turned = wording().column(column, name)
                meant = f" but your column: it is the other way round, {turned}"
            faults.append(f"{name!r} is not a name of the schema{meant}.")
            if settled:
                continue
        if not isinstance(column, str):
            meant = " The seed of random numbers is random_seed." if name == "seed" else ""
            faults.append(
                f"{name}={column!r} is not the name of a column. For one value in all rows, add a "
                f"column first: df.assign({name}={column!r}).{meant}"
            )
        elif column not in columns:
            meant = did_you_mean(column, map(str, columns), 2)
            said = wording().column(name, column)
            faults.append(f"{said}: there is no column {column!r}{meant}.")
        else:
            faults += _collisions(name, column, columns, taken)
            taken[column] = name
    if faults:
        shown = ", ".join(map(str, columns)) or "none"
        raise SpecificationError(
            f"{' '.join(faults)} {wording().columns()} Your columns are: "
            f"{shown}. The canonical names are: {', '.join(valid)}."
        )


def _close_option(name: str) -> str:
    if name in FIT_OPTIONS:
        return f" (it is one of fit; a loop of fits takes fit_options={{{name!r}: …}})"
    if name in OTHER_OPTIONS:
        return " (it is one of another function)"
    return did_you_mean(name, [*FIT_OPTIONS, *OTHER_OPTIONS], 2)


def _collisions(name: str, column: str, columns: list[Any], taken: dict[str, str]) -> list[str]:
    """What is wrong with calling the existing `column` by the canonical `name`."""
    faults, said = [], wording().column(name, column)
    if column in taken:
        faults.append(f"The column {column!r} is used for {taken[column]!r} and for {name!r}.")
    if name != column and name in columns:
        faults.append(
            f"{said}: your table already has a column {name!r}, which this would "
            "displace. Rename or drop that column first."
        )
    if name != column and column in SCHEMA:
        faults.append(
            f"{said}: your column {column!r} carries another name of the schema. If it "
            f"does hold {name!r}, rename it in the table first."
        )
    return faults


def checked(
    table: Table,
    column_names: dict[str, str],
    target: bool,
    mappable: bool = True,
    needs_context: bool = True,
) -> xr.Dataset:
    """Run every check on `table`; raise all faults, or return the Dataset."""
    faults = Faults(table.what, column_names, table.labels)
    checks.check_column_names(table.frame.columns, faults)
    faults.raise_if_any()  # without sound names nothing else can be said
    to_canonical = {user: name for name, user in column_names.items()}
    frame = table.frame.rename(columns=to_canonical)
    checks.check_size(len(frame), faults, target)
    given = set(frame.columns)
    meant = checks.check_near_misses(list(frame.columns), faults)
    obs_id = _row_numbers(frame, faults)
    columns: dict[str, Any] = {
        v.name: checks.check_labels(v.name, frame[v.name], faults)
        for v in checks.schema_columns(given, "label")
    }
    columns |= _numbers(frame, given, faults, target)
    needed = [n for n in REQUIRED if n not in columns and n not in meant]
    if not needs_context:
        needed = [n for n in needed if n not in CONTEXT]
    if target and "score" in needed:
        needed.remove("score")
    checks.check_missing(needed, list(table.frame.columns), faults, mappable, target=target)
    assumed = "chance" not in columns or is_assumed(
        columns["chance"], table.variable_attrs.get("chance", {})
    )
    if not assumed or not target:
        columns.setdefault("chance", np.zeros(len(frame)))
    else:
        # Left out, and not 0: as a table, too, the points are to say nothing of it.
        columns.pop("chance", None)
    checks.check_names(frame.columns, faults)
    for name in frame.columns:
        if name not in columns and name not in (OBS_DIM, "chance"):
            columns[name] = checks.check_carried(name, frame[name], faults)
    result = pd.DataFrame(columns, index=range(len(frame)))
    checks.check_counts(result, faults)
    checks.check_count_metric(result, faults)
    checks.check_checkpoints(result, faults, needs_context)
    if not target:
        if "llm" in columns:
            checks.check_one_value_per_llm(result, faults)
        checks.check_identical_rows(result, faults)
    faults.raise_if_any()
    result = _dataset(columns, obs_id, table)
    if assumed and not target:
        result["chance"].attrs["comment"] = ASSUMED
    return result


def _numbers(
    frame: pd.DataFrame, given: set[str], faults: Faults, target: bool
) -> dict[str, np.ndarray]:
    """The numbers of the schema as float64, with what follows from others, all checked."""
    values, named = {}, {}
    for v in checks.schema_columns(given, "number"):
        values[v.name], named[v.name] = checks.as_numbers(frame[v.name], v.name, faults)
    nothing = np.zeros(len(frame), bool)
    if {"n_params", "train_tokens"} <= set(values):
        compute = values.get("compute", np.full(len(frame), np.nan))
        n, d = values["n_params"], values["train_tokens"]
        extension = values.get("extension_tokens", np.zeros(len(frame)))
        rows = np.isnan(compute) & np.isfinite(n) & np.isfinite(d) & (n > 0) & (d > 0)
        rows &= ~named.get("compute", nothing)
        unknown = rows & np.isnan(extension) & ~named.get("extension_tokens", nothing)
        advice = "Compute follows from it here; write 0 where there was no such training."
        allowed = "a number, at least 0"
        faults.rows("extension_tokens", unknown, extension.__getitem__, allowed, advice)
        rows &= extension >= 0
        values["compute"] = np.where(rows, np.nan, compute)
        if rows.any():
            values["compute"][rows] = training_flops(n[rows], d[rows], extension[rows])
        # A faulty part is named as such below; the compute it leaves blank is no second fault.
        parts = [p for p in ("n_params", "train_tokens", "extension_tokens") if p in values]
        broken = np.logical_or.reduce([_faulty(p, values[p], named[p]) for p in parts])
        named["compute"] = named.get("compute", nothing) | broken | unknown
    if {"n_correct", "n_items"} <= set(values):
        score = values.get("score", np.full(len(frame), np.nan))
        correct, items = values["n_correct"], values["n_items"]
        rows = np.isnan(score) & ~named.get("score", nothing) & (items >= 1) & np.isfinite(correct)
        values["score"] = np.divide(correct, items, out=score.copy(), where=rows)
        broken = _faulty("n_correct", correct, named["n_correct"])
        broken |= _faulty("n_items", items, named["n_items"]) | (correct > items)
        named["score"] = named.get("score", nothing) | broken
        values["score"] = np.where(rows & broken, np.nan, values["score"])
    for name, array in values.items():
        blank = True if name == "score" and target else None
        checks.check_range(name, array, faults, named.get(name, nothing), blank)
    return values


def _faulty(name: str, values: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Rows in which a number is present but not usable."""
    v = SCHEMA[name]
    low = (values <= v.low) if v.low_open else (values < v.low)
    return named | np.isinf(values) | low


def _row_numbers(frame: pd.DataFrame, faults: Faults) -> np.ndarray:
    """The ``obs_id`` of each row: as given, if it numbers the rows, otherwise from 0."""
    if OBS_DIM not in frame:
        return np.arange(len(frame))
    given = frame[OBS_DIM]
    if (
        not pd.api.types.is_integer_dtype(given.dtype)
        or given.isna().any()
        or given.duplicated().any()
    ):
        faults.table(
            f"`{OBS_DIM}` numbers the rows, so it must hold whole numbers, each once. Renumber"
            f"{wording().in_pandas(f'df.assign({OBS_DIM}=range(len(df)))')}, or leave it out."
        )
        return np.arange(len(frame))
    return given.to_numpy(dtype=np.int64)


def _dataset(columns: dict[str, Any], obs_id: np.ndarray, table: Table) -> xr.Dataset:
    order = [name for name in SCHEMA if name in columns]
    order += [name for name in columns if name not in SCHEMA]
    variables = {}
    for name in order:
        attrs = dict(table.variable_attrs.get(name, {}))
        if name in SCHEMA:
            attrs = {"units": SCHEMA[name].units, "long_name": SCHEMA[name].long_name}
        # A copy: pandas hands out views, which are read-only and may be the user's own memory.
        variables[name] = (OBS_DIM, np.array(columns[name]), attrs)
    return xr.Dataset(variables, coords={OBS_DIM: obs_id}, attrs=table.attrs)
