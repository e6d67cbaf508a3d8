"""Quadrupolar relaxation rates by hops at one temperature, in each field, of a powder or a single crystal.

One row a field and quantity: R1 (initial slope of the recovery) and, for spin 3/2, R1_recovery (1/t when 1/e of it is
left), R1_fast and R1_slow (its exponentials, of weights 1/5 and 4/5), R1Q, R2_central, R2_satellites. Of a powder
R1_recovery is that of the sum of crystallites, how they differ being taken from the sites' mean tensors, while what
surroundings add relaxes all alike; other rates are those of spectral densities averaged over the powder, initial slopes
of what the crystallites do.
`se_sampling_per_s` is the standard error over replicas of kinetic Monte Carlo (Student's t) and replicates of the site
tensors, `sd_model_per_s` the error by the committee, `sd_dft_per_s` by DFT. `valid` is 0 where
hops are too slow for second-order theory, `complete` 0 where kinetic Monte Carlo ended before the tensors had
forgotten, so that slow parts of the motion are missing. `by_surroundings_per_s` is the part that tensors which depend
on filled neighbours add (--surroundings; else 0). `shift` is that of the propagator: 0, or the direction along which
the rate model was moved.
"""

import argparse

import numpy as np
import pandas as pd
from insilico_nmr import relaxation
from insilico_nmr.arguments import positive
from insilico_nmr.echo import Propagator, SiteTensors, contract, load_observed
from insilico_nmr.errors import run_script
from insilico_nmr.few_values import error_of_sets, error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.fluctuations import Fluctuations, read_fluctuations
from insilico_nmr.nuclei import Nucleus, quadrupolar_nucleus
from insilico_nmr.powder import lebedev
from scipy.special import eval_legendre

NOTHING = 1e-9  # of ⟨V:V⟩: rounding, where tensors do not fluctuate
DEGREE = 9  # of Lebedev's rule over crystallites whose decays are fitted: exact for products of rank 4 with rank 4
EVERY = 41  # of the one over all crystallites
LEFT = 0.02  # of C(0), that may be left at the last time of a complete correlation function


def decays_of(
    time_s: np.ndarray, remaining: np.ndarray, decayed: np.ndarray, errors: np.ndarray
) -> list[list[relaxation.Decay]]:
    """For each of n times C for some m: C(t) and C(0) − C(t), (n, M, T), with errors (M, T)."""
    return [
        [relaxation.fit_decay(time_s, *values) for values in zip(*of_one, errors, strict=True)]
        for of_one in zip(remaining, decayed, strict=True)
    ]


def whole_decays(decays: list, added: np.ndarray, around: Fluctuations) -> list:
    """Decays of n times C for m = 0, 1, 2 with what surroundings add to each, (n, 3, T)."""
    replicas = np.moveaxis(around.correlation, 1, 0)
    return [
        [
            relaxation.with_surroundings(one, around.time_s, *more)
            for one, *more in zip(of_one, some, replicas, strict=True)
        ]
        for of_one, some in zip(decays, added, strict=True)
    ]


def crystallites(propagator: Propagator, tensors: np.ndarray) -> list[list[relaxation.Decay]]:
    """Decays of C for m = 1, 2 of the mean tensors (S, 3, 3), in crystallites along Lebedev's directions of DEGREE."""
    left, left_of_replicas = (P - propagator.limit[..., None] for P in (propagator.joint, propagator.replicas))
    found = []
    for direction in lebedev(DEGREE)[0]:
        kernels = relaxation.fluctuation_kernels(tensors, direction)[1:]
        decayed = contract(relaxation.decay_kernel(kernels), propagator.joint)
        errors = error_over_replicas(contract(kernels, left_of_replicas))
        found += decays_of(propagator.time_s, contract(kernels, left)[None], decayed[None], errors)
    return found


def later_than_slope(
    decays: list[list[relaxation.Decay]], nucleus: Nucleus, field_T: float, alike: dict[str, float]
) -> float:
    """R1_recovery of a powder over its R1, by decays of `crystallites` and what relaxes them all alike (`R1_fast` and
    `R1_slow`, 1/s); 1 where nothing relaxes."""
    some, weights = lebedev(DEGREE)
    directions, shares = lebedev(EVERY)
    # Of m = 0, which populations do not feel, any decay will do.
    rates = [relaxation.relaxation_rates([of_one[0], *of_one], nucleus, field_T) for of_one in decays]
    # Spectral densities are of rank 4 in the direction, so that those of a few directions tell all.
    cosine = directions @ some.T
    spread = sum((2 * rank + 1) * eval_legendre(rank, cosine) for rank in (0, 2, 4)) * weights
    fast, slow = (np.maximum(spread @ [of[name] for of in rates] + alike[name], 0) for name in ("R1_fast", "R1_slow"))
    slope = float(shares @ (0.2 * fast + 0.8 * slow))
    return relaxation.recovery_rate(fast, slow, shares) / slope if slope > 0 else 1.0


def with_recovery(rates: dict[str, float], later: float | None) -> dict[str, float]:
    """`relaxation_rates` of spin 3/2 with R1_recovery after R1: of one crystal, or `later_than_slope` times R1."""
    if later is None:
        fast, slow = (np.array([rates[name]]) for name in ("R1_fast", "R1_slow"))
        recovery = relaxation.recovery_rate(fast, slow, np.ones(1))
    else:
        recovery = later * rates["R1"]
    return {"R1": rates["R1"], "R1_recovery": recovery} | rates


