# Every target here is three lines or fewer; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS = $(shell find proto/tradeflow -name '*.proto' | sort)
.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml uv.lock
	test -x $(BIN)/uv || ($(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv)
	$(BIN)/uv sync --quiet --locked --all-extras --inexact && touch $@

.PHONY: install
install: $(VENV)/.installed  ## make .venv with everything that the lock file names

PROTOC = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto --mypy_out=quiet:proto

.PHONY: proto
proto: install  ## generate Python from the contracts
	$(PROTOC) $(filter-out %_service.proto,$(PROTOS))
	$(PROTOC) --grpc_python_out=proto --mypy_grpc_out=quiet:proto $(filter %_service.proto,$(PROTOS))
