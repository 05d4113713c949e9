"""What the README and the documentation list is what the package has."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

import bayes_ctxlaw as bcl
from bayes_ctxlaw.priors import POPULATION
from bayes_ctxlaw.schema import schema_table

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bayes_ctxlaw"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def table(page, marker):
    """Rows of the table between two comments, each a list of cells; without its head."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    part = re.search(rf"<!-- {marker}\b.*?-->(.*?)<!-- /{marker} -->", text, flags=re.DOTALL)[1]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def rooms():
    """Return {module: number of its row in docs/architecture.md}."""
    named = [re.findall(r"`(\w+)`", cells[0]) for cells in table("architecture.md", "rooms")]
    return {module: number for number, row in enumerate(named) for module in row}


def imports_of(path):
    """Rooms of the package that a file imports from, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "bayes_ctxlaw":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bayes_ctxlaw."):
            yield node.module.split(".")[1]


def test_the_schema_is_that_of_the_package():
    found = {cells[0].strip("`"): cells[1:] for cells in table("data.md", "schema")}
    expected = {
        name: [row.status, row.units, row.allowed, row.description]
        for name, row in schema_table().iterrows()
    }
    assert found == expected


def test_the_priors_are_those_of_the_package():
    text = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
    for name, prior in POPULATION.items():
        low, high = prior.interval
        assert f"(`{name}`) | {low:.2g} to {high:.2g} |" in text


def test_every_module_has_a_room_and_imports_only_from_above():
    row = rooms()
    files = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    room_of = {path: path.relative_to(PACKAGE).with_suffix("").parts[0] for path in files}
    assert set(room_of.values()) == set(row)
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, room in room_of.items()
        for other in imports_of(path)
        if other != room and not row[other] < row[room]
    ]
    assert not wrong


def test_every_public_name_has_its_place_in_the_reference():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. auto\w+:: (?:bayes_ctxlaw\.)?([\w.]+)$", text, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    modules = {name: getattr(bcl, name) for name in ("plots", "readers", "rivals", "splits")}
    public = set(bcl.__all__) - {"__version__"} - set(modules)
    public |= {f"{name}.{part}" for name, module in modules.items() for part in module.__all__}
    assert public <= set(listed)


def test_relative_links_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            # docs/notebooks is a copy that the build makes of notebooks.
            path = page.parent / target
            copied = ROOT / target if target.startswith("notebooks/") else path
            if "://" not in target and not (path.exists() or copied.exists()):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_the_site_builds_without_a_warning_or_a_network(tmp_path):
    """By the recipe of `make docs`, in the environment of the tests."""
    nowhere = "http://127.0.0.1:9"  # a request would fail, and end in a warning
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "DOCS"))}
    environ |= {"http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": ""}
    # -o: whoever runs the tests has made the environment.
    command = ["make", "--no-print-directory", "-o", "env", "docs"]
    command += [f"BIN={Path(sys.executable).parent}", f"DOCS={tmp_path / 'html'}"]
    answer = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert {page.stem for page in (tmp_path / "html").glob("*.html")} >= pages
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        page = (tmp_path / "html" / "notebooks" / f"{notebook.stem}.html").read_text("utf-8")
        cells = nbformat.read(notebook, as_version=4).cells
        printed = [cell for cell in cells if cell.cell_type == "code" and cell.outputs]
        assert page.count('class="cell_output ') >= len(printed) > 0
    # The notebooks sample for many minutes: they are shown as committed, not run.
    assert "Executing notebook" not in answer.stdout + answer.stderr


def test_no_number_is_left_to_be_filled_in():
    left = [page.name for page in PAGES if "{{" + "NUM" in page.read_text(encoding="utf-8")]
    assert not left


def test_the_python_in_the_pages_is_python():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for code in re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
            compile(code, page.name, "exec")


def test_what_the_page_on_own_priors_prints_is_what_its_code_prints(capsys):
    text = (ROOT / "docs" / "own_priors.md").read_text(encoding="utf-8")
    # What comes before the first output: priors alone, nothing is fitted.
    before, printed = re.search(
        r"^(.*?)^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    ).groups()
    namespace = {}
    for code in re.findall(r"^```python\n(.*?)^```", before, flags=re.DOTALL | re.MULTILINE):
        exec(compile(code, "own_priors.md", "exec"), namespace)
    assert capsys.readouterr().out.endswith(f"\n{printed}")
