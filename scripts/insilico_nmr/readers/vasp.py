"""VASP's OUTCAR: field gradients (LEFG), shieldings (LCHIMAG), mechanics. (vasprun.xml holds no tensors.)"""

import re
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from scipy import constants

from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import EFG_AU_IN_V_PER_M2
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

EFG_AU_IN_V_PER_A2 = EFG_AU_IN_V_PER_M2 * 1e-20
FUNCTIONALS = {"PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "RE": "revPBE", "91": "PW91", "CA": "LDA"}
# The table of isotropic shifts has four decimals, the susceptibility of the cores only two.
TABLE_TOLERANCE_PPM = 0.01


def recognises(head: str) -> bool:
    """Whether a file that begins so is an OUTCAR."""
    return re.match(r"\s*vasp\.\d", head) is not None


def read(path: str | Path) -> Atoms:
    """Read the last step of an OUTCAR: structure, field gradients (a.u.), shieldings (ppm), energy, forces, stress.

    Field gradients: V_xx, V_yy, V_zz, V_xy, V_xz, V_yz in V/Å², of the potential that a positive charge feels, as
    in the data contract (C_Q = eQV_zz/h; the gradient at the hydrogen of an OH group is positive along its bond).
    Three decimals are printed, 1e-5 a.u.; the trace that the rounding leaves is removed.

    Shieldings: VASP prints δ = ∂B_ind/∂B_ext, minus the shielding, in parts:
    σ = −(SYMMETRIZED TENSORS + G=0 CONTRIBUTION + core shift of the species + G=0 part of the core susceptibility)ᵀ,
    the last (8π/3)χ/(N_A·cell volume). Rows are the direction of the applied field, columns the induced field, so
    the contract's order is the transpose: a row is what the same file lists as the field induced by an "EXTERNAL
    FIELD APPLIED IN DIRECTION" (tests/unit/test_readers_vasp.py; also the header BDIR, and wiki page LCHIMAG). The
    sum is held against the isotropic values that the file itself prints ("absolute, valence and core", including
    G = 0), so that a part which is missing or of another sign is refused. From version 6.6 on the sum is printed,
    as shielding, and taken from there.

    ASE reads structure and mechanics. Raises InputError for a file that is truncated, whose electronic steps did
    not converge, without tensors, or in which counts do not fit the atoms.
    """
    path = Path(path)
    lines = read_lines(path, "VASP OUTCAR")
    _check_complete(path, lines)
    try:
        atoms = ase.io.read(path, index=-1, format="vasp-out")
    except Exception as error:  # ASE raises whatever the bad line provokes
        raise InputError(f"{path}: not an OUTCAR that ASE reads ({error})") from None
    per_type = _ions_per_type(path, lines, len(atoms))

    last_step = _last_step(path, lines)
    efg = _field_gradients(path, last_step, len(atoms))
    ms = _shieldings(path, last_step, atoms, per_type)
    if efg is None and ms is None:
        raise InputError(f"{path}: no field gradients (LEFG) and no shieldings (LCHIMAG), expected either")
    version = re.match(r"\s*vasp\.(\d[\d.]*)", lines[0])[1].rstrip(".")
    source = f"VASP {version}"
    return frame(atoms, source, _level(path, lines, source), efg=efg, ms=ms, **mechanics(atoms))


def _check_complete(path: Path, lines: list[str]) -> None:
    if not recognises(lines[0]):
        raise InputError(f"{path}: expected an OUTCAR, which begins with the version of VASP; found {lines[0]!r}")
    if last_line(lines, "General timing and accounting") is None:
        raise InputError(f"{path}: truncated; expected VASP's timing at the end")


def _last_step(path: Path, lines: list[str]) -> list[str]:
    """Lines from the first electronic iteration of the last ionic step on; every loop in them must have converged.

    Loops are "Iteration  1(  12)" for the ground state, and "Iteration (  10)" besides for the response to a field.
    """
    found = [(i, re.search(r"- Iteration\s+(\d+)?\s*\(\s*(\d+)\)", line)) for i, line in enumerate(lines)]
    iterations = [(i, match[1], int(match[2])) for i, match in found if match]
    ionic = [step for _, step, _ in iterations if step]
    if not ionic:
        raise InputError(f"{path}: no electronic iterations, expected a run with LEFG or LCHIMAG")
    first = next(i for i, step, _ in iterations if step == ionic[-1])
    last_step = [(i, number) for i, _, number in iterations if i >= first]
    for (begin, number), (end, following) in zip(last_step, [*last_step[1:], (len(lines), 0)], strict=True):
        converged = last_line(lines[begin:end], "aborting loop because EDIFF is reached") is not None
        if following <= number and not converged:
            raise InputError(
                f"{path}: did not converge: iteration {number} (line {begin + 1}) is the last of its loop, "
                "expected 'aborting loop because EDIFF is reached' after it"
            )
    return lines[first:]


def _ions_per_type(path: Path, lines: list[str], count: int) -> list[int]:
    """Numbers of ions of the species in POTCAR's order."""
    line = last_line(lines, r"ions per type =")
    found = [int(word) for word in lines[line].split("=")[1].split()] if line is not None else []
    if sum(found) != count:
        raise InputError(f"{path}: {sum(found)} ions by type, but {count} positions")
    return found


def _dashed(lines: list[str], begin: int, bar: int) -> list[str]:
    """Filled lines between dashed line number `bar` (from 0) after `begin` and the next; none where there is none."""
    bars = [i for i in range(begin, len(lines)) if re.fullmatch(r"\s*-{10,}\s*", lines[i])]
    block = lines[bars[bar] + 1 : bars[bar + 1]] if len(bars) > bar + 1 else []
    return [line for line in block if line.strip()]


def _field_gradients(path: Path, lines: list[str], count: int) -> np.ndarray | None:
    header = last_line(lines, r"^\s*Electric field gradients \(")
    if header is None:
        return None
    if lines[header].strip() != "Electric field gradients (V/A^2)":
        raise InputError(f"{path}: unknown units in {lines[header].strip()!r}, expected V/A^2")
    columns = _dashed(lines, header, 0)
    if len(columns) != 1 or columns[0].split() != ["ion", "V_xx", "V_yy", "V_zz", "V_xy", "V_xz", "V_yz"]:
        raise InputError(f"{path}: unknown columns of the field gradients, expected V_xx V_yy V_zz V_xy V_xz V_yz")
    rows = [line.split() for line in _dashed(lines, header, 1)]
    _check_ions(path, [row[0] for row in rows], count, "field gradients")
    values = np.array([numbers(path, row[1:], 6, f"the field gradient of ion {row[0]}") for row in rows])
    printed = values[:, [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
    half = max(half_unit(row[1:]) for row in rows)
    return remove_rounding(printed, half) / EFG_AU_IN_V_PER_A2


def _check_ions(path: Path, found: list[str], count: int, what: str) -> None:
    if found != [str(ion) for ion in range(1, count + 1)]:
        raise InputError(f"{path}: {what} of {len(found)} ions, expected them of ions 1 to {count} in order")


def _shieldings(path: Path, lines: list[str], atoms: Atoms, per_type: list[int]) -> np.ndarray | None:
    if last_line(lines, r"^\s*SYMMETRIZED TENSORS") is not None:
        return _shieldings_in_parts(path, lines, atoms, per_type)
    if last_line(lines, "BDIR labels direction of applied magnetic field") is not None:
        return _shieldings_summed(path, lines, len(atoms))
    return None


def _shieldings_in_parts(path: Path, lines: list[str], atoms: Atoms, per_type: list[int]) -> np.ndarray:
    """Shieldings (n, 3, 3) from the parts that versions before 6.6 print."""
    begin = last_line(lines, r"^\s*SYMMETRIZED TENSORS")
    end = next((i for i in range(begin, len(lines)) if re.fullmatch(r"\s*-{10,}\s*", lines[i])), begin)
    block = lines[begin + 1 : end]
    _check_ions(path, [line.split()[-1] for line in block if "ion" in line], len(atoms), "shift tensors")
    words = [word for line in block if "ion" not in line for word in line.split()]
    shift = numbers(path, words, 9 * len(atoms), "SYMMETRIZED TENSORS").reshape(-1, 3, 3)

    header = last_line(lines, r"G=0 CONTRIBUTION TO CHEMICAL SHIFT \(field along BDIR\)")
    rows = [line.split() for line in _dashed(lines, header, 1)] if header is not None else []
    if [row[0] for row in rows] != ["1", "2", "3"]:
        raise InputError(f"{path}: no G=0 CONTRIBUTION TO CHEMICAL SHIFT (field along BDIR) with three rows")
    shift += np.array([numbers(path, row[1:], 3, "the G=0 contribution") for row in rows])

    header = last_line(lines, r"Core NMR properties")
    rows = [line.split() for line in _dashed(lines, header, 0)] if header is not None else []
    if len(rows) != len(per_type):
        raise InputError(f"{path}: core shifts of {len(rows)} species, expected {len(per_type)}")
    core = np.array([numbers(path, row[2:], 1, f"the core shift of {row[1]}")[0] for row in rows])
    isotropic = np.repeat(core, per_type) + _core_susceptibility_ppm(path, lines, atoms.cell.volume)
    shift += isotropic[:, None, None] * np.eye(3)

    printed = _printed_isotropic_shifts(path, lines, len(atoms))
    wrong = np.abs(np.trace(shift, axis1=1, axis2=2) / 3 - printed)
    if wrong.max() > TABLE_TOLERANCE_PPM:
        ion = int(np.argmax(wrong))
        raise InputError(
            f"{path}: the parts of the shift of ion {ion + 1} add up to {np.trace(shift[ion]) / 3:.4f} ppm, "
            f"but the table of isotropic shifts says {printed[ion]:.4f}"
        )
    return -shift.transpose(0, 2, 1)


def _core_susceptibility_ppm(path: Path, lines: list[str], volume_A3: float) -> float:
    """Uniform field of the cores' susceptibility χ (cm³ per mole of cells) in a sphere: (8π/3)χ/(N_A·volume), ppm."""
    header = last_line(lines, "Core contribution to magnetic susceptibility:")
    line = lines[header] if header is not None else ""
    found = re.search(r"susceptibility:\s*(\S+)\s+10\^(-?\d+) cm\^3/mole", line)
    if found is None:
        raise InputError(f"{path}: no core contribution to magnetic susceptibility in 10^-6 cm^3/mole")
    chi = numbers(path, [found[1]], 1, "the core susceptibility")[0] * 10.0 ** int(found[2])
    return 1e6 * 8 * np.pi / 3 * chi / (constants.Avogadro * volume_A3 * 1e-24)


def _printed_isotropic_shifts(path: Path, lines: list[str], count: int) -> np.ndarray:
    """Isotropic shifts (n,), ppm, with cores and G = 0, from VASP's table of the anisotropy."""
    header = last_line(lines, r"\(absolute, valence and core\)")
    rows = [line.split() for line in lines[header + 1 : header + 1 + count]] if header is not None else []
    _check_ions(path, [row[0] for row in rows if row], count, "isotropic shifts (absolute, valence and core)")
    return np.array([numbers(path, row[1:], 6, f"the isotropic shift of ion {row[0]}")[3] for row in rows])


def _shieldings_summed(path: Path, lines: list[str], count: int) -> np.ndarray:
    """Shieldings (n, 3, 3) from the summary of version 6.6: three rows BDIR an ion, last three columns with G = 0."""
    header = last_line(lines, "BDIR labels direction of applied magnetic field")
    if last_line(lines[:header], r"for chemical shielding\s+\(including the isotropic core contribution\)") is None:
        raise InputError(f"{path}: expected shieldings with cores (LNMRSHIELD = T), found another summary")
    rows = [line.split() for line in _dashed(lines, header, 1) if "(" not in line]
    for ion in range(0, len(rows), 3):
        rows[ion + 1 : ion + 3] = [[rows[ion][0], *row] for row in rows[ion + 1 : ion + 3]]
    expected = [[str(ion), str(direction)] for ion in range(1, count + 1) for direction in (1, 2, 3)]
    if [row[:2] for row in rows] != expected:
        raise InputError(f"{path}: shieldings of {len(rows) / 3:g} ions, expected three rows BDIR each of {count} ions")
    values = [numbers(path, row[2:], 6, f"the shielding of ion {row[0]}")[3:] for row in rows]
    return np.array(values).reshape(-1, 3, 3).transpose(0, 2, 1)


def _level(path: Path, lines: list[str], source: str) -> str:
    """Functional, cut-off, datasets and mesh from the parameters that VASP echoes."""

    def value(pattern: str) -> str | None:
        line = last_line(lines, pattern)
        return re.search(pattern, lines[line])[1] if line is not None else None

    functional = value(r"^\s*GGA\s*=\s*(\S+)")
    if functional in (None, "--"):
        functional = value(r"^\s*LEXCH\s*=\s*([A-Z0-9]{2})\b")
    functional = FUNCTIONALS.get(functional, functional)
    meta = value(r"^\s*METAGGA\s*=\s*(\S+)")
    if meta not in (None, "F", "--"):
        functional = meta
    if value(r"^\s*LHFCALC\s*=\s*(\S+)") == "T":
        exchange = value(r"^\s*AEXX\s*=\s*(\S+)")
        functional = f"{functional} hybrid AEXX={exchange}"
    datasets = [line.split("=")[1].strip() for line in lines if re.match(r"\s*TITEL\s*=", line)]
    cutoff = value(r"^\s*ENCUT\s*=\s*(\S+)")
    if cutoff is not None:
        cutoff = f"{numbers(path, [cutoff], 1, 'ENCUT')[0]:g} eV"
    return level_of_theory(source, functional, cutoff, datasets, _mesh(lines))


def _mesh(lines: list[str]) -> tuple[int, ...] | None:
    """Mesh of k points from the list of irreducible ones and their whole weights; None for a list of another kind."""
    header = last_line(lines, r"^\s*Following reciprocal coordinates:\s*$")
    rows = []
    for line in lines[header + 2 :] if header is not None else []:
        if re.fullmatch(r"(\s+-?\d+\.\d+){4}\s*", line) is None:
            break
        rows.append([float(word) for word in line.split()])
    if not rows:
        return None
    table = np.array(rows)
    return k_mesh(table[:, :3], table[:, 3])
