"""Curves that a user measured, to be drawn beside predicted ones: spin-alignment echoes and static spectra.

Spectrometers give intensities in units of their own: a decay is divided by its value at its shortest mixing time, a
spectrum by its area.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError
from insilico_nmr.fits import FitFailed, fit_measured_decay
from insilico_nmr.tables import read_table

ECHOES = ["temperature_K", "evolution_time_us", "mixing_time_s", "S2"]
SPECTRA = ["temperature_K", "frequency_kHz", "intensity"]
# Of fitted decays, t1q_s fitted or, without a standard error, held; plateau_ratio is the part of S2(t_m → 0).
FITTED = ["temperature_K", "evolution_time_us", "points", "rate_per_s", "rate_ci_low_per_s", "rate_ci_high_per_s"]
FITTED += ["tau_s", "tau_se_s", "beta", "beta_se", "amplitude", "plateau", "plateau_ratio", "plateau_ratio_se"]
FITTED += ["slow_amplitude", "slow_tau_s", "t1q_s", "t1q_se_s"]
DIGITS = 6  # after the point, of temperatures and evolution times: by these, tables of decays and of fits are joined


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

    Points of one mixing time are averaged. Raises InputError for a missing column, a cell that is no number, a
    temperature or time that is not positive, and for a decay that does not begin with a positive signal.
    """
    table = _read(path, ECHOES, ECHOES[:3])
    table[ECHOES[:2]] = table[ECHOES[:2]].round(DIGITS)
    table = table.groupby(ECHOES[:3], as_index=False)["S2"].mean()
    start = table.groupby(ECHOES[:2])["S2"].transform("first")
    if (start <= 0).any():
        row = table[start <= 0].iloc[0]
        raise InputError(
            f"{path}: the decay at {row['temperature_K']:g} K and t_p = {row['evolution_time_us']:g} µs begins with "
            f"S2 = {start[row.name]:g}; expected a positive signal at its shortest mixing time"
        )
    return table.assign(normalised=table["S2"] / start)


def fit_echoes(decays: pd.DataFrame, t1q_s: float | None = None) -> pd.DataFrame:
    """Fits (`fits.fit_measured_decay`) of decays as `read_echoes` has them: columns FITTED and `status`, one row each.

    `status` is "ok", or why there is no fit and where it stopped; then there is no number but that of the points.
    """
    rows = []
    for (temperature, evolution_us), decay in decays.groupby(ECHOES[:2]):
        row = {"temperature_K": temperature, "evolution_time_us": evolution_us, "points": len(decay)}
        try:
            fit = fit_measured_decay(decay["mixing_time_s"].to_numpy(), decay["normalised"].to_numpy(), t1q_s)
        except (FitFailed, InputError) as error:
            rows.append(row | {"status": str(error)})
            continue
        low, high = fit.rate_interval_per_s
        ratio, ratio_se = fit.plateau_ratio
        row |= {"rate_per_s": 1 / fit.tau_s, "rate_ci_low_per_s": low, "rate_ci_high_per_s": high}
        row |= {"plateau_ratio": ratio, "plateau_ratio_se": ratio_se, "status": "ok"}
        if t1q_s is not None:
            row |= {"t1q_s": t1q_s, "t1q_se_s": np.nan}
        rows.append(row | {name: getattr(fit, name) for name in FITTED if name not in row})
    return pd.DataFrame(rows, columns=[*FITTED, "status"])


def read_echo_fits(path: Path) -> pd.DataFrame:
    """Table of `fit_echoes`. Raises InputError for a missing column or a cell that is no number."""
    table = read_table(path, FITTED, ["status"])
    table[ECHOES[:2]] = table[ECHOES[:2]].round(DIGITS)
    return table


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
