"""The results file of lm-evaluation-harness: what it says of a run and of each task."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.readers import _json

TIME = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.-]+?)\.jsonl?$")
"""The time in the name of a results file, and of the logs that belong to it."""

_LENGTH = re.compile(r"[1-9][0-9]{1,11}")
# What else of a run changes what a model is asked, by where it stands.
_SETTINGS = {
    "config": ("gen_kwargs",),
    "": ("chat_template_sha", "system_instruction_sha", "fewshot_as_multiturn"),
}
# Model arguments that name the model, in the harness's own order; without one it draws a name.
_NAMING = ("peft", "delta", "pretrained", "model", "path", "engine")


def length_of(metric: str) -> int | None:
    """The prompt length whose items a metric is of, as RULER names its metrics; or None."""
    name = metric.partition(",")[0]
    return int(name) if _LENGTH.fullmatch(name) else None


@dataclass(frozen=True)
class Task:
    """One task, or one group of tasks, in a results file.

    Attributes
    ----------
    name : str
    values : Fields
        What stands under its name: metrics, their standard errors, bookkeeping.
    higher : dict of str to bool
        Metric without filter → whether higher is better, where the file says so.
    means : set of str
        Metrics whose aggregate is said to be the mean over items.
    n_items, shots : int or None
    multiple_choice : bool
    n_choices : int or None
        If all items have the same choices.
    group : bool
    """

    name: str
    values: _json.Fields
    higher: dict[str, bool]
    means: set[str]
    n_items: int | None
    shots: int | None
    multiple_choice: bool
    n_choices: int | None
    group: bool

    def metrics(self) -> list[str]:
        """Names of the metrics, each with its filter."""
        return [k for k in self.values if "," in k and not k.split(",")[0].endswith("_stderr")]

    def has_items(self, metric: str) -> bool:
        """Whether a metric has a value; a prompt length without items has -1."""
        value = self.values.get(metric, None)
        return value is not None and (length_of(metric) is None or value != -1)

    def items_of(self, metric: str) -> int | None:
        """Number of items behind a metric; unknown if only that of all lengths is."""
        lengths = {length_of(m) for m in self.metrics() if self.has_items(m)}
        return None if length_of(metric) and len(lengths) > 1 else self.n_items

    def stderr(self, metric: str) -> float | None:
        """The standard error of a metric, if there is one."""
        name, _, filtered = metric.partition(",")
        key = f"{name}_stderr,{filtered}"
        value = self.values.get(key, None)
        # Without bootstrap iterations the harness writes "N/A".
        return None if value is None or value == "N/A" else self.values.number(key, 0)


@dataclass(frozen=True)
class Run:
    """One results file.

    Attributes
    ----------
    groups : dict of str to list of str
    opaque : set of str
        Groups of which the file does not say what they hold.
    settings : dict of str to str
        Arguments of the run, among them those of the model; other ones, another evaluation.
    """

    path: Path
    source: str
    llm: str
    tasks: dict[str, Task]
    groups: dict[str, list[str]]
    opaque: set[str]
    settings: dict[str, str]
    seed: int | None
    time: str
    n_params: float | None
    max_length: int | None
    drawn_name: bool

    def log(self, task: str) -> Path:
        """Where the log of a task's samples is, if there is one."""
        return self.path.parent / f"samples_{task}_{self.time}.jsonl"

    def below(self, group: str) -> set[str]:
        """All tasks and groups inside a group."""
        inside: set[str] = set()
        waiting = list(self.groups.get(group, []))
        while waiting:
            name = waiting.pop()
            if name not in inside:
                inside.add(name)
                waiting += self.groups.get(name, [])
        return inside

    @cached_property
    def leaves(self) -> list[str]:
        """The tasks that hold their own items; a group whose tasks are absent is one."""
        there = set(self.tasks)
        groups = self.opaque if self.opaque < there else set()
        return [n for n in self.tasks if n not in groups and not (self.below(n) - {n}) & there]


