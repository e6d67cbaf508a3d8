"""Attempt frequencies on landscapes whose second derivatives are known."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE
from insilico_nmr.neb import Hop, NebFailed, Start, find_barrier
from insilico_nmr.vineyard import Minimum, Saddle, _curvatures, find_minima, find_saddle, hessian, prefactor

MASS, WALL = 6.94, 3.0  # u; eV/Å² across the path
TOP, BARRIER = 0.45, 0.3  # Å, eV


class Wells(Calculator):
    """The lithium atom in a double well along x, with the minima at 0 and 1, in a channel that widens on its way.

    U' ∝ x (x − TOP)(x − 1), so that the second minimum is the deeper one; U(TOP) = BARRIER. Across, k(x)(y² + z²)/2
    with k = WALL (1 + x)². All other atoms sit in springs of their own.
    """

    implemented_properties = ("energy", "forces")

    def __init__(self, home: np.ndarray):
        super().__init__()
        self.home = home
        along = np.polynomial.Polynomial.fromroots([0, TOP, 1]).integ()
        self.along = along * (BARRIER / along(TOP))

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        shift = self.atoms.positions - self.home
        x, y, z = shift[0]
        stiffness = WALL * (1 + x) ** 2
        energy = self.along(x) + stiffness / 2 * (y * y + z * z) + (shift[1:] ** 2).sum()
        forces = -2 * shift
        forces[0] = [-self.along.deriv()(x) - WALL * (1 + x) * (y * y + z * z), -stiffness * y, -stiffness * z]
        self.results = {"energy": energy, "forces": forces}


@pytest.fixture
def wells():
    atoms = Atoms("LiOO", positions=[[5, 5, 5], [6, 8, 5], [1, 1, 1]], cell=[12, 12, 12], pbc=True)
    calculator = Wells(atoms.positions.copy())
    start = Start(atoms, 0, np.array([1.0, 0, 0]), np.full((1, 3), 11.0))
    return find_barrier(start, calculator, images=5, max_force=0.02), calculator


def prefactors(hop: Hop, calculator: Calculator) -> list[float]:
    """Attempt frequencies forward and backward, 1/s."""
    saddle = find_saddle(hop, 0, calculator)
    return [prefactor(minimum, saddle) for minimum in find_minima(hop, 0, calculator)]


def frequency(curvature: float) -> float:
    """1/s of a curvature in eV/Å²."""
    return np.sqrt(curvature / MASS) * units.s / (2 * np.pi)


def test_attempt_frequencies_of_a_double_well(wells):
    hop, calculator = wells
    second = calculator.along.deriv(2)
    # Of three modes at each minimum two lie across; the channel is (1 + x)² times as stiff at x as at the start.
    forward = frequency(second(0)) / (1 + TOP) ** 2
    backward = frequency(second(1)) * 4 / (1 + TOP) ** 2
    assert prefactors(hop, calculator) == pytest.approx([forward, backward], rel=5e-3)


def test_there_and_back_rates_balance_the_free_energies_of_the_minima(wells):
    hop, calculator = wells
    forward, backward = prefactors(hop, calculator)
    thermal = 600 * units.kB

    def free_energy(image: Atoms) -> float:
        """Classical harmonic: E + kT Σ ln(ω_i/ω_0); ω_0 is the same for both minima."""
        curvatures = np.linalg.eigvalsh(hessian(image, calculator, np.array([0])))
        image.calc = calculator
        return image.get_potential_energy() + thermal / 2 * np.log(curvatures).sum()

    rates = [forward * np.exp(-hop.forward_eV / thermal), backward * np.exp(-hop.backward_eV / thermal)]
    expected = np.exp(-(free_energy(hop.path[-1]) - free_energy(hop.path[0])) / thermal)
    assert rates[0] / rates[1] == pytest.approx(expected, rel=1e-2)


class Ridge(Wells):
    """About the start a ridge runs along the middle of the channel, with a minimum on either side.

    Across, U = −3y² + `steep` y⁴ there beside the channel's 1.5 y²: minima at y² = 0.75/steep, 0.75²/steep deep.
    """

    steep = 30.0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, _ = self.atoms.positions[0] - self.home[0]
        fade = np.exp(-((x / 0.15) ** 2))
        bend = 3 * y * y - self.steep * y**4
        self.results["energy"] -= fade * bend
        self.results["forces"][0] += [-2 * x / 0.15**2 * fade * bend, fade * (6 * y - 4 * self.steep * y**3), 0]


def test_an_end_on_a_ridge_slides_to_the_minimum_beside_it(wells):
    hop, calculator = wells
    ends = [hop.path[0].copy(), *hop.path[1:]]
    ends[0].positions[0] = calculator.home[0]  # nothing pushes it from the middle
    hop = Hop(hop.forward_eV, hop.backward_eV, hop.energies_eV, tuple(ends))
    ridge = Ridge(calculator.home)
    start, end = find_minima(hop, 0, ridge)
    assert start.below_image_eV == pytest.approx(0.75**2 / 30, abs=2e-3)
    assert (start.curvatures > 0).all()
    assert end.below_image_eV == pytest.approx(0, abs=1e-3)
    ridge.steep = 5.0
    with pytest.raises(NebFailed, match=r"no minimum: from the start Li0 slides by 0\.\d Å and 0\.\d+ eV to another"):
        find_minima(hop, 0, ridge)


def test_a_potential_that_breaks_down_beside_an_end_is_a_hop_without_a_barrier(wells):
    hop, calculator = wells

    class Hole(Wells):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            if abs(self.atoms.positions[0, 1] - self.home[0, 1]) > 0.005:
                raise CalculationFailed("energy or forces are not finite")

    for find in (find_minima, find_saddle):
        with pytest.raises(NebFailed, match="breaks down: energy or forces") as failed:
            find(hop, 0, Hole(calculator.home))
        assert failed.value.status == "not converged"


class Split(Wells):
    """About the top a ridge runs along the middle of the channel, with a way on either side of it, or with none."""

    sides = 0.3  # Å

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, _ = self.atoms.positions[0] - self.home[0]
        fade = 6 * np.exp(-(((x - TOP) / 0.35) ** 2))
        bend = y * y - (0.5 * y**4 / self.sides**2 if self.sides else 0)
        slope = 2 * y - (2 * y**3 / self.sides**2 if self.sides else 0)
        self.results["energy"] -= fade * bend
        self.results["forces"][0] += [-2 * (x - TOP) / 0.35**2 * fade * bend, fade * slope, 0]


def test_a_path_on_a_ridge_is_led_to_the_saddle_beside_it(wells):
    atoms = wells[0].path[0]
    calculator = Split(wells[1].home)
    start = Start(atoms, 0, np.array([1.0, 0, 0]), np.full((1, 3), 11.0))
    hop = find_barrier(start, calculator, images=5, max_force=0.02)
    assert hop.forward_eV == pytest.approx(BARRIER, abs=0.01)  # nothing pushes it from the middle
    saddle = find_saddle(hop, 0, calculator)
    assert (saddle.curvatures < 0).sum() == 1
    assert abs(saddle.atoms.positions[0, 1] - calculator.home[0, 1]) > 0.1
    assert np.abs(saddle.atoms.get_forces()).max() < 0.01
    assert saddle.above_image_eV == pytest.approx(saddle.atoms.get_potential_energy() - max(hop.energies_eV), abs=1e-6)
    assert saddle.above_image_eV < -0.03
    calculator.sides = 0
    with pytest.raises(NebFailed, match="2 imaginary modes at the top, and from it no saddle within"):
        find_saddle(hop, 0, calculator)


class Bonds(Calculator):
    """Forces between pairs alone: nothing changes when all atoms move together."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, d, vector = neighbor_list("idD", self.atoms, 4.5)
        forces = np.zeros((len(self.atoms), 3))
        energy = 0.0
        # A repulsion and an attraction, both times (1 − d²/r²)⁴, so that they end smoothly.
        soft = 1 - (d / 4.5) ** 2
        for depth, width in ((40.0, 0.9), (-3.0, 2.0)):
            gauss = depth * np.exp(-((d / width) ** 2)) * soft**4
            energy += gauss.sum() / 2
            slope = gauss * (-2 * d / width**2) - depth * np.exp(-((d / width) ** 2)) * 4 * soft**3 * 2 * d / 4.5**2
            np.add.at(forces, i, (slope / d)[:, None] * vector)
        self.results = {"energy": energy, "forces": forces}


def test_whichever_atom_is_pinned_the_attempt_frequency_is_the_same():
    """Two minima of a crystal that feels no other forces: of the second, one more mode stands for the imaginary one."""
    minima = []
    for seed in (3, 4):
        positions = np.random.default_rng(seed).uniform(0, 5, (5, 3))
        atoms = Atoms("LiS4", positions=positions, cell=[5, 5.5, 6], pbc=True, calculator=Bonds())
        assert FIRE(atoms, logfile=None).run(fmax=1e-4, steps=3000)
        minima.append(atoms)
    assert np.ptp([atoms.get_potential_energy() for atoms in minima]) > 0.01

    def frequency(pinned: int) -> float:
        free = np.delete(np.arange(5), pinned)
        first, second = (_curvatures(hessian(atoms, Bonds(), free), atoms, free) for atoms in minima)
        return prefactor(Minimum(first, 0.0), Saddle(minima[1], np.array([-1.0, *second]), 0.0))

    first, *others = (frequency(pinned) for pinned in (0, 1, 4))
    assert others == pytest.approx([first, first], rel=1e-3)
    assert first > 0
