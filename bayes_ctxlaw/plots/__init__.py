"""Plots of what was computed elsewhere. One file a plot; no inference happens here.

Every function takes a prediction, a fitted law or what a check of them found, draws with
matplotlib, and returns an array of its Axes. The numbers behind a plot can be had as a table:
`bayes_ctxlaw.output.prediction_table` for curves, `effects_table` for effects.
"""

from bayes_ctxlaw.plots.calibration import plot_calibration
from bayes_ctxlaw.plots.compute_curve import plot_compute_curve
from bayes_ctxlaw.plots.context_curve import plot_context_curve
from bayes_ctxlaw.plots.contrast import plot_contrast
from bayes_ctxlaw.plots.effective_window import plot_effective_window
from bayes_ctxlaw.plots.effects import effects_table, plot_effects
from bayes_ctxlaw.plots.ranks import plot_ranks
from bayes_ctxlaw.plots.surface import plot_surface

__all__ = [
    "effects_table",
    "plot_calibration",
    "plot_compute_curve",
    "plot_context_curve",
    "plot_contrast",
    "plot_effective_window",
    "plot_effects",
    "plot_ranks",
    "plot_surface",
]
