"""Curves that a user measured, to be drawn beside predicted ones: spin-alignment echoes and static spectra.

Spectrometers give intensities in units of their own: a decay is divided by its value at its shortest mixing time, a
spectrum by its area.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError
from insilico_nmr.tables import read_table

ECHOES = ["temperature_K", "evolution_time_us", "mixing_time_s", "S2"]
SPECTRA = ["temperature_K", "frequency_kHz", "intensity"]


def _read(path: Path, columns: list[str], positive: list[str]) -> pd.DataFrame:
    table = read_table(path, columns)
    for name in columns:
        wrong = table[name].isna() | ((table[name] <= 0) if name in positive else False)
        if wrong.any():
            expected = "a positive number" if name in positive else "a number"
            raise InputError(f"{path}: row {int(wrong.argmax()) + 2} has {name} = {table[name][wrong.argmax()]:g}; "
                             f"expected {expected}")  # fmt: skip
    return table


def read_echoes(path: Path) -> pd.DataFrame:
    """Decays in ascending mixing time, with the column `normalised`: S2 over that of the shortest mixing time.

    Raises InputError for a missing column, a cell that is no number, a temperature or time that is not positive, and
    for a decay that does not begin with a positive signal.
    """
    table = _read(path, ECHOES, ECHOES[:3]).sort_values("mixing_time_s")
    start = table.groupby(ECHOES[:2])["S2"].transform("first")
    if (start <= 0).any():
        row = table[start <= 0].iloc[0]
        raise InputError(
            f"{path}: the decay at {row['temperature_K']:g} K and t_p = {row['evolution_time_us']:g} µs begins with "
            f"S2 = {start[row.name]:g}; expected a positive signal at its shortest mixing time"
        )
    return table.assign(normalised=table["S2"] / start)


def read_spectra(path: Path) -> pd.DataFrame:
    """Spectra in ascending frequency, with the column `per_kHz`: intensity over the area of the spectrum.

    Raises InputError for a missing column, a cell that is no number, a temperature that is not positive, and for a
    spectrum without a positive area.
    """
    table = _read(path, SPECTRA, SPECTRA[:1]).sort_values(["temperature_K", "frequency_kHz"], ignore_index=True)
    table["per_kHz"] = np.nan
    for temperature, rows in table.groupby("temperature_K"):
        area = np.trapezoid(rows["intensity"], rows["frequency_kHz"])
        if not area > 0:
            raise InputError(
                f"{path}: the spectrum at {temperature:g} K has the area {area:g}; expected a positive one"
            )
        table.loc[rows.index, "per_kHz"] = rows["intensity"] / area
    return table
