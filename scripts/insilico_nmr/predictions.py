"""What the study predicts for a quantity that is measured: Arrhenius lines over its tables, with intervals."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError
from insilico_nmr.fits import JUMPING, ArrheniusFit, fit_arrhenius
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.significant_figures import shown

RATES = ["temperature_K", "rate_per_s", "ci_low_per_s", "ci_high_per_s"]
DIFFUSION = ["temperature_K", "shift", "D_tracer_m2_per_s", "ci_low_m2_per_s", "ci_high_m2_per_s", "exit_rate_per_s"]
DIFFUSION += ["conductivity_S_per_cm", "conductivity_ci_low_S_per_cm", "conductivity_ci_high_S_per_cm", "diffusive"]
DIFFUSION += ["arrhenius"]
ECHO_FITS = ["temperature_K", "shift", "evolution_time_us", "rate_per_s", "rate_ci_low_per_s", "rate_ci_high_per_s"]
ECHO_FITS += ["rate_sd_model_per_s", "rate_sd_dft_per_s", "exit_rate_per_s"]
COUPLINGS = ["temperature_K", "C_Q_kHz", "C_Q_sd_model_kHz", "C_Q_se_sampling_kHz", "C_Q_sd_dft_kHz"]
# A line through values without errors of their own (exit rates, exact or of very many jumps): a part to weigh them by.
LEAST_RELATIVE_ERROR = 0.01
WIDE = 5.0
# Words of a method, in any case, that say what a measured rate or energy is of; else it is of long-range transport.
BY_ECHO = ("sae", "spin-alignment", "spin alignment", "stimulated echo", "stimulated-echo")
OF_ALL_JUMPS = ("local", "low-t flank")
BY_RELAXATION = ("t1", "t2", "spin-lattice", "narrowing", "line width", "linewidth")
MOST_JUMPS = 0.3  # t_p/τ up to which the 1/τ of such an echo is that of the tensors' correlation, within a tenth


@dataclass(frozen=True)
class Prediction:
    """A predicted value with its 95 % interval, in words where it comes from, and what the interval holds."""

    value: float
    low: float
    high: float
    basis: str
    interval: str = "sampling only"


def digits_held(prediction: Prediction) -> int:
    """Significant digits that the interval allows: to the second digit of its smaller half where that is below 3.55,
    else to the first (the rule of the Particle Data Group); at least 2 and at most 4."""
    half = min(prediction.high - prediction.value, prediction.value - prediction.low)
    if not half > 0 or prediction.value == 0:
        return 2
    place = np.floor(np.log10(half))
    extra = 2 if half / 10**place < 3.55 else 1
    return int(np.clip(np.floor(np.log10(abs(prediction.value))) - place + extra, 2, 4))


def shown_interval(prediction: Prediction, of_logarithm: bool = False) -> tuple[str, str, str]:
    """Value and both ends of the interval, all cut at the same decimal place; the upper end by itself where it is 0.

    `of_logarithm`: it is one of rates and the like, whose ends have two digits each where they are a factor WIDE apart.
    """
    if prediction.value == 0:
        return "0", "0", shown(prediction.high, 2) if prediction.high > 0 else "0"
    digits = digits_held(prediction)
    if of_logarithm and prediction.high > WIDE * prediction.low > 0:
        return shown(prediction.value, digits), shown(prediction.low, 2), shown(prediction.high, 2)
    place = np.floor(np.log10(abs(prediction.value))) - digits + 1
    ends = [
        shown(end, int(np.clip(np.floor(np.log10(abs(end))) - place + 1, 1, digits + 1))) if end != 0 else "0"
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
    # The upper end may be that of attempts (RateModel.rate), the lower one is the model's.
    half = np.log(rows["rate_per_s"].to_numpy() / rows["ci_low_per_s"].to_numpy())
    square, cross, constant = np.polyfit(inverse, (half / 1.96) ** 2, 2)
    values, vectors = np.linalg.eigh([[constant, -cross / 2], [-cross / 2, square]])
    covariance = (vectors * np.maximum(values, 0)) @ vectors.T  # rounding may leave a variance a hair below 0
    return ArrheniusFit(-float(slope), float(log_prefactor), covariance, 0.0)


def comparable(moved: pd.DataFrame, temperatures_K: Iterable[float], column: str) -> dict[float, pd.Series]:
    """Values of `column` by temperature of each moved model, by its shift: of those that have two or more in common
    with `temperatures_K`, which a line takes, and there alone."""
    shared = moved[moved["temperature_K"].isin(temperatures_K)].dropna(subset=column).set_index("temperature_K")
    return {shift: rows[column] for shift, rows in shared.groupby("shift") if len(rows) > 1}


def by_rate_model(
    values: pd.Series, relative_error: pd.Series, moved: pd.DataFrame, column: str, shifts: Iterable[float]
) -> np.ndarray | None:
    """Covariance (2, 2) of (ln ν, E) of the line of `values` (by temperature, K) by the rate model.

    It is moved by one standard deviation along each of the directions `shifts`; lines are compared over the
    temperatures that both have. `moved`: rows with `shift`, `temperature_K` and `column`. A direction in which fewer
    than two are left counts as much as the largest of the others, which stderr says; None where none has a line.
    """
    inverse = 1 / (BOLTZMANN_EV_PER_K * values.index.to_numpy(float))
    others = comparable(moved, values.index, column)
    found, lost = [], [f"{shift:g}" for shift in sorted(set(shifts) - others.keys())]
    for other in others.values():
        before, after = (line_of(some[other.index], relative_error[other.index]) for some in (values, other))
        found.append(
            [after.log_prefactor - before.log_prefactor, after.activation_energy_eV - before.activation_energy_eV]
        )
    if lost:
        part = "counted as the largest of the others" if found else "intervals are without the rate model"
        print(f"{column}: no line of the rate model moved along {', '.join(lost)}: {part}", file=sys.stderr)
    if not found:
        return None
    largest = max(found, key=lambda change: abs(change[0] - inverse.mean() * change[1]))
    return sum(np.outer(change, change) for change in [*found, *[largest] * len(lost)])


def line_points(diffusion: pd.DataFrame) -> pd.DataFrame:
    """Rows that Arrhenius lines are fitted to: kinetic Monte Carlo, diffusive, in the range of column `arrhenius`."""
    simulated = diffusion["origin"].isin(["kmc", "kmc_shift"])
    return diffusion[simulated & (diffusion["diffusive"] == 1) & (diffusion["arrhenius"] == 1)]


def arrhenius(diffusion: pd.DataFrame, column: str, low: str | None = None, high: str | None = None) -> ArrheniusFit:
    """Arrhenius line of a column of the diffusion table over the temperatures marked in its column `arrhenius`.

    Weights from the interval columns `low` and `high`. Rows of origin kmc_shift, simulated with the rate model moved by
    one standard deviation along a direction of its covariance, add that model's uncertainty, taken as common to all
    temperatures (`by_rate_model`). Raises InputError for fewer than two temperatures with a value.
    """
    points = line_points(diffusion)
    points = points.dropna(subset=[column] if low is None else [column, low, high]).sort_values("temperature_K")
    base = points[points["origin"] == "kmc"]
    relative = np.zeros(len(base)) if low is None else np.log(base[high] / base[low]).to_numpy() / (2 * 1.96)
    error = pd.Series(np.hypot(relative, LEAST_RELATIVE_ERROR), index=base["temperature_K"].to_numpy())
    values = base.set_index("temperature_K")[column]
    fit = line_of(values, error)
    moved = points[points["origin"] == "kmc_shift"]
    of_model = by_rate_model(values, error, moved, column, shifts_of(diffusion))
    return fit if of_model is None else replace(fit, covariance=fit.covariance + of_model)


def shifts_of(table: pd.DataFrame) -> set[float]:
    """Directions that a table has the rate model moved along."""
    return set(table["shift"]) - {0}


def line_of(values: pd.Series, relative_error: pd.Series) -> ArrheniusFit:
    """Arrhenius line of positive values by temperature (K), with their relative errors."""
    return fit_arrhenius(values.index, values, relative_error * values)


def conductivity_line(diffusion: pd.DataFrame) -> ArrheniusFit:
    """Arrhenius line of σT (S K/cm), which is what is activated (Nernst-Einstein).

    A moved rate model moves it as it does tracer diffusion: the few replicas of moved models do not tell how the Haven
    ratio changes.
    """
    columns = [name for name in DIFFUSION if name.startswith("conductivity")]
    scaled = diffusion.assign(**{name: diffusion[name] * diffusion["temperature_K"] for name in columns})
    base = scaled[scaled["origin"] == "kmc"].set_index("temperature_K")
    moved = scaled["origin"] == "kmc_shift"
    at = scaled.loc[moved, "temperature_K"]
    ratio = scaled.loc[moved, "D_tracer_m2_per_s"] / at.map(base["D_tracer_m2_per_s"])
    for name in columns:
        scaled.loc[moved, name] = at.map(base[name]) * ratio
    return arrhenius(scaled, *columns)


def usable_echoes(fits: pd.DataFrame) -> pd.DataFrame:
    """Fits, good ones of complete curves, of echoes that are echoes: 1/τ < 1/t_p.

    Where ions jump while phases evolve, which their matrix form allows for, 1/τ has to be below MOST_JUMPS/t_p.
    """
    during = fits["rate_per_s"] * fits["evolution_time_us"] * 1e-6
    slow = ((fits["flag"] == "ok") & (during < 1)) | ((fits["flag"] == JUMPING) & (during < MOST_JUMPS))
    good = fits["status"].str.startswith("ok") & slow
    return fits[good & (fits["observable"] == "spin_alignment_echo") & (fits["rate_ci_low_per_s"] > 0)]


@dataclass(frozen=True)
class DecayLine:
    """Arrhenius line of the 1/τ of decays, its temperatures, what it is read from in words and what its interval holds.

    `evolution_us`: t_p of echoes, 0 of the tensors' correlation function.
    """

    line: ArrheniusFit
    evolution_us: float
    temperatures_K: np.ndarray
    basis: str
    interval: str


def echo_line(fits: pd.DataFrame, evolution_us: float | None = None) -> DecayLine:
    """Line through the usable echoes (`usable_echoes`) of one evolution time: that with most temperatures, the longest
    of several, if none is given.

    Raises InputError for fewer than two temperatures.
    """
    good = usable_echoes(fits)
    base = good[good["shift"] == 0]
    if base.empty:
        raise InputError("no usable echo fit")
    if evolution_us is None:
        number = base.groupby("evolution_time_us")["temperature_K"].nunique()
        evolution_us = float(number[number == number.max()].index.max())
    basis = f"1/τ of the echo at t_p {evolution_us:g} µs"
    chosen = good[np.isclose(good["evolution_time_us"], evolution_us)]
    return decay_line(chosen, shifts_of(fits), evolution_us, basis)


def correlation_line(fits: pd.DataFrame) -> DecayLine:
    """Line through decays of the tensors' correlation function. Raises InputError for fewer than two temperatures."""
    good = fits["status"].str.startswith("ok") & (fits["rate_ci_low_per_s"] > 0)
    good &= fits["observable"] == "tensor_correlation"
    if not good.any():
        raise InputError("no usable fit of the tensors' correlation function")
    return decay_line(fits[good], shifts_of(fits), 0.0, "1/τ of the tensors' correlation function")


