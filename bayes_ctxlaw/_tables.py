"""Whatever the user has (DataFrame, path, Dataset, records) → one plain table. Judges no values.

Row labels are kept beside the table, never used as an index: they name rows in messages, may
repeat, and must not align anything.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import BayesCtxlawError, FileFormatError, ObservationError
from bayes_ctxlaw.schema import OBS_DIM, PREDICTED

CSV_SUFFIXES = (".csv", ".csv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")

# Spellings of "no value" in a column of numbers. In a column of labels they are ordinary words:
# "None" is a perfectly good name for a context-extension technique.
BLANK_WORDS = ("", "na", "n/a", "nan", "null", "none", "<na>", "#n/a")

_BUFFER_BYTES = 2**18  # of each Parquet column

_READ_FAULTS = (OSError, EOFError, zlib.error, ValueError)  # ValueError: parser, decoder, Arrow


@dataclass
class Table:
    """Columns as the user named them, with what the user calls each row."""

    frame: pd.DataFrame
    labels: np.ndarray
    what: str
    attrs: dict[str, Any] = field(default_factory=dict)
    variable_attrs: dict[str, dict[str, Any]] = field(default_factory=dict)


@singledispatch
def read_table(data: object, text_columns: frozenset[str] = frozenset()) -> Table:
    """Return `data` as a `Table`; `text_columns` are read from CSV as text, letter for letter."""
    advice = ""
    if isinstance(data, Mapping):
        advice = (
            " A dict of columns becomes one by pandas.DataFrame(...), one row by a list around it."
        )
    elif hasattr(data, "to_pandas"):
        advice = " Pass .to_pandas() of it."
    raise ObservationError(
        f"A {type(data).__name__} cannot be read as observations. Give "
        f"{wording().tables()}.{advice}"
    )


@read_table.register
def _(data: Table, text_columns: frozenset[str] = frozenset()) -> Table:
    """One that was read already."""
    return data


@read_table.register
def _(data: pd.DataFrame, text_columns: frozenset[str] = frozenset()) -> Table:
    if data.columns.nlevels > 1:
        raise ObservationError(
            "The DataFrame has several levels of column names. Give it one level"
            f"{wording().in_pandas("df.columns = ['_'.join(c) for c in df.columns]")}."
        )
    labels = data.index.to_numpy()
    named = [n for n in data.index.names if n is not None]
    clash = [str(n) for n in named if n in data.columns]
    if clash or len(set(named)) < len(named):
        twice = ", ".join(clash or map(str, named))
        raise ObservationError(
            f"The DataFrame's index has a name that is used twice ({twice}). Rename or drop one of "
            f"the two{wording().in_pandas('df.reset_index(drop=True)')}."
        )
    # Named index levels are data (a groupby leaves them); an unnamed index only labels the rows.
    frame = data.reset_index(level=named) if named else data
    return Table(frame.reset_index(drop=True), labels, "the DataFrame")


@read_table.register
def _(data: xr.Dataset, text_columns: frozenset[str] = frozenset()) -> Table:
    if "prediction_kind" in data.attrs:
        # What was predicted there is no part of the points, which may be predicted again.
        names = [n for n in (*PREDICTED, "axis", "chain", "draw") if n in data.variables]
        data = data.drop_vars(names)
    flat = data if data.sizes or not data.variables else data.expand_dims(OBS_DIM)
    multi = [n for n, i in flat.xindexes.items() if isinstance(i.to_pandas_index(), pd.MultiIndex)]
    if multi:
        flat = flat.reset_index([n for n in multi if n in flat.dims])
    if not flat.variables:
        frame = pd.DataFrame()
    elif len(flat.dims) == 1:  # the common case, and twenty times faster than to_dataframe
        n = next(iter(flat.sizes.values()))
        columns = {
            name: v.values if v.ndim else np.repeat(v.values, n)
            for name, v in {**flat.coords, **flat.data_vars}.items()
        }
        frame = pd.DataFrame(columns, index=range(n))
    else:
        without_values = [d for d in flat.dims if d not in flat.coords]
        frame = flat.to_dataframe().reset_index().drop(columns=without_values)
    labels = frame[OBS_DIM].to_numpy() if OBS_DIM in frame else np.arange(len(frame))
    variable_attrs = {str(n): dict(v.attrs) for n, v in data.variables.items()}
    return Table(frame, labels, "the Dataset", dict(data.attrs), variable_attrs)


@read_table.register
def _(data: list, text_columns: frozenset[str] = frozenset()) -> Table:
    wrong = [i for i, record in enumerate(data) if not isinstance(record, Mapping)]
    if wrong:
        raise ObservationError(
            f"A list of observations must hold one dict a row; entry {wrong[0]} is a "
            f"{type(data[wrong[0]]).__name__} ({len(wrong)} such entries in all)."
        )
    return Table(pd.DataFrame(data), np.arange(len(data)), "the list of records")


@read_table.register(str)
@read_table.register(Path)
def _(data: str | Path, text_columns: frozenset[str] = frozenset()) -> Table:
    parts = list(iter_tables(data, text_columns, chunk_rows=None))
    return parts[0]


def column_names_of(data: object) -> list[str]:
    """The user's column names, without reading the rows of a file."""
    if not isinstance(data, str | Path):
        return list(read_table(data).frame.columns)
    path = _existing(data)
    if _kind(path) == "csv":
        return [c for c in _csv_header(path) if c]
    try:
        return list(_parquet(path).schema_arrow.names)
    except _READ_FAULTS as error:
        raise _unreadable(path, error) from error


