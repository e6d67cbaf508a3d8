"""Draw two-dimensional exchange spectra: one panel a mixing time, all on one scale of colours."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.style import DOUBLE_MM, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import log_normal_sd, only_errors, read_table, total
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

ERRORS = ["elsewhere_se_sampling", "elsewhere_sd_rates"]
COLUMNS = ["temperature_K", "mixing_time_s", "elsewhere", *ERRORS, "first_kHz", "second_kHz", "intensity_per_kHz2"]


def duration(seconds: float) -> str:
    """In the unit that leaves a number from 1 on."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def part(rows: pd.DataFrame) -> str:
    """The part of the ions that has another tensor after mixing, with one standard deviation where it is known, or as
    a factor where it exceeds the part."""
    # Rounding leaves 1e-14 of nothing.
    percent, error = (round(100 * values.iloc[0], 6) for values in (rows["elsewhere"], total(rows, ERRORS)))
    if rows[ERRORS].iloc[0].isna().all():
        return f"{percent:.2g} % changed"
    if error > percent > 0:
        return f"{percent:.2g} %, to a factor of {np.exp(log_normal_sd(error / percent)):.2g}, changed"
    return f"{percent:.2g} ± {error:.2g} % changed"


def draw(table: pd.DataFrame) -> Figure:
    """Square panels; colours go with a power of the intensity, so that cross peaks are seen beside the diagonal."""
    times = sorted(table["mixing_time_s"].unique())
    figure = new_figure(DOUBLE_MM, 16 + 0.82 * DOUBLE_MM / max(len(times), 2))
    panels = np.atleast_1d(figure.subplots(1, len(times), sharey=True))
    norm = PowerNorm(0.4, 0, table["intensity_per_kHz2"].max())
    for axes, time, name in zip(panels, times, "abcdefgh", strict=False):
        rows = table[table["mixing_time_s"] == time]
        grid = rows.pivot(index="second_kHz", columns="first_kHz", values="intensity_per_kHz2")
        image = axes.pcolormesh(grid.columns, grid.index, grid, norm=norm, cmap="magma_r", rasterized=True)
        axes.set_title(f"{duration(time)}, {part(rows)}")
        axes.set(xlabel="before mixing (kHz)", aspect="equal")
        letter(axes, name)
    panels[0].set_ylabel(f"after mixing at {table['temperature_K'].iloc[0]:g} K (kHz)")
    bar = figure.colorbar(image, ax=panels, shrink=0.8, pad=0.01)
    bar.set_label(r"intensity (kHz$^{-2}$)")
    return figure


def read(path: Path) -> pd.DataFrame:
    """The table of one temperature."""
    table = read_table(path, COLUMNS)
    if table["temperature_K"].nunique() > 1:
        raise InputError(f"{path}: more than one temperature")
    return table


def main() -> None:
    args = figure_arguments(__doc__, ["exchange"], intervals=True).parse_args()
    save(draw(only_errors(read(args.exchange), args.intervals)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
