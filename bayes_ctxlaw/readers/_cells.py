"""Evaluations as read from files → one row per cell: nothing twice, labels that meet pooled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.readers._files import few, few_files

REPEATS = ("raise", "latest", "keep")
ROUNDING = 1e-9
"""A mean over items and a score that is that mean differ by no more than this."""


@dataclass(frozen=True)
class Prompts:
    """Mean and population standard deviation of the prompt lengths of some items, in tokens."""

    mean: float
    sd: float

    @classmethod
    def of(cls, lengths: Collection[float]) -> Prompts:
        """Summarise the lengths of single prompts."""
        values = np.asarray(lengths, dtype=np.float64)
        # Counted from the first one: equal lengths have exactly that mean, and no spread.
        mean = values[0] + np.mean(values - values[0])
        return cls(float(mean), float(np.sqrt(np.mean((values - mean) ** 2))))


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: a data set, a checkpoint, a number of shots. None is unknown.

    Attributes
    ----------
    name : str
        The data set or task as the files call it.
    llm, metric : str
    score : float
        The tool's own aggregate.
    source : str
        The file.
    n_items, n_correct : int or None
        Items behind the score; those right, if each item is right or wrong.
    prompts : Prompts or None
    chance : float or None
    stderr : float or None
        Standard error of the score, by the tool.
    shots, seed : int or None
    variant : str
        What else tells this evaluation from others of the same name; parts of one data set.
    extra : dict
        Columns to carry along; they tell cells apart.
    time : str
        When it was run, if two of the same are to be told apart.
    """

    name: str
    llm: str
    metric: str
    score: float
    source: str
    n_items: int | None = None
    n_correct: int | None = None
    prompts: Prompts | None = None
    chance: float | None = None
    stderr: float | None = None
    shots: int | None = None
    seed: int | None = None
    variant: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    time: str = ""

    @property
    def identity(self) -> tuple[Any, ...]:
        """What no two evaluations share unless one was run again."""
        return (self.name, self.llm, self.shots, self.seed, self.variant, *self.extra.items())

    def words(self) -> str:
        """The evaluation in a message."""
        parts = [self.name, self.variant, self.llm]
        parts += [] if self.shots is None else [f"{self.shots} shots"]
        parts += [] if self.seed is None else [f"seed {self.seed}"]
        return ", ".join(p for p in parts if p)


def chosen(tasks: Sequence[str] | Mapping[str, str] | None) -> dict[str, str] | None:
    """``tasks`` of a reader as {name in the files: label}; None is all, by their own names.

    Raises
    ------
    SpecificationError
    """
    if tasks is None:
        return None
    if isinstance(tasks, Mapping):
        labels = dict(tasks)
    elif isinstance(tasks, str) or not isinstance(tasks, Collection):
        raise SpecificationError(f"tasks is {tasks!r}; give a list of names: tasks=[{tasks!r}].")
    else:
        labels = {name: name for name in tasks}
    wrong = [pair for pair in labels.items() if not all(isinstance(t, str) and t for t in pair)]
    if wrong or not labels:
        found = f"holds {wrong[0]!r}" if wrong else "is empty"
        raise SpecificationError(f"tasks {found}; give names as text, at least one.")
    return labels


def check_names(
    labels: dict[str, str] | None,
    present: Collection[str],
    files: Sequence[str],
    word: str = "task",
) -> None:
    """Refuse names that are in none of the files.

    Raises
    ------
    SpecificationError
    """
    absent = [name for name in labels or {} if name not in present]
    if absent:
        raise SpecificationError(
            f"No file holds the {word} {', '.join(map(repr, absent))}. The files hold: "
            f"{', '.join(sorted(present))}. Files read: {few_files(files)}."
        )


def without_repeats(
    evaluations: list[Evaluation], repeats: str
) -> tuple[list[Evaluation], list[str]]:
    """Refuse or settle evaluations that are there twice; say in sentences what was left out.

    Raises
    ------
    ObservationError
        There are some, and `repeats` is ``"raise"``.
    SpecificationError
        `repeats` is not one of `REPEATS`.
    """
    if repeats not in REPEATS:
        raise SpecificationError(
            f"repeats={repeats!r}; allowed are {', '.join(map(repr, REPEATS))}."
        )
    same: dict[tuple[Any, ...], list[Evaluation]] = {}
    for one in evaluations:
        same.setdefault(one.identity, []).append(one)
    twice = [found for found in same.values() if len(found) > 1]
    if not twice or repeats == "keep":
        return evaluations, []
    if repeats == "latest":
        untimed = [f for found in twice for f in found if not f.time]
        if untimed:
            raise ObservationError(
                f"{wording().argument('repeats', 'latest')} needs the time of every run; "
                f"{untimed[0].source} has none."
            )
        last = [max(found, key=lambda one: (one.time, one.source)) for found in same.values()]
        return last, [f"{len(evaluations) - len(last)} earlier runs of the same were left out."]
    lines = [f"  {f[0].words()}: {', '.join(one.source for one in f)}" for f in twice[:10]]
    if len(twice) > 10:
        lines.append(f"  … and {len(twice) - 10} more.")
    raise ObservationError(
        "\n".join(
            [
                f"{len(twice)} evaluations are there more than once:",
                *lines,
                f"Remove what shall not count; or {wording().repeats()}",
            ]
        )
    )


