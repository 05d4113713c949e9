"""The schema of observations: every variable, its unit, its range, in words and in numbers.

The checks, the variable attributes and the documentation all read this one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

OBS_DIM = "obs_id"
"""Name of the one dimension of observations and of prediction targets."""


@dataclass(frozen=True)
class Variable:
    """One variable of the schema.

    Attributes
    ----------
    name : str
        Canonical name, also the name of the variable in the Dataset.
    kind : str
        ``"number"`` (stored as float64) or ``"label"`` (stored as text).
    status : str
        ``"required"``, ``"optional"``, or ``"alternative"`` (may stand in for a required one).
        `CONTEXT` are required where a law of context is to be fitted.
    units : str
        Unit, as written to the ``units`` attribute.
    long_name : str
        One line that says what it is, as written to the ``long_name`` attribute.
    low, high : float
        Smallest and largest allowed number.
    low_open, high_open : bool
        Whether that end is itself excluded.
    whole : bool
        Whether only whole numbers are allowed.
    blank : bool
        Whether single rows may be blank (meaning: unknown).

    Examples
    --------
    >>> from bayes_ctxlaw.schema import SCHEMA
    >>> SCHEMA["chance"].allowed
    'a number, at least 0 and below 1'
    """

    name: str
    kind: str
    status: str
    units: str
    long_name: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    whole: bool = False
    blank: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words, for messages and documentation."""
        if self.kind == "label":
            return "text, not empty, without spaces at either end"
        words = []
        if self.low > -math.inf:
            words.append(f"{'above' if self.low_open else 'at least'} {self.low:g}")
        if self.high < math.inf:
            words.append(f"{'below' if self.high_open else 'at most'} {self.high:g}")
        text = f"a {'whole ' if self.whole else ''}number, " + " and ".join(words)
        return text + (", or blank for unknown" if self.blank else "")


def _positive(name: str, status: str, units: str, long_name: str, blank: bool = False) -> Variable:
    return Variable(name, "number", status, units, long_name, low=0, low_open=True, blank=blank)


_VARIABLES = (
    Variable("score", "number", "required", "1", "mean score of the cell", low=0, high=1),
    Variable("task", "label", "required", "label", "task that was evaluated"),
    Variable("llm", "label", "required", "label", "checkpoint that was evaluated"),
    _positive("compute", "required", "FLOP", "training compute of the checkpoint"),
    _positive("prompt_tokens", "required", "tokens", "mean prompt length of the cell"),
    _positive("context_window", "required", "tokens", "context window of the checkpoint"),
    Variable(
        "n_items",
        "number",
        "optional",
        "items",
        "items behind the score",
        1,
        whole=True,
        blank=True,
    ),
    Variable("n_correct", "number", "optional", "items", "items right", 0, whole=True, blank=True),
    Variable("family", "label", "optional", "label", "model family"),
    Variable("technique", "label", "optional", "label", "context-extension technique"),
    Variable(
        "prompt_tokens_sd",
        "number",
        "optional",
        "tokens",
        "standard deviation of prompt lengths inside the cell",
        low=0,
        blank=True,
    ),
    Variable(
        "chance", "number", "optional", "1", "score of pure guessing", 0, high=1, high_open=True
    ),
    _positive("n_params", "alternative", "parameters", "parameters of the checkpoint", True),
    _positive("train_tokens", "alternative", "tokens", "pre-training tokens", True),
    Variable(
        "extension_tokens",
        "number",
        "alternative",
        "tokens",
        "further tokens trained on to extend the context window",
        low=0,
        blank=True,
    ),
    _positive("task_loss", "optional", "bits/byte", "loss on the right answers", True),
    _positive(
        "checkpoint_tokens",
        "optional",
        "tokens",
        "tokens seen by a checkpoint in the middle of its run; blank at the end of the run",
        True,
    ),
)

SCHEMA: MappingProxyType[str, Variable] = MappingProxyType({v.name: v for v in _VARIABLES})
"""Every canonical variable by name, in the order of the Dataset."""

NUMBERS = tuple(v.name for v in _VARIABLES if v.kind == "number")
LABELS = tuple(v.name for v in _VARIABLES if v.kind == "label")
REQUIRED = tuple(v.name for v in _VARIABLES if v.status == "required")

CONTEXT = ("prompt_tokens", "context_window")
"""Required variables that only a law of context needs: tables of training runs do without."""

CARRIED = ("shots", "metric", "source", "seed")
"""Names that are carried along untouched and are common enough to be mapped by keyword."""

LETTER_FOR_LETTER = (*LABELS, "metric", "source")
"""What a reader of text is to take as text: "01" is not "1"."""

ASSUMED = "not given, taken as 0"
"""Attribute ``comment`` of a ``chance`` that nobody stated; a fit knows that of its tasks."""

PREDICTED = ("mean", "sd", "median", "lower", "upper", "point", "extrapolation", "samples")
"""Variables that a prediction adds to its points."""

TAKEN = ("axis", "chain", "draw", "extrapolation", "fold", "forecaster", "form", "level", "samples")
"""Names that predictions and backtests have for their own: a column cannot have them."""

COUNT_METRICS = ("accuracy", "acc", "exact_match", "exact match", "pass@1")
"""Metrics, in lower case, whose score must be a whole number of items over `n_items`."""

OTHER_NAMES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "score": ("accuracy", "acc", "value", "result", "performance"),
        "task": ("benchmark", "dataset", "tasks", "eval"),
        "llm": ("model", "model_name", "checkpoint", "models"),
        "compute": ("flops", "training_flops", "train_flops", "c"),
        "prompt_tokens": ("n_pmt", "n_prompt_tokens", "prompt_length", "input_tokens", "length"),
        "context_window": ("n_ctx", "context", "context_length", "window", "max_position"),
    }
)
"""What others call a required variable. Only ever used to suggest, never to guess."""


def is_assumed(chance: np.ndarray, attrs: Mapping[str, Any]) -> bool:
    """Whether a chance level is the 0 that stands where nobody stated one.

    Parameters
    ----------
    chance : ndarray
        Of every row.
    attrs : mapping
        Attributes of the variable.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_assumed(np.zeros(2), {"units": "1"})
    False
    """
    # Arithmetic may keep attributes, so that the comment alone does not tell.
    return attrs.get("comment") == ASSUMED and not np.any(chance)


def schema_table() -> pd.DataFrame:
    """Return the schema as a table, one row a variable, for documentation and for a first look.

    Returns
    -------
    pandas.DataFrame
        Index ``name``; columns ``status``, ``kind``, ``units``, ``allowed``, ``description``.

    Examples
    --------
    >>> from bayes_ctxlaw.schema import schema_table
    >>> schema_table().loc["prompt_tokens", "units"]
    'tokens'
    """
    rows = [(v.name, v.status, v.kind, v.units, v.allowed, v.long_name) for v in _VARIABLES]
    columns = ["name", "status", "kind", "units", "allowed", "description"]
    return pd.DataFrame(rows, columns=columns).set_index("name")
