# 'make run' serves the site, 'make test' runs every test, 'make lint' checks style and types, 'make conformance' runs
# the protocol's official suite against three processes (ARGS="--help" says how else).
# Each builds .venv when it is missing or older than the requirements; nothing is installed outside it.

# The first of these that is Python 3.11 or newer; 'make run PYTHON=/path/to/python3' chooses another.
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for python in $(PYTHONS); do $$python -c $(RECENT) 2>/dev/null && echo $$python && break; done)
RECENT := 'import sys; sys.exit(sys.version_info < (3, 11))'

VENV := .venv
BIN := $(VENV)/bin
NODE_MODULES := tests/node_modules
# What 'make run' listens on, such as 0.0.0.0:9000; runserver's own default is 127.0.0.1:8062.
ADDRPORT ?=
# More for pytest, such as ARGS="-k readme -x", or for the conformance run, such as ARGS="--kill".
ARGS ?=

# A .venv whose interpreter is gone, after an upgrade say, is built anew.
$(shell $(BIN)/python -c '' 2>/dev/null || rm -f $(VENV)/*.stamp)

.PHONY: run test lint conformance bench clean
.DELETE_ON_ERROR:

run: $(VENV)/run.stamp
	$(BIN)/python manage.py runserver $(ADDRPORT)

test: $(VENV)/dev.stamp $(if $(shell command -v npm),$(NODE_MODULES)/.stamp,no-npm)
	$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/dev.stamp $(NODE_MODULES)/.stamp
	$(BIN)/python -m benchmarks.operations
	$(BIN)/python -m benchmarks.notify
	$(BIN)/python -m benchmarks.parked
	$(BIN)/python -m benchmarks.pages
	$(BIN)/python -m benchmarks.clearing
	$(BIN)/python -m benchmarks.exports

lint: $(VENV)/dev.stamp
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

conformance: $(VENV)/dev.stamp $(NODE_MODULES)/.stamp
	$(BIN)/python -m tests.conformance.run $(ARGS)

clean:
	rm -rf $(VENV) $(NODE_MODULES) staticfiles .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/run.stamp: requirements.txt
	@$(or $(PYTHON),python3) -c $(RECENT) || { \
	  echo "Python 3.11 or newer is needed, and none of these is that: $(or $(PYTHON),$(PYTHONS))." >&2; \
	  echo "Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# DynamoDB Local, the Inspector and the conformance suite come from npm. Without them their tests skip, except in CI.
SKIPPED := the tests that need DynamoDB Local, the MCP Inspector or a browser will be SKIPPED.

$(NODE_MODULES)/.stamp: tests/package.json tests/package-lock.json
	@npm ci --prefix tests --no-audit --no-fund --loglevel=error && touch $@ || { \
	  echo "'npm ci --prefix tests' failed: $(SKIPPED)" >&2; test -z "$$CI"; }

.PHONY: no-npm
no-npm:
	@echo "npm is not on PATH: $(SKIPPED)" >&2
