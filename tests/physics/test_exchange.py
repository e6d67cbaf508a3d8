"""Two-dimensional exchange spectra: their limits, sums and symmetry, and a signal followed in time."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulate_exchange
from insilico_nmr.echo import Propagator
from insilico_nmr.errors import InputError
from insilico_nmr.exchange import exchange_spectra, frequency_axis, joint_at
from insilico_nmr.few_values import widening
from insilico_nmr.generator import column_generator
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.powder import quadrupolar_frequency, zcw
from insilico_nmr.spectra import acquisition, broadening_window, exchange_fid, spectrum_of_fid
from insilico_nmr.tensors import from_components
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from test_echo import TWO_SITE_INPUTS, TWO_SITES, two_site_study

LITHIUM = quadrupolar_nucleus("7Li")
AXIAL = 0.01 * np.diag([-0.5, -0.5, 1.0])
SHARES = np.array([0.7, 0.3])
THIRDS = np.array([0.5, 0.3, 0.2])
# Jumps 1e4 times a second among three sites of splittings up to 60 kHz: neither rare nor fast.
JUMPS = column_generator(3e4 * np.broadcast_to(THIRDS, (3, 3)))
HALF_WAY = 0.4 * np.diag(THIRDS) + 0.6 * np.outer(THIRDS, THIRDS)


def turned(angle_deg: float) -> np.ndarray:
    """An axial tensor and one of the same size at an angle to it."""
    turn = Rotation.from_euler("x", angle_deg, degrees=True).as_matrix()
    return np.array([AXIAL, turn @ AXIAL @ turn.T])


def three_tensors(seed: int) -> np.ndarray:
    return from_components(np.random.default_rng(seed).normal(0, 0.005, (3, 5)))


def spectrum(joint, tensors, points=128, cells=1.0, generator=None, direction=None):
    """Axis and spectrum, ions at rest during evolution unless a generator is given, lines `cells` of the axis wide."""
    axis = frequency_axis(tensors, LITHIUM, points)
    gauss_Hz = cells * (axis[1] - axis[0])
    p = joint.sum(axis=1)
    generator = np.zeros_like(joint) if generator is None else generator
    return axis, exchange_spectra(generator, p, joint[None], tensors, LITHIUM, axis, gauss_Hz, direction)[0]


def distance(found: np.ndarray, other: np.ndarray) -> float:
    """Of two spectra, over the area of the one."""
    return np.abs(found - other).sum() / other.sum()


def test_ions_at_rest_have_the_histogram_of_both_frequencies():
    """The joint density on a grid eight times finer, broadened, and its mean over cells; lines of 1.5 cells."""
    tensors = three_tensors(3)
    axis, found = spectrum(HALF_WAY, tensors, 64, 1.5)
    step = axis[1] - axis[0]
    edges = np.linspace(axis[0] - step / 2, axis[-1] + step / 2, 8 * 64 + 1)
    directions, weights = zcw(100_000)
    frequency = quadrupolar_frequency(tensors, directions, LITHIUM)
    fine = sum(
        share * np.histogram2d(frequency[:, a], frequency[:, b], [edges, edges], weights=weights)[0]
        for (a, b), share in np.ndenumerate(HALF_WAY)
    )
    fine = gaussian_filter(fine + fine[::-1, ::-1], 8 * 1.5 / np.sqrt(8 * np.log(2)), mode="constant")
    cells = fine.reshape(64, 8, 64, 8).sum(axis=(1, 3))
    assert distance(found, cells / cells.sum() / step**2) < 3e-3


@pytest.mark.parametrize("rate_per_s", [1e4, 1e5, 1e6])
def test_jumps_while_phases_evolve_against_a_signal_followed_in_time(rate_per_s):
    """Two sites 50 kHz apart along one direction: cosine- and sine-modulated signals on a grid of both times, from
    exponentials of matrices before and after mixing, and their hypercomplex Fourier transform in two dimensions."""
    direction, gauss_Hz, mixing_s = np.array([0.2, 0.5, 0.8]), 4000.0, 0.3 / rate_per_s
    generator = column_generator(rate_per_s * np.array([[0, 0.3], [0.7, 0]]))
    frequency = quadrupolar_frequency(TWO_SITES, direction[None] / np.linalg.norm(direction), LITHIUM)[0]
    assert abs(np.subtract(*frequency)) == pytest.approx(50e3, abs=1e3)
    mixing = expm(generator * mixing_s)

    count, time_step_s = 256, 3e-6
    time_s = time_step_s * np.arange(count)
    evolved = expm((generator + 2j * np.pi * np.diag(frequency)) * time_s[:, None, None])
    window = broadening_window(time_s, 0.0, gauss_Hz)
    window[0] /= 2
    fine_Hz = np.fft.fftshift(np.fft.fftfreq(4 * count, time_step_s))
    whole = 0
    for part in (np.real, np.imag):
        before = part(evolved) @ SHARES
        after = part(evolved).sum(axis=1)
        signal = np.outer(window, window) * (before @ mixing.T @ after.T)
        for axis in (0, 1):  # a real signal's cosine transform is the real part, its sine transform minus the other
            spectral = np.fft.fftshift(np.fft.fft(signal, 4 * count, axis=axis), axes=axis)
            signal = spectral.real if part is np.real else -spectral.imag
        whole = whole + signal
    # Means over cells of nine points, the middle one at 0.
    middle, reach = 2 * count, 9 * 35 + 4
    kept = whole[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    cells = kept.reshape(71, 9, 71, 9).mean(axis=(1, 3))
    step = 9 * (fine_Hz[1] - fine_Hz[0])
    joint = SHARES[:, None] * mixing.T
    axis = step * np.arange(-35, 36)
    found = exchange_spectra(generator, SHARES, joint[None], TWO_SITES, LITHIUM, axis, gauss_Hz, direction)[0]
    assert distance(found, cells / cells.sum() / step**2) < 3e-3
    at_rest = exchange_spectra(0 * generator, SHARES, joint[None], TWO_SITES, LITHIUM, axis, gauss_Hz, direction)[0]
    assert distance(at_rest, found) > 0.3


def test_area_symmetry_and_projection():
    tensors = three_tensors(1)
    axis, found = spectrum(HALF_WAY, tensors, cells=2.0, generator=JUMPS)
    step = axis[1] - axis[0]
    assert found.min() > -0.01 * found.max()
    assert found.sum() * step**2 == pytest.approx(1, rel=1e-9)
    np.testing.assert_allclose(found, found.T, atol=1e-9 * found.max())  # detailed balance
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-9 * found.max())  # both satellites
    # Its projection is the spectrum of the satellites with jumps, whatever happened during mixing.
    projection = found.sum(axis=1) * step
    timing = acquisition(tensors, LITHIUM, 0.0, 2 * step)
    fid = exchange_fid(JUMPS, THIRDS, tensors, LITHIUM, *zcw(20_000), *timing) - 0.4  # without the central line
    fine_Hz, satellites = spectrum_of_fid(fid, timing[0], 0.0, 2 * step, zero_fill=32)
    edges = np.append(axis - step / 2, axis[-1] + step / 2)
    cells = np.diff(np.interp(edges, fine_Hz, np.cumsum(satellites)))
    assert distance(projection, cells / cells.sum() / step) < 0.01
    at_rest = spectrum(HALF_WAY, tensors, cells=2.0)[1].sum(axis=1) * step
    assert distance(at_rest, projection) > 0.1
    unmixed = spectrum(np.diag(THIRDS), tensors, cells=2.0, generator=JUMPS)[1].sum(axis=1) * step
    assert distance(unmixed, projection) < 0.01


def test_a_powder_has_no_orientation():
    """The crystal turned as a whole has the same spectrum, up to the grid of directions."""
    turn = Rotation.from_euler("zyz", [0.3, 1.2, 2.0]).as_matrix()
    tensors = three_tensors(2)
    (_, found), (_, other) = (spectrum(HALF_WAY, some, 96, 2.0, JUMPS) for some in (tensors, turn @ tensors @ turn.T))
    assert np.abs(found - other).max() < 0.01 * found.max()


def test_jumps_far_faster_than_couplings_leave_the_mean_tensor_on_the_diagonal():
    tensors = three_tensors(4)
    axis = frequency_axis(tensors, LITHIUM, 96)
    where = {"nucleus": LITHIUM, "axis_Hz": axis, "gauss_Hz": 2 * (axis[1] - axis[0])}
    found = exchange_spectra(1e6 * JUMPS, THIRDS, np.outer(THIRDS, THIRDS)[None], tensors, **where)[0]
    mean = np.einsum("a,aij->ij", THIRDS, tensors)[None]
    expected = exchange_spectra(np.zeros((1, 1)), np.ones(1), np.ones((1, 1, 1)), mean, **where)[0]
    assert distance(found, expected) < 1e-3


def test_without_mixing_all_is_on_the_diagonal_and_correlation_is_that_of_tensors():
    tensors = turned(90)
    rare = column_generator(1.0 * np.array([[0, 0.3], [0.7, 0]]))
    axis, still = spectrum(np.diag(SHARES), tensors, generator=rare)
    away = np.abs(np.subtract.outer(axis, axis)) > 5.5 * (axis[1] - axis[0])
    assert np.abs(still[away]).sum() < 1e-3 * still.sum()
    # ⟨ν₁ν₂⟩ is ∝ Σ P_ab V_a:V_b.
    for joint in (np.diag(SHARES), np.outer(SHARES, SHARES)):
        found = spectrum(joint, tensors, generator=rare)[1]
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


def test_broadening_widens_the_diagonal():
    axis, broad = spectrum(np.diag(SHARES), turned(90), cells=8.0)
    middle = len(axis) // 2
    across = np.array([broad[middle + k, middle - k] for k in range(-20, 20)])
    # Two dimensions, each of a full width at half maximum of eight steps, seen across the diagonal.
    width = np.ptp(np.flatnonzero(across > across.max() / 2)) + 1
    assert width == pytest.approx(8 / np.sqrt(2), abs=1.5)


def test_bad_input_is_refused():
    joint, tensors = np.diag(THIRDS)[None], three_tensors(1)
    axis = frequency_axis(tensors, LITHIUM, 64)
    for wrong in (0.5 * axis, 2 * axis):
        with pytest.raises(InputError, match="the axis ends at"):
            exchange_spectra(JUMPS, THIRDS, joint, tensors, LITHIUM, wrong, 2000.0)
    with pytest.raises(InputError, match="one must be positive"):
        exchange_spectra(JUMPS, THIRDS, joint, tensors, LITHIUM, axis, 0.0)
    with pytest.raises(InputError, match="6Li has spin 1: these are satellites of spin 3/2"):
        exchange_spectra(JUMPS, THIRDS, joint, tensors, quadrupolar_nucleus("6Li"), axis, 2000.0)
    round_and_round = column_generator(np.roll(np.eye(3), 1, axis=1))
    with pytest.raises(InputError, match="not in detailed balance"):
        exchange_spectra(round_and_round, np.ones(3) / 3, joint, tensors, LITHIUM, axis, 2000.0)


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
    np.testing.assert_allclose(joint_at(known, 0.1), np.outer(SHARES, SHARES))  # it has come to its limit
    cut = replace(known, joint=joint[..., :2], replicas=joint[None, ..., :2], time_s=time[:2])
    with pytest.raises(InputError, match=r"mixing time of 0.1 s; the propagator knows times from 0 to 0.001 s"):
        joint_at(cut, 0.1)


def test_the_rate_model_says_how_well_the_part_elsewhere_is_known(tmp_path, monkeypatch):
    """(1 − exp(−2kt))/2 of two-site exchange at k = 10, and at 20 and 5 1/s of moved models; the table of k = 20 ends
    at 0.1 s, and is taken to stay what it is there."""
    monkeypatch.chdir(tmp_path)
    for name, rate, longest in (("moved_1.nc", 20.0, 0.1), ("moved_2.nc", 5.0, 0.4), ("P.nc", 10.0, 0.4)):
        two_site_study(tmp_path, rate, longest)
        (tmp_path / "P.nc").rename(name)
    command = ["simulate_exchange.py", *TWO_SITE_INPUTS, "--points", "16"]
    times = [0.0, 0.02, 0.3]
    command += ["--mixing-times-s", *map(str, times), "--out", "exchange.csv"]
    monkeypatch.setattr(sys, "argv", [*command, "--moved", "moved_1.nc", "moved_2.nc"])
    simulate_exchange.main()
    found = pd.read_csv("exchange.csv").groupby("mixing_time_s").first()

    def elsewhere(rate, time):
        return (1 - np.exp(-2 * rate * time)) / 2

    for time in times:
        assert found.loc[time, "elsewhere"] == pytest.approx(elsewhere(10, time), abs=2e-3)
        changes = [elsewhere(20, min(time, 0.1)) - elsewhere(10, time), elsewhere(5, time) - elsewhere(10, time)]
        assert found.loc[time, "elsewhere_sd_rates"] == pytest.approx(np.hypot(*changes), abs=3e-3)
    assert found.loc[0.02, "elsewhere_sd_rates"] > 0.1
    # Three replicas of k as it is and two hundredths off it, at 2kt = 0.4
    scatter = 0.02 * 10 * 0.02 * np.exp(-0.4) / np.sqrt(3) * widening(3)
    assert found.loc[0.02, "elsewhere_se_sampling"] == pytest.approx(scatter, rel=0.05)
    assert found.loc[0.0, "elsewhere_se_sampling"] == 0
    monkeypatch.setattr(sys, "argv", command)
    simulate_exchange.main()
    assert pd.read_csv("exchange.csv")["elsewhere_sd_rates"].isna().all()


def test_jumps_between_equal_tensors_leave_no_ion_elsewhere(tmp_path, monkeypatch):
    """No spectrum shows them: of two sites with one tensor none has another one after half of the ions have jumped."""
    monkeypatch.chdir(tmp_path)
    two_site_study(tmp_path, 10.0, 0.4)
    content = json.loads((tmp_path / "T.json").read_text())
    content["states"][1] |= {key: content["states"][0][key] for key in ("tensor", "members")}
    (tmp_path / "T.json").write_text(json.dumps(content))
    command = ["simulate_exchange.py", *TWO_SITE_INPUTS, "--out", "exchange.csv"]
    monkeypatch.setattr(sys, "argv", [*command, "--points", "16", "--mixing-times-s", "0.3"])
    simulate_exchange.main()
    assert pd.read_csv("exchange.csv")["elsewhere"].abs().max() < 1e-9


def test_a_single_crystal_has_lines_where_its_sites_have_them(tmp_path, monkeypatch):
    """Jumps are rare, 10 1/s: peaks at ±ν of the two sites on the diagonal, half-way through mixing beside it too."""
    monkeypatch.chdir(tmp_path)
    two_site_study(tmp_path, 10.0, 0.4)
    command = ["simulate_exchange.py", *TWO_SITE_INPUTS, "--out", "exchange.csv"]
    monkeypatch.setattr(sys, "argv", [*command, "--mixing-times-s", "0", "0.3", "--direction", "3", "1", "9"])
    simulate_exchange.main()
    table = pd.read_csv("exchange.csv")
    frequency = quadrupolar_frequency(TWO_SITES, np.array([[3, 1, 9]]) / np.sqrt(91), LITHIUM)[0] / 1e3
    for time, pairs in ((0.0, [(0, 0), (1, 1)]), (0.3, [(0, 0), (1, 1), (0, 1), (1, 0)])):
        found = table[table["mixing_time_s"] == time]
        places = found[["first_kHz", "second_kHz"]].to_numpy()
        for a, b in pairs:
            for line in (frequency[[a, b]], -frequency[[a, b]]):
                near = (np.abs(places - line) < 6).all(axis=1)
                part = found["intensity_per_kHz2"][near].sum() / found["intensity_per_kHz2"].sum()
                assert part == pytest.approx(1 / 2 / len(pairs), abs=0.01)
