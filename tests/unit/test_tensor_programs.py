"""average_tensors, predict_tensors, evaluate_tensors, gather_tables and publish_tables as a user runs them."""

import ase.io
import average_tensors
import evaluate_shieldings
import evaluate_tensors
import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from crystals import cif
from insilico_nmr.dataset import efg, ms, write_dataset, write_frames
from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json, sha256, write_json
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.readers.magres import read as read_magres
from insilico_nmr.tensor_model import Description, Normalisation, TensorModel, load_committee, save_model
from insilico_nmr.tensors import from_components
from insilico_nmr.trajectory import Trajectory, write_trajectory
from programs import run


def crystal_text(occupancy: float) -> str:
    return cif(123, (4.2, 4.2, 4.6), f"Li1 Li 0 0 0 {occupancy}", "F1 F 0.5 0.5 0.5 1.0")


@pytest.fixture
def crystal(tmp_path):
    (tmp_path / "crystal.cif").write_text(crystal_text(1.0))
    return tmp_path


@pytest.fixture
def committee(crystal):
    """Two untrained members that know Li (labelled) and F."""
    size = TensorArchitecture(cutoff=4.0, features=8, interactions=1, radial=8, harmonics=4)
    for member in range(2):
        torch.manual_seed(member)
        model = TensorModel(Description("efg", "so3net", size, (3, 9), {3: Normalisation(0.0, (1e4,))}))
        model.know_domain([snapshot(seed) for seed in range(20)], [snapshot(seed) for seed in range(20, 30)])
        save_model(crystal / "model" / f"member_{member}", model, {})
    return crystal / "model"


def snapshot(seed: int) -> Atoms:
    """The crystal's cell with F displaced at random and some label on Li."""
    atoms = Atoms("LiF", [[0, 0, 0], [2.1, 2.1, 2.3]], cell=np.diag([4.2, 4.2, 4.6]), pbc=True)
    atoms.positions[1] += np.random.default_rng(seed).normal(0, 0.1, 3)
    atoms.arrays["efg"] = np.full((2, 3, 3), np.nan)
    atoms.arrays["efg"][0] = np.diag([-1, -1, 2])
    return atoms


def predict(folder, structure: str, *more: object):
    return run(
        "predict_tensors", folder / structure, "--model", folder / "model", "--out", folder / "out.extxyz", *more
    )


def test_predictions_are_the_mean_of_the_members_and_their_spread(crystal, committee):
    assert predict(crystal, "crystal.cif") == (0, "")
    atoms = ase.io.read(crystal / "out.extxyz")
    members = np.array([model.predict(ase.io.read(crystal / "crystal.cif"))[0] for model in load_committee(committee)])
    np.testing.assert_allclose(efg(atoms)[0], members.mean(axis=0), atol=1e-7)
    assert atoms.arrays["efg_sd"][0] == pytest.approx(np.sqrt(members.var(axis=0, ddof=1).mean()), rel=1e-4)
    assert np.isnan(efg(atoms)[1]).all()
    assert np.abs(members[0] - members[1]).max() > 1e-3
    assert not atoms.arrays["efg_outside"].any()
    assert predict(crystal, "crystal.cif", "--spread-factor", 2) == (0, "")
    wider = ase.io.read(crystal / "out.extxyz").arrays["efg_sd"][0]
    assert wider == pytest.approx(2 * atoms.arrays["efg_sd"][0], rel=1e-6)
    # F on top of Li is like nothing in training; F itself has no labels, so that nothing is said of it.
    squeezed = snapshot(0)
    squeezed.positions[1] = [1.1, 0.2, 0.0]
    del squeezed.arrays["efg"]
    squeezed.write(crystal / "squeezed.extxyz")
    assert predict(crystal, "squeezed.extxyz") == (0, "")
    assert ase.io.read(crystal / "out.extxyz").arrays["efg_outside"].tolist() == [True, False]


