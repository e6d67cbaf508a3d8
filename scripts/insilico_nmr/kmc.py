"""Rejection-free kinetic Monte Carlo of ions that exclude each other from sites, with every ion's history.

Every event makes a jump. Its class (few distinct rates) is taken by the classes' total rates, then a jump uniformly
among the possible ones of that class (n-fold way: A. B. Bortz, M. H. Kalos, J. L. Lebowitz, J. Comput. Phys. 17, 10
(1975)). Waiting times are −ln(u)/(total rate).

What makes it fast: each site keeps one 32-bit word, a bit for each slot whose target is vacant and a bit for its own
ion. A jump flips one bit in the words of the neighbours of its two sites, and the number of possible jumps in each
class follows from those bits. Beside it there is a list for each class of the sites from which at least one jump of
the class is possible. A site of that list and one of its slots are drawn until they are a possible jump, which gives
all possible jumps the same chance and takes at most as many draws, on average, as the class has slots at a site,
however few ions or vacancies there are. Sites enter a list at its end and leave by the last one filling the gap.

Random numbers: xoshiro256++ seeded by splitmix64 (D. Blackman, S. Vigna, ACM Trans. Math. Softw. 47, 36 (2021)). Its
state is part of the simulation's `State`, so that a stored simulation goes on bit for bit.
"""

from dataclasses import dataclass, fields

import numpy as np
from numba import njit

from insilico_nmr.errors import InputError
from insilico_nmr.lattice import Lattice, equilibrium_occupation

# Columns of State.record.
SITE, X, Y, Z = range(4)

ION = np.uint32(1 << 31)
ONE = np.uint32(1)
TOP = np.uint32(31)


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
    length : (C,) int64, length of each class's list.
    possible : (C,) int64, number of jumps possible now, by directed class.
    executed : (C,) int64, number of jumps made, by directed class.
    clock : (2,) float64, time now and time of the next event, s.
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
    rng: np.ndarray


def start(lattice: Lattice, sites: np.ndarray, seed: int) -> State:
    """A simulation at time 0 with ion n on site sites[n]; sites has shape (N,). `seed` is a 64-bit number.

    Raises InputError where two ions share a site, and where no ion can jump.
    """
    if len(np.unique(sites)) != len(sites) or not 0 < len(sites) < lattice.n_sites:
        raise InputError("kinetic Monte Carlo needs at least one ion and one vacancy, and no two ions on one site")
    ion = np.full(lattice.n_sites, -1, np.int32)
    ion[sites] = np.arange(len(sites), dtype=np.int32)
    tables = _tables(lattice)
    room, locals_at_site = tables[-1], tables[-2]
    n_classes = len(lattice.rates)
    record = np.zeros((len(sites), 4), np.int32)
    record[:, SITE] = sites % len(lattice.basis)
    state = State(
        ion=ion,
        word=np.zeros(lattice.n_sites, np.uint32),
        record=record,
        listed=np.zeros(room[-1], np.int32),
        place=np.zeros(lattice.n_sites * locals_at_site, np.int32),
        length=np.zeros(n_classes, np.int64),
        possible=np.zeros(n_classes, np.int64),
        executed=np.zeros(n_classes, np.int64),
        clock=np.zeros(2),
        rng=seeded(np.uint64(seed)),
    )
    _fill_lists(*tables, state.ion, state.word, state.listed, state.place, state.length, state.possible)
    if not _draw_next(lattice.rates, state.possible, state.clock, state.rng):
        raise InputError("kinetic Monte Carlo is stuck at the start: no ion has a vacant neighbour to jump to")
    return state


def start_in_equilibrium(lattice: Lattice, n_ions: int, rng: np.random.Generator) -> tuple[np.ndarray, State]:
    """Sites (N,) of ions drawn from equilibrium, and the simulation that starts there, its seed drawn as well."""
    sites = equilibrium_occupation(lattice, n_ions, rng)
    return sites, start(lattice, sites, int(rng.integers(2**64, dtype=np.uint64)))


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
    if not _events(times, limit, kept, *journal, *_tables(lattice), lattice.rates, *state.arrays.values()):
        raise InputError(
            f"kinetic Monte Carlo is stuck after {state.events} jumps at {state.time_s:.3g} s: no ion has a vacant "
            "neighbour to jump to; the network must be connected and hold a vacancy that can be reached"
        )


