"""One point of a learning curve: train on some snapshots, judge on groups that were left out. Writes one row of CSV.

Repeat k of n leaves out fold k of n (whole groups); the snapshots trained on are the first of a random order of the
others, so that a larger size contains the smaller. Models of all sizes take the same number of steps.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from insilico_nmr.dataset import keep_labels_of, leave_fold_out, read_dataset
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, keep_state_of, sha256
from insilico_nmr.learning_curve import TENSOR, learn_and_predict, part_of
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.scalar_model import TARGETS
from insilico_nmr.tensor_metrics import Z_ANGLE, errors, parameters
from insilico_nmr.tensor_training import add_network_arguments
from insilico_nmr.training import settings


def row_of_errors(kind: str, truth: np.ndarray, predicted: np.ndarray, isotope: str) -> dict[str, float]:
    """Errors in what NMR measures; empty where the model cannot answer. `truth` (n, 3, 3), `predicted` per atom."""
    row = dict.fromkeys(["C_Q_mae_kHz", "eta_mae", "component_rmse_percent", "axis_angle_deg"], np.nan)
    if kind == TENSOR:
        found = errors(truth, predicted, isotope)
        names = ["|C_Q| MAE", "eta MAE, weighted by |V_zz|", "component RMSE / RMS", Z_ANGLE]
        return {column: found[name] for column, name in zip(row, names, strict=True)}
    coupling, eta, _ = parameters(truth, isotope)
    found_coupling = predicted[:, 0] * quadrupolar_nucleus(isotope).coupling_per_au * 1e-3
    row["C_Q_mae_kHz"] = np.abs(np.abs(found_coupling) - np.abs(coupling)).mean()
    if kind == "invariants":
        row["eta_mae"] = np.average(np.abs(np.clip(predicted[:, 1], 0, 1) - eta), weights=np.abs(coupling))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, extended XYZ")
    parser.add_argument("--kind", choices=[TENSOR, *TARGETS["efg"]], required=True, help="what is learnt")
    parser.add_argument("--size", type=int, required=True, help="snapshots to train on; 0: all that are not left out")
    parser.add_argument("--member", type=int, required=True, help="which repeat, from 0")
    parser.add_argument("--repeats", type=int, required=True, help="how many: as many folds of groups")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--out", type=Path, required=True, help="CSV of one row")
    add_network_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    frames = read_dataset(args.dataset)
    keep_labels_of(frames, quadrupolar_nucleus(args.isotope).element)
    training, test = leave_fold_out(frames, args.repeats, args.seed, args.member)
    size, schedule = settings(args, TensorArchitecture)
    training, schedule = part_of(training, args.size, schedule, [args.seed, args.member])
    done = (args.isotope, args.kind, args.backbone, size, schedule, len(training), args.repeats, sha256(args.dataset))
    keep_state_of(args.resume, __file__, *done)
    truth, predicted, _, _ = learn_and_predict(
        training, test, "efg", args.kind, args.backbone, size, schedule, args.resume, args.device
    )
    row = {"kind": args.kind, "repeat": args.member, "snapshots": len(training), "all": int(args.size == 0)}
    row |= {"test_atoms": len(truth), **row_of_errors(args.kind, truth, predicted, args.isotope)}
    with atomic_path(args.out) as temporary:
        pd.DataFrame([row]).to_csv(temporary, index=False, float_format="%.6g")
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
