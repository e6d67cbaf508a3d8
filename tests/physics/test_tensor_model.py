"""One harness for every backbone and head: symmetries, what a model must be able to learn, its folder, resuming."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from insilico_nmr.backbones import BACKBONES
from insilico_nmr.dataset import read_frames, tensors_of
from insilico_nmr.errors import InputError
from insilico_nmr.losses import mean_lengths
from insilico_nmr.networks import TensorArchitecture, graph
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.quantities import QUANTITIES
from insilico_nmr.scalar_model import TARGETS, targets_of, train_scalars
from insilico_nmr.tensor_metrics import MeanModel, metrics
from insilico_nmr.tensor_model import Description, Normalisation, TensorModel, load_committee, load_model, save_model
from insilico_nmr.tensor_training import train
from insilico_nmr.tensors import LEVI_CIVITA, asymmetry, efg_principal, traceless_symmetric
from insilico_nmr.training import Progress, Schedule
from matscipy.neighbours import neighbour_list
from scipy.spatial.transform import Rotation
from tensorboardX.proto.event_pb2 import Event

SIZE = TensorArchitecture(cutoff=4.0, features=8, interactions=2, radial=8, harmonics=4)
NORMALISATION = {"efg": Normalisation(0.0, (0.01,)), "ms": Normalisation(150.0, (20.0, 3.0, 30.0))}
KINDS = [(backbone, quantity) for backbone in sorted(BACKBONES) for quantity in sorted(QUANTITIES)]


def untrained(backbone="so3net", quantity="efg", dtype=torch.float64) -> TensorModel:
    """A network with random weights: symmetries must not depend on training."""
    torch.manual_seed(0)
    return TensorModel(Description(quantity, backbone, SIZE, (3, 16), {3: NORMALISATION[quantity]})).to(dtype)


def synthetic_structure(seed: int = 0) -> Atoms:
    """Eight ions on a distorted rock-salt lattice."""
    rng = np.random.default_rng(seed)
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)])
    symbols = ["Li" if g.sum() % 2 else "S" for g in grid]
    atoms = Atoms(symbols, scaled_positions=grid / 2, cell=np.diag([5.2, 5.4, 5.0]), pbc=True)
    atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
    return atoms


def anisotropy(tensors: np.ndarray) -> np.ndarray:
    """Tensors without their isotropic part, in which a mean from the normalisation would hide errors."""
    return tensors - np.trace(tensors, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("backbone", "quantity"), KINDS)
def test_equivariance_under_rotation_and_reflection(backbone, quantity, dtype, tolerance):
    model, atoms = untrained(backbone, quantity, dtype), synthetic_structure()
    tensors = model.predict(atoms)[atoms.numbers == 3]
    parts = np.split(model.quantity.components(tensors), np.cumsum(model.quantity.sizes)[:-1], axis=1)
    spread = [np.sqrt(np.mean((part - part.mean(axis=0)) ** 2)) for part in parts]
    assert min(spread) > 1e-8 * max(spread)  # every part is alive
    size = np.sqrt(np.mean(tensors**2))
    for seed, reflect in [(1, 1.0), (2, -1.0)]:
        turn = reflect * Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
        turned = Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=True)
        predicted = model.predict(turned)[atoms.numbers == 3]
        assert np.abs(predicted - turn @ tensors @ turn.T).max() < tolerance * size


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_antisymmetric_part_is_an_axial_vector(backbone):
    model, atoms = untrained(backbone, "ms"), synthetic_structure()
    inverted = Atoms(atoms.numbers, -atoms.positions, cell=atoms.cell, pbc=True)
    lithium = atoms.numbers == 3
    tensors, of_inverted = model.predict(atoms)[lithium], model.predict(inverted)[lithium]
    assert np.abs(tensors - np.swapaxes(tensors, 1, 2)).max() > 1e-6
    np.testing.assert_allclose(of_inverted, tensors, atol=1e-9)
    # In a structure that is its own mirror image (here: planar), the axial vector stands upright on the mirror.
    planar = Atoms("LiS2", [[0, 0, 0], [2.0, 0.3, 0], [-0.4, 2.3, 0]], cell=[9, 9, 9], pbc=True)
    (tensor,) = model.predict(planar)[:1]
    antisymmetric = (tensor - tensor.T) / 2
    assert abs(antisymmetric[0, 1]) > 1e-8
    assert np.abs(antisymmetric[[0, 1], 2]).max() < 1e-12


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_inversion_symmetry_leaves_the_antisymmetric_part(backbone):
    # A centre of inversion makes polar vectors vanish; an axial one is free where nothing else is symmetric.
    model, rng = untrained(backbone, "ms"), np.random.default_rng(5)
    half = np.array([[2.1, 0.3, -0.2], [-0.4, 2.3, 0.5], [0.6, -0.5, 2.5]]) + rng.normal(0, 0.1, (3, 3))
    atoms = Atoms("LiS6", np.concatenate([[[0, 0, 0]], half, -half]), cell=[9, 9, 9], pbc=True)
    (tensor,) = model.predict(atoms)[:1]
    assert np.abs(tensor - tensor.T).max() > 1e-6 * np.abs(anisotropy(tensor)).max()


@pytest.mark.parametrize(("backbone", "quantity"), KINDS)
def test_permutation_translation_and_supercell(backbone, quantity):
    model, atoms = untrained(backbone, quantity), synthetic_structure()
    tensors = model.predict(atoms)
    order = np.random.default_rng(3).permutation(len(atoms))
    assert np.allclose(model.predict(atoms[order]), tensors[order], atol=1e-10, equal_nan=True)
    shifted = atoms.copy()
    shifted.positions += [0.3, -1.7, 8.1]
    assert np.allclose(model.predict(shifted), tensors, atol=1e-10, equal_nan=True)
    assert np.allclose(model.predict(atoms.repeat((2, 1, 1)))[: len(atoms)], tensors, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize(("backbone", "quantity"), KINDS)
def test_site_symmetry_is_obeyed(backbone, quantity):
    model = untrained(backbone, quantity)
    cubic = Atoms("LiS", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.2] * 3, pbc=True)
    generic = np.sqrt(np.nanmean(anisotropy(model.predict(synthetic_structure())) ** 2))
    assert np.abs(anisotropy(model.predict(cubic))[0]).max() < 1e-8 * generic
    axial = Atoms("LiS", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.2, 3.2, 3.8], pbc=True)
    # All these sites are centres of inversion: polar vectors vanish, the field gradient must not.
    values, axes = efg_principal(traceless_symmetric(model.predict(axial)[:1]))
    assert abs(values[0, 2]) > 1e-3 * generic
    assert asymmetry(values)[0] < 1e-8
    assert abs(axes[0, 2, 2]) == pytest.approx(1)


@pytest.mark.parametrize(("backbone", "quantity"), KINDS)
def test_gradients_are_those_of_finite_differences(backbone, quantity):
    model, atoms = untrained(backbone, quantity), synthetic_structure()
    species = torch.tensor(atoms.numbers)

    def squares(vectors):
        return model({**batch, "_Rij": vectors})[species == 3].square().sum()

    batch = graph(atoms, SIZE.cutoff, torch.float64)
    vectors = batch["_Rij"].requires_grad_(True)
    (slope,) = torch.autograd.grad(squares(vectors), vectors)
    direction = torch.randn(vectors.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-5 * direction
    with torch.no_grad():
        difference = (squares(vectors + step) - squares(vectors - step)) / 2e-5
    assert float((slope * direction).sum()) == pytest.approx(float(difference), rel=1e-4)


def test_field_gradient_is_symmetric_and_traceless_and_nan_without_labels():
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


@pytest.mark.parametrize(("backbone", "limit"), [("so3net", 0.03), ("painn", 0.05)])
def test_point_charges_within_the_cutoff_are_learnt(tmp_path, backbone, limit):
    frames = point_charge_frames(28)
    size, schedule = TensorArchitecture(4.0, 16, 1, 24, 4), Schedule(90, 4, 2e-2, 0.0, 1)
    model = train(frames[:24], "efg", backbone, size, schedule, tmp_path, "synthetic charges")
    lithium = frames[0].numbers == 3
    truth = np.concatenate([atoms.arrays["efg"][lithium] for atoms in frames[24:]])
    predicted = np.concatenate([model.predict(atoms)[lithium] for atoms in frames[24:]])
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < limit * np.sqrt(np.mean(truth**2))


def dipole_frames(count: int) -> list[Atoms]:
    """Labels ∂²φ/∂x∂x of dipoles on S, within 3.5 Å: each the sum of directions to the ions around it, faded out.

    The sum of what they are crossed with the direction to them, faded too, is an antisymmetric shielding.
    """
    frames = []
    for seed in range(count):
        atoms = synthetic_structure(seed)
        first, second, vectors, distance = neighbour_list("ijDd", atoms, 3.5)
        fade = (1 - (distance / 3.5) ** 2) ** 2
        dipoles = np.zeros((len(atoms), 3))
        weight = fade * np.where(atoms.numbers[second] == 3, 1.0, 0.5) / distance
        np.add.at(dipoles, first, weight[:, None] * vectors)
        dipoles[atoms.numbers == 3] = 0
        dipole, away, r = dipoles[second], -vectors, distance[:, None, None]
        torque = np.zeros((len(atoms), 3))
        np.add.at(torque, first, fade[:, None] * np.cross(vectors, dipole))
        atoms.arrays["ms"] = np.einsum("nk,kij->nij", torque, LEVI_CIVITA)
        atoms.arrays["ms"] += np.sum(torque**2, axis=1)[:, None, None] * np.eye(3) + traceless_symmetric(
            torque[:, :, None] * torque[:, None, :]
        )
        atoms.arrays["ms"][atoms.numbers != 3] = np.nan
        outer = dipole[:, :, None] * away[:, None, :]
        along = np.trace(outer, axis1=1, axis2=2)[:, None, None]
        gradient = 15 * along * away[:, :, None] * away[:, None, :] / r**7
        gradient -= 3 * (outer + outer.swapaxes(1, 2) + along * np.eye(3)) / r**5
        tensors = np.zeros((len(atoms), 3, 3))
        np.add.at(tensors, first, fade[:, None, None] * gradient)
        tensors[atoms.numbers != 3] = np.nan
        atoms.arrays["efg"] = tensors
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_dipoles_of_neighbours_act_through_harmonics_of_degree_three(tmp_path, backbone):
    frames = dipole_frames(36)
    lithium = frames[0].numbers == 3
    truth = np.concatenate([atoms.arrays["efg"][lithium] for atoms in frames[32:]])
    error = {}
    for harmonics in (2, 3):
        size, schedule = TensorArchitecture(4.0, 16, 2, 16, harmonics), Schedule(60, 4, 1e-2, 0.0, 1)
        resume = tmp_path / f"{harmonics}"
        model = train(frames[:32], "efg", backbone, size, schedule, resume, "synthetic dipoles")
        predicted = np.concatenate([model.predict(atoms)[lithium] for atoms in frames[32:]])
        error[harmonics] = np.sqrt(np.mean((predicted - truth) ** 2) / np.mean(truth**2))
    assert error[3] < 0.08
    assert error[3] < 0.5 * error[2]


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_an_antisymmetric_part_that_neighbours_make_is_learnt(tmp_path, backbone):
    frames = dipole_frames(36)
    size, schedule = TensorArchitecture(4.0, 16, 2, 16, 4), Schedule(60, 4, 1e-2, 0.0, 1)
    model = train(frames[:32], "ms", backbone, size, schedule, tmp_path, "synthetic torques")
    lithium = frames[0].numbers == 3
    truth, predicted = (
        np.concatenate([values(atoms)[lithium] for atoms in frames[32:]])
        for values in (lambda atoms: atoms.arrays["ms"], model.predict)
    )
    error, size = (tensors - np.swapaxes(tensors, 1, 2) for tensors in (predicted - truth, truth))
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(size**2))


def shielding_frames(count: int) -> list[Atoms]:
    """Labels of all three parts: 100 ppm and a coordination number, the charges' gradient, a cross product."""
    frames = point_charge_frames(count)
    for atoms in frames:
        first, second, vectors, distance = neighbour_list("ijDd", atoms, 3.5)
        fade = (1 - (distance / 3.5) ** 2) ** 2
        weight = (fade * np.where(atoms.numbers[second] == 3, 1.0, -0.5))[:, None] * vectors / distance[:, None]
        polar, other = np.zeros((2, len(atoms), 3))
        np.add.at(polar, first, weight)
        np.add.at(other, first, weight * (distance[:, None] - 2.5))
        axial = np.cross(polar, other)
        levi_civita = QUANTITIES["ms"].basis[1:4]
        count = np.bincount(first, fade, len(atoms))
        atoms.arrays["ms"] = (
            (100 + 10 * count)[:, None, None] * np.eye(3)
            + 40 * atoms.arrays.pop("efg")
            + 30 * np.einsum("nk,kij->nij", axial, levi_civita)
        )
    return frames


