"""Correlation functions and spin-alignment echoes against closed forms and an independent simulation."""

import dataclasses
import json
import sys

import numpy as np
import pandas as pd
import pytest
import simulate_nmr
import simulate_relaxation
import xarray as xr
from echoes import matrix_echo
from insilico_nmr import echo, fluctuations, powder, tensors
from insilico_nmr.errors import InputError
from insilico_nmr.fits import decay_curve, fit_decay
from insilico_nmr.generator import column_generator
from insilico_nmr.nuclei import nucleus, quadrupolar_nucleus
from insilico_nmr.relaxation import Decay, fluctuation_kernels, relaxation_rates
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y
from student import widening

LITHIUM = quadrupolar_nucleus("7Li")


def field_gradient(coupling_Hz: float, eta: float = 0.0, rotation: np.ndarray | None = None) -> np.ndarray:
    """Tensor in a.u. with this |C_Q| of 7Li."""
    rotation = np.eye(3) if rotation is None else rotation
    values = coupling_Hz / LITHIUM.coupling_per_au * np.array([-(1 - eta) / 2, -(1 + eta) / 2, 1])
    return rotation @ np.diag(values) @ rotation.T


def about_y(degrees: float) -> np.ndarray:
    return Rotation.from_euler("y", degrees, degrees=True).as_matrix()


