"""The context or the compute that a target score needs."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.encoding import is_number
from bayes_ctxlaw.errors import NotFittedError, SpecificationError
from bayes_ctxlaw.planning._rows import (
    check_draws,
    names_of,
    number,
    read_points,
    settings,
    with_rows,
)
from bayes_ctxlaw.planning._search import STATES, Wanted, search
from bayes_ctxlaw.predict import check_law, fault_of_probability, faults_of_options
from bayes_ctxlaw.schema import OBS_DIM, SCHEMA

DECADES_OF_COMPUTE = 3
"""How far beyond the largest compute of the data a search goes unless told otherwise."""

_WORDS = {"prompt_tokens": "prompt tokens", "compute": "FLOP"}


def required_context(
    law: Any,
    target: float,
    prob: float = 0.9,
    *,
    at: Any,
    kind: str = "llm",
    ci_prob: float = 0.9,
    new_levels: str = "error",
    random_seed: int | None = None,
    points: int = 200,
) -> xr.Dataset:
    """Fewest prompt tokens at which a score reaches a target with a given probability.

    Parameters
    ----------
    law : ContextLaw
        Fitted.
    target : float
        Score to reach, between 0 and 1.
    prob : float
        Probability with which it shall be reached.
    at : mapping, Dataset, DataFrame, path or list of dict
        The settings to answer for: a table, or a mapping of the axes of a ``grid``, in either case
        without ``prompt_tokens``. The search then goes from the shortest prompt of the fit to the
        window of each row. Several values of ``prompt_tokens`` in an otherwise equal setting are a
        range to search; a single one is where the search starts.
    kind : {"llm", "law", "response"}
        What shall reach the target, as in ``law.predict``: the checkpoint's score, that of a
        checkpoint without an effect of its own, or what an evaluation of ``n_items`` will show.
    ci_prob : float
        Probability of the equal-tailed interval of the crossing.
    new_levels, random_seed
        As in ``law.predict``.
    points : int
        Values at which every curve is computed, evenly spaced in their logarithm; between two of
        them it is interpolated.

    Returns
    -------
    xr.Dataset
        Along ``obs_id``, a row for every setting: its labels and numbers, and

        - ``state``: ``"reachable"``, ``"already reached"`` at the low end of the range, or
          ``"not reachable"`` in it;
        - ``required``: the smallest value that reaches the target with `prob`; blank if none does;
        - ``median``, ``lower``, ``upper``: of the value at which the curve first crosses the
          target, the posterior's median and interval. Infinite where it is not crossed in the
          range; the low end of the range where it is above the target from there on;
        - ``already``, ``never``: the probability that the curve is above it from the low end of the
          range, and that it does not cross it there;
        - ``highest_probability``: the largest probability with which the target is reached
          anywhere in the range;
        - ``ceiling``, ``ceiling_at``: the highest score that is reached with `prob`, and where;
        - ``searched_from``, ``searched_to``: the range;
        - ``extrapolation``: decades that ``required`` (if blank, ``ceiling_at``) lies beyond the
          data, by axis.

        ``attrs["sentence"]`` says it, one line a row. `plan_table` gives a table.

    Raises
    ------
    NotFittedError
        The law was not fitted.
    SpecificationError
        An option or a range is wrong, or the target is already reached in all settings.
    ObservationError, UnknownLabelError
        As ``law.predict``.

    Notes
    -----
    The crossing is that of the curve without the noise of an evaluation, for kind
    ``"response"`` as well. Where curves only rise, ``required`` of the other kinds is the quantile
    `prob` of the crossing. Prompts of a cell are taken to be of one length.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> law = bcl.ContextLaw()
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> idata = law.fit(obs, draws=50, tune=50, thin=1, random_seed=1, progressbar=False)
    >>> at = {"task": "arithmetic reasoning", "llm": "Llama-2-7B-128k", "family": "Llama-2",
    ...       "technique": "YaRN", "compute": 7.78e22, "context_window": 131072}
    >>> needed = required_context(law, target=0.1, at=at)
    >>> needed["state"].item(), bool(100 < needed["required"] < 5000)
    ('reachable', True)
    """
    wanted = Wanted("prompt_tokens", target, prob, kind, ci_prob, new_levels, random_seed, points)
    return _required(law, wanted, at)


def required_compute(
    law: Any,
    target: float,
    prob: float = 0.9,
    *,
    at: Any,
    kind: str = "llm",
    ci_prob: float = 0.9,
    new_levels: str = "error",
    random_seed: int | None = None,
    points: int = 200,
) -> xr.Dataset:
    """Least training compute with which a score reaches a target with a given probability.

    Parameters
    ----------
    law, target, prob, kind, ci_prob, new_levels, random_seed, points
        As in `required_context`.
    at : mapping, Dataset, DataFrame, path or list of dict
        As in `required_context`, but without ``compute`` (or ``n_params`` and ``train_tokens``).
        The search then goes from the least compute of the fit to 1000 times the largest.

    Returns
    -------
    xr.Dataset
        As from `required_context`; values are FLOP.

    Raises
    ------
    NotFittedError, SpecificationError, ObservationError, UnknownLabelError
        As `required_context`.

    Notes
    -----
    With enough compute the compute term comes as near to 1 as one likes, so "not reachable" means:
    not within the range. For a larger model that does not exist yet, give its ``llm`` a new label
    and ``new_levels="uncertainty"``; a label of the fit stands for that checkpoint's own effect.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> law = bcl.ContextLaw()
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> idata = law.fit(obs, draws=50, tune=50, thin=1, random_seed=1, progressbar=False)
    >>> at = {"task": "arithmetic reasoning", "llm": "a larger one", "family": "Llama-2",
    ...       "technique": "YaRN", "context_window": 131072, "prompt_tokens": 4000}
    >>> needed = required_compute(law, target=0.2, at=at, new_levels="uncertainty")
    >>> needed["required"].attrs["units"]
    'FLOP'
    """
    wanted = Wanted("compute", target, prob, kind, ci_prob, new_levels, random_seed, points)
    return _required(law, wanted, at)


def _required(law: Any, wanted: Wanted, at: Any) -> xr.Dataset:
    _check(wanted)
    check_draws(law)
    check_law(law, "a plan", "obs")
    if law.obs is None:
        raise NotFittedError("this law has no posterior yet: call law.fit(obs) first.")
    design, given = read_points(at, "at", without=wanted.variable)
    rows, group = settings(design, wanted.variable)
    names = names_of(rows)
    low, high = _ranges(law.obs, wanted.variable, rows, group, design if given else None, names)
    found = []
    for i in range(len(rows)):
        values = np.geomspace(low[i], high[i], wanted.points)
        found.append(search(law, wanted, rows.iloc[[i]], values))
    out = _labelled(wanted, rows, found)
    lines = [_sentence(wanted, name, out.isel(obs_id=i)) for i, name in enumerate(names)]
    if (out["state"] == STATES[1]).all():
        raise SpecificationError(
            f"the target {wanted.target:g} is not above the present score, so there is nothing to "
            f"look for: {' '.join(lines)} Give a higher target, or a range of "
            f"`{wanted.variable}` that starts lower."
        )
    return out.assign_attrs(sentence="\n".join(lines))


def _check(wanted: Wanted) -> None:
    faults = [
        fault_of_probability(name, value)
        for name, value in (("target", wanted.target), ("prob", wanted.prob))
        if not (is_number(value) and 0 < value < 1)
    ]
    if not (isinstance(wanted.points, Integral) and wanted.points >= 2):
        faults.append(f"points={wanted.points!r} must be a whole number, at least 2")
    faults += faults_of_options(wanted.kind, wanted.ci_prob, wanted.new_levels)
    if faults:
        raise SpecificationError("; ".join(faults) + ".")


def _ranges(
    obs: xr.Dataset,
    variable: str,
    rows: pd.DataFrame,
    group: np.ndarray,
    given: xr.Dataset | None,
    names: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Where the search of every setting starts and ends."""
    low = np.full(len(rows), float(obs[variable].min()))
    if variable == "compute":
        high = np.full(len(rows), float(obs[variable].max()) * 10.0**DECADES_OF_COMPUTE)
    else:
        high = rows["context_window"].to_numpy(dtype=float)
    if given is not None:
        spans = pd.Series(given[variable].values).groupby(group).agg(["min", "max"])
        low = spans["min"].to_numpy()
        high = np.where(spans["max"] > low, spans["max"], high)
    bad = [
        f"{name}: from {number(a)} to {number(b)}"
        for name, a, b in zip(names, low, high, strict=True)
        if not a < b
    ]
    if bad:
        raise SpecificationError(
            f"there is no range of `{variable}` to search in {len(bad)} setting(s) "
            f"({'; '.join(bad[:5])}{'; …' if len(bad) > 5 else ''}). Give two values of "
            f"`{variable}` in each, the lowest and the highest to consider."
        )
    return low, high


