# Two commands do everything on a fresh machine with Python 3.11+ and make: `make reproduce` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEEDS ?= 1
# Sizes of the campaigns, and how many processes they may use.
HISTORIES ?= 10000
KILLS ?= 200
MINUTES ?= 60
JOBS ?= 2
# What orders blocks in a real network; `bees.node.comet` names the same version.
COMETBFT ?= v0.38.21
COMET_READY := $(VENV)/.cometbft-$(COMETBFT)
# `make lock UPGRADE=` pins only what pyproject.toml has newly asked for.
UPGRADE ?= --upgrade

.PHONY: help setup reproduce test check format bench campaign faults kills proofs fuzz mutants contracts cometbft lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "BEES needs Python 3.11 or newer; none was found. Try: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY) ## Create .venv with the pinned dependencies

reproduce: $(READY) ## Measure the paper's Figures 3 to 8 and its claims (SEEDS=3 for bands)
	$(BIN)/bees reproduce --seeds $(SEEDS)

# In the order of the folders: else files with few tests come last, and those are the ones that wait for networks.
test: $(READY) ## Run all tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(READY) ## Lint, types, layers, contracts rebuilt
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m bees.contract.build --check

format: $(READY) ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(READY) ## Seconds per round by phase, the ledger's share, peak memory
	$(BIN)/bees bench

campaign: faults kills proofs fuzz mutants ## All measurements under faults and attack, into docs/evidence (hours)

faults: $(READY) ## Seeded histories among liars, and counterexamples (HISTORIES=10000 JOBS=2; goes on when stopped)
	$(BIN)/python -m campaigns.faults --histories $(HISTORIES) --jobs $(JOBS)

kills: $(READY) ## kill -9 at random moments of a run, and resume it (KILLS=200)
	$(BIN)/python -m campaigns.kills --kills $(KILLS)

proofs: $(READY) ## Size and cost of a proof, and forgeries
	$(BIN)/python -m campaigns.proofs

fuzz: $(READY) ## Hostile bytes for every decoder (MINUTES=60 JOBS=2)
	$(BIN)/python -m campaigns.fuzz --minutes $(MINUTES) --jobs $(JOBS)

mutants: $(READY) ## Break the ledger's code in small ways, and see whether the tests notice
	$(BIN)/python -m campaigns.mutants

contracts: $(READY) ## Build the WebAssembly contracts from contracts/*.c
	$(BIN)/python -m bees.contract.build

cometbft: $(READY) $(COMET_READY) ## Install CometBFT, the engine of a real network, into .venv/bin (needs Go)

# Needs no Python, so that `make -j2 cometbft` installs both at once.
$(COMET_READY):
	@command -v go >/dev/null || { echo "CometBFT is installed with Go 1.22 or newer, see https://go.dev/doc/install" >&2; exit 2; }
	GOBIN=$(abspath $(BIN)) go install github.com/cometbft/cometbft/cmd/cometbft@$(COMETBFT)
	@touch $@

lock: $(READY) ## Pin the newest dependencies again
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet pyproject.toml --extra node --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header $(UPGRADE) -o requirements.lock

clean: ## Remove .venv and caches; runs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
