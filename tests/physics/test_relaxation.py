"""Relaxation against closed forms, and against the stochastic Liouville equation of a spin on two sites."""

from dataclasses import replace

import numpy as np
import pytest
from insilico_nmr.echo import Early, Propagator, SiteTensors, contract
from insilico_nmr.errors import InputError
from insilico_nmr.histories import autocorrelation
from insilico_nmr.nuclei import MILLIBARN_M2, Nucleus, quadrupolar_nucleus
from insilico_nmr.powder import lebedev, quadrupolar_frequency
from insilico_nmr.relaxation import (
    Decay,
    completed,
    decay_kernel,
    fit_decay,
    fluctuation_kernels,
    recovery_rate,
    relaxation_rates,
    satellite_offset_Hz,
    second_order_holds,
    vibrational_decay,
)
from insilico_nmr.tensors import from_components
from scipy.linalg import expm
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation
from simulate_relaxation import fluctuates, rows_of
from spins import evolved, liouvillian, quadrupolar_hamiltonian, spin_operators

LITHIUM = quadrupolar_nucleus("7Li")
TENSORS = from_components(np.random.default_rng(1).normal(0, 0.005, (2, 5)))


def exponential(square_au: float, tau_s: float) -> list[Decay]:
    """C(t) = square·exp(−t/τ), of a powder."""
    return [Decay(np.array([1 / tau_s]), np.array([square_au]))] * 3


def test_one_correlation_time_is_bpp():
    """(2π²/25) C_Q² (1 + η²/3) [J(ω₀) + 4J(2ω₀)], J = τ/(1 + ω²τ²), of a tensor that comes to average zero."""
    tau, field = 1e-9, 7.05
    v_zz, eta = 0.011, 0.4
    square = 1.5 * v_zz**2 * (1 + eta**2 / 3)
    larmor, coupling_Hz = abs(LITHIUM.gamma) * field, LITHIUM.coupling_per_au * v_zz
    densities = [tau / (1 + (m * larmor * tau) ** 2) for m in (1, 2)]
    expected = 2 * np.pi**2 / 25 * coupling_Hz**2 * (1 + eta**2 / 3) * (densities[0] + 4 * densities[1])
    rates = relaxation_rates(exponential(square, tau), LITHIUM, field)
    assert rates["R1"] == pytest.approx(expected, rel=1e-9)
    assert rates["R1"] == pytest.approx(0.2 * rates["R1_fast"] + 0.8 * rates["R1_slow"], rel=1e-12)


def test_limits_of_fast_and_slow_motion():
    fast, slow = (relaxation_rates(exponential(1e-4, tau), LITHIUM, 9.4) for tau in (1e-13, 1e-5))
    for name in ("R1_fast", "R1_slow", "R2_central"):
        assert fast[name] == pytest.approx(fast["R1"], rel=1e-4)
    together = relaxation_rates(exponential(1e-4, 1e-13), LITHIUM, 9.4, satellites_apart_Hz=0)
    assert together["R2_satellites"] == pytest.approx(fast["R1"], rel=1e-4)
    assert fast["R2_satellites"] == pytest.approx(1.5 * fast["R1"], rel=1e-4)
    assert fast["R1Q"] == pytest.approx(2 * fast["R1"], rel=1e-4)
    assert slow["R1_fast"] == pytest.approx(4 * slow["R1_slow"], rel=1e-4)
    # Maximum of J(ω₀) + 4J(2ω₀): ω₀τ = 0.6158.
    larmor = abs(LITHIUM.gamma) * 9.4
    best = minimize_scalar(
        lambda x: -relaxation_rates(exponential(1e-4, x / larmor), LITHIUM, 9.4)["R1"],
        bounds=(0.1, 2),
        method="bounded",
    )
    assert best.x == pytest.approx(0.6158, abs=1e-3)
    assert second_order_holds(fast["R2_satellites"], exponential(1e-4, 1e-13))
    assert not second_order_holds(slow["R2_satellites"], exponential(1e-4, 1e-5))


def test_powder_is_the_average_over_directions():
    directions, weights = lebedev(21)
    single = np.array([fluctuation_kernels(TENSORS, direction) for direction in directions])
    np.testing.assert_allclose(np.einsum("n,nmab->mab", weights, single), fluctuation_kernels(TENSORS), rtol=1e-10)
    # Along one direction m = 0 is the part that shifts the line.
    unit = quadrupolar_frequency(np.diag([-0.5, -0.5, 1.0]), np.array([[0, 0, 1.0]]), LITHIUM)[0]
    frequency = quadrupolar_frequency(TENSORS, directions, LITHIUM) / unit
    np.testing.assert_allclose(single[:, 0], 7.5 * frequency[:, :, None] * frequency[:, None], rtol=1e-9)