def read_run(path: Path, source: str) -> Run:
    """Read one results file.

    Raises
    ------
    FileFormatError
        It is not one, or a key is at fault.
    """
    top = _json.Fields(_json.load(path))
    results = top.fields("results")
    if not results.value:
        raise FileFormatError("key `results` is empty.")
    config = top.fields("config", optional=True)
    groups = {}
    inside = top.fields("group_subtasks", optional=True)
    for name in inside:
        listed = inside.get(name)
        if not isinstance(listed, list) or not all(isinstance(t, str) for t in listed):
            raise FileFormatError(
                f"key `{inside.key(name)}` is {_json.show(listed)}; allowed: a list of names."
            )
        groups[name] = listed
    named_groups = set(top.fields("groups", optional=True).value)
    names = set(groups) | named_groups
    tasks = {
        _json.as_text(name, "results"): _task(
            top, results, name, bool(groups.get(name, name in names))
        )
        for name in results
    }
    arguments = config.get("model_args", None)
    if arguments is not None and not isinstance(arguments, str | dict):
        raise FileFormatError(
            f"key `config.model_args` is {_json.show(arguments)}; allowed: text or an object."
        )
    named = _name_in(arguments)
    found = TIME.search(path.name)
    return Run(
        path=path,
        source=source,
        llm=_model_name(top, config, named),
        tasks=tasks,
        groups=groups,
        # In 0.4.0 and 0.4.1 the harness named the groups, and not their tasks.
        opaque=set() if "group_subtasks" in top else named_groups & set(tasks),
        settings=_settings(top, config, arguments),
        seed=_optional(config, "fewshot_seed"),
        time=found[1] if found else "",
        n_params=_optional(config, "model_num_parameters", -1),
        max_length=_optional(top, "max_length"),
        drawn_name=named is None,
    )


def _task(top: _json.Fields, results: _json.Fields, name: str, group: bool) -> Task:
    values = results.fields(name)
    config = top.fields("configs", optional=True).fields(name, optional=True)
    higher, means = {}, set()
    listed = config.get("metric_list", None) or []
    for i, one in enumerate(listed if isinstance(listed, list) else []):
        entry = _json.Fields(one, f"{config.path}.metric_list[{i}]")
        metric = entry.get("metric", None)
        if not isinstance(metric, str):
            continue
        if isinstance(entry.get("higher_is_better", None), bool):
            higher[metric] = entry.get("higher_is_better")
        if entry.get("aggregation", None) == "mean":
            means.add(metric)
    said = top.fields("higher_is_better", optional=True).fields(name, optional=True)
    for metric in said:
        if said.get(metric) is not None and not isinstance(said.get(metric), bool):
            raise FileFormatError(
                f"key `{said.key(metric)}` is {_json.show(said.get(metric))}; "
                "allowed: true, false or null."
            )
        if said.get(metric) is not None:
            higher[metric] = said.get(metric)
    samples = top.fields("n-samples", optional=True)
    n_items = None
    if name in samples:
        n_items = samples.fields(name).count("effective", 1)
    elif group:
        n_items = _optional(values, "sample_len")
    shots = _optional(top.fields("n-shot", optional=True), name)
    choices = config.get("doc_to_choice", None)
    return Task(
        name=name,
        values=values,
        higher=higher,
        means=means,
        n_items=n_items,
        shots=_optional(config, "num_fewshot") if shots is None else shots,
        multiple_choice=config.get("output_type", None) == "multiple_choice",
        n_choices=len(choices) if isinstance(choices, list) and choices else None,
        group=group,
    )


def _optional(fields: _json.Fields, key: str, low: int = 0) -> int | None:
    """A whole number that may be absent, null or negative for unknown."""
    if fields.get(key, None) is None:
        return None
    value = fields.count(key, low)
    return value if value >= 0 else None


def _name_in(arguments: str | dict[str, Any] | None) -> str | None:
    """The name of the model in the arguments of the model."""
    if isinstance(arguments, str):
        arguments = dict(p.partition("=")[::2] for p in arguments.split(","))
    for key in _NAMING:
        if isinstance(arguments, dict) and arguments.get(key):
            return str(arguments[key])
    return None


def _model_name(top: _json.Fields, config: _json.Fields, named: str | None) -> str:
    """What the harness calls the model; before it did so, what the arguments do."""
    if top.get("model_name", None) not in (None, ""):
        return top.text("model_name")
    return config.text("model") if named is None else _json.as_text(named, "config.model_args")


def _settings(
    top: _json.Fields, config: _json.Fields, arguments: str | dict[str, Any] | None
) -> dict[str, str]:
    """What tells the run from others of the same model, as labels; what is not set is left out."""
    found: dict[str, Any] = {"model_args": arguments}
    for where, keys in _SETTINGS.items():
        found |= {key: (config if where else top).get(key, None) for key in keys}
    return {key: _as_label(value) for key, value in found.items() if value}


def _as_label(value: Any) -> str:
    """An argument as text that any file can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return json.dumps(value, sort_keys=True)
