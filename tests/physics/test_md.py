"""Molecular dynamics: conservation, temperature, restart, a potential that blows up, two engines that agree."""

from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from insilico_nmr import md
from insilico_nmr.engines import AseEngine, Engine, open_engine
from insilico_nmr.equilibration import detect_equilibration, statistical_inefficiency
from insilico_nmr.errors import InputError
from insilico_nmr.md import Run, nve_drift, relax, run_md
from insilico_nmr.md_checks import HostUnit, check_run, ligands_astray, mean_with_error
from insilico_nmr.potential import calculator
from insilico_nmr.trajectory import Trajectory, read_trajectory, write_trajectory
from potentials import synthetic_crystal, synthetic_potential
from programs import run

RUN = Run(200.0, 0.2, 2.0, 2.0, 20.0, 0.1, 5)


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    return synthetic_potential(tmp_path_factory.mktemp("potential"))


def test_energy_is_conserved_without_thermostat(potential, monkeypatch):
    assert abs(nve_drift(synthetic_crystal(), potential, RUN, 2.0)) < 0.2
    # An engine that loses 0.3 meV per atom and ps, asked every 0.04 ps.
    whole, asked = Engine.total_energy, []

    def leaking(engine):
        asked.append(len(engine.atoms))
        return whole(engine) - 0.3e-3 * 0.04 * len(asked) * len(engine.atoms)

    monkeypatch.setattr(Engine, "total_energy", leaking)
    assert nve_drift(synthetic_crystal(), potential, RUN, 2.0) == pytest.approx(-0.3, abs=0.02)


def test_thermostat_holds_the_temperature(potential, tmp_path):
    trajectory = run_md(relax(synthetic_crystal(), potential), potential, RUN, tmp_path)
    assert trajectory.temperature_K.mean() == pytest.approx(200, rel=0.15)
    assert check_run(trajectory, 0.0, None, RUN.damping_ps)["mean_temperature_K"] == trajectory.temperature_K.mean()
    with pytest.raises(InputError, match=r"drifts by 1\.50 meV per atom and ps without thermostat \(at most 1\)"):
        check_run(trajectory, 1.5, None, RUN.damping_ps)
    write_trajectory(tmp_path / "t.h5", trajectory)
    assert np.allclose(read_trajectory(tmp_path / "t.h5").positions, trajectory.positions, atol=1e-5)


def test_quenched_frames_are_the_crystal_at_rest(potential, tmp_path):
    """Every frame of a warm crystal goes back to its sites: the energies are all the minimum's, and distances too."""
    crystal = relax(synthetic_crystal(), potential)
    write_trajectory(tmp_path / "warm.h5", run_md(crystal, potential, RUN, tmp_path / "state"))
    code, said = run("quench_trajectory", tmp_path / "warm.h5", "--potential", potential, "--frames", 4, "--out",
                     tmp_path / "still.h5")  # fmt: skip
    assert (code, said) == (0, "")
    assert crystal.info["largest_force"] < 0.05
    warm, still = read_trajectory(tmp_path / "warm.h5"), read_trajectory(tmp_path / "still.h5")
    assert still.potential_energy_eV == pytest.approx(np.full(4, crystal.info["energy"]), abs=1e-3)
    assert warm.potential_energy_eV.mean() > still.potential_energy_eV.max() + 0.1
    assert still.frame(-1).get_all_distances(mic=True) == pytest.approx(crystal.get_all_distances(mic=True), abs=0.02)
    assert np.array_equal(still.time_ps, warm.time_ps[[0, 33, 66, 99]])


def test_frames_go_to_the_minimum_of_the_member_that_they_ran_on(potential, tmp_path, monkeypatch):
    crystal = relax(synthetic_crystal(), potential)
    write_trajectory(tmp_path / "warm.h5", replace(run_md(crystal, potential, RUN, tmp_path / "state"), member=2))
    asked = []
    monkeypatch.setattr("quench_trajectory.relax", lambda atoms, *_, member: asked.append(member) or crystal)
    arguments = [tmp_path / "warm.h5", "--potential", potential, "--frames", 3, "--out", tmp_path / "s.h5"]
    run("quench_trajectory", *arguments)
    assert asked == [2, 2, 2]
    crystal.info["largest_force"] = 0.3
    code, said = run("quench_trajectory", *arguments)
    assert (code, "warning: 3 of 3 frames are not at rest" in said, "0.3 eV/Å left" in said) == (0, True, True)


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
    with open_engine(atoms, potential, 1.0) as engine:
        assert np.allclose(engine.positions(), atoms.positions, atol=1e-9)


def both_engines(atoms, potential):
    """The same potential in LAMMPS and, through its ASE calculator, in ASE."""
    return [open_engine(atoms, potential, 1.0), AseEngine(atoms, calculator(potential, {"Li"}), 1.0)]


