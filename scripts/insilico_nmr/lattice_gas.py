"""Rejection-free kinetic Monte Carlo of ions that exclude each other and interact in pairs, of one or more species.

The energy of an occupation is the sum of site energies and of J over interacting pairs. An ion whose jump from i to a
vacant j has the rates k0 there and k0' back without interactions, and changes the pairs' energy by ΔJ, jumps at

    k = min(k0·x, ν, ν·(k0/k0')·x²),    x = exp(−ΔJ / 2kT),

that is over a barrier E_KRA + ΔE/2 (A. Van der Ven, G. Ceder, M. Asta, P. D. Tepesch, Phys. Rev. B 64, 184307 (2001)),
but never over one below 0 or ΔE. Detailed balance holds whatever the occupation.

Every ion's total rate is a leaf of a tree of sums with eight children a node. Sites are numbered along a Z-order curve,
so that the ions that one jump concerns share most of their nodes: sums are renewed, not corrected, and never drift.
What interactions do to a site is kept as one factor for each species, exp(−Σ J / 2kT), so that a rate is a product.
`kmc.py` is several times faster where there are no interactions.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from insilico_nmr.errors import InputError
from insilico_nmr.kmc import SITE, Simulation, X, Y, Z, occupy, seeded, uniform
from insilico_nmr.lattice import Lattice, log_weights, sites_reached
from insilico_nmr.rates import BOLTZMANN_EV_PER_K

CHILDREN = 8
SHIFT = 3  # log2 of CHILDREN


@dataclass(frozen=True)
class Gas:
    """A lattice with the interactions of Q species at one temperature; y partners at most of each of m sites.

    partner : (S y,) int32, interacting site, −1 where there is none.
    factor : (m y, Q, Q), exp(−J/2kT) that an ion of the first species, there, brings to the second species here.
    neighbour : (S z,) int32, as the lattice's, but a slot that is none leads to its own site, which is occupied.
    half : (m z, Q), k0, 1/s, times exp(+J/2kT) of the jumping ion's own part in the energy of its target.
    whole : (m z, Q), ν·(k0/k0') times the square of that factor.
    ceiling : ν, 1/s, infinite where rates have none.
    """

    lattice: Lattice
    partner: np.ndarray
    factor: np.ndarray
    neighbour: np.ndarray
    half: np.ndarray
    whole: np.ndarray
    ceiling: float

    @property
    def n_species(self) -> int:
        """Q."""
        return self.half.shape[1]


def build_gas(
    lattice: Lattice,
    pairs: list[dict],
    temperature_K: float,
    ceiling_per_s: float = np.inf,
    rates_per_s: np.ndarray | None = None,
    source: str = "interactions",
) -> Gas:
    """Interactions `pairs`: dicts of `from`, `to` (sites of the primitive cell), `image` and `energy_eV`.

    Each pair is listed in both directions, as jumps are. `energy_eV` is a number, or a matrix (Q, Q) by the species at
    `from` and at `to`. `rates_per_s` (C, Q) are those of each species in the order of `lattice.class_names`; without
    them all species have the lattice's.

    Raises InputError where a pair lacks its reverse, is double, leads nowhere or joins a site with itself; where
    energies are not finite or matrices not of one size; where rates break detailed balance among classes, or `ceiling`
    is below one of them.
    """
    if not temperature_K > 0:
        raise InputError(f"the temperature is {temperature_K:g} K; expected more than 0")
    energies = _energies(lattice, pairs, source)
    n_species = 1 if rates_per_s is None else rates_per_s.shape[1]
    shapes = {energy.shape for energy in energies.values()} - {()}
    if shapes:
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
    if not ceiling_per_s >= rates.max():
        raise InputError(f"{source}: the attempt frequency {ceiling_per_s:g} 1/s is below the rate {rates.max():g} 1/s")

    m = len(lattice.basis)
    width = max(1, *(sum(key[0] == site for key in energies) for site in range(m)))
    target, image = np.full((m, width), -1), np.zeros((m, width, 3), int)
    factor = np.ones((m, width, n_species, n_species))
    filled = np.zeros(m, int)
    for (here, there, cells), energy in sorted(energies.items()):
        at = here, filled[here]
        target[at], image[at] = there, cells
        factor[at] = np.exp(-energy.T / (2 * BOLTZMANN_EV_PER_K * temperature_K))
        filled[here] += 1
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
    names = lattice.class_names
    back = [names.index((name, end, start)) for name, start, end in names]
    used = lattice.used[:, None]
    itself = np.repeat(np.arange(lattice.n_sites, dtype=np.int32), z)
    return Gas(
        lattice,
        partner,
        factor.reshape(-1, n_species, n_species),
        np.where(np.tile(lattice.used, lattice.n_sites // m), lattice.neighbour, itself),
        np.where(used, own * rates[lattice.jump_rate], 0.0),
        np.where(used, own**2 * min(ceiling_per_s, 1e300) * (rates / rates[back])[lattice.jump_rate], 0.0),
        ceiling_per_s,
    )


def _energies(lattice: Lattice, pairs: list[dict], source: str) -> dict[tuple, np.ndarray]:
    """Energy by (from, to, image), checked."""
    m = len(lattice.basis)
    found = {}
    for number, pair in enumerate(pairs):
        try:
            key = int(pair["from"]), int(pair["to"]), tuple(int(x) for x in pair["image"])
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


@dataclass
class GasState(Simulation):
    """A simulation between two events. All arrays; `arrays` and `GasState(**arrays)` keep every bit.

    ion : (S,) int32, ion on each site, −1 where vacant.
    species : (N,) int8, of each ion.
    record : (N, 4) int32, as in kmc.State.
    field : (S, Q) float64, exp(−Σ J / 2kT) over the ions that interact with one of each species here; negative where
        the site is occupied.
    tree : float64, total rates of the sites' ions, then sums of eight, level after level, up to the total.
    seen : uint32, when each node of the tree was renewed last, and its last entry when that was last begun.
    executed : (C, Q) int64, jumps made.
    clock : (2,) float64, time now and time of the next event, s.
    rng : (4,) uint64.
    """

    ion: np.ndarray
    species: np.ndarray
    record: np.ndarray
    field: np.ndarray
    tree: np.ndarray
    seen: np.ndarray
    executed: np.ndarray
    clock: np.ndarray
    rng: np.ndarray


def _levels(n_sites: int) -> np.ndarray:
    """Where each level of the tree begins, and its end; the last level is the total alone."""
    sizes = [n_sites]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // CHILDREN))
    padded = [-(-size // CHILDREN) * CHILDREN for size in sizes[:-1]] + [1]
    return np.cumsum([0, *padded])


def start(gas: Gas, sites: np.ndarray, seed: int, species: np.ndarray | None = None) -> GasState:
    """A simulation at time 0 with ion n, of species[n] (default 0), on site sites[n]; `seed` is a 64-bit number.

    Raises InputError where `kmc.occupy` does, where a species does not exist, and where no ion can jump.
    """
    lattice = gas.lattice
    species = np.zeros(len(sites), np.int8) if species is None else np.asarray(species, np.int8)
    ion, record = occupy(lattice, sites)
    if len(species) != len(sites) or species.min() < 0 or species.max() >= gas.n_species:
        raise InputError(f"species of {len(species)} ions from {species.min()} to {species.max()}; there are "
                         f"{gas.n_species} species and {len(sites)} ions")  # fmt: skip
    levels = _levels(lattice.n_sites)
    state = GasState(
        ion=ion,
        species=species,
        record=record,
        field=np.ones((lattice.n_sites, gas.n_species)),
        tree=np.zeros(levels[-1]),
        seen=np.zeros(levels[-1] + 1, np.uint32),
        executed=np.zeros((len(lattice.rates), gas.n_species), np.int64),
        clock=np.zeros(2),
        rng=seeded(np.uint64(seed)),
    )
    _fill(*_tables(gas), ion, species, state.field, state.tree)
    if not _draw_next(state.tree, state.clock, state.rng):
        raise InputError("kinetic Monte Carlo is stuck at the start: no ion has a vacant neighbour to jump to")
    return state


def run_events(gas: Gas, state: GasState, n_events: int) -> None:
    """Make n_events jumps, changing `state`. Raises InputError where no jump is possible any more."""
    _run(gas, state, np.array([np.inf]), n_events, np.empty((0, 0, 4), np.int32))


def run_snapshots(gas: Gas, state: GasState, times_s: np.ndarray) -> np.ndarray:
    """Run through the rising times (K,), s; the ions' records at each, (K, N, 4) int32; as `kmc.run_snapshots`."""
    snapshots = np.empty((len(times_s), *state.record.shape), np.int32)
    _run(gas, state, times_s, np.iinfo(np.int64).max, snapshots)
    return snapshots


def _run(gas: Gas, state: GasState, times: np.ndarray, limit: int, snapshots: np.ndarray) -> None:
    lattice = gas.lattice
    jumps = lattice.jump_target, lattice.jump_rate, lattice.jump_image
    if not _events(times, limit, snapshots, *_tables(gas), *jumps, *state.arrays.values()):
        raise InputError(
            f"kinetic Monte Carlo is stuck after {state.events} jumps at {state.time_s:.3g} s: no ion has a vacant "
            "neighbour to jump to; the network must be connected and hold a vacancy that can be reached"
        )


def _tables(gas: Gas) -> tuple:
    """What the kernels need of the gas, in the order of their arguments."""
    m, n_sites = len(gas.lattice.basis), gas.lattice.n_sites
    basis_site = np.tile(np.arange(m, dtype=np.int16), n_sites // m)
    return (
        _levels(n_sites), basis_site, gas.neighbour, gas.partner, gas.factor, gas.half, gas.whole, gas.ceiling
    )  # fmt: skip


@njit(cache=True)
def _if_vacant(field):
    """The field where it is that of a vacant site, else 0."""
    return field if field > 0.0 else 0.0


@njit(cache=True, inline="always")
def _rate(i, slot, q, z, basis_site, neighbour, half, whole, ceiling, field):
    """Rate of the jump of an ion of species q from site i by a slot; 0 where the target is filled."""
    x = _if_vacant(field[neighbour[i * z + slot], q]) / -field[i, q]
    jump = basis_site[i] * z + slot
    return min(half[jump, q] * x, ceiling if x > 0.0 else 0.0, whole[jump, q] * x * x)


@njit(cache=True, inline="always")
def _total(i, z, basis_site, neighbour, half, whole, ceiling, ion, species, field):
    """Of all jumps of the ion on site i."""
    q = species[ion[i]]
    total = 0.0
    if ceiling < np.inf:
        for slot in range(z):
            total += _rate(i, slot, q, z, basis_site, neighbour, half, whole, ceiling, field)
        return total
    first, jump = i * z, basis_site[i] * z
    for slot in range(z):
        total += half[jump + slot, q] * _if_vacant(field[neighbour[first + slot], q])
    return total / -field[i, q]


@njit(cache=True)
def _fill(
    levels, basis_site, neighbour, partner, factor, half, whole, ceiling, ion, species, field, tree
):  # fmt: skip
    """Set fields, rates and sums for the occupation `ion`."""
    n_sites = len(ion)
    z, y = len(neighbour) // n_sites, len(partner) // n_sites
    field[:] = 1.0
    tree[:] = 0.0
    for i in range(n_sites):
        for slot in range(y):
            k = partner[i * y + slot]
            if k >= 0 and ion[k] >= 0:
                for q in range(field.shape[1]):
                    field[i, q] *= factor[basis_site[i] * y + slot, species[ion[k]], q]
        if ion[i] >= 0:
            field[i] *= -1
    for i in range(n_sites):
        if ion[i] >= 0:
            tree[i] = _total(i, z, basis_site, neighbour, half, whole, ceiling, ion, species, field)
    for level in range(1, len(levels) - 1):
        for node in range(levels[level + 1] - levels[level]):
            first = levels[level - 1] + node * CHILDREN
            tree[levels[level] + node] = tree[first : min(first + CHILDREN, levels[level])].sum()


@njit(cache=True, inline="always")
def _draw_next(tree, clock, rng):
    """Set the time of the next event. False where no jump is possible."""
    total = tree[-1]
    if not total > 0.0:
        return False
    clock[1] = clock[0] - np.log(1.0 - uniform(rng)) / total
    return True


@njit(cache=True, inline="always")
def _note(node, here, wanted, mark, seen, noted, count):
    """Note a node, whose place in `seen` is `here`, once; the number of those noted. Whether is no branch: no processor
    could foresee it."""
    noted[count] = node
    new = np.int64(wanted) & np.int64(seen[here] != mark)
    seen[here] = mark
    return count + new


@njit(cache=True, inline="always")
def _move_field(i, sign, q, y, basis_site, partner, factor, ion, field, changed, count):
    """What an ion of species q that comes to site i (sign +1) or leaves it (−1) does to its partners; note those.

    Partners are mutual: the factor here is that of the pair seen from the partner, with the species exchanged.
    """
    s = basis_site[i]
    for slot in range(y):
        k = partner[i * y + slot]
        if k >= 0:
            for p in range(field.shape[1]):
                strength = factor[s * y + slot, p, q]
                field[k, p] *= strength if sign > 0 else 1.0 / strength
            changed[count] = k
            count += 1
    return count


@njit(cache=True)
def _events(
    times, limit, snapshots,
    levels, basis_site, neighbour, partner, factor, half, whole, ceiling, target, of_class, image,
    ion, species, record, field, tree, seen, executed, clock, rng,
):  # fmt: skip
    """Make events through the rising `times`, at most `limit`; snapshot of `record` at each. False when stuck."""
    n_sites = len(ion)
    z, y = len(neighbour) // n_sites, len(partner) // n_sites
    top = len(levels) - 2
    changed = np.empty(2 * y + 2, np.int64)
    touched = np.empty((2 * y + 2) * (z + 1), np.int64)
    done = 0
    for step in range(len(times)):
        while clock[1] <= times[step]:
            if done == limit:
                return True
            clock[0] = clock[1]

            # The ion: down the tree.
            rest = uniform(rng) * tree[-1]
            i = 0
            for level in range(top - 1, -1, -1):
                i = levels[level] + i * CHILDREN
                last = min(i + CHILDREN, levels[level + 1]) - 1
                while i < last and rest >= tree[i]:
                    rest -= tree[i]
                    i += 1
                while not tree[i] > 0.0:  # only by rounding at the very end of the sum
                    i -= 1
                i -= levels[level]
            # Its jump.
            moving = np.int64(ion[i])
            q = species[moving]
            rest = uniform(rng) * tree[i]
            slot = 0
            rate = _rate(i, slot, q, z, basis_site, neighbour, half, whole, ceiling, field)
            while slot < z - 1 and rest >= rate:
                rest -= rate
                slot += 1
                rate = _rate(i, slot, q, z, basis_site, neighbour, half, whole, ceiling, field)
            while not rate > 0.0:  # only by rounding at the very end of the sum
                slot -= 1
                rate = _rate(i, slot, q, z, basis_site, neighbour, half, whole, ceiling, field)
            jump = basis_site[i] * z + slot
            j = np.int64(neighbour[i * z + slot])
            ion[i] = -1
            ion[j] = moving
            for p in range(field.shape[1]):
                field[i, p] *= -1
                field[j, p] *= -1
            record[moving, SITE] = target[jump]
            record[moving, X] += image[jump, 0]
            record[moving, Y] += image[jump, 1]
            record[moving, Z] += image[jump, 2]
            executed[of_class[jump], q] += 1

            changed[0], changed[1] = i, j
            n_changed = _move_field(i, -1, q, y, basis_site, partner, factor, ion, field, changed, 2)
            n_changed = _move_field(j, 1, q, y, basis_site, partner, factor, ion, field, changed, n_changed)

            # Ions on changed sites, and ions that see a changed site vacant or i or j at all.
            mark = np.uint32(seen[-1] + 1)
            if mark == 0:  # after 2³² jumps
                seen[:] = 0
                mark = np.uint32(1)
            seen[-1] = mark
            n_touched = 0
            for at in range(n_changed):
                k = changed[at]
                occupied = ion[k] >= 0
                n_touched = _note(k, k, occupied or at == 0, mark, seen, touched, n_touched)
                if not occupied or at < 2:
                    for slot in range(z):
                        neighbouring = np.int64(neighbour[k * z + slot])
                        near = ion[neighbouring] >= 0
                        n_touched = _note(neighbouring, neighbouring, near, mark, seen, touched, n_touched)
            for at in range(n_touched):
                k = touched[at]
                tree[k] = 0.0
                if ion[k] >= 0:
                    tree[k] = _total(k, z, basis_site, neighbour, half, whole, ceiling, ion, species, field)
            for level in range(1, top + 1):
                renewed = 0
                for at in range(n_touched):
                    parent = touched[at] >> SHIFT
                    renewed = _note(parent, levels[level] + parent, True, mark, seen, touched, renewed)
                for at in range(renewed):
                    first = levels[level - 1] + touched[at] * CHILDREN
                    tree[levels[level] + touched[at]] = (
                        (tree[first] + tree[first + 1]) + (tree[first + 2] + tree[first + 3])
                    ) + ((tree[first + 4] + tree[first + 5]) + (tree[first + 6] + tree[first + 7]))
                n_touched = renewed

            done += 1
            if not _draw_next(tree, clock, rng):
                return False
        clock[0] = times[step]
        if len(snapshots) > 0:
            snapshots[step] = record
    return True
