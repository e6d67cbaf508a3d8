"""Spins of the sites of mobile ions: field gradients, shieldings where the file has them, and how many ions are where.

A state of a site_tensors.json (site_tensors.py) may have the key `shielding`: 3×3, ppm, first index the induced
field, antisymmetric part kept. All states have it or none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insilico_nmr.echo import SiteTensors, half_decay, load_observed, read_site_tensors
from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json


@dataclass(frozen=True)
class SiteSpins:
    """Populations (S,) of sum 1, field gradients, and shieldings (S, 3, 3) in ppm or None.

    `half_decay_s`: after it the tensor of an ion has forgotten half of what it forgets; NaN where that is not known.
    """

    populations: np.ndarray
    tensors: SiteTensors
    shieldings: np.ndarray | None
    half_decay_s: float


def load_site_spins(
    tensors_path: str | Path, isotope: str, propagator_path: str | Path | None = None, site_count: int | None = None
) -> SiteSpins:
    """Spins of one temperature; populations are the propagator's, or equal ones without it.

    Raises InputError where isotope, temperature or the number of sites do not fit, and for a site without a tensor.
    """
    if propagator_path is not None:
        propagator, tensors = load_observed(str(propagator_path), str(tensors_path), isotope)
        populations, half_decay_s = propagator.populations, half_decay(propagator, tensors.mean)
        if site_count not in (None, len(populations)):
            raise InputError(
                f"{propagator_path}: {len(populations)} states; expected one for each of {site_count} sites"
            )
    else:
        count = site_count or len(read_json(tensors_path).get("states", []))
        tensors = read_site_tensors(tensors_path, count)
        if count == 0:
            raise InputError(f"{tensors_path}: no states")
        if tensors.isotope != isotope:
            raise InputError(f"{tensors_path} is of {tensors.isotope}, --isotope is {isotope}")
        populations, half_decay_s = np.full(count, 1 / count), np.nan
    return SiteSpins(populations, tensors, _shieldings(tensors_path, len(populations)), half_decay_s)


def _shieldings(path: str | Path, count: int) -> np.ndarray | None:
    """Key `shielding` of the states 0..count−1, shape (count, 3, 3), or None where no state has it."""
    states = {state["index"]: state for state in read_json(path)["states"]}
    found = {index: states[index]["shielding"] for index in range(count) if "shielding" in states[index]}
    if not found:
        return None
    without = sorted(set(range(count)) - set(found))
    if without:
        raise InputError(f"{path}: no shielding for state {', '.join(map(str, without))}, but others have one")
    tensors = [np.array(found[index], dtype=float) for index in range(count)]
    if any(tensor.shape != (3, 3) or not np.isfinite(tensor).all() for tensor in tensors):
        raise InputError(f"{path}: shieldings must be finite and 3×3")
    return np.array(tensors)
