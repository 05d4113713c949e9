"""Predictions from made-up draws: nested kinds, unseen labels, blocks, seeds, intervals."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from bayes_ctxlaw import predict as module
from bayes_ctxlaw.encoding import APPROACH, Encoding, level_dim, parse_groups
from bayes_ctxlaw.errors import SpecificationError, UnknownLabelError
from bayes_ctxlaw.law import LawTerms, mean_score
from bayes_ctxlaw.observations import as_design, grid
from bayes_ctxlaw.posterior import population_names
from bayes_ctxlaw.predict import Predictor, check_options, predict, warn_of_families
from bayes_ctxlaw.priors import default_priors
from bayes_ctxlaw.specification import Specification

CHAINS, DRAWS = 2, 200
LABELS = {
    "task": ("maths", "qa"),
    "family": ("Llama-2",),
    "technique": ("PI", "YaRN"),
    "llm": ("7B-8k", "7B-128k", "13B-8k"),
    "task:llm": ("maths | 7B-8k", "qa | 7B-8k", "maths | 7B-128k", "qa | 7B-128k"),
}
LEVELS = ("task", "family", "technique", "llm")


def predictor(levels=LEVELS, seed=1, likelihood="student_t", spread=1.0, terms=None):
    levels = parse_groups(levels)
    spec = Specification(terms or LawTerms(), likelihood, levels, default_priors(levels))
    encoding = Encoding(
        1e22,
        1000.0,
        {name: LABELS[name] for name in dict.fromkeys(["task", *levels])},
        {"compute": (1e21, 1e23), "prompt_tokens": (50.0, 1e4), "window_ratio": (-6.0, 0.5)},
        {task: (*np.log([1e21, 1e23, 50.0, 1e4]), -6.0, 0.5) for task in LABELS["task"]},
        {"7B-8k": 0.5, "7B-128k": -1.0, "13B-8k": -3.0},
    )
    rng, size, draws = np.random.default_rng(99), CHAINS * DRAWS, {}
    labels = {level_dim(level): known for level, known in encoding.labels.items()}
    for name, dim in population_names(spec, encoding).items():
        if name == "overdispersion":
            draws[name] = 0.05 + 0.02 * rng.random((size, len(labels[dim])))
        elif name.startswith("mu_"):
            prior = spec.priors[name.removeprefix("mu_")]
            draws[name] = prior.loc + 0.1 * spread * prior.scale * rng.standard_normal(size)
        elif name.endswith("_sd"):
            draws[name] = 0.2 + 0.1 * rng.random(size)
        else:
            draws[name] = 0.2 * rng.standard_normal((size, len(labels[dim])))
    return Predictor(spec, encoding, draws, seed)


def rows(**changes):
    fixed = {"task": ["maths", "qa"], "llm": "7B-8k", "family": "Llama-2", "technique": "YaRN",
             "compute": 3e22, "context_window": 8192.0, "n_items": 200,
             "prompt_tokens": np.geomspace(60.0, 9000.0, 12)}  # fmt: skip
    return grid(**{k: v for k, v in (fixed | changes).items() if v is not None})


def run(at, by=None, **changes):
    options = {
        "kind": "response", "ci_prob": 0.9, "new_levels": "error",
        "shape": (CHAINS, DRAWS), "samples": False,
    }  # fmt: skip
    return predict(by or predictor(), at, **(options | changes))


def width(prediction):
    return float((prediction["upper"] - prediction["lower"]).mean())


class TestNumbers:
    def test_law_by_hand(self):
        by = predictor(["task", "technique"])
        at = rows(task="qa", prompt_tokens=2000.0)
        totals = {}
        for name in by.spec.terms.parameters:
            totals[name] = by.draws[f"mu_{name}"].copy()
            for level, label in (("task", "qa"), ("technique", "YaRN")):
                if f"{name}_{level}" in by.draws:
                    column = LABELS[level].index(label)
                    totals[name] += by.draws[f"{name}_{level}"][:, column]
        arguments = {"log_A": totals["A"], "log_B": totals["B"], "logit_rho": totals["rho"]}
        delta = totals["delta"]
        arguments["delta"] = 0.25 * delta + 0.075 * np.logaddexp(0.0, delta / 0.1)
        arguments |= {name: np.exp(totals[name]) for name in ("alpha", "beta", "psi")}
        arguments["eta"] = 2.0 / (1.0 + np.exp(-totals["eta"]))
        arguments["kappa"] = 2.0 + np.exp(totals["kappa"])
        arguments["log_D"] = totals["D"]
        design = {"x": np.log(3.0), "z": np.log(2.0), "w": np.log(2000 / 8192), "chance": 0.0}
        expected = mean_score(arguments, design, by.spec.terms)
        found = run(at, by, kind="law", ci_prob=0.8, samples=True)
        np.testing.assert_allclose(found["samples"].values.ravel(), expected, rtol=1e-12)
        assert float(found["mean"][0]) == pytest.approx(expected.mean())
        assert float(found["sd"][0]) == pytest.approx(expected.std())
        ends = np.quantile(expected, [0.1, 0.5, 0.9])
        assert [float(found[n][0]) for n in ("lower", "median", "upper")] == pytest.approx(ends)

    def test_the_checkpoints_effect_is_in_llm_and_not_in_law(self):
        at = rows(task="qa", llm=["7B-8k", "7B-128k"], prompt_tokens=500.0)
        assert len(np.unique(run(at, kind="law")["mean"])) == 1
        assert len(np.unique(run(at, kind="llm")["mean"])) == 2

    @pytest.mark.parametrize("likelihood", ["student_t", "beta_binomial", "binomial", "beta"])
    def test_every_kind_adds_uncertainty(self, likelihood):
        by = predictor(likelihood=likelihood)
        law, llm, response = (width(run(rows(), by, kind=k)) for k in ("law", "llm", "response"))
        assert law < llm < response

    def test_a_small_evaluation_is_less_certain(self):
        assert width(run(rows(n_items=20))) > 1.3 * width(run(rows(n_items=20_000)))

    @pytest.mark.parametrize("kind", module.KINDS)
    def test_scores_and_ends_in_order(self, kind):
        found = run(rows(), kind=kind)
        for low, high in (("lower", "median"), ("median", "upper")):
            assert (found[low] <= found[high]).all()
        assert (found["lower"] >= 0).all()
        assert (found["upper"] <= 1).all()


class TestLabels:
    def test_unseen_labels_of_all_levels_in_one_message_with_the_known_ones(self):
        at = rows(task="poetry", llm="70B", family="Qwen", technique="NTK")
        with pytest.raises(UnknownLabelError) as caught:
            run(at)
        message = str(caught.value)
        for label in ("poetry", "70B", "Qwen", "NTK"):
            assert repr(label) in message
        for level in ("task", "family", "technique", "llm"):
            assert f"`{level}`" in message
            assert repr(LABELS[level][0]) in message
        assert 'new_levels="uncertainty"' in message

    def test_a_label_written_otherwise_is_told_the_known_one(self):
        with pytest.raises(UnknownLabelError) as caught:
            run(rows(task="Maths", llm="7b_8k", technique="yarn"))
        for meant in ("'Maths' (did you mean 'maths'?)", "'7b_8k' (did you mean '7B-8k'?)"):
            assert meant in str(caught.value)
        assert "'yarn' (did you mean 'YaRN'?) not in the fit, which saw 'PI'" in str(caught.value)

    def test_law_needs_no_checkpoint(self):
        found = run(rows(llm="70B"), kind="law")
        np.testing.assert_array_equal(found["mean"], run(rows(), kind="law")["mean"])

    @pytest.mark.parametrize("level", ["task", "family", "technique", "llm"])
    def test_uncertainty_about_an_unseen_label_widens(self, level):
        known = run(rows(task="qa"), kind="llm")
        new = run(rows(**({"task": "qa"} | {level: "new"})), kind="llm", new_levels="uncertainty")
        assert width(new) > width(known)

    def test_new_levels_leaves_known_labels_alone(self):
        xr.testing.assert_equal(run(rows()), run(rows(), new_levels="uncertainty"))

    def test_a_missing_column_is_an_unseen_label(self):
        at = rows(technique=None)
        with pytest.raises(UnknownLabelError, match="`technique` is missing"):
            run(at)
        known = run(rows(), kind="llm")
        assert width(run(at, kind="llm", new_levels="uncertainty")) > width(known)

    def test_rows_with_one_new_label_share_its_effect(self):
        at = rows(task="qa", llm=["new", "newer"], prompt_tokens=[500.0, 500.0])
        found = run(at, kind="llm", new_levels="uncertainty", samples=True)["samples"].values
        np.testing.assert_array_equal(found[..., 0], found[..., 1])
        assert not np.array_equal(found[..., 0], found[..., 2])

    def test_a_new_label_varies_by_the_scale_of_its_level(self):
        by = predictor(["task", "llm"])
        new, unit = by._effect("A", "llm", "new"), by.draws["A_llm_sd"]
        assert (new / unit).std() == pytest.approx(1.0, abs=0.12)
        assert abs((new / unit).mean()) < 0.15

    def test_a_second_label_differs_from_the_only_one_by_two_effects(self):
        by = predictor()
        np.testing.assert_array_equal(by._effect("A", "family", "Llama-2"), 0.0)
        new = by._effect("A", "family", "Qwen") / by.draws["A_family_sd"]
        assert new.std() == pytest.approx(np.sqrt(2.0), abs=0.17)

    def test_an_interaction_of_known_labels_that_never_met_is_drawn(self):
        by = predictor(["task", "llm", "task:llm"])
        met, never = (run(rows(llm=m), by, kind="llm") for m in ("7B-8k", "13B-8k"))
        assert np.isfinite(never["mean"]).all()
        assert width(never) > 0.9 * width(met)

    def test_an_unseen_task_is_refused_even_without_task_effects(self):
        with pytest.raises(UnknownLabelError, match="`task`: 'poetry'"):
            run(rows(task="poetry"), predictor(["llm"]))

    at = rows(task="qa", prompt_tokens=500.0)
    by = predictor()

    @given(st.text(min_size=1, max_size=9).filter(lambda label: label not in LABELS["llm"]))
    def test_no_label_passes_by_chance(self, label):
        at = self.at.assign(llm=("obs_id", np.array([label], dtype=object)))
        with pytest.raises(UnknownLabelError):
            self.by.check_labels(at, "response", "error")


class TestBlocksAndSeeds:
    @pytest.mark.parametrize("kind", ["law", "llm", "response"])
    @pytest.mark.parametrize("block", [1, 7, 1000])
    def test_block_size_does_not_matter(self, monkeypatch, kind, block):
        at = rows(llm=["7B-8k", "new"], family=None)
        options = {"kind": kind, "new_levels": "uncertainty", "samples": True}
        expected = run(at, **options)
        monkeypatch.setattr(module, "_BLOCK", block)
        found = run(at, **options)
        np.testing.assert_array_equal(found["samples"], expected["samples"])
        xr.testing.assert_allclose(found, expected, rtol=1e-13)

    def test_a_grid_of_many_blocks(self):
        at = rows(prompt_tokens=np.geomspace(60.0, 9000.0, 3 * module._BLOCK // 2 + 5))
        found = run(at, samples=True)
        assert found["samples"].shape == (CHAINS, DRAWS, at.sizes["obs_id"])
        alone = run(at.isel(obs_id=[700]), kind="llm")
        assert float(alone["mean"][0]) == float(run(at, kind="llm")["mean"][700])

    def test_a_row_alone_is_what_it_is_among_others(self):
        at = rows(prompt_tokens=[500.0, 900.0, 900.0, 4000.0])
        found = run(at, samples=True)["samples"].values
        alone = run(at.isel(obs_id=[3]), samples=True)["samples"].values
        np.testing.assert_array_equal(alone[..., 0], found[..., 3])
        turned = run(at.isel(obs_id=[3, 1, 0, 2]), samples=True)["samples"].values
        np.testing.assert_array_equal(turned, found[..., [3, 1, 0, 2]])
        # Two evaluations of one cell are two.
        assert not np.array_equal(found[..., 1], found[..., 2])

    def test_same_seed_same_answer(self):
        at = rows(llm="new")
        first, second = (
            run(at, predictor(seed=5), new_levels="uncertainty", samples=True) for _ in range(2)
        )
        xr.testing.assert_identical(first, second)

    @pytest.mark.parametrize("kind", ["llm", "response"])
    def test_another_seed_another_answer(self, kind):
        options = {"kind": kind, "new_levels": "uncertainty"}
        at = rows(llm="new")
        first, second = (run(at, predictor(seed=s), **options) for s in (5, 6))
        assert not np.array_equal(first["mean"], second["mean"])

    def test_noise_is_not_shared_between_blocks(self, monkeypatch):
        monkeypatch.setattr(module, "_BLOCK", 1)
        at = rows(task="qa", prompt_tokens=[500.0, 500.0])
        found = run(at, samples=True)["samples"].values
        law = run(at, kind="llm", samples=True)["samples"].values
        noise = (found - law).reshape(-1, 2)
        assert abs(np.corrcoef(noise.T)[0, 1]) < 0.2


class TestWhatComesOut:
    def test_the_interval_says_what_it_is(self):
        found = run(rows(), ci_prob=0.5, kind="llm", new_levels="uncertainty")
        assert found.attrs["ci_prob"] == 0.5
        assert found.attrs["ci_kind"] == "equal-tailed"
        assert found.attrs["prediction_kind"] == "llm"
        assert found.attrs["new_levels"] == "uncertainty"
        assert "50 % equal-tailed" in found["lower"].attrs["long_name"]
        assert width(found) < width(run(rows(), ci_prob=0.9, kind="llm"))

    def test_samples_along_chains_and_draws(self):
        at = rows()
        found = run(at, samples=True)
        assert found["samples"].dims == ("chain", "draw", "obs_id")
        assert found["samples"].shape == (CHAINS, DRAWS, at.sizes["obs_id"])
        np.testing.assert_allclose(found["samples"].mean(("chain", "draw")), found["mean"])
        assert "samples" not in run(at)

    def test_rows_come_back_with_their_columns(self):
        at = rows()
        found = run(at)
        assert set(at.data_vars) <= set(found.data_vars)
        assert found["obs_id"].equals(at["obs_id"])
        assert "mean" not in at  # what was passed in is not touched

    def test_extrapolation_in_decades(self):
        at = rows(task="qa", prompt_tokens=[1000.0, 1e6], compute=[1e22, 1e24], context_window=1e7)
        found = run(at)["extrapolation"]
        assert found.sel(axis="compute").values == pytest.approx([0, 0, 1, 1])
        assert found.sel(axis="prompt_tokens").values == pytest.approx([0, 2, 0, 2])
        beyond = 4 - 6 / np.log(10)  # the data reach down to exp(-6), the first row to 1e-4
        expected = [beyond, 0, beyond, 0]
        assert found.sel(axis="window_ratio").values == pytest.approx(expected)
        assert found.attrs["units"] == "decades"

    def test_unknown_items_leave_the_overdispersion(self):
        assert width(run(rows(n_items=None))) < width(run(rows(n_items=50)))


class TestOptions:
    def test_all_faults_in_one_message(self):
        with pytest.raises(SpecificationError) as caught:
            check_options("answer", 90, "ignore")
        for part in ("kind='answer'", "ci_prob=90", "new_levels='ignore'", "'response'", "0.9"):
            assert part in str(caught.value)

    @given(st.floats() | st.integers() | st.text() | st.none())
    def test_only_probabilities_pass(self, value):
        if isinstance(value, float) and 0 < value < 1:
            check_options("law", value, "error")
            return
        with pytest.raises(SpecificationError, match="ci_prob"):
            check_options("law", value, "error")


class TestBeyondTheData:
    """Exponents of a task may break at the edges of its data."""

    def law(self, **at):
        return run(rows(**at), kind="law", samples=True)["samples"].stack(d=("chain", "draw"))

    def test_inside_the_data_nothing_changes(self, monkeypatch):
        inside = self.law(prompt_tokens=np.geomspace(50.0, 1e4, 9))
        monkeypatch.setattr(module, "BREAKS", dict.fromkeys("xzw", 0.0))
        np.testing.assert_array_equal(inside, self.law(prompt_tokens=np.geomspace(50.0, 1e4, 9)))

    @pytest.mark.parametrize("at", [{"compute": 1e19}, {"prompt_tokens": 8e4}])
    def test_beyond_them_it_widens_every_prediction(self, at, monkeypatch):
        at = at | {"context_window": 1e6}
        wide = self.law(**at).std("d")
        monkeypatch.setattr(module, "BREAKS", dict.fromkeys("xzw", 0.0))
        assert (wide > self.law(**at).std("d")).all()

    def test_further_past_windows_than_any_was_seen(self, monkeypatch):
        """At lengths that were seen: how windows begin to end is not how they go on to."""
        at = {"prompt_tokens": 8e3, "context_window": 3e3}
        wide = logit(self.law(**at)).std("d")
        monkeypatch.setattr(module, "BREAKS", dict.fromkeys("xz", 0.0) | {"w": 1.0})
        xr.testing.assert_identical(wide, logit(self.law(**at)).std("d"))
        monkeypatch.setattr(module, "BREAKS", dict.fromkeys("xzw", 0.0))
        assert (wide > 1.1 * logit(self.law(**at)).std("d")).all()

    @pytest.mark.parametrize(
        ("llm", "begins"),
        [("7B-8k", 0.5), ("7B-128k", -1.0), ("13B-8k", APPROACH), ("new", APPROACH)],
    )
    def test_nearer_to_its_end_than_a_checkpoint_was_tried(self, llm, begins, monkeypatch):
        """It breaks on its own from where it was tried, and not before an end may show."""
        ratio = np.array([-3.5, begins - 0.01, begins, min(begins + 0.1, 0.5), 0.5])
        at = rows(llm=llm, prompt_tokens=8e3, context_window=(8e3 / np.exp(ratio)).tolist())

        def draws():
            options = {"kind": "llm", "samples": True, "new_levels": "uncertainty"}
            found = run(at, **options)["samples"]
            return found.values.reshape(-1, 2, len(ratio))

        own = draws()
        monkeypatch.setattr(module, "OWN_BREAK", 0.0)
        moved = (own != draws()).any(axis=(0, 1))
        np.testing.assert_array_equal(moved, ratio > begins + 1e-6)

    def test_the_law_has_no_checkpoint_to_try(self, monkeypatch):
        at = {"prompt_tokens": 8e3, "context_window": 9e3, "llm": "13B-8k"}
        before = self.law(**at)
        monkeypatch.setattr(module, "OWN_BREAK", 0.0)
        xr.testing.assert_identical(before, self.law(**at))

    def test_above_the_compute_of_the_data_curves_rise_faster_or_slower(self, monkeypatch):
        broken = self.law(compute=3e24)
        monkeypatch.setattr(module, "BREAKS", dict.fromkeys("xzw", 0.0))
        faster = (broken > self.law(compute=3e24)).mean("d")
        assert ((faster > 0.3) & (faster < 0.7)).all()

    def test_it_begins_at_the_edge(self):
        edge = self.law(prompt_tokens=[1e4, 1e4 * (1 + 1e-6)], context_window=1e6)
        assert abs(edge[0] - edge[1]).max() < 1e-5

    def test_rows_of_a_task_break_together(self):
        """Each draw is one curve: unless the window dilutes, it rises on from the edge."""
        at = rows(task="qa", prompt_tokens=np.geomspace(1e4, 1e6, 7), context_window=1e9)
        by = predictor(terms=LawTerms(dilution="none"))
        curves = run(at, by, kind="law", samples=True)["samples"]
        assert (curves.diff("obs_id") >= 0).all()


def test_points_in_another_unit_than_the_fit_are_said(law_below_1e24):
    at = as_design(law_below_1e24.obs.isel(obs_id=slice(2)))
    law_below_1e24.predict(at)  # a warning would be an error
    with pytest.warns(UserWarning, match="In the points to predict compute is 84 FLOPs at most"):
        law_below_1e24.predict(at.assign(compute=0.0 * at["compute"] + 84))
    with pytest.warns(UserWarning, match="context_window is 32 tokens at most"):
        law_below_1e24.predict(at.assign(context_window=0.0 * at["context_window"] + 32))


def test_a_checkpoint_of_the_fit_in_another_family_is_said(montgomery):
    at = montgomery.isel(obs_id=slice(3))
    warn_of_families(montgomery, at)  # a warning would be an error
    new = at.assign(llm=("obs_id", np.full(3, "new", dtype=object)))
    other = np.full(3, "Qwen", dtype=object)
    warn_of_families(montgomery, new.assign(family=("obs_id", other)))
    with pytest.warns(UserWarning, match=r"of 3 row\(s\).*'Qwen' is given, where the fit has 'Ll"):
        warn_of_families(montgomery, at.assign(family=("obs_id", other)))
    warn_of_families(montgomery, at.drop_vars("family"))
