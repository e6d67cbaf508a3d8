"""Is a molecular-dynamics run sound? Equilibrium, temperature, energy, and host units that must stay whole."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list

from insilico_nmr.equilibration import detect_equilibration, statistical_inefficiency
from insilico_nmr.errors import InputError
from insilico_nmr.trajectory import Trajectory

MAX_NVE_DRIFT = 1.0  # meV per atom and ps; above it the time step is too long or the potential has holes


@dataclass(frozen=True)
class HostUnit:
    """A polyhedron of the host: every `centre` keeps `number` atoms `ligand` within `cutoff` Å."""

    centre: str
    ligand: str
    number: int
    cutoff: float

    @staticmethod
    def parse(words: list[str]) -> "HostUnit":
        """From four words, as on the command line."""
        try:
            return HostUnit(words[0], words[1], int(words[2]), float(words[3]))
        except ValueError:
            raise InputError(f"host unit {' '.join(words)}: expected CENTRE LIGAND NUMBER CUTOFF_A") from None


def ligand_numbers(atoms: Atoms, unit: HostUnit) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the unit's centres and how many ligands each has. Raises InputError where there is no centre."""
    symbols = np.array(atoms.get_chemical_symbols())
    i, j = neighbour_list("ij", atoms, unit.cutoff)
    bonds = np.bincount(i[symbols[j] == unit.ligand], minlength=len(atoms))
    centres = np.flatnonzero(symbols == unit.centre)
    if centres.size == 0:
        raise InputError(f"no {unit.centre} atom in the structure: is the host unit right?")
    return centres, bonds[centres]


def host_unit_of(words: list[str] | None, atoms: Atoms, path: str | Path) -> HostUnit | None:
    """The unit that a command line names, if it does. Raises InputError, before anything is run, where the structure of
    `path` has other ones."""
    if not words:
        return None
    unit = HostUnit.parse(words)
    centres, ligands = ligand_numbers(atoms, unit)
    bad = np.flatnonzero(ligands != unit.number)
    if len(bad):
        raise InputError(
            f"{path}: {unit.centre}{centres[bad[0]]} has {ligands[bad[0]]} {unit.ligand} within {unit.cutoff:g} Å; "
            f"expected {unit.number}: is the host unit right?"
        )
    return unit


def units_whole(atoms: Atoms, unit: HostUnit) -> bool:
    """Whether every centre has its number of ligands."""
    return bool((ligand_numbers(atoms, unit)[1] == unit.number).all())


def broken_units(trajectory: Trajectory, unit: HostUnit) -> tuple[float, str | None]:
    """Fraction of (frame, centre) pairs with another number of ligands, and where the first one is."""
    wrong, total, first = 0, 0, None
    for index in range(len(trajectory.time_ps)):
        centres, ligands = ligand_numbers(trajectory.frame(index), unit)
        bad = np.flatnonzero(ligands != unit.number)
        wrong += len(bad)
        total += len(centres)
        if len(bad) and first is None:
            first = (
                f"{unit.centre}{centres[bad[0]]} has {ligands[bad[0]]} {unit.ligand} within {unit.cutoff:g} Å "
                f"at {trajectory.time_ps[index]:.1f} ps"
            )
    return wrong / total, first


def ligands_astray(trajectory: Trajectory, unit: HostUnit) -> float:
    """Part of the ligands, over all frames, that no centre has or that two share, while centres may keep their number.

    0 where there are more ligands than the centres hold: then some belong to none.
    """
    symbols = np.array(trajectory.frame(0).get_chemical_symbols())
    if (symbols == unit.ligand).sum() != unit.number * (symbols == unit.centre).sum():
        return 0.0
    return float(
        np.mean(
            [
                ligand_numbers(trajectory.frame(index), HostUnit(unit.ligand, unit.centre, 1, unit.cutoff))[1] != 1
                for index in range(len(trajectory.time_ps))
            ]
        )
    )


def in_equilibrium(trajectory: Trajectory) -> tuple[Trajectory, dict]:
    """The run from where its potential energy no longer remembers the start, and what that left out.

    Raises InputError for a run of fewer than 10 frames.
    """
    found = detect_equilibration(trajectory.potential_energy_eV)
    frame_ps = float(trajectory.time_ps[1] - trajectory.time_ps[0])
    total = len(trajectory.time_ps)
    return trajectory.part(slice(found.start, None)), {
        "left_out_ps": found.start * frame_ps,
        "left_out_fraction": found.start / total,
        "independent_samples": found.independent,
    }


def mean_with_error(series: np.ndarray) -> tuple[float, float]:
    """Mean of a series (T,) and its standard error, correlated frames counted as their inefficiency says."""
    return float(series.mean()), float(series.std() * np.sqrt(statistical_inefficiency(series) / len(series)))


def check_run(trajectory: Trajectory, drift_meV_per_atom_ps: float, unit: HostUnit | None, damping_ps: float) -> dict:
    """Checks of one run as a dictionary of plain numbers. Raises InputError where host units break or energy drifts.

    More than 2 % of broken units are an error; fewer are rare stretched bonds at the chosen cut-off and reported. So is
    the part of ligands astray: units that share one and let another go keep their numbers, and are broken all the same.
    """
    temperature, temperature_se = mean_with_error(trajectory.temperature_K)
    energy, energy_se = mean_with_error(trajectory.potential_energy_eV / len(trajectory.numbers))
    checks = {
        "target_temperature_K": trajectory.target_temperature_K,
        "mean_temperature_K": temperature,
        "mean_temperature_se_K": temperature_se,
        "potential_energy_eV_per_atom": energy,
        "potential_energy_se_eV_per_atom": energy_se,
        "nve_drift_meV_per_atom_ps": drift_meV_per_atom_ps,
    }
    # What a sound run may be off by: the canonical scatter of the kinetic energy, forgotten in the thermostat's time.
    # The scatter of a run of a few such times does not tell it.
    duration_ps = float(trajectory.time_ps[1] - trajectory.time_ps[0]) * len(trajectory.time_ps)
    scatter = np.sqrt(2 / (3 * len(trajectory.numbers)) * min(1.0, 2 * damping_ps / duration_ps))
    allowed = max(0.05, 4 * scatter) * trajectory.target_temperature_K
    if abs(temperature - trajectory.target_temperature_K) > max(allowed, 4 * temperature_se):
        raise InputError(
            f"MD at {trajectory.target_temperature_K:g} K ran at {temperature:.0f} K: the potential releases energy, "
            "or the time step is too long"
        )
    if abs(drift_meV_per_atom_ps) > MAX_NVE_DRIFT:
        raise InputError(
            f"the total energy drifts by {drift_meV_per_atom_ps:.2f} meV per atom and ps without thermostat "
            f"(at most {MAX_NVE_DRIFT:g}): shorten the time step"
        )
    if unit is not None:
        fraction, first = broken_units(trajectory, unit)
        checks["broken_host_units"] = fraction
        checks["ligands_astray"] = ligands_astray(trajectory, unit)
        if fraction > 0.02:
            raise InputError(f"MD at {trajectory.target_temperature_K:g} K broke the host: {first}")
    return checks
