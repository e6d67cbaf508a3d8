"""Tensor correlation and spin-alignment echoes straight from molecular dynamics, for cells without repeating sites.

The model's tensors along each ion's history are all it needs: a glass, a melt, a surface. With --average-ps they are
running means, which leaves vibrations out, as a spectrometer does. Rows of observable tensor_correlation are
⟨V(0):V(t)⟩ in a.u.², those of spin_alignment_echo S2 at each evolution time, without motion while phases evolve; `se`
is the standard error over ions. Times up to a quarter of the shortest run, which all are cut to. Where sites repeat,
kinetic Monte Carlo reaches the times of an experiment, which this does not.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from insilico_nmr.echo import check_echo
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.histories import PART, by_ion, echo_by_ion, momentary_tensors, running_mean
from insilico_nmr.nuclei import check_element, quadrupolar_nucleus
from insilico_nmr.propagator import mean_and_error
from insilico_nmr.tensor_model import load_committee
from insilico_nmr.trajectory import read_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="runs at one temperature, HDF5")
    parser.add_argument("--model", type=Path, required=True, help="committee of tensor models, the first is used")
    parser.add_argument("--mobile", required=True, help="element of the ions")
    parser.add_argument("--isotope", required=True, help="observed nucleus, of spin 1 or 3/2, such as 7Li")
    parser.add_argument("--evolution-times-us", type=float, nargs="+", default=[5, 20], help="(default: 5 20)")
    parser.add_argument("--average-ps", type=float, default=0.0, help="length of running means (default: none)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    check_element(args.isotope, args.mobile)
    nucleus = quadrupolar_nucleus(args.isotope)
    for time_us in args.evolution_times_us:
        check_echo(nucleus, time_us * 1e-6)
    runs = read_runs(args.trajectories)
    for path, run in zip(args.trajectories, runs, strict=True):
        if args.mobile not in run.frame(0).symbols:
            raise InputError(f"{path}: no atom of --mobile {args.mobile}")
    model = load_committee(args.model, "efg")[0]
    frames = min(len(run.time_ps) for run in runs)
    tensors = np.concatenate([momentary_tensors(run.part(slice(frames)), model, args.mobile) for run in runs], axis=1)
    step_ps = float(runs[0].time_ps[1] - runs[0].time_ps[0])
    tensors = running_mean(tensors, max(1, round(args.average_ps / step_ps)))
    count = max(2, len(tensors) // PART)
    curves = [("tensor_correlation", np.nan, by_ion(tensors))]
    curves += [
        ("spin_alignment_echo", time_us, echo_by_ion(tensors, time_us * 1e-6, nucleus))
        for time_us in args.evolution_times_us
    ]
    tables = []
    for observable, time_us, of_ions in curves:
        value, error = mean_and_error(of_ions[:, :count])
        columns = {"temperature_K": runs[0].target_temperature_K, "observable": observable}
        columns |= {"evolution_time_us": time_us, "time_ps": step_ps * np.arange(count), "value": value, "se": error}
        tables.append(pd.DataFrame(columns))
    with atomic_path(args.out) as temporary:
        pd.concat(tables).to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
