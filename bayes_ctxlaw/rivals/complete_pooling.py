"""One law for everything: what is lost when differences between tasks are ignored."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.observations import as_design, as_observations
from bayes_ctxlaw.rivals._options import plain_law

_ONE = "all tasks"
_OWN = "task_before_pooling"  # keeps two tasks' rows that agree in all else from being identical


class CompletePoolingLaw:
    """One ``ContextLaw`` without effects for all tasks, families, techniques and checkpoints.

    Every row is taken for one of the same task: one curve, one overdispersion. Labels are ignored,
    so none is unknown. Chance levels stay those of the rows.

    Parameters
    ----------
    **options
        Of ``ContextLaw``, but for ``groups``: ``context_term``, ``penalty``, ``priors``, …

    Attributes
    ----------
    law : ContextLaw
        What is fitted.
    idata : xarray.DataTree
        Its posterior, after a fit; else None.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> law = bcl.rivals.CompletePoolingLaw(penalty="none")
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> idata = law.fit(obs, draws=50, tune=100, chains=2, random_seed=1, progressbar=False)
    >>> law.predict(obs)["task"].equals(obs["task"])
    True
    """

    def __init__(self, **options: Any) -> None:
        self.law = plain_law("CompletePoolingLaw", options)
        self._encoding: Encoding | None = None

    @property
    def idata(self) -> xr.DataTree | None:
        """Posterior and statistics of the sampler."""
        return self.law.idata

    def fit(
        self,
        obs: Any,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        random_seed: int | None = None,
        progressbar: bool = True,
        thin: int | None = None,
        **column_names: str,
    ) -> xr.DataTree:
        """Sample the posterior of the one law.

        Parameters
        ----------
        obs, draws, tune, chains, random_seed, progressbar, thin, **column_names
            As in ``ContextLaw.fit``.

        Returns
        -------
        xarray.DataTree
            Also kept as ``idata``.

        Raises
        ------
        ObservationError
            If the observations are at fault.
        """
        obs = as_observations(obs, **column_names)
        # Once the tasks are one, their chance levels are not to be told apart.
        self._encoding = Encoding.of(obs, {})
        return self.law.fit(
            _as_one_task(obs),
            draws=draws,
            tune=tune,
            chains=chains,
            random_seed=random_seed,
            progressbar=progressbar,
            thin=thin,
        )

    def predict(
        self,
        at: Any,
        ci_prob: float = 0.9,
        kind: str = "response",
        new_levels: str = "error",
        random_seed: int | None = None,
        samples: bool = False,
        **column_names: str,
    ) -> xr.Dataset:
        """Predict scores with intervals.

        Parameters
        ----------
        at, ci_prob, kind, random_seed, samples, **column_names
            As in ``ContextLaw.predict``. ``"llm"`` is the same as ``"law"``.
        new_levels : {"error", "uncertainty"}
            Without consequence: the same curve serves labels that were never seen.

        Returns
        -------
        xr.Dataset
            As from ``ContextLaw.predict``.

        Raises
        ------
        NotFittedError
            If nothing was fitted.
        SpecificationError
            If an option is unknown.
        """
        at = as_design(at, **column_names)
        if self._encoding is not None:
            at = self._encoding.with_chance(at)
        out = self.law.predict(
            _as_one_task(at),
            kind=kind,
            ci_prob=ci_prob,
            new_levels=new_levels,
            random_seed=random_seed,
            samples=samples,
        )
        return out.drop_vars(_OWN).assign(task=at["task"])


def _as_one_task(ds: xr.Dataset) -> xr.Dataset:
    one = np.full(ds.sizes["obs_id"], _ONE, dtype=object)
    return ds.assign({"task": ("obs_id", one), _OWN: ds["task"]})
