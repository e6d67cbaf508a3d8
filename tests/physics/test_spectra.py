"""Static and motional powder spectra against closed forms, limits and mrsimulator."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from insilico_nmr import powder, spectra
from insilico_nmr.errors import InputError
from insilico_nmr.generator import column_generator
from insilico_nmr.nuclei import quadrupolar_nucleus
from programs import run
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from student import widening
from test_echo import TWO_SITE_INPUTS, TWO_SITES, two_site_study

ROOT = Path(__file__).parents[2]
LITHIUM = quadrupolar_nucleus("7Li")
HALVES = np.ones(2) / 2
EQUAL = np.outer(HALVES, HALVES)  # P(∞) of two connected sites


def principal(coupling_Hz: float, eta: float, isotope: str = "7Li") -> np.ndarray:
    """(V_xx, V_yy, V_zz) in a.u. with this C_Q, sign included."""
    per_au = quadrupolar_nucleus(isotope).coupling_per_au
    return coupling_Hz / per_au * np.array([-(1 - eta) / 2, -(1 + eta) / 2, 1])


def field_gradient(coupling_Hz: float, eta: float = 0.0, rotation: np.ndarray | None = None) -> np.ndarray:
    rotation = np.eye(3) if rotation is None else rotation
    return rotation @ np.diag(principal(coupling_Hz, eta)) @ rotation.T


def random_tensors(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turns = Rotation.random(count, random_state=seed).as_matrix()
    return np.array([field_gradient(rng.uniform(5e4, 1e5), rng.uniform(0, 1), turn) for turn in turns])


def difference(a: np.ndarray, b: np.ndarray, axis_Hz: np.ndarray) -> float:
    """Area between two spectra of area 1."""
    return float(np.abs(a - b).sum() * (axis_Hz[1] - axis_Hz[0]))


def test_static_patterns_agree_with_mrsimulator():
    stored = np.load(ROOT / "tests" / "data" / "mrsimulator_patterns.npz")
    axis_Hz = stored["axis_Hz"]
    step = axis_Hz[1] - axis_Hz[0]
    assert set(stored["isotope"]) == {"2H", "7Li", "27Al"}  # I = 1, 3/2, 5/2
    for isotope, order, eta, expected in zip(
        stored["isotope"], stored["difference"], stored["eta"], stored["intensity"], strict=True
    ):
        # mrsimulator gives |−m⟩ ↔ |−m−1⟩ the sign that we give the mirror image: a powder spectrum holds both.
        found = spectra.powder_pattern(
            principal(float(stored["coupling_Hz"]), eta, str(isotope)),
            axis_Hz,
            quadrupolar_nucleus(str(isotope)),
            multipliers=np.array([order / 2]),
            intensities=np.ones(1),
        )
        assert np.abs(found * step - expected).sum() < 2e-3, (isotope, order, eta)


def test_singularities_of_an_axial_pattern():
    coupling_Hz = 1e5
    axis_Hz = np.arange(-600, 601) * 100.0
    pattern = spectra.powder_pattern(principal(coupling_Hz, 0.0), axis_Hz, LITHIUM)
    side = pattern.copy()
    side[np.abs(axis_Hz) < 1000] = 0
    assert abs(axis_Hz[side.argmax()]) == pytest.approx(coupling_Hz / 4, abs=100)
    beyond = np.abs(axis_Hz) > coupling_Hz / 2 + 100
    assert pattern[beyond].max() == 0
    assert pattern[np.abs(axis_Hz) == coupling_Hz / 2 - 200].min() > 0
    # P(ν) = 1/√(12·(ν_Q/2)(ν + ν_Q/2)) dν of ν = ν_Q(3cos²θ − 1)/2, one satellite beside its mirror image.
    edge_Hz, outer = coupling_Hz / 2, axis_Hz[(axis_Hz > 26e3) & (axis_Hz < 49e3)]
    analytic = 0.3 / np.sqrt(12 * edge_Hz / 2 * (outer + edge_Hz / 2))
    np.testing.assert_allclose(pattern[(axis_Hz > 26e3) & (axis_Hz < 49e3)], analytic, rtol=3e-3)


def test_intensities_3_4_3_and_moments():
    axis_Hz = np.arange(-800, 801) * 100.0
    for eta in (0.0, 0.5, 1.0):
        pattern = spectra.powder_pattern(principal(1.1e5, eta), axis_Hz, LITHIUM) * 100.0
        assert pattern.sum() == pytest.approx(1, abs=1e-12)
        central = np.abs(axis_Hz) < 50
        satellites = pattern - np.where(central, 0.4, 0.0)
        assert satellites.sum() == pytest.approx(0.6, abs=1e-12)
        assert satellites[central] < 0.003
        second = (satellites * axis_Hz**2).sum() / 0.6
        assert second == pytest.approx((1.1e5 / 2) ** 2 * (1 + eta**2 / 3) / 5, rel=2e-3)
        np.testing.assert_allclose(pattern[::-1], pattern, atol=3e-4 * pattern.max())


def test_pattern_that_does_not_fit_the_axis_is_refused():
    with pytest.raises(InputError, match="does not hold"):
        spectra.powder_pattern(principal(1e6, 0.0), np.linspace(-1e5, 1e5, 101), LITHIUM)


def test_single_line_and_its_width():
    time_step_s, count, line_Hz, width_Hz = 2e-6, 8192, 12e3, 400.0
    fid = np.exp(2j * np.pi * line_Hz * np.arange(count) * time_step_s)
    for lorentz, gauss in ((width_Hz, 0.0), (0.0, width_Hz)):
        axis_Hz, line = spectra.spectrum_of_fid(fid, time_step_s, lorentz, gauss)
        assert line.sum() * (axis_Hz[1] - axis_Hz[0]) == pytest.approx(1)
        assert axis_Hz[line.argmax()] == pytest.approx(line_Hz, abs=31)
        above = axis_Hz[line > line.max() / 2]
        assert np.ptp(above) == pytest.approx(width_Hz, abs=62)
        if gauss:
            assert np.abs(line[np.abs(axis_Hz - line_Hz) > 5e3]).max() < 1e-9 * line.max()  # flat baseline
        else:
            offset = axis_Hz - line_Hz
            lorentzian = width_Hz / (2 * np.pi) / (offset**2 + width_Hz**2 / 4)
            assert np.abs(line - lorentzian).max() < 2e-3 * lorentzian.max()
            spike = np.where(np.arange(len(line)) == line.argmax(), 1 / (axis_Hz[1] - axis_Hz[0]), 0.0)
            broadened = spectra.broaden(spike, axis_Hz, lorentz, gauss)
            assert np.abs(broadened - lorentzian).max() < 0.1 * lorentzian.max()  # the spike sits on a grid point


@pytest.mark.parametrize("ratio", [0.05, 0.5, 1.0, 3.0, 30.0])
def test_two_site_exchange_line_shape_is_the_closed_solution(ratio):
    # Frequencies ν̄ ± δ for each direction, rate k both ways: 1ᵀ(s − M − iΩ)⁻¹p = (s + 2k)/(s² + 2ks + δ²), s = iω + λ.
    # ratio = k/δ at the widest direction; at 1 the two lines coalesce, where an eigenbasis does not exist.
    states = np.array(
        [field_gradient(1e5, 0.2), field_gradient(7e4, 0.6, Rotation.from_euler("zy", [0.4, 1.1]).as_matrix())]
    )
    directions, weights = powder.zcw(200)
    nu = powder.quadrupolar_frequency(states, directions, LITHIUM)
    rate = ratio * np.pi * np.abs(nu[:, 0] - nu[:, 1]).max()
    lorentz_Hz = 1000.0
    time_step_s, count = spectra.acquisition(states, LITHIUM, lorentz_Hz)
    time_step_s /= 16  # the closed form has no window: keep the tails from folding back
    count *= 16
    fid = spectra.exchange_fid(
        column_generator(rate * np.ones((2, 2))), HALVES, states, LITHIUM, directions, weights, time_step_s, count
    )
    assert fid[0] == pytest.approx(1)
    axis_Hz, found = spectra.spectrum_of_fid(fid, time_step_s, lorentz_Hz)
    mean, delta = np.pi * (nu[:, 0] + nu[:, 1]), np.pi * (nu[:, 0] - nu[:, 1])
    expected = np.zeros_like(axis_Hz)
    for sign, intensity in ((1, 0.3), (-1, 0.3), (0, 0.4)):
        s = np.pi * lorentz_Hz + 1j * (2 * np.pi * axis_Hz[:, None] - sign * mean)
        response = (s + 2 * rate) / (s**2 + 2 * rate * s + (sign * delta) ** 2)
        expected += intensity * 2 * response.real @ weights
    near = np.abs(axis_Hz) < 1e5
    assert np.abs(found - expected)[near].max() < 3e-3 * expected[np.abs(axis_Hz) > 5e3].max()


@pytest.mark.parametrize("ratio", [0.05, 1.0, 30.0])
def test_three_site_exchange_line_shape_is_the_closed_solution(ratio):
    """Unequal populations, every jump to b at κ p_b: 1ᵀ(s − M − iΩ)⁻¹p = g/(1 − κg), g = Σ p_a/(s + κ − iω_a)."""
    states = random_tensors(3, seed=4) * 3
    populations = np.array([0.5, 0.3, 0.2])
    directions, weights = powder.zcw(200)
    nu = powder.quadrupolar_frequency(states, directions, LITHIUM)
    kappa = ratio * 2 * np.pi * np.ptp(nu, axis=1).max()
    lorentz_Hz = 1000.0
    time_step_s, count = spectra.acquisition(states, LITHIUM, lorentz_Hz)
    time_step_s, count = time_step_s / 16, count * 16
    generator = column_generator(kappa * np.broadcast_to(populations, (3, 3)))
    fid = spectra.exchange_fid(generator, populations, states, LITHIUM, directions, weights, time_step_s, count)
    axis_Hz, found = spectra.spectrum_of_fid(fid, time_step_s, lorentz_Hz)
    expected = np.zeros_like(axis_Hz)
    s = np.pi * lorentz_Hz + 2j * np.pi * axis_Hz[:, None]
    for sign, intensity in ((1, 0.3), (-1, 0.3), (0, 0.4)):
        g = sum(p / (s + kappa - 2j * np.pi * sign * nu[:, a]) for a, p in enumerate(populations))
        expected += intensity * 2 * (g / (1 - kappa * g)).real @ weights
    satellites = (np.abs(axis_Hz) < 1.2 * np.abs(nu).max()) & (np.abs(axis_Hz) > 5e3)
    assert np.abs(found - expected)[satellites].max() < 3e-3 * expected[satellites].max()


def test_exchange_spectrum_has_the_rigid_and_the_fast_limit():
    states = random_tensors(3)
    populations = np.array([0.2, 0.3, 0.5])
    exchange = np.random.default_rng(0).uniform(1, 2, size=(3, 3))
    generator = column_generator((exchange + exchange.T) / populations[:, None])
    slow_axis, slow = spectra.motional_spectra(
        1.0 * generator, np.outer(populations, populations), states, LITHIUM, 1000.0
    )
    assert difference(slow["exchange"], slow["rigid"], slow_axis) < 0.01
    fast_axis, fast = spectra.motional_spectra(
        1e9 * generator, np.outer(populations, populations), states, LITHIUM, 1000.0
    )
    assert difference(fast["exchange"], fast["fast"], fast_axis) < 0.01
    assert difference(slow["rigid"], slow["fast"], slow_axis) > 0.1
    for spectrum in (*slow.values(), *fast.values()):
        assert spectrum.sum() * (slow_axis[1] - slow_axis[0]) == pytest.approx(1, abs=1e-9)


def test_second_moment_of_the_spectrum_does_not_depend_on_the_rate():
    # −FID″(0) = ⟨ω²⟩ whatever the jumps: exact for any stationary Markov process (first order: no broadening by them).
    states = random_tensors(2)
    directions, weights = powder.zcw(1000)
    moments = []
    for rate in (0.0, 1e4, 1e5):
        fid = spectra.exchange_fid(
            column_generator(rate * np.ones((2, 2))), HALVES, states, LITHIUM, directions, weights, 1e-8, 16
        )
        moments.append(2 * (1 - fid[1]) / (2 * np.pi * 1e-8) ** 2)
    assert moments == pytest.approx([moments[0]] * 3, rel=2e-3)
    static = [(states[i] ** 2).sum() for i in range(2)]
    expected = 0.6 * powder.frequency_unit(LITHIUM) ** 2 * 2 / 15 * np.mean(static)
    assert moments[0] == pytest.approx(expected, rel=5e-3)


def test_fast_jumps_within_parts_of_a_network_average_within_them():
    """Two pairs of sites that no jump connects: the fast limit has two patterns, and fast exchange comes to them."""
    states = random_tensors(4, seed=2)
    pairs, populations = [[0, 1], [2, 3]], np.array([0.1, 0.3, 0.4, 0.2])
    limit = np.zeros((4, 4))
    for pair in pairs:
        limit[np.ix_(pair, pair)] = np.outer(populations[pair], populations[pair]) / populations[pair].sum()
    axis_Hz, found = spectra.motional_spectra(
        column_generator(1e9 * limit / populations[:, None]), limit, states, LITHIUM, 2000.0
    )
    step_Hz = axis_Hz[1] - axis_Hz[0]
    assert np.abs(found["exchange"] - found["fast"]).sum() * step_Hz < 5e-3
    whole = np.outer(populations, populations)
    connected = spectra.fast_spectrum(whole, states, LITHIUM, axis_Hz, 2000.0)
    assert np.abs(connected - found["fast"]).sum() * step_Hz > 0.1


def test_powder_spectra_do_not_depend_on_the_frame():
    states, turn = random_tensors(2, seed=3), Rotation.random(random_state=9).as_matrix()
    turned = np.einsum("ij,njk,lk->nil", turn, states, turn)
    generator = column_generator(5e4 * np.ones((2, 2)))
    axis_Hz, before = spectra.motional_spectra(generator, EQUAL, states, LITHIUM, 1000.0)
    _, after = spectra.motional_spectra(generator, EQUAL, turned, LITHIUM, 1000.0)
    for motion in before:
        assert difference(before[motion], after[motion], axis_Hz) < 5e-3


def test_jumps_between_axes_that_average_to_zero_leave_the_central_line():
    # Three axial tensors along x, y and z: their mean vanishes, and with it every satellite splitting.
    states = np.array([np.diag(np.roll(principal(1e5, 0.0), shift)) for shift in range(3)])
    generator = column_generator(1e9 * np.ones((3, 3)))
    axis_Hz, found = spectra.motional_spectra(generator, np.full((3, 3), 1 / 9), states, LITHIUM, 1000.0)
    inside = np.abs(axis_Hz) < 20e3
    assert found["exchange"][inside].sum() * (axis_Hz[1] - axis_Hz[0]) > 0.97
    assert difference(found["exchange"], found["fast"], axis_Hz) < 0.01


def test_spectrum_of_spin_1_has_no_central_line():
    deuterium = quadrupolar_nucleus("2H")
    states = np.diag(principal(1e5, 0.0, "2H"))[None]
    axis_Hz, found = spectra.motional_spectra(np.zeros((1, 1)), np.ones((1, 1)), states, deuterium, 1000.0)
    assert difference(found["exchange"], found["rigid"], axis_Hz) < 0.01
    peak = abs(axis_Hz[found["exchange"].argmax()])
    assert peak == pytest.approx(0.75 * 1e5 / 2, rel=0.03)  # horns at ±(3/8)·C_Q


def test_directions_are_as_many_as_narrow_lines_on_a_wide_pattern_need():
    """Patterns 94 and 49 kHz wide, lines of 500 Hz: 18,870 directions, and for a spread a tenth at least."""
    turn = Rotation.from_rotvec([0.4, 1.1, -0.7]).as_matrix()
    states = 0.2 * np.array([field_gradient(6.29e5, rotation=turn), field_gradient(3.29e5, rotation=turn.T)])
    assert spectra.directions_needed(states, LITHIUM, 500.0) == 18871
    generator = column_generator(np.ones((2, 2)))

    def exchange(count: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        axis_Hz, found = spectra.motional_spectra(generator, EQUAL, states, LITHIUM, 500.0, for_spread=count)
        return axis_Hz, found["exchange"], found["rigid"]

    axis_Hz, whole, rigid = exchange(None)
    np.testing.assert_array_equal(whole, exchange(18870)[1])
    assert difference(whole, rigid, axis_Hz) < 0.004
    few = exchange(1000)[1]
    np.testing.assert_array_equal(few, exchange(1887)[1])
    assert difference(few, rigid, axis_Hz) > 0.01


def test_replicas_of_kinetic_monte_carlo_and_replicates_of_tensors_are_in_the_sampling_error(tmp_path, monkeypatch):
    """Three replicas with rates k of 0.98, 1 and 1.02: the error is that of the mean k, times the spectrum's slope."""
    monkeypatch.chdir(tmp_path)
    rate = 1e5
    two_site_study(tmp_path, rate, 20 / rate)
    inputs = (*TWO_SITE_INPUTS, "--lorentz-Hz", 2000, "--out", "S.csv")

    def said_to_be() -> np.ndarray:
        assert run("simulate_spectra", *inputs)[0] == 0
        return pd.read_csv("S.csv")["exchange_se_sampling_per_kHz"].to_numpy()

    def exchange(k: float, states: np.ndarray = TWO_SITES) -> tuple[np.ndarray, np.ndarray]:
        generator = column_generator(k * rate * np.ones((2, 2)))
        axis_Hz, found = spectra.motional_spectra(
            generator, EQUAL, states, LITHIUM, 2000.0, 0.0, powder.SPREAD_DIRECTIONS
        )
        return axis_Hz, 1e3 * found["exchange"]

    of_replicas = said_to_be()
    axis_Hz, faster = exchange(1.01)
    slope = (faster - exchange(0.99)[1]) / 0.02
    expected = widening(3) * 0.02 / np.sqrt(3) * np.abs(slope)
    np.testing.assert_allclose(of_replicas, expected, atol=0.01 * expected.max())
    tensors = json.loads((tmp_path / "T.json").read_text())
    for state, tensor in zip(tensors["states"], TWO_SITES, strict=True):
        state["samples"] = [tensor.tolist(), (1.02 * tensor).tolist()]
    (tmp_path / "T.json").write_text(json.dumps(tensors))
    other = np.interp(axis_Hz, *exchange(1.0, 1.02 * TWO_SITES))
    of_tensors = widening(2) * np.abs(other - exchange(1.0)[1]) / np.sqrt(2)
    expected = np.hypot(of_tensors, of_replicas)
    assert of_tensors.max() > 0.3 * of_replicas.max()
    np.testing.assert_allclose(said_to_be(), expected, atol=0.01 * expected.max())


