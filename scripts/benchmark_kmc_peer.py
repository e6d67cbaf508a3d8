"""Speed and physics of this study's kinetic Monte Carlo beside those of a public code, kMCpy 0.3.0 or lattice_mc 1.0.4.

Each needs an environment of its own, with what this study's engine needs: `pip install kmcpy==0.3.0 ase xarray`, or
`pip install --no-deps lattice_mc==1.0.4` beside this study's packages (it pins old tools that it does not use). Both
codes move ions that only exclude each other on one simple cubic lattice, with one rate, from random occupations, which
are in equilibrium.

Only the loop over events is timed, in processor time: no set-up, compilation or files. kMCpy's loop keeps every ion's
displacement and samples its transport properties once a pass (as many events as sites), as it does by default;
lattice_mc's keeps every ion's displacement and how long each site was occupied; this study's keeps every ion's
unwrapped cell. kMCpy gets the events that cost it least: each pair of neighbours once, for it lets ions jump both ways
along an event, and no sites around the pair, for the barrier is the same everywhere. Its EventGenerator lists each pair
twice where all sites are of one kind, and so doubles all rates.

The last table compares what both simulated; p is of Welch's test that their means are equal. ⟨R²⟩/(n a²) is the tracer
correlation factor after n jumps of an ion.
kMCpy: Z. Deng et al., Comput. Mater. Sci. 229, 112394 (2023). lattice_mc: B. J. Morgan, J. Open Source Softw. 2, 247
(2017).
"""

import argparse
import random
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

OURS_LONGER = 100  # this study's engine is timed over so many times the events


def observables(n_events: int, time_in_rates: float, displacements: np.ndarray, edge: float) -> tuple[float, float]:
    """Jumps of an ion per 1/rate, and ⟨R²⟩/(n a²) after n jumps of length a, from displacements (N, 3), Å."""
    jumps = n_events / len(displacements)
    return jumps / time_in_rates, (displacements**2).sum(1).mean() / (jumps * edge**2)


