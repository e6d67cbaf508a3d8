"""Average the tensor model's field gradients over MD runs of one temperature, site by site of the crystal."""

import argparse
from pathlib import Path

import numpy as np
import torch
from insilico_nmr.errors import run_script
from insilico_nmr.files import write_json
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.site_tensors import collect, site_tensors
from insilico_nmr.sites import read_sites
from insilico_nmr.tensor_model import load_committee
from insilico_nmr.tensors import asymmetry, efg_principal
from insilico_nmr.trajectory import read_trajectory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="MD runs at one temperature, HDF5")
    parser.add_argument("--sites", type=Path, required=True, help="site network, JSON")
    parser.add_argument("--model", type=Path, required=True, help="committee of tensor models")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--frames", type=int, required=True, help="frames taken from each run")
    parser.add_argument("--out", type=Path, required=True, help="site tensors, JSON")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    nucleus = quadrupolar_nucleus(args.isotope)
    sites = read_sites(args.sites)
    runs = [read_trajectory(path) for path in args.trajectories]
    states = site_tensors(sites, collect(runs, sites, load_committee(args.model), args.frames))
    write_json(
        args.out,
        {
            "temperature_K": runs[0].target_temperature_K,
            "isotope": args.isotope,
            "method": f"mean over {args.frames} frames of {len(runs)} MD runs, symmetry-completed",
            "states": states,
        },
    )
    for index in sorted({site["representative"] for site in sites["sites"]}):
        values, _ = efg_principal(np.array(states[index]["tensor"]))
        print(
            f"{states[index]['orbit']}: C_Q {values[2] * nucleus.coupling_per_au * 1e-3:.1f} kHz, "
            f"eta {asymmetry(values):.2f}"
        )


if __name__ == "__main__":
    run_script(main)
