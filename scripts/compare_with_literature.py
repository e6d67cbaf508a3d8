"""Lay the study's predictions beside measured values, one row a value, with a verdict on each.

Energies and absolute rates are judged apart. Values at the reference temperature come from Arrhenius fits over the
simulated temperatures. A measured value agrees where it lies, within its own uncertainty (half a unit of its last
digit where none is stated), inside the predicted 95 % interval; else the row says how far the prediction is off.

What is compared with what (column basis): energies of long-range transport with that of tracer diffusion; energies and
rates measured by spin-alignment echo (SAE) with the simulated echo's decay; local energies with the lowest barrier of
the rate model. Predictions without a measured value are listed as well.
"""

import argparse
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.fits import BOLTZMANN_EV_PER_K, ArrheniusFit, fit_arrhenius
from insilico_nmr.style import read_table
from scipy import constants

KILOJOULE_PER_MOL_IN_EV = 1e3 / (constants.N_A * constants.e)
# Unit of the study for each kind of value, and what multiplies a measured number to bring it there.
UNITS = {
    "eV": {"eV": 1.0, "meV": 1e-3, "kJ/mol": KILOJOULE_PER_MOL_IN_EV, "kcal/mol": 4.184 * KILOJOULE_PER_MOL_IN_EV},
    "m2/s": {"m2/s": 1.0, "cm2/s": 1e-4},
    "1/s": {"1/s": 1.0, "s^-1": 1.0, "1/ms": 1e3, "1/us": 1e6},
    "S/cm": {"S/cm": 1.0, "mS/cm": 1e-3, "S/m": 1e-2},
}
UNIT_OF = {
    "activation_energy": "eV",
    "diffusion_coefficient": "m2/s",
    "jump_rate": "1/s",
    "attempt_frequency": "1/s",
    "ionic_conductivity": "S/cm",
}
LITERATURE = ["material", "phase", "quantity", "value", "uncertainty", "unit", "temperature_K", "method", "reference"]
MEASURED = ["quantity", "temperature_K", "value", "uncertainty", "unit", "method", "reference"]
MEASURED += ["value_text", "uncertainty_text", "given"]
RATES = ["temperature_K", "rate_per_s", "ci_low_per_s", "ci_high_per_s"]
DIFFUSION = ["temperature_K", "shift", "D_tracer_m2_per_s", "ci_low_m2_per_s", "ci_high_m2_per_s", "exit_rate_per_s"]
DIFFUSION += ["conductivity_S_per_cm", "conductivity_ci_low_S_per_cm", "conductivity_ci_high_S_per_cm", "diffusive"]
ECHO_FITS = ["temperature_K", "evolution_time_us", "rate_per_s", "rate_ci_low_per_s", "rate_ci_high_per_s"]
ECHO_FITS += ["rate_sd_model_per_s", "exit_rate_per_s"]
# A line through values without scatter of their own (exit rates are exact): a part of the value to weigh them by.
LEAST_RELATIVE_ERROR = 0.01


@dataclass(frozen=True)
class Prediction:
    """A predicted value with its 95 % interval, in words where it comes from, and what the interval holds."""

    value: float
    low: float
    high: float
    basis: str
    interval: str = "sampling only"


def convert(value: float, unit: str, quantity: str) -> float:
    """A measured number in the study's unit of `quantity`. Raises InputError for a unit that is not known for it."""
    known = UNITS[UNIT_OF[quantity]]
    if unit not in known:
        raise InputError(f"{quantity} in {unit!r}: expected {', '.join(known)}")
    return value * known[unit]


def significant_digits(text: str) -> int:
    """Digits that a number as printed holds: 3 for "0.240" and "2.40e-4", 1 for "9e-14"."""
    digits = re.sub(r"[eE].*", "", text).replace(".", "").lstrip("+-").lstrip("0")
    return max(1, len(digits))


