"""The bundled tables: what they hold, and that they are what was published."""

import importlib.util
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from _shared import REPOSITORY, SHARED, needs_shared

from bayes_ctxlaw.compute import list_models
from bayes_ctxlaw.datasets import list_datasets, load_dataset
from bayes_ctxlaw.errors import UnknownLabelError
from bayes_ctxlaw.likelihoods import choose_likelihood
from bayes_ctxlaw.observations import as_observations

NAMES = ["montgomery2025", "helmet_icl", "helmet_retrieval", "lceg_ruler", "ruler",
         "many_shot_icl", "ladder"]  # fmt: skip

PARTIAL_CREDIT = {f"RULER/{task}" for task in ("NIAH_MV", "NIAH_MQ", "VT", "CWE", "FWE")}
RULER_AVERAGES = {  # of the 13 tasks as arXiv:2409.12181 prints them, at 8k, 16k, 32k, 64k tokens
    "Llama-2-7B-PI": [0.760, 0.696, 0.577, 0.0],
    "Llama-2-7B-YaRN": [0.656, 0.542, 0.370, 0.0],
}


def compiler():
    path = REPOSITORY / "benchmarks" / "compile_datasets.py"
    spec = importlib.util.spec_from_file_location("compile_datasets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_list_agrees_with_the_tables():
    listed = list_datasets()
    assert list(listed.index) == NAMES
    columns = ["rows", "tasks", "llms", "description", "source", "licence", "good_for"]
    assert list(listed) == columns
    for name in NAMES:
        obs = load_dataset(name)
        counts = [obs.sizes["obs_id"], *(len(np.unique(obs[v])) for v in ("task", "llm"))]
        assert listed.loc[name, ["rows", "tasks", "llms"]].tolist() == counts


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_observations_with_a_source_in_every_row(name, tmp_path):
    obs = load_dataset(name)
    needs_context = name != "ladder"
    xr.testing.assert_identical(as_observations(obs, needs_context=needs_context), obs)
    assert all(s.startswith("arXiv:") for s in obs["source"].values)
    assert obs.attrs["name"] == name
    obs.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    back = xr.load_dataset(tmp_path / "a.nc", engine="h5netcdf")
    xr.testing.assert_identical(as_observations(back, needs_context=needs_context), obs)


def test_montgomery2025():
    obs = load_dataset("montgomery2025")
    assert obs.sizes["obs_id"] == 117
    assert sorted(np.unique(obs["llm"])) == [
        "Llama-2-13B-128k",
        "Llama-2-13B-8k",
        "Llama-2-7B-128k",
        "Llama-2-7B-8k",
    ]
    beyond = obs["beyond_10k"]
    assert beyond.dtype == bool
    assert beyond.sum() == 12
    inside = (obs["prompt_tokens"] > 10_000) & (obs["prompt_tokens"] <= obs["context_window"])
    assert (beyond == inside).all()
    metric = obs.to_dataframe().groupby("task")["metric"].unique().map(list).to_dict()
    assert metric == {
        "arithmetic reasoning": ["accuracy"],
        "common sense reasoning": ["accuracy"],
        "machine translation": ["BLEU/100 (sentence 4-gram)"],
    }


def test_helmet_icl():
    obs = load_dataset("helmet_icl")
    assert obs.sizes["obs_id"] == 160
    assert (obs["chance"] == 0.0443).all()
    assert (obs["n_items"] == 2500).all()
    np.testing.assert_array_equal(obs["compute"], 6 * obs["n_params"] * obs["train_tokens"])
    shorter = obs["context_window"] < obs["claimed_window"]
    assert set(obs["llm"].values[shorter]) == {"Qwen2.5-7B", "Qwen2.5-7B-Inst"}
    assert (obs["context_window"].values[shorter] == 32768).all()
    assert obs["instruct"].dtype == bool
    inst = np.array(["Inst" in llm for llm in obs["llm"].values])
    assert (obs["instruct"].values == inst).all()
    assert "shots" not in obs


def test_helmet_retrieval_against_the_averages_of_its_tables():
    """Each row of the tables states the mean of seven categories, in percent: five beside ICL."""
    others = {  # citations, long-document answers, summaries, and the mean stated
        ("Llama-3.1-8B", 131072): (1.6, 36.2, 1.7, 37.1),
        ("Llama-3.1-70B-Inst", 65536): (29.8, 54.0, 32.9, 58.2),
        ("Yarn-Llama-2-7B-128k", 32768): (3.5, 20.2, 0.7, 25.8),
        ("Phi-3-med-128k-Inst", 16384): (26.4, 21.2, 23.3, 46.5),
        ("Qwen2.5-3B-Inst", 8192): (21.9, 23.7, 18.4, 49.4),
        ("Llama-3-70B-Inst-θ", 65536): (7.6, 26.6, 34.6, 41.3),
        ("Yi-34B-200k", 131072): (1.7, 26.6, 14.3, 40.3),
        ("Llama-2-7B-32k-Inst", 65536): (0.0, 2.0, 0.0, 0.3),
    }
    keys = ["llm", "prompt_tokens", "task"]
    both = [load_dataset(name).to_dataframe() for name in ("helmet_icl", "helmet_retrieval")]
    percent = 100.0 * pd.concat(both).set_index(keys)["score"].unstack()
    assert percent.shape == (160, 4)
    assert percent.notna().all(axis=None)
    for row, (*missing, stated) in others.items():
        # Means and what they are means of are both printed with one decimal.
        assert (percent.loc[row].sum() + sum(missing)) / 7 == pytest.approx(stated, abs=0.1)


def test_helmet_retrieval_has_the_checkpoints_of_helmet_icl():
    of = ["llm", "family", "technique", "compute", "context_window", "instruct"]
    icl, retrieval = (
        load_dataset(name).to_dataframe()[of].drop_duplicates().set_index("llm").sort_index()
        for name in ("helmet_icl", "helmet_retrieval")
    )
    pd.testing.assert_frame_equal(icl, retrieval)
    assert choose_likelihood(load_dataset("helmet_retrieval")) == "student_t"


def test_lceg_ruler():
    obs = load_dataset("lceg_ruler")
    frame = obs.to_dataframe()
    cells = frame.groupby(["llm", "prompt_tokens"]).size()
    assert (cells == 13).all()
    assert len(cells) == 49  # 11 checkpoints at 5 lengths, without 4 of the base and the 2 below
    means = frame.groupby(["llm", "prompt_tokens"])["score"].mean()
    for llm, averages in RULER_AVERAGES.items():
        np.testing.assert_allclose(means[llm][[8192, 16384, 32768, 65536]], averages, atol=0.0005)
    # Which of these two is which at 4k, the paper's tables do not agree on.
    without_4k = set(frame["llm"]) - set(frame["llm"][frame["prompt_tokens"] == 4096])
    assert without_4k == {"Llama-2-7B-YaRN", "Llama-2-7B-CLEX"}
    assert (frame["n_items"] == 500).all()
    assert (frame["score"].max(), frame["score"].min()) == (1, 0)


def test_ruler_against_the_averages_of_its_papers():
    """Each row of the tables also states its mean over the lengths, in percent."""
    stated = {
        "Llama-3.1-70B": 89.6, "Llama-3.1-8B": 88.3, "Gradient-Llama-3-70B-1M": 86.5,
        "Yi-34B-200k": 87.5, "Phi-3-medium-128k": 81.5, "LWM-7B-1M": 72.8, "DBRX": 56.3,
        "Together-7B-32k": 50.3, "LongChat-7B-32k": 49.1, "LongAlpaca-13B": 36.3,
        "Qwen2.5-7B": 80.1, "Qwen2.5-14B": 86.5, "Qwen2.5-72B": 90.8,
        "Qwen2.5-7B-YaRN-DCA": 85.4, "Qwen2.5-14B-YaRN-DCA": 91.4, "Qwen2.5-72B-YaRN-DCA": 95.1,
    }  # fmt: skip
    obs = load_dataset("ruler").to_dataframe()
    percent = 100.0 * obs.set_index(["llm", "prompt_tokens"])["score"].unstack()
    for llm in percent.index[percent.index.str.endswith("-YaRN-DCA")]:
        percent.loc[llm] = percent.loc[llm].fillna(percent.loc[llm.removesuffix("-YaRN-DCA")])
    found = percent.dropna().mean(axis=1)
    assert set(found.index) == set(stated) == set(percent.index) - {"Llama-2-7B"}
    # Means of numbers with one decimal, printed with one.
    np.testing.assert_allclose(found, pd.Series(stated).loc[found.index], atol=0.06)


def test_lceg_ruler_names_the_window_and_the_tokens_that_were_trained():
    frame = load_dataset("lceg_ruler").to_dataframe().drop_duplicates("llm").set_index("llm")
    untuned = {"Llama-2-7B", "LM-Infinite", "NTK-Frozen", "Self-Extend"}
    untuned = {"Llama-2-7B-" * (name != "Llama-2-7B") + name for name in untuned}
    assert set(frame.index[frame["extension_tokens"] == 0]) == untuned
    assert set(frame.index[frame["context_window"] == 4096]) == untuned
    assert (frame["extension_tokens"].drop(list(untuned)) == 1e9).all()
    assert frame.index[frame["context_window"] == 65536].tolist() == ["Llama-2-7B-NTK-64K"]
    np.testing.assert_allclose(frame["compute"], 6 * 7e9 * (2e12 + frame["extension_tokens"]))


def test_lceg_ruler_counts_items_in_eight_tasks_only():
    obs = load_dataset("lceg_ruler")
    counted = (obs["metric"] == "string match").values
    assert set(obs["task"].values[~counted]) == PARTIAL_CREDIT
    assert set(obs["task"].values[counted]).isdisjoint(PARTIAL_CREDIT)
    assert "n_correct" not in obs
    assert choose_likelihood(obs) == "student_t"
    assert choose_likelihood(obs.isel(obs_id=counted)) == "beta_binomial"


def test_many_shot_icl():
    obs = load_dataset("many_shot_icl")
    windows = obs.to_dataframe().groupby("llm")["context_window"].unique().map(list).to_dict()
    assert windows == {
        "Llama-2-7b-chat-hf": [4096],
        "Llama-2-7b-hf": [4096],
        "LLaMA-2-7B-32K": [32768],
        "LLaMA-2-7B-32K-Instruct": [32768],
        "llama-2-7b-80k": [81920],
    }
    assert set(obs["llm"].values[obs["instruct"].values]) == {
        "Llama-2-7b-chat-hf",
        "LLaMA-2-7B-32K-Instruct",
    }
    assert not any("BM25" in text for name in ("task", "llm") for text in obs[name].values)
    assert (obs["prompt_tokens"] > 0).all()
    assert (obs["prompt_tokens"] < obs["context_window"]).all()
    assert (obs["compute"] == 6 * 7e9 * 2e12).all()
    assert set(zip(obs["task"].values, obs["chance"].values.tolist(), strict=True)) == {
        ("ICL/banking77", 0.012987),
        ("ICL/clinic150", 0.006623),
        ("ICL/trec", 0.166667),
    }
    assert (obs["score"] > obs["chance"]).all()
    assert (obs["shots"].min(), obs["shots"].max()) == (1, 2000)


def test_many_shot_icl_does_not_count_an_item_once_for_each_draw():
    obs = load_dataset("many_shot_icl")
    assert (obs["n_items"] == 250).all()
    np.testing.assert_allclose(obs["score"] * 2500, np.rint(obs["score"] * 2500), atol=1e-6)
    assert choose_likelihood(obs) == "student_t"
    assert np.isfinite(obs["draws_sd"]).all()
    assert obs["draws_sd"].max() < 0.5


def test_ladder():
    obs = load_dataset("ladder")
    frame = obs.to_dataframe()
    assert not {"prompt_tokens", "context_window"} & set(obs)
    assert (frame.groupby("llm").size() == 8).all()
    ends = frame.drop_duplicates("llm").set_index("llm")
    assert ends["role"].value_counts().to_dict() == {"train": 16, "target": 2}
    assert set(ends.index[ends["role"] == "target"]) == {"7B-4T", "13B-5T"}
    train = ends[ends["role"] == "train"]
    assert train["n_params"].nunique() == 4
    ratio = train["train_tokens"] / (20 * train["n_params"])
    np.testing.assert_allclose(sorted(ratio), np.repeat([1, 2, 5, 10], 4), rtol=0.02)
    assert train["compute"].sum() == pytest.approx(5.2e21, rel=0.02)  # as the paper says, by 6·N·D
    assert (frame["score"].between(0, 1) & (frame["task_loss"] > 0)).all()
    chance = frame.groupby("task")["chance"].first()
    assert chance[["PIQA", "CommonsenseQA"]].tolist() == [0.5, 0.2]


@needs_shared
def test_ladder_against_the_runs():
    raw = pd.read_csv(SHARED / "ladder_runs.csv").set_index(["run", "benchmark"])
    frame = load_dataset("ladder").to_dataframe()
    names = {v: k for k, v in compiler().LADDER_TASKS.items()}
    rows = raw.loc[
        [
            (s.split("run ")[1], names[t])
            for s, t in zip(frame["source"], frame["task"], strict=True)
        ]
    ]
    pairs = {"score": "rc_acc_mean5", "task_loss": "task_bpb_mean5", "n_items": "n_items"}
    for ours, theirs in (pairs | {"n_params": "n_params", "train_tokens": "tokens"}).items():
        np.testing.assert_array_equal(frame[ours], rows[theirs])
    pooled = sum(
        weight * raw.xs(f"mmlu_{group}_test", level="benchmark")["rc_acc_mean5"]
        for group, weight in compiler().LADDER_MMLU.items()
    )
    mmlu = frame[frame["task"] == "MMLU"]
    runs = [s.split("run ")[1] for s in mmlu["source"]]
    np.testing.assert_allclose(mmlu["score"], pooled[runs], atol=1e-6)


def test_unknown_name():
    with pytest.raises(UnknownLabelError) as caught:
        load_dataset("montgomery")
    assert "Did you mean 'montgomery2025'?" in str(caught.value)
    assert ", ".join(NAMES) in str(caught.value)


@needs_shared
@pytest.mark.parametrize("name", [*NAMES, "model_compute"])
def test_bundled_tables_are_what_the_script_compiles(name):
    compiled = compiler().TABLES[name](SHARED)
    path = REPOSITORY / "bayes_ctxlaw" / "datasets" / f"{name}.csv"
    pd.testing.assert_frame_equal(pd.read_csv(path), compiled, check_dtype=False)
    assert path.read_bytes() == compiled.to_csv(index=False, lineterminator="\n").encode()


@needs_shared
def test_montgomery2025_against_the_figures():
    raw = pd.read_csv(SHARED / "montgomery2025_figures.csv").query("inferred == 0")
    obs = load_dataset("montgomery2025").to_dataframe()
    pairs = {"score": "score", "prompt_tokens": "n_pmt", "context_window": "n_ctx"}
    for ours, theirs in (pairs | {"n_items": "n_items", "compute": "compute"}).items():
        np.testing.assert_array_equal(obs[ours], raw[theirs])
    assert obs["task"].tolist() == raw["task"].tolist()
    assert all(
        llm.startswith(model + "-") for llm, model in zip(obs["llm"], raw["model"], strict=True)
    )


@needs_shared
def test_helmet_icl_against_the_figures():
    raw = pd.read_csv(SHARED / "helmet_icl.csv")
    obs = load_dataset("helmet_icl").to_dataframe()
    pairs = {"score": "score", "prompt_tokens": "n_prompt_tokens", "claimed_window": "n_ctx"}
    for ours, theirs in (pairs | {"n_items": "n_instances"}).items():
        np.testing.assert_array_equal(obs[ours], raw[theirs])
    for ours, theirs in zip(obs["source"], raw["source"], strict=True):
        assert all(part in theirs for part in ours.split(", "))


@needs_shared
def test_lceg_ruler_against_the_tables():
    raw = pd.read_csv(SHARED / "lceg_ruler_subtasks.csv")
    swapped = raw["notes"].str.contains("SWAPPED")
    assert swapped.sum() == 26
    raw = raw[~swapped]
    obs = load_dataset("lceg_ruler").to_dataframe()
    pairs = {"score": "score", "prompt_tokens": "n_prompt_tokens", "context_window": "n_ctx"}
    for ours, theirs in (pairs | {"task": "task", "technique": "technique"}).items():
        assert obs[ours].tolist() == raw[theirs].tolist()
    np.testing.assert_allclose(obs["compute"], 6 * raw["n_params"] * raw["train_tokens"])
    partial = raw["notes"].str.contains("not binomial").tolist()
    assert (obs["metric"] != "string match").tolist() == partial


@needs_shared
def test_many_shot_icl_against_the_results():
    raw = pd.read_csv(SHARED / "many_shot_icl.csv")
    left_out = raw["train_tokens"].isna()
    assert set(raw["family"][left_out]) == {"Mistral"}
    raw = raw[~left_out]
    obs = load_dataset("many_shot_icl").to_dataframe()
    pairs = {"score": "score", "prompt_tokens": "n_prompt_tokens", "context_window": "n_ctx"}
    for ours, theirs in (pairs | {"shots": "n_shots", "task": "task"}).items():
        assert obs[ours].tolist() == raw[theirs].tolist()
    for sd, notes in zip(obs["draws_sd"], raw["notes"], strict=True):
        assert f"250 shared test items; sd over draws={sd:.4f};" in notes
    for ours, theirs in zip(obs["source"], raw["source"], strict=True):
        assert all(part in theirs for part in ours.split(", "))


@needs_shared
def test_registry_against_the_figures():
    raw = pd.read_csv(SHARED / "model_compute.csv").set_index("key")
    models = list_models()
    np.testing.assert_allclose(models["compute"], raw["C_6ND_flops"], rtol=1e-12)
    assert models["source"].tolist() == raw["source_of_N_and_D"].tolist()


def test_loading_imports_neither_pymc_nor_the_network():
    code = (
        "import sys, bayes_ctxlaw.datasets as d; d.load_dataset('montgomery2025'); "
        "assert not {'pymc', 'pytensor', 'requests', 'urllib3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
