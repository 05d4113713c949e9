"""Priors: exactly the interval asked for, by every name of the model, and readable."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.encoding import parse_groups
from bayes_ctxlaw.errors import FileFormatError, SpecificationError
from bayes_ctxlaw.law import PARAMETERS, LawTerms, window_end
from bayes_ctxlaw.priors import (
    FINE_SCALES,
    POPULATION,
    Prior,
    between,
    default_priors,
    half_normal,
    priors_from_json,
    priors_to_json,
    resolve_priors,
    scale_name,
    zero_avoiding,
)

LEVELS = parse_groups(["task", "family", "technique", "llm", "task:llm"])


def distribution(prior):
    """The same prior in SciPy."""
    if prior.kind == "lognormal":
        return stats.lognorm(prior.scale, scale=math.exp(prior.loc))
    if prior.kind == "lognormal_above":
        return stats.lognorm(prior.scale, loc=2.0, scale=math.exp(prior.loc))
    if prior.kind == "zero_avoiding":
        return stats.gamma(2, scale=prior.scale / math.sqrt(6))
    return stats.halfnorm(scale=prior.scale)


class TestIntervals:
    @given(st.floats(1e-6, 1e6), st.floats(1.001, 1e6))
    def test_lognormal_has_exactly_the_interval_given(self, low, ratio):
        prior = between(low, low * ratio)
        assert distribution(prior).ppf([0.05, 0.95]) == pytest.approx([low, low * ratio], rel=1e-9)
        assert prior.interval == pytest.approx((low, low * ratio), rel=1e-9)

    @given(st.floats(-20, 20), st.floats(1e-3, 20))
    def test_a_window_has_exactly_the_interval_given(self, low, width):
        prior = between(low, low + width, "window")
        totals = stats.norm(prior.loc, prior.scale).ppf([0.05, 0.95])
        assert prior.interval == pytest.approx((low, low + width), abs=1e-7)
        assert prior.interval == pytest.approx(tuple(window_end(totals)), abs=1e-7)

    @pytest.mark.parametrize(("kind", "most"), [("logitnormal", 1.0), ("logitnormal_below", 2.0)])
    @given(start=st.floats(1e-4, 0.9), part=st.floats(0.01, 0.99))
    def test_a_share_has_exactly_the_interval_given(self, start, part, kind, most):
        """And so has an exponent of the loss, which is a share of the most that it may be."""
        low, high = most * start, most * (start + part * (0.9999 - start))
        prior = between(low, high, kind)
        totals = stats.norm(prior.loc, prior.scale).ppf([0.05, 0.95])
        assert prior.interval == pytest.approx((low, high), rel=1e-6)
        assert prior.interval == pytest.approx(tuple(most * expit(totals)), rel=1e-6)

    @given(st.floats(1e-4, 1e4), st.floats(1.001, 1e4))
    def test_a_sharpness_has_exactly_the_interval_given(self, low, ratio):
        low, high = 2.0 + low, 2.0 + low * ratio
        prior = between(low, high, "lognormal_above")
        assert prior.interval == pytest.approx((low, high), rel=1e-9)
        assert distribution(prior).ppf([0.05, 0.95]) == pytest.approx([low, high], rel=1e-9)

    @given(st.floats(1e-6, 1e6))
    def test_half_normal_quantiles(self, scale):
        prior = half_normal(scale)
        assert prior.interval == pytest.approx(tuple(distribution(prior).ppf([0.05, 0.95])))

    @given(st.floats(1e-6, 1e6))
    def test_zero_avoiding_quantiles(self, scale):
        """And beside the half-normal of the same scale: as large, but away from 0."""
        prior, other = zero_avoiding(scale), half_normal(scale)
        mine, half = distribution(prior), distribution(other)
        assert prior.interval == pytest.approx(tuple(mine.ppf([0.05, 0.95])))
        assert mine.moment(2) == pytest.approx(half.moment(2))
        assert mine.ppf([0.5, 0.95]) == pytest.approx(half.ppf([0.5, 0.95]), rel=0.03)
        assert mine.ppf(0.01) > 4 * half.ppf(0.01)

    def test_another_interval_is_not_the_one_given(self):
        assert distribution(between(2, 60)).ppf(0.05) != pytest.approx(2.5, rel=1e-3)

    @pytest.mark.parametrize(
        ("low", "high"), [(0, 1), (-1, 1), (5, 5), (6, 5), (math.nan, 1), (1, math.inf)]
    )
    def test_an_impossible_lognormal_interval_is_refused(self, low, high):
        with pytest.raises(SpecificationError):
            between(low, high)

    @pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (math.nan, 0), (-math.inf, 0)])
    def test_an_impossible_window_interval_is_refused(self, low, high):
        with pytest.raises(SpecificationError):
            between(low, high, "window")

    @pytest.mark.parametrize(("low", "high"), [(0, 0.5), (0.5, 1), (0.6, 0.4), (math.nan, 0.5)])
    def test_an_impossible_share_is_refused(self, low, high):
        with pytest.raises(SpecificationError, match="0 < low < high < 1"):
            between(low, high, "logitnormal")

    @pytest.mark.parametrize(
        ("low", "high", "kind", "message"),
        [
            (1.9, 30, "lognormal_above", "kappa is above 2.* give 2 < low < high"),
            (5, 4, "lognormal_above", "give 2 < low < high"),
            (math.nan, 30, "lognormal_above", "give 2 < low < high"),
            (0.3, 2.1, "logitnormal_below", "eta is below 2.* give 0 < low < high < 2"),
            (0, 1.5, "logitnormal_below", "give 0 < low < high < 2"),
            (1.5, math.nan, "logitnormal_below", "give 0 < low < high < 2"),
        ],
    )
    def test_the_loss_and_the_end_of_the_window_do_not_overlap(self, low, high, kind, message):
        with pytest.raises(SpecificationError, match=message):
            between(low, high, kind)

    @pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
    @pytest.mark.parametrize("make", [half_normal, zero_avoiding])
    def test_an_impossible_scale_is_refused(self, make, scale):
        with pytest.raises(SpecificationError, match="scale above 0"):
            make(scale)

    def test_an_unknown_family_is_refused(self):
        with pytest.raises(SpecificationError, match="'cauchy' is not one of"):
            Prior("cauchy", 0.0, 1.0)


class TestDefaults:
    def test_names_are_those_of_the_model(self):
        names = list(default_priors({"task": ("A", "kappa"), "task:llm": ("A",)}))
        expected = [*PARAMETERS, "A_task_sd", "kappa_task_sd", "A_task_llm_sd", "overdispersion"]
        assert names == expected
        assert "D" not in default_priors({}, LawTerms(dilution="none").parameters)

    def test_checkpoints_and_interactions_vary_less(self):
        priors = default_priors(LEVELS)
        assert priors["A_llm_sd"].scale == priors["A_task_llm_sd"].scale == FINE_SCALES["A"]
        assert priors["A_task_sd"].scale > FINE_SCALES["A"]

    def test_population_priors_are_on_their_scales(self):
        assert {n: p.kind for n, p in POPULATION.items()} == {
            n: {
                "delta": "window",
                "eta": "logitnormal_below",
                "kappa": "lognormal_above",
                "rho": "logitnormal",
            }.get(n, "lognormal")
            for n in PARAMETERS
        }

    def test_kappa_is_what_the_documentation_says(self):
        assert distribution(POPULATION["kappa"]).ppf([0.05, 0.95]) == pytest.approx([3, 30])

    def test_eta_is_what_the_documentation_says(self):
        assert POPULATION["eta"].interval == pytest.approx((0.3, 1.5))

    @pytest.mark.parametrize(
        ("level", "expected"), [("task", "A_task_sd"), ("task:llm", "A_task_llm_sd")]
    )
    def test_scale_names(self, level, expected):
        assert scale_name("A", level) == expected


class TestResolving:
    @pytest.mark.parametrize("given", [[("kappa", 1)], 10, "kappa"])
    def test_what_is_no_mapping_is_refused(self, given):
        for option in ("priors", "references"):
            with pytest.raises(SpecificationError, match=f"{option}=.* must be a mapping"):
                ContextLaw(**{option: given})

    def test_the_users_take_the_place_of_defaults(self):
        own = {
            "kappa": (5, 20),
            "delta": [-0.5, 0.1],
            "A_task_sd": 0.25,
            "overdispersion": 1e-2,
            "alpha": between(0.1, 0.2),
            "kappa_task_sd": zero_avoiding(0.5),
            "B_llm_sd" if "B" in LEVELS["llm"] else "A_llm_sd": half_normal(2),
        }
        priors = resolve_priors(LEVELS, own)
        assert priors["kappa"] == between(5, 20, "lognormal_above")
        assert priors["delta"] == between(-0.5, 0.1, "window")
        assert priors["A_task_sd"] == half_normal(0.25)
        assert priors["overdispersion"] == half_normal(0.01)
        assert priors["alpha"] == between(0.1, 0.2)
        assert priors["kappa_task_sd"] == zero_avoiding(0.5)
        untouched = set(priors) - set(own)
        assert {n: priors[n] for n in untouched} == {
            n: p for n, p in default_priors(LEVELS).items() if n in untouched
        }

    @pytest.mark.parametrize("user", [None, {}])
    def test_nothing_own_is_the_defaults(self, user):
        assert resolve_priors(LEVELS, user) == default_priors(LEVELS)

    def test_a_misspelt_name_is_refused_with_what_was_meant_and_what_is_valid(self):
        with pytest.raises(SpecificationError) as caught:
            resolve_priors({"task": ("A",)}, {"kapa": (5, 20)})
        message = str(caught.value)
        assert "no prior named 'kapa'" in message
        assert "did you mean 'kappa'?" in message
        for name in default_priors({"task": ("A",)}):
            assert name in message

    def test_a_scale_of_a_level_that_is_not_there_is_refused(self):
        with pytest.raises(SpecificationError, match="no prior named 'A_family_sd'"):
            resolve_priors({"task": ("A",)}, {"A_family_sd": 1.0})

    def test_all_faults_in_one_message(self):
        own = {"kappa": 3.0, "A_task_sd": (1, 2), "nonsense": 1, "beta": half_normal(1)}
        with pytest.raises(SpecificationError) as caught:
            resolve_priors(LEVELS, own)
        message = str(caught.value)
        assert "kappa takes (low, high)" in message
        assert "A_task_sd takes a number" in message
        assert "'nonsense'" in message
        assert "beta takes between(low, high)" in message
        assert message.count(".; ") == 0

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("kappa", (20, 5)),
            ("kappa", (0, 5)),
            ("kappa", (1.9, 5)),
            ("kappa", between(5, 20)),
            ("eta", (0.3, 2.1)),
            ("kappa", (1, 2, 3)),
            ("kappa", "wide"),
            ("kappa", None),
            ("kappa", between(-1, 1, "window")),
            ("delta", between(1, 2)),
            ("rho", (0.2, 1.2)),
            ("rho", between(1, 2)),
            ("delta", 0.3),
            ("A_task_sd", -1.0),
            ("A_task_sd", 0),
            ("A_task_sd", True),
            ("A_task_sd", math.nan),
            ("overdispersion", "small"),
        ],
    )
    def test_a_value_that_is_no_prior_is_refused(self, name, value):
        with pytest.raises(SpecificationError):
            resolve_priors(LEVELS, {name: value})

    @given(st.text(max_size=12))
    def test_only_names_of_the_model_pass(self, name):
        if name in default_priors(LEVELS):
            return
        with pytest.raises(SpecificationError, match="valid: A, alpha"):
            resolve_priors(LEVELS, {name: 1.0})


class TestPrinting:
    @pytest.mark.parametrize(
        ("prior", "text"),
        [
            (between(5, 20), "LogNormal(2.3, 0.421): between 5 and 20 with 90 %"),
            (between(0.5, 1.5, "window"), "Window(1, 0.304): between 0.5 and 1.5 with 90 %"),
            (
                between(0.5, 0.9, "logitnormal"),
                "LogitNormal(1.1, 0.668): between 0.5 and 0.9 with 90 %",
            ),
            (
                between(3, 30, "lognormal_above"),
                "2 + LogNormal(1.67, 1.01): between 3 and 30 with 90 %",
            ),
            (
                between(0.3, 1.5, "logitnormal_below"),
                "2·LogitNormal(-0.318, 0.861): between 0.3 and 1.5 with 90 %",
            ),
            (half_normal(1.0), "HalfNormal(1): between 0.063 and 2 with 90 %"),
            (zero_avoiding(1.0), "Gamma(2, 0.408): between 0.15 and 1.9 with 90 %"),
        ],
    )
    def test_numbers_a_person_can_judge(self, prior, text):
        assert str(prior) == text


class TestSaving:
    def test_round_trip_through_json(self):
        priors = resolve_priors(LEVELS, {"kappa": (5, 20), "A_task_sd": 1 / 3})
        assert priors_from_json(json.loads(json.dumps(priors_to_json(priors)))) == priors

    def test_a_damaged_entry_is_refused(self):
        saved = priors_to_json(default_priors({}))
        saved["A"]["scale"] = -1.0
        with pytest.raises(SpecificationError, match="scale above 0"):
            priors_from_json(saved)

    def test_priors_of_another_meaning_are_refused(self):
        """Of fits from before kappa and eta had a border: all of them in one message."""
        saved = priors_to_json(default_priors({}))
        for name in ("eta", "kappa"):
            saved[name]["kind"] = "lognormal"
        with pytest.raises(FileFormatError, match=r"eta and kappa.*another version.*Fit again"):
            priors_from_json(saved)


def test_a_level_whose_parameters_the_terms_lack_is_none():
    law = ContextLaw(groups={"task": ["A"], "llm": ["kappa"]}, penalty="none", dilution="none")
    assert law.levels == {"task": ("A",)}
    assert not any("llm" in name for name in law.priors)


def test_all_options_of_a_law_at_fault_are_said_at_once():
    wrong = {
        "context_term": "exp",
        "likelihood": "binom",
        "groups": ["size"],
        "references": {"n": 1},
    }
    with pytest.raises(SpecificationError) as caught:
        ContextLaw(**wrong)
    for part in ("context_term='exp'", "likelihood='binom'", "group 'size'", "n"):
        assert part in str(caught.value)
