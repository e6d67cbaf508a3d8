"""What all readers share: who reads a file, rounding, k meshes, and damage that must never pass unnoticed."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from insilico_nmr.dataset import check_one_level
from insilico_nmr.errors import InputError
from insilico_nmr.readers.detect import read_output
from insilico_nmr.readers.printed import half_unit, k_mesh, remove_rounding
from insilico_nmr.tensors import traceless_symmetric

DATA = Path(__file__).parents[1] / "data" / "readers"
PW = DATA / "qe_quartz_scf.out"
OUTPUTS = {
    "castep_ethanol.magres": "CASTEP 6.1",
    "castep_naclo3.magres": "CASTEP 7.0",
    "qe_quartz.efg.magres": "QE-GIPAW 7.6",
    "qe_quartz.nmr.magres": "QE-GIPAW 7.6",
    "qe_quartz_efg.out": "QE-GIPAW 7.6",
    "qe_quartz_nmr.out": "QE-GIPAW 7.6",
    "vasp_margarite_efg.OUTCAR": "VASP 5.4.1",
    "vasp_magnesite_nmr.OUTCAR": "VASP 5.4.1",
    "abinit_stishovite.abo": "ABINIT 10.5.8",
}
# The only lines taken out for a test: ABINIT's reference run stops short of its own (unreachable) criterion.
UNCONVERGED = """  nstep=   10 was not enough SCF cycles to converge;
  density residual=  5.743E-10 exceeds tolvrs=  1.000E-18
