"""PaiNN: exact symmetries, derivatives, ASE calculator, training that resumes, and a fit that beats the mean model."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lammpslib import LAMMPSlib
from insilico_nmr.dataset import read_dataset
from insilico_nmr.errors import InputError
from insilico_nmr.files import write_json
from insilico_nmr.md import Run, run_md
from insilico_nmr.networks import Architecture, save_state
from insilico_nmr.painn import PaiNNPotential, predict, screened_repulsion
from insilico_nmr.painn_training import Weights, train
from insilico_nmr.potential import calculator, group_folds, member_frames, preload_mpi, rmse, squared_errors
from insilico_nmr.training import Progress, Schedule
from test_uf3 import synthetic_structure

ARCHITECTURE = Architecture(cutoff=5.0, features=8, interactions=2, radial=8)
ROOT = Path(__file__).parents[2]
DATASET = ROOT / "resources" / "dft" / "li3ps4.extxyz"


def untrained(dtype: torch.dtype = torch.float64) -> PaiNNPotential:
    torch.manual_seed(3)
    network = PaiNNPotential(ARCHITECTURE)
    network.references[3], network.references[16] = -1.5, -2.5
    return network.to(dtype)


@pytest.fixture(scope="module")
def network() -> PaiNNPotential:
    return untrained()


def small_cell() -> Atoms:
    """Two atoms in a skewed cell whose shortest height is far below the cut-off: an atom neighbours its own images."""
    cell = [[3.1, 0, 0], [0.4, 2.9, 0], [-0.3, 0.5, 3.3]]
    return Atoms("LiS", scaled_positions=[[0.02, 0.1, 0], [0.5, 0.45, 0.55]], cell=cell, pbc=True)


@pytest.mark.parametrize("make", [synthetic_structure, small_cell])
def test_forces_and_stress_are_derivatives_of_the_energy(network, make):
    atoms, step = make(), 1e-4
    _, forces, stress = predict(network, atoms)
    for atom, axis in [(0, 0), (1, 2)]:
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(predict(network, moved)[0])
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), rel=1e-5, abs=1e-6)
    for i, j in [(0, 0), (0, 1), (2, 1)]:
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
            energies.append(predict(network, strained)[0])
        expected = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert stress[i, j] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_energy_is_invariant_and_forces_turn_with_the_structure(network):
    atoms = synthetic_structure()
    energy, forces, stress = predict(network, atoms)
    assert np.abs(forces.sum(axis=0)).max() < 1e-10
    for improper in (1, -1):
        turn = improper * np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
        turned = Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=True)
        again = predict(network, turned)
        assert again[0] == pytest.approx(energy, rel=1e-10)
        assert np.allclose(again[1], forces @ turn.T, atol=1e-9)
        assert np.allclose(again[2], turn @ stress @ turn.T, atol=1e-10)
    moved = atoms.copy()
    moved.positions += np.array([0.3, -7.0, 11.0])
    moved.positions[::2] += atoms.cell[0] - 2 * atoms.cell[1]  # images of the same atoms
    order = np.random.default_rng(5).permutation(len(atoms))
    again = predict(network, moved[order])
    assert again[0] == pytest.approx(energy, rel=1e-10)
    assert np.allclose(again[1], forces[order], atol=1e-9)


def test_a_supercell_has_the_energy_of_its_cells_and_the_same_stress(network):
    atoms = small_cell()
    energy, forces, stress = predict(network, atoms)
    again = predict(network, atoms.repeat((2, 1, 3)))
    assert again[0] == pytest.approx(6 * energy, rel=1e-10)
    assert np.allclose(again[1], np.tile(forces, (6, 1)), atol=1e-9)
    assert np.allclose(again[2], stress, atol=1e-10)


def test_an_atom_beyond_the_cutoff_of_all_others_has_its_reference_energy(network):
    def alone(symbol):
        return predict(network, Atoms(symbol, cell=[20] * 3, pbc=True))

    pair = predict(network, Atoms("LiS", [[0, 0, 0], [0, 0, 5.01]], cell=[20] * 3, pbc=True))
    assert pair[0] == pytest.approx(alone("Li")[0] + alone("S")[0])
    assert not pair[1].any()
    near = predict(network, Atoms("LiS", [[0, 0, 0], [0, 0, 4.999]], cell=[20] * 3, pbc=True))
    assert near[0] == pytest.approx(pair[0], abs=1e-5)


def test_nuclear_repulsion_is_that_of_lammps():
    preload_mpi()
    for distance in (0.4, 1.0, 1.8):
        pair = Atoms("LiS", [[0, 0, 0], [0, 0, distance]], cell=[20] * 3, pbc=True)
        pair.calc = LAMMPSlib(
            lmpcmds=["pair_style zbl 7.9 8", "pair_coeff 1 1 3 3", "pair_coeff 1 2 3 16", "pair_coeff 2 2 16 16"],
            atom_types={"Li": 1, "S": 2},
            lammps_header=["units metal", "atom_style atomic", "atom_modify map array sort 0 0"],
        )
        charges = torch.tensor([3.0, 16.0, distance], dtype=torch.float64)
        # LAMMPS shifts the energy to be zero at its own cut-off.
        assert float(screened_repulsion(*charges)) == pytest.approx(pair.get_potential_energy(), rel=1e-3, abs=1e-3)


def write_potential(folder, network, elements=("Li", "S")):
    save_state(folder / "member_0" / "state.pt", network)
    architecture = {"cutoff": 5.0, "features": 8, "interactions": 2, "radial": 8}
    write_json(folder / "config.json", {"kind": "painn", "elements": list(elements), "architecture": architecture})
    return folder


def test_the_calculator_of_a_folder_gives_the_same_in_single_precision(tmp_path, network):
    write_potential(tmp_path, untrained(torch.float32))
    atoms = synthetic_structure()
    energy, forces, stress = predict(network, atoms)
    atoms.calc = calculator(tmp_path, set(atoms.symbols))
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-5)
    assert np.abs(atoms.get_forces() - forces).max() < 1e-4 * np.abs(forces).max()
    assert np.abs(atoms.get_stress(voigt=False) - stress).max() < 1e-4 * np.abs(stress).max()
    state = tmp_path / "member_0" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt"):
        calculator(tmp_path, {"Li"})
    with pytest.raises(InputError, match="no such member"):
        calculator(tmp_path, {"Li"}, member=1)
    with pytest.raises(InputError, match="not Na"):
        calculator(tmp_path, {"Na"})
    write_json(tmp_path / "config.json", {"kind": "other", "elements": ["Li"]})
    with pytest.raises(InputError, match="uf3 or painn"):
        calculator(tmp_path, {"Li"})


def test_interrupted_dynamics_end_with_the_same_numbers(tmp_path):
    potential = write_potential(tmp_path / "potential", untrained(torch.float32))
    run = Run(300.0, 0.0, 0.06, 1.0, 5.0, 0.1, 5)
    whole = run_md(synthetic_structure(), potential, run, tmp_path / "state", chunk_ps=0.02)
    for chunk in sorted((tmp_path / "state").glob("chunk_*.npz"))[1:]:
        chunk.unlink()  # as a kill would have left it
    resumed = run_md(synthetic_structure(), potential, run, tmp_path / "state", chunk_ps=0.02)
    assert np.array_equal(whole.positions, resumed.positions)


def test_broken_weights_stop_dynamics_with_the_atoms_named(tmp_path):
    network = untrained(torch.float32)
    network.scale.fill_(1e6)
    potential = write_potential(tmp_path / "potential", network)
    with pytest.raises(InputError, match=r"blew up.*(Li|S)\d+"):
        run_md(synthetic_structure(), potential, Run(300.0, 0.0, 1.0, 2.0, 20.0, 0.1, 5), tmp_path / "state")


WEIGHTS = Weights(energy=0.01, force=0.1, stress=0.005)


def test_a_small_fit_to_dft_beats_the_mean_model_on_another_group(tmp_path):
    frames = [atoms for atoms in read_dataset(DATASET) if len(atoms) == 16]
    held_out = frames[0].info["group"]
    training = [atoms for atoms in frames if atoms.info["group"] != held_out]
    rest = [atoms for atoms in frames if atoms.info["group"] == held_out]
    size = Architecture(4.0, 12, 1, 8)
    network = train(training, size, Schedule(40, 2, 1e-2, 0.0, 1), WEIGHTS, tmp_path, "small fit")
    errors = rmse([squared_errors(rest, [predict(network, atoms) for atoms in rest])])
    # The mean model has no forces, and the mean energy of the training frames.
    energy = np.mean([atoms.get_potential_energy() / len(atoms) for atoms in training])
    spread = np.sqrt(np.mean([(atoms.get_potential_energy() / len(atoms) - energy) ** 2 for atoms in rest]))
    assert errors["force_rmse_eV_per_A"] < 0.6 * errors["force_rms_eV_per_A"]
    assert errors["energy_rmse_eV_per_atom"] < 0.7 * spread


def test_resuming_gives_the_same_numbers(tmp_path, monkeypatch):
    frames = [atoms for atoms in read_dataset(DATASET) if len(atoms) == 16][:4]
    size, schedule = Architecture(3.5, 4, 1, 4), Schedule(4, 2, 1e-2, 1e-3, 7)
    whole = train(frames, size, schedule, WEIGHTS, tmp_path / "whole", "whole")

    class Killed(Exception):
        pass

    original = Progress.on_train_epoch_start

    def kill(self, trainer, module):
        original(self, trainer, module)
        if trainer.current_epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_epoch_start", kill)
        with pytest.raises(Killed):
            train(frames, size, schedule, WEIGHTS, tmp_path / "cut", "cut")
    assert (tmp_path / "cut" / "last.ckpt").exists()
    resumed = train(frames, size, schedule, WEIGHTS, tmp_path / "cut", "resumed")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_frame_without_stress_teaches_energy_and_forces(tmp_path):
    frames = [atoms for atoms in read_dataset(DATASET) if len(atoms) == 16][:2]
    for atoms in frames:
        del atoms.calc.results["stress"]
    network = train(frames, Architecture(3.5, 4, 1, 4), Schedule(2, 1, 1e-2, 0.0, 7), WEIGHTS, tmp_path, "no stress")
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_members_leave_each_group_out_once():
    frames = read_dataset(DATASET)
    folds = len(group_folds(frames, 1))
    assert len(member_frames(frames, 0, 1)[1]) == 0
    left_out = np.concatenate([member_frames(frames, member, 1)[1] for member in range(1, folds + 1)])
    assert np.array_equal(np.sort(left_out), np.arange(len(frames)))
    for member in range(1, folds + 2):
        training, held_out = ({frames[i].info["group"] for i in part} for part in member_frames(frames, member, 1))
        assert not training & held_out
    assert not np.array_equal(member_frames(frames, 1, 1)[1], member_frames(frames, folds + 1, 1)[1])


def test_the_study_plans_with_painn_as_its_potential(tmp_path):
    command = [sys.executable, "-m", "snakemake", "-n", "-s", str(ROOT / "Snakefile"), "-d", str(tmp_path)]
    for name in ("resources", "config", "scripts", "rules", "envs", "report"):
        (tmp_path / name).symlink_to(ROOT / name)
    command += ["--configfile", str(ROOT / "config" / "test.yaml"), "--config", 'potential={"kind": "painn"}']
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "potential/member_0/state.pt" in text
    assert "member_0.uf3" not in text
