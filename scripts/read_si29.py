"""Read the 29Si shielding tensors of crystalline silicates that MPContribs publishes into a dataset of this study.

The file is the JSON table of the project lsdi_vasp_si29: 421 crystals, 1,335 tensors computed with VASP (M. C.
Venetos, M. Wen, K. A. Persson, J. Phys. Chem. A 127, 2388 (2023)). Its values rise with deshielding, so they are shifts
without a reference and not shieldings: the sign is turned here, and an offset that no model's error depends on stays
unknown. A group holds crystals that are nearly the same.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from insilico_nmr.dataset import check_frames, write_frames
from insilico_nmr.errors import InputError, run_script

COLUMNS = ("structure", "nmr_tensor", "atom_selector")


def read_crystal(structure: dict, tensors: list, selector: list[bool], where: str) -> Atoms:
    """One crystal; its tensors (ppm) belong to the atoms that the selector marks, in their order."""
    sites = structure["sites"]
    if any(len(site["species"]) != 1 or site["species"][0]["occu"] != 1 for site in sites):
        raise InputError(f"{where}: partly occupied sites; expected an ordered crystal")
    atoms = Atoms(
        [site["species"][0]["element"] for site in sites],
        cell=structure["lattice"]["matrix"],
        scaled_positions=[site["abc"] for site in sites],
        pbc=True,
    )
    marked = np.flatnonzero(selector)
    values = np.array(tensors, dtype=float)
    if len(selector) != len(atoms) or values.shape != (len(marked), 3, 3):
        raise InputError(
            f"{where}: {len(atoms)} atoms, a selector of {len(selector)} with {len(marked)} marks, tensors of shape "
            f"{values.shape}; expected a mark for each atom and a 3×3 tensor for each marked one"
        )
    atoms.arrays["ms"] = np.full((len(atoms), 3, 3), np.nan)
    atoms.arrays["ms"][marked] = -values
    return atoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="JSON table of lsdi_vasp_si29")
    parser.add_argument("--groups", type=Path, required=True, help="JSON: lists of the numbers of like crystals")
    parser.add_argument("--out", type=Path, required=True, help="extended XYZ to write")
    args = parser.parse_args()

    try:
        table = json.loads(args.table.read_text())
        columns = [list(table[name].values()) for name in COLUMNS]
        groups = json.loads(args.groups.read_text())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{args.table}, {args.groups}: cannot be read ({error!r})") from None
    crystals = []
    for number, row in enumerate(zip(*columns, strict=True)):
        try:
            crystals.append(read_crystal(*row, f"{args.table}, crystal {number}"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{args.table}, crystal {number}: not a structure with tensors ({error!r})") from None
    group_of = {number: group[0] for group in groups for number in group}
    if sorted(group_of) != list(range(len(crystals))):
        raise InputError(f"{args.groups}: expected each of the {len(crystals)} crystals of {args.table} in one group")
    for number, atoms in enumerate(crystals):
        atoms.info |= {
            "material": "silicates",
            "phase": "crystal",
            "group": f"crystal_{group_of[number]}",
            "source": f"MPContribs lsdi_vasp_si29, row {number}",
            "ms_units": "ppm",
        }
    check_frames(crystals, args.out, copies=True)  # the table has some crystals twice, with other tensors
    write_frames(args.out, crystals)
    print(f"{len(crystals)} crystals in {len(groups)} groups")


if __name__ == "__main__":
    run_script(main)
