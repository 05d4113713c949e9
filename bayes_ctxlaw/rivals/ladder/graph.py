"""A hierarchical task ladder as a PyMC model: both steps, or the direct law, of all tasks.

Sizes are logarithms over their geometric means in the data. Losses are over the geometric mean of
the task's own, where the law of losses is stated, so that parameters of tasks are of one kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayes_ctxlaw.rivals.ladder.runs import Runs

SIZES = {"n": "n_params", "d": "train_tokens", "c": "compute"}

FORMS = {  # loss variable, by compute, direct
    "task_loss": ("task_loss", False, False),
    "compute": ("task_loss", True, False),
    "direct": (None, False, True),
    "direct_compute": (None, True, True),
}

# Mean and sd of the population of tasks, and scale of tasks around it.
# Exponents: 0.17 to 0.53 with 90 %; published fits of losses lie between 0.2 and 0.5.
_EXPONENT = (np.log(0.3), 0.35, 0.2)
# The reducible part of the loss over its limit, for N and for D, where the law is stated.
_RATIO = (np.log(0.3), 0.7, 0.5)
# Power of the loss that the logit of the score is linear in: 0 is its logarithm, 1 itself.
_POWER = (0.5, 0.3, 0.25)
_SLOPE = (np.log(4.0), 1.0, 0.5)
_LOSS_SCATTER = (np.log(0.01), 0.5, 0.5)
_MISFIT = 1e-3
# Share of −log Q, where the direct law is stated, that no run takes away: 1 % to 20 % with 90 %.
_LIMIT = (-3.0, 0.8, 0.5)

_LLMS = 8
"""Effects of runs come in multiples of this, so that folds of a backtest share a program."""

_FLOOR_SD = 0.1
"""Scores of models that know nothing lie this close to chance: answers may be tempting or not."""


@dataclass(frozen=True)
class References:
    """Where parameters are stated.

    Parameters
    ----------
    log_size : dict of str to float
        Geometric means of the runs, as logarithms: ``n``, ``d``, ``c``.
    edges : dict of str to tuple of float
        The smallest and the largest run over that, as logarithms.
    log_loss : dict of str to float
        Of every task, the mean log loss of the runs' ends.
    lowest : dict of str to float
        Of every task, the lowest log loss of a run's end over that.
    highest : dict of str to float
        Of every task, the highest score of a run's end.
    """

    log_size: dict[str, float]
    edges: dict[str, tuple[float, float]]
    log_loss: dict[str, float]
    lowest: dict[str, float]
    highest: dict[str, float]

    @classmethod
    def of(cls, runs: Runs) -> References:
        """From the ends of runs."""
        logs = {axis: np.log(runs.ends[name]) for axis, name in SIZES.items()}
        size = {axis: float(log.mean()) for axis, log in logs.items()}
        edges = {
            axis: (float(log.min()) - size[axis], float(log.max()) - size[axis])
            for axis, log in logs.items()
        }
        log_loss = np.log(runs.ends["loss"]).groupby(runs.ends["task"])
        mean = log_loss.mean()
        lowest = log_loss.min() - mean
        highest = runs.ends.groupby("task")["score"].max()
        return cls(size, edges, mean.to_dict(), lowest.to_dict(), highest.to_dict())


@dataclass(frozen=True)
class Form:
    """All of a model but its data: one compiled program serves all fits that have it.

    Parameters
    ----------
    variant : str
        One of `FORMS`.
    tasks : int
    llms : int
        Effects of runs; those beyond the runs of the data follow their prior and say nothing.
    checkpoints : bool
        Whether checkpoints tell how far scores scatter between them.
    """

    variant: str
    tasks: int
    llms: int
    checkpoints: bool

    @classmethod
    def of(cls, runs: Runs, variant: str) -> Form:
        """That of a fit to runs."""
        llms = _LLMS * -(-len(runs.llms) // _LLMS)
        return cls(variant, len(runs.tasks), llms, checkpoint_squares(runs)[1] > 0.0)


def graph_data(runs: Runs, form: Form, references: References) -> dict[str, np.ndarray]:
    """What the model of a form is given: named as in `build_graph`.

    Parameters
    ----------
    runs : Runs
    form : Form
    references : References

    Returns
    -------
    dict of str to ndarray
    """
    loss, by_compute, _ = FORMS[form.variant]
    ends, tasks, llms = runs.ends, runs.tasks, runs.llms
    data = {
        "task_of_row": np.array([tasks.index(t) for t in ends["task"]]),
        "llm_of_row": np.array([llms.index(name) for name in ends["llm"]]),
        "chance": ends.groupby("task")["chance"].first()[tasks].to_numpy(float),
        "scores": ends["score"].to_numpy(float),
        "n_items": ends["n_items"].to_numpy(float),
    }
    for axis in "c" if by_compute else "nd":
        data[f"x_{axis}"] = np.log(ends[SIZES[axis]].to_numpy()) - references.log_size[axis]
    if loss is not None:
        own = np.array([references.log_loss[t] for t in ends["task"]])
        data["log_losses"] = np.log(ends["loss"].to_numpy()) - own
    if form.checkpoints:
        squares, freedom = checkpoint_squares(runs)
        data |= {"squares": np.array(squares), "freedom": np.array(freedom)}
    return data


def build_graph(form: Form, data: Mapping[str, np.ndarray]) -> Any:
    """Write the model down.

    Parameters
    ----------
    form : Form
    data : mapping of str to ndarray
        From `graph_data`; each is a ``pm.Data`` of that name, whose length may change.

    Returns
    -------
    pymc.Model
    """
    import pymc as pm

    _, by_compute, direct = FORMS[form.variant]
    with pm.Model(coords={"task": range(form.tasks), "llm": range(form.llms)}) as model:
        given = {name: pm.Data(name, values) for name, values in data.items()}
        task = given["task_of_row"]
        run_scale = pm.HalfNormal("run_scale", 0.02 if not direct else 0.1)
        run = run_scale * pm.Normal("run_effect_unit", dims="llm")
        pm.Deterministic("run_effect", run, dims="llm")
        run = run[given["llm_of_row"]]
        scatter = pm.HalfNormal("checkpoint_scatter", 1.0)
        share = _power_law(given, by_compute, direct)
        if direct:
            # log of −log Q′; at the references exp(−1) or so of what is above chance is reached.
            level = pm.Normal("log_deficit", 0.0, 1.0, dims="task")
            stays = pm.math.sigmoid(_beside("logit_limit", *_LIMIT))[task]
            falls = (1.0 - stays) * pm.math.exp(share + run)
            floor = _floor(given)[task]
            score = floor + (1.0 - floor) * pm.math.exp(-pm.math.exp(level[task]) * (falls + stays))
        else:
            level = pm.Normal("log_loss", 0.0, 0.3, dims="task")
            loss_scatter = scatter_of_losses(_around("log_loss_scatter", *_LOSS_SCATTER))
            mean = level[task] + share + run
            z = given["log_losses"]
            pm.StudentT("loss", nu=4, mu=mean, sigma=loss_scatter[task], observed=z)
            score = _score_of_loss(given)
        # Drawn in by half an item, as in all our noise: a run that scores 0 where chance is 0 would
        # else be the likelier the nearer the curve is to 0, without end.
        n = given["n_items"]
        inner = (pm.math.clip(score, 0.0, 1.0) * n + 0.5) / (n + 1.0)
        binomial = inner * (1.0 - inner) / n
        total = scatter**2
        if form.checkpoints:
            # A sum of squares of normal errors is a gamma variable.
            shape, rate = 0.5 * given["freedom"], 0.5 / scatter**2
            pm.Gamma("checkpoint_squares", alpha=shape, beta=rate, observed=given["squares"])
            # Without checkpoints nothing would tell this from the scatter between them.
            total = total + pm.HalfNormal("run_scatter", 1.0) ** 2
        sd = pm.math.sqrt(total * binomial)
        pm.Normal("score", score, sd, observed=given["scores"])
    return model


def scatter_of_losses(log_scatter: Any) -> Any:
    """Scale of a task's log losses around the curve, which no curve meets better than `_MISFIT`.

    Effects of runs can follow the losses of a single task as nearly as they like; without a least
    scatter they would be drawn into doing so. Arrays or tensors.
    """
    return (np.e ** (2.0 * log_scatter) + _MISFIT**2) ** 0.5


def _around(name: str, mean: float, sd: float, scale: float) -> Any:
    """A parameter of every task around that of the population; for tasks with much data."""
    import pymc as pm

    centre = pm.Normal(f"mu_{name}", mean, sd)
    return pm.Normal(name, centre, pm.HalfNormal(f"sd_{name}", scale), dims="task")


def _beside(name: str, mean: float, sd: float, scale: float) -> Any:
    """The same for tasks with little data, which a sampler explores better so."""
    import pymc as pm

    centre = pm.Normal(f"mu_{name}", mean, sd)
    spread = pm.HalfNormal(f"sd_{name}", scale)
    unit = pm.Normal(f"{name}_unit", dims="task")
    return pm.Deterministic(name, centre + spread * unit, dims="task")


def _power_law(given: Mapping[str, Any], by_compute: bool, direct: bool) -> Any:
    """Log of the law over its value at the references."""
    import pymc as pm

    task = given["task_of_row"]
    names = {"c": "alpha"} if by_compute else {"n": "alpha", "d": "beta"}
    terms, parts = [], []
    for axis, name in names.items():
        x = given[f"x_{axis}"]
        exponent = pm.math.exp(_beside(f"log_{name}", *_EXPONENT))
        if direct and len(names) == 1:
            return -exponent[task] * x
        # The direct law has no limit: its first term is what the other is compared with.
        ratio = 0.0 if direct and axis == "n" else _beside(f"log_ratio_{axis}", *_RATIO)
        weight = pm.math.exp(ratio)
        parts.append(weight)
        weight = weight if isinstance(ratio, float) else weight[task]
        terms.append(weight * pm.math.exp(-exponent[task] * x))
    limit = 0.0 if direct else 1.0
    total = limit + sum(parts)
    return pm.math.log((limit + sum(terms)) / total[task])


def _floor(given: Mapping[str, Any]) -> Any:
    """What models that know nothing score, near chance."""
    import pymc as pm

    above = pm.Normal("floor_unit", dims="task")
    return pm.Deterministic("floor", given["chance"] + _FLOOR_SD * above, dims="task")


def _score_of_loss(given: Mapping[str, Any]) -> Any:
    """Score from the log of the loss over the task's reference."""
    import pymc as pm

    task = given["task_of_row"]
    floor = _floor(given)
    centre = pm.Normal("logit", -1.0, 1.5, dims="task")
    slope = pm.math.exp(_around("log_slope", *_SLOPE))
    power = _beside("power", *_POWER)
    rise = pm.math.expm1(power[task] * given["log_losses"]) / power[task]
    logit = centre[task] - slope[task] * rise
    return floor[task] + (1.0 - floor[task]) * pm.math.sigmoid(logit)


def checkpoint_squares(runs: Runs) -> tuple[float, float]:
    """How far scores scatter from one checkpoint of a run to the next, over what a binomial would.

    Of the later half of each run's checkpoints, a parabola taken off.

    Returns
    -------
    squares : float
        Sum over all runs and tasks, each over its binomial variance.
    freedom : float
        Degrees of freedom; 0 if no run has enough checkpoints.
    """
    squares = freedom = 0.0
    for _, part in runs.checkpoints.groupby(["task", "llm"]):
        late = part.iloc[len(part) // 2 :]
        if len(late) < 8:
            continue
        place = np.linspace(-1.0, 1.0, len(late))
        score, n = late["score"].to_numpy(), late["n_items"].to_numpy()
        off = score - np.polyval(np.polyfit(place, score, 2), place)
        mean = np.clip(score.mean(), 0.5 / n, 1.0 - 0.5 / n)
        squares += float((off**2 * n / (mean * (1.0 - mean))).sum())
        freedom += len(late) - 3
    return squares, freedom
