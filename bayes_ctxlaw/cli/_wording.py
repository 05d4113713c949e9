"""Advice in messages, as options of commands."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from shlex import quote

from bayes_ctxlaw._wording import Wording

_OPTIONS = {
    "count_tokens": "--tokenizer",
    "labels": "--label",
    "level": "LEVEL",  # of contrast, which has no name but a place
    "levels": "--level",
    "random_seed": "--seed",
    "tasks": "--task",
}
"""Options that are not called as the argument is."""

_SPLIT_OPTIONS = {
    "in_window=True": ["--in-window"],
    "in_window=False": ["--past-window"],
    "horizon='next'": [],
    "horizon='all'": ["--horizon all"],
}
"""Options of splits, by what is said of them in Python."""


class Options(Wording):
    """Advice as options of commands.

    Parameters
    ----------
    mapping : str
        The option that says how columns are called.
    """

    def __init__(self, mapping: str = "--map") -> None:
        self.mapping = mapping

    # --- tables -----------------------------------------------------------------------------------

    def tables(self) -> str:
        return "a CSV (.csv, .csv.gz) or Parquet (.parquet, .pq) file"

    def other_table(self) -> str:
        return "Convert any other file to one of these."

    def other_separator(self) -> str:
        return "Write it with commas, or as Parquet."

    def own_table(self) -> str:
        return "give its file to fit or backtest"

    def column(self, name: str, column: str | None = None) -> str:
        return f"{self.mapping} {quote(f'{name}={column or "COLUMN"}')}"

    def columns(self) -> str:
        return f"Write {self.mapping} NAME=COLUMN: the canonical name, and the name of your column."

    def in_pandas(self, code: str) -> str:
        return ""

    def no_context(self, target: bool) -> str:
        if target:
            return ""
        return "Of the commands, backtest and stack take a table without it, for some forecasters."

    # --- options ----------------------------------------------------------------------------------

    def argument(self, name: str, value: object = None) -> str:
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        if value is None:
            return option
        values = value if isinstance(value, list | tuple) else [value]
        return " ".join(f"{option} {_as_typed(one)}" for one in values)

    # --- fits and backtests -----------------------------------------------------------------------

    def save(self, what: str) -> str:
        return "bayes-ctxlaw fit"

    def load(self, what: str) -> str:
        return f"bayes_ctxlaw.{what}.load, in Python"

    def split(self, call: str) -> str:
        called = ast.parse(call, mode="eval").body
        if not isinstance(called, ast.Call):  # a name alone
            return call.replace("_", "-")
        name = ast.unparse(called.func).replace("_", "-")
        value, *labels = map(_typed, called.args)
        said = [f"--split {name}={','.join(value)}"]
        said += [f"--label {label}" for label in (labels[0] if labels else [])]
        for option in called.keywords:
            said += _SPLIT_OPTIONS[f"{option.arg}={ast.unparse(option.value)}"]
        return " ".join(said)

    def split_of_stack(self) -> str:
        return "Give --split with what to hold out, such as --split leave-out=llm."

    # --- predictions ------------------------------------------------------------------------------

    def points(self, name: str) -> str:
        return "--at or --set" if name == "at" else self.argument(name)

    def new_levels(self) -> str:
        return "--new-levels uncertainty"

    # --- checkpoints ------------------------------------------------------------------------------

    def list_of_models(self, count: int) -> str:
        return f"It holds {count} open models"

    def compute_of_others(self, extended: bool = False) -> str:
        more = " and `extension_tokens`" if extended else ""
        return f"give `compute`, or `n_params` and `train_tokens`{more}, in the table of --llms"

    def of_llm(self, variable: str, llm: str) -> str:
        return (
            f"give it by --llms, a CSV file with the columns `llm` (here {llm}) and `{variable}`."
        )

    def of_all_llms(self) -> str:
        return "give it for all in the table of --llms, or for none."

    def form_of_llms(self, fields: Sequence[str]) -> str:
        return f"Columns of that table are `llm`, as in the files, {', '.join(fields)}, source."

    # --- readers ----------------------------------------------------------------------------------

    def metric(self, examples: Sequence[str]) -> str:
        return (
            "Give one or several in order of preference, as "
            f"{' '.join(f'--metric {quote(name)}' for name in examples)}. To leave tasks out, name "
            "the others, each after a --task."
        )

    def no_score(self) -> str:
        return (
            "Read other tasks or metrics, by --task and --metric; or divide a percentage by 100, "
            "by --percent and the name of the metric."
        )

    def repeats(self) -> str:
        return (
            "give --repeats latest for the last run of each, where files have its time, or "
            "--repeats keep to count all of them as replicates."
        )

    def skip(self) -> str:
        return "--skip-broken"

    def skipped(self) -> str:
        return "they are named above"

    def count_tokens(self) -> str:
        return (
            "give --tokenizer tokenizer.json, that of the models; or write what is known with "
            "--incomplete, and fill in the column."
        )

    def add_column(self) -> str:
        return "Write what is known with --incomplete, and fill in the column."

    def chance(self, task: str) -> str:
        return f"--chance {quote(f'{task}=VALUE')}"


def _typed(value: ast.expr) -> list[str]:
    """A value, or those of a list, as one types them in a shell."""
    single = value.elts if isinstance(value, ast.List) else [value]
    return [
        quote(v.value)
        if isinstance(v, ast.Constant) and isinstance(v.value, str)
        else ast.unparse(v)
        for v in single
    ]


def _as_typed(value: object) -> str:
    """A value as one types it in a shell."""
    return f"{value:.10g}" if isinstance(value, float) else quote(str(value))
