"""The input of a network: neighbours as ASE finds them, in cells of any shape."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from insilico_nmr.networks import graph


@pytest.mark.parametrize("pbc", [True, [True, False, True]])
@pytest.mark.parametrize("repeat", [1, 3])
def test_neighbours_are_those_that_ase_finds(pbc, repeat):
    # A skew cell smaller than the cut-off, with atoms that have left it.
    rng = np.random.default_rng(2)
    atoms = Atoms("Li3N", rng.uniform(-9, 9, (4, 3)), cell=[[3.1, 0, 0], [1.4, 3.4, 0], [-0.8, 1.1, 3.9]], pbc=pbc)
    atoms = atoms.repeat(repeat)
    batch = graph(atoms, 4.0, torch.float64)
    first, second, vectors = (batch[name].numpy() for name in ("_idx_i", "_idx_j", "_Rij"))
    assert (np.diff(first) >= 0).all()
    expected = neighbor_list("ijD", atoms, 4.0)
    assert len(first) == len(expected[0]) > 0
    rows = [np.column_stack([i, j, d.round(6) + 0.0]) for i, j, d in ((first, second, vectors), expected)]
    np.testing.assert_allclose(*(table[np.lexsort(table.T[::-1])] for table in rows), atol=1e-6)
