"""Planning: against searches on a grid, closed forms, and fits that were made again."""

import copy
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_laws import LLM_SD, MEAN, NOISE, SD, LinearLaw
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

import bayes_ctxlaw as bcl
from bayes_ctxlaw.errors import (
    NotFittedError,
    ObservationError,
    SpecificationError,
    UnknownLabelError,
)
from bayes_ctxlaw.planning import (
    _variance,
    next_evaluation,
    plan_table,
    required_compute,
    required_context,
)

ROOT = Path(__file__).resolve().parents[1]
LINEAR = LinearLaw()
FEW, FALLING = LinearLaw(shape=(4, 250)), LinearLaw(falls=True, shape=(4, 250))
AT = {"task": "maths", "llm": "A-8k", "compute": 1e23, "context_window": 100_000, "n_items": 400}
RANGE = {"prompt_tokens": [10, 1_000_000]}


@pytest.fixture(scope="module")
def fitted(montgomery):
    """A law with few draws: enough to compare two ways to compute the same."""
    law = bcl.ContextLaw()
    law.fit(
        montgomery, draws=100, tune=100, chains=2, thin=1, random_seed=1, progressbar=False
    )  # fmt: skip
    return law


LLAMA = {
    "task": "arithmetic reasoning", "llm": "Llama-2-7B-128k", "family": "Llama-2",
    "technique": "YaRN", "compute": 7.78e22, "context_window": 131072, "n_items": 500,
}  # fmt: skip


def brute_force(law, at, variable, values, target, prob, kind):
    """First value of a grid at which enough draws of the prediction reach the target, or NaN."""
    prediction = law.predict(bcl.grid(**{**at, variable: values}), kind=kind, samples=True)
    reached = (prediction["samples"] >= target).mean(("chain", "draw")).values
    places = np.flatnonzero(reached >= prob - 1e-12)
    return values[places[0]] if places.size else np.nan


# --- the context or compute that is needed --------------------------------------------------------


@pytest.mark.parametrize("kind", ["law", "llm"])
@pytest.mark.parametrize("target", [0.2, 0.35, 0.4])
@pytest.mark.parametrize("law", [FEW, FALLING])
def test_required_context_is_what_a_search_finds(law, target, kind):
    needed = required_context(law, target, at=AT | RANGE, kind=kind, points=200)
    values = np.geomspace(*RANGE["prompt_tokens"], 5000)
    found = brute_force(law, AT, "prompt_tokens", values, target, 0.9, kind)
    step = np.log(1e5) / 199
    assert np.isfinite(found)
    assert abs(np.log(needed["required"].item() / found)) < step


def probability_of_a_response(law, at, target, repeats):
    """That an evaluation reaches a target, from as many evaluations of one design."""
    design = bcl.grid(**at)
    reached = [
        (law.predict(design, random_seed=seed, samples=True)["samples"] >= target).mean().item()
        for seed in range(repeats)
    ]
    return np.mean(reached)


@pytest.mark.parametrize("points", [50, 2000])
def test_required_context_of_a_response_reaches_with_the_probability(points):
    """The finest grid finds no luckier a place than a coarse one."""
    needed = required_context(FEW, 0.35, at=AT | RANGE, kind="response", points=points)
    at = AT | {"prompt_tokens": needed["required"].item()}
    assert probability_of_a_response(FEW, at, 0.35, 100) == pytest.approx(0.9, abs=0.005)


@pytest.mark.parametrize(
    "likelihood", ["student_t", pytest.param("beta_binomial", marks=pytest.mark.slow)]
)
def test_a_fitted_law_promises_no_more_of_a_response_than_it_keeps(fitted, likelihood):
    law = copy.copy(fitted)
    law.spec = replace(fitted.spec, likelihood=likelihood)
    at = LLAMA | {"n_items": 50}
    needed = required_context(law, 0.11, 0.6, at=at, kind="response")
    kept = probability_of_a_response(
        law, at | {"prompt_tokens": needed["required"].item()}, 0.11, 60
    )
    assert needed["state"].item() == "reachable"
    assert kept == pytest.approx(0.6, abs=0.02)
    ceiling = needed["ceiling"].item()
    place = at | {"prompt_tokens": needed["ceiling_at"].item()}
    kept = probability_of_a_response(law, place, ceiling, 60)
    # The score of one item more is not reached with the probability.
    more = probability_of_a_response(law, place, ceiling + 1 / 50, 60)
    assert more < 0.6 < kept + 0.03


