"""Errors that few values tell, of data whose truth is known."""

import numpy as np
import pytest
from insilico_nmr.few_values import FOLDS, error_of_members


@pytest.mark.parametrize("count", [3, 4, 6])
def test_members_that_share_their_data_tell_the_error_of_a_mean(count):
    """Member 0 is the mean of all groups, the others leave one out each."""
    groups = np.random.default_rng(6).normal(size=(FOLDS, 20_000))
    without = (groups.sum(axis=0) - groups) / (FOLDS - 1)
    members = np.stack([groups.mean(axis=0), *without[: count - 1]])
    held = np.abs(members[0]) < 1.96 * error_of_members(members)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_one_member_tells_of_no_error():
    assert np.isnan(error_of_members([1.0]))
