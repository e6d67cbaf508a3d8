"""Tracer and collective diffusion, Haven ratio and conductivity at all temperatures, from propagators and MD summaries.

Rows of origin kmc: kinetic Monte Carlo, with 95 % intervals of its sampling (symmetric in ln D). Rows of origin md:
mean over the runs of one temperature, with the interval of Student's t where there are two or more. Rows of origin
kmc_shift (with --rate-model): what a kmc row becomes when the rate model moves by one standard deviation along
direction `shift` of its covariance; the root sum of squares of these changes is the standard error that the model
brings. They come from ratios of mean-field diffusion coefficients, in which correlations between ions cancel to first
order. Cells that the data do not determine are empty, which stderr says.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from insilico_nmr.diffusion import conductivity, correlation_factor, diffusion_coefficient, haven_ratio, jump_rate
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.fits import BOLTZMANN_EV_PER_K
from insilico_nmr.generator import occupations
from insilico_nmr.propagator import read_propagator
from insilico_nmr.sites import read_sites
from scipy import stats

COLUMNS = ["temperature_K", "origin", "shift", "D_tracer_m2_per_s", "ci_low_m2_per_s", "ci_high_m2_per_s"]
COLUMNS += ["D_collective_m2_per_s", "D_collective_ci_low_m2_per_s", "D_collective_ci_high_m2_per_s", "haven_ratio"]
COLUMNS += ["conductivity_S_per_cm", "conductivity_ci_low_S_per_cm", "conductivity_ci_high_S_per_cm"]
COLUMNS += ["exit_rate_per_s", "mean_jump_length_A", "correlation_factor", "jump_rate_from_D_per_s"]
COLUMNS += ["log_log_slope", "diffusive"]
ANGSTROM2_PER_PS = 1e-8  # m²/s
S_PER_M_IN_S_PER_CM = 0.01


def log_interval(value: float, standard_error: float) -> tuple[float, float]:
    """95 % interval of a positive value, symmetric in its logarithm."""
    factor = np.exp(1.96 * standard_error / value)
    return value / factor, value * factor


def kmc_row(dataset: xr.Dataset, sites: dict, charge_number: int, path: Path) -> dict[str, float | str]:
    """Cells of one propagator."""
    attributes = dataset.attrs
    missing = {"temperature_K", "exit_rate_per_s", "n_ions", "n_sites"} - set(attributes)
    if missing:
        raise InputError(f"{path}: attribute {', '.join(sorted(missing))} is missing; expected a propagator")
    if len(sites["sites"]) != dataset.sizes["state_a"]:
        raise InputError(f"{path} has {dataset.sizes['state_a']} states, the sites are {len(sites['sites'])}")
    time_s = dataset["time"].to_numpy()
    temperature, exit_rate = float(attributes["temperature_K"]), float(attributes["exit_rate_per_s"])
    try:
        tracer = diffusion_coefficient(time_s, dataset["msd"].to_numpy(), dataset["msd_se"].to_numpy())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    # Mean square length of the jumps executed, from the shortest lag, 0.01 residence times: at most one jump.
    square_A2 = float(dataset["msd"][1]) / (exit_rate * time_s[1])
    D = tracer.coefficient_m2_per_s
    row = {
        "temperature_K": temperature,
        "origin": "kmc",
        "shift": 0,
        "D_tracer_m2_per_s": D,
        "exit_rate_per_s": exit_rate,
        "mean_jump_length_A": np.sqrt(square_A2),
        "log_log_slope": tracer.log_log_slope,
        "diffusive": int(tracer.diffusive),
    }
    if not tracer.standard_error_m2_per_s < D:
        error = tracer.standard_error_m2_per_s
        print(f"{path}: D is {D:.2g} ± {error:.2g} m²/s: no diffusion was seen", file=sys.stderr)
        return row | {"diffusive": 0}
    if not tracer.diffusive:
        print(f"{path}: log-log slope {tracer.log_log_slope:.2f}, not 1: D is not to be trusted", file=sys.stderr)
    row["ci_low_m2_per_s"], row["ci_high_m2_per_s"] = log_interval(D, tracer.standard_error_m2_per_s)
    row["correlation_factor"] = correlation_factor(D, exit_rate, square_A2)
    row["jump_rate_from_D_per_s"] = jump_rate(D, float(np.sqrt(square_A2)))
    return row | collective_cells(dataset, sites, charge_number, D, path)


def collective_cells(
    dataset: xr.Dataset, sites: dict, charge_number: int, tracer_m2_per_s: float, path: Path
) -> dict[str, float]:
    """Cells of the collective displacement; none where it is too noisy to have a slope."""
    time_s, msd = dataset["time"].to_numpy(), dataset["msd_collective"].to_numpy()
    try:
        collective = diffusion_coefficient(time_s, msd, dataset["msd_collective_se"].to_numpy())
        if not collective.coefficient_m2_per_s > collective.standard_error_m2_per_s:
            raise InputError("the collective displacement has no slope beyond its error")
        haven = haven_ratio(tracer_m2_per_s, collective.coefficient_m2_per_s)
    except InputError as error:
        print(f"{path}: no conductivity ({error})", file=sys.stderr)
        return {}
    low, high = log_interval(collective.coefficient_m2_per_s, collective.standard_error_m2_per_s)
    temperature = float(dataset.attrs["temperature_K"])
    per_site = dataset.attrs["n_ions"] / dataset.attrs["n_sites"]
    density = per_site * len(sites["sites"]) / abs(np.linalg.det(np.array(sites["cell"])))
    sigma = S_PER_M_IN_S_PER_CM * conductivity(tracer_m2_per_s, haven, density, temperature, charge_number)
    scale = sigma / collective.coefficient_m2_per_s
    return {
        "D_collective_m2_per_s": collective.coefficient_m2_per_s,
        "D_collective_ci_low_m2_per_s": low,
        "D_collective_ci_high_m2_per_s": high,
        "haven_ratio": haven,
        "conductivity_S_per_cm": sigma,
        "conductivity_ci_low_S_per_cm": scale * low,
        "conductivity_ci_high_S_per_cm": scale * high,
    }


def md_rows(paths: list[Path]) -> list[dict[str, float | str]]:
    """One row a temperature from the summaries of analyse_jumps.py."""
    runs = []
    for path in paths:
        for number, run in enumerate(read_json(path).get("trajectories", [])):
            try:
                runs.append((float(run["temperature_K"]), float(run["diffusion_A2_per_ps"]["ions"]) * ANGSTROM2_PER_PS))
            except (KeyError, TypeError, ValueError):
                raise InputError(f"{path}: trajectory {number} has no temperature_K or diffusion_A2_per_ps") from None
    rows = []
    for temperature in sorted({temperature for temperature, _ in runs}):
        values = np.array([value for at, value in runs if at == temperature])
        row = {"temperature_K": temperature, "origin": "md", "shift": 0, "D_tracer_m2_per_s": values.mean()}
        if values.mean() > 0 and len(values) > 1:
            t = stats.t.ppf(0.975, len(values) - 1) / 1.96
            error = t * values.std(ddof=1) / np.sqrt(len(values))
            row["ci_low_m2_per_s"], row["ci_high_m2_per_s"] = log_interval(values.mean(), error)
        elif not values.mean() > 0:
            print(f"MD at {temperature:g} K: D is {values.mean():.2g} m²/s, not positive", file=sys.stderr)
        rows.append(row | {"diffusive": int(values.mean() > 0)})
    return rows


def mean_field(sites: dict, model: dict, parameters: np.ndarray, temperature_K: float, filling: float) -> np.ndarray:
    """ln of tracer D (m²/s) and of the exit rate (1/s) of one ion among mean occupations, shape (2,).

    The walk is reversible, so that D is the smallest value of Σ_ij p_i k_ij |d_ij + g_j − g_i|²/6 over vectors g at the
    sites (the effective conductivity of a network of resistors): no difference of large numbers, however unequal the
    rates are.
    """
    named = dict(zip(model["parameters"], parameters, strict=True))
    kT = BOLTZMANN_EV_PER_K * temperature_K
    orbit = [site["orbit"] for site in sites["sites"]]
    energy = np.array([named.get(label, 0.0) for label in orbit])
    start, end = (np.array([jump[key] for jump in sites["jumps"]]) for key in ("from", "to"))
    top = np.array([named[jump["class"]] for jump in sites["jumps"]])
    rate = np.exp(named["ln_prefactor"] - (top - energy[start]) / kT)
    filled = occupations(-energy / kT, filling)
    flux = filled[start] / filled.sum() * rate * (1 - filled[end])
    position = np.array([site["position"] for site in sites["sites"]])
    image = np.array([jump["image"] for jump in sites["jumps"]])
    step = (position[end] + image - position[start]) @ np.array(sites["cell"])
    weight = np.sqrt(flux / flux.max())
    difference = np.zeros((len(step), len(orbit)))
    difference[np.arange(len(step)), end] += 1
    difference[np.arange(len(step)), start] -= 1
    shift = np.linalg.lstsq(weight[:, None] * difference, -weight[:, None] * step, rcond=1e-13)[0]
    left = weight[:, None] * (step + difference @ shift)
    return np.log([(left**2).sum() / 6 * flux.max() * 1e-20, flux.sum()])


def shift_rows(row: dict, sites: dict, model: dict, filling: float) -> list[dict]:
    """A kmc row moved along every direction of the rate model's covariance by one standard deviation."""
    values, vectors = np.linalg.eigh(np.array(model["covariance"], float))
    tops, energies = model["barrier_tops_eV"], model["site_energies_eV"]
    centre = [np.log(model["prefactor_per_s"]), *((tops | energies)[name] for name in model["parameters"][1:])]
    rows = []
    for number in np.flatnonzero(values > 1e-12 * values.max()):
        step = np.sqrt(values[number]) * vectors[:, number]
        moved = [mean_field(sites, model, centre + s * step, row["temperature_K"], filling) for s in (1, -1)]
        of_D, of_exit = np.exp((moved[0] - moved[1]) / 2)
        new = {"temperature_K": row["temperature_K"], "origin": "kmc_shift", "shift": len(rows) + 1, "diffusive": 1}
        for name in ("D_tracer_m2_per_s", "D_collective_m2_per_s", "conductivity_S_per_cm"):
            if name in row:
                new[name] = row[name] * of_D
        rows.append(new | {"exit_rate_per_s": row["exit_rate_per_s"] * of_exit})
    return rows


