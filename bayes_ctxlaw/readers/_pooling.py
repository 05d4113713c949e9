"""Evaluations → one row per cell; those whose labels meet are pooled."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.readers._cells import Evaluation
from bayes_ctxlaw.readers._files import few, few_files


def table_of(
    evaluations: list[Evaluation], labels: dict[str, str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """One row per cell, sorted; evaluations whose labels meet are pooled, item by item.

    Cells that lack parts which others of their task have are named in sentences.

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
        key = (task, *one.asking, apart)
        cells.setdefault(key, []).append(one)
        # A graded score that happens to be whole in one cell is still not a count.
        counted[task] = counted.get(task, True) and one.n_correct is not None
    table = pd.DataFrame([_row(key[0], parts, counted[key[0]]) for key, parts in cells.items()])
    order = [c for c in ("task", "llm", "shots", "seed", "seq_length", "source") if c in table]
    table = table.sort_values(order, ignore_index=True, na_position="first")
    whole = [c for c in ("shots", "seed", "seq_length") if c in table and table[c].notna().all()]
    table = table.astype(dict.fromkeys(whole, np.int64))
    table = table.drop(columns=[c for c in table if table[c].isna().all()])
    return table, _lacking([(key[0], parts) for key, parts in cells.items()])


def _lacking(cells: list[tuple[str, list[Evaluation]]]) -> list[str]:
    """Say which cells rest on fewer parts than others of their task."""
    whole: dict[str, dict[str, None]] = {}
    for task, parts in cells:
        whole.setdefault(task, {}).update(dict.fromkeys(one.part for one in parts))
    fewer: dict[str, list[str]] = {}
    for task, parts in cells:
        absent = sorted(set(whole[task]) - {one.part for one in parts})
        if absent:
            found = f"{parts[0].asked} without {few(list(map(repr, absent)), 3)}"
            fewer.setdefault(task, []).append(f"{found} ({parts[0].source})")
    return [
        f"{task} pools {few(list(map(repr, sorted(whole[task]))), 3)}, and not all cells have "
        f"these, so that their scores are of other items: {few(found, 3)}."
        for task, found in fewer.items()
    ]


def _row(task: str, parts: list[Evaluation], counted: bool) -> dict[str, Any]:
    first = parts[0]
    row = {"task": task, "llm": first.llm, "shots": first.shots, "seed": first.seed}
    row |= {"seq_length": first.seq_length, **first.extra}
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
