"""Draw simulated spin-alignment echoes: decays at all temperatures, decay rates against 1000/T, and plateaus.

Curves with jumps during the evolution time, of the matrix form, are dotted as far as something is left of them, and
their rates half filled; those that decay faster than 0.3/t_p have none, and of the frozen form those faster than 1/t_p
are not drawn. Both are named below the figure. The tensor correlation function has no evolution time and no such limit:
it goes into the panel of rates, and with its table into a panel of its own.

Measured decays (--measured; measured.py) are drawn as points beside the predicted ones of the same t_p, with their
fits; 1/τ and plateaus of these, of all t_p, are stars.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.fits import JUMPING, decay_curve
from insilico_nmr.measured import read_echo_fits, read_echoes
from insilico_nmr.predictions import MOST_JUMPS
from insilico_nmr.style import (
    BLACK,
    DOUBLE_MM,
    GREY,
    SMALL,
    below_legend,
    figure_arguments,
    inverse_temperature_axis,
    letter,
    new_figure,
    save,
    temperature_colours,
)
from insilico_nmr.tables import complete, moved_log_sd, moved_sd, only_errors, read_table, total
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

ECHO = ["temperature_K", "shift", "evolution_time_us", "mixing_time_s", "S2", "S2_normalised_se_sampling", "continued"]
FITS = [
    "temperature_K",
    "shift",
    "complete",
    "evolution_time_us",
    "t1q_s",
    "rate_per_s",
    "rate_ci_low_per_s",
    "rate_ci_high_per_s",
]
FITS += [
    "rate_sd_model_per_s",
    "rate_sd_dft_per_s",
    "exit_rate_per_s",
    "tau_s",
    "beta",
    "amplitude",
    "amplitude_se",
    "plateau",
    "plateau_se",
    "amplitude_plateau_correlation",
    "slow_amplitude",
    "slow_tau_s",
]
FITS += ["plateau_ratio", "plateau_ratio_short_evolution", "plateau_ratio_long_evolution"]
TENSORS = ["S2_normalised_sd_model", "S2_normalised_sd_dft"]
CORRELATION = ["temperature_K", "shift", "mixing_time_s", "normalised"]
CORRELATION += ["normalised_se_sampling", "continued"]
WIDEST_PLATEAU = 0.3  # half interval of a fitted plateau beyond which it says nothing, and is not drawn
WINDOW_PER_S = (1.0, 1e4)  # decay rates that spin-alignment echoes measure
LEAST_SIGNAL = 0.01  # S2(t_m→0), of which 9/20 is the most of spin 3/2, of curves with jumps during the evolution time
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STAR = {"marker": "*", "markersize": 7, "markeredgecolor": BLACK, "markeredgewidth": 0.5, "linestyle": "none"}


def read(echo: Path, fits: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Curves, fits of echoes and fits of tensor correlation functions; echoes and their fits belong together.

    The committee's spread and the error of DFT (S2_normalised_sd_…) may be empty. What the rate model moved does is in
    columns `S2_normalised_sd_rates` of curves and `log_rate_sd_rates` of fits, empty where it is not there.
    """
    keys = ["temperature_K", "evolution_time_us"]
    curves = complete(read_table(echo, [*ECHO, *TENSORS], ["flag"]), ECHO, echo, "points").reset_index(drop=True)
    ordered = curves.sort_values("mixing_time_s")
    start = ordered.groupby([*keys, "shift"])["S2"].transform("first")
    by_rates = moved_sd(curves.assign(of_start=curves["S2"] / start), keys, "mixing_time_s", "of_start")
    curves = curves[curves["shift"] == 0].assign(S2_normalised_sd_rates=by_rates)
    rows = read_table(fits, FITS, ["observable", "flag", "status"])
    rows["evolution_time_us"] = rows["evolution_time_us"].fillna(0.0)  # of the tensors' correlation function
    log_sd = moved_log_sd(rows, ["observable", *keys], "rate_per_s")
    rows = rows[rows["shift"] == 0].assign(log_rate_sd_rates=log_sd)
    of_echo = rows[rows["observable"] == "spin_alignment_echo"]
    if set(map(tuple, of_echo[keys].to_numpy())) != set(map(tuple, curves[keys].to_numpy())):
        raise InputError(f"{fits} and {echo} hold echoes of different temperatures or evolution times")
    if of_echo.duplicated(keys).any():
        raise InputError(f"{fits}: two fits of one temperature and evolution time")
    of_echo = complete(of_echo, ["exit_rate_per_s", "plateau_ratio"], fits, "fits")
    return curves, of_echo, rows[rows["observable"] == "tensor_correlation"]


