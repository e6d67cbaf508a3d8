"""Kinetic Monte Carlo against what is known exactly of ions that only exclude each other."""

from itertools import combinations

import numpy as np
import pytest
from insilico_nmr import kmc
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import build_lattice, equilibrium, equilibrium_occupation
from lattices import ONE_RATE, THREE_RATES, bravais, isolated_sites, three_orbits
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit


def simulation(lattice, n_ions, seed=1):
    return kmc.start(lattice, equilibrium_occupation(lattice, n_ions, np.random.default_rng(seed)), seed)


def positions(lattice, records):
    """Unwrapped Cartesian positions of records (..., 4), Å."""
    return records[..., 1:] @ lattice.cell + lattice.basis[records[..., 0]]


@pytest.mark.parametrize(
    ("kind", "supercell", "expected"),
    [
        ("honeycomb", (71, 71, 1), 1 / 3),
        ("diamond", (17, 17, 17), 1 / 2),
        ("simple cubic", (22, 22, 22), 0.65311),
        ("bcc", (22, 22, 22), 0.72719),
        ("fcc", (22, 22, 22), 0.78145),
    ],
)
def test_tracer_correlation_factor_of_a_single_vacancy(kind, supercell, expected):
    """f = ⟨R²⟩/(n a²). K. Compaan, Y. Haven, Trans. Faraday Soc. 52, 786 (1956); R. E. Howard, Phys. Rev. 144, 650."""
    lattice = build_lattice(bravais(kind), ONE_RATE, supercell)
    n = lattice.n_sites
    state = simulation(lattice, n - 1)
    windows = []
    before = positions(lattice, state.record)
    for _ in range(30):
        # Ten jumps an ion: far beyond the few jumps in which one passage of the vacancy moves it to and fro.
        kmc.run_events(lattice, state, 10 * n)
        after = positions(lattice, state.record)
        windows.append(((after - before) ** 2).sum() / (10 * n))
        before = after
    error = np.std(windows, ddof=1) / np.sqrt(len(windows))
    assert error < 0.01 * expected
    assert np.mean(windows) == pytest.approx(expected, abs=3 * error + 1.5 / n)


def test_waiting_times_are_exponential_with_the_total_rate():
    lattice = build_lattice(three_orbits(), THREE_RATES, (4, 4, 4))
    state = simulation(lattice, 90)
    scaled = []
    for _ in range(3000):
        total = lattice.rates @ state.possible
        wait = state.clock[1] - state.clock[0]
        kmc.run_events(lattice, state, 1)
        scaled.append(wait * total)
    assert stats.kstest(scaled, "expon").pvalue > 0.01
    assert np.abs(np.corrcoef(scaled[1:], scaled[:-1])[0, 1]) < 4 / np.sqrt(len(scaled))


def test_an_ion_by_itself_stays_as_long_as_the_rates_of_all_jumps_from_its_site_say():
    lattice = build_lattice(three_orbits(), THREE_RATES, (4, 4, 4))
    _, sites, times = kmc.run_journal(lattice, simulation(lattice, 1), np.inf, 20_000)
    start, _, rate = lattice.links
    leaving = np.bincount(start, rate)
    assert leaving.max() > 5 * leaving.min()
    for orbit, expected in enumerate(1 / leaving):
        stays = np.diff(times)[sites[:-1] % 3 == orbit]
        assert stays.mean() == pytest.approx(expected, rel=4 / np.sqrt(len(stays)))
        assert stats.kstest(stays, "expon", args=(0, expected)).pvalue > 0.01


@pytest.mark.parametrize("n_ions", [1, 100, 512, 900, 999])
def test_blocked_sites_slow_ions_by_the_share_of_vacant_ones(n_ions):
    lattice = build_lattice(bravais("simple cubic"), ONE_RATE, (10, 10, 10))
    expected = 6 * (1000 - n_ions) / 999
    assert equilibrium(lattice, n_ions).exit_rate == pytest.approx(expected, rel=1e-9)
    found = []
    for seed in range(8):
        state = simulation(lattice, n_ions, seed)
        kmc.run_events(lattice, state, 40_000)
        found.append(state.events / state.time_s / n_ions)
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found, ddof=1) / np.sqrt(8) + 0.001 * expected)