def _labelled(wanted: Wanted, rows: pd.DataFrame, found: list[dict[str, Any]]) -> xr.Dataset:
    out = with_rows(rows)
    units = SCHEMA[wanted.variable].units
    interval = f"{100 * wanted.ci_prob:g} % equal-tailed interval of the crossing"
    texts = {
        "state": ("", "whether the target is reached in the range"),
        "required": (units, "smallest value that reaches the target with the probability"),
        "median": (units, "posterior median of the crossing"),
        "lower": (units, f"lower end of the {interval}"),
        "upper": (units, f"upper end of the {interval}"),
        "already": ("1", "probability that the curve is above it from the low end of the range"),
        "never": ("1", "probability that the curve does not cross the target in the range"),
        "highest_probability": ("1", "largest probability of reaching the target in the range"),
        "ceiling": ("1", "highest score that is reached with the probability in the range"),
        "ceiling_at": (units, "where that is"),
        "searched_from": (units, "low end of the range"),
        "searched_to": (units, "high end of the range"),
    }
    for name, (unit, text) in texts.items():
        values = np.array([one[name] for one in found])
        out[name] = (OBS_DIM, values, {"units": unit, "long_name": text} if unit else {})
    beyond = xr.concat([one["extrapolation"] for one in found], dim=OBS_DIM, coords="minimal")
    out["extrapolation"] = (OBS_DIM, "axis"), beyond.transpose(OBS_DIM, "axis").values
    out["extrapolation"].attrs |= found[0]["extrapolation"].attrs
    return out.assign_coords(axis=beyond["axis"].values).assign_attrs(
        variable=wanted.variable,
        target=float(wanted.target),
        prob=float(wanted.prob),
        prediction_kind=wanted.kind,
        ci_prob=float(wanted.ci_prob),
        ci_kind="equal-tailed",
        new_levels=wanted.new_levels,
    )


