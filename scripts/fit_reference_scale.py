"""The reference scale: couplings of DFT beside measured ones, and the line |C_Q(measured)| = a·|C_Q(DFT)|.

Writes the table, one row a site and geometry, and the scale of each geometry as JSON: of all confirmed sites, and, as
an effective quadrupole moment Q·a, of each nucleus that has four of them or more.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from insilico_nmr.dataset import read_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, write_json
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.reference_scale import (
    OUTLIER,
    SITES_FOR_A_MOMENT,
    Scale,
    compare,
    deviations,
    fit_scale,
    read_sites,
)

MILLIBARN_M2 = 1e-31


def scale_of(rows: pd.DataFrame) -> Scale:
    """Fit of the rows that may enter it."""
    used = rows[rows["used"] == 1]
    return fit_scale(used["C_Q_dft_kHz"], used["C_Q_measured_kHz"], used["C_Q_uncertainty_kHz"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", type=Path, help="measured couplings, CSV")
    parser.add_argument("crystals", type=Path, help="their crystals labelled by DFT, extended XYZ")
    parser.add_argument("--out", type=Path, required=True, help="table, CSV")
    parser.add_argument("--scale", type=Path, required=True, help="slopes and scatter, JSON")
    args = parser.parse_args()

    frames = read_frames(args.crystals)
    for number, atoms in enumerate(frames):
        if not {"efg", "site"} <= set(atoms.arrays) or not {"geometry", "material"} <= set(atoms.info):
            raise InputError(
                f"{args.crystals}, frame {number}: arrays efg and site and the keys geometry and material are needed"
            )
    table = compare(read_sites(args.sites), frames)
    content, parts = {}, []
    for geometry, rows in table.groupby("geometry", sort=False):
        scale = scale_of(rows)
        rows = rows.assign(slope=scale.slope, scatter=scale.scatter, deviation=deviations(rows, scale))
        rows["outlier"] = (rows["deviation"].abs() > OUTLIER).astype(int)
        parts.append(rows)
        content[geometry] = scale.content | {"effective_Q_mb": {}}
        for isotope, of_one in rows[rows["used"] == 1].groupby("isotope"):
            if len(of_one) >= SITES_FOR_A_MOMENT:
                own, moment = scale_of(of_one), quadrupolar_nucleus(isotope).quadrupole_moment / MILLIBARN_M2
                content[geometry]["effective_Q_mb"][isotope] = {
                    "Q_mb": moment * own.slope,
                    "ci_mb": sorted([moment * own.ci_low, moment * own.ci_high]),
                    "table_Q_mb": moment,
                    "sites": own.sites,
                }
        print(
            f"{geometry}: a = {scale.slope:.3f} ({scale.ci_low:.3f} to {scale.ci_high:.3f}) from {scale.sites} sites, "
            f"scatter {100 * scale.scatter:.1f} %, RMSE {scale.rmse_kHz:.0f} kHz, "
            f"intercept {scale.intercept_kHz:.0f} ± {scale.intercept_se_kHz:.0f} kHz",
            file=sys.stderr,
        )
        for _, row in rows[(rows["outlier"] == 1) & (rows["used"] == 1)].iterrows():
            print(f"  outlier: {row['compound']} {row['site']} {row['isotope']}, {row['deviation']:+.1f} deviations",
                  file=sys.stderr)  # fmt: skip
    with atomic_path(args.out) as temporary:
        pd.concat(parts).to_csv(temporary, index=False, float_format="%.6g")
    write_json(args.scale, content)


if __name__ == "__main__":
    run_script(main)
