"""Echoes of a Markov process whose generator is given, and not found from a propagator."""

import numpy as np
from insilico_nmr import echo
from insilico_nmr.nuclei import Nucleus
from scipy.linalg import expm


def matrix_echo(
    generator: np.ndarray,
    populations: np.ndarray,
    tensors: np.ndarray,
    evolution_time_s: float,
    mixing_times_s: np.ndarray,
    nucleus: Nucleus,
    direction: np.ndarray | None = None,
) -> np.ndarray:
    """S₂ (T,) with jumps while the phases evolve, A⟨1ᵀ S e^{M t_m} S p⟩; arguments as of `echo.matrix_kernel`."""
    kernel = echo.matrix_kernel(generator, populations, tensors, evolution_time_s, nucleus, direction)
    mixing = expm(generator * np.asarray(mixing_times_s, dtype=float)[:, None, None])
    return echo.frozen_echo(np.einsum("tba,a->abt", mixing, populations), kernel, nucleus)
