"""Compile the bundled tables from the folder of published measurements.

    python benchmarks/compile_datasets.py --shared ../shared/data

writes the bundled tables and ``model_compute.csv`` to ``bayes_ctxlaw/datasets`` (or ``--out``).
Nothing is measured, estimated or filled in here: columns are renamed to the schema, and what is
left out and the few changes of value are said and explained below.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import pandas as pd

from bayes_ctxlaw.compute import training_flops

REPOSITORY = Path(__file__).resolve().parents[1]

MONTGOMERY_METRICS = {
    "arithmetic reasoning": "accuracy",
    "common sense reasoning": "accuracy",
    "machine translation": "BLEU/100 (sentence 4-gram)",
}

# The only checkpoints whose claimed window is longer than the trained one although nothing says
# that an extension was switched on beyond the trained one.
CLAIMED_ONLY = ("Qwen2.5-7B", "Qwen2.5-7B-Inst")

LCEG_EXTENSION_TOKENS = 1_000_000_000
"""Every method that was tuned saw the same 1B tokens of SlimPajama."""

MANY_SHOT_ITEMS = 250
"""Test items behind a score. It is the mean of 10 draws of demonstrations, so of 2500 answers, but
always to the same 250 items: how hard those happen to be does not average out over draws. 2500
would claim a tenth of that noise; 250 is at most too careful about items not yet seen. The noise of
the draws themselves, `draws_sd` / √10, is no sampling of items and left to the fitted noise."""


def montgomery2025(shared: Path) -> pd.DataFrame:
    """Points of arXiv:2510.14919 that could be read; one llm label per checkpoint."""
    raw = _read(shared / "montgomery2025_figures.csv")
    raw = raw[raw["inferred"] == 0]  # the others are hidden behind another dot
    window = (raw["n_ctx"] // 1024).astype(str) + "k"
    return pd.DataFrame(
        {
            "task": raw["task"],
            "llm": raw["model"] + "-" + window,
            "family": raw["family"],
            "technique": raw["technique"],
            "compute": raw["compute"],
            "context_window": raw["n_ctx"],
            "prompt_tokens": raw["n_pmt"],
            "score": raw["score"],
            "n_items": raw["n_items"],
            "shots": raw["shots"],
            "metric": raw["task"].map(MONTGOMERY_METRICS),
            "beyond_10k": raw["beyond_10k"] == 1,
            "source": "arXiv:2510.14919, " + raw["source_figure"] + " (point read off the figure)",
        }
    ).reset_index(drop=True)


def helmet_icl(shared: Path) -> pd.DataFrame:
    """HELMET many-shot in-context learning, with the window that was trained."""
    raw = _read(shared / "helmet_icl.csv")
    kind = raw["notes"].str.split(";").str[0]
    unknown = sorted(set(kind) - {"base", "instruct"})
    if unknown:
        raise ValueError(f"notes begin with something other than base or instruct: {unknown}")
    claimed_only = raw["model"].isin(CLAIMED_ONLY)
    return pd.DataFrame(
        {
            "task": raw["task"],
            "llm": raw["model"],
            "family": raw["family"],
            "technique": raw["technique"],
            "compute": training_flops(raw["n_params"], raw["train_tokens"]),
            "n_params": raw["n_params"],
            "train_tokens": raw["train_tokens"],
            "context_window": raw["n_ctx"].where(~claimed_only, raw["base_n_ctx"]).astype(int),
            "claimed_window": raw["n_ctx"],
            "prompt_tokens": raw["n_prompt_tokens"],
            "score": raw["score"],
            "n_items": raw["n_instances"].astype(int),
            "chance": raw["chance"],
            "metric": "accuracy (mean of 5 classification sets)",
            "instruct": kind == "instruct",
            "source": _paper_first(raw["source"]),
        }
    )


# Percent at 8k, 16k, 32k, 64k and 128k tokens, in each category in turn, of the checkpoints that
# `helmet_icl` has: from the published tables.
HELMET_CATEGORIES = (
    # task, items (100 of each of its sets), metric
    ("HELMET-Recall", 400, "substring match (mean of 4 sets)"),
    ("HELMET-RAG", 400, "substring match (mean of 4 sets)"),
    ("HELMET-Rerank", 100, "NDCG@10"),
)
HELMET_FILES = dict.fromkeys((8, 16, 32, 64), "ce6639d1") | {128: "53791058"}
HELMET = """
Llama-2-7B-32k 77.2 54.9 39.4 0 0 53.1 49.7 45.9 0 0 44.5 29 10.5 0 0
Llama-2-7B-32k-Inst 89.8 76.2 51.3 0 0 63.2 60.6 54.5 0.2 0 43.2 31.1 13.1 0 0
Llama-7B-80k 85 71.1 54.1 33.8 17 55.2 53 52.1 50.7 40.8 37 26.5 19.6 9.1 0.2
Yarn-Llama-2-7B-64k 60.6 42 25.9 4.9 0 53.1 52.2 52.4 38.8 0 41.2 20.5 15.5 1 0
Yarn-Llama-2-7B-128k 58.4 39.2 17.5 12.3 4.2 53.6 50.7 51.3 42.3 26.7 43.2 18.3 11.2 4.4 0.4
Llama-3-8B 99.2 0 0 0 0 63.2 2.3 0 0 0 44.3 0 0 0 0
Llama-3-8B-Inst 99.4 0 0 0 0 67 0.1 0 0 0 54.5 0 0 0 0
Llama-3-8B-θ 93.2 77.6 53.2 16.9 0 59.8 60.4 58.8 39.2 2.4 44.4 34.4 30.6 14.8 0
Llama-3-8B-Inst-θ 97.3 91.8 67.6 39.4 0 65.9 64.2 61.5 48.1 1.3 59.5 37.1 26.5 14.4 0.1
Llama-3-70B-θ 91 85.2 65.2 36.9 0 68.1 65.2 62.5 55.5 0 54.7 44.1 41.2 20.3 0
Llama-3-70B-Inst-θ 97.5 95 81.2 48.6 0 70.5 68.3 66.6 60.4 0 82.1 73.8 59 36.2 0
Llama-3.1-8B 97.3 92.9 90.1 86.6 76.6 65.8 65.5 63.8 61.5 54.5 46.6 38.3 34.9 22.7 9.3
Llama-3.1-8B-Inst 100 100 99.7 99.2 95.2 70.8 68.8 66.5 65.8 59.5 67 51.7 43.4 32.8 14
Llama-3.1-70B 99.8 99.8 99.1 92.9 76.3 69.2 68.2 67.5 65.2 56.6 57.7 53 43.7 36.9 22.6
Llama-3.1-70B-Inst 100 100 99.9 98.5 90.7 74 71.5 70.9 69.5 56.2 83.5 73.5 60.2 41 24.5
Llama-3.2-1B 73.5 60.6 41.8 43.4 25.2 41.5 39.1 37.6 35.5 32.1 32.4 26.2 18.9 9.4 5.6
Llama-3.2-1B-Inst 72.9 62.6 46.9 49.2 32.4 48.7 44.6 43.7 37.9 33.8 26 18.5 5.7 3.9 1.7
Llama-3.2-3B-Inst 99.2 93.1 84.4 64.1 53.1 65.3 64.9 63.1 60.1 56.4 41 29.4 17.7 3.9 0.7
Yi-6B-200k 85.4 72.4 54.7 38.3 37.4 49.2 45.6 42.2 39.7 36.9 43.9 26.7 11.8 5.5 3.4
Yi-9B-200k 95.5 90.4 77.9 70.5 56.2 61.4 60.8 60.7 55.5 50.5 44.7 35.3 26.1 15.6 8.3
Yi-34B-200k 95.9 91.2 89.9 82.9 74.1 68.2 65.9 64.5 63 59.5 55.1 45.6 34.6 27.2 20.5
Yi-1.5-9B-32k 97.2 77.4 52.9 16.3 0 58.2 54.6 48.7 35.9 0 50.5 34.8 23.3 0.2 0
Phi-3-mini-128k-Inst 97.8 96.8 95.1 95.4 50.1 62.5 61.4 59.4 56.3 46.7 53.1 33.1 23.5 14 5.8
Phi-3-small-128k-Inst 94 93.6 83.4 74.6 22.3 67.1 64.7 62.6 58.5 33.8 46.1 35.5 27.4 16.9 1.9
Phi-3-med-128k-Inst 91.6 88.9 79.3 69.3 24.5 66.1 63.8 62.3 57.8 44.8 52.6 36.7 26.1 12.9 6.6
Qwen2-7B 64.6 66.4 63 49.5 38.2 56.8 54.9 53.1 49.2 45 44.7 23.9 14.1 6.3 3.6
Qwen2-7B-Inst 73.2 65.4 66.1 46.2 36.8 58.5 57.3 54 51.1 47.4 47.9 28.2 19.5 8.6 5.9
Qwen2.5-1.5B-Inst 91.6 83.5 68.4 29.6 7.8 53.2 49.1 46 36.6 25 45.8 26.3 14.5 2.3 0.3
Qwen2.5-3B 95.6 87.4 73.9 33.4 7.5 57.9 53.8 50.7 39.3 21.1 44.3 32.3 27.9 5.9 2.2
Qwen2.5-3B-Inst 95.6 91.2 84.6 38.7 10.4 57.3 55.2 51.7 40.5 22.4 58.5 42.2 28.6 13.5 3.7
Qwen2.5-7B 98.5 96.8 95.2 45.6 13.9 62.9 60.8 54.4 44 27 47.4 32.6 23.1 1.9 0.1
Qwen2.5-7B-Inst 98.9 97.9 95.2 47.8 11.4 64.2 64.8 57.7 46.4 30.6 57.9 46.8 34.7 11.3 1.6
"""


def helmet_retrieval(shared: Path) -> pd.DataFrame:
    """What HELMET asks of long prompts besides learning from them, with the window trained."""
    models = helmet_icl(shared).drop_duplicates("llm").set_index("llm")
    carried = ["family", "technique", "compute", "n_params", "train_tokens", "context_window",
               "claimed_window", "instruct"]  # fmt: skip
    rows = [
        {
            "task": task,
            "llm": llm,
            **models.loc[llm, carried],
            "prompt_tokens": 1024 * length,
            "score": round(float(percent) / 100.0, 3),
            "n_items": n_items,
            "metric": metric,
            "source": f"arXiv:2410.02694, HELMET gh-pages data/agg_results_{length}k.csv @{commit}",
        }
        for llm, *scores in map(str.split, HELMET.strip().splitlines())
        for ((task, n_items, metric), (length, commit)), percent in zip(
            itertools.product(HELMET_CATEGORIES, HELMET_FILES.items()), scores, strict=True
        )
    ]
    return pd.DataFrame(rows)


def lceg_ruler(shared: Path) -> pd.DataFrame:
    """RULER at five lengths for eleven ways to extend Llama-2-7B."""
    raw = _read(shared / "lceg_ruler_subtasks.csv")
    # The paper's tables contradict each other on which of these columns is which.
    raw = raw[~raw["notes"].str.contains("SWAPPED")]
    partial = raw["notes"].str.contains("partial-credit")
    # The published sum of tokens is taken apart; compute counts both, by the rule 6·N·D.
    extended = raw["notes"].str.contains("base pretraining + 1B SlimPajama", regex=False)
    extension_tokens = extended * LCEG_EXTENSION_TOKENS
    train_tokens = raw["train_tokens"] - extension_tokens
    return pd.DataFrame(
        {
            "task": raw["task"],
            "llm": raw["model"].str.replace(" + ", "-", regex=False),
            "family": raw["family"],
            "technique": raw["technique"],
            "compute": training_flops(raw["n_params"], train_tokens, extension_tokens),
            "extension_tokens": extension_tokens,
            "context_window": raw["n_ctx"],
            "prompt_tokens": raw["n_prompt_tokens"],
            "score": raw["score"],
            "n_items": raw["n_instances"],
            "metric": partial.map({True: "string match (partial credit)", False: "string match"}),
            "source": "arXiv:2409.12181, subtask tables",
        }
    ).reset_index(drop=True)


# Percent at 4k, 8k, … 128k tokens, typed in from the papers: table 3 of RULER, its aligned models
# whose training tokens are known, and table 16 of the Qwen2.5 report.
RULER_SOURCE, QWEN_SOURCE = "arXiv:2404.06654v3, table 3", "arXiv:2412.15115, table 16"
RULER = (
    # llm, family, technique, base model, trained window, claimed window, scores
    ("Llama-2-7B", "Llama-2", "none", "llama-2-7b", 4096, 4096, "85.6"),
    ("Together-7B-32k", "Llama-2", "PI", "llama-2-7b", 32768, 32768, "88.2 81.1 69.4 63.0 0.0 0.0"),
    ("LongChat-7B-32k", "Llama-2", "PI", "llama-2-7b", 32768, 32768, "84.7 79.9 70.8 59.3 0.0 0.0"),
    ("LongAlpaca-13B", "Llama-2", "PI", "llama-2-13b", 32768, 32768, "60.6 57.0 56.6 43.6 0.0 0.0"),
    ("LWM-7B-1M", "Llama-2", "NTK/ABF", "llama-2-7b", 2**20, 2**20,
     "82.3 78.4 73.7 69.1 68.1 65.0"),
    ("Gradient-Llama-3-70B-1M", "Llama-3", "NTK/ABF", "llama-3-70b", 2**20, 2**20,
     "95.1 94.4 90.8 85.4 80.9 72.1"),
    ("Llama-3.1-8B", "Llama-3.1", "native-long", "llama-3.1-8b", 131072, 131072,
     "95.5 93.8 91.6 87.4 84.7 77.0"),
    ("Llama-3.1-70B", "Llama-3.1", "native-long", "llama-3.1-70b", 131072, 131072,
     "96.5 95.8 95.4 94.8 88.4 66.6"),
    ("Yi-34B-200k", "Yi", "ABF+continued-pretrain", "yi-34b", 204800, 204800,
     "93.3 92.2 91.3 87.5 83.2 77.3"),
    ("Phi-3-medium-128k", "Phi-3", "LongRoPE", "phi-3-medium", 131072, 131072,
     "93.3 93.2 91.1 86.8 78.6 46.1"),
    ("DBRX", "DBRX", "native", "dbrx", 32768, 32768, "95.1 93.8 83.6 63.1 2.4 0.0"),
    ("Qwen2.5-7B", "Qwen2.5", "native", "qwen2.5-7b", 32768, 131072,
     "96.7 95.1 93.7 89.4 74.5 31.4"),
    ("Qwen2.5-14B", "Qwen2.5", "native", "qwen2.5-14b", 32768, 131072,
     "97.7 96.8 95.9 93.4 82.3 53.0"),
    ("Qwen2.5-72B", "Qwen2.5", "native", "qwen2.5-72b", 32768, 131072,
     "97.7 97.2 97.7 96.5 88.5 67.0"),
    # Up to 32k tokens these are the three before, and so not measured a second time.
    ("Qwen2.5-7B-YaRN-DCA", "Qwen2.5", "YaRN+DCA", "qwen2.5-7b", 131072, 131072, "82.3 55.1"),
    ("Qwen2.5-14B-YaRN-DCA", "Qwen2.5", "YaRN+DCA", "qwen2.5-14b", 131072, 131072, "86.7 78.1"),
    ("Qwen2.5-72B-YaRN-DCA", "Qwen2.5", "YaRN+DCA", "qwen2.5-72b", 131072, 131072, "93.0 88.4"),
)  # fmt: skip


def ruler(shared: Path) -> pd.DataFrame:
    """RULER's mean over 13 tasks at six lengths, for open models."""
    models = model_compute(shared).set_index("name")
    rows = []
    for llm, family, technique, base, window, claimed, scores in RULER:
        percent = [float(score) for score in scores.split()]
        first = 16 if technique == "YaRN+DCA" else 1
        for step, score in enumerate(percent):
            rows.append(
                {
                    "task": "RULER",
                    "llm": llm,
                    "family": family,
                    "technique": technique,
                    "compute": models.loc[base, "compute"],
                    "n_params": models.loc[base, "n_params"],
                    "train_tokens": models.loc[base, "train_tokens"],
                    "context_window": window,
                    "claimed_window": claimed,
                    "prompt_tokens": 4096 * first * 2**step,
                    "score": round(score / 100.0, 3),
                    "n_items": 6500,
                    "metric": "recall of the answers (mean of 13 tasks)",
                    "source": QWEN_SOURCE if family == "Qwen2.5" else RULER_SOURCE,
                }
            )
    return pd.DataFrame(rows)


