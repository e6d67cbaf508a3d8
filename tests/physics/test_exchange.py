"""Two-dimensional exchange spectra: their limits, sums and symmetry."""

import sys

import numpy as np
import pandas as pd
import pytest
import simulate_exchange
from insilico_nmr.echo import Propagator
from insilico_nmr.errors import InputError
from insilico_nmr.exchange import exchange_spectrum, frequency_axis, joint_at
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.powder import quadrupolar_frequency, zcw
from insilico_nmr.tensors import from_components
from scipy.spatial.transform import Rotation
from test_echo import two_site_study

LITHIUM = quadrupolar_nucleus("7Li")
AXIAL = 0.01 * np.diag([-0.5, -0.5, 1.0])
SHARES = np.array([0.7, 0.3])


def turned(angle_deg: float) -> np.ndarray:
    """An axial tensor and one of the same size at an angle to it."""
    turn = Rotation.from_euler("x", angle_deg, degrees=True).as_matrix()
    return np.array([AXIAL, turn @ AXIAL @ turn.T])


def spectrum(joint, tensors, points=128, gauss_Hz=0.0):
    axis = frequency_axis(tensors, LITHIUM, points)
    return axis, exchange_spectrum(joint, tensors, LITHIUM, axis, gauss_Hz)


def test_area_symmetry_and_projection():
    tensors = from_components(np.random.default_rng(1).normal(0, 0.005, (3, 5)))
    p = np.array([0.5, 0.3, 0.2])
    joint = 0.4 * np.diag(p) + 0.6 * np.outer(p, p)
    axis, found = spectrum(joint, tensors)
    step = axis[1] - axis[0]
    assert found.min() >= 0
    assert found.sum() * step**2 == pytest.approx(1, rel=1e-9)
    np.testing.assert_allclose(found, found.T, atol=1e-9 * found.max())  # detailed balance
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-9 * found.max())  # both satellites
    # Its projection is the spectrum of ions at rest, whatever happened during mixing.
    directions, weights = zcw(20_000)
    frequency = quadrupolar_frequency(tensors, directions, LITHIUM)
    projection = found.sum(axis=1) * step
    for power in (2, 4):
        moment = (projection * axis**power).sum() * step
        exact = weights @ (frequency**power @ p)
        assert moment == pytest.approx(exact, rel=0.01)
    rigid = spectrum(np.diag(p), tensors)[1].sum(axis=1) * step
    np.testing.assert_allclose(projection, rigid, atol=1e-9 * rigid.max())


def test_a_powder_has_no_orientation():
    """The crystal turned as a whole has the same spectrum, up to the grid of directions."""
    tensors = from_components(np.random.default_rng(2).normal(0, 0.005, (3, 5)))
    p = np.array([0.5, 0.3, 0.2])
    joint = 0.4 * np.diag(p) + 0.6 * np.outer(p, p)
    axis = frequency_axis(tensors, LITHIUM, 96)
    broad = 6 * (axis[1] - axis[0])
    turn = Rotation.from_euler("zyz", [0.3, 1.2, 2.0]).as_matrix()
    found, other = (exchange_spectrum(joint, some, LITHIUM, axis, broad) for some in (tensors, turn @ tensors @ turn.T))
    assert np.abs(found - other).max() < 0.01 * found.max()


def test_without_mixing_all_is_on_the_diagonal_and_correlation_is_that_of_tensors():
    tensors = turned(90)
    axis, still = spectrum(np.diag(SHARES), tensors)
    away = np.abs(np.subtract.outer(axis, axis)) > 1.5 * (axis[1] - axis[0])
    assert still[away].sum() < 1e-12 * still.sum()
    # ⟨ν₁ν₂⟩ is ∝ Σ P_ab V_a:V_b.
    for joint in (np.diag(SHARES), np.outer(SHARES, SHARES)):
        found = spectrum(joint, tensors)[1]
        second = np.outer(axis, axis)
        expected = np.einsum("ab,aij,bij->", joint, tensors, tensors) / np.einsum("ij,ij->", AXIAL, AXIAL)
        moment = (found * second).sum() / (still * second).sum()
        assert moment == pytest.approx(expected, abs=0.01)


