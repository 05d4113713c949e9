"""Observations + specification → the program of the log-density that the kernel runs.

The posterior is that of the PyMC model of `graph`, in other variables. That model is there to be
read, for prior predictive draws and for other samplers; a fit takes this, for it has nothing to
compile. What NUTS moves is a standard normal score u of every unknown given the data that
`geometry` sums up; the program turns the scores of one parameter after the other into population
value and effects, each placed by all that came before it that it could trade off against: what the
data know is a score, and of two parameters that make it one can do the work of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import gammaln

from bayes_ctxlaw.discrepancy import KNOT_DIM, knot_labels
from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.geometry import Averages, Block, Geometry
from bayes_ctxlaw.law import (
    PENALTIES,
    array_module,
    law_arguments,
    log_by_length,
    log_rise,
    log_saturation,
    natural,
    unsaturate,
)
from bayes_ctxlaw.likelihoods import (
    COUNT_LIKELIHOODS,
    correct_counts,
    edge_and_inverse,
    item_counts,
)
from bayes_ctxlaw.mode import ORDER
from bayes_ctxlaw.priors import gamma_unit, scale_name
from bayes_ctxlaw.specification import Specification
from bayes_ctxlaw.tape import Node, Op, Tape

_KINDS = ("student_t", "normal", "beta", "binomial", "beta_binomial", "least_squares")
"""Likelihoods in the order of the kernel's numbers for them."""


@dataclass(frozen=True)
class Variable:
    """What a draw is kept as.

    Attributes
    ----------
    name : str
    dim : str or None
        Dimension, unless it is a single number.
    places : slice
        Its part of the values kept.
    """

    name: str
    dim: str | None
    places: slice


@dataclass(frozen=True)
class Density:
    """Log-density of the law's posterior, ready for the kernel.

    Attributes
    ----------
    variables : list of Variable
        Population values, scales, effects and overdispersion, in the order they are kept in.
    coords : dict of str to list
        Labels of their dimensions.
    program : ndarray of int64
    moved : dict of str to slice
        What the sampler moves, by name: ``log_…`` of scales, and the scores of a parameter's block.
    start, spread : ndarray
        Its values at the mode, and about how far the posterior reaches around each.
    """

    variables: list[Variable]
    coords: dict[str, list[str]]
    program: np.ndarray
    moved: dict[str, slice]
    start: np.ndarray
    spread: np.ndarray

    @property
    def n_dim(self) -> int:
        """Number of values that the sampler moves."""
        return len(self.start)

    @property
    def n_kept(self) -> int:
        """Number of values of a draw."""
        return self.variables[-1].places.stop


class _Places:
    """Values that the sampler moves, as they are handed out, one after the other."""

    def __init__(self) -> None:
        self.of: dict[str, slice] = {}
        self.start: list[np.ndarray] = []
        self.spread: list[np.ndarray] = []
        self.n_dim = 0

    def add(self, name: str, start: np.ndarray, spread: float) -> None:
        """Places of new values."""
        self.of[name] = slice(self.n_dim, self.n_dim + len(start))
        self.start.append(start)
        self.spread.append(np.full(len(start), spread))
        self.n_dim += len(start)


