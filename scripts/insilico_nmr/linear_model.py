"""The simplest equivariant model of field gradients: a sum over neighbours of radial functions times r̂r̂ − 1/3.

V_i = Σ_j Σ_k c_k(Z_j) g_k(r_ij) [r̂_ij r̂_ij − 1/3] with Gaussians g_k that a cosine fades out at the cut-off: point
charges with a charge that depends on distance. Its coefficients are a least-squares fit, so it takes seconds; a network
has to beat it.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list

from insilico_nmr.tensors import from_components, to_components

RADIAL = 9  # functions for each element of the neighbour
RIDGE = 1e-6  # of the largest diagonal element


def features(atoms: Atoms, elements: tuple[int, ...], cutoff: float) -> np.ndarray:
    """Sums over neighbours, shape (n, 5, k): k = 9 radial functions for each of `elements` (atomic numbers)."""
    first, second, vectors, distance = neighbour_list("ijDd", atoms, cutoff)
    centres, width = np.linspace(1.0, cutoff, RADIAL, retstep=True)
    radial = np.exp(-(((distance[:, None] - centres) / width) ** 2) / 2)
    radial *= 0.5 * (1 + np.cos(np.pi * distance / cutoff))[:, None]
    directions = vectors / distance[:, None]
    angular = to_components(directions[:, :, None] * directions[:, None, :])
    pairs = angular[:, :, None] * radial[:, None, :]
    summed = np.zeros((len(atoms), 5, len(elements), RADIAL))
    for number, element in enumerate(elements):
        of_element = atoms.numbers[second] == element
        np.add.at(summed[:, :, number], first[of_element], pairs[of_element])
    return summed.reshape(len(atoms), 5, -1)


@dataclass(frozen=True)
class LinearModel:
    """Coefficients (k) for the atoms of one element."""

    elements: tuple[int, ...]
    cutoff: float
    coefficients: np.ndarray

    def predict(self, atoms: Atoms) -> np.ndarray:
        """Field gradients (n, 3, 3) of every atom; of other elements than the fitted one they mean nothing."""
        return from_components(features(atoms, self.elements, self.cutoff) @ self.coefficients)


def fit_linear(frames: list[Atoms], tensors: list[np.ndarray], masks: list[np.ndarray], cutoff: float) -> LinearModel:
    """Least squares on the `tensors` (n, 3, 3) of the atoms in each frame's mask (n)."""
    elements = tuple(sorted({int(number) for atoms in frames for number in atoms.numbers}))
    design = np.concatenate(
        [
            features(atoms, elements, cutoff)[mask].reshape(5 * mask.sum(), -1)
            for atoms, mask in zip(frames, masks, strict=True)
        ]
    )
    labels = np.concatenate([to_components(t[mask]).ravel() for t, mask in zip(tensors, masks, strict=True)])
    normal = design.T @ design
    normal += RIDGE * normal.diagonal().max() * np.eye(len(normal))
    return LinearModel(elements, cutoff, np.linalg.solve(normal, design.T @ labels))
