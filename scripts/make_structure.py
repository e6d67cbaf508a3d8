"""A supercell to start molecular dynamics from: CIF with partly occupied sites in, extended XYZ out."""

import argparse
from pathlib import Path

from ase.io import write
from insilico_nmr.crystal import read_crystal, starting_structure
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cif", type=Path, help="crystal, partial occupancies of the mobile ion allowed")
    parser.add_argument("--mobile", required=True, help="element whose sites may be partly occupied, such as Li")
    parser.add_argument("--repeat", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"), help="cells")
    parser.add_argument("--seed", type=int, required=True, help="draws which sites are occupied")
    parser.add_argument("--min-distance", type=float, required=True, help="Å, no two mobile ions closer than this")
    parser.add_argument("--out", type=Path, required=True, help="extended XYZ")
    args = parser.parse_args()

    crystal = read_crystal(args.cif)
    atoms = starting_structure(crystal, args.mobile, tuple(args.repeat), args.seed, args.min_distance)
    with atomic_path(args.out) as temporary:
        write(temporary, atoms, format="extxyz")
    print(f"{atoms.symbols.get_chemical_formula()}: {len(atoms)} atoms")


if __name__ == "__main__":
    run_script(main)