def last_digit(text: str) -> float:
    """Worth of one unit in the last digit of a number as printed: 0.01 for "0.24", 1e-14 for "9e-14"."""
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def read_literature(path: Path, material: str, phase: str) -> pd.DataFrame:
    """Measured values of one material and phase that this study can predict, in its units.

    Columns quantity, temperature_K, value, uncertainty (stated, or half a unit of the last digit), unit, method,
    reference, value_text and uncertainty_text (as given where the unit is the study's, "" where none is stated),
    given (number and unit of the source). An empty table where there are none. Raises InputError naming the row.
    """
    table = read_table(path, [], LITERATURE)
    rows = []
    for number, row in zip(table.index + 2, table.to_dict("records"), strict=True):
        if (row["material"], row["phase"]) != (material, phase) or row["quantity"] not in UNIT_OF:
            continue
        try:
            unit = UNIT_OF[row["quantity"]]
            factor = convert(1.0, row["unit"], row["quantity"])
            value, stated = float(row["value"]), float(row["uncertainty"] or "nan")
            temperature = float(row["temperature_K"] or "nan")
        except ValueError as error:
            raise InputError(f"{path}: row {number}: {error}") from None
        if not (np.isfinite(value) and value > 0) or stated < 0 or temperature <= 0:
            raise InputError(f"{path}: row {number} has value {row['value']}, uncertainty {row['uncertainty']}, "
                             f"temperature_K {row['temperature_K']}: expected positive numbers")  # fmt: skip
        same, digits = factor == 1.0, significant_digits(row["value"])
        rows.append(
            {
                "quantity": row["quantity"],
                "temperature_K": temperature,
                "value": value * factor,
                "uncertainty": (last_digit(row["value"]) / 2 if np.isnan(stated) else stated) * factor,
                "unit": unit,
                "method": row["method"],
                "reference": row["reference"],
                "value_text": row["value"] if same else shown(value * factor, digits),
                "uncertainty_text": row["uncertainty"]
                if same or not row["uncertainty"]
                else shown(stated * factor, significant_digits(row["uncertainty"])),
                "given": f"{row['value']} {row['unit']}",
            }
        )
    return pd.DataFrame(rows, columns=MEASURED)


def for_figure(path: Path | None, material: str, phase: str) -> pd.DataFrame:
    """Measured values to draw: none where no table is given; says on stderr where the table has none."""
    if path is None:
        return pd.DataFrame(columns=MEASURED)
    found = read_literature(path, material, phase)
    if found.empty:
        print(f"{path}: no value of {material} {phase}: drawn without", file=sys.stderr)
    return found


def shown(value: float, digits: int) -> str:
    """A number with `digits` significant digits, zeros at the end kept; powers of ten outside 0.001 to 9999."""
    if value == 0:
        return "0"
    text = f"{value:.{digits - 1}e}"
    exponent = int(text.partition("e")[2])
    if -4 < exponent < 4 and digits - 1 - exponent >= 0:
        return f"{float(text):.{digits - 1 - exponent}f}"
    mantissa, _, _ = text.partition("e")
    return f"{mantissa}e{exponent}"


def plain(ratio: float) -> str:
    """A ratio in two digits, without powers of ten from 0.001 to a million: "1.0", "420", "84000"."""
    return shown(ratio, 2) if ratio < 10 or ratio >= 1e6 else f"{float(f'{ratio:.1e}'):.0f}"


def digits_held(prediction: Prediction) -> int:
    """Significant digits that the interval allows: to the second digit of its smaller half where that is below 3.55,
    else to the first (the rule of the Particle Data Group); at least 2 and at most 4."""
    half = min(prediction.high - prediction.value, prediction.value - prediction.low)
    if not half > 0:
        return 2
    place = np.floor(np.log10(half))
    extra = 2 if half / 10**place < 3.55 else 1
    return int(np.clip(np.floor(np.log10(prediction.value)) - place + extra, 2, 4))


def shown_interval(prediction: Prediction) -> tuple[str, str, str]:
    """Value and both ends of the interval, all cut at the same decimal place."""
    digits = digits_held(prediction)
    place = np.floor(np.log10(prediction.value)) - digits + 1
    ends = [
        shown(end, int(np.clip(np.floor(np.log10(end)) - place + 1, 1, digits + 1))) if end > 0 else "0"
        for end in (prediction.low, prediction.high)
    ]
    return shown(prediction.value, digits), *ends


