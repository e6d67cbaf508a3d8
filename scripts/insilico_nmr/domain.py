"""Is an atom like those that a model was trained on?

A prediction is a function of the features that the network makes of an atom; where they lie far from those of all
training atoms, the model extrapolates, and a committee may agree on something wrong. The measure is the Mahalanobis
distance of the invariant features, as K. Lee, K. Lee, H. Lee, J. Shin, NeurIPS 31 (2018) use it for images.
"""

from dataclasses import dataclass, replace

import numpy as np

# Of the mean variance, added to each: features that training never changed would make the distance infinite.
FLOOR = 1e-3


@dataclass(frozen=True)
class Domain:
    """Mean (f) and inverse covariance (f, f) of features in training, and the `limit`: the largest distance of an atom
    with a label, trained on or held out. Beyond it nothing is known of errors."""

    mean: np.ndarray
    precision: np.ndarray
    limit: float

    @staticmethod
    def of(trained: np.ndarray, held_out: np.ndarray) -> "Domain":
        """From features (n, f) of atoms trained on and (m, f) of atoms held out."""
        covariance = np.cov(trained, rowvar=False, bias=True)
        covariance += FLOOR * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        domain = Domain(trained.mean(axis=0), np.linalg.inv(covariance), np.inf)
        return replace(domain, limit=float(domain.distance(np.concatenate([trained, held_out])).max()))

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distance (n,) of features (n, f), without a unit; its mean square is 1 in training."""
        away = features - self.mean
        return np.sqrt(np.einsum("ni,ij,nj->n", away, self.precision, away) / len(self.mean))

    def outside(self, features: np.ndarray) -> np.ndarray:
        """Which atoms lie beyond the limit, (n,) bool."""
        return self.distance(features) > self.limit
