"""A potential and a crystal of one element, small enough for any test."""

import numpy as np
from ase import Atoms
from insilico_nmr.files import write_json
from insilico_nmr.uf3 import Basis, write_lammps

BASIS = Basis(("Li",), 0.5, 6.0, 20, 1.2, 2.0, 4, 4)


def synthetic_potential(folder, sign: float = 1.0):
    """A smooth pair potential with its minimum near 3 Å (or, with sign −1, one that atoms fall into)."""
    knots = BASIS.knots()["pair"]
    greville = (knots[1:-3] + knots[2:-2] + knots[3:-1]) / 3
    x = (3.0 / np.maximum(greville, 1.5)) ** 6
    values = np.zeros(BASIS.size)
    values[1 : 1 + BASIS.pair_size] = sign * 0.15 * (x**2 - 2 * x)
    values[1 + BASIS.pair_size - 3 : 1 + BASIS.pair_size] = 0.0
    write_lammps(folder / "member_0.uf3", BASIS, values)
    write_json(folder / "config.json", {"kind": "uf3", "elements": ["Li"], "members": 1, "errors": None})
    return folder


def synthetic_crystal() -> Atoms:
    """A face-centred cubic crystal of 32 atoms in a monoclinic setting of its cell."""
    atoms = Atoms("Li4", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], cell=[4.2] * 3)
    atoms.pbc = True
    return atoms.repeat(2)
