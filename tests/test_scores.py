"""Scores against closed forms and known limits; standard errors that see dependence."""

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

import bayes_ctxlaw as bcl
from bayes_ctxlaw.validation import scores

number = st.floats(0, 1, allow_nan=False)


def prediction(**values):
    return xr.Dataset({name: ("obs_id", np.asarray(v, float)) for name, v in values.items()})


def with_draws(draws, ci_prob=0.9):
    """A prediction made from draws (row, draw)."""
    tail = (1 - ci_prob) / 2
    lower, median, upper = np.quantile(draws, [tail, 0.5, 1 - tail], axis=1)
    out = prediction(mean=draws.mean(axis=1), median=median, lower=lower, upper=upper)
    return out.assign(samples=(("chain", "draw", "obs_id"), draws.T[None]))


# --- single scores -------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [-1.0, 0.0, 0.3, 2.5])
def test_crps_of_many_normal_draws_is_the_closed_form(score):
    draws = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    exact = score * (2 * norm.cdf(score) - 1) + 2 * norm.pdf(score) - 1 / math.sqrt(math.pi)
    found = scores.crps(np.array([score]), draws[None])
    np.testing.assert_allclose(found, exact, atol=1e-4)


@pytest.mark.parametrize("score", [0.0, 0.25, 1.0])
def test_crps_of_uniform_draws_is_the_closed_form(score):
    draws = (np.arange(20_000) + 0.5) / 20_000
    exact = (score**3 + (1 - score) ** 3) / 3
    np.testing.assert_allclose(scores.crps(np.array([score]), draws[None]), exact, atol=1e-6)


@given(number, st.lists(number, min_size=1, max_size=20))
def test_crps_of_draws_is_the_integral_over_their_distribution(score, draws):
    draws = np.array(draws)
    ends = np.sort(np.concatenate([draws, [score]]))
    inner = (ends[1:] + ends[:-1]) / 2
    step = (draws[:, None] <= inner).mean(axis=0) - (score <= inner)
    exact = float((step**2 * np.diff(ends)).sum())
    found = scores.crps(np.array([score]), draws[None])[0]
    assert found == pytest.approx(exact, abs=1e-12)
    assert found <= np.abs(draws - score).mean() + 1e-12


def test_crps_of_equal_draws_is_the_absolute_error():
    found = scores.crps(np.array([0.2, 0.9]), np.full((2, 7), 0.5))
    np.testing.assert_allclose(found, [0.3, 0.4])


def test_interval_score_is_the_width_and_a_fine_for_what_lies_outside():
    score, lower, upper = np.array([0.5, 0.35, 0.7, 0.4]), np.full(4, 0.4), np.full(4, 0.6)
    found = scores.interval_score(score, lower, upper, 0.9)
    np.testing.assert_allclose(found, [0.2, 0.2 + 20 * 0.05, 0.2 + 20 * 0.1, 0.2])


def test_proper_scores_prefer_the_distribution_that_the_scores_come_from():
    rng = np.random.default_rng(1)
    score = rng.normal(size=3000)
    found = {}
    for sd in (0.4, 1.0, 2.5):
        draws = norm.ppf((np.arange(400) + 0.5) / 400) * sd
        end = np.full(3000, norm.ppf(0.95) * sd)
        found[sd] = (
            scores.crps(score, np.tile(draws, (3000, 1))).mean(),
            scores.interval_score(score, -end, end, 0.9).mean(),
        )
    for other in (0.4, 2.5):
        assert found[1.0][0] < found[other][0]
        assert found[1.0][1] < found[other][1]


def pit_of(scale, rng, discrete=False, draws=50):
    """PIT of scores of standard deviation 1 under draws of another."""
    score = rng.normal(size=2000)
    sample = rng.normal(size=(2000, draws)) * scale
    if discrete:
        score, sample = np.maximum(np.round(score, 1), 0.0), np.maximum(np.round(sample, 1), 0.0)
    return scores.pit(score, sample, seed=3)


@pytest.mark.parametrize("discrete", [False, True])
def test_pit_of_a_calibrated_forecast_is_uniform(discrete):
    """Also where half of the scores are zeros; a forecast too narrow or too wide fails it."""
    rng = np.random.default_rng(2)
    assert kstest(pit_of(1.0, rng, discrete), "uniform").pvalue > 0.01
    assert kstest(pit_of(0.7, rng, discrete), "uniform").pvalue < 1e-6
    assert kstest(pit_of(1.5, rng, discrete), "uniform").pvalue < 1e-6


