"""What the files around the package promise: one version, one list of requirements, one set-up."""

import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]

# conda-forge's name: the name in pyproject.toml. All others are the same in both.
CONDA_NAMES = {
    # matplotlib there is matplotlib-base plus a window toolkit, which nothing here needs.
    "matplotlib-base": "matplotlib",
}
# From PyPI: conda-forge may be some releases behind.
FROM_PIP = {"inspect-ai"}
# In environment.yml only: the interpreter is `requires-python` in pyproject.toml, and pip installs
# the checkout.
CONDA_ONLY = {"python", "pip"}

# Importing the package must stay quick (tab completion, `bayes-ctxlaw --help`, reading data):
# these are imported when a law is built or a backtest is run, and most of them take seconds.
HEAVY = ("pymc", "pytensor", "nutpie", "numba", "scoringrules", "joblib")


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def minimum_python(pyproject):
    """Return the lower bound of Python as a string such as 3.12."""
    found = re.fullmatch(r">=(\d+\.\d+)", pyproject["project"]["requires-python"])
    assert found, "requires-python must be a plain lower bound: scripts/setup_env.sh reads it"
    return found[1]


def as_mapping(requirements):
    """Return {canonical name: version specifiers} and refuse a name given twice."""
    mapping = {}
    for text in requirements:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name not in mapping, f"{name} is required twice"
        mapping[name] = {str(specifier) for specifier in requirement.specifier}
    return mapping


def extra(project, name):
    """Return the requirements of an extra, and of the extras of this package that it names."""
    found = []
    for text in project["optional-dependencies"][name]:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) == canonicalize_name(project["name"]):
            for other in sorted(requirement.extras):
                found += extra(project, other)
        else:
            found.append(text)
    return found


def conda_requirements(environment):
    return [entry for entry in environment["dependencies"] if isinstance(entry, str)]


def pip_requirements(environment):
    (entry,) = (entry for entry in environment["dependencies"] if not isinstance(entry, str))
    return entry["pip"]


