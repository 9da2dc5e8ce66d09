# Needs python >= 3.11, make and git. The two to begin with: `make demo` and `make test`.
#   PYTHON=python3.12 make test    picks the interpreter for a new .venv
#   make test WORKERS=0            runs the tests one after the other; otherwise there is a worker for each core and one
#                                  more, because many of them wait for daemons and databases
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTHON ?= python3
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.DEFAULT_GOAL := help
.PHONY: help demo test simulate conformance lint format types imports check bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## both platforms emulated, synced both ways, explained: no credentials needed
	@$(BIN)/contact-bridge demo

# Hundreds of commands are started, which would each compile the whole house where no bytecode may be kept.
test: $(VENV)/.dev ## all tests, on SQLite and on a real Postgres
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

SEEDS ?= 1000
simulate: $(VENV)/.dev ## whole simulated days of the service, random and replayable (SEEDS=1000, or SEED=17)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

# Only what was typed here counts as a word, not what the environment happens to hold.
typed = $(if $(filter command,$(origin $1)),$($1))
conformance: $(VENV)/.dev ## every call of both clients, on the servers of your settings; says first what it does there
	@$(BIN)/python -m tests.conformance $(ARGS) --confirm '$(call typed,CONFIRM)' --allow '$(call typed,ALLOW)'

lint: $(VENV)/.dev ## ruff
	@$(BIN)/python -m ruff check .

format: $(VENV)/.dev ## mends what ruff can mend
	@$(BIN)/python -m ruff check --fix-only . && $(BIN)/python -m ruff format .

types: $(VENV)/.dev ## mypy, strict
	@$(BIN)/python -m mypy

imports: $(VENV)/.dev ## the layers of the house
	@$(BIN)/lint-imports

check: lint types imports test ## everything that .ci/run checks

bench: $(VENV)/.dev ## speed, CPU and memory beside dlt, Singer and a plain script (ARGS=--quick)
	@$(BIN)/python -m benchmarks $(ARGS)

# The development lock comes first and the others follow it, so that no package has two versions here.
# UPGRADE=--upgrade takes newer versions than the locked ones.
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	--custom-compile-command 'make lock'
lock: $(VENV)/.dev ## refreshes requirements*.txt from pyproject.toml (UPGRADE=--upgrade for newer versions)
	@test -x $(BIN)/uv || $(PIP) install 'uv>=0.9,<1'
	@$(COMPILE) $(UPGRADE) --group dev -o requirements-dev.txt pyproject.toml
	@$(COMPILE) $(UPGRADE) -c requirements-dev.txt -o requirements.txt pyproject.toml
	@$(COMPILE) $(UPGRADE) -c requirements-dev.txt -o requirements-build.txt --group build

clean: ## what the build made; .venv stays
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf

# .base names the folder for which .venv was made: the scripts in a copied or moved one run the old folder's code.
ifneq ($(shell cat $(VENV)/.base 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.base
endif

define USABLE
import os, sys, pip
here = os.path.realpath(sys.prefix) == os.path.realpath("$(VENV)")
sys.exit(not (here and sys.version_info >= (3, 11)))
endef
export USABLE

$(VENV)/.base:
	@if test -e $@ || ! $(BIN)/python -c "$$USABLE" 2>/dev/null; then \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
			{ echo "Python >= 3.11 is needed; name one: PYTHON=python3.12 make ..." >&2; exit 1; }; \
		echo "making $(VENV) with $$($(PYTHON) --version)"; \
		test -d $(VENV) || rm -f $(VENV); \
		$(PYTHON) -m venv --clear $(VENV); \
	fi
	@echo '$(CURDIR)' > $@

$(VENV)/.run: $(VENV)/.base requirements.txt requirements-build.txt pyproject.toml
	@echo "installing what it needs (locked, with hashes)"
	@$(PIP) install --require-hashes -r requirements.txt -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@echo "installing what the tests need (locked, with hashes)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@
