"""Markov processes in place of kinetic Monte Carlo: exact where that is one, with fast motion beside slow, with memory.

Propagators are synthetic: closed forms, or counts drawn from them.
"""

import numpy as np
import pytest
from echoes import matrix_echo
from insilico_nmr.echo import Propagator
from insilico_nmr.effective_process import generator_of, misfit, without_one_replica
from insilico_nmr.errors import InputError
from insilico_nmr.generator import column_generator
from insilico_nmr.nuclei import quadrupolar_nucleus
from scipy.linalg import expm
from test_spectra import field_gradient, random_tensors

LITHIUM = quadrupolar_nucleus("7Li")
PAIRS = 4
EIGHTHS = np.full(2 * PAIRS, 1 / (2 * PAIRS))


def ring_of_pairs(within_per_s: float, between_per_s: float) -> np.ndarray:
    """Generator of pairs of sites in a ring: an ion jumps to the other of its pair, or to the next pair's near site."""
    rates = np.zeros((2 * PAIRS, 2 * PAIRS))
    for first in range(0, 2 * PAIRS, 2):
        rates[first, first + 1] = within_per_s
        rates[first + 1, (first + 2) % (2 * PAIRS)] = between_per_s
    return column_generator(rates + rates.T)


def propagator_of(generator: np.ndarray, time_s: np.ndarray, ions: int | None = None, seed: int = 0) -> Propagator:
    """P(t) of a process of equal populations: exact, or counted from so many ions at a time in each of 4 replicas."""
    size = len(generator)
    exact = np.array([expm(generator * time) for time in time_s]) / size
    exact = (exact + exact.swapaxes(1, 2)) / 2
    replicas = np.array([exact] * 4)
    if ions:
        shares = np.clip(exact, 0, None).reshape(len(time_s), -1)
        drawn = np.random.default_rng(seed).multinomial(
            ions, shares / shares.sum(axis=1, keepdims=True), (4, len(time_s))
        )
        counts = drawn.reshape(replicas.shape) / ions
        replicas = (counts + counts.swapaxes(2, 3)) / 2
        replicas[:, 0] = exact[0]
    replicas = np.moveaxis(replicas, 1, -1)
    populations, limit = np.full(size, 1 / size), np.full((size, size), 1 / size**2)
    seen = np.full(len(time_s), 4.0 * (ions or 1))
    return Propagator(
        replicas.mean(axis=0), replicas, populations, limit, generator / size, time_s, time_s[-1], 300.0, 1.0, 0, seen
    )


def between_pairs(generator: np.ndarray) -> float:
    """Mean rate from one pair to the next, of an ion that is on either site of it."""
    to_next = [
        generator[np.ix_(np.add([2, 3], first) % (2 * PAIRS), [first, first + 1])].sum() / 2
        for first in range(0, 2 * PAIRS, 2)
    ]
    return float(np.mean(to_next))


@pytest.mark.parametrize("ratio", [1.0, 30.0, 1e6])
def test_a_markov_process_is_found_whatever_the_spread_of_its_rates(ratio):
    truth = ring_of_pairs(ratio, 1.0)
    time_s = np.concatenate([[0.0], np.geomspace(1e-2 / ratio, 30, 80)])
    propagator, tensors = propagator_of(truth, time_s), random_tensors(2 * PAIRS)
    found = generator_of(propagator, tensors)
    jumps = truth > 0
    np.testing.assert_allclose(found[jumps], truth[jumps], rtol=0.02)
    assert misfit(propagator, tensors, found) < 1e-3


@pytest.mark.parametrize("ratio", [1e3, 1e6])
def test_fast_jumps_within_pairs_and_rare_ones_between_are_both_found_in_counts(ratio):
    """At the lag of the rare jumps all memory of the fast ones is gone: by that lag alone an ion stays on one site of
    its pair for that time, and the echo dephases; by that of the fast ones the rare ones are lost in noise."""
    between_per_s = 2e3
    truth = ring_of_pairs(ratio * between_per_s, between_per_s)
    time_s = np.concatenate([[0.0], np.geomspace(1e-2 / ratio, 30, 60)]) / between_per_s
    propagator, tensors = propagator_of(truth, time_s, ions=5000), random_tensors(2 * PAIRS)
    found = generator_of(propagator, tensors)
    within = [found[first, first + 1] for first in range(0, 2 * PAIRS, 2)]
    np.testing.assert_allclose(within, ratio * between_per_s, rtol=0.15)
    assert between_pairs(found) == pytest.approx(between_per_s / 2, rel=0.15)
    assert misfit(propagator, tensors, found) < 0.05
    mixing_s = np.array([1e-6, 1e-4, 1e-2])
    echoes = [matrix_echo(some, EIGHTHS, tensors, 2e-5, mixing_s, LITHIUM) for some in (truth, found)]
    np.testing.assert_allclose(echoes[1], echoes[0], atol=0.03)


