"""Both sides of a comparison: the same rows under two labels, and draws of their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, alike, level_labels
from bayes_ctxlaw.observations import as_design
from bayes_ctxlaw.predict import Predictor
from bayes_ctxlaw.schema import OBS_DIM

BELONGS = {
    "llm": ("family", "technique", "compute", "context_window"),
    "task": ("chance",),
}
"""What each label of a level has of its own, and brings along into a comparison."""

DESIGN = ("task", "llm", "family", "technique", "compute", "context_window", "prompt_tokens")
"""Variables that tell rows of a comparison apart."""

OF_CHECKPOINTS = ("family", "technique")
"""Levels whose labels each have checkpoints of their own."""

_SAME = 1.1  # prompt lengths within so small a ratio are one
_PIECE = 128  # rows whose draws are held at once


@dataclass(frozen=True)
class Sides:
    """The rows of a comparison, and what each side makes of them.

    Attributes
    ----------
    rows : xr.Dataset
        What both sides have in common.
    variants : tuple of list of xr.Dataset
        Of either side the same rows as they are predicted, once for each checkpoint that it is the
        average of.
    """

    rows: xr.Dataset
    variants: tuple[list[xr.Dataset], list[xr.Dataset]]

    @property
    def all_rows(self) -> xr.Dataset:
        """Everything that is predicted, in one Dataset."""
        return xr.concat([*self.variants[0], *self.variants[1]], OBS_DIM, data_vars="all")

    @property
    def past_window(self) -> tuple[np.ndarray, np.ndarray]:
        """Of either side, which rows' prompts are longer than its nominal window."""
        a, b = (
            side[0]["prompt_tokens"].values > side[0]["context_window"].values
            for side in self.variants
        )
        return a, b

    def draws(self, predictor: Predictor, kind: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draws of the scores of both sides, piece after piece of rows: arrays (draw, row)."""
        size, evaluated = self.rows.sizes[OBS_DIM], Counter()
        parts = len(self.variants[0]), len(self.variants[1])
        for start in range(0, size, _PIECE):
            piece = {OBS_DIM: slice(start, start + _PIECE)}
            part = Sides(
                self.rows.isel(piece),
                tuple([v.isel(piece) for v in variants] for variants in self.variants),
            ).all_rows
            # Evaluations of both sides and of all rows have noise of their own.
            found = list(predictor.blocks(part, kind, evaluated))
            scores = np.concatenate(found, axis=1).reshape(predictor.size, sum(parts), -1)
            yield scores[:, : parts[0]].mean(axis=1), scores[:, parts[0] :].mean(axis=1)

    def totals(
        self, predictor: Predictor, kind: str
    ) -> dict[str, list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]]:
        """Parameters of both sides by task, on the scale of effects.

        Once for each distinct combination of labels: rows differ in length, parameters do not.
        """
        numbers, combinations = predictor.combinations(self.all_rows, kind)
        numbers = numbers.reshape(-1, self.rows.sizes[OBS_DIM])
        of = {number: predictor.totals(combinations[number]) for number in np.unique(numbers)}
        first = len(self.variants[0])
        found: dict[str, dict[tuple[int, ...], None]] = {}
        tasks = level_labels(self.variants[0][0], "task")
        for task, column in zip(tasks.tolist(), numbers.T.tolist(), strict=True):
            found.setdefault(task, {})[tuple(column)] = None

        def mean(column: tuple[int, ...]) -> dict[str, np.ndarray]:
            # Counted from the first: a mean of equal values is that value to the last bit, however
            # many they are, or else a parameter that no checkpoint changes would seem to differ.
            return {
                name: base + np.mean([of[n][name] - base for n in column], axis=0)
                for name, base in of[column[0]].items()
            }

        return {
            task: [(mean(c[:first]), mean(c[first:])) for c in columns]
            for task, columns in found.items()
        }


def sides_of(
    obs: xr.Dataset,
    encoding: Encoding,
    rows: xr.Dataset,
    level: str,
    labels: tuple[str, str],
    kind: str,
) -> Sides:
    """Both sides of a comparison at rows.

    Parameters
    ----------
    obs : xr.Dataset
        Observations of the fit: they say what belongs to each label, and its checkpoints.
    encoding : Encoding
        Of the fit: it says the chance level of each task.
    rows : xr.Dataset
        Design.
    level : {"task", "family", "technique", "llm"}
    labels : tuple of str
    kind : {"law", "llm", "response"}

    Returns
    -------
    Sides

    Raises
    ------
    ObservationError
        If a task has several chance levels in the fit and the rows do not state one.
    """
    own = {level, *BELONGS.get(level, ())}
    if kind == "law" or level in OF_CHECKPOINTS:
        own.add("llm")
    common = rows.drop_vars([name for name in (*own, "score") if name in rows])
    seen = level_labels(obs, level)
    variants = []
    for label in labels:
        found = np.flatnonzero(seen == label)
        side = _with(common, level, label)
        for name in BELONGS.get(level, ()):
            several = name == "chance" and encoding.chance.get(label) is None
            if name in obs and len(found) and not several:
                side = _with(side, name, obs[name].values[found[0]])
            elif name in rows:
                side = side.assign({name: rows[name]})
        if "chance" in own:
            side = encoding.with_chance(side)
        if kind == "law" or level == "llm":
            variants.append([side])
        elif level in OF_CHECKPOINTS:
            llms = dict.fromkeys(level_labels(obs, "llm")[found].tolist())
            llms = llms or {f"a new checkpoint of {label}": None}
            variants.append([_with(side, "llm", llm) for llm in llms])
        else:
            new = f"a new checkpoint of {label}"
            variants.append([side if "llm" in side else _with(side, "llm", new)])
    return Sides(common, tuple(variants))


def _with(rows: xr.Dataset, name: str, value: object) -> xr.Dataset:
    dtype = object if isinstance(value, str) else float
    return rows.assign({name: (OBS_DIM, np.full(rows.sizes[OBS_DIM], value, dtype=dtype))})


def rows_of_labels(obs: xr.Dataset, level: str, labels: tuple[str, str]) -> xr.Dataset:
    """Distinct designs of the rows of a fit that have either label, without the score."""
    kept = np.isin(level_labels(obs, level), labels)
    rows = obs.isel(obs_id=np.flatnonzero(kept)) if kept.any() else obs
    own = {level, *BELONGS.get(level, ())} | ({"llm"} if level != "task" else set())
    # Items of a task with other chance levels are other rows.
    distinct = [name for name in (*DESIGN, "chance") if name in rows and name not in own]
    others = [name for name in ("prompt_tokens_sd", "chance", "n_items") if name not in own]
    names = [name for name in (*DESIGN, *others) if name in rows]
    frame = rows[names].to_dataframe()
    frame["prompt_tokens"] = _joint_lengths(frame["prompt_tokens"].to_numpy())
    return as_design(frame.drop_duplicates(distinct).reset_index(drop=True))


def _joint_lengths(tokens: np.ndarray) -> np.ndarray:
    """Lengths of which those that hardly differ are one, their mean.

    The mean length of a cell is a little different from one task to the next, and a curve along
    prompt length that had each by itself would jump from one task to another.
    """
    lengths = np.unique(tokens)
    group = alike(lengths, _SAME)
    means = np.bincount(group, lengths) / np.bincount(group)
    return means[group[np.searchsorted(lengths, tokens)]]


def points_of(rows: xr.Dataset, level: str, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Point of the curve that each row belongs to, and the first row of each point.

    Rows that differ in nothing but the task are one point, unless tasks are compared. Points are in
    order of their design, prompt tokens last, or as the rows have them.
    """
    names = [n for n in DESIGN if n in rows and not (n == "task" and level != "task")]
    frame = pd.DataFrame({name: rows[name].values for name in names})
    groups = frame.groupby(names, sort=ordered, dropna=False).ngroup().to_numpy()
    return groups, np.unique(groups, return_index=True)[1]


def common_of_points(rows: xr.Dataset, groups: np.ndarray, places: np.ndarray) -> xr.Dataset:
    """What the rows of each point of the curve have in common, along ``point``.

    A column that differs inside a point, such as the source of each task's scores, is left out: of
    the first row it would be said of all.

    Parameters
    ----------
    rows : xr.Dataset
    groups, places : ndarray
        As from `points_of`.

    Returns
    -------
    xr.Dataset
    """
    first = places[groups]
    kept = [
        name
        for name, column in rows.data_vars.items()
        # A column cannot have the name of the dimension.
        if name != "point" and pd.Series(column.values).equals(pd.Series(column.values[first]))
    ]
    return rows[kept].isel({OBS_DIM: places}).drop_vars(OBS_DIM).rename({OBS_DIM: "point"})
