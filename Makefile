# What a person types: `make quickstart`, `make test`. Everything happens in .venv.
PYTHON ?= python3
BIN := .venv/bin
QUIET := HF_HUB_DISABLE_TELEMETRY=1 GRADIO_ANALYTICS_ENABLED=False
# One thread to a test process: two workers share the cores already.
OFFLINE := HF_HUB_OFFLINE=1 WANDB_MODE=offline OMP_NUM_THREADS=1 $(QUIET)

.PHONY: help install quickstart test test-slow lint types clean

help:
	@echo "make quickstart   the whole loop on this machine, in five to six minutes"
	@echo "make test         the tests"
	@echo "make test-slow    the tests, with the slow ones"
	@echo "make lint types   ruff and mypy"
	@echo "make install      .venv with the development extras"

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rlhf-pipeline needs Python 3.11 or newer; give one with: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

install: .venv/installed

quickstart: .venv/installed
	$(QUIET) $(BIN)/rlhf run pipelines/configs/quickstart.yaml

test: .venv/installed
	$(OFFLINE) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu"

test-slow: .venv/installed
	$(OFFLINE) $(BIN)/pytest -m "not gpu" --timeout 1800

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
