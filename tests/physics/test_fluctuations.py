"""What surroundings add to correlations, echoes and relaxation: against all arrangements of a ring, enumerated.

A box of many separate rings of six sites; ions see the two neighbours on their ring. Synthetic tensors.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from insilico_nmr import fluctuations
from insilico_nmr.echo import AMPLITUDES, Propagator, SiteTensors
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import build_lattice, equilibrium, number_of_ions
from insilico_nmr.nuclei import nucleus
from insilico_nmr.powder import quadrupolar_frequency, zcw
from insilico_nmr.relaxation import (
    Decay,
    fit_decay,
    fluctuation_kernels,
    recovery_rate,
    relaxation_rates,
    with_surroundings,
)
from insilico_nmr.surroundings import Added
from insilico_nmr.tensors import from_components
from lattices import ONE_RATE, bravais, network
from simulate_relaxation import rows_of
from student import widening

Li7 = nucleus("7Li")
RING = 6
SITE, IMAGE = np.array([[1, 1], [0, 0]]), np.array([[[0, 0, 0], [-1, 0, 0]], [[1, 0, 0], [0, 0, 0]]])
TENSORS = from_components(np.random.default_rng(8).normal(0, 0.003, (6, 5)))
MEANS, ADDED = TENSORS[:2], Added(SITE, IMAGE, TENSORS[2:].reshape(2, 2, 3, 3))
EVOLUTION_S = np.array([1e-5])


@pytest.fixture(scope="module", autouse=True)
def smaller():
    """Fewer ions watched than in a study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fluctuations, "MOST_CHANGES", 300_000)
        yield


def chain(orbits: str, distances: dict, second: float = 0.5) -> dict:
    return network(np.diag([6.0, 9.0, 9.0]), [[0, 0, 0], [second, 0, 0]], orbits, distances)


class Exact:
    """All arrangements (tagged site, other ions' occupation) of a ring in contact with others, and their generator."""

    def __init__(self, rate, filling, means: np.ndarray):
        """rate(a, b): 1/s from place a to b of the ring; filling (2,) of the two sites of a cell."""
        states = [(tag, ions) for tag in range(RING) for ions in product((0, 1), repeat=RING) if ions[tag]]
        number = {state: n for n, state in enumerate(states)}
        of_place = np.array([filling[place % 2] for place in range(RING)])
        weight = np.array([np.prod(np.where(ions, of_place, 1 - of_place)) for _, ions in states])
        self.weight = weight / weight.sum()
        self.rates = np.zeros((len(states), len(states)))
        for (tag, ions), a in number.items():
            for place, step in product(range(RING), (1, -1)):
                target = (place + step) % RING
                if ions[place] and not ions[target]:
                    moved = list(ions)
                    moved[place], moved[target] = 0, 1
                    self.rates[a, number[target if tag == place else tag, tuple(moved)]] += rate(place, target)
        self.of_site = means[[tag % 2 for tag, _ in states]]
        self.tensors = self.of_site.copy()
        for n, (tag, ions) in enumerate(states):
            for q in range(2):
                place = (tag - tag % 2 + SITE[tag % 2, q] + 2 * IMAGE[tag % 2, q, 0]) % RING
                self.tensors[n] += (ions[place] - of_place[place]) * ADDED.tensor[tag % 2, q]
        # Detailed balance makes it symmetric between square roots of the weights.
        root = np.sqrt(self.weight)
        generator = self.rates - np.diag(self.rates.sum(axis=1))
        self.minus_rate, modes = np.linalg.eigh(root[:, None] * generator / root)
        self.modes = root[:, None] * modes

    def amplitudes(self, values: np.ndarray) -> np.ndarray:
        """Weights of the exponentials of rates −minus_rate in Σ_k ⟨f_k(0) f_k(t)⟩, of values (states, k)."""
        return ((self.modes.T @ values) ** 2).sum(axis=1)

    def kept(self, times: np.ndarray) -> np.ndarray:
        """Exponentials (times, modes); of infinite times those that never end."""
        ends = self.minus_rate < -1e-9 * np.abs(self.minus_rate).max()
        return np.where(ends, np.exp(np.outer(times, np.where(ends, self.minus_rate, -1.0))), 1.0)

    def added_correlation(self, times: np.ndarray) -> np.ndarray:
        weights = self.amplitudes(self.tensors.reshape(-1, 9)) - self.amplitudes(self.of_site.reshape(-1, 9))
        return self.kept(times) @ weights

    def added_echo(self, times: np.ndarray) -> np.ndarray:
        directions, weights = zcw(500)

        def of(tensors: np.ndarray) -> np.ndarray:
            sines = np.sin(2 * np.pi * EVOLUTION_S[0] * quadrupolar_frequency(tensors, directions, Li7))
            return self.amplitudes((np.sqrt(weights)[:, None] * sines).T)

        return AMPLITUDES[1.5] * self.kept(times) @ (of(self.tensors) - of(self.of_site))


