"""An equivariant model of electric-field-gradient tensors: SchNetPack's SO3net with a head for l = 2.

The head mixes the l = 2 features of each atom linearly, each gated by a function of its invariant features, into the
five components of a symmetric traceless tensor, scaled per element. Rotations, reflections, permutations and
translations are therefore exact symmetries. SO3net: K. T. Schütt et al., J. Chem. Phys. 158, 144801 (2023).

A trained model is a folder: `config.json` (architecture, cut-off, units, elements, normalisation, data hash, versions)
and `state.pt` (tensors only).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import nn

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr import __version__
from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json, write_json
from insilico_nmr.networks import Architecture, graph, load_state, save_state
from insilico_nmr.tensors import L2_BASIS

import schnetpack.nn as snn  # isort: skip
import schnetpack.properties as properties  # isort: skip
from schnetpack.representation import SO3net  # isort: skip

COMPONENTS = "efg_components"


class SymmetricTracelessHead(nn.Module):
    """Five components of a symmetric traceless tensor per atom, from SO3net's multipole features."""

    def __init__(self, features: int):
        super().__init__()
        self.mix = nn.Linear(features, features, bias=False)
        self.gate = nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, features))
        self.contract = nn.Linear(features, 1, bias=False)

    def forward(self, scalars: torch.Tensor, multipoles: torch.Tensor) -> torch.Tensor:
        """Scalars (n, F) and multipoles (n, 9, F) to components (n, 5), in the order of `tensors.L2_BASIS`."""
        return self.contract(self.mix(multipoles[:, 4:9]) * self.gate(scalars)[:, None]).squeeze(-1)


class TensorModel(nn.Module):
    """SO3net and the head; predicts components in units of each element's scale."""

    def __init__(self, architecture: Architecture, scales: dict[int, float]):
        super().__init__()
        radial = snn.GaussianRBF(n_rbf=architecture.radial, cutoff=architecture.cutoff)
        self.representation = SO3net(
            n_atom_basis=architecture.features,
            n_interactions=architecture.interactions,
            lmax=2,
            radial_basis=radial,
            cutoff_fn=snn.CosineCutoff(architecture.cutoff),
        )
        self.head = SymmetricTracelessHead(architecture.features)
        table = torch.full((119,), float("nan"))
        for number, scale in scales.items():
            table[number] = scale
        self.register_buffer("scales", table)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Normalised components, shape (atoms of the batch, 5)."""
        inputs = self.representation(dict(batch))
        return self.head(inputs["scalar_representation"], inputs["multipole_representation"])


@dataclass(frozen=True)
class TrainedModel:
    """A model with what is needed to use it: architecture, elements it has seen and elements it has labels of."""

    network: TensorModel
    architecture: Architecture
    elements: list[int]
    scales: dict[int, float]

    @torch.no_grad()
    def predict(self, atoms: Atoms) -> np.ndarray:
        """Field gradients, shape (n, 3, 3), atomic units; NaN for atoms of elements without labels in training.

        Raises InputError for an element that training never saw.
        """
        unknown = sorted(
            {symbol for symbol, z in zip(atoms.symbols, atoms.numbers, strict=True) if z not in self.elements}
        )
        if unknown:
            raise InputError(f"the tensor model was not trained on {', '.join(unknown)}")
        self.network.eval()
        inputs = graph(atoms, self.architecture.cutoff, self.network.head.contract.weight.dtype)
        components = self.network(inputs) * self.network.scales[inputs[properties.Z]][:, None]
        return np.einsum("nc,cij->nij", components.double().numpy(), L2_BASIS)


def save_model(folder: Path, model: TrainedModel, provenance: dict) -> None:
    """Write `config.json` and `state.pt` into `folder`; the state first, so that a config means a whole model."""
    save_state(folder / "state.pt", model.network)
    write_json(
        folder / "config.json",
        {
            "kind": "so3net_efg",
            "version": __version__,
            "torch": torch.__version__,
            "units": "atomic units of electric field gradient, Angstrom",
            "architecture": asdict(model.architecture),
            "elements": model.elements,
            "scales": {str(number): scale for number, scale in model.scales.items()},
            **provenance,
        },
    )


def load_model(folder: str | Path) -> TrainedModel:
    """Load a model folder. Raises InputError for a foreign, truncated or incompatible one."""
    folder = Path(folder)
    config = read_json(folder / "config.json")
    if config.get("kind") != "so3net_efg":
        raise InputError(f"{folder}/config.json: expected kind so3net_efg, found {config.get('kind')!r}")
    architecture = Architecture(**config["architecture"])
    scales = {int(number): scale for number, scale in config["scales"].items()}
    network = TensorModel(architecture, scales)
    load_state(folder / "state.pt", network)
    return TrainedModel(network, architecture, config["elements"], scales)


def load_committee(folder: str | Path) -> list[TrainedModel]:
    """All members `member_<n>` of a committee folder, in order. Raises InputError where there is none."""
    members = sorted(Path(folder).glob("member_*"), key=lambda path: int(path.name.split("_")[1]))
    if not members:
        raise InputError(f"{folder}: no committee members (folders member_0, member_1, …)")
    return [load_model(member) for member in members]
