"""Tensor correlation of the ions in molecular dynamics at one temperature, five ways: does the chain hold?

direct        ⟨V(0):V(t)⟩ of the model's tensors along each ion's history: vibrations, surroundings, jumps.
sites         the same with each momentary tensor replaced by the mean of the site that the ion is nearest to.
surroundings  replaced by one that depends on which neighbouring sites are filled (`insilico_nmr.surroundings`), as
              fitted to the other half of the time of these runs.
kmc_sites, kmc_surroundings  those two along histories of kinetic Monte Carlo at this temperature.

What `surroundings` has beyond `sites` are tensors that depend on the arrangement of ions; what kinetic Monte Carlo
differs by from molecular dynamics is the rate model, and those crossings to the nearest site that are no jumps. Rows:
temperature_K, time_ps, and for each way `…_au2` and its standard error `…_se_au2`, over ions or replicas. Times up to a
quarter of the shortest run, which all are cut to. The surroundings' tensors, fitted to the whole runs, are a file of
their own, for simulate_paths.py.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from insilico_nmr import kmc, surroundings
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.events import assign
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import atomic_path, write_json
from insilico_nmr.histories import PART, autocorrelation, by_ion, momentary_tensors
from insilico_nmr.lattice import read_network_rates
from insilico_nmr.moving import Mover, lattice_of, mover_of, run_snapshots, seed_at, start_in_equilibrium
from insilico_nmr.propagator import mean_and_error
from insilico_nmr.site_tensors import collected_by_orbit, site_means
from insilico_nmr.sites import concentration, read_sites
from insilico_nmr.tensor_model import TensorModel, load_committee
from insilico_nmr.trajectory import Trajectory, read_runs

EVERY = 10  # frames, of which one is shown to all members of the committee


def simulated(
    mover: Mover, n_ions: int, times_s: np.ndarray, seed: int, replicas: int
) -> list[tuple[tuple[int, int, int], np.ndarray, np.ndarray]]:
    """Histories of kinetic Monte Carlo from equilibrium: box, sites (T, N) and cells (T, N, 3) of each replica."""
    lattice, found = lattice_of(mover), []
    for replica in range(replicas):
        rng = np.random.default_rng([seed, replica])
        start, state = start_in_equilibrium(mover, n_ions, rng)
        records = run_snapshots(mover, state, times_s)
        found.append((lattice.supercell, records[..., kmc.SITE], lattice.cells_of(start) + records[..., 1:]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="runs at one temperature, HDF5")
    parser.add_argument("--sites", type=Path, required=True, help="site network, JSON")
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        help="committee of tensor models, of which the first is used; the others for what surroundings add, on a tenth "
        "of the frames",
    )
    parser.add_argument("--spread-factor", type=float, default=1.0, help="on the committee's spread (default: 1)")
    parser.add_argument("--rates", required=True, help="rate table, CSV; its rows of origin 'model' are used")
    parser.add_argument("--interactions", help="pairs of sites whose ions interact, JSON (default: none)")
    parser.add_argument("--supercell", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"),
                        help="of kinetic Monte Carlo, cells at least")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of kinetic Monte Carlo (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=8, help="of kinetic Monte Carlo (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    parser.add_argument("--surroundings", type=Path, required=True, help="what filled neighbours add, JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.replicas < 2:
        raise InputError(f"--replicas is {args.replicas}; standard errors need at least 2")

    runs, sites = read_runs(args.trajectories), read_sites(args.sites)
    temperature_K = runs[0].target_temperature_K
    rates = read_network_rates(args.rates, temperature_K, sites)
    (model, *rest), near = load_committee(args.model, "efg"), surroundings.neighbours(sites)
    frames = min(len(run.time_ps) for run in runs)
    followed = [follow(run.part(slice(frames)), sites, near, model) for run in runs]
    tensors, site, occupied = (np.concatenate(parts, axis=1) for parts in zip(*followed, strict=True))
    means = site_means(sites, collected_by_orbit(sites, site, tensors))
    coefficients = surroundings.fit(sites, near, site, occupied, tensors)
    around = of_other_half(sites, near, site, occupied, tensors)
    explained = [1 - ((tensors - some) ** 2).sum() / (tensors**2).sum() for some in (means[site], around)]
    some = [run.part(slice(0, frames, EVERY)) for run in runs]
    others = [np.concatenate([momentary_tensors(run, one, sites["mobile"]) for run in some], axis=1) for one in rest]
    scales = member_scales(sites, near, site[::EVERY], occupied[::EVERY], [tensors[::EVERY], *others])
    scales = np.maximum(0, 1 + args.spread_factor * (scales - 1))
    print(f"mean squares of what surroundings add, by member: {', '.join(f'{s:.2f}' for s in scales)}", file=sys.stderr)
    write_json(
        args.surroundings,
        {
            "temperature_K": temperature_K,
            "method": "least squares over the ions of MD, obeying the sites' point groups",
            "explained_by_sites": explained[0],
            "explained_by_surroundings": explained[1],
            "member_scales": scales.tolist(),
            "sites": surroundings.content_of(sites, near, coefficients),
        },
    )
    parts = " %, with surroundings ".join(f"{100 * part:.1f}" for part in explained)
    print(f"of ⟨V:V⟩ the sites' means hold {parts} %", file=sys.stderr)

    count = max(2, frames // PART)
    lags_s = 1e-12 * (runs[0].time_ps[:frames] - runs[0].time_ps[0])
    table = {"temperature_K": temperature_K, "time_ps": 1e12 * lags_s[:count]}
    for name, histories in (("direct", tensors), ("sites", means[site]), ("surroundings", around)):
        table[f"{name}_au2"], table[f"{name}_se_au2"] = mean_and_error(by_ion(histories)[:, :count])
    curves = {"kmc_sites": [], "kmc_surroundings": []}
    filling = concentration(str(args.sites))
    mover, n_ions = mover_of(
        sites, rates, filling, tuple(args.supercell), temperature_K, args.interactions, str(args.sites)
    )
    for box, there, cells in simulated(mover, n_ions, lags_s, seed_at(args.seed, temperature_K), args.replicas):
        full = surroundings.filled(near, box, there, cells)
        of_ways = means[there], surroundings.tensors_of(sites, coefficients, there, full)
        for way, histories in zip(curves, of_ways, strict=True):
            curves[way].append(autocorrelation(histories)[:count])
    for name, values in curves.items():
        table[f"{name}_au2"], table[f"{name}_se_au2"] = np.mean(values, axis=0), error_over_replicas(np.array(values))
    with atomic_path(args.out) as temporary:
        pd.DataFrame(table).to_csv(temporary, index=False, float_format="%.6g")


def follow(
    run: Trajectory, sites: dict, near: surroundings.Neighbours, model: TensorModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each ion in each frame: momentary tensor (F, N, 3, 3), nearest site (F, N) and its filled neighbours."""
    tensors = momentary_tensors(run, model, sites["mobile"])
    assignment = assign(run, sites, np.inf)
    occupied = surroundings.filled(near, assignment.repeat, assignment.site, assignment.cell)
    return tensors, assignment.site, occupied


