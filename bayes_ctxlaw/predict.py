"""Posterior → predictions at any rows, in bounded memory.

Rows are worked through in blocks of a fixed size, so that memory does not grow with the grid and
random numbers do not depend on how it is cut.
"""

from __future__ import annotations

import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xarray as xr

from bayes_ctxlaw._faults import did_you_mean
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.discrepancy import Paths
from bayes_ctxlaw.encoding import Encoding, is_number, level_dim, level_labels
from bayes_ctxlaw.errors import SpecificationError, UnknownLabelError
from bayes_ctxlaw.law import law_arguments, mean_score
from bayes_ctxlaw.likelihoods import draw_scores, item_counts, reaching
from bayes_ctxlaw.posterior import check_complete, population_names
from bayes_ctxlaw.priors import scale_name
from bayes_ctxlaw.specification import Specification

KINDS = ("law", "llm", "response")
"""Kinds of prediction, each with one more term than the one before: the law, the checkpoint's own
effect, the noise of an evaluation."""

NEW_LEVELS = ("error", "uncertainty")

BREAKS = {"x": 0.3, "z": 1.0, "w": 1.0}
"""By how much exponents in compute, in prompt tokens and in prompt tokens over the window may
change beyond the data: sd of their logarithm. Scores follow compute smoothly over decades; along
prompt length, and where a window ends, they often do not."""

OWN_BREAK = 0.3
"""The same of the last of the three, for a checkpoint that was not tried so near its window's end:
it ends somewhat as others did."""

_BLOCK = 256  # rows whose noise has one seed: 8 MiB an array at 4,000 draws
_PIECE = 16  # rows whose mean is computed at once: half a MiB an array, which a core's cache holds
_KEPT = 128  # combinations of labels whose parameters are kept: 24 MiB at 4,000 draws


def check_law(law: Any, doing: str, needs: str = "predictor") -> None:
    """Refuse what is no law with draws of its parameters.

    Parameters
    ----------
    law : object
    doing : str
        What needs one, for the message.
    needs : str
        Attribute that tells.

    Raises
    ------
    SpecificationError
    """
    if not hasattr(law, needs):
        raise SpecificationError(
            f"{doing} needs a fitted ContextLaw and was given a {type(law).__name__}. A fit on "
            "disk is read by ContextLaw.load(path)."
        )


def check_options(kind: str, ci_prob: float, new_levels: str) -> None:
    """Refuse unknown options of a prediction, all in one message.

    Raises
    ------
    SpecificationError
    """
    if faults := faults_of_options(kind, ci_prob, new_levels):
        raise SpecificationError("; ".join(faults) + ".")


def faults_of_options(kind: str, ci_prob: float, new_levels: str) -> list[str]:
    """What is wrong with the options of a prediction, for who has more to check."""
    faults, said = [], wording().argument
    if kind not in KINDS:
        faults.append(f"{said('kind', kind)} is not one of {', '.join(map(repr, KINDS))}")
    if not is_probability(ci_prob):
        faults.append(fault_of_probability("ci_prob", ci_prob))
    if new_levels not in NEW_LEVELS:
        allowed = ", ".join(map(repr, NEW_LEVELS))
        faults.append(f"{said('new_levels', new_levels)} is not one of {allowed}")
    return faults


def is_probability(value: object) -> bool:
    """Whether it is a number between 0 and 1, and neither of them."""
    return is_number(value) and 0.0 < value < 1.0


def fault_of_probability(name: str, value: object) -> str:
    """Say that an argument must lie between 0 and 1, and how a percentage is written.

    Examples
    --------
    >>> fault_of_probability("ci_prob", 90)
    'ci_prob=90 must lie between 0 and 1; if it is a percentage, write 0.9'
    """
    said = f"{wording().argument(name, value)} must lie between 0 and 1"
    if is_number(value) and 1 < value < 100:
        return f"{said}; if it is a percentage, write {value / 100:g}"
    return f"{said}, such as 0.9"


