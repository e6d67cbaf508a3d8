"""Random packing of host units and ions, the start of every melt."""

from pathlib import Path

import numpy as np
import pytest
from insilico_nmr.crystal import read_crystal, starting_structure
from insilico_nmr.errors import InputError
from insilico_nmr.md_checks import HostUnit, ligand_numbers
from melt_quench import GRAM_PER_CM3, host_units, packed

CRYSTAL = Path(__file__).parents[2] / "resources" / "structures" / "li3ps4_beta.cif"
UNIT = HostUnit("P", "S", 4, 2.8)


@pytest.fixture(scope="module")
def atoms():
    return starting_structure(read_crystal(CRYSTAL), "Li", (1, 1, 1), 1, 2.0)


def test_units_stay_whole_and_everything_else_keeps_apart(atoms):
    side_A = (atoms.get_masses().sum() * GRAM_PER_CM3 / 1.85) ** (1 / 3)
    found = packed(atoms, UNIT, side_A, seed=5)
    assert found.get_masses().sum() * GRAM_PER_CM3 / found.get_volume() == pytest.approx(1.85)
    assert (ligand_numbers(found, UNIT)[1] == 4).all()
    units = host_units(atoms, UNIT)
    before, after = (cell.get_all_distances(mic=True) for cell in (atoms, found))
    inside = np.zeros_like(after, dtype=bool)
    for unit in units:
        # Turned and moved as a whole: distances within are those of the crystal, to the last digit.
        np.testing.assert_allclose(after[np.ix_(unit, unit)], before[np.ix_(unit, unit)], atol=1e-9)
        inside[np.ix_(unit, unit)] = True
    host = np.zeros(len(atoms), dtype=bool)
    host[np.concatenate(units)] = True
    between = ~inside & ~np.eye(len(atoms), dtype=bool)
    assert after[between & host & host[:, None]].min() > 3.0
    assert after[between].min() > 2.0


def test_seeds_give_other_packings_and_the_same_again(atoms):
    first, again, other = (packed(atoms, UNIT, 10.5, seed).positions for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_a_density_that_leaves_no_room_and_a_broken_start(atoms, monkeypatch):
    monkeypatch.setattr("melt_quench.TRIALS", 30)
    monkeypatch.setattr("melt_quench.ATTEMPTS", 3)
    with pytest.raises(InputError, match=r"no room in a cube of 6\.00"):
        packed(atoms, UNIT, 6.0, seed=1)
    with pytest.raises(InputError, match="P without 5 S"):
        packed(atoms, HostUnit("P", "S", 5, 2.8), 10.5, seed=1)
