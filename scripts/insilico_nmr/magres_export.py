"""Predicted tensors as a .magres file, format version 1, which ASE, Soprano and MagresView read.

The nine numbers of a record are the Fortran array T(i, j), first index fastest (readers/magres.py proves it for what
codes write): a shielding, whose first index is the induced field here, is written transposed, and ASE's reader, which
takes numbers row by row, returns it so. Field gradients are symmetric.
"""

import io
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.magres import write_magres

from insilico_nmr import __version__
from insilico_nmr.dataset import UNITS, efg, labelled, ms
from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path
from insilico_nmr.readers.magres import OWN


def magres_text(atoms: Atoms, comments: list[str], method: str) -> str:
    """Text of the file for a periodic frame with arrays `efg` (a.u.) and/or `ms` (ppm), shape (n, 3, 3).

    `comments` are lines under the heading, `method` says in words how the tensors were made. Atoms that lack one of
    the tensors are left out, for ASE's reader fails where an atom has none; the comments then say so. Raises
    InputError where no atom is left.
    """
    tensors = {"efg": efg(atoms), "ms": ms(atoms)}
    tensors = {name: values for name, values in tensors.items() if labelled(values).any()}
    known = np.logical_and.reduce([labelled(values) for values in tensors.values()]) if tensors else np.zeros(1, bool)
    if not known.any():
        raise InputError("no atom has a tensor of every kind: nothing for a .magres file")
    frame = Atoms(atoms.symbols[known], positions=atoms.positions[known], cell=atoms.cell, pbc=True)
    if not known.all():
        left = ", ".join(sorted(set(atoms.symbols[~known])))
        comments = [*comments, f"{int((~known).sum())} atoms without a tensor ({left}) are left out"]
    for name, values in tensors.items():
        frame.new_array(name, values[known].transpose(0, 2, 1))
    frame.info["magres_units"] = {name: UNITS[name] for name in tensors}
    frame.info["magresblock_calculation"] = {
        "calc_code": [[OWN]],
        "calc_code_version": [[__version__]],
        "calc_comment": [[method]],
    }
    buffer = io.StringIO()
    write_magres(buffer, frame)
    heading, rest = buffer.getvalue().split("\n", 1)
    # Comments stand outside the blocks: ASE's reader takes one inside for a record.
    return "\n".join([heading, *(f"# {line}" for line in comments), rest])


def write_tensors(path: str | Path, atoms: Atoms, comments: list[str], method: str) -> None:
    """Write `magres_text`, whole or not at all."""
    text = magres_text(atoms, comments, method)
    with atomic_path(path) as temporary:
        temporary.write_text(text)
