"""Backtests: what forecasters are shown, what tables say, the same results wherever they run."""

import joblib
import numpy as np
import pytest
import xarray as xr
from fake_forecasters import Answers, Gaussian, Interval, Point, Raises, summary
from fake_law import observations

import bayes_ctxlaw as bcl
from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.judgement import held_out_scores, interval_name
from bayes_ctxlaw.observations import as_observations
from bayes_ctxlaw.output import prediction_table
from bayes_ctxlaw.validation.splits import Fold

BEYOND = bcl.splits.beyond_context(1000)


def run(forecasters, obs=None, split=BEYOND, **options):
    obs = observations() if obs is None else obs
    options = {"random_seed": 1, "progressbar": False} | options
    return bcl.backtest(forecasters, obs, split, **options)


@pytest.fixture(scope="module")
def mixed():
    """Forecasters of every form on three folds that overlap."""
    split = bcl.splits.rolling_context([100, 1000, 4000], horizon="all")
    forecasters = {"normal": Gaussian(), "interval": Interval(), "point": Point()}
    return run(forecasters, split=split)


@pytest.fixture(scope="module")
def tiny(montgomery):
    """One task, one checkpoint left out, a law sampled for a moment beside a fake."""
    of_task = montgomery["task"].values == "machine translation"
    return {
        "forecasters": {
            "law": bcl.ContextLaw(groups=("llm",), penalty="none"),
            "normal": Gaussian(),
        },
        "obs": montgomery.isel(obs_id=np.flatnonzero(of_task)),
        "split": bcl.splits.leave_out("llm", ["Llama-2-13B-8k"]),
        "fit_options": {"draws": 50, "tune": 100, "chains": 2, "thin": 1},
    }


@pytest.fixture(scope="module")
def serial(tiny):
    return run(**tiny)


# --- what a backtest does ------------------------------------------------------------------------


def test_every_fold_is_fitted_on_its_rows_and_predicted_on_the_others():
    seen = []

    class Spy(Interval):
        def __deepcopy__(self, memo):
            return Spy()

        def fit(self, obs):
            self.train = obs
            super().fit(obs)

        def predict(self, at, ci_prob):
            seen.append((self.train, at, ci_prob))
            return super().predict(at)

    obs = observations()
    result = run({"spy": Spy()}, obs, bcl.splits.leave_out("task"), ci_prob=0.8)
    for (train, at, ci_prob), task in zip(seen, ("maths", "qa"), strict=True):
        left_out = obs["task"].values == task
        xr.testing.assert_identical(train, obs.isel(obs_id=~left_out))
        assert at["obs_id"].values.tolist() == obs["obs_id"].values[left_out].tolist()
        assert "score" not in at
        assert ci_prob == 0.8
    assert result.fits["train"].tolist() == result.fits["test"].tolist() == [8, 8]


def test_outcomes_of_the_held_out_rows_stay_hidden():
    # Gaussian.predict raises if it is shown any of them.
    obs = observations()
    obs = obs.assign(n_items=("obs_id", np.full(16, 1000.0)))
    obs["score"] = (obs["score"] * 1000).round() / 1000
    obs = obs.assign(n_correct=obs["score"] * 1000, task_loss=1 - obs["score"])
    obs["n_correct"] = obs["n_correct"].round()
    assert run({"normal": Gaussian()}, obs).scores.loc["normal", "points"].tolist() == [4, 4, 8]


def test_a_forecaster_given_is_left_as_it_is():
    given = Gaussian(shift=0.1)
    run({"normal": given})
    assert vars(given) == {"shift": 0.1, "scale": 1.0}


def test_options_go_to_those_whose_fit_names_them():
    result = run({"normal": Gaussian(), "point": Point()}, fit_options={"draws": 7})
    assert result.scores.loc["point", "points"].tolist() == [4, 4, 8]
    other = run({"normal": Gaussian(), "point": Point()}, fit_options={"draws": 8})
    here, there = (r.predictions["crps"] for r in (result, other))
    assert (here.sel(forecaster="normal") != there.sel(forecaster="normal")).all()
    assert (here.sel(forecaster="point") == there.sel(forecaster="point")).all()


