"""Ingest and the parameter table as a user runs them: .magres, and bad input with a clear end."""

import contextlib
import importlib
import io
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ingest import read_magres
from insilico_nmr.dataset import efg, ms, read_dataset
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import sha256

ROOT = Path(__file__).parents[2]
MAGRES = ROOT / "tests" / "data" / "synthetic_castep.magres"
INFO = ["--material", "Li2S", "--phase", "made-up", "--group", "one"]

FRAME = """3
Lattice="5.0 0.0 0.0 0.0 5.0 0.0 0.0 0.0 5.0" Properties=species:S:1:pos:R:3:efg:R:9:forces:R:3 energy=-1.5 \
material=Li2S phase=made-up group=one source="made up" pbc="T T T"
Li 0.1 0.0 0.0  0.01 0 0 0 0.01 0 0 0 -0.02  0.1 0.0 0.0
Li 2.5 2.5 0.0  0.03 0 0 0 0.01 0 0 0 -0.04  0.0 0.1 0.0
S  0.0 2.5 2.5  0.10 0 0 0 0.10 0 0 0 -0.20  0.0 0.0 0.1
"""


def run(script, *arguments):
    """Run a script's command line in this process (much faster); its exit code and what it said on stderr."""
    main = importlib.import_module(script.removesuffix(".py")).main
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        try:
            run_script(main)
        except SystemExit as leave:
            return leave.code, said.getvalue()
    return 0, said.getvalue()


