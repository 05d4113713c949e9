"""Forecast language-model scores with honest uncertainty: context-aware scaling laws in PyMC.

``import bayes_ctxlaw as bcl``; the usual way is ``bcl.as_observations`` or ``bcl.load_dataset``,
``bcl.ContextLaw().fit``, ``law.predict(bcl.grid(...))``. PyMC is imported when a model is built,
matplotlib when something is drawn.
"""

from importlib import import_module

from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.aggregation import aggregate_items
from bayes_ctxlaw.compute import list_models, model_compute, training_flops
from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.datasets import list_datasets, load_dataset
from bayes_ctxlaw.errors import (
    BayesCtxlawError,
    FileFormatError,
    NotFittedError,
    ObservationError,
    SpecificationError,
    UnknownLabelError,
)
from bayes_ctxlaw.observations import as_design, as_observations, grid
from bayes_ctxlaw.priors import Prior, between, half_normal

__all__ = [
    "BayesCtxlawError",
    "ContextLaw",
    "FileFormatError",
    "NotFittedError",
    "ObservationError",
    "Prior",
    "SpecificationError",
    "UnknownLabelError",
    "__version__",
    "aggregate_items",
    "as_design",
    "as_observations",
    "backtest",
    "between",
    "grid",
    "half_normal",
    "list_datasets",
    "list_models",
    "load_dataset",
    "model_compute",
    "plots",
    "splits",
    "training_flops",
]


# Loaded on first use: a process that only fits needs neither drawing nor backtests.
_LATER = {
    "backtest": "bayes_ctxlaw.validation.backtest",
    "plots": "bayes_ctxlaw.plots",
    "splits": "bayes_ctxlaw.validation.splits",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_LATER[name])
    return getattr(module, name, module)  # what is called so in the module, or the module itself
