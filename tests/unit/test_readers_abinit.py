"""The ABINIT reader on a reference run of its tutorial: sign, order, units, convergence, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from insilico_nmr.dataset import efg
from insilico_nmr.errors import InputError
from insilico_nmr.readers import abinit
from insilico_nmr.tensors import asymmetry, efg_principal

STISHOVITE = Path(__file__).parents[1] / "data" / "readers" / "abinit_stishovite.abo"
# The run stops after its ten steps, short of a criterion that no run can meet; without these lines it stands for one
# that converged (its density residual is 6e-10).
UNCONVERGED = """  nstep=   10 was not enough SCF cycles to converge;
  density residual=  5.743E-10 exceeds tolvrs=  1.000E-18
"""
CONVERGED = STISHOVITE.read_text().replace(UNCONVERGED, "")


@pytest.fixture(scope="module")
def stishovite(tmp_path_factory):
    path = tmp_path_factory.mktemp("abinit") / "x.abo"
    path.write_text(CONVERGED)
    return abinit.read(path)


def test_a_run_that_did_not_meet_its_criterion_is_refused():
    with pytest.raises(InputError, match=r"did not converge: nstep=   10 was not enough.*exceeds tolvrs=  1.000E-18"):
        abinit.read(STISHOVITE)


def test_structure_and_mechanics(stishovite):
    assert str(stishovite.symbols) == "Si2O4"
    np.testing.assert_allclose(stishovite.cell.lengths(), [4.249197177153, 4.249197177153, 2.711508965215], rtol=1e-7)
    np.testing.assert_allclose(stishovite.get_scaled_positions()[2], [0.30660149474, 0.30660149474, 0], atol=1e-7)
    assert stishovite.get_potential_energy() == pytest.approx(-1979.91252627116)
    assert stishovite.get_forces()[2, 0] == pytest.approx(0.00888123072451)
    # −10.067 GPa of pressure, printed in GPa, is a positive (tensile) stress in ASE's sense.
    assert stishovite.get_stress()[:3].mean() * 160.21766 == pytest.approx(10.067, abs=0.001)
    np.testing.assert_array_equal(stishovite.get_stress()[3:], 0)


def test_the_level_of_theory_is_read(stishovite):
    assert stishovite.info["level_of_theory"] == (
        "ABINIT 10.5.8, PBE, cut-off 408.171 eV, "
        "pseudopotentials O.GGA-PBE-rpaw-1.45.abinit; Si.GGA-PBE-rpaw-1.55.abinit, k points 8×8×6"
    )


def test_gradients_agree_with_what_abinit_makes_of_them(stishovite):
    """Principal values, η, and C_Q of 17O with Q = −25.58 mb: C_Q = eQV_zz/h, 234.9648 MHz per barn and a.u."""
    values, axes = efg_principal(efg(stishovite)[2:3])
    np.testing.assert_allclose(values[0], [0.473085, 0.627514, -1.100599], atol=2e-6)
    assert -0.02558 * 234.9648 * values[0, 2] == pytest.approx(6.6150, abs=1e-3)
    assert asymmetry(values)[0] == pytest.approx(0.1403, abs=1e-4)
    assert abs(axes[0, :, 2] @ [1, -1, 0]) == pytest.approx(np.sqrt(2), abs=1e-6)


def test_gradients_agree_with_gpaw(stishovite):
    """Sign, axes and order of atoms against a calculation of ours at the same structure: GPAW 22.8, PBE, 500 eV,
    3×3×4 k points, gpaw-setups 0.9.20000, PAW decomposition of Petrilli et al. Phys. Rev. B 57, 14690 (1998). Other
    datasets: the sizes differ by a tenth."""
    oxygen = np.array([[-0.2556, 0.953, 0], [0.953, -0.2556, 0], [0, 0, 0.5112]])
    silicon = np.array([[0.0859, 0.1241, 0], [0.1241, 0.0859, 0], [0, 0, -0.1719]])
    mirror = np.diag([1, -1, 1])
    expected = np.array(
        [silicon, mirror @ silicon @ mirror, oxygen, mirror @ oxygen @ mirror, mirror @ oxygen @ mirror, oxygen]
    )
    for found, reference in zip(efg(stishovite), expected, strict=True):
        assert (found * reference).sum() / np.linalg.norm(found) / np.linalg.norm(reference) > 0.99
        assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(reference), rel=0.13)


# ABINIT 9.0.0, tests/tutorial/Refs/tnuc_1.out (2020): the older layout, atoms of the two types mixed.
BEFORE_9_6 = """
 Electric Field Gradient Calculation 

 Atom   1, typat   1: Cq =      0.000000 MHz     eta =      0.000000

      efg eigval :     -0.165960
-         eigvec :     -0.000000    -0.000000    -1.000000

      total efg :      0.082980     0.125490    -0.000000
      total efg :      0.125490     0.082980    -0.000000
      total efg :      0.000000     0.000000    -0.165960


      efg_el :      0.105888     0.000019    -0.000000
      efg_el :      0.000019     0.105888    -0.000000
      efg_el :      0.000000     0.000000    -0.211776

 Atom   2, typat   2: Cq =      6.603688 MHz     eta =      0.140953

      efg eigval :     -1.098710
-         eigvec :      0.707107    -0.707107     0.000000

      total efg :     -0.235961     0.862750    -0.000000
      total efg :      0.862750    -0.235961    -0.000000
      total efg :      0.000000     0.000000     0.471922
"""


def test_the_layout_before_9_6_is_read():
    found = abinit._field_gradients(Path("x.out"), BEFORE_9_6.splitlines(), np.array([1, 2]))
    np.testing.assert_allclose(
        found[1], [[-0.235961, 0.86275, 0], [0.86275, -0.235961, 0], [0, 0, 0.471922]], atol=1e-6
    )
    with pytest.raises(InputError, match="do not fit the structure"):
        abinit._field_gradients(Path("x.out"), BEFORE_9_6.splitlines(), np.array([2, 1]))


DEFECTS = {
    "several datasets": ("== DATASET  1 =", "== DATASET  1 ==\n== DATASET  2 =", "2 datasets, expected .* with one"),
    "truncated": (" Calculation completed.", "", "truncated; expected 'Calculation completed.'"),
    "no gradients": ("Electric Field Gradient Calculation", "Something else", "expected a run with prtefg or nucefg"),
    "atoms of another order": (
        "   atom :    2   typat :    1",
        "   atom :    2   typat :    2",
        "do not fit the structure",
    ),
    "an atom twice": ("   atom :    4   typat", "   atom :    3   typat", "do not fit the structure"),
    "a row fewer": ("      total efg :     -0.236543     0.864057     0.000000\n", "", "do not fit the structure"),
    "other units": ("efg eigval (au)", "efg eigval (SI)", "unknown units in 'efg eigval"),
    "not a number": (
        "total efg :     -0.236543",
        "total efg :           NaN",
        "expected 3 finite numbers in total efg",
    ),
    "an atom fewer": (
        "            natom           6\n            nband",
        "            natom           5\n            nband",
        "x.abo",
    ),
    "no positions": ("cartesian coordinates (angstrom) at end", "something", "no 'cartesian coordinates"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_bad_output_is_refused(name, tmp_path):
    old, new, message = DEFECTS[name]
    assert old in CONVERGED
    (tmp_path / "x.abo").write_text(CONVERGED.replace(old, new))
    with pytest.raises(InputError, match=message):
        abinit.read(tmp_path / "x.abo")
