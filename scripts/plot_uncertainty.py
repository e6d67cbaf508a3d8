"""Draw whether a committee's spread is its error: errors against spread, and how often intervals hold the truth."""

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.style import BLACK, DOUBLE_MM, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import read_table
from insilico_nmr.uncertainty import confidences
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

NUMBERS = ["fold", "outside", "component_sd_au", "factor", "members"]
BINS = 10  # of equally many atoms
KINDS = {"own": {"color": "#d1495b", "marker": "s"}, "widened": {"color": "#1b6ca8", "marker": "o"}}
QUANTITIES = {"component": ("-", "component"), "abs_C_Q_kHz": ("--", r"|C$_Q$|"), "eta": (":", "η")}


def reliability(spreads: np.ndarray, errors: np.ndarray) -> pd.DataFrame:
    """Root-mean-square spread (n,) and error (n, c) in bins of equally many atoms, by spread."""
    order = np.array_split(np.argsort(spreads, kind="stable"), BINS)
    rms = [(np.sqrt(np.mean(spreads[part] ** 2)), np.sqrt(np.mean(errors[part] ** 2))) for part in order]
    return pd.DataFrame(rms, columns=["spread", "error"])


def draw(table: pd.DataFrame) -> Figure:
    """Left: reliability of a component; right: part of errors within intervals of each level."""
    figure = new_figure(DOUBLE_MM, 80)
    left, right = figure.subplots(1, 2)
    errors = table[[column for column in table if column.startswith("component_error")]].to_numpy()
    own = table["component_sd_au"].to_numpy()
    for (kind, look), spreads in zip(KINDS.items(), (own, own * table["factor"].to_numpy()), strict=True):
        points = reliability(spreads, errors)
        label = "spread of the committee" if kind == "own" else "times its factor"
        left.plot(points["spread"] * 1e3, points["error"] * 1e3, linestyle="none", markersize=4, label=label, **look)
    ends = np.array([min(left.get_xlim()[0], left.get_ylim()[0]), max(left.get_xlim()[1], left.get_ylim()[1])])
    ends = np.maximum(ends, own[own > 0].min() * 1e3)
    left.plot(ends, ends, color=BLACK, linewidth=0.6)
    left.set(xscale="log", yscale="log", xlabel=r"spread (10$^{-3}$ a.u.)", ylabel=r"RMS error (10$^{-3}$ a.u.)")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    left.legend(loc="upper left")
    levels = np.linspace(0, 1, 101)
    for quantity, (dash, name) in QUANTITIES.items():
        for (kind, look), found in zip(KINDS.items(), confidences(table, quantity), strict=True):
            within = np.searchsorted(np.sort(found), levels, side="right") / len(found)
            label = name if kind == "widened" else None
            right.plot(100 * levels, 100 * within, linestyle=dash, color=look["color"], linewidth=1.0, label=label)
    right.plot([0, 100], [0, 100], color=BLACK, linewidth=0.6)
    right.set(xlim=(0, 100), ylim=(0, 100), xlabel="level of the interval (%)", ylabel="errors within it (%)")
    right.legend(loc="lower right")
    for axes, name in zip((left, right), "ab", strict=True):
        letter(axes, name)
    return figure


def main() -> None:
    args = figure_arguments(__doc__, ["atoms"]).parse_args()
    save(draw(read_table(args.atoms, NUMBERS, ["group"])), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
