"""The reference scale: couplings of DFT beside measured ones, and the line |C_Q(measured)| = a·|C_Q(DFT)|.

Writes the table, one row a site and geometry, and the scale of each geometry as JSON: of all confirmed sites, and, as
an effective quadrupole moment Q·a, of each nucleus that has four of them or more.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from ase import Atoms
from insilico_nmr.dataset import read_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, write_json
from insilico_nmr.nuclei import MILLIBARN_M2, quadrupolar_nucleus
from insilico_nmr.reference_scale import SITES_FOR_A_MOMENT, compare, deviations, read_sites, scale_of


def chosen(sites: pd.DataFrame, frames: list[Atoms], compounds: list[str], origin: Path) -> list[Atoms]:
    """Labelled crystals of the compounds that were asked for; those without labels are named on standard error.

    Raises InputError for a compound without a measured site.
    """
    unknown = sorted(set(compounds) - set(sites["compound"]))
    if unknown:
        raise InputError(
            f"no measured site of {', '.join(unknown)}; there are {', '.join(sorted(set(sites['compound'])))}"
        )
    missing = [name for name in compounds if name not in {atoms.info["material"] for atoms in frames}]
    if missing:
        print(f"no labels in {origin}, so left out: {', '.join(missing)}", file=sys.stderr)
    return [atoms for atoms in frames if atoms.info["material"] in compounds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", type=Path, help="measured couplings, CSV")
    parser.add_argument("crystals", type=Path, help="their crystals labelled by DFT, extended XYZ")
    parser.add_argument("--compounds", nargs="+", required=True, help="which of the compounds")
    parser.add_argument("--out", type=Path, required=True, help="table, CSV")
    parser.add_argument("--scale", type=Path, required=True, help="slopes and scatter, JSON")
    args = parser.parse_args()

    frames = read_frames(args.crystals)
    for number, atoms in enumerate(frames):
        if not {"efg", "site"} <= set(atoms.arrays) or not {"geometry", "material"} <= set(atoms.info):
            raise InputError(
                f"{args.crystals}, frame {number}: arrays efg and site and the keys geometry and material are needed"
            )
    sites = read_sites(args.sites)
    table = compare(sites, chosen(sites, frames, args.compounds, args.crystals))
    content, parts = {}, []
    for geometry, rows in table.groupby("geometry", sort=False):
        scale = scale_of(rows)
        rows = rows.assign(slope=scale.slope, scatter=scale.scatter).join(deviations(rows))
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
            f"scatter {100 * scale.scatter:.1f} %, another site within {100 * scale.half_width():.0f} % (95 %), "
            f"RMSE {scale.rmse_kHz:.0f} kHz, "
            f"intercept {scale.intercept_kHz:.0f} ± {scale.intercept_se_kHz:.0f} kHz",
            file=sys.stderr,
        )
        for _, row in rows[rows["outlier"] == 1].iterrows():
            place = "in the fit" if row["used"] else "not in the fit"
            print(f"  outlier: {row['compound']} {row['site']} {row['isotope']}, {row['deviation']:+.1f} deviations "
                  f"({place}); {row['outlier_reason'] or 'no reason known'}", file=sys.stderr)  # fmt: skip
    with atomic_path(args.out) as temporary:
        pd.concat(parts).to_csv(temporary, index=False, float_format="%.6g")
    write_json(args.scale, content)


if __name__ == "__main__":
    run_script(main)
