"""Which of several metrics is the score, and whether it can be one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.readers._files import few_files

Choice = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None
"""A metric, several in order of preference, or either for each task."""

Convert = Mapping[str, Callable[[float], float]] | None
"""What makes a score in [0, 1], higher being better, of the value of a metric."""

_SHOWN = 10
_EXAMPLES = 4  # metrics in the advice


class Candidates:
    """The metrics that files have for each task, and in which files.

    Parameters
    ----------
    found : iterable of (str, str, iterable of str)
        Task, file, and the metrics of that task in that file by their full names.
    """

    def __init__(self, found: Iterable[tuple[str, str, Iterable[str]]]) -> None:
        self._files: dict[str, list[str]] = {}
        self._metrics: dict[str, dict[str, list[str]]] = {}
        for task, file, metrics in found:
            self._files.setdefault(task, []).append(file)
            of_task = self._metrics.setdefault(task, {})
            for metric in metrics:
                of_task.setdefault(metric, []).append(file)

    def items(self) -> list[tuple[str, list[str]]]:
        """Tasks with their metrics."""
        return [(task, list(metrics)) for task, metrics in self._metrics.items()]

    def __contains__(self, task: str) -> bool:
        return task in self._metrics

    @property
    def _all(self) -> dict[str, None]:
        return dict.fromkeys(file for files in self._files.values() for file in files)

    def files(self) -> str:
        """Name all files."""
        return few_files(self._all)

    def where(self, task: str) -> str:
        """Name the files of a task, and those of a metric, where these are not all."""
        own = set(self._files[task])
        parts = [f"Its files: {few_files(self._files[task])}"] if own < set(self._all) else []
        for metric, files in self._metrics[task].items():
            if set(files) < own:
                parts.append(f"{metric} is only in {few_files(files)}")
        return f" {'; '.join(parts)}." if parts else ""


def choose(
    wanted: Choice,
    tasks: Candidates,
    short: Callable[[str], str],
    joint: Callable[[str], bool] = lambda metric: False,
) -> dict[str, list[str]]:
    """The metrics of every task, by their full names: one, or several that do not compete.

    Parameters
    ----------
    wanted : Choice
        None takes the only metric there is.
    tasks : Candidates
    short : callable
        Full name → the name without filter or scorer, which may be given instead.
    joint : callable
        Full name → whether the metric is one of several parts of a score, such as one prompt
        length. Of these, all that are named are taken; where none is, all there are.

    Raises
    ------
    SpecificationError
        For some tasks there is none such, or more than one. All are in the message.
    """
    faults, chosen, example = [], {}, {}
    for task, there in tasks.items():
        asked = wanted.get(task) if isinstance(wanted, Mapping) else wanted
        preferences = [asked] if isinstance(asked, str) else list(asked or [])
        found = [[m for m in there if p in (m, short(m))] for p in preferences]
        fitting = next((f for f in found if f), []) if preferences else list(there)
        parts = [m for m in there if joint(m)]
        if parts and fitting and joint(fitting[0]) and preferences:
            fitting = [m for m in parts if any(m in f for f in found)]
        elif not fitting and not isinstance(wanted, Mapping) and not any(map(joint, preferences)):
            fitting = parts  # what is preferred of other tasks' alternatives is no word on these
        example |= dict.fromkeys((fitting or there)[:1])
        distinct = len(set(map(short, fitting))) == len(fitting)
        if len(fitting) == 1 or (fitting and all(map(joint, fitting)) and distinct):
            chosen[task] = fitting
        elif not there:
            faults.append(f"{task} has no metric.{tasks.where(task)}")
        elif fitting:
            faults.append(f"{task} has several: {_listed(fitting)}.{tasks.where(task)}")
        else:
            names = " or ".join(map(repr, preferences))
            faults.append(f"{task} has no {names}; it has {_listed(there)}.{tasks.where(task)}")
    if isinstance(wanted, Mapping):
        surplus = [task for task in wanted if task not in tasks]
        faults += [
            f"{wording().argument('metric')} names the task {task!r}, which is in no file."
            for task in surplus
        ]
    if faults:
        lines = [f"  {fault}" for fault in faults[:_SHOWN]]
        lines += [f"  … and {len(faults) - _SHOWN} more."] if len(faults) > _SHOWN else []
        raise SpecificationError(
            "\n".join(
                [
                    f"The metric that is the score must be told ({tasks.files()}):",
                    *lines,
                    wording().metric(list(example)[:_EXAMPLES] or ["accuracy"]),
                ]
            )
        )
    return chosen


def _listed(metrics: Sequence[str]) -> str:
    """Names that hold commas of their own (``exact_match,strict-match``), told apart."""
    return " and ".join(metrics) if len(metrics) < 3 else "; ".join(metrics)


class Scores:
    """Values of metrics as scores in [0, 1]; what cannot be one is gathered.

    Parameters
    ----------
    convert : Convert
    short : callable
        As in `choose`.
    """

    def __init__(self, convert: Convert, short: Callable[[str], str]) -> None:
        self.convert = dict(convert or {})
        wrong = [name for name, how in self.convert.items() if not callable(how)]
        if wrong:
            raise SpecificationError(
                f"convert[{wrong[0]!r}] is {self.convert[wrong[0]]!r}; give a function of the "
                'metric\'s value, as convert={"bleu": lambda value: value / 100}.'
            )
        self.short = short
        self.used: dict[str, None] = {}
        self.faults: list[str] = []

    def score(self, where: str, metric: str, value: float, higher: bool | None) -> float | None:
        """The score, or None after noting why there is none."""
        name = metric if metric in self.convert else self.short(metric)
        if name in self.convert:
            self.used[name] = None
            score = self.convert[name](value)
            if isinstance(score, int | float) and 0 <= score <= 1:
                return float(score)
            self.faults.append(f"{where}: {metric} = {value:g} is converted to {score!r}.")
            return None
        if higher is False:
            self.faults.append(f"{where}: {metric} = {value:g} is better when it is lower.")
            return None
        if not 0 <= value <= 1:
            self.faults.append(f"{where}: {metric} = {value:g} is outside [0, 1].")
            return None
        return value

    def settle(self) -> list[str]:
        """Raise for what cannot be a score; otherwise say what was converted.

        Raises
        ------
        ObservationError
        """
        if self.faults:
            lines = [f"  {fault}" for fault in self.faults[:_SHOWN]]
            more = len(self.faults) - _SHOWN
            lines += [f"  … and {more} more."] if more > 0 else []
            raise ObservationError(
                "\n".join(
                    [
                        "A score is a number in [0, 1], higher being better:",
                        *lines,
                        wording().no_score(),
                    ]
                )
            )
        return [f"{name} was converted to a score as told." for name in self.used]
