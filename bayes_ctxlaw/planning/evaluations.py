"""The value of evaluations not made yet: how far each is expected to narrow an interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.encoding import is_number
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.planning._rows import check_draws, names_of, number, read_points, with_rows
from bayes_ctxlaw.planning._variance import explained
from bayes_ctxlaw.predict import faults_of_options
from bayes_ctxlaw.schema import LABELS, NUMBERS, OBS_DIM

_ROWS_AT_ONCE = 256  # whose simulated scores are in memory together: 8 MiB at 4,000 draws


def next_evaluation(
    law: Any,
    candidates: Any,
    *,
    at: Any,
    cost: str | None = None,
    budget: float | None = None,
    kind: str = "llm",
    ci_prob: float = 0.9,
    new_levels: str = "error",
    random_seed: int | None = None,
) -> xr.Dataset:
    """Rank evaluations not made yet by how far they are expected to narrow an interval.

    Parameters
    ----------
    law : ContextLaw
        Fitted. One draw of it must have the same parameters in every call of ``predict``.
    candidates : mapping, Dataset, DataFrame, path or list of dict
        What could be evaluated: a table, or a mapping of the axes of a ``grid``, with the columns
        of a design and ``n_items``. Every row is a candidate by itself, unless a column
        ``candidate`` names them: rows of one name are evaluated together, such as a new checkpoint
        on several tasks and prompt lengths.
    at : mapping, Dataset, DataFrame, path or list of dict
        The places of interest, rows of a design. What is gained is averaged over them.
    cost : str, optional
        Column of `candidates` with the cost of each row; that of a candidate is the sum. If None,
        the tokens read: ``n_items`` times ``prompt_tokens``.
    budget : float, optional
        Candidates that cost more are ranked after all others, as not affordable.
    kind : {"llm", "law", "response"}
        Of the intervals at the places of interest, as in ``law.predict``. The noise of an
        evaluation there (``"response"``) is not reduced by any other evaluation.
    ci_prob : float
        Probability of the equal-tailed intervals.
    new_levels, random_seed
        As in ``law.predict``. A candidate with a label of its own, such as a checkpoint that the
        fit never saw, needs ``new_levels="uncertainty"``.

    Returns
    -------
    xr.Dataset
        Along ``candidate``, the best first:

        - ``task``, ``llm``, ``rows``, ``n_items``, ``cost``, ``affordable``;
        - ``reduction``: expected reduction of the variance, mean over the places, and
          ``reduction_mcse``, its Monte Carlo standard error;
        - ``reduction_share``: the same as a share of the variance now;
        - ``reduction_per_cost``;
        - ``mean_width_now``, ``mean_width_after``: of the interval, mean over the places.

        And along ``obs_id``, the places with their labels and numbers: ``width_now``, ``sd_now``,
        and with ``candidate``, ``width_after`` and ``sd_after``. ``attrs["sentence"]`` says which
        is best. `plan_table` gives a table.

    Raises
    ------
    NotFittedError
        The law was not fitted.
    SpecificationError
        An option is wrong, the candidates lack a column, or none is affordable.
    ObservationError, UnknownLabelError
        As ``law.predict``.

    Notes
    -----
    A score y of the candidate is simulated from every draw of the posterior, and the prediction f
    of the same draw regressed on it. What the regression leaves over is the expected variance
    of f once y is known, E Var(f | y), and no fit has to be repeated. The regression is a
    cubic in the normal scores of y, additive over the rows of a candidate, so it gives what the
    candidate tells at least. The width is taken to shrink as the standard deviation. Single draws
    of the reduction scatter, hence the Monte Carlo error: candidates closer than that are level,
    and a reduction of nothing may come out a little below 0.

    References
    ----------
    Expected variance of a posterior by regression on simulated data: Strong, Oakley and Brennan
    (2014), doi:10.1177/0272989X13505910.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> law = bcl.ContextLaw()
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> idata = law.fit(obs, draws=50, tune=50, thin=1, random_seed=1, progressbar=False)
    >>> known = {"llm": "Llama-2-7B-128k", "family": "Llama-2", "technique": "YaRN",
    ...          "compute": 7.78e22, "context_window": 131072}
    >>> at = known | {"task": "arithmetic reasoning", "prompt_tokens": 100_000}
    >>> candidates = known | {"task": "arithmetic reasoning", "n_items": 500,
    ...                       "prompt_tokens": [1000, 10_000, 60_000]}
    >>> plan = next_evaluation(law, candidates, at=at, budget=10_000_000)
    >>> plan["affordable"].values.tolist()
    [True, True, False]
    """
    faults = faults_of_options(kind, ci_prob, new_levels)
    if budget is not None and not (is_number(budget) and budget > 0):
        faults.append(
            f"{wording().argument('budget', budget)} must be a number above 0; without it "
            "everything is affordable"
        )
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    check_draws(law)
    places, _ = read_points(at, "at")
    rows, _ = read_points(candidates, "candidates")
    members = _members(rows)
    costs = _costs(rows, members, cost)
    _check_affordable(costs, budget)
    options = {"ci_prob": ci_prob, "new_levels": new_levels, "random_seed": random_seed}
    # The reduction is that of the curve: noise at the place of interest is nobody's to reduce.
    curve = law.predict(places, kind="law" if kind == "law" else "llm", samples=True, **options)
    shown = curve
    if kind == "response":
        shown = law.predict(places, kind=kind, **options)
    target = curve["samples"].transpose("chain", "draw", OBS_DIM).values
    found = _reductions(law, rows, members, target, options)
    out = _labelled(rows, members, costs, found, shown, budget).assign_attrs(
        prediction_kind=kind,
        ci_prob=float(ci_prob),
        ci_kind="equal-tailed",
        new_levels=new_levels,
        cost_unit=cost or "tokens",
    )
    if budget is not None:
        out.attrs["budget"] = float(budget)
    return out.assign_attrs(sentence=_sentence(out))


def _members(rows: xr.Dataset) -> dict[str, np.ndarray]:
    """Rows of every candidate, by its name."""
    if "candidate" not in rows:
        frame = rows[[n for n in (*LABELS, *NUMBERS) if n in rows]].to_dataframe()
        names = names_of(frame.reset_index(drop=True), always=("prompt_tokens",))
        return {name: np.array([i]) for i, name in enumerate(names)}
    given = pd.Series(rows["candidate"].values)
    labels = given.astype(str).to_numpy(dtype=str)
    blank = given.isna().to_numpy() | (np.char.strip(labels) == "")
    if blank.any():
        empty = np.flatnonzero(blank)
        raise SpecificationError(
            f"`candidate` is blank in {len(empty)} row(s) of the candidates, the first is row "
            f"{empty[0]}. Name every row, or leave the column out: then each is one by itself."
        )
    return {name: np.flatnonzero(labels == name) for name in dict.fromkeys(labels.tolist())}


def _costs(rows: xr.Dataset, members: Mapping[str, np.ndarray], cost: str | None) -> np.ndarray:
    faults = []
    if "n_items" not in rows or np.isnan(rows["n_items"].values).any():
        lacking = "" if "n_items" not in rows else " in some rows"
        faults.append(
            f"they lack `n_items`{lacking}: how much a score tells depends on the items behind it"
        )
    if cost is not None and cost not in rows:
        faults.append(
            f"{wording().argument('cost', cost)} is not one of their columns "
            f"({', '.join(map(str, rows))})"
        )
    if faults:
        raise SpecificationError(f"the candidates cannot be ranked: {'; '.join(faults)}.")
    if cost is None:
        each = rows["n_items"].values * rows["prompt_tokens"].values
    else:
        each = pd.to_numeric(pd.Series(rows[cost].values), errors="coerce").to_numpy(dtype=float)
        bad = np.flatnonzero(~(np.isfinite(each) & (each > 0)))
        if bad.size:
            raise SpecificationError(
                f"the column `{cost}` of the candidates must hold numbers above 0; row {bad[0]} "
                f"holds {rows[cost].values.tolist()[bad[0]]!r} ({bad.size} such row(s))."
            )
    return np.array([each[own].sum() for own in members.values()])


def _check_affordable(costs: np.ndarray, budget: float | None) -> None:
    if budget is not None and not (costs <= budget).any():
        raise SpecificationError(
            f"no candidate is affordable: the cheapest of {len(costs)} costs "
            f"{number(costs.min())}, the budget is {number(budget)}. Give candidates with fewer "
            "items or shorter prompts, or a larger budget."
        )


def _reductions(
    law: Any,
    rows: xr.Dataset,
    members: Mapping[str, np.ndarray],
    target: np.ndarray,
    options: Mapping[str, Any],
) -> list[tuple[np.ndarray, float]]:
    """Of every candidate, the expected reduction at each place, and the error of their mean."""
    found = []
    for part in _parts(list(members.values())):
        design = rows.isel({OBS_DIM: np.concatenate(part)})
        # Its rows count from 0 in every part, so parts share their noise; each candidate has its
        # own rows in one part, where noise is independent.
        drawn = law.predict(design, kind="response", samples=True, **options)["samples"]
        scores = drawn.transpose("chain", "draw", OBS_DIM).values
        if scores.shape[:2] != target.shape[:2]:
            raise SpecificationError(
                f"a {type(law).__name__} cannot be planned with: its draws with an evaluation's "
                "noise are not those of the curves without. Use a ContextLaw."
            )
        first = 0
        for own in part:
            found.append(explained(target, scores[..., first : first + len(own)]))
            first += len(own)
    return found


def _parts(members: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Candidates in parts of a limited number of rows, none of them cut."""
    parts: list[list[np.ndarray]] = [[]]
    for own in members:
        if parts[-1] and sum(map(len, parts[-1])) + len(own) > _ROWS_AT_ONCE:
            parts.append([])
        parts[-1].append(own)
    return parts


