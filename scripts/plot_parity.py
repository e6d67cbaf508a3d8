"""Draw predicted against DFT field gradients of atoms in held-out groups: components, C_Q, eta and principal axis.

The numbers in the panels are errors of the model, of a linear model, and of one that answers the mean.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import run_script
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
)
from insilico_nmr.tables import complete, read_table
from insilico_nmr.tensor_metrics import DEFINED_AXIS_ETA
from matplotlib.axes import Axes
from matplotlib.figure import Figure

METRICS = ["model", "linear_model", "mean_model"]
COMPONENTS = ["dft_au", "model_au"]
PARAMETERS = ["CQ_dft_kHz", "CQ_model_kHz", "eta_dft", "eta_model", "z_axis_angle_deg"]
SYMBOLS = {"xy": "xy", "yz": "yz", "z2": "z²", "xz": "xz", "x2-y2": "x²−y²"}


def read(metrics: Path, components: Path, parameters: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The three tables, without points that have no value (said on stderr)."""
    return (
        read_table(metrics, METRICS, ["quantity", "unit"]),
        complete(read_table(components, COMPONENTS, ["component"]), COMPONENTS, components, "components"),
        complete(read_table(parameters, PARAMETERS), PARAMETERS, parameters, "tensors"),
    )


def errors_text(metrics: pd.DataFrame, wanted: list[tuple[str, str]]) -> str:
    """Lines of errors; `wanted` pairs the start of a metric's name with what to call it."""
    lines = ["error: model / linear model / mean"]
    for start, name in wanted:
        for row in metrics[metrics["quantity"].str.startswith(start)].itertuples():
            values = [f"{value:.3g}" if np.isfinite(value) else "–" for value in (getattr(row, c) for c in METRICS)]
            unit = "" if row.unit == "1" else (" " + {"deg": "°"}.get(row.unit, row.unit)).replace(" °", "°")
            lines.append(f"{name}: {' / '.join(values)}{unit}")
    return "\n".join(lines)


def above(axes: Axes, text: str) -> None:
    """Text over a panel, where it hides no point."""
    axes.set_title(text, loc="left", size=SMALL, linespacing=1.25)


def equal_axes(axes: Axes, low: float, high: float) -> None:
    """Same limits on both axes and the line of perfect prediction."""
    axes.plot([low, high], [low, high], color=BLACK, linewidth=0.6, zorder=3)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")


def draw(metrics: pd.DataFrame, components: pd.DataFrame, parameters: pd.DataFrame) -> Figure:
    """Four panels at two-column width."""
    figure = new_figure(DOUBLE_MM, 160)
    (a, b), (c, d) = figure.subplots(2, 2)
    dots = {"linestyle": "none", "marker": "o", "markersize": 2, "markeredgewidth": 0, "rasterized": True}
    see_through = float(np.clip(300 / len(parameters), 0.15, 0.7))

    for number, (name, points) in enumerate(components.groupby("component", sort=False)):
        a.plot(points["dft_au"], points["model_au"], color=PALETTE[number], alpha=see_through,
               label=SYMBOLS.get(name, name), **dots)  # fmt: skip
    reach = 1.05 * components[COMPONENTS].abs().to_numpy().max()
    equal_axes(a, -reach, reach)
    a.set(xlabel="DFT component (a.u.)", ylabel="model component (a.u.)")
    legend = a.legend(loc="lower right", markerscale=2, handletextpad=0, title="component", title_fontsize=SMALL)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    above(a, errors_text(metrics, [("component MAE", "MAE"), ("component RMSE", "RMSE/RMS")]))

    b.plot(parameters["CQ_dft_kHz"], parameters["CQ_model_kHz"], color=PALETTE[0], alpha=see_through, **dots)
    reach = 1.05 * parameters[["CQ_dft_kHz", "CQ_model_kHz"]].abs().to_numpy().max()
    equal_axes(b, -reach, reach)
    for line in (b.axhline, b.axvline):
        line(0, color=GREY, linewidth=0.4, zorder=0)
    b.set(xlabel=r"DFT C$_Q$, signed (kHz)", ylabel=r"model C$_Q$, signed (kHz)")
    above(b, errors_text(metrics, [("|C_Q| MAE", r"|C$_Q$| MAE"), ("sign of", "sign wrong")]))

    size = parameters["CQ_dft_kHz"].abs() / max(parameters["CQ_dft_kHz"].abs().max(), 1e-300)
    c.scatter(parameters["eta_dft"], parameters["eta_model"], s=0.5 + 10 * size, color=PALETTE[2],
              alpha=see_through, linewidths=0, rasterized=True)  # fmt: skip
    equal_axes(c, 0, 1)
    c.set(xlabel=r"DFT $\eta$", ylabel=r"model $\eta$")
    above(c, errors_text(metrics, [("eta MAE", r"MAE weighted by |V$_{zz}$|")]) + "\n" + r"dot area $\propto$ |C$_Q$|")

    angles = np.sort(parameters.loc[parameters["eta_dft"] < DEFINED_AXIS_ETA, "z_axis_angle_deg"].to_numpy())
    if len(angles):
        edges = np.linspace(0, 90, 46)
        counts = np.histogram(angles, edges)[0] / len(angles)
        d.stairs(counts / counts.max(), edges, fill=True, color=PALETTE[0], alpha=0.3, label="histogram (peak = 1)")
        d.plot(np.append(angles, 90), np.append(np.arange(1, len(angles) + 1), len(angles)) / len(angles),
               color=PALETTE[0], drawstyle="steps-post", label="cumulative, model")  # fmt: skip
        theta = np.linspace(0, 90, 91)
        d.plot(theta, 1 - np.cos(np.deg2rad(theta)), color=GREY, linestyle="--", label="cumulative, random axes")
        d.axvline(np.median(angles), color=BLACK, linewidth=0.6, linestyle=":", label="median, model")
    d.set(xlim=(0, 90), ylim=(0, 1.03), xlabel="angle between DFT and model z axes (°)", ylabel="fraction of tensors")
    d.legend(loc="center", bbox_to_anchor=(0.56, 0.33), frameon=True, framealpha=0.85, edgecolor="none")
    note = f"{len(angles)} of {len(parameters)} tensors: those of DFT " + rf"$\eta$ < {DEFINED_AXIS_ETA}"
    above(d, errors_text(metrics, [("z axis", "median angle")]) + "\n" + note)
    for axes, name in zip((a, b, c, d), "abcd", strict=True):
        letter(axes, name)
    return figure


def main() -> None:
    parser = figure_arguments(__doc__, ["tensor_metrics", "parity_components", "parity_parameters"])
    args = parser.parse_args()
    tables = read(args.tensor_metrics, args.parity_components, args.parity_parameters)
    save(draw(*tables), args.out_pdf, args.out_png)


if __name__ == "__main__":
    run_script(main)
