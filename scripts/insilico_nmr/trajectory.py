"""Trajectories on disk: HDF5 with unwrapped positions of all atoms and the thermodynamic record.

Datasets: positions (frames, atoms, 3) float32 Å, unwrapped; numbers (atoms,); cell (3, 3) Å; time_ps, temperature_K
(instantaneous), potential_energy_eV, each (frames,). Attributes: target_temperature_K, and member, the number of the
potential in its committee.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms

from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path


@dataclass(frozen=True)
class Trajectory:
    """A molecular-dynamics run in the canonical ensemble; shapes and units as in the module's docstring."""

    positions: np.ndarray
    numbers: np.ndarray
    cell: np.ndarray
    time_ps: np.ndarray
    temperature_K: np.ndarray
    potential_energy_eV: np.ndarray
    target_temperature_K: float
    member: int = 0

    def frame(self, index: int) -> Atoms:
        """One frame as periodic atoms."""
        return Atoms(self.numbers, self.positions[index].astype(float), cell=self.cell, pbc=True)

    def evenly_spaced(self, count: int) -> np.ndarray:
        """Indices of `count` frames, or of all where there are fewer."""
        return np.unique(np.linspace(0, len(self.time_ps) - 1, count).astype(int))

    def part(self, frames: slice) -> "Trajectory":
        """Some of its frames."""
        names = ("positions", "time_ps", "temperature_K", "potential_energy_eV")
        return replace(self, **{name: getattr(self, name)[frames] for name in names})


ARRAYS = ("positions", "numbers", "cell", "time_ps", "temperature_K", "potential_energy_eV")


def write_trajectory(path: str | Path, trajectory: Trajectory) -> None:
    """Write atomically, compressed."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as handle:
        for name in ARRAYS:
            values = np.asarray(getattr(trajectory, name))
            if name == "positions":
                values = values.astype(np.float32)
            handle.create_dataset(name, data=values, compression="gzip", shuffle=True)
        handle.attrs["target_temperature_K"] = trajectory.target_temperature_K
        handle.attrs["member"] = trajectory.member


def read_runs(paths: list[Path]) -> list["Trajectory"]:
    """Trajectories of one target temperature, with frames as far apart in all. Raises InputError for others, and as
    `read_trajectory` does."""
    runs = [read_trajectory(path) for path in paths]
    temperature_K = runs[0].target_temperature_K
    for path, run in zip(paths, runs, strict=True):
        if run.target_temperature_K != temperature_K:
            raise InputError(f"{path}: at {run.target_temperature_K:g} K; the first run is at {temperature_K:g} K")
        apart = np.diff(run.time_ps)
        if len(apart) and not np.allclose(apart, runs[0].time_ps[1] - runs[0].time_ps[0], rtol=1e-6, atol=0):
            raise InputError(
                f"{path}: frames are {apart.min():g} to {apart.max():g} ps apart; expected all to be as far apart as "
                "the first two of the first run"
            )
    return runs


def read_trajectory(path: str | Path) -> Trajectory:
    """Read what `write_trajectory` wrote. Raises InputError for a missing, foreign or non-finite file."""
    try:
        with h5py.File(path) as handle:
            arrays = {name: handle[name][...] for name in ARRAYS}
            target, member = float(handle.attrs["target_temperature_K"]), int(handle.attrs["member"])
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: not a trajectory of this study ({error})") from None
    if not np.isfinite(arrays["positions"]).all():
        raise InputError(f"{path}: positions are not finite")
    return Trajectory(**arrays, target_temperature_K=target, member=member)
