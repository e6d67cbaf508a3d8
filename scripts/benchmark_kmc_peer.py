"""Speed and physics of this study's kinetic Monte Carlo beside those of a public code, kMCpy 0.3.0.

Needs `pip install kmcpy==0.3.0 ase xarray` in an environment of its own. Both codes move ions that only exclude each
other on one simple cubic lattice, with one rate, from random occupations, which are in equilibrium.

Only the loop over events is timed, in processor time: no set-up, compilation or files. kMCpy's loop keeps every ion's
displacement and samples its transport properties once a pass (as many events as sites), as it does by default; this
study's keeps every ion's unwrapped cell. kMCpy gets the events that cost it least: each pair of neighbours once, for
it lets ions jump both ways along an event, and no sites around the pair, for the barrier is the same everywhere.
Its EventGenerator lists each pair twice where all sites are of one kind, and so doubles all rates.

The last table compares what both simulated; p is of Welch's test that their means are equal.
kMCpy: Z. Deng et al., Comput. Mater. Sci. 229, 112394 (2023).
"""

import argparse
import sys
import tempfile
import time
from contextlib import chdir

import numpy as np
from benchmark_kmc import simple_cubic
from insilico_nmr import kmc
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.lattice import Lattice, equilibrium, equilibrium_occupation, number_of_ions
from scipy import stats

try:
    from kmcpy import KMC, Configuration, Event, LocalBarrierModel, State
    from kmcpy.event import EventLib
    from kmcpy.units import BOLTZMANN_CONSTANT_MEV_PER_K
    from pymatgen.core import Structure
except ImportError as error:
    sys.exit(f"error: {error}; this benchmark needs kMCpy: pip install kmcpy==0.3.0")

BARRIER_MEV, ATTEMPTS_PER_S, TEMPERATURE_K = 300.0, 1e13, 300.0
RATE_PER_S = ATTEMPTS_PER_S * np.exp(-BARRIER_MEV / (BOLTZMANN_CONSTANT_MEV_PER_K * TEMPERATURE_K))
ION, VACANCY = 0, 1  # kMCpy's occupations
OURS_LONGER = 100  # this study's engine is timed over so many times the events


def pairs_of_neighbours(cells: int) -> EventLib:
    """kMCpy's events on a cube of cells³ sites, numbered with z fastest."""
    number = np.arange(cells**3).reshape(cells, cells, cells)
    events = EventLib()
    for axis in range(3):
        for pair in zip(number.ravel().tolist(), np.roll(number, -1, axis).ravel().tolist(), strict=True):
            events.add_event(Event(mobile_ion_indices=pair, local_env_indices=()))
    events.generate_event_dependencies()
    return events


def observables(n_events: int, time_s: float, displacements: np.ndarray, edge: float) -> tuple[float, float]:
    """Jumps of an ion per 1/rate, and ⟨R²⟩/(n a²) after n jumps of length a, from displacements (N, 3), Å."""
    jumps = n_events / len(displacements)
    return jumps / (time_s * RATE_PER_S), (displacements**2).sum(1).mean() / (jumps * edge**2)


def run_theirs(lattice: Lattice, events: EventLib, n_ions: int, passes: int, seed: int) -> tuple[float, float, float]:
    """Events per second and `observables` of kMCpy; the first pass, in which it is compiled, is not timed."""
    cells, n_sites = lattice.supercell[0], lattice.n_sites
    occupations = np.full(n_sites, VACANCY)
    occupations[np.random.default_rng([seed, 1]).choice(n_sites, n_ions, replace=False)] = ION
    positions = np.stack(np.unravel_index(np.arange(n_sites), lattice.supercell), axis=1) / cells
    simulation = KMC(
        structure=Structure(lattice.cell * cells, ["Li"] * n_sites, positions),
        model=LocalBarrierModel.constant_barrier(BARRIER_MEV),
        event_lib=events,
        config=Configuration(
            mobile_ion_specie="Li",
            elementary_hop_distance=float(lattice.cell[0, 0]),
            temperature=TEMPERATURE_K,
            attempt_frequency=ATTEMPTS_PER_S,
            equilibration_passes=0,
            kmc_passes=passes + 1,
            random_seed=seed,
        ),
        simulation_state=State(occupations.tolist()),
    )
    simulation.attach(lambda state, step, now: time.process_time(), interval=n_sites, name="processor")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # it writes its results where it runs
        tracker = simulation.run()
    seconds = [record["value"] for record in tracker.get_property_records("processor")]
    made = int(tracker.hop_counter.sum())
    if len(seconds) != passes + 1 or made != (passes + 1) * n_sites:
        raise InputError(f"kMCpy made {made} jumps in {len(seconds)} passes; expected {passes + 1} of {n_sites} jumps")
    speed = passes * n_sites / (seconds[-1] - seconds[0])
    return speed, *observables(made, tracker.time, tracker.displacement, lattice.cell[0, 0])


