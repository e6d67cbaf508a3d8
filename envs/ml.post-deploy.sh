#!/usr/bin/env bash
# Snakemake runs this in the new environment ml.yaml. Why --no-deps: see requirements-schnetpack.txt.
set -euo pipefail
python -m pip install --no-deps schnetpack==2.1.1
