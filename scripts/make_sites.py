"""The network of sites and jumps of a crystal: CIF in, sites.json out.

With --trajectories sites move to where ions are on average while they are in their cores, as far as site symmetry
allows; orbits that no ion visits stay.
"""

import argparse
from pathlib import Path

from ase.geometry import find_mic
from insilico_nmr.crystal import read_crystal
from insilico_nmr.errors import naming, run_script
from insilico_nmr.events import assign, check_cores, mean_displacements
from insilico_nmr.sites import build_sites, refined, write_sites
from insilico_nmr.trajectory import read_trajectory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cif", type=Path, help="crystal with the sites of the mobile ions, partial occupancies allowed")
    parser.add_argument("--mobile", required=True, help="element that moves, such as Li")
    parser.add_argument("--jump-cutoff", type=float, required=True, help="longest jump, Å")
    parser.add_argument("--trajectories", type=Path, nargs="+", help="move sites to where ions are in these runs")
    parser.add_argument("--core-radius", type=float, help="Å, radius about a site: checked not to overlap")
    parser.add_argument("--out", type=Path, required=True, help="sites.json")
    args = parser.parse_args()
    if args.trajectories and args.core_radius is None:
        parser.error("--trajectories needs --core-radius")

    crystal = given = read_crystal(args.cif)
    sites = build_sites(crystal, args.mobile, args.jump_cutoff)
    if args.core_radius is not None:
        check_cores(sites, args.core_radius)
    if args.trajectories:
        runs = {path: read_trajectory(path) for path in args.trajectories}
        # Cores move with the sites, so a second pass settles what the first one finds.
        for _ in range(2):
            assigned = []
            for path, run in runs.items():
                with naming(path):
                    assigned.append(assign(run, sites, args.core_radius))
            moved = mean_displacements(assigned)
            crystal = refined(crystal, args.mobile, moved)
            sites = build_sites(crystal, args.mobile, args.jump_cutoff)
        check_cores(sites, args.core_radius)
        for before, after in zip(given.orbits, crystal.orbits, strict=True):
            if before.element == args.mobile:
                step = find_mic((after.positions[0] - before.positions[0]) @ crystal.cell, crystal.cell)[1]
                seen = f"moved by {step:.3f} Å" if before.label in moved else "no ion was there, it stays"
                print(f"{before.label}: {seen}")
    write_sites(args.out, sites)
    for entry in sites["classes"]:
        number = sum(jump["class"] == entry["name"] for jump in sites["jumps"])
        print(f"{entry['name']}: {number // 2} pairs in a cell")


if __name__ == "__main__":
    run_script(main)
