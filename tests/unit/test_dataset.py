"""The labelled-snapshot contract: what is kept, what is refused, and how frames are split."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from insilico_nmr.dataset import (
    check_frames,
    efg,
    leave_fold_out,
    leave_group_out_folds,
    ms,
    read_dataset,
    read_frames,
    write_dataset,
    write_frames,
)
from insilico_nmr.errors import InputError
from insilico_nmr.files import sha256
from insilico_nmr.registry import check_registered
from insilico_nmr.tensors import traceless_symmetric
from insilico_nmr.xyz_frames import count_frames


def snapshot(seed=0, phase="a", group="a1"):
    """A made-up frame of three atoms with every label; its shielding is not symmetric."""
    rng = np.random.default_rng(seed)
    positions = np.array([[0.1, 0.2, 0.3], [2.0, 0.0, 0.0], [0.0, 2.5, 2.0]]) + 0.1 * rng.normal(size=(3, 3))
    atoms = Atoms("Li2S", positions=positions, cell=[[5, 0, 0], [0.5, 5, 0], [0, 0.3, 6]], pbc=True)
    atoms.arrays["efg"] = traceless_symmetric(rng.normal(size=(3, 3, 3)))
    atoms.arrays["ms"] = 90 + rng.normal(size=(3, 3, 3))
    atoms.info.update(material="X", phase=phase, group=group, source="made up")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.25, forces=rng.normal(size=(3, 3)), stress=rng.normal(size=6))
    return atoms


def test_a_dataset_comes_back_as_it_was_written(tmp_path):
    frames = [snapshot(0), snapshot(1)]
    frames[1].arrays["ms"][2] = np.nan
    write_dataset(tmp_path / "d.extxyz", frames)
    back = read_dataset(tmp_path / "d.extxyz")
    for old, new in zip(frames, back, strict=True):
        assert new.arrays["efg"].shape == (3, 3, 3)
        np.testing.assert_allclose(efg(new), efg(old), atol=1e-8)
        np.testing.assert_allclose(ms(new), ms(old), atol=1e-8)  # the antisymmetric part too; NaN stays NaN
        np.testing.assert_allclose(new.get_forces(), old.get_forces(), atol=1e-8)
        np.testing.assert_allclose(new.get_stress(), old.get_stress(), atol=1e-8)
        assert new.get_potential_energy() == old.get_potential_energy()
        assert new.info["group"] == "a1"
    assert frames[0].arrays["efg"].shape == (3, 3, 3), "writing must not change the frames"


def test_a_frame_without_tensors_has_only_nan():
    bare = Atoms("Li2")
    assert efg(bare).shape == ms(bare).shape == (2, 3, 3)
    assert np.isnan(efg(bare)).all()


def put(name, index, value):
    """A defect: one element of an array set to a value."""

    def spoil(atoms):
        atoms.arrays[name][index] = value

    return spoil


def add_to(name, index, value):
    def spoil(atoms):
        atoms.arrays[name][index] += value

    return spoil


def result(name, value):
    def spoil(atoms):
        atoms.calc.results[name] = value

    return spoil


def strip_labels(atoms):
    atoms.calc = None
    atoms.arrays["ms"][:] = np.nan
    del atoms.arrays["efg"]


def nan_force(atoms):
    atoms.calc.results["forces"][2, 1] = np.nan


DEFECTS = {
    "nan position": (put("positions", (1, 2), np.nan), r"frame 1, atom 1 \(Li\): position is not finite"),
    "nan energy": (result("energy", np.nan), "frame 1: energy is not finite"),
    "infinite stress": (result("stress", np.full(6, np.inf)), "frame 1: stress is not finite"),
    "nan force": (nan_force, r"frame 1, atom 2 \(S\): force is not finite"),
    "one nan in a tensor": (put("efg", (0, 1, 1), np.nan), r"frame 1, atom 0 \(Li\): efg is not finite"),
    "infinite shielding": (put("ms", (2, 0, 0), np.inf), r"frame 1, atom 2 \(S\): ms is not finite"),
    "trace": (add_to("efg", (1, 2, 2), 1e-4), r"frame 1, atom 1 \(Li\): field gradient has a trace of 1.00e-04"),
    "asymmetry": (add_to("efg", (1, 0, 2), 1e-4), r"frame 1, atom 1 \(Li\): field gradient is not symmetric"),
    "no cell": (lambda atoms: atoms.set_cell(None), "frame 1: no cell"),
    "flat cell": (lambda atoms: atoms.set_cell([5, 5, 0]), "frame 1: no cell"),
    "not periodic": (lambda atoms: atoms.set_pbc([True, True, False]), "frame 1: not periodic"),
    "no labels": (strip_labels, "frame 1: no labels"),
    "no phase": (lambda atoms: atoms.info.pop("phase"), "frame 1: no phase"),
    "empty group": (lambda atoms: atoms.info.update(group=""), "frame 1: no group"),
    "units": (
        lambda atoms: atoms.info.update(efg_units="V/m^2"),
        r"frame 1: unknown units 'V/m\^2' for efg, expected 'au'",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_refused_by_frame_and_atom(name, tmp_path):
    spoil, message = DEFECTS[name]
    frames = [snapshot(0), snapshot(1)]
    check_frames(frames, "here")
    spoil(frames[1])
    with pytest.raises(InputError, match=f"^here, {message}"):
        check_frames(frames, "here")
    with pytest.raises(InputError):
        write_dataset(tmp_path / "d.extxyz", frames)
    assert list(tmp_path.iterdir()) == []


def test_atoms_on_top_of_each_other_are_seen_across_the_boundary():
    atoms = snapshot()
    atoms.positions[1] = atoms.positions[0] + atoms.cell[0] + atoms.cell[2] + [0.3, 0, 0]
    with pytest.raises(InputError, match=r"frame 0: atoms 0 \(Li\) and 1 \(Li\) are 0.300 Å apart"):
        check_frames([atoms], "here")
    atoms.positions[1] += [0.25, 0, 0]
    check_frames([atoms], "here")


def test_rounding_to_eight_decimals_is_no_trace():
    atoms = snapshot()
    atoms.arrays["efg"][0] = np.diag([1e-3, 1e-3, -2e-3]) + 0.5e-8 * np.eye(3)
    check_frames([atoms], "here")


def test_a_duplicate_is_named_with_its_original():
    frames = [snapshot(0), snapshot(1), snapshot(0)]
    frames[2].info["group"] = "another"
    with pytest.raises(InputError, match="frame 2 is a duplicate of frame 0"):
        check_frames(frames, "here")


def test_an_empty_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="empty dataset"):
        check_frames([], "here")
    (tmp_path / "empty.extxyz").write_text("\n")
    with pytest.raises(InputError, match=r"empty.extxyz: empty dataset"):
        read_dataset(tmp_path / "empty.extxyz")
    with pytest.raises(InputError, match="no such file"):
        read_dataset(tmp_path / "absent.extxyz")


def test_frames_are_counted_without_reading_them(tmp_path):
    path = tmp_path / "frames.extxyz"
    write_frames(path, [snapshot(0), snapshot(1)])
    assert count_frames(path) == 2
    path.write_text("")
    assert count_frames(path) == 0  # what a round of active learning has picked that ends it


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    path = tmp_path / "d.extxyz"
    write_dataset(path, [snapshot(0), snapshot(1)])
    whole = path.read_text()
    first_frame = len(whole) // 2  # both frames are about as long; a cut between them leaves a whole dataset
    lines = whole.splitlines(keepends=True)
    boundary = sum(map(len, lines[:5]))
    assert abs(boundary - first_frame) < 20
    for length in (len(whole) - 1, len(whole) - 30, boundary + 1, boundary + 2, boundary + 40, boundary - 4, 1):
        path.write_text(whole[:length])
        with pytest.raises(InputError, match=r"d.extxyz"):
            read_dataset(path)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="truncated, frame 1 should have 3 atoms"):
        read_dataset(path)
    path.write_text("".join(lines[:5]))
    assert len(read_dataset(path)) == 1


def test_a_tensor_of_the_wrong_width_is_refused(tmp_path):
    atoms = snapshot()
    atoms.arrays["efg"] = np.zeros((3, 6))
    ase.io.write(tmp_path / "six.extxyz", atoms, format="extxyz", columns=["symbols", "positions", "efg"])
    with pytest.raises(InputError, match=r"frame 0: efg must be nine real columns"):
        read_frames(tmp_path / "six.extxyz")


def test_predictions_need_no_provenance(tmp_path):
    atoms = snapshot()
    atoms.info.clear()
    write_frames(tmp_path / "p.extxyz", [atoms])
    np.testing.assert_allclose(efg(read_frames(tmp_path / "p.extxyz")[0]), efg(atoms), atol=1e-8)


def grouped(counts):
    """Frames of phases with so many groups each; group k of a phase has k + 1 frames."""
    return [
        snapshot(0, phase, f"{phase}{group}")
        for phase, groups in counts.items()
        for group in range(groups)
        for _ in range(group + 1)
    ]


@pytest.mark.parametrize(("n_folds", "expected"), [(None, 10), (4, 4), (2, 2)])
def test_each_group_is_held_out_exactly_once(n_folds, expected):
    frames = grouped({"a": 3, "b": 4, "c": 3})
    folds = leave_group_out_folds(frames, n_folds, seed=3)
    assert len(folds) == expected
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(len(frames)))
    for training, held in folds:
        assert {frames[i].info["group"] for i in training} & {frames[i].info["group"] for i in held} == set()
        assert len(training) + len(held) == len(frames)
        assert len(held) > 0
    if n_folds == 2:  # stratified: both folds see every phase
        assert all({frames[i].info["phase"] for i in held} == {"a", "b", "c"} for _, held in folds)


def test_folds_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="4 folds out of 3 groups"):
        leave_group_out_folds(grouped({"a": 3}), 4)
    frames = grouped({"a": 2, "b": 2})
    for fold in (-1, 2):
        with pytest.raises(InputError, match=f"fold {fold}; expected 0 to 1"):
            leave_fold_out(frames, 2, 0, fold)
    frames[-1].info["group"] = "a0"
    with pytest.raises(InputError, match="group 'a0' holds frames of"):
        leave_group_out_folds(frames, 2)


def registry(tmp_path, text):
    path = tmp_path / "registry.csv"
    path.write_text("path,sha256,source,licence,units,level_of_theory\n" + text)
    return path


def test_a_checksum_that_differs_is_refused_with_both_sums(tmp_path):
    data = tmp_path / "d.extxyz"
    write_dataset(data, [snapshot()])
    table = registry(tmp_path, f"d.extxyz,{sha256(data)},made up,none,efg au,none\n")
    assert check_registered(data, table)["source"] == "made up"
    expected = sha256(data)
    data.write_text(data.read_text().replace("-1.25", "-1.26"))
    with pytest.raises(InputError, match=f"expected {expected}, found {sha256(data)}"):
        check_registered(data, table)


def test_a_file_that_is_not_listed_or_a_registry_without_columns_is_refused(tmp_path):
    data = tmp_path / "d.extxyz"
    data.write_text("1")
    with pytest.raises(InputError, match="not listed"):
        check_registered(data, registry(tmp_path, ""))
    with pytest.raises(InputError, match="listed twice"):
        check_registered(data, registry(tmp_path, "d.extxyz,0,,,,\nd.extxyz,1,,,,\n"))
    (tmp_path / "registry.csv").write_text("path,md5\n")
    with pytest.raises(InputError, match="no column sha256, source"):
        check_registered(data, tmp_path / "registry.csv")