def repository_files():
    """Return the files that belong to the repository: what git knows or would add, else a walk."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    else:
        # An unpacked source archive. Folders that git would ignore are left out by name.
        ignored = {".venv", "__pycache__", "build", "dist", "_build", "bayes-ctxlaw-demo"}
        ignored |= {".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints"}
        paths = []
        for folder, subfolders, names in os.walk(ROOT):
            subfolders[:] = [name for name in subfolders if name not in ignored]
            paths += [Path(folder) / name for name in names]
    # git still lists a file that was deleted and not yet committed so.
    return [path for path in paths if path.is_file()]


# --- requirements ---------------------------------------------------------------------------------


def test_environment_yml_has_the_requirements_of_pyproject(pyproject, environment):
    project = pyproject["project"]
    expected = as_mapping(project["dependencies"] + extra(project, "test"))
    from_pip = as_mapping(text for text in pip_requirements(environment) if text != "-e .")
    assert from_pip.keys() == FROM_PIP
    found = from_pip | {
        canonicalize_name(CONDA_NAMES.get(name, name)): specifiers
        for name, specifiers in as_mapping(conda_requirements(environment)).items()
        if name not in CONDA_ONLY
    }

    missing = sorted(expected.keys() - found.keys())
    surplus = sorted(found.keys() - expected.keys())
    assert not missing, f"in pyproject.toml but not in environment.yml: {missing}"
    assert not surplus, f"in environment.yml but not in pyproject.toml: {surplus}"
    differing = {
        name: {"pyproject.toml": sorted(expected[name]), "environment.yml": sorted(found[name])}
        for name in expected
        if expected[name] != found[name]
    }
    assert not differing


def test_no_conda_name_is_mapped_in_vain(environment):
    assert CONDA_NAMES.keys() <= as_mapping(conda_requirements(environment)).keys()


def test_environment_yml_names_the_project_and_installs_the_checkout(environment):
    assert environment["name"] == "bayes_ctxlaw"
    assert set(environment["channels"]) == {"conda-forge", "nodefaults"}
    assert pip_requirements(environment)[-1] == "-e ."


def test_every_dependency_has_a_lower_bound_and_every_cap_a_reason(pyproject):
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    for text in pyproject["project"]["dependencies"]:
        operators = {specifier.operator for specifier in Requirement(text).specifier}
        assert ">=" in operators, f"{text} has no lower bound"
        if operators - {">="}:
            above = lines.index(f'    "{text}",') - 1
            comment = []
            while lines[above].lstrip().startswith("#"):
                comment.append(lines[above])
                above -= 1
            assert any("Cap:" in line for line in comment), f"{text} is capped without a reason"


def test_the_installed_releases_satisfy_the_requirements(pyproject):
    project = pyproject["project"]
    for text in project["dependencies"] + extra(project, "test"):
        requirement = Requirement(text)
        installed = importlib.metadata.version(requirement.name)
        assert requirement.specifier.contains(installed, prereleases=True), (text, installed)


# --- version --------------------------------------------------------------------------------------


def test_the_version_has_one_source(pyproject):
    import bayes_ctxlaw
    from bayes_ctxlaw import _version

    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["hatch"]["version"] == {"path": "bayes_ctxlaw/_version.py"}
    assert bayes_ctxlaw.__version__ == _version.__version__
    # Installed by `make`, which installs again when _version.py has changed.
    assert importlib.metadata.version("bayes_ctxlaw") == _version.__version__
    assert str(Version(_version.__version__)) == _version.__version__

    assigned = [
        str(path.relative_to(ROOT))
        for path in repository_files()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "bayes_ctxlaw")
        if re.search(r"^__version__\s*=", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    assert assigned == [str(Path("bayes_ctxlaw", "_version.py"))]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert "version" not in citation


# --- interpreter and set-up -----------------------------------------------------------------------


def test_the_lower_bound_of_python_is_the_same_everywhere(pyproject, environment, minimum_python):
    conda = as_mapping(conda_requirements(environment))
    assert conda["python"] == {f">={minimum_python}"}

    selected = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert Version(selected) >= Version(minimum_python)

    assert pyproject["tool"]["ruff"]["target-version"] == "py" + minimum_python.replace(".", "")

    classifiers = pyproject["project"]["classifiers"]
    stated = [re.search(r":: (\d+\.\d+)$", classifier) for classifier in classifiers]
    assert min(Version(found[1]) for found in stated if found) == Version(minimum_python)

    # The script reads the bound; the interpreters it tries by name must not lie below it.
    script = (ROOT / "scripts" / "setup_env.sh").read_text(encoding="utf-8")
    tried = re.findall(r"\bpython(\d\.\d+)", script)
    assert tried
    assert min(map(Version, tried)) == Version(minimum_python)


def run_setup_with(fake_python):
    environ = {**os.environ, "PYTHON": str(fake_python)}
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "setup_env.sh")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def write_fake_python(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_an_older_interpreter_gets_one_clear_line(tmp_path, minimum_python):
    # Its answer to the script's question: the version, and 3 for "too old".
    fake = write_fake_python(tmp_path / "python3.11", "echo 3.11.7; exit 3")
    answer = run_setup_with(fake)

    assert answer.returncode == 1
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith(
        f"bayes_ctxlaw needs Python >= {minimum_python}; found 3.11.7 (python3.11)."
    )
    assert "make test PYTHON=" in line


def test_an_interpreter_that_does_not_run_gets_one_clear_line(tmp_path, minimum_python):
    # What a pyenv shim does when its version is not selected.
    fake = write_fake_python(tmp_path / "python3.13", "echo 'not selected' >&2; exit 127")
    answer = run_setup_with(fake)

    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert f"needs Python >= {minimum_python}; found none that runs" in line


def test_the_question_put_to_an_interpreter_is_answered_by_a_real_one():
    """The fakes above only hold if the script's own code tells old from new."""
    script = (ROOT / "scripts" / "setup_env.sh").read_text(encoding="utf-8")
    code = re.search(r"\"\$1\" -c '\n(import sys\n.*?)' \"\$minimum\"", script, flags=re.DOTALL)[1]
    major, minor, micro = sys.version_info[:3]
    for minimum, status in ((f"{major}.{minor}", 0), (f"{major}.{minor + 1}", 3)):
        answer = subprocess.run(
            [sys.executable, "-c", code, minimum], capture_output=True, text=True, check=False
        )
        assert (answer.returncode, answer.stdout) == (status, f"{major}.{minor}.{micro}\n")


def test_continuous_integration_runs_make_test():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    commands = [
        line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert re.fullmatch(r"exec make (--\S+ )*test", [line for line in commands if line][-1])
    assert "set -euo pipefail" in commands


def test_make_lists_its_targets():
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("demo", "test", "test-slow", "lint", "clean"):
        assert re.search(rf"^  make {target} ", listed, flags=re.MULTILINE), listed


# --- what the repository holds --------------------------------------------------------------------


def test_no_file_names_a_folder_of_some_machine():
    # Put together from parts, so that this file does not match itself.
    folders = "|".join(("home", "root", "work", "tmp", "Users"))
    # Not after a letter, digit, dot, ~, $ or }: then it is part of a relative path or an address.
    pattern = re.compile(rf"(?<![\w.~$}}*-])/(?:{folders})/\w|[A-Z]:\\+Users\\")
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture or another binary file
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if pattern.search(line)
        ]
    assert not found, "\n".join(found)


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, bayes_ctxlaw; print([n for n in {HEAVY!r} if n in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "[]"


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "bayes_ctxlaw" / "py.typed").is_file()


def test_the_licence_is_apache(pyproject):
    project = pyproject["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
