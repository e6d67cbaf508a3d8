"""The numbers that the README's table states are those of the published tables."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
STUDIES = ["li3ps4_beta", "li3ps4_gamma", "li3n_alpha"]
NUMBER = r"[−-]?\d+(?:\.\d+)?(?:e-?\d+)?"
INTERVAL = re.compile(rf"({NUMBER}) \(({NUMBER}) to ({NUMBER})\)")


def stated(row: str) -> list[list[tuple[str, ...]]]:
    """Values with both ends of their intervals, as printed, in the cells of a row of the README's table, by study."""
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {row}")]
    return [INTERVAL.findall(cell.replace("−", "-")) for cell in line.strip("| ").split(" | ")[1:]]


def assert_stated(text: str, value: float) -> None:
    """A printed number is a value cut to its digits."""
    digits = len(re.sub(r"e.*|[.-]", "", text).lstrip("0"))
    assert float(text) == float(f"{value:.{digits - 1}e}"), (text, value)


def agreement(study: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "resources" / "published" / study / "agreement.csv").set_index("quantity")


@pytest.mark.parametrize(
    ("row", "quantity", "temperature_K"),
    [("activation energy of diffusion", "effective_activation_energy", None),
     ("conductivity at 298 K", "ionic_conductivity", 298)],
)  # fmt: skip
def test_rows_of_the_readme_are_those_of_the_tables_of_agreement(row, quantity, temperature_K):
    for study, (interval, *_) in zip(STUDIES, stated(row), strict=True):
        rows = agreement(study).loc[[quantity]]
        rows = rows if temperature_K is None else rows[rows["temperature_K"] == temperature_K]
        for text, column in zip(interval, ("predicted", "ci_low", "ci_high"), strict=True):
            assert_stated(text, rows[column].iloc[0])


def test_the_echo_that_was_measured_is_that_of_the_table():
    ((interval,),) = [cell for cell in stated("1/τ of echoes") if cell]
    row = agreement("li3n_alpha").loc["jump_rate"]
    for text, column in zip(interval, ("predicted", "ci_low", "ci_high"), strict=True):
        assert_stated(text, row[column])


def test_couplings_of_the_readme_are_those_of_the_tables():
    for study, cell in zip(STUDIES, stated("C_Q of Li1"), strict=True):
        table = pd.read_csv(ROOT / "resources" / "published" / study / "couplings.csv")
        rows = table[(table["average"] == "thermal") & (table["temperature_K"] == 300)]
        assert len(cell) == len(rows)
        for texts, row in zip(cell, rows.itertuples(), strict=True):
            expected = row.C_Q_kHz, row.C_Q_ci_low_kHz, row.C_Q_ci_high_kHz
            assert [float(text) for text in texts] == [round(value) for value in expected]
