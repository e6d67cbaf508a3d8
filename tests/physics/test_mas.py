"""Static and spinning spectra through mrsimulator against this study's patterns, closed forms and conservation laws."""

import numpy as np
import pandas as pd
import pytest
from insilico_nmr import mas, spectra
from insilico_nmr.echo import Propagator, half_decay
from insilico_nmr.errors import InputError
from insilico_nmr.files import write_json
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.powder import frequency_unit, transitions
from insilico_nmr.spin_systems import spin_systems
from mrsimulator import Simulator, SpinSystem
from mrsimulator.method import Method, SpectralDimension
from mrsimulator.simulator.config import CustomSampling
from programs import run
from scipy.spatial.transform import Rotation
from student import widening

LITHIUM = quadrupolar_nucleus("7Li")
ONE = np.ones(1)
TURNS = Rotation.random(4, random_state=3).as_matrix()


def field_gradient(
    coupling_Hz: float, eta: float, isotope: str = "7Li", rotation: np.ndarray | None = None
) -> np.ndarray:
    """Tensor in a.u. with this C_Q, sign included, and η; shape (3, 3)."""
    values = np.array([-(1 - eta) / 2, -(1 + eta) / 2, 1]) * coupling_Hz / quadrupolar_nucleus(isotope).coupling_per_au
    rotation = np.eye(3) if rotation is None else rotation
    return rotation @ np.diag(values) @ rotation.T


def whole(parts: dict[str, np.ndarray]) -> np.ndarray:
    return parts["central"] + parts["satellites"]


def spacing(axis_Hz: np.ndarray) -> float:
    return float(axis_Hz[1] - axis_Hz[0])


def centre_of_gravity(intensity: np.ndarray, axis_Hz: np.ndarray) -> float:
    return float((intensity * axis_Hz).sum() / intensity.sum())


@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("isotope", ["2H", "7Li", "27Al"])  # I = 1, 3/2, 5/2
def test_static_spectrum_in_high_field_is_our_own_first_order_pattern(isotope, eta):
    nucleus, tensor = quadrupolar_nucleus(isotope), field_gradient(1e5, eta, isotope)
    field_T = 1e4  # second order goes with its inverse
    axis_Hz = mas.frequency_axis(tensor, nucleus, field_T, 0.0, 500.0)
    found = whole(mas.mas_spectrum(ONE, tensor[None], nucleus, field_T, 0.0, axis_Hz))
    principal = np.linalg.eigvalsh(tensor)
    own = spectra.powder_pattern(principal, axis_Hz, nucleus)
    assert np.abs(found - own).sum() * spacing(axis_Hz) < 0.01


@pytest.mark.parametrize("direction_deg", [(17.0, 40.0), (115.0, 69.0), (229.0, 29.0)])
@pytest.mark.parametrize("turn", TURNS)
def test_single_crystallites_have_the_frequencies_of_the_tensors_that_went_in(turn, direction_deg):
    """mrsimulator itself, asked for one direction of the field, finds ν(n) of both tensors: the angles are its own."""
    alpha, beta = np.radians(direction_deg)
    n = np.array([np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha), np.cos(beta)])
    gradient, field_T = field_gradient(-8e4, 0.4, rotation=turn), 9.4
    sigma = turn.T @ np.diag([80.0, 95.0, 140.0]) @ turn + 5 * np.array([[0, 1, -2], [-1, 0, 1], [2, -1, 0]])
    system = spin_systems(ONE, gradient[None], LITHIUM, sigma[None], reference_ppm=100.0)[0]
    first = field_frequency(system, alpha, beta, field_T, ["Quad1_2"], difference=-2)
    # D = −2 is m = 3/2 ↔ 1/2, whose sign mrsimulator gives to the mirror image.
    assert first == pytest.approx(-frequency_unit(LITHIUM) * n @ gradient @ n, abs=5)
    shift = field_frequency(system, alpha, beta, field_T, ["Shielding1_0", "Shielding1_2"], difference=0)
    expected = (100.0 - n @ sigma @ n) * 1e-6 * mas.larmor_Hz(LITHIUM, field_T)
    assert shift == pytest.approx(expected, abs=6)


