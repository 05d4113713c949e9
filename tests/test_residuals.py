"""Misses that are alike at neighbouring prompts: against the double sum, and both verdicts."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import betabinom, kstest

from bayes_ctxlaw import advice
from bayes_ctxlaw.likelihoods import LIKELIHOODS, normal_residuals
from bayes_ctxlaw.residuals import NEAR, Alike, alike

CHECKPOINTS, LENGTHS = 12, (100.0, 300.0, 1000.0, 3000.0)
TOKENS = np.tile(LENGTHS, 2 * CHECKPOINTS)
TASK = np.repeat(["qa", "sum"], CHECKPOINTS * len(LENGTHS))


def drawn(residuals, draws=100):
    return np.tile(residuals, (draws, 1))


def by_double_sum(residuals, task, tokens):
    total = pairs = 0
    for i, a in enumerate(residuals):
        for j, b in enumerate(residuals):
            ratio = max(tokens[i], tokens[j]) / min(tokens[i], tokens[j])
            if i != j and task[i] == task[j] and ratio <= NEAR * (1 + 1e-9):
                total, pairs = total + a * b, pairs + 1
    return total / pairs / np.mean(np.square(residuals)) if pairs else np.nan


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from([50, 74, 75, 76, 110, 4000, 131_072]),
            st.floats(-3, 3).filter(lambda value: abs(value) > 1e-3),
        ),
        min_size=2,
        max_size=30,
    )
)
@settings(deadline=None)
def test_the_share_is_the_double_sum_over_pairs(rows):
    task, tokens, residuals = (np.array(part) for part in zip(*rows, strict=True))
    found = alike(drawn(residuals, 5), task, tokens.astype(float))
    expected = by_double_sum(residuals, task, tokens)
    assert found.share == pytest.approx(expected, nan_ok=True, rel=1e-6, abs=1e-6)
    # Of so few draws no probability can be below one in six.
    assert np.isnan(found.share) or 1 / 6 <= found.p_value <= 1


def test_independent_residuals_pass_at_every_scale():
    rng = np.random.default_rng(1)
    noise = [rng.standard_normal(len(TASK)) for _ in range(60)]
    p_values = [alike(drawn(scale * n), TASK, TOKENS).p_value for n in noise for scale in (0.5, 2)]
    # Uniform but for the extremes: 120 of them, half of which are the same noise.
    assert 0.35 < np.mean(p_values) < 0.65
    assert np.mean(np.array(p_values) < 0.01) < 0.06
    assert max(p_values) > 0.9


def test_what_all_checkpoints_share_is_found_and_placed():
    rng = np.random.default_rng(2)
    shared = np.tile([0.0, -1.5, 0.0, 1.5], 2 * CHECKPOINTS) * (TASK == "sum")
    found = alike(drawn(0.5 * (rng.standard_normal(len(TASK)) + shared), 500), TASK, TOKENS)
    assert found.p_value < 0.01
    assert (found.task, found.low, found.high) == ("sum", 300.0, 3000.0)
    _, verdict, value, wanted, text = advice.of_residuals(found)
    assert verdict == "REVIEW"
    assert value.startswith("I = 0.")
    assert wanted == "p ≥ 0.01"
    assert "sum: together they lie below it around 300 tokens and above it around 3,000" in text
    assert "discrepancy" in text
    assert "discrepancy" not in advice.of_residuals(found, strays=True)[-1]


def test_checkpoints_that_differ_are_not_taken_for_a_turn():
    # Each lies above or below everywhere: effects of checkpoints, not of prompts.
    level = np.repeat([1.0, -1.0] * CHECKPOINTS, len(LENGTHS))
    assert alike(drawn(level), TASK, TOKENS).p_value > 0.5


def test_where_no_two_are_near_nothing_is_said():
    found = alike(drawn(np.array([1.0, -1.0, 0.3])), np.full(3, "qa"), np.array([1e2, 1e3, 1e4]))
    assert np.isnan(found.share)
    assert advice.of_residuals(found)[1:3] == ("PASS", "no two of a task are so near")


def test_an_ordinary_share_passes():
    row = advice.of_residuals(Alike(0.02, 0.3, "qa", 1.0, 2.0))
    assert row[1:3] == ("PASS", "I = 0.02, p = 0.3")


def counts_of(n_items, phi, bump, rng):
    """Counts of ten checkpoints at eight lengths, all of them off alike at each by an sd `bump`."""
    tokens = np.repeat(1e3 * 4.0 ** np.arange(8), 10)
    p = np.repeat(np.clip(0.5 + bump * rng.standard_normal(8), 0.02, 0.98), 10)
    size = 1.0 / phi**2 - 1.0
    right = rng.binomial(n_items, rng.beta(p * size, (1.0 - p) * size))
    rows = {"score": right / n_items, "n_items": np.full(80, float(n_items))}
    return tokens, xr.Dataset({name: ("obs_id", value) for name, value in rows.items()})


@pytest.mark.parametrize("n_items", [100, 10_000])
def test_what_counts_share_is_found_as_by_their_exact_distribution(n_items):
    tokens, obs = counts_of(n_items, 0.08, 0.03, np.random.default_rng(3))
    phi = float(np.hypot(0.08, 2 * 0.03))  # the fit takes the turn for overdispersion
    mean = np.full((200, 80), 0.5)
    residuals = normal_residuals(
        "beta_binomial", mean, np.full_like(mean, phi), obs, np.random.default_rng(4)
    )
    size = 1.0 / phi**2 - 1.0
    exact = betabinom(n_items, 0.5 * size, 0.5 * size)
    right = np.rint(obs["score"].values * n_items)
    expected = ndtri(0.5 * (exact.cdf(right) + exact.cdf(right - 1)))
    assert np.corrcoef(residuals[0], expected)[0, 1] > 0.99
    found, wanted = (
        alike(residuals, np.full(80, "qa"), tokens),
        alike(np.tile(expected, (200, 1)), np.full(80, "qa"), tokens),
    )
    assert found.share == pytest.approx(wanted.share, abs=0.03)
    assert found.p_value < 0.05


@pytest.mark.parametrize(("n_items", "phi", "p"), [(1, 0.3, 0.4), (20, 0.2, 0.1), (500, 0.05, 0.9)])
def test_residuals_of_counts_are_standard_normal_under_the_model(n_items, phi, p):
    rng, n = np.random.default_rng(5), 4000
    size = 1.0 / phi**2 - 1.0
    right = rng.binomial(n_items, rng.beta(p * size, (1.0 - p) * size, n))
    rows = {"score": right / n_items, "n_items": np.full(n, float(n_items))}
    obs = xr.Dataset({name: ("obs_id", value) for name, value in rows.items()})
    residuals = normal_residuals("beta_binomial", np.full(n, p), np.full(n, phi), obs, rng)
    assert kstest(residuals, "norm").pvalue > 0.01


def test_scores_at_the_ends_have_finite_residuals():
    rows = {"score": [0.0, 1.0, 0.0, 1.0], "n_items": [5.0, 5.0, 5000.0, 5000.0]}
    obs = xr.Dataset({name: ("obs_id", value) for name, value in rows.items()})
    mean, rng = np.array([[1.0, 0.0, 0.5, 0.5]]), np.random.default_rng(6)
    for name in LIKELIHOODS:
        phi = np.full_like(mean, 0.0 if name.endswith("binomial") else 0.1)
        if name == "beta":  # a density, of scores of many items
            obs, mean, phi = obs.isel(obs_id=[2, 3]), mean[:, 2:], phi[:, 2:]
        assert np.isfinite(normal_residuals(name, mean, phi, obs, rng)).all(), name
