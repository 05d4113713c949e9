"""Training compute: the 6·N·D rule and a small registry of open models."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import SpecificationError, UnknownLabelError


def training_flops(
    n_params: ArrayLike, train_tokens: ArrayLike, extension_tokens: ArrayLike = 0
) -> float | np.ndarray:
    """Training compute by the rule 6·N·(D + extension), in FLOP.

    Parameters
    ----------
    n_params : float or array-like
        Parameters N, above 0; non-embedding parameters by preference.
    train_tokens : float or array-like
        Pre-training tokens D, above 0.
    extension_tokens : float or array-like, default 0
        Tokens of the later training that extended the context window, 0 or more.

    Returns
    -------
    float or numpy.ndarray
        FLOP, in float64 (64-bit integers overflow at 9.2e18). A float when all three arguments are
        scalars, otherwise an array of their broadcast shape.

    Raises
    ------
    SpecificationError
        An argument is not a finite number in its range, or the shapes do not broadcast.

    Notes
    -----
    Six operations a parameter and token, two forward and four backward: Kaplan et al. (2020),
    arXiv:2001.08361, section 2.1. The extension tokens follow arXiv:2510.14919.

    Examples
    --------
    >>> training_flops(7e9, 2e12)
    8.4e+22
    >>> training_flops([7e9, 13e9], 2e12).tolist()
    [8.4e+22, 1.56e+23]
    """
    given = {
        "n_params": n_params,
        "train_tokens": train_tokens,
        "extension_tokens": extension_tokens,
    }
    faults, arrays = [], {}
    for name, value in given.items():
        array = _float_array(value)
        zero_is_fine = name == "extension_tokens"
        wanted = "finite numbers, 0 or more" if zero_is_fine else "finite numbers above 0"
        if array is None:
            faults.append(f"`{name}` is {value!r}; allowed are {wanted}")
            continue
        bad = ~np.isfinite(array) | (array < 0 if zero_is_fine else array <= 0)
        if bad.any():
            found = ", ".join(f"{v:g}" for v in array[bad].ravel()[:3])
            more = f", … ({bad.sum()} in all)" if bad.sum() > 3 else ""
            faults.append(f"`{name}` holds {found}{more}; allowed are {wanted}")
        arrays[name] = array
    try:
        np.broadcast_shapes(*(a.shape for a in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"`{n}` {a.shape}" for n, a in arrays.items())
        faults.append(f"the shapes do not go together: {shapes}; give equal shapes or scalars")
    if faults:
        raise SpecificationError("training_flops cannot work with this: " + "; ".join(faults) + ".")
    n, d, extension = arrays.values()
    with np.errstate(over="ignore"):
        flops = 6.0 * n * (d + extension)
    if not np.isfinite(flops).all():
        raise SpecificationError(
            "training_flops cannot work with this: 6·N·D is beyond the largest number there is. "
            "`n_params` and `train_tokens` are plain counts, such as 7e9 and 2e12."
        )
    return float(flops) if flops.ndim == 0 else flops


def _float_array(value: ArrayLike) -> np.ndarray | None:
    """`value` as float64, or None when it does not consist of plain numbers."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufO":
            return None
        if array.dtype.kind == "O" and any(isinstance(v, str | bytes) for v in array.flat):
            return None
        return array.astype(np.float64)
    except (TypeError, ValueError):
        return None


@lru_cache(maxsize=1)
def _registry() -> pd.DataFrame:
    resource = files("bayes_ctxlaw") / "datasets" / "model_compute.csv"
    with resource.open(encoding="utf-8") as handle:
        return pd.read_csv(handle, index_col="name")


def list_models() -> pd.DataFrame:
    """Open models of known size, with their training tokens, compute and base context window.

    Returns
    -------
    pandas.DataFrame
        Index ``name``; columns ``family``; ``n_params`` (parameters as the model is called by; the
        active ones of a mixture of experts); ``n_params_total`` and ``n_params_non_embedding``
        (blank where no source states them; of a mixture all experts); ``train_tokens`` (blank when
        undisclosed or not verified); ``compute`` (FLOP, 6·N·D with ``n_params``; blank with the
        tokens); ``context_window`` (tokens, of the base model); ``source``; ``params_source``
        (of the other two counts of parameters).

    Notes
    -----
    ``compute`` takes the parameters of all models as they are called by, which mostly includes
    embeddings. Do not mix it in one analysis with compute from non-embedding parameters, such as
    that of arXiv:2510.14919: the two differ by up to 20 %.

    Examples
    --------
    >>> list_models().loc["llama-2-7b", "train_tokens"].item()
    2000000000000.0
    """
    return _registry().copy()


_SAME_COMPUTE = ("base", "chat", "hf", "instruct", "it", "meta", "pt")
"""Words of a model's name that leave its training compute what it is: the form of the weights, who
made them, and fine-tuning, which is short beside pre-training."""