def field_frequency(
    system: dict, alpha: float, beta: float, field_T: float, parts: list[str], difference: int
) -> float:
    """Hz; of one transition of one crystallite, from these contributions, in steps of 4 Hz."""
    event = {"freq_contrib": parts, "transition_queries": [{"ch1": {"P": [-1], "D": [difference]}}]}
    dimension = SpectralDimension(count=1 << 16, spectral_width=4.0 * (1 << 16), events=[event])
    method = Method(
        channels=["7Li"], magnetic_flux_density=field_T, rotor_frequency=0.0, spectral_dimensions=[dimension]
    )
    simulator = Simulator(spin_systems=[SpinSystem(**system)], methods=[method])
    simulator.config.custom_sampling = CustomSampling(
        alpha=np.array([alpha]), beta=np.array([beta]), weight=np.array([1.0])
    )
    simulator.config.number_of_sidebands = 1
    simulator.run(pack_as_csdm=False)
    found = np.asarray(simulator.methods[0].simulation).real.reshape(-1)
    return centre_of_gravity(found, 4.0 * (np.arange(1 << 16) - (1 << 15)))


@pytest.mark.parametrize("spin_rate_Hz", [2e3, 1e4, 2.5e4])
def test_sidebands_lie_at_multiples_of_the_spin_rate_and_keep_area_and_second_moment(spin_rate_Hz):
    """First order: the powder's second moment is the static one, (C_Q/2)²(1 + η²/3)/5 of the satellites."""
    tensor, field_T = field_gradient(1e5, 0.4), 1e4
    # Wider than spectra are drawn: a sideband of 1e-4 that far out is 0.5 % of the moment.
    axis_Hz = mas.frequency_axis(tensor, LITHIUM, field_T, 3 * spin_rate_Hz, 200.0)
    parts = mas.mas_spectrum(ONE, tensor[None], LITHIUM, field_T, spin_rate_Hz, axis_Hz)
    step = spacing(axis_Hz)
    assert parts["central"].sum() * step == pytest.approx(0.4, abs=1e-12)
    assert parts["satellites"].sum() * step == pytest.approx(0.6, abs=1e-12)
    second = (parts["satellites"] * axis_Hz**2).sum() / parts["satellites"].sum()
    assert second == pytest.approx((1e5 / 2) ** 2 * (1 + 0.4**2 / 3) / 5, rel=1e-3)
    off = np.abs((axis_Hz + spin_rate_Hz / 2) % spin_rate_Hz - spin_rate_Hz / 2)
    assert whole(parts)[off > 2 * step].sum() < 1e-6 * whole(parts).sum()
    bands = [whole(parts)[np.abs(axis_Hz - k * spin_rate_Hz) <= 2 * step].sum() for k in (1, 2)]
    assert min(bands) > 0


@pytest.mark.parametrize(("isotope", "coupling_Hz"), [("7Li", 2e6), ("27Al", 3e6), ("17O", 2e6)])
def test_second_order_shift_of_the_central_line(isotope, coupling_Hz):
    """ν = −(1/30)(ν_Q²/ν_0)[I(I+1) − 3/4](1 + η²/3): to lower frequency whatever the sign of γ, as 1/B."""
    nucleus, eta, spin_rate_Hz = quadrupolar_nucleus(isotope), 0.4, 5e4
    spin = nucleus.spin
    nu_Q = 3 * coupling_Hz / (2 * spin * (2 * spin - 1))
    tensor = field_gradient(coupling_Hz, eta, isotope)
    shifts = []
    for field_T in (4.7, 9.4, 18.8):
        axis_Hz = mas.frequency_axis(tensor, nucleus, field_T, spin_rate_Hz, 200.0, central=True)
        parts = mas.mas_spectrum(ONE, tensor[None], nucleus, field_T, spin_rate_Hz, axis_Hz, central=True)
        assert not parts["satellites"].any()
        found = centre_of_gravity(parts["central"], axis_Hz)
        formula = -(nu_Q**2) / mas.larmor_Hz(nucleus, field_T) / 30 * (spin * (spin + 1) - 0.75) * (1 + eta**2 / 3)
        assert found == pytest.approx(formula, rel=0.01)
        shifts.append(found)
    np.testing.assert_allclose(np.array(shifts) * [1, 2, 4], shifts[0], rtol=0.01)


