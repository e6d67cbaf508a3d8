"""export_hop_paths, compare_hop_paths and converge_barriers as a user runs them, on a landscape of known barriers."""

from pathlib import Path

import compare_hop_paths
import converge_barriers
import export_hop_paths
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from crystals import cif
from insilico_nmr.dataset import read_frames, write_frames
from programs import run
from student import widening

PERIOD, BARRIER = 3.0, 0.3  # Å, eV
CIF = cif(47, (PERIOD, 6, 6), "Li1 Li 0 0 0 0.25", "O1 O 0.5 0.5 0.5 1.0")


class Channel(Calculator):
    """Lithium in a sinusoidal channel along x, `scale` times BARRIER high; ions repel as `repulsion` e^(−d/2 Å).

    With `ridge`, a ridge runs along the middle of the channel, between floors 0.18 eV below it and 0.6 Å aside in y.
    Other atoms sit in springs of their own.
    """

    implemented_properties = ("energy", "forces")

    def __init__(self, scale: float = 1.0, repulsion: float = 0.0, ridge: bool = False):
        super().__init__()
        self.scale, self.repulsion, self.ridge = scale, repulsion, ridge

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        mobile = self.atoms.symbols == "Li"
        ions, others = np.flatnonzero(mobile), np.flatnonzero(~mobile)
        where, k, height = self.atoms.positions[ions], 2 * np.pi / PERIOD, self.scale * BARRIER / 2
        across = where[:, 1:] - np.round(where[:, 1:] / 6) * 6
        energy = height * (1 - np.cos(k * where[:, 0])).sum() + (across**2).sum()
        box = np.array([PERIOD, 6, 6])
        shift = (self.atoms.positions[others] / box % 1 - 0.5) * box
        energy += (shift**2).sum()
        forces = np.zeros((len(self.atoms), 3))
        forces[others] = -2 * shift
        forces[ions, 0] = -height * k * np.sin(k * where[:, 0])
        forces[ions, 1:] = -2 * across
        if self.ridge:
            y = across[:, 0]
            energy += (y**4 / 0.72 - 2 * y**2).sum()
            forces[ions, 1] += 4 * y - y**3 / 0.18
        i, d, vector = neighbor_list("idD", self.atoms[ions], 11.0)
        pair = self.repulsion * (np.exp(-d / 2) - np.exp(-5.5) * (1 - (d - 11) / 2))
        slope = self.repulsion / 2 * (np.exp(-5.5) - np.exp(-d / 2))
        np.add.at(forces, ions[i], (slope / d)[:, None] * vector)
        self.results = {"energy": energy + pair.sum() / 2, "forces": forces}


@pytest.fixture
def crystal(tmp_path):
    (tmp_path / "crystal.cif").write_text(CIF)
    sites = ["--mobile", "Li", "--jump-cutoff", 3.1, "--out", tmp_path / "sites.json"]
    assert run("make_sites", tmp_path / "crystal.cif", *sites) == (0, "")
    (tmp_path / "potential").write_text("made up")
    return tmp_path


def common(folder: Path) -> list:
    return [folder / "crystal.cif", "--sites", folder / "sites.json", "--potential", folder / "potential", "--seed", 1,
            "--min-distance", 2.0]  # fmt: skip


