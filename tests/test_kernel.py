"""The parts of the kernel: a program's steps, functions with their slopes, and the block."""

import math

import numpy as np
import pytest

from bayes_ctxlaw import kernel
from bayes_ctxlaw.geometry import Block
from bayes_ctxlaw.tape import Node, Op, Tape


class TestTape:
    def test_the_same_step_is_recorded_once(self):
        tape = Tape(3)
        a = tape.record(Op.ADD, 1.0, np.arange(3.0))
        assert tape.record(Op.ADD, 1.0, np.arange(3.0)) is a
        assert tape.record(Op.ADD, 2.0, np.arange(3.0)) is not a

    def test_lengths_that_do_not_fit_are_refused_while_recording(self):
        tape = Tape(0)
        with pytest.raises(AssertionError, match=r"ADD: lengths \[2, 3\]"):
            tape.record(Op.ADD, np.zeros(2), np.zeros(3))


class TestFunctions:
    @pytest.mark.parametrize("x", [-800.0, -25.0, -1.0, 0.3, 25.0, 800.0])
    def test_terms_are_finite_however_extreme(self, x):
        for kind in (0, 1):
            assert np.isfinite(kernel._saturation(x, kind)).all()
            assert np.isfinite(kernel._rise(x, kind)).all()
            assert np.isfinite(kernel._unsaturation(-abs(x), kind)).all()

    @pytest.mark.parametrize("t", [-300.0, -30.0, -19.0, -3.0, 0.0, 2.0, 9.0])
    def test_distribution_functions(self, t):
        from scipy import stats

        for found, law in ((kernel._normal_cdf(t), stats.norm), (kernel._t4_cdf(t), stats.t(4))):
            assert found[0] == pytest.approx(law.logcdf(t), rel=1e-9, abs=1e-15)
            slope = np.exp(law.logpdf(t) - law.logcdf(t))
            assert found[1] == pytest.approx(slope, rel=1e-9)

    @pytest.mark.parametrize("x", [1e-3, 0.4, 1.0, 7.9, 8.1, 300.0, 1e7])
    def test_digamma(self, x):
        from scipy.special import digamma

        assert kernel._digamma(x) == pytest.approx(digamma(x), rel=1e-12, abs=1e-13)

    @pytest.mark.parametrize("a", [0.3, 5.0, 9.9e3, 1.01e4, 1e6, 1e10, 1e15, 1e19])
    @pytest.mark.parametrize("k", [0, 1, 7, 500])
    def test_a_rising_factorial_keeps_its_digits(self, a, k):
        value, slope = kernel._rising(a, float(k))
        assert value == pytest.approx(math.fsum(math.log(a + i) for i in range(k)), rel=1e-10)
        assert slope == pytest.approx(math.fsum(1.0 / (a + i) for i in range(k)), rel=1e-9)

    @pytest.mark.parametrize("phi", [1.0, 2.0])
    def test_a_beta_of_too_much_overdispersion_has_no_density(self, phi):
        """Its shapes would be negative, and log gammas of those look like a density."""
        assert kernel._beta(1.0, 0.5, phi, 0.01, 0.02)[0] == -math.inf
        assert kernel._counts(4, 3.0, 10.0, 0.5, phi)[0] == -math.inf
        assert np.isfinite(kernel._beta(1.0, 0.5, 0.99, 0.01, 0.02)[0])

    @pytest.mark.parametrize("phi", [1e-4, 1e-7, 1e-10, 1e-16])
    def test_without_overdispersion_counts_are_binomial(self, phi):
        """Log gammas of 1 / phi² have no digits left, and chains froze where their noise was."""
        for correct, items, mean in ((3.0, 10.0, 0.4), (0.0, 500.0, 0.001), (499.0, 500.0, 0.9)):
            value, slope, by_phi = kernel._counts(4, correct, items, mean, phi)
            binomial = kernel._counts(3, correct, items, mean, phi)
            near = 10 * (items * phi) ** 2 / min(mean, 1 - mean) ** 2
            assert value == pytest.approx(binomial[0], rel=1e-9, abs=near)
            assert slope == pytest.approx(binomial[1], rel=1e-6, abs=1e4 * near)
            assert abs(by_phi * phi) < 1e-6 + near  # the slope by log phi


def lone_block(rng):
    """Five labels that have nothing to do with one another, and nothing beside them."""
    return Block(
        levels=("llm",),
        spans=(slice(0, 5),),
        members=np.arange(12)[:, None] % 5,
        weight=rng.uniform(0.0, 30.0, 12),
        value=rng.standard_normal(12),
        apart=5,
    )


