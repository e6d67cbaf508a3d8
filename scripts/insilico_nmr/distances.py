"""Distances from each atom of an element to its nearest neighbour of an element: no cut-off has to be chosen."""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list


def element_pairs(symbols: Iterable[str], mobile: str) -> list[tuple[str, str]]:
    """Pairs (centre, neighbour) of the elements among `symbols`, each once, like pairs too.

    The mobile element, or else the more abundant one, is the centre: it has a distance for more atoms, and where every
    ligand has one centre, all bonds are among the distances rather than the shortest of each polyhedron.
    """
    counts = Counter(symbols)
    ranked = sorted(counts, key=lambda element: (element != mobile, -counts[element], element))
    return list(combinations_with_replacement(ranked, 2))


def nearest_distances(atoms: Atoms, centre: str, neighbour: str) -> np.ndarray:
    """Distance in Å of every atom of `centre` to the nearest other one of `neighbour`, images counted, shape (n,).

    `atoms` are periodic in all directions. Empty where the structure lacks one of the elements.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    if not {centre, neighbour} <= set(symbols):
        return np.empty(0)
    nearest, reach = np.array([np.inf]), 2.5
    while np.isinf(nearest).any():
        reach *= 2
        first, second, distance = neighbour_list("ijd", atoms, reach)
        wanted = symbols[second] == neighbour
        nearest = np.full(len(atoms), np.inf)
        np.minimum.at(nearest, first[wanted], distance[wanted])
        nearest = nearest[symbols == centre]
    return nearest
