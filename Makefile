VENV ?= .venv
PYTHON ?=
ARGS ?=
export VENV PYTHON

BIN = $(VENV)/bin
MANAGE = $(BIN)/python manage.py
PYTEST = $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test torture bench bench-peers check lint format types contracts reference project clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=path of a Python 3.11+, VENV=folder, ARGS=arguments for pytest"

demo: venv-base ## set up and run the demonstration, on SQLite alone
	@$(MANAGE) census_demo $(ARGS)

test: venv-test ## set up and run the tests, on every database and Redis that is found
	@$(PYTEST) $(ARGS)

torture: venv-test ## run only the tests that kill, flood and race
	@$(PYTEST) -m torture $(ARGS)

bench: venv-test ## run the benchmarks
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: venv-test ## run other queues beside ours, in environments of their own
	@$(BIN)/python -m benchmarks.peers $(ARGS)

check: lint types contracts project ## run every static check

lint: venv-dev ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: venv-dev ## repair what lint finds, where that is safe
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: venv-dev ## check the types
	@$(BIN)/mypy

contracts: venv-dev ## check who imports whom
	@$(BIN)/lint-imports

reference: venv-dev ## write the pages of docs/reference anew
	@$(BIN)/python scripts/reference.py

project: venv-dev ## check the settings and that no migration is missing
	@$(MANAGE) check
	@$(MANAGE) makemigrations --check --dry-run

clean: ## remove caches and build products; the environment stays
	@rm -rf build dist htmlcov .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .tox
	@find django_jobs testproject tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

venv-%:
	@scripts/bootstrap $*
