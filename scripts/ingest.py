"""Take labelled snapshots into a dataset, and refuse what cannot be trusted.

    ingest.py FILE… --out DATASET [--registry resources/registry.csv --require-checksum]
              [--material NAME --phase NAME --group NAME --source TEXT --level-of-theory TEXT]
              [--structure PW_OUTPUT] [--allow-mixed-levels]

Reads extended XYZ (see insilico_nmr.dataset for units and columns; our GPAW labelling writes it too), .magres files
of CASTEP and QE-GIPAW, VASP OUTCAR, and the text output of ABINIT and of gipaw.x: field gradients, shieldings, and
energy, forces and stress where they stand there. What a file is, its content tells. Code outputs bring their level
of theory (code, functional, cut-off, pseudopotentials, k points) and the checksum of the file; frames of two levels
of theory do not go into one dataset unless allowed. Writes one extended XYZ file, whole or not at all.
"""

import argparse
import sys
from pathlib import Path

from ase import Atoms
from insilico_nmr.dataset import (
    check_frames,
    check_one_level,
    check_units,
    write_dataset,
)
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.readers.detect import read_output
from insilico_nmr.registry import check_registered, read_registry


def registered_units(text: str) -> dict[str, str]:
    """Quantities and units of a registry's units column, "energy eV; efg au"."""
    return {part.split()[0]: " ".join(part.split()[1:]) for part in text.split(";") if part.strip()}


def fill_info(frames: list[Atoms], stated: dict[str, str | None], origin: str | Path) -> None:
    """Set what the frames do not say themselves; InputError where a frame says otherwise."""
    for number, atoms in enumerate(frames):
        for key, value in stated.items():
            if value is None:
                continue
            if str(atoms.info.get(key, value)) != value:
                raise InputError(f"{origin}, frame {number}: {key} is {atoms.info[key]!r}, but {value!r} was given")
            atoms.info[key] = value


def main() -> None:
    """Read, check and join the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="extended XYZ, or a code's output")
    parser.add_argument("--out", required=True, type=Path, help="dataset to write (extended XYZ)")
    parser.add_argument("--registry", type=Path, help="registry with checksums; files that it lists are checked")
    parser.add_argument("--require-checksum", action="store_true", help="refuse a file that the registry does not list")
    parser.add_argument("--material", help="material of frames that do not say theirs")
    parser.add_argument("--phase", help="phase of frames that do not say theirs")
    parser.add_argument("--group", help="group of frames that do not say theirs: one trajectory or parent structure")
    parser.add_argument("--source", help="source of frames that do not say theirs")
    parser.add_argument("--level-of-theory", help="level of theory of frames that do not say theirs")
    parser.add_argument(
        "--structure",
        type=Path,
        metavar="PW_OUTPUT",
        help="pw.x output beneath a gipaw.x text output, which has no cell",
    )
    parser.add_argument("--allow-mixed-levels", action="store_true", help="join frames of different levels of theory")
    args = parser.parse_args()
    if args.require_checksum and args.registry is None:
        raise InputError("--require-checksum needs --registry")

    listed = read_registry(args.registry) if args.registry else {}
    stated = {key: getattr(args, key) for key in ("material", "phase", "group", "source", "level_of_theory")}
    frames = []
    for path in args.files:
        if args.require_checksum or path.resolve() in listed:
            row = check_registered(path, args.registry)
            check_units(registered_units(row["units"]), f"{args.registry}, {row['path']}")
        found = read_output(path, args.structure)
        fill_info(found, stated, path)
        check_frames(found, path)  # so that a message names the file and its own frame
        frames += found
    if not args.allow_mixed_levels:
        check_one_level(frames, "all files" if len(args.files) > 1 else args.files[0])
    write_dataset(args.out, frames)
    print(f"{len(frames)} frames, {sum(map(len, frames))} atoms written to {args.out}", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