def test_both_engines_follow_the_same_path(potential):
    ends = []
    for engine in both_engines(synthetic_crystal(), potential):
        with engine:
            engine.draw_velocities(300.0, 1)
            assert engine.temperature() == pytest.approx(300.0)
            momentum = engine.masses @ engine.velocities()
            engine.run(50)
            ends.append((engine.positions(), engine.velocities(), engine.total_energy()))
            assert np.allclose(engine.masses @ engine.velocities(), momentum, atol=1e-6)
    assert np.allclose(ends[0][0], ends[1][0], atol=1e-6)
    assert np.allclose(ends[0][1], ends[1][1], atol=1e-5)
    assert ends[0][2] == pytest.approx(ends[1][2], abs=1e-6)


def test_both_engines_find_the_same_minimum(potential):
    atoms = synthetic_crystal()
    atoms.positions += np.random.default_rng(6).normal(0, 0.1, atoms.positions.shape)
    energies = []
    for engine in both_engines(atoms, potential):
        with engine:
            engine.minimise()
            energies.append(engine.potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-3 * len(atoms))


def test_the_ase_engine_holds_the_temperature_and_the_centre_of_mass(potential):
    with both_engines(synthetic_crystal(), potential)[1] as engine:
        centre = engine.masses @ engine.positions()
        engine.draw_velocities(200.0, 2)
        engine.thermostat(200.0, 0.05, 3)
        engine.run(100)
        temperatures = []
        for _ in range(100):
            engine.run(10)
            temperatures.append(engine.temperature())
        assert np.mean(temperatures) == pytest.approx(200.0, rel=0.1)
        assert np.allclose(engine.masses @ engine.positions(), centre, atol=1e-6)


def test_a_potential_with_a_hole_stops_with_the_atoms_named(tmp_path):
    potential = synthetic_potential(tmp_path / "bad", sign=-30.0)
    with pytest.raises(InputError, match=r"blew up.*Li\d+.*the last sound frame is .*last_sound.extxyz"):
        run_md(synthetic_crystal(), potential, RUN, tmp_path / "state")
    sound = ase.io.read(tmp_path / "state" / "last_sound.extxyz")
    assert np.linalg.norm(sound.positions - synthetic_crystal().positions, axis=1).max() < 8.0
    assert sound.cell[:] == pytest.approx(synthetic_crystal().cell[:])
    with pytest.raises(InputError, match=r"blew up.*Li\d+"):
        nve_drift(synthetic_crystal(), potential, RUN, 2.0)


