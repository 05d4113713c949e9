"""The PyMC model is the hierarchy written by hand."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from pytensor.compile.mode import Mode
from scipy import stats

from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.datasets import load_dataset
from bayes_ctxlaw.encoding import level_dim, level_labels
from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.graph import build_graph
from bayes_ctxlaw.law import mean_score
from bayes_ctxlaw.likelihoods import edge_and_inverse, item_counts, noise_sd
from bayes_ctxlaw.observations import as_observations
from bayes_ctxlaw.priors import scale_name, zero_avoiding
from bayes_ctxlaw.simulate import prior_draws

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


def distribution(prior):
    """Prior of a standard deviation in SciPy."""
    if prior.kind == "zero_avoiding":
        return stats.gamma(2, scale=prior.scale / np.sqrt(6))
    return stats.halfnorm(scale=prior.scale)


def few():
    """A dozen scores of the kind that a first evaluation has; simulated from the law."""
    rng, rows = np.random.default_rng(0), []
    for t in range(2):
        for m in range(2):
            compute = 10.0 ** (22.0 + 0.7 * m)
            for n in (128.0, 512.0, 2048.0):
                level = 1.0 - np.exp(-(0.6 + 0.4 * t) * (compute / 1e23) ** 0.3)
                expected = level * (1.0 - np.exp(-((n / 300.0) ** 0.6)))
                expected /= 1.0 + (n / 4500.0) ** 8
                rows.append({
                    "task": f"task {t}", "llm": f"llm {m}", "compute": compute,
                    "prompt_tokens": n, "context_window": 4096.0, "n_items": 500,
                    "score": rng.binomial(500, expected) / 500,
                })  # fmt: skip
    return as_observations(rows)


CASES = {
    "few": (few, {"likelihood": "student_t"}),
    "montgomery2025": (lambda: load_dataset("montgomery2025"), {}),
    "helmet_icl": (lambda: load_dataset("helmet_icl"), {}),
    "interaction": (made_up, {"groups": ["task", "family", "technique", "llm", "task:llm"]}),
    "counts": (made_up, {"context_term": "exponential", "compute_term": "power"}),
    "graded": (made_up, {"likelihood": "student_t", "groups": ["task", "family", "technique"]}),
    "one task": (lambda: made_up(tasks=1), {"likelihood": "student_t"}),
    "llm only": (made_up, {"groups": ["llm", "technique:llm"], "likelihood": "student_t"}),
    "away from zero": (
        made_up,
        {
            "groups": ["task", "technique"],
            "likelihood": "student_t",
            "priors": {
                "A_task_sd": zero_avoiding(1.0),
                "kappa_technique_sd": zero_avoiding(0.7),
                "overdispersion": zero_avoiding(0.1),
            },
        },
    ),
    "tasks stray": (made_up, {"discrepancy": "prompt_tokens", "likelihood": "student_t"}),
    "nothing pooled": (made_up, {"groups": (), "likelihood": "student_t"}),
    "the paper's": (
        lambda: load_dataset("montgomery2025"),
        {"penalty": "token_logistic", "context_term": "exponential", "groups": ["task"]},
    ),
}


class Case:
    """A law with its data, its model and their log-densities."""

    def __init__(self, obs, options):
        self.law = ContextLaw(**options)
        self.model = self.law.build_model(obs)
        self.obs, self.spec, self.encoding = self.law.obs, self.law.spec, self.law.encoding
        self.function = self.model.compile_fn(self.model.logp(sum=False), mode=_AS_WRITTEN)

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
        if self.spec.terms.discrepancy != "none":
            state["discrepancy_sd"] = scale = rng.uniform(0.05, 0.5)
            state["discrepancy"] = np.concatenate(
                [rng.multivariate_normal(np.zeros(len(n)), scale**2 * c) for _, n, c in self.knots]
            )
        state["overdispersion"] = rng.uniform(0.02, 0.3, len(self.encoding.labels["task"]))
        return state

    def raw(self, state):
        """The model's variables that stand for `state`."""
        raw = {name: value for name, value in state.items() if name[:3] == "mu_" or "_sd" in name}
        for name in self.spec.terms.parameters:
            for level in self.spec.effects_of(name, self.encoding):
                effects = state[f"{name}_{level_dim(level)}"]
                raw[f"{name}_{level_dim(level)}_raw"] = effects / state[scale_name(name, level)]
        if "discrepancy" in state:
            raw["discrepancy_raw"] = np.concatenate(
                [
                    np.linalg.solve(np.linalg.cholesky(c), part) / state["discrepancy_sd"]
                    for part, c in self.strays(state)
                ]
            )
        return raw | {"overdispersion": state["overdispersion"]}

    @property
    def knots(self):
        """Task, prompt lengths of its knots and how what it strays by there is correlated."""
        powers = np.arange(5, 16)  # 32 to 32,768 tokens around 60 to 20,000
        apart = np.abs(powers[:, None] - powers) * np.log(2.0)
        tasks = self.encoding.labels["task"]
        return [(task, 2.0**powers, np.exp(-apart / 2.0)) for task in tasks]

    def strays(self, state):
        """What each task strays by at its knots, and how that is correlated."""
        parts = np.split(state["discrepancy"], len(self.knots))
        return [(part, c) for part, (*_, c) in zip(parts, self.knots, strict=True)]

    def logp(self, raw):
        """Log-density of the model where its variables have these values."""
        values = {}
        for rv in self.model.free_RVs:
            value = self.model.rvs_to_values[rv].name
            values[value] = np.log(raw[rv.name]) if value.endswith("_log__") else raw[rv.name]
        return sum(float(np.sum(part)) for part in self.function(values))

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
        arguments = {}
        for name, total in totals.items():
            if name in ("A", "B", "D"):
                arguments[f"log_{name}"] = total
            elif name == "rho":
                arguments["logit_rho"] = total
            elif name == "delta":  # the same above 0, a quarter of it below
                arguments[name] = 0.25 * total + 0.075 * np.logaddexp(0.0, total / 0.1)
            elif name == "kappa":  # from 2 on
                arguments[name] = 2.0 + np.exp(total)
            elif name == "eta":  # up to 2
                arguments[name] = 2.0 / (1.0 + np.exp(-total))
            else:
                arguments[name] = np.exp(total)
        if "discrepancy" in state:
            arguments["discrepancy"] = shift = np.zeros(self.obs.sizes["obs_id"])
            log_n = np.log(self.obs["prompt_tokens"].values)
            for (task, n, _), (part, _) in zip(self.knots, self.strays(state), strict=True):
                own = self.obs["task"].values == task
                shift[own] = np.interp(log_n[own], np.log(n), part)
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
                density += distribution(priors[key]).logpdf(state[key])
                density += np.log(state[key])  # the sampler moves the logarithm of a scale
            for level in self.spec.effects_of(name, self.encoding):
                effects = state[f"{name}_{level_dim(level)}"]
                density += stats.norm(0, state[scale_name(name, level)]).logpdf(effects).sum()
        if "discrepancy" in state:
            scale = state["discrepancy_sd"]
            density += distribution(priors["discrepancy_sd"]).logpdf(scale) + np.log(scale)
            for part, c in self.strays(state):
                density += stats.multivariate_normal(cov=scale**2 * c).logpdf(part)
        phi = state["overdispersion"]
        noise = distribution(priors["overdispersion"]).logpdf(phi) + np.log(phi)
        phi = phi[self.encoding.codes(self.obs, "task")]
        return density + noise.sum() + self.likelihood_by_hand(self.mean(state), phi)

    def likelihood_by_hand(self, mean, phi):
        score, items = self.obs["score"].values, item_counts(self.obs)
        if self.spec.likelihood == "beta_binomial":
            p, size = 1e-6 + (1 - 2e-6) * mean, 1 / phi**2 - 1
            law = stats.betabinom(items.astype(int), p * size, (1 - p) * size)
            return law.logpmf(np.rint(score * items)).sum()
        law = stats.t(4, mean, noise_sd(mean, phi, *edge_and_inverse("student_t", items)))
        inside = law.logpdf(score)
        return np.where(score <= 0, law.logcdf(0), np.where(score >= 1, law.logsf(1), inside)).sum()

    def log_jacobian(self, state):
        """Log of by how much effects are stretched to standard normal ones."""
        strays = 0.0
        for part, c in self.strays(state) if "discrepancy" in state else ():
            strays += len(part) * np.log(state["discrepancy_sd"]) + 0.5 * np.linalg.slogdet(c)[1]
        return strays + sum(
            np.log(state[scale_name(name, level)]) * len(self.encoding.labels[level])
            for name in self.spec.terms.parameters
            for level in self.spec.effects_of(name, self.encoding)
        )