def random_tensors(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turns = Rotation.random(count, random_state=seed).as_matrix()
    return np.array([field_gradient(rng.uniform(5e4, 2e5), rng.uniform(0, 1), turn) for turn in turns])


def joint_of(generator: np.ndarray, populations: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Exact P[a, b, t] = p_a [e^{Mt}]_ba of one ion."""
    return np.einsum("a,tba->abt", populations, expm(generator * time_s[:, None, None]))


TWO_SITES = np.array([field_gradient(2e5), field_gradient(2e5, 0, about_y(60))])
HALVES = np.ones(2) / 2


def test_grids_are_normalised_hemispheres_and_integrate_second_rank_products():
    a, b = random_tensors(2)
    for directions, weights in (powder.lebedev(21), powder.gauss_legendre(21), powder.zcw(5000)):
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
        assert weights.sum() == pytest.approx(1)
        assert directions[:, 2].min() >= 0
        nu_a, nu_b = powder.quadrupolar_frequency(np.array([a, b]), directions, LITHIUM).T
        expected = echo.frequency_correlation_factor(LITHIUM) * (a * b).sum()
        assert weights @ (nu_a * nu_b) == pytest.approx(expected, rel=2e-3 if len(weights) > 4000 else 1e-10)
        assert abs(weights @ nu_a) < 1e-3 * np.abs(nu_a).max()


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_second_moment_of_the_satellites(eta):
    directions, weights = powder.lebedev(21)
    nu = powder.quadrupolar_frequency(field_gradient(1.3e5, eta), directions, LITHIUM)
    assert weights @ nu**2 == pytest.approx((1.3e5 / 2) ** 2 * (1 + eta**2 / 3) / 5, rel=1e-10)


def test_frequency_along_the_principal_axes():
    nu = powder.quadrupolar_frequency(field_gradient(1e5, 0.4), np.eye(3), LITHIUM)
    np.testing.assert_allclose(nu, [-1.5e4, -3.5e4, 5e4])  # C_Q/2 along z


@pytest.mark.parametrize(
    ("isotope", "multipliers", "intensities"),
    [("2H", [0.5, -0.5], [1, 1]), ("7Li", [1, 0, -1], [3, 4, 3]), ("27Al", [2, 1, 0, -1, -2], [5, 8, 9, 8, 5])],
)
def test_transitions(isotope, multipliers, intensities):
    found = powder.transitions(nucleus(isotope).spin)
    np.testing.assert_allclose(found[0], multipliers)
    np.testing.assert_allclose(found[1], np.array(intensities) / sum(intensities))


def test_deuterium_splitting_is_three_quarters_of_the_coupling():
    deuterium = quadrupolar_nucleus("2H")
    tensor = np.diag([-0.5, -0.5, 1.0])
    nu = powder.quadrupolar_frequency(tensor, np.eye(3)[2:], deuterium)[0]
    assert nu * powder.transitions(1)[0][0] == pytest.approx(0.75 * deuterium.coupling_per_au)


@pytest.mark.parametrize("degree", [5, 22, 50])
def test_rings_integrate_harmonics_up_to_their_degree(degree):
    directions, weights = powder.gauss_legendre(degree)
    polar, azimuth = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    ranks = [(rank, order) for rank in range(2, degree + 1, 2) for order in range(rank + 1)]
    sums = [abs(weights @ sph_harm_y(rank, order, polar, azimuth)) for rank, order in ranks]
    assert max(sums) < 5e-7
    assert len(weights) < 0.25 * degree**2 + 6 * degree


@pytest.mark.parametrize("span", [1.0, 10.0, 14.0, 17.0, 25.0, 100.0, 300.0])
def test_a_grid_of_so_many_directions_at_most_is_the_chosen_one_or_has_so_many(span):
    whole, weights = powder.directions_for_phases(span)
    fewer, shares = powder.directions_for_phases(span, 610)
    assert weights.sum() == pytest.approx(1)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_array_equal(fewer, whole if len(whole) <= 610 else powder.zcw(610)[0])


ALONG_ONE_AXIS = np.array([field_gradient(1e5), field_gradient(6e4), field_gradient(8e4, 1.0)])


@pytest.mark.parametrize("states", [random_tensors(3), ALONG_ONE_AXIS])
@pytest.mark.parametrize("phase", [0.1, 1.0, 9.0, 28.0, 60.0, 120.0])
def test_chosen_grid_has_converged(states, phase):
    largest = np.abs(np.linalg.eigvalsh(states)).max() * abs(powder.frequency_unit(LITHIUM))
    evolution_time_s = phase / (2 * np.pi * largest)
    kernel = echo.evolution_kernel(states, evolution_time_s, LITHIUM)
    for grid, error in ((powder.zcw(500_000), 3e-5), (powder.gauss_legendre(700), 1e-5)):
        sines = np.sin(2 * np.pi * evolution_time_s * powder.quadrupolar_frequency(states, grid[0], LITHIUM))
        assert np.abs(kernel - (sines * grid[1][:, None]).T @ sines).max() < error


def test_echo_becomes_the_correlation_function_at_short_evolution_times():
    states = random_tensors(4)
    evolution_time_s = 1e-8
    kernel = echo.evolution_kernel(states, evolution_time_s, LITHIUM)
    factor = (2 * np.pi * evolution_time_s) ** 2 * echo.frequency_correlation_factor(LITHIUM)
    np.testing.assert_allclose(kernel, factor * echo.tensor_kernel(states), rtol=0, atol=1e-3 * kernel.max())


def test_powder_echo_does_not_depend_on_the_frame_and_a_single_crystal_turns_with_it():
    states, turn = random_tensors(3), Rotation.random(random_state=4).as_matrix()
    turned = np.einsum("ij,njk,lk->nil", turn, states, turn)
    for evolution_time_s in (5e-6, 1e-4):
        kernel = echo.evolution_kernel(states, evolution_time_s, LITHIUM)
        np.testing.assert_allclose(echo.evolution_kernel(turned, evolution_time_s, LITHIUM), kernel, atol=3e-4)
    jumps = column_generator(5e4 * (np.ones((3, 3)) - np.eye(3)))
    kernels = [echo.matrix_kernel(jumps, np.full(3, 1 / 3), some, 2e-5, LITHIUM) for some in (states, turned)]
    np.testing.assert_allclose(*kernels, atol=3e-4)
    field = np.array([0.3, -0.2, 0.9])
    np.testing.assert_allclose(
        echo.evolution_kernel(turned, 2e-5, LITHIUM, direction=turn @ field),
        echo.evolution_kernel(states, 2e-5, LITHIUM, direction=field),
        atol=1e-10,
    )
    np.testing.assert_allclose(echo.tensor_kernel(turned), echo.tensor_kernel(states), atol=1e-12)


def test_two_site_echo_decays_with_twice_the_rate_to_its_plateau():
    rate = 30.0
    time_s = np.concatenate([[0], np.geomspace(1e-4, 0.3, 50)])
    generator = column_generator(rate * np.ones((2, 2)))
    kernel = echo.evolution_kernel(TWO_SITES, 2e-5, LITHIUM)
    signal = echo.frozen_echo(joint_of(generator, HALVES, time_s), kernel, LITHIUM)
    level = echo.plateau(np.outer(HALVES, HALVES), kernel)
    np.testing.assert_allclose(signal / signal[0], level + (1 - level) * np.exp(-2 * rate * time_s), rtol=1e-10)
    assert signal[0] == pytest.approx(9 / 20 * np.diag(kernel).mean())
    fit = fit_decay(time_s, signal)
    assert 1 / fit.tau_s == pytest.approx(2 * rate, rel=1e-4)
    assert fit.beta == pytest.approx(1, abs=1e-4)
    assert fit.plateau / signal[0] == pytest.approx(level, rel=1e-3)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_decay_rate_of_equal_connected_states_is_n_over_n_minus_one_exit_rates(count):
    rate = 100.0
    generator = column_generator(rate * np.ones((count, count)))
    populations = np.ones(count) / count
    time_s = np.geomspace(1e-6, 1.0, 80)
    kernel = echo.evolution_kernel(random_tensors(count), 5e-5, LITHIUM)
    signal = echo.frozen_echo(joint_of(generator, populations, time_s), kernel, LITHIUM)
    exit_rate = rate * (count - 1)
    assert 1 / fit_decay(time_s, signal).tau_s / exit_rate == pytest.approx(count / (count - 1), rel=1e-3)


def test_plateaus_at_long_and_short_evolution_times():
    # Three electrically inequivalent tensors on four states: populations of equal tensors add before squaring.
    states = np.array([*random_tensors(3), random_tensors(3)[0]])
    populations = np.array([0.1, 0.3, 0.4, 0.2])
    limit = np.outer(populations, populations)
    long_time = echo.plateau(limit, echo.evolution_kernel(states, 1e-3, LITHIUM))
    assert echo.plateau_long_evolution(limit, states) == pytest.approx(0.3**2 + 0.3**2 + 0.4**2)
    assert long_time == pytest.approx(0.34, abs=0.01)
    short_time = echo.plateau(limit, echo.evolution_kernel(states, 1e-8, LITHIUM))
    assert short_time == pytest.approx(echo.plateau_short_evolution(limit, states), rel=1e-3)
    mean = np.einsum("s,sij->ij", populations, states)
    expected = (mean**2).sum() / (populations @ (states**2).sum(axis=(1, 2)))
    assert echo.plateau_short_evolution(limit, states) == pytest.approx(expected)


def test_ions_that_stay_in_their_part_of_the_network_keep_more_of_the_echo():
    """Two pairs of sites with no way from one to the other: each pair has a plateau of its own, and so has the sum."""
    states, rate, time_s = random_tensors(4, seed=5), 30.0, np.linspace(0, 0.2, 401)
    generator = np.kron(np.eye(2), column_generator(rate * np.ones((2, 2))))
    populations = np.array([0.4, 0.4, 0.1, 0.1])
    joint = joint_of(generator, populations, time_s)
    limit = np.zeros((4, 4))
    limit[:2, :2], limit[2:, 2:] = 0.2, 0.05
    flux = rate * populations[:, None] * np.kron(np.eye(2), 1 - np.eye(2))
    seen = np.ones(len(time_s))
    propagator = echo.Propagator(joint, joint[None], populations, limit, flux, time_s, 0.2, 300.0, rate, 0, seen)
    kernel = echo.tensor_kernel(states)
    curve = echo.contract(kernel, joint)
    assert echo.plateau(limit, kernel) == pytest.approx(curve[-1] / curve[0], rel=1e-4)
    assert echo.plateau_short_evolution(limit, states) == pytest.approx(curve[-1] / curve[0], rel=1e-4)
    assert echo.plateau_long_evolution(limit, states) == pytest.approx(0.5)
    # Half-way is half-way to that plateau.
    assert echo.half_decay(propagator, states) == pytest.approx(np.log(2) / (2 * rate), abs=5e-4)


def test_a_state_that_is_never_filled_has_no_part_in_an_echo():
    kernel = echo.matrix_kernel(np.zeros((2, 2)), np.array([1.0, 0.0]), TWO_SITES, 2e-5, LITHIUM)
    assert kernel[0, 0] == pytest.approx(echo.evolution_kernel(TWO_SITES, 2e-5, LITHIUM)[0, 0])
    assert np.isfinite(kernel).all()


def test_plateau_of_the_two_site_correlation_function():
    a, b = random_tensors(2)
    expected = ((a + b) ** 2).sum() / (2 * ((a**2).sum() + (b**2).sum()))
    assert echo.plateau_short_evolution(np.outer(HALVES, HALVES), np.array([a, b])) == pytest.approx(expected)


def test_frozen_form_is_3_percent_high_at_0_02_jumps_and_34_percent_at_0_2():
    evolution_time_s = 2e-5
    for jumps, excess, tolerance in ((0.02, 0.03, 0.005), (0.2, 0.34, 0.01)):
        generator = column_generator(jumps / evolution_time_s * np.ones((2, 2)))
        exact = matrix_echo(generator, HALVES, TWO_SITES, evolution_time_s, np.zeros(1), LITHIUM)[0]
        frozen = echo.AMPLITUDES[1.5] * np.diag(echo.evolution_kernel(TWO_SITES, evolution_time_s, LITHIUM)).mean()
        assert frozen / exact - 1 == pytest.approx(excess, abs=tolerance)
        time_s = np.linspace(0, 2 * evolution_time_s, 201)
        joint = joint_of(generator, HALVES, time_s)
        assert echo.jumps_during_evolution(joint, time_s, evolution_time_s, TWO_SITES) == (jumps > 0.02)


def test_the_program_takes_the_matrix_form_where_ions_jump_during_evolution(tmp_path, monkeypatch):
    """One ion in five jumps while phases evolve: S₂ is that of the master equation, not a third too large."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", two_site_study(tmp_path, 1e4, 1e-3))
    simulate_nmr.main()
    table = pd.read_csv("e.csv")
    assert set(table["form"]) == {"matrix"}
    assert set(table["flag"]) == {"jumps_during_evolution"}
    generator = column_generator(1e4 * np.ones((2, 2)))
    exact = matrix_echo(generator, HALVES, TWO_SITES, 2e-5, table["mixing_time_s"].to_numpy(), LITHIUM)
    np.testing.assert_allclose(table["S2"], exact, rtol=2e-3)
    frozen = echo.AMPLITUDES[1.5] * np.diag(echo.evolution_kernel(TWO_SITES, 2e-5, LITHIUM)).mean()
    assert frozen / table["S2"][0] == pytest.approx(1.34, abs=0.02)


def test_excursions_that_return_at_once_are_no_jumps_during_evolution():
    # Two sites and, beside each, one that an ion visits 1e6 times a second for a nanosecond: populations 1e-3.
    out, back, across = 1e6, 1e9, 10.0
    rates = np.zeros((4, 4))
    rates[0, 1] = rates[2, 3] = out
    rates[1, 0] = rates[3, 2] = back
    rates[0, 2] = rates[2, 0] = across
    populations = np.array([1, 1e-3, 1, 1e-3]) / 2.002
    time_s = np.linspace(0, 1e-4, 51)
    joint = joint_of(column_generator(rates), populations, time_s)
    assert out * 1e-5 > 1
    states = random_tensors(4)
    faster = joint_of(column_generator(rates * 1e4), populations, time_s)
    assert not echo.jumps_during_evolution(joint, time_s, 1e-5, states)
    assert echo.jumps_during_evolution(faster, time_s, 1e-5, states)


def test_jumps_between_equal_tensors_are_no_jumps_during_evolution():
    """Sites 0 and 1 exchange fast and have one tensor; site 2 has another and is reached rarely."""
    rates = np.zeros((3, 3))
    rates[0, 1] = rates[1, 0] = 1e9
    rates[1, 2] = rates[2, 1] = 10.0
    states = random_tensors(3)
    time_s = np.linspace(0, 1e-4, 51)
    joint = joint_of(column_generator(rates), np.ones(3) / 3, time_s)
    assert echo.jumps_during_evolution(joint, time_s, 1e-5, states)
    assert not echo.jumps_during_evolution(joint, time_s, 1e-5, states[[0, 0, 2]])


def test_matrix_form_is_the_frozen_form_for_rare_jumps():
    rates = np.random.default_rng(0).uniform(0.5, 2, size=(4, 4))
    generator = column_generator(rates + rates.T)
    populations, states = np.ones(4) / 4, random_tensors(4)
    time_s = np.array([0.0, 0.02, 0.1, 1.0])
    exact = matrix_echo(generator, populations, states, 1e-5, time_s, LITHIUM)
    kernel = echo.evolution_kernel(states, 1e-5, LITHIUM)
    frozen = echo.frozen_echo(joint_of(generator, populations, time_s), kernel, LITHIUM)
    np.testing.assert_allclose(exact, frozen, rtol=2e-4)


def test_matrix_form_against_random_paths_with_unequal_populations():
    # Independent of any matrix: phases summed along telegraph paths on a fine time grid.
    evolution_time_s, mixing_s, field = 2e-5, 3e-5, np.array([0.2, 0.5, 0.8])
    forward, backward = 2e4, 1e4
    populations = np.array([1 / 3, 2 / 3])
    generator = column_generator(np.array([[0, forward], [backward, 0]]))
    exact = matrix_echo(
        generator, populations, TWO_SITES, evolution_time_s, np.array([mixing_s]), LITHIUM, direction=field
    )[0]
    rng = np.random.default_rng(3)
    step_s, paths = 1e-7, 100_000
    omega = 2 * np.pi * powder.quadrupolar_frequency(TWO_SITES, field[None] / np.linalg.norm(field), LITHIUM)[0]
    state = (rng.random(paths) < populations[1]).astype(int)
    phases = np.zeros((2, paths))
    steps = round(evolution_time_s / step_s)
    leave = 1 - np.exp(-np.array([forward, backward]) * step_s)
    for step in range(2 * steps + round(mixing_s / step_s)):
        after = state ^ (rng.random(paths) < leave[state])
        mean_omega = 0.5 * (omega[state] + omega[after])
        if step < steps:
            phases[0] += mean_omega * step_s
        elif step >= steps + round(mixing_s / step_s):
            phases[1] += mean_omega * step_s
        state = after
    samples = echo.AMPLITUDES[1.5] * np.sin(phases[0]) * np.sin(phases[1])
    error = samples.std() / np.sqrt(paths)
    assert error < 0.002
    assert exact == pytest.approx(samples.mean(), abs=4 * error)


def test_matrix_form_at_fast_jumps_is_the_echo_of_the_mean_tensor():
    generator = column_generator(1e10 * np.ones((2, 2)))
    mean = TWO_SITES.mean(axis=0)[None]
    fast = matrix_echo(generator, HALVES, TWO_SITES, 2e-5, np.array([0.0, 1.0]), LITHIUM)
    expected = echo.AMPLITUDES[1.5] * echo.evolution_kernel(mean, 2e-5, LITHIUM)[0, 0]
    np.testing.assert_allclose(fast, expected, rtol=1e-3)


def test_relaxation_multiplies_and_is_optional():
    time_s = np.array([0.0, 2.0])
    np.testing.assert_allclose(echo.spin_lattice_damping(time_s, 4.0), [1, np.exp(-0.5)])
    np.testing.assert_array_equal(echo.spin_lattice_damping(time_s, None), 1)
    with pytest.raises(InputError, match="T1Q"):
        echo.spin_lattice_damping(time_s, 0.0)


def test_wrong_spins_and_times_are_refused():
    with pytest.raises(InputError, match=r"27Al has spin 2.5: .* spin 1 or 3/2"):
        echo.evolution_kernel(TWO_SITES, 1e-5, quadrupolar_nucleus("27Al"))
    with pytest.raises(InputError, match="evolution time"):
        echo.evolution_kernel(TWO_SITES, 0.0, LITHIUM)
    with pytest.raises(InputError, match="spin"):
        powder.quadrupolar_frequency(TWO_SITES, np.eye(3), nucleus("31P"))
    with pytest.raises(InputError, match="below 2000 rad"):
        echo.evolution_kernel(TWO_SITES, 1.0, LITHIUM)
    with pytest.raises(InputError, match="sum to 1"):
        matrix_echo(column_generator(np.ones((2, 2))), np.ones(2), TWO_SITES, 1e-5, np.zeros(1), LITHIUM)
    with pytest.raises(InputError, match="stationary"):
        matrix_echo(column_generator(np.ones((2, 2))), np.array([0.9, 0.1]), TWO_SITES, 1e-5, np.zeros(1), LITHIUM)


PER_REPLICA = ("msd_replica", "msd_collective_replica")


def write_propagator(path, joint, populations, time_s, replicas=None, **changes):
    replicas = [joint, joint] if replicas is None else replicas
    data = xr.Dataset(
        {
            "P": (("state_a", "state_b", "time"), joint),
            "P_se": (("state_a", "state_b", "time"), np.zeros_like(joint)),
            "P_replica": (("replica", "state_a", "state_b", "time"), np.array(replicas)),
            **{name: (("replica", "lag"), np.zeros((len(replicas), len(time_s)))) for name in PER_REPLICA},
            "p": (("state",), populations),
            "P_infinity": (("state_a", "state_b"), np.outer(populations, populations)),
            "flux": (("state_a", "state_b"), joint[..., 1] / time_s[1] * (1 - np.eye(len(joint)))),
            "observations": ("time", np.full(len(time_s), 1e9)),
            **{name: ("lag", np.zeros(len(time_s))) for name in ("msd", "msd_se")},
            **{name: ("lag", np.zeros(len(time_s))) for name in ("msd_collective", "msd_collective_se")},
        },
        coords={"time": time_s, "lag": time_s},
        attrs={"temperature_K": 200.0, "mean_residence_time_s": 0.1, "complete": 1, **changes},
    )
    data.to_netcdf(path)


def test_propagator_file_round_trip_and_refusals(tmp_path):
    time_s = np.array([0.0, 0.1, 1.0])
    joint = joint_of(column_generator(10 * np.ones((2, 2))), HALVES, time_s)
    path = tmp_path / "P.nc"
    write_propagator(path, joint, HALVES, time_s)
    read = echo.load_propagator(path)
    np.testing.assert_allclose(read.joint, joint)
    assert read.exit_rate_per_s == pytest.approx(10)
    write_propagator(tmp_path / "conditional.nc", 2 * joint, HALVES, time_s)
    with pytest.raises(InputError, match=r"conditional.nc: P does not sum to 1"):
        echo.load_propagator(tmp_path / "conditional.nc")
    write_propagator(tmp_path / "sum.nc", joint, HALVES * 1.1, time_s)
    with pytest.raises(InputError, match=r"sum.nc: p: .*sum to 1"):
        echo.load_propagator(tmp_path / "sum.nc")
    bad = joint.copy()
    bad[0, 0, 1] = np.nan
    write_propagator(tmp_path / "nan.nc", bad, HALVES, time_s)
    with pytest.raises(InputError, match="finite"):
        echo.load_propagator(tmp_path / "nan.nc")
    with pytest.raises(InputError, match="no such file"):
        echo.load_propagator(tmp_path / "missing.nc")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("P_infinity", [[0.9, 0.4], [0.4, 0.9]], "rows of P_infinity do not sum to p"),
        ("P_infinity", [[0.2, 0.3], [0.1, 0.4]], "P_infinity must be finite, not negative and symmetric"),
        ("P_infinity", [[np.nan, 0.25], [0.25, 0.25]], "P_infinity must be finite"),
        ("flux", [[0.0, np.nan], [1.0, 0.0]], "flux must be finite and not negative"),
    ],
)
def test_limits_and_fluxes_that_are_none_are_refused(tmp_path, name, values, message):
    time_s = np.array([0.0, 0.1, 1.0])
    joint = joint_of(column_generator(10 * np.ones((2, 2))), HALVES, time_s)
    write_propagator(tmp_path / "P.nc", joint, HALVES, time_s)
    with xr.open_dataset(tmp_path / "P.nc") as data:
        changed = data.load()
    changed[name] = (("state_a", "state_b"), np.array(values))
    changed.to_netcdf(tmp_path / "bad.nc")
    with pytest.raises(InputError, match=f"bad.nc: {message}"):
        echo.load_propagator(tmp_path / "bad.nc")


