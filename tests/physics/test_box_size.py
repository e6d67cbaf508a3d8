"""How large a box of interacting ions has to be: against sums over all occupations, and ions that only exclude."""

from itertools import product

import numpy as np
import pytest
from insilico_nmr import box_size, gas_kmc, lattice_gas, moving
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import Lattice, build_lattice, equilibrium
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from lattices import bravais, three_orbits
from scipy.optimize import brentq

KT_EV = BOLTZMANN_EV_PER_K * 300
CHAIN = {**three_orbits(), "jumps": [jump for jump in three_orbits()["jumps"] if not any(jump["image"][1:])]}
CHAIN_CLASSES = {jump["class"] for jump in CHAIN["jumps"]}


def chain(cells: int, spread: float) -> Lattice:
    """Sites of three energies, `spread` kT apart, along a line."""
    orbit = [site["orbit"] for site in CHAIN["sites"]]
    energy = dict(zip(dict.fromkeys(orbit), (0.0, 0.5 * spread, spread), strict=True))
    rates = {
        (jump["class"], orbit[jump["from"]], orbit[jump["to"]]): float(
            np.exp((energy[orbit[jump["from"]]] - energy[orbit[jump["to"]]]) / 2)
        )
        for jump in CHAIN["jumps"]
    }
    return build_lattice(CHAIN, rates, (cells, 1, 1))


def repelling(energy_kT: float) -> list[dict]:
    names = ("from", "to", "image")
    return [{name: jump[name] for name in names} | {"energy_eV": KT_EV * energy_kT} for jump in CHAIN["jumps"]]