def rate_line(rows: pd.DataFrame) -> ArrheniusFit:
    """The Arrhenius line that rows (T) of one class of the rate model lie on, and its covariance.

    The model's ln k is a line in 1/k_BT and the square of its error a parabola, so that rows at three temperatures or
    more hold ν, E and their covariance. Raises InputError for fewer.
    """
    rows = rows.drop_duplicates("temperature_K")
    if len(rows) < 3:
        raise InputError("the rate model needs rows at three temperatures or more")
    inverse = 1 / (BOLTZMANN_EV_PER_K * rows["temperature_K"].to_numpy())
    slope, log_prefactor = np.polyfit(inverse, np.log(rows["rate_per_s"].to_numpy()), 1)
    half = np.log(rows["ci_high_per_s"].to_numpy() / rows["ci_low_per_s"].to_numpy()) / 2
    square, cross, constant = np.polyfit(inverse, (half / 1.96) ** 2, 2)
    values, vectors = np.linalg.eigh([[constant, -cross / 2], [-cross / 2, square]])
    covariance = (vectors * np.maximum(values, 0)) @ vectors.T  # rounding may leave a variance a hair below 0
    return ArrheniusFit(-float(slope), float(log_prefactor), covariance, 0.0)


def arrhenius(diffusion: pd.DataFrame, column: str, low: str | None = None, high: str | None = None) -> ArrheniusFit:
    """Arrhenius line of a column of the diffusion table over the temperatures of kinetic Monte Carlo.

    Weights from the interval columns `low` and `high`. Rows of origin kmc_shift, the same values after a move of the
    rate model by one standard deviation along each direction of its covariance, add that model's uncertainty, taken
    as common to all temperatures. Raises InputError for fewer than two temperatures with a value.
    """
    points = diffusion[(diffusion["origin"] == "kmc") & (diffusion["diffusive"] == 1)]
    needed = [column] if low is None else [column, low, high]
    points = points.dropna(subset=needed).sort_values("temperature_K")
    value = points[column].to_numpy()
    relative = np.zeros(len(value)) if low is None else np.log(points[high] / points[low]).to_numpy() / (2 * 1.96)
    relative = np.hypot(relative, LEAST_RELATIVE_ERROR)
    temperature = points["temperature_K"].to_numpy()
    fit = fit_arrhenius(temperature, value, relative * value)
    covariance = fit.covariance.copy()
    for _, moved in diffusion[diffusion["origin"] == "kmc_shift"].groupby("shift"):
        values = moved.set_index("temperature_K")[column].reindex(temperature).to_numpy()
        if not np.isfinite(values).all():
            raise InputError(f"diffusion table: a kmc_shift row lacks a {column} that its kmc row has")
        other = fit_arrhenius(temperature, values, relative * values)
        change = np.array(
            [other.log_prefactor - fit.log_prefactor, other.activation_energy_eV - fit.activation_energy_eV]
        )
        covariance += np.outer(change, change)
    return replace(fit, covariance=covariance)


def conductivity_line(diffusion: pd.DataFrame) -> ArrheniusFit:
    """Arrhenius line of σT (S K/cm), which is what is activated (Nernst-Einstein)."""
    columns = [name for name in DIFFUSION if name.startswith("conductivity")]
    scaled = diffusion.assign(**{name: diffusion[name] * diffusion["temperature_K"] for name in columns})
    return arrhenius(scaled, *columns)


def usable_echoes(fits: pd.DataFrame) -> pd.DataFrame:
    """Fits of echoes that are echoes: they converged, no jumps while the phases evolve, and 1/τ < 1/t_p."""
    slow = fits["rate_per_s"] * fits["evolution_time_us"] * 1e-6 < 1
    good = fits["status"].str.startswith("ok") & (fits["flag"] == "ok") & slow
    return fits[good & (fits["observable"] == "spin_alignment_echo") & (fits["rate_ci_low_per_s"] > 0)]