@pytest.mark.parametrize(("fast", "lists"), [(3.0, False), (3.0, True), (60.0, False)])
def test_choice_of_jumps_follows_their_rates(fast, lists):
    """One ion on the middle of a star: classes by their rates, and both jumps of a class alike.

    By trials, by lists of sites, and by the former until the ion is on a site that it leaves so slowly that lists pay.
    """
    sites = isolated_sites("ABBC", [(0, 1, "ab"), (0, 2, "ab"), (0, 3, "ac")])
    rates = {("ab", "A", "B"): 1.0, ("ab", "B", "A"): 1.0, ("ac", "A", "C"): fast, ("ac", "C", "A"): fast}
    lattice = build_lattice(sites, rates, (1, 1, 1))
    state = kmc.start(lattice, np.array([0], np.int32), 7)
    if lists:
        kmc.keep_lists(lattice, state)
    ends = np.zeros(4, int)
    for _ in range(4000):
        kmc.run_events(lattice, state, 1)
        ends[state.record[0, kmc.SITE]] += 1
        kmc.run_events(lattice, state, 1)
    assert ends[0] == 0
    assert (len(state.listed) > 0) == (lists or fast > 10)
    assert stats.chisquare(ends[1:], 4000 * np.array([1, 1, fast]) / (2 + fast)).pvalue > 0.01


def test_every_jump_is_made_as_often_as_its_reverse():
    lattice = build_lattice(three_orbits(), THREE_RATES, (8, 8, 4))
    state = simulation(lattice, 400)
    kmc.run_events(lattice, state, 400_000)
    made = dict(zip(lattice.class_names, state.executed, strict=True))
    for (name, start, end), count in made.items():
        other = made[name, end, start]
        assert count > 1000
        assert abs(int(count) - int(other)) <= 4 * np.sqrt(count + other)


