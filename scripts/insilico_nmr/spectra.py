"""Static first-order quadrupolar powder spectra of one ion among tensor states: rigid, exchanging, fast.

Rigid is the superposition of the states' patterns, fast the pattern of their mean tensor; between them the spectrum
is exact for a Markov generator (A. Abragam, The Principles of Nuclear Magnetism, X: FID = 1ᵀ exp[(M + iΩ)t] p for
each direction). Ideal pulses, no dead time, no dipolar couplings: their width enters as the broadening given.

Frequencies are in Hz relative to the Larmor frequency, intensities in 1/Hz with area 1 over all transitions.
"""

import numba
import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.generator import check_generator, check_populations, evolution, parts
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import frequency_unit, outermost_Hz, pattern_width_Hz, quadrupolar_frequency, transitions, zcw
from insilico_nmr.tensors import efg_principal

OCTANT_SUBDIVISIONS = 96  # 9216 triangles: a static pattern within 0.1 % of 400 subdivisions on 500 bins
MOST_POINTS = 1 << 15
LEAST_DIRECTIONS = 4000
DECAY_AT_END = 7.0  # the apodised signal has fallen to exp(−7) = 0.1 % where it is cut


def _octant_triangles(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners (t, 3, 3) of triangles that tile an octant of the sphere, and their solid angles (t,), sum 1.

    The octahedron's face, subdivided and projected on the sphere (D. W. Alderman, M. S. Solum, D. M. Grant,
    J. Chem. Phys. 84, 3717 (1986)); exact solid angles in place of the 1/R³ of the paper.
    """
    n = subdivisions
    i, j = (index.ravel() for index in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    upward = np.stack([[i, j], [i + 1, j], [i, j + 1]])[..., i + j < n]
    downward = np.stack([[i + 1, j + 1], [i + 1, j], [i, j + 1]])[..., i + j < n - 1]
    ij = np.concatenate([upward, downward], axis=-1)
    corners = np.stack([ij[:, 0], ij[:, 1], n - ij[:, 0] - ij[:, 1]], axis=-1).transpose(1, 0, 2).astype(float)
    corners /= np.linalg.norm(corners, axis=-1, keepdims=True)
    a, b, c = corners.transpose(1, 0, 2)
    volume = np.abs(np.einsum("ti,ti->t", a, np.cross(b, c)))
    angles = 2 * np.arctan2(volume, 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1))
    return corners, angles / angles.sum()


@numba.njit(cache=True)
def _tent_histogram(corner_frequencies, weights, first_edge, step, counts):
    """Add to `counts` each triangle's intensity, spread as the tent that linear interpolation between corners makes."""
    for triangle in range(len(weights)):
        low, middle, high = np.sort(corner_frequencies[triangle])
        first = max(0, int(np.floor((low - first_edge) / step)) - 1)
        last = min(len(counts) - 1, int(np.floor((high - first_edge) / step)) + 1)
        below = 0.0
        for index in range(first, last + 1):
            edge = first_edge + (index + 1) * step
            if edge <= low:
                share = 0.0
            elif edge < middle:
                share = (edge - low) ** 2 / ((middle - low) * (high - low))
            elif edge < high:
                share = 1.0 - (high - edge) ** 2 / ((high - middle) * (high - low))
            else:
                share = 1.0
            counts[index] += weights[triangle] * (share - below)
            below = share


def powder_pattern(
    principal_values: np.ndarray,
    axis_Hz: np.ndarray,
    nucleus: Nucleus,
    subdivisions: int = OCTANT_SUBDIVISIONS,
    multipliers: np.ndarray | None = None,
    intensities: np.ndarray | None = None,
) -> np.ndarray:
    """Static pattern (1/Hz) of one field gradient on an even axis of bin centres, shapes (n,); area 1.

    `principal_values`: (V_xx, V_yy, V_zz) in a.u. All transitions with their intensities, or those of the given
    `multipliers` m − ½ and `intensities`. Raises InputError where the axis does not hold the pattern.
    """
    if multipliers is None:
        multipliers, intensities = transitions(nucleus.spin)
    step = axis_Hz[1] - axis_Hz[0]
    edge = axis_Hz[0] - step / 2
    reach = np.abs(principal_values).max() * abs(frequency_unit(nucleus)) * np.abs(multipliers).max()
    if edge > -reach or axis_Hz[-1] + step / 2 < reach:
        raise InputError(f"frequency axis ±{-axis_Hz[0]:.4g} Hz does not hold a pattern that reaches {reach:.4g} Hz")
    corners, weights = _octant_triangles(subdivisions)
    splitting = frequency_unit(nucleus) * (corners**2 @ np.asarray(principal_values, dtype=float))
    counts = np.zeros(len(axis_Hz))
    for multiplier, intensity in zip(multipliers, intensities, strict=True):
        _tent_histogram(multiplier * splitting, intensity * weights, edge, step, counts)
    return counts / step


