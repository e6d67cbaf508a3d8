"""The linear baseline: equivariant, and exact for what it can express."""

import numpy as np
from ase import Atoms
from insilico_nmr.linear_model import RADIAL, LinearModel, features, fit_linear
from scipy.spatial.transform import Rotation


def synthetic_structure(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    return Atoms("Li4S4", positions=rng.uniform(0, 5, (8, 3)), cell=[5, 5.5, 6], pbc=True)


def test_turned_structures_have_turned_tensors():
    coefficients = np.random.default_rng(1).normal(size=2 * RADIAL)
    model, atoms = LinearModel((3, 16), 4.0, coefficients), synthetic_structure(0)
    turn = -Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    turned = Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=True)
    np.testing.assert_allclose(model.predict(turned), turn @ model.predict(atoms) @ turn.T, atol=1e-12)


def test_a_fit_finds_the_coefficients_that_made_the_labels():
    truth = LinearModel((3, 16), 4.0, np.random.default_rng(3).normal(size=2 * RADIAL))
    frames = [synthetic_structure(seed) for seed in range(12)]
    tensors, masks = [truth.predict(atoms) for atoms in frames], [atoms.symbols == "Li" for atoms in frames]
    model = fit_linear(frames[:10], tensors[:10], masks[:10], 4.0)
    for atoms, expected, mask in zip(frames[10:], tensors[10:], masks[10:], strict=True):
        found = model.predict(atoms)[mask]
        assert np.abs(found - expected[mask]).max() < 1e-3 * np.abs(expected[mask]).max()
    assert features(frames[0], (3, 16), 4.0).shape == (8, 5, 2 * RADIAL)
