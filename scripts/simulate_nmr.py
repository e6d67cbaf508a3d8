"""Tensor correlation function and spin-alignment echoes at one temperature, with fits, of spin 1 or 3/2.

Reads the two-time propagator and the site tensors, writes three tidy tables. Errors are given apart: *_se_sampling is
the standard error over replicas of the propagator (of the matrix form a jackknife, of processes too) and over the
replicates of the site tensors (the interval of 1/τ holds both); *_sd_model is the standard deviation over the tensor
committee; both are widened by Student's t so that 1.96 of them is a 95 % interval. *_sd_dft is the standard deviation
of DFT from experiment (empty where the site tensors do not say). All are given for normalised curves too, of replicas,
members, replicates and scaled tensors each over its own start; there the correlation function has no error of DFT,
which is a common factor.

With --surroundings, tensors depend on which neighbours are filled: what that adds to the means of sites
(`insilico_nmr.fluctuations`) is in the curves, and by itself in columns `…_by_surroundings`. In an echo that is so
where surroundings are `frozen` during an evolution time (column `surroundings`). Where they are `averaged`, phases
evolve with the means; where `changing`, neither is true, and the echo is that of the means: simulate_paths.py has the
whole.

`form` of an echo is "frozen" where hardly an ion jumps while the phases evolve, else "matrix", with jumps then by the
Markov process of effective_process.py (flag "jumps_during_evolution": 1/τ is not that of jumps alone; column
`process_misfit`: how far its tensor correlation is from kinetic Monte Carlo's at most, over its start). Evolution times
beyond the propagator's lags, of which it does not tell whether ions jump, have the flag "evolution_beyond_the_lags":
they are no echoes and have no fit.

`tensor_change_rate_per_s` is that of jumps to a site of another tensor, of which alone an echo tells; 1/τ is given
over it and over the rate of all jumps.

`continued` is 1 at mixing times beyond those that kinetic Monte Carlo sampled (continuation.py). `complete` is 1 where
at most 10 % of a curve's decay to its limit is left at the last mixing time. A fit is "ok" where it converged, its
curve is complete and its reduced chi-squared is at most 20; 1/τ is that of its first stage, `slow_amplitude` and
`slow_tau_s` belong to the second, if there is one. `…_correlation` are the correlation coefficients of two parameters
of the first stage (ln τ for τ), which with their errors are its covariance.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import pandas as pd
from insilico_nmr import echo
from insilico_nmr.arguments import positive
from insilico_nmr.effective_process import generator_of, misfit, replicas_of_jackknife, without_one_replica
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_of_sets, error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.fits import CORRELATIONS, JUMPING, FitFailed, fit_decay, fit_replicas
from insilico_nmr.fluctuations import read_fluctuations
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.powder import SPREAD_DIRECTIONS
from insilico_nmr.tables import read_table

# What may be left of a decay at the last mixing time of a curve that is complete.
INCOMPLETE_ABOVE = 0.1
# Errors have a floor of 1e-3 of the start (fits.py): such a fit is off by 0.4 % of it or more, many times its error.
LARGEST_CHI_SQUARE = 20.0
NO_ECHO = {"complete": 0, "status": "no echo: whether ions jump while phases evolve is not known"}


def left_of_decay(mean: np.ndarray, limit: float) -> float:
    """Part of the decay from mean[0] to the limit at infinite time that lies beyond the last point of a curve (T,)."""
    return float((mean[-1] - limit) / (mean[0] - limit)) if mean[0] > limit else 0.0


def fit_row(
    time_s: np.ndarray,
    replicas: np.ndarray,
    members: np.ndarray,
    t1q_s: float | None,
    left: float,
    scaled: Sequence[np.ndarray] = (),
    samples: Sequence[np.ndarray] = (),
    stages: int | None = None,
) -> dict[str, float | str]:
    """Cells of one fit: of the mean over replicas' curves (R, T), and the spread of 1/τ over the members' (M, T) and
    over those of `scaled` tensors (2, T). The scatter over `samples`, curves (N, T) of replicates of the tensors, goes
    into the interval.

    A fit that fails leaves the cells of its numbers empty and says why, with the last parameters, in `status`. One of a
    curve of which `left` of the decay is missing, or that does not follow it, has its numbers and says so there. Of
    replicates those whose fits fail are left out; where fewer than two are left, there is no interval. A fit of so many
    `stages` is tried first, where they are given.
    """
    try:
        try:
            fit = fit_replicas(time_s, replicas, t1q_s, stages)
        except FitFailed:
            if stages is None:
                raise
            fit = fit_replicas(time_s, replicas, t1q_s)
    except FitFailed as failure:
        return {"status": str(failure), "complete": int(left <= INCOMPLETE_ABOVE)}
    row = {
        "tau_s": fit.tau_s,
        "tau_se_s": fit.tau_se_s,
        "beta": fit.beta,
        "beta_se": fit.beta_se,
        "amplitude": fit.amplitude,
        "amplitude_se": fit.amplitude_se,
        "plateau": fit.plateau,
        "plateau_se": fit.plateau_se,
        "slow_amplitude": fit.slow_amplitude,
        "slow_tau_s": fit.slow_tau_s,
        "mean_decay_time_s": fit.mean_decay_time_s,
        "mean_decay_time_se_s": fit.mean_decay_time_se_s,
        **fit.correlations,
        "rate_per_s": 1 / fit.tau_s,
        "reduced_chi_square": fit.reduced_chi_square,
        "complete": int(left <= INCOMPLETE_ABOVE),
        "status": "ok",
    }
    if left > INCOMPLETE_ABOVE:
        row["status"] = f"incomplete: {100 * left:.0f} % of the decay lies beyond the last mixing time"
    elif fit.reduced_chi_square > LARGEST_CHI_SQUARE:
        row["status"] = f"poor fit: reduced chi-squared {fit.reduced_chi_square:.2g}"
    error = error_over_replicas(replicas)

    def rates(curves: Sequence[np.ndarray]) -> tuple[list[float], list[FitFailed]]:
        """1/τ of curves (n, T), and of those that have none, why."""
        found, failures = [], []
        for curve in curves:
            try:
                found.append(1 / fit_decay(time_s, curve, error, t1q_s, fit.stages).tau_s)
            except FitFailed as failure:
                failures.append(failure)
        return found, failures

    for kind, curves, who in (("sd_model", members, "a committee member"), ("sd_dft", scaled, "scaled tensors")):
        found, failures = rates(curves)
        if failures:
            row["status"] += f"; of the mean only, {who}: {failures[0]}"
        else:
            row[f"rate_{kind}_per_s"] = error_of_sets(kind, found)
    found, failures = rates(samples)
    if failures:
        row["status"] += f"; {len(failures)} of {len(samples)} replicates of the tensors have no fit: {failures[0]}"
    of_tensors = error_of_sets("se_sampling", found) if len(samples) > 1 else 0.0  # a single one tells of no error
    log_error = np.hypot(fit.log_tau_se, of_tensors * fit.tau_s)
    row["rate_ci_low_per_s"], row["rate_ci_high_per_s"] = np.exp(np.array([-1.96, 1.96]) * log_error) / fit.tau_s
    return row


def stages_of(path: str | None) -> dict[tuple[str, float], int]:
    """Stages that curves were fitted with, by observable and evolution time in µs (0 of a curve that has none)."""
    if path is None:
        return {}
    fits = read_table(path, ["evolution_time_us", "tau_s", "slow_amplitude"], ["observable"])
    fitted = fits[fits["tau_s"].notna()].fillna({"evolution_time_us": 0.0})
    return {(row.observable, row.evolution_time_us): 2 if row.slow_amplitude else 1 for row in fitted.itertuples()}


def sampling_error(replicas: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Standard error (T,) of curves: over replicas of kinetic Monte Carlo (R, T), and over replicates of the site
    tensors (N, T), where there are any."""
    return np.hypot(error_over_replicas(replicas), np.nan_to_num(error_of_sets("se_sampling", samples)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--propagator", required=True, help="two-time propagator of one temperature (NetCDF)")
    parser.add_argument("--site-tensors", required=True, help="site tensors at that temperature (JSON)")
    parser.add_argument("--isotope", required=True, help="observed nucleus, of spin 1 or 3/2, such as 7Li")
    parser.add_argument(
        "--evolution-times-us",
        type=positive,
        nargs="+",
        default=[5, 10, 20, 50, 100],
        help="evolution times t_p of the echo, microseconds (default: 5 10 20 50 100)",
    )
    parser.add_argument(
        "--t1q-s", type=positive, help="quadrupolar relaxation time during mixing, s; damps S2 and is held in its fit"
    )
    parser.add_argument(
        "--direction", type=float, nargs=3, metavar=("X", "Y", "Z"),
        help="of the field in a single crystal, Cartesian as its cell: the echoes are of that (default: a powder)",
    )  # fmt: skip
    parser.add_argument(
        "--stages-of",
        help="fits of the rate model as it is, CSV: those of a moved one have as many stages where they can",
    )
    parser.add_argument("--surroundings", help="what filled neighbours add, NetCDF of correlate_surroundings.py")
    parser.add_argument("--out-echo", required=True, help="CSV of S2(t_p, t_m)")
    parser.add_argument("--out-correlation", required=True, help="CSV of the tensor correlation function")
    parser.add_argument("--out-fits", required=True, help="CSV of fits, one row for each curve")
    arguments = parser.parse_args()

    nucleus = quadrupolar_nucleus(arguments.isotope)
    propagator, states = echo.load_observed(arguments.propagator, arguments.site_tensors, nucleus.isotope)
    if len(states.members) < 2:
        print("fewer than two committee members: the *_sd_model columns stay empty", file=sys.stderr)

    around = None
    scales = np.ones(len(states.members))
    if arguments.surroundings:
        around = read_fluctuations(arguments.surroundings, propagator, arguments.direction)
        scales = around.scales_of_members(len(states.members))
    time_s, joint = propagator.time_s, propagator.joint
    continued = (time_s > propagator.sampled_until_s).astype(int)
    exit_rate = propagator.exit_rate_per_s
    common = {"temperature_K": propagator.temperature_K, "shift": propagator.shift}
    to_another = float((propagator.flux * ~echo.equal_tensors(states.mean)).sum())
    jumps = {"exit_rate_per_s": exit_rate, "mean_jump_time_s": 1 / exit_rate, "tensor_change_rate_per_s": to_another}
    fits, stages = [], stages_of(arguments.stages_of)

    kernel = echo.tensor_kernel(states.mean)
    by_replica = np.zeros((1, len(time_s))) if around is None else around.contraction_at(time_s)
    added = by_replica.mean(axis=0)
    correlation = echo.contract(kernel, joint) + added
    replicas = echo.contract(kernel, propagator.replicas) + by_replica
    members = echo.contract(echo.tensor_kernel(states.members), joint) + scales[:, None] * added
    samples = echo.contract(echo.tensor_kernel(states.samples), joint) + added
    scaled = echo.contract(echo.tensor_kernel(states.scaled), joint) + states.scales[:, None] ** 2 * added
    error = sampling_error(replicas, samples)
    normalised = members / members[:, :1]
    start = propagator.populations @ np.diag(kernel) + added[0]
    if not start > 0:
        raise InputError(f"{arguments.site_tensors}: every tensor vanishes; there is no quadrupolar signal to follow")
    ratio = ((kernel * propagator.limit).sum() + added[-1]) / start
    left = left_of_decay(correlation, ratio * start)
    factor = echo.frequency_correlation_factor(nucleus)
    correlation_table = pd.DataFrame(
        {
            **common,
            "mixing_time_s": time_s,
            "tensor_correlation_au2": correlation,
            "tensor_correlation_se_sampling_au2": error,
            "tensor_correlation_sd_model_au2": error_of_sets("sd_model", members),
            "tensor_correlation_sd_dft_au2": error_of_sets("sd_dft", scaled),
            "frequency_correlation_Hz2": factor * correlation,
            "frequency_correlation_se_sampling_Hz2": factor * error,
            "tensor_correlation_by_surroundings_au2": added,
            "normalised": correlation / start,
            "normalised_se_sampling": sampling_error(replicas / start, samples / samples[:, :1]),
            "normalised_sd_model": error_of_sets("sd_model", normalised),
            "continued": continued,
            "complete": int(left <= INCOMPLETE_ABOVE),
        }
    )
    fits.append(
        {
            **common,
            "observable": "tensor_correlation",
            **jumps,
            **fit_row(
                time_s,
                replicas / start,
                normalised,
                None,
                left,
                samples=samples / samples[:, :1],
                stages=stages.get(("tensor_correlation", 0.0)),
            ),
            "plateau_ratio": ratio,
            "flag": "ok",
        }
    )

    @cache
    def generator() -> np.ndarray:
        return generator_of(propagator, states.mean)

    @cache
    def misfit_of_generator() -> float:
        return misfit(propagator, states.mean, generator())

    @cache
    def jackknife() -> list[tuple[np.ndarray, np.ndarray]]:
        return without_one_replica(propagator, states.mean)

    damping = echo.spin_lattice_damping(time_s, arguments.t1q_s)
    jumps_during = {
        time: echo.jumps_during_evolution(joint, time_s, 1e-6 * time, states.mean)
        for time in arguments.evolution_times_us
    }
    beyond = [time for time, so in jumps_during.items() if not (so or echo.is_known(propagator, 1e-6 * time))]
    if beyond:
        # Flagged and not refused: of one temperature of a study, or of a moved model, the others go on.
        print(
            f"warning: --evolution-times-us {' '.join(map('{:g}'.format, beyond))}: longer than the lags of "
            f"{arguments.propagator}, which end at {time_s[-1]:.3g} s: whether ions jump during them is not known, and "
            "they are no echoes (flag evolution_beyond_the_lags); run kinetic Monte Carlo of more events",
            file=sys.stderr,
        )
    echo_tables = []
    for evolution_time_us in arguments.evolution_times_us:
        evolution_time_s = evolution_time_us * 1e-6
        jumping, known = jumps_during[evolution_time_us], evolution_time_us not in beyond
        flag = JUMPING if jumping else "ok" if known else "evolution_beyond_the_lags"
        kernel_of = spread_kernel_of = echo.evolution_kernel
        if jumping:
            kernel_of = partial(echo.matrix_kernel, generator(), propagator.populations)
            fewer_directions = partial(echo.matrix_kernel, most_directions=SPREAD_DIRECTIONS)
            spread_kernel_of = partial(fewer_directions, generator(), propagator.populations)
        how = {"evolution_time_s": evolution_time_s, "nucleus": nucleus, "direction": arguments.direction}
        kernel = kernel_of(states.mean, **how)
        if not jumping and not np.diag(kernel) @ propagator.populations > 0:
            raise InputError(f"--direction {arguments.direction}: no site has a quadrupolar frequency along it")
        by_replica, surroundings = np.zeros((1, len(time_s))), ""
        if around is not None:
            by_replica, surroundings = around.echo_at(evolution_time_s, time_s), around.during(evolution_time_s)
        if jumping and surroundings == "frozen":  # but the ions themselves do not stay
            by_replica, surroundings = 0 * by_replica, "changing"
        added = by_replica.mean(axis=0)
        signal = echo.frozen_echo(joint, kernel, nucleus) + added
        if jumping:  # processes have errors as propagators have
            fewer = [
                echo.frozen_echo(others, fewer_directions(process, propagator.populations, states.mean, **how), nucleus)
                for others, process in jackknife()
            ]
            of_replicas = replicas_of_jackknife(signal - added, np.array(fewer))
        else:
            of_replicas = echo.frozen_echo(propagator.replicas, kernel, nucleus)
        replicas = damping * (of_replicas + by_replica)
        limit = echo.amplitude(nucleus) * (kernel * propagator.limit).sum() + added[-1]
        ratio = limit / signal[0] if signal[0] > 0 else 1.0
        left = left_of_decay(signal, limit)
        members, samples, scaled = (
            np.array(
                [
                    damping * (echo.frozen_echo(joint, spread_kernel_of(tensors, **how), nucleus) + scale * added)
                    for tensors, scale in zip(sets, of_set, strict=True)
                ]
            ).reshape(len(sets), len(time_s))
            for sets, of_set in (
                (states.members, scales),
                (states.samples, np.ones(len(states.samples))),
                (states.scaled, np.ones(len(states.scaled))),
            )
        )
        echo_tables.append(
            pd.DataFrame(
                {
                    **common,
                    "evolution_time_us": evolution_time_us,
                    "mixing_time_s": time_s,
                    "S2": damping * signal,
                    "S2_by_surroundings": damping * added,
                    "S2_se_sampling": sampling_error(replicas, samples),
                    "S2_sd_model": error_of_sets("sd_model", members),
                    "S2_sd_dft": error_of_sets("sd_dft", scaled),
                    "S2_normalised_se_sampling": sampling_error(replicas / replicas[:, :1], samples / samples[:, :1]),
                    "S2_normalised_sd_model": error_of_sets("sd_model", members / members[:, :1]),
                    "S2_normalised_sd_dft": error_of_sets("sd_dft", scaled / scaled[:, :1]),
                    "continued": continued,
                    "complete": int(left <= INCOMPLETE_ABOVE),
                    "form": "matrix" if jumping else "frozen",
                    "surroundings": surroundings,
                    "flag": flag,
                }
            )
        )
        like = stages.get(("spin_alignment_echo", evolution_time_us))
        fits.append(
            {
                **common,
                "observable": "spin_alignment_echo",
                "evolution_time_us": evolution_time_us,
                "t1q_s": arguments.t1q_s,
                **jumps,
                **(
                    fit_row(time_s, replicas, members, arguments.t1q_s, left, scaled, samples, like)
                    if known
                    else NO_ECHO
                ),
                "plateau_ratio": ratio,
                "flag": flag,
                "process_misfit": misfit_of_generator() if jumping else np.nan,
            }
        )

    fit_table = pd.DataFrame(fits).reindex(
        columns=[
            "temperature_K",
            "observable",
            "shift",
            "evolution_time_us",
            "t1q_s",
            "rate_per_s",
            "rate_ci_low_per_s",
            "rate_ci_high_per_s",
            "rate_sd_model_per_s",
            "rate_sd_dft_per_s",
            "exit_rate_per_s",
            "mean_jump_time_s",
            "tensor_change_rate_per_s",
            "rate_over_exit_rate",
            "rate_over_tensor_change_rate",
            "tau_s",
            "tau_se_s",
            "beta",
            "beta_se",
            "amplitude",
            "amplitude_se",
            "plateau",
            "plateau_se",
            *CORRELATIONS,
            "slow_amplitude",
            "slow_tau_s",
            "mean_decay_time_s",
            "mean_decay_time_se_s",
            "reduced_chi_square",
            "plateau_ratio",
            "complete",
            "flag",
            "process_misfit",
            "status",
        ]
    )
    # N/(N−1) for N equal, all-connected sites; what a reading of τ as a jump time would miss.
    fit_table["rate_over_exit_rate"] = fit_table["rate_per_s"] / exit_rate
    fit_table["rate_over_tensor_change_rate"] = fit_table["rate_per_s"] / to_another if to_another > 0 else np.nan
    powder = arguments.direction is None  # limits are those of a powder
    for name, limit in (("short", echo.plateau_short_evolution), ("long", echo.plateau_long_evolution)):
        fit_table[f"plateau_ratio_{name}_evolution"] = limit(propagator.limit, states.mean) if powder else np.nan
    for path, table in (
        (arguments.out_echo, pd.concat(echo_tables)),
        (arguments.out_correlation, correlation_table),
        (arguments.out_fits, fit_table),
    ):
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.9g")


if __name__ == "__main__":
    run_script(main)