def test_a_fitted_forecaster_is_refused_or_makes_a_new_one():
    class Fitted(Gaussian):
        idata = "a posterior"

    class Renewable(Fitted):
        def unfitted(self):
            return Gaussian()

    with pytest.raises(bcl.SpecificationError, match=r"'law' has been fitted.*new Fitted"):
        run({"law": Fitted()})
    assert run({"law": Renewable()}).scores.equals(run({"law": Gaussian()}).scores)


# --- seeds ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_result_and_another_another():
    first, again, other = (run({"a": Gaussian()}, random_seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(first.predictions, again.predictions)
    assert not first.predictions["crps"].equals(other.predictions["crps"])


def test_a_seed_depends_on_names_only():
    pair = {"a": Gaussian(), "b": Gaussian()}
    both, turned = run(pair), run(dict(reversed(pair.items())))
    alone = run({"b": Gaussian()})
    for result in (turned, alone):
        expected = both.predictions.sel(forecaster="b")
        xr.testing.assert_identical(result.predictions.sel(forecaster="b"), expected)
    assert both.fits["seed"].nunique() == 2
    folds = bcl.splits.leave_out("llm")
    assert run(pair, split=folds).fits["seed"].nunique() == 4


def test_a_seed_that_was_drawn_is_kept():
    drawn = run({"a": Gaussian()}, random_seed=None)
    again = run({"a": Gaussian()}, random_seed=drawn.predictions.attrs["random_seed"])
    xr.testing.assert_identical(drawn.predictions, again.predictions)


# --- what it returns -----------------------------------------------------------------------------


def test_predictions_are_labelled(mixed):
    predictions = mixed.predictions
    assert predictions["crps"].dims == ("forecaster", "obs_id")
    assert predictions["covered_at"].dims == ("forecaster", "obs_id", "level")
    assert predictions["extrapolation"].dims == ("obs_id", "axis")
    assert predictions["form"].values.tolist() == ["draws", "interval", "point"]
    counts = predictions["fold"].to_series().value_counts()
    assert counts["beyond 100 prompt tokens"] == 12
    assert counts["beyond 4,000 prompt tokens"] == 4
    assert interval_name(predictions) == "90 % equal-tailed interval (response)"


def test_a_row_in_several_folds_is_scored_against_each_fit(mixed):
    longest = observations()["obs_id"].values[observations()["prompt_tokens"].values == 8000]
    rows = mixed.predictions.sel(forecaster="point")
    of_row = rows.isel(obs_id=rows["obs_id"].values == longest[0])
    assert of_row.sizes["obs_id"] == 3
    assert len(np.unique(of_row["score"])) == 1
    assert len(np.unique(of_row["median"])) == 3
    # The further the origin, the further the row lies beyond it.
    beyond = of_row["extrapolation"].sel(axis="prompt_tokens").values
    np.testing.assert_allclose(beyond, np.log10([80, 8, 2]))


def test_the_table_is_that_of_the_held_out_rows(mixed):
    for name in ("normal", "interval"):
        rows = mixed.predictions.sel(forecaster=name)
        expected = held_out_scores(rows)
        found = mixed.scores.loc[name]
        assert found["points"].tolist() == expected["points"].tolist()
        np.testing.assert_allclose(found["mae"], expected["mean_absolute_error"])
        np.testing.assert_allclose(found["coverage"], expected["coverage"])
        np.testing.assert_allclose(found["width"], expected["mean_width"])
        assert len(prediction_table(rows)) == rows.sizes["obs_id"]
    assert found.index.tolist() == ["maths", "qa", "all tasks"]
    assert found["clusters"].tolist() == [2, 2, 2]


class Thirds:
    """Draws of three items, which cover all that three items can score."""

    def fit(self, obs):
        pass

    def predict(self, at, ci_prob=0.9, random_seed=None, samples=False):
        draws = np.tile(np.array([1.0, 2.0]) / 3.0, (1, 50))[..., None]
        draws = np.broadcast_to(draws, (*draws.shape[:2], at.sizes["obs_id"]))
        return summary(at, draws, ci_prob).assign(samples=(("chain", "draw", "obs_id"), draws))


@pytest.mark.parametrize("extra", [{"metric": "accuracy"}, {"n_correct": 2}])
def test_a_rounded_score_is_the_count_that_it_was(extra):
    """0.667 of three items is the 2/3 that draws are, not something above them."""
    obs = observations().to_dataframe()[["task", "llm", "compute", "prompt_tokens"]]
    obs = as_observations(obs.assign(score=0.667, n_items=3, context_window=1e5, **extra))
    result = run({"thirds": Thirds()}, obs)
    assert result.scores.loc[("thirds", "all tasks"), "coverage"] == 1.0
    assert (result.predictions["covered_at"] == 1.0).all()
    shown = Thirds().predict(obs)
    assert held_out_scores(shown).loc["all tasks", "coverage"] == 1.0


def test_coverage_counts_scores_inside():
    """An interval of ±0.1 around 0.5 holds 5 of the 8 scores set here."""
    obs = observations()
    held = obs["prompt_tokens"].values > 1000
    score = obs["score"].values.copy()
    score[~held] = [0.4, 0.6] * 4
    score[held] = [0.45, 0.7, 0.55, 0.39, 0.4001, 0.5, 0.61, 0.58]
    obs["score"] = ("obs_id", score)
    result = run({"interval": Interval()}, obs)
    assert result.scores.loc[("interval", "all tasks"), "coverage"] == 5 / 8
    assert "0.62 (5 of 8)" in str(result)


def test_draws_are_counted_at_several_levels(mixed):
    table = mixed.calibration
    assert table.columns.tolist() == [0.5, 0.8, 0.9, 0.95]
    assert (table.loc["normal"].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    total = ("normal", "all tasks")
    assert table.loc[total, 0.9] == pytest.approx(mixed.scores.loc[total, "coverage"])
    assert table.loc[["interval", "point"]].isna().all(axis=None)
    wider = run({"normal": Gaussian(scale=20)}, levels=[0.99])
    assert wider.calibration.loc[("normal", "all tasks"), 0.99] == 1.0


def test_what_a_form_cannot_be_scored_by_is_blank_and_said(mixed):
    scores = mixed.scores.xs("all tasks", level="task")
    assert scores["crps"].isna().tolist() == [False, True, False]
    assert scores["interval_score"].isna().tolist() == [False, False, True]
    assert scores.loc["point", "crps"] == scores.loc["point", "mae"]
    text = str(mixed)
    assert "'interval' gives intervals without draws, so it has no CRPS" in text
    assert "'point' gives points: its CRPS is the absolute error" in text
    alone = run({"normal": Gaussian()})
    assert not any("CRPS" in note for note in alone.notes)


def test_tables_by_other_labels(mixed):
    by_fold = mixed.score_table("fold").loc["normal"]
    assert by_fold.index.tolist()[::3] == ["beyond 100 prompt tokens", "all"]
    assert by_fold.loc["all", "mae"] == mixed.scores.loc[("normal", "all tasks"), "mae"]
    by_family = mixed.score_table("llm", cluster="family")
    assert by_family["clusters"].unique().tolist() == [1]
    assert by_family["mae_se"].isna().all()
    with pytest.raises(
        bcl.SpecificationError, match=r"by='technique' and cluster='compute' are not.*task"
    ):
        mixed.score_table("technique", cluster="compute")


def test_differences_are_taken_row_by_row():
    """Two forecasters with one error more between them differ by it, without uncertainty."""
    up = {name: Answers(lambda p, d=d: p.assign(median=p["median"] + d)) for name, d in
          (("high", 0.5), ("higher", 0.6))}  # fmt: skip
    result = run(up)
    found = result.differences("high", score="mae").loc["higher"]
    np.testing.assert_allclose(found["difference"], 0.1)
    np.testing.assert_allclose(found["difference_se"], 0.0, atol=1e-12)
    # The standard error of the means themselves is no guide to that of their difference.
    assert (result.scores["mae_se"] > 1e-3).all()
    with pytest.raises(bcl.SpecificationError, match=r"reference='x'.*score='coverage'"):
        result.differences("x", score="coverage")


def test_the_text_says_what_the_intervals_are_and_who_did_best():
    result = run({"off": Gaussian(shift=0.4), "<normal>": Gaussian()}, ci_prob=0.8)
    text, page = str(result), result._repr_html_()
    assert text.startswith("Backtest: intervals are the 80 % equal-tailed interval (response)")
    assert "8 scores of 2 checkpoints were held out in 1 fold by beyond_context(1000)" in text
    assert "'<normal>' has the smallest CRPS" in text
    assert "2 checkpoints; over so few they are rough" in text
    assert "&lt;normal&gt;" in page
    assert "<normal>" not in page


def test_one_checkpoint_has_no_standard_error_and_it_is_said():
    result = run({"normal": Gaussian()}, split=bcl.splits.leave_out("llm", "A-8k"))
    assert result.scores.filter(like="_se").isna().all(axis=None)
    assert "All held-out scores are of one checkpoint" in str(result)
    assert "±" not in str(result)


# --- what goes wrong -----------------------------------------------------------------------------


def test_arguments_that_cannot_be_used_are_all_named():
    with pytest.raises(bcl.SpecificationError) as raised:
        bcl.backtest(
            {"class": Gaussian, "number": 3, 4: Point()},
            observations(),
            "beyond 10k",
            ci_prob=90,
            fit_options={"drws": 5, "random_seed": 1},
            levels=[0.5, 50],
            random_seed=-1,
        )
    for part in (
        "'class' is a class; give an object: Gaussian()",
        "'number' (int) has no method fit and no method predict",
        "the name 4",
        "split='beyond 10k'",
        "ci_prob=90",
        "levels=[0.5, 50]",
        "random_seed=-1",
        "no forecaster's fit has an argument 'drws'",
        "give random_seed as an argument of backtest",
    ):
        assert part in str(raised.value)
    with pytest.raises(bcl.SpecificationError, match="mapping of names to forecasters"):
        run([Gaussian()])


def test_options_that_only_double_star_would_take_are_refused():
    class Takes(Interval):
        def fit(self, obs, **options):
            raise AssertionError("not reached")

    with pytest.raises(bcl.SpecificationError, match="no forecaster's fit has an argument 'draws'"):
        run({"takes": Takes()}, fit_options={"draws": 5})


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1, 2], [2, 3], "1 rows both to fit and to predict"),
        ([0, 1], [16], "rows to predict must lie between 0 and 15"),
        ([0, -1], [3], "rows to fit must lie between 0 and 15"),
        ([0], [1], "1 rows to fit, at least 2"),
        ([0, 1], [], "0 rows to predict, at least 1"),
        ([0, 1], [2, 2], "a row to predict is named twice"),
        ([True, False], [2], "must be positions"),
    ],
)
def test_folds_of_an_own_split_are_checked(train, test, message):
    def own(obs):
        return [("mine", train, test)]

    with pytest.raises(bcl.SpecificationError, match=rf"the folds of own.*'mine': .*{message}"):
        run({"point": Point()}, split=own)


