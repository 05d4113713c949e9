"""A fit on disk: whole or not at all, and nothing read that was not written here."""

import contextlib
import gc

import arviz as az
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.storage import read_fit, write_fit

CONFIG = {"class": "ContextLaw", "terms": {"penalty": "none"}, "seed": 3, "α": [0.1, 1 / 3, None]}


def tree(value=1.5):
    posterior = xr.Dataset(
        {"A_task": (("chain", "draw", "task"), np.full((2, 3, 2), value))},
        coords={"chain": [0, 1], "draw": range(3), "task": np.array(["qa", "maths"], object)},
        attrs={"compute_reference": 1e22},
    )
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 3), bool))})
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})


@pytest.fixture
def saved(tmp_path):
    return write_fit(tmp_path / "fit.nc", tree(), CONFIG)


def refusal(path, what="ContextLaw"):
    with pytest.raises(FileFormatError) as caught:
        read_fit(path, what)
    assert str(path) in str(caught.value)
    return str(caught.value)


class TestRoundTrip:
    def test_everything_comes_back(self, saved):
        found, config = read_fit(saved, "ContextLaw")
        assert config == CONFIG
        assert set(found.children) == {"posterior", "sample_stats"}
        xr.testing.assert_identical(
            found["posterior"].to_dataset(), tree()["posterior"].to_dataset()
        )
        assert found["sample_stats"]["diverging"].dtype == bool

    @pytest.mark.parametrize("seed", [2**63 - 1, 2**64, 2**127 + 1])
    def test_a_seed_of_any_length(self, tmp_path, seed):
        passed = tree()
        passed["posterior"].attrs["fit_random_seed"] = seed
        found, _ = read_fit(write_fit(tmp_path / "fit.nc", passed, CONFIG), "ContextLaw")
        assert int(found["posterior"].attrs["fit_random_seed"]) == seed

    def test_what_was_passed_in_is_not_touched(self, tmp_path):
        passed = tree()
        write_fit(tmp_path / "fit.nc", passed, CONFIG)
        assert passed.attrs == {}

    def test_the_file_is_not_locked_by_reading(self, saved):
        read_fit(saved, "ContextLaw")
        write_fit(saved, tree(7.0), CONFIG)
        found, _ = read_fit(saved, "ContextLaw")
        assert (found["posterior"]["A_task"] == 7.0).all()

    def test_nothing_but_the_file_is_left(self, saved):
        assert [path.name for path in saved.parent.iterdir()] == ["fit.nc"]

    @settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.dictionaries(
            st.text(max_size=8),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=6,
            ),
            max_size=4,
        )
    )
    def test_any_configuration_comes_back(self, tmp_path, config):
        config |= {"class": "ContextLaw"}
        _, found = read_fit(write_fit(tmp_path / "fit.nc", tree(), config), "ContextLaw")
        assert found == config