def test_site_tensor_refusals(tmp_path):
    states = [
        {"index": i, "tensor": tensor.tolist(), "members": [tensor.tolist()]} for i, tensor in enumerate(TWO_SITES)
    ]
    path = tmp_path / "T.json"
    content = {"temperature_K": 200, "isotope": "7Li", "states": states}
    path.write_text(json.dumps(content))
    np.testing.assert_allclose(echo.read_site_tensors(path, 2, "7Li").members[0], TWO_SITES)
    with pytest.raises(InputError, match=r"T.json: no tensor for state 2"):
        echo.read_site_tensors(path, 3, "7Li")
    path.write_text(json.dumps(content | {"states": [*states, states[1]]}))
    with pytest.raises(InputError, match=r"T.json has 3 tensors of states for 2 sites"):
        echo.read_site_tensors(path, 2, "7Li")
    path.write_text(json.dumps(content | {"temperature_K": "cold"}))
    with pytest.raises(InputError, match=r"T.json: temperature_K is 'cold'; expected a number"):
        echo.read_site_tensors(path, 2, "7Li")
    states[1]["tensor"] = np.eye(3).tolist()
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="traceless"):
        echo.read_site_tensors(path, 2, "7Li")


TWO_SITE_INPUTS = ("--propagator", "P.nc", "--site-tensors", "T.json", "--isotope", "7Li")  # files of two_site_study