def echo_line(fits: pd.DataFrame, diffusion: pd.DataFrame) -> tuple[ArrheniusFit, float, np.ndarray]:
    """Arrhenius line of the echo's 1/τ, the t_p (µs) it is read at, and its temperatures.

    The evolution time is the one with most temperatures, the longest of those. The uncertainty of the rate model is
    taken to be that of the exit rate. Raises InputError for fewer than two usable temperatures.
    """
    good = usable_echoes(fits)
    if good.empty:
        raise InputError("no usable echo fit")
    number = good.groupby("evolution_time_us")["temperature_K"].nunique()
    evolution_us = float(number[number == number.max()].index.max())
    rows = good[good["evolution_time_us"] == evolution_us]
    relative = np.log(rows["rate_ci_high_per_s"] / rows["rate_ci_low_per_s"]) / (2 * 1.96)
    relative = np.hypot(relative, (rows["rate_sd_model_per_s"] / rows["rate_per_s"]).fillna(0.0))
    relative = np.hypot(relative, LEAST_RELATIVE_ERROR)
    fit = fit_arrhenius(rows["temperature_K"], rows["rate_per_s"], relative * rows["rate_per_s"])
    shifted = arrhenius(diffusion, "exit_rate_per_s").covariance
    without = arrhenius(diffusion[diffusion["origin"] == "kmc"], "exit_rate_per_s").covariance
    covariance = fit.covariance + shifted - without
    return replace(fit, covariance=covariance), evolution_us, rows["temperature_K"].to_numpy()