def build_density(
    obs: xr.Dataset, spec: Specification, encoding: Encoding, geometry: Geometry
) -> Density:
    """Log-density of the law's posterior for these observations.

    Parameters
    ----------
    obs : xr.Dataset
        Observations, as from ``as_observations``.
    spec : Specification
        Law, likelihood, levels and priors.
    encoding : Encoding
        References and labels.
    geometry : Geometry
        Layout of the sampled variables, and where to start.

    Returns
    -------
    Density
    """
    places, start = _Places(), geometry.start
    parameters = [name for name in ORDER if name in spec.terms.parameters]
    knots = knot_labels(encoding) if spec.terms.strays else []
    for name in parameters:
        if name == "A" and knots:
            places.add("log_discrepancy_sd", np.log([start["discrepancy_sd"]]), 0.3)
            places.add("discrepancy", np.zeros(len(knots)), 1.0)
        for level in spec.levels_of(name, encoding):
            key = scale_name(name, level)
            # Half the scale of its prior where the data say nothing of a spread. A scale is known
            # to a third or so.
            scale = start.get(key, 0.5 * spec.priors[key].scale)
            places.add(f"log_{key}", np.log(np.atleast_1d(scale)), 0.3)
        # The layout has brought these to about 1.
        places.add(name, np.zeros(geometry.blocks[name].size), 1.0)
    if spec.likelihood != "binomial":
        tasks = len(encoding.labels["task"])
        places.add("log_overdispersion", np.full(tasks, np.log(start["overdispersion"])), 0.3)

    builder = _Builder(Tape(places.n_dim), places.of, obs, spec, encoding, geometry)
    for name in parameters:
        if name == "A" and knots:
            builder.discrepancy()
        builder.parameter(name)
    builder.scores()
    variables, at = [], 0
    for name, (node, dim) in builder.kept.items():
        variables.append(Variable(name, dim, slice(at, at + node.size)))
        at += node.size
    used = {v.dim for v in variables}
    coords = {
        level_dim(level): list(labels)
        for level, labels in encoding.labels.items()
        if level_dim(level) in used
    }
    if knots:
        coords[KNOT_DIM] = knots
    return Density(
        variables,
        coords,
        builder.tape.program([node for node, _ in builder.kept.values()]),
        places.of,
        np.concatenate(places.start),
        np.concatenate(places.spread),
    )


