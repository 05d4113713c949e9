"""Clustering on difficulty: every step of the algorithm, its door, and its forecasts."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from _shared import SHARED, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

import bayes_ctxlaw as bcl
from bayes_ctxlaw.rivals import ComputeOnlyLaw
from bayes_ctxlaw.rivals.difficulty import (
    DifficultyClusters,
    as_items,
    item_observations,
    simulate_items,
)
from bayes_ctxlaw.rivals.difficulty.cluster_posterior import _Problem, curve_posterior
from bayes_ctxlaw.rivals.difficulty.clustering import (
    UNLABELLED,
    _climbed,
    improved_mean_shift,
    pass_rates,
    radius,
)
from bayes_ctxlaw.rivals.difficulty.curves import Curve, cluster_law, fit_curve, weighted_mean
from bayes_ctxlaw.rivals.difficulty.grouping import TaskData
from bayes_ctxlaw.rivals.difficulty.lines import line_draws, trend_draws
from bayes_ctxlaw.rivals.difficulty.mapping import RMSE, MonotoneSpline

COMPUTE = np.geomspace(1e19, 1e23, 6)
AT = [{"task": "simulated task", "llm": "target", "compute": 1.4e24}]


def table(items=12, llms=4, samples=20):
    rate = np.linspace(0.1, 0.9, llms)
    return pd.DataFrame(
        {
            "task": "maths",
            "llm": np.repeat([f"m{i}" for i in range(llms)], items),
            "compute": np.repeat(np.geomspace(1e20, 1e23, llms), items),
            "item": np.tile([f"q{i}" for i in range(items)], llms),
            "n_correct": np.repeat(np.round(rate * samples), items),
            "n_samples": samples,
        }
    )


@pytest.fixture(scope="module")
def population():
    return simulate_items(random_seed=7)


@pytest.fixture(scope="module")
def fits(population):
    small = population.isel(llm=slice(8))
    return {
        method: DifficultyClusters(method=method, draws=draws).fit(small, random_seed=1)
        for method, draws in (("bayesian", 1600), ("published", 50))
    }


# --- the door ------------------------------------------------------------------------------------


def test_a_long_table_becomes_checkpoint_by_item():
    frame = table().sample(frac=1.0, random_state=1)
    items = as_items(frame.rename(columns={"llm": "model"}), llm="model")
    assert items["llm"].values.tolist() == ["m0", "m1", "m2", "m3"]
    assert (np.diff(items["compute"]) > 0).all()
    for row in frame.itertuples():
        at = items.sel(llm=row.llm, item=row.item)
        assert (at["n_correct"], at["n_samples"]) == (row.n_correct, row.n_samples)


def test_what_was_laid_out_passes_unchanged():
    other = table().assign(task="law", item=lambda t: t["item"].str.replace("q1", "p1"))
    items = as_items(pd.concat([table(), other[other["llm"] != "m0"]], ignore_index=True))
    assert dict(items.sizes) == {"llm": 4, "item": 24}
    assert (items["n_samples"].sel(llm="m0").values == 0).sum() == 12
    again = as_items(items)
    xr.testing.assert_equal(again.sortby("llm"), items.sortby("llm"))


def broken(**changes):
    frame = table()
    for name, values in changes.items():
        frame[name] = frame[name].astype(object) if isinstance(values[1], str) else frame[name]
        frame.loc[values[0], name] = values[1]
    return frame


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (broken(n_correct=(5, 21)), r"`n_correct`, row 5: found 21 of 20\. Allowed: at most"),
        (broken(n_correct=(3, np.nan)), r"`n_correct`, row 3: found blank"),
        (broken(n_correct=(3, -1)), r"`n_correct`, row 3: found -1"),
        (broken(n_samples=(7, 0)), r"`n_samples`, row 7: found 0"),
        (broken(n_correct=(2, "many")), r"`n_correct`, row 2: found 'many'"),
        (broken(n_correct=(2, 0.5)), r"`n_correct`, row 2: found 0\.5"),
        (broken(compute=(9, np.nan)), r"`compute`, row 9: found blank"),
        (broken(compute=(9, 2e20)), r"`compute`.*'m0' with 2 of them"),
        (broken(llm=(4, " m0")), r"`llm`, row 4: found ' m0'"),
        (broken(item=(4, "q3")), r"2 rows \(3, 4\): found item 'q3' of 'maths' by 'm0'"),
        (table().drop(index=[1]), r"`item`, 3 rows \(13, 25, 37\).*'q1' of 'maths', which 'm0'"),
        (table(llms=2), r"'maths' has 2 size\(s\) of checkpoint \(m0, m1\); at least 3"),
        (table().drop(columns="item"), r"missing: `item`"),
        (table().iloc[:0], "no rows"),
    ],
)
def test_bad_counts_are_refused_with_their_rows(frame, words):
    with pytest.raises(bcl.ObservationError, match=words):
        as_items(frame)


def test_all_faults_come_in_one_message():
    frame = broken(n_correct=(5, 21), compute=(9, np.nan)).drop(index=[13])
    with pytest.raises(bcl.ObservationError) as error:
        as_items(frame)
    for words in ("row 5", "row 9", "'q1' of 'maths', which 'm1'", "3 faults"):
        assert words in str(error.value)


def test_names_that_are_not_there_are_refused():
    with pytest.raises(bcl.SpecificationError, match="no column 'modle'"):
        as_items(table(), llm="modle")


counts = st.integers(-3, 30) | st.none() | st.floats(-2, 30) | st.just(np.nan)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(counts, counts), min_size=12, max_size=12))
def test_any_counts_are_taken_whole_or_refused(pairs):
    frame = table(items=4, llms=3)
    frame["n_correct"], frame["n_samples"] = ([p[i] for p in pairs] for i in (0, 1))
    numbers = frame[["n_correct", "n_samples"]].astype(float).to_numpy()
    sound = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()
    sound = sound and (numbers[:, 0] >= 0).all() and (numbers[:, 1] >= 1).all()
    if sound and (numbers[:, 0] <= numbers[:, 1]).all():
        items = as_items(frame)
        assert items["n_correct"].sum() == numbers[:, 0].sum()
    else:
        with pytest.raises(bcl.ObservationError, match="row"):
            as_items(frame)


def test_items_become_observations_for_everybody():
    frame = table().assign(prompt_tokens=700, context_window=4096, family="F")
    obs = item_observations(frame.rename(columns={"llm": "model"}), llm="model")
    expected = frame.assign(p=frame["n_correct"] / 20).groupby("llm")["p"].mean()
    np.testing.assert_allclose(obs["score"], expected)
    assert obs["n_items"].values.tolist() == [12] * 4
    assert set(obs["family"].values) == {"F"}
    with pytest.raises(bcl.ObservationError, match="context_window"):
        item_observations(table())


# --- clusters ------------------------------------------------------------------------------------


def test_the_radius_is_bounded():
    rng = np.random.default_rng(1)
    assert radius(rng.random((200, 4))) == pytest.approx(np.sqrt(4) / 10)
    assert radius(0.01 * rng.random((200, 4))) < 0.01
    assert radius(np.ones((50, 4))) > 0


def test_clusters_are_compact_large_and_numbered_from_the_easiest():
    rng = np.random.default_rng(1)
    centres = np.array([[0.1, 0.2, 0.4], [0.5, 0.7, 0.9], [0.0, 0.1, 0.9]])
    features = np.concatenate([c + 0.01 * rng.standard_normal((40, 3)) for c in centres])
    few = 0.9 + 0.001 * rng.standard_normal((9, 3))  # below ten
    far = np.array([[0.9, 0.1, 0.9], [1.0, 0.0, 0.0]])
    labels = improved_mean_shift(np.concatenate([features, few, far]))
    assert labels[:120].reshape(3, 40).tolist() == [[2] * 40, [0] * 40, [1] * 40]
    assert (labels[120:] == UNLABELLED).all()
    reach = radius(np.concatenate([features, few, far]))
    for number in range(3):
        own = features[labels[:120] == number]
        assert np.linalg.norm(own - own.mean(axis=0), axis=1).max() <= 1.5 * reach
    assert improved_mean_shift(features, min_items=41).tolist() == [UNLABELLED] * 120


def test_what_a_first_round_leaves_a_second_may_cluster(monkeypatch):
    calls = []
    from sklearn.cluster import MeanShift

    fit = MeanShift.fit
    monkeypatch.setattr(MeanShift, "fit", lambda s, x: calls.append(len(x)) or fit(s, x))
    rng = np.random.default_rng(2)
    features = np.clip(rng.random((400, 1)) * np.linspace(0.2, 1, 5), 0, 1)
    labels = improved_mean_shift(features)
    assert calls[0] == 400
    assert len(calls) > 1
    assert all(a >= b for a, b in itertools.pairwise(calls))
    sizes = np.bincount(labels[labels >= 0])
    assert sizes.min() >= 10


@pytest.mark.parametrize("near", [False, True])
def test_clusters_are_those_of_a_search_from_every_item(near):
    """scikit-learn's own, from every start, is the rule; ours comes to the same by fewer."""
    from sklearn.cluster import MeanShift

    small = simulate_items(250, random_seed=3).isel(llm=slice(8))
    features = pass_rates(small["n_correct"].values, small["n_samples"].values)
    features = features[features.any(axis=1)]
    reach = radius(features)
    starts = features[:40] + 0.3 if near else features
    whole = MeanShift(bandwidth=reach, seeds=starts).fit(features)
    short = MeanShift(bandwidth=reach, seeds=_climbed(features, starts, reach)).fit(features)
    np.testing.assert_array_equal(whole.cluster_centers_, short.cluster_centers_)
    np.testing.assert_array_equal(whole.labels_, short.labels_)