def test_all_parts_of_a_shielding_are_learnt(tmp_path):
    frames = shielding_frames(36)
    size, schedule = TensorArchitecture(4.0, 16, 1, 24, 4), Schedule(180, 4, 1e-2, 0.0, 1)
    model = train(frames[:32], "ms", "so3net", size, schedule, tmp_path, "synthetic shieldings")
    lithium = frames[0].numbers == 3
    truth = np.concatenate([atoms.arrays["ms"][lithium] for atoms in frames[32:]])
    error = np.concatenate([model.predict(atoms)[lithium] for atoms in frames[32:]]) - truth
    assert model.description.normalisation[3].mean > 100  # the isotropic part is learnt from the mean on
    ends = np.cumsum(model.quantity.sizes)[:-1]
    parts = [np.split(model.quantity.components(values), ends, axis=1) for values in (error, truth)]
    for wrong, right in zip(*parts, strict=True):
        assert np.sqrt(np.mean(wrong**2)) < 0.35 * np.sqrt(np.mean((right - right.mean(axis=0)) ** 2))


@pytest.mark.parametrize(("ema_decay", "patience"), [(0.0, 0), (0.9, 0), (0.0, 3), (0.9, 2)])
def test_resuming_gives_the_same_numbers(tmp_path, ema_decay, patience):
    frames, watched = point_charge_frames(6), point_charge_frames(8)[6:]
    for atoms in watched:
        atoms.arrays["efg"] *= -1  # learning makes it worse: the best epoch is one before the kill
    size, schedule = TensorArchitecture(4.0, 4, 1, 4, 4), Schedule(5, 2, 1e-2, 1e-3, 7, ema_decay, patience)

    def trained(folder: str) -> TensorModel:
        return train(frames, "efg", "so3net", size, schedule, tmp_path / folder, folder, watched=watched)

    whole = trained("whole")

    class Killed(Exception):
        pass

    original = Progress.on_train_epoch_start

    def kill(self, trainer, module):
        original(self, trainer, module)
        if trainer.current_epoch == 2:
            raise Killed

    Progress.on_train_epoch_start = kill
    try:
        with pytest.raises(Killed):
            trained("cut")
    finally:
        Progress.on_train_epoch_start = original
    # Once more, as after a kill between the last epoch and what follows: nothing is left to learn.
    for model in (trained("cut"), trained("cut")):
        for one, other in zip(whole.parameters(), model.parameters(), strict=True):
            assert torch.equal(one, other)


