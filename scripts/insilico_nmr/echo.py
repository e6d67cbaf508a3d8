"""Correlation functions and spin-alignment echoes of spin 1 and 3/2 from the two-time propagator and states' tensors.

P[a, b, t] is the joint probability that an ion is in state a at time 0 and in b at time t. Everything that looks at two
times only is a contraction of it. Hard ideal pulses; dipolar evolution and spin diffusion are not modelled.
H. W. Spiess, J. Chem. Phys. 72, 6755 (1980), for spin 1; R. Böhmer, K. R. Jeffrey, M. Vogel, Prog. Nucl. Magn. Reson.
Spectrosc. 50, 87 (2007).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insilico_nmr.continuation import NotContinued, continue_propagator
from insilico_nmr.errors import InputError, naming
from insilico_nmr.files import read_json
from insilico_nmr.generator import check_generator, check_populations, evolution
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import (
    directions_for_phases,
    frequency_unit,
    pattern_width_Hz,
    quadrupolar_frequency,
    single_crystal,
)
from insilico_nmr.propagator import DECORRELATED, read_propagator

# Largest fraction of ions in another state after one evolution time at which the frozen form is trusted
# (two sites: S₂(0) is then 3 to 4 % high).
FROZEN_LIMIT = 0.02
# Of the sin·sin echo of 90°_x − t_p − 45°_y − t_m − 45°_y − t_p by spin, over the signal after the first pulse.
AMPLITUDES = {1.0: 3 / 4, 1.5: 9 / 20}


@dataclass(frozen=True)
class Early:
    """The propagator before its first lag: as `joint`, `replicas`, `time_s` and `observations` of Propagator."""

    joint: np.ndarray
    replicas: np.ndarray
    time_s: np.ndarray
    observations: np.ndarray


@dataclass(frozen=True)
class Propagator:
    """Two-time propagator: joint probability (S, S, T) and of replicas (R, S, S, T), populations (S,), times (T,) in s,
    the `limit` (S, S) of the joint probability at infinite time, and the `flux` (S, S), jumps per second and ion.

    `sampled_until_s`: from there on it is continued (continuation.py). `shift`: the direction along which the rate
    model was moved, 0 for none. `observations` (T,): ions that each time's probabilities have been counted from.
    `early`: times before the first that is not 0, which relaxation alone needs; None where they were not looked at.
    """

    joint: np.ndarray
    replicas: np.ndarray
    populations: np.ndarray
    limit: np.ndarray
    flux: np.ndarray
    time_s: np.ndarray
    sampled_until_s: float
    temperature_K: float
    exit_rate_per_s: float
    shift: int
    observations: np.ndarray
    early: Early | None = None


@dataclass(frozen=True)
class SiteTensors:
    """Field gradients of the states in a.u.: committee mean (S, 3, 3), its members (M, S, 3, 3), and replicates of the
    mean (N, S, 3, 3) whose scatter is the mean's sampling error (see site_tensors.py). `dft_error`: relative standard
    deviation of DFT's field gradients from measured ones."""

    mean: np.ndarray
    members: np.ndarray
    samples: np.ndarray
    temperature_K: float
    isotope: str
    dft_error: float

    @property
    def scales(self) -> np.ndarray:
        """Factors (2,) whose standard deviation (one less than their number in the divisor) is the error of DFT; none
        where that is 0.

        What differs from site to site, and errors of η and of axes, are not in it.
        """
        return 1 + np.array([1, -1] if self.dft_error else []) * self.dft_error / np.sqrt(2)

    @property
    def scaled(self) -> np.ndarray:
        """All tensors scaled by each of `scales`, (2, S, 3, 3), or none."""
        return self.mean * self.scales[:, None, None, None]