def two_site_study(folder, rate_per_s, longest_s, isotope="7Li"):
    """Arguments of simulate_nmr.py for two-site exchange: three replicas with slightly different rates, two members."""
    time_s = np.concatenate([[0.0], np.geomspace(1e-3 / rate_per_s, longest_s, 40)])
    each = [joint_of(column_generator(k * rate_per_s * np.ones((2, 2))), HALVES, time_s) for k in (0.98, 1.0, 1.02)]
    write_propagator(folder / "P.nc", np.mean(each, axis=0), HALVES, time_s, replicas=each)
    members = [TWO_SITES, 1.05 * TWO_SITES]
    states = [
        {"index": i, "tensor": TWO_SITES[i].tolist(), "members": [m[i].tolist() for m in members]} for i in (0, 1)
    ]
    (folder / "T.json").write_text(json.dumps({"temperature_K": 200, "isotope": isotope, "states": states}))
    arguments = [*TWO_SITE_INPUTS, "--evolution-times-us", "20"]
    arguments += ["--out-echo", "e.csv", "--out-correlation", "c.csv", "--out-fits", "f.csv"]
    return ["simulate_nmr.py", *arguments]


def test_fits_of_a_moved_model_have_the_stages_of_the_model_as_it_is(tmp_path):
    time_s = np.geomspace(1e-6, 1, 60)
    two, one = (decay_curve(time_s, 0.5, 1e-4, 1.0, 0.2, None, slow, 1e-2) for slow in (0.3, 0.0))
    rows = {}
    for name, curve, stages in (("two", two, None), ("as one", two, 1), ("one", one, None), ("as two", one, 2)):
        replicas = curve * np.array([0.999, 1.0, 1.001])[:, None]
        rows[name] = simulate_nmr.fit_row(time_s, replicas, np.empty((0, 60)), None, 0.0, stages=stages)
    assert rows["two"]["slow_amplitude"] == pytest.approx(0.3, rel=0.02)
    assert rows["two"]["tau_s"] == pytest.approx(1e-4, rel=0.02)
    assert rows["as one"]["slow_amplitude"] == 0
    assert rows["as one"]["tau_s"] > 1.2e-4
    assert rows["as two"]["tau_s"] == rows["one"]["tau_s"]  # there is no second stage in it
    table = [rows[name] | {"observable": "spin_alignment_echo", "evolution_time_us": us}
             for name, us in (("two", 5.0), ("one", 20.0))]  # fmt: skip
    failed = {"observable": "spin_alignment_echo", "evolution_time_us": 50.0, "status": "fit failed"}
    correlation = rows["two"] | {"observable": "tensor_correlation"}
    pd.DataFrame([*table, failed, correlation]).to_csv(tmp_path / "fits.csv", index=False)
    echo_name = "spin_alignment_echo"
    expected = {(echo_name, 5.0): 2, (echo_name, 20.0): 1, ("tensor_correlation", 0.0): 2}
    assert simulate_nmr.stages_of(str(tmp_path / "fits.csv")) == expected


