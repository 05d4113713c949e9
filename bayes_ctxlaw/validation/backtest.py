"""Backtests: fit on some observations, predict the others, score; any forecasters, any folds."""

from __future__ import annotations

import copy
import inspect
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw import jobs
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.encoding import Encoding, decades_beyond
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.judgement import convergence
from bayes_ctxlaw.likelihoods import exact_scores
from bayes_ctxlaw.observations import as_observations
from bayes_ctxlaw.predict import fault_of_probability, is_probability
from bayes_ctxlaw.schema import OBS_DIM, PREDICTED
from bayes_ctxlaw.seeds import faults_of_seed
from bayes_ctxlaw.validation.result import Backtest
from bayes_ctxlaw.validation.scores import LEVELS, score_rows
from bayes_ctxlaw.validation.splits import MIN_TRAIN, Fold

OUTCOMES = ("score", "n_correct", "task_loss")
"""What an evaluation yields: taken from the rows that a forecaster is asked to predict."""

HIDDEN = (*OUTCOMES, *PREDICTED)
"""All that is taken from them: by the published interval of a score a forecaster of points would be
scored."""

_OWN_OPTIONS = ("random_seed", "progressbar")


def backtest(
    forecasters: Mapping[str, Any],
    obs: Any,
    split: Callable[[xr.Dataset], Iterable[Fold]],
    ci_prob: float = 0.9,
    *,
    fit_options: Mapping[str, Any] | None = None,
    levels: Sequence[float] = LEVELS,
    random_seed: int | None = None,
    progressbar: bool = True,
    **column_names: str,
) -> Backtest:
    """Fit forecasters on a part of the observations and score what they predict for the rest.

    Parameters
    ----------
    forecasters : mapping of str to forecaster
        By the name they shall have in the table. A forecaster has ``fit(obs)`` and
        ``predict(at, ci_prob=...)``, which returns a Dataset with ``mean``, ``median``,
        ``lower`` and ``upper`` for the rows of `at`; not yet fitted. A copy is fitted in every
        fold; those given stay as they are.
    obs : Dataset, DataFrame, path or list of dict
        Whatever ``as_observations`` takes.
    split : callable
        One of ``bcl.splits``, or anything that is called with the observations and gives folds:
        (name, positions of rows to fit, positions of rows to predict).
    ci_prob : float
        Probability of the equal-tailed intervals.
    fit_options : mapping, optional
        Handed to ``fit`` of every forecaster whose ``fit`` names them, such as
        ``{"draws": 500}``.
    levels : sequence of float
        Probabilities of further intervals, to count coverage by; from draws.
    random_seed : int, optional
        Every fit has a seed that follows from this one and the names of forecaster and fold. If
        None, one is drawn; it is kept in ``predictions.attrs``.
    progressbar : bool
        Show how many fits are done.
    **column_names : str
        Canonical name = own column name.

    Returns
    -------
    Backtest

    Raises
    ------
    SpecificationError
        An option, a forecaster or a fold cannot be used; all faults in one message. Or a
        prediction cannot be scored.
    ObservationError
        If the observations are at fault.

    Notes
    -----
    What is held out is predicted without its score (`OUTCOMES` are taken away), as ``response``
    (the noise of an evaluation included), and labels that a fit never saw with
    ``new_levels="uncertainty"``. Where ``fit`` or ``predict`` has an argument ``random_seed``,
    ``progressbar``, ``new_levels`` or ``samples``, it is used.

    Every pair of forecaster and fold is one job of joblib: inside
    ``joblib.parallel_config(backend="loky", n_jobs=4)``, or ``backend="dask"``, they run side by
    side, with the same results.

    Examples
    --------
    A forecaster needs two methods. This one predicts the mean score of each task:

    >>> import bayes_ctxlaw as bcl
    >>> class TaskMean:
    ...     def fit(self, obs):
    ...         self.means = obs["score"].groupby(obs["task"]).mean()
    ...     def predict(self, at, ci_prob=0.9):
    ...         mean = self.means.sel(task=at["task"]).values
    ...         names = ("mean", "median", "lower", "upper")
    ...         return at.assign({name: ("obs_id", mean) for name in names})
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> split = bcl.splits.beyond_context(10_000, in_window=True)
    >>> result = bcl.backtest({"task mean": TaskMean()}, obs, split, progressbar=False)
    >>> int(result.scores.loc[("task mean", "all tasks"), "points"])
    12
    """
    levels = _check(forecasters, split, ci_prob, fit_options, levels, random_seed)
    # A forecaster that cannot do without prompts and windows says so itself.
    obs = as_observations(obs, needs_context=False, **column_names)
    folds = _folds(split, obs)
    fresh = {name: _unfitted(name, forecaster) for name, forecaster in forecasters.items()}
    seed = _root(random_seed)
    settings = _Settings(dict(fit_options or {}), float(ci_prob), levels, seed)
    parts = _run(_fit_and_score, fresh, obs, folds, settings, progressbar)
    return _result(parts, obs, folds, split, settings)


