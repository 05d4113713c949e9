"""Forecast language-model scores with honest uncertainty: context-aware scaling laws in PyMC.

``import bayes_ctxlaw as bcl``; the usual way is ``bcl.as_observations`` or ``bcl.load_dataset``,
``bcl.ContextLaw().fit``, ``law.predict(bcl.grid(...))``. Whatever is used is imported then: PyMC
when a model is built, matplotlib when something is drawn.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.errors import (
    BayesCtxlawError,
    FileFormatError,
    NotFittedError,
    ObservationError,
    SpecificationError,
    UnknownLabelError,
)

if TYPE_CHECKING:  # what editors and type checkers see
    from bayes_ctxlaw import plots, readers, rivals
    from bayes_ctxlaw.aggregation import aggregate_items
    from bayes_ctxlaw.compute import find_model, list_models, model_compute, training_flops
    from bayes_ctxlaw.context_law import ContextLaw
    from bayes_ctxlaw.contrasts import contrast
    from bayes_ctxlaw.datasets import list_datasets, load_dataset
    from bayes_ctxlaw.observations import as_design, as_observations, grid
    from bayes_ctxlaw.planning import next_evaluation, required_compute, required_context
    from bayes_ctxlaw.priors import Prior, between, half_normal, zero_avoiding
    from bayes_ctxlaw.validation import splits
    from bayes_ctxlaw.validation.backtest import backtest
    from bayes_ctxlaw.validation.calibration import calibrate
    from bayes_ctxlaw.validation.stacking import stack
    from bayes_ctxlaw.windows import effective_window

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
    "calibrate",
    "contrast",
    "effective_window",
    "find_model",
    "grid",
    "half_normal",
    "list_datasets",
    "list_models",
    "load_dataset",
    "model_compute",
    "next_evaluation",
    "plots",
    "readers",
    "required_compute",
    "required_context",
    "rivals",
    "splits",
    "stack",
    "training_flops",
    "zero_avoiding",
]


_HOMES = {
    "ContextLaw": "context_law",
    "Prior": "priors",
    "aggregate_items": "aggregation",
    "as_design": "observations",
    "as_observations": "observations",
    "backtest": "validation.backtest",
    "between": "priors",
    "calibrate": "validation.calibration",
    "compute": "compute",
    "contrast": "contrasts",
    "effective_window": "windows",
    "find_model": "compute",
    "grid": "observations",
    "half_normal": "priors",
    "zero_avoiding": "priors",
    "list_datasets": "datasets",
    "list_models": "compute",
    "load_dataset": "datasets",
    "model_compute": "compute",
    "next_evaluation": "planning",
    "planning": "planning",
    "plots": "plots",
    "readers": "readers",
    "required_compute": "planning",
    "required_context": "planning",
    "rivals": "rivals",
    "splits": "validation.splits",
    "stack": "validation.stacking",
    "training_flops": "compute",
}
"""Where each public name is, for it is imported on first use (PEP 562)."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    # What is called so in the module, or the module itself.
    value = globals()[name] = getattr(module, name, module)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
