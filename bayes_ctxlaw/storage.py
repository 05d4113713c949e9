"""A fit on disk: netCDF with its configuration as JSON and a hash, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.output import as_path, written_whole

_PACKAGE = "bayes_ctxlaw"
_ENGINE = "h5netcdf"
_LARGEST = 2**63  # whole number


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_fit(path: str | os.PathLike[str], tree: xr.DataTree, config: Mapping[str, Any]) -> Path:
    """Write a fit under its name once it is complete; an earlier file stays until then.

    Parameters
    ----------
    path : path
    tree : xarray.DataTree
        Groups of the fit.
    config : mapping
        Plain numbers and words.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileFormatError
        If the file cannot be written.
    """
    # In order: that of the levels decides how effects add up. Attributes may be anything.
    text = json.dumps(config, default=str)
    whole = tree.map_over_datasets(_plain_attrs)
    whole.attrs = {"created_by": _PACKAGE, "config": text, "config_sha256": _digest(text)}
    with written_whole(path) as temporary:
        whole.to_netcdf(temporary, engine=_ENGINE, mode="w")
    return Path(path)


def _plain_attrs(ds: xr.Dataset) -> xr.Dataset:
    """With attributes that netCDF can hold; what it cannot as text."""
    out = ds.assign_attrs({name: _plain(value) for name, value in ds.attrs.items()})
    for variable in out.variables.values():
        variable.attrs = {name: _plain(value) for name, value in variable.attrs.items()}
    return out


def _plain(value: Any) -> Any:
    number = isinstance(value, float | np.floating)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        # A seed may have more bits than a number in a file has, as NumPy's own do.
        number = -_LARGEST <= value < _LARGEST
    return value if number else str(value)


def read_fit(path: str | os.PathLike[str], what: str) -> tuple[xr.DataTree, dict[str, Any]]:
    """Read what `write_fit` wrote.

    Parameters
    ----------
    path : path
    what : str
        Class whose fit the file must hold.

    Returns
    -------
    tuple of xarray.DataTree and dict
        Groups and configuration.

    Raises
    ------
    FileFormatError
        If the file is absent, is not netCDF, comes from elsewhere, holds another kind of model,
        or its configuration was changed since it was written.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileFormatError(
            f"there is no file {path}. Give a file that {wording().save(what)} wrote."
        )
    try:
        tree = xr.load_datatree(path, engine=_ENGINE)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        # What h5py and h5netcdf raise where bytes are not as they were written.
        raise FileFormatError(
            f"{path} is not a netCDF file that can be read ({type(error).__name__}). Give a file "
            f"that {wording().save(what)} wrote."
        ) from error
    if tree.attrs.get("created_by") != _PACKAGE:
        maker = (
            tree.attrs.get("created_by") or tree.attrs.get("inference_library") or "another program"
        )
        raise FileFormatError(
            f"{path} was written by {maker}, not by bayes_ctxlaw. Give a file that "
            f"{wording().save(what)} wrote."
        )
    text = str(tree.attrs.get("config", ""))
    if _digest(text) != tree.attrs.get("config_sha256"):
        raise FileFormatError(
            f"the configuration in {path} does not match its hash: the file was changed after it "
            "was saved. Save the fit again."
        )
    config = json.loads(text)
    if config.get("class") != what:
        raise FileFormatError(
            f"{path} holds a {config.get('class')}, not a {what}: load it with "
            f"{wording().load(config.get('class'))}."
        )
    return tree, config
