# make run   set up and run the main job: compare policies on the built-in study, write report.html
# make test  set up and run the tests
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test lint types bench docs clean

run: $(VENV)/ready
	$(BIN)/rota compare --report report.html

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m "not slow" --durations=10

lint: $(VENV)/ready-dev
	$(BIN)/ruff check src tests benchmarks examples docs
	$(BIN)/ruff format --check src tests benchmarks examples docs
	$(BIN)/lint-imports

types: $(VENV)/ready-dev
	$(BIN)/mypy

bench: $(VENV)/ready-dev
	$(BIN)/python benchmarks/fleet_speed.py
	$(BIN)/python benchmarks/fleet_accuracy.py
	$(BIN)/python benchmarks/lr_overhead.py
	$(BIN)/rota reproduce llumnix --seeds 10 --json > benchmarks/results/reproduce-llumnix.json
	for name in rex refinement temple we-math; do \
	  $(BIN)/rota reproduce $$name --seeds 10 --json > benchmarks/results/reproduce-$$name.json || exit 1; done
	for name in fastswitch alisa burstgpt castillo; do \
	  $(BIN)/rota reproduce $$name --json > benchmarks/results/reproduce-$$name.json || exit 1; done

docs: $(VENV)/ready-dev
	$(PIP) mkdocs-material
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) rota-out site report.html

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Rota needs Python 3.11 or newer; try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[report,fit]"
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(PIP) -e ".[dev]"
	touch $@
