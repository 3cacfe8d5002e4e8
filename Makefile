# Two commands are all: make demo, make test. The rest is for developers.
VENV := .venv
# Of the tests: they wait for processes of their own a third of the time, so that three keep two cores busy.
WORKERS ?= 3
ifeq ($(OS),Windows_NT)
    PYTHON ?= python
    BIN := $(VENV)/Scripts
    export PYTHONUTF8 := 1
else
    PYTHON ?= python3
    BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --quiet --no-input
# Not compiled by pip, which does it file after file for a minute: Python does it with what it imports, and keeps it.
PINNED := install --no-compile --constraint constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint bench bench-long calibrate clean

demo: $(VENV)/.ready
	@$(BIN)/thermograd demo

test: $(VENV)/.installed
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/thermograd
	PYTHONPATH=$(VENV)/typing $(BIN)/lint-imports --no-cache
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -m thermograd -m thermograd.cli -p thermograd.commands -p thermograd.store -p thermograd.ingest -p thermograd.stream -p thermograd.analysis

# Every goal of speed, in ten minutes: a table, and a row each in benchmarks/history.csv.
bench: $(VENV)/.installed .venv-peers/.installed
	$(BIN)/python benchmarks/bench.py

# What takes longer: other projects' loggers, kills, days of the coupling monitor, ten million events, queries
# that are ended after 5 s, imports of 1 GB, fleets with servers of their own. Hours.
bench-long: $(VENV)/.installed .venv-peers/.installed
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/agent.py
	$(BIN)/python benchmarks/log_append.py
	$(BIN)/python benchmarks/log_metrics.py
	$(BIN)/python benchmarks/log_kill.py
	$(BIN)/python benchmarks/log_interrupts.py
	$(BIN)/python benchmarks/log_space.py
	$(BIN)/python benchmarks/query_views.py
	$(BIN)/python benchmarks/detectors.py
	$(BIN)/python benchmarks/slowdown.py
	$(BIN)/python benchmarks/coupling_monitor.py
	$(BIN)/python benchmarks/detectors.py --only layer --events 10000000
	$(BIN)/python benchmarks/report_long.py
	$(BIN)/python benchmarks/report_scale.py
	$(BIN)/python benchmarks/query_bombs.py
	$(BIN)/python benchmarks/early_kill.py
	$(BIN)/python benchmarks/import_bulk.py
	set -e; for script in benchmarks/fleet_*.py; do $(BIN)/python $$script; done

# How often the statistics are wrong, and how often they find what is there. A quarter of an hour.
calibrate: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/calibration.py

.venv-peers/.installed: benchmarks/peers.txt benchmarks/peers_env.sh
	PYTHON=$(PYTHON) sh benchmarks/peers_env.sh

clean:
	rm -rf $(VENV) .venv-peers build *.egg-info

# The notice of every editable install: a folder of the package's name, where Python is started, comes first.
$(VENV)/.ready $(VENV)/.installed: export PYTHONWARNINGS := ignore:Editable installation

# What many tests import, compiled once beside pip: else every worker of the suite compiles it at its beginning.
COMPILED := import torch, torch._dynamo, torch.distributed, transformers.trainer, accelerate, pandas, scipy.stats, \
    scipy.signal, matplotlib.pyplot, altair, duckdb, river.stats, pyarrow.parquet

# What the demo needs, then what tests and checks need as well. torch first: where an index holds a small
# build for the CPU, what comes after then finds it there.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	    echo "thermograd needs Python 3.11 or newer with its venv module (Debian, Ubuntu: apt install python3-venv);" \
	        "$(PYTHON) is not that: name another with PYTHON=..." >&2; exit 1; }
	@echo "Setting up .venv, once: some minutes, 2 GB (more where PyTorch brings its CUDA libraries)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade pip
	@echo "  1 of 2: PyTorch"
	@$(PIP) $(PINNED) torch
	@echo "  2 of 2: thermograd and what it stands on"
	@$(PIP) $(PINNED) --editable '.[all]'
	@touch $@

$(VENV)/.installed: $(VENV)/.ready
	@echo "Adding to .venv what tests and checks need: a minute, 0.6 GB"
	@$(BIN)/python -W ignore -c "$(COMPILED)" >/dev/null 2>&1 & compiling=$$!; \
	    $(PIP) $(PINNED) --editable '.[dev]' && { wait $$compiling; touch $@; }
