"""What files of scores cannot say about checkpoints: given by the user, or in the registry."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_ctxlaw._faults import did_you_mean
from bayes_ctxlaw._tables import read_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.compute import find_model, list_models
from bayes_ctxlaw.errors import SpecificationError, UnknownLabelError

FIELDS = (
    "compute",
    "n_params",
    "train_tokens",
    "extension_tokens",
    "context_window",
    "family",
    "technique",
)
"""What may be said of a checkpoint, in the names of the schema."""

LLMs = Mapping[str, Mapping[str, Any]] | pd.DataFrame | str | Path | None


def given(llms: LLMs) -> dict[str, dict[str, Any]]:
    """``llms`` of a reader as {name in the files: {variable: value}}; blanks are left out.

    Raises
    ------
    SpecificationError
        It is of another kind, names a variable that is none of a checkpoint, or names one twice.
    """
    if llms is None:
        return {}
    if isinstance(llms, pd.DataFrame | str | Path):
        of_file = "" if isinstance(llms, pd.DataFrame) else f", {Path(llms).name},"
        what = f"The table of llms{of_file}"
        frame = read_table(llms, frozenset({"llm", "family", "technique", "source"})).frame
        if "llm" not in frame:
            columns = ", ".join(map(str, frame.columns))
            raise SpecificationError(
                f"{what} has no column `llm`; its columns are {columns}. "
                f"Its other columns may be {', '.join(FIELDS)}, source."
            )
        names = frame["llm"].tolist()
        twice = sorted({str(n) for n in names if names.count(n) > 1})
        if twice:
            raise SpecificationError(f"{what} names {', '.join(twice)} more than once.")
        frame = frame.drop(columns=["llm", "source"], errors="ignore")
        rows = frame.to_dict("records")
    elif isinstance(llms, Mapping):
        names, rows = list(llms), list(llms.values())
    else:
        raise SpecificationError(
            f"llms is a {type(llms).__name__}; give {{name: {{variable: value}}}}, or a table "
            "(CSV, Parquet, DataFrame) with a column `llm`."
        )
    faults = []
    for name, row in zip(names, rows, strict=True):
        if not isinstance(name, str) or not isinstance(row, Mapping):
            faults.append(f"{name!r}: {row!r} is not a name and its variables.")
            continue
        for variable in row:
            if variable not in FIELDS:
                faults.append(f"{name!r} has {variable!r}{did_you_mean(variable, FIELDS)}.")
        further = row.get("extension_tokens")
        if not _blank(further) and _number(further) is None:
            faults.append(f"{name!r} has extension_tokens={further!r}, which is no number.")
    if faults:
        lines = list(dict.fromkeys(faults))[:10]
        raise SpecificationError(
            f"{_named(llms)} cannot be used: {' '.join(lines)} {wording().form_of_llms(FIELDS)}"
        )
    known = {
        name: {variable: value for variable, value in row.items() if not _blank(value)}
        for name, row in zip(names, rows, strict=True)
    }
    for row in known.values():
        if "extension_tokens" in row:  # it is reckoned with, and may be text
            row["extension_tokens"] = _number(row["extension_tokens"])
    return known


def _named(llms: LLMs) -> str:
    """What was given, as a message calls it: the argument, and the file if it is one."""
    name = Path(llms).name if isinstance(llms, str | Path) else None
    return wording().argument("llms", name)


def _blank(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _number(value: object) -> float | None:
    """A number of whatever type, or as text; None for what is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def described[Key: Hashable](
    names: Mapping[Key, str],
    user: Mapping[str, Mapping[str, Any]],
    found: Mapping[Key, Mapping[str, Any]],
    counted: Mapping[str, float],
) -> tuple[dict[Key, dict[str, Any]], list[str]]:
    """What is known of each checkpoint, and in sentences what came from elsewhere than the user.

    Parameters
    ----------
    names : dict
        Checkpoint → its name in the files.
    user : dict
        What the user says, by name. The user has the last word.
    found : dict
        What the files state, by checkpoint. A NaN is stated by other rows, or in several ways: it
        stays a blank, to be told as such.
    counted : dict
        Parameters that a harness counted, by name. The registry's compute goes before them.

    Returns
    -------
    known : dict
    notes : list of str
    """
    known, notes = {}, []
    models = list_models()
    for key, name in names.items():
        stated = {**found.get(key, {}), **user.get(name, {})}
        known[key] = row = {**stated}
        if name in counted:
            row.setdefault("n_params", counted[name])
        try:
            entry = find_model(name)
        except UnknownLabelError as error:
            if not has_compute(row) or "context_window" not in row:
                notes.append(str(error))
            continue
        registered = models.loc[entry]
        taken = [] if has_compute(row) else _add_compute(row, stated, registered)
        if "context_window" not in row and not _blank(registered["context_window"]):
            row["context_window"] = float(registered["context_window"])
            taken.append(f"context_window {registered['context_window']:.0f}")
        if "family" not in row:
            row["family"] = str(registered["family"])
            taken.append(f"family {registered['family']}")
        if taken:
            notes.append(f"From the compute registry, as {entry}: {', '.join(taken)} of {name}.")
    surplus = [name for name in user if name not in names.values()]
    if surplus:
        argument = wording().argument("llms")
        notes.append(f"{argument} names what no file holds: {', '.join(surplus)}.")
    return known, list(dict.fromkeys(notes))


def _add_compute(
    row: dict[str, Any], stated: Mapping[str, Any], registered: pd.Series
) -> list[str]:
    """Add to a checkpoint without compute what the registry has of it, and say what that was."""
    further = _number(row.get("extension_tokens", 0.0))
    missing = {"n_params", "train_tokens"} - set(stated)
    # Whoever states one of the two means another figure than the registry's 6·N·D; and of an
    # extension that is a blank, compute is to follow from it, where that is told.
    if len(missing) == 1 or further != further:
        known = {name: float(registered[name]) for name in sorted(missing)}
        row |= {name: value for name, value in known.items() if not _blank(value)}
        return [f"{name} {value:.3g}" for name, value in known.items() if not _blank(value)]
    if _blank(registered["compute"]):
        return []
    # Not n_params as counted: 6·N·D of the registry is the figure that has a source.
    row.pop("n_params", None)
    row["compute"] = float(registered["compute"])
    taken = f"compute {registered['compute']:.3g} FLOP"
    if further is not None and 0 < further < math.inf:
        # It was trained on more than what the registry knows of.
        row["compute"] += 6.0 * float(registered["n_params"]) * further
        taken += f" and that of {further:.3g} extension tokens"
    return [taken]


def has_compute(row: Mapping[str, Any]) -> bool:
    """Whether training compute is there or follows from what is."""
    return "compute" in row or {"n_params", "train_tokens"} <= set(row)
