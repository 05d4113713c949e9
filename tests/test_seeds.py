"""Seeds: what is none is refused before anything is fitted, everywhere alike."""

import numpy as np
import pytest

import bayes_ctxlaw as bcl
from bayes_ctxlaw.seeds import root_seed, seed_or

WRONG = [-1, 1.5, "a", True, [1, 2], np.random.default_rng(3)]


@pytest.mark.parametrize("seed", WRONG, ids=str)
def test_what_is_no_seed_is_refused(seed, montgomery):
    refused = pytest.raises(bcl.SpecificationError, match=r"random_seed=.* must be a whole number")
    for fit in (bcl.ContextLaw().fit, bcl.rivals.LeastSquaresLaw().fit):
        with refused:
            fit(montgomery, random_seed=seed)
    with refused:
        seed_or(seed, 3)


def test_the_same_seed_gives_the_same_root():
    assert root_seed(4) == root_seed(np.int64(4)) != root_seed(5)
    assert root_seed(None) != root_seed(None)
    assert (seed_or(None, 3), seed_or(0, 3)) == (3, 0)
