"""How to lay out the posterior so that sampling is cheap: a fast mode, and what it says.

The posterior is the same whatever is chosen here; only the variables that the sampler moves
differ. A Gauss-Newton fit of the penalised law (a second at most) tells three things from the
data: where to start; how much the data say about every single effect, and so whether it is
sampled centred or non-centred (Papaspiliopoulos et al. 2007, doi:10.1214/088342307000000014); and
at which prompt length and compute the intercept and the slope of each saturating term are
uncorrelated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import xarray as xr
from threadpoolctl import threadpool_limits

from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.law import LawTerms, log_saturation, mean_score
from bayes_ctxlaw.priors import Prior, scale_name

_STEP = 1e-4  # of the numerical derivative of P by each of the six totals
_ROUNDS = 8  # of effect scales re-estimated from the mode
_SWEEPS = 25  # Gauss-Newton steps within a round


@dataclass(frozen=True)
class Geometry:
    """Layout of the sampled variables.

    Attributes
    ----------
    centring : dict
        (parameter, level) → 1 for each label whose effect is sampled as it is (centred), 0 for
        each that is sampled as a standard score (non-centred).
    weights : dict
        Parameter → (root label, observation) shares of the information on the root: the centre
        of the data of each root label, at which the root is sampled.
    product : ndarray, optional
        log(S_C S_n) at the mode, by observation: what the data know of the two together.
    centre : float
        z at which the data say most about the level of the context term, over all tasks.
    start : dict
        Mode of every population value, effect and scale, by name.
    """

    centring: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    product: np.ndarray | None = None
    centre: float = 0.0
    start: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _Layout:
    """Columns of the linear predictors: for each parameter its mean, then each level's effects."""

    blocks: list[tuple[str, str | None, slice]]
    matrices: dict[str, sp.csr_matrix]
    size: int


def _layout(
    encoding: Encoding,
    obs: xr.Dataset,
    parameters: tuple[str, ...],
    effects: Mapping[str, tuple[str, ...]],
) -> _Layout:
    n, at, blocks, matrices = obs.sizes["obs_id"], 0, [], {}
    rows = np.arange(n)
    spans: dict[str, list[tuple[slice, np.ndarray]]] = {}
    for name in parameters:
        spans[name] = [(slice(at, at + 1), np.zeros(n, dtype=int))]
        blocks.append((name, None, slice(at, at + 1)))
        at += 1
        for level in effects[name]:
            width = len(encoding.labels[level])
            span = slice(at, at + width)
            blocks.append((name, level, span))
            spans[name].append((span, encoding.codes(obs, level)))
            at += width
    for name, parts in spans.items():
        columns = np.concatenate([span.start + codes for span, codes in parts])
        matrices[name] = sp.csr_matrix(
            (np.ones(len(columns)), (np.tile(rows, len(parts)), columns)), shape=(n, at)
        )
    return _Layout(blocks, matrices, at)