def decay_line(good: pd.DataFrame, shifts: set[float], evolution_us: float, basis: str) -> DecayLine:
    """Line through fits of decays.

    Rows with `shift` are simulated with the rate model moved along one of `shifts`; see `by_rate_model`.
    """
    good = good.sort_values("temperature_K")
    base = good[good["shift"] == 0].set_index("temperature_K")
    relative = np.log(base["rate_ci_high_per_s"] / base["rate_ci_low_per_s"]) / (2 * 1.96)
    of_tensors = base[["rate_sd_model_per_s", "rate_sd_dft_per_s"]].div(base["rate_per_s"], axis=0)
    of_tensors = of_tensors.fillna(of_tensors.max())  # where a member's fit failed, as large as at any temperature
    error = np.sqrt(relative**2 + (of_tensors**2).sum(axis=1) + LEAST_RELATIVE_ERROR**2)
    rates = base["rate_per_s"]
    fit = line_of(rates, error)
    of_model = by_rate_model(rates, error, good[good["shift"] > 0], "rate_per_s", shifts)
    parts = ["sampling" if of_model is None else "sampling and rate model"]
    for error_of, name in (("rate_sd_model_per_s", "tensors"), ("rate_sd_dft_per_s", "DFT")):
        parts += [name] if base[error_of].notna().any() else []
    interval = "sampling only" if parts == ["sampling"] else ", ".join(parts)
    if of_model is not None:
        fit = replace(fit, covariance=fit.covariance + of_model)
    return DecayLine(fit, evolution_us, rates.index.to_numpy(), basis, interval)


