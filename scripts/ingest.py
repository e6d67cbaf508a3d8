"""Take labelled snapshots into a dataset, and refuse what cannot be trusted.

    ingest.py FILE… --out DATASET [--registry resources/registry.csv --require-checksum]
              [--material NAME --phase NAME --group NAME --source TEXT --level-of-theory TEXT]

Reads extended XYZ (see insilico_nmr.dataset for units and columns) and .magres files as CASTEP writes them
(field gradients and shieldings). Writes one extended XYZ file, whole or not at all.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from insilico_nmr.dataset import (
    UNITS,
    check_frames,
    check_registered,
    check_units,
    read_frames,
    read_registry,
    write_dataset,
)
from insilico_nmr.errors import InputError, run_script

MAGRES_UNITS = {"lattice": "Angstrom", "atom": "Angstrom", "ms": UNITS["ms"], "efg": UNITS["efg"]}


def read_magres(path: str | Path) -> Atoms:
    """Read structure, field gradients (a.u.) and shieldings (ppm) from a .magres file, format version 1.

    Returns a periodic frame whose arrays "efg" and "ms" (those that the file has) have shape (n, 3, 3); NaN where
    the file has no record for an atom. `info` gets source and level_of_theory from the calculation block.

    Index order: the nine numbers of an `ms` record are the Fortran array σ(i, j), first index fastest, with i the
    induced and j the applied field. So B_ind,i = −σ_ij B_j needs the transpose of what a row-by-row reader
    (ase.io.magres) returns. Proved on the CCP-NC example ethanol.magres (CASTEP 7.0): read this way, the axial
    vectors of the antisymmetric parts of C and O point along those of a GIAO-RHF/def2-TZVP and of a common-gauge
    PBE calculation (PySCF 2.14; cosines above 0.9), read by rows against them (tests/unit/test_ingest.py).
    QE-GIPAW also dumps a Fortran array with the first index fastest; which field its first index is was not
    checked. Symmetric tensors do not notice.

    ASE's reader is not used: it drops tensors without a units line, and fails where atoms have none.

    Raises InputError for a file that is truncated, of another format, without lattice, with unknown or missing
    units, or with malformed, repeated or unattributable records.
    """
    path = Path(path)
    blocks = _magres_blocks(path)
    if "magres" not in blocks or "atoms" not in blocks:
        raise InputError(f"{path}: no [{'atoms' if 'atoms' not in blocks else 'magres'}] block, expected both")
    structure = blocks["atoms"]
    units = _magres_units(path, structure + blocks["magres"])

    lattices = [record for record in structure if record[0] == "lattice"]
    if len(lattices) != 1:
        raise InputError(f"{path}: no cell; expected one lattice record, found {len(lattices)}")
    cell = _numbers(path, lattices[0], lattices[0][1:], 9).reshape(3, 3)
    symbols, positions, keys = [], [], {}
    for record in structure:
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
        atoms = Atoms(symbols, positions=positions, cell=cell, pbc=True)
    except KeyError as error:
        raise InputError(f"{path}: unknown element {error}") from None

    for name in ("efg", "ms"):
        records = [record for record in blocks["magres"] if record[0] == name]
        if records and name not in units:
            raise InputError(f"{path}: {name} without a units line, expected 'units {name} {MAGRES_UNITS[name]}'")
        if records:
            atoms.arrays[name] = _magres_tensors(path, records, keys).transpose(0, 2, 1)
    atoms.info.update(_magres_provenance(blocks.get("calculation", [])))
    return atoms


def _magres_blocks(path: Path) -> dict[str, list[list[str]]]:
    """Blocks of a .magres file by name, each a list of records split at white space, comments removed."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file, expected magres") from None
    if not lines or not lines[0].startswith("#$magres-abinitio-v1."):
        raise InputError(f"{path}: expected '#$magres-abinitio-v1.0' in the first line")
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


