# Daybreak. A fresh machine needs Python 3.11 or newer, pip, git and make.
PYTHON ?= python3
VENV := .venv
ENGINES := .venv-engines
PY := $(VENV)/bin/python
SHORT ?= 1
# Idle threads that spin make clustering twelve times slower on two busy cores.
export OMP_WAIT_POLICY := PASSIVE
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test check bench validity pictures docs serve test-engines bench-engines kills e2e abuse clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## install what runs and what checks into .venv

# uv where there is one, else pip; both from the lock file, with hashes.
$(VENV)/.ready: requirements.lock
	$(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(PY) --require-hashes -r requirements.lock; \
	else \
		$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	fi
	$(PY) -m analytics.methods.compiled
	@touch $@

demo: setup ## install the demo shop and answer its first questions
	$(PY) -m bot demo

test: setup check ## check, then all tests but those of a target of their own
	$(PY) -m pytest -q -n 2 --dist loadfile -m "not e2e and not engines"

check: setup ## lint, types, import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: setup ## time the commands beside plain scripts
	$(PY) -m benchmarks

validity: setup ## simulate experiments through the verdict (all of it: make validity SHORT=)
	$(PY) -m benchmarks.validity $(if $(filter-out 0,$(SHORT)),--short,)

pictures: setup ## draw the pictures of docs/ (needs npm and Chromium)
	$(PY) -m docs.pictures.make

docs: setup ## write docs/commands.md and docs/configuration.md from the code
	$(PY) -m bot docs

serve: setup ## run the Slack bot
	$(PY) -m bot serve

# The warehouses' packages want older ones than ours: they live in a .venv of their own.
$(ENGINES)/.ready: requirements-engines.lock
	$(PYTHON) -m venv $(ENGINES)
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(ENGINES)/bin/python --require-hashes -r $<; \
	else \
		$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<; \
	fi
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target build/duckdb-1.5 duckdb==1.5.6
	@touch $@

test-engines: $(ENGINES)/.ready ## every command on ClickHouse, a Spark cluster, DuckDB 1.5; SQL for warehouses
	$(ENGINES)/bin/python -m pytest -q -n 2 --dist loadfile -m engines tests/engines

bench-engines: $(ENGINES)/.ready ## seven questions on each engine at 1, 5, 20 million events (docs/scale.md)
	$(ENGINES)/bin/python -W ignore -m benchmarks.engines --write

kills: setup ## digests under kill -9, three replicas, both databases (short: make kills KILLS=50)
	$(PY) -m tests.kills --kills $(or $(KILLS),500)
	$(PY) -m tests.kills --kills $(or $(KILLS),500) --url postgresql

e2e: setup ## the Slack bot against an emulator (needs npm)
	cd tests/e2e && npm ci --no-audit --no-fund --silent
	$(PY) -m pytest -q -m e2e tests/e2e

abuse: setup ## the Slack bot's hard tests in full (needs npm)
	cd tests/e2e && npm ci --no-audit --no-fund --silent
	DAYBREAK_ROUNDS=5 $(PY) -m pytest -q -m e2e tests/e2e/test_durable.py tests/e2e/test_abuse.py \
		tests/e2e/test_processes.py
	$(PY) -m tests.slack.hostile 10000

clean: ## remove what was made here, data too
	rm -rf $(VENV) $(ENGINES) build .daybreak .mypy_cache .ruff_cache .pytest_cache .hypothesis
