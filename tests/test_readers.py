"""Readers: scores and counts are the tools' own, nothing counts twice, broken files are named."""

import copy
import json
import math
import shutil
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bayes_ctxlaw as bcl
from bayes_ctxlaw.errors import FileFormatError, ObservationError, SpecificationError
from bayes_ctxlaw.readers import (
    Reading,
    read_context_scaling,
    read_inspect,
    read_lm_eval,
    read_tables,
)

EXAMPLES = Path(__file__).parent / "examples"
LM_EVAL, INSPECT, PAPER = (EXAMPLES / n for n in ("lm-eval", "inspect", "context-scaling"))
LLMS = {
    "example/tiny-1b": {"compute": 1e21, "context_window": 2048, "family": "tiny"},
    "example/tiny-2b": {"compute": 2e21, "context_window": 2048, "family": "tiny"},
    "Simulated-7b": {"compute": 8e22, "context_window": 4096, "technique": "none"},
    "Yarn-Simulated-7b-8k": {"compute": 8e22, "context_window": 8192, "technique": "YaRN"},
    "mockllm/model": {"n_params": 1e9, "train_tokens": 1e11, "context_window": 128},
}
METRICS = ["acc", "exact_match,strict-match"]
ACCURACIES = ["sums_small", "sums_large", "word"]


def quietly(read, path, **options):
    return read(path, progressbar=False, **options)


def lm_eval(path=LM_EVAL, **options):
    options = {"metric": METRICS, "tasks": ACCURACIES, "llms": LLMS} | options
    return quietly(read_lm_eval, path, **options)


def paper(path=PAPER, **options):
    return quietly(read_context_scaling, path, **({"llms": LLMS} | options))


def inspect(path=INSPECT, **options):
    options = {"llms": LLMS, "metric": ["match/accuracy", "accuracy"]} | options
    return quietly(read_inspect, path, **options)


def words(text):
    """Number of words: a tokenizer that needs no download."""
    return len(text.split())


def refusal(error, read, *args, **options):
    with pytest.raises(error) as caught:
        read(*args, **options)
    return str(caught.value)


def log_of(results_path, task):
    """The log of a task beside a results file of lm-eval."""
    name = results_path.name.replace("results_", f"samples_{task}_")
    return results_path.with_name(f"{name}l")


def file_of(source, content, folder):
    path = folder / source
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def results():
    """One results file of lm-eval as written, and its path below the folder."""
    path = sorted(LM_EVAL.rglob("results_*.json"))[0]
    return path.relative_to(LM_EVAL), json.loads(path.read_text())


@pytest.fixture
def paper_file():
    path = sorted(PAPER.rglob("*piqa*shots=7*"))[0]
    return path.name, json.loads(path.read_text())


# --- the tools' own numbers -----------------------------------------------------------------------


def test_the_paper_s_scores_and_counts():
    table = paper(tasks=["piqa", "wmt14-de-en"]).table
    assert len(table) == 8
    for row in table.itertuples():
        content = json.loads((PAPER / row.source).read_text())
        instances = content["instances"]
        lengths = [i["prompt_length"] for i in instances]
        assert row.score == content["metric_value"]
        assert abs(row.score - np.mean([i["metric_value"] for i in instances])) <= 1e-12
        assert (row.n_items, row.shots, row.seed) == (
            len(instances),
            content["n_shots"],
            content["local_seed"],
        )
        assert (row.task, row.metric) == (content["name"], content["metric"])
        assert row.prompt_tokens == pytest.approx(np.mean(lengths), rel=1e-12)
        assert row.prompt_tokens_sd == pytest.approx(np.std(lengths), rel=1e-9)
        if row.task == "piqa":
            assert row.n_correct == sum(i["metric_value"] for i in instances)
        else:
            assert math.isnan(row.n_correct)


def test_a_data_set_in_parts_is_one_cell():
    table = paper(tasks=["deepmind-math"]).table
    assert len(table) == 4
    row = table.iloc[0]
    parts = [json.loads(p.read_text()) for p in PAPER.rglob("*math,model=Sim*shots=0*")]
    assert len(parts) == 2
    items = [i for part in parts for i in part["instances"]]
    assert (row["llm"], row["shots"], row["n_items"]) == ("Simulated-7b", 0, len(items))
    assert row["n_correct"] == sum(i["metric_value"] for i in items)
    assert abs(row["score"] - np.mean([i["metric_value"] for i in items])) <= 1e-12
    lengths = [i["prompt_length"] for i in items]
    assert row["prompt_tokens"] == pytest.approx(np.mean(lengths), rel=1e-12)
    assert row["prompt_tokens_sd"] == pytest.approx(np.std(lengths), rel=1e-12)


def test_data_sets_of_one_task_are_pooled_as_aggregate_items_would():
    label = dict.fromkeys(["piqa", "wmt14-de-en", "deepmind-math"], "all")
    pooled = bcl.as_observations(paper(tasks=label))
    items = []
    for path in PAPER.rglob("*.json"):
        content = json.loads(path.read_text())
        llm = path.name.split(",")[1].removeprefix("model=")
        items += [
            {
                "task": "all",
                "llm": llm,
                **LLMS[llm],
                "shots": content["n_shots"],
                "score": i["metric_value"],
                "prompt_tokens": i["prompt_length"],
            }
            for i in content["instances"]
        ]
    expected = bcl.aggregate_items(items)
    assert pooled.sizes["obs_id"] == expected.sizes["obs_id"] == 4
    keys = ["llm", "shots"]
    mine, theirs = (o.to_dataframe().sort_values(keys) for o in (pooled, expected))
    for name in ("score", "n_items", "prompt_tokens", "prompt_tokens_sd"):
        np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-12)
    assert "n_correct" not in pooled  # one of the three is graded


def test_lm_eval_s_scores_counts_shots_and_chance():
    reading = lm_eval()
    assert len(reading.table) == 2 * 2 * 3
    for row in reading.table.itertuples():
        content = json.loads((LM_EVAL / row.source).read_text())
        assert row.score == content["results"][row.task][row.metric]
        name, _, filtered = row.metric.partition(",")
        assert row.stderr == content["results"][row.task][f"{name}_stderr,{filtered}"]
        assert row.n_items == content["n-samples"][row.task]["effective"]
        assert row.shots == content["n-shot"][row.task]
        assert row.seed == content["config"]["fewshot_seed"]
        assert row.llm == content["model_name"]
        lines = log_of(LM_EVAL / row.source, row.task).read_text().splitlines()
        samples = [s for s in map(json.loads, lines) if s["filter"] == filtered]
        values = [s[name] for s in samples]
        assert (row.n_items, row.n_correct) == (len(values), sum(values))
        assert abs(row.score - np.mean(values)) <= 1e-12
        if row.task == "word":
            assert math.isnan(row.chance)
        else:
            expected = np.mean([1 / len(s["doc"]["choices"]) for s in samples])
            assert row.chance == pytest.approx(expected, rel=1e-12)


def test_lm_eval_s_prompts_are_counted_in_tokens_and_never_in_characters():
    assert "prompt_tokens" not in lm_eval().table
    reading = lm_eval(count_tokens=words)
    row = reading.table.query("task == 'word' and shots == 2").iloc[0]
    log = log_of(LM_EVAL / row["source"], "word")
    samples = [json.loads(line) for line in log.read_text().splitlines()]
    lengths = [
        words(s["arguments"]["gen_args_0"]["arg_0"])
        for s in samples
        if s["filter"] == "strict-match"
    ]
    assert row["prompt_tokens"] == pytest.approx(np.mean(lengths))
    assert row["prompt_tokens_sd"] == pytest.approx(np.std(lengths))
    by_name = lm_eval(count_tokens={"example/tiny-1b": words})
    known = by_name.table.groupby("llm")["prompt_tokens"].count()
    assert known.to_dict() == {"example/tiny-1b": 6, "example/tiny-2b": 0}
    assert by_name.unknown["prompt_tokens"] == ["example/tiny-2b"]


@pytest.mark.parametrize("count", [lambda text: 0, lambda text: len(text) / 4, lambda text: None])
def test_a_counter_of_tokens_must_count(count):
    message = refusal(SpecificationError, lm_eval, count_tokens=count)
    assert "must give the number of tokens" in message
    assert "key `line 1.arguments.gen_args_0.arg_0`" in message
    assert "give a function" in refusal(SpecificationError, lm_eval, count_tokens=4)


