"""The review after a fit: its numbers against PyMC and SciPy, a case for every verdict."""

import copy

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pytensor.compile.mode import Mode
from scipy import stats

import bayes_ctxlaw as bcl
from bayes_ctxlaw import advice
from bayes_ctxlaw.encoding import level_dim
from bayes_ctxlaw.judgement import convergence
from bayes_ctxlaw.likelihoods import (
    COUNT_LIKELIHOODS,
    LIKELIHOODS,
    distribution_at,
    draw_scores,
    item_counts,
)
from bayes_ctxlaw.log_likelihood import log_prior, places, pointwise, residuals, stated_priors
from bayes_ctxlaw.posterior import population_names
from bayes_ctxlaw.prior_influence import CONFLICT, STRONG_PRIOR
from bayes_ctxlaw.priors import scale_name
from bayes_ctxlaw.review import Review

CHECKS = [
    "Pareto k of leave-one-out",
    "LOO-PIT, test of uniformity",
    "misses alike at neighbouring prompts",
    "prior sensitivity, power scaling",
    "parameters that the prior decides",
]


def observations(likelihood="student_t"):
    """Two tasks and four checkpoints; some scores are 0 or 1, some without a number of items."""
    rng = np.random.default_rng(3)
    rows = [
        {
            "task": f"task {t}", "llm": f"llm {m}", "family": "one", "technique": "YaRN",
            "compute": 1e22 * 4.0**m, "prompt_tokens": n, "context_window": 8192.0,
            "n_items": 40, "score": rng.integers(0, 41) / 40,
        }
        for t in range(2) for m in range(4) for n in (100.0, 1000.0, 9000.0)
    ]  # fmt: skip
    rows[0]["score"], rows[1]["score"] = 0.0, 1.0
    if likelihood not in COUNT_LIKELIHOODS:
        rows[2]["n_items"] = np.nan
    return bcl.as_observations(rows)


def drawn(chains=2, draws=6, spread=1.0, obs=None, **options):
    """A law whose posterior is not sampled but drawn from around the middle of its priors."""
    law = bcl.ContextLaw(**options)
    law._prepare(observations(options.get("likelihood")) if obs is None else obs)
    rng, shape, values = np.random.default_rng(7), (chains, draws), {}
    names = population_names(law.spec, law.encoding)
    for name in (name for name, dim in names.items() if dim is None):
        prior, unit = law.priors[name.removeprefix("mu_")], rng.standard_normal(shape)
        values[name] = prior.loc + spread * prior.scale * unit
        if prior.kind in ("half_normal", "zero_avoiding"):
            values[name] = 0.02 + abs(values[name])
    for parameter in law.terms.parameters:
        for level in law.spec.effects_of(parameter, law.encoding):
            labels = len(law.encoding.labels[level])
            scale = values[scale_name(parameter, level)][..., None]
            effects = scale * rng.standard_normal((*shape, labels))
            values[f"{parameter}_{level_dim(level)}"] = effects
    if "overdispersion" in names:
        labels = len(law.encoding.labels["task"])
        values["overdispersion"] = rng.uniform(0.05, 0.2, (*shape, labels))
    posterior = xr.Dataset(
        {n: (("chain", "draw", *filter(None, [names[n]])), v) for n, v in values.items()},
        coords={level_dim(lv): list(known) for lv, known in law.encoding.labels.items()}
        | {"chain": range(chains), "draw": range(draws)},
    )
    stats_ = {"diverging": np.zeros(shape, bool), "energy": rng.standard_normal(shape)}
    groups = {
        "posterior": posterior,
        "sample_stats": xr.Dataset({k: (("chain", "draw"), v) for k, v in stats_.items()}),
    }
    law.idata = law._tree(xr.DataTree.from_dict(groups))
    return law


def with_posterior(law, **changed):
    """The same law with other draws of some variables."""
    law = copy.copy(law)
    law.idata = law.idata.copy()
    law.idata["posterior"] = xr.DataTree(law.idata["posterior"].to_dataset().assign(changed))
    return law


