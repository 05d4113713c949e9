"""The mean function: closed forms, reductions, limits, and finite values and gradients anywhere."""

import itertools
import math

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.law import (
    PENALTIES,
    SATURATIONS,
    LawTerms,
    log_context,
    log_penalty,
    log_rise,
    log_saturation,
    mean_score,
    shift_odds,
    unsaturate,
    window_end,
    window_total,
)
from bayes_ctxlaw.priors import LEVEL_SCALES, POPULATION

EVERY_FORM = [LawTerms(*forms) for forms in itertools.product(SATURATIONS, SATURATIONS, PENALTIES)]
SENSIBLE = {"log_A": 0.2, "alpha": 0.3, "log_B": 0.5, "beta": 0.8, "kappa": 10.0, "delta": 0.1}
ARGUMENTS = tuple(SENSIBLE)

# Training FLOPs and the curves read off the plots of arXiv:2510.14919: saturated score of the two
# bases, alpha, beta, and B (100 / n_c)^beta.
FLOPS_7B, FLOPS_13B = 7.7719e22, 1.5227e23
PAPER = {
    "arithmetic": (0.1285, 0.1506, 0.255, 0.560, 1.108),
    "common sense": (0.5212, 0.6164, 0.392, 1.111, 1.861),
    "translation": (0.1445, 0.1665, 0.230, 3.02, 1.19),
}


def within_window(**changes):
    """A design of one row, far inside the window."""
    design = {"x": 0.0, "z": 0.0, "w": -30.0, "chance": 0.0, "excess_tokens": -1e5}
    return design | changes


def far_parameters(rows, rng):
    """Arguments of the law 5 sd out in the prior and 3 more in wide effects, and in between."""
    arguments = {}
    for name, prior in POPULATION.items():
        reach = 5.0 * prior.scale + 3.0 * 1.96 * LEVEL_SCALES[name]
        total = prior.loc + reach * rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=rows)
        arguments[f"log_{name}" if name in "AB" else name] = (
            total if name in ("A", "B", "delta") else np.exp(total)
        )
    return arguments


def far_design(rows, rng):
    def ends(scale):
        return scale * rng.choice([-1.0, -0.3, -0.01, 0.0, 0.01, 0.3, 1.0], size=rows)

    return {
        "x": ends(30.0),
        "z": ends(30.0),
        "w": ends(30.0),
        "chance": rng.choice([0.0, 0.25, 0.999], size=rows),
        "w_sd": rng.choice([0.0, 1e-8, 0.3, 5.0], size=rows),
        "excess_tokens": ends(1e13),
        "tokens_sd": rng.choice([0.0, 1.0, 1e5, 1e12], size=rows),
    }


