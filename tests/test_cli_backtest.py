"""``bayes-ctxlaw backtest``: words, files, exit codes, and the numbers of ``bcl.backtest``."""

import inspect
import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from fake_law import FakeLaw, observations
from typer.testing import CliRunner

import bayes_ctxlaw as bcl
from bayes_ctxlaw.cli import app
from bayes_ctxlaw.cli._forecasters import Forecaster, RivalOptions, forecasters
from bayes_ctxlaw.cli._splits import SPLITS, Horizon, split_of
from bayes_ctxlaw.errors import SpecificationError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder with a law that needs no sampling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("bayes_ctxlaw.context_law.ContextLaw", FakeLaw)


def run(*arguments):
    return CliRunner().invoke(app, ["backtest", *(str(a) for a in arguments)])


def plain(text):
    """One line, without the frames of the help."""
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "scores.csv"
    frame = observations().to_dataframe().drop(columns=["held_out", "chance"])
    frame.rename(columns={"llm": "model"}).to_csv(path, index=False)
    return path


RIVAL = ("dataset:montgomery2025", "--forecaster", "compute-only", "--seed", 1)


def test_the_numbers_are_those_of_the_package():
    result = run(*RIVAL, "--split", "beyond-context=10000", "--in-window", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    expected = bcl.backtest(
        {"compute-only": bcl.rivals.ComputeOnlyLaw()},
        bcl.load_dataset("montgomery2025"),
        bcl.splits.beyond_context(10_000, in_window=True),
        random_seed=1,
        progressbar=False,
    )
    assert found["sentence"] == expected.sentence()
    assert found["notes"] == expected.notes
    for row in found["scores"]:
        crps = expected.scores.loc[("compute-only", row["task"]), "crps"]
        assert row["crps"] == pytest.approx(crps, abs=1e-12)
    assert found["random_seed"] == 1
    assert found["fits"][0]["train"] == 96


def test_scores_and_predictions_are_written():
    result = run(
        *RIVAL, "--split", "leave-out=task", "--label", "machine translation",
        "--out", "scores.csv", "--predictions", "rows.parquet", "--by", "llm",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "leave_out('task', ['machine translation'])" in result.stdout
    assert "scores.csv  5 rows of scores" in result.stdout
    scores = pd.read_csv("scores.csv")
    assert set(scores["llm"]) >= {"Llama-2-7B-8k", "all"}
    assert set(scores["ci_prob"]) == {0.9}
    assert set(scores["ci_kind"]) == {"equal-tailed"}
    assert set(scores["prediction_kind"]) == {"response"}
    rows = pd.read_parquet("rows.parquet").reset_index()
    assert len(rows) == 39
    assert set(rows["task"]) == {"machine translation"}
    assert set(rows["forecaster"]) == {"compute-only"}
    assert run(*RIVAL, "--split", "leave-out=task", "--out", "scores.csv").exit_code == 1


def test_two_tables_in_one_file_are_refused_before_anything_is_fitted():
    files = "--out", "other.csv", "--predictions", "one.csv", "--calibration", "./one.csv"
    result = run(*RIVAL, "--split", "leave-out=task", *files)
    assert result.exit_code == 1
    assert "one.csv is named for two tables" in result.stderr
    assert not Path("one.csv").exists()


def test_the_law_is_tested_with_its_options_beside_least_squares(scores):
    result = run(
        scores, "--map", "llm=model", "--split", "beyond-window=0.3", "--penalty", "none",
        "--dilution", "none", "--discrepancy", "prompt_tokens", "--draws", 7,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "context-law" in result.stdout
    assert "least-squares" in result.stdout
    assert FakeLaw.made.options["penalty"] == "none"
    assert FakeLaw.made.options["dilution"] == "none"
    assert FakeLaw.made.options["discrepancy"] == "prompt_tokens"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("beyond-context=10000", {}, "beyond_context(10000)"),
        ("beyond-context=1e4", {"in_window": True}, "beyond_context(10000, in_window=True)"),
        ("beyond-context=1e4", {"in_window": False}, "beyond_context(10000, in_window=False)"),
        ("beyond-compute=1e24", {}, "beyond_compute(1e+24)"),
        ("beyond-window", {}, "beyond_window(1)"),
        ("beyond-window=0.5", {}, "beyond_window(0.5)"),
        ("longest-in-window", {}, "longest_in_window(0.25)"),
        ("rolling-context=4000,16000", {}, "rolling_context([4000, 16000], horizon='next')"),
        ("rolling-compute=1e23", {}, "rolling_compute([1e+23], horizon='next')"),
        (
            "rolling-context=4000,16000",
            {"in_window": False, "horizon": Horizon.ALL},
            "rolling_context([4000, 16000], in_window=False, horizon='all')",
        ),
        (
            "rolling-compute=1e23,1e24",
            {"horizon": Horizon.ALL},
            "rolling_compute([1e+23, 1e+24], horizon='all')",
        ),
        ("leave-out=task:family", {}, "leave_out('task:family')"),
        ("leave-out=llm", {"labels": ["a", "b"]}, "leave_out('llm', ['a', 'b'])"),
    ],
)
def test_splits_by_name(text, options, expected):
    assert str(split_of(text, **options)) == expected


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("beyond", {}),
        ("beyond-context", {}),
        ("beyond-context=", {}),
        ("beyond-context=far", {}),
        ("beyond-context=1,2", {}),
        ("leave-out", {}),
        ("beyond-compute=1e24", {"in_window": True}),
        ("beyond-window", {"in_window": False}),
        ("beyond-context=1e4", {"horizon": Horizon.NEXT}),
        ("beyond-compute=1e24", {"labels": ["a"]}),
    ],
)
def test_splits_that_cannot_be_read(text, options):
    with pytest.raises(typer.BadParameter):
        split_of(text, **options)


