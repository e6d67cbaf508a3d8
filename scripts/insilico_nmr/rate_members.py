"""Counts of jumps in the runs of each member of a potential's committee."""

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError


def _keys(counts: pd.DataFrame) -> list[str]:
    """Columns that tell rows of counts apart."""
    return [name for name in ("class", "from", "to", "temperature_K", "log_x") if name in counts]


def adds_up(parts: pd.DataFrame, counts: pd.DataFrame) -> bool:
    """Whether the rows of `counts` are the sums of rows of `parts`."""
    sums, whole = (table.groupby(_keys(counts))[["count", "exposure_s"]].sum() for table in (parts, counts))
    return sums.index.equals(whole.index) and np.allclose(sums, whole, rtol=1e-9, atol=0)


def check_sums(member_counts: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Raises InputError where the rows of `counts` are not the sums of the members' rows."""
    if not adds_up(member_counts, counts):
        raise InputError("counts of the members do not add up to those of all runs: are the files of one analysis?")
