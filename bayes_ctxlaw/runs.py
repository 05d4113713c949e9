"""Sample as long as it takes: a quick run, and a more careful one where its chains do not pass."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import xarray as xr

from bayes_ctxlaw import sampling
from bayes_ctxlaw.density import Density
from bayes_ctxlaw.judgement import DIVERGENCES, ESS, ESS_PER_CHAIN

QUICK_ACCEPT, TARGET_ACCEPT, CAREFUL_ACCEPT = 0.95, 0.99, 0.998
"""Target acceptance in the quick run, where that diverges, and where even the next does.

Where a penalty comes out sharp, or the loss inside the window may be anything up to some edge,
there is a wall that the longer steps of a lower target run into, and diverge.
"""

QUICK_STEPS, MOST_STEPS = 2, 6
"""Steps for every draw of the quick run, and of any other at most."""

MOST_RUNS = 3
"""Of the sampler, for one fit."""

_MARGIN = 2.0  # of effective draws over those wanted: what a run says of the next is rough

_AGAIN = (
    "The chains do not pass (%s). Sampling again, with a target acceptance of %g and %d steps for "
    "every draw; after Ctrl-C the run that took more steps is kept."
)

_OUT_OF_REACH = (
    "The chains do not pass (%s), and are not expected to with %d steps for every draw, the most "
    "that `fit` takes by itself. law.review() says what may help."
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
    """Sample a log-density until its chains pass, in three runs at most.

    After divergences the next takes shorter leapfrog steps; where effective draws are lacking, the
    second takes as many transitions as the first shows to be needed, unless the most of them would
    not be enough and shorter steps are no hope. A third is for one that passes but for divergences.

    Parameters
    ----------
    density : Density
    judge : callable
        Checks of a run, as from ``judgement.convergence``.
    chains : int
    progressbar : bool
        Show progress, and say why there is another run.
    thin : int, optional
        Steps for every draw kept, of a single run. If None, `QUICK_STEPS` and then as many as are
        needed.
    target_accept : float, optional
        Of every run; there is no other where it would be the same over again. If None,
        `TARGET_ACCEPT` in a single run, and otherwise `QUICK_ACCEPT`, and the next of
        `TARGET_ACCEPT` and `CAREFUL_ACCEPT` after every run that diverged.
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

    def run(steps: int, target: float, doublings: int | None = None) -> xr.DataTree:
        found = sampling.sample(
            density,
            chains=chains,
            progressbar=progressbar,
            thin=steps,
            target_accept=target,
            doublings=doublings,
            **options,
        )
        found.attrs |= {"thin": int(steps), "target_accept": float(target)}
        return found

    if thin is not None:
        return run(thin, TARGET_ACCEPT if target_accept is None else target_accept)
    targets = [QUICK_ACCEPT, TARGET_ACCEPT, CAREFUL_ACCEPT]
    if target_accept is not None:
        targets = [target_accept]
    steps, level, wanted = QUICK_STEPS, 0, ESS_PER_CHAIN * chains
    # Who watches the progress sees it begin anew, or end without passing, and should be told why.
    log = partial(_LOG.log, logging.WARNING if progressbar else logging.INFO)
    found = run(steps, targets[level])
    for number in range(MOST_RUNS - 1):
        if "interrupted" in found.attrs:
            break
        checks = judge(found)
        failed = list(checks.index[~checks["passed"]])
        if not failed:
            break
        needed = steps_needed(checks, wanted, steps)
        shorter = DIVERGENCES in failed and level + 1 < len(targets)
        # Shorter steps may free chains that are stuck, if trajectories can have more of them.
        reach = found.attrs["doublings"] < sampling.MOST_DOUBLINGS
        if failed == [DIVERGENCES]:
            if not shorter:
                break  # it would diverge over again
            steps = min(steps, needed)
        elif number > 0:
            break  # it was as long as it may be
        elif not (shorter and reach) and _least(checks) * MOST_STEPS / steps < wanted:
            log(_OUT_OF_REACH, ", ".join(failed), MOST_STEPS)
            break
        else:
            steps = max(steps + 1, needed)
        level += shorter
        # Every target halves the leapfrog steps, about: trajectories of twice as many reach as far.
        doublings = min(found.attrs["doublings"] + shorter, sampling.MOST_DOUBLINGS)
        log(_AGAIN, ", ".join(failed), targets[level], steps)
        found = _another(partial(run, steps, targets[level], doublings), found, failed)
    return found


def _another(run: Callable[[], xr.DataTree], found: xr.DataTree, failed: list[str]) -> xr.DataTree:
    """Another run; of an interrupted one and that before, the one that took more steps."""
    try:
        new = run()
    except KeyboardInterrupt:
        when = "before it had drawn anything"
    else:
        if "interrupted" not in new.attrs or _steps(new) >= _steps(found):
            return new
        when = "early"
    found.attrs["interrupted"] = (
        f"another run of the sampler was interrupted {when}; the draws of the run before it are "
        f"kept, which fails: {', '.join(failed)}"
    )
    return found


def steps_needed(checks: pd.DataFrame, wanted: float, steps: int) -> int:
    """Steps for every draw that would give a run enough effective draws.

    Parameters
    ----------
    checks : pandas.DataFrame
        Of a run, from ``judgement.convergence``.
    wanted : float
        Effective draws.
    steps : int
        Steps for every draw that it took.

    Returns
    -------
    int
        From `QUICK_STEPS` to `MOST_STEPS`; the latter as well where the run cannot say.

    Examples
    --------
    >>> checks = pd.DataFrame({"value": [320.0, 640.0]}, index=ESS)
    >>> steps_needed(checks, 400, 2)
    5
    """
    least = _least(checks)
    enough = steps * _MARGIN * wanted
    if not least > enough / MOST_STEPS:
        return MOST_STEPS
    return max(QUICK_STEPS, math.ceil(enough / least))


def _least(checks: pd.DataFrame) -> float:
    """Effective draws of the slowest parameter; not a number where the run cannot say."""
    return float(checks.loc[list(ESS), "value"].min(skipna=False))


def _steps(trace: xr.DataTree) -> int:
    sizes = trace["posterior"].sizes
    return sizes["chain"] * sizes["draw"] * trace.attrs["thin"]
