# Each target sets up .venv by itself: Python >= 3.11 with venv is all that has to be there.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# One thread per process: the matrices are small, and the test runner and the studies use a process per core instead.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check slow peers interop clean

demo: $(INSTALLED)  ## predict, train, compare and report on a small suite
	$(BIN)/carryproof demo

test: $(INSTALLED)  ## everything but the slow tests
	$(BIN)/pytest -q -n 2

check: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: $(INSTALLED)  ## the slow tests
	$(BIN)/pytest -q -n 2 -m slow

peers: $(INSTALLED)  ## the comparisons with other packages
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,peers]'
	$(BIN)/pytest -q -m peers

interop:  ## TransformerLens on our models, in an environment of its own: version 4, then one that has HookedTransformer
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt) -e '.[dev,interop]'
	.venv-interop/bin/pytest -q -m interop
	.venv-interop/bin/pip install --quiet --disable-pip-version-check 'transformer-lens<4'
	.venv-interop/bin/pytest -q -m interop tests/test_published_models.py

clean:  ## results in runs/ are kept
	rm -rf .venv .venv-interop build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Carryproof needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo 'Installing into .venv (a minute or two, once)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
