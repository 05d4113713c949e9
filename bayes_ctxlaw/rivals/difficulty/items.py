"""Pass counts of single items: the door of this room, and the way on to observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw import _checks as checks
from bayes_ctxlaw._faults import Described, Faults
from bayes_ctxlaw._tables import read_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.aggregation import aggregate_items
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.observations import text_columns

COLUMNS = ("task", "llm", "compute", "item", "n_correct", "n_samples")
"""Columns of a table of pass counts; all are required."""

MIN_SIZES = 3
"""Values of compute below which no curve in compute is fitted."""

_SAME = 1e-6  # relative difference below which two values of compute are one


def as_items(data: Any, **column_names: str) -> xr.Dataset:
    """Check a table of pass counts and lay it out as checkpoint by item.

    Parameters
    ----------
    data : DataFrame, path, Dataset or list of dict
        One row for every item and checkpoint: ``task``, ``llm``, ``compute`` (training FLOPs),
        ``item`` (label of the item within its task), ``n_correct`` (samples passed) of
        ``n_samples``. Or a Dataset with dims ``llm`` and ``item``. Other columns are not used.
        Where a checkpoint was saved several times in a row, add up its counts first.
    **column_names : str
        Canonical name = own column name.

    Returns
    -------
    xr.Dataset
        Dims ``llm`` (in order of compute) and ``item``; ``n_correct`` and ``n_samples``
        (llm, item), coordinates ``compute`` (llm) and ``task`` (item). Labels of items may repeat
        in different tasks. ``n_samples`` is 0 where a checkpoint was not evaluated on a task.

    Raises
    ------
    ObservationError
        All faults in one message, with their rows: missing columns, blank or negative counts, more
        passes than samples, a pair of item and checkpoint given twice, items that differ between
        the checkpoints of a task, an llm with two values of compute, a task with fewer than three
        sizes.
    SpecificationError
        `column_names` names what is not there.

    Examples
    --------
    >>> rows = [
    ...     {"task": "maths", "llm": f"{c:g}", "compute": c, "item": i, "n_correct": k,
    ...      "n_samples": 20}
    ...     for c in (1e20, 1e21, 1e22) for i, k in (("1", 3), ("2", 0))
    ... ]
    >>> dict(as_items(rows).sizes)
    {'llm': 3, 'item': 2}
    """
    table = read_table(data, frozenset(column_names.get(n, n) for n in ("task", "llm", "item")))
    frame = table.frame.rename(columns=_renaming(list(table.frame.columns), column_names))
    faults = Faults(table.what, column_names, table.labels)
    absent = [name for name in COLUMNS if name not in frame]
    if absent:
        faults.table(
            f"missing: {', '.join(f'`{name}`' for name in absent)}. The columns are: "
            f"{', '.join(map(str, table.frame.columns)) or 'none'}. A table of pass counts has "
            f"{', '.join(COLUMNS)}; name yours as {wording().column(absent[0])}."
        )
    elif not len(frame):
        faults.table("The table has no rows.")
    faults.raise_if_any()
    rows = _checked(frame, faults, {"llm", "item"} <= set(getattr(data, "dims", ())))
    faults.raise_if_any()
    return _laid_out(rows, table.attrs)


def _renaming(columns: list[Any], column_names: dict[str, str]) -> dict[str, str]:
    """The user's column → canonical name."""
    faults = [
        f"{wording().column(name, column)}: "
        + (f"there is no column {column!r}" if name in COLUMNS else f"{name!r} is no name here")
        for name, column in column_names.items()
        if name not in COLUMNS or column not in columns
    ]
    faults += [
        f"{wording().column(name, column)}: your table already has a column {name!r}; rename or "
        "drop it first"
        for name, column in column_names.items()
        if name in COLUMNS and name != column and name in columns
    ]
    if faults:
        raise SpecificationError(
            f"{'; '.join(faults)}. {wording().columns()} Canonical names: "
            f"{', '.join(COLUMNS)}. Your columns: {', '.join(map(str, columns))}."
        )
    return {column: name for name, column in column_names.items()}


