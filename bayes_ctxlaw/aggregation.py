"""Item-level rows → one row per design cell, exactly, in memory bounded by the number of cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw import _checks as checks
from bayes_ctxlaw._faults import Faults
from bayes_ctxlaw._tables import Table, coded, column_names_of, iter_tables, numbers_in_text
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.observations import Tabular, check_mapping, checked
from bayes_ctxlaw.schema import LABELS, LETTER_FOR_LETTER, SCHEMA

DESIGN_COLUMNS = (
    "task",
    "llm",
    "family",
    "technique",
    "compute",
    "n_params",
    "train_tokens",
    "extension_tokens",
    "checkpoint_tokens",
    "context_window",
    "shots",
    "metric",
    "source",
    "chance",
    "seed",
)
"""What tells one design cell from another unless ``by`` says otherwise."""

CHUNK_ROWS = 200_000

# What is kept of each cell. Names no user's column is likely to have.
_COUNT, _SCORE, _TOKENS, _SQUARES, _GRADED = (
    "(items)",
    "(sum of scores)",
    "(mean tokens)",
    "(squared deviations of tokens)",
    "(items neither 0 nor 1)",
)


def aggregate_items(
    data: Tabular,
    by: Sequence[str] | None = None,
    *,
    chunk_rows: int = CHUNK_ROWS,
    **column_names: str,
) -> xr.Dataset:
    """Collapse item-level rows to one row per design cell.

    Parameters
    ----------
    data : pandas.DataFrame, path, xarray.Dataset or list of dict
        One row per evaluated item: ``score`` of that item in [0, 1], ``prompt_tokens`` of its
        prompt, and the columns that say which cell it belongs to. CSV and Parquet files are read as
        streams.
    by : sequence of str, optional
        Columns, by canonical name, whose values together make a cell. Default: those present among
        `DESIGN_COLUMNS`.
    chunk_rows : int, default 200,000
        Rows of a file held in memory at a time. Does not change the result.
    **column_names : str
        Canonical name = name of your column, as in `as_observations`.

    Returns
    -------
    xarray.Dataset
        As from `as_observations`, cells in the sorted order of `by`: ``score`` is the mean over the
        items, ``n_items`` their count, ``prompt_tokens`` and ``prompt_tokens_sd`` the mean and the
        population standard deviation of their prompt lengths. ``n_correct`` is given for the cells
        of a task (and ``metric``) all of whose item scores are 0 or 1, and blank in the others: a
        graded score that happens to be 0 throughout one cell is still not a count.

    Raises
    ------
    ObservationError
        An item or a resulting cell is at fault; the message lists every fault. Faults of single
        items are named by their rows in `data`, faults of cells by the number of the cell.
    SpecificationError
        `by` or `column_names` names something that is not there.
    FileFormatError
        The file is missing, unreadable or of an unsupported kind.

    Notes
    -----
    Columns that are neither in `by` nor ``score`` or ``prompt_tokens`` belong to items, not to
    cells, and have no place in the result: add a column to `by` to keep it. Every row counts as one
    item: of several samples of an item give the mean as its one score, or ``n_items`` is as many
    times too large and the noise too small. Partial means and sums
    of squared deviations are merged by the pairwise update of Chan, Golub and LeVeque (1983), The
    American Statistician 37(3), 242-247.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayes_ctxlaw.aggregation import aggregate_items
    >>> items = pd.DataFrame({
    ...     "task": "qa", "llm": "A-8k", "compute": 8e22, "context_window": 8192,
    ...     "shots": [0, 0, 4, 4], "score": [0, 1, 1, 1], "prompt_tokens": [90, 110, 400, 500],
    ... })
    >>> cells = aggregate_items(items)
    >>> cells["score"].values.tolist(), cells["prompt_tokens_sd"].values.tolist()
    ([0.5, 1.0], [10.0, 50.0])
    """
    if not isinstance(chunk_rows, int | np.integer) or chunk_rows < 1:
        raise SpecificationError(f"chunk_rows is {chunk_rows!r}; give a whole number, at least 1.")
    columns = column_names_of(data)
    check_mapping(columns, column_names)
    to_canonical = {user: name for name, user in column_names.items()}
    present = [to_canonical.get(c, c) for c in columns]
    faults = Faults("the items", column_names, np.arange(0))
    # A slip in the name of a design column would pool what that column tells apart. Who gives `by`
    # has said which columns count.
    meant = checks.check_near_misses(present, faults, DESIGN_COLUMNS) if by is None else set()
    by = _cell_columns(by, present)
    _check_item_columns(present, columns, meant, faults)
    user = {name: column_names.get(name, name) for name in [*by, "score", "prompt_tokens"]}
    # What is no number of the schema is read as text and converted at the end, so that a chunk that
    # happens to hold only numbers is not typed differently from the next.
    text = frozenset(user[n] for n in by if n not in SCHEMA or n in LABELS)
    state: pd.DataFrame | None = None
    for table in iter_tables(data, text, int(chunk_rows), list(user.values())):
        faults.what, faults.labels = f"the items of {table.what}", table.labels
        items = _checked_items(table.frame.rename(columns=to_canonical), by, faults)
        if len(faults):
            continue  # the rest is only looked at for more of them
        part = _summary(items, by)
        state = part if state is None else _merged(pd.concat([state, part]), by)
    faults.raise_if_any()
    assert state is not None  # iter_tables yields at least one piece
    for name in by:
        if name not in SCHEMA and name not in LETTER_FOR_LETTER:
            state[name] = numbers_in_text(state[name])
    # "1" and "1.0" were two texts and are one number: merge once more.
    return _observations(_merged(state, by), by)


def _cell_columns(by: Sequence[str] | None, present: list[str]) -> list[str]:
    if by is None:
        return [name for name in DESIGN_COLUMNS if name in present]
    if isinstance(by, str):
        raise SpecificationError(f"by is the text {by!r}; give a list of names: by=[{by!r}].")
    names, faults = list(by) if isinstance(by, Iterable) else [None], []
    if not all(isinstance(name, str) for name in names):
        raise SpecificationError(f"by is {by!r}; give a list of names of columns, as text.")
    names = list(dict.fromkeys(names))
    absent = [n for n in names if n not in present]
    if absent:
        faults.append(f"by names what is not there: {', '.join(absent)}.")
    averaged = [n for n in names if n in ("score", "prompt_tokens")]
    if averaged:
        faults.append(
            f"{' and '.join(averaged)} cannot be in by, being averaged over the cell; to split "
            "cells by prompt length, add a column that holds the bin and put that in by."
        )
    needed = ("task", "llm", "compute", "n_params", "train_tokens", "context_window")
    left_out = [n for n in needed if n in present and n not in names]
    if left_out:
        faults.append(f"by leaves out {', '.join(left_out)}, which every cell must have.")
    if faults:
        shown = ", ".join(map(str, present))
        raise SpecificationError(f"{' '.join(faults)} The columns, by canonical name: {shown}.")
    return names


def _check_item_columns(
    present: list[str], columns: list[str], meant: set[str], faults: Faults
) -> None:
    """What must be there is; what belongs to cells is not."""
    checks.check_column_names(columns, faults)
    needed = ["score", "task", "llm", "compute", "prompt_tokens", "context_window"]
    if {"n_params", "train_tokens"} <= set(present):
        needed.remove("compute")
    missing = [n for n in needed if n not in present and n not in meant]
    checks.check_missing(missing, columns, faults, mappable=True, items=True)
    of_cells = [n for n in ("n_items", "n_correct", "prompt_tokens_sd") if n in present]
    if of_cells:
        names = ", ".join(faults.name(n) for n in of_cells)
        faults.table(
            f"{names} describes a cell, not an item. If each row is already a cell, use "
            "as_observations; otherwise drop the column."
        )
    faults.raise_if_any()


def _checked_items(frame: pd.DataFrame, by: list[str], faults: Faults) -> pd.DataFrame:
    """The items with numbers as float64 and labels as text; faults are added, not raised."""
    checks.check_size(len(frame), faults, target=True)
    columns = {}
    for name in [*by, "score", "prompt_tokens"]:
        if name in LABELS:
            columns[name] = _checked_labels(name, frame[name], faults)
        elif name in SCHEMA:
            values, named = checks.as_numbers(frame[name], name, faults)
            # A blank design number is judged with its cell: it may follow from others.
            blank = None if name in ("score", "prompt_tokens") else True
            checks.check_range(name, values, faults, named, blank)
            columns[name] = values
        else:
            columns[name] = _with_codes(frame[name])
    return pd.DataFrame(columns, index=frame.index)


def _with_codes(column: pd.Series) -> pd.Series:
    return coded(column) if isinstance(column.dtype, pd.StringDtype) else column


def _checked_labels(name: str, column: pd.Series, faults: Faults) -> pd.Series | np.ndarray:
    """Labels as they are if a look at the distinct ones finds no fault, else checked row by row."""
    column = _with_codes(column)
    if _is_categorical(column) and not column.isna().any():
        words = column.cat.categories
        if all(isinstance(w, str) and w and w == w.strip() for w in words):
            return column
    return checks.check_labels(name, column, faults)


def _groups(frame: pd.DataFrame, by: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's cell, in the order of appearance, and the first row of each cell."""
    keys = {
        # By code: that is the same group, blank ones included, and found without a look at text.
        name: frame[name].cat.codes if _is_categorical(frame[name]) else frame[name]
        for name in by
    }
    cell = pd.DataFrame(keys).groupby(by, sort=False, dropna=False).ngroup().to_numpy()
    highest = np.maximum.accumulate(cell)
    return cell, np.flatnonzero(np.diff(highest, prepend=-1))


