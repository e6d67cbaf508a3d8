"""Training of PaiNN potentials on energies, forces and stresses, and their errors on snapshots never seen.

Loss: mean squared residuals of energy per atom, of force components and of stress components, each in units of the
error that weighs one, added up.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from ase import Atoms

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.networks import Architecture
from insilico_nmr.painn import PaiNNPotential, inputs_of
from insilico_nmr.training import Progress, Schedule, Task, fit

import schnetpack.properties as properties  # isort: skip


@dataclass(frozen=True)
class Weights:
    """Errors at which a residual counts one: eV/atom, eV/Å, eV/Å³."""

    energy: float
    force: float
    stress: float


class PotentialTask(Task):
    """Learning of energies, forces and stresses; a structure without stress (NaN) teaches none."""

    def __init__(self, network: PaiNNPotential, schedule: Schedule, weights: Weights):
        super().__init__(network, schedule)
        self.weights = weights

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum of the three mean squared residuals."""
        labels = [batch.pop(name) for name in ("energy", "forces", "stress")]
        energy, forces, stress = self.network(batch)
        per_atom = (energy - labels[0]) / batch[properties.n_atoms] / self.weights.energy
        loss = torch.mean(per_atom**2).float() + torch.mean(((forces - labels[1]) / self.weights.force) ** 2)
        known = torch.isfinite(labels[2])
        if known.any():
            loss = loss + torch.mean(((stress[known] - labels[2][known]) / self.weights.stress) ** 2)
        return loss


def _items(frames: list[Atoms], cutoff: float) -> list[dict[str, torch.Tensor]]:
    items = []
    for atoms in frames:
        known = "stress" in atoms.calc.results
        stress = atoms.get_stress(voigt=False) if known else np.full((3, 3), np.nan)
        item = inputs_of(atoms, cutoff)
        item["energy"] = torch.tensor([atoms.get_potential_energy()], dtype=torch.float64)
        item["forces"] = torch.tensor(atoms.get_forces(), dtype=torch.float32)
        item["stress"] = torch.tensor(stress[None], dtype=torch.float32)
        items.append(item)
    return items


@torch.no_grad()
def _set_references(network: PaiNNPotential, frames: list[Atoms], items: list[dict[str, torch.Tensor]]) -> None:
    """Energy of each element by least squares on the compositions, beyond the repulsion; scale by the forces."""
    elements = sorted({int(number) for atoms in frames for number in atoms.numbers})
    counts = np.array([[np.count_nonzero(atoms.numbers == element) for element in elements] for atoms in frames])
    repulsion = [float(network.repulsion(item).double().sum()) for item in items]
    energies = np.array([atoms.get_potential_energy() for atoms in frames]) - repulsion
    network.references[elements] = torch.tensor(np.linalg.lstsq(counts, energies, rcond=None)[0])
    forces = np.concatenate([atoms.get_forces() for atoms in frames])
    network.scale.fill_(float(np.sqrt(np.mean(forces**2))))


def train(
    frames: list[Atoms],
    architecture: Architecture,
    schedule: Schedule,
    weights: Weights,
    resume: Path,
    label: str,
    device: str = "cpu",
) -> PaiNNPotential:
    """Train on `frames`, which have energies and forces. The folder `resume` holds the state for going on.

    Raises InputError where the loss stops being finite, and where the `device` is not there.
    """
    pl.seed_everything(schedule.seed, verbose=False)
    network = PaiNNPotential(architecture)
    items = _items(frames, architecture.cutoff)
    _set_references(network, frames, items)
    fit(PotentialTask(network, schedule, weights), items, resume, Progress(label), device)
    return network.eval()