@pytest.mark.parametrize("seed", range(6))
def test_rare_jumps_are_known_from_counts_as_well_as_the_counts_tell(seed):
    """Layers as in Li3N: 1e9 jumps a second between two sites of one tensor, 2e3 on to a third. Of 2e4 ions in each of
    4 replicas a third have changed tensor at 1/(3k), so that k could be known within half a per cent."""
    rare_per_s, often_per_s = 2e3, 1e9
    truth = column_generator(
        np.array([[0, rare_per_s, rare_per_s], [rare_per_s, 0, often_per_s], [rare_per_s, often_per_s, 0]])
    )
    time_s = np.concatenate([[0.0], np.geomspace(1e-2 / often_per_s, 6 / rare_per_s, 80)])
    tensors = np.array([[1.0], [-0.5], [-0.5]])[..., None] * field_gradient(1e5)
    propagator = propagator_of(truth, time_s, ions=20_000, seed=seed)
    found = generator_of(propagator, tensors)
    assert found[1:, 0].mean() == pytest.approx(rare_per_s, rel=0.04)
    fewer = [process[1:, 0].mean() for _, process in without_one_replica(propagator, tensors)]
    error = np.sqrt(3 * np.var(fewer))
    assert 0.0005 * rare_per_s < error < 0.02 * rare_per_s


def test_sites_that_are_in_equilibrium_with_two_others_join_neither():
    """A - x - B with x half-way: ions of x spread over A and B within the time of the excursions, but A and B stay
    apart, and trips from A to B count once."""
    onto, off = 1.0, 1e3
    populations = np.array([1.0, onto / off, 1.0])
    populations /= populations.sum()
    truth = column_generator(np.array([[0, onto, 0], [off, 0, off], [0, onto, 0]]))
    time_s = np.concatenate([[0.0], np.geomspace(1e-5, 30, 90)])
    joint = np.moveaxis(np.array([expm(truth * time) * populations for time in time_s]), 0, -1)
    joint = (joint + joint.swapaxes(0, 1)) / 2
    limit, seen = np.outer(populations, populations), np.ones(len(time_s))
    propagator = Propagator(joint, joint[None], populations, limit, truth, time_s, 30.0, 300.0, 1.0, 0, seen)
    tensors = np.array([field_gradient(1e5), field_gradient(5e4), field_gradient(1e5)[[2, 0, 1]][:, [2, 0, 1]]])
    found = generator_of(propagator, tensors)
    from_a_to_b = found[2, 0] + found[1, 0] * found[2, 1] / -found[1, 1]
    assert from_a_to_b == pytest.approx(onto / 2, rel=0.02)


def test_a_process_with_memory_is_replaced_by_the_one_of_nearest_correlation_function():
    """Half of the ions jump at 30 1/s, half at 3000: no Markov process. The generator is no average of the two rates,
    that of the first jumps, but the one whose correlation function differs least from that of the ions."""
    time_s = np.concatenate([[0.0], np.geomspace(1e-6, 1, 301)])
    stay = (2 + np.exp(-60 * time_s) + np.exp(-6000 * time_s)) / 8
    joint = np.array([[stay, 0.5 - stay], [0.5 - stay, stay]])
    halves, limit, seen = np.ones(2) / 2, np.full((2, 2), 0.25), np.ones(len(time_s))
    flux = 1515 / 2 * (1 - np.eye(2))
    propagator = Propagator(joint, joint[None], halves, limit, flux, time_s, 1.0, 150.0, 1515.0, 0, seen)
    states = np.array([field_gradient(1e5), field_gradient(1e5)[[2, 0, 1]][:, [2, 0, 1]]])
    found = generator_of(propagator, states)
    rates = np.geomspace(30, 3000, 400)
    misfits = [misfit(propagator, states, column_generator(rate * (1 - np.eye(2)))) for rate in rates]
    assert misfit(propagator, states, found) == pytest.approx(min(misfits), rel=0.05)
    assert found[1, 0] == pytest.approx(rates[np.argmin(misfits)], rel=0.1)
    assert found[1, 0] < 1515 / 2


def test_a_single_replica_has_no_jackknife():
    propagator = propagator_of(ring_of_pairs(10.0, 1.0), np.array([0.0, 0.1, 1.0]))
    alone = Propagator(**{**vars(propagator), "replicas": propagator.replicas[:1]})
    with pytest.raises(InputError, match="two replicas"):
        without_one_replica(alone, random_tensors(2 * PAIRS))
