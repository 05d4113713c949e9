"""Output of lm-evaluation-harness: aggregated results, and logs of samples beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.readers import _cells, _llms, _lm_eval_samples, _metrics
from bayes_ctxlaw.readers._cells import Evaluation
from bayes_ctxlaw.readers._files import Folder
from bayes_ctxlaw.readers._lm_eval_results import Run, Task, read_run
from bayes_ctxlaw.readers._lm_eval_samples import CountTokens, read_log
from bayes_ctxlaw.readers.reading import Reading, assembled

FORMAT = "lm-eval"

_TEXT = "The logs of --log_samples hold prompts as text, and characters are not tokens:"


def read_lm_eval(
    path: str | os.PathLike[str],
    *,
    llms: _llms.LLMs = None,
    tasks: Sequence[str] | Mapping[str, str] | None = None,
    metric: _metrics.Choice = None,
    convert: _metrics.Convert = None,
    count_tokens: CountTokens = None,
    repeats: str = "raise",
    chance: Mapping[str, float] | None = None,
    on_error: str = "raise",
    progressbar: bool = True,
) -> Reading:
    """Read the output of lm-evaluation-harness (0.4 and later).

    Parameters
    ----------
    path : path
        A folder, read with all folders in it, or one results file. Results are the JSON files that
        ``--output_path`` makes; the logs of ``--log_samples``, ``samples_….jsonl``, are read where
        they lie beside their results.
    llms
        As in `read_context_scaling`, by the name of the model in the files, such as
        ``meta-llama/Llama-2-7b-hf``.
    tasks : list of str or dict of str to str, optional
        Tasks to read, or ``{task: label}``; tasks with the same label are pooled item by item.
        Default: all tasks and no group, since a group holds the items of its tasks once more. A
        group may be named in place of its tasks.
    metric : str, list of str or dict, optional
        Which metric is the score, as ``"acc_norm"`` or, with its filter,
        ``"exact_match,strict-match"``; several in order of preference; or either by task. Needed
        where a task has more than one.
    convert : dict of str to callable, optional
        Metric → function of its value that gives a score in [0, 1], higher being better. Needed for
        metrics that are not such a score themselves: percentages, perplexities.
    count_tokens : callable, or dict of str to callable, optional
        Text → number of its tokens; by the name of the model where tokenizers differ. The logs hold
        prompts as text, so without it ``prompt_tokens`` is unknown.
    repeats : {"raise", "latest", "keep"}
        What to do where the same was evaluated again. Runs with other seeds or other model
        arguments are replicates.
    chance, on_error, progressbar
        As in `read_context_scaling`.

    Returns
    -------
    Reading
        One row per task, ``llm`` and run, for `as_observations`. ``score`` is the harness's own
        aggregate; ``n_items`` its effective number of samples, held against the log where there is
        one; ``n_correct`` the items right where the log has only right and wrong ones. ``chance``
        is the mean of one over the number of choices, for accuracies of multiple choice tasks whose
        choices are in the log or the configuration. ``shots``, ``stderr``, ``model_args`` and, as
        ``seed``, the seed of the demonstrations are carried along.

    Raises
    ------
    FileFormatError
        Files are missing or broken. The message names each one and the key at fault.
    ObservationError
        Something was evaluated twice, or a metric is lower when better or outside [0, 1].
    SpecificationError
        An argument is wrong, or several metrics could be the score: the candidates are listed.

    Notes
    -----
    Tokens are counted in the prompt as it is in the log, without what a tokenizer puts in front,
    and without the answer. The harness cuts prompts longer than ``max_length`` of the model; if the
    file has it and prompts are longer, a note says so. Parameters counted by the harness
    (``model_num_parameters``) are taken as ``n_params``.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from bayes_ctxlaw.readers import read_lm_eval
    >>> folder = tempfile.TemporaryDirectory()
    >>> results = {"results": {"qa": {"acc,none": 0.25, "acc_stderr,none": 0.04}},
    ...            "n-shot": {"qa": 5}, "n-samples": {"qa": {"original": 99, "effective": 100}},
    ...            "config": {"model_args": "pretrained=meta-llama/Llama-2-7b-hf"},
    ...            "model_name": "meta-llama/Llama-2-7b-hf"}
    >>> file = Path(folder.name) / "results_2025-01-31T10-00-00.0.json"
    >>> _ = file.write_text(json.dumps(results))
    >>> reading = read_lm_eval(folder.name, progressbar=False)
    >>> reading.table[["task", "score", "n_items", "shots"]].to_dict("records")
    [{'task': 'qa', 'score': 0.25, 'n_items': 100, 'shots': 5}]
    >>> folder.cleanup()
    """
    labels = _cells.chosen(tasks)
    scores = _metrics.Scores(convert, _short)
    counter = _lm_eval_samples.counters(count_tokens)
    folder = Folder(path, (".json", ".jsonl"), on_error, progressbar)
    results = [p for p in folder.paths if p.suffix.casefold() == ".json"]
    runs = folder.each(lambda p: read_run(p, folder.name(p)), results, "results")
    logs = _logs(folder, runs)
    if folder.on_error == "raise" or not runs:
        folder.settle(len(runs))
    sources = [run.source for run in runs]
    _cells.check_names(labels, {task for run in runs for task in run.tasks}, sources)
    wanted = [(run, run.tasks[name]) for run in runs for name in _wanted(run, labels)]
    candidates = _metrics.Candidates((t.name, run.source, t.metrics()) for run, t in wanted)
    metrics = _metrics.choose(metric, candidates, _short)
    jobs = [_Job(run, task, metrics[task.name], logs) for run, task in wanted]
    found = folder.each(
        lambda job: job.evaluation(scores, counter(job.run.llm)), jobs, "tasks", lambda j: j.path
    )
    folder.settle(len(found))
    notes = scores.settle()
    evaluations = [one for one in found if one is not None]
    kept, more = _cells.without_repeats(evaluations, repeats)
    sizes = {run.llm: float(run.n_params) for run in runs if run.n_params}
    table, from_registry = assembled(
        _cells.table_of(kept, labels), llms, chance, sources, n_params=sizes
    )
    notes += [*more, *from_registry, *_notes(runs, wanted, labels, jobs)]
    n_files = len(runs) + sum(job.log is not None for job in jobs)
    advice = {"prompt_tokens": f"{_TEXT} {wording().count_tokens()}"}
    return Reading(table, FORMAT, n_files, notes, folder.faults, advice, sources)


def _short(metric: str) -> str:
    return metric.partition(",")[0]


def _logs(folder: Folder, runs: list[Run]) -> set[Path]:
    """The logs that lie beside their results; any other is a fault."""
    logs = {p for p in folder.paths if p.suffix.casefold() == ".jsonl"}
    if len(folder.paths) == 1 and not logs:  # one file was named: its logs are beside it
        return {log for run in runs for name in run.tasks if (log := run.log(name)).is_file()}
    orphans = logs - {run.log(name) for run in runs for name in run.tasks}
    for path in sorted(orphans):
        folder.faults[folder.name(path)] = (
            "no results file of the same time in the same folder has its task, or that is broken."
        )
    return logs - orphans


def _wanted(run: Run, labels: dict[str, str] | None) -> list[str]:
    """The tasks of a run to read. Never a group and a task inside it."""
    if labels is None:
        return run.leaves
    names = [name for name in run.tasks if name in labels]
    twice = [(a, b) for a in names for b in names if b in run.below(a) and a != b]
    if twice:
        group, task = twice[0]
        raise SpecificationError(
            f"{wording().argument('tasks')} names the group {group!r} and {task!r}, which is "
            f"inside it in {run.source}: its items would count twice. Name one of the two."
        )
    return names


class _Job:
    """One task of one run, with its log if there is one."""

    def __init__(self, run: Run, task: Task, metric: str, logs: set[Path]) -> None:
        self.run, self.task, self.metric = run, task, metric
        log = run.log(task.name)
        self.log = log if log in logs else None
        self.path = self.log or run.path
        self.n_longer = 0

    def evaluation(
        self, scores: _metrics.Scores, count: Callable[[str], int] | None
    ) -> Evaluation | None:
        """Read the log, and put together what is known."""
        run, task, metric = self.run, self.task, self.metric
        value = task.values.number(metric)
        where = f"{run.source}, {task.name}"
        score = scores.score(where, metric, value, task.higher.get(_short(metric)))
        if score is None:
            return None
        stderr = task.stderr(metric)
        n_items, n_correct, prompts = task.n_items, None, None
        guess = task.multiple_choice and task.n_choices and _short(metric).startswith("acc")
        chance = 1 / task.n_choices if guess else None
        if self.log:
            log = read_log(self.log, task, metric, count, run.max_length)
            n_items, n_correct, prompts = log.n_items, log.n_correct, log.prompts
            chance, self.n_longer = log.chance, log.n_longer
        if score != value:  # converted: no longer shares of items
            n_correct = chance = stderr = None
        return Evaluation(
            name=task.name,
            llm=run.llm,
            metric=metric,
            score=score,
            source=run.source,
            n_items=n_items,
            n_correct=n_correct,
            prompts=prompts,
            chance=chance,
            stderr=stderr,
            shots=task.shots,
            seed=run.seed,
            extra={"model_args": run.model_args} if run.model_args else {},
            time=run.time,
        )


def _notes(
    runs: list[Run],
    wanted: list[tuple[Run, Task]],
    labels: dict[str, str] | None,
    jobs: list[_Job],
) -> list[str]:
    """What a user should know of how the files were read."""
    notes = []
    groups = sorted({n for run in runs for n in run.tasks if n not in run.leaves})
    if groups and labels is None:
        notes.append(f"Groups were left out, their tasks being there: {', '.join(groups)}.")
    if labels is not None:
        others = {n for run in runs for n in run.leaves} - set(labels)
        inside = {n for run in runs for name in labels for n in run.below(name)}
        if others - inside:
            left = ", ".join(sorted(others - inside))
            notes.append(f"Left out, as {wording().argument('tasks')} says: {left}.")
    drawn = sorted({run.llm for run in runs if run.drawn_name})
    if drawn:
        notes.append(
            f"Model arguments without a name; the harness made one up: {', '.join(drawn)}."
        )
    arguments: dict[str, set[str]] = {}
    for run in runs:
        arguments.setdefault(run.llm, set()).add(run.model_args)
    notes += [
        f"{llm} was run with {len(ways)} sets of model arguments, and counts as one checkpoint."
        for llm, ways in arguments.items()
        if len(ways) > 1
    ]
    silent = {j.metric for j in jobs if _short(j.metric) not in j.task.higher}
    if silent:
        notes.append(
            f"Taken as better when higher, which the files do not say: {', '.join(sorted(silent))}."
        )
    lengths = {run.llm: run.max_length for run in runs if run.max_length}
    notes += [
        f"The harness cut prompts of {llm} at max_length = {n} tokens. Is that its context_window?"
        for llm, n in lengths.items()
    ]
    longer = sum(job.n_longer for job in jobs)
    if longer:
        notes.append(f"{longer} prompts are longer than max_length; their whole length is counted.")
    return notes
