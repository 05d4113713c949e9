"""Posterior of the curves of all clusters of a task together: beta-binomial counts, Laplace.

A posterior by the Laplace approximation, at every pair of values of two scales: what one checkpoint
adds to all clusters (as if its compute were another), and the overdispersion of a cluster's counts.
A fit takes a fraction of a second and needs no sampler.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.special import betaln, expit, psi

from bayes_ctxlaw.rivals.difficulty.curves import UNIT

PARAMETERS = ("log_h", "log_b", "log_c", "logit_g")

# Normal priors of a curve: log h at the largest checkpoint (pass rates there from 0.001 to 0.95),
# log b (b from 0.1 to 1.6 with 90 %), log c (c from 0.003 to 3, that is, a ceiling anywhere from
# hardly any pass to nearly all), logit g (g from 0.001 to 0.3). What clusters of a task have in
# common comes first, what is each one's own second: steepness and ceiling are much alike from one
# cluster to the next.
_PRIOR_MEAN = np.array([-0.3, np.log(0.4), np.log(0.1), -4.0])
_SHARED_SD = np.array([0.0, 0.8, 2.0, 1.4])
_OWN_SD = np.array([1.5, 0.3, 0.6, 1.0])

# Half-normal priors of the scales, and where the posterior is evaluated.
_TAU = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0])  # natural logs of compute
_PHI = np.array([0.002, 0.005, 0.01, 0.02, 0.04, 0.08])
_TAU_SD, _PHI_SD = 0.3, 0.05
_ORDINARY = 0.1, 0.04

_STEPS = 60
_SAME = 0.05  # modes whose parameters are all closer than this are one
_EDGE = 1e-9


@dataclass(frozen=True)
class CurveDraws:
    """Draws of the curves of a task's clusters.

    Parameters
    ----------
    edge : float
        Natural log of compute, in units of 1e18 FLOPs, of the largest checkpoint: log h is stated
        there.
    theta : ndarray (draw, cluster, parameter)
        Named by `PARAMETERS`.
    effects : ndarray (draw, checkpoint)
        What each checkpoint's compute counts for beyond what it is, natural log.
    tau, phi : ndarray (draw,)
        Scale of such effects; overdispersion.
    """

    edge: float
    theta: np.ndarray
    effects: np.ndarray
    tau: np.ndarray
    phi: np.ndarray

    def rate(self, x: np.ndarray, beyond: np.ndarray) -> np.ndarray:
        """Pass rates of clusters: (draw, cluster).

        Parameters
        ----------
        x : ndarray (draw, 1)
            Log compute over that of the largest checkpoint, effects included; at most 0, unless the
            effect is of a checkpoint that was fitted.
        beyond : ndarray (draw, cluster)
            What lies beyond the edge, as much of it as counts.
        """
        log_h, log_b, log_c, logit_g = np.moveaxis(self.theta, -1, 0)
        h = np.exp(np.minimum(log_h - np.exp(log_b) * (x + beyond), 700.0))
        g = expit(logit_g)
        return g + (1.0 - g) * np.exp(-h - np.exp(log_c))

    def scattered(self, rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Pass rates of a new checkpoint around those of the law: beta, as in the likelihood."""
        mean = np.clip(rate, _EDGE, 1.0 - _EDGE)
        strength = (self.phi**-2.0 - 1.0)[:, None]
        return rng.beta(mean * strength, (1.0 - mean) * strength)


@dataclass(frozen=True)
class CurvePosterior:
    """Modes of the curves at every pair of scales, and what is needed to draw around them.

    Parameters
    ----------
    edge : float
        As in `CurveDraws`.
    modes : ndarray (pair, parameter of all)
    roots : list of ndarray
        Lower Cholesky factors of the precisions.
    weights : ndarray (pair,)
        Posterior probabilities of the pairs.
    scales : ndarray (pair, 2)
        tau and phi.
    shape : tuple of int
        Clusters and checkpoints.
    """

    edge: float
    modes: np.ndarray
    roots: list[np.ndarray]
    weights: np.ndarray
    scales: np.ndarray
    shape: tuple[int, int]

    def draw(self, size: int, rng: np.random.Generator) -> CurveDraws:
        """Draws from the mixture of normals."""
        clusters, checkpoints = self.shape
        pair = rng.choice(len(self.weights), size=size, p=self.weights)
        unit = rng.standard_normal((size, self.modes.shape[1]))
        away = np.empty_like(unit)
        for number in np.unique(pair):
            own = pair == number
            root = self.roots[number]
            away[own] = solve_triangular(root, unit[own].T, lower=True, trans="T").T
        mode = self.modes[pair]
        last = 4 * clusters
        return CurveDraws(
            self.edge,
            _moved(*(part[:, :last].reshape(size, clusters, 4) for part in (mode, away))),
            (mode + away)[:, last:].reshape(size, checkpoints),
            self.scales[pair, 0],
            self.scales[pair, 1],
        )


