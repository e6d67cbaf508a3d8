"""Spin-alignment echoes against the stochastic Liouville equation: a spin on two sites, pulse by pulse.

The spin jumps all the time, during both evolution times too, between tensors that are not collinear; its Hamiltonian
is the quadrupolar one, of which the part that commutes with I_z is kept.
"""

import numpy as np
import pytest
from insilico_nmr import echo
from insilico_nmr.nuclei import Nucleus, quadrupolar_nucleus
from insilico_nmr.powder import lebedev
from scipy.spatial.transform import Rotation
from spins import evolved, liouvillian, quadrupolar_hamiltonian, signal, spin_operators, turned

LITHIUM = quadrupolar_nucleus("7Li")
POPULATIONS = np.array([1 / 3, 2 / 3])
JUMPS = np.array([[-1.5, 0.75], [1.5, -0.75]])  # one a time unit on average: columns are where they start
DIRECTIONS = np.array([[0.3, -0.2, 0.9], [1.0, 0.1, 0.2], [0.5, 0.8, -0.4], [-0.6, 0.6, 0.5]])
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
    return echo.frozen_echo(stay[..., None], kernel)[0]


@pytest.mark.parametrize("jumps", [0.1, 0.4, 1.0])
def test_matrix_form_is_the_stochastic_liouville_equation(jumps):
    """`jumps` of a spin in an evolution time, in mixing from none to some."""
    generator = jumps / EVOLUTION_S * JUMPS
    excess = []
    for mixing in (0.0, 0.5 * EVOLUTION_S / jumps):
        for direction in DIRECTIONS:
            exact = echo_of_pulses(LITHIUM, generator, mixing, direction)
            how = two_tensors(LITHIUM), EVOLUTION_S, np.array([mixing]), LITHIUM
            found = echo.matrix_echo(generator, POPULATIONS, *how, direction=direction)[0]
            assert found == pytest.approx(exact, rel=1e-9)
            excess.append(frozen(LITHIUM, generator, mixing, direction) / exact - 1)
    assert np.max(np.abs(excess)) > jumps  # the frozen form is another


def test_the_powder_is_the_average_of_liouville_equations():
    generator, mixing = 0.4 / EVOLUTION_S * JUMPS, 1e-6
    directions, weights = lebedev(29)
    exact = weights @ [echo_of_pulses(LITHIUM, generator, mixing, direction) for direction in directions]
    how = two_tensors(LITHIUM), EVOLUTION_S, np.array([mixing]), LITHIUM
    assert echo.matrix_echo(generator, POPULATIONS, *how)[0] == pytest.approx(exact, rel=1e-8)
    assert frozen(LITHIUM, generator, mixing, None) > 1.2 * exact


@pytest.mark.parametrize("mixing", [0.0, 0.3, 3.0])
def test_frozen_form_and_its_amplitude_are_those_of_the_pulses_where_jumps_are_rare(mixing):
    """Mixing in times between jumps, of which there are 1e-5 in an evolution time."""
    generator = 1e-5 / EVOLUTION_S * JUMPS
    mixing_s = mixing * EVOLUTION_S / 1e-5
    for direction in DIRECTIONS:
        exact = echo_of_pulses(LITHIUM, generator, mixing_s, direction)
        assert frozen(LITHIUM, generator, mixing_s, direction) == pytest.approx(exact, rel=3e-4)