def test_sampling_error_of_the_matrix_form_holds_that_of_its_process(tmp_path, monkeypatch):
    """Replicas with k of 0.98, 1 and 1.02: S₂(0), where all have the same P, varies with k as the process says."""
    monkeypatch.chdir(tmp_path)
    rate = 1e4
    monkeypatch.setattr(sys, "argv", two_site_study(tmp_path, rate, 20 / rate))
    simulate_nmr.main()
    echoes = pd.read_csv("e.csv")
    assert (echoes["form"] == "matrix").all()
    few, many = (
        matrix_echo(column_generator(k * rate * np.ones((2, 2))), HALVES, TWO_SITES, 2e-5, np.zeros(1), LITHIUM)[0]
        for k in (0.99, 1.01)
    )
    expected = widening(3) * 0.02 / np.sqrt(3) * abs(many - few) / 0.02
    assert expected > 5e-4 * echoes["S2"].iloc[0]
    assert echoes["S2_se_sampling"].iloc[0] == pytest.approx(expected, rel=0.05)
    assert echoes["S2_normalised_se_sampling"].iloc[0] == 0  # every replica over its own start


def test_curves_that_end_too_early_are_marked_and_their_fits_are_not_ok(tmp_path, monkeypatch):
    """2kt of the last point is 8 (all of the decay seen) or 1 (37 % of it beyond the end)."""
    monkeypatch.chdir(tmp_path)
    for longest_s, complete, status in ((0.4, 1, "ok"), (0.05, 0, "incomplete: 37 % of the decay")):
        monkeypatch.setattr(sys, "argv", two_site_study(tmp_path, 10.0, longest_s))
        simulate_nmr.main()
        fits = pd.read_csv("f.csv")
        for table in (pd.read_csv("e.csv"), pd.read_csv("c.csv"), fits):
            assert (table["complete"] == complete).all()
        assert fits["status"].str.startswith(status).all()
    # Members that differ by a factor have one and the same normalised correlation function, and S2 of other sizes.
    assert pd.read_csv("c.csv")["normalised_sd_model"].max() < 1e-12
    echoes = pd.read_csv("e.csv")
    assert echoes["S2_sd_model"].iloc[0] > 1e-3
    assert echoes["S2_normalised_sd_model"].iloc[0] == 0


