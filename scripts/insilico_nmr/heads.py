"""Heads: from the equivariant features of an atom to the irreducible parts of its tensor, or to invariant numbers.

Each part is a sum over channels, gated by functions of the invariant features, so rotations and reflections stay exact
symmetries. The antisymmetric part is an axial vector, which inversion leaves as it is; an l = 1 feature itself would
change sign. It is made of cross products of polar vectors and of commutators of symmetric tensors, which are
antisymmetric and, as shieldings of silicates show, carry most of it.
"""

import torch
from torch import nn

from insilico_nmr.backbones import Features
from insilico_nmr.tensors import L2_BASIS, LEVI_CIVITA


def _perceptron(features: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, outputs))


class InvariantHead(nn.Module):
    """Invariant numbers of each atom, from its scalars."""

    def __init__(self, features: int, outputs: int = 1):
        super().__init__()
        self.network = _perceptron(features, outputs)

    def forward(self, features: Features) -> torch.Tensor:
        """Shape (n, outputs)."""
        return self.network(features.scalars)


class AxialHead(nn.Module):
    """An axial vector of each atom, from cross products of its vectors and commutators of its quadrupoles."""

    def __init__(self, features: int):
        super().__init__()
        self.left = nn.Linear(features, features, bias=False)
        self.right = nn.Linear(features, features, bias=False)
        self.left_tensor = nn.Linear(features, features, bias=False)
        self.right_tensor = nn.Linear(features, features, bias=False)
        self.gate = _perceptron(features, 2 * features)
        self.contract = nn.Linear(2 * features, 1, bias=False)
        # AB − BA of two matrices of the basis, as an axial vector. Not a buffer: a network made double stays exact.
        products = torch.einsum("aij,bjk->abik", *2 * [torch.tensor(L2_BASIS)])
        self._commutator = torch.einsum("abik,cik->abc", products, torch.tensor(LEVI_CIVITA))

    def forward(self, features: Features) -> torch.Tensor:
        """Shape (n, 3): x, y, z."""
        crossed = torch.linalg.cross(self.left(features.vectors), self.right(features.vectors), dim=1)
        left, right = self.left_tensor(features.quadrupoles), self.right_tensor(features.quadrupoles)
        commuted = torch.einsum("naf,nbf,abc->ncf", left, right, self._commutator.to(left))
        axial = torch.cat([crossed, commuted], dim=-1)
        return self.contract(axial * self.gate(features.scalars)[:, None]).squeeze(-1)


class SymmetricTracelessHead(nn.Module):
    """Five components of a symmetric traceless tensor of each atom, from its quadrupoles."""

    def __init__(self, features: int):
        super().__init__()
        self.mix = nn.Linear(features, features, bias=False)
        self.gate = _perceptron(features, features)
        self.contract = nn.Linear(features, 1, bias=False)

    def forward(self, features: Features) -> torch.Tensor:
        """Shape (n, 5), in the order of `tensors.L2_BASIS`."""
        return self.contract(self.mix(features.quadrupoles) * self.gate(features.scalars)[:, None]).squeeze(-1)


HEADS = {"isotropic": InvariantHead, "antisymmetric": AxialHead, "symmetric": SymmetricTracelessHead}


class TensorHead(nn.Module):
    """The parts of a tensor side by side, in the order of `quantities.Quantity.parts`."""

    def __init__(self, parts: tuple[str, ...], features: int):
        super().__init__()
        self.parts = nn.ModuleDict({part: HEADS[part](features) for part in parts})

    def forward(self, features: Features) -> torch.Tensor:
        """Normalised components, shape (n, c)."""
        return torch.cat([head(features) for head in self.parts.values()], dim=1)