def test_structures_that_are_no_ordered_crystals_are_refused(crystal, committee):
    (crystal / "partial.cif").write_text(crystal_text(0.7))
    Atoms("Li", cell=np.diag([4.0, 4.0, 4.0])).write(crystal / "molecule.extxyz")
    Atoms("Na", cell=np.diag([4.0, 4.0, 4.0]), pbc=True).write(crystal / "other.extxyz")
    Atoms("Li", [[0, np.nan, 0]], cell=np.diag([4.0, 4.0, 4.0]), pbc=True).write(crystal / "lost.extxyz")
    for name, message in (
        ("lost.extxyz", "lost.extxyz, frame 0: atom 0 has no finite position"),
        (
            "partial.cif",
            "partly occupied sites of Li (0.7); expected an ordered structure. Make one with make_structure",
        ),
        ("molecule.extxyz", "expected a periodic cell"),
        ("other.extxyz", "not trained on Na"),
        ("none.cif", "none.cif"),
        ("model", "model"),
    ):
        code, said = predict(crystal, name)
        assert (code, len(said.splitlines())) == (2, 1)
        assert message in said
    assert not (crystal / "out.extxyz").exists()


def test_predictions_in_a_magres_file_are_those_of_the_frame(crystal, committee):
    """Field gradients and, from a second committee, shieldings; F, of which nothing was learnt, is left out."""
    size = TensorArchitecture(cutoff=4.0, features=8, interactions=1, radial=8, harmonics=4)
    known = []
    for seed in range(30):
        atoms = snapshot(seed)
        atoms.arrays["ms"] = np.full((2, 3, 3), np.nan)
        atoms.arrays["ms"][0] = np.diag([90.0, 91.0, 95.0])
        known.append(atoms)
    model = TensorModel(Description("ms", "so3net", size, (3, 9), {3: Normalisation(90.0, (1e4, 1e7, 1e4))}))
    model.know_domain(known[:20], known[20:])
    save_model(crystal / "shieldings" / "member_0", model, {})
    labelled = snapshot(3)
    labelled.info |= {"source": "synthetic DFT", "level_of_theory": "synthetic"}
    write_frames(crystal / "bent.extxyz", [labelled])
    both = ("--model", crystal / "model", "--model", crystal / "shieldings")
    for name in ("out.extxyz", "out.magres"):
        assert run("predict_tensors", crystal / "bent.extxyz", *both, "--out", crystal / name) == (0, "")
    expected, found = ase.io.read(crystal / "out.extxyz"), read_magres(crystal / "out.magres")
    assert str(found.symbols) == "Li"
    assert ase.io.read(crystal / "out.magres").arrays["ms"].shape == (1, 3, 3)  # ASE reads the file
    np.testing.assert_allclose(efg(found)[0], efg(expected)[0], atol=1e-7)
    np.testing.assert_allclose(ms(found)[0], ms(expected)[0], atol=1e-6)
    assert np.abs(ms(found)[0] - ms(found)[0].T).max() > 1e-3  # antisymmetric part, the right way round
    assert np.isnan(expected.arrays["ms_sd"][0])  # of one member
    assert "level_of_theory" not in expected.info
    assert expected.info["source"] == "predicted: efg: mean of 2 tensor models; ms: mean of 1 tensor models"
    assert run("predict_tensors", crystal / "bent.extxyz", *both[2:], "--out", crystal / "ms.extxyz") == (0, "")
    assert "efg" not in ase.io.read(crystal / "ms.extxyz").arrays  # which is DFT's
    assert "1 atoms without a tensor (F) are left out" in (crystal / "out.magres").read_text()
    code, said = run("predict_tensors", crystal / "bent.extxyz", *both, *both[:2], "--out", crystal / "out.magres")
    assert (code, said.count("\n")) == (2, 1)
    assert "a second committee for efg" in said
    write_frames(crystal / "two.extxyz", [snapshot(1), snapshot(2)])
    code, said = run("predict_tensors", crystal / "two.extxyz", *both, "--out", crystal / "two.magres")
    assert (code, said) == (2, f"error: {crystal / 'two.extxyz'}: 2 frames; a .magres file holds one\n")


