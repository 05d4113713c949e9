"""Training runs as a task ladder takes them, checked; and where a target lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._checks import as_numbers
from bayes_ctxlaw._faults import Described, Faults
from bayes_ctxlaw.encoding import decades_beyond, level_labels
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.schema import OBS_DIM

MIN_SIZES = 3
"""Sizes below which a power law and its limit cannot be told apart."""

AXES = ("compute", "n_params", "train_tokens")


@dataclass(frozen=True)
class Runs:
    """What was observed of training runs.

    Parameters
    ----------
    ends : pandas.DataFrame
        One row for the end of every run and task: ``task``, ``llm``, ``compute``, ``loss``,
        ``score``, ``n_items``, ``chance``, and ``n_params``, ``train_tokens``, which are blank if
        the law is of compute alone.
    checkpoints : pandas.DataFrame
        The same of checkpoints in the middle of a run, with ``checkpoint_tokens``, in their order.
    """

    ends: pd.DataFrame
    checkpoints: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """Tasks in the order of first appearance."""
        return list(dict.fromkeys(self.ends["task"]))

    @property
    def llms(self) -> list[str]:
        """Runs in the order of first appearance."""
        return list(dict.fromkeys(self.ends["llm"]))


def read_runs(obs: xr.Dataset, loss: str | None, by_compute: bool, needs_items: bool) -> Runs:
    """Take observations apart into ends of runs and checkpoints.

    Parameters
    ----------
    obs : xr.Dataset
        From ``as_observations``.
    loss : str, optional
        Variable that is the loss; None for a law without one.
    by_compute : bool
        Whether the law is of compute, or of parameters and tokens.
    needs_items : bool
        Whether the law needs ``n_items``.

    Returns
    -------
    Runs

    Raises
    ------
    ObservationError
        All faults in one message, with their rows.
    """
    faults = Faults("the training runs", {}, obs[OBS_DIM].values)
    frame = _frame(obs, loss, by_compute, needs_items, faults)
    faults.raise_if_any()
    ended = frame["checkpoint_tokens"].isna()
    ends = frame[ended].reset_index(drop=True)
    _check_ends(frame, ended.to_numpy(), faults)
    _check_sizes(frame, ended.to_numpy(), "compute" if by_compute else "n_params", faults)
    faults.raise_if_any()
    order = ["task", "llm", "checkpoint_tokens"]
    return Runs(ends, frame[~ended].sort_values(order, kind="stable").reset_index(drop=True))


def _frame(
    obs: xr.Dataset, loss: str | None, by_compute: bool, needs_items: bool, faults: Faults
) -> pd.DataFrame:
    """The columns that a law needs, none of them blank."""
    size = obs.sizes[OBS_DIM]
    frame = pd.DataFrame({name: level_labels(obs, name) for name in ("task", "llm")})
    wanted = {"compute": "compute", "score": "score", "chance": "chance"}
    if not by_compute:
        wanted |= {"n_params": "n_params", "train_tokens": "train_tokens"}
    if needs_items:
        wanted["n_items"] = "n_items"
    if loss is not None:
        wanted["loss"] = loss
    for name, column in wanted.items():
        if column not in obs:
            faults.table(f"`{column}` is missing; this form of the law needs it in every row.")
            continue
        # A loss may be a column that is only carried along, and then nobody has looked at it.
        values, said = as_numbers(pd.Series(obs[column].values), column, faults, "a number above 0")
        frame[name] = values
        unusable = ~np.isfinite(values) | ((values <= 0.0) & (name not in ("score", "chance")))
        advice = "Fill these rows in or take them out; nothing is filled in for you."
        faults.rows(column, unusable & ~said, values.__getitem__, "a number above 0", advice)
    blank = np.full(size, np.nan)
    for name in ("n_params", "train_tokens", "n_items", "loss"):
        frame[name] = frame.get(name, blank)
    frame["checkpoint_tokens"] = (
        obs["checkpoint_tokens"].values if "checkpoint_tokens" in obs else blank
    )
    return frame


def _check_ends(frame: pd.DataFrame, ended: np.ndarray, faults: Faults) -> None:
    """Every run has one end for each of its tasks, and a task one chance level."""
    pair = pd.MultiIndex.from_frame(frame[["task", "llm"]])

    def named(i: int) -> str:
        return Described(f"run {frame['llm'][i]!r} on {frame['task'][i]!r}")

    twice = ended & pair.isin(pair[ended][pair[ended].duplicated()])
    advice = "A run trained again is another run with its own `llm` label."
    faults.rows("llm", twice, named, "one row for the end of a run on a task", advice)
    endless = ~ended & ~pair.isin(pair[ended])
    advice = "Add the row in which `checkpoint_tokens` is blank, or take its checkpoints out."
    faults.rows("checkpoint_tokens", endless, named, "a row for the end of every run", advice)
    several = frame.groupby("task")["chance"].transform("nunique").to_numpy() > 1
    advice = "What guessing scores is the same for all runs."
    faults.rows("chance", several, frame["chance"].to_numpy().__getitem__, "one a task", advice)


def _check_sizes(frame: pd.DataFrame, ended: np.ndarray, size: str, faults: Faults) -> None:
    ends = frame[ended]
    found = ends.groupby("task")[size].nunique()
    few = found.index[found < MIN_SIZES]
    faults.rows(
        size,
        ended & frame["task"].isin(few).to_numpy(),
        lambda i: Described(f"{found[frame['task'][i]]} of them for {frame['task'][i]!r}"),
        f"{MIN_SIZES} or more different values for each task",
        "Fewer cannot tell a power law from its limit: add runs, or leave the task out.",
    )


@dataclass(frozen=True)
class Place:
    """Where rows lie: natural logs of parameters, tokens and compute.

    Parameters
    ----------
    log_n, log_d, log_c : ndarray (row,)
        The first two are blank if the law is of compute alone.
    beyond : dict of str to ndarray
        Decades beyond the runs of the fit, by `AXES`.
    """

    log_n: np.ndarray
    log_d: np.ndarray
    log_c: np.ndarray
    beyond: dict[str, np.ndarray]

    def extrapolation(self, at: xr.Dataset) -> dict[str, np.ndarray]:
        """Decades beyond the runs of the fit; `at` are the rows that this is of."""
        return self.beyond

    def rows(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log N, log D and log C of some rows."""
        return self.log_n[mask], self.log_d[mask], self.log_c[mask]


