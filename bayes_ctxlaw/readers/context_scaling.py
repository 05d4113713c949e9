"""Output of the evaluation code of the paper: arXiv:2510.14919."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.readers import _cells, _json, _llms
from bayes_ctxlaw.readers._cells import ROUNDING, Evaluation, Prompts
from bayes_ctxlaw.readers._files import Folder
from bayes_ctxlaw.readers._pooling import table_of
from bayes_ctxlaw.readers.reading import Reading, assembled

FORMAT = "context-scaling"

_NAME = re.compile(
    r"dataset=(?P<dataset>.+?),model=(?P<model>.+?)(?:,config=(?P<config>.*?))?"
    r",shots=(?P<shots>[0-9]{1,9}),local_seed=(?P<seed>[0-9]{1,18})\.json"
)
_MAX_TOKENS = 1e12  # of a prompt; beyond it the number cannot be meant
_PATTERN = "dataset=…,model=…,shots=…,local_seed=….json"


def read_context_scaling(
    path: str | os.PathLike[str],
    *,
    llms: _llms.LLMs = None,
    tasks: Sequence[str] | Mapping[str, str] | None = None,
    repeats: str = "raise",
    chance: Mapping[str, float] | None = None,
    on_error: str = "raise",
    progressbar: bool = True,
) -> Reading:
    """Read the output of the paper's evaluation code, ``eval.py`` of *context-scaling*.

    Parameters
    ----------
    path : path
        A folder, read with all folders in it, or one file. One JSON file holds one data set,
        checkpoint, number of shots and seed, and is called
        ``dataset=…,model=…,shots=…,local_seed=….json``, for data sets in parts with
        ``,config=…`` after the model.
    llms : dict, DataFrame or path, optional
        What files of scores cannot say: ``{name in the files: {"compute": …, "context_window": …,
        "family": …, "technique": …}}``, with ``n_params`` and ``train_tokens`` in place of
        ``compute`` if need be; or a table of it with a column ``llm``. For names in the compute
        registry (`list_models`) what is not given is taken from there, and said in the notes.
    tasks : list of str or dict of str to str, optional
        Data sets to read (default: all), or ``{data set: task}``. Data sets with the same task are
        pooled: their items together make one cell.
    repeats : {"raise", "keep"}
        What to do where two files hold the same data set, checkpoint, shots and seed.
    chance : dict of str to float, optional
        Task → score of pure guessing, where it is not in the files.
    on_error : {"raise", "skip"}
        What to do about a broken file: nothing is read, or the rest is, with a warning.
    progressbar : bool
        Show on stderr how many files are done.

    Returns
    -------
    Reading
        One row per task, ``llm``, ``shots`` and ``seed``, for `as_observations`. ``prompt_tokens``
        and ``prompt_tokens_sd`` are mean and population standard deviation of ``prompt_length``,
        which that code counts in tokens of the evaluated model. ``n_correct`` is there for tasks
        whose items are all right or wrong. Chance level, compute and window are not in the files.

    Raises
    ------
    FileFormatError
        Files are missing or broken. The message names each one and the key at fault.
    ObservationError
        Evaluations are there twice.
    SpecificationError
        An argument is wrong, or `tasks` names what is not there.

    Notes
    -----
    The score is the file's own ``metric_value``, which must be the mean over its instances. Fields
    as in github.com/wang-research-lab/context-scaling (``eval.py``, ``utils.py``).

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from bayes_ctxlaw import as_observations
    >>> from bayes_ctxlaw.readers import read_context_scaling
    >>> folder = tempfile.TemporaryDirectory()
    >>> for shots, right in [(0, [0.0, 1.0]), (4, [1.0, 1.0])]:
    ...     name = f"dataset=gsm,model=Llama-2-7b,shots={shots},local_seed=1.json"
    ...     instances = [{"prompt_length": 90 * (shots + 1), "metric_value": v} for v in right]
    ...     content = {"name": "gsm", "metric": "math_equiv", "n_shots": shots, "local_seed": 1,
    ...                "instances": instances, "metric_value": sum(right) / 2}
    ...     _ = (Path(folder.name) / name).write_text(json.dumps(content))
    >>> obs = as_observations(read_context_scaling(folder.name, progressbar=False))
    >>> obs["score"].values.tolist(), obs["prompt_tokens"].values.tolist()
    ([0.5, 1.0], [90.0, 450.0])
    >>> folder.cleanup()
    """
    labels = _cells.chosen(tasks)
    folder = Folder(path, (".json",), on_error, progressbar)
    evaluations = folder.each(lambda p: _evaluation(p, folder.name(p)), folder.paths, "files")
    folder.settle(len(evaluations))
    sources = [one.source for one in evaluations]
    _cells.check_names(labels, {one.name for one in evaluations}, sources, "data set")
    wanted = [one for one in evaluations if labels is None or one.name in labels]
    kept, notes = _cells.without_repeats(wanted, repeats)
    cells, pooled = table_of(kept, labels)
    table, more = assembled(cells, llms, chance, sources)
    notes += pooled + more
    return Reading(table, FORMAT, len(evaluations), notes, folder.faults, files=sources)


def _evaluation(path: Path, source: str) -> Evaluation:
    """Read one file; what its name says is held against what it holds."""
    said = _NAME.fullmatch(path.name)
    if said is None:
        raise FileFormatError(f"the name is not of the form {_PATTERN}.")
    top = _json.Fields(_json.load(path))
    n_shots, seed = top.count("n_shots"), top.count("local_seed")
    pairs = {
        "name": (top.text("name"), said["dataset"]),
        "n_shots": (n_shots, int(said["shots"])),
        "local_seed": (seed, int(said["seed"])),
    }
    for key, (inside, outside) in pairs.items():
        if inside != outside:
            raise FileFormatError(
                f"key `{key}` is {inside!r}, but the file's name has {outside!r}."
            )
    metric = top.text("metric")
    if metric == "None":
        raise FileFormatError("key `metric` is 'None': these outputs were not scored.")
    score = top.number("metric_value", 0, 1)
    instances = top.items("instances")
    values = _column(instances, "metric_value", 0, 1)
    lengths = _column(instances, "prompt_length", 1, _MAX_TOKENS)
    mean = float(np.mean(values))
    if abs(mean - score) > ROUNDING:
        raise FileFormatError(
            f"key `metric_value` is {score:.6g}, but {len(values)} instances average {mean:.6g}."
        )
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    return Evaluation(
        name=said["dataset"],
        llm=_json.as_text(said["model"], "model (of the file's name)"),
        metric=metric,
        score=score,
        source=source,
        n_items=len(values),
        n_correct=int(values.sum()) if binary else None,
        prompts=Prompts.of(lengths),
        shots=n_shots,
        seed=seed,
        variant=said["config"] or "",
    )


def _column(instances: list[Any], key: str, low: float, high: float) -> np.ndarray:
    """One number of every instance. All at once if they are sound, one by one to find the fault."""
    try:
        found = [instance[key] for instance in instances]
        if set(map(type, found)) <= {int, float}:
            values = np.array(found, dtype=np.float64)
            if ((values >= low) & (values <= high)).all():
                return values
    except (KeyError, TypeError, IndexError, OverflowError):
        pass  # said below, with the number of the instance
    one_by_one = (_json.Fields(v, f"instances[{i}]") for i, v in enumerate(instances))
    return np.array([instance.number(key, low, high) for instance in one_by_one])
