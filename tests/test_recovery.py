"""Known parameters come back; the paper's law is a special case."""

import numpy as np
import pytest
import scipy.optimize

import bayes_ctxlaw as bcl
from bayes_ctxlaw.law import LawTerms, mean_score
from bayes_ctxlaw.simulate import prior_draws, simulate_scores

PARAMETERS = ("A", "alpha", "B", "beta", "kappa", "delta")
N_FITS = 20
REFERENCES = {"compute": 1e23, "prompt_tokens": 500.0}


def simulated_design():
    """Four tasks, six checkpoints at three sizes and two windows, eight prompt lengths."""
    rows = [
        {
            "task": f"task {t}",
            "llm": f"size {s}, window {window}",
            "compute": compute,
            "context_window": window,
            "prompt_tokens": tokens,
            "n_items": 1000,
            "score": 0.5,
        }
        for t in range(4)
        for s, compute in enumerate((1e22, 1e23, 1e24))
        for window in (4096, 32768)
        for tokens in np.geomspace(50, 50_000, 8).round()
    ]
    return bcl.as_observations(rows)


@pytest.fixture(scope="module")
def recovery():
    """Whether each true task-level parameter lies in its 90 % interval, for simulated data."""
    design = simulated_design()
    law = bcl.ContextLaw(groups=("task", "llm"), likelihood="student_t", references=REFERENCES)
    rng = np.random.default_rng(7)
    first = design.assign(score=("obs_id", rng.uniform(0.1, 0.9, design.sizes["obs_id"])))
    law.build_model(first)
    truth = prior_draws(law.spec, law.encoding, N_FITS, rng)
    scores = simulate_scores(law.spec, law.encoding, truth, design, seed=7)
    inside = {name: [] for name in PARAMETERS}
    law = bcl.ContextLaw(groups=("task", "llm"), likelihood="student_t", references=REFERENCES)
    for i in range(N_FITS):
        obs = design.assign(score=("obs_id", scores[i]))
        idata = law.fit(
            obs, draws=300, tune=500, chains=2, thin=1, random_seed=i, progressbar=False
        )
        for name in PARAMETERS:
            total = truth[f"mu_{name}"][i] + truth[f"{name}_task"][i]
            true = total if name == "delta" else np.exp(total)
            low, high = idata["posterior"][name].quantile([0.05, 0.95], dim=("chain", "draw"))
            inside[name].extend(((low <= true) & (true <= high)).values.tolist())
    return inside


@pytest.mark.slow
def test_intervals_cover_the_parameters_that_made_the_data(recovery):
    pooled = np.concatenate([recovery[name] for name in PARAMETERS])
    assert len(pooled) == N_FITS * 6 * 4
    assert 0.85 <= pooled.mean() <= 0.95, {k: np.mean(v) for k, v in recovery.items()}


def test_a_fit_depends_on_its_scores_and_seed_alone():
    design = simulated_design().isel(obs_id=slice(0, 48))
    rng = np.random.default_rng(1)
    first, second = (design.assign(score=("obs_id", rng.uniform(size=48))) for _ in range(2))
    options = {"draws": 20, "tune": 30, "chains": 2, "random_seed": 3, "progressbar": False}
    law, fresh = bcl.ContextLaw(groups=("llm",)), bcl.ContextLaw(groups=("llm",))
    law.fit(first, **options)
    again = law.fit(second, **options)["posterior"].to_dataset()
    assert again.identical(fresh.fit(second, **options)["posterior"].to_dataset())
    assert not again.equals(fresh.fit(first, **options)["posterior"].to_dataset())


def paper_law(p, x, z, excess):
    parameters = {"log_A": p[0], "alpha": p[1], "log_B": p[2], "beta": p[3]}
    design = {"x": x, "z": z, "w": x, "excess_tokens": excess, "chance": 0.0}
    return mean_score(parameters, design, LawTerms("exponential", "exponential", "token_logistic"))


def test_posterior_mode_of_the_papers_law_is_the_least_squares_fit(montgomery):
    import pymc as pm

    task = montgomery["task"].values == "arithmetic reasoning"
    obs = montgomery.isel(obs_id=np.flatnonzero(task))
    wide = {"A": (1e-8, 1e8), "alpha": (1e-6, 1e6), "B": (1e-8, 1e8), "beta": (1e-6, 1e6)}
    law = bcl.ContextLaw(
        context_term="exponential",
        compute_term="exponential",
        penalty="token_logistic",
        likelihood="least_squares",
        groups=(),
        priors=wide,
        references={"compute": 1e23, "prompt_tokens": 100.0},
        zero_context="none",
        dilution="none",
    )
    model = law.build_model(obs)
    mode = pm.find_MAP(model=model, progressbar=False, return_inferencedata=True, jitter=False)
    found = {
        name: float(mode["posterior"][f"mu_{name}"].squeeze()) for name in law.terms.parameters
    }
    design = law.encoding.design(obs, law.terms)
    x, z, excess = design["x"], design["z"], design["excess_tokens"]
    natural = {"log_A": found["A"], "log_B": found["B"]}
    natural |= {name: np.exp(found[name]) for name in ("alpha", "beta")}
    bayes = mean_score(natural, design, law.terms)
    least = scipy.optimize.least_squares(
        lambda p: paper_law(p, x, z, excess) - obs["score"].values,
        [-2.0, 0.3, 0.0, 0.6],
        xtol=1e-12,
        ftol=1e-12,
    )
    squares = paper_law(least.x, x, z, excess)
    np.testing.assert_allclose(bayes, squares, atol=1e-3)
    # The figures read off the paper's plots give this method 0.0090 on these points.
    assert np.abs(squares - obs["score"].values).mean() == pytest.approx(0.0090, abs=4e-4)
    # A mode that is not the least-squares fit would be found out.
    assert np.abs(paper_law([-2.0, 0.3, 0.0, 0.6], x, z, excess) - squares).max() > 1e-3


def test_a_single_compute_value_fits_with_alpha_from_its_prior(caplog):
    design = simulated_design()
    one = np.flatnonzero((design["compute"].values == 1e23) & (design["task"].values == "task 0"))
    obs = design.isel(obs_id=one)
    curve = 0.6 * (1 - np.exp(-((obs["prompt_tokens"] / 200) ** 0.7)))
    obs = obs.assign(score=curve.where(obs["prompt_tokens"] < obs["context_window"], 0.0))
    law = bcl.ContextLaw()
    with caplog.at_level("INFO", logger="bayes_ctxlaw"):
        idata = law.fit(
            obs, draws=300, tune=400, chains=2, thin=1, random_seed=1, progressbar=False
        )
    said = "comes from the prior: there is a single compute value"
    assert said in str(law)
    assert said in caplog.text
    low, high = np.exp(idata["posterior"]["mu_alpha"].quantile([0.05, 0.95]).values)
    prior_low, prior_high = law.priors["alpha"].interval
    assert np.log(high / low) > 0.8 * np.log(prior_high / prior_low)
