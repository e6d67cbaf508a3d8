"""SO3net, evaluated by `convolution.convolve`, with neighbours that may act as multipoles.

SchNetPack 2.1.1 couples spherical harmonics and features one Clebsch-Gordan coefficient at a time, which moves each
feature of each neighbour through memory once per coefficient (83 of them at l ≤ 2). In the first interaction features
are scalars and need few. Harmonics and coefficients are exact in double precision, so that equivariance is too.

Features end at l = 2, the rank of the tensors. Harmonics of neighbour vectors end there too in SchNetPack, and with
`harmonics` = 2 parameters and numbers are the same as its. But the field gradient of a neighbour's multipole of order l
goes with harmonics of degree l + 2: of its charge with 2, of the dipole that its surroundings induce with 3, of its
quadrupole with 4. A network that ends at 2 has to make up for those from triples of atoms; `harmonics` = 4 has them.

SO3net: K. T. Schütt, S. S. P. Hessmann, N. W. A. Gebauer, J. Lederer, M. Gastegger, J. Chem. Phys. 158, 144801 (2023).
"""

from math import factorial

import numpy as np
import torch

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.convolution import Coupling, convolve

import schnetpack.nn as snn  # isort: skip
import schnetpack.properties as properties  # isort: skip
from schnetpack.nn.ops.so3 import generate_clebsch_gordan_rsh, sh_indices  # isort: skip
from schnetpack.representation import SO3net  # isort: skip

LMAX = 2  # of features
N_FEATURES = (LMAX + 1) ** 2


def degrees(lmax: int) -> torch.Tensor:
    """Degree l of each harmonic up to `lmax`, shape ((lmax + 1)²,)."""
    return sh_indices(lmax)[0]


def harmonics(directions: torch.Tensor, lmax: int = LMAX) -> torch.Tensor:
    """Orthonormal real spherical harmonics up to `lmax` of unit vectors (n, 3), shape (n, (lmax + 1)²).

    SchNetPack's order, m = −l … l for each l, so 1; y, z, x; xy, yz, z², xz, x²−y²; … without the Condon-Shortley sign.
    By the recursion of associated Legendre functions P_l^m(z)/sin^m, which is regular at the poles.
    """
    x, y, z = directions.unbind(-1)
    cosine, sine = [torch.ones_like(x)], [torch.zeros_like(x)]  # of m times the azimuth, times sin^m
    for _ in range(lmax):
        cosine.append(x * cosine[-1] - y * sine[-1])
        sine.append(x * sine[-1] + y * cosine[-2])
    legendre: dict[tuple[int, int], torch.Tensor] = {}
    for m in range(lmax + 1):
        legendre[m - 1, m] = torch.zeros_like(z)
        legendre[m, m] = torch.full_like(z, float(np.prod(np.arange(1, 2 * m, 2))))
        for n in range(m + 1, lmax + 1):
            legendre[n, m] = ((2 * n - 1) * z * legendre[n - 1, m] - (n + m - 1) * legendre[n - 2, m]) / (n - m)
    columns = []
    for n in range(lmax + 1):
        for m in range(-n, n + 1):
            ratio = factorial(n - abs(m)) / factorial(n + abs(m))
            norm = np.sqrt((1 if m == 0 else 2) * (2 * n + 1) / (4 * np.pi) * ratio)
            columns.append(norm * legendre[n, abs(m)] * (cosine[m] if m >= 0 else sine[-m]))
    return torch.stack(columns, dim=-1)


