"""Ranks of a calibration: how far their distribution is from uniform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.plots import _axes
from bayes_ctxlaw.validation.ranks import ALPHA

if TYPE_CHECKING:
    from bayes_ctxlaw.validation.ranks import Calibration


def plot_ranks(calibration: Calibration, quantities: Sequence[str] | None = None) -> np.ndarray:
    """Plot how far the ranks of a calibration are from uniform.

    A line is the share of ranks up to a place less the share there should be: below 0 at the left
    and above at the right for intervals that are too wide, the reverse for intervals that are too
    narrow, a hill or a valley for a posterior that lies too high or too low. Points that make a
    quantity fail the test at the level shown are marked.

    Parameters
    ----------
    calibration : Calibration
        From ``calibrate``.
    quantities : sequence of str, optional
        Those to draw, as in ``calibration.table``, a panel for each label; by default population
        values and the log-likelihood.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One for each panel. ``axes[0].figure`` is the figure.

    Raises
    ------
    SpecificationError
        There is no such quantity, or there would be too many panels.

    Notes
    -----
    Drawn by ``arviz.plot_ecdf_pit``, at the level of ``calibration.table``: 0.05 over the number of
    quantities. Of a quantity with several labels the table allows for their number as well, a
    panel does not.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayes_ctxlaw.validation.ranks import Calibration
    >>> rng = np.random.default_rng(1)
    >>> ranks = xr.Dataset({"mu_A": ("simulation", rng.integers(101, size=50))})
    >>> axes = plot_ranks(Calibration(ranks, 100, pd.DataFrame(index=range(50))))
    >>> axes[0].get_title()
    'mu_A'
    """
    import arviz as az

    pit = calibration.pit
    if quantities is None:
        quantities = [n for n in pit.data_vars if n.startswith("mu_") or n == "log_likelihood"]
    if isinstance(quantities, str):
        quantities = [quantities]
    unknown = [name for name in quantities if name not in pit]
    if unknown or not quantities:
        raise SpecificationError(
            f"quantities={list(quantities)!r}: {', '.join(map(repr, unknown)) or 'none'} of "
            f"{', '.join(pit.data_vars)}."
        )
    panels = {title: value for name in quantities for title, value in _panels(pit[name])}
    if len(panels) > _axes.MAX_PANELS:
        raise SpecificationError(
            f"there would be {len(panels)} panels; at most {_axes.MAX_PANELS} can be read in one "
            "figure. Name fewer quantities."
        )
    tree = xr.DataTree.from_dict({"prior_sbc": xr.Dataset(panels)})
    drawn = az.plot_ecdf_pit(
        tree, sample_dims=["simulation"], backend="matplotlib", col_wrap=3,
        envelope_prob=1.0 - ALPHA / len(calibration.table),
        figure_kwargs={"figsize": (11.0, 3.1 * -(-len(panels) // 3) + 0.3),
                       "figsize_units": "inches", "layout": "constrained"},
    )  # fmt: skip
    axes = np.array([drawn.viz["plot"][title].item() for title in panels], dtype=object)
    for ax in axes:
        ax.set_xlabel("rank, as a share of the draws")
        ax.set_ylabel("share of ranks, less uniform")
    return axes


def _panels(pit: xr.DataArray) -> list[tuple[str, xr.DataArray]]:
    """A quantity label by label, with titles."""
    dims = [dim for dim in pit.dims if dim != "simulation"]
    if not dims:
        return [(str(pit.name), pit.reset_coords(drop=True))]
    return [
        (f"{pit.name}\n{label}", pit.sel({dims[0]: label}).reset_coords(drop=True))
        for label in pit[dims[0]].values
    ]
