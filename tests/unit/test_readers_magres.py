"""The .magres reader on files of CASTEP and QE-GIPAW: order of indices, signs, units, rounding, what is refused."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from insilico_nmr.dataset import efg, ms
from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.readers.magres import read
from insilico_nmr.tensors import asymmetry, efg_principal

DATA = Path(__file__).parents[1] / "data"
SYNTHETIC = DATA / "synthetic_castep.magres"
ETHANOL = DATA / "readers" / "castep_ethanol.magres"
NACLO3 = DATA / "readers" / "castep_naclo3.magres"
WATER = DATA / "readers" / "qe_h2o.nmr.magres"
QUARTZ = DATA / "readers" / "qe_quartz.efg.magres"


def axial_vectors(sigma):
    """(σ_yz − σ_zy, σ_zx − σ_xz, σ_xy − σ_yx)/2 of shieldings (n, 3, 3), first index the induced field."""
    return 0.5 * np.stack(
        [sigma[:, 1, 2] - sigma[:, 2, 1], sigma[:, 2, 0] - sigma[:, 0, 2], sigma[:, 0, 1] - sigma[:, 1, 0]], axis=1
    )


def test_magres_is_read_in_the_conventions_of_the_study():
    atoms = read(SYNTHETIC)
    assert str(atoms.symbols) == "Li2S"
    np.testing.assert_array_equal(atoms.cell.array, [[4, 0, 0], [1, 5, 0], [0, 0, 6]])
    assert atoms.pbc.all()
    # The record reads 91 1.2 1.3 2.1 92 2.3 3.1 3.2 93: first index (induced field) fastest.
    np.testing.assert_array_equal(ms(atoms)[0], [[91, 2.1, 3.1], [1.2, 92, 3.2], [1.3, 2.3, 93]])
    np.testing.assert_allclose(efg(atoms)[1], np.diag([-0.008, -0.012, 0.02]), rtol=1e-15)
    assert atoms.info == {
        "source": "CASTEP 24.1",
        "level_of_theory": "CASTEP 24.1, PBE, cut-off 489.805 eV, "
        "pseudopotentials Li 1|1.2|10|11|13|10U:20(qc=6), k points 2×2×3",
    }


@pytest.mark.parametrize("path", [SYNTHETIC, ETHANOL])
def test_magres_against_the_reader_of_ase(path):
    """ASE returns the nine numbers row by row: the transpose of ours for shieldings, the same for gradients."""
    ours, theirs = read(path), ase.io.read(path, format="magres")
    np.testing.assert_allclose(ours.positions, theirs.positions)
    np.testing.assert_allclose(ms(ours), theirs.arrays["ms"].transpose(0, 2, 1))
    np.testing.assert_allclose(efg(ours), theirs.arrays["efg"], atol=1e-15)
    assert np.abs(ms(ours) - theirs.arrays["ms"]).max() > 1


# GIAO-RHF/def2-TZVP (PySCF 2.14, coupled) at the geometry of the CASTEP file. PySCF puts the external field first
# (its e11 is contracted as "xji,yij->xy", x the field); its tensor was transposed here. A second calculation of ours,
# common gauge at the nucleus, PBE sum over states, which writes the nuclear moment first by construction, agrees in
# direction: O (5.6, −2.9, −12.8), C1 (−3.1, −3.1, 3.6).
GIAO_ETHANOL = {6: (-2.25, -2.66, 3.03), 7: (-0.34, -1.37, 1.51), 8: (7.10, -2.19, -12.13)}  # C1, C2, O


def test_the_first_index_of_a_shielding_of_castep_is_the_induced_field():
    """Two independent calculations tell which index of CASTEP's nine numbers is the induced field."""
    found = axial_vectors(ms(read(ETHANOL)))[list(GIAO_ETHANOL)]
    calculated = np.array(list(GIAO_ETHANOL.values()))
    cosines = (found * calculated).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(calculated, axis=1)
    assert (cosines > 0.9).all(), cosines  # −1 where the indices are swapped


def test_the_first_index_of_a_shielding_of_qe_gipaw_is_the_induced_field():
    """H2O in the xy plane. GIAO-RHF/def2-TZVP (PySCF 2.14, transposed to the induced field first) at this geometry:
    σ_xy, σ_yx = −6.655, −5.124 ppm on the first H, 9.665, 8.134 on the second; no other antisymmetric element."""
    atoms = read(WATER)
    found, calculated = axial_vectors(ms(atoms))[1:, 2], 0.5 * np.array([-6.655 + 5.124, 9.665 - 8.134])
    np.testing.assert_array_equal(np.sign(found), np.sign(calculated))
    assert np.abs(found).min() > 1  # far above the four decimals printed and the 0.001 between the two H
    isotropic = np.trace(ms(atoms), axis1=1, axis2=2) / 3
    np.testing.assert_allclose(isotropic, [318.59, 30.19, 30.19], rtol=0.005)  # the same calculation


