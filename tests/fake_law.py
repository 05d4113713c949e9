"""A stand-in for a fitted law: predictions and posterior of the right form, made in no time."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw import advice
from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.law import PARAMETERS
from bayes_ctxlaw.observations import as_design, as_observations, grid
from bayes_ctxlaw.review import Review


def fake_prediction(at, data=None, kind="response", ci_prob=0.9):
    """Predict a smooth curve, with the variables and attributes of ``law.predict``."""
    at = as_design(at)
    ratio = at["prompt_tokens"].values / at["context_window"].values
    rise = 1 - np.exp(-((at["prompt_tokens"].values / 200) ** 0.5))
    median = 0.5 * rise * (at["compute"].values / 1e23) ** 0.05 / (1 + ratio**4)
    extrapolation = Encoding.of(at if data is None else data, {}).extrapolation(at)
    values = {"mean": median, "median": median, "sd": 0 * median + 0.03}
    values |= {"lower": np.clip(median - 0.05, 0, 1), "upper": np.clip(median + 0.05, 0, 1)}
    out = at.assign({name: ("obs_id", value) for name, value in values.items()})
    out = out.assign_coords(axis=list(extrapolation))
    out["extrapolation"] = ("obs_id", "axis"), np.stack(list(extrapolation.values()), axis=1)
    attrs = {"prediction_kind": kind, "ci_prob": ci_prob, "ci_kind": "equal-tailed"}
    return out.assign_attrs(attrs | {"new_levels": "error"})


def fake_idata(tasks=("maths", "qa", "translation"), draws=1000, bias=0.0):
    """Draw a posterior of independent normals; `bias` moves one chain away from the others."""
    rng = np.random.default_rng(1)
    dims = ("chain", "draw")
    posterior = {}
    for name in PARAMETERS:
        posterior[f"mu_{name}"] = (dims, rng.normal(size=(4, draws)))
        effects = rng.normal(np.arange(len(tasks)), 0.5, size=(4, draws, len(tasks)))
        effects[0] += bias
        posterior[f"{name}_task"] = ((*dims, "task"), effects)
        posterior[f"{name}_task_sd"] = (dims, np.abs(rng.normal(size=(4, draws))))
        posterior[name] = ((*dims, "task"), np.exp(effects))
    posterior["A_task_technique"] = ((*dims, "task_technique"), rng.normal(size=(4, draws, 2)))
    posterior["A_task_technique_sd"] = posterior["A_task_sd"]
    coords = {"task": list(tasks), "task_technique": ["qa | YaRN", "qa | PI"]}
    stats = {name: (dims, np.zeros((4, draws), bool)) for name in ("diverging",)}
    return xr.DataTree.from_dict(
        {"posterior": xr.Dataset(posterior, coords=coords), "sample_stats": xr.Dataset(stats)}
    )


class FakeLaw(ContextLaw):
    """A law whose fit takes no time, with predictions that are made up."""

    made = None
    """The last one that was made."""

    def __init__(self, **options):
        super().__init__(**options)
        self.options, self.fitted_with = options, None
        type(self).made = self

    def __str__(self):
        return "A law <of tests> & its priors"

    def fit(self, obs, **settings):
        self.obs = as_observations(obs)
        self.fitted_with = settings
        self.idata = fake_idata(tuple(dict.fromkeys(self.obs["task"].values)))
        return self.idata

    def predict(self, at, kind="response", ci_prob=0.9, new_levels="error", random_seed=None):
        self.predicted_with = {"new_levels": new_levels, "random_seed": random_seed}
        return fake_prediction(at, self.obs, kind, ci_prob)

    def review(self):
        table = pd.DataFrame(
            advice.of_convergence(self.idata),
            columns=["check", "verdict", "value", "wanted", "advice"],
        )
        return Review(table.set_index("check"), pd.DataFrame(), pd.DataFrame())

    def save(self, path):
        Path(path).write_text(json.dumps(self.options), encoding="utf-8")

    @classmethod
    def load(cls, path):
        law = cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        law.fit(observations())
        return law


def observations(tasks=("maths", "qa"), llms=("A-8k", "A-32k")):
    """Return scores of every llm on every task at four prompt lengths."""
    design = design_of(tasks, llms, prompt_tokens=[100, 1000, 4000, 8000])
    score = fake_prediction(design)["median"] + 0.01
    return as_observations(design.assign(score=score, held_out=design["prompt_tokens"] > 5000))


def design_of(tasks=("maths", "qa"), llms=("A-8k", "A-32k"), **axes):
    """Lay out a grid in which every llm has a window of its own."""
    windows = {llm: 8192 * 4**number for number, llm in enumerate(llms)}
    axes = {"prompt_tokens": np.geomspace(50, 100_000, 30)} | axes
    parts = [
        grid(task=list(tasks), llm=llm, compute=8e22, context_window=window, family="A", **axes)
        for llm, window in windows.items()
    ]
    rows = pd.concat([part.to_dataframe() for part in parts], ignore_index=True)
    return as_design(rows)