def _moved(mode: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Parameters a small step away from a mode, the step continued where normals are plausible.

    Counts tell h + c, which is minus the log of the rate, much better than how it is divided: where
    c is large, log h and log c lie along a bent ridge, which a normal distribution of both would
    leave. Of the log of h + c and of the logit of c's share in it the ridge is straight. The
    determinant of the change is 1, so modes and their evidence are the same in both.
    """
    log_h, log_c = mode[..., 0], mode[..., 2]
    share = expit(log_c - log_h)
    by_share = away[..., 2] - away[..., 0]
    total = np.logaddexp(log_h, log_c) + away[..., 0] + share * by_share
    logit_share = log_c - log_h + by_share
    theta = mode + away
    theta[..., 0] = total - np.logaddexp(0.0, logit_share)
    theta[..., 2] = total - np.logaddexp(0.0, -logit_share)
    return theta


def curve_posterior(compute: np.ndarray, passed: np.ndarray, samples: np.ndarray) -> CurvePosterior:
    """Posterior of the curves of several clusters.

    Parameters
    ----------
    compute : ndarray (checkpoint,)
        FLOPs.
    passed, samples : ndarray (cluster, checkpoint)
        Samples passed, of how many; not necessarily whole numbers.

    Returns
    -------
    CurvePosterior

    Notes
    -----
    Counts of a cluster are beta-binomial around its law at the checkpoint's compute times
    exp(effect). The variance of a rate P is
    P (1 − P) (1/n + φ² (1 − 1/n)). Modes are found by Fisher scoring with damping. There may be
    two: curves that go on rising, with checkpoints that scatter, and curves that level off. Both
    are searched for, and count by their evidence.
    """
    log_c = np.log(compute / UNIT)
    edge = float(log_c.max())
    problem = _Problem(log_c - edge, passed, samples)
    modes, roots, heights, scales = [], [], [], []
    starts = problem.starts()
    for phi in _PHI[::-1]:
        for tau in _TAU:
            prior = -0.5 * ((tau / _TAU_SD) ** 2 + (phi / _PHI_SD) ** 2)
            found = [problem.mode(theta, tau, phi) for theta in starts]
            starts = [theta for theta, _, _ in found]
            if np.abs(starts[0] - starts[1]).max() < _SAME:
                found = found[:1]
            for theta, height, root in found:
                # The grid is about even in the log: each pair stands for an interval of its size.
                heights.append(height + prior + np.log(tau * phi))
                modes.append(theta)
                roots.append(root)
                scales.append((tau, phi))
    weights = np.exp(np.array(heights) - max(heights))
    return CurvePosterior(
        edge,
        np.array(modes),
        roots,
        weights / weights.sum(),
        np.array(scales),
        passed.shape,
    )


def likeliest_curves(compute: np.ndarray, passed: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Parameters a, b, c, g of every cluster by itself, (cluster, 4), at the mode of the posterior.

    For the filter: where clusters inform each other, one that is flat would be taken for one that
    rises as all others do. Scales are those of an ordinary checkpoint.
    """
    log_c = np.log(compute / UNIT)
    edge = log_c.max()
    found = []
    for k, n in zip(passed, samples, strict=True):
        problem = _Problem(log_c - edge, k[None], n[None])
        modes = [problem.mode(theta, *_ORDINARY) for theta in problem.starts()]
        best = max(modes, key=lambda mode: mode[1])[0]
        log_h, log_b, log_c_, logit_g = best[:4]
        b = np.exp(log_b)
        found.append([np.exp(log_h + b * edge), b, np.exp(log_c_), expit(logit_g)])
    return np.array(found)


@dataclass(frozen=True)
class _Problem:
    x: np.ndarray
    passed: np.ndarray
    samples: np.ndarray

    def start(self) -> np.ndarray:
        clusters, checkpoints = self.passed.shape
        last = (self.passed[:, -1] + 0.5) / (self.samples[:, -1] + 1.0)
        rate = np.clip(last, 1e-4, 0.97)
        theta = np.tile(_PRIOR_MEAN, (clusters, 1))
        theta[:, 0] = np.log(-np.log(rate))
        return np.concatenate([theta.ravel(), np.zeros(checkpoints)])

    def starts(self) -> list[np.ndarray]:
        """Curves with an ordinary ceiling, and curves that have all but reached theirs."""
        rising = self.start()
        level = rising.copy()
        own = level[: 4 * len(self.passed)].reshape(-1, 4)
        own[:, 2] = own[:, 0] + np.log(0.9)
        own[:, 0] += np.log(0.1)
        return [rising, level]

    def mode(
        self, flat: np.ndarray, tau: float, phi: float
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Mode, log of the Laplace evidence, and root of the precision there."""
        clusters, checkpoints = self.passed.shape
        size = 4 * clusters
        prior = np.zeros((size + checkpoints,) * 2)
        shared = np.kron(np.ones((clusters, clusters)), np.diag(_SHARED_SD**2))
        prior[:size, :size] = np.linalg.inv(shared + np.diag(np.tile(_OWN_SD**2, clusters)))
        prior[size:, size:] = np.diag(np.full(checkpoints, tau**-2.0))
        mean = np.concatenate([np.tile(_PRIOR_MEAN, clusters), np.zeros(checkpoints)])
        damping = 1e-3
        value, gradient, fisher = self._parts(flat, phi)
        height = value - 0.5 * (flat - mean) @ prior @ (flat - mean)
        for _ in range(_STEPS):
            slope = gradient - prior @ (flat - mean)
            precision = fisher + prior
            try:
                factor = cho_factor(precision + damping * np.diag(np.diag(precision)), lower=True)
            except LinAlgError:  # rounding, where counts are huge
                damping *= 10.0
                continue
            step = cho_solve(factor, slope)
            new = flat + step * min(1.0, 2.0 / np.abs(step).max(initial=1e-12))
            parts = self._parts(new, phi)
            up = parts[0] - 0.5 * (new - mean) @ prior @ (new - mean)
            if up > height:
                gain, height, flat = up - height, up, new
                value, gradient, fisher = parts
                damping = max(damping / 5.0, 1e-9)
                if gain < 1e-5:
                    break
            else:
                damping = max(damping * 5.0, 1e-6)
                if damping > 1e6:
                    break
        root = np.linalg.cholesky(fisher + prior)
        # Of the prior's determinant, what the scales change.
        evidence = height - checkpoints * np.log(tau) - np.log(np.diag(root)).sum()
        return flat, float(evidence), root

    def _parts(self, flat: np.ndarray, phi: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Log-likelihood, its gradient, and the Fisher information."""
        clusters, checkpoints = self.passed.shape
        log_h, log_b, log_c, logit_g = flat[: 4 * clusters].reshape(clusters, 4).T[:, :, None]
        b, c, g = np.exp(log_b), np.exp(log_c), expit(logit_g)
        x = self.x + flat[4 * clusters :]
        h = np.exp(np.minimum(log_h - b * x, 300.0))
        e = np.exp(-h - c)
        mean = np.clip(g + (1.0 - g) * e, _EDGE, 1.0 - _EDGE)
        k, n = self.passed, self.samples
        strength = phi**-2.0 - 1.0
        yes, no = mean * strength, (1.0 - mean) * strength
        value = (betaln(k + yes, n - k + no) - betaln(yes, no)).sum()
        by_mean = strength * (psi(k + yes) - psi(n - k + no) - psi(yes) + psi(no))
        information = n / (mean * (1.0 - mean) * (1.0 + (n - 1.0) * phi**2))
        rise = (1.0 - g) * e * h
        own = np.stack(
            [-rise, rise * b * x, -(1.0 - g) * e * c, g * (1.0 - g) * (1.0 - e)], axis=-1
        )
        size = 4 * clusters
        gradient = np.concatenate(
            [(own * by_mean[..., None]).sum(axis=1).ravel(), (rise * b * by_mean).sum(axis=0)]
        )
        fisher = np.zeros((size + checkpoints,) * 2)
        blocks = np.einsum("kmi,km,kmj->kij", own, information, own)
        for cluster in range(clusters):
            at = slice(4 * cluster, 4 * cluster + 4)
            fisher[at, at] = blocks[cluster]
        cross = np.einsum("kmi,km->kim", own, information * rise * b).reshape(size, checkpoints)
        fisher[:size, size:], fisher[size:, :size] = cross, cross.T
        fisher[size:, size:] = np.diag((information * (rise * b) ** 2).sum(axis=0))
        return float(value), gradient, fisher
