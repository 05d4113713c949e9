"""What does ``import bayes_ctxlaw`` cost, and what ``import pymc``?

    python benchmarks/import_time.py

Each import is the first of a process of its own, the start of the interpreter taken off; the
shortest of several runs counts.
"""

from __future__ import annotations

import subprocess
import sys

RUNS = 7
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str) -> float:
    """Shortest time of an import."""
    command = [sys.executable, "-c", CODE.format(module)]
    return min(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(RUNS)
    )


def main() -> None:
    """Compare the two."""
    ours, pymc = seconds("bayes_ctxlaw"), seconds("pymc")
    print(f"bayes_ctxlaw {ours:.2f} s, pymc {pymc:.2f} s, ratio {ours / pymc:.2f}")


if __name__ == "__main__":
    main()
