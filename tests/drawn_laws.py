"""Laws with joint draws and closed forms, for what is computed from draws. Nothing is fitted."""

import json
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from bayes_ctxlaw.errors import UnknownLabelError
from bayes_ctxlaw.observations import as_design, as_observations, grid
from bayes_ctxlaw.predict import check_options

SHAPE = (4, 2500)
TASK_OFFSETS = {"maths": 0.0, "qa": 0.1}
MEAN, SD = (0.3, 0.1, 0.05), (0.02, 0.02, 0.02)
"""Of the independent normals a, b, c: level at 1000 tokens and 1e23 FLOP, and slopes by decade."""
LLM_SD = 0.03
NOISE = 0.4
"""Standard deviation of the score of a single item."""


class LinearLaw:
    """score = a + task + llm + b log10(tokens / 1000) + c log10(compute / 1e23), all normal.

    With `falls`, it is divided by 1 + (tokens / window)**8.
    """

    def __init__(self, falls=False, shape=SHAPE, llms=("A-8k", "A-32k")):
        self.falls, self.shape, self.llms = falls, shape, tuple(llms)
        at = grid(
            task=list(TASK_OFFSETS), llm=self.llms[0], compute=[1e22, 1e23], context_window=8192,
            prompt_tokens=[100.0, 1000.0, 4000.0], n_items=100,
        )  # fmt: skip
        first = np.arange(at.sizes["obs_id"])
        at["llm"] = "obs_id", np.where(at["compute"] > 5e22, self.llms[-1], self.llms[0])
        self.obs = as_observations(at.assign(score=("obs_id", 0.3 + 0.001 * first)))
        size = int(np.prod(shape))
        rng = np.random.default_rng(1)
        self.parameters = np.array(MEAN) + np.array(SD) * rng.standard_normal((size, 3))
        self.effects = {llm: LLM_SD * rng.standard_normal(size) for llm in self.llms}

    def features(self, at):
        x = np.log10(at["prompt_tokens"].values / 1000)
        return np.stack([np.ones_like(x), x, np.log10(at["compute"].values / 1e23)])

    def predict(
        self, at, kind="response", ci_prob=0.9, new_levels="error", random_seed=None, samples=False
    ):
        check_options(kind, ci_prob, new_levels)
        at = as_design(at)
        unknown = sorted(set(at["llm"].values) - set(self.llms))
        if unknown and new_levels == "error":
            raise UnknownLabelError(f"`llm`: {unknown} not in the fit, which saw {self.llms}")
        score = self.parameters @ self.features(at)
        score += np.array([TASK_OFFSETS[task] for task in at["task"].values])
        rng = np.random.default_rng([7 if random_seed is None else random_seed, at.sizes["obs_id"]])
        if kind != "law":
            new = {
                llm: LLM_SD * np.random.default_rng(len(llm)).standard_normal(len(score))
                for llm in unknown
            }
            effects = self.effects | new
            score += np.stack([effects[llm] for llm in at["llm"].values], axis=1)
        if self.falls:
            score /= 1 + (at["prompt_tokens"].values / at["context_window"].values) ** 8
        if kind == "response":
            score = score + NOISE / np.sqrt(at["n_items"].values) * rng.standard_normal(score.shape)
        tail = (1 - ci_prob) / 2
        out = at.assign(
            sd=("obs_id", score.std(axis=0)),
            lower=("obs_id", np.quantile(score, tail, axis=0)),
            upper=("obs_id", np.quantile(score, 1 - tail, axis=0)),
        ).assign_coords(axis=["compute", "prompt_tokens", "window_ratio"])
        beyond = [
            np.maximum(np.log10(at[name].values / float(self.obs[name].max())), 0)
            for name in ("compute", "prompt_tokens")
        ]
        out["extrapolation"] = ("obs_id", "axis"), np.stack([*beyond, 0 * beyond[0]], axis=1)
        if samples:
            out["samples"] = ("chain", "draw", "obs_id"), score.reshape(*self.shape, -1)
        return out.assign_attrs(prediction_kind=kind, ci_prob=ci_prob, ci_kind="equal-tailed")

    def predictor(self, random_seed=None):
        return self

    def reaching(self, at, scores):
        noise = NOISE / np.sqrt(at["n_items"].values)
        return lambda score: ndtr((scores - score) / noise)

    def covariance(self, at, other):
        """Of the scores, without noise, at two designs."""
        covariance = (self.features(at).T * np.square(SD)) @ self.features(other)
        return covariance + LLM_SD**2 * (at["llm"].values[:, None] == other["llm"].values)

    def save(self, path):
        Path(path).write_text(json.dumps({"falls": self.falls}), encoding="utf-8")

    @classmethod
    def load(cls, path):
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
