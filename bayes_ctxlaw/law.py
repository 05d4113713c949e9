"""The mean function of the context-aware scaling law and its terms.

Pure array functions: NumPy arrays in, NumPy arrays out; PyTensor tensors in, tensors out. Both run
the same lines. Nothing here knows of data, priors or sampling.

Everything is computed on the log scale, so that no value and no gradient overflows, underflows to
NaN or jumps, however extreme the parameters are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bayes_ctxlaw.errors import SpecificationError

SATURATIONS = ("exponential", "power")
"""How a saturating term may approach its ceiling."""

PENALTIES = ("log_logistic", "token_logistic", "none")
"""What may happen to the score where the prompt outgrows the window."""

ZERO_CONTEXTS = ("free", "none")
"""Whether a prompt without content may already be worth something."""

DILUTIONS = ("window", "none")
"""Whether the score may fall as prompts get longer, inside the window."""

DISCREPANCIES = ("auto", "none", "prompt_tokens")
"""Along what a task may stray from the law; the first leaves it to the data."""

PARAMETERS = ("A", "alpha", "B", "beta", "rho", "D", "psi", "eta", "kappa", "delta")
"""The parameters of the law, in the order of its formula."""

PARTING = 2.0
"""Kappa is above this, and eta below it. At 2 a score goes from 88 % of itself to 12 % while
prompts become seven times as long. The loss inside the window and the end of the window are the
same function of w, and without a border each could take the place of the other: scores would have
two readings, and to the one no window would ever end.
"""

# exp(-30) is below the spacing of float64 around 1, so beyond these arguments a term equals its
# leading asymptote to the last bit.
_TINY, _HUGE = -30.0, 5.0

_SHORT, _CORNER = 0.25, 0.1  # slope of delta below 0, and over which it becomes 1

CEILING = -0.004  # log of the highest S that `unsaturate` follows
BEND = 0.004  # over which it leaves S for the ceiling


@dataclass(frozen=True)
class LawTerms:
    """Which form each exchangeable term of the law takes.

    Parameters
    ----------
    context_term, compute_term : {"exponential", "power"}
        Approach to the ceiling with prompt length and with compute: ``1 - exp(-u)``, the
        paper's, or ``u / (1 + u)``, which is slower.
    penalty : {"log_logistic", "token_logistic", "none"}
        Logistic in the log ratio of prompt to window with sharpness kappa and effective window
        delta; the paper's unit logistic in tokens; or no penalty at all.
    zero_context : {"free", "none"}
        Whether the context term starts from a share of its own, rho, or from 0 as the paper's.
    dilution : {"window", "none"}
        Whether the score may fall inside the window as it fills, as it does where a prompt holds
        distractors: ``1 / (1 + D C^-psi (n / n_ctx)^eta)``.
    discrepancy : {"auto", "none", "prompt_tokens"}
        Whether each task may stray smoothly from what the law says of prompt length: a shift of
        the log-odds of the context term times the dilution. ``"auto"``: undecided, which without
        data is none.

    Raises
    ------
    SpecificationError
        If a term is unknown. All unknown ones are named in one message.

    Examples
    --------
    >>> LawTerms(dilution="none").parameters
    ('A', 'alpha', 'B', 'beta', 'rho', 'kappa', 'delta')
    >>> LawTerms(penalty="none", zero_context="none", dilution="none").parameters
    ('A', 'alpha', 'B', 'beta')
    """

    context_term: str = "power"
    compute_term: str = "exponential"
    penalty: str = "log_logistic"
    zero_context: str = "free"
    dilution: str = "window"
    discrepancy: str = "auto"

    def __post_init__(self) -> None:
        allowed = {
            "context_term": SATURATIONS,
            "compute_term": SATURATIONS,
            "penalty": PENALTIES,
            "zero_context": ZERO_CONTEXTS,
            "dilution": DILUTIONS,
            "discrepancy": DISCREPANCIES,
        }
        faults = [
            f"{name}={value!r} is not one of {', '.join(map(repr, allowed[name]))}"
            for name, value in asdict(self).items()
            if value not in allowed[name]
        ]
        if faults:
            raise SpecificationError("; ".join(faults) + ".")

    @property
    def strays(self) -> bool:
        """Whether tasks stray from the law."""
        return self.discrepancy == "prompt_tokens"

    @property
    def along_prompt(self) -> tuple[str, ...]:
        """Names of the parameters by which scores change along prompt length, inside the window."""
        return tuple(name for name in self.parameters if name in ("B", "beta", "rho", "D", "eta"))

    @property
    def shapes(self) -> tuple[str, ...]:
        """Those of them that say how scores change along prompt length, and not how much."""
        return tuple(name for name in self.along_prompt if name in ("beta", "rho", "eta"))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that this form of the law has."""
        absent: set[str] = set()
        if self.penalty != "log_logistic":
            absent |= {"kappa", "delta"}
        if self.zero_context == "none":
            absent |= {"rho"}
        if self.dilution == "none":
            absent |= {"D", "psi", "eta"}
        return tuple(name for name in PARAMETERS if name not in absent)