def iter_tables(
    data: object,
    text_columns: frozenset[str] = frozenset(),
    chunk_rows: int | None = None,
    columns: list[str] | None = None,
) -> Iterator[Table]:
    """Yield `data` in pieces of at most `chunk_rows` rows (None: whole), reading files as streams.

    Only `columns` are read when given. Rows are labelled by their number from 0 in the whole table.
    Text in a piece of a file is categorical: a million labels are a few words and their codes.
    """
    if isinstance(data, str | Path):
        path = _existing(data)
        stream = _csv_parts if _kind(path) == "csv" else _parquet_parts
        try:
            yield from stream(path, text_columns, chunk_rows, columns)
        except BayesCtxlawError:
            raise
        except _READ_FAULTS as error:
            raise _unreadable(path, error) from error
        return
    table = read_table(data)
    frame = table.frame if columns is None else table.frame[columns]
    step = chunk_rows or max(len(frame), 1)
    for start in range(0, max(len(frame), 1), step):
        rows = slice(start, start + step)
        yield Table(frame.iloc[rows].reset_index(drop=True), table.labels[rows], table.what)


def numbers_in_text(column: pd.Series) -> pd.Series:
    """A column of text whose every entry is a number (or true/false), as such; else unchanged."""
    if pd.api.types.infer_dtype(column, skipna=True) != "string":
        return column
    words = pd.Series(column.dropna().unique(), dtype=object)  # few, however long the column
    if set(words) <= {"True", "False"} and not column.isna().any():
        return column == "True"
    blank = words.str.strip().str.casefold().isin(BLANK_WORDS)
    values = pd.to_numeric(replaced(words, blank, np.nan), errors="coerce")
    if blank.all() or (values.isna() & ~blank).any():
        return column
    return column.map(dict(zip(words, values, strict=True))).astype(
        np.float64 if blank.any() or column.isna().any() else values.dtype
    )


def coded(column: pd.Series) -> pd.Series:
    """A column of text as its few words and their codes, which are quick to group by."""
    codes, words = pd.factorize(column)
    return pd.Series(pd.Categorical.from_codes(codes, words), index=column.index)


def replaced(column: pd.Series, rows: np.ndarray | pd.Series, value: object) -> pd.Series:
    """`column` as objects, `value` in `rows`. Series.mask may change the dtype on the way."""
    values = column.to_numpy(dtype=object, copy=True)
    values[np.asarray(rows, dtype=bool)] = value
    return pd.Series(values, dtype=object)