def read_correlation(path: Path | None) -> pd.DataFrame | None:
    """The tensor correlation functions, if their table is given, with the column `normalised_sd_rates`."""
    if path is None:
        return None
    table = complete(read_table(path, [*CORRELATION, "normalised_sd_model"]), CORRELATION, path, "points")
    table = table.reset_index(drop=True)
    by_rates = moved_sd(table, ["temperature_K"], "mixing_time_s", "normalised")
    return table[table["shift"] == 0].assign(normalised_sd_rates=by_rates)


def interval(row: pd.Series) -> tuple[float, float]:
    """1/τ at the ends of its 95 % interval of sampling and of the rate model."""
    rates = 1.96 * np.nan_to_num(row["log_rate_sd_rates"])
    rate = row["rate_per_s"]
    low, high = np.abs(np.log([row["rate_ci_low_per_s"] / rate, row["rate_ci_high_per_s"] / rate]))
    return rate * np.exp(-np.hypot(low, rates)), rate * np.exp(np.hypot(high, rates))


def jumping(row: pd.Series) -> bool:
    """Whether ions jump while phases evolve, which the matrix form of an echo allows for."""
    return row["flag"] == JUMPING


def reason(row: pd.Series) -> str | None:
    """Why a curve has no rate that an echo would tell, or None where it has (as `predictions.usable_echoes`)."""
    if row["flag"] not in ("ok", JUMPING):
        return row["flag"].replace("_", " ")
    fastest = MOST_JUMPS if jumping(row) else 1
    if row["rate_per_s"] * row["evolution_time_us"] * 1e-6 >= fastest:
        return f"decay faster than {fastest:g}/t_p"
    return None


def fitted(row: pd.Series) -> bool:
    """Whether the row holds a fit of the mean curve, a good one or not."""
    return bool(np.isfinite(row["rate_per_s"]))


def has_rate(row: pd.Series) -> bool:
    """Whether the row holds a fit of an echo that has a rate."""
    return fitted(row) and reason(row) is None


def good(row: pd.Series) -> bool:
    """Whether the row's fit is of a complete curve and follows it."""
    return fitted(row) and row["status"].startswith("ok")


def fate_of(row: pd.Series) -> str | None:
    """What is to be said of a curve and its fit."""
    if text := reason(row):
        return f"no rate: {text}" if jumping(row) else f"not drawn: {text}"
    if not fitted(row):
        return "no fit"
    if not good(row):
        return "curve incomplete, fit extrapolated (open)" if row["complete"] == 0 else "fit is poor (open)"
    return "plateau unknown" if plateau(row)[1] > WIDEST_PLATEAU else None


def notes(fits: pd.DataFrame) -> str:
    """What is not drawn or has no fit, and why; evolution times of the same fate together."""
    fates: dict[tuple[str, tuple[float, ...]], list[float]] = {}
    everything = sorted(set(fits["temperature_K"]))
    for evolution_us, rows in fits.groupby("evolution_time_us"):
        why: dict[str, list[float]] = {}
        for _, row in rows.iterrows():
            if text := fate_of(row):
                why.setdefault(text, []).append(row["temperature_K"])
        for text, kelvins in why.items():
            fates.setdefault((text, tuple(sorted(kelvins))), []).append(evolution_us)
    lines = []
    for (text, kelvins), evolution_times in fates.items():
        where = "all temperatures" if list(kelvins) == everything else ", ".join(map("{:g}".format, kelvins)) + " K"
        lines.append(
            rf"t$_p$ = {', '.join(map('{:g}'.format, evolution_times))} µs: {text.replace('t_p', 't$_p$')}: {where}."
        )
    return "\n".join(lines)


