"""Labelled snapshots: the contract between first-principles data and everything that learns from it.

On disk: extended XYZ with energy (eV), forces (eV/Å), stress (eV/Å³) and per atom `efg` (atomic units) and/or
`ms` (ppm) as nine columns, row-major, first index the induced field. In memory: ase.Atoms whose arrays "efg" and
"ms" have shape (n, 3, 3); a tensor of NaN marks an atom without that label. Energy, forces and stress sit in the
SinglePointCalculator that ASE makes. Each frame carries material, phase, group and source in `info`, and
level_of_theory where it is known (code, functional, cut-off, pseudopotentials, "k points 2×2×3" last).
Frames and atoms are counted from 0 in every message.
"""

import re
from collections import defaultdict
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path
from insilico_nmr.xyz_frames import count_frames

UNITS = {"energy": "eV", "forces": "eV/Ang", "stress": "eV/Ang^3", "efg": "au", "ms": "ppm"}
TENSORS = ("efg", "ms")
REQUIRED_INFO = ("material", "phase", "group", "source")
CLOSEST_DISTANCE = 0.5  # Å; no chemical bond is that short
# Extended XYZ holds eight decimals, so three rounded diagonal elements add up to 1.5e-8 at most.
ROUNDING_AU = 2e-8
RELATIVE_TRACE = 1e-6
# By how much cells may differ and a mesh of k points still be of one density.
STRAIN = 0.1


def efg(atoms: Atoms) -> np.ndarray:
    """Field gradients of a frame, shape (n, 3, 3), atomic units; NaN where an atom has no label."""
    return tensors_of(atoms, "efg")


def ms(atoms: Atoms) -> np.ndarray:
    """Magnetic shieldings of a frame, shape (n, 3, 3), ppm, antisymmetric part kept; NaN without a label."""
    return tensors_of(atoms, "ms")


def tensors_of(atoms: Atoms, name: str) -> np.ndarray:
    """Labels `efg` or `ms` of a frame, shape (n, 3, 3); NaN where an atom has no label."""
    if name not in atoms.arrays:
        return np.full((len(atoms), 3, 3), np.nan)
    return atoms.arrays[name].reshape(-1, 3, 3)


def labelled(tensors: np.ndarray) -> np.ndarray:
    """Which of the tensors (n, 3, 3) are labels and not NaN, shape (n,), bool."""
    return ~np.isnan(tensors).all(axis=(1, 2))


def with_labels(frames: list[Atoms], name: str, purpose: str = "to train on") -> list[Atoms]:
    """Those frames that have a label `efg` or `ms` on any atom; raises InputError where none has."""
    found = [atoms for atoms in frames if labelled(tensors_of(atoms, name)).any()]
    if not found:
        raise InputError(f"no labels {purpose} (array `{name}`)")
    return found


