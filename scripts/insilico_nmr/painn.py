"""PaiNN as an interatomic potential: energy, forces and stress from one equivariant network.

E = Σ_i [e(Z_i) + s·f(q_i)] + Σ_{i<j} V_ZBL(r_ij)·f_c(r_ij): references e by least squares, s the scale of the forces,
q_i PaiNN's invariant features and V_ZBL the universal screened nuclear repulsion, which keeps atoms apart where no
snapshot says anything. Forces and stress are derivatives with respect to the vectors between neighbours, so cells
smaller than the cut-off need no care. PaiNN: K. T. Schütt, O. T. Unke, M. Gastegger, ICML 2021. ZBL: J. F. Ziegler,
J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (1985).
"""

from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.units import Bohr, Hartree
from torch import nn

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.networks import Architecture, graph, load_state

import schnetpack.nn as snn  # isort: skip
import schnetpack.properties as properties  # isort: skip
from schnetpack.data.loader import _atoms_collate_fn as collate  # isort: skip
from schnetpack.representation import PaiNN  # isort: skip

VOLUME = "volume"
ZBL = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


def screened_repulsion(first: torch.Tensor, second: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Ziegler-Biersack-Littmark repulsion (eV) of nuclei with these charges at `distance` (Å), all of one shape."""
    screening = 0.8854 * Bohr / (first**0.23 + second**0.23)
    phi = sum(weight * torch.exp(-decay * distance / screening) for weight, decay in ZBL)
    return Hartree * Bohr * first * second / distance * phi


class PaiNNPotential(nn.Module):
    """The network. `references` (eV) and `scale` (eV) are buffers, so that a file of tensors is a whole potential."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        features = architecture.features
        self.cutoff = architecture.cutoff
        self.fade = snn.CosineCutoff(architecture.cutoff)
        self.representation = PaiNN(
            n_atom_basis=features,
            n_interactions=architecture.interactions,
            radial_basis=snn.GaussianRBF(n_rbf=architecture.radial, cutoff=architecture.cutoff),
            cutoff_fn=self.fade,
        )
        self.head = nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, 1))
        self.register_buffer("references", torch.zeros(119, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(1))

    def repulsion(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Screened nuclear repulsion of each atom, half of every pair, shape (atoms,), eV."""
        species, first = batch[properties.Z], batch[properties.idx_i]
        distance = torch.linalg.norm(batch[properties.Rij], dim=1)
        charges = species.to(distance.dtype)
        pair = screened_repulsion(charges[first], charges[batch[properties.idx_j]], distance) * self.fade(distance)
        return pair.new_zeros(len(species)).index_add(0, first, 0.5 * pair)

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Energies (structures,) eV in float64, forces (atoms, 3) eV/Å and stresses (structures, 3, 3) eV/Å³."""
        species, first, structure = batch[properties.Z], batch[properties.idx_i], batch[properties.idx_m]
        with torch.enable_grad():
            vectors = batch[properties.Rij].detach().requires_grad_(True)
            batch = {**batch, properties.Rij: vectors}
            learnt = self.head(self.representation(dict(batch))["scalar_representation"]).squeeze(-1)
            atomic = self.scale * learnt + self.repulsion(batch)
            (slope,) = torch.autograd.grad(atomic.sum(), vectors, create_graph=self.training)
        # Neighbour vectors point from the first atom to the second.
        forces = slope.new_zeros(len(species), 3).index_add(0, first, slope)
        forces = forces.index_add(0, batch[properties.idx_j], -slope)
        volumes = batch[VOLUME]
        virial = slope.new_zeros(len(volumes), 3, 3).index_add(
            0, structure[first], slope[:, :, None] * vectors[:, None, :]
        )
        energies = self.references.new_zeros(len(volumes)).index_add(
            0, structure, atomic.double() + self.references[species]
        )
        return energies, forces, virial / volumes[:, None, None]


def inputs_of(atoms: Atoms, cutoff: float, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Input of one structure: its graph and its volume."""
    return graph(atoms, cutoff, dtype) | {VOLUME: torch.tensor([atoms.get_volume()], dtype=dtype)}


def predict(network: PaiNNPotential, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (n, 3; eV/Å) and stress (3, 3; eV/Å³) of one periodic structure."""
    network.eval()
    batch = collate([inputs_of(atoms, network.cutoff, network.scale.dtype)])
    energy, forces, stress = (values.detach().double().numpy() for values in network(batch))
    return float(energy[0]), forces, 0.5 * (stress[0] + stress[0].T)


class PaiNNCalculator(Calculator):
    """ASE calculator of one network."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, network: PaiNNPotential):
        super().__init__()
        self.network = network

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """All three properties at once. Raises CalculationFailed where positions are, or a result is, not finite."""
        super().calculate(atoms, properties, system_changes)
        if not np.isfinite(self.atoms.positions).all():
            raise CalculationFailed("positions are not finite")
        energy, forces, stress = predict(self.network, self.atoms)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise CalculationFailed("energy or forces are not finite")
        self.results = {"energy": energy, "forces": forces, "stress": stress.flat[[0, 4, 8, 5, 2, 1]]}


def load_network(architecture: Architecture, state: Path) -> PaiNNPotential:
    """A trained network, from its file of tensors. Raises InputError for a torn or foreign file."""
    network = PaiNNPotential(architecture)
    load_state(state, network)
    return network.eval()
