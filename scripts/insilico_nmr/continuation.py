"""The two-time propagator beyond the longest lag that kinetic Monte Carlo sampled.

Once memory of correlations between ions is lost, an ion moves as a Markov chain: P(t) − P(∞) decays in modes, each
exponential, so that a mode that is left at the last lag says how the rest goes (Markov state models: J.-H. Prinz et
al., J. Chem. Phys. 134, 174105 (2011)). That matters where a slow stage follows a fast one, such as the exchange
between layers after that within them. Whether memory is lost is asked of the data: at half the last lag each mode must
have had the same decay rate (Chapman-Kolmogorov).
"""

import numpy as np

from insilico_nmr.propagator import mean_and_error

STEPS_PER_DECADE = 10
DECAYED = 3e-3  # of a mode: the continued propagator ends there
SEEN = 0.1  # correlation of a mode below which it is as good as gone, and its rate is not asked for
SURE = 3.0  # standard errors by which a mode must be there: states that one ion visits in one replica make none
KNOWN_WITHIN = 0.3  # standard error of a mode's rate over the rate
CHANGE_ALLOWED = 0.15  # of the rate between half the last lag and the last, beyond three standard errors
LONGEST = 1e4  # in last lags


class NotContinued(ValueError):
    """Why the sampled propagator does not say how it goes on."""


def continue_propagator(replicas: np.ndarray, at_infinity: np.ndarray, time_s: np.ndarray) -> tuple[np.ndarray, ...]:
    """P of independent replicas at later times, shape (R, S, S, T'), and these times (T',) in s.

    replicas : (R, S, S, T) joint probabilities, R ≥ 2, symmetric, rows sum to the populations.
    at_infinity : (S, S) limit P(∞).  time_s : (T,).

    Modes are those of the replicas' mean; each replica has its own decay rates. Modes that noise makes negative count
    as decayed. Raises NotContinued where the rate of a mode that is left is unknown or still changes with the lag.
    """
    populations = at_infinity.sum(axis=1)
    root = np.sqrt(np.outer(populations, populations))
    last_s = time_s[-1]
    half = int(np.argmin(np.abs(time_s - last_s / 2)))
    if not 0.3 < time_s[half] / last_s < 0.7:
        raise NotContinued("there is no lag near half of the last")
    _, modes = np.linalg.eigh((replicas[..., -1].mean(axis=0) - at_infinity) / root)
    early, late = (
        np.einsum("sk,rst,tk->rk", modes, (replicas[..., index] - at_infinity) / root, modes) for index in (half, -1)
    )
    there, there_error = mean_and_error(late)
    left = (there > SEEN) & (there > SURE * there_error)
    if (early[:, left] <= 0).any() or (late[:, left] <= 0).any() or (late >= 1).any():
        raise NotContinued("a mode that is left did not decay measurably in every replica")
    rate, rate_before = -np.log(late[:, left]) / last_s, -np.log(early[:, left]) / time_s[half]
    mean, error = mean_and_error(rate)
    if (error > KNOWN_WITHIN * mean).any():
        raise NotContinued(f"a decay rate is known within {100 * (error / mean).max():.0f} % only")
    change, change_error = mean_and_error(rate_before - rate)
    if (np.abs(change) > CHANGE_ALLOWED * mean + 3 * change_error).any():
        raise NotContinued("memory is not lost: decay rates still change with the lag")
    correlation = np.clip(late, 0.0, None)
    slowest = correlation.mean(axis=0).max()
    lags = LONGEST if slowest <= 0 else np.clip(np.log(DECAYED) / np.log(slowest), 1.0, LONGEST)
    steps = np.arange(1, np.ceil(STEPS_PER_DECADE * np.log10(lags)) + 1)
    factors = 10 ** (steps / STEPS_PER_DECADE)
    excess = np.einsum("sk,rkn,tk->rstn", modes, correlation[..., None] ** factors, modes)
    return at_infinity[..., None] + root[..., None] * excess, last_s * factors
