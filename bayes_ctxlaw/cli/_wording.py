"""Advice in messages, as options of commands."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from bayes_ctxlaw._wording import Wording

_OPTIONS = {
    "chance": "--chance",
    "count_tokens": "--tokenizer",
    "llms": "--llms",
    "metric": "--metric",
    "repeats": "--repeats",
    "shots": "--shots",
    "tasks": "--task",
}
"""Options of ``read`` by the arguments of the readers."""


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

    def no_context(self) -> str:
        return "Of the commands, only backtest takes a table without it, for some forecasters."

    # --- predictions ------------------------------------------------------------------------------

    def new_levels(self) -> str:
        return "--new-levels uncertainty"

    # --- checkpoints ------------------------------------------------------------------------------

    def list_of_models(self, count: int) -> str:
        return f"It holds {count} open models"

    def compute_of_others(self, extended: bool = False) -> str:
        more = " and `extension_tokens`" if extended else ""
        return f"give `compute`, or `n_params` and `train_tokens`{more}, in the table of --llms"

    def of_llm(self, variable: str, llm: str) -> str:
        return f"give it by --llms, a table with the columns `llm` (here {llm}) and `{variable}`."

    def of_all_llms(self) -> str:
        return "give it for all in the table of --llms, or for none."

    def form_of_llms(self, fields: Sequence[str]) -> str:
        return f"Columns of that table are `llm`, as in the files, {', '.join(fields)}, source."

    # --- readers ----------------------------------------------------------------------------------

    def argument(self, name: str, value: object = None) -> str:
        option = _OPTIONS[name]
        return option if value is None else f"{option} {value}"

    def metric(self, example: str) -> str:
        return (
            f"Give one, as --metric {quote(example)}; or several in order of preference, each "
            "after a --metric of its own."
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
