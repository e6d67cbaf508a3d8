"""Quadrupole couplings of the sites, averaged over molecular dynamics and of still structures: a row an orbit.

`average` is "thermal" (frames of the runs) or "still" (their minima of the energy). C_Q has its sign; `same_sign` is
the part of the committee's members and of sampling's replicates that have it too: near 1/2, as where η is near 1, the
size alone is known. `C_Q_sd_model_kHz` is the error by the committee (site_table.py), `C_Q_se_sampling_kHz` the
standard error over ions and runs, and the interval holds both; so for η. `C_Q_sd_dft_kHz` is the standard deviation of
DFT from experiment.
`momentary_sd_kHz` is no error: it is how far single ions are from their site's mean at a moment, the root-mean-square
deviation of eQV/h along any one direction.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.site_spins import load_site_spins
from insilico_nmr.site_table import site_table

KEPT = ["orbit"]
KEPT += [f"C_Q{part}_kHz" for part in ("", "_sd_model", "_se_sampling", "_sd_dft", "_ci_low", "_ci_high")]
KEPT += ["same_sign"]
KEPT += [f"eta{part}" for part in ("", "_sd_model", "_se_sampling", "_ci_low", "_ci_high")]


def rows_of(path: Path, sites: dict, isotope: str, average: str) -> pd.DataFrame:
    """One row for each orbit's representative."""
    spins, nucleus = load_site_spins(path, isotope, site_count=len(sites["sites"])), quadrupolar_nucleus(isotope)
    table = site_table(sites, spins, nucleus)
    table = table.loc[sorted({site["representative"] for site in sites["sites"]}), KEPT]
    # Of a tensor whose five components scatter by s, V along a direction scatters by √⅔ s.
    momentary = 1e-3 * np.sqrt(2 / 3) * abs(nucleus.coupling_per_au) * spins.spread_within_site[table.index]
    return table.assign(momentary_sd_kHz=momentary, average=average, temperature_K=spins.tensors.temperature_K)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thermal", type=Path, nargs="+", required=True, help="site tensors of runs, JSON")
    parser.add_argument("--still", type=Path, nargs="+", required=True, help="site tensors of minima, JSON")
    parser.add_argument("--sites", type=Path, required=True, help="site network, JSON")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    sites = read_json(args.sites)
    parts = [rows_of(path, sites, args.isotope, "thermal") for path in args.thermal]
    parts += [rows_of(path, sites, args.isotope, "still") for path in args.still]
    with atomic_path(args.out) as temporary:
        pd.concat(parts).to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