def test_too_few_items_are_no_cluster():
    assert improved_mean_shift(np.full((9, 3), 0.5)).tolist() == [UNLABELLED] * 9


def test_items_that_never_pass_have_no_cluster(fits, population):
    small = population["n_correct"].isel(llm=slice(8))
    never = int((small.sum("llm") == 0).sum())
    rows = fits["published"].clusters.set_index("why")
    assert rows.loc["never passed", "n_items"] == never
    assert rows["n_items"].sum() == population.sizes["item"]


# --- the law of a cluster ------------------------------------------------------------------------


def test_the_law_at_its_ends():
    assert cluster_law(1e18, 2.0, 0.5, 0.0, 0.0) == pytest.approx(np.exp(-2.0))
    assert cluster_law(1e60, 2.0, 0.5, 0.1, 0.2) == pytest.approx(0.2 + 0.8 * np.exp(-0.1))
    assert cluster_law(1e-300, 2.0, 0.5, 0.1, 0.2) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "truth", [(9.0, 0.4, 0.05, 0.1), (60.0, 0.6, 0.0, 0.0), (1500.0, 1.0, 0.3, 0.25)]
)
def test_least_squares_give_a_law_back(truth):
    fit = fit_curve(COMPUTE, cluster_law(COMPUTE, *truth))
    np.testing.assert_allclose(fit(10 * COMPUTE[-1:]), cluster_law(1e24, *truth), atol=2e-3)
    np.testing.assert_allclose(fit(COMPUTE), cluster_law(COMPUTE, *truth), atol=1e-4)
    assert not fit.refusal


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        (Curve(1.0, 0.5, 0.0, 0.0), "a = 1 is not above 1"),
        (Curve(9.0, 0.1, 0.0, 0.0), "b = 0.1 is not above 0.1"),
        (Curve(9.0, 0.5, 1.0, 0.0), "c = 1 is not from 0 to below 1"),
        (Curve(9.0, 0.5, -0.01, 0.0), "c = -0.01 is not"),
        (Curve(0.5, -0.3, 2.0, 0.0), "a = .*, b = .*, c = "),
        (Curve(9.0, 0.5, 0.0, 0.9), ""),
    ],
)
def test_the_filter(curve, words):
    assert re.search(words, curve.refusal) if words else curve.refusal == ""


