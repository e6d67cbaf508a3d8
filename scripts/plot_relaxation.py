"""Draw quadrupolar relaxation rates against inverse temperature: R1 in each field, and all rates in the first one.

Where there is a table of vibrations, R1 by these is drawn too, from their temperature on with T².
"""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.literature import for_figure
from insilico_nmr.style import (
    DOUBLE_MM,
    GREY,
    PALETTE,
    draw_measured,
    figure_arguments,
    inverse_temperature_axis,
    letter,
    new_figure,
    save,
)
from insilico_nmr.tables import log_normal_ends, moved_log_sd, only_errors, read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NUMBERS = ["temperature_K", "field_T", "larmor_MHz", "rate_per_s", "se_sampling_per_s", "sd_model_per_s"]
NUMBERS += ["sd_dft_per_s", "valid", "complete", "shift"]
NAMES = {
    "R1": r"R$_1$ (initial slope)",
    "R1Q": r"R$_{1Q}$",
    "R2_central": r"R$_2$, central line",
    "R2_satellites": r"R$_2$, satellites",
}


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the rate model as it is, valid ones, with `low` and `high`: 95 % of all errors that the table has.

    Errors of sampling, committee and DFT are those of a log-normal distribution; each direction that the rate model was
    moved along adds the square of the change of the logarithm.
    """
    keys = ["temperature_K", "field_T", "quantity"]
    known = table[(table["shift"] > 0) | ((table["valid"] == 1) & (table["rate_per_s"] > 0))]
    rows = known[known["shift"] == 0]
    errors = ["se_sampling_per_s", "sd_model_per_s", "sd_dft_per_s"]
    return rows.assign(**log_normal_ends(rows, "rate_per_s", errors, moved_log_sd(known, keys, "rate_per_s")))


def curve(axes: Axes, rows: pd.DataFrame, colour: str, label: str) -> None:
    """Points with bars, joined; open where slow motion is missing."""
    rows = rows.sort_values("temperature_K")
    x, y = 1000 / rows["temperature_K"], rows["rate_per_s"]
    axes.errorbar(x, y, [y - rows["low"], rows["high"] - y], fmt="none", ecolor=colour, elinewidth=0.7)
    axes.plot(x, y, color=colour, linewidth=0.8, label=label)
    whole = rows["complete"] == 1
    axes.plot(x[whole], y[whole], "o", color=colour)
    axes.plot(x[~whole], y[~whole], "o", color=colour, markerfacecolor="white")


def draw_vibrations(axes: Axes, vibrations: pd.DataFrame, temperatures_K: np.ndarray) -> None:
    """R1 by vibrations at the temperature of its run, and with T² over all temperatures."""
    known = vibrations[vibrations["quantity"] == "R1"].iloc[0]
    x, y = 1000 / known["temperature_K"], known["rate_per_s"]
    axes.errorbar(x, y, 1.96 * known["rate_se_per_s"], fmt="^", color=GREY, elinewidth=0.7, label="vibrations, MD",
                  gid="vibrations")  # fmt: skip
    some = np.linspace(temperatures_K.min(), temperatures_K.max(), 200)
    axes.plot(1000 / some, y * (some / known["temperature_K"]) ** 2, ":", color=GREY, linewidth=0.8, label="with T²")


def draw(table: pd.DataFrame, vibrations: pd.DataFrame | None = None, measured: pd.DataFrame | None = None) -> Figure:
    """(a) R1 in all fields, and `measured` ones, whose method should name the field; (b) all rates in the first."""
    rows = with_intervals(table)
    figure = new_figure(DOUBLE_MM, 75)
    left, right = figure.subplots(1, 2)
    if rows.empty:
        for axes in (left, right):
            axes.set_axis_off()
        figure.suptitle("no relaxation by hops that second-order theory holds for")
        return figure
    fields = sorted(rows["field_T"].unique())
    for field, colour in zip(fields, PALETTE, strict=False):
        some = rows[(rows["field_T"] == field) & (rows["quantity"] == "R1")]
        if len(some):
            curve(left, some, colour, f"{field:g} T ({some['larmor_MHz'].iloc[0]:.0f} MHz)")
    for (name, label), colour in zip(NAMES.items(), PALETTE, strict=False):
        some = rows[(rows["field_T"] == fields[0]) & (rows["quantity"] == name)]
        if len(some):
            curve(right, some, colour, label)
    if measured is not None:
        draw_measured(left, measured)
    if vibrations is not None:
        draw_vibrations(left, vibrations, rows["temperature_K"].to_numpy())
    left.set_ylabel(r"R$_1$, initial slope (1/s)")
    right.set_ylabel(f"rate in {fields[0]:g} T (1/s)")
    for axes, name in ((left, "a"), (right, "b")):
        axes.set_yscale("log")
        inverse_temperature_axis(axes, rows["temperature_K"])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")
        letter(axes, name)
    return figure


def read(path: Path) -> pd.DataFrame:
    """The table of relaxation rates."""
    return read_table(path, NUMBERS, ["quantity"])


def main() -> None:
    parser = figure_arguments(__doc__, ["relaxation"], literature=True, intervals=True, isotope=True)
    parser.add_argument("vibrations", nargs="?", type=Path, metavar="VIBRATIONS.csv", help="table vibrations.csv")
    args = parser.parse_args()
    measured = for_figure(args.literature, args.material, args.phase, ["spin_lattice_relaxation_rate"], args.isotope)
    vibrations = None
    if args.vibrations is not None:
        columns = ["temperature_K", "rate_per_s", "rate_se_per_s"]
        vibrations = only_errors(read_table(args.vibrations, columns, ["quantity"]), args.intervals)
    save(draw(only_errors(read(args.relaxation), args.intervals), vibrations, measured), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
