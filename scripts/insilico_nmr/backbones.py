"""Equivariant networks that a head can stand on: each gives scalars, vectors and quadrupoles (l = 2) of every atom.

SO3net has quadrupoles of its own. PaiNN (K. T. Schütt, O. T. Unke, M. Gastegger, ICML 2021) has none; they are made
here.
"""

import torch
from torch import nn

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.features import Features, NeighbourMessage
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.so3net import FastSO3net, couplings
from insilico_nmr.tensors import L2_BASIS

import schnetpack.nn as snn  # isort: skip
from schnetpack.representation import PaiNN  # isort: skip


class SO3Backbone(nn.Module):
    """SO3net, l ≤ 2."""

    def __init__(self, size: TensorArchitecture):
        super().__init__()
        self.network = FastSO3net(size.features, size.interactions, size.radial, size.cutoff, size.harmonics)

    def forward(self, batch: dict[str, torch.Tensor]) -> Features:
        """Features of a batch in SchNetPack's keys."""
        # SchNetPack's l = 1 is in the order y, z, x.
        multipoles = self.network(batch)["multipole_representation"]
        return Features(multipoles[:, 0], torch.roll(multipoles[:, 1:4], 1, 1), multipoles[:, 4:9])


class PaiNNBackbone(nn.Module):
    """PaiNN, with quadrupoles from products of pairs of its mixed vectors, and from a last message of the neighbours.

    Products alone would not do: on a site with inversion symmetry every vector vanishes, but the field gradient
    need not. In the message neighbours act with their scalars, vectors and products.
    """

    def __init__(self, size: TensorArchitecture):
        super().__init__()
        self.network = PaiNN(
            n_atom_basis=size.features,
            n_interactions=size.interactions,
            radial_basis=snn.GaussianRBF(n_rbf=size.radial, cutoff=size.cutoff),
            cutoff_fn=snn.CosineCutoff(size.cutoff),
        )
        self.left = nn.Linear(size.features, size.features, bias=False)
        self.right = nn.Linear(size.features, size.features, bias=False)
        self.message = NeighbourMessage(size, couplings(size.harmonics)[:, :, 4:9], size.harmonics)

    def forward(self, batch: dict[str, torch.Tensor]) -> Features:
        """Features of a batch in SchNetPack's keys."""
        outputs = self.network(dict(batch))
        scalars, vectors = outputs["scalar_representation"], outputs["vector_representation"]
        basis = torch.as_tensor(L2_BASIS).to(vectors)
        products = torch.einsum("nif,njf,cij->ncf", self.left(vectors), self.right(vectors), basis)
        message = self.message(Features(scalars, vectors, products), batch)
        return Features(scalars, vectors, products + message)


BACKBONES = {"so3net": SO3Backbone, "painn": PaiNNBackbone}
