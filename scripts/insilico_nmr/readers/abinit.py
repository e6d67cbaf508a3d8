"""ABINIT's main output: field gradients (prtefg, since version 9.8 nucefg), energy, forces, stress."""

import re
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from insilico_nmr.errors import InputError
from insilico_nmr.readers.printed import (
    frame,
    half_unit,
    last_line,
    level_of_theory,
    numbers,
    read_lines,
    remove_rounding,
)

FUNCTIONALS = {"1": "LDA", "7": "LDA", "11": "PBE", "14": "revPBE", "15": "RPBE", "-101130": "PBE", "-116133": "PBEsol"}


def recognises(head: str) -> bool:
    """Whether a file that begins so is the main output of ABINIT."""
    return re.search(r"^\s*\.Version\s+\S+\s+of ABINIT", head, re.MULTILINE) is not None


def read(path: str | Path) -> Atoms:
    """Read structure, field gradients (a.u.), energy, forces and stress of a run with one dataset.

    The gradient ("total efg", atomic units, row by row) is that of the potential which a positive charge feels, as
    in the data contract: C_Q = eQV_zz/h in the same block, and the gradient of stishovite's oxygen has the sign,
    axes and size of a GPAW calculation (tests/unit/test_readers_abinit.py). Six decimals; the trace that the
    rounding leaves is removed. Each tensor names its atom and that atom's type, which must be the structure's.

    There is no shielding to read: ABINIT gives the orbital moment of one nuclear dipole in one direction a run.

    ASE's reader is not used: it wants rprim (not echoed where it is the unit matrix), leaves acell out of the cell,
    and does not see that a run did not converge.

    Raises InputError for a file that is truncated, has several datasets, did not converge, lacks gradients, or in
    which counts or types do not fit the atoms.
    """
    path = Path(path)
    lines = read_lines(path, "ABINIT output")
    _check_complete(path, lines)
    types, charges = _types(path, lines)
    atoms = _structure(path, lines, charges[types - 1])
    efg = _field_gradients(path, lines, types)
    version = re.search(r"\.Version\s+(\S+)\s+of ABINIT", "\n".join(lines[:50]))[1]
    source = f"ABINIT {version}"
    labels = _mechanics(path, lines, len(atoms))
    return frame(atoms, source, _level(path, lines, source), efg=efg, **labels)


def _check_complete(path: Path, lines: list[str]) -> None:
    if not recognises("\n".join(lines[:50])):
        raise InputError(f"{path}: expected ABINIT output, which begins with '.Version … of ABINIT'")
    datasets = sum(line.startswith("== DATASET") for line in lines)
    if datasets != 1:
        raise InputError(f"{path}: {datasets} datasets, expected the output of a run with one")
    if last_line(lines, r"^\s*Calculation completed\.") is None:
        raise InputError(f"{path}: truncated; expected 'Calculation completed.' at the end")
    unfinished = last_line(lines, r"was not enough SCF cycles to converge")
    if unfinished is not None:
        raise InputError(
            f"{path}: did not converge: {lines[unfinished].strip()} {lines[unfinished + 1].strip()}; "
            "expected a run that met its own criterion"
        )


def _echoed(path: Path, lines: list[str], name: str, count: int) -> np.ndarray:
    """Values of an input variable as ABINIT echoes them before the run, over as many lines as they take."""
    begin = last_line(lines[: last_line(lines, "^== DATASET")], rf"^[-P ]?\s*{name}\s")
    words: list[str] = []
    for line in lines[begin:] if begin is not None else []:
        found = line.split()[1:] if not words else line.split()
        if not found or len(words) >= count:
            break
        words += found
    return numbers(path, words[:count], count, f"the echo of {name}")