def test_an_own_split_needs_folds_of_different_names():
    def twice(obs):
        return [Fold("a", np.array([0, 1]), np.array([2]))] * 2

    with pytest.raises(bcl.SpecificationError, match="two folds are called 'a'"):
        run({"point": Point()}, split=twice)
    with pytest.raises(bcl.SpecificationError, match="there is no fold"):
        run({"point": Point()}, split=lambda obs: [])


def test_an_own_split_can_be_a_function():
    def odd(obs):
        rows = np.arange(obs.sizes["obs_id"])
        yield "odd rows", rows[::2], rows[1::2]

    result = run({"point": Point()}, split=odd)
    assert "8 scores of 2 checkpoints were held out in 1 fold by odd" in str(result)


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_a_fit_that_fails_names_forecaster_and_fold(backend):
    where = "'bad' in the fold 'beyond 1,000 prompt tokens'"
    with joblib.parallel_config(backend=backend, n_jobs=2):
        with pytest.raises(bcl.ObservationError, match=f"^{where}: too little"):
            run({"good": Point(), "bad": Raises(bcl.ObservationError("too little."))})
        with pytest.raises(ZeroDivisionError) as raised:
            run({"bad": Raises(ZeroDivisionError("zero"))})
    assert raised.value.__notes__ == [f"While working on {where}."]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.to_dataframe(), "predict returned DataFrame"),
        (lambda p: p.isel(obs_id=slice(None, None, -1)), "other rows .* or in another order"),
        (lambda p: p.isel(obs_id=slice(3)), "other rows"),
        (lambda p: p.assign_attrs(ci_prob=0.89), "probability 0.9 and returned some of 0.89"),
        (lambda p: p.drop_vars("median"), "no `median`"),
        (lambda p: p.assign(upper=p["upper"] * np.nan), "`upper` is no finite number in 8 of 8"),
    ],
)
def test_an_answer_that_cannot_be_scored_is_refused(change, message):
    with pytest.raises(bcl.SpecificationError, match=f"^'odd' in the fold .*{message}"):
        run({"odd": Answers(change)})


