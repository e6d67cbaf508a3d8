"""The Markov process that stands for kinetic Monte Carlo while phases evolve: in echoes, line shapes, exchange spectra.

A generator from P at one lag (`effective_flows`) keeps that time scale, ways back included, and loses faster ones: of a
correlation that has decayed by then the logarithm is noise. So sites among which ions have come to equilibrium before
get their flows from the lag at which they did (`_met`), and all others from one lag: the one whose process has the
correlation function ⟨V(0):V(t)⟩ nearest to that of kinetic Monte Carlo, its own scatter over replicas included, without
which a lag that few ions jump within would do as well as any. How near, `misfit` tells.
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
    modelled = _correlation(generator * propagator.populations, propagator, tensors)
    counted, start = _counted(propagator, tensors)
    return float(np.abs(modelled - counted).max() / start)


def _correlation(flows: np.ndarray, propagator: Propagator, tensors: np.ndarray) -> np.ndarray:
    """⟨V(0):V(t)⟩ (..., T) of processes of `flows` (..., S, S), at the times of the propagator."""
    held = propagator.populations > 0
    rates, modes = modes_of_one_ion(flows[..., held, :][..., held], propagator.populations[held])
    sizes = np.einsum("...an,ab,...bn->...n", modes, tensor_kernel(tensors[held]), modes)
    return (sizes[..., None, :] @ np.exp(rates[..., None] * propagator.time_s))[..., 0, :]


def _counted(propagator: Propagator, tensors: np.ndarray) -> tuple[np.ndarray, float]:
    """⟨V(0):V(t)⟩ (T,) of the propagator, and its start."""
    kernel = tensor_kernel(tensors)
    return contract(kernel, propagator.joint), float(np.diag(kernel) @ propagator.populations)


def without_one_replica(propagator: Propagator, tensors: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For a jackknife over replicas: joint probability (S, S, T) and generator (S, S) of all replicas but one, R times,
    at the lags of the whole. Raises InputError for a single replica."""
    if len(propagator.replicas) < 2:
        raise InputError("a jackknife needs two replicas or more")
    lags = _lags(propagator, tensors)
    return [(joint, _generator(joint, propagator, lags)) for joint in _all_but_one(propagator)]


def _all_but_one(propagator: Propagator) -> np.ndarray:
    """Joint probabilities (R, S, S, T) of all replicas but one."""
    return (propagator.replicas.sum(axis=0) - propagator.replicas) / (len(propagator.replicas) - 1)


def replicas_of_jackknife(whole: np.ndarray, without_one: np.ndarray) -> np.ndarray:
    """Curves (R, T) about `whole` (T,) whose standard error over replicas is the jackknife's of curves (R, T) that each
    leave one replica out (B. Efron, Ann. Stat. 7, 1 (1979))."""
    return whole - (len(without_one) - 1) * (without_one - without_one.mean(axis=0))


def _generator(joint: np.ndarray, propagator: Propagator, lags: np.ndarray) -> np.ndarray:
    """Generator (S, S) of flows from P (S, S, T), each from its lag: `lags` (S, S), places on the grid of times."""
    used, places = np.unique(lags, return_inverse=True)
    flows = effective_flows(joint[..., used], propagator.populations, propagator.time_s[used])
    return generator_of_flows(_taken(flows, places.reshape(lags.shape)), propagator.populations)


def _taken(flows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of flows (S, S, T) those (S, S) of a place (S, S) on the last axis each."""
    return np.take_along_axis(flows, places[..., None], axis=-1)[..., 0]


def _lags(propagator: Propagator, tensors: np.ndarray) -> np.ndarray:
    """Where on the grid of times each flow between two sites is taken from, (S, S)."""
    met, time_s = _met(propagator), propagator.time_s[1:]
    choices = [np.minimum(met, last) for last in range(1, met.max() + 1)]

    def correlations(joint: np.ndarray) -> np.ndarray:
        """Of the process of each choice, (C, T)."""
        flows = effective_flows(joint[..., 1:], propagator.populations, time_s)
        return _correlation(np.array([_taken(flows, lags - 1) for lags in choices]), propagator, tensors)

    away = correlations(propagator.joint) - _counted(propagator, tensors)[0]
    variance = np.zeros_like(away)
    if (count := len(propagator.replicas)) > 1:
        variance = (count - 1) * np.var([correlations(joint) for joint in _all_but_one(propagator)], axis=0)
    return choices[int((away**2 + variance).max(axis=1).argmin())]


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
