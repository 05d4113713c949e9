"""Output of lm-evaluation-harness: aggregated results, and logs of samples beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.readers import _cells, _llms, _lm_eval_samples, _metrics
from bayes_ctxlaw.readers._files import Folder
from bayes_ctxlaw.readers._lm_eval_jobs import Job, notes_of, of_lengths_asked, short
from bayes_ctxlaw.readers._lm_eval_results import TIME, Run, length_of, read_run
from bayes_ctxlaw.readers._lm_eval_samples import CountTokens
from bayes_ctxlaw.readers._pooling import table_of
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
        they lie beside their results. Logs under other names, as until 0.4.2, are passed by.
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
        where a task has more than one. The metrics of RULER are prompt lengths, and not
        alternatives: all that are named are read, and all there are where none is.
    convert : dict of str to callable, optional
        Metric → function of its value that gives a score in [0, 1], higher being better. Needed for
        metrics that are not such a score themselves: percentages, perplexities.
    count_tokens : callable, or dict of str to callable, optional
        Text → number of its tokens; by the name of the model where tokenizers differ. The logs hold
        prompts as text, so without it ``prompt_tokens`` is unknown. Of a chat it is given what the
        messages say, one below the other.
    repeats : {"raise", "latest", "keep"}
        What to do where the same was evaluated again. Runs with other seeds, model arguments,
        generation arguments, chat templates or system instructions are replicates.
    chance, on_error, progressbar
        As in `read_context_scaling`.

    Returns
    -------
    Reading
        One row per task, ``llm`` and run, for `as_observations`. ``score`` is the harness's own
        aggregate; ``n_items`` its effective number of samples, held against the log where there is
        one; ``n_correct`` the items right where the log has only right and wrong ones. ``chance``
        is the mean of one over the number of choices, for accuracies of multiple choice tasks whose
        choices are in the log or the configuration, and whose items are right or wrong. ``shots``,
        ``stderr``, ``model_args`` and what else was set of the run, and, as ``seed``, the seed of
        the demonstrations are carried along. A task of RULER has a row for each prompt length,
        ``seq_length``, with the items of that length; without a log their number is unknown.

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
    scores = _metrics.Scores(convert, short)
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
    metrics = _metrics.choose(metric, candidates, short, lambda m: length_of(m) is not None)
    jobs, left_out = of_lengths_asked(
        [Job(run, task, metrics[task.name], logs) for run, task in wanted]
    )
    found = folder.each(
        lambda job: job.evaluations(scores, counter(job.run.llm)), jobs, "tasks", lambda j: j.path
    )
    folder.settle(len(found))
    notes = scores.settle()
    evaluations = [one for of_job in found for one in of_job]
    kept, more = _cells.without_repeats(evaluations, repeats)
    sizes = {run.llm: float(run.n_params) for run in runs if run.n_params}
    cells, pooled = table_of(kept, labels)
    table, from_registry = assembled(cells, llms, chance, sources, n_params=sizes)
    notes += [
        *more,
        *pooled,
        *from_registry,
        *notes_of(runs, wanted, labels, jobs),
        *left_out,
        *folder.notes(),
    ]
    n_files = len(runs) + sum(job.log is not None for job in jobs)
    advice = {"prompt_tokens": f"{_TEXT} {wording().count_tokens()}"}
    return Reading(table, FORMAT, n_files, notes, folder.faults, advice, sources)


def _logs(folder: Folder, runs: list[Run]) -> set[Path]:
    """The logs that lie beside their results; any other that is named so is a fault."""
    logs = {p for p in folder.paths if p.suffix.casefold() == ".jsonl"}
    if len(folder.paths) == 1 and not logs:  # one file was named: its logs are beside it
        return {log for run in runs for name in run.tasks if (log := run.log(name)).is_file()}
    orphans = logs - {run.log(name) for run in runs for name in run.tasks}
    for path in sorted(orphans):
        if path.name.startswith("samples_") and TIME.search(path.name):
            folder.faults[folder.name(path)] = (
                "no results file of the same time in the same folder has its task, or that is "
                "broken."
            )
        else:
            folder.passed_by[folder.name(path)] = (
                "it is not named samples_…_<time>.jsonl, so that its run is not known."
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
