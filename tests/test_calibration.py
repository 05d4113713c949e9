"""Calibration: ranks of a right model are uniform, those of a wrong one are found out."""

import json

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

import bayes_ctxlaw as bcl
from bayes_ctxlaw import log_likelihood
from bayes_ctxlaw.errors import FileFormatError, ObservationError, SpecificationError
from bayes_ctxlaw.plots import plot_ranks
from bayes_ctxlaw.predict import Predictor
from bayes_ctxlaw.validation import simulated_fit
from bayes_ctxlaw.validation.ranks import Calibration

N = 12
REFERENCES = {"compute": 1e23, "prompt_tokens": 500.0}
OPTIONS = {"draws": 20, "tune": 150, "thin": 4, "random_seed": 3, "progressbar": False}
# Of runs that are compared with one another: what their draws are worth does not matter there.
QUICK = OPTIONS | {"draws": 4, "tune": 20, "thin": 1}


def small_design():
    """Two tasks, four checkpoints, six prompt lengths."""
    rows = [
        {
            "task": task,
            "llm": f"size {compute:g}, window {window}",
            "compute": compute,
            "context_window": window,
            "prompt_tokens": tokens,
            "n_items": 500,
            "score": 0.5,
        }
        for task in ("qa", "maths")
        for compute in (1e22, 1e24)
        for window in (4096, 32768)
        for tokens in np.geomspace(50, 50_000, 6).round()
    ]
    return bcl.as_observations(rows)


def small_law(**options):
    groups = {"task": ("A", "B"), "llm": ("A",)}
    return bcl.ContextLaw(groups=groups, likelihood="student_t", references=REFERENCES, **options)


@pytest.fixture(scope="module")
def design():
    return small_design()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("calibration")


@pytest.fixture(scope="module")
def found(design, folder):
    return bcl.calibrate(small_law(), design, N, folder=folder, **OPTIONS)


@pytest.fixture(scope="module")
def quick(design):
    return bcl.calibrate(small_law(), design, 4, **QUICK)


def of_ranks(ranks, n_draws=100):
    fits = pd.DataFrame({"redrawn": 0, "failed_checks": "", "ess": 1e3}, index=range(len(ranks)))
    return Calibration(xr.Dataset({"mu": ("simulation", ranks)}), n_draws, fits)


def conjugate_ranks(rng, prior_mean=0.0, narrow=1.0, size=200, n_draws=100):
    """Ranks of normal means with one observation each, under a posterior that may be wrong."""
    truth = rng.standard_normal(size)
    seen = truth + rng.standard_normal(size)
    sd = narrow * np.sqrt(0.5)
    draws = (seen + prior_mean) / 2 + sd * rng.standard_normal((n_draws, size))
    return (draws < truth).sum(axis=0)


def same(one, other):
    xr.testing.assert_identical(one.ranks, other.ranks)
    drop = {"columns": "seconds"}
    pd.testing.assert_frame_equal(one.fits.drop(**drop), other.fits.drop(**drop))


def test_every_scalar_is_ranked_in_every_simulation(found):
    ranks = found.ranks
    assert ranks.sizes["simulation"] == N
    assert found.n_draws == 40
    sizes = {"mu_delta": (N,), "A_llm_sd": (N,), "A_llm": (N, 4), "B_task": (N, 2)}
    sizes |= {"overdispersion": (N, 2), "log_likelihood": (N,), "mean_score": (N, 8)}
    assert {name: ranks[name].shape for name in sizes} == sizes
    for rank in ranks.data_vars.values():
        assert 0 <= rank.min() <= rank.max() <= found.n_draws
        assert len(np.unique(rank)) > 5
    assert ranks["task"].values.tolist() == ["qa", "maths"]
    assert (found.fits["ess"] > 0).all()


