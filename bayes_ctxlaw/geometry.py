"""How to lay out the posterior so that sampling is cheap: what the data say of every parameter.

The posterior is the same whatever is chosen here; only the variables that the sampler moves
differ. For every parameter of the law its population value and effects are one *block*. What the
data say of a block, all that comes later in the order of sampling unknown, is summed up as a
normal measurement of it, read off the curvature of a fast fit (`mode`). `density` samples each
block where that measurement and its prior together leave it, for whatever scales its effects have
at the moment: the choice between centred and non-centred (Papaspiliopoulos et al. 2007,
doi:10.1214/088342307000000014) made smooth, and made for all effects of a parameter together, so
that a checkpoint, its family and its technique do not trade off against one another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.linalg

from bayes_ctxlaw.discrepancy import Straying
from bayes_ctxlaw.encoding import Strata
from bayes_ctxlaw.law import (
    law_arguments,
    log_by_length,
    log_product,
    natural,
    slope_by_product,
    window_end,
)
from bayes_ctxlaw.mode import MOST, Mode

_PLACES = 24  # where the curvature is looked at, beside the mode
_TYPICAL = 0.4  # quantile of the information found there
_WIDEST = 20.0  # uncertainty of a window's end, in widths of the penalty
_ONE_SIDED = 3.0  # precision of half a normal distribution, where the whole one has 1
_BLUR = 0.4  # the least of it, in the same
_SHARPER = 1.0  # log of how much sharper a penalty is that tells what its width does


@dataclass(frozen=True)
class Averages:
    """Weighted averages over the strata of each of a number of groups.

    Attributes
    ----------
    group : ndarray of int
        Group of every stratum.
    share : ndarray
        Its weight; those of a group add up to one.
    """

    group: np.ndarray
    share: np.ndarray

    @classmethod
    def by(cls, group: np.ndarray, weight: np.ndarray) -> Averages:
        """With shares in proportion to weights; a trace of it everywhere, lest all are 0."""
        weight = weight + 1e-300
        return cls(group, weight / np.bincount(group, weight)[group])

    def of(self, values: np.ndarray) -> np.ndarray:
        """Average of the values of each group."""
        return np.bincount(self.group, self.share * values)


@dataclass(frozen=True)
class Block:
    """What the data say of the population value and all effects of one parameter.

    As of normal measurements, taken relative to prior means: of the unknowns together, or of their
    sum in every stratum by itself. The second is for the parameters sampled last: where the data
    put those depends on the others so much that precision and value are computed anew at every
    place (`density`), from those at the mode.

    Attributes
    ----------
    levels : tuple of str or None
        Level of each part, in order; None is the population value.
    spans : tuple of slice
        Places of the parts.
    members : ndarray of int
        (stratum, part): the unknowns that add up to the total of each stratum.
    weight : ndarray
        Of every stratum, what its data say of the total: precision.
    value : ndarray
        And the value. Empty for a measurement of the unknowns together.
    apart : int
        Number of unknowns at the beginning, all of one level, that no stratum has two of.
    precision : ndarray
        (unknown, unknown), of the measurement of the unknowns together; else empty.
    pull : ndarray
        Precision × measurement, at the mode.
    response : ndarray
        (unknown, unknown): by how much the pull falls when what a parameter trades off against
        (`density`) rises, on average over the data of each label.
    """

    levels: tuple[str | None, ...]
    spans: tuple[slice, ...]
    members: np.ndarray
    weight: np.ndarray
    value: np.ndarray = field(default_factory=lambda: np.zeros(0))
    apart: int = 0
    precision: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    pull: np.ndarray = field(default_factory=lambda: np.zeros(0))
    response: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return max(span.stop for span in self.spans)

    @property
    def links(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of an unknown that stands apart and another that some stratum has, in order.

        And which of them each stratum has, (stratum, part) from the second part on.
        """
        alone, others = self.members[:, :1], self.members[:, 1:]
        codes = (alone * self.size + others).astype(np.int64)
        found, which = np.unique(codes, return_inverse=True)
        pairs = np.stack(np.divmod(found, self.size), axis=1)
        return pairs, which.reshape(codes.shape)

    @property
    def averages(self) -> tuple[Averages, ...]:
        """Averages over the strata of each label, part by part, by what they say."""
        return tuple(
            Averages.by(self.members[:, k] - span.start, self.weight)
            for k, span in enumerate(self.spans)
        )


