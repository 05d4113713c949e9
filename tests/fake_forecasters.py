"""Forecasters that fit in no time: with draws, with intervals or points only, with faults."""

import numpy as np


class Gaussian:
    """Normal draws around the mean score of each task, clipped to [0, 1]."""

    def __init__(self, shift=0.0, scale=1.0):
        self.shift, self.scale = shift, scale

    def fit(self, obs, draws=200, random_seed=None):
        self.saw, self.draws, self.fit_seed = obs, draws, random_seed
        by_task = obs["score"].groupby(obs["task"])
        self.mean, self.sd = by_task.mean(), by_task.std()

    def predict(self, at, ci_prob=0.9, random_seed=None, samples=False):
        if "score" in at or "n_correct" in at or "task_loss" in at:
            raise AssertionError("a forecaster must not be shown what it is to predict")
        rng = np.random.default_rng([self.fit_seed, random_seed])
        mean = self.mean.sel(task=at["task"]).values + self.shift
        sd = self.sd.sel(task=at["task"]).values * self.scale
        draws = np.clip(rng.normal(mean, sd, size=(2, self.draws, len(mean))), 0, 1)
        out = summary(at, draws, ci_prob)
        return out.assign(samples=(("chain", "draw", "obs_id"), draws)) if samples else out


class Interval:
    """The mean score of all, give or take a tenth; no draws."""

    def fit(self, obs):
        self.mean = float(obs["score"].mean())

    def predict(self, at, ci_prob=0.9):
        names = {"mean": 0, "median": 0, "lower": -0.1, "upper": 0.1}
        rows = at.sizes["obs_id"]
        return at.assign({n: ("obs_id", np.full(rows, self.mean + d)) for n, d in names.items()})


class Point(Interval):
    """The mean score of all, without an interval."""

    def predict(self, at, ci_prob=0.9):
        return super().predict(at).drop_vars(["lower", "upper"])


class Answers(Interval):
    """A forecaster that does to its prediction what it was told."""

    def __init__(self, change):
        self.change = change

    def predict(self, at, ci_prob=0.9):
        return self.change(super().predict(at))


class Raises(Interval):
    """A forecaster whose fit fails."""

    def __init__(self, error):
        self.error = error

    def fit(self, obs):
        raise self.error


def summary(at, draws, ci_prob):
    """Mean, median and interval of draws, with the attributes of ``law.predict``."""
    tail = (1 - ci_prob) / 2
    quantiles = np.quantile(draws, [0.5, tail, 1 - tail], axis=(0, 1))
    values = dict(zip(("median", "lower", "upper"), quantiles, strict=True))
    values["mean"] = draws.mean(axis=(0, 1))
    attrs = {"ci_prob": ci_prob, "ci_kind": "equal-tailed", "prediction_kind": "response"}
    return at.assign({n: ("obs_id", v) for n, v in values.items()}).assign_attrs(attrs)
