"""Errors that few values tell, of data whose truth is known."""

import numpy as np
import pytest
from insilico_nmr.few_values import FOLDS, error_of_members, over_members


def committee(rng: np.random.Generator, count: int, columns: int) -> np.ndarray:
    """Members (count, columns): 0 the mean of 50 groups, the others leave one in five out, dealt anew after five."""
    groups = rng.normal(size=(10 * FOLDS, columns))
    deals = [np.array_split(rng.permutation(len(groups)), FOLDS) for _ in range(2)]
    without = [np.delete(groups, part, axis=0).mean(axis=0) for deal in deals for part in deal]
    return np.stack([groups.mean(axis=0), *without[: count - 1]])


@pytest.mark.parametrize("count", [3, 4, 6, 9])
def test_members_that_share_their_data_tell_the_variance_of_a_mean(count):
    rng = np.random.default_rng(3)
    found = [committee(rng, count, 300).var(axis=0, ddof=1).mean() for _ in range(50)]
    assert over_members(count) * np.mean(found) == pytest.approx(1 / (10 * FOLDS), rel=0.02)


@pytest.mark.parametrize("count", [3, 4, 6])
def test_intervals_of_members_hold_what_they_should(count):
    members = committee(np.random.default_rng(6), count, 10_000)
    held = np.abs(members[0]) < 1.96 * error_of_members(members)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_one_member_tells_of_no_error():
    assert np.isnan(error_of_members([1.0]))