class AxisAlong:
    """A tensor along z of a size of its own for every atom that the label knows."""

    def __init__(self, size: float):
        self.size = size

    def predict(self, atoms: Atoms) -> np.ndarray:
        found = np.full((len(atoms), 3, 3), np.nan)
        found[atoms.numbers == 3] = self.size * np.diag([-1, -1, 2])
        return found

    def outside(self, atoms: Atoms) -> np.ndarray:
        return (atoms.numbers == 3) & (self.size < 1)


class Shielded(AxisAlong):
    """A shielding of this isotropic value and of no symmetry."""

    def predict(self, atoms: Atoms) -> np.ndarray:
        found = np.full((len(atoms), 3, 3), np.nan)
        found[atoms.numbers == 3] = self.size * np.eye(3) + np.array([[0.5, 3, 0], [-3, -1.5, 0.2], [0, 0, 1]])
        return found


def test_a_committee_of_another_quantity_is_refused(crystal, committee):
    with pytest.raises(InputError, match="member_0 predicts the quantity efg; expected ms"):
        load_committee(committee, "ms")


def test_average_tensors_of_one_temperature(crystal, monkeypatch):
    sites = ["--sites", crystal / "sites.json"]
    assert run("make_sites", crystal / "crystal.cif", "--mobile", "Li", "--jump-cutoff", 4.3, "--out", sites[1])[0] == 0
    cell = np.diag([4.2, 4.2, 4.6])
    for name, target in (("a", 300.0), ("b", 300.0), ("c", 400.0)):
        positions = np.tile([[0, 0, 0], [2.1, 2.1, 2.3]], (4, 1, 1))
        trajectory = Trajectory(
            positions, np.array([3, 9]), cell, 0.1 * np.arange(4), np.full(4, 310), np.zeros(4), target
        )
        write_trajectory(crystal / f"{name}.h5", trajectory)
    committees = {"efg": [AxisAlong(0.01), AxisAlong(0.03)], "ms": [Shielded(89.0), Shielded(93.0)]}
    monkeypatch.setattr(average_tensors, "load_committee", lambda _, quantity: committees[quantity])
    common = [*sites, "--model", crystal, "--isotope", "7Li", "--out", crystal / "tensors.json"]
    assert run("average_tensors", crystal / "a.h5", crystal / "b.h5", *common, "--frames", 3) == (0, "")
    content = read_json(crystal / "tensors.json")
    # The temperature of the file name, at which readers look for it, not the 310 K that the run had.
    assert (content["temperature_K"], content["isotope"]) == (300.0, "7Li")
    (state,) = content["states"]
    np.testing.assert_allclose(state["tensor"], 0.02 * np.diag([-1, -1, 2]), atol=1e-12)
    np.testing.assert_allclose(state["members"], [size * np.diag([-1, -1, 2]) for size in (0.01, 0.03)], atol=1e-12)
    assert state["histories"] == 2
    assert content["outside_domain"] == 1.0
    assert run("average_tensors", crystal / "a.h5", *common, "--frames", 3, "--spread-factor", 3) == (0, "")
    (state,) = read_json(crystal / "tensors.json")["states"]
    np.testing.assert_allclose(state["members"], [size * np.diag([-1, -1, 2]) for size in (-0.01, 0.05)], atol=1e-12)
    assert np.shape(state["samples"]) == (8, 3, 3)
    assert "shielding" not in state
    code, said = run("average_tensors", crystal / "a.h5", *common, "--frames", 3, "--shieldings", crystal)
    assert (code, said) == (0, "")
    (state,) = read_json(crystal / "tensors.json")["states"]
    # On the fourfold axis what is antisymmetric or of lower symmetry goes out.
    np.testing.assert_allclose(state["shielding"], np.diag([90.5, 90.5, 92]), atol=1e-12)
    members = [size * np.eye(3) + np.diag([-0.5, -0.5, 1]) for size in (89, 93)]
    np.testing.assert_allclose(state["shielding_members"], members, atol=1e-12)
    assert np.shape(state["shielding_samples"]) == np.shape(state["samples"])
    (crystal / "tensors.json").unlink()
    for runs, frames, message in (("ac", 3, "runs at 300 and 400 K"), ("a", 0, "0 frames")):
        code, said = run("average_tensors", *(crystal / f"{name}.h5" for name in runs), *common, "--frames", frames)
        assert (code, message in said) == (2, True)
    assert not (crystal / "tensors.json").exists()


