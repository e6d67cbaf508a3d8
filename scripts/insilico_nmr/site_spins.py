"""Spins of the sites of mobile ions: field gradients, shieldings where the file has them, and how many ions are where.

A state of a site_tensors.json (site_tensors.py) may have the key `shielding`: 3×3, ppm, first index the induced
field, antisymmetric part kept, and `shielding_members` and `shielding_samples`, as many as of field gradients or none.
All states have them or none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insilico_nmr.echo import SiteTensors, half_decay, load_observed, read_site_tensors
from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json


@dataclass(frozen=True)
class SiteSpins:
    """Field gradients, shieldings (S, 3, 3) in ppm or None, and P(∞) `limit` (S, S), whose rows sum to populations.

    `shielding_members` (M, S, 3, 3) and `shielding_samples` (N, S, 3, 3): of the committee and replicates of the mean,
    place by place beside those of field gradients; empty where the file has none.
    `spread_within_site` (S,): as site_tensors.py writes it, a.u.; NaN where the file has none.
    `half_decay_s`: after it the tensor of an ion has forgotten half of what it forgets; NaN where that is not known.
    """

    limit: np.ndarray
    tensors: SiteTensors
    shieldings: np.ndarray | None
    half_decay_s: float
    shielding_members: np.ndarray
    shielding_samples: np.ndarray
    spread_within_site: np.ndarray

    @property
    def populations(self) -> np.ndarray:
        """Parts of the ions on each site, (S,), of sum 1."""
        return self.limit.sum(axis=1)

    @property
    def sets(self) -> dict[str, list[tuple[np.ndarray, np.ndarray | None]]]:
        """Pairs of field gradients and shieldings, by the error that their scatter is."""
        every = {
            "sd_model": (self.tensors.members, self.shielding_members),
            "se_sampling": (self.tensors.samples, self.shielding_samples),
            "sd_dft": (self.tensors.scaled, []),
        }
        return {
            error: list(zip(tensors, shieldings if len(shieldings) else [self.shieldings] * len(tensors), strict=True))
            for error, (tensors, shieldings) in every.items()
        }


def load_site_spins(
    tensors_path: str | Path, isotope: str, propagator_path: str | Path | None = None, site_count: int | None = None
) -> SiteSpins:
    """Spins of one temperature; populations are the propagator's, or equal ones without it.

    Raises InputError where isotope, temperature or the number of sites do not fit, and for a site without a tensor.
    """
    if propagator_path is not None:
        propagator, tensors = load_observed(str(propagator_path), str(tensors_path), isotope)
        limit, half_decay_s = propagator.limit, half_decay(propagator, tensors.mean)
        if site_count not in (None, len(limit)):
            raise InputError(f"{propagator_path}: {len(limit)} states; expected one for each of {site_count} sites")
    else:
        count = site_count or len(read_json(tensors_path).get("states", []))
        tensors = read_site_tensors(tensors_path, count, isotope)
        if count == 0:
            raise InputError(f"{tensors_path}: no states")
        limit, half_decay_s = np.full((count, count), 1 / count**2), np.nan
    by_index = {state["index"]: state for state in read_json(tensors_path)["states"]}
    states = [by_index[index] for index in range(len(limit))]
    members, samples = (
        _shielding_sets(states, name, len(of_gradients), tensors_path)
        for name, of_gradients in (("members", tensors.members), ("samples", tensors.samples))
    )
    spread = np.array([state.get("spread_within_site", np.nan) for state in states], float)
    return SiteSpins(limit, tensors, _shieldings(states, tensors_path), half_decay_s, members, samples, spread)


def _shielding_sets(states: list[dict], name: str, expected: int, path: str | Path) -> np.ndarray:
    """Key `shielding_…` of the states, shape (n, S, 3, 3); n is 0 where no state has it.

    Raises InputError unless all have as many as there are of field gradients, or none.
    """
    found = [state.get(f"shielding_{name}", []) for state in states]
    numbers = {len(tensors) for tensors in found}
    if numbers == {0}:
        return np.empty((0, len(states), 3, 3))
    if numbers != {expected}:
        raise InputError(
            f"{path}: states have {', '.join(map(str, sorted(numbers)))} shielding_{name}; expected {expected}, as "
            "many as of field gradients, or none"
        )
    every = _sound([tensor for tensors in found for tensor in tensors], path)
    return every.reshape(len(states), -1, 3, 3).swapaxes(0, 1)


def _shieldings(states: list[dict], path: str | Path) -> np.ndarray | None:
    """Key `shielding` of the states, shape (S, 3, 3), or None where no state has it."""
    without = [state["index"] for state in states if "shielding" not in state]
    if len(without) == len(states):
        return None
    if without:
        raise InputError(f"{path}: no shielding for state {', '.join(map(str, without))}, but others have one")
    return _sound([state["shielding"] for state in states], path)


def _sound(tensors: list, path: str | Path) -> np.ndarray:
    """Shieldings (n, 3, 3) of nested lists. Raises InputError for another shape, and where they are not finite."""
    arrays = [np.array(tensor, dtype=float) for tensor in tensors]
    if any(array.shape != (3, 3) or not np.isfinite(array).all() for array in arrays):
        raise InputError(f"{path}: shieldings must be finite and 3×3")
    return np.array(arrays)
