"""The Markov process that stands for kinetic Monte Carlo while phases evolve: in echoes, line shapes, exchange spectra.

A generator from P at one lag (`effective_flows`) keeps that time scale, ways back included, and loses faster ones: of a
correlation that has decayed by then the logarithm is noise. So sites among which ions have come to equilibrium before
get their flows from the lag at which they did (`_met`), and all others from one lag: the one whose process has the
correlation function ⟨V(0):V(t)⟩ nearest to that of kinetic Monte Carlo. How near, `misfit` tells.
"""

import sys

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform

from insilico_nmr.echo import Propagator, contract, tensor_kernel
from insilico_nmr.errors import InputError
from insilico_nmr.generator import RARE, effective_flows, generator_of_flows
from insilico_nmr.propagator import modes_of_one_ion

APART = 3.0  # sites in equilibrium: all others are so many times farther from each of them than they are from another


def generator_of(propagator: Propagator, tensors: np.ndarray) -> np.ndarray:
    """Column generator (S, S), 1/s, of the process that stands for ions on sites of tensors (S, 3, 3). Says on stderr
    how well its correlation function fits (`misfit`)."""
    lags = _lags(propagator, tensors)
    generator = _generator(propagator.joint, propagator, lags)
    print(
        f"generator of lags from {propagator.time_s[lags.min()]:.3g} to {propagator.time_s[lags.max()]:.3g} s; its "
        f"correlation function differs from kinetic Monte Carlo's by at most "
        f"{misfit(propagator, tensors, generator):.3f} of the start",
        file=sys.stderr,
    )
    return generator


def misfit(propagator: Propagator, tensors: np.ndarray, generator: np.ndarray) -> float:
    """Largest difference of a generator's ⟨V(0):V(t)⟩ from the propagator's, over its start; tensors (S, 3, 3)."""
    populations, kernel = propagator.populations, tensor_kernel(tensors)
    held = np.ix_(populations > 0, populations > 0)
    rates, modes = modes_of_one_ion((generator * populations)[held], populations[populations > 0])
    modelled = np.einsum("an,ab,bn->n", modes, kernel[held], modes) @ np.exp(np.outer(rates, propagator.time_s))
    counted = contract(kernel, propagator.joint)
    return float(np.abs(modelled - counted).max() / (np.diag(kernel) @ populations))


def without_one_replica(propagator: Propagator, tensors: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For a jackknife over replicas: joint probability (S, S, T) and generator (S, S) of all replicas but one, R times,
    at the lags of the whole. Raises InputError for a single replica."""
    if len(propagator.replicas) < 2:
        raise InputError("a jackknife needs two replicas or more")
    lags = _lags(propagator, tensors)
    joints = (propagator.replicas.sum(axis=0) - one for one in propagator.replicas)
    found = (joint / (len(propagator.replicas) - 1) for joint in joints)
    return [(joint, _generator(joint, propagator, lags)) for joint in found]


def replicas_of_jackknife(whole: np.ndarray, without_one: np.ndarray) -> np.ndarray:
    """Curves (R, T) about `whole` (T,) whose standard error over replicas is the jackknife's of curves (R, T) that each
    leave one replica out (B. Efron, Ann. Stat. 7, 1 (1979))."""
    return whole - (len(without_one) - 1) * (without_one - without_one.mean(axis=0))


def _generator(joint: np.ndarray, propagator: Propagator, lags: np.ndarray) -> np.ndarray:
    """Generator (S, S) of flows from P (S, S, T), each from its lag: `lags` (S, S), places on the grid of times."""
    used, places = np.unique(lags, return_inverse=True)
    flows = effective_flows(joint[..., used], propagator.populations, propagator.time_s[used])
    return _generator_of_places(flows, places.reshape(lags.shape), propagator.populations)


def _generator_of_places(flows: np.ndarray, places: np.ndarray, populations: np.ndarray) -> np.ndarray:
    """Generator (S, S) of flows (S, S, T), each from its place (S, S) on the last axis."""
    return generator_of_flows(np.take_along_axis(flows, places[..., None], axis=-1)[..., 0], populations)


def _lags(propagator: Propagator, tensors: np.ndarray) -> np.ndarray:
    """Where on the grid of times each flow between two sites is taken from, (S, S)."""
    met = _met(propagator)
    flows = effective_flows(propagator.joint[..., 1:], propagator.populations, propagator.time_s[1:])
    choices = [np.minimum(met, last) for last in range(1, met.max() + 1)]

    def misfit_of(lags: np.ndarray) -> float:
        return misfit(propagator, tensors, _generator_of_places(flows, lags - 1, propagator.populations))

    return min(choices, key=misfit_of)


def _met(propagator: Propagator) -> np.ndarray:
    """First place (S, S) on the grid of times, after 0, at which ions of two sites are in equilibrium with one another:
    where they are then tells little of which of the two they began on, next to telling them from ions of other sites.
    The last place where that is never so."""
    joint, count = propagator.joint, len(propagator.time_s)
    common = np.flatnonzero(propagator.populations > RARE)
    first = np.full(joint.shape[:2], count - 1)
    for place in reversed(range(1, count)):
        shares = joint[np.ix_(common, common)][..., place]
        for together in _sets_apart(pdist(shares / shares.sum(axis=1, keepdims=True), "cityblock") / 2):
            first[np.ix_(common[together], common[together])] = place
    return first


def _sets_apart(distances: np.ndarray) -> list[list[int]]:
    """Sets of two or more points whose largest distance is below 1/APART of that to any point outside (where there is
    none, of 1, as far as two distributions can be apart). `distances` (n(n − 1)/2,); of sets in one another, all."""
    if not len(distances):
        return []
    square = squareform(distances)
    sets = [[point] for point in range(len(square))]
    for one, other, *_ in linkage(distances, "single"):  # such a set is one of single linkage
        sets.append(sets[int(one)] + sets[int(other)])

    def apart(some: list[int]) -> bool:
        outside = np.setdiff1d(np.arange(len(square)), some)
        return APART * square[np.ix_(some, some)].max() < square[np.ix_(some, outside)].min(initial=1.0)

    return [some for some in sets[len(square) :] if apart(some)]