def test_a_right_model_passes(found):
    table = found.table
    assert table["uniform"].all(), table
    assert abs(table.loc["mean_score", "coverage_90"] - 0.9) < 0.1
    assert f"{N} simulations" in found.sentence()
    assert "may be uniform" in found.sentence()
    assert "1e+23 FLOP" in found.notes[0]
    assert "log_likelihood" in str(found)
    assert "<table>" in found._repr_html_()


def test_an_interrupted_run_continues(design, quick, tmp_path, monkeypatch):
    real = simulated_fit.prior_draws
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(simulated_fit, "prior_draws", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bcl.calibrate(small_law(), design, 4, folder=tmp_path, **QUICK)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["simulation-00000.json"]
    calls.clear()
    monkeypatch.setattr(simulated_fit, "prior_draws", lambda *a: calls.append(a) or real(*a))
    again = bcl.calibrate(small_law(), design, 4, folder=tmp_path, **QUICK)
    assert len(calls) == 3 + again.fits["redrawn"][1:].sum()
    same(again, quick)


def test_a_short_run_is_the_beginning_of_a_longer_one(design, quick):
    longer = bcl.calibrate(small_law(), design, 5, **QUICK)
    xr.testing.assert_identical(longer.ranks.isel(simulation=slice(4)), quick.ranks)


def test_a_finished_folder_is_read_and_not_run(design, folder, found, monkeypatch):
    monkeypatch.setattr(simulated_fit, "prior_draws", None)
    same(bcl.calibrate(small_law(), design, N, folder=folder, **OPTIONS), found)


def test_results_do_not_depend_on_how_simulations_are_spread(design, quick):
    with joblib.parallel_config(backend="threading", n_jobs=2):
        spread = bcl.calibrate(small_law(), design, 4, **QUICK)
    same(spread, quick)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"random_seed": 4}, "seed"),
        ({"thin": 6}, "sampling"),
        ({"law": small_law(priors={"kappa": (5, 20)})}, "law, simulator"),
        ({"simulator": small_law(priors={"kappa": (5, 20)})}, "simulator"),
        ({"design": small_design().isel(obs_id=slice(40))}, "design"),
    ],
)
def test_a_folder_of_another_configuration_is_refused(design, folder, found, change, named):
    options = {"law": small_law(), "design": design, **OPTIONS, **change}
    with pytest.raises(SpecificationError, match=rf"simulation-00000\.json .*in {named}\)"):
        bcl.calibrate(n_simulations=N, folder=folder, **options)


def test_a_broken_file_is_named(design, tmp_path):
    (tmp_path / "simulation-00002.json").write_text(json.dumps([1]))
    with pytest.raises(FileFormatError, match="simulation-00002"):
        bcl.calibrate(small_law(), design, 4, folder=tmp_path, **OPTIONS)


@pytest.mark.slow  # that wrong ranks are marked is tested below, of ranks in closed form
def test_a_law_fitted_under_another_prior_is_found_out(design):
    prior = small_law().priors["A"]
    shifted = bcl.Prior("lognormal", prior.loc + 2 * prior.scale, prior.scale)
    simulator = small_law(priors={"A": shifted})
    wrong = bcl.calibrate(small_law(), design, 10, simulator=simulator, **OPTIONS)
    assert not wrong.table.loc["mu_A", "uniform"]
    assert wrong.table.loc["mu_A", "mean_rank"] > 0.6
    assert "mu_A" in wrong.sentence()


def test_neither_scores_of_the_design_count_nor_is_the_law_fitted(design, quick):
    other = design.assign(score=("obs_id", np.linspace(0, 1, design.sizes["obs_id"])))
    law = small_law()
    before = str(law)
    again = bcl.calibrate(law, other, 4, **QUICK)
    same(again, quick)
    assert law.idata is None
    assert str(law) == before


