"""What tasks stray from the law by: knots, correlation, paths beyond the data, fits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayes_ctxlaw as bcl
from bayes_ctxlaw.discrepancy import (
    Paths,
    between,
    knot_labels,
    loadings,
    rows,
    spans,
    straying,
    to_be_told,
)
from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.errors import FileFormatError, NotFittedError, SpecificationError
from bayes_ctxlaw.law import LawTerms
from bayes_ctxlaw.report.reproduce import call
from bayes_ctxlaw.rivals._options import plain_law
from bayes_ctxlaw.simulate import prior_draws

lengths = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=5, unique=True)


def table(**prompts):
    """Scores of one checkpoint at these prompt lengths, task by task."""
    return bcl.as_observations(
        [
            {
                "task": task, "llm": "7B", "compute": 1e22, "prompt_tokens": n,
                "context_window": 131072.0, "score": 0.5, "n_items": 100,
            }
            for task, every in prompts.items() for n in every
        ]
    )  # fmt: skip


def encoded(**prompts):
    obs = table(**prompts)
    return obs, Encoding.of(obs, {"task": ("A",)})


class TestKnots:
    def test_they_are_doublings_around_the_prompts_of_a_task(self):
        _, encoding = encoded(qa=[60.0, 700.0], maths=[1024.0, 4096.0])
        assert spans(encoding) == {"qa": (5, 10), "maths": (10, 12)}
        assert knot_labels(encoding)[:2] == ["qa | 32", "qa | 64"]
        assert knot_labels(encoding)[-3:] == ["maths | 1024", "maths | 2048", "maths | 4096"]

    @settings(max_examples=50)
    @given(lengths, lengths)
    def test_every_prompt_lies_between_two_of_its_own_task(self, qa, maths):
        obs, encoding = encoded(qa=qa, maths=maths)
        below, above, share = rows(encoding, obs["task"].values, obs["prompt_tokens"].values)
        labels = [label.split(" | ") for label in knot_labels(encoding)]
        for i, (task, n) in enumerate(
            zip(obs["task"].values, obs["prompt_tokens"].values, strict=True)
        ):
            (of_low, low), (of_high, high) = labels[below[i]], labels[above[i]]
            assert of_low == of_high == task
            assert 0.0 <= share[i] < 1.0
            place = (1 - share[i]) * np.log(float(low)) + share[i] * np.log(float(high))
            assert place == pytest.approx(np.log(n), abs=1e-9)

    def test_a_prompt_length_at_a_knot_is_that_knot(self):
        below, share = between(2.0 ** np.arange(40))
        assert below.tolist() == list(range(40))
        assert not share.any()

    def test_knots_are_correlated_as_an_exponential_of_their_distance(self):
        _, encoding = encoded(qa=[64.0, 4096.0], maths=[1024.0, 2048.0])
        covariance = loadings(encoding) @ loadings(encoding).T
        powers = np.arange(6, 13)
        apart = np.abs(powers[:, None] - powers) * np.log(2.0)
        np.testing.assert_allclose(covariance[:7, :7], np.exp(-apart / 2.0), atol=1e-12)
        assert not covariance[:7, 7:].any()

    def test_what_rows_are_made_of_is_the_interpolated_knots(self):
        obs, encoding = encoded(qa=[64.0, 90.0, 4096.0], maths=[1024.0, 3000.0])
        strays = straying(obs, encoding, LawTerms(discrepancy="prompt_tokens"))
        unit = np.random.default_rng(0).standard_normal(len(loadings(encoding)))
        knots = loadings(encoding) @ unit
        expected = np.interp(np.log(90.0), np.log([64.0, 128.0]), knots[:2])
        whole = strays.made_of @ unit
        assert whole[1] == pytest.approx(expected)
        assert whole[0] == pytest.approx(knots[0])
        assert strays.parts == (slice(0, 7), slice(7, 10))
        assert not strays.made_of[:3, 7:].any()
        assert strays.task.tolist() == [0, 0, 0, 1, 1]

    def test_a_row_has_the_numbers_of_its_task_alone(self):
        obs, encoding = encoded(qa=[64.0, 90.0, 4096.0], maths=[1024.0, 3000.0])
        strays = straying(obs, encoding, LawTerms(discrepancy="prompt_tokens"))
        which, shares = strays.columns
        assert which.shape == shares.shape == (5, 7)
        unit = np.random.default_rng(0).standard_normal(10)
        np.testing.assert_allclose((unit[which] * shares).sum(1), strays.made_of @ unit)

    @pytest.mark.parametrize("discrepancy", ["auto", "none"])
    def test_there_are_none_unless_they_are_asked_for(self, discrepancy):
        assert straying(*encoded(qa=[64.0, 128.0]), LawTerms(discrepancy=discrepancy)) is None


class TestWhetherTheDataCanTell:
    seven = tuple(2.0**k for k in range(7))

    def test_one_task_cannot(self):
        assert not to_be_told(table(qa=self.seven), LawTerms())
        assert to_be_told(table(qa=self.seven, maths=self.seven), LawTerms())

    def test_curves_need_more_prompt_lengths_than_the_law_has_parameters(self):
        short = table(qa=self.seven[:5], maths=self.seven[:5])
        assert not to_be_told(short, LawTerms())
        assert to_be_told(short, LawTerms(dilution="none"))  # B, beta, rho

    def test_lengths_of_other_checkpoints_make_no_curve(self):
        obs = table(qa=self.seven, maths=self.seven)
        each = obs.assign(llm=("obs_id", [f"llm {i}" for i in range(14)]))
        assert not to_be_told(each, LawTerms())


class TestPaths:
    """Draws at any prompt length, of fits that are made up."""

    size = 20_000

    def paths(self, seed=1):
        _, encoding = encoded(qa=[64.0, 256.0], maths=[64.0, 128.0])
        rng = np.random.default_rng(0)
        self.scale = rng.uniform(0.2, 0.4, self.size)
        self.values = self.scale[:, None] * rng.standard_normal((self.size, 5))
        return Paths(encoding, self.values, self.scale, seed)

    def test_inside_it_is_the_fit(self):
        found = self.paths().at("qa", np.array([64.0, 96.0, 256.0]))
        share = np.log(96 / 64) / np.log(2.0)
        np.testing.assert_array_equal(found[0], self.values[:, 0])
        np.testing.assert_array_equal(found[2], self.values[:, 2])
        np.testing.assert_allclose(
            found[1], (1 - share) * self.values[:, 0] + share * self.values[:, 1]
        )

    @pytest.mark.parametrize(
        ("n", "edge", "doublings"), [(1024.0, 2, 2), (16.0, 0, 2), (2.0**31, 2, 23)]
    )
    def test_beyond_it_forgets_the_data_with_distance(self, n, edge, doublings):
        found = self.paths().at("qa", np.array([n]))[0] / self.scale
        inside = self.values[:, edge] / self.scale
        expected = np.exp(-doublings * np.log(2.0) / 2.0)
        assert np.corrcoef(found, inside)[0, 1] == pytest.approx(expected, abs=0.03)
        assert found.std() == pytest.approx(1.0, abs=0.03)

    def test_it_has_no_jumps(self):
        near = np.array([128.0, 256.0, 512.0, 4096.0])
        paths = self.paths()
        np.testing.assert_allclose(
            paths.at("qa", near * (1 - 1e-7)), paths.at("qa", near * (1 + 1e-7)), atol=1e-5
        )

    def test_the_order_of_the_questions_does_not_matter(self):
        far, near = np.array([20_000.0]), np.array([600.0])
        first, second = self.paths(), self.paths()
        late = first.at("qa", far), first.at("qa", near)
        soon = second.at("qa", near), second.at("qa", far)
        np.testing.assert_array_equal(late[0], soon[1])
        np.testing.assert_array_equal(late[1], soon[0])
        assert not np.array_equal(late[0], self.paths(seed=2).at("qa", far))

    def test_a_task_never_seen_strays_by_what_tasks_do(self):
        paths = self.paths()
        ends, near = paths.at("law", np.array([1024.0, 2048.0])), paths.at("qa", np.array([1024.0]))
        assert (ends[0] / self.scale).std() == pytest.approx(1.0, abs=0.03)
        correlation = np.corrcoef(ends[0] / self.scale, ends[1] / self.scale)[0, 1]
        assert correlation == pytest.approx(np.exp(-np.log(2.0) / 2.0), abs=0.03)
        assert abs(np.corrcoef(ends[0], near[0])[0, 1]) < 0.03


def turning(seed=3, again=0.45):
    """Simulated scores of four checkpoints whose curves rise, stand still and rise again."""
    rng, made = np.random.default_rng(seed), []
    for task, turn in (("early", 800.0), ("late", 2000.0)):
        for m in range(4):
            for n in 2.0 ** np.arange(5, 14):
                first, second = 1.0 / (1.0 + (60.0 / n) ** 2), 1.0 / (1.0 + (turn / n) ** 4)
                p = (0.55 + 0.06 * m) * (0.2 + 0.3 * first + again * second)
                made.append({
                    "task": task, "llm": f"llm {m}", "compute": 1e21 * 3.0**m,
                    "prompt_tokens": n, "context_window": 131072.0, "n_items": 500,
                    "score": rng.binomial(500, p) / 500,
                })  # fmt: skip
    return bcl.as_observations(made)


@pytest.fixture(scope="module")
def fitted():
    laws = {}
    for discrepancy in ("none", "prompt_tokens"):
        laws[discrepancy] = law = bcl.ContextLaw(
            discrepancy=discrepancy, groups=["task", "llm"], dilution="none"
        )
        law.fit(turning(), draws=120, tune=200, chains=2, thin=1, random_seed=1, progressbar=False)
    return laws


class TestFits:
    def test_curves_that_turn_are_followed(self, fitted):
        obs = turning()
        misses = {}
        for name, law in fitted.items():
            found = law.predict(obs, kind="llm")
            misses[name] = np.abs(found["median"].values - obs["score"].values).mean()
        p = obs["score"].values
        of_sampling = np.sqrt(2.0 / np.pi * p * (1.0 - p) / 500).mean()
        assert misses["prompt_tokens"] < 1.3 * of_sampling
        assert misses["none"] > 1.5 * misses["prompt_tokens"]

    def test_it_is_kept_with_its_knots(self, fitted):
        posterior = fitted["prompt_tokens"].idata["posterior"].to_dataset()
        assert posterior["discrepancy"].dims == ("chain", "draw", "knot")
        assert posterior["knot"].values[0] == "early | 32"
        assert float(posterior["discrepancy_sd"].mean()) > 0.2
        assert "discrepancy" not in fitted["none"].idata["posterior"]

    def test_a_saved_fit_predicts_the_same(self, fitted, tmp_path):
        law = fitted["prompt_tokens"]
        at = turning().isel(obs_id=[0, 8]).assign(prompt_tokens=("obs_id", [90.0, 60_000.0]))
        again = bcl.ContextLaw.load(law.save(tmp_path / "fit.nc"))
        assert again.terms.discrepancy == "prompt_tokens"
        assert again.predict(at).identical(law.predict(at))

    def test_the_shape_of_a_task_is_told_by_it_alone(self, fitted):
        acting = {name: law.spec.levels for name, law in fitted.items()}
        assert acting["none"]["task"] == ("A", "alpha", "B", "beta", "rho", "kappa", "delta")
        assert acting["prompt_tokens"]["task"] == ("A", "alpha", "B", "kappa", "delta")
        assert acting["prompt_tokens"]["llm"] == acting["none"]["llm"]
        posterior = fitted["prompt_tokens"].idata["posterior"]
        assert "B_task" in posterior
        assert not {"beta_task", "beta_task_sd", "rho_task", "rho_task_sd"} & set(posterior)
        text = str(fitted["prompt_tokens"])
        assert "task on A, α, B, κ, δ" in text
        assert "beta_task_sd" not in text

    def test_a_fit_with_both_is_one_of_an_earlier_version(self, fitted, tmp_path):
        law = bcl.ContextLaw.load(fitted["prompt_tokens"].save(tmp_path / "fit.nc"))
        posterior = law.idata["posterior"].to_dataset()
        law.idata["posterior"] = posterior.assign(beta_task_sd=posterior["B_task_sd"])
        with pytest.raises(FileFormatError, match=r"earlier version.*\(beta_task_sd\)"):
            bcl.ContextLaw.load(law.save(tmp_path / "both.nc"))

    def test_a_posterior_without_it_is_refused(self, fitted, tmp_path):
        law = bcl.ContextLaw.load(fitted["prompt_tokens"].save(tmp_path / "fit.nc"))
        law.idata["posterior"] = law.idata["posterior"].to_dataset().drop_vars("discrepancy")
        with pytest.raises(NotFittedError, match="discrepancy is missing"):
            law.predict(turning())

    def test_it_is_told(self, fitted):
        assert "discrepancy_sd" in str(fitted["prompt_tokens"])
        assert "stray" in str(fitted["prompt_tokens"]).split("Priors")[0]
        assert "discrepancy" not in str(fitted["none"])


class TestByDefault:
    """Whether tasks stray is left to the scores."""

    def law(self, obs, **options):
        law = bcl.ContextLaw(groups=["task", "llm"], **options)
        law.build_model(obs)
        return law

    @pytest.mark.parametrize("seed", range(3))
    def test_curves_that_turn_stray(self, seed):
        law = self.law(turning(seed))
        assert law.terms.discrepancy == "auto"
        assert law.spec.terms.discrepancy == "prompt_tokens"
        assert "discrepancy_sd" in law.model.named_vars
        assert "discrepancy_sd" in str(law)

    @pytest.mark.parametrize("seed", range(3))
    def test_curves_that_follow_the_law_do_not(self, seed):
        law = self.law(turning(seed, again=0.0))
        assert law.spec.terms.discrepancy == "none"
        assert "discrepancy_sd" not in law.model.named_vars
        assert "discrepancy_sd" not in str(law)

    def test_curves_too_short_to_tell_do_not(self):
        obs = turning()
        law = self.law(obs.isel(obs_id=obs["prompt_tokens"].values > 400))
        assert law.spec.terms.discrepancy == "none"

    def test_what_is_asked_for_is_not_asked_of_the_scores(self):
        assert self.law(turning(), discrepancy="none").spec.terms.discrepancy == "none"
        asked = self.law(turning(again=0.0), discrepancy="prompt_tokens")
        assert asked.spec.terms.strays

    def test_before_a_fit_it_is_said_to_be_open(self):
        assert "may stray" in str(bcl.ContextLaw())
        assert "stray" not in str(bcl.ContextLaw(discrepancy="none"))

    def test_it_is_kept_in_files_and_still_open_for_another_fit(self, tmp_path):
        law = bcl.ContextLaw(groups=["task", "llm"], dilution="none")
        law.fit(turning(), draws=5, tune=30, chains=1, thin=1, random_seed=1, progressbar=False)
        assert law.spec.terms.strays
        again = bcl.ContextLaw.load(law.save(tmp_path / "fit.nc"))
        assert again.spec == law.spec
        assert again.terms.discrepancy == "auto"
        assert again.predict(turning()).identical(law.predict(turning()))
        assert "discrepancy" not in call(again)

    def test_rivals_that_pool_all_or_nothing_do_not(self):
        assert plain_law("CompletePoolingLaw", {}).terms.discrepancy == "none"
        asked = plain_law("CompletePoolingLaw", {"discrepancy": "prompt_tokens"})
        assert asked.terms.strays


def test_another_kind_is_refused():
    with pytest.raises(SpecificationError, match=r"discrepancy='n' is not one of 'auto', 'none'"):
        bcl.ContextLaw(discrepancy="n")


def test_its_prior_can_be_set_where_there_is_one():
    law = bcl.ContextLaw(discrepancy="prompt_tokens", priors={"discrepancy_sd": 0.1})
    assert law.priors["discrepancy_sd"].scale == 0.1
    with pytest.raises(SpecificationError, match="there is no prior named 'discrepancy_sd'"):
        bcl.ContextLaw(discrepancy="none", priors={"discrepancy_sd": 0.1})
    assert bcl.ContextLaw(priors={"discrepancy_sd": 0.1}).priors["discrepancy_sd"].scale == 0.1


def test_it_is_calibrated_with_its_knots():
    obs = turning()
    design = obs.isel(obs_id=(obs["task"] == "early").values)
    law = bcl.ContextLaw(
        discrepancy="prompt_tokens",
        groups=["llm"],
        dilution="none",
        references={"compute": 1e22, "prompt_tokens": 500},
    )
    found = bcl.calibrate(
        law, design, 4, draws=5, tune=50, thin=2, chains=1, random_seed=1, progressbar=False
    )
    assert found.table.loc["discrepancy", "values"] == 9
    assert found.ranks["discrepancy"].dims == ("simulation", "knot")
    assert found.ranks["knot"].values[0] == "early | 32"


def test_its_prior_draws_are_those_of_its_prior():
    law = bcl.ContextLaw(discrepancy="prompt_tokens", priors={"discrepancy_sd": 0.5})
    law.build_model(turning())
    draws = prior_draws(law.spec, law.encoding, 20_000, np.random.default_rng(0))
    assert draws["discrepancy"].shape == (20_000, 18)
    unit = draws["discrepancy"] / draws["discrepancy_sd"][:, None]
    covariance = loadings(law.encoding) @ loadings(law.encoding).T
    np.testing.assert_allclose(np.cov(unit.T), covariance, atol=0.04)
    assert np.sqrt((draws["discrepancy_sd"] ** 2).mean()) == pytest.approx(0.5, abs=0.01)