def test_a_value_out_of_range_is_the_packages_own_error():
    with pytest.raises(SpecificationError):
        split_of("beyond-context=-1")
    result = run(*RIVAL, "--split", "beyond-context=1e9")
    assert result.exit_code == 1
    assert "no row to predict" in plain(result.stderr)
    assert run(*RIVAL, "--split", "anything=1").exit_code == 2
    assert run("dataset:montgomery2025").exit_code == 2


def test_scores_without_prompts_are_for_forecasters_that_need_none(monkeypatch):
    frame = bcl.load_dataset("ladder").to_dataframe()
    frame[["task", "llm", "compute", "score", "n_items"]].to_csv("points.csv", index=False)
    needy = run("points.csv", "--split", "beyond-compute=1e20", "--forecaster", "compute-only")
    assert needy.exit_code == 1
    assert "`prompt_tokens`" in needy.stderr
    seen = []
    monkeypatch.setattr(
        "bayes_ctxlaw.rivals.TaskLadder", lambda *_, **__: seen.append("made") or TaskMean()
    )
    result = run("points.csv", "--split", "beyond-compute=1e20", "--forecaster", "task-ladder")
    assert result.exit_code == 0, result.stderr
    assert seen == ["made"]


def test_past_the_window_and_the_horizon_reach_the_split():
    past = run(*RIVAL, "--split", "beyond-context=10000", "--past-window", "--json")
    assert past.exit_code == 0, past.stderr
    found = json.loads(past.stdout)
    assert "beyond_context(10000, in_window=False)" in found["sentence"]
    assert found["fits"][0]["test"] == 9  # 21 beyond, of which 12 fit their window
    rolling = ("--split", "rolling-context=4000,16000", "--json")
    tests = {}
    for horizon in ("next", "all"):
        result = run(*RIVAL, *rolling, "--horizon", horizon)
        assert result.exit_code == 0, result.stderr
        tests[horizon] = [fit["test"] for fit in json.loads(result.stdout)["fits"]]
    assert tests == {"next": [24, 18], "all": [42, 18]}
    assert run(*RIVAL, *rolling, "--horizon", "last").exit_code == 2
    assert run(*RIVAL, *rolling, "--in-window", "--past-window").exit_code == 2


def test_every_split_and_rival_of_the_package_is_reached():
    functions = {n: getattr(bcl.splits, n) for n in bcl.splits.__all__ if n[0].islower()}
    value = {"leave_out": "=task", "beyond_window": "", "longest_in_window": ""}
    for name in functions:
        said = f"{name.replace('_', '-')}{value.get(name, '=9')}"
        assert str(split_of(said)).startswith(name), said
    arguments = {a for f in functions.values() for a in inspect.signature(f).parameters}
    of_value = {"tokens", "flops", "ratio", "share", "level"}
    assert arguments - of_value == {"labels", "in_window", "horizon"}
    rivals = {getattr(bcl.rivals, n) for n in bcl.rivals.__all__ if n[0].isupper()}
    items = bcl.rivals.simulate_items(n_items=20, random_seed=1)
    items.to_dataframe().reset_index().to_csv("items.csv", index=False)
    made = forecasters(list(Forecaster), {}, RivalOptions(items="items.csv"))
    assert {type(one) for one in made.values()} == rivals | {FakeLaw}


