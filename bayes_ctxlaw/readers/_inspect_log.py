"""One log of inspect-ai: its metrics by name, and what it says of prompts and choices."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.readers import _json, _metrics
from bayes_ctxlaw.readers._cells import ROUNDING, Evaluation, Prompts

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample, EvalScore

# Metrics that say how sure another one is.
_NO_SCORES = ("stderr", "bootstrap_stderr", "std", "var")
_MEANS = ("accuracy", "mean")
# Parts of a sample that are large and not looked at.
_UNREAD = {"attachments", "events", "events_data", "messages", "store", "timelines"}
# What inspect-ai raises for files that are no logs, cut short or altered. Pydantic's error is a
# ValueError.
_READ_FAULTS = (
    AttributeError,
    BadZipFile,
    EOFError,
    LookupError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
# What the packages raise through which inspect-ai reads.
_READ_FAULTS_ELSEWHERE = {"ijson": "JSONError", "zstandard": "ZstdError"}


def reader() -> Callable[[Path], EvalLog]:
    """The function of inspect-ai that reads a log, with its errors as ours."""
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise FileFormatError(
            "Reading logs of inspect-ai needs the package inspect-ai, which is not installed: "
            'pip install "bayes_ctxlaw[readers]".'
        ) from error
    found = {name: find_spec(name) and import_module(name) for name in _READ_FAULTS_ELSEWHERE}
    elsewhere = (getattr(m, _READ_FAULTS_ELSEWHERE[name], None) for name, m in found.items())
    faults = _READ_FAULTS + tuple(error for error in elsewhere if error is not None)

    def read(path: Path) -> EvalLog:
        try:
            return read_eval_log(str(path), exclude_fields=_UNREAD)
        except faults as error:
            said = " ".join(str(error).split())[:300]
            raise FileFormatError(
                f"inspect-ai cannot read it: {type(error).__name__}: {said}"
            ) from error

    return read


def short(metric: str) -> str:
    return metric.split("/")[1]


@dataclass(frozen=True)
class Value:
    """One metric of a log."""

    value: Any
    stderr: Any
    n_items: int | None
    items: np.ndarray | None
    guess: bool


@dataclass(frozen=True)
class Log:
    """What is kept of a log."""

    path: Path
    task: str
    llm: str
    metrics: dict[str, Value]
    prompts: Prompts | None
    chance: float | None
    shots: int | None
    arguments: dict[str, str]
    time: str
    n_unscored: int

    def evaluation(self, metric: str, scores: _metrics.Scores, source: str) -> Evaluation | None:
        """The evaluation under one of the metrics; None if its value is no score."""
        if metric not in self.metrics:
            raise FileFormatError(f"key `results.scores`, metric {metric}, is missing.")
        one = self.metrics[metric]
        value = _json.as_number(one.value, f"results.scores, {metric}")
        score = scores.score(f"{source}, {self.task}", metric, value, None)
        if score is None:
            return None
        n_correct = None
        if one.items is not None and score == value and np.isin(one.items, (0.0, 1.0)).all():
            n_correct = int(one.items.sum())
        stderr = None if one.stderr is None or score != value else one.stderr
        return Evaluation(
            name=self.task,
            llm=self.llm,
            metric=metric,
            score=score,
            source=source,
            n_items=one.n_items,
            n_correct=n_correct,
            prompts=self.prompts,
            chance=self.chance if one.guess and score == value else None,
            stderr=None if stderr is None else _json.as_number(stderr, f"stderr of {metric}", 0),
            shots=self.shots,
            extra=self.arguments,
            time=self.time,
        )


def read_log(path: Path, read: Callable[[Path], EvalLog], shots: str | None) -> Log:
    """Read one log."""
    log = read(path)
    if log.status != "success":
        raise FileFormatError(f"key `status` is {log.status!r}: the run did not end.")
    if log.results is None or not log.results.scores:
        raise FileFormatError("key `results.scores` is empty: the run was not scored.")
    spec = log.eval
    arguments = {"task_args": spec.task_args, "model_args": spec.model_args}
    said = {name: {k: v for k, v in a.items() if v is not None} for name, a in arguments.items()}
    samples = log.samples or []
    unscored = max((s.unscored_samples or 0 for s in log.results.scores), default=0)
    return Log(
        path=path,
        task=_json.as_text(spec.task, "eval.task"),
        llm=_json.as_text(spec.model, "eval.model"),
        metrics=_values(log),
        prompts=_prompts(samples, spec.model),
        chance=_chance(samples),
        shots=_shots(spec.task_args, shots),
        arguments={k: json.dumps(v, sort_keys=True, default=str) for k, v in said.items() if v},
        time=str(spec.created),
        n_unscored=unscored + log.results.total_samples - log.results.completed_samples,
    )


def _values(log: EvalLog) -> dict[str, Value]:
    """The metrics of a log by their full names, ``scorer/metric``."""
    values = {}
    names = [score.name for score in log.results.scores]
    for score in log.results.scores:
        items = _items(log, score)
        for key, metric in score.metrics.items():
            if metric.name in _NO_SCORES or key in _NO_SCORES:
                continue
            # Several ways to reduce epochs to one score: the name says which.
            several = names.count(score.name) > 1 and score.reducer
            name = f"{score.name}/{key}" + (f"/{score.reducer}" if several else "")
            mean = key in _MEANS and items is not None and len(items) > 0
            agrees = mean and abs(float(np.mean(items)) - metric.value) <= ROUNDING
            stderr = score.metrics.get("stderr") or score.metrics.get("bootstrap_stderr")
            n = score.scored_samples
            values[name] = Value(
                value=metric.value,
                stderr=stderr.value if stderr and key in _MEANS else None,
                n_items=n if n is not None else (len(items) if items is not None else None),
                items=items if agrees else None,
                guess=score.scorer == "choice" and key in _MEANS,
            )
    return values


def _items(log: EvalLog, score: EvalScore) -> np.ndarray | None:
    """One number per sample, its epochs reduced, if the log has them."""
    for reduction in log.reductions or []:
        if reduction.scorer == score.name and reduction.reducer == score.reducer:
            found = [sample.value for sample in reduction.samples]
            if all(isinstance(v, int | float) for v in found):
                return np.array(found, dtype=np.float64)
    return None


def _prompts(samples: list[EvalSample], model: str) -> Prompts | None:
    """Input tokens of the samples, if each called the model once and the log has its usage."""
    lengths = []
    for sample in samples:
        usage, total = sample.output.usage, sample.model_usage.get(model)
        if usage is None:
            return None
        cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
        # Older logs do not count turns. One call has all the usage of its sample.
        once = sample.turn_count == 1 or (sample.turn_count is None and total == usage)
        if not once or usage.input_tokens + cached < 1:
            return None
        lengths.append(usage.input_tokens + cached)
    return Prompts.of(lengths) if lengths else None


def _chance(samples: list[EvalSample]) -> float | None:
    """Mean over the samples of one over the number of choices."""
    single = all(s.choices and isinstance(s.target, str) for s in samples)
    if not samples or not single:
        return None
    return float(np.mean([1 / len(s.choices or [1]) for s in samples]))


def _shots(arguments: dict[str, Any], name: str | None) -> int | None:
    """The argument of that name; a task without it may have no demonstrations to count."""
    if name is None or name not in arguments:
        return None
    return _json.Fields(arguments, "eval.task_args").count(name)
