"""Attempt frequencies of hops in harmonic transition-state theory, from second derivatives of the potential.

    ν* = Π ν_i(minimum) / Π' ν_i(saddle),

the second product without the one imaginary mode: G. H. Vineyard, J. Phys. Chem. Solids 3, 121 (1957). Nuclei are
classical.
"""

from math import pi

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.optimize import FIRE

from insilico_nmr.errors import InputError
from insilico_nmr.neb import Hop, bottoms

DISPLACEMENT_A = 0.01  # of the central differences
STATIONARY_EV_PER_A = 0.01
MOST_STEPS = 300
HESSIANS = 4
SOFTEST_EV_PER_A2 = 0.3  # softer modes are followed as if they had this curvature
# Farther than this from the image that NEB found, Å, a saddle is another one.
LONGEST_WAY_A = 0.5


class NoPrefactor(InputError):
    """Harmonic transition-state theory does not apply to a hop."""


def prefactors(hop: Hop, ion: int, calculator: Calculator) -> tuple[float | NoPrefactor, float | NoPrefactor]:
    """Attempt frequencies forward and backward, 1/s, each or the reason why there is none.

    The minima are those next to the saddle: where the path dips below an end point on its way, the bottom of the dip,
    as for the barriers. The atom farthest from the ion stands still and all others vibrate: pinning one takes the
    translations out of both products by one and the same factor. Atoms near the ion alone would not do: with those
    within 6 Å, 59 of 128, one ratio came out at 0.4 of that of the whole cell, for half the time.
    """
    energies = np.array(hop.energies_eV)
    top = int(energies.argmax())
    free = _vibrating(hop.path[top], ion)
    try:
        at_saddle = _curvatures(_saddle(hop, top, calculator, free), calculator, free)
        imaginary = int((at_saddle < 0).sum())
        if imaginary != 1:
            raise NoPrefactor(f"{imaginary} imaginary modes at the saddle")
    except NoPrefactor as reason:
        return reason, reason
    found: list[float | NoPrefactor] = []
    for name, image in zip(("start", "end"), bottoms(energies), strict=True):
        try:
            found.append(_vineyard(_at_minimum(hop.path[image], calculator, free, name), at_saddle))
        except NoPrefactor as reason:
            found.append(reason)
    return found[0], found[1]


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


def _vibrating(atoms: Atoms, ion: int) -> np.ndarray:
    """Numbers of all atoms but the one that is farthest from the ion."""
    distance = find_mic(atoms.positions - atoms.positions[ion], atoms.cell)[1]
    return np.delete(np.arange(len(atoms)), distance.argmax())


def _curvatures(atoms: Atoms, calculator: Calculator, free: np.ndarray) -> np.ndarray:
    """Eigenvalues (3n,) of the mass-weighted Hessian, ascending, eV/(Å² u): squared angular frequencies."""
    weight = np.repeat(atoms.get_masses()[free] ** -0.5, 3)
    return np.linalg.eigvalsh(hessian(atoms, calculator, free) * np.outer(weight, weight))


def _vineyard(at_minimum: np.ndarray, at_saddle: np.ndarray) -> float:
    """ν* in 1/s of the curvatures (3n,) of a minimum and of a saddle, whose first is negative."""
    log = (np.log(at_minimum).sum() - np.log(at_saddle[1:]).sum()) / 2
    return float(np.exp(log) * units.s / (2 * pi))


def _at_minimum(image: Atoms, calculator: Calculator, free: np.ndarray, name: str) -> np.ndarray:
    """Curvatures (3n,) where an image at the bottom of a path comes to rest."""
    atoms = image.copy()
    atoms.calc = calculator
    if not FIRE(atoms, logfile=None).run(fmax=STATIONARY_EV_PER_A, steps=MOST_STEPS):
        raise NoPrefactor(f"the {name} does not come to rest")
    curvatures = _curvatures(atoms, calculator, free)
    if curvatures[0] <= 0:
        raise NoPrefactor(f"{(curvatures <= 0).sum()} imaginary modes at the {name}")
    return curvatures


def _saddle(hop: Hop, top: int, calculator: Calculator, free: np.ndarray) -> Atoms:
    """The saddle next to the climbing image: uphill along one mode, downhill along all others.

    NEB leaves forces that move soft modes by a tenth of an Å; signs and sizes of their curvatures hang on that. Steps
    are Newton's on |curvatures|, the Hessian made anew after a quarter of them: C. J. Cerjan, W. H. Miller, J. Chem.
    Phys. 75, 2800 (1981). The mode to climb is, of those that go down on both sides, the one most along the path.
    """
    image = hop.path[top]
    atoms = image.copy()
    atoms.calc = calculator
    along = (hop.path[top + 1].positions - hop.path[top - 1].positions)[free].ravel()
    for _ in range(HESSIANS):
        values, vectors = np.linalg.eigh(hessian(atoms, calculator, free))
        down = max(1, int((values < 0).sum()))
        uphill = int(np.abs(vectors[:, :down].T @ along).argmax())
        stiffness = np.maximum(np.abs(values), SOFTEST_EV_PER_A2)
        stiffness[uphill] *= -1
        inverse = (vectors / stiffness) @ vectors.T
        for _ in range(MOST_STEPS // HESSIANS):
            forces = atoms.get_forces()[free]
            if np.linalg.norm(forces, axis=1).max() < STATIONARY_EV_PER_A:
                return atoms
            step = (inverse @ forces.ravel()).reshape(-1, 3)
            atoms.positions[free] += step * min(1.0, 0.1 / np.linalg.norm(step, axis=1).max())
            if np.linalg.norm(atoms.positions - image.positions, axis=1).max() > LONGEST_WAY_A:
                raise NoPrefactor(f"no saddle within {LONGEST_WAY_A} Å of the highest image")
    raise NoPrefactor("the search for the saddle does not converge")
