"""Isotropically strained cells of an ordered crystal, to be labelled: fractional coordinates fixed, volume scaled.

From a CIF every site is full but those that --empty names, so that partly occupied crystals become ordered; from
extended XYZ the first frame is taken as it is. `label_snapshot.py --relax` brings the atoms to rest while it labels, as
check_potential.py wants them.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from insilico_nmr.crystal import read_crystal
from insilico_nmr.dataset import check_snapshot, read_frames, write_frames
from insilico_nmr.errors import InputError, run_script


def ordered_cell(path: Path, empty: list[str]) -> Atoms:
    """The cell of a CIF with all sites full but those labelled `empty`. Raises InputError for a label it has not."""
    crystal = read_crystal(path)
    labels = [orbit.label for orbit in crystal.orbits]
    if unknown := sorted(set(empty) - set(labels)):
        raise InputError(f"{path}: no site {', '.join(unknown)} to leave empty; it has {', '.join(labels)}")
    kept = [orbit for orbit in crystal.orbits if orbit.label not in empty]
    if not kept:
        raise InputError(f"{path}: no site is left")
    return Atoms(
        [orbit.element for orbit in kept for _ in orbit.positions],
        scaled_positions=np.concatenate([orbit.positions for orbit in kept]),
        cell=crystal.cell,
        pbc=True,
    )


def strained(atoms: Atoms, ratio: float) -> Atoms:
    """A copy without labels, of `ratio` times the volume and the same shape and fractional coordinates."""
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    copy.set_cell(atoms.cell[:] * ratio ** (1 / 3), scale_atoms=True)
    return copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path, help="CIF, or extended XYZ")
    parser.add_argument("--empty", nargs="+", default=[], metavar="SITE", help="sites of the CIF to leave empty")
    parser.add_argument("--volumes", type=float, nargs="+", required=True, help="over the structure's, such as 0.98")
    parser.add_argument("--material", required=True)
    parser.add_argument("--phase", required=True)
    parser.add_argument("--group", required=True, help="all of these cells are one group")
    parser.add_argument("--out", type=Path, required=True, help="cells to label, extended XYZ")
    args = parser.parse_args()

    if min(args.volumes) <= 0 or len(set(args.volumes)) < len(args.volumes):
        raise InputError(f"--volumes {' '.join(f'{v:g}' for v in args.volumes)}: expected distinct positive numbers")
    if args.structure.suffix.lower() == ".cif":
        atoms = ordered_cell(args.structure, args.empty)
    elif args.empty:
        raise InputError(f"--empty goes with a CIF, which {args.structure} is not")
    else:
        atoms = read_frames(args.structure)[0]
    frames = []
    for number, ratio in enumerate(sorted(args.volumes)):
        frame = strained(atoms, ratio)
        frame.info.update(material=args.material, phase=args.phase, group=args.group, frame=number)
        frame.info.update(volume_ratio=ratio, source="strained cell, not labelled")
        check_snapshot(frame, f"{args.structure}, volume {ratio:g}")
        frames.append(frame)
    write_frames(args.out, frames)
    print(f"{len(frames)} cells of {len(atoms)} atoms, {atoms.symbols.get_chemical_formula()}")


if __name__ == "__main__":
    run_script(main)
