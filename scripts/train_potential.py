"""Fit a committee of UF3 potentials to the energies, forces and stresses of a labelled data set.

Errors are measured by leaving groups out (one MD run or parent structure each): every group is predicted once by a
fit that never saw it. The final members are written for LAMMPS.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from insilico_nmr import __version__
from insilico_nmr.dataset import read_dataset
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import sha256, write_json
from insilico_nmr.uf3 import Basis, LeastSquares, Weights, predict, write_lammps


def cross_validate(frames, equations: LeastSquares, folds: list[list[str]]) -> dict[str, float]:
    """Root-mean-square errors over all groups, each predicted by a fit without its fold."""
    energy, forces, spread = [], [], []
    for number, fold in enumerate(folds):
        print(f"cross-validation {number + 1}/{len(folds)}", file=sys.stderr)
        coefficients = equations.solve({group: int(group not in fold) for group in equations.groups})
        for atoms in (atoms for atoms in frames if atoms.info["group"] in fold):
            e, f, _ = predict(atoms, equations.basis, coefficients)
            energy.append((e - atoms.get_potential_energy()) / len(atoms))
            forces.append((f - atoms.get_forces()).ravel())
            spread.append(atoms.get_forces().ravel())

    def rms(values):
        return float(np.sqrt(np.mean(np.square(values))))

    return {
        "energy_rmse_eV_per_atom": rms(energy),
        "force_rmse_eV_per_A": rms(np.concatenate(forces)),
        "force_std_eV_per_A": float(np.std(np.concatenate(spread))),
    }


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
    parser.add_argument("--ridge", type=float, required=True, help="regulariser on the coefficients")
    parser.add_argument("--curvature", type=float, required=True, help="regulariser on their second differences")
    parser.add_argument("--wall", type=float, required=True, help="eV/Å², stiffness at separations never seen")
    parser.add_argument("--coverage", type=float, required=True, help="summed spline value that earns a coefficient")
    args = parser.parse_args()

    frames = read_dataset(args.dataset)
    without = [n for n, atoms in enumerate(frames) if not {"energy", "forces"} <= set(atoms.calc.results)]
    if without:
        raise InputError(f"{args.dataset}: frame {without[0]} has no energy and forces to train a potential on")
    elements = tuple(sorted({symbol for atoms in frames for symbol in atoms.symbols}))
    basis = Basis(
        elements,
        pair_min=0.5,
        pair_cutoff=args.pair_cutoff,
        pair_intervals=args.pair_intervals,
        trio_min=1.2,
        trio_cutoff=args.trio_cutoff,
        leg_intervals=args.leg_intervals,
        side_intervals=args.side_intervals,
    )
    weights = Weights(
        args.energy_error, args.force_error, args.stress_error, args.ridge, args.curvature, args.wall, args.coverage
    )
    equations = LeastSquares(frames, basis, weights)
    groups = sorted(equations.groups)
    if len(groups) < 2:
        raise InputError(f"{args.dataset}: one group only; errors need at least two (info key `group`)")
    rng = np.random.default_rng(args.seed)
    folds = [list(fold) for fold in np.array_split(rng.permutation(groups), min(5, len(groups)))]
    errors = cross_validate(frames, equations, folds)
    print(" ".join(f"{key} {value:.4f}" for key, value in errors.items()))

    for member in range(args.members):
        left_out = [] if member == 0 else rng.permutation(groups)[: max(1, len(groups) // 5)]
        coefficients = equations.solve({group: int(group not in left_out) for group in groups})
        write_lammps(args.out / f"member_{member}.uf3", basis, coefficients)
    write_json(
        args.out / "config.json",
        {
            "kind": "uf3",
            "elements": list(elements),
            "basis": asdict(basis),
            "weights": asdict(weights),
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
