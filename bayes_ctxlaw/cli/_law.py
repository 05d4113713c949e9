"""What commands that fit have in common: the options of a law, and where scores come from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from bayes_ctxlaw.cli._common import DATASET_PREFIX
from bayes_ctxlaw.law import (
    DILUTIONS,
    DISCREPANCIES,
    PENALTIES,
    SATURATIONS,
    ZERO_CONTEXTS,
    LawTerms,
)
from bayes_ctxlaw.likelihoods import LIKELIHOODS

Saturation = StrEnum("Saturation", {name: name for name in SATURATIONS})
Penalty = StrEnum("Penalty", {name: name for name in PENALTIES})
ZeroContext = StrEnum("ZeroContext", {name: name for name in ZERO_CONTEXTS})
Dilution = StrEnum("Dilution", {name: name for name in DILUTIONS})
Discrepancy = StrEnum("Discrepancy", {name: name for name in DISCREPANCIES})
Likelihood = StrEnum("Likelihood", {name: name for name in ("auto", *LIKELIHOODS)})

_DEFAULT = LawTerms()
CONTEXT_TERM = Saturation(_DEFAULT.context_term)
COMPUTE_TERM = Saturation(_DEFAULT.compute_term)
PENALTY = Penalty(_DEFAULT.penalty)
ZERO_CONTEXT = ZeroContext(_DEFAULT.zero_context)
DILUTION = Dilution(_DEFAULT.dilution)
DISCREPANCY = Discrepancy(_DEFAULT.discrepancy)

Scores = Annotated[
    str,
    typer.Argument(
        metavar="SCORES", help="CSV or Parquet file of scores, or dataset:NAME for a bundled one."
    ),
]
ContextTerm = Annotated[
    Saturation, typer.Option(help="Approach to the ceiling with prompt length.")
]
ComputeTerm = Annotated[Saturation, typer.Option(help="Approach to the ceiling with compute.")]
PenaltyTerm = Annotated[
    Penalty, typer.Option(help="What happens where the prompt outgrows the window.")
]
ZeroContextTerm = Annotated[
    ZeroContext, typer.Option(help="Whether a share of the context term needs no prompt.")
]
DilutionTerm = Annotated[
    Dilution, typer.Option(help="Whether the score may fall inside the window as it fills.")
]
DiscrepancyTerm = Annotated[
    Discrepancy,
    typer.Option(help="Whether tasks stray from the law along prompt length; auto: as scores say."),
]
LikelihoodName = Annotated[
    Likelihood, typer.Option(help="Observation model; auto chooses by the scores.")
]


Thin = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Sampler steps for every draw kept. [default: as many as are needed, 1 to 6]",
    ),
]


def options(**chosen: StrEnum) -> dict[str, str]:
    """Options of ``ContextLaw``: its words, not the members of the enumerations that hold them."""
    return {name: value.value for name, value in chosen.items()}


def observations(scores: str, names: dict[str, str], needs_context: bool = True) -> Any:
    """Scores of a file, or of a bundled table; with prompts and windows unless they are not needed.

    Raises
    ------
    typer.BadParameter
        Columns of a bundled table are to be renamed.
    BayesCtxlawError
        The table cannot be used.
    """
    from bayes_ctxlaw.datasets import load_dataset
    from bayes_ctxlaw.observations import as_observations

    if not scores.startswith(DATASET_PREFIX):
        return as_observations(scores, needs_context=needs_context, **names)
    if names:
        raise typer.BadParameter("a bundled table needs no mapping", param_hint="--map")
    return load_dataset(scores.removeprefix(DATASET_PREFIX))
