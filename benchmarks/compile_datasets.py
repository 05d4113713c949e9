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


def model_compute(shared: Path) -> pd.DataFrame:
    """The registry of open models; undisclosed tokens stay blank."""
    raw = _read(shared / "model_compute.csv")
    return pd.DataFrame(
        {
            "name": raw["key"],
            "family": raw["family"],
            "n_params": raw["n_params_used"],
            "train_tokens": raw["train_tokens"],
            "compute": 6.0 * raw["n_params_used"] * raw["train_tokens"],
            "context_window": raw["base_n_ctx"],
            "source": raw["source_of_N_and_D"],
        }
    )


TABLES = {
    "montgomery2025": montgomery2025,
    "helmet_icl": helmet_icl,
    "lceg_ruler": lceg_ruler,
    "many_shot_icl": many_shot_icl,
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
