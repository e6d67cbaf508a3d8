"""Spectra of a static or spinning powder: central line and satellites in first and second order, by mrsimulator.

`rigid` are ions at rest on their sites, weighed by populations; `fast` is the limit of jumps much faster than the
couplings, the spectrum of the population-averaged tensor (of each part of a network by itself). What lies between is
not modelled: the log says after what time an ion's tensor has forgotten half of what it forgets, beside the period of
the widest splitting. Where a state of the site tensors has the key `shielding`, shieldings are in the spectra, relative
to --reference-ppm or else to their mean. Dipolar couplings enter as the broadening given.
"""

import argparse
import sys

import numpy as np
import pandas as pd
from insilico_nmr.arguments import not_negative, positive
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_of_sets
from insilico_nmr.files import atomic_path
from insilico_nmr.generator import parts
from insilico_nmr.mas import frequency_axis, mas_spectrum
from insilico_nmr.nuclei import Nucleus, quadrupolar_nucleus
from insilico_nmr.powder import frequency_unit, transitions
from insilico_nmr.site_spins import SiteSpins, load_site_spins
from insilico_nmr.spectra import broaden
from insilico_nmr.tables import significant


def say_regime(spins: SiteSpins, nucleus: Nucleus) -> None:
    """Say on stderr which of the two limits is nearer."""
    splitting = frequency_unit(nucleus) * transitions(nucleus.spin)[0].max()
    widest = abs(splitting) * np.abs(np.linalg.eigvalsh(spins.tensors.mean)).max()
    forgotten = f"after {spins.half_decay_s:.2g} s" if np.isfinite(spins.half_decay_s) else "at no known time"
    print(
        f"{spins.tensors.temperature_K:g} K: tensors have forgotten half {forgotten}; "
        f"the widest splitting's period is {1 / widest:.2g} s",
        file=sys.stderr,
    )


def spectra_of(spins: SiteSpins, nucleus: Nucleus, spin_rate_Hz: float, arguments: argparse.Namespace) -> pd.DataFrame:
    """Rows of one spin rate."""
    widths = arguments.lorentz_Hz, arguments.gauss_Hz
    central, shieldings = arguments.transitions == "central", spins.shieldings
    isotropic = np.zeros(1) if shieldings is None else np.trace(shieldings, axis1=1, axis2=2) / 3
    reference_ppm = arguments.reference_ppm
    if reference_ppm is None:
        reference_ppm = float(spins.populations @ isotropic) if shieldings is not None else 0.0
    largest = 0.0
    if shieldings is not None:
        shifted = np.concatenate([shieldings[None], spins.shielding_members, spins.shielding_samples])
        symmetric = (shifted + shifted.swapaxes(-1, -2)) / 2 - reference_ppm * np.eye(3)
        largest = np.abs(np.linalg.eigvalsh(symmetric)).max()
    of_errors = spins.sets
    sets = {"mean": [(spins.tensors.mean, shieldings)]}
    sets |= {"members": of_errors["sd_model"], "samples": of_errors["se_sampling"]}
    if len(sets[arguments.tensors]) == 0:
        raise InputError(f"{arguments.site_tensors}: its states have no {arguments.tensors}")
    every = np.array([tensors for some in [*sets.values(), of_errors["sd_dft"]] for tensors, _ in some])
    axis_Hz = frequency_axis(every, nucleus, arguments.field_T, spin_rate_Hz, *widths, largest, central)

    def spectrum(populations, tensors, shifted):
        lines = mas_spectrum(
            populations,
            tensors,
            nucleus,
            arguments.field_T,
            spin_rate_Hz,
            axis_Hz,
            shifted,
            reference_ppm,
            central,
        )
        return {name: 1e3 * broaden(part, axis_Hz, *widths) for name, part in lines.items()}

    held, places = parts(spins.limit)

    def in_the_fast_limit(tensors, shifted):
        mean = None if shifted is None else np.tensordot(places, shifted, 1)
        return sum(spectrum(held, np.tensordot(places, tensors, 1), mean).values())

    found = [spectrum(spins.populations, *pair) for pair in sets[arguments.tensors]]
    shares = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
    fast = [in_the_fast_limit(*pair) for pair in sets[arguments.tensors]]
    table = pd.DataFrame(
        {
            "temperature_K": spins.tensors.temperature_K,
            "half_decay_s": spins.half_decay_s,
            "field_T": arguments.field_T,
            "spin_rate_kHz": spin_rate_Hz / 1e3,
            "frequency_kHz": axis_Hz / 1e3,
            "rigid_per_kHz": sum(shares.values()),
            "rigid_central_per_kHz": shares["central"],
            "fast_per_kHz": np.mean(fast, axis=0),
        }
    )
    for error, several in of_errors.items():
        others = {
            "rigid": [sum(spectrum(spins.populations, *pair).values()) for pair in several],
            "fast": [in_the_fast_limit(*pair) for pair in several],
        }
        for motion, curves in others.items():
            table[f"{motion}_{error}_per_kHz"] = error_of_sets(error, curves)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site-tensors", required=True, help="site tensors (JSON)")
    parser.add_argument("--propagator", help="two-time propagator at their temperature (NetCDF); default: equal shares")
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument("--field-T", type=positive, default=9.4, help="magnetic field (default: %(default)s)")
    parser.add_argument(
        "--spin-rates-kHz",
        type=float,
        nargs="+",
        default=[0.0, 10.0],
        help="about the magic angle; 0 is static (default: 0 10)",
    )
    parser.add_argument(
        "--transitions", choices=["all", "central"], default="all", help="central: that line alone, of area 1"
    )
    parser.add_argument(
        "--tensors",
        choices=["mean", "members", "samples"],
        default="mean",
        help="sites' mean tensors, or a distribution: the average spectrum of committee members or of replicates",
    )
    parser.add_argument("--reference-ppm", type=float, help="isotropic shielding of the reference compound")
    parser.add_argument(
        "--lorentz-Hz",
        type=not_negative,
        default=500.0,
        help="Lorentzian full width at half maximum (default: %(default)s)",
    )
    parser.add_argument(
        "--gauss-Hz", type=not_negative, default=0.0, help="Gaussian full width at half maximum (default: %(default)s)"
    )
    parser.add_argument("--out", required=True, help="CSV of the spectra, area 1 each, and their errors")
    arguments = parser.parse_args()

    nucleus = quadrupolar_nucleus(arguments.isotope)
    spins = load_site_spins(arguments.site_tensors, nucleus.isotope, arguments.propagator)
    if arguments.reference_ppm is not None and spins.shieldings is None:
        raise InputError(f"{arguments.site_tensors}: --reference-ppm is given, but no state has a shielding")
    say_regime(spins, nucleus)
    table = pd.concat([spectra_of(spins, nucleus, 1e3 * rate, arguments) for rate in arguments.spin_rates_kHz])
    intensities = [name for name in table if name.endswith("_per_kHz")]
    table[intensities] = significant(table[intensities], 4)
    with atomic_path(arguments.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


if __name__ == "__main__":
    run_script(main)