def _checked(frame: pd.DataFrame, faults: Faults, laid_out: bool) -> pd.DataFrame:
    """The rows with numbers as float64 and labels as text; `faults` are added to."""
    numbers = {name: _number(name, frame[name], faults) for name in ("n_correct", "n_samples")}
    if laid_out:
        # Where a checkpoint was not evaluated on a task, the two dims leave room for it all the
        # same; a long table has no such rows.
        whole = frame.assign(used=numbers["n_samples"] != 0).groupby(["task", "llm"], dropna=False)
        kept = whole["used"].transform("any").to_numpy(bool)
        frame, faults.labels = frame[kept], faults.labels[kept]
        numbers = {name: values[kept] for name, values in numbers.items()}
    out = {name: checks.check_labels(name, frame[name], faults) for name in ("task", "llm")}
    out["item"] = _item_labels(frame["item"], faults)
    values, named = checks.as_numbers(frame["compute"], "compute", faults)
    advice = "Fill it in; of a table of items it does not follow from other columns."
    checks.check_range("compute", values, faults, named, advice_if_blank=advice)
    out |= {"compute": values} | numbers
    rows = pd.DataFrame(out, index=range(len(frame)))
    _check_counts(rows, faults)
    checks.check_one_value_per_llm(rows, faults)
    key = ["task", "llm", "item"]
    sound = (rows[key] != "").all(axis=1)
    twice = (rows.duplicated(key, keep=False) & sound).to_numpy()
    pair = "item {item!r} of {task!r} by {llm!r}".format
    advice = "Add up repeated evaluations, or take the copies out."
    faults.rows(
        "item",
        twice,
        lambda i: Described(pair(**rows.loc[i, key])),
        "each pair of item and llm once",
        advice,
    )
    for task, part in rows[sound].groupby("task", sort=False):
        _check_task(str(task), part, faults)
    return rows


def _number(name: str, column: pd.Series, faults: Faults) -> np.ndarray:
    """A column of counts as float64; blank for what is no number, which is added to `faults`."""
    if pd.api.types.is_any_real_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = pd.to_numeric(column.astype(object), errors="coerce")
    values = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.isnan(values) & column.notna().to_numpy(bool)
    faults.rows(name, bad, column.astype(object).iloc.__getitem__, "a whole number of samples")
    return np.where(bad, 0.0 if name == "n_correct" else 1.0, values)  # named once is enough


def _item_labels(column: pd.Series, faults: Faults) -> np.ndarray:
    """Labels of items as text: numbers of problems are as good as names."""
    blank = column.isna().to_numpy(bool, copy=True)
    values = column.astype(object).to_numpy()
    infinite = np.array([isinstance(v, float) and np.isinf(v) for v in values], bool)
    faults.rows("item", infinite, values.__getitem__, "a label or a number", "Label every item.")
    whole = np.array([isinstance(v, float) and v == np.floor(v) for v in values], bool)
    whole &= ~blank & ~infinite
    text = np.array(
        [str(int(v)) if w else str(v) for v, w in zip(values, whole, strict=True)], dtype=object
    )
    blank |= np.array([not t.strip() for t in text], bool)
    faults.rows("item", blank, values.__getitem__, "a label or a number", "Label every item.")
    text[blank] = ""
    return text


def _check_counts(rows: pd.DataFrame, faults: Faults) -> None:
    """Counts are whole, and no more samples pass than there are."""
    for name, least in (("n_correct", 0), ("n_samples", 1)):
        values = rows[name].to_numpy()
        bad = ~(np.isfinite(values) & (values >= least) & (values == np.round(values)))
        allowed = f"a whole number of samples, at least {least}"
        faults.rows(name, bad, values.__getitem__, allowed, "Correct these rows; none is dropped.")
    passed, samples = rows["n_correct"].to_numpy(), rows["n_samples"].to_numpy()
    faults.rows(
        "n_correct",
        (passed > samples) & (samples >= 1),
        lambda i: Described(f"{passed[i]:g} of {samples[i]:g}"),
        "at most `n_samples`",
        "Are the two columns swapped?",
    )


