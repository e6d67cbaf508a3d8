"""Field gradients of Li3N by GPAW against FP-LAPW and experiment. Needs GPAW (Debian: apt-get install gpaw)."""

import shutil
import subprocess
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.spacegroup import crystal
from insilico_nmr.dataset import read_frames

SCRIPTS = Path(__file__).parents[2] / "scripts"
AU_IN_1E21_V_PER_M2 = 9.7173624
needs_gpaw = pytest.mark.skipif(shutil.which("gpaw") is None, reason="GPAW is not installed")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> Path:
    """PAW data sets of Li (1s in the valence) and N by GPAW's own generator."""
    folder = tmp_path_factory.mktemp("paw")
    for element, electrons in (("Li", 3), ("N", 5)):
        command = ["gpaw", "dataset", element, "-e", str(electrons), "-f", "PBE", "-s", "-w", "-t", "e"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def label(pool: Path, datasets: Path, *flags: str) -> subprocess.CompletedProcess:
    command = ["gpaw", "python", "--", str(SCRIPTS / "label_snapshot.py"), str(pool)]
    command += [
        "--functional",
        "PBE",
        "--setups",
        "e",
        "--datasets",
        str(datasets),
        "--text",
        str(pool.with_suffix(".txt")),
        *flags,
    ]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def lithium_nitride(tmp_path) -> Path:
    """Li3N at its measured cell (H. Schulz, K. Schwarz, Acta Cryst. A 34, 999 (1978)), four atoms."""
    sites = [(0, 0, 0.5), (1 / 3, 2 / 3, 0), (0, 0, 0)]
    atoms = crystal(["Li", "Li", "N"], sites, spacegroup=191, cellpar=[3.648, 3.648, 3.875, 90, 90, 120])
    atoms = type(atoms)(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
    atoms.info.update(material="Li3N", phase="alpha", group="crystal", source="measured cell")
    ase.io.write(tmp_path / "li3n.extxyz", atoms)
    return tmp_path / "li3n.extxyz"


@needs_gpaw
def test_field_gradients_of_lithium_nitride(lithium_nitride, datasets, tmp_path):
    flags = ("--frame", "0", "--cutoff-ev", "500", "--k-length", "14", "--out", str(tmp_path / "out.extxyz"))
    done = label(lithium_nitride, datasets, *flags)
    assert done.returncode == 0, done.stderr
    (atoms,) = read_frames(tmp_path / "out.extxyz")
    tensors = atoms.arrays["efg"] * AU_IN_1E21_V_PER_M2
    # All sites lie on axes of order three or more, along z.
    assert np.abs(tensors - tensors * np.eye(3)).max() < 2e-3
    assert tensors[:, 0, 0] == pytest.approx(tensors[:, 1, 1], abs=2e-3)
    interlayer, *in_plane, nitrogen = tensors[:, 2, 2]
    assert in_plane[0] == pytest.approx(in_plane[1], abs=2e-3)
    for found, lapw, experiment in ((interlayer, 0.616, 0.60), (in_plane[0], 0.291, 0.30), (nitrogen, 1.09, 1.04)):
        assert abs(found) == pytest.approx(lapw, rel=0.1)  # 10²¹ V/m²
        assert abs(found) == pytest.approx(experiment, rel=0.12)
    assert interlayer < 0 < in_plane[0] < nitrogen
    assert atoms.info["level_of_theory"].endswith(
        "PBE, plane waves 500 eV, PAW data sets e, Gamma-centred k points 4×4×4"
    )
    # Labels of another level are refused before hours are spent on what could not join them.
    later = ("--frame", "0", "--cutoff-ev", "400", "--k-length", "14", "--out", str(tmp_path / "second.extxyz"))
    refused = label(lithium_nitride, datasets, *later, "--beside", str(tmp_path / "out.extxyz"))
    assert refused.returncode == 2
    assert "plane waves 500 eV" in refused.stderr
    assert "the label to be made: " in refused.stderr
    # By symmetry nothing pulls on any atom.
    assert np.abs(atoms.get_forces()).max() < 1e-2


@needs_gpaw
def test_a_vacancy_of_an_ion_leaves_closed_shells(lithium_nitride, datasets, tmp_path):
    """Without Li⁺, charge −1, nitrogen stays N³⁻ and its field gradient near the crystal's; a hole makes it large."""
    cell = ase.io.read(lithium_nitride).repeat((2, 1, 1))
    del cell[1]
    flags = ("--frame", "0", "--cutoff-ev", "350", "--k-length", "7")
    largest = {}
    for charge in (-1, 0):
        pool, out = tmp_path / f"vacancy{charge}.extxyz", tmp_path / f"out{charge}.extxyz"
        vacancy = type(cell)(cell.symbols, cell.positions, cell=cell.cell, pbc=True)
        vacancy.info.update(material="Li3N", phase="alpha", group="vacancy", charge=charge)
        ase.io.write(pool, vacancy)
        done = label(pool, datasets, *flags, "--out", str(out))
        assert done.returncode == 0, done.stderr
        (atoms,) = read_frames(out)
        values = np.linalg.eigvalsh(atoms.arrays["efg"][atoms.symbols == "N"]) * AU_IN_1E21_V_PER_M2
        largest[charge] = np.abs(values).max()
    assert 0.7 < largest[-1] < 1.5
    assert largest[0] > 3


@needs_gpaw
def test_a_frame_that_is_not_there_and_a_missing_dataset(lithium_nitride, tmp_path):
    flags = ("--cutoff-ev", "300", "--k-length", "3", "--out", str(tmp_path / "out.extxyz"))
    done = label(lithium_nitride, tmp_path, "--frame", "3", *flags)
    assert done.returncode == 2
    assert "no frame 3, it has 1" in done.stderr
    done = label(lithium_nitride, tmp_path, "--frame", "0", *flags)
    assert done.returncode == 2
    assert "PAW data set is missing" in done.stderr
    assert not (tmp_path / "out.extxyz").exists()


@needs_gpaw
@pytest.mark.parametrize(
    ("change", "flags", "message"),
    [
        (lambda a: a.set_cell(None), (), "frame 0: no cell"),
        (lambda a: a.set_pbc(False), (), "not periodic"),
        (lambda a: a.positions.__setitem__((1, 0), np.nan), (), "frame 0, atom 1 (Li): position is not finite"),
        (lambda a: a.positions.__setitem__(1, a.positions[0] + 0.05), (), "closer than 0.5 Å"),
        (lambda a: a.info.pop("group"), (), "frame 0: no group"),
        (lambda a: a.info.update(charge="minus one"), (), "charge is 'minus one'; expected a number"),
        (lambda a: None, ("--functional", "PEB"), "functional 'PEB' is unknown to GPAW"),
        (lambda a: None, ("--cutoff-ev", "0"), "must be positive"),
    ],
)
def test_a_frame_or_level_that_cannot_be_labelled_is_refused_first(
    lithium_nitride, datasets, tmp_path, change, flags, message
):
    atoms = ase.io.read(lithium_nitride)
    change(atoms)
    ase.io.write(lithium_nitride, atoms)
    common = ("--frame", "0", "--cutoff-ev", "250", "--k-length", "3", "--out", str(tmp_path / "out.extxyz"))
    done = label(lithium_nitride, datasets, *common, *flags)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.extxyz").exists()