def test_a_powder_relaxes_alike_in_any_frame_and_a_crystal_turns_with_its_field():
    turn, field = Rotation.random(random_state=3).as_matrix(), np.array([0.3, -0.2, 0.9])
    turned = turn @ TENSORS @ turn.T
    np.testing.assert_allclose(fluctuation_kernels(turned), fluctuation_kernels(TENSORS), rtol=1e-10)
    crystal = fluctuation_kernels(TENSORS, field)
    np.testing.assert_allclose(fluctuation_kernels(turned, turn @ field), crystal, rtol=1e-9)
    assert not np.allclose(fluctuation_kernels(turned, field), crystal, rtol=0.01)


def test_along_a_common_axis_nothing_flips_a_spin():
    """Axial tensors of several sizes and the field along their axis: only m = 0 fluctuates, whatever rounding says."""
    axis = Rotation.random(random_state=5).as_matrix()
    tensors = np.array([size * axis @ np.diag([-0.5, -0.5, 1.0]) @ axis.T for size in (1.0, 1.5, -0.7)])
    kernels, populations = fluctuation_kernels(tensors, axis[:, 2]), np.array([0.5, 0.3, 0.2])
    assert kernels[1:].any()
    limit = np.outer(populations, populations)
    assert fluctuates(kernels, populations, limit).tolist() == [True, False, False]
    across = fluctuation_kernels(tensors, axis[:, 0])
    assert fluctuates(across, populations, limit).tolist() == [True, False, True]
    # Ions that never leave a part of the network change no tensor, whatever others have elsewhere.
    assert not fluctuates(across, populations, np.diag(populations)).any()
    assert not fluctuates(fluctuation_kernels(np.tile(TENSORS[:1], (3, 1, 1))), populations, limit).any()


def test_satellites_lose_phase_as_their_frequency_wanders():
    """Adiabatic part of R2: the powder average of ∫⟨δω(0)δω(t)⟩dt."""
    tau = 1e-8
    directions, weights = lebedev(21)
    frequency = 2 * np.pi * quadrupolar_frequency(TENSORS, directions, LITHIUM)
    half_difference = (frequency[:, 0] - frequency[:, 1]) / 2
    adiabatic = weights @ half_difference**2 * tau
    kernel = fluctuation_kernels((TENSORS[:1] - TENSORS[1:]) / 2)[0, 0, 0]
    rates = relaxation_rates(exponential(kernel, tau), LITHIUM, 1e4)  # ω₀τ is so large that j(ω₀) is nothing
    assert rates["R2_satellites"] == pytest.approx(adiabatic, rel=1e-4)


LARMOR = 1e8  # rad/s


def hopping_spin(spin: float, tensors: np.ndarray, rate_per_s: float) -> tuple[Nucleus, np.ndarray]:
    """A nucleus and its Liouvillian on two sites with these tensors, jumps at that rate both ways, field along z."""
    nucleus = Nucleus("made up", "X", spin, -40 * MILLIBARN_M2, LARMOR, 1)
    sites = [
        LARMOR * spin_operators(spin)[2] + quadrupolar_hamiltonian(tensor, nucleus.coupling_per_au, spin)
        for tensor in tensors
    ]
    return nucleus, liouvillian(np.array(sites), rate_per_s * np.array([[-1.0, 1.0], [1.0, -1.0]]))


def predicted(nucleus: Nucleus, tensors: np.ndarray, rate_per_s: float) -> dict[str, float]:
    """Rates of that spin, from C = ¼(V₁ − V₂)² exp(−2kt)."""
    along_z = np.array([0, 0, 1.0])
    square = [kernel[0, 0] for kernel in fluctuation_kernels((tensors[:1] - tensors[1:]) / 2, along_z)]
    decays = [Decay(np.array([2 * rate_per_s]), np.array([c])) for c in square]
    return relaxation_rates(decays, nucleus, 1.0, satellite_offset_Hz(np.full((2, 2), 0.25), tensors, nucleus, along_z))


def left_of(start: np.ndarray, matrix: np.ndarray, time_s: float) -> float:
    """Size of the part of an operator (d, d), the same on both sites at first, that is in a later state."""
    later = evolved(np.array(2 * [start / 2], dtype=complex), matrix, time_s)
    return abs(np.einsum("sij,ij->", later, start.conj())) / np.linalg.norm(start) ** 2