def test_references_are_those_stated_or_of_the_fit_or_of_the_design(design):
    bare = bcl.ContextLaw(groups=(), likelihood="student_t")
    ranks = bcl.calibrate(bare, design, 4, **QUICK).ranks
    expected = np.exp(np.log(design["prompt_tokens"].values).mean())
    assert ranks.attrs["prompt_tokens_reference"] == pytest.approx(expected)
    scores = np.random.default_rng(1).uniform(size=design.sizes["obs_id"])
    bare.build_model(design.assign(score=("obs_id", scores)))
    ranks = bcl.calibrate(bare, design, 4, **QUICK).ranks
    assert ranks.attrs["prompt_tokens_reference"] == bare.encoding.prompt_tokens_reference


def test_what_cannot_be_fitted_is_drawn_anew_and_counted(design, monkeypatch):
    real = bcl.ContextLaw.fit
    calls = []

    def refusing(self, obs, **options):
        calls.append(obs["score"].values)
        if len(calls) <= 2:
            raise ObservationError("all scores equal")
        return real(self, obs, **options)

    monkeypatch.setattr(bcl.ContextLaw, "fit", refusing)
    found = bcl.calibrate(small_law(), design, 4, **QUICK)
    assert found.fits["redrawn"].tolist() == [2, 0, 0, 0]
    assert not np.array_equal(calls[0], calls[1])
    assert any("2 simulated data sets could not be fitted" in note for note in found.notes)

    def never(self, obs, **options):
        raise ObservationError("all scores equal")

    monkeypatch.setattr(bcl.ContextLaw, "fit", never)
    monkeypatch.setattr(simulated_fit, "_MOST_REDRAWS", 5)
    with pytest.raises(SpecificationError, match="none of 5 data sets"):
        bcl.calibrate(small_law(), design, 4, **QUICK)


def test_arguments_are_refused_together(design):
    with pytest.raises(SpecificationError, match=r"thin=0 .*n_simulations=1 .*random_seed=-1"):
        bcl.calibrate(small_law(), design, 1, thin=0, random_seed=-1)
    with pytest.raises(SpecificationError, match="needs a random_seed"):
        bcl.calibrate(small_law(), design, 4, folder="anywhere")
    with pytest.raises(SpecificationError, match="least_squares"):
        bcl.calibrate(bcl.ContextLaw(likelihood="least_squares"), design, 4)
    other = bcl.ContextLaw(groups=(), references={"compute": 1e24})
    with pytest.raises(SpecificationError, match=r"no A_task_sd.*reference compute=1e\+24"):
        bcl.calibrate(small_law(), design, 4, simulator=other)


def test_the_log_likelihood_is_that_of_the_fit(design):
    law = small_law()
    scores = np.random.default_rng(2).uniform(0.2, 0.8, design.sizes["obs_id"])
    obs = design.assign(score=("obs_id", scores))
    law.fit(obs, draws=10, tune=50, chains=2, thin=1, random_seed=1, progressbar=False)
    posterior = law.idata["posterior"].to_dataset()
    draws = Predictor.of(law.spec, law.encoding, posterior, 0).draws
    both = simulated_fit._truth_and_draws(law, {k: v[:1] for k, v in draws.items()}, 1)
    quantities = simulated_fit._quantities(law, both, np.array([0, 5]))
    expected = log_likelihood.pointwise(law).sum("obs_id").values.ravel()
    np.testing.assert_allclose(quantities["log_likelihood"][1:], expected, rtol=1e-10)
    assert quantities["mean_score"].shape == (21, 2)


def test_ties_are_broken_at_random():
    rng = np.random.default_rng(0)
    ranks = [simulated_fit._rank(np.ones(11), rng) for _ in range(2000)]
    assert np.bincount(ranks, minlength=11).min() > 120


