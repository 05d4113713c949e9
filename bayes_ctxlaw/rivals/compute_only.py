"""The conventional scaling law of downstream scores: a sigmoid in compute, blind to the prompt."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.rivals._bootstrap import compute_values
from bayes_ctxlaw.rivals._forecaster import CurveForecaster
from bayes_ctxlaw.rivals._least_squares import Bounds


class ComputeOnlyLaw(CurveForecaster):
    r"""A sigmoid in log compute for each task, without context.

    .. math::

        P = \gamma + (1 - \gamma) \, \frac{h}{1 + (C / C_m)^{-k}}

    from the chance level γ to a ceiling γ + (1 − γ) h of at most 1, by least squares, with
    intervals by the bootstrap as those of ``LeastSquaresLaw``. It is what one predicts who has not
    looked at the length of the prompt.

    Parameters
    ----------
    resamples, centred
        As in ``LeastSquaresLaw``.

    Attributes
    ----------
    parameters : pandas.DataFrame
        By task the slope ``k``, the ``midpoint`` C_m in FLOPs and the ``height`` h, the share of
        what lies between chance and 1.

    Notes
    -----
    Three parameters need three values of compute (told apart if they differ by more than one
    percent); with two h is 1, and with one there is no curve. Prompt length, window and
    all labels but the task are ignored, so the spread over prompt lengths is part of the noise.

    References
    ----------
    A sigmoid is what Owen, arXiv:2401.04757, describes benchmark scores by, there as a function of
    the loss that follows from compute.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> law = bcl.rivals.ComputeOnlyLaw(resamples=20).fit(obs, random_seed=1)
    >>> law.parameters["height"].tolist()
    [1.0, 1.0, 1.0]
    """

    def _encode(self, rows: xr.Dataset) -> Encoding:
        return Encoding.of(rows, {})

    def _bounds(self, task: str, rows: xr.Dataset) -> Bounds:
        values = 1 + compute_values(rows).max()
        if values < 2:
            raise ObservationError(
                f"all {rows.sizes['obs_id']} rows of the task {task!r} have the same compute, "
                f"{rows['compute'].values[0]:.3g} FLOPs: no curve in compute can be fitted. Add "
                "checkpoints of other sizes or leave this task out."
            )
        # log k; log of the midpoint over the centre of the data; h
        low, high = np.array([-5.0, -30.0, 0.01]), np.array([3.0, 30.0, 1.0])
        return (low, high) if values > 2 else (low[:2], high[:2])

    def _design(self, ds: xr.Dataset, encoding: Encoding) -> dict[str, np.ndarray]:
        return {
            "x": np.log(ds["compute"].values.astype(float) / encoding.compute_reference),
            "chance": encoding.chance_levels(ds),
        }

    def _score(self, theta: np.ndarray, design: Mapping[str, np.ndarray]) -> np.ndarray:
        height = theta[2] if len(theta) > 2 else 1.0
        # tanh does not overflow, however steep the slope
        rise = 0.5 * (1.0 + np.tanh(0.5 * np.exp(theta[0]) * (design["x"] - theta[1])))
        return design["chance"] + (1.0 - design["chance"]) * height * rise

    def _natural(self, theta: np.ndarray, encoding: Encoding) -> dict[str, np.ndarray]:
        return {
            "k": np.exp(theta[0]),
            "midpoint": encoding.compute_reference * np.exp(theta[1]),
            "height": theta[2] if len(theta) > 2 else 1.0,
        }