def read_rate_model(path: Path, sites: dict) -> dict:
    """The parameters written by fit_rates.py. Raises InputError where they do not belong to the sites."""
    model = read_json(path)
    missing = {"parameters", "covariance", "prefactor_per_s", "site_energies_eV", "barrier_tops_eV"} - set(model)
    if missing:
        raise InputError(f"{path}: no key {', '.join(sorted(missing))}; expected the model of fit_rates.py")
    unknown = {jump["class"] for jump in sites["jumps"]} - set(model["parameters"])
    if unknown:
        raise InputError(f"{path}: no barrier for class {', '.join(sorted(unknown))} of the sites")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("propagators", type=Path, nargs="+", metavar="PROPAGATOR", help="NetCDF files of run_kmc.py")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--md-summary", type=Path, nargs="*", default=[], help="summaries of analyse_jumps.py, JSON")
    parser.add_argument("--rate-model", type=Path, help="parameters of fit_rates.py, JSON: brings its uncertainty in")
    parser.add_argument("--charge-number", type=int, default=1, help="charge of a mobile ion, e (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="table to write, CSV")
    args = parser.parse_args()

    sites = read_sites(args.sites)
    model = read_rate_model(args.rate_model, sites) if args.rate_model else None
    rows, shifted = [], []
    for path in args.propagators:
        dataset = read_propagator(path)
        row = kmc_row(dataset, sites, args.charge_number, path)
        if row["temperature_K"] in [other["temperature_K"] for other in rows]:
            raise InputError(f"{path}: a second propagator at {row['temperature_K']:g} K")
        rows.append(row)
        if model is not None and row["D_tracer_m2_per_s"] > 0:
            shifted += shift_rows(row, sites, model, dataset.attrs["n_ions"] / dataset.attrs["n_sites"])
    table = pd.DataFrame([*rows, *md_rows(args.md_summary), *shifted]).reindex(columns=COLUMNS)
    order = {"kmc": 0, "md": 1, "kmc_shift": 2}
    table = table.sort_values(
        ["origin", "shift", "temperature_K"], key=lambda c: c.map(order) if c.name == "origin" else c
    )
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False)


if __name__ == "__main__":
    run_script(main)
