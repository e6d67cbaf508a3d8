"""Student's t for tests of errors that few members, replicates or replicas tell."""

from scipy import stats


def widening(count: int) -> float:
    """How much a standard deviation of `count` values is widened, so that 1.96 of it is a 95 % interval."""
    return float(stats.t.ppf(0.975, count - 1)) / 1.96