def test_shieldings_shift_and_turn_with_the_field_gradients():
    """The isotropic shift is the centre of gravity; turning both tensors alike leaves the powder as it is."""
    gradient, sigma, field_T = field_gradient(4e4, 0.3), np.diag([60.0, 80.0, 160.0]), 9.4
    axis_Hz = mas.frequency_axis(gradient, LITHIUM, field_T, 0.0, 500.0, shifts_ppm=100.0)
    found = []
    for turn, about in ((np.eye(3), np.eye(3)), (TURNS[0], TURNS[0]), (np.eye(3), TURNS[0])):
        tensors, shieldings = turn @ gradient @ turn.T, about @ sigma @ about.T
        arguments = (ONE, tensors[None], LITHIUM, field_T, 0.0, axis_Hz, shieldings[None], 150.0)
        found.append(spectra.broaden(whole(mas.mas_spectrum(*arguments)), axis_Hz, 500.0, 0.0))
    shift_Hz = 50e-6 * mas.larmor_Hz(LITHIUM, field_T)
    # Without the Lorentzian's wings, which the axis cuts unevenly.
    sharp = whole(mas.mas_spectrum(ONE, gradient[None], LITHIUM, field_T, 0.0, axis_Hz, sigma[None], 150.0))
    assert centre_of_gravity(sharp, axis_Hz) == pytest.approx(shift_Hz, rel=0.01)
    assert np.abs(found[0] - found[1]).sum() * spacing(axis_Hz) < 0.01
    assert np.abs(found[0] - found[2]).sum() * spacing(axis_Hz) > 0.05


def test_a_shielding_alone_spins_into_a_line_at_the_isotropic_shift():
    sigma, field_T, spin_rate_Hz = np.diag([60.0, 80.0, 160.0]), 9.4, 4e4
    tiny = field_gradient(1e-3, 0.0)
    axis_Hz = mas.frequency_axis(tiny, LITHIUM, field_T, spin_rate_Hz, 500.0, shifts_ppm=100.0)
    line = whole(mas.mas_spectrum(ONE, tiny[None], LITHIUM, field_T, spin_rate_Hz, axis_Hz, sigma[None], 150.0))
    assert axis_Hz[line.argmax()] == pytest.approx(50e-6 * mas.larmor_Hz(LITHIUM, field_T), abs=spacing(axis_Hz))


def test_sideband_number_has_converged():
    tensor, spin_rate_Hz = field_gradient(1e5, 0.4), 1e3
    axis_Hz = mas.frequency_axis(tensor, LITHIUM, 9.4, spin_rate_Hz, 200.0)
    found = whole(mas.mas_spectrum(ONE, tensor[None], LITHIUM, 9.4, spin_rate_Hz, axis_Hz))
    assert centre_of_gravity(found, axis_Hz) == pytest.approx(0, abs=20)  # sidebands that fold back draw it away
    with pytest.raises(InputError, match="too slow"):
        mas.mas_spectrum(ONE, tensor[None], LITHIUM, 9.4, 10.0, axis_Hz)


def test_an_axis_that_does_not_hold_the_spectrum_is_refused():
    tensor = field_gradient(1e5, 0.0)
    with pytest.raises(InputError, match="lies beyond it"):
        mas.mas_spectrum(ONE, tensor[None], LITHIUM, 9.4, 0.0, np.arange(-500, 500) * 50.0)


