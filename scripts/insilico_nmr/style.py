"""What all figures share: sizes, fonts, colours, and files that depend on the tables alone.

Sizes are those of a journal page, 85 mm for one column and 170 mm for two; nothing is scaled afterwards. Colours: the
palette of M. Okabe and K. Ito (2008) for kinds of data, matplotlib's `plasma` without its lightest end for
temperatures; both are told apart by colour-blind readers, and `plasma` in grey as well.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from insilico_nmr.files import atomic_path
from insilico_nmr.tables import KINDS

SINGLE_MM, DOUBLE_MM = 85, 170
BLACK, GREY = "#000000", "#8c8c8c"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#6B4C1E")
DASHES = ("-", "--", ":", "-.")
SMALL = 6  # points, the smallest print
BAND = {"alpha": 0.22, "linewidth": 0}
SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "ytick.right": True,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "patch.linewidth": 0.6,
    "errorbar.capsize": 1.5,
    "savefig.dpi": 300,
    "figure.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "insilico-nmr",
}
STARS = ("*", "P", "X", "D", "^", "v", "<", ">")  # of measured values


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of this style; its axes are to be made while it is the latest one (settings are global)."""
    matplotlib.rcParams.update(matplotlib.rcParamsDefault)
    matplotlib.rcParams.update(SETTINGS)
    return Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")


def save(figure: Figure, pdf: str | Path, png: str | Path) -> None:
    """Write both files, whole or not at all, without dates or versions: equal figures are equal bytes."""
    with atomic_path(pdf) as vector, atomic_path(png) as pixels:
        figure.savefig(vector, metadata={"CreationDate": None, "Creator": None, "Producer": None})
        figure.savefig(pixels, metadata={"Software": None})


def temperature_colours(temperatures_K: Iterable[float]) -> dict[float, tuple]:
    """A colour for each temperature, dark for the coldest, evenly spaced by rank so that neighbours differ."""
    ordered = sorted(set(temperatures_K))
    places = np.linspace(0, 0.88, len(ordered)) if len(ordered) > 1 else [0.4]
    return {value: matplotlib.colormaps["plasma"](place) for value, place in zip(ordered, places, strict=True)}


def letter(axes: Axes, name: str) -> None:
    """Panel letter outside the upper left corner."""
    axes.annotate(
        name, (0, 1), (-20, 4), xycoords="axes fraction", textcoords="offset points", ha="right", weight="bold", size=8
    )


def below_legend(axes: Axes, handles: list[Artist]) -> None:
    """Legend in the lower left corner, which a line that falls on a logarithmic axis leaves free, with room for it."""
    low, high = np.log10(axes.get_ylim())
    legend = axes.legend(handles=handles, loc="lower left")
    axes.figure.draw_without_rendering()
    part = 0.03 + legend.get_window_extent().height / axes.get_window_extent().height
    axes.set_ylim(10 ** (low - part / (1 - part) * (high - low)), 10**high)


def inverse_temperature_axis(
    axes: Axes, temperatures_K: Iterable[float], kelvin: bool = True, apart: float = 0.09
) -> None:
    """Label the lower axis 1000/T, over the temperatures given with a margin; with `kelvin`, put those on the upper.

    `apart`: part of the axis between two labels in kelvins, at least.
    """
    inverse = 1000 / np.array(sorted(set(temperatures_K)))
    margin = max(0.05 * np.ptp(inverse), 0.02 * inverse.mean())
    low, high = inverse.min() - margin, inverse.max() + margin
    axes.set_xlim(max(low, 1e-2), high)
    axes.set_xlabel("1000/T (K⁻¹)")
    if not kelvin:
        return
    top = axes.secondary_xaxis("top")
    ticks: list[float] = []
    # Kelvins from the cold end, so far apart that labels do not touch.
    for value in (*range(50, 200, 10), 200, 225, 250, 275, 300, 350, *range(400, 1000, 50), 1000, 1200, 1500, 2000):
        place = 1000 / value
        if low < place < high and (not ticks or abs(place - 1000 / ticks[-1]) > apart * (high - low)):
            ticks.append(value)
    top.xaxis.set_major_locator(FixedLocator([1000 / value for value in ticks]))
    top.xaxis.set_major_formatter(FixedFormatter([str(value) for value in ticks]))
    top.xaxis.set_minor_locator(NullLocator())
    top.set_xlabel("T (K)")


def draw_measured(axes: Axes, measured: pd.DataFrame, inverse: bool = True, unit: float = 1.0) -> None:
    """Measured values (`literature.for_figure`) of known temperature, each with its method and source in the legend.

    Over 1000/T, or over T where not `inverse`; in `unit` of the table's.
    """
    rows = measured[measured["temperature_K"].notna()]
    for marker, row in zip(STARS * 9, rows.itertuples(), strict=False):
        x, half = 1000 / row.temperature_K if inverse else row.temperature_K, min(row.uncertainty, 0.999 * row.value)
        axes.errorbar(x, row.value / unit, half / unit, color=BLACK, linestyle="none", elinewidth=0.7, zorder=5)
        axes.plot(x, row.value / unit, color=BLACK, marker=marker, markersize=5, markeredgewidth=0, linestyle="none",
                  zorder=5, gid="measured", label=f"{row.method}: {row.reference}")  # fmt: skip


def figure_arguments(
    description: str, tables: list[str], literature: bool = False, intervals: bool = False, isotope: bool = False
) -> argparse.ArgumentParser:
    """Arguments of figure programs: tables in order, the two outputs, what is compared with, which errors are drawn."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in tables:
        parser.add_argument(name, type=Path, metavar=f"{name.upper()}.csv", help=f"table {name}.csv")
    parser.add_argument("--out-pdf", type=Path, required=True, help="figure to write, PDF")
    parser.add_argument("--out-png", type=Path, required=True, help="figure to write, PNG")
    if intervals:
        parser.add_argument("--intervals", nargs="*", choices=KINDS, default=KINDS, help="errors drawn (default: all)")
    if literature:
        parser.add_argument("--literature", type=Path, help="table of measured values; needs --material and --phase")
        parser.add_argument("--material", default="", help="its rows of this material")
        parser.add_argument("--phase", default="", help="and this phase")
    if isotope:
        parser.add_argument("--isotope", help="measured values of this nucleus, for example 7Li: with --literature")
    return parser
