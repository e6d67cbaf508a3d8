"""How much smaller are errors of tensor models than those of scalar models? From the points of learning curves.

Ratios of scalar to tensor error in each quantity that both answer for, at each size; repeats are paired, since both
were trained and judged on the same snapshots. Geometric mean and 95 % interval (Student's t of the logarithm).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.learning_curve import TENSOR
from insilico_nmr.tables import read_table
from scipy import stats

POINT = ["repeat", "snapshots", "all", "test_atoms"]
NO_ERROR = {*POINT, "kind", "split", "fold", "seconds", "atoms_per_s"}


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """One row a scalar kind, size and quantity.

    Raises InputError where a kind has two points of one size and repeat.
    """
    twice = table.duplicated(["kind", "snapshots", "all", "repeat"])
    if twice.any():
        raise InputError(f"row {int(twice.argmax()) + 2} is of the same kind, size and repeat as one before")
    quantities = [name for name in table if name not in NO_ERROR and not name.startswith(("mean_model", "copies"))]
    points = table.assign(size=table["snapshots"].where(table["all"] == 0, 0)).set_index(["size", "repeat"])
    rows = []
    for kind in sorted(set(table["kind"]) - {TENSOR}):
        both = points[points["kind"] == kind][quantities] / points[points["kind"] == TENSOR][quantities]
        for size, found in both.groupby("size"):
            for name in quantities:
                logarithms = np.log(found[name].dropna().to_numpy())
                if len(logarithms) == 0:
                    continue
                mean, half = logarithms.mean(), np.nan
                if len(logarithms) > 1:
                    half = stats.t.ppf(0.975, len(logarithms) - 1) * stats.sem(logarithms)
                mine = points.loc[size]
                row = {"scalars": kind, "snapshots": mine["snapshots"].mean(), "all": int(size == 0), "quantity": name}
                row |= {"repeats": len(logarithms), "scalar_over_tensor": np.exp(mean)}
                rows.append(row | {"ci_low": np.exp(mean - half), "ci_high": np.exp(mean + half)})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", type=Path, help="points of curve_point.py or benchmark_si29.py in one table")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    found = ratios(read_table(args.curves, POINT, ["kind"]))
    if found.empty:
        raise InputError(f"{args.curves}: no scalar model beside a tensor model of the same size and repeat")
    print(found.to_string(index=False, float_format="%.2f"))
    with atomic_path(args.out) as temporary:
        found.to_csv(temporary, index=False, float_format="%.4g")


if __name__ == "__main__":
    run_script(main)
