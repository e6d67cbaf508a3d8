"""Barriers of the same hops in growing supercells: how far the images of an ion and its strain field disturb it.

In the smallest cell, arrangements of the other ions are drawn until --arrangements different ones give a class a path
with a barrier between minima. The relaxed crystal is then repeated to each larger cell, so that the ion has the same
surroundings and only its images in other cells, which stay behind while it hops, are farther away. Finished hops lie in
the state folder.
"""

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np
from insilico_nmr.crystal import read_crystal
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, keep_state_of, read_json, sha256, write_json
from insilico_nmr.neb import NebFailed, Start, find_barrier, hop_start, jump_of_class, repeated
from insilico_nmr.potential import calculator, member_file
from insilico_nmr.sites import on_network, read_sites
from insilico_nmr.vineyard import find_minima

COLUMNS = ["class", "from", "to", "arrangement", "cells", "atoms", "status", "forward_eV", "backward_eV", "reason"]
# So many arrangements are drawn for each that is wanted: many relax away from the sites.
DRAWN = 8
# Arrangements whose barriers in the first cell differ by less are one, seen through the crystal's symmetry.
SAME_EV = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cif", type=Path, help="the crystal that the sites were made from")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential; member 0 is taken")
    parser.add_argument("--repeats", required=True, metavar="AxBxC", nargs="+",
                        help="supercells, each a multiple of the first")  # fmt: skip
    parser.add_argument("--arrangements", type=int, required=True, help="arrangements of the other ions per class")
    parser.add_argument("--min-distance", type=float, required=True, help="Å, no two mobile ions start closer")
    parser.add_argument("--images", type=int, default=5, help="images between the end points (default: 5)")
    parser.add_argument("--max-force", type=float, default=0.05, help="eV/Å, convergence (default: 0.05)")
    parser.add_argument("--seed", type=int, required=True, help="draws the arrangements")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="folder of finished hops")
    parser.add_argument("--out", type=Path, required=True, help="barriers, CSV")
    args = parser.parse_args()
    if args.arrangements < 1:
        raise InputError(f"--arrangements is {args.arrangements}; expected at least 1")
    cells = [parse(text) for text in args.repeats]
    for larger in cells[1:]:
        if any(part % own for part, own in zip(larger, cells[0], strict=True)):
            raise InputError(f"--repeats: {larger} is no multiple of the first, {cells[0]}")

    sites = read_sites(args.sites)
    crystal = on_network(read_crystal(args.cif), sites)
    calc = calculator(args.potential, {orbit.element for orbit in crystal.orbits})
    made_from = [sha256(path) for path in (args.cif, args.sites, member_file(args.potential))]
    keep_state_of(
        args.state,
        __file__,
        *made_from,
        cells[0],
        args.min_distance,
        args.images,
        args.max_force,
        args.seed,
    )
    rows = []
    for entry in sites["classes"]:
        found: list[tuple[float, float]] = []
        tried = 0
        while len(found) < args.arrangements and tried < DRAWN * args.arrangements:
            start = hop_start(crystal, sites, tuple(cells[0]), jump_of_class(sites, entry), args.min_distance,
                              args.seed + tried, calculator=calc)  # fmt: skip
            tried += 1
            common = {"class": entry["name"], "from": entry["from"], "to": entry["to"], "arrangement": tried - 1}
            path = args.state / f"{re.sub('[^A-Za-z0-9.-]', '_', entry['name'])}_{tried - 1}.json"
            if not (path.exists() and read_json(path)["cells"] == cells):
                write_json(path, {"cells": cells, "rows": hop_rows(start, cells, found, calc, args)})
            here = read_json(path)["rows"]
            if here[0]["status"] == "converged":
                barriers = here[0]["forward_eV"], here[0]["backward_eV"]
                if known(barriers, found):
                    continue
                found.append(barriers)
            rows += [common | row for row in here]
        print(f"{entry['name']}: {len(found)} paths of {tried} arrangements", file=sys.stderr, flush=True)
    if not any(row["status"] == "converged" for row in rows):
        raise InputError(f"no class has a path with a barrier in cells of {args.repeats[0]}: take a larger first cell")
    for line in differences(rows, ["x".join(map(str, cell)) for cell in cells]):
        print(line, file=sys.stderr)
    with atomic_path(args.out) as temporary, open(temporary, "w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def parse(text: str) -> list[int]:
    """2x2x1 as numbers."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise InputError(f"--repeats: {text!r} is no supercell; expected such as 2x2x1")
    return [int(part) for part in text.split("x")]


def known(barriers: tuple[float, float], found: list[tuple[float, float]]) -> bool:
    """Is it one of those: drawn again, or what symmetry makes of it?"""
    return any(np.allclose(barriers, other, rtol=0, atol=SAME_EV) for other in found)


def hop_rows(start: Start, cells: list[list[int]], found: list[tuple[float, float]], calc, args) -> list[dict]:
    """Barriers of one hop in each cell; where the first cell has none, or one `found` already, others are not tried."""
    rows, relaxed = [], None
    for cell in cells:
        here = start
        if relaxed is not None:
            here = repeated(start, relaxed, tuple(part // own for part, own in zip(cell, cells[0], strict=True)))
        row = {"cells": "x".join(map(str, cell)), "atoms": len(here.atoms)}
        try:
            hop = find_barrier(here, calc, args.images, args.max_force)
            if relaxed is None and not known((hop.forward_eV, hop.backward_eV), found):
                find_minima(hop, here.ion, calc)
                relaxed = hop.path[0]
            row |= {"status": "converged", "forward_eV": hop.forward_eV, "backward_eV": hop.backward_eV}
        except NebFailed as error:
            row |= {"status": error.status, "reason": str(error)}
        rows.append(row)
        if relaxed is None:
            break
    return rows


def differences(rows: list[dict], cells: list[str]) -> list[str]:
    """Mean and standard deviation of what each cell changes against the largest one, both directions together."""
    barriers: dict[str, dict] = {cell: {} for cell in cells}
    for row in rows:
        for side in ("forward_eV", "backward_eV"):
            if row["status"] == "converged":
                barriers[row["cells"]][row["class"], row["arrangement"], side] = row[side]
    lines = []
    for cell in cells[:-1]:
        both = barriers[cell].keys() & barriers[cells[-1]].keys()
        if both:
            change = np.array([barriers[cell][key] - barriers[cells[-1]][key] for key in both])
            lines.append(f"{cell} against {cells[-1]}: {change.mean():+.3f} eV, standard deviation {change.std():.3f}, "
                         f"median of sizes {np.median(np.abs(change)):.3f}, {len(both)} barriers")  # fmt: skip
    return lines


if __name__ == "__main__":
    run_script(main)
