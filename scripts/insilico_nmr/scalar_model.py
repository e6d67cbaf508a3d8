"""Invariant models of NMR tensors: the scalars that a powder spectrum shows, without the tensor behind them.

Same backbones and training as the tensor model, with a head of invariant outputs: what tensor learning is compared
with. Field gradients have two sets of targets: |V_zz| alone (C_Q without its sign, up to a constant), and V_zz, η and
the smooth invariants V:V and det V together. V_zz jumps where its sign flips and η has a kink where tensors are equal
in two directions; the smooth ones do not. So have shieldings: σ_iso alone, and σ_iso, anisotropy, η and S:S and det S
of the symmetric traceless part S together. Such a model cannot answer for an axis.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from ase import Atoms
from torch import nn

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.backbones import BACKBONES
from insilico_nmr.dataset import labelled, tensors_of, with_labels
from insilico_nmr.errors import InputError
from insilico_nmr.heads import InvariantHead
from insilico_nmr.networks import TensorArchitecture, graph
from insilico_nmr.shielding_metrics import parameters
from insilico_nmr.tensors import asymmetry, efg_principal, traceless_symmetric
from insilico_nmr.training import LabelTask, Progress, Schedule, fit, labelled_items

TARGETS = {
    "efg": {"coupling": ("abs_V_zz",), "invariants": ("V_zz", "eta", "V:V", "det V")},
    "ms": {"isotropic": ("sigma_iso",), "invariants": ("sigma_iso", "anisotropy", "eta", "S:S", "det S")},
}


def targets_of(tensors: np.ndarray, quantity: str, kind: str) -> np.ndarray:
    """Scalars (n, k) of tensors (n, 3, 3), in the order of TARGETS[quantity][kind], in powers of their unit."""
    if quantity == "efg":
        values = efg_principal(tensors)[0]
        if kind == "coupling":
            return np.abs(values[:, 2:])
        scalars = [values[:, 2], asymmetry(values)]
    else:
        values = np.linalg.eigvalsh(traceless_symmetric(tensors))
        scalars = parameters(tensors)[:3]
        if kind == "isotropic":
            return scalars[0][:, None]
    return np.stack([*scalars, (values**2).sum(axis=1), values.prod(axis=1)], axis=1)


@dataclass(frozen=True)
class Targets:
    """What is learnt, with mean and standard deviation (k) over the labels of the one element that has labels."""

    mean: np.ndarray
    deviation: np.ndarray


class ScalarModel(nn.Module):
    """A backbone with invariant outputs."""

    def __init__(self, backbone: str, size: TensorArchitecture, targets: Targets):
        super().__init__()
        self.size, self.targets = size, targets
        self.backbone = BACKBONES[backbone](size)
        self.head = InvariantHead(size, len(targets.mean))
        self.register_buffer("mean", torch.tensor(targets.mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(targets.deviation, dtype=torch.float32))

    @property
    def sizes(self) -> list[int]:
        """Each scalar is a part of its own."""
        return [1] * len(self.mean)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Normalised scalars, shape (atoms of the batch, k)."""
        return self.head(self.backbone(batch), batch)

    def normalise(self, labels: torch.Tensor, species: torch.Tensor) -> torch.Tensor:
        """Scalars (n, k) as the network predicts them."""
        return (labels - self.mean) / self.deviation

    @torch.no_grad()
    def predict(self, atoms: Atoms) -> np.ndarray:
        """Scalars of every atom, shape (n, k); of atoms of other elements than the labelled one they mean nothing."""
        self.eval()
        outputs = self(graph(atoms, self.size.cutoff)) * self.deviation + self.mean
        return outputs.double().numpy()


def train_scalars(
    frames: list[Atoms],
    quantity: str,
    kind: str,
    backbone: str,
    size: TensorArchitecture,
    schedule: Schedule,
    resume: Path,
    label: str,
    device: str = "cpu",
) -> ScalarModel:
    """Train on scalars `TARGETS[quantity][kind]` of the labels of `frames`, as `tensor_training.train` on tensors.

    Raises InputError where no atom has a label, where a scalar is the same in all, where the loss is not finite.
    """
    frames, labels = with_labels(frames, quantity), []
    for atoms in frames:
        tensors = tensors_of(atoms, quantity)
        known = labelled(tensors)
        of_frame = np.full((len(atoms), len(TARGETS[quantity][kind])), np.nan)
        of_frame[known] = targets_of(tensors[known], quantity, kind)
        labels.append(of_frame)
    values = np.concatenate(labels)
    values = values[np.isfinite(values).all(axis=1)]
    constant = np.ptp(values, axis=0) == 0
    if constant.any():
        name = TARGETS[quantity][kind][int(constant.argmax())]
        raise InputError(f"{name} is the same in all labels (array `{quantity}`): nothing to learn")
    pl.seed_everything(schedule.seed, verbose=False)
    model = ScalarModel(backbone, size, Targets(values.mean(axis=0), values.std(axis=0)))
    fit(LabelTask(model, schedule), labelled_items(frames, labels, size.cutoff), resume, Progress(label), device)
    return model
