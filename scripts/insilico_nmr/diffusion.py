"""Diffusion and conductivity from mean squared displacements. Lengths in Å in, D in m²/s out.

H. Mehrer, Diffusion in Solids (Springer 2007), chapters 4, 7 and 11.
"""

from dataclasses import dataclass

import numpy as np
from scipy import constants

from insilico_nmr.errors import InputError
from insilico_nmr.few_values import error_over_replicas

SLOPE_TOLERANCE = 0.05  # of d ln MSD / d ln t about 1 within which displacements count as diffusive
LOCAL_POINTS = 5  # points on either side of one that its local slope is read from: a decade of time in all
MINIMUM_POINTS = 6


@dataclass(frozen=True)
class Diffusion:
    """Diffusion coefficient (m²/s) with standard error, and the window it was read from.

    `log_log_slope` is the local one at the window's start. The error holds the scatter over replicas, with Student's t,
    and the `drift`, the change of D from the first to the second half of the window (m²/s), which may go on beyond it.
    """

    coefficient_m2_per_s: float
    standard_error_m2_per_s: float
    drift_m2_per_s: float
    log_log_slope: float
    first_time_s: float
    diffusive: bool


def diffusion_coefficient(
    time_s: np.ndarray, msd_A2: np.ndarray, dimensions: int = 3, known_from_s: float = np.inf
) -> Diffusion:
    """Long-time slope of MSD = 2d·D·t + constant, of replicas' MSD (R, T) in Å² at times (T,), R ≥ 2.

    The window starts where the local log-log slope, read from a decade of time, has come within 5 % of 1 for good (two
    standard errors granted to later points, whose noise grows), and ends with the data. `diffusive` is False where the
    slope never does, or only for fewer than six points; the last six points are used then, and D is not to be trusted.
    Noise may hide it: what is known to be diffusive from `known_from_s` on has its window from there at the latest.
    Raises InputError for data that are not finite, not positive or too few.
    """
    time_s, msd = np.asarray(time_s, dtype=float), np.asarray(msd_A2, dtype=float)
    if msd.ndim != 2 or len(msd) < 2 or time_s.shape != msd.shape[1:]:
        raise InputError(f"msd of shape {msd.shape} at times {time_s.shape}: expected two replicas or more")
    if not (np.isfinite(time_s).all() and np.isfinite(msd).all()):
        raise InputError("msd: times and values must be finite")
    moved = (time_s > 0) & (msd.mean(axis=0) > 0)
    time_s, msd = time_s[moved], msd[:, moved]
    if len(time_s) < MINIMUM_POINTS or np.any(np.diff(time_s) <= 0):
        raise InputError(f"msd: {len(time_s)} increasing times with a displacement, need at least {MINIMUM_POINTS}")
    mean, error = msd.mean(axis=0), error_over_replicas(msd)
    # Weights by relative error, with a floor so that a point without an error does not rule the line.
    sigma = np.hypot(error, 1e-2 * mean)
    slopes, slope_errors = _local_slopes(np.log(time_s), msd)
    miss = np.abs(slopes - 1)
    held = np.logical_and.accumulate((miss <= SLOPE_TOLERANCE + 2 * slope_errors)[::-1])[::-1]
    starts = np.flatnonzero(held & (miss <= SLOPE_TOLERANCE))
    last = len(time_s) - MINIMUM_POINTS
    first = min([*starts[:1], int(np.searchsorted(time_s, known_from_s))])
    diffusive = bool(first <= last)
    first = int(min(first, last))
    coefficients = _slope_coefficients(time_s[first:], sigma[first:])
    middle = int(np.searchsorted(np.log(time_s), np.log(time_s[[first, -1]]).mean()))
    early, late = slice(first, max(middle, first + 3)), slice(min(middle, len(time_s) - 3), None)
    halves = [_slope_coefficients(time_s[half], sigma[half]) @ mean[half] for half in (early, late)]
    to_m2 = 1e-20 / (2 * dimensions)
    drift = (halves[1] - halves[0]) * to_m2
    by_replica = msd[:, first:] @ coefficients * to_m2
    sampling = float(error_over_replicas(by_replica))
    return Diffusion(
        coefficient_m2_per_s=float(by_replica.mean()),
        standard_error_m2_per_s=float(np.hypot(sampling, drift)),
        drift_m2_per_s=float(drift),
        log_log_slope=float(slopes[first]),
        first_time_s=float(time_s[first]),
        diffusive=diffusive,
    )


def _local_slopes(log_time: np.ndarray, msd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """d ln MSD / d ln t about each time, of the mean over replicas (R, T), and its standard error, (T,) each."""
    log_msd = np.log(np.maximum(msd, 1e-300))
    slopes, errors = np.empty(len(log_time)), np.empty(len(log_time))
    for n in range(len(log_time)):
        near = slice(max(0, n - LOCAL_POINTS), n + LOCAL_POINTS + 1)
        coefficients = _slope_coefficients(log_time[near], np.ones(len(log_time[near])))
        slopes[n] = coefficients @ np.log(msd[:, near].mean(axis=0))
        errors[n] = error_over_replicas(log_msd[:, near] @ coefficients)
    return slopes, errors


def _slope_coefficients(x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Coefficients a of the weighted line through points at x: its slope is a·y."""
    weight = 1 / sigma**2
    centred = x - (weight @ x) / weight.sum()
    return weight * centred / (weight @ centred**2)


def haven_ratio(tracer_m2_per_s: float, collective_m2_per_s: float) -> float:
    """H_R = D_tracer/D_σ, D_σ from <|Σ_i Δr_i|²>/N. Raises InputError where D_σ is not positive."""
    if not collective_m2_per_s > 0:
        raise InputError(f"collective diffusion coefficient {collective_m2_per_s:.3g} m²/s: must be positive")
    return tracer_m2_per_s / collective_m2_per_s


def conductivity(
    tracer_m2_per_s: float, haven: float, number_density_per_A3: float, temperature_K: float, charge_number: int = 1
) -> float:
    """Nernst-Einstein conductivity in S/m: n·(ze)²·D_tracer/(H_R·k_B·T), n ions per Å³."""
    if not (haven > 0 and temperature_K > 0 and number_density_per_A3 > 0):
        raise InputError("conductivity: Haven ratio, temperature and number density must be positive")
    density_per_m3 = number_density_per_A3 * 1e30
    charge = charge_number * constants.e
    return density_per_m3 * charge**2 * tracer_m2_per_s / (haven * constants.k * temperature_K)


def jump_rate(tracer_m2_per_s: float, jump_length_A: float, correlation: float = 1.0, dimensions: int = 3) -> float:
    """Einstein-Smoluchowski: jumps per second and ion, Γ = 2d·D/(f·a²)."""
    return 2 * dimensions * tracer_m2_per_s / (correlation * (jump_length_A * 1e-10) ** 2)


def correlation_factor(
    tracer_m2_per_s: float, jumps_per_s: float, mean_square_jump_A2: float, dimensions: int = 3
) -> float:
    """Tracer correlation factor f = 2d·D/(Γ·⟨a²⟩): 1 for a random walk, less where jumps are undone."""
    if not (jumps_per_s > 0 and mean_square_jump_A2 > 0):
        raise InputError("correlation factor: jump rate and mean square jump length must be positive")
    return 2 * dimensions * tracer_m2_per_s / (jumps_per_s * mean_square_jump_A2 * 1e-20)
