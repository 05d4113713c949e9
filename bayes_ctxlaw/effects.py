"""How population values and effects add up to the parameters of every observation.

One piece of code serves the graph and the restoring of effects from what was sampled: it asks a
`source` for every variable, which is a PyMC variable while a model is built and an array of draws
afterwards. Leading axes are draws; the last one is labels or observations.

For every parameter one level is the *root*: task if it has task effects, else llm, else the
population value. The root is sampled at the centre of its own data, that is with the average of
everything it could trade off against (effects of other levels, slope × distance to the reference,
for A also the level of the context term) already added. This shifts a variable by a function of
others, so the posterior is untouched, and removes most of the correlation between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, level_dim, level_labels
from bayes_ctxlaw.geometry import Geometry
from bayes_ctxlaw.law import LawTerms, array_module, log_saturation
from bayes_ctxlaw.priors import Prior, scale_name

_ORDER = ("alpha", "B", "beta", "kappa", "delta", "A")
"""Each shift needs what it is a function of: beta that of B, A those of all before it."""

_CEILING = -0.01  # log of the highest S that `_unsaturate` follows


@dataclass(frozen=True)
class Specification:
    """All that decides the graph beside the observations.

    Attributes
    ----------
    terms : LawTerms
        Form of the law.
    likelihood : str
        Resolved observation model, not ``"auto"``.
    levels : dict of str to tuple of str
        Level → parameters its effects act on.
    priors : dict of str to Prior
        Priors by name.
    """

    terms: LawTerms
    likelihood: str
    levels: dict[str, tuple[str, ...]]
    priors: dict[str, Prior]

    def levels_of(self, parameter: str, encoding: Encoding) -> tuple[str, ...]:
        """Levels in the data whose labels may shift `parameter`, with one label or more."""
        return tuple(
            level
            for level, parameters in self.levels.items()
            if parameter in parameters and level in encoding.labels
        )

    def effects_of(self, parameter: str, encoding: Encoding) -> tuple[str, ...]:
        """Those with at least two labels: the effect of a single one is in the population."""
        return tuple(
            level
            for level in self.levels_of(parameter, encoding)
            if len(encoding.labels[level]) > 1
        )


class Source(Protocol):
    """Where the variables come from: a model under construction, or draws."""

    def normal(self, name: str, loc: Any, scale: Any, dim: str | None) -> Any:
        """Normal variable, scalar or along `dim`."""

    def half_normal(self, name: str, scale: float, dim: str | None) -> Any:
        """Half-normal variable, scalar or along `dim`."""


def root_level(levels: tuple[str, ...]) -> str | None:
    """Level whose totals are sampled: task, else llm, else None for the population value."""
    return "task" if "task" in levels else "llm" if "llm" in levels else None


def parents_of_llm(obs: xr.Dataset, levels: tuple[str, ...]) -> tuple[str, ...]:
    """Levels of which every llm has one label only, so that llm totals can be centred on them."""
    if "llm" not in levels:
        return ()
    llm = level_labels(obs, "llm").tolist()
    nested = []
    for level in levels:
        if level in ("llm", "task") or ":" in level:
            continue
        pairs = set(zip(llm, level_labels(obs, level).tolist(), strict=True))
        if len(pairs) == len(set(llm)):
            nested.append(level)
    return tuple(nested)


class Assembly:
    """Population values, effects and totals of all parameters, from a source of variables.

    Parameters
    ----------
    obs : xr.Dataset
        Observations of the fit.
    spec : Specification
    encoding : Encoding
    geometry : Geometry

    Attributes
    ----------
    population, scales, effects : dict
        ``mu_A`` …; ``A_task_sd`` …; (parameter, level) → effects along the labels.
    totals : dict
        Parameter → value per observation: on the log scale, but for delta.
    """

    def __init__(
        self, obs: xr.Dataset, spec: Specification, encoding: Encoding, geometry: Geometry
    ) -> None:
        self.obs, self.spec, self.encoding, self.geometry = obs, spec, encoding, geometry
        self.design = encoding.design(obs, spec.terms)
        self.codes = {level: encoding.codes(obs, level) for level in encoding.labels}
        for level, codes in self.codes.items():
            # An index out of range is garbage without an error under the default backend.
            if codes.min() < 0 or codes.max() >= len(encoding.labels[level]):
                raise AssertionError(f"codes of {level!r} do not match its labels")
        self.population: dict[str, Any] = {}
        self.scales: dict[str, Any] = {}
        self.effects: dict[tuple[str, str], Any] = {}
        self.totals: dict[str, Any] = {}

    def run(self, source: Source) -> Assembly:
        """Ask `source` for every variable and add them up."""
        for name in _ORDER:
            if name in self.spec.terms.parameters:
                self._parameter(name, source)
        return self

    def _parameter(self, name: str, source: Source) -> None:
        levels = self.spec.effects_of(name, self.encoding)
        for level in self.spec.levels_of(name, self.encoding):
            # With one label the data say nothing of this spread, but a prediction needs it.
            key = scale_name(name, level)
            self.scales[key] = source.half_normal(key, self.spec.priors[key].scale, None)
        root, parents = root_level(levels), parents_of_llm(self.obs, levels)
        outside: Any = 0.0  # the part of the total that the root does not hold
        for level in levels:
            if level not in ("task", "llm", *parents):
                effect = self._effects(name, level, None, 0.0, source)
                outside = outside + effect[..., self.codes[level]]
        if root == "task" and "llm" in levels:
            above = self._parents(name, parents, None, source)
            llm = self._effects(name, "llm", above, 0.0, source)
            outside = outside + llm[..., self.codes["llm"]]
        shift = self._shift(name, outside)
        if root is None:
            mu = self._population(name, shift, source)
            self.totals[name] = mu[..., None] + outside
            return
        centre = shift if isinstance(shift, float) else shift.mean(axis=-1, keepdims=True)
        mu = self._population(name, centre, source)[..., None]
        base = mu if root == "task" else self._parents(name, parents, mu, source)
        at_root = self._effects(name, root, base, shift, source)
        self.totals[name] = at_root[..., self.codes[root]] + outside

    def _population(self, name: str, shift: Any, source: Source) -> Any:
        prior = self.spec.priors[name]
        if isinstance(shift, float):
            mu = source.normal(f"mu_{name}", prior.loc, prior.scale, None)
        else:
            shift = shift[..., 0]
            mu = source.normal(f"mu_{name}_raw", prior.loc + shift, prior.scale, None) - shift
        self.population[f"mu_{name}"] = mu
        return mu

    def _parents(self, name: str, parents: tuple[str, ...], base: Any, source: Source) -> Any:
        """What llm totals are centred on: `base` + effects of the levels above, by llm."""
        first = np.unique(self.codes["llm"], return_index=True)[1]
        hanging = base is not None  # the population value, until a centred level takes it up
        for level in parents:
            centring = self.geometry.centring.get((name, level))
            if hanging and centring is not None and centring.any():
                total = self._effects(name, level, base, 0.0, source)
                base, hanging = total[..., self.codes[level][first]], False
                continue
            effect = self._effects(name, level, None, 0.0, source)
            effect = effect[..., self.codes[level][first]]
            base = effect if base is None else base + effect
        return base

    def _shift(self, name: str, outside: Any) -> Any:
        """Average over each root label's data of all that its root could trade off against."""
        weights = self.geometry.weights.get(name)
        if weights is None:
            return 0.0
        if name == "beta":
            # What the data say of the slope of log S_n, not of its exponent.
            outside = outside + _log_rise(self.totals["B"], self.spec.terms.context_term)
        elif name == "A":
            context = self.totals["B"] + _exp(self.totals["beta"]) * self.design["z"]
            level = log_saturation(context, self.spec.terms.context_term)
            outside = outside + _exp(self.totals["alpha"]) * self.design["x"]
            if self.geometry.product is not None:
                # What the data say of S_C S_n: as S_n falls, S_C must rise, and log A with it.
                needed = self.geometry.product - level
                outside = outside - _unsaturate(needed, self.spec.terms.compute_term)
        if isinstance(outside, float):
            return 0.0
        return _average(weights, outside)

    def _effects(self, name: str, level: str, mean: Any, shift: Any, source: Source) -> Any:
        """Mean + effects of a level.

        With m = mean + shift and centring c, the sampled variable is Normal(c·m, sd^c) and the
        total m + (raw − c·m)·sd^(1−c) − shift: the prior is the same for every c.
        """
        label = level_dim(level)
        sd = self.scales[scale_name(name, level)][..., None]
        c = self.geometry.centring.get((name, level))
        at = shift if mean is None else mean + shift
        if c is None or not c.any():
            raw = source.normal(f"{name}_{label}_raw", 0.0, 1.0, label)
            total = at + raw * sd - shift
        elif (c == 1.0).all():
            total = source.normal(f"{name}_{label}_raw", at, sd, label) - shift
        else:
            raw = source.normal(f"{name}_{label}_raw", c * at, sd**c, label)
            total = at + (raw - c * at) * sd ** (1.0 - c) - shift
        self.effects[name, level] = total if mean is None else total - mean
        return total

    def natural(self) -> dict[str, Any]:
        """Totals as the arguments of `mean_score`."""
        arguments = {"log_A": self.totals["A"], "log_B": self.totals["B"]}
        for name in ("alpha", "beta", "kappa"):
            if name in self.totals:
                arguments[name] = _exp(self.totals[name])
        if "delta" in self.totals:
            arguments["delta"] = self.totals["delta"]
        return arguments


