"""Priors: the defaults, the user's own, and how they print.

A prior of a population parameter is stated on the parameter's natural scale, so that a person can
judge it: "κ between 3 and 30 with 90 %". Effects act on the log scale (ρ: log-odds; η: log-odds of
its share of `law.PARTING`; κ: log of what it has above that; δ: before `law.window_end`), and their
standard deviations have half-normal priors on that scale, or priors that keep away from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real

import numpy as np

from bayes_ctxlaw._faults import did_you_mean
from bayes_ctxlaw.errors import FileFormatError, SpecificationError
from bayes_ctxlaw.law import PARAMETERS, PARTING, natural, window_total

_Z90 = 1.6448536269514722  # 95 % point of the standard normal
_POSITIVE_90 = {  # 5 % and 95 % points at scale 1, which is the root mean square
    "half_normal": (0.06270677794321385, 1.959963984540054),
    "zero_avoiding": (0.1450757292393845, 1.93667457982513),
}
GAMMA_SHAPE = 2.0
"""Of the gamma prior that keeps a standard deviation away from 0."""
_NAMES = {
    "lognormal": "LogNormal",
    "logitnormal": "LogitNormal",
    "window": "Window",
    "logitnormal_below": f"{PARTING:g}·LogitNormal",
    "lognormal_above": f"{PARTING:g} + LogNormal",
    "half_normal": "HalfNormal",
    "zero_avoiding": "Gamma",
}

_KINDS = {
    "rho": "logitnormal",
    "eta": "logitnormal_below",
    "kappa": "lognormal_above",
    "delta": "window",
}
_EXAMPLES = {"lognormal": "A"} | {kind: name for name, kind in _KINDS.items()}


def _kind(parameter: str) -> str:
    return _KINDS.get(parameter, "lognormal")


@dataclass(frozen=True)
class Prior:
    """A prior distribution.

    Parameters
    ----------
    kind : str
        Family of the distribution, on the natural scale: ``"lognormal"``, ``"logitnormal"``;
        ``"logitnormal_below"``, that of eta, drawn out to end at ``law.PARTING``;
        ``"lognormal_above"``, that of kappa, which begins there; ``"window"``, that of delta,
        normal above 0 and drawn together to a quarter below (``law.window_end``). For standard
        deviations ``"half_normal"``, and ``"zero_avoiding"``, a gamma distribution of shape 2.
    loc, scale : float
        Location and scale of what effects add to: the logarithm or the log-odds, before
        ``law.window_end`` for ``"window"``. For standard deviations `loc` is 0 and `scale` the root
        mean square.

    Examples
    --------
    >>> low, high = between(2, 60).interval
    >>> round(low, 6), round(high, 6)
    (2.0, 60.0)
    """

    kind: str
    loc: float
    scale: float

    def __post_init__(self) -> None:
        if self.kind not in _NAMES:
            allowed = ", ".join(map(repr, _NAMES))
            raise SpecificationError(f"prior kind {self.kind!r} is not one of {allowed}.")
        if not (math.isfinite(self.loc) and math.isfinite(self.scale) and self.scale > 0):
            raise SpecificationError(
                f"a prior needs a finite location and a scale above 0; got loc={self.loc}, "
                f"scale={self.scale}."
            )

    @property
    def interval(self) -> tuple[float, float]:
        """Equal-tailed 90 % interval on the natural scale."""
        if self.kind in _POSITIVE_90:
            low, high = _POSITIVE_90[self.kind]
            return low * self.scale, high * self.scale
        low, high = self.loc - _Z90 * self.scale, self.loc + _Z90 * self.scale
        return _natural(self.kind, low), _natural(self.kind, high)

    def __str__(self) -> str:
        low, high = self.interval
        numbers = f"{self.scale:.3g}"
        if self.kind == "zero_avoiding":
            numbers = f"{GAMMA_SHAPE:g}, {gamma_unit(self.scale):.3g}"
        elif self.kind != "half_normal":
            numbers = f"{self.loc:.3g}, {numbers}"
        return f"{_NAMES[self.kind]}({numbers}): between {low:.2g} and {high:.2g} with 90 %"


def between(low: float, high: float, kind: str = "lognormal") -> Prior:
    """Prior whose equal-tailed 90 % interval is the given one.

    Parameters
    ----------
    low, high : float
        5 % and 95 % points, on the natural scale of the parameter.
    kind : {"lognormal", "logitnormal", "logitnormal_below", "lognormal_above", "window"}
        ``"lognormal"`` for A, alpha, B, beta, D and psi, ``"logitnormal"`` for rho,
        ``"logitnormal_below"`` for eta, ``"lognormal_above"`` for kappa, ``"window"`` for delta.

    Returns
    -------
    Prior

    Raises
    ------
    SpecificationError
        If the interval is empty, or reaches beyond what the parameter may be.

    Examples
    --------
    >>> print(between(2, 60))
    LogNormal(2.39, 1.03): between 2 and 60 with 90 %
    """
    if kind not in _NAMES or kind in _POSITIVE_90:
        allowed = ", ".join(repr(name) for name in _NAMES if name not in _POSITIVE_90)
        raise SpecificationError(f"between takes kind= one of {allowed}; got {kind!r}.")
    if kind == "lognormal" and not 0 < low < high:
        raise SpecificationError(
            f"between({low}, {high}): this parameter is above 0, so give 0 < low < high."
        )
    if kind == "logitnormal" and not 0 < low < high < 1:
        raise SpecificationError(
            f"between({low}, {high}): this parameter is a share, so give 0 < low < high < 1."
        )
    if kind == "logitnormal_below" and not 0 < low < high < PARTING:
        raise SpecificationError(
            f"between({low}, {high}): eta is below {PARTING:g}, for a sharper loss is what "
            f"kappa is for, so give 0 < low < high < {PARTING:g}."
        )
    if kind == "lognormal_above" and not PARTING < low < high:
        raise SpecificationError(
            f"between({low}, {high}): kappa is above {PARTING:g}, for a blunter end of the window "
            f"is what D and eta are for, so give {PARTING:g} < low < high."
        )
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise SpecificationError(f"between({low}, {high}): give two numbers, low < high.")
    low, high = _total(kind, low), _total(kind, high)
    return Prior(kind, (low + high) / 2, (high - low) / (2 * _Z90))


def _natural(kind: str, total: float) -> float:
    """From the scale that effects act on."""
    return float(natural(_EXAMPLES[kind], np.float64(total)))


def _total(kind: str, value: float) -> float:
    """The inverse of `_natural`."""
    if kind == "window":
        return window_total(value)
    if kind.startswith("logitnormal"):
        most = PARTING if kind == "logitnormal_below" else 1.0
        return math.log(value / (most - value))
    return math.log(value - (PARTING if kind == "lognormal_above" else 0.0))


def half_normal(scale: float) -> Prior:
    """Half-normal prior of a standard deviation.

    Parameters
    ----------
    scale : float
        Scale of the half-normal; the value is below 1.96 × `scale` with 95 %.

    Returns
    -------
    Prior

    Examples
    --------
    >>> print(half_normal(0.5))
    HalfNormal(0.5): between 0.031 and 0.98 with 90 %
    """
    return Prior("half_normal", 0.0, float(scale))


def zero_avoiding(scale: float) -> Prior:
    """Prior of a standard deviation that keeps away from 0: a gamma distribution of shape 2.

    A half-normal prior lets a few labels that happen to be alike say that all labels are. This one
    has the same root mean square and nearly the same median and 95 % point, and a density that
    falls to 0 at 0.

    Parameters
    ----------
    scale : float
        Root mean square, which is the scale of the half-normal that it takes the place of.

    Returns
    -------
    Prior

    References
    ----------
    Chung, Rabe-Hesketh, Dorie, Gelman, Liu (2013), doi:10.1007/s11336-013-9328-2.

    Examples
    --------
    >>> print(zero_avoiding(0.5))
    Gamma(2, 0.204): between 0.073 and 0.97 with 90 %
    """
    return Prior("zero_avoiding", 0.0, float(scale))


def gamma_unit(scale: float) -> float:
    """Scale of the gamma distribution whose root mean square is given.

    Examples
    --------
    >>> round(gamma_unit(6**0.5), 6)
    1.0
    """
    return scale / math.sqrt(GAMMA_SHAPE * (GAMMA_SHAPE + 1.0))


POPULATION: Mapping[str, Prior] = {
    # A = 0.19 … 5.2 puts the compute term between 17 % and 99 % of its ceiling at the reference.
    "A": Prior("lognormal", 0.0, 1.0),
    "alpha": Prior("lognormal", math.log(0.3), 0.6),
    "B": Prior("lognormal", 0.5, 1.0),
    "beta": Prior("lognormal", math.log(0.8), 0.7),
    "rho": Prior("logitnormal", -2.0, 1.5),
    "D": between(0.005, 0.3),
    "psi": between(0.1, 1.0),
    "eta": between(0.3, 1.5, "logitnormal_below"),
    "kappa": between(3.0, 30.0, "lognormal_above"),
    "delta": Prior("window", 0.2, 0.4),
}
"""Default priors of the population values of the parameters, at the references."""

LEVEL_SCALES: Mapping[str, float] = {
    "A": 1.0, "alpha": 0.3, "B": 0.7, "beta": 0.5, "rho": 1.0, "D": 1.0, "psi": 0.3, "eta": 0.3,
    "kappa": 0.4, "delta": 0.5,
}  # fmt: skip
"""Default half-normal scale of the effects of task, family and technique, by parameter."""

FINE_SCALES: Mapping[str, float] = {"A": 0.3, "B": 0.3}
"""The same of the effects of a checkpoint and of interactions, where it is smaller."""

# A dozen scores, and as many parameters, can be met exactly: without `n_items` nothing else says
# that scores scatter, and a prior that allows for no scatter lets them be.
OVERDISPERSION = zero_avoiding(0.1)
"""Default prior of a task's overdispersion: standard deviation of a score beyond item sampling,
as a share of sqrt(P (1 - P))."""


DISCREPANCY = half_normal(0.3)
"""Default prior of the standard deviation by which tasks stray from the law along prompt length, in
log-odds: a share of one half becomes 0.43 or 0.57 at 0.3."""


def default_priors(
    levels: Mapping[str, tuple[str, ...]],
    parameters: Sequence[str] = PARAMETERS,
    discrepancy: bool = False,
) -> dict[str, Prior]:
    """Default priors by name for the given levels.

    Parameters
    ----------
    levels : mapping of str to sequence of str
        Level → parameters its effects act on, as from ``encoding.parse_groups``.
    parameters : sequence of str
        Those that the law has.
    discrepancy : bool
        Whether it has a discrepancy.

    Returns
    -------
    dict of str to Prior
        ``"A"`` … ``"delta"``, then ``"A_task_sd"`` and so on, then ``"overdispersion"``.

    Examples
    --------
    >>> list(default_priors({"llm": ("A",)}))[-2:]
    ['A_llm_sd', 'overdispersion']
    """
    priors = {name: prior for name, prior in POPULATION.items() if name in parameters}
    for level, acted_on in levels.items():
        for name in acted_on:
            fine = level == "llm" or ":" in level
            scale = FINE_SCALES.get(name, LEVEL_SCALES[name]) if fine else LEVEL_SCALES[name]
            priors[scale_name(name, level)] = half_normal(scale)
    if discrepancy:
        priors["discrepancy_sd"] = DISCREPANCY
    priors["overdispersion"] = OVERDISPERSION
    return priors


def scale_name(parameter: str, level: str) -> str:
    """Name of the standard deviation of a level's effects on a parameter.

    Examples
    --------
    >>> scale_name("A", "task:llm")
    'A_task_llm_sd'
    """
    return f"{parameter}_{level.replace(':', '_')}_sd"


def _as_prior(name: str, value: object) -> Prior:
    population = name in PARAMETERS
    kind = _kind(name)
    if isinstance(value, Prior):
        fits = value.kind == kind if population else value.kind in _POSITIVE_90
        if not fits:
            allowed = (
                f"between(low, high{', kind=' + repr(kind) if kind != 'lognormal' else ''})"
                if population
                else "half_normal(scale) or zero_avoiding(scale)"
            )
            raise SpecificationError(f"{name} takes {allowed}; got {value}")
        return value
    if population and isinstance(value, (tuple, list, np.ndarray)) and len(value) == 2:
        return between(float(value[0]), float(value[1]), kind)
    if not population and isinstance(value, Real) and not isinstance(value, bool):
        return half_normal(value)
    form = "(low, high), its 90 % interval" if population else "a number, its half-normal scale"
    raise SpecificationError(f"{name} takes {form}, or a Prior; got {value!r}")


def resolve_priors(
    levels: Mapping[str, tuple[str, ...]],
    user: Mapping[str, object] | None,
    parameters: Sequence[str] = PARAMETERS,
    discrepancy: bool = False,
) -> dict[str, Prior]:
    """Defaults with the user's own put in their place.

    Parameters
    ----------
    levels : mapping of str to sequence of str
        Level → parameters its effects act on.
    user : mapping of str to Prior, (low, high) or float, optional
        Own priors by name: an interval for a population parameter, a half-normal scale for a
        standard deviation, or a `Prior`.
    parameters : sequence of str
        Those that the law has.
    discrepancy : bool
        Whether it has a discrepancy.

    Returns
    -------
    dict of str to Prior

    Raises
    ------
    SpecificationError
        If a name is not one of the model's, or a value is not a prior; all faults in one message.

    Examples
    --------
    >>> print(resolve_priors({}, {"alpha": (0.1, 0.4)})["alpha"])
    LogNormal(-1.61, 0.421): between 0.1 and 0.4 with 90 %
    """
    priors = default_priors(levels, parameters, discrepancy)
    if user is not None and not isinstance(user, Mapping):
        raise SpecificationError(
            f"priors={user!r} must be a mapping of names, such as {{'kappa': (5, 20)}}."
        )
    faults = []
    for name, value in (user or {}).items():
        if name not in priors:
            meant = did_you_mean(name, priors)
            faults.append(f"there is no prior named {name!r}{meant}; valid: {', '.join(priors)}")
            continue
        try:
            priors[name] = _as_prior(name, value)
        except (SpecificationError, TypeError, ValueError) as error:
            text = str(error).rstrip(".")
            faults.append(text if text.startswith(name) else f"{name}: {text}")
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    return priors


def priors_to_json(priors: Mapping[str, Prior]) -> dict[str, dict[str, object]]:
    """Plain numbers and words of a set of priors, for saving."""
    return {name: asdict(prior) for name, prior in priors.items()}


def priors_from_json(saved: Mapping[str, Mapping[str, object]]) -> dict[str, Prior]:
    """Reverse of `priors_to_json`.

    Raises
    ------
    FileFormatError
        If a parameter meant something else when they were saved.
    """
    other = [n for n, prior in saved.items() if n in PARAMETERS and prior["kind"] != _kind(n)]
    if other:
        raise FileFormatError(
            f"the priors of {' and '.join(other)} in this fit have forms that they do not have "
            "here: it is of another version of bayes_ctxlaw, in which these parameters meant "
            "something else. Fit again with this version, or load it with that one."
        )
    return {
        name: Prior(str(p["kind"]), float(p["loc"]), float(p["scale"]))  # type: ignore[arg-type]
        for name, p in saved.items()
    }
