"""Sample as long as it takes: a quick run, and a longer one where its chains do not pass."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import xarray as xr

from bayes_ctxlaw import sampling
from bayes_ctxlaw.density import Density
from bayes_ctxlaw.judgement import ESS, ESS_PER_CHAIN

QUICK_ACCEPT, TARGET_ACCEPT = 0.95, 0.99
"""Target acceptance in the quick run, and in any other.

Where a penalty comes out sharp, the end of a window is a wall that the longer steps of a lower
target run into, and diverge.
"""

QUICK_STEPS, MOST_STEPS = 2, 6
"""Steps for every draw of the quick run, and of the longer one at most."""

_MARGIN = 2.0  # of effective draws over those wanted: what a run says of the next is rough

_AGAIN = (
    "A quick run does not pass (%s). Sampling again, with %d steps for every draw; after Ctrl-C "
    "the run that took more steps is kept."
)

_LOG = logging.getLogger(__name__)


def sample_enough(
    density: Density,
    judge: Callable[[xr.DataTree], pd.DataFrame],
    *,
    chains: int,
    progressbar: bool,
    thin: int | None = None,
    target_accept: float | None = None,
    **options: Any,
) -> xr.DataTree:
    """Sample a log-density until its chains pass, in two runs at most.

    Parameters
    ----------
    density : Density
    judge : callable
        Checks of a run, as from ``judgement.convergence``.
    chains : int
    progressbar : bool
        Show progress, and say why there is a second run.
    thin : int, optional
        Steps for every draw kept, of a single run. If None, `QUICK_STEPS` and then as many as are
        needed.
    target_accept : float, optional
        Of every run. If None, `QUICK_ACCEPT` in the first of two and `TARGET_ACCEPT` otherwise.
    **options
        As of ``sampling.sample``.

    Returns
    -------
    xarray.DataTree
        Of the last run, as from ``sampling.sample``, with attributes ``thin`` and
        ``target_accept``. Where that was interrupted, of the run that took more steps.

    Raises
    ------
    SpecificationError, KeyboardInterrupt
        As ``sampling.sample``.
    """

    def run(steps: int, target: float) -> xr.DataTree:
        target = target if target_accept is None else target_accept
        found = sampling.sample(
            density,
            chains=chains,
            progressbar=progressbar,
            thin=steps,
            target_accept=target,
            **options,
        )
        found.attrs |= {"thin": int(steps), "target_accept": float(target)}
        return found

    if thin is not None:
        return run(thin, TARGET_ACCEPT)
    first = run(QUICK_STEPS, QUICK_ACCEPT)
    if "interrupted" in first.attrs:
        return first
    checks = judge(first)
    if checks["passed"].all():
        return first
    steps = steps_needed(checks, ESS_PER_CHAIN * chains)
    failed = ", ".join(checks.index[~checks["passed"]])
    # Who watches the progress sees it begin anew, and should be told why.
    level = logging.WARNING if progressbar else logging.INFO
    _LOG.log(level, _AGAIN, failed, steps)
    try:
        second = run(steps, TARGET_ACCEPT)
    except KeyboardInterrupt:
        first.attrs["interrupted"] = (
            "a second run of the sampler was interrupted before it had drawn anything; the draws "
            f"of the first are kept, which fails: {failed}"
        )
        return first
    if "interrupted" in second.attrs and _steps(second) < _steps(first):
        first.attrs["interrupted"] = (
            f"a second run of the sampler was interrupted early; the draws of the first are kept, "
            f"which fails: {failed}"
        )
        return first
    return second


def steps_needed(checks: pd.DataFrame, wanted: float) -> int:
    """Steps for every draw that would give a run enough effective draws.

    Parameters
    ----------
    checks : pandas.DataFrame
        Of a quick run, from ``judgement.convergence``.
    wanted : float
        Effective draws.

    Returns
    -------
    int
        From 3 to `MOST_STEPS`; the latter as well where the run cannot say.

    Examples
    --------
    >>> checks = pd.DataFrame({"value": [320.0, 640.0]}, index=ESS)
    >>> steps_needed(checks, 400)
    5
    """
    least = checks.loc[list(ESS), "value"].min(skipna=False)
    enough = QUICK_STEPS * _MARGIN * wanted
    if not least > enough / MOST_STEPS:
        return MOST_STEPS
    return max(QUICK_STEPS + 1, math.ceil(enough / least))


def _steps(trace: xr.DataTree) -> int:
    sizes = trace["posterior"].sizes
    return sizes["chain"] * sizes["draw"] * trace.attrs["thin"]
