# Everything runs in a virtual environment that the first target creates.

PYTHON ?= python3
VENV ?= .venv
# What is installed.
PINS ?= requirements/tested.txt
# Parallel test processes; each takes one core and about 1 GB.
JOBS ?= 2
PIP_OPTIONS ?= --quiet --disable-pip-version-check

BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
DOCUMENTED = $(VENV)/.documented
PIP_INSTALL = $(PYTHON) -m pip --python $(BIN)/python install $(PIP_OPTIONS)
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=10 -n $(JOBS)

.PHONY: help install quickstart test test-slow test-oldest lint format docs clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

install: $(INSTALLED) ## Create the virtual environment with the tested versions.

quickstart: $(INSTALLED) ## Certify a small network on generated scenes.
	$(BIN)/lipcert demo --out work_dirs/quickstart

test: $(INSTALLED) ## Run the docstring examples and the tests that need neither a GPU nor much time.
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(INSTALLED) ## Run the tests marked slow.
	$(PYTEST) -m "slow and not gpu"

test-oldest: ## Run the tests of `test` with the lowest versions in the ranges of setup.py.
	$(MAKE) test VENV=$(VENV)-oldest PINS=requirements/oldest.txt

lint: $(INSTALLED) ## Check style, formatting and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## Fix what ruff can fix.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCUMENTED) ## Build the site into site/, with an executed notebook; warnings are errors.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## Remove the virtual environment and what builds and tools leave behind.
	rm -rf $(VENV) $(VENV)-oldest build dist site *.egg-info mmseg_lipcert/.mim .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# All pins in one call: pip then sees torch's version in the same resolution as everything else.
# The pip outside installs, so that Python needs no ensurepip; the one inside is for the user.
$(INSTALLED): setup.py $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	"Python 3.11 or newer is needed; choose one with: make PYTHON=python3.11 ...")'
	@echo "Installing $(PINS) into $(VENV): a few minutes the first time."
	$(PYTHON) -m venv --without-pip --clear $(VENV)
	$(PIP_INSTALL) pip -r $(PINS)
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# What the site needs is added to the tested versions and changes none of them.
$(DOCUMENTED): $(INSTALLED)
	$(PIP_INSTALL) --constraint requirements/tested.txt --no-build-isolation --editable ".[docs]"
	@touch $@
