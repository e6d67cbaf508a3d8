"""Ultra-fast force field (UF3): two- and three-body cubic B-splines fitted to energies, forces and stresses.

E = Σ_i e(Z_i) + ½ Σ_{i≠j} V₂(r_ij) + Σ_i Σ_{j<k} V₃(r_ij, r_ik, r_jk), V₂ = Σ c_n B_n and V₃ = Σ c_lmn B_l B_m B_n, is
linear in its coefficients, so that a regularised least-squares fit is exact and members of a committee cost one more
solve each. S. R. Xie, M. Rupp, R. G. Hennig, npj Comput. Mater. 9, 162 (2023). LAMMPS evaluates it (pair_style uf3).

The features are computed here and not by the package `uf3`, whose featuriser needs about a minute for a 32-atom
snapshot and knows no stress (scripts/benchmark_potential.py prints the ratio).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numba import njit
from scipy import sparse
from scipy.interpolate import BSpline, PPoly
from scipy.linalg import cho_factor, cho_solve

from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path

FREE_END = 3  # last B-splines of each axis, held at zero so that V, V' and V'' vanish at the cut-off


@dataclass(frozen=True)
class Basis:
    """Cut-offs (Å) and numbers of knot intervals of a UF3 potential.

    Pairs reach from `pair_min` to `pair_cutoff`; trios have both legs between `trio_min` and `trio_cutoff` and the
    far side up to twice that (LAMMPS demands the factor two).
    """

    elements: tuple[str, ...]
    pair_min: float
    pair_cutoff: float
    pair_intervals: int
    trio_min: float
    trio_cutoff: float
    leg_intervals: int
    side_intervals: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Unordered element pairs."""
        return list(combinations_with_replacement(self.elements, 2))

    @property
    def trios(self) -> list[tuple[str, str, str]]:
        """Centre element, then the unordered pair of its neighbours."""
        return [(centre, *pair) for centre in self.elements for pair in self.pairs]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of B-splines of a trio along leg, leg and far side, free ends included."""
        return self.leg_intervals + 3, self.leg_intervals + 3, self.side_intervals + 3

    @property
    def pair_spacing(self) -> float:
        """Distance of the knots of a pair, Å."""
        return (self.pair_cutoff - self.pair_min) / self.pair_intervals

    @property
    def pair_size(self) -> int:
        """Number of B-splines of a pair, free end included."""
        return self.pair_intervals + 3

    @property
    def size(self) -> int:
        """Number of coefficients, before any is held at zero: elements, pairs, trios."""
        return len(self.elements) + len(self.pairs) * self.pair_size + len(self.trios) * int(np.prod(self.shape))

    def knots(self) -> dict[str, np.ndarray]:
        """Clamped uniform knot vectors of the pair, leg and far-side splines, Å."""
        ranges = {
            "pair": (self.pair_min, self.pair_cutoff, self.pair_intervals),
            "leg": (self.trio_min, self.trio_cutoff, self.leg_intervals),
            "side": (self.trio_min, 2 * self.trio_cutoff, self.side_intervals),
        }
        return {
            name: np.r_[[low] * 3, np.linspace(low, high, n + 1), [high] * 3] for name, (low, high, n) in ranges.items()
        }


def _pieces(knots: np.ndarray) -> np.ndarray:
    """Polynomial pieces of all B-splines, shape (intervals, 4 splines, 4 powers of r − left knot)."""
    count = len(knots) - 4
    intervals = count - 3
    pieces = np.zeros((intervals, 4, 4))
    for spline in range(count):
        polynomial = PPoly.from_spline(BSpline(knots, np.eye(count)[spline], 3))
        for interval in range(max(0, spline - 3), min(intervals, spline + 1)):
            # Rows of PPoly.c run from the cubic down; its interval 3 is the first one of non-zero width.
            pieces[interval, spline - interval] = polynomial.c[::-1, interval + 3]
    return pieces


@njit(cache=True)
def _evaluate(r, low, step, pieces, value, slope):
    """Fill the four non-zero splines and their slopes at r; returns the index of the first one."""
    interval = min(int((r - low) / step), pieces.shape[0] - 1)
    x = r - (low + interval * step)
    for s in range(4):
        c = pieces[interval, s]
        value[s] = c[0] + x * (c[1] + x * (c[2] + x * c[3]))
        slope[s] = c[1] + x * (2 * c[2] + 3 * x * c[3])
    return interval


@njit(cache=True)
def _pair_features(first, second, vector, distance, pair_of, species, offset, low, high, pieces, size, out):
    energy, forces, virial = out
    step = (high - low) / pieces.shape[0]
    value, slope = np.empty(4), np.empty(4)
    for n in range(first.size):
        r = distance[n]
        if r >= high or r < low:
            continue
        i, j = first[n], second[n]
        start = offset + pair_of[species[i], species[j]] * size + _evaluate(r, low, step, pieces, value, slope)
        for s in range(4):
            energy[start + s] += 0.5 * value[s]
            g = 0.5 * slope[s] / r
            for x in range(3):
                forces[i, x, start + s] += g * vector[n, x]
                forces[j, x, start + s] -= g * vector[n, x]
                for y in range(3):
                    virial[x, y, start + s] += g * vector[n, x] * vector[n, y]


@njit(cache=True)
def _trio_features(begin, second, vector, distance, trio_of, species, offset, low, cutoff, legs, sides, shape, out):
    energy, forces, virial = out
    leg_step, side_step = (cutoff - low) / legs.shape[0], (2 * cutoff - low) / sides.shape[0]
    v1, v2, v3 = np.empty(4), np.empty(4), np.empty(4)
    s1, s2, s3 = np.empty(4), np.empty(4), np.empty(4)
    d1, d2, d3 = np.empty(3), np.empty(3), np.empty(3)
    block = shape[0] * shape[1] * shape[2]
    for i in range(begin.size - 1):
        for a in range(begin[i], begin[i + 1]):
            if distance[a] >= cutoff or distance[a] < low:
                continue
            for b in range(a + 1, begin[i + 1]):
                if distance[b] >= cutoff or distance[b] < low:
                    continue
                p, q = a, b
                if species[second[p]] > species[second[q]]:
                    p, q = b, a
                j, k = second[p], second[q]
                r3 = 0.0
                for x in range(3):
                    d1[x], d2[x] = vector[p, x], vector[q, x]
                    d3[x] = d2[x] - d1[x]
                    r3 += d3[x] * d3[x]
                r3 = np.sqrt(r3)
                if r3 < low or r3 >= 2 * cutoff:
                    continue
                r1, r2 = distance[p], distance[q]
                l0 = _evaluate(r1, low, leg_step, legs, v1, s1)
                m0 = _evaluate(r2, low, leg_step, legs, v2, s2)
                n0 = _evaluate(r3, low, side_step, sides, v3, s3)
                base = offset + trio_of[species[i], species[j], species[k]] * block
                same = species[j] == species[k]
                for h in range(4):
                    for m in range(4):
                        row, column = l0 + h, m0 + m
                        if same and row > column:  # c_lmn = c_mln: one coefficient stands for both
                            row, column = column, row
                        start = base + (row * shape[1] + column) * shape[2] + n0
                        for n in range(4):
                            f = start + n
                            energy[f] += v1[h] * v2[m] * v3[n]
                            g1 = s1[h] * v2[m] * v3[n] / r1
                            g2 = v1[h] * s2[m] * v3[n] / r2
                            g3 = v1[h] * v2[m] * s3[n] / r3
                            for x in range(3):
                                forces[i, x, f] += g1 * d1[x] + g2 * d2[x]
                                forces[j, x, f] += g3 * d3[x] - g1 * d1[x]
                                forces[k, x, f] -= g3 * d3[x] + g2 * d2[x]
                                for y in range(3):
                                    virial[x, y, f] += g1 * d1[x] * d1[y] + g2 * d2[x] * d2[y] + g3 * d3[x] * d3[y]


def features(atoms: Atoms, basis: Basis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of one structure: energy (F,), forces (n, 3, F) and stress (3, 3, F) per unit coefficient.

    Multiplied by coefficients in eV they give eV, eV/Å and eV/Å³ (stress positive under tension, as in ASE).
    Raises InputError for an element that the basis lacks.
    """
    unknown = sorted(set(atoms.symbols) - set(basis.elements))
    if unknown:
        raise InputError(f"the potential knows {', '.join(basis.elements)} only, not {', '.join(unknown)}")
    index = {element: n for n, element in enumerate(basis.elements)}
    species = np.array([index[symbol] for symbol in atoms.symbols])
    count = len(basis.elements)
    pair_of, trio_of = np.zeros((count, count), int), np.zeros((count, count, count), int)
    for n, (a, b) in enumerate(basis.pairs):
        pair_of[index[a], index[b]] = pair_of[index[b], index[a]] = n
    for n, (c, a, b) in enumerate(basis.trios):
        trio_of[index[c], index[a], index[b]] = trio_of[index[c], index[b], index[a]] = n

    out = (np.zeros(basis.size), np.zeros((len(atoms), 3, basis.size)), np.zeros((3, 3, basis.size)))
    out[0][:count] = np.bincount(species, minlength=count)
    knots = basis.knots()
    first, second, vector, distance = neighbour_list("ijDd", atoms, basis.pair_cutoff)
    _pair_features(
        first, second, vector, distance, pair_of, species, count,
        basis.pair_min, basis.pair_cutoff, _pieces(knots["pair"]), basis.pair_size, out,
    )  # fmt: skip
    near = distance < basis.trio_cutoff
    begin = np.searchsorted(first[near], np.arange(len(atoms) + 1))
    _trio_features(
        begin, second[near], vector[near], distance[near], trio_of, species,
        count + len(basis.pairs) * basis.pair_size, basis.trio_min, basis.trio_cutoff,
        _pieces(knots["leg"]), _pieces(knots["side"]), np.array(basis.shape), out,
    )  # fmt: skip
    out[2][...] /= atoms.get_volume()
    return out


