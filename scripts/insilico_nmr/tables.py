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


# Kinds of errors, by what the names of their columns hold; that of the rate model are rows of another `shift`, from
# which `moved_log_sd` and `moved_sd` make columns.
ERRORS = {
    "sampling": ("se_sampling", "amplitude_se", "plateau_se", "rate_se", "se_au2"),
    "model": ("sd_model",),
    "rates": ("sd_rates",),
    "dft": ("sd_dft",),
}
KINDS = tuple(ERRORS)
# Intervals of sampling by their ends, and the columns of their values.
INTERVALS = {
    "rate_ci_{}_per_s": "rate_per_s",
    "ci_{}_m2_per_s": "D_tracer_m2_per_s",
    "conductivity_ci_{}_S_per_cm": "conductivity_S_per_cm",
}


def only_errors(table: pd.DataFrame, kinds: Iterable[str]) -> pd.DataFrame:
    """The table with errors of these kinds only, of KINDS; columns of the others are empty, rows left out, and
    intervals have no width."""
    kinds = set(kinds)
    left = [part for kind, parts in ERRORS.items() if kind not in kinds for part in parts]
    table = table.assign(**{name: np.nan for name in table if any(part in name for part in left)})
    if "sampling" not in kinds:
        ends = {form.format(end): value for form, value in INTERVALS.items() for end in ("low", "high")}
        table = table.assign(**{name: table[value] for name, value in ends.items() if name in table})
    return table if "rates" in kinds or "shift" not in table else table[table["shift"] == 0]


def moved_log_sd(table: pd.DataFrame, keys: list[str], column: str) -> np.ndarray:
    """Standard deviation of the logarithm of `column` by the rate model, (n,), one for each row of shift 0.

    Root of the sum, over the directions along which the model was moved by one standard deviation, of the squared
    change; NaN where no moved row has the keys. A direction in which there is no value, since its fit failed, counts as
    much as the largest of the others.
    """
    rows, moved = table[table["shift"] == 0], table[table["shift"] > 0]
    both = moved.merge(rows[[*keys, column]], on=keys, suffixes=("", "_as_it_is"))
    change = np.log(both[column] / both[f"{column}_as_it_is"])
    squares = both[keys].assign(square=change**2)
    squares["square"] = squares["square"].fillna(squares.groupby(keys)["square"].transform("max"))
    squares = squares.groupby(keys)["square"].sum(min_count=1).reset_index()
    return np.sqrt(rows[keys].merge(squares, on=keys, how="left")["square"].to_numpy(float))


def moved_sd(table: pd.DataFrame, keys: list[str], time: str, value: str) -> pd.Series:
    """Standard deviation of curves by the rate model at each row of shift 0, as `moved_log_sd` has it of numbers.

    Curves of the moved model have their own times, and are interpolated in the logarithm of time; beyond its last time
    a curve stays where it is. The index of `table` must be unique.
    """
    found = pd.Series(np.nan, index=table.index[table["shift"] == 0])
    for _, rows in table.groupby(keys):
        curve = rows[rows["shift"] == 0].sort_values(time)
        squares = []
        for _, moved in rows[(rows["shift"] > 0) & (rows[time] > 0)].sort_values(time).groupby("shift"):
            at = np.log(np.maximum(curve[time], moved[time].iloc[0]))
            squares.append((np.interp(at, np.log(moved[time]), moved[value]) - curve[value]) ** 2)
        if squares:
            found[curve.index] = np.sqrt(sum(squares))
    return found


def total(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Root of the sum of squares of errors in these columns, an empty cell being none."""
    return np.sqrt((table[columns].fillna(0.0) ** 2).sum(axis=1))


def log_normal_sd(relative: pd.Series | float) -> pd.Series | float:
    """Standard deviation of the logarithm, of a log-normal distribution with this relative standard deviation."""
    return np.sqrt(np.log1p(relative**2))


def log_normal_ends(rows: pd.DataFrame, column: str, errors: list[str], log_sd: np.ndarray) -> dict[str, pd.Series]:
    """`low` and `high`, 95 %, of a positive column: by its errors in `errors`, as those of a log-normal distribution,
    and by the standard deviation `log_sd` (n,) of its logarithm (`moved_log_sd`; NaN is none)."""
    relative = total(rows, errors) / rows[column]
    factor = np.exp(1.96 * np.hypot(log_normal_sd(relative), np.nan_to_num(log_sd)))
    return {"low": rows[column] / factor, "high": rows[column] * factor}


def significant(values: pd.DataFrame, digits: int) -> pd.DataFrame:
    """Numbers rounded to so many digits, so that a long table stays small while its times and frequencies are exact."""
    return values.map(lambda value: float(f"{value:.{digits}g}"))


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
