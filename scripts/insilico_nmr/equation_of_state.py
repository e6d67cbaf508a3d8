"""Equation of state: energy against volume of isotropically strained cells, after F. Birch, Phys. Rev. 71, 809 (1947).

Third order in his strain is a polynomial of third degree in V^(−2/3), so that the fit is linear. Energies and volumes
are those of one cell or of one atom, whichever the caller uses throughout; the bulk modulus is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from scipy.constants import elementary_charge

from insilico_nmr.errors import InputError

FEWEST = 5  # volumes: a fit of four parameters to four says nothing
GPA = 1e-21 / elementary_charge  # eV/Å³


@dataclass(frozen=True)
class EquationOfState:
    """Energy (eV) as a polynomial in x = (V/V_ref)^(−2/3), and its minimum.

    Attributes
    ----------
    polynomial : energy in eV of x.
    reference_A3 : V_ref.
    volume_A3 : volume of least energy.
    """

    polynomial: Polynomial
    reference_A3: float
    volume_A3: float

    def energy_eV(self, volumes_A3: np.ndarray) -> np.ndarray:
        """Energy at these volumes (any shape)."""
        return self.polynomial((np.asarray(volumes_A3, float) / self.reference_A3) ** (-2 / 3))

    def pressure_GPa(self, volumes_A3: np.ndarray) -> np.ndarray:
        """Pressure −dE/dV at these volumes (any shape)."""
        volumes = np.asarray(volumes_A3, float)
        x = (volumes / self.reference_A3) ** (-2 / 3)
        return 2 * x / (3 * volumes) * self.polynomial.deriv()(x) / GPA

    @property
    def bulk_modulus_GPa(self) -> float:
        """V d²E/dV² at the minimum."""
        x = (self.volume_A3 / self.reference_A3) ** (-2 / 3)
        return float(4 * x**2 / (9 * self.volume_A3) * self.polynomial.deriv(2)(x) / GPA)


def fit_equation_of_state(volumes_A3: Sequence[float], energies_eV: Sequence[float], where: str) -> EquationOfState:
    """Third-order equation of energies (n,), eV, at volumes (n,), Å³; `where` names them in messages.

    Raises InputError for fewer than five different volumes, and where the minimum does not lie within the volumes: its
    place and its curvature would be extrapolated.
    """
    volumes, energies = np.asarray(volumes_A3, float), np.asarray(energies_eV, float)
    distinct = len(np.unique(volumes.round(6)))
    if distinct < FEWEST:
        raise InputError(f"{where}: {distinct} volumes; an equation of state needs {FEWEST} different ones")
    reference = float(volumes.mean())
    x = (volumes / reference) ** (-2 / 3)
    polynomial = Polynomial.fit(x, energies, 3)
    slope = polynomial.deriv()
    turns = slope.roots()
    turns = turns[np.isreal(turns)].real
    inside = turns[(turns > x.min()) & (turns < x.max()) & (slope.deriv()(turns) > 0)]
    if len(inside) == 0:
        raise InputError(
            f"{where}: no minimum of the energy between {volumes.min():.4g} and {volumes.max():.4g} Å³ (the lowest is "
            f"at {volumes[energies.argmin()]:.4g} Å³); expected volumes on both sides of it"
        )
    return EquationOfState(polynomial, reference, float(reference * inside[0] ** -1.5))
