"""What all readers of printed output share: lines, finite numbers, rounding, k meshes, words for a level of theory."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from insilico_nmr.errors import InputError
from insilico_nmr.tensors import traceless_symmetric


def read_lines(path: str | Path, what: str) -> list[str]:
    """Lines of a text file that should be `what`; InputError where it is missing, empty or not text."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file, expected {what}") from None
    if not any(line.strip() for line in lines):
        raise InputError(f"{path}: empty, expected {what}")
    return lines


def numbers(path: str | Path, words: Iterable[str], count: int, where: str) -> np.ndarray:
    """`count` finite numbers, shape (count,); InputError naming `where` they should have stood."""
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.array([np.nan])
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{path}: expected {count} finite numbers in {where}")
    return values


def half_unit(words: Iterable[str]) -> float:
    """Half a unit of the last printed digit, of the least precise number: 0.0005 for "1.250" or "1.250E+00"."""
    halves = []
    for word in words:
        mantissa, _, exponent = word.lower().partition("e")
        halves.append(0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))
    return max(halves)


def remove_rounding(tensors: np.ndarray, half: float) -> np.ndarray:
    """Field gradients (n, 3, 3) made symmetric and traceless, where rounding explains that they are not.

    `half` is half a unit of the last printed digit, in the tensors' unit: each element may be off by that much.
    A tensor with more trace or asymmetry comes back unchanged, for the checks of the dataset to refuse.
    """
    margin = half * (1 + 1e-6)
    trace = np.abs(np.trace(tensors, axis1=1, axis2=2)) <= 3 * margin
    skew = np.abs(tensors - tensors.transpose(0, 2, 1)).max(axis=(1, 2)) <= 2 * margin
    return np.where((trace & skew)[:, None, None], traceless_symmetric(tensors), tensors)


def k_mesh(points: np.ndarray, weights: np.ndarray | None = None) -> tuple[int, ...] | None:
    """Regular mesh of which fractional k points (n, 3) are the irreducible part; None where they tell of none.

    Time reversal is undone (−k beside k); along each axis the smallest distance is 1/n. With integer `weights`
    their sum must be the number of points of the mesh.
    """
    mesh = []
    for axis in np.concatenate([points, -points]).T:
        values = np.unique(np.round(axis % 1.0, 4) % 1.0)
        count = 1 if len(values) == 1 else round(1 / np.diff(np.append(values, values[0] + 1)).min())
        if not np.allclose((values - values[0]) * count, np.round((values - values[0]) * count), atol=0.01):
            return None
        mesh.append(count)
    if weights is not None and abs(weights.sum() - np.prod(mesh)) > 0.5:
        return None
    return tuple(mesh)


def level_of_theory(
    code: str,
    functional: str | None,
    cutoff: str | None,
    pseudopotentials: Iterable[str],
    mesh: Iterable[int] | None,
) -> str:
    """One line that says how a frame was computed; what the file does not tell is left out.

    The mesh stands last, as "k points 2×2×3": `dataset.check_one_level` compares its density, and the rest literally.
    """
    parts = [code, functional, f"cut-off {cutoff}" if cutoff else None]
    names = sorted(set(pseudopotentials))
    parts.append(f"pseudopotentials {'; '.join(names)}" if names else None)
    parts.append(f"k points {'×'.join(str(count) for count in mesh)}" if mesh is not None else None)
    return ", ".join(part for part in parts if part)


def frame(atoms: Atoms, source: str, level: str, **labels: np.ndarray | float | None) -> Atoms:
    """Periodic frame of the data contract with `labels` energy, forces, stress (calculator), efg, ms (arrays)."""
    bare = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    bare.info.update({key: text for key, text in (("source", source), ("level_of_theory", level)) if text})
    known = {name: value for name, value in labels.items() if value is not None}
    for name in ("efg", "ms"):
        if name in known:
            bare.arrays[name] = known.pop(name)
    if known:
        bare.calc = SinglePointCalculator(bare, **known)
    return bare


def mechanics(atoms: Atoms) -> dict[str, np.ndarray | float]:
    """Energy, forces and stress that an ASE reader found; nothing else of what it found."""
    results = atoms.calc.results if atoms.calc is not None else {}
    return {name: results[name] for name in ("energy", "forces", "stress") if name in results}


def last_line(lines: list[str], pattern: str) -> int | None:
    """Number of the last line in which a regular expression is found, or None."""
    return next((i for i in range(len(lines) - 1, -1, -1) if re.search(pattern, lines[i])), None)
