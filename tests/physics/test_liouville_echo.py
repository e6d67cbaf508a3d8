"""Spin-alignment echoes against the stochastic Liouville equation: a spin on two sites, pulse by pulse.

The spin jumps all the time, during both evolution times too, between tensors that are not collinear; its Hamiltonian
is the quadrupolar one, of which the part that commutes with I_z is kept.
"""

import numpy as np
import pytest
from echoes import matrix_echo
from insilico_nmr import echo
from insilico_nmr.nuclei import Nucleus, quadrupolar_nucleus
from insilico_nmr.powder import lebedev, quadrupolar_frequency
from scipy.spatial.transform import Rotation
from spins import evolved, liouvillian, quadrupolar_hamiltonian, signal, spin_operators, turned, two_site_echo

SPINS = [quadrupolar_nucleus("6Li"), quadrupolar_nucleus("7Li")]  # 1 and 3/2
POPULATIONS = np.array([1 / 3, 2 / 3])
JUMPS = np.array([[-1.5, 0.75], [1.5, -0.75]])  # one a time unit on average: columns are where they start
DIRECTIONS = np.array([[0.3, -0.2, 0.9], [1.0, 0.1, 0.2], [0.5, 0.8, -0.4], [-0.6, 0.6, 0.5]])
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
EVOLUTION_S = 1e-5


def two_tensors(nucleus: Nucleus) -> np.ndarray:
    """C_Q of 100 and 80 kHz, biaxial, at an oblique angle; a.u."""
    values = np.array([[-0.4, -0.6, 1.0], [-0.2, -0.8, 1.0]]) * np.array([[1e5], [8e4]]) / nucleus.coupling_per_au
    turn = Rotation.from_euler("zyz", [20, 65, 40], degrees=True).as_matrix()
    return np.array([np.diag(values[0]), turn @ np.diag(values[1]) @ turn.T])


def secular(tensors: np.ndarray, nucleus: Nucleus, direction: np.ndarray) -> np.ndarray:
    """Hamiltonians (S, d, d), rad/s, with the field along `direction`, without what does not commute with I_z."""
    to_z = Rotation.align_vectors([[0, 0, 1]], [direction])[0].as_matrix()
    whole = [quadrupolar_hamiltonian(to_z @ v @ to_z.T, nucleus.coupling_per_au, nucleus.spin) for v in tensors]
    return np.array([np.diag(np.diag(hamiltonian)) for hamiltonian in whole])


def phase_cycled(state: np.ndarray, Iz: np.ndarray) -> np.ndarray:
    """Pulses so far turned by quarters, signals added: nothing that carries coherence of order 1, 2 or 3 is left."""
    return np.mean([turned(state, Iz, quarter) for quarter in (0, 90, 180, 270)], axis=0)


def alignment_part(state: np.ndarray, spin: float) -> np.ndarray:
    """Of the density matrix on each site, the part along the tensor of l = 2, m = 0: quadrupolar order."""
    Iz = spin_operators(spin)[2]
    order = 3 * Iz @ Iz - spin * (spin + 1) * np.eye(len(Iz))
    return np.einsum("sij,ji->s", state, order)[:, None, None] / np.trace(order @ order) * order


def echo_of_pulses(nucleus: Nucleus, generator: np.ndarray, mixing_s: float, direction: np.ndarray) -> float:
    """90°_x − t_p − 45°_y − t_m − 45°_y − t_p, over the signal right after the first pulse."""
    Ix, Iy, Iz = spin_operators(nucleus.spin)
    matrix = liouvillian(secular(two_tensors(nucleus), nucleus, direction), generator)
    state = turned(POPULATIONS[:, None, None] * Iz, Ix, 90)
    start = signal(state, Iy)
    state = phase_cycled(turned(evolved(state, matrix, EVOLUTION_S), Iy, 45), Iz)
    np.testing.assert_allclose(state, alignment_part(state, nucleus.spin), atol=1e-12)  # no Zeeman, no other order
    state = turned(evolved(state, matrix, mixing_s), Iy, 45)
    return signal(evolved(state, matrix, EVOLUTION_S), Iy) / start


def frozen(nucleus: Nucleus, generator: np.ndarray, mixing_s: float, direction: np.ndarray | None) -> float:
    """The form without jumps while phases evolve."""
    decay = np.exp(np.trace(generator) * mixing_s)
    stay = np.outer(POPULATIONS, POPULATIONS) * (1 - decay) + np.diag(POPULATIONS) * decay
    kernel = echo.evolution_kernel(two_tensors(nucleus), EVOLUTION_S, nucleus, direction)
    return echo.frozen_echo(stay[..., None], kernel, nucleus)[0]


