"""Correlation along histories: against sums, against kinetic Monte Carlo's propagator on a lattice that repeats."""

import correlate_histories
import numpy as np
import pandas as pd
import programs
import pytest
from insilico_nmr import kmc
from insilico_nmr.echo import AMPLITUDES, contract, evolution_kernel, frozen_echo, tensor_kernel
from insilico_nmr.errors import InputError
from insilico_nmr.generator import column_generator
from insilico_nmr.histories import autocorrelation, by_ion, echo_by_ion
from insilico_nmr.lattice import build_lattice
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tensors import from_components
from insilico_nmr.trajectory import Trajectory, write_trajectory
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


@pytest.mark.parametrize("isotope", ["6Li", "7Li"])
def test_echoes_along_histories_are_those_of_the_propagator(isotope):
    """Two sites at 1 1/s both ways, followed for 4000 times as long."""
    lithium, evolution_s = quadrupolar_nucleus(isotope), 2e-5
    lattice = build_lattice(isolated_sites("AA", [(0, 1, "aa")]), {("aa", "A", "A"): 1.0}, (1, 1, 1))
    tensors = from_components(np.random.default_rng(5).normal(0, 0.002, (2, 5)))
    step, curves = 0.2, []
    for seed in range(6):
        state = kmc.start(lattice, np.array([0], np.int32), seed)
        records = kmc.run_snapshots(lattice, state, step * np.arange(4000))
        curves.append(echo_by_ion(tensors[records[:, :, kmc.SITE]], evolution_s, lithium)[0, :12])
    stays = 0.5 * (1 + np.exp(-2 * step * np.arange(12)))
    joint = 0.5 * np.array([[stays, 1 - stays], [1 - stays, stays]])
    expected = frozen_echo(joint, evolution_kernel(tensors, evolution_s, lithium), lithium)
    mean, error = np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1) / np.sqrt(6)
    assert np.abs(mean - expected).max() < 4.5 * error.max()
    assert error.max() < 0.05 * expected[0]


def test_the_program_follows_a_cell_without_sites(tmp_path, monkeypatch):
    """Ions that turn once in 20 frames, and shake at twice that: the running mean over 10 frames leaves the turn."""
    frames, turn = 400, 2 * np.pi * np.arange(400) / 200
    path = np.zeros((frames, 3, 3), np.float32)
    path[:, 0], path[:, 1] = np.stack([turn, np.sin(20 * turn), 0 * turn], axis=1), [5, 5, 5]
    numbers, cell, none = np.array([3, 3, 16]), 20 * np.eye(3), np.zeros(frames)
    write_trajectory(tmp_path / "run.h5", Trajectory(path, numbers, cell, 0.02 * np.arange(1, 401), none, none, 300.0))

    class Model:
        def predict(self, atoms):
            size = np.cos(atoms.positions[:, 0]) + 0.5 * atoms.positions[:, 1]
            return 1e-3 * size[:, None, None] * np.diag([-1.0, -1.0, 2.0])

    monkeypatch.setattr(correlate_histories, "load_committee", lambda folder, quantity: [Model()])
    flags = [tmp_path / "run.h5", "--model", tmp_path, "--mobile", "Li", "--evolution-times-us", 10]
    code, said = programs.run("correlate_histories", *flags, "--average-ps", 0.2, "--out", tmp_path / "c.csv")
    assert code == 0, said
    table = pd.read_csv(tmp_path / "c.csv").groupby("observable")
    correlation, echo = (table.get_group(name) for name in ("tensor_correlation", "spin_alignment_echo"))
    # The second ion does not move: its size is cos 5 + 2.5 always. Of the first the turn alone is left.
    mean = np.convolve(np.cos(turn) + 0.5 * np.sin(20 * turn), np.ones(10) / 10, mode="valid")
    assert mean == pytest.approx(np.convolve(np.cos(turn), np.ones(10) / 10, mode="valid"), abs=1e-6)
    for lag in (0, 50, 90):
        first = (mean[lag:] * mean[: len(mean) - lag]).mean()
        expected = 6e-6 * (first + (np.cos(5) + 2.5) ** 2) / 2
        assert correlation["value"].iloc[lag] == pytest.approx(expected, rel=1e-4)
    assert len(correlation) == (400 - 9) // 4
    assert 0 < echo["value"].max() <= AMPLITUDES[1.5]
    code, said = programs.run("correlate_histories", *flags, "--average-ps", 4, "--out", tmp_path / "c.csv")
    assert (code, "a mean over 200 of 400 frames" in said) == (2, True)
    other = Trajectory(path, numbers, cell, 0.04 * np.arange(1, 401), none, none, 300.0)
    write_trajectory(tmp_path / "other.h5", other)
    code, said = programs.run("correlate_histories", tmp_path / "other.h5", *flags, "--out", tmp_path / "c.csv")
    assert (code, "run.h5: frames are 0.02 to 0.02 ps apart" in said) == (2, True)
    flags[4] = "Na"
    code, said = programs.run("correlate_histories", *flags, "--out", tmp_path / "c.csv")
    assert (code, "no atom of --mobile Na" in said) == (2, True)


def test_one_frame_and_missing_tensors_are_refused():
    with pytest.raises(InputError, match="at least two frames"):
        autocorrelation(random_tensors(1, 2))
    tensors = random_tensors(4, 2)
    tensors[2, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        autocorrelation(tensors)
