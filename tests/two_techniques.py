"""Simulated evaluations of two techniques on one family, for tests and benchmarks of contrasts."""

import numpy as np
import pandas as pd

import bayes_ctxlaw as bcl
from bayes_ctxlaw.law import mean_score

NAMES = ("X", "Y")
WINDOWS = (8192, 16384, 32768, 65536)


def simulated(seed, kappas=(5.0, 5.0), families=("F", "F"), checkpoint_sd=0.05):
    """Simulate scores of 500 items: two tasks, eight checkpoints, twelve prompt lengths.

    The techniques have everything in common but the sharpness of their penalty, given by `kappas`;
    `families` says with which family each was seen.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for technique, kappa, family in zip(NAMES, kappas, families, strict=True):
        for window in WINDOWS:
            own = checkpoint_sd * rng.standard_normal(2)
            for number, log_a in enumerate((0.2, 0.9)):
                for ratio in np.geomspace(0.01, 2.5, 12):
                    tokens = round(window * ratio)
                    parameters = {
                        "log_A": log_a + own[0],
                        "alpha": 0.3,
                        "log_B": 1.5,
                        "beta": 0.7,
                        "kappa": kappa,
                        "delta": 0.1 + own[1],
                    }
                    design = {
                        "x": 0.0,
                        "z": np.log(tokens / 1000),
                        "w": np.log(tokens / window),
                        "chance": 0.0,
                    }
                    rows.append(
                        {
                            "task": f"task {number}",
                            "llm": f"{technique} {window}",
                            "family": family,
                            "technique": technique,
                            "compute": 8e22,
                            "context_window": window,
                            "prompt_tokens": tokens,
                            "n_items": 500,
                            "n_correct": rng.binomial(
                                500, float(mean_score(parameters, design, PAPER_LIKE))
                            ),
                        }
                    )
    return bcl.as_observations(pd.DataFrame(rows))


PAPER_LIKE = bcl.ContextLaw(zero_context="none").terms
"""Form of the law that the scores are simulated from."""
