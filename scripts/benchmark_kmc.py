"""Events per second of kinetic Monte Carlo on one core, by size of the lattice, with and without the propagator."""

import argparse
import time

import numpy as np
from insilico_nmr import kmc, propagator
from insilico_nmr.errors import run_script
from insilico_nmr.lattice import Lattice, build_lattice, equilibrium_occupation, number_of_ions

CLASSES = ("x", "y", "z")


def simple_cubic(n: int, rates: tuple[float, float, float]) -> Lattice:
    """A cube of n³ sites with nearest neighbours along x, y, z; axes of one rate are one class."""
    name = [CLASSES[rates.index(rate)] for rate in rates]
    jumps = [
        {"from": 0, "to": 0, "image": (sign * np.eye(3, dtype=int)[axis]).tolist(), "class": name[axis]}
        for axis in range(3)
        for sign in (1, -1)
    ]
    sites = {
        "cell": (3 * np.eye(3)).tolist(),
        "sites": [{"index": 0, "orbit": "A", "position": [0, 0, 0]}],
        "jumps": jumps,
    }
    return build_lattice(sites, {(name[a], "A", "A"): rates[a] for a in range(3)}, (n, n, n))


def main() -> None:
    """Print one line a lattice. Processor time is counted: other programs may hold the core meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="jumps timed in each case (default: 2e6)")
    parser.add_argument("--sites", type=float, nargs="+", default=[1e3, 1e5, 1e6], help="sizes (default: 1e3 1e5 1e6)")
    arguments = parser.parse_args()
    warm_up = propagator.make_plan(simple_cubic(3, (1.0, 1.0, 1.0)), 10, 1, 1000)
    propagator.proceed(warm_up, propagator.begin(warm_up, 0))  # compiles
    print("lattice              sites  filling    events/s  with propagator/s  bytes/site")
    for name, rates, filling in (("one class", (1.0, 1.0, 1.0), 0.5), ("three classes", (1.0, 0.1, 0.01), 0.75)):
        for sites in arguments.sites:
            lattice = simple_cubic(round(sites ** (1 / 3)), rates)
            n_ions = number_of_ions(lattice, filling)
            state = kmc.start(lattice, equilibrium_occupation(lattice, n_ions, np.random.default_rng(1)), 1)
            kmc.run_events(lattice, state, arguments.events // 4)
            before = time.process_time()
            kmc.run_events(lattice, state, arguments.events)
            bare = arguments.events / (time.process_time() - before)
            memory = lattice.neighbour.nbytes + sum(array.nbytes for array in state.arrays.values())
            # At least four residence times, so that origins and lags come in the proportions of a long run.
            plan = propagator.make_plan(lattice, n_ions, 1, max(arguments.events, 8 * n_ions))
            measurement = propagator.begin(plan, 0)
            before = time.process_time()
            while propagator.proceed(plan, measurement):
                pass
            full = measurement.state.events / (time.process_time() - before)
            print(
                f"{name:14s} {lattice.n_sites:11d} {filling:8.2f} {bare:11.3g} {full:18.3g} "
                f"{memory / lattice.n_sites:11.0f}"
            )


if __name__ == "__main__":
    run_script(main)