def test_equilibrium_averages_equal_an_enumeration_of_a_small_cell():
    lattice = build_lattice(three_orbits(), THREE_RATES, (2, 2, 1))
    weight_of = np.exp(np.tile(lattice.log_weight, 4))
    m, z = len(lattice.basis), len(lattice.jump_target) // len(lattice.basis)
    for n_ions in (1, 5, 11):
        occupied = np.zeros((0, 12), bool)
        for chosen in combinations(range(12), n_ions):
            occupied = np.vstack([occupied, np.isin(np.arange(12), chosen)])
        weight = np.where(occupied, weight_of, 1.0).prod(1)
        weight /= weight.sum()
        rate = 0.0
        for jump in range(12 * z):
            primitive = jump % (m * z)
            if lattice.used[primitive]:
                free = occupied[:, jump // z] & ~occupied[:, lattice.neighbour[jump]]
                rate += lattice.rates[lattice.jump_class[primitive]] * (weight @ free)
        exact = equilibrium(lattice, n_ions)
        assert np.allclose(exact.occupation, (weight @ occupied)[:3], rtol=1e-9)
        assert exact.exit_rate == pytest.approx(rate / n_ions, rel=1e-9)


@pytest.mark.parametrize("filling", [0.2, 0.6, 0.9])
def test_occupations_become_those_of_fermi_from_a_random_start(filling):
    lattice = build_lattice(three_orbits(), THREE_RATES, (10, 10, 6))
    n_ions = round(filling * lattice.n_sites)
    energy = np.array([0.0, 1.0, 2.5])
    mu = brentq(lambda mu: expit(mu - energy).mean() - filling, -20, 20)
    fermi = expit(mu - energy)
    assert np.allclose(equilibrium(lattice, n_ions).occupation, fermi, atol=1 / lattice.n_sites)
    anywhere = np.random.default_rng(3).choice(lattice.n_sites, n_ions, replace=False).astype(np.int32)
    state = kmc.start(lattice, anywhere, 4)
    at_start = np.bincount(state.record[:, 0], minlength=3) / 600
    assert np.abs(at_start - fermi).max() > 0.05
    kmc.run_events(lattice, state, 30 * n_ions)
    times = state.time_s + np.arange(1, 2001) * n_ions / (lattice.rates @ state.possible)
    records = np.concatenate([kmc.run_snapshots(lattice, state, part) for part in np.split(times, 20)])
    seen = np.stack([(records[..., 0] == s).sum(1) / 600 for s in range(3)], -1).reshape(20, 100, 3).mean(1)
    error = seen.std(0, ddof=1) / np.sqrt(20)
    assert error.max() < 0.004
    assert np.all(np.abs(seen.mean(0) - fermi) < 4 * error + 1 / lattice.n_sites)


def test_drawn_occupations_are_in_equilibrium_and_lie_on_any_site_of_an_orbit():
    lattice = build_lattice(three_orbits(), THREE_RATES, (2, 2, 1))
    rng = np.random.default_rng(5)
    occupied = np.zeros(12)
    for _ in range(1500):
        drawn = equilibrium_occupation(lattice, 5, rng)
        assert len(np.unique(drawn)) == 5
        occupied[drawn] += 1 / 1500
    expected = np.tile(equilibrium(lattice, 5).occupation, 4)
    assert np.all(np.abs(occupied - expected) < 4 * np.sqrt(expected * (1 - expected) / 1500))


@pytest.mark.parametrize(
    ("supercell", "lists"), [((5, 4, 3), False), ((5, 4, 3), True), ((37, 31, 31), False), ((37, 31, 31), True)]
)
def test_ions_never_share_a_site_and_numbers_of_possible_jumps_and_lists_stay_right(supercell, lists):
    """In a lattice that stays in the cache and in one whose sites are called into it."""
    cells = np.prod(supercell)
    lattice = build_lattice(three_orbits(), THREE_RATES, supercell)
    assert lattice.n_sites < 1000 or lattice.n_sites > kmc.CACHED_SITES
    n_ions = 2 * cells + 10
    state = simulation(lattice, n_ions)
    if lists:
        kmc.keep_lists(lattice, state)
    start = np.cumsum([0] + [cells] * len(lattice.rates))
    used, rate = (np.tile(table.reshape(3, -1), (cells, 1)) for table in (lattice.used, lattice.jump_class))
    for _ in range(20 if cells < 100 else 3):
        kmc.run_events(lattice, state, 500)
        site_of = np.nonzero(state.ion >= 0)[0]
        ions = state.ion[site_of]
        assert np.array_equal(np.sort(ions), np.arange(n_ions))
        assert np.array_equal(state.record[ions, kmc.SITE], site_of % 3)
        free = (state.ion[lattice.neighbour] < 0).reshape(-1, lattice.slots) & used
        possible = free & (state.ion >= 0)[:, None]
        for c in range(len(lattice.rates)):
            of_class = possible & (rate == c)
            assert state.possible[c] == of_class.sum()
            listed = state.listed[start[c] : start[c] + state.length[c]]
            assert np.array_equal(np.sort(listed), np.nonzero(of_class.any(1) & lists)[0])


@pytest.mark.parametrize("lists", [False, True])
def test_a_run_cut_in_two_and_copied_goes_on_bit_for_bit(lists):
    lattice = build_lattice(three_orbits(), THREE_RATES, (4, 4, 4))
    whole, cut = simulation(lattice, 140), simulation(lattice, 140)
    if lists:
        kmc.keep_lists(lattice, whole)
        kmc.keep_lists(lattice, cut)
    kmc.run_events(lattice, whole, 5000)
    kmc.run_events(lattice, cut, 1234)
    again = kmc.State(**{name: array.copy() for name, array in cut.arrays.items()})
    kmc.run_events(lattice, again, 5000 - 1234)
    assert (len(whole.listed) > 0) == lists
    for name, array in whole.arrays.items():
        assert np.array_equal(array, again.arrays[name]), name
    times = whole.time_s + np.array([0.1, 0.2, 0.7])
    together = kmc.run_snapshots(lattice, whole, times)
    apart = np.concatenate([kmc.run_snapshots(lattice, again, times[:2]), kmc.run_snapshots(lattice, again, times[2:])])
    assert np.array_equal(together, apart)


def test_ions_that_cannot_move_are_an_error():
    lattice = build_lattice(isolated_sites("AAAA", [(0, 1, "nn"), (2, 3, "nn")]), ONE_RATE, (1, 1, 1))
    with pytest.raises(InputError, match="stuck at the start: no ion has a vacant neighbour"):
        kmc.start(lattice, np.array([0, 1], np.int32), 1)
    with pytest.raises(InputError, match="no two ions on one site"):
        kmc.start(lattice, np.array([1, 1], np.int32), 1)
