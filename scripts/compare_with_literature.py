"""Lay the study's predictions beside measured values, one row a value, with a verdict on each.

Energies and absolute rates are judged apart. Values at the reference temperature come from Arrhenius fits over the
simulated temperatures. A measured value agrees where it lies, within its own uncertainty (half a unit of its last
digit where none is stated), inside the predicted 95 % interval; else the row says how far the prediction is off. A
value whose note in the literature table says "to be confirmed" gets no verdict.

What is compared with what (column basis): energies of long-range transport with that of tracer diffusion; energies and
rates measured by spin-alignment echo (SAE) with the simulated echo's decay, or where that would be faster than 1/t_p,
so that there is none, with that of the tensors' correlation function, and so rates by relaxation or narrowing; local
energies with that of the mean exit rate; couplings with that of the nearest site. Predictions without a measured value
are listed as well. Echoes that the user measured (--measured-echoes) are compared by the 1/τ of their first stage, at
the same t_p.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.literature import of_isotope, read_literature
from insilico_nmr.measured import read_echo_fits
from insilico_nmr.predictions import (
    COUPLINGS,
    DIFFUSION,
    ECHO_FITS,
    RATES,
    Prediction,
    Study,
    barrier,
    shown_interval,
    span,
)
from insilico_nmr.significant_figures import last_digit, plain, shown
from insilico_nmr.tables import read_table

TELLING = 100.0  # upper over lower end of an interval
OF_NO_MOTION = ("abs_CQ", "attempt_frequency", "barrier")
COLUMNS = ["quantity", "temperature_K", "predicted", "ci_low", "ci_high", "unit", "measured", "measured_uncertainty"]
COLUMNS += ["method", "reference", "ratio", "difference_eV", "verdict", "basis", "interval", "note"]


def verdict(
    predicted: Prediction, measured: float, uncertainty: float, measured_text: str, energy: bool
) -> tuple[str, str]:
    """Ratio (difference in eV for energies) of predicted to measured, and "agrees" or how far the prediction is off.

    Of an interval so wide that to lie in it says little, beyond a factor TELLING, the words say so.
    Digits: two of a ratio; of a difference as many decimals as the measured energy has.
    """
    agrees = measured + uncertainty >= predicted.low and measured - uncertainty <= predicted.high
    if energy:
        decimals = max(0, round(-np.log10(last_digit(measured_text))))
        difference = predicted.value - measured
        number = f"{difference:+.{decimals}f}"
        words = f"{abs(difference):.{decimals}f} eV {'higher' if difference > 0 else 'lower'}"
    else:
        ratio = predicted.value / measured
        number = plain(ratio)
        words = f"{plain(max(ratio, 1 / ratio))} times {'higher' if ratio > 1 else 'lower'}"
    if agrees and not energy and predicted.high > TELLING * max(predicted.low, 0.0):
        width = f"a factor {plain(predicted.high / predicted.low)}" if predicted.low > 0 else "zero and more"
        return number, f"agrees, in an interval of {width}"
    return number, "agrees" if agrees else words


def table_row(quantity: str, temperature_K: float | None, unit: str, predicted: Prediction | None) -> dict:
    """Cells of a prediction, in as many digits as its interval allows."""
    row = {"quantity": quantity, "temperature_K": "" if temperature_K is None else f"{temperature_K:g}", "unit": unit}
    if predicted is None:
        return row | {"basis": "not determined by the tables"}
    value, low, high = shown_interval(predicted, of_logarithm=unit not in ("eV", "kHz"))
    return row | {
        "predicted": value,
        "ci_low": low,
        "ci_high": high,
        "basis": predicted.basis,
        "interval": predicted.interval,
    }


def echo_rows(study: Study, fits: pd.DataFrame) -> list[dict]:
    """Rows of the echoes that the user measured: 1/τ with its standard error beside the study's at the same t_p."""
    rows = []
    for fit in fits[fits["status"] == "ok"].itertuples():
        predicted = study.echo_rate(fit.temperature_K, fit.evolution_time_us)
        error = fit.rate_per_s * fit.tau_se_s / fit.tau_s
        text = shown(fit.rate_per_s, 3)
        row = table_row("echo_decay_rate", fit.temperature_K, "1/s", predicted) | {"verdict": "no prediction"}
        row |= {"measured": text, "measured_uncertainty": shown(error, 2), "reference": "own measurement"}
        more = f", T1Q {fit.t1q_s:.2g} s" if np.isfinite(fit.t1q_s) else ", slow stage" if fit.slow_amplitude else ""
        row |= {"method": f"SAE, t_p {fit.evolution_time_us:g} µs", "note": f"fit with β = {fit.beta:.2f}{more}"}
        if predicted is None:
            row["basis"] = "no usable echo at this t_p at two temperatures or more, or none this slow"
        else:
            row["ratio"], row["verdict"] = verdict(predicted, fit.rate_per_s, error, text, energy=False)
        rows.append(row)
    return rows


