"""The OUTCAR reader on VASP's own output: signs, order of indices, the parts of a shielding, what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from insilico_nmr.dataset import efg, ms
from insilico_nmr.errors import InputError
from insilico_nmr.readers import vasp
from insilico_nmr.tensors import efg_principal

DATA = Path(__file__).parents[1] / "data" / "readers"
MARGARITE = DATA / "vasp_margarite_efg.OUTCAR"
MAGNESITE = DATA / "vasp_magnesite_nmr.OUTCAR"


@pytest.fixture(scope="module")
def margarite():
    return vasp.read(MARGARITE)


@pytest.fixture(scope="module")
def magnesite():
    return vasp.read(MAGNESITE)


def test_structure_and_mechanics_are_those_of_the_last_step(margarite):
    assert str(margarite.symbols) == "Ca2Al8Si4H4O24"
    assert margarite.cell.volume == pytest.approx(443.45, abs=0.01)
    assert margarite.get_potential_energy() == pytest.approx(-302.62549178)
    np.testing.assert_allclose(margarite.get_forces()[0], [-0.000314, 0.001602, 0.000343])
    # 0.20527 kB pressure along x is a stress of −0.0128 GPa·… eV/Å³, negative for a crystal that wants to expand
    assert margarite.get_stress()[0] == pytest.approx(-0.20527 * 0.1 / 160.21766, rel=1e-4)


def test_gradients_agree_with_what_vasp_makes_of_them(margarite):
    """Principal values after diagonalisation and C_Q of Al (Q = 146.6 mb), as the same file prints them."""
    values, _ = efg_principal(efg(margarite))
    printed = {0: (7.132, 1.195, -8.327), 2: (11.516, 4.205, -15.721), 4: (-10.142, -7.706, 17.848)}
    for atom, (xx, yy, zz) in printed.items():  # VASP's xx is the middle one
        np.testing.assert_allclose(values[atom] * vasp.EFG_AU_IN_V_PER_A2, [yy, xx, zz], atol=0.003)
    for atom, coupling_MHz in {2: -5.573, 4: 6.327, 6: -7.453, 8: -5.580}.items():
        # C_Q = eQV_zz/h, 234.9648 MHz per barn and a.u.
        assert 0.1466 * 234.9648 * values[atom, 2] == pytest.approx(coupling_MHz, abs=0.003)


def test_the_gradient_at_hydrogen_is_positive_along_its_bond(margarite):
    """Sign and order of the components at once: the axis of V_zz of the OH groups is the O–H bond."""
    hydrogen, oxygen = [np.flatnonzero(margarite.symbols == symbol) for symbol in ("H", "O")]
    values, axes = efg_principal(efg(margarite)[hydrogen])
    assert (values[:, 2] > 0.4).all()
    for atom, axis in zip(hydrogen, axes[:, :, 2], strict=True):
        bonds = margarite.get_distances(atom, oxygen, mic=True, vector=True)
        bond = bonds[np.argmin(np.linalg.norm(bonds, axis=1))]
        assert abs(axis @ bond) / np.linalg.norm(bond) > np.cos(np.radians(3))


def test_gradients_are_symmetric_traceless_and_follow_the_crystal(margarite):
    gradients = efg(margarite)
    np.testing.assert_allclose(np.trace(gradients, axis1=1, axis2=2), 0, atol=1e-15)
    # A glide plane ⊥ y maps each odd ion on the next: V_xy and V_yz change sign.
    mirror = np.diag([1, -1, 1])
    np.testing.assert_allclose(gradients[1::2], mirror @ gradients[::2] @ mirror, atol=1e-15)


def test_the_level_of_theory_is_read(margarite, magnesite):
    assert margarite.info["source"] == magnesite.info["source"] == "VASP 5.4.1"
    assert magnesite.info["level_of_theory"] == (
        "VASP 5.4.1, PBE, cut-off 1225 eV, pseudopotentials PAW_PBE C_h 06Feb2004; PAW_PBE Mg_sv 12Apr2007; "
        "PAW_PBE O_h 06Feb2004, k points 9×9×4"
    )
    assert margarite.info["level_of_theory"].startswith("VASP 5.4.1, PBE, cut-off 600 eV, pseudopotentials ")


def test_shieldings_are_minus_vasps_shifts_with_core_and_g0(magnesite):
    """Isotropic values against the table of the file; positive, since cores shield."""
    isotropic = np.trace(ms(magnesite), axis1=1, axis2=2) / 3
    np.testing.assert_allclose(isotropic[[0, 6, 12, 29]], [566.7192, 1.9406, 79.3798, 79.3794], atol=5e-4)
    # Span of the symmetric part, including G = 0.
    for atom, span in {0: 2.4746, 6: 73.7484, 12: 233.9414, 15: 233.9648}.items():
        values = np.linalg.eigvalsh(0.5 * (ms(magnesite)[atom] + ms(magnesite)[atom].T))
        assert values[-1] - values[0] == pytest.approx(span, abs=2e-4)


def test_a_column_is_the_field_induced_by_a_field_along_that_axis(magnesite):
    """The block "EXTERNAL FIELD APPLIED IN DIRECTION 3" lists the field induced at each ion, but for core and G = 0."""
    text = MAGNESITE.read_text()
    block = text[text.index("APPLIED IN DIRECTION           3") :]
    rows = [line.split() for line in block.splitlines()[5:21]]
    induced = np.array([[float(word) for word in row[1:]] for row in rows])
    g0_along_z = np.array([-0.000006, -0.008328, -9.320237])
    core = np.repeat([-412.8248405, -200.5098812, -271.0766979], [6, 6, 4])
    susceptibility = -2.69e-6 * 8 * np.pi / 3 / (0.602214076 * magnesite.cell.volume) * 1e6
    expected = induced + g0_along_z + np.outer(core + susceptibility, [0, 0, 1])
    np.testing.assert_allclose(-ms(magnesite)[:16, :, 2], expected, atol=1e-3)
    assert abs(ms(magnesite)[12, 1, 2] - ms(magnesite)[12, 2, 1]) > 30  # so that the order matters


# VASP wiki, page LCHIMAG (2026): summary of version 6.6 for diamond; and the same lines with numbers that tell rows
# from columns.
SUMMARY = """
 ---------------------------------------------------------------------------------------
  CSA tensor (J. Mason, Solid State Nucl. Magn. Reson. 2, 285 (1993))
  for chemical shielding  (including the isotropic core contribution)

  BDIR labels direction of applied magnetic field (i.e. B0)
  For BDIR==1, B0 along x-axis, etc.
  Induced field listed along cartesian directions for each BDIR
 ---------------------------------------------------------------------------------------
                 EXCLUDING G=0 CONTRIBUTION             INCLUDING G=0 CONTRIBUTION
            ------------------------------------   ------------------------------------
  ion  BDIR            X           Y           Z              X           Y           Z
          (   iso_shield        span        skew) (  iso_shield        span        skew)
 ---------------------------------------------------------------------------------------
    1     1     142.5256     -0.0000      0.0000       229.8645     -0.0000      0.0000
          2      -0.0000    142.5256      0.0000        -0.0000    229.8645     -0.0000
          3      -0.0000      0.0000    142.5256        -0.0000      0.0000    229.8645
          (     142.5256      0.0000      0.0000) (    229.8645      0.0000      0.0000)

    2     1     142.5256     -0.0000      0.0000       229.8645     -0.0000      0.0000
          2      -0.0000    142.5256      0.0000        -0.0000    229.8645     -0.0000
          3      -0.0000      0.0000    142.5256        -0.0000      0.0000    229.8645
          (     142.5256      0.0000      0.0000) (    229.8645      0.0000      0.0000)
 ---------------------------------------------------------------------------------------
  IF SPAN.EQ.0, THEN SKEW IS ILL-DEFINED
 ---------------------------------------------------------------------------------------