def _types(path: Path, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Type of each atom, counted from 1, and the nuclear charge of each type."""
    natom = int(_echoed(path, lines, "natom", 1)[0])
    types = _echoed(path, lines, "typat", natom).astype(int)
    charges = _echoed(path, lines, "znucl", types.max()).astype(int)
    return types, charges


def _structure(path: Path, lines: list[str], atomic_numbers: np.ndarray) -> Atoms:
    """The structure at the end of the run."""
    cell = []
    for axis in (1, 2, 3):
        line = last_line(lines, rf"^\s*R\({axis}\)=")
        words = lines[line].split("G(")[0].split("=")[1].split() if line is not None else []
        cell.append(numbers(path, words, 3, f"R({axis})"))
    positions = _rows_at_end(path, lines, "cartesian coordinates (angstrom) at end", len(atomic_numbers))
    return Atoms(atomic_numbers, positions=positions, cell=np.array(cell) * Bohr, pbc=True)


def _rows_at_end(path: Path, lines: list[str], header: str, count: int) -> np.ndarray:
    """Three numbers an atom, shape (n, 3), from the lines behind the last `header`, which number the atoms."""
    line = last_line(lines, re.escape(header))
    rows = [row.split() for row in lines[line + 1 : line + 1 + count]] if line is not None else []
    if [row[:1] for row in rows] != [[str(atom)] for atom in range(1, count + 1)]:
        raise InputError(f"{path}: no '{header}' with atoms 1 to {count} in order")
    return np.array([numbers(path, row[1:], 3, f"the row of atom {row[0]}") for row in rows])


def _field_gradients(path: Path, lines: list[str], types: np.ndarray) -> np.ndarray:
    begin = last_line(lines, r"^\s*Electric Field Gradient Calculation\s*$")
    if begin is None:
        raise InputError(f"{path}: no 'Electric Field Gradient Calculation', expected a run with prtefg or nucefg")
    owners: list[tuple[int, int]] = []
    rows: list[list[str]] = []
    for line in lines[begin:]:
        # "atom :    1   typat :    1" since version 9.6, "Atom   1, typat   1: Cq = …" before.
        owner = re.match(r"\s*atom\s*:?\s+(\d+)\s*,?\s+typat\s*:?\s+(\d+)", line, re.IGNORECASE)
        if owner:
            owners.append((int(owner[1]), int(owner[2])))
        elif re.match(r"\s*total efg\s*:", line):
            rows.append(line.split(":")[1].split())
        elif re.match(r"\s*efg eigval \((?!au\))", line):
            raise InputError(f"{path}: unknown units in {line.strip()!r}, expected au")
    expected = [(atom, int(kind)) for atom, kind in enumerate(types, start=1)]
    if owners != expected or len(rows) != 3 * len(types):
        raise InputError(
            f"{path}: {len(rows) / 3:g} field gradients of {len(owners)} atoms that do not fit the structure; "
            f"expected one for each of {len(types)} atoms, in order and with their types"
        )
    printed = np.array([numbers(path, row, 3, "total efg") for row in rows]).reshape(-1, 3, 3)
    return remove_rounding(printed, max(half_unit(row) for row in rows))


def _mechanics(path: Path, lines: list[str], count: int) -> dict[str, np.ndarray | float]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³; xx, yy, zz, yz, xz, xy), as far as the file has them."""
    labels: dict[str, np.ndarray | float] = {}
    line = last_line(lines, r"^total_energy_eV\s*:|>>>>>>>>> Etotal=|>Total energy in eV\s*=")
    if line is not None:
        value = numbers(path, re.split("[:=]", lines[line])[1].split()[:1], 1, "the total energy")[0]
        labels["energy"] = float(value * (Hartree if "Etotal" in lines[line] else 1.0))
    if last_line(lines, r"cartesian forces \(eV/Angstrom\) at end") is not None:
        labels["forces"] = _rows_at_end(path, lines, "cartesian forces (eV/Angstrom) at end", count)
    line = last_line(lines, r"^\s*Cartesian components of stress tensor \(hartree/bohr\^3\)")
    if line is not None:
        words = [re.findall(r"sigma\(\d \d\)=\s*(\S+)", row) for row in lines[line + 1 : line + 4]]
        values = np.array([numbers(path, row, 2, "the stress tensor") for row in words])
        labels["stress"] = values.T.ravel() * Hartree / Bohr**3
    return labels


def _level(path: Path, lines: list[str], source: str) -> str:
    """Functional, cut-off, datasets and mesh as echoed."""
    text = "\n".join(lines)
    ixc = re.search(r"functional.* - ixc=\s*(-?\d+)", text) or re.search(r"^\s*ixc\s+(-?\d+)", text, re.MULTILINE)
    functional = FUNCTIONALS.get(ixc[1], f"ixc {ixc[1]}") if ixc else None
    ecut = re.search(r"^\s*ecut\s+(\S+)\s+Hartree", text, re.MULTILINE)
    datasets = re.findall(r"psp file is (\S+)", text)
    mesh = re.search(r"^\s*ngkpt\s+(\d+)\s+(\d+)\s+(\d+)", text, re.MULTILINE)
    lattice = re.search(r"^\s*kptrlatt((?:\s+-?\d+){9})", text, re.MULTILINE)
    counts = None
    if mesh:
        counts = [int(word) for word in mesh.groups()]
    elif lattice:
        matrix = np.array([int(word) for word in lattice[1].split()]).reshape(3, 3)
        diagonal = np.count_nonzero(matrix) == 3 and matrix.diagonal().all()
        counts = [int(count) for count in np.abs(matrix.diagonal())] if diagonal else None
    return level_of_theory(
        source,
        functional,
        f"{numbers(path, [ecut[1]], 1, 'ecut')[0] * Hartree:g} eV" if ecut else None,
        [Path(dataset).name for dataset in datasets],
        counts,
    )
