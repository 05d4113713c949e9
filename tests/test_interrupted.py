"""A fit that is interrupted by Ctrl-C keeps what was sampled, and says how much that is."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr

import bayes_ctxlaw as bcl
from bayes_ctxlaw.sampling import _equally_many

PRESSED = """
import os, signal, nutpie
# A shell has those that it starts in the background ignore it, and they hand that on.
signal.signal(signal.SIGINT, signal.default_int_handler)
sample, pressed = nutpie.sample, []
def press(chains):
    if not pressed and sum(chain.finished_draws > {draws} for chain in chains) >= {chains}:
        pressed.append(True)
        os.kill(os.getpid(), signal.SIGINT)
def watched(*arguments, **options):
    # Not the short run that comes first, unless any will do.
    if options["draws"] > {draws}:
        options |= dict(progress_callback=press, progress_rate=20)
    return sample(*arguments, **options)
nutpie.sample = watched
from bayes_ctxlaw.cli import main
main()
"""
"""The command line, with a finger on Ctrl-C: pressed once so many draws are done."""


def ended(folder, *options, draws, chains):
    """Run a fit in a process of its own and interrupt it."""
    code = PRESSED.format(draws=draws, chains=chains)
    arguments = ["fit", "dataset:montgomery2025", "--out", "fit.nc", "--seed", "1", *options]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


ENDLESS = ("--draws", "100000", "--chains", "2", "--thin", "2")


def test_ctrl_c_keeps_the_draws_of_a_fit(tmp_path):
    # 60 steps of tuning are too few for pilots, so draws begin after exactly 60.
    result = ended(tmp_path, *ENDLESS, "--tune", "60", "--json", draws=60 + 40, chains=1)
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr
    said = json.loads(result.stdout)
    assert said["interrupted"] is True
    assert f"{said['chains']} chains of {said['draws']} draws are kept of 2 chains of 100000" in (
        result.stderr
    )
    law = bcl.ContextLaw.load(tmp_path / "fit.nc")
    posterior = law.idata["posterior"].to_dataset()
    assert posterior.sizes["draw"] == said["draws"]
    assert posterior.sizes["chain"] == said["chains"]
    # One chain alone had drawn 40 times, of which every other draw is kept.
    assert said["draws"] * said["chains"] >= 20
    assert all(np.isfinite(v.values).all() for v in posterior.data_vars.values())
    assert "interrupted" in posterior.attrs["interrupted"]
    assert np.isfinite(law.predict(law.obs)["median"].values).all()


def test_ctrl_c_in_the_tuning_keeps_nothing(tmp_path):
    result = ended(tmp_path, *ENDLESS, "--tune", "100000", draws=0, chains=1)
    assert result.returncode == 130, result.stderr
    assert "nothing is kept" in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout
    assert not (tmp_path / "fit.nc").exists()


def stopped(*lengths):
    """What a sampler of nutpie has when it is stopped: blank where a chain did not come to."""
    values = np.arange(len(lengths) * max(lengths), dtype=float).reshape(len(lengths), -1)
    for row, length in zip(values, lengths, strict=True):
        row[length:] = np.nan
    size = {"step_size": (("chain", "draw"), values)}
    groups = {"posterior": {"mu_A": size["step_size"]}, "sample_stats": size}
    coords = {"chain": np.arange(len(values)), "draw": np.arange(values.shape[1])}
    return xr.DataTree.from_dict(
        {name: xr.Dataset(part, coords=coords) for name, part in groups.items()}
    )


@pytest.mark.parametrize(
    ("lengths", "thin", "chains", "draws"),
    [
        ((100, 90, 95, 92), 1, 4, 90),
        ((600, 590, 3, 0), 1, 2, 590),  # the third would cost more than it brings
        ((600, 590, 580, 0), 6, 3, 96),
        ((600, 100), 1, 1, 600),
        ((7, 2), 1, 1, 7),
    ],
)
def test_chains_are_cut_to_equal_lengths_with_the_most_draws_in_all(lengths, thin, chains, draws):
    trace, kept = _equally_many(stopped(*lengths), 1000, thin)
    assert kept == draws
    most = max(n // thin * sum(m // thin >= n // thin for m in lengths) for n in lengths)
    assert chains * draws == most
    first = trace["posterior"].isel(draw=slice(draws * thin))
    assert first.sizes == {"chain": chains, "draw": draws * thin}
    assert first["mu_A"].notnull().all()
    assert first["chain"].values.tolist() == list(range(chains))


def test_no_more_draws_are_kept_than_were_asked_for():
    trace, kept = _equally_many(stopped(600, 590, 300, 300), 200, 2)
    assert (kept, trace["posterior"].sizes["chain"]) == (150, 4)
    trace, kept = _equally_many(stopped(600, 590, 410, 400), 200, 2)
    assert (kept, trace["posterior"].sizes["chain"]) == (200, 4)


@pytest.mark.parametrize("lengths", [(0, 0), (3, 3, 3)])
def test_too_few_draws_are_no_fit(lengths):
    with pytest.raises(KeyboardInterrupt, match="nothing is kept"):
        _equally_many(stopped(*lengths), 1000, 1)


@pytest.fixture
def interrupted(monkeypatch):
    """Interrupt every fit once 30 draws are there."""
    from nutpie.sample import _BackgroundSampler

    def wait(self, *, timeout=None):
        drawn = 0
        while drawn < 30:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of ArviZ, of few draws
                drawn = self.inspect()["posterior"].sizes["draw"]
        raise KeyboardInterrupt

    monkeypatch.setattr(_BackgroundSampler, "wait", wait)
    # Not the short run that comes first, of which nothing is kept.
    monkeypatch.setattr("bayes_ctxlaw.sampling._doublings", lambda *_, **__: 5)


def test_an_interrupted_fit_stays_an_interruption_and_the_law_can_predict(interrupted):
    law = bcl.ContextLaw()
    obs = bcl.load_dataset("helmet_icl")
    with pytest.raises(KeyboardInterrupt, match=r"\d+ draws are kept of 2 chains of 5000"):
        law.fit(obs, draws=5000, tune=60, chains=2, thin=1, random_seed=1, progressbar=False)
    assert law.idata["posterior"].sizes["draw"] >= 4
    assert np.isfinite(law.predict(obs)["median"].values).all()


def test_a_backtest_ends_with_the_fit_that_is_interrupted(interrupted):
    with pytest.raises(KeyboardInterrupt):
        bcl.backtest(
            {"law": bcl.ContextLaw()},
            bcl.load_dataset("helmet_icl"),
            bcl.splits.leave_out("family"),
            fit_options={"draws": 5000, "tune": 60, "chains": 1},
            progressbar=False,
        )


def test_an_interruption_of_a_pilot_is_none_of_its_draws(interrupted):
    law = bcl.ContextLaw()
    obs = bcl.load_dataset("helmet_icl")
    with pytest.raises(KeyboardInterrupt, match="nothing is kept"):
        law.fit(obs, draws=5000, tune=800, chains=2, random_seed=1, progressbar=False)
    assert law.idata is None


def test_a_fit_names_the_seed_that_makes_it_again():
    obs = bcl.load_dataset("montgomery2025")
    size = {"draws": 10, "tune": 30, "chains": 1, "thin": 1, "progressbar": False}
    first = bcl.ContextLaw()
    attrs = first.fit(obs, **size)["posterior"].attrs
    assert {attrs[f"fit_{name}"] for name in ("draws", "tune", "chains")} == {10, 30, 1}
    again = bcl.ContextLaw().fit(obs, **size, random_seed=attrs["fit_random_seed"])
    np.testing.assert_array_equal(
        again["posterior"]["mu_A"].values, first.idata["posterior"]["mu_A"].values
    )