def test_what_surroundings_add_is_in_the_curves_where_they_stay(tmp_path, monkeypatch):
    """They keep half of what they add while phases of 20 µs evolve, all but 2 % in 0.1 µs, and have lost all in 1 s."""
    monkeypatch.chdir(tmp_path)
    command = two_site_study(tmp_path, 10.0, 0.4)
    monkeypatch.setattr(sys, "argv", [*command, "--evolution-times-us", "0.1", "20", "1000"])
    simulate_nmr.main()
    before = [pd.read_csv(name) for name in ("e.csv", "c.csv", "f.csv")]
    assert (before[1]["tensor_correlation_by_surroundings_au2"] == 0).all()
    time, start = np.concatenate([[0.0], np.geomspace(1e-8, 1e-2, 200)]), before[1]["tensor_correlation_au2"].iloc[0]
    correlation = 0.2 * start * np.exp(-np.log(2) * time / 2e-5)
    evolution = 1e-6 * np.array([0.1, 20, 1000])
    added = fluctuations.Fluctuations(
        time, np.tile(correlation, (3, 3, 1)), evolution, np.full((3, 3, len(time)), 1e-5), np.empty(0), 200.0, 0, None
    )
    fluctuations.write_fluctuations("around.nc", added)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--surroundings", "around.nc"])
    simulate_nmr.main()
    echoes, curve, fits = [pd.read_csv(name) for name in ("e.csv", "c.csv", "f.csv")]
    assert curve["tensor_correlation_au2"].iloc[0] == pytest.approx(1.2 * start)
    late = curve["mixing_time_s"] > 1e-3
    assert late.any()
    assert curve["tensor_correlation_au2"][late].tolist() == before[1]["tensor_correlation_au2"][late].tolist()
    assert curve["normalised"].iloc[0] == 1
    kinds = echoes.groupby("evolution_time_us")["surroundings"].unique().map(list)
    assert kinds.to_dict() == {0.1: ["frozen"], 20.0: ["changing"], 1000.0: ["averaged"]}
    change = (echoes["S2"] - before[0]["S2"]).to_numpy()
    assert change == pytest.approx(np.where(echoes["surroundings"] == "frozen", 1e-5, 0.0), abs=1e-9)
    # The plateau of the correlation function is that of the means, over a larger start.
    ratios = [table.loc[0, "plateau_ratio"] for table in (before[2], fits)]
    assert ratios[1] == pytest.approx(ratios[0] / 1.2)


