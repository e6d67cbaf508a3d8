"""Kinetic Monte Carlo of ions on a network of sites: the two-time site propagator and mean squared displacements.

The supercell is the one asked for, or a larger one where that holds too few carriers: it grows along its shortest edge
until all classes of jumps are made as often, within 3 %, as in an endless lattice, which matters when few ions leave
the ground state.

With --interactions the ions interact in pairs: a JSON with `pairs`, a list of {"from", "to", "image", "energy_eV"} with
sites of the primitive cell, each pair in both directions. Optional are `occupancy`, ions per site by orbit that the
rates are among (default: 0, rates of an ion among vacant sites), `strength`, a factor on all energies, and
`attempt_frequency_per_s`, above which no jump is made. fit_rates.py writes such a file with the rates that belong to
it.

With --also, once for each, further species of ions are on the same sites, with rates of their own (a table as --rates)
and their own propagator; `energy_eV` of a pair is then a matrix by the species at `from` and at `to`, in the order that
they are named in, or a number for all. Conductivities of species do not add: how one species drags another is not told.

Where ions have not decorrelated at the longest lag, frequent jumps are slowed and further stages reach later times,
until the propagator has its limit (`insilico_nmr.stages`; not with --interactions or --also).

Ions per site and residence times of every orbit are printed, the latter with intervals of 95 % where ions interact;
without interactions both are exact. Diffusion, correlation factor and Haven ratio follow from the propagator by
diffusion_table.py.

With --shift N the rates are those of the rate model moved by one standard deviation (`insilico_nmr.rate_shifts`).
"""

import argparse
import math
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from insilico_nmr import moving, propagator, rate_shifts, stages
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.lattice import (
    Lattice,
    build_lattice,
    check_rates,
    number_of_ions,
    read_rates,
)
from insilico_nmr.lattice_gas import Gas, Move, build_gas, read_gas
from insilico_nmr.sites import read_network

CHECKPOINT_EVERY_S = 20.0
STAGE_SEED = 1_000_003  # between the seeds of stages


def main() -> None:
    """Run all replicas, going on from the checkpoint folder, and write their propagator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", metavar="SITES", help="sites.json: sites and jumps of the primitive cell")
    parser.add_argument("--supercell", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"),
                        help="cells, at least; grows until there are enough carriers, but not with --also")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default: 1)")
    parser.add_argument("--replicas", type=int, default=6, help="independent runs, at least 2 (default: 6)")
    parser.add_argument("--max-events", type=int, default=10_000_000, help="jumps in a replica (default: 1e7)")
    parser.add_argument(
        "--max-residence-times", type=float, default=1e3, help="longest lag in mean residence times (default: 1000)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="replicas to run at once, a process each (default: 1)")
    parser.add_argument("--also", nargs=3, action="append", default=[], metavar=("RATES", "CONCENTRATION", "OUT"),
                        help="one more species: rate table, ions per site, propagator to write")  # fmt: skip
    rate_shifts.add_rate_arguments(parser)
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="folder to go on from after a kill")
    parser.add_argument("--out", required=True, help="propagator, NetCDF")
    arguments = parser.parse_args()
    if arguments.replicas < 2:
        raise InputError(f"--replicas is {arguments.replicas}; standard errors need at least 2")
    if not (0 < arguments.max_residence_times < math.inf and arguments.max_events > 0):
        raise InputError("--max-events and --max-residence-times must be numbers above 0")
    outputs = [arguments.out, *(of_one[2] for of_one in arguments.also)]
    if len(set(outputs)) < len(outputs):
        raise InputError(f"{', '.join(outputs)}: every species needs a file of its own")
    if arguments.jobs < 1:
        raise InputError(f"--jobs is {arguments.jobs}; expected at least 1")
    if arguments.seed < 0:
        raise InputError(f"--seed is {arguments.seed}; expected a whole number of at least 0")

    sites = read_network(arguments.sites)
    supercell = tuple(arguments.supercell)
    others = [read_species(*of_one) for of_one in arguments.also]
    if others:
        asked = rate_shifts.rates_asked_for(arguments, sites)
        lattice = build_lattice(sites, asked.rates, supercell, str(arguments.sites))
        n_ions, gas = (
            number_of_ions(lattice, asked.filling),
            gas_of_species(lattice, arguments, others, asked.move),
        )
    else:
        mover, n_ions = moving.asked_for(arguments, sites, supercell)
        lattice, gas = moving.lattice_of(mover), mover if isinstance(mover, Gas) else None
        print(f"supercell {' '.join(map(str, lattice.supercell))}, {lattice.n_sites} sites", file=sys.stderr)
    budget = arguments.max_events, arguments.max_residence_times
    seed = moving.seed_at(arguments.seed, arguments.temperature)
    if gas is None:

        def run_stage(slowed: Lattice, stage: int) -> xr.Dataset:
            plan = propagator.make_plan(slowed, n_ions, seed + STAGE_SEED * stage, *budget)
            return propagator.combine(plan, run_replicas(plan, arguments, stage), arguments.temperature)

        datasets = [stages.in_stages(lattice, n_ions, run_stage)]
    else:
        numbers = tuple(number_of_ions(lattice, species.ions_per_site) for species in others)
        if gas.n_species != 1 + len(others):
            raise InputError(
                f"{arguments.interactions}: energies are of {gas.n_species} species, and {1 + len(others)} are asked "
                "for: --also names each one more"
            )
        plan = propagator.make_plan(lattice, n_ions, seed, *budget, gas, numbers)
        replicas = run_replicas(plan, arguments)
        datasets = [propagator.combine(plan, replicas, arguments.temperature, q) for q in range(gas.n_species)]
    for path, dataset in zip([arguments.out, *(species.out for species in others)], datasets, strict=True):
        if not dataset.attrs["complete"]:
            print(
                f"warning: {path}: ions have not decorrelated at the last lag, {float(dataset['time'][-1]):.3g} s, or "
                f"noise hides it: residual {dataset.attrs['residual']:.3g} ± {dataset.attrs['residual_se']:.2g} of max "
                f"P(∞), expected below {propagator.DECORRELATED}; raise --max-events or --max-residence-times",
                file=sys.stderr,
            )
        propagator.write_propagator(path, dataset.assign_attrs(shift=arguments.shift))
        print(residence_times(lattice, dataset).to_string(index=False, float_format="{:.4g}".format))
    for folder in Path(arguments.checkpoint).glob("stage_*"):
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Species:
    """One that --also names."""

    rates: str
    ions_per_site: float
    out: str


def read_species(rates: str, ions_per_site: str, out: str) -> Species:
    """What --also says."""
    try:
        return Species(rates, float(ions_per_site), out)
    except ValueError:
        raise InputError(f"--also: {ions_per_site!r} is no number of ions per site") from None


def gas_of_species(lattice: Lattice, arguments: argparse.Namespace, others: list[Species], move: Move) -> Gas:
    """Ions of several species, with the interactions asked for, on the lattice."""
    of_others = [rates_of(lattice, species.rates, arguments.temperature) for species in others]
    rates = np.stack([lattice.rates, *of_others], axis=1)
    if arguments.interactions:
        return read_gas(arguments.interactions, lattice, arguments.temperature, move, rates)
    tables = " ".join(species.rates for species in others)
    return build_gas(lattice, [], arguments.temperature, rates_per_s=rates, source=tables)


def rates_of(lattice: Lattice, path: str, temperature_K: float) -> np.ndarray:
    """Rates of a table in the order of the lattice's classes, (C,), 1/s."""
    rates = read_rates(path, temperature_K)
    check_rates(lattice.class_names, rates, path)
    return np.array([rates[name] for name in lattice.class_names])