def test_a_cluster_that_falls_is_refused():
    assert fit_curve(COMPUTE, np.linspace(0.8, 0.1, 6)).refusal


def test_clusters_count_by_their_items():
    curves = [Curve(2.0, 0.5, 0.0, 0.0), Curve(2.0, 0.5, 0.7, 0.0)]
    mean = weighted_mean(curves, np.array([30, 10]), 1e18)
    assert mean == pytest.approx(0.75 * np.exp(-2.0) + 0.25 * np.exp(-2.7))


# --- the map -------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=10))
def test_the_map_never_falls_and_has_its_ends(points):
    subset, full = np.array(points).T
    spline = MonotoneSpline(subset, full)
    curve = spline(np.linspace(0, 1, 401))
    assert np.diff(curve).min() >= -1e-9
    np.testing.assert_allclose(curve[[0, -1]], [0, 1], atol=1e-9)


def test_the_map_is_as_smooth_as_its_error_allows():
    subset = np.array([0.05, 0.2, 0.35, 0.5, 0.6])
    straight = MonotoneSpline(subset, subset)
    bent = MonotoneSpline(subset, subset**2)
    assert straight.rmse < 1e-6
    assert 0.5 * RMSE < bent.rmse < RMSE  # stops as soon as it may
    assert bent.smoothing < straight.smoothing
    anchored = MonotoneSpline(np.append(subset, 0.9), np.append(subset**2, 0.88))
    assert abs(anchored(0.9) - 0.88) < abs(bent(0.9) - 0.88)