def test_a_sum_of_shares_a_rounding_above_one_is_one_site():
    tensor, axis_Hz = field_gradient(1e5, 0.3), np.arange(-512, 512) * 300.0
    shares = np.array([1 + 4e-16])
    assert shares[0] > 1
    found, expected = (
        whole(mas.mas_spectrum(share, tensor[None], LITHIUM, 9.4, 0.0, axis_Hz)) for share in (shares, ONE)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_half_decay_of_two_site_exchange():
    """⟨V(0):V(t)⟩ − plateau falls as exp(−2kt): half-way at ln 2/2k."""
    time_s, rate = np.linspace(0, 0.1, 2001), 30.0
    stay = (1 + np.exp(-2 * rate * time_s)) / 4
    joint = np.array([[stay, 0.5 - stay], [0.5 - stay, stay]])
    halves, limit = np.ones(2) / 2, np.full((2, 2), 0.25)
    flux = rate / 2 * (1 - np.eye(2))
    seen = np.ones(len(time_s))
    propagator = Propagator(joint, joint[None], halves, limit, flux, time_s, 0.1, 300.0, rate, 0, seen)
    states = np.array([field_gradient(1e5, 0.2), field_gradient(1e5, 0.2, rotation=TURNS[0])])
    assert half_decay(propagator, states) == pytest.approx(np.log(2) / (2 * rate), abs=5e-5)
    assert np.isnan(half_decay(propagator, np.array([states[0], states[0]])))


def site_tensors(folder, tensors: list[np.ndarray], **more: object) -> str:
    states = [
        {"index": i, "orbit": "A", "tensor": v.tolist(), "members": [v.tolist(), (1.05 * v).tolist()]} | more
        for i, v in enumerate(tensors)
    ]
    write_json(folder / "T.json", {"temperature_K": 300.0, "isotope": "7Li", "states": states})
    return str(folder / "T.json")


def simulate(folder, tensors: str, *flags: object) -> tuple[int, str]:
    return run("simulate_mas", "--site-tensors", tensors, "--isotope", "7Li", "--out", folder / "S.csv", *flags)


def test_the_fast_limit_of_equal_and_opposite_tensors_is_one_line(tmp_path):
    tensor = field_gradient(1e5, 0.3)
    paths = site_tensors(tmp_path, [tensor, -tensor])
    code, said = simulate(tmp_path, paths, "--spin-rates-kHz", 0, 20, "--lorentz-Hz", 400)
    assert (code, said.count("\n")) == (0, 1), said
    table = pd.read_csv(tmp_path / "S.csv")
    assert sorted(table["spin_rate_kHz"].unique()) == [0, 20]
    for _, spectrum in table.groupby("spin_rate_kHz"):
        x, step = spectrum["frequency_kHz"], spectrum["frequency_kHz"].diff().mean()
        for motion in ("rigid", "fast"):
            assert spectrum[f"{motion}_per_kHz"].sum() * step == pytest.approx(1, abs=2e-3)
        assert spectrum["rigid_central_per_kHz"].sum() * step == pytest.approx(0.4, abs=1e-3)
        line = 0.4 / (2 * np.pi) / (x**2 + 0.4**2 / 4)  # Lorentzian
        assert np.abs(spectrum["fast_per_kHz"] - line).max() < 0.05 * line.max()
        assert np.abs(spectrum["rigid_per_kHz"] - line).max() > 0.3 * line.max()
        assert spectrum["rigid_sd_model_per_kHz"].max() > 0.001
        assert spectrum["rigid_se_sampling_per_kHz"].isna().all()


def test_distribution_of_members_and_central_line_alone(tmp_path):
    paths = site_tensors(tmp_path, [field_gradient(1e5, 0.3)])
    flags = ("--spin-rates-kHz", 0, "--lorentz-Hz", 1000)
    spectra_of = {}
    for name, more in (("mean", ()), ("members", ("--tensors", "members")), ("central", ("--transitions", "central"))):
        assert simulate(tmp_path, paths, *flags, *more)[0] == 0
        spectra_of[name] = pd.read_csv(tmp_path / "S.csv")
    mean, members = (spectra_of[name]["rigid_per_kHz"] for name in ("mean", "members"))
    assert 0.005 < np.abs(mean - members).sum() / mean.sum() < 0.2
    central = spectra_of["central"]
    np.testing.assert_allclose(central["rigid_per_kHz"], central["rigid_central_per_kHz"])
    assert central["frequency_kHz"].max() < 0.5 * spectra_of["mean"]["frequency_kHz"].max()
    code, said = simulate(tmp_path, paths, *flags, "--tensors", "samples")
    assert (code, said.splitlines()[-1]) == (2, f"error: {paths}: its states have no samples")


def test_frequencies_of_a_wide_spectrum_are_all_told_apart(tmp_path):
    paths = site_tensors(tmp_path, [field_gradient(2e6, 0.1)])
    assert simulate(tmp_path, paths, "--spin-rates-kHz", 0, "--lorentz-Hz", 1000)[0] == 0
    frequency_kHz = pd.read_csv(tmp_path / "S.csv")["frequency_kHz"]
    assert frequency_kHz.max() > 1000
    np.testing.assert_allclose(np.diff(frequency_kHz), 0.125, rtol=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--field-T", 0), "--field-T: '0'; expected a finite number above 0"),
        (("--field-T", -9.4), "--field-T: '-9.4'; expected a finite number above 0"),
        (("--spin-rates-kHz", -5), "spin rate -5000 Hz: expected 0 (static) or more"),
        (("--isotope", "23Na"), "is of 7Li, --isotope is 23Na"),
        (("--isotope", "13C"), "13C has spin 0.5 and no quadrupole moment"),
        (("--lorentz-Hz", 0), "one must be positive"),
        (("--lorentz-Hz", 0.1), "too small for spectra of"),
        (("--reference-ppm", 90), "no state has a shielding"),
    ],
)
def test_bad_input_is_one_clear_message(flags, message, tmp_path):
    code, said = simulate(tmp_path, site_tensors(tmp_path, [field_gradient(1e5, 0.3)]), *flags)
    assert (code, said.count("error:")) == (2, 1)
    assert message in said.splitlines()[-1]
    assert not (tmp_path / "S.csv").exists()