def agreement(study: Study, literature: pd.DataFrame, reference_K: float, own: Sequence[dict] = ()) -> pd.DataFrame:
    """The table: rows of the user's `own` curves and measured values first, then predictions alone. Cells are text."""
    rows = []
    for value in literature.itertuples():
        energy = value.unit == "eV"
        timeless = value.quantity in ("activation_energy", "attempt_frequency")
        temperature = value.temperature_K if np.isfinite(value.temperature_K) else reference_K
        predicted = study.predict(value.quantity, temperature, value.method, value.value)
        row = table_row(value.quantity, None if timeless else temperature, value.unit, predicted)
        row |= {"measured": value.value_text, "measured_uncertainty": value.uncertainty_text}
        row |= {"method": value.method, "reference": value.reference, "note": value.note}
        row["verdict"] = "no prediction"
        if predicted is not None:
            number, row["verdict"] = verdict(predicted, value.value, value.uncertainty, value.value_text, energy)
            row["difference_eV" if energy else "ratio"] = number
            if not value.confirmed:
                row["verdict"] = "measured value to be confirmed"
            if not timeless and np.isnan(value.temperature_K):
                row["basis"] += "; the source states no temperature"
        if not value.given.startswith(f"{value.value_text} "):
            row["basis"] = f"{row['basis']}; measured value given as {value.given}"
        rows.append(row)
    # The user's own echoes, of any t_p, do not stand for the study's.
    listed = {(row["quantity"], row["temperature_K"]) for row in rows}
    for quantity, temperature, unit, predicted in always(study, reference_K):
        row = table_row(quantity, temperature, unit, predicted)
        if (row["quantity"], row["temperature_K"]) not in listed:
            rows.append(row | {"verdict": "prediction only" if predicted else "no prediction"})
    return pd.DataFrame([{name: row.get(name, "") for name in COLUMNS} for row in [*own, *rows]])


def note_vacancies(table: pd.DataFrame, per_site: float, within_factor: float) -> pd.DataFrame:
    """The table with what a number of vacancies that is an input does to predictions of motion, in column `basis`."""
    number = f"{100 * per_site:g} % of the sites vacant, an input"
    number += f" known to a factor of {within_factor:g}" if within_factor > 1 else ""
    energy = f"; with {number}: the energy of making them is not in it"
    others = f"; proportional to the vacancies, {number}"
    moving = (table["predicted"] != "") & ~table["quantity"].isin(OF_NO_MOTION)
    added = pd.Series(np.where(table["unit"] == "eV", energy, others), table.index).where(moving, "")
    return table.assign(basis=table["basis"] + added)