def _magres_units(path: Path, records: list[list[str]]) -> dict[str, str]:
    """Units stated for lattice, atom, ms and efg; other than the known ones are refused."""
    units = {record[1]: " ".join(record[2:]) for record in records if record[0] == "units" and len(record) > 1}
    for name, expected in MAGRES_UNITS.items():
        if name in units and units[name] != expected:
            raise InputError(f"{path}: unknown units {units[name]!r} for {name}, expected {expected!r}")
    for name in ("lattice", "atom"):
        if name not in units:
            raise InputError(f"{path}: no units line for {name}, expected 'units {name} Angstrom'")
    return units


def _magres_tensors(path: Path, records: list[list[str]], keys: dict[tuple[str, str], int]) -> np.ndarray:
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
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.array([np.nan])
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{path}: expected {count} finite numbers in record {' '.join(record[:3])!r}")
    return values


def _magres_provenance(records: list[list[str]]) -> dict[str, str]:
    """Source and level of theory as far as the calculation block tells them."""
    stated = {record[0]: " ".join(record[1:]) for record in records}
    source = " ".join(stated[key] for key in ("calc_code", "calc_code_version") if stated.get(key))
    theory = [stated[key] for key in ("calc_xcfunctional",) if stated.get(key)]
    if stated.get("calc_cutoffenergy"):
        units = {record[1]: record[2] for record in records if record[0] == "units" and len(record) == 3}
        theory.append(f"cut-off {stated['calc_cutoffenergy']} {units.get('calc_cutoffenergy', '')}".strip())
    if stated.get("calc_kpoint_mp_grid"):
        theory.append(f"k points {stated['calc_kpoint_mp_grid'].replace(' ', '×')}")
    found = {"source": source, "level_of_theory": ", ".join(theory)}
    return {key: text for key, text in found.items() if text}


def registered_units(text: str) -> dict[str, str]:
    """Quantities and units of a registry's units column, "energy eV; efg au"."""
    return {part.split()[0]: " ".join(part.split()[1:]) for part in text.split(";") if part.strip()}


def fill_info(frames: list[Atoms], stated: dict[str, str | None], origin: str | Path) -> None:
    """Set what the frames do not say themselves; InputError where a frame says otherwise."""
    for number, atoms in enumerate(frames):
        for key, value in stated.items():
            if value is None:
                continue
            if str(atoms.info.get(key, value)) != value:
                raise InputError(f"{origin}, frame {number}: {key} is {atoms.info[key]!r}, but {value!r} was given")
            atoms.info[key] = value


def main() -> None:
    """Read, check and join the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="extended XYZ, or .magres by its ending")
    parser.add_argument("--out", required=True, type=Path, help="dataset to write (extended XYZ)")
    parser.add_argument("--registry", type=Path, help="registry with checksums; files that it lists are checked")
    parser.add_argument("--require-checksum", action="store_true", help="refuse a file that the registry does not list")
    parser.add_argument("--material", help="material of frames that do not say theirs")
    parser.add_argument("--phase", help="phase of frames that do not say theirs")
    parser.add_argument("--group", help="group of frames that do not say theirs: one trajectory or parent structure")
    parser.add_argument("--source", help="source of frames that do not say theirs")
    parser.add_argument("--level-of-theory", help="level of theory of frames that do not say theirs")
    args = parser.parse_args()
    if args.require_checksum and args.registry is None:
        raise InputError("--require-checksum needs --registry")

    listed = read_registry(args.registry) if args.registry else {}
    stated = {key: getattr(args, key) for key in ("material", "phase", "group", "source", "level_of_theory")}
    frames = []
    for path in args.files:
        if args.require_checksum or path.resolve() in listed:
            row = check_registered(path, args.registry)
            check_units(registered_units(row["units"]), f"{args.registry}, {row['path']}")
        found = [read_magres(path)] if path.suffix == ".magres" else read_frames(path)
        fill_info(found, stated, path)
        check_frames(found, path)  # so that a message names the file and its own frame
        frames += found
    write_dataset(args.out, frames)
    print(f"{len(frames)} frames, {sum(map(len, frames))} atoms written to {args.out}", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
