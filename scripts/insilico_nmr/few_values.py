"""Errors that few values tell: of replicas and of sets of tensors or potentials, widened by Student's t."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

FOLDS = 5  # a member of a potential's committee leaves out one group in five


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
    """An error from values (n, ...) of n sets of tensors: their standard deviation; NaN of fewer than two sets.

    That over members of a committee (`sd_model`) and replicates (`se_sampling`) is widened by Student's t for so few,
    so that 1.96 of it on both sides is a 95 % interval. That of DFT (`sd_dft`) is known, and is what its two sets have
    been made of (SiteTensors.scales).
    """
    if len(values) < 2:
        return np.nan
    return (1.0 if error == "sd_dft" else widening(len(values))) * np.std(values, axis=0, ddof=1)


def over_members(count: int) -> float:
    """Variance of a fit to all groups over the mean sample variance among member 0 and `count` − 1 others.

    Of a mean over g = FOLDS parts of variance σ² each the first is σ²/g. Members differ from member 0 by σ²/(g(g − 1))
    in the mean square, and from each other by 2σ²/(g − 1)², or where groups were dealt anew between them by 1 − 1/g of
    that, for parts that overlap; the sample variance is the mean half over pairs. 4.6 for 4 members. Errors are upper
    bounds where the data have fewer groups than FOLDS, so that members leave out more (by about 2 for two
    groups), and of kind "painn", whose members differ by the seeds of their training too.
    """
    g, others = FOLDS, count - 1
    deals = [g] * (others // g) + [others % g]
    of_one_deal = sum(deal * (deal - 1) for deal in deals)
    of_two_deals = others * (others - 1) - of_one_deal
    of_pairs = others / (g * (g - 1)) + (of_one_deal + (1 - 1 / g) * of_two_deals) / (g - 1) ** 2
    return (1 / g) * count * others / of_pairs


def error_of_members(values: Sequence) -> np.ndarray | float:
    """Error of a fit by what its members (M, ...) have: their standard deviation, widened for so few (`error_of_sets`)
    and for what they share; NaN of one member."""
    return np.sqrt(over_members(len(values))) * error_of_sets("sd_model", values) if len(values) > 1 else np.nan
