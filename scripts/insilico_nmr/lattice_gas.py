"""A lattice whose ions exclude each other and interact in pairs, of one or more species; `gas_kmc.py` moves them.

The energy of an occupation is the sum of site energies and of J over interacting pairs. An ion whose jump from i to a
vacant j has the rates k0 there and k0' back without interactions, and changes the pairs' energy by ΔJ, jumps at

    k = min(k0·x, ν, ν·(k0/k0')·x²),    x = exp(−ΔJ / 2kT),

that is over a barrier E_KRA + ΔE/2 (A. Van der Ven, G. Ceder, M. Asta, P. D. Tepesch, Phys. Rev. B 64, 184307 (2001)),
but never over one below 0 or ΔE. Detailed balance holds whatever the occupation.

Without interactions means that all other sites are vacant or, which is nearer to what rates are known of, that each
holds its mean number of ions, c: ΔJ is then without what ions at their mean would do, Σ J c.
"""

from dataclasses import dataclass
from operator import index
from pathlib import Path

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json
from insilico_nmr.lattice import Lattice, log_weights, sites_reached
from insilico_nmr.rates import BOLTZMANN_EV_PER_K

# Largest Σ|J|/2kT at a site: its exponential, squared, is still a number.
STRONGEST = 300.0
INFINITE = 1e300
FILE_KEYS = ("pairs", "occupancy", "strength", "attempt_frequency_per_s")


@dataclass(frozen=True)
class Move:
    """What a moved rate model does to a file of interactions: added to their strength, and a factor on ν."""

    strength: float = 0.0
    attempt: float = 1.0


UNMOVED = Move()


@dataclass(frozen=True)
class Gas:
    """A lattice with the interactions of Q species at one temperature; y partners at most of each of m sites.

    partner : (S y,) int32, interacting site, −1 where there is none.
    factor : (m y, Q, Q), exp(−J/2kT) that an ion of the first species, there, brings to the second species here.
    neighbour : (S z,) int32, as the lattice's, but a slot that is none leads to its own site, which is occupied.
    half : (m z, Q), k0, 1/s, times exp(+J/2kT) of the jumping ion's own part in the energy of its target, and of mean
        occupancies that k0 is among.
    whole : (m z, Q), ν·(k0/k0') times the square of that factor.
    ceiling : ν, 1/s, infinite where rates have none.
    most : (m, Q, z), largest rates, 1/s, that the site's jumps can have whatever the occupation, summed over the slots
        up to each.
    basis_site : (S,) int16, site of the primitive cell.
    site_kT : (m,) energy over kT of an ion of the first species among vacant sites.
    levelled : the gas with rates √(k0/k0') 1/s and no ν: it has the same equilibrium, and nothing to climb on its way.
    """

    lattice: Lattice
    partner: np.ndarray
    factor: np.ndarray
    neighbour: np.ndarray
    half: np.ndarray
    whole: np.ndarray
    ceiling: float
    most: np.ndarray
    basis_site: np.ndarray
    site_kT: np.ndarray
    levelled: "Gas | None" = None

    @property
    def n_species(self) -> int:
        """Q."""
        return self.half.shape[1]

    @property
    def partners(self) -> int:
        """y."""
        return len(self.partner) // self.lattice.n_sites


