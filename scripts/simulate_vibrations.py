"""Quadrupolar relaxation rates by vibrations, from a run of molecular dynamics whose frames follow these.

Momentary tensors of the model along each ion's history, less the ion's mean, give the correlation function; its
integral over the first half picosecond or tenth of the run is the spectral density at any Larmor frequency. Slower
motion of the surroundings is left out, hops are those of simulate_relaxation.py. Rows: temperature_K, quantity,
rate_per_s and rate_se_per_s, the standard error over ions, which is not all of it: the thermostat of the run damps
vibrations too, and what lasts longer than the integral is not in it: take the rate for an order of magnitude.
`fluctuation` is the root of the mean square of δV over that of V.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from insilico_nmr import relaxation
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.histories import by_ion, momentary_tensors
from insilico_nmr.nuclei import check_element, quadrupolar_nucleus
from insilico_nmr.tensor_model import load_committee
from insilico_nmr.trajectory import read_trajectory

DURATION_PS = 0.5
FIELD_T = 9.4  # any: the spectral density is flat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectory", type=Path, help="run with frames every few femtoseconds, HDF5")
    parser.add_argument("--model", type=Path, required=True, help="committee of tensor models, the first is used")
    parser.add_argument("--mobile", required=True, help="element of the ions")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    nucleus = quadrupolar_nucleus(args.isotope)
    check_element(args.isotope, args.mobile)
    run = read_trajectory(args.trajectory)
    if args.mobile not in run.frame(0).symbols or len(run.time_ps) < 20:
        raise InputError(f"{args.trajectory}: expected ions of {args.mobile} and 20 frames at least")
    model = load_committee(args.model, "efg")[0]
    tensors = momentary_tensors(run, model, args.mobile)
    step_ps, run_ps = float(np.diff(run.time_ps).mean()), float(run.time_ps[-1] - run.time_ps[0])
    count = 1 + int(min(DURATION_PS, run_ps / 10) / step_ps)
    of_ions = by_ion(tensors - tensors.mean(axis=0))[:, :count]
    rates = rates_of(of_ions.mean(axis=0), step_ps, run_ps, nucleus)
    # Without one ion at a time: C of a single ion may integrate to less than nothing (jackknife).
    others = [
        rates_of(np.delete(of_ions, ion, axis=0).mean(axis=0), step_ps, run_ps, nucleus) for ion in range(len(of_ions))
    ]
    n_ions = len(of_ions)
    rows = [
        {
            "temperature_K": run.target_temperature_K,
            "quantity": name,
            "rate_per_s": rate,
            "rate_se_per_s": np.std([other[name] for other in others]) * np.sqrt(n_ions - 1),
            "fluctuation": np.sqrt(of_ions[:, 0].mean() / (tensors**2).sum(axis=(2, 3)).mean()),
        }
        for name, rate in rates.items()
    ]
    seen = f"{n_ions} ions, {len(run.time_ps)} frames every {1e3 * step_ps:.3g} fs"
    print(f"{seen}: R1 by vibrations is {rates['R1']:.3g} 1/s", file=sys.stderr)
    with atomic_path(args.out) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")


def rates_of(correlation: np.ndarray, step_ps: float, run_ps: float, nucleus) -> dict[str, float]:
    """Rates (1/s) of a mean correlation function (T,), a.u.²."""
    decay = relaxation.vibrational_decay(correlation, 1e-12 * step_ps, 1e-12 * run_ps)
    return relaxation.relaxation_rates([decay] * 3, nucleus, FIELD_T)


if __name__ == "__main__":
    run_script(main)