def test_help_names_all_splits_and_forecasters_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = plain(run("--help").stdout)
    for name in (*Forecaster, *(f"{name}{value}" for name, value in SPLITS.items())):
        assert f"{name}," in text or f"{name} " in text, name
    page = Path(__file__).parents[1] / "docs" / "command_line.md"
    text = page.read_text(encoding="utf-8")
    for name in (*Forecaster, *SPLITS, "--past-window", "--horizon all", "--items", "--reference"):
        assert f"`{name}" in text, name


def test_options_reach_the_forecasters():
    made = forecasters(
        [f for f in Forecaster if "difficulty" not in f],
        {"penalty": "none"},
        RivalOptions(variant="compute", tokens_per_param=20.0, resamples=7),
    )
    assert made["context-law"].options == {"penalty": "none"}
    assert made["no-pooling"].options == {"penalty": "none"}
    assert made["complete-pooling"].law.terms.penalty == "none"
    assert made["least-squares-no-penalty"].penalty is False
    assert made["least-squares-centred"].centred is True
    bootstraps = [n for n in made if n.startswith(("least", "compute")) or n.endswith("published")]
    assert len(bootstraps) == 5
    assert {made[name].resamples for name in bootstraps} == {7}
    for name, method in (("task-ladder", "bayes"), ("task-ladder-published", "least_squares")):
        ladder = made[name]
        assert (ladder.method, ladder.variant, ladder.tokens_per_param) == (method, "compute", 20.0)


class TestDifficulty:
    """Clusters of items, beside a forecaster of scores."""

    SPLIT = ("--split", "beyond-compute=2e23", "--seed", 1, "--json")

    @pytest.fixture(autouse=True)
    def _tables(self):
        items = bcl.rivals.simulate_items(n_items=120, random_seed=3)
        frame = items.to_dataframe().reset_index().drop(columns=["pass_rate", "kind"])
        frame.to_csv("items.csv", index=False)
        frame.rename(columns={"item": "problem", "llm": "model"}).to_csv("own.csv", index=False)
        cells = frame.groupby(["task", "llm", "compute"], as_index=False)
        cells = cells[["n_correct", "n_samples"]].sum()
        cells["score"] = cells.pop("n_correct") / cells.pop("n_samples")
        cells.assign(n_items=120).to_csv("scores.csv", index=False)

    @pytest.mark.parametrize("method", ["bayesian", "published"])
    def test_numbers_are_those_of_the_package(self, method):
        name = {"bayesian": "difficulty-clusters"}.get(method, "difficulty-clusters-published")
        draws = ("--resamples", 50) if method == "published" else ()
        result = run(
            "scores.csv", *self.SPLIT, "--forecaster", name, "--items", "own.csv", *draws,
            "--items-map", "item=problem", "--items-map", "llm=model", "--anchor", "sim-7",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        law = bcl.rivals.DifficultyClusters(
            "items.csv", method, "sim-7", 50 if method == "published" else None
        )
        expected = bcl.backtest(
            {name: law}, "scores.csv", bcl.splits.beyond_compute(2e23), random_seed=1,
            progressbar=False,
        )  # fmt: skip
        (row, _) = json.loads(result.stdout)["scores"]
        assert row["points"] == 1
        for measure in ("crps", "mae", "width"):
            value = expected.scores.loc[(name, "simulated task"), measure]
            assert row[measure] == pytest.approx(value, abs=1e-12)

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            (["--forecaster", "difficulty-clusters"], 2, "pass counts"),
            (["--items", "items.csv"], 2, "goes with the forecaster difficulty-clusters"),
            (["--anchor", "sim-7"], 2, "goes with the forecaster difficulty-clusters"),
            (["--ladder-variant", "compute"], 2, "goes with the forecaster task-ladder or"),
            (["--tokens-per-param", "0"], 2, "goes with the forecaster task-ladder or"),
            (["--forecaster", "context-law", "--resamples", "9"], 2, "least-squares or"),
            (["--forecaster", "task-ladder", "--ladder-variant", "direkt"], 2, "there are task"),
            (["--forecaster", "compute-only", "--thin", "2"], 2, "no forecaster here"),
            (["--forecaster", "difficulty-clusters", "--items", "none.csv"], 1, "does not exist"),
            (["--forecaster", "difficulty-clusters", "--items", "own.csv"], 1,
             "name yours as --items-map llm=COLUMN"),
            (["--forecaster", "difficulty-clusters", "--items", "own.csv", "--items-map", "item=p"],
             1, "Write --items-map NAME=COLUMN"),
            (["--forecaster", "difficulty-clusters", "--items", "own.csv", "--items-map", "item"],
             2, "--items-map"),
            (["--forecaster", "difficulty-clusters-published", "--items", "items.csv",
              "--resamples", "9"], 2, "at least 50"),
            (["--forecaster", "difficulty-clusters", "--items", "items.csv", "--anchor", "nobody"],
             1, "no counts of the anchor 'nobody'"),
        ],
    )  # fmt: skip
    def test_options_that_do_not_fit(self, options, code, words):
        result = run("scores.csv", *self.SPLIT, *options)
        assert result.exit_code == code
        assert words in plain(result.stderr)


