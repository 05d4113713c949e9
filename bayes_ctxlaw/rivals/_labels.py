"""Labels of tasks: seeds of what belongs to one, and what to do with those never seen."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.encoding import level_labels
from bayes_ctxlaw.errors import UnknownLabelError


def label_seed(seed: int, label: str) -> int:
    """Seed of what belongs to a label: it does not depend on which other labels there are.

    Parameters
    ----------
    seed : int
        Root.
    label : str

    Returns
    -------
    int
    """
    keys = np.random.SeedSequence([seed, zlib.crc32(label.encode())])
    return int(keys.generate_state(1)[0]) // 2


def check_tasks(at: xr.Dataset, known: list[str]) -> None:
    """Refuse tasks that a fit of task by task never saw.

    Parameters
    ----------
    at : xr.Dataset
        Design.
    known : list of str
        Tasks of the fit.

    Raises
    ------
    UnknownLabelError
        All unknown tasks, with the known ones.
    """
    unseen = sorted(set(level_labels(at, "task")) - set(known))
    if unseen:
        shown = ", ".join(map(repr, known[:10])) + (", …" if len(known) > 10 else "")
        raise UnknownLabelError(
            f"`task`: {', '.join(map(repr, unseen[:5]))}{', …' if len(unseen) > 5 else ''} not in "
            f"the fit, which saw {shown}. Correct the labels, or pass "
            f"{wording().new_levels()} to take a fitted task at random in every draw."
        )


def draws_like(
    tasks: Sequence[str],
    draw: Callable[[str], np.ndarray],
    shape: tuple[int, int],
    seed: Sequence[int],
) -> np.ndarray:
    """Draws of rows that are, in every draw, those of some fitted task.

    Parameters
    ----------
    tasks : sequence of str
        Fitted tasks to take one of: one for a task that was fitted, all for a new one.
    draw : callable
        Draws (draw, row) of the rows as if they were of a task.
    shape : tuple of int
        Draws and rows.
    seed : sequence of int
        Of which task is taken in which draw.

    Returns
    -------
    ndarray
        (draw, row). In a draw, all rows are of the same task.
    """
    which = np.random.default_rng(seed).integers(len(tasks), size=shape[0])
    out = np.empty(shape)
    for number, task in enumerate(tasks):
        out[which == number] = draw(task)[which == number]
    return out
