"""Rates with intervals from counted jumps, and one thermodynamically consistent rate model fitted to all of them.

The model: a site energy E per orbit (the first is 0), one barrier top E‡ per unordered class, one attempt frequency ν:

    k_ij = ν exp[−(E‡_ij − E_i)/k_B T],   so that k_ij / k_ji = exp[−(E_j − E_i)/k_B T] exactly.

ln k is linear in (ln ν, E, E‡), and counts are Poisson numbers of mean k × exposure: a log-linear regression with a
concave likelihood (P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed. (1989), chapter 6), maximised under
the linear constraints that no barrier is negative. Barriers of nudged-elastic-band paths enter as normal terms; both
sides of a path have one saddle, so that it is their mean that has a barrier's error, and their difference another.

Ions that interact jump at k = min(k_ij x^s, ν, ν (k_ij/k_ji) x^2s), where ln x = −ΔJ/2k_BT is what the neighbours of
the moment do by the pair energies of the potential at rest (`neighbourhoods`, `lattice_gas`), k_ij is the rate among
mean occupancies, and s the strength of the interactions at the temperatures of MD, in units of those at rest. ln k is
linear in s too; where ν limits it, exposures are multiplied by k/(k_ij x^s), and both are found in turn.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import constants, stats
from scipy.linalg import null_space
from scipy.optimize import minimize

from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path

BOLTZMANN_EV_PER_K = constants.k / constants.e
# Above this variance over mean of the counts in blocks, intervals come from the bootstrap (design.md, section 4).
FANO_LIMIT = 1.2
RESOLVED = 0.5  # jumps of a pair of sites in a frame; of faster ones frames do not tell the rate
UNSEEN = 3.0  # k < 3/T with 95 % confidence where nothing was seen in an exposure T: −ln 0.05 = 2.996
# Chi-squared per degree of freedom beyond which the data speak of different processes: no wider interval mends that.
CONTRADICTION = 1e4
STRENGTH_SD = 1.0  # of the interactions' strength, expected to be 1
COLUMNS = ["class", "from", "to", "temperature_K", "count", "exposure_s", "rate_per_s", "ci_low_per_s", "ci_high_per_s"]
Directed = tuple[str, str, str]


def poisson_interval(count: int, exposure_s: float) -> tuple[float, float]:
    """Exact 95 % interval of a rate (1/s) after `count` events in `exposure_s`; (0, 3/T) after none.

    F. Garwood, Biometrika 28, 437 (1936). Raises InputError for a negative count or no exposure.
    """
    if count < 0 or not exposure_s > 0:
        raise InputError(f"{count} events in an exposure of {exposure_s:g} s: expected count ≥ 0 and exposure > 0")
    if count == 0:
        return 0.0, UNSEEN / exposure_s
    low, high = stats.chi2.ppf(0.025, 2 * count) / 2, stats.chi2.ppf(0.975, 2 * count + 2) / 2
    return float(low / exposure_s), float(high / exposure_s)


def fano_factor(counts: np.ndarray, exposures_s: np.ndarray) -> float:
    """Variance over mean of counts in blocks of time, (B,), about one rate: 1 for independent jumps.

    1 for fewer than two jumps, too: one jump in a block of little exposure says nothing of how jumps come together.
    """
    exposed = exposures_s > 0
    counts, exposures_s = counts[exposed], exposures_s[exposed]
    if counts.sum() < 2 or len(counts) < 2:
        return 1.0
    expected = counts.sum() / exposures_s.sum() * exposures_s
    return float(((counts - expected) ** 2 / expected).sum() / (len(counts) - 1))


def rate_interval(counts: np.ndarray, exposures_s: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Rate (1/s) and its 95 % interval from counts and exposures in blocks, (B,).

    Poisson where the Fano factor allows it; where it exceeds 1.2, blocks are drawn with replacement (2000 times), and
    the wider of the two intervals is given.
    """
    count, exposure = int(counts.sum()), float(exposures_s.sum())
    low, high = poisson_interval(count, exposure)
    if fano_factor(counts, exposures_s) > FANO_LIMIT:
        drawn = np.random.default_rng(seed).integers(len(counts), size=(2000, len(counts)))
        total = exposures_s[drawn].sum(axis=1)
        rates = counts[drawn].sum(axis=1)[total > 0] / total[total > 0]
        low, high = min(low, np.quantile(rates, 0.025)), max(high, np.quantile(rates, 0.975))
    return count / exposure, float(low), float(high)


