"""Plain tables of scores: CSV and Parquet files with one row per cell."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_ctxlaw._tables import CSV_SUFFIXES, PARQUET_SUFFIXES, read_table
from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.observations import check_mapping, text_columns
from bayes_ctxlaw.readers import _json, _llms
from bayes_ctxlaw.readers._files import Folder
from bayes_ctxlaw.readers.reading import Reading, assembled
from bayes_ctxlaw.schema import OBS_DIM

FORMAT = "table"


def read_tables(
    path: str | os.PathLike[str],
    *,
    llms: _llms.LLMs = None,
    chance: Mapping[str, float] | None = None,
    on_error: str = "raise",
    progressbar: bool = True,
    **column_names: str,
) -> Reading:
    r"""Read tables of scores, one row per cell, and put them one below the other.

    Parameters
    ----------
    path : path
        A folder, read with all folders in it, or one CSV or Parquet file.
    llms, chance, on_error, progressbar
        As in `read_context_scaling`. A variable that the table has itself stays as it is there; a
        blank has the value of other rows of the same checkpoint, if that is one.
    **column_names : str
        Canonical name = name of the column, as in `as_observations`.

    Returns
    -------
    Reading
        For `as_observations`, which checks the values. ``source`` is the file and the row, unless
        the tables have a column of that name.

    Raises
    ------
    FileFormatError
        Files are missing or broken, or lack ``task`` or ``llm``.
    SpecificationError
        An argument is wrong.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from bayes_ctxlaw import as_observations
    >>> from bayes_ctxlaw.readers import read_tables
    >>> folder = tempfile.TemporaryDirectory()
    >>> csv = "task,model,score,prompt_tokens\nqa,Llama-2-7b,0.3,90\nqa,Llama-2-7b,0.4,900\n"
    >>> _ = (Path(folder.name) / "scores.csv").write_text(csv)
    >>> reading = read_tables(folder.name, llm="model", progressbar=False)
    >>> as_observations(reading)["compute"].values.tolist()
    [8.4e+22, 8.4e+22]
    >>> folder.cleanup()
    """
    folder = Folder(path, CSV_SUFFIXES + PARQUET_SUFFIXES, on_error, progressbar)

    def read(file: Path) -> pd.DataFrame:
        table = read_table(file, text_columns(column_names))
        check_mapping(list(table.frame.columns), column_names)
        frame = table.frame.rename(columns={user: name for name, user in column_names.items()})
        absent = [name for name in ("task", "llm") if name not in frame]
        if absent:
            raise FileFormatError(
                f"column {' and '.join(f'`{n}`' for n in absent)} is missing; the columns are "
                f"{', '.join(map(str, table.frame.columns))}."
            )
        for name in ("task", "llm"):
            wrong = [not isinstance(label, str) or not label for label in frame[name]]
            if any(wrong):
                row = wrong.index(True)
                raise FileFormatError(
                    f"column `{name}` is {_json.show(frame[name].iloc[row])} in row "
                    f"{table.labels[row]}; allowed: text, not empty."
                )
        rows = pd.Series([f"{folder.name(file)}, row {label}" for label in table.labels])
        return frame if "source" in frame else frame.assign(source=rows)

    frames = folder.each(read, folder.paths, "files")
    folder.settle(len(frames))
    notes = []
    if len(frames) > 1 and any(OBS_DIM in frame for frame in frames):
        # It is the number of a row in its own file.
        frames = [frame.drop(columns=OBS_DIM, errors="ignore") for frame in frames]
        notes.append(f"The column {OBS_DIM}, which numbers the rows of each file, was left out.")
    table = pd.concat(frames, ignore_index=True)
    found, checkpoint = _stated(table)
    described, more = assembled(table, llms, chance, folder.read, found, checkpoint)
    for name in (name for name in _llms.FIELDS if name in table):
        # What a table says of its own rows is not overruled.
        described[name] = table[name].where(table[name].notna(), described[name])
    notes += more + _filled(table, described, checkpoint)
    return Reading(described, FORMAT, len(frames), notes, folder.faults, files=folder.read)


def _stated(table: pd.DataFrame) -> tuple[dict[Hashable, dict[str, Any]], pd.Series]:
    """What the rows state of each checkpoint, and which one each row is of.

    One name with several extensions is several checkpoints. What the rows of a checkpoint state in
    several ways is NaN, and so is what only other rows of its name state: whether it holds for
    these is not known.
    """
    own = [name for name in _llms.FIELDS if name in table]
    by = [table["llm"]]
    if "extension_tokens" in own:
        by.append(table["extension_tokens"].astype(str))
    checkpoint = table.groupby(by, sort=False, dropna=False).ngroup()
    found: dict[Hashable, dict[str, Any]] = {}
    for _, of_name in table.groupby("llm", sort=False):
        elsewhere = {name for name in own if of_name[name].notna().any()}
        for key, rows in of_name.groupby(checkpoint, sort=False):
            values = {name: rows[name].dropna() for name in elsewhere}
            found[key] = {
                name: stated.iloc[0] if stated.astype(str).nunique() == 1 else math.nan
                for name, stated in values.items()
            }
    return found, checkpoint


def _filled(table: pd.DataFrame, described: pd.DataFrame, checkpoint: pd.Series) -> list[str]:
    """Say where a blank has what the other rows of its checkpoint state."""
    notes = []
    for llm, rows in table.groupby("llm", sort=False):
        names = [
            name
            for name in (name for name in _llms.FIELDS if name in table)
            for _, column in rows[name].groupby(checkpoint, sort=False)
            if column.isna().any() and column.notna().any()
            # Not what `llms` says, which goes before the rows.
            if described.loc[column.index[column.isna()], name].isin(column.dropna()).all()
        ]
        if names:
            filled = ", ".join(dict.fromkeys(names))
            notes.append(f"Blanks of {filled} were filled, as in other rows of {llm}.")
    return notes