def decay_rate(start: np.ndarray, matrix: np.ndarray, until_s: float) -> float:
    """Of what `left_of` tells, between a fifth of a time, when what jumps do at once is over, and that time."""
    first, last = (left_of(start, matrix, time) for time in (until_s / 5, until_s))
    return -np.log(last / first) / (0.8 * until_s)


@pytest.mark.parametrize("rate_over_larmor", [0.15, 2.0])
def test_recovery_of_populations_is_that_of_the_stochastic_liouville_equation(rate_over_larmor):
    """A spin 3/2 that jumps between V and −V; everything but second order is in the equation."""
    tensors, jump = np.array([TENSORS[0], -TENSORS[0]]), rate_over_larmor * LARMOR
    nucleus, matrix = hopping_spin(1.5, tensors, jump)
    rates = predicted(nucleus, tensors, jump)
    assert rates["R1_fast"] / rates["R1_slow"] > 1.5 or rates["R1_slow"] / rates["R1_fast"] > 1.5
    for time in np.array([0.3, 1.0, 3.0]) / rates["R1"]:
        expected = 0.2 * np.exp(-rates["R1_fast"] * time) + 0.8 * np.exp(-rates["R1_slow"] * time)
        assert left_of(spin_operators(1.5)[2], matrix, time) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("spin", [1.0, 1.5, 2.5])
def test_initial_slope_of_any_spin_is_that_of_the_stochastic_liouville_equation(spin):
    jump = 0.15 * LARMOR
    nucleus, matrix = hopping_spin(spin, TENSORS, jump)
    rates = predicted(nucleus, TENSORS, jump)
    assert decay_rate(spin_operators(spin)[2], matrix, 1e-3 / rates["R1"]) == pytest.approx(rates["R1"], rel=0.005)


@pytest.mark.parametrize("rate_over_larmor", [0.15, 2.0])
@pytest.mark.parametrize("apart", [True, False], ids=["satellites apart", "mean tensor 0"])
def test_coherences_and_order_decay_as_the_stochastic_liouville_equation_says(rate_over_larmor, apart):
    tensors, jump = np.array([TENSORS[0], TENSORS[1] if apart else -TENSORS[0]]), rate_over_larmor * LARMOR
    nucleus, matrix = hopping_spin(1.5, tensors, jump)
    rates = predicted(nucleus, tensors, jump)
    central, one, both = (np.zeros((4, 4)) for _ in range(3))
    central[1, 2] = one[0, 1] = both[0, 1] = both[2, 3] = 1
    order = np.diag([1.0, -1, -1, 1])
    states = {"R2_central": central, "R1Q": order, "R2_satellites": one if apart else both}
    for name, state in states.items():
        assert decay_rate(state, matrix, 1 / rates[name]) == pytest.approx(rates[name], rel=0.01)


def two_site_propagator(jump: float) -> Propagator:
    """Exact, of `jump` 1/s both ways."""
    time = np.concatenate([[0], np.logspace(-3, 2, 51)]) / jump
    staying = (1 + np.exp(-2 * jump * time)) / 2
    joint = np.array([[staying, 1 - staying], [1 - staying, staying]]) / 2
    flux = jump * np.array([[0, 0.5], [0.5, 0]])
    return Propagator(
        joint, np.array(3 * [joint]), np.full(2, 0.5), np.full((2, 2), 0.25), flux, time, time[-1], 300.0, jump, 0,
        np.full(len(time), 1e9),
    )  # fmt: skip


def test_a_crystal_along_the_common_axis_of_its_tensors_loses_phase_and_no_energy():
    axis = Rotation.random(random_state=5).as_matrix()
    tensors = 5e-3 * np.array([size * axis @ np.diag([-0.5, -0.5, 1.0]) @ axis.T for size in (1.0, -0.7)])
    none = np.empty((0, 2, 3, 3))
    states = SiteTensors(tensors, none, none, 300.0, "X", 0.0)
    nucleus, _ = hopping_spin(1.5, tensors, LARMOR)
    found = rows_of(two_site_propagator(0.3 * LARMOR), states, nucleus, [1.0], axis[:, 2])
    rates = {row["quantity"]: row["rate_per_s"] for row in found}
    assert rates["R1"] == rates["R1Q"] == rates["R2_central"] == 0
    assert rates["R2_satellites"] > 0


