"""The network of sites and jumps of a crystal: CIF in, sites.json out."""

import argparse
from pathlib import Path

from insilico_nmr.crystal import read_crystal
from insilico_nmr.errors import run_script
from insilico_nmr.events import assign, check_cores, mean_displacements
from insilico_nmr.sites import build_sites, refined, write_sites
from insilico_nmr.trajectory import read_trajectory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cif", type=Path, help="crystal with the sites of the mobile ions, partial occupancies allowed")
    parser.add_argument("--mobile", required=True, help="element that moves, such as Li")
    parser.add_argument("--jump-cutoff", type=float, required=True, help="longest jump, Å")
    parser.add_argument("--trajectory", type=Path, help="move sites to where ions are in this run")
    parser.add_argument("--core-radius", type=float, help="Å, radius about a site: checked not to overlap")
    parser.add_argument("--out", type=Path, required=True, help="sites.json")
    args = parser.parse_args()
    if args.trajectory is not None and args.core_radius is None:
        parser.error("--trajectory needs --core-radius")

    crystal = read_crystal(args.cif)
    sites = build_sites(crystal, args.mobile, args.jump_cutoff)
    if args.core_radius is not None:
        check_cores(sites, args.core_radius)
    if args.trajectory is not None:
        trajectory = read_trajectory(args.trajectory)
        # Cores move with the sites, so a second pass settles what the first one finds.
        for _ in range(2):
            moved = mean_displacements(assign(trajectory, sites, args.core_radius))
            crystal = refined(crystal, args.mobile, moved)
            sites = build_sites(crystal, args.mobile, args.jump_cutoff)
    write_sites(args.out, sites)
    for entry in sites["classes"]:
        number = sum(jump["class"] == entry["name"] for jump in sites["jumps"])
        print(f"{entry['name']}: {number // 2} pairs in a cell")


if __name__ == "__main__":
    run_script(main)
