"""Tracer and collective diffusion, Haven ratio and conductivity at all temperatures, from propagators and MD summaries.

Rows of origin kmc: kinetic Monte Carlo, with 95 % intervals (symmetric in ln D) of its sampling and of what D changes
across the window it is read from. Rows of origin md: mean over the runs of one temperature, with the interval of
Student's t where there are two or more. Rows of origin kmc_shift: kinetic Monte Carlo with the rate model moved by one
standard deviation along direction `shift` of its covariance (`run_kmc.py --shift`); the root sum of squares of the
changes that these directions bring is the standard error that the model brings. Intervals of the Haven ratio and of
the correlation factor come from those of D and of the collective D, taken as independent. `vacancies_per_site`: sites
without an ion, in kinetic Monte Carlo and in MD, which may differ. `D_a`, `D_b` and `D_c` are tracer diffusion along
the cell's vectors. Column `arrhenius`: 1 where the row lies in the range of temperatures that Arrhenius lines are
fitted over. Cells that the data do not determine are empty, which stderr says.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from insilico_nmr.diffusion import (
    Diffusion,
    conductivity,
    correlation_factor,
    diffusion_coefficient,
    haven_ratio,
    jump_rate,
)
from insilico_nmr.errors import InputError, naming, run_script
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.propagator import read_propagator
from insilico_nmr.sites import read_network

COLUMNS = ["temperature_K", "origin", "shift", "D_tracer_m2_per_s", "ci_low_m2_per_s", "ci_high_m2_per_s"]
COLUMNS += ["D_collective_m2_per_s", "D_collective_ci_low_m2_per_s", "D_collective_ci_high_m2_per_s", "haven_ratio"]
COLUMNS += ["haven_ratio_ci_low", "haven_ratio_ci_high", "vacancies_per_site"]
COLUMNS += ["conductivity_S_per_cm", "conductivity_ci_low_S_per_cm", "conductivity_ci_high_S_per_cm"]
COLUMNS += ["exit_rate_per_s", "mean_jump_length_A", "correlation_factor"]
COLUMNS += ["correlation_factor_ci_low", "correlation_factor_ci_high", "jump_rate_from_D_per_s"]
COLUMNS += ["log_log_slope", "diffusive", "arrhenius"]
COLUMNS += [f"D_{axis}{part}_m2_per_s" for axis in "abc" for part in ("", "_ci_low", "_ci_high")]
SHOWN = ["temperature_K", "origin", "shift", *COLUMNS[3:6], "exit_rate_per_s", "correlation_factor", "haven_ratio"]
ANGSTROM2_PER_PS = 1e-8  # m²/s
S_PER_M_IN_S_PER_CM = 0.01


def log_interval(value: float, standard_error: float) -> tuple[float, float]:
    """95 % interval of a positive value, symmetric in its logarithm."""
    factor = np.exp(1.96 * standard_error / value)
    return value / factor, value * factor


def kmc_row(dataset: xr.Dataset, sites: dict, charge_number: int, path: Path) -> dict[str, float | str]:
    """Cells of one propagator."""
    attributes = dataset.attrs
    needed = {"temperature_K", "exit_rate_per_s", "mean_square_jump_A2", "n_ions", "n_sites", "vacancies_per_site"}
    missing = needed - set(attributes)
    if missing:
        raise InputError(f"{path}: attribute {', '.join(sorted(missing))} is missing; expected a propagator")
    if len(sites["sites"]) != dataset.sizes["state_a"]:
        raise InputError(f"{path} has {dataset.sizes['state_a']} states, the sites are {len(sites['sites'])}")
    time_s = dataset["lag"].to_numpy()
    temperature, exit_rate = float(attributes["temperature_K"]), float(attributes["exit_rate_per_s"])
    with naming(path):
        tracer = diffusion_coefficient(time_s, dataset["msd_replica"].to_numpy())
    square_A2 = float(attributes["mean_square_jump_A2"])
    shift = int(attributes.get("shift", 0))
    D = tracer.coefficient_m2_per_s
    row = {
        "temperature_K": temperature,
        "origin": "kmc_shift" if shift else "kmc",
        "shift": shift,
        "D_tracer_m2_per_s": D,
        "exit_rate_per_s": exit_rate,
        "vacancies_per_site": attributes["vacancies_per_site"],
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
    for suffix, value in (("", D), ("_ci_low", row["ci_low_m2_per_s"]), ("_ci_high", row["ci_high_m2_per_s"])):
        row[f"correlation_factor{suffix}"] = correlation_factor(value, exit_rate, square_A2)
    row["jump_rate_from_D_per_s"] = jump_rate(D, float(np.sqrt(square_A2)))
    row |= cells_along_axes(dataset, path)
    return row | collective_cells(dataset, sites, charge_number, tracer, path)


def cells_along_axes(dataset: xr.Dataset, path: Path) -> dict[str, float]:
    """Cells of diffusion along the cell's vectors; none along one where no slope stands out of its error."""
    cells = {}
    if "msd_along_replica" not in dataset:
        return cells
    for axis, squares in dataset["msd_along_replica"].groupby("axis"):
        try:
            found = diffusion_coefficient(dataset["lag"].to_numpy(), squares.squeeze("axis").to_numpy(), dimensions=1)
            if not (found.diffusive and found.coefficient_m2_per_s > found.standard_error_m2_per_s):
                raise InputError("no diffusion was seen")
        except InputError as error:
            print(f"{path}: along {axis}: {error}", file=sys.stderr)
            continue
        D = found.coefficient_m2_per_s
        low, high = log_interval(D, found.standard_error_m2_per_s)
        cells |= {f"D_{axis}_m2_per_s": D, f"D_{axis}_ci_low_m2_per_s": low, f"D_{axis}_ci_high_m2_per_s": high}
    return cells


