"""Directions of the magnetic field in a powder, and first-order quadrupolar frequencies along them.

A first-order frequency is even in the field's direction, so every grid here covers one hemisphere.
"""

import numpy as np
from scipy.integrate import lebedev_rule

from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.tensors import COLUMNS, ROWS

# Directions of spectra and echoes of committee members, replicates and replicas: only their spread is wanted.
SPREAD_DIRECTIONS = 610


def lebedev(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Lebedev's quadrature folded on a hemisphere: unit vectors (n, 3) and weights (n,) of sum 1.

    Exact for spherical harmonics up to `degree` (an odd number that scipy.integrate.lebedev_rule knows).
    """
    points, weights = lebedev_rule(degree)
    x, y, z = points
    upper = (z > 0) | ((z == 0) & ((y > 0) | ((y == 0) & (x > 0))))
    return points.T[upper], weights[upper] / weights[upper].sum()


def zcw(minimum_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Zaremba-Conroy-Wolfsberg set on a hemisphere: unit vectors (n, 3) and equal weights (n,), n ≥ `minimum_count`.

    n is a Fibonacci number (Edén and Levitt, J. Magn. Reson. 132, 220 (1998)). Even in frequency space, so it
    suits spectra; its error falls like 1/n only.
    """
    generator, count = 8, 13
    while count < minimum_count:
        generator, count = count, generator + count
    index = np.arange(count)
    z = (index + 0.5) / count
    # generator/count is near the golden ratio; the exact integer product keeps the fraction exact.
    azimuth = 2 * np.pi * ((index * generator) % count) / count
    radius = np.sqrt(1 - z**2)
    directions = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1)
    return directions, np.full(count, 1 / count)


def gauss_legendre(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre rings of latitude on a hemisphere: unit vectors (n, 3) and weights (n,) of sum 1, n ≈ degree²/5.

    Exact for spherical harmonics up to `degree` within 5e-7. Rings near the pole have fewer directions, for there
    harmonics of high order vanish: a reduced Gaussian grid (M. Hortal, A. J. Simmons, Mon. Weather Rev. 119, 1057
    (1991)). It has a fifth more directions than Lebedev's rules, and any degree.
    """
    z, ring_weights = np.polynomial.legendre.leggauss(2 * (degree // 4 + 1))
    z, ring_weights = z[z > 0], ring_weights[z > 0]
    radius = np.sqrt(1 - z**2)
    counts = np.ceil(np.minimum(degree + 1, degree * radius + 3.5 * np.cbrt(degree))).astype(int)
    ring = np.repeat(np.arange(len(z)), counts)
    place = np.arange(len(ring)) - np.repeat(np.cumsum(counts) - counts, counts)
    azimuth = 2 * np.pi * (place + (ring % 2) / 2) / counts[ring]
    directions = np.stack([radius[ring] * np.cos(azimuth), radius[ring] * np.sin(azimuth), z[ring]], axis=1)
    return directions, (ring_weights / counts)[ring]


def unit_direction(direction: np.ndarray) -> np.ndarray:
    """A field direction (3,) of length 1. Raises InputError where it has none."""
    length = np.linalg.norm(direction)
    if not length > 0:
        raise InputError(f"field along {direction}: not a direction")
    return np.asarray(direction, dtype=float) / length


def single_crystal(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The grid of one direction, (1, 3), and its weight 1. Raises InputError as `unit_direction` does."""
    return unit_direction(direction)[None], np.ones(1)


def directions_for_phases(span: float, at_most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest grid on which averages of sin(φ_a)·sin(φ_b) have converged, where each phase φ = 2πν(n)t differs by
    up to `span` rad between two directions.

    The product of two oscillates like harmonics of up to twice the span; beyond, they vanish as Bessel functions do.
    Averages (at most ½) are within 1e-5, of tensors of η from 0 to 1 in any and in one orientation (span 1.5 rad: 85
    directions, 15: 628, 150: 21,122). Where these are more than `at_most`, so many of a ZCW set instead. Raises
    InputError from 2000 rad on.
    """
    if not (np.isfinite(span) and 0 <= span < 2000):
        raise InputError(f"phase {span:g} rad: frequency times evolution time should be below 2000 rad")
    degree = int(2 * span + 8 * np.cbrt(span)) + 5
    # Rings have more directions than a seventh of their degree's square: no need to make these to know it.
    if at_most is not None and degree**2 / 7 > at_most:
        return zcw(at_most)
    rings = gauss_legendre(degree)
    return rings if at_most is None or len(rings[1]) <= at_most else zcw(at_most)


def frequency_unit(nucleus: Nucleus) -> float:
    """Factor from nᵀVn (a.u.) to ν_Q (Hz): 3eQ/[2I(2I−1)h]; eQ/2h for I = 3/2. Raises InputError for I < 1."""
    if nucleus.spin < 1:
        raise InputError(f"{nucleus.isotope} has spin {nucleus.spin:g}: a quadrupolar frequency needs spin 1 or more")
    return 3 * nucleus.coupling_per_au / (2 * nucleus.spin * (2 * nucleus.spin - 1))


def outermost_unit(nucleus: Nucleus) -> float:
    """Factor from nᵀVn (a.u.) to (I − ½)ν_Q (Hz), where the outermost lines lie: ±ν_Q/2 of spin 1, ±ν_Q of spin 3/2."""
    return (nucleus.spin - 0.5) * frequency_unit(nucleus)


def outermost_Hz(tensors: np.ndarray, nucleus: Nucleus) -> float:
    """How far from the Larmor frequency lines of tensors (S, 3, 3) in a.u. reach, in any direction."""
    return abs(outermost_unit(nucleus)) * float(np.abs(np.linalg.eigvalsh(tensors)).max())


def pattern_width_Hz(tensors: np.ndarray, nucleus: Nucleus) -> float:
    """Width of the widest pattern that an outermost line of tensors (..., 3, 3) in a.u. has in a powder."""
    return abs(outermost_unit(nucleus)) * float(np.ptp(np.linalg.eigvalsh(tensors), axis=-1).max())


def quadrupolar_frequency(tensors: np.ndarray, directions: np.ndarray, nucleus: Nucleus) -> np.ndarray:
    """First-order ν_Q(n) in Hz, shape (n, ...), of field gradients (..., 3, 3) in a.u., field along (n, 3).

    The transition m ↔ m−1 lies at ν_Q·(m − ½) (A. Abragam, The Principles of Nuclear Magnetism, VII): the
    satellites of spin 3/2 at ±ν_Q and its central line unmoved.
    """
    # nᵀVn as a product of six distinct elements: one matrix multiplication instead of a triple contraction.
    x, y, z = np.asarray(directions).T
    products = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    elements = np.asarray(tensors)[..., ROWS, COLUMNS]
    return frequency_unit(nucleus) * np.tensordot(products, elements, axes=(1, -1))


def transitions(spin: float) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers m − ½ of ν_Q and intensities ∝ I(I+1) − m(m−1), sum 1, of the 2I transitions m ↔ m−1.

    Spin 3/2: multipliers (1, 0, −1), intensities (0.3, 0.4, 0.3).
    """
    m = np.arange(spin, -spin, -1)
    intensities = spin * (spin + 1) - m * (m - 1)
    return m - 0.5, intensities / intensities.sum()
