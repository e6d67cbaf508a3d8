"""Gather labelled frames into one dataset, and name those that failed.

Frames of one material must be of one level of theory. With --pool, the frames labelled must be those of the pool now.
"""

import argparse
import sys
from pathlib import Path

from ase import Atoms
from insilico_nmr.dataset import check_frames, check_one_level, read_frames, structure_key, write_frames
from insilico_nmr.errors import InputError, run_script

# What else a label stands for; a cell without charge is neutral.
KEPT = {"material": "", "phase": "", "group": "", "charge": 0}


def check_pool(pool: Path, labels: dict[Path, list[Atoms]]) -> None:
    """Refuse labels of anything else than the pool's frames: it was changed, and not only added to, since."""
    frames = read_frames(pool)
    if len(frames) != len(labels) or any(len(found) != 1 for found in labels.values()):
        raise InputError(
            f"{pool} has {len(frames)} frames; expected as many files of one frame each, found {len(labels)} files "
            f"of {sum(map(len, labels.values()))} frames"
        )
    for number, (wanted, (path, (found,))) in enumerate(zip(frames, labels.items(), strict=True)):
        same = all(found.info.get(key, none) == wanted.info.get(key, none) for key, none in KEPT.items())
        if not same or structure_key(found) != structure_key(wanted):
            raise InputError(f"{path}: not frame {number} of {pool} as it is now; remove it to have it labelled anew")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, nargs="+", help="labelled frames, extended XYZ")
    parser.add_argument("--pool", type=Path, help="what was to be labelled, one frame a file, in this order")
    parser.add_argument("--copies", action="store_true", help="let one structure stand there more than once")
    parser.add_argument("--out", type=Path, required=True, help="dataset, extended XYZ")
    args = parser.parse_args()

    labelled, failed = [], 0
    files = {path: read_frames(path) for path in args.frames}
    for path, frames in files.items():
        good = [atoms for atoms in frames if "failed" not in atoms.info]
        for atoms in frames:
            if "failed" in atoms.info:
                failed += 1
                print(f"left out: {path}: {atoms.info['failed']}", file=sys.stderr)
        if good:
            check_frames(good, path, args.copies)  # so that a message names the file
        labelled += good
    if not labelled:
        raise InputError(f"none of {failed} frames has labels")
    if args.pool:
        check_pool(args.pool, files)
    check_frames(labelled, f"{len(args.frames)} files together", args.copies)
    for material in sorted({str(atoms.info["material"]) for atoms in labelled}):
        check_one_level([a for a in labelled if a.info["material"] == material], f"labels of {material}")
    write_frames(args.out, labelled)
    print(f"{len(labelled)} of {len(labelled) + failed} frames labelled")


if __name__ == "__main__":
    run_script(main)
