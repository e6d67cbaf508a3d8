"""Training of tensor models.

Loss: length of the error of each irreducible part, in units of each element's deviation, over labelled atoms only.
"""

import argparse
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from ase import Atoms

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.backbones import BACKBONES
from insilico_nmr.dataset import tensors_of, with_labels
from insilico_nmr.errors import InputError
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.quantities import QUANTITIES, Quantity
from insilico_nmr.tensor_model import Description, Normalisation, TensorModel
from insilico_nmr.training import LabelTask, Progress, Schedule, add_arguments, fit, labelled_items


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """What every program that trains a network on NMR labels takes beside its data."""
    parser.add_argument("--backbone", choices=sorted(BACKBONES), required=True, help="equivariant network")
    parser.add_argument(
        "--harmonics", type=int, choices=range(2, 7), required=True, help="highest degree of neighbours' harmonics"
    )
    parser.add_argument(
        "--ema-decay", type=float, default=0.0, help="of an average of parameters; 0: none (default: %(default)s)"
    )
    add_arguments(parser)


def label_statistics(frames: list[Atoms], quantity: Quantity) -> dict[int, Normalisation]:
    """Mean and deviations of the labels of each element of `frames`, of which some atom has a label.

    A part that is zero in all labels of an element (by symmetry) is given the scale of the largest part.
    """
    components = np.concatenate([quantity.components(tensors_of(atoms, quantity.name)) for atoms in frames])
    species = np.concatenate([atoms.numbers for atoms in frames])
    known = np.isfinite(components).all(axis=1)
    ends = np.cumsum(quantity.sizes)
    statistics = {}
    for number in np.unique(species[known]):
        values = components[known & (species == number)]
        mean = float(values[:, 0].mean()) if quantity.parts[0] == "isotropic" else 0.0
        values = values - mean * np.eye(values.shape[1])[0]
        scales = np.sqrt([np.mean(part**2) for part in np.split(values, ends[:-1], axis=1)])
        if not scales.any():
            raise InputError(f"all labels of element {number} are the same (array `{quantity.name}`): nothing to learn")
        statistics[int(number)] = Normalisation(mean, tuple(np.where(scales == 0, scales.max(), scales).tolist()))
    return statistics


def train(
    frames: list[Atoms],
    quantity: str,
    backbone: str,
    size: TensorArchitecture,
    schedule: Schedule,
    resume: Path,
    label: str,
    device: str = "cpu",
    start: TensorModel | None = None,
    watched: list[Atoms] | None = None,
    events: Path | None = None,
) -> TensorModel:
    """Train on the labels `quantity` ("efg" or "ms") of `frames`; those without any are left out.

    A checkpoint in the folder `resume` is gone on from, and written every epoch. With `start`, a trained model, its
    parameters are where training begins, and its units for the elements that it knows are kept. `watched` frames say
    when to stop where the schedule has a patience; losses go to the folder `events`, for TensorBoard. Raises InputError
    where no atom has a label, where `start` is a model of another kind, or where the loss stops being finite.
    """
    contract = QUANTITIES[quantity]
    frames, watched = with_labels(frames, quantity), with_labels(watched, quantity, "to watch") if watched else []
    statistics = label_statistics(frames, contract)
    elements = tuple(sorted({int(number) for atoms in frames for number in atoms.numbers}))
    pl.seed_everything(schedule.seed, verbose=False)
    if start is not None:
        known = start.description
        if (known.quantity, known.backbone, known.size) != (quantity, backbone, size):
            raise InputError(
                f"the model to start from is of {known.quantity} on {known.backbone}, {known.size}; "
                f"expected {quantity} on {backbone}, {size}"
            )
        elements = tuple(sorted({*elements, *known.elements}))
        statistics = statistics | known.normalisation
    model = TensorModel(Description(quantity, backbone, size, elements, statistics))
    if start is not None:
        model.load_state_dict(start.state_dict())
    items, watch = (
        labelled_items(some, [contract.components(tensors_of(atoms, quantity)) for atoms in some], size.cutoff)
        for some in (frames, watched)
    )
    fit(LabelTask(model, schedule), items, resume, Progress(label), device, watch, events)
    return model