def _law_arguments(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    arguments = {"log_A": totals["A"], "log_B": totals["B"]}
    for name in ("alpha", "beta", "kappa"):
        if name in totals:
            arguments[name] = np.exp(np.clip(totals[name], -12.0, 8.0))
    if "delta" in totals:
        arguments["delta"] = totals["delta"]
    return arguments


def _evaluate(
    totals: dict[str, np.ndarray], design: Mapping[str, np.ndarray], terms: LawTerms
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """P and its derivative by each total."""
    mean = mean_score(_law_arguments(totals), design, terms)
    slopes = {}
    for name in totals:
        up = mean_score(_law_arguments({**totals, name: totals[name] + _STEP}), design, terms)
        down = mean_score(_law_arguments({**totals, name: totals[name] - _STEP}), design, terms)
        slopes[name] = (up - down) / (2 * _STEP)
    return mean, slopes


class _Objective:
    """Penalised robust least squares of the law, for fixed effect scales."""

    def __init__(
        self,
        obs: xr.Dataset,
        encoding: Encoding,
        terms: LawTerms,
        effects: Mapping[str, tuple[str, ...]],
        priors: Mapping[str, Prior],
    ) -> None:
        self.terms, self.priors = terms, priors
        self.design = encoding.design(obs, terms)
        self.layout = _layout(encoding, obs, terms.parameters, effects)
        self.score = obs["score"].values.astype(float)
        items = obs["n_items"].values.astype(float) if "n_items" in obs else np.full(1, np.nan)
        self.items = np.broadcast_to(np.where(np.isnan(items), 500.0, items), self.score.shape)
        self.mean = np.zeros(self.layout.size)
        for name, level, span in self.layout.blocks:
            if level is None:
                self.mean[span] = priors[name].loc
        self.noise = 0.05

    def precision(self, scales: Mapping[str, float]) -> np.ndarray:
        out = np.empty(self.layout.size)
        for name, level, span in self.layout.blocks:
            scale = self.priors[name].scale if level is None else scales[scale_name(name, level)]
            out[span] = scale**-2
        return out

    def linearise(self, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Residuals, weights of a Student-t with four degrees of freedom, slopes by total."""
        totals = {name: self.layout.matrices[name] @ b for name in self.terms.parameters}
        mean, slopes = _evaluate(totals, self.design, self.terms)
        p = (self.items * mean + 0.5) / (self.items + 1.0)
        variance = p * (1.0 - p) * (1.0 / self.items + self.noise**2)
        residual = self.score - mean
        return residual, 5.0 / (4.0 * variance + residual**2), slopes

    def loss(self, b: np.ndarray, precision: np.ndarray, variance: np.ndarray) -> float:
        totals = {name: self.layout.matrices[name] @ b for name in self.terms.parameters}
        residual = self.score - mean_score(_law_arguments(totals), self.design, self.terms)
        return float(
            2.5 * np.log1p(residual**2 / (4.0 * variance)).sum()
            + 0.5 * (precision * (b - self.mean) ** 2).sum()
        )

    def jacobian(self, slopes: Mapping[str, np.ndarray]) -> sp.csr_matrix:
        return sum(
            sp.diags_array(slopes[name]) @ self.layout.matrices[name] for name in slopes
        ).tocsr()

    def climb(self, b: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levenberg-Marquardt to the mode; returns it and the Gauss-Newton Hessian there."""
        damping = 1e-2
        for _ in range(_SWEEPS):
            residual, weight, slopes = self.linearise(b)
            jac = self.jacobian(slopes)
            hessian = (jac.T @ (sp.diags_array(weight) @ jac)).toarray()
            hessian[np.diag_indices_from(hessian)] += precision
            gradient = jac.T @ (weight * residual) - precision * (b - self.mean)
            variance = np.maximum((5.0 / weight - residual**2) / 4.0, 1e-12)
            before = self.loss(b, precision, variance)
            while damping < 1e6:
                damped = hessian + damping * np.diag(np.diag(hessian))
                step = scipy.linalg.solve(damped, gradient, assume_a="pos")
                after = self.loss(b + step, precision, variance)
                if after <= before:
                    break
                damping *= 5.0
            else:
                break
            b, damping = b + step, max(damping / 5.0, 1e-8)
            if before - after < 1e-6 * max(1.0, abs(before)):
                break
        return b, hessian

    def update_noise(self, b: np.ndarray) -> None:
        """Overdispersion from the median absolute residual, which outliers do not move."""
        residual, weight, _ = self.linearise(b)
        variance = np.maximum((5.0 / weight - residual**2) / 4.0, 1e-12)
        unit = variance / (1.0 / self.items + self.noise**2)
        ratio = np.median(np.abs(residual) / np.sqrt(unit)) / 0.74
        self.noise = float(
            np.clip(np.sqrt(max(ratio**2 - np.median(1 / self.items), 0)), 0.01, 0.5)
        )


def choose_geometry(
    obs: xr.Dataset,
    encoding: Encoding,
    terms: LawTerms,
    effects: Mapping[str, tuple[str, ...]],
    priors: Mapping[str, Prior],
) -> Geometry:
    """Mode of the law and the layout of the sampled variables that it suggests.

    Parameters
    ----------
    obs : xr.Dataset
        Observations.
    encoding : Encoding
        References and labels.
    terms : LawTerms
        Form of the law.
    effects : mapping of str to tuple of str
        Parameter → levels whose effects it has.
    priors : mapping of str to Prior
        Priors by name.

    Returns
    -------
    Geometry
    """
    # Hundreds of solves of a few hundred unknowns: on a busy machine several threads cost minutes.
    with threadpool_limits(1):
        return _mode(_Objective(obs, encoding, terms, effects, priors), encoding, obs)


def _mode(fit: _Objective, encoding: Encoding, obs: xr.Dataset) -> Geometry:
    """Laplace-EM: the mode at given effect scales, then the scales at the mode, in turn."""
    priors = fit.priors
    scales = {
        scale_name(name, level): 0.67 * priors[scale_name(name, level)].scale
        for name, level, _ in fit.layout.blocks
        if level is not None
    }
    b = fit.mean.copy()
    for _ in range(_ROUNDS):
        precision = fit.precision(scales)
        b, hessian = fit.climb(b, precision)
        fit.update_noise(b)
        spread = np.diag(scipy.linalg.inv(hessian))
        for name, level, span in fit.layout.blocks:
            if level is not None:
                key = scale_name(name, level)
                # EM step of a normal scale, held within the reach of its prior.
                moment = float(np.sqrt(np.mean(b[span] ** 2 + spread[span])))
                scales[key] = float(
                    np.clip(moment, 0.05 * priors[key].scale, 2.0 * priors[key].scale)
                )
    return _read_off(fit, b, scales, encoding, obs)


def _read_off(
    fit: _Objective,
    b: np.ndarray,
    scales: Mapping[str, float],
    encoding: Encoding,
    obs: xr.Dataset,
) -> Geometry:
    _, weight, slopes = fit.linearise(b)
    centring, start, roots = {}, {}, {}
    tasks = encoding.codes(obs, "task")
    for name, level, span in fit.layout.blocks:
        if level is None:
            start[f"mu_{name}"] = b[span][0]
            roots[name] = np.zeros(len(weight), dtype=int)
            continue
        key, size = scale_name(name, level), span.stop - span.start
        start[f"{name}_{level.replace(':', '_')}"] = b[span]
        start[key] = np.asarray(scales[key])
        codes = encoding.codes(obs, level)
        each = weight * slopes[name] ** 2
        through_llm = scales.get(scale_name(name, "llm"))
        if level in ("task", "llm"):
            information = np.bincount(codes, weights=each, minlength=size)
        elif through_llm is not None and ":" not in level:
            information = _through_llm(each, encoding.codes(obs, "llm"), codes, through_llm)
        else:
            continue  # effects that cross others are known up to those: non-centred
        if name == "A" and level == "llm":
            # The nearer the context term's ceiling is to the scores, the further apart the
            # checkpoints' A: standard scores follow their scale along that ridge.
            continue
        # Few effects leave their scale wide open: centring must suit scales far below the mode.
        relative = information * (scales[key] * np.exp(-3.4 / np.sqrt(size))) ** 2
        centred = relative / (1.0 + relative)
        # Fewer than three well known effects do not keep their scale from vanishing.
        centred = np.minimum(centred, np.sort(centred)[-min(3, size)])
        centring[name, level] = (centred > (0.9 if level == "llm" else 0.5)).astype(float)
        if level not in ("task", "llm"):
            continue
        if level == "task" or not any(n == name and lv == "task" for n, lv, _ in fit.layout.blocks):
            roots[name] = codes
    start["overdispersion"] = np.asarray(fit.noise)
    weights = {}
    for name, codes in roots.items():
        each = weight * slopes[name] ** 2 + 1e-300
        table = sp.csr_matrix((each, (codes, np.arange(len(codes))))).toarray()
        weights[name] = table / table.sum(axis=1, keepdims=True)
    product = _log_term(fit, b, "A", "alpha", "x", fit.terms.compute_term)
    product = product + _log_term(fit, b, "B", "beta", "z", fit.terms.context_term)
    share = weight * slopes["B"] ** 2
    by_task = np.bincount(tasks, weights=share) + 1e-300
    centre = np.bincount(tasks, weights=share * fit.design["z"]) / by_task
    return Geometry(centring, weights, product, float(centre.mean()), start)


def _through_llm(each: np.ndarray, llm: np.ndarray, codes: np.ndarray, scale: float) -> np.ndarray:
    """Information on the effects of a level that is seen only through llm effects of `scale`."""
    of_llm = np.bincount(llm, weights=each)
    label = codes[np.unique(llm, return_index=True)[1]]
    return np.bincount(label, weights=of_llm / (1.0 + of_llm * scale**2), minlength=codes.max() + 1)


def _log_term(
    fit: _Objective, b: np.ndarray, intercept: str, slope: str, axis: str, kind: str
) -> np.ndarray:
    """Log S of a saturating term at the mode, by observation."""
    matrices = fit.layout.matrices
    rate = np.exp(np.clip(matrices[slope] @ b, -12.0, 8.0))
    return log_saturation(matrices[intercept] @ b + rate * fit.design[axis], kind)
