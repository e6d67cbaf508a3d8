"""Two-dimensional exchange spectra of satellites: frequencies before and after a mixing time, correlated.

S(ν₁, ν₂; t_m) = Σ_ab ⟨G_a(ν₁)·P_ab(t_m)·G_b(ν₂)⟩ over a powder, and its mirror image of the other satellite. P is the
joint probability of kinetic Monte Carlo. G_a is the line of ions that are in state a where evolution ends (ν₁) or
starts (ν₂), with jumps meanwhile by a Markov process: the real part of the one-sided transform of

    g_a(t) = (1ᵀ exp[(M + iΩ)t])_a,  Ω = diag 2πν_Q,a(n),

which serves before and after mixing, for by detailed balance exp[(M + iΩ)t]p is p_a·g_a(t). With P = diag(p)·exp(Mᵀt_m)
it is exact for that process; where nothing jumps, G_a is a line at ν_Q,a.

Cosine- and sine-modulated stimulated echoes of spin 3/2 give ⟨Re g_a·P_ab·Re g_b⟩ and ⟨Im g_a·P_ab·Im g_b⟩ (M is real).
A cosine transform of the one in both times and a sine transform of the other add up to S: absorption in each
dimension, without phase twist (C. Schmidt, S. Wefing, B. Blümich, H. W. Spiess, Chem. Phys. Lett. 130, 84 (1986)).
Hard ideal pulses, no dipolar couplings. The central line, which does not move, is left out.
"""

import numpy as np

from insilico_nmr.echo import Propagator, is_known
from insilico_nmr.errors import InputError
from insilico_nmr.generator import check_generator, evolution
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import outermost_Hz, quadrupolar_frequency, single_crystal, zcw
from insilico_nmr.spectra import acquisition, broadening_window

# At least, on a hemisphere: ions at rest have the histogram of a hundred thousand within 3e-3 of the area (the test).
DIRECTIONS = 20_000
BLOCK = 1 << 18  # complex numbers of the signals of one block of directions, 4 MB


def joint_at(propagator: Propagator, time_s: float) -> np.ndarray:
    """P (S, S) at a time, linear between the times of the grid, in their logarithm after the first; its limit later.

    Raises InputError for a time that is negative, or beyond a grid that ends before the limit.
    """
    grid = propagator.time_s
    if time_s > grid[-1] and is_known(propagator, time_s):
        return propagator.limit
    if not 0 <= time_s <= grid[-1]:
        raise InputError(f"a mixing time of {time_s:g} s; the propagator knows times from 0 to {grid[-1]:.3g} s")
    after = int(np.searchsorted(grid, time_s))
    if grid[after] == time_s:
        return propagator.joint[..., after]
    before, low, high = after - 1, grid[after - 1], grid[after]
    share = (time_s - low) / (high - low) if low == 0 else np.log(time_s / low) / np.log(high / low)
    return (1 - share) * propagator.joint[..., before] + share * propagator.joint[..., after]


def frequency_axis(tensors: np.ndarray, nucleus: Nucleus, points: int) -> np.ndarray:
    """Symmetric axis (points,), Hz, 5 % wider than the widest pattern of the tensors (S, 3, 3)."""
    widest = 1.05 * outermost_Hz(tensors, nucleus)
    return np.linspace(-widest, widest, points)


def _signals(generator: np.ndarray, omega: np.ndarray, time_step_s: float, count: int) -> np.ndarray:
    """g_a(t) of n directions at t = 0, dt, ..., (n, count, S), for `omega` (n, S), rad/s; `count` a power of two."""
    power = evolution(generator, omega, time_step_s)
    signals = np.ones((len(omega), 1, omega.shape[1]), complex)
    while signals.shape[1] < count:  # rows known so far, and the same a power of the step later
        signals = np.concatenate([signals, signals @ power], axis=1)
        power = power @ power
    return signals


def exchange_spectra(
    generator: np.ndarray,
    populations: np.ndarray,
    joints: np.ndarray,
    tensors: np.ndarray,
    nucleus: Nucleus,
    axis_Hz: np.ndarray,
    gauss_Hz: float,
    direction: np.ndarray | None = None,
) -> np.ndarray:
    """S (T, n, n), 1/Hz², rows ν₁, of joint probabilities (T, S, S): means over the cells of an axis (n,), integral 1.

    `generator` M (S, S) in column convention, 1/s, and in detailed balance with `populations` (S,); `tensors` (S, 3, 3)
    a.u.; `axis_Hz` even and symmetric; `gauss_Hz`: full width at half maximum in both dimensions. With `direction` (3,)
    a single crystal with the field along it. Raises InputError for another spin than 3/2, for an axis that some
    frequency misses or that the signal's time step does not resolve, and as `check_generator` and `acquisition` do.
    """
    if nucleus.spin != 1.5:
        raise InputError(f"{nucleus.isotope} has spin {nucleus.spin:g}: these are satellites of spin 3/2")
    check_generator(generator, populations)
    flow = generator * populations
    if np.abs(flow - flow.T).max() > 1e-6 * np.abs(flow).max():
        raise InputError("generator: jumps are not in detailed balance with the populations")
    time_step_s, count = acquisition(tensors, nucleus, 0.0, gauss_Hz)
    widest, step = outermost_Hz(tensors, nucleus), axis_Hz[1] - axis_Hz[0]
    if not widest <= axis_Hz[-1] <= 0.5 / time_step_s:
        raise InputError(
            f"the axis ends at {axis_Hz[-1]:g} Hz; expected {widest:g}, the highest frequency, to {0.5 / time_step_s:g}"
        )
    time_s = np.arange(count) * time_step_s
    # The mean over a cell is a product with a sinc here: lines narrower than a cell are not missed between two points.
    window = broadening_window(time_s, 0.0, gauss_Hz) * np.sinc(step * time_s)
    window[0] /= 2  # trapezium rule
    phases = 2 * np.pi * np.outer(axis_Hz, time_s)
    transform = np.concatenate([window * np.cos(phases), window * np.sin(phases)], axis=1)

    directions, weights = zcw(DIRECTIONS) if direction is None else single_crystal(direction)
    spectra = np.zeros((len(joints), len(axis_Hz), len(axis_Hz)))
    size = max(1, BLOCK // (count * len(tensors)))
    for start in range(0, len(directions), size):
        block = slice(start, start + size)
        omega = 2 * np.pi * quadrupolar_frequency(tensors, directions[block], nucleus)
        signals = _signals(generator, omega, time_step_s, count)
        # A phase that grows by +2πνt is a line at +ν.
        lines = transform @ np.concatenate([signals.real, signals.imag], axis=1)
        lines = lines.transpose(1, 0, 2)
        before = (lines * weights[block, None]).reshape(len(axis_Hz), -1)
        for spectrum, joint in zip(spectra, joints, strict=True):
            spectrum += before @ (lines @ joint.T).reshape(len(axis_Hz), -1).T
    spectra += spectra[:, ::-1, ::-1]
    return spectra / (spectra.sum(axis=(1, 2), keepdims=True) * step**2)
