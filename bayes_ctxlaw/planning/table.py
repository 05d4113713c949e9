"""A plan as a table, every row of which says what its intervals are."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from bayes_ctxlaw.output import prediction_table
from bayes_ctxlaw.schema import OBS_DIM


def plan_table(plan: xr.Dataset) -> pd.DataFrame:
    """A plan as a table, one row for each setting or candidate.

    Parameters
    ----------
    plan : xr.Dataset
        From `required_context`, `required_compute` or `next_evaluation`.

    Returns
    -------
    pandas.DataFrame
        Index ``obs_id``, or ``candidate`` in the order of the ranking, the best first. Kind of
        prediction, probability and kind of interval are columns, as is what was asked for.

    Examples
    --------
    >>> import xarray as xr
    >>> plan = xr.Dataset({"required": ("obs_id", [4000.0])}, attrs={"target": 0.7, "prob": 0.9})
    >>> plan_table(plan).to_dict("records")
    [{'required': 4000.0, 'target': 0.7, 'prob': 0.9}]
    """
    if "candidate" in plan.dims:
        flat = [name for name, v in plan.data_vars.items() if v.dims == ("candidate",)]
        table = plan[flat].to_dataframe()
        asked: tuple[str, ...] = ("budget", "prediction_kind", "ci_prob", "ci_kind")
    else:
        table = prediction_table(plan)
        table.index.name = OBS_DIM
        asked = ("target", "prob")
    return table.assign(**{name: plan.attrs[name] for name in asked if name in plan.attrs})