def many_shot_icl(shared: Path) -> pd.DataFrame:
    """Classification with 1 to 2000 random demonstrations, Llama-2-7B at three windows."""
    raw = _read(shared / "many_shot_icl.csv")
    # Retrieved demonstrations are a different task.
    raw = raw[~(raw["model"] + raw["task"]).str.contains("BM25-retrieved")]
    # Those of Mistral-7B: its tokens are undisclosed, so it has no compute.
    raw = raw[raw["train_tokens"].notna()].reset_index(drop=True)
    llm = raw["model"].str.split("/").str[1]
    return pd.DataFrame(
        {
            "task": raw["task"],
            "llm": llm,
            "family": raw["family"],
            "technique": raw["technique"],
            "compute": training_flops(raw["n_params"], raw["train_tokens"]),
            "n_params": raw["n_params"],
            "train_tokens": raw["train_tokens"],
            "context_window": raw["n_ctx"],
            "prompt_tokens": raw["n_prompt_tokens"].astype(int),
            "score": raw["score"],
            "n_items": MANY_SHOT_ITEMS,
            "chance": raw["chance"],
            "shots": raw["n_shots"],
            "draws_sd": raw["notes"].str.extract(r"sd over draws=([\d.]+)")[0].astype(float),
            "metric": "accuracy (mean of 10 draws of demonstrations)",
            "instruct": llm.str.endswith(("-chat-hf", "-Instruct")),
            "source": _paper_first(raw["source"]),
        }
    )