def test_bad_input_is_refused():
    states = random_tensors(2)
    generator = column_generator(np.ones((2, 2)))
    with pytest.raises(InputError, match="broadening"):
        spectra.motional_spectra(generator, EQUAL, states, LITHIUM, 0.0)
    with pytest.raises(InputError, match="sum to 1"):
        spectra.motional_spectra(generator, np.ones((2, 2)), states, LITHIUM, 500.0)
    with pytest.raises(InputError, match="columns must sum to 0"):
        spectra.motional_spectra(np.array([[-1.0, 1.0], [2.0, -2.0]]), EQUAL, states, LITHIUM, 500.0)


def test_command_lines(tmp_path, monkeypatch):
    """Both programs on a two-site crystal: tables complete, a missing tensor said in one line."""
    import xarray as xr

    states = np.array([field_gradient(1e5, 0.2), field_gradient(1e5, 0.2, Rotation.from_euler("y", 1.2).as_matrix())])
    rate, time_s = 50.0, np.concatenate([[0.0], np.geomspace(1e-5, 1, 40)])
    generator = column_generator(rate * np.ones((2, 2)))
    joint = np.einsum("a,tba->abt", HALVES, expm(generator * time_s[:, None, None]))
    # Two replicas that differ a little in the rate; the file holds their mean.
    replicas = [joint + sign * 1e-4 * np.sin(3 * joint) * np.array([[1, -1], [-1, 1]])[..., None] for sign in (1, -1)]
    nothing = {name: ("lag", 0 * time_s) for name in ("msd", "msd_se", "msd_collective", "msd_collective_se")}
    nothing |= {f"{name}_replica": (("replica", "lag"), np.zeros((2, 41))) for name in ("msd", "msd_collective")}
    xr.Dataset(
        {
            "P": (("state_a", "state_b", "time"), joint),
            "P_se": (("state_a", "state_b", "time"), 1e-4 * joint),
            "P_replica": (("replica", "state_a", "state_b", "time"), np.array(replicas)),
            "p": (("state",), HALVES),
            "P_infinity": (("state_a", "state_b"), np.full((2, 2), 0.25)),
            "flux": (("state_a", "state_b"), rate / 2 * np.array([[0, 1], [1, 0]])),
            "observations": ("time", np.full(len(time_s), 1e9)),
            **nothing,
        },
        coords={"time": time_s, "lag": time_s},
        attrs={"temperature_K": 150.0, "mean_residence_time_s": 1 / rate, "complete": 1},
    ).to_netcdf(tmp_path / "P.nc")
    record = [
        {"index": i, "orbit": "A", "tensor": v.tolist(), "members": [v.tolist(), (1.02 * v).tolist()]}
        for i, v in enumerate(states)
    ]
    tensors = {"temperature_K": 150.0, "isotope": "7Li", "states": record, "method": "test"}
    (tmp_path / "T.json").write_text(json.dumps(tensors))

    monkeypatch.chdir(tmp_path)
    inputs = (*TWO_SITE_INPUTS, "--evolution-times-us", "10", "500")
    outputs = ("--out-echo", "E.csv", "--out-correlation", "C.csv", "--out-fits", "F.csv")
    code, said = run("simulate_nmr", *inputs, *outputs, "--t1q-s", "5")
    assert code == 0, said
    table, fits = pd.read_csv(tmp_path / "E.csv"), pd.read_csv(tmp_path / "F.csv")
    assert len(table) == 2 * len(time_s)
    assert table[["S2", "S2_se_sampling", "S2_sd_model"]].notna().all(axis=None)
    assert set(table.loc[table.evolution_time_us == 500, "flag"]) == {"jumps_during_evolution"}
    assert set(table.loc[table.evolution_time_us == 10, "flag"]) == {"ok"}
    assert list(fits.status) == ["ok"] * 3
    np.testing.assert_allclose(fits.rate_over_exit_rate, 2, rtol=0.01)
    np.testing.assert_allclose(fits.rate_over_tensor_change_rate, 2, rtol=0.01)
    assert (fits.filter(like="_correlation").abs() <= 1).all(axis=None)
    assert fits.filter(like="_correlation").shape[1] == 6
    assert (fits.rate_ci_low_per_s < 100.5).all()
    assert (fits.rate_ci_high_per_s > 99.5).all()
    correlation = pd.read_csv(tmp_path / "C.csv")
    assert correlation.normalised[0] == pytest.approx(1)

    flags = (*TWO_SITE_INPUTS, "--lorentz-Hz", "1000", "--out", "S.csv")
    code, said = run("simulate_spectra", *flags)
    assert code == 0, said
    drawn = pd.read_csv(tmp_path / "S.csv")
    step_kHz = np.ptp(drawn.frequency_kHz) / (len(drawn) - 1)
    for motion in ("rigid", "exchange", "fast"):
        assert drawn[f"{motion}_per_kHz"].sum() * step_kHz == pytest.approx(1, abs=1e-6)
    # The generator found from P is the one that made it, and a thousand times the rate has another spectrum.
    _, known = spectra.motional_spectra(generator, EQUAL, np.array(states), LITHIUM, 1000)
    _, faster = spectra.motional_spectra(1000 * generator, EQUAL, np.array(states), LITHIUM, 1000)
    assert np.abs(drawn["exchange_per_kHz"] - 1e3 * known["exchange"]).sum() * step_kHz < 1e-3
    assert np.abs(drawn["exchange_per_kHz"] - 1e3 * faster["exchange"]).sum() * step_kHz > 0.1
    for motion in ("rigid", "exchange", "fast"):
        assert drawn[f"{motion}_sd_model_per_kHz"].max() > 2e-3 * drawn[f"{motion}_per_kHz"].max()
    assert drawn["exchange_sd_rates_per_kHz"].isna().all()
    # Rates moved by a factor 1000, and not at all: that is their error.
    data = xr.load_dataset(tmp_path / "P.nc")
    data.assign_coords(time=data["time"] / 1000, lag=data["lag"] / 1000).assign_attrs(shift=1).to_netcdf(
        tmp_path / "Q.nc"
    )
    assert run("simulate_spectra", *flags, "--moved", "P.nc", "Q.nc")[0] == 0
    found = pd.read_csv(tmp_path / "S.csv")["exchange_sd_rates_per_kHz"]
    np.testing.assert_allclose(found, 1e3 * np.abs(known["exchange"] - faster["exchange"]), atol=2e-3 * found.max())

    tensors["states"] = record[:1]
    (tmp_path / "T.json").write_text(json.dumps(tensors))
    assert run("simulate_nmr", *inputs, *outputs) == (2, "error: T.json: no tensor for state 1\n")