@pytest.mark.parametrize("task", ["arithmetic reasoning", "machine translation"])
@pytest.mark.parametrize("kind", ["law", "llm"])
def test_required_context_of_a_fitted_law_is_what_a_search_finds(fitted, task, kind):
    at = LLAMA | {"task": task}
    needed = required_context(fitted, 0.11, at=at, kind=kind)
    low, high = needed["searched_from"].item(), needed["searched_to"].item()
    assert (low, high) == (float(fitted.obs["prompt_tokens"].min()), 131072)
    values = np.geomspace(low, high, 4000)
    found = brute_force(fitted, at, "prompt_tokens", values, 0.11, 0.9, kind)
    assert abs(np.log(needed["required"].item() / found)) < np.log(high / low) / 199


def test_required_compute_of_a_fitted_law_is_what_a_search_finds(fitted):
    at = LLAMA | {"prompt_tokens": 4000, "llm": "a new one"}
    del at["compute"]
    options = {"kind": "llm", "new_levels": "uncertainty"}
    needed = required_compute(fitted, 0.15, at=at, **options)
    low, high = needed["searched_from"].item(), needed["searched_to"].item()
    assert high == pytest.approx(1000 * float(fitted.obs["compute"].max()))
    values = np.geomspace(low, high, 4000)
    design = bcl.grid(**at | {"compute": values})
    draws = fitted.predict(design, samples=True, **options)["samples"]
    enough = (draws >= 0.15).mean(("chain", "draw")).values >= 0.9 - 1e-12
    found = values[enough.argmax()]
    assert enough.any()
    assert abs(np.log(needed["required"].item() / found)) < np.log(high / low) / 199


@pytest.mark.parametrize(("kind", "extra"), [("law", 0), ("llm", LLM_SD**2)])
@pytest.mark.parametrize("prob", [0.5, 0.9, 0.99])
def test_required_context_against_the_closed_form(kind, extra, prob):
    def probability(x):
        return norm.cdf(
            (MEAN[0] + MEAN[1] * x - 0.4) / np.sqrt(extra + SD[0] ** 2 + (SD[1] * x) ** 2)
        )

    exact = brentq(lambda x: probability(x) - prob, -2, 3)
    needed = required_context(LINEAR, 0.4, prob, at=AT | RANGE, kind=kind)
    # 10,000 draws: the standard error of a probability of 0.99 is a tenth of 0.01.
    assert np.log10(needed["required"].item() / 1000) == pytest.approx(exact, abs=0.06)
    # Every draw of this curve rises: reaching the target is having crossed it.
    for name, q in (("lower", 0.05), ("median", 0.5), ("upper", 0.95)):
        exact = brentq(lambda x, q=q: probability(x) - q, -3, 3)
        assert np.log10(needed[name].item() / 1000) == pytest.approx(exact, abs=0.06)


def test_required_compute_against_the_closed_form():
    exact = brentq(
        lambda x: norm.cdf((MEAN[0] + MEAN[2] * x - 0.35) / np.hypot(SD[0], SD[2] * x)) - 0.8, 0, 5
    )
    at = {name: value for name, value in AT.items() if name != "compute"}
    at |= {"prompt_tokens": 1000, "compute": [1e21, 1e28]}
    needed = required_compute(LINEAR, 0.35, 0.8, at=at, kind="law")
    assert np.log10(needed["required"].item() / 1e23) == pytest.approx(exact, abs=0.06)
    assert needed["required"].attrs["units"] == "FLOP"


def test_where_the_score_rises_and_falls_the_smallest_value_is_found():
    needed = required_context(FALLING, 0.4, 0.5, at=AT | RANGE)
    past = {"prompt_tokens": [needed["required"].item() * 1.5, 1_000_000]}
    assert needed["required"] < 30_000
    above = FALLING.predict(bcl.grid(**AT, prompt_tokens=500_000), samples=True, kind="llm")
    assert (above["samples"] < 0.4).all()
    with pytest.raises(SpecificationError, match="not above the present score"):
        required_context(FALLING, 0.4, 0.5, at=AT | past)


