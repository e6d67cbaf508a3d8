"""Rates for kinetic Monte Carlo of interacting ions, and the lattice gas beside molecular dynamics.

The rates are those that a jump would have without neighbours that interact, chosen such that mean rates in the gas at
the temperatures of MD are the rate model's (insilico_nmr.cluster_energies says how, and what is assumed). Barriers
come with the attempt frequency, above which no jump is made, into the interactions that run_kmc.py reads.

The table tells, at each temperature of MD that takes part in the rate model, ions per site of each orbit and filled
pairs of each class over those of independent sites: of MD, with its standard error (runs in several arrangements, or
blocks of one), of the lattice gas with interactions, and of the gas of exclusion with the rate model's site energies,
both in a supercell as large as that of MD.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.cluster_energies import bare_rates, kinetic_barriers, pair_classes, pair_correlation, sample_gas
from insilico_nmr.crystal import read_crystal
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.events import assign, blocks, occupation
from insilico_nmr.files import atomic_path, read_json, write_json
from insilico_nmr.rate_shifts import read_rate_model
from insilico_nmr.sites import build_sites, directed_classes, read_sites, site_orbits
from insilico_nmr.trajectory import read_trajectory

SAMPLES = 4000
BLOCKS = 8  # of one run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="runs at the temperatures of the rates, HDF5")
    parser.add_argument("--cif", type=Path, required=True, help="the crystal that the sites were made from")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--interactions", type=Path, required=True, help="of fit_interactions.py, JSON")
    parser.add_argument("--cutoff", type=float, required=True, help="Å, that of the interactions")
    parser.add_argument("--model", type=Path, required=True, help="parameters of fit_rates.py, JSON")
    parser.add_argument("--core-radius", type=float, required=True, help="Å, as for the rates")
    parser.add_argument("--mark-above", type=float, default=np.inf, metavar="T", help="K; hotter MD is left out")
    parser.add_argument("--temperatures", type=float, nargs="+", required=True, metavar="T", help="K, of the rates")
    parser.add_argument("--seed", type=int, required=True, help="of the samples of the gas")
    parser.add_argument("--out", type=Path, required=True, help="rates, CSV")
    parser.add_argument("--out-interactions", type=Path, required=True, help="interactions with the ceiling, JSON")
    parser.add_argument("--table", type=Path, required=True, help="lattice gas beside MD, CSV")
    args = parser.parse_args()

    sites, interactions = read_sites(args.sites), read_json(args.interactions)
    model = read_rate_model(args.model, sites)
    network = build_sites(read_crystal(args.cif), sites["mobile"], args.cutoff)
    site_eV, pairs = interactions["site_energies_eV"], interactions["pairs"]
    seen, rows = md_runs(args, sites), []
    samples = {}
    for target, runs in seen.items():
        temperature, repeat = float(np.mean([run["temperature_K"] for run in runs])), runs[0]["repeat"]
        plan = temperature, repeat, runs[0]["n_ions"], SAMPLES
        samples[temperature] = sample_gas(sites, site_eV, pairs, *plan, args.seed)
        alone = sample_gas(sites, model["site_energies_eV"], [], *plan, args.seed + 1)
        rows.append(
            compare(network, repeat, runs, samples[temperature].filled, alone.filled).assign(temperature_K=target)
        )
    table = pd.concat(rows)
    barriers = kinetic_barriers(model, site_eV, samples)
    rates = pd.DataFrame(
        [
            [*key, temperature, rate, "model"]
            for temperature in sorted(set(args.temperatures))
            for key, rate in bare_rates(
                directed_classes(sites), barriers, site_eV, model["prefactor_per_s"], temperature
            ).items()
        ],
        columns=["class", "from", "to", "temperature_K", "rate_per_s", "origin"],
    )
    for path, content in ((args.out, rates), (args.table, table)):
        with atomic_path(path) as temporary:
            content.to_csv(temporary, index=False, float_format="%.8g")
    # A hair more than ν, lest rounding puts a rate without barrier above it.
    write_json(args.out_interactions, interactions | {"attempt_frequency_per_s": 1.0001 * model["prefactor_per_s"]})
    for kind, part in table.groupby("kind", sort=False):
        off = {name: np.sqrt(((part[name] - part["md"]) ** 2).mean()) for name in ("interacting", "exclusion")}
        print(
            f"{kind}: root-mean-square deviation from MD {off['interacting']:.3f} with interactions, "
            f"{off['exclusion']:.3f} without; MD's own error {np.sqrt((part['md_se'] ** 2).mean()):.3f}",
            file=sys.stderr,
        )


def md_runs(args: argparse.Namespace, sites: dict) -> dict[float, list[dict]]:
    """Occupations along the runs, by target temperature."""
    found: dict[float, list[dict]] = {}
    for path in args.trajectories:
        trajectory = read_trajectory(path)
        if trajectory.target_temperature_K > args.mark_above:
            continue
        assignment = assign(trajectory, sites, args.core_radius)
        found.setdefault(float(trajectory.target_temperature_K), []).append(
            {
                "temperature_K": float(trajectory.temperature_K.mean()),
                "repeat": assignment.repeat,
                "n_ions": assignment.site.shape[1],
                "filled": occupation(assignment),
            }
        )
    if not found:
        raise InputError(f"no MD up to {args.mark_above:g} K to compare the lattice gas with")
    return dict(sorted(found.items()))


def compare(network: dict, repeat: tuple, runs: list[dict], interacting: np.ndarray, exclusion: np.ndarray):
    """Rows of the table at one temperature."""
    parts = [run["filled"] for run in runs]
    if len(parts) == 1:
        parts = [parts[0][blocks(len(parts[0]), BLOCKS) == block] for block in range(BLOCKS)]
    md, with_them, without = (
        np.concatenate(pair_correlation(network, repeat, filled))
        for filled in (np.concatenate(parts), interacting, exclusion)
    )
    each = [np.concatenate(pair_correlation(network, repeat, part)) for part in parts]
    orbits = list(dict.fromkeys(site_orbits(network)))
    names, distances = pair_classes(network)
    return pd.DataFrame(
        {
            "kind": ["occupation"] * len(orbits) + ["pair"] * len(names),
            "name": orbits + names,
            "distance_A": [np.nan] * len(orbits) + distances.tolist(),
            "md": md,
            "md_se": np.std(each, axis=0, ddof=1) / np.sqrt(len(each)),
            "interacting": with_them,
            "exclusion": without,
        }
    )


if __name__ == "__main__":
    run_script(main)
