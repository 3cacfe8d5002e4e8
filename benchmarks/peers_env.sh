#!/bin/sh
# The peers' environment: .venv-peers beside .venv. thermograd is not in it: mlflow needs an older pyarrow.
set -eu
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv-peers
.venv-peers/bin/pip install --quiet --upgrade pip
.venv-peers/bin/pip install --quiet --requirement benchmarks/peers.txt
touch .venv-peers/.installed
