"""Logs of inspect-ai, read through its own API."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.readers import _cells, _llms, _metrics
from bayes_ctxlaw.readers._files import Folder, few_files
from bayes_ctxlaw.readers._inspect_log import Log, read_log, reader, short
from bayes_ctxlaw.readers._pooling import table_of
from bayes_ctxlaw.readers.reading import Reading, assembled

FORMAT = "inspect"

_USAGE = (
    "The prompt of a sample is known where its log has the usage of its one call of the model, "
    "whose total tells whether cached tokens are among the input tokens."
)


def read_inspect(
    path: str | os.PathLike[str],
    *,
    llms: _llms.LLMs = None,
    tasks: Sequence[str] | Mapping[str, str] | None = None,
    metric: _metrics.Choice = None,
    convert: _metrics.Convert = None,
    shots: str | None = None,
    repeats: str = "raise",
    chance: Mapping[str, float] | None = None,
    on_error: str = "raise",
    progressbar: bool = True,
) -> Reading:
    """Read logs of inspect-ai. Needs the extra ``readers``.

    Parameters
    ----------
    path : path
        A folder, read with all folders in it, or one log: ``.eval`` or ``.json``. What a set of
        evaluations keeps beside its logs is passed by.
    llms
        As in `read_context_scaling`, by the name of the model in the logs, such as
        ``hf/meta-llama/Llama-2-7b-hf``.
    tasks : list of str or dict of str to str, optional
        Tasks to read (default: all), or ``{task: label}``; tasks with the same label are pooled
        item by item.
    metric : str, list of str or dict, optional
        Which metric is the score, as ``"accuracy"`` or, with its scorer, ``"match/accuracy"``;
        several in order of preference; or either by task. Needed where there are several.
    convert : dict of str to callable, optional
        Metric → function of its value that gives a score in [0, 1], higher being better. inspect-ai
        does not record which metrics are better when lower.
    shots : str, optional
        Argument of the tasks that holds the number of demonstrations, as ``"fewshot"``.
    repeats : {"raise", "latest", "keep"}
        What to do where the same was evaluated again. Runs with other arguments of the task or of
        the model are not the same.
    chance, on_error, progressbar
        As in `read_context_scaling`. A log of a run that failed is a broken file.

    Returns
    -------
    Reading
        One row per task, ``llm`` and arguments, for `as_observations`. ``score`` is the value of
        the metric; ``n_items`` the samples it rests on, for one of ``grouped`` those of the group,
        epochs of one sample counting once;
        ``n_correct`` the samples right, where all are right or wrong in every epoch.
        ``prompt_tokens`` and ``prompt_tokens_sd`` are input tokens, cached ones included, over all
        epochs of these samples, where every sample called the model once. ``chance`` is the mean of
        one over the number of choices, for the accuracy of the scorer ``choice``. ``stderr``,
        ``task_args`` and ``model_args`` are carried along.

    Raises
    ------
    FileFormatError
        Files are missing or broken, or inspect-ai is not installed.
    ObservationError
        Something was evaluated twice, or a metric is outside [0, 1].
    SpecificationError
        An argument is wrong, or several metrics could be the score: the candidates are listed.

    Examples
    --------
    >>> from bayes_ctxlaw.readers import read_inspect
    >>> reading = read_inspect("logs/", shots="fewshot")  # doctest: +SKIP
    """
    read = reader()
    labels = _cells.chosen(tasks)
    scores = _metrics.Scores(convert, short)
    folder = Folder(path, (".eval", ".json"), on_error, progressbar)
    logs = folder.each(lambda p: read_log(p, read, shots), folder.paths, "logs")
    folder.settle(len(logs))
    sources = [folder.name(log.path) for log in logs]
    _cells.check_names(labels, {log.task for log in logs}, sources)
    wanted = [log for log in logs if labels is None or log.task in labels]
    said = _check_shots(wanted, shots, sources)
    candidates = _metrics.Candidates((g.task, folder.name(g.path), g.metrics) for g in wanted)
    metrics = {task: m for task, (m,) in _metrics.choose(metric, candidates, short).items()}
    found = folder.each(
        lambda log: log.evaluation(metrics[log.task], scores, folder.name(log.path)),
        wanted,
        "scores",
        lambda log: log.path,
    )
    folder.settle(len(found))
    notes = scores.settle()
    evaluations = [one for one in found if one is not None]
    kept, more = _cells.without_repeats(evaluations, repeats)
    cells, pooled = table_of(kept, labels)
    table, from_registry = assembled(cells, llms, chance, sources)
    notes += [*more, *pooled, *from_registry, *said, *_notes(wanted, metrics), *folder.notes()]
    advice = {"prompt_tokens": f"{_USAGE} {wording().add_column()}"}
    return Reading(table, FORMAT, len(logs), notes, folder.faults, advice, sources)


def _check_shots(logs: list[Log], name: str | None, sources: list[str]) -> list[str]:
    """Refuse the name of an argument that no task has; say which tasks lack it."""
    without = sorted({log.task for log in logs if log.shots is None})
    if name is None or not without:
        return []
    if all(log.shots is None for log in logs):
        there = {key for log in logs for key in json.loads(log.arguments.get("task_args", "{}"))}
        raise SpecificationError(
            f"{wording().argument('shots', name)}, but no task has an argument of that name. "
            f"Theirs are: {', '.join(sorted(there)) or 'none'}. The logs are {few_files(sources)}."
        )
    return [f"Tasks without the argument {name!r}, of unknown shots: {', '.join(without)}."]


def _notes(logs: list[Log], metrics: dict[str, str]) -> list[str]:
    notes = [f"Taken as better when higher: {', '.join(sorted(set(metrics.values())))}."]
    lost = {metrics[log.task] for log in logs if log.metrics[metrics[log.task]].lost}
    if lost:
        notes.append(
            "Of a group of samples that the log does not tell from others, so that items and "
            f"prompts are unknown: {', '.join(sorted(lost))}."
        )
    unscored = sum(log.n_unscored for log in logs)
    if unscored:
        notes.append(f"{unscored} samples have no score, and are not among n_items.")
    ways: dict[str, set[str]] = {}
    for log in logs:
        ways.setdefault(log.llm, set()).add(log.arguments.get("model_args", ""))
    return notes + [
        f"{llm} was run with {len(found)} sets of model arguments, and counts as one checkpoint."
        for llm, found in ways.items()
        if len(found) > 1
    ]
