"""The notebooks: they run, they are committed with their outputs, and no output names a folder."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [
    "01_first_forecast",
    "02_beyond_10k_and_across_decades",
    "03_do_the_intervals_hold",
    "04_yarn_against_interpolation",
    "05_ladders_and_difficulty",
    "06_own_evaluations",
]
FEW_DRAWS = {"BCL_DRAWS": "10", "BCL_TUNE": "30", "BCL_CHAINS": "2"}

# Put together from parts, so that no test finds this line. As in tests/test_packaging.py, but an
# output may also hold a path relative to the home folder.
_FOLDERS = "|".join(("home", "root", "work", "tmp", "var", "private", "Users", "opt", "mnt"))
MACHINE_PATH = re.compile(rf"(?<![\w.$}}*-])(?:/(?:{_FOLDERS})/\w|~/\w)|[A-Z]:\\+Users\\")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def runner():
    path = ROOT / "scripts" / "run_notebooks.py"
    spec = importlib.util.spec_from_file_location("run_notebooks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(output):
    """Return all that an output says in words: streams, tracebacks, every form but pictures."""
    said = [output.get("text", ""), *output.get("traceback", [])]
    for kind, content in output.get("data", {}).items():
        if not kind.startswith("image/"):
            said.append(content if isinstance(content, str) else str(content))
    return said


def machine_paths(notebook):
    return [
        f"cell {number}: {line.strip()[:120]}"
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        for text in texts(output)
        for line in text.splitlines()
        if MACHINE_PATH.search(line)
    ]


def faults(notebook):
    """Return the outputs that nobody wants to read: errors, and what went to stderr."""
    return [
        (number, output.get("ename") or output.get("text", "")[:200])
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def pictures(notebook):
    return sum(
        "image/png" in output.get("data", {})
        for cell in code_cells(notebook)
        for output in cell.outputs
    )


def test_the_notebooks_are_there():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@each_notebook
def test_the_committed_notebook_was_executed_from_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)

    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks` and commit the result"
    assert not faults(notebook)
    assert not machine_paths(notebook)
    assert pictures(notebook) >= 2


# One is enough to see that notebooks run; the others fit more than the whole suite has time for.
# make test-slow runs them. What they call is tested elsewhere, and their committed outputs here.
SLOW = ("02", "03", "04", "05", "06")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, marks=pytest.mark.slow if path.stem.startswith(SLOW) else (), id=path.stem
        )
        for path in NOTEBOOKS
    ],
)
def test_the_notebook_runs(path):
    before = path.read_bytes()
    notebook = runner().execute(path, FEW_DRAWS)

    assert path.read_bytes() == before
    assert all(cell.execution_count for cell in code_cells(notebook))
    assert not faults(notebook)
    assert not machine_paths(notebook)
    assert pictures(notebook) >= 2


def test_a_machine_path_in_an_output_is_found():
    folder = "/".join(("", "home", "someone", "fit.nc"))
    cell = nbformat.v4.new_code_cell("law.save(path)")
    cell.outputs = [nbformat.v4.new_output("stream", text=f"saved to {folder}")]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert len(machine_paths(notebook)) == 1

    cell.outputs = [
        nbformat.v4.new_output("stream", text="see notebooks/home/page and https://a.b/c")
    ]
    assert not machine_paths(notebook)


def test_a_failing_cell_leaves_the_file_as_it_was(tmp_path, capsys):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    path = tmp_path / "broken.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()

    assert runner().main([str(path)]) == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().err
