"""Saddles and minima of hops, and attempt frequencies in harmonic transition-state theory, from second derivatives.

    ν* = Π ν_i(minimum) / Π' ν_i(saddle),

the second product without the one imaginary mode: G. H. Vineyard, J. Phys. Chem. Solids 3, 121 (1957). Nuclei are
classical.
"""

from dataclasses import dataclass
from math import pi

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic

from insilico_nmr.errors import InputError
from insilico_nmr.neb import SHELF_EV, Hop, NebFailed, bottoms, breakdown_fails, relax

DISPLACEMENT_A = 0.01  # of the central differences
STATIONARY_EV_PER_A = 0.01
MOST_STEPS = 300  # to a saddle
MOST_RELAXING = 1200
HESSIANS = 6
PUSH_A = 0.1  # off a ridge, the atom that moves most
SOFTEST_EV_PER_A2 = 0.3  # softer modes are followed as if they had this curvature
# Farther than this from the image that NEB found, Å, a saddle or a minimum is another one.
LONGEST_WAY_A = 0.5


class NoPrefactor(InputError):
    """Harmonic transition-state theory does not apply to a hop, whose barrier may be right."""


@dataclass(frozen=True)
class Saddle:
    """Atoms at rest, `_curvatures` (3n,) of those that vibrate, one negative; energy above the highest image, eV."""

    atoms: Atoms
    curvatures: np.ndarray
    above_image_eV: float


@dataclass(frozen=True)
class Minimum:
    """`_curvatures` (3n,) of the atoms that vibrate, none negative; energy below the image at the bottom, eV."""

    curvatures: np.ndarray
    below_image_eV: float


def prefactor(minimum: Minimum, saddle: Saddle) -> float:
    """Attempt frequency from the minimum over the saddle, 1/s.

    The atom farthest from the ion stands still and all others vibrate: pinning one takes the translations out of both
    products by one and the same factor. Atoms near the ion alone would not do.
    """
    log = (np.log(minimum.curvatures).sum() - np.log(saddle.curvatures[1:]).sum()) / 2
    return float(np.exp(log) * units.s / (2 * pi))


@breakdown_fails()
def find_minima(hop: Hop, ion: int, calculator: Calculator) -> tuple[Minimum, Minimum]:
    """The minima on both sides of a hop's highest image.

    An end at rest may lie on a ridge of its own, from which it slides here. Where a path dips below an end on its way,
    the bottom of the dip counts, as for the barriers. Raises NebFailed where an end does not come to rest, where the
    minimum is another one, SHELF_EV below the path or farther away than a saddle may be, and where the potential breaks
    down.
    """
    free = _vibrating(hop, ion)
    before, after = bottoms(np.array(hop.energies_eV))
    return (
        _find_minimum(hop.path[before], calculator, free, "start"),
        _find_minimum(hop.path[after], calculator, free, "end"),
    )


def _find_minimum(image: Atoms, calculator: Calculator, free: np.ndarray, name: str) -> Minimum:
    atoms = image.copy()
    atoms.calc = calculator
    image_eV = atoms.get_potential_energy()
    for _ in range(HESSIANS):
        relax(atoms, calculator, STATIONARY_EV_PER_A, MOST_RELAXING, name)
        below_eV = image_eV - atoms.get_potential_energy()
        moved = np.linalg.norm(atoms.positions - image.positions, axis=1)
        if below_eV > SHELF_EV or moved.max() > LONGEST_WAY_A:
            other = moved.argmax()
            slide = f"{atoms.symbols[other]}{other} slides by {moved[other]:.1f} Å and {below_eV:.2f} eV"
            raise NebFailed("no minimum", f"from the {name} {slide} to another minimum")
        matrix = hessian(atoms, calculator, free)
        values, vectors = np.linalg.eigh(matrix)
        if values[0] > 0:
            return Minimum(_curvatures(matrix, atoms, free), below_eV)
        _push(atoms, free, vectors[:, 0])
    raise NebFailed("no minimum", f"beside the {name} the energy has none")


def hessian(atoms: Atoms, calculator: Calculator, free: np.ndarray) -> np.ndarray:
    """Second derivatives (3n, 3n) of the energy in the positions of the atoms numbered in `free` (n,), eV/Å²."""
    work = atoms.copy()
    work.calc = calculator
    rows = []
    for atom in free:
        for axis in range(3):
            sides = []
            for step in (DISPLACEMENT_A, -DISPLACEMENT_A):
                work.positions[atom, axis] += step
                sides.append(work.get_forces()[free].ravel())
                work.positions[atom, axis] -= step
            rows.append((sides[1] - sides[0]) / (2 * DISPLACEMENT_A))
    matrix = np.array(rows)
    return (matrix + matrix.T) / 2


