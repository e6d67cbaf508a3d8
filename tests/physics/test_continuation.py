"""The propagator continued beyond its last lag, against Markov chains whose whole course is known."""

import numpy as np
import pytest
from insilico_nmr.continuation import NotContinued, continue_propagator
from insilico_nmr.generator import column_generator
from scipy.linalg import expm

POPULATIONS = np.array([0.3, 0.2, 0.3, 0.2])
LIMIT = np.outer(POPULATIONS, POPULATIONS)
# Two pairs of sites: exchange within a pair at 100 1/s and more, between pairs a thousand times slower.
FLOWS = np.array([[0, 60, 0.05, 0], [60, 0, 0, 0.02], [0.05, 0, 0, 60], [0, 0.02, 60, 0]])
TIME_S = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 41)])
RNG = np.random.default_rng(4)


def layers(time_s, rate=1.0):
    """Exact P (4, 4, T) of one ion; `rate` scales all jumps."""
    generator = rate * column_generator(FLOWS / POPULATIONS[:, None])
    return np.einsum("a,tba->abt", POPULATIONS, expm(generator * time_s[:, None, None]))


def noisy(joint, size):
    """Six replicas of P with symmetric noise that leaves the row sums alone."""
    noise = RNG.normal(size=(6, *joint.shape)) * size
    project = np.eye(4) - np.outer(POPULATIONS, np.ones(4))
    noise = np.einsum("ac,rcdt,bd->rabt", project, noise + noise.swapaxes(1, 2), project)
    noise[..., 0] = 0
    return joint + noise


def test_slow_exchange_is_continued_to_its_limit():
    replicas = noisy(layers(TIME_S), 2e-4)
    later, later_s = continue_propagator(replicas, LIMIT, TIME_S)
    assert later_s[0] > TIME_S[-1]
    assert np.ptp(np.diff(np.log(later_s))) < 1e-9
    exact = layers(later_s)
    # The slow mode itself was not over at the last lag sampled.
    assert np.abs(layers(TIME_S)[..., -1] - LIMIT).max() > 0.3 * LIMIT.max()
    assert np.abs(later.mean(axis=0) - exact).max() < 0.01 * LIMIT.max()
    np.testing.assert_allclose(
        later.sum(axis=2), np.broadcast_to(POPULATIONS[:, None], (6, 4, len(later_s))), atol=1e-9
    )
    np.testing.assert_allclose(later, later.swapaxes(1, 2), atol=1e-12)
    assert np.abs(later[..., -1] - LIMIT).max() < 0.01 * LIMIT.max()


def test_scatter_of_the_replicas_covers_the_truth():
    """Mode rates differ between replicas by as much as their noise allows; the mean is off by no more."""
    replicas = noisy(layers(TIME_S), 2e-3)
    later, later_s = continue_propagator(replicas, LIMIT, TIME_S)
    middle = len(later_s) // 3
    error = later[..., middle].std(axis=0, ddof=1).max() / np.sqrt(6)
    assert error > 1e-5
    assert np.abs(later[..., middle].mean(axis=0) - layers(later_s)[..., middle]).max() < 4 * error


def test_a_process_with_memory_is_not_continued():
    """Halves of the ions that jump at rates 30 times apart: the mean of their decays is no exponential."""
    replicas = noisy((layers(TIME_S, 0.2) + layers(TIME_S, 6.0)) / 2, 2e-4)
    with pytest.raises(NotContinued, match="memory"):
        continue_propagator(replicas, LIMIT, TIME_S)


def test_a_rare_state_that_one_ion_visits_in_one_replica_does_not_stop_it():
    """A fifth state of population 3e-5, long decorrelated: by chance one replica found its ion there both times."""
    rare = 3e-5
    populations = np.append(POPULATIONS * (1 - rare), rare)
    limit = np.outer(populations, populations)
    replicas = np.zeros((6, 5, 5, len(TIME_S)))
    replicas[:, :4, :4] = noisy(layers(TIME_S), 2e-4) * (1 - rare) ** 2
    replicas[:, 4, :, 1:] = replicas[:, :, 4, 1:] = limit[4][:, None]
    replicas[2, 4, 4, -1] += 0.7 * rare
    replicas[2, :4, 4, -1] = replicas[2, 4, :4, -1] = limit[4, :4] * (1 - 0.7)
    later, later_s = continue_propagator(replicas, limit, TIME_S)
    assert np.abs(later[:, :4, :4].mean(axis=0) - layers(later_s)).max() < 0.01 * LIMIT.max()


def test_a_decay_that_has_hardly_begun_is_not_continued():
    short = TIME_S[:25]
    with pytest.raises(NotContinued, match=r"known within|measurably"):
        continue_propagator(noisy(layers(short), 2e-3), LIMIT, short)


def test_unconnected_parts_stay_apart():
    """Without exchange between the pairs P(∞) is block-diagonal, and nothing leaks between the blocks."""
    flows = np.where(FLOWS > 1, 0.5, 0)
    generator = column_generator(flows / POPULATIONS[:, None])
    joint = np.einsum("a,tba->abt", POPULATIONS, expm(generator * TIME_S[:, None, None] * 0.5))
    limit = np.kron(np.eye(2), np.ones((2, 2))) * np.outer(POPULATIONS, POPULATIONS) / 0.5
    later, later_s = continue_propagator(np.stack([joint, joint * 1.0]), limit, TIME_S)
    np.testing.assert_allclose(later[..., :2, 2:, :], 0, atol=1e-12)
    exact = np.einsum("a,tba->abt", POPULATIONS, expm(generator * later_s[:, None, None] * 0.5))
    np.testing.assert_allclose(later[0], exact, atol=1e-9)
