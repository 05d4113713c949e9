"""What a law is, in words: its formula, its priors, and what the data cannot tell."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, alike, level_labels
from bayes_ctxlaw.law import PARTING, LawTerms
from bayes_ctxlaw.likelihoods import item_counts
from bayes_ctxlaw.specification import Specification

SYMBOLS = {
    "A": "A", "alpha": "α", "B": "B", "beta": "β", "rho": "ρ", "D": "D", "psi": "ψ",
    "eta": "η", "kappa": "κ", "delta": "δ",
}  # fmt: skip
_MEANING = {
    "A": "compute term at the reference compute",
    "alpha": "its exponent in compute",
    "B": "context term at the reference prompt length",
    "beta": "its exponent in prompt tokens",
    "rho": "share of B that needs no prompt",
    "D": "loss inside the window, as odds at its nominal end and the reference compute",
    "psi": "how that falls with compute: its exponent, with the sign turned",
    "eta": "its exponent in prompt tokens",
    "kappa": "penalty sharpness on the log ratio of prompt to window",
    "delta": "effective window, log ratio to the nominal one",
    "discrepancy_sd": "sd of what tasks stray by along prompt length, log-odds of the context term",
    "overdispersion": "sd of a score beyond item sampling, share of sqrt(P (1 - P)); one per task",
}

_LEAST_COMPUTE = 1e12  # FLOPs; a million parameters trained on a million tokens take 6e12
_LEAST_WINDOW = 512  # tokens; GPT-1 had as many, and 256k tokens in thousands are fewer
_ALIKE = 0.05  # values of compute or prompt length that differ by less say nothing of an exponent
_FEW_ITEMS = 100.0  # where their number is unknown: noise is not to be taken for a fault


def formula(terms: LawTerms) -> str:
    """The law in one line.

    Examples
    --------
    >>> print(formula(LawTerms(penalty="none", zero_context="none", dilution="none")))
    P = γ + (1 − γ)·[1 − exp(−A·C^α)]·[B·n^β / (1 + B·n^β)]
    """
    forms = {"exponential": "[1 − exp(−{u})]", "power": "[{u} / (1 + {u})]"}
    u = "B·n^β" if terms.zero_context == "none" else "B·(ρ + (1 − ρ)·n^β)"
    compute = forms[terms.compute_term].format(u="A·C^α")
    context = forms[terms.context_term].format(u=u)
    if terms.dilution == "window":
        context += "/(1 + D·C^−ψ·(n/n_ctx)^η)"
    product = f"γ + (1 − γ)·{compute}·{context}"
    if terms.penalty == "none":
        return f"P = {product}"
    penalty = {
        "log_logistic": "1/(1 + exp(κ·(log(n/n_ctx) − δ)))",
        "token_logistic": "1/(1 + exp(n − n_ctx))",
    }[terms.penalty]
    return f"P = {penalty} · ({product})"


def describe(
    spec: Specification, likelihood: str, encoding: Encoding | None, notes: list[str]
) -> str:
    """A law with its likelihood, levels and every prior, as text.

    Parameters
    ----------
    spec : Specification
    likelihood : str
        Observation model in words.
    encoding : Encoding, optional
        If the law has seen data: its references and labels.
    notes : list of str
        What the data cannot tell.

    Returns
    -------
    str
    """
    lines = [
        "Context-aware scaling law (arXiv:2510.14919), hierarchical",
        f"  {formula(spec.terms)}",
    ]
    if spec.terms.strays:
        lines.append("  where what n does strays from this, smoothly in log n, task by task")
    elif spec.terms.discrepancy == "auto":
        lines.append("  where what n does may stray from this, task by task: the scores will say")
    if encoding is None:
        lines.append("  C, n relative to references that the fit reports")
    else:
        lines.append(
            f"  C relative to {encoding.compute_reference:.4g} FLOPs, n to "
            f"{encoding.prompt_tokens_reference:,.0f} tokens (where A and B are stated)"
        )
    lines.append(f"  likelihood: {likelihood}")
    own = f"log-odds of ρ and of η / {PARTING:g}; log of κ − {PARTING:g}; δ: its own"
    lines.append(f"Effects (log scale; {own})")
    for level, parameters in spec.levels.items():
        seen = ""
        if encoding is not None:
            count = len(encoding.labels[level]) if level in encoding.labels else 0
            seen = {0: ": not in the data", 1: ": one label, in the population value"}.get(
                count, f": {count} labels"
            )
        lines.append(f"  {level} on {', '.join(SYMBOLS[p] for p in parameters)}{seen}")
    lines.append("Priors")
    width = max(len(name) for name in spec.priors)
    for name, prior in spec.priors.items():
        parameter = name.split("_")[0]
        if name not in _MEANING and parameter not in spec.terms.parameters and "_" in name:
            continue
        if name in SYMBOLS and name not in spec.terms.parameters:
            continue
        meaning = f"   ({_MEANING[name]})" if name in _MEANING else ""
        lines.append(f"  {name:<{width}}  {prior}{meaning}")
    if notes:
        lines.append("What these data cannot tell")
        lines.extend(f"  - {note}" for note in notes)
    return "\n".join(lines)


def notes_on_units(obs: xr.Dataset) -> list[str]:
    """What looks as if it were in another unit than the schema's.

    Parameters
    ----------
    obs : xr.Dataset

    Returns
    -------
    list of str
        One sentence each.
    """
    notes = []
    most = float(obs["compute"].values.max())
    if most < _LEAST_COMPUTE:
        notes.append(
            f"compute is {most:.3g} FLOPs at most, less than any language model was trained with: "
            "give it in FLOPs, not in 1e18 FLOPs, petaFLOP/s-days or powers of ten, and n_params "
            "and train_tokens as whole counts."
        )
    widest = float(obs["context_window"].values.max())
    if widest < _LEAST_WINDOW:
        notes.append(
            f"context_window is {widest:.4g} tokens at most, less than any language model has: "
            "give it in tokens, not in thousands of them."
        )
    shortest = float(obs["prompt_tokens"].values.min())
    if shortest < 1.0:
        notes.append(
            f"prompt_tokens is {shortest:.3g} at least, less than one token: give it in tokens, "
            "not in thousands of them or as a share of the window."
        )
    return notes


def notes_on_windows(obs: xr.Dataset) -> list[str]:
    """Checkpoints with several windows under one label.

    Parameters
    ----------
    obs : xr.Dataset

    Returns
    -------
    list of str
        One sentence each.
    """
    windows = obs[["llm", "context_window"]].to_dataframe().groupby("llm", sort=False)
    count = windows["context_window"].nunique()
    several = count.index[count > 1].tolist()
    if not several:
        return []
    return [
        f"{', '.join(map(repr, several[:5]))}{', …' if len(several) > 5 else ''} "
        f"{'has' if len(several) == 1 else 'have'} rows of several context windows under one "
        "label, which share one end of the window as a share of the nominal one: a model extended "
        "to two windows is two labels."
    ]


def notes_on_data(obs: xr.Dataset) -> list[str]:
    """What looks like a slip in the observations: units, chance levels, windows."""
    return notes_on_units(obs) + notes_on_chance(obs) + notes_on_windows(obs)


def _distinct(values: np.ndarray) -> int:
    """How many values there are, if those that hardly differ are one."""
    return int(alike(values, 1.0 + _ALIKE).max()) + 1


def notes_on_chance(obs: xr.Dataset) -> list[str]:
    """Tasks most of whose scores are clearly below chance while the prompt fits the window.

    Parameters
    ----------
    obs : xr.Dataset

    Returns
    -------
    list of str
        One sentence each.
    """
    chance = obs["chance"].values if "chance" in obs else np.zeros(obs.sizes["obs_id"])
    items = item_counts(obs)
    noise = np.sqrt(chance * (1.0 - chance) / np.where(np.isnan(items), _FEW_ITEMS, items))
    inside = obs["prompt_tokens"].values <= obs["context_window"].values
    below = inside & (obs["score"].values < chance - 2.0 * noise)
    tasks, notes = level_labels(obs, "task"), []
    for task in dict.fromkeys(tasks):
        own = tasks == task
        if below[own].sum() > 0.5 * inside[own].sum():
            notes.append(
                f"{below[own].sum()} of {inside[own].sum()} scores of {task!r} inside the window "
                f"are below chance ({chance[own].max():g}), where the law has no way to go: is "
                "`chance` what guessing scores?"
            )
    return notes


def notes_on_design(obs: xr.Dataset, spec: Specification) -> list[str]:
    """Which parameters the prior decides because the design holds no contrast for them.

    Parameters
    ----------
    obs : xr.Dataset
    spec : Specification

    Returns
    -------
    list of str
        One sentence each.
    """
    notes = []
    tasks = level_labels(obs, "task")
    compute, tokens = obs["compute"].values, obs["prompt_tokens"].values
    axes = (compute, "α (alpha)", "compute value"), (tokens, "β (beta)", "prompt length")
    for values, parameter, what in axes:
        flat = [t for t in dict.fromkeys(tasks) if _distinct(values[tasks == t]) == 1]
        if not flat:
            continue
        equal = all(np.ptp(np.log(values[tasks == t])) < 1e-6 for t in flat)
        single = f"there is a single {what}"
        if not equal:
            single = f"every {what} is within {_ALIKE:.0%} of one"
        if len(flat) == len(set(tasks)) and _distinct(values) == 1:
            notes.append(f"{parameter} comes from the prior: {single} in the data.")
        else:
            names = ", ".join(map(repr, flat[:5])) + (", …" if len(flat) > 5 else "")
            notes.append(
                f"{parameter} of {names} comes from the prior and the other tasks: {single} for it."
            )
    for values, parameter, what in axes:
        if _distinct(values) == 2:
            notes.append(
                f"{parameter} rests on two {what}s: its prior matters, and more so the further a "
                "prediction is from them."
            )
    if spec.terms.penalty == "log_logistic":
        ratio = np.log(tokens / obs["context_window"].values)
        if ratio.max() < -0.7:
            notes.append(
                "κ (kappa) and δ (delta) come from the prior: no prompt is longer than half its "
                "context window."
            )
    return notes