def test_pit_of_few_draws_is_uniform_too():
    assert kstest(pit_of(1.0, np.random.default_rng(4), draws=3), "uniform").pvalue > 0.01


def test_pit_depends_on_its_seed_only_where_scores_are_tied():
    draws = np.array([[0.1, 0.2, 0.3]])
    places = [scores.pit(np.array([0.2]), draws, seed) for seed in (1, 1, 2)]
    assert places[0] == places[1] != places[2]
    assert all(1 / 4 <= place <= 3 / 4 for place in places)


def test_coverage_at_several_levels_counts_what_lies_inside():
    draws = np.tile(np.linspace(0, 1, 1001), (4, 1))
    score = np.array([0.5, 0.2, 0.96, 0.01])
    found = scores.covered_at(score, draws, (0.5, 0.8, 0.9, 0.95))
    inside = [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(found, np.array(inside, bool))


# --- rows of a prediction ------------------------------------------------------------------------


def test_rows_of_draws_have_every_score():
    draws = np.random.default_rng(1).normal(0.5, 0.1, size=(3, 500))
    score = np.array([0.5, 0.9, 0.45])
    rows = scores.score_rows(score, with_draws(draws), 0.9, (0.5, 0.9), seed=1)
    assert rows.attrs["form"] == "draws"
    assert rows["covered"].values.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(rows["covered_at"].sel(level=0.9), rows["covered"])
    np.testing.assert_allclose(rows["absolute_error"], abs(rows["median"] - score))
    np.testing.assert_allclose(rows["width"], rows["upper"] - rows["lower"])
    np.testing.assert_allclose(rows["crps"], scores.crps(score, draws))
    assert all(bool(rows[name].notnull().all()) for name in rows)


def test_an_interval_without_draws_has_no_crps_and_no_pit():
    forecast = prediction(mean=[0.5], median=[0.5], lower=[0.4], upper=[0.6])
    rows = scores.score_rows(np.array([0.7]), forecast, 0.9)
    assert rows.attrs["form"] == "interval"
    assert rows[["crps", "pit"]].to_array().isnull().all()
    assert rows["covered_at"].isnull().all()
    assert rows["interval_score"].item() == pytest.approx(2.2)


@pytest.mark.parametrize(
    ("ends", "covered"),
    [
        ({}, [math.nan, math.nan]),
        ({"lower": [math.nan] * 2, "upper": [math.nan] * 2}, [math.nan, math.nan]),
        ({"lower": [0.5, 0.5], "upper": [0.5, 0.5]}, [1.0, 0.0]),
    ],
)
def test_the_crps_of_a_point_is_its_absolute_error(ends, covered):
    forecast = prediction(mean=[0.5, 0.5], median=[0.5, 0.5], **ends)
    rows = scores.score_rows(np.array([0.5, 0.7]), forecast, 0.9)
    assert rows.attrs["form"] == "point"
    np.testing.assert_allclose(rows["crps"], [0.0, 0.2])
    np.testing.assert_array_equal(rows["covered"], covered)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": [0.5], "lower": [0.1], "upper": [0.2]}, "no `median`"),
        ({"mean": [0.5], "median": [0.5], "lower": [0.1]}, "no `upper`"),
        ({"mean": [math.nan], "median": [math.inf]}, r"`mean` .* 1 of 1 rows; `median`"),
        ({"mean": [0.5], "median": [0.5], "lower": [0.6], "upper": [0.4]}, "`lower` is above"),
        ({"mean": [0.5, 1], "median": [0.5, 1]}, r"shape \(2,\), not \(1,\)"),
    ],
)
def test_a_prediction_that_cannot_be_scored_is_refused(values, message):
    with pytest.raises(bcl.SpecificationError, match=message):
        scores.score_rows(np.array([0.5]), prediction(**values), 0.9)


def test_blank_draws_are_refused():
    draws = np.full((1, 10), 0.5)
    forecast = with_draws(draws)
    forecast["samples"][0, 3, 0] = math.nan
    with pytest.raises(bcl.SpecificationError, match="`samples` must hold finite draws"):
        scores.score_rows(np.array([0.5]), forecast, 0.9)