def fluctuates(kernels: np.ndarray, populations: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Whether an ion's parts of the tensors change beyond rounding, (...,), by their kernels (..., S, S) and P(∞).

    Along a common axis of all tensors, for example, nothing flips a spin: what rounding leaves would relax it.
    """
    square = np.einsum("...aa,a->...", kernels, populations)
    apart = square - np.einsum("...ab,ab->...", kernels, limit)
    return apart > NOTHING * square.max(axis=-1, keepdims=True)


def rows_of(
    propagator: Propagator,
    states: SiteTensors,
    nucleus: Nucleus,
    fields_T: list[float],
    direction: list[float] | None,
    around: Fluctuations | None = None,
) -> list[dict]:
    """The rows of the table; `around`: what surroundings add."""
    propagator, counts = relaxation.completed(propagator, states.mean)
    sets = [states.mean[None], states.members, states.samples, states.scaled]
    kernels = np.array([relaxation.fluctuation_kernels(tensors, direction) for tensors in np.concatenate(sets)])
    kernels[~fluctuates(kernels, propagator.populations, propagator.limit)] = 0
    limit = propagator.limit[..., None]
    remaining = contract(kernels, propagator.joint - limit)
    decayed = contract(relaxation.decay_kernel(kernels), propagator.joint)
    of_replicas = contract(kernels[0], propagator.replicas - limit)
    errors = np.hypot(error_over_replicas(of_replicas), decayed[0] / np.sqrt(counts))
    decays = decays_of(propagator.time_s, remaining, decayed, errors)
    by_replica = decays_of(
        propagator.time_s, of_replicas, contract(relaxation.decay_kernel(kernels[0]), propagator.replicas), errors
    )
    of_means, start, end = decays[0], remaining[0, 0, 0], abs(remaining[0, 0, -1])
    if around is not None:
        added = around.correlation_at(around.time_s)
        of_members = around.scales_of_members(len(states.members))
        squares = np.concatenate([[1.0], of_members, np.ones(len(states.samples)), states.scales**2])[:, None, None]
        decays = whole_decays(decays, squares * added.mean(axis=0), around)
        by_replica = whole_decays(by_replica, added, around)
        start, end = start + added[:, 0, 0].mean(), end + (0 if around.decayed else abs(added[:, 0, -1].mean()))
    (mean,), *by_set = np.split(np.array(decays, object), np.cumsum([len(tensors) for tensors in sets])[:-1])
    whole = float(np.diag(kernels[0, 0]) @ propagator.populations)
    apart_Hz = relaxation.satellite_offset_Hz(propagator.limit, states.mean, nucleus, direction)
    powder = crystallites(propagator, states.mean) if direction is None and nucleus.spin == 1.5 else None
    rows = []
    for field in fields_T:
        found = [
            [relaxation.relaxation_rates(some, nucleus, field, apart_Hz) for some in fits]
            for fits in ([mean, of_means], by_replica, *by_set)
        ]
        if nucleus.spin == 1.5:
            (whole_rates, of_sites), later = found[0], None
            if powder is not None:
                by_surroundings = {name: whole_rates[name] - of_sites[name] for name in ("R1_fast", "R1_slow")}
                later = later_than_slope(powder, nucleus, field, by_surroundings)
            found = [[with_recovery(rates, later) for rates in some] for some in found]
        (rates, by_means), *scattered = found
        of_replicas, of_members, of_samples, of_scaled = (pd.DataFrame(some, columns=list(rates)) for some in scattered)
        for name, rate in rates.items():
            model, tensors, dft = (
                error_of_sets(error, some[name])
                for error, some in (("sd_model", of_members), ("se_sampling", of_samples), ("sd_dft", of_scaled))
            )
            rows.append(
                {
                    "temperature_K": propagator.temperature_K,
                    "field_T": field,
                    "larmor_MHz": abs(nucleus.gamma) * field / (2e6 * np.pi),
                    "shift": propagator.shift,
                    "quantity": name,
                    "rate_per_s": rate,
                    "by_surroundings_per_s": rate - by_means[name],
                    "se_sampling_per_s": np.hypot(
                        float(error_over_replicas(of_replicas[name].to_numpy())), np.nan_to_num(tensors)
                    ),
                    "sd_model_per_s": model,
                    "sd_dft_per_s": dft,
                    "correlation_time_s": mean[0].correlation_time_s,
                    "valid": int(relaxation.second_order_holds(rate, mean)),
                    "complete": int(end <= max(LEFT * start, NOTHING * whole)),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--propagator", required=True, help="two-time propagator of one temperature (NetCDF)")
    parser.add_argument("--site-tensors", required=True, help="site tensors at that temperature (JSON)")
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument("--fields-T", type=positive, nargs="+", required=True, help="magnetic fields, T")
    parser.add_argument(
        "--direction", type=float, nargs=3, metavar=("X", "Y", "Z"), help="of the field in a single crystal, Cartesian"
    )
    parser.add_argument("--surroundings", help="what filled neighbours add, NetCDF of correlate_surroundings.py")
    parser.add_argument("--out", required=True, help="CSV")
    arguments = parser.parse_args()

    nucleus = quadrupolar_nucleus(arguments.isotope)
    propagator, states = load_observed(arguments.propagator, arguments.site_tensors, nucleus.isotope)
    around = None
    if arguments.surroundings:
        around = read_fluctuations(arguments.surroundings, propagator, arguments.direction)
    table = pd.DataFrame(rows_of(propagator, states, nucleus, arguments.fields_T, arguments.direction, around))
    with atomic_path(arguments.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