def couplings(lmax: int = LMAX) -> torch.Tensor:
    """Clebsch-Gordan coefficients C[a, b, c] of harmonics a up to `lmax` ≥ 2 and features b to features c.

    Only those that keep parity; shape ((lmax + 1)², 9, 9), float64. Those of SchNetPack, known to it in single
    precision, set the size of each block (l_a, l_b, l_c); its entries are the integrals of three harmonics over the
    sphere, to which the block is proportional, by a quadrature that is exact.
    """
    degree = lmax + 2 * LMAX  # of the product
    cosine, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angle = np.arange(degree + 1) * 2 * np.pi / (degree + 1)
    sine = np.sqrt(1 - cosine**2)[:, None]
    points = np.stack(np.broadcast_arrays(sine * np.cos(angle), sine * np.sin(angle), cosine[:, None]), axis=-1)
    values = harmonics(torch.tensor(points.reshape(-1, 3)), lmax)
    weights = torch.tensor(np.repeat(weight, len(angle)))
    integrals = torch.einsum("q,qa,qb,qc->abc", weights, values, values[:, :N_FEATURES], values[:, :N_FEATURES])
    exact = torch.zeros_like(integrals)
    known = generate_clebsch_gordan_rsh(lmax)[:, :N_FEATURES, :N_FEATURES]
    of_harmonic, of_feature = degrees(lmax), degrees(LMAX)
    for l_a, l_b, l_c in np.ndindex(lmax + 1, LMAX + 1, LMAX + 1):
        inside = torch.einsum("a,b,c->abc", of_harmonic == l_a, of_feature == l_b, of_feature == l_c)
        if known[inside].abs().max() > 0.01:
            exact[inside] = integrals[inside] * (known[inside] @ integrals[inside]) / integrals[inside].square().sum()
    # What is zero by symmetry is a rounding error of the quadrature; the smallest coefficients are near 0.1.
    return torch.where(exact.abs() < 1e-9, 0.0, exact)


class FastSO3net(SO3net):
    """SO3net with features of l ≤ 2, embeddings by species, and `harmonics` of neighbour vectors up to a degree ≥ 2.

    With 2 its file of parameters is SchNetPack's.
    """

    def __init__(self, n_atom_basis: int, n_interactions: int, n_radial: int, cutoff: float, harmonics: int = LMAX):
        super().__init__(
            n_atom_basis,
            n_interactions,
            LMAX,
            radial_basis=snn.GaussianRBF(n_rbf=n_radial, cutoff=cutoff),
            cutoff_fn=snn.CosineCutoff(cutoff),
        )
        self.harmonics = harmonics
        for convolution in self.so3convs[1:]:  # in the first, features are scalars
            convolution.filternet = snn.Dense(n_radial, (harmonics + 1) * n_atom_basis, activation=None)
        # Not buffers: a network made double stays exact.
        coefficients = couplings()
        self._of_scalars = Coupling.of(coefficients[:, :1], degrees(LMAX))
        self._of_neighbours = Coupling.of(couplings(harmonics), degrees(harmonics))
        self._of_products = coefficients.permute(2, 0, 1).reshape(N_FEATURES, -1)

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Adds `scalar_representation` (n, F) and `multipole_representation` (n, 9, F) to SchNetPack's inputs."""
        first, second, vectors = inputs[properties.idx_i], inputs[properties.idx_j], inputs[properties.Rij]
        distance = torch.linalg.norm(vectors, dim=1, keepdim=True)
        angular, radial = harmonics(vectors / distance, self.harmonics), self.radial_basis(distance.squeeze(1))
        fade = self.cutoff_fn(distance)
        faded = torch.cat([radial * fade, fade], dim=1)  # a filter is linear in these
        of_scalars = self._of_scalars.strengths(angular[:, :N_FEATURES])
        of_neighbours, of_products = self._of_neighbours.strengths(angular), self._of_products.to(vectors)

        x = self.embedding(inputs[properties.Z])[:, None]
        for number, (convolution, mix, mix_product, gate, mix_gated) in enumerate(
            zip(self.so3convs, self.mixings1, self.mixings2, self.gatings, self.mixings3, strict=True)
        ):
            weights = torch.cat([convolution.filternet.weight, convolution.filternet.bias[:, None]], dim=1)
            filters = (faded @ weights.T).unflatten(1, (-1, self.n_atom_basis))
            if number == 0:
                change = convolve(x, first, second, of_scalars, filters, self._of_scalars)
                x = torch.nn.functional.pad(x, (0, 0, 0, N_FEATURES - 1))
            else:
                change = convolve(x, first, second, of_neighbours, filters, self._of_neighbours)
            products = (change[:, :, None] * mix(change)[:, None]).flatten(1, 2)
            x = x + mix_gated(gate(mix_product(change + of_products @ products)))
        return {**inputs, "scalar_representation": x[:, 0], "multipole_representation": x}
