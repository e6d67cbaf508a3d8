"""Student's t for errors that few values tell."""

from scipy import stats


def widening(count: int) -> float:
    """Student's t of 95 % for a standard deviation of `count` values (2 or more), over that of infinitely many: 1.96
    standard deviations times this, on both sides, are a 95 % interval."""
    return float(stats.t.ppf(0.975, count - 1)) / 1.96