def test_losses_are_written_for_tensorboard(tmp_path):
    schedule = Schedule(5, 2, 1e-2, 0.0, 7)
    train(
        point_charge_frames(4),
        "efg",
        "so3net",
        TensorArchitecture(4.0, 4, 1, 4, 4),
        schedule,
        tmp_path / "state",
        "synthetic",
        events=tmp_path / "events",
    )
    (path,) = (tmp_path / "events").glob("events.*")
    records, losses = path.read_bytes(), []
    while records:  # TFRecord: length, its checksum, an event, its checksum
        length = int.from_bytes(records[:8], "little")
        event = Event.FromString(records[12 : 12 + length])
        losses += [value.simple_value for value in event.summary.value if value.tag == "loss"]
        records = records[16 + length :]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_an_average_of_parameters_is_the_model(tmp_path):
    frames, size = point_charge_frames(4), TensorArchitecture(4.0, 4, 1, 4, 4)
    # An average that keeps nearly all of itself stays at the first step's parameters; the others move on.
    found = {
        decay: train(
            frames, "efg", "so3net", size, Schedule(6, 2, 1e-2, 0.0, 7, decay), tmp_path / f"{decay}", "synthetic"
        )
        for decay in (0.0, 1e-9, 1 - 1e-9)
    }
    last, follows, stays = (torch.cat([p.detach().ravel() for p in model.parameters()]) for model in found.values())
    assert torch.allclose(follows, last, atol=1e-6)
    assert (stays - last).abs().max() > 1e-2


