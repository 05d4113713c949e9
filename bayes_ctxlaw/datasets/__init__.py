"""Small bundled tables of published measurements, in the schema of observations.

Each row carries its source. ``benchmarks/compile_datasets.py`` compiles the tables anew.
"""

from __future__ import annotations

import difflib
from importlib.resources import as_file, files

import pandas as pd
import xarray as xr

from bayes_ctxlaw._tables import read_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.datasets.registry import REGISTRY, DatasetInfo
from bayes_ctxlaw.errors import UnknownLabelError
from bayes_ctxlaw.observations import checked, text_columns
from bayes_ctxlaw.schema import CONTEXT

__all__ = ["DatasetInfo", "list_datasets", "load_dataset"]


def list_datasets() -> pd.DataFrame:
    """List the bundled tables.

    Returns
    -------
    pandas.DataFrame
        Index ``name``; columns ``rows``, ``tasks``, ``llms`` (counts), ``description``, ``source``,
        ``licence``, ``good_for``.

    Examples
    --------
    >>> from bayes_ctxlaw.datasets import list_datasets
    >>> list_datasets().loc["montgomery2025", "rows"].item()
    117
    """
    return pd.DataFrame([info.as_row() for info in REGISTRY]).set_index("name")


def load_dataset(name: str) -> xr.Dataset:
    """Load a bundled table as observations.

    Parameters
    ----------
    name : str
        A name listed by `list_datasets`.

    Returns
    -------
    xarray.Dataset
        As from `as_observations`; what a table has beyond the schema is carried along. Attributes
        ``name``, ``description``, ``source`` and ``licence`` say what it is.

    Raises
    ------
    UnknownLabelError
        There is no table of that name; the message lists those there are.

    Examples
    --------
    >>> from bayes_ctxlaw.datasets import load_dataset
    >>> obs = load_dataset("montgomery2025")
    >>> int(obs["beyond_10k"].sum())
    12
    """
    known = {info.name: info for info in REGISTRY}
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownLabelError(
            f"There is no bundled data set {name!r}.{meant} There are: {', '.join(known)}. To read "
            f"a table of your own, {wording().own_table()}."
        )
    info = known[name]
    with as_file(files("bayes_ctxlaw") / "datasets" / f"{info.name}.csv") as path:
        table = read_table(path, text_columns({}))
    table.attrs = {
        "name": info.name,
        "description": info.description,
        "source": info.source,
        "licence": info.licence,
    }
    # The tables are what the script made of them: one without prompts is of training runs.
    has_context = set(CONTEXT) <= set(table.frame.columns)
    return checked(table, {}, target=False, needs_context=has_context)
