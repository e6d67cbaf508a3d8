"""Draw jump rates against inverse temperature: counted in MD, from NEB barriers, and the rate model fitted to both.

Lines with 95 % bands are the rate model. Zero counts are upper limits at 3/exposure, drawn as arrows that point down.
Measured activation energies are straight guides, of which only the slope means anything. Measured jump rates, of an ion
among all sites around it, are not these rates into one vacant site, and stand in the summary.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.literature import for_figure
from insilico_nmr.predictions import rate_line
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.style import (
    BAND,
    BLACK,
    DASHES,
    DOUBLE_MM,
    GREY,
    PALETTE,
    SMALL,
    figure_arguments,
    inverse_temperature_axis,
    letter,
    new_figure,
    save,
)
from insilico_nmr.tables import complete, read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

NUMBERS = ["temperature_K", "count", "exposure_s", "rate_per_s", "ci_low_per_s", "ci_high_per_s"]
KEYS = ["class", "from", "to"]
ORIGINS = ("md", "neb", "model", "model_with_marked")
WITH_MARKED = {"linewidth": 0.5, "linestyle": (0, (1, 2)), "zorder": 1}  # the model fitted to all temperatures of MD
MARKERS = ("o", "s")  # along a class as named, and back
# A hop an hour: no experiment sees slower ones, and lines that go on down would squeeze all others.
SLOWEST_PER_S = 1 / 3600


def read(path: Path) -> pd.DataFrame:
    """The rate table with a value in every cell that is drawn; raises InputError for an origin that is not known."""
    table = read_table(path, NUMBERS, [*KEYS, "origin"])
    unknown = set(table["origin"]) - set(ORIGINS)
    if unknown:
        named = ", ".join(map(repr, sorted(unknown)))
        raise InputError(f"{path}: column origin has {named}; expected {', '.join(ORIGINS)}")
    parts = []
    for origin, rows in table.groupby("origin"):
        needed = [
            "temperature_K",
            "rate_per_s",
            "ci_low_per_s",
            "ci_high_per_s",
            *(["count"] if origin == "md" else []),
        ]
        parts.append(complete(rows, needed, path, f"{origin} rates"))
    table = pd.concat(parts).sort_index()
    positive = (table["temperature_K"] > 0) & (table["ci_high_per_s"] > 0)
    positive &= (table["rate_per_s"] > 0) | ((table["origin"] == "md") & (table["count"] == 0))
    if not positive.all():
        raise InputError(f"{path}: row {int(positive.idxmin()) + 2}: temperature and rate must be above 0")
    return table


def only_intervals(table: pd.DataFrame, kinds: Iterable[str]) -> pd.DataFrame:
    """The table where MD has intervals only with sampling among `kinds`, the model only with rates; others are points.

    Upper limits of zero counts stay, since they are all that MD says there.
    """
    narrow = (table["origin"] == "md") & (table["count"] > 0) & ("sampling" not in kinds)
    narrow |= (table["origin"] == "model") & ("rates" not in kinds)
    ends = {end: table[end].mask(narrow, table["rate_per_s"]) for end in ("ci_low_per_s", "ci_high_per_s")}
    return table.assign(**ends)


def styles(table: pd.DataFrame) -> dict[tuple[str, str, str], dict]:
    """Colour of each class; dash and marker of each of its directions."""
    names = list(dict.fromkeys(table["class"]))
    found: dict[tuple[str, str, str], dict] = {}
    for key in dict.fromkeys(map(tuple, table[KEYS].to_numpy())):
        number = names.index(key[0])
        back = sum(other[0] == key[0] for other in found)
        found[key] = {
            "color": PALETTE[number % len(PALETTE)],
            "dash": DASHES[2 * (number // len(PALETTE)) % 4 + min(back, 1)],
            "marker": MARKERS[min(back, 1)],
        }
    return found


def draw_lines(axes: Axes, table: pd.DataFrame, look: dict, temperatures_K: np.ndarray) -> None:
    """The rate model as lines with bands over `temperatures_K`, and NEB rates as dotted lines with diamonds."""
    for key, style in look.items():
        mine = table[(table[KEYS] == list(key)).all(axis=1)]
        model, neb, all_md = (
            mine[mine["origin"] == origin].sort_values("temperature_K")
            for origin in ("model", "neb", "model_with_marked")
        )
        if len(model):
            line = rate_line(model)
            value, low, high = np.array([line.rate(T) for T in temperatures_K]).T
            high = np.minimum(high, line.prefactor_interval_per_s[1])  # as RateModel.rate has it
            axes.plot(1000 / temperatures_K, value, color=style["color"], linestyle=style["dash"], gid="model")
            axes.fill_between(1000 / temperatures_K, low, high, color=style["color"], **(BAND | {"alpha": 0.1}))
        if len(all_md):
            line = rate_line(all_md)
            value = [line.rate(T)[0] for T in temperatures_K]
            axes.plot(1000 / temperatures_K, value, color=style["color"], gid="with_marked", **WITH_MARKED)
        if len(neb):
            marker = {"marker": "D", "markersize": 2.4, "markerfacecolor": "white", "markeredgewidth": 0.6}
            inverse = 1000 / neb["temperature_K"]
            axes.plot(inverse, neb["rate_per_s"], ":", color=style["color"], linewidth=0.7, gid="neb", **marker)


def draw_md(axes: Axes, table: pd.DataFrame, look: dict, mark_above_K: float) -> None:
    """MD points with their intervals, open above `mark_above_K`; arrows down for zero counts and intervals to zero."""
    for key, style in look.items():
        mine = table[(table[KEYS] == list(key)).all(axis=1) & (table["origin"] == "md")]
        # Both directions of a class have nearly the same rate: set them apart by a hair.
        aside = 0.006 * np.ptp(axes.get_xlim()) * (1 if style["marker"] == MARKERS[0] else -1)
        for row in mine.itertuples():
            x, hot = 1000 / row.temperature_K + aside, row.temperature_K > mark_above_K
            common = {"color": style["color"], "markerfacecolor": "white" if hot else style["color"]}
            common |= {"marker": style["marker"], "markersize": 3.2, "markeredgewidth": 0.7, "zorder": 4}
            if row.count == 0:
                limit = row.ci_high_per_s
                axes.plot(x, limit, linestyle="none", gid="upper_limit", **(common | {"marker": "_", "markersize": 5}))
                arrow_down(axes, x, limit, limit / 3, style["color"], filled=not hot)
                continue
            to_zero = row.ci_low_per_s <= 0  # no place on a logarithmic axis
            bars = [[0 if to_zero else row.rate_per_s - row.ci_low_per_s], [row.ci_high_per_s - row.rate_per_s]]
            gid = "md_open" if hot else "md"
            axes.errorbar(x, row.rate_per_s, bars, elinewidth=0.7, linestyle="none", gid=gid, **common)
            if to_zero:
                arrow_down(axes, x, row.rate_per_s, row.rate_per_s / 8, style["color"], filled=not hot)


def arrow_down(axes: Axes, x: float, start: float, end: float, colour: str, filled: bool) -> None:
    """A small arrow down from `start` to `end`."""
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 0.7, "mutation_scale": 5, "fill": filled}
    axes.annotate("", (x, end), (x, start), zorder=3, arrowprops=look | {"shrinkA": 0, "shrinkB": 0})


def draw_slopes(axes: Axes, energies: pd.DataFrame) -> list[Line2D]:
    """Measured activation energies as guides to slopes in the lower left corner, numbered by their sources."""
    energies = energies.sort_values("value")
    (left, right), (bottom, top) = axes.get_xlim(), np.log10(axes.get_ylim())
    pivot_x, pivot_y = left + 0.03 * (right - left), bottom + 0.42 * (top - bottom)
    lowest = np.inf
    for row in energies.itertuples():
        slope = -row.value / BOLTZMANN_EV_PER_K / 1000 / np.log(10)  # decades per unit of 1000/T
        length = min(0.25 * (right - left), 0.38 * (top - bottom) / -slope)
        end_x, end_y = pivot_x + length, pivot_y + slope * length
        axes.plot([pivot_x, end_x], 10 ** np.array([pivot_y, end_y]), color=GREY, linewidth=0.9, gid="slope_guide")
        lowest = min(end_y, lowest - 0.04 * (top - bottom))  # one label below the other
        axes.annotate(f"{row.value_text} eV [{row.source}]", (end_x, 10**lowest), (2, 0),
                      textcoords="offset points", size=SMALL, color="#404040", va="center", zorder=6,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5})  # fmt: skip
    return [Line2D([], [], color=GREY, linewidth=0.9, label="measured energy (slope)")] if len(energies) else []


def signs(table: pd.DataFrame, look: dict, mark_above_K: float) -> list[Line2D]:
    """What dashes and symbols mean, of those that occur."""
    meaning = {"color": BLACK, "markersize": 3.2, "markeredgewidth": 0.7, "linestyle": "none"}
    both = any(style["marker"] == MARKERS[1] for style in look.values())
    md = table[table["origin"] == "md"]
    found = []
    wide = table[table["ci_high_per_s"] > table["ci_low_per_s"]]
    if (table["origin"] == "model").any():
        name = "rate model, 95 % band" if (wide["origin"] == "model").any() else "rate model"
        found.append(Line2D([], [], color=BLACK, label=name + both * ": as named"))
        if both:
            found.append(Line2D([], [], color=BLACK, linestyle=DASHES[1], label=f"{name}: back"))
    if len(md):
        name = "MD, 95 %" if ((wide["origin"] == "md") & (wide["count"] > 0)).any() else "MD"
        found.append(Line2D([], [], marker=MARKERS[0], label=name + both * ": as named", **meaning))
        if both:
            found.append(Line2D([], [], marker=MARKERS[1], label=f"{name}: back", **meaning))
    if (md["temperature_K"] > mark_above_K).any():
        found.append(Line2D([], [], marker=MARKERS[0], markerfacecolor="white", label=f"MD above {mark_above_K:g} K",
                            **meaning))  # fmt: skip
    if (table["origin"] == "model_with_marked").any():
        found.append(Line2D([], [], color=BLACK, label="model of all MD temperatures", **WITH_MARKED))
    if (md["count"] == 0).any():
        found.append(Line2D([], [], linestyle="none", marker=r"$\downarrow$", color=BLACK, markersize=5,
                            markeredgewidth=0.2, label="MD, no jump: k < 3/exposure"))  # fmt: skip
    if (table["origin"] == "neb").any():
        found.append(Line2D([], [], marker="D", markerfacecolor="white", label="NEB barrier",
                            **(meaning | {"markersize": 2.4, "linestyle": ":", "linewidth": 0.7})))  # fmt: skip
    return found


def decades(axes: Axes, low: float, high: float) -> None:
    """Logarithmic axis of rates, with a number at every few decades and a tick at each."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(numticks=9))
    axes.yaxis.set_minor_locator(LogLocator(numticks=99))
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_classes(grid: np.ndarray, table: pd.DataFrame, look: dict, mark_above_K: float) -> None:
    """One small panel (axes in `grid`, rows by columns) a class over the temperatures of MD, all of one scale."""
    md = table[table["origin"] == "md"]
    model = table[(table["origin"] == "model") & table["temperature_K"].isin(md["temperature_K"])]
    lowest = [md.loc[md["ci_low_per_s"] > 0, "ci_low_per_s"], md.loc[md["rate_per_s"] > 0, "rate_per_s"] / 8]
    floor = pd.concat([*lowest, md.loc[md["count"] == 0, "ci_high_per_s"] / 4, model["rate_per_s"]]).min()
    names = list(dict.fromkeys(table["class"]))
    for number, axes in enumerate(grid.ravel()):
        if number >= len(names):
            axes.remove()
            continue
        mine = {key: style for key, style in look.items() if key[0] == names[number]}
        inverse_temperature_axis(axes, md["temperature_K"], kelvin=number < grid.shape[1], apart=0.16)
        decades(axes, floor / 3, md["ci_high_per_s"].max() * 30)  # room for the name
        draw_lines(axes, table, mine, 1000 / np.linspace(*axes.get_xlim(), 50))
        draw_md(axes, table, mine, mark_above_K)
        colour = next(iter(mine.values()))["color"]
        axes.text(0.97, 0.94, names[number], transform=axes.transAxes, ha="right", va="top", size=SMALL, color=colour,
                  weight="bold", zorder=7)  # fmt: skip
        if number + grid.shape[1] < len(names):
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
        if number % grid.shape[1]:
            axes.tick_params(labelleft=False)
    letter(grid[0, 0], "b")