class Study:
    """The study's predictions; what the tables do not determine is None, said on stderr once."""

    def __init__(self, rates: pd.DataFrame, diffusion: pd.DataFrame, fits: pd.DataFrame):
        simulated = diffusion[(diffusion["origin"] == "kmc") & (diffusion["diffusive"] == 1)]
        self.temperatures_K = simulated["temperature_K"].to_numpy()
        with_model = (diffusion["origin"] == "kmc_shift").any()
        self.interval = "sampling and rate model" if with_model else "sampling only"
        self.tracer = self._try(
            "diffusion", lambda: arrhenius(diffusion, "D_tracer_m2_per_s", "ci_low_m2_per_s", "ci_high_m2_per_s")
        )
        self.conductivity = self._try("conductivity", lambda: conductivity_line(diffusion))
        self.exit = self._try("exit rate", lambda: arrhenius(diffusion, "exit_rate_per_s"))
        self.echo = self._try("echo", lambda: echo_line(fits, diffusion))
        model = rates[rates["origin"] == "model"]
        keys = ["class", "from", "to"]
        self.classes = {key: rate_line(rows) for key, rows in model.groupby(keys, sort=False)}

    @staticmethod
    def _try(name: str, line):
        try:
            return line()
        except InputError as error:
            print(f"no prediction from the {name}: {error}", file=sys.stderr)
            return None

    def energy(self, method: str) -> Prediction | None:
        """Activation energy that a measurement by `method` is to be compared with, eV."""
        if "SAE" in method:
            if self.echo is None:
                return None
            line, evolution_us, temperatures_K = self.echo
            basis = f"1/τ of the echo at t_p {evolution_us:g} µs, {span(temperatures_K)}"
            return Prediction(
                line.activation_energy_eV, *line.activation_energy_interval_eV, basis, f"{self.interval}, tensors"
            )
        if "local" in method.lower() or "low-t flank" in method.lower():
            return self.lowest_barrier()
        if self.tracer is None:
            return None
        basis = f"slope of the tracer diffusion of kinetic Monte Carlo, {span(self.temperatures_K)}"
        return Prediction(
            self.tracer.activation_energy_eV, *self.tracer.activation_energy_interval_eV, basis, self.interval
        )

    def lowest_barrier(self) -> Prediction | None:
        """The lowest barrier of a directed class of the rate model, eV."""
        if not self.classes:
            return None
        key, line = min(self.classes.items(), key=lambda item: item[1].activation_energy_eV)
        return barrier(key, line, "lowest barrier of the rate model")

    def jump_rate(self, temperature_K: float, method: str) -> Prediction | None:
        """Rate in 1/s: of the echo's decay for a measurement by SAE, else the mean exit rate."""
        if "SAE" in method:
            if self.echo is None:
                return None
            line, evolution_us, temperatures_K = self.echo
            basis = f"1/τ of the echo at t_p {evolution_us:g} µs"
            return at(line, temperature_K, temperatures_K, basis, f"{self.interval}, tensors")
        if self.exit is None:
            return None
        return at(self.exit, temperature_K, self.temperatures_K, "mean exit rate per ion", self.interval)

    def diffusion_coefficient(self, temperature_K: float) -> Prediction | None:
        """Tracer diffusion coefficient, m²/s."""
        if self.tracer is None:
            return None
        basis = "tracer diffusion of kinetic Monte Carlo"
        return at(self.tracer, temperature_K, self.temperatures_K, basis, self.interval)

    def ionic_conductivity(self, temperature_K: float) -> Prediction | None:
        """Conductivity, S/cm, from the collective displacement (Haven ratio included)."""
        if self.conductivity is None:
            return None
        basis = "Nernst-Einstein with Haven ratio"
        of_product = at(self.conductivity, temperature_K, self.temperatures_K, basis, self.interval)
        value, low, high = (number / temperature_K for number in (of_product.value, of_product.low, of_product.high))
        return Prediction(value, low, high, of_product.basis, self.interval)

    def attempt_frequency(self) -> Prediction | None:
        """The rate model's one attempt frequency, 1/s."""
        if not self.classes:
            return None
        line = next(iter(self.classes.values()))
        basis = "attempt frequency of the rate model"
        return Prediction(line.prefactor_per_s, *line.prefactor_interval_per_s, basis, "rate model")

    def predict(self, quantity: str, temperature_K: float, method: str) -> Prediction | None:
        """The prediction that belongs to a measured value."""
        if quantity == "activation_energy":
            return self.energy(method)
        if quantity == "attempt_frequency":
            return self.attempt_frequency()
        if quantity == "jump_rate":
            return self.jump_rate(temperature_K, method)
        return getattr(self, quantity)(temperature_K)


def span(temperatures_K: np.ndarray) -> str:
    """Range of temperatures in words."""
    return f"{np.min(temperatures_K):g} to {np.max(temperatures_K):g} K"


def barrier(key: tuple[str, str, str], line: ArrheniusFit, basis: str) -> Prediction:
    """Barrier of a directed class of the rate model, eV; never negative."""
    name, start, end = key
    low, high = line.activation_energy_interval_eV
    return Prediction(
        line.activation_energy_eV, max(low, 0.0), high, f"{basis}, {start} to {end} ({name})", "rate model"
    )


def at(line: ArrheniusFit, temperature_K: float, simulated_K: np.ndarray, basis: str, interval: str) -> Prediction:
    """Value of a line at a temperature; says whether that lies among the simulated ones."""
    inside = simulated_K.min() <= temperature_K <= simulated_K.max()
    how = "interpolated" if inside else "EXTRAPOLATED"
    return Prediction(
        *line.rate(temperature_K), f"{basis}, {how} on the Arrhenius line of {span(simulated_K)}", interval
    )


