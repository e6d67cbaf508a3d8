"""Label one frame of an extended XYZ file from first principles: energy, forces, stress and field gradients by GPAW.

    gpaw python -- label_snapshot.py POOL.extxyz --frame 3 --datasets DIR … --out labelled.extxyz

Runs in the interpreter that GPAW is installed for. With --skip-failed a frame whose electronic structure does not
converge is written without labels and with the reason, for gather_labels.py to name and leave out.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `gpaw python` does not look beside the script

from insilico_nmr.dataset import check_one_level, check_snapshot, read_frames, write_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.gpaw_labels import Level, gpaw_version, label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path, help="snapshots, extended XYZ")
    parser.add_argument("--frame", type=int, required=True, help="which one, from 0 on")
    parser.add_argument("--functional", required=True, help="exchange and correlation, such as PBE")
    parser.add_argument("--cutoff-ev", type=float, required=True, help="of the plane waves, eV")
    parser.add_argument("--k-length", type=float, required=True, help="Å: k points times cell length reach so far")
    parser.add_argument("--mesh", default="gamma", help="gamma or monkhorst-pack (default: %(default)s)")
    parser.add_argument("--setups", required=True, help="name of the PAW data sets, in their file names")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of the PAW data sets")
    parser.add_argument("--relax", type=float, metavar="FORCE",
                        help="first move the atoms, in their fixed cell, until no force is larger, eV/Å")  # fmt: skip
    parser.add_argument("--beside", type=Path, metavar="DATASET",
                        help="labels that this one is to join: another level of theory is refused at once")  # fmt: skip
    parser.add_argument("--skip-failed", action="store_true", help="write a frame that fails, with the reason")
    parser.add_argument("--text", type=Path, required=True, help="file for GPAW's own text")
    parser.add_argument("--out", type=Path, required=True, help="labelled frame, extended XYZ")
    args = parser.parse_args()

    frames = read_frames(args.pool)
    if not 0 <= args.frame < len(frames):
        raise InputError(f"{args.pool}: no frame {args.frame}, it has {len(frames)} (counted from 0)")
    atoms = frames[args.frame]
    for name in ("efg", "ms"):  # labels of another calculation must not survive
        atoms.arrays.pop(name, None)
    atoms.calc = None
    atoms.info.setdefault("source", "to be labelled")
    check_snapshot(atoms, f"{args.pool}, frame {args.frame}")
    level = Level(args.functional, args.cutoff_ev, args.k_length, args.setups, args.mesh)
    if args.beside:
        planned = atoms.copy()
        planned.info["level_of_theory"] = level.describe(atoms, gpaw_version())
        others = enumerate(read_frames(args.beside))
        same = {f"frame {n}": other for n, other in others if other.info["material"] == atoms.info["material"]}
        check_one_level([*same.values(), planned], args.beside, [*same, "the label to be made"])
    args.text.parent.mkdir(parents=True, exist_ok=True)
    try:
        labelled = label(atoms, level, str(args.datasets), str(args.text), args.relax)
    except InputError as error:
        if not args.skip_failed:
            raise InputError(f"{args.pool}, frame {args.frame}: {error}") from None
        labelled = atoms
        labelled.info["failed"] = str(error)
    write_frames(args.out, [labelled])


if __name__ == "__main__":
    run_script(main)