def _canonical(basis: Basis, same: bool) -> np.ndarray:
    """Index of the coefficient that stands for each entry of a trio's block (c_lmn = c_mln for equal neighbours)."""
    index = np.arange(int(np.prod(basis.shape))).reshape(basis.shape)
    if same:
        leg, other = np.indices(basis.shape[:2])
        index = np.where((leg > other)[..., None], index.transpose(1, 0, 2), index)
    return index.ravel()


def _free(basis: Basis) -> np.ndarray:
    """Mask (F,) of coefficients that a fit may move: neither free ends nor the mirrored half of a symmetric trio."""
    pair = np.arange(basis.pair_size) < basis.pair_size - FREE_END
    leg, other, side = np.indices(basis.shape)
    inside = (
        (leg < basis.shape[0] - FREE_END) & (other < basis.shape[1] - FREE_END) & (side < basis.shape[2] - FREE_END)
    )
    trios = [(inside & ((leg <= other) | (b != c))).ravel() for _, b, c in basis.trios]
    return np.concatenate([np.ones(len(basis.elements), bool), *[pair] * len(basis.pairs), *trios])


def _penalty(basis: Basis, ridge: float, curvature: float) -> sparse.csr_matrix:
    """Matrix R of the regulariser cᵀRc: `ridge` on the coefficients, `curvature` on their second differences.

    Pair terms, which carry most of the energy and have by far the most data, get a hundredth of both.
    """

    def bending(count: int) -> sparse.csr_matrix:
        second = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(count - 2, count))
        return (second.T @ second).tocsr()

    eye = [sparse.identity(n) for n in basis.shape]
    bend = [bending(n) for n in basis.shape]
    block = ridge * sparse.identity(int(np.prod(basis.shape))) + curvature * (
        sparse.kron(sparse.kron(bend[0], eye[1]), eye[2])
        + sparse.kron(sparse.kron(eye[0], bend[1]), eye[2])
        + sparse.kron(sparse.kron(eye[0], eye[1]), bend[2])
    )
    pair = 0.01 * (ridge * sparse.identity(basis.pair_size) + curvature * bending(basis.pair_size))
    trios = []
    for _, b, c in basis.trios:
        canonical = _canonical(basis, b == c)
        fold = sparse.csr_matrix((np.ones(canonical.size), (np.arange(canonical.size), canonical)))
        fold.resize(block.shape)
        trios.append(fold.T @ block @ fold)
    elements = 1e-8 * sparse.identity(len(basis.elements))
    return sparse.block_diag([elements, *[pair] * len(basis.pairs), *trios]).tocsr()


