# Everything a fresh computer needs: Python 3.11 or newer, and make.
# The first call makes .venv from requirements.lock (some 160 packages, 1.3 GB, a minute or two); later calls are quick.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FIND_PYTHON := for p in "$$PYTHON" python3 python3.13 python3.12 python3.11 python; do \
	test -n "$$p" && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$p"; break; }; done

.PHONY: help install demo test test-all test-setup postgres-test browser-test bench docs lint lock clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      run the demo study on virtual chips, in virtual time"
	@echo "make test      run the tests"
	@echo "make test-all  run the slow tests too"
	@echo "make postgres-test  run the tests of a shared record on a PostgreSQL server that it starts"
	@echo "make browser-test  walk through the pages in Chromium, without a window"
	@echo "make bench     measure every speed that the README claims"
	@echo "make docs      build the documentation site into docs/_build"
	@echo "make lint      check style, types and layers"
	@echo "make lock      resolve requirements.lock anew (needs uv)"
	@echo "make clean     remove .venv and caches"

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@if ! test -x $(BIN)/python; then \
		python="$$($(FIND_PYTHON))"; \
		if test -z "$$python"; then \
			echo "chiploop needs Python 3.11 or newer; none was found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$python" --version); this takes a minute or two, once."; \
		"$$python" -m venv $(VENV) || { \
			echo "Could not make $(VENV). On Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }; \
	fi
	@# the lock is whole: left to resolve, pip asks for the newest of what a library wants with an extra, and refuses it
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m flows.prepare
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/chiploop simulate protocols/studies/ad_jak_dose_finding.yaml

# a file's tests stay together in one process: they share what takes long to make
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(INSTALLED) test-setup
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-all: $(INSTALLED) test-setup
	@$(BIN)/python -m pytest -m "not hardware" $(SIDE_BY_SIDE)

# A PostgreSQL server and Chromium where there is none and it can be installed; the tests start them themselves.
test-setup:
	@tests/set_up_postgresql.sh
	@tests/set_up_chromium.sh

# Starts a server in a temporary folder, on loopback; it ends with the tests.
postgres-test: $(INSTALLED) test-setup
	@CHIPLOOP_POSTGRESQL=required $(BIN)/python -m pytest -m postgres

# Whole runs with people at the pages, each with a browser of their own; a few minutes.
browser-test: $(INSTALLED) test-setup
	@CHIPLOOP_CHROMIUM=required $(BIN)/python -m pytest -m browser

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks.simulation
	@$(BIN)/python -m benchmarks.instruments
	@$(BIN)/python -m benchmarks.instruments_stop
	@$(BIN)/python -m benchmarks.recalibration
	@$(BIN)/python -m benchmarks.recalibration_scale --donors 3 6
	@$(BIN)/python -m benchmarks.fit_workers --fits 12
	@$(BIN)/python -m benchmarks.proposal --part time
	@$(BIN)/python -m benchmarks.proposal_seconds
	@$(BIN)/python -m benchmarks.curves
	@$(BIN)/python -m benchmarks.exports
	@$(BIN)/python -m benchmarks.transport --seeds 200
	@$(BIN)/python -m benchmarks.microscopy --seeds 2 --size 1024
	@$(BIN)/python -m benchmarks.orchestration
	@$(BIN)/python -m benchmarks.impedance
	@$(BIN)/python -m benchmarks.review
	@echo "Coverage of the goals over 20 whole studies takes half an hour: $(BIN)/python -m benchmarks.goal_coverage"

docs: $(INSTALLED)
	@$(BIN)/python -m sphinx -W -q -b html docs docs/_build

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# For all systems and every Python from 3.11 on; without the address of any index.
lock:
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --quiet --custom-compile-command "make lock" \
		--output-file requirements.lock

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
