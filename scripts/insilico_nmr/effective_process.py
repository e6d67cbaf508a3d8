"""The Markov process that stands for kinetic Monte Carlo while phases evolve: in echoes, line shapes, exchange spectra.

Its generator is that of P at the half-decay of the tensors' correlation (`effective_generator`): the time scale of what
is observed, ways back included, without the distribution of times about it. Motion that has long come to its end by
then, as jumps within a pair of sites beside rare ones between pairs, counts as slower than it is; `misfit` tells.
"""

import sys

import numpy as np
from scipy.linalg import expm

from insilico_nmr.echo import Propagator, contract, half_decay, tensor_kernel
from insilico_nmr.errors import InputError
from insilico_nmr.generator import effective_generator


def _lag(propagator: Propagator, tensors: np.ndarray) -> int:
    """Where on the grid of times `half_decay` lies; the last place where kinetic Monte Carlo ends before."""
    lag_s = half_decay(propagator, tensors)
    return len(propagator.time_s) - 1 if np.isnan(lag_s) else int(np.searchsorted(propagator.time_s, lag_s))


def generator_at_half_decay(propagator: Propagator, tensors: np.ndarray) -> np.ndarray:
    """Column generator (S, S), 1/s, of the lag at which ⟨V(0):V(t)⟩ of tensors (S, 3, 3) has fallen half-way to its
    plateau. Says on stderr how well its correlation function fits (`misfit`)."""
    lag = _lag(propagator, tensors)
    generator = effective_generator(propagator.joint[..., lag], propagator.populations, propagator.time_s[lag])
    print(
        f"generator at a lag of {propagator.time_s[lag]:.3g} s; its correlation function differs from kinetic "
        f"Monte Carlo's by at most {misfit(propagator, tensors, generator):.3f} of the start",
        file=sys.stderr,
    )
    return generator


def misfit(propagator: Propagator, tensors: np.ndarray, generator: np.ndarray) -> float:
    """Largest difference of a generator's ⟨V(0):V(t)⟩ from the propagator's, over its start; tensors (S, 3, 3)."""
    kernel = tensor_kernel(tensors)
    some = np.flatnonzero(propagator.time_s > 0)[::3]
    modelled = np.array(
        [
            contract(kernel, (expm(generator * time) * propagator.populations)[..., None])[0]
            for time in propagator.time_s[some]
        ]
    )
    counted = contract(kernel, propagator.joint[..., some])
    return float(np.abs(modelled - counted).max() / (np.diag(kernel) @ propagator.populations))


def without_one_replica(propagator: Propagator, tensors: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For a jackknife over replicas: joint probability (S, S, T) and generator (S, S) of all replicas but one, R times,
    at the lag of the whole. Raises InputError for a single replica."""
    if len(propagator.replicas) < 2:
        raise InputError("a jackknife needs two replicas or more")
    lag, populations = _lag(propagator, tensors), propagator.populations
    joints = (propagator.replicas.sum(axis=0) - one for one in propagator.replicas)
    found = (joint / (len(propagator.replicas) - 1) for joint in joints)
    return [(joint, effective_generator(joint[..., lag], populations, propagator.time_s[lag])) for joint in found]


def replicas_of_jackknife(whole: np.ndarray, without_one: np.ndarray) -> np.ndarray:
    """Curves (R, T) about `whole` (T,) whose standard error over replicas is the jackknife's of curves (R, T) that each
    leave one replica out (B. Efron, Ann. Stat. 7, 1 (1979))."""
    return whole - (len(without_one) - 1) * (without_one - without_one.mean(axis=0))
