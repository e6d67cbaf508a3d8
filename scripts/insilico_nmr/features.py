"""Equivariant features of atoms, and messages of them between neighbours."""

from dataclasses import dataclass

import torch
from torch import nn

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.convolution import Coupling, convolve
from insilico_nmr.networks import Architecture
from insilico_nmr.so3net import degrees, harmonics

import schnetpack.nn as snn  # isort: skip
import schnetpack.properties as properties  # isort: skip


@dataclass(frozen=True)
class Features:
    """Of n atoms, F channels each: `scalars` (n, F), polar `vectors` (n, 3, F; x, y, z), `quadrupoles` (n, 5, F).

    Quadrupoles are in the order of `tensors.L2_BASIS`.
    """

    scalars: torch.Tensor
    vectors: torch.Tensor
    quadrupoles: torch.Tensor

    @property
    def multipoles(self) -> torch.Tensor:
        """All of them, (n, 9, F), in SchNetPack's order of harmonics, in which vectors are y, z, x."""
        return torch.cat([self.scalars[:, None], torch.roll(self.vectors, -1, 1), self.quadrupoles], dim=1)


class NeighbourMessage(nn.Module):
    """A sum over neighbours of their mixed features, coupled to harmonics, with radial filters of its own."""

    def __init__(self, size: Architecture, coefficients: torch.Tensor, lmax: int):
        """`coefficients` (a, b, c) couple harmonics a up to `lmax` and multipoles b to what is wanted, c."""
        super().__init__()
        self.lmax = lmax
        self.radial_basis = snn.GaussianRBF(n_rbf=size.radial, cutoff=size.cutoff)
        self.cutoff_fn = snn.CosineCutoff(size.cutoff)
        self.filters = nn.Linear(size.radial, (lmax + 1) * size.features)
        self.mix = nn.Linear(size.features, size.features, bias=False)
        self._coupling = Coupling.of(coefficients, degrees(lmax))  # no buffer: a network made double stays exact

    def forward(self, features: Features, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Shape (n, c, F)."""
        vectors = batch[properties.Rij]
        distance = torch.linalg.norm(vectors, dim=1, keepdim=True)
        filters = self.filters(self.radial_basis(distance.squeeze(1))) * self.cutoff_fn(distance)
        return convolve(
            self.mix(features.multipoles),
            batch[properties.idx_i],
            batch[properties.idx_j],
            self._coupling.strengths(harmonics(vectors / distance, self.lmax)),
            filters.unflatten(1, (self.lmax + 1, -1)),
            self._coupling,
        )
