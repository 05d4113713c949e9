"""What the observations cannot tell apart when two labels of a level are compared.

An effect of a technique is told from that of a family only where a family has both, or where many
families have either. What a comparison rests on is judged here from the observations alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import BASE_LEVELS, level_labels

_NESTED = {"technique": ("llm",), "family": ("llm",), "llm": ("family", "technique"), "task": ()}
"""By level, what each of its labels has of its own by definition."""

_SAME = 1.02  # values of compute or window that differ by less are the same


@dataclass(frozen=True)
class Confounding:
    """What stands in the way of taking a difference for the effect of a level.

    Attributes
    ----------
    with_levels : tuple of str
        Levels of which the two labels share no label: their difference is that of these levels too.
    notes : tuple of str
        Sentences on all that limits the comparison, those about `unseen` and `with_levels` first.
    unseen : tuple of str
        Labels that the observations lack: what is said of them is drawn from what others vary by.

    Examples
    --------
    >>> Confounding((), ()).identified
    True
    """

    with_levels: tuple[str, ...]
    notes: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    @property
    def identified(self) -> bool:
        """Whether the observations tell the two labels apart from everything else."""
        return not (self.with_levels or self.unseen)


def confounding(obs: xr.Dataset, level: str, a: str, b: str) -> Confounding:
    """Judge what a comparison of two labels is confounded with.

    Parameters
    ----------
    obs : xr.Dataset
        Observations, as from ``as_observations``.
    level : {"task", "family", "technique", "llm"}
    a, b : str
        Two of its labels. One that the observations lack is in all of the prior, and said so.

    Returns
    -------
    Confounding

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("helmet_icl")
    >>> confounding(obs, "technique", "YaRN", "LongRoPE").with_levels
    ('family',)
    >>> confounding(obs, "technique", "YaRN", "PI").with_levels
    ()
    """
    own = level_labels(obs, level)
    rows = {label: np.flatnonzero(own == label) for label in (a, b)}
    absent = [label for label, found in rows.items() if not len(found)]
    if absent:
        notes = [
            f"The fit saw no {level} {label!r}: what is said of it is drawn from what labels of "
            "that level vary by."
            for label in absent
        ]
        return Confounding((), tuple(notes), tuple(absent))
    shared_none, notes, beside = [], [], []
    for other in BASE_LEVELS:
        if other == level or other not in obs:
            continue
        seen = {
            label: list(dict.fromkeys(level_labels(obs, other)[found].tolist()))
            for label, found in rows.items()
        }
        if other in _NESTED[level]:
            if other == "llm":
                beside += _single(level, seen)
            continue
        if not set(seen[a]) & set(seen[b]):
            shared_none.append(other)
            notes.append(
                f"No {other} has both: {a!r} was seen with {_named(seen[a])} only, {b!r} with "
                f"{_named(seen[b])}. Their difference is that of the {other} as well."
            )
        elif level != "task" and other == "family":
            beside += [
                f"{label!r} was seen in the family {seen[label][0]!r} only: elsewhere it may "
                "differ."
                for label in (a, b)
                if len(seen[label]) == 1
            ]
    if level != "llm":
        beside += _apart(obs, rows)
    return Confounding(tuple(shared_none), (*notes, *beside))


def _single(level: str, seen: dict[str, list[str]]) -> list[str]:
    """Labels that rest on one checkpoint."""
    alone = {label: llms[0] for label, llms in seen.items() if len(llms) == 1}
    return [
        f"{label!r} rests on one checkpoint, {llm!r}: what else is special to it counts for the "
        f"{level}."
        for label, llm in alone.items()
    ]


def _apart(obs: xr.Dataset, rows: dict[str, np.ndarray]) -> list[str]:
    """Ranges of compute and of windows that do not meet."""
    notes = []
    for name, unit in (("compute", "FLOP"), ("context_window", "tokens")):
        spans = {}
        for label, found in rows.items():
            values = obs[name].values[found].astype(float)
            spans[label] = values.min(), values.max()
        (a, (low_a, high_a)), (b, (low_b, high_b)) = spans.items()
        if low_a > high_b * _SAME or low_b > high_a * _SAME:
            what = "amounts of compute" if name == "compute" else "context windows"
            notes.append(
                f"Their {what} do not overlap: {_span(low_a, high_a)} {unit} for {a!r}, "
                f"{_span(low_b, high_b)} for {b!r}. The law bridges the gap."
            )
    return notes


def _span(low: float, high: float) -> str:
    """A range in words, or the one value that it is."""
    ends = [f"{value:.3g}" if value >= 1e9 else f"{value:,.0f}" for value in (low, high)]
    return " to ".join(dict.fromkeys(ends))


def _named(labels: list[str]) -> str:
    shown = ", ".join(map(repr, labels[:4]))
    return shown + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
