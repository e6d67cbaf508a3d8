"""Along the histories of ions, without sites: ⟨V(0):V(t)⟩ and spin-alignment echoes estimated directly.

It needs no lattice that repeats, so it holds in a glass, and it has all motion in it: vibrations, excursions, jumps in
concert. Where a lattice repeats it says whether sites, their mean tensors and kinetic Monte Carlo describe that motion.
"""

import numpy as np

from insilico_nmr.echo import amplitude, check_echo, evolution_frequency, orientations
from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.tensor_model import TensorModel
from insilico_nmr.trajectory import Trajectory

PART = 4  # of a run, that correlation functions go on for: longer lags have few origins


def momentary_tensors(run: Trajectory, model: TensorModel, element: str) -> np.ndarray:
    """The model's tensors of the atoms of an element in every frame, (F, N, 3, 3)."""
    chosen = run.frame(0).symbols == element
    return np.array([model.predict(run.frame(number))[chosen] for number in range(len(run.time_ps))])


def autocorrelation(tensors: np.ndarray) -> np.ndarray:
    """⟨V(0):V(t)⟩ at lags of 0, 1, ... frames, (F,), over all origins and ions; tensors (F, N, 3, 3), evenly spaced.

    Any other components (F, N, ...) whose products are to be summed do as well. The later a lag, the fewer origins it
    has: F less its number. Raises InputError for fewer than two frames and where a tensor is not finite.
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


def running_mean(tensors: np.ndarray, frames: int) -> np.ndarray:
    """Means of tensors (F, N, 3, 3) over `frames` frames each, (F − frames + 1, N, 3, 3): vibrations are averaged.

    Raises InputError where a run has not ten times as many.
    """
    if not 1 <= frames <= len(tensors) / 10:
        raise InputError(f"a mean over {frames} of {len(tensors)} frames: expected 1 or more, and a tenth at most")
    sums = np.cumsum(np.concatenate([np.zeros((1, *tensors.shape[1:])), tensors]), axis=0)
    return (sums[frames:] - sums[:-frames]) / frames


def echo_by_ion(tensors: np.ndarray, evolution_time_s: float, nucleus: Nucleus) -> np.ndarray:
    """S₂(t_p, t) = A⟨sin(ω(0)t_p) sin(ω(t)t_p)⟩ of every ion, (N, F), averaged over a powder; A and ω as in echo.py.

    tensors : (F, N, 3, 3) a.u., evenly spaced: an ion keeps its tensor of time 0 while phases evolve before mixing, and
    that of t after it.
    """
    check_echo(nucleus, evolution_time_s)
    directions, weights = orientations(tensors, evolution_time_s, nucleus)
    found = np.zeros((tensors.shape[1], len(tensors)))
    for ion in range(tensors.shape[1]):
        for start in range(0, len(directions), 1000):
            block = slice(start, start + 1000)
            phases = evolution_time_s * evolution_frequency(tensors[:, ion], directions[block], nucleus)
            found[ion] += autocorrelation((np.sin(phases) * np.sqrt(weights[block])[:, None]).T[:, None])
    return amplitude(nucleus) * found
