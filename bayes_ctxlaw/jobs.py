"""Loops of fits, spread by joblib as the user configured it: one core, all cores, a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from bayes_ctxlaw.errors import BayesCtxlawError


def run[Result](
    function: Callable[..., Result],
    jobs: Mapping[str, tuple[Any, ...]],
    progressbar: bool = False,
    title: str = "fits",
) -> dict[str, Result]:
    """Call a function once for each job, side by side where joblib is configured so.

    Parameters
    ----------
    function : callable
        Of a module, or anything else that cloudpickle can send to a worker.
    jobs : mapping of str to tuple
        Arguments of each call, by a name that says in an error which one failed.
    progressbar : bool
        Show on stderr how many are done. Where a backend hands over its results at the end only
        (Ray, Spark, multiprocessing), so does the bar.
    title : str
        What is counted.

    Returns
    -------
    dict
        Results by name, in the order of `jobs`, whatever order they came in.

    Raises
    ------
    Exception
        Whatever `function` raises, of the same class. Errors of this package have the job's name
        in front of their message; all others have it as a note below.

    Notes
    -----
    How many run at once, and where, is not said here: wrap the call in
    ``joblib.parallel_config(...)``. Without it they run one after the other. BLAS has one thread in
    each job, so that results do not depend on how they are spread.

    Examples
    --------
    >>> run(pow, {"two": (2, 2), "three": (3, 2)})
    {'two': 4, 'three': 9}
    """
    import joblib
    from threadpoolctl import threadpool_limits

    # Read-only memory maps of large arrays, joblib's default, would make a job see something else
    # than it sees in a serial run.
    settings = {"max_nbytes": None}
    try:
        parallel = joblib.Parallel(return_as="generator_unordered", **settings)
    except ValueError:  # what joblib raises for a backend that cannot
        parallel = joblib.Parallel(**settings)
    calls = [joblib.delayed(_one)(function, name, arguments) for name, arguments in jobs.items()]
    results = {}
    # Here as well: jobs that are threads of this process would each put back what they found.
    limit = threadpool_limits(limits=1, user_api="blas")
    with limit, progress(len(calls), title, progressbar) as advance:
        for name, result in parallel(calls):
            results[name] = result
            advance()
    return {name: results[name] for name in jobs}


class named:
    """Context manager: an error raised inside says what was being worked on, and goes on.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> from bayes_ctxlaw.errors import ObservationError
    >>> with named("the first fold"):
    ...     raise ObservationError("too few rows.")
    Traceback (most recent call last):
    ...
    bayes_ctxlaw.errors.ObservationError: the first fold: too few rows.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, BayesCtxlawError):
            raise type(error)(f"{self.name}: {error}") from error
        if error is not None:
            error.add_note(f"While working on {self.name}.")


def _one[Result](
    function: Callable[..., Result], name: str, arguments: tuple[Any, ...]
) -> tuple[str, Result]:
    from threadpoolctl import threadpool_limits

    with named(name), threadpool_limits(limits=1, user_api="blas"):
        return name, function(*arguments)


@contextmanager
def progress(total: int, title: str, shown: bool) -> Iterator[Callable[[], None]]:
    """Give a function to call after each job."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # In a notebook without ipywidgets rich would warn; it then writes plain text.
    plain = None if find_spec("ipywidgets") else False
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True, force_jupyter=plain)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
