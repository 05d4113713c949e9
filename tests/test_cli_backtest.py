"""``bayes-ctxlaw backtest``: words, files, exit codes, and the numbers of ``bcl.backtest``."""

import json

import pandas as pd
import pytest
import typer
from fake_law import FakeLaw, observations
from typer.testing import CliRunner

import bayes_ctxlaw as bcl
from bayes_ctxlaw.cli import app
from bayes_ctxlaw.cli.backtest import split_of
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
    assert set(pd.read_csv("scores.csv")["llm"]) >= {"Llama-2-7B-8k", "all"}
    rows = pd.read_parquet("rows.parquet").reset_index()
    assert len(rows) == 39
    assert set(rows["task"]) == {"machine translation"}
    assert set(rows["forecaster"]) == {"compute-only"}
    assert run(*RIVAL, "--split", "leave-out=task", "--out", "scores.csv").exit_code == 1


def test_the_law_is_tested_with_its_options_beside_least_squares(scores):
    result = run(
        scores, "--map", "llm=model", "--split", "beyond-window=0.3", "--penalty", "none",
        "--dilution", "window", "--draws", 7,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "context-law" in result.stdout
    assert "least-squares" in result.stdout
    assert FakeLaw.made.options["penalty"] == "none"
    assert FakeLaw.made.options["dilution"] == "window"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("beyond-context=10000", {}, "beyond_context(10000)"),
        ("beyond-context=1e4", {"in_window": True}, "beyond_context(10000, in_window=True)"),
        ("beyond-compute=1e24", {}, "beyond_compute(1e+24)"),
        ("beyond-window", {}, "beyond_window(1)"),
        ("beyond-window=0.5", {}, "beyond_window(0.5)"),
        ("longest-in-window", {}, "longest_in_window(0.25)"),
        ("rolling-context=4000,16000", {}, "rolling_context([4000, 16000], horizon='next')"),
        ("rolling-compute=1e23", {}, "rolling_compute([1e+23], horizon='next')"),
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
    monkeypatch.setattr("bayes_ctxlaw.rivals.TaskLadder", lambda: seen.append("made") or TaskMean())
    result = run("points.csv", "--split", "beyond-compute=1e20", "--forecaster", "task-ladder")
    assert result.exit_code == 0, result.stderr
    assert seen == ["made"]


class TaskMean:
    """The mean of each task, without an interval."""

    def fit(self, obs):
        self.means = obs["score"].groupby(obs["task"]).mean()

    def predict(self, at, ci_prob=0.9):
        mean = self.means.sel(task=at["task"]).values
        names = ("mean", "median", "lower", "upper")
        return at.assign({name: ("obs_id", mean) for name in names})