# --- the posterior -------------------------------------------------------------------------------


def counts_of(truth, samples=4000, effects=0.0, seed=1):
    rng = np.random.default_rng(seed)
    rate = np.array([cluster_law(COMPUTE * np.exp(effects), *t) for t in truth])
    return rng.binomial(samples, rate).astype(float), np.full(rate.shape, float(samples))


def test_the_likelihood_is_beta_binomial_with_its_gradient():
    passed, samples = counts_of([(9.0, 0.4, 0.05, 0.1), (60.0, 0.5, 0.02, 0.01)])
    problem = _Problem(np.log(COMPUTE / COMPUTE[-1]), passed, samples)
    theta = problem.start() + 0.1 * np.random.default_rng(1).standard_normal(14)
    value, gradient, _ = problem._parts(theta, 0.05)
    step = 1e-5 * np.eye(14)
    slopes = [
        (problem._parts(theta + s, 0.05)[0] - problem._parts(theta - s, 0.05)[0]) / 2e-5
        for s in step
    ]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-4)
    log_h, log_b, log_c, logit_g = theta[:8].reshape(2, 4).T[:, :, None]
    h = np.exp(log_h - np.exp(log_b) * (problem.x + theta[8:]))
    g = 1 / (1 + np.exp(-logit_g))
    mean, strength = g + (1 - g) * np.exp(-h - np.exp(log_c)), 0.05**-2 - 1
    exact = betabinom(samples, mean * strength, (1 - mean) * strength).logpmf(passed)
    shifted = problem._parts(theta + 0.1, 0.05)[0] - value
    h, g = (
        np.exp(log_h + 0.1 - np.exp(log_b + 0.1) * (problem.x + theta[8:] + 0.1)),
        1 / (1 + np.exp(-logit_g - 0.1)),
    )
    mean = g + (1 - g) * np.exp(-h - np.exp(log_c + 0.1))
    moved = betabinom(samples, mean * strength, (1 - mean) * strength).logpmf(passed)
    assert shifted == pytest.approx((moved - exact).sum(), rel=1e-6)


def test_curves_are_recovered_with_their_uncertainty():
    truth = [(12.0, 0.4, 0.03, 0.01), (60.0, 0.5, 0.05, 0.01), (20.0, 0.4, 0.04, 0.02)]
    posterior = curve_posterior(COMPUTE, *counts_of(truth))
    draws = posterior.draw(4000, np.random.default_rng(2))
    beyond = np.full((4000, 3), np.log(10.0))
    low, high = np.quantile(draws.rate(np.zeros((4000, 1)), beyond), [0.005, 0.995], axis=0)
    exact = np.array([cluster_law(1e24, *t) for t in truth])
    assert ((low <= exact) & (exact <= high)).all()
    assert (high - low).max() < 0.3
    np.testing.assert_allclose(posterior.weights.sum(), 1.0)


def test_a_low_ceiling_is_found_and_the_counts_are_kept():
    """Curves that level off at one per cent, where how h + c divides is hardly known."""
    truth = [(60.0, 0.8, 4.5, 0.0), (90.0, 0.7, 4.2, 0.0)]
    passed, samples = counts_of(truth, samples=20_000)
    draws = curve_posterior(COMPUTE, passed, samples).draw(2000, np.random.default_rng(2))
    for beyond in (0.0, np.log(10.0)):
        rate = draws.rate(np.zeros((2000, 1)), np.full((2000, 2), beyond))
        low, high = np.quantile(rate, [0.05, 0.95], axis=0)
        assert (low > 0.6 * passed[:, -1] / samples[:, -1]).all()
        assert (high < 3.0 * passed[:, -1] / samples[:, -1]).all()


