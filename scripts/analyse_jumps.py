"""Jumps of mobile ions in molecular dynamics: rates of every jump class with intervals, and what was left out.

Several trajectories of one temperature count as one. The counts are a CSV, one row per directed class and temperature;
the summary is a JSON with the fraction of time outside all cores, unlisted jumps, occupancies and diffusion.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.events import assign, count_jumps, find_jumps, summary
from insilico_nmr.files import atomic_path, write_json
from insilico_nmr.rates import count_table
from insilico_nmr.sites import directed_classes, read_sites
from insilico_nmr.trajectory import read_trajectory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", metavar="TRAJ", help="HDF5 trajectories of run_md.py")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--core-radius", type=float, required=True, help="Å, an ion is at a site while this close")
    parser.add_argument("--seed", type=int, default=1, help="seed of the block bootstrap (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="counts, CSV")
    parser.add_argument("--summary", type=Path, required=True, help="summary, JSON")
    args = parser.parse_args()

    sites = read_sites(args.sites)
    blocks, summaries = {}, []
    for path in args.trajectories:
        trajectory = read_trajectory(path)
        assignment = assign(trajectory, sites, args.core_radius)
        jumps = find_jumps(assignment)
        temperature = trajectory.target_temperature_K
        blocks.setdefault(temperature, []).append(count_jumps(assignment, jumps))
        found = {"trajectory": str(path), "temperature_K": temperature, "core_radius_A": args.core_radius}
        found |= {"mean_temperature_K": float(trajectory.temperature_K.mean())} | summary(assignment, jumps)
        summaries.append(found)
        print(
            f"{path}: {found['jumps']} jumps, {found['jumps_unlisted']} unlisted, "
            f"{100 * found['outside_fraction']:.0f} % of the time outside all cores",
            file=sys.stderr,
        )
    tables = []
    for temperature, runs in sorted(blocks.items()):
        counts, exposures = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        tables.append(count_table(directed_classes(sites), counts, exposures, temperature, args.seed))
    with atomic_path(args.out) as temporary:
        pd.concat(tables, ignore_index=True).to_csv(temporary, index=False)
    write_json(args.summary, {"trajectories": summaries})


if __name__ == "__main__":
    run_script(main)