def snapshots(groups: str) -> list[Atoms]:
    """One frame a group, each with one Li whose tensor is random."""
    rng, frames = np.random.default_rng(1), []
    for group in groups:
        atoms = Atoms("LiF", [[0, 0, 0], rng.uniform(1.8, 2.2, 3)], cell=np.diag([4.2, 4.2, 4.6]), pbc=True)
        atoms.arrays["efg"] = np.full((2, 3, 3), np.nan)
        atoms.arrays["efg"][0] = from_components(rng.normal(0, 0.01, 5))
        atoms.info |= {"material": "made up", "phase": "x", "group": group, "source": "made up"}
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
        frames.append(atoms)
    return frames


class Parrot:
    """Knows the answer for some groups and says 1 for the others: told which frame it is by the place of the F."""

    def __init__(self, frames: list[Atoms], groups: str):
        self.answers = [(a.positions[1], efg(a) if a.info["group"] in groups else np.ones((2, 3, 3))) for a in frames]

    def predict(self, atoms: Atoms) -> np.ndarray:
        return next(answer for place, answer in self.answers if np.allclose(place, atoms.positions[1], atol=1e-6))


@pytest.fixture
def folds(tmp_path, monkeypatch):
    """A dataset of four groups and two members, of which each knows only what it is said not to have seen."""
    frames = snapshots("aabbcd")
    write_dataset(tmp_path / "data.extxyz", frames)

    def prepare(members: list[tuple[str, str, str]]) -> tuple[int, str]:
        for number, (held_out, _, trained) in enumerate(members):
            config = {"data_sha256": sha256(tmp_path / "data.extxyz"), "training_groups": list(trained)}
            write_json(
                tmp_path / "model" / f"member_{number}" / "config.json", config | {"held_out_groups": list(held_out)}
            )
        parrots = [Parrot(frames, knows) for _, knows, _ in members]
        monkeypatch.setattr(evaluate_tensors, "load_committee", lambda *_: parrots)
        outputs = [
            word for n in ("metrics", "components", "parameters") for word in (f"--out-{n}", tmp_path / f"{n}.csv")
        ]
        model = ["--model", tmp_path / "model", "--isotope", "7Li"]
        return run("evaluate_tensors", tmp_path / "data.extxyz", *model, *outputs)

    return tmp_path, frames, prepare


