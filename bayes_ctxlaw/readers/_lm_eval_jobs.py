"""One task of one run of lm-evaluation-harness: its evaluations, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.readers import _metrics
from bayes_ctxlaw.readers._cells import Evaluation
from bayes_ctxlaw.readers._files import few, few_files
from bayes_ctxlaw.readers._lm_eval_results import Run, Task, length_of
from bayes_ctxlaw.readers._lm_eval_samples import Log, read_log


def short(metric: str) -> str:
    """The name of a metric without its filter."""
    return metric.partition(",")[0]


class Job:
    """One task of one run, with its log if there is one."""

    def __init__(self, run: Run, task: Task, metrics: list[str], logs: set[Path]) -> None:
        self.run, self.task = run, task
        # Of lengths a run may have some; of what it has none, the fault is that of the first.
        there = [m for m in metrics if m in task.values]
        with_items = [m for m in there if task.has_items(m)]
        self.metrics = with_items or there[:1] or metrics[:1]
        self.without_items = sorted(set(there) - set(self.metrics))
        # Lengths may be run one by one: then a run has items of others than are asked for.
        lengths = [m for m in task.metrics() if length_of(m) is not None and task.has_items(m)]
        of_lengths = all(length_of(m) is not None for m in metrics)
        self.is_of_others = of_lengths and not with_items and bool(lengths)
        log = run.log(task.name)
        self.log = log if log in logs else None
        self.path = self.log or run.path
        self.n_longer = self.n_chats = 0

    def evaluations(
        self, scores: _metrics.Scores, count: Callable[[str], int] | None
    ) -> list[Evaluation]:
        """Read the log, and put together what is known under each metric."""
        run, task = self.run, self.task
        where, values = f"{run.source}, {task.name}", {}
        for metric in self.metrics:
            value = task.values.number(metric)
            score = scores.score(where, metric, value, task.higher.get(short(metric)))
            if score is not None:
                values[metric] = score, score != value
        logs = {}
        if self.log and values:
            logs = read_log(self.log, task, list(values), count, run.max_length)
            self.n_longer = sum(log.n_longer for log in logs.values())
            self.n_chats = sum(log.n_chats for log in logs.values())
        return [
            self._evaluation(metric, score, converted, logs.get(metric))
            for metric, (score, converted) in values.items()
        ]

    def _evaluation(
        self, metric: str, score: float, converted: bool, log: Log | None
    ) -> Evaluation:
        run, task = self.run, self.task
        stderr = task.stderr(metric)
        n_items, n_correct, prompts = task.items_of(metric), None, None
        guess = task.multiple_choice and task.n_choices and short(metric).startswith("acc")
        chance = 1 / task.n_choices if guess else None
        if log is not None:
            n_items, n_correct, prompts = log.n_items, log.n_correct, log.prompts
            chance = log.chance
        if converted:  # no longer shares of items
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
            seq_length=length_of(metric),
            extra=run.settings,
            time=run.time,
        )


def of_lengths_asked(jobs: list[Job]) -> tuple[list[Job], list[str]]:
    """Jobs without those whose run is of other lengths, where another run is of these; and a note.

    Where none is, all stay, and reading them says what is at fault.
    """
    read = {job.task.name for job in jobs if not job.is_of_others}
    left = [job for job in jobs if job.is_of_others and job.task.name in read]
    names = few([f"{job.task.name} ({job.run.source})" for job in left])
    notes = [f"Of other lengths than were asked for, and left out: {names}."] if left else []
    return [job for job in jobs if job not in left], notes


def notes_of(
    runs: list[Run],
    wanted: list[tuple[Run, Task]],
    labels: dict[str, str] | None,
    jobs: list[Job],
) -> list[str]:
    """What a user should know of how the files were read."""
    notes = []
    groups = sorted({n for run in runs for n in run.tasks if n not in run.leaves})
    if groups and labels is None:
        notes.append(f"Groups were left out, their tasks being there: {', '.join(groups)}.")
    opaque = sorted({n for run in runs for n in run.opaque} & set(labels or {}))
    if opaque:
        notes.append(
            "The files do not say which tasks are in a group, whose items must not count twice: "
            f"{', '.join(opaque)}."
        )
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
    ways: dict[str, set[frozenset[tuple[str, str]]]] = {}
    lengths: dict[str, dict[int, list[str]]] = {}
    for run in runs:
        ways.setdefault(run.llm, set()).add(frozenset(run.settings.items()))
        if run.max_length:
            of_llm = lengths.setdefault(run.llm, {})
            of_llm.setdefault(run.max_length, []).append(run.source)
    for llm, sets in ways.items():
        if len(sets) > 1:
            differ = ", ".join(sorted({key for one in sets for key, _ in one ^ min(sets, key=len)}))
            notes.append(
                f"{llm} was run with {len(sets)} sets of arguments, and counts as one checkpoint; "
                f"they differ in {differ}."
            )
    silent = {m for job in jobs for m in job.metrics if short(m) not in job.task.higher}
    if silent:
        notes.append(
            f"Taken as better when higher, which the files do not say: {', '.join(sorted(silent))}."
        )
    notes += _notes_on_lengths(jobs)
    for llm, sources in lengths.items():
        several = len(sources) > 1
        cuts = [f"{n} tokens" + f" ({few_files(of)})" * several for n, of in sources.items()]
        notes.append(
            f"The harness cut prompts of {llm} at max_length = {', '.join(cuts)}. Is "
            f"{'one of them' if several else 'that'} its context_window?"
        )
    longer = sum(job.n_longer for job in jobs)
    if longer:
        notes.append(f"{longer} prompts are longer than max_length; their whole length is counted.")
    chats = sum(job.n_chats for job in jobs)
    if chats:
        notes.append(
            f"{chats} prompts are chats: counted is what their messages say, without what a chat "
            "template adds."
        )
    return notes


def _notes_on_lengths(jobs: list[Job]) -> list[str]:
    """What is particular to tasks with one metric for each prompt length, as those of RULER."""
    of_lengths = [job for job in jobs if length_of(job.metrics[0]) is not None]
    if not of_lengths:
        return []
    notes = [f"One cell for each prompt length: {few(sorted({j.task.name for j in of_lengths}))}."]
    read = {(short(m), job.task.name) for job in of_lengths for m in job.metrics}
    empty = {(short(m), job.task.name): None for job in of_lengths for m in job.without_items}
    if named := [f"{length} of {task}" for length, task in empty if (length, task) not in read]:
        notes.append(f"Lengths without items were left out: {few(named)}.")
    unknown = [j for j in of_lengths if not j.log and j.task.items_of(j.metrics[0]) is None]
    if any(job.task.n_items for job in unknown):
        names = few(sorted({job.task.name for job in unknown}))
        notes.append(
            f"Without a log of --log_samples the items of one length are unknown, since the files "
            f"count those of all lengths: {names}."
        )
    return notes
