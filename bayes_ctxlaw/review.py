"""A review after a fit: did it converge, does it describe the scores, what does the prior decide.

Convergence decides between PASS and FAIL, for without it no number of the fit means anything. What
the other checks find is for a person to judge: REVIEW.
"""

from __future__ import annotations

import copy
import html
import textwrap
import warnings
from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw import advice
from bayes_ctxlaw._html import table as html_table
from bayes_ctxlaw.errors import NotFittedError
from bayes_ctxlaw.judgement import sampled
from bayes_ctxlaw.log_likelihood import SAMPLE, log_prior, places, pointwise, residuals
from bayes_ctxlaw.prior_influence import prior_influence
from bayes_ctxlaw.residuals import alike
from bayes_ctxlaw.schema import OBS_DIM
from bayes_ctxlaw.summary import notes_on_chance, notes_on_design

_FEWEST_DRAWS = 100  # with fewer there is no tail to fit a Pareto distribution to
_MOST_NUMBERS = 20_000_000  # draws times rows: 160 MB an array, of which there are some ten
_UNDER_CHECK = {"width": 100, "initial_indent": " " * 10, "subsequent_indent": " " * 10}


@dataclass(frozen=True, eq=False)
class Review:
    """What a review of a fit found.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``check``. Columns ``verdict`` (``"PASS"``, ``"REVIEW"`` or ``"FAIL"``), ``value``,
        ``wanted`` and ``advice``, all text.
    points : pandas.DataFrame
        Index ``obs_id``: ``task``, ``llm`` and ``prompt_tokens`` of every row of the fit, its
        ``pareto_k`` and its ``loo_pit``, where among predictions made without it the score lies.
    parameters : pandas.DataFrame
        See `prior_influence.prior_influence`.

    Examples
    --------
    >>> table = pd.DataFrame({"verdict": "PASS", "value": "0", "wanted": "0", "advice": "Well."},
    ...                      index=pd.Index(["divergent transitions"], name="check"))
    >>> print(Review(table, pd.DataFrame(), pd.DataFrame()))
    Review of the fit: PASS
      PASS    divergent transitions: 0 (wanted: 0)
    """

    table: pd.DataFrame
    points: pd.DataFrame
    parameters: pd.DataFrame

    @property
    def verdict(self) -> str:
        """The worst of all checks."""
        return max(self.table["verdict"], key=advice.VERDICTS.index)

    def __str__(self) -> str:
        lines = [f"Review of the fit: {self.verdict}"]
        for check, row in self.table.iterrows():
            lines.append(
                f"  {row['verdict']:<6}  {check}: {row['value']} (wanted: {row['wanted']})"
            )
            if row["verdict"] != "PASS":
                lines += textwrap.wrap(row["advice"], **_UNDER_CHECK)
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        title = f"Review of the fit: {self.verdict}"
        return f"<p><b>{html.escape(title)}</b></p>\n{html_table(self.table.reset_index())}"


def review(law: Any) -> Review:
    """Review a fit.

    Parameters
    ----------
    law : ContextLaw
        Fitted. Its ``idata`` gets the groups ``log_likelihood`` and ``log_prior``, for
        ``az.loo(law.idata)`` and ``az.psense_summary(law.idata)``: 8 bytes for every draw of every
        row. Where these are more than twenty million, some draws are left out, and the tree stays
        as it is.

    Returns
    -------
    Review
        Of the convergence alone if the draws are not all finite or fewer than a hundred.

    Raises
    ------
    NotFittedError
        If the law was not fitted.

    References
    ----------
    Vehtari et al. (2021), doi:10.1214/20-BA1221, on convergence; Vehtari et al. (2017),
    doi:10.1007/s11222-016-9696-4, on Pareto k; Säilynoja et al. (2022),
    doi:10.1007/s11222-022-10090-6, on PIT; Moran (1950), doi:10.2307/2332142, on misses that are
    alike (`residuals.alike`); Kallioinen et al. (2024), doi:10.1007/s11222-023-10366-5, on the
    sensitivity to priors.
    """
    if law.idata is None:
        raise NotFittedError("there is nothing to review yet: call law.fit(obs) first.")
    draws, rows = sampled(law.idata), advice.of_convergence(law.idata)
    finite = all(np.isfinite(v.values).all() for v in draws.data_vars.values())
    if not finite or draws.sizes["chain"] * draws.sizes["draw"] < _FEWEST_DRAWS:
        return Review(_table(rows), pd.DataFrame(), pd.DataFrame())
    used = _thinned(law)
    of_rows, of_priors = pointwise(used), log_prior(used)
    if used is law:
        law.idata["log_likelihood"] = xr.DataTree(of_rows.to_dataset())
        law.idata["log_prior"] = xr.DataTree(of_priors)
    points, good_k = _points(used, of_rows, places(used))
    parameters = prior_influence(used, of_rows, of_priors)
    rows += [
        advice.of_pareto_k(points, good_k),
        advice.of_loo_pit(points["loo_pit"]),
        advice.of_residuals(
            alike(
                residuals(used),
                points["task"].to_numpy(str),
                points["prompt_tokens"].to_numpy(),
                law._seed,
            ),
            law.spec.terms.strays,
        ),
        advice.of_sensitivity(parameters, law.spec.priors),
        advice.of_prior_weight(parameters, notes_on_design(law.obs, law.spec)),
        *advice.of_chance(notes_on_chance(law.obs)),
    ]
    return Review(_table(rows), points, parameters)


def _table(rows: list[advice.Row]) -> pd.DataFrame:
    columns = ["check", "verdict", "value", "wanted", "advice"]
    return pd.DataFrame(rows, columns=columns).set_index("check")


def _thinned(law: Any) -> Any:
    """The law with so many draws as fit into memory at every row."""
    posterior = law.idata["posterior"]
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    step = min(-(-draws * law.obs.sizes[OBS_DIM] // _MOST_NUMBERS), draws // _FEWEST_DRAWS)
    if step <= 1:
        return law
    thinned = copy.copy(law)
    kept = posterior.to_dataset().isel(draw=slice(None, None, step))
    thinned.idata = xr.DataTree.from_dict({"posterior": kept})
    return thinned


def _points(law: Any, of_rows: xr.DataArray, placed: xr.DataArray) -> tuple[pd.DataFrame, float]:
    """Pareto k and LOO-PIT of every row; the largest k that is good."""
    groups = {"posterior": sampled(law.idata), "log_likelihood": of_rows.to_dataset()}
    with warnings.catch_warnings():
        # It is a check of its own here.
        warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto", UserWarning)
        loo = az.loo(xr.DataTree.from_dict(groups), pointwise=True)
    weights = np.exp(loo.log_weights - loo.log_weights.max(SAMPLE))
    pit = (weights * placed).sum(SAMPLE) / weights.sum(SAMPLE)
    points = law.obs[["task", "llm", "prompt_tokens"]].to_dataframe()
    return points.assign(pareto_k=loo.pareto_k.values, loo_pit=pit.values), float(loo.good_k)
