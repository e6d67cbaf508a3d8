"""An equivariant model of NMR tensors: a backbone of SchNetPack and a head for each irreducible part of the tensor.

Rotations, reflections, permutations and translations are exact symmetries. The network learns components in units of
each element's scale, part by part; the isotropic part from each element's mean on.

A trained model is a folder: `config.json` (quantity, architecture, cut-off, units, elements, normalisation, data hash,
versions) and `state.pt` (tensors only: parameters, and where the features of training atoms lie).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import nn

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr import __version__
from insilico_nmr.backbones import BACKBONES
from insilico_nmr.dataset import labelled, tensors_of
from insilico_nmr.domain import Domain
from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json, write_json
from insilico_nmr.heads import TensorHead
from insilico_nmr.networks import TensorArchitecture, graph, load_state, save_state
from insilico_nmr.quantities import QUANTITIES, Quantity

import schnetpack.properties as properties  # isort: skip

KIND = "tensor_model"


@dataclass(frozen=True)
class Normalisation:
    """Of one element: mean isotropic component and root-mean-square deviation of each part, in the quantity's unit."""

    mean: float
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Description:
    """All that makes a model but its parameters.

    `elements`: atomic numbers that training saw; `normalisation`: of those whose tensors it learnt.
    """

    quantity: str
    backbone: str
    size: TensorArchitecture
    elements: tuple[int, ...]
    normalisation: dict[int, Normalisation]


