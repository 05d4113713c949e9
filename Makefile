# Two commands are enough on a machine with Python >= 3.12: `make demo` and `make test`.
# Variables: PYTHON       the interpreter to make .venv with (default: the first that fits)
#            PYTEST_ARGS  arguments for pytest; by default those marked slow are left out
#            DOCS         the folder for the documentation (default: docs/_build/html)
# Slow are recovery and calibration with many fits, and notebooks 02 to 06: make test-slow.
PYTEST_ARGS ?= -m "not slow"
# Where `make docs` puts the pages.
DOCS ?= docs/_build/html

# Chains run side by side and already fill the cores; BLAS threads under each of them would only
# fight for the same cores. The matrices here are small, so one thread loses nothing.
OMP_NUM_THREADS ?= 1
# Figures go to files, also on a machine without a display.
MPLBACKEND ?= Agg
export OMP_NUM_THREADS MPLBACKEND

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow notebooks lint format docs clean clean-env

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

env: ## make .venv and install the package with what its tests need (once)
	@./scripts/setup_env.sh test

demo: env ## fit the bundled data; figures and a report in bayes-ctxlaw-demo/
	@$(BIN)/bayes-ctxlaw demo

test: env ## run the tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# The last -m wins: every test, whatever PYTEST_ARGS leaves out.
test-slow: env ## run the tests, those marked slow included whatever PYTEST_ARGS says
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m ""

notebooks: env ## run the notebooks in place with their own numbers of draws, for committing
	@$(BIN)/python scripts/run_notebooks.py

lint: ## check style and format, change nothing
	@./scripts/setup_env.sh dev
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

format: ## mend style and format where ruff can
	@./scripts/setup_env.sh dev
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

# tests/test_docs.py runs this recipe.
docs: env ## build the documentation into docs/_build/html; a warning is an error
	@$(BIN)/python -m sphinx -W --keep-going -b html docs $(DOCS)

clean: ## remove caches, build output and the demo's output; .venv stays
	@rm -rf build dist bayes-ctxlaw-demo docs/_build docs/jupyter_execute docs/notebooks
	@rm -rf .pytest_cache .ruff_cache .hypothesis
	@find . \( -path ./.venv -o -path ./.git \) -prune -o -type d \
	    \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

clean-env: ## remove .venv
	@rm -rf .venv
