"""The main job on real published data: the bars that the package sets itself."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

import bayes_ctxlaw as bcl

# Mean absolute error of the paper's method, least squares task by task, refitted on the same
# points (arXiv:2510.14919's figures): in sample, and beyond 10k tokens when fitted below.
LEAST_SQUARES = {
    "arithmetic reasoning": (0.0090, 0.0152),
    "common sense reasoning": (0.0302, 0.0290),
    "machine translation": (0.0087, 0.0116),
}
IN_SAMPLE_BAR = {
    "arithmetic reasoning": 0.0055,
    "common sense reasoning": 0.0150,
    "machine translation": 0.0087,
}


def error_by_task(prediction):
    error = abs(prediction["mean"] - prediction["score"])
    return {
        task: float(error[(prediction["task"] == task).values].mean())
        for task in np.unique(prediction["task"])
    }


def covered(prediction):
    score = prediction["score"]
    return (score >= prediction["lower"]) & (score <= prediction["upper"])


def assert_converged(law):
    draws = law.idata["posterior"].to_dataset()
    rhat, stats = az.rhat(draws), law.idata["sample_stats"]
    worst = max(float(value.max()) for value in rhat.data_vars.values())
    assert worst <= 1.01, {k: float(v.max()) for k, v in rhat.items() if v.max() > 1.01}
    for method in ("bulk", "tail"):
        ess = az.ess(draws, method=method)
        low = {k: float(v.min()) for k, v in ess.items() if v.min() < 400}
        assert not low, f"{method} ESS below 400: {low}"
    assert int(stats["diverging"].sum()) == 0


@pytest.mark.parametrize("name", ["law_all", "law_below_10k"])
def test_default_fits_converge(name, request):
    assert_converged(request.getfixturevalue(name))


@pytest.mark.slow
def test_the_default_fit_of_helmet_converges(helmet):
    law = bcl.ContextLaw()
    obs = helmet.isel(obs_id=np.flatnonzero(helmet["compute"].values < 1e24))
    law.fit(obs, random_seed=20251014, progressbar=False)
    assert_converged(law)


def test_in_sample_error_is_below_the_published_methods(law_all, montgomery):
    error = error_by_task(law_all.predict(montgomery))
    for task, bar in IN_SAMPLE_BAR.items():
        assert error[task] <= bar, (task, error[task])
        assert error[task] <= LEAST_SQUARES[task][0]


def test_forecast_beyond_10k_tokens(law_below_10k, montgomery):
    held = montgomery.isel(obs_id=np.flatnonzero(montgomery["beyond_10k"].values))
    assert held.sizes["obs_id"] == 12
    prediction = law_below_10k.predict(held, kind="response", ci_prob=0.9)
    for task, error in error_by_task(prediction).items():
        assert error <= LEAST_SQUARES[task][1], (task, error)
    assert int(covered(prediction).sum()) >= 10
    assert float((prediction["upper"] - prediction["lower"]).mean()) <= 0.06
    assert (prediction["extrapolation"].sel(axis="prompt_tokens") > 0).all()


def test_forecast_across_decades_of_compute(law_below_1e24, helmet):
    held = helmet.isel(obs_id=np.flatnonzero(helmet["compute"].values >= 1e24))
    prediction = law_below_1e24.predict(held, kind="response", new_levels="uncertainty")
    assert float(covered(prediction).mean()) >= 0.85
    assert float((prediction["upper"] - prediction["lower"]).mean()) < 0.5


def test_saved_fit_predicts_the_same_draw_for_draw(law_below_10k, montgomery, tmp_path):
    path = law_below_10k.save(tmp_path / "fit.nc")
    again = bcl.ContextLaw.load(path)
    before = law_below_10k.predict(montgomery, samples=True)
    after = again.predict(montgomery, samples=True)
    xr.testing.assert_identical(before["samples"], after["samples"])
    np.testing.assert_array_equal(before["upper"], after["upper"])
    assert str(again) == str(law_below_10k)
    assert again.model.coords.keys() == law_below_10k.model.coords.keys()


def test_three_kinds_of_prediction_are_nested(law_below_10k, montgomery):
    widths = []
    for kind in ("law", "llm", "response"):
        prediction = law_below_10k.predict(montgomery, kind=kind, new_levels="uncertainty")
        widths.append(float((prediction["upper"] - prediction["lower"]).mean()))
        assert prediction.attrs["prediction_kind"] == kind
    assert widths[1] < widths[2]
    new = montgomery.assign(llm=("obs_id", np.full(117, "a new checkpoint", dtype=object)))
    unseen = law_below_10k.predict(new, kind="llm", new_levels="uncertainty")
    assert float((unseen["upper"] - unseen["lower"]).mean()) > widths[0]


def test_a_label_the_fit_never_saw_is_refused(law_below_10k, montgomery):
    new = montgomery.assign(task=("obs_id", np.full(117, "poetry", dtype=object)))
    with pytest.raises(bcl.UnknownLabelError, match=r"'poetry'.*arithmetic.*new_levels"):
        law_below_10k.predict(new)


def test_posterior_holds_the_parameters_of_the_design(law_all):
    posterior = law_all.idata["posterior"]
    for name in ("A", "alpha", "B", "beta", "kappa", "delta"):
        assert posterior[name].dims == ("chain", "draw", "task")
        if name != "delta":
            assert float(posterior[name].min()) > 0
    assert posterior["A_llm"].dims == ("chain", "draw", "llm")
    assert posterior.attrs["compute_reference"] == pytest.approx(1.098e23, rel=1e-3)
    expected = np.exp(posterior["mu_A"] + posterior["A_task"])
    np.testing.assert_allclose(posterior["A"], expected.transpose(*posterior["A"].dims))