def verdict(
    predicted: Prediction, measured: float, uncertainty: float, measured_text: str, energy: bool
) -> tuple[str, str]:
    """Ratio (difference in eV for energies) of predicted to measured, and "agrees" or how far the prediction is off.

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
    return number, "agrees" if agrees else words


def table_row(quantity: str, temperature_K: float | None, unit: str, predicted: Prediction | None) -> dict:
    """Cells of a prediction, in as many digits as its interval allows."""
    row = {"quantity": quantity, "temperature_K": "" if temperature_K is None else f"{temperature_K:g}", "unit": unit}
    if predicted is None:
        return row | {"basis": "not determined by the tables"}
    value, low, high = shown_interval(predicted)
    return row | {
        "predicted": value,
        "ci_low": low,
        "ci_high": high,
        "basis": predicted.basis,
        "interval": predicted.interval,
    }


COLUMNS = ["quantity", "temperature_K", "predicted", "ci_low", "ci_high", "unit", "measured", "measured_uncertainty"]
COLUMNS += ["method", "reference", "ratio", "difference_eV", "verdict", "basis", "interval"]


def agreement(study: Study, literature: pd.DataFrame, reference_K: float) -> pd.DataFrame:
    """The table: measured values first, then predictions alone. All cells are text."""
    rows = []
    for value in literature.itertuples():
        energy = value.unit == "eV"
        timeless = value.quantity in ("activation_energy", "attempt_frequency")
        temperature = value.temperature_K if np.isfinite(value.temperature_K) else reference_K
        predicted = study.predict(value.quantity, temperature, value.method)
        row = table_row(value.quantity, None if timeless else temperature, value.unit, predicted)
        row |= {"measured": value.value_text, "measured_uncertainty": value.uncertainty_text}
        row |= {"method": value.method, "reference": value.reference, "verdict": "no prediction"}
        if predicted is not None:
            number, row["verdict"] = verdict(predicted, value.value, value.uncertainty, value.value_text, energy)
            row["difference_eV" if energy else "ratio"] = number
            if not timeless and np.isnan(value.temperature_K):
                row["basis"] += "; the source states no temperature"
        if not value.given.startswith(f"{value.value_text} "):
            row["basis"] = f"{row['basis']}; measured value given as {value.given}"
        rows.append(row)
    listed = {(row["quantity"], row["temperature_K"]) for row in rows}
    for quantity, temperature, unit, predicted in always(study, reference_K):
        row = table_row(quantity, temperature, unit, predicted)
        if (row["quantity"], row["temperature_K"]) not in listed:
            rows.append(row | {"verdict": "prediction only" if predicted else "no prediction"})
    return pd.DataFrame([{name: row.get(name, "") for name in COLUMNS} for row in rows])


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
        ("echo_decay_rate", reference_K, "1/s", study.jump_rate(reference_K, "SAE")),
        ("echo_activation_energy", None, "eV", study.energy("SAE")),
        ("attempt_frequency", None, "1/s", study.attempt_frequency()),
    ]
    rows += [("barrier", None, "eV", barrier(key, line, "rate model")) for key, line in study.classes.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=Path, required=True, help="rate table, CSV; its rows of origin model are used")
    parser.add_argument("--diffusion", type=Path, required=True, help="table of diffusion_table.py, CSV")
    parser.add_argument("--echo-fits", type=Path, required=True, help="fits of simulate_nmr.py, CSV")
    parser.add_argument("--literature", type=Path, required=True, help="measured values, CSV")
    parser.add_argument("--material", required=True, help="its rows of this material")
    parser.add_argument("--phase", required=True, help="and this phase")
    parser.add_argument("--reference-temperature", type=float, required=True, help="K, where rates are given")
    parser.add_argument("--out", type=Path, required=True, help="table to write, CSV")
    args = parser.parse_args()
    if not args.reference_temperature > 0:
        raise InputError(f"--reference-temperature is {args.reference_temperature:g}; expected more than 0 K")

    study = Study(
        read_table(args.rates, RATES, ["class", "from", "to", "origin"]),
        read_table(args.diffusion, DIFFUSION, ["origin"]),
        read_table(args.echo_fits, ECHO_FITS, ["observable", "flag", "status"]),
    )
    literature = read_literature(args.literature, args.material, args.phase)
    if literature.empty:
        print(f"{args.literature}: no value of {args.material} {args.phase} to compare with", file=sys.stderr)
    table = agreement(study, literature, args.reference_temperature)
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False)
    print(table.drop(columns=["basis", "interval", "reference"]).to_string(index=False))


if __name__ == "__main__":
    run_script(main)
