"""Contrasts: paired differences, what they rest on, and what they must not claim."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from two_techniques import NAMES, simulated

import bayes_ctxlaw as bcl
from bayes_ctxlaw.confounding import confounding
from bayes_ctxlaw.encoding import chance_levels
from bayes_ctxlaw.errors import (
    NotFittedError,
    ObservationError,
    SpecificationError,
    UnknownLabelError,
)
from bayes_ctxlaw.sides import rows_of_labels

FIT = {"draws": 250, "tune": 400, "chains": 2, "thin": 1, "random_seed": 5, "progressbar": False}


@pytest.fixture(scope="module")
def different():
    """Two simulated techniques that differ in the sharpness of their penalty only."""
    law = bcl.ContextLaw(discrepancy="none")
    law.fit(simulated(3, kappas=(8.0, 3.0)), **FIT)
    return law


@pytest.fixture(scope="module")
def at(helmet):
    """The base that has both techniques, 8k to 32k tokens."""
    return bcl.grid(
        task=str(helmet["task"].values[0]),
        llm="any",
        family="Llama-2",
        compute=8.4e22,
        context_window=32768,
        chance=float(helmet["chance"].values[0]),
        prompt_tokens=[8192, 16384, 32768],
    )


class TestDifferences:
    def test_they_are_those_of_the_predictions_draw_by_draw(self, law_below_1e24, at):
        found = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=at)
        sides = [
            law_below_1e24.predict(
                at.assign(technique=("obs_id", np.full(3, name, dtype=object))),
                kind="law",
                samples=True,
            )["samples"]
            for name in ("YaRN", "PI")
        ]
        difference = (sides[0] - sides[1]).values.reshape(-1, 3)
        np.testing.assert_allclose(found.scores["mean"], difference.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(
            found.scores["upper"], np.quantile(difference, 0.95, axis=0), atol=1e-12
        )
        np.testing.assert_allclose(
            found.scores["prob_greater"], (difference > 0).mean(axis=0), atol=1e-12
        )
        np.testing.assert_allclose(
            found.overall["lower"], np.quantile(difference.mean(axis=1), 0.05), atol=1e-12
        )

    def test_the_other_way_round_they_change_sign(self, law_below_1e24, at):
        one = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=at, rope=0.02)
        other = bcl.contrast(law_below_1e24, "technique", "PI", "YaRN", at=at, rope=0.02)
        for name in ("scores", "curve", "overall", "parameters"):
            a, b = getattr(one, name), getattr(other, name)
            np.testing.assert_allclose(a["mean"], -b["mean"], atol=1e-12)
            np.testing.assert_allclose(a["lower"], -b["upper"], atol=1e-12)
            np.testing.assert_allclose(a["prob_greater"], 1 - b["prob_greater"], atol=1e-12)
            np.testing.assert_allclose(a["prob_equivalent"], b["prob_equivalent"])

    def test_what_both_share_cancels(self, law_below_1e24, at):
        found = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=at).scores
        sides = [
            law_below_1e24.predict(
                at.assign(technique=("obs_id", np.full(3, name, dtype=object))), kind="law"
            )["sd"].values
            for name in ("YaRN", "PI")
        ]
        assert (found["sd"].values < np.hypot(*sides)).all()

    def test_rows_are_averaged_over_tasks(self, different):
        found = bcl.contrast(different, "technique", *NAMES)
        frame = found.scores.to_dataframe()
        keys = ["prompt_tokens", "context_window"]
        averaged = frame.groupby(keys)["mean"].mean()
        curve = found.curve.to_dataframe().set_index(keys)["mean"]
        assert len(curve) == len(frame) / 2
        assert "task" not in found.curve
        np.testing.assert_allclose(curve.sort_index(), averaged.sort_index(), atol=1e-12)
        np.testing.assert_allclose(found.overall["mean"], frame["mean"].mean(), atol=1e-12)

    def test_a_point_says_only_what_all_its_rows_have_in_common(self, different):
        row = {"llm": "any", "family": "F", "compute": 8e22, "context_window": 8192}
        rows = [
            row | {"prompt_tokens": tokens, "task": f"task {i}", "source": f"s{i}", "point": i}
            for tokens in (500, 4000)
            for i in (0, 1)
        ]
        rows = [r | {"bin": f"{r['prompt_tokens']} tokens", "blank": np.nan} for r in rows]
        curve = bcl.contrast(different, "technique", *NAMES, at=rows).curve
        assert curve["bin"].values.tolist() == ["500 tokens", "4000 tokens"]
        assert "blank" in curve
        assert not {"task", "source", "point"} & set(curve.variables)

    def test_noise_of_two_evaluations_is_drawn_twice(self, different):
        law = bcl.contrast(different, "llm", "X 8192", "X 16384", kind="llm").scores
        noisy = bcl.contrast(different, "llm", "X 8192", "X 16384", kind="response").scores
        assert (noisy["sd"] > law["sd"]).mean() > 0.9

    def test_turned_round_it_says_the_same(self, different):
        there = bcl.contrast(different, "llm", "X 8192", "X 16384", kind="response")
        back = bcl.contrast(different, "llm", "X 16384", "X 8192", kind="response")
        np.testing.assert_allclose(there.scores["mean"], -back.scores["mean"], atol=1e-12)
        both = there.scores["prob_greater"] + back.scores["prob_greater"]
        np.testing.assert_allclose(both, 1.0, atol=1e-12)

    def test_each_task_brings_its_own_chance(self, different):
        row = {"task": "task 0", "llm": "any", "family": "F", "technique": NAMES[0]}
        row |= {"compute": 1e22, "context_window": 8192, "prompt_tokens": 2000}
        own = bcl.contrast(different, "task", "task 0", "task 1", at=[row])
        with pytest.warns(UserWarning, match="`chance` of 0.5 is not used: each of two tasks"):
            given = bcl.contrast(different, "task", "task 0", "task 1", at=[row | {"chance": 0.5}])
        xr.testing.assert_identical(own.scores["mean"], given.scores["mean"])

    def test_a_task_of_several_chance_levels_has_that_of_the_rows(self, different):
        """As in a prediction: not that of whichever row of the fit comes first."""
        law, row = copy.copy(different), {"task": "task 1", "llm": "any", "family": "F"}
        row |= {"technique": "X", "compute": 1e22, "context_window": 8192, "prompt_tokens": 2000}
        first = (different.obs["task"] == "task 0").values
        levels = np.where(first, np.where(np.arange(len(first)) % 2, 0.25, 0.1), 0.0)
        law.obs = different.obs.assign(chance=("obs_id", levels))
        law.encoding = replace(different.encoding, chance=chance_levels(law.obs))
        for at in (None, [row]):
            with pytest.raises(ObservationError, match="no single one in the fit for 'task 0'"):
                bcl.contrast(law, "task", "task 0", "task 1", at=at)
        found = bcl.contrast(law, "task", "task 0", "task 1", at=[row | {"chance": 0.2}])
        at = [row | {"task": "task 0", "chance": 0.2}]
        np.testing.assert_allclose(found.scores["a"], law.predict(at, kind="law")["median"])
        np.testing.assert_allclose(found.scores["b"], law.predict([row], kind="law")["median"])

    def test_more_rows_than_a_block_give_the_same(self, law_below_1e24, at):
        many = at.isel(obs_id=np.tile(np.arange(3), 150)).assign_coords(obs_id=np.arange(450))
        found = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=many)
        once = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=at)
        np.testing.assert_allclose(found.scores["mean"][-3:], once.scores["mean"], atol=1e-12)
        np.testing.assert_allclose(found.overall["mean"], once.overall["mean"], atol=1e-12)


class TestKinds:
    def test_in_the_fit_each_side_is_its_own_checkpoints(self, different):
        row = bcl.grid(
            task="task 0", llm="any", family="F", compute=8e22, context_window=8192,
            prompt_tokens=4000,
        )  # fmt: skip
        found = bcl.contrast(different, "technique", *NAMES, at=row, kind="llm")
        sides = []
        for name in NAMES:
            llms = [f"{name} {window}" for window in (8192, 16384, 32768, 65536)]
            rows = row.isel(obs_id=[0] * 4).assign_coords(obs_id=range(4))
            rows = rows.assign(
                llm=("obs_id", np.array(llms, dtype=object)),
                technique=("obs_id", np.full(4, name, dtype=object)),
            )
            samples = different.predict(rows, kind="llm", samples=True)["samples"]
            sides.append(samples.mean("obs_id").values.ravel())
        expected = (sides[0] - sides[1]).mean()
        np.testing.assert_allclose(found.scores["mean"], expected, atol=1e-12)

    def test_what_is_special_to_checkpoints_widens_the_law(self, different):
        general = bcl.contrast(different, "technique", *NAMES, kind="law").overall["sd"]
        seen = bcl.contrast(different, "technique", *NAMES, kind="llm").overall["sd"]
        assert float(general) > float(seen)

    def test_tasks_share_the_checkpoints(self, different):
        found = bcl.contrast(different, "task", "task 1", "task 0", kind="llm")
        assert "llm" in found.scores
        assert float(found.overall["prob_greater"]) > 0.99


class TestRealData:
    def test_observed_differences_are_inside_the_intervals(self, law_below_1e24, helmet):
        """PI against YaRN on Llama-2-7B, 8k to 32k: no false certainty."""
        for b in ("Yarn-Llama-2-7B-128k", "Yarn-Llama-2-7B-64k"):
            a = "Llama-2-7B-32k"
            observed = {
                llm: helmet.isel(obs_id=np.flatnonzero(helmet["llm"].values == llm))
                .to_dataframe()
                .set_index("prompt_tokens")["score"]
                for llm in (a, b)
            }
            found = bcl.contrast(law_below_1e24, "llm", a, b, kind="response").scores
            frame = found.to_dataframe().set_index("prompt_tokens")
            near = frame[frame.index <= 32768]
            difference = (observed[a] - observed[b])[near.index]
            assert len(near) == 3
            assert difference.between(near["lower"], near["upper"]).all()

    def test_the_curve_is_in_order_of_the_design(self, law_below_1e24):
        curve = bcl.contrast(law_below_1e24, "technique", "none", "theta-frozen").curve
        names = ["compute", "context_window", "prompt_tokens"]
        frame = curve[names].to_dataframe().reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, frame.sort_values(names, ignore_index=True))

    def test_the_curve_is_in_the_order_of_what_was_asked(self, law_below_1e24, at):
        backwards = at.isel(obs_id=slice(None, None, -1))
        curve = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=backwards).curve
        assert curve["prompt_tokens"].values.tolist() == [32768, 16384, 8192]


class TestPastTheWindow:
    """An average over prompts past the window of one side is mostly of its collapse."""

    def test_it_is_said_with_what_it_is_inside(self, law_below_1e24):
        a, b = "Llama-2-7B-32k", "Yarn-Llama-2-7B-64k"
        found = bcl.contrast(law_below_1e24, "llm", a, b, rope=0.02)
        frame = found.scores.to_dataframe()
        held = frame[frame["prompt_tokens"] <= 32768]["mean"].mean()
        np.testing.assert_allclose(found.inside["mean"], held, atol=1e-12)
        assert float(found.overall["mean"]) < 0 < held  # the collapse turns the sign
        assert f"past the window of {a} in 2 and of {b} in 1 of 5 rows; in the" in found.sentence
        assert f"the difference is {held:+.3f}, " in found.sentence
        assert found.inside.attrs["ci_prob"] == 0.9
        back = bcl.contrast(law_below_1e24, "llm", b, a)
        np.testing.assert_allclose(back.inside["mean"], -found.inside["mean"], atol=1e-12)
        assert back.overall.attrs["rows_past_window_b"] == 2

    def test_of_one_window_for_both(self, law_below_1e24, at):
        assert bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=at).inside is None
        longer = at.assign(prompt_tokens=2.0 * at["prompt_tokens"])
        found = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=longer)
        assert "Prompts are past the window in 1 of 3 rows; in the others" in found.sentence
        past = bcl.contrast(law_below_1e24, "technique", "YaRN", "PI", at=longer.isel(obs_id=[2]))
        assert past.inside is None
        assert past.sentence.endswith("in 1 of 1 rows, which leaves none inside.")


class TestParameters:
    def test_the_one_that_differs_is_found(self, different):
        found = bcl.contrast(different, "technique", *NAMES).parameters
        assert float(found["prob_greater"].sel(parameter="kappa")) > 0.99
        low, high = (float(found[n].sel(parameter="kappa")) for n in ("ratio_lower", "ratio_upper"))
        assert low < 8 / 3 < high
        for other in ("A", "B", "beta", "delta"):
            prob = float(found["prob_greater"].sel(parameter=other))
            assert 0.01 < prob < 0.99, other

    def test_what_the_level_has_no_effect_on_does_not_differ(self, different):
        found = bcl.contrast(different, "technique", *NAMES).parameters
        assert float(found["sd"].sel(parameter="alpha")) == 0.0
        assert float(found["prob_greater"].sel(parameter="alpha")) == 0.5

    def test_nor_if_the_sides_are_averages_over_unlike_numbers_of_checkpoints(self, law_below_1e24):
        """A rounding error of the averages is no difference."""
        found = bcl.contrast(law_below_1e24, "technique", "native", "native-long", kind="llm")
        for other in ("alpha", "rho", "psi", "eta"):
            assert float(found.parameters["sd"].sel(parameter=other)) == 0.0, other
            assert float(found.parameters["prob_greater"].sel(parameter=other)) == 0.5, other
            assert other not in found.parameter_table["parameter"].values

    def test_windows_are_those_of_delta(self, different):
        found = bcl.contrast(different, "technique", *NAMES).parameters
        for side in ("a", "b"):
            delta, window = (float(found[side].sel(parameter=n)) for n in ("delta", "window"))
            assert window == pytest.approx(np.exp(delta), rel=0.01)

    def test_each_task_has_its_own(self, different):
        found = bcl.contrast(different, "technique", *NAMES).parameters_by_task
        assert list(found["task"].values) == ["task 0", "task 1"]
        assert float(found["a"].sel(parameter="A", task="task 1")) > float(
            found["a"].sel(parameter="A", task="task 0")
        )

    def test_the_average_task_counts_each_once(self, different):
        """However many windows its rows have."""
        row = {"llm": "any", "family": "F", "compute": 1e22, "prompt_tokens": 1e3}
        rows = [{"task": "task 0", "context_window": 2.0**k, **row} for k in range(12, 16)]
        rows.append({"task": "task 1", "context_window": 4096.0, **row})
        found = bcl.contrast(different, "technique", *NAMES, at=rows)
        assert found.parameters_by_task["task"].values.tolist() == ["task 0", "task 1"]
        for side in ("a", "b"):
            # Of the mean over tasks of log A the exponential's median: near that of the medians.
            by_task = found.parameters_by_task[side].sel(parameter="A").values
            average = float(found.parameters[side].sel(parameter="A"))
            assert np.log(average) == pytest.approx(np.log(by_task).mean(), abs=0.05)


class TestConfounding:
    def test_a_technique_of_one_family_is_no_effect_of_the_technique(self):
        law = bcl.ContextLaw()
        few = FIT | {"draws": 20, "tune": 30}  # the design says it, whatever the draws are
        law.fit(simulated(4, kappas=(8.0, 3.0), families=("F", "G")), **few)
        found = bcl.contrast(law, "technique", *NAMES)
        assert found.confounding.with_levels == ("family",)
        assert found.sentence.startswith("The observations cannot tell technique from family")
        assert "'F'" in found.confounding.notes[0]

    def test_one_base_tells_them_apart_and_says_where(self, helmet):
        found = confounding(helmet, "technique", "YaRN", "PI")
        assert found.identified
        assert all("'Llama-2' only" in note for note in found.notes[:2])

    @pytest.mark.parametrize("families", [("F", "G"), ("G", "F"), ("only X", "only Y")])
    def test_it_is_always_flagged(self, families):
        assert not confounding(simulated(1, families=families), "technique", *NAMES).identified

    def test_one_checkpoint_is_said(self):
        obs = bcl.load_dataset("lceg_ruler")
        notes = " ".join(confounding(obs, "technique", "YaRN", "PI").notes)
        assert "rests on one checkpoint, 'Llama-2-7B-YaRN'" in notes

    def test_tasks_that_no_checkpoint_shares(self):
        obs = simulated(1)
        first = np.char.startswith(obs["llm"].values.astype(str), "X")
        apart = obs.isel(obs_id=np.flatnonzero(first == (obs["task"].values == "task 0")))
        assert "llm" in confounding(apart, "task", "task 0", "task 1").with_levels

    def test_sizes_that_do_not_overlap(self, helmet):
        notes = confounding(helmet, "family", "Llama-2", "Qwen2.5").notes
        assert any("do not overlap" in note for note in notes)
        assert not any("e+0" in note for note in notes)  # a window is no power of ten

    def test_a_range_of_one_value_is_that_value(self):
        obs = bcl.load_dataset("montgomery2025")
        long = obs["context_window"].values > 10_000
        obs = obs.assign(technique=("obs_id", np.where(long, "far", "near").astype(object)))
        notes = confounding(obs, "technique", "near", "far").notes
        (note,) = [n for n in notes if "windows do not" in n]
        assert "8,192 tokens for 'near', 131,072 for 'far'" in note


class TestWords:
    def test_the_sentence_names_both_the_interval_and_the_place(self, different):
        found = bcl.contrast(different, "technique", *NAMES, rope=0.03, ci_prob=0.8)
        for part in ("X", "Y", "2 tasks", "80 % equal-tailed interval, law", "within 0.03"):
            assert part in found.sentence
        assert "Held equal: task" in found.held_equal
        windows = bcl.grid(
            task="task 0", llm="any", family="F", compute=8e22, context_window=[32768, 131072],
            prompt_tokens=500,
        )  # fmt: skip
        held = bcl.contrast(different, "technique", *NAMES, at=windows).held_equal
        assert "context window (32,768, 131,072); prompt tokens (500)" in held
        assert "No effect of a checkpoint is in it." in found.held_equal

    def test_a_checkpoint_brings_its_own_along(self, different):
        found = bcl.contrast(different, "llm", "X 8192", "Y 65536")
        assert "context window" not in found.held_equal.split(".")[0]
        assert "Each llm has its own family, technique, compute, context window" in found.held_equal
        assert "context_window" not in found.scores

    def test_it_prints_and_shows_itself(self, different):
        found = bcl.contrast(different, "technique", *NAMES)
        assert found.sentence in str(found)
        assert "prob greater" in found._repr_html_()
        assert set(found.table["prompt_tokens"]) == set(found.scores["prompt_tokens"].values)

    def test_intervals_say_what_they_are(self, different):
        found = bcl.contrast(different, "technique", *NAMES)
        for part in (found.scores, found.curve, found.overall, found.parameters):
            assert part.attrs["ci_kind"] == "equal-tailed"
            assert part.attrs["prediction_kind"] == "law"
            assert "90 %" in part["lower"].attrs["long_name"]


class TestRefusals:
    def test_before_a_fit(self):
        with pytest.raises(NotFittedError, match=r"call law\.fit"):
            bcl.contrast(bcl.ContextLaw(), "technique", "a", "b")

    def test_all_faults_in_one_message(self, different):
        with pytest.raises(SpecificationError) as error:
            bcl.contrast(different, "size", "X", "X", kind="posterior", rope=2)
        for part in ("'size'", "both 'X'", "'posterior'", "rope=2", "task, family, technique, llm"):
            assert part in str(error.value)

    @pytest.mark.parametrize("slip", [{"ropee": 0.02}, {"llm": "model"}])
    def test_options_that_are_none_are_not_passed_over(self, different, slip):
        (name,) = slip
        with pytest.raises(SpecificationError, match=name):
            bcl.contrast(different, "technique", *NAMES, **slip)

    def test_a_level_that_is_misspelt(self, different):
        with pytest.raises(SpecificationError, match=r"did you mean 'technique'\?"):
            bcl.contrast(different, "techniqe", *NAMES)

    def test_a_level_without_effects(self, montgomery):
        law = bcl.ContextLaw(groups=("task",))
        law.fit(montgomery, draws=20, tune=30, chains=2, random_seed=1, progressbar=False)
        with pytest.raises(SpecificationError, match="level='technique' has no effects"):
            bcl.contrast(law, "technique", "YaRN", "PI")

    def test_checkpoints_of_the_law(self, different):
        with pytest.raises(SpecificationError, match="compare llms with kind='llm'"):
            bcl.contrast(different, "llm", "X 8192", "Y 8192", kind="law")

    @given(label=st.text(min_size=1).filter(lambda text: text not in NAMES))
    def test_labels_never_seen(self, different, label):
        with pytest.raises(UnknownLabelError, match="technique"):
            bcl.contrast(different, "technique", "X", label)

    def test_a_new_label_is_the_prior_s(self, different):
        found = bcl.contrast(different, "technique", "X", "Z", new_levels="uncertainty")
        assert "saw no technique 'Z'" in found.confounding.notes[0]
        assert found.confounding.unseen == ("Z",)
        assert not found.confounding.identified
        assert found.sentence.startswith("The fit saw no technique Z, so this says what others")
        known = bcl.contrast(different, "technique", "X", "Y")
        sd = [float(f.parameters["sd"].sel(parameter="delta")) for f in (found, known)]
        assert sd[0] > sd[1]

    def test_results_are_datasets(self, different):
        found = bcl.contrast(different, "technique", *NAMES)
        assert isinstance(found.overall, xr.Dataset)


@pytest.mark.parametrize("law", ["fit.nc", None, bcl.rivals.ComputeOnlyLaw()])
def test_what_is_no_law(law):
    name = type(law).__name__
    with pytest.raises(SpecificationError, match=f"a contrast needs a fitted .* given a {name}"):
        bcl.contrast(law, "technique", "YaRN", "PI")
    with pytest.raises(SpecificationError, match=f"an effective window needs .* given a {name}"):
        bcl.effective_window(law, bcl.load_dataset("helmet_icl"))


def test_labels_that_are_none(different):
    with pytest.raises(SpecificationError, match="a=None must be a label"):
        bcl.contrast(different, "technique", None, "PI")


def test_rows_of_the_fit_keep_the_scatter_of_prompt_length():
    obs = bcl.load_dataset("montgomery2025")
    scattered = obs.assign(prompt_tokens_sd=("obs_id", 0.5 * obs["prompt_tokens"].values))
    rows = rows_of_labels(scattered, "technique", ("YaRN", "none"))
    # To the little by which lengths of one point may differ.
    np.testing.assert_allclose(rows["prompt_tokens_sd"], 0.5 * rows["prompt_tokens"], rtol=0.1)


def test_rows_of_the_fit_keep_every_chance_level_of_a_task():
    obs = bcl.load_dataset("helmet_icl")
    more = obs.assign(chance=obs["chance"] + 0.2)
    both = xr.concat([obs, more], "obs_id").assign_coords(obs_id=np.arange(2 * obs.sizes["obs_id"]))
    once = rows_of_labels(obs, "technique", ("YaRN", "PI"))
    twice = rows_of_labels(both, "technique", ("YaRN", "PI"))
    assert twice.sizes["obs_id"] == 2 * once.sizes["obs_id"]


def test_prompt_lengths_that_hardly_differ_are_one_point(different):
    """Tasks have mean lengths of their own; a curve over lengths is an average over tasks."""
    law, size = copy.copy(different), different.obs.sizes["obs_id"]
    lengths = np.array([100.0, 1000.0, 10_000.0])[np.arange(size) % 3]
    task = np.unique(different.obs["task"].values.astype(str), return_inverse=True)[1]
    law.obs = different.obs.assign(prompt_tokens=("obs_id", lengths * (1.0 + 0.02 * task)))
    rows = rows_of_labels(law.obs, "technique", NAMES)
    middle = 1.0 + 0.01 * task.max()
    np.testing.assert_allclose(
        np.unique(rows["prompt_tokens"]), [100 * middle, 1000 * middle, 1e4 * middle]
    )
    curve = bcl.contrast(law, "technique", *NAMES).curve
    assert "task" not in curve
    law.obs = different.obs.assign(prompt_tokens=("obs_id", lengths))
    apart = rows_of_labels(law.obs, "technique", NAMES)["prompt_tokens"]
    assert set(apart.values) == {100.0, 1000.0, 10_000.0}


def test_along_compute_every_prompt_length_is_a_curve(different):
    import matplotlib.pyplot as plt

    at = bcl.grid(
        task="task 0", llm="any", family="F", context_window=8192,
        compute=[1e21, 1e22, 1e23], prompt_tokens=[500, 4000],
    )  # fmt: skip
    found = bcl.contrast(different, "technique", *NAMES, at=at)
    ax = bcl.plots.plot_contrast(found, along="compute")[0]
    curves = [line for line in ax.get_lines() if len(line.get_xdata()) == 3]
    assert len({tuple(line.get_ydata()) for line in curves}) >= 2
    for line in curves:
        assert (np.diff(np.asarray(line.get_xdata(), dtype=float)) > 0).all()
    plt.close(ax.figure)
    everything = bcl.contrast(different, "technique", *NAMES)
    with pytest.raises(SpecificationError, match=r"one for each of its prompt_tokens .*at=grid"):
        bcl.plots.plot_contrast(everything, along="compute")