# --- a real law, and two workers -----------------------------------------------------------------


def test_a_sampled_law_predicts_a_checkpoint_it_never_saw(serial):
    scores = serial.scores.loc[("law", "all tasks")]
    assert scores["points"] == 10
    assert 0 < scores["crps"] < scores["mae"] < 0.1
    assert serial.predictions["pit"].notnull().all()
    # 50 draws are too few, and the result says so.
    assert "R-hat" in serial.fits.loc["law", "failed_checks"].item()
    assert serial.fits.loc["normal", "failed_checks"].isna().all()
    assert "1 of 1 sampled fits do not pass their checks of convergence ('law'" in str(serial)


def test_two_workers_of_a_dask_cluster_find_the_same(serial, tiny):
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        spread = run(**tiny)
    xr.testing.assert_identical(spread.predictions, serial.predictions)
    assert spread.scores.equals(serial.scores)
    assert spread.fits.drop(columns="seconds").equals(serial.fits.drop(columns="seconds"))


def test_processes_of_this_machine_find_the_same():
    class Own(Gaussian):
        """Of no module that a worker could import: it travels by value."""

    forecasters = {"normal": Gaussian(), "point": Point(), "own": Own(scale=2)}
    alone = run(forecasters, split=bcl.splits.leave_out("llm"))
    with joblib.parallel_config(backend="loky", n_jobs=2):
        spread = run(forecasters, split=bcl.splits.leave_out("llm"))
    xr.testing.assert_identical(spread.predictions, alone.predictions)


