"""Fits that several tests look at, sampled once a session with the defaults of the package."""

import os

import matplotlib
import numpy as np
import pytest
from hypothesis import settings

import bayes_ctxlaw as bcl

matplotlib.use("Agg")
# Consoles are made at import, and keep to a width that is set then whatever a test sets later.
os.environ.pop("COLUMNS", None)
# The same examples at every run, and no deadline: a busy machine is not a fault of the code.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
SEED = 20251014


@pytest.fixture(scope="session")
def montgomery():
    """The paper's 117 points."""
    return bcl.load_dataset("montgomery2025")


@pytest.fixture(scope="session")
def helmet():
    """Many-shot ICL scores of HELMET."""
    return bcl.load_dataset("helmet_icl")


@pytest.fixture(scope="session")
def law_all(montgomery):
    """Default law on all of the paper's points."""
    law = bcl.ContextLaw()
    law.fit(montgomery, random_seed=SEED, progressbar=False)
    return law


@pytest.fixture(scope="session")
def law_below_10k(montgomery):
    """Default law without the points beyond 10k tokens."""
    law = bcl.ContextLaw()
    kept = np.flatnonzero(~montgomery["beyond_10k"].values)
    law.fit(montgomery.isel(obs_id=kept), random_seed=SEED, progressbar=False)
    return law


@pytest.fixture(scope="session")
def law_below_1e24(helmet):
    """Default law on the checkpoints trained with less than 1e24 FLOPs, in a short run."""
    law = bcl.ContextLaw()
    obs = helmet.isel(obs_id=np.flatnonzero(helmet["compute"].values < 1e24))
    size = {"draws": 300, "tune": 400, "chains": 2, "thin": 1, "target_accept": 0.95}
    law.fit(obs, **size, random_seed=SEED, progressbar=False)
    return law