def table_of(evaluations: list[Evaluation], labels: dict[str, str] | None) -> pd.DataFrame:
    """One row per cell, sorted; evaluations whose labels meet are pooled, item by item.

    Raises
    ------
    ObservationError
        Evaluations meet whose numbers of items are not known, or one of them twice.
    """
    cells: dict[tuple[Any, ...], list[Evaluation]] = {}
    counted: dict[str, bool] = {}
    shared = Counter((labels or {}).values())
    for one in evaluations:
        task = labels[one.name] if labels else one.name
        # Of names that do not meet nothing is pooled: a repeat that is kept is a replicate.
        apart = "" if shared[task] > 1 or one.variant else one.source
        key = (task, one.llm, one.shots, one.seed, *one.extra.items(), apart)
        cells.setdefault(key, []).append(one)
        # A graded score that happens to be whole in one cell is still not a count.
        counted[task] = counted.get(task, True) and one.n_correct is not None
    table = pd.DataFrame([_row(key[0], parts, counted[key[0]]) for key, parts in cells.items()])
    order = [c for c in ("task", "llm", "shots", "seed", "seq_length", "source") if c in table]
    table = table.sort_values(order, ignore_index=True, na_position="first")
    whole = [c for c in ("shots", "seed", "seq_length") if c in table and table[c].notna().all()]
    table = table.astype(dict.fromkeys(whole, np.int64))
    return table.drop(columns=[c for c in table if table[c].isna().all()])


def _row(task: str, parts: list[Evaluation], counted: bool) -> dict[str, Any]:
    first = parts[0]
    row = {"task": task, "llm": first.llm, "shots": first.shots, "seed": first.seed, **first.extra}
    row["metric"] = " + ".join(sorted({p.metric for p in parts}))
    sources = sorted({p.source for p in parts})
    row["source"] = sources[0] + (f" and {len(sources) - 1} more" if len(sources) > 1 else "")
    several = len(parts) > 1
    if len({p.identity for p in parts}) < len(parts):
        raise ObservationError(
            f"{first.words()} is there more than once, and would count so in the pooled task "
            f"{task!r}. Keep one of them. The files are {few_files(p.source for p in parts)}."
        )
    if not several:
        weights = np.ones(1)
    elif any(p.n_items is None for p in parts):
        names = few([f"{p.words()} ({p.source})" for p in parts if p.n_items is None])
        raise ObservationError(
            f"Evaluations that share the task {task!r} are pooled item by item, but the numbers of "
            f"items are not known: {names}. Give them tasks of their own."
        )
    else:
        weights = np.array([p.n_items for p in parts], dtype=np.float64)
    weights = weights / weights.sum()
    row["score"] = float(weights @ [p.score for p in parts]) if several else first.score
    row["n_items"] = _total([p.n_items for p in parts])
    row["n_correct"] = _total([p.n_correct for p in parts]) if counted else None
    known = None not in [p.chance for p in parts]
    row["chance"] = float(weights @ [p.chance for p in parts]) if known else None
    known = None not in [p.stderr for p in parts]
    row["stderr"] = math.hypot(*(weights * [p.stderr for p in parts])) if known else None
    prompts = [p.prompts for p in parts if p.prompts is not None]
    if len(prompts) == len(parts):
        mean = prompts[0].mean + float(weights @ [p.mean - prompts[0].mean for p in prompts])
        spread = [p.sd**2 + (p.mean - mean) ** 2 for p in prompts]
        row["prompt_tokens"] = mean
        row["prompt_tokens_sd"] = float(np.sqrt(weights @ spread)) if several else prompts[0].sd
    else:
        row["prompt_tokens"] = row["prompt_tokens_sd"] = None
    return row


def _total(counts: list[int | None]) -> int | None:
    return None if None in counts else sum(c for c in counts if c is not None)
