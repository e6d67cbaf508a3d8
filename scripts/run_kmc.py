"""Kinetic Monte Carlo of ions on a network of sites: the two-time site propagator and mean squared displacements."""

import argparse
import sys
import time
from pathlib import Path

from insilico_nmr import propagator
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.lattice import number_of_ions, read_lattice, read_rates
from insilico_nmr.sites import concentration

CHECKPOINT_EVERY_S = 20.0


def main() -> None:
    """Run all replicas, going on from the checkpoint folder, and write their propagator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sites", metavar="SITES", help="sites.json: sites and jumps of the primitive cell")
    parser.add_argument("--rates", required=True, help="rate table, CSV; its rows of origin 'model' are used")
    parser.add_argument("--temperature", type=float, required=True, help="temperature in K, one of the rate table's")
    parser.add_argument("--concentration", type=float, help="ions per site, between 0 and 1 (default: the crystal's)")
    parser.add_argument("--supercell", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"), help="cells")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default: 1)")
    parser.add_argument("--replicas", type=int, default=4, help="independent runs, at least 2 (default: 4)")
    parser.add_argument("--max-events", type=int, default=10_000_000, help="jumps in a replica (default: 1e7)")
    parser.add_argument(
        "--max-residence-times", type=float, default=1e3, help="longest lag in mean residence times (default: 1000)"
    )
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="folder to go on from after a kill")
    parser.add_argument("--out", required=True, help="propagator, NetCDF")
    arguments = parser.parse_args()
    if arguments.temperature <= 0:
        raise InputError(f"--temperature is {arguments.temperature:g}; expected more than 0 K")
    if arguments.replicas < 2:
        raise InputError(f"--replicas is {arguments.replicas}; standard errors need at least 2")
    if arguments.seed < 0:
        raise InputError(f"--seed is {arguments.seed}; expected a whole number of at least 0")

    rates = read_rates(arguments.rates, arguments.temperature)
    lattice = read_lattice(arguments.sites, rates, tuple(arguments.supercell))
    filling = concentration(arguments.sites) if arguments.concentration is None else arguments.concentration
    n_ions = number_of_ions(lattice, filling)
    plan = propagator.make_plan(lattice, n_ions, arguments.seed, arguments.max_events, arguments.max_residence_times)
    folder = Path(arguments.checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    finished = [folder / f"replica_{replica:04d}.npz" for replica in range(arguments.replicas)]
    current = folder / "current.npz"
    sums = run_replicas(plan, finished, current)
    dataset = propagator.combine(plan, sums, arguments.temperature)
    if not dataset.attrs["complete"]:
        print(
            f"warning: ions have not decorrelated at the last lag, {float(dataset['time'][-1]):.3g} s: residual "
            f"{dataset.attrs['residual']:.3g} ± {dataset.attrs['residual_se']:.2g} of max P(∞), expected below "
            f"{propagator.DECORRELATED}; raise --max-events or --max-residence-times",
            file=sys.stderr,
        )
    propagator.write_propagator(arguments.out, dataset)
    for path in [*finished, current]:
        path.unlink(missing_ok=True)


def run_replicas(plan: propagator.Plan, finished: list[Path], current: Path) -> list[dict]:
    """Sums of every replica: read where they are finished, run (from `current` where it fits) where not."""
    sums, started, ticks_run, reported = [], time.monotonic(), 0, 0.0
    for replica, path in enumerate(finished):
        done = propagator.load_sums(path, plan)
        if done is None:
            measurement = propagator.load_measurement(current, plan, replica) or propagator.begin(plan, replica)
            saved, more = time.monotonic(), int(measurement.ticks[0]) <= plan.n_ticks
            while more:
                before = int(measurement.ticks[0])
                more = propagator.proceed(plan, measurement)
                now = time.monotonic()
                ticks_run += int(measurement.ticks[0]) - before
                if now - saved > CHECKPOINT_EVERY_S:
                    propagator.save_measurement(current, plan, replica, measurement)
                    saved = now
                if now - reported > 5 or not more:
                    left = (len(finished) - replica) * (plan.n_ticks + 1) - int(measurement.ticks[0])
                    print(
                        f"replica {replica + 1}/{len(finished)}: {measurement.state.events:.3g} jumps, "
                        f"ETA {left * (now - started) / ticks_run:.0f} s",
                        file=sys.stderr,
                    )
                    reported = now
            propagator.save_sums(path, plan, measurement)
            done = measurement.sums
        sums.append(done)
    return sums


if __name__ == "__main__":
    run_script(main)
