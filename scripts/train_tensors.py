"""Train one member of a committee of tensor models; its fold of groups is held out and judges it.

Member k of n holds out fold k of n (whole groups, dealt over the folds within each phase), so that together the members
predict every group once without having seen it, and differ in data and in initial weights. A fold that is left out
altogether leaves n members for which it is new, each with a fold of the rest held out.
"""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from insilico_nmr.dataset import keep_labels_of, leave_fold_out, read_dataset
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import keep_state_of, read_json, sha256
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.quantities import QUANTITIES
from insilico_nmr.tensor_model import load_model, save_model
from insilico_nmr.tensor_training import add_network_arguments, train
from insilico_nmr.training import settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, extended XYZ")
    parser.add_argument("--out", type=Path, required=True, help="folder of this member")
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--member", type=int, required=True, help="number of this member, from 0")
    parser.add_argument("--members", type=int, required=True, help="committee size, 2 or more")
    parser.add_argument("--element", required=True, help="element whose tensors are learnt")
    parser.add_argument(
        "--quantity", choices=sorted(QUANTITIES), default="efg", help="field gradients (default) or shieldings (ms)"
    )
    parser.add_argument(
        "--leave-out", type=int, metavar="FOLD", help="a fold that no member sees, so that the committee can be judged"
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=0,
        help="epochs without improvement on a fold taken from the training set that end it; 0: none (default)",
    )
    parser.add_argument("--start-from", type=Path, help="folder of a trained model to go on from, of the same size")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="write the losses of epochs for TensorBoard")
    add_network_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    frames = read_dataset(args.dataset)
    keep_labels_of(frames, args.element, args.quantity)
    if args.leave_out is not None:
        frames, _ = leave_fold_out(frames, args.members, args.seed, args.leave_out)
    seen, unseen = leave_fold_out(frames, args.members, args.seed, args.member)
    groups, held_out = ({str(atoms.info["group"]) for atoms in frames} for frames in (seen, unseen))
    if args.start_from:
        groups |= set(read_json(args.start_from / "config.json")["training_groups"])
        if groups & held_out:
            raise InputError(
                f"{args.start_from} was trained on {', '.join(sorted(groups & held_out))}, which member {args.member} "
                "holds out to be judged on: start from a model of other data"
            )
    watched = None
    if args.patience:
        seen, watched = leave_fold_out(seen, args.members, args.seed, args.member)
    size, schedule = settings(args, TensorArchitecture)
    keep_state_of(
        args.resume,
        __file__,
        args.backbone,
        size,
        schedule,
        args.element,
        args.quantity,
        args.member,
        args.members,
        args.leave_out,
        sha256(args.dataset),
        sha256(args.start_from / "state.pt") if args.start_from else None,
    )
    model = train(
        seen,
        args.quantity,
        args.backbone,
        size,
        schedule,
        args.resume,
        f"member {args.member}",
        args.device,
        load_model(args.start_from) if args.start_from else None,
        watched,
        args.tensorboard,
    )
    model.know_domain(seen, unseen)
    save_model(
        args.out,
        model,
        {
            "data_sha256": sha256(args.dataset),
            "training": asdict(schedule),
            "started_from": str(args.start_from) if args.start_from else None,
            "members": args.members,
            "training_groups": sorted(groups),
            "held_out_groups": sorted(held_out),
            "n_training_frames": len(seen),
        },
    )
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
