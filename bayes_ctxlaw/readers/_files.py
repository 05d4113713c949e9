"""Many files, one after the other: which there are, how far, and what to do with a broken one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import BayesCtxlawError, FileFormatError, SpecificationError
from bayes_ctxlaw.jobs import progress
from bayes_ctxlaw.output import as_path

ON_ERROR = ("raise", "skip")
_SHOWN = 10  # faults of files named in one message


def few(names: Iterable[str], shown: int = 5) -> str:
    """Join names, the first of them if they are many."""
    each = list(dict.fromkeys(names))
    more = f" and {len(each) - shown} more" if len(each) > shown else ""
    return ", ".join(each[:shown]) + more


def few_files(names: Iterable[str]) -> str:
    """Join names of files, which are long."""
    return few(names, 3)


class OtherFileError(FileFormatError):
    """A file that was not written as what is read here; in a folder it may stay."""


class Folder:
    """The files to read and what became of them.

    Parameters
    ----------
    path : str or path
        A folder, read with all folders in it, or one file.
    endings : sequence of str
        Endings of the names that are looked at. One file may have any name.
    on_error : {"raise", "skip"}
    progressbar : bool
    """

    def __init__(
        self, path: str | os.PathLike[str], endings: Sequence[str], on_error: str, progressbar: bool
    ) -> None:
        if on_error not in ON_ERROR:
            raise SpecificationError(
                f"on_error={on_error!r}; allowed are {' and '.join(map(repr, ON_ERROR))}."
            )
        given = as_path(path)
        wanted = " or ".join(endings)
        if given.is_dir():
            self.root = given
            self.paths = sorted(p for p in given.rglob("*") if _is_one(p, endings))
            if not self.paths:
                raise FileFormatError(f"{str(path)!r} holds no file that ends in {wanted}.")
        elif given.is_file():
            self.root, self.paths = given.parent, [given]
        else:
            raise FileFormatError(
                f"{str(path)!r} does not exist. Give a folder, or a file that ends in {wanted}."
            )
        self.on_error = on_error
        self.progressbar = progressbar
        self.faults: dict[str, str] = {}
        self.passed_by: dict[str, str] = {}

    @property
    def read(self) -> list[str]:
        """Names of the files in which no fault was found so far."""
        left = {**self.faults, **self.passed_by}
        return [name for name in map(self.name, self.paths) if name not in left]

    def notes(self) -> list[str]:
        """Say which files were passed by, and why."""
        names: dict[str, list[str]] = {}
        for name, why in self.passed_by.items():
            names.setdefault(why, []).append(name)
        return [f"Passed by: {few_files(found)}: {why}" for why, found in names.items()]

    def name(self, path: Path) -> str:
        """The name of a file below the folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def each[Job, Result](
        self,
        read: Callable[[Job], Result],
        jobs: Sequence[Job],
        title: str,
        path_of: Callable[[Job], Path] = Path,
    ) -> list[Result]:
        """Read every file; faults of files are kept, to be told together by `settle`.

        Raises
        ------
        BayesCtxlawError
            Anything else that is wrong, after the name of the file in which it showed.
        """
        results = []
        with progress(len(jobs), title, self.progressbar and len(jobs) > 1) as advance:
            for job in jobs:
                try:
                    results.append(read(job))
                except OtherFileError as error:
                    self.passed_by[self.name(path_of(job))] = str(error)
                except FileFormatError as error:
                    self.faults[self.name(path_of(job))] = str(error)
                except BayesCtxlawError as error:
                    raise type(error)(f"{self.name(path_of(job))}: {error}") from error
                advance()
        return results

    def settle(self, n_read: int) -> None:
        """Raise for the files that could not be read, or warn of them.

        Raises
        ------
        FileFormatError
            There are such files, and they are not to be skipped or nothing else is left.
        """
        if not n_read:
            self.faults |= self.passed_by
        if not self.faults:
            return
        number = f"{len(self.faults)} of {len(self.paths)} files"
        lines = [f"  {name}: {fault}" for name, fault in self.faults.items()]
        if len(lines) > _SHOWN:
            lines = [*lines[:_SHOWN], f"  … and {len(lines) - _SHOWN} more."]
        if self.on_error == "raise" or not n_read:
            advice = "Mend or remove them"
            rest = f", or read the rest with {wording().skip()}."
            advice += rest if n_read else "; nothing is left."
            raise FileFormatError("\n".join([f"{number} cannot be read:", *lines, advice]))
        warnings.warn(
            "\n".join([f"{number} were skipped, as {wording().skip()} says:", *lines]),
            UserWarning,
            stacklevel=4,
        )


def _is_one(path: Path, endings: Sequence[str]) -> bool:
    # Hidden files are the system's or half written.
    named = path.name.casefold().endswith(tuple(endings)) and not path.name.startswith(".")
    return named and path.is_file()
