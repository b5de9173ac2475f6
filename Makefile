# Everything needs only Python (3.10 or newer) and make; `make install` puts the rest into .venv.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help install demo test quick lint format docs notebooks clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

install: .venv/installed ## set up .venv with everything (about 6 GB, mostly PyTorch)

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; name one that runs: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[deploy,distributed,notebooks,docs,demo,dev]'
	@touch $@

demo: install ## the main job on made-up parts: generate, train on 4, test, draw
	$(BIN)/python examples/demo.py

# One process for each core, single-threaded tests in each.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --dist loadgroup

test: install lint ## lint, types, all tests
	$(PYTEST)

quick: install lint ## the same without the tests that take long
	$(PYTEST) -m "not slow"

lint: install ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install ## the documentation as pages, in site
	$(BIN)/mkdocs build --strict

notebooks: install ## run the notebooks at length and keep their outputs, about 10 minutes
	$(BIN)/jupyter execute --inplace --timeout=1200 notebooks/*.ipynb

clean: ## remove the environment and all results
	rm -rf .venv results datasets site .mypy_cache .pytest_cache .ruff_cache