def check_known(at: xr.Dataset, known: Mapping[str, Sequence[str]]) -> None:
    """Refuse rows whose labels a fit never saw; in pairs of labels anything may be new.

    Parameters
    ----------
    at : xr.Dataset
        Design.
    known : mapping of str to sequence of str
        By level, the labels that a fit saw.

    Raises
    ------
    UnknownLabelError
        All unknown labels of all levels in one message, with the known ones.
    """
    faults = []
    for level, labels in known.items():
        if ":" in level:
            continue
        if level not in at:
            faults.append(f"`{level}` is missing; the fit has effects of it and saw {_few(labels)}")
        elif unseen := sorted(set(level_labels(at, level)) - set(labels)):
            asked = ", ".join(f"{label!r}{did_you_mean(label, labels)}" for label in unseen[:5])
            more = ", …" if len(unseen) > 5 else ""
            faults.append(f"`{level}`: {asked}{more} not in the fit, which saw {_few(labels)}")
    if faults:
        raise UnknownLabelError(
            f"{'; '.join(faults)}. Give such labels, or pass {wording().new_levels()} to draw the "
            "effect of an unseen label from what such labels vary by."
        )


def warn_of_families(obs: xr.Dataset, at: xr.Dataset) -> None:
    """Say so where a checkpoint of the fit is to be predicted in another family than it has.

    Unlike another technique, it cannot have been meant.

    Parameters
    ----------
    obs : xr.Dataset
        Observations of the fit.
    at : xr.Dataset
        Design.
    """
    if "family" not in obs or "family" not in at:
        return
    pairs = zip(level_labels(obs, "llm").tolist(), level_labels(obs, "family"), strict=True)
    of_fit = dict(pairs)
    asked = zip(level_labels(at, "llm").tolist(), level_labels(at, "family").tolist(), strict=True)
    other = [(llm, family) for llm, family in asked if of_fit.get(llm, family) != family]
    if other:
        llm, family = other[0]
        warnings.warn(
            f"`family` of {len(other)} row(s) is not that of their checkpoint in the fit: of "
            f"{llm!r} {family!r} is given, where the fit has {of_fit[llm]!r}. A checkpoint has one "
            "family; another one is another label of `llm`.",
            UserWarning,
            stacklevel=3,
        )


def _few(labels: Sequence[str], count: int = 10) -> str:
    return ", ".join(map(repr, labels[:count])) + (", …" if len(labels) > count else "")


def _is_llm(level: str) -> bool:
    return "llm" in level.split(":")