def place(at: xr.Dataset, runs: Runs, by_compute: bool, tokens_per_param: float | None) -> Place:
    """Find where targets lie.

    Parameters
    ----------
    at : xr.Dataset
        From ``as_design``.
    runs : Runs
        Of the fit.
    by_compute : bool
        Whether the law is of compute.
    tokens_per_param : float, optional
        D/N of rows that have only compute.

    Returns
    -------
    Place

    Raises
    ------
    SpecificationError
        A row has compute only and the law needs to know how it is divided.
    """
    compute = at["compute"].values.astype(float)
    blank = np.full(len(compute), np.nan)
    n, d = (at[v].values.astype(float).copy() if v in at else blank.copy() for v in AXES[1:])
    # Compute and one of the two tell the other.
    n = np.where(np.isnan(n), compute / (6.0 * d), n)
    d = np.where(np.isnan(d), compute / (6.0 * n), d)
    unknown = np.isnan(n) | np.isnan(d)
    if tokens_per_param is not None:
        n[unknown] = np.sqrt(compute[unknown] / (6.0 * tokens_per_param))
        d[unknown] = tokens_per_param * n[unknown]
    elif not by_compute and unknown.any():
        shown = ", ".join(str(v) for v in at[OBS_DIM].values[unknown][:5])
        raise SpecificationError(
            f"rows {shown} have compute but not `n_params` and `train_tokens`, on which this law "
            "depends. Give both, or say by TaskLadder(tokens_per_param=20) how compute is divided, "
            'or use variant="compute".'
        )
    beyond = {}
    for name, values in zip(AXES, (compute, n, d), strict=True):
        if name == "compute" or not by_compute:
            log, seen = np.log10(values), np.log10(runs.ends[name].to_numpy())
            beyond[name] = decades_beyond(log, seen.min(), seen.max())
    return Place(np.log(n), np.log(d), np.log(compute), beyond)
