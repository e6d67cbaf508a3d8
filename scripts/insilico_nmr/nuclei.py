"""Spins, quadrupole moments and gyromagnetic ratios, from one table (resources/nuclei.csv).

Quadrupole moments: P. Pyykkö, Mol. Phys. 116, 1328 (2018). Spins and gyromagnetic ratios: R. K. Harris et al.,
Pure Appl. Chem. 80, 59 (2008).
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
    """A nuclide. `quadrupole_moment` in m², `gamma` in rad/(T s)."""

    isotope: str
    element: str
    spin: float
    quadrupole_moment: float
    gamma: float

    @property
    def coupling_per_au(self) -> float:
        """C_Q / V_zz in Hz per atomic unit of field gradient, eQ/h; negative where Q is."""
        return constants.e * self.quadrupole_moment * EFG_AU_IN_V_PER_M2 / constants.h


@cache
def nucleus(isotope: str) -> Nucleus:
    """Look an isotope up by a name such as "7Li". Raises InputError for an unknown one."""
    table = pd.read_csv(TABLE, index_col="isotope")
    if isotope not in table.index:
        raise InputError(f"unknown isotope {isotope!r}; {TABLE.name} has {', '.join(table.index)}")
    row = table.loc[isotope]
    return Nucleus(isotope, row["element"], row["spin"], row["Q_mb"] * MILLIBARN_M2, row["gamma_1e7_rad_per_T_s"] * 1e7)


def quadrupolar_nucleus(isotope: str) -> Nucleus:
    """Like `nucleus`, but raises InputError where the isotope has no quadrupole moment (spin below 1)."""
    found = nucleus(isotope)
    if found.spin < 1 or found.quadrupole_moment == 0:
        raise InputError(f"{isotope} has spin {found.spin:g} and no quadrupole moment: no field gradient acts on it")
    return found
