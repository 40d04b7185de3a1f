# `make demo` and `make test` are all the set-up there is. The rest is for those who change the code.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
BENCH := $(VENV)/bench-installed
SWARM := $(BIN)/python -m bench.swarm --json --save bench/results
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

# Tests and demos start hundreds of programs: without compiled files each of them would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo recording test test-long test-faults test-api test-lab bench-setup bench-swarm bench-queue bench-pack bench-delta bench-goal bench-idle-agent bench-replicate bench-rollback check format docs lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv from the locked packages

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Fleetcast needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Fleetcast needs Python's venv: install the package python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(STAMP)  ## a company on one machine: deploy, deploy again, trigger a third meanwhile, roll back
	$(BIN)/fleetcast demo

recording: $(STAMP)  ## run the demo in a terminal in memory and write what it shows into the README
	$(BIN)/python docs/recording.py

# Whole companies, all but one file of them; pages that are typed from top to bottom; benchmarks run small.
LONG := tests/docs/test_pages.py tests/bench $(filter-out %/test_up.py,$(sort $(wildcard tests/e2e/test_*.py)))

test: $(STAMP)  ## every test, real processes included, but for those of test-long, test-faults and test-lab
	$(BIN)/pytest --numprocesses 3 $(LONG:%=--ignore %) --ignore tests/faults --ignore tests/lab --ignore tests/systemd

test-long: $(STAMP)  ## whole companies, what stands on the pages of docs/ typed, every benchmark run, small
	$(BIN)/pytest --numprocesses 3 $(LONG)

test-faults: $(STAMP)  ## processes killed and stopped in the middle of what they do
	$(BIN)/pytest --numprocesses 2 tests/faults

test-api: $(STAMP)  ## two minutes of schemathesis against a running API and its OpenAPI document
	$(BIN)/python tests/api

# What holds for services that are children of an agent (make test) has to hold for those that are units of systemd.
UNITS := tests/systemd $(patsubst %,tests/agent/test_%.py,processes sockets accounts agent goals killed neighbours removal)

test-lab: $(STAMP)  ## hosts in network namespaces with limited links, and services as units of systemd; takes root, iproute2, nftables and systemd
	$(BIN)/pytest --numprocesses 2 tests/lab
	$(BIN)/python -m lab.systemd $(BIN)/pytest --numprocesses 2 --supervisor systemd $(UNITS)

bench-pack: $(STAMP)  ## how fast an output is packed and uploaded, beside each of the parts of that alone; a minute, 10 GiB of disk
	$(BIN)/python -m bench.pack --size 2GiB --json --save bench/results/pack.json

bench-queue: $(BENCH)  ## claim, heartbeat and finish builds on PostgreSQL, beside procrastinate and pgqueuer; eight minutes
	$(BIN)/python -m bench.queue --json --save bench/results/queue.json
	$(BIN)/python -m bench.page

bench-delta: $(STAMP)  ## how much enters a machine for a release of which it has most; four minutes, 10 GiB of memory or disk
	$(BIN)/python -m bench.delta --size 1GiB --json --save bench/results/delta.json

bench-goal: $(STAMP)  ## how long a goal takes to an agent, on embedded stores and on etcd; six minutes
	$(BIN)/python -m bench.goal --json --save bench/results/goal.json
	$(BIN)/python -m bench.goal --engine etcd --json --save bench/results/goal-etcd.json
	$(BIN)/python -m bench.page

bench-replicate: $(STAMP)  ## how long regions take to copy an artifact and the next one, and what travels; four minutes, 40 GiB of disk
	$(BIN)/python -m bench.replicate --s3-size 512MiB --json --save bench/results/replicate.json
	$(BIN)/python -m bench.page

bench-idle-agent: $(STAMP)  ## what an agent costs a machine on which nothing happens; six minutes
	$(BIN)/python -m bench.idle_agent --json --save bench/results/idle-agent.json
	$(BIN)/python -m bench.page

bench-rollback: $(STAMP)  ## how long it takes until every machine is back on the release before; four minutes
	$(BIN)/python -m bench.rollback --json --save bench/results/rollback.json
	$(BIN)/python -m bench.page

bench-setup: $(BENCH)  ## add what benchmarks compare with: libtorrent to .venv, aria2 and iproute2 from Debian

$(BENCH): requirements-bench.lock $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-bench.lock
	@{ command -v aria2c && command -v tc; } > /dev/null || \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends aria2 iproute2; } || \
	    { echo "benchmarks need aria2 and iproute2: install these packages as root"; exit 1; }
	@touch $@

bench-swarm: $(BENCH)  ## fill a fleet, beside libtorrent and aria2: half an hour, takes root; writes docs/benchmarks.md
	$(SWARM)/swarm-hosts.json --hosts 32 --rate 50mbit --size 128MiB
	$(SWARM)/swarm-racks.json --hosts 32 --rate 50mbit --size 128MiB --racks 4 --oversubscription 4
	$(SWARM)/swarm-loopback.json --loopback --peers 8 --size 1GiB
	$(SWARM)/swarm-large.json --loopback --peers 4 --size 4GiB
	$(BIN)/python -m bench.page

check: $(STAMP)  ## format, lint, types, floors, house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy docs/generate/__main__.py
	$(BIN)/lint-imports
	$(BIN)/pytest --quiet tests/house

format: $(STAMP)  ## rewrite the sources in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)  ## write the pages of docs/ that are made from the code, and the one made from bench/results
	$(BIN)/python docs/generate
	$(BIN)/python -m bench.page

lock: $(STAMP)  ## choose versions again: requirements.lock (to run), requirements-dev.lock (to work on it)
	$(BIN)/pip install --quiet uv
	$(COMPILE) --upgrade --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --extra dev --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --constraint requirements-dev.lock --extra bench --output-file requirements-bench.lock pyproject.toml

clean:  ## remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
