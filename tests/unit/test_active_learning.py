"""One round of active learning on real snapshots of the example, program by program: split, explore, pick, validate."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from insilico_nmr import md
from insilico_nmr.dataset import read_dataset
from insilico_nmr.files import write_json
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.tensor_model import Description, Normalisation, TensorModel, save_model
from insilico_nmr.trajectory import read_trajectory
from programs import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "li3n"
FIT = (
    "--seed 1 --pair-cutoff 6 --pair-intervals 14 --trio-cutoff 3.5 --leg-intervals 4 --side-intervals 8 --energy-error"
)
FIT += " 0.003 --force-error 0.1 --stress-error 0.002 --ridge 0.5 --curvature 0.5 --wall 300 --coverage 0.1 --members 3"

RUN = "--length-ps 0.2 --interval-fs 20 --timestep-fs 1 --damping-ps 0.5 --seed 4"
PICK = "--element Li --frames 3 --min-gain 0.05 --material Li3N --phase alpha --group round_0"


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """A folder with a split dataset, a potential of three members and two untrained tensor models."""
    folder = tmp_path_factory.mktemp("loop")
    groups = sorted({atoms.info["group"] for atoms in read_dataset(EXAMPLE / "li3n.extxyz")})
    split = ("--out", folder / "rest.extxyz", "--out-aside", folder / "aside.extxyz")
    assert run("split_dataset", EXAMPLE / "li3n.extxyz", "--groups", groups[0], *split)[0] == 0
    assert run("train_potential", folder / "rest.extxyz", "--out", folder / "potential", *FIT.split())[0] == 0
    size = TensorArchitecture(cutoff=4.0, features=8, interactions=1, radial=8, harmonics=4)
    for member in range(2):
        torch.manual_seed(member)
        model = TensorModel(Description("efg", "so3net", size, (3, 7), {3: Normalisation(0.0, (0.05,))}))
        save_model(folder / "tensors" / f"member_{member}", model, {})
    structure = ("--mobile", "Li", "--repeat", 2, 2, 1, "--seed", 3, "--min-distance", 1.9)
    assert run("make_structure", EXAMPLE / "li3n.cif", *structure, "--out", folder / "start.extxyz")[0] == 0
    write_json(folder / "errors.json", {"force_rmse_eV_per_A": 0.1, "tensor_rmse_au": 0.01})
    return folder, groups[0]


def explore(folder, temperature, out, *extra):
    place = ("--potential", folder / "potential", "--resume", folder / f"state_{temperature}")
    return run(
        "explore", folder / "start.extxyz", *place, "--temperature", temperature, *RUN.split(), *extra, "--out", out
    )


def pick(folder, out, errors):
    models = ("--potential", folder / "potential", "--tensors", folder / "tensors", "--dataset", folder / "rest.extxyz")
    return run("pick_snapshots", folder / "run.h5", *models, "--errors", *errors, *PICK.split(), "--out", out)


def test_groups_set_aside_are_not_trained_on(loop):
    folder, group = loop
    aside, rest = read_dataset(folder / "aside.extxyz"), read_dataset(folder / "rest.extxyz")
    assert {atoms.info["group"] for atoms in aside} == {group}
    assert group not in {atoms.info["group"] for atoms in rest}
    assert len(aside) + len(rest) == len(read_dataset(EXAMPLE / "li3n.extxyz"))
    code, said = run("split_dataset", EXAMPLE / "li3n.extxyz", "--groups", "nobody", "--out", "a", "--out-aside", "b")
    assert (code, "no group nobody" in said) == (2, True)


def test_exploring_picking_and_the_end_of_learning(loop, tmp_path):
    folder, _ = loop
    code, said = explore(folder, 300, folder / "run.h5")
    assert code == 0, said
    frames = len(read_trajectory(folder / "run.h5").positions)
    assert frames == 10

    code, said = pick(folder, tmp_path / "picked.extxyz", [folder / "errors.json"])
    assert code == 0, said
    picked = ase.io.read(tmp_path / "picked.extxyz", index=":")
    assert len(picked) == 3
    assert {atoms.info["group"] for atoms in picked} == {"round_0_run"}
    # Of the more uncertain half: no picked frame is surer of both than the median candidate.
    assert f"3 of {frames} candidates" in said
    spread = [atoms.info["force_spread"] for atoms in picked]
    assert np.isfinite(spread).all()
    assert min(spread) > 0

    # Errors that fell by 1 % only: enough has been learnt.
    write_json(tmp_path / "next.json", {"force_rmse_eV_per_A": 0.099, "tensor_rmse_au": 0.0099})
    code, said = pick(folder, tmp_path / "none.extxyz", [folder / "errors.json", tmp_path / "next.json"])
    assert code == 0
    assert "nothing more is picked" in said
    assert (tmp_path / "none.extxyz").read_text() == ""


def test_a_run_that_blows_up_leaves_its_sound_frames(loop, tmp_path, monkeypatch):
    """The engine gives up in its second chunk: what was run before is kept; in the first, it is an error."""
    folder, _ = loop
    chunk, calls = md._chunk, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == last:
            raise md.BlownUp("the potential blew up", arguments[0].positions)
        return chunk(*arguments)

    monkeypatch.setattr(md, "_chunk", failing)
    last = 2
    code, said = explore(folder, 310, tmp_path / "hot.h5")
    assert code == 0, said
    assert "the potential blew up" in said
    assert len(read_trajectory(tmp_path / "hot.h5").time_ps) == 5
    calls.clear()
    last = 1
    assert explore(folder, 320, tmp_path / "hotter.h5")[0] == 2


def test_a_host_unit_that_the_start_does_not_have_is_refused_before_anything_runs(loop, tmp_path):
    """No N has exactly twenty Li within 2.5 Å."""
    folder, _ = loop
    unit = ("--host-unit", "N", "Li", 20, 2.5)
    code, said = explore(folder, 330, tmp_path / "broken.h5", *unit)
    assert (code, "expected 20: is the host unit right?" in said) == (2, True)
    assert "ps" not in said


def test_validation_refuses_groups_that_were_trained_on(loop, tmp_path):
    folder, _ = loop
    models = ("--potential", folder / "potential", "--tensors", folder / "tensors", "--element", "Li")
    out = ("--dataset", folder / "rest.extxyz", "--out", tmp_path / "errors.json")
    code, said = run("validate_models", folder / "aside.extxyz", *models, *out)
    assert code == 0, said
    code, said = run("validate_models", folder / "rest.extxyz", *models, *out)
    assert (code, "share the group" in said) == (2, True)
