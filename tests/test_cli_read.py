"""The command ``read``: from a folder of evaluation outputs to a table that ``fit`` takes."""

import doctest
import inspect
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import bayes_ctxlaw as bcl
from bayes_ctxlaw._wording import Wording, wording
from bayes_ctxlaw.cli import app
from bayes_ctxlaw.cli._wording import Options
from bayes_ctxlaw.readers import read_context_scaling, read_lm_eval

EXAMPLES = Path(__file__).parent / "examples"
PAPER, LM_EVAL, INSPECT = (EXAMPLES / n for n in ("context-scaling", "lm-eval", "inspect"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def llms(tmp_path):
    names = ["Simulated-7b", "Yarn-Simulated-7b-8k", "example/tiny-1b", "example/tiny-2b"]
    frame = pd.DataFrame({"llm": names, "compute": 8e22, "context_window": [4096, 8192, 99, 99]})
    frame.to_csv(tmp_path / "llms.csv", index=False)
    return "llms.csv"


def run(*arguments):
    return CliRunner().invoke(app, ["read", *(str(a) for a in arguments)])


def test_help_teaches_by_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "Example: bayes-ctxlaw read" in " ".join(result.stdout.replace("│", " ").split())


def test_a_folder_becomes_a_table_of_observations(llms):
    result = run(PAPER, "--format", "context-scaling", "--llms", llms, "--out", "obs.csv")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("obs.csv  12 observations")
    assert "context-scaling: 12 cells, 3 tasks, 2 checkpoints, 16 files." in result.stderr
    expected = bcl.as_observations(read_context_scaling(PAPER, llms=llms, progressbar=False))
    found = bcl.as_observations("obs.csv")
    for name in ("score", "n_items", "prompt_tokens", "prompt_tokens_sd", "compute"):
        assert found[name].values.tolist() == expected[name].values.tolist()
    assert run(PAPER, "--format", "context-scaling", "--out", "obs.csv").exit_code == 1
    again = ["--out", "obs.csv", "--force", "--llms", llms]
    assert run(PAPER, "--format", "context-scaling", *again).exit_code == 0


def test_tasks_labels_and_chance(llms):
    options = ["--task", "piqa=all", "--task", "deepmind-math=all", "--chance", "all=0.25"]
    result = run(
        PAPER, "--format", "context-scaling", "--llms", llms, "--out", "o.parquet", *options
    )
    assert result.exit_code == 0, result.stderr
    table = pd.read_parquet("o.parquet")
    assert table["task"].tolist() == ["all"] * 4
    assert (table["chance"] == 0.25).all()
    assert (table["n_items"] == 60).all()


def test_what_is_missing_is_an_error_and_can_be_written_to_be_filled_in(llms):
    command = [LM_EVAL, "--format", "lm-eval", "--llms", llms, "--out", "obs.csv"]
    result = run(*command)
    assert result.exit_code == 1
    assert "sums_small has several: acc,none and acc_norm,none." in result.stderr
    command += ["--metric", "acc", "--metric", "exact_match,first", "--task", "word"]
    result = run(*command)
    assert result.exit_code == 1
    assert "characters are not tokens" in result.stderr
    assert not Path("obs.csv").exists()
    result = run(*command, "--incomplete")
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv("obs.csv")
    expected = read_lm_eval(LM_EVAL, metric="exact_match,first", tasks=["word"], progressbar=False)
    assert table["score"].tolist() == expected.table["score"].tolist()
    assert table["prompt_tokens"].isna().all()
    table.assign(prompt_tokens=100 + table["shots"]).to_csv("filled.csv", index=False)
    assert bcl.as_observations("filled.csv").sizes["obs_id"] == 4


def test_what_is_to_be_filled_in_has_its_columns():
    options = ["--metric", "exact_match,first", "--task", "word", "--out", "obs.csv"]
    assert run(LM_EVAL, "--format", "lm-eval", *options, "--incomplete").exit_code == 0
    table = pd.read_csv("obs.csv")
    for name in ("compute", "context_window", "prompt_tokens"):
        assert table[name].isna().all()
        table[name] = 100.0
    table.to_csv("filled.csv", index=False)
    assert bcl.as_observations("filled.csv").sizes["obs_id"] == 4


def test_a_chance_that_is_assumed_is_not_written_as_if_it_were_known(llms):
    options = ["--format", "context-scaling", "--llms", llms, "--out", "obs.csv"]
    assert run(PAPER, *options).exit_code == 0
    assert "chance" not in pd.read_csv("obs.csv")
    assert run(PAPER, *options, "--force", "--chance", "piqa=0").exit_code == 0
    assert (pd.read_csv("obs.csv")["chance"] == 0).all()


def test_tables_that_were_written_can_be_put_together(llms):
    for name in ("piqa", "deepmind-math"):
        options = ["--task", name, "--out", f"parts/{name}.csv", "--llms", llms]
        Path("parts").mkdir(exist_ok=True)
        assert run(PAPER, "--format", "context-scaling", *options).exit_code == 0
    result = run("parts", "--format", "table", "--out", "all.csv")
    assert result.exit_code == 0, result.stderr
    assert "The column obs_id, which numbers the rows of each file, was left out." in result.stderr
    assert sorted(set(pd.read_csv("all.csv")["task"])) == ["deepmind-math", "piqa"]


def test_percent_is_divided_when_told(llms):
    command = [LM_EVAL, "--format", "lm-eval", "--task", "word", "--metric", "exact_match,first"]
    command += ["--out", "o.csv", "--incomplete"]
    assert run(*command).exit_code == 0
    assert run(*command, "--force", "--percent", "exact_match").exit_code == 0
    whole = read_lm_eval(LM_EVAL, metric="exact_match,first", tasks=["word"], progressbar=False)
    expected = (whole.table["score"] / 100).tolist()
    assert pd.read_csv("o.csv")["score"].tolist() == pytest.approx(expected)


def test_a_broken_file_stops_the_reading_unless_told(tmp_path, llms):
    shutil.copytree(PAPER, tmp_path / "outputs")
    broken = next(p for p in (tmp_path / "outputs").rglob("*piqa*") if p.is_file())
    broken.write_text(broken.read_text()[:99])
    command = ["outputs", "--format", "context-scaling", "--llms", llms, "--out", "o.csv"]
    result = run(*command)
    assert result.exit_code == 1
    assert broken.name in result.stderr
    assert "Traceback" not in result.stderr
    result = run(*command, "--skip-broken")
    assert result.exit_code == 0, result.stderr
    assert "1 of 16 files were skipped" in result.stderr
    assert len(pd.read_csv("o.csv")) == 11


def test_inspect_s_logs(llms):
    pd.DataFrame({"llm": ["mockllm/model"], "compute": 1e20, "context_window": 99}).to_csv("m.csv")
    options = ["--metric", "match/accuracy", "--metric", "accuracy", "--shots", "shots"]
    result = run(INSPECT, "--format", "inspect", "--out", "o.csv", "--llms", "m.csv", *options)
    assert result.exit_code == 0, result.stderr
    assert pd.read_csv("o.csv")["shots"].tolist()[1:] == [0, 2, 4]


def test_tables(tmp_path):
    (tmp_path / "t.csv").write_text(
        "task,model,score,prompt_tokens\nqa,Llama-2-7b,0.3,90\nqa,Llama-2-7b,0.4,900\n"
    )
    result = run("t.csv", "--format", "table", "--map", "llm=model", "--out", "o.csv")
    assert result.exit_code == 0, result.stderr
    assert "From the compute registry, as llama-2-7b" in result.stderr
    assert pd.read_csv("o.csv")["compute"].tolist() == [8.4e22] * 2


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "context-scaling", "--metric", "acc"],
        ["--format", "context-scaling", "--map", "llm=model"],
        ["--format", "lm-eval", "--shots", "fewshot"],
        ["--format", "table", "--task", "qa"],
        ["--format", "lm-eval", "--chance", "qa"],
        ["--format", "lm-eval", "--chance", "qa=half"],
        ["--format", "lm-eval", "--task", "qa="],
        ["--format", "lm-eval", "--task", "qa", "--task", "qa=b"],
        ["--format", "helm"],
    ],
)
def test_options_that_do_not_fit_are_usage_errors(options):
    assert run(LM_EVAL, "--out", "o.csv", *options).exit_code == 2


