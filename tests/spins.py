"""A spin that jumps among sites: density matrices, pulses, the stochastic Liouville equation, closed forms.

States are (S, d, d): a part of the density matrix a site, d = 2I + 1, the field along z. Nothing here is taken from the
package, which it is to judge.
"""

import numpy as np
from scipy.linalg import expm


def spin_operators(spin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """I_x, I_y, I_z in the basis m = I, I − 1, ..., −I."""
    m = np.arange(spin, -spin - 1, -1)
    raising = np.diag(np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), 1)
    return (raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m)


def quadrupolar_hamiltonian(tensor: np.ndarray, coupling_per_au: float, spin: float) -> np.ndarray:
    """eQ/[4I(2I−1)ħ] Σ V_ab (I_a I_b + I_b I_a), rad/s, whole, of a field gradient (3, 3) in a.u.; coupling in Hz."""
    operators = spin_operators(spin)
    pairs = sum(
        tensor[a, b] * (operators[a] @ operators[b] + operators[b] @ operators[a]) for a in range(3) for b in range(3)
    )
    return 2 * np.pi * coupling_per_au / (4 * spin * (2 * spin - 1)) * pairs


def liouvillian(hamiltonians: np.ndarray, generator: np.ndarray) -> np.ndarray:
    """dρ_s/dt = −i[H_s, ρ_s] + Σ_r M_sr ρ_r as a matrix (S d², S d²) on states laid flat; M (S, S) in column
    convention, 1/s, H (S, d, d) in rad/s."""
    unit = np.eye(hamiltonians.shape[1])
    whole = np.kron(generator, np.eye(unit.size)).astype(complex)
    for site, hamiltonian in enumerate(hamiltonians):
        block = slice(site * unit.size, (site + 1) * unit.size)
        whole[block, block] -= 1j * (np.kron(hamiltonian, unit) - np.kron(unit, hamiltonian.T))
    return whole


def evolved(state: np.ndarray, matrix: np.ndarray, time_s: float) -> np.ndarray:
    """The state a time later, by the Liouvillian `matrix`."""
    return (expm(matrix * time_s) @ state.ravel()).reshape(state.shape)


def turned(state: np.ndarray, axis: np.ndarray, degrees: float) -> np.ndarray:
    """The state after an ideal pulse about an operator such as I_x."""
    turn = expm(-1j * np.radians(degrees) * axis)
    return turn @ state @ turn.conj().T


def signal(state: np.ndarray, operator: np.ndarray) -> float:
    """Tr(ρ·operator) over all sites."""
    return np.einsum("sij,ji->", state, operator).real


def _two_sites(frequency: np.ndarray, rate_per_s: float, time_s: np.ndarray) -> tuple[np.ndarray, ...]:
    """Half the difference δ of frequencies (2, ...), and cosh Rt and sinh(Rt)/R, R² = k² − δ²."""
    half = (frequency[0] - frequency[1]) / 2
    root = np.sqrt(rate_per_s**2 - half**2 + 0j)
    return half, np.cosh(root * time_s).real, (np.sinh(root * time_s) / root).real


def two_site_decay(frequency: np.ndarray, rate_per_s: float, time_s: np.ndarray) -> np.ndarray:
    """Re⟨e^{iφ(t)}⟩ of equally filled sites of frequencies (2, ...), rad/s, with jumps at k both ways."""
    _, even, odd = _two_sites(frequency, rate_per_s, time_s)
    return np.cos(frequency.mean(axis=0) * time_s) * np.exp(-rate_per_s * time_s) * (even + rate_per_s * odd)


def two_site_echo(frequency: np.ndarray, rate_per_s: float, delay_s: np.ndarray) -> np.ndarray:
    """⟨cos(φ₂ − φ₁)⟩ likewise, of the phases during the delay before and after the pulse."""
    half, even, odd = _two_sites(frequency, rate_per_s, delay_s)
    square = even**2 + 2 * rate_per_s * even * odd + (rate_per_s**2 + half**2) * odd**2
    return np.exp(-2 * rate_per_s * delay_s) * square
