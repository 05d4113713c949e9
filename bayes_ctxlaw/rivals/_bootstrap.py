"""Which observations a bootstrap resample holds, and how often."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import level_labels
from bayes_ctxlaw.errors import SpecificationError

MIN_LLMS = 3
"""Checkpoints of a task below which a bootstrap over checkpoints alone says nothing."""

_ROUNDS = 20  # times that a draw for all tasks together is tried again


def check_bootstrap(resamples: object, centred: object) -> None:
    """Refuse options of a bootstrap that cannot be used, all in one message.

    Raises
    ------
    SpecificationError
    """
    faults = []
    whole = isinstance(resamples, int | np.integer) and not isinstance(resamples, bool)
    if not whole or resamples < 2:
        faults.append(f"resamples={resamples!r} must be a whole number of at least 2, such as 200")
    if not isinstance(centred, bool | np.bool_):
        faults.append(f"centred={centred!r} must be True or False")
    if faults:
        raise SpecificationError("; ".join(faults) + ".")


def compute_values(obs: xr.Dataset) -> np.ndarray:
    """Number each row's compute; values in a chain of steps below one percent count as one.

    Examples
    --------
    >>> compute_values(xr.Dataset({"compute": ("obs_id", [7.78e22, 1.5e23, 7.77e22])})).tolist()
    [0, 1, 0]
    """
    log_c = np.log(obs["compute"].values.astype(float))
    order = np.argsort(log_c, kind="stable")
    numbers = np.zeros(len(log_c), dtype=np.int64)
    numbers[order[1:]] = np.cumsum(np.diff(log_c[order]) > 0.01)
    return numbers


def bootstrap_weights(obs: xr.Dataset, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each row occurs in each bootstrap resample of checkpoints.

    Checkpoints are drawn with replacement, all rows of one together, because the rows of one stand
    or fall together. All tasks see the same draw. One that leaves a task without rows, or with a
    single value of compute where it has several, is drawn again: no curve in compute could be
    fitted to it. Where that does not help (tasks with other checkpoints each), such a task gets a
    draw of its own. The rows of a task with fewer than `MIN_LLMS` checkpoints are then drawn anew
    within each checkpoint.

    Parameters
    ----------
    obs : xr.Dataset
    resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int
        (resample, row).

    Examples
    --------
    >>> rows = {"task": list("qqqqqq"), "llm": list("aabbcc"), "compute": [1, 1, 2, 2, 3, 3]}
    >>> obs = xr.Dataset({name: ("obs_id", values) for name, values in rows.items()})
    >>> weights = bootstrap_weights(obs, 100, np.random.default_rng(1))
    >>> bool((weights[:, ::2] == weights[:, 1::2]).all() and (weights.sum(axis=1) == 6).all())
    True
    """
    tasks = level_labels(obs, "task")
    names, of_row = np.unique(level_labels(obs, "llm").astype(str), return_inverse=True)
    parts = [np.flatnonzero(tasks == task) for task in dict.fromkeys(tasks.tolist())]
    compute = [compute_values(obs.isel(obs_id=rows)) for rows in parts]
    weights = np.zeros((resamples, len(of_row)), dtype=np.int64)
    again = np.arange(resamples)
    for _ in range(_ROUNDS):
        weights[again] = _counts(len(names), len(again), rng)[:, of_row]
        unfit = [_unfit(weights[:, rows], c) for rows, c in zip(parts, compute, strict=True)]
        again = np.flatnonzero(np.any(unfit, axis=0))
        if not len(again):
            break
    for rows, values in zip(parts, compute, strict=True):
        own, of_own = np.unique(of_row[rows], return_inverse=True)
        # Ends: of two checkpoints that differ, both are drawn every other time; of more, oftener.
        while len(bad := np.flatnonzero(_unfit(weights[:, rows], values))):
            weights[np.ix_(bad, rows)] = _counts(len(own), len(bad), rng)[:, of_own]
        if len(own) < MIN_LLMS:
            for llm in range(len(own)):
                within = rows[of_own == llm]
                times = weights[:, within[0]] * len(within)
                weights[:, within] = rng.multinomial(times, np.full(len(within), 1 / len(within)))
    return weights


def _counts(size: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Times each of `size` things is drawn when as many are drawn with replacement."""
    return rng.multinomial(size, np.full(size, 1.0 / size), size=resamples)


def _unfit(weights: np.ndarray, compute: np.ndarray) -> np.ndarray:
    """Whether a task's part of each resample has no row, or one compute instead of several."""
    present = [weights[:, compute == number].any(axis=1) for number in range(compute.max() + 1)]
    return np.sum(present, axis=0) < min(2, len(present))