def array_module(*arrays: Any) -> Any:
    """Where the functions for these arrays live: NumPy, PyTensor, or the kernel's own.

    PyTensor is never imported unless an argument is symbolic. Arrays of another kind name their
    module as ``array_module``; it may hold a term of the law whole, with its derivative.
    """
    for array in arrays:
        if hasattr(array, "array_module"):
            return array.array_module
        if type(array).__module__.startswith("pytensor"):
            import pytensor.tensor as pt

            return pt
    return np


def _softplus(t: Any) -> Any:
    xp = array_module(t)
    return np.logaddexp(0.0, t) if xp is np else xp.softplus(t)


def log_saturation(log_u: Any, kind: str = "exponential") -> Any:
    r"""Logarithm of a saturating term that rises from 0 to 1.

    .. math::

        S_\mathrm{exponential} = 1 - e^{-u}, \qquad S_\mathrm{power} = \frac{u}{1 + u}

    Parameters
    ----------
    log_u : array or tensor
        Logarithm of u, any real number: ``log(A) + alpha * x`` or ``log(B) + beta * z``.
    kind : {"exponential", "power"}
        Form of the approach to the ceiling.

    Returns
    -------
    array or tensor
        ``log(S)``, at most 0. It goes to ``log_u`` where u is small, so its slope is between 0
        and 1 everywhere.

    Raises
    ------
    SpecificationError
        If `kind` is unknown.

    References
    ----------
    The exponential form: Montgomery et al., arXiv:2510.14919.

    Examples
    --------
    >>> float(np.exp(log_saturation(0.0)).round(4)), float(np.exp(log_saturation(0.0, "power")))
    (0.6321, 0.5)
    """
    if kind not in SATURATIONS:
        raise SpecificationError(f"kind={kind!r} is not one of 'exponential', 'power'.")
    xp = array_module(log_u)
    if hasattr(xp, "log_saturation"):
        return xp.log_saturation(log_u, kind)
    if kind == "power":
        return -_softplus(-log_u)
    where = np.where if xp is np else xp.switch
    inner = xp.clip(log_u, _TINY, _HUGE)
    # The branch not taken is clipped, so that its gradient is finite too: 0 * inf would be NaN.
    return where(log_u < _TINY, log_u, xp.log(-xp.expm1(-xp.exp(inner))))


def log_rise(log_u: Any, kind: str = "exponential") -> Any:
    """Logarithm of d log S / d log u of a saturating term: 0 for small u, falling at the ceiling.

    Parameters
    ----------
    log_u : array or tensor
        As in `log_saturation`.
    kind : {"exponential", "power"}

    Returns
    -------
    array or tensor

    Examples
    --------
    >>> float(np.exp(log_rise(np.array(0.0), "power")))
    0.5
    """
    xp = array_module(log_u)
    if hasattr(xp, "log_rise"):
        return xp.log_rise(log_u, kind)
    if kind == "power":
        return log_saturation(-log_u, kind)
    u = xp.exp(xp.clip(log_u, -20.0, 3.0))
    return xp.log(u / xp.expm1(u))