def broadening_window(time_s: np.ndarray, lorentz_Hz: float, gauss_Hz: float) -> np.ndarray:
    """Apodisation of a signal at times (any shape) that broadens lines to full widths at half maximum given in Hz."""
    return np.exp(-np.pi * lorentz_Hz * np.abs(time_s) - (np.pi * gauss_Hz * time_s) ** 2 / (4 * np.log(2)))


def broaden(intensity: np.ndarray, axis_Hz: np.ndarray, lorentz_Hz: float, gauss_Hz: float) -> np.ndarray:
    """Convolve a spectrum (n,) on an even axis with a line of these widths; the area stays."""
    time_s = np.fft.fftfreq(len(axis_Hz), axis_Hz[1] - axis_Hz[0])
    return np.fft.ifft(np.fft.fft(intensity) * broadening_window(time_s, lorentz_Hz, gauss_Hz)).real


def acquisition(tensors: np.ndarray, nucleus: Nucleus, lorentz_Hz: float, gauss_Hz: float = 0.0) -> tuple[float, int]:
    """Time step (s) and number of points (a power of two) that hold the spectrum of tensors (S, 3, 3) in a.u.

    The window is 1.3 times the widest pattern and ten line widths to either side; the signal is followed until the
    broadening has damped it to 0.1 %. Raises InputError without a positive broadening, for then it never ends, and
    for one so small that the signal has more than MOST_POINTS points.
    """
    if not lorentz_Hz + gauss_Hz > 0 or min(lorentz_Hz, gauss_Hz) < 0:
        raise InputError(
            f"broadening {lorentz_Hz} Hz (Lorentz), {gauss_Hz} Hz (Gauss): one must be positive, none negative"
        )
    widest = outermost_Hz(tensors, nucleus)
    time_step_s = 0.5 / (1.3 * widest + 10 * (lorentz_Hz + gauss_Hz))
    durations = [DECAY_AT_END / (np.pi * lorentz_Hz)] if lorentz_Hz > 0 else []
    if gauss_Hz > 0:
        durations.append(np.sqrt(4 * np.log(2) * DECAY_AT_END) / (np.pi * gauss_Hz))
    count = 1 << int(np.ceil(np.log2(min(durations) / time_step_s)))
    if count > MOST_POINTS:
        raise InputError(
            f"broadening {lorentz_Hz} Hz (Lorentz), {gauss_Hz} Hz (Gauss): too small for a pattern of {widest:.3g} Hz, "
            f"the signal would have {count} points; expected at most {MOST_POINTS}"
        )
    return time_step_s, count


def _markov_fid(
    generator: np.ndarray,
    populations: np.ndarray,
    omega: np.ndarray,
    weights: np.ndarray,
    time_step_s: float,
    count: int,
) -> np.ndarray:
    """Σ_n w_n 1ᵀ exp[(M + iΩ_n)t] p at t = 0, dt, ... (count,); angular frequencies omega (n, S), rad/s.

    Baby and giant steps: columns exp(L dt j)p and rows 1ᵀexp(L dt J i) are doubled by repeated squaring, so all
    `count` = J² (or 2J²) points come from one exponential and one product per direction, without an eigenbasis
    (which is lost at the exceptional points where lines coalesce).
    """
    n, size = omega.shape
    power = evolution(generator, omega, time_step_s)
    columns = np.broadcast_to(populations.astype(complex)[None, :, None], (n, size, 1))
    rows = np.broadcast_to(weights.astype(complex)[:, None, None], (n, 1, size))
    while columns.shape[2] * rows.shape[1] < count:
        if columns.shape[2] ** 2 < count:
            columns = np.concatenate([columns, power @ columns], axis=2)
        else:
            rows = np.concatenate([rows, rows @ power], axis=1)
        power = power @ power
    flat_rows = rows.transpose(1, 0, 2).reshape(rows.shape[1], -1)
    return (flat_rows @ columns.reshape(n * size, -1)).ravel()[:count]


def exchange_fid(
    generator: np.ndarray,
    populations: np.ndarray,
    tensors: np.ndarray,
    nucleus: Nucleus,
    directions: np.ndarray,
    weights: np.ndarray,
    time_step_s: float,
    count: int,
) -> np.ndarray:
    """Free-induction decay of all transitions at t = 0, dt, ..., shape (count,), real, 1 at t = 0.

    `generator`: column convention (S, S), 1/s; `populations` (S,); `tensors` (S, 3, 3) a.u. Real because a transition
    and its mirror image at −ν are equally strong. Raises InputError as `check_generator` does.
    """
    check_generator(generator, populations)
    nu = quadrupolar_frequency(tensors, directions, nucleus)
    multipliers, intensities = transitions(nucleus.spin)
    fid = np.full(count, intensities[multipliers == 0].sum())  # the central line of a half-integer spin never moves
    for multiplier, intensity in zip(multipliers, intensities, strict=True):
        if multiplier > 0:
            for start in range(0, len(nu), 512):
                block = slice(start, start + 512)
                omega = 2 * np.pi * multiplier * nu[block]
                signal = _markov_fid(generator, populations, omega, weights[block], time_step_s, count)
                fid += 2 * intensity * signal.real
    return fid