@pytest.mark.parametrize("script", ["ingest.py", "nmr_parameters.py", "dataset_card.py"])
def test_scripts_run_alone_and_explain_themselves(script):
    shown = subprocess.run([sys.executable, ROOT / "scripts" / script, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert "--out" in shown.stdout


def test_bad_input_ends_the_process_with_code_2(tmp_path):
    (tmp_path / "in.extxyz").write_text(FRAME.replace("0.03", "nan"))
    command = [sys.executable, ROOT / "scripts" / "ingest.py", tmp_path / "in.extxyz", "--out", tmp_path / "out.extxyz"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.extxyz"]


def test_extended_xyz_goes_in_and_comes_out(tmp_path):
    (tmp_path / "in.extxyz").write_text(FRAME)
    code, said = run("ingest.py", tmp_path / "in.extxyz", "--out", tmp_path / "out.extxyz")
    assert code == 0, said
    frame = read_dataset(tmp_path / "out.extxyz")[0]
    assert frame.get_potential_energy() == -1.5
    np.testing.assert_array_equal(efg(frame)[1], np.diag([0.03, 0.01, -0.04]))


BAD = {
    "nan force": (FRAME.replace("0.0 0.1 0.0\nS", "0.0 nan 0.0\nS"), r"frame 0, atom 1 (Li): force is not finite"),
    "nan position": (FRAME.replace("Li 2.5", "Li nan"), "frame 0, atom 1 (Li): position is not finite"),
    "nan energy": (FRAME.replace("energy=-1.5", "energy=nan"), "frame 0: energy is not finite"),
    "half a tensor": (FRAME.replace("0.03", "nan"), "frame 0, atom 1 (Li): efg is not finite"),
    "on top of each other": (FRAME.replace("Li 2.5 2.5 0.0", "Li 4.9 0.0 0.1"), "closer than 0.5"),
    "no cell": (FRAME.replace('Lattice="5.0 0.0 0.0 0.0 5.0 0.0 0.0 0.0 5.0" ', ""), "frame 0: no cell"),
    "not periodic": (FRAME.replace('pbc="T T T"', 'pbc="T T F"'), "frame 0: not periodic"),
    "empty": ("", "empty dataset"),
    "missing labels": (
        FRAME.replace(":efg:R:9:forces:R:3 energy=-1.5", ":a:R:9:b:R:3"),
        "frame 0: no labels",
    ),
    "duplicates": (FRAME + FRAME, "frame 1 is a duplicate of frame 0"),
    "unknown units": (FRAME.replace("phase=", 'efg_units="1e21 V/m2" phase='), "unknown units '1e21 V/m2' for efg"),
    "trace": (FRAME.replace("-0.04", "-0.03"), "frame 0, atom 1 (Li): field gradient has a trace of 1.00e-02 a.u."),
    "no group": (FRAME.replace("group=one ", ""), "frame 0: no group"),
    "truncated": (FRAME[:-20], "truncated"),
    "not xyz": ("hello\n", "line 1: expected the number of atoms"),
    "letters for numbers": (FRAME.replace("2.5 2.5 0.0 ", "2.5 2.5 x.0 "), "not extended XYZ"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_message_and_no_file(name, tmp_path):
    text, message = BAD[name]
    (tmp_path / "in.extxyz").write_text(text)
    code, said = run("ingest.py", tmp_path / "in.extxyz", "--out", tmp_path / "out" / "out.extxyz")
    assert code == 2
    assert said.startswith(f"error: {tmp_path / 'in.extxyz'}")
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_the_same_snapshot_in_two_files_is_a_duplicate(tmp_path):
    for name in ("a.extxyz", "b.extxyz"):
        (tmp_path / name).write_text(FRAME)
    code, said = run("ingest.py", tmp_path / "a.extxyz", tmp_path / "b.extxyz", "--out", tmp_path / "o.extxyz")
    assert code == 2
    assert "frame 1 is a duplicate of frame 0" in said
    assert not (tmp_path / "o.extxyz").exists()


def test_a_flag_does_not_overrule_the_file(tmp_path):
    (tmp_path / "in.extxyz").write_text(FRAME)
    code, said = run("ingest.py", tmp_path / "in.extxyz", "--out", tmp_path / "o.extxyz", "--phase", "other")
    assert code == 2
    assert "frame 0: phase is 'made-up', but 'other' was given" in said


def test_checksums_are_required_and_compared(tmp_path):
    data, registry, out = tmp_path / "in.extxyz", tmp_path / "registry.csv", tmp_path / "out.extxyz"
    data.write_text(FRAME)
    header = "path,sha256,source,licence,units,level_of_theory\n"
    flags = ("--registry", registry, "--out", out)

    registry.write_text(header)
    assert run("ingest.py", data, *flags)[0] == 0  # not listed, and no checksum required
    out.unlink()
    code, said = run("ingest.py", data, *flags, "--require-checksum")
    assert (code, "not listed" in said, out.exists()) == (2, True, False)

    registry.write_text(f"{header}in.extxyz,{sha256(data)},made up,none,energy eV; forces eV/Ang; efg au,none\n")
    assert run("ingest.py", data, *flags, "--require-checksum")[0] == 0
    out.unlink()

    registry.write_text(f"{header}in.extxyz,{sha256(data)},made up,none,energy Ry; efg au,none\n")
    code, said = run("ingest.py", data, *flags)
    assert (code, "unknown units 'Ry' for energy, expected 'eV'" in said) == (2, True)

    registry.write_text(f"{header}in.extxyz,{'0' * 64},made up,none,energy eV; efg au,none\n")
    for extra in ((), ("--require-checksum",)):
        code, said = run("ingest.py", data, *flags, *extra)
        assert code == 2
        assert f"expected {'0' * 64}, found {sha256(data)}" in said
        assert not out.exists()


def test_magres_is_read_in_the_conventions_of_the_study():
    atoms = read_magres(MAGRES)
    assert str(atoms.symbols) == "Li2S"
    np.testing.assert_array_equal(atoms.cell.array, [[4, 0, 0], [1, 5, 0], [0, 0, 6]])
    assert atoms.pbc.all()
    # The record reads 91 1.2 1.3 2.1 92 2.3 3.1 3.2 93: first index (induced field) fastest.
    np.testing.assert_array_equal(ms(atoms)[0], [[91, 2.1, 3.1], [1.2, 92, 3.2], [1.3, 2.3, 93]])
    np.testing.assert_array_equal(efg(atoms)[1], np.diag([-0.008, -0.012, 0.02]))
    assert atoms.info == {
        "source": "CASTEP 24.1",
        "level_of_theory": "PBE, cut-off 489.80495189 eV, k points 2×2×3",
    }


def test_magres_against_the_reader_of_ase():
    """ASE returns the nine numbers row by row: the transpose of ours for shieldings, the same for gradients."""
    ours, theirs = read_magres(MAGRES), ase.io.read(MAGRES, format="magres")
    np.testing.assert_allclose(ours.positions, theirs.positions)
    np.testing.assert_allclose(ms(ours), theirs.arrays["ms"].transpose(0, 2, 1))
    np.testing.assert_allclose(efg(ours), theirs.arrays["efg"])
    assert np.abs(ms(ours) - theirs.arrays["ms"]).max() > 1


# Shielding records of heavy atoms in the CCP-NC example file ethanol.magres (CASTEP 7.0, PBE), and the axial vector
# (σ_yz − σ_zy, σ_zx − σ_xz, σ_xy − σ_yx)/2 in ppm that GIAO-RHF/def2-TZVP (PySCF 2.14, coupled) gives at the same
# geometry. PySCF puts the external field first (its e11 is contracted as "xji,yij->xy", x the field); its tensor
# was transposed here. A second calculation of ours, common gauge at the nucleus, PBE sum over states, which writes
# the nuclear moment first by construction, agrees in direction: O (5.6, −2.9, −12.8), C1 (−3.1, −3.1, 3.6).
ETHANOL = {
    "C 1": (
        "150.363398078 -10.1551572591 -0.228392095331 0.262621541636 160.896219614 23.0932964082 "
        "7.6058979745 15.6796898709 158.142036855",
        (-2.25, -2.66, 3.03),
    ),
    "C 2": (
        "133.676840084 0.262423773157 30.3803502689 3.67357096609 87.087341646 13.766471363 "
        "33.4352726046 12.5980254544 108.80723859",
        (-0.34, -1.37, 1.51),
    ),
    "O 1": (
        "246.617726076 4.67835886314 23.439961146 -25.5598430959 289.39716395 -21.152670085 "
        "18.297484257 -4.25541343242 268.070670505",
        (7.10, -2.19, -12.13),
    ),
}


def test_the_first_index_of_a_shielding_is_the_induced_field(tmp_path):
    """Two independent calculations tell which index of CASTEP's nine numbers is the induced field."""
    records = "\n".join(f"ms {atom} {numbers}" for atom, (numbers, _) in ETHANOL.items())
    (tmp_path / "ethanol.magres").write_text(
        "#$magres-abinitio-v1.0\n[atoms]\nunits lattice Angstrom\nunits atom Angstrom\n"
        "lattice 6.0 0.0 0.0 0.0 6.0 0.0 0.0 0.0 6.0\natom C C 1 2.996 2.996 2.996\n"
        "atom C C 2 2.752085 4.164107 3.937396\natom O O 1 3.895314 4.458074 4.741964\n[/atoms]\n"
        f"[magres]\nunits ms ppm\n{records}\n[/magres]\n"
    )
    sigma = ms(read_magres(tmp_path / "ethanol.magres"))
    read = 0.5 * np.stack(
        [sigma[:, 1, 2] - sigma[:, 2, 1], sigma[:, 2, 0] - sigma[:, 0, 2], sigma[:, 0, 1] - sigma[:, 1, 0]], axis=1
    )
    calculated = np.array([vector for _, vector in ETHANOL.values()])
    cosines = (read * calculated).sum(1) / np.linalg.norm(read, axis=1) / np.linalg.norm(calculated, axis=1)
    assert (cosines > 0.9).all(), cosines  # −1 where the indices are swapped


MAGRES_DEFECTS = {
    "efg in other units": (("units efg au", "units efg 10^21.V.m^-2"), "unknown units '10^21.V.m^-2' for efg"),
    "ms in other units": (("units ms ppm", "units ms ppb"), "unknown units 'ppb' for ms, expected 'ppm'"),
    "lattice in Bohr": (("units lattice Angstrom", "units lattice Bohr"), "unknown units 'Bohr' for lattice"),
    "ms without units": (("units ms ppm\n", ""), "ms without a units line"),
    "atoms without units": (("units atom Angstrom\n", ""), "no units line for atom"),
    "no lattice": (("lattice  ", "#lattice  "), "no cell"),
    "truncated": (("[/magres]", ""), "unexpected [magres_old]"),
    "another format": (("#$magres-abinitio-v1.0", "#"), "expected '#$magres-abinitio-v1.0' in the first line"),
    "overflow": (("9.2000000000000000E+01", "**********************"), "expected 9 finite numbers in record 'ms Li 1'"),
    "nan": (("9.2000000000000000E+01", "NaN"), "expected 9 finite numbers in record 'ms Li 1'"),
    "nobody's record": (("ms S     1", "ms S     2"), "record 'ms S 2' is malformed or belongs to no atom"),
    "repeated record": (("ms Li    2", "ms Li    1"), "two ms records for atom Li 1"),
    "trace": (("1.2000000000000000E-02 ", "1.3000000000000000E-02 "), "field gradient has a trace"),
    "no element": (("atom S       S", "atom Xy      S"), "unknown element 'Xy'"),
    "two atoms of one name": (("atom Li:ion  Li   2", "atom Li:ion  Li   1"), "distinct label and index"),
}


@pytest.mark.parametrize("name", MAGRES_DEFECTS)
def test_a_bad_magres_ends_in_one_message_and_no_file(name, tmp_path):
    (old, new), message = MAGRES_DEFECTS[name]
    text = MAGRES.read_text()
    if name == "trace":
        old, new = "-7.0000000000000001E-03", "-6.0000000000000001E-03"
    assert old in text
    path = tmp_path / "bad.magres"
    path.write_text(text.replace(old, new, 1))
    code, said = run("ingest.py", path, "--out", tmp_path / "out.extxyz", *INFO)
    assert code == 2
    assert message in said
    assert str(path) in said
    assert not (tmp_path / "out.extxyz").exists()


def test_a_magres_cut_anywhere_is_refused(tmp_path):
    text = MAGRES.read_text()
    end = text.index("[/magres]")
    for cut in (end + 5, end - 200, text.index("[/atoms]") + 8, text.index("lattice   ") + 20, 10):
        (tmp_path / "cut.magres").write_text(text[:cut])
        with pytest.raises(InputError, match=r"cut\.magres"):
            read_magres(tmp_path / "cut.magres")


def test_an_atom_without_record_has_nan_and_glued_indices_are_parted(tmp_path):
    lines = [line for line in MAGRES.read_text().splitlines() if not line.startswith("ms Li    2")]
    text = "\n".join(lines).replace("atom Li:ion  Li   2", "atom Li:ion  Li 102").replace("efg Li    2", "efg Li102")
    (tmp_path / "part.magres").write_text(text)
    atoms = read_magres(tmp_path / "part.magres")
    assert np.isnan(ms(atoms)[1]).all()
    assert np.isfinite(ms(atoms)[[0, 2]]).all()
    assert efg(atoms)[1, 2, 2] == 0.02


@pytest.fixture
def magres_dataset(tmp_path):
    out = tmp_path / "dataset.extxyz"
    code, said = run("ingest.py", MAGRES, "--out", out, *INFO)
    assert code == 0, said
    return out


def test_magres_needs_to_be_told_its_group(tmp_path):
    code, said = run("ingest.py", MAGRES, "--out", tmp_path / "o.extxyz", "--material", "Li2S", "--phase", "x")
    assert code == 2
    assert "no group" in said


def test_the_antisymmetric_part_survives_the_dataset(magres_dataset):
    sigma = ms(read_dataset(magres_dataset)[0])
    np.testing.assert_allclose(sigma, ms(read_magres(MAGRES)), atol=1e-8)
    assert abs(sigma[2, 0, 1] - sigma[2, 1, 0]) == 10


def test_the_parameters_of_an_axial_site(magres_dataset, tmp_path):
    out = tmp_path / "p.csv"
    code, said = run("nmr_parameters.py", magres_dataset, "--out", out, "--isotopes", "7Li", "--reference", 90.1)
    assert code == 0, said
    table = pd.read_csv(out)
    assert len(table) == 2
    row = table[table.atom == 1].iloc[0]
    # V = diag(−0.008, −0.012, 0.02) a.u., σ = diag(90, 90, 96) ppm; 9.422 MHz per a.u. (Q = −40.1 mb), negative
    assert row.C_Q_kHz == pytest.approx(-188.44, rel=1e-4)
    assert row.V_zz_au == pytest.approx(0.02)
    assert row.eta == pytest.approx(0.2)
    assert row.efg_beta_deg == pytest.approx(0)
    assert row.sigma_iso_ppm == pytest.approx(92)
    assert row.sigma_anisotropy_ppm == pytest.approx(6)
    assert row.sigma_span_ppm == pytest.approx(6)
    assert row.delta_iso_ppm == pytest.approx(-1.9, rel=2e-4)


def test_a_shift_is_printed_only_with_a_reference(magres_dataset, tmp_path):
    assert run("nmr_parameters.py", magres_dataset, "--out", tmp_path / "p.csv")[0] == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert "delta_iso_ppm" not in table
    assert set(table.isotope) == {"6Li", "7Li", "33S"}
    code, said = run("nmr_parameters.py", magres_dataset, "--out", tmp_path / "q.csv", "--reference", 90)
    assert code == 2
    assert "one shielding for each of --isotopes" in said


PHOSPHORUS = FRAME.replace("\nS ", "\nP ")

BAD_PARAMETERS = {
    "no quadrupole moment": (PHOSPHORUS, ["31P"], "31P has spin 0.5 and no quadrupole moment"),
    "unknown isotope": (FRAME, ["8Li"], "unknown isotope '8Li'"),
    "absent element": (FRAME, ["23Na"], "has no Na"),
    "no tensors": (FRAME.replace("efg:R:9", "a:R:9"), ["7Li"], "Li has neither field gradients nor shieldings"),
    "reference without shieldings": (FRAME, ["7Li", "--reference", "90"], "but Li has no shieldings"),
    "a trace": (FRAME.replace("-0.04", "-0.03"), ["7Li"], "field gradient has a trace"),
    "empty": ("", ["7Li"], "empty dataset"),
}


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_input_gives_no_parameters(name, tmp_path):
    text, isotopes, message = BAD_PARAMETERS[name]
    (tmp_path / "d.extxyz").write_text(text)
    out = tmp_path / "p.csv"
    code, said = run("nmr_parameters.py", tmp_path / "d.extxyz", "--out", out, "--isotopes", *isotopes)
    assert code == 2
    assert message in said
    assert not out.exists()


def test_a_card_counts_and_bins_everything(tmp_path):
    (tmp_path / "d.extxyz").write_text(FRAME)
    card, table = tmp_path / "CARD.md", tmp_path / "h.csv"
    flags = ("--out-card", card, "--out-table", table, "--mobile", "Li", "--neighbour", "S", "--drawn", "by hand")
    code, said = run("dataset_card.py", tmp_path / "d.extxyz", *flags)
    assert code == 0, said
    counts = pd.read_csv(table).groupby("quantity")["count"].sum().to_dict()
    assert counts == {"abs_V_zz_au": 2, "force_component_eV_per_A": 9, "nearest_Li_S_A": 2}
    text = card.read_text()
    assert "| Li2S | made-up | one |  | 1 | 1 | 1 | 2 | 0 |" in text
    assert "how drawn: by hand" in text
    # Li 0 at (0.1, 0, 0): nearest S image at (0, ±2.5, ±2.5)
    assert f"{np.sqrt(12.51):.4g}" in text


def test_a_card_of_an_absent_element_is_refused(tmp_path):
    (tmp_path / "d.extxyz").write_text(FRAME)
    flags = ("--out-card", tmp_path / "c.md", "--out-table", tmp_path / "h.csv", "--mobile", "Na", "--neighbour", "S")
    code, said = run("dataset_card.py", tmp_path / "d.extxyz", *flags)
    assert code == 2
    assert "no frame has both Na and S" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.extxyz"]
