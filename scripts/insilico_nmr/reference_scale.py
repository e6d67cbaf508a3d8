"""The reference scale of field gradients: measured couplings against those of DFT, |C_Q(measured)| = a·|C_Q(DFT)|.

A NMR experiment in a powder gives no sign, so magnitudes are compared. With the true quadrupole moment, exact DFT and
ions at rest a would be 1. What differs between sites is the error of DFT and of the structure, which grows with the
coupling: a relative scatter s beside each measurement's own uncertainty u, var(y) = u² + (s a x)², by the predicted
and not by the measured coupling, lest sites that came out low weigh more. It is chosen so that χ² equals its
expectation (random effects: R. DerSimonian, N. Laird, Control. Clin. Trials 7, 177 (1986)). Since that makes every site
fit, outliers are looked for by leaving each site out of the fit that judges it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from scipy import stats
from scipy.optimize import brentq

from insilico_nmr import dataset
from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tables import read_table
from insilico_nmr.tensors import asymmetry, efg_principal

NUMBERS = ["coupling_kHz", "coupling_uncertainty_kHz", "eta", "eta_uncertainty", "temperature_K"]
TEXTS = [
    "compound",
    "site",
    "isotope",
    "reference",
    "confirmed",
    "structure_file",
    "not_fitted",
    "outlier_reason",
    "note",
]
SITES_FOR_A_MOMENT = 4  # of one nucleus, for a slope of its own
OUTLIER = 0.01  # chance of a deviation as large or larger


@dataclass(frozen=True)
class Scale:
    """Slope a with standard error and 95 % interval, relative scatter s of a site, number of sites, RMSE in kHz.

    `intercept_kHz` with its error is that of a line not forced through the origin: a diagnostic, not used.
    """

    slope: float
    slope_se: float
    ci_low: float
    ci_high: float
    scatter: float
    sites: int
    rmse_kHz: float
    intercept_kHz: float
    intercept_se_kHz: float

    def relative_error(self) -> float:
        """Relative standard deviation of the coupling of a site that is not in the fit, predicted as a·|C_Q(DFT)|."""
        return float(np.hypot(self.scatter, self.slope_se / self.slope))

    def half_width(self) -> float:
        """Relative half width of the 95 % interval of such a coupling, by Student's t for n − 1 degrees of freedom."""
        return float(stats.t.ppf(0.975, self.sites - 1)) * self.relative_error()

    @property
    def content(self) -> dict[str, float]:
        """For a JSON file."""
        return asdict(self) | {"relative_error": self.relative_error(), "relative_half_width_95": self.half_width()}


def fit_scale(dft_kHz: np.ndarray, measured_kHz: np.ndarray, uncertainty_kHz: np.ndarray) -> Scale:
    """Line through the origin; arrays of shape (n,), all positive. Raises InputError for fewer than three sites."""
    x, y, u = (np.asarray(values, dtype=float) for values in (dft_kHz, measured_kHz, uncertainty_kHz))
    if not x.shape == y.shape == u.shape or x.ndim != 1 or len(x) < 3:
        raise InputError(f"reference scale: {len(x)} sites; a slope with an interval needs three or more")
    if not all(np.isfinite(values).all() and (values > 0).all() for values in (x, y, u)):
        raise InputError("reference scale: couplings and uncertainties must be finite and positive")

    def variance(scatter: float) -> np.ndarray:  # scatter in units of x here
        return u**2 + (scatter * x) ** 2

    def slope_at(scatter: float) -> float:
        weight = 1 / variance(scatter)
        return float((weight * x * y).sum() / (weight * x**2).sum())

    def excess(scatter: float) -> float:
        return float(((y - slope_at(scatter) * x) ** 2 / variance(scatter)).sum() - (len(x) - 1))

    scatter = float(brentq(excess, 0.0, 10.0)) if excess(0.0) > 0 else 0.0
    weight, slope = 1 / variance(scatter), slope_at(scatter)
    error = float(1 / np.sqrt((weight * x**2).sum()))
    half = stats.t.ppf(0.975, len(x) - 1) * error
    design = np.stack([x, np.ones_like(x)], axis=1)
    covariance = np.linalg.inv((design * weight[:, None]).T @ design)
    _, intercept = covariance @ design.T @ (weight * y)
    rmse = float(np.sqrt(np.mean((y - slope * x) ** 2)))
    intercept_se = float(np.sqrt(covariance[1, 1]))
    return Scale(
        slope, error, slope - half, slope + half, scatter / slope, len(x), rmse, float(intercept), intercept_se
    )


