# In a fresh clone with Python 3.11+, git, make and pip alone, each target sets up by itself what it needs.

PYTHON ?= python3
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONSTRAINTS := constraints/local.txt

# A process that imports torch takes a third of the time where it was compiled once, at installation.
unexport PYTHONDONTWRITEBYTECODE

# uv does not read pip's configuration: where pip is told of local wheels (a CPU build of torch, say), tell uv too.
ifndef UV_FIND_LINKS
FIND_LINKS := $(strip $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)))
ifneq ($(FIND_LINKS),)
empty :=
comma := ,
export UV_FIND_LINKS := $(subst $(empty) $(empty),$(comma),$(FIND_LINKS))
endif
endif

# Many tests wait: for a timeout, a retry, the end of a process. So there is one process more than there are cores.
export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick check lint format generate bench constraints clean

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: $(READY) ## Set up .venv with everything pinned (the other targets do it themselves)

$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --constraint $(CONSTRAINTS) uv
	UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --python $(BIN)/python --constraints $(CONSTRAINTS) --build-constraints $(CONSTRAINTS) --editable ".[local,dev]"
	@touch $@

demo: $(READY) ## Train two tiny models on this machine with real TRL, from spec to model
	$(BIN)/python -m examples.demo

test: $(READY) ## Run the whole test suite, in parallel; PYTEST_ARGS="-k dpo -n0" narrows it, in one process
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

quick: $(READY) ## Run the quick tests, which need no torch: some four minutes
	$(BIN)/python -m tests.quick $(PYTEST_ARGS)

check: lint test ## All that CI asks for: lint, then test

lint: $(READY) ## ruff, pyright, import contracts, and whether generated files are up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m hfjobs_trainer.codegen --check

format: $(READY) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(READY) ## Write the generated files anew
	$(BIN)/python -m hfjobs_trainer.codegen

bench: $(READY) ## Measure import time
	$(BIN)/python -m benchmarks.import_time

# Local versions ("+cpu") name a build that other machines may not have, so they are left out.
constraints: $(READY) ## Pin the newest versions that pyproject.toml allows
	printf 'hatchling\neditables\n' | $(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --all-extras \
	  --strip-extras --no-annotate --no-header --output-file $(VENV)/pins.txt pyproject.toml -
	{ grep '^#' $(CONSTRAINTS); sed -E 's/\+[a-z0-9.]+$$//' $(VENV)/pins.txt; } > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt $(CONSTRAINTS)

clean: ## Remove .venv, caches and what the demo left
	rm -rf $(VENV) build dist demo-runs .coverage htmlcov .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
