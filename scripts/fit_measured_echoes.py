"""Fit spin-alignment echoes that were measured: 1/τ, β, plateau, and T1Q or a slow stage where a decay shows one.

The stretched exponential of simulated echoes; 1/τ is of the first stage here as there.
"""

import argparse
from pathlib import Path

from insilico_nmr.arguments import positive
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.measured import fit_echoes, read_echoes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "decays", type=Path, help="CSV with the columns temperature_K, evolution_time_us, mixing_time_s, S2"
    )
    parser.add_argument("--t1q-s", type=positive, help="quadrupolar relaxation time, s, held fixed (default: fitted)")
    parser.add_argument("--out", type=Path, required=True, help="table of fits, CSV")
    args = parser.parse_args()
    table = fit_echoes(read_echoes(args.decays), args.t1q_s)
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.10g")
    print(table.drop(columns=["amplitude", "plateau"]).to_string(index=False))


if __name__ == "__main__":
    run_script(main)
