"""What a calibration found: ranks, whether they are uniform, in words."""

from __future__ import annotations

import html
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._html import table as html_table
from bayes_ctxlaw.discrepancy import KNOT_DIM, knot_labels
from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.schema import OBS_DIM

SIMULATION = "simulation"
COVERAGES = (50, 90)
ALPHA = 0.05
"""Probability that a right model has a quantity marked as not uniform."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of true values among draws of the posterior, over many simulations.

    Attributes
    ----------
    ranks : xr.Dataset
        Along ``simulation``, 0 to `n_draws`: population values, scales, effects and overdispersion
        by their names in the posterior, effects along their labels; ``log_likelihood``; and
        ``mean_score`` at some rows of the design.
    n_draws : int
        Draws that every true value was ranked among.
    fits : pandas.DataFrame
        Index ``simulation``. Columns ``redrawn`` (data sets that could not be fitted before this
        one), ``failed_checks`` (of convergence; empty if all passed), ``ess`` (the smallest
        effective sample size of all quantities), ``steps`` (of the sampler for each ranked draw)
        and ``seconds``.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> ranks = xr.Dataset({"mu": ("simulation", rng.integers(101, size=200))})
    >>> fits = pd.DataFrame({"redrawn": 0, "failed_checks": "", "ess": 150.0}, index=range(200))
    >>> bool(Calibration(ranks, 100, fits).table.loc["mu", "uniform"])
    True
    """

    ranks: xr.Dataset
    n_draws: int
    fits: pd.DataFrame

    @property
    def pit(self) -> xr.Dataset:
        """Ranks as shares between 0 and 1, uniform if all is well.

        Within a rank a value is placed at random, always at the same place, so that tests of
        uniformity need not know of steps.
        """
        found = {}
        for name, rank in self.ranks.data_vars.items():
            seed = [int(self.ranks.attrs.get("random_seed", 0)), zlib.crc32(name.encode())]
            share = np.random.default_rng(seed).random(rank.shape)
            found[name] = (rank + share) / (self.n_draws + 1)
        return xr.Dataset(found, attrs=self.ranks.attrs)

    @property
    def table(self) -> pd.DataFrame:
        """Whether the ranks of every quantity are uniform, those most in doubt first.

        Returns
        -------
        pandas.DataFrame
            Index ``quantity``; effects of a level on a parameter are one. Columns ``values``
            (labels that it has); ``p_value`` of uniformity; ``uniform``, false where that is below
            0.05 over the number of quantities; ``mean_rank``, as a share of the draws: 0.5, or
            less if the posterior lies too high; ``coverage_50`` and ``coverage_90``, shares of
            central intervals that hold the true value, each with its standard error.

        Notes
        -----
        The test is ArviZ's ``uniformity_test`` (``pot_c``). Labels are tested one by one, and the
        smallest p-value is multiplied by their number: they share their simulations, and a test of
        all values at once would mark right models. Standard errors allow for that too.

        References
        ----------
        Tesso et al., arXiv:2603.02928.
        """
        pit = self.pit
        rows = {name: _row(_two_axes(pit[name])) for name in pit.data_vars}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")
        table.insert(2, "uniform", table["p_value"] * len(table) >= ALPHA)
        return table.astype({"values": int}).sort_values("p_value", kind="stable")

    @property
    def failed(self) -> pd.Series:
        """Number of fits that do not pass a check of convergence, by check."""
        checks = self.fits["failed_checks"].str.split(", ").explode()
        return checks[checks != ""].value_counts().rename("fits").rename_axis("check")

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know about it, one sentence each."""
        notes, count = [], len(self.fits)
        places = self.ranks.attrs
        if "compute_reference" in places:
            notes.append(
                f"Priors hold at the references {places['compute_reference']:.3g} FLOP and "
                f"{places['prompt_tokens_reference']:.4g} prompt tokens, the same in every "
                "simulation."
            )
        redrawn = int(self.fits["redrawn"].sum())
        if redrawn:
            notes.append(
                f"{redrawn} simulated data sets could not be fitted (scores all equal, or the "
                "like) and were drawn anew: the ranks are given that the data can be fitted."
            )
        failed = int((self.fits["failed_checks"] != "").sum())
        if failed:
            said = ", ".join(f"{check}: {number}" for check, number in self.failed.items())
            notes.append(
                f"{failed} of {count} fits do not pass their checks of convergence ({said}). They "
                "are counted with the others."
            )
        few = int((self.fits["ess"] < self.n_draws).sum())
        if few:
            notes.append(
                f"In {few} of {count} fits some quantity has fewer independent draws than are "
                "ranked; that alone piles up ranks at both ends. Increase `thin`."
            )
        return notes

    def sentence(self) -> str:
        """Say in a sentence or two what was found.

        Returns
        -------
        str
        """
        table = self.table
        bad = table.index[~table["uniform"]].tolist()
        if bad:
            found = (
                f"{len(bad)} of {len(table)} quantities have ranks that are not uniform "
                f"({', '.join(bad[:5])}{', …' if len(bad) > 5 else ''})"
            )
        else:
            found = f"the ranks of all {len(table)} quantities may be uniform"
        inside = np.average(table["coverage_90"], weights=table["values"])
        return (
            f"{len(self.fits)} simulations, each ranked among {self.n_draws} draws: {found}; the "
            f"smallest p-value is {table['p_value'].min():.2g}, to be compared with "
            f"{ALPHA / len(table):.2g}. Central 90 % intervals hold {100 * inside:.1f} % of the "
            "true values."
        )

    def __str__(self) -> str:
        lines = ["Simulation-based calibration", "", self._shown().to_string(index=False), ""]
        return "\n".join([*lines, self.sentence(), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(text)}</p>" for text in (self.sentence(), *self.notes))
        title = "<p><b>Simulation-based calibration</b></p>"
        return f"{title}\n{html_table(self._shown())}\n{said}"

    def _shown(self) -> pd.DataFrame:
        """The table as text, with ± where there is a standard error."""
        table = self.table
        shown = table.index.to_frame(index=False)
        shown["values"] = table["values"].to_numpy()
        shown["p value"] = [f"{p:.2g}" for p in table["p_value"]]
        shown["uniform"] = ["yes" if found else "NO" for found in table["uniform"]]
        shown["mean rank"] = [f"{share:.3f}" for share in table["mean_rank"]]
        for percent in COVERAGES:
            name = f"coverage_{percent}"
            pairs = zip(table[name], table[f"{name}_se"], strict=True)
            shown[f"in {percent} %"] = [f"{share:.3f} ± {error:.3f}" for share, error in pairs]
        return shown


def gather(
    results: Sequence[Mapping[str, Any]],
    dims: Mapping[str, str | None],
    encoding: Encoding,
    design: xr.Dataset,
    rows: np.ndarray,
) -> xr.Dataset:
    """Ranks of all simulations, labelled.

    Parameters
    ----------
    results : sequence of mapping
        From ``simulate_and_rank``, in order.
    dims : mapping of str to str or None
        Dimension of every variable of the posterior.
    encoding, design, rows
        Labels, and the rows whose mean score was ranked.

    Returns
    -------
    xr.Dataset
    """
    dims = {**dims, "log_likelihood": None, "mean_score": OBS_DIM}
    known = {level.replace(":", "_"): list(labels) for level, labels in encoding.labels.items()}
    known[KNOT_DIM] = knot_labels(encoding)
    known[OBS_DIM] = design[OBS_DIM].values[rows].tolist()
    variables = {
        name: (
            (SIMULATION, *([dim] if dim else [])),
            np.array([result["ranks"][name] for result in results], dtype=int),
        )
        for name, dim in dims.items()
    }
    used = {dim: known[dim] for dim in dims.values() if dim}
    return xr.Dataset(variables, coords={SIMULATION: np.arange(len(results)), **used})


def _two_axes(pit: xr.DataArray) -> np.ndarray:
    return pit.transpose(SIMULATION, ...).values.reshape(pit.sizes[SIMULATION], -1)


def _row(pit: np.ndarray) -> dict[str, float]:
    """A row of the table from shares, (simulation, label)."""
    import arviz  # noqa: F401  registers the accessor that tests uniformity

    values = xr.DataArray(pit, dims=(SIMULATION, "label"), name="pit")
    p_values = values.azstats.uniformity_test(dim=[SIMULATION], method="pot_c")[0].values
    labels = pit.shape[1]
    row = {
        "values": labels,
        "p_value": min(1.0, labels * float(p_values.min())),
        "mean_rank": float(pit.mean()),
    }
    for percent in COVERAGES:
        inside = np.abs(pit - 0.5) < percent / 200
        by_simulation = inside.mean(axis=1)
        # Not below that of independent values at the coverage wanted: where all are inside, the
        # scatter between simulations is 0, which looks surer than it is.
        least = np.sqrt(percent / 100 * (1 - percent / 100) / inside.size)
        error = by_simulation.std(ddof=1) / np.sqrt(len(pit))
        row[f"coverage_{percent}"] = float(inside.mean())
        row[f"coverage_{percent}_se"] = float(max(error, least))
    return row
