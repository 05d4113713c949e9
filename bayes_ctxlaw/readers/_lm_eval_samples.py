"""The log of samples of one task of lm-evaluation-harness: counts, chance level, prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import FileFormatError, SpecificationError
from bayes_ctxlaw.readers import _json
from bayes_ctxlaw.readers._cells import ROUNDING, Prompts
from bayes_ctxlaw.readers._lm_eval_results import Task

CountTokens = Callable[[str], int] | Mapping[str, Callable[[str], int]] | None

_SAME_PROMPTS = 32  # one prompt stands once for each choice, side by side


@dataclass(frozen=True)
class Log:
    """What the log of one task says under one metric. None is unknown.

    Attributes
    ----------
    n_items : int
    n_correct : int or None
    chance : float or None
        Mean over the items of one over the number of choices.
    prompts : Prompts or None
    n_longer : int
        Items whose prompt is longer than the model's ``max_length``.
    """

    n_items: int
    n_correct: int | None
    chance: float | None
    prompts: Prompts | None
    n_longer: int


def counters(count_tokens: CountTokens) -> Callable[[str], Callable[[str], int] | None]:
    """``count_tokens`` of the reader as a function: model → its counter, or None.

    Raises
    ------
    SpecificationError
    """
    by_model = dict(count_tokens) if isinstance(count_tokens, Mapping) else None
    wrong = [c for c in (by_model or {"": count_tokens}).values() if c and not callable(c)]
    if wrong:
        raise SpecificationError(
            f"count_tokens holds {wrong[0]!r}; give a function, text → number of its tokens, or "
            "such functions by the name of the model."
        )
    if by_model is not None:
        return by_model.get
    return lambda llm: count_tokens


def read_log(
    path: Path,
    task: Task,
    metric: str,
    count: Callable[[str], int] | None,
    max_length: int | None,
) -> Log:
    """Read a log; it must agree with the aggregates of its results file.

    Raises
    ------
    FileFormatError
    """
    name, _, filtered = metric.partition(",")
    counted = lru_cache(_SAME_PROMPTS)(count) if count else None
    seen: dict[Any, None] = {}
    values: list[float | None] = []
    shares: list[float | None] = []
    lengths: list[float] = []
    for where, line in _json.load_lines(path):
        sample = _json.Fields(line, where)
        if "filter" in sample and sample.text("filter") != filtered:
            continue
        item = sample.get("doc_id")
        if not isinstance(item, int | str) or item in seen:
            again = "is there twice" if isinstance(item, int | str) else "names no item"
            raise FileFormatError(f"key `{sample.key('doc_id')}`, {_json.show(item)}, {again}.")
        seen[item] = None
        values.append(_item_score(sample, name))
        contexts = _contexts(sample) if counted or task.multiple_choice else []
        shares.append(_share(sample, len(contexts), task, name))
        if counted:
            # Choices may stand in the prompt: then an item has several, and a mean length.
            mine = _without_unconditional(contexts, task)
            lengths.append(float(np.mean([_tokens(counted, key, text) for key, text in mine])))
    if not seen:
        raise FileFormatError(f"key `filter` is {filtered!r} in no line.")
    if task.n_items is not None and len(seen) != task.n_items:
        raise FileFormatError(
            f"it holds {len(seen)} items whose `filter` is {filtered!r}, but key "
            f"`n-samples.{task.name}.effective` of its results is {task.n_items}."
        )
    return Log(
        n_items=len(seen),
        n_correct=_n_correct(values, task, metric),
        chance=None if None in shares else float(np.mean(shares)),
        prompts=Prompts.of(lengths) if lengths else None,
        n_longer=sum(n > max_length for n in lengths) if max_length else 0,
    )


def _item_score(sample: _json.Fields, metric: str) -> float | None:
    """The number an item has under a metric; None for what is aggregated in another way."""
    value = sample.get(metric)
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return _json.as_number(value, sample.key(metric))
    return None


def _n_correct(values: list[float | None], task: Task, metric: str) -> int | None:
    name = metric.partition(",")[0]
    if None in values:
        return None
    with np.errstate(over="ignore"):  # an infinite mean agrees with nothing
        mean = float(np.mean(values))
    score = task.values.number(metric)
    agree = abs(mean - score) <= ROUNDING
    if not agree and name in task.means:
        raise FileFormatError(
            f"its {len(values)} items average {mean:.6g} under key `{name}`, but key "
            f"`{task.values.key(metric)}` of its results is {score:.6g}."
        )
    return round(sum(values)) if agree and set(values) <= {0.0, 1.0} else None


def _contexts(sample: _json.Fields) -> list[tuple[str, Any]]:
    """What was put to the model for an item: the first argument of every request, and its key."""
    requests, key = sample.get("arguments"), sample.key("arguments")
    firsts = []
    for at, request in _entries(requests):
        parts = _entries(request)
        if not parts:
            raise FileFormatError(
                f"key `{key}.{at}` is {_json.show(request)}; allowed: arguments, not empty."
            )
        firsts.append((f"{key}.{at}.{parts[0][0]}", parts[0][1]))
    if not firsts:
        raise FileFormatError(
            f"key `{key}` is {_json.show(requests)}; allowed: requests, each with its arguments."
        )
    return firsts


def _entries(value: object) -> list[tuple[object, Any]]:
    """Keys and values of an object or a list: the harness has written either."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _without_unconditional[Context](contexts: list[Context], task: Task) -> list[Context]:
    """Leave out the requests that acc_mutual_info adds: every choice by itself, without prompt."""
    doubled = "acc_mutual_info" in {m.partition(",")[0] for m in task.metrics()}
    return contexts[: len(contexts) // 2] if doubled and len(contexts) > 1 else contexts


def _share(sample: _json.Fields, n_requests: int, task: Task, metric: str) -> float | None:
    """What guessing scores on an item of multiple choice, if that is plain."""
    if not task.multiple_choice or not metric.startswith("acc"):
        return None
    if str(sample.get("target", "")).startswith("["):  # several right choices
        return None
    n = len(_without_unconditional([None] * n_requests, task))
    return 1 / n if n > 1 else None


def _tokens(count: Callable[[str], int], key: str, text: object) -> int:
    if not isinstance(text, str):
        raise FileFormatError(f"key `{key}`, a prompt, is {_json.show(text)}; allowed: text.")
    n = count(text)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise SpecificationError(
            f"{wording().argument('count_tokens')} gives {n!r} for the prompt under key `{key}`, "
            f"{_json.show(text)}; it must give the number of tokens, at least 1."
        )
    return int(n)