def test_draws_that_never_cross_are_counted_and_the_interval_says_so():
    needed = required_context(FALLING, 0.45, 0.5, at=AT | RANGE)
    values = np.geomspace(10, 1_000_000, 2000)
    draws = FALLING.predict(bcl.grid(**AT, prompt_tokens=values), samples=True, kind="llm")
    never = float((draws["samples"].max("obs_id") < 0.45).mean())
    assert 0.05 < never < 0.5
    assert needed["never"].item() == pytest.approx(never, abs=0.005)
    assert np.isinf(needed["upper"])
    assert np.isfinite(needed["median"])
    assert "and beyond 1,000,000 (90 % equal-tailed interval" in needed.attrs["sentence"]


def test_draws_above_the_target_from_the_start_are_counted_and_said():
    needed = required_context(LINEAR, 0.31, 0.99, at=AT | {"prompt_tokens": [400, 1_000_000]})
    start = LINEAR.predict(bcl.grid(**AT, prompt_tokens=[400]), samples=True, kind="llm")
    already = float((start["samples"] >= 0.31).mean())
    assert 0.05 < already < 0.95
    assert needed["already"].item() == pytest.approx(already)
    assert needed["lower"].item() == 400
    sentence = needed.attrs["sentence"]
    assert "the curve first crosses it between 400 or less and" in sentence
    noisy = required_context(LINEAR, 0.45, at=AT | RANGE, kind="response").attrs["sentence"]
    assert "the curve, without the noise of an evaluation, first crosses it between" in noisy


def test_a_target_out_of_reach_has_a_ceiling():
    needed = required_context(FALLING, 0.6, at=AT | RANGE)
    assert needed["state"].item() == "not reachable"
    assert np.isnan(needed["required"])
    values = np.geomspace(10, 1_000_000, 200)
    draws = FALLING.predict(bcl.grid(**AT, prompt_tokens=values), samples=True, kind="llm")
    held = draws["samples"].quantile(0.1, ("chain", "draw"), method="higher")
    assert needed["ceiling"].item() == pytest.approx(float(held.max()), abs=1e-4)
    assert needed["ceiling_at"].item() == values[int(held.argmax("obs_id"))]
    sentence = needed.attrs["sentence"]
    assert "is not reachable with probability 0.9 (llm) between 10 and 1,000,000" in sentence
    assert f"ceiling is {needed['ceiling'].item():.3g}, at" in sentence


@settings(max_examples=12)
@given(st.floats(0.5, 0.99), st.sampled_from(["law", "llm", "response"]))
def test_the_ceiling_can_be_reached_and_nothing_above_it(prob, kind):
    ceiling = required_context(FALLING, 0.99, prob, at=AT | RANGE, kind=kind)["ceiling"].item()
    at_it = required_context(FALLING, ceiling, prob, at=AT | RANGE, kind=kind)
    above = required_context(FALLING, ceiling + 1e-9, prob, at=AT | RANGE, kind=kind)
    assert at_it["state"].item() == "reachable"
    assert at_it["required"].item() <= at_it["ceiling_at"].item() * (1 + 1e-12)
    assert above["state"].item() == "not reachable"


@settings(max_examples=12)
@given(st.floats(0.25, 0.45), st.floats(0.05, 0.95), st.floats(0.001, 0.05))
def test_more_is_needed_for_a_higher_target_and_for_being_surer(target, prob, more):
    needed = required_context(FEW, target, prob, at=AT | RANGE)
    assume(needed["state"].item() == "reachable")
    for other in ((target + more, prob), (target, min(prob + more, 0.999))):
        higher = required_context(FEW, *other, at=AT | RANGE)
        if higher["state"].item() == "reachable":
            assert higher["required"] >= needed["required"]
            continue
        assert higher["state"].item() == "not reachable"


def test_noise_of_an_evaluation_asks_for_more_but_moves_no_crossing():
    llm = required_context(FEW, 0.4, at=AT | RANGE)
    response = required_context(FEW, 0.4, at=AT | RANGE, kind="response")
    assert response["required"] > llm["required"]
    for name in ("lower", "median", "upper", "never"):
        assert response[name].item() == llm[name].item()


