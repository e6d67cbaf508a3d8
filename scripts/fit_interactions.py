"""Site energies and pair interactions of mobile ions, fitted to energies of relaxed arrangements on the potential.

The first third of the arrangements is dealt out at random, the others are drawn at --temperature from the lattice gas
that was fitted to those before: the energies that matter are those of arrangements that occur. Each is relaxed at fixed
cell, and is the arrangement of the sites that its ions are then nearest to; it is left out where two ions are on one
site or the relaxation does not end. Committee members go on from the minimum of member 0, and count where ions stay.

Writes the pair energies with the crystal's occupancies (fit_rates.py finds rates among these, and how strong the pairs
are in MD), energies with their errors, energies against the fit, and how the error of cross-validation falls with the
cut-off. Finished arrangements lie in
the state folder; a second run takes them from there as long as nothing they depend on has changed.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.cluster_energies import (
    ClusterEnergies,
    count_clusters,
    find_minimum,
    fit_energies,
    pair_classes,
    pair_list,
    random_arrangement,
    sample_gas,
)
from insilico_nmr.crystal import ion_numbers, mobile_sites, read_crystal
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_of_members
from insilico_nmr.files import atomic_path, read_json, sha256, write_json
from insilico_nmr.potential import calculator, member_file
from insilico_nmr.sites import build_sites, on_network, read_sites, site_orbits
from insilico_nmr.source_files import hash_of_program

ROUNDS = 3
FURTHER = 2.0  # times the cut-off, up to where others are tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cif", type=Path, help="the crystal that the sites were made from")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential")
    parser.add_argument("--members", type=int, default=1, help="committee members to ask, from 0 on (default: 1)")
    parser.add_argument("--repeat", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"), help="cells")
    parser.add_argument("--cutoff", type=float, required=True, help="Å, ions on sites closer than this interact")
    parser.add_argument("--arrangements", type=int, required=True, help="arrangements to relax")
    parser.add_argument("--temperature", type=float, required=True, help="K, at which the later ones are drawn")
    parser.add_argument("--max-force", type=float, default=0.02, help="eV/Å, end of relaxations (default: 0.02)")
    parser.add_argument("--seed", type=int, required=True, help="draws the arrangements")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="folder of finished arrangements")
    parser.add_argument("--out", type=Path, required=True, help="interactions for kinetic Monte Carlo, JSON")
    parser.add_argument("--table", type=Path, required=True, help="energies with errors, CSV")
    parser.add_argument("--parity", type=Path, required=True, help="arrangements and their energies, CSV")
    parser.add_argument("--cutoffs", type=Path, required=True, help="cross-validation error by cut-off, CSV")
    args = parser.parse_args()
    for name in ("members", "arrangements"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} is {getattr(args, name)}; expected at least 1")
    if not args.temperature > 0:
        raise InputError(f"--temperature is {args.temperature:g}; expected more than 0 K")

    sites = read_sites(args.sites)
    crystal = on_network(read_crystal(args.cif), sites)
    network = build_sites(crystal, sites["mobile"], args.cutoff)
    if site_orbits(network) != site_orbits(sites):
        raise InputError(f"{args.sites} has other sites than {args.cif}")
    rows = relaxed_rows(args, crystal, sites, network)
    fits = [fitted(rows, network, tuple(args.repeat), args.cutoff, member) for member in range(args.members)]
    occupancy = {orbit.label: orbit.occupancy for orbit in crystal.mobile_orbits(sites["mobile"])}
    write_json(args.out, {"pairs": pair_list(network, fits[0].pair_eV), "occupancy": occupancy})
    energies = energy_table(network, fits, args.cutoff)
    parity = parity_table(rows, fits[0])
    for path, table in (
        (args.table, energies),
        (args.parity, parity),
        (args.cutoffs, cutoff_table(rows, build_sites(crystal, sites["mobile"], FURTHER * args.cutoff), args)),
    ):
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    error = float(np.sqrt(((parity["energy_eV"] - parity["predicted_eV"]) ** 2).mean()))
    print(
        f"{len(parity)} of {len(rows)} arrangements, energies scatter by {parity['energy_eV'].std():.3f} eV, error of "
        f"cross-validation {error:.3f} eV per cell of {len(parity['sites'].iloc[0].split())} ions",
        file=sys.stderr,
    )


def relaxed_rows(args: argparse.Namespace, crystal, sites: dict, network: dict) -> list[dict]:
    """One row an arrangement: round, start, and by member energy, sites and whether it is sound; from state or made."""
    mobile, repeat = sites["mobile"], tuple(args.repeat)
    n_ions = sum(ion_numbers(crystal.mobile_orbits(mobile), int(np.prod(repeat))))
    if n_ions >= len(mobile_sites(crystal, mobile, repeat)):
        raise InputError(f"{args.cif}: every site of {mobile} is full: there is nothing to arrange")
    made_from = {
        "program": hash_of_program(__file__),
        "cif": sha256(args.cif),
        "sites": sha256(args.sites),
        "potential": [sha256(member_file(args.potential, member)) for member in range(args.members)],
    } | {name: getattr(args, name) for name in ("repeat", "cutoff", "arrangements", "temperature", "max_force", "seed")}
    symbols = {orbit.element for orbit in crystal.orbits}
    calculators = [calculator(args.potential, symbols, member) for member in range(args.members)]
    rows, drawn, started, run = [], [], time.monotonic(), 0
    for number in range(args.arrangements):
        stage = number * ROUNDS // args.arrangements
        path = args.state / f"arrangement_{number:04d}.json"
        if not (path.exists() and read_json(path)["made_from"] == made_from):
            rng = np.random.default_rng([args.seed, number])
            if stage == 0:
                start = random_arrangement(crystal, mobile, repeat, n_ions, rng)
            else:
                if not any(known == stage for known, _ in drawn):
                    drawn = [(stage, draw(args, sites, network, rows, n_ions, stage))]
                first = -(-stage * args.arrangements // ROUNDS)
                start = np.flatnonzero(drawn[0][1][number - first])
            relaxed = find_minimum(crystal, mobile, repeat, start, calculators[0], args.max_force)
            members = [relaxed]
            for calc in calculators[1:]:
                members.append(find_minimum(crystal, mobile, repeat, start, calc, args.max_force, relaxed.atoms))
            write_json(
                path,
                {
                    "made_from": made_from,
                    "row": {
                        "round": stage,
                        "sites": sorted(relaxed.sites.tolist()),
                        "moved": int((relaxed.sites != start).sum()),
                        "furthest_A": float(relaxed.distance_A.max()),
                        "energies_eV": [
                            m.energy_eV if m.sound and relaxed.sound and set(m.sites) == set(relaxed.sites) else None
                            for m in members
                        ],
                    },
                },
            )
            run += 1
            left = (time.monotonic() - started) / run * (args.arrangements - number - 1)
            print(f"arrangement {number + 1}/{args.arrangements}, ETA {left:.0f} s", file=sys.stderr, flush=True)
        rows.append(read_json(path)["row"])
    return rows


def draw(args, sites: dict, network: dict, rows: list[dict], n_ions: int, stage: int) -> np.ndarray:
    """Arrangements (K, S) of the gas fitted to the rows so far."""
    repeat = tuple(args.repeat)
    before = [row for row in rows if row["round"] < stage]  # a run that goes on has others too
    fit = fitted(before, network, repeat, args.cutoff, 0)
    number = -(-args.arrangements // ROUNDS) + 1
    pairs, site_eV = pair_list(network, fit.pair_eV), by_orbit(network, fit.site_eV)
    return sample_gas(sites, site_eV, pairs, args.temperature, repeat, n_ions, number, args.seed + stage)


def fitted(rows: list[dict], network: dict, repeat: tuple, cutoff_A: float, member: int) -> ClusterEnergies:
    """Fit to one member's energies."""
    counted = [row for row in rows if row["energies_eV"][member] is not None]
    filled = np.zeros((len(counted), int(np.prod(repeat)) * len(network["sites"])))
    for arrangement, row in zip(filled, counted, strict=True):
        arrangement[row["sites"]] = 1
    singles, pairs = count_clusters(network, repeat, filled)
    distances = pair_classes(network)[1]
    within = distances < cutoff_A
    energies = np.array([row["energies_eV"][member] for row in counted])
    return fit_energies(singles, pairs[:, within], distances[within], cutoff_A, energies)