LADDER_TASKS = {
    "mmlu_avg_test": "MMLU",
    "hellaswag_val": "HellaSwag",
    "arc_challenge_test": "ARC-Challenge",
    "arc_easy_test": "ARC-Easy",
    "piqa_val": "PIQA",
    "csqa_val": "CommonsenseQA",
    "socialiqa_val": "Social IQa",
    "openbookqa_test": "OpenBookQA",
}
LADDER_ROLES = {"train": "train", "eval:7B-4T": "target", "eval:13B-5T": "target"}
LADDER_MMLU = {"stem": 0.215, "humanities": 0.335, "social_sciences": 0.219, "other": 0.231}


def ladder(shared: Path) -> pd.DataFrame:
    """Ends of the 16 training runs and the two targets of arXiv:2412.04403, eight tasks."""
    raw = _read(shared / "ladder_runs.csv")
    raw = raw[raw["paper_role"].isin(LADDER_ROLES)]
    _check_pooled_mmlu(raw)
    raw = raw[raw["benchmark"].isin(LADDER_TASKS)].reset_index(drop=True)
    target = raw["paper_role"].str.removeprefix("eval:").where(raw["paper_role"] != "train")
    return pd.DataFrame(
        {
            "task": raw["benchmark"].map(LADDER_TASKS),
            "llm": target.fillna(raw["run"]),
            "family": "OLMo",
            "n_params": raw["n_params"],
            "train_tokens": raw["tokens"],
            "compute": training_flops(raw["n_params"], raw["tokens"]),
            "compute_published": raw["flops_model"],
            "task_loss": raw["task_bpb_mean5"],
            "c4_loss": raw["c4_ce_mean5"],
            "task_cross_entropy": raw["task_ce_last"],
            "score": raw["rc_acc_mean5"],
            "n_items": raw["n_items"].astype(int),
            "chance": raw["chance"],
            "metric": "ranked choice (mean of the last 5 checkpoints)",
            "role": raw["paper_role"].map(LADDER_ROLES),
            "source": "arXiv:2412.04403, OLMo-ladder, run " + raw["run"],
        }
    )


