"""The reader of gipaw.x text output on quartz: against its .magres files, against GPAW, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from insilico_nmr.dataset import check_one_level, efg, ms
from insilico_nmr.errors import InputError
from insilico_nmr.readers import magres, qe_gipaw
from insilico_nmr.tensors import efg_principal

DATA = Path(__file__).parents[1] / "data" / "readers"
SCF, EFG, NMR = (DATA / f"qe_quartz_{part}.out" for part in ("scf", "efg", "nmr"))


@pytest.fixture(scope="module")
def gradients():
    return qe_gipaw.read(EFG, SCF)


@pytest.fixture(scope="module")
def shieldings():
    return qe_gipaw.read(NMR, SCF)


def test_structure_and_mechanics_come_from_pw(gradients):
    assert str(gradients.symbols) == "Si3O6"
    np.testing.assert_allclose(gradients.positions, magres.read(DATA / "qe_quartz.efg.magres").positions, atol=2e-6)
    assert gradients.get_potential_energy() == pytest.approx(-216.59579265 * 13.605693, rel=1e-6)
    assert gradients.get_forces()[0, 0] == pytest.approx(0.00061234 * 25.71104, rel=1e-5)
    # 72.66 kbar of pressure: a negative stress in ASE's sense
    assert gradients.get_stress()[:3].mean() == pytest.approx(-7.266 / 160.21766, rel=1e-3)


def test_text_and_magres_say_the_same(gradients, shieldings):
    """Same run, two files: same order of atoms and indices, same level of theory."""
    of_efg, of_nmr = (magres.read(DATA / f"qe_quartz.{job}.magres") for job in ("efg", "nmr"))
    np.testing.assert_allclose(efg(gradients), efg(of_efg), atol=1.1e-4)  # four decimals in .magres
    np.testing.assert_array_equal(ms(shieldings), ms(of_nmr))
    assert np.abs(ms(shieldings) - ms(shieldings).transpose(0, 2, 1)).max() > 17
    check_one_level([gradients, shieldings, of_efg, of_nmr], "quartz")
    assert gradients.info["level_of_theory"] == (
        "QE-GIPAW 7.6, PBE, cut-off 1088.46 eV, "
        "pseudopotentials O.pbe-tm-gipaw.UPF; Si.pbe-tm-gipaw.UPF, k points 4×4×4"
    )


def test_gradients_agree_with_what_gipaw_makes_of_them(gradients):
    """V_zz, its axis, and C_Q of O with the Q = 25.5 mb of the input: C_Q = eQV_zz/h."""
    values, axes = efg_principal(efg(gradients)[3:4])
    np.testing.assert_allclose(values[0], [-0.3645, -0.5506, 0.9151], atol=6e-5)
    assert abs(axes[0, :, 2] @ [0.469325, 0.654795, -0.592434]) == pytest.approx(1, abs=1e-6)
    assert 0.0255 * 234.9648 * values[0, 2] == pytest.approx(5.4829, abs=5e-4)


# GPAW 22.8 at the structure of these files: PBE, 500 eV, 2×2×2 k points, gpaw-setups 0.9.20000, PAW decomposition of
# Petrilli et al., Phys. Rev. B 57, 14690 (1998). Rows of V for Si 1, Si 3, O 4, O 5.
GPAW = {
    0: [[-0.0264, -0.0603, 0.0118], [-0.0603, 0.0434, 0.0069], [0.0118, 0.0069, -0.0170]],
    2: [[0.0782, 0, 0], [0, -0.0613, -0.0138], [0, -0.0138, -0.0169]],
    3: [[-0.1970, 0.4071, -0.4635], [0.4071, 0.1914, -0.5202], [-0.4635, -0.5202, 0.0056]],
    4: [[0.4435, -0.0342, 0.6823], [-0.0342, -0.4574, -0.1415], [0.6823, -0.1415, 0.0139]],
}


@pytest.mark.parametrize("atom", GPAW)
def test_gradients_agree_with_gpaw(gradients, atom):
    """Sign, axes and order of atoms; the size to 6 %, other datasets as they are."""
    found, reference = efg(gradients)[atom], np.array(GPAW[atom])
    assert np.linalg.norm(found - reference) < 0.06 * np.linalg.norm(reference)


def test_the_symmetry_of_the_crystal_relates_the_tensors(gradients, shieldings):
    """The twofold axis along x maps atoms 1, 4, 5, 6 on 2, 7, 8, 9: proof that tensors and structure number alike."""
    rotation = np.diag([1, -1, -1])
    for one, other in ((0, 1), (3, 6), (4, 7), (5, 8)):
        away = np.linalg.solve(gradients.cell.T, rotation @ gradients.positions[one] - gradients.positions[other])
        np.testing.assert_allclose(away, np.round(away), atol=1e-5)
        for tensors in (efg(gradients), ms(shieldings)):
            np.testing.assert_allclose(rotation @ tensors[one] @ rotation, tensors[other], atol=1e-4)


def test_a_column_is_the_field_induced_by_a_field_along_that_axis(shieldings):
    """VASP 5.4.4 on quartz (its forum, t=17964), whose rows are proved to be applied fields: δ of Si on the axis
    along x has rows (420.70, 0, 0), (0, 416.49, −8.716), (0, 14.027, 430.17). Handedness turns the sign of both."""
    along_y, along_z = ms(shieldings)[2, 2, 1], ms(shieldings)[2, 1, 2]
    assert along_y / along_z == pytest.approx(-8.716 / 14.027, abs=0.1)  # the inverse would be −1.6


def swap(text, one, other):
    return text.replace(one, "\0").replace(other, one).replace("\0", other)


EFG_DEFECTS = {
    "truncated": ("   JOB DONE.", "", "truncated; expected 'JOB DONE.'"),
    "other units": ("IN Hartree/bohrradius^2", "IN 10^21 V/m^2", r"unknown units in 'ELECTRIC .* 10\^21 V/m\^2:'"),
    "not symmetrised": ("total EFG (symmetrized)", "something", "no '----- total EFG"),
    "an atom fewer": ("     O       9 ", "     **     9 ", "field gradients of 8 atoms .* do not fit the 9 atoms"),
    "another element": ("     Si      3 ", "     O       3 ", "do not fit the 9 atoms"),
    "not a number": ("0.428924", "********", r"expected 81 finite numbers in total EFG"),
    "another job": (
        "ELECTRIC FIELD GRADIENTS TENSORS IN",
        "HYPERFINE TENSORS IN",
        "no field gradients .*and no shieldings",
    ),
}


@pytest.mark.parametrize("name", EFG_DEFECTS)
def test_bad_text_is_refused(name, tmp_path):
    old, new, message = EFG_DEFECTS[name]
    text = EFG.read_text()
    assert old in text
    (tmp_path / "efg.out").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        qe_gipaw.read(tmp_path / "efg.out", SCF)


def test_shieldings_of_atoms_in_another_order_are_refused(tmp_path):
    """Two oxygens change places in the list of shieldings: their positions betray them."""
    text = swap(NMR.read_text(), "0.681300 -0.253747  0.471680", "-0.120900  0.716899  1.205013")
    (tmp_path / "nmr.out").write_text(text)
    with pytest.raises(InputError, match=r"atom [45] \(O\) is not where the structure has it \(\d\.\d+ Å away\)"):
        qe_gipaw.read(tmp_path / "nmr.out", SCF)
    (tmp_path / "nmr.out").write_text(
        NMR.read_text().replace("chemical shifts in ppm: --", "chemical shifts in ppb: --")
    )
    with pytest.raises(InputError, match="expected ppm"):
        qe_gipaw.read(tmp_path / "nmr.out", SCF)


STRUCTURE_DEFECTS = {
    "not converged": ("convergence has been achieved", "convergence NOT achieved", "did not converge"),
    "truncated": ("   JOB DONE.", "", "truncated"),
    "no scf": (
        "     convergence has been achieved in  11 iterations\n",
        "",
        "expected 'convergence has been achieved'",
    ),
    "no pw": ("Program PWSCF", "Program PHONON", "expected pw.x output"),
    "another crystal": (
        "number of atoms/cell      =            9",
        "number of atoms/cell      =            8",
        "scf.out|8 atoms",
    ),
}


@pytest.mark.parametrize("name", STRUCTURE_DEFECTS)
def test_a_bad_structure_is_refused(name, tmp_path):
    old, new, message = STRUCTURE_DEFECTS[name]
    text = SCF.read_text()
    assert old in text
    (tmp_path / "scf.out").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        qe_gipaw.read(EFG, tmp_path / "scf.out")