def plateau(row: pd.Series) -> tuple[float, float]:
    """Fitted plateau over the start of the curve, and half of its 95 % interval."""
    decaying = row["amplitude"] + row["slow_amplitude"]
    total = decaying + row["plateau"]
    of_plateau, of_amplitude = row["plateau_se"] * decaying, -row["amplitude_se"] * row["plateau"]
    both = 2 * row["amplitude_plateau_correlation"] * of_plateau * of_amplitude
    return row["plateau"] / total, 1.96 * np.sqrt(np.maximum(0.0, of_plateau**2 + of_amplitude**2 + both)) / total**2


def curve_of(row: pd.Series, time_s: np.ndarray) -> np.ndarray:
    """The curve of a row of fits, of simulated or of measured decays."""
    t1q_s = row["t1q_s"] if np.isfinite(row["t1q_s"]) else None
    slow = row["slow_amplitude"], row["slow_tau_s"]
    return decay_curve(time_s, row["amplitude"], row["tau_s"], row["beta"], row["plateau"], t1q_s, *slow)


def draw_decays(axes: Axes, curves: pd.DataFrame, fits: pd.DataFrame, evolution_us: float, colours: dict) -> None:
    """S2 over its value at t_m → 0 with bands and fits at one evolution time."""
    for _, row in fits[fits["evolution_time_us"] == evolution_us].sort_values("temperature_K").iterrows():
        temperature = row["temperature_K"]
        if reason(row) and not jumping(row):
            continue
        mine = (curves["temperature_K"] == temperature) & (curves["evolution_time_us"] == evolution_us)
        curve = curves[mine].sort_values("mixing_time_s")
        start = curve["S2"].iloc[0]
        if jumping(row) and start < LEAST_SIGNAL:
            continue
        curve = curve[curve["mixing_time_s"] > 0]  # the axis is logarithmic
        time, signal = curve["mixing_time_s"].to_numpy(), curve["S2"].to_numpy() / start
        sampling = 1.96 * curve["S2_normalised_se_sampling"].to_numpy()
        model = total(curve, [*TENSORS, "S2_normalised_sd_rates"]).to_numpy()
        axes.fill_between(time, signal - model, signal + model, color=colours[temperature], alpha=0.13, linewidth=0)
        axes.fill_between(
            time, signal - sampling, signal + sampling, color=colours[temperature], alpha=0.45, linewidth=0
        )
        line, gid = (":", "jumping") if jumping(row) else ("-", "echo")
        axes.plot(time, signal, line, color=colours[temperature], label=f"{temperature:g} K", gid=gid)
        mark_continued(axes, curve, signal, colours[temperature])
        if has_rate(row):
            axes.plot(time, curve_of(row, time) / start, color=BLACK, linewidth=0.6, linestyle="--")


def mark_continued(axes: Axes, curve: pd.DataFrame, values: np.ndarray, colour: str) -> None:
    """A bar where the sampled part of a curve ends and its continuation begins, if there is one."""
    sampled = int((curve["continued"] == 0).sum())
    if 0 < sampled < len(curve):
        axes.plot(curve["mixing_time_s"].iloc[sampled - 1], values[sampled - 1], color=colour, marker="|",
                  markersize=7, markeredgewidth=1.1, linestyle="none", gid="continued")  # fmt: skip