"""


def text_of(name):
    return (DATA / name).read_text().replace(UNCONVERGED, "")


def read_text(text, path, name):
    path.write_text(text)
    return read_output(path, PW if name.endswith(".out") else None)[0]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_is_known_by_its_content_whatever_its_name(name, tmp_path):
    atoms = read_text(text_of(name), tmp_path / "some.dat", name)
    assert atoms.info["source"] == OUTPUTS[name]
    assert atoms.info["level_of_theory"].startswith(f"{OUTPUTS[name]}, PBE, cut-off ")
    assert len(atoms.info["output_sha256"]) == 64
    assert atoms.pbc.all()
    misnamed = read_text(text_of(name), tmp_path / "misnamed.extxyz", name)
    assert misnamed == atoms


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_cut_anywhere_is_refused_by_name(name, tmp_path):
    lines = text_of(name).rstrip().splitlines(keepends=True)
    # VASP's timing header is its last line here, and only blank or closing lines stand behind the others' end marks.
    last = max(
        i for i, line in enumerate(lines) if any(end in line for end in ("magres", "timing", "DONE", "completed"))
    )
    for cut in range(0, last, max(1, last // 25)):
        with pytest.raises(InputError, match=r"cut\.(magres|OUTCAR|abo|out)"):
            read_text("".join(lines[:cut]), tmp_path / f"cut{Path(name).suffix}", name)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_lost_line_is_an_error_or_no_loss(name, tmp_path):
    """Any line may be missing: then the reader refuses the file, or what it returns is what it returned before."""
    lines = text_of(name).splitlines(keepends=True)
    whole = read_text("".join(lines), tmp_path / "whole.dat", name)
    begin = max(
        next((i for i, line in enumerate(lines) if mark in line), 0)
        for mark in (
            "atoms]",
            "atoms>",
            "SYMMETRIZED TENSORS",
            "gradients (V/A^2)",
            "Electric Field",
            "Total NMR",
            "total EFG",
        )
    )
    refused = 0
    for lost in range(begin, len(lines), max(1, (len(lines) - begin) // 25)):
        if lines[lost].lstrip().startswith("atom ") and "magres" in name:
            continue  # a .magres file with an atom fewer is another, sound file if nothing is recorded for it
        try:
            atoms = read_text("".join(lines[:lost] + lines[lost + 1 :]), tmp_path / "lost.dat", name)
        except InputError:
            refused += 1
            continue
        assert atoms.positions == pytest.approx(whole.positions)
        for key in ("efg", "ms"):
            if key in whole.arrays and key in atoms.arrays:
                # NaN is allowed: in .magres a lost record is an atom without a label.
                here = ~np.isnan(atoms.arrays[key]).any(axis=(1, 2))
                np.testing.assert_allclose(atoms.arrays[key][here], whole.arrays[key][here], rtol=0, atol=1e-12)
                assert here.all() or "magres" in name
    assert refused > 0


@pytest.mark.parametrize("name", ["x.magres", "OUTCAR", "x.abo", "x.extxyz", "x.out", "x"])
def test_an_empty_file_is_refused(name, tmp_path):
    for text in ("", "\n \n"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=rf"{name}: empty"):
            read_output(tmp_path / name)


def test_what_no_reader_knows_is_refused_with_what_is_known(tmp_path):
    (tmp_path / "x.log").write_text("Gaussian 16\n")
    with pytest.raises(
        InputError, match=r"x\.log: begins like no output that is known; expected extended XYZ, .*OUTCAR"
    ):
        read_output(tmp_path / "x.log")
    with pytest.raises(InputError, match="no such file"):
        read_output(tmp_path / "absent.magres")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81" * 10)
    with pytest.raises(InputError, match="not a text file"):
        read_output(tmp_path / "binary")


def test_the_other_file_of_a_code_is_answered_with_the_right_one(tmp_path):
    (tmp_path / "vasprun.xml").write_text('<?xml version="1.0"?>\n<modeling>\n <generator>\n')
    with pytest.raises(InputError, match="expected VASP's OUTCAR"):
        read_output(tmp_path / "vasprun.xml")
    with pytest.raises(InputError, match=r"expected the output of gipaw\.x, with this file as --structure"):
        read_output(PW)
    with pytest.raises(InputError, match=r"only for gipaw\.x"):
        read_output(DATA / "castep_ethanol.magres", PW)


def test_half_a_unit_of_the_last_digit():
    assert half_unit(["-12.250", "0.1"]) == pytest.approx(0.05)
    assert half_unit(["1.250"]) == pytest.approx(5e-4)
    assert half_unit(["1.2500E-02"]) == pytest.approx(5e-7)
    assert half_unit(["7"]) == pytest.approx(0.5)


def test_rounding_is_removed_and_nothing_else():
    exact = traceless_symmetric(np.random.default_rng(1).normal(size=(50, 3, 3)))
    printed = np.round(exact, 3)
    mended = remove_rounding(printed, 5e-4)
    np.testing.assert_allclose(np.trace(mended, axis1=1, axis2=2), 0, atol=1e-15)
    assert np.abs(mended - exact).max() <= 1e-3
    wrong = printed.copy()
    wrong[:, 0, 0] += 0.01
    np.testing.assert_array_equal(remove_rounding(wrong, 5e-4), wrong)  # for the checks of the dataset to refuse


@pytest.mark.parametrize(
    ("mesh", "shift"), [((4, 4, 4), 0.5), ((9, 9, 4), 0.0), ((1, 2, 2), 0.0), ((8, 8, 2), 0.5), ((1, 1, 1), 0)]
)
def test_the_mesh_is_found_from_its_irreducible_points(mesh, shift):
    grid = np.stack(np.meshgrid(*[(np.arange(n) + shift) / n for n in mesh], indexing="ij"), axis=-1).reshape(-1, 3)
    weights: dict[tuple, int] = {}
    for point in grid:  # time reversal: of k and −k one is kept
        pair = sorted(tuple(np.round(sign * point % 1, 8) % 1) for sign in (1, -1))[0]
        weights[pair] = weights.get(pair, 0) + 1
    points, counts = np.array(list(weights)), np.array(list(weights.values()))
    assert k_mesh(points) == k_mesh(points, counts) == mesh
    assert k_mesh(points, counts + 1) is None
    assert k_mesh(np.array([[0.0, 0, 0], [0.21, 0, 0], [0.5, 0, 0]])) is None


def of_level(level, edge=5.0):
    atoms = Atoms("Li", cell=[edge, edge, edge], pbc=True)
    if level is not None:
        atoms.info["level_of_theory"] = level
    return atoms


def test_one_level_of_theory_is_one_text():
    check_one_level([of_level(None), of_level(None)], "all")
    check_one_level([of_level("PBE"), of_level("PBE")], "all")
    with pytest.raises(InputError, match=r"all: different levels of theory.*frame 0: PBE; frame 2: LDA"):
        check_one_level([of_level("PBE"), of_level("PBE"), of_level("LDA")], "all")
    with pytest.raises(InputError, match="frame 1: not stated"):
        check_one_level([of_level("PBE"), of_level(None)], "all")


def test_meshes_of_one_spacing_are_one_level():
    """b/n = 0.2/4 = 0.1/2 1/Å: one spacing. 0.1/4 is twice as dense."""
    small, large = of_level("PBE, k points 4×4×4", 5.0), of_level("PBE, k points 2×2×2", 10.0)
    check_one_level([small, large], "all")
    check_one_level([small, of_level("PBE, k points 4×4×4", 5.2)], "all")
    with pytest.raises(InputError, match="different densities of k points"):
        check_one_level([small, of_level("PBE, k points 4×4×4", 10.0), large], "all")
    with pytest.raises(InputError, match="different levels"):
        check_one_level([small, of_level("LDA, k points 4×4×4", 5.0)], "all")
    with pytest.raises(InputError, match="frame 1: PBE, k points not stated"):
        check_one_level([small, of_level("PBE", 5.0)], "all")