class TestSaturation:
    @pytest.mark.parametrize("u", [1e-6, 0.1, 1.0, 3.0, 20.0])
    def test_closed_forms(self, u):
        exponential = np.exp(log_saturation(math.log(u), "exponential"))
        np.testing.assert_allclose(exponential, -math.expm1(-u), rtol=1e-13)
        np.testing.assert_allclose(np.exp(log_saturation(math.log(u), "power")), u / (1 + u))

    @pytest.mark.parametrize("kind", SATURATIONS)
    def test_small_u_is_its_own_saturation(self, kind):
        log_u = np.array([-700.0, -100.0, -40.0, -30.0, -29.99])
        np.testing.assert_allclose(log_saturation(log_u, kind), log_u, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("kind", SATURATIONS)
    def test_large_u_is_the_ceiling(self, kind):
        np.testing.assert_allclose(log_saturation(np.array([50.0, 700.0]), kind), 0.0, atol=1e-15)

    def test_a_power_is_slower_than_an_exponential(self):
        log_u = np.linspace(-5.0, 5.0, 50)
        assert (log_saturation(log_u, "power") < log_saturation(log_u, "exponential")).all()

    @given(st.floats(-800, 800), st.floats(1e-9, 50))
    @example(-30.0, 1e-9)
    @example(5.0, 1e-9)
    def test_never_falls_and_never_passes_the_ceiling(self, log_u, step):
        for kind in SATURATIONS:
            low, high = log_saturation(log_u, kind), log_saturation(log_u + step, kind)
            # The slope lies between 0 and 1; 1e-12 is the rounding of the two values.
            assert -1e-12 <= high - low <= step + 1e-12 * max(1.0, abs(log_u))
            assert high <= 0.0

    def test_unknown_form(self):
        with pytest.raises(SpecificationError, match="'linear' is not one of 'exponential'"):
            log_saturation(0.0, "linear")


class TestPenalty:
    def test_half_is_gone_at_the_effective_window(self):
        assert np.exp(log_penalty(0.4, kappa=17.0, delta=0.4)) == pytest.approx(0.5)

    def test_closed_form(self):
        w = np.linspace(-2.0, 2.0, 9)
        np.testing.assert_allclose(
            np.exp(log_penalty(w, kappa=6.0, delta=0.3)), 1 / (1 + np.exp(6.0 * (w - 0.3)))
        )

    def test_a_sharp_penalty_is_a_step(self):
        log_q = log_penalty(np.array([-0.01, 0.01]), kappa=1e7, delta=0.0)
        np.testing.assert_allclose(np.exp(log_q), [1.0, 0.0], atol=1e-12)

    def test_none_is_one_everywhere(self):
        np.testing.assert_array_equal(log_penalty(np.array([-30.0, 0.0, 30.0]), kind="none"), 0.0)

    def test_the_token_logistic_is_the_papers(self):
        n, n_ctx = np.array([8190.0, 8192.0, 8195.0]), 8192.0
        np.testing.assert_allclose(
            np.exp(log_penalty(np.log(n / n_ctx), kind="token_logistic", excess_tokens=n - n_ctx)),
            1.0 / (1.0 + np.exp(n - n_ctx)),
        )

    def test_no_spread_is_no_averaging(self):
        w = np.linspace(-1.0, 1.0, 11)
        plain = log_penalty(w, kappa=9.0, delta=0.1)
        np.testing.assert_array_equal(plain, log_penalty(w, 9.0, 0.1, log_ratio_sd=np.zeros(11)))

    @pytest.mark.parametrize("spread", [0.02, 0.1, 0.5, 2.0])
    def test_averaging_is_near_the_integral(self, spread):
        kappa, delta = 8.0, -0.1
        w = np.linspace(-5.0, 5.0, 81)
        grid = np.linspace(-8.0, 8.0, 4001)
        weight = np.exp(-0.5 * grid**2)
        q = expit(-kappa * (w[:, None] + spread * grid - delta))
        integral = q @ (weight / weight.sum())
        averaged = np.exp(log_penalty(w, kappa, delta, log_ratio_sd=spread))
        assert np.abs(averaged - integral).max() < 0.02
        if spread >= 0.5:  # the test would notice if nothing were averaged
            assert np.abs(np.exp(log_penalty(w, kappa, delta)) - integral).max() > 0.1

    def test_unknown_form(self):
        with pytest.raises(SpecificationError, match="'cliff' is not one of 'log_logistic'"):
            log_penalty(0.0, 1.0, 0.0, kind="cliff")


class TestMeanScore:
    def test_product_of_its_terms(self):
        parameters = {"log_A": math.log(0.7), "alpha": 0.4, "log_B": math.log(1.3), "beta": 0.9}
        parameters |= {"kappa": 5.0, "delta": -0.2}
        x, z, w, chance = 0.8, -0.6, 0.1, 0.25
        s_c = 1 - math.exp(-0.7 * math.exp(0.4 * x))
        u_n = 1.3 * math.exp(0.9 * z)
        q = 1 / (1 + math.exp(5.0 * (w + 0.2)))
        design = {"x": x, "z": z, "w": w, "chance": chance}
        for context, s_n in (("exponential", 1 - math.exp(-u_n)), ("power", u_n / (1 + u_n))):
            found = mean_score(parameters, design, LawTerms(context_term=context))
            assert found == pytest.approx(q * (chance + (1 - chance) * s_c * s_n), rel=1e-13)

    @pytest.mark.parametrize("task", PAPER)
    def test_the_papers_curves(self, task):
        s_7b, s_13b, alpha, beta, b100 = PAPER[task]
        parameters = {
            "log_A": math.log(-math.log1p(-s_7b)), "alpha": alpha,
            "log_B": math.log(b100), "beta": beta,
        }  # fmt: skip
        terms = LawTerms("exponential", "exponential", "token_logistic")
        x = math.log(FLOPS_13B / FLOPS_7B)
        long = within_window(x=np.array([0.0, x]), z=math.log(1e5 / 100))
        # S and alpha are printed to half a unit of the last figure.
        np.testing.assert_allclose(mean_score(parameters, long, terms), [s_7b, s_13b], atol=3e-4)
        at_100 = mean_score(parameters, within_window(), terms)
        assert at_100 == pytest.approx(s_7b * (1 - math.exp(-b100)), rel=1e-12)
        n = np.array([8000.0, 9000.0])
        at_edge = within_window(z=np.log(n / 100), excess_tokens=n - 8192.0)
        np.testing.assert_allclose(mean_score(parameters, at_edge, terms)[1], 0.0, atol=1e-12)
        assert mean_score(parameters, at_edge, terms)[0] > 0.9 * s_7b

    def test_another_exponent_does_not_join_the_papers_curves(self):
        s_7b, s_13b, alpha, *_ = PAPER["arithmetic"]
        log_u = math.log(-math.log1p(-s_7b)) + (alpha + 0.05) * math.log(FLOPS_13B / FLOPS_7B)
        assert abs(math.exp(log_saturation(log_u)) - s_13b) > 3e-3

    @pytest.mark.parametrize("terms", EVERY_FORM, ids=str)
    def test_chance_remains_where_nothing_is_learnt(self, terms):
        design = within_window(z=-1000.0, chance=np.array([0.0, 0.25, 0.5]))
        np.testing.assert_allclose(mean_score(SENSIBLE, design, terms), [0, 0.25, 0.5], atol=1e-12)

    @pytest.mark.parametrize("penalty", ["log_logistic", "token_logistic"])
    def test_far_past_the_window_not_even_chance_remains(self, penalty):
        design = within_window(w=10.0, excess_tokens=1e5, chance=0.25)
        assert mean_score(SENSIBLE, design, LawTerms(penalty=penalty)) < 1e-12

    def test_no_penalty_does_not_know_the_window(self):
        terms = LawTerms(penalty="none")
        inside, past = (mean_score(SENSIBLE, within_window(w=w), terms) for w in (-5.0, 5.0))
        assert inside == past > 0

    def test_the_full_score_is_reached(self):
        everything = within_window(x=30.0, z=30.0)
        assert mean_score(SENSIBLE, everything, LawTerms()) == pytest.approx(1.0, abs=1e-3)


class TestProperties:
    terms = st.sampled_from(EVERY_FORM)
    parameters = st.fixed_dictionaries(
        {
            "log_A": st.floats(-4, 4),
            "alpha": st.floats(0.01, 5),
            "log_B": st.floats(-4, 4),
            "beta": st.floats(0.01, 8),
            "kappa": st.floats(0.1, 300),
            "delta": st.floats(-2, 2),
        }
    )
    design = st.fixed_dictionaries(
        {
            "x": st.floats(-30, 30),
            "z": st.floats(-30, 30),
            "w": st.floats(-30, 30),
            "chance": st.floats(0, 0.99),
            "w_sd": st.floats(0, 3),
            "excess_tokens": st.floats(-1e6, 1e6),
            "tokens_sd": st.floats(0, 1e5),
        }
    )

    @given(terms, parameters, design)
    def test_a_score_lies_between_0_and_1(self, terms, parameters, design):
        assert 0.0 <= mean_score(parameters, design, terms) <= 1.0

    @given(terms, parameters, design, st.sampled_from(["x", "z"]), st.floats(0, 10))
    def test_more_compute_or_more_prompt_in_the_window_never_hurts(
        self, terms, parameters, design, axis, more
    ):
        low = mean_score(parameters, design, terms)
        high = mean_score(parameters, design | {axis: design[axis] + more}, terms)
        assert high >= low - 1e-12

    @given(terms, parameters, design, st.floats(0, 5))
    def test_nearer_to_the_window_never_helps(self, terms, parameters, design, more):
        further = {"w": design["w"] + more, "excess_tokens": design["excess_tokens"] + 1e3 * more}
        low = mean_score(parameters, design | further, terms)
        assert low <= mean_score(parameters, design, terms) + 1e-12


@pytest.fixture(scope="module")
def symbolic():
    """For every form of the law: P and the gradient of its sum by every argument."""
    inputs = {name: pt.vector(name) for name in ARGUMENTS}
    constants = {
        name: pt.vector(name)
        for name in ("x", "z", "w", "chance", "w_sd", "excess_tokens", "tokens_sd")
    }
    functions = {}
    for terms in EVERY_FORM:
        p = mean_score(inputs, constants, terms)
        gradients = pytensor.grad(p.sum(), list(inputs.values()), disconnected_inputs="ignore")
        functions[terms] = pytensor.function(
            [*inputs.values(), *constants.values()],
            [p, *gradients],
            mode="FAST_COMPILE",
            on_unused_input="ignore",
        )
    return functions


class TestNumpyAndPytensor:
    rows = 4000

    def both(self, symbolic, terms):
        rng = np.random.default_rng(20251014)
        arguments, design = far_parameters(self.rows, rng), far_design(self.rows, rng)
        inputs = [arguments[name] for name in ARGUMENTS]
        return mean_score(arguments, design, terms), symbolic[terms](*inputs, *design.values())

    @pytest.mark.parametrize("terms", EVERY_FORM, ids=str)
    def test_values_agree_and_are_finite(self, symbolic, terms):
        numeric, (tensor, *_) = self.both(symbolic, terms)
        assert np.isfinite(numeric).all()
        assert ((numeric >= 0) & (numeric <= 1)).all()
        # Below 1e-300 a score loses its last figures to gradual underflow.
        np.testing.assert_allclose(tensor, numeric, rtol=1e-12, atol=1e-300)

    @pytest.mark.parametrize("terms", EVERY_FORM, ids=str)
    def test_gradients_are_finite_and_alive(self, symbolic, terms):
        _, (_, *gradients) = self.both(symbolic, terms)
        for name, gradient in zip(ARGUMENTS, gradients, strict=True):
            assert np.isfinite(gradient).all(), name
            used = name not in ("kappa", "delta") or terms.penalty == "log_logistic"
            assert np.any(gradient != 0.0) == used, name

    def test_gradient_is_the_slope(self, symbolic):
        terms, step = LawTerms(), 1e-6
        design = {
            "x": 0.4, "z": -0.7, "w": 0.05, "chance": 0.2,
            "w_sd": 0.1, "excess_tokens": 0.0, "tokens_sd": 0.0,
        }  # fmt: skip
        inputs = [np.array([value]) for value in (*SENSIBLE.values(), *design.values())]
        _, *gradients = symbolic[terms](*inputs)
        for name, gradient in zip(ARGUMENTS, gradients, strict=True):
            up, down = (
                mean_score(SENSIBLE | {name: SENSIBLE[name] + d}, design, terms)
                for d in (step, -step)
            )
            assert gradient[0] == pytest.approx((up - down) / (2 * step), rel=1e-6, abs=1e-9), name


class TestTerms:
    def test_parameters_of_each_form(self):
        for terms in EVERY_FORM:
            extra = ("rho",) if terms.zero_context == "free" else ()
            extra += ("D", "psi", "eta") if terms.dilution == "window" else ()
            extra += ("kappa", "delta") if terms.penalty == "log_logistic" else ()
            assert terms.parameters == ("A", "alpha", "B", "beta", *extra)

    def test_all_faults_in_one_message(self):
        with pytest.raises(SpecificationError) as caught:
            LawTerms(context_term="linear", compute_term="cubic", penalty="cliff")
        for part in ("context_term='linear'", "compute_term='cubic'", "penalty='cliff'"):
            assert part in str(caught.value)
        for allowed in (*SATURATIONS, *PENALTIES):
            assert repr(allowed) in str(caught.value)

    @settings(max_examples=50)
    @given(st.text() | st.none() | st.integers() | st.floats())
    def test_only_known_names_pass(self, name):
        with pytest.raises(SpecificationError):
            LawTerms(penalty=f"{name}?" if name in PENALTIES else name)

    def test_an_unhashable_name_is_refused_too(self):
        with pytest.raises(SpecificationError):
            LawTerms(penalty=["none"])


class TestInverses:
    @pytest.mark.parametrize("kind", SATURATIONS)
    def testunsaturate_undoes_saturation(self, kind):
        log_u = np.array([-25.0, -5.0, -1.0, 0.0])
        found = unsaturate(log_saturation(log_u, kind), kind)
        np.testing.assert_allclose(found, log_u, rtol=1e-4, atol=2e-3)

    @pytest.mark.parametrize("kind", SATURATIONS)
    def testunsaturate_has_no_corner_at_the_ceiling(self, kind):
        log_s = np.linspace(-0.1, 0.1, 20001)
        slope = np.diff(unsaturate(log_s, kind)) / 1e-5
        assert (slope >= 0).all()
        assert slope[-1] < 1e-3
        assert np.abs(np.diff(slope)).max() < 0.005 * slope.max()

    @pytest.mark.parametrize("kind", SATURATIONS)
    def testunsaturate_of_next_to_nothing(self, kind):
        log_s = np.array([-700.0, -40.0, -37.0, -33.0])
        np.testing.assert_allclose(unsaturate(log_s, kind), log_s, rtol=1e-6)

    @pytest.mark.parametrize("kind", SATURATIONS)
    def test_rise_is_the_slope_of_the_logarithm(self, kind):
        log_u, step = np.array([-18.0, -3.0, 0.0, 2.0]), 1e-5
        slope = log_saturation(log_u + step, kind) - log_saturation(log_u - step, kind)
        np.testing.assert_allclose(np.exp(log_rise(log_u, kind)), slope / (2 * step), rtol=1e-4)


class TestContext:
    """What prompt length does inside the window."""

    @given(st.floats(-3, 3), st.floats(0.05, 3), st.floats(-3, 3))
    def test_without_a_share_it_is_the_papers(self, log_b, beta, z):
        found = log_context(np.array(log_b), beta, z, logit_rho=-700.0)
        assert found == pytest.approx(log_saturation(np.array(log_b + beta * z)), abs=1e-9)

    @given(st.floats(-3, 3), st.floats(0.05, 3), st.floats(-3, 3), st.floats(-4, 4))
    def test_against_the_formula(self, log_b, beta, z, logit):
        rho = 1 / (1 + np.exp(-logit))
        u = np.exp(log_b) * (rho + (1 - rho) * np.exp(beta * z))
        found = log_context(np.array(log_b), beta, z, np.array(logit), "power")
        assert found == pytest.approx(np.log(u / (1 + u)), abs=1e-9)

    def test_no_prompt_leaves_the_share(self):
        found = np.exp(log_context(np.array(0.0), 1.0, -200.0, np.array(0.0), "power"))
        assert found == pytest.approx(0.5 / 1.5)

    @given(
        st.floats(-40.0, 0.0),
        st.floats(-8.0, 8.0),
    )
    def test_a_discrepancy_shifts_log_odds(self, log_p, shift):
        found = shift_odds(np.float64(log_p), np.float64(shift))
        p = np.exp(log_p)
        expected = p / (p + (1.0 - p) * np.exp(-shift))
        assert found <= 1e-12
        assert np.exp(found) == pytest.approx(expected, rel=1e-9)
        assert shift_odds(np.float64(log_p), np.float64(0.0)) == log_p

    def test_a_discrepancy_of_zero_is_the_law_without_one(self):
        design = {"x": 0.4, "z": -0.7, "w": -0.3, "chance": 0.2}
        strays = LawTerms(discrepancy="prompt_tokens")
        plain = mean_score(SENSIBLE, design, LawTerms())
        assert mean_score(SENSIBLE | {"discrepancy": 0.0}, design, strays) == plain
        assert mean_score(SENSIBLE | {"discrepancy": 0.3}, design, strays) > plain

    def test_dilution_lowers_the_score_as_the_window_fills(self):
        terms = LawTerms(dilution="window")
        parameters = SENSIBLE | {"log_D": -3.0, "psi": 0.5, "eta": 0.8}
        design = within_window(z=np.zeros(3)) | {"w": np.array([-9.0, -1.0, 0.0]), "x": 0.0}
        with_it = mean_score(parameters, design, terms)
        without = mean_score(SENSIBLE, design, LawTerms())
        assert with_it == pytest.approx(without / (1 + np.exp([-10.2, -3.8, -3.0])))

    def test_with_more_compute_it_lowers_the_score_less(self):
        parameters = SENSIBLE | {"log_D": -1.0, "psi": 0.5, "eta": 0.8}
        design = within_window(z=np.zeros(3)) | {"w": np.zeros(3), "x": np.array([-2.0, 0.0, 4.0])}
        lost = mean_score(SENSIBLE, design, LawTerms()) / mean_score(parameters, design)
        assert lost == pytest.approx(1 + np.exp([0.0, -1.0, -3.0]))


class TestWindowEnd:
    def test_far_above_and_far_below(self):
        found = window_end(np.array([-8.0, 3.0]))
        assert found == pytest.approx([-2.0, 3.0])

    @given(st.floats(-20, 20))
    def test_there_and_back(self, delta):
        assert window_end(np.array(window_total(delta))) == pytest.approx(delta, abs=1e-9)

    @given(st.floats(-20, 20), st.floats(1e-3, 5))
    def test_it_rises_everywhere(self, total, step):
        assert window_end(np.array(total + step)) > window_end(np.array(total))
