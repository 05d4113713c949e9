"""What a fit samples is the posterior of the plain PyMC graph, on real data."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

import bayes_ctxlaw as bcl
from bayes_ctxlaw.posterior import population_names

MOST_ERRORS = 4.5  # Monte Carlo standard errors; some hundreds of comparisons are made


def summaries(posterior):
    """Mean, 5 % and 95 % quantile of every number, with their Monte Carlo standard errors."""
    found = {}
    for what, values, options in (
        ("mean", posterior.mean(("chain", "draw")), {"method": "mean"}),
        ("5 %", posterior.quantile(0.05, ("chain", "draw")), {"method": "quantile", "prob": 0.05}),
        ("95 %", posterior.quantile(0.95, ("chain", "draw")), {"method": "quantile", "prob": 0.95}),
    ):
        found[what] = values, az.mcse(posterior, **options)
    return found


def furthest(one, other):
    """Largest distance of two posteriors in Monte Carlo standard errors, and where it is."""
    worst = (0.0, "")
    for what, (values, errors) in summaries(one).items():
        others, other_errors = summaries(other)[what]
        for name in values.data_vars:
            error = np.hypot(errors[name].values, other_errors[name].values)
            gap = np.abs(values[name].values - others[name].values) / error
            worst = max(worst, (float(np.max(gap)), f"{what} of {name}"))
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["montgomery2025", "helmet_icl"])
def test_a_fit_samples_the_posterior_of_the_plain_graph(dataset):
    import nutpie

    law = bcl.ContextLaw()
    law.fit(bcl.load_dataset(dataset), random_seed=1, progressbar=False)
    names = list(population_names(law.spec, law.encoding))
    ours = law.idata["posterior"].to_dataset()[names]
    # Every effect its scale times a standard normal one; PyTensor's own gradient.
    trace = nutpie.sample(
        nutpie.compile_pymc_model(law.model),
        draws=2000, tune=1500, chains=4, seed=2, target_accept=0.95, progress_bar=False,
    )  # fmt: skip
    plain = trace["posterior"].to_dataset()[names]
    distance, where = furthest(ours, plain)
    assert distance < MOST_ERRORS, where
    # A posterior that is off would be found out.
    shifted = xr.Dataset({**ours, "mu_B": ours["mu_B"] + 0.3 * ours["mu_B"].std()})
    assert furthest(shifted, plain)[0] > MOST_ERRORS
