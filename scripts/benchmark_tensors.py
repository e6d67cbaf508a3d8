"""Speed of the tensor model: training and prediction, beside SchNetPack's own SO3net, and neighbour lists by size.

Weights mean nothing here, only the time counts; the two networks have the same parameters, and their largest difference
is printed too. Times are CPU times of one process.
"""

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ase.neighborlist
import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
import numpy as np
import torch
from ase import Atoms
from insilico_nmr.dataset import read_dataset
from insilico_nmr.errors import run_script
from insilico_nmr.networks import TensorArchitecture, graph
from insilico_nmr.tensor_model import Description, Normalisation, TensorModel
from matscipy.neighbours import neighbour_list

import schnetpack.nn as snn  # isort: skip
from schnetpack.data.loader import _atoms_collate_fn as collate  # isort: skip
from schnetpack.representation import SO3net  # isort: skip


def untrained(size: TensorArchitecture, species: list[int]) -> TensorModel:
    """A model of field gradients on SO3net with random weights."""
    torch.manual_seed(0)
    unit = Normalisation(0.0, (1.0,))
    return TensorModel(Description("efg", "so3net", size, tuple(species), dict.fromkeys(species, unit)))


def stock(model: TensorModel) -> TensorModel:
    """The same model with SchNetPack's evaluation of SO3net."""
    size = model.description.size
    network = SO3net(
        size.features,
        size.interactions,
        2,
        snn.GaussianRBF(n_rbf=size.radial, cutoff=size.cutoff),
        snn.CosineCutoff(size.cutoff),
    )
    other = TensorModel(model.description)
    other.backbone.network = network
    other.load_state_dict(model.state_dict())
    return other


def seconds(work: Callable[[], object], repeats: int) -> float:
    """CPU seconds of one call, after one that does not count."""
    work()
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats


def training_step(model: TensorModel, batch: dict[str, torch.Tensor]) -> None:
    """Forward and backward pass."""
    model.zero_grad()
    model(dict(batch)).square().mean().backward()


def report_training(frames: list[Atoms], size: TensorArchitecture, species: list[int]) -> None:
    """Print seconds a snapshot of a training step, and the ratio to SchNetPack."""
    model = untrained(size, species)
    batch = collate([graph(atoms, size.cutoff) for atoms in frames])
    reference = stock(model)
    difference = (model(dict(batch)) - reference(dict(batch))).abs().max() / reference(dict(batch)).abs().max()
    own, other = (seconds(partial(training_step, network, batch), 10) / len(frames) for network in (model, reference))
    print(
        f"training, {size.features} features, {size.interactions} interactions, {size.cutoff:g} Å: {1e3 * own:.1f} ms "
        f"a snapshot; SchNetPack's evaluation {1e3 * other:.1f} ms, ratio {other / own:.1f}; "
        f"largest difference {difference:.0e}"
    )


def report_prediction(atoms: Atoms, size: TensorArchitecture, species: list[int]) -> None:
    """Print atoms a second of a prediction, neighbour list included, and what the neighbour list takes."""
    model = untrained(size, species).eval()
    with torch.no_grad():
        whole = seconds(lambda: model(graph(atoms, size.cutoff)), 3)
    neighbours = seconds(lambda: neighbour_list("ijD", atoms, size.cutoff), 3)
    of_ase = seconds(lambda: ase.neighborlist.neighbor_list("ijD", atoms, size.cutoff), 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"prediction, {len(atoms)} atoms: {len(atoms) / whole:.0f} atoms/s, {whole:.3f} s; neighbours by matscipy "
        f"{1e3 * neighbours:.1f} ms, by ASE {1e3 * of_ase:.1f} ms; largest memory so far {memory:.2f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, for example resources/dft/li3ps4.extxyz")
    parser.add_argument("--cutoff", type=float, default=4.0, help="Å (default: %(default)s)")
    parser.add_argument("--features", type=int, default=32, help="feature channels (default: %(default)s)")
    parser.add_argument("--interactions", type=int, default=2, help="interaction blocks (default: %(default)s)")
    parser.add_argument("--harmonics", type=int, default=4, help="of neighbours (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size = TensorArchitecture(args.cutoff, args.features, args.interactions, 16, args.harmonics)
    frames = read_dataset(args.dataset)
    species = sorted({int(number) for atoms in frames for number in atoms.numbers})
    report_training(frames[:2], size, species)
    cell = max(frames, key=len)
    for atoms_wanted in (32, 128, 1500, 12000):
        repeat = round((atoms_wanted / len(cell)) ** (1 / 3)) or 1
        report_prediction(cell.repeat(np.array([repeat] * 3)), size, species)


if __name__ == "__main__":
    run_script(main)
