"""The list of faults: everything wrong with one table, said in one message."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayes_ctxlaw.errors import ObservationError, SpecificationError

SHOWN = 5  # rows, and found values, named in a message


def did_you_mean(given: object, known: Iterable[str], most: int = 1) -> str:
    """Those of the `known` names that are most like the `given` one, as a question; or nothing.

    Examples
    --------
    >>> did_you_mean("yarn", ["PI", "YaRN", "none"])
    " (did you mean 'YaRN'?)"
    >>> did_you_mean("CLEX", ["PI", "YaRN", "none"])
    ''
    """
    folded: dict[str, list[str]] = {}
    for name in known:
        folded.setdefault(name.casefold(), []).append(name)
    near = difflib.get_close_matches(str(given).casefold(), folded, n=most)
    names = [name for key in near for name in folded[key]][:most]
    return f" (did you mean {' or '.join(map(repr, names))}?)" if names else ""


def all_of(*steps: Callable[[], Any]) -> list[Any]:
    """Results of all steps, or what is wrong with the options of any of them in one message.

    Raises
    ------
    SpecificationError

    Examples
    --------
    >>> all_of(lambda: 1, lambda: "two")
    [1, 'two']
    """
    found, faults = [], []
    for step in steps:
        try:
            found.append(step())
        except SpecificationError as error:
            faults.append(str(error).removesuffix("."))
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    return found


@dataclass
class _Fault:
    where: str
    allowed: str
    advice: str
    count: int = 0
    rows: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = ", ".join(self.rows) + (", …" if self.count > len(self.rows) else "")
        number = f"row {rows}" if self.count == 1 else f"{self.count} rows ({rows})"
        more = ", …" if len(self.found) == SHOWN else ""
        parts = [f"{self.where}, {number}: found {', '.join(self.found)}{more}."]
        parts += [f"Allowed: {self.allowed}."] if self.allowed else []
        return " ".join([*parts, self.advice]).rstrip()


class Faults:
    """Everything wrong with one table, gathered so that it can be said at once.

    Parameters
    ----------
    what : str
        What the user gave, as the message should call it.
    renamed : dict of str to str
        Canonical name → the user's column name, where they differ.
    labels : array of shape (n_rows,)
        What the user calls each row. Replaced by the caller when a table comes in pieces.
    """

    def __init__(self, what: str, renamed: dict[str, str], labels: np.ndarray) -> None:
        self.what = what
        self.renamed = renamed
        self.labels = labels
        self._of_table: list[str] = []
        self._of_rows: dict[tuple[str, str, str], _Fault] = {}

    def __len__(self) -> int:
        return len(self._of_table) + len(self._of_rows)

    def name(self, column: str) -> str:
        """`column` as a message should print it."""
        user = self.renamed.get(column, column)
        return f"`{column}`" if user == column else f"`{column}` (your column `{user}`)"

    def table(self, text: str) -> None:
        """Add a fault of the table as a whole."""
        self._of_table.append(text)

    def rows(
        self,
        column: str,
        bad: np.ndarray,
        found: Callable[[int], object],
        allowed: str,
        advice: str = "",
        where: str | None = None,
    ) -> None:
        """Add a fault of the rows where `bad`; `found(i)` is what row i holds.

        The same fault of the same column in a later piece of the table joins the earlier one.
        """
        places = np.flatnonzero(bad)
        if not len(places):
            return
        empty = _Fault(where or self.name(column), allowed, advice)
        fault = self._of_rows.setdefault((column, allowed, advice), empty)
        fault.count += len(places)
        for i in places[: SHOWN - len(fault.rows)]:
            fault.rows.append(show_label(self.labels[i]))
        for i in places[: 10 * SHOWN]:
            text = _show(found(i))
            if text not in fault.found and len(fault.found) < SHOWN:
                fault.found.append(text)

    def raise_if_any(self) -> None:
        """Raise one `ObservationError` with all faults, if there are any."""
        if not len(self):
            return
        number = "1 fault" if len(self) == 1 else f"{len(self)} faults"
        said = [*self._of_table, *self._of_rows.values()]
        lines = [f"  {i}. {fault}" for i, fault in enumerate(said, 1)]
        raise ObservationError("\n".join([f"{number} in {self.what}:", *lines]))


class Described(str):
    """Text that already describes what was found, to be printed as it is."""


def _show(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "blank" if np.isnan(value) else f"{value:.7g}"
    if value is None or value is pd.NA:
        return "blank"
    if isinstance(value, Described):
        return str(value)
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "…"


def show_label(label: object) -> str:
    return str(label.item() if isinstance(label, np.generic) else label)
