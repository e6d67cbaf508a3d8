"""Train and judge a model on the 29Si shieldings of crystalline silicates that read_si29.py reads.

One fold of several is held out: of crystals (`random`) or of groups of like crystals (`grouped`). A random split has
copies of its test crystals in the training set, so that the grouped one is the honest measure. Learnt is the tensor, or
scalars of it; on a part of the crystals (--size) for a learning curve. Prints a row of CSV: errors of the model, of the
mean tensor, and differences between copies of one crystal in the table, which no model can tell apart.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, keep_state_of, sha256
from insilico_nmr.learning_curve import TENSOR, learn_and_predict, part_of
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.scalar_model import TARGETS
from insilico_nmr.shielding_metrics import TENSOR_ONLY, scalar_errors, tensor_errors
from insilico_nmr.silicates import add_split_arguments, disagreement, labels_of, mean_errors, read_crystals, split
from insilico_nmr.tensor_training import add_network_arguments
from insilico_nmr.training import settings


def errors_of(kind: str, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Errors against tensors (n, 3, 3) of what a model of this kind predicts; NaN where it cannot answer."""
    if kind == TENSOR:
        return tensor_errors(truth, predicted)
    scalars = np.full((len(truth), 3), np.nan)
    count = min(predicted.shape[1], 3)
    scalars[:, :count] = predicted[:, :count]
    scalars[:, 2] = np.clip(scalars[:, 2], 0, 1)
    return dict.fromkeys(TENSOR_ONLY, np.nan) | scalar_errors(truth, *scalars.T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_split_arguments(parser)
    parser.add_argument("--kind", choices=[TENSOR, *TARGETS["ms"]], default=TENSOR, help="(default: %(default)s)")
    parser.add_argument("--size", type=int, default=0, help="crystals to train on; 0: all that are not left out")
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--out", type=Path, required=True, help="CSV of one row")
    add_network_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    crystals = read_crystals(args.dataset)
    seen, test = split(crystals, args.split, args.folds, args.member, args.seed)
    size, schedule = settings(args, TensorArchitecture)
    seen, schedule = part_of(seen, args.size, schedule, [args.seed, args.member])
    done = (args.split, args.kind, args.backbone, size, schedule, args.folds, len(seen), sha256(args.dataset))
    keep_state_of(args.resume, __file__, *done)
    truth, predicted, took, rate = learn_and_predict(
        seen, test, "ms", args.kind, args.backbone, size, schedule, args.resume, args.device
    )
    row = {
        "split": args.split,
        "fold": args.member,
        "kind": args.kind,
        "snapshots": len(seen),
        "test_atoms": len(truth),
    }
    row |= {"repeat": args.member, "all": int(args.size == 0), **errors_of(args.kind, truth, predicted)}
    of_mean = mean_errors(labels_of(seen).mean(axis=0) - truth)
    for name, found in {"mean_model": of_mean, "copies": disagreement(crystals)}.items():
        row |= {f"{name}_{part}_ppm": value for part, value in found.items()}
    table = pd.DataFrame([row | {"seconds": took, "atoms_per_s": rate}])
    print(table.iloc[0].to_string(float_format="{:.3f}".format))
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
