"""A fast fit of the law: penalised robust least squares, its mode and the scales of its effects.

A second or two of Gauss-Newton steps instead of sampling. `geometry` reads off it where to start
and how to lay out what is sampled.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import xarray as xr
from threadpoolctl import threadpool_limits

from bayes_ctxlaw.discrepancy import KNOT_DIM, Straying
from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.law import LawTerms, law_arguments, mean_score
from bayes_ctxlaw.priors import Prior, scale_name

ORDER = ("alpha", "psi", "D", "eta", "B", "rho", "beta", "kappa", "delta", "discrepancy", "A")
"""Parameters as they are sampled: what one trades off against comes before it."""

_DISCREPANCY = "discrepancy"

_STEP = 1e-4  # of the numerical derivative of P by each of the totals
MOST = 8.0  # log of the largest exponent or sharpness that the search looks at
_SWEEPS = 25  # Gauss-Newton steps within a round
_LEAST = 0.05  # of a scale, in that of its prior
_NOISES = [float(noise) for noise in np.geomspace(0.005, 0.5, 60)]


class _Search(NamedTuple):
    """What a search begins with, and how often it re-estimates that from the mode."""

    scale: float  # of effects, in those of their priors
    noise: float
    rounds: int


# The first only says what the references are and where to begin. The second begins loose and
# tightens: scores that tight effects cannot meet pass for noise, and then nothing asks the effects
# to be larger. From the prior means the loose one by itself would lay the differences between
# checkpoints on whichever of two exchangeable terms is handier.
_FIRST, _SECOND = _Search(0.67, 0.2, 3), _Search(3.0, 0.5, 8)


class Block(NamedTuple):
    """Unknowns of one kind: a population value, the effects of a level, or discrepancies.

    These are the standard normal numbers that they are made of, at their scale.
    """

    parameter: str
    level: str | None  # of a population value None
    span: slice  # places among all unknowns

    @property
    def name(self) -> str:
        """As `Mode.start` has it."""
        if self.level is None:
            return f"mu_{self.parameter}"
        return _DISCREPANCY if self.strays else f"{self.parameter}_{level_dim(self.level)}"

    @property
    def scale(self) -> str | None:
        """Name of its standard deviation, unless that is given."""
        if self.level is None:
            return None
        return f"{_DISCREPANCY}_sd" if self.strays else scale_name(self.parameter, self.level)

    @property
    def strays(self) -> bool:
        """Whether these are discrepancies."""
        return self.parameter == _DISCREPANCY


@dataclass(frozen=True)
class _Layout:
    """Columns of the linear predictors, in sampling order."""

    blocks: list[Block]
    matrices: dict[str, sp.csr_matrix]
    names: list[str]  # of every column of the next two, the parameter
    columns: np.ndarray  # of every row, the unknowns that it has
    shares: np.ndarray  # by how much they count
    size: int

    def of(self, name: str) -> list[Block]:
        """Blocks of a parameter."""
        return [block for block in self.blocks if block.parameter == name]

    def spread(self, values: np.ndarray) -> sp.csr_matrix:
        """Put a value of every row and column, (row, column), where its unknown has its place."""
        n, width = self.columns.shape
        ends = np.arange(0, n * width + 1, width)
        return sp.csr_matrix((values.ravel(), self.columns.ravel(), ends), (n, self.size))


def _layout(
    encoding: Encoding,
    obs: xr.Dataset,
    parameters: tuple[str, ...],
    effects: Mapping[str, tuple[str, ...]],
    strays: Straying | None,
) -> _Layout:
    n, at = obs.sizes["obs_id"], 0
    blocks: list[Block] = []
    parts: list[tuple[str, np.ndarray, np.ndarray]] = []
    for name in ORDER:
        if name == _DISCREPANCY and strays is not None:
            blocks.append(Block(name, KNOT_DIM, slice(at, at + len(strays.loadings))))
            each = zip(*(part.T for part in strays.columns), strict=True)
            parts += [(name, at + unknowns, share) for unknowns, share in each]
            at = blocks[-1].span.stop
        if name not in parameters:
            continue
        for level in (None, *effects[name]):
            width = 1 if level is None else len(encoding.labels[level])
            codes = np.zeros(n, dtype=int) if level is None else encoding.codes(obs, level)
            blocks.append(Block(name, level, slice(at, at + width)))
            parts.append((name, at + codes, np.ones(n)))
            at += width
    names, columns, shares = zip(*parts, strict=True)
    matrices = {}
    for name in dict.fromkeys(names):
        _, own, counts = zip(*(part for part in parts if part[0] == name), strict=True)
        places = np.tile(np.arange(n), len(own)), np.concatenate(own)
        matrices[name] = sp.csr_matrix((np.concatenate(counts), places), shape=(n, at))
    return _Layout(blocks, matrices, list(names), np.stack(columns, 1), np.stack(shares, 1), at)


def _evaluate(
    totals: dict[str, np.ndarray], design: Mapping[str, np.ndarray], terms: LawTerms
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """P and its derivative by each total."""
    # All at once, a row each: as they are, then every total a step up and a step down.
    moved = {name: np.tile(value, (1 + 2 * len(totals), 1)) for name, value in totals.items()}
    for row, name in enumerate(totals):
        moved[name][1 + 2 * row] += _STEP
        moved[name][2 + 2 * row] -= _STEP
    mean = mean_score(law_arguments(moved, MOST), design, terms)
    slopes = (mean[1::2] - mean[2::2]) / (2 * _STEP)
    return mean[0], dict(zip(totals, slopes, strict=True))


def _log_density(squared: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Student-t with four degrees of freedom, of squared residuals, but for a constant."""
    return -2.5 * np.log1p(squared / (4.0 * variance)) - 0.5 * np.log(variance)