def test_each_member_is_judged_on_what_it_has_not_seen_and_on_nothing_else(folds):
    folder, frames, prepare = folds
    assert prepare([("ab", "ab", "cd"), ("cd", "cd", "ab")]) == (0, "")
    metrics = pd.read_csv(folder / "metrics.csv").set_index("quantity")
    # Perfect where it is asked; one answer of 1 from a group that was seen would show.
    assert metrics.loc["component MAE", "model"] < 1e-7
    assert metrics.loc["tensors", "model"] == 6
    assert metrics.loc["component RMSE / RMS", "zero_model"] == 100
    components = pd.read_csv(folder / "components.csv")
    assert components.groupby("group").size().to_dict() == {"a": 10, "b": 10, "c": 5, "d": 5}
    scalars = pd.read_csv(folder / "parameters.csv")
    assert scalars["frame"].tolist() == list(range(6))
    np.testing.assert_allclose(scalars["CQ_model_kHz"], scalars["CQ_dft_kHz"], rtol=1e-4)
    # The mean model of a fold is the mean of its training set: of c and d for frames of a and b.
    means = [np.mean([efg(a)[0] for a in frames if a.info["group"] in seen], axis=0) for seen in ("cd", "ab")]
    errors = [efg(a)[0] - means[a.info["group"] in "cd"] for a in frames]
    rms = 100 * np.sqrt(np.mean(np.square(errors)) / np.mean([efg(a)[0] ** 2 for a in frames]))
    assert metrics.loc["component RMSE / RMS", "mean_model"] == pytest.approx(rms, rel=1e-3)
    # The other way round every answer is wrong.
    prepare([("ab", "cd", "cd"), ("cd", "ab", "ab")])
    assert pd.read_csv(folder / "metrics.csv").set_index("quantity").loc["component MAE", "model"] > 0.1


def test_a_member_that_saw_its_held_out_groups_or_other_data_is_refused(folds):
    folder, frames, prepare = folds
    code, said = prepare([("ab", "ab", "bcd"), ("cd", "cd", "ab")])
    assert code == 2
    assert "member_0 was trained on b, which it is to be judged on" in said
    write_dataset(folder / "data.extxyz", frames[:-1])
    write_json(folder / "model" / "member_0" / "config.json", {"data_sha256": "0", "held_out_groups": ["a"]})
    outputs = [word for n in ("metrics", "components", "parameters") for word in (f"--out-{n}", folder / f"{n}.csv")]
    model = ["--model", folder / "model", "--isotope", "7Li"]
    code, said = run("evaluate_tensors", folder / "data.extxyz", *model, *outputs)
    assert (code, "was trained on other data" in said) == (2, True)
    assert not (folder / "metrics.csv").exists()


def test_shieldings_are_judged_on_unseen_groups_beside_the_mean_of_the_others(tmp_path, monkeypatch):
    frames = snapshots("aabb")
    rng = np.random.default_rng(2)
    for atoms in frames:
        atoms.arrays["ms"] = np.full((2, 3, 3), np.nan)
        atoms.arrays["ms"][0] = 90 * np.eye(3) + rng.normal(0, 2, (3, 3))
    write_dataset(tmp_path / "data.extxyz", frames)
    for number, (held_out, trained) in enumerate(("ab", "ba")):
        config = {"data_sha256": sha256(tmp_path / "data.extxyz"), "training_groups": [trained]}
        write_json(tmp_path / f"member_{number}" / "config.json", config | {"held_out_groups": [held_out]})

    class Off(Parrot):
        """One ppm too much."""

        def predict(self, atoms: Atoms) -> np.ndarray:
            found = next(a for a in frames if np.allclose(a.positions[1], atoms.positions[1], atol=1e-6))
            return ms(found) + np.eye(3)

    monkeypatch.setattr(evaluate_shieldings, "load_committee", lambda *_: [Off(frames, "ab"), Off(frames, "ab")])
    words = ["--model", tmp_path, "--out", tmp_path / "errors.csv"]
    assert run("evaluate_shieldings", tmp_path / "data.extxyz", "--element", "Li", *words) == (0, "")
    table = pd.read_csv(tmp_path / "errors.csv").set_index("quantity")
    assert table["tensors"].eq(4).all()
    assert table.loc["isotropic_ppm", "model"] == pytest.approx(1, abs=1e-6)
    assert table.loc["anisotropy_ppm", "model"] == pytest.approx(0, abs=1e-6)
    labels = np.array([ms(atoms)[0] for atoms in frames])
    iso = np.trace(labels, axis1=1, axis2=2) / 3
    expected = np.abs(iso - np.repeat([iso[2:].mean(), iso[:2].mean()], 2)).mean()
    assert table.loc["isotropic_ppm", "mean_model"] == pytest.approx(expected, rel=1e-5)
    code, said = run("evaluate_shieldings", tmp_path / "data.extxyz", "--element", "F", *words)
    assert (code, "no shielding of F" in said) == (2, True)


