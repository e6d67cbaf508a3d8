"""What every SchNetPack network of the study shares: its size, its input made from a structure, its file of tensors."""

from dataclasses import dataclass
from pathlib import Path

import torch
from ase import Atoms
from torch import nn
from vesin import NeighborList

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path

import schnetpack.properties as properties  # isort: skip


@dataclass(frozen=True)
class Architecture:
    """Size of the network: cut-off in Å, features per channel, interactions, radial functions."""

    cutoff: float
    features: int
    interactions: int
    radial: int


@dataclass(frozen=True)
class TensorArchitecture(Architecture):
    """Of a network for tensors: also the highest degree of the harmonics through which neighbours act, 2 or more.

    2 is what they do as charges, 3 as dipoles too, 4 as quadrupoles too (see `so3net`).
    """

    harmonics: int


def graph(atoms: Atoms, cutoff: float, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Input of one structure in SchNetPack's keys: species, neighbour vectors within `cutoff`, indices.

    Pairs are in the order of their first atoms, found by vesin on one thread: the order of a sum must not change.
    """
    neighbours = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    first, second, vectors = neighbours.compute(atoms.positions, atoms.cell.array, atoms.pbc, "ijD")
    return {
        properties.Z: torch.tensor(atoms.numbers, dtype=torch.long),
        properties.Rij: torch.tensor(vectors, dtype=dtype),
        properties.idx_i: torch.tensor(first, dtype=torch.long),
        properties.idx_j: torch.tensor(second, dtype=torch.long),
        properties.n_atoms: torch.tensor([len(atoms)]),
    }


def save_state(path: Path, network: nn.Module) -> None:
    """Write parameters and buffers of a network: tensors only, never a pickled module."""
    with atomic_path(path) as temporary:
        torch.save({name: value.contiguous() for name, value in network.state_dict().items()}, temporary)


def load_state(path: Path, network: nn.Module) -> None:
    """Fill a network from its file. Raises InputError for a missing, torn or foreign one."""
    try:
        network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # torch raises many kinds for a torn or foreign file
        raise InputError(f"{path}: cannot be loaded ({str(error).splitlines()[0]})") from None
