"""Correlation along histories: against sums, against kinetic Monte Carlo's propagator on a lattice that repeats."""

import numpy as np
import pytest
from insilico_nmr import kmc
from insilico_nmr.echo import contract, tensor_kernel
from insilico_nmr.errors import InputError
from insilico_nmr.generator import column_generator
from insilico_nmr.histories import autocorrelation, by_ion
from insilico_nmr.lattice import build_lattice
from lattices import isolated_sites
from scipy.linalg import expm


def random_tensors(*shape: int, seed: int = 0) -> np.ndarray:
    tensors = np.random.default_rng(seed).normal(size=(*shape, 3, 3))
    return tensors + tensors.swapaxes(-1, -2)


def test_it_is_the_sum_over_origins_and_ions():
    tensors = random_tensors(7, 3)
    expected = [np.einsum("fnij,fnij->fn", tensors[: 7 - lag], tensors[lag:]).mean() for lag in range(7)]
    assert autocorrelation(tensors) == pytest.approx(expected)
    assert by_ion(tensors).mean(axis=0) == pytest.approx(expected)


def test_a_rotation_of_everything_changes_nothing():
    tensors = random_tensors(20, 2)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    assert autocorrelation(turn @ tensors @ turn.T) == pytest.approx(autocorrelation(tensors))


def test_histories_of_kinetic_monte_carlo_give_what_its_propagator_gives():
    """One ion on three sites of unequal energies: the direct estimator is the contraction with the exact P(t)."""
    rates = {("ab", "A", "B"): 1.0, ("ab", "B", "A"): 3.0, ("bc", "B", "C"): 2.0, ("bc", "C", "B"): 0.5}
    lattice = build_lattice(isolated_sites("ABC", [(0, 1, "ab"), (1, 2, "bc")]), rates, (1, 1, 1))
    tensors = random_tensors(3, seed=2)
    matrix = np.zeros((3, 3))
    matrix[0, 1], matrix[1, 0], matrix[1, 2], matrix[2, 1] = 1.0, 3.0, 2.0, 0.5
    weights = np.array([1.0, 1 / 3, 4 / 3])
    populations = weights / weights.sum()
    step, curves = 0.2, []
    for seed in range(8):
        state = kmc.start(lattice, np.array([0], np.int32), seed)
        records = kmc.run_snapshots(lattice, state, step * np.arange(100, 20100))
        curves.append(autocorrelation(tensors[records[:, :, kmc.SITE]])[:25])
    generator = column_generator(matrix)
    joint = np.array([(expm(generator * step * lag) * populations).T for lag in range(25)]).transpose(1, 2, 0)
    expected = contract(tensor_kernel(tensors), joint)
    mean, error = np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1) / np.sqrt(8)
    assert np.abs(mean - expected).max() < 4.5 * error.max()
    assert error.max() < 0.02 * expected[0]


def test_one_frame_and_missing_tensors_are_refused():
    with pytest.raises(InputError, match="at least two frames"):
        autocorrelation(random_tensors(1, 2))
    tensors = random_tensors(4, 2)
    tensors[2, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        autocorrelation(tensors)