def residence_times(lattice: Lattice, dataset: xr.Dataset) -> pd.DataFrame:
    """Ions per site of each orbit and their mean residence time, s, with a 95 % interval, symmetric in the logarithm.

    The time is infinite, and has no interval, where no ion left.
    """
    mean = dataset[["p", "leaving_rate", "leaving_rate_se"]].to_dataframe().groupby(list(lattice.orbit)).mean()
    per_site = mean["p"] * len(lattice.orbit) * dataset.attrs["n_ions"] / dataset.attrs["n_sites"]
    time, factor = 1 / mean["leaving_rate"], np.exp(1.96 * mean["leaving_rate_se"] / mean["leaving_rate"])
    columns = {"ions_per_site": per_site, "residence_s": time, "ci_low_s": time / factor, "ci_high_s": time * factor}
    return pd.DataFrame(columns).rename_axis("orbit").reset_index()


def run_replica(plan: propagator.Plan, replica: int, path: Path, share: float) -> dict:
    """Sums of one replica: read where it is finished, else run, from its checkpoint beside `path` where that fits.

    `share`: replicas that this process has yet to run, for the time that is left.
    """
    done = propagator.load_sums(path, plan)
    if done is not None:
        return done
    current = path.with_name(f"current_{replica:04d}.npz")
    measurement = propagator.load_measurement(current, plan, replica) or propagator.begin(plan, replica)
    first, started, saved, reported = int(measurement.ticks[0]), time.monotonic(), time.monotonic(), 0.0
    more = first <= plan.n_ticks
    while more:
        more = propagator.proceed(plan, measurement)
        now, ticks = time.monotonic(), int(measurement.ticks[0])
        if now - saved > CHECKPOINT_EVERY_S:
            propagator.save_measurement(current, plan, replica, measurement)
            saved = now
        if now - reported > 5 or not more:
            left = share * (plan.n_ticks + 1) - ticks
            print(
                f"replica {replica + 1}: {measurement.state.events:.3g} jumps, "
                f"ETA {left * (now - started) / (ticks - first):.0f} s",
                file=sys.stderr,
            )
            reported = now
    propagator.save_sums(path, plan, measurement)
    current.unlink(missing_ok=True)
    return measurement.sums


def run_replicas(plan: propagator.Plan, arguments: argparse.Namespace, stage: int = 0) -> list[dict]:
    """Sums of every replica of a stage, in their order, by --jobs processes; which one runs it changes no number.

    What is finished lies in the stage's own checkpoint folder.
    """
    folder = Path(arguments.checkpoint) / f"stage_{stage}"
    folder.mkdir(parents=True, exist_ok=True)
    count, jobs = arguments.replicas, arguments.jobs
    finished = [folder / f"replica_{replica:04d}.npz" for replica in range(count)]
    shares = [(count - replica) / jobs for replica in range(count)]
    if jobs == 1:
        return [run_replica(plan, *of_one) for of_one in zip(range(count), finished, shares, strict=True)]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(run_replica, repeat(plan), range(count), finished, shares))


if __name__ == "__main__":
    run_script(main)
