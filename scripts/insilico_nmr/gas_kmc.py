"""Kinetic Monte Carlo of the interacting ions of `lattice_gas`, by trials or rejection-free.

What interactions do to a site is kept as one factor for each species, exp(−Σ J / 2kT), so that a rate is a product, and
a jump changes the factors of the sites that interact with its start or its end, no more.

A jump is drawn by trials as long as they are few: an ion, and one of its slots by the largest rate that the slot's jump
can have whatever the occupation; the jump is made with the chance rate/(largest rate). Time goes on at each trial, made
or not, by −ln(u)/(N times the largest sum of a site's largest rates), so that both the order of jumps and their times
are those of the rates, exactly (null events: P. Hanusse, A. Blanché, J. Chem. Phys. 74, 6148 (1981)). As in `kmc.py`
trials are drawn ahead, and what they need is called into the cache.

Where that takes too many (MOST_TRIALS), as with strong interactions or ions that rest on deep sites, every ion's total
rate becomes a leaf of a tree of sums with eight children a node, from then on. Sites are numbered along a Z-order
curve, so that the ions that one jump concerns share most of their nodes: sums are renewed, not corrected, and never
drift. `kmc.py` is faster where there are no interactions.
"""

from dataclasses import dataclass

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.kernels import copy_record, draw_uniform, inlined, kernel, prefetch, seeded, uniform
from insilico_nmr.kmc import DONE, NO_JOURNAL, SITE, SPARSE, STUCK, Simulation, X, Y, Z, occupy, stuck
from insilico_nmr.lattice_gas import Gas

CHILDREN = 8
SHIFT = 3  # log2 of CHILDREN

# Trials for a jump, on average over all jumps and at least so many of them, above which the tree is faster.
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
    tree : float64, total rates of the sites' ions, then sums of eight, level after level, up to the total; empty as
        long as jumps are drawn by trials.
    seen : uint32, when each node of the tree was renewed last, and its last entry when that was last begun.
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
    tree: np.ndarray
    seen: np.ndarray
    executed: np.ndarray
    clock: np.ndarray
    pending: np.ndarray
    trial: np.ndarray
    tried: np.ndarray
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
    state = GasState(
        ion=ion,
        species=species,
        where=np.array(sites, np.int32),
        record=record,
        field=np.ones((lattice.n_sites, gas.n_species)),
        tree=np.empty(0),
        seen=np.empty(0, np.uint32),
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


def start_in_equilibrium(gas: Gas, numbers: tuple[int, ...], rng: np.random.Generator) -> GasState:
    """A simulation of so many ions of each species at time 0, after a run-in of the levelled gas from anywhere."""
    species = np.repeat(np.arange(len(numbers)), numbers)
    sites = rng.choice(gas.lattice.n_sites, len(species), replace=False).astype(np.int32)
    seeds = rng.integers(2**64, dtype=np.uint64, size=2)
    level = gas.levelled or gas
    run_in = start(level, sites, int(seeds[0]), species)
    run_events(level, run_in, RUN_IN * len(species))
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


def keep_tree(gas: Gas, state: GasState) -> None:
    """Draw jumps by the tree from now on, as a run does by itself once trials take too many."""
    levels = _levels(gas.lattice.n_sites)
    state.tree = np.zeros(levels[-1])
    state.seen = np.zeros(levels[-1] + 1, np.uint32)
    _fill_tree(*_tables(gas), *state.arrays.values())


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
    """Draw the next event, by the tree if trials find none. False where no jump is possible."""
    end = _draw_next(*_tables(gas), *state.arrays.values())
    if end == SPARSE:
        keep_tree(gas, state)
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
        _levels(lattice.n_sites), gas.basis_site, gas.neighbour, gas.partner, gas.factor, gas.half, gas.whole,
        gas.ceiling, gas.most, gas.most.max(), lattice.jump_target, lattice.jump_rate, lattice.jump_image,
    )  # fmt: skip


@kernel
def _if_vacant(field):
    """The field where it is that of a vacant site, else 0."""
    return field if field > 0.0 else 0.0


@inlined
def _rate(i, slot, q, z, basis_site, neighbour, half, whole, ceiling, field):
    """Rate of the jump of an ion of species q from site i by a slot; 0 where the target is filled."""
    x = _if_vacant(field[neighbour[i * z + slot], q]) / -field[i, q]
    jump = basis_site[i] * z + slot
    return min(half[jump, q] * x, ceiling if x > 0.0 else 0.0, whole[jump, q] * x * x)


@inlined
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