@dataclass(frozen=True)
class Knots:
    """What the data say of the discrepancies of each task, and what that depends on.

    Attributes
    ----------
    blocks : tuple of Block
        Task by task, of the standard normal numbers that its discrepancies are made of.
    made_of : Straying
        What these make.
    shift : ndarray
        Discrepancy of every observation at the mode.
    pulls : Averages
        By how much each knot is pulled down as log(S_n L) rises: sums over the observations that
        it is below, and then over those that it is above.
    """

    blocks: tuple[Block, ...]
    made_of: Straying
    shift: np.ndarray
    pulls: Averages


@dataclass(frozen=True)
class Geometry:
    """Layout of the sampled variables.

    Attributes
    ----------
    blocks : dict of str to Block
        By parameter.
    product : ndarray
        log(S_C S_n L) of every observation at the mode: what the data know of the terms.
    on_level : Averages
        Over the observations of every stratum, by what they say of its level.
    log_odds : ndarray
        kappa (w − delta) at the mode where the data know most of delta, by stratum.
    in_widths : ndarray
        By stratum, how much of the uncertainty of the end of its window is the width of the
        penalty, and so the smaller the sharper it is. That of an end that is only known not to come
        before some prompt is not. With one task none is taken for such: the sharpness of a
        technique rests on few ends, and chains that follow it mix slowly.
    start : dict
        Mode of every population value, effect and scale, by name.
    knots : Knots or None
        Of the discrepancies, if there are any.
    """

    blocks: dict[str, Block]
    product: np.ndarray
    on_level: Averages
    log_odds: np.ndarray
    in_widths: np.ndarray
    start: dict[str, np.ndarray]
    knots: Knots | None = None


def centre(mode: Mode) -> float:
    """Z at which the data say most about the level of the context term, over all tasks."""
    _, weight, slopes = mode.fit.linearise(mode.values)
    by_task = Averages.by(mode.fit.codes["task"], weight * slopes["B"] ** 2)
    return float(by_task.of(mode.fit.design["z"]).mean())


def choose_geometry(mode: Mode, strata: Strata) -> Geometry:
    """Layout of the sampled variables that a mode suggests.

    Parameters
    ----------
    mode : Mode
        From ``find_mode``.
    strata : Strata
        Which observations share all their parameters.

    Returns
    -------
    Geometry
    """
    fit, b = mode.fit, mode.values
    _, weight, slopes = fit.linearise(b)
    weights = {
        name: np.bincount(strata.index, weight * slopes[name] ** 2) for name in fit.terms.parameters
    }
    information = _information(mode)
    blocks = {}
    for name in fit.terms.parameters:
        if name == "A":
            blocks[name] = _of_levels(mode, strata, weights[name])
        elif name == "delta":
            blocks[name], shown, known_in_widths = _of_window_ends(mode, strata)
        else:
            blocks[name] = _of_unknowns(mode, name, strata, weights[name], information[name])
    product = _log_product(mode)
    on_level = Averages.by(strata.index, weight * slopes["A"] ** 2)
    log_odds = in_widths = np.zeros(len(strata.first))
    if "delta" in blocks:
        totals = fit.totals(b)
        at_end = Averages.by(strata.index, weight * slopes["delta"] ** 2)
        # An end that is known from one side only does not move with the width.
        several = len(set(strata.codes["task"])) > 1
        in_widths = known_in_widths if several else in_widths
        log_odds = (shown if several else 1.0) * at_end.of(
            natural("kappa", totals["kappa"]) * (fit.design["w"] - window_end(totals["delta"]))
        )
    knots = None if fit.strays is None else _of_discrepancies(mode, strata, on_level)
    return Geometry(blocks, product, on_level, log_odds, in_widths, mode.start, knots)


