"""Ions per site of every orbit, in molecular dynamics and in kinetic Monte Carlo: does the rate model hold both?

Columns temperature_K, origin, orbit, ions_per_site, ci_low, ci_high. Rows of origin md: mean over the runs of one
temperature, with the 95 % interval of Student's t over runs (of one run, of its blocks of time). Rows of origin kmc:
equilibrium of the rate model; the interval is what the model moved by one standard deviation along the directions of
its covariance does to it, where that was simulated. Interactions that the model lacks show as a difference between
both.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.fits import error_over_replicas
from insilico_nmr.propagator import read_propagator
from insilico_nmr.sites import check_network, site_orbits

COLUMNS = ["temperature_K", "origin", "orbit", "ions_per_site", "ci_low", "ci_high"]


def kmc_occupancies(path: Path, orbits: np.ndarray) -> tuple[float, int, pd.Series]:
    """Temperature (K), shift and ions per site by orbit of a propagator."""
    data = read_propagator(path)
    if data.sizes["state"] != len(orbits):
        raise InputError(f"{path} has {data.sizes['state']} states, the sites are {len(orbits)}")
    cells = data.attrs["n_sites"] / len(orbits)
    per_site = pd.Series(data["p"].to_numpy() * data.attrs["n_ions"] / cells).groupby(orbits).mean()
    return float(data.attrs["temperature_K"]), int(data.attrs.get("shift", 0)), per_site


def kmc_rows(paths: list[Path], orbits: np.ndarray) -> list[list]:
    """One row an orbit and temperature."""
    found = [kmc_occupancies(path, orbits) for path in paths]
    rows = []
    for temperature, shift, per_site in found:
        if shift:
            continue
        moved = [other for kelvin, direction, other in found if kelvin == temperature and direction]
        for orbit, value in per_site.items():
            half = 1.96 * np.sqrt(sum((other[orbit] - value) ** 2 for other in moved)) if moved else np.nan
            rows.append([temperature, "kmc", orbit, value, max(value - half, 0.0), min(value + half, 1.0)])
    return rows


def md_rows(path: Path) -> list[list]:
    """One row an orbit and temperature, of a summary of analyse_jumps.py."""
    summary = read_json(path)
    runs = summary.get("trajectories") if isinstance(summary, dict) else None
    if not runs or any({"temperature_K", "occupancies"} - set(run) for run in runs):
        raise InputError(f"{path}: expected trajectories with temperature_K and occupancies")
    rows = []
    for temperature in sorted({run["temperature_K"] for run in runs}):
        those = [run["occupancies"] for run in runs if run["temperature_K"] == temperature]
        for orbit in those[0]:
            values = np.array([run[orbit]["ions_per_site"] for run in those])
            half = 1.96 * those[0][orbit]["standard_error"]
            if len(values) > 1:
                half = 1.96 * float(error_over_replicas(values))
            mean = values.mean()
            rows.append([temperature, "md", orbit, mean, max(mean - half, 0.0), mean + half])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("propagators", type=Path, nargs="+", metavar="PROPAGATOR", help="NetCDF files of run_kmc.py")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--md-summary", type=Path, required=True, help="summary of analyse_jumps.py, JSON")
    parser.add_argument("--out", type=Path, required=True, help="table to write, CSV")
    args = parser.parse_args()
    sites = read_json(args.sites)
    check_network(sites, str(args.sites))
    orbits = np.array(site_orbits(sites))
    table = pd.DataFrame([*md_rows(args.md_summary), *kmc_rows(args.propagators, orbits)], columns=COLUMNS)
    table = table.sort_values(["orbit", "temperature_K", "origin"])
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    print(table.to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    run_script(main)