class Study:
    """The study's predictions; what the tables do not determine is None, said on stderr once."""

    def __init__(self, rates: pd.DataFrame, diffusion: pd.DataFrame, fits: pd.DataFrame, couplings: pd.DataFrame):
        self.couplings = couplings[couplings["average"] == "thermal"]
        points = line_points(diffusion)
        self.temperatures_K = points.loc[points["origin"] == "kmc", "temperature_K"].to_numpy()
        moved = points[points["origin"] == "kmc_shift"]
        with_model = comparable(moved, self.temperatures_K, "D_tracer_m2_per_s")
        self.interval = "sampling and rate model" if with_model else "sampling only"
        self.tracer = self._try(
            "diffusion", lambda: arrhenius(diffusion, "D_tracer_m2_per_s", "ci_low_m2_per_s", "ci_high_m2_per_s")
        )
        self.conductivity = self._try("conductivity", lambda: conductivity_line(diffusion))
        self.exit = self._try("exit rate", lambda: arrhenius(diffusion, "exit_rate_per_s"))
        self.fits, self.echoes = fits, {}
        self.echo = self._try("echo", lambda: echo_line(fits))
        self.correlation = self._try("correlation function", lambda: correlation_line(fits))
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
        if says(method, BY_ECHO):
            decay = self.echo or self.correlation
            if decay is None:
                return None
            instead = "" if self.echo else ", for want of an echo"
            basis, line = f"{decay.basis}{instead}, {span(decay.temperatures_K)}", decay.line
            return Prediction(line.activation_energy_eV, *line.activation_energy_interval_eV, basis, decay.interval)
        if says(method, OF_ALL_JUMPS):
            line, of_what = self.exit, "mean exit rate per ion"
        else:
            line, of_what = self.tracer, "tracer diffusion of kinetic Monte Carlo"
        if line is None:
            return None
        basis = f"slope of the {of_what}, {span(self.temperatures_K)}"
        return Prediction(line.activation_energy_eV, *line.activation_energy_interval_eV, basis, self.interval)

    def echo_rate(self, temperature_K: float, evolution_us: float | None = None) -> Prediction | None:
        """1/τ of the echo, 1/s, at one t_p (µs), or at that of `echo_line`.

        None where echoes of this t_p are usable at fewer than two temperatures, and where their line says that they
        decay faster than 1/t_p: there is no echo then.
        """
        echo = self.echo
        if evolution_us is not None:
            if evolution_us not in self.echoes:
                name = f"echo at t_p {evolution_us:g} µs"
                self.echoes[evolution_us] = self._try(name, lambda: echo_line(self.fits, evolution_us))
            echo = self.echoes[evolution_us]
        if echo is None:
            return None
        decay = at(echo.line, temperature_K, echo.temperatures_K, echo.basis, echo.interval)
        return decay if decay.value * echo.evolution_us * 1e-6 < 1 else None

    def jump_rate(self, temperature_K: float, method: str) -> Prediction | None:
        """Rate in 1/s: of the echo's decay for a measurement by SAE, of the tensors' correlation function for one by
        relaxation or narrowing, which see no more of jumps to and fro than that has; else the mean exit rate.

        Where there is no echo, that of the correlation function too, which an echo of short t_p would show.
        """
        by_echo = says(method, BY_ECHO)
        if by_echo and (found := self.echo_rate(temperature_K)) is not None:
            return found
        if by_echo or says(method, BY_RELAXATION):
            if (decay := self.correlation) is None:
                return None
            basis = f"{decay.basis}{', for want of an echo' if by_echo else ''}"
            return at(decay.line, temperature_K, decay.temperatures_K, basis, decay.interval)
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

    def coupling(self, temperature_K: float, measured_kHz: float) -> Prediction:
        """|C_Q| in kHz of the site that is nearest to a measured one, at the simulated temperature nearest to its own.

        A source seldom says which site of a structure it saw. The interval holds the error of DFT.
        """
        nearest_K = min(self.couplings["temperature_K"], key=lambda kelvin: abs(kelvin - temperature_K))
        rows = self.couplings[self.couplings["temperature_K"] == nearest_K]
        row = rows.loc[(rows["C_Q_kHz"].abs() - measured_kHz).abs().idxmin()]
        errors = [row[f"C_Q_{name}_kHz"] for name in ("sd_model", "se_sampling", "sd_dft")]
        half, value = 1.96 * float(np.sqrt(np.nansum(np.square(errors)))), float(abs(row["C_Q_kHz"]))
        basis = f"thermal average at {row['orbit']}, of all sites the nearest, at {nearest_K:g} K"
        return Prediction(value, max(value - half, 0.0), value + half, basis, "sampling, tensors, DFT")

    def predict(self, quantity: str, temperature_K: float, method: str, measured: float) -> Prediction | None:
        """The prediction that belongs to a measured value, in the study's unit."""
        if quantity == "abs_CQ":
            return self.coupling(temperature_K, measured)
        if quantity == "activation_energy":
            return self.energy(method)
        if quantity == "attempt_frequency":
            return self.attempt_frequency()
        if quantity == "jump_rate":
            return self.jump_rate(temperature_K, method)
        return getattr(self, quantity)(temperature_K)


