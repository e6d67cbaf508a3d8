"""The 29Si benchmark: reading the published table, splits without leaks, and a run on synthetic crystals."""

import json

import numpy as np
import pandas as pd
import pytest
from insilico_nmr.dataset import labelled, ms
from insilico_nmr.scalar_model import TARGETS
from insilico_nmr.shielding_metrics import TENSOR_ONLY
from insilico_nmr.silicates import disagreement, read_crystals, split
from programs import run

SIZE = "--cutoff 3 --features 4 --interactions 1 --radial 4 --epochs 1 --batch-size 2 --learning-rate 0.01"
SIZE += " --weight-decay 0 --seed 1 --backbone so3net --harmonics 4"


def synthetic_table(count: int) -> dict:
    """Crystals SiO2-like of four atoms, two Si of which the first has a tensor; the last is a copy of the first."""
    rng = np.random.default_rng(0)
    table = {name: {} for name in ("structure", "nmr_tensor", "atom_selector")}
    for number in range(count):
        sites = [
            {"species": [{"element": element, "occu": 1}], "abc": (place + rng.normal(0, 0.02, 3)).tolist()}
            for element, place in zip(
                ["Si", "Si", "O", "O"], np.array([[0, 0, 0], [0.5] * 3, [0.5, 0, 0], [0, 0.5, 0]]), strict=True
            )
        ]
        table["structure"][f"{number}"] = {"lattice": {"matrix": (4.0 * np.eye(3)).tolist()}, "sites": sites}
        table["nmr_tensor"][f"{number}"] = (400 * np.eye(3) + rng.normal(0, 10, (3, 3)))[None].tolist()
        table["atom_selector"][f"{number}"] = [True, False, False, False]
    last = f"{count - 1}"
    table["structure"][last] = table["structure"]["0"]
    table["nmr_tensor"][last] = (np.array(table["nmr_tensor"]["0"]) + 2.0).tolist()
    return table


@pytest.fixture
def crystals(tmp_path):
    table = synthetic_table(8)
    (tmp_path / "table.json").write_text(json.dumps(table))
    (tmp_path / "groups.json").write_text(json.dumps([[0, 7], [1], [2], [3, 4], [5], [6]]))
    command = [tmp_path / "table.json", "--groups", tmp_path / "groups.json", "--out", tmp_path / "si29.extxyz"]
    assert run("read_si29", *command) == (0, "")
    return tmp_path, table, read_crystals(tmp_path / "si29.extxyz")


def test_labels_are_shieldings_of_the_marked_atoms(crystals):
    _, table, frames = crystals
    assert [labelled(ms(atoms)).tolist() for atoms in frames] == [[True, False, False, False]] * 8
    np.testing.assert_allclose(ms(frames[3])[0], -np.array(table["nmr_tensor"]["3"][0]), atol=1e-7)
    # Copies differ by 2 ppm in all nine components.
    assert disagreement(frames) == pytest.approx({"component": 2.0, "isotropic": 2.0}, abs=1e-6)


def test_like_crystals_stay_together_in_a_grouped_split_only(crystals):
    _, _, frames = crystals
    held_out = []
    for fold in range(3):
        seen, test = split(frames, "grouped", 3, fold, 1)
        assert not {atoms.info["group"] for atoms in seen} & {atoms.info["group"] for atoms in test}
        held_out += [atoms.info["source"] for atoms in test]
    assert sorted(held_out) == sorted(atoms.info["source"] for atoms in frames)
    apart = 0
    for seed in range(5):
        for fold in range(8):
            seen, test = split(frames, "random", 8, fold, seed)
            assert (len(seen), len(test)) == (7, 1)
            apart += test[0].info["source"].endswith("row 7")
    assert apart == 5


def test_a_run_reports_errors_beside_the_mean_and_the_copies(crystals):
    folder, _, frames = crystals
    command = [folder / "si29.extxyz", "--split", "grouped", "--folds", 3, *SIZE.split(), "--resume", folder / "state"]
    assert run("benchmark_si29", *command, "--out", folder / "row.csv")[0] == 0
    (row,) = pd.read_csv(folder / "row.csv").to_dict("records")
    seen, test = split(frames, "grouped", 3, 0, 1)
    mean = np.mean([ms(atoms)[0] for atoms in seen], axis=0)
    assert row["test_atoms"] == len(test)
    assert row["mean_model_component_ppm"] == pytest.approx(np.mean([abs(ms(a)[0] - mean) for a in test]), rel=1e-5)
    assert row["copies_component_ppm"] == pytest.approx(2.0, abs=1e-5)
    assert 0 < row["component_ppm"] < 50
    assert 0 < row["isotropic_ppm"] < 50


def test_tables_that_do_not_fit_are_refused(crystals):
    folder, table, _ = crystals
    command = ["--groups", folder / "groups.json", "--out", folder / "new.extxyz"]
    changes = (
        ("atom_selector", [True, True, False, False], "crystal 2: 4 atoms, a selector of 4 with 2 marks"),
        ("nmr_tensor", [[[1.0, 2.0], [3.0, 4.0]]], "tensors of shape (1, 2, 2)"),
    )
    for name, value, message in changes:
        broken = {**table, name: {**table[name], "2": value}}
        (folder / "broken.json").write_text(json.dumps(broken))
        code, said = run("read_si29", folder / "broken.json", *command)
        assert (code, message in said) == (2, True)
    (folder / "groups.json").write_text(json.dumps([[0, 7], [1]]))
    code, said = run("read_si29", folder / "table.json", *command)
    assert (code, "each of the 8 crystals" in said) == (2, True)
    assert not (folder / "new.extxyz").exists()


def test_rows_of_all_kinds_of_models_make_one_table(crystals):
    folder = crystals[0]
    rows = []
    for kind in ("tensor", *TARGETS["ms"]):
        out = folder / f"{kind}.csv"
        command = [folder / "si29.extxyz", "--split", "grouped", "--folds", 3, *SIZE.split(), "--kind", kind]
        assert run("benchmark_si29", *command, "--resume", folder / kind, "--out", out)[0] == 0
        rows.append(out)
    assert run("gather_tables", *rows, "--out", folder / "curves.csv") == (0, "")
    table = pd.read_csv(folder / "curves.csv").set_index("kind")
    known = table.notna()
    assert known.loc["tensor"].all()
    assert known.loc["invariants", ["isotropic_ppm", "anisotropy_ppm", "eta"]].all()
    assert not known.loc["invariants", list(TENSOR_ONLY)].any()
    assert known.loc["isotropic", "isotropic_ppm"]
    assert not known.loc["isotropic", ["anisotropy_ppm", "eta", *TENSOR_ONLY]].any()
