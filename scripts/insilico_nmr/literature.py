"""Measured values: the literature table, brought to the units of the study."""

import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import constants

from insilico_nmr.errors import InputError, naming
from insilico_nmr.nuclei import nucleus
from insilico_nmr.significant_figures import last_digit, shown, significant_digits
from insilico_nmr.tables import read_table

KILOJOULE_PER_MOL_IN_EV = 1e3 / (constants.N_A * constants.e)
# Unit of the study for each kind of value, and what multiplies a measured number to bring it there.
UNITS = {
    "eV": {"eV": 1.0, "meV": 1e-3, "kJ/mol": KILOJOULE_PER_MOL_IN_EV, "kcal/mol": 4.184 * KILOJOULE_PER_MOL_IN_EV},
    "m2/s": {"m2/s": 1.0, "cm2/s": 1e-4},
    "1/s": {"1/s": 1.0, "s^-1": 1.0, "1/ms": 1e3, "1/us": 1e6},
    "S/cm": {"S/cm": 1.0, "mS/cm": 1e-3, "S/m": 1e-2},
    "kHz": {"kHz": 1.0, "Hz": 1e-3, "MHz": 1e3},
    "1e21 V/m2": {"1e21 V/m2": 1.0},
    "K": {"K": 1.0},
}
# Quantities that are laid beside predictions, with their unit.
PREDICTED = {
    "abs_CQ": "kHz",
    "activation_energy": "eV",
    "diffusion_coefficient": "m2/s",
    "jump_rate": "1/s",
    "attempt_frequency": "1/s",
    "ionic_conductivity": "S/cm",
}
# Quantities that the table may hold as well; the first two are drawn beside line widths and relaxation rates.
RECORDED = {
    "central_line_width": "kHz",
    "spin_lattice_relaxation_rate": "1/s",
    "abs_Vzz": "1e21 V/m2",
    "interlayer_diffusion_coefficient": "m2/s",
    "narrowing_onset_temperature": "K",
}
UNIT_OF = PREDICTED | RECORDED
OF_A_NUCLEUS = ("abs_CQ", "central_line_width", "spin_lattice_relaxation_rate")
DRAWN = tuple(name for name in PREDICTED if name != "abs_CQ")  # by figures of rates and of diffusion
LITERATURE = ["material", "phase", "nucleus", "quantity", "value", "uncertainty", "unit", "temperature_K", "method"]
LITERATURE += ["reference", "note"]
UNCONFIRMED = "to be confirmed"  # in a note: a value that nothing is to be concluded from
MEASURED = ["quantity", "nucleus", "temperature_K", "value", "uncertainty", "unit", "method", "reference"]
MEASURED += ["value_text", "uncertainty_text", "given", "note", "confirmed"]


def convert(value: float, unit: str, quantity: str) -> float:
    """A measured number in the study's unit of `quantity`. Raises InputError for a unit that is not known for it."""
    known = UNITS[UNIT_OF[quantity]]
    if unit not in known:
        raise InputError(f"{quantity} in {unit!r}: expected {', '.join(known)}")
    return value * known[unit]


def read_literature(
    path: Path, material: str, phase: str, quantities: Collection[str] = tuple(PREDICTED)
) -> pd.DataFrame:
    """Measured values of one material and phase in the study's units: of `quantities`, those it predicts if not given.

    Columns quantity, nucleus, temperature_K, value, uncertainty (stated, or half a unit of the last digit), unit,
    method, reference, value_text and uncertainty_text (as given where the unit is the study's, "" where none is
    stated), given (number and unit of the source), note, confirmed (False where the note says "to be confirmed"). An
    empty table where there are none. Raises InputError naming the row: of all rows for a quantity or a unit that nobody
    knows, of those asked for for numbers too.
    """
    table = read_table(path, [], LITERATURE)
    rows = []
    for number, row in zip(table.index + 2, table.to_dict("records"), strict=True):
        if row["quantity"] not in UNIT_OF:
            known = ", ".join(UNIT_OF)
            raise InputError(f"{path}: row {number}: no quantity {row['quantity']!r}; expected one of {known}")
        unit = UNIT_OF[row["quantity"]]
        with naming(f"{path}: row {number}"):
            factor = convert(1.0, row["unit"], row["quantity"])
        if (row["material"], row["phase"]) != (material, phase) or row["quantity"] not in quantities:
            continue
        try:
            value, stated = float(row["value"]), float(row["uncertainty"] or "nan")
            temperature = float(row["temperature_K"] or "nan")
            if row["nucleus"]:
                nucleus(row["nucleus"])
        except ValueError as error:
            raise InputError(f"{path}: row {number}: {error}") from None
        endless = np.isinf([value, stated, temperature]).any()
        if endless or not value > 0 or stated < 0 or temperature <= 0:
            raise InputError(f"{path}: row {number} has value {row['value']}, uncertainty {row['uncertainty']}, "
                             f"temperature_K {row['temperature_K']}: expected positive numbers")  # fmt: skip
        same, digits = factor == 1.0, significant_digits(row["value"])
        rows.append(
            {
                "quantity": row["quantity"],
                "nucleus": row["nucleus"],
                "temperature_K": temperature,
                "value": value * factor,
                "uncertainty": (last_digit(row["value"]) / 2 if np.isnan(stated) else stated) * factor,
                "unit": unit,
                "method": row["method"],
                "reference": row["reference"],
                "value_text": row["value"] if same else shown(value * factor, digits),
                "uncertainty_text": row["uncertainty"]
                if same or not row["uncertainty"]
                else shown(stated * factor, significant_digits(row["uncertainty"])),
                "given": f"{row['value']} {row['unit']}",
                "note": row["note"],
                "confirmed": UNCONFIRMED not in row["note"].lower(),
            }
        )
    return pd.DataFrame(rows, columns=MEASURED)


def of_isotope(table: pd.DataFrame, isotope: str) -> pd.DataFrame:
    """Measured values without those that are another nucleus's, such as its couplings, which are named on stderr."""
    others = table["quantity"].isin(OF_A_NUCLEUS) & ~table["nucleus"].isin([isotope, ""])
    for (quantity, other), rows in table[others].groupby(["quantity", "nucleus"]):
        print(f"{len(rows)} measured {quantity} of {other} left out: not of {isotope}", file=sys.stderr)
    return table[~others]


def for_figure(
    path: Path | None, material: str, phase: str, quantities: Collection[str] = DRAWN, isotope: str | None = None
) -> pd.DataFrame:
    """Measured values to draw, of `isotope` where they are a nucleus's: none where no table is given; stderr where it
    has none. Raises InputError where an isotope is needed and there is none."""
    if path is None:
        return pd.DataFrame(columns=MEASURED)
    if isotope is None and set(quantities) & set(OF_A_NUCLEUS):
        raise InputError(f"--literature needs --isotope: {', '.join(quantities)} are one nucleus's")
    found = read_literature(path, material, phase, quantities)
    if isotope is not None:
        found = of_isotope(found, isotope)
    if found.empty:
        print(f"{path}: no value of {material} {phase}: drawn without", file=sys.stderr)
    return found
