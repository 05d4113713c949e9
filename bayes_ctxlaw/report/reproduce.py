"""How to make a fit again: the call, versions, and what the sampler was told."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import pandas as pd

from bayes_ctxlaw._html import table
from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.datasets import list_datasets
from bayes_ctxlaw.encoding import DEFAULT_LEVELS, parse_groups
from bayes_ctxlaw.law import LawTerms
from bayes_ctxlaw.priors import resolve_priors

_LIBRARIES = ("pymc", "nutpie", "arviz", "numba", "numpy")
_FIT = ("draws", "tune", "chains", "thin", "target_accept", "random_seed")


def reproduction(law: Any, settings: Mapping[str, Any]) -> str:
    """The call that makes the fit, and a table of what it depends on, as HTML."""
    posterior = law.idata["posterior"]
    rows = {"bayes_ctxlaw": __version__}
    saved = posterior.attrs.get("version")
    if saved and saved != __version__:
        rows["bayes_ctxlaw of the fit"] = saved
    rows |= {"chains": posterior.sizes["chain"], "draws a chain": posterior.sizes["draw"]}
    rows |= dict(settings) | {name: version(name) for name in _LIBRARIES}
    frame = pd.DataFrame({"setting": list(rows), "value": [str(v) for v in rows.values()]})
    return f"<pre>{html.escape(call(law))}</pre>\n{table(frame)}"


def call(law: Any) -> str:
    """Python that makes the fit again, up to where its observations come from.

    Options that have their default value are left out.

    Parameters
    ----------
    law : ContextLaw
        Fitted.

    Returns
    -------
    str
    """
    default = asdict(LawTerms())
    options = {name: value for name, value in asdict(law.terms).items() if value != default[name]}
    if law.likelihood != "auto":
        options["likelihood"] = law.likelihood
    usual = {
        level: tuple(p for p in parameters if p in law.terms.parameters)
        for level, parameters in parse_groups(DEFAULT_LEVELS).items()
    }
    if dict(law.levels) != usual:
        options["groups"] = {level: list(names) for level, names in law.levels.items()}
    known = resolve_priors(law.levels, None, law.terms.parameters, "discrepancy_sd" in law.priors)
    own = {name: prior for name, prior in law.priors.items() if prior != known.get(name)}
    if own:
        options["priors"] = own
    if law.references:
        options["references"] = dict(law.references)
    written = ", ".join(f"{name}={value!r}" for name, value in options.items())
    posterior = law.idata["posterior"]
    told = {n: posterior.attrs[f"fit_{n}"] for n in _FIT if f"fit_{n}" in posterior.attrs}
    sampling = "".join(f", {name}={value}" for name, value in told.items())
    name = law.obs.attrs.get("name")
    bundled = name in list_datasets().index
    source = f"bcl.load_dataset({name!r})" if bundled else "bcl.as_observations(...)"
    lines = ["import bayes_ctxlaw as bcl"]
    lines += ["from bayes_ctxlaw import Prior"] if own else []
    lines.append(f"obs = {source}  # {law.obs.sizes['obs_id']} observations were fitted")
    return "\n".join([*lines, f"law = bcl.ContextLaw({written})", f"law.fit(obs{sampling})"])
