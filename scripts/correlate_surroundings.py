"""What tensors that depend on filled neighbours add to correlation functions and echoes at one temperature.

Kinetic Monte Carlo of all ions, from equilibrium, with what filled neighbours add to the tensors of sites
(--surroundings, a JSON of correlate_trajectory.py), in as many replicas as the propagator and, where an echo needs it,
as far as that; jumps that are frequent are slowed for later times, as there (`insilico_nmr.stages`). simulate_nmr.py
and simulate_relaxation.py add it to what the propagator says (`insilico_nmr.fluctuations`).
"""

import argparse
import sys

import numpy as np
from insilico_nmr import fluctuations
from insilico_nmr.arguments import positive
from insilico_nmr.echo import load_observed
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.lattice import wide_enough
from insilico_nmr.moving import asked_for, lattice_of, seed_at
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.rate_shifts import add_rate_arguments
from insilico_nmr.sites import read_network
from insilico_nmr.surroundings import REACH_A, read_surroundings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", metavar="SITES", help="sites.json: sites and jumps of the primitive cell")
    add_rate_arguments(parser)
    parser.add_argument("--propagator", required=True, help="that of the same rates and temperature, NetCDF")
    parser.add_argument("--site-tensors", required=True, help="site tensors at that temperature, JSON")
    parser.add_argument("--surroundings", required=True, help="what filled neighbours add, JSON")
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument("--supercell", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"),
                        help="cells, at least; grows to hold neighbours and enough carriers")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default: %(default)s)")
    parser.add_argument("--max-events", type=int, default=10_000_000, help="jumps of all replicas (default: 1e7)")
    parser.add_argument("--evolution-times-us", type=positive, nargs="+", required=True, help="of the alignment echo")
    parser.add_argument(
        "--direction", type=float, nargs=3, metavar=("X", "Y", "Z"), help="of the field in a single crystal, Cartesian"
    )
    parser.add_argument("--out", required=True, help="NetCDF")
    arguments = parser.parse_args()

    nucleus = quadrupolar_nucleus(arguments.isotope)
    sites = read_network(arguments.sites)
    propagator, states = load_observed(arguments.propagator, arguments.site_tensors, nucleus.isotope)
    if abs(propagator.temperature_K - arguments.temperature) > 0.5 or propagator.shift != arguments.shift:
        raise InputError(
            f"{arguments.propagator} is at {propagator.temperature_K:g} K, shift {propagator.shift}; asked for are "
            f"{arguments.temperature:g} K, shift {arguments.shift}"
        )
    if len(propagator.populations) != len(sites["sites"]):
        raise InputError(
            f"{arguments.propagator} has {len(propagator.populations)} states, {arguments.sites} {len(sites['sites'])} "
            "sites"
        )
    added = read_surroundings(arguments.surroundings, len(sites["sites"]))
    smallest = wide_enough(np.array(sites["cell"], float), arguments.supercell, REACH_A)
    mover, n_ions = asked_for(arguments, sites, smallest)
    evolution_s = 1e-6 * np.array(arguments.evolution_times_us)
    print(f"{n_ions} ions in a supercell {lattice_of(mover).supercell}", file=sys.stderr, flush=True)
    replicas, until_s = len(propagator.replicas), propagator.sampled_until_s
    seed = seed_at(arguments.seed, arguments.temperature)
    how = seed, replicas, arguments.max_events // replicas, until_s, arguments.direction
    times, values = fluctuations.simulate(mover, n_ions, states.mean, added, evolution_s, nucleus, *how)
    curves = np.moveaxis(values, 1, -1)
    values = times, curves[:, :3], evolution_s, curves[:, 3:], added.member_scales
    found = fluctuations.Fluctuations(*values, arguments.temperature, arguments.shift, arguments.direction)
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
