"""Draw learning curves: errors on groups never seen against the number of snapshots, tensor beside scalar models.

Bars are intervals of 95 %; of two repeats, which give none that is worth drawing, both points are shown.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.style import DOUBLE_MM, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import read_table
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy import stats

LOOKS = {
    "tensor": {"color": "#1b6ca8", "marker": "o", "label": "tensor"},
    "invariants": {"color": "#d1495b", "marker": "s", "label": "scalars together"},
    "coupling": {"color": "#2e8b57", "marker": "^", "label": r"|V$_{zz}$| alone"},
    "isotropic": {"color": "#2e8b57", "marker": "^", "label": r"σ$_{iso}$ alone"},
}
NUMBERS = ["repeat", "snapshots", "all", "test_atoms"]
# The columns of a table with field gradients, and with shieldings; a scalar model has no answer for the last.
PANELS = {
    "efg": {
        "C_Q_mae_kHz": r"mean error of |C$_Q$| (kHz)",
        "eta_mae": r"mean error of η, weighted by |V$_{zz}$|",
        "component_rmse_percent": "RMSE of components (% of RMS)",
    },
    "ms": {
        "isotropic_ppm": r"mean error of σ$_{iso}$ (ppm)",
        "anisotropy_ppm": "mean error of |Δ| (ppm)",
        "component_ppm": "mean error of components (ppm)",
    },
}


def panels_of(table: pd.DataFrame) -> dict[str, str]:
    """Columns to draw and their labels: those of shieldings where the table has them."""
    return PANELS["ms" if set(PANELS["ms"]) <= set(table.columns) else "efg"]


def sized(rows: pd.DataFrame) -> pd.DataFrame:
    """With a column `size`: the number of snapshots, of "all" their mean over repeats."""
    of_all = rows.loc[rows["all"] == 1, "snapshots"].mean()
    return rows.assign(size=rows["snapshots"].where(rows["all"] == 0, of_all))


def curve(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean over repeats and half of its 95 % interval (Student's t; NaN of less than three), by size."""
    grouped = sized(rows.dropna(subset=[column])).groupby("size")[column]
    count = grouped.count()
    half = stats.t.ppf(0.975, np.maximum(count - 1, 1)) * grouped.std() / np.sqrt(count)
    return pd.DataFrame({"mean": grouped.mean(), "half": half.where(count > 2)})


def draw(table: pd.DataFrame) -> Figure:
    """Two scalars that a powder spectrum shows, and the components of the tensor."""
    figure = new_figure(DOUBLE_MM, 70)
    panels = figure.subplots(1, 3)
    for axes, (column, label), name in zip(panels, panels_of(table).items(), "abc", strict=True):
        for kind, look in LOOKS.items():
            points = curve(table[table["kind"] == kind], column)
            if points["half"].notna().any():
                axes.errorbar(points.index, points["mean"], points["half"], markersize=4, capsize=2, **look)
            elif len(points):
                axes.plot(points.index, points["mean"], markersize=4, **look)
                rows = sized(table[table["kind"] == kind])
                axes.plot(rows["size"], rows[column], ".", markersize=3, color=look["color"])
        axes.set(xscale="log", yscale="log", xlabel="structures trained on", ylabel=label)
        sizes = curve(table, "repeat").index
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes], minor=False)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        letter(axes, name)
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles))
    return figure


def read(path: Path) -> pd.DataFrame:
    """The table of curve points, of field gradients or of shieldings."""
    table = read_table(path, NUMBERS, ["kind"])
    return read_table(path, [*NUMBERS, *panels_of(table)], ["kind"])


def main() -> None:
    args = figure_arguments(__doc__, ["curves"]).parse_args()
    save(draw(read(args.curves)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
