"""Speed of the tensor model: training beside SchNetPack's own SO3net, prediction by size of the cell, neighbour lists.

Weights mean nothing here, only the time counts. With harmonics up to 2 the network is SchNetPack's: both get the same
parameters, and their largest difference is printed too. With the seconds that DFT takes for a snapshot of the dataset
(on one core), ratios to it are printed: of snapshots one by one and of many in one batch.
"""

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import ase.neighborlist
import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
import torch
from ase import Atoms
from insilico_nmr import so3net
from insilico_nmr.convolution import convolve, convolve_arrays
from insilico_nmr.dataset import read_dataset
from insilico_nmr.errors import run_script
from insilico_nmr.networks import TensorArchitecture, graph
from insilico_nmr.tensor_model import Description, Normalisation, TensorModel
from matscipy.neighbours import neighbour_list

import schnetpack.nn as snn  # isort: skip
from schnetpack.data.loader import _atoms_collate_fn as collate  # isort: skip
from schnetpack.representation import SO3net  # isort: skip

SIZES = (32, 256, 1512, 12000)
IN_A_BATCH = 32


def untrained(size: TensorArchitecture, species: list[int]) -> TensorModel:
    """A model of field gradients on SO3net with random weights."""
    torch.manual_seed(0)
    unit = Normalisation(0.0, (1.0,))
    return TensorModel(Description("efg", "so3net", size, tuple(species), dict.fromkeys(species, unit)))


def stock(model: TensorModel) -> TensorModel:
    """The same model, of harmonics up to 2, with SchNetPack's evaluation of SO3net."""
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
    """Shortest time of a call, after one that does not count: other processes only add to it."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def training_step(model: TensorModel, batch: dict[str, torch.Tensor]) -> None:
    """Forward and backward pass."""
    model.zero_grad()
    model(dict(batch)).square().mean().backward()


def report_training(frames: list[Atoms], size: TensorArchitecture, species: list[int]) -> None:
    """Print the time of a training step, and ratios to array operations and to SchNetPack."""
    batch = collate([graph(atoms, size.cutoff) for atoms in frames])
    model, same = untrained(size, species), untrained(replace(size, harmonics=2), species)
    reference = stock(same)

    def milliseconds(network: TensorModel) -> float:
        return 1e3 * seconds(partial(training_step, network, batch), 10) / len(frames)

    own, own_same, of_schnetpack = map(milliseconds, (model, same, reference))
    so3net.convolve = convolve_arrays
    of_arrays = milliseconds(model)
    so3net.convolve = convolve
    expected = reference(dict(batch))
    difference = (same(dict(batch)) - expected).abs().max() / expected.abs().max()
    print(
        f"training, {size.features} features, {size.interactions} interactions, {size.cutoff:g} Å, harmonics up to "
        f"{size.harmonics}: {own:.1f} ms a snapshot, {1e3 / own:.0f} snapshots/s; by array operations "
        f"{of_arrays:.1f} ms, ratio {of_arrays / own:.1f}"
    )
    print(
        f"the same with harmonics up to 2: {own_same:.1f} ms; SchNetPack's evaluation {of_schnetpack:.1f} ms, ratio "
        f"{of_schnetpack / own_same:.1f}, largest difference {difference:.0e}"
    )


def report_prediction(atoms: Atoms, model: TensorModel) -> None:
    """Print atoms a second of a prediction, neighbour list included, and what the neighbour list takes."""
    whole = seconds(lambda: model.predict(atoms), 3)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cutoff = model.description.size.cutoff
    lists = {
        "vesin": seconds(lambda: graph(atoms, cutoff), 3),
        "matscipy": seconds(lambda: neighbour_list("ijD", atoms, cutoff), 3),
        "ASE": seconds(lambda: ase.neighborlist.neighbor_list("ijD", atoms, cutoff), 1),
    }
    print(
        f"prediction, {len(atoms)} atoms: {len(atoms) / whole:.0f} atoms/s, {whole:.3f} s; largest memory so far "
        f"{memory:.2f} GiB; neighbours " + ", ".join(f"{name} {1e3 * took:.1f} ms" for name, took in lists.items())
    )


@torch.no_grad()
def report_against_dft(frames: list[Atoms], model: TensorModel, dft_seconds: float) -> None:
    """Print how many times faster than DFT a snapshot is predicted, alone and in a batch."""
    cutoff = model.description.size.cutoff
    alone = seconds(lambda: model.predict(frames[0]), 10)
    many = [frames[number % len(frames)] for number in range(IN_A_BATCH)]
    batch = seconds(lambda: model(collate([graph(atoms, cutoff) for atoms in many])), 3) / IN_A_BATCH
    print(
        f"a snapshot of {len(frames[0])} atoms: {1e3 * alone:.2f} ms, {dft_seconds / alone:.2g} times faster than DFT "
        f"({dft_seconds:g} s); in a batch of {IN_A_BATCH}: {1e3 * batch:.2f} ms, {dft_seconds / batch:.2g} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, for example resources/dft/li3ps4.extxyz")
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å (default: %(default)s)")
    parser.add_argument("--features", type=int, default=48, help="feature channels (default: %(default)s)")
    parser.add_argument("--interactions", type=int, default=3, help="interaction blocks (default: %(default)s)")
    parser.add_argument(
        "--harmonics", type=int, choices=range(2, 7), default=4, help="of neighbours, 2 or more (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--dft-seconds", type=float, help="that DFT takes on one core for a snapshot of the largest cell"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size = TensorArchitecture(args.cutoff, args.features, args.interactions, 16, args.harmonics)
    frames = read_dataset(args.dataset)
    species = sorted({int(number) for atoms in frames for number in atoms.numbers})
    largest = [atoms for atoms in frames if len(atoms) == max(map(len, frames))]
    report_training(largest[:2], size, species)
    model = untrained(size, species)
    if args.dft_seconds:
        report_against_dft(largest, model, args.dft_seconds)
    for wanted in SIZES:
        cells = wanted / len(largest[0])
        # Near the cube root along each axis, so that the product comes near.
        first = max(round(cells ** (1 / 3)), 1)
        second = max(round((cells / first) ** (1 / 2)), 1)
        report_prediction(largest[0].repeat((first, second, max(round(cells / first / second), 1))), model)


if __name__ == "__main__":
    run_script(main)