def _csv_parts(
    path: Path, text_columns: frozenset[str], chunk_rows: int | None, columns: list[str] | None
) -> Iterator[Table]:
    header = _csv_header(path)
    text = [c for c in header if c in text_columns]
    unnamed_index = bool(header) and header[0] == ""
    usecols = None if columns is None else [c for c in columns if c]
    options: dict[str, Any] = {
        "encoding": "utf-8-sig",
        "low_memory": False,
        # The parser makes each word of an object column once. "category" would be quicker still,
        # but takes words of digits for numbers.
        "dtype": dict.fromkeys(text, str if chunk_rows is None else object),
        # Only the empty field is blank here: a label spelt "None" must survive. Columns of numbers
        # know more spellings of blank, see numbers_in_text.
        "keep_default_na": False,
        "na_values": [""],
    }
    whole = pd.read_csv(path, usecols=usecols, chunksize=chunk_rows, **options)
    start = 0
    for part in [whole] if chunk_rows is None else whole:
        frame = part.reset_index(drop=True)
        labels = np.arange(start, start + len(frame))
        start += len(frame)
        if unnamed_index and columns is None:
            # A saved DataFrame index: it names the rows, as it did in the DataFrame.
            labels = frame.pop(frame.columns[0]).to_numpy()
        for name in frame.columns:
            if name not in text_columns:
                frame[name] = numbers_in_text(frame[name])
            elif chunk_rows is not None:
                frame[name] = coded(frame[name])
        yield Table(frame, labels, f"{path.name} (rows counted from 0 below the header)")


def _csv_header(path: Path) -> list[str]:
    try:
        # Two lines: a first row longer than the header would silently become a row index.
        first = pd.read_csv(
            path, header=None, nrows=2, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except pd.errors.EmptyDataError as error:
        raise FileFormatError(f"{path.name} is empty: it has no header line.") from error
    except _READ_FAULTS as error:
        raise _unreadable(path, error) from error
    names = first.iloc[0].tolist()
    repeated = sorted({n for n in names if names.count(n) > 1 and n})
    if repeated:
        raise FileFormatError(f"{path.name} uses a column name twice: {', '.join(repeated)}.")
    if "" in names[1:]:
        raise FileFormatError(
            f"{path.name}: column {names.index('', 1) + 1} has no name in the header line. Name "
            "it, or remove the column (a comma at the end of the lines makes one)."
        )
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise FileFormatError(
            f"{path.name} seems to be separated by something other than commas: its header is "
            f"{names[0][:80]!r}. {wording().other_separator()}"
        )
    return names


def _parquet_parts(
    path: Path, text_columns: frozenset[str], chunk_rows: int | None, columns: list[str] | None
) -> Iterator[Table]:
    what = f"{path.name} (rows counted from 0)"
    if chunk_rows is None:
        _parquet(path)  # says clearly when pyarrow is absent or the file is not Parquet
        table = read_table(pd.read_parquet(path, columns=columns, engine="pyarrow"))
        yield Table(table.frame, table.labels, what)
        return
    start = 0
    # On one thread: it is as quick, and with more the memory held depends on which is ahead.
    options = {"batch_size": chunk_rows, "columns": columns, "use_threads": False}
    for batch in _parquet(path).iter_batches(**options):
        labels = np.arange(start, start + batch.num_rows)
        start += batch.num_rows
        frame = batch.to_pandas(ignore_metadata=True, strings_to_categorical=True)
        yield Table(frame, labels, what)
    if start == 0:
        yield Table(pd.DataFrame(columns=columns), np.arange(0), what)


def _parquet(path: Path) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise FileFormatError(
            f"Reading {path.name} needs the package pyarrow, which is not installed: "
            "pip install pyarrow, or convert the file to CSV."
        ) from error
    # Read page by page; otherwise whole row groups are fetched, and one may be the whole file.
    return ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)


def _existing(data: str | Path) -> Path:
    path = Path(data)
    if not path.is_file():
        kind = "is a directory, not a file" if path.is_dir() else "does not exist"
        raise FileFormatError(f"{str(data)!r} {kind}. Give {wording().tables()}.")
    _kind(path)
    return path


def _kind(path: Path) -> str:
    name = path.name.casefold()
    if name.endswith(CSV_SUFFIXES):
        return "csv"
    if name.endswith(PARQUET_SUFFIXES):
        return "parquet"
    raise FileFormatError(
        f"{path.name!r} is of a kind that is not read here. Supported are "
        f"{', '.join(CSV_SUFFIXES + PARQUET_SUFFIXES)}. {wording().other_table()}"
    )


def _unreadable(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(
        f"{path.name} could not be read as {'CSV' if _kind(path) == 'csv' else 'Parquet'}: "
        f"{error}. Supported are {', '.join(CSV_SUFFIXES + PARQUET_SUFFIXES)}."
    )
