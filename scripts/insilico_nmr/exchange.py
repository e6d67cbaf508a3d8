"""Two-dimensional exchange spectra of satellites: frequencies before and after a mixing time, correlated.

S(ν₁, ν₂; t_m) is the joint density of ν_Q of one ion at the start and at the end of mixing, over ions and powder, and
its mirror image of the other satellite: what cosine- and sine-modulated stimulated echoes of spin 3/2 add up to, with
hard ideal pulses and jumps frozen while phases evolve (C. Schmidt, S. Wefing, B. Blümich, H. W. Spiess, Chem. Phys.
Lett. 130, 84 (1986)). The central line, which does not move, is left out.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from insilico_nmr.echo import Propagator
from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import frequency_unit, quadrupolar_frequency, zcw

DIRECTIONS = 20_000  # at least, on a hemisphere


def joint_at(propagator: Propagator, time_s: float) -> np.ndarray:
    """P (S, S) at a time, linear between the times of the grid, in their logarithm after the first.

    Raises InputError for a time that is negative or beyond the grid.
    """
    grid = propagator.time_s
    if not 0 <= time_s <= grid[-1]:
        raise InputError(f"a mixing time of {time_s:g} s; the propagator knows times from 0 to {grid[-1]:.3g} s")
    after = int(np.searchsorted(grid, time_s))
    if grid[after] == time_s:
        return propagator.joint[..., after]
    before, low, high = after - 1, grid[after - 1], grid[after]
    share = (time_s - low) / (high - low) if low == 0 else np.log(time_s / low) / np.log(high / low)
    return (1 - share) * propagator.joint[..., before] + share * propagator.joint[..., after]


def frequency_axis(tensors: np.ndarray, nucleus: Nucleus, points: int) -> np.ndarray:
    """Symmetric axis (points,), Hz, 5 % wider than the widest pattern of the tensors (S, 3, 3)."""
    widest = 1.05 * abs(frequency_unit(nucleus)) * np.abs(np.linalg.eigvalsh(tensors)).max()
    return np.linspace(-widest, widest, points)


def exchange_spectrum(
    joint: np.ndarray, tensors: np.ndarray, nucleus: Nucleus, axis_Hz: np.ndarray, gauss_Hz: float
) -> np.ndarray:
    """S (n, n), 1/Hz², rows ν₁, on an even axis (n,), of P (S, S) and tensors (S, 3, 3) in a.u.; integral 1.

    `gauss_Hz`: full width at half maximum in both dimensions. Raises InputError for an axis that some frequency misses.
    """
    directions, weights = zcw(DIRECTIONS)
    frequency = quadrupolar_frequency(tensors, directions, nucleus)
    step, size = axis_Hz[1] - axis_Hz[0], len(axis_Hz)
    place = (frequency - axis_Hz[0]) / step
    if place.min() < 0 or place.max() > size - 1:
        raise InputError(f"the axis ends at {axis_Hz[-1]:g} Hz, short of {np.abs(frequency).max():g} Hz")
    whole = np.minimum(place.astype(int), size - 2)
    part = place - whole
    spectrum = np.zeros(size * size)
    # Each point is shared among the four points of the grid around it.
    for a, b in np.argwhere(joint > 0):
        for left in (0, 1):
            for right in (0, 1):
                share = weights * joint[a, b] * (part[:, a] if left else 1 - part[:, a])
                share = share * (part[:, b] if right else 1 - part[:, b])
                spectrum += np.bincount((whole[:, a] + left) * size + whole[:, b] + right, share, size * size)
    spectrum = spectrum.reshape(size, size)
    both = (spectrum + spectrum[::-1, ::-1]) / 2
    sigma = gauss_Hz / (2 * np.sqrt(2 * np.log(2))) / step
    return gaussian_filter(both, sigma, mode="constant") / (both.sum() * step**2)
