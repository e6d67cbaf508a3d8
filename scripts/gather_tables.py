"""Join tables of one shape, one a temperature, into one table."""

import argparse
from pathlib import Path

import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, nargs="+", help="CSV files with the same columns")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write, rows in the order given")
    args = parser.parse_args()
    parts = [pd.read_csv(path) for path in args.tables]
    for path, part in zip(args.tables, parts, strict=True):
        if set(part.columns) != set(parts[0].columns):
            raise InputError(f"{path}: columns differ from those of {args.tables[0]}")
    with atomic_path(args.out) as temporary:
        pd.concat(parts, ignore_index=True).to_csv(temporary, index=False)


if __name__ == "__main__":
    run_script(main)
