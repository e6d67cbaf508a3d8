"""The tensor model's symmetries, what it must be able to learn, its folder, and its resuming."""

import json
import shutil

import numpy as np
import pytest
import torch
from ase import Atoms
from insilico_nmr.errors import InputError
from insilico_nmr.networks import Architecture
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tensor_metrics import MeanModel, metrics
from insilico_nmr.tensor_model import TensorModel, TrainedModel, load_model, save_model
from insilico_nmr.tensor_training import Schedule, train
from insilico_nmr.tensors import asymmetry, efg_principal, traceless_symmetric
from matscipy.neighbours import neighbour_list
from scipy.spatial.transform import Rotation

ARCHITECTURE = Architecture(cutoff=4.0, features=8, interactions=2, radial=8)


def untrained(dtype=torch.float64) -> TrainedModel:
    """A network with random weights: symmetries must not depend on training."""
    torch.manual_seed(0)
    network = TensorModel(ARCHITECTURE, {3: 1.0}).to(dtype)
    return TrainedModel(network, ARCHITECTURE, [3, 16], {3: 1.0})


def synthetic_structure(seed: int = 0) -> Atoms:
    """Eight ions on a distorted rock-salt lattice."""
    rng = np.random.default_rng(seed)
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)])
    symbols = ["Li" if g.sum() % 2 else "S" for g in grid]
    atoms = Atoms(symbols, scaled_positions=grid / 2, cell=np.diag([5.2, 5.4, 5.0]), pbc=True)
    atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
    return atoms


# In double precision SchNetPack's Clebsch-Gordan coefficients, stored in single precision, set the limit.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_equivariance_under_rotation_and_reflection(dtype, tolerance):
    model, atoms = untrained(dtype), synthetic_structure()
    tensors = model.predict(atoms)[atoms.numbers == 3]
    size = np.sqrt(np.mean(tensors**2))
    for seed, reflect in [(1, 1.0), (2, -1.0)]:
        turn = reflect * Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
        turned = Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=True)
        predicted = model.predict(turned)[atoms.numbers == 3]
        assert np.abs(predicted - turn @ tensors @ turn.T).max() < tolerance * size


def test_permutation_translation_and_supercell():
    model, atoms = untrained(), synthetic_structure()
    tensors = model.predict(atoms)
    order = np.random.default_rng(3).permutation(len(atoms))
    assert np.allclose(model.predict(atoms[order]), tensors[order], atol=1e-10, equal_nan=True)
    shifted = atoms.copy()
    shifted.positions += [0.3, -1.7, 8.1]
    assert np.allclose(model.predict(shifted), tensors, atol=1e-10, equal_nan=True)
    assert np.allclose(model.predict(atoms.repeat((2, 1, 1)))[: len(atoms)], tensors, atol=1e-10, equal_nan=True)


def test_site_symmetry_is_obeyed():
    model = untrained()
    cubic = Atoms("LiS", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.2] * 3, pbc=True)
    generic = np.sqrt(np.nanmean(model.predict(synthetic_structure()) ** 2))
    assert np.abs(model.predict(cubic)[0]).max() < 1e-8 * generic
    axial = Atoms("LiS", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.2, 3.2, 3.8], pbc=True)
    values, axes = efg_principal(model.predict(axial)[:1])
    assert asymmetry(values)[0] < 1e-8
    assert abs(axes[0, 2, 2]) == pytest.approx(1)


def test_output_is_symmetric_and_traceless_and_nan_without_labels():
    tensors = untrained().predict(synthetic_structure())
    lithium = synthetic_structure().numbers == 3
    assert np.allclose(tensors[lithium], traceless_symmetric(tensors[lithium]), atol=1e-12)
    assert np.isnan(tensors[~lithium]).all()


def point_charge_frames(count: int) -> list[Atoms]:
    """Labels V = Σ q(3rr − r²1)/r⁵ of charges within 3.5 Å, faded out smoothly there; q(Li) = 1, q(S) = −1."""
    frames = []
    for seed in range(count):
        atoms = synthetic_structure(seed)
        first, second, vectors, distance = neighbour_list("ijDd", atoms, 3.5)
        charge = np.where(atoms.numbers == 3, 1.0, -1.0)[second] * (1 - (distance / 3.5) ** 2) ** 2
        pair = 3 * vectors[:, :, None] * vectors[:, None, :] - distance[:, None, None] ** 2 * np.eye(3)
        tensors = np.zeros((len(atoms), 3, 3))
        np.add.at(tensors, first, (charge / distance**5)[:, None, None] * pair)
        tensors[atoms.numbers != 3] = np.nan
        atoms.arrays["efg"] = tensors
        atoms.info["group"] = f"synthetic {seed}"
        frames.append(atoms)
    return frames