def by_pymc(law, variables):
    """Log-densities of variables of the PyMC model at every draw, lists of (chain, draw, …)."""
    model, posterior = law.model, law.idata["posterior"].to_dataset()
    terms = model.logp(variables, jacobian=False, sum=False)
    as_written = Mode(linker="py", optimizer=None)
    f = model.compile_fn(terms, inputs=model.value_vars, mode=as_written, on_unused_input="ignore")
    found = []
    for chain in posterior["chain"].values:
        for draw in posterior["draw"].values:
            at, values = posterior.sel(chain=chain, draw=draw), {}
            for rv in model.free_RVs:
                value = at[rv.name.removesuffix("_raw")].values
                if rv.name.endswith("_raw"):
                    parameter, level = rv.name.removesuffix("_raw").split("_", 1)
                    value = value / at[f"{parameter}_{level}_sd"].values
                moved = model.rvs_to_values[rv].name
                values[moved] = np.log(value) if moved.endswith("_log__") else value
            found.append(f(values))
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    return [np.reshape(v, (*shape, *v[0].shape)) for v in zip(*found, strict=True)]


class TestLogLikelihood:
    @pytest.mark.parametrize("likelihood", LIKELIHOODS)
    def test_every_row_as_in_the_model(self, likelihood):
        law = drawn(draws=3, likelihood=likelihood)
        (expected,) = by_pymc(law, law.model.observed_RVs)
        found = pointwise(law)
        assert found.dims == ("chain", "draw", "obs_id")
        # PyMC's normal_lcdf takes the root of 2 in single precision.
        rtol = 1e-6 if likelihood == "normal" else 1e-8
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-8)

    def test_every_stated_prior_as_in_the_model(self):
        law = drawn(draws=3, priors={"A_llm_sd": bcl.zero_avoiding(0.3)})
        found = log_prior(law)
        names = list(stated_priors(law.spec, law.encoding))
        for name, expected in zip(names, by_pymc(law, [law.model[n] for n in names]), strict=True):
            # PyMC's half-normal takes a constant in single precision.
            np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-8)

    def test_priors_that_bear_on_nothing_are_left_out(self):
        law = drawn()
        assert "A_family_sd" in law.idata["posterior"]  # of a single label
        assert "A_family_sd" not in log_prior(law)
        assert {"mu_A", "A_task_sd", "A_llm_sd", "overdispersion"} <= set(log_prior(law))

    def test_counts_are_exact_where_scores_were_rounded(self):
        law = drawn(likelihood="binomial")
        rounded = copy.copy(law)
        rounded.obs = law.obs.assign(score=law.obs["score"].round(3))
        np.testing.assert_array_equal(pointwise(rounded), pointwise(law))

    @pytest.mark.parametrize("likelihood", LIKELIHOODS)
    def test_places_are_those_among_predictive_draws(self, likelihood):
        obs, rng, size = observations(likelihood), np.random.default_rng(2), (10_000, 24)
        mean, phi = np.tile(np.linspace(0.1, 0.9, 24), (size[0], 1)), np.full(size, 0.2)
        below, upto = distribution_at(likelihood, mean, phi, obs, rng)
        draws = draw_scores(likelihood, mean, phi, item_counts(obs), rng)
        score = obs["score"].values
        # These two have no mass at the ends; it is only their draws that are cut off there.
        without_ends = likelihood in ("beta", "least_squares")
        inside = (score > 0) & (score < 1) if without_ends else slice(None)
        for found, among in ((below, draws < score - 1e-9), (upto, draws <= score + 1e-9)):
            away = np.abs(found.mean(0) - among.mean(0))[inside]
            assert float(away.max()) < 0.025  # five standard errors

    def test_residuals_of_very_many_rows_are_enough_for_a_small_p_value(self, monkeypatch):
        law = drawn(draws=110)
        monkeypatch.setattr("bayes_ctxlaw.log_likelihood._MOST_RESIDUALS", (1000, 24))
        assert 100 <= len(residuals(law)) < 200
        assert 1 / (1 + len(residuals(law))) < advice.MIN_P

    def test_a_place_is_between_its_bounds(self):
        law = drawn()
        found = places(law)
        assert ((found > 0) & (found < 1)).all()
        xr.testing.assert_identical(found, places(law))


