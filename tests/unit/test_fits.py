"""Fits that recover what was put in, with errors that mean what they say, and diffusion from displacements."""

import numpy as np
import pytest
from insilico_nmr import diffusion, fits
from insilico_nmr.errors import InputError
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from scipy import constants
from scipy.integrate import quad

TIME_S = np.geomspace(1e-5, 1e1, 60)


@pytest.mark.parametrize("beta", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("t1q_s", [None, 0.5])
def test_stretched_exponential_is_recovered(beta, t1q_s):
    signal = fits.decay_curve(TIME_S, 0.15, 3e-3, beta, 0.06, t1q_s)
    fit = fits.fit_decay(TIME_S, signal, t1q_s=t1q_s)
    assert fit.tau_s == pytest.approx(3e-3, rel=1e-4)
    assert fit.beta == pytest.approx(beta, rel=1e-4)
    assert fit.amplitude == pytest.approx(0.15, rel=1e-4)
    assert fit.plateau == pytest.approx(0.06, rel=1e-4)


def test_two_stages_are_told_from_one():
    """Exchange within layers and a hundred times slower between them; noise that hides no stage."""
    rng = np.random.default_rng(3)
    error = np.full(60, 1e-3)
    signal = fits.decay_curve(TIME_S, 0.6, 1e-3, 0.85, 0.2, None, 0.15, 0.1)
    fit = fits.fit_decay(TIME_S, signal + error * rng.normal(size=60), error)
    assert fit.stages == 2
    truth = np.array([0.6, np.log(1e-3), 0.85, 0.2, 0.15, np.log(0.1)])
    assert (np.abs(fit.parameters - truth) < 4 * np.sqrt(np.diag(fit.covariance))).all()
    assert fit.covariance[5, 5] < 0.05**2
    assert fits.fit_decay(TIME_S, signal, error, stages=1).reduced_chi_square > 100
    single = fits.decay_curve(TIME_S, 0.6, 1e-3, 0.85, 0.2)
    assert fits.fit_decay(TIME_S, single + error * rng.normal(size=60), error).stages == 1


def test_a_fit_that_does_not_converge_says_where_it_stopped_and_has_no_decay_time(monkeypatch):
    monkeypatch.setattr(fits, "EVALUATIONS", 12)
    signal = fits.decay_curve(TIME_S, 0.6, 1e-3, 0.5, 0.2) + 0.01 * np.random.default_rng(2).normal(size=60)
    with pytest.raises(fits.FitFailed, match=r"no convergence: .* \(stopped at amplitude = .*, tau_s = ") as failed:
        fits.fit_measured_decay(TIME_S, signal)
    assert set(failed.value.last_parameters) == {"amplitude", "beta", "plateau", "tau_s"}


def test_errors_cover_the_truth_as_often_as_they_should():
    rng = np.random.default_rng(1)
    clean = fits.decay_curve(TIME_S, 0.2, 1e-2, 0.7, 0.1)
    pulls = []
    for _ in range(100):
        fit = fits.fit_decay(TIME_S, clean + 0.01 * rng.normal(size=60), np.full(60, 0.01))
        low, high = fit.rate_interval_per_s
        assert low < 1 / fit.tau_s < high
        pulls.append([np.log(fit.tau_s / 1e-2) / fit.log_tau_se, (fit.plateau - 0.1) / fit.plateau_se])
    spread = np.std(pulls, axis=0)
    assert (spread > 0.7).all()
    assert (spread < 1.3).all()


def test_relaxation_of_quadrupolar_order_is_fitted_where_a_plateau_falls():
    """T1Q five hundred times τ; of what relaxes too slowly, or has no plateau that could fall, T1Q is not told."""
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(60):
        signal = fits.decay_curve(TIME_S, 0.7, 1e-3, 0.8, 0.3, 0.5) + 0.01 * rng.normal(size=60)
        fit = fits.fit_measured_decay(TIME_S, signal)
        ratio, error = fit.plateau_ratio
        pulls.append([np.log(fit.t1q_s / 0.5) * fit.t1q_s / fit.t1q_se_s, np.log(fit.tau_s / 1e-3) / fit.log_tau_se,
                      (ratio - 0.3) / error])  # fmt: skip
    spread = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert (spread > 0.7).all()
    assert (spread < 1.3).all()
    held = fits.fit_measured_decay(TIME_S, signal, 0.5)
    assert np.isnan(held.t1q_s)
    assert held.tau_s == pytest.approx(1e-3, rel=0.15)
    assert held.plateau == pytest.approx(0.3, abs=0.02)
    for plateau, t1q_s in [(0.3, None), (0.3, 1e5), (0.0, 0.5)]:
        signal = fits.decay_curve(TIME_S, 0.7, 1e-3, 0.8, plateau, t1q_s) + 0.01 * rng.normal(size=60)
        fit = fits.fit_measured_decay(TIME_S, signal)
        assert np.isnan(fit.t1q_s)
        assert fit.tau_s == pytest.approx(1e-3, rel=0.15)


def test_a_slow_stage_of_a_measured_decay_does_not_move_the_first():
    signal = fits.decay_curve(TIME_S, 0.5, 1e-4, 0.9, 0.3, None, 0.2, 0.05)
    fit = fits.fit_measured_decay(TIME_S, signal + 3e-3 * np.random.default_rng(2).normal(size=60))
    assert fit.stages == 2
    assert fit.tau_s == pytest.approx(1e-4, rel=0.1)
    assert fit.plateau == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("points", [6, 8, 12])
def test_intervals_of_few_points_hold_the_truth_and_show_no_relaxation_that_is_not_there(points):
    rng = np.random.default_rng(points)
    time_s = np.geomspace(1e-4, 1e-1, points)
    held, relaxing, tries = 0, 0, 30
    for _ in range(tries):
        signal = fits.decay_curve(time_s, 0.7, 3e-3, 0.9, 0.3) + 0.01 * rng.normal(size=points)
        try:
            fit = fits.fit_measured_decay(time_s, signal)
        except fits.FitFailed:
            tries -= 1
            continue
        low, high = fit.rate_interval_per_s
        held += low < 1 / 3e-3 < high
        relaxing += np.isfinite(fit.t1q_s)
    assert tries > 20
    assert held / tries > 0.85
    assert relaxing <= 1


def test_scatter_is_no_decay_and_times_may_span_less_than_a_decade():
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(20):
        try:
            fits.fit_measured_decay(TIME_S[20:52:4], 1 + 0.03 * rng.normal(size=8))
            found += 1
        except fits.FitFailed:
            pass
    assert found <= 1
    time_s = np.linspace(10e-3, 80e-3, 10)
    fit = fits.fit_measured_decay(time_s, fits.decay_curve(time_s, 1.0, 2e-2, 1.0, 0.1) + 1e-3 * rng.normal(size=10))
    assert fit.tau_s == pytest.approx(2e-2, rel=0.1)


def test_a_plateau_that_is_not_reached_goes_up_where_the_amplitude_goes_down():
    def correlations(last_s: float) -> dict[str, float]:
        time_s = np.geomspace(1e-3, last_s, 60)
        noise = np.random.default_rng(1).normal(0, 2e-3, 60)
        curve = fits.decay_curve(time_s, 0.6, 1.0, 1.0, 0.4) + noise
        return fits.fit_decay(time_s, curve, np.full(60, 2e-3)).correlations

    early, late = correlations(2.0), correlations(1e3)
    assert -1 < early["amplitude_plateau_correlation"] < -0.95
    assert -1 < early["tau_plateau_correlation"] < -0.95
    assert -0.8 < late["amplitude_plateau_correlation"] < 0


def test_mean_decay_time_is_the_area_and_its_error_uses_the_covariance():
    covariance = np.diag([0, 0.03**2, 0.02**2, 0])
    fit = fits.DecayFit(1.0, 2.0, 0.6, 0.0, covariance, 1.0)
    area, _ = quad(lambda t: np.exp(-((t / 2.0) ** 0.6)), 0, np.inf)
    assert fit.mean_decay_time_s == pytest.approx(area, rel=1e-7)
    step = 1e-5
    up = fits.DecayFit(1.0, 2.0, 0.6 + step, 0.0, covariance, 1.0).mean_decay_time_s
    slope = (up - fit.mean_decay_time_s) / step
    assert fit.mean_decay_time_se_s == pytest.approx(np.hypot(0.03 * area, 0.02 * slope), rel=1e-3)
    exponential = fits.DecayFit(1.0, 2.0, 1.0, 0.0, covariance, 1.0)
    assert exponential.mean_decay_time_s == pytest.approx(2.0)


def test_fit_of_a_flat_signal_fails_without_a_decay_time():
    with pytest.raises(fits.FitFailed, match="does not decay") as failure:
        fits.fit_decay(TIME_S, np.full(60, 0.2), np.full(60, 1e-3))
    assert "tau_s" not in failure.value.last_parameters


def test_fit_that_sees_only_the_start_of_a_decay_fails_and_says_where_it_stopped():
    signal = fits.decay_curve(TIME_S, 1.0, 3e4, 1.0, 0.0)
    rng = np.random.default_rng(0)
    noisy = signal * (1 - 0.1 * TIME_S / TIME_S[-1]) + 0.01 * rng.normal(size=60)
    with pytest.raises(fits.FitFailed, match="stopped at") as failure:
        fits.fit_decay(TIME_S, noisy, np.full(60, 0.01))
    assert {"amplitude", "tau_s", "beta", "plateau"} <= set(failure.value.last_parameters)


def test_fit_at_the_bound_of_beta_fails():
    step = np.where(TIME_S < 1e-2, 1.0, 0.2)
    with pytest.raises(fits.FitFailed, match="beta"):
        fits.fit_decay(TIME_S, step, np.full(60, 1e-3))


def test_decay_data_are_checked():
    with pytest.raises(InputError, match="finite"):
        fits.fit_decay(TIME_S, np.full(60, np.nan))
    with pytest.raises(InputError, match="at least 6"):
        fits.fit_decay(TIME_S[:4], np.ones(4))
    with pytest.raises(InputError, match="increase"):
        fits.fit_decay(TIME_S[::-1], np.linspace(1, 0, 60))


def test_arrhenius_line_is_recovered_with_honest_errors():
    temperatures_K = np.array([200.0, 250.0, 300.0, 400.0])
    truth = 1e12 * np.exp(-0.3 / (BOLTZMANN_EV_PER_K * temperatures_K))
    exact = fits.fit_arrhenius(temperatures_K, truth, 0.1 * truth)
    assert exact.activation_energy_eV == pytest.approx(0.3)
    assert exact.prefactor_per_s == pytest.approx(1e12)
    assert exact.rate(300.0)[0] == pytest.approx(truth[2])
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        fit = fits.fit_arrhenius(temperatures_K, truth * np.exp(0.1 * rng.normal(size=4)), 0.1 * truth)
        low, high = fit.activation_energy_interval_eV
        inside += low < 0.3 < high
    assert 0.9 < inside / 200 <= 1.0


def test_arrhenius_interval_of_the_rate_is_narrowest_among_the_data():
    temperatures_K = np.array([300.0, 400.0, 500.0])
    rates = 1e12 * np.exp(-0.3 / (BOLTZMANN_EV_PER_K * temperatures_K))
    fit = fits.fit_arrhenius(temperatures_K, rates, 0.1 * rates)
    widths = [np.log(fit.rate(t)[2] / fit.rate(t)[1]) for t in (150.0, 380.0)]
    assert widths[0] > 3 * widths[1]
    # 20 meV in a barrier is a factor 2.2 at 298 K.
    assert np.exp(0.02 / (BOLTZMANN_EV_PER_K * 298)) == pytest.approx(2.18, abs=0.01)


def test_arrhenius_data_are_checked():
    with pytest.raises(InputError, match="two different temperatures"):
        fits.fit_arrhenius(np.array([300.0, 300.0]), np.ones(2), np.ones(2))
    with pytest.raises(InputError, match="rates must be finite and positive"):
        fits.fit_arrhenius(np.array([300.0, 400.0]), np.array([0.0, 1.0]), np.ones(2))


def replicas_of(msd, noise=0.0, count=6):
    """Replicas of a displacement curve (T,) that differ by an overall factor."""
    return msd * (1 + noise * np.random.default_rng(2).normal(size=(count, 1)))


def test_diffusion_coefficient_is_that_of_long_times():
    """A tail that dies out slowly, as caged ions escape over decades: D(t) = D(1 + 5 √(t₀/t)), D = 1e-13 m²/s."""
    time_s = np.geomspace(1e-9, 1e-3, 61)
    msd = 6e7 * (time_s + 10 * np.sqrt(1e-8 * time_s))
    found = diffusion.diffusion_coefficient(time_s, replicas_of(msd))
    assert found.diffusive
    # Where the window starts 5 % of d ln MSD/d ln t are left, and D is within that of its limit.
    assert found.log_log_slope == pytest.approx(0.95, abs=0.01)
    assert found.coefficient_m2_per_s == pytest.approx(1e-13, rel=0.05)
    assert found.drift_m2_per_s < 0
    assert abs(found.coefficient_m2_per_s - 1e-13) < 1.96 * found.standard_error_m2_per_s


def test_a_slow_stage_that_one_replica_makes_is_none():
    """Stages as near to each other as two may be: the mean of four replicas has both, those without some have not."""
    time_s, rng = np.geomspace(1e-6, 1, 50), np.random.default_rng(2)
    ends = np.exp(rng.normal(size=(4, 2)) * [0.01, 0.03]) * [1e-3, 5.1e-3]
    curves = np.array([fits.decay_curve(time_s, 0.5, fast, 1.0, 0.3, None, 0.2, slow) for fast, slow in ends])
    error = error_over_replicas(curves)
    assert fits.fit_decay(time_s, curves.mean(axis=0), error).stages == 2
    without = [np.delete(curves, n, axis=0).mean(axis=0) for n in range(4)]
    with pytest.raises(fits.FitFailed, match=r"no second stage \(stopped at tau_s = 0.001"):
        [fits.fit_decay(time_s, curve, error, stages=2) for curve in without]
    found = fits.fit_replicas(time_s, curves)
    assert found.stages == 1
    assert found.tau_s == pytest.approx(1.6e-3, rel=0.03)  # of both stages
    assert found.reduced_chi_square > 2  # as its status says
    with pytest.raises(fits.FitFailed, match="no second stage"):
        fits.fit_replicas(time_s, curves, stages=2)


def test_error_of_diffusion_is_the_scatter_over_replicas():
    time_s = np.geomspace(1e-9, 1e-4, 50)
    msd = replicas_of(6e7 * time_s, noise=0.1)
    found = diffusion.diffusion_coefficient(time_s, msd)
    each = msd[:, -1] / time_s[-1] / 6 * 1e-20
    assert found.coefficient_m2_per_s == pytest.approx(each.mean(), rel=1e-3)
    expected = 2.571 / 1.96 * each.std(ddof=1) / np.sqrt(6)  # Student's t for five degrees of freedom
    assert found.standard_error_m2_per_s == pytest.approx(expected, rel=1e-3)


def test_a_noisy_end_hides_diffusion_that_is_known_of_otherwise():
    """The longest lags have few origins: their displacement here falls in all replicas, as chance will have it."""
    time_s = np.geomspace(1e-9, 1e-4, 50)
    msd = replicas_of(6e7 * time_s, noise=0.1)
    msd[:, -4:] *= np.random.default_rng(1).normal(0.4, 0.2, size=(6, 4)).clip(0.1)
    assert not diffusion.diffusion_coefficient(time_s, msd).diffusive
    found = diffusion.diffusion_coefficient(time_s, msd, known_from_s=1e-8)
    assert found.diffusive
    assert found.first_time_s < 1.3e-8
    assert abs(found.coefficient_m2_per_s - 1e-13) < 2 * found.standard_error_m2_per_s < 1e-13


def test_trapped_ion_is_said_not_to_diffuse():
    time_s = np.geomspace(1e-9, 1e-4, 50)
    msd = 3 * (1 - np.exp(-time_s / 1e-8))
    assert not diffusion.diffusion_coefficient(time_s, replicas_of(msd)).diffusive
    # The start of free motion, then a cage: a slope of 1 that does not last.
    assert not diffusion.diffusion_coefficient(time_s, replicas_of(msd + 1e3 * time_s)).diffusive
    with pytest.raises(InputError, match="need at least"):
        diffusion.diffusion_coefficient(time_s, np.zeros((2, 50)))
    with pytest.raises(InputError, match="two replicas"):
        diffusion.diffusion_coefficient(time_s, msd)


def test_errors_of_a_fit_to_replicas_hold_the_truth_although_their_points_are_correlated():
    """Each replica decays with a rate of its own: noise in τ that is common to all points of a curve."""
    rng, held, blind = np.random.default_rng(3), [], []
    for _ in range(40):
        tau = 1e-2 * np.exp(0.2 * rng.normal(size=6))
        curves = np.array([fits.decay_curve(TIME_S, 0.2, each, 0.7, 0.1) for each in tau])
        fit = fits.fit_replicas(TIME_S, curves)
        low, high = fit.rate_interval_per_s
        held.append(low < 1e2 < high)
        alone = fits.fit_decay(TIME_S, curves.mean(axis=0), error_over_replicas(curves))
        low, high = alone.rate_interval_per_s
        blind.append(low < 1e2 < high)
    assert np.mean(held) >= 0.85
    assert np.mean(held) > np.mean(blind)


def test_random_walk_relations():
    # One jump of 3 Å every ns in three dimensions without memory.
    coefficient = 3.0**2 * 1e-20 * 1e9 / 6
    assert diffusion.jump_rate(coefficient, 3.0) == pytest.approx(1e9)
    assert diffusion.correlation_factor(coefficient, 1e9, 9.0) == pytest.approx(1)
    assert diffusion.correlation_factor(0.65311 * coefficient, 1e9, 9.0) == pytest.approx(0.65311)
    assert diffusion.jump_rate(0.5 * coefficient, 3.0, correlation=0.5) == pytest.approx(1e9)


def test_nernst_einstein_conductivity():
    # 1e-12 m²/s, 0.02 ions/Å³, 300 K, H_R = 0.5: n e²D/(kT·H_R).
    expected = 0.02e30 * constants.e**2 * 1e-12 / (constants.k * 300) / 0.5
    haven = diffusion.haven_ratio(1e-12, 2e-12)
    assert haven == pytest.approx(0.5)
    assert diffusion.conductivity(1e-12, haven, 0.02, 300.0) == pytest.approx(expected)
    with pytest.raises(InputError, match="collective"):
        diffusion.haven_ratio(1e-12, 0.0)