def test_rows_are_answered_one_by_one():
    axes = AT | RANGE | {"task": ["maths", "qa"], "llm": ["A-8k", "A-32k"]}
    together = required_context(FEW, 0.4, at=axes)
    assert together.sizes["obs_id"] == 4
    for i in range(4):
        row = together.isel(obs_id=i)
        alone = AT | RANGE | {"task": row["task"].item(), "llm": row["llm"].item()}
        single = required_context(FEW, 0.4, at=alone)
        for name in ("required", "lower", "upper", "ceiling"):
            assert single[name].item() == row[name].item()
    assert len(together.attrs["sentence"].splitlines()) == 4
    assert together.attrs["sentence"].startswith("maths, A-8k: a score of 0.4 is reached with")


def test_the_points_may_be_any_table():
    rows = [AT | {"prompt_tokens": n} for n in (10, 500, 1_000_000)]
    expected = required_context(FEW, 0.4, at=AT | RANGE)
    for at in (rows, pd.DataFrame(rows), bcl.as_design(rows)):
        assert required_context(FEW, 0.4, at=at)["required"].item() == expected["required"].item()
    # Without prompt tokens the range is from the shortest of the fit to the window.
    needed = required_context(FEW, 0.4, at=[AT])
    assert (needed["searched_from"].item(), needed["searched_to"].item()) == (100, 100_000)
    # A single value is where to start from.
    needed = required_context(FEW, 0.4, at=AT | {"prompt_tokens": 700})
    assert (needed["searched_from"].item(), needed["searched_to"].item()) == (700, 100_000)


def test_compute_follows_from_parameters_and_tokens():
    at = {n: v for n, v in AT.items() if n != "compute"} | {"prompt_tokens": 1000}
    at |= {"n_params": 1e9, "train_tokens": 1e12}
    needed = required_compute(LINEAR, 0.33, 0.5, at=at)
    assert needed["searched_from"].item() == 6e21
    assert needed["searched_to"].item() == pytest.approx(1e26)
    assert "n_params" not in needed


def test_observations_of_one_setting_are_one_range():
    needed = required_context(LINEAR, 0.37, at=LINEAR.obs)
    assert needed.sizes["obs_id"] == 4
    assert set(needed["searched_to"].values) == {4000.0}
    assert "score" not in needed


def test_a_target_already_reached():
    both = AT | {"task": ["maths", "qa"], "prompt_tokens": [900, 1_000_000]}
    needed = required_context(LINEAR, 0.34, 0.8, at=both)
    assert needed["state"].values.tolist() == ["reachable", "already reached"]
    assert needed["required"].values[1] == 900
    assert "already reached at 900 prompt tokens, with probability 0.8" in needed.attrs["sentence"]
    with pytest.raises(SpecificationError) as caught:
        required_context(LINEAR, 0.1, at=both)
    assert "the target 0.1 is not above the present score" in str(caught.value)
    assert "Give a higher target" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": 55}, "target=55 must lie between 0 and 1; if it is a percentage, write 0.55"),
        ({"target": 0.0}, "target=0.0 must lie between 0 and 1"),
        ({"target": 1.0}, "target=1.0 must lie"),
        ({"target": "0.7"}, "target='0.7' must lie"),
        ({"target": np.nan}, "target=nan must lie"),
        ({"target": True}, "target=True must lie"),
        ({"prob": 1}, "prob=1 must lie between 0 and 1"),
        ({"prob": 90}, "if it is a percentage, write 0.9"),
        ({"kind": "all"}, "kind='all' is not one of"),
        ({"ci_prob": 0}, "ci_prob=0 must lie"),
        ({"new_levels": "guess"}, "new_levels='guess'"),
        ({"points": 1}, "points=1 must be a whole number, at least 2"),
    ],
)
def test_options_that_are_refused(options, said):
    with pytest.raises(SpecificationError) as caught:
        required_context(LINEAR, **{"target": 0.4, "at": AT | RANGE} | options)
    assert said in str(caught.value)


def test_all_wrong_options_in_one_message():
    with pytest.raises(SpecificationError) as caught:
        required_context(LINEAR, 55, 2, at=AT, kind="all", points=0)
    for name in ("target", "prob", "kind", "points"):
        assert f"{name}=" in str(caught.value)


