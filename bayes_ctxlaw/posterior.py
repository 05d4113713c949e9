"""What was sampled → the parameters of the design, labelled; and the check that none is missing."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.effects import Assembly, DrawSource, Specification
from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.errors import NotFittedError
from bayes_ctxlaw.priors import scale_name

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


def label_posterior(
    sampled: xr.Dataset, obs: xr.Dataset, spec: Specification, encoding: Encoding, geometry: Any
) -> xr.Dataset:
    """Posterior in the parameters of the design.

    Parameters
    ----------
    sampled : xr.Dataset
        Draws of the variables of the graph, (chain, draw, …).
    obs, spec, encoding, geometry
        What the graph was built from.

    Returns
    -------
    xr.Dataset
        ``mu_A`` … (log scale, but for delta); scales; effects by level; ``overdispersion``; and
        ``A`` … ``delta`` on their natural scale over task, family and technique where they vary.
    """
    shape = sampled.sizes["chain"], sampled.sizes["draw"]
    flat = {
        name: value.values.reshape(shape[0] * shape[1], *value.shape[2:])
        for name, value in sampled.data_vars.items()
    }
    assembly = Assembly(obs, spec, encoding, geometry).run(DrawSource(flat))
    values: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, value in (assembly.population | assembly.scales).items():
        values[name] = ((), value)
    for (parameter, level), value in assembly.effects.items():
        values[f"{parameter}_{level_dim(level)}"] = ((level_dim(level),), value)
    if "overdispersion" in flat:
        values["overdispersion"] = (("task",), flat["overdispersion"])
    for parameter in spec.terms.parameters:
        values[parameter] = _natural(parameter, values, spec, encoding, shape[0] * shape[1])
    out = xr.Dataset(
        {
            name: (
                ("chain", "draw", *dims),
                np.broadcast_to(v, (v.shape)).reshape(*shape, *v.shape[1:]),
            )
            for name, (dims, v) in values.items()
        },
        coords={"chain": sampled["chain"].values, "draw": sampled["draw"].values}
        | {
            level_dim(level): np.array(labels, dtype=object)
            for level, labels in encoding.labels.items()
        },
    )
    used = {dim for name in out.data_vars for dim in out[name].dims}
    return out.drop_vars([dim for dim in out.coords if dim not in used])


def _natural(
    parameter: str,
    values: dict[str, tuple[tuple[str, ...], np.ndarray]],
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
    total = values[f"mu_{parameter}"][1].reshape(size, *[1] * len(levels))
    for axis, level in enumerate(levels):
        effect = values[f"{parameter}_{level}"][1]
        index = [1] * len(levels)
        index[axis] = effect.shape[1]
        total = total + effect.reshape(size, *index)
    return tuple(levels), total if parameter == "delta" else np.exp(total)