def load_propagator(path: str | Path) -> Propagator:
    """Propagator of a NetCDF file, continued to its limit where it ends before and says how it goes on.

    Raises InputError naming the file where P is no joint probability. Checked: Σ_ab P = 1 and rows that sum to p at
    all times and in the limit, P(0) = diag(p), no element below 0 by more than its error, times increasing, and the
    mean of at least two replicas is P.
    """
    data = read_propagator(path)
    missing = {"temperature_K", "mean_residence_time_s", "complete"} - set(data.attrs)
    if missing:
        raise InputError(f"{path}: attribute {', '.join(sorted(missing))} is missing; expected a propagator")
    joint = data["P"].transpose("state_a", "state_b", "time").to_numpy()
    error = data["P_se"].transpose("state_a", "state_b", "time").to_numpy()
    populations, time_s = data["p"].to_numpy(), data["time"].to_numpy()
    temperature_K, residence_s = float(data.attrs["temperature_K"]), float(data.attrs["mean_residence_time_s"])
    if not (np.isfinite(joint).all() and np.isfinite(error).all() and (error >= 0).all()):
        raise InputError(f"{path}: P and P_se must be finite, P_se not negative")
    if np.any(joint < -6 * error - 1e-6):
        raise InputError(f"{path}: P has negative elements; it must be a probability")
    if not (np.isfinite(time_s).all() and time_s[0] >= 0 and (np.diff(time_s) > 0).all()):
        raise InputError(f"{path}: time must be finite, not negative and increasing")
    if not residence_s > 0 or not temperature_K > 0:
        raise InputError(f"{path}: temperature_K and mean_residence_time_s must be positive")
    with naming(f"{path}: p"):
        check_populations(populations, len(joint))
    if np.abs(joint.sum(axis=(0, 1)) - 1).max() > 1e-3:
        raise InputError(f"{path}: P does not sum to 1 at every time; it must be the joint probability")
    tolerance = 1e-3 + 6 * np.sqrt((error**2).sum(axis=1)).max()
    if np.abs(joint.sum(axis=1) - populations[:, None]).max() > tolerance:
        raise InputError(f"{path}: rows of P do not sum to p; the ions are not in equilibrium or P is conditional")
    if time_s[0] == 0 and np.abs(joint[..., 0] - np.diag(populations)).max() > tolerance:
        raise InputError(f"{path}: P at time 0 is not diag(p)")
    limit, flux = data["P_infinity"].to_numpy(), data["flux"].to_numpy()
    if not (np.isfinite(limit).all() and (limit >= -1e-9).all() and np.allclose(limit, limit.T, rtol=1e-4, atol=1e-9)):
        raise InputError(f"{path}: P_infinity must be finite, not negative and symmetric, as a joint probability is")
    if np.abs(limit.sum(axis=1) - populations).max() > 1e-4:
        raise InputError(f"{path}: rows of P_infinity do not sum to p")
    if not (np.isfinite(flux).all() and (flux >= 0).all()):
        raise InputError(f"{path}: flux must be finite and not negative")
    replicas = data["P_replica"].transpose("replica", "state_a", "state_b", "time").to_numpy()
    joint, replicas = (_held_at(limit, values) for values in (joint, replicas))
    if len(replicas) < 2 or not np.abs(replicas.mean(axis=0) - joint).max() < 1e-5:
        raise InputError(f"{path}: P is not the mean of P_replica over two replicas or more")
    sampled_until_s = float(time_s[-1])
    observations = data["observations"].to_numpy()
    if not data.attrs["complete"]:
        try:
            later, later_s = continue_propagator(replicas, limit, time_s)
        except NotContinued as reason:
            print(f"{path}: ends at {sampled_until_s:.3g} s, before its limit: {reason}", file=sys.stderr)
        else:
            replicas, time_s = np.concatenate([replicas, later], axis=-1), np.concatenate([time_s, later_s])
            joint = np.concatenate([joint, later.mean(axis=0)], axis=-1)
            observations = np.append(observations, np.full(len(later_s), observations[-1]))
    shift = int(data.attrs.get("shift", 0))
    early = None
    if "P_early" in data:
        names = ("P_early", "P_early_replica", "early_time", "early_observations")
        early = Early(*(data[name].to_numpy() for name in names))
    return Propagator(
        joint, replicas, populations, limit, flux, time_s, sampled_until_s, temperature_K, 1 / residence_s, shift,
        observations, early,
    )  # fmt: skip