def test_point_charges_within_the_cutoff_are_learnt(tmp_path):
    frames = point_charge_frames(28)
    model = train(
        frames[:24], Architecture(4.0, 16, 1, 24), Schedule(90, 4, 2e-2, 0.0, 1), tmp_path, "synthetic charges"
    )
    lithium = frames[0].numbers == 3
    truth = np.concatenate([atoms.arrays["efg"][lithium] for atoms in frames[24:]])
    predicted = np.concatenate([model.predict(atoms)[lithium] for atoms in frames[24:]])
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < 0.03 * np.sqrt(np.mean(truth**2))


def test_resuming_gives_the_same_numbers(tmp_path):
    frames = point_charge_frames(6)
    architecture, schedule = Architecture(4.0, 4, 1, 4), Schedule(4, 2, 1e-2, 1e-3, 7)
    whole = train(frames, architecture, schedule, tmp_path / "whole", "whole")

    class Killed(Exception):
        pass

    import insilico_nmr.tensor_training as training

    original = training.Progress.on_train_epoch_start

    def kill(self, trainer, module):
        original(self, trainer, module)
        if trainer.current_epoch == 2:
            raise Killed

    training.Progress.on_train_epoch_start = kill
    try:
        with pytest.raises(Killed):
            train(frames, architecture, schedule, tmp_path / "cut", "cut")
    finally:
        training.Progress.on_train_epoch_start = original
    resumed = train(frames, architecture, schedule, tmp_path / "cut", "resumed")
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_diverging_loss_stops_with_the_reason(tmp_path):
    frames = point_charge_frames(2)
    frames[0].arrays["efg"][1] *= 1e30
    with pytest.raises(InputError, match="learning rate"):
        train(frames, Architecture(4.0, 4, 1, 4), Schedule(50, 1, 1e30, 0.0, 1), tmp_path, "synthetic")


def test_folder_round_trip_and_torn_files(tmp_path):
    model = untrained(torch.float32)
    save_model(tmp_path / "member_0", model, {})
    again = load_model(tmp_path / "member_0")
    atoms = synthetic_structure()
    assert np.array_equal(again.predict(atoms), model.predict(atoms), equal_nan=True)
    with pytest.raises(InputError, match="Na"):
        again.predict(Atoms("Na", cell=[4, 4, 4], pbc=True))
    state = tmp_path / "member_0" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt"):
        load_model(tmp_path / "member_0")
    shutil.copytree(tmp_path / "member_0", tmp_path / "foreign")
    (tmp_path / "foreign" / "config.json").write_text(json.dumps({"kind": "other"}))
    with pytest.raises(InputError, match="so3net_efg"):
        load_model(tmp_path / "foreign")


def test_metrics_of_a_perfect_and_of_a_rotated_model():
    rng = np.random.default_rng(5)
    truth = traceless_symmetric(rng.normal(0, 0.01, (200, 3, 3)))
    mean = MeanModel.of_folds([(truth, 200)], "7Li")
    table = metrics(truth, truth, mean, "7Li").set_index("quantity")
    assert (table["model"].drop("tensors").abs() < 1e-5).all()
    assert table.loc["component RMSE / RMS", "zero_model"] == 100
    turn = Rotation.from_euler("z", 20, degrees=True).as_matrix()
    rotated = metrics(truth, turn @ truth @ turn.T, mean, "7Li").set_index("quantity")
    # A rotation leaves every scalar right and every axis wrong: what a scalar model cannot see.
    assert rotated.loc["|C_Q| MAE", "model"] < 1e-6
    assert 5 < rotated.loc["z axis, median angle (eta < 0.9)", "model"] <= 20


def test_mean_model_answers_with_the_training_set_of_each_fold():
    axial = np.diag([-0.5, -0.5, 1.0])
    mean = MeanModel.of_folds([(0.01 * axial[None], 1), (0.03 * axial[None], 2)], "7Li")
    coupling = 0.01 * quadrupolar_nucleus("7Li").coupling_per_au * 1e-3
    assert mean.coupling_kHz == pytest.approx(np.abs([coupling, 3 * coupling, 3 * coupling]))
    assert mean.tensor[:, 2, 2] == pytest.approx([0.01, 0.03, 0.03])
    # Trained on small tensors, judged on large ones: off by the difference, as a model that peeked would not be.
    table = metrics(np.repeat(0.03 * axial[None], 3, axis=0), mean.tensor, mean, "7Li").set_index("quantity")
    assert table.loc["|C_Q| MAE", "mean_model"] == pytest.approx(2 * abs(coupling) / 3)
