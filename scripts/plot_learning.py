"""Draw the errors on snapshots never trained on against the number of labelled ones, iteration by iteration."""

from pathlib import Path

import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.style import BLACK, DOUBLE_MM, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import complete, read_table
from matplotlib.figure import Figure

NUMBERS = ["iteration", "n_training_frames", "force_rmse_eV_per_A", "force_rms_eV_per_A", "tensor_rmse_au"]
NUMBERS += ["tensor_rms_au", "n_frames"]


def draw(table: pd.DataFrame) -> Figure:
    """Left: forces; right: tensors. What predicting zero would give stands in words: it is far off the scale."""
    figure = new_figure(DOUBLE_MM, 70)
    panels = figure.subplots(1, 2)
    for axes, name, zero, label in (
        (panels[0], "force_rmse_eV_per_A", "force_rms_eV_per_A", "RMSE of a force component (eV/Å)"),
        (panels[1], "tensor_rmse_au", "tensor_rms_au", "RMSE of a field-gradient component (a.u.)"),
    ):
        axes.plot(table["n_training_frames"], table[name], color=BLACK, marker="o", markersize=4, gid="error")
        for _, row in table.iterrows():
            axes.annotate(f"{row['iteration']:g}", (row["n_training_frames"], row[name]), (3, 4),
                          textcoords="offset points")  # fmt: skip
        axes.set_ylim(0, 1.2 * table[name].max())
        axes.set(xlabel="labelled snapshots trained on", ylabel=label)
        axes.set_title(f"zero predicted: {table[zero].iloc[-1]:.3g}")
    figure.suptitle(f"{table['n_frames'].iloc[-1]:g} validation snapshots; numbers: round")
    letter(panels[0], "a")
    letter(panels[1], "b")
    return figure


def read(path: Path) -> pd.DataFrame:
    """The table; all rows whole."""
    return complete(read_table(path, NUMBERS), NUMBERS, path, "iterations")


def main() -> None:
    args = figure_arguments(__doc__, ["learning"]).parse_args()
    save(draw(read(args.learning)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