def draw(table: pd.DataFrame, measured: pd.DataFrame, mark_above_K: float = np.inf) -> Figure:
    """All temperatures and measured values on the left; where MD and lines are there, a panel a class on the right."""
    look = styles(table)
    md, lined = table[table["origin"] == "md"], table[table["origin"] != "md"]
    classes = table["class"].nunique()
    rows = -(-classes // 2)
    figure = new_figure(DOUBLE_MM, float(np.clip(45 + 22 * rows, 105, 220)))
    if len(md) > 0 and len(lined) > 0:
        main, side = figure.subfigures(1, 2, width_ratios=[1, 1.05])
        draw_classes(side.subplots(rows, min(classes, 2), squeeze=False), table, look, mark_above_K)
        colours = []  # the panels carry the names
    else:
        main = figure.subfigures(1, 1)
        first = {key[0]: style for key, style in reversed(look.items())}
        colours = [Line2D([], [], color=first[name]["color"], label=name) for name in dict.fromkeys(table["class"])]
    axes = main.subplots()
    inverse_temperature_axis(axes, table["temperature_K"])
    positive = table.loc[table["rate_per_s"] > 0, "rate_per_s"]
    ends = [
        *([positive.min(), positive.max()] if len(positive) else []),
        *table.loc[table["count"] == 0, "ci_high_per_s"],
    ]
    decades(axes, max(min(ends) / 30, min(SLOWEST_PER_S, max(ends))), max(ends) * 30)
    alone = table[table["origin"] != "model_with_marked"]  # the small panels show that
    draw_lines(axes, alone, look, 1000 / np.linspace(*axes.get_xlim(), 200))
    draw_md(axes, table, look, mark_above_K)
    axes.set_ylabel("jump rate k into a vacant site (s⁻¹)")
    letter(axes, "a")

    energies = measured[measured["quantity"] == "activation_energy"]
    sources = list(dict.fromkeys(energies[["method", "reference"]].itertuples(index=False, name=None)))
    numbers = [1 + sources.index(pair) for pair in energies[["method", "reference"]].itertuples(index=False, name=None)]
    handles = draw_slopes(axes, energies.assign(source=numbers))
    figure.legend(handles=[*colours, *signs(table, look, mark_above_K), *handles], loc="outside lower center", ncols=4)
    notes = [f"[{n}] {method}: {reference}" for n, (method, reference) in enumerate(sources, start=1)]
    if notes:
        main.supxlabel("\n".join(notes), size=SMALL, x=0.02, ha="left")
    return figure


def main() -> None:
    parser = figure_arguments(__doc__, ["rates"], literature=True, intervals=True)
    parser.add_argument("--mark-above", type=float, default=np.inf, help="K; MD points above are drawn open")
    args = parser.parse_args()
    measured = for_figure(args.literature, args.material, args.phase)
    table = only_intervals(read(args.rates), args.intervals)
    save(draw(table, measured, args.mark_above), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