def test_prompts_that_the_harness_cut_are_noted(tmp_path):
    shutil.copytree(LM_EVAL, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("results_*.json"):
        file_of(path, json.loads(path.read_text()) | {"max_length": 12}, tmp_path)
    reading = lm_eval(tmp_path, count_tokens=words)
    longer = sum(
        words(s["arguments"]["gen_args_0"]["arg_0"]) > 12
        for task in ACCURACIES
        for path in tmp_path.rglob(f"samples_{task}_*")
        for s in map(json.loads, path.read_text().splitlines())
        if s["filter"] in ("none", "strict-match")
    )
    assert longer > 0
    assert f"{longer} prompts are longer than max_length" in str(reading)
    assert "cut prompts of example/tiny-1b at max_length = 12 tokens" in str(reading)
    assert "context_window" not in reading.table or reading.table["context_window"].min() == 2048


def test_mutual_information_asks_twice_for_every_choice(tmp_path, results):
    source, content = results
    log = log_of(LM_EVAL / source, "sums_small")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        asked = list(line["arguments"].values())
        alone = [{"arg_0": "", "arg_1": request["arg_1"]} for request in asked]
        line["arguments"] = {f"gen_args_{i}": r for i, r in enumerate(asked + alone)}
    content["results"]["sums_small"]["acc_mutual_info,none"] = 0.5
    file_of(source, content, tmp_path)
    file_of(source.with_name(log.name), "\n".join(map(json.dumps, lines)), tmp_path)
    only = {"tasks": ["sums_small"], "metric": "acc", "count_tokens": words}
    found, expected = (lm_eval(p, **only).table.iloc[0] for p in (tmp_path, LM_EVAL))
    for name in ("chance", "prompt_tokens", "prompt_tokens_sd"):
        assert found[name] == expected[name]


RULER_AT = {4096: [1.0, 1.0, 0.0, 1.0], 16384: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]}


