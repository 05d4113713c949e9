"""Ranks of a calibration: how far their distribution is from uniform."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.plots import _axes
from bayes_ctxlaw.validation.ranks import ALPHA, Calibration


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
    Drawn by ``arviz.plot_ecdf_pit``. The p-value of a panel is that of ``calibration.table``, to be
    compared with 0.05 over the number of quantities; of a quantity with several labels each has
    its own, times their number.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayes_ctxlaw.validation.ranks import Calibration
    >>> rng = np.random.default_rng(1)
    >>> ranks = xr.Dataset({"mu_A": ("simulation", rng.integers(101, size=50))})
    >>> axes = plot_ranks(Calibration(ranks, 100, pd.DataFrame(index=range(50))))
    >>> axes[0].get_title().splitlines()[0]
    'mu_A'
    """
    import arviz as az

    _axes.check_given("calibration", calibration, Calibration, "calibrate")
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
    panels, tests = {}, {}
    for name in quantities:
        own = dict(_panels(pit[name]))
        panels |= own
        tests |= {
            title: min(1.0, len(own) * float(v.azstats.uniformity_test(dim="simulation")[0]))
            for title, v in own.items()
        }
    if len(panels) > _axes.MAX_PANELS:
        raise SpecificationError(
            f"there would be {len(panels)} panels; at most {_axes.MAX_PANELS} can be read in one "
            "figure. Name fewer quantities."
        )
    level = ALPHA / len(pit.data_vars)
    tree = xr.DataTree.from_dict({"prior_sbc": xr.Dataset(panels)})
    drawn = az.plot_ecdf_pit(
        tree, sample_dims=["simulation"], backend="matplotlib", col_wrap=3,
        envelope_prob=1.0 - level, visuals={"p_value_text": False},
        figure_kwargs={"figsize": (11.0, 3.1 * -(-len(panels) // 3) + 0.3),
                       "figsize_units": "inches", "layout": "constrained"},
    )  # fmt: skip
    axes = np.array([drawn.viz["plot"][title].item() for title in panels], dtype=object)
    # Ours: rounded to two digits, a level of 0.003 would be none.
    highest = max(np.abs(line.get_ydata()).max() for ax in axes for line in ax.get_lines())
    for ax, (title, p_value) in zip(axes, tests.items(), strict=True):
        said = "" if p_value >= level else f", below {level:.2g}: not uniform"
        ax.set_title(f"{title}\np = {p_value:.2g}{said}")
        ax.set_ylim(-1.1 * highest, 1.1 * highest)
        ax.set_xlabel("rank, as a share of the draws")
        ax.set_ylabel("share of ranks, less uniform")
        ax.tick_params(labelbottom=True, labelleft=True)
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
