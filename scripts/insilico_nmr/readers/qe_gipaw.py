"""Text output of gipaw.x (Quantum ESPRESSO): field gradients (job = 'efg') and shieldings (job = 'nmr')."""

import re
import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.units import Bohr, Rydberg

from insilico_nmr.errors import InputError
from insilico_nmr.readers.printed import (
    frame,
    half_unit,
    k_mesh,
    last_line,
    level_of_theory,
    mechanics,
    numbers,
    read_lines,
    remove_rounding,
)

EFG_HEADER = "ELECTRIC FIELD GRADIENTS TENSORS IN Hartree/bohrradius^2:"
# Positions stand in units of alat with six decimals.
POSITION_TOLERANCE_ALAT = 2e-6


def recognises(head: str) -> bool:
    """Whether a file that begins so is the output of gipaw.x."""
    return re.search(r"^\s*Program\s+(QE-)?GIPAW\s", head, re.MULTILINE) is not None


def is_pw_output(head: str) -> bool:
    """Whether a file that begins so is the output of pw.x."""
    return re.search(r"^\s*Program\s+PWSCF\s", head, re.MULTILINE) is not None


def read(path: str | Path, structure: str | Path | None) -> Atoms:
    """Read field gradients (a.u.) and/or shieldings (ppm), with structure and mechanics from the pw.x output beneath.

    gipaw.x prints no cell, and for field gradients no positions: `structure` is the output of the pw.x run whose
    wave functions it read, which numbers the atoms alike. Held against it: the number of atoms, the sequence of
    elements, and for shieldings each position. (gipaw.x also writes a .magres file with structure, which needs no
    second file but has two decimals fewer on field gradients.)

    Field gradients ("total EFG (symmetrized)", Hartree/bohr², row by row) are those of the potential that a
    positive charge feels, as in the data contract: sign, axes and size on quartz agree with a GPAW calculation.
    Shieldings ("Total NMR chemical shifts") are shieldings σ with the core's and the macroscopic part. A row is
    one applied field, a column one component of the induced field (the Fortran array σ(induced, applied), first
    index fastest): the contract's order is the transpose. See tests/unit/test_readers_qe_gipaw.py.

    Raises InputError without `structure`, for truncated runs of both programs and a pw.x run that did not converge
    (gipaw.x does not say whether its linear response did), for other units, and where atoms and tensors do not fit.
    """
    path = Path(path)
    lines = read_lines(path, "gipaw.x output")
    _check_complete(path, lines)
    if structure is None:
        raise InputError(f"{path}: gipaw.x output has no cell; give the pw.x output beneath it with --structure")
    ground = read_lines(structure, "pw.x output")
    atoms = _structure(structure, ground)

    efg = _field_gradients(path, lines, atoms)
    ms = _shieldings(path, lines, atoms, _alat(structure, ground))
    if efg is None and ms is None:
        raise InputError(f"{path}: no field gradients (job 'efg') and no shieldings (job 'nmr'), expected either")
    if ms is None:
        print(
            f"{path}: holds no positions, so that atoms of one element in another order than in {structure} go unseen; "
            "the .magres file of gipaw.x has them",
            file=sys.stderr,
        )
    version = re.search(r"Program\s+\S+\s+v\.\s*(\S+)", "\n".join(lines[:50]))
    source = f"QE-GIPAW {version[1] if version else ''}".strip()
    return frame(atoms, source, _level(Path(structure), lines, ground, source), efg=efg, ms=ms, **mechanics(atoms))


def _check_complete(path: Path, lines: list[str]) -> None:
    if last_line(lines, r"^\s*JOB DONE\.") is None:
        raise InputError(f"{path}: truncated; expected 'JOB DONE.' at the end")
    wrong = last_line(lines, r"convergence NOT achieved")
    if wrong is not None:
        raise InputError(f"{path}: did not converge: {lines[wrong].strip()!r}")


def _structure(path: str | Path, lines: list[str]) -> Atoms:
    """Last structure of a pw.x output that converged, with energy, forces and stress."""
    if not is_pw_output("\n".join(lines[:50])):
        raise InputError(f"{path}: expected pw.x output, which begins with 'Program PWSCF'")
    _check_complete(Path(path), lines)
    if last_line(lines, "convergence has been achieved") is None:
        raise InputError(f"{path}: did not converge; expected 'convergence has been achieved'")
    try:
        return ase.io.read(path, index=-1, format="espresso-out")
    except Exception as error:  # ASE raises whatever the bad line provokes
        raise InputError(f"{path}: not pw.x output that ASE reads ({error})") from None


def _alat(path: str | Path, lines: list[str]) -> float:
    """Lattice parameter in Å: celldm(1), which has a digit or two more than the line that names it."""
    line = last_line(lines, r"celldm\(1\)=")
    words = lines[line].split("celldm(1)=")[1].split()[:1] if line is not None else []
    return numbers(path, words, 1, "celldm(1)")[0] * Bohr