def test_coverage_clusters_and_differences():
    split = ("--split", "beyond-context=10000", "--in-window", "--resamples", 20)
    options = [*RIVAL, *split, "--forecaster", "least-squares", "--cluster", "technique"]
    options += ["--level", 0.5, "--level", 0.75, "--reference", "least-squares"]
    result = run(*options, "--calibration", "covered.csv", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    expected = bcl.backtest(
        {
            "compute-only": bcl.rivals.ComputeOnlyLaw(resamples=20),
            "least-squares": bcl.rivals.LeastSquaresLaw(resamples=20),
        },
        bcl.load_dataset("montgomery2025"),
        bcl.splits.beyond_context(10_000, in_window=True),
        levels=(0.5, 0.75),
        random_seed=1,
        progressbar=False,
    )
    assert pd.read_csv("covered.csv").columns.tolist() == ["forecaster", "task", "0.5", "0.75"]
    whole = [r for r in found["calibration"] if r["task"] == "all tasks"]
    covered = expected.calibration.xs("all tasks", level="task")[0.75]
    assert [r["0.75"] for r in whole] == pytest.approx(covered.tolist(), abs=1e-12)
    scores = expected.score_table("task", "technique")
    for row in found["scores"]:
        assert row["clusters"] == scores.loc[(row["forecaster"], row["task"]), "clusters"]
    differences = expected.differences("least-squares", cluster="technique")
    for row in found["differences"]:
        value = differences.loc[(row["forecaster"], row["task"]), "difference"]
        assert row["difference"] == pytest.approx(value, abs=1e-12)
    assert {row["forecaster"] for row in found["differences"]} == {"compute-only"}
    shown = run(*options)
    assert "CRPS less that of least-squares (negative: better)" in shown.stdout
    assert run(*RIVAL, *split, "--reference", "compute-only").exit_code == 2


def test_labels_that_are_not_there_are_refused_before_any_fit(monkeypatch):
    monkeypatch.setattr("bayes_ctxlaw.jobs.run", lambda *_, **__: pytest.fail("a fit was made"))
    split = ("--split", "beyond-context=10000")
    result = run(*RIVAL, *split, "--by", "tsk", "--cluster", "compute")
    assert result.exit_code == 1
    said = "--by tsk and --cluster compute are not labels of the observations, which have task, llm"
    assert said in result.stderr


def test_ranges_are_said_in_options():
    options = ("--split", "beyond-context=10000", "--ci-prob", 90, "--level", 5, "--level", 0.5)
    result = run(*RIVAL, *options)
    assert result.exit_code == 1
    assert (
        "--ci-prob 90 must lie between 0 and 1; if it is a percentage, write 0.9;" in result.stderr
    )
    assert "--level 5 --level 0.5 must be different numbers" in result.stderr
    result = run(*RIVAL, "--split", "leave-out=familyy")
    assert "--split leave-out=familyy: the observations have no `familyy`" in result.stderr
    ladder = ("--forecaster", "task-ladder", "--tokens-per-param", 0)
    result = run(*RIVAL, "--split", "beyond-context=10000", *ladder)
    assert result.exit_code == 2
    assert "0 is not above 0" in plain(result.stderr)


def test_a_stack_is_tested_beside_its_members():
    members = ("--forecaster", "least-squares", "--resamples", 20, "--stack", "--json")
    result = run(*RIVAL, *members, "--split", "beyond-context=10000", "--in-window")
    assert result.exit_code == 0, result.stderr
    rows = {row["forecaster"]: row for row in json.loads(result.stdout)["scores"]}
    assert set(rows) == {"compute-only", "least-squares", "stack"}
    assert rows["stack"]["points"] == 12
    result = run(*RIVAL, "--stack", "--split", "beyond-context=10000")
    assert result.exit_code == 2
    assert "at least two forecasters" in plain(result.stderr)


class TaskMean:
    """The mean of each task, without an interval."""

    def fit(self, obs):
        self.means = obs["score"].groupby(obs["task"]).mean()

    def predict(self, at, ci_prob=0.9):
        mean = self.means.sel(task=at["task"]).values
        names = ("mean", "median", "lower", "upper")
        return at.assign({name: ("obs_id", mean) for name in names})
