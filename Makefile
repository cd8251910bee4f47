# make run   install into .venv and run the quickstart end to end
# make test  install what testing needs as well, and run the tests
# make test-slow the tests that take long and rarely break
# make test-quiet the tests that kill many processes: on a machine that does nothing else
# make test-explore properties, over new random examples each time
# make docs  the documentation as a site, in site/
# make check lint, format and types, as CI does
PYTHON ?= python3
VENV ?= .venv
TEST_WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: run test test-slow test-quiet test-explore docs check clean

run: $(VENV)/.installed
	$(BIN)/hybridsplit run quickstart

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not quiet" -n $(TEST_WORKERS) --dist loadfile

test-quiet: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m quiet

test-explore: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "hypothesis and not quiet" --hypothesis-profile explore -n $(TEST_WORKERS)

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/site/build.py site

# Benchmarks name what the product has; how they annotate themselves is free, and their peers need not be installed.
LOOSE_IN_BENCHMARKS := import-not-found no-untyped-call misc unused-ignore assignment arg-type no-any-return index \
	redundant-expr unreachable var-annotated

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=src:. $(BIN)/mypy --explicit-package-bases benchmarks $(addprefix --disable-error-code=,$(LOOSE_IN_BENCHMARKS))
	cd tests/plugin && MYPYPATH=../../src:. $(abspath $(BIN))/mypy --config-file ../../pyproject.toml -p hybridsplit_example

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) runs site .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