def in_a_box(sites: dict, rates: dict, filling: float, boxes: int) -> tuple:
    lattice = build_lattice(sites, rates, (RING // 2, boxes, boxes))
    n_ions = number_of_ions(lattice, filling)
    return lattice, n_ions, equilibrium(lattice, n_ions).occupation


def assert_as_expected(values: np.ndarray, expected: np.ndarray, part: float) -> None:
    """Curves of replicas (R, T) are the expected one within five standard errors and `part` of its largest value."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - expected) < 5 * error + part * np.abs(expected).max()).all()
    assert (error < 0.05 * np.abs(expected).max()).all()


def test_every_lag_is_that_of_the_master_equation():
    """Two kinds of sites, so that what surroundings add is no sum of positive exponentials by itself."""
    up, down = 3e3, 1e3
    rates = {("nn", "A", "B"): up, ("nn", "B", "A"): down}
    lattice, n_ions, filling = in_a_box(chain("AB", {"nn": 3.0}), rates, 0.6, 40)
    exact = Exact(lambda a, b: down if a % 2 else up, filling, MEANS)
    times, values = fluctuations.simulate(lattice, n_ions, MEANS, ADDED, EVOLUTION_S, Li7, 3, 6, 200_000, 1.0)
    correlation, echo = exact.added_correlation(times), exact.added_echo(times)
    assert_as_expected(values[..., 0], correlation, 0.002)
    assert_as_expected(values[..., 3], echo, 0.01)
    np.testing.assert_array_equal(values[..., 0], values[..., 1])  # a powder knows no m
    # What is lost at first, by a jump in a thousand, is told as well as the rest: 1 %.
    lost = (values[:, :1] - values)[..., 0].mean(axis=0)
    assert 1 / times[1] > 10 * up
    np.testing.assert_allclose(lost[1:], (correlation[0] - correlation)[1:], rtol=0.05)


def test_spin_1_has_its_own_lines_and_amplitude():
    """Lines of spin 1 at ±¾C_Q, of spin 3/2 at ±½C_Q of an axial tensor; 3/4 and 9/20 of sin·sin of the same phases."""
    lattice, n_ions, _ = in_a_box(chain("AA", {"nn": 3.0}), {("nn", "A", "A"): 1e3}, 0.5, 10)
    echoes = []
    for isotope, part in (("7Li", 1 / 2), ("6Li", 3 / 4)):
        one, factor = nucleus(isotope), 1e6 / (part * nucleus(isotope).coupling_per_au)
        added = replace(ADDED, tensor=factor * ADDED.tensor)
        how = EVOLUTION_S, one, 3, 2, 20_000, 1.0
        echoes.append(fluctuations.simulate(lattice, n_ions, factor * MEANS, added, *how)[1][..., 3])
    np.testing.assert_allclose(echoes[1], echoes[0] / (9 / 20) * (3 / 4), rtol=1e-6)
    with pytest.raises(InputError, match="spin 1 or 3/2"):
        fluctuations.simulate(lattice, n_ions, MEANS, ADDED, EVOLUTION_S, nucleus("27Al"), 3, 2, 20_000, 1.0)


def test_rare_excursions_far_shorter_than_residences_are_told():
    """Ions leave A once in 1e-2 s, for 1e-7 s: events of 1e-5 of all times, with lags down to a hundredth of them."""
    up, down = 1e2, 1e7
    rates = {("nn", "A", "B"): up, ("nn", "B", "A"): down}
    lattice, n_ions, filling = in_a_box(chain("AB", {"nn": 3.0}), rates, 0.3, 30)
    exact = Exact(lambda a, b: down if a % 2 else up, filling, MEANS)
    times, values = fluctuations.simulate(lattice, n_ions, MEANS, ADDED, EVOLUTION_S, Li7, 3, 6, 200_000, 1.0)
    lost = (values[:, :1] - values)[..., 0].mean(axis=0)
    expected = exact.added_correlation(np.zeros(1)) - exact.added_correlation(times)
    fast = (times > 0) & (times < 3e-7)
    assert times[1] < 0.05 / down
    assert fast.sum() > 10
    np.testing.assert_allclose(lost[fast], expected[fast], rtol=0.05)


def test_vacancies_that_stay_in_their_layers_bring_no_noise():
    """Twelve on six layers, two here and three there; the mean of all sites is far larger than what they add."""
    sites = bravais("honeycomb")
    lattice = build_lattice(sites, ONE_RATE, (8, 8, 6))
    around = [[jump for jump in sites["jumps"] if jump["from"] == site] for site in range(2)]
    site, image = (np.array([[jump[name] for jump in some] for some in around]) for name in ("to", "image"))
    changes = from_components(np.random.default_rng(2).normal(0, 3e-3, (2, 3, 5)))
    added, how = Added(site, image, changes), (EVOLUTION_S, Li7, 3, 6, 400_000, 1.0)
    _, values = fluctuations.simulate(lattice, lattice.n_sites - 12, 3 * MEANS[[0, 0]], added, *how)
    curves = values[..., 0] / values[:, 0, 0].mean()
    assert curves[:, 0].std(ddof=1) < 0.03
    assert np.abs(curves[:, -10:]).max() < 0.05


def test_rare_jumps_are_seen_in_stages():
    """Pairs of sites that ions hop between 1e5 times as often as from pair to pair: two steps of the decay."""
    fast, slow = 1e6, 10.0
    rates = {("fast", "A", "A"): fast, ("slow", "A", "A"): slow}
    lattice, n_ions, filling = in_a_box(chain("AA", {"fast": 2.4, "slow": 3.6}, 0.4), rates, 0.5, 10)
    exact = Exact(lambda a, b: fast if {a % 2, b % 2} == {0, 1} and min(a, b) % 2 == 0 and abs(a - b) == 1 else slow,
                  filling, MEANS)  # fmt: skip
    times, values = fluctuations.simulate(lattice, n_ions, MEANS, ADDED, EVOLUTION_S, Li7, 3, 4, 300_000, 1.0)
    expected = exact.added_correlation(times)
    step = np.abs(times - 1e-4).argmin()
    assert 0.2 < expected[step] / expected[0] < 0.95
    assert times[-1] * slow > 3
    assert_as_expected(values[..., 0], expected, 0.05)
    error = values[..., 3].std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values[..., 3].mean(axis=0) - exact.added_echo(times)) < 5 * error + 1e-3).all()


@pytest.fixture(scope="module")
def equal_sites(smaller) -> tuple[fluctuations.Fluctuations, Exact]:
    """One tensor on all sites: without surroundings nothing would fluctuate."""
    rate, means = 2e7, MEANS[[0, 0]]
    lattice, n_ions, filling = in_a_box(chain("AA", {"nn": 3.0}), {("nn", "A", "A"): rate}, 0.5, 40)
    times, values = fluctuations.simulate(lattice, n_ions, means, ADDED, EVOLUTION_S, Li7, 3, 6, 200_000, 1.0)
    curves, exact = np.moveaxis(values, 1, -1), Exact(lambda a, b: rate, filling, means)
    # Rings keep their numbers of ions, which no lattice does: what that leaves for ever is taken off.
    curves[:, :3] -= exact.added_correlation(np.array([np.inf]))
    return fluctuations.Fluctuations(
        times, curves[:, :3], EVOLUTION_S, curves[:, 3:], np.empty(0), 300.0, 0, None
    ), exact


def one_state_propagator(temperature_K: float = 300.0) -> Propagator:
    """Two sites of one tensor between which an ion is at random from the first lag on."""
    time = np.array([0.0, 1e-9, 1e-8])
    joint = np.repeat(np.full((2, 2, 1), 0.25), 3, axis=-1)
    joint[..., 0] = np.eye(2) / 2
    return Propagator(
        joint, np.repeat(joint[None], 6, axis=0), np.full(2, 0.5), np.full((2, 2), 0.25), np.full((2, 2), 1e7), time,
        time[-1], temperature_K, 1e7, 0, np.full(3, 1e9),
    )  # fmt: skip


def test_equal_sites_relax_by_their_surroundings_alone(equal_sites):

    found, exact = equal_sites
    weights = exact.amplitudes(exact.tensors.reshape(-1, 9)) - exact.amplitudes(exact.of_site.reshape(-1, 9))
    decays = exact.minus_rate < -1
    whole = Decay(-exact.minus_rate[decays], weights[decays])
    none = np.empty((0, 2, 3, 3))
    states = SiteTensors(MEANS[[0, 0]], none, none, 300.0, "7Li", 0.1)
    table = pd.DataFrame(rows_of(one_state_propagator(), states, Li7, [0.1, 4.7, 1e4], None, found))
    for field in (0.1, 4.7, 1e4):  # from below ω = k to far above the reciprocal of the first lag
        expected = relaxation_rates([whole] * 3, Li7, field)
        rows = table[table["field_T"] == field].set_index("quantity")
        for name in ("R1", "R1Q", "R2_satellites"):
            assert rows.loc[name, "rate_per_s"] == pytest.approx(expected[name], rel=0.05)
            assert rows.loc[name, "by_surroundings_per_s"] == pytest.approx(rows.loc[name, "rate_per_s"], rel=1e-6)
        # Crystallites, which the means alone tell apart, are all alike.
        in_one = (np.array([rows.loc[name, "rate_per_s"]]) for name in ("R1_fast", "R1_slow"))
        recovery = recovery_rate(*in_one, np.ones(1))
        assert rows.loc["R1_recovery", "rate_per_s"] == pytest.approx(recovery, rel=1e-3)
        for name in ("R1", "R1Q", "R2_satellites"):
            # The error of DFT counts twice: rates go with the square of the tensors.
            assert rows.loc[name, "sd_dft_per_s"] == pytest.approx(0.2 * rows.loc[name, "rate_per_s"], rel=0.02)


def test_members_differ_by_what_their_surroundings_add(equal_sites):
    found = replace(equal_sites[0], member_scales=np.array([0.7, 1.3]))
    states = SiteTensors(
        MEANS[[0, 0]], MEANS[None, [0, 0]].repeat(2, axis=0), np.empty((0, 2, 3, 3)), 300.0, "7Li", 0.0
    )
    (row,) = rows_of(one_state_propagator(), states, Li7, [4.7], None, found)[:1]
    assert row["sd_model_per_s"] == pytest.approx(widening(2) * 0.6 / np.sqrt(2) * row["rate_per_s"], rel=1e-3)
    three = replace(found, member_scales=np.ones(3))
    with pytest.raises(InputError, match="fitted to 3 members, site tensors have 2"):
        rows_of(one_state_propagator(), states, Li7, [4.7], None, three)


@pytest.mark.parametrize("direction", [None, np.array([0.3, -0.5, 0.8])])
def test_parts_of_a_single_crystal_add_to_the_contraction(equal_sites, direction):
    """V_a:V_b, by components along any field, of which m = 0, ±1 and ±2 have one, two and two."""
    a_to_b = fluctuation_kernels(MEANS, direction)[:, 0, 1]
    of_two_times = np.tile(a_to_b[:, None], (6, 1, 2))
    found = replace(equal_sites[0], time_s=np.array([0.0, 1.0]), correlation=of_two_times, direction=direction)
    np.testing.assert_allclose(found.contraction_at(np.array([0.0, 0.5])), (MEANS[0] * MEANS[1]).sum(), rtol=1e-12)


def test_surroundings_that_change_fast_are_no_part_of_an_echo(equal_sites):
    found, exact = equal_sites
    assert found.decayed
    assert found.during(EVOLUTION_S[0]) == "averaged"
    assert np.abs(found.echo_at(EVOLUTION_S[0], np.array([0.0, 1.0]))).max() == 0
    slow = fluctuations.Fluctuations(
        found.time_s * 1e6, found.correlation, EVOLUTION_S, found.echo, np.empty(0), 300.0, 0, None
    )
    assert slow.during(EVOLUTION_S[0]) == "frozen"
    start = slow.echo_at(EVOLUTION_S[0], np.zeros(1))[:, 0]
    error = start.std(ddof=1) / np.sqrt(len(start))
    assert abs(start.mean() - exact.added_echo(np.zeros(1))[0]) < 5 * error < 0.01
    with pytest.raises(InputError, match="no evolution time 20 µs"):
        slow.echo_at(2e-5, np.zeros(1))


def test_a_file_of_another_temperature_or_direction_is_refused(equal_sites, tmp_path):
    path = tmp_path / "surroundings.nc"
    fluctuations.write_fluctuations(path, equal_sites[0])
    again = fluctuations.read_fluctuations(path, one_state_propagator())
    np.testing.assert_array_equal(again.correlation, equal_sites[0].correlation)
    with pytest.raises(InputError, match="of 300 K, shift 0 and 6 replicas; the propagator has 350 K"):
        fluctuations.read_fluctuations(path, one_state_propagator(350.0))
    with pytest.raises(InputError, match="--direction"):
        fluctuations.read_fluctuations(path, one_state_propagator(), [0, 0, 1])
    (tmp_path / "no.nc").write_text("no")
    with pytest.raises(InputError, match="not a file of correlate_surroundings"):
        fluctuations.read_fluctuations(tmp_path / "no.nc", one_state_propagator())


def test_a_part_that_is_no_decay_by_itself_is_one_within_the_whole():
    """C of the means 2 exp(−t) and what is added exp(−3t) − exp(−t): the sum is exp(−t) + exp(−3t)."""
    time = np.concatenate([[0.0], np.geomspace(1e-3, 20, 60)])
    means = fit_decay(time, 2 * np.exp(-time), -2 * np.expm1(-time), np.zeros(61))
    whole = with_surroundings(means, time, np.exp(-3 * time) - np.exp(-time), np.zeros((2, 61)))
    for frequency in (0.0, 1.0, 30.0):
        exact = 1 / (1 + frequency**2) + 3 / (9 + frequency**2)
        assert whole.spectral_density(frequency) == pytest.approx(exact, rel=0.02)


def test_decays_of_the_means_stay_however_fast_they_are():
    """Of 1e-3 s, 1e-8 s and 1e3 s, where surroundings add one of 1 s: densities are sums, at all frequencies."""
    means = Decay(np.array([1e-3, 1e3, 1e8]), np.array([1.0, 0.2, 1e-4]))
    time = np.concatenate([[0.0], np.geomspace(1e-3, 20, 60)])
    added = Decay(np.ones(1), np.full(1, 0.3))
    whole = with_surroundings(means, time, 0.3 * np.exp(-time), np.zeros((2, 61)))
    for frequency in (0.0, 1e-2, 1.0, 1e3, 1e6, 1e9):
        expected = means.spectral_density(frequency) + added.spectral_density(frequency)
        assert whole.spectral_density(frequency) == pytest.approx(expected, rel=0.01)
    assert with_surroundings(means, time, np.zeros(61), np.zeros((2, 61))) is means


def test_what_is_added_may_be_negative_and_ends_in_its_noise():
    time = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 61)])
    clean = np.exp(-time) - 0.5 * np.exp(-0.1 * time)
    noise = 1e-3 * np.random.default_rng(5).normal(size=(6, len(time)))
    kept = fluctuations.told(clean + noise)
    assert 20 < time[kept] < 100
    assert (clean[kept - 10 : kept] < 0).all()
    assert fluctuations.has_decayed(clean + noise)
    assert not fluctuations.has_decayed((clean + noise)[:, : kept - 5])
