# Each target is three lines or fewer. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PROTOS = $(shell find proto/tradeflow -name '*.proto' | sort)
# The contracts of the newest release, or of the first commit before there is one: what must keep working.
RELEASED = $(or $(shell git describe --tags --abbrev=0 2>/dev/null),$(shell git rev-list --max-parents=0 HEAD | tail -1))
PROTOC = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto --mypy_out=quiet:proto
# One worker a core; the tests of a file stay together, since they may share a platform.
SIDE_BY_SIDE = -n auto --dist loadfile
# Beside many servers on few cores a wait can be too short: what fails is tried once more, and listed under RERUN.
ONCE_MORE = --reruns 1 -raR
export UV_PYTHON_DOWNLOADS := never
# As pip does: a network that looks into TLS has its own authority there, which uv's list lacks.
export UV_SYSTEM_CERTS := true
.DEFAULT_GOAL := help
.PHONY: help install demo up test check format lint types arrows contracts proto cluster cluster-down dev cluster-verify sbom charts dashboards coverage ci soak bench-ledger bench-orders bench-gateway bench-operator clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.installed: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "TradeFlow needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	$(BIN)/uv sync --quiet --locked --all-extras --inexact && touch $@

install: .venv/.installed  ## make .venv with what the lock file names

demo: install  ## start the platform, tell one order's story, check the invariants
	@$(BIN)/tradeflow demo

up: install  ## start the platform and stay; Ctrl-C stops it
	@$(BIN)/tradeflow up

test: install  ## the tests that need nothing but Python; minutes
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not ci and not soak"

check: format lint types arrows contracts  ## everything that needs no run: format, lint, types, arrows, contracts

format: install
	$(BIN)/ruff format --check .

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy services operator/tradeflow_operator tests

arrows: install
	$(BIN)/lint-imports

contracts: install
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against '.git#ref=$(RELEASED),subdir=proto'
	$(BIN)/python -m tests.house.generated_code

proto: install  ## generate Python from the contracts
	$(PROTOC) $(filter-out %_service.proto,$(PROTOS))
	$(PROTOC) --grpc_python_out=proto --mypy_grpc_out=quiet:proto $(filter %_service.proto,$(PROTOS))

cluster:  ## make a cluster of one's own with kind
	kind create cluster --config kind-config.yaml

cluster-down:  ## remove it
	kind delete cluster --name tradeflow

dev:  ## the whole platform on the cluster, with live sync, until Ctrl-C
	skaffold dev

cluster-verify:  ## ask the platform on the cluster from outside
	skaffold verify --profile ci

sbom: install  ## list what the image is made of, as CycloneDX
	@$(BIN)/uv export --quiet --locked --no-default-groups --all-extras --no-hashes --format cyclonedx1.5

charts: install  ## generate the schemas and READMEs of the charts
	$(BIN)/python -m tests.house.charts

dashboards: install  ## generate docs/metrics.md and Grafana's dashboards
	$(BIN)/python -m tests.house.metric_list
	$(BIN)/python -m tests.house.dashboards

coverage: install  ## the tests without servers and the contracts on servers, and which lines of services they ran
	$(BIN)/pytest $(SIDE_BY_SIDE) $(ONCE_MORE) -m "not ci and not soak" --durations=10 --cov --cov-report=
	$(BIN)/pytest $(SIDE_BY_SIDE) $(ONCE_MORE) tests/contract -m "ci and not soak" --cov --cov-append --cov-report=
	$(BIN)/coverage report --fail-under=85

ci: check coverage  ## everything that fits into continuous integration
	$(BIN)/pytest $(SIDE_BY_SIDE) $(ONCE_MORE) --ignore=tests/contract -m "ci and not soak" --durations=15

soak: install  ## the long runs
	$(BIN)/pytest -m soak --durations=0 --timeout=3600 -o faulthandler_timeout=3660

bench-ledger: install  ## measure the ledger on a durable MySQL; OPTIONS="--help" teaches
	$(BIN)/python -m tests.bench.ledger $(OPTIONS)

bench-gateway: install  ## measure the gateway's proxy, pushes and connections; OPTIONS="--help" teaches
	$(BIN)/python -m tests.bench.gateway $(OPTIONS)

bench-orders: install  ## measure orders, placed to settled, on real servers; OPTIONS="--help" teaches
	$(BIN)/python -m tests.bench.orders $(OPTIONS)

bench-operator: install  ## measure the operator on an API server and a Kafka; OPTIONS="--help" teaches
	$(BIN)/python -m tests.bench.operator $(OPTIONS)

clean:  ## remove what was made, the data of `make up` included
	rm -rf .venv .tradeflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .screenshots
