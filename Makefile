# Every verb sets up what it needs: a machine with Python 3.11+, make and git is enough.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
STAMP := $(VENV)/.installed
MEMBERS := libs/backbone services/gateway services/auth services/config services/agreements tools/voltbus
SOURCES := libs services tools tests benchmarks deploy docs

export UV_PYTHON_DOWNLOADS := never
# Container images often forbid bytecode. Each run would then compile all libraries and rewrite the
# asserts of all tests anew, in each worker: half as much work again. `make clean` removes it.
unexport PYTHONDONTWRITEBYTECODE
export UV_NO_PROGRESS := $(if $(CI),1,0)

.PHONY: help demo up check test test-fast test-pythons bench fmt lock clean install contract

help: ## Show the verbs
	@echo "Voltbus. The two to start with are 'make demo' and 'make test'."
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make demo KEEP=1      ... and leave the stack running afterwards"

demo: $(STAMP) ## Start everything, charge two simulated cars, show the events, stop
	@$(BIN)/voltbus demo $(if $(KEEP),--keep,)

up: $(STAMP) ## Start the embedded stack and the four services until Ctrl-C
	@$(BIN)/voltbus up $(ARGS)

check: $(STAMP) ## Lint, types, import directions and fast tests, about a minute and a half
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "Run 'make fmt' to format."; exit 1; }
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/lint-imports --no-cache > .import-linter.out 2>&1 || { cat .import-linter.out; exit 1; }
	@$(BIN)/mypy --no-error-summary $(SOURCES)
	@$(BIN)/pytest -q -n 2 --dist worksteal -m "not stack" $(ARGS)

test: $(STAMP) ## Every test, on real Kafka and real MongoDB
	@$(BIN)/pytest $(ARGS)

test-fast: $(STAMP) ## The tests that need no server
	@$(BIN)/pytest -q -n 2 --dist worksteal -m "not stack" $(ARGS)

# Each beside .venv's own, in an environment of its own under .venv-3.x; the image's version is among
# them where CI has it.
test-pythons: $(STAMP) ## The tests that need no server, on each other Python from 3.11 to 3.14 found here
	@own=$$($(BIN)/python -c 'import sys; print("3.%d" % sys.version_info[1])'); \
	for version in 3.11 3.12 3.13 3.14; do \
	  test $$version != $$own || continue; \
	  for found in $$(command -v python$$version) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python3; do \
	    "$$found" -c 'import ssl, venv' 2>/dev/null || continue; \
	    echo "Fast tests on Python $$version ..."; \
	    $(MAKE) --no-print-directory test-fast VENV=.venv-$$version PYTHON="$$found"; \
	    break; \
	  done; \
	done

bench: $(STAMP) ## Measure Authorize beside the bare pipe; appends to benchmarks/results.csv
	@$(BIN)/python benchmarks/authorize.py $(ARGS)

fmt: $(STAMP) ## Format and mend what ruff can mend
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

lock: .uv-there ## Choose new versions of all dependencies (writes requirements.lock)
	@$(UV) pip compile pyproject.toml --group dev --universal --generate-hashes --no-annotate \
	  --no-header --upgrade --quiet | grep -v '^-e ' > requirements.lock

contract: $(STAMP) ## Write the schemas, the AsyncAPI document and docs/events.md anew
	@$(BIN)/python -m voltbus_backbone.contract_docs

install: $(STAMP) ## Only set up .venv

clean: ## Remove what the verbs made (.venv, caches); data of `make up` stay in its --home
	@rm -rf $(VENV) .venv-3.* .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: .uv-there
.uv-there:
	@test -x "$(UV)" || { echo "Fetching uv into .uv (once) ..."; \
	  $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv; }

# mongod of the embedded stack needs two shared libraries that a bare Debian image lacks.
.PHONY: .libraries
.libraries:
	@needed=; \
	ldconfig -p 2>/dev/null | grep -q 'libcurl\.so\.4' || needed="$$needed libcurl4"; \
	ldconfig -p 2>/dev/null | grep -q 'libssl\.so\.3' || needed="$$needed libssl3"; \
	test -z "$$needed" || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -y -qq $$needed; } \
	  || echo "MongoDB will not start without these shared libraries; please install:$$needed"

$(STAMP): requirements.lock pyproject.toml $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit("Voltbus needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11.") if sys.version_info < (3, 11) else None'
	@$(MAKE) --no-print-directory .libraries .uv-there
	@echo "Installing the locked dependencies into $(VENV) ..."
	@test -d $(VENV) || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $(STAMP)
