"""What a law is beside its observations: terms, likelihood, levels of effects, priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.law import LawTerms
from bayes_ctxlaw.priors import Prior, scale_name


@dataclass(frozen=True)
class Specification:
    """All that decides the model beside the observations.

    Attributes
    ----------
    terms : LawTerms
        Form of the law.
    likelihood : str
        Resolved observation model, not ``"auto"``.
    levels : dict of str to tuple of str
        Level → parameters its effects act on.
    priors : dict of str to Prior
        Priors by name.
    """

    terms: LawTerms
    likelihood: str
    levels: dict[str, tuple[str, ...]]
    priors: dict[str, Prior]

    @classmethod
    def decided(
        cls,
        terms: LawTerms,
        likelihood: str,
        levels: dict[str, tuple[str, ...]],
        priors: Mapping[str, Prior],
        strays: bool | None = None,
    ) -> Specification:
        """With nothing left open: whether tasks stray, too, if the terms leave that to the data.

        Parameters
        ----------
        terms, likelihood, levels, priors
            As the attributes.
        strays : bool, optional
            What the data say. None is for a law without data, whose tasks then do not.

        Returns
        -------
        Specification
            Without what that form of the law has not: discrepancies where tasks do not stray, and
            shapes of their own where they do, for a task's curve is then its discrepancy's, and
            chains that may choose between the two do not come together.
        """
        if terms.discrepancy == "auto":
            terms = replace(terms, discrepancy="prompt_tokens" if strays else "none")
        absent = {"discrepancy_sd"}
        if terms.strays:
            absent = {scale_name(parameter, "task") for parameter in terms.shapes}
            levels = {
                level: tuple(p for p in parameters if scale_name(p, level) not in absent)
                for level, parameters in levels.items()
            }
            levels = {level: parameters for level, parameters in levels.items() if parameters}
        priors = {name: prior for name, prior in priors.items() if name not in absent}
        return cls(terms, likelihood, dict(levels), priors)

    def levels_of(self, parameter: str, encoding: Encoding) -> tuple[str, ...]:
        """Levels in the data whose labels may shift `parameter`, with one label or more."""
        return tuple(
            level
            for level, parameters in self.levels.items()
            if parameter in parameters and level in encoding.labels
        )

    def effects_of(self, parameter: str, encoding: Encoding) -> tuple[str, ...]:
        """Those with at least two labels: the effect of a single one is in the population."""
        return tuple(
            level
            for level in self.levels_of(parameter, encoding)
            if len(encoding.labels[level]) > 1
        )
