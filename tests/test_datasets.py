"""The bundled tables: what they hold, and that they are what was published."""

import doctest
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_ctxlaw.datasets as datasets
from bayes_ctxlaw.compute import list_models
from bayes_ctxlaw.datasets import list_datasets, load_dataset
from bayes_ctxlaw.errors import UnknownLabelError
from bayes_ctxlaw.observations import as_observations

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
NAMES = ["montgomery2025", "helmet_icl"]

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data here")


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
    xr.testing.assert_identical(as_observations(obs), obs)
    assert all(s.startswith("arXiv:") for s in obs["source"].values)
    assert obs.attrs["name"] == name
    obs.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    back = xr.load_dataset(tmp_path / "a.nc", engine="h5netcdf")
    xr.testing.assert_identical(as_observations(back), obs)


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


def test_unknown_name():
    with pytest.raises(UnknownLabelError) as caught:
        load_dataset("montgomery")
    assert "Did you mean 'montgomery2025'?" in str(caught.value)
    assert "montgomery2025, helmet_icl" in str(caught.value)


@needs_shared
@pytest.mark.parametrize("name", [*NAMES, "model_compute"])
def test_bundled_tables_are_what_the_script_compiles(name):
    compiled = compiler().TABLES[name](SHARED)
    bundled = pd.read_csv(REPOSITORY / "bayes_ctxlaw" / "datasets" / f"{name}.csv")
    pd.testing.assert_frame_equal(bundled, compiled, check_dtype=False)


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


def test_examples_in_docstrings():
    assert doctest.testmod(datasets).failed == 0
