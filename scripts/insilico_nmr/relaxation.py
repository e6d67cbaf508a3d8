"""Quadrupolar relaxation by hops: spectral densities of the fluctuating field gradient, and the rates that they give.

C(t) = ⟨δV(0):δV(t)⟩ of δV = V − ⟨V⟩, and j(ω) = ∫₀^∞ C(t) cos ωt dt. Hops obey detailed balance, so C is a sum of
exponentials with weights that are not negative: these are found by non-negative least squares on a grid of rates, and
j(ω) is a sum of Lorentzians, free of the ripples of a transform of noisy data.

A spectrometer's frequency may be far above the first lag of kinetic Monte Carlo, at which a few ions have been on an
excursion and are back. `completed` adds earlier times: those of `Propagator.early`, and before them the Markov process
of one ion whose flux between sites is the exact one of all ions (`propagator.one_ion`), which is right as long as none
has jumped twice. It leaves out lags at which fewer than LEAST_COUNT ions were found on a site of another tensor: so few
do not tell a rate, and an error over replicas does not tell how few they are.

In second order (Redfield), with c = (4π²/15)(eQ/h)² and spin 3/2, the populations recover as
⅕·exp[−c j(ω₀)t] + ⅘·exp[−c j(2ω₀)t]; quadrupolar order decays at c[j(ω₀) + j(2ω₀)]; the central line at
(c/2)[j(ω₀) + j(2ω₀)] and the satellites at (c/2)[j(0) + j(ω₀) + j(2ω₀)] where the mean tensor keeps both apart, at
(c/2)[j(0) + j(ω₀)] where it vanishes and each feeds the other: A. Abragam, The Principles of Nuclear Magnetism, VIII;
N. C. Pyper, Mol. Phys. 21, 1 (1971); J. R. C. van der Maarel, Concepts Magn. Reson. 19A, 97 (2003). Magnetic dipoles
and second-order shifts relax nothing here.

These are rates of one crystal. In a powder each crystallite recovers with its own, and nothing but the initial slope is
an exponential's of mean spectral densities. The recovery is therefore averaged over directions (`recovery_rate`).

Vibrations forget within picoseconds, far faster than any Larmor frequency: all their j(ω) are one number, the integral
of C over a classical trajectory's first moments (`vibrational_decay`), and rates do not depend on the field. In a
crystal hotter than its vibrations that is the Raman process, with T² (J. Van Kranendonk, Physica 20, 781 (1954)).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq, nnls

from insilico_nmr.echo import Propagator, equal_tensors
from insilico_nmr.errors import InputError
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.generator import parts
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import lebedev, quadrupolar_frequency, single_crystal, unit_direction
from insilico_nmr.propagator import DECORRELATED, one_ion
from insilico_nmr.tensors import L2_BASIS, to_components

RATES_PER_DECADE = 32
LEAST_COUNT = 20
RIDGE = 1e-6
LEAST_ERROR = 1e-3  # of what is fitted: below that the fit is not asked to follow the points
REDFIELD_LIMIT = 0.1  # largest rate times correlation time for which second order is trusted


def completed(propagator: Propagator, tensors: np.ndarray) -> tuple[Propagator, np.ndarray]:
    """The propagator with times before its first lag and without lags that tell too little; counts (T,) of the rest.

    A count is the number of ions found on a site of another tensor, of `tensors` (S, 3, 3); infinite where the flux
    tells.
    """
    both = [propagator] if propagator.early is None else [propagator.early, propagator]
    other = ~equal_tensors(tensors)
    moved = [np.einsum("ab,abt->t", other, each.joint) * each.observations for each in both]
    told = [(count >= LEAST_COUNT) & (each.time_s > 0) for count, each in zip(moved, both, strict=True)]
    if not any(some.any() for some in told):  # nothing changes: any lag will do
        moved[-1][-1], told[-1][-1] = np.inf, True
    later_s = np.concatenate([each.time_s[some] for each, some in zip(both, told, strict=True)])
    # Where jumps to other tensors are so rare that early lags do not tell, ions that make one do not return at once.
    first = min(later_s[0], propagator.time_s[propagator.time_s > 0][0])
    begin = min(0.01 / (propagator.flux.sum(axis=1) / propagator.populations).max(), first / 10)
    times = np.logspace(np.log10(begin), np.log10(first), int(10 * np.log10(first / begin)) + 1)[:-1]
    before = np.moveaxis(one_ion(propagator.flux, propagator.populations, times), 0, -1)

    def joined(of_each: list[np.ndarray]) -> np.ndarray:
        later = [joint[..., some] for joint, some in zip(of_each, told, strict=True)]
        start = of_each[-1][..., :1]
        return np.concatenate([start, np.broadcast_to(before, (*start.shape[:-1], len(times))), *later], axis=-1)

    whole = replace(
        propagator,
        joint=joined([each.joint for each in both]),
        replicas=joined([each.replicas for each in both]),
        time_s=np.concatenate([[0.0], times, later_s]),
    )
    counts = [count[some] for count, some in zip(moved, told, strict=True)]
    return whole, np.concatenate([np.full(1 + len(times), np.inf), *counts])


@dataclass(frozen=True)
class Decay:
    """C(t) as Σ weight·exp(−rate·t): `rate_per_s` (n,), `weight` (n,) in the unit of C."""

    rate_per_s: np.ndarray
    weight: np.ndarray

    @property
    def correlation_time_s(self) -> float:
        """j(0)/C(0); 0 where nothing fluctuates."""
        total = self.weight.sum()
        return float((self.weight / self.rate_per_s).sum() / total) if total > 0 else 0.0

    def spectral_density(self, frequency_rad_per_s: float) -> float:
        """j(ω), unit of C times s."""
        return float((self.weight * self.rate_per_s / (self.rate_per_s**2 + frequency_rad_per_s**2)).sum())


def fit_decay(
    time_s: np.ndarray, remaining: np.ndarray, decayed: np.ndarray, error: np.ndarray, slowest: float = 1.0
) -> Decay:
    """Non-negative exponentials through C at times (T,) from 0 on, with standard errors (T,).

    C(t) is given twice, as `remaining` and as `decayed`, C(0) − C(t): of each time the smaller is fitted, so that the
    first small part of a decay, which high frequencies see, counts as much as its end. Where C is exactly 0, its
    propagator is held at the limit, which it has come near (propagator.DECORRELATED). Exponentials are looked for up to
    `slowest` times the last time, or the first where it is held. Raises InputError for times that do not begin at 0 or
    do not increase, and for values that are not finite.
    """
    if not (time_s[0] == 0 and (np.diff(time_s) > 0).all() and len(time_s) > 2):
        raise InputError("a correlation function: times must increase from 0, three at least")
    if not all(np.isfinite(values).all() for values in (remaining, decayed, error)):
        raise InputError("a correlation function: values and errors must be finite")
    if remaining[0] <= 0:
        return Decay(np.ones(1), np.zeros(1))
    held = remaining == 0
    last = time_s[held.argmax()] if held.any() else time_s[-1]
    low, high = -np.log10(slowest * last), np.log10(10 / time_s[1])
    rates = np.logspace(low, high, int((high - low) * RATES_PER_DECADE) + 1)
    phase = np.outer(time_s, rates)
    early = (time_s > 0) & (decayed < remaining)
    values = np.where(early, decayed, remaining)
    error = np.where(held, DECORRELATED * remaining[0], error)
    weight = 1 / np.hypot(error, LEAST_ERROR * np.maximum(np.abs(values), 1e-12 * remaining[0]))
    columns = np.where(early[:, None], -np.expm1(-phase), np.exp(-phase)) * weight[:, None]
    # The first points weigh as much as they are small: unscaled, columns would differ by as many decades as the times
    # span, and least squares would stop where only the largest are right.
    size = np.linalg.norm(columns, axis=0)
    found, _ = nnls(columns / size, values * weight)
    return Decay(rates[found > 0], (found / size)[found > 0])


def with_surroundings(decay: Decay, time_s: np.ndarray, added: np.ndarray, replicas: np.ndarray) -> Decay:
    """The decay of the sites' means with what surroundings add (`fluctuations`), as one sum of exponentials.

    added : (T,) at times from 0 on, in the unit of C; replicas : (R, T), whose scatter is the error of `added` and of
    what it has lost. By itself `added` need not be a sum of exponentials with positive weights; the whole is one. So
    weights are sought that differ as little from those of the means as the data allow (a ridge of RIDGE), for rates of
    the means, however fast, and for all that the times tell. Where nothing is added the decay stays what it is.
    """
    if not np.any(added):
        return decay
    low, high = -np.log10(time_s[-1]), np.log10(10 / time_s[1])
    own = decay.weight > 0
    rates = np.append(np.logspace(low, high, int((high - low) * RATES_PER_DECADE) + 1), decay.rate_per_s[own])
    given = np.append(np.zeros(len(rates) - own.sum()), decay.weight[own])
    lost, largest = added[0] - added, np.abs(added).max()
    early = np.logical_and.accumulate(np.abs(lost) < largest / 2)
    values = np.where(early, lost, added)
    of_both = (error_over_replicas(some) for some in (replicas[:, :1] - replicas, replicas))
    floor = LEAST_ERROR * np.where(early, np.maximum(np.abs(values), 1e-12 * largest), largest)
    told = time_s > 0
    weight = (1 / np.hypot(np.where(early, *of_both), floor))[told]
    phase = np.outer(time_s, rates)[told]
    columns = np.where(early[told][:, None], -np.expm1(-phase), np.exp(-phase)) * weight[:, None]
    size = np.linalg.norm(columns, axis=0)
    columns, expected = columns / size, given * size
    ridge = np.sqrt(RIDGE)
    system = np.concatenate([columns, ridge * np.eye(len(rates))])
    found, _ = nnls(system, np.concatenate([values[told] * weight + columns @ expected, ridge * expected]))
    return Decay(rates[found > 0], (found / size)[found > 0])


def decay_kernel(kernel: np.ndarray) -> np.ndarray:
    """½(K_aa + K_bb) − K_ab, (..., S, S): with P(t) it gives C(0) − C(t), without the difference of large numbers."""
    diagonal = np.diagonal(kernel, axis1=-2, axis2=-1)
    return (diagonal[..., :, None] + diagonal[..., None, :]) / 2 - kernel


def fluctuation_parts(tensors: np.ndarray, direction: np.ndarray | None = None) -> list[np.ndarray]:
    """Components of tensors (..., 3, 3) that flip m = 0, 1, 2 quanta, each (..., k): C of m is Σ_k of their products.

    Of a powder all three are V_a:V_b, the sum over five components. With the field along `direction` (3,) C is 5·½·Σ
    over ±m of the products of components along that axis, of which V_a:V_b is the powder average.
    """
    if direction is None:
        return [to_components(tensors)] * 3
    axis = unit_direction(direction)
    across = np.linalg.svd(axis[None])[2][1:]
    frame = np.stack([*across, axis])  # rows x, y, z
    components = np.einsum("cij,ik,jl,...kl->...c", L2_BASIS, frame, frame, tensors)  # xy, yz, z², xz, x²−y²
    parts = [([2], 5.0), ([1, 3], 2.5), ([0, 4], 2.5)]
    return [np.sqrt(factor) * components[..., part] for part, factor in parts]


def fluctuation_kernels(tensors: np.ndarray, direction: np.ndarray | None = None) -> np.ndarray:
    """Kernels K_ab for m = 0, 1, 2, shape (3, S, S), whose contraction with P is C of the part that flips m quanta."""
    return np.array([part @ part.T for part in fluctuation_parts(tensors, direction)])


def relaxation_rates(
    decays: list[Decay], nucleus: Nucleus, field_T: float, satellites_apart_Hz: float = np.inf
) -> dict[str, float]:
    """Rates (1/s) in a field, from the decays of C for m = 0, 1, 2, in a.u.².

    `R1` is the initial slope of the recovery of all populations, for any spin above ½. Of spin 3/2 there are also the
    two exponentials of that recovery, `R1_fast` and `R1_slow`, `R1Q`, `R2_central` and `R2_satellites`, whose distance
    from the central line is `satellites_apart_Hz`.
    """
    if not field_T > 0:
        raise InputError(f"a field of {field_T:g} T; expected more than 0")
    larmor = abs(nucleus.gamma) * field_T
    j0, j1, j2 = (decay.spectral_density(m * larmor) for m, decay in enumerate(decays))
    spin = nucleus.spin
    squared = nucleus.coupling_per_au**2
    slope = np.pi**2 / 25 * (2 * spin + 3) / (spin**2 * (2 * spin - 1)) * squared
    rates = {"R1": slope * (j1 + 4 * j2)}
    if spin == 1.5:
        c = 4 * np.pi**2 / 15 * squared
        rates |= {"R1_fast": c * j1, "R1_slow": c * j2, "R1Q": c * (j1 + j2), "R2_central": c / 2 * (j1 + j2)}
        # Each satellite feeds the other at c j(2ω₀)/2, to no effect where they turn against each other faster.
        apart = 2 * np.pi * satellites_apart_Hz > c / 2 * j2
        rates["R2_satellites"] = c / 2 * (j0 + j1 + (j2 if apart else 0.0))
    return rates


def satellite_offset_Hz(
    limit: np.ndarray, tensors: np.ndarray, nucleus: Nucleus, direction: np.ndarray | None = None
) -> float:
    """Distance of satellites from the central line, by the means that P(∞) `limit` (S, S) makes of tensors (S, 3, 3):
    root-mean-square of the parts of a network (generator.parts), and of a powder."""
    shares, places = parts(limit)
    directions, weights = lebedev(5) if direction is None else single_crystal(direction)
    offsets = quadrupolar_frequency(np.tensordot(places, tensors, 1), directions, nucleus)
    return float(np.sqrt(weights @ offsets**2 @ shares))


def recovery_rate(fast_per_s: np.ndarray, slow_per_s: np.ndarray, weights: np.ndarray) -> float:
    """1/t, t being when 1/e of Σ_n w_n [⅕ exp(−fast_n t) + ⅘ exp(−slow_n t)] is left, of crystallites (n,).

    0 where too many of them do not relax. Spin diffusion between crystallites is left out.
    """

    def left(time_s: float) -> float:
        return float(weights @ (0.2 * np.exp(-fast_per_s * time_s) + 0.8 * np.exp(-slow_per_s * time_s))) - np.exp(-1)

    rates = np.concatenate([fast_per_s, slow_per_s])
    slowest = rates[rates > 1e-9 * rates.max(initial=0)].min(initial=np.inf)
    if not (rates > 0).any() or left(100 / slowest) > 0:
        return 0.0
    return 1 / brentq(left, 0, 100 / slowest)


def vibrational_decay(correlation: np.ndarray, step_s: float, run_s: float) -> Decay:
    """One exponential whose j(ω), at frequencies far below 1/(duration of `correlation`), is the integral of C(t).

    correlation : (T,) ⟨δV(0):δV(t)⟩ every `step_s` from 0 on, a.u.², δV being the deviation from the ion's mean over
    the run of `run_s`. That mean takes 2j/`run_s` from C at every time, which is put back. Raises InputError where the
    integral is not positive: the run is too short to tell it.
    """
    duration_s = step_s * (len(correlation) - 1)
    density = np.trapezoid(correlation, dx=step_s) / (1 - 2 * duration_s / run_s)
    if not (density > 0 and duration_s < run_s / 2):
        raise InputError(
            f"vibrations: the correlation function over {duration_s:.2g} s of a run of {run_s:.2g} s has the integral "
            f"{density:.3g} a.u.² s; expected a positive one: run longer"
        )
    return Decay(np.array([1 / duration_s]), np.array([density / duration_s]))


def second_order_holds(rate_per_s: float, decays: list[Decay]) -> bool:
    """True where a relaxation rate is so slow that the fluctuations have forgotten long before."""
    return rate_per_s * max(decay.correlation_time_s for decay in decays) <= REDFIELD_LIMIT