def _of_discrepancies(mode: Mode, strata: Strata, on_level: Averages) -> Knots:
    """Layout of the discrepancies: what the data say of them if all but A is known.

    A puts the level of every stratum right, whatever they are: what is left to them is how its
    scores differ from one prompt length to the next.
    """
    fit, b = mode.fit, mode.values
    strays, (block,) = fit.strays, fit.layout.of("discrepancy")
    weight, totals = fit.linearise(b)[1], fit.totals(b)
    arguments = law_arguments(totals, MOST)
    log_s = log_by_length(arguments, fit.design, fit.terms)
    # By how much the logarithm follows a discrepancy, and what the data say of it.
    follows = -np.expm1(log_s)
    known = weight * slope_by_product(arguments, fit.design, fit.terms) ** 2
    moved_by, blocks = strays.made_of * follows[:, None], []
    for part in strays.parts:
        own = moved_by[:, part]
        apart = own - np.stack([on_level.of(each)[strata.index] for each in own.T], axis=1)
        precision = apart.T @ (known[:, None] * apart)
        size = part.stop - part.start
        place = slice(block.span.start + part.start, block.span.start + part.stop)
        prior = np.diag(fit.precision(mode.scales)[place])
        blocks.append(
            Block(
                levels=(None,),
                spans=(slice(0, size),),
                members=np.zeros((1, 1), dtype=np.int64),
                weight=np.ones(1),
                precision=precision,
                pull=(precision + prior) @ b[place],
                response=strays.loadings[part, part].T,
            )
        )
    pulls = Averages(
        np.concatenate([strays.below, strays.above]),
        np.concatenate([1.0 - strays.share, strays.share]) * np.tile(known * follows, 2),
    )
    return Knots(tuple(blocks), strays, totals["discrepancy"], pulls)


def _information(mode: Mode) -> dict[str, np.ndarray]:
    """Precision with which the data know each block, those sampled before given, later unknown.

    Curvature at the mode says too much where the likelihood flattens out on one side, as it does
    above a high sharpness and on the inner side of a window's end. So it is looked at in a number
    of places that the posterior reaches, and taken from among the least curved of them, along the
    directions that the curvature at the mode tells apart.
    """
    fit, b = mode.fit, mode.values
    rng = np.random.default_rng(0)
    weight, prior = fit.linearise(b)[1], fit.precision(mode.scales)
    root = scipy.linalg.cholesky(mode.hessian, lower=True)
    found: dict[str, list[np.ndarray]] = {}
    for k in range(_PLACES + 1):
        away = rng.standard_normal(len(b)) if k else np.zeros(len(b))
        place = b + scipy.linalg.solve_triangular(root, away, lower=True, trans=1)
        there = fit.hessian(fit.jacobian(fit.linearise(place)[2]), weight, prior)
        # Eliminating from the last unknown on leaves each block's own precision on the diagonal.
        factor = scipy.linalg.cholesky(there[::-1, ::-1], lower=True)[::-1, ::-1]
        for name in fit.terms.parameters:
            own = factor[_whole(mode, name), _whole(mode, name)]
            found.setdefault(name, []).append(own @ own.T - np.diag(prior[_whole(mode, name)]))
    out = {}
    for name, known in found.items():
        turn = scipy.linalg.eigh(known[0])[1]
        each = np.einsum("kij,ia,ja->ka", np.array(known), turn, turn)
        out[name] = (turn * np.maximum(np.quantile(each, _TYPICAL, axis=0), 0.0)) @ turn.T
    return out


def _whole(mode: Mode, name: str) -> slice:
    """Places of all unknowns of a parameter."""
    spans = [span for *_, span in mode.fit.layout.of(name)]
    return slice(spans[0].start, spans[-1].stop)


def _members(mode: Mode, name: str, strata: Strata) -> np.ndarray:
    """Which unknowns of a parameter make up its total in each stratum, (stratum, unknown)."""
    return mode.fit.layout.matrices[name][strata.first].toarray()[:, _whole(mode, name)]


def _parts(mode: Mode, name: str, strata: Strata, weight: np.ndarray, apart: bool) -> Block:
    """Block without a measurement; its largest level comes first if it is to be taken apart."""
    parts = {level: span.stop - span.start for _, level, span in mode.fit.layout.of(name)}
    levels = sorted(parts, key=lambda level: -parts[level]) if apart else list(parts)
    ends = np.cumsum([parts[level] for level in levels])
    spans = [slice(end - parts[level], end) for level, end in zip(levels, ends, strict=True)]
    members = [
        span.start + (0 if level is None else strata.codes[level]) + np.zeros_like(strata.first)
        for level, span in zip(levels, spans, strict=True)
    ]
    return Block(
        levels=tuple(levels),
        spans=tuple(spans),
        members=np.stack(members, axis=1),
        weight=weight,
        apart=parts[levels[0]] if apart else 0,
    )