class TestReview:
    def test_of_a_fit_that_converged(self, law_all, caplog):
        found = law_all.review()
        table = found.table
        assert table.index.name == "check"
        assert list(table.columns) == ["verdict", "value", "wanted", "advice"]
        assert list(table.index[:3]) == list(convergence(law_all.idata).index[:3])
        assert list(table.index[-5:]) == CHECKS
        assert "lowest E-BFMI" in table.index
        assert (table["verdict"].iloc[:-5] == "PASS").all(), str(found)
        assert found.verdict == "REVIEW"
        # The paper's two base models have a compute each.
        assert "alpha" in table.loc["parameters that the prior decides", "advice"]
        assert all(text.endswith(".") for text in table["advice"])
        assert not caplog.records

    def test_arviz_finds_the_same_in_the_tree(self, law_all):
        found = law_all.review()
        with pytest.warns(UserWarning, match="Pareto"):
            loo = az.loo(law_all.idata, pointwise=True)
        np.testing.assert_allclose(found.points["pareto_k"], loo.pareto_k, rtol=0.1, atol=0.05)
        summary = az.psense_summary(law_all.idata, var_names=["mu_alpha"])
        assert summary["prior"].item() > 0.0

    def test_loo_pit_is_that_of_arviz(self, law_all):
        found = law_all.review()
        new = law_all.predict(law_all.obs, samples=True)["samples"]
        kept = {name: law_all.idata[name] for name in ("posterior", "observed_data")}
        groups = {name: group.to_dataset() for name, group in kept.items()}
        groups["log_likelihood"] = law_all.idata["log_likelihood"].to_dataset()
        groups["posterior_predictive"] = new.to_dataset(name="score")
        expected = az.loo_pit(xr.DataTree.from_dict(groups))["score"].values
        inside = (law_all.obs["prompt_tokens"] <= law_all.obs["context_window"]).values
        good = inside & (found.points["pareto_k"] < 0.7).to_numpy()
        np.testing.assert_allclose(found.points["loo_pit"][good], expected[good], atol=0.08)

    def test_many_rows_are_judged_by_fewer_draws(self, law_all, monkeypatch):
        law = with_posterior(law_all)
        del law.idata["log_likelihood"]
        monkeypatch.setattr("bayes_ctxlaw.review._MOST_NUMBERS", 117 * 1000)
        found, expected = law.review(), law_all.review()
        assert "log_likelihood" not in law.idata
        np.testing.assert_allclose(found.points["loo_pit"], expected.points["loo_pit"], atol=0.15)

    def test_scores_that_turn_where_the_law_does_not_are_named(self, law_all):
        check = "misses alike at neighbouring prompts"
        assert law_all.review().table.loc[check, "verdict"] == "PASS"
        # Every checkpoint falls short of the law around a thousand tokens of one task.
        law, obs = with_posterior(law_all), law_all.obs
        dip = (obs["task"] == "arithmetic reasoning") & (
            abs(np.log(obs["prompt_tokens"] / 1e3)) < 1
        )
        law.obs = obs.assign(score=obs["score"] - 0.06 * dip)
        row = law.review().table.loc[check]
        assert row["verdict"] == "REVIEW"
        assert "most on arithmetic reasoning: together they lie below it" in row["advice"]

    def test_labels_of_parameters_are_those_of_the_data(self, law_all):
        parameters = law_all.review().parameters
        assert list(parameters.loc["alpha"].index) == sorted(set(law_all.obs["task"].values))
        at = law_all.idata["posterior"]["alpha"].sel(task="machine translation")
        row = parameters.loc[("alpha", "machine translation")]
        assert row["posterior_sd"] == pytest.approx(float(np.log(at).std()))
        priors = law_all.priors
        expected = np.hypot(priors["alpha"].scale, priors["alpha_task_sd"].scale)
        assert row["prior_sd"] == pytest.approx(expected)

    def test_a_saved_fit_has_the_same_review(self, law_all, tmp_path):
        found = law_all.review()
        loaded = bcl.ContextLaw.load(law_all.save(tmp_path / "fit.nc"))
        assert "log_likelihood" in loaded.idata
        pd.testing.assert_frame_equal(loaded.review().table, found.table)
        at = law_all.obs.isel(obs_id=[0])
        xr.testing.assert_identical(loaded.predict(at)["median"], law_all.predict(at)["median"])

    def test_chains_that_disagree_fail(self, law_all):
        moved = law_all.idata["posterior"]["mu_alpha"].copy()
        moved[0] += 3.0
        found = with_posterior(law_all, mu_alpha=moved).review()
        assert found.verdict == "FAIL"
        assert found.table.loc["largest R-hat", "verdict"] == "FAIL"
        assert "most about mu_alpha" in found.table.loc["largest R-hat", "advice"]
        assert "most about mu_alpha" in " ".join(str(found).split())

    def test_draws_that_are_not_finite_fail_without_the_rest(self, law_all):
        broken = law_all.idata["posterior"]["mu_B"].copy()
        broken[0, 0] = np.nan
        found = with_posterior(law_all, mu_B=broken).review()
        assert found.verdict == "FAIL"
        assert not set(CHECKS) & set(found.table.index)
        assert "mu_B" in found.table.loc["largest R-hat", "advice"]

    def test_alpha_of_a_single_compute_value_is_the_priors(self, montgomery):
        law = bcl.ContextLaw()
        kept = montgomery["compute"].values < 1e23
        size = {"draws": 100, "tune": 200, "thin": 1, "progressbar": False}
        law.fit(montgomery.isel(obs_id=kept), random_seed=1, **size)
        row = law.review().table.loc["parameters that the prior decides"]
        assert row["verdict"] == "REVIEW"
        assert "alpha" in row["advice"]
        assert "checkpoints of other training compute" in row["advice"]

    @pytest.mark.parametrize(
        "options",
        [
            {"groups": ()},
            {"groups": ["llm"]},
            {"groups": ["task", "task:llm", "task:technique"]},
            {"likelihood": "binomial", "penalty": "none"},
        ],
    )
    def test_every_form_of_the_law(self, options):
        found = drawn(draws=200, spread=0.1, **options).review()
        assert list(found.table.index[-5:]) == CHECKS
        assert set(found.parameters.index.get_level_values("parameter")) == set(
            bcl.ContextLaw(**options).terms.parameters
        )

    @pytest.mark.parametrize(("chains", "draws"), [(1, 100), (2, 4)])
    def test_too_few_draws_fail_and_do_not_break(self, chains, draws):
        assert drawn(chains=chains, draws=draws).review().verdict == "FAIL"

    def test_there_is_none_before_a_fit(self):
        with pytest.raises(bcl.NotFittedError, match=r"call law\.fit"):
            bcl.ContextLaw().review()

    def test_a_notebook_shows_a_table(self):
        table = pd.DataFrame(
            {"verdict": ["PASS", "REVIEW"], "value": "<1", "wanted": "0", "advice": "Look."},
            index=pd.Index(["one", "two"], name="check"),
        )
        found = Review(table, pd.DataFrame(), pd.DataFrame())
        assert "&lt;1" in found._repr_html_()
        assert "<b>Review of the fit: REVIEW</b>" in found._repr_html_()
        assert str(found).count("Look.") == 1  # what passed needs no advice in a terminal


