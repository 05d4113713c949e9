"""Observation models: densities against SciPy, exact ends, rules of choice, drawn moments."""

import math

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from bayes_ctxlaw.datasets import load_dataset
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.likelihoods import (
    COUNT_LIKELIHOODS,
    FEWEST_BETA_ITEMS,
    LIKELIHOODS,
    T4_SHARE,
    add_likelihood,
    beta_concentration,
    censored_normal_logp,
    censored_t_logp,
    choose_likelihood,
    correct_counts,
    distribution_at,
    draw_scores,
    edge_and_inverse,
    item_counts,
    noise_sd,
    normal_residuals,
    t4_logcdf,
    t4_logpdf,
)
from bayes_ctxlaw.observations import as_observations

FAR = np.concatenate([[0.0], *(s * np.geomspace(1e-8, 1e8, 81) for s in (-1.0, 1.0))])


def table(scores, **columns):
    return as_observations(
        [
            {"score": s, "task": "qa", "llm": "A", "compute": 1e22, "prompt_tokens": 10.0 + i,
             "context_window": 4096, **columns}
            for i, s in enumerate(scores)
        ]
    )  # fmt: skip


class TestStudentT:
    def test_density(self):
        np.testing.assert_allclose(t4_logpdf(FAR), stats.t(4).logpdf(FAR), rtol=1e-12)

    def test_distribution_function(self):
        # Near 1 SciPy's function is 1 to the last figure; its survival function is not.
        expected = np.log(stats.t(4).cdf(FAR))
        expected[FAR > 0] = np.log1p(-stats.t(4).sf(FAR[FAR > 0]))
        np.testing.assert_allclose(t4_logcdf(FAR), expected, rtol=1e-12, atol=4e-16)

    def test_lower_tail_by_its_leading_term(self):
        t = -np.geomspace(1e4, 1e8, 9)
        np.testing.assert_allclose(t4_logcdf(t), np.log(3.0 / t**4), rtol=1e-8)

    def test_five_degrees_of_freedom_are_another_law(self):
        assert np.abs(t4_logcdf(FAR) - stats.t(5).logcdf(FAR)).max() > 0.1

    @given(st.floats(-1e8, 1e8))
    def test_both_tails_make_one(self, t):
        assert np.exp(t4_logcdf(t)) + np.exp(t4_logcdf(-t)) == pytest.approx(1.0, abs=1e-14)

    def test_tensors_give_the_same_and_its_slope_is_the_density(self):
        t = pt.vector("t")
        cdf = t4_logcdf(t)
        f = pytensor.function(
            [t], [t4_logpdf(t), cdf, pytensor.grad(cdf.sum(), t)], mode="FAST_COMPILE"
        )
        pdf, logcdf, slope = f(FAR)
        np.testing.assert_allclose(pdf, t4_logpdf(FAR), rtol=1e-13)
        np.testing.assert_allclose(logcdf, t4_logcdf(FAR), rtol=1e-13, atol=1e-16)
        near = np.abs(FAR) < 1e3
        np.testing.assert_allclose(slope[near], np.exp(pdf - logcdf)[near], rtol=1e-9)
        assert np.isfinite(slope).all()


@pytest.fixture(scope="module")
def censored():
    """Log-densities censored to [0, 1] as functions of (values, location, scale)."""
    value, location, scale = pt.vector("v"), pt.scalar("m"), pt.scalar("s")
    return {
        name: pytensor.function(
            [value, location, scale], logp(value, location, scale), mode="FAST_COMPILE"
        )
        for name, logp in (("student_t", censored_t_logp), ("normal", censored_normal_logp))
    }


class TestCensoring:
    @pytest.mark.parametrize("name", ["student_t", "normal"])
    @pytest.mark.parametrize(("location", "scale"), [(0.5, 0.2), (0.02, 0.05), (1.0, 0.3)])
    def test_integrates_to_one(self, censored, name, location, scale):
        def density(v):
            return float(np.exp(censored[name](np.array([v]), location, scale)[0]))

        inside, _ = integrate.quad(density, 1e-12, 1 - 1e-12, points=[min(location, 0.999)])
        total = inside + density(0.0) + density(1.0)
        assert total == pytest.approx(1.0, abs=1e-7)
        assert inside < 1.0 - 1e-6  # the masses at the ends are needed

    def test_masses_at_the_ends(self, censored):
        ends = np.array([0.0, 1.0])
        # PyMC's normal_lcdf takes the root of 2 in single precision.
        for name, law, accuracy in (
            ("student_t", stats.t(4, 0.3, 0.2), 1e-12),
            ("normal", stats.norm(0.3, 0.2), 1e-7),
        ):
            expected = [law.logcdf(0.0), law.logsf(1.0)]
            np.testing.assert_allclose(censored[name](ends, 0.3, 0.2), expected, rtol=accuracy)

    def test_numpy_gives_the_same(self, censored):
        values = np.array([0.0, 0.3, 1.0])
        numeric = censored_t_logp(values, 0.4, 0.1)
        np.testing.assert_allclose(numeric, censored["student_t"](values, 0.4, 0.1), rtol=1e-13)


