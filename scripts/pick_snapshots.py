"""Pick the snapshots to label next from exploratory runs: where the committees disagree, spread out.

Nothing is picked, and the output is an empty file, once the errors on the validation groups have stopped falling: the
last iteration lowered neither that of the forces nor that of the tensors by the part --min-gain.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from insilico_nmr.dataset import read_dataset, write_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.potential import calculator, elements_of, load_members
from insilico_nmr.selection import choose, descriptor, uncertainty
from insilico_nmr.tensor_model import load_committee
from insilico_nmr.trajectory import read_trajectory

ERRORS = ("force_rmse_eV_per_A", "tensor_rmse_au")


def gain(errors: list[dict]) -> float:
    """The larger of the parts by which the last iteration lowered the two errors; infinite for the first one."""
    if len(errors) < 2:
        return float("inf")
    return max(1 - errors[-1][name] / errors[-2][name] for name in ERRORS)


def candidates(paths: list[Path], info: dict[str, str | float]) -> list[Atoms]:
    """All frames of the runs; those of one run are a group."""
    frames = []
    for path in paths:
        trajectory = read_trajectory(path)
        for index in range(len(trajectory.positions)):
            atoms = trajectory.frame(index)
            atoms.wrap()
            atoms.info.update(info, group=f"{info['group']}_{path.stem}", temperature=trajectory.target_temperature_K)
            atoms.info["frame"] = index
            frames.append(atoms)
    return frames


def spreads(frames: list[Atoms], potential: Path, tensors: Path, element: str) -> tuple[np.ndarray, np.ndarray]:
    """Spread over the committees of a force component (eV/Å) and of a component of the element's tensors (a.u.), each
    the root mean square over a frame, (n,)."""
    elements = set(frames[0].symbols)
    calculators = [calculator(potential, elements, member) for member in range(load_members(potential))]
    models = load_committee(tensors, "efg")
    of_forces, of_tensors = [], []
    for atoms in frames:
        forces = []
        for calc in calculators:
            copy = atoms.copy()
            copy.calc = calc
            forces.append(copy.get_forces())
        mobile = atoms.numbers == atomic_numbers[element]
        predicted = np.array([model.predict(atoms)[mobile] for model in models])
        of_forces.append(np.sqrt(np.var(forces, axis=0, ddof=1).mean()))
        of_tensors.append(np.sqrt(np.var(predicted, axis=0, ddof=1).mean()))
    return np.array(of_forces), np.array(of_tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="trajectories of explore.py")
    parser.add_argument("--dataset", type=Path, required=True, help="labelled snapshots so far")
    parser.add_argument("--potential", type=Path, required=True, help="committee folder, two members or more")
    parser.add_argument("--tensors", type=Path, required=True, help="committee folder of tensor models")
    parser.add_argument("--errors", type=Path, nargs="+", required=True, help="errors of all iterations, in order")
    parser.add_argument("--element", required=True, help="element whose tensors count")
    parser.add_argument("--frames", type=int, required=True, help="how many to pick")
    parser.add_argument("--min-gain", type=float, required=True, help="part by which an error must have fallen")
    parser.add_argument("--material", required=True)
    parser.add_argument("--phase", required=True)
    parser.add_argument("--charge", type=float, default=0.0, help="of a cell, e (default: 0)")
    parser.add_argument("--group", required=True, help="first part of the picked frames' group")
    parser.add_argument("--out", type=Path, required=True, help="extended XYZ; empty where learning has ended")
    args = parser.parse_args()

    errors = [read_json(path) for path in args.errors]
    gained = gain(errors)
    if gained < args.min_gain:
        print(f"the last iteration lowered the errors by {100 * gained:.1f} %: nothing more is picked", file=sys.stderr)
        with atomic_path(args.out) as temporary:
            temporary.touch()
        return
    if load_members(args.potential) < 2:
        raise InputError(f"{args.potential}: one member; disagreement needs two or more")
    info = {"material": args.material, "phase": args.phase, "group": args.group, "source": "picked, not labelled"}
    if args.charge:
        info["charge"] = args.charge
    frames = candidates(args.runs, info)
    known = read_dataset(args.dataset)
    elements = elements_of([*known, *frames])
    of_forces, of_tensors = spreads(frames, args.potential, args.tensors, args.element)
    uncertainties = uncertainty(of_forces, of_tensors, *(errors[-1][name] for name in ERRORS))
    descriptors, of_known = (np.array([descriptor(atoms, elements) for atoms in some]) for some in (frames, known))
    picked = choose(descriptors, of_known, uncertainties, args.frames)
    for number in picked:
        frames[number].info.update(force_spread=of_forces[number], tensor_spread=of_tensors[number])
    write_frames(args.out, [frames[number] for number in picked])
    print(
        f"{len(picked)} of {len(frames)} candidates; spread of forces {np.median(of_forces):.3f} eV/Å (picked "
        f"{np.median(of_forces[picked]):.3f}), of tensors {np.median(of_tensors):.2g} a.u. (picked "
        f"{np.median(of_tensors[picked]):.2g})",
        file=sys.stderr,
    )


if __name__ == "__main__":
    run_script(main)
