"""Kinetic Monte Carlo of ions that exclude each other from sites, with every ion's history.

Every event makes a jump, chosen among the possible ones by their rates. Waiting times are −ln(u)/(total rate).

What makes it fast: each site keeps one 32-bit word, a bit for each slot whose target is vacant and a bit for its own
ion. A jump flips one bit in the words of the neighbours of its two sites, and the number of possible jumps in each
class (few distinct rates) follows from those bits.

A jump is drawn by trials: a class by its rate times all its slots in the lattice, a site and a slot of it, until that
jump is possible. Every possible jump then has the chance rate/total, whatever number of trials it takes; on average it
takes (rate of all slots)/(total rate). Trials do not depend on the occupation, so that those to come are drawn ahead
and what they need is called into the cache; waiting for it is what a large lattice would spend its time on.

Where that takes too many (MOST_TRIALS), as with few ions or few vacancies, there is for each class a list of the sites
from which at least one jump of the class is possible, from then on. The class is taken by the classes' total rates
(n-fold way: A. B. Bortz, M. H. Kalos, J. L. Lebowitz, J. Comput. Phys. 17, 10 (1975)), then a site of its list and a
slot, until they are a possible jump, which takes at most as many draws, on average, as the class has slots at a site.
Sites enter a list at its end and leave by the last one filling the gap.

The state of the random numbers is part of the simulation's `State`, so that a stored simulation goes on bit for bit.
"""

from dataclasses import dataclass, fields

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.kernels import copy_record, inlined, kernel, prefetch, seeded, uniform
from insilico_nmr.lattice import Lattice, equilibrium_occupation

# Columns of State.record.
SITE, X, Y, Z = range(4)

ION = np.uint32(1 << 31)
ONE = np.uint32(1)
TOP = np.uint32(31)

# A lattice of so many sites stays in the cache by itself.
CACHED_SITES = 100_000
# Trials for a jump, on average, above which lists of sites are faster: in such a lattice, and in a larger one.
MOST_TRIALS, MOST_TRIALS_FAR = 12.0, 48.0
# Trials drawn ahead, and how many of them before its turn what a trial needs next is called into the cache.
AHEAD, SITE_AHEAD, TARGET_AHEAD, AROUND_AHEAD = 32, 20, 12, 6

# Why the kernel returns.
DONE, STUCK, SPARSE = range(3)


class Simulation:
    """What the states of all engines have: dataclasses of arrays, `clock` and `executed` among them."""

    @property
    def time_s(self) -> float:
        """Time now."""
        return float(self.clock[0])

    @property
    def events(self) -> int:
        """Jumps made so far."""
        return int(self.executed.sum())

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass
class State(Simulation):
    """A simulation between two events. All arrays; `arrays` and `State(**arrays)` keep every bit.

    ion : (S,) int32, ion on each site, −1 where vacant.
    word : (S,) uint32, bit `slot` set where that slot's target is vacant, bit 31 where the site is occupied.
    record : (N, 4) int32, for each ion the site of the primitive cell it is on, and its unwrapped cell (x, y, z).
    listed : int32, sites with a possible jump, class after class; each class has room for all sites of its orbit.
    place : int32, site × (most classes at a site) + (class at the site): place of the site in the class's list.
    length : (C,) int64, length of each class's list; `listed` and `place` are empty as long as there are no lists.
    possible : (C,) int64, number of jumps possible now, by directed class.
    executed : (C,) int64, number of jumps made, by directed class.
    clock : (2,) float64, time now and time of the next event, s.
    trial : (AHEAD, 2) int32, site and slot of the trials to come.
    turn : (1,) int64, which of them is next.
    rng : (4,) uint64.
    """

    ion: np.ndarray
    word: np.ndarray
    record: np.ndarray
    listed: np.ndarray
    place: np.ndarray
    length: np.ndarray
    possible: np.ndarray
    executed: np.ndarray
    clock: np.ndarray
    trial: np.ndarray
    turn: np.ndarray
    rng: np.ndarray


