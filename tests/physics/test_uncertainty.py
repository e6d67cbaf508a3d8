"""Committee spread against errors: where the right answer is known, and the programs on snapshots of the example."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from insilico_nmr.domain import Domain
from insilico_nmr.tensors import to_components, traceless_symmetric
from insilico_nmr.uncertainty import confidence, freedom, spread, spread_factor, widened
from judge_uncertainty import judge
from programs import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "li3n" / "li3n.extxyz"
SIZE = "--cutoff 4 --features 8 --interactions 1 --radial 8 --epochs 3 --batch-size 2 --learning-rate 0.01"
SIZE += " --weight-decay 0 --seed 3 --members 2 --element Li --backbone so3net --harmonics 4"


def synthetic_committee(atoms: int, members: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Tensors of members and of the truth, whose error is `factor` times each atom's own spread."""
    rng = np.random.default_rng(0)
    size = rng.uniform(0.001, 0.01, atoms)[:, None, None]
    basis = np.sqrt(2.0)  # traceless_symmetric of unit normals has components of variance 1/2 off the diagonal
    of_members = size * basis * traceless_symmetric(rng.normal(size=(members, atoms, 3, 3)))
    truth = of_members.mean(axis=0) + factor * size * basis * traceless_symmetric(rng.normal(size=(atoms, 3, 3)))
    return of_members, truth


@pytest.mark.parametrize(("members", "factor"), [(2, 1.0), (4, 2.5)])
def test_the_factor_is_found_and_makes_intervals_right(members, factor):
    tensors, truth = synthetic_committee(4000, members, factor)
    components = to_components(tensors)
    errors = components.mean(axis=0) - to_components(truth)
    degrees = freedom(members, 5)
    found = spread_factor(errors, spread(components), degrees)
    assert found == pytest.approx(factor, rel=0.1)
    scaled = np.repeat(found * spread(components)[:, None], 5, axis=1)
    for level in (0.68, 0.95):
        assert np.mean(confidence(errors, scaled, degrees) < level) == pytest.approx(level, abs=0.03)


def test_each_fold_is_widened_by_what_the_others_ask_for():
    tensors, truth = synthetic_committee(3000, 4, 2.0)
    fold = np.arange(3000) % 3
    truth[fold == 0] = tensors[:, fold == 0].mean(axis=0)  # a fold without errors
    factors = judge(tensors, truth, fold, "7Li").groupby(fold)["factor"].first()
    assert factors[0] == pytest.approx(2.0, rel=0.1)  # of folds 1 and 2
    assert (factors[[1, 2]] < 1.2).all()  # half of what they see has no error
    np.testing.assert_allclose(widened(tensors, 3.0).mean(axis=0), tensors.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(widened(tensors, 3.0).std(axis=0), 3 * tensors.std(axis=0), atol=1e-15)


def test_a_domain_takes_in_what_is_known_and_nothing_far_from_it():
    rng = np.random.default_rng(1)
    shape = np.array([3.0, 1.0, 0.1])  # features of very different spread
    trained, held_out = rng.normal(size=(500, 3)) * shape, rng.normal(size=(100, 3)) * shape
    domain = Domain.of(trained, held_out)
    assert np.mean(domain.distance(trained) ** 2) == pytest.approx(1, rel=0.2)
    assert not domain.outside(np.concatenate([trained, held_out])).any()
    # Two units are usual along the broad features, and twenty deviations along the narrow one.
    assert domain.outside(2.0 * np.eye(3)).tolist() == [False, False, True]


def test_committees_that_never_saw_a_fold_are_judged_on_it(tmp_path):
    for fold in range(2):
        for member in range(2):
            place = ["--resume", tmp_path / "state", "--out", tmp_path / f"without_{fold}" / f"member_{member}"]
            command = [EXAMPLE, *SIZE.split(), "--member", member, "--leave-out", fold, *place]
            assert run("train_tensors", *command)[0] == 0
    folders = [tmp_path / "without_0", tmp_path / "without_1"]
    outputs = ["--out-atoms", tmp_path / "atoms.csv", "--out-coverage", tmp_path / "coverage.csv"]
    common = ["--seed", 3, "--isotope", "7Li", *outputs]
    assert run("judge_uncertainty", EXAMPLE, "--models", *folders, *common) == (0, "")
    atoms, coverage = pd.read_csv(tmp_path / "atoms.csv"), pd.read_csv(tmp_path / "coverage.csv")
    assert not atoms.duplicated(["frame", "atom"]).any()
    assert set(atoms["fold"]) == {0, 1}
    within = coverage.pivot_table("within_percent", ["quantity", "spread"], "level_percent")
    assert (within[95] >= within[68]).all()
    figures = ["--out-pdf", tmp_path / "a.pdf", "--out-png", tmp_path / "a.png"]
    assert run("plot_uncertainty", tmp_path / "atoms.csv", *figures) == (0, "")
    # A model to go on from must not have seen what the new one is judged on.
    place = ["--resume", tmp_path / "state", "--out", tmp_path / "new"]
    start = ["--member", 1, "--start-from", folders[0] / "member_0"]
    code, said = run("train_tensors", EXAMPLE, *SIZE.split(), *start, *place)
    assert (code, "which member 1 holds out" in said) == (2, True)
    # The other way round each committee is asked about what it was trained on.
    code, said = run("judge_uncertainty", EXAMPLE, "--models", *folders[::-1], *common)
    assert (code, "which it is to be judged on" in said) == (2, True)
