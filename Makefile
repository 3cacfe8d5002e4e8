# Two commands are all: make demo, make test. The rest is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test lint bench bench-long calibrate clean

demo: $(VENV)/.installed
	$(BIN)/thermograd demo

test: $(VENV)/.installed
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/thermograd
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -m thermograd -m thermograd.cli -p thermograd.store -p thermograd.ingest -p thermograd.stream -p thermograd.analysis

# Measures against other projects' loggers, which live in an environment of their own. Half an hour.
bench: $(VENV)/.installed .venv-peers/.installed
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/agent.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/log_append.py
	$(BIN)/python benchmarks/log_kill.py
	$(BIN)/python benchmarks/log_space.py
	$(BIN)/python benchmarks/log_query.py
	$(BIN)/python benchmarks/align.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/detectors.py

# What takes long by its nature: days of the coupling monitor, ten million events, a report of 35 hours.
bench-long: $(VENV)/.installed
	$(BIN)/python benchmarks/coupling_monitor.py --days 5
	$(BIN)/python benchmarks/detectors.py --only layer --events 10000000
	$(BIN)/python benchmarks/report_long.py

# How often the statistics are wrong, and how often they find what is there. A quarter of an hour.
calibrate: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/calibration.py

.venv-peers/.installed: benchmarks/peers.txt benchmarks/peers_env.sh
	PYTHON=$(PYTHON) sh benchmarks/peers_env.sh

clean:
	rm -rf $(VENV) .venv-peers build *.egg-info

# torch first: its CPU build is small, and what comes after then finds it there.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
