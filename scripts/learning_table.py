"""Errors on the validation groups against the number of labelled snapshots, one row an iteration of active learning."""

import argparse
from pathlib import Path

import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("errors", type=Path, nargs="+", help="JSON files of validate_models.py, in order")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    table = pd.DataFrame([read_json(path) for path in args.errors])
    table.insert(0, "iteration", range(len(table)))
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