def unsaturate(log_s: Any, kind: str = "exponential") -> Any:
    """Log u of a saturating term whose logarithm is given.

    The inverse of `log_saturation`, but it bends off where S would come near its ceiling, so that
    it is defined, and smooth, for any `log_s`.

    Parameters
    ----------
    log_s : array or tensor
        Logarithm of S, any real number.
    kind : {"exponential", "power"}

    Returns
    -------
    array or tensor

    Examples
    --------
    >>> round(float(unsaturate(np.array(-0.6931), "power")), 2)
    0.0
    """
    xp = array_module(log_s)
    if hasattr(xp, "unsaturate"):
        return xp.unsaturate(log_s, kind)
    log_s = CEILING - BEND * _softplus((CEILING - log_s) / BEND)
    if kind == "power":
        return log_s - xp.log(-xp.expm1(log_s))
    # Below exp(-30) S and u are the same to the last bit.
    where = np.where if xp is np else xp.switch
    inner = xp.maximum(log_s, _TINY)
    return where(log_s < _TINY, log_s, xp.log(-xp.log1p(-xp.exp(inner))))


def log_context(
    log_b: Any, beta: Any, z: Any, logit_rho: Any = None, kind: str = "exponential"
) -> Any:
    r"""Logarithm of the context term, of which a share may need no context.

    .. math::

        S_n = S\bigl(B \, (\rho + (1 - \rho) \, e^{\beta z})\bigr)

    Parameters
    ----------
    log_b, beta : array or tensor
        Level at the reference prompt length, and exponent.
    z : array or tensor
        log(prompt tokens / reference).
    logit_rho : array or tensor, optional
        Log-odds of the share of B that is there without a prompt. None is a share of 0, as in the
        paper.
    kind : {"exponential", "power"}
        Form of S, as in `log_saturation`.

    Returns
    -------
    array or tensor

    Examples
    --------
    >>> float(np.exp(log_context(0.0, 1.0, 0.0, logit_rho=-1.0, kind="power")))
    0.5
    """
    log_u = log_b + beta * z
    if logit_rho is not None:
        # rho + (1 - rho) e^t = rho (1 + e^(t - logit rho)); the last is a saturation by itself.
        floor = log_b + log_saturation(logit_rho, "power")
        log_u = floor - log_saturation(logit_rho - beta * z, "power")
    return log_saturation(log_u, kind)


def log_dilution(log_d: Any, eta: Any, w: Any, psi: Any = 0.0, x: Any = 0.0) -> Any:
    r"""Logarithm of the factor by which scores fall inside the window as it fills.

    .. math::

        L = \frac{1}{1 + D e^{\eta w - \psi x}}

    Parameters
    ----------
    log_d, eta : array or tensor
        Its level at the end of the nominal window and the reference compute, and exponent in
        prompt tokens.
    w : array or tensor
        log(prompt tokens / context window).
    psi, x : array or tensor
        Exponent in compute, and log(compute / reference): of two models that are lost in the
        prompt, the larger one less so.

    Returns
    -------
    array or tensor
        At most 0.

    Examples
    --------
    >>> float(np.exp(log_dilution(0.0, 1.0, 0.0)))
    0.5
    """
    return log_saturation(psi * x - (log_d + eta * w), "power")


def shift_odds(log_p: Any, shift: Any) -> Any:
    r"""Logarithm of a share whose log-odds are shifted.

    .. math::

        \log p - \log\bigl(1 + (1 - p)(e^{-g} - 1)\bigr)

    Parameters
    ----------
    log_p : array or tensor
        Logarithm of p, at most 0.
    shift : array or tensor
        g.

    Returns
    -------
    array or tensor

    Examples
    --------
    >>> float(np.exp(shift_odds(np.log(0.5), np.log(3.0))).round(6))
    0.75
    """
    xp = array_module(log_p, shift)
    return log_p - xp.log1p((1.0 - xp.exp(log_p)) * (xp.exp(-shift) - 1.0))


def log_by_length(parameters: Mapping[str, Any], design: Mapping[str, Any], terms: LawTerms) -> Any:
    """Logarithm of all that prompt length does to the score inside the window: S_n L."""
    log_s = log_context(
        parameters["log_B"],
        parameters["beta"],
        design["z"],
        parameters.get("logit_rho"),
        terms.context_term,
    )
    if "log_D" in parameters:
        log_s = log_s + log_dilution(
            parameters["log_D"],
            parameters["eta"],
            design["w"],
            parameters["psi"],
            design["x"],
        )
    if "discrepancy" in parameters:
        log_s = shift_odds(log_s, parameters["discrepancy"])
    return log_s


