"""Draw tensor correlation in molecular dynamics and kinetic Monte Carlo, by several tensors, a panel a temperature."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.style import BLACK, DOUBLE_MM, PALETTE, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import only_errors, read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WAYS = {
    "surroundings": ("sites and filled neighbours, MD", {"color": PALETTE[1]}),
    "kmc_surroundings": ("the same, kinetic Monte Carlo", {"color": PALETTE[1], "linestyle": "--"}),
    "sites": ("means of sites, MD", {"color": PALETTE[0]}),
    "kmc_sites": ("the same, kinetic Monte Carlo", {"color": PALETTE[0], "linestyle": "--"}),
    "direct": ("momentary tensors, MD", {"color": BLACK}),
}
NUMBERS = ["temperature_K", "time_ps", *[f"{way}{part}_au2" for way in WAYS for part in ("", "_se")]]
MOST_PANELS = 4
LOWEST, A_DECADE = 5e-3, 0.2  # of the start: drawn to; a curve that falls no further has a linear axis


def panel(axes: Axes, rows: pd.DataFrame) -> None:
    """Curves over the momentary tensors' start, with bands of 95 %; the start itself is at the left edge."""
    start, time = rows["direct_au2"].iloc[0], rows["time_ps"].to_numpy()
    time = np.maximum(time, time[1] / 2)
    for way, (label, look) in WAYS.items():
        value, half = rows[f"{way}_au2"] / start, 1.96 * rows[f"{way}_se_au2"] / start
        low = np.maximum(value - half, LOWEST)
        axes.fill_between(time, low, value + half, color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(time, value, label=label, gid=way, **look)
    axes.set(xscale="log", xlim=(time[0], time[-1]), xlabel="time t (ps)")
    axes.set_title(f"{rows['temperature_K'].iloc[0]:g} K")


def draw(table: pd.DataFrame) -> Figure:
    """One panel a temperature, the hottest MOST_PANELS."""
    temperatures = sorted(table["temperature_K"].unique())[-MOST_PANELS:]
    figure = new_figure(DOUBLE_MM, 68)
    panels = figure.subplots(1, len(temperatures), sharey=True, squeeze=False)[0]
    for axes, temperature, name in zip(panels, temperatures, "abcd", strict=False):
        panel(axes, table[table["temperature_K"] == temperature].sort_values("time_ps"))
        letter(axes, name)
    least = min(line.get_ydata().min() for axes in panels for line in axes.lines)
    for axes in panels:
        axes.set(yscale="log" if least < A_DECADE else "linear", ylim=(max(LOWEST, 0.7 * least), 1.2))
    panels[0].set_ylabel("⟨V(0):V(t)⟩ / ⟨V:V⟩")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


def read(path: Path) -> pd.DataFrame:
    """The table of correlations."""
    return read_table(path, NUMBERS)


def main() -> None:
    args = figure_arguments(__doc__, ["histories"], intervals=True).parse_args()
    save(draw(only_errors(read(args.histories), args.intervals)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