def test_points_that_are_refused():
    with pytest.raises(ObservationError, match=r"`at`: .*\n.*`context_window`"):
        required_context(LINEAR, 0.4, at=[{n: v for n, v in AT.items() if n != "context_window"}])
    with pytest.raises(ObservationError, match=r"`at`: .*\n.*`compute`"):
        required_context(LINEAR, 0.4, at={n: v for n, v in AT.items() if n != "compute"})
    with pytest.raises(ObservationError, match="`at`: "):
        required_context(LINEAR, 0.4, at=AT | {"prompt_tokens": -5})
    with pytest.raises(SpecificationError, match=r"from 200,000 to 100,000\)\. Give two"):
        required_context(LINEAR, 0.4, at=AT | {"prompt_tokens": 200_000})
    with pytest.raises(UnknownLabelError, match="B-8k"):
        required_context(LINEAR, 0.4, at=AT | RANGE | {"llm": "B-8k"})


def test_laws_that_are_refused():
    with pytest.raises(NotFittedError):
        required_context(bcl.ContextLaw(), 0.4, at=AT)
    with pytest.raises(NotFittedError):
        next_evaluation(bcl.ContextLaw(), [AT | {"prompt_tokens": 9}], at=AT | {"prompt_tokens": 9})

    class Drawless:
        def predict(self, at):
            return at

    with pytest.raises(SpecificationError, match="a Drawless cannot be planned with"):
        required_context(Drawless(), 0.4, at=AT)
    with pytest.raises(SpecificationError, match="a Drawless cannot be planned with"):
        next_evaluation(Drawless(), [AT], at=AT)


def test_the_plan_is_a_table_that_says_what_it_holds(tmp_path):
    needed = required_context(LINEAR, 0.45, at=AT | RANGE | {"task": ["maths", "qa"]})
    rows = plan_table(needed)
    assert rows["task"].tolist() == ["maths", "qa"]
    assert set(rows["target"]) == {0.45}
    assert set(rows["prediction_kind"]) == {"llm"}
    assert set(rows["ci_kind"]) == {"equal-tailed"}
    np.testing.assert_allclose(
        rows["extrapolation_prompt_tokens"],
        np.log10(needed["required"] / 4000).clip(0),
        atol=1e-9,
    )
    assert "decades beyond the data" in needed.attrs["sentence"]
    needed.to_netcdf(tmp_path / "plan.nc")


# --- the next evaluation --------------------------------------------------------------------------

PLACE = AT | {"prompt_tokens": 50_000}


def exact_reduction(law, candidates, at):
    """Of the variance of a linear normal law by scores with normal noise; mean over the places."""
    rows, places = bcl.as_design(candidates), bcl.as_design(at)
    observed = law.covariance(rows, rows) + np.diag(NOISE**2 / rows["n_items"].values)
    both = law.covariance(rows, places)
    return float(np.diag(both.T @ np.linalg.solve(observed, both)).mean())


@pytest.mark.parametrize("tokens", [100, 1000, 30_000])
@pytest.mark.parametrize("n_items", [20, 400, 100_000])
@pytest.mark.parametrize("llm", ["A-8k", "A-32k"])
def test_one_score_against_the_closed_form(tokens, n_items, llm):
    candidate = AT | {"prompt_tokens": tokens, "n_items": n_items, "llm": llm}
    plan = next_evaluation(LINEAR, [candidate], at=[PLACE])
    exact = exact_reduction(LINEAR, [candidate], [PLACE])
    mcse = plan["reduction_mcse"].item()
    assert abs(plan["reduction"].item() - exact) < 4 * mcse
    assert mcse < 0.04 * plan["sd_now"].item() ** 2
    left = np.sqrt(1 - exact / float(LINEAR.covariance(*[bcl.as_design([PLACE])] * 2)[0, 0]))
    shrunk = plan["mean_width_after"].item() / plan["mean_width_now"].item()
    assert shrunk == pytest.approx(left, abs=0.03)


