"""Trajectories of one length: the same posterior, more effective draws of its slow parts."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

import bayes_ctxlaw as bcl
from bayes_ctxlaw import sampling

SIZE = {"draws": 1000, "tune": 500, "chains": 4, "random_seed": 1, "progressbar": False}


@pytest.fixture(scope="module")
def runs(montgomery):
    """The same density sampled with trajectories of fixed length, and with NUTS."""
    law = bcl.ContextLaw()
    law._prepare(montgomery.isel(obs_id=np.flatnonzero(montgomery["prompt_tokens"] < 2000)))
    density, _ = law._density(500, 1)
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