def window_end(total: Any) -> Any:
    """Delta, from what its population value and effects add up to.

    Above 0 they are the same; below, delta falls at a quarter of the rate. Windows often reach
    further than their nominal length and seldom end much before it, so that what makes some of
    them reach far must not make others end early.

    Parameters
    ----------
    total : array or tensor

    Returns
    -------
    array or tensor

    Examples
    --------
    >>> window_end(np.array([-2.0, 2.0])).round(2).tolist()
    [-0.5, 2.0]
    """
    # −log_saturation(−t) is the softplus of t.
    return _SHORT * total - (1.0 - _SHORT) * _CORNER * log_saturation(-total / _CORNER, "power")


def window_total(delta: float) -> float:
    """The inverse of `window_end`, of a number.

    Examples
    --------
    >>> round(float(window_end(window_total(-0.3))), 6)
    -0.3
    """
    from scipy.optimize import brentq

    reach = 2.0 + abs(delta) / _SHORT
    return float(brentq(lambda total: window_end(np.float64(total)) - delta, -reach, reach))


def natural(name: str, total: Any) -> Any:
    """A parameter on its natural scale, from the sum of its population value and effects."""
    if name == "delta":
        return window_end(total)
    xp = array_module(total)
    if name == "kappa":
        return PARTING + xp.exp(total)
    if name == "eta":
        return PARTING * xp.exp(log_saturation(total, "power"))
    return 1.0 / (1.0 + xp.exp(-total)) if name == "rho" else xp.exp(total)


def law_arguments(totals: Mapping[str, Any], most: float | None = None) -> dict[str, Any]:
    """What `mean_score` takes, from the parameters on the scales that effects act on.

    Parameters
    ----------
    totals : mapping
        By name: logarithms; of kappa that of what it has above `PARTING`, of eta the log-odds of
        its share of `PARTING`, of rho the log-odds, of delta what `window_end` takes.
    most : float, optional
        Bound on the logarithms of what is exponentiated, for places no posterior reaches.

    Returns
    -------
    dict
    """
    arguments: dict[str, Any] = {}
    for name, value in totals.items():
        if name == "delta":
            arguments[name] = window_end(value)
        elif name in ("A", "B", "D"):
            arguments[f"log_{name}"] = value
        elif name == "rho":
            arguments["logit_rho"] = value
        else:
            xp = array_module(value)
            value = value if most is None else xp.clip(value, -most, most)
            arguments[name] = value if name == "discrepancy" else natural(name, value)
    return arguments


def log_penalty(
    log_ratio: Any,
    kappa: Any = None,
    delta: Any = None,
    *,
    kind: str = "log_logistic",
    log_ratio_sd: Any = None,
    excess_tokens: Any = None,
    tokens_sd: Any = None,
) -> Any:
    r"""Logarithm of the factor by which a prompt near or past the window lowers the score.

    .. math::

        Q_\mathrm{log\,logistic} = \frac{1}{1 + e^{\kappa (w - \delta)}}, \qquad
        Q_\mathrm{token\,logistic} = \frac{1}{1 + e^{n - n_\mathrm{ctx}}}

    If the prompts of a cell differ in length, Q is averaged over a normal spread of the
    argument with the logistic-normal approximation: the slope is divided by
    :math:`\sqrt{1 + \pi s^2 / 8}`, s being the standard deviation of the logit.

    Parameters
    ----------
    log_ratio : array or tensor
        w = log(prompt tokens / context window); its mean over the prompts of a cell.
    kappa : array or tensor
        Penalty sharpness, per unit of w. Used by ``"log_logistic"``.
    delta : array or tensor
        Effective window: log ratio to the nominal one at which half the score is gone.
    kind : {"log_logistic", "token_logistic", "none"}
        Form of the penalty.
    log_ratio_sd : array or tensor, optional
        Standard deviation of w inside a cell; 0 or None for prompts of one length.
    excess_tokens, tokens_sd : array or tensor, optional
        prompt tokens − context window, and the standard deviation of prompt lengths. Used by
        ``"token_logistic"``.

    Returns
    -------
    array or tensor
        ``log(Q)``, at most 0.

    Raises
    ------
    SpecificationError
        If `kind` is unknown.

    References
    ----------
    Token logistic: Montgomery et al., arXiv:2510.14919. Logistic-normal approximation: MacKay
    (1992), doi:10.1162/neco.1992.4.5.720; within 0.02 of the integral.

    Examples
    --------
    At the effective window half the score is gone:

    >>> float(np.exp(log_penalty(0.0, kappa=10.0, delta=0.0)))
    0.5
    """
    if kind == "none":
        return 0.0 * log_ratio
    if kind == "log_logistic":
        slope, offset, spread = kappa, log_ratio - delta, log_ratio_sd
    elif kind == "token_logistic":
        slope, offset, spread = 1.0, excess_tokens, tokens_sd
    else:
        raise SpecificationError(f"kind={kind!r} is not one of {', '.join(map(repr, PENALTIES))}.")
    if spread is not None:
        slope = slope / array_module(slope, spread).sqrt(
            1.0 + math.pi / 8.0 * (slope * spread) ** 2
        )
    return -_softplus(slope * offset)


