"""Training compute: the 6·N·D rule and a small registry of open models."""

from __future__ import annotations

import difflib
from functools import lru_cache
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

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
    if not faults:
        try:
            np.broadcast_shapes(*(a.shape for a in arrays.values()))
        except ValueError:
            shapes = ", ".join(f"`{n}` {a.shape}" for n, a in arrays.items())
            faults.append(f"the shapes do not go together: {shapes}; give equal shapes or scalars")
    if faults:
        raise SpecificationError("training_flops cannot work with this: " + "; ".join(faults) + ".")
    n, d, extension = arrays.values()
    flops = 6.0 * n * (d + extension)
    return float(flops) if flops.ndim == 0 else flops


def _float_array(value: ArrayLike) -> np.ndarray | None:
    """`value` as float64, or None when it does not consist of plain numbers."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufO":
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
        Index ``name``; columns ``family``, ``n_params`` (parameters; the active ones of a mixture
        of experts), ``train_tokens`` (blank when undisclosed or not verified), ``compute`` (FLOP,
        6·N·D; blank with the tokens), ``context_window`` (tokens, of the base model), ``source``.

    Examples
    --------
    >>> list_models().loc["llama-2-7b", "train_tokens"].item()
    2000000000000.0
    """
    return _registry().copy()


def model_compute(name: str) -> float:
    """Training compute of an open model, from the registry.

    Parameters
    ----------
    name : str
        A name listed by `list_models`, in any case.

    Returns
    -------
    float
        FLOP.

    Raises
    ------
    UnknownLabelError
        No model of that name; the message lists the nearest ones.
    SpecificationError
        The model is known but its training tokens are not.

    Examples
    --------
    >>> model_compute("Llama-2-7B")
    8.4e+22
    """
    models = _registry()
    key = str(name).strip().casefold()
    if key not in models.index:
        # Hub names carry the organisation in front; the model's own name is what can be near.
        near = difflib.get_close_matches(key.rsplit("/", 1)[-1], models.index, n=5, cutoff=0.5)
        nearest = f"The nearest names are {', '.join(near)}. " if near else ""
        raise UnknownLabelError(
            f"There is no model {name!r} in the compute registry. {nearest}"
            f"list_models() shows all {len(models)}; for any other model use "
            "training_flops(n_params, train_tokens)."
        )
    row = models.loc[key]
    if np.isnan(row["compute"]):
        raise SpecificationError(
            f"The training compute of {key!r} is not known, because its training tokens are not "
            f"(parameters: {row['n_params']:.3g}; source: {row['source']}). If you have a figure "
            "you trust, use training_flops(n_params, train_tokens)."
        )
    return float(row["compute"])
