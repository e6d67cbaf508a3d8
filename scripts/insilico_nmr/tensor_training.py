"""Training of the tensor model: one member of a committee on all groups but those of its fold.

Loss: mean squared error of the five components in units of each element's root-mean-square component, over labelled
atoms only.
"""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from ase import Atoms

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.dataset import efg, labelled
from insilico_nmr.errors import InputError
from insilico_nmr.networks import Architecture, graph
from insilico_nmr.tensor_model import COMPONENTS, TensorModel, TrainedModel
from insilico_nmr.tensors import to_components
from insilico_nmr.training import Progress, Schedule, Task, fit

import schnetpack.properties as properties  # isort: skip


def element_scales(frames: list[Atoms]) -> dict[int, float]:
    """Root-mean-square component (atomic units) of the labels of each element; raises InputError without labels."""
    squares: dict[int, list[np.ndarray]] = {}
    for atoms in frames:
        tensors = efg(atoms)
        for index in np.flatnonzero(labelled(tensors)):
            squares.setdefault(int(atoms.numbers[index]), []).append(to_components(tensors[index]) ** 2)
    if not squares:
        raise InputError("no field-gradient labels to train on (array `efg`)")
    return {number: float(np.sqrt(np.mean(values))) for number, values in sorted(squares.items())}


class TensorTask(Task):
    """Learning of field gradients."""

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """Mean squared error of normalised components over labelled atoms."""
        target = batch.pop(COMPONENTS)
        scale = self.network.scales[batch[properties.Z]][:, None]
        known = torch.isfinite(target).all(dim=1)
        return torch.mean((self.network(batch)[known] - (target / scale)[known]) ** 2)


def _items(frames: list[Atoms], cutoff: float) -> list[dict[str, torch.Tensor]]:
    items = []
    for atoms in frames:
        item = graph(atoms, cutoff)
        item[COMPONENTS] = torch.tensor(to_components(efg(atoms)), dtype=torch.float32)
        items.append(item)
    return items


def train(
    frames: list[Atoms], architecture: Architecture, schedule: Schedule, resume: Path, label: str
) -> TrainedModel:
    """Train on `frames`. A checkpoint in the folder `resume` is gone on from, and written every epoch.

    Raises InputError where no atom has a label, or where the loss stops being finite.
    """
    scales = element_scales(frames)
    pl.seed_everything(schedule.seed, verbose=False)
    network = TensorModel(architecture, scales)
    fit(TensorTask(network, schedule), _items(frames, architecture.cutoff), resume, Progress(label))
    elements = sorted({int(number) for atoms in frames for number in atoms.numbers})
    return TrainedModel(network, architecture, elements, scales)
