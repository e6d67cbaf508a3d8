"""Fit a committee of UF3 potentials to the energies, forces and stresses of a labelled data set.

Errors are measured by leaving groups out (one MD run or parent structure each): every group is predicted once by a
fit that never saw it, whose walls know none of its separations either; held_out.csv has these predictions frame by
frame. The final members are written for LAMMPS.
(PaiNN potentials: train_painn.py.)
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from insilico_nmr import __version__
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, sha256, write_json
from insilico_nmr.potential import elements_of, group_folds, member_frames, read_training_frames, rmse, squared_errors
from insilico_nmr.uf3 import Basis, LeastSquares, Weights, predict, write_lammps
from matscipy.neighbours import neighbour_list

PAIR_MIN_A = 0.5
TRIO_MIN_A = 1.2  # or less, where bonds are short
HELD_OUT = ["frame", "group", "atoms", "energy_eV", "predicted_eV", "force_rmse_eV_per_A"]


def groups_of(frames: list[Atoms], chosen: np.ndarray) -> list[str]:
    """Groups of the frames `chosen` (indices), in their order: that of a set would round sums anew in every run."""
    return list(dict.fromkeys(str(frames[i].info["group"]) for i in chosen))


def cross_validate(frames: list[Atoms], equations: LeastSquares, seed: int) -> tuple[dict, pd.DataFrame]:
    """Errors over all groups, each predicted by a fit without its fold, and the predictions of every frame."""
    folds, sums, rows = group_folds(frames, seed), [], []
    for number, (training, held_out) in enumerate(folds):
        print(f"cross-validation {number + 1}/{len(folds)}", file=sys.stderr)
        groups = groups_of(frames, training)
        coefficients = equations.solve(groups, known=groups)
        kept = [frames[i] for i in held_out]
        predicted = [predict(atoms, equations.basis, coefficients) for atoms in kept]
        sums.append(squared_errors(kept, predicted))
        for frame, atoms, found in zip(held_out, kept, predicted, strict=True):
            error = rmse([squared_errors([atoms], [found])])["force_rmse_eV_per_A"]
            rows.append((frame, atoms.info["group"], len(atoms), atoms.get_potential_energy(), found[0], error))
    return rmse(sums), pd.DataFrame(rows, columns=HELD_OUT).sort_values("frame")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, extended XYZ")
    parser.add_argument("--out", type=Path, required=True, help="folder of the potential")
    parser.add_argument("--members", type=int, required=True, help="committee size; member 0 sees all groups")
    parser.add_argument("--seed", type=int, required=True, help="draws the groups that members 1, 2, … leave out")
    parser.add_argument("--pair-cutoff", type=float, required=True, help="Å")
    parser.add_argument("--pair-intervals", type=int, required=True, help="knot intervals of a pair spline")
    parser.add_argument("--trio-cutoff", type=float, required=True, help="Å, legs of a trio")
    parser.add_argument("--leg-intervals", type=int, required=True, help="knot intervals along a leg")
    parser.add_argument("--side-intervals", type=int, required=True, help="knot intervals along the far side")
    parser.add_argument("--energy-error", type=float, required=True, help="eV/atom that weighs one")
    parser.add_argument("--force-error", type=float, required=True, help="eV/Å that weighs one")
    parser.add_argument("--stress-error", type=float, required=True, help="eV/Å³ that weighs one")
    parser.add_argument(
        "--stress-offset", type=float, default=0.0, help="GPa, taken from the pressures of the stresses"
    )
    parser.add_argument("--ridge", type=float, required=True, help="regulariser on the coefficients")
    parser.add_argument("--curvature", type=float, required=True, help="regulariser on their second differences")
    parser.add_argument("--wall", type=float, required=True, help="eV/Å², stiffness at separations never seen")
    parser.add_argument("--coverage", type=float, required=True, help="summed spline value that earns a coefficient")
    args = parser.parse_args()

    frames = read_training_frames(args.dataset, args.stress_offset)
    elements = tuple(elements_of(frames))
    # Terms of three bodies begin below all separations in the data: they are cut off there.
    shortest = min(neighbour_list("d", atoms, args.trio_cutoff).min(initial=args.trio_cutoff) for atoms in frames)
    basis = Basis(
        elements,
        pair_min=PAIR_MIN_A,
        pair_cutoff=args.pair_cutoff,
        pair_intervals=args.pair_intervals,
        trio_min=max(PAIR_MIN_A, min(TRIO_MIN_A, 0.85 * shortest)),
        trio_cutoff=args.trio_cutoff,
        leg_intervals=args.leg_intervals,
        side_intervals=args.side_intervals,
    )
    weights = Weights(
        args.energy_error, args.force_error, args.stress_error, args.ridge, args.curvature, args.wall, args.coverage
    )
    equations = LeastSquares(frames, basis, weights)
    errors, held_out = cross_validate(frames, equations, args.seed)
    print(errors)
    with atomic_path(args.out / "held_out.csv") as temporary:
        held_out.to_csv(temporary, index=False)

    for member in range(args.members):
        training, _ = member_frames(frames, member, args.seed)
        write_lammps(args.out / f"member_{member}.uf3", basis, equations.solve(groups_of(frames, training)))
    write_json(
        args.out / "config.json",
        {
            "kind": "uf3",
            "elements": list(elements),
            "basis": asdict(basis),
            "weights": asdict(weights),
            "stress_offset_GPa": args.stress_offset,
            "members": args.members,
            "seed": args.seed,
            "errors": errors,
            "n_frames": len(frames),
            "data_sha256": sha256(args.dataset),
            "units": "metal",
            "version": __version__,
        },
    )


if __name__ == "__main__":
    run_script(main)
