"""Draw the histograms of a dataset card: field gradients, forces and nearest distances of the labelled snapshots."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.style import (
    DOUBLE_MM,
    PALETTE,
    SINGLE_MM,
    figure_arguments,
    letter,
    new_figure,
    save,
)
from insilico_nmr.tables import read_table
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLUMNS = ["bin_left", "bin_right", "count"]


def label(quantity: str) -> str:
    """Axis label of a quantity of dataset_card.py."""
    if quantity == "abs_V_zz_au":
        return r"|V$_{zz}$| (a.u.)"
    if quantity == "force_component_eV_per_A":
        return "force component (eV/Å)"
    if match := re.fullmatch(r"nearest_(\w+)_(\w+)_A", quantity):
        return f"distance {match[1]} to nearest {match[2]} (Å)"
    return quantity.replace("_", " ")


def read(path: Path) -> pd.DataFrame:
    """The table, every bin with its edges and count."""
    table = read_table(path, COLUMNS, ["quantity"])
    for column in COLUMNS:
        if table[column].isna().any():
            raise InputError(f"{path}: row {int(table[column].isna().argmax()) + 2} has no {column}")
    if (table["bin_right"] <= table["bin_left"]).any() or (table["count"] < 0).any():
        raise InputError(f"{path}: bins must have bin_right above bin_left, and count must not be negative")
    return table


def draw(table: pd.DataFrame) -> Figure:
    """One panel a quantity; the counts of forces on a logarithmic axis, where their tails show."""
    groups = list(table.groupby("quantity", sort=False))
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = new_figure(SINGLE_MM if columns == 1 else DOUBLE_MM, 55 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(groups) :]:
        axes.remove()
    for number, (axes, (quantity, bins)) in enumerate(zip(grid, groups, strict=False)):
        bins = bins.sort_values("bin_left")
        edges = np.append(bins["bin_left"], bins["bin_right"].iloc[-1])
        middle = (bins["bin_left"] + bins["bin_right"]) / 2
        total = bins["count"].sum()
        force = quantity.startswith("force")
        axes.stairs(bins["count"], edges, fill=True, color=PALETTE[number % len(PALETTE)], alpha=0.35)
        axes.stairs(bins["count"], edges, color=PALETTE[number % len(PALETTE)])
        if force:
            axes.set_yscale("log")
            axes.set_ylim(0.5, 3 * bins["count"].max())
        else:
            axes.set_ylim(0, 1.15 * bins["count"].max())
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(label(quantity))
        axes.set_ylabel("count per bin")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if total > 0:
            # From bin middles, which is as much as the table holds. The mean force is zero: its spread is of interest.
            power = 2 if force else 1
            typical = float((middle**power * bins["count"]).sum() / total) ** (1 / power)
            for place in (-typical, typical) if force else (typical,):
                axes.axvline(place, color="black", linewidth=0.8, linestyle=":")
            axes.set_title(f"{total:.0f} values, {'r.m.s.' if force else 'mean'} {typical:#.3g}")
        letter(axes, "abcdefghijkl"[number % 12])
    return figure


def main() -> None:
    args = figure_arguments(__doc__, ["dataset_histograms"]).parse_args()
    save(draw(read(args.dataset_histograms)), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
