"""Train and judge the tensor model on the 29Si shieldings of crystalline silicates that read_si29.py reads.

One fold of several is held out: of crystals (`random`) or of groups of like crystals (`grouped`). A random split has
copies of its test crystals in the training set, so that the grouped one is the honest measure. Prints one line and
writes it as CSV: mean absolute error over the nine components, and of the isotropic value, of the model, of the mean
tensor, and between copies of one crystal in the table, which no model can tell apart.
"""

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from insilico_nmr.backbones import BACKBONES
from insilico_nmr.dataset import labelled, ms
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, keep_state_of, sha256
from insilico_nmr.silicates import add_split_arguments, disagreement, labels_of, mean_errors, read_crystals, split
from insilico_nmr.tensor_training import train
from insilico_nmr.training import add_arguments, settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_split_arguments(parser)
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="so3net", help="(default: %(default)s)")
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--out", type=Path, required=True, help="CSV of one row")
    add_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    crystals = read_crystals(args.dataset)
    seen, test = split(crystals, args.split, args.folds, args.member, args.seed)
    size, schedule = settings(args)
    keep_state_of(args.resume, args.split, args.backbone, size, schedule, args.folds, sha256(args.dataset))
    began = time.monotonic()
    model = train(seen, "ms", args.backbone, size, schedule, args.resume, args.split, args.device)
    took = time.monotonic() - began

    began = time.monotonic()
    tensors = [model.predict(atoms) for atoms in test]
    rate = sum(map(len, test)) / (time.monotonic() - began)
    predicted = np.concatenate([found[labelled(ms(atoms))] for found, atoms in zip(tensors, test, strict=True)])
    truth = labels_of(test)
    columns = {
        "model": mean_errors(predicted - truth),
        "mean_model": mean_errors(labels_of(seen).mean(axis=0) - truth),
        "copies": disagreement(crystals),
    }
    row = {"split": args.split, "fold": args.member, "test_tensors": len(truth)}
    row |= {f"{column}_{name}_ppm": value for column, found in columns.items() for name, value in found.items()}
    row |= {"training_s": took, "atoms_per_s": rate}
    table = pd.DataFrame([row])
    print(table.to_string(index=False, float_format="%.3f"))
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
