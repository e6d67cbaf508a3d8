"""Molecular dynamics: conservation, temperature, restart, and a potential that blows up. Synthetic pair potential."""

import numpy as np
import pytest
from ase import Atoms
from insilico_nmr.errors import InputError
from insilico_nmr.files import write_json
from insilico_nmr.md import Engine, Run, nve_drift, relax, run_md
from insilico_nmr.md_checks import HostUnit, check_run
from insilico_nmr.trajectory import Trajectory, read_trajectory, write_trajectory
from insilico_nmr.uf3 import Basis, write_lammps

BASIS = Basis(("Li",), 0.5, 6.0, 20, 1.2, 2.0, 4, 4)


def synthetic_potential(folder, sign: float = 1.0):
    """A smooth pair potential with its minimum near 3 Å (or, with sign −1, one that atoms fall into)."""
    knots = BASIS.knots()["pair"]
    greville = (knots[1:-3] + knots[2:-2] + knots[3:-1]) / 3
    x = (3.0 / np.maximum(greville, 1.5)) ** 6
    values = np.zeros(BASIS.size)
    values[1 : 1 + BASIS.pair_size] = sign * 0.15 * (x**2 - 2 * x)
    values[1 + BASIS.pair_size - 3 : 1 + BASIS.pair_size] = 0.0
    write_lammps(folder / "member_0.uf3", BASIS, values)
    write_json(folder / "config.json", {"elements": ["Li"]})
    return folder


def synthetic_crystal() -> Atoms:
    """A face-centred cubic crystal of 32 atoms in a monoclinic setting of its cell."""
    atoms = Atoms("Li4", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], cell=[4.2] * 3)
    atoms.pbc = True
    return atoms.repeat(2)


RUN = Run(200.0, 0.2, 2.0, 2.0, 20.0, 0.1, 5)


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    return synthetic_potential(tmp_path_factory.mktemp("potential"))


def test_energy_is_conserved_without_thermostat(potential):
    assert abs(nve_drift(synthetic_crystal(), potential, RUN, 2.0)) < 0.2


def test_thermostat_holds_the_temperature(potential, tmp_path):
    trajectory = run_md(relax(synthetic_crystal(), potential), potential, RUN, tmp_path)
    assert trajectory.temperature_K.mean() == pytest.approx(200, rel=0.15)
    assert check_run(trajectory, 0.0, None)["mean_temperature_K"] == trajectory.temperature_K.mean()
    write_trajectory(tmp_path / "t.h5", trajectory)
    assert np.allclose(read_trajectory(tmp_path / "t.h5").positions, trajectory.positions, atol=1e-5)


def test_an_interrupted_run_ends_with_the_same_numbers(potential, tmp_path):
    start = synthetic_crystal()
    whole = run_md(start, potential, RUN, tmp_path / "whole", chunk_ps=0.5)
    again = tmp_path / "again"
    run_md(start, potential, RUN, again, chunk_ps=0.5)
    for chunk in sorted(again.glob("chunk_*.npz"))[2:]:
        chunk.unlink()  # as a kill would have left it
    resumed = run_md(start, potential, RUN, again, chunk_ps=0.5)
    assert np.array_equal(whole.positions, resumed.positions)


def test_positions_are_unwrapped(potential):
    atoms = synthetic_crystal()
    atoms.positions += atoms.cell[0] + 2 * atoms.cell[2]
    engine = Engine(atoms, potential, 1.0)
    assert np.allclose(engine.positions(), atoms.positions, atol=1e-9)
    engine.close()


def test_a_potential_with_a_hole_stops_with_the_atoms_named(tmp_path):
    potential = synthetic_potential(tmp_path / "bad", sign=-30.0)
    with pytest.raises(InputError, match=r"blew up.*Li\d+"):
        run_md(synthetic_crystal(), potential, RUN, tmp_path / "state")


def test_a_triclinic_cell_out_of_orientation_is_refused(potential):
    atoms = synthetic_crystal()
    atoms.rotate(30, "z", rotate_cell=True)
    with pytest.raises(InputError, match="a along x"):
        Engine(atoms, potential, 1.0)


def test_broken_host_units_are_named():
    positions = np.zeros((20, 2, 3), np.float32)
    positions[:, 1, 0] = 2.0
    positions[10:, 1, 0] = 4.0
    trajectory = Trajectory(
        positions, np.array([15, 16]), 10 * np.eye(3), np.arange(20.0), np.full(20, 300.0), np.zeros(20), 300.0
    )
    with pytest.raises(InputError, match=r"P0 has 0 S within 2\.5 Å at 10\.0 ps"):
        check_run(trajectory, 0.0, HostUnit("P", "S", 1, 2.5))


@pytest.mark.parametrize("name", ["temperature_K", "timestep_fs", "production_ps"])
def test_settings_at_or_below_zero_are_refused(name):
    settings = {"temperature_K": 300, "timestep_fs": 2, "production_ps": 1}
    settings[name] = 0
    with pytest.raises(InputError, match=name):
        Run(equilibration_ps=0, interval_fs=10, damping_ps=0.5, seed=1, **settings)