def draw_rates(axes: Axes, fits: pd.DataFrame, tensor_fits: pd.DataFrame, colours: dict) -> list[Line2D]:
    """1/τ of every echo against 1000/T, beside that of ⟨V(0):V(t)⟩ and the mean exit rate; returns legend handles.

    Thin bars: sampling and rate model; thick ones: tensors. Half filled: ions jump while phases evolve. Pale: fits of
    curves that end before the plateau is reached, or that the fit does not follow.
    """
    evolution_times = sorted(set(fits["evolution_time_us"]))
    exit_rates = fits.drop_duplicates("temperature_K").sort_values("temperature_K")
    axes.axhspan(*WINDOW_PER_S, color="#f0e6c8", linewidth=0, zorder=0)
    axes.plot(1000 / exit_rates["temperature_K"], exit_rates["exit_rate_per_s"], color=GREY, marker="_", markersize=5,
              zorder=1)  # fmt: skip
    inverse_temperature_axis(axes, fits["temperature_K"])
    handles = [Line2D([], [], color=GREY, marker="_", markersize=5, label="mean exit rate")]
    # All at their own temperature: open markers, larger for shorter t_p, so that one is seen within the other.
    pale = half_filled = 0
    for number, evolution_us in enumerate(evolution_times):
        echoes = 0
        look = {"marker": MARKERS[number % len(MARKERS)], "markersize": 2.0 + 1.3 * (len(evolution_times) - 1 - number)}
        look |= {"markerfacecolor": "none", "markeredgewidth": 0.8, "linestyle": "none"}
        for _, row in fits[fits["evolution_time_us"] == evolution_us].iterrows():
            if not has_rate(row):
                continue
            echoes += 1
            pale += not good(row)
            half_filled += jumping(row)
            x, rate, colour = 1000 / row["temperature_K"], row["rate_per_s"], colours[row["temperature_K"]]
            of_tensors = 1.96 * np.sqrt(np.nansum([row["rate_sd_model_per_s"] ** 2, row["rate_sd_dft_per_s"] ** 2]))
            axes.plot([x, x], [max(rate - of_tensors, rate / 10), rate + of_tensors], color=colour, alpha=0.3,
                      linewidth=2.5, solid_capstyle="butt")  # fmt: skip
            low, high = interval(row)
            bars = [[rate - low], [high - rate]]
            gid, alpha = ("echo_rate", 1.0) if good(row) else ("echo_rate_incomplete", 0.45)
            half = {"fillstyle": "bottom", "markerfacecolor": colour, "markerfacecoloralt": "white"}
            face = half if jumping(row) else {}
            axes.errorbar(x, rate, bars, color=colour, elinewidth=0.7, gid=gid, alpha=alpha, **look | face)
        if echoes:
            handles.append(Line2D([], [], color=BLACK, label=rf"1/$\tau$, t$_p$ = {evolution_us:g} µs", **look))
    if half_filled:
        handles.append(Line2D([], [], linestyle="none", label="half filled: ions jump during t$_p$"))
    if pale:
        handles.append(Line2D([], [], linestyle="none", label="pale: curve incomplete, or poor fit"))
    tensor_fits = tensor_fits[tensor_fits["rate_per_s"].notna()].sort_values("temperature_K")
    if len(tensor_fits):
        look = {"color": BLACK, "linestyle": ":", "linewidth": 0.7, "marker": "o", "markerfacecolor": "none"}
        look |= {"markersize": 4.5, "markeredgewidth": 0.6}
        ends = np.array([interval(row) for _, row in tensor_fits.iterrows()])
        axes.vlines(1000 / tensor_fits["temperature_K"], *ends.T, color=BLACK, linewidth=0.6, zorder=2)
        axes.plot(1000 / tensor_fits["temperature_K"], tensor_fits["rate_per_s"], zorder=2, **look)
        handles.append(Line2D([], [], label=r"1/$\tau$ of $\langle$V(0):V(t)$\rangle$", **look))
    handles.append(Patch(color="#f0e6c8", label="measurable with SAE"))
    axes.set_yscale("log")
    rates = [*exit_rates["exit_rate_per_s"], *tensor_fits["rate_per_s"], *fits["rate_per_s"].dropna(), *WINDOW_PER_S]
    axes.set_ylim(min(rates) / 5, max(rates) * 5)
    axes.set_ylabel("rate (s⁻¹)")
    return handles