def _check_pooled_mmlu(raw: pd.DataFrame) -> None:
    """The pooled MMLU of the source is the weighted mean of its four groups."""
    for column in ("task_bpb_mean5", "rc_acc_mean5"):
        by_run = raw.pivot(index="run", columns="benchmark", values=column)
        pooled = sum(w * by_run[f"mmlu_{group}_test"] for group, w in LADDER_MMLU.items())
        off = (pooled - by_run["mmlu_avg_test"]).abs().max()
        if off > 1e-5:
            raise ValueError(
                f"{column} of mmlu_avg_test is not its weighted mean: off by {off:.2g}"
            )


STATED_PARAMS = {
    # name: total, non-embedding, who states them. Of mixtures of experts all experts are counted.
    "llama-2-7b": (None, 6_476_271_616, "arXiv:2510.14919"),
    "llama-2-13b": (None, 12_688_184_320, "arXiv:2510.14919"),
    "qwen2-7b": (7.07e9, 5.98e9, "Qwen2 model table"),
    "qwen2-72b": (72.71e9, 70.21e9, "Qwen2 model table"),
    "qwen2-57b-a14b": (57.41e9, 56.32e9, "Qwen2 model table"),
    "qwen2.5-1.5b": (1.54e9, 1.31e9, "Qwen2.5 model cards"),
    "qwen2.5-3b": (3.09e9, 2.77e9, "Qwen2.5 model cards"),
    "qwen2.5-7b": (7.61e9, 6.53e9, "Qwen2.5 model cards"),
    "qwen2.5-14b": (14.7e9, 13.1e9, "Qwen2.5 model cards"),
    "qwen2.5-72b": (72.7e9, 70.0e9, "Qwen2.5 model cards"),
    "qwen3-4b": (4.0e9, 3.6e9, "Qwen3 model card"),
    "qwen3-8b": (8.2e9, 6.95e9, "Qwen3 model card"),
    "qwen3-14b": (14.8e9, 13.2e9, "Qwen3 model card"),
    "qwen3-32b": (32.8e9, 31.2e9, "Qwen3 model card"),
    "qwen3-30b-a3b": (30.5e9, 29.9e9, "Qwen3 model card"),
    "qwen3-235b-a22b": (235e9, 234e9, "Qwen3 model card"),
    "gemma-7b": (8_538_074_112, 7_751_248_896, "Gemma report, arXiv:2403.08295, table 2"),
    "gemma-3-4b": (
        3.884e9,
        3.209e9,
        "Gemma 3 report, arXiv:2503.19786, table 1; no vision encoder",
    ),
    "gemma-3-12b": (
        11.771e9,
        10.759e9,
        "Gemma 3 report, arXiv:2503.19786, table 1; no vision encoder",
    ),
    "gemma-3-27b": (
        27.016e9,
        25.6e9,
        "Gemma 3 report, arXiv:2503.19786, table 1; no vision encoder",
    ),
}
"""Parameter counts that the makers, or a paper that used the model, state with and without
embeddings. Where a table gives the two parts, the total is their sum."""


