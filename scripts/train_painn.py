"""Train one member of a committee of PaiNN potentials on the energies, forces and stresses of a labelled data set.

Member 0 learns from all groups; each other member leaves a fold of groups out and is judged on it. A killed run goes on
from the folder --resume, and ends with the same numbers. gather_painn.py makes a potential of the members.
"""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import keep_state_of, sha256, write_json
from insilico_nmr.networks import Architecture, save_state
from insilico_nmr.painn import predict
from insilico_nmr.painn_training import Weights, train
from insilico_nmr.potential import elements_of, member_frames, read_training_frames, rmse, squared_errors
from insilico_nmr.training import add_arguments, settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, extended XYZ")
    parser.add_argument("--out", type=Path, required=True, help="folder of this member")
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--member", type=int, required=True, help="number of this member; 0 sees all groups")
    add_arguments(parser)
    parser.add_argument("--energy-error", type=float, required=True, help="eV/atom that weighs one")
    parser.add_argument("--force-error", type=float, required=True, help="eV/Å that weighs one")
    parser.add_argument("--stress-error", type=float, required=True, help="eV/Å³ that weighs one")
    parser.add_argument(
        "--stress-offset", type=float, default=0.0, help="GPa, taken from the pressures of the stresses"
    )
    args = parser.parse_args()
    if args.member < 0:
        raise InputError(f"--member must not be negative, found {args.member}")
    torch.set_num_threads(args.threads)

    frames = read_training_frames(args.dataset, args.stress_offset)
    training, held_out = member_frames(frames, args.member, args.seed)
    architecture, schedule = settings(args, Architecture)
    weights = Weights(args.energy_error, args.force_error, args.stress_error)
    data = sha256(args.dataset)
    keep_state_of(
        args.resume, __file__, architecture, schedule, weights, args.member, args.seed, data, args.stress_offset
    )
    seen = [frames[i] for i in training]
    network = train(seen, architecture, schedule, weights, args.resume, f"member {args.member}", args.device)
    kept = [frames[i] for i in held_out]
    squares = squared_errors(kept, [predict(network, atoms) for atoms in kept]) if kept else None
    if squares:
        print(rmse([squares]))
    save_state(args.out / "state.pt", network)
    write_json(
        args.out / "config.json",
        {
            "elements": elements_of(frames),
            "architecture": asdict(architecture),
            "training": asdict(schedule),
            "weights": asdict(weights),
            "stress_offset_GPa": args.stress_offset,
            "held_out_groups": sorted({str(atoms.info["group"]) for atoms in kept}),
            "held_out_squared_errors": squares,
            "n_frames": len(frames),
            "data_sha256": data,
            "torch": torch.__version__,
        },
    )
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