class TestWithoutPrompts:
    """Training runs have no prompts and no window."""

    @pytest.fixture
    def runs(self):
        ladder = bcl.load_dataset("ladder")
        return ladder.isel(obs_id=np.flatnonzero(ladder["role"].values == "train"))

    def test_a_ladder_forecasts_beyond_a_compute(self, runs):
        ladder = bcl.rivals.TaskLadder("least_squares", resamples=5)
        result = bcl.backtest(
            {"ladder": ladder},
            runs,
            bcl.splits.beyond_compute(2e20),
            random_seed=1,
            progressbar=False,
        )
        assert list(result.predictions["axis"].values) == ["compute"]
        beyond = result.predictions["extrapolation"].values
        expected = np.log10(result.predictions["compute"].values / 2e20)
        assert (beyond[:, 0] >= expected).all()
        assert int(result.scores.loc[("ladder", "all tasks"), "points"]) == len(beyond)

    def test_what_needs_prompts_says_so(self, runs):
        with pytest.raises(ObservationError, match="`prompt_tokens`"):
            bcl.backtest(
                {"law": bcl.ContextLaw()}, runs, bcl.splits.beyond_compute(2e20), progressbar=False
            )
        with pytest.raises(ObservationError, match="goes by prompt_tokens"):
            bcl.backtest(
                {"ladder": bcl.rivals.TaskLadder("least_squares")},
                runs,
                bcl.splits.beyond_context(1000),
                progressbar=False,
            )


