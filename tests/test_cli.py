"""The command line: words, files, exit codes. The law is a stand-in, so that nothing is sampled."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import typer
from fake_law import FakeLaw, design_of, observations
from typer.testing import CliRunner

from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.cli import app
from bayes_ctxlaw.cli._common import column_names, say_warnings
from bayes_ctxlaw.cli.predict import grid_axes
from bayes_ctxlaw.demo import FILES, QUICK
from bayes_ctxlaw.errors import FileFormatError

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    "demo", "read", "fit", "predict", "contrast", "backtest", "stack", "report", "plan",
    "datasets",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder with a law that needs no sampling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr("bayes_ctxlaw.context_law.ContextLaw", FakeLaw)
    plt.switch_backend("Agg")


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def plain(text):
    """One line, without the frames of the help."""
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "scores.csv"
    frame = observations().to_dataframe().drop(columns=["held_out", "chance"])
    frame.rename(columns={"llm": "model", "prompt_tokens": "n_pmt"}).to_csv(path, index=False)
    return path


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "fit.nc"
    FakeLaw().save(path)
    return path


# --- help -----------------------------------------------------------------------------------------


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.strip() == f"bayes-ctxlaw {__version__}"


def test_help_lists_the_commands_and_where_to_start():
    text = plain(run("--help").stdout)
    assert all(command in text for command in COMMANDS)
    assert "bayes-ctxlaw demo" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: bayes-ctxlaw {command}" in plain(result.stdout)


def test_no_command_is_a_usage_error():
    assert run().exit_code == 2
    assert run("forecast").exit_code == 2


def test_help_needs_neither_a_sampler_nor_a_plotting_library():
    code = (
        "import sys; from typer.testing import CliRunner; from bayes_ctxlaw.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "assert not {'pymc', 'pytensor', 'nutpie', 'matplotlib', 'arviz'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_package_is_a_command():
    ran = subprocess.run(
        [sys.executable, "-m", "bayes_ctxlaw", "--version"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert __version__ in ran.stdout


# --- demo -----------------------------------------------------------------------------------------


def test_demo_names_every_file_and_its_meaning():
    result = run("demo", "--out", "first", "--draws", 10, "--tune", 20, "--chains", 3, "--seed", 5)
    assert result.exit_code == 0, result.stderr
    for name, meaning in FILES.values():
        assert any(
            line.startswith("first") and name in line and meaning in line
            for line in result.stdout.splitlines()
        )
    with_ = FakeLaw.made.fitted_with
    assert (with_["draws"], with_["tune"], with_["chains"], with_["random_seed"]) == (10, 20, 3, 5)
    assert with_["progressbar"] is False  # no terminal
    assert "of 12 held-out scores" in result.stderr


def test_quick_demo_samples_little():
    result = run("demo", "--quick")
    assert result.exit_code == 0, result.stderr
    assert {k: FakeLaw.made.fitted_with[k] for k in QUICK} == QUICK


# --- fit ------------------------------------------------------------------------------------------


def test_fit_maps_columns_and_passes_options(scores):
    result = run(
        "fit", scores, "--map", "llm=model", "--map", "prompt_tokens=n_pmt", "--out", "fit.nc",
        "--penalty", "none", "--context-term", "exponential", "--likelihood", "normal",
        "--draws", 50, "--seed", 3, "--zero-context", "none", "--dilution", "none", "--thin", 2,
        "--target-accept", 0.9, "--discrepancy", "prompt_tokens",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert json.loads(Path("fit.nc").read_text(encoding="utf-8")) == {
        "context_term": "exponential",
        "compute_term": "exponential",
        "penalty": "none",
        "likelihood": "normal",
        "zero_context": "none",
        "dilution": "none",
        "discrepancy": "prompt_tokens",
    }
    assert FakeLaw.made.fitted_with["draws"] == 50
    assert FakeLaw.made.fitted_with["thin"] == 2
    assert FakeLaw.made.fitted_with["target_accept"] == 0.9
    assert FakeLaw.made.fitted_with["random_seed"] == 3
    assert FakeLaw.made.obs.sizes["obs_id"] == 16
    assert "fit.nc" in result.stdout
    assert "largest R-hat" in result.stderr


def test_fit_takes_bundled_tables():
    result = run("fit", "dataset:montgomery2025", "--out", "fit.nc")
    assert result.exit_code == 0, result.stderr
    assert FakeLaw.made.obs.sizes["obs_id"] == 117


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "none.csv", "--out", "f.nc"], 1, "does not exist"),
        (["fit", "scores.csv", "--out", "f.nc"], 1, "`llm`"),
        (["fit", "dataset:montgomery", "--out", "f.nc"], 1, "Did you mean 'montgomery2025'"),
        (["fit", "scores.csv", "--out", "nowhere/f.nc"], 1, "no folder nowhere"),
        (["fit", "scores.csv", "--out", "f.nc", "--map", "model=llm"], 1, "round, --map llm=model"),
        (["fit", "scores.csv", "--out", "."], 1, "is a folder"),
        (["fit", "scores.csv", "--out", "f.nc", "--map", "llm"], 2, "not NAME=COLUMN"),
        (["fit", "scores.csv", "--out", "f.nc", "--penalty", "x"], 2, "log_logistic"),
        (["fit", "scores.csv", "--out", "f.nc", "--draws", 0], 2, "draws"),
        (["fit", "scores.csv", "--out", "f.nc", "--target-accept", 2], 2, "2 does not lie between"),
        (["fit", "dataset:helmet_icl", "--out", "f.nc", "--map", "llm=m"], 2, "no mapping"),
        (["fit", "scores.csv"], 2, "--out"),
    ],
)
def test_fit_refuses_what_it_cannot_use(scores, arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in plain(result.stderr)
    assert "Traceback" not in result.stderr
    assert not result.stdout


def test_an_existing_file_is_replaced_only_by_force(scores, saved):
    before = saved.read_text(encoding="utf-8")
    arguments = ("fit", "dataset:montgomery2025", "--out", saved)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert saved.read_text(encoding="utf-8") == before
    assert run(*arguments, "--force").exit_code == 0
    assert saved.read_text(encoding="utf-8") != before


def test_fit_as_json(scores):
    result = run("fit", "dataset:montgomery2025", "--out", "fit.nc", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["fit"], found["observations"], found["chains"]) == ("fit.nc", 117, 4)
    assert found["passed"] is True
    assert found["interrupted"] is False
    assert found["checks"][0]["check"] == "largest R-hat"


# --- what stops a command -------------------------------------------------------------------------


def test_debug_shows_the_traceback_of_an_error():
    result = run("--debug", "fit", "none.csv", "--out", "f.nc")
    assert isinstance(result.exception, FileFormatError)
    assert not isinstance(run("fit", "none.csv", "--out", "f.nc").exception, FileFormatError)


def program(error, *arguments):
    """The program as from a shell, where loading a bundled table raises an error."""
    code = (
        "import sys, bayes_ctxlaw.cli.datasets as broken\n"
        "from bayes_ctxlaw.cli import main\n"
        "def load_dataset(name):\n"
        f"    error = {error}\n"
        "    error.add_note('While working on the first fold.')\n"
        "    raise error\n"
        "broken.load_dataset = load_dataset\n"
        f"sys.argv = {['bayes-ctxlaw', *arguments]}\n"
        "main()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        ("ZeroDivisionError('division\\nby zero')", "ZeroDivisionError: division by zero"),
        ("AssertionError()", "AssertionError"),
        ("KeyError('x' * 9999)", "KeyError"),
        ("TimeoutError('no answer')", "TimeoutError: no answer"),  # an OSError without a number
        ("EOFError('no more')", "EOFError: no more"),  # which typer would take for an abort
    ],
)
def test_a_defect_is_a_message_with_its_own_exit_code(error, named):
    result = program(error, "datasets", "montgomery2025")
    assert result.returncode == 70
    assert result.stdout == ""
    first, *rest = result.stderr.splitlines()
    assert first.startswith("Defect: ")
    assert named in first
    assert len(result.stderr) < 1000
    assert "Traceback" not in result.stderr
    assert f"a defect of bayes-ctxlaw {__version__}, not of what you gave" in rest[-1]
    assert rest[-1].endswith("run it again as: bayes-ctxlaw --debug …")
    if "EOF" not in error:
        assert rest[0] == "While working on the first fold."


def test_debug_shows_the_traceback_of_a_defect():
    result = program("ZeroDivisionError('by zero')", "--debug", "datasets", "montgomery2025")
    assert result.returncode == 70
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert "in load_dataset" in result.stderr
    assert "Defect" not in result.stderr


@pytest.mark.parametrize("debug", [[], ["--debug"]])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("SystemExit(5)", 5, ""),
        ("KeyboardInterrupt('so far.')", 130, "Interrupted. So far."),
        ("PermissionError(13, 'Permission denied', 'f.csv')", 1, "refuses: f.csv: Permission d"),
        ("MemoryError('2 GB')", 1, "not enough memory (2 GB)"),
        ("BrokenPipeError(32, 'Broken pipe')", 1, ""),
    ],
)
def test_what_is_no_defect_is_not_called_one(error, code, message, debug):
    result = program(error, *debug, "datasets", "montgomery2025")
    assert result.returncode == code
    assert "Defect" not in result.stderr
    if not debug:
        assert message in result.stderr
        assert bool(message) == bool(result.stderr)


def test_a_defect_goes_through_the_application_as_it_is(monkeypatch):
    def fit(self, obs, **settings):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(FakeLaw, "fit", fit)
    result = run("fit", "dataset:montgomery2025", "--out", "f.nc")
    assert isinstance(result.exception, ZeroDivisionError)
    assert not Path("f.nc").exists()


def test_wrong_options_have_their_own_exit_code():
    result = run("fit", "dataset:helmet_icl", "--out", "f.nc", "--map", "llm=m")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupted_fit_is_saved_if_there_is_one(monkeypatch, kept):
    whole = FakeLaw.fit

    def fit(self, obs, **settings):
        if kept:
            whole(self, obs, **settings)
        raise KeyboardInterrupt("sampling was interrupted: so many draws are kept.")

    monkeypatch.setattr(FakeLaw, "fit", fit)
    result = run("fit", "dataset:montgomery2025", "--out", "f.nc")
    assert result.exit_code == 130
    assert "Interrupted. Sampling was interrupted: so many draws" in result.stderr
    assert Path("f.nc").exists() == kept
    assert ("f.nc" in result.stdout) == kept


def test_exit_codes_are_in_the_help_and_on_the_page():
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    assert all(f"| {code} |" in page for code in (0, 1, 2, 70, 130))
    text = plain(run("--help").stdout)
    for words in (
        "0: done",
        "1: it could not be done",
        "2: an option cannot be read",
        "70: a defect",
        "130: interrupted",
    ):
        assert words in text


# --- predict --------------------------------------------------------------------------------------


def test_predict_at_a_table(saved):
    design_of().to_dataframe().rename(columns={"llm": "model"}).to_csv("at.csv")
    result = run(
        "predict", saved, "--at", "at.csv", "--map", "llm=model", "--out", "p.csv",
        "--kind", "llm", "--ci-prob", 0.5, "--new-levels", "uncertainty", "--seed", 4,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv("p.csv")
    assert len(table) == 120
    assert {"median", "lower", "upper", "extrapolation_compute"} <= set(table)
    assert set(table["prediction_kind"]) == {"llm"}
    assert FakeLaw.made.predicted_with == {"new_levels": "uncertainty", "random_seed": 4}
    assert "120 rows with their 50 % equal-tailed interval (llm)" in result.stdout
    assert "rows lie beyond the data: prompt tokens by up to 1.1 decades" in result.stderr


def test_predict_at_a_grid(saved):
    result = run(
        "predict", saved, "--out", "p.parquet", "--set", "task=maths", "--set", "task=q, a: b",
        "--set", "llm=A-8k", "--set", "compute=1e22,8e22", "--set", "context_window=8192",
        "--set", "prompt_tokens=50:5000:3",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    table = pd.read_parquet("p.parquet")
    assert len(table) == 12
    assert set(table["task"]) == {"maths", "q, a: b"}
    np.testing.assert_allclose(sorted(set(table["prompt_tokens"])), [50, 500, 5000])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "either a table (--at) or a grid (--set)"),
        (["--set", "task"], 2, "is not NAME=VALUE"),
        (["--at", "at.csv", "--set", "task=qa"], 2, "either a table"),
        (["--set", "task=qa", "--map", "llm=model"], 2, "goes with a table"),
        (["--set", "task=qa"], 1, "`llm`"),
        (["--set", "prompt_tokens=1:2"], 2, "START:STOP:COUNT"),
        (["--at", "at.csv"], 1, "does not exist"),
        (["--set", "task=qa", "--kind", "all"], 2, "response"),
    ],
)
def test_predict_refuses_what_it_cannot_use(saved, arguments, code, message):
    result = run("predict", saved, "--out", "p.csv", *arguments)
    assert result.exit_code == code
    assert message in plain(result.stderr)


def test_advice_is_given_in_options(scores):
    missing = run("fit", scores, "--out", "f.nc")
    assert "Perhaps --map llm=model?" in missing.stderr
    assert "='" not in missing.stderr
    assert "needs_context" not in missing.stderr


def test_predict_refuses_unknown_kinds_of_table_and_existing_ones(saved):
    complete = ["--set", "task=qa", "--set", "llm=a", "--set", "compute=1e22"]
    complete += ["--set", "context_window=8192", "--set", "prompt_tokens=50"]
    assert "not as 'p.txt'" in run("predict", saved, "--out", "p.txt", *complete).stderr
    assert run("predict", saved, "--out", "p.csv", *complete).exit_code == 0
    assert run("predict", saved, "--out", "p.csv", *complete).exit_code == 1
    assert run("predict", saved, "--out", "p.csv", "--force", *complete).exit_code == 0


def test_grid_specifications():
    axes = grid_axes(
        ["llm=a:b=c", "prompt_tokens=100,200", "prompt_tokens=1:100:3", "compute=1e22"]
    )
    assert axes["llm"] == "a:b=c"
    np.testing.assert_allclose(axes["prompt_tokens"], [100, 200, 1, 10, 100])
    assert axes["compute"] == 1e22


@pytest.mark.parametrize(
    "spec",
    ["task", "=qa", "compute=", "compute=big", "compute=1:2:x", "compute=0:2:3", "compute=1:2:1",
     "compute=1:2:3:4", "compute=1:inf:3"],
)  # fmt: skip
def test_unreadable_grid_specifications(spec):
    with pytest.raises(typer.BadParameter):
        grid_axes([spec])


def test_a_name_is_mapped_once():
    assert column_names(["llm=a=b"]) == {"llm": "a=b"}
    with pytest.raises(typer.BadParameter, match="given twice"):
        column_names(["llm=a", "llm=b"])


def test_predictions_as_json_need_no_file(saved):
    complete = ["--set", "task=qa", "--set", "llm=a", "--set", "compute=1e22"]
    complete += ["--set", "context_window=8192", "--set", "prompt_tokens=50,100"]
    result = run("predict", saved, *complete, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["intervals"] == "90 % equal-tailed interval (response)"
    assert [row["prompt_tokens"] for row in found["rows"]] == [50, 100]
    assert all(row["lower"] < row["median"] < row["upper"] for row in found["rows"])
    assert run("predict", saved, *complete).exit_code == 2


# --- report ---------------------------------------------------------------------------------------


def test_report_of_a_saved_fit(saved, scores):
    names = ["--map", "llm=model", "--map", "prompt_tokens=n_pmt"]
    own = run("report", saved, "--out", "r.html", "--held-out", scores, *names)
    assert own.exit_code == 1
    assert "16 of 16 row(s) of held_out are in the fit as well" in plain(own.stderr)
    new = pd.read_csv(scores).assign(score=lambda frame: 0.999 * frame["score"])
    scores = "new.csv"
    new.to_csv(scores, index=False)
    result = run("report", saved, "--out", "r.html", "--title", "Own", "--held-out", scores, *names)
    assert result.exit_code == 0, result.stderr
    page = Path("r.html").read_text(encoding="utf-8")
    assert "<h1>Own</h1>" in page
    assert "16 of 16 held-out scores" in page
    assert "r.html  the report" in result.stdout
    assert run("report", saved, "--out", "r.html").exit_code == 1
    pd.read_csv(scores).head(1).to_csv("one.csv", index=False)
    assert run("report", saved, "--out", "r1.html", "--held-out", "one.csv", *names).exit_code == 0
    pd.read_csv(scores).drop(columns="score").to_csv("blind.csv", index=False)
    blind = run("report", saved, "--out", "r2.html", "--held-out", "blind.csv", *names)
    assert blind.exit_code == 1
    assert "--held-out blind.csv: 16 of 16 rows have no `score`" in plain(blind.stderr)
    assert run("report", saved, "--out", "r2.html", *names).exit_code == 2


# --- datasets -------------------------------------------------------------------------------------


def test_datasets_are_listed_described_and_written():
    listed = run("datasets")
    assert listed.exit_code == 0
    assert "montgomery2025" in listed.stdout
    assert "helmet_icl" in listed.stdout
    assert "source: arXiv:2510.14919" in run("datasets", "montgomery2025").stdout
    result = run("datasets", "helmet_icl", "--out", "h.csv")
    assert result.exit_code == 0
    assert len(pd.read_csv("h.csv")) == 160
    assert run("datasets", "helmet_icl", "--out", "h.csv").exit_code == 1


def test_datasets_as_json():
    listed = json.loads(run("datasets", "--json").stdout)
    assert {"name", "rows", "source"} <= set(listed[0])
    one = json.loads(run("datasets", "montgomery2025", "--json").stdout)
    assert one["name"] == "montgomery2025"
    assert one in listed


def test_datasets_refuses_unknown_names_and_a_file_without_a_name():
    unknown = run("datasets", "helmet")
    assert unknown.exit_code == 1
    assert "There is no bundled data set 'helmet'" in unknown.stderr
    assert "give its file to fit or backtest" in unknown.stderr
    assert run("datasets", "--out", "h.csv").exit_code == 2


def test_warnings_are_told_without_a_line_of_code(monkeypatch, capsys):
    others = []
    monkeypatch.setattr(warnings, "showwarning", lambda *given: others.append(given))
    say_warnings()
    warnings.showwarning(UserWarning("`chance` differs."), UserWarning, "x.py", 3)
    other = DeprecationWarning("old."), DeprecationWarning, "x.py", 3
    warnings.showwarning(*other)
    assert capsys.readouterr().err == "Warning: `chance` differs.\n"
    assert others == [other]