def test_a_powder_recovers_as_its_crystallites_do():
    """Not as one crystal with their mean spectral densities would."""
    axial = np.diag([-0.5, -0.5, 1.0])
    tensors, jump = 5e-3 * np.array([axial, axial[::-1, ::-1]]), 0.3 * LARMOR
    none = np.empty((0, 2, 3, 3))
    nucleus, _ = hopping_spin(1.5, tensors, jump)
    rows = rows_of(two_site_propagator(jump), SiteTensors(tensors, none, none, 300.0, "X", 0.0), nucleus, [1.0], None)
    rates = {row["quantity"]: row["rate_per_s"] for row in rows}
    directions, weights = lebedev(31)
    left = []
    for direction in directions:
        frame = Rotation.align_vectors([[0, 0, 1.0]], [direction])[0].as_matrix()
        _, matrix = hopping_spin(1.5, frame @ tensors @ frame.T, jump)
        left.append(left_of(spin_operators(1.5)[2], matrix, 1 / rates["R1_recovery"]))
    assert weights @ left == pytest.approx(np.exp(-1), abs=3e-3)
    in_one = (np.array([rates[name]]) for name in ("R1_fast", "R1_slow"))
    assert rates["R1_recovery"] < 0.9 * recovery_rate(*in_one, np.ones(1))
    # Crystallites that do not relax leave more than 1/e for ever.
    assert recovery_rate(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.full(2, 0.5)) == 0


def test_a_sum_of_exponentials_is_found_and_its_density_right_over_decades():
    time = np.concatenate([[0], np.logspace(-2, 5, 71)])
    rates, weights = np.array([20.0, 0.3, 1e-3]), np.array([1.0, 2.0, 0.5])
    exact = np.exp(-np.outer(time, rates)) @ weights
    clean = fit_decay(time, exact, exact[0] - exact, np.zeros(len(time)))
    noise = np.random.default_rng(1).normal(0, 0.01, len(time)) * (time > 0)
    noisy = fit_decay(time, exact + noise, exact[0] - exact - noise, 0.01 * (time > 0))
    for frequency in (0, 1e-3, 0.03, 1.0, 30.0):
        expected = (weights * rates / (rates**2 + frequency**2)).sum()
        assert clean.spectral_density(frequency) == pytest.approx(expected, rel=0.01)
        assert noisy.spectral_density(frequency) == pytest.approx(expected, rel=0.1)
    assert clean.correlation_time_s == pytest.approx((weights / rates).sum() / weights.sum(), rel=0.01)
    assert fit_decay(time, 0 * time, 0 * time, 0 * time).spectral_density(1.0) == 0
    with pytest.raises(InputError, match="times must increase from 0"):
        fit_decay(time[1:], exact[1:], exact[1:], exact[1:])


def test_vibrations_relax_as_the_integral_of_their_correlation_says():
    """Damped oscillations, C = C₀ e^(−γt) cos Ωt, of many ions in a short run: j(0) = C₀γ/(γ² + Ω²)."""
    step, frames, ions, damping, turn = 1e-14, 500, 4000, 1.5e13, 2e13
    rng = np.random.default_rng(4)
    factor = np.exp((1j * turn - damping) * step)
    state = rng.normal(size=(ions, 2)) @ [1, 1j]
    values = np.empty((frames, ions))
    for frame in range(frames):
        values[frame] = state.real
        noise = rng.normal(size=(ions, 2)) @ [1, 1j]
        state = factor * state + np.sqrt(1 - abs(factor) ** 2) * noise
    tensors = 1e-2 * values[..., None, None] * np.diag([1.0, 1.0, -2.0]) / np.sqrt(6)
    correlation = autocorrelation(tensors - tensors.mean(axis=0))[:51]
    expected = 1e-4 * damping / (damping**2 + turn**2)
    for larmor in (1e8, 2e9):
        found = vibrational_decay(correlation, step, step * frames).spectral_density(larmor)
        assert found == pytest.approx(expected, rel=0.05)
    with pytest.raises(InputError, match="run longer"):
        vibrational_decay(-correlation, step, step * frames)
    with pytest.raises(InputError, match="run longer"):
        vibrational_decay(correlation, step, step * 60)


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="a field of -1 T"):
        relaxation_rates(exponential(1e-4, 1e-9), LITHIUM, -1)
    with pytest.raises(InputError, match="not a direction"):
        fluctuation_kernels(TENSORS, np.zeros(3))


