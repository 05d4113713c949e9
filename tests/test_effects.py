"""Effects, their layout, the graph: the model is the hierarchy written by hand in any layout."""

import time

import numpy as np
import pymc as pm
import pytest
from pytensor.compile.mode import Mode
from scipy import stats

from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.datasets import load_dataset
from bayes_ctxlaw.effects import (
    Assembly,
    DrawSource,
    Specification,
    StartSource,
    _log_rise,
    _unsaturate,
    parents_of_llm,
    root_level,
)
from bayes_ctxlaw.encoding import Encoding, level_dim, level_labels
from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.geometry import Geometry, choose_geometry
from bayes_ctxlaw.graph import build_graph
from bayes_ctxlaw.law import SATURATIONS, log_saturation, mean_score
from bayes_ctxlaw.likelihoods import edge_and_inverse, item_counts, noise_sd
from bayes_ctxlaw.observations import as_observations
from bayes_ctxlaw.priors import scale_name

DATASETS = ("montgomery2025", "helmet_icl")


def made_up(n_items=50, tasks=3, **changes):
    """Three tasks, six checkpoints of three families, extended in two ways; scores are counts."""
    rng = np.random.default_rng(5)
    rows = [
        {
            "task": f"task {t}", "llm": f"llm {m}", "family": f"family {m % 3}",
            "technique": "YaRN" if m % 2 else "PI", "compute": 1e21 * 3.0**m,
            "prompt_tokens": n, "context_window": 8192.0, "n_items": n_items,
            "score": rng.integers(0, n_items + 1) / n_items,
        }
        | changes
        for t in range(tasks) for m in range(6) for n in (60.0, 700.0, 7000.0, 20000.0)
    ]  # fmt: skip
    return as_observations(rows)


CASES = {
    "montgomery2025": (lambda: load_dataset("montgomery2025"), {}),
    "helmet_icl": (lambda: load_dataset("helmet_icl"), {}),
    "interaction": (made_up, {"groups": ["task", "family", "technique", "llm", "task:llm"]}),
    "counts": (made_up, {"context_term": "exponential", "compute_term": "power"}),
    "graded": (made_up, {"likelihood": "student_t", "groups": ["task", "family", "technique"]}),
    "one task": (lambda: made_up(tasks=1), {"likelihood": "student_t"}),
    "llm only": (made_up, {"groups": ["llm", "technique:llm"], "likelihood": "student_t"}),
    "nothing pooled": (made_up, {"groups": (), "likelihood": "student_t"}),
    "the paper's": (
        lambda: load_dataset("montgomery2025"),
        {"penalty": "token_logistic", "context_term": "exponential", "groups": ["task"]},
    ),
}

TWO_LAYOUTS = (*DATASETS, "interaction", "llm only")