def model_compute(shared: Path) -> pd.DataFrame:
    """The registry of open models; undisclosed tokens and unstated counts stay blank."""
    raw = _read(shared / "model_compute.csv")
    unknown = sorted(set(STATED_PARAMS) - set(raw["key"]))
    if unknown:
        raise ValueError(f"parameters are stated of models that the registry lacks: {unknown}")
    stated = [STATED_PARAMS.get(key, (None, None, None)) for key in raw["key"]]
    total, non_embedding, params_source = (list(column) for column in zip(*stated, strict=True))
    return pd.DataFrame(
        {
            "name": raw["key"],
            "family": raw["family"],
            "n_params": raw["n_params_used"],
            "n_params_total": pd.Series(total, dtype=float),
            "n_params_non_embedding": pd.Series(non_embedding, dtype=float),
            "train_tokens": raw["train_tokens"],
            "compute": 6.0 * raw["n_params_used"] * raw["train_tokens"],
            "context_window": raw["base_n_ctx"],
            "source": raw["source_of_N_and_D"],
            "params_source": params_source,
        }
    )


TABLES = {
    "montgomery2025": montgomery2025,
    "helmet_icl": helmet_icl,
    "helmet_retrieval": helmet_retrieval,
    "lceg_ruler": lceg_ruler,
    "ruler": ruler,
    "many_shot_icl": many_shot_icl,
    "ladder": ladder,
    "model_compute": model_compute,
}


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


def _paper_first(source: pd.Series) -> pd.Series:
    """Turn "owner/repository file @commit; paper" into "paper, repository file @commit"."""
    origin, paper = source.str.split("; ").str[0], source.str.split("; ").str[1]
    return paper + ", " + origin.str.split("/", n=1).str[1]


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder of the measurements")
    default = REPOSITORY / "bayes_ctxlaw" / "datasets"
    parser.add_argument("--out", type=Path, default=default, help="where the tables go")
    options = parser.parse_args()
    for name, compile_table in TABLES.items():
        table = compile_table(options.shared)
        table.to_csv(options.out / f"{name}.csv", index=False, lineterminator="\n")
        print(f"{name}.csv: {len(table)} rows")


if __name__ == "__main__":
    main()
