"""Dipolar second moments and the widths of central lines, against closed formulas and the limits of motion."""

from dataclasses import replace

import numpy as np
import pytest
from insilico_nmr import kmc
from insilico_nmr.dipolar import POWDER, anderson_weiss, coupling, pair_factor, pair_sums, rigid_width, strength
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import build_lattice, equilibrium_occupation
from insilico_nmr.nuclei import isotopes, nucleus
from insilico_nmr.relaxation import Decay
from lattices import isolated_sites, network
from scipy.spatial.transform import Rotation

SIMPLE_CUBIC = network(3 * np.eye(3), [[0, 0, 0]], "A", {"nn": 3.0})
SIMPLE_CUBIC_SUM = 8.4019  # Σ (a/r)⁶ over a simple cubic lattice (J. E. Jones, A. E. Ingham, 1925)


@pytest.fixture
def lattice():
    return build_lattice(SIMPLE_CUBIC, {("nn", "A", "A"): 1e3}, (9, 9, 9))


def run(lattice, n_ions: int, times=(0.0,), seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sites at the start and records at the times of a simulation."""
    sites = equilibrium_occupation(lattice, n_ions, np.random.default_rng(seed))
    return sites, kmc.run_snapshots(lattice, kmc.start(lattice, sites, seed), np.array(times))


def test_van_vleck_without_field_gradients():
    """For spin ½ every transition is the central one: M₂ = (3/5)γ⁴ħ²I(I + 1)Σ1/r⁶, and 4/15 with unlike spins."""
    assert POWDER * pair_factor(0.5) == pytest.approx(3 / 5 * 0.75)
    for spin in (0.5, 1.0, 1.5, 2.5):
        assert POWDER * pair_factor(1.5, spin) == pytest.approx(4 / 15 * spin * (spin + 1))


def test_central_line_of_like_spins_three_halves():
    """The traces over product states |a, b⟩, written out: only ½, −½ ↔ −½, ½ flips, with matrix element −¼·2·2."""
    levels = [1.5, 0.5, -0.5, -1.5]
    states = [(a, b) for a in levels for b in levels]
    index = {state: n for n, state in enumerate(states)}
    H = np.diag([a * b for a, b in states]).astype(float)
    H[index[0.5, -0.5], index[-0.5, 0.5]] = H[index[-0.5, 0.5], index[0.5, -0.5]] = -1.0
    X = np.zeros((16, 16))
    for a, b in states:
        for raised, lowered in (((0.5, b), (-0.5, b)), ((a, 0.5), (a, -0.5))):
            X[index[raised], index[lowered]] = X[index[lowered], index[raised]] = 1.0
    change = H @ X - X @ H
    assert pair_factor(1.5) == pytest.approx(-np.trace(change @ change) / np.trace(X @ X))


def test_an_integer_spin_has_no_central_line():
    with pytest.raises(InputError, match="no central transition"):
        pair_factor(1.0)


def test_second_moment_of_a_full_lattice(lattice):
    """The sum over neighbours is Jones and Ingham's, less what lies beyond the reach."""
    started = run(lattice, lattice.n_sites - 1)
    found = pair_sums(lattice, *started, np.empty((0, 3)), np.empty(0, int), np.arange(60), reach_A=12.0)[0, 0]
    beyond = 4 * np.pi / (3 * 4**3)  # of Σ (a/r)⁶, beyond four edges, as a continuum
    vacancy = 1 - 1 / lattice.n_sites
    assert found * 3.0**6 == pytest.approx((SIMPLE_CUBIC_SUM - beyond) * vacancy, rel=0.01)


def test_couplings_know_no_frame(lattice):
    """A crystal that is turned with all its ions has the same correlation of couplings at every time."""
    turn = Rotation.random(random_state=1).as_matrix()
    turned = replace(lattice, cell=lattice.cell @ turn.T)
    host, times = np.array([[1.5, 1.5, 1.5], [0.7, 0.1, 2.0]]), np.array([0.0, 3e-4, 1e-3])
    sums = [
        pair_sums(some, *run(some, 200, times), host @ way.T, np.array([0, 1]), np.arange(100), reach_A=8.9)
        for some, way in ((lattice, np.eye(3)), (turned, turn))
    ]
    assert sums[0][-1, 0] < 0.9 * sums[0][0, 0]
    np.testing.assert_allclose(sums[1], sums[0], rtol=1e-9)


def test_partly_filled_sites_have_their_share(lattice):
    full = run(lattice, lattice.n_sites - 1)
    half = run(lattice, lattice.n_sites // 2)
    sums = [
        pair_sums(lattice, *started, np.empty((0, 3)), np.empty(0, int), np.arange(300), reach_A=9.0)[0, 0]
        for started in (full, half)
    ]
    assert sums[1] / sums[0] == pytest.approx(0.5, rel=0.05)


def test_unlike_host_atoms_by_kind(lattice):
    """Host atoms at the centres of the cubes: Σ1/r⁶ over eight at √3/2 edges is 8·(4/3)³; two kinds are kept apart."""
    host = np.array([[1.5, 1.5, 1.5], [1.5, 1.5, 1.5]])
    found = pair_sums(lattice, *run(lattice, 100), host, np.array([0, 1]), np.arange(20), reach_A=3.0)[0, 1:]
    assert found * 3.0**6 == pytest.approx(np.full(2, 8 * (4 / 3) ** 3))


def test_a_box_narrower_than_twice_the_reach_is_refused(lattice):
    with pytest.raises(InputError, match=r"27\.0 Å wide"):
        pair_sums(lattice, *run(lattice, 10), np.empty((0, 3)), np.empty(0, int), np.arange(1), reach_A=14)


def test_pairs_and_hosts_are_forgotten_as_ions_walk(lattice):
    """Isolated ions on a host: the coupling to one host atom decays at first with the rate of the jumps that change
    it, and is lost in the end; before any jump it is whole."""
    host, kind = np.array([[1.5, 1.5, 1.5]]), np.zeros(1, int)
    times = np.array([0.0, 1e-6, 3e-2])
    sums = []
    for seed in range(6):
        sums.append(pair_sums(lattice, *run(lattice, 100, times, seed), host, kind, np.arange(100), reach_A=9.0)[:, 1])
    whole, early, late = np.mean(sums, axis=0)
    assert early > 0.97 * whole
    assert abs(late) < 0.05 * whole


def fall_off(r: list[float], s: list[float]) -> float:
    """P₂ of the angle between two vectors over the cubes of their lengths."""
    r, s = np.array(r), np.array(s)
    cosine = r @ s / np.sqrt(r @ r * (s @ s))
    return (1.5 * cosine**2 - 0.5) / ((r @ r) * (s @ s)) ** 1.5


def test_a_pair_turns_whichever_of_its_ions_moves(lattice):
    """Two ions a lattice constant apart: one goes round the corner, the other steps away, both move together."""
    number = {tuple(cell): site for site, cell in enumerate(lattice.cells_of(np.arange(lattice.n_sites)))}
    sites = np.array([number[0, 0, 0], number[1, 0, 0]])
    records = np.zeros((4, 2, 4), np.int32)
    records[1, 1, 1:] = (0, 1, 0)  # the partner turns: r' = (1, 1, 0)
    records[2, 0, 1:] = (-1, 0, 0)  # the first steps back: r' = (2, 0, 0)
    records[3, :, 1:] = (0, 0, 1)  # both: as before
    expected = [fall_off([3, 0, 0], later) for later in ([3, 0, 0], [3, 3, 0], [6, 0, 0], [3, 0, 0])]
    for watched in (0, 1):
        found = pair_sums(lattice, sites, records, np.empty((0, 3)), np.empty(0, int), np.array([watched]), reach_A=9.0)
        assert found[:, 0] == pytest.approx(expected)
    assert expected[1] == pytest.approx(0.25 / 3**6 / 2**1.5)


def test_a_host_nucleus_beside_an_ion_on_two_sites():
    """M₂(t) of one ion that hops between two sites is Σ P_ab(t) P₂(cos γ_ab)/(r_a³r_b³)."""
    two = build_lattice(isolated_sites("AA", [(0, 1, "x")]), {("x", "A", "A"): 1.0}, (1, 1, 1))
    host = np.array([[2.5, 1.5, 0.0]])
    times = np.array([0.0, 0.3, 1.0, 20.0])
    runs = np.array(
        [
            pair_sums(two, *run(two, 1, times, seed), host, np.zeros(1, int), np.zeros(1, int), 4.0)[:, 1]
            for seed in range(500)
        ]
    )
    r = [host[0], host[0] - [1.0, 0, 0]]
    stay = (1 + np.exp(-2 * times)) / 2
    same, other = (fall_off(r[0], r[0]) + fall_off(r[1], r[1])) / 2, fall_off(r[0], r[1])
    error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    assert np.abs(runs.mean(axis=0) - (stay * same + (1 - stay) * other)).max() < 4 * error.max()
    assert other < 0.7 * same


def test_an_element_counts_with_its_isotopes():
    """7Li sees 92.41 % like and 7.59 % unlike spins in lithium; an element that the table lacks has no spin."""
    Li7, Li6 = nucleus("7Li"), nucleus("6Li")
    expected = POWDER * (
        0.9241 * pair_factor(1.5) * coupling(Li7, Li7) ** 2 + 0.0759 * (2 / 3) * coupling(Li7, Li6) ** 2
    )
    assert strength(Li7, "Li") == pytest.approx(expected)
    assert sum(isotope.abundance for isotope in isotopes("Li")) == pytest.approx(1)
    assert strength(Li7, "Xx") == 0


def test_a_proton_pair_at_two_angstrom():
    """(μ₀/4π)γ²ħ/(2π r³) of two protons 2 Å apart is 15.01 kHz."""
    proton = nucleus("1H")
    assert coupling(proton, proton) / 2**3 / (2 * np.pi) == pytest.approx(15.01e3, rel=1e-3)


MOMENT = (2 * np.pi * 3e3) ** 2


def test_a_rigid_line_is_a_gaussian():
    width = anderson_weiss(Decay(np.array([1e-3]), np.array([MOMENT])))
    assert width == pytest.approx(2 * np.sqrt(2 * np.log(2)) * 3e3, rel=1e-4)
    assert width == pytest.approx(rigid_width(MOMENT), rel=1e-4)


@pytest.mark.parametrize("tau_s", [1e-7, 1e-6])
def test_fast_hops_narrow_the_line_to_a_lorentzian(tau_s):
    """τ√M₂ ≪ 1: the full width in angular frequency is 2M₂τ."""
    assert anderson_weiss(Decay(np.array([1 / tau_s]), np.array([MOMENT]))) == pytest.approx(
        MOMENT * tau_s / np.pi, rel=2e-2
    )


def test_between_the_limits_against_a_direct_transformation():
    tau_s = 4e-5
    t = np.linspace(0, 4e-3, 400001)
    signal = np.exp(-MOMENT * tau_s**2 * (np.exp(-t / tau_s) - 1 + t / tau_s))
    frequency = np.linspace(0, 8e3, 1601)
    spectrum = np.array([np.trapezoid(signal * np.cos(2 * np.pi * f * t), t) for f in frequency])
    half = np.interp(-spectrum[0] / 2, -spectrum, frequency)
    assert anderson_weiss(Decay(np.array([1 / tau_s]), np.array([MOMENT]))) == pytest.approx(2 * half, rel=2e-3)


def test_a_part_that_is_never_lost_stays_as_width():
    """Fast motion that leaves a quarter of the second moment leaves half of the rigid width."""
    decay = Decay(np.array([1e12, 1e-6]), MOMENT * np.array([0.75, 0.25]))
    assert anderson_weiss(decay) == pytest.approx(rigid_width(MOMENT) / 2, rel=1e-3)


def test_spins_without_neighbours_have_no_line():
    with pytest.raises(InputError, match="no spin is within reach"):
        anderson_weiss(Decay(np.ones(1), np.zeros(1)))