def test_an_output_that_is_no_table_is_refused_before_any_reading():
    result = run(PAPER, "--format", "context-scaling", "--out", "obs.json")
    assert result.exit_code == 1
    assert "obs.json" in result.stderr


class TestAdvice:
    """What to do about a fault is said in options, never in arguments of Python."""

    PYTHON = re.compile(
        r"\b(llms|count_tokens|on_error|repeats|tasks|convert|metric|chance|shots|needs_context)="
        r"|\.table\b|\.skipped|lambda|DataFrame|pandas|df\[|\w+\(\)|training_flops|as a dict|='"
    )

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path, llms):
        files = {
            "window.csv": "llm,window\nexample/tiny-1b,5\n",
            "nameless.csv": "model,compute\nexample/tiny-1b,5\n",
            "surplus.csv": "llm,compute,family\nexample/tiny-1b,5,a\nb,3,a\n",
            "semicolons.csv": "task;model\na;b\n",
            "table.csv": "task,llm,acc,prompt_tokens\nqa,Llama-2,0.3,90\nqa,mine,0.4,900\n",
            "whole.csv": "task,llm,acc,prompt_tokens\nqa,Llama-2-7b,0.3,90\nqa,Llama-2-7b,1,9\n",
            "padded.csv": "task,llm,score,prompt_tokens\nqa ,llama-2-7b,0.3,9\nqa,llama-2-7b,1,9\n",
            "tables.xlsx": "",
        }
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        shutil.copytree(PAPER, tmp_path / "twice" / "a")
        shutil.copytree(PAPER, tmp_path / "twice" / "b")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([LM_EVAL, "lm-eval"], "--metric acc,none"),
            ([LM_EVAL, "lm-eval", "--task", "text"], "--percent"),
            ([LM_EVAL, "lm-eval", "--task", "text"], "Read other tasks or metrics, by --task"),
            ([LM_EVAL, "lm-eval", "--task", "qa"], "Files read: example__tiny-1b/results_"),
            ([LM_EVAL, "lm-eval", "--task", "sums", "--task", "word"], "--metric"),
            ([LM_EVAL, "lm-eval", "--task", "sums", "--task", "sums_small"], "--task names the gr"),
            ([LM_EVAL, "lm-eval", "--task", "sums", "--metric", "acc"], "--llms, a CSV file with"),
            ([LM_EVAL, "lm-eval", "--task", "sums", "--metric", "acc"], "--tokenizer"),
            ([LM_EVAL, "lm-eval", "--task", "sums", "--metric", "acc"], "--incomplete"),
            ([LM_EVAL, "lm-eval", "--task", "sums", "--metric", "acc"], "as --task says: text"),
            ([LM_EVAL, "lm-eval", "--llms", "window.csv", "--metric", "acc", "--task", "sums"],
             "--llms window.csv cannot be used"),
            ([LM_EVAL, "lm-eval", "--llms", "nameless.csv", "--metric", "acc", "--task", "sums"],
             "nameless.csv, has no column `llm`"),
            ([LM_EVAL, "lm-eval", "--llms", "surplus.csv", "--metric", "acc", "--task", "sums"],
             "--llms names what no file holds: b."),
            ([LM_EVAL, "lm-eval", "--llms", "surplus.csv", "--metric", "acc", "--task", "sums"],
             "in the table of --llms, or for none"),
            ([LM_EVAL, "lm-eval", "--llms", "none.csv", "--metric", "acc", "--task", "sums"],
             "'none.csv' does not exist. Give a CSV"),
            ([LM_EVAL, "lm-eval", "--llms", "tables.xlsx", "--metric", "acc", "--task", "sums"],
             "Convert any other file"),
            ([PAPER, "context-scaling", "--chance", "qa=0.3"], "--chance names 'qa'"),
            (["twice", "context-scaling"], "--repeats keep"),
            (["twice", "context-scaling", "--repeats", "latest"], "--repeats latest needs the ti"),
            ([INSPECT, "inspect", "--shots", "k"], "--shots k, but no task"),
            ([INSPECT, "inspect", "--metric", "accuracy"], "match/accuracy"),
            (["semicolons.csv", "table"], "Write it with commas"),
            (["table.csv", "table", "--map", "llm=modle"], "Write --map NAME=COLUMN"),
            (["table.csv", "table"], "give `compute`, or `n_params` and `train_tokens`"),
            (["whole.csv", "table"], "Perhaps --map score=acc?"),
            (["padded.csv", "table"], "strip the column."),
        ],
    )  # fmt: skip
    def test_of_every_message(self, arguments, words):
        folder, form, *options = arguments
        result = run(folder, "--format", form, "--out", "obs.csv", *options)
        assert result.exit_code == 1
        assert words in result.stderr
        self.check(result.stderr)

    def check(self, said):
        """No argument of Python, but for what looks like one in the names of files."""
        assert not self.PYTHON.search(re.sub(r"\S+\.json", "", said)), said

    def test_of_broken_files(self, tmp_path, llms):
        shutil.copytree(PAPER, tmp_path / "broken")
        next(p for p in (tmp_path / "broken").rglob("*piqa*.json")).write_text("{")
        command = ["broken", "--format", "context-scaling", "--llms", llms, "--out", "o.csv"]
        assert "or read the rest with --skip-broken." in run(*command).stderr
        skipped = run(*command, "--skip-broken").stderr
        assert "were skipped, as --skip-broken says" in skipped
        assert "broken files were skipped: they are named above." in skipped
        self.check(skipped)

    def test_all_of_it_has_other_words_on_the_command_line(self):
        parts = {name for name in vars(Wording) if not name.startswith("_")}
        assert parts <= set(vars(Options))

    def test_what_may_stay_unknown_is_said_where_nothing_else_is(self):
        options = ["--task", "word", "--metric", "exact_match,first", "--out", "obs.csv"]
        refused = run(LM_EVAL, "--format", "lm-eval", *options)
        assert refused.exit_code == 1
        assert refused.stderr.count("compute of example/tiny-1b") == 1
        written = run(LM_EVAL, "--format", "lm-eval", *options, "--incomplete")
        assert "--chance word=VALUE" in written.stderr
        self.check(written.stderr)

    def test_the_metrics_that_are_advised_do_for_all_tasks(self):
        command = [LM_EVAL, "--format", "lm-eval", "--out", "obs.csv"]
        command += ["--task", "sums", "--task", "word"]
        refused = run(*command, "--metric", "acc")
        assert "word has no 'acc'" in refused.stderr
        advised = re.search(r"as ((?:--metric \S+ ?)+)\.", refused.stderr).group(1)
        assert run(*command, "--incomplete", *advised.split()).exit_code == 0

    def test_options_that_are_advised_exist(self):
        source = inspect.getsource(inspect.getmodule(Options))
        known = {"--at", "--set"}
        for command in ("read", "predict", "contrast", "backtest", "stack", "fit"):
            text = CliRunner().invoke(app, [command, "--help"]).stdout
            known |= set(re.findall(r"--[a-z-]+", text))
        assert set(re.findall(r"--[a-z-]+(?!-)\b", source)) <= known

    def test_python_is_spoken_again_afterwards(self):
        run(LM_EVAL, "--format", "lm-eval", "--out", "obs.csv")
        assert type(wording()) is Wording
        assert doctest.testmod(inspect.getmodule(Wording)).failed == 0


