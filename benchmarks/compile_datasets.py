"""Compile the bundled tables from the folder of published measurements.

    python benchmarks/compile_datasets.py --shared ../shared/data

writes the bundled tables and ``model_compute.csv`` to ``bayes_ctxlaw/datasets`` (or ``--out``).
Nothing is measured, estimated or filled in here: columns are renamed to the schema, and what is
left out and the few changes of value are said and explained below.
"""

from __future__ import annotations

import argparse
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
    "lceg_ruler": lceg_ruler,
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