def draw_plateaus(axes: Axes, fits: pd.DataFrame, colours: dict) -> None:
    """Fitted plateau over S2(0) against t_p, beside its prediction and the limits of short and long t_p.

    Open: fits of curves that end before the plateau is reached, or that the fit does not follow.
    """
    times = sorted(set(fits["evolution_time_us"]))
    for temperature, rows in fits.groupby("temperature_K"):
        rows = rows.sort_values("evolution_time_us")
        known = rows[rows["flag"].isin(["ok", JUMPING])]
        axes.plot(known["evolution_time_us"], known["plateau_ratio"], color=colours[temperature], linewidth=0.7,
                  zorder=1)  # fmt: skip
        for _, row in rows.iterrows():
            if not has_rate(row) or plateau(row)[1] > WIDEST_PLATEAU:
                continue
            ratio, error = plateau(row)
            sound, colour = good(row), colours[temperature]
            axes.errorbar(row["evolution_time_us"], ratio, error, color=colour, marker="o", linestyle="none",
                          markersize=3 if sound else 4, elinewidth=0.7, markerfacecolor=colour if sound else "white",
                          gid="plateau" if sound else "plateau_extrapolated")  # fmt: skip
    limits = {"short": ":", "long": "-."}
    for name, dash in limits.items():
        values = fits[f"plateau_ratio_{name}_evolution"].dropna()
        if len(values):
            axes.axhspan(values.min(), values.max(), color=GREY, alpha=0.25, linewidth=0, zorder=0)
            axes.axhline(values.mean(), color=GREY, linestyle=dash, linewidth=0.8, zorder=0)
    open_too = any(has_rate(row) and not good(row) for _, row in fits.iterrows())
    handles = [Line2D([], [], color=BLACK, marker="o", markersize=3, linestyle="none", label="plateau of the fit"),
               *([Line2D([], [], color=BLACK, marker="o", markersize=4, linestyle="none", markerfacecolor="white",
                         label="extrapolated: curve incomplete, or poor fit")] if open_too else []),
               Line2D([], [], color=BLACK, linewidth=0.7, label="predicted"),
               *(Line2D([], [], color=GREY, linestyle=dash, linewidth=0.8, label=rf"limit of {name} t$_p$")
                 for name, dash in limits.items())]  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(times[0] / 1.3, times[-1] * 1.3)
    axes.set_xticks(times, [f"{time:g}" for time in times])
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.legend(handles=handles, loc="best")
    axes.set(xlabel=r"evolution time t$_p$ (µs)", ylabel=r"plateau of S$_2$ / S$_2$(t$_m$→0)")


def draw_correlation(axes: Axes, correlation: pd.DataFrame, colours: dict) -> None:
    """⟨V(0):V(t)⟩ over its start at all temperatures, with bands of sampling, and of committee and rate model."""
    for temperature, curve in correlation.groupby("temperature_K"):
        curve = curve.sort_values("mixing_time_s")
        curve = curve[curve["mixing_time_s"] > 0]
        half = 1.96 * curve["normalised_se_sampling"]
        time, value, colour = curve["mixing_time_s"], curve["normalised"], colours[temperature]
        model = total(curve, ["normalised_sd_model", "normalised_sd_rates"])
        axes.fill_between(time, value - model, value + model, color=colour, alpha=0.13, linewidth=0)
        axes.fill_between(time, value - half, value + half, color=colour, alpha=0.45, linewidth=0)
        axes.plot(time, value, color=colour, gid="correlation")
        mark_continued(axes, curve, value.to_numpy(), colour)
    axes.set_xscale("log")
    axes.set(xlabel="time t (s)", ylabel=r"$\langle$V(0):V(t)$\rangle$ / $\langle$V:V$\rangle$", ylim=(0, 1.05))
    axes.set_title("tensor correlation function")


def draw_measured(
    axes: Axes, measured: pd.DataFrame, measured_fits: pd.DataFrame, evolution_us: float, colours: dict
) -> None:
    """Points of the decays that were measured at one evolution time, and their fits."""
    fits = measured_fits.set_index(["temperature_K", "evolution_time_us"])
    for temperature, decay in measured[measured["evolution_time_us"] == evolution_us].groupby("temperature_K"):
        look = {"color": colours[temperature], "marker": "o", "markersize": 2.5, "markeredgewidth": 0.6}
        axes.plot(decay["mixing_time_s"], decay["normalised"], linestyle="none", markerfacecolor="white", zorder=4,
                  gid="measured", **look)  # fmt: skip
        row = fits.loc[(temperature, evolution_us)]
        if row["status"] == "ok":
            time = np.geomspace(decay["mixing_time_s"].min(), decay["mixing_time_s"].max(), 200)
            axes.plot(time, curve_of(row, time), "-.", color=BLACK, linewidth=0.6, gid="measured_fit")