@kernel
def _fill_fields(
    levels, basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field, tree, seen, executed, clock, pending, trial, tried, rng,
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
def _fill_tree(
    levels, basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field, tree, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Set rates and sums by the fields."""
    z = len(neighbour) // len(ion)
    for i in range(len(ion)):
        if ion[i] >= 0:
            tree[i] = _total(i, z, basis_site, neighbour, half, whole, ceiling, ion, species, field)
    for level in range(1, len(levels) - 1):
        for node in range(levels[level + 1] - levels[level]):
            first = levels[level - 1] + node * CHILDREN
            for child in range(first, min(first + CHILDREN, levels[level])):
                tree[levels[level] + node] += tree[child]


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
                found = rest < _rate(i, slot, q, z, basis_site, neighbour, half, whole, ceiling, field)
            else:
                found = rest * -field[i, q] < half[s * z + slot, q] * field[neighbour[i * z + slot], q]
    pending[0], pending[1] = i, slot
    tried[0] = n
    tried[1] += tries
    tried[2] += np.int64(found)
    clock[1] += (waited - np.log(product)) / (largest * len(where))
    return DONE if found else SPARSE


@kernel
def _draw_by_tree(
    levels, basis_site, neighbour, half, whole, ceiling, ion, species, field, tree, clock, pending, rng
):  # fmt: skip
    """Set the next event. STUCK where no jump is possible."""
    total = tree[-1]
    if not total > 0.0:
        return STUCK
    clock[1] -= np.log(1.0 - uniform(rng)) / total
    z = len(neighbour) // len(ion)
    # The ion: down the tree.
    rest = uniform(rng) * total
    i = 0
    for level in range(len(levels) - 3, -1, -1):
        i = levels[level] + i * CHILDREN
        last = min(i + CHILDREN, levels[level + 1]) - 1
        while i < last and rest >= tree[i]:
            rest -= tree[i]
            i += 1
        while not tree[i] > 0.0:  # only by rounding at the very end of the sum
            i -= 1
        i -= levels[level]
    # Its jump.
    q = species[ion[i]]
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
    pending[0], pending[1] = i, slot
    return DONE


@kernel
def _draw_next(
    levels, basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field, tree, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Set the next event after the time clock[1]. DONE, STUCK or SPARSE."""
    if len(tree) > 0:
        return _draw_by_tree(
            levels, basis_site, neighbour, half, whole, ceiling, ion, species, field, tree, clock, pending, rng
        )
    return _draw_by_trials(
        basis_site, neighbour, half, whole, ceiling, most, largest,
        species, where, field, clock, pending, trial, tried, rng,
    )  # fmt: skip


@inlined
def _note(node, here, wanted, mark, seen, noted, count):
    """Note a node, whose place in `seen` is `here`, once; the number of those noted. Whether is no branch: no processor
    could foresee it."""
    noted[count] = node
    new = np.int64(wanted) & np.int64(seen[here] != mark)
    seen[here] = mark
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
    levels, basis_site, neighbour, half, whole, ceiling, ion, species, field, tree, seen,
):  # fmt: skip
    """Renew the rates that the changed sites concern, and their sums; the jump's start and end come first of those."""
    z = len(neighbour) // len(ion)
    mark = np.uint32(seen[-1] + 1)
    if mark == 0:  # after 2³² jumps
        for node in range(len(seen)):
            seen[node] = 0
        mark = np.uint32(1)
    seen[-1] = mark
    # Ions on changed sites, and ions that see a changed site vacant, or the start or end of the jump at all.
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
    for level in range(1, len(levels) - 1):
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


@kernel
def _events(
    times, limit, snapshots, moved, went, moments, progress, changed, touched,
    levels, basis_site, neighbour, partner, factor, half, whole, ceiling, most, largest, target, of_class, image,
    ion, species, where, record, field, tree, seen, executed, clock, pending, trial, tried, rng,
):  # fmt: skip
    """Make events through the rising `times`, at most `limit`; snapshot of `record` at each. DONE, STUCK or SPARSE.

    `moved`, `went` and `moments`, unless empty, are told of each event which ion, to which site and when.
    `progress` holds how many times were passed and events made before; `changed` and `touched` are room to work in.
    After SPARSE an event remains to be drawn.
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

            if len(tree) > 0:
                _renew(
                    changed, n_changed, touched,
                    levels, basis_site, neighbour, half, whole, ceiling, ion, species, field, tree, seen,
                )  # fmt: skip
                end = _draw_by_tree(
                    levels, basis_site, neighbour, half, whole, ceiling, ion, species, field, tree, clock, pending, rng
                )
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
