"""Draw what jumps during evolution and surroundings change: spectra above, alignment echoes below, by temperature.

What the other figures show is drawn beside what ions' paths give: lines of the Markov process of simulate_spectra.py,
and echoes of simulate_nmr.py, without jumps while phases evolve or with those of that process.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.style import BLACK, DASHES, DOUBLE_MM, GREY, PALETTE, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import only_errors, read_table, total
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

KINDS = {"sites": PALETTE[0], "surroundings": PALETTE[1]}
NAMES = {"sites": "paths, means of sites", "surroundings": "paths, filled neighbours"}
CENTRE_KHZ = 4.0  # the satellites are scaled by what lies beyond
MOST_ECHOES = 3
ERRORS = ["se_sampling", "sd_model", "sd_dft"]
OF_LINES, OF_ECHOES = ([form.format(name) for name in ERRORS] for form in ("intensity_{}_per_kHz", "S2_{}"))


def draw_spectra(axes: Axes, lines: pd.DataFrame, markov: pd.DataFrame) -> None:
    """Spectra of one temperature, cut off above the satellites; a message where none was followed to its end."""
    axes.fill_between(markov["frequency_kHz"], markov["exchange_per_kHz"], color=GREY, alpha=0.35, linewidth=0)
    highest, widest = 0.0, 1.05 * float(markov["frequency_kHz"].abs().max()) / 1.3
    for (kind, experiment), rows in lines.groupby(["tensors", "experiment"]):
        echo = experiment != "fid"
        look = {"color": KINDS[kind], "linestyle": ":" if echo else "-", "linewidth": 0.8}
        value, half = rows["intensity_per_kHz"], 1.96 * total(rows, OF_LINES)
        axes.plot(rows["frequency_kHz"], value, gid=f"{experiment} {kind}", **look)
        if not echo:
            axes.fill_between(rows["frequency_kHz"], value - half, value + half, color=look["color"], alpha=0.2, lw=0)
        beyond = rows["frequency_kHz"].abs() > CENTRE_KHZ
        highest = max(highest, float(value[beyond].max(skipna=True)))
    if lines.empty:
        axes.annotate("not followed to the end", (0.5, 0.9), xycoords="axes fraction", ha="center", color=GREY)
        highest = float(markov.loc[markov["frequency_kHz"].abs() > CENTRE_KHZ, "exchange_per_kHz"].max())
    axes.set(xlim=(-widest, widest), ylim=(-0.06 * highest, 1.3 * highest), xlabel="frequency (kHz)")
    axes.set_title(f"{markov['temperature_K'].iloc[0]:g} K")


def draw_echoes(axes: Axes, echoes: pd.DataFrame, frozen: pd.DataFrame) -> list[float]:
    """Echoes of one temperature at a few evolution times, µs, which are returned."""
    known = sorted(echoes["evolution_time_us"].unique())
    chosen = [known[n] for n in np.unique(np.linspace(0, len(known) - 1, min(MOST_ECHOES, len(known))).astype(int))]
    for evolution, dash in zip(chosen, DASHES, strict=False):
        line = frozen[(frozen["evolution_time_us"] == evolution) & (frozen["mixing_time_s"] > 0)]
        axes.plot(line["mixing_time_s"], line["S2"], color=GREY, linestyle=dash, linewidth=1.6, gid="frozen")
        for kind, rows in echoes[echoes["evolution_time_us"] == evolution].groupby("tensors"):
            time, value, half = rows["mixing_time_s"], rows["S2"], 1.96 * total(rows, OF_ECHOES)
            axes.plot(time, value, color=KINDS[kind], linestyle=dash, linewidth=0.8, gid=f"echo {kind}")
            axes.fill_between(time, value - half, value + half, color=KINDS[kind], alpha=0.2, linewidth=0)
    if chosen:
        time = echoes["mixing_time_s"]
        axes.set_xlim(time.min(), 3 * time.max())
    axes.set(xscale="log", xlabel="mixing time (s)")
    axes.set_ylim(bottom=0)
    return chosen


def draw(echoes: pd.DataFrame, lines: pd.DataFrame, markov: pd.DataFrame, frozen: pd.DataFrame) -> Figure:
    """Spectra and echoes, a column each temperature of the tables of paths."""
    temperatures = sorted(echoes["temperature_K"].unique())
    figure = new_figure(DOUBLE_MM, 120)
    panels = figure.subplots(2, len(temperatures), squeeze=False)
    chosen: list[float] = []
    for (upper, lower), temperature in zip(panels.T, temperatures, strict=True):
        mine = [table[table["temperature_K"] == temperature] for table in (lines, echoes, markov, frozen)]
        if mine[2].empty or mine[3].empty:
            raise InputError(f"paths at {temperature:g} K: the tables of spectra and of echoes have none at it")
        draw_spectra(upper, mine[0], mine[2])
        chosen = draw_echoes(lower, mine[1], mine[3]) or chosen
    panels[0, 0].set_ylabel("intensity (1/kHz)")
    panels[1, 0].set_ylabel("S₂")
    handles = [Line2D([], [], color=GREY, linewidth=2, label="as in the other figures")]
    shown = set(echoes["tensors"])
    handles += [Line2D([], [], color=KINDS[kind], label=NAMES[kind]) for kind in KINDS if kind in shown]
    if len(lines):
        handles.append(Line2D([], [], color=BLACK, linestyle=":", linewidth=0.8, label="quadrupole echo (above)"))
    handles += [
        Line2D([], [], color=BLACK, linestyle=dash, linewidth=0.8, label=f"t$_p$ = {evolution:g} µs (below)")
        for evolution, dash in zip(chosen, DASHES, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    for axes, name in zip(panels.ravel(), "abcdefgh", strict=False):
        letter(axes, name)
    return figure


def read(echoes: Path, lines: Path, markov: Path, frozen: Path) -> tuple[pd.DataFrame, ...]:
    """The four tables; that of spectra has no rows where none was followed to its end."""
    spectra = ["temperature_K", "frequency_kHz", "intensity_per_kHz", *OF_LINES]
    other = read_table(frozen, ["temperature_K", "shift", "evolution_time_us", "mixing_time_s", "S2"])
    return (
        read_table(echoes, ["temperature_K", "evolution_time_us", "mixing_time_s", "S2", *OF_ECHOES], ["tensors"]),
        read_table(lines, spectra, ["tensors", "experiment"], may_be_empty=True),
        read_table(markov, ["temperature_K", "frequency_kHz", "exchange_per_kHz"]),
        other[other["shift"] == 0],  # of the rate model as it is
    )


def main() -> None:
    names = ["path_echoes", "path_spectra", "spectra", "echo"]
    args = figure_arguments(__doc__, names, intervals=True).parse_args()
    tables = read(args.path_echoes, args.path_spectra, args.spectra, args.echo)
    save(draw(*(only_errors(table, args.intervals) for table in tables)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