def read_frames(path: str | Path) -> list[Atoms]:
    """Read the frames of an extended XYZ file, tensors as (n, 3, 3), whatever labels and info they carry.

    Raises InputError for a missing, empty, truncated or malformed file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if count_frames(path) == 0:
        raise InputError(f"{path}: empty dataset, expected at least one frame")
    try:
        frames = ase.io.read(path, index=":", format="extxyz")
    except Exception as error:  # ASE raises whatever the bad line provokes
        raise InputError(f"{path}: not extended XYZ that ASE reads ({error})") from None
    for number, atoms in enumerate(frames):
        for name in TENSORS:
            if name not in atoms.arrays:
                continue
            columns = atoms.arrays.pop(name)
            if columns.shape != (len(atoms), 9) or columns.dtype.kind not in "fi":
                raise InputError(
                    f"{path}, frame {number}: {name} must be nine real columns (row-major 3×3), "
                    f"found {columns.shape[1:] or (1,)} of type {columns.dtype}"
                )
            atoms.arrays[name] = columns.astype(float).reshape(-1, 3, 3)
    return frames


def write_frames(path: str | Path, frames: list[Atoms]) -> None:
    """Write frames as extended XYZ, whole or not at all, with tensors (n, 3, 3) as nine columns. No checks."""
    flat = []
    for atoms in frames:
        copy = atoms.copy()
        copy.calc = atoms.calc
        for name in TENSORS:
            if name in copy.arrays:
                copy.arrays[name] = np.asarray(copy.arrays[name], dtype=float).reshape(-1, 9)
        flat.append(copy)
    with atomic_path(path) as temporary:
        ase.io.write(temporary, flat, format="extxyz")


def read_dataset(path: str | Path) -> list[Atoms]:
    """Read a dataset of labelled snapshots and hold it to the contract. Raises InputError (see `check_frames`)."""
    frames = read_frames(path)
    check_frames(frames, path)
    return frames


def write_dataset(path: str | Path, frames: list[Atoms]) -> None:
    """Check labelled snapshots (see `check_frames`) and write them; nothing is written where one fails."""
    check_frames(frames, path)
    write_frames(path, frames)


def check_frames(frames: list[Atoms], origin: str | Path, copies: bool = False) -> None:
    """Hold labelled snapshots to the contract.

    Raises InputError naming `origin`, frame and atom for: an empty dataset, missing info, unknown units, no cell,
    non-finite numbers, two atoms on top of each other, tensors that cannot be (see `check_tensors`), a frame
    without any label, and, unless `copies` are allowed, a frame that occurs twice.
    """
    if not frames:
        raise InputError(f"{origin}: empty dataset, expected at least one frame")
    for number, atoms in enumerate(frames):
        check_snapshot(atoms, f"{origin}, frame {number}")
    check_tensors(frames, origin)
    for number, atoms in enumerate(frames):
        if not label_names(atoms):
            raise InputError(
                f"{origin}, frame {number}: no labels; expected at least one of {', '.join(UNITS)} with numbers"
            )
    if not copies:
        _check_duplicates(frames, origin)


def check_snapshot(atoms: Atoms, where: str) -> None:
    """What `check_frames` asks of a frame whether it has labels or not: info, cell, finite numbers, distances."""
    _check_info(atoms, where)
    _check_cell(atoms, where)
    _check_finite(atoms, where)
    _check_distances(atoms, where)


def check_tensors(frames: list[Atoms], origin: str | Path) -> None:
    """Refuse tensors that are partly NaN or infinite, and field gradients with a trace or not symmetric.

    A trace or asymmetry below 1e-6 of the tensor's norm, or within the file's rounding (2e-8 a.u.), is let pass.
    Raises InputError naming `origin`, frame and atom.
    """
    for number, atoms in enumerate(frames):
        for name in TENSORS:
            if name not in atoms.arrays:
                continue
            tensors = tensors_of(atoms, name)
            bad = labelled(tensors) & ~np.isfinite(tensors).all(axis=(1, 2))
            _refuse(bad, atoms, f"{origin}, frame {number}", f"{name} is not finite (NaN only as a whole tensor)")
        gradients = efg(atoms)
        known = labelled(gradients)
        allowed = RELATIVE_TRACE * np.linalg.norm(gradients, axis=(1, 2)) + ROUNDING_AU
        trace = np.trace(gradients, axis1=1, axis2=2)
        skew = np.abs(gradients - gradients.transpose(0, 2, 1)).max(axis=(1, 2))
        where = f"{origin}, frame {number}"
        _refuse(
            known & (np.abs(trace) > allowed),
            atoms,
            where,
            "field gradient has a trace of {:.2e} a.u.; it must vanish (were the digits cut?)",
            trace,
        )
        _refuse(
            known & (skew > allowed),
            atoms,
            where,
            "field gradient is not symmetric (by {:.2e} a.u.)",
            skew,
        )


def _refuse(bad: np.ndarray, atoms: Atoms, where: str, message: str, values: np.ndarray | None = None) -> None:
    """Raise InputError for the first atom in the mask `bad`, shape (n,), with its value in the message."""
    if not bad.any():
        return
    atom = int(np.argmax(bad))
    text = message if values is None else message.format(values[atom])
    raise InputError(f"{where}, atom {atom} ({atoms.symbols[atom]}): {text}")


def _check_info(atoms: Atoms, where: str) -> None:
    missing = [key for key in REQUIRED_INFO if str(atoms.info.get(key, "")).strip() == ""]
    if missing:
        raise InputError(
            f"{where}: no {', '.join(missing)}; each frame must say {', '.join(REQUIRED_INFO)} "
            "(ingest.py has flags for them)"
        )
    check_units({name: str(atoms.info[f"{name}_units"]) for name in UNITS if f"{name}_units" in atoms.info}, where)


def check_units(stated: dict[str, str], origin: str | Path) -> None:
    """Refuse units other than those of the contract. `stated` maps a quantity (energy, efg, …) to its unit."""
    for quantity, unit in stated.items():
        if quantity not in UNITS:
            raise InputError(f"{origin}: unknown quantity {quantity!r}, expected one of {', '.join(UNITS)}")
        if unit != UNITS[quantity]:
            raise InputError(f"{origin}: unknown units {unit!r} for {quantity}, expected {UNITS[quantity]!r}")


def _check_cell(atoms: Atoms, where: str) -> None:
    if not np.isfinite(atoms.cell.array).all() or atoms.cell.volume < 1e-6:
        raise InputError(f"{where}: no cell; expected three independent cell vectors")
    if not atoms.pbc.all():
        raise InputError(f'{where}: not periodic in all three directions, expected pbc="T T T"')


def _check_finite(atoms: Atoms, where: str) -> None:
    _refuse(~np.isfinite(atoms.positions).all(axis=1), atoms, where, "position is not finite")
    results = atoms.calc.results if atoms.calc is not None else {}
    for name in ("energy", "stress"):
        if name in results and not np.isfinite(results[name]).all():
            raise InputError(f"{where}: {name} is not finite")
    if "forces" in results:
        _refuse(~np.isfinite(results["forces"]).all(axis=1), atoms, where, "force is not finite")


def _check_distances(atoms: Atoms, where: str) -> None:
    first, second, distance = neighbor_list("ijd", atoms, CLOSEST_DISTANCE)
    if len(first) > 0:
        closest = int(np.argmin(distance))
        i, j = int(first[closest]), int(second[closest])
        raise InputError(
            f"{where}: atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are {distance[closest]:.3f} Å "
            f"apart, closer than {CLOSEST_DISTANCE} Å"
        )


def keep_labels_of(frames: list[Atoms], element: str, name: str = "efg") -> None:
    """Take the labels `efg` or `ms` of all other elements out of the frames."""
    for atoms in frames:
        if name in atoms.arrays:
            atoms.arrays[name][~(atoms.symbols == element)] = np.nan


def label_names(atoms: Atoms) -> list[str]:
    """Names of the labels that a frame has: energy, forces, stress, efg, ms."""
    results = atoms.calc.results if atoms.calc is not None else {}
    return [name for name in UNITS if name in results or (name in TENSORS and labelled(tensors_of(atoms, name)).any())]


def structure_key(atoms: Atoms) -> tuple[bytes, bytes, bytes]:
    """What two frames of one structure share: atoms in the same order and place, and the cell, to 1e-5 Å."""
    # Adding zero turns −0 into 0, which has other bytes.
    return (
        atoms.numbers.tobytes(),
        (atoms.positions.round(5) + 0.0).tobytes(),
        (atoms.cell.array.round(5) + 0.0).tobytes(),
    )


def _check_duplicates(frames: list[Atoms], origin: str | Path) -> None:
    seen: dict[tuple, int] = {}
    for number, atoms in enumerate(frames):
        key = structure_key(atoms)
        if key in seen:
            raise InputError(f"{origin}: frame {number} is a duplicate of frame {seen[key]} (same atoms and cell)")
        seen[key] = number


def check_one_level(frames: list[Atoms], origin: str | Path, names: list[str] | None = None) -> None:
    """Refuse frames of more than one level of theory, as `level_of_theory` in their info states it.

    The words must be equal, but for a mesh "k points 2×2×3" at their end: cells of another size need another mesh,
    so meshes pass if one spacing explains them all, n_i = ⌈|b_i|/spacing⌉ (b_i reciprocal vectors), give or take
    STRAIN; so does one mesh in cells that differ by no more than that. Frames that state nothing are of one level
    among themselves, and of another than those that do; so are those that state no mesh.

    Raises InputError naming `origin` and the frames that differ, by their `names` where those are given.
    """
    names = names or [f"frame {number}" for number in range(len(frames))]
    methods: dict[tuple[str, bool], int] = {}
    numbers, meshes, lengths = [], [], []
    for number, atoms in enumerate(frames):
        text = str(atoms.info.get("level_of_theory", "")).strip()
        found = re.search(r",? ?k points (\d+)×(\d+)×(\d+)$", text)
        methods.setdefault((text[: found.start()] if found else text, found is not None), number)
        if found:
            numbers.append(number)
            meshes.append([int(count) for count in found.groups()])
            lengths.append(np.linalg.norm(atoms.cell.reciprocal(), axis=1))
    if len(methods) > 1:
        stated = "; ".join(
            f"{names[number]}: {text or 'not stated'}"
            + (", k points not stated" if not mesh and (text, True) in methods else "")
            for (text, mesh), number in methods.items()
        )
        raise InputError(f"{origin}: different levels of theory, expected one ({stated})")
    if not meshes:
        return
    mesh, length = np.array(meshes), np.array(lengths)
    at_least = (length / mesh).max(axis=1)
    below = np.where(mesh > 1, length / np.maximum(mesh - 1, 1), np.inf).min(axis=1)
    one_mesh = (mesh == mesh[0]).all() and (np.ptp(length, axis=0) <= STRAIN * length.min(axis=0)).all()
    if at_least.max() > (1 + STRAIN) * below.min() and not one_mesh:
        coarse, dense = numbers[int(np.argmax(at_least))], numbers[int(np.argmin(below))]
        raise InputError(
            f"{origin}: different densities of k points, expected one level of theory: no spacing gives the meshes "
            f"of {names[coarse]} and {names[dense]}"
        )


def _groups_by_phase(frames: list[Atoms]) -> dict[tuple[str, str], list[str]]:
    """Groups of each (material, phase), sorted. Raises InputError where one group spans two of them."""
    home: dict[str, tuple[str, str]] = {}
    for number, atoms in enumerate(frames):
        group, phase = str(atoms.info["group"]), (str(atoms.info["material"]), str(atoms.info["phase"]))
        if home.setdefault(group, phase) != phase:
            raise InputError(f"frame {number}: group {group!r} holds frames of {home[group]} and of {phase}")
    phases = defaultdict(list)
    for group in sorted(home):
        phases[home[group]].append(group)
    return {phase: phases[phase] for phase in sorted(phases)}


def near_copies(frames: list[Atoms], distance_A: float) -> dict[tuple[str, str], tuple[float, int, int]]:
    """Pairs of groups of which some frames are near copies: the closest two of them, as (distance, frame, frame).

    Frames of the same atoms in the same order, in cells that differ by less than 2 %; their distance is the root of
    the mean squared displacement of the atoms (nearest images, centres of mass aside), Å, below `distance_A`.
    """
    alike = defaultdict(list)
    for number, atoms in enumerate(frames):
        alike[atoms.numbers.tobytes()].append(number)
    found: dict[tuple[str, str], tuple[float, int, int]] = {}
    for numbers in alike.values():
        places = np.array([frames[number].get_scaled_positions(wrap=False) for number in numbers])
        cells = np.array([frames[number].cell.array for number in numbers])
        groups = np.array([str(frames[number].info["group"]) for number in numbers])
        for n in range(1, len(numbers)):
            strain = np.abs(cells[:n] - cells[n]).max(axis=(1, 2)) / np.linalg.norm(cells[n], axis=1).min()
            others = np.flatnonzero((groups[:n] != groups[n]) & (strain < 0.02))
            moved = places[others] - places[n]
            moved -= np.round(moved)
            moved = (moved - moved.mean(axis=1, keepdims=True)) @ cells[n]
            for other, distance in zip(others, np.sqrt((moved**2).sum(axis=2).mean(axis=1)), strict=True):
                pair = tuple(sorted((groups[other], groups[n])))
                if distance < min(distance_A, found.get(pair, (np.inf,))[0]):
                    found[pair] = (float(distance), numbers[other], numbers[n])
    return found


def leave_group_out_folds(
    frames: list[Atoms], n_folds: int | None = None, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds (training, held-out) of frame indices in which whole groups are held out, each exactly once.

    With `n_folds` the groups of each phase are dealt in turn over the folds, in an order that `seed` shuffles;
    without it every group is a fold of its own. Raises InputError with fewer groups than folds, or than two.
    """
    rng = np.random.default_rng(seed)
    dealt = [
        group
        for groups in _groups_by_phase(frames).values()
        for group in (groups[i] for i in rng.permutation(len(groups)))
    ]
    n_folds = len(dealt) if n_folds is None else n_folds
    if not 2 <= n_folds <= len(dealt):
        raise InputError(f"{n_folds} folds out of {len(dealt)} groups; expected at least 2 folds and a group for each")
    fold_of = {group: position % n_folds for position, group in enumerate(dealt)}
    folds = np.array([fold_of[str(atoms.info["group"])] for atoms in frames])
    return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(n_folds)]


def leave_fold_out(frames: list[Atoms], n_folds: int, seed: int, fold: int) -> tuple[list[Atoms], list[Atoms]]:
    """Frames without one of the folds of `leave_group_out_folds`, and that fold. Raises InputError for no such fold."""
    if not 0 <= fold < n_folds:
        raise InputError(f"fold {fold}; expected 0 to {n_folds - 1}, as there are {n_folds}")
    training, held_out = leave_group_out_folds(frames, n_folds, seed)[fold]
    return [frames[i] for i in training], [frames[i] for i in held_out]
