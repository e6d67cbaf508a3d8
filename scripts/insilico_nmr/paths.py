"""Signals along the paths of ions: first-order phases from field gradients integrated jump by jump.

The transition m ↔ m−1 of an ion has gathered, up to time t and with the field along n, the phase
2π(m − ½)·u·nᵀW(t)n, where W(t) = ∫₀ᵗ V(s) ds and u is `powder.frequency_unit`. One record of W at a few times thus
answers for every orientation, spin and transition, however often the ion jumped in between, and is exact for its path:

    free-induction decay    phase(t)
    quadrupole echo         phase(2τ + t) − 2 phase(τ), ideally refocused, which a pulse does to spin 1 alone (`decay`;
                            J. H. Davis et al., Chem. Phys. Lett. 42, 390 (1976))
    spin-alignment echo     sin of the phase gathered during each of the two evolution times, of spin 1 and 3/2

V is that of the ion's site, or one that depends on which neighbouring sites are filled (`surroundings`), which a
propagator of sites does not carry. Orientations: every ion has a grid of its own, turned at random, so that lines are
smooth with few directions an ion, and the scatter over replicas is the error.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.spatial.transform import Rotation

from insilico_nmr.echo import amplitude
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import Lattice, sites_reached, widths_of
from insilico_nmr.moving import Mover, State, lattice_of, neighbours_filled, run_journal
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import frequency_unit, lebedev, outermost_unit, transitions
from insilico_nmr.surroundings import Added
from insilico_nmr.tensors import COLUMNS, ROWS

JOURNAL = 200_000  # jumps that are held at once
LOGGED = 20_000  # likewise, where all that they change is
DEGREE = 21  # of Lebedev's grid, 85 directions an ion


@dataclass(frozen=True)
class Field:
    """Field gradients on a lattice of S sites, m in the primitive cell; six elements xx yy zz xy xz yz, a.u.

    own : (m, 6), of an ion on a site without neighbours.
    neighbour : (S, z) int32, sites whose occupation matters to each site, −1 where there is none.
    back : (m, z) int32, place of the site among the neighbours of its neighbour.
    of_neighbour : (m, z, 6), what a filled neighbour adds.
    """

    own: np.ndarray
    neighbour: np.ndarray
    back: np.ndarray
    of_neighbour: np.ndarray


def field_of_sites(lattice: Lattice, tensors: np.ndarray) -> Field:
    """Every site of the primitive cell has one tensor, (m, 3, 3), whatever its surroundings."""
    m = len(lattice.basis)
    empty = np.empty((lattice.n_sites, 0), np.int32)
    return Field(tensors[:, ROWS, COLUMNS], empty, np.empty((m, 0), np.int32), np.empty((m, 0, 6)))


def field_of_surroundings(mover: Mover, n_ions: int, tensors: np.ndarray, added: Added) -> Field:
    """Tensors (m, 3, 3) on average, with what each filled neighbour adds to that of a site, a.u.

    In equilibrium with `n_ions` ions the mean tensor of every site is that of `tensors`. Raises InputError where a
    neighbour has no such neighbour back, and where the supercell is so small that one site would count twice.
    """
    site, image, lattice = added.site, added.image, lattice_of(mover)
    m, z = site.shape
    cell_of = {(a, b, *map(int, image[a, q])): q for a in range(m) for q, b in enumerate(site[a]) if b >= 0}
    back = np.full((m, z), -1, np.int32)
    for (a, b, *cell), q in cell_of.items():
        try:
            back[a, q] = cell_of[(b, a, *(-c for c in cell))]
        except KeyError:
            raise InputError(f"surroundings: site {b} is a neighbour of {a}, which is none of its own") from None
    _check_width(lattice, added)
    of_neighbour = np.where((site >= 0)[..., None, None], added.tensor, 0.0)
    filled = neighbours_filled(mover, n_ions, site, image)
    own = tensors - np.einsum("aq,aqij->aij", filled, of_neighbour)
    reached = np.where(site >= 0, sites_reached(lattice.supercell, site, image), -1)
    neighbour = np.ascontiguousarray(reached.reshape(lattice.n_sites, z), dtype=np.int32)
    return Field(own[:, ROWS, COLUMNS], neighbour, back, of_neighbour[..., ROWS, COLUMNS])


def _check_width(lattice: Lattice, added: Added) -> None:
    """Raise InputError where the supercell is so small that one site would count twice among the neighbours."""
    places = (lattice.basis[added.site] + added.image @ lattice.cell - lattice.basis[:, None])[added.site >= 0]
    reach_A = float(np.linalg.norm(places, axis=1).max(initial=0.0))
    narrowest = float(widths_of(lattice.cell * np.array(lattice.supercell)[:, None]).min())
    if narrowest < 2 * reach_A * (1 - 1e-9):
        raise InputError(
            f"supercell {lattice.supercell} is {narrowest:.1f} Å wide; neighbours up to {reach_A:.1f} Å need twice that"
        )


def integrated_tensors(
    mover: Mover, fields: list[tuple[Field, int]], sites: np.ndarray, state: State, times_s: np.ndarray
) -> list[np.ndarray]:
    """W (K, n, 6) in each field, of its first n ions, at rising times (K,), s, from the simulation's start on; a.u.·s.

    All fields are along the same paths. `fields`: each with the number of ions to watch. sites : (N,) where the ions of
    `state`, which has not run yet, are; it is run through the times. Raises InputError where no jump is possible any
    more.
    """
    followed = [_Followed(lattice_of(mover), field, sites, watched, len(times_s)) for field, watched in fields]
    done = 0
    while done < len(times_s):
        journal = run_journal(mover, state, times_s[-1], JOURNAL)
        ended = len(journal[0]) < JOURNAL
        (done,) = {one.follow(journal, times_s, done, ended) for one in followed}
    return [one.records for one in followed]


class _Followed:
    """Ions in one field: where they are, their momentary tensors, what these have been integrated to, and records."""

    def __init__(self, lattice: Lattice, field: Field, sites: np.ndarray, watched: int, n_times: int):
        place, occupant, self.now = _at_start(lattice, field, sites)
        self.ions = place, occupant, *_tables(field)
        self.integral, self.since = np.zeros((len(sites), 6)), np.zeros(len(sites))
        self.records = np.empty((n_times, watched, 6))

    def follow(self, journal: tuple, times_s: np.ndarray, done: int, ended: bool) -> int:
        """Follow the journal's jumps, the last ones if `ended`; returns how many records are filled."""
        running = self.now, self.since, self.integral, self.records
        done = _follow(*journal, times_s, done, *self.ions, *running)
        return _record(np.inf, times_s, done, *running) if ended else done


