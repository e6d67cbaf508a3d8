"""Spins, quadrupole moments, gyromagnetic ratios and abundances, from one table (resources/nuclei.csv).

Quadrupole moments: P. Pyykkö, Mol. Phys. 116, 1328 (2018). Spins, gyromagnetic ratios and natural abundances: R. K.
Harris et al., Pure Appl. Chem. 80, 59 (2008).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from scipy import constants

from insilico_nmr.errors import InputError

TABLE = Path(__file__).parents[2] / "resources" / "nuclei.csv"
# Atomic unit of the electric field gradient, V/m².
EFG_AU_IN_V_PER_M2 = constants.physical_constants["atomic unit of electric field gradient"][0]
MILLIBARN_M2 = 1e-31


@dataclass(frozen=True)
class Nucleus:
    """A nuclide. `quadrupole_moment` in m², `gamma` in rad/(T s), natural `abundance` between 0 and 1."""

    isotope: str
    element: str
    spin: float
    quadrupole_moment: float
    gamma: float
    abundance: float

    @property
    def coupling_per_au(self) -> float:
        """C_Q / V_zz in Hz per atomic unit of field gradient, eQ/h; negative where Q is."""
        return constants.e * self.quadrupole_moment * EFG_AU_IN_V_PER_M2 / constants.h


@cache
def _all() -> dict[str, Nucleus]:
    return {
        row.isotope: Nucleus(
            row.isotope,
            row.element,
            row.spin,
            row.Q_mb * MILLIBARN_M2,
            row.gamma_1e7_rad_per_T_s * 1e7,
            row.abundance_percent / 100,
        )
        for row in pd.read_csv(TABLE).itertuples()
    }


def nucleus(isotope: str) -> Nucleus:
    """Look an isotope up by a name such as "7Li". Raises InputError for an unknown one."""
    if isotope not in _all():
        raise InputError(f"unknown isotope {isotope!r}; {TABLE.name} has {', '.join(_all())}")
    return _all()[isotope]


def isotopes(element: str) -> list[Nucleus]:
    """Isotopes of an element that the table has: those with a spin."""
    return [nucleus for nucleus in _all().values() if nucleus.element == element]


def check_element(isotope: str, element: str | None) -> None:
    """Raise InputError unless the isotope is of the element that moves."""
    if nucleus(isotope).element != element:
        raise InputError(f"--isotope is {isotope}, which is no isotope of what moves, {element}")


def quadrupolar_nucleus(isotope: str) -> Nucleus:
    """Like `nucleus`, but raises InputError where the isotope has no quadrupole moment (spin below 1)."""
    found = nucleus(isotope)
    if found.spin < 1 or found.quadrupole_moment == 0:
        raise InputError(f"{isotope} has spin {found.spin:g} and no quadrupole moment: no field gradient acts on it")
    return found
