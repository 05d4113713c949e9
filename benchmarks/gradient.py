"""What does one gradient cost in the kernel, and what as PyTensor compiles the same graph?

    python benchmarks/gradient.py

evaluates both through the functions that nutpie calls. The kernel's gradient is one of the
variables that a fit samples, placing of effects included; the graph's is one of standard normal
effects, which are cheaper and far slower to sample. It also prints what making each of them ready
took: recording a program, or building and compiling a graph.
"""

from __future__ import annotations

import ctypes
import time

import numpy as np
import nutpie
from _common import DATASETS

import bayes_ctxlaw as bcl
from bayes_ctxlaw import kernel  # noqa: F401 - compiled or read from disk before any clock runs
from bayes_ctxlaw.density import build_density
from bayes_ctxlaw.graph import build_graph
from bayes_ctxlaw.sampling import sampler_model

EVALUATIONS, ROUNDS = 2000, 5


def microseconds(model: object, point: np.ndarray) -> float:
    """Shortest time of an evaluation, over rounds, through the function that nutpie calls."""
    number = ctypes.POINTER(ctypes.c_double)
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int64, ctypes.c_uint64, number, number, number, ctypes.c_void_p
    )
    function = kind(model.compiled_logp_func.address)
    value, gradient = np.empty(1), np.empty(len(point))
    x, g, v = (array.ctypes.data_as(number) for array in (point, gradient, value))
    data = model.user_data.ctypes.data
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(EVALUATIONS):
            if function(len(point), x, g, v, data):
                raise SystemExit("the log-density cannot be evaluated at the start")
        found.append((time.perf_counter() - begin) / EVALUATIONS)
    return 1e6 * min(found)


def main() -> None:
    """Compare on both data sets."""
    for dataset in DATASETS:
        law = bcl.ContextLaw()
        law._prepare(bcl.load_dataset(dataset))
        parts = law.obs, law.spec, law.encoding
        begin = time.perf_counter()
        density = build_density(*parts, law._geometry)
        ours = sampler_model(density)
        recorded = time.perf_counter()
        graph = nutpie.compile_pymc_model(build_graph(*parts))
        compiled = time.perf_counter()
        point = np.full(graph.n_dim, -0.5)
        a, b = microseconds(ours, density.start), microseconds(graph, point)
        print(f"{dataset}: {len(law.obs['obs_id'])} scores, {density.n_dim} values")
        print(f"  gradient: kernel {a:.1f} µs, PyTensor {b:.1f} µs, kernel ÷ PyTensor {a / b:.2f}")
        print(
            f"  making ready: {recorded - begin:.3f} s and {compiled - recorded:.1f} s, "
            f"ratio {(recorded - begin) / (compiled - recorded):.4f}"
        )


if __name__ == "__main__":
    main()
