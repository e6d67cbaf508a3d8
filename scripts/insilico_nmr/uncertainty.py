"""Is the spread of a committee as large as its errors? Intervals from few members, and how often they hold the truth.

Errors on groups that no member saw are compared with the spread s of the m members there. With a factor f common to all
atoms, errors over f·s follow Student's t; f is what the median asks for, so that a few wild errors do not rule it.
"""

import numpy as np
import pandas as pd
from scipy import stats


def spread(members: np.ndarray) -> np.ndarray:
    """Root-mean-square deviation of a component, over the components c and members m ≥ 2 of (m, n, c): shape (n,)."""
    return np.sqrt(members.var(axis=0, ddof=1).mean(axis=-1))


def freedom(members: int, components: int = 1) -> int:
    """Degrees of freedom of a spread over members, pooled over components."""
    return components * (members - 1)


def spread_factor(errors: np.ndarray, spreads: np.ndarray, degrees: int) -> float:
    """Factor f on `spreads` (n,) with which half of the `errors` (n, c) lie within the middle half of Student's t."""
    return float(np.median(np.abs(errors) / spreads[:, None]) / stats.t.ppf(0.75, degrees))


def confidence(errors: np.ndarray, deviations: np.ndarray, degrees: int) -> np.ndarray:
    """Level of the interval, 0 to 1, on whose edge each error lies; uniform over 0 to 1 where intervals are right.

    Errors and standard `deviations` of one shape. A coverage at level p is the part of confidences below p.
    """
    return 2 * stats.t.cdf(np.abs(errors) / deviations, degrees) - 1


def widened(members: np.ndarray, factor: float) -> np.ndarray:
    """Members (m, ...) with their deviations from the mean multiplied by `factor`."""
    mean = members.mean(axis=0)
    return mean + factor * (members - mean)


def confidences(table: pd.DataFrame, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """`confidence` of each error in judge_uncertainty.py's table, by the committee's own and by the widened spread."""
    members = int(table["members"].iloc[0])
    errors = table[[column for column in table if column.startswith(f"{quantity}_error")]].to_numpy()
    if quantity == "component":
        own = table["component_sd_au"].to_numpy()
        both, degrees = (own, own * table["factor"].to_numpy()), freedom(members, errors.shape[1])
    else:
        both = table[f"{quantity}_sd"].to_numpy(), table[f"{quantity}_widened_sd"].to_numpy()
        degrees = freedom(members)
    return tuple(confidence(errors, deviation[:, None], degrees).ravel() for deviation in both)
