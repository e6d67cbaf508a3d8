"""Heads: from the equivariant features of an atom to the irreducible parts of its tensor, or to invariant numbers.

Each part is a sum over channels, gated by functions of the invariant features, so rotations and reflections stay exact
symmetries. The antisymmetric part is an axial vector, which inversion leaves as it is; an l = 1 feature itself would
change sign. It is made of cross products of polar vectors and of commutators of symmetric tensors, which are
antisymmetric: of an atom's own features, and, summed over neighbours, of the direction to them with theirs.
"""

import torch
from torch import nn

from insilico_nmr.features import Features, NeighbourMessage
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.tensors import L2_BASIS, LEVI_CIVITA


def _perceptron(features: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, outputs))


class InvariantHead(nn.Module):
    """Invariant numbers of each atom, from its scalars."""

    def __init__(self, size: TensorArchitecture, outputs: int = 1):
        super().__init__()
        self.network = _perceptron(size.features, outputs)

    def forward(self, features: Features, _: dict[str, torch.Tensor]) -> torch.Tensor:
        """Shape (n, outputs)."""
        return self.network(features.scalars)


def commutators() -> torch.Tensor:
    """AB − BA of two matrices of `tensors.L2_BASIS` as an axial vector, shape (5, 5, 3), float64."""
    products = torch.einsum("aij,bjk->abik", *2 * [torch.tensor(L2_BASIS)])
    return torch.einsum("abik,cik->abc", products, torch.tensor(LEVI_CIVITA))


def axial_couplings() -> torch.Tensor:
    """Couplings (9, 9, 3) of harmonics up to l = 2 and multipoles of the same l to an axial vector (x, y, z)."""
    couplings = torch.zeros(9, 9, 3, dtype=torch.float64)
    order = [1, 2, 0]  # of harmonics of l = 1: y, z, x
    for part, block in ((slice(1, 4), torch.tensor(LEVI_CIVITA)[order][:, order]), (slice(4, 9), commutators())):
        couplings[part, part] = block * (3 / block.square().sum()).sqrt()
    return couplings


class AxialHead(nn.Module):
    """An axial vector of each atom, from cross products of vectors and commutators of quadrupoles."""

    def __init__(self, size: TensorArchitecture):
        super().__init__()
        features = size.features
        self.left = nn.Linear(features, features, bias=False)
        self.right = nn.Linear(features, features, bias=False)
        self.left_tensor = nn.Linear(features, features, bias=False)
        self.right_tensor = nn.Linear(features, features, bias=False)
        self.message = NeighbourMessage(size, axial_couplings(), 2)
        self.gate = _perceptron(features, 3 * features)
        self.contract = nn.Linear(3 * features, 1, bias=False)
        self._commutators = commutators()  # not a buffer: a network made double stays exact

    def forward(self, features: Features, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Shape (n, 3): x, y, z."""
        crossed = torch.linalg.cross(self.left(features.vectors), self.right(features.vectors), dim=1)
        left, right = self.left_tensor(features.quadrupoles), self.right_tensor(features.quadrupoles)
        commuted = torch.einsum("naf,nbf,abc->ncf", left, right, self._commutators.to(left))
        axial = torch.cat([crossed, commuted, self.message(features, batch)], dim=-1)
        return self.contract(axial * self.gate(features.scalars)[:, None]).squeeze(-1)


class SymmetricTracelessHead(nn.Module):
    """Five components of a symmetric traceless tensor of each atom, from its quadrupoles."""

    def __init__(self, size: TensorArchitecture):
        super().__init__()
        features = size.features
        self.mix = nn.Linear(features, features, bias=False)
        self.gate = _perceptron(features, features)
        self.contract = nn.Linear(features, 1, bias=False)

    def forward(self, features: Features, _: dict[str, torch.Tensor]) -> torch.Tensor:
        """Shape (n, 5), in the order of `tensors.L2_BASIS`."""
        return self.contract(self.mix(features.quadrupoles) * self.gate(features.scalars)[:, None]).squeeze(-1)


HEADS = {"isotropic": InvariantHead, "antisymmetric": AxialHead, "symmetric": SymmetricTracelessHead}


class TensorHead(nn.Module):
    """The parts of a tensor side by side, in the order of `quantities.Quantity.parts`."""

    def __init__(self, parts: tuple[str, ...], size: TensorArchitecture):
        super().__init__()
        self.parts = nn.ModuleDict({part: HEADS[part](size) for part in parts})

    def forward(self, features: Features, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Normalised components, shape (n, c)."""
        return torch.cat([head(features, batch) for head in self.parts.values()], dim=1)
