"""What a reader returns: the cells, and what the files could not say."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayes_ctxlaw._tables import Table, read_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.readers import _llms
from bayes_ctxlaw.readers._files import few, few_files


@dataclass(frozen=True, eq=False)
class Reading:
    """Scores read from files, to be given to `as_observations`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per cell, columns as in the schema: ``score``, ``task``, ``llm`` and what else is
        known; ``shots``, ``seed``, ``metric`` and ``source`` are carried along. A blank is unknown.
        It may be added to before `as_observations` takes the reading.
    format : str
        What was read.
    n_files : int
        Files that were read.
    notes : list of str
        What was taken from elsewhere, converted or left out, in sentences.
    skipped : dict of str to str
        Broken files that were left out, with their faults.
    advice : dict of str to str
        How to come by a variable that the format does not have.
    files : list of str
        Names of the files that were read, below the folder.

    Notes
    -----
    `as_observations` refuses a reading whose ``compute``, ``context_window`` or ``prompt_tokens``
    is unknown in some rows. ``chance`` becomes 0 where it is unknown.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayes_ctxlaw.readers import Reading
    >>> table = pd.DataFrame({"task": ["qa", "qa"], "llm": "A", "score": [0.3, 0.4],
    ...                       "prompt_tokens": [90.0, 400.0], "n_items": 100})
    >>> reading = Reading(table, "lm-eval", n_files=2)
    >>> list(reading.unknown)
    ['compute', 'context_window', 'family', 'prompt_tokens_sd', 'chance']
    """

    table: pd.DataFrame
    format: str
    n_files: int
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    @property
    def unknown(self) -> dict[str, list[str]]:
        """What is not known: variable → the checkpoints (of ``chance``: the tasks) without it."""
        blanks = {
            "compute": self._no_compute(),
            "context_window": self._blank("context_window"),
            "prompt_tokens": self._blank("prompt_tokens"),
        }
        blanks |= {n: self._blank(n) for n in ("family", "n_items", "prompt_tokens_sd", "chance")}
        of = {name: "task" if name == "chance" else "llm" for name in blanks}
        return {
            name: self.table.loc[rows, of[name]].drop_duplicates().tolist()
            for name, rows in blanks.items()
            if rows.any()
        }

    def _blank(self, name: str) -> pd.Series:
        if name not in self.table:
            return pd.Series(True, index=self.table.index)
        return self.table[name].isna()

    def _no_compute(self) -> pd.Series:
        return self._blank("compute") & (self._blank("n_params") | self._blank("train_tokens"))

    def __str__(self) -> str:
        table = self.table
        counts = {
            "cell": len(table),
            "task": table["task"].nunique(),
            "checkpoint": table["llm"].nunique(),
            "file": self.n_files,
        }
        words = [f"{n} {what}" + ("" if n == 1 else "s") for what, n in counts.items()]
        lines = [f"{self.format}: {', '.join(words)}."]
        lines += [f"  {text}" for text in self._sentences().values()]
        lines += [f"  {note}" for note in self.notes]
        if self.skipped:
            lines.append(f"  {len(self.skipped)} broken files were skipped: {wording().skipped()}.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _sentences(self) -> dict[str, str]:
        """What is unknown, by variable, and what follows."""
        unknown = self.unknown
        said = {}
        for name in ("compute", "context_window"):
            if name in unknown:
                said[name] = (
                    f"{name} of {few(unknown[name])} is not in these files: "
                    f"{wording().of_llm(name, unknown[name][0])}"
                )
        if "prompt_tokens" in unknown:
            advice = self.advice.get("prompt_tokens", wording().add_column())
            where = self._where(self._blank("prompt_tokens"))
            said["prompt_tokens"] = (
                f"prompt_tokens of {few(unknown['prompt_tokens'])} is unknown{where}. {advice}"
            )
        for name in ("n_items", "prompt_tokens_sd", "family"):
            if name in unknown:
                said[name] = f"{name} of {few(unknown[name])} is unknown."
        if "chance" in unknown:
            said["chance"] = (
                f"chance of {few(unknown['chance'])} is unknown and taken as 0. Another value is "
                f"given by task, as {wording().chance(unknown['chance'][0])}."
            )
        return said

    def _faults(self) -> list[str]:
        """What keeps the reading from being observations."""
        said = self._sentences()
        faults = [said[n] for n in ("compute", "context_window", "prompt_tokens") if n in said]
        for name in ("family", "technique"):
            blank = self._blank(name)
            if name in self.table and blank.any() and not blank.all():
                without = self.table.loc[blank, "llm"].drop_duplicates().tolist()
                faults.append(
                    f"{name} of {few(without)} is unknown while that of others is known: "
                    f"{wording().of_all_llms()}"
                )
        if "chance" in self.table:
            known = self.table.groupby("task")["chance"].agg(lambda c: c.notna().mean())
            partly = known.index[(known > 0) & (known < 1)].tolist()
            if partly:
                blank = self._blank("chance") & self.table["task"].isin(partly)
                faults.append(
                    f"chance of {few(partly)} is known in some cells only: give it by task, as "
                    f"{wording().chance(partly[0])}. It is unknown{self._where(blank)}."
                )
        return faults

    def _where(self, rows: pd.Series) -> str:
        """Name the files of some of the rows, if these are not all."""
        if rows.all() or "source" not in self.table:
            return ""
        return f" in {few_files(self.table.loc[rows, 'source'].astype(str))}"

    def named(self) -> str:
        """The format, and the files, as a message calls what was read."""
        return f"{self.format}: {few_files(self.files)}" if self.files else self.format


@read_table.register
def _(data: Reading, text_columns: frozenset[str] = frozenset()) -> Table:
    faults = data._faults()
    if faults:
        lines = [f"  {i}. {fault}" for i, fault in enumerate(faults, 1)]
        raise ObservationError(
            "\n".join([f"These files ({data.named()}) do not say all that is needed:", *lines])
        )
    frame = data.table.reset_index(drop=True)
    frame = frame.drop(columns=[c for c in frame if frame[c].isna().all()])
    if "chance" in frame:
        frame["chance"] = frame["chance"].fillna(0.0)
    labels = frame["source"] if "source" in frame else frame.index
    return Table(frame, labels.to_numpy(), f"what was read ({data.named()})")


def assembled(
    table: pd.DataFrame,
    llms: _llms.LLMs,
    chance: Mapping[str, float] | None,
    files: Sequence[str],
    found: Mapping[Hashable, Mapping[str, Any]] | None = None,
    checkpoint: pd.Series | None = None,
    n_params: Mapping[str, float] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Add to the cells what is known of their checkpoints and by whom, and chance levels.

    `found` is what the files state of each checkpoint, `checkpoint` which one a row is of (by
    default, its ``llm``), and `n_params` what a harness counted, by ``llm``.

    Raises
    ------
    SpecificationError
    """
    guessed = dict(chance or {})
    absent = [task for task in guessed if task not in set(table["task"])]
    if absent:
        raise SpecificationError(
            f"{wording().argument('chance')} names {', '.join(map(repr, absent))}; the tasks are "
            f"{', '.join(table['task'].drop_duplicates())}, in {few_files(files)}."
        )
    if guessed:
        blank = pd.Series(np.nan, index=table.index)
        theirs = table["task"].map(guessed)
        table = table.assign(chance=theirs.where(theirs.notna(), table.get("chance", blank)))
    of_row = table["llm"] if checkpoint is None else checkpoint
    names = dict(zip(of_row, table["llm"], strict=True))
    known, notes = _llms.described(names, _llms.given(llms), found or {}, n_params or {})
    columns = {}
    for variable in _llms.FIELDS:
        values = of_row.map(lambda key, v=variable: known[key].get(v, np.nan))
        if values.notna().any():
            columns[variable] = values
    return table.assign(**columns), notes
