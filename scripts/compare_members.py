"""Site energies and barriers as each member of the potential's committee has them, along the hot MD runs.

Frames in equilibrium and frames at the tops of jumps are given to all members; how their energies differ is what the
potential's data leave open of the rate model (`insilico_nmr.member_energies`). Differences from member 0, with standard
errors over frames and jumps.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from ase.calculators.calculator import Calculator
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.events import assign, directed_classes, find_jumps
from insilico_nmr.files import atomic_path
from insilico_nmr.member_energies import (
    COLUMNS,
    SITE,
    TOP,
    ions_by_orbit,
    run_weights,
    site_differences,
    tops,
    weighted_mean,
)
from insilico_nmr.potential import calculator, load_members
from insilico_nmr.sites import read_sites, site_orbits
from insilico_nmr.trajectory import Trajectory, read_trajectory


def differences(run: Trajectory, frames: np.ndarray, members: list[Calculator]) -> np.ndarray:
    """E_m − E_0 (frames, M) in eV."""
    energies = np.empty((len(frames), len(members)))
    for row, frame in enumerate(frames):
        atoms = run.frame(int(frame))
        for column, member in enumerate(members):
            atoms.calc = member
            energies[row, column] = atoms.get_potential_energy()
    return energies - energies[:, :1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="MD runs, HDF5")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--core-radius", type=float, required=True, help="Å, an ion is at a site while this close")
    parser.add_argument("--potential", type=Path, required=True, help="committee folder")
    parser.add_argument("--frames", type=int, default=30, help="of each run, evenly spaced (default: 30)")
    parser.add_argument("--jumps", type=int, default=8, help="of each class and run, at most (default: 8)")
    parser.add_argument("--seed", type=int, required=True, help="draws the jumps")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    if args.frames < 2 or args.jumps < 1:
        raise InputError(f"--frames {args.frames}, --jumps {args.jumps}: expected at least 2 and 1")

    sites = read_sites(args.sites)
    directed = directed_classes(sites)
    orbit = site_orbits(sites)
    labels = list(dict.fromkeys(orbit))
    runs = [read_trajectory(path) for path in args.trajectories]
    symbols = set(runs[0].frame(0).get_chemical_symbols())
    members = [calculator(args.potential, symbols, member) for member in range(load_members(args.potential))]
    rng = np.random.default_rng([args.seed])
    counts, at_rest, crossed, skipped = [], [], [], {}
    for number, run in enumerate(runs):
        assignment = assign(run, sites, args.core_radius)
        jumps, by_orbit = find_jumps(assignment), ions_by_orbit(assignment)
        frames = run.evenly_spaced(args.frames)
        counts.append(by_orbit[frames])
        at_rest.append(differences(run, frames, members))
        names = np.array([directed[kind][0] if kind >= 0 else "" for kind in jumps.kind])
        for name in dict.fromkeys(entry["name"] for entry in sites["classes"]):
            mine = np.flatnonzero(names == name)
            at_top = tops(assignment, jumps, mine)
            skipped[name] = skipped.get(name, 0) + int((at_top < 0).sum())
            drawn = np.sort(rng.permutation(np.flatnonzero(at_top >= 0))[: args.jumps])
            mine, top, each = mine[drawn], at_top[drawn], np.arange(len(drawn))
            if len(mine) == 0:
                continue
            others = by_orbit[top] - counts[-1].mean(axis=0)
            # Until it arrives the ion counts as on the site that it left.
            home = np.array([labels.index(orbit[start]) for start in jumps.start[mine]])
            others[each, home] -= 1
            others[each, home + len(labels)] -= assignment.outside[top, jumps.ion[mine]]
            found = differences(run, top, members) - at_rest[-1].mean(axis=0)
            crossed += [(name, number, *row) for row in zip(others, found, strict=True)]
        print(f"run {number + 1}/{len(runs)}", file=sys.stderr)
    for name, number in skipped.items():
        if number:
            print(f"{name}: {number} jumps between two frames, whose tops nothing shows, left out", file=sys.stderr)
    weights = run_weights(at_rest)
    energies, errors = site_differences(counts, at_rest, weights)
    rows = [
        (member, SITE, label, energies[n, member], errors[n, member], sum(map(len, at_rest)))
        for n, label in enumerate(labels[1:], 1)
        for member in range(len(members))
    ]
    for name in dict.fromkeys(name for name, *_ in crossed):
        mine = [(number, found - others @ energies) for own, number, others, found in crossed if own == name]
        mean, error = weighted_mean(np.array([left for _, left in mine]), weights[[number for number, _ in mine]])
        rows += [(member, TOP, name, mean[member], error[member], len(mine)) for member in range(len(members))]
    with atomic_path(args.out) as temporary:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(temporary, index=False, float_format="%.5g")


if __name__ == "__main__":
    run_script(main)
