# Two commands on a fresh machine: make demo, make test
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(shell uv --version >/dev/null 2>&1 && command -v uv)
PIP     = $(if $(UV),$(UV) pip install -q --python $(1)/bin/python,$(1)/bin/python -m pip install -q --disable-pip-version-check --no-input)
JOBS   ?= 3
OFFICIAL := X402_OFFICIAL_PYTHON=$(CURDIR)/.venv-official/bin/python X402_BANKOFAI_PYTHON=$(CURDIR)/.venv-bankofai/bin/python X402_OFFICIAL_MCP_PYTHON=$(CURDIR)/.venv-official-mcp/bin/python
FRAMEWORKS := X402_FRAMEWORKS_PYTHON=$(CURDIR)/.venv-frameworks/bin/python X402_CREWAI_PYTHON=$(CURDIR)/.venv-crewai/bin/python INSPECTOR_DIR=$(CURDIR)/build/inspector
export UV_PYTHON_DOWNLOADS := never
unexport PYTHONDONTWRITEBYTECODE  # hundreds of tests start a process: compiled once is a third of the time

.DEFAULT_GOAL := help
help:
	@echo "make demo      the first paid request, on test money, in this machine"
	@echo "make test      lint, types and the quick tests"
	@echo "make test-all  all tests, the long ones too: official client and server, Node, examples, benchmarks"
	@echo "make lint      lint and types"
	@echo "make bench     the benchmark table"
	@echo "make lock      writes requirements/*.txt anew (needs uv)"
	@echo "make clean     removes what these made"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "x402_agent needs Python >= 3.11; found $$($(PYTHON) -V). Try: make PYTHON=python3.11"; exit 1; }
	@$(if $(UV),$(UV) venv -q --allow-existing --python "$$($(PYTHON) -c 'import sys;print(sys.executable)')" $(VENV),$(PYTHON) -m venv $(VENV)) || { echo "no venv: on Debian 'apt install python3-venv', or put uv on PATH"; rm -rf $(VENV); exit 1; }

$(VENV)/.%.ok: requirements/%.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements/$*.txt"
	@$(call PIP,$(VENV)) --require-hashes -r requirements/build.txt
	@$(call PIP,$(VENV)) --require-hashes -r requirements/$*.txt
	@$(call PIP,$(VENV)) --no-deps --no-build-isolation -e .
	@touch $@

.venv-%/.ok: requirements/%.txt | $(VENV)/bin/python
	@echo "installing requirements/$*.txt"
	@$(if $(UV),$(UV) venv -q --allow-existing --python $(BIN)/python .venv-$*,$(BIN)/python -m venv .venv-$*)
	@$(call PIP,.venv-$*) $(if $(UV),,--no-compile) --require-hashes -r requirements/$*.txt  # most of other people's code is never imported
	@touch $@

build/solc/.ok: Makefile
	@npm --version >/dev/null 2>&1 || { echo "make test-all recompiles the sandbox's contracts: it needs Node and npm"; exit 1; }
	@mkdir -p build/solc && npm install --silent --no-audit --no-fund --prefix build/solc solc@0.8.37
	@touch $@

build/stacks/.ok: Makefile
	@npm --version >/dev/null 2>&1 || { echo "make test-all judges the pretend Stacks: it needs Node and npm"; exit 1; }
	@mkdir -p build/stacks && npm install --silent --no-audit --no-fund --prefix build/stacks @stacks/transactions@7.6.0 @stacks/clarinet-sdk@3.21.0 x402-stacks@2.0.3 express@4.22.3
	@touch $@

build/tronweb/.ok: Makefile
	@npm --version >/dev/null 2>&1 || { echo "make test-all judges the pretend TRON: it needs Node and npm"; exit 1; }
	@mkdir -p build/tronweb && npm install --silent --no-audit --no-fund --prefix build/tronweb tronweb@6.5.1
	@touch $@

build/inspector/.ok: Makefile
	@npm --version >/dev/null 2>&1 || { echo "make test-all asks the MCP inspector: it needs Node and npm"; exit 1; }
	@mkdir -p build/inspector && npm install --silent --no-audit --no-fund --prefix build/inspector @modelcontextprotocol/inspector@2.12.0
	@touch $@

demo: $(VENV)/.demo.ok
	@$(BIN)/x402-agent try

lint: $(VENV)/.dev.ok
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/mypy --no-error-summary

test: $(VENV)/.dev.ok lint
	@sh tools/tests.sh $(BIN)/python $(JOBS) -m "not full"

test-all: $(VENV)/.dev.ok .venv-official/.ok .venv-bankofai/.ok .venv-official-mcp/.ok .venv-frameworks/.ok .venv-crewai/.ok build/solc/.ok build/stacks/.ok build/tronweb/.ok build/inspector/.ok lint
	@set -e; for file in examples/*.py; do echo "$$file"; home=$$(mktemp -d); X402_AGENT_HOME=$$home $(BIN)/python $$file >/dev/null; rm -rf $$home; done
	@$(OFFICIAL) $(BIN)/python benchmarks/check.py
	@SOLC_DIR=$(CURDIR)/build/solc STACKS_DIR=$(CURDIR)/build/stacks TRONWEB_DIR=$(CURDIR)/build/tronweb $(FRAMEWORKS) $(OFFICIAL) sh tools/tests.sh $(BIN)/python $(JOBS) $(if $(ONLY),-m $(ONLY))

bench: $(VENV)/.dev.ok .venv-official/.ok
	@$(OFFICIAL) $(BIN)/python benchmarks/paid_request.py

lock:
	@sh tools/lock.sh

clean:
	@rm -rf $(VENV) .venv-official .venv-bankofai .venv-official-mcp .venv-frameworks .venv-crewai build dist

.PHONY: help demo lint test test-all bench lock clean
