"""One log of inspect-ai: how it is read, and the evaluation that it is."""

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
from bayes_ctxlaw.readers._cells import Evaluation
from bayes_ctxlaw.readers._files import OtherFileError
from bayes_ctxlaw.readers._inspect_metrics import Value, values_of

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

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
            _check_is_log(path)
            said = " ".join(str(error).split())[:300]
            raise FileFormatError(
                f"inspect-ai cannot read it: {type(error).__name__}: {said}"
            ) from error

    return read


def _check_is_log(path: Path) -> None:
    """Tell files that are no logs from broken ones: a set of evaluations has lists of its logs."""
    if path.suffix.casefold() != ".json":
        return
    content = _json.load(path)
    if not isinstance(content, dict) or not {"version", "eval"} & set(content):
        raise OtherFileError("it is no log, having neither the key `version` nor `eval`.")


def short(metric: str) -> str:
    return metric.split("/")[1]


@dataclass(frozen=True)
class Log:
    """What is kept of a log."""

    path: Path
    task: str
    llm: str
    metrics: dict[str, Value]
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
            prompts=one.prompts,
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
        metrics=values_of(log),
        chance=_chance(samples),
        shots=_shots(spec.task_args, shots),
        arguments={k: json.dumps(v, sort_keys=True, default=str) for k, v in said.items() if v},
        time=str(spec.created),
        n_unscored=unscored + log.results.total_samples - log.results.completed_samples,
    )


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