def by_orbit(network: dict, site_eV: np.ndarray) -> dict[str, float]:
    """Site energies by the label of their orbit."""
    return dict(zip(dict.fromkeys(site_orbits(network)), site_eV.tolist(), strict=True))


def energy_table(network: dict, fits: list[ClusterEnergies], cutoff_A: float) -> pd.DataFrame:
    """Energies of orbits and of pair classes, with both errors and what Coulomb's law alone would have."""
    orbits = list(dict.fromkeys(site_orbits(network)))
    names, distances = pair_classes(network)
    ends = [(entry["from"], entry["to"]) for entry in network["classes"]]
    values = np.array([np.append(fit.site_eV, fit.pair_eV) for fit in fits])
    return pd.DataFrame(
        {
            "kind": ["site"] * len(orbits) + ["pair"] * len(names),
            "name": orbits + names,
            "from": orbits + [start for start, _ in ends],
            "to": [""] * len(orbits) + [end for _, end in ends],
            "distance_A": [np.nan] * len(orbits) + distances.tolist(),
            "energy_eV": values[0],
            "energy_se_sampling_eV": np.append(fits[0].se_site_eV, fits[0].se_pair_eV),
            "energy_sd_model_eV": error_of_members(values),
            "coulomb_eV": [np.nan] * len(orbits) + (fits[0].coulomb_eV_A * (1 / distances - 1 / cutoff_A)).tolist(),
        }
    )


