# Development targets. Each one sets up what it needs; a new machine needs git, make, gcc and
# Python 3.10 or later.
#
#   TRITON=3.6.0        Triton of the environment .venv, and of the demo's where torch brings none
#   TORCH=system        use the torch and triton that the machine's Python has (a GPU machine)
#   PYTHON=python3.12   the interpreter environments are made with
#   TESTS='tests/unit'  what the test targets run, and PYTEST_ARGS='-x -k store' how
#   JOBS=0              in this very process (default: in two)
#   ARGS='--runs 3'     passed on to the demo and to the benchmarks

PYTHON ?= python3
TORCH ?= 2.13.0
TRITON ?= 3.9.0
OLDEST := 3.4
TESTS ?=
PYTEST_ARGS ?=
# More than two, and the tests that time processes against each other have no core to themselves.
JOBS ?= 2
PYTEST = -m pytest --numprocesses $(JOBS) --dist worksteal $(PYTEST_ARGS) $(TESTS)
ARGS ?=

# What the tools see must be the environment alone, and nothing starts with us switched on.
unexport PYTHONPATH PYTHONHOME TUNEONCE
# Else every process that a test starts would compile the source of this package again.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help setup setup-oldest demo test test-oldest matrix lint format types check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# An environment is finished when its stamp exists; the stamp names what is in it.
# $(1) the folder, $(2) its kind, $(3) the version of Triton
MADE_FROM := pyproject.toml src/tuneonce.pth scripts/setup_env.sh
define environment
$(1)/.done-$(3)-$(TORCH): $(MADE_FROM)
	@PYTHON='$(PYTHON)' scripts/setup_env.sh '$(1)' '$(2)' '$(3)' '$(TORCH)' '$$@'
endef
$(eval $(call environment,.venv,dev,$(TRITON)))
$(eval $(call environment,.venv-3.4,dev,3.4.0))
$(eval $(call environment,.venv-3.6,dev,3.6.0))
$(eval $(call environment,.venv-3.8,dev,3.8.0))
$(eval $(call environment,.venv-demo,demo,$(TRITON)))

READY := .venv/.done-$(TRITON)-$(TORCH)
READY_3.4 := .venv-3.4/.done-3.4.0-$(TORCH)
READY_3.6 := .venv-3.6/.done-3.6.0-$(TORCH)
READY_3.8 := .venv-3.8/.done-3.8.0-$(TORCH)
# The development environment has what the demo needs: where it is complete, no second one is made.
COMPLETE := $(shell [ -e '$(READY)' ] && [ -z "$$(find $(MADE_FROM) -newer '$(READY)')" ] && echo yes)
DEMO := $(if $(COMPLETE),.venv,.venv-demo)

setup: $(READY) ## the development environment, in .venv

setup-oldest: $(READY_$(OLDEST)) ## the one with the oldest Triton

demo: $(DEMO)/.done-$(TRITON)-$(TORCH) ## what a restart costs without and with tuneonce; in .venv-demo
	$(DEMO)/bin/tuneonce demo $(ARGS)

test: $(READY) ## the whole suite on the newest Triton
	.venv/bin/python $(PYTEST)

test-oldest: $(READY_$(OLDEST)) ## the whole suite on the oldest Triton
	.venv-$(OLDEST)/bin/python $(PYTEST)

matrix: $(READY) $(READY_3.8) $(READY_3.6) $(READY_3.4) ## all tests on 3.4, 3.6, 3.8 and the newest
	.venv-3.4/bin/python $(PYTEST)
	.venv-3.6/bin/python $(PYTEST)
	.venv-3.8/bin/python $(PYTEST)
	.venv/bin/python $(PYTEST)

lint: $(READY) ## ruff, its rules and its format
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: $(READY) ## let ruff repair what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

types: $(READY) ## mypy
	.venv/bin/mypy

check: lint types test ## what must pass before a change lands; .ci/run adds the oldest Triton

bench-%: $(READY) ## one script of benchmarks/: make bench-import_time
	.venv/bin/python benchmarks/$*.py $(ARGS)

clean: ## remove environments and everything that was built
	rm -rf .venv .venv-demo .venv-3.4 .venv-3.6 .venv-3.8 build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
