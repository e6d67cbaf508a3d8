"""Site energies and pair interactions of mobile ions, fitted to relaxed energies: a cluster expansion up to pairs.

    E(n) = E0 + Σ_i ε_o(i) n_i + Σ_pairs J_c n_i n_j,      J_c = A (1/r_c − 1/R) + δ_c

with one energy ε per orbit o (the first is 0: the number of ions is fixed) and one J per symmetry class c of pairs at
distance r_c up to the cut-off R (J. M. Sanchez, F. Ducastelle, D. Gratias, Physica A 128, 334 (1984)). Ions repel each
other from afar, and plain pair energies need many arrangements to learn it: beforehand, J is Coulomb's law with one
screened strength A, shifted so that it ends at R (D. Wolf et al., J. Chem. Phys. 110, 8254 (1999)), and the classes
deviate from it by δ, which a ridge keeps small (a prior, T. Mueller, G. Ceder, Phys. Rev. B 80, 024103 (2009)). Its
strength is that of the least cross-validation error, each arrangement predicted by a fit to the others (D. M. Allen,
Technometrics 16, 125 (1974)).

Kinetic Monte Carlo takes the pair energies, times a strength that jumps in molecular dynamics have (`rates`): ions that
are hot feel less of each other than their minima do. ε is not used for it: site energies, among the mean occupancies of
the crystal, come from those jumps too.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.geometry import find_mic
from ase.optimize import LBFGS

from insilico_nmr import gas_kmc, lattice_gas
from insilico_nmr.crystal import Crystal, mobile_sites, supercell
from insilico_nmr.errors import InputError
from insilico_nmr.events import ordered_pairs, supercell_number
from insilico_nmr.lattice import build_lattice
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.sites import directed_classes, site_orbits

MAX_STEPS = 1000
RIDGES = np.geomspace(1e-2, 1e4, 25)  # variance of the residual over that of δ
RUN_IN = 2000  # jumps an ion before a gas that starts anywhere is taken to be in equilibrium
BETWEEN = 30  # jumps an ion between two samples of it


def pair_classes(network: dict) -> tuple[list[str], np.ndarray]:
    """Names and distances (C,), Å, of the classes of pairs of a network: `sites.build_sites` up to the cut-off."""
    classes = network["classes"]
    return [entry["name"] for entry in classes], np.array([entry["distance"] for entry in classes])


def count_clusters(network: dict, repeat: tuple[int, int, int], filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ions on each orbit (K, O) and filled pairs of each class (K, C) of arrangements `filled` (K, S), 0 or 1.

    Sites of the supercell are numbered as in `crystal.mobile_sites`; images of a pair all count.
    """
    filled = np.asarray(filled, float)
    orbit = np.tile(site_orbits(network), int(np.prod(repeat)))
    singles = np.stack([filled[:, orbit == label].sum(axis=1) for label in dict.fromkeys(orbit)], axis=1)
    names, _ = pair_classes(network)
    start, end, row = ordered_pairs(network, repeat)
    kind = np.array([names.index(name) for name, _, _ in directed_classes(network)])[row]
    pairs = [
        (filled[:, start[kind == number]] * filled[:, end[kind == number]]).sum(axis=1) / 2
        for number in range(len(names))
    ]
    return singles, np.stack(pairs, axis=1)


@dataclass(frozen=True)
class ClusterEnergies:
    """A fit: eV.

    site_eV (O,), the first 0; pair_eV (C,); se_site_eV (O,) and se_pair_eV (C,): standard errors by the scatter of the
    arrangements about the fit; coulomb_eV_A: A; ridge; fitted_eV (K,): energies by the fit to all arrangements;
    predicted_eV (K,): each by the fit to the others.
    """

    site_eV: np.ndarray
    pair_eV: np.ndarray
    se_site_eV: np.ndarray
    se_pair_eV: np.ndarray
    coulomb_eV_A: float
    ridge: float
    fitted_eV: np.ndarray
    predicted_eV: np.ndarray