class KMCpy:
    """kMCpy on a lattice of `simple_cubic`."""

    barrier_meV, attempts_per_s, temperature_K = 300.0, 1e13, 300.0
    ion, vacancy = 0, 1  # its occupations

    def __init__(self, lattice: Lattice):
        from kmcpy.event import Event, EventLib

        self.lattice = lattice
        self.events = EventLib()
        # It numbers sites with z fastest.
        number = np.arange(lattice.n_sites).reshape(lattice.supercell)
        for axis in range(3):
            for pair in zip(number.ravel().tolist(), np.roll(number, -1, axis).ravel().tolist(), strict=True):
                self.events.add_event(Event(mobile_ion_indices=pair, local_env_indices=()))
        self.events.generate_event_dependencies()

    def run(self, n_ions: int, passes: int, seed: int) -> tuple[float, float, float]:
        """Events per second and `observables`; the first pass, in which it is compiled, is not timed."""
        from kmcpy import KMC, Configuration, LocalBarrierModel, State
        from kmcpy.units import BOLTZMANN_CONSTANT_MEV_PER_K
        from pymatgen.core import Structure

        lattice, n_sites = self.lattice, self.lattice.n_sites
        cells, edge = lattice.supercell[0], float(lattice.cell[0, 0])
        occupations = np.full(n_sites, self.vacancy)
        occupations[np.random.default_rng([seed, 1]).choice(n_sites, n_ions, replace=False)] = self.ion
        positions = np.stack(np.unravel_index(np.arange(n_sites), lattice.supercell), axis=1) / cells
        simulation = KMC(
            structure=Structure(lattice.cell * cells, ["Li"] * n_sites, positions),
            model=LocalBarrierModel.constant_barrier(self.barrier_meV),
            event_lib=self.events,
            config=Configuration(
                mobile_ion_specie="Li",
                elementary_hop_distance=edge,
                temperature=self.temperature_K,
                attempt_frequency=self.attempts_per_s,
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
            raise InputError(
                f"kMCpy made {made} jumps in {len(seconds)} passes; expected {passes + 1} of {n_sites} jumps"
            )
        rate_per_s = self.attempts_per_s * np.exp(
            -self.barrier_meV / (BOLTZMANN_CONSTANT_MEV_PER_K * self.temperature_K)
        )
        speed = passes * n_sites / (seconds[-1] - seconds[0])
        return speed, *observables(made, tracker.time * rate_per_s, tracker.displacement, edge)


class LatticeMC:
    """lattice_mc on a lattice of `simple_cubic`."""

    def __init__(self, lattice: Lattice):
        self.lattice = lattice

    def run(self, n_ions: int, passes: int, seed: int) -> tuple[float, float, float]:
        """Events per second and `observables`."""
        from lattice_mc.global_vars import rate_prefactor
        from lattice_mc.init_lattice import cubic_lattice
        from lattice_mc.simulation import Simulation

        random.seed(seed)
        simulation, edge = Simulation(), float(self.lattice.cell[0, 0])
        simulation.lattice = cubic_lattice(*self.lattice.supercell, edge)
        simulation.set_number_of_atoms(n_ions)
        n_events = (passes + 1) * self.lattice.n_sites
        simulation.set_number_of_jumps(n_events)
        before = time.process_time()
        simulation.run()
        speed = n_events / (time.process_time() - before)
        displacements = np.array([ion.dr for ion in simulation.atoms.atoms])
        return speed, *observables(n_events, simulation.lattice.time * rate_prefactor, displacements, edge)


PEERS = {"kMCpy": KMCpy, "lattice_mc": LatticeMC}


def run_ours(lattice: Lattice, n_ions: int, passes: int, seed: int) -> tuple[float, float, float]:
    """Events per second and `observables` of this study's engine, the latter after as many events as in the peer."""
    state = kmc.start(lattice, equilibrium_occupation(lattice, n_ions, np.random.default_rng(seed)), seed)
    kmc.run_events(lattice, state, (passes + 1) * lattice.n_sites)
    found = observables(state.events, state.time_s, state.record[:, kmc.X :] @ lattice.cell, lattice.cell[0, 0])
    before = time.process_time()
    kmc.run_events(lattice, state, OURS_LONGER * passes * lattice.n_sites)
    return OURS_LONGER * passes * lattice.n_sites / (time.process_time() - before), *found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=PEERS, default="kMCpy", help="the other code (default: %(default)s)")
    parser.add_argument("--cells", type=int, default=10, help="edge of the cube, at least 3 (default: %(default)s)")
    parser.add_argument("--filling", type=float, default=0.5, help="ions per site (default: %(default)s)")
    parser.add_argument("--events", type=int, default=20_000, help="of the peer, all runs (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each code, at least 2 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; later ones count up (default: 1)")
    args = parser.parse_args()
    if args.cells < 3 or args.events < 1 or args.runs < 2 or args.seed < 0:
        raise InputError("expected at least 3 for --cells, 2 for --runs, 1 for --events and 0 for --seed")

    lattice = simple_cubic(args.cells, (1.0, 1.0, 1.0))
    n_ions = number_of_ions(lattice, args.filling)
    passes = -(-args.events // (args.runs * lattice.n_sites))  # kMCpy makes whole ones
    theirs, ours = [], []
    try:
        peer = PEERS[args.peer](lattice)
        for seed in range(args.seed, args.seed + args.runs):
            theirs.append(peer.run(n_ions, passes, seed))
            ours.append(run_ours(lattice, n_ions, passes, seed))
            print(f"run {len(ours)}/{args.runs}", file=sys.stderr, flush=True)
    except ImportError as error:
        raise InputError(f"{error}; this benchmark needs {args.peer} (see --help)") from None

    (speed, *their_means), (our_speed, *our_means) = np.mean(theirs, axis=0), np.mean(ours, axis=0)
    (error, *their_errors), (our_error, *our_errors) = (
        np.std(runs, axis=0, ddof=1) / np.sqrt(args.runs) for runs in (theirs, ours)
    )
    timed = args.runs * passes * lattice.n_sites
    ratio = our_speed / speed
    print(f"{lattice.n_sites} sites, {n_ions} ions, {args.runs} runs of each code; ± is one standard error")
    print(f"{args.peer:11s} {speed:10.4g} ± {error:.2g} events/s, {timed} events")
    print(f"this study  {our_speed:10.4g} ± {our_error:.2g} events/s, {OURS_LONGER * timed} events")
    print(f"ratio       {ratio:10.4g} ± {ratio * np.hypot(error / speed, our_error / our_speed):.2g}")
    exact = [f"{equilibrium(lattice, n_ions).exit_rate:.4f}", "-"]
    title = f"after {(passes + 1) * lattice.n_sites} events"
    print(f"{title:27s} {args.peer:16s} this study       p      exact")
    for k, label in enumerate(["jumps of an ion per 1/rate", "⟨R²⟩/(n a²), n jumps"]):
        p = stats.ttest_ind(np.array(ours)[:, k + 1], np.array(theirs)[:, k + 1], equal_var=False).pvalue
        print(
            f"{label:27s} {their_means[k]:.4f} ± {their_errors[k]:.4f}  {our_means[k]:.4f} ± {our_errors[k]:.4f}  "
            f"{p:.3f}  {exact[k]}"
        )


if __name__ == "__main__":
    run_script(main)
