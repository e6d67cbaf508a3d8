"""Draw what tensors that depend on filled neighbours change: correlation functions, relaxation, echoes.

(a) Correlation functions at the coldest, a middle and the hottest temperature, over the start of those of the sites'
means, with errors of sampling. (b) R1 in the lowest field against inverse temperature, with all errors. (c) Change of
the alignment echoes, in per cent of their start, at temperatures and evolution times at which surroundings stay while
phases evolve.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import plot_relaxation
from insilico_nmr.errors import run_script
from insilico_nmr.style import (
    BAND,
    DASHES,
    DOUBLE_MM,
    GREY,
    PALETTE,
    figure_arguments,
    inverse_temperature_axis,
    letter,
    new_figure,
    save,
    temperature_colours,
)
from insilico_nmr.tables import only_errors, read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

WHOLE, PART = "tensor_correlation_au2", "tensor_correlation_by_surroundings_au2"
ERROR = "tensor_correlation_se_sampling_au2"


def some_of(values: list[float]) -> list[float]:
    """First, middle and last."""
    return [values[n] for n in sorted({0, (len(values) - 1) // 2, len(values) - 1})]


def draw_correlations(axes: Axes, table: pd.DataFrame, colours: dict[float, tuple]) -> None:
    """Whole (solid) and of the means of sites (dashed), for some temperatures."""
    for temperature in some_of(sorted(table["temperature_K"].unique())):
        rows = table[(table["temperature_K"] == temperature) & (table["mixing_time_s"] > 0)]
        start = table[(table["temperature_K"] == temperature) & (table["mixing_time_s"] == 0)].iloc[0]
        unit = start[WHOLE] - start[PART]
        colour = colours[temperature]
        value, half = rows[WHOLE] / unit, 1.96 * rows[ERROR] / unit
        axes.plot(rows["mixing_time_s"], value, color=colour, label=f"{temperature:g} K")
        axes.fill_between(rows["mixing_time_s"], value - half, value + half, color=colour, **BAND)
        axes.plot(rows["mixing_time_s"], (rows[WHOLE] - rows[PART]) / unit, "--", color=colour, linewidth=0.8)
    axes.set(xscale="log", xlabel="time (s)", ylabel="⟨V(0):V(t)⟩ over that of means at 0")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left")


def draw_relaxation(axes: Axes, table: pd.DataFrame) -> None:
    """R1 in the lowest field: whole, by the means of sites, and what surroundings add; open where they take away."""
    table = plot_relaxation.with_intervals(table)
    rows = table[(table["quantity"] == "R1") & (table["field_T"] == table["field_T"].min())]
    rows = rows.sort_values("temperature_K")
    plot_relaxation.curve(axes, rows, PALETTE[0], "both")
    x, part = 1000 / rows["temperature_K"], rows["by_surroundings_per_s"]
    axes.plot(x, rows["rate_per_s"] - part, "--", color=PALETTE[1], label="means of sites")
    axes.plot(x, part.abs(), ":", color=PALETTE[2], label="difference")
    axes.plot(x[part > 0], part[part > 0], "s", color=PALETTE[2], markersize=2.5)
    axes.plot(x[part < 0], -part[part < 0], "s", color=PALETTE[2], markersize=2.5, markerfacecolor="white")
    axes.set(yscale="log", ylabel=f"R$_1$ in {table['field_T'].min():g} T (1/s)")
    inverse_temperature_axis(axes, rows["temperature_K"], apart=0.14)
    axes.legend(loc="best")


def draw_echoes(axes: Axes, frozen: pd.DataFrame, colours: dict[float, tuple]) -> None:
    """Change of the echoes that surroundings are frozen in, in per cent of their start."""
    evolutions = some_of(sorted(frozen["evolution_time_us"].unique()))
    for temperature in some_of(sorted(frozen["temperature_K"].unique())):
        for evolution, dash in zip(evolutions, DASHES, strict=False):
            rows = frozen[(frozen["temperature_K"] == temperature) & (frozen["evolution_time_us"] == evolution)]
            if rows.empty:
                continue
            start = rows.loc[rows["mixing_time_s"] == 0, "S2"].iloc[0]
            later = rows[rows["mixing_time_s"] > 0]
            change = 100 * later["S2_by_surroundings"] / start
            axes.plot(later["mixing_time_s"], change, dash, color=colours[temperature], linewidth=0.8)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set(xscale="log", xlabel="mixing time (s)", ylabel="change of S₂ (% of its start)")
    handles = [
        Line2D([], [], color=GREY, linestyle=dash, label=f"t$_p$ = {evolution:g} µs")
        for evolution, dash in zip(evolutions, DASHES, strict=False)
    ]
    axes.legend(handles=handles, loc="best")


def draw(correlation: pd.DataFrame, relaxation: pd.DataFrame, echo: pd.DataFrame) -> Figure:
    """Three panels, or two where surroundings stay in no echo."""
    colours = temperature_colours(np.unique(correlation["temperature_K"]))
    frozen = echo[echo["surroundings"] == "frozen"]
    figure = new_figure(DOUBLE_MM, 65)
    left, middle, *right = figure.subplots(1, 2 if frozen.empty else 3)
    draw_correlations(left, correlation, colours)
    draw_relaxation(middle, relaxation)
    for axes in right:
        draw_echoes(axes, frozen, colours)
    for axes, name in zip((left, middle, *right), "abc", strict=False):
        letter(axes, name)
    return figure


def read(correlation: Path, relaxation: Path, echo: Path) -> tuple[pd.DataFrame, ...]:
    """The three tables; of relaxation moved rate models too, of the others that as it is alone."""
    rates = [*plot_relaxation.NUMBERS, "by_surroundings_per_s"]
    echoes = ["evolution_time_us", "mixing_time_s", "S2", "S2_by_surroundings"]
    tables = (
        read_table(correlation, ["temperature_K", "shift", "mixing_time_s", WHOLE, PART, ERROR]),
        read_table(relaxation, rates, ["quantity"]),
        read_table(echo, ["temperature_K", "shift", *echoes], ["surroundings"]),
    )
    return tables[0][tables[0]["shift"] == 0], tables[1], tables[2][tables[2]["shift"] == 0]


def main() -> None:
    args = figure_arguments(__doc__, ["correlation", "relaxation", "echo"], intervals=True).parse_args()
    tables = read(args.correlation, args.relaxation, args.echo)
    save(draw(*(only_errors(table, args.intervals) for table in tables)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
