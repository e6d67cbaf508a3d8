"""Equivariant networks that a head can stand on: each gives scalars, vectors and quadrupoles (l = 2) of every atom.

SO3net has quadrupoles of its own. PaiNN (K. T. Schütt, O. T. Unke, M. Gastegger, ICML 2021) has none; they are made
here.
"""

from dataclasses import dataclass

import torch
from torch import nn

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.convolution import Coupling, convolve
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.so3net import FastSO3net, couplings, degrees, harmonics
from insilico_nmr.tensors import L2_BASIS

import schnetpack.nn as snn  # isort: skip
import schnetpack.properties as properties  # isort: skip
from schnetpack.representation import PaiNN  # isort: skip


@dataclass(frozen=True)
class Features:
    """Of n atoms, F channels each: `scalars` (n, F), polar `vectors` (n, 3, F; x, y, z), `quadrupoles` (n, 5, F).

    Quadrupoles are in the order of `tensors.L2_BASIS`.
    """

    scalars: torch.Tensor
    vectors: torch.Tensor
    quadrupoles: torch.Tensor


class SO3Backbone(nn.Module):
    """SO3net, l ≤ 2."""

    def __init__(self, size: TensorArchitecture):
        super().__init__()
        self.network = FastSO3net(size.features, size.interactions, size.radial, size.cutoff, size.harmonics)

    def forward(self, batch: dict[str, torch.Tensor]) -> Features:
        """Features of a batch in SchNetPack's keys."""
        multipoles = self.network(batch)["multipole_representation"]
        return Features(multipoles[:, 0], _cartesian(multipoles[:, 1:4]), multipoles[:, 4:9])


class PaiNNBackbone(nn.Module):
    """PaiNN, with quadrupoles from products of pairs of its mixed vectors, and from a last message of the neighbours.

    Products alone would not do: on a site with inversion symmetry every vector vanishes, but the field gradient
    need not. In the message neighbours act with their scalars, vectors and products.
    """

    def __init__(self, size: TensorArchitecture):
        super().__init__()
        self.harmonics = size.harmonics
        self.network = PaiNN(
            n_atom_basis=size.features,
            n_interactions=size.interactions,
            radial_basis=snn.GaussianRBF(n_rbf=size.radial, cutoff=size.cutoff),
            cutoff_fn=snn.CosineCutoff(size.cutoff),
        )
        self.left = nn.Linear(size.features, size.features, bias=False)
        self.right = nn.Linear(size.features, size.features, bias=False)
        self.filters = nn.Linear(size.radial, (size.harmonics + 1) * size.features)
        self.sender = nn.Linear(size.features, size.features, bias=False)
        # Not a buffer: a network made double stays exact.
        self._to_quadrupoles = Coupling.of(couplings(size.harmonics)[:, :, 4:9], degrees(size.harmonics))

    def forward(self, batch: dict[str, torch.Tensor]) -> Features:
        """Features of a batch in SchNetPack's keys."""
        outputs = self.network(dict(batch))
        scalars, vectors = outputs["scalar_representation"], outputs["vector_representation"]
        basis = torch.as_tensor(L2_BASIS).to(vectors)
        products = torch.einsum("nif,njf,cij->ncf", self.left(vectors), self.right(vectors), basis)
        between = batch[properties.Rij]
        distance = torch.linalg.norm(between, dim=1, keepdim=True)
        radial, fade = self.network.radial_basis(distance.squeeze(1)), self.network.cutoff_fn(distance)
        message = convolve(
            self.sender(torch.cat([scalars[:, None], _spherical(vectors), products], dim=1)),
            batch[properties.idx_i],
            batch[properties.idx_j],
            self._to_quadrupoles.strengths(harmonics(between / distance, self.harmonics)),
            (self.filters(radial) * fade).unflatten(1, (self.harmonics + 1, -1)),
            self._to_quadrupoles,
        )
        return Features(scalars, vectors, products + message)


def _cartesian(vectors: torch.Tensor) -> torch.Tensor:
    """Harmonics of l = 1, in SchNetPack's order y, z, x, as x, y, z; shape (n, 3, F)."""
    return torch.roll(vectors, 1, 1)


def _spherical(vectors: torch.Tensor) -> torch.Tensor:
    """The inverse of `_cartesian`."""
    return torch.roll(vectors, -1, 1)


BACKBONES = {"so3net": SO3Backbone, "painn": PaiNNBackbone}