# --- standard errors -----------------------------------------------------------------------------


def test_with_one_row_a_cluster_the_standard_error_is_the_usual_one():
    values = np.random.default_rng(1).normal(size=20)
    mean, error = scores.mean_and_error(values, np.arange(20))
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(20))


def test_repeating_every_row_of_a_cluster_adds_no_certainty():
    values, clusters = np.random.default_rng(1).normal(size=20), np.arange(20)
    once = scores.mean_and_error(values, clusters)
    fivefold = scores.mean_and_error(np.repeat(values, 5), np.repeat(clusters, 5))
    assert fivefold == pytest.approx(once)


def test_one_cluster_has_no_standard_error():
    mean, error = scores.mean_and_error(np.array([0.1, 0.2, 0.6]), np.full(3, "A"))
    assert mean == pytest.approx(0.3)
    assert math.isnan(error)


def test_errors_of_the_mean_are_as_large_as_said_when_rows_are_dependent():
    """Simulated: 30 checkpoints of 8 rows each, half of the variance common to a checkpoint."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(30), 8)
    robust, naive = [], []
    for _ in range(800):
        values = rng.normal(size=30)[clusters] + rng.normal(size=240)
        mean, error = scores.mean_and_error(values, clusters)
        robust.append(mean / error)
        naive.append(mean / scores.mean_and_error(values, np.arange(240))[1])
    assert np.std(robust) == pytest.approx(1.0, abs=0.1)
    # The case that must fail: rows taken for independent look more than twice as sure.
    assert np.std(naive) > 1.8


def test_a_cluster_with_most_of_the_rows_does_not_hide_its_own_error():
    """The leave-one-cluster-out form: the jackknife, and as before where clusters are equal."""
    rng = np.random.default_rng(6)
    sizes = [22, 13, 1, 1, 1]
    clusters = np.repeat(np.arange(5), sizes)
    values = rng.normal(size=5)[clusters] + rng.normal(size=38)
    mean, error = scores.mean_and_error(values, clusters)
    left_out = np.array([values[clusters != c].mean() for c in range(5)])
    assert error == pytest.approx(math.sqrt(4 / 5 * ((left_out - mean) ** 2).sum()))
    equal = np.repeat(np.arange(5), 8)
    values = rng.normal(size=40)
    means = values.reshape(5, 8).mean(axis=1)
    assert scores.mean_and_error(values, equal)[1] == pytest.approx(means.std(ddof=1) / 5**0.5)


# --- tables --------------------------------------------------------------------------------------


def test_a_table_has_every_label_and_all_of_them():
    rows = pd.DataFrame({"task": list("aabb"), "llm": list("xyxx")})
    rows["absolute_error"] = rows["crps"] = rows["interval_score"] = rows["width"] = [1, 2, 3, 6]
    rows["covered"] = [1.0, 0.0, 1.0, 1.0]
    table = scores.summarise(rows, "task", "llm")
    assert table.index.tolist() == ["a", "b", "all tasks"]
    assert table["points"].tolist() == [2, 2, 4]
    assert table["clusters"].tolist() == [2, 1, 2]
    assert table["mae"].tolist() == [1.5, 4.5, 3.0]
    assert table["coverage"].tolist() == [0.5, 1.0, 0.75]
    assert table["mae_se"].isna().tolist() == [False, True, False]
    # Deviations add up to +1 for x, which has 3 of the 4 rows, and to -1 for y.
    expected = math.sqrt(1 / 2 * ((1 / (1 - 3 / 4)) ** 2 + (1 / (1 - 1 / 4)) ** 2)) / 4
    assert table.loc["all tasks", "mae_se"] == pytest.approx(expected)
    assert scores.summarise(rows, "llm", "llm").index.tolist() == ["x", "y", "all"]


def test_a_label_called_as_the_total_has_a_row_of_its_own():
    rows = pd.DataFrame({"technique": ["all", "b", "all"], "llm": ["A", "B", "C"]})
    rows[["absolute_error", "crps", "interval_score", "covered", "width"]] = 0.5
    table = scores.summarise(rows, "technique", "llm")
    assert table.index.tolist() == ["all", "b", "all"]
    assert table["points"].tolist() == [2, 1, 3]
