"""Plots: what is on the axes, in the legend and in the panels. How they look is for the eye."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from fake_forecasters import Gaussian, Interval, Point
from fake_law import design_of, fake_idata, fake_prediction, observations
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color
from matplotlib.text import Text

from bayes_ctxlaw.confounding import Confounding
from bayes_ctxlaw.contrasts import Contrast
from bayes_ctxlaw.errors import NotFittedError, SpecificationError
from bayes_ctxlaw.law import window_end
from bayes_ctxlaw.observations import grid
from bayes_ctxlaw.plots import (
    effects_table,
    plot_calibration,
    plot_compute_curve,
    plot_context_curve,
    plot_contrast,
    plot_effective_window,
    plot_effects,
    plot_ranks,
    plot_surface,
)
from bayes_ctxlaw.validation.backtest import backtest
from bayes_ctxlaw.validation.coverage import coverage_table, share_interval
from bayes_ctxlaw.validation.splits import beyond_context
from bayes_ctxlaw.windows import EffectiveWindow


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def obs():
    return observations()


@pytest.fixture
def prediction(obs):
    return fake_prediction(design_of(), obs)


class Fitted:
    """All that the plots ask of a law."""

    def __init__(self, idata):
        self.idata = idata


@pytest.fixture
def law():
    return Fitted(fake_idata())


def legend_texts(axes):
    figure = axes[0].figure
    legends = figure.legends or [ax.get_legend() for ax in axes if ax.get_legend()]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def tick_texts(ax):
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    shown = [t for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
    return [text.get_text() for text in shown if text.get_text()]


def medians(ax):
    """Return the lines of medians, without the windows."""
    return [line for line in ax.lines if line.get_linestyle() in ("-", "--")]


def scattered(axes):
    """Return the groups of observed points."""
    return [c for ax in axes for c in ax.collections if isinstance(c, PathCollection)]


# --- context curve --------------------------------------------------------------------------------


def test_one_panel_a_task_and_one_colour_an_llm(prediction, obs):
    axes = plot_context_curve(prediction, obs)
    assert [ax.get_title() for ax in axes] == ["maths", "qa"]
    for ax in axes:
        assert len({line.get_color() for line in medians(ax)}) == 2
        assert ax.get_xscale() == "log"
        assert ax.get_xlabel() == "prompt tokens"
    assert axes[0].get_ylabel() == "score"
    assert legend_texts(axes)[:2] == ["A-8k", "A-32k"]


def test_tokens_are_labelled_1k_10k_100k(prediction):
    axes = plot_context_curve(prediction)
    assert tick_texts(axes[0]) == ["100", "1k", "10k", "100k"]


def test_the_legend_names_interval_kind_probability_and_prediction(prediction, obs):
    texts = legend_texts(plot_context_curve(prediction, obs))
    assert "90 % equal-tailed, response" in texts
    assert "posterior median" in texts
    assert "context window" in texts
    other = fake_prediction(design_of(), obs, kind="law", ci_prob=0.5)
    assert "50 % equal-tailed, law" in legend_texts(plot_context_curve(other))


def test_median_and_band_are_those_of_the_prediction(obs):
    at = design_of(tasks=("qa",), llms=("A-8k",), prompt_tokens=[100, 1000, 8000])
    prediction = fake_prediction(at, obs)
    (ax,) = plot_context_curve(prediction)
    (line,) = medians(ax)
    np.testing.assert_allclose(line.get_xdata(), [100, 1000, 8000])
    np.testing.assert_allclose(line.get_ydata(), prediction["median"])
    (band,) = ax.collections
    edges = band.get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(float(prediction["lower"].min()))
    assert edges.max() == pytest.approx(float(prediction["upper"].max()))


def test_rows_in_any_order_give_the_same_line(prediction):
    shuffled = prediction.isel(obs_id=np.random.default_rng(1).permutation(len(prediction.obs_id)))
    for ax in plot_context_curve(shuffled):
        for line in medians(ax):
            assert (np.diff(line.get_xdata()) > 0).all()


def test_observations_may_be_a_table(prediction, obs):
    axes = plot_context_curve(prediction, obs.to_dataframe())
    drawn = [ax.collections[-1].get_offsets().shape for ax in np.ravel(axes)]
    again = plot_context_curve(prediction, obs)
    assert drawn == [ax.collections[-1].get_offsets().shape for ax in np.ravel(again)]


def test_held_out_points_are_open_and_the_others_filled(prediction, obs):
    axes = plot_context_curve(prediction, obs)
    counts = {True: 0, False: 0}
    for points in scattered(axes):
        is_open = same_color(points.get_facecolors()[0], "white")
        counts[is_open] += len(points.get_offsets())
    held_out = int(obs["held_out"].sum())
    assert counts == {True: held_out, False: obs.sizes["obs_id"] - held_out}
    assert {"observed, in the fit", "observed, held out"} <= set(legend_texts(axes))


def test_held_out_can_be_a_name_or_an_array(prediction, obs):
    renamed = obs.rename(held_out="late")
    assert "observed, held out" not in legend_texts(plot_context_curve(prediction, renamed))
    for marks in ("late", renamed["late"].values):
        texts = legend_texts(plot_context_curve(prediction, renamed, held_out=marks))
        assert "observed, held out" in texts


def test_lines_are_dashed_beyond_the_data_and_the_legend_says_along_what(prediction, obs):
    axes = plot_context_curve(prediction)
    styles = {line.get_linestyle() for line in medians(axes[0])}
    assert styles == {"-", "--"}
    assert any(t.startswith("beyond the data (prompt tokens") for t in legend_texts(axes))
    dashed = [line for line in medians(axes[0]) if line.get_linestyle() == "--"]
    right = [line for line in dashed if line.get_xdata()[-1] > 10_000]
    assert all(line.get_xdata()[1] > 8000 for line in right)
    inside = fake_prediction(obs.drop_vars("score"), obs)
    assert not any("beyond" in text for text in legend_texts(plot_context_curve(inside)))


def test_windows_are_thin_vertical_lines_that_can_be_left_out(prediction):
    axes = plot_context_curve(prediction)
    windows = [line for line in axes[0].lines if line.get_linestyle() == ":"]
    assert sorted(line.get_xdata()[0] for line in windows) == [8192, 32768]
    without = plot_context_curve(prediction, window=False)
    assert not [line for line in without[0].lines if line.get_linestyle() == ":"]
    assert "context window" not in legend_texts(without)


def test_curves_that_share_a_colour_stay_apart(prediction):
    axes = plot_context_curve(prediction, by="family")
    assert {tuple(np.sort(line.get_xdata())[:1]) for line in medians(axes[0])}
    starts = [line for line in medians(axes[0]) if line.get_xdata()[0] == 50]
    assert len(starts) == 2
    assert len({line.get_color() for line in starts}) == 1


def test_without_by_and_panels_everything_is_in_one_panel(prediction, obs):
    axes = plot_context_curve(prediction, obs, by=None, panels=None)
    assert axes.shape == (1,)
    assert axes[0].get_title() == ""
    assert "A-8k" not in legend_texts(axes)


def test_given_axes_are_drawn_into_and_hold_the_legend(prediction):
    figure, given = plt.subplots(1, 3)
    axes = plot_context_curve(prediction, axes=given)
    assert axes[0] is given[0]
    assert axes[0].figure is figure
    assert len(plt.get_fignums()) == 1
    assert "90 % equal-tailed, response" in legend_texts(axes)
    with pytest.raises(SpecificationError, match="1 Axes were given for 2 panels"):
        plot_context_curve(prediction, axes=given[0])


def test_single_points_are_drawn_as_vertical_intervals(obs):
    one = fake_prediction(design_of(tasks=("qa",), llms=("A-8k",), prompt_tokens=1000), obs)
    (ax,) = plot_context_curve(one)
    assert len(ax.collections) == 1
    assert ax.lines[0].get_marker() == "_"
    assert not any("beyond" in text for text in legend_texts([ax]))
    far = fake_prediction(design_of(tasks=("qa",), llms=("A-8k",), prompt_tokens=900_000), obs)
    axes = plot_context_curve(far)
    assert any("beyond the data" in text for text in legend_texts(axes))


def test_nothing_is_said_of_what_the_fit_saw_unless_it_is_known(prediction, obs):
    obs = obs.drop_vars("held_out", errors="ignore")
    assert "observed" in legend_texts(plot_context_curve(prediction, obs))
    some = np.arange(obs.sizes["obs_id"]) < 4
    texts = legend_texts(plot_context_curve(prediction, obs, held_out=some))
    assert {"observed, in the fit", "observed, held out"} <= set(texts)


def test_too_many_colours_are_refused_with_advice(obs):
    llms = [f"m{i}" for i in range(9)]
    at = grid(
        task="qa", llm=llms, compute=8e22, context_window=8192, prompt_tokens=[100, 1000, 9000]
    )
    prediction = fake_prediction(at, obs)
    with pytest.raises(SpecificationError, match=r"9 values.*at most 8.*panels='llm', by=None"):
        plot_context_curve(prediction)
    assert len(plot_context_curve(prediction, by=None, panels="llm")) == 9


def test_too_many_panels_are_refused(obs):
    at = grid(
        task=[f"t{i}" for i in range(30)],
        llm="a",
        compute=8e22,
        context_window=8192,
        prompt_tokens=[1, 2],
    )
    with pytest.raises(SpecificationError, match="30 panels"):
        plot_context_curve(fake_prediction(at, obs))


def test_rows_that_share_their_place_must_be_replicates(prediction, obs):
    twice = xr.concat([prediction, prediction], dim="obs_id")
    axes = plot_context_curve(twice)
    assert sum(len(line.get_xdata()) for line in medians(axes[0])) < 70
    items = np.repeat([100.0, 1000.0], prediction.sizes["obs_id"])
    with pytest.raises(SpecificationError, match="differ in n_items"):
        plot_context_curve(twice.assign(n_items=("obs_id", items)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "colour"}, "by='colour' is not a variable of the prediction"),
        ({"panels": "extrapolation"}, "panels='extrapolation' is not a variable"),
        ({"held_out": "held_out"}, "none were given"),
    ],
)
def test_unusable_options_are_refused(prediction, options, message):
    with pytest.raises(SpecificationError, match=message):
        plot_context_curve(prediction, **options)


def test_unusable_predictions_and_observations_are_refused(prediction, obs):
    with pytest.raises(SpecificationError, match="no median, lower, upper"):
        plot_context_curve(obs)
    with pytest.raises(SpecificationError, match="no rows"):
        plot_context_curve(prediction.isel(obs_id=slice(0)))
    with pytest.raises(SpecificationError, match="is a DataFrame: give the Dataset"):
        plot_context_curve(prediction.to_dataframe())
    with pytest.raises(SpecificationError, match="observations have no score"):
        plot_context_curve(prediction, obs.drop_vars("score"))
    with pytest.raises(SpecificationError, match="true or false for each of the 16"):
        plot_context_curve(prediction, obs, held_out=[True])
    with pytest.raises(SpecificationError, match="no variable 'late'"):
        plot_context_curve(prediction, obs, held_out="late")
    blank = np.where(prediction["task"] == "qa", np.nan, 1.0)
    with pytest.raises(SpecificationError, match="blank in some rows"):
        plot_context_curve(prediction.assign(size=("obs_id", blank)), by="size")


def test_the_prediction_is_not_changed(prediction, obs):
    before = prediction.copy(deep=True)
    plot_context_curve(prediction, obs)
    xr.testing.assert_identical(prediction, before)


def test_text_is_legible_and_figures_fit_a_notebook(prediction, obs, law):
    for axes in (plot_context_curve(prediction, obs), plot_effects(law)):
        figure = axes[0].figure
        figure.canvas.draw()
        assert 7 <= figure.get_figwidth() <= 11
        shown = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
        assert min(text.get_fontsize() for text in shown) >= 8
        box = figure.bbox
        legend = figure.legends[0].get_window_extent()
        assert box.x0 <= legend.x0
        assert legend.x1 <= box.x1


# --- compute curve --------------------------------------------------------------------------------


@pytest.fixture
def by_compute(obs):
    at = grid(
        task=["maths", "qa"],
        llm="new",
        compute=np.geomspace(1e22, 1e25, 20),
        context_window=32768,
        prompt_tokens=[1000, 8000],
    )
    return fake_prediction(at, obs)


def test_compute_is_labelled_in_powers_of_ten(by_compute):
    axes = plot_compute_curve(by_compute)
    assert tick_texts(axes[0]) == ["10²²", "10²³", "10²⁴", "10²⁵"]
    assert axes[0].get_xlabel() == "training compute (FLOP)"
    assert legend_texts(axes)[:2] == ["1,000 tokens", "8,000 tokens"]
    assert "beyond the data (compute)" in legend_texts(axes)


def test_points_belong_to_the_number_they_are_near_to(by_compute, obs):
    axes = plot_compute_curve(by_compute, obs)
    drawn = sum(len(points.get_offsets()) for points in scattered(axes))
    assert drawn == int(np.isin(obs["prompt_tokens"], [1000, 8000]).sum())


def test_checkpoints_of_different_size_are_one_compute_curve(obs):
    rows = [
        {
            "task": "qa",
            "llm": f"m{c:g}",
            "compute": c,
            "context_window": 8192,
            "prompt_tokens": 1000,
        }
        for c in (1e22, 1e23, 1e24)
    ]
    (ax,) = plot_compute_curve(fake_prediction(rows, obs))
    assert max(line.get_xdata()[-1] for line in medians(ax)) == 1e24
    assert min(line.get_xdata()[0] for line in medians(ax)) == 1e22


def test_checkpoints_of_one_compute_are_told_apart_or_refused(obs):
    fixed = {"task": "qa", "context_window": 8192, "prompt_tokens": 1000}
    rows = [
        fixed | {"llm": llm + size, "compute": compute}
        for llm in ("base", "chat") for size, compute in ((" 8B", 1e22), (" 70B", 1e23))
    ]  # fmt: skip
    prediction = fake_prediction(rows, obs)
    with pytest.raises(SpecificationError, match=r"differ in llm.*by='llm'"):
        plot_compute_curve(prediction)
    (ax,) = plot_compute_curve(prediction, by="llm")
    assert len([line for line in ax.lines if line.get_marker() == "_"]) == 4


@pytest.mark.parametrize("ratio", [1.0, 1.2, 2.0, 3.0, 3.9, 5.0, 6.3, 10.0, 50.0, 1e3])
@pytest.mark.parametrize("low", [1e20, 3.3e22, 9.9e24])
def test_any_span_of_compute_can_be_drawn(obs, low, ratio):
    """The text of a tick is asked for when a figure is drawn, not when it is made."""
    at = grid(task="qa", llm="new", compute=np.unique([low, low * ratio]), context_window=8192,
              prompt_tokens=1000)  # fmt: skip
    figure = plot_compute_curve(fake_prediction(at, obs))[0].figure
    figure.canvas.draw()


def test_a_point_belongs_to_the_nearest_number_alone(obs):
    at = grid(task=["maths", "qa"], llm="new", compute=np.geomspace(1e22, 1e25, 20),
              context_window=32768, prompt_tokens=[950, 1000, 1080])  # fmt: skip
    axes = plot_compute_curve(fake_prediction(at, obs), obs)
    drawn = sum(len(points.get_offsets()) for points in scattered(axes))
    assert drawn == int((obs["prompt_tokens"] == 1000).sum())


def test_numbers_that_would_read_alike_have_more_digits(obs):
    at = grid(task="qa", llm="new", compute=[7.80e22, 7.82e22], context_window=8192,
              prompt_tokens=[100, 1000])  # fmt: skip
    axes = plot_context_curve(fake_prediction(at, obs), by=None, panels="compute")
    assert [ax.get_title() for ax in axes] == ["7.8×10²² FLOP", "7.82×10²² FLOP"]


# --- effects --------------------------------------------------------------------------------------


def test_effects_have_a_panel_a_parameter_with_its_scale(law):
    axes = plot_effects(law)
    titles = [ax.get_xlabel() for ax in axes]
    on = ["log A", "log α", "log B", "log β", "the log-odds of ρ", "log D", "log ψ",
          "the log-odds of η / 2", "log(κ − 2)"]  # fmt: skip
    assert titles[:-1] == [f"effect on {name}" for name in on]
    assert titles[-1] == "effect on δ\n(natural log units of the window)"
    assert {"50 % equal-tailed", "90 % equal-tailed"} <= set(legend_texts(axes))


def test_effects_are_sorted_around_a_zero_line(law):
    (ax,) = plot_effects(law, "B", ci_prob=0.8)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["maths", "qa", "translation"]
    verticals = [line for line in ax.lines if list(line.get_xdata()) == [0.0, 0.0]]
    assert len(verticals) == 1
    assert "80 % equal-tailed" in legend_texts([ax])


def test_effects_table_holds_the_quantiles_of_the_draws(law):
    table = effects_table(law, "A", ci_prob=0.9)
    draws = law.idata["posterior"]["A_task"].sel(task="qa").values.ravel()
    row = table.loc[("A", "qa")]
    np.testing.assert_allclose(
        row[["lower", "inner_lower", "median", "inner_upper", "upper"]].to_numpy(dtype=float),
        np.quantile(draws, [0.05, 0.25, 0.5, 0.75, 0.95]),
    )
    assert row["p_positive"] == pytest.approx((draws > 0).mean())


def test_values_are_the_population_times_the_effect(law):
    posterior = law.idata["posterior"].to_dataset()
    table = effects_table(law, level="task", show="value")
    draws = np.exp(posterior["mu_A"] + posterior["A_task"].sel(task="qa"))
    assert table.loc[("A", "qa"), "median"] == pytest.approx(float(draws.median()))
    shift = posterior["mu_delta"] + posterior["delta_task"].sel(task="qa")
    delta = float(window_end(shift.median().values))
    assert table.loc[("delta", "qa"), "median"] == pytest.approx(delta, rel=1e-3)
    axes = plot_effects(law, show="value")
    assert axes[0].get_xlabel() == "A (log axis)"
    assert axes[0].get_xscale() == "log"
    assert axes[9].get_xscale() == "linear"


def test_interactions_are_named_as_in_the_groups(law):
    (ax,) = plot_effects(law, level="task:technique")
    assert {t.get_text() for t in ax.get_yticklabels()} == {"qa | YaRN", "qa | PI"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "family"}, "has effects of task, task_technique"),
        ({"parameter": "gamma"}, "'gamma' is not one of 'A', 'alpha'"),
        ({"parameter": "B", "level": "task:technique"}, "it has effects of it on A"),
        ({"ci_prob": 90}, "between 0 and 1"),
        ({"show": "both"}, "'effect', 'value'"),
    ],
)
def test_effects_that_are_not_there_are_refused(law, options, message):
    with pytest.raises(SpecificationError, match=message):
        plot_effects(law, **options)


def test_too_many_labels_are_refused_and_the_table_has_them_all():
    law = Fitted(fake_idata(tuple(f"t{i}" for i in range(61)), draws=5))
    with pytest.raises(SpecificationError, match="61 labels"):
        plot_effects(law)
    assert len(effects_table(law, "A")) == 61


def test_an_unfitted_law_has_no_effects():
    with pytest.raises(NotFittedError):
        plot_effects(Fitted(None))


# --- calibration ----------------------------------------------------------------------------------


@pytest.fixture
def result(obs):
    forecasters = {"normal": Gaussian(), "interval": Interval(), "point": Point()}
    return backtest(forecasters, obs, beyond_context(1000), random_seed=1, progressbar=False)


def test_coverage_is_that_of_the_backtest_at_every_probability(result):
    table = coverage_table(result)
    assert table.index.get_level_values("forecaster").unique().tolist() == ["normal", "interval"]
    normal = table.loc["normal"]
    assert normal.index.tolist() == [0.5, 0.8, 0.9, 0.95]
    expected = result.calibration.loc[("normal", "all tasks")]
    np.testing.assert_allclose(normal["coverage"], expected)
    # Without draws there is the interval of the backtest alone.
    assert table.loc["interval"].index.tolist() == [0.9]
    share = result.scores.loc[("interval", "all tasks"), "coverage"]
    assert table.loc[("interval", 0.9), "coverage"] == share
    assert (table["lower"] <= table["coverage"]).all()
    assert (table["coverage"] <= table["upper"]).all()
    assert (table["effective"] >= 2).all()


def test_dependence_within_a_checkpoint_makes_a_share_less_sure(result):
    """Of 40 checkpoints with 10 rows each, all rows of a checkpoint are inside, or none."""
    rng = np.random.default_rng(1)
    of_llm = rng.random(40) < 0.7
    llm = np.repeat([f"m{i}" for i in range(40)], 10).astype(object)
    alike, apart = np.repeat(of_llm, 10), rng.permutation(np.repeat(of_llm, 10))
    predictions = xr.Dataset(
        {
            "covered": (("forecaster", "obs_id"), np.array([alike, apart], dtype=float)),
            "covered_at": (("forecaster", "obs_id", "level"), np.zeros((2, 400, 0))),
            "llm": ("obs_id", llm),
        },
        coords={"forecaster": ["alike", "apart"], "level": np.zeros(0), "fold": ("obs_id", llm)},
        attrs={"ci_prob": 0.9},
    )
    table = coverage_table(type(result)(predictions, result.fits)).xs(0.9, level="probability")
    assert table.loc["alike", "coverage"] == table.loc["apart", "coverage"]
    assert table.loc["alike", "effective"] == 40
    assert table.loc["apart", "effective"] > 250
    width = table["upper"] - table["lower"]
    assert width["alike"] > 2 * width["apart"]


def test_checkpoints_that_hold_most_rows_leave_a_share_unsure(result):
    """Simulated, clusters of unequal size: the 90 % interval of a share holds what is behind it."""
    rng = np.random.default_rng(3)
    sizes, rho, share = [22, 13, 1, 1, 1], 0.8, 0.5
    llm = np.repeat([f"m{i}" for i in range(5)], sizes).astype(object)
    size, held = 1.0 / rho - 1.0, 0
    for _ in range(200):
        p = rng.beta(share * size, (1.0 - share) * size, 5)
        inside = (rng.random(38) < np.repeat(p, sizes)).astype(float)
        predictions = xr.Dataset(
            {
                "covered": (("forecaster", "obs_id"), inside[None]),
                "covered_at": (("forecaster", "obs_id", "level"), np.zeros((1, 38, 0))),
                "llm": ("obs_id", llm),
            },
            coords={"forecaster": ["one"], "level": np.zeros(0), "fold": ("obs_id", llm)},
            attrs={"ci_prob": 0.9},
        )
        found = coverage_table(type(result)(predictions, result.fits)).iloc[0]
        held += found["lower"] <= share <= found["upper"]
    assert held > 0.9 * 200


def test_the_interval_of_a_share_holds_the_probability_behind_it():
    rng = np.random.default_rng(2)
    for probability in (0.5, 0.9, 0.95):
        shares = rng.binomial(30, probability, size=4000) / 30
        ends = np.array([share_interval(share, 30) for share in shares])
        held = (ends[:, 0] <= probability) & (probability <= ends[:, 1])
        # A whole number of rows allows no exact 90 %.
        assert 0.82 < held.mean() < 0.97


def test_calibration_is_drawn_with_its_uncertainty(result):
    axes = plot_calibration(result)
    table = coverage_table(result)
    assert axes[0].get_xlabel() == "probability of the equal-tailed interval (response)"
    assert axes[1].get_xlabel() == "mean width of the 90 % equal-tailed interval (response)"
    assert tick_texts(axes[0]) == ["0.5", "0.8", "0.9", "0.95"]
    diagonal = axes[0].lines[0]
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist() == [0, 1]
    points = [line for line in axes[0].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points[0].get_ydata(), table.loc["normal", "coverage"])
    np.testing.assert_allclose(points[0].get_xdata(), [0.5, 0.8, 0.9, 0.95], atol=0.02)
    bars = np.array(axes[0].collections[0].get_segments())
    np.testing.assert_allclose(bars[:, :, 1], table.loc["normal", ["lower", "upper"]])
    (of_width,) = [line for line in axes[1].lines if line.get_marker() == "s"]
    assert of_width.get_xdata()[0] == pytest.approx(0.2)
    texts = legend_texts(axes)
    assert texts == [
        "normal",
        "interval",
        "90 % confidence, clustered by llm",
        "stated probability",
    ]


def test_calibration_can_be_drawn_elsewhere_and_without_widths(result):
    _, given = plt.subplots()
    axes = plot_calibration(result, width=False, axes=given, ci_prob=0.5)
    assert axes.shape == (1,)
    assert axes[0] is given
    assert len(plt.get_fignums()) == 1
    assert "50 % confidence, clustered by llm" in legend_texts(axes)
    with pytest.raises(SpecificationError, match="1 Axes were given for 2 panels"):
        plot_calibration(result, axes=given)


def test_what_another_function_returned_is_not_drawn(result):
    with pytest.raises(SpecificationError, match="contrast=Backtest must be a Contrast"):
        plot_contrast(result)
    with pytest.raises(SpecificationError, match="found=Backtest must be an EffectiveWindow"):
        plot_effective_window(result)
    with pytest.raises(SpecificationError, match="calibration=Backtest must be a Calibration"):
        plot_ranks(result)


def test_what_has_no_coverage_is_not_drawn(obs, result):
    split = beyond_context(1000)
    points = backtest({"point": Point()}, obs, split, random_seed=1, progressbar=False)
    with pytest.raises(SpecificationError, match=r"no forecaster .* has intervals"):
        plot_calibration(points)
    many = {f"f{i}": Interval() for i in range(9)}
    with pytest.raises(SpecificationError, match="there are 9 forecasters; at most 8"):
        plot_calibration(backtest(many, obs, split, random_seed=1, progressbar=False))
    with pytest.raises(SpecificationError, match="result=Dataset must be a Backtest"):
        plot_calibration(result.predictions)
    with pytest.raises(SpecificationError, match="ci_prob=90"):
        plot_calibration(result, ci_prob=90)
    with pytest.raises(SpecificationError, match="cluster='colour' is not a label"):
        plot_calibration(result, cluster="colour")


# --- contrasts, windows, surfaces -----------------------------------------------------------------


def fake_contrast(rope=None):
    """Two tasks at three lengths, made by hand."""
    attrs = {"prediction_kind": "law", "ci_prob": 0.9, "ci_kind": "equal-tailed"}
    attrs |= {} if rope is None else {"rope": rope}
    rows = grid(
        task=["qa", "maths"], llm="A", compute=8e22, context_window=8192,
        prompt_tokens=[100, 1000, 10_000],
    ).drop_vars("llm")  # fmt: skip
    values = np.linspace(-0.1, 0.2, 6)
    numbers = {"median": values, "lower": values - 0.05, "upper": values + 0.05}
    numbers |= {"prob_greater": np.linspace(0.1, 0.9, 6)}
    scores = rows.assign({n: ("obs_id", v) for n, v in numbers.items()}).assign_attrs(attrs)
    curve = scores.isel(obs_id=slice(3)).drop_vars(["task", "obs_id"]).rename(obs_id="point")
    empty = xr.Dataset(attrs=attrs)
    return Contrast("technique", "X", "Y", scores, curve, empty, empty, empty, Confounding((), ()))


class TestContrast:
    def test_one_curve_of_the_average(self):
        axes = plot_contrast(fake_contrast())
        ax = axes[0]
        assert ax.get_ylabel() == "score of X\nless that of Y"
        curve = next(line for line in ax.lines if len(line.get_xdata()) == 3)
        np.testing.assert_allclose(curve.get_ydata(), [-0.1, -0.04, 0.02])
        assert "90 % equal-tailed, law" in legend_texts(axes)
        assert "context window" in legend_texts(axes)

    def test_the_margin_is_drawn_and_named(self):
        assert "within 0.02 of each other" in legend_texts(plot_contrast(fake_contrast(0.02)))

    def test_probabilities_stand_above_the_axis(self):
        texts = [t.get_text() for t in plot_contrast(fake_contrast())[0].findobj(Text)]
        assert {"0.10", "0.26", "0.42"} <= set(texts)

    def test_a_panel_for_each_task(self):
        axes = plot_contrast(fake_contrast(), panels="task")
        assert [ax.get_title() for ax in axes] == ["qa", "maths"]

    def test_what_it_cannot_draw(self):
        with pytest.raises(SpecificationError, match="along='tokens'"):
            plot_contrast(fake_contrast(), along="tokens")
        with pytest.raises(SpecificationError, match="no 'llm'"):
            plot_contrast(fake_contrast(), panels="llm")


class TestEffectiveWindow:
    def windows(self, upper=9e3):
        rows = grid(
            task=["qa", "maths"], llm="A", technique="YaRN", compute=8e22, context_window=8192,
            prompt_tokens=100,
        )  # fmt: skip
        numbers = {"effective": [6e3, 7e3], "effective_lower": [4e3, 5e3]}
        numbers |= {"effective_upper": [upper, 9e3]}
        out = rows.assign({name: ("obs_id", values) for name, values in numbers.items()})
        attrs = {"share": 0.8, "ci_prob": 0.9, "ci_kind": "equal-tailed", "prediction_kind": "llm"}
        return EffectiveWindow(out.assign_attrs(attrs))

    def test_a_line_for_each_row_and_the_nominal_window(self):
        axes = plot_effective_window(self.windows())
        ax = axes[0]
        assert [label.get_text() for label in ax.get_yticklabels()] == ["maths", "qa"]
        spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
        assert (5e3, 9e3) in spans
        assert "prompt that keeps 80 % of the score: median" in legend_texts(axes)

    def test_an_end_out_of_sight_is_an_arrow(self):
        ax = plot_effective_window(self.windows(np.inf))[0]
        assert any(line.get_marker() == ">" for line in ax.lines)

    def test_what_it_cannot_draw(self):
        with pytest.raises(SpecificationError, match="by='size'"):
            plot_effective_window(self.windows(), by="size")


class TestSurface:
    def prediction(self, tasks=("qa", "maths")):
        at = grid(
            task=list(tasks), llm="A", compute=[1e22, 1e23, 1e24], context_window=8192,
            prompt_tokens=[100, 1000, 8000],
        )  # fmt: skip
        values = np.linspace(0.1, 0.6, at.sizes["obs_id"])
        out = at.assign(median=("obs_id", values), lower=("obs_id", values - 0.1))
        return out.assign(upper=("obs_id", values + 0.1)).assign_attrs(ci_prob=0.9)

    @pytest.mark.parametrize("value", ["median", "width"])
    def test_a_panel_for_each_task(self, value):
        axes = plot_surface(self.prediction(), value=value)
        assert [ax.get_title() for ax in axes] == ["qa", "maths"]
        assert axes[0].get_xscale() == axes[0].get_yscale() == "log"

    def far(self, beyond):
        out = self.prediction(("qa",))
        return out.assign(extrapolation=(("obs_id", "axis"), np.reshape(beyond, (9, 1))))

    def test_the_edge_runs_through_the_last_points_inside(self):
        """Linear between points it would take up to half a step of extrapolation for data."""
        (ax,) = plot_surface(self.far([0, 0, 0.5] * 3))
        (edge,) = [part for part in ax.collections if part.get_linestyle()[0][1]]
        xs = np.concatenate([path.vertices[:, 0] for path in edge.get_paths()])
        np.testing.assert_allclose(xs, 1000.0, rtol=1e-3)
        assert "dashed: edge of the data" in [text.get_text() for text in ax.texts]

    def test_a_panel_wholly_beyond_the_data_says_so(self):
        (ax,) = plot_surface(self.far(np.full(9, 0.1)))
        assert [text.get_text() for text in ax.texts] == ["all of it beyond the data"]
        (ax,) = plot_surface(self.far(np.zeros(9)))
        assert not ax.texts

    def test_rows_that_are_no_grid_are_refused(self):
        with pytest.raises(SpecificationError, match="every combination"):
            plot_surface(self.prediction().isel(obs_id=slice(8)))
        with pytest.raises(SpecificationError, match="every combination"):
            plot_surface(self.prediction(), panels=None)
        with pytest.raises(SpecificationError, match="value='mean'"):
            plot_surface(self.prediction(), value="mean")