def _check_atoms(path: Path, found: list[tuple[str, int]], atoms: Atoms, what: str) -> None:
    """Species (Si, Fe1, …) and numbers of the atoms that tensors are printed for."""
    symbols = [re.match(r"[A-Z][a-z]?", label)[0] for label, _ in found]
    if symbols != atoms.get_chemical_symbols() or [number for _, number in found] != list(range(1, len(atoms) + 1)):
        raise InputError(
            f"{path}: {what} of {len(found)} atoms ({' '.join(symbols[:8])} …) do not fit the {len(atoms)} atoms "
            f"of the structure ({' '.join(atoms.get_chemical_symbols()[:8])} …), expected the same in the same order"
        )


def _field_gradients(path: Path, lines: list[str], atoms: Atoms) -> np.ndarray | None:
    header = last_line(lines, r"^\s*ELECTRIC FIELD GRADIENTS TENSORS IN")
    if header is None:
        return None
    if lines[header].strip() != EFG_HEADER:
        raise InputError(f"{path}: unknown units in {lines[header].strip()!r}, expected {EFG_HEADER!r}")
    begin = last_line(lines, r"-----\s*total EFG \(symmetrized\)\s*-----")
    if begin is None:
        raise InputError(f"{path}: no '----- total EFG (symmetrized) -----' below the header of the field gradients")
    rows = []
    for line in lines[begin + 1 :]:
        if line.strip() and re.match(r"\s*[A-Z][a-z]?\S*\s+\d+(\s+\S+){3}\s*$", line) is None:
            break
        rows += [line.split()] if line.strip() else []
    owners = [(row[0], int(row[1])) for row in rows]
    _check_atoms(path, owners[::3], atoms, "field gradients")
    if owners != [owner for owner in owners[::3] for _ in range(3)]:
        raise InputError(f"{path}: a field gradient without three rows of its own")
    words = [word for row in rows for word in row[2:]]
    printed = numbers(path, words, 9 * len(atoms), "total EFG (symmetrized)").reshape(-1, 3, 3)
    return remove_rounding(printed, half_unit(words))


def _shieldings(path: Path, lines: list[str], atoms: Atoms, alat_A: float) -> np.ndarray | None:
    begin = last_line(lines, r"^\s*Total NMR chemical shifts in")
    if begin is None:
        return None
    if "Total NMR chemical shifts in ppm" not in lines[begin]:
        raise InputError(f"{path}: unknown units in {lines[begin].strip()!r}, expected ppm")
    owners, positions, tensors = [], [], []
    for number in range(begin, len(lines)):
        found = re.match(r"\s*Atom\s*(\d+)\s+(\S+)\s+pos:\s*\(([^)]*)\)\s+Total sigma:", lines[number])
        if found:
            where = f"the shielding of atom {found[1]}"
            owners.append((found[2], int(found[1])))
            positions.append(numbers(path, found[3].split(), 3, where))
            words = [word for row in lines[number + 1 : number + 4] for word in row.split()]
            tensors.append(numbers(path, words, 9, where).reshape(3, 3))
    _check_atoms(path, owners, atoms, "shieldings")
    away = np.linalg.norm(np.array(positions) - atoms.positions / alat_A, axis=1)
    if away.max() > POSITION_TOLERANCE_ALAT:
        atom = int(np.argmax(away))
        raise InputError(
            f"{path}: atom {atom + 1} ({owners[atom][0]}) is not where the structure has it "
            f"({away[atom] * alat_A:.4f} Å away); expected the atoms in the same order and place"
        )
    return np.array(tensors).transpose(0, 2, 1)


def _level(structure: Path, lines: list[str], ground: list[str], source: str) -> str:
    """Functional from gipaw.x; cut-off, pseudopotentials and mesh from pw.x."""
    text = "\n".join(ground)
    line = last_line(lines, r"Exchange-correlation\s*=")
    functional = " ".join(lines[line].split("=")[1].split()) if line is not None else None
    cutoff = re.search(r"kinetic-energy cutoff\s*=\s*(\S+)\s+Ry", text)
    pseudopotentials = re.findall(r"PseudoPot\. #.*\n\s*(\S+)", text)
    points = text.partition("cryst. coord.\n")[2].splitlines()
    rows = [re.match(r"\s*k\(\s*\d+\) = \(([^)]*)\)", row) for row in points]
    coordinates = [numbers(structure, row[1].split(), 3, "a k point") for row in rows if row]
    return level_of_theory(
        source,
        functional,
        f"{numbers(structure, [cutoff[1]], 1, 'the cut-off')[0] * Rydberg:g} eV" if cutoff else None,
        [Path(name).name for name in pseudopotentials],
        k_mesh(np.array(coordinates)) if coordinates else None,
    )