class Case:
    """A law with its data, the chosen layout and the plain one, and their log-densities."""

    def __init__(self, obs, options):
        self.law = ContextLaw(**options)
        self.law.build_model(obs)
        self.obs, self.spec, self.encoding = self.law.obs, self.law.spec, self.law.encoding
        self.geometries = {"plain": Geometry(), "chosen": self.law._geometry}
        self.models, self.functions = {"chosen": self.law.model}, {}

    def state(self, rng):
        """Population values, scales, effects and overdispersion, drawn from the prior."""
        state = {}
        for name in self.spec.terms.parameters:
            prior = self.spec.priors[name]
            state[f"mu_{name}"] = prior.loc + prior.scale * rng.standard_normal()
            for level in self.spec.levels_of(name, self.encoding):
                key = scale_name(name, level)
                state[key] = abs(self.spec.priors[key].scale * rng.standard_normal()) + 0.02
            for level in self.spec.effects_of(name, self.encoding):
                unit = rng.standard_normal(len(self.encoding.labels[level]))
                effect = state[scale_name(name, level)] * unit
                state[f"{name}_{level_dim(level)}"] = effect
        state["overdispersion"] = rng.uniform(0.02, 0.3, len(self.encoding.labels["task"]))
        return state

    def assembly(self, layout, source):
        return Assembly(self.obs, self.spec, self.encoding, self.geometries[layout]).run(source)

    def raw(self, layout, state):
        """The sampled variables that stand for `state` in a layout."""
        source = StartSource(state, self.spec.priors)
        self.assembly(layout, source)
        return source.values | {"overdispersion": state["overdispersion"]}

    def logp(self, layout, raw):
        """Log-density of the graph where its variables have these values."""
        if layout not in self.functions:
            if layout not in self.models:
                args = self.obs, self.spec, self.encoding, self.geometries[layout]
                self.models[layout] = build_graph(*args)
            model = self.models[layout]
            self.functions[layout] = model.compile_fn(model.logp(sum=False), mode=_AS_WRITTEN)
        values = {}
        for rv in self.models[layout].free_RVs:
            value = self.models[layout].rvs_to_values[rv].name
            values[value] = np.log(raw[rv.name]) if value.endswith("_log__") else raw[rv.name]
        return sum(float(np.sum(part)) for part in self.functions[layout](values))

    def totals(self, state):
        """Population value + effects of every row, label by label."""
        totals = {}
        for name in self.spec.terms.parameters:
            total = np.full(self.obs.sizes["obs_id"], state[f"mu_{name}"])
            for level in self.spec.effects_of(name, self.encoding):
                by_label = dict(
                    zip(
                        self.encoding.labels[level],
                        state[f"{name}_{level_dim(level)}"],
                        strict=True,
                    )
                )
                total = total + [by_label[label] for label in level_labels(self.obs, level)]
            totals[name] = total
        return totals

    def mean(self, state):
        totals = self.totals(state)
        arguments = {f"log_{n}" if n in "AB" else n: v for n, v in totals.items()}
        for name in {"alpha", "beta", "kappa"} & set(totals):
            arguments[name] = np.exp(totals[name])
        return mean_score(
            arguments, self.encoding.design(self.obs, self.spec.terms), self.spec.terms
        )

    def by_hand(self, state):
        """Log-density of the hierarchy in (population, log scales, effects), with SciPy."""
        priors, density = self.spec.priors, 0.0
        for name in self.spec.terms.parameters:
            prior = priors[name]
            density += stats.norm(prior.loc, prior.scale).logpdf(state[f"mu_{name}"])
            for level in self.spec.levels_of(name, self.encoding):
                key = scale_name(name, level)
                density += stats.halfnorm(scale=priors[key].scale).logpdf(state[key])
                density += np.log(state[key])  # the sampler moves the logarithm of a scale
            for level in self.spec.effects_of(name, self.encoding):
                effects = state[f"{name}_{level_dim(level)}"]
                density += stats.norm(0, state[scale_name(name, level)]).logpdf(effects).sum()
        phi = state["overdispersion"]
        noise = stats.halfnorm(scale=priors["overdispersion"].scale).logpdf(phi) + np.log(phi)
        phi = phi[self.encoding.codes(self.obs, "task")]
        return density + noise.sum() + self.likelihood_by_hand(self.mean(state), phi)

    def likelihood_by_hand(self, mean, phi):
        score, items = self.obs["score"].values, item_counts(self.obs)
        if self.spec.likelihood == "beta_binomial":
            p, size = 1e-6 + (1 - 2e-6) * mean, 1 / phi**2 - 1
            law = stats.betabinom(items.astype(int), p * size, (1 - p) * size)
            return law.logpmf(np.rint(score * items)).sum()
        law = stats.t(4, mean, noise_sd(mean, phi, *edge_and_inverse(items)))
        inside = law.logpdf(score)
        return np.where(score <= 0, law.logcdf(0), np.where(score >= 1, law.logsf(1), inside)).sum()

    def log_jacobian(self, layout, state):
        """Sum of log sd over all effects, to the degree that they are not centred."""
        total = 0.0
        for name in self.spec.terms.parameters:
            for level in self.spec.effects_of(name, self.encoding):
                plain = np.zeros(len(self.encoding.labels[level]))
                centring = self.geometries[layout].centring.get((name, level), plain)
                total += np.sum(1.0 - centring) * np.log(state[scale_name(name, level)])
        return total


_AS_WRITTEN = Mode(linker="py", optimizer=None)  # the graph itself, ready at once
_BUILT = {}


@pytest.fixture
def case(request):
    if request.param not in _BUILT:
        obs, options = CASES[request.param]
        _BUILT[request.param] = Case(obs(), options)
    return _BUILT[request.param]


every_case = pytest.mark.parametrize("case", CASES, indirect=True)
every_layout = pytest.mark.parametrize("layout", ["plain", "chosen"])


