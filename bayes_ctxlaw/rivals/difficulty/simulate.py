"""Simulated populations of items: pass counts with a known answer, to test forecasts against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from scipy.special import expit, logit

from bayes_ctxlaw.errors import SpecificationError

KINDS: Mapping[str, float] = {
    "easy": 0.25,
    "medium": 0.30,
    "hard": 0.25,
    "emergent": 0.10,
    "non-monotone": 0.10,
}
"""Kinds of items, and the share of each unless `shares` says otherwise."""

COMPUTE = (4.0e19, 1.2e20, 3.1e20, 6.9e20, 1.4e21, 4.6e21, 5.1e22, 1.4e23)
"""Training compute, FLOPs, of the eight checkpoints of arXiv:2502.17262 to two digits."""

TARGET = "target"
"""Label of the checkpoint to be forecast in what is simulated."""

_JITTER = 20.0  # concentration of the shares: their sd is about a fifth of sqrt(share)
_MIDPOINT = {"easy": (0.1, 0.12), "medium": (0.5, 0.15), "hard": (0.9, 0.15)}  # of the span
_IDIOSYNCRASY = 0.2  # sd, on the logit scale, of how one checkpoint meets one item


def simulate_items(
    n_items: int = 600,
    compute: Sequence[float] = COMPUTE,
    target_compute: float | None = None,
    shares: Mapping[str, float] | None = None,
    n_samples: int = 100,
    emergence: tuple[float, float] = (-2.5, 1.5),
    checkpoint_sd: float = 0.1,
    task: str = "simulated task",
    random_seed: int | None = None,
) -> xr.Dataset:
    r"""Simulate pass counts of a population of items.

    Nothing here was measured; the result says so in its attributes.

    Parameters
    ----------
    n_items : int
    compute : sequence of float
        Training compute of the checkpoints to fit, FLOPs.
    target_compute : float, optional
        That of the checkpoint to forecast, whose label is ``"target"``. Ten times the largest of
        `compute` unless given.
    shares : mapping of str to float, optional
        Expected share of every kind of item: ``"easy"``, ``"medium"``, ``"hard"``, ``"emergent"``,
        ``"non-monotone"``. Kinds left out do not occur. Shares of one population scatter around
        these (Dirichlet, concentration 20).
    n_samples : int
        Samples of every checkpoint for every item.
    emergence : tuple of float
        From where to where thresholds of emergent items lie, in decades of compute beyond the
        largest of `compute`.
    checkpoint_sd : float
        Standard deviation of what every checkpoint, the target among them, adds to all items: as if
        the natural log of its compute were another.
    task : str
    random_seed : int, optional

    Returns
    -------
    xr.Dataset
        As from ``as_items``, with dims ``llm`` and ``item``, and beside the counts ``kind`` (item)
        and ``pass_rate`` (llm, item), the true one.

    Raises
    ------
    SpecificationError
        All options that cannot be used, in one message.

    Notes
    -----
    Easy, medium and hard items follow
    :math:`p = g + (1 - g) \exp[-(C / C_i)^{-b_i} - c_i]`, with :math:`\log C_i` normal around a
    tenth, the middle and nine tenths of the log range of `compute`. Emergent items stay at
    :math:`g` up to a threshold, and then rise within about half a decade to a height of their own.
    Thresholds are uniform in log compute over `emergence`. Non-monotone items have a hump or a
    trough in log compute, or a random walk. Every checkpoint has an effect on all its items, and
    meets every item a little differently (sd 0.2 on the logit scale).

    Examples
    --------
    >>> items = simulate_items(n_items=50, random_seed=1)
    >>> dict(items.sizes), items.attrs["simulated"]
    ({'llm': 9, 'item': 50}, 'yes')
    """
    shares = dict(KINDS if shares is None else shares)
    grid = np.sort(np.asarray(compute, dtype=float))
    target = 10.0 * grid.max(initial=0.0) if target_compute is None else float(target_compute)
    _check(n_items, grid, target, shares, n_samples, emergence, checkpoint_sd)
    rng = np.random.default_rng(random_seed)
    names = [name for name in KINDS if shares.get(name, 0.0) > 0]
    expected = np.array([shares[name] for name in names])
    drawn = rng.dirichlet(_JITTER * expected / expected.sum())
    kinds = np.repeat(names, rng.multinomial(n_items, drawn))
    log_c = np.log(np.append(grid, target))
    true = log_c + checkpoint_sd * rng.standard_normal(len(log_c))
    rate = np.empty((len(log_c), n_items))
    span = np.log(grid[0]), np.log(grid[-1])
    thresholds = tuple(span[1] + np.log(10.0) * np.array(emergence, dtype=float))
    for name in names:
        own = np.flatnonzero(kinds == name)
        rate[:, own] = _rates(name, true[:, None], len(own), span, thresholds, rng)
    noise = _IDIOSYNCRASY * rng.standard_normal(rate.shape)
    rate = expit(logit(np.clip(rate, 1e-9, 1 - 1e-9)) + noise)
    n_correct = rng.binomial(n_samples, rate)
    return xr.Dataset(
        {
            "n_correct": (("llm", "item"), n_correct.astype(float), {"units": "samples"}),
            "n_samples": (("llm", "item"), np.full(rate.shape, float(n_samples))),
            "pass_rate": (("llm", "item"), rate, {"long_name": "true pass rate, simulated"}),
        },
        coords={
            "llm": np.array([f"sim-{i}" for i in range(len(grid))] + [TARGET], dtype=object),
            "item": np.array([f"item {i}" for i in range(n_items)], dtype=object),
            "compute": ("llm", np.append(grid, target), {"units": "FLOP"}),
            "task": ("item", np.full(n_items, task, dtype=object)),
            "kind": ("item", kinds.astype(object)),
        },
        attrs={"simulated": "yes", "source": "simulated by bayes_ctxlaw, nothing measured"},
    )


def _check(
    n_items: int,
    grid: np.ndarray,
    target: float,
    shares: Mapping[str, float],
    n_samples: int,
    emergence: tuple[float, float],
    checkpoint_sd: float,
) -> None:
    faults = []
    for name, value in (("n_items", n_items), ("n_samples", n_samples)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            faults.append(f"{name}={value!r} must be a whole number, at least 1")
    if len(grid) < 2 or not np.isfinite(grid).all() or (grid <= 0).any():
        faults.append("compute must be two or more numbers above 0")
    elif not (np.isfinite(target) and target > 0):
        faults.append(f"target_compute={target!r} must be a number above 0")
    if not (len(emergence) == 2 and emergence[0] < emergence[1]):
        faults.append(f"emergence={emergence!r} must be two numbers, the lower first")
    if not checkpoint_sd >= 0:
        faults.append(f"checkpoint_sd={checkpoint_sd!r} must be at least 0")
    unknown = [name for name in shares if name not in KINDS]
    if unknown:
        allowed = ", ".join(KINDS)
        faults.append(f"shares name {', '.join(map(repr, unknown))}; the kinds are {allowed}")
    if any(not share >= 0 for share in shares.values()) or not sum(shares.values()) > 0:
        faults.append(f"shares={shares!r} must be at least 0, and one of them above")
    if faults:
        raise SpecificationError("; ".join(faults) + ".")


def _rates(
    kind: str,
    log_c: np.ndarray,
    size: int,
    span: tuple[float, float],
    thresholds: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """True pass rates of items of one kind: (checkpoint, item)."""
    low, high = span
    floor = 0.005 * rng.random(size)
    if kind in _MIDPOINT:
        place, scatter = _MIDPOINT[kind]
        centre = low + (high - low) * (place + scatter * rng.standard_normal(size))
        b = 0.5 * np.exp(0.3 * rng.standard_normal(size))
        c = np.abs(0.05 * rng.standard_normal(size))
        # At most e^30: exp of minus that is 0 already.
        h = np.exp(np.minimum(-b * (log_c - centre), 30.0))
        return floor + (1 - floor) * np.exp(-h - c)
    decade = np.log(10.0)
    if kind == "emergent":
        threshold = rng.uniform(*thresholds, size)
        height = rng.beta(4.0, 2.0, size)
        return floor + (height - floor) * expit(10.0 * (log_c - threshold) / decade)
    if kind == "non-monotone":
        centre, width = rng.uniform(low, high, size), decade * rng.uniform(0.5, 1.5, size)
        bump = np.exp(-0.5 * ((log_c - centre) / width) ** 2)
        height = rng.beta(2.0, 2.0, size)
        steps = np.sqrt(np.abs(np.diff(log_c, axis=0, prepend=log_c[:1])) / decade)
        walk = expit(np.cumsum(steps * rng.standard_normal((len(log_c), size)), axis=0))
        form = rng.integers(3, size=size)
        return np.select([form == 0, form == 1], [height * bump, height * (1 - bump)], walk)
    raise AssertionError(kind)
