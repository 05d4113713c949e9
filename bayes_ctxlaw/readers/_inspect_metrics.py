"""The metrics of one log of inspect-ai, each with what is known of the samples behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_ctxlaw.readers._cells import ROUNDING, Prompts

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalMetric, EvalSample, EvalScore
    from inspect_ai.model import ModelUsage

# Metrics that say how sure another one is.
_NO_SCORES = ("stderr", "bootstrap_stderr", "std", "var")
_MEANS = ("accuracy", "mean")


@dataclass(frozen=True)
class Value:
    """One metric of a log, and what is known of the samples behind it.

    Attributes
    ----------
    value, stderr : object
    n_items : int or None
    items : ndarray or None
        One number per sample, where `value` is their mean.
    prompts : Prompts or None
    guess : bool
        Whether guessing earns one over the number of choices.
    lost : bool
        It is of a group of samples, and the log does not say which.
    """

    value: Any
    stderr: Any
    n_items: int | None
    items: np.ndarray | None
    prompts: Prompts | None
    guess: bool
    lost: bool


def values_of(log: EvalLog) -> dict[str, Value]:
    """The metrics of a log by their full names, ``scorer/metric``."""
    values = {}
    names = [score.name for score in log.results.scores]
    whole = _prompts(log.samples or [], log.eval.model)
    for score in log.results.scores:
        items = _items(log, score)
        stderr = score.metrics.get("stderr") or score.metrics.get("bootstrap_stderr")
        for key, metric in score.metrics.items():
            if metric.name in _NO_SCORES or key in _NO_SCORES:
                continue
            # Several ways to reduce epochs to one score: the name says which.
            several = names.count(score.name) > 1 and score.reducer
            name = f"{score.name}/{key}" + (f"/{score.reducer}" if several else "")
            grouping = _grouping(metric)
            if grouping is None or _is_of_all(metric, grouping):
                n = score.scored_samples
                values[name] = Value(
                    value=metric.value,
                    stderr=stderr.value if stderr and key in _MEANS else None,
                    n_items=n if n is not None else (len(items) if items is not None else None),
                    items=_averaged(items, metric.value) if key in _MEANS else None,
                    prompts=whole,
                    guess=score.scorer == "choice" and key in _MEANS,
                    lost=False,
                )
            else:
                values[name] = _of_group(log, metric, _group(log, grouping, metric.name), items)
    return values


def _of_group(
    log: EvalLog, metric: EvalMetric, group: list[EvalSample], items: dict[Any, float] | None
) -> Value:
    """A metric of some of the samples; of a log without them, hardly more than its value."""
    ids = {sample.id for sample in group}
    theirs = {i: value for i, value in (items or {}).items() if i in ids}
    averaged = _averaged(theirs, metric.value)
    return Value(
        value=metric.value,
        stderr=None,
        n_items=len(theirs) or None,
        items=averaged,
        prompts=_prompts(group, log.eval.model) if theirs else None,
        guess=False,
        lost=not theirs,
    )


def _grouping(metric: EvalMetric) -> dict[str, Any] | None:
    """How samples were grouped for a metric; None if they were not."""
    params = metric.params or {}
    if "group_key" in params:
        return params
    return {} if getattr(metric, "group", None) == "grouped" else None


def _is_of_all(metric: EvalMetric, grouping: dict[str, Any]) -> bool:
    """Whether it is the metric of all groups together, if there is one, and not of a group."""
    together = grouping.get("all", "samples") is not False
    return together and metric.name == grouping.get("all_label", "all")


def _group(log: EvalLog, grouping: dict[str, Any], name: str) -> list[EvalSample]:
    """The samples of one group, by the name of its metric."""
    key = grouping.get("group_key")
    form = str(grouping.get("name_template", "{group_name}"))
    return [
        sample
        for sample in log.samples or []
        if isinstance(key, str) and key in sample.metadata
        if form.format(group_name=sample.metadata[key]) == name
    ]


def _averaged(items: dict[Any, float] | None, value: object) -> np.ndarray | None:
    """One number per sample, if the value is their mean."""
    found = np.array(list((items or {}).values()), dtype=np.float64)
    return found if len(found) and abs(float(np.mean(found)) - value) <= ROUNDING else None


def _items(log: EvalLog, score: EvalScore) -> dict[Any, float] | None:
    """One number per sample, its epochs reduced, if the log has them."""
    for reduction in log.reductions or []:
        if reduction.scorer == score.name and reduction.reducer == score.reducer:
            found = [sample.value for sample in reduction.samples]
            if all(isinstance(v, int | float) for v in found):
                ids = [sample.sample_id for sample in reduction.samples]
                if None in ids or len(set(ids)) < len(ids):
                    ids = [(row,) for row in range(len(ids))]  # which no sample has
                return dict(zip(ids, found, strict=True))
    return None


def _prompts(samples: list[EvalSample], model: str) -> Prompts | None:
    """Input tokens of the samples, if each called the model once and the log has its usage."""
    lengths = []
    for sample in samples:
        usage, total = sample.output.usage, sample.model_usage.get(model)
        # Older logs do not count turns. One call has all the usage of its sample.
        once = sample.turn_count == 1 or (sample.turn_count is None and total == usage)
        tokens = _input_tokens(usage) if usage is not None and once else None
        if tokens is None or tokens < 1:
            return None
        lengths.append(tokens)
    return Prompts.of(lengths) if lengths else None


def _input_tokens(usage: ModelUsage) -> int | None:
    """Input tokens of a call with those from the cache; None if they may be among the others."""
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    if not cached:
        return usage.input_tokens
    # Older logs of some providers have cached tokens among the input tokens; the total tells.
    beside = usage.total_tokens - usage.input_tokens - usage.output_tokens
    return {0: usage.input_tokens, cached: usage.input_tokens + cached}.get(beside)