def _check_task(task: str, rows: pd.DataFrame, faults: Faults) -> None:
    """All checkpoints of a task have the same items, and there are enough sizes."""
    llms = list(dict.fromkeys(rows["llm"]))
    given = rows.groupby("item")["llm"].agg(set)
    partial = given.index[given.map(len) < len(llms)]
    bad = np.zeros(len(faults.labels), bool)
    bad[rows.index[rows["item"].isin(partial)]] = True
    of = dict(zip(rows.index, rows["item"], strict=True))

    def lacking(i: int) -> str:
        missing = [llm for llm in llms if llm not in given[of[i]]]
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        names = ", ".join(map(repr, missing[:3])) + more
        return Described(f"item {of[i]!r} of {task!r}, which {names} lack(s)")

    advice = "Evaluate the same items with every llm of a task, or take these items out."
    faults.rows(f"item of {task}", bad, lacking, "items that every llm has", advice, "`item`")
    sizes = distinct_sizes(rows.groupby("llm")["compute"].first().to_numpy())
    if sizes < MIN_SIZES:
        faults.table(
            f"`compute`: the task {task!r} has {sizes} size(s) of checkpoint ({', '.join(llms)}); "
            f"at least {MIN_SIZES} different values of compute are needed, and a useful fit has "
            "six or more."
        )


def distinct_sizes(compute: np.ndarray) -> int:
    """Number of different values of compute."""
    known = np.sort(compute[np.isfinite(compute) & (compute > 0)])
    return int(len(known) > 0) + int((np.diff(np.log(known)) > _SAME).sum())


def _laid_out(rows: pd.DataFrame, attrs: dict[str, Any]) -> xr.Dataset:
    """Checked rows as (llm, item)."""
    compute = rows.groupby("llm", sort=False)["compute"].first().sort_values(kind="stable")
    items = rows[["task", "item"]].drop_duplicates()
    index = pd.MultiIndex.from_frame(items)
    place = compute.index.get_indexer(rows["llm"]), index.get_indexer(rows[["task", "item"]])
    counts = {}
    for name, words in (("n_correct", "samples passed"), ("n_samples", "samples; 0: none")):
        counts[name] = np.zeros((len(compute), len(items)))
        counts[name][place] = rows[name]
        counts[name] = (("llm", "item"), counts[name], {"units": "samples", "long_name": words})
    return xr.Dataset(
        counts,
        coords={
            "llm": compute.index.to_numpy(object),
            "item": items["item"].to_numpy(object),
            "compute": ("llm", compute.to_numpy(), {"units": "FLOP"}),
            "task": ("item", items["task"].to_numpy(object)),
        },
        attrs=attrs,
    )


def task_items(items: xr.Dataset, task: str) -> xr.Dataset:
    """Items of one task, and the checkpoints that were evaluated on it."""
    part = items.isel(item=items["task"].values == task)
    return part.isel(llm=(part["n_samples"].values > 0).all(axis=1))


def item_observations(data: Any, **column_names: str) -> xr.Dataset:
    """Scores of checkpoints from a table of pass counts, as any other forecaster takes them.

    Parameters
    ----------
    data : DataFrame, path or list of dict
        A table as for `as_items` that also has ``context_window`` and ``prompt_tokens`` and, if
        known, ``family``, ``technique``, …
    **column_names : str
        Canonical name = own column name.

    Returns
    -------
    xr.Dataset
        Observations. ``score`` is the mean over items of the share of samples passed, and
        ``n_items`` the number of items.

    Raises
    ------
    ObservationError
        If the counts are at fault, or what observations need is missing.

    Examples
    --------
    >>> from bayes_ctxlaw.rivals.difficulty import simulate_items
    >>> items = simulate_items(n_items=40, random_seed=1)
    >>> table = items.to_dataframe().reset_index()
    >>> obs = item_observations(table.assign(prompt_tokens=900, context_window=4096))
    >>> obs.sizes["obs_id"], obs["n_items"].values[0].item()
    (9, 40.0)
    """
    own = {name: column for name, column in column_names.items() if name in COLUMNS}
    as_items(data, **own)
    text = text_columns(column_names) | {own.get(name, name) for name in ("task", "llm", "item")}
    table = read_table(data, text)
    frame = table.frame.rename(columns={column: name for name, column in own.items()})
    frame["score"] = frame["n_correct"].astype(float) / frame["n_samples"].astype(float)
    rest = {name: column for name, column in column_names.items() if name not in COLUMNS}
    return aggregate_items(frame.drop(columns=["n_correct", "n_samples", "item"]), **rest)