class TestTheModelIsTheHierarchy:
    @pytest.mark.parametrize(
        ("case", "layout"),
        [(name, "chosen") for name in CASES] + [(name, "plain") for name in TWO_LAYOUTS],
        indirect=["case"],
    )
    def test_log_density_is_that_written_by_hand(self, case, layout):
        rng = np.random.default_rng(11)
        for _ in range(5):
            state = case.state(rng)
            found = case.logp(layout, case.raw(layout, state))
            expected = case.by_hand(state) + case.log_jacobian(layout, state)
            # PyMC's half-normal carries a constant of single precision.
            assert found == pytest.approx(expected, abs=1e-6, rel=1e-9)

    @pytest.mark.parametrize("case", TWO_LAYOUTS, indirect=True)
    def test_layouts_differ_by_their_jacobian_only(self, case):
        rng = np.random.default_rng(12)
        for _ in range(5):
            state = case.state(rng)
            plain, chosen = (
                case.logp(layout, case.raw(layout, state)) - case.log_jacobian(layout, state)
                for layout in ("plain", "chosen")
            )
            assert plain == pytest.approx(chosen, abs=1e-8, rel=1e-11)

    @pytest.mark.parametrize("case", DATASETS, indirect=True)
    def test_without_the_jacobian_they_would_differ(self, case):
        state = case.state(np.random.default_rng(13))
        plain, chosen = (case.logp(g, case.raw(g, state)) for g in ("plain", "chosen"))
        assert abs(plain - chosen) > 0.1

    @pytest.mark.parametrize("case", ["graded"], indirect=True)
    def test_another_state_has_another_density(self, case):
        state = case.state(np.random.default_rng(14))
        raw = case.raw("chosen", state)
        other = state | {"mu_A": state["mu_A"] + 0.1}
        expected = case.by_hand(other) + case.log_jacobian("chosen", other)
        assert abs(case.logp("chosen", raw) - expected) > 1e-3


class TestAssembly:
    @every_case
    @every_layout
    def test_effects_come_back_from_draws(self, case, layout):
        rng = np.random.default_rng(21)
        states = [case.state(rng) for _ in range(3)]
        raws = [case.raw(layout, state) for state in states]
        draws = {name: np.stack([raw[name] for raw in raws]) for name in raws[0]}
        found = case.assembly(layout, DrawSource(draws))
        named = found.population | found.scales
        named |= {f"{p}_{level_dim(level)}": v for (p, level), v in found.effects.items()}
        assert set(named) == set(states[0]) - {"overdispersion"}
        for name, values in named.items():
            expected = np.stack([state[name] for state in states])
            np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9, err_msg=name)

    @every_case
    @every_layout
    def test_totals_are_population_plus_effects(self, case, layout):
        state = case.state(np.random.default_rng(22))
        found = case.assembly(layout, StartSource(state, case.spec.priors)).totals
        for name, expected in case.totals(state).items():
            total = np.broadcast_to(found[name], expected.shape)
            np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-9, err_msg=name)

    def test_labels_that_were_not_encoded_never_reach_a_graph(self):
        law = ContextLaw(likelihood="student_t")
        law.build_model(made_up())
        other = law.obs.assign(llm=("obs_id", np.full(law.obs.sizes["obs_id"], "new", object)))
        with pytest.raises(AssertionError, match="'llm'"):
            Assembly(other, law.spec, law.encoding, Geometry())

    @pytest.mark.parametrize(
        ("levels", "root"),
        [(("task", "llm"), "task"), (("family", "llm"), "llm"), (("family",), None), ((), None)],
    )
    def test_roots(self, levels, root):
        assert root_level(levels) == root

    def test_parents_have_one_label_by_checkpoint(self):
        obs = made_up()
        levels = ("task", "family", "technique", "llm", "task:family")
        assert parents_of_llm(obs, levels) == ("family", "technique")
        assert parents_of_llm(obs, ("task", "family")) == ()
        rows = np.arange(obs.sizes["obs_id"]) % 2
        mixed = obs.assign(technique=("obs_id", np.array(["PI", "YaRN"], object)[rows]))
        assert parents_of_llm(mixed, levels) == ("family",)


class TestGraph:
    @every_case
    def test_every_dimension_has_human_labels(self, case):
        model = case.law.model
        expected = {level_dim(lv): list(labels) for lv, labels in case.encoding.labels.items()}
        assert {n: list(model.coords[n]) for n in expected} == expected
        assert not {"model", "group", "variable", "column", "sample"} & set(model.coords)
        for rv in model.free_RVs + model.observed_RVs:
            dims = model.named_vars_to_dims.get(rv.name, ())
            assert len(dims) == rv.ndim
            assert all(model.coords[dim] is not None for dim in dims)

    @every_case
    def test_finite_at_the_start(self, case):
        law = case.law
        start = law._start()
        for name, value in law.model.initial_point().items():
            start.setdefault(name.removesuffix("_log__"), np.exp(value))
        assert set(start) == {rv.name for rv in law.model.free_RVs}
        assert np.isfinite(case.logp("chosen", start))

    def test_one_label_has_a_scale_and_no_effect(self):
        law = ContextLaw(likelihood="student_t")
        model = law.build_model(made_up(family="F"))
        names = {rv.name for rv in model.free_RVs}
        assert "A_family_sd" in names
        assert not [n for n in names if "_family" in n and not n.endswith("_sd")]
        assert [n for n in names if n.startswith("A_technique") and not n.endswith("_sd")]

    def test_equal_scores_are_refused(self):
        with pytest.raises(ObservationError, match=r"all 72 scores equal 0\.5"):
            ContextLaw().build_model(made_up(score=0.5))

    def test_binomial_has_no_overdispersion(self):
        model = ContextLaw(likelihood="binomial").build_model(made_up())
        assert "overdispersion" not in model.named_vars
        assert [rv.name for rv in model.observed_RVs] == ["n_correct"]


