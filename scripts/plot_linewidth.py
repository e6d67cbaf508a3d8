"""Draw the width of the central line against temperature: by dipolar couplings, and by quadrupolar relaxation."""

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

NUMBERS = ["temperature_K", "shift", "fwhm_Hz", "se_sampling_Hz", "rigid_fwhm_Hz", "complete"]
RELAXATION = ["temperature_K", "field_T", "shift", "rate_per_s", "valid", "complete"]


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the rate model as it is, with `low` and `high`: 95 % of sampling and of the rate model, log-normal."""
    table = table.sort_values("temperature_K")
    moved = moved_log_sd(table, ["temperature_K"], "fwhm_Hz")
    rows = table[table["shift"] == 0].set_index("temperature_K")
    ends = log_normal_ends(rows, "fwhm_Hz", ["se_sampling_Hz"], moved)
    return rows.assign(low=ends["low"], high=np.minimum(ends["high"], rows["rigid_fwhm_Hz"]))


def lifetime_widths(relaxation: pd.DataFrame) -> pd.DataFrame:
    """Width of the central line in Hz by its own relaxation, R₂/π, where that is known; lowest field in which it is."""
    known = (relaxation["quantity"] == "R2_central") & (relaxation["shift"] == 0)
    known &= (relaxation["valid"] == 1) & (relaxation["complete"] == 1) & (relaxation["rate_per_s"] > 0)
    rows = relaxation[known]
    rows = rows[rows["field_T"] == rows["field_T"].min()].sort_values("temperature_K")
    return rows[["temperature_K", "field_T"]].assign(fwhm_Hz=rows["rate_per_s"] / np.pi)


def curve(axes: Axes, x: np.ndarray, rows: pd.DataFrame, unit: float) -> None:
    """The width with its interval and that at rest, over x, in `unit` Hz."""
    axes.plot(x, rows["rigid_fwhm_Hz"] / unit, "--", color=GREY, linewidth=0.8, label="at rest")
    axes.fill_between(x, rows["low"] / unit, rows["high"] / unit, color=PALETTE[0], alpha=0.22, linewidth=0)
    axes.plot(x, rows["fwhm_Hz"] / unit, color=PALETTE[0], linewidth=0.8, label="dipolar, hopping")
    whole = rows["complete"] == 1
    axes.plot(x[whole], rows["fwhm_Hz"][whole] / unit, "o", color=PALETTE[0])
    axes.plot(x[~whole], rows["fwhm_Hz"][~whole] / unit, "o", color=PALETTE[0], markerfacecolor="white")


def draw(table: pd.DataFrame, relaxation: pd.DataFrame, measured: pd.DataFrame | None = None) -> Figure:
    """(a) Linear in temperature, (b) logarithmic against inverse temperature, with the lifetime; `measured` in kHz."""
    rows, lifetimes = with_intervals(table), lifetime_widths(relaxation)
    figure = new_figure(DOUBLE_MM, 70)
    left, right = figure.subplots(1, 2)
    curve(left, rows.index.to_numpy(), rows, 1e3)
    left.set(xlabel="T (K)", ylabel="full width at half maximum (kHz)", ylim=(0, None))
    curve(right, 1000 / rows.index.to_numpy(), rows, 1.0)
    if len(lifetimes):
        label = rf"quadrupolar relaxation, R$_2$/π ({lifetimes['field_T'].iloc[0]:g} T)"
        right.plot(1000 / lifetimes["temperature_K"], lifetimes["fwhm_Hz"], "s-", color=PALETTE[1], label=label)
    if measured is not None:
        draw_measured(left, measured, inverse=False)
        draw_measured(right, measured, unit=1e-3)
    right.set(yscale="log", ylabel="full width at half maximum (Hz)")
    inverse_temperature_axis(right, rows.index)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    for axes, name in ((left, "a"), (right, "b")):
        letter(axes, name)
    return figure


def read(path: Path, relaxation: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of widths and of relaxation rates."""
    return read_table(path, NUMBERS), read_table(relaxation, RELAXATION, ["quantity"])


def main() -> None:
    parser = figure_arguments(__doc__, ["linewidth", "relaxation"], literature=True, intervals=True, isotope=True)
    args = parser.parse_args()
    measured = for_figure(args.literature, args.material, args.phase, ["central_line_width"], args.isotope)
    widths, relaxation = read(args.linewidth, args.relaxation)
    save(draw(only_errors(widths, args.intervals), relaxation, measured), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
