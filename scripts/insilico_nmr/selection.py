"""Which snapshots to label next: those that the committees disagree on, far apart from one another and from the data.

Two steps. A candidate is uncertain by the spread of its forces and of its tensors over the committees, each in units of
the error that the committee is known to make; the more uncertain half goes on. Of these, farthest-point selection (Y.
Eldar et al., IEEE Trans. Image Process. 6, 1305 (1997)) takes one after the other that is least like the data and those
taken, so that a run does not send ten copies of one event.
"""

from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list

from insilico_nmr.errors import InputError

CUTOFF_A = 6.0
BIN_A = 0.2
SMEARING_A = 0.15


def descriptor(atoms: Atoms, elements: list[str]) -> np.ndarray:
    """Smoothed radial distributions of all pairs of elements, shape (pairs × bins,), neighbours per atom and bin.

    The bins lie where the shells differ, below CUTOFF_A; frames of any size and cell compare, as long as the elements
    are the same.
    """
    first, second, distances = neighbour_list("ijd", atoms, CUTOFF_A + 3 * SMEARING_A)
    symbols = np.array(atoms.get_chemical_symbols())
    centres = np.arange(1.0, CUTOFF_A, BIN_A)
    parts = []
    for a, b in combinations_with_replacement(elements, 2):
        mine = distances[(symbols[first] == a) & (symbols[second] == b)]
        # Far shells hold more neighbours; weighed by 1/r² they count as much as near ones.
        waves = np.exp(-0.5 * ((centres[:, None] - mine) / SMEARING_A) ** 2) / np.maximum(mine, 1.0) ** 2
        parts.append(waves.sum(axis=1) / max(1, int((symbols == a).sum())))
    return np.concatenate(parts)


def uncertainty(
    force_spread: np.ndarray, tensor_spread: np.ndarray, force_error: float, tensor_error: float
) -> np.ndarray:
    """Spreads of candidates (n,) in units of the committees' errors on frames not seen, added in quadrature."""
    return np.hypot(np.asarray(force_spread) / force_error, np.asarray(tensor_spread) / tensor_error)


def choose(descriptors: np.ndarray, known: np.ndarray, uncertainties: np.ndarray, count: int) -> list[int]:
    """Indices of `count` candidates, or fewer where half of them is fewer; first the most uncertain half, then apart.

    descriptors : (n, d) of the candidates.  known : (m, d) of the data, m ≥ 1.  uncertainties : (n,).
    Raises InputError for no candidates, or values that are not finite.
    """
    if len(descriptors) == 0:
        raise InputError("no snapshots to choose from")
    if not (np.isfinite(descriptors).all() and np.isfinite(uncertainties).all()):
        raise InputError("snapshots to choose from have descriptors or uncertainties that are not finite")
    pool = np.argsort(-uncertainties, kind="stable")[: max(1, (len(descriptors) + 1) // 2)]
    nearest = np.linalg.norm(descriptors[pool, None] - known[None], axis=2).min(axis=1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(pool)):
        best = int(nearest.argmax())
        chosen.append(int(pool[best]))
        nearest = np.minimum(nearest, np.linalg.norm(descriptors[pool] - descriptors[pool[best]], axis=1))
        nearest[best] = -np.inf
    return chosen
