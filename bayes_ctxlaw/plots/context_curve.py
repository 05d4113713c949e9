"""Score against prompt length."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.plots._axes import token_label
from bayes_ctxlaw.plots._curves import draw_curves
from bayes_ctxlaw.plots._rows import CurveAxis

_AXIS = CurveAxis(
    variable="prompt_tokens",
    title="prompt tokens",
    label=token_label,
    split=("task", "llm", "family", "technique", "compute", "context_window"),
)


def plot_context_curve(
    prediction: xr.Dataset,
    observations: Any = None,
    *,
    by: str | None = "llm",
    panels: str | None = "task",
    axes: Any = None,
    window: bool = True,
    held_out: Any = None,
) -> np.ndarray:
    """Plot predicted scores against prompt tokens, with the observed ones on top.

    Lines are posterior medians, bands the intervals that the prediction holds. A line is dashed
    where the prediction lies beyond the data of the fit, in prompt tokens or along another axis;
    the legend says which. Thin dotted lines stand at the context windows.

    Parameters
    ----------
    prediction : xr.Dataset
        From ``law.predict``; best at a grid with many values of ``prompt_tokens``.
    observations : Dataset, DataFrame, path or list of dict, optional
        Whatever ``as_observations`` takes. Drawn as points where their `by` and `panels` are among
        those predicted; of a number, the nearest within 26 % (a tenth of a decade).
    by : str or None
        Variable told apart by colour, at most 8 values. Curves that differ in llm, technique and
        so on keep apart even where they share a colour.
    panels : str or None
        Variable with a panel for each value.
    axes : Axes or array of Axes, optional
        Where to draw; a new figure by default.
    window : bool
        Whether to draw the context windows that lie inside the panel.
    held_out : str or array of bool, optional
        Which observations the fit did not see, or the variable that says so: they are open
        points. By default the variable ``held_out``, if the observations have it.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One for each panel. ``axes[0].figure`` is the figure.

    Raises
    ------
    SpecificationError
        A variable is missing, or there are more colours or panels than can be read.

    Notes
    -----
    `bayes_ctxlaw.output.prediction_table` gives what is drawn as a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_ctxlaw.observations import grid
    >>> prediction = grid(task="qa", llm="A-8k", compute=8e22, context_window=8192,
    ...                   prompt_tokens=np.geomspace(50, 20_000, 40))
    >>> rising = ("obs_id", np.linspace(0.2, 0.4, 40))
    >>> prediction = prediction.assign(median=rising, lower=rising, upper=rising)
    >>> axes = plot_context_curve(prediction)
    >>> axes[0].get_title(), axes[0].get_xlabel()
    ('qa', 'prompt tokens')
    """
    return draw_curves(
        prediction,
        observations,
        _AXIS,
        by=by,
        panels=panels,
        axes=axes,
        held_out=held_out,
        window=window,
    )