def always(study: Study, reference_K: float) -> list[tuple[str, float | None, str, Prediction | None]]:
    """Predictions that are always listed: quantity, temperature, unit, value."""
    exit_energy = exit_prefactor = prefactor = None
    where = span(study.temperatures_K) if len(study.temperatures_K) else ""
    if study.exit is not None:
        basis = f"mean exit rate per ion, {where}"
        energy = study.exit.activation_energy_eV, *study.exit.activation_energy_interval_eV
        exit_energy = Prediction(*energy, basis, study.interval)
        exit_prefactor = Prediction(
            study.exit.prefactor_per_s, *study.exit.prefactor_interval_per_s, basis, study.interval
        )
    if study.tracer is not None:
        basis = f"tracer diffusion of kinetic Monte Carlo, {where}"
        prefactor = Prediction(
            study.tracer.prefactor_per_s, *study.tracer.prefactor_interval_per_s, basis, study.interval
        )
    rows = [
        ("effective_activation_energy", None, "eV", study.energy("")),
        ("prefactor_of_diffusion", None, "m2/s", prefactor),
        ("activation_energy_of_mean_jump_rate", None, "eV", exit_energy),
        ("prefactor_of_mean_jump_rate", None, "1/s", exit_prefactor),
        ("mean_jump_rate", reference_K, "1/s", study.jump_rate(reference_K, "")),
        ("diffusion_coefficient", reference_K, "m2/s", study.diffusion_coefficient(reference_K)),
        ("ionic_conductivity", reference_K, "S/cm", study.ionic_conductivity(reference_K)),
        ("echo_activation_energy", None, "eV", study.energy("SAE")),
        ("attempt_frequency", None, "1/s", study.attempt_frequency()),
    ]
    echo_rate = study.echo_rate(reference_K)
    if echo_rate is not None:
        rows.append(("echo_decay_rate", reference_K, "1/s", echo_rate))
    rows += [("barrier", None, "eV", barrier(key, line, "rate model")) for key, line in study.classes.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=Path, required=True, help="rate table, CSV; its rows of origin model are used")
    parser.add_argument("--diffusion", type=Path, required=True, help="table of diffusion_table.py, CSV")
    parser.add_argument("--echo-fits", type=Path, required=True, help="fits of simulate_nmr.py, CSV")
    parser.add_argument("--couplings", type=Path, required=True, help="table of coupling_table.py, CSV")
    parser.add_argument("--isotope", required=True, help="that of the couplings, for example 7Li")
    parser.add_argument("--literature", type=Path, required=True, help="measured values, CSV")
    parser.add_argument("--material", required=True, help="its rows of this material")
    parser.add_argument("--phase", required=True, help="and this phase")
    parser.add_argument("--measured-echoes", type=Path, help="fits of fit_measured_echoes.py, CSV (default: none)")
    parser.add_argument("--reference-temperature", type=float, required=True, help="K, where rates are given")
    parser.add_argument("--out", type=Path, required=True, help="table to write, CSV")
    parser.add_argument("--vacancies", type=float, metavar="PER_SITE", help="where their number is an input")
    parser.add_argument("--vacancy-factor", type=float, default=1.0, help="it is known within (default: 1)")
    args = parser.parse_args()
    if not args.reference_temperature > 0:
        raise InputError(f"--reference-temperature is {args.reference_temperature:g}; expected more than 0 K")

    study = Study(
        read_table(args.rates, RATES, ["class", "from", "to", "origin"]),
        read_table(args.diffusion, DIFFUSION, ["origin"]),
        read_table(args.echo_fits, ECHO_FITS, ["observable", "flag", "status"]),
        read_table(args.couplings, COUPLINGS, ["orbit", "average"]),
    )
    literature = read_literature(args.literature, args.material, args.phase)
    literature = of_isotope(literature, args.isotope)
    own = []
    if args.measured_echoes:
        own = echo_rows(study, read_echo_fits(args.measured_echoes))
    if literature.empty and not own:
        print(f"{args.literature}: no value of {args.material} {args.phase} to compare with", file=sys.stderr)
    table = agreement(study, literature, args.reference_temperature, own)
    if args.vacancies is not None:
        table = note_vacancies(table, args.vacancies, args.vacancy_factor)
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False)
    print(table.drop(columns=["basis", "interval", "reference"]).to_string(index=False))


if __name__ == "__main__":
    run_script(main)
