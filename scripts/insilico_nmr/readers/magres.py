"""The .magres format, version 1, as CASTEP, QE-GIPAW and others write it: field gradients and shieldings."""

import re
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Hartree, Rydberg

from insilico_nmr.dataset import UNITS
from insilico_nmr.errors import InputError
from insilico_nmr.readers.printed import (
    frame,
    half_unit,
    level_of_theory,
    numbers,
    read_lines,
    remove_rounding,
)

EXPECTED = {"lattice": "Angstrom", "atom": "Angstrom", "ms": UNITS["ms"], "efg": UNITS["efg"]}
# QE-GIPAW wrote the plural until 2013.
SPELLINGS = {"lattice": {"angstrom", "angstroms"}, "atom": {"angstrom", "angstroms"}, "ms": {"ppm"}, "efg": {"au"}}
CUTOFF_IN_EV = {"ev": 1.0, "ry": Rydberg, "hartree": Hartree}
# Codes whose order of the nine numbers of a shielding is proved, see `read`.
OWN = "insilico-nmr"  # magres_export.py
PROVED = ("CASTEP", "QE-GIPAW", OWN)


def recognises(head: str) -> bool:
    """Whether a file that begins so is a .magres file."""
    return head.startswith("#$magres")


def read(path: str | Path) -> Atoms:
    """Read structure, field gradients (a.u.) and shieldings (ppm) from a .magres file, format version 1.

    Returns a periodic frame whose arrays "efg" and "ms" (those that the file has) have shape (n, 3, 3); NaN where
    the file has no record for an atom. `info` gets source and level_of_theory from the calculation block. Records
    of other quantities (efg_local, efg_nonlocal, isc, sus) are passed over: `efg` is their total. The format does
    not say whether the calculation converged.

    Index order: the nine numbers of an `ms` record are the Fortran array σ(i, j), first index fastest, with i the
    induced and j the applied field. So B_ind,i = −σ_ij B_j needs the transpose of what a row-by-row reader
    (ase.io.magres) returns. Proved for CASTEP on ethanol and for QE-GIPAW on H2O: read this way, the axial vectors
    of the antisymmetric parts point along those of GIAO calculations (PySCF), read by rows against them
    (tests/unit/test_readers_magres.py). Asymmetric shieldings of any other code are refused.

    Rounding: QE-GIPAW prints four decimals. What trace and asymmetry they leave in a field gradient is removed;
    its text output has two decimals more.

    ASE's reader is not used: it drops tensors without a units line, and fails where atoms have none.

    Raises InputError for a file that is truncated, of another format, without lattice, with unknown or missing
    units, or with malformed, repeated or unattributable records.
    """
    path = Path(path)
    blocks = _blocks(path)
    if "magres" not in blocks or "atoms" not in blocks:
        raise InputError(f"{path}: no [{'atoms' if 'atoms' not in blocks else 'magres'}] block, expected both")
    structure = blocks["atoms"]
    units = _units(path, structure + blocks["magres"])
    atoms, keys = _structure(path, structure)

    labels = {}
    for name in ("efg", "ms"):
        records = [record for record in blocks["magres"] if record[0] == name]
        if records and name not in units:
            raise InputError(f"{path}: {name} without a units line, expected 'units {name} {EXPECTED[name]}'")
        if records:
            labels[name] = _tensors(path, records, keys).transpose(0, 2, 1)
            if name == "efg":
                labels[name] = remove_rounding(labels[name], max(half_unit(record[-9:]) for record in records))
    code, source, level = _provenance(path, blocks.get("calculation", []))
    if "ms" in labels and not code.startswith(PROVED):
        skew = np.nanmax(np.abs(labels["ms"] - labels["ms"].transpose(0, 2, 1)))
        if skew > 1e-6:
            raise InputError(
                f"{path}: asymmetric shieldings of {code or 'an unnamed code'}, whose order of indices is not proved; "
                f"expected calc_code {' or '.join(PROVED)}, or the code's own output"
            )
    return frame(atoms, source, level, **labels)


def _blocks(path: Path) -> dict[str, list[list[str]]]:
    """Blocks of a .magres file by name, each a list of records split at white space, comments removed."""
    lines = read_lines(path, "magres")
    if not lines[0].startswith("#$magres-abinitio-v1."):
        raise InputError(
            f"{path}: expected '#$magres-abinitio-v1.0' in the first line (older text: see convertoldmagres.py)"
        )
    blocks: dict[str, list[list[str]]] = {}
    name = None
    for number, line in enumerate(lines, start=1):
        bracket = re.fullmatch(r"\s*[\[<](/?)(\w+)[\]>]\s*", line)
        if bracket and not bracket[1] and name is None and bracket[2] not in blocks:
            name = bracket[2]
            blocks[name] = []
        elif bracket and bracket[1] and bracket[2] == name:
            name = None
        elif bracket:
            raise InputError(f"{path}, line {number}: unexpected {line.strip()}; is the file damaged?")
        elif name is not None and line.split("#")[0].strip():
            blocks[name].append(line.split("#")[0].split())
    if name is not None:
        raise InputError(f"{path}: truncated, block [{name}] is not closed")
    return blocks