def test_patience_ends_a_training_and_keeps_the_best_epoch(tmp_path, capsys):
    frames, size = point_charge_frames(12), TensorArchitecture(4.0, 8, 1, 8, 4)
    # What is watched has other labels: learning makes it worse sooner or later.
    watched = point_charge_frames(16)[12:]
    for atoms in watched:
        atoms.arrays["efg"] *= -1
    schedule = Schedule(200, 4, 1e-2, 0.0, 1, 0.0, 2)
    model = train(frames, "efg", "so3net", size, schedule, tmp_path / "state", "synthetic", watched=watched)
    epochs = torch.load(tmp_path / "state" / "last.ckpt", weights_only=True)["epoch"] + 1
    assert 2 < epochs < 50
    lithium = frames[0].numbers == 3
    sizes = [
        np.abs(model.predict(atoms)[lithium]).max() / np.abs(atoms.arrays["efg"][lithium]).max() for atoms in frames
    ]
    assert max(sizes) < 0.2  # of the best epoch, the first, which had learnt next to nothing
    for atoms in watched:
        atoms.arrays["efg"][:] = np.nan
    with pytest.raises(InputError, match="no labels to watch"):
        train(frames, "efg", "so3net", size, schedule, tmp_path / "other", "synthetic", watched=watched)
    with pytest.raises(InputError, match="patience of 2 epochs needs data to watch"):
        train(frames, "efg", "so3net", size, schedule, tmp_path / "other", "synthetic")