def test_the_table_passes_right_posteriors_and_marks_wrong_ones():
    rng = np.random.default_rng(5)
    passed = [of_ranks(conjugate_ranks(rng)).table.loc["mu", "uniform"] for _ in range(100)]
    assert np.mean(passed) >= 0.89
    shifted = of_ranks(conjugate_ranks(rng, prior_mean=-1.0)).table.loc["mu"]
    assert not shifted["uniform"]
    assert shifted["mean_rank"] > 0.6
    narrow = of_ranks(conjugate_ranks(rng, narrow=0.7)).table.loc["mu"]
    assert not narrow["uniform"]
    assert narrow["coverage_90"] < 0.82
    wide = of_ranks(conjugate_ranks(rng, narrow=1.5)).table.loc["mu"]
    assert not wide["uniform"]
    assert wide["coverage_50"] > 0.6


def test_labels_that_share_their_simulations_do_not_mark_a_right_model():
    rng = np.random.default_rng(6)
    marked = []
    for _ in range(60):
        common, own = rng.standard_normal((100, 1)), rng.standard_normal((100, 8))
        ranks = np.floor(101 * norm.cdf(0.95 * common + np.sqrt(1 - 0.95**2) * own)).astype(int)
        one = Calibration(xr.Dataset({"e": (("simulation", "task"), ranks)}), 100, None)
        marked.append(not one.table.loc["e", "uniform"])
    assert np.mean(marked) < 0.12


def test_a_panel_marks_what_the_table_calls_not_uniform(found, monkeypatch):
    import arviz as az

    given, draw = {}, az.plot_ecdf_pit
    monkeypatch.setattr(az, "plot_ecdf_pit", lambda *a, **k: given.update(k) or draw(*a, **k))
    axes = plot_ranks(found, ["mu_A", "A_llm"])
    assert given["envelope_prob"] == pytest.approx(1.0 - 0.05 / len(found.table))
    assert axes[0].get_ylabel() == "share of ranks, less uniform"
    assert axes[0].get_title() == f"mu_A\np = {found.table.loc['mu_A', 'p_value']:.2g}"
    shown = [float(ax.get_title().rpartition("= ")[2]) for ax in axes[1:]]
    assert min(shown) == pytest.approx(found.table.loc["A_llm", "p_value"], rel=0.05)
    wrong = of_ranks(np.zeros(50, dtype=int))
    assert "not uniform" in plot_ranks(wrong, ["mu"])[0].get_title()
    plt.close("all")


def test_ranks_are_drawn_by_panel(found):
    axes = plot_ranks(found)
    assert axes[-1].get_title().splitlines()[0] == "log_likelihood"
    axes = plot_ranks(found, ["A_llm", "mu_A"])
    assert len(axes) == 5
    with pytest.raises(SpecificationError, match="'nothing'"):
        plot_ranks(found, ["nothing"])
    with pytest.raises(SpecificationError, match="at most 24"):
        plot_ranks(found, list(found.ranks.data_vars))
    plt.close("all")


@pytest.mark.slow
def test_the_default_law_is_calibrated(montgomery, law_all):
    references = {
        "compute": law_all.encoding.compute_reference,
        "prompt_tokens": law_all.encoding.prompt_tokens_reference,
    }
    law = bcl.ContextLaw(references=references)
    found = bcl.calibrate(law, montgomery, 200, random_seed=1, progressbar=False)
    assert found.table["uniform"].all(), str(found)


def test_a_design_with_a_metric_and_with_replicates_can_be_simulated():
    """What the door asks of observed scores has nothing to do with simulated ones."""
    rows = [
        {"task": "qa", "llm": llm, "compute": compute, "prompt_tokens": tokens, "n_items": 20,
         "context_window": 8192, "metric": "accuracy", "seed": seed, "score": 0.5}
        for llm, compute in (("a", 1e22), ("b", 1e23)) for tokens in (100, 4000) for seed in (1, 2)
    ]  # fmt: skip
    obs = bcl.as_observations(rows)
    law = bcl.ContextLaw(groups=(), likelihood="student_t", references=REFERENCES)
    found = bcl.calibrate(law, obs, 4, **QUICK)
    assert found.fits["redrawn"].max() == 0
