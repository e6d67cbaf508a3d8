"""Kinetic Monte Carlo of the interacting ions of `lattice_gas`, by trials over all ions or over bins of like rates.

What interactions do to a site is kept as one factor for each species, exp(−Σ J / 2kT), so that a rate is a product, and
a jump changes the factors of the sites that interact with its start or its end, no more.

A jump is drawn by trials as long as they are few: an ion, and one of its slots by the largest rate that the slot's jump
can have whatever the occupation; the jump is made with the chance rate/(largest rate). Time goes on at each trial, made
or not, by −ln(u)/(N times the largest sum of a site's largest rates), so that both the order of jumps and their times
are those of the rates, exactly (null events: P. Hanusse, A. Blanché, J. Chem. Phys. 74, 6148 (1981)). As in `kmc.py`
trials are drawn ahead, and what they need is called into the cache.

Where that takes too many (MOST_TRIALS), as with strong interactions or ions that rest on deep sites, ions are binned by
their total rates from then on, each bin up to twice the rate of the next: a bin is drawn by its ions' number times its
largest rate, one of its ions, and that jumps with the chance rate/(largest rate), a half and more (composition and
rejection: A. Slepoy, A. P. Thompson, S. J. Plimpton, J. Chem. Phys. 128, 205101 (2008)). What a jump costs does not
depend on the number of sites, and nothing is summed that could drift. Sites are numbered along a Z-order curve, so that
what one jump concerns lies close together. `kmc.py` is faster where there are no interactions.
"""

from dataclasses import dataclass

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.kernels import copy_record, draw_uniform, exponent, inlined, kernel, prefetch, seeded, uniform
from insilico_nmr.kmc import DONE, NO_JOURNAL, SITE, SPARSE, STUCK, Simulation, X, Y, Z, occupy, stuck
from insilico_nmr.lattice_gas import Gas

# Rates in a ratio of 2^(BINS − 1) have bins of their own; slower ones share the last.
BINS = 64
# Ions of one bin lie in parts of so many, which bins take and give back.
PART = 64
SHIFT = 6  # log2 of PART

# Entries of GasState.scale.
TOP, ANEW, FIRST, LAST = range(4)

# Trials for a jump, on average over all jumps and at least so many of them, above which bins are faster.
MOST_TRIALS, FEWEST_JUMPS = 40, 1000
# Trials for one jump after which it is time to ask whether any is possible.
PATIENCE = 1_000_000
# Jumps an ion, without barriers, after which a gas that starts anywhere is in equilibrium.
RUN_IN = 100
# Trials drawn ahead.
AHEAD = 32


@dataclass
class GasState(Simulation):
    """A simulation between two events. All arrays; `arrays` and `GasState(**arrays)` keep every bit.

    ion : (S,) int32, ion on each site, −1 where vacant.
    species : (N,) int8, of each ion.
    where : (N,) int32, site that each ion is on.
    record : (N, 4) int32, as in kmc.State.
    field : (S, Q) float64, exp(−Σ J / 2kT) over the ions that interact with one of each species here; negative where
        the site is occupied.
    rung : (S,) int8, bin of the site's ion, −1 where it cannot jump or there is none; this and the next five are empty
        as long as jumps are drawn by trials.
    place : (S,) int32, its place in the bin.
    member : (parts × PART,) int32, sites of the bins' ions.
    part : (BINS × parts,) int32, which part of `member` holds each part of a bin.
    size : (BINS,) int64, ions in each bin.
    spare : (parts + 1,) int32, parts that no bin has, and at its end their number.
    scale : (4,) int64, largest exponent of two that bin 0 holds; whether an ion is faster than that, so that bins are
        to be made anew; and two bins, before the first and after the second of which all are empty.
    seen : (S + 1,) uint32, when the site's rate was renewed last, and at its end when that was last begun.
    executed : (C, Q) int64, jumps made.
    clock : (2,) float64, time now and time of the next event, s.
    pending : (2,) int64, site and slot of the next event.
    trial : (3 × AHEAD,) float64, random numbers of the trials to come: for the ions, for slots and whether they jump,
        for times.
    tried : (3,) int64, which of them is next; trials and jumps drawn so far.
    rng : (4,) uint64.
    """

    ion: np.ndarray
    species: np.ndarray
    where: np.ndarray
    record: np.ndarray
    field: np.ndarray
    rung: np.ndarray
    place: np.ndarray
    member: np.ndarray
    part: np.ndarray
    size: np.ndarray
    spare: np.ndarray
    scale: np.ndarray
    seen: np.ndarray
    executed: np.ndarray
    clock: np.ndarray
    pending: np.ndarray
    trial: np.ndarray
    tried: np.ndarray
    rng: np.ndarray


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
    state = GasState(
        ion=ion,
        species=species,
        where=np.array(sites, np.int32),
        record=record,
        field=np.ones((lattice.n_sites, gas.n_species)),
        **_bins(0, 0),
        executed=np.zeros((len(lattice.rates), gas.n_species), np.int64),
        clock=np.zeros(2),
        pending=np.zeros(2, np.int64),
        trial=np.zeros(3 * AHEAD),
        tried=np.array([AHEAD, 0, 0]),
        rng=seeded(np.uint64(seed)),
    )
    _fill_fields(*_tables(gas), *state.arrays.values())
    if not _draw(gas, state):
        raise stuck(state)
    return state