class TestConvergence:
    def test_limits_grow_with_the_number_of_chains(self):
        wanted = [
            convergence(drawn(chains=chains, draws=20).idata)["wanted"].iloc[1] for chains in (2, 6)
        ]
        assert wanted == ["above 200", "above 600"]

    @pytest.mark.parametrize("name", ["reached_max_treedepth", "maxdepth_reached"])
    def test_tree_depth_by_either_name(self, name):
        idata = drawn().idata
        sampler = idata["sample_stats"].to_dataset()
        idata["sample_stats"] = xr.DataTree(sampler.assign({name: sampler["diverging"] | True}))
        row = convergence(idata).loc["transitions at the largest tree depth"]
        assert (row["value"], row["passed"]) == (12, False)

    def test_a_single_chain_is_not_told_that_chains_disagree(self):
        row = drawn(chains=1, draws=150).review().table.loc["largest R-hat"]
        assert row["verdict"] == "FAIL"
        assert "fit again with `chains` of at least 2" in row["advice"]
        assert "disagree" not in row["advice"]
        assert row["wanted"] == "below 1.01, of two chains or more"

    def test_chains_that_never_moved_do_not_pass(self):
        posterior = xr.Dataset({"mu_A": (("chain", "draw"), np.ones((1, 4)))})
        stats = xr.Dataset({"diverging": (("chain", "draw"), np.ones((1, 4), bool))})
        tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
        assert not convergence(tree)["passed"].any()

    def test_energy_that_creeps_does_not_pass(self):
        idata = drawn(draws=500).idata
        sampler = idata["sample_stats"].to_dataset()
        creeping = sampler["energy"].cumsum("draw")
        idata["sample_stats"] = xr.DataTree(sampler.assign(energy=creeping))
        assert not convergence(idata).loc["lowest E-BFMI", "passed"]
        assert convergence(drawn(draws=500).idata).loc["lowest E-BFMI", "passed"]

    def test_tasks_that_need_not_stray_are_a_way_out(self):
        law = drawn(discrepancy="none")
        straying = with_posterior(law, discrepancy_sd=law.idata["posterior"]["A_task_sd"])
        for idata, said in ((law.idata, False), (straying.idata, True)):
            (first, *_) = advice.of_convergence(idata)
            assert first[:2] == ("largest R-hat", "FAIL")
            assert ('`discrepancy` "none"' in first[-1]) == said

    def test_there_is_advice_for_every_check(self):
        idata = drawn().idata
        sampler = idata["sample_stats"].to_dataset()
        everything = sampler.assign(reached_max_treedepth=sampler["diverging"])
        idata["sample_stats"] = xr.DataTree(everything)
        assert set(convergence(idata).index) == set(advice._NOT_CONVERGED)