def _vibrating(hop: Hop, ion: int) -> np.ndarray:
    """Numbers of all atoms but the one that is farthest from the ion at the highest image."""
    atoms = hop.path[int(np.argmax(hop.energies_eV))]
    distance = find_mic(atoms.positions - atoms.positions[ion], atoms.cell)[1]
    return np.delete(np.arange(len(atoms)), distance.argmax())


def _curvatures(matrix: np.ndarray, atoms: Atoms, free: np.ndarray) -> np.ndarray:
    """Eigenvalues (3n,) of the mass-weighted Hessian, ascending, eV/(Å² u): squared angular frequencies."""
    weight = np.repeat(atoms.get_masses()[free] ** -0.5, 3)
    return np.linalg.eigvalsh(matrix * np.outer(weight, weight))


@breakdown_fails()
def find_saddle(hop: Hop, ion: int, calculator: Calculator) -> Saddle:
    """The saddle next to the climbing image: uphill along one mode, downhill along all others.

    NEB leaves forces that move soft modes by a tenth of an Å; signs and sizes of their curvatures hang on that. And a
    path that is mirrored in itself may stay on a ridge, from which its highest image is pushed. Steps are Newton's on
    |curvatures|, the Hessian made anew after some of them: C. J. Cerjan, W. H. Miller, J. Chem. Phys. 75, 2800 (1981).
    The mode to climb is, of those that go down on both sides, the one most along the path. Raises NoPrefactor where the
    search comes to no end, or to one that is far, and NebFailed where it does so from a ridge, that is no barrier, and
    where the potential breaks down.
    """
    top = int(np.argmax(hop.energies_eV))
    image = hop.path[top]
    free = _vibrating(hop, ion)
    atoms = image.copy()
    atoms.calc = calculator
    start_eV = atoms.get_potential_energy()
    along = (hop.path[top + 1].positions - hop.path[top - 1].positions)[free].ravel()
    imaginary = 1
    try:
        for _ in range(HESSIANS):
            matrix = hessian(atoms, calculator, free)
            values, vectors = np.linalg.eigh(matrix)
            down = max(1, int((values < 0).sum()))
            uphill = int(np.abs(vectors[:, :down].T @ along).argmax())
            if _largest_force(atoms, free) < STATIONARY_EV_PER_A:
                imaginary = int((values < 0).sum())
                if imaginary == 0:
                    raise NoPrefactor("0 imaginary modes at the saddle")
                if imaginary == 1:
                    above_eV = atoms.get_potential_energy() - start_eV
                    return Saddle(atoms, _curvatures(matrix, atoms, free), above_eV)
                _push(atoms, free, vectors[:, 1 if uphill == 0 else 0])
            stiffness = np.maximum(np.abs(values), SOFTEST_EV_PER_A2)
            stiffness[uphill] *= -1
            _follow(atoms, image, free, (vectors / stiffness) @ vectors.T)
        raise NoPrefactor("the search for the saddle does not converge")
    except NoPrefactor as reason:
        if imaginary > 1:
            raise NebFailed("not converged", f"{imaginary} imaginary modes at the top, and from it {reason}") from None
        raise


def _follow(atoms: Atoms, image: Atoms, free: np.ndarray, inverse: np.ndarray) -> None:
    """Newton's steps with the inverse (3n, 3n) of |curvatures|, until forces are small or the Hessian is too old."""
    for _ in range(MOST_STEPS // HESSIANS):
        if _largest_force(atoms, free) < STATIONARY_EV_PER_A:
            return
        step = (inverse @ atoms.get_forces()[free].ravel()).reshape(-1, 3)
        atoms.positions[free] += step * min(1.0, 0.1 / np.linalg.norm(step, axis=1).max())
        if np.linalg.norm(atoms.positions - image.positions, axis=1).max() > LONGEST_WAY_A:
            raise NoPrefactor(f"no saddle within {LONGEST_WAY_A} Å of the highest image")


def _largest_force(atoms: Atoms, free: np.ndarray) -> float:
    return float(np.linalg.norm(atoms.get_forces()[free], axis=1).max())


def _push(atoms: Atoms, free: np.ndarray, mode: np.ndarray) -> None:
    """Move along a mode (3n,), to the side on which the energy is lower."""
    step = mode.reshape(-1, 3) * PUSH_A / np.linalg.norm(mode.reshape(-1, 3), axis=1).max()
    atoms.positions[free] += step
    there = atoms.get_potential_energy()
    atoms.positions[free] -= 2 * step
    if there < atoms.get_potential_energy():
        atoms.positions[free] += 2 * step
