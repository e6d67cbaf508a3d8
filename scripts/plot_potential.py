"""Draw the sanity of the interatomic potential beside DFT: energy and pressure against volume, nearest distances."""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.equation_of_state import fit_equation_of_state
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.style import (
    BLACK,
    DOUBLE_MM,
    GREY,
    PALETTE,
    SMALL,
    figure_arguments,
    letter,
    new_figure,
    save,
    temperature_colours,
)
from insilico_nmr.tables import read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

PAIRS = 3
POTENTIAL = PALETTE[0]
COLOURS = {"dft": BLACK, "member 0": POTENTIAL}
LEGEND = {"loc": "upper right", "handlelength": 1.4}


def draw_eos(energy: Axes, pressure: Axes, eos: pd.DataFrame) -> None:
    """Energies with fits, and pressures; the slope of DFT's energies beside its stresses."""
    for source, rows in eos.groupby("source", sort=False):
        volumes, meV = rows["volume_A3_per_atom"].to_numpy(), 1e3 * rows["energy_eV_per_atom"].to_numpy()
        dense = np.linspace(volumes.min(), volumes.max(), 200)
        colour, faint = COLOURS.get(source, POTENTIAL), 1.0 if source in COLOURS else 0.35
        try:
            fit = fit_equation_of_state(volumes, meV / 1e3, source)
        except InputError:  # it has no minimum, as the program that made the table has said
            fit = None
        if fit:
            energy.plot(dense, 1e3 * fit.energy_eV(dense), color=colour, alpha=faint, linewidth=0.8)
        if source == "dft" and fit:
            pressure.plot(dense, fit.pressure_GPa(dense), color=GREY, gid="slope", label="slope of DFT energies")
        if source in COLOURS:
            marks = {"marker": "o", "linestyle": "none", "color": colour}
            marks |= {"markerfacecolor": "white", "zorder": 4} if source == "dft" else {}
            name = "DFT" if source == "dft" else "potential, all groups"
            energy.plot(volumes, meV, gid=f"energy {source}", label=name, **marks)
            what = "DFT stresses" if source == "dft" else "stresses of the potential"
            pressure.plot(volumes, rows["pressure_GPa"], gid=f"pressure {source}", label=what, **marks)
        else:
            pressure.plot(volumes, rows["pressure_GPa"], color=colour, alpha=faint, linewidth=0.8)
    pressure.axhline(0, color=GREY, linewidth=0.4, zorder=0)
    energy.set(xlabel="volume (Å³ per atom)", ylabel="energy over minimum (meV/atom)")
    pressure.set(xlabel="volume (Å³ per atom)", ylabel="pressure (GPa)")
    handles, names = energy.get_legend_handles_labels()
    if eos["source"].nunique() > len(COLOURS):
        handles, names = [*handles, Line2D([], [], color=POTENTIAL, alpha=0.35)], [*names, "other members"]
    energy.legend(handles, names, **LEGEND)
    pressure.legend(**LEGEND)


def summary(metrics: pd.DataFrame) -> list[str]:
    """What the titles of the two upper panels say: minimum and modulus; errors on groups never seen."""
    table = metrics.set_index("quantity")
    lines = []
    for name, symbol, unit, digits in (("volume", "V", "Å³", 2), ("bulk modulus", "B", "GPa", 1)):
        row = table.loc[f"{name} at the minimum"]
        found = "no minimum" if np.isnan(row["potential"]) else f"{row['potential']:.{digits}f}"
        spread = "" if np.isnan(row["members_sd"]) else f" ± {row['members_sd']:.{digits}f}"
        lines.append(f"{symbol}: DFT {row['dft']:.{digits}f}, potential {found}{spread} {unit}")
    errors = []
    for name, unit in (("energy", "meV/atom"), ("force", "eV/Å"), ("stress", "GPa")):
        if f"{name} error, groups never seen" in table.index:
            value = table.loc[f"{name} error, groups never seen", "potential"]
            errors.append(f"{name} {value:.2g} {unit}")
    title = "errors on groups never seen:\n" + ", ".join(errors) if errors else ""
    return ["\n".join(lines), title]


