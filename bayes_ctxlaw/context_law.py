"""The context-aware scaling law as a forecaster: fit, predict, save, load. Thin."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayes_ctxlaw import predict as _predict
from bayes_ctxlaw._faults import all_of
from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.discrepancy import straying, to_be_told
from bayes_ctxlaw.encoding import (
    DEFAULT_LEVELS,
    Encoding,
    chance_levels,
    check_references,
    longest_within,
    parse_groups,
)
from bayes_ctxlaw.errors import FileFormatError, NotFittedError, ObservationError
from bayes_ctxlaw.geometry import Geometry, centre, choose_geometry
from bayes_ctxlaw.law import LawTerms
from bayes_ctxlaw.likelihoods import choose_likelihood
from bayes_ctxlaw.mode import Mode, find_mode
from bayes_ctxlaw.observations import as_design, as_observations
from bayes_ctxlaw.posterior import add_natural, check_complete, population_names
from bayes_ctxlaw.priors import priors_from_json, priors_to_json, resolve_priors
from bayes_ctxlaw.seeds import check_seed, root_seed, seed_or
from bayes_ctxlaw.specification import Specification
from bayes_ctxlaw.storage import read_fit, write_fit
from bayes_ctxlaw.summary import describe, notes_on_data, notes_on_design, notes_on_units

if TYPE_CHECKING:
    from bayes_ctxlaw.density import Density
    from bayes_ctxlaw.review import Review

_PILOTS = 8  # a short run takes this part of the steps to tune,
_ROUNDS = 3  # and there are at most so many
_FEWEST_STEPS = 10  # that tell anything

_LOG = logging.getLogger(__name__)


class ContextLaw:
    r"""Hierarchical Bayesian context-aware scaling law.

    .. math::

        P(C, n, n_\mathrm{ctx}) = Q \, \bigl(\gamma + (1 - \gamma) \, S_C \, S_n \, L\bigr)

    Score P from training compute C, prompt length n and context window; every parameter is a
    population value with effects of task, family, technique and checkpoint.

    Parameters
    ----------
    context_term, compute_term : {"power", "exponential"}
        Approach of the context and of the compute term to its ceiling: the paper's exponential
        one, or the slower power.
    penalty : {"log_logistic", "token_logistic", "none"}
        What happens where the prompt outgrows the window. The first has a sharpness κ and an
        effective window δ; the second is the paper's.
    likelihood : str
        Observation model: ``"auto"``, ``"beta_binomial"``, ``"binomial"``, ``"student_t"``,
        ``"normal"``, ``"beta"`` or ``"least_squares"`` (the paper's, for comparison).
        ``"auto"``: beta-binomial if all scores are counts of ``n_items``, else the Student-t
        (4 degrees of freedom) censored to [0, 1].
    groups : sequence of str, or mapping of str to sequence of str
        Levels that have effects, of those the data have: ``"task"``, ``"family"``,
        ``"technique"``, ``"llm"``, or an interaction such as ``"task:technique"``. A mapping
        also names the parameters each level acts on.
    priors : mapping, optional
        Own priors by name: ``(low, high)``, the 90 % interval of a population parameter on its
        natural scale (``{"kappa": (5, 20)}``); a half-normal scale (``{"A_task_sd": 0.5}``); or
        a ``Prior``. ``print(law)`` shows all names.
    zero_context : {"free", "none"}
        Whether a share ρ of the context term is there without any prompt, or none as in the paper.
    dilution : {"window", "none"}
        Whether the score may fall inside the window as it fills, as it does where longer prompts
        hold more distractors, or not as in the paper.
    discrepancy : {"auto", "none", "prompt_tokens"}
        Whether each task may stray smoothly from the law along prompt length, as curves do that
        turn where the law does not. ``"auto"``: where there are two tasks or more, with curves of
        more prompt lengths than the law has parameters along them, and a fast fit finds that the
        scores are more probable so. Where they stray tasks have no effects on beta, rho and eta,
        whatever `groups` says: the shape of a task's curve is then its discrepancy's.
    references : mapping, optional
        ``{"compute": FLOPs, "prompt_tokens": tokens}`` at which A and B are stated. By default
        the geometric mean of compute, and the prompt length at which the data say most about the
        level of the context term. Fix them to state a prior of A or B at a place of your own.

    Attributes
    ----------
    idata : xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``observed_data`` and ``constant_data``, after a
        fit.
    model : pymc.Model
        The graph, after ``build_model`` or ``fit``.

    References
    ----------
    Montgomery et al., arXiv:2510.14919.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> law = bcl.ContextLaw(priors={"kappa": (5, 20)})
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> idata = law.fit(obs, draws=50, tune=100, random_seed=1, progressbar=False)
    >>> at = bcl.grid(task="machine translation", llm="Llama-2-7B-128k", family="Llama-2",
    ...               technique="YaRN", compute=7.78e22, context_window=131072,
    ...               prompt_tokens=[1000, 50_000], n_items=1250)
    >>> law.predict(at)["upper"].shape
    (2,)
    """

    def __init__(
        self,
        context_term: str = LawTerms.context_term,
        compute_term: str = LawTerms.compute_term,
        penalty: str = LawTerms.penalty,
        likelihood: str = "auto",
        groups: Mapping[str, Sequence[str]] | Sequence[str] = DEFAULT_LEVELS,
        priors: Mapping[str, Any] | None = None,
        references: Mapping[str, float] | None = None,
        *,
        zero_context: str = LawTerms.zero_context,
        dilution: str = LawTerms.dilution,
        discrepancy: str = LawTerms.discrepancy,
    ) -> None:
        forms = (context_term, compute_term, penalty, zero_context, dilution, discrepancy)
        self.terms, acting, self.references, _ = all_of(
            lambda: LawTerms(*forms),
            lambda: parse_groups(groups),
            lambda: check_references(references),
            lambda: likelihood == "auto" or choose_likelihood(_no_rows(), likelihood),
        )
        self.likelihood = likelihood
        # What the terms do not have has no effects, and a level without any is none.
        self.levels = {
            level: found
            for level, parameters in acting.items()
            if (found := tuple(p for p in parameters if p in self.terms.parameters))
        }
        may_stray = self.terms.discrepancy != "none"
        self.priors = resolve_priors(self.levels, priors, self.terms.parameters, may_stray)
        self.idata: xr.DataTree | None = None
        self.obs: xr.Dataset | None = None
        self.encoding: Encoding | None = None
        self.spec: Specification | None = None
        self._geometry: Geometry | None = None
        self._model: Any = None
        self._seed = 0

    def __str__(self) -> str:
        spec = self.spec
        if spec is None:
            spec = Specification(self.terms, self.likelihood, self.levels, self.priors)
        shown = self.likelihood
        if self.spec is not None and self.likelihood == "auto":
            shown = f"{self.spec.likelihood} (chosen from the scores)"
        notes = []
        if self.obs is not None:
            notes = notes_on_data(self.obs) + notes_on_design(self.obs, spec)
        return describe(spec, shown, self.encoding, notes)

    __repr__ = __str__

    @property
    def model(self) -> Any:
        """The ``pymc.Model`` of the last ``build_model`` or ``fit``, or None."""
        if self._model is None and self.obs is not None:
            self._build()
        return self._model

    def build_model(self, obs: Any, **column_names: str) -> Any:
        """Build the graph of the law for observations, without sampling.

        Parameters
        ----------
        obs : Dataset, DataFrame, path or list of dict
            Whatever ``as_observations`` takes.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        pymc.Model
            Also kept as ``law.model``.

        Raises
        ------
        ObservationError
            If the observations are at fault, or all scores are equal.

        Examples
        --------
        >>> import bayes_ctxlaw as bcl
        >>> model = bcl.ContextLaw().build_model(bcl.load_dataset("montgomery2025"))
        >>> model.coords["task"][0]
        'arithmetic reasoning'
        """
        self._prepare(as_observations(obs, **column_names))
        return self._build()

    def _prepare(self, obs: xr.Dataset) -> None:
        """Everything that a graph or a density is built from."""
        scores = obs["score"].values
        if np.ptp(scores) == 0.0:
            raise ObservationError(
                f"all {len(scores)} scores equal {scores[0]:g}: there is nothing to tell apart. "
                "Give scores that differ between prompt lengths, checkpoints or tasks."
            )
        likelihood = choose_likelihood(obs, self.likelihood)
        forms = [None]
        if self.terms.discrepancy == "auto" and to_be_told(obs, self.terms):
            forms = [False, True]
        found = [self._find_mode(obs, self._specification(likelihood, form)) for form in forms]
        self.spec, self.encoding, self._mode = max(found, key=lambda each: each[-1].log_evidence)
        self.obs, self._geometry = obs, choose_geometry(self._mode, self.encoding.strata(obs))
        self.idata, self._model = None, None

    def _specification(self, likelihood: str, strays: bool | None = None) -> Specification:
        return Specification.decided(self.terms, likelihood, self.levels, self.priors, strays)

    def _find_mode(
        self, obs: xr.Dataset, spec: Specification
    ) -> tuple[Specification, Encoding, Mode]:
        """A form of the law, with the references and the fast fit that it has."""
        encoding = Encoding.of(obs, spec.levels)
        effects = {p: spec.effects_of(p, encoding) for p in spec.terms.parameters}
        encoding = encoding.at_references(self.references)
        strays = straying(obs, encoding, spec.terms)
        of_law = {"effects": effects, "priors": spec.priors, "strays": strays}
        find = partial(find_mode, obs, terms=spec.terms, **of_law)
        rough = find(encoding)
        moved = 0.0 if "prompt_tokens" in self.references else centre(rough)
        encoding = encoding.recentred(moved)
        return spec, encoding, find(encoding, near=rough, moved=moved)

    def _build(self) -> Any:
        from bayes_ctxlaw.graph import build_graph

        self._model = build_graph(self.obs, self.spec, self.encoding)
        return self._model

    def fit(
        self,
        obs: Any,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        random_seed: int | None = None,
        progressbar: bool = True,
        thin: int | None = None,
        target_accept: float | None = None,
        **column_names: str,
    ) -> xr.DataTree:
        """Sample the posterior of the law given observations.

        Chains go on until they pass the checks of convergence, those of A … delta included, with
        1 to 6 steps for every draw, and begin anew with shorter steps where they diverge. Where
        the most steps would not be enough they end early, and ``law.review()`` fails the fit.

        Parameters
        ----------
        obs : Dataset, DataFrame, path or list of dict
            Whatever ``as_observations`` takes.
        draws, tune, chains : int
            Draws kept and discarded in each chain, and the number of chains.
        random_seed : int, optional
            The same seed and observations give the same draws. If None, one is drawn; the
            attribute ``fit_random_seed`` of the posterior names it.
        progressbar : bool
            Show progress.
        thin : int, optional
            Sampler steps for every draw kept, in one run whatever comes of it. If None, as many
            as are needed; the attribute ``fit_thin`` of the posterior says how many.
        target_accept : float, optional
            Of the sampler. If None, 0.95, and 0.99 and then 0.998 after runs that diverged; with
            ``thin`` 0.99.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        xarray.DataTree
            Also kept as ``law.idata``.

        Raises
        ------
        ObservationError
            If the observations are at fault.
        KeyboardInterrupt
            If it was interrupted (Ctrl-C). What was sampled after the tuning is kept first, as
            ``law.idata``, and the message says how much; the law can predict from it.
        """
        from bayes_ctxlaw.judgement import convergence
        from bayes_ctxlaw.runs import sample_enough

        check_seed(random_seed)
        self._prepare(as_observations(obs, **column_names))
        for note in notes_on_data(self.obs):
            _LOG.warning(note)
        for note in notes_on_design(self.obs, self.spec):
            _LOG.info(note)
        if random_seed is None:
            random_seed = int(np.random.default_rng().integers(2**31))
        told = {"draws": draws, "tune": tune, "chains": chains, "random_seed": random_seed}
        seed = root_seed(random_seed)
        density, tune = self._density(tune, seed)
        trace = sample_enough(
            density,
            lambda trace: convergence(self._tree(trace), derived=True),
            draws=draws,
            tune=tune,
            chains=chains,
            random_seed=seed,
            progressbar=progressbar,
            thin=thin,
            target_accept=target_accept,
        )
        of_run = ("thin", "target_accept", "doublings")  # the last not where NUTS sampled
        told |= {name: trace.attrs.pop(name) for name in of_run if name in trace.attrs}
        self._seed = seed
        self.idata = self._tree(trace)
        self.idata["posterior"].attrs |= {f"fit_{k}": np.asarray(v).item() for k, v in told.items()}
        if "interrupted" in trace.attrs:
            # It goes on as an interruption, so that a loop of fits ends as well.
            raise KeyboardInterrupt(f"{trace.attrs['interrupted']}, in `idata`.")
        return self.idata

    def _density(self, tune: int, seed: int) -> tuple[Density, int]:
        """The density to sample, and how many of the steps to tune are left.

        The penalised fit may be far from where the posterior is, and then its layout of the
        variables is unfit: short runs find out, and find a better place to lay them out from.
        """
        from bayes_ctxlaw.density import build_density
        from bayes_ctxlaw.sampling import pilot

        steps = tune // _PILOTS
        for number in range(_ROUNDS + 1):
            density = build_density(self.obs, self.spec, self.encoding, self._geometry)
            if steps < _FEWEST_STEPS or number == _ROUNDS:
                break
            found, fit = pilot(density, steps=steps, random_seed=seed + number)
            tune -= steps
            if fit:
                break
            strata = self.encoding.strata(self.obs)
            self._geometry = choose_geometry(self._mode.at(found), strata)
        return density, tune

    def _tree(self, trace: xr.DataTree) -> xr.DataTree:
        posterior = add_natural(trace["posterior"].to_dataset(), self.spec, self.encoding)
        check_complete(posterior, self.spec, self.encoding)
        references = {
            "compute_reference": self.encoding.compute_reference,
            "prompt_tokens_reference": self.encoding.prompt_tokens_reference,
        }
        posterior.attrs |= references | {"created_by": "bayes_ctxlaw", "version": __version__}
        posterior.attrs |= trace.attrs
        return xr.DataTree.from_dict(
            {
                "posterior": posterior,
                "sample_stats": trace["sample_stats"].to_dataset(),
                "observed_data": self.obs[["score"]],
                "constant_data": self.obs.drop_vars("score"),
            }
        )

    def predict(
        self,
        at: Any,
        kind: str = "response",
        ci_prob: float = 0.9,
        new_levels: str = "error",
        random_seed: int | None = None,
        samples: bool = False,
        **column_names: str,
    ) -> xr.Dataset:
        """Predict scores with intervals.

        Parameters
        ----------
        at : Dataset, DataFrame, path or list of dict
            Rows to predict: a ``grid``, observations, or a table.
        kind : {"response", "llm", "law"}
            ``"law"``: uncertainty of the parameters only, for a checkpoint without an effect of
            its own. ``"llm"``: with the effect of the checkpoint; the fitted one of a known label
            may be surer than ``"law"``, a new one never is. ``"response"``: with the noise of an
            evaluation of ``n_items`` items as well.
        ci_prob : float
            Probability of the equal-tailed interval.
        new_levels : {"error", "uncertainty"}
            What to do with a label that the fit never saw: refuse it, or draw its effect from
            what such labels vary by.
        random_seed : int, optional
            Of new labels' effects and the noise. If None, that of the fit, so that the same call
            gives the same answer.
        samples : bool
            Add all draws as ``samples``.
        **column_names : str
            Canonical name = own column name.

        Returns
        -------
        xr.Dataset
            The rows of `at` with ``mean``, ``sd``, ``median``, ``lower``, ``upper`` and
            ``extrapolation`` (decades of compute, of tokens and of the ratio of prompt to window
            beyond the data); with `samples`, ``samples`` (chain, draw, obs_id). As a DataFrame:
            ``bayes_ctxlaw.output.prediction_table``.

        Raises
        ------
        NotFittedError
            If the law was not fitted.
        UnknownLabelError
            If a label was not in the fit and `new_levels` is ``"error"``.
        SpecificationError
            If an option is unknown.
        """
        predictor = self.predictor(random_seed)
        sizes = self.idata["posterior"].sizes
        at = as_design(at, **column_names)
        if "llm" in predictor.levels(kind):
            _predict.warn_of_families(self.obs, at)
        if not notes_on_units(self.obs):  # or it was said at the fit
            for note in notes_on_units(at):
                warnings.warn(f"In the points to predict {note}", UserWarning, stacklevel=2)
        return _predict.predict(
            predictor,
            at,
            kind=kind,
            ci_prob=ci_prob,
            new_levels=new_levels,
            shape=(sizes["chain"], sizes["draw"]),
            samples=samples,
        )

    def predictor(self, random_seed: int | None = None) -> _predict.Predictor:
        """Draws of the fit ready to predict with: what `predict` and comparisons work on.

        Parameters
        ----------
        random_seed : int, optional
            Of new labels' effects and the noise. If None, that of the fit.

        Returns
        -------
        bayes_ctxlaw.predict.Predictor

        Raises
        ------
        NotFittedError
            If the law was not fitted.
        """
        if self.idata is None:
            raise NotFittedError("this law has no posterior yet: call law.fit(obs) first.")
        seed = seed_or(random_seed, self._seed)
        posterior = self.idata["posterior"].to_dataset()
        return _predict.Predictor.of(self.spec, self.encoding, posterior, seed)

    def review(self) -> Review:
        """Review the fit: convergence, predictive checks, and what the priors decide.

        Returns
        -------
        Review
            PASS, REVIEW or FAIL by check, with a sentence of advice; a table in a notebook.

        Raises
        ------
        NotFittedError
            If the law was not fitted.

        Examples
        --------
        >>> import bayes_ctxlaw as bcl
        >>> bcl.ContextLaw().review()
        Traceback (most recent call last):
        ...
        bayes_ctxlaw.errors.NotFittedError: there is nothing to review yet: call law.fit(obs) first.
        """
        from bayes_ctxlaw.review import review

        return review(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fit to a netCDF file.

        Parameters
        ----------
        path : path
            File name, usually ending in ``.nc``. It appears only once it is complete.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        NotFittedError
            If the law was not fitted.
        """
        if self.idata is None:
            raise NotFittedError("this law has nothing to save yet: call law.fit(obs) first.")
        config = {
            "class": type(self).__name__,
            "version": __version__,
            "terms": asdict(self.terms),
            "likelihood": self.likelihood,
            "resolved_likelihood": self.spec.likelihood,
            "strays": self.spec.terms.strays,
            "levels": {level: list(names) for level, names in self.levels.items()},
            "priors": priors_to_json(self.priors),
            "references": self.references,
            "encoding": asdict(self.encoding),
            "obs_attrs": dict(self.obs.attrs),
            "seed": self._seed,
        }
        return write_fit(path, self.idata, config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ContextLaw:
        """Read a fit that ``save`` wrote.

        Parameters
        ----------
        path : path

        Returns
        -------
        ContextLaw
            Its predictions equal those before saving, draw for draw.

        Raises
        ------
        FileFormatError
            If the file is not one of these.
        """
        tree, config = read_fit(path, cls.__name__)
        law = cls(
            likelihood=config["likelihood"],
            groups=config["levels"],
            references=config["references"],
            **config["terms"],
        )
        law.priors = priors_from_json(config["priors"])
        law.encoding = _encoding(config["encoding"], path)
        law.spec = law._specification(config["resolved_likelihood"], config.get("strays"))
        rows = xr.merge([tree["observed_data"].to_dataset(), tree["constant_data"].to_dataset()])
        law.obs = as_observations(rows).assign_attrs(config["obs_attrs"])
        # Earlier versions did not write these, but the rows tell.
        of_rows = {"chance": chance_levels, "within": longest_within}
        unsaid = {n: of(law.obs) for n, of in of_rows.items() if n not in config["encoding"]}
        law.encoding = replace(law.encoding, **unsaid)
        law._seed = config["seed"]
        law.idata = tree
        _check_scales(tree["posterior"], law.spec, law.encoding, path)
        check_complete(tree["posterior"].to_dataset(), law.spec, law.encoding)
        return law


def _check_scales(
    posterior: xr.DataTree, spec: Specification, encoding: Encoding, path: str | os.PathLike[str]
) -> None:
    """Refuse a fit with effects that its form of the law has not: predictions would lack them.

    Raises
    ------
    FileFormatError
        If an earlier version of the package wrote it.
    """
    known = population_names(spec, encoding)
    extra = [n for n in posterior.data_vars if str(n).endswith("_sd") and n not in known]
    if extra:
        raise FileFormatError(
            f"{path} was saved by an earlier version of bayes_ctxlaw, in which this form of the "
            f"law had effects that it has no more ({', '.join(extra)}). Fit the law again and save "
            "it."
        )


def _encoding(saved: dict[str, Any], path: str | os.PathLike[str]) -> Encoding:
    """An encoding as ``save`` wrote it.

    Raises
    ------
    FileFormatError
        If an earlier version of the package wrote it, with less than a prediction needs.
    """
    needed = [field.name for field in fields(Encoding) if field.default_factory is MISSING]
    if lacking := [name for name in needed if name not in saved]:
        raise FileFormatError(
            f"{path} was saved by an earlier version of bayes_ctxlaw, and lacks what predictions "
            f"now need ({', '.join(lacking)}). Fit the law again and save it."
        )
    return Encoding(
        compute_reference=saved["compute_reference"],
        prompt_tokens_reference=saved["prompt_tokens_reference"],
        labels={level: tuple(labels) for level, labels in saved["labels"].items()},
        ranges={name: (low, high) for name, (low, high) in saved["ranges"].items()},
        edges={task: tuple(spans) for task, spans in saved["edges"].items()},
        shown=saved["shown"],
        within=saved.get("within", {}),
        chance=saved.get("chance", {}),
    )


def _no_rows() -> xr.Dataset:
    """Observations without rows, to check the name of a likelihood by itself."""
    return xr.Dataset(
        {"score": ("obs_id", np.zeros(0)), "n_items": ("obs_id", np.zeros(0))},
        coords={"obs_id": np.zeros(0, dtype=int)},
    )