def test_tables_are_joined_in_the_order_given(tmp_path):
    pd.DataFrame({"T": [300, 310], "x": [1.5, 2.5]}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"x": [0.5], "T": [200]}).to_csv(tmp_path / "b.csv", index=False)
    pd.DataFrame({"T": [200], "y": [1]}).to_csv(tmp_path / "c.csv", index=False)
    names = [tmp_path / f"{name}.csv" for name in "abc"]
    assert run("gather_tables", *names[:2], "--out", tmp_path / "all.csv") == (0, "")
    assert (tmp_path / "all.csv").read_text() == "T,x\n300,1.5\n310,2.5\n200,0.5\n"
    code, said = run("gather_tables", *names, "--out", tmp_path / "more.csv")
    assert (code, "c.csv: columns differ" in said) == (2, True)
    assert not (tmp_path / "more.csv").exists()


def test_published_tables_are_registered_and_replace_earlier_ones(tmp_path):
    resources, results = tmp_path / "resources", tmp_path / "results" / "made_up"
    (resources / "published" / "other").mkdir(parents=True)
    (resources / "published" / "other" / "kept.csv").write_text("x\n1\n")
    registry = resources / "registry.csv"
    registry.write_text(
        "path,sha256,source,licence,units,level_of_theory\n"
        f"published/other/kept.csv,{sha256(resources / 'published' / 'other' / 'kept.csv')},a,b,c,d\n"
    )
    command = ["publish_tables", results, "--registry", registry]
    code, said = run(*command)
    assert (code, "no tables; run the study first" in said) == (2, True)
    (results / "tables").mkdir(parents=True)
    (results / "uncertainty").mkdir()
    (results / "uncertainty" / "atoms.csv").write_text("y\n3\n")
    (results / "figures").mkdir()
    (results / "figures" / "summary.png").write_bytes(b"a picture")
    write_json(results / "config.json", {"material": {"level_of_theory": "made up"}})
    for content in ("x\n1\n", "x\n2\n"):
        (results / "tables" / "rates.csv").write_text(content)
        assert run(*command)[0] == 0
        rows = pd.read_csv(registry).set_index("path")
        made = ["published/made_up/rates.csv", "published/made_up/uncertainty_atoms.csv"]
        assert rows.index.tolist() == ["published/other/kept.csv", *made]
        shipped = resources / "published" / "made_up" / "rates.csv"
        assert shipped.read_text() == content
        assert rows.loc["published/made_up/rates.csv", "sha256"] == sha256(shipped)
        assert rows.loc["published/made_up/rates.csv", "level_of_theory"] == "made up"
    assert (resources / "published" / "made_up" / "summary.png").read_bytes() == b"a picture"
    (results / "tables" / ".rates.9.partial.csv").write_text("half of")  # as a kill leaves it
    (results / "tables" / "measured_echo_fits.csv").write_text("x\n3\n")
    code, said = run(*command)
    assert (code, "measured_echo_fits.csv is of measured curves" in said) == (2, True)
    (results / "tables" / "measured_echo_fits.csv").unlink()
    observables = {"observables": {"measured_echoes": "mine.csv"}}
    write_json(results / "config.json", {"material": {"level_of_theory": "made up"}} | observables)
    code, said = run(*command)
    assert (code, "run the study without observables.measured_echoes" in said) == (2, True)
    write_json(results / "config.json", {"material": {"level_of_theory": "made up"}})
    # Made by another target on another day: still there, and still listed.
    (results / "uncertainty" / "atoms.csv").unlink()
    assert run(*command)[0] == 0
    assert sorted(pd.read_csv(registry)["path"]) == sorted(["published/other/kept.csv", *made])
