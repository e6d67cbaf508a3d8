"""Barriers of jump classes by climbing-image NEB on the trained potential, in several arrangements of the other ions.

Each finished class lies in the state folder; a second run takes it from there as long as nothing it depends on has
changed. A hop without a barrier to trust is a row with its reason, not an error; so is a path that stays on a ridge,
with more than one imaginary mode at its top, and one that begins or ends on a shelf. Where its top is led to a saddle
the row has Vineyard's attempt frequencies, and else the reason.
"""

import argparse
import csv
import re
import sys
import time
from pathlib import Path

from ase.calculators.calculator import Calculator
from insilico_nmr.crystal import read_crystal
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, read_json, sha256, write_json
from insilico_nmr.neb import NebFailed, Start, find_barrier, hop_start, jump_of_class
from insilico_nmr.potential import calculator, member_file
from insilico_nmr.sites import on_network, read_sites
from insilico_nmr.source_files import hash_of_program
from insilico_nmr.vineyard import NoPrefactor, find_minima, find_saddle, prefactor

COLUMNS = ["class", "from", "to", "arrangement", "member", "status", "forward_eV", "backward_eV"]
COLUMNS += ["forward_prefactor_per_s", "backward_prefactor_per_s", "reason"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cif", type=Path, help="the crystal that the sites were made from")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential")
    parser.add_argument("--members", type=int, default=1, help="committee members to run, from 0 on (default: 1)")
    parser.add_argument("--repeat", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"), help="cells")
    parser.add_argument("--arrangements", type=int, required=True, help="arrangements of the other ions per class")
    parser.add_argument("--min-distance", type=float, required=True, help="Å, no two mobile ions start closer")
    parser.add_argument("--images", type=int, default=5, help="images between the end points (default: 5)")
    parser.add_argument("--max-force", type=float, default=0.05, help="eV/Å, convergence (default: 0.05)")
    parser.add_argument("--seed", type=int, required=True, help="draws the arrangements")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="folder of finished classes")
    parser.add_argument("--out", type=Path, required=True, help="barriers, CSV")
    args = parser.parse_args()
    for name in ("members", "arrangements", "images"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} is {getattr(args, name)}; expected at least 1")

    sites = read_sites(args.sites)
    crystal = on_network(read_crystal(args.cif), sites)
    classes = sites["classes"]
    made_from = {
        "program": hash_of_program(__file__),
        "cif": sha256(args.cif),
        "sites": sha256(args.sites),
        "potential": [sha256(member_file(args.potential, member)) for member in range(args.members)],
        "repeat": args.repeat,
        "arrangements": args.arrangements,
        "min_distance_A": args.min_distance,
        "images": args.images,
        "max_force_eV_per_A": args.max_force,
        "seed": args.seed,
    }
    symbols = {orbit.element for orbit in crystal.orbits}
    calculators = [calculator(args.potential, symbols, member) for member in range(args.members)]
    rows, started, run = [], time.monotonic(), 0
    for number, entry in enumerate(classes):
        path = args.state / f"{re.sub('[^A-Za-z0-9.-]', '_', entry['name'])}.json"
        if not (path.exists() and read_json(path)["made_from"] == made_from):
            write_json(path, {"made_from": made_from, "rows": run_class(entry, crystal, sites, calculators, args)})
            run += 1
            left = (time.monotonic() - started) / run * (len(classes) - number - 1)
            print(f"NEB {number + 1}/{len(classes)} {entry['name']}, ETA {left:.0f} s", file=sys.stderr, flush=True)
        rows += read_json(path)["rows"]
    with atomic_path(args.out) as temporary, open(temporary, "w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def run_class(entry: dict, crystal, sites: dict, calculators: list, args) -> list[dict]:
    """Rows of one class: every arrangement with every committee member.

    An arrangement that is drawn again is left out: with one site vacant there is but one.
    """
    jump = jump_of_class(sites, entry)
    rows, drawn = [], []
    for arrangement in range(args.arrangements):
        seed = args.seed + arrangement
        start = hop_start(crystal, sites, tuple(args.repeat), jump, args.min_distance, seed, calculator=calculators[0])
        filled = sorted(start.atoms.positions.round(3).tolist())  # whichever ion is where
        if filled in drawn:
            continue
        drawn.append(filled)
        for member, calc in enumerate(calculators):
            row = {"class": entry["name"], "from": entry["from"], "to": entry["to"]}
            row |= {"arrangement": arrangement, "member": member}
            try:
                row |= {"status": "converged"} | barriers(start, calc, args)
            except NebFailed as error:
                row |= {"status": error.status, "reason": str(error)}
            rows.append(row)
    return rows


def barriers(start: Start, calc: Calculator, args) -> dict:
    """Barriers of a hop from its minima up to its saddle, or to the highest image where that leads to none, and attempt
    frequencies."""
    hop = find_barrier(start, calc, args.images, args.max_force)
    minima = find_minima(hop, start.ion, calc)
    heights_eV = [hop.forward_eV + minima[0].below_image_eV, hop.backward_eV + minima[1].below_image_eV]
    try:
        saddle = find_saddle(hop, start.ion, calc)
        heights_eV = [height + saddle.above_image_eV for height in heights_eV]
        more = {
            f"{side}_prefactor_per_s": prefactor(minimum, saddle)
            for side, minimum in zip(("forward", "backward"), minima, strict=True)
        }
    except NoPrefactor as reason:
        more = {"reason": f"no prefactor: {reason}"}
    if min(heights_eV) <= 0:
        raise NebFailed("no minimum", "the saddle is no higher than a minimum beside it")
    return {"forward_eV": heights_eV[0], "backward_eV": heights_eV[1]} | more


if __name__ == "__main__":
    run_script(main)
