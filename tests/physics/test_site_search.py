"""Sites found by the density of ions, on synthetic positions about known places; crystals written and read again."""

from itertools import permutations, product

import numpy as np
import pytest
from insilico_nmr.crystal import make_crystal, read_crystal, write_crystal
from insilico_nmr.errors import InputError
from insilico_nmr.site_search import with_found_sites

EDGE = 7.0
GENERAL, SPECIAL = np.array([0.21, 0.33, 0.02]), np.array([0.5, 0.5, 0.5])


@pytest.fixture(scope="module")
def crystal():
    """Point group 432, Li at the origin, F on the axes."""
    signed = [np.diag(s) @ np.eye(3)[list(p)] for p in permutations(range(3)) for s in product((1, -1), repeat=3)]
    group = np.array([matrix for matrix in signed if np.linalg.det(matrix) > 0])
    atoms = [("Li1", "Li", 1.0, np.zeros(3)), ("F1", "F", 1.0, np.array([0.5, 0.0, 0.0]))]
    return make_crystal(EDGE * np.eye(3), group, np.zeros((24, 3)), atoms)


def positions(crystal, shares: dict, count: int = 40_000) -> np.ndarray:
    """Ions about symmetric images of places, with a standard deviation of 0.25 Å, each place a share of the time."""
    rng = np.random.default_rng(2)
    parts = []
    for place, share in shares.items():
        turn = crystal.rotations[rng.integers(24, size=round(share * count))]
        parts.append(turn @ np.array(place) + rng.normal(scale=0.25 / EDGE, size=(len(turn), 3)))
    return np.concatenate(parts) + rng.integers(-2, 3, size=(count, 3))


def test_sites_between_known_ones_are_found_with_their_occupancy_and_symmetry(crystal):
    shares = {(0, 0, 0): 0.74, tuple(GENERAL): 0.24, tuple(SPECIAL): 0.02}
    found = with_found_sites(crystal, "Li", positions(crystal, shares), 1.0, 0.003)
    known, general, special = sorted(found.mobile_orbits("Li"), key=lambda orbit: orbit.label)
    if len(general.positions) == 1:
        general, special = special, general
    assert (len(known.positions), len(general.positions), len(special.positions)) == (1, 24, 1)
    away = general.positions - GENERAL
    assert np.linalg.norm((away - np.round(away)) * EDGE, axis=1).min() < 0.05
    np.testing.assert_allclose(special.positions[0], SPECIAL, atol=1e-9)
    # One ion a cell: its time is shared, 95.7 % of a place within 0.8 Å of it.
    assert general.occupancy * 24 == pytest.approx(0.24, rel=0.08)
    assert special.occupancy == pytest.approx(0.02, rel=0.2)
    assert sum(orbit.occupancy * len(orbit.positions) for orbit in (known, general, special)) == pytest.approx(1)


def test_a_site_is_occupied_as_its_images_are_in_the_mean(crystal):
    """Ions of the run were on one of 24 images more than on the others."""
    rng = np.random.default_rng(4)
    images = crystal.rotations @ GENERAL
    places = images[np.concatenate([np.zeros(3000, int), rng.integers(24, size=7000)])]
    ions = np.concatenate([places, np.zeros((30_000, 3))]) + rng.normal(scale=0.25 / EDGE, size=(40_000, 3))
    found = with_found_sites(crystal, "Li", ions, 1.0, 0.003)
    _, general = sorted(found.mobile_orbits("Li"), key=lambda orbit: len(orbit.positions))
    assert general.occupancy * 24 == pytest.approx(0.25, rel=0.08)


def test_what_is_rare_or_near_a_known_site_is_none(crystal):
    near = positions(crystal, {(0, 0, 0): 0.9, (0.1, 0, 0): 0.1})
    with pytest.raises(InputError, match="no density of Li at 1 Å"):
        with_found_sites(crystal, "Li", near, 1.0, 0.003)
    rare = positions(crystal, {(0, 0, 0): 0.999, tuple(SPECIAL): 0.001})
    with pytest.raises(InputError, match="run hotter or longer"):
        with_found_sites(crystal, "Li", rare, 1.0, 0.003)


def test_a_written_crystal_is_read_again(crystal, tmp_path):
    shares = {(0, 0, 0): 0.7, tuple(GENERAL): 0.3}
    found = with_found_sites(crystal, "Li", positions(crystal, shares), 1.0, 0.003)
    write_crystal(tmp_path / "found.cif", found, "synthetic")
    again = read_crystal(tmp_path / "found.cif")
    np.testing.assert_allclose(again.cell, found.cell, atol=1e-4)
    assert sorted(map(bytes, again.rotations)) == sorted(map(bytes, found.rotations))
    for one, other in zip(found.orbits, again.orbits, strict=True):
        assert (one.label, one.element, one.wyckoff) == (other.label, other.element, other.wyckoff)
        np.testing.assert_allclose(one.positions[0], other.positions[0], atol=1e-4)
        assert one.occupancy == pytest.approx(other.occupancy, abs=1e-4)
    for path in ("resources/structures/li3ps4_beta.cif", "resources/structures/li3n_alpha.cif"):
        crystal = read_crystal(path)
        write_crystal(tmp_path / "copy.cif", crystal, "copy")
        copy = read_crystal(tmp_path / "copy.cif")
        assert {orbit.wyckoff for orbit in copy.orbits} == {orbit.wyckoff for orbit in crystal.orbits}
        np.testing.assert_allclose(copy.translations, crystal.translations, atol=1e-6)