@pytest.mark.parametrize("nucleus", SPINS, ids=lambda one: one.isotope)
@pytest.mark.parametrize("jumps", [0.1, 0.4, 1.0])
def test_matrix_form_is_the_stochastic_liouville_equation(jumps, nucleus):
    """`jumps` of a spin in an evolution time, in mixing from none to some."""
    generator = jumps / EVOLUTION_S * JUMPS
    excess = []
    for mixing in (0.0, 0.5 * EVOLUTION_S / jumps):
        for direction in DIRECTIONS:
            exact = echo_of_pulses(nucleus, generator, mixing, direction)
            how = two_tensors(nucleus), EVOLUTION_S, np.array([mixing]), nucleus
            found = matrix_echo(generator, POPULATIONS, *how, direction=direction)[0]
            assert found == pytest.approx(exact, rel=1e-9)
            excess.append(frozen(nucleus, generator, mixing, direction) / exact - 1)
    assert np.max(np.abs(excess)) > jumps  # the frozen form is another


@pytest.mark.parametrize("nucleus", SPINS, ids=lambda one: one.isotope)
def test_the_powder_is_the_average_of_liouville_equations(nucleus):
    generator, mixing = 0.4 / EVOLUTION_S * JUMPS, 1e-6
    directions, weights = lebedev(41)
    exact = weights @ [echo_of_pulses(nucleus, generator, mixing, direction) for direction in directions]
    how = two_tensors(nucleus), EVOLUTION_S, np.array([mixing]), nucleus
    assert matrix_echo(generator, POPULATIONS, *how)[0] == pytest.approx(exact, rel=1e-6)
    assert frozen(nucleus, generator, mixing, None) > 1.2 * exact


@pytest.mark.parametrize("nucleus", SPINS, ids=lambda one: one.isotope)
@pytest.mark.parametrize("mixing", [0.0, 0.3, 3.0])
def test_frozen_form_and_its_amplitude_are_those_of_the_pulses_where_jumps_are_rare(mixing, nucleus):
    """Mixing in times between jumps, of which there are 1e-5 in an evolution time."""
    generator = 1e-5 / EVOLUTION_S * JUMPS
    mixing_s = mixing * EVOLUTION_S / 1e-5
    for direction in DIRECTIONS:
        exact = echo_of_pulses(nucleus, generator, mixing_s, direction)
        assert frozen(nucleus, generator, mixing_s, direction) == pytest.approx(exact, rel=1e-3)


def element(state: np.ndarray, i: int, j: int) -> np.ndarray:
    """The state with this element of its density matrices alone."""
    kept = np.zeros_like(state)
    kept[:, i, j] = state[:, i, j]
    return kept


@pytest.mark.parametrize(
    ("isotope", "refocused"),
    [
        ("6Li", {0.5: (1, 1)}),
        ("7Li", {1: (3 / 4, 6 / 10), 0: (1 / 4, 4 / 10)}),
        ("27Al", {2: (5 / 16, 10 / 35), 1: (1 / 8, 16 / 35), 0: (1 / 4, 9 / 35)}),
    ],
)
def test_a_pulse_refocuses_spin_1_whole_and_a_part_of_each_line_of_others(isotope, refocused):
    """90°_x − τ − 90°_y − τ while the spin jumps; by line, at ±multiplier·ν_Q, the part refocused and its intensity.

    It is what the pulse turns into the conjugate of a coherence, or that of the line at the opposite frequency: it
    decays as the ideal echo does, ⟨cos(φ₂ − φ₁)⟩ of the phases before and after the pulse.
    """
    nucleus, rate, delay_s = quadrupolar_nucleus(isotope), 6e4, EVOLUTION_S
    generator = rate * np.array([[-1.0, 1.0], [1.0, -1.0]])
    Ix, Iy, Iz = spin_operators(nucleus.spin)
    last = len(Iz) - 1
    for direction in DIRECTIONS:
        matrix = liouvillian(secular(two_tensors(nucleus), nucleus, direction), generator)
        state = turned(np.ones((2, 1, 1)) / 2 * Iz, Ix, 90)
        start = signal(state, Iy)
        state = evolved(state, matrix, delay_s)
        found = dict.fromkeys(refocused, 0.0)
        for i, j in [(n + up, n + 1 - up) for n in range(last) for up in (0, 1)]:
            after = turned(element(state, i, j), Iy, 90)
            back = element(after, j, i) + element(after, last - j, last - i)
            found[abs(nucleus.spin - (i + j) / 2)] += signal(evolved(back, matrix, delay_s), Iy) / start
        splitting = 2 * np.pi * quadrupolar_frequency(two_tensors(nucleus), direction[None], nucleus)[0]
        for line, (part, intensity) in refocused.items():
            expected = part * intensity * two_site_echo(line * splitting, rate, delay_s)
            assert found[line] == pytest.approx(expected, abs=1e-12)
        whole = signal(evolved(turned(state, Iy, 90), matrix, delay_s), Iy) / start
        assert (whole == pytest.approx(sum(found.values()), abs=1e-12)) == (nucleus.spin == 1)
