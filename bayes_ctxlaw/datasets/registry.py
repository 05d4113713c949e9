"""What is known of each bundled table."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """One bundled table of published measurements.

    Attributes
    ----------
    name : str
        Name for `load_dataset`; the file is ``<name>.csv`` beside this module.
    rows, tasks, llms : int
        Number of cells, of tasks and of checkpoints.
    description : str
        What was measured.
    source : str
        Where it was published.
    licence : str
        Terms, as far as they are known.
    good_for : str
        What it is worth fitting or testing with it, and what to mind.
    """

    name: str
    rows: int
    tasks: int
    llms: int
    description: str
    source: str
    licence: str
    good_for: str

    def as_row(self) -> dict[str, str | int]:
        """Return the fields as a dict, one row of `list_datasets`."""
        return asdict(self)


REGISTRY = (
    DatasetInfo(
        name="montgomery2025",
        rows=117,
        tasks=3,
        llms=4,
        description=(
            "Llama-2-7B and 13B extended with YaRN to windows of 8k and 128k tokens: arithmetic "
            "and common sense reasoning and translation, with 0 to 511 demonstrations. Read off "
            "the paper's plots, to about ±0.0003 (±0.001 for common sense)."
        ),
        source="arXiv:2510.14919",
        licence=(
            "Scores read off published figures and compiled here; cite the paper. The terms of the "
            "paper itself are on its arXiv page."
        ),
        good_for=(
            "The context-aware law itself, and the paper's own split: `beyond_10k` marks the 12 "
            "points past 10,000 tokens and inside the window. `prompt_tokens` is the mean over "
            "prompts of different lengths; compute takes two values a factor 1.96 apart, so its "
            "exponent is weakly identified."
        ),
    ),
    DatasetInfo(
        name="helmet_icl",
        rows=160,
        tasks=1,
        llms=32,
        description=(
            "HELMET many-shot in-context learning, 8k to 128k tokens: accuracy, mean of five "
            "classification sets of 500 items; 32 open checkpoints of 6.6e22 to 6.3e24 FLOP whose "
            "windows were extended by YaRN, position interpolation, NTK and others, or are native."
        ),
        source="arXiv:2410.02694; github.com/princeton-nlp/HELMET, branch gh-pages",
        licence=(
            "Scores published as tables and compiled here; cite the paper. The repository is said "
            "to be under the MIT licence (its issue 25)."
        ),
        good_for=(
            "Extrapolation beyond 10k tokens and across two decades of compute; context-extension "
            "techniques. Prompts are not truncated, so scores past the window are real. "
            "`context_window` of Qwen2.5-7B is the trained one (32,768); the advertised one is in "
            "`claimed_window`."
        ),
    ),
    DatasetInfo(
        name="helmet_retrieval",
        rows=480,
        tasks=3,
        llms=32,
        description=(
            "HELMET's synthetic recall, retrieval-augmented answers and passage re-ranking, 8k to "
            "128k tokens: 400, 400 and 100 items; the 32 checkpoints of `helmet_icl`."
        ),
        source="arXiv:2410.02694; github.com/princeton-nlp/HELMET, branch gh-pages",
        licence=(
            "Scores published as tables and compiled here; cite the paper. The repository is said "
            "to be under the MIT licence (its issue 25)."
        ),
        good_for=(
            "Tasks whose longer prompts hold more distractors: scores fall inside the window, by "
            "much or little. `context_window` of Qwen2.5-7B is the trained one; the advertised "
            "one is in `claimed_window`. Re-ranking is an NDCG@10, the others give partial credit."
        ),
    ),
    DatasetInfo(
        name="lceg_ruler",
        rows=637,
        tasks=13,
        llms=11,
        description=(
            "Llama-2-7B as it is and with its window extended in ten ways (position "
            "interpolation, YaRN, NTK, CLEX, LongLoRA and others; those that were tuned saw the "
            "same 1B tokens), on 13 tasks of RULER at 4k to 64k tokens, 500 items a cell."
        ),
        source="arXiv:2409.12181",
        licence=(
            "Scores published as tables in the paper and compiled here; cite the paper. The terms "
            "of the paper itself are on its arXiv page; its code repository states none."
        ),
        good_for=(
            "Context-extension techniques side by side: one base, one set of tuning tokens. "
            "Compute is all but constant, so nothing is learned of its exponent. Longer prompts "
            "are distractors here: scores fall inside the window. The 8 tasks whose `metric` is "
            "`string match` are counts of items; the other 5 give partial credit. "
            "`prompt_tokens` is the nominal length. `context_window` is the trained one; the "
            "frozen methods, NTK, CLEX and Landmark still score past it. The 26 rows of YaRN and "
            "CLEX at 4k are left out: the paper contradicts itself on which is which."
        ),
    ),
    DatasetInfo(
        name="ruler",
        rows=85,
        tasks=1,
        llms=17,
        description=(
            "RULER at 4k to 128k tokens, mean of its 13 tasks of 500 items: 14 open checkpoints of "
            "8.4e22 to 7.8e24 FLOP with windows of 4k to 1M tokens, and three of Qwen2.5 with "
            "YaRN and dual chunk attention."
        ),
        source="arXiv:2404.06654, table 3; arXiv:2412.15115, table 16",
        licence=(
            "Scores published as tables in the papers and compiled here; cite them. The terms of "
            "the papers themselves are on their arXiv pages."
        ),
        good_for=(
            "Windows that end: beyond 32k tokens some checkpoints score 0, others half of what "
            "they did, others the same. Scores fall inside the window too, at a rate of each "
            "checkpoint's own. `context_window` is the trained one; the advertised one is in "
            "`claimed_window`. Compute is that of pre-training. One number stands for 13 tasks, "
            "some of which give partial credit."
        ),
    ),
    DatasetInfo(
        name="many_shot_icl",
        rows=148,
        tasks=3,
        llms=5,
        description=(
            "Classification into 6 to 151 classes with 1 to 2000 random demonstrations: "
            "accuracy of Llama-2-7B with windows of 4k, 32k (position interpolation) and 80k "
            "tokens (NTK/ABF), mean of 10 draws of demonstrations on the same 250 items."
        ),
        source="arXiv:2405.00200; github.com/abertsch72/long-context-icl",
        licence=(
            "Means of results published in the repository, which is under the MIT licence "
            "(copyright 2024 Amanda Bertsch); cite the paper."
        ),
        good_for=(
            "The rising context term, over three decades of prompt length, all inside the "
            "window. Token counts are estimates. One value of compute, that of pre-training: the "
            "tokens of the extensions are not in the source. `n_items` is 250, not 2500, as all "
            "draws share their items; `draws_sd` is the spread over draws. Rows of Mistral-7B are "
            "left out, since its training tokens are undisclosed, and so are retrieved "
            "demonstrations, a different task."
        ),
    ),
    DatasetInfo(
        name="ladder",
        rows=144,
        tasks=8,
        llms=18,
        description=(
            "The OLMo model ladder: 16 training runs of 190M to 1.3B non-embedding parameters at 1 "
            "to 10 times 20 tokens a parameter, and the two targets 7B-4T and 13B-5T; task loss "
            "(bits per byte) and accuracy on eight multiple-choice benchmarks, ends of runs."
        ),
        source="arXiv:2412.04403; github.com/allenai/OLMo-ladder",
        licence=(
            "Evaluations published with the paper and compiled here; cite the paper. For the terms "
            "of the repository see its file LICENSE."
        ),
        good_for=(
            "TaskLadder: forecasts over two decades of compute. It has no prompts and windows; add "
            "a constant `prompt_tokens` and `context_window` to compare with ContextLaw. A score "
            "is the mean of five checkpoints on the same items and scatters less than a binomial. "
            "`role` tells training runs from targets; `compute_published` counts embeddings and "
            "attention as well. MMLU is pooled with the paper's weights."
        ),
    ),
)
