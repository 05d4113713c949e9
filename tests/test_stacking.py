"""Stacks: weights of known problems, mixtures of known members, the protocol of a forecaster."""

import joblib
import numpy as np
import pytest
import xarray as xr
from fake_forecasters import Gaussian, Interval, Raises, summary
from fake_law import design_of, fake_prediction, observations

import bayes_ctxlaw as bcl
from bayes_ctxlaw.validation.scores import crps
from bayes_ctxlaw.validation.stacking import Stack
from bayes_ctxlaw.validation.weights import allocate, best_weights, crps_matrix, mix, thinned


class Curve:
    """Normal draws around the curve that the scores were made from; right where `off` is 0."""

    def __init__(self, off=0.0, sd=0.02, size=400):
        self.off, self.sd, self.size = off, sd, size

    def fit(self, obs, draws=None, random_seed=None):
        self.saw, self.given_draws = obs, draws

    def predict(
        self, at, ci_prob=0.9, kind="response", new_levels="error", random_seed=None, samples=False
    ):
        if "score" in at:
            raise AssertionError("a forecaster must not be shown what it is to predict")
        middle = fake_prediction(at)["median"].values + 0.01 + self.off
        rng = np.random.default_rng([random_seed, 7])
        draws = rng.normal(middle, self.sd, size=(2, self.size // 2, len(middle)))
        out = summary(at, draws, ci_prob)
        return out.assign(samples=(("chain", "draw", "obs_id"), draws)) if samples else out


class Silent(Curve):
    """Takes samples=True and gives none."""

    def predict(self, at, ci_prob=0.9, samples=False):
        return super().predict(at, ci_prob, random_seed=1)


def fitted(members, obs=None, split=None, seed=1):
    obs = observations() if obs is None else obs
    return bcl.stack(members, split).fit(obs, random_seed=seed, progressbar=False)


# --- weights -------------------------------------------------------------------------------------


def test_the_quadratic_form_is_the_crps_of_the_mixture():
    rng = np.random.default_rng(1)
    score = rng.normal(size=20)
    draws = [rng.normal(m, s, size=(20, 30)) for m, s in ((0, 1), (1, 2), (-1, 0.3))]
    matrix = crps_matrix(score, draws)
    for number, of_one in enumerate(draws):
        assert matrix[number, number] == pytest.approx(crps(score, of_one).mean())
    # Of equal weights: that of all draws together.
    together = crps(score, np.concatenate(draws, axis=1)).mean()
    assert matrix.sum() / 9 == pytest.approx(together)
    weights = np.array([0.2, 0.5, 0.3])
    to_score = [np.abs(d - score[:, None]).mean() for d in draws]
    apart = [[np.abs(a[:, :, None] - b[:, None, :]).mean() for b in draws] for a in draws]
    expected = weights @ to_score - 0.5 * weights @ apart @ weights
    assert weights @ matrix @ weights == pytest.approx(expected)


def test_weights_of_a_problem_that_can_be_solved_by_hand():
    """One says never and one always; three of four scores are 1: (3/4)(1-w)² + w²/4 is least."""
    matrix = crps_matrix(np.array([1.0, 1.0, 1.0, 0.0]), [np.zeros((4, 5)), np.ones((4, 3))])
    np.testing.assert_allclose(best_weights(matrix), [0.25, 0.75], atol=1e-5)


def test_no_other_weights_are_better():
    rng = np.random.default_rng(2)
    for _ in range(20):
        root = rng.normal(size=(4, 4)) + 0.5
        matrix = root @ root.T * 1e-4
        weights = best_weights(matrix)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
        others = rng.dirichlet(np.full(4, 0.5), size=2000)
        values = np.einsum("ij,jk,ik->i", others, matrix, others)
        assert weights @ matrix @ weights <= values.min() + 1e-5 * np.trace(matrix)


def test_members_that_say_the_same_share_the_weight():
    np.testing.assert_allclose(best_weights(np.ones((2, 2))), 0.5)
    np.testing.assert_allclose(best_weights(np.zeros((3, 3))), 1 / 3)


def test_thinned_draws_have_the_distribution_of_all():
    draws = np.random.default_rng(3).gamma(2.0, size=(3, 4000))
    draws[0, :1000] = 0.0
    few = thinned(draws)
    assert few.shape == (3, 200)
    assert (few[0] == 0).mean() == pytest.approx(0.25, abs=0.005)
    score = np.array([0.5, 2.0, 4.0])
    np.testing.assert_allclose(crps(score, few), crps(score, draws), atol=2e-3)


def test_draws_are_allocated_by_the_largest_remainder():
    assert allocate(np.array([1 / 3, 1 / 3, 1 / 3]), 100).tolist() == [34, 33, 33]
    assert allocate(np.array([0.3, 0.7]), 10).tolist() == [3, 7]
    assert allocate(np.array([0.001, 0.999]), 10).tolist() == [0, 10]


def test_a_draw_is_of_one_member_in_all_rows():
    draws = {"low": np.arange(0.0, 10)[:, None] + np.zeros(3), "high": np.full((4, 3), 99.0)}
    mixture, member = mix(draws, np.array([0.5, 0.5]), np.random.default_rng(1))
    assert (mixture == mixture[:, :1]).all()
    assert sorted(member) == ["high"] * 5 + ["low"] * 5
    assert ((mixture[:, 0] == 99) == (member == "high")).all()
    # As far as there are enough, different ones and from all parts of the chain.
    low = np.sort(mixture[member == "low", 0])
    assert (np.diff(low) == 2).all()


# --- a stack -------------------------------------------------------------------------------------


def test_the_weight_goes_to_the_member_that_is_right():
    both = fitted({"off": Curve(off=0.1), "right": Curve()})
    assert both.weights["right"] > 0.95
    assert both.weights.index.tolist() == ["off", "right"]
    assert both.backtest.scores.loc[("right", "all tasks"), "crps"] < 0.02
    text = str(both)
    assert f"{both.weights['right']:.3f}" in text
    assert "The weights rest on 4 scores of 2 checkpoints" in text


def test_members_that_err_to_both_sides_are_mixed():
    both = fitted({"low": Curve(off=-0.05, sd=0.03), "high": Curve(off=0.05, sd=0.03)})
    np.testing.assert_allclose(both.weights, 0.5, atol=0.1)
    at = design_of(prompt_tokens=[500, 3000])
    low, high = (both.members[n].predict(at, random_seed=1) for n in ("low", "high"))
    mixed = both.predict(at)
    # Its interval lies between theirs and holds the middle.
    for end in ("lower", "upper"):
        assert (mixed[end] > low[end] - 1e-3).all()
        assert (mixed[end] < high[end] + 1e-3).all()
    assert (mixed["lower"] < low["upper"]).all()
    assert (mixed["upper"] > high["lower"]).all()
    np.testing.assert_allclose(
        mixed["mean"], low["mean"] * both.weights["low"] + high["mean"] * both.weights["high"],
        atol=0.01,
    )  # fmt: skip


def test_two_equal_members_are_no_worse_together():
    obs = observations()
    members = {"a": Gaussian(), "b": Gaussian()}
    split = bcl.splits.beyond_context(1000)
    result = bcl.backtest(
        members | {"stack": bcl.stack(members)}, obs, split, random_seed=1, progressbar=False
    )
    total = result.scores.xs("all tasks", level="task")["crps"]
    assert total["stack"] == pytest.approx(total["a"], rel=0.05)


def test_a_mixture_beats_its_members_where_neither_is_right():
    obs = observations()
    members = {"low": Curve(off=-0.05, sd=0.03), "high": Curve(off=0.05, sd=0.03)}
    split = bcl.splits.beyond_context(4000)
    result = bcl.backtest(
        members | {"stack": bcl.stack(members)}, obs, split, random_seed=1, progressbar=False
    )
    total = result.scores.xs("all tasks", level="task")["crps"]
    assert total.idxmin() == "stack"
    assert result.predictions["form"].values.tolist() == ["draws"] * 3
    assert result.predictions.attrs["ci_kind"] == "equal-tailed"


def test_the_weights_come_from_rows_that_the_fits_did_not_see():
    seen = []

    class Spy(Curve):
        def __deepcopy__(self, memo):
            return Spy(self.off)

        def fit(self, obs, random_seed=None):
            seen.append(obs["prompt_tokens"].values.max())
            super().fit(obs)

    both = fitted([Spy(), Spy(0.2)])
    assert seen == [4000, 4000, 8000, 8000]
    assert both.backtest.predictions["prompt_tokens"].values.tolist() == [8000] * 4
    xr.testing.assert_identical(both.members["Spy 1"].saw, observations())
    assert both.backtest.predictions.attrs["split"] == "longest_in_window(0.25)"


def test_members_in_a_list_are_called_by_their_class():
    names = list(bcl.stack([Curve(), Gaussian(), Curve(0.1)]).members)
    assert names == ["Curve 1", "Gaussian", "Curve 2"]
    assert "not fitted yet" in str(bcl.stack([Curve(), Gaussian()]))


def test_those_given_stay_as_they_are_and_options_reach_those_who_take_them():
    given = Curve(), Gaussian()
    both = bcl.stack(given).fit(observations(), draws=30, random_seed=1, progressbar=False)
    assert vars(given[0]) == {"off": 0.0, "sd": 0.02, "size": 400}
    assert both.members["Curve"].given_draws == 30
    assert both.members["Gaussian"].draws == 30


def test_a_prediction_has_the_form_of_all_others():
    both = fitted({"a": Curve(-0.02), "b": Curve(0.02, size=1000)})
    at = design_of(prompt_tokens=[500, 20_000])
    out = both.predict(at, ci_prob=0.8, samples=True)
    assert out.attrs["ci_prob"] == 0.8
    assert out.attrs["ci_kind"] == "equal-tailed"
    assert out.attrs["prediction_kind"] == "response"
    assert out["samples"].dims == ("chain", "draw", "obs_id")
    assert out.sizes["draw"] == 1000
    counts = out["member"].to_series().value_counts()
    assert counts["a"] == pytest.approx(1000 * both.weights["a"], abs=1)
    np.testing.assert_allclose(out["lower"], out["samples"].quantile(0.1, ("chain", "draw")))
    beyond = out["extrapolation"].sel(axis="prompt_tokens").values
    assert (beyond > 0).sum() == len(beyond) / 2
    # Of observations, the score is kept and shown to no member.
    assert "score" in both.predict(observations())
    assert "member" not in both.predict(at).coords


def test_the_same_seed_gives_the_same_and_another_another():
    at = design_of(prompt_tokens=[500, 3000])
    members = {"a": Gaussian(0.02), "b": Gaussian(-0.02)}
    first, again, other = (fitted(members, seed=seed) for seed in (1, 1, 2))
    assert first.weights.equals(again.weights)
    assert not first.weights.equals(other.weights)
    xr.testing.assert_identical(first.predict(at), again.predict(at))
    xr.testing.assert_identical(first.predict(at), first.predict(at))
    assert not first.predict(at).equals(first.predict(at, random_seed=5))


@pytest.mark.slow  # a backtest, of which a stack is made, does so in every run
def test_processes_of_this_machine_find_the_same():
    members = {"a": Curve(-0.02), "b": Gaussian()}
    at = design_of(prompt_tokens=[500, 3000])
    alone = fitted(members)
    stacked = {"stack": bcl.stack(members), "a": Curve()}
    split = bcl.splits.leave_out("llm")
    result = bcl.backtest(stacked, observations(), split, random_seed=1, progressbar=False)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        spread = fitted(members)
        again = bcl.backtest(stacked, observations(), split, random_seed=1, progressbar=False)
    xr.testing.assert_identical(alone.predict(at), spread.predict(at))
    xr.testing.assert_identical(result.predictions, again.predictions)


def test_a_backtest_says_which_members_did_not_converge():
    class Sampled(Curve):
        idata = None

        def fit(self, obs, random_seed=None):
            super().fit(obs)
            rng = np.random.default_rng(1)
            draws = rng.normal(size=(4, 50)) + 5 * np.arange(4)[:, None]
            self.idata = xr.DataTree.from_dict(
                {
                    "posterior": xr.Dataset({"mu_A": (("chain", "draw"), draws)}),
                    "sample_stats": xr.Dataset(
                        {"diverging": (("chain", "draw"), np.zeros((4, 50), bool))}
                    ),
                }
            )

    stacked = bcl.stack({"sampled": Sampled(), "plain": Curve()})
    split = bcl.splits.beyond_context(4000)
    result = bcl.backtest(
        {"stack": stacked}, observations(), split, random_seed=1, progressbar=False
    )
    assert "'sampled': largest R-hat" in result.fits["failed_checks"].item()
    plain = bcl.backtest(
        {"stack": bcl.stack([Curve(), Gaussian()])}, observations(), split,
        random_seed=1, progressbar=False,
    )  # fmt: skip
    assert plain.fits["failed_checks"].isna().all()


def test_a_real_law_beside_a_rival(montgomery):
    """Fits of a moment: that they go together, not how well."""
    of_task = montgomery["task"].values == "machine translation"
    obs = montgomery.isel(obs_id=np.flatnonzero(of_task))
    members = {
        "law": bcl.ContextLaw(groups=("llm",), penalty="none"),
        "least squares": bcl.rivals.LeastSquaresLaw(resamples=20),
    }
    both = bcl.stack(members).fit(
        obs, draws=50, tune=100, chains=2, thin=1, random_seed=1, progressbar=False
    )
    assert both.members["law"].idata["posterior"].sizes["draw"] == 50
    out = both.predict(obs, kind="law", new_levels="uncertainty")
    assert out.attrs["prediction_kind"] == "law"
    assert (out["lower"] < out["upper"]).all()
    with pytest.raises(bcl.SpecificationError, match="'law' has been fitted already"):
        bcl.stack(both.members)


# --- what goes wrong -----------------------------------------------------------------------------


def test_forecasters_that_need_no_prompts_are_stacked_without():
    obs = bcl.load_dataset("ladder")
    edge = float(np.quantile(obs["compute"], 0.9))
    variants = {
        name: bcl.rivals.TaskLadder("least_squares", variant, resamples=20)
        for name, variant in {"by tokens": "task_loss", "by compute": "compute"}.items()
    }
    split = bcl.splits.beyond_compute(edge)
    found = fitted(variants, obs, split)
    assert found.weights.sum() == pytest.approx(1.0)
    at = obs.isel(obs_id=[0, 1]).drop_vars("score")
    # Ten times the compute, the tokens as they are.
    at = at.assign(compute=10 * at["compute"], n_params=10 * at["n_params"])
    new = found.predict(at)
    assert list(new["axis"].values) == ["compute"]
    assert (new["lower"] <= new["upper"]).all()
    # The default split goes by prompts; a law that needs them says so.
    with pytest.raises(bcl.ObservationError, match="the observations have no prompt_tokens"):
        fitted(variants, obs)
    with pytest.raises(bcl.ObservationError, match=r"'law' in the fold [^`]*`prompt_tokens`"):
        fitted({"law": bcl.rivals.LeastSquaresLaw(), "other": variants["by compute"]}, obs, split)


def test_members_that_cannot_be_stacked_are_all_named():
    with pytest.raises(bcl.SpecificationError) as raised:
        bcl.stack({"interval": Interval(), "class": Curve, 3: Curve()}, split="beyond 10k")
    for part in (
        "'interval' has no draws to mix",
        "'class' is a class; give an object: Curve()",
        "the name 3",
        "split='beyond 10k'",
    ):
        assert part in str(raised.value)


@pytest.mark.parametrize("members", [[], [Curve()], {"one": Curve()}])
def test_a_stack_needs_two_members(members):
    with pytest.raises(bcl.SpecificationError, match="at least 2 members are needed"):
        bcl.stack(members)


def test_one_forecaster_twice_is_refused():
    one = Curve()
    with pytest.raises(bcl.SpecificationError, match="one forecaster is given twice"):
        bcl.stack([one, one])
    with pytest.raises(bcl.SpecificationError, match="members=Curve must be a mapping"):
        bcl.stack(one)


def test_a_member_that_gives_no_draws_is_refused_by_name():
    with pytest.raises(bcl.SpecificationError, match=r"'silent' in the fold .*has no draws to mix"):
        fitted({"silent": Silent(), "right": Curve()})


def test_observations_of_one_length_need_a_split():
    obs = observations()
    obs = obs.isel(obs_id=obs["prompt_tokens"].values == 1000)
    with pytest.raises(bcl.SpecificationError, match=r"no task has prompts of two .*Give stack"):
        fitted([Curve(), Curve(0.1)], obs)
    both = fitted([Curve(), Curve(0.1)], obs, bcl.splits.leave_out("llm"))
    assert both.weights["Curve 1"] > 0.9
    with pytest.raises(bcl.SpecificationError, match=r"^beyond_context\(5000\) does not suit"):
        fitted([Curve(), Curve(0.1)], obs, bcl.splits.beyond_context(5000))


def test_a_fit_that_fails_says_whose_it_is():
    class Bad(Raises):
        def predict(self, at, ci_prob=0.9, samples=False):
            raise AssertionError("not reached")

    with pytest.raises(bcl.ObservationError, match=r"^'bad' in the fold .*: too little"):
        fitted({"bad": Bad(bcl.ObservationError("too little.")), "right": Curve()})


def test_predictions_that_cannot_be_made_are_refused():
    at = design_of(prompt_tokens=[500])
    with pytest.raises(bcl.NotFittedError, match="call fit"):
        bcl.stack([Curve(), Gaussian()]).predict(at)
    both = fitted({"plain": Gaussian(), "other": Gaussian(0.01)})
    with pytest.raises(bcl.SpecificationError, match=r"of the stack: its predict .* kind='law'"):
        both.predict(at, kind="law")
    with pytest.raises(bcl.SpecificationError, match="ci_prob=90"):
        both.predict(at, ci_prob=90)
    assert isinstance(both.unfitted(), Stack)
    assert both.unfitted().weights is None
