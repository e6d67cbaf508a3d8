"""Where a run has forgotten its start, and how many independent samples follow, read from the run itself.

J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016): of all starts t0, the one that leaves the most independent
samples, (T − t0)/g(t0). The statistical inefficiency g = 1 + 2 Σ (1 − n/N) C(n) is summed to the first lag at which
the autocorrelation C is no longer positive.

Two bounds beyond the paper: starts lie in the first half, and g(t0) is at least that of the second half. A short tail
has no time to show slow fluctuations: without the bounds its g would be near 1, and slow runs would keep only tails.
"""

from dataclasses import dataclass

import numpy as np

from insilico_nmr.errors import InputError

CANDIDATES = 100  # starts that are tried, evenly spaced
LEAST_SAMPLES = 10  # a tail of fewer frames than this has no autocorrelation to speak of


@dataclass(frozen=True)
class Equilibration:
    """First frame to keep, statistical inefficiency from there on (frames), number of independent samples left."""

    start: int
    inefficiency: float
    independent: float


def statistical_inefficiency(series: np.ndarray) -> float:
    """Frames from one independent sample to the next, at least 1, of a series (T,); 1 for a constant one.

    Raises InputError for values that are not finite.
    """
    series = np.asarray(series, float)
    if not np.isfinite(series).all():
        raise InputError(f"sample {int(np.argmin(np.isfinite(series)))} of the series is not finite")
    count = len(series)
    centred = series - series.mean()
    variance = centred @ centred / count
    if count < 2 or variance <= 1e-20 * max(1.0, float(np.abs(series).max()) ** 2):
        return 1.0
    spectrum = np.abs(np.fft.rfft(centred, 2 * count)) ** 2
    # Of each lag the mean over its own pairs of frames; the factor 1 − n/N of g takes their number back.
    weighted = np.fft.irfft(spectrum)[1:count] / (count * variance)
    ends = np.flatnonzero(weighted <= 0)
    return max(1.0, 1.0 + 2.0 * float(weighted[: ends[0] if len(ends) else count].sum()))


def detect_equilibration(series: np.ndarray) -> Equilibration:
    """The start in the first half of a series (T,) that leaves the most independent samples.

    Raises InputError for a series of fewer than 10.
    """
    count = len(series)
    if count < LEAST_SAMPLES:
        raise InputError(
            f"{count} frames are too few to tell whether a run is in equilibrium; at least {LEAST_SAMPLES}"
        )
    starts = np.unique(np.linspace(0, count // 2, CANDIDATES).astype(int))
    least = statistical_inefficiency(series[count // 2 :])
    found = [max(least, statistical_inefficiency(series[start:])) for start in starts]
    independent = (count - starts) / np.array(found)
    best = int(independent.argmax())
    return Equilibration(int(starts[best]), found[best], float(independent[best]))
