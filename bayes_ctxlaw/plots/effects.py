"""Effects of labels on the parameters of the law: forest plot and table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayes_ctxlaw.encoding import level_dim
from bayes_ctxlaw.errors import NotFittedError, SpecificationError
from bayes_ctxlaw.law import PARAMETERS, PARTING, natural
from bayes_ctxlaw.plots import _axes, _style
from bayes_ctxlaw.predict import fault_of_probability, is_probability
from bayes_ctxlaw.summary import SYMBOLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ("effect", "value")
MAX_LABELS = 60
_INNER_PROB = 0.5


def effects_table(
    law: Any,
    parameter: str | None = None,
    level: str = "task",
    ci_prob: float = 0.9,
    *,
    show: str = "effect",
) -> pd.DataFrame:
    """Tabulate what the labels of a level do to the parameters of a fitted law.

    Parameters
    ----------
    law, parameter, level, ci_prob, show
        As in `plot_effects`.

    Returns
    -------
    pandas.DataFrame
        Index ``parameter``, ``label``; columns ``median``, ``lower``, ``upper`` (equal-tailed, at
        `ci_prob`), ``inner_lower``, ``inner_upper`` (equal-tailed, at 50 %) and, for effects,
        ``p_positive``, the posterior probability that the effect is above zero.

    Raises
    ------
    SpecificationError, NotFittedError
        As in `plot_effects`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from types import SimpleNamespace
    >>> effect = xr.DataArray(np.linspace(-1, 1, 202).reshape(1, 101, 2),
    ...                       dims=("chain", "draw", "task"), coords={"task": ["qa", "maths"]})
    >>> posterior = xr.Dataset({"A_task": effect})
    >>> law = SimpleNamespace(idata=xr.DataTree.from_dict({"posterior": posterior}))
    >>> table = effects_table(law)
    >>> list(table.index)
    [('A', 'qa'), ('A', 'maths')]
    """
    if show not in SHOWN:
        raise SpecificationError(f"show={show!r} is not one of {', '.join(map(repr, SHOWN))}.")
    if not is_probability(ci_prob):
        raise SpecificationError(f"{fault_of_probability('ci_prob', ci_prob)}.")
    posterior = _posterior(law)
    tail, inner = (1 - ci_prob) / 2, (1 - _INNER_PROB) / 2
    parts = []
    for name in _parameters(posterior, parameter, level):
        draws = posterior[f"{name}_{level_dim(level)}"]
        positive = (draws > 0).mean(("chain", "draw"))
        if show == "value":
            draws = draws + posterior[f"mu_{name}"]
            draws = natural(name, draws)
        low, inner_low, median, inner_high, high = draws.quantile(
            [tail, inner, 0.5, 1 - inner, 1 - tail], dim=("chain", "draw")
        ).values
        part = pd.DataFrame(
            {
                "parameter": name,
                "label": draws[level_dim(level)].values,
                "median": median,
                "lower": low,
                "upper": high,
                "inner_lower": inner_low,
                "inner_upper": inner_high,
            }
        )
        if show == "effect":
            part["p_positive"] = positive.values
        parts.append(part)
    return pd.concat(parts).set_index(["parameter", "label"])


def plot_effects(
    law: Any,
    parameter: str | None = None,
    level: str = "task",
    ci_prob: float = 0.9,
    *,
    show: str = "effect",
    axes: Any = None,
) -> np.ndarray:
    """Plot what the labels of a level do to the parameters of a fitted law, as a forest.

    A dot is the posterior median, the thick line the 50 % and the thin line the `ci_prob`
    interval, both equal-tailed. Labels are sorted by the median of the first parameter drawn.

    Parameters
    ----------
    law : ContextLaw
        Fitted.
    parameter : str, optional
        One of ``A``, ``alpha``, ``B``, ``beta``, ``kappa``, ``delta``; by default all those on
        which the level has effects, a panel each.
    level : str
        ``"task"``, ``"family"``, ``"technique"``, ``"llm"``, or an interaction of the fit such as
        ``"task:technique"``.
    ci_prob : float
        Probability of the wide interval.
    show : {"effect", "value"}
        The effect itself, on the log scale (rho: the log-odds; eta: the log-odds of eta / 2; kappa:
        the log of kappa - 2; delta: natural log units of the window, a quarter of which counts
        below 0), or the value of the parameter with this effect and all other effects at zero.
    axes : Axes or array of Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One for each parameter. ``axes[0].figure`` is the figure.

    Raises
    ------
    SpecificationError
        The fit has no such effects, or an option is unknown.
    NotFittedError
        The law has not been fitted.

    Notes
    -----
    `effects_table` gives what is drawn as a DataFrame.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from types import SimpleNamespace
    >>> effect = xr.DataArray(np.linspace(-1, 1, 202).reshape(1, 101, 2),
    ...                       dims=("chain", "draw", "task"), coords={"task": ["qa", "maths"]})
    >>> posterior = xr.Dataset({"A_task": effect})
    >>> law = SimpleNamespace(idata=xr.DataTree.from_dict({"posterior": posterior}))
    >>> axes = plot_effects(law)
    >>> axes[0].get_xlabel()
    'effect on log A'
    """
    table = effects_table(law, parameter, level, ci_prob, show=show)
    names = list(dict.fromkeys(table.index.get_level_values("parameter")))
    labels = table.loc[names[0]]["median"].sort_values().index.tolist()
    if len(labels) > MAX_LABELS:
        raise SpecificationError(
            f"`{level}` has {len(labels)} labels; at most {MAX_LABELS} can be read in one figure. "
            "See effects_table for all of them."
        )
    drawn, new = _forest_axes(len(names), len(labels), axes)
    for ax, name in zip(drawn, names, strict=True):
        _draw_forest(ax, table.loc[name].loc[labels], name, show)
        ax.tick_params(axis="y", labelleft=not new or _axes.is_left(ax))
    _style.add_legend(drawn, _legend(ci_prob), new)
    return drawn


def _posterior(law: Any) -> Any:
    idata = getattr(law, "idata", None)
    if idata is None:
        raise NotFittedError("the law has not been fitted: call law.fit(obs), or load a fit.")
    return idata["posterior"].to_dataset()


def _parameters(posterior: Any, parameter: str | None, level: str) -> list[str]:
    """Parameters to show: those asked for, on which the level has effects."""
    if parameter is not None and parameter not in PARAMETERS:
        raise SpecificationError(
            f"parameter={parameter!r} is not one of {', '.join(map(repr, PARAMETERS))}."
        )
    found = [name for name in PARAMETERS if f"{name}_{level_dim(level)}" in posterior]
    wanted = found if parameter is None else [name for name in found if name == parameter]
    if wanted:
        return wanted
    on = f" on {', '.join(found)}" if found else ""
    if found:
        raise SpecificationError(
            f"the fit has no effect of {level!r} on {parameter}; it has effects of it{on}."
        )
    starts = tuple(f"{name}_" for name in PARAMETERS)
    known = sorted(
        {n.split("_", 1)[1] for n in posterior.data_vars if n.startswith(starts)}
        - {n.split("_", 1)[1] for n in posterior.data_vars if n.endswith("_sd")}
    )
    raise SpecificationError(
        f"the fit has no effects of level={level!r}; it has effects of "
        f"{', '.join(known) or 'no level'}. A level with a single label has none: its effect is "
        "part of the population value."
    )


def _axis_text(name: str, show: str) -> str:
    symbol = SYMBOLS[name]
    if name == "delta":
        units = "natural log units of the window"
        return f"effect on {symbol}\n({units})" if show == "effect" else f"{symbol} ({units})"
    if name == "kappa" and show == "effect":
        return f"effect on log({symbol} − {PARTING:g})"
    if name == "eta" and show == "effect":
        return f"effect on the log-odds of {symbol} / {PARTING:g}"
    if name == "rho":
        return f"effect on the log-odds of {symbol}" if show == "effect" else symbol
    return f"effect on log {symbol}" if show == "effect" else f"{symbol} (log axis)"


def _forest_axes(panels: int, labels: int, axes: Any) -> tuple[np.ndarray, bool]:
    """Axes of a forest, taller the more labels there are."""
    drawn, new = _axes.panel_axes(panels, axes)
    if new:
        figure = drawn[0].figure
        rows = drawn[0].get_gridspec().nrows
        figure.set_size_inches(figure.get_figwidth(), rows * (0.28 * labels + 0.9) + 0.1)
    return drawn, new


def _draw_forest(ax: Axes, table: pd.DataFrame, name: str, show: str) -> None:
    at = np.arange(len(table))
    colour = _style.COLOURS[0]
    ax.hlines(at, table["lower"], table["upper"], color=colour, linewidth=1.2)
    ax.hlines(at, table["inner_lower"], table["inner_upper"], color=colour, linewidth=4)
    ax.plot(table["median"], at, "o", color=colour, markersize=6, markeredgecolor="white", zorder=3)
    if show == "effect":
        ax.axvline(0.0, color="0.35", linewidth=0.9, zorder=1)
    elif name not in ("delta", "rho"):
        _axes.log_axis(ax, table[["lower", "upper"]].to_numpy(), "{:g}".format)
    ax.set_yticks(at, labels=table.index.tolist())
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xlabel(_axis_text(name, show))
    _axes.finish_panel(ax, grid="x")


def _legend(ci_prob: float) -> list[Any]:
    from matplotlib.lines import Line2D

    colour = _style.COLOURS[0]
    dot = {"marker": "o", "linestyle": "none", "markersize": 6}
    return [
        Line2D([], [], color=colour, label="posterior median", **dot),
        Line2D([], [], color=colour, linewidth=4, label=f"{100 * _INNER_PROB:g} % equal-tailed"),
        Line2D([], [], color=colour, linewidth=1.2, label=f"{100 * ci_prob:g} % equal-tailed"),
    ]
