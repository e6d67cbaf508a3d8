"""Mean-field generator of one ion's jumps among the sites of the primitive cell, from rates and detailed balance.

A site that holds an ion cannot be jumped to, so the rate of a tagged ion is k_ij·(1 − ⟨n_j⟩). Correlations between
ions (the way back stays open just after a jump) are neglected: at c → 0 the generator is exact, near a full lattice
it lets the ion spread too fast. Kinetic Monte Carlo keeps those correlations; a line shape needs a generator.

Columns are the states jumped from: dp/dt = M p, M = Kᵀ, K_ij = rate(i → j), K_ii = −Σ_j K_ij.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from insilico_nmr.errors import InputError
from insilico_nmr.lattice import Lattice


def bare_rates(lattice: Lattice) -> np.ndarray:
    """k_ij (1/s) between sites of the primitive cell, shape (m, m), summed over the jumps from i to images of j.

    A jump to an image of the same site is left out: the tensor stays the same.
    """
    start, end, rate = lattice.links
    matrix = np.zeros((len(lattice.basis),) * 2)
    np.add.at(matrix, (start, end), rate)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def occupations(log_weight: np.ndarray, concentration: float) -> np.ndarray:
    """Mean-field (Fermi) occupations ⟨n_i⟩ = 1/(1 + exp(E_i/kT − μ)), shape (m,), of mean `concentration`.

    `log_weight` is −E_i/kT up to a constant, as detailed balance gives it: ln(k_ij/k_ji) = ln w_j − ln w_i.
    Raises InputError unless 0 < concentration (ions per site) < 1.
    """
    if not 0 < concentration < 1:
        raise InputError(f"concentration {concentration:g}: ions per site must lie between 0 and 1, both excluded")
    edge = np.log(concentration) - np.log1p(-concentration)
    potential = brentq(
        lambda mu: expit(mu + log_weight).mean() - concentration,
        edge - np.max(log_weight) - 1,
        edge - np.min(log_weight) + 1,
        xtol=1e-13,
    )
    return expit(potential + log_weight)


def mean_field_generator(lattice: Lattice, concentration: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column generator M (m, m) in 1/s, populations p (m,) of a tagged ion, occupations ⟨n⟩ (m,).

    p_i = ⟨n_i⟩/Σ⟨n⟩ is stationary and M reversible, because the lattice's rates obey detailed balance.
    """
    filled = occupations(lattice.log_weight, concentration)
    return column_generator(bare_rates(lattice) * (1 - filled)), filled / filled.sum(), filled


def column_generator(rates_ij: np.ndarray) -> np.ndarray:
    """M = Kᵀ of rates i → j, shape (S, S), 1/s; the diagonal given is ignored and set so that columns sum to 0."""
    matrix = np.array(rates_ij, dtype=float).T
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=0))
    return matrix


def check_generator(generator: np.ndarray, populations: np.ndarray) -> None:
    """Raise InputError unless M is a column generator with `populations` (sum 1) as its stationary state."""
    scale = np.abs(np.diag(generator)).max()
    if not np.all(np.isfinite(generator)) or np.any(generator - np.diag(np.diag(generator)) < 0):
        raise InputError("generator: rates must be finite and not negative")
    if np.abs(generator.sum(axis=0)).max() > 1e-9 * scale:
        raise InputError("generator: columns must sum to 0 (column convention, M = Kᵀ)")
    check_populations(populations, len(generator))
    if np.abs(generator @ populations).max() > 1e-6 * scale:
        raise InputError("generator: the populations are not its stationary state")


def check_populations(populations: np.ndarray, count: int) -> None:
    """Raise InputError unless there are `count` non-negative populations that sum to 1."""
    if np.shape(populations) != (count,):
        raise InputError(f"{count} states but populations of shape {np.shape(populations)}")
    if not np.all(np.asarray(populations) >= 0) or abs(np.sum(populations) - 1) > 1e-6:
        raise InputError(f"populations must be non-negative and sum to 1, not {np.sum(populations):.6g}")
