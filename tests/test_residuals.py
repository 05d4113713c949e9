"""Misses that are alike at neighbouring prompts: against the double sum, and both verdicts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from bayes_ctxlaw import advice
from bayes_ctxlaw.residuals import NEAR, Alike, alike

CHECKPOINTS, LENGTHS = 12, (100.0, 300.0, 1000.0, 3000.0)
TOKENS = np.tile(LENGTHS, 2 * CHECKPOINTS)
TASK = np.repeat(["qa", "sum"], CHECKPOINTS * len(LENGTHS))


def places(residuals, draws=100):
    return np.tile(ndtr(residuals), (draws, 1))


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
    found = alike(places(residuals, 5), task, tokens.astype(float))
    expected = by_double_sum(residuals, task, tokens)
    assert found.share == pytest.approx(expected, nan_ok=True, rel=1e-6, abs=1e-6)
    # Of so few draws no probability can be below one in six.
    assert np.isnan(found.share) or 1 / 6 <= found.p_value <= 1


def test_independent_residuals_pass_at_every_scale():
    rng = np.random.default_rng(1)
    noise = [rng.standard_normal(len(TASK)) for _ in range(60)]
    p_values = [alike(places(scale * n), TASK, TOKENS).p_value for n in noise for scale in (0.5, 2)]
    # Uniform but for the extremes: 120 of them, half of which are the same noise.
    assert 0.35 < np.mean(p_values) < 0.65
    assert np.mean(np.array(p_values) < 0.01) < 0.06
    assert max(p_values) > 0.9


def test_what_all_checkpoints_share_is_found_and_placed():
    rng = np.random.default_rng(2)
    shared = np.tile([0.0, -1.5, 0.0, 1.5], 2 * CHECKPOINTS) * (TASK == "sum")
    found = alike(places(0.5 * (rng.standard_normal(len(TASK)) + shared), 500), TASK, TOKENS)
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
    assert alike(places(level), TASK, TOKENS).p_value > 0.5


def test_where_no_two_are_near_nothing_is_said():
    found = alike(places(np.array([1.0, -1.0, 0.3])), np.full(3, "qa"), np.array([1e2, 1e3, 1e4]))
    assert np.isnan(found.share)
    assert advice.of_residuals(found)[1:3] == ("PASS", "no two of a task are so near")


def test_an_ordinary_share_passes():
    row = advice.of_residuals(Alike(0.02, 0.3, "qa", 1.0, 2.0))
    assert row[1:3] == ("PASS", "I = 0.02, p = 0.3")


def test_places_at_the_very_ends_stay_finite():
    found = alike(np.tile([0.0, 1.0, 0.5, 0.5], (50, 1)), np.full(4, "qa"), np.full(4, 1e3))
    assert np.isfinite(found.share)
