"""The lattice gas of the rate model beside molecular dynamics: occupancies and pairs of ions.

Table of pairs, at each temperature of MD that takes part in the rate model: ions per site of each orbit and filled
pairs of each class over those of independent sites: of MD, with its standard error (runs in several arrangements, or
blocks of one), of the lattice gas with interactions, and of the gas of exclusion alone, with site energies fitted
without interactions, both in a supercell as large as that of MD.

Table of occupancies: those of MD with the interval of Student's t over runs, and of the interacting gas (origin kmc),
with that of the rate model: derivatives by its parameters are covariances with the energy's (fluctuations of the gas).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.cluster_energies import pair_classes, pair_correlation, sample_gas
from insilico_nmr.crystal import read_crystal
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.events import assign, blocks, occupation
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.neighbourhoods import pair_matrix, read_interactions
from insilico_nmr.rate_shifts import STRENGTH, read_rate_model
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.sites import build_sites, on_network, read_sites, site_orbits
from insilico_nmr.trajectory import read_trajectory

SAMPLES = 4000
BLOCKS = 8  # of one run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="runs at the temperatures of the rates, HDF5")
    parser.add_argument("--cif", type=Path, required=True, help="the crystal that the sites were made from")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--interactions", type=Path, required=True, help="of fit_interactions.py, JSON")
    parser.add_argument("--cutoff", type=float, required=True, help="Å, up to which pairs are compared")
    parser.add_argument("--model", type=Path, required=True, help="parameters of fit_rates.py, JSON")
    parser.add_argument("--core-radius", type=float, required=True, help="Å, as for the rates")
    parser.add_argument("--mark-above", type=float, default=np.inf, metavar="T", help="K; hotter MD is left out")
    parser.add_argument("--seed", type=int, required=True, help="of the samples of the gas")
    parser.add_argument("--out", type=Path, required=True, help="table of pairs, CSV")
    parser.add_argument("--out-occupancies", type=Path, required=True, help="table of occupancies, CSV")
    args = parser.parse_args()

    sites = read_sites(args.sites)
    interactions, model = read_interactions(args.interactions, sites), read_rate_model(args.model, sites)
    if STRENGTH not in model["parameters"]:
        raise InputError(f"{args.model}: a rate model of ions without interactions")
    network = build_sites(on_network(read_crystal(args.cif), sites), sites["mobile"], args.cutoff)
    pairs = [pair | {"energy_eV": model[STRENGTH] * pair["energy_eV"]} for pair in interactions["pairs"]]
    tables, occupancies = [], []
    for target, runs in md_runs(args, sites).items():
        frames = [len(run["filled"]) for run in runs]  # as analyse_jumps.py weighs runs
        temperature = round(float(np.average([run["temperature_K"] for run in runs], weights=frames)), 1)
        repeat = runs[0]["repeat"]
        plan = temperature, repeat, runs[0]["n_ions"], SAMPLES
        gas = sample_gas(sites, model["site_energies_eV"], pairs, *plan, args.seed, interactions["occupancy"])
        alone = sample_gas(sites, model["without_interactions"]["site_energies_eV"], [], *plan, args.seed + 1)
        tables.append(compare(network, repeat, runs, gas, alone).assign(temperature_K=target))
        errors = occupancy_errors(sites, interactions, model, gas, repeat, temperature)
        occupancies += occupancy_rows(tables[-1], temperature, errors)
    table = pd.concat(tables)
    for path, content in (
        (args.out, table),
        (args.out_occupancies, pd.DataFrame(occupancies).sort_values(["orbit", "temperature_K", "origin"])),
    ):
        with atomic_path(path) as temporary:
            content.to_csv(temporary, index=False, float_format="%.6g")
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
    """Rows of the table of pairs at one temperature."""
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
            "md_se": error_over_replicas(np.array(each)),
            "interacting": with_them,
            "exclusion": without,
        }
    )


def occupancy_errors(
    sites: dict, interactions: dict, model: dict, filled: np.ndarray, repeat: tuple[int, int, int], temperature_K: float
) -> dict[str, float]:
    """Standard errors of ions per site by orbit, that the rate model's covariance brings."""
    m, cells = len(sites["sites"]), int(np.prod(repeat))
    orbit = np.tile(site_orbits(sites), cells)
    mean = np.tile([interactions["occupancy"][label] for label in site_orbits(sites)], cells)
    coupling = pair_matrix(interactions["pairs"], m, repeat)
    # Derivatives of the energy of every sample.
    of_pairs = 0.5 * np.einsum("ks,ks->k", filled @ coupling, filled) - filled @ (coupling @ mean)
    slopes = {label: filled[:, orbit == label].sum(axis=1) for label in dict.fromkeys(orbit)} | {STRENGTH: of_pairs}
    columns = np.array([slopes.get(name, np.zeros(len(filled))) for name in model["parameters"]])
    kT = BOLTZMANN_EV_PER_K * temperature_K
    found = {}
    for label in dict.fromkeys(orbit.tolist()):
        per_site = filled[:, orbit == label].mean(axis=1)
        gradient = -((columns - columns.mean(axis=1, keepdims=True)) @ (per_site - per_site.mean())) / len(filled) / kT
        found[label] = float(np.sqrt(gradient @ np.array(model["covariance"]) @ gradient))
    return found


def occupancy_rows(table: pd.DataFrame, temperature_K: float, errors: dict[str, float]) -> list[dict]:
    """Rows of the table of occupancies at one temperature."""
    rows = []
    for row in table[table["kind"] == "occupation"].itertuples():
        for origin, value, half in (
            ("md", row.md, 1.96 * row.md_se),
            ("kmc", row.interacting, 1.96 * errors[row.name]),
        ):
            rows.append(
                {
                    "temperature_K": temperature_K,
                    "origin": origin,
                    "orbit": row.name,
                    "ions_per_site": value,
                    "ci_low": max(value - half, 0.0),
                    "ci_high": min(value + half, max(value, 1.0)),
                }
            )
    return rows


if __name__ == "__main__":
    run_script(main)
