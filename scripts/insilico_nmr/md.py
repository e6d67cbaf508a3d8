"""Molecular dynamics at fixed cell: chunk by chunk, so that a killed run goes on where it was.

Every chunk starts the engine afresh from stored positions and velocities and its own seed, so an interrupted run
repeats the uninterrupted one exactly.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from insilico_nmr.engines import Engine, Failed, open_engine
from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path
from insilico_nmr.stored_state import read_state
from insilico_nmr.trajectory import Trajectory

LAST_SOUND = "last_sound.extxyz"


@dataclass(frozen=True)
class Run:
    """Settings of one run: temperature (K), lengths in ps, time step in fs, seed, member of the committee."""

    temperature_K: float
    equilibration_ps: float
    production_ps: float
    timestep_fs: float
    interval_fs: float
    damping_ps: float
    seed: int
    member: int = 0

    def __post_init__(self):
        for name in ("temperature_K", "production_ps", "timestep_fs", "interval_fs", "damping_ps"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name} must be above 0 and finite, found {getattr(self, name):g}")
        if not 0 <= self.equilibration_ps < np.inf:
            raise InputError(f"equilibration_ps must be finite and not negative, found {self.equilibration_ps:g}")

    @property
    def steps_per_frame(self) -> int:
        """Time steps between stored frames."""
        return max(1, round(self.interval_fs / self.timestep_fs))


class BlownUp(InputError):
    """The potential blew up. `positions` (N, 3) are those of the last sound frame, in Å."""

    def __init__(self, message: str, positions: np.ndarray):
        self.positions = positions
        super().__init__(message)


def _advance(engine: Engine, steps: int, target: float, last: np.ndarray) -> np.ndarray:
    """Run `steps` and return the positions; a run whose potential blows up ends with the atoms that ran away."""
    try:
        engine.run(steps)
    except Failed as error:
        raise _blown_up(engine.atoms, str(error), error.positions, last) from error
    positions, temperature = engine.positions(), engine.temperature()
    longest = np.linalg.norm(positions - last, axis=1).max()
    if np.isfinite(positions).all() and temperature < 5 * target + 500 and longest < 8.0:
        return positions
    raise _blown_up(engine.atoms, f"T = {temperature:.0f} K", positions, last)


def _blown_up(atoms: Atoms, reason: str, positions: np.ndarray, last: np.ndarray) -> BlownUp:
    """The error that names the atoms which have moved most from the last sound positions; those lost are NaN."""
    step = np.linalg.norm(positions - last, axis=1)
    worst = np.argsort(np.nan_to_num(step, nan=np.inf))[-3:][::-1]
    named = ", ".join(
        f"{atoms.symbols[i]}{i} ({f'{step[i]:.1f} Å' if np.isfinite(step[i]) else 'lost'})" for i in worst
    )
    return BlownUp(f"the potential blew up ({reason}); atoms that moved most since the last frame: {named}", last)


def relax(atoms: Atoms, potential: Path, timestep_fs: float = 1.0, member: int = 0) -> Atoms:
    """Minimise the energy at fixed cell, returning a copy with the energy in eV as `info["energy"]` and the largest
    force that is left, in eV/Å, as `info["largest_force"]`.

    Raises BlownUp where the potential does on the way.
    """
    with open_engine(atoms, potential, timestep_fs, member) as engine:
        try:
            engine.minimise()
        except Failed as error:
            raise _blown_up(atoms, str(error), error.positions, atoms.positions) from error
        relaxed = atoms.copy()
        relaxed.positions = engine.positions()
        relaxed.info |= {"energy": engine.potential_energy(), "largest_force": engine.largest_force()}
    return relaxed


def _chunk(atoms: Atoms, velocities: np.ndarray | None, potential: Path, run: Run, frames: int, seed: int) -> dict:
    """Advance by `frames` stored frames; returns arrays of the chunk and the state at its end."""
    record = {"positions": [], "temperature_K": [], "potential_energy_eV": []}
    with open_engine(atoms, potential, run.timestep_fs, run.member) as engine:
        if velocities is None:
            engine.draw_velocities(run.temperature_K, seed)
        else:
            engine.set_velocities(velocities)
        engine.thermostat(run.temperature_K, run.damping_ps, seed + 1)
        last = engine.positions()
        for _ in range(frames):
            last = _advance(engine, run.steps_per_frame, run.temperature_K, last)
            record["positions"].append(last)
            record["temperature_K"].append(engine.temperature())
            record["potential_energy_eV"].append(engine.potential_energy())
        state = {"end_positions": last, "end_velocities": engine.velocities()}
    return {name: np.array(values) for name, values in record.items()} | state


def run_md(
    atoms: Atoms, potential: Path, run: Run, state: Path, chunk_ps: float = 2.0, partial: bool = False
) -> Trajectory:
    """Equilibrate, then sample. Chunks land in the folder `state`; those already there are not run again.

    `atoms` is the start (relaxed by the caller). Returns the production part. Raises InputError where the potential
    blows up; the chunks before it stay in `state`, and beside them the last sound frame, last_sound.extxyz. With
    `partial` the chunks are returned, and only a run that blows up in its first chunk is an error.
    """
    frame_ps = run.steps_per_frame * run.timestep_fs * 1e-3
    total = round((run.equilibration_ps + run.production_ps) / frame_ps)
    skip = round(run.equilibration_ps / frame_ps)
    if total <= skip:
        raise InputError(f"a run of {run.production_ps:g} ps has no frame where they are {frame_ps:g} ps apart")
    per_chunk = max(1, round(chunk_ps / frame_ps))
    seeds = np.random.default_rng(run.seed).integers(1, 800_000_000, size=total // per_chunk + 1)
    state.mkdir(parents=True, exist_ok=True)
    atoms, velocities, chunks = atoms.copy(), None, []
    started, done_before = time.monotonic(), 0
    for number, begin in enumerate(range(0, total, per_chunk)):
        frames = min(per_chunk, total - begin)
        path = state / f"chunk_{number:05d}.npz"
        if path.exists():
            chunk = read_state(path)
            done_before = begin + frames
        else:
            try:
                chunk = _chunk(atoms, velocities, potential, run, frames, int(seeds[number]))
            except BlownUp as error:
                if not (partial and chunks):
                    sound = atoms.copy()
                    sound.positions = error.positions
                    ase.io.write(state / LAST_SOUND, sound)
                    raise InputError(f"{error}; the last sound frame is {state / LAST_SOUND}") from None
                print(f"{run.temperature_K:g} K: ends after {begin * frame_ps:.1f} ps: {error}", file=sys.stderr)
                break
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
        time_ps=frame_ps * np.arange(1, len(joined["positions"]) + 1),
        target_temperature_K=run.temperature_K,
        member=run.member,
        **joined,
    )


def nve_drift(atoms: Atoms, potential: Path, run: Run, length_ps: float) -> float:
    """Drift of the total energy without thermostat, meV per atom and ps, by a straight line over `length_ps`."""
    samples, energies = 50, []
    steps = max(1, round(length_ps * 1e3 / run.timestep_fs / samples))
    with open_engine(atoms, potential, run.timestep_fs, run.member) as engine:
        engine.draw_velocities(run.temperature_K, run.seed + 7)
        last = engine.positions()
        for _ in range(samples):
            last = _advance(engine, steps, run.temperature_K, last)
            energies.append(engine.total_energy())
    times = np.arange(samples) * steps * run.timestep_fs * 1e-3
    return float(np.polyfit(times, energies, 1)[0] * 1e3 / len(atoms))
