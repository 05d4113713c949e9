"""The fast fit and what it says of the parameters: where the data put them, and how surely."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from test_graph import CASES, DATASETS, few

from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.datasets import load_dataset
from bayes_ctxlaw.discrepancy import straying
from bayes_ctxlaw.geometry import Averages, centre, choose_geometry
from bayes_ctxlaw.law import law_arguments, log_by_length
from bayes_ctxlaw.mode import find_mode, rescaled


def prepared(name):
    make, options = CASES[name]
    law = ContextLaw(**options)
    law._prepare(make())
    return law


def search(law, near=None):
    """The rough search, or that near what one has found."""
    terms = law.spec.terms
    effects = {p: law.spec.effects_of(p, law.encoding) for p in terms.parameters}
    strays = straying(law.obs, law.encoding, terms)
    return find_mode(law.obs, law.encoding, terms, effects, law.priors, near, strays=strays)


def mode_of(law):
    return search(law, near=search(law))


def missed(mode):
    return np.sqrt(np.mean(mode.fit.linearise(mode.values)[0] ** 2))


class TestMode:
    @pytest.mark.parametrize("dataset", DATASETS)
    def test_quick(self, dataset):
        begin = time.process_time()  # the processor's: others may be at work on the machine
        ContextLaw()._prepare(load_dataset(dataset))
        assert time.process_time() - begin < 5.0

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_it_fits(self, dataset):
        mode = mode_of(prepared(dataset))
        assert np.abs(mode.fit.linearise(mode.values)[0]).mean() < 0.03
        assert np.abs(mode.fit.linearise(np.zeros_like(mode.values))[0]).mean() > 0.1

    def test_an_end_of_the_window_in_a_corner_is_found(self):
        """A score of 0.8 at twice the window, where the search would take the window to end."""
        law = prepared("helmet_icl")
        start, labels = law._geometry.start, law.encoding.labels
        llm = labels["llm"].index("Llama-3-70B-θ")
        technique = labels["technique"].index("theta-frozen")
        end = start["mu_delta"] + start["delta_llm"][llm] + start["delta_technique"][technique]
        assert np.log(8) < end < np.log(16)  # 0.766 at 65536 tokens, 0.002 at 131072, of 8192

    def test_scores_that_tight_effects_cannot_meet_do_not_pass_for_noise(self):
        """Eleven checkpoints by ten ways to extend a window, on thirteen tasks."""
        obs = load_dataset("lceg_ruler")
        law = ContextLaw()
        law._prepare(obs.isel(obs_id=np.flatnonzero(obs["prompt_tokens"].values <= 16_384)))
        found = law._mode
        assert missed(search(law)) > 0.12
        assert missed(found) < 0.08
        # Wherever a search begins it comes to the same.
        prior = found.fit.precision({key: law.priors[key].scale for key in found.scales})
        away = np.random.default_rng(0).standard_normal(len(prior)) / np.sqrt(prior)
        other = search(law, near=replace(found, values=found.fit.mean + away))
        assert missed(other) == pytest.approx(missed(found), abs=0.002)
        for key, scale in found.scales.items():
            assert other.scales[key] == pytest.approx(scale, rel=0.1, abs=0.02), key

    def test_the_scatter_of_scores_that_many_unknowns_meet(self):
        """What is left of scores after so many unknowns is a fraction of what they scatter by."""
        obs = load_dataset("helmet_icl")
        law = ContextLaw()
        law._prepare(obs)
        mean = law._mode.fit.score - law._mode.fit.linearise(law._mode.values)[0]
        away = np.random.default_rng(0).standard_t(4, len(mean))
        noisy = np.clip(mean + 0.1 * np.sqrt(mean * (1.0 - mean)) * away, 0.0, 1.0)
        law._prepare(obs.assign(score=("obs_id", noisy)))
        mode, found = law._mode, law._mode.fit.noise
        assert 0.07 < found < 0.14
        mode.fit.update_noise(mode.values, 0.0 * mode.hessian)  # as if the unknowns were known
        assert mode.fit.noise < 0.75 * found

    def test_the_scale_of_effects_is_where_their_density_is_highest(self):
        squares, prior = np.array([0.3, 1.2, 0.1]), 0.7
        scale = np.linspace(0.1, 3.0, 100_000)
        density = -3.0 * np.log(scale) - squares.sum() / (2.0 * scale**2)
        density -= scale**2 / (2.0 * prior**2)
        assert rescaled(squares, prior) == pytest.approx(scale[density.argmax()], abs=1e-4)
        assert rescaled(np.zeros(3), prior) > 0.0

    def test_evidence_is_that_of_the_normal_around_the_mode(self):
        """Written by hand: density of scores and unknowns at the mode, times the volume there."""
        evidence = []
        for discrepancy in ("none", "prompt_tokens"):
            law = ContextLaw(discrepancy=discrepancy, likelihood="student_t")
            law._prepare(load_dataset("montgomery2025"))
            mode, fit = law._mode, law._mode.fit
            mean = fit.score - fit.linearise(mode.values)[0]
            scale = np.sqrt(fit.variance(mean, fit.items))
            log_p = stats.t(4, mean, scale).logpdf(fit.score).sum()
            log_p += (
                stats.norm(fit.mean, fit.precision(mode.scales) ** -0.5).logpdf(mode.values).sum()
            )
            for name, found in mode.scales.items():
                log_p += stats.norm(0, 1).logpdf(found / law.priors[name].scale)
                log_p -= stats.norm(0, 1).logpdf(0.0)
            volume = stats.multivariate_normal(cov=np.linalg.inv(mode.hessian), allow_singular=True)
            evidence.append(log_p - volume.logpdf(np.zeros(len(mode.values))) - mode.log_evidence)
        assert evidence[0] == pytest.approx(evidence[1], abs=1e-6)  # the constant of both

    def test_discrepancies_are_those_of_the_knots(self):
        law = prepared("tasks stray")
        start, strays = law._mode.start, law._mode.fit.strays
        totals = law._mode.fit.totals(law._mode.values)
        low, high = start["discrepancy"][strays.below], start["discrepancy"][strays.above]
        expected = low + strays.share * (high - low)
        np.testing.assert_allclose(totals["discrepancy"], expected, atol=1e-12)
        again = law._mode.at(start)
        np.testing.assert_allclose(again.values, law._mode.values, atol=1e-9)

    def test_the_same_twice(self):
        first, second = (mode_of(prepared("counts")) for _ in range(2))
        np.testing.assert_array_equal(first.values, second.values)
        assert centre(first) == centre(second)

    def test_at_the_centre_of_the_data_level_and_slope_say_different_things(self):
        law = prepared("montgomery2025")
        assert abs(centre(mode_of(law))) < 0.3  # the reference has been moved there


class TestKnots:
    def test_what_the_data_say_is_what_differs_within_a_curve(self):
        """A discrepancy that is the same at all prompt lengths is taken up by A."""
        law = prepared("tasks stray")
        geometry, mode = law._geometry, law._mode
        strays = geometry.knots.made_of
        totals = mode.fit.totals(mode.values)
        follows = -np.expm1(log_by_length(law_arguments(totals), mode.fit.design, law.spec.terms))
        # Numbers that raise log(S_n L) alike at every prompt length, as far as knots can.
        for block, part in zip(geometry.knots.blocks, strays.parts, strict=True):
            own = strays.task == strays.parts.index(part)
            made_of = strays.made_of[own][:, part] * follows[own, None]
            flat = np.linalg.lstsq(made_of, np.ones(own.sum()), rcond=None)[0]
            # Of all directions in the mean; a single one may happen to be flat as well.
            of_any = np.trace(block.precision) / len(flat) * (flat @ flat)
            assert flat @ block.precision @ flat < 0.2 * of_any

    def test_laws_without_discrepancies_have_none(self):
        assert prepared("counts")._geometry.knots is None


class TestBlocks:
    @pytest.mark.parametrize("name", CASES)
    def test_every_parameter_has_one_with_all_its_unknowns(self, name):
        law = prepared(name)
        blocks = law._geometry.blocks
        assert set(blocks) == set(law.terms.parameters)
        for parameter, block in blocks.items():
            levels = law.spec.effects_of(parameter, law.encoding)
            assert set(block.levels) == {None, *levels}
            sizes = {
                level: span.stop - span.start
                for level, span in zip(block.levels, block.spans, strict=True)
            }
            assert sizes == {None: 1} | {lv: len(law.encoding.labels[lv]) for lv in levels}
            assert block.size == sum(sizes.values())
            if block.apart:
                assert block.apart == max(sizes.values())
            else:
                eigenvalues = np.linalg.eigvalsh(block.precision)
                assert eigenvalues.min() > -1e-9 * max(1.0, eigenvalues.max())
            assert (block.weight >= 0).all()

    @pytest.mark.parametrize("name", CASES)
    def test_members_of_a_stratum_are_its_labels(self, name):
        law = prepared(name)
        strata = law.encoding.strata(law.obs)
        for block in law._geometry.blocks.values():
            for level, span, member in zip(block.levels, block.spans, block.members.T, strict=True):
                code = 0 if level is None else strata.codes[level]
                np.testing.assert_array_equal(member, span.start + code)

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_a_measurement_leaves_the_mode_where_it_is(self, dataset):
        """Where the effect scales are those of the mode, prior and measurement peak at it."""
        law = prepared(dataset)
        mode = mode_of(law)
        precision = mode.fit.precision(mode.scales)
        for name in ("alpha", "B", "beta", "kappa"):
            block = choose_geometry(mode, law.encoding.strata(law.obs)).blocks[name]
            spans = [span for *_, span in mode.fit.layout.of(name)]
            whole = slice(spans[0].start, spans[-1].stop)
            total = block.precision + np.diag(precision[whole])
            found = np.linalg.solve(total, block.pull)
            expected = mode.values[whole] - mode.fit.mean[whole]
            np.testing.assert_allclose(found, expected, atol=1e-8)

    def test_what_more_scores_say_is_more(self):
        obs = few()
        less, more = ContextLaw(likelihood="student_t"), ContextLaw(likelihood="student_t")
        less._prepare(obs.assign(n_items=obs["n_items"] * 0 + 5))
        more._prepare(obs.assign(n_items=obs["n_items"] * 0 + 5000))
        weights = [law._geometry.blocks["A"].weight.sum() for law in (less, more)]
        assert weights[1] > weights[0]


class TestWindowEnds:
    def test_an_end_that_nobody_saw_is_not_known_in_widths(self):
        law = ContextLaw()
        law._prepare(few())
        assert (law._geometry.in_widths < 0.01).all()
        assert (prepared("montgomery2025")._geometry.in_widths > 0.8).any()


class TestAverages:
    def test_of_groups(self):
        averages = Averages.by(np.array([0, 0, 1]), np.array([1.0, 3.0, 2.0]))
        np.testing.assert_allclose(averages.of(np.array([2.0, 6.0, 7.0])), [5.0, 7.0])

    def test_without_weight_all_count_alike(self):
        averages = Averages.by(np.array([0, 0]), np.zeros(2))
        np.testing.assert_allclose(averages.share, 0.5)
