"""What a backtest holds out, as text: ``"beyond-context=10000"`` → ``splits.beyond_context``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

SPLITS = {
    "beyond-context": "=TOKENS",
    "beyond-compute": "=FLOP",
    "beyond-window": "[=RATIO]",
    "longest-in-window": "[=SHARE]",
    "rolling-context": "=TOKENS,TOKENS,…",
    "rolling-compute": "=FLOP,FLOP,…",
    "leave-out": "=LEVEL",
}
"""Splits by name, with what follows; what is in brackets may be left out."""

_FORMS = ", ".join(f"{name}{value}" for name, value in SPLITS.items())


class Horizon(StrEnum):
    """How far a rolling split predicts."""

    NEXT = "next"
    ALL = "all"


Labels = Annotated[
    list[str] | None,
    typer.Option("--label", help="leave-out: a label to leave out. May be repeated. Default: all."),
]
InWindow = Annotated[
    bool,
    typer.Option(
        "--in-window",
        help="beyond-context, rolling-context: predict only prompts that fit their window.",
    ),
]
PastWindow = Annotated[
    bool,
    typer.Option(
        "--past-window",
        help="beyond-context, rolling-context: predict only prompts that exceed their window.",
    ),
]
HorizonName = Annotated[
    Horizon | None,
    typer.Option(
        help="rolling-context, rolling-compute: predict up to the next value, or all beyond. "
        "[default: next]"
    ),
]


def inside(in_window: bool, past_window: bool) -> bool | None:
    """What a split predicts: prompts that fit their window, that exceed it, or both.

    Raises
    ------
    typer.BadParameter
        Both options are given.
    """
    if in_window and past_window:
        raise typer.BadParameter(
            "give one of the two, or neither for both", param_hint="--in-window, --past-window"
        )
    return in_window if in_window or past_window else None


def split_of(
    text: str,
    labels: list[str] | None = None,
    in_window: bool | None = None,
    horizon: Horizon | None = None,
) -> Callable:
    """``"beyond-context=10000"`` → ``splits.beyond_context(10000.0)``.

    Raises
    ------
    typer.BadParameter
        There is no such split, or an option does not go with it.
    SpecificationError
        Its value is out of range.
    """
    from bayes_ctxlaw.validation import splits

    name, equals, value = text.partition("=")
    optional = SPLITS.get(name, "").startswith("[")
    if name not in SPLITS or (equals and not value) or (not equals and not optional):
        raise typer.BadParameter(f"{text!r} is not one of {_FORMS}", param_hint="--split")
    if labels and name != "leave-out":
        raise typer.BadParameter("goes with --split leave-out=LEVEL", param_hint="--label")
    if in_window is not None and name not in ("beyond-context", "rolling-context"):
        raise typer.BadParameter(
            "goes with the splits beyond-context and rolling-context",
            param_hint="--in-window" if in_window else "--past-window",
        )
    if horizon is not None and not name.startswith("rolling"):
        raise typer.BadParameter(
            "goes with the splits rolling-context and rolling-compute", param_hint="--horizon"
        )
    function = getattr(splits, name.replace("-", "_"))
    if name == "leave-out":
        return function(value, labels)
    numbers = _numbers(text, value) if value else []
    arguments = [numbers] if name.startswith("rolling") else numbers
    if len(arguments) > 1:
        raise typer.BadParameter(f"{text!r}: give one number", param_hint="--split")
    options = {"in_window": in_window, "horizon": horizon and horizon.value}
    return function(*arguments, **{k: v for k, v in options.items() if v is not None})


def _numbers(text: str, value: str) -> list[float]:
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: {value!r} is not a number, such as 10000 or 1e24", param_hint="--split"
        ) from error