def test_paths_are_exported_labelled_and_compared(crystal, monkeypatch):
    monkeypatch.setattr(export_hop_paths, "calculator", lambda folder, symbols: Channel())
    frames = ["--material", "X", "--phase", "a", "--group", "paths", "--charge", -1, "--out", crystal / "pool.extxyz"]
    arguments = [*common(crystal), "--repeat", 4, 1, 1, *frames]
    code, said = run("export_hop_paths", *arguments, "--number", 2)
    assert (code, "1 of 1 classes have a path" in said) == (2, True)
    assert run("export_hop_paths", *arguments, "--number", 1)[0] == 0
    images = read_frames(crystal / "pool.extxyz")
    assert [int(atoms.info["image"]) for atoms in images] == [0, 1, 2, 3, 4]
    assert {float(atoms.info["charge"]) for atoms in images} == {-1.0}
    ion = [find_mic(images[-1].positions - images[0].positions, images[0].cell)[1].argmax()]
    x = np.array([atoms.positions[ion[0], 0] for atoms in images])
    np.testing.assert_allclose(np.abs(x - x[0]) / PERIOD, [0, 0.25, 0.5, 0.75, 1], atol=0.08)

    labelled = []
    for atoms in images:
        atoms.calc = Channel()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": np.zeros(6)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        labelled.append(atoms)
    # A second path, which shares its images with the first.
    back = [atoms.copy() for atoms in labelled[::-1]]
    for number, (atoms, there) in enumerate(zip(back, labelled[::-1], strict=True)):
        atoms.info |= {"path": 1, "image": number}
        atoms.calc = SinglePointCalculator(atoms, **there.calc.results)
    write_frames(crystal / "labelled.extxyz", labelled + back)
    # Member 0 has barriers 1.5 times as high, member 1 twice.
    monkeypatch.setattr(compare_hop_paths, "load_members", lambda folder: 2)
    monkeypatch.setattr(compare_hop_paths, "calculator", lambda folder, symbols, member: Channel(1.5 + member / 2))
    outputs = ["--out", crystal / "paths.csv", "--barriers", crystal / "barriers.csv"]
    arguments = ["--potential", crystal / "potential", *outputs]
    assert run("compare_hop_paths", crystal / "labelled.extxyz", *arguments)[0] == 0
    row, reverse = pd.read_csv(crystal / "barriers.csv").to_dict("records")
    for side, other in (("forward", "backward"), ("backward", "forward")):
        assert row[f"dft_{side}_eV"] == pytest.approx(BARRIER, abs=2e-3)
        assert row[f"potential_{side}_eV"] == pytest.approx(1.5 * BARRIER, abs=3e-3)
        # Of two members, half the barrier apart, the second of four fifths of the data
        deviation = np.sqrt(8) * widening(2) * 0.5 / np.sqrt(2) * BARRIER
        assert row[f"potential_{side}_sd_eV"] == pytest.approx(deviation, abs=5e-3)
        assert reverse[f"dft_{other}_eV"] == pytest.approx(row[f"dft_{side}_eV"], abs=1e-9)
    table = pd.read_csv(crystal / "paths.csv")
    np.testing.assert_allclose(table["potential_eV"], 1.5 * table["dft_eV"], atol=1e-6)
    assert table["length_A"].max() == pytest.approx(PERIOD, abs=0.05)
    assert table["held_out_eV"].isna().all()

    # A fit without the paths had barriers three times as high; of another potential's data they are no part.
    energy = np.array([atoms.get_potential_energy() for atoms in labelled])
    learnt = pd.DataFrame({"group": "paths", "energy_eV": energy, "predicted_eV": 3 * energy + 7})
    command = ["compare_hop_paths", crystal / "labelled.extxyz", *arguments, "--held-out", crystal / "held_out.csv"]
    for group, factor in (("paths", 3), ("others", 1.5)):
        learnt.assign(group=group).to_csv(crystal / "held_out.csv", index=False)
        assert run(*command)[0] == 0
        table, found = pd.read_csv(crystal / "paths.csv"), pd.read_csv(crystal / "barriers.csv")
        np.testing.assert_allclose(table["held_out_eV"], factor * table["dft_eV"], atol=1e-6)
        np.testing.assert_allclose(found["held_out_forward_eV"], factor * found["dft_forward_eV"], atol=1e-6)
    learnt.iloc[:2].to_csv(crystal / "held_out.csv", index=False)
    code, said = run(*command)
    message = "path 0, image 2: the potential learnt from group paths, but not from this image"
    assert (code, message in said) == (2, True)

    labelled[1].info["image"] = 2
    write_frames(crystal / "labelled.extxyz", labelled)
    code, said = run("compare_hop_paths", crystal / "labelled.extxyz", *arguments)
    assert (code, "each with a number of its own" in said) == (2, True)


