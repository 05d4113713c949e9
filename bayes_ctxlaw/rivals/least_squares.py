"""The paper's law by the paper's method: least squares, one task at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.law import LawTerms, mean_score
from bayes_ctxlaw.rivals._forecaster import CurveForecaster
from bayes_ctxlaw.rivals._least_squares import Bounds

# log A, log α, log B, log β, with A and B stated inside the data: wide enough for a curve that is
# flat, and for one that is a step.
_LOW = np.array([-14.0, np.log(1e-3), -14.0, np.log(1e-2)])
_HIGH = np.array([4.0, np.log(10.0), 4.0, np.log(20.0)])


class LeastSquaresLaw(CurveForecaster):
    r"""The context-aware scaling law as its authors fit it.

    .. math::

        P = \bigl[1 - e^{-A (C/C_c)^\alpha}\bigr] \bigl[1 - e^{-B (n/n_c)^\beta}\bigr] \,
        \sigma(n - n_\mathrm{ctx})

    SciPy's ``differential_evolution`` finds the valley of the squared errors, the algorithm of
    ``curve_fit`` its lowest point, for each task by itself. The authors give no intervals; these
    are by the bootstrap.

    Parameters
    ----------
    penalty : bool
        False leaves out the last factor: the authors' ablation. It is a unit logistic in tokens,
        which in practice is a step at the window.
    resamples : int
        Bootstrap resamples. Every one is a new descent from the optimum of all observations.
    centred : bool
        Take their mean from the residuals before noise is drawn from them, as for errors of mean
        0. Scores of prompts past their window leave residuals that no curve of this form can
        reach; centring lets them shift the forecast of all others. It is worth trying both.

    Attributes
    ----------
    parameters : pandas.DataFrame
        By task ``A``, ``alpha``, ``B``, ``beta``, and ``compute_reference`` and
        ``prompt_tokens_reference``, where A and B are stated: the geometric mean of the task's
        compute, and its shortest prompt. The latter two are redundant beside A and B and change
        no curve.

    Notes
    -----
    Checkpoints are resampled with replacement, the same draw for all tasks; draws with a single
    value of compute are drawn again. A task with fewer than three checkpoints has its rows
    resampled within each checkpoint too. Over few checkpoints a bootstrap gives intervals that are
    too narrow.

    Where a task has a single value of compute, or values that hardly differ, nothing tells α: any
    value that the search happens to end at fits equally well, and predictions at another compute
    mean nothing.

    The law has no effects of checkpoint, family or technique, and ignores their labels; no chance
    level; no spread of prompt lengths in a cell.

    References
    ----------
    Montgomery et al., arXiv:2510.14919. Bootstrap of clusters: Davison and Hinkley (1997),
    doi:10.1017/CBO9780511802843, section 3.8.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> law = bcl.rivals.LeastSquaresLaw(resamples=20).fit(obs, random_seed=1)
    >>> law.parameters.loc["arithmetic reasoning", ["alpha", "beta"]].round(2).tolist()
    [0.24, 0.57]
    >>> abs(law.predict(obs)["point"] - obs["score"]).mean().round(4).item()
    0.0158
    """

    def __init__(self, penalty: bool = True, resamples: int = 200, centred: bool = False) -> None:
        if not isinstance(penalty, bool | np.bool_):
            raise SpecificationError(
                f"penalty={penalty!r} must be True (the authors' logistic in tokens) or False "
                "(none, their ablation). Other penalties are for ContextLaw."
            )
        super().__init__(resamples, centred)
        self.penalty = bool(penalty)
        self.terms = LawTerms(
            context_term="exponential",
            compute_term="exponential",
            penalty="token_logistic" if penalty else "none",
            zero_context="none",
            dilution="none",
        )

    def _encode(self, rows: xr.Dataset) -> Encoding:
        # With n_c inside the data but far from the shortest prompt, log B and β would lie along a
        # narrow oblique valley, which the search misses.
        shortest = float(rows["prompt_tokens"].min())
        return Encoding.of(rows, {}).at_references({"prompt_tokens": shortest})

    def _bounds(self, task: str, rows: xr.Dataset) -> Bounds:
        return _LOW, _HIGH

    def _design(self, ds: xr.Dataset, encoding: Encoding) -> dict[str, np.ndarray]:
        design = encoding.design(ds.drop_vars("prompt_tokens_sd", errors="ignore"), self.terms)
        return design | {"chance": np.zeros(ds.sizes["obs_id"])}

    def _score(self, theta: np.ndarray, design: Mapping[str, np.ndarray]) -> np.ndarray:
        log_a, log_alpha, log_b, log_beta = theta
        parameters = {
            "log_A": log_a,
            "alpha": np.exp(log_alpha),
            "log_B": log_b,
            "beta": np.exp(log_beta),
        }
        return mean_score(parameters, design, self.terms)

    def _natural(self, theta: np.ndarray, encoding: Encoding) -> dict[str, np.ndarray]:
        return dict(zip(("A", "alpha", "B", "beta"), np.exp(theta), strict=True)) | {
            "compute_reference": encoding.compute_reference,
            "prompt_tokens_reference": encoding.prompt_tokens_reference,
        }
