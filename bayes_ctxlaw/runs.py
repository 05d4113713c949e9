"""Sample as long as it takes: until the chains pass, with shorter steps where they diverge."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import pandas as pd
import xarray as xr

from bayes_ctxlaw import sampling
from bayes_ctxlaw.density import Density
from bayes_ctxlaw.judgement import DIVERGENCES, ESS, ESS_PER_CHAIN, R_HAT

QUICK_ACCEPT, TARGET_ACCEPT, CAREFUL_ACCEPT = 0.95, 0.99, 0.998
"""Target acceptance of the first run, where that diverges, and where even the next does.

Where a penalty comes out sharp, or the loss inside the window may be anything up to some edge,
there is a wall that the longer steps of a lower target run into, and diverge.
"""

FEWEST_STEPS, MOST_STEPS = 1, 6
"""Steps for every draw that chains take before they are looked at, and at most."""

_SHORT = "The chains pass after %d of at most %d steps for every draw: sampling is done."

_AGAIN = (
    "The chains do not pass (%s). Sampling again, with a target acceptance of %g; after Ctrl-C the "
    "run that took more steps is kept."
)

_OUT_OF_REACH = (
    "The chains do not pass (%s) after %d of at most %d steps for every draw, and are not expected "
    "to after all of them. law.review() says what may help."
)

_NO_USE = (
    "The chains do not pass (%s), and more steps than the %d for every draw would not change that. "
    "law.review() says what may help."
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
    """Sample a log-density until its chains pass.

    Chains that lack effective draws go on, unless the most steps would not be enough. Where they
    diverge, others begin with shorter leapfrog steps. Draws too few to pass are taken from a
    single run.

    Parameters
    ----------
    density : Density
    judge : callable
        Checks of a run, as from ``judgement.convergence``.
    chains : int
    progressbar : bool
        Show progress, and say why it ends early or begins anew.
    thin : int, optional
        Steps for every draw kept, of a single run. If None, from `FEWEST_STEPS` to `MOST_STEPS`,
        as are needed; `FEWEST_STEPS` where fewer than `judgement.ESS_PER_CHAIN` draws are asked
        of each chain.
    target_accept : float, optional
        Of a single run. If None, `TARGET_ACCEPT` with `thin`, and otherwise `QUICK_ACCEPT`, and
        the next of `TARGET_ACCEPT` and `CAREFUL_ACCEPT` after every run that diverged.
    **options
        As of ``sampling.sample``.

    Returns
    -------
    xarray.DataTree
        Of the last run, as from ``sampling.sample``, with the attribute ``target_accept``. Where
        that was interrupted, of the run that took more steps.

    Raises
    ------
    SpecificationError, KeyboardInterrupt
        As ``sampling.sample``.
    """
    # Who watches the progress sees it begin anew, or end early, and should be told why.
    log = partial(_LOG.log, logging.WARNING if progressbar else logging.INFO)
    options |= {"chains": chains, "progressbar": progressbar}

    def run(target: float, **more: Any) -> xr.DataTree:
        found = sampling.sample(density, target_accept=target, **options, **more)
        found.attrs["target_accept"] = float(target)
        return found

    if thin is not None:
        return run(TARGET_ACCEPT if target_accept is None else target_accept, thin=thin)
    targets = [QUICK_ACCEPT, TARGET_ACCEPT, CAREFUL_ACCEPT]
    if target_accept is not None:
        targets = [target_accept]
    draws = options["draws"]
    if isinstance(draws, Integral) and draws < ESS_PER_CHAIN:
        return run(targets[0], thin=FEWEST_STEPS)
    longest = sampling.most_doublings(density)
    look = _Look(judge, ESS_PER_CHAIN * chains, len(targets) > 1, longest, log)
    steps = {"thin": FEWEST_STEPS, "most": MOST_STEPS, "further": look}
    found = run(targets[0], **steps)
    for number, target in enumerate(targets[1:], 2):
        if "interrupted" in found.attrs or not look.shorter:
            break
        log(_AGAIN, ", ".join(look.failed), target)
        look.may_be_shorter = number < len(targets)
        # Every target halves the leapfrog steps, about: trajectories of twice as many reach as far.
        doublings = min(found.attrs["doublings"] + 1, longest)
        found = _another(partial(run, target, doublings=doublings, **steps), found, look.failed)
    return found


class _Look:
    """Looks at chains on their way, and says how far they are to go.

    Parameters
    ----------
    judge : callable
        Checks of a run.
    wanted : float
        Effective draws.
    may_be_shorter : bool
        Whether there is a higher target to sample anew with, where they diverge.
    longest : int
        Doublings that a trajectory may have.
    log : callable
        Takes a message and what to put into it.
    """

    def __init__(
        self, judge: Any, wanted: float, may_be_shorter: bool, longest: int, log: Any
    ) -> None:
        self._judge, self._wanted, self._longest, self._log = judge, wanted, longest, log
        self.may_be_shorter = may_be_shorter
        self.failed: list[str] = []
        self.shorter = False

    def __call__(self, trace: xr.DataTree) -> int:
        """Steps for every draw to look again after; 0 to end."""
        checks, steps = self._judge(trace), trace.attrs["thin"]
        self.failed = list(checks.index[~checks["passed"]])
        # Steps do not rid chains of divergences, nor make several of a single one.
        of_no_use = {DIVERGENCES, R_HAT} if _single(trace) else {DIVERGENCES}
        lacking = bool(set(self.failed) - of_no_use)
        hopeless = lacking and _least(checks) * MOST_STEPS / steps < self._wanted
        # Shorter steps may free chains that are stuck, if trajectories can have more of them.
        reach = trace.attrs["doublings"] < self._longest
        self.shorter = (
            DIVERGENCES in self.failed and self.may_be_shorter and (reach or not hopeless)
        )
        if self.shorter:
            return 0
        if hopeless:
            self._log(_OUT_OF_REACH, ", ".join(self.failed), steps, MOST_STEPS)
        elif lacking:
            return steps_needed(checks, self._wanted, steps)
        elif self.failed:
            self._log(_NO_USE, ", ".join(self.failed), steps)
        elif steps < MOST_STEPS:
            self._log(_SHORT, steps, MOST_STEPS)
        return 0


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
    """Steps for every draw after which chains that do not pass may have enough effective draws.

    Parameters
    ----------
    checks : pandas.DataFrame
        Of the chains so far, from ``judgement.convergence``.
    wanted : float
        Effective draws.
    steps : int
        Steps for every draw that they took.

    Returns
    -------
    int
        More than they took, unless that is `MOST_STEPS`, and no more than that; that as well where
        the chains cannot say.

    Examples
    --------
    >>> checks = pd.DataFrame({"value": [320.0, 640.0]}, index=ESS)
    >>> steps_needed(checks, 400, 2)
    3
    """
    least = _least(checks)
    if not least * MOST_STEPS > steps * wanted:
        return MOST_STEPS
    return min(max(steps + 1, math.ceil(steps * wanted / least)), MOST_STEPS)


def _least(checks: pd.DataFrame) -> float:
    """Effective draws of the slowest parameter; not a number where the run cannot say."""
    return float(checks.loc[list(ESS), "value"].min(skipna=False))


def _single(trace: xr.DataTree) -> bool:
    return trace["posterior"].sizes["chain"] == 1


def _steps(trace: xr.DataTree) -> int:
    sizes = trace["posterior"].sizes
    return sizes["chain"] * sizes["draw"] * trace.attrs["thin"]
