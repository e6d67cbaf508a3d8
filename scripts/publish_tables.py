"""Ship a finished study's tables: copy them to resources/published/<study>/ and list them, with checksums.

After it, `snakemake figures` draws the study's figures in a fresh clone without computing anything. What `snakemake
uncertainty` and `snakemake curves` made goes with them where it is there. A study with measured curves of the user's
own is refused: these are in its tables, and not this repository's to ship.
"""

import argparse
import csv
import shutil
from pathlib import Path

from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, read_json, sha256
from insilico_nmr.registry import COLUMNS, read_registry

# Tables of targets that are no part of the study itself.
BESIDE = ("uncertainty/atoms.csv", "uncertainty/coverage.csv", "curves/curves.csv", "curves/ratios.csv")
BESIDE += ("rates/barriers.csv", "rates/model.json")
BESIDE += ("silicates/curves.csv", "silicates/ratios.csv", "silicates/random_tensor_0_0.csv")
PICTURE = "figures/summary.png"  # for those who read and do not run; all figures can be drawn from the tables
SILICATES = "VASP, as in MPContribs' lsdi_vasp_si29"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the study, results/<study>")
    parser.add_argument("--registry", type=Path, default=Path("resources/registry.csv"), help="(default: %(default)s)")
    args = parser.parse_args()

    tables = sorted((args.results / "tables").glob("[!.]*.csv"))  # none that a kill has left half-written
    tables += [args.results / name for name in BESIDE if (args.results / name).exists()]
    if not tables:
        raise InputError(f"{args.results}: no tables; run the study first")
    study = read_json(args.results / "config.json")
    own = sorted({"measured_echoes", "measured_spectra"} & set(study.get("observables", {})))
    if own:
        raise InputError(f"{args.results}: run the study without observables.{own[0]} to ship it")
    left = [table for table in tables if table.name.startswith("measured_")]
    if left:
        raise InputError(f"{left[0]} is of measured curves, which this study does not name any more: remove it")
    root = args.registry.parent
    folder = root / "published" / args.results.name
    targets = [folder / (t.name if t.parent.name == "tables" else f"{t.parent.name}_{t.name}") for t in tables]
    # What another target made, such as learning curves, stays as long as this study has not made it anew.
    replaced = {target.resolve() for target in targets}
    kept = [
        row for path, row in read_registry(args.registry).items() if Path(path) not in replaced and Path(path).exists()
    ]
    for table, target in zip(tables, targets, strict=True):
        with atomic_path(target) as temporary:
            shutil.copyfile(table, temporary)
        kept.append(
            {
                "path": target.relative_to(root).as_posix(),
                "sha256": sha256(target),
                "source": f"computed by this repository: study {args.results.name}",
                "licence": "MIT (as this repository)",
                "units": "in the header",
                "level_of_theory": SILICATES
                if table.parent.name == "silicates"
                else study["material"]["level_of_theory"],
            }
        )
    with atomic_path(args.registry) as temporary, open(temporary, "w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
    if (args.results / PICTURE).exists():
        shutil.copyfile(args.results / PICTURE, folder / Path(PICTURE).name)
    print(f"{len(tables)} tables in {folder}")


if __name__ == "__main__":
    run_script(main)
