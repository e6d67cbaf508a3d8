"""Correlation along histories: against sums, against kinetic Monte Carlo's propagator on a lattice that repeats."""

import correlate_histories
import numpy as np
import pandas as pd
import programs
import pytest
import simulate_vibrations
from insilico_nmr import kmc
from insilico_nmr.echo import AMPLITUDES, contract, evolution_kernel, frozen_echo, tensor_kernel
from insilico_nmr.errors import InputError
from insilico_nmr.generator import column_generator
from insilico_nmr.histories import autocorrelation, by_ion, echo_by_ion
from insilico_nmr.lattice import build_lattice
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.relaxation import Decay, relaxation_rates
from insilico_nmr.tensors import from_components
from insilico_nmr.trajectory import Trajectory, write_trajectory
from lattices import isolated_sites
from scipy.linalg import expm
from scipy.spatial.transform import Rotation


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


def test_echoes_along_histories_are_those_of_a_powder_whatever_the_frame():
    tensors, turn = 0.002 * random_tensors(60, 3), Rotation.random(random_state=2).as_matrix()
    tensors -= np.trace(tensors, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)
    lithium = quadrupolar_nucleus("7Li")
    as_they_are, turned = (echo_by_ion(some, 1e-5, lithium) for some in (tensors, turn @ tensors @ turn.T))
    assert np.ptp(as_they_are) > 0.01
    np.testing.assert_allclose(turned, as_they_are, atol=1e-4)


def test_the_program_reads_relaxation_off_vibrations(tmp_path, monkeypatch):
    """Damped oscillators about a mean tensor: C = C₀ e^(−γt) cos Ωt, and C₀γ/(γ² + Ω²) is the spectral density."""
    frames, ions, step_ps, damping, turn = 3000, 40, 0.01, 15.0, 20.0
    rng, factor = np.random.default_rng(8), np.exp((1j * turn - damping) * step_ps)
    state = rng.normal(size=(ions, 2)) @ [1, 1j]
    path = np.zeros((frames, ions + 1, 3), np.float32)
    for frame in range(frames):
        path[frame, :ions, 0] = state.real
        state = factor * state + np.sqrt(1 - abs(factor) ** 2) * rng.normal(size=(ions, 2)) @ [1, 1j]
    path[..., 1] = np.arange(ions + 1)
    numbers, time = np.array([3] * ions + [16]), step_ps * np.arange(1, frames + 1)
    cell, none = np.diag([50.0, 90.0, 50.0]), np.zeros(frames)
    write_trajectory(tmp_path / "run.h5", Trajectory(path, numbers, cell, time, none, none, 300.0))

    class Model:
        def predict(self, atoms):
            size = 3.0 + atoms.positions[:, 0]  # the mean, which relaxes nothing, and the vibration
            return 1e-2 * size[:, None, None] * np.diag([1.0, 1.0, -2.0]) / np.sqrt(6)

    monkeypatch.setattr(simulate_vibrations, "load_committee", lambda folder, quantity: [Model()])
    flags = [tmp_path / "run.h5", "--model", tmp_path, "--mobile", "Li", "--isotope", "7Li"]
    code, said = programs.run("simulate_vibrations", *flags, "--out", tmp_path / "v.csv")
    assert code == 0, said
    table = pd.read_csv(tmp_path / "v.csv").set_index("quantity")
    flat = Decay(np.array([1e15]), np.array([1e15 * 1e-4 * 1e-12 * damping / (damping**2 + turn**2)]))
    expected = relaxation_rates([flat] * 3, quadrupolar_nucleus("7Li"), 9.4)
    for name in ("R1", "R1Q", "R2_central"):
        assert table.loc[name, "rate_per_s"] == pytest.approx(expected[name], abs=3 * table.loc[name, "rate_se_per_s"])
        assert 0.01 < table.loc[name, "rate_se_per_s"] / expected[name] < 0.15
    assert table["fluctuation"].iloc[0] == pytest.approx(np.sqrt(1 / 10), rel=0.05)  # of 1 + 3²
    code, said = programs.run("simulate_vibrations", *flags[:-1], "23Na", "--out", tmp_path / "v.csv")
    assert (code, "23Na" in said) == (2, True)


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
    flags = [tmp_path / "run.h5", "--model", tmp_path, "--mobile", "Li", "--isotope", "7Li"]
    code, said = programs.run("correlate_histories", *flags[:-1], "23Na", "--out", tmp_path / "c.csv")
    assert (code, "23Na" in said) == (2, True)
    flags += ["--evolution-times-us", 10]
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
    flags[4], flags[6] = "Na", "23Na"
    code, said = programs.run("correlate_histories", *flags, "--out", tmp_path / "c.csv")
    assert (code, "no atom of --mobile Na" in said) == (2, True)


def test_one_frame_and_missing_tensors_are_refused():
    with pytest.raises(InputError, match="at least two frames"):
        autocorrelation(random_tensors(1, 2))
    tensors = random_tensors(4, 2)
    tensors[2, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        autocorrelation(tensors)