def test_a_diverging_loss_stops_with_the_reason(tmp_path):
    frames = point_charge_frames(2)
    frames[0].arrays["efg"][1] *= 1e30
    with pytest.raises(InputError, match=r"not finite in epoch \d+; .*good state.*Lower the learning rate"):
        train(
            frames,
            "efg",
            "so3net",
            TensorArchitecture(4.0, 4, 1, 4, 4),
            Schedule(50, 1, 1e30, 0.0, 1),
            tmp_path,
            "synthetic",
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(tmp_path):
    small = TensorArchitecture(4.0, 4, 1, 4, 4), Schedule(1, 1, 1e-3, 0.0, 1), tmp_path, "synthetic"
    with pytest.raises(InputError, match="device cuda: there is no GPU"):
        train(point_charge_frames(2), "efg", "so3net", *small, device="cuda")


def test_going_on_from_a_trained_model_beats_beginning_anew(tmp_path):
    """On charges half as large again, few snapshots and epochs: what was learnt on others helps."""
    size, frames = TensorArchitecture(4.0, 16, 1, 24, 4), point_charge_frames(30)
    lithium = frames[0].numbers == 3
    first = train(frames[:20], "efg", "so3net", size, Schedule(60, 4, 2e-2, 0.0, 1), tmp_path / "first", "first")
    for atoms in frames[20:]:
        atoms.arrays["efg"] *= 1.5
    errors = []
    for name, start in (("anew", None), ("going on", first)):
        schedule = Schedule(10, 2, 5e-3, 0.0, 2)
        model = train(frames[20:24], "efg", "so3net", size, schedule, tmp_path / name, name, start=start)
        differences = [model.predict(atoms)[lithium] - atoms.arrays["efg"][lithium] for atoms in frames[24:]]
        errors.append(np.sqrt(np.mean(np.square(differences))))
    assert errors[1] < 0.5 * errors[0]
    assert model.description.normalisation == first.description.normalisation
    other = TensorArchitecture(4.0, 8, 1, 24, 4), Schedule(1, 1, 1e-3, 0.0, 1), tmp_path / "other", "other"
    with pytest.raises(InputError, match="the model to start from"):
        train(frames[:2], "efg", "so3net", *other, start=first)


def test_labels_that_teach_nothing_are_refused(tmp_path):
    frames = point_charge_frames(2)
    for atoms in frames:
        atoms.arrays["efg"][:] = np.nan
    small = TensorArchitecture(4.0, 4, 1, 4, 4), Schedule(1, 1, 1e-3, 0.0, 1), tmp_path, "synthetic"
    with pytest.raises(InputError, match="no labels to train on"):
        train(frames, "efg", "so3net", *small)
    for atoms in frames:
        atoms.arrays["efg"][:] = 0.0
    with pytest.raises(InputError, match="nothing to learn"):
        train(frames, "efg", "so3net", *small)


@pytest.mark.parametrize(("backbone", "quantity"), KINDS)
def test_folder_round_trip(tmp_path, backbone, quantity):
    model, atoms = untrained(backbone, quantity, torch.float32), synthetic_structure()
    save_model(tmp_path / "member_0", model, {})
    assert np.array_equal(load_model(tmp_path / "member_0").predict(atoms), model.predict(atoms), equal_nan=True)


@pytest.mark.parametrize(("backbone", "quantity"), KINDS)
def test_models_of_this_version_still_say_what_they_said(backbone, quantity):
    folder = Path(__file__).parents[1] / "data" / "frozen" / f"{backbone}_{quantity}"
    (atoms,) = read_frames(folder / "predicted.extxyz")
    stored, known = tensors_of(atoms, quantity), atoms.numbers == 3
    found = load_model(folder).predict(atoms)
    assert np.abs(found - stored)[known].max() < 1e-4 * np.abs(anisotropy(stored[known])).max()
    assert np.isnan(found[~known]).all()


def test_members_left_over_from_a_larger_committee_are_left_alone(tmp_path):
    for member in range(3):
        save_model(tmp_path / f"member_{member}", untrained(dtype=torch.float32), {"members": 3 if member else 2})
    with pytest.raises(InputError, match=r"member_1 is one of 3 members, .*member_0 of 2: train both anew"):
        load_committee(tmp_path)
    save_model(tmp_path / "member_1", untrained(dtype=torch.float32), {"members": 2})
    assert len(load_committee(tmp_path)) == 2
    shutil.rmtree(tmp_path / "member_1")
    shutil.rmtree(tmp_path / "member_2")
    with pytest.raises(InputError, match=r"is one of 2 members, but .* has 1"):
        load_committee(tmp_path)


def test_torn_and_foreign_folders_are_refused(tmp_path):
    save_model(tmp_path / "member_0", untrained(dtype=torch.float32), {})
    with pytest.raises(InputError, match="Na"):
        load_model(tmp_path / "member_0").predict(Atoms("Na", cell=[4, 4, 4], pbc=True))
    state = tmp_path / "member_0" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt"):
        load_model(tmp_path / "member_0")
    shutil.copytree(tmp_path / "member_0", tmp_path / "other")
    config = json.loads((tmp_path / "member_0" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "version": "0.0.1"}))
    with pytest.raises(InputError, match=r"version 0\.0\.1.*train it again"):
        load_model(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text(json.dumps({"kind": "other"}))
    with pytest.raises(InputError, match="expected kind tensor_model"):
        load_model(tmp_path / "other")


def test_metrics_of_a_perfect_and_of_a_rotated_model():
    rng = np.random.default_rng(5)
    truth = traceless_symmetric(rng.normal(0, 0.01, (200, 3, 3)))
    mean = MeanModel.of_folds([(truth, 200)], "7Li")
    table = metrics(truth, truth, truth, mean, "7Li").set_index("quantity")
    assert table.loc["powder pattern, overlap", "model"] == 100
    assert (table["model"].drop(["tensors", "powder pattern, overlap"]).abs() < 1e-5).all()
    assert table["linear_model"].equals(table["model"])
    assert table.loc["component RMSE / RMS", "zero_model"] == 100
    turn = Rotation.from_euler("z", 20, degrees=True).as_matrix()
    rotated = metrics(truth, truth, turn @ truth @ turn.T, mean, "7Li").set_index("quantity")["linear_model"]
    # A rotation leaves every scalar right and every axis wrong: what a scalar model cannot see.
    assert rotated["|C_Q| MAE"] < 1e-6
    assert rotated["powder pattern, overlap"] > 95
    assert 5 < rotated["z axis, median angle (eta < 0.9)"] <= 20
    # The whole frame turns by 20 degrees, whatever its axes.
    assert rotated["principal frame, median rotation (0.1 < eta < 0.9)"] == pytest.approx(20, abs=1e-6)


def test_a_flipped_sign_and_another_shape_show_in_the_pattern():
    truth = 0.01 * np.diag([-0.4, -0.6, 1.0])[None]
    mean = MeanModel.of_folds([(truth, 1)], "7Li")
    table = metrics(truth, -truth, 0.01 * np.diag([0.05, -1.0, 0.95])[None], mean, "7Li").set_index("quantity")
    # A powder pattern of satellites does not know the sign; the coupling with its sign does.
    assert table.loc["powder pattern, overlap", "model"] == 100
    assert table.loc["|C_Q| MAE", "model"] < 1e-6
    assert table.loc["C_Q MAE, with sign", "model"] == pytest.approx(2 * 94.2, rel=1e-2)
    assert table.loc["sign of V_zz wrong", "model"] == 100
    assert table.loc["powder pattern, overlap", "linear_model"] < 80


def test_mean_model_answers_with_the_training_set_of_each_fold():
    axial = np.diag([-0.5, -0.5, 1.0])
    mean = MeanModel.of_folds([(0.01 * axial[None], 1), (0.03 * axial[None], 2)], "7Li")
    coupling = 0.01 * quadrupolar_nucleus("7Li").coupling_per_au * 1e-3
    assert mean.coupling_kHz == pytest.approx(np.abs([coupling, 3 * coupling, 3 * coupling]))
    assert mean.tensor[:, 2, 2] == pytest.approx([0.01, 0.03, 0.03])
    # Trained on small tensors, judged on large ones: off by the difference, as a model that peeked would not be.
    truth = np.repeat(0.03 * axial[None], 3, axis=0)
    table = metrics(truth, truth, truth, mean, "7Li").set_index("quantity")
    assert table.loc["|C_Q| MAE", "mean_model"] == pytest.approx(2 * abs(coupling) / 3)


@pytest.mark.parametrize(
    ("quantity", "make"), [("efg", lambda: point_charge_frames(28)), ("ms", lambda: shielding_frames(44))]
)
def test_scalar_models_are_invariant_and_learn_the_scalars_of_tensors(tmp_path, quantity, make):
    frames = make()
    lithium = frames[0].numbers == 3
    size, schedule = TensorArchitecture(4.0, 16, 1, 24, 4), Schedule(120, 4, 2e-2, 0.0, 1)
    for kind in TARGETS[quantity]:
        model = train_scalars(
            frames[:-4], quantity, kind, "so3net", size, schedule, tmp_path / kind, f"synthetic {kind}"
        )
        truth = np.concatenate([targets_of(atoms.arrays[quantity][lithium], quantity, kind) for atoms in frames[-4:]])
        predicted = np.concatenate([model.predict(atoms)[lithium] for atoms in frames[-4:]])
        # The first of a shielding and the last are smooth in the positions: V_zz jumps where its sign does.
        for smooth in {-1, 0} if quantity == "ms" else {-1}:
            apart = np.abs(truth[:, smooth] - np.median(truth[:, smooth]))
            assert np.abs(predicted[:, smooth] - truth[:, smooth]).mean() < 0.6 * apart.mean()
        turn = -Rotation.random(rng=np.random.default_rng(1)).as_matrix()
        turned = Atoms(frames[0].numbers, frames[0].positions @ turn.T, cell=frames[0].cell[:] @ turn.T, pbc=True)
        assert np.allclose(model.predict(turned), model.predict(frames[0]), rtol=1e-3, atol=1e-5)


def test_scalars_that_cannot_be_learnt(tmp_path):
    size, schedule = TensorArchitecture(4.0, 4, 1, 4, 4), Schedule(1, 2, 1e-2, 0.0, 1)
    place = ("so3net", size, schedule, tmp_path, "synthetic")
    frames = point_charge_frames(2)
    for atoms in frames:  # axial along the axes of the cell: the size varies, the shape does not
        axial = np.diag([-0.5, -0.5, 1.0]) * np.arange(1, 1 + len(atoms))[:, None, None]
        atoms.arrays["efg"] = np.where(np.isnan(atoms.arrays["efg"]), np.nan, 0.01 * axial)
    with pytest.raises(InputError, match="eta is the same in all labels"):
        train_scalars(frames, "efg", "invariants", *place)
    with pytest.raises(InputError, match=r"no labels to train on \(array `ms`\)"):
        train_scalars(frames, "ms", "isotropic", *place)


def test_loss_weighs_every_part_by_its_size_and_rotations_leave_it():
    generator = torch.Generator().manual_seed(1)
    error = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    turn = torch.tensor(Rotation.random(rng=np.random.default_rng(2)).as_matrix())
    turned = torch.cat([error[:, :1], error[:, 1:] @ turn.T], dim=1)
    loss = mean_lengths(error, [1, 3])
    assert mean_lengths(turned, [1, 3]) == pytest.approx(loss.item(), rel=1e-12)
    # Far from zero it is the root mean square of a part: of (8; 3, 0, 4) it is 8 and 5/sqrt(3), in a ratio of 1 to 3.
    single = mean_lengths(torch.tensor([[8.0, 3.0, 0.0, 4.0]]), [1, 3])
    assert single.item() == pytest.approx((8 + 5 * np.sqrt(3)) / 4, rel=1e-4)