@dataclass(frozen=True)
class _Settings:
    fit_options: dict[str, Any]
    ci_prob: float
    levels: tuple[float, ...]
    seed: int


def _run(
    function: Callable[..., xr.Dataset],
    fresh: Mapping[str, Any],
    obs: xr.Dataset,
    folds: Sequence[Fold],
    settings: _Settings,
    progressbar: bool,
) -> dict[str, list[xr.Dataset]]:
    """What a function like `_fit_and_score` finds in every fold, by forecaster, in their order."""
    table: dict[str, tuple[Any, ...]] = {}
    for name, forecaster in fresh.items():
        for fold in folds:
            train, test = (obs.isel({OBS_DIM: rows}) for rows in (fold.train, fold.test))
            own = replace(settings, seed=_seed(settings.seed, name, fold))
            table[_job(name, fold)] = forecaster, train, test, own
    results = jobs.run(function, table, progressbar, title="fits")
    return {name: [results[_job(name, fold)] for fold in folds] for name in fresh}


def _result(
    parts: Mapping[str, list[xr.Dataset]],
    obs: xr.Dataset,
    folds: list[Fold],
    split: Any,
    settings: _Settings,
) -> Backtest:
    predictions = _gather(parts, obs, folds)
    predictions.attrs |= {
        "ci_prob": settings.ci_prob,
        "split": _words(split),
        "random_seed": settings.seed,
    }
    return Backtest(predictions, _fits(parts, folds))


def _job(name: str, fold: Fold) -> str:
    return f"{name!r} in the fold {fold.name!r}"


def _check(
    forecasters: Any, split: Any, ci_prob: Any, fit_options: Any, levels: Any, random_seed: Any
) -> tuple[float, ...]:
    """Refuse arguments that cannot be used, all in one message; the levels as floats."""
    faults = []
    if not isinstance(forecasters, Mapping) or not forecasters:
        faults.append(
            f"forecasters={type(forecasters).__name__} must be a mapping of names to forecasters, "
            'such as {"law": ContextLaw()}'
        )
        forecasters = {}
    for name, forecaster in forecasters.items():
        faults += _check_forecaster(name, forecaster)
    if not callable(split):
        faults.append(f"split={split!r} must be a split such as splits.beyond_context(10_000)")
    if not is_probability(ci_prob):
        faults.append(fault_of_probability("ci_prob", ci_prob))
    wanted = list(levels) if isinstance(levels, Sequence | np.ndarray) else [levels]
    if not all(map(is_probability, wanted)) or len(set(wanted)) < len(wanted):
        said = wording().argument("levels", levels)
        faults.append(f"{said} must be different numbers between 0 and 1")
    faults += faults_of_seed(random_seed)
    if fit_options is not None and not isinstance(fit_options, Mapping):
        faults.append(f"fit_options={fit_options!r} must be a mapping such as {{'draws': 500}}")
        fit_options = None
    for option in fit_options or {}:
        if option in _OWN_OPTIONS:
            faults.append(f"fit_options: give {option} as an argument of backtest itself")
        elif forecasters and not any(
            option in _arguments(f.fit) for f in forecasters.values() if hasattr(f, "fit")
        ):
            faults.append(f"fit_options: no forecaster's fit has an argument {option!r}")
    if faults:
        raise SpecificationError(f"the backtest cannot start: {'; '.join(faults)}.")
    return tuple(map(float, wanted))


def _check_forecaster(name: Any, forecaster: Any) -> list[str]:
    faults = []
    if not isinstance(name, str) or not name:
        faults.append(f"the name {name!r} of a forecaster must be text")
    if inspect.isclass(forecaster):
        return [*faults, f"{name!r} is a class; give an object: {forecaster.__name__}()"]
    absent = [m for m in ("fit", "predict") if not callable(getattr(forecaster, m, None))]
    if absent:
        what = type(forecaster).__name__
        faults.append(f"{name!r} ({what}) has no method {' and no method '.join(absent)}")
    return faults


