"""Ingest and the parameter table as a user runs them: every code's output, and bad input with a clear end."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from insilico_nmr.dataset import efg, label_names, ms, near_copies, read_dataset, write_dataset
from insilico_nmr.files import sha256
from insilico_nmr.readers import magres
from programs import run

ROOT = Path(__file__).parents[2]
MAGRES = ROOT / "tests" / "data" / "synthetic_castep.magres"
DATASET = ROOT / "examples" / "li3n" / "li3n.extxyz"
OUTPUTS = ROOT / "tests" / "data" / "readers"
INFO = ["--material", "Li2S", "--phase", "made-up", "--group", "one"]

FRAME = """3
Lattice="5.0 0.0 0.0 0.0 5.0 0.0 0.0 0.0 5.0" Properties=species:S:1:pos:R:3:efg:R:9:forces:R:3 energy=-1.5 \
material=Li2S phase=made-up group=one source="made up" pbc="T T T"
Li 0.1 0.0 0.0  0.01 0 0 0 0.01 0 0 0 -0.02  0.1 0.0 0.0
Li 2.5 2.5 0.0  0.03 0 0 0 0.01 0 0 0 -0.04  0.0 0.1 0.0
S  0.0 2.5 2.5  0.10 0 0 0 0.10 0 0 0 -0.20  0.0 0.0 0.1
"""


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
    code, said = run("ingest", tmp_path / "in.extxyz", "--out", tmp_path / "out.extxyz")
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
    code, said = run("ingest", tmp_path / "in.extxyz", "--out", tmp_path / "out" / "out.extxyz")
    assert code == 2
    assert said.startswith(f"error: {tmp_path / 'in.extxyz'}")
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_the_same_snapshot_in_two_files_is_a_duplicate(tmp_path):
    for name in ("a.extxyz", "b.extxyz"):
        (tmp_path / name).write_text(FRAME)
    code, said = run("ingest", tmp_path / "a.extxyz", tmp_path / "b.extxyz", "--out", tmp_path / "o.extxyz")
    assert code == 2
    assert "b.extxyz, frame 0: a duplicate of" in said
    assert "a.extxyz, frame 0 (same atoms and cell, efg)" in said
    assert not (tmp_path / "o.extxyz").exists()


def test_field_gradients_and_shieldings_of_one_structure_become_one_frame(tmp_path):
    outputs = [OUTPUTS / "qe_quartz_efg.out", OUTPUTS / "qe_quartz_nmr.out"]
    flags = (*OF_QUARTZ, "--structure", OUTPUTS / "qe_quartz_scf.out", "--out", tmp_path / "o.extxyz")
    code, said = run("ingest", *outputs, *flags)
    assert code == 0
    assert "efg of 6 of 6 O, 3 of 3 Si; ms of 6 of 6 O, 3 of 3 Si" in said
    assert "another order" in said  # the text of field gradients has no positions to check
    (frame,) = read_dataset(tmp_path / "o.extxyz")
    assert {"efg", "ms"} <= set(frame.arrays)
    assert frame.info["output_sha256"].split() == [sha256(path) for path in outputs]


def test_no_label_is_lost_in_whichever_order_outputs_are_joined(tmp_path):
    (atoms,) = read_dataset(DATASET)[:1]
    shielding = atoms.copy()
    shielding.arrays["ms"] = 50 * shielding.arrays.pop("efg")
    write_dataset(tmp_path / "efg.extxyz", [atoms])
    write_dataset(tmp_path / "ms.extxyz", [shielding])
    for names in (("efg", "ms"), ("ms", "efg")):
        files = [tmp_path / f"{name}.extxyz" for name in names]
        assert run("ingest", *files, "--out", tmp_path / "o.extxyz")[0] == 0
        (frame,) = read_dataset(tmp_path / "o.extxyz")
        assert set(label_names(frame)) == {*label_names(atoms), "ms"}
    shielding.info["charge"] = 1
    write_dataset(tmp_path / "ms.extxyz", [shielding])
    code, said = run("ingest", *files, "--out", tmp_path / "o.extxyz")
    assert (code, "charge is" in said) == (2, True)


def test_near_copies_in_two_groups_are_pointed_at(tmp_path):
    frames = read_dataset(DATASET)
    assert not near_copies(frames, 0.05)
    moved = frames[3].copy()
    moved.info["group"] = "a fs later"
    moved.rattle(0.01, seed=1)
    moved.translate([0.3, 0.0, 5.0])  # makes no difference, nor does another image of an atom
    moved.positions[0] += moved.cell[0]
    ((pair, (distance, *numbers)),) = near_copies([*frames, moved], 0.05).items()
    assert (set(pair), numbers) == ({"a fs later", frames[3].info["group"]}, [3, len(frames)])
    assert distance == pytest.approx(0.01 * np.sqrt(3), rel=0.2)
    moved.calc = None
    write_dataset(tmp_path / "later.extxyz", [moved])
    code, said = run(
        "ingest", DATASET, tmp_path / "later.extxyz", "--allow-mixed-levels", "--out", tmp_path / "o.extxyz"
    )
    assert code == 0, said
    assert f"warning: {DATASET}, frame 3 (group {frames[3].info['group']}) and {tmp_path}/later.extxyz, frame 0" in said


def test_field_gradients_in_a_larger_unit_are_pointed_at(tmp_path):
    frames = read_dataset(DATASET)[:2]
    for atoms in frames:
        atoms.arrays["efg"] *= 97.17
        atoms.positions += 0.01
        atoms.info["group"] = "in other units"
    write_dataset(tmp_path / "other.extxyz", frames)
    code, said = run("ingest", DATASET, tmp_path / "other.extxyz", "--out", tmp_path / "o.extxyz")
    assert code == 0
    assert "warning: field gradients of Li are" in said
    assert "larger in group in other units" in said
    assert "warning" not in run("ingest", DATASET, "--out", tmp_path / "o.extxyz")[1]


@pytest.mark.parametrize(("name", "pattern"), [("vasp_margarite_efg.OUTCAR", r"ENCUT\s*=\s*\S+"),
                                              ("abinit_stishovite.abo", r"ecut\s+\S+")])  # fmt: skip
def test_a_cut_off_of_stars_is_named(tmp_path, name, pattern):
    text = (OUTPUTS / name).read_text()
    keyword = pattern.split("\\")[0]
    stars = re.sub(pattern, keyword + (" = ****" if "=" in pattern else " ****"), text)
    lines = [line for line in stars.splitlines() if "not enough SCF cycles" not in line]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    code, said = run("ingest", tmp_path / name, "--out", tmp_path / "o.extxyz", *INFO)
    assert code == 2
    assert f"{name}: expected 1 finite numbers in {keyword}" in said


def test_a_flag_does_not_overrule_the_file(tmp_path):
    (tmp_path / "in.extxyz").write_text(FRAME)
    code, said = run("ingest", tmp_path / "in.extxyz", "--out", tmp_path / "o.extxyz", "--phase", "other")
    assert code == 2
    assert "frame 0: phase is 'made-up', but 'other' was given" in said


def test_checksums_are_required_and_compared(tmp_path):
    data, registry, out = tmp_path / "in.extxyz", tmp_path / "registry.csv", tmp_path / "out.extxyz"
    data.write_text(FRAME)
    header = "path,sha256,source,licence,units,level_of_theory\n"
    flags = ("--registry", registry, "--out", out)

    registry.write_text(header)
    assert run("ingest", data, *flags)[0] == 0  # not listed, and no checksum required
    out.unlink()
    code, said = run("ingest", data, *flags, "--require-checksum")
    assert (code, "not listed" in said, out.exists()) == (2, True, False)

    registry.write_text(f"{header}in.extxyz,{sha256(data)},made up,none,energy eV; forces eV/Ang; efg au,none\n")
    assert run("ingest", data, *flags, "--require-checksum")[0] == 0
    out.unlink()

    registry.write_text(f"{header}in.extxyz,{sha256(data)},made up,none,energy Ry; efg au,none\n")
    code, said = run("ingest", data, *flags)
    assert (code, "unknown units 'Ry' for energy, expected 'eV'" in said) == (2, True)

    registry.write_text(f"{header}in.extxyz,{'0' * 64},made up,none,energy eV; efg au,none\n")
    for extra in ((), ("--require-checksum",)):
        code, said = run("ingest", data, *flags, *extra)
        assert code == 2
        assert f"expected {'0' * 64}, found {sha256(data)}" in said
        assert not out.exists()


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
    code, said = run("ingest", path, "--out", tmp_path / "out.extxyz", *INFO)
    assert code == 2
    assert message in said
    assert str(path) in said
    assert not (tmp_path / "out.extxyz").exists()


@pytest.fixture
def magres_dataset(tmp_path):
    out = tmp_path / "dataset.extxyz"
    code, said = run("ingest", MAGRES, "--out", out, *INFO)
    assert code == 0, said
    return out


def test_magres_needs_to_be_told_its_group(tmp_path):
    code, said = run("ingest", MAGRES, "--out", tmp_path / "o.extxyz", "--material", "Li2S", "--phase", "x")
    assert code == 2
    assert "no group" in said


def test_the_antisymmetric_part_survives_the_dataset(magres_dataset):
    frame = read_dataset(magres_dataset)[0]
    sigma = ms(frame)
    np.testing.assert_allclose(sigma, ms(magres.read(MAGRES)), atol=1e-8)
    assert frame.info["level_of_theory"] == magres.read(MAGRES).info["level_of_theory"]
    assert abs(sigma[2, 0, 1] - sigma[2, 1, 0]) == 10


def test_the_parameters_of_an_axial_site(magres_dataset, tmp_path):
    out = tmp_path / "p.csv"
    code, said = run("nmr_parameters", magres_dataset, "--out", out, "--isotopes", "7Li", "--reference", 90.1)
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
    assert run("nmr_parameters", magres_dataset, "--out", tmp_path / "p.csv")[0] == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert "delta_iso_ppm" not in table
    assert set(table.isotope) == {"6Li", "7Li", "33S"}
    code, said = run("nmr_parameters", magres_dataset, "--out", tmp_path / "q.csv", "--reference", 90)
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
    code, said = run("nmr_parameters", tmp_path / "d.extxyz", "--out", out, "--isotopes", *isotopes)
    assert code == 2
    assert message in said
    assert not out.exists()


def test_a_card_counts_and_bins_everything(tmp_path):
    (tmp_path / "d.extxyz").write_text(FRAME)
    card, table = tmp_path / "CARD.md", tmp_path / "h.csv"
    flags = ("--out-card", card, "--out-table", table, "--mobile", "Li", "--neighbour", "S", "--drawn", "by hand")
    code, said = run("dataset_card", tmp_path / "d.extxyz", *flags)
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
    code, said = run("dataset_card", tmp_path / "d.extxyz", *flags)
    assert code == 2
    assert "no frame has both Na and S" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.extxyz"]


OF_QUARTZ = ["--material", "SiO2", "--phase", "quartz", "--group", "one"]


@pytest.mark.parametrize(
    ("name", "flags", "labels"),
    [
        ("castep_ethanol.magres", [], ["efg", "ms"]),
        ("qe_quartz.efg.magres", [], ["efg"]),
        ("qe_quartz_efg.out", ["--structure", OUTPUTS / "qe_quartz_scf.out"], ["efg"]),
        ("qe_quartz_nmr.out", ["--structure", OUTPUTS / "qe_quartz_scf.out"], ["ms"]),
        ("vasp_margarite_efg.OUTCAR", [], ["efg"]),
        ("vasp_magnesite_nmr.OUTCAR", [], ["ms"]),
    ],
)
def test_every_code_ends_in_the_one_contract(name, flags, labels, tmp_path):
    out = tmp_path / "dataset.extxyz"
    code, said = run("ingest", OUTPUTS / name, "--out", out, *INFO, *flags)
    assert code == 0, said
    frame = read_dataset(out)[0]
    assert [key for key in ("efg", "ms") if key in frame.arrays] == labels
    assert frame.info["output_sha256"] == sha256(OUTPUTS / name)
    assert frame.info["level_of_theory"].startswith(frame.info["source"])
    if "magres" not in name:
        assert np.abs(frame.get_forces()).max() < 0.4
        assert np.abs(frame.get_stress()).max() < 0.1
        assert frame.get_potential_energy() < -200


def test_two_codes_with_two_levels_of_theory_are_refused_unless_allowed(tmp_path):
    files = [OUTPUTS / "qe_quartz_efg.out", OUTPUTS / "vasp_margarite_efg.OUTCAR"]
    out = tmp_path / "out.extxyz"
    # Each file for itself goes in (gipaw.x needs its structure), so join what came of them.
    one, two = tmp_path / "one.extxyz", tmp_path / "two.extxyz"
    assert run("ingest", files[0], "--out", one, *OF_QUARTZ, "--structure", OUTPUTS / "qe_quartz_scf.out")[0] == 0
    assert run("ingest", files[1], "--out", two, *INFO)[0] == 0
    code, said = run("ingest", one, two, "--out", out)
    assert code == 2
    assert "different levels of theory, expected one (" in said
    assert "one.extxyz, frame 0: QE-GIPAW 7.6, PBE" in said
    assert "two.extxyz, frame 0: VASP 5.4.1, PBE" in said
    assert not out.exists()
    assert run("ingest", one, two, "--out", out, "--allow-mixed-levels")[0] == 0
    assert len(read_dataset(out)) == 2


def test_frames_that_state_no_level_do_not_mix_with_those_that_do(tmp_path):
    (tmp_path / "in.extxyz").write_text(FRAME)
    code, said = run("ingest", tmp_path / "in.extxyz", MAGRES, "--out", tmp_path / "o.extxyz", *INFO)
    assert code == 2
    assert "in.extxyz, frame 0: not stated; " in said
    assert "frame 0: CASTEP 24.1" in said


def test_text_of_gipaw_needs_its_structure(tmp_path):
    code, said = run("ingest", OUTPUTS / "qe_quartz_efg.out", "--out", tmp_path / "o.extxyz", *OF_QUARTZ)
    assert code == 2
    assert "has no cell; give the pw.x output beneath it with --structure" in said


def test_a_run_that_did_not_converge_makes_no_dataset(tmp_path):
    code, said = run("ingest", OUTPUTS / "abinit_stishovite.abo", "--out", tmp_path / "o.extxyz", *OF_QUARTZ)
    assert code == 2
    assert "abinit_stishovite.abo: did not converge" in said
    assert not (tmp_path / "o.extxyz").exists()