def run_ours(lattice: Lattice, n_ions: int, passes: int, seed: int) -> tuple[float, float, float]:
    """Events per second and `observables` of this study's engine, the latter after as many events as in kMCpy."""
    state = kmc.start(lattice, equilibrium_occupation(lattice, n_ions, np.random.default_rng(seed)), seed)
    kmc.run_events(lattice, state, (passes + 1) * lattice.n_sites)
    found = observables(state.events, state.time_s, state.record[:, kmc.X :] @ lattice.cell, lattice.cell[0, 0])
    before = time.process_time()
    kmc.run_events(lattice, state, OURS_LONGER * passes * lattice.n_sites)
    return OURS_LONGER * passes * lattice.n_sites / (time.process_time() - before), *found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10, help="edge of the cube, at least 3 (default: %(default)s)")
    parser.add_argument("--filling", type=float, default=0.5, help="ions per site (default: %(default)s)")
    parser.add_argument("--events", type=int, default=20_000, help="timed in kMCpy, all runs (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each code, at least 2 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; later ones count up (default: 1)")
    args = parser.parse_args()
    if args.cells < 3 or args.events < 1 or args.runs < 2 or args.seed < 0:
        raise InputError("expected at least 3 for --cells, 2 for --runs, 1 for --events and 0 for --seed")

    lattice = simple_cubic(args.cells, (RATE_PER_S,) * 3)
    n_ions = number_of_ions(lattice, args.filling)
    passes = -(-args.events // (args.runs * lattice.n_sites))  # kMCpy makes whole ones
    events = pairs_of_neighbours(args.cells)
    theirs, ours = [], []
    for seed in range(args.seed, args.seed + args.runs):
        theirs.append(run_theirs(lattice, events, n_ions, passes, seed))
        ours.append(run_ours(lattice, n_ions, passes, seed))
        print(f"run {len(ours)}/{args.runs}", file=sys.stderr, flush=True)

    (speed, *their_means), (our_speed, *our_means) = np.mean(theirs, axis=0), np.mean(ours, axis=0)
    (error, *their_errors), (our_error, *our_errors) = (
        np.std(runs, axis=0, ddof=1) / np.sqrt(args.runs) for runs in (theirs, ours)
    )
    timed = args.runs * passes * lattice.n_sites
    ratio = our_speed / speed
    print(f"{lattice.n_sites} sites, {n_ions} ions, {args.runs} runs of each code; ± is one standard error")
    print(f"kMCpy       {speed:10.4g} ± {error:.2g} events/s, {timed} events")
    print(f"this study  {our_speed:10.4g} ± {our_error:.2g} events/s, {OURS_LONGER * timed} events")
    print(f"ratio       {ratio:10.4g} ± {ratio * np.hypot(error / speed, our_error / our_speed):.2g}")
    exact = [f"{equilibrium(lattice, n_ions).exit_rate / RATE_PER_S:.4f}", "-"]
    print(f"after {(passes + 1) * lattice.n_sites} events         kMCpy            this study       p      exact")
    for k, label in enumerate(["jumps of an ion per 1/rate", "⟨R²⟩/(n a²), n jumps"]):
        p = stats.ttest_ind(np.array(ours)[:, k + 1], np.array(theirs)[:, k + 1], equal_var=False).pvalue
        print(
            f"{label:27s} {their_means[k]:.4f} ± {their_errors[k]:.4f}  {our_means[k]:.4f} ± {our_errors[k]:.4f}  "
            f"{p:.3f}  {exact[k]}"
        )


if __name__ == "__main__":
    run_script(main)
