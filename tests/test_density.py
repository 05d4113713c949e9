"""The kernel's density is that of the PyMC graph in other variables, for every form of the law."""

import subprocess
import sys

import numpy as np
import pytest
from test_graph import CASES, made_up

from bayes_ctxlaw import kernel
from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.density import build_density
from bayes_ctxlaw.discrepancy import loadings
from bayes_ctxlaw.encoding import level_dim
from bayes_ctxlaw.graph import build_graph
from bayes_ctxlaw.law import PENALTIES
from bayes_ctxlaw.likelihoods import LIKELIHOODS
from bayes_ctxlaw.posterior import population_names
from bayes_ctxlaw.priors import scale_name

FORMS = CASES | {
    f"{likelihood}, {penalty}": (
        made_up,
        {"likelihood": likelihood, "penalty": penalty, "groups": ["task", "llm"]},
    )
    for likelihood, penalty in zip(LIKELIHOODS, PENALTIES * 2, strict=True)
}
every_form = pytest.mark.parametrize("form", FORMS)
_BUILT = {}


class Built:
    """A law's density, and its graph as a function of what a draw is kept as."""

    def __init__(self, form):
        make, options = FORMS[form]
        self.law = law = ContextLaw(**options)
        law._prepare(make())
        self.density = build_density(law.obs, law.spec, law.encoding, law._geometry)
        self._logp = None

    def value(self, x):
        return kernel.evaluate(self.density.program, x)[0]

    def gradient(self, x):
        return kernel.evaluate(self.density.program, x)[1]

    def kept(self, x):
        """Population values, scales, effects and overdispersion by name."""
        values = kernel.expanded(self.density.program, x)
        return {v.name: values[v.places] for v in self.density.variables}

    def plain(self, x):
        """What the graph moves, as one vector: logarithms of scales, standard normal effects."""
        kept, parts = self.kept(x), []
        for name in self.law.spec.terms.parameters:
            parts.append(kept[f"mu_{name}"])
            for level in self.law.spec.levels_of(name, self.law.encoding):
                parts.append(np.log(kept[scale_name(name, level)]))
            for level in self.law.spec.effects_of(name, self.law.encoding):
                effects = kept[f"{name}_{level_dim(level)}"]
                parts.append(effects / kept[scale_name(name, level)])
        if "discrepancy" in kept:
            parts += [np.log(kept["discrepancy_sd"]), self.unit_strays(kept)]
        if "overdispersion" in kept:
            parts.append(np.log(kept["overdispersion"]))
        return np.concatenate(parts)

    def unit_strays(self, kept):
        """The standard normal numbers that a discrepancy is made of."""
        made_of = np.linalg.solve(loadings(self.law.encoding), kept["discrepancy"])
        return made_of / kept["discrepancy_sd"]

    def graph(self, x):
        """Log-density of the PyMC model there."""
        if self._logp is None:
            model = build_graph(self.law.obs, self.law.spec, self.law.encoding)
            self.names = [variable.name for variable in model.value_vars]
            self._logp = model.compile_logp(mode="FAST_COMPILE", sum=False)
            self.scalar = {v.name: v.ndim == 0 for v in model.value_vars}
        kept, point = self.kept(x), {}
        for name in self.names:
            bare = name.removesuffix("_log__")
            if bare.endswith("_raw"):
                effects = bare.removesuffix("_raw")
                value = (
                    self.unit_strays(kept)
                    if effects == "discrepancy"
                    else kept[effects] / kept[f"{effects}_sd"]
                )
            else:
                value = np.log(kept[bare]) if name.endswith("_log__") else kept[bare]
            point[name] = value[0] if self.scalar[name] else value
        return sum(float(np.sum(part)) for part in self._logp(point))

    def log_stretch(self, x):
        """Log of the Jacobian of `plain`, by finite differences."""
        columns = [derivative(lambda t, e=e: self.plain(x + t * e)) for e in np.eye(len(x))]
        return np.linalg.slogdet(np.array(columns))[1]


def derivative(function, h=1e-3):
    """Slope at 0, with an error of the order of h⁴."""
    near, far = (function(h) - function(-h)), (function(2 * h) - function(-2 * h))
    return (8.0 * near - far) / (12.0 * h)


def built(form):
    if form not in _BUILT:
        _BUILT[form] = Built(form)
    return _BUILT[form]