def _units(path: Path, records: list[list[str]]) -> set[str]:
    """Quantities that have a units line; other units than the known ones, or two for one quantity, are refused."""
    stated: dict[str, str] = {}
    for record in records:
        if record[0] != "units" or len(record) < 2 or record[1] not in EXPECTED:
            continue
        name, unit = record[1], " ".join(record[2:])
        if unit.lower() not in SPELLINGS[name] or stated.setdefault(name, unit) != unit:
            raise InputError(f"{path}: unknown units {unit!r} for {name}, expected {EXPECTED[name]!r}")
    for name in ("lattice", "atom"):
        if name not in stated:
            raise InputError(f"{path}: no units line for {name}, expected 'units {name} Angstrom'")
    return set(stated)


def _structure(path: Path, records: list[list[str]]) -> tuple[Atoms, dict[tuple[str, str], int]]:
    """Atoms in the order of the file, and the position in that order of each (label, index)."""
    lattices = [record for record in records if record[0] == "lattice"]
    if len(lattices) != 1:
        raise InputError(f"{path}: no cell; expected one lattice record, found {len(lattices)}")
    cell = _numbers(path, lattices[0], lattices[0][1:], 9).reshape(3, 3)
    symbols, positions, keys = [], [], {}
    for record in records:
        if record[0] != "atom":
            continue
        if len(record) != 7:
            raise InputError(f"{path}: malformed record {' '.join(record)!r}: expected species, label, index, x, y, z")
        # CASTEP names a custom species "Li:tag".
        symbols.append(record[1].split(":")[0])
        keys[(record[2], record[3])] = len(keys)
        positions.append(_numbers(path, record, record[4:], 3))
    if not symbols or len(keys) != len(symbols):
        raise InputError(f"{path}: expected atoms with distinct label and index, found {len(symbols)} records")
    try:
        return Atoms(symbols, positions=positions, cell=cell, pbc=True), keys
    except KeyError as error:
        raise InputError(f"{path}: unknown element {error}") from None


def _tensors(path: Path, records: list[list[str]], keys: dict[tuple[str, str], int]) -> np.ndarray:
    """Tensors of all atoms, shape (n, 3, 3), nine numbers row by row; NaN where no record speaks of an atom."""
    # CASTEP before version 23 runs label and index together where the index has three digits: "H1222".
    glued = {label + index: (label, index) for label, index in keys}
    tensors = np.full((len(keys), 3, 3), np.nan)
    seen = set()
    for record in records:
        if len(record) == 11 and len(glued) == len(keys):
            record = [record[0], *glued.get(record[1], (record[1], "")), *record[2:]]
        key = (record[1], record[2]) if len(record) == 12 else None
        if key not in keys:
            raise InputError(
                f"{path}: record {' '.join(record[:3])!r} is malformed or belongs to no atom; "
                "expected label, index and nine numbers"
            )
        if key in seen:
            raise InputError(f"{path}: two {record[0]} records for atom {record[1]} {record[2]}")
        seen.add(key)
        tensors[keys[key]] = _numbers(path, record, record[3:], 9).reshape(3, 3)
    return tensors


def _numbers(path: Path, record: list[str], words: list[str], count: int) -> np.ndarray:
    """`count` finite numbers from the words of a record."""
    return numbers(path, words, count, f"record {' '.join(record[:3])!r}")


def _provenance(path: Path, records: list[list[str]]) -> tuple[str, str, str]:
    """Code, source (code and version) and level of theory as far as the calculation block tells them."""
    stated = {record[0]: " ".join(record[1:]) for record in records if record[0] != "units"}
    units = {record[1]: record[2] for record in records if record[0] == "units" and len(record) == 3}
    code = stated.get("calc_code", "")
    source = f"{code} {stated.get('calc_code_version', '')}".strip()

    # CASTEP gives the unit in a line of its own, behind the number, or (6.1) not at all.
    value, _, unit = stated.get("calc_cutoffenergy", "").partition(" ")
    unit = unit.strip() or units.get("calc_cutoffenergy", "unit not stated")
    cutoff = None
    if value:
        energy = numbers(path, [value], 1, "calc_cutoffenergy")[0]
        known = CUTOFF_IN_EV.get(unit.lower())
        cutoff = f"{energy * known:g} eV" if known else f"{energy:g} ({unit})"

    mesh = [int(word) for word in stated.get("calc_kpoint_mp_grid", "").split() if word.lstrip("-").isdigit()]
    pseudopotentials = [" ".join(record[1:]) for record in records if record[0] == "calc_pspot" and len(record) > 1]
    level = level_of_theory(
        source,
        stated.get("calc_xcfunctional"),
        cutoff,
        pseudopotentials,
        mesh if len(mesh) == 3 and min(mesh) > 0 else None,
    )
    return code, source, level
