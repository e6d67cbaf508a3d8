"""Two-dimensional exchange spectra of the satellites at one temperature, for several mixing times.

Jumps during mixing are kinetic Monte Carlo's. Those during both evolution periods are of the Markov process of
simulate_spectra.py. Of a powder, or of a single crystal (--direction).

`elsewhere`: the part of the ions that has another tensor than before mixing; `elsewhere_se_sampling`: its standard
error over replicas; `elsewhere_sd_rates`: its standard deviation by the rate model, from propagators of that model
moved (--moved), empty without. Beyond the last time of a moved propagator its part stays what it is there. Mixing times
that the propagator does not know are left out.
"""

import argparse
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
from insilico_nmr.arguments import not_negative, positive
from insilico_nmr.echo import equal_tensors, is_known, load_observed
from insilico_nmr.effective_process import generator_of
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.exchange import exchange_spectra, frequency_axis, joint_at
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tables import significant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--propagator", required=True, help="two-time propagator of one temperature (NetCDF)")
    parser.add_argument("--moved", nargs="*", default=[], help="those of the rate model moved by one s.d. (NetCDF)")
    parser.add_argument("--site-tensors", required=True, help="site tensors at that temperature (JSON)")
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument("--mixing-times-s", type=not_negative, nargs="+", required=True, help="s")
    parser.add_argument("--points", type=int, default=64, help="in each dimension (default: %(default)s)")
    parser.add_argument(
        "--gauss-Hz", type=positive, default=2000.0, help="full width at half maximum (default: %(default)s)"
    )
    parser.add_argument(
        "--direction", type=float, nargs=3, metavar=("X", "Y", "Z"), help="of the field in a single crystal, Cartesian"
    )
    parser.add_argument("--out", required=True, help="CSV: mixing time, both frequencies, intensity")
    arguments = parser.parse_args()
    if arguments.points < 8:
        raise InputError(f"--points {arguments.points}: expected 8 or more")

    nucleus = quadrupolar_nucleus(arguments.isotope)
    propagator, states = load_observed(arguments.propagator, arguments.site_tensors, nucleus.isotope)
    moved = [load_observed(path, arguments.site_tensors, nucleus.isotope)[0] for path in arguments.moved]
    axis = frequency_axis(states.mean, nucleus, arguments.points)
    first, second = (grid.ravel() / 1e3 for grid in np.meshgrid(axis, axis, indexing="ij"))
    generator = generator_of(propagator, states.mean)
    mixing_times_s = [time for time in arguments.mixing_times_s if is_known(propagator, time)]
    if not mixing_times_s:
        raise InputError(
            f"--mixing-times-s: all longer than the lags of {arguments.propagator}, which end at "
            f"{propagator.time_s[-1]:.3g} s, before its limit"
        )
    for time in sorted(set(arguments.mixing_times_s) - set(mixing_times_s)):
        # Of one temperature of a study, the others go on.
        print(f"warning: no spectrum of {time:g} s: the propagator ends at {propagator.time_s[-1]:.3g} s, before its "
              "limit; run kinetic Monte Carlo of more events", file=sys.stderr)  # fmt: skip
    alike = equal_tensors(states.mean)

    def changed(joint: np.ndarray) -> float:
        """The part of the ions that has another tensor, of a joint probability (S, S)."""
        return 1 - joint[alike].sum()

    joints = np.array([joint_at(propagator, time) for time in mixing_times_s])
    spectra = exchange_spectra(
        generator, propagator.populations, joints, states.mean, nucleus, axis, arguments.gauss_Hz, arguments.direction
    )
    tables = []
    for time, joint, spectrum in zip(mixing_times_s, joints, spectra, strict=True):
        elsewhere = changed(joint)
        replicas = [changed(joint_at(replace(propagator, joint=one), time)) for one in propagator.replicas]
        changes = [changed(joint_at(other, min(time, other.time_s[-1]))) - elsewhere for other in moved]
        tables.append(
            pd.DataFrame(
                {
                    "temperature_K": propagator.temperature_K,
                    "mixing_time_s": time,
                    "elsewhere": elsewhere,
                    "elsewhere_se_sampling": error_over_replicas(np.array(replicas)),
                    "elsewhere_sd_rates": np.linalg.norm(changes) if moved else np.nan,
                    "first_kHz": first,
                    "second_kHz": second,
                    "intensity_per_kHz2": spectrum.ravel() * 1e6,
                }
            )
        )
    table = pd.concat(tables)
    table[["intensity_per_kHz2"]] = significant(table[["intensity_per_kHz2"]], 4)
    with atomic_path(arguments.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
