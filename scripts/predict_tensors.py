"""Predict field gradients or shieldings of any structure that ASE reads, by committees of tensor models.

Writes extended XYZ with `efg` (committee mean), `efg_sd` (root-mean-square spread of a component over the members,
times the factor by which errors exceed it; atomic units; NaN of one member) and `efg_outside` (which atoms most members
find unlike all that they know: neither holds there), and with `ms`, `ms_sd` (without that factor, which field gradients
have told) and `ms_outside` of a committee that learnt shieldings (ppm). NaN and false for atoms of elements whose
tensors were not learnt. Tensors that the structure came with are left out, and `source` says that these are predicted.

Where --out ends in .magres, writes the means of one frame in that format, which ASE, Soprano and MagresView read;
atoms without tensors are left out.
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from insilico_nmr.crystal import FULL
from insilico_nmr.dataset import TENSORS, write_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.magres_export import write_tensors
from insilico_nmr.tensor_model import TensorModel, load_committee, mostly_outside


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


def load_committees(folders: list[Path]) -> dict[str, list[TensorModel]]:
    """Committees by the quantity that they learnt. Raises InputError for two of one quantity."""
    committees = {}
    for folder in folders:
        committee = load_committee(folder)
        name = committee[0].quantity.name
        if name in committees:
            raise InputError(f"{folder}: a second committee for {name}; expected one of each quantity")
        committees[name] = committee
    return committees


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path, help="one or more frames in any format that ASE reads")
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        action="append",
        help="committee folder, with member_0, member_1, …; again for one of shieldings beside one of field gradients",
    )
    parser.add_argument(
        "--spread-factor",
        type=float,
        default=1.0,
        help="of field gradients, error over spread, from uncertainty/coverage.csv (%(default)g)",
    )
    parser.add_argument("--out", type=Path, required=True, help="extended XYZ or .magres to write")
    args = parser.parse_args()
    if not args.spread_factor > 0:
        raise InputError(f"--spread-factor is {args.spread_factor:g}; expected above 0")

    committees = load_committees(args.model)
    method = "; ".join(f"{name}: mean of {len(models)} tensor models" for name, models in committees.items())
    try:
        frames = ase.io.read(args.structure, index=":")
    except Exception as error:  # ASE raises whatever the bad file provokes
        raise InputError(f"{args.structure}: ASE cannot read it ({error})") from None
    for number, atoms in enumerate(frames):
        if not atoms.pbc.all() or atoms.cell.rank < 3:
            raise InputError(f"{args.structure}, frame {number}: expected a periodic cell")
        lost = ~np.isfinite(atoms.positions).all(axis=1)
        if lost.any():
            raise InputError(f"{args.structure}, frame {number}: atom {int(lost.argmax())} has no finite position")
        check_ordered(atoms, f"{args.structure}, frame {number}")
        predicted = {}
        for name, committee in committees.items():
            members = np.array([model.predict(atoms) for model in committee])
            predicted[name] = members.mean(axis=0)
            spread = np.full(len(atoms), np.nan)
            if len(members) > 1:
                spread = np.sqrt(members.var(axis=0, ddof=1).mean(axis=(1, 2)))
            predicted[f"{name}_sd"] = (args.spread_factor if name == "efg" else 1.0) * spread
            predicted[f"{name}_outside"] = mostly_outside(committee, atoms)
        atoms.calc = None
        for name in TENSORS:  # labels that the structure came with are no predictions
            atoms.arrays.pop(name, None)
        for name in ("level_of_theory", "output_sha256"):
            atoms.info.pop(name, None)
        atoms.info["source"] = f"predicted: {method}"
        atoms.arrays |= predicted
    if args.out.suffix != ".magres":
        write_frames(args.out, frames)
    elif len(frames) == 1:
        write_tensors(args.out, frames[0], [f"Predicted for {args.structure.name}"], method)
    else:
        raise InputError(f"{args.structure}: {len(frames)} frames; a .magres file holds one")


if __name__ == "__main__":
    run_script(main)
