"""Generators of one ion's jumps among the sites of the primitive cell.

A line shape needs a generator, which a two-time propagator is not. `effective_flows` are those of the Markov process
whose propagator at one lag is that of kinetic Monte Carlo, correlations between ions included (a Markov state model:
J.-H. Prinz et al., J. Chem. Phys. 134, 174105 (2011)): excursions that have returned within the lag are none of its
jumps.

Columns are the states jumped from: dp/dt = M p, M = Kᵀ, K_ij = rate(i → j), K_ii = −Σ_j K_ij.
"""

import numba
import numpy as np
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import expit

from insilico_nmr.errors import InputError

LEAST_CORRELATION = 1e-3
RARE = 1e-4
FEW_STATES = 8  # up to which SciPy's exponential is slower than `_exponentials`
TAYLOR_ORDER = 13  # of matrices of norm ½: what is left out is 1e-15


def occupations(log_weight: np.ndarray, concentration: float) -> np.ndarray:
    """Mean-field (Fermi) occupations ⟨n_i⟩ = 1/(1 + exp(E_i/kT − μ)), shape (m,), of mean `concentration`.

    `log_weight` is −E_i/kT up to a constant, as detailed balance gives it: ln(k_ij/k_ji) = ln w_j − ln w_i.
    Raises InputError unless 0 < concentration (ions per site) < 1.
    """
    return expit(log_odds(log_weight, concentration))


def log_odds(log_weight: np.ndarray, concentration: float) -> np.ndarray:
    """ln(n/(1 − n)) of `occupations`, (m,), also of sites so full or empty that n is 1 or 0 in double precision."""
    if not 0 < concentration < 1:
        raise InputError(f"concentration {concentration:g}: ions per site must lie between 0 and 1, both excluded")
    edge = np.log(concentration) - np.log1p(-concentration)
    potential = brentq(
        lambda mu: expit(mu + log_weight).mean() - concentration,
        edge - np.max(log_weight) - 1,
        edge - np.min(log_weight) + 1,
        xtol=1e-13,
    )
    return potential + log_weight


def effective_flows(joint: np.ndarray, populations: np.ndarray, lags_s: np.ndarray) -> np.ndarray:
    """Flows (S, S, T), ions per second both ways, of reversible processes whose joint probability at lag t is that of
    `joint` (S, S, T): one for each lag (T,) in s. 0 on the diagonal.

    F = p^½ ln[p^(−½) P p^(−½)] p^½ / lag. `joint` must be symmetric. What the logarithm of a sampled P may hold beyond
    a generator is cut: correlations below LEAST_CORRELATION, which noise makes negative, count as decayed so far, and
    negative flows as none: faster motion than that is taken to be so fast. States that hold less than RARE of the ions
    do not jump. Raises InputError unless the populations fit (see `check_populations`).
    """
    check_populations(populations, len(joint))
    common = np.ix_(populations > RARE, populations > RARE)
    shares = np.moveaxis(joint[common], -1, 0)
    root = np.sqrt(shares.sum(axis=2))
    roots = root[:, :, None] * root[:, None, :]
    correlation, modes = np.linalg.eigh(shares / roots)
    decay = np.log(np.clip(correlation, LEAST_CORRELATION, 1.0)) / lags_s[:, None]
    flows = np.zeros_like(joint)
    flows[common] = np.moveaxis(np.maximum(roots * ((modes * decay[:, None, :]) @ modes.swapaxes(1, 2)), 0), 0, -1)
    flows[np.diag_indices(len(joint))] = 0
    return flows


def generator_of_flows(flows: np.ndarray, populations: np.ndarray) -> np.ndarray:
    """Column generator (S, S), 1/s, of symmetric `flows` (S, S) between states, which keep the populations as they are;
    states without ions do not jump."""
    held = np.broadcast_to(populations[:, None] > 0, flows.shape)
    return column_generator(np.divide(flows, populations[:, None], where=held, out=np.zeros_like(flows)))


def column_generator(rates_ij: np.ndarray) -> np.ndarray:
    """M = Kᵀ of rates i → j, shape (S, S), 1/s; the diagonal given is ignored and set so that columns sum to 0."""
    matrix = np.array(rates_ij, dtype=float).T
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=0))
    return matrix


def evolution(generator: np.ndarray, omega: np.ndarray, time_s: float) -> np.ndarray:
    """exp[(M + iΩ_n)t], complex (n, S, S): jumps of a column generator M (S, S), 1/s, while phases evolve at `omega`
    (n, S), rad/s (A. Abragam, The Principles of Nuclear Magnetism, X)."""
    count, size = omega.shape
    exponent = np.broadcast_to(generator * time_s, (count, size, size)).astype(complex)
    diagonal = np.arange(size)
    exponent[:, diagonal, diagonal] += 1j * omega * time_s
    return expm(exponent) if size > FEW_STATES else _exponentials(exponent)


@numba.njit(cache=True)
def _exponentials(matrices):
    """exp of small complex matrices (n, S, S), which are overwritten: Taylor's series of a 2^−k-th of each, squared k
    times. For three states ten times as fast as SciPy's (benchmark_observables.py)."""
    size = matrices.shape[1]
    exponentials, product = np.empty_like(matrices), np.empty((size, size), matrices.dtype)
    for number, matrix in enumerate(matrices):
        result = exponentials[number]
        norm = 1.0
        for column in range(size):
            norm = max(norm, np.abs(matrix[:, column]).sum())
        halvings = 1 + int(np.ceil(np.log2(norm)))
        matrix *= 0.5**halvings
        result[:] = np.eye(size)
        for order in range(TAYLOR_ORDER, 0, -1):
            _multiply(matrix, result, product)
            result[:] = product / order
            for state in range(size):
                result[state, state] += 1
        for _ in range(halvings):
            _multiply(result, result, product)
            result[:] = product
    return exponentials


@numba.njit(cache=True)
def _multiply(first, second, product):
    """Product of matrices so small that a call of BLAS takes longer than what it does."""
    product[:] = 0
    for i in range(len(first)):
        for k in range(len(first)):
            for j in range(len(first)):
                product[i, j] += first[i, k] * second[k, j]


def parts(limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts of a network that jumps do not connect, from P(∞) (S, S): how many ions each holds, (K,), of sum 1, and
    where an ion of a part is in the long run, (K, S). One part with all populations where all sites are connected.
    """
    populations = limit.sum(axis=1)
    filled = populations > 0
    in_the_long_run = limit[filled] / populations[filled, None]
    _, first, part = np.unique(np.round(in_the_long_run, 9), axis=0, return_index=True, return_inverse=True)
    return np.bincount(part.ravel(), weights=populations[filled]), in_the_long_run[first]


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
