"""Picking snapshots: a descriptor that knows what symmetry leaves alone, and picks that are uncertain and apart."""

import numpy as np
import pytest
from ase.build import bulk
from insilico_nmr.errors import InputError
from insilico_nmr.selection import choose, descriptor, uncertainty
from scipy.spatial.transform import Rotation


def salt(seed=0, size=(2, 2, 2)):
    """Rock salt with atoms out of place."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(size)
    atoms.positions += np.random.default_rng(seed).normal(scale=0.1, size=atoms.positions.shape)
    return atoms


def test_descriptor_does_not_see_rotation_translation_order_or_supercell():
    atoms = salt()
    reference = descriptor(atoms, ["Cl", "Na"])
    turned = atoms.copy()
    turn = Rotation.random(random_state=1).as_matrix()
    turned.set_cell(atoms.cell @ turn.T)
    turned.positions = atoms.positions @ turn.T + [0.3, 1.0, -2.0]
    shuffled = turned[np.random.default_rng(1).permutation(len(turned))]
    np.testing.assert_allclose(descriptor(shuffled, ["Cl", "Na"]), reference, atol=1e-9)
    np.testing.assert_allclose(descriptor(atoms.repeat((2, 1, 1)), ["Cl", "Na"]), reference, atol=1e-9)
    assert np.abs(descriptor(salt(seed=2), ["Cl", "Na"]) - reference).max() > 1e-3


def test_descriptor_counts_neighbours():
    """Six nearest neighbours in rock salt: the first shell's peak, integrated, over the weight 1/r²."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(2)
    bins = descriptor(atoms, ["Cl", "Na"]).reshape(3, -1)[1]  # Cl–Na
    first = bins[: int((3.4 - 1.0) / 0.2)].sum() * 0.2 / (0.15 * np.sqrt(2 * np.pi))
    assert first == pytest.approx(6 / 2.8**2, rel=0.02)


def test_picks_are_of_the_uncertain_half_and_far_apart():
    # Ten copies of an uncertain place, four of it further away, and a certain place that is furthest of all.
    places = np.array([[0.0]] * 10 + [[3.0], [4.0], [-2.0], [-3.5]] + [[50.0]] * 14)
    uncertainties = np.array([2.0] * 14 + [0.5] * 14)
    picked = choose(places, np.array([[0.1]]), uncertainties, 3)
    assert sorted(float(places[n, 0]) for n in picked) == [-3.5, -2.0, 4.0]


def test_what_is_known_already_is_not_picked_first():
    places = np.array([[0.0], [1.0], [2.0], [10.0]])
    picked = choose(places, np.array([[10.0]]), np.array([1.0, 1.0, 0.1, 1.0]), 1)
    assert places[picked[0], 0] == 0.0


def test_no_more_are_picked_than_half_of_the_candidates():
    assert len(choose(np.arange(4.0)[:, None], np.array([[9.0]]), np.ones(4), 10)) == 2


def test_uncertainty_adds_both_committees_in_units_of_their_errors():
    np.testing.assert_allclose(uncertainty([0.3, 0.0], [0.0, 4e-3], 0.1, 1e-3), [3.0, 4.0])
    assert uncertainty([0.3], [4e-3], 0.1, 1e-3) == pytest.approx(5.0)


def test_nothing_to_choose_from():
    with pytest.raises(InputError, match="no snapshots"):
        choose(np.empty((0, 2)), np.zeros((1, 2)), np.empty(0), 3)
    with pytest.raises(InputError, match="not finite"):
        choose(np.zeros((2, 2)), np.zeros((1, 2)), np.array([1.0, np.nan]), 1)