class TestShifts:
    @pytest.mark.parametrize("kind", SATURATIONS)
    def test_unsaturate_undoes_saturation(self, kind):
        log_u = np.array([-25.0, -5.0, 0.0, 1.0])
        found = _unsaturate(log_saturation(log_u, kind), kind)
        np.testing.assert_allclose(found, log_u, rtol=1e-4)

    @pytest.mark.parametrize("kind", SATURATIONS)
    def test_unsaturate_of_next_to_nothing(self, kind):
        log_s = np.array([-700.0, -40.0, -37.0, -33.0])
        np.testing.assert_allclose(_unsaturate(log_s, kind), log_s, rtol=1e-6)

    @pytest.mark.parametrize("kind", SATURATIONS)
    def test_rise_is_the_slope_of_the_logarithm(self, kind):
        log_u, step = np.array([-18.0, -3.0, 0.0, 2.0]), 1e-5
        slope = log_saturation(log_u + step, kind) - log_saturation(log_u - step, kind)
        np.testing.assert_allclose(np.exp(_log_rise(log_u, kind)), slope / (2 * step), rtol=1e-4)


class TestGeometry:
    @pytest.mark.parametrize("dataset", DATASETS)
    def test_quick(self, dataset):
        law = ContextLaw()
        begin = time.perf_counter()
        law.build_model(load_dataset(dataset))
        assert time.perf_counter() - begin < 5.0

    @pytest.mark.parametrize("case", ["montgomery2025"], indirect=True)
    def test_its_mode_fits(self, case):
        start = case.geometries["chosen"].start
        residual = case.obs["score"].values - case.mean(start)
        assert np.abs(residual).mean() < 0.03
        nowhere = {name: np.zeros_like(value) for name, value in start.items()}
        assert np.abs(case.obs["score"].values - case.mean(nowhere)).mean() > 0.1

    @every_case
    def test_centring_and_weights_have_the_shapes_of_their_labels(self, case):
        geometry = case.geometries["chosen"]
        for (name, level), centring in geometry.centring.items():
            assert level in case.spec.effects_of(name, case.encoding)
            assert centring.shape == (len(case.encoding.labels[level]),)
            assert ((centring >= 0) & (centring <= 1)).all()
        for name, weights in geometry.weights.items():
            root = root_level(case.spec.effects_of(name, case.encoding))
            size = 1 if root is None else len(case.encoding.labels[root])
            assert weights.shape[0] in (1, size)  # one row serves all labels
            assert weights.shape[1] == case.obs.sizes["obs_id"]
            np.testing.assert_allclose(weights.sum(axis=1), 1.0)

    def test_the_same_twice(self):
        obs = made_up()
        law = ContextLaw(likelihood="student_t")
        spec = Specification(law.terms, "student_t", law.levels, law.priors)
        encoding = Encoding.of(obs, law.levels)
        effects = {p: spec.effects_of(p, encoding) for p in law.terms.parameters}
        first, second = (
            choose_geometry(obs, encoding, law.terms, effects, law.priors) for _ in range(2)
        )
        np.testing.assert_array_equal(first.product, second.product)
        assert first.centre == second.centre


class TestPriorPredictive:
    @pytest.mark.parametrize("case", DATASETS, indirect=True)
    def test_covers_all_scores_without_piling_up(self, case):
        with case.law.model:
            drawn = pm.sample_prior_predictive(
                200,
                random_seed=3,
                var_names=[rv.name for rv in case.law.model.free_RVs],
                compile_kwargs={"mode": "FAST_COMPILE"},
            )
        prior = drawn["prior"].to_dataset().isel(chain=0)
        draws = {name: value.values for name, value in prior.data_vars.items()}
        assembly = case.assembly("chosen", DrawSource(draws))
        p = mean_score(assembly.natural(), assembly.design, case.spec.terms)
        p = p[:, assembly.design["w"] < -0.7]  # well within the window
        assert (p < 0.01).mean() < 0.3
        assert (p > 0.99).mean() < 0.3
        shares = np.histogram(p, bins=5, range=(0, 1))[0] / p.size
        assert (shares > 0.05).all()