def _separations(basis: Basis, atoms: Atoms) -> list[np.ndarray]:
    """Distances below the cut-off of each of the basis's pairs of elements, Å."""
    first, second, distance = neighbour_list("ijd", atoms, basis.pair_cutoff)
    symbols = np.array(atoms.get_chemical_symbols())
    return [distance[(symbols[first] == a) & (symbols[second] == b)] for a, b in basis.pairs]


def _unseen_distance_walls(basis: Basis, seen: list[list[np.ndarray]], stiffness: float) -> np.ndarray:
    """Coefficients (F,) of a prior pair energy ½·stiffness·d², d the distance (Å) to the nearest separation seen, less
    one knot spacing; `seen`: `_separations` of each snapshot.

    No snapshot says what happens at separations that none of them holds: below the shortest one, or between a bonded
    and a non-bonded shell. Splines left alone there fall into holes, so the prior closes those ranges: atoms cannot
    collide, and bonds that never broke in the data cannot break. Beyond half the cut-off nothing is added.
    """
    knots = basis.knots()["pair"]
    greville = (knots[1:-3] + knots[2:-2] + knots[3:-1]) / 3
    prior = np.zeros(basis.size)
    for n, distances in enumerate(zip(*seen, strict=True)):
        found = np.sort(np.concatenate([*distances, [0.5 * basis.pair_cutoff]]))
        right = np.searchsorted(found, greville).clip(0, len(found) - 1)
        nearest = np.minimum(np.abs(greville - found[right]), np.abs(greville - found[np.maximum(right - 1, 0)]))
        # A spline reaches two knots to either side; the wall must not lean on separations that were seen.
        nearest = np.maximum(nearest - basis.pair_spacing, 0.0)
        nearest[greville > 0.5 * basis.pair_cutoff] = 0.0
        start = len(basis.elements) + n * basis.pair_size
        prior[start : start + basis.pair_size] = 0.5 * stiffness * nearest**2
    return prior


