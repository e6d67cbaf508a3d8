"""Draw energies along hop paths: first-principles single points beside the potential."""

from pathlib import Path
from string import ascii_lowercase

import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.style import BLACK, DOUBLE_MM, PALETTE, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import complete, read_table
from matplotlib.figure import Figure

NUMBERS = ["path", "image", "length_A", "dft_eV", "potential_eV"]
SPREAD, UNSEEN = "potential_sd_eV", "held_out_eV"


def read(path: Path) -> pd.DataFrame:
    """The table; all rows whole, but for the spread of a potential without a committee and what fits without a path
    make of it."""
    return complete(read_table(path, [*NUMBERS, SPREAD, UNSEEN], ["class"]), NUMBERS, path, "images")


def draw(table: pd.DataFrame) -> Figure:
    """One panel a path; bars: standard deviation of the committee. Of a path that the potential learnt, the energies by
    a fit without it too."""
    paths = [rows.sort_values("image") for _, rows in table.groupby("path")]
    figure = new_figure(DOUBLE_MM, 65)
    panels = figure.subplots(1, len(paths), squeeze=False)[0]
    for axes, rows, name in zip(panels, paths, ascii_lowercase, strict=False):
        axes.plot(rows["length_A"], rows["dft_eV"], "o-", color=BLACK, linewidth=0.8, label="DFT", gid="dft")
        axes.errorbar(rows["length_A"], rows["potential_eV"], rows[SPREAD], color=PALETTE[0], marker="s",
                      linewidth=0.8, linestyle="--", capsize=2, label="potential", gid="potential")  # fmt: skip
        if rows[UNSEEN].notna().all() and (rows[UNSEEN] != rows["potential_eV"]).any():
            axes.plot(rows["length_A"], rows[UNSEEN], ":", color=PALETTE[1], marker="v", markerfacecolor="white",
                      label="fit without this path", gid="unseen")  # fmt: skip
        axes.set(title=rows["class"].iloc[0], xlabel="length of the path (Å)")
        letter(axes, name)
    panels[0].set_ylabel("energy, from the first image (eV)")
    panels[0].legend()
    return figure


def main() -> None:
    args = figure_arguments(__doc__, ["paths"]).parse_args()
    save(draw(read(args.paths)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