def says(method: str, words: tuple[str, ...]) -> bool:
    """Whether one of the words is in a method's name, in whatever case."""
    return any(word in method.lower() for word in words)


def span(temperatures_K: np.ndarray) -> str:
    """Range of temperatures in words."""
    return f"{np.min(temperatures_K):g} to {np.max(temperatures_K):g} K"


def barrier(key: tuple[str, str, str], line: ArrheniusFit, basis: str) -> Prediction:
    """Barrier of a directed class of the rate model, eV; never negative, and 0 where rounding left 1e-16 of one."""
    name, start, end = key
    low, value, high = np.round(
        [line.activation_energy_interval_eV[0], line.activation_energy_eV, line.activation_energy_interval_eV[1]], 6
    ).clip(0)
    return Prediction(float(value), float(low), float(high), f"{basis}, {start} to {end} ({name})", "rate model")


def at(line: ArrheniusFit, temperature_K: float, simulated_K: np.ndarray, basis: str, interval: str) -> Prediction:
    """Value of a line at a temperature; says whether that lies among the simulated ones."""
    inside = simulated_K.min() <= temperature_K <= simulated_K.max()
    how = "interpolated" if inside else "EXTRAPOLATED"
    return Prediction(
        *line.rate(temperature_K), f"{basis}, {how} on the Arrhenius line of {span(simulated_K)}", interval
    )