@dataclass
class Predictor:
    """Draws of a fit, ready to predict with.

    Parameters
    ----------
    spec : Specification
    encoding : Encoding
    draws : dict of str to ndarray
        Population values (draw,), scales (draw,), effects (draw, label), discrepancies
        (draw, knot), overdispersion (draw, task), by name.
    seed : int
        Root of the random numbers of new labels and of the noise.
    """

    spec: Specification
    encoding: Encoding
    draws: Mapping[str, np.ndarray]
    seed: int

    def __post_init__(self) -> None:
        self._changes: dict[str, np.ndarray] = {}
        self._paths: Paths | None = None
        if self.spec.terms.strays:
            knots, scale = self.draws["discrepancy"], self.draws["discrepancy_sd"]
            self._paths = Paths(self.encoding, knots, scale, self.seed)

    @classmethod
    def of(cls, spec: Specification, encoding: Encoding, posterior: xr.Dataset, seed: int) -> Self:
        """From a posterior, which must be complete; one axis of draws for all its chains.

        Raises
        ------
        NotFittedError
            If a variable is missing or has other labels.
        """
        check_complete(posterior, spec, encoding)
        draws = {}
        for name, dim in population_names(spec, encoding).items():
            values = posterior[name].transpose("chain", "draw", *([dim] if dim else [])).values
            draws[name] = values.reshape(-1, *values.shape[2:])
        return cls(spec, encoding, draws, seed)

    @property
    def size(self) -> int:
        """Number of draws."""
        return len(self.draws["mu_A"])

    def levels(self, kind: str) -> list[str]:
        """Levels whose labels matter for a kind of prediction."""
        return [
            level
            for level in self.spec.levels
            if level in self.encoding.labels and (kind != "law" or not _is_llm(level))
        ]

    def check_labels(self, at: xr.Dataset, kind: str, new_levels: str) -> None:
        """Refuse labels that the fit never saw, unless asked to be uncertain about them.

        Raises
        ------
        UnknownLabelError
            All unknown labels of all levels in one message, with the known ones.
        """
        if new_levels != "error":
            return
        needed = {*self.levels(kind), "task"}
        known = {level: labels for level, labels in self.encoding.labels.items() if level in needed}
        check_known(at, known)

    def blocks(
        self, at: xr.Dataset, kind: str, evaluated: Counter[bytes] | None = None
    ) -> Iterator[np.ndarray]:
        """Predicted scores, block after block of rows: arrays (draw, row).

        In memory the draws of a row lie side by side, as quantiles over draws want them. An
        evaluation's noise is seeded by what is evaluated and by how often it was before: a row has
        the same alone as among others. Who predicts in several goes hands on what was `evaluated`.
        """
        design = self.encoding.design(at, self.spec.terms)
        items = item_counts(at)
        tasks, tokens = level_labels(at, "task"), at["prompt_tokens"].values
        combination, combinations = self.combinations(at, kind)
        # Rows that share labels and compute share all but the context term and the penalty.
        alike, _ = _numbered(
            zip(combination.tolist(), design["x"].tolist(), tasks.tolist(), strict=True)
        )
        beyond = self.encoding.beyond(at)
        evaluated = Counter() if evaluated is None else evaluated
        untried = None
        if "llm" in self.levels(kind):
            untried = self.encoding.untried(at, beyond["w"][1])
        kept: dict[int, dict[str, np.ndarray]] = {}
        for first in range(0, len(tasks), _BLOCK):
            rows = slice(first, first + _BLOCK)
            mean = np.empty((len(tasks[rows]), self.size))
            for group in _groups(alike[rows]):
                number = combination[first + group[0]]
                if number not in kept:
                    if len(kept) == _KEPT:
                        kept.clear()
                    kept[number] = law_arguments(self.totals(combinations[number]), 300.0)
                for start in range(0, len(group), _PIECE):
                    piece = group[start : start + _PIECE]
                    here = {name: v[first + piece, None] for name, v in design.items()}
                    row = first + group[0]
                    each = (first + piece)[:, None]
                    for axis, rows_of in (("x", row), ("z", each), ("w", each)):
                        here[axis] = self._broken(
                            axis,
                            tasks[row],
                            design[axis][rows_of],
                            *(a[rows_of] for a in beyond[axis]),
                        )
                    if untried is not None:
                        llm = combinations[number]["llm"]
                        here["w"] = self._nearing(llm, here["w"], untried[each])
                    parameters = kept[number]
                    if self._paths is not None:
                        strays = self._paths.at(tasks[row], tokens[first + piece])
                        parameters = parameters | {"discrepancy": strays}
                    mean[piece] = mean_score(parameters, here, self.spec.terms)
            scores = mean.T
            if kind == "response":
                phi = self.overdispersion(tasks[rows])
                labels = [
                    repr((t, combinations[k]))
                    for t, k in zip(tasks[rows].tolist(), combination[rows], strict=True)
                ]
                for i, rng in enumerate(self._noise(at.isel(obs_id=rows), labels, evaluated)):
                    scores[:, i] = draw_scores(
                        self.spec.likelihood, scores[:, i], phi[:, i], items[first + i], rng
                    )
            yield scores

    def _noise(
        self, at: xr.Dataset, labels: list[str], evaluated: Counter[bytes]
    ) -> Iterator[np.random.Generator]:
        """Random numbers of the noise of every row; `labels` are those that the law knows of."""
        numbers = [at[name].values for name in ("compute", "prompt_tokens", "context_window")]
        numbers = np.column_stack([*numbers, item_counts(at)]).astype(float)
        for names, row in zip(labels, numbers, strict=True):
            key = names.encode() + row.tobytes()
            yield np.random.default_rng([self.seed, 7, zlib.crc32(key), evaluated[key]])
            evaluated[key] += 1

    def reaching(self, at: xr.Dataset, scores: np.ndarray) -> Callable[[float], np.ndarray]:
        """Of a score, the probability that an evaluation reaches it, in every draw of every row.

        Parameters
        ----------
        at : xr.Dataset
            Design.
        scores : ndarray
            Draws without noise, (draw, row).

        Returns
        -------
        callable
            Takes a score above 0, at most 1; returns an array (draw, row).
        """
        phi = self.overdispersion(level_labels(at, "task"))
        # One place for all rows of a draw: along a curve as smooth as the curve is.
        place = np.random.default_rng([self.seed, 8]).permutation(self.size)
        unit = (place[:, None] + 0.5) / self.size
        return reaching(self.spec.likelihood, scores, phi, item_counts(at), unit)

    def _broken(self, axis: str, task: str, value: Any, below: Any, above: Any) -> Any:
        """Place on an axis, if the exponents of a task break at the edges of its data."""
        for side, away in ((-1.0, below), (1.0, above)):
            if np.any(away):
                value = value + side * away * self._change(f"{axis}|{side}", task, BREAKS[axis])
        return value

    def _nearing(self, llm: str, value: Any, untried: Any) -> Any:
        """Log ratio of prompt to window, if a checkpoint's exponents break where it was untried."""
        if not np.any(untried):
            return value
        return value + untried * self._change("llm", llm, OWN_BREAK)

    def window_ratios(self, at: xr.Dataset, kind: str) -> np.ndarray:
        """Log ratio of prompt to window as the penalty has it, breaks included.

        Parameters
        ----------
        at : xr.Dataset
            Rows of one task and one checkpoint.
        kind : str
            Of the prediction: one of the law knows no checkpoint.

        Returns
        -------
        ndarray
            (row, draw); of a single draw where nothing breaks.
        """
        beyond = self.encoding.beyond(at)["w"]
        ratio = self.encoding.design(at, self.spec.terms)["w"][:, None]
        task = level_labels(at, "task")[0]
        ratio = self._broken("w", task, ratio, *(away[:, None] for away in beyond))
        if "llm" not in self.levels(kind):
            return ratio
        untried = self.encoding.untried(at, beyond[1])[:, None]
        return self._nearing(level_labels(at, "llm")[0], ratio, untried)

    def _change(self, where: str, label: str, sd: float) -> np.ndarray:
        """Draws of what a log unit beyond an edge counts for, less the one that it is."""
        key = f"break|{where}|{label}"
        if key not in self._changes:
            unit = np.random.default_rng([self.seed, 3, zlib.crc32(key.encode())]).standard_normal(
                self.size
            )
            self._changes[key] = np.expm1(sd * unit)
        return self._changes[key]

    def combinations(self, at: xr.Dataset, kind: str) -> tuple[np.ndarray, list[dict[str, str]]]:
        """Number of each row's combination of labels, and the labels of each combination."""
        size = at.sizes["obs_id"]
        labels = {
            # A column that is not there is a label that was never seen.
            level: level_labels(at, level).tolist() if self._has(at, level) else [""] * size
            for level in self.levels(kind)
        }
        if not labels:
            return np.zeros(size, dtype=np.int64), [{}]
        numbers, distinct = _numbered(zip(*labels.values(), strict=True))
        return numbers, [dict(zip(labels, row, strict=True)) for row in distinct]

    @staticmethod
    def _has(at: xr.Dataset, level: str) -> bool:
        return all(part in at for part in level.split(":"))

    def totals(self, labels: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Draws of every parameter for one combination of labels, on the scale of its effects."""
        totals = {}
        for name in self.spec.terms.parameters:
            totals[name] = self.draws[f"mu_{name}"]
            for level in self.spec.levels_of(name, self.encoding):
                if level in labels:  # not the checkpoint's own in a prediction of the law
                    totals[name] = totals[name] + self._effect(name, level, labels[level])
        return totals

    def _effect(self, name: str, level: str, label: str) -> np.ndarray:
        """Draws of a label's effect: the fitted one if there is one, else a new one."""
        known = self.encoding.labels[level]
        if label not in known:
            return self._new_effect(name, level, label)
        if len(known) == 1:
            return np.zeros(self.size)  # it is part of the population value
        return self.draws[f"{name}_{level_dim(level)}"][:, known.index(label)]

    def _new_effect(self, name: str, level: str, label: str) -> np.ndarray:
        # Seeded by what it is the effect of: every row with this label shares it, in any block.
        key = zlib.crc32(f"{name}|{level}|{label}".encode())
        unit = np.random.default_rng([self.seed, 1, key]).standard_normal(self.size)
        scale = self.draws[scale_name(name, level)]
        if len(self.encoding.labels[level]) == 1:
            # The population value holds the one label's own effect; a new one differs by two.
            scale = scale * np.sqrt(2.0)
        return unit * scale

    def overdispersion(self, tasks: np.ndarray) -> np.ndarray:
        """Draws of each row's overdispersion, (draw, row)."""
        phi = np.zeros((len(tasks), self.size))
        if "overdispersion" in self.draws:
            for task in dict.fromkeys(tasks):
                phi[tasks == task] = self._overdispersion_of(task)
        return phi.T

    def _overdispersion_of(self, task: str) -> np.ndarray:
        """Draws of a task's overdispersion; that of a task never seen is some fitted task's."""
        fitted = self.draws["overdispersion"]
        known = self.encoding.labels["task"]
        if task in known:
            return fitted[:, known.index(task)]
        key = zlib.crc32(f"overdispersion|{task}".encode())
        pick = np.random.default_rng([self.seed, 2, key]).integers(len(known), size=self.size)
        return fitted[np.arange(self.size), pick]


def _numbered(keys: Iterable[Hashable]) -> tuple[np.ndarray, list[Hashable]]:
    """Number of each key among the distinct ones, and those, in the order of first appearance."""
    numbers: dict[Hashable, int] = {}
    found = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(found, dtype=np.int64), list(numbers)


def _groups(numbers: np.ndarray) -> list[np.ndarray]:
    """Places of equal numbers, number by number."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def _quantiles(values: np.ndarray, probabilities: Sequence[float]) -> np.ndarray:
    """Quantiles along the last axis, as by ``np.quantile``; reorders `values`.

    Parameters
    ----------
    values : ndarray
        Free of NaN, (row, draw), the draws of a row side by side.
    probabilities : sequence of float
        Ascending.

    Returns
    -------
    ndarray
        (probability, row).

    Notes
    -----
    A partition at a single place is vectorised in NumPy, one at several places is not. So each
    quantile takes one partition of what lies above the quantile before.
    """
    last = values.shape[-1] - 1
    found, done = [], 0
    below = values[..., 0]
    for probability in probabilities:
        place = probability * last
        under = min(int(place), max(last - 1, 0))
        over = min(under + 1, last)
        rest = values[..., done:]
        rest.partition(over - done, axis=-1)
        if under >= done:
            below = values[..., done : under + 1].max(axis=-1)
        above = values[..., over].copy()
        found.append(below + (above - below) * (place - under))
        done = over
    return np.stack(found)


def predict(
    predictor: Predictor,
    at: xr.Dataset,
    *,
    kind: str,
    ci_prob: float,
    new_levels: str,
    shape: tuple[int, int],
    samples: bool,
) -> xr.Dataset:
    """Predictions with intervals at every row of a design.

    Parameters
    ----------
    predictor : Predictor
    at : xr.Dataset
        Design, as from ``as_design`` or ``grid``.
    kind, ci_prob, new_levels
        As in ``ContextLaw.predict``.
    shape : tuple of int
        Chains and draws per chain.
    samples : bool
        Whether to add all draws as ``samples`` (chain, draw, obs_id). Only then does memory grow
        with the rows: 8 bytes for every draw of every row, 3 GiB for 4,000 draws at 100,000 rows.

    Returns
    -------
    xr.Dataset
    """
    check_options(kind, ci_prob, new_levels)
    predictor.check_labels(at, kind, new_levels)
    at = predictor.encoding.with_chance(at)
    out = summarise(
        predictor.blocks(at, kind),
        at,
        predictor.encoding,
        ci_prob=ci_prob,
        shape=shape,
        samples=samples,
    )
    return out.assign_attrs(prediction_kind=kind, new_levels=new_levels)


def summarise(
    blocks: Iterable[np.ndarray],
    at: xr.Dataset,
    encoding: Encoding,
    *,
    ci_prob: float,
    shape: tuple[int, int],
    samples: bool,
    origin: str = "posterior",
) -> xr.Dataset:
    """Mean, spread and equal-tailed interval of draws at every row of a design.

    Parameters
    ----------
    blocks : iterable of ndarray
        Draws of the scores, block after block of rows: arrays (draw, row).
    at : xr.Dataset
        Design.
    encoding : Encoding
        Of the fit; tells how far a row lies beyond the data.
    ci_prob, shape, samples
        As in `predict`.
    origin : str
        What the draws are of, for the names of the variables in words.

    Returns
    -------
    xr.Dataset
        The design with ``mean``, ``sd``, ``median``, ``lower``, ``upper``, ``extrapolation`` and,
        if asked for, ``samples``.
    """
    tail = (1.0 - ci_prob) / 2.0
    size = at.sizes["obs_id"]
    mean, sd, lower, median, upper = summary = np.empty((5, size))
    kept = np.empty((shape[0] * shape[1], size)) if samples else None
    first = 0
    for scores in blocks:
        rows = slice(first, first + scores.shape[1])
        first = rows.stop
        if kept is not None:
            kept[:, rows] = scores
        by_row = np.array(scores.T, order="C")
        mean[rows], sd[rows] = by_row.mean(axis=1), by_row.std(axis=1)
        summary[2:, rows] = _quantiles(by_row, (tail, 0.5, 1.0 - tail))
    summary[:, np.isnan(mean)] = np.nan
    out = at.copy()
    interval = f"{100 * ci_prob:g} % equal-tailed interval"
    for name, values, text in (
        ("mean", mean, f"{origin} mean of the score"),
        ("sd", sd, f"{origin} standard deviation of the score"),
        ("median", median, f"{origin} median of the score"),
        ("lower", lower, f"lower end of the {interval}"),
        ("upper", upper, f"upper end of the {interval}"),
    ):
        out[name] = ("obs_id", values, {"units": "1", "long_name": text})
    beyond = encoding.extrapolation(at)
    out = out.assign_coords(axis=list(beyond))
    out["extrapolation"] = (
        ("obs_id", "axis"),
        np.stack(list(beyond.values()), axis=1),
        {"units": "decades", "long_name": "distance beyond the data of the fit"},
    )
    if kept is not None:
        out["samples"] = (("chain", "draw", "obs_id"), kept.reshape(*shape, -1), {"units": "1"})
        out = out.assign_coords(chain=np.arange(shape[0]), draw=np.arange(shape[1]))
    return out.assign_attrs(ci_prob=float(ci_prob), ci_kind="equal-tailed")