def build_gas(
    lattice: Lattice,
    pairs: list[dict],
    temperature_K: float,
    ceiling_per_s: float = np.inf,
    rates_per_s: np.ndarray | None = None,
    source: str = "interactions",
    occupancy: np.ndarray | None = None,
    strength: float = 1.0,
) -> Gas:
    """Interactions `pairs`: dicts of `from`, `to` (sites of the primitive cell), `image` and `energy_eV`.

    Each pair is listed in both directions, as jumps are. `energy_eV` is a number, or a matrix (Q, Q) by the species at
    `from` and at `to`. `rates_per_s` (C, Q) are those of each species in the order of `lattice.class_names`; without
    them all species have the lattice's. Rates are those of an ion among vacant sites, or, with `occupancy` (m,), of one
    species, those among so many ions at every site. `strength` multiplies all energies.

    Raises InputError where a pair lacks its reverse, is double, leads nowhere or joins a site with itself; where
    energies are not finite, too many kT or matrices not of one size; where rates break detailed balance among classes,
    or `ceiling` is below the geometric mean of those there and back, which has no barrier to be lower than.
    """
    if not temperature_K > 0:
        raise InputError(f"the temperature is {temperature_K:g} K; expected more than 0")
    energies = _energies(lattice, pairs, source)
    n_species = 1 if rates_per_s is None else rates_per_s.shape[1]
    shapes = {energy.shape for energy in energies.values()} - {()}
    if shapes and rates_per_s is None:
        n_species = max(shapes)[0]
    if shapes - {(n_species, n_species)}:
        raise InputError(f"{source}: energies are matrices of {sorted(shapes)}; expected one for {n_species} species")
    rates = np.repeat(lattice.rates[:, None], n_species, axis=1) if rates_per_s is None else np.asarray(rates_per_s)
    if rates.shape != (len(lattice.rates), n_species) or not (rates > 0).all() or not np.isfinite(rates).all():
        raise InputError(
            f"{source}: rates of shape {rates.shape}; expected numbers above 0, ({len(lattice.rates)}, {n_species})"
        )
    for species in rates.T:
        log_weights(lattice.class_names, dict(zip(lattice.class_names, species, strict=True)), lattice.orbit, source)
    if occupancy is not None and n_species > 1:
        raise InputError(f"{source}: rates among mean occupancies are of one species; there are {n_species}")
    names = lattice.class_names
    back = [names.index((name, end, start)) for name, start, end in names]
    fastest = np.sqrt(rates * rates[back]).max()
    if not ceiling_per_s >= fastest * (1 - 1e-6):
        raise InputError(
            f"{source}: the attempt frequency {ceiling_per_s:g} 1/s is below the rate {fastest:g} 1/s (mean of there "
            "and back)"
        )

    m = len(lattice.basis)
    width = max(1, *(sum(key[0] == site for key in energies) for site in range(m)))
    target, image = np.full((m, width), -1), np.zeros((m, width, 3), int)
    factor = np.ones((m, width, n_species, n_species))
    filled = np.zeros(m, int)
    load = np.zeros(m)
    for (here, there, cells), energy in sorted(energies.items()):
        at = here, filled[here]
        target[at], image[at] = there, cells
        exponent = -strength * energy.T / (2 * BOLTZMANN_EV_PER_K * temperature_K)
        load[here] += np.abs(exponent).max()
        factor[at] = np.exp(np.clip(exponent, -STRONGEST, STRONGEST))
        filled[here] += 1
    if load.max() > STRONGEST:
        raise InputError(
            f"{source}: interactions of site {int(load.argmax())} add up to {2 * load.max():.3g} kT at "
            f"{temperature_K:g} K; at most {2 * STRONGEST:g} can be computed"
        )
    partner = np.where(target >= 0, sites_reached(lattice.supercell, target, image), -1).astype(np.int32)
    itself = (partner[0] == np.arange(m)[:, None]).any(axis=1)
    if itself.any():
        raise InputError(
            f"{source}: in a supercell of {lattice.supercell} site {int(itself.argmax())} interacts with its own "
            "image: choose a larger one"
        )
    partner, z = partner.ravel(), lattice.slots
    own = np.ones((m * z, n_species))
    for jump in np.flatnonzero(lattice.used):
        end = lattice.neighbour[jump]
        same = partner[end * width : (end + 1) * width] == jump // z
        own[jump] = 1 / np.prod(np.diagonal(factor[end % m][same], axis1=1, axis2=2), axis=0)
    among, mean = np.ones((m * z, 1)), np.zeros(m)
    if occupancy is not None:
        mean = (np.log(factor[:, :, 0, 0]) * np.where(target >= 0, occupancy[target], 0.0)).sum(axis=1)
        first = np.flatnonzero(lattice.used)
        among[first, 0] = np.exp(mean[first // z] - mean[lattice.neighbour[first] % m])
    own *= among
    used = lattice.used[:, None]
    neighbour = lattice.neighbour  # one array of both, unless some slots are none
    if not lattice.used.all():
        itself = np.repeat(np.arange(lattice.n_sites, dtype=np.int32), z)
        neighbour = np.where(np.tile(lattice.used, lattice.n_sites // m), lattice.neighbour, itself)
    basis_site = np.tile(np.arange(m, dtype=np.int16), lattice.n_sites // m)
    site_kT = 2 * mean - lattice.log_weight
    ratio = np.where(used, (rates / rates[back])[lattice.jump_class], 0.0)
    x = among * _largest_factors(lattice, partner.reshape(-1, width), factor)

    def with_rates(there: np.ndarray, nu: float, levelled: Gas | None) -> Gas:
        with np.errstate(over="ignore"):  # of an infinite ν
            whole = min(nu, INFINITE) * ratio
            most = np.minimum(np.minimum(there * x, np.where(used, nu, 0.0)), whole * x**2)
        most = np.ascontiguousarray(most.reshape(m, z, n_species).cumsum(axis=1).swapaxes(1, 2))
        pairs = factor.reshape(-1, n_species, n_species)
        return Gas(
            lattice, partner, pairs, neighbour, own * there, own**2 * whole, nu, most, basis_site, site_kT, levelled
        )

    level = with_rates(np.sqrt(ratio), np.inf, None)
    return with_rates(np.where(used, rates[lattice.jump_class], 0.0), ceiling_per_s, level)


def read_gas(
    path: str | Path,
    lattice: Lattice,
    temperature_K: float,
    move: Move = UNMOVED,
    rates_per_s: np.ndarray | None = None,
) -> Gas:
    """The gas of a file of interactions, JSON, moved; as `build_gas`.

    Keys: `pairs`; optional `occupancy`, ions per site by orbit that rates are among, `strength`, a factor on energies,
    and `attempt_frequency_per_s`, ν. Raises InputError where others are there, or what they hold is no such thing.
    """
    found = read_json(path)
    keys = list(found) if isinstance(found, dict) else []
    if not keys or not isinstance(found.get("pairs"), list) or set(keys) - set(FILE_KEYS):
        raise InputError(
            f"{path}: has {', '.join(keys) or 'nothing'}; expected pairs (a list), {', '.join(FILE_KEYS[1:])}"
        )
    for name in FILE_KEYS[2:]:
        value = found.get(name, 1.0)
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise InputError(f"{path}: {name} is {value!r}; expected a number")
    mean = None
    if "occupancy" in found:
        of_orbit = occupancies(found, set(lattice.orbit), path)
        mean = np.array([of_orbit[orbit] for orbit in lattice.orbit], float)
    strength = found.get("strength", 1.0) + move.strength
    ceiling = found.get("attempt_frequency_per_s", np.inf) * move.attempt
    return build_gas(
        lattice, found["pairs"], temperature_K, ceiling, rates_per_s, str(path), occupancy=mean, strength=strength
    )


def occupancies(interactions: dict, orbits: set[str], path: str | Path) -> dict[str, float]:
    """Ions a site by orbit. Raises InputError where an orbit has none, or no number from 0 to 1."""
    found = interactions.get("occupancy")
    missing = orbits - set(found) if isinstance(found, dict) else orbits
    if missing:
        raise InputError(f"{path}: occupancy has no {', '.join(sorted(missing))}")
    for orbit in sorted(orbits):
        if not isinstance(found[orbit], int | float) or not 0 <= found[orbit] <= 1:
            raise InputError(f"{path}: occupancy of {orbit} is {found[orbit]!r}; expected ions a site, from 0 to 1")
    return found


def _largest_factors(lattice: Lattice, partner: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Largest exp(−ΔJ/2kT) of every jump of the primitive cell and species, (m z, Q), over all occupations.

    Each site that interacts with the start or the end of the jump may be vacant, or hold an ion of any species.
    """
    m, n_species = len(lattice.basis), factor.shape[-1]
    largest = np.ones((len(lattice.jump_target), n_species))
    for jump in np.flatnonzero(lattice.used):
        start, end = jump // lattice.slots, int(lattice.neighbour[jump])
        change: dict[int, np.ndarray] = {}
        for site, power in ((start, -1), (end, 1)):
            for other, strength in zip(partner[site].tolist(), factor[site % m], strict=True):
                if other not in (-1, start, end):
                    change[other] = change.get(other, 1.0) * strength**power
        for strength in change.values():
            largest[jump] *= np.maximum(strength.max(axis=0), 1.0)
    return largest


def _energies(lattice: Lattice, pairs: list[dict], source: str) -> dict[tuple, np.ndarray]:
    """Energy by (from, to, image), checked."""
    m = len(lattice.basis)
    found = {}
    for number, pair in enumerate(pairs):
        try:
            key = index(pair["from"]), index(pair["to"]), tuple(index(x) for x in pair["image"])
            energy = np.asarray(pair["energy_eV"], float)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source}: pair {number} is no interaction ({error!r})") from None
        if not (0 <= key[0] < m and 0 <= key[1] < m and len(key[2]) == 3) or (key[0] == key[1] and not any(key[2])):
            raise InputError(
                f"{source}: pair {number} joins site {key[0]} with {key[1]} in cell {key[2]}, of {m} sites"
            )
        if (
            energy.ndim not in (0, 2)
            or (energy.ndim == 2 and len(set(energy.shape)) > 1)
            or not np.isfinite(energy).all()
        ):
            raise InputError(f"{source}: pair {number} has energy_eV {pair['energy_eV']}; expected one number or Q×Q")
        if key in found:
            raise InputError(f"{source}: pair {number}, site {key[0]} with {key[1]} in cell {key[2]}, is there twice")
        found[key] = energy
    for (here, there, cells), energy in found.items():
        reverse = found.get((there, here, tuple(-x for x in cells)))
        if reverse is None or not np.array_equal(reverse, energy.T):
            raise InputError(
                f"{source}: site {here} interacts with {there} in cell {cells}, but not the other way round with the "
                "same energy"
            )
    return found