def test_the_gradient_at_hydrogen_is_positive_along_its_bond():
    """The proton's and deuteron's coupling is positive (the bare neighbour nucleus wins), its axis the bond."""
    atoms = read(ETHANOL)
    values, axes = efg_principal(efg(atoms)[:6])
    bonds = np.array([atoms.get_distances(i, [6, 7, 8], mic=True, vector=True) for i in range(6)])
    bonds = np.array([vectors[np.argmin(np.linalg.norm(vectors, axis=1))] for vectors in bonds])
    cosines = np.abs((axes[:, :, 2] * bonds).sum(1)) / np.linalg.norm(bonds, axis=1)
    assert (values[:, 2] > 0.2).all(), values
    assert (cosines > np.cos(np.radians(3))).all(), cosines


def test_gradients_are_in_atomic_units_and_their_total():
    """Cl of NaClO3 lies on a threefold axis; its quadrupole resonance is at 29.93 MHz (C_Q/2) at room temperature."""
    atoms = read(NACLO3)
    values, axes = efg_principal(efg(atoms)[3:])
    assert asymmetry(values)[0] < 1e-4
    assert abs(axes[0, :, 2].sum()) == pytest.approx(np.sqrt(3))
    coupling_MHz = abs(quadrupolar_nucleus("35Cl").coupling_per_au * values[0, 2]) / 1e6
    assert coupling_MHz == pytest.approx(2 * 29.93, rel=0.04)  # efg_local alone: 7 % low
    assert np.isnan(efg(atoms)[1]).all()  # no record
    assert atoms.info["level_of_theory"] == "CASTEP 7.0, PBE, cut-off 680.285 eV, k points 1×1×1"


def test_the_rounding_of_four_decimals_is_removed():
    atoms = read(QUARTZ)
    np.testing.assert_allclose(np.trace(efg(atoms), axis1=1, axis2=2), 0, atol=1e-15)
    assert abs(efg(atoms)[0, 0, 0] + 0.0268) < 1e-4


@pytest.mark.parametrize("spelling", ["Angstrom", "Angstroms", "angstrom"])
def test_spellings_of_units(spelling, tmp_path):
    """QE-GIPAW wrote "Angstroms" until 2013."""
    (tmp_path / "x.magres").write_text(WATER.read_text().replace("Angstrom", spelling))
    assert read(tmp_path / "x.magres") == read(WATER)


def test_asymmetric_shieldings_of_other_codes_are_refused(tmp_path):
    path = tmp_path / "x.magres"
    text = ETHANOL.read_text()
    path.write_text(text.replace("calc_code CASTEP", "calc_code VASP"))
    with pytest.raises(InputError, match=r"asymmetric shieldings of VASP, whose order of indices is not proved"):
        read(path)
    lines = [line for line in text.splitlines() if not line.startswith("ms ")]
    path.write_text("\n".join(lines).replace("calc_code CASTEP", "calc_code VASP"))
    assert np.isfinite(efg(read(path))).all()


def test_mixed_units_in_one_file_are_refused(tmp_path):
    text = ETHANOL.read_text()
    (tmp_path / "x.magres").write_text(text.replace("units efg au\n", "units efg au\nunits efg V/m^2\n"))
    with pytest.raises(InputError, match=r"unknown units 'V/m\^2' for efg"):
        read(tmp_path / "x.magres")


def test_a_magres_cut_anywhere_is_refused(tmp_path):
    text = SYNTHETIC.read_text()
    end = text.index("[/magres]")
    for cut in (end + 5, end - 200, text.index("[/atoms]") + 8, text.index("lattice   ") + 20, 10):
        (tmp_path / "cut.magres").write_text(text[:cut])
        with pytest.raises(InputError, match=r"cut\.magres"):
            read(tmp_path / "cut.magres")


def test_an_atom_without_record_has_nan_and_glued_indices_are_parted(tmp_path):
    lines = [line for line in SYNTHETIC.read_text().splitlines() if not line.startswith("ms Li    2")]
    text = "\n".join(lines).replace("atom Li:ion  Li   2", "atom Li:ion  Li 102").replace("efg Li    2", "efg Li102")
    (tmp_path / "part.magres").write_text(text)
    atoms = read(tmp_path / "part.magres")
    assert np.isnan(ms(atoms)[1]).all()
    assert np.isfinite(ms(atoms)[[0, 2]]).all()
    assert efg(atoms)[1, 2, 2] == pytest.approx(0.02)


def test_records_in_another_order_than_the_atoms_find_their_atoms(tmp_path):
    """Label and index name the atom of a record, so its place in the file does not matter."""
    lines = ETHANOL.read_text().splitlines()
    begin, end = lines.index("[magres]") + 1, lines.index("[/magres]")
    records = [line for line in lines[begin:end] if not line.startswith("units")]
    units = [line for line in lines[begin:end] if line.startswith("units")]
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
    (tmp_path / "x.magres").write_text("\n".join(lines[:begin] + units + shuffled + lines[end:]))
    assert read(tmp_path / "x.magres") == read(ETHANOL)