def draw_distances(axes: Axes, histograms: pd.DataFrame, means: pd.DataFrame, colours: dict[float, tuple]) -> None:
    """Distributions of one pair: labelled snapshots filled, MD as lines; upright lines: means in the cell at rest."""
    for (source, temperature), bins in histograms.groupby(["source", "temperature_K"], dropna=False):
        edges = np.append(bins["bin_left_A"], bins["bin_right_A"].iloc[-1])
        if source == "md":
            axes.stairs(bins["density_per_A"], edges, color=colours[temperature], linewidth=0.8)
        else:
            axes.stairs(bins["density_per_A"], edges, fill=True, color=GREY, alpha=0.35)
    rest = means.set_index("source")["mean_A"]
    axes.axvline(rest["dft_at_rest"], color=BLACK, linewidth=0.8, gid="rest DFT")
    axes.axvline(rest["potential_at_rest"], color=POTENTIAL, linewidth=0.8, linestyle="--", gid="rest potential")
    shown = histograms[histograms["density_per_A"] > 4e-3 * histograms["density_per_A"].max()]
    axes.set_xlim(shown["bin_left_A"].min() - 0.05, shown["bin_right_A"].max() + 0.05)
    axes.set_ylim(bottom=0)
    centre, neighbour = means.iloc[0][["centre", "neighbour"]]
    axes.set(xlabel=f"{centre} to nearest {neighbour} (Å)", ylabel="density (1/Å)")


def of_pair(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """Rows of one pair of elements."""
    return table[(table["centre"] == pair[0]) & (table["neighbour"] == pair[1])]


def draw(eos: pd.DataFrame, metrics: pd.DataFrame, histograms: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """(a, b) Equation of state, (c, d, e) the pairs of elements that come closest in MD."""
    of_md = means[means["source"] == "md"]
    colours = temperature_colours(of_md["temperature_K"])
    closest = of_md.groupby(["centre", "neighbour"])["mean_A"].mean().sort_values().index[:PAIRS]
    figure = new_figure(DOUBLE_MM, 120)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    energy, pressure = upper.subplots(1, 2)
    draw_eos(energy, pressure, eos)
    for axes, text in zip((energy, pressure), summary(metrics), strict=True):
        axes.set_title(text, loc="left", size=SMALL)
    panels = lower.subplots(1, len(closest), squeeze=False)[0]
    for axes, pair in zip(panels, closest, strict=True):
        draw_distances(axes, *(of_pair(table, pair) for table in (histograms, means)), colours)
    handles = [Line2D([], [], color=colour, label=f"MD, {value:g} K") for value, colour in colours.items()]
    handles += [
        Patch(color=GREY, alpha=0.35, label="labelled snapshots"),
        Line2D([], [], color=BLACK, linewidth=0.8, label="at rest, DFT"),
        Line2D([], [], color=POTENTIAL, linewidth=0.8, linestyle="--", label="at rest, potential"),
    ]
    lower.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    for axes, name in zip([energy, pressure, *panels], "abcde", strict=False):
        letter(axes, name)
    return figure


def read(eos: Path, metrics: Path, histograms: Path, means: Path) -> tuple[pd.DataFrame, ...]:
    """The four tables."""
    pair = ["centre", "neighbour", "source"]
    return (
        read_table(eos, ["volume_A3_per_atom", "energy_eV_per_atom", "pressure_GPa"], ["source"]),
        read_table(metrics, ["dft", "potential", "members_sd"], ["quantity", "unit"]),
        read_table(histograms, ["temperature_K", "bin_left_A", "bin_right_A", "density_per_A"], pair),
        read_table(means, ["temperature_K", "mean_A"], pair),
    )


def main() -> None:
    args = figure_arguments(__doc__, ["eos", "potential_metrics", "distances", "distance_means"]).parse_args()
    tables = read(args.eos, args.potential_metrics, args.distances, args.distance_means)
    save(draw(*tables), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