def ruler(folder, at=None, *, name="m", task="niah", log=True, time="2025-05-01T10-00-00.1"):
    """A run of one task of RULER as lm-eval writes it: one metric for each prompt length."""
    at = RULER_AT if at is None else at
    values = {f"{n},none": float(np.mean(found)) if found else -1 for n, found in at.items()}
    lines = []
    for n, found in at.items():
        for value in found:
            # -1 stands for "of another length" under the default length, others are absent.
            line = {"4096": -1.0, str(n): value, "doc_id": len(lines), "filter": "none"}
            lines.append(line | {"arguments": {"gen_args_0": {"arg_0": "w " * (n // 64)}}})
    content = {
        "results": {task: values | {f"{n}_stderr,none": "N/A" for n in at}},
        "group_subtasks": {task: []},
        "n-shot": {task: 0},
        "higher_is_better": {task: {str(n): True for n in at}},
        "n-samples": {task: {"original": len(lines), "effective": len(lines)}},
        "config": {"model_args": f"pretrained={name}"},
        "model_name": name,
    }
    file_of(f"results_{time}.json", content, folder)
    if log:
        file_of(f"samples_{task}_{time}.jsonl", "\n".join(map(json.dumps, lines)), folder)


def test_each_prompt_length_of_ruler_is_a_cell_with_its_own_items(tmp_path):
    ruler(tmp_path)
    llms = {"m": {"compute": 1e22, "context_window": 32768}}
    reading = quietly(read_lm_eval, tmp_path, count_tokens=words, llms=llms)
    columns = ["seq_length", "score", "n_items", "n_correct", "prompt_tokens", "prompt_tokens_sd"]
    expected = [[4096, 0.75, 4, 3, 64, 0], [16384, 1 / 6, 6, 1, 256, 0]]
    np.testing.assert_allclose(reading.table[columns].to_numpy(dtype=float), expected)
    assert "One cell for each prompt length: niah." in reading.notes
    assert bcl.as_observations(reading)["seq_length"].values.tolist() == [4096, 16384]
    one = quietly(read_lm_eval, tmp_path, count_tokens=words, metric="16384").table
    assert one[columns].to_numpy(dtype=float).tolist() == [pytest.approx(expected[1])]
    both = quietly(read_lm_eval, tmp_path, metric=["acc", "4096", "16384,none"]).table
    assert both["seq_length"].tolist() == [4096, 16384]
    # What is preferred of alternatives is no word on lengths; what is said of a task is.
    assert len(quietly(read_lm_eval, tmp_path, metric="acc").table) == 2
    message = refusal(SpecificationError, quietly, read_lm_eval, tmp_path, metric={"niah": "acc"})
    assert "niah has no 'acc'; it has 4096,none and 16384,none." in message
    assert "niah has no '8192'" in refusal(
        SpecificationError, quietly, read_lm_eval, tmp_path, metric="8192"
    )


def test_lengths_of_ruler_are_pooled_and_repeated_length_by_length(tmp_path):
    ruler(tmp_path / "a")
    ruler(tmp_path / "b", {4096: [0.0] * 4, 16384: [0.0] * 6}, task="vt")
    label = {"niah": "all", "vt": "all"}
    table = quietly(read_lm_eval, tmp_path, tasks=label).table
    assert table[["seq_length", "n_items", "n_correct"]].values.tolist() == [
        [4096, 8, 3],
        [16384, 12, 1],
    ]
    ruler(tmp_path / "c", {8192: [1.0]}, time="2025-05-02T10-00-00.1")
    assert len(quietly(read_lm_eval, tmp_path).table) == 5
    ruler(tmp_path / "d", {4096: [1.0]}, time="2025-05-03T10-00-00.1")
    message = refusal(ObservationError, quietly, read_lm_eval, tmp_path)
    assert "1 evaluations" in message
    assert "niah, m, 0 shots, length 4096: a/results_" in message
    latest = quietly(read_lm_eval, tmp_path, repeats="latest").table.query("task == 'niah'")
    assert latest[["seq_length", "score"]].values.tolist() == [
        [4096, 1.0],
        [8192, 1.0],
        [16384, pytest.approx(1 / 6)],
    ]


def test_without_a_log_the_items_of_one_length_are_unknown(tmp_path):
    ruler(tmp_path, log=False)
    reading = quietly(read_lm_eval, tmp_path)
    assert reading.table["score"].tolist() == [0.75, pytest.approx(1 / 6)]
    assert reading.unknown["n_items"] == reading.unknown["prompt_tokens"] == ["m"]
    assert any("count those of all lengths: niah." in note for note in reading.notes)


def test_lengths_of_ruler_without_items_are_left_out_and_said(tmp_path):
    ruler(tmp_path, {4096: [], 8192: [1.0, 0.0]}, log=False)
    reading = quietly(read_lm_eval, tmp_path)
    # All items are of the one length there is.
    assert reading.table[["seq_length", "score", "n_items"]].values.tolist() == [[8192, 0.5, 2]]
    assert "Lengths without items were left out: 4096 of niah." in reading.notes
    message = refusal(ObservationError, quietly, read_lm_eval, tmp_path, metric="4096")
    assert "niah: 4096,none = -1 is outside [0, 1]" in message


@pytest.mark.parametrize("absent", [{}, {4096: []}])
def test_lengths_that_were_run_one_by_one_are_read_together_or_singly(tmp_path, absent):
    ruler(tmp_path / "a", {4096: [1.0, 0.0]})
    ruler(tmp_path / "b", absent | {8192: [1.0]}, time="2025-05-02T10-00-00.1")
    reading = quietly(read_lm_eval, tmp_path)
    assert reading.table[["seq_length", "n_items"]].values.tolist() == [[4096, 2], [8192, 1]]
    assert not any("without items" in note for note in reading.notes)
    one = quietly(read_lm_eval, tmp_path, metric="4096")
    assert one.table[["seq_length", "score"]].values.tolist() == [[4096, 0.5]]
    assert any(
        note.startswith("Of other lengths than were asked for, and left out: niah (b/results_")
        for note in one.notes
    )


def test_a_log_of_lengths_must_agree_with_its_results(tmp_path):
    ruler(tmp_path)
    log = next(tmp_path.glob("*.jsonl"))
    lines = log.read_text().splitlines()
    changed = json.loads(lines[-1]) | {"16384": 1.0}
    log.write_text("\n".join([*lines[:-1], json.dumps(changed)]))
    message = refusal(FileFormatError, quietly, read_lm_eval, tmp_path)
    assert "its 6 items average 0.333333 under key `16384`" in message
    log.write_text("\n".join(lines[:-1]))
    message = refusal(FileFormatError, quietly, read_lm_eval, tmp_path)
    assert "it holds 9 items whose `filter` is 'none'" in message


def one_task(folder, samples=(), *, config=None, run=None, **top):
    """A run of one task, ``qa``, as lm-eval writes it."""
    content = {
        "results": {"qa": {"acc,none": 0.5}},
        "configs": {"qa": config or {}},
        "config": run or {"model_args": "pretrained=m"},
        "model_name": "m",
    }
    file_of("results_2025-05-01T10-00-00.1.json", content | top, folder)
    if samples:
        text = "\n".join(map(json.dumps, samples))
        file_of("samples_qa_2025-05-01T10-00-00.1.jsonl", text, folder)


def test_chance_of_graded_items_is_unknown(tmp_path):
    asked = {f"gen_args_{k}": {"arg_0": "q", "arg_1": " a"} for k in range(4)}
    config = {"output_type": "multiple_choice"}
    items = [
        {"doc_id": i, "filter": "none", "arguments": asked, "acc": acc}
        for i, acc in enumerate([0.25, 0.75])
    ]
    one_task(tmp_path, items, config=config)  # as truthfulqa_mc2: several choices are right
    assert quietly(read_lm_eval, tmp_path).unknown["chance"] == ["qa"]
    counted = [item | {"acc": float(i)} for i, item in enumerate(items)]
    one_task(tmp_path, counted, config=config)
    assert quietly(read_lm_eval, tmp_path).table["chance"].tolist() == [0.25]


def test_prompts_that_are_chats_are_counted_by_what_is_said(tmp_path):
    said = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two"}]
    contexts = [[json.dumps(said)], ["one two three"], "one"]
    items = [
        {"doc_id": i, "filter": "none", "acc": i % 2, "arguments": [[context, {}]]}
        for i, context in enumerate([*contexts, "one two"])
    ]
    one_task(tmp_path, items)
    reading = quietly(read_lm_eval, tmp_path, count_tokens=words)
    assert reading.table["prompt_tokens"].tolist() == [np.mean([4, 3, 1, 2])]
    assert any(note.startswith("1 prompts are chats") for note in reading.notes)
    items[0]["arguments"] = [[[json.dumps([{"role": "user", "content": [{"type": "image"}]}])]]]
    one_task(tmp_path, items)
    message = refusal(FileFormatError, quietly, read_lm_eval, tmp_path, count_tokens=words)
    assert "key `line 1.arguments.0.0`" in message
    assert "the `content` of each a text" in message


def test_groups_are_left_out_where_the_file_does_not_say_what_they_hold(tmp_path):
    """As 0.4.0 wrote: `groups`, and no `group_subtasks`."""
    score = {"acc,none": 0.5}
    results = {name: score for name in ("mmlu", "mmlu_humanities", "mmlu_law")}
    groups = {name: score for name in ("mmlu", "mmlu_humanities")}
    one_task(tmp_path, results=results, groups=groups)
    reading = quietly(read_lm_eval, tmp_path)
    assert reading.table["task"].tolist() == ["mmlu_law"]
    note = "Groups were left out, their tasks being there: mmlu, mmlu_humanities."
    assert note in reading.notes
    named = quietly(read_lm_eval, tmp_path, tasks=["mmlu"])
    assert named.table["task"].tolist() == ["mmlu"]
    assert any("do not say which tasks are in a group" in note for note in named.notes)


def test_a_run_without_a_model_name_has_that_of_its_arguments(tmp_path):
    one_task(tmp_path, model_name="")
    assert quietly(read_lm_eval, tmp_path).table["llm"].tolist() == ["m"]


def test_where_the_harness_cut_is_said_of_every_run(tmp_path):
    for n in (4096, 32768):
        arguments = {"model_args": f"pretrained=m,max_length={n}"}
        one_task(tmp_path / str(n), max_length=n, run=arguments)
    cut = next(n for n in quietly(read_lm_eval, tmp_path).notes if "cut prompts of m" in n)
    for n in (4096, 32768):
        assert f"{n} tokens ({n}/results_2025-05-01T10-00-00.1.json)" in cut
    assert "Is one of them its context_window?" in cut


@pytest.mark.parametrize(
    "setting",
    [
        {"chat_template_sha": "ab12"},
        {"system_instruction_sha": "ab12"},
        {"fewshot_as_multiturn": True},
        {"run": {"model_args": "pretrained=m", "gen_kwargs": {"temperature": 1}}},
    ],
)
def test_runs_asked_in_other_ways_are_not_repeats(tmp_path, setting):
    one_task(tmp_path / "a")
    one_task(tmp_path / "b", **setting)
    reading = quietly(read_lm_eval, tmp_path)
    assert len(reading.table) == 2
    (name,) = set(setting) - {"run"} or {"gen_kwargs"}
    assert reading.table[name].notna().sum() == 1
    assert any("2 sets of arguments" in n and f"differ in {name}." in n for n in reading.notes)


def test_a_group_is_its_tasks_pooled_and_counts_once():
    metric = {"metric": "acc", "llms": LLMS}
    names = ["sums", "sums_small", "sums_large"]
    all_tasks = quietly(
        read_lm_eval,
        LM_EVAL,
        **metric | {"metric": [*METRICS, "word_perplexity"]},
        convert={"word_perplexity": lambda value: 1 / value},
    )
    assert "sums" not in set(all_tasks.table["task"])
    assert any("Groups were left out" in note and "sums" in note for note in all_tasks.notes)
    group = quietly(read_lm_eval, LM_EVAL, tasks=["sums"], **metric).table
    pooled = quietly(read_lm_eval, LM_EVAL, tasks=dict.fromkeys(names[1:], "sums"), **metric).table
    assert group["n_items"].tolist() == pooled["n_items"].tolist() == [37] * 4
    np.testing.assert_allclose(group["score"], pooled["score"], atol=1e-12)
    np.testing.assert_allclose(pooled["n_correct"], pooled["score"] * 37, atol=1e-9)
    message = refusal(SpecificationError, quietly, read_lm_eval, LM_EVAL, tasks=names, **metric)
    assert "'sums'" in message
    assert "count twice" in message


def test_inspect_s_scores_counts_tokens_and_chance():
    from inspect_ai.log import read_eval_log

    table = inspect(shots="shots").table
    assert len(table) == 4
    for row in table.itertuples():
        log = read_eval_log(str(INSPECT / row.source))
        scorer, name = row.metric.split("/")
        score = next(s for s in log.results.scores if s.name == scorer)
        assert row.score == score.metrics[name].value
        assert row.stderr == score.metrics["stderr"].value
        assert row.n_items == score.scored_samples == log.eval.dataset.samples
        values = [s.value for r in log.reductions if r.scorer == scorer for s in r.samples]
        assert row.n_correct == sum(values)
        assert abs(row.score - np.mean(values)) <= 1e-12
        lengths = [s.output.usage.total_tokens - s.output.usage.output_tokens for s in log.samples]
        assert row.prompt_tokens == pytest.approx(np.mean(lengths))
        assert row.prompt_tokens_sd == pytest.approx(np.std(lengths))
    choices = table.query("task == 'letters'").iloc[0]
    assert choices["chance"] == pytest.approx(np.mean([1 / 3, 1 / 4]))
    assert math.isnan(choices["shots"])
    assert table.query("task == 'sums'")["shots"].tolist() == [0, 2, 4]
    assert table.query("task == 'sums'")["chance"].isna().all()


# --- to observations ------------------------------------------------------------------------------


def test_from_a_folder_to_observations_in_one_line():
    obs = bcl.as_observations(lm_eval(count_tokens=words, chance={"word": 0.5}))
    assert obs.sizes["obs_id"] == 12
    assert set(obs["compute"].values) == {1e21, 2e21}
    assert obs["chance"].values[obs["task"].values == "word"].tolist() == [0.5] * 4
    obs = bcl.as_observations(paper())
    assert obs.sizes["obs_id"] == 12
    assert (obs["chance"] == 0).all()
    assert set(obs["technique"].values) == {"none", "YaRN"}


def test_from_inspect_s_logs_to_observations():
    obs = bcl.as_observations(inspect())
    assert (obs["compute"] == bcl.training_flops(1e9, 1e11)).all()
    assert (obs["n_correct"] == obs["score"] * obs["n_items"]).all()


def test_what_is_not_known_is_said_and_refused():
    reading = quietly(read_lm_eval, LM_EVAL, metric=METRICS, tasks=ACCURACIES)
    both = ["example/tiny-1b", "example/tiny-2b"]
    assert reading.unknown == {
        "compute": both,
        "context_window": both,
        "prompt_tokens": both,
        "family": both,
        "prompt_tokens_sd": both,
        "chance": ["word"],
    }
    for name in reading.unknown:
        assert name in str(reading)
    message = refusal(ObservationError, bcl.as_observations, reading)
    assert "compute of example/tiny-1b, example/tiny-2b is not in these files" in message
    assert "llms={'example/tiny-1b': {'context_window': …}}" in message
    assert "characters are not tokens" in message
    with pytest.raises(ObservationError):
        bcl.as_design(reading)


def test_a_reading_can_be_added_to():
    reading = lm_eval()
    reading.table["prompt_tokens"] = 100.0 * (1 + reading.table["shots"])
    assert "prompt_tokens" not in reading.unknown
    assert bcl.as_observations(reading)["prompt_tokens"].max() == 300


def test_a_family_known_for_some_only_is_refused():
    llms = copy.deepcopy(LLMS)
    del llms["example/tiny-2b"]["family"]
    message = refusal(ObservationError, bcl.as_observations, lm_eval(llms=llms, count_tokens=words))
    assert "family of example/tiny-2b is unknown while that of others is known" in message


def test_llms_as_a_table(tmp_path):
    frame = pd.DataFrame([{"llm": name, "source": "made up", **row} for name, row in LLMS.items()])
    frame.to_csv(tmp_path / "llms.csv", index=False)
    expected = paper().table
    for llms in (frame, tmp_path / "llms.csv", str(tmp_path / "llms.csv")):
        pd.testing.assert_frame_equal(paper(llms=llms).table, expected)


@pytest.mark.parametrize(
    ("llms", "words_"),
    [
        (5, "llms is a int"),
        ({"Simulated-7b": {"window": 5}}, "'Simulated-7b' has 'window'"),
        ({"Simulated-7b": {"contextwindow": 5}}, "did you mean 'context_window'"),
        ({"Simulated-7b": 5}, "'Simulated-7b': 5 is not a name and its variables"),
        (pd.DataFrame({"model": ["a"]}), "no column `llm`"),
        (pd.DataFrame({"llm": ["a", "a"]}), "names a more than once"),
    ],
)
def test_faults_of_llms(llms, words_):
    assert words_ in refusal(SpecificationError, paper, llms=llms)


def test_llms_that_no_file_holds_are_named():
    assert "llms names what no file holds: mockllm/model" in " ".join(
        note for note in paper().notes
    ).replace("example/tiny-1b, example/tiny-2b, ", "")


def test_an_extension_adds_to_what_the_registry_knows(tmp_path):
    rows = "task,llm,score,prompt_tokens\nqa,Llama-2-7b,0.3,90\nqa,Llama-2-7b,0.4,900\n"
    (tmp_path / "scores.csv").write_text(rows)
    llms = {"Llama-2-7b": {"extension_tokens": 4e11}}
    reading = bcl.readers.read_tables(tmp_path, llms=llms, progressbar=False)
    expected = bcl.model_compute("llama-2-7b") + bcl.training_flops(7e9, 4e11)
    assert (bcl.as_observations(reading)["compute"] == expected).all()
    assert any(
        "compute 8.4e+22 FLOP and that of 4e+11 extension tokens" in n for n in reading.notes
    )


LLAMA = "task,llm,score,prompt_tokens{}\nqa,Llama-2-7b,0.3,90{}\nqa,Llama-2-7b,0.4,900{}\n"


def tables(tmp_path, text, **options):
    file_of("scores.csv", text, tmp_path)
    return quietly(read_tables, tmp_path, **options)


@pytest.mark.parametrize("tokens", [np.int64(10**12), np.float32(1e12), "1e12"])
def test_an_extension_is_a_number_of_any_type(tmp_path, tokens):
    rows = LLAMA.format("", "", "")
    reading = tables(tmp_path, rows, llms={"Llama-2-7b": {"extension_tokens": tokens}})
    expected = bcl.training_flops(7e9, 2e12, float(tokens))
    assert bcl.as_observations(reading)["compute"].values == pytest.approx([expected] * 2)
    llms = {"Llama-2-7b": {"extension_tokens": "many"}}
    message = refusal(SpecificationError, tables, tmp_path, rows, llms=llms)
    assert "'Llama-2-7b' has extension_tokens='many', which is no number" in message


@pytest.mark.parametrize(
    ("stated", "expected"),
    [({"n_params": 6.48e9}, (6.48e9, 2e12)), ({"train_tokens": 3e12}, (7e9, 3e12))],
)
def test_what_is_stated_goes_before_the_registry(tmp_path, stated, expected):
    ((name, value),) = stated.items()
    by_user = tables(tmp_path, LLAMA.format("", "", ""), llms={"Llama-2-7b": stated})
    by_table = tables(tmp_path, LLAMA.format(f",{name}", f",{value}", f",{value}"))
    (other,) = {"n_params", "train_tokens"} - {name}
    for reading in (by_user, by_table):
        obs = bcl.as_observations(reading)
        assert obs["compute"].values.tolist() == [bcl.training_flops(*expected)] * 2
        assert (obs[name] == value).all()
        assert any(f"as llama-2-7b: {other} " in note for note in reading.notes)


def test_tokens_that_are_undisclosed_and_stated_go_with_the_registry_s_parameters(tmp_path):
    text = LLAMA.format("", "", "").replace("Llama-2-7b", "Mistral-7B")
    assert "compute" in tables(tmp_path, text).unknown
    reading = tables(tmp_path, text, llms={"Mistral-7B": {"train_tokens": 8e12}})
    n_params = bcl.list_models().loc[bcl.find_model("Mistral-7B"), "n_params"]
    obs = bcl.as_observations(reading)
    assert obs["compute"].values.tolist() == [bcl.training_flops(n_params, 8e12)] * 2


def test_parameters_that_the_harness_counted_do_not_go_before_the_registry(tmp_path, results):
    source, content = results
    content["config"]["model_num_parameters"] = 6_738_415_616
    content["model_name"] = "meta-llama/Llama-2-7b-hf"
    file_of(source, content, tmp_path)
    table = lm_eval(tmp_path, llms=None).table
    assert (table["compute"] == bcl.model_compute("llama-2-7b")).all()
    table = lm_eval(tmp_path, llms={"meta-llama/Llama-2-7b-hf": {"train_tokens": 3e12}}).table
    assert (table["n_params"] == 6_738_415_616).all()
    assert "compute" not in table


def test_the_registry_is_asked_and_said_to_have_been(tmp_path, paper_file):
    name, content = paper_file
    for model in ("Llama-2-7b-hf", "Yarn-Llama-2-7b-8k", "Mistral-7B"):
        file_of(name.replace("Simulated-7b", model), content, tmp_path)
    reading = paper(tmp_path, llms=None)
    row = reading.table.set_index("llm").loc["Llama-2-7b-hf"]
    assert (row["compute"], row["context_window"]) == (bcl.model_compute("llama-2-7b"), 4096)
    assert any(
        note.startswith("From the compute registry, as llama-2-7b: compute 8.4e+22 FLOP")
        for note in reading.notes
    )
    # An extended checkpoint is not its base, and undisclosed tokens are not made up.
    assert reading.unknown["compute"] == ["Mistral-7B", "Yarn-Llama-2-7b-8k"]
    assert reading.unknown["context_window"] == ["Yarn-Llama-2-7b-8k"]
    mine = paper(tmp_path, llms={"Llama-2-7b-hf": {"compute": 1.0}}).table.set_index("llm")
    assert mine.loc["Llama-2-7b-hf", "compute"] == 1


def test_parameters_counted_by_the_harness_are_used(tmp_path, results):
    source, content = results
    content["config"]["model_num_parameters"] = 1000
    file_of(source, content, tmp_path)
    row = {"train_tokens": 1e9, "context_window": 2048}
    reading = lm_eval(tmp_path, llms={"example/tiny-1b": row})
    assert (reading.table["n_params"] == 1000).all()
    assert "compute" not in reading.unknown
    content["config"]["model_num_parameters"] = -1  # what the harness writes for unknown
    file_of(source, content, tmp_path)
    assert "compute" in lm_eval(tmp_path, llms={"example/tiny-1b": row}).unknown


def test_chance_known_in_some_cells_of_a_task_only_is_refused():
    reading = lm_eval(count_tokens=words)
    reading.table.loc[reading.table["task"].eq("sums_small").idxmax(), "chance"] = np.nan
    message = refusal(ObservationError, bcl.as_observations, reading)
    assert "chance of sums_small is known in some cells only" in message


def test_chance_of_a_task_that_is_not_there():
    assert "chance names 'qa'" in refusal(SpecificationError, paper, chance={"qa": 0.5})


# --- which metric is the score --------------------------------------------------------------------


def test_several_metrics_are_an_error_with_the_candidates():
    message = refusal(SpecificationError, quietly, read_lm_eval, LM_EVAL)
    assert "sums_small has several: acc,none and acc_norm,none." in message
    assert "word has several: exact_match,strict-match and exact_match,first." in message
    assert "text" not in message  # it has one
    message = refusal(SpecificationError, lm_eval, metric="exact_match")
    assert "word has several: exact_match,strict-match and exact_match,first." in message
    assert "sums_small has no 'exact_match'; it has acc,none and acc_norm,none." in message


def test_a_metric_for_each_task():
    chosen = {"word": "exact_match,first", "sums_small": "acc_norm", "sums_large": "acc,none"}
    table = lm_eval(metric=chosen).table.drop_duplicates("task").set_index("task")
    assert table["metric"].to_dict() == {
        "word": "exact_match,first",
        "sums_small": "acc_norm,none",
        "sums_large": "acc,none",
    }
    chosen["wrod"] = "acc"
    assert "'wrod', which is in no file" in refusal(SpecificationError, lm_eval, metric=chosen)


def test_several_scorers_are_an_error_with_the_candidates():
    message = refusal(SpecificationError, inspect, metric=None)
    assert "sums has several: match/accuracy and includes/accuracy." in message
    assert "letters" not in message
    message = refusal(SpecificationError, inspect, shots="fewshot")
    assert "no task has an argument of that name. Theirs are: shots." in message


def test_lower_is_better_is_refused_or_converted_as_told():
    options = {"tasks": ["text"], "metric": None}
    message = refusal(ObservationError, lm_eval, **options)
    assert "word_perplexity,none" in message
    assert "is better when it is lower" in message
    reading = lm_eval(**options, convert={"word_perplexity": lambda value: 1 / value})
    source = reading.table["source"].iloc[0]
    value = json.loads((LM_EVAL / source).read_text())["results"]["text"]["word_perplexity,none"]
    assert reading.table["score"].iloc[0] == 1 / value
    assert "word_perplexity was converted to a score as told." in reading.notes
    assert "n_correct" not in reading.table
    message = refusal(
        ObservationError, lm_eval, **options, convert={"word_perplexity": lambda value: value}
    )
    assert "is converted to" in message
    assert "give a function" in refusal(SpecificationError, lm_eval, convert={"acc": 100})


def test_percent_is_refused_or_converted_as_told(tmp_path, results):
    source, content = results
    for task in ACCURACIES:
        for key in content["results"][task]:
            if "," in key:
                content["results"][task][key] *= 100
    file_of(source, content, tmp_path)
    message = refusal(ObservationError, lm_eval, tmp_path)
    assert f"{source.as_posix()}, sums_small: acc,none = " in message
    assert "outside [0, 1]" in message
    by = {name: lambda value: value / 100 for name in ("acc", "exact_match")}
    expected = lm_eval().table.query("llm == 'example/tiny-1b' and shots == 0")
    np.testing.assert_allclose(
        lm_eval(tmp_path, convert=by).table["score"], expected["score"], rtol=1e-12
    )


# --- the same twice -------------------------------------------------------------------------------


def test_two_files_of_one_evaluation_are_refused(tmp_path, paper_file):
    name, content = paper_file
    file_of(name, content, tmp_path / "a")
    file_of(name, content, tmp_path / "b")
    message = refusal(ObservationError, paper, tmp_path)
    assert "1 evaluations are there more than once" in message
    assert f"a/{name}, b/{name}" in message
    assert len(paper(tmp_path, repeats="keep").table) == 2
    assert "needs the time" in refusal(ObservationError, paper, tmp_path, repeats="latest")
    assert "repeats='first'" in refusal(SpecificationError, paper, tmp_path, repeats="first")


def test_cells_that_lack_a_part_of_their_task_are_named(tmp_path):
    score = {"acc,none": 0.5}
    counts = {name: {"effective": 4} for name in "ab"}
    one_task(tmp_path / "1", results={"a": score, "b": score}, **{"n-samples": counts})
    one_task(tmp_path / "2", results={"a": score}, model_name="other", **{"n-samples": counts})
    reading = quietly(read_lm_eval, tmp_path, tasks={"a": "ab", "b": "ab"})
    assert reading.table["n_items"].tolist() == [8, 4]
    (note,) = [n for n in reading.notes if n.startswith("ab pools 'a', 'b'")]
    assert "other without 'b' (2/results_" in note
    whole = quietly(read_lm_eval, tmp_path)
    assert not any(" pools " in n for n in whole.notes)


def test_parts_of_a_data_set_that_a_seed_lacks_are_named(tmp_path):
    for config, seed in [("de", 1), ("cs", 1), ("de", 2)]:
        name = f"dataset=wmt,model=Simulated-7b,config={config},shots=0,local_seed={seed}.json"
        items = [{"prompt_length": 90, "metric_value": 0.5}]
        content = {"name": "wmt", "metric": "bleu", "metric_value": 0.5, "instances": items}
        file_of(name, content | {"n_shots": 0, "local_seed": seed}, tmp_path)
    notes = paper(tmp_path).notes
    assert any("Simulated-7b, 0 shots, seed 2 without 'wmt, cs'" in note for note in notes)
    assert not any(" pools " in note for note in paper().notes)


def test_other_seeds_are_replicates(tmp_path, paper_file):
    name, content = paper_file
    file_of(name, content, tmp_path)
    file_of(name.replace("31337", "2"), content | {"local_seed": 2}, tmp_path)
    assert paper(tmp_path).table["seed"].tolist() == [2, 31337]


def test_a_run_again_is_refused_or_the_last_one_taken(tmp_path, results):
    source, content = results
    file_of(source, content, tmp_path)
    later = source.with_name("results_2099-01-01T00-00-00.000000.json")
    for task in ACCURACIES:
        for key in content["results"][task]:
            if "," in key:
                content["results"][task][key] = 0.0
    file_of(later, content, tmp_path)
    message = refusal(ObservationError, lm_eval, tmp_path)
    assert "3 evaluations are there more than once" in message
    latest = lm_eval(tmp_path, repeats="latest")
    assert (latest.table["source"] == later.as_posix()).all()
    assert "3 earlier runs of the same were left out." in latest.notes
    assert len(lm_eval(tmp_path, repeats="keep").table) == 6
    content["config"]["model_args"] = {"pretrained": "example/tiny-1b", "rope": 2}
    file_of(later, content, tmp_path)
    apart = lm_eval(tmp_path)
    assert len(apart.table) == 6
    assert any("2 sets of arguments" in n and "in model_args." in n for n in apart.notes)


# --- broken files ---------------------------------------------------------------------------------


def test_a_broken_file_is_named_and_the_rest_read_only_if_told(tmp_path):
    shutil.copytree(PAPER, tmp_path, dirs_exist_ok=True)
    whole = paper(tmp_path, tasks=["piqa"])
    broken = sorted(tmp_path.rglob("*wmt14*"))
    broken = [p for p in broken if p.is_file()][:2]
    broken[0].write_text(broken[0].read_text()[:500])
    content = json.loads(broken[1].read_text())
    content["instances"][3]["metric_value"] = "0.5"
    broken[1].write_text(json.dumps(content))
    message = refusal(FileFormatError, paper, tmp_path)
    names = [p.relative_to(tmp_path).as_posix() for p in broken]
    assert message.startswith("2 of 16 files cannot be read:")
    assert f"{names[0]}: this is not JSON" in message
    assert f"{names[1]}: key `instances[3].metric_value` is '0.5'" in message
    with pytest.warns(UserWarning, match="2 of 16 files were skipped") as caught:
        reading = paper(tmp_path, on_error="skip")
    assert names[1] in str(caught[0].message)
    assert list(reading.skipped) == names
    assert "2 broken files were skipped" in str(reading)
    assert reading.n_files == 14
    rest = reading.table.query("task == 'piqa'").reset_index(drop=True)
    pd.testing.assert_frame_equal(rest[whole.table.columns], whole.table, check_dtype=False)
    for path in broken[1:]:
        only = refusal(FileFormatError, paper, path, on_error="skip")
        assert "nothing is left" in only


@pytest.mark.parametrize(
    ("change", "words_"),
    [
        (lambda c: c.pop("instances"), "key `instances` is missing"),
        (lambda c: c.update(instances=[]), "key `instances` is []"),
        (
            lambda c: c["instances"][7].pop("prompt_length"),
            "`instances[7].prompt_length` is missing",
        ),
        (lambda c: c["instances"][0].update(prompt_length=0), "`instances[0].prompt_length` is 0"),
        (lambda c: c["instances"][1].update(metric_value=55), "`instances[1].metric_value` is 55"),
        (
            lambda c: c["instances"][1].update(metric_value=True),
            "`instances[1].metric_value` is True",
        ),
        (lambda c: c["instances"][1].update(metric_value=math.nan), "is nan"),
        (lambda c: c.update(instances=c["instances"][:-1]), "19 instances average"),
        (lambda c: c.update(n_shots=8), "key `n_shots` is 8, but the file's name has 7"),
        (lambda c: c.update(name="qa"), "key `name` is 'qa', but the file's name has 'piqa'"),
        (lambda c: c.update(metric="None", metric_value=None), "were not scored"),
    ],
)
def test_faults_of_the_paper_s_files(tmp_path, paper_file, change, words_):
    name, content = paper_file
    change(content)
    file_of(name, content, tmp_path)
    message = refusal(FileFormatError, paper, tmp_path)
    assert name in message
    assert words_ in message


def test_another_file_name_is_a_fault(tmp_path, paper_file):
    file_of("piqa.json", paper_file[1], tmp_path)
    assert "the name is not of the form dataset=…" in refusal(FileFormatError, paper, tmp_path)
    assert "holds no file" in refusal(FileFormatError, quietly, read_tables, tmp_path)
    assert "does not exist" in refusal(FileFormatError, paper, tmp_path / "nowhere")
    assert "on_error='ignore'" in refusal(SpecificationError, paper, on_error="ignore")
    assert "tasks is 'piqa'" in refusal(SpecificationError, paper, tasks="piqa")
    assert "No file holds the data set 'qa'" in refusal(SpecificationError, paper, tasks=["qa"])


def test_a_log_must_agree_with_its_results(tmp_path):
    shutil.copytree(LM_EVAL, tmp_path, dirs_exist_ok=True)
    log = sorted(tmp_path.rglob("samples_sums_small_*"))[0]
    name = log.relative_to(tmp_path).as_posix()
    lines = log.read_text().splitlines()

    def said(changed):
        log.write_text("\n".join(changed))
        message = refusal(FileFormatError, lm_eval, tmp_path)
        assert name in message
        return message

    assert (
        "it holds 14 items whose `filter` is 'none', but key `n-samples.sums_small.effective`"
        in said(lines[:-1])
    )
    assert "line 15: this is not JSON" in said([*lines[:-1], lines[-1][:-5]])
    assert "key `line 16.doc_id`, 0, is there twice" in said([*lines, lines[0]])
    first = json.loads(lines[0])
    flipped = json.dumps(first | {"acc": 1 - first["acc"]})
    assert "items average" in said([flipped, *lines[1:]])
    del first["acc"]
    assert "key `line 1.acc` is missing" in said([json.dumps(first), *lines[1:]])
    other = log.with_name("samples_sums_small_2001-01-01T00-00-00.0.jsonl")
    log.write_text("\n".join(lines))
    shutil.copy(log, other)
    assert other.name in refusal(FileFormatError, lm_eval, tmp_path)
    with pytest.warns(UserWarning, match="1 of 19 files"):
        assert len(lm_eval(tmp_path, on_error="skip").table) == 12


def test_one_results_file_is_read_with_its_logs():
    path = sorted(LM_EVAL.rglob("results_*.json"))[0]
    table = lm_eval(path, count_tokens=words).table
    assert len(table) == 3
    assert table["prompt_tokens"].notna().all()


def test_results_without_logs(tmp_path, results):
    source, content = results
    content["configs"]["sums_small"]["doc_to_choice"] = ["no", "yes"]
    file_of(source, content, tmp_path)
    table = lm_eval(tmp_path).table.set_index("task")
    assert table.loc["sums_small", "chance"] == 0.5
    assert table["n_items"].to_dict() == {"sums_large": 22, "sums_small": 15, "word": 15}
    assert "n_correct" not in table


def test_a_run_that_failed_is_a_broken_log(tmp_path):
    path = next(INSPECT.glob("*.json"))
    content = json.loads(path.read_text())
    file_of("a.json", content | {"status": "error"}, tmp_path)
    assert "a.json: key `status` is 'error'" in refusal(FileFormatError, inspect, tmp_path)
    file_of("a.json", content | {"results": None}, tmp_path)
    assert "key `results.scores` is empty" in refusal(FileFormatError, inspect, tmp_path)


def test_several_calls_of_the_model_are_no_prompt_length(tmp_path):
    content = json.loads(next(INSPECT.glob("*.json")).read_text())
    content["samples"][2]["turn_count"] = 2
    file_of("a.json", content, tmp_path)
    reading = inspect(tmp_path)
    assert reading.unknown["prompt_tokens"] == ["mockllm/model"]
    assert "one call of the model" in str(reading)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # As older logs of OpenAI have it, and as later ones do: the same call.
        ({"input_tokens": 2006, "total_tokens": 2306}, 2006),
        ({"input_tokens": 86, "total_tokens": 2306}, 2006),
        ({"input_tokens": 86, "total_tokens": 400}, None),
        ({"input_tokens": 86, "total_tokens": 400, "input_tokens_cache_read": 0}, 86),
    ],
)
def test_cached_tokens_count_once(tmp_path, usage, expected):
    content = json.loads(next(INSPECT.glob("*.json")).read_text())
    usage = {"output_tokens": 300, "input_tokens_cache_read": 1920} | usage
    for sample in content["samples"]:
        sample["output"]["usage"] = usage
    file_of("a.json", content, tmp_path)
    reading = inspect(tmp_path)
    if expected is None:
        assert "prompt_tokens" not in reading.table
        assert "whose total tells whether cached tokens are among" in str(reading)
    else:
        assert reading.table["prompt_tokens"].tolist() == [expected]


@pytest.fixture
def grouped():
    """A log with a metric for each of two groups of samples, and one for all of them."""
    content = json.loads(next(INSPECT.glob("*.json")).read_text())
    (score,) = content["results"]["scores"]
    (reduction,) = content["reductions"]
    for i, sample in enumerate(content["samples"]):
        sample["metadata"] = {"level": i % 2}
        sample["output"]["usage"] = {"input_tokens": 10 + i % 2, "output_tokens": 1}
    values = {s["id"]: float(i % 3 == 0) for i, s in enumerate(content["samples"])}
    for item in reduction["samples"]:
        item["value"] = values[item["sample_id"]]
    levels = {f"level {k}": list(values.values())[k::2] for k in (0, 1)}
    how = {"metric": {"name": "mean"}, "group_key": "level", "name_template": "level {group_name}"}
    score["metrics"] = {
        name: {"name": name, "group": "grouped", "value": float(np.mean(found)), "params": how}
        for name, found in {**levels, "all": list(values.values())}.items()
    }
    return content, levels


def test_a_metric_of_a_group_has_the_items_and_prompts_of_that_group(tmp_path, grouped):
    content, levels = grouped
    file_of("a.json", content, tmp_path)
    for k, (name, values) in enumerate(levels.items()):
        row = inspect(tmp_path, metric=name).table.iloc[0]
        assert (row["score"], row["n_items"]) == (np.mean(values), len(values))
        assert (row["n_correct"], row["prompt_tokens"]) == (sum(values), 10 + k)
        assert row["prompt_tokens_sd"] == 0
    row = inspect(tmp_path, metric="all").table.iloc[0]
    assert row["n_items"] == len(content["samples"])
    assert 10 < row["prompt_tokens"] < 11


def test_a_group_is_known_by_the_name_of_its_metric_whatever_its_key(tmp_path, grouped):
    """A scorer with a dict of metrics puts a prefix before the keys of its log."""
    content, levels = grouped
    (score,) = content["results"]["scores"]
    score["metrics"] = {f"x_{key}": metric for key, metric in score["metrics"].items()}
    file_of("a.json", content, tmp_path)
    row = inspect(tmp_path, metric="x_level 1").table.iloc[0]
    assert (row["n_items"], row["prompt_tokens"]) == (len(levels["level 1"]), 11)
    row = inspect(tmp_path, metric="x_all").table.iloc[0]
    assert row["n_items"] == len(content["samples"])


def test_a_group_called_all_is_a_group_where_nothing_is_of_all(tmp_path, grouped):
    content, _ = grouped
    for i, sample in enumerate(content["samples"]):
        sample["metadata"] = {"level": ("all", "few")[i % 2]}
    (score,) = content["results"]["scores"]
    how = {"group_key": "level", "all": False}
    first = [float(i % 3 == 0) for i in range(len(content["samples"]))][::2]
    metric = {"name": "all", "group": "grouped", "value": float(np.mean(first)), "params": how}
    score["metrics"] = {"all": metric}
    file_of("a.json", content, tmp_path)
    row = inspect(tmp_path, metric="all").table.iloc[0]
    assert (row["n_items"], row["prompt_tokens"]) == (len(first), 10)


def test_items_of_a_group_that_the_log_does_not_tell_are_unknown(tmp_path, grouped):
    content, _ = grouped
    for sample in content["samples"]:
        sample["metadata"] = {}
    file_of("a.json", content, tmp_path)
    reading = inspect(tmp_path, metric="level 1")
    assert {"n_items", "prompt_tokens"} <= set(reading.unknown)
    assert any("that the log does not tell from others" in n for n in reading.notes)


def test_what_a_set_of_evaluations_keeps_beside_its_logs_is_passed_by(tmp_path):
    log = next(INSPECT.glob("*.json"))
    shutil.copy(log, tmp_path)
    file_of("eval-set.json", {"eval_set_id": "a", "tasks": []}, tmp_path)
    file_of("logs.json", {log.name: {"version": 2, "eval": {}}}, tmp_path)
    reading = inspect(tmp_path)
    assert len(reading.table) == reading.n_files == 1
    assert any(n.startswith("Passed by: eval-set.json, logs.json: ") for n in reading.notes)
    (tmp_path / log.name).unlink()
    message = refusal(FileFormatError, inspect, tmp_path)
    assert "eval-set.json: it is no log" in message
    assert "nothing is left" in message
    file_of("logs.json", {"version": 2, "eval": {}}, tmp_path)  # a broken log is none such
    assert "logs.json: inspect-ai cannot read it" in refusal(FileFormatError, inspect, tmp_path)


def test_logs_of_samples_under_older_names_are_passed_by(tmp_path):
    """As the harness wrote until 0.4.2."""
    one_task(tmp_path)
    (tmp_path / "results_2025-05-01T10-00-00.1.json").rename(tmp_path / "results.json")
    file_of("pretrained__m_qa.jsonl", "{}", tmp_path)
    reading = quietly(read_lm_eval, tmp_path)
    assert reading.table["score"].tolist() == [0.5]
    assert any(n.startswith("Passed by: pretrained__m_qa.jsonl: ") for n in reading.notes)


def test_without_inspect_ai_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    assert 'pip install "bayes_ctxlaw[readers]"' in refusal(FileFormatError, inspect)


# --- every fault names its file -------------------------------------------------------------------


def test_a_metric_that_one_file_has_and_others_lack(tmp_path):
    shutil.copytree(LM_EVAL, tmp_path, dirs_exist_ok=True)
    path = sorted(tmp_path.rglob("results_*.json"))[1]
    content = json.loads(path.read_text())
    content["results"]["word"]["f1,none"] = 0.5
    path.write_text(json.dumps(content))
    name = path.relative_to(tmp_path).as_posix()
    message = refusal(SpecificationError, lm_eval, tmp_path, tasks=["word"], metric=None)
    assert f"f1,none is only in {name}." in message


def test_a_fault_of_a_counter_or_of_a_column_names_the_file(tmp_path):
    message = refusal(SpecificationError, lm_eval, count_tokens=lambda text: 0)
    assert message.startswith("example__tiny-1b/samples_sums_small_")
    (tmp_path / "a.csv").write_text("task,model,score\nqa,a,0.5\n")
    (tmp_path / "b.csv").write_text("task,llm,score\nqa,a,0.5\n")
    message = refusal(SpecificationError, quietly, read_tables, tmp_path, llm="model")
    assert message.startswith("b.csv: llm='model': there is no column 'model'")


def test_what_some_files_lack_names_these(tmp_path):
    shutil.copytree(LM_EVAL, tmp_path, dirs_exist_ok=True)
    log = log_of(sorted(tmp_path.rglob("results_*.json"))[2], "word")
    name = log.relative_to(tmp_path).as_posix().replace("samples_word", "results")[:-1]
    log.unlink()
    reading = lm_eval(tmp_path, count_tokens=words)
    message = refusal(ObservationError, bcl.as_observations, reading)
    assert f"prompt_tokens of example/tiny-2b is unknown in {name}." in message
    reading = lm_eval(count_tokens=words)
    row = reading.table["task"].eq("sums_small").idxmax()
    reading.table.loc[row, "chance"] = np.nan
    message = refusal(ObservationError, bcl.as_observations, reading)
    assert f"It is unknown in {reading.table.loc[row, 'source']}." in message


def test_parts_that_cannot_be_pooled_are_named_with_their_files(tmp_path, results):
    source, content = results
    del content["n-samples"]
    file_of(source, content, tmp_path)
    pooled = dict.fromkeys(["sums_small", "sums_large"], "sums")
    message = refusal(ObservationError, lm_eval, tmp_path, tasks=pooled, metric="acc")
    assert f"sums_small, example/tiny-1b, 0 shots, seed 1 ({source.as_posix()})" in message


def test_names_in_no_file_come_with_the_files_that_were_read():
    last = sorted(LM_EVAL.rglob("results_*.json"))[0].relative_to(LM_EVAL).as_posix()
    assert f"Files read: {last}" in refusal(SpecificationError, lm_eval, tasks=["qa"])
    assert f", in {last}" in refusal(SpecificationError, lm_eval, chance={"qa": 0.5})


def test_the_table_of_llms_is_named(tmp_path):
    path = file_of("mine.csv", "model,compute\na,1\n", tmp_path)
    assert "llms, mine.csv, has no column `llm`" in refusal(SpecificationError, paper, llms=path)
    file_of("mine.csv", "llm,window\na,1\n", tmp_path)
    assert "llms='mine.csv' cannot be used" in refusal(SpecificationError, paper, llms=path)


# --- tables ---------------------------------------------------------------------------------------


def test_tables_one_below_the_other(tmp_path):
    frame = pd.DataFrame(
        {
            "task": "qa",
            "model": ["Llama-2-7b", "mine"],
            "acc": [0.3, 0.4],
            "prompt_tokens": 90,
            "compute": [1e22, np.nan],
        }
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.assign(prompt_tokens=900).to_parquet(tmp_path / "b.parquet")
    names = {"llm": "model", "score": "acc"}
    llms = {"mine": {"compute": 2e22, "context_window": 999, "family": "mine"}}
    reading = quietly(read_tables, tmp_path, llms=llms, **names)
    obs = bcl.as_observations(reading)
    assert obs["compute"].values.tolist() == [1e22, 2e22] * 2
    assert obs["context_window"].values.tolist() == [4096, 999] * 2
    assert obs["source"].values.tolist()[::3] == ["a.csv, row 0", "b.parquet, row 1"]
    (tmp_path / "c.csv").write_text("task,model,acc\nqa,,0.5\n")
    message = refusal(FileFormatError, quietly, read_tables, tmp_path, **names)
    assert "c.csv: column `llm` is nan in row 0" in message
    (tmp_path / "c.csv").write_text("model,acc\na,0.5\n")
    assert "column `task` is missing" in refusal(
        FileFormatError, quietly, read_tables, tmp_path, **names
    )


@pytest.mark.parametrize(
    ("column", "values"), [("context_window", (4096, 8192)), ("technique", ("none", "YaRN"))]
)
def test_a_blank_is_not_filled_where_the_rows_of_a_checkpoint_differ(tmp_path, column, values):
    head = "compute,context_window,technique".replace(f"{column},", "").replace(f",{column}", "")
    fixed = "1e22,none" if column == "context_window" else "1e22,4096"
    text = f"task,llm,score,prompt_tokens,{head},{column}\n"
    text += "".join(f"qa,Llama-2-7b,0.3,{90 + i},{fixed},{v}\n" for i, v in enumerate(values))
    reading = tables(tmp_path, text + f"qa,Llama-2-7b,0.5,9000,{fixed},\n")
    assert reading.table[column].isna().tolist() == [False, False, True]
    assert f"{column} of Llama-2-7b" in refusal(ObservationError, bcl.as_observations, reading)


def test_a_blank_has_the_one_value_of_its_checkpoint_and_that_is_said(tmp_path):
    text = "task,llm,score,prompt_tokens,compute,context_window\n"
    text += "qa,X,0.3,90,1e22,4096\nqa,X,0.4,900,,\n"
    reading = tables(tmp_path, text)
    assert bcl.as_observations(reading)["compute"].values.tolist() == [1e22] * 2
    note = "Blanks of compute, context_window were filled, as in other rows of X."
    assert note in reading.notes


def test_compute_of_an_extension_is_that_of_its_rows(tmp_path):
    text = LLAMA.format(",extension_tokens,context_window", ",0,4096", ",1e12,32768")
    reading = tables(tmp_path, text)
    expected = [bcl.training_flops(7e9, 2e12, further) for further in (0, 1e12)]
    assert reading.table["compute"].tolist() == pytest.approx(expected)
    message = refusal(ObservationError, bcl.as_observations, reading)
    assert "a base extended to two windows is two" in message
    text = LLAMA.format(",extension_tokens,context_window", ",,4096", ",1e12,32768")
    reading = tables(tmp_path, text)
    assert reading.table["compute"].isna().tolist() == [True, False]
    message = refusal(ObservationError, bcl.as_observations, reading)
    assert "`extension_tokens`, row scores.csv, row 0: found blank" in message
    assert "write 0 where there was no such training" in message


def test_numbers_of_rows_do_not_keep_tables_apart(tmp_path):
    frame = pd.DataFrame({"obs_id": [0, 1], "task": "qa", "llm": "Llama-2-7b", "score": 0.5})
    for name in ("a.csv", "b.csv"):
        frame.assign(prompt_tokens=90).to_csv(tmp_path / name, index=False)
    reading = quietly(read_tables, tmp_path)
    assert bcl.as_observations(reading).sizes["obs_id"] == 4
    assert any("obs_id" in note for note in reading.notes)
    kept = quietly(read_tables, tmp_path / "a.csv").table
    assert kept["obs_id"].tolist() == [0, 1]


# --- fuzzed inputs --------------------------------------------------------------------------------
# 2,000 cases in all: whatever the files hold, the package's own errors and nothing else.

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.integers(-2, 3),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", " a", "\ud800", "N/A", "0.5", "\u202e", "a\x00b", "../x"]),
    st.lists(st.integers(0, 1), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
FUZZ = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def places(value, path=()):
    """Every key and index of parsed JSON, with the way to it."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inside in pairs:
            yield (*path, key)
            yield from places(inside, (*path, key))


def changed(data, content):
    """A copy of `content` with one key gone or one value replaced; and the way to it."""
    copied = copy.deepcopy(content)
    way = data.draw(st.sampled_from(list(places(content))))
    at = copied
    for key in way[:-1]:
        at = at[key]
    if data.draw(st.booleans()):
        del at[way[-1]]
    else:
        at[way[-1]] = data.draw(JUNK)
    return copied, way


def cut(data, content):
    """Content of a file, cut short or with a byte changed."""
    raw = bytearray(content)
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        return bytes(raw[:at])
    raw[at] = data.draw(st.integers(0, 255))
    return bytes(raw)


def outcome(read, path):
    """A reading, or the message of one of the package's own errors."""
    try:
        return read(path)
    except bcl.BayesCtxlawError as error:
        return f"{error}"


def check_told(found, name, way):
    """An error names the file and the key."""
    assert name in found, (found, way)
    keys = [k for k in way if isinstance(k, str)]
    told = [k for k in keys[-2:] if k in found or repr(k)[1:-1] in found]
    assert told or not keys, (found, way)


def check_observed(reading, name):
    """What a reading lacks, or holds that cannot be, is an error that names the file."""
    found = outcome(bcl.as_observations, reading)
    assert not isinstance(found, str) or name in found, found


@settings(FUZZ, max_examples=150)
@given(data=st.data())
def test_fuzzed_values_in_the_paper_s_files(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz-paper"
    path = sorted(PAPER.rglob("*piqa*shots=7*"))[0]
    content = json.loads(path.read_text())
    content["instances"] = content["instances"][:4]
    content["metric_value"] = float(np.mean([i["metric_value"] for i in content["instances"]]))
    expected = outcome(paper, file_of(path.name, content, folder)).table
    mutated, way = changed(data, content)
    found = outcome(paper, file_of(path.name, mutated, folder))
    if isinstance(found, Reading):
        # What was read is still there; only `metric` is a word that may be any other.
        assert way[0] not in ("name", "n_shots", "local_seed") or mutated == content
        np.testing.assert_allclose(found.table["score"], expected["score"], atol=1e-9)
        assert found.table["n_items"].tolist() == [len(mutated["instances"])]
        check_observed(found, path.name)
    else:
        check_told(found, path.name, way)


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_fuzzed_bytes_in_the_paper_s_files(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz-bytes"
    folder.mkdir(exist_ok=True)
    path = sorted(PAPER.rglob("*piqa*shots=7*"))[0]
    (folder / path.name).write_bytes(cut(data, path.read_bytes()))
    found = outcome(paper, folder)
    assert isinstance(found, Reading) or path.name in found


@settings(FUZZ, max_examples=150)
@given(data=st.data(), alone=st.booleans())
def test_fuzzed_values_in_lm_eval_s_results(data, alone, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / f"fuzz-results-{alone}"
    path, *_, sound = sorted(LM_EVAL.rglob("results_*.json"))
    content = json.loads(path.read_text())
    mutated, way = changed(data, content)
    file_of(path.name, mutated, folder)
    if not alone:  # a fault is that of its file, however many others there are
        file_of(sound.name, sound.read_text(), folder)
    found = outcome(lambda p: lm_eval(p, llms=None), folder)
    if isinstance(found, Reading):
        check_observed(found, path.name)
        kept = found.table.query(f"source == {path.name!r}").set_index("task")
        assert set(kept.index) == set(ACCURACIES) & set(mutated["results"])
        assert len(kept) == 3 or not alone
        for task in kept.index:
            metric = kept.loc[task, "metric"]
            assert kept.loc[task, "score"] == mutated["results"][task][metric]
            if task in mutated.get("n-samples", {}):
                assert kept.loc[task, "n_items"] == mutated["n-samples"][task]["effective"]
    else:
        check_told(found, path.name, way)


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_fuzzed_values_in_lm_eval_s_logs(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz-log"
    results = sorted(LM_EVAL.rglob("results_*.json"))[0]
    log = log_of(results, "sums_small")
    file_of(results.name, results.read_text(), folder)
    lines = log.read_text().splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    mutated, way = changed(data, json.loads(lines[number]))
    lines[number] = json.dumps(mutated)
    file_of(log.name, "\n".join(lines), folder)
    found = outcome(
        lambda p: lm_eval(p, tasks=["sums_small"], count_tokens=lambda t: words(t) + 1), folder
    )
    if isinstance(found, Reading):
        row = found.table.iloc[0]
        assert row["score"] == json.loads(results.read_text())["results"]["sums_small"]["acc,none"]
        assert row["n_items"] == 15
        check_observed(found, results.name)
    else:
        check_told(found, log.name, way)
        assert f"line {number + 1}" in found or "15" in found


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_fuzzed_bytes_in_lm_eval_s_logs(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz-log-bytes"
    results = sorted(LM_EVAL.rglob("results_*.json"))[0]
    log = log_of(results, "sums_small")
    file_of(results.name, results.read_text(), folder)
    (folder / log.name).write_bytes(cut(data, log.read_bytes()))
    found = outcome(lambda p: lm_eval(p, tasks=["sums_small"]), folder)
    assert isinstance(found, Reading) or log.name in found


@settings(FUZZ, max_examples=100)
@given(data=st.data(), as_bytes=st.booleans())
def test_fuzzed_inspect_logs(data, as_bytes, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz-inspect"
    folder.mkdir(exist_ok=True)
    if as_bytes:
        path = folder / "log.eval"
        path.write_bytes(cut(data, sorted(INSPECT.glob("*.eval"))[0].read_bytes()))
    else:
        content = json.loads(next(INSPECT.glob("*.json")).read_text())
        for sample in content["samples"]:
            sample.pop("events", None)
        path = file_of("log.json", changed(data, content)[0], folder)
    found = outcome(inspect, path)
    if isinstance(found, Reading):
        check_observed(found, path.name)
    else:
        assert path.name in found


@settings(FUZZ, max_examples=100)
@given(data=st.data(), as_bytes=st.booleans())
def test_fuzzed_tables(data, as_bytes, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz-tables"
    sound = "task,model,score,prompt_tokens,seed\nqa,Llama-2-7b,0.3,90,1\nqa,Llama-2-7b,0.4,900,1\n"
    file_of("sound.csv", sound, folder)
    if as_bytes:
        (folder / "t.csv").write_bytes(cut(data, sound.encode()))
    else:
        cells = [line.split(",") for line in sound.splitlines()]
        row, column = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 4))
        junk = st.sampled_from(
            ["", " ", "qa", "nan", "-1", "1e999", "0.5", "llm", '"', "task", "\0"]
        )
        cells[row][column] = data.draw(junk)
        file_of("t.csv", "\n".join(map(",".join, cells)), folder)
    found = outcome(lambda p: quietly(read_tables, p, llm="model"), folder)
    if isinstance(found, Reading):
        check_observed(found, "t.csv")
    else:
        assert "t.csv" in found


# --- many files -----------------------------------------------------------------------------------


def test_many_files_in_bounded_time_and_memory(tmp_path, paper_file):
    """The full size, 10,000 files of 250 instances, is measured by benchmarks/readers.py."""
    name, content = paper_file
    content["instances"] = [content["instances"][0]] * 250
    content["metric_value"] = content["instances"][0]["metric_value"]
    text = json.dumps(content, indent=4)
    for k in range(300):
        (tmp_path / name.replace("31337", str(k))).write_text(
            text.replace('"local_seed": 31337', f'"local_seed": {k}')
        )
    tracemalloc.start()
    try:
        start = time.perf_counter()
        reading = paper(tmp_path)
        elapsed = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(reading.table) == 300
    assert reading.table["n_items"].sum() == 300 * 250
    assert elapsed < 60 * 300 / 10_000 * 10  # ten times the bar: memory is being traced
    # One file at a time: all of them parsed would take a hundred times as much.
    assert peak < 40 * len(text)


def test_progress_is_shown_on_stderr_if_wanted(capsys):
    read_context_scaling(PAPER)
    captured = capsys.readouterr()
    assert "16/16" in captured.err
    assert not captured.out
    paper()
    assert not capsys.readouterr().err