class TestExactEnds:
    @pytest.mark.parametrize(
        ("name", "items"),
        [(name, items) for name in LIKELIHOODS for items in (2.0, 100.0, 1e6)]
        + [(name, np.nan) for name in LIKELIHOODS if name not in COUNT_LIKELIHOODS],
    )
    def test_finite_with_finite_gradients_for_every_mean(self, name, items):
        score, mean = (
            a.ravel() for a in np.meshgrid([0.0, 0.5, 1.0], [0.0, 1e-300, 1e-9, 0.3, 1 - 1e-9, 1.0])
        )
        items = np.full(len(score), items)
        edge, inverse = edge_and_inverse(name, items)
        data = {"score": score, "edge": edge, "inverse_items": inverse}
        if name in COUNT_LIKELIHOODS:
            data |= {"n_items": items.astype(int), "n_correct": (score * items).astype(int)}
        p, phi = pt.vector("p"), pt.scalar("phi")
        with pm.Model(coords={"obs_id": range(len(score))}) as model:
            add_likelihood(name, p, phi, data)
        (logp,) = model.logp(sum=False)
        gradients = pytensor.grad(logp.sum(), [p, phi], disconnected_inputs="ignore")
        f = pytensor.function(
            [p, phi], [logp, *gradients], mode="FAST_COMPILE", on_unused_input="ignore"
        )
        for spread in (1e-4, 0.1, 0.6):
            found = f(mean, spread)
            assert all(np.isfinite(part).all() for part in found)
            # The score that the law expects is likelier than the opposite end.
            by = {(s, m): v for s, m, v in zip(score, mean, found[0], strict=True)}
            assert by[0.0, 0.0] > by[1.0, 0.0]
            assert by[1.0, 1.0] > by[0.0, 1.0]


class TestNoise:
    def test_variance_is_that_of_sampling_and_overdispersion(self):
        edge, inverse = edge_and_inverse("normal", np.array([1e9]))
        assert noise_sd(0.3, 0.1, edge, inverse)[0] == pytest.approx(0.1 * math.sqrt(0.21))
        edge, inverse = edge_and_inverse("normal", np.array([400.0]))
        sd = noise_sd(0.5, 0.0, edge, inverse)[0]
        assert sd == pytest.approx(math.sqrt(0.25 / 400))

    def test_the_student_t_is_the_nearest_to_the_sampling_of_items(self):
        """Its mean log-density under a normal is the largest that a scale can give."""

        def mean_log_density(squared):
            unit = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
            return t4_logpdf(unit / np.sqrt(squared)).mean() - 0.5 * np.log(squared)

        edge, inverse = edge_and_inverse("student_t", np.array([400.0]))
        squared = noise_sd(0.5, 0.0, edge, inverse)[0] ** 2 / (0.25 / 400)
        assert squared == pytest.approx(T4_SHARE)
        assert mean_log_density(squared) > mean_log_density(0.99 * squared)
        assert mean_log_density(squared) > mean_log_density(1.01 * squared)

    def test_intervals_of_a_new_evaluation_hold_what_its_items_scatter(self):
        rng, items = np.random.default_rng(2), np.array(200.0)
        drawn = draw_scores("student_t", np.full(40_000, 0.3), np.zeros(40_000), items, rng)
        low, high = np.quantile(drawn, [0.05, 0.95])
        counts = rng.binomial(200, 0.3, 40_000) / 200
        assert ((counts >= low) & (counts <= high)).mean() == pytest.approx(0.92, abs=0.02)

    def test_never_zero(self):
        edge, inverse = edge_and_inverse("normal", np.array([np.nan, 1.0, 1e6]))
        for mean in (0.0, 1.0):
            assert (noise_sd(mean, 0.01, edge, inverse) > 0).all()

    def test_edge_is_half_an_item(self):
        edge, inverse = edge_and_inverse("normal", np.array([9.0, np.nan]))
        assert edge.tolist() == [0.05, 0.5 / 1001]
        assert inverse.tolist() == [1 / 9, 0.0]

    def test_concentration_of_the_beta(self):
        size = beta_concentration(0.3, 0.1, 0.01)
        variance = stats.beta(0.3 * size, 0.7 * size).var()
        assert variance == pytest.approx(0.21 * (0.01 + 0.1**2 * (1 - 0.01)))


