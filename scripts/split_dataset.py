"""Set groups of a dataset aside, to judge models that are trained on the rest."""

import argparse
from pathlib import Path

from insilico_nmr.dataset import read_dataset, write_dataset
from insilico_nmr.errors import InputError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, extended XYZ")
    parser.add_argument("--groups", nargs="+", required=True, help="groups to set aside")
    parser.add_argument("--out", type=Path, required=True, help="the rest")
    parser.add_argument("--out-aside", type=Path, required=True, help="the groups set aside")
    args = parser.parse_args()

    frames = read_dataset(args.dataset)
    known = {str(atoms.info["group"]) for atoms in frames}
    missing = sorted(set(args.groups) - known)
    if missing:
        raise InputError(f"{args.dataset}: no group {missing[0]}; it has {', '.join(sorted(known))}")
    aside = [atoms for atoms in frames if str(atoms.info["group"]) in args.groups]
    if len(aside) == len(frames):
        raise InputError(f"{args.dataset}: nothing is left to train on")
    write_dataset(args.out_aside, aside)
    write_dataset(args.out, [atoms for atoms in frames if str(atoms.info["group"]) not in args.groups])
    print(f"{len(aside)} of {len(frames)} frames set aside")


if __name__ == "__main__":
    run_script(main)
