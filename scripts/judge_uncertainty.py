"""Compare the spread of committees with their errors on groups that none of their members saw.

One committee for each fold of groups, all trained without it (train_tensors.py --leave-out). The factor by which a
fold's spread is widened comes from the other folds. Writes a row for each atom, and how many errors lie within the
intervals, with the factor of all folds together, for `tensor_model.spread_factor`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.dataset import efg, keep_labels_of, labelled, leave_group_out_folds, read_dataset
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, sha256
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tensor_metrics import parameters
from insilico_nmr.tensor_model import check_unseen, load_committee, mostly_outside
from insilico_nmr.tensors import to_components
from insilico_nmr.uncertainty import confidences, freedom, spread, spread_factor, widened

LEVELS_PERCENT = (68, 95)
COMPONENTS = ("xy", "yz", "z2", "xz", "x2-y2")
SCALARS = ("abs_C_Q_kHz", "eta")


def scalars(tensors: np.ndarray, isotope: str) -> np.ndarray:
    """|C_Q| (kHz) and η of tensors (..., 3, 3), shape (..., 2)."""
    coupling, eta, _ = parameters(tensors, isotope)
    return np.stack([np.abs(coupling), eta], axis=-1)


def judge(members: np.ndarray, truth: np.ndarray, fold: np.ndarray, isotope: str) -> pd.DataFrame:
    """Errors and spreads of n atoms, from tensors of members (m, n, 3, 3) and of DFT (n, 3, 3), and folds (n,)."""
    components = to_components(members)
    errors = components.mean(axis=0) - to_components(truth)
    spreads = spread(components)
    table = pd.DataFrame(
        {f"component_error_{name}_au": error for name, error in zip(COMPONENTS, errors.T, strict=True)}
    )
    table["component_sd_au"], table["factor"] = spreads, np.nan
    wide = np.empty_like(members)
    for number in np.unique(fold):
        mine = fold == number
        factor = spread_factor(errors[~mine], spreads[~mine], freedom(len(members), len(COMPONENTS)))
        table.loc[mine, "factor"] = factor
        wide[:, mine] = widened(members[:, mine], factor)
    of_scalars = scalars(members.mean(axis=0), isotope) - scalars(truth, isotope)
    own, widened_own = (scalars(tensors, isotope).std(axis=0, ddof=1) for tensors in (members, wide))
    for number, name in enumerate(SCALARS):
        table[f"{name}_error"] = of_scalars[:, number]
        table[f"{name}_sd"], table[f"{name}_widened_sd"] = own[:, number], widened_own[:, number]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="the labelled snapshots that the committees were trained on")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="committee folders, one for each fold")
    parser.add_argument("--seed", type=int, required=True, help="seed of the folds, as in training")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--out-atoms", type=Path, required=True, help="CSV: errors and spreads of each atom")
    parser.add_argument("--out-coverage", type=Path, required=True, help="CSV: part of errors within the intervals")
    args = parser.parse_args()

    frames = read_dataset(args.dataset)
    keep_labels_of(frames, quadrupolar_nucleus(args.isotope).element)
    where, members, truth, data = [], [], [], sha256(args.dataset)
    for fold, (_, held_out) in enumerate(leave_group_out_folds(frames, len(args.models), args.seed)):
        committee = load_committee(args.models[fold], "efg")
        groups = {str(frames[i].info["group"]) for i in held_out}
        for number in range(len(committee)):
            check_unseen(args.models[fold] / f"member_{number}", data, groups)
        for index in held_out:
            atoms, known = frames[index], labelled(efg(frames[index]))
            members.append(np.array([model.predict(atoms)[known] for model in committee]))
            truth.append(efg(atoms)[known])
            outside = mostly_outside(committee, atoms)[known]
            where += [
                (fold, atoms.info["group"], index, atom, int(flag))
                for atom, flag in zip(np.flatnonzero(known), outside, strict=True)
            ]
    table = pd.DataFrame(where, columns=["fold", "group", "frame", "atom", "outside"])
    members = np.concatenate(members, axis=1)
    table = table.join(judge(members, np.concatenate(truth), table["fold"].to_numpy(), args.isotope))
    table["members"] = len(members)
    rows = [
        {"quantity": name, "spread": kind, "level_percent": level, "within_percent": 100 * np.mean(found < level / 100)}
        for name in ("component", *SCALARS)
        for kind, found in zip(("own", "widened"), confidences(table, name), strict=True)
        for level in LEVELS_PERCENT
    ]
    errors = table[[f"component_error_{name}_au" for name in COMPONENTS]].to_numpy()
    degrees = freedom(len(members), len(COMPONENTS))
    factor = spread_factor(errors, table["component_sd_au"].to_numpy(), degrees)
    coverage = pd.DataFrame(rows).assign(factor=factor)
    print(coverage.to_string(index=False, float_format="%.2f"))
    print(f"by fold, from the others: {', '.join(f'{value:.2f}' for value in table.groupby('fold')['factor'].first())}")
    size = np.mean(errors**2, axis=1)
    for flag, words in ((0, "inside"), (1, "outside")):
        mine = table["outside"] == flag
        error = f"RMSE of a component {np.sqrt(size[mine].mean()):.2g} a.u." if mine.any() else "none"
        print(f"atoms {words} the training domain: {mine.sum()}, {error}")
    for content, path in ((table, args.out_atoms), (coverage, args.out_coverage)):
        with atomic_path(path) as temporary:
            content.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
