"""Tidy CSV tables between the stages: reading with checks."""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError


def read_table(path: str | Path, numbers: Iterable[str], texts: Iterable[str] = ()) -> pd.DataFrame:
    """Read a tidy CSV that must hold the columns `numbers` (an empty cell is NaN) and `texts` (empty is "").

    Raises InputError, naming file and column, for a file that is no table, a missing column, no rows, or a cell of
    `numbers` that is no finite number.
    """
    numbers, texts = list(numbers), list(texts)
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(texts, str))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table ({error})") from None
    missing = [name for name in [*numbers, *texts] if name not in table]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing")
    if table.empty:
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