def test_a_larger_cell_takes_the_images_of_the_ion_away_and_nothing_else(crystal, monkeypatch):
    def barriers(repulsion: float) -> pd.DataFrame:
        monkeypatch.setattr(converge_barriers, "calculator", lambda folder, symbols: Channel(repulsion=repulsion))
        monkeypatch.setattr(converge_barriers, "member_file", lambda folder: folder)
        (crystal / "potential").write_text(str(repulsion))
        arguments = ["--arrangements", 1, "--max-force", 0.01, "--state", crystal / "state", "--out", crystal / "b.csv"]
        code, said = run("converge_barriers", *common(crystal), "--repeats", "4x1x1", "4x2x1", "4x2x2", *arguments)
        assert code == 0, said
        return pd.read_csv(crystal / "b.csv").set_index("cells")

    # One ion in each 4x1x1: without forces between ions its barrier is the channel's in every cell.
    free = barriers(0.0)
    assert free["atoms"].tolist() == [5, 10, 20]
    np.testing.assert_allclose(free[["forward_eV", "backward_eV"]], BARRIER, atol=2e-3)
    # In the smallest cell all images hop together, so that no distance between them changes; in a larger one the ion
    # leaves its images beside it, which repel it less the farther it is.
    close = barriers(0.5)
    assert close.loc["4x1x1", "forward_eV"] == pytest.approx(BARRIER, abs=2e-3)
    assert close.loc["4x2x1", "forward_eV"] < BARRIER - 3e-3
    assert close.loc["4x2x2", "forward_eV"] < close.loc["4x2x1", "forward_eV"] - 3e-3
    assert close.loc["4x2x2", "backward_eV"] > close.loc["4x2x2", "forward_eV"]


def test_a_path_from_ridge_to_ridge_is_no_hop(crystal, monkeypatch):
    for program, most in ((export_hop_paths, "TRIES"), (converge_barriers, "DRAWN")):
        monkeypatch.setattr(program, "calculator", lambda folder, symbols: Channel(ridge=True))
        monkeypatch.setattr(program, most, 1)
    monkeypatch.setattr(converge_barriers, "member_file", lambda folder: folder)
    outputs = ["--out", crystal / "pool.extxyz", "--material", "X", "--phase", "a", "--group", "paths"]
    code, said = run("export_hop_paths", *common(crystal), "--repeat", 4, 1, 1, "--number", 1, *outputs)
    assert (code, "from the start Li0 slides by 0.6 Å and 0.18 eV to another minimum" in said) == (2, True)
    outputs = ["--state", crystal / "state", "--out", crystal / "b.csv"]
    code, said = run("converge_barriers", *common(crystal), "--repeats", "4x1x1", "--arrangements", 1, *outputs)
    assert (code, "no class has a path with a barrier" in said) == (2, True)


def test_cells_that_are_no_multiples_are_refused(crystal):
    for cells, message in (
        (("2x1x1", "3x1x1"), r"[3, 1, 1] is no multiple of the first, [2, 1, 1]"),
        (("2x1",), "'2x1' is no supercell"),
    ):
        arguments = ["--repeats", *cells, "--arrangements", 1, "--state", crystal / "s", "--out", crystal / "b.csv"]
        code, said = run("converge_barriers", *common(crystal), *arguments)
        assert (code, message in said) == (2, True)


def test_images_that_do_not_say_which_hop_they_are_of_are_refused(crystal):
    atoms = Atoms("Li", positions=[[0, 0, 0]], cell=[3, 3, 3], pbc=True)
    atoms.info = {"material": "X", "phase": "a", "group": "g", "source": "made up", "path": 0, "image": 0}
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((1, 3)))
    write_frames(crystal / "f.extxyz", [atoms])
    outputs = ["--out", crystal / "p.csv", "--barriers", crystal / "b.csv"]
    code, said = run("compare_hop_paths", crystal / "f.extxyz", "--potential", crystal / "potential", *outputs)
    assert (code, "frame 0: info key class, from, to is missing" in said) == (2, True)
