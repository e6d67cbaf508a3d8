"""Draw barriers of single hops against the size of the supercell that they were found in."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.style import BLACK, DOUBLE_MM, GREY, PALETTE, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import read_table
from matplotlib.figure import Figure

NUMBERS = ["arrangement", "atoms", "forward_eV", "backward_eV"]
TEXTS = ["class", "from", "to", "cells", "status"]
KEYS = ["class", "arrangement", "side"]


def read(path: Path) -> pd.DataFrame:
    """One row a barrier: class, arrangement, side, cells, atoms, eV; of hops that have one in every cell.

    Raises InputError where no hop has.
    """
    table = read_table(path, NUMBERS, TEXTS)
    long = table[table["status"] == "converged"].melt(
        ["class", "arrangement", "cells", "atoms"], ["forward_eV", "backward_eV"], "side", "barrier_eV"
    )
    whole = long.groupby(KEYS)["cells"].transform("nunique") == table["cells"].nunique()
    if not whole.any():
        raise InputError(f"{path}: no hop has a barrier in every cell")
    return long[whole].sort_values("atoms", kind="stable")


def draw(table: pd.DataFrame) -> Figure:
    """(a) Every barrier, (b) what smaller cells change; points with bars: mean and standard deviation."""
    figure = new_figure(DOUBLE_MM, 70)
    left, right = figure.subplots(1, 2)
    cells = list(dict.fromkeys(table["cells"]))
    colours = {name: PALETTE[n % len(PALETTE)] for n, name in enumerate(dict.fromkeys(table["class"]))}
    wide = table.pivot_table(index=KEYS, columns="cells", values="barrier_eV", sort=False)[cells]
    labelled = set()
    for (name, _, side), barriers in wide.iterrows():
        look = {"color": colours[name], "linewidth": 0.7, "linestyle": "-" if side == "forward_eV" else "--"}
        label = None if name in labelled else name
        labelled.add(name)
        left.plot(range(len(cells)), barriers, marker=".", label=label, gid="hop", **look)
        right.plot(range(len(cells)), barriers - barriers[cells[-1]], gid="hop", alpha=0.5, **look)
    change = wide.sub(wide[cells[-1]], axis=0)
    right.errorbar(range(len(cells)), change.mean(), change.std(ddof=0), color=BLACK, marker="o", linestyle="none",
                   capsize=2, gid="mean", zorder=3)  # fmt: skip
    right.axhline(0, color=GREY, linewidth=0.6)
    atoms = table.groupby("cells")["atoms"].first()
    names = [f"{cell.replace('x', '×')}\n{atoms[cell]:g}" for cell in cells]
    for axes in (left, right):
        axes.set_xticks(np.arange(len(cells)), names)
        axes.set_xlabel("supercell and its atoms")
    left.set(ylabel="barrier (eV)", ylim=(0, None))
    right.set_ylabel(f"barrier − that in {cells[-1].replace('x', '×')} (eV)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=7)
    for axes, name in zip((left, right), "ab", strict=True):
        letter(axes, name)
    return figure


def main() -> None:
    args = figure_arguments(__doc__, ["barriers"]).parse_args()
    save(draw(read(args.barriers)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