def _folds(split: Callable[[xr.Dataset], Iterable[Fold]], obs: xr.Dataset) -> list[Fold]:
    """The folds of a split; those of a user's own split are checked here."""
    given = split(obs)
    parts = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(part, tuple | list) and len(part) == 3 for part in parts):
        wrong = next(p for p in parts if not (isinstance(p, tuple | list) and len(p) == 3))
        length = f" of length {len(wrong)}" if isinstance(wrong, tuple | list) else ""
        raise SpecificationError(
            f"{_words(split)} does not give folds but {type(wrong).__name__}{length}. A split is "
            "called with the observations and gives a list of (name, positions of rows to fit, "
            "positions of rows to predict)."
        )
    folds = [Fold(str(n), np.asarray(a), np.asarray(b)) for n, a, b in parts]
    rows = obs.sizes[OBS_DIM]
    faults = [] if folds else ["there is no fold"]
    names = [fold.name for fold in folds]
    faults += [
        f"two folds are called {n!r}" for n in sorted({n for n in names if names.count(n) > 1})
    ]
    for name, train, test in folds:
        for part, positions, least in (("fit", train, MIN_TRAIN), ("predict", test, 1)):
            if len(positions) < least:
                faults.append(f"{name!r}: {len(positions)} rows to {part}, at least {least} needed")
            elif not np.issubdtype(positions.dtype, np.integer):
                faults.append(f"{name!r}: rows to {part} must be positions, whole numbers from 0")
            elif positions.min() < 0 or positions.max() >= rows:
                faults.append(f"{name!r}: rows to {part} must lie between 0 and {rows - 1}")
            elif len(np.unique(positions)) < len(positions):
                faults.append(f"{name!r}: a row to {part} is named twice")
        positions = all(np.issubdtype(part.dtype, np.integer) for part in (train, test))
        both = np.intersect1d(train, test) if positions else []
        if len(both):
            faults.append(f"{name!r}: {len(both)} rows both to fit and to predict")
    if faults:
        raise SpecificationError(
            f"the folds of {_words(split)} cannot be used: {'; '.join(faults)}."
        )
    return folds


def _words(split: Any) -> str:
    return getattr(split, "__name__", None) or str(split)


def _unfitted(name: str, forecaster: Any) -> Any:
    """A copy to fit: of its own making if it has ``unfitted``, else a deep one."""
    if hasattr(forecaster, "unfitted"):
        return forecaster.unfitted()
    if getattr(forecaster, "idata", None) is not None:
        raise SpecificationError(
            f"{name!r} has been fitted already, and a backtest fits it anew in every fold: give a "
            f"new {type(forecaster).__name__} with the same options."
        )
    with jobs.named(f"a copy of {name!r}"):
        return copy.deepcopy(forecaster)


def _root(random_seed: int | None) -> int:
    return int(np.random.default_rng().integers(2**31) if random_seed is None else random_seed)


def _seed(root: int, name: str, fold: Fold) -> int:
    """Seed of a job: by names, so that it does not depend on what else is fitted, or where."""
    keys = [zlib.crc32(text.encode()) for text in (name, fold.name)]
    return int(np.random.SeedSequence([root, *keys]).generate_state(1)[0]) // 2


