"""Static powder spectrum of an ion hopping among the sites: at rest, exchanging, and in the fast limit.

The exchange spectrum is that of the Markov process whose correlation function of the tensors is nearest to kinetic
Monte Carlo's (effective_process.py): it keeps the time scales that narrow lines, ways back included, and drops
distributions of times about them. The log says how far the two differ at most.

Errors of all three are kept apart: `…_sd_model`, over the committee, `…_se_sampling`, over replicates of the site
tensors, both widened by Student's t for so few, and `…_sd_dft`. Of the exchange spectrum `…_se_sampling` holds the
scatter over replicas of kinetic Monte Carlo too (a jackknife, of generators that each leave one replica out), and
`…_sd_rates` is its error by the rate model.
"""

import argparse

import numpy as np
import pandas as pd
from insilico_nmr.arguments import not_negative
from insilico_nmr.echo import load_observed
from insilico_nmr.effective_process import generator_of, replicas_of_jackknife, without_one_replica
from insilico_nmr.errors import run_script
from insilico_nmr.few_values import error_of_sets, error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.powder import SPREAD_DIRECTIONS
from insilico_nmr.spectra import motional_spectra
from insilico_nmr.tables import significant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--propagator", required=True, help="two-time propagator of kinetic Monte Carlo (NetCDF)")
    parser.add_argument("--site-tensors", required=True, help="site tensors at its temperature (JSON)")
    parser.add_argument(
        "--moved", nargs="*", default=[], metavar="PROPAGATOR",
        help="propagators at that temperature with the rate model moved by one standard deviation, for its error",
    )  # fmt: skip
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument(
        "--lorentz-Hz",
        type=not_negative,
        default=500.0,
        help="Lorentzian full width at half maximum (default: %(default)s)",
    )
    parser.add_argument(
        "--gauss-Hz", type=not_negative, default=0.0, help="Gaussian full width at half maximum (default: %(default)s)"
    )
    parser.add_argument("--out", required=True, help="CSV of the three spectra, area 1 each, and their errors")
    arguments = parser.parse_args()

    nucleus = quadrupolar_nucleus(arguments.isotope)
    propagator, states = load_observed(arguments.propagator, arguments.site_tensors, nucleus.isotope)
    generator = generator_of(propagator, states.mean)
    widths = arguments.lorentz_Hz, arguments.gauss_Hz
    axis_Hz, spectra = motional_spectra(generator, propagator.limit, states.mean, nucleus, *widths)
    table = pd.DataFrame({"temperature_K": propagator.temperature_K, "frequency_kHz": axis_Hz / 1e3})
    for motion, intensity in spectra.items():
        table[f"{motion}_per_kHz"] = intensity * 1e3

    def others(process: np.ndarray, limit: np.ndarray, tensors: np.ndarray, *count: int) -> dict[str, np.ndarray]:
        """The three spectra of others, on the axis of these."""
        axis, found = motional_spectra(process, limit, tensors, nucleus, *widths, *count)
        return {motion: np.interp(axis_Hz, axis, intensity, left=0, right=0) for motion, intensity in found.items()}

    for error, sets in (("sd_model", states.members), ("se_sampling", states.samples), ("sd_dft", states.scaled)):
        found = [others(generator, propagator.limit, tensors, SPREAD_DIRECTIONS) for tensors in sets]
        for motion in spectra:
            table[f"{motion}_{error}_per_kHz"] = error_of_sets(error, [each[motion] for each in found]) * 1e3
    fewer = [
        others(process, propagator.limit, states.mean, SPREAD_DIRECTIONS)["exchange"]
        for _, process in without_one_replica(propagator, states.mean)
    ]
    of_replicas = error_over_replicas(replicas_of_jackknife(spectra["exchange"], np.array(fewer))) * 1e3
    of_tensors = table["exchange_se_sampling_per_kHz"].fillna(0.0)
    table["exchange_se_sampling_per_kHz"] = np.hypot(of_tensors, of_replicas)
    changes = []
    for path in arguments.moved:
        moved, _ = load_observed(path, arguments.site_tensors, nucleus.isotope)
        process = generator_of(moved, states.mean)
        changes.append(others(process, moved.limit, states.mean)["exchange"] - spectra["exchange"])
    of_rates = np.sqrt(np.square(changes).sum(axis=0)) * 1e3 if changes else np.nan
    table["exchange_sd_rates_per_kHz"] = of_rates
    errors = [name for name in table if "_sd_" in name or "_se_" in name]
    table[errors] = significant(table[errors], 3)
    with atomic_path(arguments.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
