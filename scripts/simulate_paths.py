"""Signals along the paths of all ions at one temperature: free-induction decay, quadrupole echo, spin-alignment echo.

Kinetic Monte Carlo of all ions, from equilibrium, gives each ion's field gradient at every moment, so nothing is
assumed about how many jumps fall into an evolution time. It is done with two kinds of tensors, over the same paths:

sites         every site has its mean tensor, as in all other observables
surroundings  the tensor depends on which neighbouring sites are filled; its mean over these is the site's (with
              --surroundings)

Spectra: the transforms of the decay and of the quadrupole echo at twice --echo-delay-us; areas are 1 and what is left
then. That echo is ideal, every coherence refocused whole, which a pulse does to spin 1; of larger spins a 90° pulse
leaves each line another part (`insilico_nmr.paths.decay`). With --dead-time-us the first points of the free-induction
decay are lost. Alignment echoes, of spin 1 and 3/2: S2 at the evolution times, up to the mixing time that the budget of
jumps reaches.

Errors: `se_sampling` over replicas, whose orientations differ too, and over replicates of the site tensors; `sd_model`
over the committee's tensors (both widened for so few); `sd_dft` over tensors scaled by DFT's error. All these sets of
tensors go along the first paths of the first replica, with tensors of sites; their scatter counts for both kinds.

Where the budget ends before the broadening has damped a decay, the signal of the lines that move is brought to zero by
cos² over the time followed (column `followed_s`), which widens them to its reciprocal. Below LEAST_PERIODS periods of
the widest splitting there are no spectra, which is said.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pandas as pd
from insilico_nmr import paths
from insilico_nmr.arguments import not_negative, positive
from insilico_nmr.echo import AMPLITUDES, SiteTensors, read_site_tensors
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_of_sets, error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.lattice import wide_enough
from insilico_nmr.moving import Mover, asked_for, exit_rate, lattice_of, seed_at, start_in_equilibrium
from insilico_nmr.nuclei import Nucleus, quadrupolar_nucleus
from insilico_nmr.powder import outermost_Hz, transitions
from insilico_nmr.rate_shifts import add_rate_arguments
from insilico_nmr.sites import read_network
from insilico_nmr.spectra import acquisition, spectrum_of_fid
from insilico_nmr.surroundings import REACH_A, read_surroundings

WATCHED = 1000  # ions a replica whose signal is summed
WATCHED_FOR_SPREAD = 200  # where only the scatter over sets of tensors is wanted
LEAST_PERIODS = 10.0
TIMES_PER_DECADE = 6
SPECTRA = ["temperature_K", "tensors", "experiment", "followed_s"]
SPECTRA += ["frequency_kHz", "intensity_per_kHz"]
ECHOES = ["temperature_K", "tensors", "evolution_time_us", "mixing_time_s", "S2"]
ERRORS = ["se_sampling", "sd_model", "sd_dft"]


def fields_of(
    mover: Mover, n_ions: int, tensors: np.ndarray, surroundings: str | None
) -> Iterator[tuple[str, paths.Field]]:
    """Kinds of tensors by name."""
    lattice = lattice_of(mover)
    yield "sites", paths.field_of_sites(lattice, tensors)
    if surroundings is not None:
        added = read_surroundings(surroundings, len(lattice.basis))
        yield "surroundings", paths.field_of_surroundings(mover, n_ions, tensors, added)


class Plan:
    """Which times each experiment looks at, s, within `reach_s`; at most `count` points of decays, `step_s` apart.

    window : (points,) what decays are multiplied by, 1 where they have all their points; beyond these they are 0.
    mixing_s : by evolution time, where any mixing time is within reach.
    """

    def __init__(self, reach_s: float, step_s: float, count: int, delay_s: float, evolution_s: list[float], least: int):
        points = min(count, max(0, int((reach_s - 2 * delay_s) / step_s)))
        self.grid = step_s * np.arange(points)
        self.count = count
        self.window = np.ones(count) if points == count else np.cos(np.pi / 2 * np.arange(points) / max(1, points)) ** 2
        self.delay_s, self.spectra = delay_s, points >= least
        self.mixing_s = {}
        for evolution in evolution_s:
            last, first = reach_s - 2 * evolution, min(evolution_s) / 10
            if last > first:
                number = int(TIMES_PER_DECADE * np.log10(last / first)) + 1
                self.mixing_s[evolution] = np.geomspace(first, last, max(2, number))
        wanted = [np.array([delay_s]), self.grid, 2 * delay_s + self.grid] if self.spectra else []
        for evolution, mixing in self.mixing_s.items():
            wanted += [np.array([evolution]), evolution + mixing, 2 * evolution + mixing]
        self.times_s = np.unique(np.concatenate(wanted)) if wanted else np.empty(0)

    def at(self, integral: np.ndarray, times_s: np.ndarray | float) -> np.ndarray:
        """The records (K, N, 6) at these of the times."""
        return integral[np.searchsorted(self.times_s, times_s)]

    def signals(self, integral: np.ndarray, turned: paths.Orientations, nucleus: Nucleus) -> dict:
        """Signals of one replica by experiment: (experiment, evolution time or None)."""
        found = {}
        if self.spectra:
            found["fid", None] = paths.decay(self.at(integral, self.grid), turned, nucleus)
            once = self.at(integral, self.delay_s)
            found["quadrupole_echo", None] = paths.decay(
                self.at(integral, 2 * self.delay_s + self.grid) - 2 * once, turned, nucleus
            )
        for evolution, mixing in self.mixing_s.items():
            second = self.at(integral, 2 * evolution + mixing) - self.at(integral, evolution + mixing)
            found["alignment_echo", evolution] = paths.alignment_echo(
                self.at(integral, evolution), second, turned, nucleus
            )
        return found


def central_share(nucleus: Nucleus) -> float:
    """Part of the intensity in the line that no field gradient moves in first order."""
    multipliers, intensities = transitions(nucleus.spin)
    return float(intensities[multipliers == 0].sum())


def line_of(plan: Plan, signal: np.ndarray, nucleus: Nucleus, lorentz_Hz: float, dead_s: float) -> tuple:
    """Axis, Hz, and spectrum, 1/kHz, of a decay of the lines that move and the central line, 0 before `dead_s`."""
    # The central line goes on where the lines that move have ended.
    whole = np.full(plan.count, central_share(nucleus))
    whole[: len(plan.window)] += plan.window * signal
    whole[plan.grid[1] * np.arange(plan.count) < dead_s] = 0.0
    axis_Hz, line = spectrum_of_fid(whole, plan.grid[1], lorentz_Hz)
    return axis_Hz, 1e3 * line


def tables_of(
    plan: Plan,
    replicas: Sequence[dict],
    sets: dict[str, list[dict]],
    nucleus: Nucleus,
    lorentz_Hz: float,
    dead_s: float,
) -> tuple[list, list]:
    """Tables of spectra and of echoes, without temperature and kind of tensors, from the signals of all replicas.

    sets : signals of one replica with other tensors, by the error (of ERRORS) that their scatter is.
    """
    spectra, echoes = [], []
    for experiment, evolution in replicas[0]:
        key, echo = (experiment, evolution), experiment == "alignment_echo"

        def shown(signals: dict, key: tuple = key, echo: bool = echo) -> np.ndarray:
            dead = dead_s if key[0] == "fid" else 0.0
            return signals[key] if echo else line_of(plan, signals[key], nucleus, lorentz_Hz, dead)[1]

        curves = np.array([shown(signals) for signals in replicas])
        errors = {error: error_of_sets(error, [shown(signals) for signals in others]) for error, others in sets.items()}
        of_replicas = error_over_replicas(curves)
        errors["se_sampling"] = np.hypot(of_replicas, np.nan_to_num(errors["se_sampling"]))
        if echo:
            columns = {"evolution_time_us": 1e6 * evolution, "mixing_time_s": plan.mixing_s[evolution]}
            columns |= {"S2": curves.mean(axis=0)} | {f"S2_{name}": errors[name] for name in ERRORS}
            echoes.append(pd.DataFrame(columns))
        else:
            axis_Hz, _ = line_of(plan, replicas[0][key], nucleus, lorentz_Hz, 0.0)
            columns = {"experiment": experiment, "followed_s": plan.grid[-1], "frequency_kHz": axis_Hz / 1e3}
            columns |= {"intensity_per_kHz": curves.mean(axis=0)}
            columns |= {f"intensity_{name}_per_kHz": errors[name] for name in ERRORS}
            spectra.append(pd.DataFrame(columns))
    return spectra, echoes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", metavar="SITES", help="sites.json: sites and jumps of the primitive cell")
    add_rate_arguments(parser)
    parser.add_argument("--site-tensors", required=True, help="site tensors at that temperature, JSON")
    parser.add_argument("--surroundings", help="what filled neighbours add, JSON of correlate_trajectory.py")
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument("--supercell", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"),
                        help="cells, at least")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=6, help="independent runs, at least 2 (default: %(default)s)")
    parser.add_argument("--max-events", type=int, default=10_000_000, help="jumps in a replica, at most (default: 1e7)")
    parser.add_argument("--evolution-times-us", type=positive, nargs="+", default=[], help="of the alignment echo")
    parser.add_argument("--echo-delay-us", type=positive, required=True, help="τ of the quadrupole echo, at 2τ")
    parser.add_argument(
        "--dead-time-us", type=not_negative, default=0.0, help="before the first point of a decay (default: 0)"
    )
    parser.add_argument("--lorentz-Hz", type=not_negative, default=500.0, help="broadening, full width (default: 500)")
    parser.add_argument("--out-spectra", required=True, help="CSV")
    parser.add_argument("--out-echoes", required=True, help="CSV")
    arguments = parser.parse_args()
    if arguments.replicas < 2:
        raise InputError(f"--replicas is {arguments.replicas}; standard errors need at least 2")

    nucleus = quadrupolar_nucleus(arguments.isotope)
    sites = read_network(arguments.sites)
    states: SiteTensors = read_site_tensors(arguments.site_tensors, len(sites["sites"]), nucleus.isotope)
    if abs(states.temperature_K - arguments.temperature) > 0.5:
        raise InputError(
            f"{arguments.site_tensors} is at {states.temperature_K:g} K, --temperature is {arguments.temperature:g}"
        )
    smallest = wide_enough(np.array(sites["cell"], float), arguments.supercell, REACH_A)
    mover, n_ions = asked_for(arguments, sites, smallest)
    lattice = lattice_of(mover)
    reach_s = arguments.max_events / n_ions / exit_rate(mover, n_ions)
    all_tensors = np.concatenate([states.mean[None], states.samples, states.members, states.scaled]).reshape(-1, 3, 3)
    step_s, count = acquisition(all_tensors, nucleus, arguments.lorentz_Hz)
    evolution_s = [1e-6 * time for time in arguments.evolution_times_us]
    if evolution_s and nucleus.spin not in AMPLITUDES:
        print(
            f"no alignment echo of {nucleus.isotope}, spin {nucleus.spin:g}: spins 1 and 3/2 have it", file=sys.stderr
        )
        evolution_s = []
    widest_Hz = outermost_Hz(states.mean, nucleus)
    least = int(np.ceil(LEAST_PERIODS / widest_Hz / step_s))
    plan = Plan(reach_s, step_s, count, 1e-6 * arguments.echo_delay_us, evolution_s, least)
    print(f"{n_ions} ions in a supercell {lattice.supercell}, followed for {reach_s:.3g} s", file=sys.stderr)
    if not plan.mixing_s and (evolution_s or not plan.spectra):
        raise InputError(
            f"--max-events {arguments.max_events}: at {arguments.temperature:g} K they end after {reach_s:.2g} s, too "
            f"soon for {'any evolution time' if evolution_s else 'a spectrum'}; choose a lower temperature, more jumps"
        )
    if not plan.spectra:
        print(
            f"no spectrum: {arguments.max_events} jumps follow ions for {reach_s:.3g} s, from which an echo at "
            f"{2e-6 * arguments.echo_delay_us:.2g} s is taken; {LEAST_PERIODS:g} periods of the widest splitting are "
            f"{LEAST_PERIODS / widest_Hz:.3g} s",
            file=sys.stderr,
        )

    # A file that cannot be read is said before the first run.
    kinds = dict(fields_of(mover, n_ions, states.mean, arguments.surroundings))
    watched, for_spread = (min(n_ions, most) for most in (WATCHED, WATCHED_FOR_SPREAD))
    sets = dict(zip(ERRORS, (states.samples, states.members, states.scaled), strict=True))
    others = [(paths.field_of_sites(lattice, tensors), for_spread) for some in sets.values() for tensors in some]
    of_kinds, of_others = [], []
    for replica in range(arguments.replicas):
        rng = np.random.default_rng([seed_at(arguments.seed, arguments.temperature), replica])
        start, state = start_in_equilibrium(mover, n_ions, rng)
        turned = paths.orientations(watched, rng)
        fields = [(field, watched) for field in kinds.values()] + (others if replica == 0 else [])
        integrals = paths.integrated_tensors(mover, fields, start, state, plan.times_s)
        signals = [plan.signals(integral, turned.of_first(integral.shape[1]), nucleus) for integral in integrals]
        of_kinds.append(signals[: len(kinds)])
        of_others += signals[len(kinds) :]
        print(f"replica {replica + 1}/{arguments.replicas}", file=sys.stderr, flush=True)
    rest = iter(of_others)
    sets = {error: list(islice(rest, len(some))) for error, some in sets.items()}
    spectra, echoes = [], []
    for kind, replicas in zip(kinds, zip(*of_kinds, strict=True), strict=True):
        tables = tables_of(plan, replicas, sets, nucleus, arguments.lorentz_Hz, 1e-6 * arguments.dead_time_us)
        for made, table in zip((spectra, echoes), tables, strict=True):
            made += [part.assign(tensors=kind) for part in table]
    for path, parts, columns in (
        (arguments.out_spectra, spectra, [*SPECTRA, *(f"intensity_{name}_per_kHz" for name in ERRORS)]),
        (arguments.out_echoes, echoes, [*ECHOES, *(f"S2_{name}" for name in ERRORS)]),
    ):
        table = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
        table["temperature_K"] = arguments.temperature
        with atomic_path(path) as temporary:
            table[columns].to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