def _of_unknowns(
    mode: Mode, name: str, strata: Strata, weight: np.ndarray, known: np.ndarray
) -> Block:
    """Block of a parameter of whose unknowns together the measurement has this precision."""
    fit, whole = mode.fit, _whole(mode, name)
    block = _parts(mode, name, strata, weight, apart=False)
    prior = np.diag(fit.precision(mode.scales)[whole])
    members = _members(mode, name, strata)
    least_squares = members.T @ (weight[:, None] * members) + prior
    on_label = np.diag(members.T @ weight)
    return replace(
        block,
        precision=known,
        pull=(known + prior) @ (mode.values[whole] - fit.mean[whole]),
        response=known @ scipy.linalg.solve(least_squares, on_label, assume_a="pos"),
    )


def _of_levels(mode: Mode, strata: Strata, weight: np.ndarray) -> Block:
    """Block of A: the data put it where the level of the scores is right in every stratum."""
    at_mode = mode.fit.totals(mode.values)["A"][strata.first]
    block = _parts(mode, "A", strata, weight, apart=True)
    return replace(block, value=at_mode - mode.fit.priors["A"].loc)


def _of_window_ends(mode: Mode, strata: Strata) -> tuple[Block, np.ndarray, np.ndarray]:
    """Block of delta, measured by the whole of its density in every stratum.

    Beside it, by stratum, how far its end is known from both sides, and `in_widths` of a geometry.
    A window that ends between two prompt lengths leaves delta a range with steep ends, or a slope
    and a way out of it; the curvature at the mode knows nothing of either. The penalty's width
    1 / kappa being uncertain itself, so is the place of the end, more than its slope says.
    """
    fit, b = mode.fit, mode.values
    # Effects as large as their priors allow: a window that is only known not to end before some
    # prompt is not to be taken for one whose end is known because its effect was small at the mode.
    reach = {key: fit.priors[key].scale for key in mode.scales}
    variance = _members(mode, "delta", strata) @ (1.0 / fit.precision(reach)[_whole(mode, "delta")])
    totals = {name: total[strata.first] for name, total in fit.totals(b).items()}
    here = totals["delta"] - fit.priors["delta"].loc
    mean, spread = _moments(*fit.profile(b, strata.index, here, np.sqrt(variance)))
    precision = np.maximum(1.0 / spread - 1.0 / variance, 0.0)
    shown = np.clip((1.0 / spread - _ONE_SIDED / variance) * spread, 0.0, 1.0)
    away = np.where(precision > 0.0, mean / spread + here / variance, 0.0)
    # A width of the penalty, in what delta is the image of.
    slope = (window_end(totals["delta"] + 0.01) - window_end(totals["delta"] - 0.01)) / 0.02
    width = 1.0 / (natural("kappa", totals["kappa"]) * slope)
    precision = np.maximum(precision, (_WIDEST * width) ** -2)
    uncertain = 1.0 / precision + (_BLUR * width) ** 2
    # The same with a sharper penalty: how much of it is the penalty's width.
    sharp = b.copy()
    sharp[next(span for _, level, span in fit.layout.of("kappa") if level is None)] += _SHARPER
    _, spread = _moments(*fit.profile(sharp, strata.index, here, np.sqrt(variance)))
    left = np.exp(-2.0 * _SHARPER)
    then = 1.0 / np.maximum(1.0 / spread - 1.0 / variance, (_WIDEST * width) ** -2)
    then = then + left * (_BLUR * width) ** 2
    in_widths = np.clip((uncertain - then) / (uncertain * (1.0 - left)), 0.0, 1.0)
    block = _parts(mode, "delta", strata, 1.0 / uncertain, apart=True)
    return replace(block, value=here + away / precision), shown, in_widths


def _moments(step: np.ndarray, log_density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each density on a grid."""
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    total = np.trapezoid(density, step, axis=1)
    mean = np.trapezoid(density * step, step, axis=1) / total
    return mean, np.trapezoid(density * (step - mean[:, None]) ** 2, step, axis=1) / total


def _log_product(mode: Mode) -> np.ndarray:
    """Log of all that multiplies into the score but the penalty, at the mode, by observation."""
    fit = mode.fit
    return log_product(law_arguments(fit.totals(mode.values), MOST), fit.design, fit.terms)
