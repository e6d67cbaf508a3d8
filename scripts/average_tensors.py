"""Average the tensor model's field gradients, and shieldings, over MD runs of one temperature, site by site.

Beside the mean, every site gets the tensor of each committee member and replicates by a bootstrap over ions and runs;
the spread of an observable over the former is the model's error, over the latter the sampling error.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from insilico_nmr.errors import run_script
from insilico_nmr.files import write_json
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.site_tensors import collect, neighbours_filled, outside_domain, site_tensors
from insilico_nmr.sites import read_sites
from insilico_nmr.tensor_model import load_committee
from insilico_nmr.tensors import asymmetry, efg_principal
from insilico_nmr.trajectory import read_trajectory


def add_shieldings(states: list[dict], of_shieldings: list[dict]) -> None:
    """Give every state its shielding, those of members and replicates of the mean, and say how far members differ."""
    spreads = {}
    for state, found in zip(states, of_shieldings, strict=True):
        state["shielding"] = found["tensor"]
        state |= {f"shielding_{name}": found[name] for name in ("members", "samples")}
        isotropic = np.trace(found["members"], axis1=1, axis2=2) / 3
        spreads[state["orbit"]] = isotropic.mean(), isotropic.std(ddof=1) if len(isotropic) > 1 else 0.0
    for orbit, (mean, spread) in spreads.items():
        print(f"{orbit}: isotropic shielding {mean:.2f} ppm (members ± {spread:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", help="MD runs at one temperature, HDF5")
    parser.add_argument("--sites", type=Path, required=True, help="site network, JSON")
    parser.add_argument("--model", type=Path, required=True, help="committee of tensor models")
    parser.add_argument("--shieldings", type=Path, help="committee of models of shieldings (default: none)")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--frames", type=int, required=True, help="frames taken from each run")
    parser.add_argument("--spread-factor", type=float, default=1.0, help="on the committee's spread (default: 1)")
    parser.add_argument(
        "--dft-error", type=float, default=0.0, help="relative standard deviation of DFT from experiment (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the bootstrap (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="site tensors, JSON")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    nucleus = quadrupolar_nucleus(args.isotope)
    sites = read_sites(args.sites)
    runs = [read_trajectory(path) for path in args.trajectories]
    committee = load_committee(args.model, "efg")
    states = site_tensors(sites, collect(runs, sites, committee, args.frames), args.seed, args.spread_factor)
    for state, parts in zip(states, neighbours_filled(runs, sites, args.frames), strict=True):
        state["filled"] = parts
    if args.shieldings:
        collected = collect(runs, sites, load_committee(args.shieldings, "ms"), args.frames)
        add_shieldings(states, site_tensors(sites, collected, args.seed))
    outside = outside_domain(runs, sites["mobile"], committee, args.frames)
    write_json(
        args.out,
        {
            "temperature_K": runs[0].target_temperature_K,
            "isotope": args.isotope,
            "method": f"mean over {args.frames} frames of {len(runs)} MD runs, symmetry-completed",
            "outside_domain": outside,
            "spread_factor": args.spread_factor,
            "dft_error": args.dft_error,
            "states": states,
        },
    )
    print(f"{100 * outside:.1f} % of the ions are outside the training domain of most members")
    for index in sorted({site["representative"] for site in sites["sites"]}):
        state = states[index]
        values, _ = efg_principal(np.array(state["tensor"]))
        model, sampling = (
            np.abs(efg_principal(np.array(state[name]))[0][:, 2]).std(ddof=1) if len(state[name]) > 1 else 0.0
            for name in ("members", "samples")
        )
        kHz = nucleus.coupling_per_au * 1e-3
        print(
            f"{state['orbit']}: C_Q {values[2] * kHz:.1f} kHz (of the model ± {abs(model * kHz):.1f}, of sampling "
            f"± {abs(sampling * kHz):.1f} from {state['histories']} histories), eta {asymmetry(values):.2f}"
        )


if __name__ == "__main__":
    run_script(main)