def test_axial_tensors_at_an_angle_are_correlated_by_the_second_legendre_polynomial():
    """Jumps between axial tensors at the angle β: ⟨ν₂⟩ = ν₁·P₂(cos β) whatever ν₁ (addition theorem)."""
    for angle in (30.0, 54.7356, 90.0):
        axis, found = spectrum(np.array([[0, 0.5], [0.5, 0]]), turned(angle), 200)
        legendre = (3 * np.cos(np.radians(angle)) ** 2 - 1) / 2
        filled = np.abs(axis) < 0.9 * axis.max()
        mean = (found @ axis)[filled] / found.sum(axis=1)[filled]
        np.testing.assert_allclose(mean, legendre * axis[filled], atol=0.02 * axis.max())


def test_broadening_keeps_the_area_and_widens_the_diagonal():
    axis, sharp = spectrum(np.diag(SHARES), turned(90))
    step = axis[1] - axis[0]
    broad = spectrum(np.diag(SHARES), turned(90), gauss_Hz=8 * step)[1]
    assert broad.sum() == pytest.approx(sharp.sum(), rel=0.02)
    middle = len(axis) // 2
    across = np.array([broad[middle + k, middle - k] for k in range(-20, 20)])
    # Two dimensions, each of a full width at half maximum of eight steps, seen across the diagonal.
    width = np.ptp(np.flatnonzero(across > across.max() / 2)) + 1
    assert width == pytest.approx(8 / np.sqrt(2), abs=1.5)


def test_times_between_and_beyond_those_of_the_propagator():
    time = np.array([0, 1e-3, 1e-2])
    joint = np.stack(
        [np.diag(SHARES), 0.5 * np.diag(SHARES) + 0.5 * np.outer(SHARES, SHARES), np.outer(SHARES, SHARES)], -1
    )
    known = Propagator(
        joint, joint[None], SHARES, joint[..., 2], joint[..., 2], time, 1e-2, 100.0, 1.0, 0, np.ones(len(time))
    )
    np.testing.assert_allclose(joint_at(known, 0.0), joint[..., 0])
    np.testing.assert_allclose(joint_at(known, 1e-3), joint[..., 1])
    np.testing.assert_allclose(joint_at(known, 10**-2.5), (joint[..., 1] + joint[..., 2]) / 2)
    np.testing.assert_allclose(joint_at(known, 5e-4), (joint[..., 0] + joint[..., 1]) / 2)
    with pytest.raises(InputError, match=r"mixing time of 0.1 s; the propagator knows times from 0 to 0.01 s"):
        joint_at(known, 0.1)
    with pytest.raises(InputError, match="the axis ends at"):
        exchange_spectrum(np.diag(SHARES), turned(90), LITHIUM, np.linspace(-10, 10, 20), 0.0)


def test_the_rate_model_says_how_well_the_part_elsewhere_is_known(tmp_path, monkeypatch):
    """(1 − exp(−2kt))/2 of two-site exchange at k = 10, and at 20 and 5 1/s of moved models; the table of k = 20 ends
    at 0.1 s, and is taken to stay what it is there."""
    monkeypatch.chdir(tmp_path)
    for name, rate, longest in (("moved_1.nc", 20.0, 0.1), ("moved_2.nc", 5.0, 0.4), ("P.nc", 10.0, 0.4)):
        two_site_study(tmp_path, rate, longest)
        (tmp_path / "P.nc").rename(name)
    command = ["simulate_exchange.py", "--propagator", "P.nc", "--site-tensors", "T.json", "--points", "16"]
    times = [0.0, 0.02, 0.3]
    command += ["--mixing-times-s", *map(str, times), "--out", "exchange.csv"]
    monkeypatch.setattr(sys, "argv", [*command, "--moved", "moved_1.nc", "moved_2.nc"])
    simulate_exchange.main()
    found = pd.read_csv("exchange.csv").groupby("mixing_time_s")[["elsewhere", "elsewhere_sd_rates"]].first()

    def elsewhere(rate, time):
        return (1 - np.exp(-2 * rate * time)) / 2

    for time in times:
        assert found.loc[time, "elsewhere"] == pytest.approx(elsewhere(10, time), abs=2e-3)
        changes = [elsewhere(20, min(time, 0.1)) - elsewhere(10, time), elsewhere(5, time) - elsewhere(10, time)]
        assert found.loc[time, "elsewhere_sd_rates"] == pytest.approx(np.hypot(*changes), abs=3e-3)
    assert found.loc[0.02, "elsewhere_sd_rates"] > 0.1
    monkeypatch.setattr(sys, "argv", command)
    simulate_exchange.main()
    assert pd.read_csv("exchange.csv")["elsewhere_sd_rates"].isna().all()