def _labelled(
    rows: xr.Dataset,
    members: Mapping[str, np.ndarray],
    costs: np.ndarray,
    found: list[tuple[np.ndarray, float]],
    shown: xr.Dataset,
    budget: float | None,
) -> xr.Dataset:
    reduction = np.stack([by_place for by_place, _ in found])
    now = shown["sd"].values ** 2
    width = (shown["upper"] - shown["lower"]).values
    # A reduction is estimated, and of a variance near 0 may come out above it.
    share = np.clip(reduction / np.where(now > 0, now, 1.0), None, 1.0)
    kept = np.sqrt(1.0 - share)
    columns: dict[str, Any] = {
        name: [
            " + ".join(dict.fromkeys(rows[name].values[own].tolist())) for own in members.values()
        ]
        for name in ("task", "llm")
    }
    columns["rows"] = [len(own) for own in members.values()]
    columns["n_items"] = [rows["n_items"].values[own].sum() for own in members.values()]
    columns["cost"] = costs
    columns["affordable"] = costs <= (np.inf if budget is None else budget)
    columns["reduction"] = reduction.mean(axis=1)
    columns["reduction_mcse"] = [error for _, error in found]
    columns["reduction_share"] = reduction.mean(axis=1) / now.mean()
    columns["reduction_per_cost"] = reduction.mean(axis=1) / costs
    columns["mean_width_now"] = np.full(len(costs), width.mean())
    columns["mean_width_after"] = (width * kept).mean(axis=1)
    out = with_rows(
        shown[[n for n in (*LABELS, *NUMBERS) if n in shown]].to_dataframe().reset_index(drop=True)
    )
    out = out.rename_vars({name: f"at_{name}" for name in out.data_vars})
    out["width_now"], out["sd_now"] = (OBS_DIM, width), (OBS_DIM, np.sqrt(now))
    out = out.assign({name: ("candidate", np.asarray(v)) for name, v in columns.items()})
    out["width_after"] = ("candidate", OBS_DIM), width * kept
    out["sd_after"] = ("candidate", OBS_DIM), np.sqrt(now) * kept
    out = out.assign_coords(candidate=list(members))
    order = np.lexsort((-columns["reduction"], ~columns["affordable"]))
    return out.isel(candidate=order)


