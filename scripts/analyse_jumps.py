"""Jumps of mobile ions in molecular dynamics: rates of every jump class with intervals, and what was left out.

Several trajectories of one target temperature count as one. Rates are booked at the mean kinetic temperature of those
runs, rounded to 0.1 K: that is `temperature_K` of the counts and of the summary. The counts are a CSV, one row per
directed class and temperature; a second one has them for each member of the potential's committee by itself. The
summary is a JSON by run, and a CSV by temperature, with the fraction of time outside all cores, unlisted jumps,
replacements, jumps undone at once, occupancies (by run) and diffusion (by the mean squared displacement, against which
a simulation on the sites can be held).

Absolute rates depend on the core radius, since what counts as a jump and what as an attempt does. The summary has the
counts at a smaller and a larger radius, and the factor on all rates that comes of it; half the range of its logarithm
is `radius_log_sd` of the counts, a systematic error that all classes share. Rates near one in `frame_s`, the longest
time between frames, are not resolved: of jumps without memory about as large a part is missed as that of ions that
leave their site from one frame to the next, and above MOST_LEAVING of them a warning says so.

With --interactions, counts and exposures of each member are also sorted by what the neighbours do to the rates of jumps
(`neighbourhoods.py`).

Whether jumps forget what came before, as those of kinetic Monte Carlo do, is tested in two tables (`memory.py`): stays
of ions beside the exponential, and sites that were just left and are filled again, by the same ion or another.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr import memory
from insilico_nmr.errors import InputError, naming, run_script
from insilico_nmr.events import assign, count_jumps, find_jumps, radius_factors, summary
from insilico_nmr.files import atomic_path, write_json
from insilico_nmr.neighbourhoods import COLUMNS, count_by_neighbours, read_interactions
from insilico_nmr.rates import count_table
from insilico_nmr.sites import directed_classes, read_sites
from insilico_nmr.trajectory import read_trajectory

MOST_LEAVING = 0.05


def joined(runs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Counts and exposures (blocks, classes) of several runs, block after block."""
    counts, exposures = zip(*runs, strict=True)
    return np.concatenate(counts), np.concatenate(exposures)


