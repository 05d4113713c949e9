"""What files of scores cannot say about checkpoints: given by the user, or in the registry."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

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
                near = difflib.get_close_matches(str(variable), FIELDS, n=1)
                meant = f" (did you mean {near[0]!r}?)" if near else ""
                faults.append(f"{name!r} has {variable!r}{meant}.")
    if faults:
        lines = list(dict.fromkeys(faults))[:10]
        raise SpecificationError(
            f"{_named(llms)} cannot be used: {' '.join(lines)} {wording().form_of_llms(FIELDS)}"
        )
    return {
        name: {variable: value for variable, value in row.items() if not _blank(value)}
        for name, row in zip(names, rows, strict=True)
    }


def _named(llms: LLMs) -> str:
    """What was given, as a message calls it: the argument, and the file if it is one."""
    name = Path(llms).name if isinstance(llms, str | Path) else None
    return wording().argument("llms", name)


def _blank(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def described(
    names: list[str], user: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What is known of each checkpoint, and in sentences what came from elsewhere than the user.

    Parameters
    ----------
    names : list of str
        Checkpoints as the files call them.
    user, found : dict
        What the user and what the files say. The user has the last word.

    Returns
    -------
    known : dict
    notes : list of str
    """
    known, notes = {}, []
    models = list_models()
    for name in names:
        known[name] = row = {**found.get(name, {}), **user.get(name, {})}
        try:
            entry = find_model(name)
        except UnknownLabelError as error:
            if not has_compute(row) or "context_window" not in row:
                notes.append(str(error))
            continue
        registered = models.loc[entry]
        taken = []
        if not has_compute(row) and not _blank(registered["compute"]):
            # Not n_params: 6·N·D of the registry is the figure that has a source.
            row.pop("n_params", None)
            row["compute"] = float(registered["compute"])
            taken.append(f"compute {registered['compute']:.3g} FLOP")
            further = row.get("extension_tokens")
            if isinstance(further, int | float) and 0 < further < math.inf:
                # It was trained on more than what the registry knows of.
                row["compute"] += 6.0 * float(registered["n_params"]) * further
                taken[-1] += f" and that of {further:.3g} extension tokens"
        if "context_window" not in row and not _blank(registered["context_window"]):
            row["context_window"] = float(registered["context_window"])
            taken.append(f"context_window {registered['context_window']:.0f}")
        if "family" not in row:
            row["family"] = str(registered["family"])
            taken.append(f"family {registered['family']}")
        if taken:
            notes.append(f"From the compute registry, as {entry}: {', '.join(taken)} of {name}.")
    surplus = [name for name in user if name not in names]
    if surplus:
        argument = wording().argument("llms")
        notes.append(f"{argument} names what no file holds: {', '.join(surplus)}.")
    return known, notes


def has_compute(row: Mapping[str, Any]) -> bool:
    """Whether training compute is there or follows from what is."""
    return "compute" in row or {"n_params", "train_tokens"} <= set(row)