class BreaksDown(Calculator):
    """Springs to the origin, until the first two atoms are within 9 Å of each other."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        if np.linalg.norm(atoms.positions[0] - atoms.positions[1]) < 9:
            raise CalculationFailed("too near")
        self.results = {"energy": 0.5 * (atoms.positions**2).sum(), "forces": -atoms.positions}


def test_a_potential_that_breaks_down_on_the_way_to_a_minimum_names_the_atoms(monkeypatch):
    atoms = Atoms("LiNa", [[3, 0, 0], [0, 9, 0]], cell=20 * np.eye(3), pbc=True)
    monkeypatch.setattr(md, "open_engine", lambda atoms, *_: AseEngine(atoms, BreaksDown(), 1.0))
    with pytest.raises(InputError, match=r"blew up \(too near\).*(Li0|Na1)"):
        relax(atoms, "potential")


def test_a_triclinic_cell_out_of_orientation_is_refused(potential):
    atoms = synthetic_crystal()
    atoms.rotate(30, "z", rotate_cell=True)
    with pytest.raises(InputError, match="a along x"):
        open_engine(atoms, potential, 1.0)


def test_broken_host_units_are_named():
    positions = np.zeros((20, 2, 3), np.float32)
    positions[:, 1, 0] = 2.0
    positions[10:, 1, 0] = 4.0
    trajectory = Trajectory(
        positions, np.array([15, 16]), 10 * np.eye(3), np.arange(20.0), np.full(20, 300.0), np.zeros(20), 300.0
    )
    with pytest.raises(InputError, match=r"P0 has 0 S within 2\.5 Å at 10\.0 ps"):
        check_run(trajectory, 0.0, HostUnit("P", "S", 1, 2.5), 0.5)


def test_a_run_may_be_as_far_from_its_temperature_as_its_length_and_size_allow():
    """100 atoms at 350 K: a kinetic energy is off by 8 % (√(2/3N)), its mean over 3 ps at 0.5 ps by 5, over 300 ps by
    0.5: 374 K is sound in the first, 500 K is not, and 370 K is not in the second."""
    rng = np.random.default_rng(0)

    def ran_at(mean_K: float, frames: int) -> Trajectory:
        temperature = mean_K + rng.normal(0, 28, frames)
        atoms = np.zeros((frames, 100, 3), np.float32)
        return Trajectory(
            atoms, np.full(100, 3), 9 * np.eye(3), 0.02 * np.arange(frames), temperature, np.zeros(frames), 350.0
        )

    check_run(ran_at(374, 150), 0.0, None, 0.5)
    for mean_K, frames in ((500, 150), (370, 15_000)):
        with pytest.raises(InputError, match="MD at 350 K ran at"):
            check_run(ran_at(mean_K, frames), 0.0, None, 0.5)


def test_units_that_share_a_ligand_and_let_another_go_are_seen():
    """P S P S in a row: from frame 10 on the middle S is between both P, the last one far off; each P keeps one S."""
    positions = np.zeros((20, 4, 3), np.float32)
    positions[:10, :, 0], positions[10:, :, 0] = [0, 2, 4, 6], [0, 2, 4, 9.5]
    numbers = np.array([15, 16, 15, 16])
    trajectory = Trajectory(
        positions, numbers, 20 * np.eye(3), np.arange(20.0), np.full(20, 300.0), np.zeros(20), 300.0
    )
    unit = HostUnit("P", "S", 1, 1.5)
    assert ligands_astray(trajectory, unit) == 1.0  # no bond is as short
    positions[:10, :, 0] = [0, 1.4, 4, 5.4]
    positions[10:, :, 0] = [2.6, 4, 5.4, 9.5]
    assert check_run(trajectory, 0.0, unit, 0.5)["broken_host_units"] == 0
    assert check_run(trajectory, 0.0, unit, 0.5)["ligands_astray"] == 0.5
    free = Trajectory(
        positions, np.array([15, 16, 16, 16]), 20 * np.eye(3), np.arange(20.0), np.full(20, 300.0), np.zeros(20), 300.0
    )
    assert ligands_astray(free, unit) == 0  # a sulphide with more sulphur than PS4 holds


@pytest.mark.parametrize("name", ["temperature_K", "timestep_fs", "production_ps"])
def test_settings_at_or_below_zero_are_refused(name):
    settings = {"temperature_K": 300, "timestep_fs": 2, "production_ps": 1}
    settings[name] = 0
    with pytest.raises(InputError, match=name):
        Run(equilibration_ps=0, interval_fs=10, damping_ps=0.5, seed=1, **settings)


def correlated(count: int, memory: float, seed: int) -> np.ndarray:
    """A stationary series whose autocorrelation is memory**n, so that g = (1 + memory)/(1 − memory)."""
    rng, values = np.random.default_rng(seed), np.zeros(count)
    values[0] = rng.normal() / np.sqrt(1 - memory**2)
    for n in range(1, count):
        values[n] = memory * values[n - 1] + rng.normal()
    return values


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_statistical_inefficiency_is_that_of_an_exponential_memory(memory):
    found = np.mean([statistical_inefficiency(correlated(20_000, memory, seed)) for seed in range(4)])
    assert found == pytest.approx((1 + memory) / (1 - memory), rel=0.15)


def test_the_error_of_a_mean_counts_correlated_frames_once():
    means = [correlated(2000, 0.9, seed).mean() for seed in range(300)]
    errors = [mean_with_error(correlated(2000, 0.9, seed))[1] for seed in range(40)]
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)


def test_a_start_out_of_equilibrium_is_left_out_and_nothing_of_a_run_in_equilibrium():
    settled = correlated(4000, 0.8, 1)
    drifting = settled + 40 * np.exp(-np.arange(4000) / 150)
    start = detect_equilibration(drifting).start
    assert 400 < start < 1400  # where exp(−t/150) of 40 has sunk into the noise of 1.7, and not much later
    assert abs(drifting[start:].mean()) < 4 * mean_with_error(settled)[1] < abs(drifting.mean())
    kept = [4000 - detect_equilibration(correlated(4000, 0.8, seed)).start for seed in range(10)]
    assert np.median(kept) > 3500


def test_a_run_as_short_as_its_slowest_fluctuation_keeps_half_at_least():
    """A tail that ends before it has fluctuated looks like many independent samples."""
    for seed in range(20):
        slow = correlated(400, 0.995, seed) + correlated(400, 0.1, seed + 100)
        found = detect_equilibration(slow)
        assert found.start <= 200
        assert found.independent < 200


def test_a_series_with_a_gap_or_too_short_is_refused():
    series = np.arange(30.0)
    series[7] = np.nan
    with pytest.raises(InputError, match="sample 7"):
        statistical_inefficiency(series)
    with pytest.raises(InputError, match="9 frames"):
        detect_equilibration(series[:9])