def stuck(state: Simulation) -> InputError:
    """What to raise where no jump is possible."""
    if not state.events:
        return InputError("kinetic Monte Carlo is stuck at the start: no ion has a vacant neighbour to jump to")
    return InputError(
        f"kinetic Monte Carlo is stuck after {state.events} jumps at {state.time_s:.3g} s: no ion has a vacant "
        "neighbour to jump to; the network must be connected and hold a vacancy that can be reached"
    )


def occupy(lattice: Lattice, sites: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`ion` (S,) and `record` (N, 4) of a `State` with ion n on site sites[n], in its first cell.

    Raises InputError where two ions share a site, and where there is no ion or no vacancy.
    """
    if len(np.unique(sites)) != len(sites) or not 0 < len(sites) < lattice.n_sites:
        raise InputError("kinetic Monte Carlo needs at least one ion and one vacancy, and no two ions on one site")
    ion = np.full(lattice.n_sites, -1, np.int32)
    ion[sites] = np.arange(len(sites), dtype=np.int32)
    record = np.zeros((len(sites), 4), np.int32)
    record[:, SITE] = sites % len(lattice.basis)
    return ion, record


def start(lattice: Lattice, sites: np.ndarray, seed: int) -> State:
    """A simulation at time 0 with ion n on site sites[n]; sites has shape (N,). `seed` is a 64-bit number.

    Raises InputError where `occupy` does, and where no ion can jump.
    """
    ion, record = occupy(lattice, sites)
    n_classes = len(lattice.rates)
    state = State(
        ion=ion,
        word=np.zeros(lattice.n_sites, np.uint32),
        record=record,
        listed=np.empty(0, np.int32),
        place=np.empty(0, np.int32),
        length=np.zeros(n_classes, np.int64),
        possible=np.zeros(n_classes, np.int64),
        executed=np.zeros(n_classes, np.int64),
        clock=np.zeros(2),
        trial=np.zeros((AHEAD, 2), np.int32),
        turn=np.zeros(1, np.int64),
        rng=seeded(np.uint64(seed)),
    )
    if not _begin(*_tables(lattice), *state.arrays.values()):
        raise stuck(state)
    return state


def start_in_equilibrium(lattice: Lattice, n_ions: int, rng: np.random.Generator) -> tuple[np.ndarray, State]:
    """Sites (N,) of ions drawn from equilibrium, and the simulation that starts there, its seed drawn as well."""
    sites = equilibrium_occupation(lattice, n_ions, rng)
    return sites, start(lattice, sites, int(rng.integers(2**64, dtype=np.uint64)))


def keep_lists(lattice: Lattice, state: State) -> None:
    """Draw jumps by lists of sites from now on, as a run does by itself once trials take too many."""
    tables = _tables(lattice)
    room, most_classes = tables[-1], tables[-2]
    state.listed = np.zeros(room[-1], np.int32)
    state.place = np.zeros(lattice.n_sites * most_classes, np.int32)
    state.length[:] = 0
    _fill_lists(*tables, *state.arrays.values())


def run_events(lattice: Lattice, state: State, n_events: int) -> None:
    """Make n_events jumps, changing `state`. Raises InputError where no jump is possible any more."""
    _run(lattice, state, np.array([np.inf]), n_events, None)


def run_snapshots(lattice: Lattice, state: State, times_s: np.ndarray) -> np.ndarray:
    """Run through the rising times (K,), s; returns the ions' records at each, shape (K, N, 4) int32.

    The event after the last time stays drawn, so that a run cut into pieces is the same run. Raises InputError
    where no jump is possible any more.
    """
    snapshots = np.empty((len(times_s), *state.record.shape), np.int32)
    _run(lattice, state, times_s, np.iinfo(np.int64).max, snapshots)
    return snapshots


def run_journal(lattice: Lattice, state: State, until_s: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the next jumps, up to a time and at most so many: ion (n,) int32, site it went to (n,) int32, time (n,), s.

    Fewer than `most` came back where `until_s` was reached. Raises InputError where no jump is possible any more.
    """
    before = state.events
    journal = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most)
    _run(lattice, state, np.array([until_s]), most, None, journal)
    ions, sites, times = (column[: state.events - before] for column in journal)
    return ions, sites, times


