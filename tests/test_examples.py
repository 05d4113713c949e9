"""Examples in docstrings run and show what they say; those of fits are left to make test-slow."""

import doctest
import importlib
import pkgutil

import pytest

import bayes_ctxlaw

FITS = {
    "contrasts",
    "context_law",
    "planning.evaluations",
    "planning.required",
    "plots.contrast",
    "plots.calibration",
    "validation.calibration",
    "validation.stacking",
    "windows",
}
"""Modules whose examples sample a law; the command line's are run by its own tests."""


def modules():
    for found in pkgutil.walk_packages(bayes_ctxlaw.__path__, "bayes_ctxlaw."):
        name = found.name.removeprefix("bayes_ctxlaw.")
        if name.split(".")[0] != "cli":
            yield pytest.param(name, marks=pytest.mark.slow if name in FITS else (), id=name)


@pytest.mark.parametrize("name", list(modules()))
def test_examples_show_what_they_say(name):
    module = importlib.import_module(f"bayes_ctxlaw.{name}")
    assert doctest.testmod(module).failed == 0
    if name.startswith("plots"):
        import matplotlib.pyplot as plt

        plt.close("all")