@dataclass(frozen=True)
class Weights:
    """Errors at which a residual counts one (eV/atom, eV/Å, eV/Å³), the regulariser's two strengths, and the
    stiffness (eV/Å²) of the walls at separations that no snapshot holds, and the summed value over the data that a
    spline must exceed to get a coefficient."""

    energy: float
    force: float
    stress: float
    ridge: float
    curvature: float
    wall: float
    coverage: float


class LeastSquares:
    """Normal equations of a data set, kept per group so that members of a committee need only a sum and a solve.

    groups : by name of a group, products of its weighted rows: (C, C) among the C `columns` that a fit may move, (C,)
    with the labels, (C, P) with the columns of pairs, which the walls are made of.
    """

    def __init__(self, frames: list[Atoms], basis: Basis, weights: Weights):
        self.basis, self.weights = basis, weights
        self.penalty = _penalty(basis, weights.ridge, weights.curvature)
        self.coverage: dict[str, np.ndarray] = {}  # (F,), summed values of the splines
        self.seen: dict[str, list[list[np.ndarray]]] = {}
        for atoms in frames:
            group = str(atoms.info["group"])
            self.coverage[group] = self.coverage.get(group, 0) + features(atoms, basis)[0]
            self.seen.setdefault(group, []).append(_separations(basis, atoms))
        self.columns = self._covered(self.coverage)
        self.pairs = len(basis.elements) + np.arange(len(basis.pairs) * basis.pair_size)
        self.groups: dict[str, list[np.ndarray]] = {}
        for atoms in frames:
            products, group = self._products(atoms), str(atoms.info["group"])
            before = self.groups.get(group)
            self.groups[group] = products if before is None else [a + b for a, b in zip(before, products, strict=True)]

    def _covered(self, groups: Iterable[str]) -> np.ndarray:
        """Columns that a fit to these groups may move: one that the data hardly touch would only carry noise into
        places no snapshot has been to."""
        return np.flatnonzero(_free(self.basis) & (sum(self.coverage[name] for name in groups) > self.weights.coverage))

    def _products(self, atoms: Atoms) -> list[np.ndarray]:
        """Products of the weighted rows for one snapshot's energy, forces and stress."""
        weights = self.weights
        energy, forces, stress = features(atoms, self.basis)
        count = len(atoms)
        rows = [energy[None] / count / weights.energy, forces.reshape(3 * count, -1) / weights.force]
        labels = [
            [atoms.get_potential_energy() / count / weights.energy],
            atoms.get_forces().ravel() / weights.force,
        ]
        if "stress" in atoms.calc.results:
            rows.append(stress.reshape(9, -1) / weights.stress)
            labels.append(atoms.get_stress(voigt=False).ravel() / weights.stress)
        matrix = np.concatenate(rows)
        free = matrix[:, self.columns]
        return [free.T @ free, free.T @ np.concatenate(labels), free.T @ matrix[:, self.pairs]]

    def solve(self, groups: Collection[str], known: Collection[str] | None = None) -> np.ndarray:
        """Coefficients (F,), eV, of a fit to these groups. Walls stand, and columns are held, where none of the groups
        `known` (default: all) has been: a committee shares its walls, an error on unseen groups must not."""
        if not groups:
            raise InputError("no group of snapshots left to fit a potential to")
        known = self.groups if known is None else known
        seen = [distances for name in known for distances in self.seen[name]]
        prior = _unseen_distance_walls(self.basis, seen, self.weights.wall)
        moved = np.isin(self.columns, self._covered(known))
        gram, moment, pairs = (sum(parts) for parts in zip(*(self.groups[name] for name in groups), strict=True))
        moment = moment - pairs @ prior[self.pairs]
        columns = self.columns[moved]
        penalty = self.penalty[columns][:, columns].toarray()
        coefficients = prior.copy()
        coefficients[columns] += cho_solve(cho_factor(gram[moved][:, moved] + penalty), moment[moved])
        return coefficients


