"""Events per second of kinetic Monte Carlo on one core, by size of the lattice, with and without the propagator."""

import argparse
import time

import numpy as np
from insilico_nmr import gas_kmc, kmc, lattice_gas, propagator
from insilico_nmr.errors import run_script
from insilico_nmr.lattice import Lattice, build_lattice, number_of_ions
from insilico_nmr.rates import BOLTZMANN_EV_PER_K

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


def repelling(lattice: Lattice, energy_kT: float) -> lattice_gas.Gas:
    """The lattice of `simple_cubic` with a repulsion between nearest neighbours."""
    energy_eV = energy_kT * BOLTZMANN_EV_PER_K * 300
    images = [(sign * np.eye(3, dtype=int)[axis]).tolist() for axis in range(3) for sign in (1, -1)]
    pairs = [{"from": 0, "to": 0, "image": image, "energy_eV": energy_eV} for image in images]
    return lattice_gas.build_gas(lattice, pairs, 300.0)


def bare(lattice: Lattice, gas: lattice_gas.Gas | None, n_ions: int, events: int) -> tuple[float, float]:
    """Events a second without estimators, after a quarter as many to warm up, and bytes a site."""
    engine, system = (kmc, lattice) if gas is None else (gas_kmc, gas)
    sites = np.random.default_rng(1).choice(lattice.n_sites, n_ions, replace=False).astype(np.int32)
    state = engine.start(system, sites, 1)
    engine.run_events(system, state, events // 4)
    before = time.process_time()
    engine.run_events(system, state, events)
    rate = events / (time.process_time() - before)
    held = [*vars(lattice).values(), *(vars(gas).values() if gas else ()), *state.arrays.values()]
    arrays = {id(value): value for value in held if isinstance(value, np.ndarray)}
    return rate, sum(array.nbytes for array in arrays.values()) / lattice.n_sites


def with_propagator(lattice: Lattice, gas: lattice_gas.Gas | None, n_ions: int, events: int) -> float:
    """Events a second; at least four residence times, so that lags come in the proportions of a long run."""
    plan = propagator.make_plan(lattice, n_ions, 1, max(events, 8 * n_ions), gas=gas)
    measurement = propagator.begin(plan, 0)
    before = time.process_time()
    while propagator.proceed(plan, measurement):
        pass
    return measurement.state.events / (time.process_time() - before)


def main() -> None:
    """Print one line a lattice. Processor time is counted: other programs may hold the core meanwhile.

    `estimators/events`: time that the propagator takes over that of the jumps; nan where it was not tried.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="jumps timed in each case (default: 2e6)")
    parser.add_argument("--sites", type=float, nargs="+", default=[1e4, 1e5, 1e6, 1e7], help="(default: 1e4 … 1e7)")
    arguments = parser.parse_args()
    cases = (
        ("one class", (1.0, 1.0, 1.0), 0.5, 0.0),
        ("three classes", (1.0, 0.1, 0.01), 0.75, 0.0),
        # Drawn by trials, and too strong for that.
        ("repelling, kT/2", (1.0, 1.0, 1.0), 0.5, 0.5),
        ("repelling, 3 kT", (1.0, 1.0, 1.0), 0.5, 3.0),
    )
    for _, rates, _, energy_kT in cases:  # compiles
        lattice = simple_cubic(4, rates)
        gas = repelling(lattice, energy_kT) if energy_kT else None
        bare(lattice, gas, 30, 100)
        with_propagator(lattice, gas, 30, 1000)
    columns = "lattice             sites  filling    events/s  with propagator/s  estimators/events  bytes/site"
    print(f"{columns}  cost over first")
    for name, rates, filling, energy_kT in cases:
        first = None
        for sites in arguments.sites:
            lattice = simple_cubic(round(sites ** (1 / 3)), rates)
            gas = repelling(lattice, energy_kT) if energy_kT else None
            n_ions = number_of_ions(lattice, filling)
            rate, memory = bare(lattice, gas, n_ions, arguments.events)
            first = first or rate
            # Interacting ions run in for a hundred jumps each: too long to wait for in the largest lattices.
            full = np.nan if gas and sites > 1e5 else with_propagator(lattice, gas, n_ions, arguments.events)
            print(
                f"{name:15s} {lattice.n_sites:9d} {filling:8.2f} {rate:11.3g} {full:18.3g} {rate / full - 1:18.2f} "
                f"{memory:11.0f} {first / rate:16.2f}",
                flush=True,
            )


if __name__ == "__main__":
    run_script(main)
