"""Draw the fit of site energies and pair interactions, and the lattice gas beside molecular dynamics."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
from insilico_nmr.style import BAND, BLACK, DOUBLE_MM, GREY, PALETTE, figure_arguments, letter, new_figure, save
from insilico_nmr.tables import only_errors, read_table, total
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ENERGY_ERRORS = ["energy_se_sampling_eV", "energy_sd_model_eV"]
GASES = {"interacting": ("with interactions", PALETTE[1]), "exclusion": ("exclusion alone", PALETTE[0])}


def parity(axes: Axes, table: pd.DataFrame) -> None:
    """Each arrangement by the fit to the others."""
    early = table["round"] == 0
    for rows, label, colour in ((table[early], "at random", GREY), (table[~early], "drawn from the gas", PALETTE[2])):
        axes.plot(rows["energy_eV"], rows["predicted_eV"], "o", markersize=2.5, color=colour, label=label)
    edges = [table[["energy_eV", "predicted_eV"]].min().min(), table[["energy_eV", "predicted_eV"]].max().max()]
    axes.plot(edges, edges, color=BLACK, linewidth=0.6)
    axes.set(xlabel="relaxed energy (eV)", ylabel="by a fit to the others (eV)", aspect="equal")
    axes.legend(loc="upper left")


def convergence(axes: Axes, table: pd.DataFrame) -> None:
    """Error of cross-validation over the scatter of energies, by cut-off."""
    part = table["error_eV"] / table["spread_eV"]
    axes.plot(table["cutoff_A"], part, "o-", markersize=3, color=PALETTE[0])
    chosen = table["chosen"] == 1
    axes.plot(table["cutoff_A"][chosen], part[chosen], "o", color=PALETTE[1], gid="chosen", label="chosen")
    axes.set(xlabel="cut-off R (Å)", ylabel="error / spread of energies", ylim=(0, 1.15 * part.max()))
    axes.legend(loc="lower left")


def pairs(axes: Axes, table: pd.DataFrame) -> None:
    """Pair energies against distance with 95 %, and Coulomb's law alone."""
    rows = table[table["kind"] == "pair"].sort_values("distance_A")
    half = 1.96 * total(rows, ENERGY_ERRORS)
    axes.axhline(0, color=GREY, linewidth=0.5)
    axes.plot(rows["distance_A"], 1e3 * rows["coulomb_eV"], "--", color=BLACK, label="Coulomb's law alone")
    axes.errorbar(rows["distance_A"], 1e3 * rows["energy_eV"], 1e3 * half, fmt="o", color=PALETTE[0], gid="pairs")
    axes.set(xlabel="distance (Å)", ylabel="pair energy J (meV)")
    axes.margins(y=0.2)
    axes.legend(loc="upper right")


def beside_md(axes: Axes, table: pd.DataFrame) -> None:
    """Filled pairs over those of independent sites, the gases against MD, all temperatures."""
    rows = table[(table["kind"] == "pair") & table["md"].notna()]
    for name, (label, colour) in GASES.items():
        axes.errorbar(
            rows["md"], rows[name], xerr=1.96 * rows["md_se"], fmt="o", markersize=2.5, color=colour, label=label,
            gid=name, elinewidth=0.5, capsize=0,
        )  # fmt: skip
    values = rows[["md", *GASES]].to_numpy()
    edges = np.array([np.nanmin(values), np.nanmax(values)])
    axes.fill_between(edges, edges - 0.02, edges + 0.02, color=GREY, **BAND)
    axes.plot(edges, edges, color=BLACK, linewidth=0.6)
    axes.set(xlabel="filled pairs / random, MD", ylabel="the same, lattice gas")
    axes.legend(loc="lower right")


def draw(
    interactions: pd.DataFrame, arrangements: pd.DataFrame, cutoffs: pd.DataFrame, correlation: pd.DataFrame
) -> Figure:
    """Four panels: (a) parity, (b) error by cut-off, (c) pair energies, (d) the gases beside MD."""
    figure = new_figure(DOUBLE_MM, 130)
    panels = figure.subplots(2, 2).ravel()
    parity(panels[0], arrangements)
    convergence(panels[1], cutoffs)
    pairs(panels[2], interactions)
    beside_md(panels[3], correlation)
    for axes, name in zip(panels, "abcd", strict=True):
        letter(axes, name)
    return figure


def read(interactions: Path, arrangements: Path, cutoffs: Path, correlation: Path) -> tuple[pd.DataFrame, ...]:
    """The four tables."""
    gases = ["temperature_K", "distance_A", "md", "md_se", *GASES]
    return (
        read_table(interactions, ["distance_A", "energy_eV", *ENERGY_ERRORS, "coulomb_eV"], ["kind", "name"]),
        read_table(arrangements, ["round", "energy_eV", "predicted_eV"]),
        read_table(cutoffs, ["cutoff_A", "error_eV", "spread_eV", "chosen"]),
        read_table(correlation, gases, ["kind", "name"]),
    )


def main() -> None:
    names = ["interactions", "interaction_parity", "interaction_cutoffs", "pair_correlation"]
    args = figure_arguments(__doc__, names, intervals=True).parse_args()
    energies, *others, correlation = read(*[getattr(args, name) for name in names])
    if "sampling" not in args.intervals:
        correlation = correlation.assign(md_se=np.nan)
    save(draw(only_errors(energies, args.intervals), *others, correlation), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
