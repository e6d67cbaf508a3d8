"""Draw spectra of a static and of spinning powders: ions at rest on their sites over the limit of fast exchange."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.style import DOUBLE_MM, GREY, PALETTE, SMALL, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import only_errors, read_table, total
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOTIONS = {"rigid": (GREY, "ions at rest"), "fast": (PALETTE[0], "fast exchange")}
COLUMNS = ["temperature_K", "field_T", "spin_rate_kHz", "frequency_kHz", *(f"{name}_per_kHz" for name in MOTIONS)]
ERRORS = ("sd_model", "se_sampling", "sd_dft")
SPREADS = [f"{name}_{error}_per_kHz" for name in MOTIONS for error in ERRORS]
CENTRE = 0.06  # of the wide panel's width, left and right of the tallest line

MOST_OVER_RIGID = 2.5  # height of the wide panels, over that of the satellites of ions at rest


def read(path: Path) -> pd.DataFrame:
    """The table of one temperature and field; every point of a spectrum must have a value."""
    table = read_table(path, [*COLUMNS, "half_decay_s", *SPREADS])
    for name in COLUMNS:
        if table[name].isna().any():
            raise InputError(f"{path}: row {int(table[name].isna().argmax()) + 2} has no {name}")
    for name in ("temperature_K", "field_T"):
        if table[name].nunique() > 1:
            raise InputError(f"{path}: more than one {name}")
    return table


def spread(spectrum: pd.DataFrame, motion: str) -> pd.Series:
    """One standard deviation of committee, sampling and DFT together."""
    return total(spectrum, [f"{motion}_{error}_per_kHz" for error in ERRORS])


def half_width(table: pd.DataFrame) -> float:
    """kHz from the centre; beyond, no spectrum reaches 3 % of what it has away from its centre."""
    widest = 0.0
    for _, spectrum in table.groupby("spin_rate_kHz"):
        x, y = spectrum["frequency_kHz"].abs(), spectrum["rigid_per_kHz"]
        wings = y[x > 0.1 * x.max()]
        widest = max(widest, x[y > 0.03 * wings.max()].max())
    return float(min(table["frequency_kHz"].abs().max(), 1.1 * widest))


def panel(axes: Axes, spectrum: pd.DataFrame) -> None:
    """Both limits with their bands, the fast one in front."""
    x = spectrum["frequency_kHz"]
    for order, (motion, (colour, _)) in enumerate(MOTIONS.items()):
        y, error = spectrum[f"{motion}_per_kHz"], spread(spectrum, motion)
        axes.fill_between(
            x, np.clip(y - error, 0, None), y + error, color=colour, alpha=0.35, linewidth=0, zorder=3 + order
        )
        axes.plot(x, y, color=colour, linewidth=0.8, zorder=5 + order, gid=motion)
    rigid = MOTIONS["rigid"][0]
    axes.fill_between(x, 0, spectrum["rigid_per_kHz"], color=rigid, alpha=0.15, linewidth=0, zorder=2)


def conditions(row: pd.Series) -> str:
    """Temperature, field and, where it is known, the time that tells which limit is nearer."""
    words = f"{row['temperature_K']:g} K, {row['field_T']:g} T"
    if pd.isna(row["half_decay_s"]):
        return words
    units = (("s", 1), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9), ("ps", 1e-12))
    unit, size = next((pair for pair in units if row["half_decay_s"] >= pair[1]), units[-1])
    return f"{words}, tensors half forgotten after {float(format(row['half_decay_s'] / size, '.2g')):g} {unit}"


def draw(table: pd.DataFrame) -> Figure:
    """A row a spin rate: left the satellites, higher lines cut off; right the centre at full height."""
    rates = sorted(table["spin_rate_kHz"].unique())
    width = half_width(table)
    figure = new_figure(DOUBLE_MM, 26 + 30 * len(rates))
    rows = np.atleast_2d(figure.subplots(len(rates), 2, width_ratios=[3, 1], sharex="col"))
    tallest = table.loc[table["rigid_per_kHz"].idxmax(), "frequency_kHz"]
    for (wide, centre), rate, name in zip(rows, rates, "abcdefgh", strict=False):
        spectrum = table[table["spin_rate_kHz"] == rate]
        away = spectrum[(spectrum["frequency_kHz"] - tallest).abs() > CENTRE * width]
        rigid, fast = (float((away[f"{motion}_per_kHz"] + spread(away, motion)).max()) for motion in MOTIONS)
        highest = min(max(rigid, fast), MOST_OVER_RIGID * rigid)
        for axes in (wide, centre):
            panel(axes, spectrum)
            axes.set_yticks([])
        wide.set_xlim(-width, width)
        wide.set_ylim(-0.03 * highest, 1.12 * highest)
        centre.set_xlim(tallest - CENTRE * width, tallest + CENTRE * width)
        centre.set_ylim(bottom=0)
        centre.margins(y=0.05)
        label = "static" if rate == 0 else f"spinning at {rate:g} kHz"
        wide.annotate(label, (0.015, 0.95), xycoords="axes fraction", va="top", size=SMALL, weight="bold")
        letter(wide, name)
    top, bottom = rows[0], rows[-1]
    top[0].set_title(f"{conditions(table.iloc[0])} (higher lines cut)")
    top[1].set_title("centre, full height")
    for axes in bottom:
        axes.set_xlabel("frequency offset (kHz)")
    figure.supylabel("intensity (equal areas)", size=7)
    for colour, label in MOTIONS.values():
        top[1].plot([], [], color=colour, linewidth=0.9, label=label)
    if table[SPREADS].notna().any(axis=None):
        top[1].fill_between([], [], [], color=GREY, alpha=0.5, linewidth=0, label="1 s.d., site tensors")
    figure.legend(*top[1].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def main() -> None:
    args = figure_arguments(__doc__, ["mas"], intervals=True).parse_args()
    save(draw(only_errors(read(args.mas), args.intervals)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