def test_effects_of_checkpoints_are_told_from_overdispersion():
    truth = [(12.0, 0.4, 0.03, 0.01), (60.0, 0.5, 0.05, 0.01), (20.0, 0.4, 0.04, 0.02)]
    calm = curve_posterior(COMPUTE, *counts_of(truth))
    shaken = curve_posterior(COMPUTE, *counts_of(truth, effects=np.array([1, -1] * 3) * 0.4))
    assert calm.weights @ calm.scales[:, 0] < 0.15 < shaken.weights @ shaken.scales[:, 0]
    assert shaken.weights @ shaken.scales[:, 1] < 0.02


def test_a_line_is_recovered():
    rng = np.random.default_rng(1)
    x = np.linspace(-2, 2, 200)
    y = 0.5 + 0.8 * x + 0.2 * rng.standard_normal(200)
    draws = line_draws(x, y, np.ones(200), (0.0, 5.0), 0.1, 4000, rng)
    assert abs(draws.slope.mean() - 0.8) < 0.05
    assert abs(draws.noise.mean() - 0.2) < 0.03
    assert draws.at(np.array(3.0)).std() > draws.at(np.array(0.0)).std()


def test_a_trend_goes_on_from_the_last_point():
    """Where points bend off a line, a line through all of them is far from the last one."""
    rng = np.random.default_rng(1)
    x = np.linspace(-4, 0, 9)
    y = np.minimum(x, -2.0)  # flat since the middle
    draws = trend_draws(x, y, np.full(9, 0.1), (0.5, 0.5), 0.1, 4000, rng)
    line = line_draws(x, y, np.ones(9), (0.5, 0.5), 0.1, 4000, rng)
    height, near = draws.at(np.full(4000, 0.1))
    assert abs(height.mean() + 2.0) < 0.15 < abs(line.at(0.1).mean() + 2.0)
    _, far = draws.at(np.full(4000, 2.0))
    assert near.mean() < far.mean() < draws.scale.mean() * 1.001


def test_items_count_the_same_whatever_their_samples():
    passed, samples = np.array([[5.0, 90.0]]), np.array([[10.0, 100.0]])
    data = TaskData(("m",), np.array([1e20]), passed, samples, np.empty((0, 2)))
    k, n = data.counts(np.array([True, True]))
    assert k / n == pytest.approx(0.7)
    assert n == pytest.approx(4 / (1 / 10 + 1 / 100))
    assert pass_rates(passed, samples).tolist() == [[0.5], [0.9]]


# --- forecasts -----------------------------------------------------------------------------------


def test_predictions_are_those_of_the_protocol(fits, population):
    for method, law in fits.items():
        found = law.predict(AT, ci_prob=0.8, samples=True)
        assert found.attrs["ci_prob"] == 0.8
        assert found.attrs["ci_kind"] == "equal-tailed"
        assert found.attrs["prediction_kind"] == "response"
        quantiles = found["samples"].quantile([0.1, 0.5, 0.9], ("chain", "draw")).values
        np.testing.assert_allclose(quantiles, [found["lower"], found["median"], found["upper"]])
        assert float(found["extrapolation"].sel(axis="compute")[0]) == pytest.approx(1.0)
        assert ("point" in found) == (method == "published")
        assert not {"prompt_tokens", "context_window"} & set(found.data_vars)
        xr.testing.assert_identical(found, law.predict(AT, ci_prob=0.8, samples=True))


def test_kinds_are_nested(fits):
    width = {}
    for kind in ("law", "llm", "response"):
        found = fits["bayesian"].predict(AT, kind=kind)
        width[kind] = float(found["sd"][0])
    assert 0 < width["law"] < width["llm"]
    assert width["llm"] == pytest.approx(width["response"], rel=0.1)  # 60,000 samples


def test_uncertainty_grows_beyond_the_data(fits):
    at = pd.DataFrame(
        {"task": "simulated task", "llm": "new", "compute": [1.4e23, 4e23, 1.4e24, 1.4e25]}
    )
    found = fits["bayesian"].predict(at, kind="law")
    assert (np.diff(found["sd"])[:2] > 0).all()
    assert (np.diff(found["median"]) > 0).all()


def test_a_checkpoint_that_was_fitted_is_met_again(fits, population):
    score = (population["n_correct"] / population["n_samples"]).mean("item")
    at = [
        {"task": "simulated task", "llm": llm, "compute": float(compute)}
        for llm, compute in zip(population["llm"].values[:8], population["compute"].values[:8],
                                strict=True)
    ]  # fmt: skip
    found = fits["bayesian"].predict(at)
    assert float(np.abs(found["median"] - score.values[:8]).max()) < 0.04


