"""Errors of predicted field gradients in the quantities that NMR measures, beside a zero and a mean model.

Angles: the z axis is compared where it is defined, that is at a DFT asymmetry below 0.9 (at η = 1, V_zz and V_yy
are equal in size and the axis is arbitrary). η is weighted by |V_zz|, for where the tensor is small its shape is noise.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class MeanModel:
    """What a model answers that knows the mean of its training set only, for each of n atoms.

    `tensor` (n, 3, 3) in atomic units, `coupling_kHz` (n, mean |C_Q|), `eta` (n).
    """

    tensor: np.ndarray
    coupling_kHz: np.ndarray
    eta: np.ndarray

    @staticmethod
    def of_folds(folds: list[tuple[np.ndarray, int]], isotope: str) -> "MeanModel":
        """From one pair a fold: the tensors (m, 3, 3) it was trained on, and how many atoms it answers for."""
        answers = []
        for training, count in folds:
            coupling, eta, _ = parameters(training, isotope)
            mean = training.mean(axis=0), np.abs(coupling).mean(), eta.mean()
            answers.append([np.broadcast_to(value, (count, *np.shape(value))) for value in mean])
        return MeanModel(*map(np.concatenate, zip(*answers, strict=True)))


def metrics(truth: np.ndarray, model: np.ndarray, mean: MeanModel, isotope: str) -> pd.DataFrame:
    """Table of errors: one row a quantity, columns quantity, unit, model, zero_model, mean_model.

    `truth` and `model` have shape (n, 3, 3). A model that cannot answer (an axis, from a zero tensor) gets an empty
    cell.
    """
    cq, eta, axis = parameters(truth, isotope)
    cq_model, eta_model, axis_model = parameters(model, isotope)
    _, _, axis_mean = parameters(mean.tensor, isotope)
    true_components = to_components(truth)
    error = to_components(model) - true_components
    error_mean = to_components(mean.tensor) - true_components
    deviation = np.sqrt(np.mean(true_components**2))
    weight = np.abs(cq) / np.abs(cq).sum()
    defined = eta < DEFINED_AXIS_ETA
    angle = axis_angle_deg(axis, axis_model)[defined]
    angle_mean = axis_angle_deg(axis, axis_mean)[defined]
    flips = np.mean(np.sign(cq) != np.sign(cq_model))

    def relative(values):
        return 100 * np.sqrt(np.mean(values**2)) / deviation

    rows = [
        ("component MAE", "a.u.", np.abs(error).mean(), np.abs(true_components).mean(), np.abs(error_mean).mean()),
        ("component RMSE / RMS", "%", relative(error), 100.0, relative(error_mean)),
        ("|C_Q| MAE", "kHz", np.abs(np.abs(cq_model) - np.abs(cq)).mean(), np.abs(cq).mean(),
         np.abs(mean.coupling_kHz - np.abs(cq)).mean()),
        ("eta MAE, weighted by |V_zz|", "1", (weight * np.abs(eta_model - eta)).sum(), (weight * eta).sum(),
         (weight * np.abs(mean.eta - eta)).sum()),
        (f"z axis, median angle (eta < {DEFINED_AXIS_ETA})", "deg", np.median(angle), np.nan, np.median(angle_mean)),
        ("sign of V_zz wrong", "%", 100 * flips, np.nan, 100 * min(np.mean(cq > 0), np.mean(cq < 0))),
        ("tensors", "1", len(truth), len(truth), len(truth)),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["quantity", "unit", "model", "zero_model", "mean_model"])
