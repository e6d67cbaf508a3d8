"""Tidy CSV tables between the stages: reading with checks."""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError


def read_table(
    path: str | Path, numbers: Iterable[str], texts: Iterable[str] = (), may_be_empty: bool = False
) -> pd.DataFrame:
    """Read a tidy CSV that must hold the columns `numbers` (an empty cell is NaN) and `texts` (empty is "").

    Raises InputError, naming file and column, for a file that is no table, a missing column, no rows unless it may be
    empty, or a cell of `numbers` that is no finite number.
    """
    numbers, texts = list(numbers), list(texts)
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(texts, str))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table ({error})") from None
    missing = [name for name in [*numbers, *texts] if name not in table]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing")
    if table.empty and not may_be_empty:
        raise InputError(f"{path}: the table has no rows")
    for name in numbers:
        values = pd.to_numeric(table[name], errors="coerce")
        bad = (values.isna() & table[name].notna()) | np.isinf(values)
        if bad.any():
            raise InputError(f"{path}: row {int(bad.argmax()) + 2} has {name} = {table[name][bad.argmax()]}")
        table[name] = values.astype(float)
    for name in texts:
        table[name] = table[name].fillna("")
    return table


# Kinds of errors, by what the names of their columns hold; that of the rate model are rows of another `shift`.
ERRORS = {"sampling": "se_sampling", "model": "sd_model", "dft": "sd_dft"}
KINDS = ("sampling", "model", "rates", "dft")


def only_errors(table: pd.DataFrame, kinds: Iterable[str]) -> pd.DataFrame:
    """The table with errors of these kinds only, of KINDS; columns of the others are empty, rows left out."""
    kinds = set(kinds)
    left = [part for kind, part in ERRORS.items() if kind not in kinds]
    table = table.assign(**{name: np.nan for name in table if any(part in name for part in left)})
    return table if "rates" in kinds or "shift" not in table else table[table["shift"] == 0]


def total(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Root of the sum of squares of errors in these columns, an empty cell being none."""
    return np.sqrt((table[columns].fillna(0.0) ** 2).sum(axis=1))


def complete(table: pd.DataFrame, columns: list[str], path: str | Path, what: str) -> pd.DataFrame:
    """Rows that have a value in all `columns`; says on stderr how many have none and are not drawn.

    Raises InputError where none is left.
    """
    known = table[columns].notna().all(axis=1)
    if not known.all():
        print(f"{path}: {int((~known).sum())} of {len(table)} {what} have no {', '.join(columns)}: not drawn",
              file=sys.stderr)  # fmt: skip
    if len(table) and not known.any():
        raise InputError(f"{path}: no value in {', '.join(columns)} for any of the {what}")
    return table[known]
