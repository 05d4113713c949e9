"""Forecasters by name, with the options that some of them have."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from bayes_ctxlaw._wording import worded
from bayes_ctxlaw.cli._wording import Options


class Forecaster(StrEnum):
    """What can be put to the test."""

    CONTEXT_LAW = "context-law"
    LEAST_SQUARES = "least-squares"
    LEAST_SQUARES_CENTRED = "least-squares-centred"
    LEAST_SQUARES_NO_PENALTY = "least-squares-no-penalty"
    COMPUTE_ONLY = "compute-only"
    NO_POOLING = "no-pooling"
    COMPLETE_POOLING = "complete-pooling"
    TASK_LADDER = "task-ladder"
    TASK_LADDER_PUBLISHED = "task-ladder-published"
    DIFFICULTY_CLUSTERS = "difficulty-clusters"
    DIFFICULTY_CLUSTERS_PUBLISHED = "difficulty-clusters-published"


DEFAULT = [Forecaster.CONTEXT_LAW, Forecaster.LEAST_SQUARES]
"""Those that are taken where none is named."""

Forecasters = Annotated[
    list[Forecaster] | None,
    typer.Option(
        metavar="NAME",
        help="One of the forecasters above. May be repeated. [default: context-law, least-squares]",
    ),
]
Items = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE",
        help="difficulty-clusters: pass counts, one row for every item and checkpoint: task, "
        "llm, compute, item, n_correct, n_samples.",
    ),
]
ItemsMap = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=COLUMN", help="As --map, for --items. May be repeated."),
]
Anchors = Annotated[
    list[str] | None,
    typer.Option(
        "--anchor",
        metavar="LLM",
        help="difficulty-clusters: a checkpoint of --items that only helps to map predictable "
        "items to all. May be repeated.",
    ),
]
LadderVariant = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="task-ladder: form of the ladder. [default: task_loss]"),
]
TokensPerParam = Annotated[
    float | None,
    typer.Option(help="task-ladder: D/N of runs of which only compute is known."),
]
Resamples = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="least-squares, compute-only, …-published: bootstrap resamples. [default: 200; "
        "difficulty-clusters-published: 100]",
    ),
]

_LEAST_SQUARES = {
    Forecaster.LEAST_SQUARES: {},
    Forecaster.LEAST_SQUARES_CENTRED: {"centred": True},
    Forecaster.LEAST_SQUARES_NO_PENALTY: {"penalty": False},
}
_LADDERS = {Forecaster.TASK_LADDER: "bayes", Forecaster.TASK_LADDER_PUBLISHED: "least_squares"}
_CLUSTERS = {
    Forecaster.DIFFICULTY_CLUSTERS: "bayesian",
    Forecaster.DIFFICULTY_CLUSTERS_PUBLISHED: "published",
}
_LAWS = (Forecaster.CONTEXT_LAW, Forecaster.NO_POOLING, Forecaster.COMPLETE_POOLING)
_BOOTSTRAPS = (
    *_LEAST_SQUARES,
    Forecaster.COMPUTE_ONLY,
    Forecaster.TASK_LADDER_PUBLISHED,
    Forecaster.DIFFICULTY_CLUSTERS_PUBLISHED,
)
_FEWEST = 50  # resamples of items


@dataclass(frozen=True)
class RivalOptions:
    """Options of some forecasters; None where they were not given.

    Attributes
    ----------
    items : path
        Table of pass counts, of clusters of items.
    item_columns : dict of str to str
        Canonical name → name of the column, of that table.
    anchors : list of str
    variant : str
        Of ladders, as is `tokens_per_param`.
    tokens_per_param : float
    resamples : int
        Of bootstraps.
    """

    items: Path | None = None
    item_columns: dict[str, str] = field(default_factory=dict)
    anchors: list[str] | None = None
    variant: str | None = None
    tokens_per_param: float | None = None
    resamples: int | None = None

    def check(self, names: list[Forecaster]) -> None:
        """Refuse options that no forecaster takes, and clusters without items.

        Raises
        ------
        typer.BadParameter
        """
        given = {
            "--items": (self.items, _CLUSTERS),
            "--items-map": (self.item_columns, _CLUSTERS),
            "--anchor": (self.anchors, _CLUSTERS),
            "--ladder-variant": (self.variant, _LADDERS),
            "--tokens-per-param": (self.tokens_per_param, _LADDERS),
            "--resamples": (self.resamples, _BOOTSTRAPS),
        }
        for option, (value, takers) in given.items():
            if value not in (None, {}, []) and not set(names) & set(takers):
                raise typer.BadParameter(
                    f"goes with the forecaster {' or '.join(takers)}", param_hint=option
                )
        if set(names) & set(_CLUSTERS) and self.items is None:
            raise typer.BadParameter(
                "a table of pass counts is what difficulty-clusters are made of",
                param_hint="--items",
            )
        few = Forecaster.DIFFICULTY_CLUSTERS_PUBLISHED in names and self.resamples is not None
        if few and self.resamples < _FEWEST:
            raise typer.BadParameter(
                f"difficulty-clusters-published wants at least {_FEWEST}", param_hint="--resamples"
            )
        if self.tokens_per_param is not None and not 0 < self.tokens_per_param < float("inf"):
            raise typer.BadParameter(
                f"{self.tokens_per_param:g} is not above 0; many models have 20 or more",
                param_hint="--tokens-per-param",
            )
        for name in names:
            if self.variant and name in _LADDERS:
                _check_variant(name, self.variant)


def _check_variant(name: Forecaster, variant: str) -> None:
    from bayes_ctxlaw.rivals.ladder.task_ladder import METHODS

    known = METHODS[_LADDERS[name]]
    if variant not in known:
        raise typer.BadParameter(
            f"{variant!r} is no variant of {name}; there are {', '.join(known)}",
            param_hint="--ladder-variant",
        )


def forecasters(
    names: list[Forecaster], law: dict[str, str], options: RivalOptions
) -> dict[str, Any]:
    """Make forecasters, by their names.

    Parameters
    ----------
    names : list of Forecaster
    law : dict of str to str
        Options of ``ContextLaw``, pooled in whatever way.
    options : RivalOptions

    Raises
    ------
    BayesCtxlawError
        An option is out of range, or the items are at fault.
    """
    from bayes_ctxlaw import rivals

    items = None
    if options.items is not None:
        with worded(Options(mapping="--items-map")):
            items = rivals.as_items(options.items, **options.item_columns)
    return {name.value: _made(name, law, options, items) for name in names}


def fit_options(made: dict[str, Any], options: dict[str, int | None]) -> dict[str, int]:
    """The options that the fit of any forecaster has, for ``backtest`` refuses others.

    Raises
    ------
    typer.BadParameter
        ``--thin`` was given for nothing: it has no default that would go unnoticed.
    """
    known = {name for one in made.values() for name in signature(one.fit).parameters}
    if options["thin"] is not None and "thin" not in known:
        raise typer.BadParameter("no forecaster here has such steps", param_hint="--thin")
    return {k: v for k, v in options.items() if k in known and v is not None}


def _made(name: Forecaster, law: dict[str, str], options: RivalOptions, items: Any) -> Any:
    from bayes_ctxlaw import rivals
    from bayes_ctxlaw.context_law import ContextLaw

    own = {} if options.resamples is None else {"resamples": options.resamples}
    if name in _LAWS:
        laws = (ContextLaw, rivals.NoPoolingLaw, rivals.CompletePoolingLaw)
        return dict(zip(_LAWS, laws, strict=True))[name](**law)
    if name in _LEAST_SQUARES:
        return rivals.LeastSquaresLaw(**_LEAST_SQUARES[name], **own)
    if name in _LADDERS:
        own |= {"tokens_per_param": options.tokens_per_param}
        own |= {} if options.variant is None else {"variant": options.variant}
        return rivals.TaskLadder(_LADDERS[name], **own)
    if name in _CLUSTERS:
        # What a bootstrap draws anew; draws of a posterior are another matter.
        draws = options.resamples if name in _BOOTSTRAPS else None
        return rivals.DifficultyClusters(items, _CLUSTERS[name], options.anchors, draws)
    return rivals.ComputeOnlyLaw(**own)
