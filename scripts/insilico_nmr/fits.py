"""Fits that an experimenter makes: stretched exponentials of echo decays, Arrhenius lines of rates.

Both weight by the errors given. Where the scatter about the curve exceeds those errors, the covariance is scaled up
by the reduced χ²; it is never scaled down.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import lmfit
import numpy as np
from scipy import stats
from scipy.special import gamma, psi

from insilico_nmr.errors import InputError
from insilico_nmr.few_values import error_over_replicas, widening
from insilico_nmr.rates import BOLTZMANN_EV_PER_K

BETA_RANGE = (0.1, 2.0)
# A curve is not known better than this part of its first point (powder grid, state model): a floor under every error,
# which also keeps a point of zero sampling error, such as t_m = 0, from ruling the fit.
RELATIVE_FLOOR = 1e-3
SLOWER = 5.0  # τ' of a slow stage over τ, at least
# A richer model of a measured decay is taken where chance would make it that much better in fewer cases than this.
BY_CHANCE = 1e-3
# Of two parameters of the first stage, in their order in the covariance.
CORRELATIONS = [f"{a}_{b}_correlation" for a, b in combinations(("amplitude", "tau", "beta", "plateau"), 2)]
JUMPING = "jumps_during_evolution"  # flag of echoes in the matrix form, whose 1/τ is not that of jumps alone
EVALUATIONS = 1000  # of a curve, in a fit to a measured decay; those that converge take a few hundred


class FitFailed(InputError):
    """A fit that has no trustworthy result. `last_parameters` holds where it stopped; no decay time is given."""

    def __init__(self, reason: str, last_parameters: dict[str, float]):
        self.last_parameters = last_parameters
        at = ", ".join(f"{name} = {value:.4g}" for name, value in last_parameters.items())
        super().__init__(f"fit failed: {reason}" + (f" (stopped at {at})" if at else ""))


@dataclass(frozen=True)
class DecayFit:
    """{A·exp[−(t/τ)^β] + A'·exp(−t/τ') + B}·exp(−t/T1Q) with standard errors.

    `covariance` (4, 4) of (A, ln τ, β, B), or (6, 6) with (A', ln τ') where there is a slow stage; else A' is 0. Where
    T1Q was fitted, and not given or left out, ln T1Q is the last (5, 5); else `t1q_s` is NaN.
    """

    amplitude: float
    tau_s: float
    beta: float
    plateau: float
    covariance: np.ndarray
    reduced_chi_square: float
    slow_amplitude: float = 0.0
    slow_tau_s: float = np.nan
    t1q_s: float = np.nan

    @property
    def stages(self) -> int:
        """1, or 2 with a slow stage."""
        return 2 if self.slow_amplitude else 1

    @property
    def parameters(self) -> np.ndarray:
        """What `covariance` is the covariance of."""
        values = [self.amplitude, np.log(self.tau_s), self.beta, self.plateau]
        if self.stages == 2:
            values += [self.slow_amplitude, np.log(self.slow_tau_s)]
        return np.array(values if np.isnan(self.t1q_s) else [*values, np.log(self.t1q_s)])

    @property
    def amplitude_se(self) -> float:
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def log_tau_se(self) -> float:
        """Standard error of ln τ, that is the relative one of τ and of 1/τ."""
        return float(np.sqrt(self.covariance[1, 1]))

    @property
    def tau_se_s(self) -> float:
        return self.tau_s * self.log_tau_se

    @property
    def beta_se(self) -> float:
        return float(np.sqrt(self.covariance[2, 2]))

    @property
    def plateau_se(self) -> float:
        return float(np.sqrt(self.covariance[3, 3]))

    @property
    def correlations(self) -> dict[str, float]:
        """Correlation coefficients of A, ln τ, β and B, by the names of two of them; with their errors the covariance
        of these four."""
        scale = np.sqrt(np.diag(self.covariance))
        pairs = combinations(range(4), 2)
        return {
            name: float(self.covariance[i, j] / (scale[i] * scale[j]))
            for name, (i, j) in zip(CORRELATIONS, pairs, strict=True)
        }

    @property
    def slow_stage_stands_out(self) -> bool:
        """Whether there is a slow stage whose amplitude is more than three standard errors."""
        return self.stages == 2 and bool(self.slow_amplitude > 3 * np.sqrt(self.covariance[4, 4]))

    @property
    def t1q_se_s(self) -> float:
        """Of T1Q, NaN where it was not fitted."""
        return self.t1q_s * float(np.sqrt(self.covariance[-1, -1]))

    @property
    def plateau_ratio(self) -> tuple[float, float]:
        """B/(A + A' + B) and its standard error, first order in A and B with their covariance."""
        decaying = self.amplitude + self.slow_amplitude
        whole = decaying + self.plateau
        slope = np.array([-self.plateau, decaying]) / whole**2
        return self.plateau / whole, float(np.sqrt(slope @ self.covariance[np.ix_([0, 3], [0, 3])] @ slope))

    @property
    def rate_interval_per_s(self) -> tuple[float, float]:
        """95 % interval of 1/τ, symmetric in ln τ."""
        factor = np.exp(1.96 * self.log_tau_se)
        return 1 / self.tau_s / factor, factor / self.tau_s

    @property
    def mean_decay_time_s(self) -> float:
        """⟨τ⟩ = (τ/β)·Γ(1/β), the area under the stretched exponential."""
        return self.tau_s / self.beta * float(gamma(1 / self.beta))

    @property
    def mean_decay_time_se_s(self) -> float:
        """Standard error of ⟨τ⟩, first order in ln τ and β with their covariance."""
        slope = np.array([1.0, -(1 + psi(1 / self.beta) / self.beta) / self.beta])
        return self.mean_decay_time_s * float(np.sqrt(slope @ self.covariance[1:3, 1:3] @ slope))


def decay_curve(
    time_s: np.ndarray,
    amplitude: float,
    tau_s: float,
    beta: float,
    plateau: float,
    t1q_s: float | None = None,
    slow_amplitude: float = 0.0,
    slow_tau_s: float = np.nan,
) -> np.ndarray:
    """{A·exp[−(t/τ)^β] + A'·exp(−t/τ') + B}·exp(−t/T1Q), same shape as `time_s`; no relaxation without `t1q_s`."""
    damping = 1.0 if t1q_s is None else np.exp(-time_s / t1q_s)
    slow = slow_amplitude * np.exp(-time_s / slow_tau_s) if slow_amplitude else 0.0
    return (amplitude * np.exp(-((time_s / tau_s) ** beta)) + slow + plateau) * damping


@dataclass(frozen=True)
class _Decay:
    """What a fit is made to: times, signal, its errors, arrays (T,); T1Q that is held, if any, and how many evaluations
    of the curve are made at most (default: lmfit's)."""

    time_s: np.ndarray
    signal: np.ndarray
    sigma: np.ndarray
    t1q_s: float | None
    evaluations: int | None


def fit_decay(
    time_s: np.ndarray,
    signal: np.ndarray,
    standard_error: np.ndarray | None = None,
    t1q_s: float | None = None,
    stages: int | None = None,
) -> DecayFit:
    """Weighted fit of a stretched exponential with plateau; T1Q, where given, is held fixed. Shapes (T,).

    A second stage, an exponential SLOWER times slower or more, is added where the first does not follow the curve:
    where it reduces χ² per degree of freedom to less than half, or one stage alone has no fit, and its amplitude is
    three standard errors or more; `stages` (1 or 2) asks for one of the two. The size of χ² decides nothing: errors of
    simulated curves are correlated in time, and χ² is below 1 then.
    Raises InputError for unusable data, and FitFailed where the signal does not decay by more than its error, the
    optimiser does not converge, β ends at a bound (0.1, 2), τ lies a decade outside the times, or ln τ is known to
    no better than 1.
    """
    decay = _checked(time_s, signal, standard_error, t1q_s)
    start = _start(decay)
    if stages == 1:
        return _least_squares(decay, start)
    double = _two_stages(decay, start)
    if stages == 2:
        if double is None:
            single = _least_squares(decay, start)
            raise FitFailed("no second stage", {"tau_s": single.tau_s, "beta": single.beta, "plateau": single.plateau})
        return double
    significant = double is not None and double.slow_stage_stands_out
    try:
        single = _least_squares(decay, start)
    except FitFailed:
        if significant:
            return double
        raise
    return double if significant and double.reduced_chi_square <= single.reduced_chi_square / 2 else single


def fit_measured_decay(time_s: np.ndarray, signal: np.ndarray, t1q_s: float | None = None) -> DecayFit:
    """Fit of a measured decay, whose errors are its scatter about the curve. Shapes (T,).

    One stage and a plateau; with T1Q as a parameter, unless `t1q_s` is given and held fixed, or with a slow stage,
    where that is better by more than chance would have it (F-test, BY_CHANCE), does not only fit what is known to no
    better than RELATIVE_FLOOR, and what is added is there: A' by three standard errors as in `fit_decay`, ln T1Q known
    to better than 1, a plateau of two standard errors that falls, and T1Q SLOWER times τ. What falls once more at late
    times may be either; T1Q is the simpler of the two. Intervals are widened by Student's t for few points.

    Raises what `fit_decay` raises, and FitFailed where the curve is no better than a constant by the same test, or its
    amplitude less than three standard errors.
    """
    decay = _checked(time_s, signal, None, t1q_s, EVALUATIONS)
    start = _start(decay)
    try:
        best = _least_squares(decay, start)
    except FitFailed as error:
        best, failure = None, error
    double = _two_stages(decay, start)
    if double is not None and not double.slow_stage_stands_out:
        double = None
    for richer in (_with_relaxation(decay) if t1q_s is None else None, double):
        if richer is not None and (best is None or _better(richer, best, len(decay.time_s))):
            best = richer
    if best is None:
        raise failure
    degrees = len(decay.time_s) - len(best.parameters)
    weights = decay.sigma**-2
    constant = weights @ (decay.signal - weights @ decay.signal / weights.sum()) ** 2
    by_chance = _chance(constant, len(decay.time_s) - 1, best.reduced_chi_square * degrees, degrees)
    if by_chance > BY_CHANCE or not best.amplitude > 3 * best.amplitude_se:
        raise FitFailed("no decay that stands out of the scatter", {"amplitude": best.amplitude})
    return replace(best, covariance=widening(degrees + 1) ** 2 * best.covariance)


def _with_relaxation(decay: _Decay) -> DecayFit | None:
    """The best fit with T1Q as a parameter, begun at different T1Q; None where none shows one."""
    found = []
    for t1q_s in decay.time_s[-1] * np.geomspace(1 / 30, 3, 5):
        try:
            start = _start(replace(decay, t1q_s=t1q_s))
            fit = _least_squares(decay, start | {"log_t1q": np.log(t1q_s)})
        except FitFailed:
            continue
        if fit.covariance[-1, -1] < 1 and fit.t1q_s > SLOWER * fit.tau_s and fit.plateau > 2 * fit.plateau_se:
            found.append(fit)
    return min(found, key=lambda fit: fit.reduced_chi_square, default=None)


def _better(richer: DecayFit, simpler: DecayFit, points: int) -> bool:
    """Whether a model with more parameters follows a curve better than chance and the floor of errors would have it."""
    degrees = [points - len(fit.parameters) for fit in (simpler, richer)]
    squares = [fit.reduced_chi_square * n for fit, n in zip((simpler, richer), degrees, strict=True)]
    return simpler.reduced_chi_square > 1 and _chance(squares[0], degrees[0], squares[1], degrees[1]) < BY_CHANCE


def _chance(square: float, degrees: int, richer_square: float, richer_degrees: int) -> float:
    """Probability of the F-test of nested models that a fall of χ² as large, or larger, is chance; 1 without a fall."""
    if not (square > richer_square and degrees > richer_degrees > 0):
        return 1.0
    ratio = (square - richer_square) / (degrees - richer_degrees) / max(richer_square / richer_degrees, 1e-300)
    return float(stats.f.sf(ratio, degrees - richer_degrees, richer_degrees))


def _checked(
    time_s: np.ndarray,
    signal: np.ndarray,
    standard_error: np.ndarray | None,
    t1q_s: float | None,
    evaluations: int | None = None,
) -> _Decay:
    """What is fitted, errors with a floor. Raises InputError for unusable data."""
    time_s, signal = np.asarray(time_s, dtype=float), np.asarray(signal, dtype=float)
    error = np.zeros_like(signal) if standard_error is None else np.asarray(standard_error, dtype=float)
    if not time_s.shape == signal.shape == error.shape or time_s.ndim != 1 or len(time_s) < 6:
        raise InputError(f"decay of shape {signal.shape} at times {time_s.shape}: need at least 6 points")
    if not (np.isfinite(time_s).all() and np.isfinite(signal).all() and np.isfinite(error).all()):
        raise InputError("decay: times, signal and errors must be finite")
    if np.any(time_s < 0) or np.any(np.diff(time_s) <= 0) or np.any(error < 0):
        raise InputError("decay: times must increase from 0 or above, errors must not be negative")
    sigma = np.hypot(error, RELATIVE_FLOOR * max(abs(signal[0]), np.abs(signal).max()))
    return _Decay(time_s, signal, sigma, t1q_s, evaluations)


def _start(decay: _Decay) -> dict[str, float]:
    """Starting values of a fit of one stage. Raises FitFailed where the signal does not decay by more than its error.

    Without relaxation the curve runs from A + B to B: the scale of the signal and the starting values.
    """
    time_s, signal, sigma, t1q_s = decay.time_s, decay.signal, decay.sigma, decay.t1q_s
    bare = signal if t1q_s is None else signal * np.exp(np.minimum(time_s / t1q_s, 50.0))
    seen = time_s <= (np.inf if t1q_s is None else 3 * t1q_s)
    seen[:2] = True
    drop = bare[0] - bare[seen][-1]
    if abs(drop) <= 3 * np.hypot(sigma[0], sigma[seen][-1]):
        raise FitFailed("the signal does not decay by more than its error", {"S(0)": bare[0], "drop": drop})
    below = np.nonzero((bare[0] - bare) / drop > 1 - np.exp(-1))[0]
    log_tau = np.log(max(time_s[below[0]], time_s[1]))
    return {"amplitude": drop, "log_tau": log_tau, "beta": 0.8, "plateau": bare[seen][-1]}


def _two_stages(decay: _Decay, start: dict[str, float]) -> DecayFit | None:
    """The best of fits with a slow stage that start it at different times; None where none converges to one."""
    found = []
    for ratio in (10.0, 100.0, 1000.0):
        guess = {**start, "amplitude": 0.7 * start["amplitude"], "slow_amplitude": 0.3 * start["amplitude"]}
        guess["log_ratio"] = np.log(ratio)
        try:
            fit = _least_squares(decay, guess)
        except FitFailed:
            continue
        if fit.slow_tau_s < decay.time_s[-1] and fit.slow_tau_s > 1.01 * SLOWER * fit.tau_s and fit.amplitude > 0:
            found.append(fit)
    return min(found, key=lambda fit: fit.reduced_chi_square, default=None)


def _least_squares(decay: _Decay, start: dict[str, float]) -> DecayFit:
    """One fit from starting values of amplitude, log_tau, beta, plateau and, of a slow stage, slow_amplitude and
    log_ratio = ln(τ'/τ), or log_t1q where T1Q is fitted. Raises FitFailed as `fit_decay` says."""
    time_s = decay.time_s
    bounds = {"beta": BETA_RANGE, "log_ratio": (np.log(SLOWER), np.inf)}
    parameters = lmfit.Parameters()
    for name, value in start.items():
        low, high = bounds.get(name, (-np.inf, np.inf))
        parameters.add(name, value, min=low, max=high)

    def curve(p: dict[str, float]) -> np.ndarray:
        tau_s = np.exp(np.clip(p["log_tau"], -200, 200))
        slow = (p["slow_amplitude"], tau_s * np.exp(min(p["log_ratio"], 200))) if "log_ratio" in p else ()
        relaxation_s = np.exp(np.clip(p["log_t1q"], -200, 200)) if "log_t1q" in p else decay.t1q_s
        return decay_curve(time_s, p["amplitude"], tau_s, p["beta"], p["plateau"], relaxation_s, *slow)

    result = lmfit.minimize(
        lambda p: (decay.signal - curve(p.valuesdict())) / decay.sigma,
        parameters,
        method="leastsq",
        scale_covar=False,
        max_nfev=decay.evaluations,
    )
    last = {name: float(value.value) for name, value in result.params.items()}
    log_tau, log_ratio = last.pop("log_tau"), last.pop("log_ratio", None)
    last["tau_s"] = float(np.exp(np.clip(log_tau, -200, 200)))
    if "log_t1q" in last:
        last["t1q_s"] = float(np.exp(np.clip(last.pop("log_t1q"), -200, 200)))
    if not result.success or getattr(result, "covar", None) is None or not np.isfinite(result.covar).all():
        raise FitFailed("no convergence: " + " ".join(str(result.message).split()), last)
    if min(last["beta"] - BETA_RANGE[0], BETA_RANGE[1] - last["beta"]) < 1e-3:
        raise FitFailed(f"beta at the bound {last['beta']:.3g}", last)
    if not time_s[time_s > 0][0] / 10 < last["tau_s"] < 10 * time_s[-1]:
        raise FitFailed("tau lies outside the mixing times", last)
    covariance = result.covar * max(1.0, result.redchi)
    if covariance[1, 1] > 1:
        raise FitFailed(f"tau is known within a factor {np.exp(min(np.sqrt(covariance[1, 1]), 700)):.3g} only", last)
    if log_ratio is not None:
        last["slow_tau_s"] = float(last["tau_s"] * np.exp(log_ratio))
        # From ln(τ'/τ) to ln τ'.
        change = np.eye(6)
        change[5, 1] = 1.0
        covariance = change @ covariance @ change.T
    return DecayFit(**last, covariance=covariance, reduced_chi_square=float(result.redchi))


def fit_replicas(
    time_s: np.ndarray, curves: np.ndarray, t1q_s: float | None = None, stages: int | None = None
) -> DecayFit:
    """`fit_decay` of the mean of independent replicas' curves (R, T), R ≥ 2, with errors from their scatter.

    Points of one replica are correlated in time, which the fit's own covariance knows nothing of. So the fit is
    repeated without each replica in turn (jackknife: B. Efron, Ann. Statist. 7, 1 (1979)), and the covariance of these
    results, widened by Student's t as in `error_over_replicas`, replaces the fit's own where ln τ is less certain by
    it. A slow stage that is not there without some replica is none: the curve has one stage then, unless `stages` asks
    for two. Raises what `fit_decay` raises; a fit without one replica that fails is a FitFailed too.
    """
    error = error_over_replicas(curves)
    fit = fit_decay(time_s, curves.mean(axis=0), error, t1q_s, stages)
    count = len(curves)
    if count == 2:  # too few to leave one out
        return fit
    try:
        values = np.array(
            [
                fit_decay(time_s, np.delete(curves, n, axis=0).mean(axis=0), error, t1q_s, fit.stages).parameters
                for n in range(count)
            ]
        )
    except FitFailed:
        if fit.stages == 2 and stages is None:
            return fit_replicas(time_s, curves, t1q_s, 1)
        raise
    covariance = widening(count) ** 2 * (count - 1) ** 2 / count * np.cov(values.T)
    return replace(fit, covariance=covariance) if covariance[1, 1] > fit.covariance[1, 1] else fit


@dataclass(frozen=True)
class ArrheniusFit:
    """ln k = ln ν − E_a/(k_B T). `covariance` (2, 2) of (ln ν, E_a in eV)."""

    activation_energy_eV: float
    log_prefactor: float
    covariance: np.ndarray
    reduced_chi_square: float

    @property
    def prefactor_per_s(self) -> float:
        return float(np.exp(self.log_prefactor))

    @property
    def activation_energy_se_eV(self) -> float:
        return float(np.sqrt(self.covariance[1, 1]))

    @property
    def activation_energy_interval_eV(self) -> tuple[float, float]:
        """95 % interval."""
        half = 1.96 * self.activation_energy_se_eV
        return self.activation_energy_eV - half, self.activation_energy_eV + half

    @property
    def prefactor_interval_per_s(self) -> tuple[float, float]:
        """95 % interval, symmetric in ln ν."""
        half = 1.96 * float(np.sqrt(self.covariance[0, 0]))
        return float(np.exp(self.log_prefactor - half)), float(np.exp(self.log_prefactor + half))

    def rate(self, temperature_K: float) -> tuple[float, float, float]:
        """Rate (1/s) on the line and its 95 % interval, the covariance of slope and intercept included."""
        gradient = np.array([1.0, -1 / (BOLTZMANN_EV_PER_K * temperature_K)])
        log_rate = self.log_prefactor + gradient[1] * self.activation_energy_eV
        half = 1.96 * float(np.sqrt(gradient @ self.covariance @ gradient))
        return float(np.exp(log_rate)), float(np.exp(log_rate - half)), float(np.exp(log_rate + half))


def fit_arrhenius(temperatures_K: np.ndarray, rates: np.ndarray, standard_errors: np.ndarray) -> ArrheniusFit:
    """Weighted line through ln k against 1/(k_B T); shapes (n,), any unit of rate (1/s or m²/s).

    Raises InputError for fewer than two temperatures and for values that have no logarithm or no error.
    """
    temperatures_K, rates, errors = (np.asarray(a, dtype=float) for a in (temperatures_K, rates, standard_errors))
    if not temperatures_K.shape == rates.shape == errors.shape or len(np.unique(temperatures_K)) < 2:
        raise InputError("Arrhenius fit: need rates with errors at two different temperatures or more")
    for name, values in (("temperatures", temperatures_K), ("rates", rates), ("standard errors", errors)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise InputError(f"Arrhenius fit: {name} must be finite and positive")
    inverse = 1 / (BOLTZMANN_EV_PER_K * temperatures_K)
    design = np.stack([np.ones_like(inverse), -inverse], axis=1)
    weight = rates / errors
    (log_prefactor, energy), *_ = np.linalg.lstsq(design * weight[:, None], np.log(rates) * weight, rcond=None)
    misfit = (np.log(rates) - design @ [log_prefactor, energy]) * weight
    freedom = len(rates) - 2
    reduced = float(misfit @ misfit / freedom) if freedom else 0.0
    covariance = np.linalg.inv((design * weight[:, None] ** 2).T @ design) * max(1.0, reduced)
    return ArrheniusFit(float(energy), float(log_prefactor), covariance, reduced)
