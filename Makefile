# `make study` computes everything and draws the figures; `make test` checks the code. Both need Python 3.11, make and a package index.

# Which Python builds the environment, and how many cores the study and the tests take
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3),python3)
CORES ?= 2
# The address of PyTorch's own CPU index, for those who do not want the larger CUDA build; empty: the usual package index
TORCH_INDEX ?=

VENV := .venv
# The pins went in completely (an interrupted installation leaves no stamp, and is gone on with)
STAMP := $(VENV)/pins-installed
# Rules call `python scripts/...`: it has to be the environment's
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help install study test lint
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1	/p' $(MAKEFILE_LIST)

install: $(STAMP)  ## the environment .venv, at the pinned versions

$(STAMP): requirements.txt requirements-schnetpack.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "The study needs Python 3.11, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name a Python 3.11: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing the pinned packages into $(VENV): some minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(VENV)/bin/pip install --no-deps --index-url $(TORCH_INDEX) $$(grep '^torch==' requirements.txt))
	$(VENV)/bin/pip install -r requirements.txt
	$(VENV)/bin/pip install --no-deps -r requirements-schnetpack.txt
	@touch $@

study: $(STAMP)  ## the whole study: results/ and its figures (CORES=2)
	$(VENV)/bin/snakemake --cores $(CORES)

test: $(STAMP)  ## the tests, with the slowest named (CORES=2)
	$(VENV)/bin/pytest -q --durations=10 -n $(CORES) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)  ## style of the programs and of the workflow
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile rules
	$(VENV)/bin/snakemake --lint