_AS_WRITTEN = Mode(linker="py", optimizer=None)  # the graph itself, ready at once
_BUILT = {}


@pytest.fixture
def case(request):
    if request.param not in _BUILT:
        obs, options = CASES[request.param]
        _BUILT[request.param] = Case(obs(), options)
    return _BUILT[request.param]


every_case = pytest.mark.parametrize("case", CASES, indirect=True)


class TestTheModelIsTheHierarchy:
    @every_case
    def test_log_density_is_that_written_by_hand(self, case):
        rng = np.random.default_rng(11)
        for _ in range(5):
            state = case.state(rng)
            expected = case.by_hand(state) + case.log_jacobian(state)
            # PyMC's half-normal carries a constant of single precision.
            assert case.logp(case.raw(state)) == pytest.approx(expected, abs=1e-6, rel=1e-9)

    @pytest.mark.parametrize("case", ["graded"], indirect=True)
    def test_another_state_has_another_density(self, case):
        state = case.state(np.random.default_rng(14))
        other = state | {"mu_A": state["mu_A"] + 0.1}
        expected = case.by_hand(other) + case.log_jacobian(other)
        assert abs(case.logp(case.raw(state)) - expected) > 1e-3


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

    def test_labels_that_were_not_encoded_never_reach_a_graph(self):
        law = ContextLaw(likelihood="student_t")
        law.build_model(made_up())
        other = law.obs.assign(llm=("obs_id", np.full(law.obs.sizes["obs_id"], "new", object)))
        with pytest.raises(AssertionError, match="'llm'"):
            build_graph(other, law.spec, law.encoding)

    @every_case
    def test_variables_are_named_as_in_the_posterior_of_a_fit(self, case):
        from bayes_ctxlaw.posterior import population_names

        wanted = population_names(case.spec, case.encoding)
        assert set(wanted) <= set(case.model.named_vars)

    def test_one_label_has_a_scale_and_no_effect(self):
        law = ContextLaw(likelihood="student_t")
        model = law.build_model(made_up(family="F"))
        names = {rv.name for rv in model.free_RVs}
        assert {"A_family_sd", "B_family_sd"} <= names
        assert not [n for n in names if "_family" in n and "_sd" not in n]
        assert [n for n in names if n.startswith("A_technique") and "_sd" not in n]

    def test_equal_scores_are_refused(self):
        with pytest.raises(ObservationError, match=r"all 72 scores equal 0\.5"):
            ContextLaw().build_model(made_up(score=0.5))

    def test_binomial_has_no_overdispersion(self):
        model = ContextLaw(likelihood="binomial").build_model(made_up())
        assert "overdispersion" not in model.named_vars
        assert [rv.name for rv in model.observed_RVs] == ["n_correct"]


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
        for name in case.spec.terms.parameters:
            for level in case.spec.effects_of(name, case.encoding):
                effects = f"{name}_{level_dim(level)}"
                scale = draws[scale_name(name, level)][:, None]
                draws[effects] = scale * draws.pop(f"{effects}_raw")
        p = np.array([case.mean({k: v[i] for k, v in draws.items()}) for i in range(200)])
        p = p[:, case.encoding.design(case.obs, case.spec.terms)["w"] < -0.7]  # within the window
        assert (p < 0.01).mean() < 0.3
        assert (p > 0.99).mean() < 0.3
        shares = np.histogram(p, bins=5, range=(0, 1))[0] / p.size
        assert (shares > 0.05).all()

    @pytest.mark.parametrize("case", ["away from zero"], indirect=True)
    def test_simulated_spreads_have_their_priors(self, case):
        draws = prior_draws(case.spec, case.encoding, 4000, np.random.default_rng(4))
        for name, prior in case.spec.priors.items():
            if name in draws:
                found = stats.kstest(draws[name].ravel(), distribution(prior).cdf)
                assert found.pvalue > 1e-3, name

    @pytest.mark.parametrize("likelihood", ["beta_binomial", "beta"])
    @pytest.mark.parametrize("prior", [1.0, zero_avoiding(1.0)])
    def test_an_overdispersion_that_no_beta_has_is_never_simulated(self, likelihood, prior):
        law = ContextLaw(groups=("task",), priors={"overdispersion": prior})
        law._prepare(load_dataset("helmet_icl"))
        spec = replace(law.spec, likelihood=likelihood)
        phi = prior_draws(spec, law.encoding, 2000, np.random.default_rng(1))["overdispersion"]
        assert phi.max() < 1.0
        # What is left keeps its prior's shape.
        cdf = distribution(law.spec.priors["overdispersion"]).cdf
        assert stats.kstest(phi.ravel(), lambda x: cdf(x) / cdf(1.0)).pvalue > 1e-3
        free = prior_draws(law.spec, law.encoding, 2000, np.random.default_rng(1))
        assert free["overdispersion"].max() > 1.0  # a Student-t has them
