"""Draw quadrupole couplings and asymmetries of the sites against temperature: still, averaged over motion, measured."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.literature import for_figure
from insilico_nmr.style import BLACK, DOUBLE_MM, PALETTE, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

NUMBERS = ["temperature_K", "C_Q_kHz", "C_Q_ci_low_kHz", "C_Q_ci_high_kHz", "eta", "eta_ci_low", "eta_ci_high"]
ASIDE = 0.012  # of the span of temperatures, by which still points stand beside the others
LOOKS = {"thermal": {"fmt": "o-"}, "still": {"fmt": "s--", "markerfacecolor": "white"}}
NAMES = {"thermal": "averaged over motion", "still": "still"}


def curves(axes: Axes, table: pd.DataFrame, value: str, unit: str) -> None:
    """|value| of each orbit with its interval, still and averaged."""
    aside = ASIDE * np.ptp(table["temperature_K"])
    for orbit, colour in zip(table["orbit"].unique(), PALETTE, strict=False):
        for average, look in LOOKS.items():
            rows = table[(table["orbit"] == orbit) & (table["average"] == average)].sort_values("temperature_K")
            x, y = rows["temperature_K"] + aside * (average == "still"), rows[f"{value}{unit}"]
            bars = np.abs([y - rows[f"{value}_ci_low{unit}"], rows[f"{value}_ci_high{unit}"] - y])
            axes.errorbar(x, y.abs(), bars, color=colour, linewidth=0.8, elinewidth=0.6, **look)


def draw(table: pd.DataFrame, measured: pd.DataFrame) -> Figure:
    """(a) |C_Q| with measured values, (b) η."""
    figure = new_figure(DOUBLE_MM, 75)
    left, right = figure.subplots(1, 2)
    curves(left, table, "C_Q", "_kHz")
    curves(right, table, "eta", "")
    known = measured[measured["confirmed"].astype(bool) & measured["temperature_K"].notna()]
    left.errorbar(
        known["temperature_K"], known["value"], known["uncertainty"], fmt="*", color=BLACK, markersize=6, zorder=4
    )
    left.set(xlabel="T (K)", ylabel=r"|C$_Q$| (kHz)", ylim=(0, None))
    right.set(xlabel="T (K)", ylabel="η", ylim=(-0.03, 1.03))
    orbits = table["orbit"].unique()
    handles = [Line2D([], [], color=colour, label=orbit) for orbit, colour in zip(orbits, PALETTE, strict=False)]
    handles += [
        Line2D([], [], color="grey", marker=look["fmt"][0], linestyle=look["fmt"][1:], label=NAMES[average],
               markerfacecolor=look.get("markerfacecolor", "grey"))
        for average, look in LOOKS.items()
    ]  # fmt: skip
    if len(known):
        handles.append(Line2D([], [], color=BLACK, marker="*", linestyle="none", label="measured"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    for axes, name in ((left, "a"), (right, "b")):
        letter(axes, name)
    return figure


def read(path: Path) -> pd.DataFrame:
    """The table of couplings."""
    return read_table(path, NUMBERS, ["orbit", "average"])


def main() -> None:
    args = figure_arguments(__doc__, ["couplings"], literature=True).parse_args()
    measured = for_figure(args.literature, args.material, args.phase, ["abs_CQ"])
    save(draw(read(args.couplings), measured), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
