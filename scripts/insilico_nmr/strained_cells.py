"""Labelled cells of a crystal under isotropic strain: what an equation of state is fitted to."""

from pathlib import Path

import numpy as np
from ase import Atoms

from insilico_nmr.dataset import read_dataset
from insilico_nmr.equation_of_state import GPA
from insilico_nmr.errors import InputError

SAME_SHAPE = 1e-4  # of the longest cell vector
AT_REST = 0.05  # eV/Å


def pressure_GPa(atoms: Atoms) -> float:
    """Pressure of the stress that the atoms' calculator has."""
    return float(-np.trace(atoms.get_stress(voigt=False)) / 3 / GPA)


def read_strained_cells(path: str | Path) -> list[Atoms]:
    """Labelled cells of one crystal under isotropic strain with atoms at rest, smallest first.

    Raises InputError, naming the frame, for what is no such series: other atoms or another shape of cell than the first
    frame's, another level of theory (energies would jump between two volumes), a missing label, or forces that are not
    small.
    """
    frames = read_dataset(path)
    first = frames[0]
    for number, atoms in enumerate(frames):
        where = f"{path}, frame {number}"
        missing = {"energy", "forces", "stress"} - set(atoms.calc.results if atoms.calc else ())
        if missing:
            raise InputError(f"{where}: no {', '.join(sorted(missing))}; an equation of state needs all three")
        if list(atoms.symbols) != list(first.symbols):
            raise InputError(f"{where}: expected the same atoms in the same order as in frame 0")
        ratio = (atoms.get_volume() / first.get_volume()) ** (1 / 3)
        if np.abs(atoms.cell[:] - ratio * first.cell[:]).max() > SAME_SHAPE * first.cell.lengths().max():
            raise InputError(f"{where}: its cell is not that of frame 0 under isotropic strain")
        levels = [frame.info.get("level_of_theory") for frame in (first, atoms)]
        if levels[0] != levels[1]:
            raise InputError(f"{where}: level of theory {levels[1]}; frame 0 has {levels[0]}")
        largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
        if largest > AT_REST:
            raise InputError(
                f"{where}: a force of {largest:.2f} eV/Å; expected atoms at rest, below {AT_REST:g} "
                "(label_snapshot.py --relax)"
            )
    return sorted(frames, key=lambda atoms: atoms.get_volume())
