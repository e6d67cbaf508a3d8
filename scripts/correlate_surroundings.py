"""What tensors that depend on filled neighbours add to correlation functions and echoes at one temperature.

Kinetic Monte Carlo of all ions, from equilibrium, with what filled neighbours add to the tensors of sites
(--surroundings, a JSON of correlate_trajectory.py); where the jumps of the budget end before surroundings have been
forgotten, it goes on with frequent jumps slowed, as the propagator does (`insilico_nmr.stages`). Replicas, and where
the rate model is moved to, have to be the propagator's: simulate_nmr.py and simulate_relaxation.py add the two
(`insilico_nmr.fluctuations`).
"""

import argparse
import sys

import numpy as np
from insilico_nmr import fluctuations
from insilico_nmr.echo import read_site_tensors
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import read_json
from insilico_nmr.lattice import converged_lattice, number_of_ions, wide_enough
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.rate_shifts import add_shift_arguments, rates_asked_for
from insilico_nmr.surroundings import REACH_A, read_surroundings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", metavar="SITES", help="sites.json: sites and jumps of the primitive cell")
    add_shift_arguments(parser)
    parser.add_argument("--site-tensors", required=True, help="site tensors at that temperature, JSON")
    parser.add_argument("--surroundings", required=True, help="what filled neighbours add, JSON")
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument("--supercell", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"),
                        help="cells, at least; grows to hold neighbours and enough carriers")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=6, help="independent runs, at least 2 (default: %(default)s)")
    parser.add_argument("--max-events", type=int, default=10_000_000, help="jumps in a replica, at most (default: 1e7)")
    parser.add_argument("--evolution-times-us", type=float, nargs="+", required=True, help="of the alignment echo")
    parser.add_argument(
        "--direction", type=float, nargs=3, metavar=("X", "Y", "Z"), help="of the field in a single crystal, Cartesian"
    )
    parser.add_argument("--out", required=True, help="NetCDF")
    arguments = parser.parse_args()
    if arguments.replicas < 2:
        raise InputError(f"--replicas is {arguments.replicas}; standard errors need at least 2")
    if min(arguments.evolution_times_us) <= 0:
        raise InputError("--evolution-times-us must be positive")

    nucleus = quadrupolar_nucleus(arguments.isotope)
    sites = read_json(arguments.sites)
    states = read_site_tensors(arguments.site_tensors, len(sites["sites"]))
    if abs(states.temperature_K - arguments.temperature) > 0.5:
        raise InputError(
            f"{arguments.site_tensors} is at {states.temperature_K:g} K, --temperature is {arguments.temperature:g}"
        )
    added = read_surroundings(arguments.surroundings, len(sites["sites"]))
    rates, filling = rates_asked_for(arguments, sites)
    smallest = wide_enough(np.array(sites["cell"], float), arguments.supercell, REACH_A)
    lattice = converged_lattice(sites, rates, smallest, filling, arguments.sites, bool(arguments.shift))
    n_ions = number_of_ions(lattice, filling)
    evolution_s = 1e-6 * np.array(arguments.evolution_times_us)
    print(f"{n_ions} ions in a supercell {lattice.supercell}", file=sys.stderr, flush=True)
    how = arguments.seed, arguments.replicas, arguments.max_events, arguments.direction
    times, values = fluctuations.simulate(lattice, n_ions, states.mean, added, evolution_s, nucleus, *how)
    curves = np.moveaxis(values, 1, -1)
    found = fluctuations.Fluctuations(
        times, curves[:, :3], evolution_s, curves[:, 3:], arguments.temperature, arguments.shift, arguments.direction
    )
    if not found.decayed:
        left = curves[:, 0, -1].mean() / curves[:, 0, 0].mean()
        print(
            f"warning: {100 * left:.2g} % of what surroundings add are left at the last time, {times[-1]:.3g} s; raise "
            "--max-events",
            file=sys.stderr,
        )
    fluctuations.write_fluctuations(arguments.out, found)


if __name__ == "__main__":
    run_script(main)
