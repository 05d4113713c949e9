"""Evaluations as read from files: which are wanted, and nothing twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.readers._files import few_files

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
    seq_length : int or None
        The nominal prompt length, where it tells evaluations of one name apart.
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
    seq_length: int | None = None
    variant: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    time: str = ""

    @property
    def identity(self) -> tuple[Any, ...]:
        """What no two evaluations share unless one was run again."""
        return (self.name, self.variant, *self.asking)

    @property
    def asking(self) -> tuple[Any, ...]:
        """Who was asked and how: what parts of one cell share."""
        return (self.llm, self.shots, self.seed, self.seq_length, *self.extra.items())

    @property
    def part(self) -> str:
        """What was asked, in a message."""
        return f"{self.name}, {self.variant}" if self.variant else self.name

    @property
    def asked(self) -> str:
        """Who was asked and how, in a message."""
        parts = [self.llm]
        parts += [] if self.shots is None else [f"{self.shots} shots"]
        parts += [] if self.seed is None else [f"seed {self.seed}"]
        parts += [] if self.seq_length is None else [f"length {self.seq_length}"]
        return ", ".join(parts)

    def words(self) -> str:
        """The evaluation in a message."""
        return f"{self.part}, {self.asked}"


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
