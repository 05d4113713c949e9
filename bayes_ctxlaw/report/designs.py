"""Where a report predicts: curves along prompt length and compute, and places beyond the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.observations import as_design

MAX_CURVES = 5
"""Checkpoints, or families, whose bands one figure can show."""

NEW_LLM = "a new checkpoint"
"""Label of a checkpoint that the fit did not see."""

_PANELS = 9  # tasks in a figure
_POINTS = 60
_COMPUTE_BEYOND = 10.0
_SAME = 1.1  # values within so small a ratio make no curve and no extrapolation
_NEAR = 1.26  # lengths within a tenth of a decade are one, as in the plots
_DESIGN = (
    "task", "llm", "family", "technique", "compute", "context_window", "n_items", "chance",
)  # fmt: skip


def cells_of(obs: xr.Dataset) -> pd.DataFrame:
    """Every pair of task and checkpoint, with what a prediction needs to know of it.

    Columns ``shortest`` and ``longest`` hold its prompts in tokens. A checkpoint that was evaluated
    with several windows makes a pair with each of them.
    """
    names = [name for name in _DESIGN if name in obs]
    frame = obs[[*names, "prompt_tokens"]].to_dataframe()
    pair = ["task", "llm", "context_window"]
    lengths = frame.groupby(pair, sort=False)["prompt_tokens"]
    lengths = lengths.agg(shortest="min", longest="max").reset_index()
    return frame[names].drop_duplicates(pair).merge(lengths, on=pair)


def along_prompts(cells: pd.DataFrame, points: int = _POINTS) -> xr.Dataset:
    """Curves of pairs of task and checkpoint, from the shortest prompt of all to the widest window.

    Parameters
    ----------
    cells : pandas.DataFrame
        From `cells_of`.
    points : int
        Prompt lengths, evenly spaced in their logarithm.

    Returns
    -------
    xr.Dataset
        A design.
    """
    widest = max(cells["context_window"].max(), cells["longest"].max())
    lengths = np.geomspace(cells["shortest"].min(), widest, points)
    own = cells.drop(columns=["shortest", "longest"])
    return as_design(own.merge(pd.DataFrame({"prompt_tokens": lengths}), how="cross"))


def context_figures(cells: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, int]]:
    """Pairs of task and checkpoint for one figure after the other, and how many are in none.

    The tasks of a figure have the same checkpoints. Where these are more than can be told apart,
    some are chosen, evenly over compute and window.
    """
    of_task = cells.groupby("task", sort=False)["llm"].agg(lambda llms: tuple(dict.fromkeys(llms)))
    for llms, tasks in of_task.groupby(of_task, sort=False).groups.items():
        here = cells[cells["task"].isin(tasks)]
        ordered = here.drop_duplicates("llm").sort_values(["compute", "context_window"])["llm"]
        shown = _spread(ordered.tolist())
        for start in range(0, len(tasks), _PANELS):
            some = here["task"].isin(tasks[start : start + _PANELS])
            yield here[some & here["llm"].isin(shown)], len(llms) - len(shown)


def along_compute(obs: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset, int] | None:
    """Curves of a new checkpoint of each family along compute, to ten times the largest.

    Returns
    -------
    tuple of xr.Dataset, xr.Dataset and int, or None
        The design; the observations near it in prompt length; how many families are left out.
        None where all checkpoints have about the same compute.
    """
    compute = obs["compute"].values
    if not varies(compute):
        return None
    frame = obs[[n for n in (*_DESIGN, "prompt_tokens") if n in obs]].to_dataframe()
    families = [None]
    if "family" in frame:
        count = frame.groupby("family", sort=False)["compute"].nunique()
        families = count.sort_values(ascending=False, kind="stable").index.tolist()
    left_out = len(families[MAX_CURVES:])
    parts, near = [], []
    for task, rows in frame.groupby("task", sort=False):
        length = _shared_length(rows)
        close = np.abs(np.log(rows["prompt_tokens"] / length)) <= np.log(_NEAR)
        near.append(rows.index[close])
        for family in families[:MAX_CURVES]:
            own = rows if family is None else rows[rows["family"] == family]
            if own.empty:
                continue
            kept = [n for n in ("family", "technique", "context_window", "chance") if n in own]
            # What most checkpoints of the family have.
            typical = own.drop_duplicates("llm")[kept].value_counts().index[0]
            row = dict(zip(kept, typical, strict=True))
            row |= {"task": task, "llm": NEW_LLM, "prompt_tokens": length}
            if "n_items" in own:
                row["n_items"] = own["n_items"].median()
            parts.append(row)
    spread = np.geomspace(compute.min(), _COMPUTE_BEYOND * compute.max(), _POINTS)
    grid = pd.DataFrame(parts).merge(pd.DataFrame({"compute": spread}), how="cross")
    return as_design(grid), obs.sel(obs_id=np.concatenate(near)), left_out


def beyond_data(cells: pd.DataFrame, obs: xr.Dataset) -> xr.Dataset | None:
    """Places past the data: prompts of two and eight times the longest, and ten times the compute.

    Of each pair of task and checkpoint prompts up to its window only; of a new checkpoint in the
    place of the largest of its task, the longest prompt that this one can hold and was given. Where
    several are the largest, those with the widest window are meant, one of each family and
    technique.
    """
    rows = []
    for _, cell in cells.iterrows():
        own = cell.drop(["shortest", "longest"]).to_dict()
        window, longest = cell["context_window"], cell["longest"]
        lengths = {min(times * longest, window) for times in (2, 8)}
        rows += [own | {"prompt_tokens": n} for n in sorted(lengths) if n > _SAME * longest]
    if varies(obs["compute"].values):
        apart = ["task", *(name for name in ("family", "technique") if name in cells)]
        of_task = cells.groupby("task", sort=False)
        largest = cells[cells["compute"] * _SAME >= of_task["compute"].transform("max")]
        widest = largest.groupby("task", sort=False)["context_window"].transform("max")
        largest = largest[largest["context_window"] == widest]
        # By what is in the rows, not by their order.
        ordered = largest.sort_values([*apart[1:], "longest", "llm"], kind="stable")
        for _, cell in ordered.drop_duplicates(apart, keep="last").iterrows():
            own = cell.drop(["shortest", "longest"]).to_dict()
            new = {"llm": NEW_LLM, "compute": _COMPUTE_BEYOND * obs["compute"].values.max()}
            length = min(cell["longest"], cell["context_window"])
            rows.append(own | new | {"prompt_tokens": length})
    return as_design(pd.DataFrame(rows)) if rows else None


def common_window(obs: xr.Dataset) -> float:
    """The window that most checkpoints have, the widest if several are as common."""
    llms = obs[["llm", "context_window"]].to_dataframe().drop_duplicates()
    windows = llms["context_window"].value_counts().sort_index()
    return float(windows[windows == windows.max()].index[-1])


def side_by_side(obs: xr.Dataset, a: str, b: str) -> xr.Dataset:
    """Where two techniques are compared: one compute, all their tasks, lengths up to the window.

    The window is the same for all pairs, so that three of them do not contradict each other.
    """
    frame = obs[[n for n in (*_DESIGN, "prompt_tokens") if n in obs]].to_dataframe()
    rows, window = frame[frame["technique"].isin([a, b])], common_window(obs)
    shortest, longest = rows["prompt_tokens"].min(), rows["prompt_tokens"].max()
    lengths = np.geomspace(shortest, window if window > _SAME * shortest else longest, 24)
    tasks = rows.drop_duplicates("task")
    own = tasks[[n for n in ("task", "chance", "n_items") if n in tasks]].assign(
        llm=NEW_LLM,
        compute=float(np.exp(np.log(rows.drop_duplicates("llm")["compute"]).mean())),
        context_window=window,
    )
    if "family" in rows:
        seen = rows.groupby("family", sort=False)["technique"].nunique()
        own["family"] = seen.idxmax()  # one that has both, if there is one
    return as_design(own.merge(pd.DataFrame({"prompt_tokens": lengths}), how="cross"))


def varies(compute: np.ndarray) -> bool:
    """Whether values of compute are far enough apart to say anything of it."""
    return bool(compute.max() > _SAME * compute.min())


def _spread(labels: list[str]) -> list[str]:
    """At most `MAX_CURVES` of them, evenly from the first to the last."""
    count = min(len(labels), MAX_CURVES)
    return [labels[i] for i in np.linspace(0, len(labels) - 1, count).round().astype(int)]


def _shared_length(rows: pd.DataFrame) -> float:
    """The prompt length near which most checkpoints were evaluated; of several the middle one.

    Within their windows, if any prompt is.
    """
    inside = rows[rows["prompt_tokens"] <= rows["context_window"]]
    rows = rows if inside.empty else inside
    lengths, llm = rows["prompt_tokens"].to_numpy(), rows["llm"].to_numpy()
    logs = np.log(lengths)
    near = np.array([len(set(llm[np.abs(logs - at) <= np.log(_NEAR)])) for at in logs])
    shared = np.sort(lengths[near == near.max()])
    return float(shared[len(shared) // 2])