def _at_start(lattice: Lattice, field: Field, sites: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sites of the ions (N,), ions of the sites (S,), −1 where there is none, and momentary tensors (N, 6)."""
    place, now = np.array(sites, np.int64), np.zeros((len(sites), 6))
    occupant = np.full(lattice.n_sites, -1, np.int32)
    occupant[place] = np.arange(len(place), dtype=np.int32)
    for ion in range(len(place)):
        _tensor(ion, place, occupant, *_tables(field), now)
    return place, occupant, now


def _tables(field: Field) -> tuple:
    """What the kernels need of a field, in the order of their arguments."""
    return field.own, field.neighbour, field.back, field.of_neighbour


@njit(cache=True)
def _tensor(ion, place, occupant, own, neighbour, back, of_neighbour, now):
    """Set the momentary tensor of one ion."""
    site = place[ion]
    s = site % len(own)
    for element in range(6):
        now[ion, element] = own[s, element]
    for q in range(neighbour.shape[1]):
        if neighbour[site, q] >= 0 and occupant[neighbour[site, q]] >= 0:
            for element in range(6):
                now[ion, element] += of_neighbour[s, q, element]


@njit(cache=True)
def _beside(ion, target, place, occupant, neighbour, found):
    """Ions whose tensor a jump of `ion` changes, itself first; those beside both sites twice. Returns how many."""
    found[0] = ion
    count = 1
    for site in (place[ion], target):
        for q in range(neighbour.shape[1]):
            if neighbour[site, q] >= 0:
                other = occupant[neighbour[site, q]]
                if other >= 0 and other != ion:
                    found[count] = other
                    count += 1
    return count


@njit(cache=True)
def _jump(ion, target, place, occupant, own, neighbour, back, of_neighbour, now):
    """Move an ion, and change its momentary tensor and those of the ions beside."""
    m = len(own)
    occupant[place[ion]] = -1
    for left in (True, False):
        here = place[ion] if left else target
        s = here % m
        for q in range(neighbour.shape[1]):
            there = neighbour[here, q]
            if there < 0 or occupant[there] < 0:
                continue
            for element in range(6):
                change = of_neighbour[there % m, back[s, q], element]
                now[occupant[there], element] += -change if left else change
    occupant[target] = ion
    place[ion] = target
    _tensor(ion, place, occupant, own, neighbour, back, of_neighbour, now)


@njit(cache=True)
def _settle(ion, time, now, since, integral):
    """Integrate one ion's tensor up to a time."""
    passed = time - since[ion]
    for element in range(6):
        integral[ion, element] += now[ion, element] * passed
    since[ion] = time


@njit(cache=True)
def _record(until, times, done, now, since, integral, records):
    """Fill the records of the times before `until`; returns how many are filled."""
    while done < len(times) and times[done] < until:
        for ion in range(records.shape[1]):
            for element in range(6):
                passed = times[done] - since[ion]
                records[done, ion, element] = integral[ion, element] + now[ion, element] * passed
        done += 1
    return done


@njit(cache=True)
def _follow(
    ions, targets, moments, times, done, place, occupant, own, neighbour, back, of_neighbour, now, since, integral,
    records,
):  # fmt: skip
    """Follow the journal's jumps; returns how many records are filled."""
    changed = np.empty(1 + 2 * neighbour.shape[1], np.int64)
    for event in range(len(ions)):
        moment, ion, target = moments[event], ions[event], np.int64(targets[event])
        if done < len(times) and times[done] < moment:
            done = _record(moment, times, done, now, since, integral, records)
        for n in range(_beside(ion, target, place, occupant, neighbour, changed)):
            _settle(changed[n], moment, now, since, integral)
        _jump(ion, target, place, occupant, own, neighbour, back, of_neighbour, now)
    return done


@dataclass(frozen=True)
class Changes:
    """Momentary tensors of the first N ions of a run: each ion's first and every later one, ions one after the other.

    begin : (N + 1,) where each ion's rows begin. time_s (n,), from when on, not falling; site (n,), number in the
    primitive cell; tensor (n, 6) a.u. end_s : the time that all have been followed to.
    """

    begin: np.ndarray
    time_s: np.ndarray
    site: np.ndarray
    tensor: np.ndarray
    end_s: float


def as_tensors(elements: np.ndarray) -> np.ndarray:
    """Tensors (..., 3, 3) of their six elements (..., 6)."""
    found = np.empty((*elements.shape[:-1], 3, 3))
    found[..., ROWS, COLUMNS] = elements
    found[..., COLUMNS, ROWS] = elements
    return found


def changes(mover: Mover, field: Field, sites: np.ndarray, state: State, until_s: float, watched: int) -> Changes:
    """Every change of the tensors of the first `watched` ions; arguments as of `integrated_tensors`."""
    place, occupant, now = _at_start(lattice_of(mover), field, sites)
    m, z = field.of_neighbour.shape[:2]
    room = LOGGED * (1 + 2 * z)
    buffer = np.empty(room, np.int64), np.empty(room), np.empty(room, np.int64), np.empty((room, 6))
    parts = [[np.arange(watched), np.zeros(watched), place[:watched] % m, now[:watched].copy()]]
    ended = False
    while not ended:
        journal = run_journal(mover, state, until_s, LOGGED)
        count = _log(*journal, place, occupant, *_tables(field), now, watched, *buffer)
        parts.append([column[:count].copy() for column in buffer])
        ended = len(journal[0]) < LOGGED
    ion, time, site, tensor = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(ion, kind="stable")
    begin = np.searchsorted(ion[order], np.arange(watched + 1))
    return Changes(begin, time[order], site[order], tensor[order], until_s)


@njit(cache=True)
def _log(
    ions, targets, moments, place, occupant, own, neighbour, back, of_neighbour, now, watched, ion_of, time_of, site_of,
    tensor_of,
):  # fmt: skip
    """Follow the journal's jumps and note what becomes of the first `watched` ions; returns how many notes."""
    changed = np.empty(1 + 2 * neighbour.shape[1], np.int64)
    count = 0
    for event in range(len(ions)):
        ion, target = ions[event], np.int64(targets[event])
        n_changed = _beside(ion, target, place, occupant, neighbour, changed)
        _jump(ion, target, place, occupant, own, neighbour, back, of_neighbour, now)
        for n in range(n_changed):
            other = changed[n]
            if other < watched:
                ion_of[count], time_of[count], site_of[count] = other, moments[event], place[other] % len(own)
                tensor_of[count] = now[other]
                count += 1
    return count


@dataclass(frozen=True)
class Orientations:
    """Field directions of every ion, as the six products of nᵀVn (N, n, 6), and their weights (n,)."""

    products: np.ndarray
    weights: np.ndarray

    def of_first(self, ions: int) -> "Orientations":
        """Those of the first ions."""
        return Orientations(self.products[:ions], self.weights)


def orientations(n_ions: int, rng: np.random.Generator) -> Orientations:
    """Lebedev's grid, turned at random for every ion."""
    directions, weights = lebedev(DEGREE)
    turned = np.einsum("nij,dj->ndi", Rotation.random(n_ions, rng).as_matrix(), directions)
    products = turned[..., ROWS] * turned[..., COLUMNS]
    products[..., 3:] *= 2
    return Orientations(products, weights)


@njit(cache=True)
def _mean_cosine(integral, products, weights, factor, out):
    count, ions, directions = integral.shape[0], integral.shape[1], products.shape[1]
    for k in range(count):
        total = 0.0
        for ion in range(ions):
            for d in range(directions):
                phase = 0.0
                for element in range(6):
                    phase += integral[k, ion, element] * products[ion, d, element]
                total += weights[d] * np.cos(factor * phase)
        out[k] = total / ions


@njit(cache=True)
def _mean_sines(first, second, products, weights, factor, out):
    count, ions, directions = second.shape[0], first.shape[0], products.shape[1]
    for k in range(count):
        total = 0.0
        for ion in range(ions):
            for d in range(directions):
                before, after = 0.0, 0.0
                for element in range(6):
                    before += first[ion, element] * products[ion, d, element]
                    after += second[k, ion, element] * products[ion, d, element]
                total += weights[d] * np.sin(factor * before) * np.sin(factor * after)
        out[k] = total / ions


def decay(integral: np.ndarray, turned: Orientations, nucleus: Nucleus) -> np.ndarray:
    """Signal of the transitions that field gradients move (K,), of integrated tensors (K, N, 6) in a.u.·s.

    Real; without a phase it is their part of the whole intensity, 0.6 for spin 3/2 and 1 for spin 1. With W(t) the
    free-induction decay. With W(2τ + t) − 2W(τ) the quadrupole echo, ideally refocused: at τ every coherence gets the
    opposite phase. The second pulse of 90°_x − τ − 90°_y does that to spin 1. Of larger spins it does so to a part of
    each line, which decays as here, but lines have other heights: 3/4 of the satellites and 1/4 of the central line are
    left of spin 3/2; 5/16, 1/8 and 1/4 of outer and inner satellites and the central line of spin 5/2. The rest is in
    coherences that are not back in phase at 2τ.
    """
    multipliers, intensities = transitions(nucleus.spin)
    signal, part = np.zeros(len(integral)), np.empty(len(integral))
    for multiplier, intensity in zip(multipliers, intensities, strict=True):
        if multiplier > 0:  # its mirror image is as strong, so the sum is real
            factor = 2 * np.pi * multiplier * frequency_unit(nucleus)
            _mean_cosine(integral, turned.products, turned.weights, factor, part)
            signal += 2 * intensity * part
    return signal


def alignment_echo(first: np.ndarray, second: np.ndarray, turned: Orientations, nucleus: Nucleus) -> np.ndarray:
    """S₂ (K,) of spin 1 or 3/2 from tensors integrated over the two evolution times, (N, 6) and (K, N, 6), a.u.·s.

    Raises InputError for another spin.
    """
    found = np.empty(len(second))
    _mean_sines(first, second, turned.products, turned.weights, 2 * np.pi * outermost_unit(nucleus), found)
    return amplitude(nucleus) * found
