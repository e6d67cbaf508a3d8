"""Generators of one ion: recovered from a propagator, free of flicker, reversible; mean-field occupations."""

import numpy as np
import pytest
from insilico_nmr.errors import InputError
from insilico_nmr.generator import (
    check_generator,
    column_generator,
    effective_flows,
    evolution,
    generator_of_flows,
    occupations,
    parts,
)
from scipy.linalg import expm


def reversible(populations: np.ndarray, seed: int) -> np.ndarray:
    """Column generator with these populations and random symmetric flows of about one a second."""
    flow = np.random.default_rng(seed).uniform(0.5, 1.5, (len(populations),) * 2)
    return column_generator((flow + flow.T) / populations[:, None])


def joint_probability(generator: np.ndarray, populations: np.ndarray, lag_s: float) -> np.ndarray:
    """P_ab(t) = p_a [exp(Kt)]_ab."""
    return populations[:, None] * expm(generator.T * lag_s)


def effective_generator(joint: np.ndarray, populations: np.ndarray, lag_s: float) -> np.ndarray:
    """Of one lag."""
    return generator_of_flows(effective_flows(joint[..., None], populations, np.array([lag_s]))[..., 0], populations)


@pytest.mark.parametrize("lag_s", [1e-3, 0.03])
def test_generator_of_a_markov_process_is_recovered_at_any_lag(lag_s):
    populations = np.array([0.1, 0.2, 0.3, 0.4])
    generator = reversible(populations, 1)
    found = effective_generator(joint_probability(generator, populations, lag_s), populations, lag_s)
    np.testing.assert_allclose(found, generator, rtol=1e-6)
    check_generator(found, populations)


@pytest.mark.parametrize("size", [2, 5, 9])
@pytest.mark.parametrize("fastest_per_s", [1e3, 1e9])
def test_evolution_of_few_and_of_many_sites_is_that_of_the_exponential(size, fastest_per_s):
    rng = np.random.default_rng(size)
    populations = rng.dirichlet(np.ones(size))
    generator, time_s = fastest_per_s * reversible(populations, size), 1e-5
    omega = rng.uniform(-4e6, 4e6, (20, size))
    found = evolution(generator, omega, time_s)
    np.testing.assert_allclose(found, [expm((generator + 1j * np.diag(one)) * time_s) for one in omega], atol=1e-7)
    np.testing.assert_allclose(evolution(generator, 0 * omega, time_s).sum(axis=1), 1, atol=1e-7)  # no ion is lost


def test_excursions_that_return_within_the_lag_are_no_jumps():
    # A - b - C: from the rarely held b an ion goes back to A a hundred times as often as on to C.
    to_b, back, on = 10.0, 1e5, 1e3
    populations = np.array([1, 2 * to_b / (back + on), 1])
    rates = np.array([[0, to_b, 0], [back, 0, on], [0, to_b * on / back, 0]])
    populations = np.array([1.0, to_b / back, 1.0])
    populations[2] = populations[1] * on / (to_b * on / back)
    populations /= populations.sum()
    generator = column_generator(rates)
    check_generator(generator, populations)
    exchange = to_b * on / (back + on)  # trips from A that end on C
    found = effective_generator(joint_probability(generator, populations, 0.1), populations, 0.1)
    assert found[2, 0] == pytest.approx(exchange, rel=0.01)
    assert -found[0, 0] == pytest.approx(exchange, rel=0.01)  # and not the hundred times larger rate of leaving A
    check_generator(found, populations)


def test_noise_of_a_sampled_propagator_leaves_a_generator():
    populations = np.full(4, 0.25)
    generator = reversible(populations, 2)
    noise = np.random.default_rng(3).normal(0, 2e-4, (4, 4))
    joint = joint_probability(generator, populations, 1.0) + noise + noise.T
    assert np.linalg.eigvalsh(joint).min() < 0  # decayed: correlations lie below 0
    check_generator(effective_generator(joint, populations, 1.0), populations)


def test_parts_of_a_network_are_those_that_no_jump_connects():
    populations = np.array([0.1, 0.3, 0.0, 0.4, 0.2])
    apart = np.zeros((5, 5))
    for part in ([0, 1], [3, 4]):
        apart[np.ix_(part, part)] = np.outer(populations[part], populations[part]) / populations[part].sum()
    shares, places = parts(apart)
    order = np.argsort(shares)
    np.testing.assert_allclose(shares[order], [0.4, 0.6])
    np.testing.assert_allclose(places[order], [[0.25, 0.75, 0, 0, 0], [0, 0, 0, 2 / 3, 1 / 3]])
    shares, places = parts(np.outer(populations, populations))
    np.testing.assert_allclose(shares, [1])
    np.testing.assert_allclose(places, [populations])


def test_occupations_are_those_of_fermi_and_impossible_fillings_are_refused():
    filled = occupations(np.log([5.0, 1.0]), 0.6)
    assert filled.mean() == pytest.approx(0.6)
    odds = filled / (1 - filled)
    assert odds[0] / odds[1] == pytest.approx(5)
    with pytest.raises(InputError, match="concentration"):
        occupations(np.zeros(2), 1.0)
