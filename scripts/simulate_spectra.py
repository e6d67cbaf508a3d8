"""Static powder spectrum of an ion hopping among the sites: at rest, exchanging, and in the fast limit.

A line shape needs a generator, which a two-time propagator is not. Here it is the mean-field one of a single tagged
ion, rates k_ij times the mean vacancy 1 - <n_j> of the target: correlations between ions (a jump back into the site
just left is likelier than mean field says) are neglected, so that lines narrow somewhat too early on warming.
"""

import argparse

import pandas as pd
from insilico_nmr.echo import read_site_tensors
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.generator import mean_field_generator
from insilico_nmr.lattice import read_lattice, read_rates
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.sites import concentration
from insilico_nmr.spectra import motional_spectra


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", required=True, help="sites and jumps of the primitive cell (JSON)")
    parser.add_argument("--rates", required=True, help="rate table; its 'model' rows at the temperature are used (CSV)")
    parser.add_argument("--site-tensors", required=True, help="site tensors at the temperature (JSON)")
    parser.add_argument("--temperature", type=float, required=True, help="temperature, K")
    parser.add_argument("--concentration", type=float, help="ions per site, between 0 and 1 (default: the crystal's)")
    parser.add_argument("--isotope", default="7Li", help="observed nucleus (default: %(default)s)")
    parser.add_argument(
        "--lorentz-Hz", type=float, default=500.0, help="Lorentzian full width at half maximum (default: %(default)s)"
    )
    parser.add_argument(
        "--gauss-Hz", type=float, default=0.0, help="Gaussian full width at half maximum (default: %(default)s)"
    )
    parser.add_argument("--out", required=True, help="CSV of the three spectra, area 1 each")
    arguments = parser.parse_args()

    nucleus = quadrupolar_nucleus(arguments.isotope)
    # The generator is that of the primitive cell; three cells each way only keep a jump from ending on its own start.
    lattice = read_lattice(arguments.sites, read_rates(arguments.rates, arguments.temperature), (3, 3, 3))
    states = read_site_tensors(arguments.site_tensors, len(lattice.basis))
    if abs(states.temperature_K - arguments.temperature) > 0.5:
        raise InputError(
            f"{arguments.site_tensors} is at {states.temperature_K:g} K, but --temperature is {arguments.temperature:g}"
        )
    filling = concentration(arguments.sites) if arguments.concentration is None else arguments.concentration
    generator, populations, _ = mean_field_generator(lattice, filling)
    axis_Hz, spectra = motional_spectra(
        generator, populations, states.mean, nucleus, arguments.lorentz_Hz, arguments.gauss_Hz
    )
    table = pd.DataFrame({"temperature_K": arguments.temperature, "frequency_kHz": axis_Hz / 1e3})
    for motion, intensity in spectra.items():
        table[f"{motion}_per_kHz"] = intensity * 1e3
    with atomic_path(arguments.out) as temporary:
        table.to_csv(temporary, index=False)


if __name__ == "__main__":
    run_script(main)