class Objective:
    """Penalised robust least squares of the law, for fixed effect scales."""

    def __init__(
        self,
        obs: xr.Dataset,
        encoding: Encoding,
        terms: LawTerms,
        effects: Mapping[str, tuple[str, ...]],
        priors: Mapping[str, Prior],
        strays: Straying | None = None,
    ) -> None:
        self.terms, self.priors, self.strays = terms, priors, strays
        self.design = encoding.design(obs, terms)
        self.layout = _layout(encoding, obs, terms.parameters, effects, strays)
        self.codes = {level: encoding.codes(obs, level) for level in encoding.labels}
        ends = {level: block for block in self.layout.of("delta") if (level := block[1])}
        # The labels whose windows end somewhere, each by itself.
        self.window_block = ends.get("task", ends.get("llm"))
        self.score = obs["score"].values.astype(float)
        items = obs["n_items"].values.astype(float) if "n_items" in obs else np.full(1, np.nan)
        self.items = np.broadcast_to(np.where(np.isnan(items), 500.0, items), self.score.shape)
        self.mean = np.zeros(self.layout.size)
        for name, level, span in self.layout.blocks:
            if level is None:
                self.mean[span] = priors[name].loc
        self.noise = _SECOND.noise

    def totals(self, b: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters of every observation, by name."""
        return {name: matrix @ b for name, matrix in self.layout.matrices.items()}

    def variance(self, mean: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Squared scale of the scores around P, which is drawn in by half an item."""
        p = (items * mean + 0.5) / (items + 1.0)
        return p * (1.0 - p) * (1.0 / items + self.noise**2)

    def precision(self, scales: Mapping[str, float]) -> np.ndarray:
        """Prior precision of every unknown."""
        out = np.empty(self.layout.size)
        for block in self.layout.blocks:
            given = block.scale is None
            scale = self.priors[block.parameter].scale if given else scales[block.scale]
            out[block.span] = scale**-2
        return out

    def linearise(self, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Residuals, weights of a Student-t with four degrees of freedom, slopes by total."""
        mean, slopes = _evaluate(self.totals(b), self.design, self.terms)
        variance = self.variance(mean, self.items)
        residual = self.score - mean
        return residual, 5.0 / (4.0 * variance + residual**2), slopes

    def loss(self, b: np.ndarray, precision: np.ndarray, variance: np.ndarray) -> float:
        """What `climb` makes small, at fixed variances."""
        mean = mean_score(law_arguments(self.totals(b), MOST), self.design, self.terms)
        residual = self.score - mean
        return float(
            2.5 * np.log1p(residual**2 / (4.0 * variance)).sum()
            + 0.5 * (precision * (b - self.mean) ** 2).sum()
        )

    def jacobian(self, slopes: Mapping[str, np.ndarray]) -> sp.csr_matrix:
        """Derivative of P by every unknown."""
        by_column = np.stack([slopes[name] for name in self.layout.names], 1)
        return self.layout.spread(by_column * self.layout.shares)

    def hessian(self, jac: sp.csr_matrix, weight: np.ndarray, precision: np.ndarray) -> np.ndarray:
        """Gauss-Newton Hessian of what `climb` makes small."""
        weighted = self.layout.spread(jac.data.reshape(len(weight), -1) * weight[:, None])
        hessian = (jac.T @ weighted).toarray()
        hessian[np.diag_indices_from(hessian)] += precision
        return hessian

    def climb(self, b: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levenberg-Marquardt to the mode; returns it and the Gauss-Newton Hessian there."""
        damping = 1e-2
        for _ in range(_SWEEPS):
            residual, weight, slopes = self.linearise(b)
            jac = self.jacobian(slopes)
            hessian = self.hessian(jac, weight, precision)
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

    def update_noise(self, b: np.ndarray, covariance: np.ndarray) -> None:
        """EM step of the overdispersion, whose likelihood is greatest among `_NOISES`.

        Unknowns almost as many as the scores meet these closely, and what is left says too little
        of how they scatter: where the unknowns are uncertain, so is what the scores scatter about.
        """
        mean, slopes = _evaluate(self.totals(b), self.design, self.terms)
        jac = self.jacobian(slopes)
        uncertain = np.asarray(jac.multiply(jac @ covariance).sum(axis=1)).reshape(-1)
        squared = (self.score - mean) ** 2 + uncertain
        likely = []
        for self.noise in _NOISES:
            variance = self.variance(mean, self.items)
            likely.append(_log_density(squared, variance).sum())
        self.noise = _NOISES[int(np.argmax(likely))]

    def profile(
        self, b: np.ndarray, codes: np.ndarray, here: np.ndarray, scale: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steps of delta from where each group of observations has it, and the log-density there.

        All else is held at `b`; a priori the value of a group is Normal(0, `scale`), and `here`
        at `b`.
        """
        _, weight, slopes = self.linearise(b)
        scale = np.broadcast_to(scale, here.shape)[:, None]
        curvature = np.bincount(codes, weight * slopes["delta"] ** 2, len(here))[:, None]
        near = np.linspace(-6.0, 6.0, 61) / np.sqrt(curvature + scale**-2)
        far = np.linspace(-6.0, 6.0, 241) * scale - here[:, None]
        step = np.sort(np.concatenate([near, far], axis=1), axis=1)
        totals = {name: value[:, None] for name, value in self.totals(b).items()}
        totals["delta"] = totals["delta"] + step[codes]
        design = {key: np.asarray(value)[:, None] for key, value in self.design.items()}
        mean = mean_score(law_arguments(totals, MOST), design, self.terms)
        variance = self.variance(mean, self.items[:, None])
        each = _log_density((self.score[:, None] - mean) ** 2, variance)
        log_density = -0.5 * ((here[:, None] + step) / scale) ** 2
        np.add.at(log_density, codes, each)
        return step, log_density


@dataclass(frozen=True)
class Mode:
    """Where the penalised fit is, and what it was found with.

    Attributes
    ----------
    fit : Objective
    values : ndarray
        All unknowns, as laid out by the fit's blocks.
    hessian : ndarray
        Gauss-Newton, priors included.
    scales : dict of str to float
        Standard deviations of effects.
    """

    fit: Objective
    values: np.ndarray
    hessian: np.ndarray
    scales: dict[str, float]

    @property
    def log_evidence(self) -> float:
        """Logarithm of the marginal likelihood but for a constant, to compare laws of one data set.

        By Laplace's approximation, at the scales and the noise of the mode.

        References
        ----------
        Kass, Raftery (1995), doi:10.1080/01621459.1995.10476572.
        """
        fit, b = self.fit, self.values
        mean = mean_score(law_arguments(fit.totals(b), MOST), fit.design, fit.terms)
        each = _log_density((fit.score - mean) ** 2, fit.variance(mean, fit.items))
        precision = fit.precision(self.scales)
        prior = 0.5 * (np.log(precision) - precision * (b - fit.mean) ** 2).sum()
        of_scales = [(scale / fit.priors[name].scale) ** 2 for name, scale in self.scales.items()]
        volume = 0.5 * np.linalg.slogdet(self.hessian)[1]
        return float(each.sum() + prior - 0.5 * sum(of_scales) - volume)

    @property
    def start(self) -> dict[str, np.ndarray]:
        """Population values, effects, scales and overdispersion by name.

        Discrepancies are those of the knots.
        """
        start: dict[str, np.ndarray] = {}
        for block in self.fit.layout.blocks:
            values = self.values[block.span]
            if block.strays:
                values = self.fit.strays.loadings @ values
            start[block.name] = values[0] if block.level is None else values
        scales = {key: np.asarray(value) for key, value in self.scales.items()}
        return start | scales | {"overdispersion": np.asarray(self.fit.noise)}

    def at(self, start: Mapping[str, np.ndarray]) -> Mode:
        """The same elsewhere: at values by name, as `start` has them.

        Parameters
        ----------
        start : mapping
            Population values, effects, scales and, if there is any, overdispersion.

        Returns
        -------
        Mode
        """
        fit, values = copy.copy(self.fit), self.values.copy()
        for block in fit.layout.blocks:
            found = start[block.name]
            if block.strays:
                found = scipy.linalg.solve_triangular(fit.strays.loadings, found, lower=True)
            values[block.span] = found
        scales = {key: float(start[key]) for key in self.scales}
        if "overdispersion" in start:
            fit.noise = float(np.exp(np.log(start["overdispersion"]).mean()))
        _, weight, slopes = fit.linearise(values)
        hessian = fit.hessian(fit.jacobian(slopes), weight, fit.precision(scales))
        return Mode(fit, values, hessian, scales)


def find_mode(
    obs: xr.Dataset,
    encoding: Encoding,
    terms: LawTerms,
    effects: Mapping[str, tuple[str, ...]],
    priors: Mapping[str, Prior],
    near: Mode | None = None,
    moved: float = 0.0,
    strays: Straying | None = None,
) -> Mode:
    """Laplace-EM: the mode at given effect scales, then the scales at the mode, in turn.

    Parameters
    ----------
    obs : xr.Dataset
    encoding : Encoding
    terms : LawTerms
    effects : mapping of str to tuple of str
        Parameter → levels whose effects it has.
    priors : mapping of str to Prior
    near : Mode, optional
        Of the same data at a reference prompt length exp(`moved`) times shorter, from a first
        search: where the second begins. Without it this is the first, which is rough.
    moved : float
    strays : Straying, optional
        What discrepancies are made of, if there are any.

    Returns
    -------
    Mode
    """
    # Hundreds of solves of a few hundred unknowns: on a busy machine several threads cost minutes.
    with threadpool_limits(1):
        objective = Objective(obs, encoding, terms, effects, priors, strays)
        return _climb_and_rescale(objective, near, moved)


def _climb_and_rescale(fit: Objective, near: Mode | None, moved: float) -> Mode:
    search, b = _FIRST, fit.mean.copy()
    if near is not None:
        search, b = _SECOND, near.values.copy()
        at = {block[0]: block[2] for block in fit.layout.blocks if block[1] is None}
        b[at["B"]] += np.exp(b[at["beta"]]) * moved
    fit.noise = search.noise
    free = [block for block in fit.layout.blocks if block.scale is not None]
    reach = {block.scale: fit.priors[block.scale].scale for block in free}
    scales = {key: search.scale * prior for key, prior in reach.items()}
    for _ in range(search.rounds):
        precision = fit.precision(scales)
        b, hessian = fit.climb(b, precision)
        if fit.window_block is not None:
            b, hessian = _out_of_corners(fit, b, hessian, precision, scales)
        covariance = scipy.linalg.inv(hessian)
        fit.update_noise(b, covariance)
        spread = np.diag(covariance)
        for block in free:
            squares = b[block.span] ** 2 + spread[block.span]
            scales[block.scale] = rescaled(squares, reach[block.scale])
    return Mode(fit, b, hessian, scales)


def rescaled(squares: np.ndarray, prior: float) -> float:
    """EM step of the scale of normal effects, under its half-normal prior.

    Parameters
    ----------
    squares : ndarray
        Expected squares of the effects.
    prior : float
        Scale of the prior.

    Returns
    -------
    float
        Where the expected log-density is highest, or a twentieth of the prior's scale if that is
        more: a scale of 0 would stay there.

    Examples
    --------
    >>> round(rescaled(np.full(1000, 0.25), prior=1.0), 3)
    0.5
    """
    n, total = len(squares), float(squares.sum()) / prior**2
    return prior * max(math.sqrt((math.sqrt(n * n + 4.0 * total) - n) / 2.0), _LEAST)


def _out_of_corners(
    fit: Objective,
    b: np.ndarray,
    hessian: np.ndarray,
    precision: np.ndarray,
    scales: Mapping[str, float],
) -> tuple[np.ndarray, np.ndarray]:
    """From where a window's end has got stuck beyond a score that contradicts it, on to the mode.

    No slope leads out: far from a window's end the score is the same wherever the end is.
    """
    name, level, span = fit.window_block
    scale = scales[scale_name(name, level)]
    step, log_density = fit.profile(b, fit.codes[level], b[span], scale)
    best = log_density.argmax(axis=1)
    gain = log_density.max(axis=1) - [
        np.interp(0.0, *each) for each in zip(step, log_density, strict=True)
    ]
    if not (gain > 1.0).any():
        return b, hessian
    b = b.copy()
    b[span] += np.where(gain > 1.0, step[np.arange(len(best)), best], 0.0)
    return fit.climb(b, precision)