def _arguments(function: Callable[..., Any]) -> set[str]:
    """Arguments that can be given by name. What ``**options`` would swallow is not among them."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n for n, p in inspect.signature(function).parameters.items() if p.kind in named}


def _fit_and_score(
    forecaster: Any, train: xr.Dataset, test: xr.Dataset, settings: _Settings
) -> xr.Dataset:
    """One job: fit a copy, predict the held-out rows, score them. Draws do not leave it."""
    return _fit_and_predict(forecaster, train, test, settings)[0]


def _fit_and_predict(
    forecaster: Any, train: xr.Dataset, test: xr.Dataset, settings: _Settings
) -> tuple[xr.Dataset, xr.Dataset]:
    """Scores of the held-out rows, and the prediction with its draws."""
    start = time.perf_counter()
    forecaster = _fitted(forecaster, train, settings)
    seconds = time.perf_counter() - start
    known = _arguments(forecaster.predict)
    options = {
        "random_seed": settings.seed,
        "progressbar": False,
        "samples": True,
        "new_levels": "uncertainty",
    }
    at = test.drop_vars(HIDDEN, errors="ignore")
    prediction = forecaster.predict(
        at, ci_prob=settings.ci_prob, **{k: v for k, v in options.items() if k in known}
    )
    _check_answer(prediction, at, settings.ci_prob)
    rows = score_rows(
        exact_scores(test), prediction, settings.ci_prob, settings.levels, settings.seed
    )
    rows.attrs |= {
        "interval": (prediction.attrs.get("ci_kind"), prediction.attrs.get("prediction_kind")),
        "seconds": seconds,
        "seed": settings.seed,
        "failed_checks": _failed_checks(forecaster),
    }
    beyond = _beyond(train, test)
    rows = rows.assign_coords(axis=list(beyond))
    rows["extrapolation"] = (OBS_DIM, "axis"), np.stack(list(beyond.values()), axis=1)
    return rows, prediction


def _beyond(train: xr.Dataset, test: xr.Dataset) -> dict[str, np.ndarray]:
    """Decades beyond the data of the fit; along compute alone where there are no prompts."""
    if "prompt_tokens" in train and "context_window" in train:
        return Encoding.of(train, {}).extrapolation(test)
    low, high = np.log10([train["compute"].values.min(), train["compute"].values.max()])
    return {"compute": decades_beyond(np.log10(test["compute"].values.astype(float)), low, high)}


def _fitted(forecaster: Any, train: xr.Dataset, settings: _Settings) -> Any:
    """A fitted copy, for threads, and a serial run, share the one given."""
    forecaster = copy.deepcopy(forecaster)
    own = {"random_seed": settings.seed, "progressbar": False}
    known = _arguments(forecaster.fit)
    forecaster.fit(train, **{k: v for k, v in (settings.fit_options | own).items() if k in known})
    return forecaster


def _check_answer(prediction: Any, at: xr.Dataset, ci_prob: float) -> None:
    if not isinstance(prediction, xr.Dataset):
        raise SpecificationError(
            f"predict returned {type(prediction).__name__}; a backtest needs an xarray.Dataset "
            f"with mean, median, lower and upper along {OBS_DIM!r}."
        )
    if OBS_DIM in prediction.coords and not np.array_equal(prediction[OBS_DIM], at[OBS_DIM]):
        raise SpecificationError(
            f"predict returned other rows than it was asked for, or in another order: its "
            f"{OBS_DIM!r} differs from that of `at`."
        )
    stated = prediction.attrs.get("ci_prob", ci_prob)
    if abs(stated - ci_prob) > 1e-9:
        raise SpecificationError(
            f"predict was asked for intervals of probability {ci_prob:g} and returned some of "
            f"{stated:g}."
        )


def _failed_checks(forecaster: Any) -> str | None:
    """Checks of convergence that a sampled fit does not pass; None for one not sampled."""
    members = getattr(forecaster, "members", None)
    if isinstance(members, Mapping):  # of a stack, whose intervals are no better than theirs
        found = {name: _failed_checks(member) for name, member in members.items()}
        sampled = {name: failed for name, failed in found.items() if failed is not None}
        failed = [f"{name!r}: {failed}" for name, failed in sampled.items() if failed]
        return "; ".join(failed) if sampled else None
    tree = getattr(forecaster, "idata", None)
    if not isinstance(tree, xr.DataTree) or not {"posterior", "sample_stats"} <= set(tree):
        return None
    checks = convergence(tree)
    return ", ".join(checks.index[~checks["passed"]])


def _gather(
    parts: Mapping[str, list[xr.Dataset]], obs: xr.Dataset, folds: list[Fold]
) -> xr.Dataset:
    """Observations held out, fold after fold, beside what every forecaster said of them."""
    held_out = obs.isel({OBS_DIM: np.concatenate([fold.test for fold in folds])})
    of_fold = np.repeat([fold.name for fold in folds], [len(fold.test) for fold in folds])
    names = list(parts)
    joined = {}
    for name, of_forecaster in parts.items():
        # Numbers are put together by position: the same row may be held out in several folds.
        joined[name] = xr.concat(
            [rows.drop_attrs() for rows in of_forecaster],
            dim=OBS_DIM,
            data_vars="minimal",
            coords="minimal",
            compat="equals",
            join="exact",
        )
    extrapolation = joined[names[0]]["extrapolation"]
    scored = xr.concat(
        [rows.drop_vars("extrapolation") for rows in joined.values()],
        dim=pd.Index(names, name="forecaster"),
        join="exact",
    )
    out = held_out.assign({name: v.variable for name, v in scored.data_vars.items()})
    out = out.assign_coords(
        forecaster=names,
        level=scored["level"].values,
        axis=extrapolation["axis"].values,
        fold=(OBS_DIM, of_fold.astype(object)),
        form=("forecaster", [_joint(r.attrs["form"] for r in rows) for rows in parts.values()]),
    )
    out["extrapolation"] = extrapolation.variable
    stated = [rows.attrs["interval"] for of_one in parts.values() for rows in of_one]
    out.attrs |= {
        "ci_kind": _joint(ci for ci, _ in stated if ci) or "",
        "prediction_kind": _joint(kind for _, kind in stated if kind) or "response",
    }
    return out


def _joint(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(values))


def _fits(parts: Mapping[str, list[xr.Dataset]], folds: list[Fold]) -> pd.DataFrame:
    rows = [
        {
            "forecaster": name,
            "fold": fold.name,
            "train": len(fold.train),
            "test": len(fold.test),
            "seed": part.attrs["seed"],
            "failed_checks": part.attrs["failed_checks"],
            "seconds": part.attrs["seconds"],
        }
        for name, of_forecaster in parts.items()
        for fold, part in zip(folds, of_forecaster, strict=True)
    ]
    return pd.DataFrame(rows).set_index(["forecaster", "fold"])
