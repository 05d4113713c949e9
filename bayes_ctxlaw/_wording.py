"""What to do about a fault, in the words of whoever called: here, as arguments of Python.

What is wrong is the same however the package is used. What to do about it is not: where a function
has an argument, a command has an option of another form. So a message takes its advice from
`wording()`, and who is not called from Python says so around the call:

>>> class Shouted(Wording):
...     def column(self, name, column):
...         return f"{name.upper()}!"
>>> with worded(Shouted()):
...     wording().column("llm", "model")
'LLM!'
>>> wording().column("llm", "model")
"llm='model'"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar


class Wording:
    """Advice as arguments of Python; a subclass has the same in other words.

    Each method gives a part of a message. Those that end a sentence end in a full stop.
    """

    # --- tables -----------------------------------------------------------------------------------

    def tables(self) -> str:
        """Name what can be read as a table."""
        return (
            "a pandas DataFrame, a path to a CSV (.csv, .csv.gz) or Parquet (.parquet, .pq) file, "
            "an xarray Dataset, or a list of dicts"
        )

    def other_table(self) -> str:
        """Say what to do with a file of another kind."""
        return "Read any other file with pandas or xarray and pass the DataFrame or Dataset."

    def other_separator(self) -> str:
        """Say what to do with a CSV file that has no commas."""
        return "Read it with pandas.read_csv(path, sep=...) and pass the DataFrame."

    def own_table(self) -> str:
        """Say how a table is read that is not bundled."""
        return "use as_observations"

    def column(self, name: str, column: str | None = None) -> str:
        """Say that a column, or one to be named, holds what the package calls `name`."""
        return f"{name}={column or '…'!r}"

    def columns(self) -> str:
        """Say how columns are told."""
        return "Write: canonical name = name of your column."

    def in_pandas(self, code: str) -> str:
        """Show how pandas changes a table, after a comma; or nothing."""
        return f", for instance by {code}"

    def no_context(self, target: bool) -> str:
        """Say who takes a table without prompts, of scores or of points to predict; or nothing."""
        return "Training runs for a TaskLadder have none: needs_context=False."

    # --- options ----------------------------------------------------------------------------------

    def argument(self, name: str, value: object = None) -> str:
        """Name an argument, with its value if it is to be seen."""
        return name if value is None else f"{name}={value!r}"

    # --- fits and backtests -----------------------------------------------------------------------

    def save(self, what: str) -> str:
        """Name what writes the fit of a class to a file."""
        return f"{what}.save"

    def load(self, what: str) -> str:
        """Name what reads the fit of a class from a file."""
        return f"bayes_ctxlaw.{what}.load"

    def split(self, call: str) -> str:
        """Name a split, or several in one text, which is given as a call of Python."""
        return call

    def split_of_stack(self) -> str:
        """Say how a stack is told what to hold out."""
        return 'Give stack(..., split=) what to hold out, such as splits.leave_out("llm").'

    # --- predictions ------------------------------------------------------------------------------

    def points(self, name: str) -> str:
        """Name the argument that holds points to predict."""
        return f"`{name}`"

    def new_levels(self) -> str:
        """Say that labels may be new."""
        return 'new_levels="uncertainty"'

    # --- checkpoints ------------------------------------------------------------------------------

    def list_of_models(self, count: int) -> str:
        """Say where the models of the registry are listed."""
        return f"list_models() shows all {count}"

    def compute_of_others(self, extended: bool = False) -> str:
        """Say how the compute of another model is told, after "use" or the like."""
        more = ", extension_tokens" if extended else ""
        return f"use training_flops(n_params, train_tokens{more})"

    def of_llm(self, variable: str, llm: str) -> str:
        """Tell a variable of a checkpoint."""
        return f"give it by llm, as llms={{{llm!r}: {{{variable!r}: …}}}}."

    def of_all_llms(self) -> str:
        """Tell for all checkpoints what is known of some."""
        return "give it for all by llms=..., or drop the column of .table."

    def form_of_llms(self, fields: Sequence[str]) -> str:
        """Say what ``llms`` is to look like."""
        return (
            "Write llms={name as in the files: {variable: value}}; variables are "
            f"{', '.join(fields)}."
        )

    # --- readers ----------------------------------------------------------------------------------

    def metric(self, examples: Sequence[str]) -> str:
        """Say which metric is the score; the examples would do for all tasks."""
        shown = examples[0] if len(examples) == 1 else list(examples)
        return (
            f"Give one or several in order of preference, as metric={shown!r}; or one for each "
            "task, as a dict. To leave tasks out, name the others as tasks=[…]."
        )

    def no_score(self) -> str:
        """Say what to do about metrics that are no scores."""
        return (
            "Leave such tasks out by tasks=[…]; or say how to convert a metric, as "
            'convert={"bleu": lambda value: value / 100}.'
        )

    def repeats(self) -> str:
        """Say what to do about evaluations that are there twice."""
        return (
            'give repeats="latest" for the last run of each, where files have its time, or '
            'repeats="keep" to count all of them as replicates.'
        )

    def skip(self) -> str:
        """Say how to read the rest where files are broken, after "read the rest with"."""
        return 'on_error="skip"'

    def skipped(self) -> str:
        """Say where the files that were skipped are named."""
        return "see .skipped"

    def count_tokens(self) -> str:
        """Say how the tokens of logged prompts become known."""
        return (
            "give count_tokens=..., a function that counts the tokens of a text, such as "
            "lambda text: len(tokenizer(text).input_ids); or add the column to .table."
        )

    def add_column(self) -> str:
        """Say how to add what files do not say."""
        return "Add the column to .table."

    def chance(self, task: str) -> str:
        """Tell the score of guessing in a task."""
        return f"chance={{{task!r}: …}}"


PYTHON = Wording()
_SPOKEN: ContextVar[Wording] = ContextVar("wording", default=PYTHON)


def wording() -> Wording:
    """Return the wording in force."""
    return _SPOKEN.get()


@contextmanager
def worded(words: Wording) -> Iterator[None]:
    """Give advice in other words inside of a with statement.

    Parameters
    ----------
    words : Wording
    """
    token = _SPOKEN.set(words)
    try:
        yield
    finally:
        _SPOKEN.reset(token)
