"""Tensor correlation of the ions of a molecular-dynamics run, three ways: does the chain hold?

direct  ⟨V(0):V(t)⟩ of the model's tensors along each ion's history: vibrations, surroundings that change, jumps.
sites   the same with each momentary tensor replaced by the mean of the site that the ion is nearest to, so that what
        the difference from `direct` keeps at long times are tensors that depend on the surroundings.
kmc     the sites' means contracted with the propagator of kinetic Monte Carlo at this temperature: the difference from
        `sites` is that of the rate model's jumps from those of molecular dynamics.

Rows: temperature_K, time_ps, and for each way `…_au2` and its standard error `…_se_au2`, over ions for the first two
and over replicas for the third. Times up to a quarter of the run.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from insilico_nmr.echo import contract, load_propagator, tensor_kernel
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.events import assign
from insilico_nmr.files import atomic_path
from insilico_nmr.fits import error_over_replicas
from insilico_nmr.histories import by_ion
from insilico_nmr.site_tensors import collected_by_orbit, site_means
from insilico_nmr.sites import read_sites
from insilico_nmr.tensor_model import load_committee
from insilico_nmr.trajectory import read_trajectory

PART = 4  # of the run: longer lags have few origins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectory", type=Path, help="run, HDF5")
    parser.add_argument("--sites", type=Path, required=True, help="site network, JSON")
    parser.add_argument(
        "--model", type=Path, required=True, help="committee of tensor models, of which the first is used"
    )
    parser.add_argument("--propagator", type=Path, required=True, help="two-time propagator at the run's temperature")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    run, sites = read_trajectory(args.trajectory), read_sites(args.sites)
    propagator = load_propagator(args.propagator)
    if abs(propagator.temperature_K - run.target_temperature_K) > 0.5:
        raise InputError(
            f"{args.propagator} is at {propagator.temperature_K:g} K, {args.trajectory} at "
            f"{run.target_temperature_K:g} K: they must be of one temperature"
        )
    model = load_committee(args.model)[0]
    mobile = run.frame(0).symbols == sites["mobile"]
    tensors = np.array([model.predict(run.frame(number))[mobile] for number in range(len(run.time_ps))])
    site = assign(run, sites, np.inf).site
    means = site_means(sites, collected_by_orbit(sites, site, tensors))
    count = max(2, len(run.time_ps) // PART)
    lag_s = 1e-12 * (run.time_ps[:count] - run.time_ps[0])
    table = {"temperature_K": run.target_temperature_K, "time_ps": 1e12 * lag_s}
    for name, histories in (("direct", tensors), ("sites", means[site])):
        of_ions = by_ion(histories)[:, :count]
        table[f"{name}_au2"] = of_ions.mean(axis=0)
        table[f"{name}_se_au2"] = of_ions.std(axis=0, ddof=1) / np.sqrt(len(of_ions))
    replicas = contract(tensor_kernel(means), propagator.replicas)
    at_lags = np.array([np.interp(lag_s, propagator.time_s, curve) for curve in replicas])
    table["kmc_au2"], table["kmc_se_au2"] = at_lags.mean(axis=0), error_over_replicas(at_lags)
    with atomic_path(args.out) as temporary:
        pd.DataFrame(table).to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
