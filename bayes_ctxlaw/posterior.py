"""Draws → the parameters of the design on their natural scale; the check that none is missing."""

from __future__ import annotations

from itertools import takewhile

import numpy as np
import xarray as xr

from bayes_ctxlaw.discrepancy import KNOT_DIM, knot_labels
from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.errors import NotFittedError
from bayes_ctxlaw.law import natural
from bayes_ctxlaw.priors import scale_name
from bayes_ctxlaw.specification import Specification

_PRODUCT_LEVELS = ("task", "family", "technique")
_MOST_NUMBERS = 30_000_000  # in one parameter's array of draws: 240 MB


def population_names(spec: Specification, encoding: Encoding) -> dict[str, str | None]:
    """Names that a posterior must hold to be predicted from, with their dimension."""
    names: dict[str, str | None] = {}
    for parameter in spec.terms.parameters:
        names[f"mu_{parameter}"] = None
        for level in spec.levels_of(parameter, encoding):
            names[scale_name(parameter, level)] = None
        for level in spec.effects_of(parameter, encoding):
            names[f"{parameter}_{level_dim(level)}"] = level_dim(level)
    if spec.terms.strays:
        names |= {"discrepancy_sd": None, "discrepancy": KNOT_DIM}
    if spec.likelihood != "binomial":
        names["overdispersion"] = "task"
    return names


def check_complete(posterior: xr.Dataset, spec: Specification, encoding: Encoding) -> None:
    """Refuse a posterior from which a variable is missing or has other labels.

    PyMC would silently draw a missing variable from its prior.

    Raises
    ------
    NotFittedError
    """
    faults = []
    labels = {level_dim(level): list(known) for level, known in encoding.labels.items()}
    labels[KNOT_DIM] = knot_labels(encoding)
    for name, dim in population_names(spec, encoding).items():
        if name not in posterior:
            faults.append(f"{name} is missing")
        elif dim is not None and (
            dim not in posterior[name].dims or list(posterior[dim].values) != labels[dim]
        ):
            faults.append(f"{name} does not have the fit's labels along {dim!r}")
    if faults:
        raise NotFittedError(
            f"the posterior is not complete: {'; '.join(faults)}. Fit again, or load the file "
            "that law.save wrote; predictions from an incomplete posterior would be part prior."
        )


def add_natural(draws: xr.Dataset, spec: Specification, encoding: Encoding) -> xr.Dataset:
    """Draws with the parameters on their natural scale.

    Parameters
    ----------
    draws : xr.Dataset
        Population values, scales, effects by level, overdispersion: (chain, draw, …).
    spec, encoding
        What they are of.

    Returns
    -------
    xr.Dataset
        The same, and ``A`` … ``delta`` over task, family and technique where they vary.
    """
    shape = draws.sizes["chain"], draws.sizes["draw"]
    flat = {
        name: value.values.reshape(shape[0] * shape[1], *value.shape[2:])
        for name, value in draws.data_vars.items()
    }
    found = {}
    for parameter in spec.terms.parameters:
        dims, value = _natural(parameter, flat, spec, encoding, shape[0] * shape[1])
        found[parameter] = ("chain", "draw", *dims), value.reshape(*shape, *value.shape[1:])
    return draws.assign(found)


def _natural(
    parameter: str,
    values: dict[str, np.ndarray],
    spec: Specification,
    encoding: Encoding,
    size: int,
) -> tuple[tuple[str, ...], np.ndarray]:
    """A parameter over every combination of the labels it varies with.

    Where the combinations would not fit into memory, the last levels are left out: the value is
    then that of a label without effect.
    """
    levels = [lv for lv in _PRODUCT_LEVELS if lv in spec.effects_of(parameter, encoding)]
    numbers = size * np.cumprod([len(encoding.labels[level]) for level in levels])
    levels = levels[: len(list(takewhile(lambda n: n <= _MOST_NUMBERS, numbers)))]
    total = values[f"mu_{parameter}"].reshape(size, *[1] * len(levels))
    for axis, level in enumerate(levels):
        effect = values[f"{parameter}_{level}"]
        index = [1] * len(levels)
        index[axis] = effect.shape[1]
        total = total + effect.reshape(size, *index)
    return tuple(levels), natural(parameter, total)