"""


def shieldings(text, count=2):
    return vasp._shieldings(Path("OUTCAR"), text.splitlines(), Atoms(f"C{count}"), [count])


def test_the_summary_of_version_6_6_is_read_as_shieldings():
    np.testing.assert_allclose(shieldings(SUMMARY), np.broadcast_to(229.8645 * np.eye(3), (2, 3, 3)))
    other = SUMMARY.replace(
        "229.8645     -0.0000      0.0000\n          2", "229.8645      7.0000      8.0000\n          2", 1
    )
    assert shieldings(other)[0, 1, 0] == 7  # B along x, induced along y
    assert shieldings(other)[0, 2, 0] == 8
    with pytest.raises(InputError, match=r"shieldings of 2 ions, expected three rows BDIR each of 3 ions"):
        shieldings(SUMMARY, 3)
    with pytest.raises(InputError, match="LNMRSHIELD"):
        shieldings(SUMMARY.replace("for chemical shielding", "for chemical shift"))


DEFECTS = {
    "not converged": (
        MARGARITE,
        "aborting loop because EDIFF is reached",
        "",
        r"iteration 8 .* is the last of its loop",
    ),
    "response not converged": (
        MAGNESITE,
        re.compile(r"-+ aborting loop because EDIFF is reached -+(?=[^E]*Iteration \(   1\))"),
        "",
        "iteration 12 .* is the last of its loop",
    ),
    "no timing": (MARGARITE, "General timing", "General", "truncated; expected VASP's timing"),
    "other units": (MARGARITE, "gradients (V/A^2)\n", "gradients (10^21 V/m^2)\n", "unknown units in .*expected V/A"),
    "other columns": (MARGARITE, "V_xy      V_xz      V_yz", "V_xy      V_yz      V_xz", "unknown columns"),
    "an ion fewer": (
        MARGARITE,
        "  42      21.142    12.366   -33.508    31.713    -2.704   -27.994\n",
        "",
        "of 41 ions",
    ),
    "ions in another order": (
        MARGARITE,
        "   3      11.110",
        "   4      11.110",
        "expected them of ions 1 to 42 in order",
    ),
    "overflow": (MARGARITE, "   1      -2.568     6.806", "   1   *********     6.806", "6 finite numbers .*of ion 1"),
    "no tensors": (MARGARITE, "Electric field gradients", "Something else", "no field gradients .*and no shieldings"),
    "ions by type": (MARGARITE, "2   8   4   4  24", "2   8   4   4  23", "OUTCAR"),
    "no G=0": (MAGNESITE, "G=0 CONTRIBUTION TO CHEMICAL SHIFT", "SOMETHING", "no G=0 CONTRIBUTION"),
    "no core shifts": (MAGNESITE, "Core NMR properties", "Something", "core shifts of 0 species, expected 3"),
    "no core susceptibility": (
        MAGNESITE,
        "10^-6 cm^3/mole\n ---",
        "SI units\n ---",
        "no core contribution to magnetic",
    ),
    "other core susceptibility": (
        MAGNESITE,
        " -2.69  10^-6",
        " +2.69  10^-6",
        "parts of the shift of ion .* add up to",
    ),
    "other core shift": (MAGNESITE, "-200.5098812", "200.5098812", "the table of isotropic shifts says -1.94"),
    "other G=0": (MAGNESITE, "-9.320237", "9.320237", "add up to"),
    "no table": (MAGNESITE, "(absolute, valence and core)", "(absolute)", "isotropic shifts .* of 0 ions"),
    "a tensor fewer": (MAGNESITE, re.compile(r" ion   30\n.*\n.*\n.*\n"), "", "shift tensors of 29 ions"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_bad_outcar_is_refused(name, tmp_path):
    path, old, new, message = DEFECTS[name]
    text = path.read_text()
    bad = old.sub(new, text) if isinstance(old, re.Pattern) else text.replace(old, new)
    assert bad != text
    (tmp_path / "OUTCAR").write_text(bad)
    with pytest.raises(InputError, match=f"(?s)OUTCAR: .*{message}|{message}"):
        vasp.read(tmp_path / "OUTCAR")
