"""Draw the study on one page: learnt tensors, echoes, spectra, and the jump rate as each experiment would tell it.

(d) Rates by what they are read from: the mean exit rate of kinetic Monte Carlo; 6D/l² of tracer diffusion, D of kinetic
Monte Carlo and of molecular dynamics, l the mean length of jumps; 1/τ of the spin-alignment echo and of the tensors'
correlation function; ω₀/0.616 where R₁ in a field is largest (N. Bloembergen, E. M. Purcell, R. V. Pound, Phys. Rev.
73, 679 (1948)); and 2π times the rigid width where the dipolar line has half of it. Bars and the band of the exit rate:
95 % of sampling and of the rate model.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import plot_diffusion
import plot_echo
import plot_linewidth
import plot_spectra
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.literature import for_figure
from insilico_nmr.style import (
    BLACK,
    DOUBLE_MM,
    GREY,
    PALETTE,
    SMALL,
    figure_arguments,
    inverse_temperature_axis,
    letter,
    new_figure,
    save,
    temperature_colours,
)
from insilico_nmr.tables import moved_log_sd, only_errors, read_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PARITY = ["CQ_dft_kHz", "CQ_model_kHz"]
RELAXATION = ["temperature_K", "field_T", "larmor_MHz", "shift", "rate_per_s", "valid"]
DIFFUSION = ["temperature_K", "D_tracer_m2_per_s", "exit_rate_per_s", "mean_jump_length_A", "diffusive", "shift"]
INTERVAL = ["ci_low_m2_per_s", "ci_high_m2_per_s"]
BPP_MAXIMUM = 0.6158  # ω₀τ at the maximum of R₁
SPECTRA = 3  # temperatures in panel (c)


def maximum(inverse: np.ndarray, rates: np.ndarray) -> float | None:
    """1000/T of the largest of rates (n,) by a parabola in its logarithm; None where it is at an end or has no rate."""
    if len(rates) < 3 or not (rates > 0).all():
        return None
    top = int(rates.argmax())
    if top in (0, len(rates) - 1):
        return None
    curvature, slope, _ = np.polyfit(inverse[top - 1 : top + 2], np.log(rates[top - 1 : top + 2]), 2)
    return float(-slope / (2 * curvature))


def relaxation_maxima(relaxation: pd.DataFrame) -> list[tuple[float, float]]:
    """(1000/T, ω₀/0.616) of the maximum of R₁ in each field that has one."""
    known = (relaxation["quantity"] == "R1") & (relaxation["shift"] == 0) & (relaxation["valid"] == 1)
    points = []
    for _, rows in relaxation[known].groupby("field_T"):
        rows = rows.sort_values("temperature_K", ascending=False)
        place = maximum(1000 / rows["temperature_K"].to_numpy(), rows["rate_per_s"].to_numpy())
        if place is not None:
            points.append((place, 2e6 * np.pi * rows["larmor_MHz"].iloc[0] / BPP_MAXIMUM))
    return points


def narrowing(linewidth: pd.DataFrame) -> list[tuple[float, float]]:
    """(1000/T, 2π·rigid width) where the dipolar line has half of its rigid width, if it falls through that."""
    rows = linewidth[linewidth["shift"] == 0].sort_values("temperature_K")
    part = (rows["fwhm_Hz"] / rows["rigid_fwhm_Hz"]).to_numpy()
    below = np.flatnonzero((part[:-1] >= 0.5) & (part[1:] < 0.5))
    if len(below) == 0:
        return []
    pair = slice(below[0], below[0] + 2)
    place = np.interp(np.log(0.5), np.log(part[pair])[::-1], (1000 / rows["temperature_K"].to_numpy()[pair])[::-1])
    return [(float(place), 2 * np.pi * float(rows["rigid_fwhm_Hz"].iloc[below[0]]))]


def draw_parity(axes: Axes, parameters: pd.DataFrame) -> None:
    """Signed couplings of tensors that the model did not see."""
    dft, model = parameters["CQ_dft_kHz"], parameters["CQ_model_kHz"]
    reach = 1.05 * float(np.abs([dft, model]).max())
    axes.plot([-reach, reach], [-reach, reach], color=BLACK, linewidth=0.6)
    axes.plot(dft, model, ".", color=PALETTE[0], markersize=2, markeredgewidth=0, alpha=0.4, rasterized=True)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set(xlabel=r"DFT C$_Q$ (kHz)", ylabel=r"model C$_Q$ (kHz)", title="field gradients not learnt from")
    error = np.abs(np.abs(dft) - np.abs(model)).mean()
    axes.annotate(
        rf"mean error of |C$_Q$| {error:.2g} kHz", (0.04, 0.95), xycoords="axes fraction", va="top", size=SMALL
    )


def draw_spectra(axes: Axes, spectra: pd.DataFrame) -> None:
    """Satellites at the coldest, the middle and the hottest temperature, higher lines cut."""
    known = sorted(spectra["temperature_K"].unique())
    chosen = sorted({known[round(place)] for place in np.linspace(0, len(known) - 1, SPECTRA)})
    colours = temperature_colours(known)
    table = spectra[spectra["temperature_K"].isin(chosen)]
    width = plot_spectra.half_width(table)
    away = table[table["frequency_kHz"].abs().between(0.08 * width, width)]
    highest = float(away[plot_spectra.MOTIONS[:2]].to_numpy().max())
    plot_spectra.stack(axes, table, {T: colours[T] for T in chosen}, 1.25 * highest, 1.15 * highest)
    axes.set(xlim=(-width, width), ylabel="intensity", title="spectra (higher lines cut)")
    for number, temperature in enumerate(chosen):
        axes.annotate(f"{temperature:g} K", (0.985, number * 1.25 * highest), (0, 3), ha="right", size=SMALL,
                      xycoords=("axes fraction", "data"), textcoords="offset points", color=colours[temperature],
                      weight="bold", zorder=200)  # fmt: skip


def draw_echoes(axes: Axes, echo: pd.DataFrame, fits: pd.DataFrame) -> None:
    """Decays at the evolution time with most echoes."""
    chosen = plot_echo.best_evolution_time(fits)
    plot_echo.draw_decays(axes, echo, fits, chosen, temperature_colours(fits["temperature_K"]))
    axes.set(xscale="log", ylim=(0, 1.08), xlabel=r"mixing time t$_m$ (s)", ylabel=r"S$_2$(t$_m$) / S$_2$(0)")
    axes.set_title(rf"spin-alignment echo, t$_p$ = {chosen:g} µs")
    drawn, dotted = plot_echo.drawn_echoes(axes)
    if drawn:
        axes.legend(handles=[*drawn, *dotted], loc="lower left")


def draw_rates(
    axes: Axes,
    diffusion: pd.DataFrame,
    fits: pd.DataFrame,
    tensor_fits: pd.DataFrame,
    points: dict,
    measured: pd.DataFrame,
) -> None:
    """All rates against inverse temperature; `points` by label, each a list of (1000/T, rate)."""
    rows = diffusion[diffusion["origin"] != "md"].sort_values("temperature_K")
    simulated = rows[rows["shift"] == 0]
    by_rates = {
        name: np.nan_to_num(moved_log_sd(rows, ["temperature_K"], name))
        for name in ("exit_rate_per_s", "D_tracer_m2_per_s")
    }
    inverse = 1000 / simulated["temperature_K"]
    axes.plot(inverse, simulated["exit_rate_per_s"], color=GREY, label="mean exit rate")
    ends = [simulated["exit_rate_per_s"] * np.exp(sign * 1.96 * by_rates["exit_rate_per_s"]) for sign in (-1, 1)]
    axes.fill_between(inverse, *ends, color=GREY, alpha=0.25, linewidth=0)
    by_temperature = simulated["temperature_K"], simulated["mean_jump_length_A"]
    of_kmc = simulated.assign(by_rates=by_rates["D_tracer_m2_per_s"])
    of_md = diffusion[diffusion["origin"] == "md"].assign(by_rates=0.0)
    for rows, marker, face, name in (
        (of_kmc, "o", PALETTE[0], "6D/l², kinetic Monte Carlo"),
        (of_md, "s", "white", "6D/l², molecular dynamics"),
    ):
        rows = rows[rows["diffusive"] == 1]
        length = np.interp(rows["temperature_K"], *by_temperature)
        rate = 6 * rows["D_tracer_m2_per_s"] / (1e-10 * length) ** 2
        sampled = np.log(rows["ci_high_m2_per_s"] / rows["ci_low_m2_per_s"]).fillna(0.0) / 2
        factor = np.exp(np.hypot(sampled, 1.96 * rows["by_rates"]))
        axes.vlines(1000 / rows["temperature_K"], rate / factor, rate * factor, color=PALETTE[0], linewidth=0.7)
        axes.plot(1000 / rows["temperature_K"], rate, marker, color=PALETTE[0], label=name, linestyle="none",
                  markerfacecolor=face)  # fmt: skip
    usable = fits[[plot_echo.has_rate(row) and plot_echo.good(row) for _, row in fits.iterrows()]]
    usable = usable[usable["evolution_time_us"] == plot_echo.best_evolution_time(fits)]
    looks = [
        (tensor_fits[tensor_fits["status"].str.startswith("ok")], "^", "1/τ of the tensors' correlation", PALETTE[2]),
        (usable, "D", "1/τ of the echo", PALETTE[1]),
    ]
    for rows, marker, name, colour in looks:
        if rows.empty:
            continue
        ends = np.array([plot_echo.interval(row) for _, row in rows.iterrows()]).reshape(-1, 2)
        axes.vlines(1000 / rows["temperature_K"], *ends.T, color=colour, linewidth=0.7)
        axes.plot(1000 / rows["temperature_K"], rows["rate_per_s"], marker, color=colour, label=name, linestyle="none")
    for (label, found), (marker, colour) in zip(points.items(), (("P", PALETTE[3]), ("X", PALETTE[4])), strict=True):
        if found:
            axes.plot(*np.transpose(found), marker, color=colour, markersize=5, label=label)
    known = measured[measured["confirmed"].astype(bool) & measured["temperature_K"].notna()]
    length = simulated["mean_jump_length_A"].mean() * 1e-10
    of_diffusion = known["quantity"] == "diffusion_coefficient"
    rate = known["value"].where(~of_diffusion, 6 * known["value"] / length**2)
    if len(known):
        axes.plot(1000 / known["temperature_K"], rate, "*", color=BLACK, markersize=7, label="measured", zorder=5)
    temperatures = pd.concat([diffusion["temperature_K"], known["temperature_K"]])
    inverse_temperature_axis(axes, temperatures)
    axes.set(yscale="log", ylabel="rate (s⁻¹)")
    axes.legend(loc="lower left")


def draw(tables: dict[str, pd.DataFrame], measured: pd.DataFrame) -> Figure:
    """Four panels at two-column width."""
    figure = new_figure(DOUBLE_MM, 150)
    (a, b), (c, d) = figure.subplots(2, 2)
    draw_parity(a, tables["parity"])
    draw_echoes(b, tables["echo"], tables["fits"])
    draw_spectra(c, tables["spectra"])
    points = {
        "R₁ is largest (ω₀τ = 0.616)": relaxation_maxima(tables["relaxation"]),
        "the line is half narrowed": narrowing(tables["linewidth"]),
    }
    draw_rates(d, tables["diffusion"], tables["fits"], tables["tensor_fits"], points, measured)
    for axes, name in ((a, "a"), (b, "b"), (c, "c"), (d, "d")):
        letter(axes, name)
    return figure


def read(
    parity: Path, spectra: Path, echo: Path, fits: Path, diffusion: Path, linewidth: Path, relaxation: Path
) -> dict[str, pd.DataFrame]:
    """The tables by name."""
    curves, of_echoes, of_tensors = plot_echo.read(echo, fits)
    widths, _ = plot_linewidth.read(linewidth, relaxation)
    rows = read_table(diffusion, [*DIFFUSION, *INTERVAL], ["origin"])
    if rows.loc[rows["origin"] == "kmc", DIFFUSION].isna().any(axis=None):
        raise InputError(f"{diffusion}: rows of kinetic Monte Carlo must have all of {', '.join(DIFFUSION)}")
    plot_diffusion.read(diffusion)  # says what it leaves out
    return {
        "parity": read_table(parity, PARITY),
        "spectra": plot_spectra.read(spectra),
        "echo": curves,
        "fits": of_echoes,
        "tensor_fits": of_tensors,
        "diffusion": rows,
        "linewidth": widths,
        "relaxation": read_table(relaxation, RELAXATION, ["quantity"]),
    }


def main() -> None:
    names = ["parity_parameters", "spectra", "echo", "echo_fits", "diffusion", "linewidth", "relaxation"]
    args = figure_arguments(__doc__, names, literature=True, intervals=True).parse_args()
    tables = read(*[getattr(args, name) for name in names])
    tables = {name: only_errors(table, args.intervals) for name, table in tables.items()}
    measured = for_figure(args.literature, args.material, args.phase, ["jump_rate", "diffusion_coefficient"])
    save(draw(tables, measured), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