def _sentence(out: xr.Dataset) -> str:
    count, places, unit = out.sizes["candidate"], out.sizes[OBS_DIM], out.attrs["cost_unit"]
    able = out.isel(candidate=np.flatnonzero(out["affordable"].values))
    text = f"There {'is 1 candidate' if count == 1 else f'are {count} candidates'}. "
    if "budget" in out.attrs:
        budget = number(out.attrs["budget"])
        text = f"{able.sizes['candidate']} of {count} candidates cost at most {budget} {unit}. "
    interval = (
        f"{100 * out.attrs['ci_prob']:g} % equal-tailed interval ({out.attrs['prediction_kind']})"
    )
    where = "" if places == 1 else f", the mean of {places} places"
    # Below twice its error a reduction is not told from none.
    sure = able["reduction"].values > 2 * able["reduction_mcse"].values
    best = able.isel(candidate=0)
    if not sure.any():
        return (
            f"{text}None is expected to narrow the {interval} at the place of interest by more "
            "than the error of this calculation."
        )
    text += (
        f"Expected to narrow the {interval} most is {best['candidate'].item()} "
        f"({number(float(best['cost']))} {unit}): from {float(best['mean_width_now']):.3f} to "
        f"{float(best['mean_width_after']):.3f}{where}."
    )
    thrifty = int(np.where(sure, able["reduction_per_cost"].values, -np.inf).argmax())
    if thrifty > 0:
        other = able.isel(candidate=thrifty)
        text += (
            f" For its cost, {other['candidate'].item()} ({number(float(other['cost']))} {unit}) "
            f"narrows it most: to {float(other['mean_width_after']):.3f}."
        )
    return text