def spectrum_of_fid(
    fid: np.ndarray, time_step_s: float, lorentz_Hz: float = 0.0, gauss_Hz: float = 0.0, zero_fill: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Frequency axis (Hz) and absorption spectrum (1/Hz) of a decay (n,), both of shape (zero_fill·n,).

    A line exp(+2πiνt) appears at +ν. The first point is halved (trapezium rule of the one-sided transform), so the
    baseline is flat and the area equals Re fid[0].
    """
    signal = fid * broadening_window(np.arange(len(fid)) * time_step_s, lorentz_Hz, gauss_Hz)
    signal[0] *= 0.5
    count = zero_fill * len(fid)
    axis_Hz = np.fft.fftshift(np.fft.fftfreq(count, time_step_s))
    return axis_Hz, 2 * time_step_s * np.fft.fftshift(np.fft.fft(signal, count)).real


def rigid_spectrum(
    populations: np.ndarray,
    tensors: np.ndarray,
    nucleus: Nucleus,
    axis_Hz: np.ndarray,
    lorentz_Hz: float = 0.0,
    gauss_Hz: float = 0.0,
) -> np.ndarray:
    """Superposed static patterns of states (S,) with tensors (S, 3, 3) in a.u., on an even axis (n,); 1/Hz."""
    check_populations(populations, len(tensors))
    values, _ = efg_principal(tensors)
    # States that differ by a rotation only have one pattern: draw it once.
    distinct, member = np.unique(np.round(values, 12), axis=0, return_inverse=True)
    shares = np.bincount(member.ravel(), weights=populations)
    total = sum(share * powder_pattern(value, axis_Hz, nucleus) for share, value in zip(shares, distinct, strict=True))
    return broaden(total, axis_Hz, lorentz_Hz, gauss_Hz)


def fast_spectrum(
    limit: np.ndarray,
    tensors: np.ndarray,
    nucleus: Nucleus,
    axis_Hz: np.ndarray,
    lorentz_Hz: float = 0.0,
    gauss_Hz: float = 0.0,
) -> np.ndarray:
    """Pattern of the mean tensor, the limit of jumps much faster than the couplings; 1/Hz, shape (n,).

    Of P(∞) `limit` (S, S): of a network in parts, each part has its own mean tensor (generator.parts).
    """
    check_populations(limit.sum(axis=1), len(tensors))
    shares, places = parts(limit)
    return rigid_spectrum(shares, np.tensordot(places, tensors, 1), nucleus, axis_Hz, lorentz_Hz, gauss_Hz)


def directions_needed(tensors: np.ndarray, nucleus: Nucleus, width_Hz: float) -> int:
    """ZCW directions of whose lines, `width_Hz` wide, the pattern of tensors (S, 3, 3) in a.u. is right to 0.1 % of its
    area: a hundred times as many as side by side fill the widest pattern of one transition.
    """
    return int(np.ceil(100 * pattern_width_Hz(tensors, nucleus) / width_Hz))


def motional_spectra(
    generator: np.ndarray,
    limit: np.ndarray,
    tensors: np.ndarray,
    nucleus: Nucleus,
    lorentz_Hz: float,
    gauss_Hz: float = 0.0,
    for_spread: int | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Axis (Hz, (n,)) and spectra (1/Hz) of the same tensors at rest, exchanging, and in the fast limit.

    `generator` (S, S), 1/s, in columns; `limit` (S, S), the joint probability at infinite time.

    The exchange spectrum sums ZCW directions: as many as its lines need (`directions_needed`), LEAST_DIRECTIONS at
    least. Where only the difference of two spectra is wanted, `for_spread` directions or a tenth of those needed do.
    """
    populations = limit.sum(axis=1)
    time_step_s, count = acquisition(tensors, nucleus, lorentz_Hz, gauss_Hz)
    needed = directions_needed(tensors, nucleus, max(lorentz_Hz, gauss_Hz))
    directions, weights = zcw(max(LEAST_DIRECTIONS, needed) if for_spread is None else max(for_spread, needed // 10))
    fid = exchange_fid(generator, populations, tensors, nucleus, directions, weights, time_step_s, count)
    axis_Hz, exchange = spectrum_of_fid(fid, time_step_s, lorentz_Hz, gauss_Hz)
    how = (tensors, nucleus, axis_Hz, lorentz_Hz, gauss_Hz)
    rigid, fast = rigid_spectrum(populations, *how), fast_spectrum(limit, *how)
    return axis_Hz, {"rigid": rigid, "exchange": exchange, "fast": fast}
