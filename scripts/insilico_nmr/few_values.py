"""Errors that few values tell: of replicas and of sets of tensors or potentials, widened by Student's t."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def widening(count: int) -> float:
    """Student's t of 95 % for a standard deviation of `count` values (2 or more), over that of infinitely many: 1.96
    standard deviations times this, on both sides, are a 95 % interval."""
    return float(stats.t.ppf(0.975, count - 1)) / 1.96


def error_over_replicas(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over independent replicas, the first axis of `values` (R, ...), R ≥ 2.

    Widened by Student's t for so few, so that 1.96 of it on both sides is a 95 % interval.
    """
    return widening(len(values)) * values.std(axis=0, ddof=1) / np.sqrt(len(values))


def error_of_sets(error: str, values: Sequence) -> np.ndarray | float:
    """An error from values (n, ...) of n sets of tensors or of potentials' members: their standard deviation; NaN of
    fewer than two sets.

    That over members of a committee (`sd_model`) and replicates (`se_sampling`) is widened by Student's t for so few,
    so that 1.96 of it on both sides is a 95 % interval. That of DFT (`sd_dft`) is known, and is what its two sets have
    been made of (SiteTensors.scales).
    """
    if len(values) < 2:
        return np.nan
    return (1.0 if error == "sd_dft" else widening(len(values))) * np.std(values, axis=0, ddof=1)
