"""What NMR reads from the tensors of the sites, with the errors of committee and sampling: one row a site.

Errors are kept apart: `sd_model`, the standard deviation over the committee's members, `se_sampling`, that over the
replicates of the mean (site_tensors.py), both widened for so few, and of C_Q, `sd_dft`, that of
DFT from experiment. Intervals hold the first two: 95 %, 1.96 times the root of the sum of squares. The sign of C_Q is
that of V_zz, which is arbitrary where η is near 1: errors are those of its size, and `same_sign` is the part of members
and replicates that have the mean's sign.
"""

import numpy as np
import pandas as pd

from insilico_nmr.few_values import error_of_sets, widening
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.site_spins import SiteSpins
from insilico_nmr.tensors import (
    anisotropy_and_span,
    asymmetry,
    axis_angle_deg,
    efg_principal,
    euler_angles,
    shielding_principal,
)


def site_table(sites: dict, spins: SiteSpins, nucleus: Nucleus) -> pd.DataFrame:
    """Rows of the sites (content of a sites.json) in their order.

    Position (fractional and Å), `population` (part of all mobile ions) and `occupancy` (ions on the site, where
    sites.json has the concentration), C_Q with its sign, η, Euler angles (tensors.py), and of shieldings σ_iso,
    anisotropy, span and angles. `z_axis_…_deg`: root-mean-square angle of the principal z axis away from the mean's
    (the whole frame's would say nothing where η is near 0).
    """
    places = np.array([site["position"] for site in sites["sites"]], float)
    cartesian = places @ np.array(sites["cell"], float)
    table = pd.DataFrame(
        {
            "site": [site["index"] for site in sites["sites"]],
            "orbit": [site["orbit"] for site in sites["sites"]],
            **{f"frac_{name}": places[:, axis] for axis, name in enumerate("abc")},
            **{f"{name}_A": cartesian[:, axis] for axis, name in enumerate("xyz")},
            "population": spins.populations,
            "occupancy": occupancies(sites, spins),
        }
    )
    values, axes = efg_principal(spins.tensors.mean)
    to_kHz = nucleus.coupling_per_au / 1e3
    # Of axial tensors rounding leaves an η of 1e-16.
    coupling, eta, angles = to_kHz * values[:, 2], asymmetry(values).round(9), euler_angles(axes)
    errors = {"C_Q": {}, "eta": {}, "z_axis": {}}
    signs = []
    for error, tensors in (("sd_model", spins.tensors.members), ("se_sampling", spins.tensors.samples)):
        others, frames = efg_principal(tensors)
        errors["C_Q"][error] = error_of_sets(error, np.abs(to_kHz * others[..., 2]))
        errors["eta"][error] = error_of_sets(error, asymmetry(others).round(9))
        away = axis_angle_deg(frames[..., 2], axes[..., 2])
        few = len(away) < 2
        rms = np.full(len(axes), np.nan) if few else np.sqrt((away**2).sum(0) / (len(away) - 1)) * widening(len(away))
        errors["z_axis"][error] = rms
        signs.append(np.sign(others[..., 2]) == np.sign(values[:, 2]))
    table["C_Q_kHz"] = coupling
    _add_errors(table, "C_Q", errors["C_Q"], "_kHz", coupling, -np.inf, np.inf)
    table["C_Q_sd_dft_kHz"] = spins.tensors.dft_error * np.abs(coupling) if spins.tensors.dft_error else np.nan
    agree = np.concatenate(signs)
    table["same_sign"] = agree.mean(axis=0) if len(agree) else np.nan
    table["eta"] = eta
    _add_errors(table, "eta", errors["eta"], "", eta, 0.0, 1.0)
    for column, name in enumerate(("alpha", "beta", "gamma")):
        table[f"efg_{name}_deg"] = angles[:, column]
    for error, deviation in errors["z_axis"].items():
        table[f"z_axis_{error}_deg"] = deviation
    if spins.shieldings is not None:
        iso, sigma, frame = shielding_principal(spins.shieldings)
        turns = euler_angles(frame)
        table["sigma_iso_ppm"] = iso
        of_sets = {"sd_model": spins.shielding_members, "se_sampling": spins.shielding_samples}
        deviations = {
            error: error_of_sets(error, np.trace(some, axis1=-2, axis2=-1) / 3) for error, some in of_sets.items()
        }
        _add_errors(table, "sigma_iso", deviations, "_ppm", iso, -np.inf, np.inf)
        table["sigma_anisotropy_ppm"], table["sigma_span_ppm"] = anisotropy_and_span(sigma)
        for column, name in enumerate(("alpha", "beta", "gamma")):
            table[f"ms_{name}_deg"] = turns[:, column]
    return table


def occupancies(sites: dict, spins: SiteSpins) -> np.ndarray:
    """Mean number of ions on each site, (S,); NaN where sites.json has no concentration."""
    return spins.populations * len(sites["sites"]) * sites.get("concentration", np.nan)


def _add_errors(
    table: pd.DataFrame, name: str, errors: dict, unit: str, values: np.ndarray, low: float, high: float
) -> None:
    """Columns of both errors and of the interval, cut at `low` and `high`."""
    for error, deviation in errors.items():
        table[f"{name}_{error}{unit}"] = deviation
    known = np.array([np.broadcast_to(deviation, len(values)) for deviation in errors.values()])
    half = np.where(np.isnan(known).all(axis=0), np.nan, 1.96 * np.sqrt(np.nansum(known**2, axis=0)))
    table[f"{name}_ci_low{unit}"] = np.clip(values - half, low, high)
    table[f"{name}_ci_high{unit}"] = np.clip(values + half, low, high)
