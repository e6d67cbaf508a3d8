"""Errors of predicted field gradients in the quantities that NMR measures, beside a zero and a mean model.

Angles: the z axis is compared where it is defined, that is at a DFT asymmetry below 0.9 (at η = 1, V_zz and V_yy
are equal in size and the axis is arbitrary). η is weighted by |V_zz|, for where the tensor is small its shape is noise.
"""

import numpy as np
import pandas as pd

from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tensors import asymmetry, axis_angle_deg, efg_principal, to_components

DEFINED_AXIS_ETA = 0.9


def parameters(tensors: np.ndarray, isotope: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """C_Q (kHz, signed; n), η (n) and z axes (n, 3) of field gradients (n, 3, 3) in atomic units."""
    values, axes = efg_principal(tensors)
    return (
        values[:, 2] * quadrupolar_nucleus(isotope).coupling_per_au * 1e-3,
        asymmetry(values),
        axes[:, :, 2],
    )


def metrics(
    truth: np.ndarray, model: np.ndarray, baseline_mean: np.ndarray, training: np.ndarray, isotope: str
) -> pd.DataFrame:
    """Table of errors: one row a quantity, columns quantity, unit, model, zero_model, mean_model.

    `truth`, `model` and `baseline_mean` (mean tensor of the training set that belongs to each atom) have shape
    (n, 3, 3); `training` (m, 3, 3) gives the mean |C_Q| and mean η that the mean model answers with. A model that
    cannot answer (an axis, from a zero tensor) gets an empty cell.
    """
    cq, eta, axis = parameters(truth, isotope)
    cq_model, eta_model, axis_model = parameters(model, isotope)
    cq_train, eta_train, _ = parameters(training, isotope)
    _, _, axis_mean = parameters(baseline_mean, isotope)
    true_components = to_components(truth)
    error = to_components(model) - true_components
    error_mean = to_components(baseline_mean) - true_components
    deviation = np.sqrt(np.mean(true_components**2))
    weight = np.abs(cq) / np.abs(cq).sum()
    defined = eta < DEFINED_AXIS_ETA
    mean_cq, mean_eta = np.abs(cq_train).mean(), eta_train.mean()
    angle = axis_angle_deg(axis, axis_model)[defined]
    angle_mean = axis_angle_deg(axis, axis_mean)[defined]
    flips = np.mean(np.sign(cq) != np.sign(cq_model))

    def relative(values):
        return 100 * np.sqrt(np.mean(values**2)) / deviation

    rows = [
        ("component MAE", "a.u.", np.abs(error).mean(), np.abs(true_components).mean(), np.abs(error_mean).mean()),
        ("component RMSE / RMS", "%", relative(error), 100.0, relative(error_mean)),
        ("|C_Q| MAE", "kHz", np.abs(np.abs(cq_model) - np.abs(cq)).mean(), np.abs(cq).mean(),
         np.abs(mean_cq - np.abs(cq)).mean()),
        ("eta MAE, weighted by |V_zz|", "1", (weight * np.abs(eta_model - eta)).sum(), (weight * eta).sum(),
         (weight * np.abs(mean_eta - eta)).sum()),
        (f"z axis, median angle (eta < {DEFINED_AXIS_ETA})", "deg", np.median(angle), np.nan, np.median(angle_mean)),
        ("sign of V_zz wrong", "%", 100 * flips, np.nan, 100 * min(np.mean(cq > 0), np.mean(cq < 0))),
        ("tensors", "1", len(truth), len(truth), len(truth)),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["quantity", "unit", "model", "zero_model", "mean_model"])
