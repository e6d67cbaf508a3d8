"""Judge a committee of models of shieldings on groups that each member did not see, beside the mean of its own data.

Errors (shielding_metrics.py) of isotropic value, anisotropy, η, and of the parts that only a tensor has.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.dataset import keep_labels_of, labelled, ms, read_dataset
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, sha256
from insilico_nmr.shielding_metrics import tensor_errors
from insilico_nmr.tensor_model import load_committee, unseen_groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="the labelled snapshots that the committee was trained on")
    parser.add_argument("--model", type=Path, required=True, help="committee folder")
    parser.add_argument("--element", required=True, help="element whose shieldings were learnt")
    parser.add_argument("--out", type=Path, required=True, help="CSV: a row each quantity")
    args = parser.parse_args()

    frames, data = read_dataset(args.dataset), sha256(args.dataset)
    keep_labels_of(frames, args.element, "ms")
    found: dict[str, list[np.ndarray]] = {"dft": [], "model": [], "mean_model": []}
    for number, member in enumerate(load_committee(args.model, "ms")):
        held_out = unseen_groups(args.model / f"member_{number}", data)
        seen = [ms(atoms)[labelled(ms(atoms))] for atoms in frames if str(atoms.info["group"]) not in held_out]
        if not sum(map(len, seen)):
            raise InputError(f"{args.dataset}: no shielding of {args.element} in the groups that member_{number} saw")
        mean = np.concatenate(seen).mean(axis=0)
        for atoms in frames:
            known = labelled(ms(atoms))
            if str(atoms.info["group"]) in held_out and known.any():
                found["dft"].append(ms(atoms)[known])
                found["model"].append(member.predict(atoms)[known])
                found["mean_model"].append(np.broadcast_to(mean, found["dft"][-1].shape))
    if not found["dft"]:
        raise InputError(f"{args.dataset}: no shielding of {args.element} in the groups that members did not see")
    tensors = {name: np.concatenate(parts) for name, parts in found.items()}
    errors = {name: tensor_errors(tensors["dft"], tensors[name]) for name in ("model", "mean_model")}
    table = pd.DataFrame(errors).rename_axis("quantity").reset_index().assign(tensors=len(tensors["dft"]))
    print(table.to_string(index=False, float_format="%.4g"))
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
