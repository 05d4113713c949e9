"""Seeds that a user gives: checked, and what is drawn from them."""

from __future__ import annotations

import numpy as np

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import SpecificationError


def faults_of_seed(random_seed: object) -> list[str]:
    """What is wrong with a seed, for who has more to check.

    Examples
    --------
    >>> faults_of_seed(1.5)
    ['random_seed=1.5 must be a whole number, at least 0, or None']
    """
    whole = isinstance(random_seed, int | np.integer) and not isinstance(random_seed, bool)
    if random_seed is None or (whole and random_seed >= 0):
        return []
    said = wording().argument("random_seed", random_seed)
    return [f"{said} must be a whole number, at least 0, or None"]


def check_seed(random_seed: object) -> None:
    """Refuse what is no seed.

    Raises
    ------
    SpecificationError
    """
    if faults := faults_of_seed(random_seed):
        raise SpecificationError(f"{faults[0]}.")


def root_seed(random_seed: int | None) -> int:
    """Seed of all that is drawn in a fit; a new one every time if none is given.

    Parameters
    ----------
    random_seed : int, optional

    Returns
    -------
    int

    Raises
    ------
    SpecificationError
        If it is no whole number from 0.
    """
    check_seed(random_seed)
    return int(np.random.default_rng(random_seed).integers(2**31))


def seed_or(random_seed: int | None, of_fit: int) -> int:
    """Seed of a prediction: that of the fit where none is given.

    Parameters
    ----------
    random_seed : int, optional
    of_fit : int

    Returns
    -------
    int

    Raises
    ------
    SpecificationError
        If it is no whole number from 0.
    """
    check_seed(random_seed)
    return of_fit if random_seed is None else int(random_seed)