class TestChoice:
    def test_counts_take_the_beta_binomial(self):
        assert choose_likelihood(table([0.25, 0.5, 1.0], n_items=4)) == "beta_binomial"

    def test_graded_scores_take_the_student_t(self):
        assert choose_likelihood(table([0.26, 0.5], n_items=4)) == "student_t"
        assert choose_likelihood(table([0.25, 0.5])) == "student_t"

    def test_rounded_accuracies_are_counts_and_rounded_grades_are_not(self):
        rounded = [0.333, 0.667, 0.0]
        assert choose_likelihood(table(rounded, n_items=3, metric="accuracy")) == "beta_binomial"
        assert choose_likelihood(table(rounded, n_items=3, metric="F1")) == "student_t"
        assert choose_likelihood(table(rounded, n_items=3)) == "student_t"

    def test_one_unknown_count_is_enough_for_the_student_t(self):
        rows = table([0.25, 0.5, 0.75], n_items=4)
        rows["n_items"][1] = np.nan
        assert choose_likelihood(rows) == "student_t"

    @pytest.mark.parametrize("dataset", ["montgomery2025", "helmet_icl"])
    def test_bundled_tables(self, dataset):
        assert choose_likelihood(load_dataset(dataset)) == "student_t"

    @pytest.mark.parametrize("name", ["student_t", "normal", "beta"])
    def test_what_was_asked_for_is_taken(self, name):
        assert choose_likelihood(table([0.25, 0.5], n_items=40), name) == name

    @pytest.mark.parametrize("name", COUNT_LIKELIHOODS)
    def test_counts_that_are_none_are_refused_with_their_rows(self, name):
        scores = [0.25, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.1]
        with pytest.raises(ObservationError) as caught:
            choose_likelihood(table(scores, n_items=4), name)
        message = str(caught.value)
        assert "6 row(s)" in message
        assert "(1, 3, 4, 5, 6, …)" in message
        assert "score 0.3 with n_items 4" in message
        with pytest.raises(ObservationError, match="n_items nan"):
            choose_likelihood(table([0.25, 0.5]), name)

    some = table([0.25, 0.5])

    @given(st.text(max_size=20))
    def test_only_known_names_pass(self, name):
        if name in ("auto", *LIKELIHOODS):
            return
        with pytest.raises(SpecificationError, match="'auto', 'beta_binomial'"):
            choose_likelihood(self.some, name)

    @settings(max_examples=40)
    @given(st.integers(1, 5000), st.data())
    def test_printed_shares_lead_back_to_their_counts(self, items, data):
        correct = data.draw(st.integers(0, items))
        counts, distance = correct_counts(table([correct / items, 1.0], n_items=items))
        assert counts[0] == correct
        assert distance.max() < 1e-12

    def test_unknown_items_are_not_a_number(self):
        assert np.isnan(item_counts(table([0.1, 0.2]))).all()