def read_sites(path: str | Path) -> pd.DataFrame:
    """Measured couplings: NUMBERS and TEXTS. Raises InputError naming the row of a coupling that is not positive, an
    isotope without a quadrupole moment, or a site listed twice."""
    table = read_table(path, NUMBERS, TEXTS)
    for number, row in table.iterrows():
        where = f"{path}, row {number + 2} ({row['compound']} {row['site']})"
        if not (row["coupling_kHz"] > 0 and row["coupling_uncertainty_kHz"] > 0):
            raise InputError(f"{where}: coupling and uncertainty must be positive")
        if row["confirmed"] not in ("yes", "no"):
            raise InputError(f"{where}: confirmed is {row['confirmed']!r}; expected yes or no")
        quadrupolar_nucleus(row["isotope"])
    twice = table.duplicated(["compound", "site", "isotope"])
    if twice.any():
        raise InputError(
            f"{path}: {table['compound'][twice].iloc[0]} {table['site'][twice].iloc[0]} stands there twice"
        )
    return table


def couplings(atoms: Atoms, site: str, isotope: str) -> tuple[float, float, float]:
    """V_zz (a.u.), |C_Q| (kHz) and η of a crystal site, the mean tensor's over its equivalent atoms' principal values.

    `atoms` carries the array "site" with the label of each atom. Raises InputError where no atom has it, and where
    atoms that the crystal makes equal differ by more than 2 % of |V_zz|: then the labels are no crystal's.
    """
    chosen = atoms.arrays["site"] == site
    if not chosen.any():
        raise InputError(
            f"{atoms.info['material']}: no atom of site {site}; it has {sorted(set(atoms.arrays['site']))}"
        )
    principal, _ = efg_principal(dataset.efg(atoms)[chosen])
    spread = np.ptp(principal, axis=0).max()
    mean = principal.mean(axis=0)
    if spread > 0.02 * abs(mean[2]):
        raise InputError(
            f"{atoms.info['material']}, site {site}: principal values of equivalent atoms differ by {spread:.2g} a.u."
        )
    coupling_kHz = abs(quadrupolar_nucleus(isotope).coupling_per_au * mean[2]) / 1e3
    return float(mean[2]), float(coupling_kHz), float(asymmetry(mean))


def compare(sites: pd.DataFrame, crystals: list[Atoms]) -> pd.DataFrame:
    """One row for each measured site and each geometry of its crystal that has labels, with DFT beside measurement.

    `used` is 1 for the rows that may enter a fit: confirmed, and nothing stands in `not_fitted`.
    """
    rows = []
    for _, site in sites.iterrows():
        for atoms in crystals:
            if atoms.info["material"] != site["compound"]:
                continue
            label = site["site"].split()[0]
            vzz, coupling, eta = couplings(atoms, label, site["isotope"])
            rows.append(
                {
                    **{name: site[name] for name in ("compound", "site", "isotope")},
                    "geometry": atoms.info["geometry"],
                    "V_zz_au": vzz,
                    "C_Q_dft_kHz": coupling,
                    "eta_dft": eta,
                    "C_Q_measured_kHz": site["coupling_kHz"],
                    "C_Q_uncertainty_kHz": site["coupling_uncertainty_kHz"],
                    "eta_measured": site["eta"],
                    "confirmed": int(site["confirmed"] == "yes"),
                    "used": int(site["confirmed"] == "yes" and not site["not_fitted"]),
                    "not_fitted": site["not_fitted"],
                    "outlier_reason": site["outlier_reason"],
                }
            )
    if not rows:
        raise InputError("reference scale: none of the crystals belongs to a measured site")
    return pd.DataFrame(rows)


def scale_of(rows: pd.DataFrame) -> Scale:
    """Fit of the rows of `compare` that may enter it."""
    used = rows[rows["used"] == 1]
    return fit_scale(used["C_Q_dft_kHz"], used["C_Q_measured_kHz"], used["C_Q_uncertainty_kHz"])


def deviations(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each row of one geometry: `deviation`, (measured − a·DFT) over its expected deviation, and `outlier`, 0 or 1.

    A site in the fit is judged by the fit of the others. The expected deviation holds the measurement's uncertainty,
    the scatter and the error of the slope; a deviation is an outlier where Student's t makes one as large less likely
    than OUTLIER.
    """
    found = []
    for index, row in rows.iterrows():
        scale = scale_of(rows.drop(index)) if (rows["used"] == 1).sum() > 3 or not row["used"] else scale_of(rows)
        predicted = scale.slope * row["C_Q_dft_kHz"]
        expected = np.hypot(row["C_Q_uncertainty_kHz"], scale.relative_error() * predicted)
        deviation = (row["C_Q_measured_kHz"] - predicted) / expected
        chance = 2 * stats.t.sf(abs(deviation), scale.sites - 1)
        found.append({"deviation": deviation, "outlier": int(chance < OUTLIER)})
    return pd.DataFrame(found, index=rows.index)