def test_the_truth_is_forecast(fits, population):
    score = float((population["n_correct"] / population["n_samples"]).mean("item")[-1])
    found = fits["bayesian"].predict(AT).isel(obs_id=0)
    assert found["lower"] < score < found["upper"]
    assert found["upper"] - found["lower"] < 0.2


def test_seeds_reproduce(population):
    small = population.isel(llm=slice(8), item=slice(0, None, 3))
    first, again, other = (
        DifficultyClusters(draws=200).fit(small, random_seed=seed).predict(AT) for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(first, again)
    assert not first["upper"].equals(other["upper"])


def test_an_anchor_is_used_for_the_map_alone():
    shares = {"easy": 0.2, "medium": 0.4, "emergent": 0.4}
    items = simulate_items(400, shares=shares, emergence=(-0.2, 1.0), random_seed=1)
    score = float((items["n_correct"] / items["n_samples"]).mean("item")[-1])
    anchored = items.assign_coords(
        llm=[*items["llm"].values[:8], "anchor"],
        compute=("llm", [*items["compute"].values[:8], 2e21]),
    )
    for method, name in (("published", "point"), ("bayesian", "median")):
        plain = DifficultyClusters(method=method).fit(items.isel(llm=slice(8)), random_seed=1)
        law = DifficultyClusters(method=method, anchor="anchor").fit(anchored, random_seed=1)
        pd.testing.assert_frame_equal(law.clusters, plain.clusters)
        without, with_anchor = (fit.predict(AT).isel(obs_id=0) for fit in (plain, law))
        assert abs(with_anchor[name] - score) < abs(without[name] - score)
        if method == "bayesian":
            assert with_anchor["lower"] < score < with_anchor["upper"]
    with pytest.raises(bcl.ObservationError, match="no counts of the anchor 'nobody'"):
        DifficultyClusters(anchor="nobody").fit(items)


@pytest.mark.parametrize("method", ["bayesian", "published"])
def test_no_predictable_cluster_is_said_plainly(method):
    frame = table(items=30)
    # A fall: no cluster of this kind has a future.
    frame["n_correct"] = frame.groupby("item")["n_correct"].transform(lambda c: c.to_numpy()[::-1])
    with pytest.raises(bcl.ObservationError, match=r"no predictable cluster.*'maths' has 1 clus"):
        DifficultyClusters(method=method).fit(frame)
    flat = table(items=30).assign(n_correct=10)
    with pytest.raises(bcl.ObservationError, match="no predictable cluster"):
        DifficultyClusters().fit(flat)
    with pytest.raises(bcl.ObservationError, match="no ten items"):
        DifficultyClusters(method=method).fit(table(items=9))


def test_options_are_checked(fits):
    with pytest.raises(bcl.SpecificationError, match=r"method='cod'.*draws=3"):
        DifficultyClusters(method="cod", draws=3)
    with pytest.raises(bcl.NotFittedError):
        DifficultyClusters().predict(AT)
    with pytest.raises(bcl.UnknownLabelError, match="'chess' not in the fit"):
        fits["bayesian"].predict([AT[0] | {"task": "chess"}])
    found = fits["bayesian"].predict([AT[0] | {"task": "chess"}], new_levels="uncertainty")
    assert np.isfinite(found["upper"][0])
    with pytest.raises(bcl.SpecificationError, match="kind='mean'"):
        fits["bayesian"].predict(AT, kind="mean")


def test_it_meets_others_in_a_backtest(population):
    half = population.isel(item=slice(0, None, 2))
    frame = half.to_dataframe().reset_index().drop(columns=["pass_rate", "kind"])
    obs = item_observations(frame.assign(prompt_tokens=700, context_window=4096))
    result = bcl.backtest(
        {
            "clusters": DifficultyClusters(items=frame, draws=400),
            "published": DifficultyClusters(items=frame, method="published", draws=50),
            "compute only": ComputeOnlyLaw(resamples=25),
        },
        obs,
        bcl.splits.beyond_compute(2e23),
        random_seed=1,
        progressbar=False,
    )
    scores = result.scores.xs("all tasks", level="task")
    assert scores["points"].tolist() == [1, 1, 1]
    assert scores["crps"].notna().all()


def test_what_was_observed_must_have_counts(population):
    small = population.isel(llm=slice(8))
    frame = population.to_dataframe().reset_index()
    obs = item_observations(frame.assign(prompt_tokens=700, context_window=4096))
    with pytest.raises(bcl.ObservationError, match="'simulated task' by 'target'"):
        DifficultyClusters(items=small).fit(obs)


def test_a_held_out_checkpoint_is_not_looked_at(population):
    half = population.isel(item=slice(0, None, 2))
    frame = half.to_dataframe().reset_index()
    obs = item_observations(frame.assign(prompt_tokens=700, context_window=4096))
    train = obs.isel(obs_id=obs["llm"].values != "target")
    found = DifficultyClusters(items=half, draws=200).fit(train, random_seed=1)
    expected = DifficultyClusters(draws=200).fit(half.isel(llm=slice(8)), random_seed=1)
    xr.testing.assert_identical(found.predict(AT), expected.predict(AT))


# --- the simulator -------------------------------------------------------------------------------


def test_simulated_items_say_so_and_behave_as_their_kind(population):
    assert population.attrs["simulated"] == "yes"
    assert population["llm"].values[-1] == "target"
    assert float(population["compute"][-1] / population["compute"][-2]) == pytest.approx(10)
    rate = population["pass_rate"].groupby("kind").mean()
    last, target = rate.isel(llm=7), rate.isel(llm=8)
    assert last.sel(kind="easy") > last.sel(kind="medium") > last.sel(kind="hard")
    assert target.sel(kind="hard") > last.sel(kind="hard")
    late = simulate_items(shares={"emergent": 1.0}, emergence=(0.3, 0.9), random_seed=1)
    rate = late["pass_rate"].mean("item")
    assert rate[7] < 0.05 < 0.3 < rate[8]
    falls = simulate_items(shares={"non-monotone": 1.0}, random_seed=1)["pass_rate"]
    assert float((falls.diff("llm") < -0.1).any("llm").mean()) > 0.5


def test_samples_are_binomial(population):
    excess = population["n_correct"] - 100 * population["pass_rate"]
    variance = (100 * population["pass_rate"] * (1 - population["pass_rate"])).sum()
    assert float((excess**2).sum() / variance) == pytest.approx(1.0, abs=0.06)


def test_the_simulator_checks_its_options():
    with pytest.raises(bcl.SpecificationError, match=r"n_items=0.*'odd'"):
        simulate_items(n_items=0, shares={"odd": 1.0})


def test_light_import():
    code = "import bayes_ctxlaw.rivals.difficulty, sys; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- how well it does ----------------------------------------------------------------------------


def against_the_curve(seeds):
    rows = []
    for seed in seeds:
        items = simulate_items(random_seed=seed)
        score = (items["n_correct"] / items["n_samples"]).mean("item").values
        compute = items["compute"].values
        law = DifficultyClusters(draws=800).fit(items.isel(llm=slice(8)), random_seed=seed)
        found = law.predict(AT).isel(obs_id=0)
        rows.append(
            {
                "clusters": abs(float(found["median"]) - score[-1]),
                "curve": abs(float(fit_curve(compute[:8], score[:8])(compute[8])) - score[-1]),
                "inside": bool(found["lower"] <= score[-1] <= found["upper"]),
            }
        )
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_simulated_populations_are_forecast_better_than_by_a_curve():
    found = against_the_curve(range(2000, 2005))
    assert found["clusters"].mean() < found["curve"].mean()
    assert found["inside"].sum() >= 3


# --- real items ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pythia():
    frame = pd.read_csv(SHARED / "pythia_passrates.csv.gz")
    names = {"benchmark": "task", "model": "llm", "flops_6nd": "compute", "problem": "item"}
    frame = frame[frame["source"] == "brown2024_original"].rename(columns=names)
    return as_items(frame)


@needs_shared
def test_on_pythia_the_published_filter_refuses_the_one_cluster(pythia):
    small = pythia.isel(llm=slice(6))
    with pytest.raises(bcl.ObservationError, match=r"1 cluster\(s\), none predictable.*c = "):
        DifficultyClusters(method="published").fit(small)


@needs_shared
def test_on_pythia_the_largest_checkpoint_is_inside_the_interval(pythia):
    law = DifficultyClusters().fit(pythia.isel(llm=slice(6)), random_seed=1)
    score = float((pythia["n_correct"] / pythia["n_samples"]).mean("item")[-1])
    at = [{"task": "MATH", "llm": "Pythia 12B", "compute": float(pythia["compute"][-1])}]
    found = law.predict(at).isel(obs_id=0)
    assert found["lower"] <= score <= found["upper"]


@needs_shared
@pytest.mark.slow
def test_on_real_items_that_hardly_anybody_solves_most_are_inside():
    """Trained on 60B to 300B tokens, the largest model from the smaller ones: six series."""
    names = {"benchmark": "task", "model": "llm", "flops_6nd": "compute", "problem": "item"}
    frame = pd.read_csv(SHARED / "pythia_passrates.csv.gz").rename(columns=names)
    frame = frame[frame["source"] == "koyejo_raw"]
    length = frame["llm"].str.split("_").str[-1]
    inside = 0
    for task, tokens in itertools.product(("GSM8K", "MATH"), ("60B", "200B", "300B")):
        items = as_items(frame[(frame["task"] == task) & (length == tokens)]).sortby("compute")
        law = DifficultyClusters().fit(items.isel(llm=slice(-1)), random_seed=1)
        score = float((items["n_correct"] / items["n_samples"]).mean("item")[-1])
        at = [{"task": task, "llm": "largest", "compute": float(items["compute"][-1])}]
        found = law.predict(at).isel(obs_id=0)
        inside += bool(found["lower"] <= score <= found["upper"])
    assert inside >= 4


def item_table(items):
    return items.to_dataframe().reset_index().assign(prompt_tokens=900, context_window=4096)


def test_observations_and_items_belong_together():
    items = simulate_items(n_items=60, random_seed=3)
    obs = item_observations(item_table(items))
    other = obs.assign(task=("obs_id", np.full(obs.sizes["obs_id"], "other", dtype=object)))
    with pytest.raises(bcl.ObservationError, match="no pass counts for what was observed: 'other'"):
        DifficultyClusters(items=items, draws=60).fit(other, random_seed=1)
    scaled = obs.assign(compute=obs["compute"] * 30)
    with pytest.raises(bcl.ObservationError, match="another compute in `items`"):
        DifficultyClusters(items=items, draws=60).fit(scaled, random_seed=1)


def test_labels_of_digits_are_taken_letter_for_letter(tmp_path):
    frame = item_table(simulate_items(n_items=20, random_seed=3))
    numbers = {llm: f"{i:03d}" for i, llm in enumerate(dict.fromkeys(frame["llm"]))}
    frame.assign(llm=frame["llm"].map(numbers)).to_csv(tmp_path / "items.csv", index=False)
    obs = item_observations(tmp_path / "items.csv")
    assert obs["llm"].values.tolist() == as_items(tmp_path / "items.csv")["llm"].values.tolist()


def test_evaluations_of_two_checkpoints_do_not_share_their_noise(fits):
    law = fits["published"]
    rows = [AT[0] | {"llm": name} for name in ("one", "another")]
    noisy, law_alone = (
        law.predict(rows, kind=kind, samples=True)["samples"].values[0]
        for kind in ("response", "law")
    )
    assert abs(np.corrcoef((noisy - law_alone).T)[0, 1]) < 0.6


def test_an_evaluation_of_items_that_all_or_none_pass_scatters_less():
    """Simulated: noise follows the pass rates of items, not that of their mean."""
    items = simulate_items(300, n_samples=4, random_seed=1)
    small = items.isel(llm=slice(8))
    law = DifficultyClusters(method="published", draws=600).fit(small, random_seed=1)
    at = [{"task": "simulated task", "llm": "target", "compute": items["compute"].values[-1]}]
    score, noisy = (law.predict(at, kind=kind, samples=True) for kind in ("llm", "response"))
    noise = float((noisy["samples"] - score["samples"]).std())
    mean, rate = score["mean"].item(), items["pass_rate"].isel(llm=-1).values
    assert np.sqrt((rate * (1.0 - rate)).sum() / 4) / 300 < noise
    assert noise < 0.97 * np.sqrt(mean * (1.0 - mean) / (300 * 4))


def test_infinite_labels_and_blank_compute_are_said_plainly():
    frame = table(items=12)
    frame["item"] = frame["item"].astype(object)
    frame.loc[0, "item"] = np.inf
    frame.loc[1, "compute"] = np.nan
    with pytest.raises(bcl.ObservationError, match=r"`item`, row 0: found inf") as caught:
        as_items(frame.assign(n_params=1e9, train_tokens=1e11))
    assert "does not follow from other columns" in str(caught.value)