def test_shieldings_of_some_states_only_are_refused(tmp_path):
    path = site_tensors(tmp_path, [field_gradient(1e5, 0.3)] * 2, shielding=np.diag([80.0, 90.0, 100.0]).tolist())
    assert simulate(tmp_path, path, "--spin-rates-kHz", 20, "--reference-ppm", 90)[0] == 0
    text = (tmp_path / "T.json").read_text()
    (tmp_path / "T.json").write_text(text.replace('"shielding"', '"other"', 1))
    code, said = simulate(tmp_path, path)
    assert (code, said) == (2, f"error: {path}: no shielding for state 0, but others have one\n")


def test_members_that_differ_in_shielding_move_the_line(tmp_path):
    """Members of one field gradient, 2 ppm apart: the standard deviation of two spectra is their difference over √2,
    widened for so few."""
    gradient, sigma = field_gradient(1e5, 0.3), 90 * np.eye(3)
    of_members = {"members": 2 * [gradient.tolist()], "shielding": sigma.tolist()}
    of_members["shielding_members"] = [(sigma + shift * np.eye(3)).tolist() for shift in (-1, 1)]
    path = site_tensors(tmp_path, [gradient], **of_members)
    flags = ("--spin-rates-kHz", 0, "--transitions", "central", "--reference-ppm", 90)
    assert simulate(tmp_path, path, *flags)[0] == 0
    table = pd.read_csv(tmp_path / "S.csv")
    x, step = table["frequency_kHz"], table["frequency_kHz"].diff().mean()
    one_ppm_kHz = mas.larmor_Hz(LITHIUM, 9.4) * 1e-9
    for motion in ("rigid", "fast"):
        left, right = (np.interp(x + shift, x, table[f"{motion}_per_kHz"]) for shift in (-one_ppm_kHz, one_ppm_kHz))
        expected = widening(2) * np.abs(left - right) / np.sqrt(2)
        assert expected.max() > widening(2) * 0.2 * table[f"{motion}_per_kHz"].max()
        assert (np.abs(table[f"{motion}_sd_model_per_kHz"] - expected)).sum() * step < 0.05 * expected.sum() * step


def test_integer_spins_have_no_central_line():
    deuterium = quadrupolar_nucleus("2H")
    tensor = field_gradient(1e5, 0.0, "2H")
    axis_Hz = mas.frequency_axis(tensor, deuterium, 9.4, 0.0, 500.0)
    assert not mas.mas_spectrum(ONE, tensor[None], deuterium, 9.4, 0.0, axis_Hz)["central"].any()
    assert len(transitions(1.0)[0]) == 2
    with pytest.raises(InputError, match="no central line"):
        mas.mas_spectrum(ONE, tensor[None], deuterium, 9.4, 0.0, axis_Hz, central=True)