def _exp(value: Any) -> Any:
    return array_module(value).exp(value)


def _log_rise(log_u: Any, kind: str) -> Any:
    """Logarithm of d log S / d log u, which is 1 for small u and falls to 0 at the ceiling."""
    xp = array_module(log_u)
    if kind == "power":
        return log_saturation(-log_u, kind)
    u = xp.exp(xp.clip(log_u, -20.0, 3.0))
    return xp.log(u / xp.expm1(u))


def _unsaturate(log_s: Any, kind: str) -> Any:
    """Log u of a term whose log S is given; held where S would reach its ceiling."""
    xp = array_module(log_s)
    log_s = xp.minimum(log_s, _CEILING)
    if kind == "power":
        return log_s - xp.log(-xp.expm1(log_s))
    # Below exp(-30) S and u are the same to the last bit.
    where = np.where if xp is np else xp.switch
    inner = xp.maximum(log_s, -30.0)
    return where(log_s < -30.0, log_s, xp.log(-xp.log1p(-xp.exp(inner))))


def _average(weights: np.ndarray, values: Any) -> Any:
    """Weighted averages (…, label) of values (…, observation) with weights (label, observation)."""
    xp = array_module(values)
    if xp is np:
        return values if values.shape[-1] == 1 else values @ weights.T
    # One value for all observations is its own average: the weights of a label add up to one.
    return values if values.type.shape == (1,) else xp.dot(weights, values)


