"""Draw the reference scale: couplings measured against those of DFT, and their ratio for every site."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.style import BLACK, DOUBLE_MM, GREY, SMALL, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import complete, read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

NUMBERS = [
    "V_zz_au",
    "C_Q_dft_kHz",
    "C_Q_measured_kHz",
    "C_Q_uncertainty_kHz",
    "used",
    "slope",
    "scatter",
    "deviation",
    "outlier",
]
TEXTS = ["compound", "site", "isotope", "geometry"]
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def read(path: Path) -> pd.DataFrame:
    """The table; all rows whole."""
    table = complete(read_table(path, NUMBERS, TEXTS), NUMBERS, path, "sites")
    if table.empty:
        raise InputError(f"{path}: no site")
    return table


def draw_line(axes: Axes, table: pd.DataFrame, looks: dict[str, dict]) -> None:
    """|C_Q| measured against DFT; filled: in the fit. The band is the scatter of a site about the line."""
    for _, row in table.iterrows():
        look = looks[row["isotope"]]
        axes.errorbar(row["C_Q_dft_kHz"], row["C_Q_measured_kHz"], row["C_Q_uncertainty_kHz"], elinewidth=0.6,
                      linestyle="none", markersize=4, markerfacecolor=look["color"] if row["used"] else "white",
                      gid="used" if row["used"] else "not used", **look)  # fmt: skip
    values = table[["C_Q_dft_kHz", "C_Q_measured_kHz"]].to_numpy()
    x = np.geomspace(values.min() / 1.6, values.max() * 1.6, 50)
    slope, scatter = table["slope"].iloc[0], table["scatter"].iloc[0]
    axes.plot(x, slope * x, color=BLACK, linewidth=0.8, zorder=0)
    axes.fill_between(x, slope * x * (1 - scatter), slope * x * (1 + scatter), color=GREY, alpha=0.3, linewidth=0)
    axes.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(x[0], x[-1]), aspect="equal")
    axes.set(xlabel=r"|C$_Q$|, DFT (kHz)", ylabel=r"|C$_Q$|, measured (kHz)")
    axes.set_title(f"{table['geometry'].iloc[0]} coordinates: a = {slope:.3f}, scatter {100 * scatter:.0f} %")
    axes.annotate(r"|C$_Q$| = a·|C$_Q$(DFT)|", (0.97, 0.03), xycoords="axes fraction", ha="right", fontsize=SMALL)


def draw_ratios(axes: Axes, tables: list[pd.DataFrame], looks: dict[str, dict]) -> None:
    """Measured over DFT, one line a site; small: the second geometry. The band is the scatter of the first."""
    first = tables[0].sort_values(["isotope", "C_Q_measured_kHz"], ascending=[True, False]).reset_index()
    keys = list(zip(first["compound"], first["site"], first["isotope"], strict=True))
    for number, table in enumerate(tables):
        for _, row in table.iterrows():
            key = (row["compound"], row["site"], row["isotope"])
            if key not in keys:
                continue
            look = looks[row["isotope"]]
            ratio = row["C_Q_measured_kHz"] / row["C_Q_dft_kHz"]
            error = row["C_Q_uncertainty_kHz"] / row["C_Q_dft_kHz"]
            place = keys.index(key) + 0.25 * number
            shown = np.clip(ratio, 0.52, 1.95)
            axes.errorbar(shown, place, xerr=min(error, 0.4), elinewidth=0.6, linestyle="none",
                          markersize=4 - 1.2 * number, markerfacecolor=look["color"] if row["used"] else "white",
                          **look)  # fmt: skip
            if shown != ratio:  # off the scale: written beside the marker, on the inner side
                left = ratio > shown
                axes.annotate(f"{ratio:.2g}", (shown, place), (-7 if left else 7, -3), textcoords="offset points",
                              fontsize=SMALL, ha="right" if left else "left")  # fmt: skip
    axes.axvline(1, color=BLACK, linewidth=0.6)
    slope, scatter = tables[0]["slope"].iloc[0], tables[0]["scatter"].iloc[0]
    axes.axvspan(slope * (1 - scatter), slope * (1 + scatter), color=GREY, alpha=0.3, linewidth=0)
    axes.set_yticks(range(len(keys)), [f"{compound} {site.split()[0]}" for compound, site, _ in keys])
    axes.set(xlim=(0.5, 2.0), ylim=(len(keys) - 0.3, -0.7), xlabel=r"|C$_Q$| measured / DFT")


def draw(table: pd.DataFrame) -> Figure:
    """Left: the line of each geometry; right: ratios of all of them."""
    isotopes = sorted(set(table["isotope"]), key=lambda name: int("".join(c for c in name if c.isdigit())))
    colours = ["#1b6ca8", "#d1495b", "#2e8b57", "#8a5aa8", "#c77f1a", "#4a4a4a", "#007f7f", "#a0522d"]
    looks = {name: {"marker": MARKERS[n % 8], "color": colours[n % 8]} for n, name in enumerate(isotopes)}
    tables = [rows for _, rows in table.groupby("geometry", sort=False)]
    figure = new_figure(DOUBLE_MM, max(75 * len(tables), 30 + 3.6 * len(tables[0])))
    grid = figure.add_gridspec(len(tables), 2, width_ratios=[1.1, 1])
    lines = [figure.add_subplot(grid[number, 0]) for number in range(len(tables))]
    ratios = figure.add_subplot(grid[:, 1])
    for axes, rows in zip(lines, tables, strict=True):
        draw_line(axes, rows, looks)
    draw_ratios(ratios, tables, looks)
    handles = [Line2D([], [], linestyle="none", markersize=4, label=name, **look) for name, look in looks.items()]
    handles += [
        Line2D([], [], linestyle="none", marker="o", color=GREY, markerfacecolor="white", markersize=4,
               label="not in the fit"),
    ]  # fmt: skip
    lines[0].legend(handles=handles, loc="upper left")
    names = [rows["geometry"].iloc[0] for rows in tables]
    if len(names) > 1:
        ratios.set_title(f"large: {names[0]} coordinates, small: {names[1]}")
    outliers = pd.concat([rows[rows["outlier"] == 1] for rows in tables])
    if len(outliers):
        found = dict.fromkeys(f"{row['compound']} {row['site'].split()[0]}" for _, row in outliers.iterrows())
        text = f"outliers of either (reasons in the table): {', '.join(found)}"
        figure.supxlabel(text, size=SMALL, x=0.01, ha="left")
    for axes, name in zip([*lines, ratios], "abc", strict=False):
        letter(axes, name)
    return figure


def main() -> None:
    args = figure_arguments(__doc__, ["reference_scale"]).parse_args()
    save(draw(read(args.reference_scale)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