def random_block(rng, by_stratum):
    """A population value, five labels of one level and three of another, in twelve strata."""
    spans = slice(0, 5), slice(5, 6), slice(6, 9)
    members = np.stack(
        [rng.integers(5, size=12), np.full(12, 5), 6 + rng.integers(3, size=12)], axis=1
    )
    root = rng.standard_normal((9, 9))
    own = {
        "precision": root @ root.T,
        "pull": rng.standard_normal(9),
        "response": rng.standard_normal((9, 9)),
    }
    return Block(
        levels=("llm", None, "family"),
        spans=spans,
        members=members,
        weight=rng.uniform(0.0, 30.0, 12),
        value=rng.standard_normal(12),
        apart=5 if by_stratum else 0,
        **({} if by_stratum else own),
    )


@pytest.mark.parametrize("by_stratum", [True, False])
def test_a_block_is_the_normal_posterior_of_its_measurement(by_stratum):
    rng = np.random.default_rng(3)
    block = random_block(rng, by_stratum)
    scales, traded = rng.uniform(0.1, 2.0, 3), rng.standard_normal(9)
    tape = Tape(9)
    averages = [] if by_stratum else [tape.node(traded[span]) for span in block.spans]
    measured = (block.weight, block.value) if by_stratum else None
    parts = tape.block(block, 0, list(scales), averages, measured)
    program, u = tape.program(parts), rng.standard_normal(9)

    d = np.concatenate([np.full(s.stop - s.start, v) for s, v in zip(block.spans, scales)])  # noqa: B905
    if by_stratum:
        members = np.zeros((12, 9))
        members[np.arange(12)[:, None], block.members] = 1.0
        precision = members.T @ (block.weight[:, None] * members)
        pull = members.T @ (block.weight * block.value)
    else:
        precision, pull = block.precision, block.pull - block.response @ traded
    covariance = np.linalg.inv(np.diag(d**-2.0) + precision)
    v = kernel.expanded(program, u)
    # Whatever its root is, u is standard normal around the measurement's posterior mean.
    away = v - covariance @ pull
    assert away @ np.linalg.solve(covariance, away) == pytest.approx(u @ u)
    prior = -0.5 * (v / d) @ (v / d) - np.log(d).sum() - 4.5 * np.log(2.0 * np.pi)
    stretch = 0.5 * np.linalg.slogdet(covariance)[1]
    assert kernel.evaluate(program, u)[0] == pytest.approx(prior + stretch, rel=1e-10)


def test_labels_without_anything_beside_them_are_placed_one_by_one():
    rng = np.random.default_rng(5)
    block, scale, u = lone_block(rng), 0.7, rng.standard_normal(5)
    tape = Tape(5)
    program = tape.program(tape.block(block, 0, [scale], (), (block.weight, block.value)))
    precision = scale**-2 + np.bincount(block.members[:, 0], block.weight)
    pull = np.bincount(block.members[:, 0], block.weight * block.value)
    v = pull / precision + u / np.sqrt(precision)
    np.testing.assert_allclose(kernel.expanded(program, u), v, rtol=1e-12)
    prior = -0.5 * (v / scale) @ (v / scale) - 5 * np.log(scale) - 2.5 * np.log(2.0 * np.pi)
    found, slope = kernel.evaluate(program, u)
    assert found == pytest.approx(prior - 0.5 * np.log(precision).sum(), rel=1e-12)
    np.testing.assert_allclose(slope, -v / scale**2 / np.sqrt(precision), rtol=1e-12)


def test_the_gradient_of_a_block_reaches_all_that_its_measurement_is_made_of():
    rng = np.random.default_rng(4)
    for by_stratum in (True, False):
        block = random_block(rng, by_stratum)
        more = 24 if by_stratum else 9
        tape = Tape(9 + 3 + more)
        scales = [tape.exp(Node(tape, 9 + k, 1)) for k in range(3)]
        if by_stratum:
            weight, value = tape.exp(Node(tape, 12, 12)), Node(tape, 24, 12)
            parts = tape.block(block, 0, scales, (), (weight, value))
        else:
            averages = [Node(tape, 12 + s.start, s.stop - s.start) for s in block.spans]
            parts = tape.block(block, 0, scales, averages)
        # Something that depends on the results, so that they have a gradient of their own.
        for part in parts:
            tape.record(Op.HALF_NORMAL, part, tape.exp(part), 1.3)
        program, x = tape.program(parts), rng.standard_normal(12 + more)
        gradient, h = kernel.evaluate(program, x)[1], 1e-4
        for i, e in enumerate(np.eye(len(x))):
            f = [kernel.evaluate(program, x + k * h * e)[0] for k in (-2, -1, 1, 2)]
            slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
            assert gradient[i] == pytest.approx(slope, rel=1e-7, abs=1e-7), (by_stratum, i)
