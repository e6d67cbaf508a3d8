"""Sum over neighbours of features that are coupled to harmonics: the step that most time goes into, compiled.

out[i, c, f] = Σ_j Σ_ab C[a, b, c] Y_a(r̂_ij) W_l(a),f(r_ij) x[j, b, f]. Channels f do not mix. Array operations have to
write the product of filters and features of every pair to memory, and its derivatives once more; the loops here keep
them in the processor's cache and leave out the coefficients that are zero. `scripts/benchmark_tensors.py` prints the
ratio of speeds. On a GPU the array operations are used.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import torch

PAIRS_AT_ONCE = 4096  # of the array operations: more would fill the memory in large cells
GROUP = 8  # terms of one sum in a loop over channels, so that loading and storing the sum is a small part of it


@dataclass(frozen=True)
class Gather:
    """A sum over terms, row `target` of the outcome += strength · row `source`, in groups of GROUP that share a target.

    `target` (g), `source` (GROUP·g), and `place` (GROUP·g) of each term's strength among those of a pair. A group that
    is not full has terms whose strength, the last of the pair's, is zero.
    """

    target: np.ndarray
    source: np.ndarray
    place: np.ndarray

    @staticmethod
    def of(terms: np.ndarray) -> "Gather":
        """From terms (k, 2) of target and source, whose strengths are in that order."""
        target, source, place = [], [], []
        for row in np.unique(terms[:, 0]):
            mine = np.flatnonzero(terms[:, 0] == row)
            groups = -(-len(mine) // GROUP)
            empty = GROUP * groups - len(mine)
            target += [row] * groups
            source += [*terms[mine, 1], *[0] * empty]
            place += [*mine, *[len(terms)] * empty]
        return Gather(*(np.array(values, np.uint64) for values in (target, source, place)))


@dataclass(frozen=True)
class Coupling:
    """Coefficients C[a, b, c] of harmonics a, which multiply products (l_a, b) of filters and features, b fastest.

    `matrix` (a, k + 1), float64, makes of a pair's harmonics the strengths of its terms, those pairs of c and (l_a, b)
    that couple at all, and a last one of zero; `terms` (k, 2) are c and the number of (l_a, b). `forward` gathers the
    products into c, `backward` the derivatives by c into those by products.
    """

    matrix: torch.Tensor
    terms: np.ndarray
    forward: Gather
    backward: Gather
    outputs: int

    @staticmethod
    def of(coefficients: torch.Tensor, degrees: torch.Tensor) -> "Coupling":
        """From coefficients (a, b, c) and the degree l_a (a) of each harmonic."""
        of_degree = [coefficients * (degrees == n)[:, None, None] for n in range(int(degrees.max()) + 1)]
        dense = torch.cat(of_degree, dim=1).transpose(1, 2)  # a, c, (l, b)
        terms = np.argwhere(dense.any(dim=0).numpy())
        columns = dense[:, terms[:, 0], terms[:, 1]]
        matrix = torch.nn.functional.pad(columns, (0, 1))
        return Coupling(matrix, terms, Gather.of(terms), Gather.of(terms[:, ::-1]), coefficients.shape[2])

    def strengths(self, angular: torch.Tensor) -> torch.Tensor:
        """Of the terms of each pair, (pairs, k + 1), from its harmonics (pairs, a)."""
        return angular @ self.matrix.to(angular)


def convolve(
    features: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    strengths: torch.Tensor,
    filters: torch.Tensor,
    coupling: Coupling,
) -> torch.Tensor:
    """The sum over neighbours `second` of `first`, shape (n, c, F).

    `features` (n, b, F), `strengths` (pairs, k + 1) of the `coupling`, `filters` (pairs, lmax + 1, F). On a CPU pairs
    must be in the order of `first`, as neighbour lists have them; raises ValueError where they are not.
    """
    if features.device.type != "cpu":
        return convolve_arrays(features, first, second, strengths, filters, coupling)
    if bool((first[1:] < first[:-1]).any()):
        raise ValueError("pairs of neighbours are not in the order of their first atoms")
    return _Compiled.apply(features, strengths, filters, first, second, coupling)


def convolve_arrays(
    features: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    strengths: torch.Tensor,
    filters: torch.Tensor,
    coupling: Coupling,
) -> torch.Tensor:
    """The same by array operations, one small matrix product a pair; pairs in any order."""
    products = filters.shape[1] * features.shape[1]
    summed = features.new_zeros(len(features), coupling.outputs, features.shape[2])
    row, column = torch.as_tensor(coupling.terms.T.copy(), device=features.device)
    for start in range(0, len(first), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        neighbours = features.new_zeros(len(first[part]), coupling.outputs, products)
        neighbours[:, row, column] = strengths[part, :-1]
        message = neighbours @ (filters[part, :, None] * features[second[part]][:, None]).flatten(1, 2)
        summed = summed.index_add(0, first[part], message)
    return summed


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(context, features, strengths, filters, first, second, coupling):
        context.save_for_backward(features, strengths, filters, first, second)
        context.coupling = coupling
        arrays = _arrays(features, strengths, filters, second)
        plan = coupling.forward
        starts = np.searchsorted(first.numpy(), np.arange(len(features) + 1))
        summed = np.zeros((len(features), coupling.outputs, features.shape[2]), dtype=arrays[0].dtype)

        def work(begin: int, end: int) -> None:
            _sum(*arrays, starts, plan.target, plan.source, plan.place, begin, end, summed)

        threads = torch.get_num_threads()
        if threads == 1:
            work(0, len(features))
        else:  # each has as many pairs
            bounds = np.searchsorted(starts, np.linspace(0, len(first), threads + 1))
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, [0, *bounds[1:-1]], [*bounds[1:-1], len(features)]))
        return torch.from_numpy(summed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, slope):
        arrays = _arrays(*context.saved_tensors, slope)
        features, strengths, filters = arrays[:3]
        of_features, of_filters = np.zeros_like(features), np.zeros_like(filters)
        wanted = context.needs_input_grad[1]  # no training needs the derivative by directions
        of_strengths = np.zeros(strengths.shape if wanted else (0, 0), dtype=strengths.dtype)
        plan = context.coupling.backward
        _differentiate(*arrays, plan.target, plan.source, plan.place, of_features, of_filters, of_strengths)
        slopes = (of_features, of_strengths if wanted else None, of_filters)
        return *(None if array is None else torch.from_numpy(array) for array in slopes), None, None, None


def _arrays(*tensors: torch.Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


@numba.njit(fastmath=True, inline="always")
def _gather(strengths, target, source, place, rows, summed):
    """Add the terms of a Gather, eight at a time."""
    for group in range(len(target)):
        outcome = summed[target[group]]
        k = GROUP * group
        s0, s1, s2, s3 = strengths[place[k]], strengths[place[k + 1]], strengths[place[k + 2]], strengths[place[k + 3]]
        k += 4
        s4, s5, s6, s7 = strengths[place[k]], strengths[place[k + 1]], strengths[place[k + 2]], strengths[place[k + 3]]
        k -= 4
        r0, r1, r2, r3 = rows[source[k]], rows[source[k + 1]], rows[source[k + 2]], rows[source[k + 3]]
        k += 4
        r4, r5, r6, r7 = rows[source[k]], rows[source[k + 1]], rows[source[k + 2]], rows[source[k + 3]]
        for f in range(len(outcome)):
            outcome[f] += (
                (s0 * r0[f] + s1 * r1[f])
                + (s2 * r2[f] + s3 * r3[f])
                + (s4 * r4[f] + s5 * r5[f])
                + (s6 * r6[f] + s7 * r7[f])
            )


@numba.njit(fastmath=True, cache=True, error_model="numpy", nogil=True)
def _sum(features, strengths, filters, second, starts, target, source, place, begin, end, summed):
    number = features.shape[1]
    products = np.empty((filters.shape[1] * number, features.shape[2]), dtype=features.dtype)
    for i in range(begin, end):
        for pair in range(starts[i], starts[i + 1]):
            feature = features[second[pair]]
            for degree in range(filters.shape[1]):
                for b in range(number):
                    product, weight, of_b = products[degree * number + b], filters[pair, degree], feature[b]
                    for f in range(len(product)):
                        product[f] = weight[f] * of_b[f]
            _gather(strengths[pair], target, source, place, products, summed[i])


@numba.njit(fastmath=True, cache=True, error_model="numpy")
def _differentiate(
    features, strengths, filters, first, second, slope, target, source, place, of_features, of_filters, of_strengths
):
    number = features.shape[1]
    products = np.empty((filters.shape[1] * number, features.shape[2]), dtype=features.dtype)
    for pair in range(len(second)):
        i, j = first[pair], second[pair]
        products[:] = 0  # their derivatives
        _gather(strengths[pair], target, source, place, slope[i], products)
        for degree in range(filters.shape[1]):
            weight, of_weight = filters[pair, degree], of_filters[pair, degree]
            for b in range(number):
                product, feature, of_feature = products[degree * number + b], features[j, b], of_features[j, b]
                for f in range(len(product)):
                    of_weight[f] += product[f] * feature[f]
                    of_feature[f] += product[f] * weight[f]
        if len(of_strengths):
            for group in range(len(target)):
                degree, b = divmod(target[group], np.uint64(number))
                weight, feature = filters[pair, degree], features[j, b]
                for k in range(GROUP * group, GROUP * (group + 1)):
                    if place[k] == strengths.shape[1] - 1:
                        continue  # a term that fills up its group
                    row = slope[i, source[k]]
                    for f in range(len(row)):
                        of_strengths[pair, place[k]] += row[f] * weight[f] * feature[f]
