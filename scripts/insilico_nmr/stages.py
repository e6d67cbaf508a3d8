"""Kinetic Monte Carlo over more decades of time than events can pay for: stages, each with frequent jumps slowed.

Where some jumps are 1e8 times as frequent as others, events go to the frequent ones, and the rare ones are never met.
But what the frequent ones do is over long before: they are in equilibrium whatever their speed, as long as they stay
far faster than the rest (A. Chatterjee, A. F. Voter, J. Chem. Phys. 132, 194101 (2010); E. C. Dybeck, C. P. Plaisance,
M. Neurock, J. Chem. Theory Comput. 13, 1525 (2017)). So a propagator is sampled in stages:

- the first has the rates as they are;
- in each later one the classes of jumps that are made more often than a cap are slowed to it, there and back by one
  factor, so that equilibrium stays what it is. The cap stays SEPARATION times above the frequency of every class that
  keeps its rate: errors are of the order of its reciprocal;
- a stage is used for lags from SETTLED mean times between jumps at the cap on, where what was slowed is in equilibrium,
  and those lags must begin before the stage before ends. Where both count they have to agree, and pass into each other.

Only P is joined. Displacements by slowed jumps are not those of the ions, and are kept of the first stage alone.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy import stats

from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.lattice import Lattice, equilibrium
from insilico_nmr.moving import Mover
from insilico_nmr.propagator import mean_and_error

SEPARATION = 50.0
SETTLED = 20.0
OVERLAP = 2.0  # a stage begins to count at least so many times before the one before it ends
LEAST_GAIN = 4.0  # a cap that is not lower by this is not worth a stage
AGREEMENT = 0.02  # of the largest element of P(∞), beyond what chance brings
CHANCE = 1e-4


def frequencies(lattice: Lattice, n_ions: int) -> dict[str, float]:
    """Jumps per ion and second of every class, both directions together."""
    per_link = equilibrium(lattice, n_ions).per_ion
    found: dict[str, float] = {}
    for number, value in zip(lattice.jump_class[lattice.used], per_link, strict=True):
        name = lattice.class_names[number][0]
        found[name] = found.get(name, 0.0) + float(value)
    return found


def next_cap(frequency: dict[str, float], cap: float, longest_lag_s: float) -> float | None:
    """The cap (1/s) of the stage after one of `cap` (infinite for the first) that reaches `longest_lag_s`.

    None where no lower cap is possible: classes of jumps are then too close in frequency, or lags too short.
    """
    lowest = OVERLAP * SETTLED / longest_lag_s  # below it, the new stage would begin to count too late
    # With all classes down to one slowed, the cap may fall to where it nears the next; one class keeps its rate always.
    ordered = sorted(frequency.values(), reverse=True)
    caps = [(max(lowest, SEPARATION * rarer), slowest) for slowest, rarer in pairwise(ordered)]
    best = min((value for value, slowest in caps if value < slowest), default=np.inf)
    return best if best * LEAST_GAIN <= min(cap, ordered[0]) else None


def slowed(lattice: Lattice, n_ions: int, cap: float) -> Lattice:
    """The lattice with every class slowed whose frequency (1/s per ion) exceeds the cap."""
    factor = {name: min(1.0, cap / value) for name, value in frequencies(lattice, n_ions).items()}
    return replace(lattice, rates=lattice.rates * np.array([factor[name] for name, _, _ in lattice.class_names]))


def disagreement(before: xr.Dataset, after: xr.Dataset, valid_from_s: float) -> float:
    """How far two stages differ where both count, of the largest element of P(∞), beyond what chance brings.

    The mean return probability Σ_a P_aa(t) is compared, at the later stage's lags, each by Student's t.
    """
    largest = float(before["P_infinity"].max())
    stayed = [np.einsum("raat->rt", part["P_replica"].to_numpy().astype(float)) for part in (before, after)]
    (first, first_se), (second, second_se) = map(mean_and_error, stayed)
    time, own = before["time"].to_numpy(), after["time"].to_numpy()
    both = (own >= valid_from_s) & (own <= time[-1])
    at, lags = np.log(own[both]), np.log(time[1:])
    difference = np.abs(np.interp(at, lags, first[1:]) - second[both])
    error = np.hypot(np.interp(at, lags, first_se[1:]), second_se[both])
    allowed = stats.t.isf(CHANCE / 2, 2 * (before.sizes["replica"] - 1)) * error
    # Of m sites, so that the mean of a site is what the largest element is compared with.
    return float(((difference - allowed) / (largest * before.sizes["state_a"])).max())


def joined(before: xr.Dataset, after: xr.Dataset, valid_from_s: float) -> xr.Dataset:
    """The earlier stages' P, passing into the later one's where both count; facts of the first, its end of the last.

    Between `valid_from_s` and the end of `before` the weight goes from one to the other, replica by replica, in
    proportion to the logarithm of time: the longest lags of a stage have the fewest origins and are the least certain.
    """
    end_s = float(before["time"][-1])
    both = before["time"] >= valid_from_s
    shared, weight = before["time"][both], np.log(before["time"][both] / valid_from_s) / np.log(end_s / valid_from_s)
    slow = after["P_replica"].interp(time=shared, assume_sorted=True)
    passing = (1 - weight) * before["P_replica"].sel(time=shared) + weight * slow
    later = after["P_replica"].sel(time=after["time"] > end_s)
    replicas = xr.concat([before["P_replica"].sel(time=~both), passing.astype(later.dtype), later], "time")
    replicas = replicas.transpose(*before["P_replica"].dims)
    mean, error = mean_and_error(replicas.transpose("replica", ...).to_numpy().astype(float))
    dims = replicas.transpose("replica", ...).dims[1:]
    seen = xr.concat([before["observations"], after["observations"].sel(time=later["time"])], "time")
    merged = before.drop_vars(["P", "P_se", "P_replica", "observations", "time"])
    merged = merged.assign(P_replica=replicas, P=(dims, mean), P_se=(dims, error), observations=seen)
    merged.attrs = dict(before.attrs)
    for name in ("complete", "residual", "residual_se", "decorrelation_time_s"):
        if name in after.attrs:
            merged.attrs[name] = after.attrs[name]
    merged.attrs["jumps_executed"] += after.attrs["jumps_executed"]
    return merged


def in_stages(lattice: Lattice, n_ions: int, run_stage: Callable[[Lattice, int], xr.Dataset]) -> xr.Dataset:
    """The propagator of `run_stage(lattice, 0)`, joined with later stages as long as it is incomplete and they agree.

    Attribute `stages`: how many it is made of. What is slowed, and why there is no further stage, goes to stderr.
    """
    dataset, frequency, cap = run_stage(lattice, 0), frequencies(lattice, n_ions), np.inf
    made = 1
    while not dataset.attrs["complete"]:
        cap = next_cap(frequency, cap, float(dataset["time"][-1]))
        if cap is None:
            break
        slow = [f"{name} {value / cap:.3g}" for name, value in frequency.items() if value > cap]
        print(f"stage {made + 1}: jumps are slower, by factors: {', '.join(slow)}", file=sys.stderr)
        later = run_stage(slowed(lattice, n_ions, cap), made)
        beyond = disagreement(dataset, later, SETTLED / cap)
        if beyond > AGREEMENT:
            print(
                f"warning: stage {made + 1} differs from the one before by {100 * beyond:.2g} % of max P(∞) beyond its "
                f"error: P ends at {float(dataset['time'][-1]):.3g} s",
                file=sys.stderr,
            )
            break
        dataset, made = joined(dataset, later, SETTLED / cap), made + 1
    return dataset.assign_attrs(stages=made)


def followed_in_stages(
    mover: Mover,
    n_ions: int,
    times_of: Callable[[Mover], np.ndarray],
    follow: Callable[[Mover, np.ndarray], np.ndarray],
    ended: Callable[[np.ndarray, np.ndarray], bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) from 0 on and what replicas have at them, (R, T, K), of `follow(mover, times)`.

    Averages over pairs of moments of one history, in as many stages as it takes until they have `ended(times, values)`.
    A stage counts from the last time of the one before; where one of the K differs there by more than AGREEMENT of its
    largest value beyond chance (five standard errors), that stage is left out, which is said. Interacting ions have one
    stage.
    """
    times, cap = times_of(mover), np.inf
    values = follow(mover, times)
    if not isinstance(mover, Lattice):
        return times, values
    frequency = frequencies(mover, n_ions)
    while not ended(times, values) and (cap := next_cap(frequency, cap, times[-1])) is not None:
        slow = slowed(mover, n_ions, cap)
        later = times_of(slow)
        later = later[later > times[-1]]
        if not len(later):
            break
        more = follow(slow, np.array([0.0, times[-1], *later]))[:, 1:]
        step = more[:, 0] - values[:, -1]
        largest = np.abs(values.mean(axis=0)).max(axis=0)
        if (np.abs(step.mean(axis=0)) > AGREEMENT * largest + 5 * error_over_replicas(step)).any():
            print(
                f"warning: where frequent jumps are slowed, averages at {times[-1]:.3g} s differ from those before: "
                "they end there",
                file=sys.stderr,
            )
            break
        times, values = np.append(times, later), np.concatenate([values, more[:, 1:]], axis=1)
    return times, values