def draw_measured_numbers(rates: Axes, plateaus: Axes, measured_fits: pd.DataFrame, colours: dict) -> None:
    """1/τ against 1000/T, with t_p in µs beside it, and plateaus against t_p of measured decays; axes hold them all."""
    fitted = measured_fits[measured_fits["status"] == "ok"]
    (left, right), (bottom, top) = rates.get_xlim(), rates.get_ylim()
    for _, row in fitted.iterrows():
        x, rate, evolution_us = 1000 / row["temperature_K"], row["rate_per_s"], row["evolution_time_us"]
        look = STAR | {"color": colours[row["temperature_K"]], "zorder": 5, "elinewidth": 0.7, "gid": "measured"}
        bars = [[rate - row["rate_ci_low_per_s"]], [row["rate_ci_high_per_s"] - rate]]
        rates.errorbar(x, rate, bars, **look)
        rates.annotate(f"{evolution_us:g}", (x, rate), (4, 2), textcoords="offset points", size=SMALL, zorder=6)
        left, right, bottom, top = min(left, x - 0.1), max(right, x + 0.1), min(bottom, rate / 5), max(top, rate * 5)
        half = 1.96 * row["plateau_ratio_se"]
        if half < WIDEST_PLATEAU:
            plateaus.errorbar(evolution_us, row["plateau_ratio"], half, **look)
            low, high = plateaus.get_xlim()
            plateaus.set_xlim(min(low, evolution_us / 1.3), max(high, evolution_us * 1.3))
    rates.set(xlim=(left, right), ylim=(bottom, top))


