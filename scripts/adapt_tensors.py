"""Site tensors as they are where neighbouring sites are filled as often as the rate model has it.

Molecular dynamics starts from ions dealt out by the crystal's occupancies, and where it is cold they stay there: site
tensors are means over surroundings that are not those of that temperature. What each filled neighbour adds
(--surroundings, a JSON of correlate_trajectory.py) tells what other surroundings do: V̄ + Σ_k (⟨n_k⟩ − n_k) A_k, with
n_k how often the neighbours were filled in the runs (key `filled`) and ⟨n_k⟩ how often they are in equilibrium. The
committee's tensors and the replicates move alike.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import read_json, write_json
from insilico_nmr.generator import occupations
from insilico_nmr.lattice import network_log_weights, read_network_rates
from insilico_nmr.moving import mover_of, neighbours_filled
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.sites import concentration, read_sites, site_orbits
from insilico_nmr.surroundings import Added, read_surroundings
from insilico_nmr.tensors import efg_principal


def changes_of(states: list[dict], added: Added, filled: np.ndarray, source: str) -> np.ndarray:
    """What equilibrium adds to the tensors of all states, (S, 3, 3) a.u.; filled (S, z), how often neighbours of an ion
    are filled in it. Raises InputError where a state's own `filled` does not fit the neighbours of `added`."""
    found = []
    for state, site, tensors, wanted in zip(states, added.site, added.tensor, filled, strict=True):
        there = site >= 0
        parts = np.array(state.get("filled", []), float)
        if parts.shape != (there.sum(),) or not ((parts >= 0) & (parts <= 1)).all():
            raise InputError(
                f"{source}: state {state['index']} says of {len(parts)} neighbours how often they are filled; expected "
                f"{there.sum()}, each between 0 and 1 (average_tensors.py)"
            )
        found.append(np.einsum("k,kij->ij", wanted[there] - parts, tensors[there]))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tensors", type=Path, help="site tensors of average_tensors.py, JSON")
    parser.add_argument("--surroundings", type=Path, required=True, help="what filled neighbours add, JSON")
    parser.add_argument("--sites", type=Path, required=True, help="site network, JSON")
    parser.add_argument("--rates", required=True, help="rate table, CSV; its rows of origin 'model' are used")
    parser.add_argument("--concentration", type=float, help="ions per site, between 0 and 1 (default: the crystal's)")
    parser.add_argument("--interactions", help="pairs of sites whose ions interact, JSON (default: none)")
    parser.add_argument("--supercell", type=int, nargs=3, metavar=("N1", "N2", "N3"),
                        help="cells that interacting ions are sampled in: with --interactions")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="site tensors, JSON")
    args = parser.parse_args()

    sites, content = read_sites(args.sites), read_json(args.tensors)
    states, temperature_K = content["states"], content["temperature_K"]
    orbits = site_orbits(sites)
    rates = read_network_rates(args.rates, temperature_K, sites)
    filling = concentration(str(args.sites)) if args.concentration is None else args.concentration
    added = read_surroundings(args.surroundings, len(orbits))
    if args.interactions:
        if args.supercell is None:
            raise InputError("--interactions needs --supercell")
        gas, n_ions = mover_of(
            sites, rates, filling, tuple(args.supercell), temperature_K, args.interactions, str(args.sites)
        )
        filled = neighbours_filled(gas, n_ions, added.site, added.image)
    else:
        filled = occupations(network_log_weights(sites, rates, args.rates), filling)[added.site]
    changes = changes_of(states, added, filled, str(args.tensors))
    kHz = quadrupolar_nucleus(content["isotope"]).coupling_per_au * 1e-3
    for state, change in zip(states, changes, strict=True):
        before = kHz * efg_principal(np.array(state["tensor"]))[0][2]
        state["tensor"] = (np.array(state["tensor"]) + change).tolist()
        for name in ("members", "samples"):
            state[name] = [(np.array(tensor) + change).tolist() for tensor in state[name]]
        after = kHz * efg_principal(np.array(state["tensor"]))[0][2]
        print(f"site {state['index']} ({state['orbit']}): C_Q {before:.1f} to {after:.1f} kHz", file=sys.stderr)
    content["method"] += f"; field gradients with neighbours filled as the rate model has it at {temperature_K:g} K"
    write_json(args.out, content)


if __name__ == "__main__":
    run_script(main)
