"""Fit spin-alignment echoes that were measured: 1/τ, β, plateau, and T1Q where a decay shows it, with errors.

The same stretched exponential as of simulated echoes, so that numbers of both mean the same thing.
"""

import argparse
from pathlib import Path

from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.measured import fit_echoes, read_echoes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "decays", type=Path, help="CSV with the columns temperature_K, evolution_time_us, mixing_time_s, S2"
    )
    parser.add_argument("--out", type=Path, required=True, help="table of fits, CSV")
    args = parser.parse_args()
    table = fit_echoes(read_echoes(args.decays))
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    print(table.drop(columns=["amplitude", "plateau"]).to_string(index=False))


if __name__ == "__main__":
    run_script(main)