class TestRefusals:
    def test_absent(self, tmp_path):
        assert "there is no file" in refusal(tmp_path / "absent.nc")

    def test_a_folder(self, tmp_path):
        assert "there is no file" in refusal(tmp_path)

    @pytest.mark.parametrize(
        "content", [b"", b"score,task\n0.5,qa\n", b"\x89HDF\r\n\x1a\n", b"CDF\x01"]
    )
    def test_not_netcdf(self, tmp_path, content):
        path = tmp_path / "fit.nc"
        path.write_bytes(content)
        message = refusal(path)
        assert "not a netCDF file" in message
        assert "ContextLaw.save" in message

    def test_cut_short(self, saved):
        saved.write_bytes(saved.read_bytes()[:-2000])
        assert "not a netCDF file" in refusal(saved)

    # h5netcdf cannot close what it could not read.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("seed", range(12))
    def test_bytes_that_were_changed(self, saved, seed):
        """Whatever the libraries below make of them: refused, or read as they are."""
        rng, content = np.random.default_rng(seed), bytearray(saved.read_bytes())
        at = int(rng.integers(0, len(content) - 64))
        content[at : at + 64] = rng.bytes(64)
        saved.write_bytes(content)
        with contextlib.suppress(FileFormatError):
            read_fit(saved, "ContextLaw")
        gc.collect()

    def test_of_another_program(self, tmp_path):
        path = tmp_path / "other.nc"
        xr.Dataset({"a": ("x", [1.0])}).to_netcdf(path, engine="h5netcdf")
        assert "written by another program" in refusal(path)

    def test_of_arviz(self, tmp_path):
        path = tmp_path / "arviz.nc"
        idata = az.from_dict({"posterior": {"A": np.zeros((2, 3))}})
        idata.attrs = {"inference_library": "numpyro"}
        idata.to_netcdf(path, engine="h5netcdf")
        assert "written by numpyro" in refusal(path)

    def test_of_another_class(self, saved):
        message = refusal(saved, "LeastSquaresLaw")
        assert "holds a ContextLaw, not a LeastSquaresLaw" in message
        assert "bayes_ctxlaw.ContextLaw.load" in message

    def test_changed_since(self, saved):
        changed = xr.load_datatree(saved, engine="h5netcdf")
        changed.attrs["config"] = changed.attrs["config"].replace("none", "log_logistic")
        changed.to_netcdf(saved, engine="h5netcdf", mode="w")
        assert "does not match its hash" in refusal(saved)

    def test_of_an_earlier_version(self, tmp_path):
        config = {"class": "ContextLaw", "likelihood": "auto", "levels": {}, "references": {},
                  "terms": {}, "priors": {}, "encoding": {"labels": {}, "edges": {}}}  # fmt: skip
        path = write_fit(tmp_path / "old.nc", tree(), config)
        with pytest.raises(FileFormatError, match=r"earlier version.*shown.*Fit the law again"):
            ContextLaw.load(path)

    def test_to_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(FileFormatError, match="cannot be written: there is no folder"):
            write_fit(tmp_path / "absent" / "fit.nc", tree(), CONFIG)


class TestInterruption:
    @pytest.mark.parametrize(
        ("error", "seen"), [(OSError, FileFormatError), (KeyboardInterrupt, KeyboardInterrupt)]
    )
    def test_the_old_file_stays_and_no_part_is_left(self, saved, monkeypatch, error, seen):
        before = saved.read_bytes()

        def interrupted(self, path, **options):
            with open(path, "wb") as file:
                file.write(b"half")
            raise error("disk full")

        monkeypatch.setattr(xr.DataTree, "to_netcdf", interrupted)
        with pytest.raises(seen):
            write_fit(saved, tree(9.0), CONFIG)
        assert saved.read_bytes() == before
        assert [path.name for path in saved.parent.iterdir()] == ["fit.nc"]

    def test_a_new_file_does_not_appear(self, tmp_path, monkeypatch):
        def interrupted(self, path, **options):
            raise OSError("disk full")

        monkeypatch.setattr(xr.DataTree, "to_netcdf", interrupted)
        with pytest.raises(FileFormatError, match="disk full"):
            write_fit(tmp_path / "fit.nc", tree(), CONFIG)
        assert list(tmp_path.iterdir()) == []


def test_attributes_may_be_anything(tmp_path):
    odd = tree()
    odd["posterior"].attrs |= {"config": {"a": 1}, "ok": True, "none": None, "n": 3}
    odd["posterior"]["A_task"].attrs |= {"note": None, "units": "1"}
    config = CONFIG | {"obs_attrs": {"sources": ["a"], "n": 3, "path": tmp_path.name}}
    path = write_fit(tmp_path / "fit.nc", odd, config)
    found, read = read_fit(path, "ContextLaw")
    assert read["obs_attrs"] == config["obs_attrs"]
    assert found["posterior"].attrs["config"] == "{'a': 1}"
    assert found["posterior"].attrs["n"] == 3
    assert found["posterior"]["A_task"].attrs == {"note": "None", "units": "1"}
    assert odd["posterior"].attrs["config"] == {"a": 1}  # what was given stays as it is


@pytest.mark.parametrize("path", [None, "", 3])
def test_what_is_no_path(path):
    with pytest.raises(FileFormatError, match="the path of a file is needed"):
        read_fit(path, "ContextLaw")
    with pytest.raises(FileFormatError, match="the path of a file is needed"):
        write_fit(path, tree(), CONFIG)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileFormatError, match="is a folder"):
        write_fit(tmp_path, tree(), CONFIG)