class TensorModel(nn.Module):
    """The network, with its description."""

    def __init__(self, description: Description):
        super().__init__()
        self.description = description
        self.backbone = BACKBONES[description.backbone](description.size)
        self.head = TensorHead(self.quantity.parts, description.size)
        sizes = self.quantity.sizes
        means, scales = torch.full((2, 119, sum(sizes)), float("nan")).unbind()
        for number, values in description.normalisation.items():
            scales[number] = torch.repeat_interleave(torch.tensor(values.scales), torch.tensor(sizes))
            means[number] = 0.0
            if self.quantity.parts[0] == "isotropic":
                means[number, 0] = values.mean
        self.register_buffer("means", means, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        width = description.size.features
        self.register_buffer("domain_mean", torch.full((width,), torch.nan, dtype=torch.float64))
        self.register_buffer("domain_precision", torch.full((width, width), torch.nan, dtype=torch.float64))
        self.register_buffer("domain_limit", torch.tensor(torch.nan, dtype=torch.float64))

    @property
    def quantity(self) -> Quantity:
        """What it predicts."""
        return QUANTITIES[self.description.quantity]

    @property
    def sizes(self) -> list[int]:
        """Number of components of each irreducible part."""
        return self.quantity.sizes

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Normalised components, shape (atoms of the batch, c)."""
        return self.head(self.backbone(batch), batch)

    def normalise(self, components: torch.Tensor, species: torch.Tensor) -> torch.Tensor:
        """Components (n, c) of atoms of these `species` (n), as the network predicts them; NaN stays NaN."""
        return (components - self.means[species]) / self.scales[species]

    @torch.no_grad()
    def predict(self, atoms: Atoms) -> np.ndarray:
        """Tensors, shape (n, 3, 3), in the quantity's unit; NaN for atoms of elements without labels in training.

        Raises InputError for an element that training never saw.
        """
        unknown = sorted(
            {
                symbol
                for symbol, number in zip(atoms.symbols, atoms.numbers, strict=True)
                if number not in self.description.elements
            }
        )
        if unknown:
            raise InputError(f"the tensor model was not trained on {', '.join(unknown)}")
        batch = self._input(atoms)
        species = batch[properties.Z]
        components = self(batch) * self.scales[species] + self.means[species]
        return self.quantity.tensors(components.double().cpu().numpy())

    @torch.no_grad()
    def features(self, atoms: Atoms) -> np.ndarray:
        """What predictions are made from, as far as it is invariant: shape (n, f)."""
        return self.backbone(self._input(atoms)).scalars.double().cpu().numpy()

    def know_domain(self, trained: list[Atoms], held_out: list[Atoms]) -> None:
        """Remember where the features of labelled atoms lie, in frames trained on and in others."""
        features = []
        for frames in (trained, held_out):
            known = [labelled(tensors_of(atoms, self.quantity.name)) for atoms in frames]
            features.append(
                np.concatenate([self.features(atoms)[mask] for atoms, mask in zip(frames, known, strict=True)])
            )
        domain = Domain.of(*features)
        self.domain_mean, self.domain_precision, self.domain_limit = (
            torch.tensor(value, dtype=torch.float64) for value in (domain.mean, domain.precision, domain.limit)
        )

    def outside(self, atoms: Atoms) -> np.ndarray:
        """Which atoms are unlike those that training had labels for, (n,) bool; False for elements without labels.

        Raises InputError where the model does not know its domain.
        """
        if torch.isnan(self.domain_limit):
            raise InputError("the tensor model does not know its training domain: train it again")
        domain = Domain(self.domain_mean.numpy(), self.domain_precision.numpy(), float(self.domain_limit))
        labels = np.isin(atoms.numbers, list(self.description.normalisation))
        return labels & domain.outside(self.features(atoms))

    def _input(self, atoms: Atoms) -> dict[str, torch.Tensor]:
        self.eval()
        parameter = next(self.parameters())
        batch = graph(atoms, self.description.size.cutoff, parameter.dtype)
        return {name: values.to(parameter.device) for name, values in batch.items()}


def save_model(folder: Path, model: TensorModel, provenance: dict) -> None:
    """Write `config.json` and `state.pt` into `folder`; the state first, so that a config means a whole model."""
    save_state(folder / "state.pt", model)
    write_json(
        folder / "config.json",
        {
            "kind": KIND,
            "version": __version__,
            "torch": torch.__version__,
            "units": f"{model.quantity.unit}, Angstrom",
            **asdict(model.description),
            **provenance,
        },
    )


def load_model(folder: str | Path) -> TensorModel:
    """Load a model folder. Raises InputError for a foreign, truncated or incompatible one."""
    folder = Path(folder)
    config = read_json(folder / "config.json")
    if config.get("kind") != KIND:
        raise InputError(f"{folder}/config.json: expected kind {KIND}, found {config.get('kind')!r}")
    if config.get("version") != __version__:
        raise InputError(
            f"{folder}/config.json: a model of version {config.get('version')}, this is {__version__}; train it again"
        )
    normalisation = {
        int(number): Normalisation(values["mean"], tuple(values["scales"]))
        for number, values in config["normalisation"].items()
    }
    description = Description(
        config["quantity"],
        config["backbone"],
        TensorArchitecture(**config["size"]),
        tuple(config["elements"]),
        normalisation,
    )
    model = TensorModel(description)
    load_state(folder / "state.pt", model)
    return model


def load_committee(folder: str | Path, quantity: str | None = None) -> list[TensorModel]:
    """The members `member_<n>` of a committee folder, as many as the first was trained for, in order.

    quantity : what they have to predict. Those of a larger committee that was there before are left alone. Raises
    InputError where there is none, where they predict something else, and where one is missing or of another committee.
    """
    members = sorted(Path(folder).glob("member_*"), key=lambda path: int(path.name.split("_")[1]))
    if not members:
        raise InputError(f"{folder}: no committee members (folders member_0, member_1, …)")
    count = read_json(members[0] / "config.json").get("members", len(members))
    if len(members) < count:
        raise InputError(f"{members[0]} is one of {count} members, but {folder} has {len(members)}")
    members = members[:count]
    for member in members:
        expected = read_json(member / "config.json").get("members", count)
        if expected != count:
            raise InputError(f"{member} is one of {expected} members, {members[0]} of {count}: train both anew")
    models = [load_model(member) for member in members]
    for member, model in zip(members, models, strict=True):
        if quantity not in (None, model.quantity.name):
            raise InputError(f"{member} predicts the quantity {model.quantity.name}; expected {quantity}")
    return models


def mostly_outside(committee: list[TensorModel], atoms: Atoms) -> np.ndarray:
    """Which atoms most members find unlike all that they know, (n,) bool."""
    return np.mean([model.outside(atoms) for model in committee], axis=0) > 0.5


def unseen_groups(member: Path, data_sha256: str) -> set[str]:
    """The groups that a member holds out, once it is checked as in `check_unseen` that it may be judged on them."""
    held_out = set(read_json(member / "config.json")["held_out_groups"])
    check_unseen(member, data_sha256, held_out)
    return held_out


def check_unseen(member: Path, data_sha256: str, groups: set[str]) -> None:
    """Raise InputError unless a member was trained on the data of this hash, and on none of these groups of them."""
    config = read_json(member / "config.json")
    if config["data_sha256"] != data_sha256:
        raise InputError(f"{member} was trained on other data than it is to be judged on")
    seen = sorted(groups & set(config["training_groups"]))
    if seen:
        raise InputError(f"{member} was trained on {', '.join(seen)}, which it is to be judged on")
