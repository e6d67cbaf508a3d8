"""Sites of mobile ions that a crystal structure does not list, from hot molecular dynamics: CIF in, CIF out.

Kinetic Monte Carlo needs the sites that ions pass through, those empty in the crystal too. This adds them where the
density of ions has maxima away from the known sites, with the occupancy that they had; the number of ions stays.
"""

import argparse
from pathlib import Path

import numpy as np
from insilico_nmr.crystal import read_crystal, write_crystal
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.events import host_drift, own_cell
from insilico_nmr.site_search import with_found_sites
from insilico_nmr.sites import host_atoms
from insilico_nmr.trajectory import read_trajectory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="MD runs, HDF5")
    parser.add_argument("--cif", type=Path, required=True, help="the crystal whose supercells ran")
    parser.add_argument("--mobile", required=True, help="element that moves, such as Li")
    parser.add_argument("--apart", type=float, default=1.3, help="Å, least distance of two sites (default: 1.3)")
    parser.add_argument(
        "--least-occupancy", type=float, default=0.003, help="of a new site; less is left out (default: 0.003)"
    )
    parser.add_argument("--out", type=Path, required=True, help="CIF")
    args = parser.parse_args()
    if args.apart <= 0 or not 0 < args.least_occupancy < 1:
        raise InputError(
            f"--apart {args.apart:g}, --least-occupancy {args.least_occupancy:g}: expected above 0, and below 1"
        )

    crystal = read_crystal(args.cif)
    sites = {"cell": crystal.cell, "mobile": args.mobile, "host": host_atoms(crystal, args.mobile)}
    positions = []
    for path in args.trajectories:
        run = read_trajectory(path)
        mobile = run.frame(0).symbols == args.mobile
        moved = run.positions[:, mobile] - host_drift(run, sites)[:, None]
        positions.append(moved.reshape(-1, 3) @ np.linalg.inv(own_cell(run, sites)))
    found = with_found_sites(crystal, args.mobile, np.concatenate(positions), args.apart, args.least_occupancy)
    for orbit in found.mobile_orbits(args.mobile):
        place = ", ".join(f"{x:.3f}" for x in orbit.positions[0])
        print(f"{orbit.label}: {orbit.wyckoff} at {place}, occupancy {orbit.occupancy:.3f}")
    names = " ".join(path.name for path in args.trajectories)
    write_crystal(args.out, found, f"{args.cif.name} with sites where ions were in {names} (find_sites.py)")


if __name__ == "__main__":
    run_script(main)