class _Builder:
    """Records the program, parameter by parameter."""

    def __init__(
        self,
        tape: Tape,
        places: dict[str, slice],
        obs: xr.Dataset,
        spec: Specification,
        encoding: Encoding,
        geometry: Geometry,
    ) -> None:
        self.tape, self.places, self.obs, self.spec = tape, places, obs, spec
        self.encoding, self.geometry = encoding, geometry
        self.strata = strata = encoding.strata(obs)
        self.design = encoding.design(obs, spec.terms)
        self.x = self.design["x"][strata.first]
        for level, codes in strata.codes.items():
            # The kernel checks no index.
            if codes.min() < 0 or codes.max() >= len(encoding.labels[level]):
                raise AssertionError(f"codes of {level!r} do not match its labels")
        self.totals: dict[str, Node] = {}
        self.at_mode: dict[str, np.ndarray] = {}
        self.kept: dict[str, tuple[Node, str | None]] = {}

    def discrepancy(self) -> None:
        """By how much each task strays from the law, at its knots and in every observation."""
        tape, known, rows = self.tape, self.geometry.knots, self.strata.index
        strays, scale = known.made_of, self.positive("discrepancy_sd", None)
        # What the data know is S_n L at one prompt length over that at another.
        now, then = (
            self._log_context(totals | {"discrepancy": known.shift})
            for totals in (self.totals, self.at_mode)
        )
        rise = now - then
        rise = rise - tape.gather(_average(self.geometry.on_level, rise), rows)
        pull = tape.group_average(tape.gather(rise, np.tile(np.arange(len(rows)), 2)), known.pulls)
        places, knots = self.places["discrepancy"].start, 0.0
        for block, part in zip(known.blocks, strays.parts, strict=True):
            own = tape.block(block, places + part.start, [scale], [pull.part(part)])[0]
            to, of = np.nonzero(strays.loadings[:, part])
            share = strays.loadings[:, part][to, of]
            # As long as all knots together, so that those of one task can be added to another's.
            ends = np.append(to, len(strays.loadings) - 1), np.append(share, 0.0)
            knots = knots + tape.group_average(tape.gather(own, np.append(of, 0)), Averages(*ends))
        self.kept["discrepancy"] = knots, KNOT_DIM
        low, high = tape.gather(knots, strays.below), tape.gather(knots, strays.above)
        self.totals["discrepancy"] = low * (1.0 - strays.share) + high * strays.share
        self.at_mode["discrepancy"] = known.shift

    def parameter(self, name: str) -> None:
        """Population value and effects of a parameter, and their sum in every stratum."""
        prior, start = self.spec.priors[name], self.geometry.start
        block, traded, by_stratum = self.geometry.blocks[name], [], None
        unit: Any = 1.0
        if name == "beta":
            # What the data know is the slope of log S_n, not its exponent.
            block, traded = self._less(block, self._log_slope)
        elif name == "D":
            # And of D what it is at the compute of a stratum.
            block, traded = self._less(block, self._log_relief)
        elif name == "delta":
            by_stratum = self._of_window_ends(block)
        elif name == "A":
            by_stratum, unit = self._of_level(block)
        scales: dict[str | None, Any] = {None: prior.scale}
        for level in self.spec.levels_of(name, self.encoding):
            scales[level] = self.positive(scale_name(name, level), None, unit)
        places = self.places[name].start
        parts = self.tape.block(
            block, places, [scales[level] for level in block.levels], traded, by_stratum
        )
        total: Any = prior.loc
        at_mode: Any = start[f"mu_{name}"]
        for level, values in zip(block.levels, parts, strict=True):
            if level is None:
                self.kept[f"mu_{name}"] = values + prior.loc, None
                total = total + values
            else:
                effects, codes = f"{name}_{level_dim(level)}", self.strata.codes[level]
                self.kept[effects] = values, level_dim(level)
                total = total + values[..., codes]
                at_mode = at_mode + start[effects][codes]
        self.totals[name], self.at_mode[name] = total, np.atleast_1d(at_mode)

    def positive(self, name: str, dim: str | None, unit: Any = 1.0) -> Node:
        """Standard deviations in a unit with their prior, moved on the log scale."""
        places = self.places[f"log_{name}"]
        log_value = Node(self.tape, places.start, places.stop - places.start)
        value = self.tape.exp(log_value)
        prior = self.spec.priors[name]
        op, scale = Op.HALF_NORMAL, prior.scale
        if prior.kind == "zero_avoiding":
            op, scale = Op.ZERO_AVOIDING, gamma_unit(prior.scale)
        self.tape.record(op, log_value, value, scale / unit)
        value = value if isinstance(unit, float) else value * unit
        self.kept[name] = value, dim
        return value

    def _less(
        self, block: Block, known_with: Callable[[dict[str, Any]], Any]
    ) -> tuple[Block, list[Node]]:
        """A measurement of a parameter plus something that came before it."""
        now, then = (known_with(totals) for totals in (self.totals, self.at_mode))
        at_mode = [
            np.broadcast_to(_average(average, then), span.stop - span.start)
            for average, span in zip(block.averages, block.spans, strict=True)
        ]
        pull = block.pull + block.response @ np.concatenate(at_mode)
        return replace(block, pull=pull), [_average(average, now) for average in block.averages]

    def _log_slope(self, totals: dict[str, Any]) -> Any:
        """Log of what the exponent is multiplied with in the slope of log S_n at the reference."""
        log_slope = log_rise(totals["B"], self.spec.terms.context_term)
        if "rho" in totals:
            log_slope = log_slope + log_saturation(-totals["rho"], "power")
        return log_slope

    def _log_relief(self, totals: dict[str, Any]) -> Any:
        """Log of what compute makes of the loss inside the window."""
        return -_exp(totals["psi"]) * self.x

    def _of_window_ends(self, block: Block) -> tuple[Any, Any]:
        """Delta's measurement: the log-odds of the penalty where the scores show it.

        The end of a window moves with the width of the penalty.
        """
        now, then = (natural("kappa", of["kappa"]) for of in (self.totals, self.at_mode))
        sharper = now / then
        shown = self.geometry.log_odds / then
        value = (block.value + shown) - shown / sharper
        share, weight = self.geometry.in_widths, block.weight
        if share.any():
            weight = weight / ((1.0 - share) + share / (sharper * sharper))
        return weight, value

    def _of_level(self, block: Block) -> tuple[tuple[Any, Any], Any]:
        """The measurement of A, and the unit of the scales of its effects.

        What the data know is S_C S_n. As S_n falls, S_C must rise and log A with it, the more so
        and the less certain the nearer S_C comes to its ceiling; and the further apart are then the
        A of all labels, so that the scales of their effects are larger.
        """
        kind = self.spec.terms.compute_term
        now, then = self._needed(self.totals), self._needed(self.at_mode)
        log_rise_now = log_rise(now, kind)
        rise = _exp(log_rise_now - log_rise(then, kind))
        value = (now - then) + block.value
        value = value - (_exp(self.totals["alpha"]) - np.exp(self.at_mode["alpha"])) * self.x
        everywhere = Averages.by(np.zeros(len(block.weight), dtype=int), block.weight)
        unit = 1.0 / _exp(_average(everywhere, log_rise_now))
        return (block.weight * (rise * rise), value), unit

    def _needed(self, totals: dict[str, Any]) -> Any:
        """Log u of the compute term that gives every stratum its score, whatever S_n is."""
        geometry = self.geometry
        level = _average(geometry.on_level, geometry.product - self._log_context(totals))
        return unsaturate(level, self.spec.terms.compute_term)

    def _log_context(self, totals: dict[str, Any]) -> Any:
        """Log S_n L of every observation."""
        rows, of_rows = self.strata.index, {}
        for name in ("B", "beta", "rho", "D", "psi", "eta"):
            if name in totals:
                value = totals[name]
                of_rows[name] = value if value.shape[-1] == 1 else value[..., rows]
        arguments = law_arguments(of_rows)
        if "discrepancy" in totals:
            arguments["discrepancy"] = totals["discrepancy"]
        return log_by_length(arguments, self.design, self.spec.terms)

    def scores(self) -> None:
        """Add the likelihood, from the parameters of every stratum."""
        obs, spec, totals, tape = self.obs, self.spec, self.totals, self.tape
        design, strata = self.design, self.strata
        phi: Any = 0.0
        if spec.likelihood != "binomial":
            phi = self.positive("overdispersion", "task")
        log_u = totals["A"] + tape.exp(totals["alpha"]) * self.x
        penalised = spec.terms.penalty == "log_logistic"
        parameters = [
            log_saturation(log_u, spec.terms.compute_term),
            self._log_context(totals),
            natural("kappa", totals["kappa"]) if penalised else 0.0,
            natural("delta", totals["delta"]) if penalised else 0.0,
            phi,
        ]
        items, constant = item_counts(obs), 0.0
        edge, inverse = edge_and_inverse(spec.likelihood, items)
        score = obs["score"].values.astype(float)
        if spec.likelihood in COUNT_LIKELIHOODS:
            score = correct_counts(obs)[0]
            ways = gammaln(items + 1) - gammaln(score + 1) - gammaln(items - score + 1)
            constant = float(ways.sum())
        spread = design.get("w_sd", np.zeros(len(score)))
        ratio = design["w"] - spread**2 / 2.0  # as in `mean_score`
        if spec.terms.penalty == "token_logistic":
            # The paper's penalty has no parameters: its logit is a number of every observation.
            ratio = design["excess_tokens"] / np.sqrt(
                1.0 + np.pi / 8.0 * design.get("tokens_sd", 0.0) ** 2
            )
        options = PENALTIES.index(spec.terms.penalty), _KINDS.index(spec.likelihood)
        tape.scores(
            parameters,
            options,
            {
                "stratum": strata.index,
                "task": strata.codes["task"][strata.index],
                "w": ratio,
                "w_sd": spread,
                "chance": design["chance"],
                "score": score,
                "edge": edge,
                "inverse_items": inverse,
                "items": np.nan_to_num(items, nan=0.0),
                "constant": np.array([constant]),
            },
        )


def _exp(value: Any) -> Any:
    return array_module(value).exp(value)


def _average(averages: Averages, values: Any) -> Any:
    """Averages over the data of each label; one value for all strata is its own average."""
    if values.shape[-1] == 1:
        return values
    if isinstance(values, Node):
        return values.array_module.group_average(values, averages)
    return averages.of(values)
