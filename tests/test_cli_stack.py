"""The command stack: the numbers of the package, its files, what is refused before any fit."""

import json
from pathlib import Path

import pandas as pd
import pytest
from fake_forecasters import Gaussian
from typer.testing import CliRunner

import bayes_ctxlaw as bcl
from bayes_ctxlaw.cli import app
from bayes_ctxlaw.cli._wording import Options

RIVALS = ("--forecaster", "least-squares", "--forecaster", "compute-only", "--resamples", 20)
AT = {"task": "machine translation", "llm": "Llama-2-7B-8k", "compute": 7.8e22,
      "context_window": 8192.0, "prompt_tokens": 4000.0, "n_items": 100.0}  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    pd.DataFrame([AT]).to_csv("points.csv", index=False)


@pytest.fixture
def fits(monkeypatch):
    """Count the fits, and make none."""
    made = []
    monkeypatch.setattr("bayes_ctxlaw.jobs.run", lambda *_, **__: made.append("fits"))
    return made


def run(*arguments):
    return CliRunner().invoke(app, ["stack", *map(str, arguments)])


def plain(text):
    return " ".join(text.replace("│", " ").split())


def test_the_numbers_are_those_of_the_package_on_the_screen_in_json_and_in_files():
    command = ["dataset:montgomery2025", *RIVALS, "--seed", 1, "--at", "points.csv"]
    result = run(*command, "--json", "--out", "o.csv", "--weights", "w.parquet")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    expected = bcl.stack(
        {
            "least-squares": bcl.rivals.LeastSquaresLaw(resamples=20),
            "compute-only": bcl.rivals.ComputeOnlyLaw(resamples=20),
        }
    ).fit(bcl.load_dataset("montgomery2025"), random_seed=1, progressbar=False)
    weights = {row["forecaster"]: row["weight"] for row in found["weights"]}
    assert weights == pytest.approx(expected.weights.to_dict(), abs=1e-12)
    prediction = expected.predict([AT])
    (row,) = found["rows"]
    assert row["upper"] == pytest.approx(prediction["upper"].item(), abs=1e-12)
    assert found["split"] == "longest_in_window(0.25)"
    assert found["random_seed"] == 1
    assert pd.read_csv("o.csv")["median"].item() == pytest.approx(row["median"], abs=1e-12)
    written = pd.read_parquet("w.parquet")
    assert written["weight"].to_dict() == pytest.approx(weights, abs=1e-12)
    assert (written["points"] == 27).all()
    shown = run(*command, "--out", "again.csv")
    assert shown.exit_code == 0, shown.stderr
    assert str(expected) in shown.stdout
    assert "again.csv  1 rows with their 90 % equal-tailed interval (response)" in shown.stdout


def test_weights_alone_need_no_points_and_a_split_may_be_chosen():
    result = run("dataset:montgomery2025", *RIVALS, "--split", "leave-out=llm", "--seed", 1)
    assert result.exit_code == 0, result.stderr
    assert "held out by leave_out('llm')" in result.stdout


def test_scores_without_prompts_are_for_forecasters_that_need_none(monkeypatch):
    frame = bcl.load_dataset("ladder").to_dataframe()
    frame = frame[["task", "llm", "compute", "score", "n_items"]]
    frame.to_csv("runs.csv", index=False)
    frame.head(2).drop(columns="score").to_csv("points.csv", index=False)
    split = ("--split", "beyond-compute=1e20", "--seed", 1)
    needy = run("runs.csv", *RIVALS, *split)
    assert needy.exit_code == 1
    assert "backtest and stack take a table without it" in plain(needy.stderr)
    monkeypatch.setattr("bayes_ctxlaw.rivals.TaskLadder", lambda *_, **__: Gaussian())
    ladders = ("--forecaster", "task-ladder", "--forecaster", "task-ladder-published")
    result = run("runs.csv", *ladders, *split, "--at", "points.csv", "--out", "o.csv")
    assert result.exit_code == 0, result.stderr
    written = pd.read_csv("o.csv")
    assert len(written) == 2
    assert "extrapolation_prompt_tokens" not in written


def test_columns_may_have_other_names_in_scores_and_points():
    frame = bcl.load_dataset("montgomery2025").to_dataframe()
    frame.rename(columns={"llm": "model"}).to_csv("scores.csv", index=False)
    at = frame.drop(columns="score").head(2)
    for name in ("llm", "model"):
        at.rename(columns={"llm": name}).to_csv("at.csv", index=False)
        result = run(
            "scores.csv", "--map", "llm=model", "--forecaster", "compute-only", "--forecaster",
            "least-squares", "--resamples", 2, "--at", "at.csv", "--json", "--seed", 1,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert len(json.loads(result.stdout)["rows"]) == 2


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--forecaster", "compute-only"], 2, "at least two"),
        (["--at", "points.csv"], 2, "say where to write the predictions"),
        (["--out", "o.csv"], 2, "say where to predict"),
        (["--at", "points.csv", "--set", "task=qa", "--json"], 2, "not both"),
        (["--in-window"], 2, "beyond-context and rolling-context"),
        (["--split", "beyond-context=-1"], 1, "--split beyond-context=-1: give positive numbers"),
        (["--split", "leave-out=family"], 1, "--split leave-out=family does not suit"),
        (["--at", "none.csv", "--json"], 1, "'none.csv' does not exist"),
        (["--at", "points.csv", "--json", "--ci-prob", "90"], 1, "--ci-prob 90 must lie between"),
        (["--out", "o.txt", "--at", "points.csv"], 1, "not as 'o.txt'"),
        (["--set", "task=qa", "--json"], 1, "`llm`"),
        (["--at", "points.csv", "--json"], 1, "`family` is missing; the fit has effects of it"),
    ],
)
def test_what_is_wrong_is_said_before_any_fit(fits, options, code, words):
    result = run("dataset:montgomery2025", *options)
    assert result.exit_code == code
    assert words in plain(result.stderr)
    assert not fits


def test_a_new_label_is_refused_before_any_fit_unless_it_may_be_new(fits):
    new = pd.DataFrame([AT | {"task": "chess"}])
    new.to_csv("new.csv", index=False)
    result = run("dataset:montgomery2025", *RIVALS, "--at", "new.csv", "--json")
    assert result.exit_code == 1
    assert "'chess' not in the fit" in result.stderr
    assert "--new-levels uncertainty" in result.stderr
    assert not fits


@pytest.mark.parametrize(
    ("call", "typed"),
    [
        ("beyond_context(10000, in_window=True)", "--split beyond-context=10000 --in-window"),
        ("beyond_context(-1)", "--split beyond-context=-1"),
        ("beyond_compute(inf)", "--split beyond-compute=inf"),
        ("leave_out('task', ['a b', 'c'])", "--split leave-out=task --label 'a b' --label c"),
        ("rolling_context([4000, 16000], in_window=False, horizon='all')",
         "--split rolling-context=4000,16000 --past-window --horizon all"),
        ("rolling_compute([1e+23], horizon='next')", "--split rolling-compute=1e+23"),
        ("beyond_compute", "beyond-compute"),
    ],
)  # fmt: skip
def test_splits_are_named_in_messages_as_they_are_typed(call, typed):
    assert Options().split(call) == typed


def test_the_pages_name_it():
    for page in ("docs/command_line.md", "docs/backtesting.md"):
        text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
        assert "bayes-ctxlaw stack" in text, page
