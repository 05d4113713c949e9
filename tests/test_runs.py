"""A quick run, and a longer one where it does not pass."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from bayes_ctxlaw import runs
from bayes_ctxlaw.judgement import ESS, convergence

QUICK_DOUBLINGS = 6


def chains(length, like_neighbours=0.0, divergences=0, kept=300):
    """Draws of four chains in which each is so much like the one before."""
    rng = np.random.default_rng(1)
    draws = np.zeros((4, length))
    for i in range(1, length):
        new = rng.normal(size=4) * np.sqrt(1.0 - like_neighbours**2)
        draws[:, i] = like_neighbours * draws[:, i - 1] + new
    diverging = np.arange(4 * length).reshape(4, length) < divergences
    tree = {
        "posterior": xr.Dataset({"mu_A": (("chain", "draw"), draws)}),
        "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), diverging)}),
    }
    tree = xr.DataTree.from_dict({name: ds.isel(draw=slice(kept)) for name, ds in tree.items()})
    tree.attrs["doublings"] = QUICK_DOUBLINGS
    return tree


@pytest.fixture
def told(monkeypatch):
    """Stand-ins for the sampler, one after the other; what they were told."""

    def of(*results):
        left, calls = list(results), []

        def sample(density, **options):
            calls.append(options)
            found = left.pop(0)
            if isinstance(found, BaseException):
                raise found
            return found.copy()  # its attributes will be written to

        monkeypatch.setattr(runs.sampling, "sample", sample)
        return calls

    return of


SIZE = {"draws": 300, "tune": 100, "chains": 4, "random_seed": 1, "progressbar": False}


def test_a_quick_run_that_passes_is_the_fit(told):
    calls = told(chains(300))
    found = runs.sample_enough(None, convergence, **SIZE)
    assert [(call["thin"], call["target_accept"]) for call in calls] == [(2, 0.95)]
    assert (found.attrs["thin"], found.attrs["target_accept"]) == (2, 0.95)
    assert "interrupted" not in found.attrs


FEW, DIVERGING, GOOD = chains(300, 0.7), chains(300, divergences=2), chains(300)
FEW_DIVERGING = chains(300, 0.7, divergences=2)
STUCK = chains(300, 0.99)
RICH_DIVERGING = chains(900, divergences=2, kept=900)


@pytest.mark.parametrize(
    ("results", "told_to"),
    [
        # More steps for lack of draws, shorter ones for divergences, both for both.
        ([FEW, GOOD], [(2, 0.95, None), (6, 0.95, 6)]),
        ([DIVERGING, GOOD], [(2, 0.95, None), (2, 0.99, 7)]),
        ([FEW_DIVERGING, GOOD], [(2, 0.95, None), (6, 0.99, 7)]),
        # The third takes no more than are needed, which may be fewer than the second took.
        ([FEW, RICH_DIVERGING, GOOD], [(2, 0.95, None), (6, 0.95, 6), (2, 0.99, 7)]),
        ([FEW_DIVERGING, DIVERGING, GOOD], [(2, 0.95, None), (6, 0.99, 7), (6, 0.998, 7)]),
        # The most steps would not be enough, unless shorter ones help.
        ([STUCK], [(2, 0.95, None)]),
        ([chains(300, 0.99, divergences=2), GOOD], [(2, 0.95, None), (6, 0.99, 7)]),
        # It is the fit whatever comes of it: the review says so.
        ([DIVERGING] * 3, [(2, 0.95, None), (2, 0.99, 7), (2, 0.998, 7)]),
        ([DIVERGING, FEW], [(2, 0.95, None), (2, 0.99, 7)]),
        ([FEW, FEW_DIVERGING], [(2, 0.95, None), (6, 0.95, 6)]),
        ([FEW, FEW], [(2, 0.95, None), (6, 0.95, 6)]),
    ],
)
def test_one_that_does_not_pass_is_followed_by_another(told, results, told_to):
    calls = told(*results)
    found = runs.sample_enough(None, convergence, **SIZE)
    keys = "thin", "target_accept", "doublings"
    assert [tuple(call[key] for key in keys) for call in calls] == told_to
    assert (found.attrs["thin"], found.attrs["target_accept"]) == told_to[-1][:2]
    assert found["posterior"].identical(results[-1]["posterior"])


def test_shorter_steps_are_no_hope_where_trajectories_cannot_have_more_of_them(told):
    stuck = chains(300, 0.99, divergences=2)
    stuck.attrs["doublings"] = runs.sampling.MOST_DOUBLINGS
    calls = told(stuck)
    runs.sample_enough(None, convergence, **SIZE)
    assert len(calls) == 1
    few = chains(300, 0.7, divergences=2)
    few.attrs["doublings"] = runs.sampling.MOST_DOUBLINGS
    calls = told(few, GOOD)
    runs.sample_enough(None, convergence, **SIZE)
    assert calls[1]["doublings"] == runs.sampling.MOST_DOUBLINGS
    assert calls[1]["target_accept"] == 0.99


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([FEW, GOOD], "with a target acceptance of 0.95 and 6 steps for every draw"),
        ([STUCK], "are not expected to with 6 steps for every draw"),
    ],
)
def test_who_watches_is_told_why_it_begins_anew_or_does_not(told, caplog, watched, results, words):
    told(*results)
    runs.sample_enough(None, convergence, **SIZE | {"progressbar": watched})
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == watched
    if watched:
        assert "effective sample size" in said[0]
        assert words in said[0]


def test_steps_or_a_target_of_the_callers_own_are_kept_to(told):
    calls = told(chains(300, 0.99))
    runs.sample_enough(None, convergence, thin=3, **SIZE)
    assert [(call["thin"], call["target_accept"]) for call in calls] == [(3, 0.99)]
    calls = told(FEW, GOOD)
    runs.sample_enough(None, convergence, target_accept=0.8, **SIZE)
    assert [(call["thin"], call["target_accept"]) for call in calls] == [(2, 0.8), (6, 0.8)]
    assert calls[1]["doublings"] == QUICK_DOUBLINGS  # as far as before
    # Of divergences alone, more steps at the same target would not rid it.
    calls = told(chains(300, divergences=1))
    runs.sample_enough(None, convergence, target_accept=0.8, **SIZE)
    assert [(call["thin"], call["target_accept"]) for call in calls] == [(2, 0.8)]


def interrupted(kept):
    tree = chains(300, kept=kept)
    tree.attrs["interrupted"] = "sampling was interrupted"
    return tree


@pytest.mark.parametrize(
    ("second", "first_is_kept"),
    [
        (KeyboardInterrupt("nothing is kept"), True),
        (interrupted(90), True),  # 6 steps for each of 90 draws are fewer than 2 for each of 300
        (interrupted(110), False),
    ],
)
def test_of_an_interrupted_second_run_and_the_first_the_longer_is_kept(told, second, first_is_kept):
    told(FEW, second)
    found = runs.sample_enough(None, convergence, **SIZE)
    assert (found.attrs["thin"] == 2) == first_is_kept
    assert "interrupted" in found.attrs
    if first_is_kept:
        assert found["posterior"].sizes["draw"] == 300
        assert "effective sample size" in found.attrs["interrupted"]


def test_an_interrupted_quick_run_is_not_followed_by_another(told):
    calls = told(interrupted(10))
    assert runs.sample_enough(None, convergence, **SIZE)["posterior"].sizes["draw"] == 10
    assert len(calls) == 1


@given(
    st.lists(st.floats(0.1, 1e5) | st.just(np.nan), min_size=2, max_size=2),
    st.integers(runs.QUICK_STEPS, runs.MOST_STEPS),
)
def test_the_more_steps_the_fewer_effective_draws_there_were(found, taken):
    checks = pd.DataFrame({"value": found}, index=list(ESS))
    steps = runs.steps_needed(checks, 400, taken)
    assert runs.QUICK_STEPS <= steps <= runs.MOST_STEPS
    if np.isnan(found).any():
        assert steps == runs.MOST_STEPS
    elif steps < runs.MOST_STEPS:
        assert steps / taken * min(found) > 400