NO_JOURNAL = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0)


def _run(
    lattice: Lattice,
    state: State,
    times: np.ndarray,
    limit: int,
    snapshots: np.ndarray | None,
    journal: tuple[np.ndarray, np.ndarray, np.ndarray] = NO_JOURNAL,
) -> None:
    kept = np.empty((0, 0, 4), np.int32) if snapshots is None else snapshots
    tables = _tables(lattice)
    progress = np.zeros(2, np.int64)  # times passed, events made
    while (end := _events(times, limit, kept, *journal, progress, *tables, *state.arrays.values())) == SPARSE:
        keep_lists(lattice, state)
    if end == STUCK:
        raise stuck(state)


def _tables(lattice: Lattice) -> tuple:
    """What the kernels need of the lattice, in the order of their arguments."""
    m = len(lattice.basis)
    start_of = [name[1] for name in lattice.class_names]
    at_orbit = {label: [c for c, origin in enumerate(start_of) if origin == label] for label in lattice.orbit}
    local = np.array([at_orbit[origin].index(c) for c, origin in enumerate(start_of)])
    cells = lattice.n_sites // m
    members = [np.flatnonzero(np.array(lattice.orbit) == origin) for origin in start_of]
    room = np.cumsum([0] + [len(sites) * cells for sites in members])
    back_class = np.where(lattice.used, lattice.jump_class[lattice.jump_target * lattice.slots + lattice.jump_back], 0)
    return (
        lattice.rates,
        np.cumsum(lattice.rates * np.diff(room) * lattice.width),
        np.cumsum([0] + [len(sites) for sites in members]),
        np.concatenate(members),
        lattice.neighbour,
        lattice.jump_target,
        lattice.jump_image,
        lattice.jump_back,
        lattice.jump_class,
        back_class,
        np.cumsum([0] + [len(at_orbit[label]) for label in lattice.orbit]),
        np.concatenate([at_orbit[label] for label in lattice.orbit]).astype(np.int64),
        lattice.first_slot,
        lattice.width,
        ((1 << lattice.width) - 1 << lattice.first_slot).astype(np.uint32),
        local,
        max(len(classes) for classes in at_orbit.values()),
        room,
    )