def member_scales(
    sites: dict, near: surroundings.Neighbours, site: np.ndarray, occupied: np.ndarray, by_member: list[np.ndarray]
) -> np.ndarray:
    """Mean square of what filled neighbours add to the tensors (F, N, 3, 3) of each member, (M,), over their mean."""
    found = []
    for tensors in by_member:
        coefficients = surroundings.fit(sites, near, site, occupied, tensors)
        found.append(surroundings.mean_square(sites, coefficients, site, occupied))
    mean = np.mean(found)
    return np.array(found) / mean if mean > 0 else np.ones(len(found))


def of_other_half(
    sites: dict, near: surroundings.Neighbours, site: np.ndarray, occupied: np.ndarray, tensors: np.ndarray
) -> np.ndarray:
    """Tensors (F, N, 3, 3) by surroundings, each half of the frames from coefficients of the other half."""
    first, second = slice(0, len(site) // 2), slice(len(site) // 2, None)
    parts = []
    for shown, fitted in ((first, second), (second, first)):
        coefficients = surroundings.fit(sites, near, site[fitted], occupied[fitted], tensors[fitted])
        parts.append(surroundings.tensors_of(sites, coefficients, site[shown], occupied[shown]))
    return np.concatenate(parts)


if __name__ == "__main__":
    run_script(main)
