"""Primitive cells of the reference scale's crystals, every atom with the label of its site: what DFT is to label.

Each crystal stands there twice, to be labelled as published and with internal coordinates relaxed by DFT (key
geometry).
"""

import argparse
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms
from insilico_nmr.crystal import Crystal, read_crystal
from insilico_nmr.dataset import write_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.reference_scale import read_sites

GEOMETRIES = ("published", "relaxed")


def primitive(crystal: Crystal, name: str) -> Atoms:
    """The primitive cell with positions that have the full symmetry, and the array "site" of labels."""
    partly = [orbit.label for orbit in crystal.orbits if orbit.occupancy < 1]
    if partly:
        raise InputError(f"{name}: site {partly[0]} is partly occupied; a reference crystal must be ordered")
    numbers = np.concatenate([np.full(len(orbit.positions), n) for n, orbit in enumerate(crystal.orbits)])
    positions = np.concatenate([orbit.positions for orbit in crystal.orbits])
    found = spglib.standardize_cell((crystal.cell, positions, numbers), to_primitive=True, symprec=1e-3)
    if found is None:
        raise InputError(f"{name}: spglib finds no primitive cell")
    cell, places, kinds = found
    atoms = Atoms([crystal.orbits[n].element for n in kinds], scaled_positions=places, cell=cell, pbc=True)
    atoms.arrays["site"] = np.array([crystal.orbits[n].label for n in kinds])
    return atoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", type=Path, help="measured couplings, CSV; the CIFs it names are beside it")
    parser.add_argument("--compounds", nargs="+", required=True, help="which of its compounds")
    parser.add_argument("--out", type=Path, required=True, help="extended XYZ")
    args = parser.parse_args()

    sites = read_sites(args.sites)
    frames = []
    for compound in args.compounds:
        files = sites.loc[sites["compound"] == compound, "structure_file"].unique()
        if len(files) != 1:
            known = ", ".join(sites["compound"].unique())
            raise InputError(f"{args.sites}: {len(files)} structures of {compound!r}; expected one. It has {known}")
        crystal = read_crystal(args.sites.parent / files[0])
        atoms = primitive(crystal, compound)
        for geometry in GEOMETRIES:
            copy = atoms.copy()
            copy.info.update(material=compound, phase="crystal", group=Path(files[0]).stem, geometry=geometry)
            copy.info["source"] = f"{files[0]}, {geometry}"
            frames.append(copy)
    write_frames(args.out, frames)
    print(f"{len(frames)} crystals of at most {max(map(len, frames))} atoms")


if __name__ == "__main__":
    run_script(main)