def fit_energies(
    singles: np.ndarray, pairs: np.ndarray, distances_A: np.ndarray, cutoff_A: float, energies_eV: np.ndarray
) -> ClusterEnergies:
    """Fit to counts of `count_clusters`, (K, O) and (K, C), and energies (K,) of arrangements of equally many ions.

    Raises InputError where the arrangements are too few, or leave a site energy undetermined.
    """
    others = singles.shape[1] - 1
    if len(energies_eV) < others + 5:
        raise InputError(f"{len(energies_eV)} arrangements; expected at least {others + 5} to fit energies to")
    tail = 1 / distances_A - 1 / cutoff_A
    columns = np.hstack([singles[:, 1:], (pairs @ tail)[:, None], pairs])
    mean, centred = energies_eV.mean(), columns - columns.mean(axis=0)
    if np.linalg.matrix_rank(centred[:, :others]) < others:
        raise InputError("the ions on an orbit are as many in all arrangements: its site energy is undetermined")
    if not centred[:, others].any():
        raise InputError("pairs within the cut-off are as many in all arrangements: raise the cut-off")
    free = np.arange(columns.shape[1]) <= others

    def solve(ridge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inverse = np.linalg.inv(centred.T @ centred + np.diag(np.where(free, 0.0, ridge)))
        weights = inverse @ centred.T
        residual = energies_eV - mean - centred @ (weights @ (energies_eV - mean))
        # The mean is fitted too: 1/K.
        return inverse, weights, residual / (1 - np.einsum("kp,pk->k", centred, weights) - 1 / len(energies_eV))

    ridge = min(RIDGES, key=lambda ridge: (solve(ridge)[2] ** 2).mean())
    inverse, weights, left_out = solve(ridge)
    found = weights @ (energies_eV - mean)
    # Rows: ε and J as functions of the parameters (ε, A, δ).
    turn = np.zeros((others + len(distances_A), len(found)))
    turn[:others, :others] = np.eye(others)
    turn[others:, others] = tail
    turn[others:, others + 1 :] = np.eye(len(distances_A))
    values = turn @ found
    errors = np.sqrt((left_out**2).mean() * np.einsum("ip,pq,iq->i", turn, inverse, turn))
    return ClusterEnergies(
        np.append(0.0, values[:others]),
        values[others:],
        np.append(0.0, errors[:others]),
        errors[others:],
        float(found[others]),
        float(ridge),
        mean + centred @ found,
        energies_eV - left_out,
    )


def pair_list(network: dict, pair_eV: np.ndarray) -> list[dict]:
    """Interactions as `lattice_gas.build_gas` takes them: each pair in both directions."""
    energy = dict(zip(pair_classes(network)[0], pair_eV.tolist(), strict=True))
    return [
        {"from": pair["from"], "to": pair["to"], "image": pair["image"], "energy_eV": energy[pair["class"]]}
        for pair in network["jumps"]
    ]


def random_arrangement(
    crystal: Crystal, mobile: str, repeat: tuple[int, int, int], n_ions: int, rng: np.random.Generator
) -> np.ndarray:
    """Sites (n_ions,) of ions dealt out at odds between those of the stated occupancies and equal ones.

    Where between, is drawn: site energies need arrangements in which orbits are filled differently.
    """
    orbits = crystal.mobile_orbits(mobile)
    occupancy = np.concatenate([np.full(len(orbit.positions), orbit.occupancy) for orbit in orbits])
    stated = np.tile(np.clip(occupancy, 0.03, 0.97), int(np.prod(repeat)))
    share = stated + rng.uniform() * (n_ions / len(stated) - stated)
    # The largest of log-odds with logistic noise: each site about as likely as its share says.
    return np.sort(np.argsort(-np.log(share / (1 - share)) - rng.logistic(size=len(share)))[:n_ions])


@dataclass(frozen=True)
class Minimum:
    """A relaxed arrangement: atoms, energy (eV), site that each ion is nearest to and its distance from it (Å).

    `sound`: it is a minimum, and no two ions are on one site.
    """

    atoms: Atoms
    energy_eV: float
    sites: np.ndarray
    distance_A: np.ndarray
    sound: bool


def find_minimum(
    crystal: Crystal,
    mobile: str,
    repeat: tuple[int, int, int],
    occupied: np.ndarray,
    calculator: Calculator,
    max_force: float,
    start: Atoms | None = None,
) -> Minimum:
    """Relax ions on the sites `occupied` at fixed cell until no force exceeds `max_force` (eV/Å).

    With `start`, from those positions. Ions that slide over while they relax are on the sites where they end: the
    minimum belongs to that arrangement, whatever it started from.
    """
    ideal = supercell(crystal, mobile, repeat, occupied)
    atoms = (ideal if start is None else start).copy()
    atoms.calc = calculator
    try:
        converged = LBFGS(atoms, logfile=None).run(fmax=max_force, steps=MAX_STEPS)
        energy = float(atoms.get_potential_energy())
    except CalculationFailed:  # the potential breaks down on the way: this arrangement is none
        converged, energy = False, np.nan
    n = len(occupied)
    # The crystal may drift as a whole.
    drift = (atoms.positions[n:] - ideal.positions[n:]).mean(axis=0) if len(atoms) > n else 0.0
    places = mobile_sites(crystal, mobile, repeat)
    offset = (atoms.positions[:n] - drift)[:, None] - places
    away = find_mic(offset.reshape(-1, 3), atoms.cell)[1].reshape(n, -1)
    nearest = away.argmin(axis=1)
    sound = bool(converged) and len(set(nearest.tolist())) == n and np.isfinite(energy)
    atoms.calc = None
    return Minimum(atoms, energy, nearest, away.min(axis=1), sound)


def sample_gas(
    sites: dict,
    site_eV: dict[str, float],
    pairs: list[dict],
    temperature_K: float,
    repeat: tuple[int, int, int],
    n_ions: int,
    n_samples: int,
    seed: int,
    occupancy: dict[str, float] | None = None,
) -> np.ndarray:
    """Equilibrium samples (n_samples, S) bool of a lattice gas, sites numbered as in `crystal.mobile_sites`.

    By kinetic Monte Carlo with rates that only serve to sample it. `sites`: content of a sites.json, whose jumps link
    all orbits. Site energies by orbit are those of an ion among vacant sites or, with `occupancy`, ions a site by
    orbit, among those. Raises InputError as `lattice.build_lattice` and `lattice_gas.build_gas` do.
    """
    kT = BOLTZMANN_EV_PER_K * temperature_K
    classes = directed_classes(sites)
    rates = {key: float(np.exp((site_eV[key[1]] - site_eV[key[2]]) / (2 * kT))) for key in classes}
    lattice = build_lattice(sites, rates, repeat)
    mean = None if occupancy is None else np.array([occupancy[orbit] for orbit in lattice.orbit])
    gas = lattice_gas.build_gas(lattice, pairs, temperature_K, occupancy=mean)
    place = supercell_number(lattice.cells_of(np.arange(lattice.n_sites)), repeat) * len(lattice.basis)
    place = place + np.arange(lattice.n_sites) % len(lattice.basis)
    rng = np.random.default_rng(seed)
    start = rng.choice(lattice.n_sites, n_ions, replace=False).astype(np.int32)
    state = gas_kmc.start(gas, start, int(rng.integers(2**64, dtype=np.uint64)))
    gas_kmc.run_events(gas, state, RUN_IN * n_ions)
    # At equal times, not after equally many jumps: long-lived arrangements must count for longer.
    began = state.time_s
    gas_kmc.run_events(gas, state, RUN_IN * n_ions)
    step_s = (state.time_s - began) * BETWEEN / RUN_IN
    filled = np.zeros((n_samples, lattice.n_sites), bool)
    filled[:, place] = gas_kmc.samples(gas, state, step_s, n_samples)
    return filled


def pair_correlation(network: dict, repeat: tuple[int, int, int], filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ions a site of each orbit (O,), and filled pairs of each class over those of independent sites (C,).

    filled (K, S): ions on each site, mean occupations being those of the K arrangements. NaN for an orbit never filled.
    """
    orbit = np.tile(site_orbits(network), int(np.prod(repeat)))
    labels = list(dict.fromkeys(orbit))
    size = np.array([(orbit == label).sum() for label in labels])
    singles, pairs = count_clusters(network, repeat, filled)
    occupation = singles.mean(axis=0) / size
    whole = count_clusters(network, repeat, np.ones((1, len(orbit))))[1][0]
    ends = np.array([[labels.index(entry["from"]), labels.index(entry["to"])] for entry in network["classes"]])
    with np.errstate(invalid="ignore", divide="ignore"):
        return occupation, pairs.mean(axis=0) / whole / occupation[ends].prod(axis=1)
