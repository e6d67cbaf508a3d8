"""Tensor quantities that a model can learn, and their irreducible parts as orthonormal components.

A 3×3 tensor is the sum of an isotropic part (one number), an antisymmetric one (an axial vector: rotations turn it,
inversion leaves it) and a symmetric traceless one (five numbers, l = 2). Components refer to matrices of Frobenius
norm 1, so that squares of components add up to the square of the tensor.
"""

from dataclasses import dataclass

import numpy as np

from insilico_nmr.tensors import L2_BASIS, LEVI_CIVITA, from_components, to_components

# Basis matrices of each part, shape (components, 3, 3).
PARTS = {
    "isotropic": np.eye(3)[None] / np.sqrt(3),
    "antisymmetric": LEVI_CIVITA / np.sqrt(2),
    "symmetric": L2_BASIS,
}


@dataclass(frozen=True)
class Quantity:
    """A tensor of each atom: its array in a dataset, its unit, its irreducible parts in the order of components."""

    name: str
    unit: str
    parts: tuple[str, ...]

    @property
    def basis(self) -> np.ndarray:
        """Basis matrices, shape (components, 3, 3)."""
        return np.concatenate([PARTS[part] for part in self.parts])

    @property
    def sizes(self) -> list[int]:
        """Number of components of each part."""
        return [len(PARTS[part]) for part in self.parts]

    def components(self, tensors: np.ndarray) -> np.ndarray:
        """Tensors (..., 3, 3) to components (..., c)."""
        return to_components(tensors, self.basis)

    def tensors(self, components: np.ndarray) -> np.ndarray:
        """Components (..., c) to tensors (..., 3, 3)."""
        return from_components(components, self.basis)


QUANTITIES = {
    "efg": Quantity("efg", "atomic units of electric field gradient", ("symmetric",)),
    "ms": Quantity("ms", "ppm", ("isotropic", "antisymmetric", "symmetric")),
}
