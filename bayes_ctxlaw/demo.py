"""The main job on bundled data: fit, predict beyond 10k tokens, figures, a report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from bayes_ctxlaw.datasets import load_dataset
from bayes_ctxlaw.errors import FileFormatError
from bayes_ctxlaw.judgement import convergence, held_out_sentence, inside, verdict
from bayes_ctxlaw.output import prediction_table, write_table, written_whole
from bayes_ctxlaw.report import Figure, write_report
from bayes_ctxlaw.report.designs import along_prompts, cells_of

DATASET, HELD_OUT = "montgomery2025", "beyond_10k"
QUICK = {"draws": 200, "tune": 300, "chains": 2}
"""Sampling of a quick run: enough for a first look, not for intervals to rely on."""

FILES = {
    "report": ("report.html", "the report; open it in a browser"),
    "context_curve": ("context_curve.png", "score against prompt tokens, held-out points open"),
    "effects": ("effects.png", "what each task does to the parameters of the law"),
    "beyond_10k": ("beyond_10k.csv", "the 12 held-out scores beside their intervals"),
    "predictions": ("predictions.csv", "the curves of the figure as a table"),
    "fit": ("fit.nc", "the fit, for bayes-ctxlaw predict or ContextLaw.load"),
}
"""What `run_demo` writes: file name and meaning, the first to look at first."""

_GRID_POINTS = 80


def run_demo(
    out: str | os.PathLike[str] = "bayes-ctxlaw-demo",
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    random_seed: int | None = 1,
    progressbar: bool = True,
    on_step: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Fit the paper's scores up to 10k tokens, predict those beyond, and report.

    The bundled table ``montgomery2025`` marks 12 points beyond 10,000 tokens and inside the
    context window. The law is fitted to the others once, and then predicts them.

    Parameters
    ----------
    out : path
        Folder for the files, made if need be; files of an earlier run are replaced.
    draws, tune, chains, random_seed, progressbar
        As in ``ContextLaw.fit``.
    on_step : callable, optional
        Told in a few words what is being done.

    Returns
    -------
    dict of str to pathlib.Path
        The files by the names of `FILES`.

    Raises
    ------
    FileFormatError
        The folder cannot be made or written to.

    Examples
    --------
    >>> sorted(FILES)
    ['beyond_10k', 'context_curve', 'effects', 'fit', 'predictions', 'report']
    """
    from bayes_ctxlaw.context_law import ContextLaw

    say = on_step or (lambda _: None)
    folder = _folder(out)
    paths = {name: folder / file for name, (file, _) in FILES.items()}
    obs = load_dataset(DATASET)
    marked = obs[HELD_OUT].values
    seen, held_out = obs.isel(obs_id=~marked), obs.isel(obs_id=marked)
    law = ContextLaw()
    say(f"Fitting {seen.sizes['obs_id']} observations: {chains} chains of {tune} + {draws} draws")
    law.fit(
        seen,
        draws=draws,
        tune=tune,
        chains=chains,
        random_seed=random_seed,
        progressbar=progressbar,
    )
    law.save(paths["fit"])
    say(f"Predicting the {held_out.sizes['obs_id']} held-out scores and the curves")
    beyond = law.predict(held_out, kind="response")
    say(held_out_sentence(beyond))
    say(verdict(convergence(law.idata)))
    curves = law.predict(along_prompts(cells_of(obs), _GRID_POINTS), kind="response")
    write_table(prediction_table(beyond).assign(inside=inside(beyond)), paths["beyond_10k"])
    write_table(prediction_table(curves), paths["predictions"])
    say("Drawing and writing the report")
    figures = [_draw(law, curves, obs, paths)]
    settings = {"held out": f"{HELD_OUT} is true"}
    title = "Context-aware scaling law: Llama-2 with YaRN, predicted beyond 10k tokens"
    write_report(
        paths["report"], law, held_out=beyond, figures=figures, settings=settings, title=title
    )
    return paths


def _folder(out: str | os.PathLike[str]) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileFormatError(f"{folder} cannot be made a folder: {error.strerror}.") from error
    return folder


def _draw(law: Any, curves: xr.Dataset, obs: xr.Dataset, paths: dict[str, Path]) -> Figure:
    """Draw and save both figures; that of the effects, for the report draws the curves itself."""
    from bayes_ctxlaw.plots import plot_context_curve, plot_effects

    axes = plot_context_curve(curves, obs, held_out=HELD_OUT)
    _save(axes[0].figure, paths["context_curve"])
    _save(plot_effects(law, level="task")[0].figure, paths["effects"])
    return Figure(
        paths["effects"],
        "Effect of each task on the parameters of the law: posterior median, 50 % and 90 % "
        "equal-tailed intervals. Effects are on the log scale (of ρ and of η / 2 the log-odds, "
        "of κ the log of κ − 2, of δ natural log units of the window).",
    )


def _save(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)