def test_jumps_between_equal_tensors_are_none_that_an_echo_could_tell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", two_site_study(tmp_path, 10.0, 0.4))
    simulate_nmr.main()
    assert pd.read_csv("f.csv")["tensor_change_rate_per_s"].to_numpy() == pytest.approx(10, rel=0.01)
    content = json.loads((tmp_path / "T.json").read_text())
    content["states"][1] = content["states"][0] | {"index": 1}
    (tmp_path / "T.json").write_text(json.dumps(content))
    simulate_nmr.main()
    assert (pd.read_csv("f.csv")["tensor_change_rate_per_s"] == 0).all()
    assert (pd.read_csv("f.csv")["exit_rate_per_s"] == 10).all()


def test_an_evolution_time_beyond_the_lags_is_told(tmp_path, monkeypatch, capsys):
    """Lags end at 1 µs, of a process that takes 0.1 ms: nobody knows how many ions jump in 20 µs."""
    monkeypatch.chdir(tmp_path)
    command = two_site_study(tmp_path, 1e4, 1e-6)
    monkeypatch.setattr(sys, "argv", [*command, "--evolution-times-us", "0.5", "20"])
    simulate_nmr.main()
    assert "--evolution-times-us 20: longer than the lags of P.nc, which end at 1e-06 s" in capsys.readouterr().err
    fits = pd.read_csv("f.csv").set_index("evolution_time_us")
    assert fits["flag"].loc[[0.5, 20.0]].tolist() == ["ok", "evolution_beyond_the_lags"]
    assert fits["status"].loc[20.0].startswith("no echo")
    assert np.isnan(fits["tau_s"].loc[20.0])
    # Where many have jumped at the last lag, more have so later; where P has come to its limit, any time is known.
    monkeypatch.setattr(sys, "argv", two_site_study(tmp_path, 1e4, 1e-5))
    simulate_nmr.main()
    assert pd.read_csv("f.csv")["flag"].iloc[-1] == "jumps_during_evolution"
    assert pd.read_csv("e.csv")["form"].iloc[-1] == "matrix"
    monkeypatch.setattr(sys, "argv", two_site_study(tmp_path, 1e7, 2e-6))
    simulate_nmr.main()
    assert pd.read_csv("f.csv")["flag"].iloc[-1] == "jumps_during_evolution"


@pytest.mark.parametrize(("isotope", "amplitude", "line"), [("7Li", 9 / 20, 1), ("6Li", 3 / 4, 1 / 2)])
def test_echoes_of_a_single_crystal(tmp_path, monkeypatch, isotope, amplitude, line):
    """sin(ω_a t_p) sin(ω_b t_p) along one direction; none where every frequency vanishes, or of no direction."""
    monkeypatch.chdir(tmp_path)
    command = [*two_site_study(tmp_path, 10.0, 0.4, isotope), "--isotope", isotope]
    field = np.array([0.3, -0.2, 0.9])
    monkeypatch.setattr(sys, "argv", [*command, "--direction", *map(str, field)])
    simulate_nmr.main()
    along = field / np.linalg.norm(field)
    splitting = powder.quadrupolar_frequency(TWO_SITES, along[None], quadrupolar_nucleus(isotope))[0]
    phases = 2 * np.pi * 20e-6 * line * splitting
    curve = pd.read_csv("e.csv")["S2"].to_numpy()
    assert curve[0] == pytest.approx(amplitude * np.mean(np.sin(phases) ** 2), rel=1e-6)
    assert curve[-1] == pytest.approx(amplitude * np.mean(np.sin(phases)) ** 2, rel=2e-3, abs=1e-4)
    assert pd.read_csv("f.csv")["plateau_ratio_short_evolution"].isna().all()
    monkeypatch.setattr(sys, "argv", [*command, "--direction", "0", "0", "0"])
    with pytest.raises(InputError, match="not a direction"):
        simulate_nmr.main()