def collective_cells(
    dataset: xr.Dataset, sites: dict, charge_number: int, tracer: Diffusion, path: Path
) -> dict[str, float]:
    """Cells of the collective displacement; none where it is too noisy to have a slope.

    It is diffusive, if noise hides that, where the tracer's is: ions that move together forget their places no later.
    """
    tracer_m2_per_s, tracer_error = tracer.coefficient_m2_per_s, tracer.standard_error_m2_per_s
    try:
        collective = diffusion_coefficient(
            dataset["lag"].to_numpy(),
            dataset["msd_collective_replica"].to_numpy(),
            known_from_s=tracer.first_time_s if tracer.diffusive else np.inf,
        )
        if not collective.coefficient_m2_per_s > collective.standard_error_m2_per_s:
            raise InputError("the collective displacement has no slope beyond its error")
        haven = haven_ratio(tracer_m2_per_s, collective.coefficient_m2_per_s)
    except InputError as error:
        print(f"{path}: no conductivity ({error})", file=sys.stderr)
        return {}
    low, high = log_interval(collective.coefficient_m2_per_s, collective.standard_error_m2_per_s)
    relative = [
        tracer_error / tracer_m2_per_s,
        collective.standard_error_m2_per_s / collective.coefficient_m2_per_s,
    ]
    haven_low, haven_high = log_interval(haven, haven * float(np.hypot(*relative)))
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
        "haven_ratio_ci_low": haven_low,
        "haven_ratio_ci_high": haven_high,
        "conductivity_S_per_cm": sigma,
        "conductivity_ci_low_S_per_cm": scale * low,
        "conductivity_ci_high_S_per_cm": scale * high,
    }


def md_rows(paths: list[Path]) -> list[dict[str, float | str]]:
    """One row a temperature from the summaries of analyse_jumps.py."""
    runs = []
    for path in paths:
        summary = read_json(path)
        if not (isinstance(summary, dict) and summary.get("trajectories")):
            raise InputError(f"{path}: no list 'trajectories'; expected a summary of analyse_jumps.py")
        for number, run in enumerate(summary["trajectories"]):
            try:
                D = float(run["diffusion_A2_per_ps"]["ions"]) * ANGSTROM2_PER_PS
                runs.append((float(run["temperature_K"]), D, 1 - run["ions"] / run["sites"]))
            except (KeyError, TypeError, ValueError):
                raise InputError(
                    f"{path}: trajectory {number} lacks temperature_K, diffusion_A2_per_ps, ions or sites"
                ) from None
    rows = []
    for temperature in sorted({run[0] for run in runs}):
        values, vacancies = np.array([run[1:] for run in runs if run[0] == temperature]).T
        row = {"temperature_K": temperature, "origin": "md", "shift": 0, "D_tracer_m2_per_s": values.mean()}
        row["vacancies_per_site"] = vacancies.mean()
        error = float(error_over_replicas(values)) if len(values) > 1 else 0.0
        seen = error < values.mean()
        if not seen:
            error_text = f" ± {error:.2g}" if len(values) > 1 else ""
            print(f"MD at {temperature:g} K: D is {values.mean():.2g}{error_text} m²/s: no diffusion was seen",
                  file=sys.stderr)  # fmt: skip
        elif len(values) > 1:
            row["ci_low_m2_per_s"], row["ci_high_m2_per_s"] = log_interval(values.mean(), error)
        rows.append(row | {"diffusive": int(seen)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("propagators", type=Path, nargs="+", metavar="PROPAGATOR", help="NetCDF files of run_kmc.py")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--md-summary", type=Path, nargs="*", default=[], help="summaries of analyse_jumps.py, JSON")
    parser.add_argument(
        "--arrhenius-range", type=float, nargs=2, default=(1e-9, np.inf), metavar=("LOW", "HIGH"),
        help="K, temperatures from which lines are fitted that are compared with measured energies (default: all)",
    )  # fmt: skip
    parser.add_argument("--charge", type=int, default=1, help="charge of a mobile ion, e (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="table to write, CSV")
    args = parser.parse_args()

    low, high = args.arrhenius_range
    if not 0 < low < high:
        raise InputError(f"--arrhenius-range is {low:g} {high:g}; expected two rising temperatures above 0 K")
    sites, rows = read_network(args.sites), []
    for path in args.propagators:
        row = kmc_row(read_propagator(path), sites, args.charge, path)
        if any((row["temperature_K"], row["shift"]) == (other["temperature_K"], other["shift"]) for other in rows):
            raise InputError(f"{path}: a second propagator at {row['temperature_K']:g} K, shift {row['shift']}")
        rows.append(row)
    table = pd.DataFrame([*rows, *md_rows(args.md_summary)]).reindex(columns=COLUMNS)
    table["arrhenius"] = table["temperature_K"].between(low, high).astype(int)
    order = {"kmc": 0, "md": 1, "kmc_shift": 2}
    table = table.sort_values(
        ["origin", "shift", "temperature_K"], key=lambda c: c.map(order) if c.name == "origin" else c
    )
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False)
    print(table[SHOWN].to_string(index=False, float_format="{:.4g}".format))


if __name__ == "__main__":
    run_script(main)