def jump_row(temperature_K: float, runs: list[dict]) -> dict:
    """What the runs of one temperature were like and what the counts leave out, of their summaries (events.py).

    Fractions are means over time or over jumps, diffusion coefficients (m²/s) over runs.
    """
    lasted = [run["duration_s"] for run in runs]
    moved = np.array([run["jumps"] + run["jumps_unlisted"] for run in runs])
    row = {"temperature_K": temperature_K, "runs": len(runs), "ions": runs[0]["ions"], "followed_s": sum(lasted)}
    row |= {name: sum(run[name] for run in runs) for name in ("jumps", "jumps_unlisted")}
    row["outside_fraction"] = np.average([run["outside_fraction"] for run in runs], weights=lasted)
    for name in ("returned_fraction", "replacement_fraction", "into_occupied_fraction"):
        row[name] = moved @ [run[name] for run in runs] / max(1, moved.sum())
    for name in ("sites", "ions", "uncorrelated"):
        row[f"D_{name}_m2_per_s"] = 1e-8 * np.mean([run["diffusion_A2_per_ps"][name] for run in runs])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", metavar="TRAJ", help="HDF5 trajectories of run_md.py")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--core-radius", type=float, required=True, help="Å, an ion is at a site while this close")
    parser.add_argument("--seed", type=int, default=1, help="seed of the block bootstrap (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="counts, CSV")
    parser.add_argument("--member-counts", type=Path, required=True, help="counts of each member's runs, CSV")
    parser.add_argument("--stays", type=Path, required=True, help="stays of ions, CSV")
    parser.add_argument("--refills", type=Path, required=True, help="returns and chains, CSV")
    parser.add_argument("--jumps", type=Path, required=True, help="the summary by temperature, CSV")
    parser.add_argument("--interactions", type=Path, help="of fit_interactions.py, JSON")
    parser.add_argument("--neighbours", type=Path, help="counts sorted by neighbours, CSV: with --interactions")
    parser.add_argument("--summary", type=Path, required=True, help="summary, JSON")
    args = parser.parse_args()
    if bool(args.interactions) != bool(args.neighbours):
        raise InputError("--interactions and --neighbours go together")

    sites = read_sites(args.sites)
    interactions = read_interactions(args.interactions, sites) if args.interactions else None
    blocks, members, summaries, followed = {}, {}, {}, {}
    for path in args.trajectories:
        trajectory = read_trajectory(path)
        with naming(path):
            assignment = assign(trajectory, sites, args.core_radius)
        jumps = find_jumps(assignment)
        counted = count_jumps(assignment, jumps)
        target = trajectory.target_temperature_K
        found = {"trajectory": str(path), "target_temperature_K": target, "member": trajectory.member}
        found["core_radius_A"] = args.core_radius
        found |= {"mean_temperature_K": float(trajectory.temperature_K.mean())} | summary(assignment, jumps)
        found["other_radii"] = radius_factors(trajectory, sites, args.core_radius, counted)
        blocks.setdefault(target, []).append(counted)
        members.setdefault(target, []).append(trajectory.member)
        summaries.setdefault(target, []).append(found)
        followed.setdefault(target, []).append((assignment, jumps))
        print(
            f"{path}: {found['jumps']} jumps ({100 * found['returned_fraction']:.0f} % undone at once), "
            f"{found['jumps_unlisted']} unlisted, {100 * found['outside_fraction']:.0f} % of the time outside cores; "
            + ", ".join(
                f"{row.get('jumps', 'no')} jumps at {row['core_radius_A']:.2f} Å" for row in found["other_radii"]
            ),
            file=sys.stderr,
        )
    tables, member_tables, stays, refills, neighbours, jump_rows = [], [], [], [], [], []
    for target, runs in sorted(blocks.items()):
        group = summaries[target]
        frames = [found["frames"] for found in group]
        mean_K = round(float(np.average([found["mean_temperature_K"] for found in group], weights=frames)), 1)
        factors = np.array([[row.get("rate_factor", np.nan) for row in found["other_radii"]] for found in group])
        known = np.isfinite(factors).all(axis=0)
        if not known.all():
            reasons = [row["reason"] for found in group for row in found["other_radii"] if "reason" in row]
            print(f"warning: {target:g} K: rates at {(~known).sum()} of 2 other core radii are not known, and their "
                  f"error by the radius is from {known.sum()} ({reasons[0]})", file=sys.stderr)  # fmt: skip
        radius_log_sd = float(np.ptp(np.log([1.0, *factors[:, known].mean(axis=0)]))) / (1 + known.all())
        for found in group:
            found["temperature_K"] = mean_K
        shared = {"radius_log_sd": radius_log_sd, "frame_s": max(run[0].frame_s for run in followed[target])}
        counts, exposures = joined(runs)
        table = count_table(directed_classes(sites), counts, exposures, mean_K, args.seed)
        tables.append(table.assign(**shared))
        for member in sorted(set(members[target])):
            its_runs = joined([run for run, its in zip(runs, members[target], strict=True) if its == member])
            table = count_table(directed_classes(sites), *its_runs, mean_K, args.seed)
            member_tables.append(table.assign(**shared, member=member))
        if interactions:
            for member, run in zip(members[target], followed[target], strict=True):
                sorted_counts = count_by_neighbours(*run, interactions, mean_K)
                neighbours.append(sorted_counts.assign(temperature_K=mean_K, member=member))
        jump_rows.append(jump_row(mean_K, group))
        seen, exposed = counts.sum(axis=0), exposures.sum(axis=0)
        rates = np.divide(seen, exposed, out=np.zeros(len(seen)), where=exposed > 0)
        stayed = memory.stay_rows([memory.stays(*run, rates, args.seed) for run in followed[target]], args.seed)
        refilled = memory.refill_rows(sum(memory.refills(*run, rates) for run in followed[target]))
        for row in stayed:
            if shared["frame_s"] > MOST_LEAVING * row["mean_stay_s"]:
                print(f"warning: {target:g} K: ions stay on {row['orbit']} for {row['mean_stay_s']:.2g} s, and frames "
                      f"are {shared['frame_s']:.2g} s apart: jumps are missed; choose a smaller md.interval_fs",
                      file=sys.stderr)  # fmt: skip
        stays += [{"temperature_K": mean_K} | row for row in stayed]
        refills += [{"temperature_K": mean_K} | row for row in refilled]
    for path, columns, rows in (
        (args.stays, memory.STAY_COLUMNS, stays),
        (args.refills, memory.REFILL_COLUMNS, refills),
    ):
        with atomic_path(path) as temporary:
            table = pd.DataFrame(rows, columns=["temperature_K", *columns])
            table.to_csv(temporary, index=False, float_format="%.4g")
    with atomic_path(args.jumps) as temporary:
        pd.DataFrame(jump_rows).to_csv(temporary, index=False, float_format="%.4g")
    for path, parts in ((args.out, tables), (args.member_counts, member_tables)):
        with atomic_path(path) as temporary:
            pd.concat(parts, ignore_index=True).to_csv(temporary, index=False)
    if interactions:
        keys = ["temperature_K", "member", *COLUMNS[:4]]
        summed = pd.concat(neighbours).groupby(keys, as_index=False, sort=False)[COLUMNS[4:]].sum()
        with atomic_path(args.neighbours) as temporary:
            summed.round({"log_x": 6}).to_csv(temporary, index=False)
    write_json(args.summary, {"trajectories": [found for target in sorted(blocks) for found in summaries[target]]})


if __name__ == "__main__":
    run_script(main)
