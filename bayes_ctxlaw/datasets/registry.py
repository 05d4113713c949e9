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
)
