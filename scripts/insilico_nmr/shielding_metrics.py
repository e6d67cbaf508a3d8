"""Errors of predicted shieldings, in ppm, in their irreducible parts and in the quantities that NMR measures.

Isotropic value; anisotropy Δ = σ_zz − (σ_xx + σ_yy)/2 and η = (σ_yy − σ_xx)/(σ_zz − σ_iso) in Haeberlen's order. At
η = 1 the anisotropy changes its sign and the z axis its place, so sizes |Δ| are compared, η is weighted by |Δ|, and the
axis is compared below η = 0.9.
"""

import numpy as np

from insilico_nmr.quantities import QUANTITIES
from insilico_nmr.tensor_metrics import DEFINED_AXIS_ETA
from insilico_nmr.tensors import axis_angle_deg, reduced_anisotropy, shielding_principal

TENSOR_ONLY = ("component_ppm", "antisymmetric_percent", "symmetric_percent", "z_axis_deg")


def parameters(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Isotropic value (...), anisotropy (..., signed), η (...) and z axes (..., 3) of shieldings (..., 3, 3)."""
    iso, values, axes = shielding_principal(tensors)
    zeta, eta = reduced_anisotropy(iso, values)
    return iso, 1.5 * zeta, eta, axes[..., 2]


def scalar_errors(truth: np.ndarray, iso: np.ndarray, anisotropy: np.ndarray, eta: np.ndarray) -> dict[str, float]:
    """Errors of predicted scalars (n) against the tensors (n, 3, 3); those not predicted are NaN."""
    true_iso, true_anisotropy, true_eta, _ = parameters(truth)
    weight = np.abs(true_anisotropy)
    return {
        "isotropic_ppm": np.abs(iso - true_iso).mean(),
        "anisotropy_ppm": np.abs(np.abs(anisotropy) - weight).mean(),
        "eta": np.average(np.abs(eta - true_eta), weights=weight),
    }


def tensor_errors(truth: np.ndarray, model: np.ndarray) -> dict[str, float]:
    """Errors of predicted tensors (n, 3, 3).

    Mean absolute error of the nine components and of what `scalar_errors` has; root-mean-square error of the parts that
    scalars do not know in per cent of their spread about their mean; median angle of the z axes, where the true one is
    defined.
    """
    contract = QUANTITIES["ms"]
    difference = model - truth
    iso, anisotropy, eta, axis = parameters(model)
    ends = np.cumsum(contract.sizes)[:-1]
    spreads, errors = (np.split(contract.components(tensors), ends, axis=1) for tensors in (truth, difference))
    percent = {
        f"{part}_percent": 100 * np.sqrt(np.mean(error**2) / np.mean((true - true.mean(axis=0)) ** 2))
        for part, error, true in zip(contract.parts, errors, spreads, strict=True)
        if part != "isotropic"
    }
    _, _, true_eta, true_axis = parameters(truth)
    defined = true_eta < DEFINED_AXIS_ETA
    angles = axis_angle_deg(axis, true_axis)[defined]
    return {
        "component_ppm": np.abs(difference).mean(),
        **scalar_errors(truth, iso, anisotropy, eta),
        **percent,
        "z_axis_deg": float(np.median(angles)) if len(angles) else np.nan,
    }
