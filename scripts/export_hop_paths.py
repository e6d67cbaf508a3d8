"""Paths of single hops on the potential, in a cell that first-principles codes can afford: one path a class.

Arrangements of the other ions are tried in turn until one gives a path with a barrier between minima; classes come in
the order of the sites file. The images, both ends included, are written as a pool for label_snapshot.py: `class`,
`from`, `to`, `path` (counted from 0) and `image` say which is which. compare_hop_paths.py reads them back. With
--follow the ion behind moves up to the site that is left, as in the chains that MD has; such classes are named so.
"""

import argparse
import sys
from pathlib import Path

from insilico_nmr.crystal import read_crystal
from insilico_nmr.dataset import write_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.neb import NebFailed, find_barrier, hop_start, jump_of_class
from insilico_nmr.potential import calculator
from insilico_nmr.sites import on_network, read_sites
from insilico_nmr.vineyard import find_minima

TRIES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cif", type=Path, help="the crystal that the sites were made from")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential; member 0 is taken")
    parser.add_argument("--repeat", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"), help="cells")
    parser.add_argument("--number", type=int, required=True, help="paths, each of another class")
    parser.add_argument("--min-distance", type=float, required=True, help="Å, no two mobile ions start closer")
    parser.add_argument("--follow", action="store_true", help="the ion behind moves up to the site that is left")
    parser.add_argument("--images", type=int, default=3, help="images between the end points (default: 3)")
    parser.add_argument("--max-force", type=float, default=0.05, help="eV/Å, convergence (default: 0.05)")
    parser.add_argument("--charge", type=float, default=0, help="e, of a cell (default: 0)")
    parser.add_argument("--seed", type=int, required=True, help="draws the arrangements")
    parser.add_argument("--material", required=True, help="for the frames")
    parser.add_argument("--phase", required=True, help="for the frames")
    parser.add_argument("--group", required=True, help="for the frames, which resemble one another")
    parser.add_argument("--out", type=Path, required=True, help="images, extended XYZ")
    args = parser.parse_args()

    sites = read_sites(args.sites)
    crystal = on_network(read_crystal(args.cif), sites)
    calc = calculator(args.potential, {orbit.element for orbit in crystal.orbits})
    common = {"material": args.material, "phase": args.phase, "group": args.group, "charge": args.charge}
    frames, found = [], 0
    for entry in sites["classes"]:
        for arrangement in range(TRIES):
            if found == args.number:
                break
            try:
                start = hop_start(crystal, sites, tuple(args.repeat), jump_of_class(sites, entry), args.min_distance,
                                  args.seed + arrangement, args.follow, calc)  # fmt: skip
                hop = find_barrier(start, calc, args.images, args.max_force)
                find_minima(hop, start.ion, calc)
            except NebFailed as error:
                print(f"{entry['name']}, arrangement {arrangement}: {error}", file=sys.stderr)
                continue
            print(f"{entry['name']}, arrangement {arrangement}: {hop.forward_eV:.3f} eV, {hop.backward_eV:.3f} eV back")
            for image, atoms in enumerate(hop.path):
                atoms.info = common | {
                    "source": "to be labelled",
                    "class": f"{entry['name']}{' and the ion behind' if args.follow else ''}",
                    "from": entry["from"],
                    "to": entry["to"],
                    "path": found,
                    "image": image,
                }
                frames.append(atoms)
            found += 1
            break
    if found < args.number:
        raise InputError(
            f"{found} of {len(sites['classes'])} classes have a path with a barrier in cells of {args.repeat}; "
            f"expected {args.number}: ask for fewer, or for a larger cell"
        )
    write_frames(args.out, frames)


if __name__ == "__main__":
    run_script(main)