def parity_table(rows: list[dict], fit: ClusterEnergies) -> pd.DataFrame:
    """The arrangements that member 0's fit is made of, energies from their mean on."""
    counted = [row for row in rows if row["energies_eV"][0] is not None]
    energies = np.array([row["energies_eV"][0] for row in counted])
    return pd.DataFrame(
        {
            "round": [row["round"] for row in counted],
            "moved": [row["moved"] for row in counted],
            "furthest_A": [row["furthest_A"] for row in counted],
            "energy_eV": energies - energies.mean(),
            "fitted_eV": fit.fitted_eV - energies.mean(),
            "predicted_eV": fit.predicted_eV - energies.mean(),
            "sites": [" ".join(map(str, row["sites"])) for row in counted],
        }
    )


def cutoff_table(rows: list[dict], network: dict, args: argparse.Namespace) -> pd.DataFrame:
    """Error of cross-validation with pairs up to the middle of each gap between their distances, and as asked for.

    `network`: pairs up to FURTHER times the cut-off. Column `chosen` is 1 where the cut-off is that asked for.
    """
    shells = np.unique(np.round(pair_classes(network)[1], 2))
    wide = np.flatnonzero(np.diff(shells) > 0.1)
    cutoffs = sorted({*((shells[wide] + shells[wide + 1]) / 2).tolist(), args.cutoff})
    found = []
    for cutoff in cutoffs:
        try:
            fit = fitted(rows, network, tuple(args.repeat), cutoff, 0)
        except InputError:  # no pair so close: there is no error to tell
            if cutoff == args.cutoff:
                raise
            continue
        energies = np.array([row["energies_eV"][0] for row in rows if row["energies_eV"][0] is not None])
        error = np.sqrt(((energies - fit.predicted_eV) ** 2).mean())
        found.append([cutoff, len(fit.pair_eV), error, energies.std(ddof=1), int(cutoff == args.cutoff)])
    return pd.DataFrame(found, columns=["cutoff_A", "classes", "error_eV", "spread_eV", "chosen"])


if __name__ == "__main__":
    run_script(main)
