"""Draw static powder spectra stacked against temperature: exchanging, over the rigid pattern and the fast limit.

Measured spectra (--measured; measured.py) are drawn as points over the predicted one that is nearest in temperature.
"""

import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.measured import read_spectra
from insilico_nmr.style import (
    DOUBLE_MM,
    GREY,
    SMALL,
    figure_arguments,
    letter,
    new_figure,
    save,
    temperature_colours,
)
from insilico_nmr.tables import only_errors, read_table, total
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NEAREST_K = 10.0  # a measured spectrum further from every predicted one is not drawn
MOTIONS = ["rigid_per_kHz", "exchange_per_kHz", "fast_per_kHz"]
COLUMNS = ["temperature_K", "frequency_kHz", *MOTIONS]
# Over the tensor committee, over replicates of the site tensors (empty where there is only one), of DFT, by the rates.
SPREADS = {
    name: [name.replace("per_kHz", f"{error}_per_kHz") for error in ("sd_model", "se_sampling", "sd_dft")]
    for name in MOTIONS
}
SPREADS["exchange_per_kHz"].append("exchange_sd_rates_per_kHz")


def read(path: Path) -> pd.DataFrame:
    """The table; every point of a spectrum must have a value."""
    table = read_table(path, [*COLUMNS, *chain(*SPREADS.values())])
    for name in COLUMNS:
        if table[name].isna().any():
            raise InputError(f"{path}: row {int(table[name].isna().argmax()) + 2} has no {name}")
    return table


def stack(axes: Axes, table: pd.DataFrame, colours: dict, step: float, cut: float) -> None:
    """One spectrum above the other, the coldest below, each cut at `cut` above its base line."""
    for number, (temperature, spectrum) in enumerate(table.groupby("temperature_K")):
        base, x = number * step, spectrum["frequency_kHz"]
        rigid, exchange, fast = (np.minimum(spectrum[name], cut) + base for name in MOTIONS)
        order = 10 + 3 * (len(colours) - number)
        axes.fill_between(x, base, exchange, color=colours[temperature], alpha=0.15, linewidth=0, zorder=order)
        for name, colour, alpha in zip(MOTIONS, (GREY, colours[temperature], "black"), (0.3, 0.35, 0.15), strict=True):
            error = total(spectrum, SPREADS[name])
            low, high = (np.clip(spectrum[name] + sign * error, 0, cut) + base for sign in (-1, 1))
            axes.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0, zorder=order, gid=f"spread {name}")
        axes.plot(x, rigid, color=GREY, linewidth=0.7, zorder=order + 1)
        axes.plot(x, fast, color="black", linewidth=0.6, linestyle=(0, (2, 1.5)), zorder=order + 1)
        axes.plot(x, exchange, color=colours[temperature], linewidth=0.9, zorder=order + 2)
    axes.set_ylim(-0.05 * step, (len(colours) - 1) * step + max(cut, step) * 1.02)
    axes.set_yticks([])
    axes.set_xlabel("frequency offset (kHz)")


def rows_of_measured(measured: pd.DataFrame, temperatures_K: list[float]) -> dict[float, pd.DataFrame]:
    """Measured spectra by the predicted temperature that each is drawn at; says on stderr which are not drawn."""
    found: dict[float, pd.DataFrame] = {}
    spectra = dict(iter(measured.groupby("temperature_K")))
    pairs = [(abs(row - temperature), temperature, row) for temperature in spectra for row in temperatures_K]
    drawn = set()
    for distance, temperature, row in sorted(pairs):
        if distance <= NEAREST_K and row not in found and temperature not in drawn:
            found[row] = spectra[temperature]
            drawn.add(temperature)
    for temperature in spectra.keys() - drawn:
        print(f"the spectrum measured at {temperature:g} K is not drawn: no row of its own", file=sys.stderr)
    return found


def draw_measured(axes: Axes, spectra: dict[float, pd.DataFrame], colours: dict, step: float, cut: float) -> None:
    """Points of measured spectra over the predicted ones in the stack of `stack`."""
    for number, temperature in enumerate(sorted(colours)):
        if temperature in spectra:
            spectrum = spectra[temperature]
            heights = np.minimum(spectrum["per_kHz"], cut) + number * step
            axes.plot(spectrum["frequency_kHz"], heights, linestyle="none", marker=".", markersize=2, color="black",
                      zorder=150, gid="measured")  # fmt: skip


def half_width(table: pd.DataFrame) -> float:
    """kHz; rigid intensity is below 3 % of its wings' maximum beyond, with a margin."""
    x, y = table["frequency_kHz"].abs(), table["rigid_per_kHz"]
    wings = y[x > 0.1 * x.max()]
    return float(min(x.max(), 1.15 * x[y > 0.03 * wings.max()].max()))


def draw(table: pd.DataFrame, measured: pd.DataFrame | None = None) -> Figure:
    """Left: satellites, the central line cut off; right: the central region at the height of the central line."""
    colours = temperature_colours(table["temperature_K"])
    figure = new_figure(DOUBLE_MM, max(70, 25 + 11 * len(colours)))
    satellites, centre = figure.subplots(1, 2, width_ratios=[3, 1])
    width = half_width(table)
    table = table[table["frequency_kHz"].abs() <= width]
    away = table[table["frequency_kHz"].abs() > 0.08 * width]
    highest = float(away[["rigid_per_kHz", "exchange_per_kHz"]].to_numpy().max())
    stack(satellites, table, colours, 1.25 * highest, 1.15 * highest)
    spectra = {} if measured is None else rows_of_measured(measured, sorted(colours))
    draw_measured(satellites, spectra, colours, 1.25 * highest, 1.15 * highest)
    satellites.set_xlim(-width, width)
    satellites.set_ylabel("intensity (equal areas, shifted)")
    satellites.set_title("satellites (higher lines cut)")
    tallest = float(table[MOTIONS].to_numpy().max())
    stack(centre, table, colours, 1.1 * tallest, tallest)
    draw_measured(centre, spectra, colours, 1.1 * tallest, tallest)
    centre.set_xlim(-0.04 * width, 0.04 * width)
    centre.set_title("centre, full height")
    for number, temperature in enumerate(sorted(colours)):
        also = f", measured at {spectra[temperature]['temperature_K'].iloc[0]:g} K" if temperature in spectra else ""
        satellites.annotate(
            f"{temperature:g} K{also}", (0.985, number * 1.25 * highest), (0, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", size=SMALL, color=colours[temperature], weight="bold", zorder=200,
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.6},
        )  # fmt: skip
    middle = colours[sorted(colours)[len(colours) // 2]]  # exchange has the colour of its temperature
    centre.plot([], [], label="exchange", color=middle, linewidth=0.9)
    if table[SPREADS["exchange_per_kHz"]].notna().any(axis=None):
        centre.fill_between([], [], [], label="1 s.d.", color=middle, alpha=0.35, linewidth=0)
    centre.plot([], [], label="rigid", color=GREY, linewidth=0.9)
    centre.plot([], [], label="fast limit", color="black", linestyle=(0, (2, 1.5)), linewidth=0.9)
    if spectra:
        centre.plot([], [], label="measured", color="black", linestyle="none", marker=".", markersize=2)
    figure.legend(*centre.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    letter(satellites, "a")
    letter(centre, "b")
    return figure


def main() -> None:
    parser = figure_arguments(__doc__, ["spectra"], intervals=True)
    parser.add_argument("--measured", type=Path, help="measured spectra, CSV (default: none)")
    args = parser.parse_args()
    measured = read_spectra(args.measured) if args.measured else None
    save(draw(only_errors(read(args.spectra), args.intervals), measured), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