def exact(gas: lattice_gas.Gas, n_ions: int) -> tuple[float, np.ndarray]:
    """Variance per site at the mean `n_ions`, and occupation of the sites of a cell, by all 2^S occupations."""
    n_sites = gas.lattice.n_sites
    pair_kT = -2 * np.log(gas.factor[:, 0, 0])
    every = np.array(list(product((0, 1), repeat=n_sites)), float)
    coupling = np.zeros((n_sites, n_sites))
    width = gas.partners
    for site in range(n_sites):
        for slot in range(width):
            other = gas.partner[site * width + slot]
            if other >= 0:
                coupling[site, other] += pair_kT[(site % len(gas.site_kT)) * width + slot]
    energy = every @ np.tile(gas.site_kT, n_sites // len(gas.site_kT))
    energy += 0.5 * np.einsum("ks,st,kt->k", every, coupling, every)
    number = every.sum(axis=1)

    def weights(mu: float) -> np.ndarray:
        log = mu * number - energy
        return np.exp(log - log.max()) / np.exp(log - log.max()).sum()

    share = weights(brentq(lambda mu: weights(mu) @ number - n_ions, -50, 50))
    fixed = np.where(number == n_ions, np.exp(-(energy - energy[number == n_ions].min())), 0.0)
    occupation = (fixed / fixed.sum()) @ every
    return share @ (number - n_ions) ** 2 / n_sites, occupation.reshape(-1, len(gas.site_kT)).mean(axis=0)


@pytest.mark.parametrize(("spread", "energy_kT"), [(1.0, 0.0), (3.0, 0.0), (2.0, 1.0), (1.0, -0.7), (8.0, -2.0)])
def test_the_variance_is_that_of_all_occupations(spread, energy_kT):
    gas = lattice_gas.build_gas(chain(4, spread), repelling(energy_kT), 300.0)
    wanted, _ = exact(gas, 8)
    assert box_size.number_variance(gas, 8) == pytest.approx(wanted, rel=0.1)


def test_rates_among_mean_occupancies_change_site_energies_and_no_more():
    """The same gas, told in the other way, has the same variance."""
    lattice, pairs = chain(4, 2.0), repelling(1.0)
    mean = np.array([0.9, 0.6, 0.3])[: len(lattice.basis)]
    gas = lattice_gas.build_gas(lattice, pairs, 300.0, occupancy=mean)
    links = [[pair["from"], pair["to"]] for pair in pairs]
    expected = -lattice.log_weight.copy()
    for start, end in links:
        expected[start] -= mean[end]  # of 1 kT each
    assert gas.site_kT == pytest.approx(expected)
    assert box_size.number_variance(gas, 8) == pytest.approx(exact(gas, 8)[0], rel=0.1)


def test_a_box_of_rare_carriers_grows_until_it_has_those_of_an_endless_lattice():
    def in_box(cells: tuple[int, int, int]) -> lattice_gas.Gas:
        return lattice_gas.build_gas(chain(int(np.prod(cells)), 12.0), [], 300.0)

    small = in_box((4, 1, 1))
    grown = box_size.converged_gas(small, 8, in_box, "chain")
    lattice = grown.lattice
    assert lattice.supercell[0] > 100
    n_ions = 2 * lattice.n_sites // 3
    free = equilibrium(lattice, n_ions).occupation[-1]
    endless = equilibrium(chain(40 * lattice.supercell[0], 12.0), 40 * n_ions).occupation[-1]
    assert free == pytest.approx(endless, rel=0.05)
    assert equilibrium(small.lattice, 8).occupation[-1] < 0.3 * endless
    with pytest.raises(InputError, match=r"fewer than in an endless lattice \(tolerated: 10 %\)"):
        box_size.converged_gas(
            lattice_gas.build_gas(chain(4, 40.0), [], 300.0),
            8,
            lambda cells: lattice_gas.build_gas(chain(int(np.prod(cells)), 40.0), [], 300.0),
            "chain",
        )


def test_carriers_that_are_never_seen_are_refused(monkeypatch):
    monkeypatch.setattr(box_size, "MOST_SWEEPS", box_size.FEWEST_SWEEPS)
    with pytest.raises(InputError, match="too rare to be seen"):
        box_size.number_variance(lattice_gas.build_gas(chain(4, 60.0), [], 300.0), 8)
    with pytest.raises(InputError, match="at least one ion and one vacancy"):
        box_size.number_variance(lattice_gas.build_gas(chain(4, 1.0), [], 300.0), 12)


def test_a_gas_without_interactions_moves_as_ions_that_exclude_each_other():
    lattice = build_lattice(bravais("simple cubic"), {("nn", "A", "A"): 3.0}, (6, 6, 6))
    gas = lattice_gas.build_gas(lattice, [], 300.0)
    found, wanted = moving.averages(gas, 150), equilibrium(lattice, 150)
    assert found.occupation == pytest.approx(wanted.occupation)
    assert found.exit_rate == pytest.approx(wanted.exit_rate, rel=0.03)
    site, image = np.array([[0, 0, -1]]), np.array([[[1, 0, 0], [0, -2, 0], [0, 0, 0]]])
    filled = moving.neighbours_filled(gas, 150, site, image)
    assert filled[0, :2] == pytest.approx(149 / 215, abs=0.01)


def test_neighbours_of_interacting_ions_are_filled_as_boltzmann_has_it():
    gas = lattice_gas.build_gas(chain(4, 1.0), repelling(1.5), 300.0)
    assert moving.averages(gas, 8).occupation == pytest.approx(exact(gas, 8)[1], abs=0.02)


def test_the_journal_of_interacting_ions_leads_where_they_are():
    gas = lattice_gas.build_gas(chain(20, 1.0), repelling(1.0), 300.0)
    for by_bins in (False, True):
        start, state = moving.start_in_equilibrium(gas, 40, np.random.default_rng(4))
        if by_bins:
            gas_kmc.keep_bins(gas, state)
        place, end_s = start.copy(), 30.0
        ions, sites, times = moving.run_journal(gas, state, end_s, 1_000_000)
        assert 100 < len(ions) < 1_000_000
        assert (np.diff(np.concatenate([[0.0], times, [end_s]])) >= 0).all()
        occupied = set(place.tolist())
        for ion, site in zip(ions.tolist(), sites.tolist(), strict=True):
            assert site not in occupied
            occupied.remove(int(place[ion]))
            occupied.add(site)
            place[ion] = site
        assert (place == state.where).all()
        short = moving.run_journal(gas, state, 1e9, 7)
        assert [len(column) for column in short] == [7, 7, 7]