def _words(name: str) -> tuple[str, ...]:
    """What tells one model's name from another's, however it is written.

    Examples
    --------
    >>> _words("meta-llama/Llama-2-7b-hf"), _words("Llama 2 7B"), _words("Code Llama 7B")
    (('llama', '2', '7b'), ('llama', '2', '7b'), ('codellama', '7b'))
    """
    text = name.casefold().strip().strip("/").rsplit("/", 1)[-1]
    # "llama-3-1-8b": where a name may hold no dot, a dash stands for it.
    text = re.sub(r"(?<![\d.])(\d)[-_](\d)(?=[-_ ]|$)", r"\1.\2", text)
    # A size and its unit are one word, with what marks the active part of a mixture.
    found = re.findall(r"(?<![a-z])a?\d+(?:\.\d+)?\s?[bmk](?![a-z])|\d+(?:\.\d+)?|[^\W\d_]+", text)
    words: list[str] = []
    for word in (re.sub(r"\s", "", word) for word in found):
        if word in _SAME_COMPUTE:
            continue
        if words and word.isalpha() and words[-1].isalpha():
            words[-1] += word
        else:
            words.append(word)
    return tuple(words)


@lru_cache(maxsize=1)
def _by_words() -> dict[tuple[str, ...], str]:
    return {_words(name): name for name in _registry().index}


def find_model(name: str) -> str:
    """Name in the registry of a model, from the name as people write it.

    Parameters
    ----------
    name : str
        In any case, with spaces, dashes or none, with an organisation in front; words such as
        ``hf``, ``chat`` or ``instruct`` may follow, since fine-tuning hardly adds to the compute.

    Returns
    -------
    str
        A name of `list_models`.

    Raises
    ------
    UnknownLabelError
        No model has this name, or it may mean several: without a generation, or with words that
        make it another checkpoint, such as an extended window. The message lists the candidates.

    Examples
    --------
    >>> find_model("meta-llama/Llama-2-7b-hf"), find_model("llama2-7b"), find_model("Llama 2 7B")
    ('llama-2-7b', 'llama-2-7b', 'llama-2-7b')
    >>> find_model("llama-7b")
    Traceback (most recent call last):
    ...
    bayes_ctxlaw.errors.UnknownLabelError: 'llama-7b' does not say which model of the compute \
registry it is: llama-1-7b or llama-2-7b? Write such a name in full, or use \
training_flops(n_params, train_tokens) for any other.
    """
    words = _words(str(name))
    known = _by_words()
    if words in known:
        return known[words]
    # What is missing may be a generation or a size; then the user must say which.
    within = [full for key, full in known.items() if words and _in_order(words, key)]
    if within:
        raise UnknownLabelError(
            f"{name!r} does not say which model of the compute registry it is: "
            f"{' or '.join(within)}? Write such a name in full, or "
            f"{wording().compute_of_others()} for any other."
        )
    base = [full for key, full in known.items() if _in_order(key, words)]
    if base:
        most = max(len(_words(full)) for full in base)
        base = [full for full in base if len(_words(full)) == most]
        raise UnknownLabelError(
            f"{name!r} is not in the compute registry. It says more than {' or '.join(base)}, "
            "which is there, and may be another checkpoint: of another version, or with an "
            "extended window. If it has the same training compute, write that name; otherwise "
            f"{wording().compute_of_others(extended=True)}."
        )
    text = "-".join(words)
    names = {"-".join(key): full for key, full in known.items()}
    near = [names[key] for key in difflib.get_close_matches(text, names, n=5, cutoff=0.6)]
    nearest = f"The nearest names are {', '.join(near)}. " if near else ""
    raise UnknownLabelError(
        f"There is no model {name!r} in the compute registry. {nearest}"
        f"{wording().list_of_models(len(known))}; for any other model "
        f"{wording().compute_of_others()}."
    )


def _in_order(few: tuple[str, ...], many: tuple[str, ...]) -> bool:
    """Whether all of the first are among the second, in this order."""
    rest = iter(many)
    return all(word in rest for word in few)


def model_compute(name: str) -> float:
    """Training compute of an open model, from the registry.

    Parameters
    ----------
    name : str
        As for `find_model`.

    Returns
    -------
    float
        FLOP.

    Raises
    ------
    UnknownLabelError
        No model of that name, or several; the message lists the candidates.
    SpecificationError
        The model is known but its training tokens are not.

    Examples
    --------
    >>> model_compute("Llama-2-7B")
    8.4e+22
    """
    key = find_model(name)
    row = _registry().loc[key]
    if np.isnan(row["compute"]):
        raise SpecificationError(
            f"The training compute of {key!r} is not known, because its training tokens are not "
            f"(parameters: {row['n_params']:.3g}; source: {row['source']}). If you have a figure "
            "you trust, use training_flops(n_params, train_tokens)."
        )
    return float(row["compute"])
