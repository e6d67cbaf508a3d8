"""Draw quadrupole couplings and asymmetries of the sites against temperature: still, averaged over motion, measured."""

from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.literature import for_figure
from insilico_nmr.style import BLACK, DOUBLE_MM, PALETTE, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import only_errors, read_table, total
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

NUMBERS = ["temperature_K", "C_Q_kHz", "C_Q_sd_model_kHz", "C_Q_se_sampling_kHz", "C_Q_sd_dft_kHz"]
NUMBERS += ["eta", "eta_sd_model", "eta_se_sampling"]
ASIDE = 0.012  # of the span of temperatures, by which still points stand beside the others
LOOKS = {"thermal": {"fmt": "o-"}, "still": {"fmt": "s--", "markerfacecolor": "white"}}
NAMES = {"thermal": "averaged over motion", "still": "still"}


def curves(axes: Axes, table: pd.DataFrame, value: str, unit: str) -> None:
    """|value| of each orbit with 95 % of committee and sampling, of DFT as pale bars, still and averaged."""
    aside = ASIDE * np.ptp(table["temperature_K"])
    for orbit, colour in zip(table["orbit"].unique(), cycle(PALETTE), strict=False):
        for average, look in LOOKS.items():
            rows = table[(table["orbit"] == orbit) & (table["average"] == average)].sort_values("temperature_K")
            x, y = rows["temperature_K"] + aside * (average == "still"), rows[f"{value}{unit}"]
            half = 1.96 * total(rows, [f"{value}_sd_model{unit}", f"{value}_se_sampling{unit}"])
            ends = np.clip([y.abs() - half, y.abs() + half], 0, 1 if value == "eta" else np.inf)
            axes.errorbar(
                x, y.abs(), np.abs(ends - y.abs().to_numpy()), color=colour, linewidth=0.8, elinewidth=0.6, **look
            )
            if value == "C_Q" and rows["C_Q_sd_dft_kHz"].notna().any():
                dft = 1.96 * rows["C_Q_sd_dft_kHz"]
                axes.errorbar(x, y.abs(), dft, fmt="none", ecolor=colour, elinewidth=3, capsize=0, alpha=0.2, zorder=0)


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
    handles = [Line2D([], [], color=colour, label=orbit) for orbit, colour in zip(orbits, cycle(PALETTE), strict=False)]
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
    args = figure_arguments(__doc__, ["couplings"], literature=True, intervals=True, isotope=True).parse_args()
    measured = for_figure(args.literature, args.material, args.phase, ["abs_CQ"], args.isotope)
    save(draw(only_errors(read(args.couplings), args.intervals), measured), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