def points(density, number, seed):
    """Values from near the mode to far from it."""
    rng, spread = np.random.default_rng(seed), density.spread.copy()
    if "log_overdispersion" in density.moved:
        spread[density.moved["log_overdispersion"]] *= 0.5  # above 1 there is no beta-binomial
    for width in np.linspace(0.1, 1.5, number):
        yield density.start + width * spread * rng.standard_normal(density.n_dim)


def rounding(form):
    """What either side may lose to rounding.

    Sums of log gamma functions reach 1e7 where overdispersion is small, and PyMC's distribution
    function of the normal is good to single precision (`test_kernel` holds the kernel's to
    SciPy's).
    """
    exact = not form.startswith(("beta", "binomial", "normal", "counts", "interaction"))
    return 1e-10 if exact else 1e-6


@every_form
def test_it_is_the_graph_in_other_variables(form):
    case = built(form)
    for x in points(case.density, 3, 1):
        expected = case.graph(x) + case.log_stretch(x)
        # The Jacobian's own error; and some constants of PyMC's are rounded to single precision.
        assert case.value(x) == pytest.approx(expected, rel=1e-7, abs=1e-5)


@every_form
def test_where_the_layout_stays_it_differs_from_the_graph_by_rounding_alone(form):
    """Moving A's effects and the overdispersion leaves every Jacobian as it is."""
    case = built(form)
    rng = np.random.default_rng(2)
    moved = np.zeros(case.density.n_dim)
    for name in ("A", "log_overdispersion"):
        if name in case.density.moved:
            at = case.density.moved[name]
            moved[at] = 0.5 * case.density.spread[at] * rng.standard_normal(at.stop - at.start)
    for x in points(case.density, 3, 3):
        gained = case.value(x + moved) - case.value(x)
        expected = case.graph(x + moved) - case.graph(x)
        if case.law.spec.likelihood != "binomial":
            assert abs(gained) > 1e-4
        assert gained == pytest.approx(expected, rel=1e-10, abs=rounding(form))


@every_form
def test_the_gradient_is_the_slope_of_the_value(form):
    case = built(form)
    rng = np.random.default_rng(4)
    for x in points(case.density, 3, 5):
        gradient = case.gradient(x)
        for _ in range(5):
            along = rng.standard_normal(len(x)) * case.density.spread
            along /= np.linalg.norm(along)
            slope = derivative(lambda t, x=x, along=along: case.value(x + t * along), 3e-4)
            room = 1e-8 * np.abs(gradient * along).sum() + 1e-7 + rounding(form) / 1e-4
            assert slope == pytest.approx(gradient @ along, abs=room)


def test_a_gradient_that_is_off_would_be_found_out():
    case = built("helmet_icl")
    x = next(points(case.density, 1, 5))
    slope = derivative(lambda t: case.value(x + t * np.eye(len(x))[0]), 3e-4)
    near = case.gradient(x + 1e-3)[0]
    assert slope == pytest.approx(case.gradient(x)[0], abs=1e-6)
    assert abs(slope - near) > 1e-5


@every_form
def test_a_draw_is_kept_under_the_names_of_the_posterior(form):
    case = built(form)
    law, density = case.law, case.density
    names = population_names(law.spec, law.encoding)
    assert {v.name: v.dim for v in density.variables} == names
    for variable in density.variables:
        size = variable.places.stop - variable.places.start
        assert size == (1 if variable.dim is None else len(density.coords[variable.dim]))


def test_labels_that_were_not_encoded_never_reach_the_kernel():
    law = built("graded").law
    other = law.obs.assign(llm=("obs_id", np.full(law.obs.sizes["obs_id"], "new", object)))
    other = other.assign(family=("obs_id", np.full(law.obs.sizes["obs_id"], "new", object)))
    with pytest.raises(AssertionError, match="'family'"):
        build_density(other, law.spec, law.encoding, law._geometry)


def test_a_fit_imports_no_pymc():
    code = (
        "import sys, bayes_ctxlaw as bcl;"
        "bcl.ContextLaw().fit(bcl.load_dataset('montgomery2025'), draws=4, tune=5, chains=1,"
        " random_seed=1, progressbar=False);"
        "sys.exit('pymc' in sys.modules or 'pytensor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
