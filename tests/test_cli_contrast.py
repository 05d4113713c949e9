"""``bayes-ctxlaw contrast``: words, files, exit codes, from a fit on disk."""

import json

import pandas as pd
import pytest
from two_techniques import simulated
from typer.testing import CliRunner

import bayes_ctxlaw as bcl
from bayes_ctxlaw.cli import app


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("fits") / "fit.nc"
    law = bcl.ContextLaw()
    law.fit(simulated(2), draws=25, tune=50, chains=2, thin=1, random_seed=1, progressbar=False)
    law.save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["contrast", *map(str, arguments)])


def test_it_says_what_python_says(saved):
    found = bcl.contrast(bcl.ContextLaw.load(saved), "technique", "X", "Y", rope=0.02)
    result = run(saved, "technique", "X", "Y", "--rope", "0.02")
    assert result.exit_code == 0
    assert found.sentence in result.stdout
    assert found.held_equal in result.stdout


def test_json_is_json(saved):
    result = run(saved, "technique", "X", "Y", "--json")
    found = json.loads(result.stdout)
    assert found["label_a"] == "X"
    assert 0 <= found["prob_greater"] <= 1
    assert found["ci_kind"] == "equal-tailed"
    assert found["confounded_with"] == found["unseen"] == []
    past = found["rows_past_window_a"]
    assert 0 < past < found["rows"]
    assert f"past the window in {past} of {found['rows']} rows" in found["sentence"]
    assert f"the difference is {found['inside_windows']['mean']:+.3f}" in found["sentence"]


def test_differences_go_to_a_table(saved, tmp_path):
    out = tmp_path / "differences.csv"
    result = run(saved, "technique", "X", "Y", "--out", out, "--kind", "llm")
    assert result.exit_code == 0
    table = pd.read_csv(out)
    assert set(table["prediction_kind"]) == {"llm"}
    assert {"mean", "lower", "upper", "prob_greater", "prompt_tokens"} <= set(table)
    # Its columns are called a and b: which is which is nowhere else.
    assert set(table["label_a"]) == {"X"}
    assert set(table["label_b"]) == {"Y"}
    assert set(table["level"]) == {"technique"}
    assert run(saved, "technique", "X", "Y", "--out", out).exit_code == 1


def test_a_grid_and_a_table_are_places_to_compare(saved, tmp_path):
    points = pd.DataFrame(
        {
            "task": ["task 0"], "llm": ["any"], "family": ["F"], "compute": [8e22],
            "context_window": [8192], "prompt_tokens": [3000],
        }
    )  # fmt: skip
    path = tmp_path / "points.csv"
    points.to_csv(path, index=False)
    pairs = [item for name, (value,) in points.items() for item in ("--set", f"{name}={value}")]
    first = run(saved, "technique", "X", "Y", "--at", path, "--json")
    second = run(saved, "technique", "X", "Y", *pairs, "--json")
    assert first.exit_code == second.exit_code == 0
    assert json.loads(first.stdout)["mean"] == json.loads(second.stdout)["mean"]
    assert run(saved, "technique", "X", "Y", "--at", path, *pairs).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("technique", "X", "Z"), "'Z'"),
        (("size", "X", "Y"), "LEVEL size has no effects"),
        (("technique", "X", "X"), "give two labels"),
        (
            ("technique", "X", "Y", "--rope", "-1", "--ci-prob", "90"),
            "--rope -1 must be a margin of the score between 0 and 1, such as 0.02; --ci-prob 90",
        ),
        (("llm", "A", "B", "--kind", "law"), "compare llms with --kind llm"),
    ],
)
def test_faults_are_messages(saved, arguments, words):
    result = run(saved, *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