def _is_categorical(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _cells(frame: pd.DataFrame, by: list[str], first: np.ndarray) -> pd.DataFrame:
    """What tells the cells apart, from the first row of each; categories as what they stand for."""
    cells = frame[by].iloc[first].reset_index(drop=True)
    return cells.astype({name: object for name in by if _is_categorical(cells[name])})


def _summary(items: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sums over the items of each cell: all that is kept of a piece of the table."""
    cell, first = _groups(items, by)
    score, tokens = items["score"].to_numpy(), items["prompt_tokens"].to_numpy()
    count = np.bincount(cell).astype(np.float64)
    # Counted from the cell's first item: long prompts that hardly differ lose no digits, and equal
    # ones have exactly that mean.
    origin = tokens[first]
    mean = origin + np.bincount(cell, tokens - origin[cell]) / count
    cells = _cells(items, by, first)
    cells[_COUNT] = count
    cells[_SCORE] = np.bincount(cell, score)
    cells[_TOKENS] = mean
    cells[_SQUARES] = np.bincount(cell, (tokens - mean[cell]) ** 2)
    cells[_GRADED] = np.bincount(cell, (score != 0) & (score != 1))
    return cells


def _merged(parts: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Join the sums of equal cells, by the pairwise update of Chan, Golub and LeVeque."""
    cell, first = _groups(parts, by)
    n, tokens = parts[_COUNT].to_numpy(), parts[_TOKENS].to_numpy()
    count = np.bincount(cell, n)
    origin = tokens[first]
    mean = origin + np.bincount(cell, n * (tokens - origin[cell])) / count
    cells = _cells(parts, by, first)
    cells[_COUNT] = count
    cells[_SCORE] = np.bincount(cell, parts[_SCORE])
    cells[_TOKENS] = mean
    within = np.bincount(cell, parts[_SQUARES])
    cells[_SQUARES] = within + np.bincount(cell, n * (tokens - mean[cell]) ** 2)
    cells[_GRADED] = np.bincount(cell, parts[_GRADED])
    return cells


def _observations(state: pd.DataFrame, by: list[str]) -> xr.Dataset:
    state = state.sort_values(
        by,
        key=lambda c: c.map(str, na_action="ignore") if c.dtype == object else c,
        ignore_index=True,
    )
    frame = state[by].copy()
    count = state[_COUNT]
    frame["score"] = state[_SCORE] / count
    frame["prompt_tokens"] = state[_TOKENS]
    frame["prompt_tokens_sd"] = np.sqrt(state[_SQUARES] / count)
    frame["n_items"] = count
    kind = [name for name in ("task", "metric") if name in by]
    counted = state.groupby(kind, dropna=False)[_GRADED].transform("sum") == 0
    if counted.any():
        frame["n_correct"] = state[_SCORE].where(counted)
    labels = np.arange(len(frame))
    return checked(
        Table(frame, labels, "the cells (numbered from 0)"), {}, target=False, mappable=False
    )
