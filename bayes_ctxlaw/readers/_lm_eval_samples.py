"""The log of samples of one task of lm-evaluation-harness: counts, chance level, prompts."""

from __future__ import annotations

import json
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
from bayes_ctxlaw.readers._lm_eval_results import Task, length_of

CountTokens = Callable[[str], int] | Mapping[str, Callable[[str], int]] | None

_SAME_PROMPTS = 32  # one prompt stands once for each choice, side by side
_NO_ITEM = -1  # under the metric of one prompt length: an item of another


@dataclass(frozen=True)
class Log:
    """What the log of one task says of the items behind one metric. None is unknown.

    Attributes
    ----------
    n_items : int
    n_correct : int or None
    chance : float or None
        Mean over the items of one over the number of choices.
    prompts : Prompts or None
    n_longer : int
        Items whose prompt is longer than the model's ``max_length``.
    n_chats : int
        Prompts that are messages of a chat.
    """

    n_items: int
    n_correct: int | None
    chance: float | None
    prompts: Prompts | None
    n_longer: int
    n_chats: int


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
    metrics: list[str],
    count: Callable[[str], int] | None,
    max_length: int | None,
) -> dict[str, Log]:
    """Read a log, by metric; it must agree with the aggregates of its results file.

    Raises
    ------
    FileFormatError
    """
    counted = lru_cache(_SAME_PROMPTS)(count) if count else None
    found = {metric: _Items(task, metric, counted) for metric in metrics}
    for where, line in _json.load_lines(path):
        sample = _json.Fields(line, where)
        for items in found.values():
            items.add(sample)
    return {metric: items.log(max_length) for metric, items in found.items()}


class _Items:
    """The items behind one metric, line by line."""

    def __init__(self, task: Task, metric: str, count: Callable[[str], int] | None) -> None:
        self.task, self.metric, self.count = task, metric, count
        self.name, _, self.filtered = metric.partition(",")
        self.seen: set[int | str] = set()
        self.values: list[float | None] = []
        self.shares: list[float | None] = []
        self.lengths: list[float] = []
        self.n_chats = 0

    def add(self, sample: _json.Fields) -> None:
        """Take what a line says, if it is of this metric."""
        if "filter" in sample and sample.text("filter") != self.filtered:
            return
        item = sample.get("doc_id")
        if not isinstance(item, int | str) or item in self.seen:
            again = "is there twice" if isinstance(item, int | str) else "names no item"
            raise FileFormatError(f"key `{sample.key('doc_id')}`, {_json.show(item)}, {again}.")
        self.seen.add(item)
        if length_of(self.metric) and sample.get(self.name, _NO_ITEM) == _NO_ITEM:
            return
        self.values.append(_item_score(sample, self.name))
        contexts = _contexts(sample) if self.count or self.task.multiple_choice else []
        self.shares.append(_share(sample, len(contexts), self.task, self.name))
        if self.count:
            # Choices may stand in the prompt: then an item has several, and a mean length.
            mine = _without_unconditional(contexts, self.task)
            prompts = [(key, *_prompt(key, value)) for key, value in mine]
            tokens = [_tokens(self.count, key, text) for key, text, _ in prompts]
            self.lengths.append(float(np.mean(tokens)))
            self.n_chats += any(chat for *_, chat in prompts)

    def log(self, max_length: int | None) -> Log:
        """What all lines said."""
        if not self.seen:
            raise FileFormatError(f"key `filter` is {self.filtered!r} in no line.")
        n_items = self.task.n_items
        if n_items is not None and len(self.seen) != n_items:
            raise FileFormatError(
                f"it holds {len(self.seen)} items whose `filter` is {self.filtered!r}, but key "
                f"`n-samples.{self.task.name}.effective` of its results is {n_items}."
            )
        if not self.values:
            raise FileFormatError(f"key `{self.name}` is a score in no line.")
        n_correct = self._n_correct()
        # Guessing earns a part of a graded item as well, which the number of choices does not say.
        plain = None not in self.shares and set(self.values) <= {0.0, 1.0}
        return Log(
            n_items=len(self.values),
            n_correct=n_correct,
            chance=float(np.mean(self.shares)) if plain else None,
            prompts=Prompts.of(self.lengths) if self.lengths else None,
            n_longer=sum(n > max_length for n in self.lengths) if max_length else 0,
            n_chats=self.n_chats,
        )

    def _n_correct(self) -> int | None:
        if None in self.values:
            return None
        with np.errstate(over="ignore"):  # an infinite mean agrees with nothing
            mean = float(np.mean(self.values))
        score = self.task.values.number(self.metric)
        agree = abs(mean - score) <= ROUNDING
        # The score of one length is that of its items, or they are not those taken here.
        if not agree and (self.name in self.task.means or length_of(self.metric)):
            raise FileFormatError(
                f"its {len(self.values)} items average {mean:.6g} under key `{self.name}`, but key "
                f"`{self.task.values.key(self.metric)}` of its results is {score:.6g}."
            )
        return round(sum(self.values)) if agree and set(self.values) <= {0.0, 1.0} else None


def _item_score(sample: _json.Fields, metric: str) -> float | None:
    """The number an item has under a metric; None for what is aggregated in another way."""
    value = sample.get(metric)
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return _json.as_number(value, sample.key(metric))
    return None


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


def _prompt(key: str, value: object) -> tuple[str, bool]:
    """A prompt as text, and whether that is what the messages of a chat say."""
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], str):
        if isinstance(value, str):
            return value, False
        raise FileFormatError(f"key `{key}`, a prompt, is {_json.show(value)}; allowed: text.")
    # Models behind a chat interface are asked with messages, as JSON in a list of one text.
    text = value[0]
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError):
        return text, False
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return text, False
    said = [message.get("content") for message in messages]
    if not said or not all(isinstance(content, str) for content in said):
        raise FileFormatError(
            f"key `{key}`, a prompt, is {_json.show(value)}; allowed: messages, the `content` of "
            "each a text."
        )
    return "\n".join(said), True


def _tokens(count: Callable[[str], int], key: str, text: str) -> int:
    n = count(text)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise SpecificationError(
            f"{wording().argument('count_tokens')} gives {n!r} for the prompt under key `{key}`, "
            f"{_json.show(text)}; it must give the number of tokens, at least 1."
        )
    return int(n)
