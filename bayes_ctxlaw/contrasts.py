"""One label of a level against another: parameters and predicted scores, all else equal.

Both sides are computed from the same draws of the posterior, so that what is uncertain of both
cancels in their difference.
"""

from __future__ import annotations

import html
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._faults import did_you_mean
from bayes_ctxlaw._html import table as html_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.confounding import Confounding, confounding
from bayes_ctxlaw.encoding import BASE_LEVELS, SAME_CHANCE, Encoding
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.law import natural
from bayes_ctxlaw.observations import as_design, check_mapping
from bayes_ctxlaw.predict import Predictor, check_law, faults_of_options
from bayes_ctxlaw.schema import OBS_DIM, is_assumed
from bayes_ctxlaw.sides import (
    BELONGS,
    DESIGN,
    OF_CHECKPOINTS,
    Sides,
    common_of_points,
    points_of,
    rows_of_labels,
    sides_of,
)

_CLEAR = 0.95  # probability from which one side is said to score higher


def spoken(label: str) -> str:
    """A label as part of a sentence: in quotes where it is in small letters, such as ``none``.

    Examples
    --------
    >>> spoken("none"), spoken("YaRN")
    ("'none'", 'YaRN')
    """
    return repr(label) if label.islower() else label


@dataclass(frozen=True, eq=False)
class Contrast:
    """What a comparison of two labels found. All differences are `a` less `b`.

    Attributes
    ----------
    level, a, b : str
        Level and its two labels.
    scores : xr.Dataset
        Along ``obs_id``, the rows compared: ``a`` and ``b`` (posterior medians of the two
        scores), ``mean``, ``sd``, ``median``, ``lower`` and ``upper`` of their difference,
        ``prob_greater``, and ``prob_equivalent`` if a margin was named.
    curve : xr.Dataset
        The same along ``point``, with rows that differ in nothing but the task, or in what the law
        does not know of, averaged. Of the other columns it has those that all rows of each point
        have in common. Points are in the order of `at`; of rows of the fit, in order of their
        design, prompt tokens last.
    overall : xr.Dataset
        The same of the average over all rows, and ``prob_everywhere``: that `a` scores higher
        at every point of the curve. Its attributes ``rows``, ``rows_past_window_a`` and
        ``rows_past_window_b`` count the rows and those whose prompt is longer than the nominal
        window of that side.
    parameters : xr.Dataset
        Along ``parameter``, of the average task (the mean over tasks on the scale of the effects):
        the two values on their natural scale, their difference as above, and ``ratio``,
        ``ratio_lower``, ``ratio_upper`` of parameters above 0 but ``rho``. ``window`` is the
        effective window over the nominal one, exp(delta).
    parameters_by_task : xr.Dataset
        The same along ``task`` and ``parameter``; where tasks are compared, one entry for both,
        under the name of `a`.
    confounding : Confounding
        What the observations cannot tell apart.
    inside : xr.Dataset or None
        As `overall`, of the rows whose prompts the windows of both sides hold. None if those are
        all rows, or none.
    """

    level: str
    a: str
    b: str
    scores: xr.Dataset
    curve: xr.Dataset
    overall: xr.Dataset
    parameters: xr.Dataset
    parameters_by_task: xr.Dataset
    confounding: Confounding
    inside: xr.Dataset | None = None

    @property
    def table(self) -> pd.DataFrame:
        """The curve as a table, one row a point: its design, both scores, and their difference."""
        table = self.curve.to_dataframe()
        constant = [n for n in DESIGN if n in table and table[n].nunique() == 1]
        return table.drop(columns=[n for n in constant if n != "prompt_tokens"])

    @property
    def parameter_table(self) -> pd.DataFrame:
        """Those parameters of the average task that may differ, one row each."""
        table = self.parameters.to_dataframe().reset_index()
        columns = ["parameter", "a", "b", "ratio", "ratio_lower", "ratio_upper", "prob_greater"]
        return table.loc[table["sd"] > 0, columns]

    @property
    def sentence(self) -> str:
        """What was found, in one sentence or two."""
        interval = f"{100 * self.overall.attrs['ci_prob']:g} % equal-tailed interval"
        mean, low, high, prob = (
            float(self.overall[name]) for name in ("mean", "lower", "upper", "prob_greater")
        )
        a, b = spoken(self.a), spoken(self.b)
        span = f"{low:+.3f} to {high:+.3f} ({interval}, {self.overall.attrs['prediction_kind']})"
        if max(prob, 1.0 - prob) >= _CLEAR:
            more, less, sure = (a, b, prob) if prob > 0.5 else (b, a, 1 - prob)
            text = (
                f"{more} scores higher than {less} with probability {_probability(sure)}: {a} "
                f"less {b} is {mean:+.3f} on average over {self._where()}, {span}."
            )
        else:
            text = (
                f"{a} less {b} is {mean:+.3f} on average over {self._where()}, {span}: "
                f"the probability that {a} scores higher is {_probability(prob)}."
            )
        if "prob_equivalent" in self.overall:
            text += (
                f" They are within {self.overall.attrs['rope']:g} of each other with probability "
                f"{_probability(float(self.overall['prob_equivalent']))}."
            )
        text += self._past_window()
        if self.confounding.unseen:
            names = " and ".join(map(spoken, self.confounding.unseen))
            text = (
                f"The fit saw no {self.level} {names}, so this says what others of that level vary "
                f"by. {text}"
            )
        if self.confounding.with_levels:
            names = " and ".join(self.confounding.with_levels)
            text = (
                f"The observations cannot tell {self.level} from {names} here, so this is no "
                f"effect of the {self.level} alone. {text}"
            )
        return text

    @property
    def held_equal(self) -> str:
        """What both sides have in common."""
        scores, named = self.scores, []
        own = BELONGS.get(self.level, ())
        for name in DESIGN:
            if name in scores and name != self.level and name not in own:
                values = list(dict.fromkeys(scores[name].values.tolist()))
                shown = (
                    f"{len(values)} values" if len(values) > 3 else ", ".join(map(_text, values))
                )
                named.append(f"{name.replace('_', ' ')} ({shown})")
        text = f"Held equal: {'; '.join(named)}."
        if own:
            text += f" Each {self.level} has its own {', '.join(own).replace('_', ' ')}."
        if scores.attrs["prediction_kind"] == "law":
            text += " No effect of a checkpoint is in it."
        elif self.level in OF_CHECKPOINTS:
            text += " Each side is the average over its own checkpoints in the fit."
        return text

    def _past_window(self) -> str:
        """How much of the average lies past a window, and what it is without.

        There a score is that of a collapse: it may turn the sign of the average over all rows.
        """
        attrs = self.overall.attrs
        rows, *past = (attrs[n] for n in ("rows", "rows_past_window_a", "rows_past_window_b"))
        if not any(past):
            return ""
        where = f"in {past[0]}"
        if "context_window" in BELONGS.get(self.level, ()):
            sides = zip((self.a, self.b), past, strict=True)
            where = " and ".join(f"of {spoken(label)} in {n}" for label, n in sides if n)
        text = f" Prompts are past the window {where} of {rows} rows"
        if self.inside is None:
            return f"{text}, which leaves none inside."
        mean, low, high, prob = (
            float(self.inside[name]) for name in ("mean", "lower", "upper", "prob_greater")
        )
        return (
            f"{text}; in the others the difference is {mean:+.3f}, {low:+.3f} to {high:+.3f}, and "
            f"the probability that {spoken(self.a)} scores higher is "
            f"{_probability(prob)}."
        )

    def _where(self) -> str:
        words = []
        if "task" in self.scores and self.level != "task":
            tasks = len(set(self.scores["task"].values.tolist()))
            words.append(f"{tasks} task{'s' if tasks > 1 else ''}")
        tokens = self.scores["prompt_tokens"].values
        low, high = tokens.min(), tokens.max()
        words.append(
            f"{low:,.0f} tokens" if low == high else f"prompts of {low:,.0f} to {high:,.0f} tokens"
        )
        return " and ".join(words)

    def __str__(self) -> str:
        lines = [self.sentence, "", self.held_equal, *self.confounding.notes, ""]
        table = self.table.round(4).to_string(index=False)
        return "\n".join([*lines, table, "", self.parameter_table.round(3).to_string(index=False)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(n)}</li>" for n in self.confounding.notes)
        return (
            f"<p><b>{html.escape(self.sentence)}</b></p><p>{html.escape(self.held_equal)}</p>"
            f"<ul>{notes}</ul>{html_table(self.table.round(4))}"
            f"{html_table(self.parameter_table.round(3))}"
        )


def contrast(
    law: Any,
    level: str,
    a: str,
    b: str,
    at: Any = None,
    *,
    kind: str | None = None,
    ci_prob: float = 0.9,
    rope: float | None = None,
    new_levels: str = "error",
    random_seed: int | None = None,
    **column_names: str,
) -> Contrast:
    """Compare two labels of a level, everything else equal.

    Parameters
    ----------
    law : ContextLaw
        Fitted.
    level : {"technique", "family", "task", "llm"}
        What is compared. A checkpoint brings its own family, technique, compute and window along, a
        task its own chance level (that of `at` if it has none or several in the fit); nothing else
        differs between the two sides.
    a, b : str
        Two labels of that level. Differences are `a` less `b`.
    at : Dataset, DataFrame, path or list of dict, optional
        Rows to compare at: a ``grid``, observations or a table. What they say of `level` is
        replaced by `a` and by `b`. By default the rows of the fit that have either label.
    kind : {"law", "llm", "response"}, optional
        ``"law"`` leaves effects of checkpoints out: the difference of the labels in general, as for
        checkpoints yet to come. ``"llm"`` is that of the checkpoints in the fit: of techniques and
        families each side is the average over its own, of tasks both sides are the one that `at`
        names. ``"response"`` adds the noise of evaluations, without ``n_items`` only their
        overdispersion. By default ``"law"``; for checkpoints ``"llm"``.
    ci_prob : float
        Probability of the equal-tailed intervals.
    rope : float, optional
        Margin of the score below which a difference does not matter (region of practical
        equivalence): adds ``prob_equivalent``.
    new_levels : {"error", "uncertainty"}
        What to do with labels that the fit never saw, `a` and `b` included.
    random_seed : int, optional
        Of new labels' effects and the noise. If None, that of the fit.
    **column_names : str
        Canonical name = own column name, for `at`; without it there are none.

    Returns
    -------
    Contrast

    Raises
    ------
    NotFittedError
        If the law was not fitted.
    SpecificationError
        If the level has no effects in the fit, the labels are equal, or an option is unknown.
    UnknownLabelError
        If a label was not in the fit and `new_levels` is ``"error"``.
    ObservationError
        If a task has several chance levels in the fit and `at` does not give one.

    Notes
    -----
    Both sides have the same draws of all parameters, so uncertainty that they share cancels. The
    noise of two evaluations is drawn twice. Where two scores are equal, as where both are 0, they
    count half for ``prob_greater``.

    References
    ----------
    Region of practical equivalence: Kruschke (2018), doi:10.1177/2515245918771304.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("helmet_icl")
    >>> law = bcl.ContextLaw()
    >>> idata = law.fit(obs, draws=50, tune=100, random_seed=1, progressbar=False)
    >>> found = bcl.contrast(law, "technique", "YaRN", "PI", rope=0.02)
    >>> found.confounding.identified
    True
    >>> list(found.overall)[:3]
    ['a', 'b', 'mean']
    """
    check_law(law, "a contrast")
    faults = [
        f"{name}={label!r} must be a label, as text"
        for name, label in (("a", a), ("b", b))
        if not isinstance(label, str)
    ]
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    predictor = law.predictor(random_seed)
    if kind is None:
        kind = "llm" if level == "llm" else "law"
    _check(law, level, a, b, rope, (kind, ci_prob, new_levels))
    if at is None:
        # A slip in the name of an option arrives among the names of columns; here there are none.
        check_mapping([], column_names)
        rows = rows_of_labels(law.obs, level, (a, b))
    else:
        rows = as_design(at, **column_names)
        if "chance" in BELONGS.get(level, ()):
            rows = _without_chance(rows, predictor.encoding, (a, b))
        else:
            rows = predictor.encoding.with_chance(rows)
    sides = sides_of(law.obs, predictor.encoding, rows, level, (a, b), kind)
    predictor.check_labels(sides.all_rows, kind, new_levels)
    summary = _Summary(ci_prob, rope)
    groups, places = points_of(sides.rows, level, ordered=at is None)
    past = sides.past_window
    inside = ~(past[0] | past[1])
    scores, curve, (overall, held), everywhere = _differences(
        predictor, sides, kind, groups, inside, summary
    )
    attrs = {
        "level": level,
        "label_a": a,
        "label_b": b,
        "prediction_kind": kind,
        "ci_prob": float(ci_prob),
        "ci_kind": "equal-tailed",
    }
    if rope is not None:
        attrs["rope"] = float(rope)
    points = common_of_points(sides.rows, groups, places)
    whole = summary.dataset(overall[:, None], ()).assign(
        prob_everywhere=((), everywhere, _words(f"probability that {a} scores higher everywhere"))
    )
    counts = {"rows": len(inside)}
    counts |= {f"rows_past_window_{side}": int(n.sum()) for side, n in zip("ab", past, strict=True)}
    return Contrast(
        level,
        a,
        b,
        sides.rows.assign(scores.data_vars).assign_attrs(attrs),
        points.assign(curve.data_vars).assign_attrs(attrs),
        whole.assign_attrs(attrs | counts),
        *(
            found.assign_attrs(attrs)
            for found in _parameters(sides.totals(predictor, kind), summary)
        ),
        confounding(law.obs, level, a, b),
        None if held is None else summary.dataset(held[:, None], ()).assign_attrs(attrs),
    )


def _check(
    law: Any, level: str, a: str, b: str, rope: float | None, options: tuple[str, float, str]
) -> None:
    faults, said, kind = [], wording().argument, options[0]
    levels = [lv for lv in BASE_LEVELS if lv in law.encoding.labels]
    if level not in levels:
        faults.append(
            f"{said('level', level)}{did_you_mean(level, levels)} has no effects in this fit, "
            f"which has {', '.join(levels)}"
        )
    if a == b:
        faults.append(f"a and b are both {a!r}: give two labels")
    if level == "llm" and kind == "law":
        faults.append(
            f"{said('kind', 'law')} leaves effects of checkpoints out: compare llms with "
            f"{said('kind', 'llm')}"
        )
    if rope is not None and not (isinstance(rope, Real) and 0 < rope < 1):
        faults.append(
            f"{said('rope', rope)} must be a margin of the score between 0 and 1, such as 0.02"
        )
    faults += faults_of_options(*options)
    if faults:
        raise SpecificationError("; ".join(faults) + ".")


def _without_chance(rows: xr.Dataset, encoding: Encoding, labels: tuple[str, str]) -> xr.Dataset:
    """Rows without the chance level, if each of two tasks brings one along from the fit."""
    levels = [encoding.chance.get(label) for label in labels]
    given = "chance" in rows and not is_assumed(rows["chance"].values, rows["chance"].attrs)
    if not given or None in levels:  # a task that the fit never saw, or that has several there
        return rows
    own = np.unique(levels)
    other = ~np.isclose(rows["chance"].values[:, None], own, atol=SAME_CHANCE).any(axis=1)
    if other.any():
        warnings.warn(
            f"`chance` of {rows['chance'].values[other][0]:g} is not used: each of two tasks has "
            f"that of the fit ({' or '.join(f'{c:g}' for c in own)}).",
            UserWarning,
            stacklevel=3,
        )
    return rows.drop_vars("chance")


def _differences(
    predictor: Predictor,
    sides: Sides,
    kind: str,
    groups: np.ndarray,
    inside: np.ndarray,
    summary: _Summary,
) -> tuple[xr.Dataset, xr.Dataset, tuple[np.ndarray, np.ndarray | None], float]:
    """Summaries by row and by point of the curve, draws of the averages, P(greater everywhere).

    The averages are that over all rows and that over the rows `inside`, if these are some of them.
    """
    held = np.zeros((2, predictor.size))
    count = np.bincount(groups)
    sums = np.zeros((2, len(count), predictor.size))
    parts, first = [], 0
    for a, b in sides.draws(predictor, kind):
        parts.append(summary.table(a, b))
        for row in range(a.shape[1]):
            sums[0, groups[first + row]] += a[:, row]
            sums[1, groups[first + row]] += b[:, row]
        chosen = inside[first : first + a.shape[1]]
        held += a[:, chosen].sum(axis=1), b[:, chosen].sum(axis=1)
        first += a.shape[1]
    by_row = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    mean = sums / count[:, None]
    curve = summary.dataset(mean.transpose(2, 1, 0), ("point",))
    whole = (sums.sum(axis=1) / len(groups)).T
    everywhere = float((mean[0] > mean[1]).all(axis=0).mean())
    part = (held / inside.sum()).T if inside.any() and not inside.all() else None
    return summary.labelled(by_row, (OBS_DIM,)), curve, (whole, part), everywhere


def _parameters(
    by_task: dict[str, list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]],
    summary: _Summary,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Parameters of the two sides: of the average task, and of each."""

    def averaged(pairs: list[Any], side: int) -> dict[str, np.ndarray]:
        names = pairs[0][side]
        return {name: np.mean([pair[side][name] for pair in pairs], axis=0) for name in names}

    def summed_up(pairs: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]) -> xr.Dataset:
        both = []
        for side in (0, 1):
            total = averaged(pairs, side)
            own = {name: natural(name, value) for name, value in total.items()}
            if "delta" in own:
                own["window"] = np.exp(own["delta"])
            both.append(np.array(list(own.values())))
        a, b = both
        table = summary.table(a.T, b.T) | _ratios(list(own), a, b, summary)
        return summary.labelled(table, ("parameter",)).assign_coords(parameter=list(own))

    # Every task counts once, however many families or windows its rows have.
    every = [(averaged(pairs, 0), averaged(pairs, 1)) for pairs in by_task.values()]
    each = xr.concat([summed_up(pairs) for pairs in by_task.values()], "task")
    return summed_up(every), each.assign_coords(task=list(by_task))


def _ratios(
    names: list[str], a: np.ndarray, b: np.ndarray, summary: _Summary
) -> dict[str, np.ndarray]:
    """Ratio of the two values, of parameters that are above 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = a / b
    low, middle, high = np.quantile(ratio, summary.probabilities, axis=1)
    blank = np.array([name in ("delta", "rho") for name in names])
    return {
        name: np.where(blank, np.nan, value)
        for name, value in (("ratio", middle), ("ratio_lower", low), ("ratio_upper", high))
    }


@dataclass(frozen=True)
class _Summary:
    """How draws of two sides are summed up."""

    ci_prob: float
    rope: float | None

    @property
    def probabilities(self) -> tuple[float, float, float]:
        tail = (1.0 - self.ci_prob) / 2.0
        return tail, 0.5, 1.0 - tail

    def table(self, a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
        """Of draws (draw, place), numbers (place,) by name."""
        difference = a - b
        low, middle, high = np.quantile(difference, self.probabilities, axis=0)
        out = {
            "a": np.median(a, axis=0),
            "b": np.median(b, axis=0),
            "mean": difference.mean(axis=0),
            "sd": difference.std(axis=0),
            "median": middle,
            "lower": low,
            "upper": high,
            "prob_greater": (0.5 * (1.0 + np.sign(difference))).mean(axis=0),
        }
        if self.rope is not None:
            out["prob_equivalent"] = (np.abs(difference) < self.rope).mean(axis=0)
        return out

    def dataset(self, draws: np.ndarray, dims: tuple[str, ...]) -> xr.Dataset:
        """Of draws (draw, place, side)."""
        table = self.table(draws[..., 0], draws[..., 1])
        if not dims:
            table = {name: value[0] for name, value in table.items()}
        return self.labelled(table, dims)

    def labelled(self, table: dict[str, np.ndarray], dims: tuple[str, ...]) -> xr.Dataset:
        interval = f"{100 * self.ci_prob:g} % equal-tailed interval"
        words = {
            "a": "posterior median of a",
            "b": "posterior median of b",
            "mean": "posterior mean of a − b",
            "sd": "posterior standard deviation of a − b",
            "median": "posterior median of a − b",
            "lower": f"lower end of the {interval} of a − b",
            "upper": f"upper end of the {interval} of a − b",
            "prob_greater": "probability that a is greater; ties count half",
            "prob_equivalent": f"probability that |a − b| is below {self.rope}",
            "ratio": "posterior median of a / b",
            "ratio_lower": f"lower end of the {interval} of a / b",
            "ratio_upper": f"upper end of the {interval} of a / b",
        }
        return xr.Dataset(
            {name: (dims, value, _words(words[name])) for name, value in table.items()}
        )


def _words(text: str) -> dict[str, str]:
    return {"units": "1", "long_name": text}


def _probability(value: float) -> str:
    if value > 0.999:
        return "above 0.999"
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    # Tokens as they are: 32,768 is no 3.277e+04.
    return f"{value:,.0f}" if 1e3 <= value < 1e9 else f"{value:,.4g}"
