"""SO3net by matrix products against SchNetPack's own, and its constants against exact relations."""

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
import numpy as np
import pytest
import torch
from ase import Atoms
from insilico_nmr.networks import graph
from insilico_nmr.so3net import FastSO3net, couplings, harmonics

import schnetpack.nn as snn  # isort: skip
from schnetpack.nn.ops.so3 import generate_clebsch_gordan_rsh  # isort: skip
from schnetpack.nn.so3 import RealSphericalHarmonics  # isort: skip
from schnetpack.representation import SO3net  # isort: skip


def synthetic_batch() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(1)
    atoms = Atoms("Li6S6", positions=rng.uniform(0, 6, (12, 3)), cell=[6, 6.5, 7], pbc=True)
    return graph(atoms, 4.0)


@pytest.mark.parametrize("interactions", [1, 3])
def test_numbers_and_gradients_are_schnetpacks(interactions):
    torch.manual_seed(0)
    stock = SO3net(8, interactions, 2, snn.GaussianRBF(n_rbf=6, cutoff=4.0), snn.CosineCutoff(4.0))
    fast = FastSO3net(8, interactions, 6, 4.0)
    fast.load_state_dict(stock.state_dict())
    batch = synthetic_batch()
    expected, found = (network(dict(batch))["multipole_representation"] for network in (stock, fast))
    assert torch.allclose(found, expected, rtol=1e-4, atol=2e-6 * expected.detach().abs().max().item())
    weight = torch.randn_like(expected)
    slopes = [
        torch.autograd.grad((weight * values).sum(), network.so3convs[0].filternet.weight)[0]
        for network, values in ((stock, expected), (fast, found))
    ]
    assert torch.allclose(*slopes, rtol=1e-3, atol=1e-5 * slopes[0].abs().max().item())


def test_harmonics_and_couplings_are_schnetpacks():
    directions = torch.nn.functional.normalize(torch.randn(40, 3, dtype=torch.float64), dim=1)
    assert torch.allclose(harmonics(directions), RealSphericalHarmonics(2, "float64")(directions), atol=1e-6)
    assert torch.allclose(couplings(), generate_clebsch_gordan_rsh(2), atol=1e-6)


def test_couplings_are_orthonormal_in_double_precision():
    # Coupling l_a and l_b to one l_c is an isometry: sum over a, b of C C' is the identity, block by block.
    coefficients = couplings()
    blocks = [slice(0, 1), slice(1, 4), slice(4, 9)]
    for a in blocks:
        for b in blocks:
            for c in blocks:
                block = coefficients[a, b, c].reshape(-1, c.stop - c.start)
                gram = block.T @ block
                if gram.abs().max() > 0:
                    assert torch.allclose(gram, gram[0, 0] * torch.eye(len(gram), dtype=torch.float64), atol=1e-14)
