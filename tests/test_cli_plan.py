"""``bayes-ctxlaw plan``: words, files, exit codes. The law is a stand-in with joint draws."""

import json

import pandas as pd
import pytest
from drawn_laws import LinearLaw
from typer.testing import CliRunner

from bayes_ctxlaw.cli import app

SETTING = [
    "--set", "task=maths", "--set", "llm=A-8k", "--set", "compute=1e23",
    "--set", "context_window=100000",
]  # fmt: skip


NEXT = ["next", "fit.nc", "--candidates", "todo.csv", "--at", "interest.csv", "--map", "llm=model"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder with a law that needs no sampling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("bayes_ctxlaw.context_law.ContextLaw", LinearLaw)
    LinearLaw(falls=True).save("fit.nc")
    rows = [
        {"task": "maths", "model": "A-8k", "compute": 1e23, "context_window": 100_000,
         "prompt_tokens": n, "n_items": 100}
        for n in (200, 2000, 40_000)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv("todo.csv", index=False)
    pd.DataFrame(rows[-1:]).assign(prompt_tokens=60_000).to_csv("interest.csv", index=False)
    pd.DataFrame({"task": ["qa"], "llm": ["A"]}).to_csv("bare.csv", index=False)


def run(*arguments):
    return CliRunner().invoke(app, ["plan", *(str(a) for a in arguments)])


def plain(text):
    """One line, without the frames of the help."""
    return " ".join(text.replace("│", " ").split())


def test_help_says_what_can_be_planned():
    text = plain(run("--help").stdout)
    for word in ("context", "compute", "next", "Plan from a saved fit"):
        assert word in text
    assert "plan" in plain(CliRunner().invoke(app, ["--help"]).stdout)


def test_the_context_that_is_needed():
    result = run("context", "fit.nc", "--target", 0.35, *SETTING, "--out", "plan.csv")
    assert result.exit_code == 0, result.stderr
    assert "maths, A-8k: a score of 0.35 is reached with probability 0.9 (llm) at" in result.stdout
    assert "plan.csv  1 rows" in result.stdout
    row = pd.read_csv("plan.csv").iloc[0]
    assert row["state"] == "reachable"
    assert row["searched_from"] == 100
    assert row["lower"] < row["median"] < row["required"]


def test_a_range_and_several_settings():
    result = run(
        "context", "fit.nc", "--target", 0.9, *SETTING, "--set", "task=qa",
        "--set", "prompt_tokens=10:50000:2", "--prob", 0.5, "--kind", "law", "--ci-prob", 0.5,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert "not reachable with probability 0.5 (law) between 10 and 50,000 prompt" in lines[1]
    assert "ceiling is" in lines[1]


def test_the_compute_that_is_needed_as_json():
    at = [*SETTING[:4], *SETTING[6:], "--set", "prompt_tokens=1000"]
    result = run("compute", "fit.nc", "--target", 0.36, *at, "--prob", 0.5, "--json")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    row = plan["rows"][0]
    assert f"{row['required']:.3g} FLOP" in plan["sentence"]
    assert row["prediction_kind"] == "llm"
    assert row["ci_prob"] == 0.9
    never = json.loads(run("compute", "fit.nc", "--target", 0.9, *at, "--json").stdout)["rows"][0]
    assert never["required"] is None
    assert never["upper"] is None
    assert never["state"] == "not reachable"


def test_the_next_evaluation():
    result = run(
        "next", "fit.nc", "--candidates", "todo.csv", "--at", "interest.csv",
        "--map", "llm=model", "--budget", 1e6, "--out", "plan.parquet",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "2 of 3 candidates cost at most 1,000,000 tokens." in result.stdout
    assert "variance less by" in result.stdout
    table = pd.read_parquet("plan.parquet")
    assert table["affordable"].tolist() == [True, True, False]
    assert table["cost"].iloc[-1] == 4_000_000


def test_candidates_with_columns_of_their_own_and_a_grid_of_interest():
    result = run(
        "next", "fit.nc", "--candidates", "todo.csv", *SETTING, "--set", "prompt_tokens=60000",
        "--map", "llm=model",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "There are 3 candidates. Expected to narrow" in result.stdout


def test_a_long_ranking_is_cut_on_the_screen_only():
    frame = pd.read_csv("todo.csv").iloc[[0] * 12]
    frame.assign(prompt_tokens=range(100, 112)).to_csv("todo.csv", index=False)
    arguments = ["next", "fit.nc", "--candidates", "todo.csv", "--at", "interest.csv"]
    result = run(*arguments, "--map", "llm=model")
    assert "The first 10 of 12; --out writes them all." in result.stdout
    plan = json.loads(run(*arguments, "--map", "llm=model", "--json").stdout)
    assert len(plan["rows"]) == 12
    assert plan["sentence"].startswith("There are 12 candidates. Expected to narrow")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["context", "fit.nc", "--target", 0.4], 2, "either a table (--at) or a grid (--set)"),
        (["context", "fit.nc", *SETTING], 2, "--target"),
        (["context", "fit.nc", "--target", 55, *SETTING], 1, "--target 55 must lie"),
        (["context", "fit.nc", "--target", 55, *SETTING, "--prob", 2, "--ci-prob", 95], 1,
         "write 0.55; --prob 2 must lie between 0 and 1; if it is a percentage, write 0.02; "
         "--ci-prob 95 must"),
        ([*NEXT, "--budget", -4, "--ci-prob", 3], 1, "write 0.03; --budget -4 must be a number"),
        ([*NEXT, "--cost", "dollars"], 1, "--cost dollars is not one of their columns"),
        (["context", "fit.nc", "--target", 0.4, "--at", "bare.csv"], 1,
         "--at or --set: 2 faults in bare.csv"),
        (["context", "fit.nc", "--target", 0.01, *SETTING], 1, "not above the present score"),
        (["context", "fit.nc", "--target", 0.4, *SETTING[2:]], 1, "`task`"),
        (["context", "fit.nc", "--target", 0.4, *SETTING, "--set", "llm=B"], 1, "not in the fit"),
        (["context", "fit.nc", "--target", 0.4, *SETTING, "--kind", "all"], 2, "response"),
        (["context", "fit.nc", "--target", 0.4, *SETTING, "--out", "p.txt"], 1, "not as 'p.txt'"),
        (["context", "fit.nc", "--target", 0.4, *SETTING, "--out", "todo.csv"], 1, "--force"),
        (["next", "fit.nc", "--at", "interest.csv"], 2, "--candidates"),
        (["next", "fit.nc", "--candidates", "todo.csv", "--at", "interest.csv"], 1, "`llm`"),
        (
            ["next", "fit.nc", "--candidates", "todo.csv", "--at", "interest.csv", "--map",
             "llm=model", "--budget", 10],
            1, "no candidate is affordable: the cheapest of 3 costs 20,000",
        ),
        (
            ["next", "fit.nc", "--candidates", "todo.csv", "--at", "interest.csv", "--map",
             "llm=models"],
            1, "there is no column 'models'",
        ),
        (
            ["context", "fit.nc", "--target", 0.4, *SETTING, "--map", "llm=model"],
            2, "goes with a table (--at)",
        ),
        (["next", "fit.nc", "--candidates", "none.csv", "--at", "interest.csv"], 1, "not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in plain(result.stderr)