def _sentence(wanted: Wanted, name: str, one: xr.Dataset) -> str:
    unit, state = _WORDS[wanted.variable], one["state"].item()

    def said(what: str) -> str:
        value = float(one[what])
        if what in ("lower", "median", "upper") and value == float(one["searched_from"]):
            return f"{number(value)} or less"
        return f"beyond {said('searched_to')}" if np.isinf(value) else number(value)

    aim = f"{name}: a score of {wanted.target:g}"
    sure = f"with probability {wanted.prob:g} ({wanted.kind})"
    if state == STATES[1]:
        return f"{aim} is already reached at {said('searched_from')} {unit}, {sure}."
    if state == STATES[2]:
        return (
            f"{aim} is not reachable {sure} between {said('searched_from')} and "
            f"{said('searched_to')} {unit}: ceiling is {said('ceiling')}, at {said('ceiling_at')} "
            f"{unit}; {wanted.target:g} has a probability of {said('highest_probability')} at most."
        )
    noise = ", without the noise of an evaluation," if wanted.kind == "response" else ""
    text = (
        f"{aim} is reached {sure} at {said('required')} {unit}; the curve{noise} first crosses it "
        "between "
        f"{said('lower')} and {said('upper')} ({100 * wanted.ci_prob:g} % equal-tailed interval, "
        f"median {said('median')})."
    )
    beyond = float(one["extrapolation"].sel(axis=wanted.variable))
    return f"{text} That is {beyond:.1f} decades beyond the data." if beyond >= 0.05 else text