def predict(atoms: Atoms, basis: Basis, coefficients: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (n, 3; eV/Å) and stress (3, 3; eV/Å³) of one structure."""
    return tuple(np.asarray(feature) @ coefficients for feature in features(atoms, basis))


def write_lammps(path: str | Path, basis: Basis, coefficients: np.ndarray) -> None:
    """Write a potential file for LAMMPS's `pair_style uf3 3` (metal units), all pairs and trios in one file."""
    knots = {name: " ".join(f"{knot:.12g}" for knot in values) for name, values in basis.knots().items()}
    header = "#UF3 POT UNITS: metal DATE: none AUTHOR: insilico-nmr CITATION: 10.1038/s41524-023-01092-7"
    lines = []
    start = len(basis.elements)
    for pair in basis.pairs:
        # LAMMPS sums V₂ over ordered pairs without the factor ½.
        values = 0.5 * coefficients[start : start + basis.pair_size]
        start += basis.pair_size
        lines += [
            header,
            f"2B {' '.join(pair)} 0 {FREE_END} uk",
            f"{basis.pair_cutoff:.12g} {basis.pair_intervals + 7}",
            knots["pair"],
            f"{basis.pair_size}",
            " ".join(f"{value:.15e}" for value in values),
            "#",
        ]
    block = int(np.prod(basis.shape))
    for centre, a, b in basis.trios:
        values = coefficients[start : start + block][_canonical(basis, a == b)].reshape(basis.shape)
        start += block
        legs = basis.leg_intervals + 7
        lines += [
            header,
            f"3B {centre} {a} {b} 0 {FREE_END} uk",
            f"{2 * basis.trio_cutoff:.12g} {basis.trio_cutoff:.12g} {basis.trio_cutoff:.12g} "
            f"{basis.side_intervals + 7} {legs} {legs}",
            knots["side"],
            knots["leg"],
            knots["leg"],
            " ".join(map(str, basis.shape)),
            *[" ".join(f"{value:.15e}" for value in row) for row in values.reshape(-1, basis.shape[2])],
            "#",
        ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
