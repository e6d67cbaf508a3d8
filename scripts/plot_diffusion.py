"""Draw tracer diffusion and conductivity against inverse temperature, beside measured values.

The shaded band is the 95 % interval that sampling and, where the table has it, the rate model bring; bars are sampling
alone. Lines are Arrhenius fits over the temperatures of kinetic Monte Carlo near the measurement (column `arrhenius` of
the table), drawn over these and dotted beyond. MD has lines of its own, with and without the temperatures above
--mark-above, whose points are open.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.fits import ArrheniusFit, fit_arrhenius
from insilico_nmr.literature import for_figure
from insilico_nmr.predictions import (
    DIFFUSION,
    LEAST_RELATIVE_ERROR,
    Prediction,
    arrhenius,
    conductivity_line,
    digits_held,
    line_points,
    span,
)
from insilico_nmr.style import (
    BAND,
    DOUBLE_MM,
    PALETTE,
    SMALL,
    below_legend,
    draw_measured,
    figure_arguments,
    inverse_temperature_axis,
    letter,
    new_figure,
    save,
)
from insilico_nmr.tables import complete, only_errors, read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DIFFERENT = 0.1  # of the logarithms of two numbers of vacancies, from where on a figure says which is which


def read(path: Path) -> pd.DataFrame:
    """The table of diffusion_table.py, without rows that have no diffusion coefficient on a logarithmic axis."""
    table = read_table(path, DIFFUSION, ["origin"])
    unknown = set(table["origin"]) - {"kmc", "md", "kmc_shift"}
    if unknown:
        raise InputError(f"{path}: column origin has {', '.join(sorted(unknown))}; expected kmc, md or kmc_shift")
    table.loc[~(table["D_tracer_m2_per_s"] > 0), "D_tracer_m2_per_s"] = np.nan  # no logarithm: left out, and said
    return complete(table, ["temperature_K", "D_tracer_m2_per_s"], path, "diffusion coefficients")


def draw_points(axes: Axes, rows: pd.DataFrame, columns: list[str], origin: str, mark_above_K: float = np.inf) -> None:
    """Values with intervals; open where the displacement was not diffusive, or the temperature is to be marked."""
    marker, colour, name = {
        "kmc": ("o", PALETTE[0], "kinetic Monte Carlo"), "md": ("s", PALETTE[1], "MD"),
    }[origin]  # fmt: skip
    value, low, high = columns
    marked, diffusive = rows["temperature_K"] > mark_above_K, rows["diffusive"] == 1
    looks = [
        (diffusive & ~marked, origin, ""),
        (~diffusive, "not_diffusive", ", not diffusive"),
        (diffusive & marked, "marked", f", above {mark_above_K:g} K"),
    ]
    if "empty" in rows:
        name += f", {rows['empty'].iloc[0]:.2g} % of sites empty"
    if not rows[low].notna().any():
        name += " (one run a temperature, no interval)"
    for chosen, gid, more in looks:
        rows_of = rows[rows[value].notna() & chosen]
        if rows_of.empty:
            continue
        bars = np.nan_to_num(np.array([rows_of[value] - rows_of[low], rows_of[high] - rows_of[value]]))
        axes.errorbar(
            1000 / rows_of["temperature_K"], rows_of[value], bars, color=colour, marker=marker, linestyle="none",
            elinewidth=0.7, markerfacecolor="white" if more else colour, zorder=4, gid=gid, label=name + more,
        )  # fmt: skip


def draw_line(
    axes: Axes, fit: ArrheniusFit, temperatures_K: np.ndarray, label: str, product_with_T: bool = False
) -> None:
    """An Arrhenius line with its 95 % band over the temperatures it was fitted to, dotted over the rest of the axes."""
    inverse = np.linspace(1000 / temperatures_K.max(), 1000 / temperatures_K.min(), 100)
    for x, look in ((np.linspace(*axes.get_xlim(), 100), {"linestyle": ":", "linewidth": 0.7}), (inverse, {})):
        temperature = 1000 / x
        lines = np.array([fit.rate(T) for T in temperature]).T / (temperature if product_with_T else 1)
        axes.plot(x, lines[0], color=PALETTE[0], zorder=2, **look, **({} if look else {"label": label, "gid": "line"}))
    axes.fill_between(inverse, lines[1], lines[2], color=PALETTE[0], zorder=1, **BAND)


def draw_md_lines(axes: Axes, md: pd.DataFrame, mark_above_K: float) -> None:
    """Arrhenius lines of MD, weighted by its intervals, over its temperatures: up to `mark_above_K`, and of all.

    Points without an interval weigh alike; lines through these have the interval of the scatter.
    """
    md = md[(md["diffusive"] == 1) & (md["D_tracer_m2_per_s"] > 0)]
    below = md[md["temperature_K"] <= mark_above_K]
    for rows, dash in ((below, "-"), (md if len(md) > len(below) else md[:0], "--")):
        if rows["temperature_K"].nunique() < 3:
            continue
        temperature, D = rows["temperature_K"].to_numpy(), rows["D_tracer_m2_per_s"].to_numpy()
        relative = (np.log(rows["ci_high_m2_per_s"] / rows["ci_low_m2_per_s"]) / (2 * 1.96)).to_numpy(float)
        relative = np.where(np.isfinite(relative).all(), relative, 0.0)
        fit = fit_arrhenius(temperature, D, np.hypot(relative, LEAST_RELATIVE_ERROR) * D)
        ends = np.array([temperature.min(), temperature.max()])
        axes.plot(1000 / ends, [fit.rate(T)[0] for T in ends], dash, color=PALETTE[1], linewidth=0.8, gid="md_line",
                  zorder=2, label=rf"MD, {span(np.round(temperature, -1))}: E$_a$ = {interval_text(fit)}")  # fmt: skip


def interval_text(fit: ArrheniusFit) -> str:
    """Activation energy with its 95 % interval, to the digits that it holds."""
    low, high = fit.activation_energy_interval_eV
    digits = digits_held(Prediction(fit.activation_energy_eV, low, high, ""))
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(fit.activation_energy_eV)))))
    return f"{fit.activation_energy_eV:.{decimals}f} eV ({low:.{decimals}f} to {high:.{decimals}f})"


def draw(table: pd.DataFrame, measured: pd.DataFrame, mark_above_K: float = np.inf) -> Figure:
    """Diffusion on the left; on the right conductivity, where the table or the literature has one."""
    figure = new_figure(DOUBLE_MM, 95)
    diffusion, sigma = figure.subplots(1, 2)
    kmc, md = (table[table["origin"] == origin] for origin in ("kmc", "md"))
    if "vacancies_per_site" in table and len(md):
        empty = [100 * rows["vacancies_per_site"].mean() for rows in (kmc, md)]
        if abs(np.log(empty[1] / empty[0])) > DIFFERENT:  # D is proportional to the vacancies where they are few
            kmc, md = kmc.assign(empty=empty[0]), md.assign(empty=empty[1])
    known = [quantity in set(measured["quantity"]) for quantity in ("diffusion_coefficient", "ionic_conductivity")]
    places = measured.loc[measured["quantity"].isin(["diffusion_coefficient", "ionic_conductivity"]), "temperature_K"]
    everywhere = [*table["temperature_K"], *places.dropna()]
    points = line_points(table)
    fitted_K = points.loc[points["origin"] == "kmc", "temperature_K"].to_numpy()
    sigma_columns = [name for name in DIFFUSION if name.startswith("conductivity")]

    inverse_temperature_axis(diffusion, everywhere)
    columns = ["D_tracer_m2_per_s", "ci_low_m2_per_s", "ci_high_m2_per_s"]
    for origin, rows in (("kmc", kmc), ("md", md)):
        draw_points(diffusion, rows, columns, origin, mark_above_K if origin == "md" else np.inf)
    draw_md_lines(diffusion, md, mark_above_K)
    try:
        fit = arrhenius(table, *columns)
        draw_line(diffusion, fit, fitted_K, rf"E$_a$ = {interval_text(fit)}, {span(fitted_K)}")
    except InputError as error:
        no_line(diffusion, error)
    draw_measured(diffusion, measured[measured["quantity"] == "diffusion_coefficient"])
    diffusion.set(yscale="log", ylabel="tracer diffusion coefficient D (m² s⁻¹)")
    letter(diffusion, "a")
    below_legend(diffusion, diffusion.get_legend_handles_labels()[0])

    if kmc["conductivity_S_per_cm"].notna().any() or known[1]:
        inverse_temperature_axis(sigma, [*kmc["temperature_K"], *places.dropna()])
        draw_points(sigma, kmc, sigma_columns, "kmc")
        try:
            fit = conductivity_line(table)
            label = rf"$\sigma$T: E$_a$ = {interval_text(fit)}, {span(fitted_K)}"
            draw_line(sigma, fit, fitted_K, label, product_with_T=True)
        except InputError as error:
            no_line(sigma, error)
        draw_measured(sigma, measured[measured["quantity"] == "ionic_conductivity"])
        sigma.set(yscale="log", ylabel=r"conductivity $\sigma$ (S cm⁻¹)")
        letter(sigma, "b")
        below_legend(sigma, sigma.get_legend_handles_labels()[0])
    else:
        sigma.remove()
    bars = ["sampling"] if (kmc["ci_high_m2_per_s"] > kmc["D_tracer_m2_per_s"]).any() else []
    bands = [*bars, "rate model"] if (table["origin"] == "kmc_shift").any() else bars
    figure.supxlabel(
        f"Intervals: 95 %; bars: {' '.join(bars) or 'none'}; bands: {' and '.join(bands) or 'none'}.",
        size=SMALL, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def no_line(axes: Axes, error: InputError) -> None:
    """Say over the panel that there is no line, and why on stderr."""
    axes.set_title("no Arrhenius line from these points", size=SMALL)
    print(f"no Arrhenius line: {error}", file=sys.stderr)


def main() -> None:
    parser = figure_arguments(__doc__, ["diffusion"], literature=True, intervals=True)
    parser.add_argument("--mark-above", type=float, default=np.inf, help="K; MD points above are drawn open")
    args = parser.parse_args()
    measured = for_figure(args.literature, args.material, args.phase)
    table = only_errors(read(args.diffusion), args.intervals)
    save(draw(table, measured, args.mark_above), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
