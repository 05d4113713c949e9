"""Chains go on until they pass, and others begin with shorter steps where they diverge."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from bayes_ctxlaw import runs
from bayes_ctxlaw.judgement import ESS, ESS_PER_CHAIN, convergence

DOUBLINGS = 6


def chains(length, like_neighbours=0.0, divergences=0):
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
    return xr.DataTree.from_dict(tree)


GOOD, DIVERGING = chains(300), chains(300, divergences=2)
FEW, FEW_DIVERGING = chains(300, 0.7), chains(300, 0.7, divergences=2)
TOO_FEW, FEWER = chains(300, 0.6), chains(300, 0.83)
STUCK, STUCK_DIVERGING = chains(300, 0.99), chains(300, 0.99, divergences=2)


@pytest.fixture
def sampler(monkeypatch):
    """Stand-in for the sampler: what each run has after so many steps; what it was told."""

    def of(*each_run, doublings=DOUBLINGS):
        left, calls = list(each_run), []

        def sample(density, *, thin, further=None, **options):
            calls.append(options | {"looks": [thin]})
            there = left.pop(0)
            if isinstance(there, BaseException):
                raise there
            while True:
                trace = there if isinstance(there, xr.DataTree) else there[thin]
                trace = trace.copy()  # its attributes will be written to
                had = options.get("doublings")
                trace.attrs |= {"thin": thin, "doublings": doublings if had is None else had}
                if further is None or "interrupted" in trace.attrs:
                    return trace
                steps = further(trace)
                if steps <= thin:
                    return trace
                thin = steps
                calls[-1]["looks"].append(thin)

        monkeypatch.setattr(runs.sampling, "sample", sample)
        return calls

    return of


DENSITY = SimpleNamespace(moved={})
SIZE = {"draws": 300, "tune": 100, "chains": 4, "random_seed": 1, "progressbar": False}


def looks(calls):
    return [(call["target_accept"], call.get("doublings"), *call["looks"]) for call in calls]


def test_chains_that_pass_are_the_fit(sampler):
    calls = sampler(GOOD)
    found = runs.sample_enough(DENSITY, convergence, **SIZE)
    assert looks(calls) == [(0.95, None, 1)]
    assert (found.attrs["thin"], found.attrs["target_accept"]) == (1, 0.95)
    assert calls[0]["most"] == runs.MOST_STEPS
    assert found["posterior"].identical(GOOD["posterior"])


@pytest.mark.parametrize(
    ("each_run", "expected"),
    [
        # They go on while they lack effective draws, as far as may be needed for them.
        ([{1: FEW, 2: GOOD}], [(0.95, None, 1, 2)]),
        ([{1: FEWER, 4: TOO_FEW, 5: GOOD}], [(0.95, None, 1, 4, 5)]),
        ([{1: FEW, 2: FEW, 4: TOO_FEW, 5: TOO_FEW, 6: TOO_FEW}], [(0.95, None, 1, 2, 4, 5, 6)]),
        # The most steps would not be enough.
        ([STUCK], [(0.95, None, 1)]),
        ([{1: FEW, 2: STUCK}], [(0.95, None, 1, 2)]),
        # Those that diverge are followed by others, of shorter leapfrog steps and more of them.
        ([DIVERGING, GOOD], [(0.95, None, 1), (0.99, 7, 1)]),
        ([FEW_DIVERGING, {1: FEW, 2: GOOD}], [(0.95, None, 1), (0.99, 7, 1, 2)]),
        ([STUCK_DIVERGING, GOOD], [(0.95, None, 1), (0.99, 7, 1)]),
        ([{1: FEW, 2: DIVERGING}, GOOD], [(0.95, None, 1, 2), (0.99, 7, 1)]),
        # The last is the fit whatever comes of it: the review says so.
        ([DIVERGING] * 3, [(0.95, None, 1), (0.99, 7, 1), (0.998, 8, 1)]),
        (
            [DIVERGING, DIVERGING, {1: FEW_DIVERGING, 2: DIVERGING}],
            [(0.95, None, 1), (0.99, 7, 1), (0.998, 8, 1, 2)],
        ),
    ],
)
def test_chains_that_do_not_pass_go_on_or_are_followed_by_others(sampler, each_run, expected):
    calls = sampler(*each_run)
    found = runs.sample_enough(DENSITY, convergence, **SIZE)
    assert looks(calls) == expected
    target, _, *steps = expected[-1]
    assert (found.attrs["thin"], found.attrs["target_accept"]) == (steps[-1], target)
    last = each_run[-1] if isinstance(each_run[-1], xr.DataTree) else each_run[-1][steps[-1]]
    assert found["posterior"].identical(last["posterior"])


def test_shorter_steps_are_no_hope_where_trajectories_cannot_have_more_of_them(sampler):
    most = runs.sampling.MOST_DOUBLINGS
    calls = sampler(STUCK_DIVERGING, doublings=most)
    runs.sample_enough(DENSITY, convergence, **SIZE)
    assert len(calls) == 1
    calls = sampler(FEW_DIVERGING, GOOD, doublings=most)
    runs.sample_enough(DENSITY, convergence, **SIZE)
    assert looks(calls) == [(0.95, None, 1), (0.99, most, 1)]


def test_where_tasks_stray_trajectories_are_kept_shorter(sampler):
    calls = sampler(FEW_DIVERGING, GOOD, doublings=8)
    runs.sample_enough(SimpleNamespace(moved={"discrepancy": slice(0, 3)}), convergence, **SIZE)
    assert looks(calls) == [(0.95, None, 1), (0.99, 8, 1)]


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize(
    ("each_run", "words"),
    [
        ([{1: FEW, 2: GOOD}], "pass after 2 of at most 6 steps for every draw"),
        ([DIVERGING, {1: FEW, 2: GOOD}], "divergent transitions). Sampling again"),
        ([STUCK], "effective sample size) after 1 of at most 6 steps for every draw, and are not"),
        (
            [DIVERGING] * 3,
            "(divergent transitions), and more steps than the 1 for every draw",
        ),
    ],
)
def test_who_watches_is_told_why_it_ends_early_or_begins_anew(
    sampler, caplog, watched, each_run, words
):
    sampler(*each_run)
    runs.sample_enough(DENSITY, convergence, **SIZE | {"progressbar": watched})
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert bool(said) == watched
    if watched:
        assert any(words in message for message in said)


def test_who_watches_is_not_told_that_chains_pass_which_do_not(sampler, caplog):
    sampler(*[DIVERGING] * 3)
    runs.sample_enough(DENSITY, convergence, **SIZE | {"progressbar": True})
    assert not any("chains pass" in record.getMessage() for record in caplog.records)


def test_a_single_chain_goes_on_for_effective_draws_and_not_for_want_of_others(sampler):
    single = {
        name: xr.DataTree.from_dict(
            {group: tree[group].to_dataset().isel(chain=[0]) for group in tree}
        )
        for name, tree in {"few": FEW, "good": GOOD}.items()
    }
    calls = sampler({1: single["few"], 2: single["good"]})
    found = runs.sample_enough(DENSITY, convergence, **SIZE | {"chains": 1})
    assert looks(calls) == [(0.95, None, 1, 2)]
    assert not convergence(found).loc["largest R-hat", "passed"]


def test_steps_or_a_target_of_the_callers_own_are_kept_to(sampler):
    calls = sampler(STUCK)
    runs.sample_enough(DENSITY, convergence, thin=3, **SIZE)
    assert looks(calls) == [(0.99, None, 3)]
    calls = sampler({1: FEW, 2: GOOD})
    runs.sample_enough(DENSITY, convergence, target_accept=0.8, **SIZE)
    assert looks(calls) == [(0.8, None, 1, 2)]
    # Of divergences alone, more steps at the same target would not rid it.
    calls = sampler(DIVERGING)
    runs.sample_enough(DENSITY, convergence, target_accept=0.8, **SIZE)
    assert looks(calls) == [(0.8, None, 1)]


def test_draws_too_few_to_pass_are_taken_from_a_single_run(sampler):
    calls = sampler(STUCK_DIVERGING)
    few = SIZE | {"draws": ESS_PER_CHAIN - 1}
    found = runs.sample_enough(DENSITY, convergence, **few)
    assert looks(calls) == [(0.95, None, 1)]
    assert found.attrs["target_accept"] == 0.95
    calls = sampler(STUCK_DIVERGING)
    runs.sample_enough(DENSITY, convergence, target_accept=0.8, **few)
    assert looks(calls) == [(0.8, None, 1)]


def interrupted(kept):
    tree = chains(kept)
    tree.attrs["interrupted"] = "sampling was interrupted"
    return tree


@pytest.mark.parametrize(
    ("second", "first_is_kept"),
    [
        (KeyboardInterrupt("nothing is kept"), True),
        (interrupted(290), True),
        (interrupted(300), False),
    ],
)
def test_of_an_interrupted_second_run_and_the_first_the_longer_is_kept(
    sampler, second, first_is_kept
):
    calls = sampler(DIVERGING, second, GOOD)
    found = runs.sample_enough(DENSITY, convergence, **SIZE)
    assert (found.attrs["target_accept"] == 0.95) == first_is_kept
    assert len(calls) == 2
    if first_is_kept:
        assert found["posterior"].sizes["draw"] == 300
        assert "divergent transitions" in found.attrs["interrupted"]


def test_an_interrupted_run_is_not_followed_by_another(sampler):
    calls = sampler(interrupted(10), GOOD)
    assert runs.sample_enough(DENSITY, convergence, **SIZE)["posterior"].sizes["draw"] == 10
    assert len(calls) == 1


@given(
    st.lists(st.floats(0.1, 1e5) | st.just(np.nan), min_size=2, max_size=2),
    st.integers(runs.FEWEST_STEPS, runs.MOST_STEPS),
)
def test_the_fewer_effective_draws_there_are_the_more_steps_are_needed(found, taken):
    checks = pd.DataFrame({"value": found}, index=list(ESS))
    steps = runs.steps_needed(checks, 400, taken)
    assert min(taken + 1, runs.MOST_STEPS) <= steps <= runs.MOST_STEPS
    if np.isnan(found).any():
        assert steps == runs.MOST_STEPS
    elif steps < runs.MOST_STEPS:
        assert steps / taken * min(found) >= 400 * (1 - 1e-9)
