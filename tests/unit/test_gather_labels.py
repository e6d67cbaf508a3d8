"""Gathering labels into a dataset: which frames fail, which do not belong together, which are no longer the pool's."""

from pathlib import Path

import pytest
from insilico_nmr.dataset import read_dataset, read_frames, write_frames
from programs import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "li3n" / "li3n.extxyz"


@pytest.fixture
def labels(tmp_path):
    """A pool of three frames and a file with the labels of each."""
    frames = read_dataset(EXAMPLE)[:3]
    write_frames(tmp_path / "pool.extxyz", frames)
    for number, atoms in enumerate(frames):
        write_frames(tmp_path / f"{number}.extxyz", [atoms])
    return tmp_path


def gather(folder, *flags):
    files = [folder / f"{number}.extxyz" for number in range(3)]
    return run("gather_labels", *files, "--out", folder / "all.extxyz", *flags)


def changed(path, change):
    (atoms,) = read_frames(path)
    change(atoms)
    write_frames(path, [atoms])


def test_labels_are_gathered_and_failures_named(labels):
    changed(labels / "1.extxyz", lambda a: a.info.update(failed="it does not converge"))
    code, said = gather(labels, "--pool", labels / "pool.extxyz")
    assert code == 0
    assert "1.extxyz: it does not converge" in said
    assert len(read_dataset(labels / "all.extxyz")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.info.update(level_of_theory="GPAW, LDA"), "labels of Li3N: different levels of theory"),
        (lambda a: a.info.pop("group"), "1.extxyz, frame 0: no group"),
        (lambda a: a.translate(0.2), "1.extxyz: not frame 1 of"),
        (lambda a: a.info.update(charge=-2), "1.extxyz: not frame 1 of"),
    ],
)
def test_labels_that_do_not_belong_there(labels, change, message):
    changed(labels / "1.extxyz", change)
    code, said = gather(labels, "--pool", labels / "pool.extxyz")
    assert code == 2
    assert message in said
    assert not (labels / "all.extxyz").exists()


def test_a_pool_needs_a_file_for_each_frame(labels):
    write_frames(labels / "1.extxyz", read_frames(EXAMPLE)[1:3])
    code, said = gather(labels, "--pool", labels / "pool.extxyz")
    assert (code, "has 3 frames; expected as many files of one frame each, found 3 files of 4" in said) == (2, True)
    write_frames(labels / "pool.extxyz", read_frames(EXAMPLE)[:2])
    code, said = gather(labels, "--pool", labels / "pool.extxyz")
    assert (code, "has 2 frames" in said) == (2, True)


def test_nothing_labelled_is_no_dataset(labels):
    for number in range(3):
        changed(labels / f"{number}.extxyz", lambda a: a.info.update(failed="it does not converge"))
    code, said = gather(labels)
    assert code == 2
    assert said.endswith("error: none of 3 frames has labels\n")