def _tables(lattice: Lattice) -> tuple:
    """What the kernels need of the lattice, in the order of their arguments."""
    m = len(lattice.basis)
    start_of = [name[1] for name in lattice.class_names]
    at_orbit = {label: [c for c, origin in enumerate(start_of) if origin == label] for label in lattice.orbit}
    local = np.array([at_orbit[origin].index(c) for c, origin in enumerate(start_of)])
    cells = lattice.n_sites // m
    room = np.cumsum([0] + [lattice.orbit.count(origin) * cells for origin in start_of])
    back_class = np.where(lattice.used, lattice.jump_rate[lattice.jump_target * lattice.slots + lattice.jump_back], 0)
    return (
        lattice.neighbour,
        lattice.jump_target,
        lattice.jump_image,
        lattice.jump_back,
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


@njit(cache=True)
def seeded(seed):
    """State of xoshiro256++, (4,) uint64, from a 64-bit seed by splitmix64."""
    state = np.empty(4, np.uint64)
    x = seed
    for i in range(4):
        x += np.uint64(0x9E3779B97F4A7C15)
        y = x
        y = (y ^ (y >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        y = (y ^ (y >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state[i] = y ^ (y >> np.uint64(31))
    return state


@njit(cache=True, inline="always")
def _rotated(x, bits):
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@njit(cache=True, inline="always")
def uniform(rng):
    """Uniform in [0, 1), 53 bits, from the next output of xoshiro256++."""
    out = _rotated(rng[0] + rng[3], 23) + rng[0]
    shifted = rng[1] << np.uint64(17)
    rng[2] ^= rng[0]
    rng[3] ^= rng[1]
    rng[1] ^= rng[2]
    rng[0] ^= rng[3]
    rng[2] ^= shifted
    rng[3] = _rotated(rng[3], 45)
    return np.int64(out >> np.uint64(11)) * 2.0**-53


@njit(cache=True, inline="always")
def _bits(word):
    """Number of bits set in a uint32."""
    v = word - ((word >> np.uint32(1)) & np.uint32(0x55555555))
    v = (v & np.uint32(0x33333333)) + ((v >> np.uint32(2)) & np.uint32(0x33333333))
    v = (v + (v >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return np.int64(np.uint32(v * np.uint32(0x01010101)) >> np.uint32(24))


@njit(cache=True, inline="always")
def _enter(site, c, room, local, n_local, listed, place, length):
    n = length[c]
    listed[room[c] + n] = site
    place[site * n_local + local[c]] = n
    length[c] = n + 1


@njit(cache=True, inline="always")
def _leave(site, c, room, local, n_local, listed, place, length):
    n = length[c] - 1
    gap = place[site * n_local + local[c]]
    last = np.int64(listed[room[c] + n])
    listed[room[c] + gap] = last
    place[last * n_local + local[c]] = gap
    length[c] = n


@njit(cache=True)
def _fill_lists(
    neighbour, target, image, back, back_class, class_start, class_at, first_slot, width, mask, local, n_local, room,
    ion, word, listed, place, length, possible,
):  # fmt: skip
    """Set words, lists and numbers of possible jumps for the occupation `ion`."""
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
                n = _bits(word[site] & mask[c])
                possible[c] += n
                if n > 0:
                    _enter(site, c, room, local, n_local, listed, place, length)


@njit(cache=True, inline="always")
def _total(rates, possible):
    total = 0.0
    for c in range(len(rates)):
        total += rates[c] * possible[c]
    return total


@njit(cache=True)
def _draw_next(rates, possible, clock, rng):
    """Set the time of the next event. False where no jump is possible."""
    total = _total(rates, possible)
    if total <= 0.0:
        return False
    clock[1] = clock[0] - np.log(1.0 - uniform(rng)) / total
    return True


@njit(cache=True)
def _events(
    times, limit, snapshots, who, whereto, when,
    neighbour, target, image, back, back_class, class_start, class_at, first_slot, width, mask, local, n_local, room,
    rates, ion, word, record, listed, place, length, possible, executed, clock, rng,
):  # fmt: skip
    """Make events through the rising `times`, at most `limit`; snapshot of `record` at each. False when stuck.

    Where there is room for it, every event is written down: who, whereto, when.
    """
    m = len(class_start) - 1
    z = len(target) // m
    n_classes = len(rates)
    done = 0
    total = _total(rates, possible)
    for step in range(len(times)):
        while clock[1] <= times[step]:
            if done == limit:
                return True
            clock[0] = clock[1]

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
            executed[c] += 1
            if len(when) > 0:
                who[done] = moving
                whereto[done] = j
                when[done] = clock[0]

            # The ion leaves i ...
            old = word[i] & ~ION
            word[i] = old
            for at in range(class_start[s], class_start[s + 1]):
                d = class_at[at]
                n = _bits(old & mask[d])
                possible[d] -= n
                if n > 0:
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
                    if (old & (mask[d] | ION)) == ION:
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
                    if (new & (mask[d] | ION)) == ION:
                        _leave(k, d, room, local, n_local, listed, place, length)
            new = word[j] | ION
            word[j] = new
            for at in range(class_start[t], class_start[t + 1]):
                d = class_at[at]
                n = _bits(new & mask[d])
                possible[d] += n
                if n > 0:
                    _enter(j, d, room, local, n_local, listed, place, length)

            done += 1
            total = _total(rates, possible)
            if total <= 0.0:
                return False
            clock[1] = clock[0] - np.log(1.0 - uniform(rng)) / total
        clock[0] = times[step]
        if len(snapshots) > 0:
            snapshots[step] = record
    return True