def test_several_scores_and_places_against_the_closed_form():
    whole = [
        AT | {"candidate": "all", "prompt_tokens": n, "llm": llm, "task": task}
        for n in (100, 3000, 20_000)
        for llm in ("A-8k", "A-32k")
        for task in ("maths", "qa")
    ]
    at = [PLACE, PLACE | {"compute": 1e24}, PLACE | {"llm": "A-32k", "prompt_tokens": 500}]
    plan = next_evaluation(LINEAR, whole, at=at)
    exact = exact_reduction(LINEAR, whole, at)
    assert plan["candidate"].values.tolist() == ["all"]
    assert plan["rows"].item() == 12
    assert plan["n_items"].item() == 12 * 400
    assert plan["cost"].item() == 400 * 4 * 23_100
    assert plan["task"].item() == "maths + qa"
    assert plan["reduction"].item() == pytest.approx(exact, abs=4 * plan["reduction_mcse"].item())
    assert plan["width_after"].dims == ("candidate", "obs_id")
    assert (plan["width_after"] < plan["width_now"]).all()
    assert plan["mean_width_after"].item() == pytest.approx(plan["width_after"].mean().item())


def test_the_error_of_a_reduction_is_that_between_seeds():
    """Other noise of the same candidate: the scatter is at most the stated error."""
    candidate = AT | {"prompt_tokens": 1000, "n_items": 50}
    plans = [next_evaluation(LINEAR, [candidate], at=[PLACE], random_seed=s) for s in range(20)]
    scatter = np.std([plan["reduction"].item() for plan in plans], ddof=1)
    stated = np.mean([plan["reduction_mcse"].item() for plan in plans])
    assert 0.2 * stated < scatter < 1.3 * stated


def test_what_tells_nothing_is_not_said_to_tell_something():
    rng = np.random.default_rng(5)
    target = rng.normal(size=(4, 500, 1))
    z = []
    for _ in range(100):
        by_place, error = _variance.explained(target, rng.normal(size=(4, 500, 3)))
        z.append(by_place[0] / error)
    # Unbiased: the mean of 100 standardised estimates.
    assert abs(np.mean(z)) < 0.5
    assert np.mean(np.abs(z) > 2) < 0.15
    assert _variance.explained(target, np.full((4, 500, 1), 0.3))[0][0] == 0.0


def test_a_bent_relation_is_followed():
    """Scores near the end of their scale tell less there: exp(y) of a normal y."""
    rng = np.random.default_rng(6)
    y = rng.normal(size=(4, 5000, 1))
    target = np.exp(0.8 * y)
    reduction, _ = _variance.explained(target, y)
    assert reduction[0] > 0.97 * target.var()


def test_more_items_tell_more_and_cost_more():
    axes = AT | {"prompt_tokens": 5000, "n_items": [10, 100, 1000, 10_000]}
    plan = next_evaluation(LINEAR, axes, at=[PLACE])
    assert plan["n_items"].values.tolist() == [10_000, 1000, 100, 10]
    np.testing.assert_array_equal(plan["cost"], 5000 * plan["n_items"])
    np.testing.assert_allclose(plan["reduction_per_cost"], plan["reduction"] / plan["cost"])


def test_the_budget_is_kept():
    axes = AT | {"prompt_tokens": 5000, "n_items": [10, 100, 1000, 10_000]}
    plan = next_evaluation(LINEAR, axes, at=[PLACE], budget=600_000)
    assert plan["n_items"].values.tolist() == [100, 10, 10_000, 1000]
    assert plan["affordable"].values.tolist() == [True, True, False, False]
    sentence = plan.attrs["sentence"]
    assert sentence.startswith("2 of 4 candidates cost at most 600,000 tokens. Expected to narrow")
    assert "the 90 % equal-tailed interval (llm) most is" in sentence
    assert "100 items (500,000 tokens): from" in sentence
    assert "For its cost, maths, A-8k, 5,000 prompt tokens, 10 items (50,000 tokens)" in sentence
    with pytest.raises(SpecificationError) as caught:
        next_evaluation(LINEAR, axes, at=[PLACE], budget=1000)
    assert "no candidate is affordable: the cheapest of 4 costs 50,000" in str(caught.value)


def test_cost_may_be_a_column():
    rows = [AT | {"prompt_tokens": n, "dollars": 1 / n} for n in (100, 1000)]
    plan = next_evaluation(LINEAR, rows, at=[PLACE], cost="dollars", budget=0.005)
    assert plan["cost"].values.tolist() == [0.001, 0.01]
    assert plan["affordable"].values.tolist() == [True, False]
    assert "cost at most 0.005 dollars" in plan.attrs["sentence"]