def test_replicates_of_the_tensors_widen_the_interval_of_a_decay_rate(tmp_path, monkeypatch):
    """An asymmetric exchange among three sites, whose fit depends on which tensors they have."""
    time_s = np.concatenate([[0.0], np.geomspace(1e-3, 10, 60)])
    generator = column_generator(np.array([[0, 1.0, 0.1], [1.0, 0, 0.3], [0.1, 0.3, 0]]))
    joint = joint_of(generator, np.full(3, 1 / 3), time_s)
    base = random_tensors(3)
    kernel = echo.tensor_kernel(base)
    curve = echo.contract(kernel, joint)
    others = [echo.contract(echo.tensor_kernel(base * np.array([1, f, 1])[:, None, None]), joint) for f in (0.7, 1.3)]
    left = 0.0
    replicas = np.array([curve, 1.001 * curve])
    alone = simulate_nmr.fit_row(time_s, replicas, np.empty((0, len(time_s))), None, left)
    wider = simulate_nmr.fit_row(time_s, replicas, np.empty((0, len(time_s))), None, left, samples=np.array(others))
    assert wider["rate_per_s"] == alone["rate_per_s"]
    rates = [simulate_nmr.fit_decay(time_s, other, stages=1).tau_s ** -1 for other in others]
    extra = np.log(wider["rate_ci_high_per_s"] / wider["rate_per_s"]) ** 2
    extra -= np.log(alone["rate_ci_high_per_s"] / alone["rate_per_s"]) ** 2
    assert np.sqrt(extra) == pytest.approx(1.96 * widening(2) * np.std(rates, ddof=1) / alone["rate_per_s"], rel=0.1)
    # One whose fit fails says nothing; of a single one that is left no interval is known.
    flat = np.full(len(time_s), curve[0])
    three = simulate_nmr.fit_row(time_s, replicas, np.empty((0, len(time_s))), None, left, samples=[*others, flat])
    assert three["rate_ci_high_per_s"] == wider["rate_ci_high_per_s"]
    assert "1 of 3 replicates of the tensors have no fit" in three["status"]
    two = simulate_nmr.fit_row(time_s, replicas, np.empty((0, len(time_s))), None, left, samples=[others[0], flat])
    assert np.isnan(two["rate_ci_high_per_s"])
    single = simulate_nmr.fit_row(time_s, replicas, np.empty((0, len(time_s))), None, left, samples=others[:1])
    assert single["rate_ci_high_per_s"] == alone["rate_ci_high_per_s"]


def test_relaxation_of_two_sites_is_bpp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_site_study(tmp_path, 2e9, 2e-9)
    command = ["simulate_relaxation.py", *TWO_SITE_INPUTS, "--out", "r.csv"]
    monkeypatch.setattr(sys, "argv", [*command, "--fields-T", "4.7", "9.4"])
    simulate_relaxation.main()
    table = pd.read_csv("r.csv").set_index(["field_T", "quantity"])
    kernel = fluctuation_kernels((TWO_SITES[:1] - TWO_SITES[1:]) / 2)[0, 0, 0]
    for field in (4.7, 9.4):
        exact = relaxation_rates([Decay(np.array([4e9]), np.array([kernel]))] * 3, LITHIUM, field)
        for name, rate in exact.items():
            row = table.loc[(field, name)]
            assert row["rate_per_s"] == pytest.approx(rate, rel=0.03)
            # Members' tensors differ by 5 %, their squares by 10, replicas' rates by 2 % about the mean.
            assert row["sd_model_per_s"] == pytest.approx(rate * widening(2) * 0.1025 / np.sqrt(2), rel=0.05)
            assert 0 < row["se_sampling_per_s"] < 0.1 * rate
    assert (table["complete"] == 1).all()
    assert (table["valid"] == 1).all()
    monkeypatch.setattr(sys, "argv", [*command, "--fields-T", "-1"])
    with pytest.raises(SystemExit, match="2"):
        simulate_relaxation.main()


def test_site_tensors_of_another_isotope_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*two_site_study(tmp_path, 10.0, 0.4), "--isotope", "23Na"])
    with pytest.raises(InputError, match=r"T.json is of 7Li, --isotope is 23Na"):
        simulate_nmr.main()


def test_tensor_basis_agrees_with_the_kernel():
    states = random_tensors(5)
    components = tensors.to_components(states)
    np.testing.assert_allclose(components @ components.T, echo.tensor_kernel(states), atol=1e-15)


def test_scaled_tensors_stand_for_the_error_of_dft():
    """Their standard deviation is that part of every component; without an error there are none."""
    fields = random_tensors(3)
    states = echo.SiteTensors(fields, fields[None], fields[None], 300.0, "7Li", 0.1)
    assert states.scaled.std(axis=0, ddof=1) == pytest.approx(0.1 * np.abs(fields))
    assert states.scaled.mean(axis=0) == pytest.approx(fields)
    assert len(dataclasses.replace(states, dft_error=0.0).scaled) == 0


@pytest.mark.parametrize("error", [-0.1, 1.0, "much"])
def test_an_error_of_dft_that_cannot_be_is_refused(tmp_path, error):
    state = {"index": 0, "orbit": "A", "tensor": np.zeros((3, 3)).tolist()}
    content = {"temperature_K": 300.0, "isotope": "7Li", "states": [state], "dft_error": error}
    (tmp_path / "tensors.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"dft_error is {error}"):
        echo.read_site_tensors(tmp_path / "tensors.json", 1, "7Li")
