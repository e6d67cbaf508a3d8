"""Tensors of the sites of mobile ions for other programs: .magres, mrsimulator's spin systems, a table.

    export_spins.py SITE_TENSORS.json --sites sites.json [--propagator P.nc] --out-magres … --out-mrsim … --out-csv …

- .magres: one atom a site of the primitive cell, with its field gradient (and shielding, where the states have the key
  `shielding`); read by ASE, Soprano and MagresView. Partial occupancies are comments: the format has no place for them.
- mrsimulator: JSON that `mrsimulator.load` reads, one spin system a site, with Cq (Hz, signed), eta, Euler angles in
  mrsimulator's convention (insilico_nmr/spin_systems.py) and the site's part of all ions as abundance. It asks for
  the average over a hemisphere: mrsimulator's own octant is right for a tensor along the axes only.
- CSV: C_Q with its sign, η, Euler angles of this study's convention, with intervals.

Populations are those of the propagator, or equal ones without it. All files are in the frame of the stored cell.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, read_json, write_json
from insilico_nmr.magres_export import write_tensors
from insilico_nmr.nuclei import Nucleus, check_element, quadrupolar_nucleus
from insilico_nmr.site_spins import SiteSpins, load_site_spins
from insilico_nmr.site_table import occupancies, site_table
from insilico_nmr.sites import read_network, site_orbits, site_positions
from insilico_nmr.spin_systems import DENSITY, spin_systems, with_units

MRSIMULATOR = "1.0.0"  # the version whose conventions and file format these are


def frame_of(sites: dict, spins: SiteSpins) -> Atoms:
    """One atom of the mobile element a site, with arrays `efg` and, where there are shieldings, `ms`."""
    count = len(sites["sites"])
    atoms = Atoms([sites["mobile"]] * count, scaled_positions=site_positions(sites), cell=sites["cell"], pbc=True)
    atoms.arrays["efg"] = spins.tensors.mean
    if spins.shieldings is not None:
        atoms.arrays["ms"] = spins.shieldings
    return atoms


def comments_of(sites: dict, spins: SiteSpins) -> list[str]:
    """What the .magres format has no place for."""
    lines = [f"Sites of {sites['mobile']} of the primitive cell at {spins.tensors.temperature_K:g} K, one atom a site"]
    lines.append("atom, site, orbit, occupancy (ions on the site):")
    for number, (orbit, share) in enumerate(zip(site_orbits(sites), occupancies(sites, spins), strict=True)):
        occupancy = f"{share:.4f}" if np.isfinite(share) else "unknown"
        lines.append(f"{sites['mobile']} {number + 1}, {number}, {orbit}, {occupancy}")
    return lines


def mrsimulator_content(sites: dict, spins: SiteSpins, nucleus: Nucleus, reference_ppm: float | None) -> dict:
    """Content of an mrsimulator file: spin systems and how to average over directions, no method."""
    systems = spin_systems(spins.populations, spins.tensors.mean, nucleus, spins.shieldings, reference_ppm)
    for system, site in zip(systems, sites["sites"], strict=True):
        system |= {"name": f"site {site['index']}", "label": site["orbit"]}
        system["sites"][0] |= {"name": f"site {site['index']}", "label": site["orbit"]}
    simulator = {
        "name": f"{nucleus.isotope} at {spins.tensors.temperature_K:g} K",
        "spin_systems": with_units(systems),
        "methods": [],
        "config": {"integration_volume": "hemisphere", "integration_density": DENSITY},
    }
    return {"simulator": simulator, "version": MRSIMULATOR}


def check_same_network(sites: dict, tensors: dict, path: Path) -> None:
    """Raise InputError where the states' orbits are not those of the sites."""
    for state in tensors.get("states", []):
        index, orbit = state.get("index"), state.get("orbit")
        if not isinstance(index, int) or not 0 <= index < len(sites["sites"]):
            raise InputError(f"{path}: state {index} is no site; sites.json has {len(sites['sites'])} sites")
        if orbit != sites["sites"][index]["orbit"]:
            raise InputError(f"{path}: state {index} is of orbit {orbit}, site {index} of {site_orbits(sites)[index]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site_tensors", type=Path, metavar="SITE_TENSORS.json", help="field gradients of the sites")
    parser.add_argument("--sites", type=Path, required=True, help="site network, JSON")
    parser.add_argument("--isotope", required=True, help="for example 7Li")
    parser.add_argument("--propagator", type=Path, help="two-time propagator at that temperature, for populations")
    parser.add_argument(
        "--reference-ppm", type=float, help="isotropic shielding of the reference compound; without it no shifts"
    )
    parser.add_argument("--out-magres", type=Path, help=".magres file to write")
    parser.add_argument("--out-mrsim", type=Path, help="mrsimulator file to write, JSON")
    parser.add_argument("--out-csv", type=Path, help="table to write")
    args = parser.parse_args()
    if not (args.out_magres or args.out_mrsim or args.out_csv):
        raise InputError("nothing to write: give --out-magres, --out-mrsim or --out-csv")

    nucleus = quadrupolar_nucleus(args.isotope)
    sites = read_network(args.sites)
    check_element(args.isotope, sites.get("mobile"))
    content = read_json(args.site_tensors)
    check_same_network(sites, content, args.site_tensors)
    spins = load_site_spins(args.site_tensors, nucleus.isotope, args.propagator, len(sites["sites"]))
    if args.reference_ppm is not None and spins.shieldings is None:
        raise InputError(f"{args.site_tensors}: --reference-ppm is given, but no state has a shielding")
    if args.out_magres:
        method = f"tensor model, {content.get('method', 'method not stated')}"
        write_tensors(args.out_magres, frame_of(sites, spins), comments_of(sites, spins), method)
    if args.out_mrsim:
        write_json(args.out_mrsim, mrsimulator_content(sites, spins, nucleus, args.reference_ppm))
    if args.out_csv:
        with atomic_path(args.out_csv) as temporary:
            site_table(sites, spins, nucleus).to_csv(temporary, index=False, float_format="%.8g")


if __name__ == "__main__":
    run_script(main)
