"""The compiled sum over neighbours against plain array operations, and in an order that it cannot take."""

import numpy as np
import pytest
import torch
from insilico_nmr.convolution import Coupling, convolve, convolve_arrays
from insilico_nmr.so3net import couplings, degrees, harmonics


def synthetic_pairs(lmax: int, inputs: int, outputs: slice, seed: int = 0):
    """Thirty pairs of six atoms, one without neighbours, with five channels, all numbers random."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.sort(torch.tensor([0, 1, 2, 4, 5])[torch.randint(5, (30,), generator=generator)]).values
    second = torch.randint(6, (30,), generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(30, 3, generator=generator, dtype=torch.float64), dim=1)
    coupling = Coupling.of(couplings(lmax)[:, :inputs, outputs], degrees(lmax))
    features, filters = (
        torch.randn(*shape, 5, generator=generator, dtype=torch.float64) for shape in ((6, inputs), (30, lmax + 1))
    )
    return features, first, second, coupling.strengths(harmonics(directions, lmax)), filters, coupling


SHAPES = [(2, 9, slice(9)), (2, 1, slice(9)), (4, 9, slice(9)), (4, 9, slice(4, 9))]


@pytest.mark.parametrize(("lmax", "inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_sum_and_derivatives_are_those_of_array_operations(lmax, inputs, outputs, threads):
    features, first, second, strengths, filters, coupling = synthetic_pairs(lmax, inputs, outputs)
    leaves = [tensor.requires_grad_(True) for tensor in (features, strengths, filters)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = [
            function(features, first, second, strengths, filters, coupling) for function in (convolve, convolve_arrays)
        ]
        slopes = [torch.autograd.grad(values.sin().sum(), leaves) for values in found]
    finally:
        torch.set_num_threads(before)
    assert found[0].abs().max() > 0.1
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    for own, expected in zip(*slopes, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)


def test_an_atom_without_neighbours_gets_nothing():
    values = convolve(*synthetic_pairs(4, 9, slice(9)))
    assert values[3].abs().max() == 0
    assert (values[[0, 1, 2, 4, 5]].abs().amax(dim=(1, 2)) > 0).all()


def test_a_sum_over_no_pairs_is_zero():
    features, first, second, strengths, filters, coupling = synthetic_pairs(2, 9, slice(9))
    values = convolve(features, first[:0], second[:0], strengths[:0], filters[:0], coupling)
    assert values.shape == features.shape
    assert values.abs().max() == 0


def test_pairs_in_another_order_are_refused():
    features, first, second, strengths, filters, coupling = synthetic_pairs(2, 9, slice(9))
    with pytest.raises(ValueError, match="order of their first atoms"):
        convolve(features, first.flip(0), second, strengths, filters, coupling)


def test_terms_are_those_that_parity_triangle_and_azimuth_allow():
    # l_a + l_b + l_c even, |l_b − l_c| ≤ l_a ≤ l_b + l_c, a harmonic of |m_b ± m_c| ≤ l_a that is a cosine (m ≥ 0) or a
    # sine (m < 0) of the azimuth as the product of the other two is.
    terms = set()
    for l_a, l_b, l_c in np.ndindex(5, 3, 3):
        if (l_a + l_b + l_c) % 2 or not abs(l_b - l_c) <= l_a <= l_b + l_c:
            continue
        for m_b, m_c in np.ndindex(2 * l_b + 1, 2 * l_c + 1):
            b, c = m_b - l_b, m_c - l_c
            sine = (b < 0) != (c < 0)
            reached = [m for m in (abs(b) + abs(c), abs(abs(b) - abs(c))) if m <= l_a and not (sine and m == 0)]
            if reached:
                terms.add((l_c * l_c + m_c, l_a * 9 + l_b * l_b + m_b))
    found = Coupling.of(couplings(4), degrees(4)).terms
    assert {tuple(term) for term in found.tolist()} <= terms
    assert len(found) == 134
