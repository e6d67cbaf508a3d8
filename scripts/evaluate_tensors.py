"""Judge a committee of tensor models on the groups that each member did not see.

Writes a table of errors, beside those of a linear, a mean and a zero model fitted to what the member was trained on,
and the points of the parity figure.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.dataset import efg, labelled, read_dataset
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, sha256
from insilico_nmr.linear_model import fit_linear
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tensor_metrics import MeanModel, metrics, parameters
from insilico_nmr.tensor_model import load_committee, unseen_groups
from insilico_nmr.tensors import axis_angle_deg, to_components

LINEAR_CUTOFF_A = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="the labelled snapshots that the committee was trained on")
    parser.add_argument("--model", type=Path, required=True, help="committee folder")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--out-metrics", type=Path, required=True, help="CSV")
    parser.add_argument("--out-components", type=Path, required=True, help="CSV of the parity figure, tensors")
    parser.add_argument("--out-parameters", type=Path, required=True, help="CSV of the parity figure, C_Q and eta")
    args = parser.parse_args()

    element = quadrupolar_nucleus(args.isotope).element
    frames = read_dataset(args.dataset)
    committee = load_committee(args.model, "efg")
    truth, model, linear, folds, where = [], [], [], [], []
    data = sha256(args.dataset)
    known = [labelled(efg(atoms)) & (np.array(atoms.get_chemical_symbols()) == element) for atoms in frames]
    for number, member in enumerate(committee):
        held_out = unseen_groups(args.model / f"member_{number}", data)
        seen = [number for number, atoms in enumerate(frames) if str(atoms.info["group"]) not in held_out]
        simple = fit_linear(
            [frames[n] for n in seen], [efg(frames[n]) for n in seen], [known[n] for n in seen], LINEAR_CUTOFF_A
        )
        before = len(where)
        for index, (atoms, mask) in enumerate(zip(frames, known, strict=True)):
            if str(atoms.info["group"]) not in held_out or not mask.any():
                continue
            truth.append(efg(atoms)[mask])
            model.append(member.predict(atoms)[mask])
            linear.append(simple.predict(atoms)[mask])
            where += [(index, int(i), atoms.info["phase"], atoms.info["group"]) for i in np.flatnonzero(mask)]
        if len(where) > before:
            folds.append((np.concatenate([efg(frames[n])[known[n]] for n in seen]), len(where) - before))
    truth, model, linear = (np.concatenate(tensors) for tensors in (truth, model, linear))
    table = metrics(truth, model, linear, MeanModel.of_folds(folds, args.isotope), args.isotope)
    print(table.to_string(index=False, float_format="%.4g"))

    origin = pd.DataFrame(where, columns=["frame", "atom", "phase", "group"])
    components = pd.concat(
        [
            origin.assign(component=name, dft_au=to_components(truth)[:, c], model_au=to_components(model)[:, c])
            for c, name in enumerate(("xy", "yz", "z2", "xz", "x2-y2"))
        ]
    )
    cq, eta, axis = parameters(truth, args.isotope)
    cq_model, eta_model, axis_model = parameters(model, args.isotope)
    scalars = origin.assign(
        CQ_dft_kHz=cq,
        CQ_model_kHz=cq_model,
        eta_dft=eta,
        eta_model=eta_model,
        z_axis_angle_deg=axis_angle_deg(axis, axis_model),
    )
    outputs = ((table, args.out_metrics), (components, args.out_components), (scalars, args.out_parameters))
    for frame, path in outputs:
        with atomic_path(path) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.8g")


if __name__ == "__main__":
    run_script(main)