def mean_score(
    parameters: Mapping[str, Any],
    design: Mapping[str, Any],
    terms: LawTerms | None = None,
) -> Any:
    r"""Expected score P of the context-aware scaling law.

    .. math::

        P = Q \, \bigl(\gamma + (1 - \gamma) \, S_C \, S_n \, L\bigr)

    with :math:`S_C` the saturation of :math:`\log A + \alpha x`, :math:`S_n` the context term, L
    the dilution and Q the penalty. The penalty multiplies the chance level as well: far past the
    window models score 0, below chance.

    Parameters
    ----------
    parameters : mapping
        ``"log_A"``, ``"alpha"``, ``"log_B"``, ``"beta"``; ``"logit_rho"``, ``"log_D"``,
        ``"psi"`` and ``"eta"`` where the law has them; for the log-logistic penalty ``"kappa"``
        and ``"delta"``; ``"discrepancy"``, by which log-odds of :math:`S_n L` are shifted, where
        there is one. Arrays or tensors that broadcast with the design.
    design : mapping
        ``"x"`` log compute and ``"z"`` log prompt tokens, each over its reference; ``"w"`` log
        of prompt tokens over window; ``"chance"``. Optional: ``"w_sd"``, the standard deviation of
        log prompt tokens inside a cell, which z and w are of the mean of; for the token logistic
        ``"excess_tokens"`` and ``"tokens_sd"``.
    terms : LawTerms, optional
        Form of the terms.

    Returns
    -------
    array or tensor
        P in [0, 1].

    References
    ----------
    Montgomery et al., arXiv:2510.14919.

    Examples
    --------
    >>> p = {"log_A": 0.0, "alpha": 0.3, "log_B": 0.0, "beta": 1.0, "kappa": 10.0, "delta": 0.0}
    >>> float(mean_score(p, {"x": 0.0, "z": 0.0, "w": -5.0, "chance": 0.0}).round(4))
    0.3161
    """
    terms = terms or LawTerms()
    log_s, log_q = log_product(parameters, design, terms), _log_penalty(parameters, design, terms)
    exp = array_module(log_s, log_q).exp
    chance = design["chance"]
    return exp(log_q) * (chance + (1.0 - chance) * exp(log_s))


def log_product(parameters: Mapping[str, Any], design: Mapping[str, Any], terms: LawTerms) -> Any:
    """Logarithm of all that multiplies into the score but the penalty: S_C S_n L."""
    log_u = parameters["log_A"] + parameters["alpha"] * design["x"]
    return log_saturation(log_u, terms.compute_term) + log_by_length(parameters, design, terms)


def slope_by_product(
    parameters: Mapping[str, Any], design: Mapping[str, Any], terms: LawTerms
) -> Any:
    """Derivative of the expected score by the logarithm of S_C S_n L."""
    log_s, log_q = log_product(parameters, design, terms), _log_penalty(parameters, design, terms)
    return array_module(log_s, log_q).exp(log_q + log_s) * (1.0 - design["chance"])


def _log_penalty(parameters: Mapping[str, Any], design: Mapping[str, Any], terms: LawTerms) -> Any:
    ratio, spread = design["w"], design.get("w_sd")
    if spread is not None:
        # Of log-normal lengths the mean of the logarithm is below that of their mean.
        ratio = ratio - spread**2 / 2.0
    return log_penalty(
        ratio,
        parameters.get("kappa"),
        parameters.get("delta"),
        kind=terms.penalty,
        log_ratio_sd=spread,
        excess_tokens=design.get("excess_tokens"),
        tokens_sd=design.get("tokens_sd"),
    )
