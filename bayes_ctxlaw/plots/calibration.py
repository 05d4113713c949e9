"""Nominal against observed coverage of the forecasts of a backtest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.judgement import interval_name
from bayes_ctxlaw.plots import _axes, _style
from bayes_ctxlaw.validation.coverage import coverage_table
from bayes_ctxlaw.validation.result import Backtest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = 0.036  # along x of the forecasters at one probability; 0.9 and 0.95 must keep apart


def plot_calibration(
    result: Backtest,
    *,
    ci_prob: float = 0.9,
    cluster: str = "llm",
    width: bool = True,
    axes: Any = None,
) -> np.ndarray:
    """Plot how many held-out scores lie inside their intervals against how many should.

    Above the diagonal intervals are too wide, below it too narrow. Bars say how far chance alone
    may have moved a share; they allow for dependence between the scores of one checkpoint, so with
    few checkpoints they are long. The second panel shows what coverage was bought with: of two
    forecasters at the line, the one further left knows more.

    Parameters
    ----------
    result : Backtest
    ci_prob : float
        Confidence of the bars.
    cluster : str
        Label whose rows are not independent of each other; ``"family"`` is stricter.
    width : bool
        Whether to draw the second panel, coverage against mean width at the probability of the
        backtest.
    axes : Axes or array of Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One or two. ``axes[0].figure`` is the figure.

    Raises
    ------
    SpecificationError
        No forecaster has intervals, an option is unknown, or there are more than can be told
        apart by colour.

    Notes
    -----
    ``bayes_ctxlaw.validation.coverage.coverage_table`` gives what is drawn as a DataFrame. A
    forecaster without intervals is left out; one without draws has a single point.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> result = bcl.backtest(
    ...     {"least squares": bcl.rivals.LeastSquaresLaw(resamples=10)},
    ...     obs, bcl.splits.longest_in_window(), random_seed=1, progressbar=False,
    ... )
    >>> axes = plot_calibration(result)
    >>> axes[0].get_xlabel()
    'probability of the equal-tailed interval (response)'
    """
    _axes.check_given("result", result, Backtest, "backtest")
    table = coverage_table(result, ci_prob, cluster)
    names = list(dict.fromkeys(table.index.get_level_values("forecaster")))
    if not names:
        raise SpecificationError("no forecaster of this backtest has intervals to draw.")
    if len(names) > _style.MAX_COLOURS:
        raise SpecificationError(
            f"there are {len(names)} forecasters; at most {_style.MAX_COLOURS} colours can be told "
            "apart. Put fewer into the backtest."
        )
    drawn, new = _axes.panel_axes(1 + bool(width), axes)
    if new:
        drawn[0].figure.set_figheight(4.2)
    _draw_shares(drawn[0], table, names, result)
    if width:
        _draw_widths(drawn[1], table, names, result)
    _style.add_legend(drawn, _legend(names, ci_prob, cluster), new)
    return drawn


def _draw_shares(ax: Axes, table: pd.DataFrame, names: list[str], result: Backtest) -> None:
    ax.plot([0, 1], [0, 1], color="0.35", linewidth=0.9, zorder=1)
    apart = min(0.012, _SPREAD / len(names))
    for number, name in enumerate(names):
        rows = table.loc[name]
        at = rows.index.to_numpy() + apart * (number - (len(names) - 1) / 2)
        ax.plot(at, rows["coverage"], color=_style.COLOURS[number], linewidth=0.9, alpha=0.6)
        _draw_points(ax, at, rows, number)
    stated = np.unique(table.index.get_level_values("probability"))
    ax.set_xticks(stated, labels=[f"{level:g}" for level in stated])
    ax.set(xlim=(max(0.0, stated[0] - 0.06), 1.0), ylim=_ends(table))
    attrs = result.predictions.attrs
    kind = " ".join(f"{attrs.get('ci_kind', '')} interval".split())
    ax.set_xlabel(f"probability of the {kind} ({attrs.get('prediction_kind', 'prediction')})")
    ax.set_ylabel("share of held-out scores inside")
    _axes.finish_panel(ax, grid="both")


def _draw_widths(ax: Axes, table: pd.DataFrame, names: list[str], result: Backtest) -> None:
    own = result.predictions.attrs["ci_prob"]
    ax.axhline(own, color="0.35", linewidth=0.9, zorder=1)
    widths = result.predictions["width"].mean("obs_id")
    for number, name in enumerate(names):
        rows = table.loc[name].loc[[own]]
        _draw_points(ax, np.array([widths.sel(forecaster=name).item()]), rows, number)
    ax.set_xlim(0.0, 1.15 * float(widths.max()))
    ax.set_ylim(_ends(table))
    ax.set_xlabel(f"mean width of the {interval_name(result.predictions)}")
    ax.set_ylabel("share of held-out scores inside")
    _axes.finish_panel(ax, grid="both")


def _ends(table: pd.DataFrame) -> tuple[float, float]:
    """Ends of the share of scores, the same in both panels."""
    return max(-0.02, table["lower"].min() - 0.05), 1.02


def _draw_points(ax: Axes, at: np.ndarray, rows: pd.DataFrame, number: int) -> None:
    colour = _style.COLOURS[number]
    ax.vlines(at, rows["lower"], rows["upper"], color=colour, linewidth=1.4, alpha=0.75)
    style = {"marker": _style.MARKERS[number], "markersize": 6, "markeredgecolor": "white"}
    ax.plot(at, rows["coverage"], color=colour, linestyle="none", zorder=3, **style)


def _legend(names: list[str], ci_prob: float, cluster: str) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_style.COLOURS[i], marker=_style.MARKERS[i], markersize=6, label=name)
        for i, name in enumerate(names)
    ]
    bars = f"{100 * ci_prob:g} % confidence, clustered by {cluster}"
    handles.append(Line2D([], [], color="0.35", linewidth=1.4, marker="|", linestyle="none",
                          markersize=11, label=bars))  # fmt: skip
    handles.append(Line2D([], [], color="0.35", linewidth=0.9, label="stated probability"))
    return handles