class TestAdvice:
    even = pd.Series((np.arange(100) + 0.5) / 100)

    def test_uniform_places_pass(self):
        assert advice.of_loo_pit(self.even)[1] == "PASS"

    @pytest.mark.parametrize(
        ("places", "said"),
        [
            (even**3, "below their predictions"),
            (even ** (1 / 3), "above their predictions"),
            (0.5 + (even - 0.5) / 2, "nearer to their predictions"),
            (pd.Series(stats.beta(0.3, 0.3).ppf(even)), "farther from their predictions"),
            (even.where(even.index != 40, 1e-9), "far out (rows 40, "),
        ],
    )
    def test_others_are_described(self, places, said):
        _, verdict, _, _, text = advice.of_loo_pit(places)
        assert verdict == "REVIEW"
        assert said in text

    def test_rows_with_large_k_are_named_worst_first(self):
        rows = {"llm": list("abcde"), "task": "qa", "prompt_tokens": 1000.0}
        points = pd.DataFrame(rows | {"pareto_k": [0.1, 0.8, 0.9, 1.2, 0.75]})
        _, verdict, value, _, text = advice.of_pareto_k(points, 0.7)
        assert (verdict, value) == ("REVIEW", "4 of 5 rows above")
        assert text.endswith(
            "d on qa at 1,000 tokens, c on qa at 1,000 tokens, b on qa at 1,000 tokens and 1 more."
        )
        assert advice.of_pareto_k(points.head(1), 0.7)[1] == "PASS"

    def parameters(self, **changes):
        index = pd.MultiIndex.from_tuples(
            [("alpha", "maths"), ("alpha", "qa"), ("delta", "")], names=["parameter", "label"]
        )
        columns = {"shrinkage": 0.9, "prior": 0.01, "likelihood": 0.5, "diagnosis": ""}
        return pd.DataFrame(columns, index=index).assign(**changes)

    def test_priors_that_move_the_answer(self):
        priors = bcl.ContextLaw(priors={"delta": (-0.5, 0.5)}).priors
        assert advice.of_sensitivity(self.parameters(), priors)[1] == "PASS"
        moved = self.parameters(prior=[0.1, 0.01, 0.2], diagnosis=[CONFLICT, "", STRONG_PRIOR])
        _, verdict, value, _, text = advice.of_sensitivity(moved, priors)
        assert (verdict, value) == ("REVIEW", "2 of 3")
        assert "alpha (maths), delta, most with that of delta, where the data say little" in text
        assert "-0.5 to 0.5" in text

    def test_parameters_that_the_prior_decides(self):
        assert advice.of_prior_weight(self.parameters(), [])[1] == "PASS"
        _, verdict, value, _, text = advice.of_prior_weight(self.parameters(), ["A note."])
        assert (verdict, value, text) == ("REVIEW", "0 of 3, but see the design", "A note.")
        decided = self.parameters(shrinkage=[0.2, 0.1, 0.9])
        _, verdict, value, _, text = advice.of_prior_weight(decided, [])
        assert (verdict, value) == ("REVIEW", "2 of 3")
        assert "Of alpha (all 2) the prior tells more" in text
        assert "checkpoints of other training compute" in text