class TestTokenizer:
    @pytest.fixture
    def by_words(self, tmp_path):
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import WhitespaceSplit

        tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        return "tokenizer.json"

    def test_prompts_are_counted(self, llms, by_words):
        table = read_lm_eval(
            LM_EVAL, llms=llms, tasks=["sums_small"], metric="acc,none", progressbar=False,
            count_tokens=lambda text: len(text.split()),
        ).table  # fmt: skip
        options = ["--format", "lm-eval", "--llms", llms, "--metric", "acc,none"]
        options += ["--task", "sums_small"]
        result = run(LM_EVAL, *options, "--tokenizer", by_words, "--out", "obs.csv")
        assert result.exit_code == 0, result.stderr
        found = pd.read_csv("obs.csv")["prompt_tokens"]
        assert len(found)
        assert found.tolist() == pytest.approx(table["prompt_tokens"].tolist())

    @pytest.mark.parametrize(
        ("text", "words"), [("{}", "no key 'model'"), ("[", "is not JSON"), (None, "no file")]
    )
    def test_what_is_no_tokenizer_is_refused(self, tmp_path, llms, text, words):
        if text is not None:
            (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
        options = ["--format", "lm-eval", "--llms", llms, "--tokenizer", "tokenizer.json"]
        result = run(LM_EVAL, *options, "--out", "obs.csv")
        assert result.exit_code == 1
        assert words in result.stderr
