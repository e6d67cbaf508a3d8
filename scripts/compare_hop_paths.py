"""First-principles single points on hop paths beside the potential: energies along each path, and its barriers.

The images are those of export_hop_paths.py, labelled: each path's energies count from its first image. The potential is
that of now, which need not be the one that the paths were relaxed on; every committee member is asked. Barriers are
from the lowest image before, or after, the highest one, each by its own energies. DFT's are single points: neither its
minima nor its saddle are relaxed.

`held_out_…` is what a fit makes of a path that it never saw: the potential itself, or where the path's group is in its
data the fit of its cross-validation without it (--held-out, of train_potential.py). Empty where there is none.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from ase.geometry import find_mic
from insilico_nmr.dataset import check_frames, read_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_of_members
from insilico_nmr.files import atomic_path
from insilico_nmr.neb import heights
from insilico_nmr.potential import calculator, load_members
from insilico_nmr.tables import read_table

SAME_EV = 1e-6  # energies of one labelled image
NAMES = ("path", "image", "class", "from", "to")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, help="labelled images, extended XYZ")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential")
    parser.add_argument("--held-out", type=Path, help="predictions of groups never seen, CSV of train_potential.py")
    parser.add_argument("--out", type=Path, required=True, help="energies of the images, CSV")
    parser.add_argument("--barriers", type=Path, required=True, help="barriers of the paths, CSV")
    args = parser.parse_args()

    frames = read_frames(args.labelled)
    check_frames(frames, args.labelled, copies=True)  # paths may share an end
    for number, atoms in enumerate(frames):
        missing = [name for name in NAMES if name not in atoms.info]
        if missing:
            raise InputError(f"{args.labelled}, frame {number}: info key {', '.join(missing)} is missing")
    symbols = {symbol for atoms in frames for symbol in atoms.symbols}
    calculators = [calculator(args.potential, symbols, member) for member in range(load_members(args.potential))]
    learnt = read_table(args.held_out, ["energy_eV", "predicted_eV"], ["group"]) if args.held_out else None
    images, barriers = [], []
    for path in sorted({int(atoms.info["path"]) for atoms in frames}):
        here = sorted((a for a in frames if int(a.info["path"]) == path), key=lambda a: int(a.info["image"]))
        if len({int(atoms.info["image"]) for atoms in here}) < max(3, len(here)):
            raise InputError(f"{args.labelled}: path {path} needs three images or more, each with a number of its own")
        rows, barrier = compare(here, calculators, learnt)
        images += rows
        barriers.append(barrier)
        print(
            f"{barrier['class']}: DFT {barrier['dft_forward_eV']:.3f} and back {barrier['dft_backward_eV']:.3f} eV, "
            f"potential {barrier['potential_forward_eV']:.3f} and {barrier['potential_backward_eV']:.3f}",
            file=sys.stderr,
        )
    for out, rows in ((args.out, images), (args.barriers, barriers)):
        with atomic_path(out) as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)


def never_seen(path: list, learnt: pd.DataFrame | None, potential_eV: np.ndarray) -> np.ndarray:
    """Energies (n,) of the images by a fit that does not know them; NaN where none is known. `potential_eV` (n,) are
    those of the potential. Raises InputError where some images of a group are in the potential's data and others not.

    An image is known in the table again by its group and labelled energy.
    """
    if learnt is None:
        return np.full(len(path), np.nan)
    same = learnt[learnt["group"] == str(path[0].info["group"])]
    if same.empty:
        return potential_eV
    away = np.abs(np.subtract.outer([atoms.get_potential_energy() for atoms in path], same["energy_eV"].to_numpy()))
    nearest = away.min(axis=1)
    if nearest.max() > SAME_EV:
        image = path[nearest.argmax()].info["image"]
        raise InputError(
            f"path {path[0].info['path']}, image {image}: the potential learnt from group {path[0].info['group']}, but "
            "not from this image; its data (potential.snapshots) hold another version of the paths"
        )
    return same["predicted_eV"].to_numpy()[away.argmin(axis=1)]


def compare(path: list, calculators: list, learnt: pd.DataFrame | None) -> tuple[list[dict], dict]:
    """Rows of the images, and the row of barriers, of one path."""
    dft = np.array([atoms.get_potential_energy() for atoms in path])
    found, errors = np.empty((len(calculators), len(path))), np.empty(len(path))
    for number, atoms in enumerate(path):
        work = atoms.copy()
        for member, calc in enumerate(calculators):
            work.calc = calc
            found[member, number] = work.get_potential_energy()
            if member == 0:
                errors[number] = np.sqrt(np.mean((work.get_forces() - atoms.get_forces()) ** 2))
    unseen = never_seen(path, learnt, found[0])
    dft, found, unseen = dft - dft[0], found - found[:, :1], unseen - unseen[0]
    steps = [np.linalg.norm(find_mic(b.positions - a.positions, a.cell)[0]) for a, b in pairwise(path)]
    length = np.concatenate([[0.0], np.cumsum(steps)])
    common = {name: path[0].info[name] for name in ("path", "class", "from", "to")}
    rows = [
        common
        | {
            "image": path[number].info["image"],
            "length_A": length[number],
            "dft_eV": dft[number],
            "potential_eV": found[0, number],
            "potential_sd_eV": error_of_members(found[:, number]),
            "held_out_eV": unseen[number],
            "force_rmse_eV_per_A": errors[number],
        }
        for number in range(len(path))
    ]
    members = np.array([heights(energies) for energies in found])
    barrier = common | {"atoms": len(path[0])}
    for side, name in enumerate(("forward", "backward")):
        barrier[f"dft_{name}_eV"] = heights(dft)[side]
        barrier[f"potential_{name}_eV"] = members[0, side]
        barrier[f"potential_{name}_sd_eV"] = error_of_members(members[:, side])
        barrier[f"held_out_{name}_eV"] = heights(unseen)[side] if np.isfinite(unseen).all() else np.nan
    return rows, barrier


if __name__ == "__main__":
    run_script(main)