def _bins(n_sites: int, n_ions: int) -> dict[str, np.ndarray]:
    """Room for the bins of so many ions, by the names in GasState; without ions, for none."""
    parts = n_ions // PART + BINS if n_ions else 0
    return {
        "rung": np.full(n_sites, -1, np.int8),
        "place": np.zeros(n_sites, np.int32),
        "member": np.zeros(parts * PART, np.int32),
        "part": np.zeros(BINS * parts, np.int32),
        "size": np.zeros(BINS, np.int64),
        "spare": np.append(np.arange(parts), parts).astype(np.int32),
        "scale": np.array([0, 0, BINS - 1, 0]),
        "seen": np.zeros(n_sites + 1, np.uint32),
    }


def start_in_equilibrium(gas: Gas, numbers: tuple[int, ...], rng: np.random.Generator) -> GasState:
    """A simulation of so many ions of each species at time 0, after a run-in of the levelled gas from anywhere."""
    species = np.repeat(np.arange(len(numbers)), numbers)
    sites = rng.choice(gas.lattice.n_sites, len(species), replace=False).astype(np.int32)
    seeds = rng.integers(2**64, dtype=np.uint64, size=2)
    level = gas.levelled or gas
    run_in = start(level, sites, int(seeds[0]), species)
    run_events(level, run_in, RUN_IN // 2 * len(species))
    # It ends at a time, not after a number of jumps, or states that are left soon would come more often than they last.
    run_snapshots(level, run_in, np.array([2 * run_in.time_s]))
    return start(gas, run_in.where, int(seeds[1]), species)


def exit_rate(gas: Gas, numbers: tuple[int, ...], rng: np.random.Generator, n_events: int) -> float:
    """Jumps per ion and second, of a run of so many from equilibrium."""
    state = start_in_equilibrium(gas, numbers, rng)
    run_events(gas, state, n_events)
    return state.events / (sum(numbers) * state.time_s)


def samples(gas: Gas, state: GasState, step_s: float, count: int) -> np.ndarray:
    """Which sites are occupied, (count, S) bool, at times `step_s` apart, the first that long from now."""
    filled = np.zeros((count, gas.lattice.n_sites), bool)
    for sample in filled:
        run_snapshots(gas, state, np.array([state.time_s + step_s]))
        sample[state.where] = True
    return filled


def keep_bins(gas: Gas, state: GasState) -> None:
    """Draw jumps by bins from now on, as a run does by itself once trials take too many; or make the bins anew."""
    for name, array in _bins(gas.lattice.n_sites, len(state.where)).items():
        setattr(state, name, array)
    _fill_bins(*_tables(gas), *state.arrays.values())


def total_rates(gas: Gas, state: GasState) -> np.ndarray:
    """Of the jumps that each ion can make now, (N,), 1/s."""
    rates = np.empty(len(state.where))
    _fill_rates(rates, *_tables(gas), *state.arrays.values())
    return rates


def run_events(gas: Gas, state: GasState, n_events: int) -> None:
    """Make n_events jumps, changing `state`. Raises InputError where no jump is possible any more."""
    _run(gas, state, np.array([np.inf]), n_events, np.empty((0, 0, 4), np.int32))


def run_snapshots(gas: Gas, state: GasState, times_s: np.ndarray) -> np.ndarray:
    """Run through the rising times (K,), s; the ions' records at each, (K, N, 4) int32; as `kmc.run_snapshots`."""
    snapshots = np.empty((len(times_s), *state.record.shape), np.int32)
    _run(gas, state, times_s, np.iinfo(np.int64).max, snapshots)
    return snapshots


def run_journal(gas: Gas, state: GasState, until_s: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the next jumps, up to a time and at most so many; as `kmc.run_journal`."""
    before = state.events
    journal = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most)
    _run(gas, state, np.array([until_s]), most, np.empty((0, 0, 4), np.int32), journal)
    ions, sites, times = (column[: state.events - before] for column in journal)
    return ions, sites, times


def _draw(gas: Gas, state: GasState) -> bool:
    """Draw the next event, by new bins if the way it was done finds none. False where no jump is possible."""
    end = _draw_next(*_tables(gas), *state.arrays.values())
    while end == SPARSE:
        keep_bins(gas, state)
        end = _draw_next(*_tables(gas), *state.arrays.values())
    return end == DONE


def _run(
    gas: Gas, state: GasState, times: np.ndarray, limit: int, snapshots: np.ndarray, journal: tuple = NO_JOURNAL
) -> None:
    progress = np.zeros(2, np.int64)  # times passed, events made
    most_changed = 2 * gas.partners + 2
    work = np.empty(most_changed, np.int64), np.empty(most_changed * (gas.lattice.slots + 1), np.int64)
    tables = _tables(gas)
    arrays = times, limit, snapshots, *journal, progress, *work, *tables
    while (end := _events(*arrays, *state.arrays.values())) != DONE:
        if end == STUCK or not _draw(gas, state):
            raise stuck(state)


def _tables(gas: Gas) -> tuple:
    """What the kernels need of the gas, in the order of their arguments."""
    lattice = gas.lattice
    return (
        gas.basis_site, gas.neighbour, gas.partner, gas.factor, gas.half, gas.whole,
        gas.ceiling, gas.most, gas.most.max(), lattice.jump_target, lattice.jump_class, lattice.jump_image,
    )  # fmt: skip


@kernel
def _if_vacant(field):
    """The field where it is that of a vacant site, else 0."""
    return field if field > 0.0 else 0.0


@inlined
def _rate(x, jump, q, half, whole, ceiling):
    """Of a jump of an ion of species q that has x = exp(−ΔJ/2kT), 0 where the target is filled."""
    return min(half[jump, q] * x, ceiling if x > 0.0 else 0.0, whole[jump, q] * x * x)


@inlined
def _total(i, z, basis_site, neighbour, half, whole, ceiling, ion, species, field):
    """Of all jumps of the ion on site i."""
    q = species[ion[i]] if field.shape[1] > 1 else 0
    first, jump = i * z, basis_site[i] * z
    own = 1.0 / -field[i, q]
    total = 0.0
    if ceiling < np.inf:
        for slot in range(z):
            x = _if_vacant(field[neighbour[first + slot], q]) * own
            total += _rate(x, jump + slot, q, half, whole, ceiling)
        return total
    for slot in range(z):
        total += half[jump + slot, q] * _if_vacant(field[neighbour[first + slot], q])
    return total * own


@kernel
def _fill_fields(
    basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field,
    rung, place, member, part, size, spare, scale, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Set the fields, all 1 before, for the occupation `ion`."""
    y = len(partner) // len(ion)
    for i in range(len(ion)):
        for slot in range(y):
            k = partner[i * y + slot]
            if k >= 0 and ion[k] >= 0:
                for q in range(field.shape[1]):
                    field[i, q] *= factor[basis_site[i] * y + slot, species[ion[k]], q]
        if ion[i] >= 0:
            for q in range(field.shape[1]):
                field[i, q] *= -1


@kernel
def _fill_rates(
    rates,
    basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field,
    rung, place, member, part, size, spare, scale, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """rates[n] = total rate of ion n."""
    z = len(neighbour) // len(ion)
    for n in range(len(where)):
        rates[n] = _total(where[n], z, basis_site, neighbour, half, whole, ceiling, ion, species, field)


@kernel
def _fill_bins(
    basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field,
    rung, place, member, part, size, spare, scale, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Put all ions that can jump in bins, all empty before, of which the first holds the fastest."""
    z = len(neighbour) // len(ion)
    fastest = 0.0
    for i in where:
        fastest = max(fastest, _total(i, z, basis_site, neighbour, half, whole, ceiling, ion, species, field))
    scale[TOP] = exponent(fastest)
    for i in where:
        total = _total(i, z, basis_site, neighbour, half, whole, ceiling, ion, species, field)
        _enter(np.int64(i), _bin(total, scale), rung, place, member, part, size, spare, scale)


@inlined
def _bin(total, scale):
    """Of an ion with this total rate; −1 where it cannot jump."""
    if not total > 0.0:
        return -1
    below = scale[TOP] - exponent(total)
    if below < 0:
        scale[ANEW] = 1
        below = 0
    return min(below, BINS - 1)


@inlined
def _index(b, at, part, parts):
    """Where in `member` the ion at a place of bin b is."""
    return (np.int64(part[b * parts + (at >> SHIFT)]) << SHIFT) + (at & (PART - 1))


@inlined
def _enter(i, b, rung, place, member, part, size, spare, scale):
    """Put the ion on site i, which is in no bin, in bin b, if that is one."""
    rung[i] = b
    if b < 0:
        return
    at = size[b]
    parts = len(spare) - 1
    if at & (PART - 1) == 0:
        spare[parts] -= 1
        part[b * parts + (at >> SHIFT)] = spare[spare[parts]]
    member[_index(b, at, part, parts)] = i
    place[i] = at
    size[b] = at + 1
    scale[FIRST], scale[LAST] = min(scale[FIRST], b), max(scale[LAST], b)


@inlined
def _leave(i, rung, place, member, part, size, spare):
    """Take site i out of its bin, if it is in one; the last of the bin fills the gap."""
    b = np.int64(rung[i])
    if b < 0:
        return
    parts = len(spare) - 1
    at, last = np.int64(place[i]), size[b] - 1
    other = member[_index(b, last, part, parts)]
    member[_index(b, at, part, parts)] = other
    place[other] = at
    size[b] = last
    if last & (PART - 1) == 0:
        spare[spare[parts]] = part[b * parts + (last >> SHIFT)]
        spare[parts] += 1


@kernel
def _draw_trials(n_species, z, neighbour, where, field, trial, rng):
    """Set the trials to come, and call what they need into the cache: none waits for another."""
    draw_uniform(rng, trial)
    for n in range(AHEAD):
        i = np.int64(where[np.int64(trial[n] * len(where))])
        prefetch(field, i * n_species)
        prefetch(neighbour, i * z)


@kernel
def _draw_by_trials(
    basis_site, neighbour, half, whole, ceiling, most, largest,
    species, where, field, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Set the next event, or SPARSE where trials have been too many; the clock is then where they led to."""
    z = most.shape[2]
    n_species = field.shape[1]
    waited, product = 0.0, 1.0
    i, slot = np.int64(0), 0
    found, tries = False, 0
    patience = min(MOST_TRIALS * (tried[2] + FEWEST_JUMPS) - tried[1], PATIENCE)
    n = tried[0]
    while not found and tries < patience:
        if n == AHEAD:
            _draw_trials(n_species, z, neighbour, where, field, trial, rng)
            n = 0
        moving, share = np.int64(trial[n] * len(where)), trial[AHEAD + n] * largest
        product *= 1.0 - trial[2 * AHEAD + n]
        if product < 1e-280:
            waited -= np.log(product)
            product = 1.0
        n += 1
        tries += 1
        i = np.int64(where[moving])
        q = np.int64(species[moving])
        s = np.int64(basis_site[i])
        # The slot is no branch: no processor could foresee it.
        slot = 0
        for other in range(z):
            slot += np.int64(share >= most[s, q, other])
        if slot < z:
            rest = share - (most[s, q, slot - 1] if slot > 0 else 0.0)
            if ceiling < np.inf:
                x = _if_vacant(field[neighbour[i * z + slot], q]) / -field[i, q]
                found = rest < _rate(x, s * z + slot, q, half, whole, ceiling)
            else:
                found = rest * -field[i, q] < half[s * z + slot, q] * field[neighbour[i * z + slot], q]
    pending[0], pending[1] = i, slot
    tried[0] = n
    tried[1] += tries
    tried[2] += np.int64(found)
    clock[1] += (waited - np.log(product)) / (largest * len(where))
    return DONE if found else SPARSE


@kernel
def _draw_by_bins(
    basis_site, neighbour, half, whole, ceiling, ion, species, field, member, part, size, spare, scale,
    clock, pending, rng,
):  # fmt: skip
    """Set the next event. STUCK where no jump is possible, SPARSE where bins have to be made anew."""
    if scale[ANEW]:
        return SPARSE
    z = len(neighbour) // len(ion)
    parts = len(spare) - 1
    first, last = scale[FIRST], scale[LAST]
    while size[first] == 0 and first < last:
        first += 1
    while size[last] == 0 and first < last:
        last -= 1
    scale[FIRST], scale[LAST] = first, last
    # In units of the largest rate of the first bin
    weight, all_weights = 1.0, 0.0
    for b in range(first, last + 1):
        all_weights += weight * size[b]
        weight *= 0.5
    if not all_weights > 0.0:
        return STUCK
    unit = np.ldexp(1.0, scale[TOP] - first)
    waited, product = 0.0, 1.0
    tries = 0
    while tries < PATIENCE:
        tries += 1
        product *= 1.0 - uniform(rng)
        if product < 1e-280:
            waited -= np.log(product)
            product = 1.0
        rest = uniform(rng) * all_weights
        b, weight = first, 1.0
        while b < last and rest >= weight * size[b]:
            rest -= weight * size[b]
            weight *= 0.5
            b += 1
        if size[b] == 0:  # only by rounding at the very end of the sum
            continue
        at = min(np.int64(rest / weight), size[b] - 1)
        i = np.int64(member[_index(b, at, part, parts)])
        q = species[ion[i]] if field.shape[1] > 1 else 0
        rest = uniform(rng) * (weight * unit)
        own = 1.0 / -field[i, q]
        for slot in range(z):
            x = _if_vacant(field[neighbour[i * z + slot], q]) * own
            rest -= _rate(x, basis_site[i] * z + slot, q, half, whole, ceiling)
            if rest < 0.0:
                pending[0], pending[1] = i, slot
                clock[1] += (waited - np.log(product)) / (all_weights * unit)
                return DONE
    clock[1] += (waited - np.log(product)) / (all_weights * unit)
    scale[ANEW] = 1
    return SPARSE


@kernel
def _draw_next(
    basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field,
    rung, place, member, part, size, spare, scale, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Set the next event after the time clock[1]. DONE, STUCK or SPARSE."""
    if len(rung) > 0:
        return _draw_by_bins(
            basis_site, neighbour, half, whole, ceiling, ion, species, field, member, part, size, spare, scale,
            clock, pending, rng,
        )  # fmt: skip
    return _draw_by_trials(
        basis_site, neighbour, half, whole, ceiling, most, largest,
        species, where, field, clock, pending, trial, tried, rng,
    )  # fmt: skip


@inlined
def _note(site, wanted, mark, seen, noted, count):
    """Note a site once, if it is wanted; the number of those noted. Whether is no branch: no processor could foresee
    it."""
    noted[count] = site
    new = np.int64(wanted) & np.int64(seen[site] != mark)
    seen[site] = mark
    return count + new


@inlined
def _move_field(i, sign, q, y, basis_site, partner, factor, field, changed, count):
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


@kernel
def _renew(
    changed, n_changed, touched,
    basis_site, neighbour, half, whole, ceiling, ion, species, field,
    rung, place, member, part, size, spare, scale, seen,
):  # fmt: skip
    """Renew the bins of ions that the changed sites concern; the jump's start and end come first of those."""
    n_sites = len(ion)
    z = len(neighbour) // n_sites
    mark = np.uint32(seen[n_sites] + 1)
    if mark == 0:  # after 2³² jumps
        for site in range(n_sites):
            seen[site] = 0
        mark = np.uint32(1)
    seen[n_sites] = mark
    # Ions on changed sites, and ions that see a changed site vacant, or the start or end of the jump at all.
    n_touched = 0
    for at in range(n_changed):
        k = changed[at]
        occupied = field[k, 0] < 0.0
        n_touched = _note(k, occupied or at == 0, mark, seen, touched, n_touched)
        if not occupied or at < 2:
            for slot in range(z):
                near = np.int64(neighbour[k * z + slot])
                n_touched = _note(near, field[near, 0] < 0.0, mark, seen, touched, n_touched)
    for at in range(n_touched):
        k = touched[at]
        b = -1
        if field[k, 0] < 0.0:
            b = _bin(_total(k, z, basis_site, neighbour, half, whole, ceiling, ion, species, field), scale)
        if b != rung[k]:
            _leave(k, rung, place, member, part, size, spare)
            _enter(k, b, rung, place, member, part, size, spare, scale)


@kernel
def _events(
    times, limit, snapshots, moved, went, moments, progress, changed, touched,
    basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field,
    rung, place, member, part, size, spare, scale, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Make events through the rising `times`, at most `limit`; snapshot of `record` at each. DONE, STUCK or SPARSE.

    `moved`, `went` and `moments`, unless empty, are told of each event which ion, to which site and when.
    `progress` holds how many times were passed and events made before; `changed` and `touched` are room to work in.
    After SPARSE bins are to be made, and an event remains to be drawn.
    """
    n_sites = len(ion)
    z, y = len(neighbour) // n_sites, len(partner) // n_sites
    for step in range(progress[0], len(times)):
        progress[0] = step
        while clock[1] <= times[step]:
            if progress[1] == limit:
                return DONE
            clock[0] = clock[1]
            i, slot = pending[0], pending[1]
            moving = np.int64(ion[i])
            q = np.int64(species[moving])
            jump = basis_site[i] * z + slot
            j = np.int64(neighbour[i * z + slot])
            ion[i] = -1
            ion[j] = moving
            where[moving] = j
            for p in range(field.shape[1]):
                field[i, p] *= -1
                field[j, p] *= -1
            record[moving, SITE] = target[jump]
            record[moving, X] += image[jump, 0]
            record[moving, Y] += image[jump, 1]
            record[moving, Z] += image[jump, 2]
            executed[of_class[jump], q] += 1
            if len(moved) > 0:
                moved[progress[1]], went[progress[1]], moments[progress[1]] = moving, j, clock[0]
            changed[0], changed[1] = i, j
            n_changed = _move_field(i, -1, q, y, basis_site, partner, factor, field, changed, 2)
            n_changed = _move_field(j, 1, q, y, basis_site, partner, factor, field, changed, n_changed)
            progress[1] += 1

            if len(rung) > 0:
                _renew(
                    changed, n_changed, touched,
                    basis_site, neighbour, half, whole, ceiling, ion, species, field,
                    rung, place, member, part, size, spare, scale, seen,
                )  # fmt: skip
                end = _draw_by_bins(
                    basis_site, neighbour, half, whole, ceiling, ion, species, field, member, part, size, spare, scale,
                    clock, pending, rng,
                )  # fmt: skip
            else:
                end = _draw_by_trials(
                    basis_site, neighbour, half, whole, ceiling, most, largest,
                    species, where, field, clock, pending, trial, tried, rng,
                )  # fmt: skip
            if end != DONE:
                return end
        clock[0] = times[step]
        if len(snapshots) > 0:
            copy_record(record, snapshots, step)
    return DONE
