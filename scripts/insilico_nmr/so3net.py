"""SchNetPack's SO3net by matrix products: the same parameters and the same numbers, several times faster.

SchNetPack 2.1.1 couples spherical harmonics and features one Clebsch-Gordan coefficient at a time, which moves each
feature of each neighbour through memory once per coefficient (83 of them at l ≤ 2). Here the harmonics of a neighbour
vector, which no feature enters, are contracted with the coefficients first; what remains is one small matrix product a
neighbour. In the first interaction features are scalars and need none. Harmonics and coefficients are exact in double
precision, so that equivariance is too. `scripts/benchmark_tensors.py` prints the ratio of speeds.

SO3net: K. T. Schütt, S. S. P. Hessmann, N. W. A. Gebauer, J. Lederer, M. Gastegger, J. Chem. Phys. 158, 144801 (2023).
"""

import numpy as np
import torch

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)

import schnetpack.nn as snn  # isort: skip
import schnetpack.properties as properties  # isort: skip
from schnetpack.nn.ops.so3 import generate_clebsch_gordan_rsh, sh_indices  # isort: skip
from schnetpack.representation import SO3net  # isort: skip

LMAX = 2
N_HARMONICS = (LMAX + 1) ** 2
DEGREE = sh_indices(LMAX)[0]  # l of each harmonic
PAIRS_AT_ONCE = 4096  # of neighbours: more would leave the processor's cache, and fill the memory in large cells


def harmonics(directions: torch.Tensor) -> torch.Tensor:
    """Orthonormal real spherical harmonics up to l = 2 of unit vectors (n, 3), shape (n, 9), in SchNetPack's order.

    Order: 1; y, z, x; xy, yz, z², xz, x²−y².
    """
    x, y, z = directions.unbind(-1)
    two = np.sqrt(15.0)
    columns = [
        torch.ones_like(x),
        *(np.sqrt(3.0) * axis for axis in (y, z, x)),
        two * x * y,
        two * y * z,
        np.sqrt(5.0) * (z * z - 0.5 * (x * x + y * y)),
        two * x * z,
        0.5 * two * (x * x - y * y),
    ]
    return torch.stack(columns, dim=-1) / np.sqrt(4 * np.pi)


def couplings() -> torch.Tensor:
    """Clebsch-Gordan coefficients C[a, b, c] of two features a, b to c, that keep parity, shape (9, 9, 9), float64.

    Those of SchNetPack, known to it in single precision, set the size of each block (l_a, l_b, l_c); its entries are
    the integrals of three harmonics over the sphere, to which the block is proportional, by a quadrature that is exact.
    """
    cosine, weight = np.polynomial.legendre.leggauss(2 * LMAX)
    angle = np.arange(4 * LMAX) * np.pi / (2 * LMAX)
    sine = np.sqrt(1 - cosine**2)[:, None]
    points = np.stack(np.broadcast_arrays(sine * np.cos(angle), sine * np.sin(angle), cosine[:, None]), axis=-1)
    values = harmonics(torch.tensor(points.reshape(-1, 3)))
    weights = torch.tensor(np.repeat(weight, len(angle)))
    integrals = torch.einsum("q,qa,qb,qc->abc", weights, values, values, values)
    exact = torch.zeros_like(integrals)
    known = generate_clebsch_gordan_rsh(LMAX)
    for block in np.ndindex(*(LMAX + 1,) * 3):
        inside = torch.einsum("a,b,c->abc", *(value == DEGREE for value in block))
        if known[inside].abs().max() > 0.01:
            exact[inside] = integrals[inside] * (known[inside] @ integrals[inside]) / integrals[inside].square().sum()
    return exact


class FastSO3net(SO3net):
    """SO3net with l ≤ 2 and embeddings by species; its file of parameters is SchNetPack's."""

    def __init__(self, n_atom_basis: int, n_interactions: int, n_radial: int, cutoff: float):
        super().__init__(
            n_atom_basis,
            n_interactions,
            LMAX,
            radial_basis=snn.GaussianRBF(n_rbf=n_radial, cutoff=cutoff),
            cutoff_fn=snn.CosineCutoff(cutoff),
        )
        coefficients = couplings()
        filters = torch.stack([coefficients * (value == DEGREE)[:, None, None] for value in range(LMAX + 1)])
        # Harmonic a to (c, l_a, b), and features (a, b) to c. Not buffers: a network made double stays exact.
        self._of_harmonics = filters.permute(1, 3, 0, 2).reshape(N_HARMONICS, -1)
        self._of_features = coefficients.permute(2, 0, 1).reshape(N_HARMONICS, -1)

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Adds `scalar_representation` (n, F) and `multipole_representation` (n, 9, F) to SchNetPack's inputs."""
        first, second, vectors = inputs[properties.idx_i], inputs[properties.idx_j], inputs[properties.Rij]
        species = self.embedding(inputs[properties.Z])
        distance = torch.linalg.norm(vectors, dim=1, keepdim=True)
        angular, radial = harmonics(vectors / distance), self.radial_basis(distance.squeeze(1))
        fade = self.cutoff_fn(distance)
        of_harmonics, of_features = self._of_harmonics.to(vectors), self._of_features.to(vectors)
        parts = [slice(start, start + PAIRS_AT_ONCE) for start in range(0, len(first), PAIRS_AT_ONCE)]

        x = torch.cat([species[:, None], species.new_zeros(len(species), N_HARMONICS - 1, self.n_atom_basis)], dim=1)
        for number, (convolution, mix, mix_product, gate, mix_gated) in enumerate(
            zip(self.so3convs, self.mixings1, self.mixings2, self.gatings, self.mixings3, strict=True)
        ):
            change = torch.zeros_like(x)
            for part in parts:
                filters = (convolution.filternet(radial[part]) * fade[part]).unflatten(1, (LMAX + 1, -1))
                if number == 0:  # features are scalars still
                    message = angular[part, :, None] * (filters * species[second[part]][:, None])[:, DEGREE]
                else:
                    neighbours = (angular[part] @ of_harmonics).unflatten(1, (N_HARMONICS, -1))
                    message = neighbours @ (filters[:, :, None] * x[second[part]][:, None]).flatten(1, 2)
                change = change.index_add(0, first[part], message)
            products = (change[:, :, None] * mix(change)[:, None]).flatten(1, 2)
            x = x + mix_gated(gate(mix_product(change + of_features @ products)))
        return {**inputs, "scalar_representation": x[:, 0], "multipole_representation": x}
