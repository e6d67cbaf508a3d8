"""Ions that move: of a `Lattice` by exclusion alone, of a `Gas` with interactions, through the same functions.

A mover is either. Averages of exclusion are exact; those of a gas are of a run, of a seed of its own.
"""

import argparse

import numpy as np

from insilico_nmr import gas_kmc, kmc
from insilico_nmr.box_size import converged_gas
from insilico_nmr.lattice import (
    Equilibrium,
    Lattice,
    Rates,
    build_lattice,
    converged_lattice,
    equilibrium,
    number_of_ions,
    sites_reached,
)
from insilico_nmr.lattice_gas import UNMOVED, Gas, Move, read_gas
from insilico_nmr.rate_shifts import rates_asked_for

SAMPLED_SITES = 2_000_000  # of all arrangements of a gas that averages are taken over
BETWEEN = 5  # jumps an ion, without barriers, between two of them
TRIED = 3_000_000, 100  # jumps that frequencies are taken from, and at most so many an ion
Mover = Lattice | Gas
State = kmc.State | gas_kmc.GasState


def asked_for(arguments: argparse.Namespace, sites: dict, smallest: tuple[int, int, int]) -> tuple[Mover, int]:
    """What moves, and how many ions, as the flags of `rate_shifts.add_rate_arguments` say; `smallest`: supercell."""
    asked = rates_asked_for(arguments, sites)
    return mover_of(
        sites, asked.rates, asked.filling, smallest, arguments.temperature, arguments.interactions, arguments.sites,
        asked.move, bool(arguments.shift),
    )  # fmt: skip


def mover_of(
    sites: dict,
    rates: Rates,
    filling: float,
    smallest: tuple[int, int, int],
    temperature_K: float,
    interactions: str | None,
    source: str = "sites",
    move: Move = UNMOVED,
    moved: bool = False,
) -> tuple[Mover, int]:
    """Ions of `filling` a site, with a file of interactions or with exclusion alone, and how many they are.

    The supercell grows until there are enough carriers (`lattice.converged_lattice`, `box_size.converged_gas`).
    """

    def in_box(supercell: tuple[int, int, int]) -> Gas:
        return read_gas(interactions, build_lattice(sites, rates, supercell, source), temperature_K, move)

    if interactions:
        small = in_box(smallest)
        mover = converged_gas(small, number_of_ions(small.lattice, filling), in_box, source, moved)
    else:
        mover = converged_lattice(sites, rates, smallest, filling, source, moved)
    return mover, number_of_ions(lattice_of(mover), filling)


def seed_at(seed: int, temperature_K: float) -> int:
    """The seed of one temperature where a study has one for all.

    Where one class of jumps rules, the same draws at two temperatures would be one history at two speeds, and their
    errors one error. Rates that are moved keep their draws, so that what the move does stands out.
    """
    return int(np.random.SeedSequence([seed, round(1e3 * temperature_K)]).generate_state(1)[0])


def lattice_of(mover: Mover) -> Lattice:
    """The sites that ions move on."""
    return mover.lattice if isinstance(mover, Gas) else mover


def start_in_equilibrium(mover: Mover, n_ions: int, rng: np.random.Generator) -> tuple[np.ndarray, State]:
    """Sites (N,) of ions in equilibrium, and the simulation that starts there."""
    if isinstance(mover, Lattice):
        return kmc.start_in_equilibrium(mover, n_ions, rng)
    state = gas_kmc.start_in_equilibrium(mover, (n_ions,), rng)
    return state.where.copy(), state


def run_snapshots(mover: Mover, state: State, times_s: np.ndarray) -> np.ndarray:
    """As `kmc.run_snapshots`."""
    return (gas_kmc if isinstance(mover, Gas) else kmc).run_snapshots(mover, state, times_s)


def run_journal(mover: Mover, state: State, until_s: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `kmc.run_journal`."""
    return (gas_kmc if isinstance(mover, Gas) else kmc).run_journal(mover, state, until_s, most)


def exit_rate(mover: Mover, n_ions: int) -> float:
    """Jumps per ion and second."""
    if isinstance(mover, Lattice):
        return equilibrium(mover, n_ions).exit_rate
    return gas_kmc.exit_rate(mover, (n_ions,), np.random.default_rng(0), min(TRIED[0], TRIED[1] * n_ions))


def averages(mover: Mover, n_ions: int) -> Equilibrium:
    """Occupation of the sites and frequency of the jumps."""
    if isinstance(mover, Lattice):
        return equilibrium(mover, n_ions)
    lattice = mover.lattice
    orbit = np.array(lattice.orbit)
    per_site = _arrangements(mover, n_ions).reshape(-1, len(orbit)).mean(axis=0)
    alike = np.array([per_site[orbit == label].mean() for label in lattice.orbit])
    state = gas_kmc.start_in_equilibrium(mover, (n_ions,), np.random.default_rng(0))
    gas_kmc.run_events(mover, state, min(TRIED[0], TRIED[1] * n_ions))
    of_class = lattice.jump_class[lattice.used]
    cells = lattice.n_sites // len(orbit)
    each = state.executed[:, 0] / np.bincount(of_class, minlength=len(lattice.rates)) / (cells * state.time_s)
    flux = each[of_class]
    return Equilibrium(n_ions, alike, flux, float(flux @ (lattice.steps**2).sum(1) / flux.sum()))


def neighbours_filled(mover: Mover, n_ions: int, site: np.ndarray, image: np.ndarray) -> np.ndarray:
    """How often neighbours of a filled site are filled, (m, z): sites `site` (m, z), −1 for none, `image` cells off.

    0 for a site that ions which interact are never found on.
    """
    if isinstance(mover, Lattice):
        return equilibrium(mover, n_ions).occupation[site]
    lattice, filled = mover.lattice, _arrangements(mover, n_ions)
    reached = sites_reached(lattice.supercell, site, image).reshape(lattice.n_sites, -1)
    both = (filled[:, reached] * filled[..., None]).sum(axis=0)
    m = len(lattice.basis)
    both = both.reshape(-1, m, reached.shape[1]).sum(axis=0)
    each = filled.sum(axis=0).reshape(-1, m).sum(axis=0)[:, None]
    return both / np.maximum(each, 1)


def _arrangements(gas: Gas, n_ions: int) -> np.ndarray:
    """Equilibrium samples (K, S) bool, at equal times of the levelled gas."""
    rng, level = np.random.default_rng(1), gas.levelled
    state = gas_kmc.start_in_equilibrium(level, (n_ions,), rng)
    gas_kmc.run_events(level, state, BETWEEN * n_ions)
    return gas_kmc.samples(level, state, state.time_s, int(np.clip(SAMPLED_SITES // gas.lattice.n_sites, 10, 4000)))