@inlined
def _bits(word):
    """Number of bits set in a uint32."""
    v = word - ((word >> np.uint32(1)) & np.uint32(0x55555555))
    v = (v & np.uint32(0x33333333)) + ((v >> np.uint32(2)) & np.uint32(0x33333333))
    v = (v + (v >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return np.int64(np.uint32(v * np.uint32(0x01010101)) >> np.uint32(24))


@inlined
def _enter(site, c, room, local, n_local, listed, place, length):
    n = length[c]
    listed[room[c] + n] = site
    place[site * n_local + local[c]] = n
    length[c] = n + 1


@inlined
def _leave(site, c, room, local, n_local, listed, place, length):
    n = length[c] - 1
    gap = place[site * n_local + local[c]]
    last = np.int64(listed[room[c] + n])
    listed[room[c] + gap] = last
    place[last * n_local + local[c]] = gap
    length[c] = n


@kernel
def _begin(
    rates, share, first_member, member,
    neighbour, target, image, back, of_class, back_class, class_start, class_at, first_slot, width, mask,
    local, n_local, room,
    ion, word, record, listed, place, length, possible, executed, clock, trial, turn, rng,
):  # fmt: skip
    """Set words, numbers of possible jumps, the first trials and the first event. False where no jump is possible."""
    m = len(class_start) - 1
    z = len(target) // m
    for site in range(len(ion)):
        s = site % m
        for slot in range(z):
            if target[s * z + slot] >= 0 and ion[neighbour[site * z + slot]] < 0:
                word[site] |= ONE << np.uint32(slot)
        if ion[site] >= 0:
            word[site] |= ION
            for at in range(class_start[s], class_start[s + 1]):
                c = class_at[at]
                possible[c] += _bits(word[site] & mask[c])
    total = _total(rates, possible)
    if total <= 0.0:
        return False
    clock[1] = -np.log(1.0 - uniform(rng)) / total
    for n in range(len(trial)):
        _draw_trial(n, share, first_member, member, first_slot, width, len(ion) // m, m, trial, rng)
    return True


@kernel
def _fill_lists(
    rates, share, first_member, member,
    neighbour, target, image, back, of_class, back_class, class_start, class_at, first_slot, width, mask,
    local, n_local, room,
    ion, word, record, listed, place, length, possible, executed, clock, trial, turn, rng,
):  # fmt: skip
    """Set the lists by the words."""
    for site in range(len(word)):
        s = site % (len(class_start) - 1)
        if word[site] >> TOP:
            for at in range(class_start[s], class_start[s + 1]):
                c = class_at[at]
                if word[site] & mask[c]:
                    _enter(site, c, room, local, n_local, listed, place, length)


@inlined
def _total(rates, possible):
    total = 0.0
    for c in range(len(rates)):
        total += rates[c] * possible[c]
    return total


@kernel
def _draw_trial(n, share, first_member, member, first_slot, width, cells, m, trial, rng):
    """Set one of the trials to come; its site. `share` holds the sums of the first classes' rates of all slots."""
    c = 0
    if len(width) > 1:
        drawn = uniform(rng) * share[-1]
        while c < len(width) - 1 and drawn >= share[c]:
            c += 1
    # The number's whole part, fraction and the fraction's fraction: cell, site of the orbit, slot.
    drawn = uniform(rng) * cells
    cell = np.int64(drawn)
    drawn = (drawn - cell) * (first_member[c + 1] - first_member[c])
    one = np.int64(drawn)
    site = cell * m + member[first_member[c] + one]
    trial[n, 0] = site
    trial[n, 1] = first_slot[c] + np.int64((drawn - one) * width[c])
    return site


@kernel
def _is_possible(n, trial, word):
    """Whether one of the trials to come is a possible jump as things stand: 0 or 1."""
    seen = word[trial[n, 0]]
    return (seen >> np.uint32(trial[n, 1])) & (seen >> TOP)


@kernel
def _events(
    times, limit, snapshots, who, whereto, when, progress,
    rates, share, first_member, member,
    neighbour, target, image, back, of_class, back_class, class_start, class_at, first_slot, width, mask,
    local, n_local, room,
    ion, word, record, listed, place, length, possible, executed, clock, trial, turn, rng,
):  # fmt: skip
    """Make events through the rising `times`, at most `limit`; snapshot of `record` at each. DONE, STUCK or SPARSE.

    `progress` holds how many times were passed and events made before. Where there is room for it, every event is
    written down: who, whereto, when.
    """
    m = len(class_start) - 1
    z = len(target) // m
    n_classes = len(rates)
    far = len(word) > CACHED_SITES
    most = MOST_TRIALS_FAR if far else MOST_TRIALS
    lists = len(place) > 0
    cells = len(word) // m
    total = _total(rates, possible)
    for step in range(progress[0], len(times)):
        progress[0] = step
        while clock[1] <= times[step]:
            if progress[1] == limit:
                return DONE
            if not lists and share[-1] > most * total:
                return SPARSE
            clock[0] = clock[1]

            i, slot = np.int64(0), np.int64(0)
            if lists:
                rest = uniform(rng) * total if n_classes > 1 else 0.0
                c = 0
                while c < n_classes - 1 and rest >= rates[c] * possible[c]:
                    rest -= rates[c] * possible[c]
                    c += 1
                while possible[c] == 0:  # only by rounding at the very end of the sum
                    c -= 1
                while True:
                    # Whole part: the site in the list. Fraction: the slot.
                    drawn = uniform(rng) * length[c]
                    whole = np.int64(drawn)
                    slot = first_slot[c] + np.int64((drawn - whole) * width[c])
                    i = np.int64(listed[room[c] + whole])
                    if (word[i] >> np.uint32(slot)) & ONE:
                        break
            else:
                found = False
                while not found:
                    n = turn[0]
                    i, slot = np.int64(trial[n, 0]), np.int64(trial[n, 1])
                    found = _is_possible(n, trial, word)
                    new = _draw_trial(n, share, first_member, member, first_slot, width, cells, m, trial, rng)
                    turn[0] = (n + 1) % AHEAD
                    if far:
                        prefetch(word, new)
                        later = (n + SITE_AHEAD) % AHEAD
                        if _is_possible(later, trial, word):
                            a = np.int64(trial[later, 0])
                            prefetch(ion, a)
                            prefetch(neighbour, a * z)
                            prefetch(neighbour, a * z + z - 1)
                        later = (n + TARGET_AHEAD) % AHEAD
                        if _is_possible(later, trial, word):
                            a = np.int64(trial[later, 0])
                            b = np.int64(neighbour[a * z + trial[later, 1]])
                            prefetch(record, np.int64(ion[a]) * record.shape[1])
                            prefetch(ion, b)
                            prefetch(neighbour, b * z)
                            prefetch(neighbour, b * z + z - 1)
                            for q in range(z):
                                prefetch(word, np.int64(neighbour[a * z + q]))
                        later = (n + AROUND_AHEAD) % AHEAD
                        if _is_possible(later, trial, word):
                            b = np.int64(neighbour[trial[later, 0] * z + trial[later, 1]])
                            for q in range(z):
                                prefetch(word, np.int64(neighbour[b * z + q]))
            s = i % m
            jump = s * z + slot
            j = np.int64(neighbour[i * z + slot])
            t = np.int64(target[jump])
            moving = np.int64(ion[i])
            ion[i] = -1
            ion[j] = moving
            record[moving, SITE] = t
            record[moving, X] += image[jump, 0]
            record[moving, Y] += image[jump, 1]
            record[moving, Z] += image[jump, 2]
            executed[of_class[jump]] += 1
            if len(when) > 0:
                who[progress[1]] = moving
                whereto[progress[1]] = j
                when[progress[1]] = clock[0]

            # The ion leaves i ...
            old = word[i] & ~ION
            word[i] = old
            for at in range(class_start[s], class_start[s + 1]):
                d = class_at[at]
                n = _bits(old & mask[d])
                possible[d] -= n
                if lists and n > 0:
                    _leave(i, d, room, local, n_local, listed, place, length)
            # ... which its neighbours now see vacant; those that could not jump before in that class enter its list.
            for q in range(z):
                a = s * z + q
                if target[a] >= 0:
                    k = np.int64(neighbour[i * z + q])
                    d = np.int64(back_class[a])
                    old = word[k]
                    word[k] = old | (ONE << np.uint32(back[a]))
                    possible[d] += np.int64(old >> TOP)
                    if lists and (old & (mask[d] | ION)) == ION:
                        _enter(k, d, room, local, n_local, listed, place, length)
            # The neighbours of j see it occupied; those with no jump left in that class leave its list.
            for q in range(z):
                a = t * z + q
                if target[a] >= 0:
                    k = np.int64(neighbour[j * z + q])
                    d = np.int64(back_class[a])
                    new = word[k] & ~(ONE << np.uint32(back[a]))
                    word[k] = new
                    possible[d] -= np.int64(new >> TOP)
                    if lists and (new & (mask[d] | ION)) == ION:
                        _leave(k, d, room, local, n_local, listed, place, length)
            new = word[j] | ION
            word[j] = new
            for at in range(class_start[t], class_start[t + 1]):
                d = class_at[at]
                n = _bits(new & mask[d])
                possible[d] += n
                if lists and n > 0:
                    _enter(j, d, room, local, n_local, listed, place, length)

            progress[1] += 1
            total = _total(rates, possible)
            if total <= 0.0:
                return STUCK
            clock[1] = clock[0] - np.log(1.0 - uniform(rng)) / total
        clock[0] = times[step]
        if len(snapshots) > 0:
            copy_record(record, snapshots, step)
    return DONE
