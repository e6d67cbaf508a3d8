"""Draw learning curves: errors on groups never seen against the number of snapshots, tensor beside scalar models."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.style import BLACK, DOUBLE_MM, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import read_table
from matplotlib.figure import Figure
from scipy import stats

NUMBERS = ["repeat", "snapshots", "all", "test_atoms", "C_Q_mae_kHz", "component_rmse_percent", "eta_mae"]
NUMBERS += ["axis_angle_deg"]
LOOKS = {
    "tensor": {"color": "#1b6ca8", "marker": "o", "label": "tensor"},
    "invariants": {"color": "#d1495b", "marker": "s", "label": r"scalars: V$_{zz}$, η, V:V, det V"},
    "coupling": {"color": "#2e8b57", "marker": "^", "label": r"scalar: |V$_{zz}$|"},
}


def curve(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean over repeats and half of its 95 % interval (Student's t), by size; "all" at its mean number of snapshots."""
    rows = rows.dropna(subset=[column]).copy()
    rows["size"] = rows["snapshots"].where(rows["all"] == 0, rows.loc[rows["all"] == 1, "snapshots"].mean())
    grouped = rows.groupby("size")[column]
    count = grouped.count()
    half = stats.t.ppf(0.975, np.maximum(count - 1, 1)) * grouped.std() / np.sqrt(count)
    return pd.DataFrame({"mean": grouped.mean(), "half": half})


def draw(table: pd.DataFrame) -> Figure:
    """Left: |C_Q|; middle: η; right: components of the tensor, for which a scalar model has no answer."""
    figure = new_figure(DOUBLE_MM, 70)
    panels = figure.subplots(1, 3)
    labels = (
        ("C_Q_mae_kHz", r"mean error of |C$_Q$| (kHz)"),
        ("eta_mae", r"mean error of η, weighted by |V$_{zz}$|"),
        ("component_rmse_percent", "RMSE of components (% of RMS)"),
    )
    for axes, (column, label), name in zip(panels, labels, "abc", strict=True):
        for kind, look in LOOKS.items():
            points = curve(table[table["kind"] == kind], column)
            if len(points):
                axes.errorbar(points.index, points["mean"], points["half"], markersize=4, capsize=2, **look)
        axes.set(xscale="log", yscale="log", xlabel="snapshots trained on", ylabel=label)
        sizes = sorted(table.loc[table["all"] == 0, "snapshots"].unique())
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes], minor=False)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
        letter(axes, name)
    panels[0].legend(loc="lower left")
    panels[2].axhline(100, color=BLACK, linewidth=0.6)
    return figure


def read(path: Path) -> pd.DataFrame:
    """The table of curve points."""
    return read_table(path, NUMBERS, ["kind"])


def main() -> None:
    args = figure_arguments(__doc__, ["curves"]).parse_args()
    save(draw(read(args.curves)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