def test_the_published_interval_of_a_score_is_hidden_with_it():
    obs = observations()
    known = obs.assign(lower=obs["score"] - 0.01, upper=obs["score"] + 0.01)

    class Mean(Interval):
        def predict(self, at, ci_prob=0.9):
            mean = np.full(at.sizes["obs_id"], self.mean)
            return at.assign(mean=("obs_id", mean), median=("obs_id", mean))

    for result in (run({"point": Mean()}, obs), run({"point": Mean()}, known)):
        assert result.predictions["form"].values.tolist() == ["point"]
        assert np.isnan(result.totals.loc["point", "coverage"])


@pytest.mark.parametrize("label", ["all tasks", "all"])
def test_a_task_may_be_called_as_the_total(label):
    obs = observations()
    first = obs["task"].values == obs["task"].values[0]
    obs = obs.assign(task=("obs_id", np.where(first, label, obs["task"].values).astype(object)))
    result = run({"normal": Gaussian(), "interval": Interval()}, obs)
    held = int((result.predictions["task"] == label).sum())
    total = result.predictions.sizes["obs_id"]
    assert 0 < held < total
    assert result.totals["points"].tolist() == [total, total]
    assert f"{total} scores of" in str(result)
    own = result.scores.loc["normal"].iloc[[0, -1]]["points"].tolist()
    assert own == [held, total]
    inside = result.predictions["covered_at"].sel(forecaster="normal")
    np.testing.assert_allclose(result.calibration.loc["normal"].iloc[-1], inside.mean("obs_id"))
    rows = held_out_scores(result.predictions.sel(forecaster="normal"))
    assert rows["points"].iloc[[0, -1]].tolist() == [held, total]


def test_differences_need_a_score_of_the_reference():
    result = run({"normal": Gaussian(), "interval": Interval()})
    with pytest.raises(bcl.SpecificationError, match=r"'interval' has no crps.*score='mae'"):
        result.differences("interval")
    assert result.differences("interval", "mae")["difference"].notna().all()


@pytest.mark.parametrize("given", [None, [(np.arange(9), np.arange(9, 12))], "fold"])
def test_what_is_no_fold_is_refused_plainly(given):
    with pytest.raises(bcl.SpecificationError, match="does not give folds but"):
        run({"normal": Gaussian()}, split=lambda obs: given)


def test_masks_are_named_for_what_they_are():
    mask = observations()["prompt_tokens"].values < 1000
    with pytest.raises(bcl.SpecificationError, match="must be positions") as caught:
        run({"normal": Gaussian()}, split=lambda obs: [("m", mask, ~mask)])
    assert "both to fit and to predict" not in str(caught.value)


def test_a_predict_that_shows_progress_is_told_not_to():
    class Shows(Gaussian):
        def predict(self, at, ci_prob=0.9, samples=False, *, progressbar):
            assert progressbar is False
            return super().predict(at, ci_prob, 1, samples)

    assert len(run({"shows": Shows()}).scores)
