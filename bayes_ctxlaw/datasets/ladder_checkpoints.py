"""Checkpoints of the ladder's runs, from files that the user has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import xarray as xr

from bayes_ctxlaw.datasets import load_dataset
from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.observations import as_observations

MMLU_WEIGHTS = {
    "mmlu_stem_test": 0.215,
    "mmlu_humanities_test": 0.335,
    "mmlu_social_sciences_test": 0.219,
    "mmlu_other_test": 0.231,
}
KEYS = {
    "MMLU": MMLU_WEIGHTS,
    "HellaSwag": {"hellaswag_val": 1.0},
    "ARC-Challenge": {"arc_challenge_test": 1.0},
    "ARC-Easy": {"arc_easy_test": 1.0},
    "PIQA": {"piqa_val": 1.0},
    "CommonsenseQA": {"csqa_val": 1.0},
    "Social IQa": {"socialiqa_val": 1.0},
    "OpenBookQA": {"openbookqa_test": 1.0},
}
"""What the files call a task, with weights where it is pooled."""

COLUMNS = {
    "score": ("eval/downstream/{}_rc_5shot_len_norm", 1.0),
    "task_loss": ("eval/downstream_bpb/{}_rc_5shot_bpb", 1.0),
    "task_cross_entropy": ("eval/downstream_soft_log/{}_rc_5shot_soft_log", -1.0),
}
_C4 = "eval/c4_en-validation/CrossEntropyLoss"
_TOKENS = "throughput/total_tokens"


def load_ladder_checkpoints(
    folder: str | os.PathLike[str], sha256: Mapping[str, str] | None = None
) -> xr.Dataset:
    """Read every checkpoint of the 16 training runs of ``load_dataset("ladder")``.

    Parameters
    ----------
    folder : path
        Where the files of the runs are, ``190M-1xC.csv`` to ``1B-10xC.csv``: one row a checkpoint,
        columns as in github.com/allenai/OLMo-ladder, ``src/scripts/paper/data``.
    sha256 : mapping of str to str, optional
        Checksum that each file must have, by its name.

    Returns
    -------
    xarray.Dataset
        The 16 runs of the bundled table, followed by their checkpoints, which have
        ``checkpoint_tokens``.

    Raises
    ------
    FileFormatError
        Files are missing, lack a column, or have another checksum; all of them in one message.
    """
    ends = load_dataset("ladder").to_dataframe()
    ends = ends[ends["role"] == "train"]
    found, faults = [ends], []
    for llm, end in ends.groupby("llm", sort=False):
        path = Path(folder) / f"{llm}.csv"
        if fault := _fault(path, (sha256 or {}).get(path.name)):
            faults.append(fault)
            continue
        table = pd.read_csv(path)
        wanted = [
            _TOKENS,
            *(c.format(k) for c, _ in COLUMNS.values() for t in KEYS.values() for k in t),
        ]
        if lacking := [c for c in wanted if c not in table]:
            faults.append(f"{path.name} has no column {', '.join(lacking[:3])}")
            continue
        found += [_rows(table, task) for _, task in end.iterrows()]
    if faults:
        raise FileFormatError(f"The ladder's checkpoints cannot be read: {'; '.join(faults)}.")
    return as_observations(pd.concat(found, ignore_index=True), needs_context=False)


def _fault(path: Path, expected: str | None) -> str:
    if not path.is_file():
        return f"{path.name} is not in the folder"
    if expected is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != expected.lower():
            return f"{path.name} has the checksum {digest}, not {expected}"
    return ""


def _rows(table: pd.DataFrame, end: pd.Series) -> pd.DataFrame:
    """Checkpoints of a run on a task, beside what they share with the end of the run."""
    rows = {name: end[name] for name in end.index}
    for name, (column, sign) in COLUMNS.items():
        keys = KEYS[end["task"]].items()
        rows[name] = sign * sum(weight * table[column.format(key)] for key, weight in keys)
    rows["c4_loss"] = table[_C4] if _C4 in table else float("nan")
    rows["metric"] = "ranked choice"
    return pd.DataFrame(rows | {"checkpoint_tokens": table[_TOKENS]})
