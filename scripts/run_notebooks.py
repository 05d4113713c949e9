"""Execute the notebooks in place, so that the repository holds their outputs.

python scripts/run_notebooks.py [NOTEBOOK ...]      default: all in notebooks/

The number of draws comes from BCL_DRAWS, BCL_TUNE and BCL_CHAINS if they are set, else from the
first cell of each notebook. What is committed is made with the numbers in the notebooks.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SECONDS_PER_CELL = 3600


def execute(path: Path, environment: Mapping[str, str] | None = None) -> nbformat.NotebookNode:
    """Run a notebook in a fresh kernel of this interpreter and return it; the file stays.

    Parameters
    ----------
    path : Path
    environment : mapping of str to str, optional
        Variables set for the kernel, beside those of this process.

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell raised; the message shows it.
    """
    notebook = nbformat.read(path, as_version=4)
    # The notebooks draw into themselves, whatever the backend of this process is.
    variables = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    folders = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables |= {"PYTHONPATH": os.pathsep.join(folders)} | dict(environment or {})
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=variables)
    # Which release of Python ran it is said by the notebook itself, in its last cell.
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.validate(notebook)
    return notebook


def main(arguments: list[str] | None = None) -> int:
    """Execute the notebooks that are named, or all; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    paths = parser.parse_args(arguments).notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        start = time.monotonic()
        sys.stderr.write(f"{path.name}: running\n")
        try:
            notebook = execute(path.resolve())
        except CellExecutionError as error:
            sys.stderr.write(f"{path.name}: a cell failed; the file is unchanged\n{error}\n")
            return 1
        part = path.with_name(f".{path.name}.part")
        nbformat.write(notebook, part)
        part.replace(path)
        sys.stderr.write(f"{path.name}: done in {time.monotonic() - start:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