def _held_at(limit: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """P (..., S, S, T) with its limit (S, S) put back where rounding to single precision is all that it differs by."""
    return np.where(joint == limit.astype(np.float32)[..., None], limit[..., None], joint)


def read_site_tensors(path: str | Path, state_count: int, isotope: str) -> SiteTensors:
    """Read site_tensors.json for states 0..state_count−1. Raises InputError for a state without a usable tensor, and
    where they are of another isotope."""
    content = read_json(path)
    missing = {"temperature_K", "isotope", "states"} - set(content)
    if missing:
        raise InputError(f"{path}: no key {', '.join(sorted(missing))}")
    if content["isotope"] != isotope:
        raise InputError(f"{path} is of {content['isotope']}, --isotope is {isotope}")
    if any("index" not in state for state in content["states"]):
        raise InputError(f"{path}: a state has no index, its number among the sites")
    numbers = [state["index"] for state in content["states"]]
    by_index = dict(zip(numbers, content["states"], strict=True))
    without = sorted(set(range(state_count)) - set(by_index))
    if without:
        raise InputError(f"{path}: no tensor for state {', '.join(map(str, without))}")
    if len(numbers) > state_count:
        raise InputError(f"{path} has {len(numbers)} tensors of states for {state_count} sites: is it of other sites?")
    states = [by_index[index] for index in range(state_count)]
    try:
        mean = np.array([state["tensor"] for state in states], dtype=float)
        members, samples = (_tensor_sets(states, name, path) for name in ("members", "samples"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: tensors of states must be 3×3 numbers ({error})") from None
    for tensors in (mean[None], members, samples):
        if tensors.shape[1:] != (state_count, 3, 3) or not np.isfinite(tensors).all():
            raise InputError(f"{path}: tensors must be finite and 3×3")
        asymmetry = np.abs(tensors - tensors.swapaxes(-1, -2)).max(initial=0)
        trace = np.abs(np.trace(tensors, axis1=-2, axis2=-1)).max(initial=0)
        if max(asymmetry, trace) > 1e-5 * max(np.abs(mean).max(), 1e-6):
            raise InputError(f"{path}: a field gradient must be symmetric and traceless")
    dft_error = content.get("dft_error", 0.0)
    if not (isinstance(dft_error, int | float) and 0 <= dft_error < 1):
        raise InputError(f"{path}: dft_error is {dft_error}; expected a number from 0 to below 1")
    temperature_K = content["temperature_K"]
    if not (isinstance(temperature_K, int | float) and temperature_K > 0):
        raise InputError(f"{path}: temperature_K is {temperature_K!r}; expected a number of kelvin above 0")
    return SiteTensors(mean, members, samples, float(temperature_K), str(content["isotope"]), dft_error)


def load_observed(propagator_path: str, tensors_path: str, isotope: str) -> tuple[Propagator, SiteTensors]:
    """Propagator and site tensors of one temperature. Raises InputError where that, or the isotope, does not fit."""
    propagator = load_propagator(propagator_path)
    states = read_site_tensors(tensors_path, len(propagator.populations), isotope)
    if abs(states.temperature_K - propagator.temperature_K) > 0.5:
        raise InputError(
            f"{tensors_path} is at {states.temperature_K:g} K, {propagator_path} at {propagator.temperature_K:g} K: "
            "they must be of one temperature"
        )
    return propagator, states


def _tensor_sets(states: list[dict], name: str, path: str | Path) -> np.ndarray:
    """Sets (n, S, 3, 3) of tensors that every state lists under `name`, one set a place in the lists."""
    counts = {len(state.get(name, [])) for state in states}
    if len(counts) != 1:
        raise InputError(f"{path}: the states have different numbers of {name} {sorted(counts)}")
    tensors = np.array([state.get(name, []) for state in states], dtype=float)
    return tensors.reshape(len(states), -1, 3, 3).transpose(1, 0, 2, 3)


def contract(kernel: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Σ_ab K_ab P_ab(t): kernels (..., S, S) and joint probabilities (S, S, T) to (..., T).

    Replicas of joint probabilities (R, S, S, T) with one kernel (S, S) give (R, T), with several (K, S, S) (R, K, T).
    """
    size = joint.shape[-2]
    return kernel.reshape(*kernel.shape[:-2], size * size) @ joint.reshape(*joint.shape[:-3], size * size, -1)


def tensor_kernel(tensors: np.ndarray) -> np.ndarray:
    """V_a:V_b in a.u.², shape (..., S, S), of tensors (..., S, 3, 3): the kernel of ⟨V(0):V(t)⟩."""
    flat = tensors.reshape(*tensors.shape[:-2], 9)
    return flat @ flat.swapaxes(-1, -2)


def frequency_correlation_factor(nucleus: Nucleus) -> float:
    """Hz² per a.u.² from ⟨V(0):V(t)⟩ to ⟨ν_Q(0)ν_Q(t)⟩, exact in a powder: (2/15)·(eQ/2h)² for spin 3/2.

    ν_Q is where a satellite of spin 3/2 lies, and the distance of the two lines of spin 1.
    """
    return 2 / 15 * frequency_unit(nucleus) ** 2


def evolution_kernel(
    tensors: np.ndarray, evolution_time_s: float, nucleus: Nucleus, direction: np.ndarray | None = None
) -> np.ndarray:
    """Powder average K_ab of sin(ω_a t_p)·sin(ω_b t_p), shape (S, S), of tensors (S, 3, 3) in a.u.

    ω is `evolution_frequency`. The grid grows with the phase (powder.directions_for_phases). With `direction` (3,), a
    single crystal with the field along it. Raises InputError for a spin other than 1 and 3/2.
    """
    check_echo(nucleus, evolution_time_s)
    directions, weights = orientations(tensors, evolution_time_s, nucleus, direction)
    kernel = np.zeros((len(tensors), len(tensors)))
    for start in range(0, len(directions), 50_000):
        block = slice(start, start + 50_000)
        sines = np.sin(evolution_time_s * evolution_frequency(tensors, directions[block], nucleus))
        kernel += (sines * weights[block, None]).T @ sines
    return kernel


def evolution_frequency(tensors: np.ndarray, directions: np.ndarray, nucleus: Nucleus) -> np.ndarray:
    """ω in rad/s, (n, ...), of tensors (..., 3, 3) in a.u., field along (n, 3).

    It is where the outermost lines lie: ±2πν_Q of spin 3/2, ±πν_Q of spin 1.
    """
    return 2 * np.pi * (nucleus.spin - 0.5) * quadrupolar_frequency(tensors, directions, nucleus)


def frozen_echo(joint: np.ndarray, kernel: np.ndarray, nucleus: Nucleus) -> np.ndarray:
    """S₂(t_p, t_m) = A Σ_ab P_ab(t_m)·K_ab(t_p), (T,), of replicas (R, T): no jumps while the phases evolve.

    A is 9/20 for spin 3/2, ¾ for spin 1 (`amplitude`).
    """
    return amplitude(nucleus) * contract(kernel, joint)


def is_known(propagator: Propagator, time_s: float) -> bool:
    """True where the propagator knows what happens in a time: its lags go so far, or to its limit."""
    left = np.abs(propagator.joint[..., -1] - propagator.limit).max()
    return time_s <= propagator.time_s[-1] or left <= DECORRELATED * propagator.limit.max()


def changed_during_evolution(
    joint: np.ndarray, time_s: np.ndarray, evolution_time_s: float, tensors: np.ndarray
) -> float:
    """Fraction of ions that an evolution time leaves with another tensor; joint (S, S, T), times (T,), (S, 3, 3).

    For rare jumps between inequivalent sites it is k·t_p. Jumps between sites of one tensor do not count, for the phase
    evolves as before; nor do those that come back at once: an ion whose excursions to an empty neighbour last
    nanoseconds spends nearly all of t_p, and nearly all its phase, where it started.
    """
    return float(1 - np.interp(evolution_time_s, time_s, np.einsum("ab,abt->t", equal_tensors(tensors), joint)))


def jumps_during_evolution(joint: np.ndarray, time_s: np.ndarray, evolution_time_s: float, tensors: np.ndarray) -> bool:
    """True where the frozen form is out of its range (see `changed_during_evolution` and FROZEN_LIMIT).

    Of evolution times beyond the lags True where that is so at the last lag; else it is known only where P has come to
    its limit (`is_known`).
    """
    return changed_during_evolution(joint, time_s, evolution_time_s, tensors) > FROZEN_LIMIT


def matrix_kernel(
    generator: np.ndarray,
    populations: np.ndarray,
    tensors: np.ndarray,
    evolution_time_s: float,
    nucleus: Nucleus,
    direction: np.ndarray | None = None,
    most_directions: int | None = None,
) -> np.ndarray:
    """Kernel K_ab (S, S) of states at the start and at the end of mixing, with jumps while the phases evolve.

    With P_ab(t_m) it gives S₂ as `evolution_kernel` does (`frozen_echo`), which it becomes where nothing jumps: K_ab =
    ⟨(1ᵀS)_b (S p)_a⟩/p_a, S = [e^{(M+iΩ)t_p} − e^{(M−iΩ)t_p}]/2i, Ω = diag ω_a(n), averaged over the powder or along
    `direction` (3,). `generator` M (S, S) in column convention, 1/s, `populations` its stationary state (S,), `tensors`
    (S, 3, 3) a.u. M and Ω are real, so S is the imaginary part of exp[(M + iΩ)t_p], taken element by element. A powder
    of `most_directions` at most serves where only a spread is wanted.
    """
    check_echo(nucleus, evolution_time_s)
    check_generator(generator, populations)
    directions, weights = orientations(tensors, evolution_time_s, nucleus, direction, most_directions)
    kernel = np.zeros((len(tensors), len(tensors)))
    for start in range(0, len(directions), 1024):
        block = slice(start, start + 1024)
        omega = evolution_frequency(tensors, directions[block], nucleus)
        sine = evolution(generator, omega, evolution_time_s).imag
        before, after = sine @ populations, sine.sum(axis=1)
        kernel += (before * weights[block, None]).T @ after
    # A state that is never filled, and so never reached, has no part in it.
    return np.divide(kernel, populations[:, None], out=np.zeros_like(kernel), where=populations[:, None] > 0)


def spin_lattice_damping(mixing_times_s: np.ndarray, t1q_s: float | None) -> np.ndarray:
    """exp(−t_m/T1Q), shape (T,); 1 where no quadrupolar relaxation time is given."""
    if t1q_s is None:
        return np.ones_like(mixing_times_s)
    if not t1q_s > 0:
        raise InputError(f"T1Q {t1q_s} s: a relaxation time must be positive")
    return np.exp(-mixing_times_s / t1q_s)


def plateau(limit: np.ndarray, kernel: np.ndarray) -> float:
    """S₂(∞)/S₂(0) of the frozen form, Σ_ab K_ab P_ab(∞)/Σ_a p_a K_aa with P(∞) `limit` (S, S), which is ppᵀ where all
    sites are connected. 1 where nothing evolves."""
    start = limit.sum(axis=1) @ np.diag(kernel)
    return float((kernel * limit).sum() / start) if start > 0 else 1.0


def equal_tensors(tensors: np.ndarray) -> np.ndarray:
    """Which of tensors (S, 3, 3) are electrically equivalent, those within 1e-3 of the largest; (S, S) bool."""
    scale = np.linalg.norm(tensors, axis=(1, 2)).max()
    return np.linalg.norm(tensors[:, None] - tensors[None], axis=(2, 3)) <= 1e-3 * scale


def plateau_long_evolution(limit: np.ndarray, tensors: np.ndarray) -> float:
    """S₂(∞)/S₂(0) at large t_p: P(∞) (S, S) between electrically equivalent tensors (S, 3, 3), Σ p² of inequivalent
    ones where all sites are connected."""
    return float((limit * equal_tensors(tensors)).sum())


def plateau_short_evolution(limit: np.ndarray, tensors: np.ndarray) -> float:
    """S₂(∞)/S₂(0) at small t_p, and that of ⟨V(0):V(t)⟩: |V̄|²/⟨|V|²⟩ where all sites are connected."""
    return plateau(limit, tensor_kernel(tensors))


def half_decay(propagator: Propagator, tensors: np.ndarray) -> float:
    """First time on the grid, s, at which ⟨V(0):V(t)⟩ is more than half-way to its limit; NaN where it never is.

    `tensors` (S, 3, 3) in a.u.
    """
    kernel = tensor_kernel(tensors)
    end = plateau(propagator.limit, kernel)
    if end > 1 - 1e-6:
        return np.nan
    measured = contract(kernel, propagator.joint)
    half_way = float(np.diag(kernel) @ propagator.populations) * (1 + end) / 2
    fallen = (measured < half_way) & (propagator.time_s > 0)
    return float(propagator.time_s[fallen.argmax()]) if fallen.any() else np.nan


def orientations(
    tensors: np.ndarray,
    evolution_time_s: float,
    nucleus: Nucleus,
    direction: np.ndarray | None = None,
    most_directions: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Field directions (n, 3) and weights (n,): the one given, or a powder fine enough for the phases, or of
    `most_directions` at most.

    tensors : (..., 3, 3) in a.u.
    """
    if direction is not None:
        return single_crystal(direction)
    span = 2 * np.pi * evolution_time_s * pattern_width_Hz(tensors, nucleus)
    return directions_for_phases(span, most_directions)


def amplitude(nucleus: Nucleus) -> float:
    """Factor of ⟨sin·sin⟩ in S₂ (AMPLITUDES). Raises InputError for a spin other than 1 and 3/2.

    Larger spins have several pairs of lines, and more orders than the quadrupolar one that outlast mixing.
    """
    if nucleus.spin not in AMPLITUDES:
        raise InputError(
            f"{nucleus.isotope} has spin {nucleus.spin:g}: this spin-alignment echo is that of spin 1 or 3/2"
        )
    return AMPLITUDES[nucleus.spin]


def check_echo(nucleus: Nucleus, evolution_time_s: float) -> None:
    """Raises InputError for a spin other than 1 and 3/2 and an evolution time that is none."""
    amplitude(nucleus)
    if not (np.isfinite(evolution_time_s) and evolution_time_s > 0):
        raise InputError(f"evolution time {evolution_time_s} s: must be positive")