def count_table(
    classes: list[Directed], counts: np.ndarray, exposures_s: np.ndarray, temperature_K: float, seed: int
) -> pd.DataFrame:
    """Tidy rows of origin "md" from counts and exposures (blocks, classes), with the Fano factor as last column.

    Classes without exposure have a rate of 0 and no upper bound is known: they are left out.
    """
    rows = []
    for n, (name, start, end) in enumerate(classes):
        exposure = float(exposures_s[:, n].sum())
        if exposure == 0:
            continue
        rate, low, high = rate_interval(counts[:, n], exposures_s[:, n], seed + n)
        fano = fano_factor(counts[:, n], exposures_s[:, n])
        rows.append([name, start, end, temperature_K, int(counts[:, n].sum()), exposure, rate, low, high, "md", fano])
    return pd.DataFrame(rows, columns=[*COLUMNS, "origin", "fano"])


def read_counts(path: str | Path) -> pd.DataFrame:
    """Counts written by analyse_jumps.py. Raises InputError for missing columns and values out of range."""
    try:
        table = pd.read_csv(path, dtype={"class": str, "from": str, "to": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table ({error})") from None
    missing = [name for name in [*COLUMNS[:6], "fano", "radius_log_sd", "frame_s"] if name not in table]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing")
    for column, lowest in (
        ("temperature_K", 1e-9),
        ("count", 0),
        ("exposure_s", 1e-300),
        ("fano", 0),
        ("radius_log_sd", 0),
        ("frame_s", 1e-300),
    ):
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = ~(np.isfinite(numbers) & (numbers >= lowest))
        if bad.any():
            raise InputError(f"{path}: row {int(bad.argmax()) + 2} has {column} = {table[column][bad.argmax()]}")
    return table


def up_to(counts: pd.DataFrame, mark_above_K: float, path: str | Path) -> pd.DataFrame:
    """Counts of the MD that takes part in the rate model. Raises InputError, which names `path`, where none does."""
    part = counts[counts["temperature_K"] <= mark_above_K].reset_index(drop=True)
    if part.empty:
        raise InputError(f"{path}: no MD up to {mark_above_K:g} K, above which it takes no part in the rate model")
    return part


def unresolved(counts: pd.DataFrame) -> list[Directed]:
    """Directed classes whose jumps follow, in the mean, within two frames of where they became possible.

    Their counts over their exposure are the rate of frames and not theirs: an ion that is gone and replaced at once.
    """
    frames = counts["exposure_s"] / counts["frame_s"]
    total = counts.assign(frames=frames).groupby(["class", "from", "to"], sort=False)[["count", "frames"]].sum()
    return total.index[total["count"] > RESOLVED * total["frames"]].tolist()


@dataclass(frozen=True)
class NebBarrier:
    """Barrier seen from one side of a class, eV, with the standard deviation that the fit gives it.

    `kinetic`: it is the mean of both sides, whatever the neighbours made of their difference.
    """

    directed: Directed
    energy_eV: float
    error_eV: float
    kinetic: bool = False


@dataclass(frozen=True)
class RateModel:
    """Parameters (ln ν, E of all orbits but the first, E‡ of all classes), covariance, and how well they fit.

    `classes` are the unordered classes as (name, from, to). `assumed` lists directed classes that MD never saw and no
    NEB barrier covers: they entered as if one jump had been seen in their whole exposure (the posterior mean of a flat
    prior, k = 1/T); where a site energy would be open otherwise, those seen one way only are among them. `at_bound`
    names classes whose barrier the fit holds at zero. `interacting`: the last parameter is the strength s of
    interactions, and rates are those among mean occupancies.
    """

    orbits: tuple[str, ...]
    classes: tuple[Directed, ...]
    parameters: np.ndarray
    covariance: np.ndarray
    chi_squared: float
    degrees_of_freedom: int
    assumed: tuple[Directed, ...]
    at_bound: tuple[str, ...]
    interacting: bool = False

    @property
    def strength(self) -> float:
        """Of the interactions, s; 0 without."""
        return float(self.parameters[-1]) if self.interacting else 0.0

    @property
    def prefactor_per_s(self) -> float:
        return float(np.exp(self.parameters[0]))

    @property
    def site_energies_eV(self) -> dict[str, float]:
        return dict(zip(self.orbits, [0.0, *self.parameters[1 : len(self.orbits)].tolist()], strict=True))

    @property
    def barrier_tops_eV(self) -> dict[str, float]:
        names = [name for name, _, _ in self.classes]
        first = len(self.orbits)
        return dict(zip(names, self.parameters[first : first + len(names)].tolist(), strict=True))

    @property
    def directed(self) -> list[Directed]:
        """All rates of the network, both directions of a class between two orbits."""
        both = [((n, a, b), (n, b, a)) if a != b else ((n, a, b),) for n, a, b in self.classes]
        return [key for pair in both for key in pair]

    def barrier_eV(self, directed: Directed) -> tuple[float, float]:
        """E‡ − E_from and its standard error."""
        gradient = self._padded(_barrier_row(self.orbits, self.classes, directed))
        return float(gradient @ self.parameters), self._deviation(gradient)

    def _padded(self, row: np.ndarray) -> np.ndarray:
        """A derivative to which the interactions' strength does not matter."""
        return np.append(row, np.zeros(len(self.parameters) - len(row)))

    def _deviation(self, gradient: np.ndarray) -> float:
        """Standard deviation of gradient·parameters; of what is held fixed, rounding may leave a variance below 0."""
        return float(np.sqrt(max(0.0, gradient @ self.covariance @ gradient)))

    def log_rate_row(self, directed: Directed, temperature_K: float) -> np.ndarray:
        """Derivative of ln k with respect to the parameters, (P,)."""
        return self._padded(_log_rate_row(self.orbits, self.classes, directed, temperature_K))

    def rate(self, directed: Directed, temperature_K: float) -> tuple[float, float, float]:
        """Rate in 1/s with its 95 % interval from the covariance of all parameters, none faster than attempts are."""
        gradient = self.log_rate_row(directed, temperature_K)
        half = 1.96 * self._deviation(gradient)
        value = gradient @ self.parameters
        attempts = self.parameters[0] + 1.96 * np.sqrt(self.covariance[0, 0])
        return tuple(float(x) for x in np.exp([value, value - half, min(value + half, attempts)]))


def _barrier_row(orbits, classes, directed: Directed) -> np.ndarray:
    """Derivative of E‡ − E_from with respect to the parameters."""
    name, start, _ = directed
    row = np.zeros(len(orbits) + len(classes))
    row[len(orbits) + [key[0] for key in classes].index(name)] = 1
    if orbits.index(start) > 0:
        row[orbits.index(start)] = -1
    return row


def _neb_terms(orbits, classes, barriers: list[NebBarrier]) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (n, P) of what NEB barriers are compared with, and their values (n,): where there are both sides of a
    class, the mean in place of the first and the difference in place of the second."""
    sides = {barrier.directed: number for number, barrier in enumerate(barriers) if not barrier.kinetic}
    rows, values = [], []
    for barrier in barriers:
        name, start, end = barrier.directed
        there, back = (_barrier_row(orbits, classes, key) for key in (barrier.directed, (name, end, start)))
        row, value = (there + back) / 2 if barrier.kinetic else there, barrier.energy_eV
        other = sides.get((name, end, start)) if start != end and not barrier.kinetic else None
        if other is not None:
            of_other = barriers[other].energy_eV
            first = sides[barrier.directed] < other
            row, value = ((there + back) / 2, (value + of_other) / 2) if first else (there - back, value - of_other)
        rows.append(row)
        values.append(value)
    return np.array(rows).reshape(len(barriers), len(orbits) + len(classes)), np.array(values)


def _log_rate_row(orbits, classes, directed: Directed, temperature_K: float) -> np.ndarray:
    """Derivative of ln k with respect to the parameters."""
    row = -_barrier_row(orbits, classes, directed) / (BOLTZMANN_EV_PER_K * temperature_K)
    row[0] = 1
    return row


def fit_rates(
    classes: list[dict],
    counts: pd.DataFrame,
    barriers: list[NebBarrier],
    prefactor_per_s: float,
    prefactor_factor: float,
    log_sd_of_all: float = 0.0,
) -> RateModel:
    """Reversible maximum-likelihood fit of the model in the module's docstring.

    classes: the `classes` of a sites.json; counts: table as `read_counts` gives it, several temperatures together,
    over-dispersed rows weighted down by their Fano factor. `prefactor_per_s` and `prefactor_factor` are what is known
    of ν beforehand, a log-normal of that median and that factor as standard deviation: hot runs over a narrow range of
    temperature do not tell ν from barriers. The covariance grows with χ² per degree of freedom where that exceeds 1.
    `log_sd_of_all` is the standard deviation of a factor that all MD rates share whatever the temperature (what counts
    as a jump); it is one on ν, and is added to the variance of ln ν.

    Where counts have a column `log_x`, ions interact, and a row is what was counted with such neighbours (exposures may
    be 0 in count, not in time). χ² is then of sums over neighbours.

    Raises InputError where a class has neither exposure nor barrier, site energies are undetermined, or counts and
    barriers contradict each other.
    """
    if not (prefactor_per_s > 0 and prefactor_factor > 1):
        raise InputError(f"prefactor {prefactor_per_s:g} within a factor {prefactor_factor:g}: need > 0 and > 1")
    unordered = tuple((entry["name"], entry["from"], entry["to"]) for entry in classes)
    orbits = tuple(dict.fromkeys(orbit for _, a, b in unordered for orbit in (a, b)))
    known = {key for name, a, b in unordered for key in ((name, a, b), (name, b, a))}
    keys = list(zip(counts["class"], counts["from"], counts["to"], strict=True))
    for key in [*keys, *(barrier.directed for barrier in barriers)]:
        if key not in known:
            raise InputError(f"class {key[0]} from {key[1]} to {key[2]} is not a class of the sites")

    observed = counts["count"].to_numpy(float, copy=True)
    weight = 1 / np.maximum(counts["fano"].to_numpy(float), 1.0)
    temperatures = counts["temperature_K"].to_numpy(float)
    rows, rows_back = (
        np.array([_log_rate_row(orbits, unordered, key, T) for key, T in zip(ways, temperatures, strict=True)])
        for ways in (keys, [(name, end, start) for name, start, end in keys])
    )
    exposure = counts["exposure_s"].to_numpy(float)
    size = len(orbits) + len(unordered)
    of_barriers, energies_eV = _neb_terms(orbits, unordered, barriers)
    normal = np.vstack([np.eye(1, size), of_barriers])
    target = np.append(np.log(prefactor_per_s), energies_eV)
    sigma = np.array([np.log(prefactor_factor), *(barrier.error_eV for barrier in barriers)])
    interacting, group = "log_x" in counts, np.arange(len(keys))
    if interacting:
        log_x = counts["log_x"].to_numpy(float)
        rows, rows_back = np.column_stack([rows, log_x]), np.column_stack([rows_back, -log_x])
        normal = np.vstack([np.pad(normal, ((0, 0), (0, 1))), np.eye(1, size + 1, size)])
        target, sigma = np.append(target, 1.0), np.append(sigma, STRENGTH_SD)
        group = counts.groupby(["class", "from", "to", "temperature_K"], sort=False).ngroup().to_numpy()
    if not ((sigma > 0).all() and np.isfinite(target).all()):
        raise InputError("NEB barriers must be finite, with errors above 0")

    # Where that leaves a site energy open, jumps that were seen one way only are taken for unseen the other way.
    for unseen in (_unseen(unordered, keys, observed, barriers), _unseen_one_way(unordered, keys, observed, barriers)):
        # The one jump of unseen rows is shared among them as the model expects them: expectation-maximisation.
        mean, limit = exposure.copy(), np.ones(len(exposure))
        for _ in range(100):
            for at in unseen:
                observed[at] = mean[at] / mean[at].sum()
            parameters, hessian, active = _maximise(
                rows, observed, exposure * limit, weight, normal, target, sigma, orbits, unordered
            )
            if interacting:  # no jump is faster than ν, there or back
                limit = limited(rows @ parameters, rows_back @ parameters, parameters[0])
            before, mean = mean, exposure * limit * np.exp(rows @ parameters)
            if not (unseen or interacting) or np.allclose(mean, before, rtol=1e-6):
                break
        else:
            if not np.allclose(mean, before, rtol=1e-3):
                raise InputError(
                    "the rate model did not converge: in 100 rounds jumps that were not seen, or jumps as fast as "
                    "their attempts, did not settle; more MD, or fewer classes (sites.jump_cutoff_A), would help"
                )
        free = null_space(active) if len(active) else np.eye(len(parameters))
        curvature = free.T @ hessian @ free
        if np.linalg.cond(curvature * _scale(curvature)) <= 1e10:
            break
    else:
        jumps = counts.groupby(["class", "from", "to"])["count"].sum()
        covered = {barrier.directed for barrier in barriers}
        covered |= {(name, end, start) for name, start, end in (b.directed for b in barriers if b.kinetic)}
        missing = [" ".join(key) for key in sorted(known - covered) if jumps.get(key, 0) == 0]
        raise InputError(
            "the data do not determine every site energy and barrier; without a jump in the runs that count, and "
            f"without a barrier, are {', '.join(missing) or 'none'} (class, from, to): longer runs, hotter ones, or a "
            "higher md.rates.mark_above_K would help"
        )
    assumed = list(dict.fromkeys(keys[row] for at in unseen for row in at))
    covariance = free @ np.linalg.inv(curvature) @ free.T
    real = np.array([key not in assumed for key in keys], bool)
    first = np.unique(group, return_index=True)[1]
    of_counts = weight[first] * np.bincount(group, observed - mean) ** 2 / np.bincount(group, mean) * real[first]
    chi_squared = float(of_counts.sum())
    chi_squared += float((((normal @ parameters - target) / sigma) ** 2).sum())
    freedom = int(real[first].sum()) + len(target) + len(unseen) - free.shape[1]
    if chi_squared > CONTRADICTION * max(freedom, 1):
        pulls = np.append(of_counts, ((normal @ parameters - target) / sigma) ** 2)
        sources = [
            *(f"the jumps of class {name} from {start} to {end}" for name, start, end in (keys[n] for n in first)),
            "the prefactor",
            *(f"the barrier of class {' '.join(barrier.directed)}" for barrier in barriers),
            "the strength of interactions",
        ]
        raise InputError(
            f"no rates explain all jumps and barriers (chi-squared {chi_squared:.2g} for {freedom} degrees of freedom, "
            f"most of it from {sources[int(np.argmax(pulls))]}): are those jumps excursions that return at once, or "
            "does NEB take another path?"
        )
    if freedom > 0:
        covariance = covariance * max(1.0, chi_squared / freedom)
    covariance[0, 0] += log_sd_of_all**2
    at_bound = tuple(
        name
        for name, a, b in unordered
        if min(_barrier_row(orbits, unordered, (name, start, "")) @ parameters[:size] for start in (a, b)) < 1e-6
    )
    return RateModel(
        orbits, unordered, parameters, covariance, chi_squared, freedom, tuple(assumed), at_bound, interacting
    )


def limited(log_there: np.ndarray, log_back: np.ndarray, log_nu: float) -> np.ndarray:
    """Factor on rates there that brings neither them nor those back above ν, from ln of all (module's docstring)."""
    return np.exp(np.minimum(0, log_nu - np.maximum(log_there, log_back)))


def _scale(matrix: np.ndarray) -> np.ndarray:
    """Factors that bring the diagonal of a symmetric matrix to 1."""
    diagonal = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    return 1 / np.outer(diagonal, diagonal)


def _unseen(unordered, keys, observed, barriers) -> list[np.ndarray]:
    """Rows of every class that was never seen and has no barrier."""
    covered = {barrier.directed[0] for barrier in barriers}
    names = np.array([key[0] for key in keys])
    found = []
    for name, _, _ in unordered:
        rows = np.nonzero(names == name)[0]
        if name in covered or observed[rows].sum() > 0:
            continue
        if len(rows) == 0:
            raise InputError(f"class {name}: no ion was ever beside an empty site of it, and no NEB barrier is given")
        found.append(rows)
    return found


def _unseen_one_way(unordered, keys, observed, barriers) -> list[np.ndarray]:
    """Rows of every directed class that was never seen and has no barrier of its own."""
    covered = {barrier.directed for barrier in barriers}
    found = []
    for name, a, b in unordered:
        for directed in dict.fromkeys(((name, a, b), (name, b, a))):
            rows = np.array([row for row, key in enumerate(keys) if key == directed], int)
            if directed not in covered and len(rows) and observed[rows].sum() == 0:
                found.append(rows)
    return found


def _maximise(rows, observed, exposure, weight, normal, target, sigma, orbits, unordered):
    """Parameters of the largest likelihood, minus its Hessian, and the constraints (a, P) that hold as equalities."""
    starts = [_barrier_row(orbits, unordered, (n, s, "")) for n, a, b in unordered for s in dict.fromkeys((a, b))]
    constraints = np.pad(np.array(starts), ((0, 0), (0, normal.shape[1] - len(starts[0]))))
    # Energies and ln ν differ in scale; work in units where the prior on ν and thermal energies are about 1.
    unit = np.full(normal.shape[1], 0.05)
    unit[0] = 1.0
    rows = rows.reshape(-1, len(unit))
    rows, scaled, constraints_u = rows * unit, normal * unit / sigma[:, None], constraints * unit
    aim = target / sigma

    def loss(x):
        mean = exposure * np.exp(np.clip(rows @ x, -200, 200))
        value = (weight * (mean - observed * np.log(np.maximum(mean, 1e-300)))).sum()
        return value + 0.5 * ((scaled @ x - aim) ** 2).sum()

    def slope(x):
        mean = exposure * np.exp(np.clip(rows @ x, -200, 200))
        return rows.T @ (weight * (mean - observed)) + scaled.T @ (scaled @ x - aim)

    def hessian(x):
        mean = exposure * np.exp(np.clip(rows @ x, -200, 200))
        return (rows.T * (weight * mean)) @ rows + scaled.T @ scaled

    start = np.zeros(len(unit))
    start[0] = target[0]
    energies = slice(len(orbits), len(orbits) + len(unordered))
    start[energies] = 0.3 / 0.05
    x = minimize(loss, start, jac=slope, hess=hessian, method="trust-exact", options={"gtol": 1e-9, "maxiter": 500}).x
    active = np.zeros((0, len(x)))
    if (constraints_u @ x).min() < 0:
        bound = {"type": "ineq", "fun": lambda x: constraints_u @ x, "jac": lambda x: constraints_u}
        result = minimize(
            loss, start, jac=slope, method="SLSQP", constraints=[bound], options={"maxiter": 1000, "ftol": 1e-12}
        )
        if not result.success:
            raise InputError(f"the rate model did not converge: {result.message}")
        x = result.x
        active = constraints[constraints_u @ x < 1e-6]
        # Rounding may leave a barrier a hair below zero; lift its top by that.
        short = np.minimum(constraints_u @ x, 0).min()
        x[energies] -= short
    return x * unit, hessian(x) / np.outer(unit, unit), active


def model_table(
    model: RateModel,
    temperatures_K: list[float],
    barriers: list[NebBarrier],
    log_attempts: dict[Directed, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Rows of origin "model" at each temperature, and of origin "neb": ν exp(−E_a/k_BT) with the barriers as given.

    There ln ν and its standard deviation are those of `log_attempts` (Vineyard's), or the model's where it has none.
    """
    rows, of_model = [], (model.parameters[0], np.sqrt(model.covariance[0, 0]))
    for temperature in temperatures_K:
        if not temperature > 0:
            raise InputError(f"temperature {temperature:g} K; expected more than 0")
        for key in model.directed:
            rows.append([*key, temperature, None, None, *model.rate(key, temperature), "model"])
        for barrier in barriers:
            beta = 1 / (BOLTZMANN_EV_PER_K * temperature)
            name, start, end = barrier.directed
            rise = (model.site_energies_eV[end] - model.site_energies_eV[start]) / 2 if barrier.kinetic else 0.0
            sides = {barrier.directed: rise} | ({(name, end, start): -rise} if barrier.kinetic else {})
            for directed, change in sides.items():
                log_nu, error = (log_attempts or {}).get(directed, of_model)
                half = 1.96 * np.hypot(beta * barrier.error_eV, error)
                log_rate = log_nu - beta * (barrier.energy_eV + change)
                values = np.exp([log_rate, log_rate - half, log_rate + half]).tolist()
                rows.append([*directed, temperature, None, None, *values, "neb"])
    return pd.DataFrame(rows, columns=[*COLUMNS, "origin"])


def write_rates(path: str | Path, counts: pd.DataFrame, model_rows: pd.DataFrame) -> None:
    """The rate table: MD rows, then NEB and model rows; count and exposure are empty where nothing was counted.

    Raises InputError where a rate or its interval is not finite.
    """
    columns = [*COLUMNS, "origin"]
    table = pd.concat([counts[columns].astype(object), model_rows[columns].astype(object)], ignore_index=True)
    values = table[["rate_per_s", "ci_low_per_s", "ci_high_per_s"]].astype(float)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = table[bad].iloc[0]
        raise InputError(
            f"rate of class {row['class']} from {row['from']} to {row['to']} at {row['temperature_K']:g} K: not finite"
        )
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
