# Needs only Python 3.11 or newer, make, and the package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo demo-cluster tour test test-all test-fast lint types messages lock bench torture clean help profiles install

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

install: $(STAMP)  ## environment with everything of the lock

demo: $(STAMP)  ## one case all the way, with stand-ins, on this machine; ends by itself
	@$(BIN)/gateway demo

demo-cluster: $(STAMP)  ## the same in three processes on PostgreSQL and NATS, which must be on this machine
	@$(BIN)/gateway demo --cluster

tour: $(STAMP)  ## one message, file by file, in the order of the flow
	@$(BIN)/gateway tour

test: $(STAMP)  ## everything that needs only Python: lint, types, laws, promises, rooms
	$(BIN)/python -m pytest -q -n 2 -m "not torture and not long" --without-programs

test-all: $(STAMP)  ## the same, the long tests, and what needs other programs (PostgreSQL, strace …); lists what is absent
	$(BIN)/python -m pytest -q -n 2 -m "not torture"

torture: $(STAMP)  ## long runs: many kills, many seeds
	$(BIN)/python -m pytest -q -m torture

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check gateway

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

messages: $(STAMP)  ## gettext catalogues from gateway/codes/
	$(BIN)/python -m gateway.locale.build

profiles: $(STAMP)  ## compile profiles/*/fsh to JSON with snapshots (needs Node and SUSHI; authors only)
	$(BIN)/python profiles/author.py

bench: $(STAMP)  ## accepted, mapped and delivered per second, as one table
	$(BIN)/python -m bench

lock:  ## resolve the lock anew from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header --quiet pyproject.toml -o requirements.lock

clean:  ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