def test_before_the_first_lag_the_flux_tells():
    """Excursions that kinetic Monte Carlo's lags do not resolve: of one ion the completed propagator is exact."""
    energy = np.array([0.0, 9.0, 4.0])  # kT
    rates = np.array([[0, 1.0, 0.1], [1.0, 0, 0], [0.1, 0, 0]]) * np.exp(energy)[:, None]
    populations = np.exp(-energy) / np.exp(-energy).sum()
    generator = rates - np.diag(rates.sum(axis=1))
    residence = 1 / (populations @ rates.sum(axis=1))
    time = np.concatenate([[0], residence * np.logspace(-2, 3, 51)])
    joint = np.stack([populations[:, None] * expm(generator * t) for t in time], axis=-1)
    limit = np.outer(populations, populations)
    found = Propagator(
        joint, joint[None], populations, limit, populations[:, None] * rates, time, time[-1], 300.0, 1.0, 0,
        np.full(len(time), 1e9),
    )  # fmt: skip
    tensors = from_components(np.random.default_rng(3).normal(0, 0.005, (3, 5)))
    whole, counts = completed(found, tensors)
    early = whole.time_s[1 : np.isinf(counts).sum()]
    assert early[0] < 0.02 / rates.max() < early[-1] < time[1]
    for t, matrix in zip(whole.time_s, np.moveaxis(whole.joint, -1, 0), strict=True):
        np.testing.assert_allclose(matrix, populations[:, None] * expm(generator * t), rtol=1e-6, atol=1e-12)
    kernel = fluctuation_kernels(tensors)[0]
    decay = fit_decay(
        whole.time_s,
        contract(kernel, whole.joint - limit[..., None]),
        contract(decay_kernel(kernel), whole.joint),
        np.zeros(len(whole.time_s)),
    )
    flat = tensors.reshape(3, 9)
    for frequency in np.array([0, 1e-2, 1, 1e2, 1e4, 1e6]):
        # j(ω) = Re ∫ Σ p_a V_a:(exp(Kt) V)_a cos ωt dt, by a linear system.
        away = flat - populations @ flat
        response = np.linalg.solve(1j * frequency * np.eye(3) - generator + np.outer(np.ones(3), populations), away)
        exact = np.einsum("a,ac,ac->", populations, away, response.real)
        assert decay.spectral_density(frequency) == pytest.approx(exact, rel=0.03)


def test_excursions_from_which_ions_have_to_return_relax_no_more_than_they_do():
    """Ions leave A for E and find the way on shut, far faster than any lag: their tensor is A's again and again.

    Frequencies are between the excursions' and the first lag, where an ion by itself would go on to the other A.
    """
    lags = np.concatenate([[0], np.logspace(0, 4, 41)])
    early_s = np.geomspace(1e-7, 1, 71)[:-1]
    up, down, through = 1e-3, 1e4, 1e-4  # 1/s: A → E, E → A, and an exchange of both ions, which the first lags see
    rates = np.array([[0, up, through, 0], [down, 0, 0, 0], [through, 0, 0, up], [0, 0, down, 0]])
    p = np.array([1, up / down, 1, up / down]) / (2 * (1 + up / down))
    generator = rates - np.diag(rates.sum(axis=1))
    site = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1.0]])  # A, A′ and the one E between them

    def joint_at(times):
        return np.stack([site.T @ (p[:, None] * expm(generator * t)) @ site for t in times], axis=-1)

    populations = p @ site
    flux = site.T @ (p[:, None] * rates) @ site
    joint, limit = joint_at(lags), np.outer(populations, populations)
    early = Early(joint_at(early_s), joint_at(early_s)[None], early_s, np.full(len(early_s), 1e12))
    found = Propagator(
        joint, joint[None], populations, limit, flux, lags, lags[-1], 300.0, 2 * up, 0, np.full(len(lags), 1e9), early
    )  # fmt: skip
    tensors = from_components(np.random.default_rng(3).normal(0, 0.005, (3, 5)))
    flat = (site @ tensors.reshape(3, 9)) - populations @ tensors.reshape(3, 9)
    kernel = fluctuation_kernels(tensors)[0]

    def density(propagator, frequency):
        whole, counts = completed(propagator, tensors)
        decayed = contract(decay_kernel(kernel), whole.joint)
        remaining = contract(kernel, whole.joint - limit[..., None])
        return fit_decay(whole.time_s, remaining, decayed, decayed / np.sqrt(counts)).spectral_density(frequency)

    for frequency in (1.0, 10.0, 100.0, 1e4, 1e6):
        response = np.linalg.solve(1j * frequency * np.eye(4) - generator + np.outer(np.ones(4), p), flat)
        exact = np.einsum("a,ac,ac->", p, flat, response.real)
        assert density(found, frequency) == pytest.approx(exact, rel=0.05)
    assert density(replace(found, early=None), 10.0) > 2 * density(found, 10.0)
