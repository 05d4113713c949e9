"""Trajectories of one length: the same posterior, more effective draws of its slow parts."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

import bayes_ctxlaw as bcl
from bayes_ctxlaw import sampling
from bayes_ctxlaw.judgement import convergence

SIZE = {"draws": 1000, "tune": 500, "chains": 4, "random_seed": 1, "progressbar": False}


@pytest.fixture(scope="module")
def density(montgomery):
    law = bcl.ContextLaw()
    law._prepare(montgomery.isel(obs_id=np.flatnonzero(montgomery["prompt_tokens"] < 2000)))
    return law._density(500, 1)[0]


@pytest.fixture(scope="module")
def runs(density):
    """The same density sampled with trajectories of fixed length, and with NUTS."""
    fixed = sampling.sample(density, target_accept=0.95, **SIZE)
    return fixed, sampling.sample(density, target_accept=0.95, max_depth=10, **SIZE)


def test_all_trajectories_have_one_length_that_is_beyond_where_they_turn_round(runs):
    fixed, nuts = (run["sample_stats"] for run in runs)
    doublings = runs[0].attrs["doublings"]
    # A divergence ends a trajectory.
    assert set(fixed["n_steps"].values[~fixed["diverging"].values]) == {2**doublings - 1}
    assert 0 < doublings - np.log2(nuts["n_steps"].mean()) < 2


def test_both_sample_the_same_posterior(runs):
    fixed, nuts = (run["posterior"].to_dataset() for run in runs)
    gaps = []
    for method, of in (("mean", xr.Dataset.mean), ("sd", xr.Dataset.std)):
        error = [az.mcse(draws, method=method) for draws in (fixed, nuts)]
        values = [of(draws, ("chain", "draw")) for draws in (fixed, nuts)]
        gap = (values[0] - values[1]) / np.sqrt(error[0] ** 2 + error[1] ** 2)
        gaps.append(np.concatenate([np.ravel(gap[name]) for name in gap.data_vars]))
    # Monte Carlo standard errors, of some hundred numbers; those of NUTS' slowest are rough.
    assert max(np.abs(gap).max() for gap in gaps) < 5.0
    assert np.mean(np.abs(gaps) < 2.0) > 0.9
    # A posterior that is off would be found out.
    off = fixed["mu_B"].mean() + 0.5 * fixed["mu_B"].std() - nuts["mu_B"].mean()
    assert off / az.mcse(nuts[["mu_B"]])["mu_B"] > 5.0


def test_the_least_effective_draws_are_more(runs):
    fixed, nuts = (
        min(float(v.min()) for v in az.ess(run["posterior"].to_dataset()).data_vars.values())
        for run in runs
    )
    assert fixed > 1.5 * nuts


def test_of_a_fixed_length_no_depth_is_said_to_be_reached(runs):
    fixed, nuts = (set(run["sample_stats"].data_vars) for run in runs)
    assert nuts - fixed == {"reached_max_treedepth", "tree_depth"}
    assert fixed < nuts


def test_chains_too_short_for_a_probe_are_by_nuts(density, monkeypatch):
    monkeypatch.setattr(sampling, "_doublings", lambda *_, **__: pytest.fail("a probe"))
    few = SIZE | {"draws": 4, "tune": 5, "chains": 1, "target_accept": 0.9}
    found = sampling.sample(density, **few)
    assert "doublings" not in found.attrs
    assert "tree_depth" in found["sample_stats"]
    assert found["sample_stats"]["n_steps"].max() < 2**sampling.MOST_DOUBLINGS
    # Those that may go on will be looked at, and their length with them.
    monkeypatch.setattr(sampling, "_doublings", lambda *_, **__: 3)
    found = sampling.sample(density, **few, most=2, further=lambda trace: trace.attrs["thin"])
    assert found.attrs["doublings"] == 3


SMALL = SIZE | {"draws": 20, "tune": 40, "target_accept": 0.9, "doublings": 3}


def test_chains_that_go_on_end_where_a_single_run_of_so_many_steps_does(density):
    looks = []

    def further(trace):
        looks.append(trace)
        return {1: 2, 2: 4, 4: 1}[trace.attrs["thin"]]

    found = sampling.sample(density, thin=1, most=50, further=further, **SMALL)
    assert [trace.attrs["thin"] for trace in looks] == [1, 2, 4]
    for trace in looks:
        alone = sampling.sample(density, thin=trace.attrs["thin"], **SMALL)
        assert trace.identical(alone)
    assert found.identical(looks[-1])
    # No more than the most, however many are asked for.
    most = sampling.sample(density, thin=1, most=2, further=lambda trace: 9, **SMALL)
    assert most.identical(looks[1])


def test_energy_is_judged_by_all_steps_and_not_by_those_that_are_kept(density):
    size = SMALL | {"draws": 60}
    every = sampling.sample(density, thin=1, **size | {"draws": 360})
    kept = sampling.sample(density, thin=6, **size)
    of_all = az.bfmi(every["sample_stats"].to_dataset()[["energy"]])["energy"]
    check = "lowest E-BFMI"
    assert convergence(every).loc[check, "value"] == pytest.approx(float(of_all.min()))
    assert convergence(kept).loc[check, "value"] == pytest.approx(float(of_all.min()), rel=0.2)
    # What the draws that are kept would say by themselves.
    assert az.bfmi(kept["sample_stats"].to_dataset()[["energy"]])["energy"].min() > 1.4


def test_interrupted_when_they_go_on_all_draws_are_kept_of_as_many_steps_as_there_were(density):
    looks = []

    def further(trace):
        looks.append(trace.attrs["thin"])
        if len(looks) == 2:
            raise KeyboardInterrupt
        return 3

    found = sampling.sample(density, thin=2, most=1000, further=further, **SMALL)
    assert looks == [2, 3]
    assert "4 chains of 20 draws are kept of 4 chains of 20" in found.attrs["interrupted"]
    assert 3 <= found.attrs["thin"] < 1000
    assert found["posterior"].sizes["draw"] == 20
    assert found["posterior"]["mu_A"].notnull().all()


@pytest.mark.parametrize("target", ["x", None, 0.0, 1.0])
def test_a_target_that_is_no_probability(target):
    with pytest.raises(
        bcl.SpecificationError, match=r"draws=2 .*; target_accept=.* between 0 and 1"
    ):
        sampling.check_size(draws=2, tune=1, chains=1, target_accept=target)
