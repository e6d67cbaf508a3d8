"""Kinetic Monte Carlo of interacting ions against enumerated small cells and the engine without interactions."""

from itertools import permutations, product

import numpy as np
import pytest
from insilico_nmr import gas_kmc, kmc, lattice_gas
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import build_lattice, equilibrium, equilibrium_occupation, sites_reached
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from lattices import ONE_RATE, THREE_RATES, bravais, isolated_sites, three_orbits
from scipy import stats

KT_EV = BOLTZMANN_EV_PER_K * 300


def nearest(sites: dict, energy) -> list[dict]:
    """An interaction of this energy, in kT at 300 K, along every jump."""
    energies = {name: energy for name in {jump["class"] for jump in sites["jumps"]}} if np.isscalar(energy) else energy
    return [
        {name: jump[name] for name in ("from", "to", "image")}
        | {"energy_eV": (KT_EV * np.asarray(energies[jump["class"]])).tolist()}
        for jump in sites["jumps"]
    ]


def configurations(n_sites: int, numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All ways to place numbers[q] ions of each species q; −1 is a vacancy."""
    filled = [q for q, number in enumerate(numbers) for _ in range(number)]
    return sorted(set(permutations([*filled, *[-1] * (n_sites - len(filled))])))


def energy_kT(lattice, pairs, placed) -> float:
    """Of an occupation, in kT: site energies, and each pair, listed in both directions, once."""
    m, shape = len(lattice.basis), lattice.supercell
    corners = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    number = {
        (site, tuple(cell)): int(sites_reached(shape, np.full((m, 1), site), np.full((m, 1, 3), cell))[0, 0, 0])
        for cell in corners.tolist()
        for site in range(m)
    }
    total = -sum(lattice.log_weight[site % m] for site, q in enumerate(placed) if q >= 0)
    for pair in pairs:
        energy = np.asarray(pair["energy_eV"]) / KT_EV
        for cell in corners:
            q = placed[number[pair["from"], tuple(cell.tolist())]]
            p = placed[number[pair["to"], tuple(((cell + pair["image"]) % shape).tolist())]]
            if q >= 0 and p >= 0:
                total += 0.5 * (energy if energy.ndim == 0 else energy[q, p])
    return total


def begin(gas, sites, seed, species=None, by="trials"):
    """A simulation that draws its jumps by trials, as it does by itself until they are too many, or by bins."""
    state = gas_kmc.start(gas, sites, seed, species)
    if by == "bins":
        gas_kmc.keep_bins(gas, state)
    return state


def total_rate(gas, state) -> float:
    """Of all jumps that are possible, 1/s."""
    return gas_kmc.total_rates(gas, state).sum()


def assert_bins_hold(state, rates) -> None:
    """Every ion that can jump is in the bin of its rate, at the place it knows of, and in no other."""
    parts = len(state.spare) - 1
    held = {}
    for b, size in enumerate(state.size):
        for at in range(size):
            part = state.part[b * parts + at // gas_kmc.PART]
            held[int(state.member[part * gas_kmc.PART + at % gas_kmc.PART])] = b, at
    moving = state.where[rates > 0]
    assert sorted(held) == sorted(moving.tolist())
    exponents = np.frexp(rates[rates > 0])[1]
    for site, wanted in zip(moving.tolist(), state.scale[0] - exponents, strict=True):
        assert held[site] == (min(wanted, gas_kmc.BINS - 1), state.place[site])
        assert state.rung[site] == held[site][0]
    used = sum(-(-size // gas_kmc.PART) for size in state.size)
    assert used + state.spare[-1] == parts


def long_run(gas, numbers, events, seed=1, by="trials"):
    """Share of time that each occupation (species by site) has, and the state at the end."""
    lattice = gas.lattice
    species = np.repeat(np.arange(len(numbers)), numbers)
    sites = np.random.default_rng(seed).permutation(lattice.n_sites)[: len(species)].astype(np.int32)
    state = begin(gas, sites, seed, species, by)
    share = {}
    for _ in range(events):
        placed = tuple(np.where(state.ion < 0, -1, state.species[state.ion]).tolist())
        share[placed] = share.get(placed, 0.0) + state.clock[1] - state.clock[0]
        gas_kmc.run_events(gas, state, 1)
    total = sum(share.values())
    return {placed: time / total for placed, time in share.items()}, state


def along_x(sites: dict) -> dict:
    """Without the jumps along other axes, of which a ring has one cell only."""
    return {**sites, "jumps": [jump for jump in sites["jumps"] if not any(jump["image"][1:])]}


RING, CHAIN = along_x(bravais("simple cubic")), along_x(three_orbits())
CHAIN_RATES = {key: rate for key, rate in THREE_RATES.items() if key[0] != "y"}
CASES = {
    "one orbit": (RING, ONE_RATE, (4, 1, 1), {"nn": 1.2}, 2, np.inf),
    "three orbits": (CHAIN, CHAIN_RATES, (3, 1, 1), {"ab": 0.8, "bc": -0.7, "ac": 1.5}, 4, np.inf),
    "with a ceiling": (CHAIN, CHAIN_RATES, (2, 1, 1), {"ab": 3, "bc": -2, "ac": 2}, 3, 25.0),
}


BOTH_WAYS = pytest.mark.parametrize("by", ["trials", "bins"])


@BOTH_WAYS
@pytest.mark.parametrize("kind", CASES)
def test_occupations_are_those_of_boltzmann(kind, by):
    sites, rates, supercell, energies, n_ions, ceiling = CASES[kind]
    lattice, pairs = build_lattice(sites, rates, supercell), nearest(sites, energies)
    gas = lattice_gas.build_gas(lattice, pairs, 300.0, ceiling)
    weights = {
        placed: np.exp(-energy_kT(lattice, pairs, placed)) for placed in configurations(lattice.n_sites, (n_ions,))
    }
    assert np.ptp(list(weights.values())) > 0.5 * max(weights.values())
    runs = [long_run(gas, (n_ions,), 6000, seed, by)[0] for seed in range(16)]
    for placed, weight in weights.items():
        found = [run.get(placed, 0.0) for run in runs]
        error = np.std(found, ddof=1) / 4
        assert np.mean(found) == pytest.approx(weight / sum(weights.values()), abs=6 * error + 1e-4)


def test_rates_among_mean_occupancies_are_those_where_every_site_holds_its_mean():
    """With c = 1 on some sites and 0 on the others, the arrangement that holds just these is the mean itself."""
    lattice, pairs = build_lattice(CHAIN, CHAIN_RATES, (4, 1, 1)), nearest(CHAIN, {"ab": 0.8, "bc": -0.7, "ac": 1.5})
    mean = np.array([float(orbit != lattice.orbit[0]) for orbit in lattice.orbit])
    gas = lattice_gas.build_gas(lattice, pairs, 300.0, occupancy=mean)
    bare = lattice_gas.build_gas(lattice, pairs, 300.0)
    filled = np.tile(mean, lattice.n_sites // len(mean)) > 0
    state = gas_kmc.start(gas, np.flatnonzero(filled).astype(np.int32), 1)
    kT = BOLTZMANN_EV_PER_K * 300
    met = 0
    for jump in np.flatnonzero(lattice.used):
        site, end = jump // lattice.slots, lattice.neighbour[jump]
        if filled[site] and not filled[end]:
            # The ion that jumps is no neighbour of its target, where its mean is one.
            own = sum(
                pair["energy_eV"]
                for pair in pairs
                if (pair["from"], pair["to"]) == (site, end % len(mean))
                and list(lattice.jump_image[jump]) == pair["image"]
            )
            rate = gas.half[jump, 0] * state.field[end, 0] / -state.field[site, 0]
            assert rate == pytest.approx(lattice.rates[lattice.jump_class[jump]] * np.exp(own / (2 * kT)))
            met += 1
    assert met
    assert not np.allclose(gas.half, bare.half)
    with pytest.raises(InputError, match="of one species"):
        lattice_gas.build_gas(
            lattice, pairs, 300.0, rates_per_s=np.repeat(lattice.rates[:, None], 2, 1), occupancy=mean
        )


@BOTH_WAYS
def test_two_species_follow_boltzmann_and_their_own_rates(by):
    lattice, pairs = build_lattice(RING, ONE_RATE, (5, 1, 1)), nearest(RING, {"nn": [[1.0, -0.5], [-0.5, 0.3]]})
    gas = lattice_gas.build_gas(lattice, pairs, 300.0, rates_per_s=np.array([[1.0, 7.0]]))
    # On a ring ions keep their order; two of one species and one of the other have only one.
    weights = {placed: np.exp(-energy_kT(lattice, pairs, placed)) for placed in configurations(5, (2, 1))}
    total = sum(weights.values())
    runs = [long_run(gas, (2, 1), 6000, seed, by) for seed in range(16)]
    for placed, weight in weights.items():
        found = [run.get(placed, 0.0) for run, _ in runs]
        assert np.mean(found) == pytest.approx(weight / total, abs=6 * np.std(found, ddof=1) / 4 + 1e-4)
    exits = np.zeros(2)  # jumps a second of each species, by the definition of the rates
    for placed, weight in weights.items():
        for jump, end in enumerate(lattice.neighbour):
            site = jump // 2
            if placed[site] >= 0 and placed[end] < 0:
                after = list(placed)
                after[end], after[site] = placed[site], -1
                change = energy_kT(lattice, pairs, after) - energy_kT(lattice, pairs, placed)
                exits[placed[site]] += weight / total * (1, 7)[placed[site]] * np.exp(-change / 2)
    found = np.array([state.executed[0] / state.time_s for _, state in runs])
    error = found.std(axis=0, ddof=1) / 4
    assert np.all(np.abs(found.mean(axis=0) - exits) < 4 * error)


def test_simulations_start_from_occupations_as_common_as_they_last():
    """Not as common as they are reached: those with ions on C are left 30 times sooner than others."""
    lattice = build_lattice(three_orbits(), THREE_RATES, (2, 2, 1))
    gas, rng = lattice_gas.build_gas(lattice, [], 300.0), np.random.default_rng(5)
    on_orbits = np.zeros((2000, 3))
    for row in on_orbits:
        filled = gas_kmc.start_in_equilibrium(gas, (4,), rng).where
        row[:] = np.bincount(filled % 3, minlength=3) / 4
    error = on_orbits.std(axis=0, ddof=1) / np.sqrt(len(on_orbits))
    exact = equilibrium(lattice, 4).occupation
    assert exact[2] < 0.1
    np.testing.assert_array_less(np.abs(on_orbits.mean(axis=0) - exact), 4 * error)


def test_without_interactions_it_is_the_gas_of_exclusion():
    lattice = build_lattice(three_orbits(), THREE_RATES, (8, 8, 4))
    gas, n_ions = lattice_gas.build_gas(lattice, [], 300.0), 300
    assert (gas.partner == -1).all()
    exact, found = equilibrium(lattice, n_ions), []
    for seed in range(6):
        sites = equilibrium_occupation(lattice, n_ions, np.random.default_rng(seed))
        state = gas_kmc.start(gas, sites, seed)
        gas_kmc.run_events(gas, state, 30_000)
        found.append(state.events / state.time_s / n_ions)
    assert np.mean(found) == pytest.approx(exact.exit_rate, abs=4 * np.std(found, ddof=1) / np.sqrt(6))
    one, other = kmc.start(lattice, sites, 1), gas_kmc.start(gas, sites, 1)
    assert total_rate(gas, other) == pytest.approx(lattice.rates @ one.possible, rel=1e-12)


@pytest.mark.parametrize("ceiling", [np.inf, 80.0])
def test_the_largest_rates_are_those_of_the_best_occupation(ceiling):
    lattice = build_lattice(CHAIN, CHAIN_RATES, (2, 1, 1))
    energies = {"ab": [[0.8, -1.2], [-1.2, 0.0]], "bc": [[-0.7, 0.3], [0.3, 2.0]], "ac": [[1.5, 0.0], [0.0, -0.4]]}
    pairs = nearest(CHAIN, energies)
    own = np.stack([lattice.rates, 3 * lattice.rates], axis=1)
    gas = lattice_gas.build_gas(lattice, pairs, 300.0, ceiling, own)
    names = lattice.class_names
    back = [names.index((name, end, start)) for name, start, end in names]
    largest = np.zeros((3, lattice.slots, 2))
    for placed in product((-1, 0, 1), repeat=6):
        before = energy_kT(lattice, pairs, placed)
        for jump in np.flatnonzero(lattice.used):
            site, end = jump // lattice.slots, lattice.neighbour[jump]
            q, c = placed[site], lattice.jump_class[jump]
            if q < 0 or placed[end] >= 0:
                continue
            after = list(placed)
            after[end], after[site] = q, -1
            sites_kT = lattice.log_weight[site] - lattice.log_weight[end % 3]
            x = np.exp(-(energy_kT(lattice, pairs, after) - before - sites_kT) / 2)
            rate = min(own[c, q] * x, ceiling, min(ceiling, 1e300) * own[c, q] / own[back[c], q] * x**2)
            at = site, jump % lattice.slots, q
            largest[at] = max(largest[at], rate)
    np.testing.assert_allclose(gas.most, largest.cumsum(axis=1).swapaxes(1, 2), rtol=1e-9)


def test_sums_and_fields_stay_those_of_the_occupation():
    sites = bravais("fcc")
    lattice = build_lattice(sites, ONE_RATE, (6, 5, 7))
    gas = lattice_gas.build_gas(lattice, nearest(sites, 2.0), 300.0, 50.0)
    ions = np.random.default_rng(2).permutation(lattice.n_sites)[:90].astype(np.int32)
    state = begin(gas, ions, 3, by="bins")
    gas_kmc.run_events(gas, state, 200_000)
    at = {int(ion): site for site, ion in enumerate(state.ion) if ion >= 0}
    assert state.where.tolist() == [at[ion] for ion in range(90)]
    fresh = begin(gas, state.where, 3, by="bins")
    np.testing.assert_allclose(state.field, fresh.field, rtol=1e-10)
    rates = gas_kmc.total_rates(gas, state)
    np.testing.assert_allclose(rates, gas_kmc.total_rates(gas, fresh), rtol=1e-10)
    assert_bins_hold(state, rates)
    # Jumps followed one by one lead to where the ion is.
    came_from = dict(enumerate(ions.tolist()))
    first_cell = {int(sites_reached(lattice.supercell, np.zeros((1, 1), int), cell[None, None])[0, 0, 0]): cell
                  for cell in np.stack(np.unravel_index(range(210), lattice.supercell), axis=-1)}  # fmt: skip
    for ion, site in at.items():
        cell = first_cell[came_from[ion]] + state.record[ion, 1:]
        assert sites_reached(lattice.supercell, np.zeros((1, 1), int), cell[None, None])[0, 0, 0] == site


def test_bins_are_made_anew_where_an_ion_is_faster_than_all_before():
    sites = bravais("simple cubic")
    lattice = build_lattice(sites, ONE_RATE, (6, 6, 6))
    gas = lattice_gas.build_gas(lattice, nearest(sites, 4.0), 300.0)
    corners = np.array([*product((0, 2, 4), repeat=3)])
    apart = np.array([sites_reached((6, 6, 6), np.zeros((1, 1), int), at[None, None])[0, 0, 0] for at in corners])
    state = begin(gas, apart, 7, by="bins")
    fastest = gas_kmc.total_rates(gas, state).max()
    gas_kmc.run_events(gas, state, 2000)
    rates = gas_kmc.total_rates(gas, state)
    assert 2.0 ** state.scale[gas_kmc.TOP] > 2 * fastest
    assert_bins_hold(state, rates)


@BOTH_WAYS
def test_waiting_times_are_exponential(by):
    sites = bravais("bcc")
    lattice = build_lattice(sites, ONE_RATE, (4, 4, 4))
    gas = lattice_gas.build_gas(lattice, nearest(sites, -0.6), 300.0)
    state = begin(gas, np.arange(30, dtype=np.int32), 4, by=by)
    scaled = []
    for _ in range(3000):
        scaled.append((state.clock[1] - state.clock[0]) * total_rate(gas, state))
        gas_kmc.run_events(gas, state, 1)
    assert stats.kstest(scaled, "expon").pvalue > 0.01


@pytest.mark.parametrize(("energy", "by_itself"), [(0.5, "trials"), (-1.2, "bins")])
def test_a_run_in_pieces_is_the_same_run(energy, by_itself):
    sites = bravais("bcc")
    lattice = build_lattice(sites, ONE_RATE, (4, 4, 4))
    gas = lattice_gas.build_gas(lattice, nearest(sites, energy), 300.0)
    times = np.linspace(0.1, 20, 40) * (1 if by_itself == "trials" else 10)
    whole = gas_kmc.start(gas, np.arange(40, dtype=np.int32), 5)
    records = gas_kmc.run_snapshots(gas, whole, times)
    piece = gas_kmc.start(gas, np.arange(40, dtype=np.int32), 5)
    assert not len(piece.rung)
    first = gas_kmc.run_snapshots(gas, piece, times[:3])
    piece = gas_kmc.GasState(**{name: array.copy() for name, array in piece.arrays.items()})
    second = gas_kmc.run_snapshots(gas, piece, times[3:])
    assert len(piece.rung) > 0 if by_itself == "bins" else not len(piece.rung)
    assert np.array_equal(records, np.concatenate([first, second]))
    for name, array in whole.arrays.items():
        assert np.array_equal(array, piece.arrays[name]), name


def test_without_a_vacancy_to_jump_to_it_says_that_it_is_stuck():
    # Two pairs of sites: one full, one empty.
    sites = isolated_sites("AAAA", [(0, 1, "nn"), (2, 3, "nn")])
    lattice = build_lattice(sites, ONE_RATE, (1, 1, 1))
    gas = lattice_gas.build_gas(lattice, [], 300.0)
    with pytest.raises(InputError, match="stuck at the start"):
        gas_kmc.start(gas, np.array([0, 1], np.int32), 1)


def test_repulsion_keeps_ions_apart_and_attraction_makes_clusters():
    sites = bravais("simple cubic")
    lattice = build_lattice(sites, ONE_RATE, (8, 8, 8))
    neighbours = {}
    for energy in (-1.0, 0.0, 2.0):
        gas = lattice_gas.build_gas(lattice, nearest(sites, energy), 300.0)
        state = gas_kmc.start(gas, np.arange(0, 512, 4, dtype=np.int32), 6)
        gas_kmc.run_events(gas, state, 100_000)
        occupied = state.ion >= 0
        neighbours[energy] = occupied[lattice.neighbour.reshape(512, 6)][occupied].mean()
    assert neighbours[2.0] < 0.15 < neighbours[0.0] < 0.35 < neighbours[-1.0]


def test_interactions_that_are_none_are_refused():
    sites = bravais("simple cubic")
    lattice = build_lattice(sites, ONE_RATE, (4, 4, 4))
    pairs = nearest(sites, 1.0)
    for change, message in (
        (pairs[1:], "but not the other way round"),
        ([*pairs, pairs[0]], "is there twice"),
        ([{**pairs[0], "to": 3}, *pairs[1:]], "pair 0 joins site 0 with 3"),
        ([{**pairs[0], "energy_eV": float("nan")}, *pairs[1:]], "pair 0 has energy_eV nan"),
        ([{"from": 0, "to": 0, "image": [0, 0, 0], "energy_eV": 1.0}], "joins site 0 with 0"),
        ([{"from": 0}], "pair 0 is no interaction"),
        (nearest(sites, 1e3), "interactions of site 0 add up to 6e.03 kT at 300 K"),
    ):
        with pytest.raises(InputError, match=message):
            lattice_gas.build_gas(lattice, change, 300.0)
    far = [{"from": 0, "to": 0, "image": [sign * 4, 0, 0], "energy_eV": 1.0} for sign in (1, -1)]
    with pytest.raises(InputError, match="interacts with its own image"):
        lattice_gas.build_gas(lattice, far, 300.0)
    with pytest.raises(InputError, match=r"attempt frequency 0\.5 1/s is below the rate 1 1/s"):
        lattice_gas.build_gas(lattice, pairs, 300.0, 0.5)
    loop = build_lattice(CHAIN, CHAIN_RATES, (2, 1, 1))
    unbalanced = np.stack([loop.rates, loop.rates * (np.arange(len(loop.rates)) + 1)], axis=1)
    with pytest.raises(InputError, match="breaks detailed balance with the other classes"):
        lattice_gas.build_gas(loop, [], 300.0, rates_per_s=unbalanced)
    gas = lattice_gas.build_gas(lattice, pairs, 300.0)
    with pytest.raises(InputError, match="there are 1 species"):
        gas_kmc.start(gas, np.arange(2, dtype=np.int32), 1, np.array([0, 1]))
