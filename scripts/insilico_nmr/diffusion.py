"""Diffusion and conductivity from mean squared displacements. Lengths in Å in, D in m²/s out.

H. Mehrer, Diffusion in Solids (Springer 2007), chapters 4, 7 and 11.
"""

from dataclasses import dataclass

import numpy as np
from scipy import constants

from insilico_nmr.errors import InputError

SLOPE_TOLERANCE = 0.05  # of d ln MSD / d ln t about 1 within which a window counts as diffusive
MINIMUM_POINTS = 4


@dataclass(frozen=True)
class Diffusion:
    """Diffusion coefficient (m²/s) with standard error, and the window and log-log slope it was read from."""

    coefficient_m2_per_s: float
    standard_error_m2_per_s: float
    log_log_slope: float
    first_time_s: float
    diffusive: bool


def diffusion_coefficient(
    time_s: np.ndarray, msd_A2: np.ndarray, msd_se_A2: np.ndarray, dimensions: int = 3
) -> Diffusion:
    """Slope of MSD = 2d·D·t + constant over the longest tail of times whose log-log slope is 1 within 5 %. Shapes (T,).

    `diffusive` is False where no tail qualifies; the last half of the points is used then, and D is not to be trusted.
    The points of one trajectory are correlated: the error takes them as fully so, an upper bound.
    Raises InputError for data that are not finite, not positive or too few.
    """
    time_s, msd, error = (np.asarray(a, dtype=float) for a in (time_s, msd_A2, msd_se_A2))
    if not time_s.shape == msd.shape == error.shape or time_s.ndim != 1:
        raise InputError(f"msd of shape {msd.shape} with errors {error.shape} at times {time_s.shape}")
    if not (np.isfinite(time_s).all() and np.isfinite(msd).all() and np.isfinite(error).all()):
        raise InputError("msd: times, values and errors must be finite")
    moved = (time_s > 0) & (msd > 0)
    time_s, msd, error = time_s[moved], msd[moved], error[moved]
    if len(time_s) < MINIMUM_POINTS or np.any(np.diff(time_s) <= 0):
        raise InputError(f"msd: {len(time_s)} increasing times with a displacement, need at least {MINIMUM_POINTS}")
    # Weights by relative error, with a floor so that a point without an error does not rule the line.
    sigma = np.hypot(error, 1e-3 * msd)
    for first in range(len(time_s) - MINIMUM_POINTS + 1):
        slope = _line(np.log(time_s[first:]), np.log(msd[first:]), (sigma / msd)[first:])[0]
        if abs(slope - 1) <= SLOPE_TOLERANCE:
            diffusive = True
            break
    else:
        diffusive, first = False, min(len(time_s) // 2, len(time_s) - MINIMUM_POINTS)
        slope = _line(np.log(time_s[first:]), np.log(msd[first:]), (sigma / msd)[first:])[0]
    gradient, coefficients = _line(time_s[first:], msd[first:], sigma[first:])
    to_m2 = 1e-20 / (2 * dimensions)
    bound = np.abs(coefficients) @ error[first:]
    return Diffusion(gradient * to_m2, float(bound) * to_m2, float(slope), float(time_s[first]), diffusive)


def _line(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> tuple[float, np.ndarray]:
    """Slope of the weighted line through (x, y) and the coefficients a with slope = a·y."""
    weight = 1 / sigma**2
    centred = x - (weight @ x) / weight.sum()
    coefficients = weight * centred / (weight @ centred**2)
    return float(coefficients @ y), coefficients


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
