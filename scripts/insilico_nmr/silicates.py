"""The 29Si benchmark: crystals, splits, and errors, the same for every code that is measured on it."""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms

from insilico_nmr.dataset import check_frames, labelled, leave_fold_out, ms, read_frames, structure_key


def read_crystals(path: Path) -> list[Atoms]:
    """What read_si29.py wrote; the table has some crystals twice, with other tensors."""
    crystals = read_frames(path)
    check_frames(crystals, path, copies=True)
    return crystals


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """Data and fold, which every code takes in the same words."""
    parser.add_argument("dataset", type=Path, help="what read_si29.py wrote")
    parser.add_argument("--split", choices=["grouped", "random"], required=True, help="what is held out")
    parser.add_argument("--member", type=int, default=0, help="number of the fold held out (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=10, help="how many there are (default: %(default)s)")


def split(crystals: list[Atoms], kind: str, folds: int, fold: int, seed: int) -> tuple[list[Atoms], list[Atoms]]:
    """Training and test crystals: of `kind` "random" by crystals, of "grouped" by groups of like ones."""
    if kind == "random":
        crystals = [atoms.copy() for atoms in crystals]
        for number, atoms in enumerate(crystals):
            atoms.info["group"] = f"crystal_{number}"
    return leave_fold_out(crystals, folds, seed, fold)


def labels_of(crystals: list[Atoms]) -> np.ndarray:
    """All tensors (n, 3, 3) of labelled atoms, in order."""
    return np.concatenate([ms(atoms)[labelled(ms(atoms))] for atoms in crystals])


def mean_errors(difference: np.ndarray) -> dict[str, float]:
    """Mean absolute errors (ppm) of tensors, given differences (n, 3, 3): over nine components, and isotropic."""
    isotropic = np.trace(difference, axis1=1, axis2=2) / 3
    return {"component": np.abs(difference).mean(), "isotropic": np.abs(isotropic).mean()}


def disagreement(crystals: list[Atoms]) -> dict[str, float]:
    """Mean absolute differences between the tensors of crystals that have the same atoms in the same places."""
    first: dict[tuple, Atoms] = {}
    differences = []
    for atoms in crystals:
        other = first.setdefault(structure_key(atoms), atoms)
        if other is not atoms:
            both = labelled(ms(atoms)) & labelled(ms(other))
            differences.append(ms(atoms)[both] - ms(other)[both])
    return mean_errors(np.concatenate(differences)) if differences else {"component": np.nan, "isotropic": np.nan}
