"""Gather labelled frames into one dataset, and name those that failed."""

import argparse
import sys
from pathlib import Path

from insilico_nmr.dataset import check_frames, read_frames, write_frames
from insilico_nmr.errors import InputError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path, nargs="+", help="labelled frames, extended XYZ")
    parser.add_argument("--copies", action="store_true", help="let one structure stand there more than once")
    parser.add_argument("--out", type=Path, required=True, help="dataset, extended XYZ")
    args = parser.parse_args()

    labelled = []
    for path in args.frames:
        for atoms in read_frames(path):
            if "failed" in atoms.info:
                print(f"left out: {path}: {atoms.info['failed']}", file=sys.stderr)
            else:
                labelled.append(atoms)
    if not labelled:
        raise InputError(f"none of {len(args.frames)} frames has labels")
    check_frames(labelled, args.out, args.copies)
    write_frames(args.out, labelled)
    print(f"{len(labelled)} of {len(args.frames)} frames labelled")


if __name__ == "__main__":
    run_script(main)
