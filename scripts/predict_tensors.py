"""Predict field gradients of any structure that ASE reads, by a committee of tensor models.

Writes extended XYZ with `efg` (committee mean), `efg_sd` (root-mean-square spread of a component over the members,
times the factor by which errors exceed it; atomic units) and `efg_outside` (which atoms most members find unlike all
that they know: neither holds there). NaN and false for atoms of elements whose field gradients were not learnt.
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from insilico_nmr.crystal import FULL
from insilico_nmr.dataset import write_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.tensor_model import load_committee, mostly_outside


def check_ordered(atoms: Atoms, source: str) -> None:
    """Raise InputError where the file says that sites are partly occupied: ASE puts an atom on every one of them."""
    occupancy = atoms.info.get("occupancy")  # of a CIF: kind of site → element → part
    occupied = [part for kind in occupancy.values() for part in kind.items()] if isinstance(occupancy, dict) else []
    partly = sorted({f"{element} ({value:g})" for element, value in occupied if value < FULL})
    if partly:
        raise InputError(
            f"{source}: partly occupied sites of {', '.join(partly)}; expected an ordered structure. "
            "Make one with make_structure.py, which draws the occupied sites of a supercell"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path, help="one or more frames in any format that ASE reads")
    parser.add_argument("--model", type=Path, required=True, help="committee folder, with member_0, member_1, …")
    parser.add_argument(
        "--spread-factor",
        type=float,
        default=1.0,
        help="error over spread, from uncertainty/coverage.csv (%(default)g)",
    )
    parser.add_argument("--out", type=Path, required=True, help="extended XYZ to write")
    args = parser.parse_args()

    committee = load_committee(args.model)
    try:
        frames = ase.io.read(args.structure, index=":")
    except Exception as error:  # ASE raises whatever the bad file provokes
        raise InputError(f"{args.structure}: ASE cannot read it ({error})") from None
    for number, atoms in enumerate(frames):
        if not atoms.pbc.all() or atoms.cell.rank < 3:
            raise InputError(f"{args.structure}, frame {number}: expected a periodic cell")
        check_ordered(atoms, f"{args.structure}, frame {number}")
        members = np.array([model.predict(atoms) for model in committee])
        atoms.calc = None
        atoms.arrays["efg"] = members.mean(axis=0)
        spread = np.sqrt(members.var(axis=0, ddof=min(1, len(members) - 1)).mean(axis=(1, 2)))
        atoms.arrays["efg_sd"] = args.spread_factor * spread
        atoms.arrays["efg_outside"] = mostly_outside(committee, atoms)
    write_frames(args.out, frames)


if __name__ == "__main__":
    run_script(main)