class TestDrawing:
    draws = 200_000

    def drawn(self, name, mean, phi, items, seed=7):
        rng = np.random.default_rng(seed)
        shape = (self.draws, 1)
        scores = draw_scores(name, np.full(shape, mean), np.full(shape, phi), items, rng)
        assert scores.shape == shape
        assert ((scores >= 0) & (scores <= 1)).all()
        return scores

    @pytest.mark.parametrize("name", LIKELIHOODS)
    @pytest.mark.parametrize(("mean", "items"), [(0.5, 500.0), (0.3, 2000.0), (0.6, 100.0)])
    def test_moments_are_those_stated(self, name, mean, items):
        phi = 0.05
        scores = self.drawn(name, mean, phi, np.array([items]))
        edge, inverse = edge_and_inverse(name, np.array([items]))
        variance = noise_sd(mean, phi, edge, inverse)[0] ** 2
        if name == "binomial":
            variance = mean * (1 - mean) / items
        if name == "student_t":
            variance *= 2.0  # four degrees of freedom: what is stated is the scale
        if name == "least_squares":
            variance = phi**2  # whatever P and the items are
        assert scores.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / self.draws))
        # The fourth moment of the Student-t(4) is infinite: its variance settles slowly.
        assert scores.var() == pytest.approx(variance, rel=0.06 if name == "student_t" else 0.02)

    @pytest.mark.parametrize("name", LIKELIHOODS)
    def test_unknown_items_leave_overdispersion_alone(self, name):
        scores = self.drawn(name, 0.4, 0.05, np.array([np.nan]))
        if name == "binomial":
            np.testing.assert_allclose(scores, 0.4, atol=1e-6)
            return
        expected = 0.05**2 * {"student_t": 0.48, "least_squares": 1.0}.get(name, 0.24)
        assert scores.var() == pytest.approx(expected, rel=0.06)

    @pytest.mark.parametrize("name", COUNT_LIKELIHOODS)
    def test_counts_are_whole(self, name):
        scores = self.drawn(name, 0.4, 0.2, np.array([7.0]))
        np.testing.assert_allclose(scores * 7, np.rint(scores * 7), atol=1e-12)

    @pytest.mark.parametrize("name", LIKELIHOODS)
    def test_sure_scores_stay_at_their_end(self, name):
        for mean in (0.0, 1.0):
            scores = self.drawn(name, mean, 0.05, np.array([1000.0]))
            assert np.median(np.abs(scores - mean)) < 0.002

    @pytest.mark.parametrize("name", LIKELIHOODS)
    def test_half_the_noise_fails_the_test_of_moments(self, name):
        scores = self.drawn(name, 0.5, 0.05, np.array([500.0]))
        assert scores.var() != pytest.approx(0.25 / 4 * (1 / 500 + 0.05**2), rel=0.06)

    @given(st.floats(0, 1), st.floats(0.001, 0.9), st.integers(2, 10**6), st.integers(0, 99))
    def test_every_score_lies_between_0_and_1(self, mean, phi, items, seed):
        for name in LIKELIHOODS:
            if name == "beta" and items < FEWEST_BETA_ITEMS:
                continue
            rng = np.random.default_rng(seed)
            shape = (5, 2)
            count = np.array([float(items), np.nan])
            scores = draw_scores(name, np.full(shape, mean), np.full(shape, phi), count, rng)
            assert scores.shape == shape
            assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("name", [n for n in LIKELIHOODS if n != "least_squares"])
@pytest.mark.parametrize("mean", [0.02, 0.5, 0.99])
def test_places_of_scores_in_their_own_distribution_are_uniform(name, mean):
    """Where many scores are 0 or 1, too: they have probability, not density."""
    rng, size, items = np.random.default_rng(1), 20_000, 30
    shape = mean + np.zeros((1, size)), 0.1 + np.zeros((1, size))
    scores = draw_scores(name, *shape, np.full(size, float(items)), rng)
    obs = table(scores[0], n_items=items)
    below, upto = distribution_at(name, *shape, obs, rng)
    place = (below + rng.random(size) * (upto - below))[0]
    if name != "beta_binomial":  # right in the mean over draws of its probability only
        assert stats.kstest(place, "uniform").statistic < 0.02
    residuals = normal_residuals(name, *shape, obs, rng)[0]
    assert residuals.mean() == pytest.approx(0.0, abs=0.05)
    assert residuals.std() == pytest.approx(1.0, abs=0.1)


class TestCountsThatAreGiven:
    ROWS = ((17210, 120), (50030, 960), (90010, 2000), (60047, 400))

    def rows(self, **changes):
        return as_observations(
            [
                {"task": "qa", "llm": "A", "compute": 8e22, "context_window": 8192,
                 "n_items": 139600, "n_correct": k, "prompt_tokens": n}
                | {name: value(k) for name, value in changes.items()}
                for k, n in self.ROWS
            ]
        )  # fmt: skip

    def test_a_score_rounded_beside_them_changes_nothing(self):
        rounded = self.rows(score=lambda k: round(k / 139600, 3))
        for obs in (self.rows(), rounded):
            counts, distance = correct_counts(obs)
            assert counts.tolist() == [k for k, _ in self.ROWS]
            assert choose_likelihood(obs) == "beta_binomial"
            assert distance.max() < 1e-9


def test_a_beta_of_few_items_is_refused():
    obs = load_dataset("montgomery2025").drop_vars("metric")
    items = np.full(obs.sizes["obs_id"], 100.0)
    assert choose_likelihood(obs.assign(n_items=("obs_id", items)), "beta") == "beta"
    items[5] = 1
    with pytest.raises(ObservationError, match=r"30 items .* 1 row\(s\) have fewer, the fewest 1"):
        choose_likelihood(obs.assign(n_items=("obs_id", items)), "beta")
    with pytest.raises(ObservationError, match="30 items"):
        draw_scores(
            "beta", np.array([0.3]), np.array([0.1]), np.array([2.0]), np.random.default_rng(1)
        )


def test_scores_can_be_drawn_without_overdispersion():
    """As the density allows it, they are then those of a binomial."""
    rng = np.random.default_rng(1)
    drawn = draw_scores("beta_binomial", np.full(4000, 0.3), np.zeros(4000), np.array(50.0), rng)
    assert drawn.var() == pytest.approx(0.3 * 0.7 / 50, rel=0.1)
