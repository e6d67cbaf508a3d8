"""Errors of predicted field gradients in the quantities that NMR measures, beside a linear, a mean and a zero model.

Angles: the z axis is compared where it is defined, that is at a DFT asymmetry below 0.9 (at η = 1, V_zz and V_yy
are equal in size and the axis is arbitrary), the whole frame where the other two axes are defined too (they are
arbitrary at η = 0). Euler angles are those of the nearest of four equivalent sets, where that frame is defined and β is
not near 0, where α and γ are not. η is weighted by |V_zz|, for where the tensor is small its shape is noise.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.powder import zcw
from insilico_nmr.tensors import (
    asymmetry,
    axis_angle_deg,
    efg_principal,
    euler_angles,
    euler_differences_deg,
    frame_angle_deg,
    to_components,
)

DEFINED_AXIS_ETA = 0.9  # above it the z axis is arbitrary
PATTERN_DIRECTIONS, PATTERN_BINS = 1500, 60
Z_ANGLE = f"z axis, median angle (eta < {DEFINED_AXIS_ETA:g})"
FRAME_ANGLE = f"principal frame, median rotation ({1 - DEFINED_AXIS_ETA:.1g} < eta < {DEFINED_AXIS_ETA:g})"
EULER_BETA_DEG = 15  # and up to 90
EULER = {f"Euler angle {name}, median": number for number, name in enumerate(("alpha", "beta", "gamma"))}
UNITS = {
    "component MAE": "a.u.",
    "component RMSE / RMS": "%",
    "tensor error / norm, median": "%",
    "|C_Q| MAE": "kHz",
    "C_Q MAE, with sign": "kHz",
    "eta MAE, weighted by |V_zz|": "1",
    Z_ANGLE: "deg",
    FRAME_ANGLE: "deg",
    **dict.fromkeys(EULER, "deg"),
    "sign of V_zz wrong": "%",
    "powder pattern, overlap": "%",
    "tensors": "1",
}


def parameters(tensors: np.ndarray, isotope: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """C_Q (kHz, signed; ...), η (...) and z axes (..., 3) of field gradients (..., 3, 3) in atomic units."""
    values, axes = efg_principal(tensors)
    return (
        values[..., 2] * quadrupolar_nucleus(isotope).coupling_per_au * 1e-3,
        asymmetry(values),
        axes[..., 2],
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


def pattern_overlap(truth: np.ndarray, model: np.ndarray) -> float:
    """Mean over tensors (n, 3, 3) of the area that the satellites' powder patterns of both share, 0 to 1.

    First order, no broadening: histograms of nᵀVn over the directions n, in PATTERN_BINS bins up to the larger |V_zz|.
    """
    directions, _ = zcw(PATTERN_DIRECTIONS)
    products = np.einsum("qi,qj->qij", directions, directions).reshape(len(directions), 9)
    shared = []
    for pair in zip(truth, model, strict=True):
        frequencies = products @ np.reshape(pair, (2, 9)).T
        reach = np.abs(frequencies).max()
        counts = [
            np.histogram(np.concatenate([values, -values]), PATTERN_BINS, (-reach, reach))[0]
            for values in frequencies.T
        ]
        shared.append(np.minimum(*counts).sum() / counts[0].sum())
    return float(np.mean(shared))


def errors(truth: np.ndarray, model: np.ndarray, isotope: str) -> dict[str, float]:
    """Errors of tensors (n, 3, 3), in atomic units, in the quantities that NMR measures, by the names of UNITS."""
    true_components = to_components(truth)
    difference = to_components(model) - true_components
    (values, axes), (values_model, axes_model) = efg_principal(truth), efg_principal(model)
    unit_kHz = quadrupolar_nucleus(isotope).coupling_per_au * 1e-3
    coupling, coupling_model = unit_kHz * values[:, 2], unit_kHz * values_model[:, 2]
    eta, eta_model = asymmetry(values), asymmetry(values_model)
    weight = np.abs(coupling) / np.abs(coupling).sum()
    z_defined = eta < DEFINED_AXIS_ETA
    frame_defined = z_defined & (eta > 1 - DEFINED_AXIS_ETA)
    euler_defined = frame_defined & (euler_angles(axes)[:, 1] > EULER_BETA_DEG)
    euler = euler_differences_deg(axes, axes_model)[euler_defined]
    return {
        "component MAE": np.abs(difference).mean(),
        "component RMSE / RMS": 100 * np.sqrt(np.mean(difference**2) / np.mean(true_components**2)),
        "tensor error / norm, median": 100
        * np.median(np.linalg.norm(difference, axis=1) / np.linalg.norm(true_components, axis=1)),
        "|C_Q| MAE": np.abs(np.abs(coupling_model) - np.abs(coupling)).mean(),
        "C_Q MAE, with sign": np.abs(coupling_model - coupling).mean(),
        "eta MAE, weighted by |V_zz|": (weight * np.abs(eta_model - eta)).sum(),
        Z_ANGLE: _median(axis_angle_deg(axes[:, :, 2], axes_model[:, :, 2])[z_defined]),
        FRAME_ANGLE: _median(frame_angle_deg(axes, axes_model)[frame_defined]),
        **{name: _median(euler[:, number]) for name, number in EULER.items()},
        "sign of V_zz wrong": 100 * np.mean(np.sign(coupling) != np.sign(coupling_model)),
        "powder pattern, overlap": 100 * pattern_overlap(truth, model),
        "tensors": len(truth),
    }


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else np.nan


def metrics(truth: np.ndarray, model: np.ndarray, linear: np.ndarray, mean: MeanModel, isotope: str) -> pd.DataFrame:
    """Table of errors: one row a quantity, columns quantity, unit, model, linear_model, mean_model, zero_model.

    `truth`, `model` and `linear` have shape (n, 3, 3). A model that cannot answer (an axis, from a zero tensor) gets
    an empty cell.
    """
    coupling, eta, _ = parameters(truth, isotope)
    zero = errors(truth, np.zeros_like(truth), isotope)
    zero |= dict.fromkeys([Z_ANGLE, FRAME_ANGLE, *EULER, "sign of V_zz wrong", "powder pattern, overlap"], np.nan)
    weight = np.abs(coupling) / np.abs(coupling).sum()
    of_mean = errors(truth, mean.tensor, isotope) | {
        "|C_Q| MAE": np.abs(mean.coupling_kHz - np.abs(coupling)).mean(),
        "eta MAE, weighted by |V_zz|": (weight * np.abs(mean.eta - eta)).sum(),
        "sign of V_zz wrong": 100 * min(np.mean(coupling > 0), np.mean(coupling < 0)),
    }
    columns = {
        "model": errors(truth, model, isotope),
        "linear_model": errors(truth, linear, isotope),
        "mean_model": of_mean,
        "zero_model": zero,
    }
    rows = [[name, unit, *(column[name] for column in columns.values())] for name, unit in UNITS.items()]
    return pd.DataFrame(rows, columns=["quantity", "unit", *columns])
