"""Relaxation against closed forms, and against the stochastic Liouville equation of a spin on two sites."""

from dataclasses import replace

import numpy as np
import pytest
from insilico_nmr.echo import Early, Propagator, contract
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
    relaxation_rates,
    second_order_holds,
    vibrational_decay,
)
from insilico_nmr.tensors import from_components
from scipy.linalg import expm
from scipy.optimize import minimize_scalar
from spins import evolved, liouvillian, quadrupolar_hamiltonian, signal, spin_operators

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
    for name in ("R1_fast", "R1_slow", "R2_central", "R2_satellites"):
        assert fast[name] == pytest.approx(fast["R1"], rel=1e-4)
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


def test_any_spin_has_the_factor_of_the_books():
    """(2I + 3)/[I²(2I − 1)] of one coupling and one frequency."""
    rates = {}
    for spin in (1.0, 1.5, 2.5, 3.5):
        nucleus = Nucleus("made up", "X", spin, -40 * MILLIBARN_M2, 1e8, 1)
        rates[spin] = relaxation_rates(exponential(1e-4, 1e-9), nucleus, 9.4)
        assert set(rates[spin]) == ({"R1"} if spin != 1.5 else set(rates[1.5]))
    for spin, found in rates.items():
        expected = (2 * spin + 3) / (spin**2 * (2 * spin - 1)) / (6 / 4.5)
        assert found["R1"] / rates[1.5]["R1"] == pytest.approx(expected, rel=1e-12)


def test_powder_is_the_average_over_directions():
    directions, weights = lebedev(21)
    single = np.array([fluctuation_kernels(TENSORS, direction) for direction in directions])
    np.testing.assert_allclose(np.einsum("n,nmab->mab", weights, single), fluctuation_kernels(TENSORS), rtol=1e-10)
    # Along one direction m = 0 is the part that shifts the line.
    unit = quadrupolar_frequency(np.diag([-0.5, -0.5, 1.0]), np.array([[0, 0, 1.0]]), LITHIUM)[0]
    frequency = quadrupolar_frequency(TENSORS, directions, LITHIUM) / unit
    np.testing.assert_allclose(single[:, 0], 7.5 * frequency[:, :, None] * frequency[:, None], rtol=1e-9)


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


@pytest.mark.parametrize("rate_over_larmor", [0.15, 2.0])
def test_recovery_of_populations_is_that_of_the_stochastic_liouville_equation(rate_over_larmor):
    """A spin 3/2 that jumps between V and −V at k, field along z; everything but second order is in the equation."""
    larmor, tensor = 1e8, TENSORS[0]
    nucleus = Nucleus("made up", "X", 1.5, -40 * MILLIBARN_M2, larmor, 1)
    jump = rate_over_larmor * larmor
    zeeman = larmor * spin_operators(1.5)[2]
    quadrupolar = quadrupolar_hamiltonian(tensor, nucleus.coupling_per_au, 1.5)
    generator = jump * np.array([[-1.0, 1.0], [1.0, -1.0]])
    matrix = liouvillian(np.array([zeeman + quadrupolar, zeeman - quadrupolar]), generator)
    square = [kernel[0, 0] for kernel in fluctuation_kernels(tensor[None], np.array([0, 0, 1.0]))]
    rates = relaxation_rates([Decay(np.array([2 * jump]), np.array([c])) for c in square], nucleus, 1.0)
    start = np.array(2 * [spin_operators(1.5)[2] / 2])
    assert rates["R1_fast"] / rates["R1_slow"] > 1.5 or rates["R1_slow"] / rates["R1_fast"] > 1.5
    for time in np.array([0.3, 1.0, 3.0]) / rates["R1"]:
        exact = signal(evolved(start, matrix, time), spin_operators(1.5)[2]) / 5
        expected = 0.2 * np.exp(-rates["R1_fast"] * time) + 0.8 * np.exp(-rates["R1_slow"] * time)
        assert exact == pytest.approx(expected, abs=2e-3)


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