def test_where_nothing_helps_it_is_said():
    rows = [AT | {"prompt_tokens": 1000, "n_items": 1, "candidate": "a coin"}]
    plan = next_evaluation(LinearLaw(shape=(4, 100)), rows, at=[PLACE])
    assert "None is expected to narrow the" in plan.attrs["sentence"]


def test_noise_at_the_place_of_interest_stays():
    rows = [AT | {"prompt_tokens": 1000}]
    llm = next_evaluation(LINEAR, rows, at=[PLACE])
    response = next_evaluation(LINEAR, rows, at=[PLACE], kind="response")
    assert response["reduction"].item() == llm["reduction"].item()
    assert response["sd_now"] > llm["sd_now"]
    assert response["sd_after"].item() ** 2 == pytest.approx(
        response["sd_now"].item() ** 2 - llm["reduction"].item()
    )


def test_a_new_checkpoint_tells_of_the_law_but_less_of_another():
    one = AT | {"prompt_tokens": 40_000, "n_items": 2000}
    rows = [one, one | {"llm": "B-new"}]
    with pytest.raises(UnknownLabelError, match="B-new"):
        next_evaluation(LINEAR, rows, at=[PLACE])
    plan = next_evaluation(LINEAR, rows, at=[PLACE], new_levels="uncertainty")
    assert plan["llm"].values.tolist() == ["A-8k", "B-new"]
    other = plan.isel(candidate=1)
    exact = exact_reduction(LINEAR, [rows[1]], [PLACE])
    assert other["reduction"].item() == pytest.approx(exact, abs=4 * other["reduction_mcse"].item())


def test_many_candidates_are_weighed_in_parts():
    """What a candidate is worth does not depend on how many others there are."""
    axes = AT | {"prompt_tokens": np.geomspace(100, 50_000, 300), "n_items": 5000}
    plan = next_evaluation(LINEAR, axes, at=[PLACE])
    assert plan.sizes["candidate"] == 300
    last = [AT | {"prompt_tokens": 50_000.0, "n_items": 5000}]
    alone = next_evaluation(LINEAR, last, at=[PLACE])
    together = plan.isel(candidate=int(plan["cost"].argmax("candidate")))
    error = alone["reduction_mcse"].item()
    assert abs(together["reduction"].item() - alone["reduction"].item()) < 3 * error


def test_ranking_a_fitted_law(fitted):
    axes = LLAMA | {"prompt_tokens": [1000, 30_000, 110_000]}
    plan = next_evaluation(fitted, axes, at=LLAMA | {"prompt_tokens": 120_000})
    # The nearest to the place of interest tells most.
    assert plan["candidate"].values[0].endswith("110,000 prompt tokens")
    assert plan["reduction_share"].values[0] > 0.1


def test_draws_of_a_fitted_law_are_joint_between_calls(fitted):
    """Parameters and new effects are shared between rows and calls; noise is not."""
    options = {"samples": True, "new_levels": "uncertainty"}
    new = LLAMA | {"llm": "a new one"}
    places = bcl.grid(**new | {"prompt_tokens": [1000, 2000]})
    rows = bcl.grid(**new | {"prompt_tokens": [500, 2000, 2000]})
    f = fitted.predict(places, kind="llm", **options)["samples"]
    g = fitted.predict(rows, kind="llm", **options)["samples"]
    np.testing.assert_array_equal(f[..., 1], g[..., 1])
    y = fitted.predict(rows, kind="response", **options)["samples"]
    noise = (y - g).values.reshape(-1, 3)
    correlation = np.corrcoef(noise, rowvar=False)[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(noise))
    assert np.corrcoef(f.values[..., 0].ravel(), g.values[..., 0].ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("candidates", "options", "said"),
    [
        ([{"prompt_tokens": 9, "n_items": None}], {}, "they lack `n_items` in some rows"),
        ([{"prompt_tokens": 9}], {"cost": "dollars"}, "cost='dollars' is not one of their columns"),
        ([{"prompt_tokens": 9, "d": -1}], {"cost": "d"}, "must hold numbers above 0; row 0 holds"),
        ([{"prompt_tokens": 9, "d": "x"}], {"cost": "d"}, "must hold numbers above 0; row 0 holds"),
        ([{"prompt_tokens": 9, "candidate": " "}], {}, "`candidate` is blank in 1 row(s)"),
        ([{"prompt_tokens": 9}], {"budget": -1}, "budget=-1 must be a number above 0"),
        ([{"prompt_tokens": 9}], {"budget": "1e6"}, "budget='1e6' must be a number above 0"),
        ([{"prompt_tokens": 9}], {"kind": "all"}, "kind='all' is not one of"),
    ],
)
def test_candidates_that_are_refused(candidates, options, said):
    rows = [AT | row for row in candidates]
    with pytest.raises(SpecificationError) as caught:
        next_evaluation(LINEAR, rows, at=[PLACE], **options)
    assert said in str(caught.value)


