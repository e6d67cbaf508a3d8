"""Tensor correlation along the histories of ions: ⟨V(0):V(t)⟩ estimated directly, without sites.

It needs no lattice that repeats, so it holds in a glass, and it has all motion in it: vibrations, excursions, jumps in
concert. Where a lattice repeats it says whether sites, their mean tensors and kinetic Monte Carlo describe that motion.
"""

import numpy as np

from insilico_nmr.errors import InputError


def autocorrelation(tensors: np.ndarray) -> np.ndarray:
    """⟨V(0):V(t)⟩ at lags of 0, 1, ... frames, (F,), over all origins and ions; tensors (F, N, 3, 3), evenly spaced.

    The later a lag, the fewer origins it has: F less its number. Raises InputError for fewer than two frames and where
    a tensor is not finite.
    """
    if len(tensors) < 2 or not np.isfinite(tensors).all():
        raise InputError("histories: expected finite tensors of at least two frames")
    frames, ions = tensors.shape[:2]
    signal = np.fft.rfft(tensors.reshape(frames, -1), 2 * frames, axis=0)
    summed = np.fft.irfft((np.abs(signal) ** 2).sum(axis=1), 2 * frames)[:frames]
    return summed / (np.arange(frames, 0, -1) * ions)


def by_ion(tensors: np.ndarray) -> np.ndarray:
    """`autocorrelation` of every ion alone, (N, F)."""
    return np.array([autocorrelation(tensors[:, ion : ion + 1]) for ion in range(tensors.shape[1])])