def best_evolution_time(fits: pd.DataFrame) -> float:
    """The t_p (µs) with most echoes that have a rate, and of those with most during which ions stay; of several the
    middle one, of none the shortest."""
    usable = fits[[has_rate(row) for _, row in fits.iterrows()]]
    times = sorted(set(fits["evolution_time_us"]))
    of_time = [usable.loc[usable["evolution_time_us"] == time, "flag"] for time in times]
    number = [(len(flags), int((flags == "ok").sum())) for flags in of_time]
    best = [time for time, n in zip(times, number, strict=True) if n == max(number)]
    return best[len(best) // 2] if len(usable) else times[0]


def drawn_echoes(axes: Axes) -> tuple[list[Line2D], list[Line2D]]:
    """The simulated decays in a panel, which says so where there is none, and a key where some are dotted."""
    found = [line for line in axes.lines if line.get_gid() in ("echo", "jumping")]
    if not found:
        axes.text(0.03, 0.3, "no simulated curve is an echo", transform=axes.transAxes)
    dotted = any(line.get_gid() == "jumping" for line in found)
    return found, [Line2D([], [], color=BLACK, linestyle=":", label="ions jump during t$_p$")] if dotted else []


def draw(
    curves: pd.DataFrame,
    fits: pd.DataFrame,
    tensor_fits: pd.DataFrame,
    correlation: pd.DataFrame | None = None,
    evolution_us: float | None = None,
    measured: pd.DataFrame | None = None,
    measured_fits: pd.DataFrame | None = None,
) -> Figure:
    """Decays at one evolution time (see `best_evolution_time`), a measured one if there is one, and the correlation
    function above; below them rates and plateaus. Measured decays (`read_echoes`) come with their fits."""
    times = sorted(set(fits["evolution_time_us"]))
    known = set() if measured is None else set(measured["evolution_time_us"])
    candidates = fits[fits["evolution_time_us"].isin(known)] if known & set(times) else fits
    chosen = best_evolution_time(candidates) if evolution_us is None else evolution_us
    if chosen not in times:
        raise InputError(f"no echo at t_p = {chosen:g} µs; there are {', '.join(map('{:g}'.format, times))} µs")
    colours = temperature_colours([*fits["temperature_K"], *([] if measured is None else measured["temperature_K"])])
    figure = new_figure(DOUBLE_MM, 165)
    top = ["a", "a"] if correlation is None else ["a", "d"]
    panels = figure.subplot_mosaic([top, ["b", "c"]], height_ratios=[1.05, 1])

    draw_decays(panels["a"], curves, fits, chosen, colours)
    a = panels["a"]
    if measured is not None:
        draw_measured(a, measured, measured_fits, chosen, colours)
    a.set_xscale("log")
    drawn, dotted = drawn_echoes(a)
    a.set_ylim(min([0, *(line.get_ydata().min() * 1.1 for line in drawn)]), 1.08)
    a.set(xlabel=r"mixing time t$_m$ (s)", ylabel=r"S$_2$(t$_p$, t$_m$) / S$_2$(t$_p$, t$_m$→0)")
    a.set_title(rf"spin-alignment echo, t$_p$ = {chosen:g} µs")
    if not drawn:
        times_s = curves.loc[curves["mixing_time_s"] > 0, "mixing_time_s"]
        a.set_xlim(times_s.min(), times_s.max())
    if correlation is not None:
        draw_correlation(panels["d"], correlation, colours)
    keys = [Line2D([], [], color=colour, label=f"{temperature:g} K") for temperature, colour in colours.items()]
    by_rates = " and rates" if curves["S2_normalised_sd_rates"].notna().any() else ""
    if drawn:
        keys += [*dotted, Line2D([], [], color=BLACK, linewidth=0.6, linestyle="--", label="fit"),
                 Line2D([], [], color=BLACK, marker="|", markersize=7, linestyle="none", label="continued from here"),
                 Patch(color=GREY, alpha=0.6, linewidth=0, label="95 %, sampling"),
                 Patch(color=GREY, alpha=0.25, linewidth=0, label="1 s.d., tensors" + by_rates)]  # fmt: skip
    if chosen in known:
        keys.append(Line2D([], [], color=BLACK, marker="o", markersize=2.5, markerfacecolor="white", linestyle="none",
                           label="measured"))  # fmt: skip
        keys.append(Line2D([], [], color=BLACK, linewidth=0.6, linestyle="-.", label="fit to measured"))
    if measured is not None and (measured_fits["status"] == "ok").any():
        keys.append(Line2D([], [], color="white", label="its 1/τ, plateau", **STAR))
    figure.legend(handles=keys, loc="outside upper center", ncols=6)

    below_legend(panels["b"], draw_rates(panels["b"], fits, tensor_fits, colours))
    draw_plateaus(panels["c"], fits, colours)
    if measured is not None:
        draw_measured_numbers(panels["b"], panels["c"], measured_fits, colours)
    # Read left to right, top to bottom.
    for name, axes in zip("abcd", (panels[key] for key in ("a", "d", "b", "c") if key in panels), strict=False):
        letter(axes, name)
    text = notes(fits)
    if absent := sorted(known - set(times)):
        which = ", ".join(map("{:g}".format, absent))
        text += f"\nMeasured at t$_p$ = {which} µs, which is not simulated: decay not drawn."
    for _, row in [] if measured is None else measured_fits[measured_fits["status"] != "ok"].iterrows():
        where = rf"{row['temperature_K']:g} K, t$_p$ = {row['evolution_time_us']:g} µs"
        text += (
            f"\nMeasured at {where}: no fit, {row['status'].removeprefix('fit failed: ').partition(' (stopped')[0]}."
        )
    if text:
        figure.supxlabel(text, size=SMALL, x=0.01, ha="left")
    return figure


def main() -> None:
    parser = figure_arguments(__doc__, ["echo", "echo_fits"], intervals=True)
    parser.add_argument("correlation", type=Path, nargs="?", metavar="CORRELATION.csv", help="table correlation.csv")
    parser.add_argument(
        "--evolution-time-us", type=float, help="t_p of the decays drawn (default: the one with most usable echoes)"
    )
    parser.add_argument("--measured", type=Path, nargs=2, metavar=("DECAYS.csv", "FITS.csv"),
                        help="measured decays and the table of fit_measured_echoes.py (default: none)")  # fmt: skip
    args = parser.parse_args()
    tables = [only_errors(table, args.intervals) for table in read(args.echo, args.echo_fits)]
    correlation = read_correlation(args.correlation)
    if correlation is not None:
        correlation = only_errors(correlation, args.intervals)
    measured = (read_echoes(args.measured[0]), read_echo_fits(args.measured[1])) if args.measured else ()
    save(draw(*tables, correlation, args.evolution_time_us, *measured), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
