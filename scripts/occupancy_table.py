"""Ions per site of every orbit, in molecular dynamics and in kinetic Monte Carlo: does the rate model hold both?

Columns temperature_K, origin, orbit, ions_per_site, ci_low, ci_high. Rows of origin md: mean over the runs of one
temperature, with the 95 % interval of Student's t over runs (of one run, of its blocks of time). Rows of origin kmc:
equilibrium of the rate model; the interval is that of its site energies, by their whole covariance, and of the number
of vacancies. Interactions that the model lacks show as a difference between both.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.generator import log_odds
from insilico_nmr.propagator import read_propagator
from insilico_nmr.rate_shifts import parameters_of, read_rate_model
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.sites import read_network, site_orbits
from scipy.special import expit

STEP_EV = 1e-4  # of a parameter, to differentiate by
COLUMNS = ["temperature_K", "origin", "orbit", "ions_per_site", "ci_low", "ci_high"]


def logit_with_error(
    orbits: np.ndarray, model: dict, temperature_K: float, filling: float, vacancy_factor: float
) -> pd.DataFrame:
    """ln(n/(1 − n)) by orbit, n ions per site among `filling`, and its standard deviation by the model's covariance."""
    kT = BOLTZMANN_EV_PER_K * temperature_K

    def logits(parameters: np.ndarray, ions_per_site: float) -> pd.Series:
        named = dict(zip(model["parameters"], parameters, strict=True))
        energies = np.array([named.get(label, 0.0) for label in orbits])
        return pd.Series(log_odds(-energies / kT, ions_per_site)).groupby(orbits).mean()

    theta = parameters_of(model)
    steps = STEP_EV * np.eye(len(theta))
    slopes = [(logits(theta + step, filling) - logits(theta - step, filling)) / (2 * STEP_EV) for step in steps]
    slopes = np.array(slopes).T
    variance = np.einsum("op,pq,oq->o", slopes, np.array(model["covariance"], float), slopes)
    mean = logits(theta, filling)
    by_vacancies = logits(theta, 1 - (1 - filling) * vacancy_factor**0.1) - mean
    return pd.DataFrame({"mean": mean, "sd": np.sqrt(variance + (10 * by_vacancies) ** 2)})


def kmc_rows(paths: list[Path], orbits: np.ndarray, model: dict, vacancy_factor: float) -> list[list]:
    """One row an orbit and temperature, of propagators of the rate model as it is."""
    rows = []
    for path in paths:
        data = read_propagator(path)
        if data.sizes["state"] != len(orbits):
            raise InputError(f"{path} has {data.sizes['state']} states, the sites are {len(orbits)}")
        if int(data.attrs.get("shift", 0)):
            raise InputError(f"{path} is of a rate model that was moved")
        temperature, filling = float(data.attrs["temperature_K"]), data.attrs["n_ions"] / data.attrs["n_sites"]
        per_site = pd.Series(data["p"].to_numpy() * filling * len(orbits)).groupby(orbits).mean()
        # Of ions that exclude each other the model knows the mean, also of orbits where the last vacancy is not seen.
        known = logit_with_error(orbits, model, temperature, filling, vacancy_factor)
        for orbit, value in per_site.items():
            interval = expit(known.loc[orbit, "mean"] + 1.96 * known.loc[orbit, "sd"] * np.array([-1, 1]))
            rows.append([temperature, "kmc", orbit, value, *interval])
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
            rows.append([temperature, "md", orbit, mean, max(mean - half, 0.0), min(mean + half, max(mean, 1.0))])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("propagators", type=Path, nargs="+", metavar="PROPAGATOR", help="NetCDF files of run_kmc.py")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--rate-model", type=Path, required=True, help="parameters of fit_rates.py, JSON")
    parser.add_argument(
        "--vacancy-factor", type=float, default=1.0,
        help="factor, one standard deviation, within which the number of vacancies is known (default: 1)",
    )  # fmt: skip
    parser.add_argument("--md-summary", type=Path, required=True, help="summary of analyse_jumps.py, JSON")
    parser.add_argument("--out", type=Path, required=True, help="table to write, CSV")
    args = parser.parse_args()
    sites = read_network(args.sites)
    orbits = np.array(site_orbits(sites))
    simulated = kmc_rows(args.propagators, orbits, read_rate_model(args.rate_model, sites), args.vacancy_factor)
    table = pd.DataFrame([*md_rows(args.md_summary), *simulated], columns=COLUMNS)
    table = table.sort_values(["orbit", "temperature_K", "origin"])
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    print(table.to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    run_script(main)
