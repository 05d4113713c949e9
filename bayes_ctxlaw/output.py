"""Files and tables that leave the package: predictions as a DataFrame, files written whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from bayes_ctxlaw.errors import FileFormatError, SpecificationError
from bayes_ctxlaw.schema import OBS_DIM

_ATTRIBUTES = (
    "level", "label_a", "label_b", "rope", "prediction_kind", "ci_prob", "ci_kind", "new_levels",
)  # fmt: skip


def prediction_table(prediction: xr.Dataset) -> pd.DataFrame:
    """Predictions as a table, one row for each point, that says what its intervals are.

    Parameters
    ----------
    prediction : xr.Dataset
        From ``law.predict``.

    Returns
    -------
    pandas.DataFrame
        Index ``obs_id``; all variables along it; the extrapolation as ``extrapolation_compute``
        and so on, in decades beyond the data of the fit; and in every row the kind of prediction,
        the probability and the kind of interval. Posterior draws are left out.

    Examples
    --------
    >>> import xarray as xr
    >>> prediction = xr.Dataset({"median": ("obs_id", [0.3])}, attrs={"ci_prob": 0.9})
    >>> prediction_table(prediction).to_dict("records")
    [{'median': 0.3, 'ci_prob': 0.9}]
    """
    flat = [name for name, v in prediction.data_vars.items() if v.dims == (OBS_DIM,)]
    table = prediction[flat].to_dataframe()
    if "extrapolation" in prediction:
        beyond = prediction["extrapolation"].transpose(OBS_DIM, "axis")
        for axis in beyond["axis"].values:
            table[f"extrapolation_{axis}"] = beyond.sel(axis=axis).values
    return with_intervals_named(table, prediction.attrs)


def with_intervals_named(table: pd.DataFrame, attrs: Mapping[str, Any]) -> pd.DataFrame:
    """A table with what its intervals are, in every row: a file has no attributes.

    Parameters
    ----------
    table : pandas.DataFrame
    attrs : mapping
        Of a prediction, or of a contrast.

    Returns
    -------
    pandas.DataFrame
        With columns for the kind of prediction, the probability and the kind of interval; of a
        contrast also for its level, its two labels and its margin.
    """
    return table.assign(**{name: attrs[name] for name in _ATTRIBUTES if name in attrs})


def write_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table as CSV or Parquet, by the ending of the name.

    Parameters
    ----------
    table : pandas.DataFrame
        With its index.
    path : path
        Ends in ``.csv``, ``.csv.gz``, ``.parquet`` or ``.pq``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    SpecificationError
        The name has another ending.
    FileFormatError
        The file cannot be written.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = write_table(pd.DataFrame({"score": [0.5]}), f"{folder.name}/scores.csv")
    >>> path.name
    'scores.csv'
    >>> folder.cleanup()
    """
    path = Path(path)
    check_table_name(path)
    with written_whole(path) as temporary:
        if path.name.casefold().endswith((".csv", ".csv.gz")):
            table.to_csv(temporary)
        else:
            table.to_parquet(temporary)
    return path


def check_table_name(path: Path) -> None:
    """Refuse the name of a table whose ending says nothing of its format.

    Raises
    ------
    SpecificationError
    """
    if not path.name.casefold().endswith((".csv", ".csv.gz", ".parquet", ".pq")):
        raise SpecificationError(
            f"a table can be written as .csv, .csv.gz, .parquet or .pq, not as {path.name!r}."
        )


def as_path(path: Any) -> Path:
    """A path, or what is wrong with what was given as one.

    Raises
    ------
    FileFormatError
    """
    if not isinstance(path, str | os.PathLike) or path == "":
        raise FileFormatError(f"the path of a file is needed, and {path!r} is none.")
    return Path(path)


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name in the same folder; the file takes its own name once it is complete.

    Parameters
    ----------
    path : path
        Where the file shall be. An earlier file stays until the new one is complete, and remains
        if writing fails.

    Yields
    ------
    pathlib.Path
        Name to write to, with the same ending.

    Raises
    ------
    FileFormatError
        The file cannot be written: no such folder, no permission, no space.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [p.name for p in Path(folder).iterdir()]
    ['a.txt']
    """
    path = as_path(path)
    if not path.name or path.is_dir():
        raise FileFormatError(f"{str(path)!r} is a folder: give the name of a file in it.")
    if not path.parent.is_dir():
        raise FileFormatError(f"{path} cannot be written: there is no folder {path.parent}.")
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise FileFormatError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