class DrawSource:
    """Draws of the sampled variables as a source, to restore effects from.

    Parameters
    ----------
    draws : mapping of str to ndarray
        Sampled variables, draws first, labels last.
    """

    def __init__(self, draws: Mapping[str, np.ndarray]) -> None:
        self.draws = draws

    def normal(self, name: str, loc: Any, scale: Any, dim: str | None) -> np.ndarray:
        """Draws of the variable."""
        return self.draws[name]

    def half_normal(self, name: str, scale: float, dim: str | None) -> np.ndarray:
        """Draws of the variable."""
        return self.draws[name]


class StartSource:
    """Values of the sampled variables at a given mode, as a source.

    Parameters
    ----------
    mode : mapping of str to ndarray
        Population values, effects and scales by name, as in ``Geometry.start``.
    priors : mapping of str to Prior

    Attributes
    ----------
    values : dict of str to ndarray
        What was asked for: start values of the variables of the model.
    """

    def __init__(self, mode: Mapping[str, np.ndarray], priors: Mapping[str, Prior]) -> None:
        self.mode, self.priors, self.values = mode, priors, {}

    def normal(self, name: str, loc: Any, scale: Any, dim: str | None) -> np.ndarray:
        """Where the variable's standard score is that of the effect or population value."""
        bare = name.removesuffix("_raw")
        if dim is None:
            prior = self.priors[bare.removeprefix("mu_")]
            score = (self.mode[bare] - prior.loc) / prior.scale
        else:
            score = self.mode[bare] / self.mode[f"{bare}_sd"]
        self.values[name] = np.asarray(loc + scale * score)
        return self.values[name]

    def half_normal(self, name: str, scale: float, dim: str | None) -> np.ndarray:
        """The scale at the mode; half its prior's scale where the data say nothing of it."""
        self.values[name] = np.asarray(self.mode.get(name, 0.5 * scale))
        return self.values[name]
