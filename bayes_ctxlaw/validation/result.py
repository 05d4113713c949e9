"""What a backtest found: predictions of held-out scores, tables of how they fared, in words."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._html import table as html_table
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.judgement import interval_name
from bayes_ctxlaw.schema import OBS_DIM
from bayes_ctxlaw.validation.scores import MEASURES, all_of, mean_and_error, summarise

_FEW = 10  # checkpoints, below which a standard error over them is rough


@dataclass(frozen=True, eq=False)
class Backtest:
    """Predictions of held-out scores by several forecasters, and how they fared.

    Attributes
    ----------
    predictions : xr.Dataset
        Along ``obs_id`` the observations that were held out, with their ``fold``; where folds
        overlap, a row comes once for each. Along ``forecaster`` and ``obs_id`` ``mean``,
        ``median``, ``lower``, ``upper``, ``absolute_error``, ``crps``, ``interval_score``,
        ``covered``, ``width`` and ``pit``; along ``level`` too, ``covered_at``.
        ``extrapolation`` says how far each row lies beyond the data of its fit.
        ``predictions.sel(forecaster="law")`` has the form of what ``law.predict`` returns.
    fits : pandas.DataFrame
        Index ``forecaster``, ``fold``. Columns ``train`` and ``test`` (rows), ``seed``,
        ``failed_checks`` (of convergence; empty if all passed, blank if the forecaster does not
        sample) and ``seconds``.
    """

    predictions: xr.Dataset
    fits: pd.DataFrame

    @property
    def scores(self) -> pd.DataFrame:
        """Mean scores by forecaster and task; see `score_table`."""
        return self.score_table()

    @property
    def totals(self) -> pd.DataFrame:
        """Mean scores over all held-out rows, by forecaster; columns as of `score_table`."""
        # By place: a task may be called as all of them together are.
        return self.scores.groupby(level="forecaster", sort=False).tail(1).droplevel("task")

    def score_table(self, by: str = "task", cluster: str = "llm") -> pd.DataFrame:
        """Mean scores with standard errors, by forecaster and label.

        Parameters
        ----------
        by : str
            ``"task"``, ``"fold"`` or another label of the observations.
        cluster : str
            Label whose rows are not independent of each other, which the standard errors allow
            for: all scores of one checkpoint stand or fall together. ``"family"`` is stricter.

        Returns
        -------
        pandas.DataFrame
            Index ``forecaster`` and `by`, the last of each forecaster ``all`` (``all tasks``).
            Columns ``points``, ``clusters`` (number of checkpoints), ``mae`` (of the median),
            ``crps``, ``interval_score``, ``coverage`` (share inside the interval) and ``width``
            (of the interval), each followed by its standard error, ``mae_se`` and so on. The
            standard error is NaN where all rows are of one checkpoint, and rough with few.

        Raises
        ------
        SpecificationError
            The observations have no such label.
        """
        check_labels(self.predictions, by=by, cluster=cluster)
        tables = {name: summarise(self._rows(name), by, cluster) for name in self._names}
        return pd.concat(tables, names=["forecaster"])

    @property
    def calibration(self) -> pd.DataFrame:
        """Share of scores inside intervals of several probabilities.

        Returns
        -------
        pandas.DataFrame
            Index ``forecaster`` and ``task``; columns: the probabilities. NaN for a forecaster
            that has no draws to make such intervals from.
        """
        inside, tables = self.predictions["covered_at"], {}
        task = self.predictions["task"].values
        for name in self._names:
            shares = pd.DataFrame(
                inside.sel(forecaster=name).transpose(OBS_DIM, "level").values,
                columns=pd.Index(self.predictions["level"].values, name="probability"),
            )
            groups = [*shares.groupby(task, sort=False), (all_of("task"), shares)]
            tables[name] = pd.DataFrame(
                [group.mean() for _, group in groups],
                index=pd.Index([label for label, _ in groups], name="task"),
            )
        return pd.concat(tables, names=["forecaster"])

    def differences(
        self, reference: str, score: str = "crps", by: str = "task", cluster: str = "llm"
    ) -> pd.DataFrame:
        """How much worse or better than one of them the other forecasters score, row by row.

        All forecasters meet the same rows, so a difference is known far better than the standard
        errors of two means suggest.

        Parameters
        ----------
        reference : str
            Name of the forecaster to compare with.
        score : {"crps", "mae", "interval_score", "width"}
            What to compare; negative: better (narrower) than the reference.
        by, cluster : str
            As in `score_table`.

        Returns
        -------
        pandas.DataFrame
            Index ``forecaster`` and `by`; columns ``difference`` and ``difference_se``.

        Raises
        ------
        SpecificationError
            There is no such forecaster, score or label.
        """
        faults = _faults_of_labels(self.predictions, {"by": by, "cluster": cluster})
        choices = [name for name in MEASURES if name != "coverage"]
        if reference not in self._names:
            faults.append(f"reference={reference!r} is not one of {self._names}")
        if score not in choices:
            faults.append(f"score={score!r} is not one of {choices}")
        elif reference in self._names and self._rows(reference)[MEASURES[score]].isna().any():
            faults.append(
                f"{reference!r} has no {score}, as it gives no draws or no intervals: compare with "
                "another, or by score='mae'"
            )
        if faults:
            raise SpecificationError("; ".join(faults) + ".")
        labels, found = [], []
        base = self._rows(reference)
        for name in self._names:
            if name == reference:
                continue
            rows = self._rows(name)
            rows["difference"] = rows[MEASURES[score]] - base[MEASURES[score]]
            for label, group in [*rows.groupby(by, sort=False), (all_of(by), rows)]:
                values, clusters = group["difference"].to_numpy(), group[cluster].to_numpy()
                labels.append((name, label))
                found.append(mean_and_error(values, clusters))
        index = pd.MultiIndex.from_tuples(labels, names=["forecaster", by])
        return pd.DataFrame(found, index=index, columns=["difference", "difference_se"])

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know about it, one sentence each."""
        notes = []
        for name, form in zip(self._names, self.predictions["form"].values, strict=True):
            if "interval" in form:
                notes.append(
                    f"{name!r} gives intervals without draws, so it has no CRPS: its predict takes "
                    "no samples=True."
                )
            elif "point" in form:
                blank = self.predictions["covered"].sel(forecaster=name).isnull().all()
                none = " and it has no intervals to score" if blank else ""
                notes.append(f"{name!r} gives points: its CRPS is the absolute error{none}.")
        sampled = self.fits["failed_checks"].dropna()
        failed = sampled[sampled != ""]
        if len(failed):
            names = ", ".join(map(repr, dict.fromkeys(failed.index.get_level_values(0))))
            notes.append(
                f"{len(failed)} of {len(sampled)} sampled fits do not pass their checks of "
                f"convergence ({names}; see `fits`): do not rely on their intervals."
            )
        count = self.predictions["llm"].to_series().nunique()
        if count == 1:
            notes.append(
                "All held-out scores are of one checkpoint: there are no standard errors, and "
                "they may stand or fall together."
            )
        else:
            rough = "; over so few they are rough" if count < _FEW else ""
            notes.append(
                "Standard errors (±) allow for dependence between the scores of one checkpoint "
                f"({count} checkpoints{rough})."
            )
        return notes

    def sentence(self) -> str:
        """Say in a sentence what was held out and how the best forecaster fared.

        Returns
        -------
        str
            The best has the smallest CRPS, or the smallest mean absolute error if one of them has
            no CRPS.
        """
        total = self.totals
        measure, title = ("crps", "CRPS")
        if total["crps"].isna().any():
            measure, title = ("mae", "mean absolute error")
        best = total[measure].idxmin()
        points = total.loc[best, "points"]
        folds = len(set(self.predictions["fold"].values))
        smallest = "" if len(total) == 1 else "the smallest "
        said = (
            f"{points:.0f} scores of {_count(total.loc[best, 'clusters'], 'checkpoint')} were held "
            f"out in {_count(folds, 'fold')} by {self.predictions.attrs['split']}; {best!r} has "
            f"{smallest}{title} {total.loc[best, measure]:.4f}"
        )
        covered = self.predictions["covered"].sel(forecaster=best)
        if covered.notnull().all():
            said += (
                f", and {covered.sum().item():.0f} of the {points:.0f} lie inside its "
                f"{interval_name(self.predictions)}"
            )
        return said + "."

    def __str__(self) -> str:
        table = self._shown().to_string(index=False)
        title = f"Backtest: intervals are the {interval_name(self.predictions)}"
        return "\n".join([title, "", table, "", self.sentence(), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        title = f"Backtest: intervals are the {interval_name(self.predictions)}"
        said = "".join(f"<p>{html.escape(text)}</p>" for text in (self.sentence(), *self.notes))
        return f"<p><b>{html.escape(title)}</b></p>\n{html_table(self._shown())}\n{said}"

    def _shown(self) -> pd.DataFrame:
        """The scores as text, with ± where there is a standard error."""
        scores = self.scores
        shown = scores.index.to_frame(index=False)
        shown["points"] = scores["points"].to_numpy()
        for measure in MEASURES:
            pairs = zip(scores[measure], scores[f"{measure}_se"], strict=True)
            shown[measure] = [_plus_minus(value, error) for value, error in pairs]
        # Counted, not ±: that of a share of 1 would be 0, which looks surer than it is.
        counts = zip(scores["coverage"], scores["points"], strict=True)
        shown["coverage"] = [_share(value, points) for value, points in counts]
        return shown

    @property
    def _names(self) -> list[str]:
        return self.predictions["forecaster"].values.tolist()

    def _rows(self, name: str) -> pd.DataFrame:
        rows = self.predictions.sel(forecaster=name).drop_dims(["level", "axis"])
        # By position: obs_id repeats where folds overlap.
        return rows.reset_coords().to_dataframe().reset_index()


def check_labels(obs: xr.Dataset, **labels: str) -> None:
    """Refuse labels for a table of scores that observations lack; before their fits or after.

    Parameters
    ----------
    obs : xr.Dataset
        Observations, or the predictions of a backtest.
    **labels : str
        Those of ``Backtest.score_table``, by the name of the argument: ``by``, ``cluster``.

    Raises
    ------
    SpecificationError
        All faults in one message.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> check_labels(bcl.load_dataset("montgomery2025"), by="fold", cluster="technique")
    """
    if faults := _faults_of_labels(obs, labels):
        raise SpecificationError("; ".join(faults) + ".")


def _faults_of_labels(obs: xr.Dataset, labels: Mapping[str, str]) -> list[str]:
    known = [
        str(n)
        for n, v in obs.data_vars.items()
        if v.dims == (OBS_DIM,) and not np.issubdtype(v.dtype, np.floating)
    ]
    known = [*known, "fold"]
    said = [wording().argument(name, label) for name, label in labels.items() if label not in known]
    if not said:
        return []
    what = "is not a label" if len(said) == 1 else "are not labels"
    return [f"{' and '.join(said)} {what} of the observations, which have {', '.join(known)}"]


def _plus_minus(value: float, error: float) -> str:
    if np.isnan(value):
        return "—"
    return f"{value:.4f}" + ("" if np.isnan(error) else f" ± {error:.4f}")


def _share(value: float, points: int) -> str:
    return "—" if np.isnan(value) else f"{value:.2f} ({value * points:.0f} of {points})"


def _count(number: float, thing: str) -> str:
    return f"{number:.0f} {thing}" + ("" if number == 1 else "s")
