"""Train one member of a committee of tensor models; its fold of groups is held out and judges it.

Member k of n holds out fold k of n (whole groups, dealt over the folds within each phase), so that together the members
predict every group once without having seen it, and differ in data and in initial weights.
"""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from ase.data import atomic_numbers
from insilico_nmr.dataset import leave_group_out_folds, read_dataset
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import keep_state_of, sha256
from insilico_nmr.tensor_model import Architecture, save_model
from insilico_nmr.tensor_training import Schedule, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, extended XYZ")
    parser.add_argument("--out", type=Path, required=True, help="folder of this member")
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--member", type=int, required=True, help="number of this member, from 0")
    parser.add_argument("--members", type=int, required=True, help="committee size, 2 or more")
    parser.add_argument("--element", required=True, help="element whose field gradients are learnt")
    parser.add_argument("--seed", type=int, required=True, help="of folds, initial weights and data order")
    parser.add_argument("--cutoff", type=float, required=True, help="Å")
    parser.add_argument("--features", type=int, required=True, help="feature channels")
    parser.add_argument("--interactions", type=int, required=True, help="interaction blocks")
    parser.add_argument("--radial", type=int, required=True, help="radial basis functions")
    parser.add_argument("--epochs", type=int, required=True, help="passes over the training snapshots")
    parser.add_argument("--batch-size", type=int, required=True, help="snapshots a step")
    parser.add_argument("--learning-rate", type=float, required=True, help="top of the one-cycle schedule")
    parser.add_argument("--weight-decay", type=float, required=True, help="of AdamW")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    frames = read_dataset(args.dataset)
    for atoms in frames:
        if "efg" in atoms.arrays:
            atoms.arrays["efg"][atoms.numbers != atomic_numbers[args.element]] = float("nan")
    if not 0 <= args.member < args.members:
        raise InputError(f"--member must lie between 0 and {args.members - 1}, found {args.member}")
    training, held_out = leave_group_out_folds(frames, args.members, args.seed)[args.member]
    architecture = Architecture(args.cutoff, args.features, args.interactions, args.radial)
    seed = args.seed + 1000 * (args.member + 1)
    schedule = Schedule(args.epochs, args.batch_size, args.learning_rate, args.weight_decay, seed)
    keep_state_of(args.resume, architecture, schedule, args.element, args.member, args.members, sha256(args.dataset))
    model = train([frames[i] for i in training], architecture, schedule, args.resume, f"member {args.member}")
    save_model(
        args.out,
        model,
        {
            "data_sha256": sha256(args.dataset),
            "training": asdict(schedule),
            "held_out_groups": sorted({str(frames[i].info["group"]) for i in held_out}),
            "n_training_frames": len(training),
        },
    )
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