def test_candidates_without_columns_are_refused():
    rows = [{n: v for n, v in PLACE.items() if n != "n_items"}]
    with pytest.raises(SpecificationError, match="they lack `n_items`: how much"):
        next_evaluation(LINEAR, rows, at=[PLACE])
    with pytest.raises(ObservationError, match=r"`candidates`: .*\n.*`prompt_tokens`"):
        next_evaluation(LINEAR, [AT], at=[PLACE])
    with pytest.raises(ObservationError, match=r"`at`: .*\n.*`prompt_tokens`"):
        next_evaluation(LINEAR, [PLACE], at=[AT])


def test_more_rows_than_draws_can_weigh_are_refused():
    law = LinearLaw(shape=(2, 50))
    rows = [PLACE | {"candidate": "all", "prompt_tokens": 100 + n} for n in range(6)]
    with pytest.raises(SpecificationError, match="6 rows cannot be weighed together with 100 draw"):
        next_evaluation(law, rows, at=[PLACE])


def test_the_ranking_is_a_table(tmp_path):
    axes = AT | {"prompt_tokens": [500, 5000]}
    plan = next_evaluation(LINEAR, axes, at=[PLACE], budget=1e7)
    rows = plan_table(plan)
    assert rows.index.tolist() == plan["candidate"].values.tolist()
    assert {"cost", "affordable", "mean_width_now", "mean_width_after"} <= set(rows)
    assert set(rows["ci_prob"]) == {0.9}
    assert set(rows["budget"]) == {1e7}
    plan.to_netcdf(tmp_path / "plan.nc")


@pytest.mark.slow
def test_the_ranking_is_that_of_true_refits():
    path = ROOT / "benchmarks" / "next_evaluation.py"
    spec = importlib.util.spec_from_file_location("next_evaluation_benchmark", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    _, correlation = benchmark.compare(repeats=4, seed=1)
    assert correlation >= 0.8


def test_blank_candidates_of_numbers_are_refused():
    rows = pd.DataFrame([AT | {"prompt_tokens": n} for n in (100, 200, 300, 400)])
    with pytest.raises(SpecificationError, match=r"`candidate` is blank in 2 row\(s\)"):
        next_evaluation(LINEAR, rows.assign(candidate=[1, 1, np.nan, np.nan]), at=AT | RANGE)


@pytest.fixture(scope="module")
def rival():
    obs = bcl.load_dataset("montgomery2025")
    return bcl.rivals.ComputeOnlyLaw(resamples=10).fit(obs, random_seed=1)


ROW = {"task": "arithmetic reasoning", "llm": "Llama-2-7B-128k", "compute": 7.78e22}
ROW |= {"context_window": 131072, "prompt_tokens": 5000, "n_items": 500}


@pytest.mark.parametrize("given", ["rival", "a path"])
def test_what_is_no_law_with_draws_of_parameters_is_refused(rival, given):
    law, name = (rival, "ComputeOnlyLaw") if given == "rival" else ("fit.nc", "str")
    one = {k: v for k, v in ROW.items() if k != "prompt_tokens"}
    with pytest.raises(SpecificationError, match=f"needs a fitted ContextLaw .* a {name}"):
        required_context(law, 0.1, at=one)
    with pytest.raises(SpecificationError, match=name):
        next_evaluation(law, ROW, at=ROW)


def test_curves_and_noise_that_are_not_paired_are_refused(rival):
    """Of a bootstrap, a draw of the curves stands for several with noise."""
    with pytest.raises(SpecificationError, match="not those of the curves without"):
        next_evaluation(rival, ROW, at=ROW)
