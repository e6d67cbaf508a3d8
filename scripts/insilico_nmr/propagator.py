"""Two-time site propagator P[a, b, t] and mean squared displacements, estimated while kinetic Monte Carlo runs.

P[a, b, t] is the joint probability that one and the same ion is on site a of the primitive cell at time 0 and on b
at time t. Exclusion changes its course but not its properties: jumps obey detailed balance, so that P(t) is
symmetric and P − P(∞) is positive semidefinite and decays monotonically; P(0) = diag(p), and P(∞) = ppᵀ within each
connected part of the network.

Lags are whole ticks of 0.01 mean residence times, about ten in a decade. Origins are hierarchical: those of the
lags up to ten residence times come every four residence times (of few ions; every twenty of many, which tell enough),
those of each later decade every fifth of its longest lag, so that a lag of any length is sampled about as often as it
brings something new and the estimator costs no more than the events.

Earlier lags, down to a tenth of the shortest time that an ion can be on a site, are of a journal of further jumps:
every moment is an origin there, and each pair of an ion's stays adds the time that a lag leads from one to the other.
They tell of excursions, which spectrometers' frequencies see and no tick does (P_early).

Of ions that interact (`gas_kmc`) no equilibrium is known beforehand: replicas start after a run-in without barriers,
and the populations p are those that they have had together.

Estimates of one replica are averaged with their transpose (detailed balance), get one pseudo-observation, and are
scaled to the exact populations p by P → D P D with D diagonal (R. Sinkhorn, Ann. Math. Stat. 35, 876 (1964)). So each
matrix, and their mean, is symmetric, not negative, and has the row sums p. The pseudo-observation is of one ion that
makes the exact flux of all (`one_ion`): where rare jumps have not been met it brings no more of them than there are.
Standard errors are those of the mean over independent replicas.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr
from numba import njit

from insilico_nmr import gas_kmc, kmc
from insilico_nmr.errors import InputError
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.lattice import Lattice, equilibrium
from insilico_nmr.lattice_gas import Gas
from insilico_nmr.moving import Mover, run_journal, run_snapshots
from insilico_nmr.source_files import hash_of_program
from insilico_nmr.stored_state import read_state

TICKS_PER_RESIDENCE = 100
LAGS_PER_DECADE = 10
ORIGINS_PER_LAG = 5
DECORRELATED = 0.01
TRIED = 100  # jumps an ion that the exit rate of interacting ions is taken from
FIRST_LAG = 0.1  # of the shortest stay
JOURNAL = 0.1  # jumps, of those of the ticks, that early lags are taken from
LONGEST_JOURNAL = 5_000_000
VARIABLES = (
    "P",
    "P_se",
    "P_replica",
    "P_infinity",
    "p",
    "flux",
    "msd",
    "msd_se",
    "msd_replica",
    "msd_collective",
    "msd_collective_se",
)
VARIABLES += ("msd_collective_replica", "observations", "time", "lag")


@dataclass(frozen=True)
class Plan:
    """What every replica does: `n_ticks` ticks of `tick_s`, lags in ticks (L,); `gas`: ions interact, or differ.

    numbers : (Q,), ions of each species, which are numbered one species after the other.
    early_s : (E,), s, lags before the first tick, of which `journal` further jumps tell.
    """

    lattice: Lattice
    numbers: tuple[int, ...]
    seed: int
    tick_s: float
    n_ticks: int
    lags: np.ndarray
    early_s: np.ndarray
    journal: int
    gas: Gas | None = None

    @property
    def mover(self) -> Mover:
        """What moves."""
        return self.lattice if self.gas is None else self.gas

    @property
    def n_ions(self) -> int:
        """N, of all species."""
        return sum(self.numbers)

    @property
    def of_species(self) -> list[slice]:
        """Which ions each species has."""
        ends = np.cumsum(self.numbers).tolist()
        return [slice(end - number, end) for end, number in zip(ends, self.numbers, strict=True)]

    @cached_property
    def level(self) -> np.ndarray:
        """Decade of each lag, (L,): 0 up to 10 ticks, 1 up to 100, and so on."""
        return np.maximum(np.ceil(np.log10(self.lags) - 1e-9).astype(int) - 1, 0)

    @cached_property
    def spacing(self) -> np.ndarray:
        """Ticks between the origins of each level."""
        levels = np.arange(self.level.max() + 1)
        shortest = TICKS_PER_RESIDENCE * int(np.clip(self.n_ions // 100, 4, 20))
        return np.maximum(shortest, 10 ** (levels + 1) // ORIGINS_PER_LAG)

    @cached_property
    def slots(self) -> np.ndarray:
        """Origins to be remembered at each level: those a longest lag ago or later."""
        longest = np.array([self.lags[self.level == level].max() for level in range(len(self.spacing))])
        return longest // self.spacing + 1

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that determines the numbers, the code included; stored runs of another are not used."""
        facts = [self.numbers, self.seed, self.tick_s, self.n_ticks, self.lags.tolist(), hash_of_program(__file__)]
        facts += [self.early_s.tolist(), self.journal]
        values = [*vars(self.lattice).values(), *(vars(self.gas).values() if self.gas else [])]
        facts += [array.tolist() if array.size < 1000 else hashlib.sha256(array).hexdigest()
                  for array in values if isinstance(array, np.ndarray)]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def make_plan(
    lattice: Lattice,
    n_ions: int,
    seed: int,
    max_events: int,
    max_residence_times: float = 1e3,
    gas: Gas | None = None,
    others: tuple[int, ...] = (),
) -> Plan:
    """Plan replicas of `max_events` jumps each (expected number) with lags up to `max_residence_times`.

    `others`: ions of each further species of `gas`.

    The longest lag is at most the length of a replica: with many ions, one origin tells much.

    Raises InputError where ions leave no site vacant, and where the budget does not even cover one mean residence time.
    """
    numbers = (n_ions, *others)
    n_ions = sum(numbers)
    if n_ions >= lattice.n_sites:
        raise InputError(f"{' + '.join(map(str, numbers))} ions leave none of {lattice.n_sites} sites vacant")
    if gas is None:
        residence_s = 1.0 / equilibrium(lattice, n_ions).exit_rate
    else:  # it sets the grid of times and no result
        rng = np.random.default_rng([seed])
        residence_s = 1.0 / gas_kmc.exit_rate(gas, numbers, rng, TRIED * sum(numbers))
    n_ticks = int(max_events / n_ions * TICKS_PER_RESIDENCE)
    longest = min(int(max_residence_times * TICKS_PER_RESIDENCE), n_ticks)
    if longest < TICKS_PER_RESIDENCE:
        raise InputError(
            f"{max_events} jumps of {n_ions} ions do not cover lags of one mean residence time: "
            f"at least {n_ions} jumps a replica are needed, and much more to see ions decorrelate"
        )
    exponents = np.arange(0, np.log10(longest) + 1e-9, 1 / LAGS_PER_DECADE)
    lags = np.unique(np.rint(10**exponents).astype(np.int64))
    tick_s = residence_s / TICKS_PER_RESIDENCE
    first_s = min(FIRST_LAG / _fastest(lattice, gas), tick_s / 10)
    early_s = np.geomspace(first_s, tick_s, int(np.ceil(LAGS_PER_DECADE * np.log10(tick_s / first_s))) + 1)[:-1]
    journal = min(max(n_ions, int(JOURNAL * max_events)), LONGEST_JOURNAL)
    return Plan(lattice, numbers, seed, tick_s, n_ticks, lags, early_s, journal, gas)


def _fastest(lattice: Lattice, gas: Gas | None) -> float:
    """No ion leaves a site at a higher rate, 1/s, whatever is filled around it."""
    if gas is not None:
        return float(gas.most.max())
    rates = np.where(lattice.used, lattice.rates[lattice.jump_class], 0.0)
    return float(rates.reshape(len(lattice.basis), -1).sum(axis=1).max())


@dataclass
class Measurement:
    """One replica under way.

    remembered : (slots, N, 4) int32, ions' records at recent origins.
    pairs : (Q, L, m, m) int64, ions of each species found on a at an origin and on b a lag later.
    square, collective : (Q, L) float64, Å², Σ over ions and origins of |Δr|², and Σ over origins of |ΣΔr|².
    along : (Q, L, 3) float64, Å², Σ over ions and origins of the squares of Δr along the cell's three vectors.
    origins, ticks : (Q, L) int64, origins of each lag; (1,) int64, ticks done.
    early, watched : (Q, E, m, m) float64, s, how long ions of each species were on a and a lag later on another site b,
        summed over ions; (1,) float64, s, how long each ion was watched for that.
    executed : (C,) or (C, Q) int64, jumps made up to the last tick.
    """

    state: kmc.State | gas_kmc.GasState
    remembered: np.ndarray
    pairs: np.ndarray
    square: np.ndarray
    collective: np.ndarray
    along: np.ndarray
    origins: np.ndarray
    ticks: np.ndarray
    early: np.ndarray
    watched: np.ndarray
    executed: np.ndarray

    @property
    def sums_over_origins(self) -> tuple[np.ndarray, ...]:
        """What `_accumulate` adds to, by species."""
        return self.pairs, self.square, self.collective, self.along, self.origins

    @property
    def sums(self) -> dict[str, np.ndarray]:
        """What a finished replica leaves behind."""
        return {
            "pairs": self.pairs,
            "square": self.square,
            "collective": self.collective,
            "along": self.along,
            "origins": self.origins,
            "early": self.early,
            "watched": self.watched,
            "executed": self.executed.reshape(len(self.executed), -1),
        }


def begin(plan: Plan, replica: int) -> Measurement:
    """Replica at time 0. Without interactions its ions are drawn from equilibrium: no run-in is needed."""
    sequence = np.random.SeedSequence([plan.seed, replica])
    rng = np.random.default_rng(sequence)
    if plan.gas is None:
        _, state = kmc.start_in_equilibrium(plan.lattice, plan.n_ions, rng)
    else:
        state = gas_kmc.start_in_equilibrium(plan.gas, plan.numbers, rng)
    m, shape = len(plan.lattice.basis), (len(plan.numbers), len(plan.lags))
    return Measurement(
        state,
        remembered=np.zeros((plan.slots.sum(), plan.n_ions, 4), np.int32),
        pairs=np.zeros((*shape, m, m), np.int64),
        square=np.zeros(shape),
        collective=np.zeros(shape),
        along=np.zeros((*shape, 3)),
        origins=np.zeros(shape, np.int64),
        ticks=np.zeros(1, np.int64),
        early=np.zeros((len(plan.numbers), len(plan.early_s), m, m)),
        watched=np.zeros(1),
        executed=np.zeros_like(state.executed),
    )


def proceed(plan: Plan, measurement: Measurement) -> bool:
    """Run one block of ticks, and after the last of them the journal. True while there is more to do.

    Where blocks end changes no number.
    """
    first = int(measurement.ticks[0])
    block = int(np.clip(4_000_000 // plan.n_ions, 20, 1_000_000))
    end = min(first + block, plan.n_ticks + 1)
    tick, slot, lag = _tasks(plan, first, end)
    # Through the block's last tick, whether it is looked at or not: jumps are counted up to there.
    moments, snapshot = np.unique(np.append(tick, end - 1), return_inverse=True)
    snapshots = run_snapshots(plan.mover, measurement.state, moments * plan.tick_s)
    cell = plan.lattice.cell
    axes = cell / np.linalg.norm(cell, axis=1)[:, None]
    tables = snapshot[:-1], slot, lag, cell, axes, plan.lattice.basis
    for q, ions in enumerate(plan.of_species):
        sums = (array[q] for array in measurement.sums_over_origins)
        _accumulate(*tables, snapshots[:, ions], measurement.remembered[:, ions], *sums)
    measurement.ticks[0] = end
    if end <= plan.n_ticks:
        return True
    measurement.executed = measurement.state.executed.copy()
    _keep_journal(plan, measurement)
    return False


def _keep_journal(plan: Plan, measurement: Measurement) -> None:
    """Make the further jumps, and take from them what is found at early lags."""
    state, m = measurement.state, len(plan.lattice.basis)
    begin_s, at_first = state.time_s, state.record[:, kmc.SITE].copy()
    ions, sites, moments = run_journal(plan.mover, state, np.inf, plan.journal)
    order = np.argsort(ions, kind="stable")
    first = np.searchsorted(ions[order], np.arange(plan.n_ions + 1))
    stays = sites[order] % m, moments[order] - begin_s, state.time_s - begin_s
    for q, some in enumerate(plan.of_species):
        _straddle(first[some.start : some.stop + 1], at_first[some], *stays, plan.early_s, measurement.early[q])
    measurement.watched[0] = state.time_s - begin_s - plan.early_s[-1]


@njit(cache=True)
def _straddle(first, at_first, site, moment, duration, lags, early):
    """Add how long, in s, each ion was on a and a lag later on b ≠ a, to early[lag, a, b]; of the same origins.

    Ion n made the jumps first[n] to first[n + 1], each at `moment` to `site`, and was on at_first[n] before.
    """
    last_origin = duration - lags[-1]
    for n in range(len(first) - 1):
        here, begin = np.int64(at_first[n]), 0.0
        for i in range(first[n], first[n + 1]):
            end = min(moment[i], last_origin)
            if begin >= last_origin:
                break
            for j in range(i, first[n + 1]):
                arrived = moment[j]
                if arrived - end >= lags[-1]:
                    break
                there = np.int64(site[j])
                left = moment[j + 1] if j + 1 < first[n + 1] else duration
                if there == here:
                    continue
                for k in range(len(lags) - 1, -1, -1):
                    if arrived - end >= lags[k]:
                        break
                    early[k, here, there] += max(0.0, min(end, left - lags[k]) - max(begin, arrived - lags[k]))
            here, begin = np.int64(site[i]), moment[i]


def _tasks(plan: Plan, first: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What to do at the ticks first..end−1, in order: tick, slot of the origin, index of the lag (−1: remember)."""
    ticks, slots, lags = [], [], []
    offset = np.concatenate([[0], np.cumsum(plan.slots)])
    events = [(-1, 0, level) for level in range(len(plan.spacing))]
    events += [(index, lag, plan.level[index]) for index, lag in enumerate(plan.lags)]
    for index, lag, level in events:
        spacing = plan.spacing[level]
        origin = np.arange(max(0, -((lag - first) // spacing)), (end - 1 - lag) // spacing + 1)
        ticks.append(origin * spacing + lag)
        slots.append(offset[level] + origin % plan.slots[level])
        lags.append(np.full(len(origin), index))
    tick, slot, lag = map(np.concatenate, (ticks, slots, lags))
    # A slot is read for its longest lag before it is written anew.
    order = np.lexsort((slot, -lag, tick))
    return tick[order], slot[order], lag[order]


@njit(cache=True)
def _accumulate(
    snapshot, slot, lag, cell, axes, basis, snapshots, remembered, pairs, square, collective, along, origins
):  # fmt: skip
    """Carry out tasks in their order: add the pairs (remembered origin, snapshot) to the sums, or remember."""
    for task in range(len(snapshot)):
        now = snapshots[snapshot[task]]
        then = remembered[slot[task]]
        t = lag[task]
        if t < 0:
            then[:] = now
            continue
        squares = x = y = z = 0.0
        along_a = along_b = along_c = 0.0
        count = pairs[t]
        for n in range(len(now)):
            a = then[n, 0]
            b = now[n, 0]
            count[a, b] += 1
            u = now[n, 1] - then[n, 1]
            v = now[n, 2] - then[n, 2]
            w = now[n, 3] - then[n, 3]
            if a == b and u == 0 and v == 0 and w == 0:
                continue
            dx = u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0] + basis[b, 0] - basis[a, 0]
            dy = u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1] + basis[b, 1] - basis[a, 1]
            dz = u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2] + basis[b, 2] - basis[a, 2]
            squares += dx * dx + dy * dy + dz * dz
            along_a += (dx * axes[0, 0] + dy * axes[0, 1] + dz * axes[0, 2]) ** 2
            along_b += (dx * axes[1, 0] + dy * axes[1, 1] + dz * axes[1, 2]) ** 2
            along_c += (dx * axes[2, 0] + dy * axes[2, 1] + dz * axes[2, 2]) ** 2
            x += dx
            y += dy
            z += dz
        square[t] += squares
        collective[t] += x * x + y * y + z * z
        along[t, 0] += along_a
        along[t, 1] += along_b
        along[t, 2] += along_c
        origins[t] += 1


def save_measurement(path: str | Path, plan: Plan, replica: int, measurement: Measurement) -> None:
    """Write a replica under way to an .npz file, whole or not at all."""
    own = {name: array for name, array in vars(measurement).items() if name != "state"}
    state = {f"state_{name}": array for name, array in measurement.state.arrays.items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, replica=replica, fingerprint=plan.fingerprint, **own, **state)


def load_measurement(path: str | Path, plan: Plan, replica: int) -> Measurement | None:
    """The stored replica, or None where there is none, or one of another plan or replica."""
    stored = _load(path, plan)
    if stored is None or stored["replica"] != replica:
        return None
    del stored["replica"]
    kind = kmc.State if plan.gas is None else gas_kmc.GasState
    return Measurement(kind(**{name: stored.pop(f"state_{name}") for name in kind.__dataclass_fields__}), **stored)


def save_sums(path: str | Path, plan: Plan, measurement: Measurement) -> None:
    """Write what a finished replica leaves behind, whole or not at all."""
    with atomic_path(path) as temporary:
        np.savez(temporary, fingerprint=plan.fingerprint, **measurement.sums)


def load_sums(path: str | Path, plan: Plan) -> dict[str, np.ndarray] | None:
    """The sums of a finished replica, or None where there are none, or those of another plan."""
    return _load(path, plan)


def _load(path: str | Path, plan: Plan) -> dict[str, np.ndarray] | None:
    if not Path(path).exists():
        return None
    stored = read_state(path)
    return stored if str(stored.pop("fingerprint", "")) == plan.fingerprint else None


def limit(lattice: Lattice, population: np.ndarray) -> np.ndarray:
    """P(∞), (m, m): ppᵀ within each connected part of the network, over the population of that part."""
    component = lattice.component
    same = component[:, None] == component
    return np.where(same, np.outer(population, population) / (same @ population), 0.0)


def one_ion(flux: np.ndarray, population: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Joint probabilities, (T, m, m), of the Markov process of one ion with this flux (m, m), jumps per second and ion.

    Right to first order in time. Later, excursions end as fast as ions leave sites on average.
    """
    rates, modes = modes_of_one_ion(flux, population)
    return np.einsum("an,bn,tn->tab", modes, modes, np.exp(np.outer(times_s, rates)))


def modes_of_one_ion(flux: np.ndarray, population: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates (..., m), 1/s, none positive, and modes u (..., m, m) of such processes.

    P_ab(t) = Σ_n u_an u_bn exp(rate_n·t).
    `flux` (..., m, m) symmetric, whatever its diagonal; `population` (m,) positive.
    """
    root, place = np.sqrt(population), np.arange(len(population))
    flow = flux / np.outer(root, root)
    flow[..., place, place] -= flux.sum(axis=-1) / population
    rates, modes = np.linalg.eigh(flow)
    return np.minimum(rates, 0.0), modes * root[:, None]


def consistent(pairs: np.ndarray, population: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Joint probabilities from counts of pairs, (..., m, m): symmetric, not negative, row sums = population.

    `expected` (..., m, m) counts as one observation.
    """
    matrix = 0.5 * (pairs + np.swapaxes(pairs, -1, -2)) + np.maximum(expected, 0.0)
    matrix /= matrix.sum((-1, -2), keepdims=True)
    for _ in range(200):
        scale = np.sqrt(population / matrix.sum(-1))
        matrix = matrix * scale[..., :, None] * scale[..., None, :]
        if np.abs(scale - 1).max() < 1e-13:
            break
    return matrix


def early_joint(early: np.ndarray, ion_seconds: float, population: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Joint probabilities (E, m, m) from times on one site and then another, `early` (E, m, m) of so many ion seconds.

    Symmetric, row sums = population. `expected` (E, m, m) is added, of one stay in all that were seen, so that nothing
    is zero that is possible.
    """
    joint = 0.5 * (early + np.swapaxes(early, -1, -2)) / ion_seconds
    joint += expected
    diagonal = np.arange(len(population))
    joint[:, diagonal, diagonal] = 0.0
    joint[:, diagonal, diagonal] = population - joint.sum(axis=-1)
    return joint


@dataclass(frozen=True)
class _Averages:
    """What `lattice.Equilibrium` knows of ions without interactions, as replicas have had it.

    leaving_error : (m,), 1/s, standard error of the rate at which an ion leaves each site.
    """

    population: np.ndarray
    per_ion: np.ndarray
    exit_rate: float
    mean_square_jump_A2: float
    leaving_error: np.ndarray


def _averages(plan: Plan, replicas: list[dict[str, np.ndarray]], species: int) -> _Averages:
    """Of interacting ions of one species; sites of one orbit are alike."""
    lattice = plan.lattice
    orbit = np.array(lattice.orbit)
    pairs = np.sum([sums["pairs"][species] for sums in replicas], axis=1, dtype=float)
    seen = pairs.sum(1) + pairs.sum(2)
    alike = np.stack([seen[:, orbit == label].mean(1) for label in lattice.orbit], 1)
    if not alike.any(axis=0).all():
        raise InputError(
            f"no ion was ever found on {lattice.orbit[int(alike.any(axis=0).argmin())]}, so that interacting ions tell "
            "nothing of it: raise the number of jumps or the temperature"
        )
    population = alike / alike.sum(1, keepdims=True)
    executed = np.array([sums["executed"][:, species] for sums in replicas])
    of_class = lattice.jump_class[lattice.used]
    square = np.bincount(of_class, (lattice.steps**2).sum(1)) / np.bincount(of_class)
    per_ion_and_s = executed / (plan.numbers[species] * plan.n_ticks * plan.tick_s)
    per_link = (per_ion_and_s / np.bincount(of_class))[:, of_class]
    # As often as one way, in detailed balance, as the other
    start, end, _ = lattice.links
    leaving = [np.bincount(np.r_[start, end], np.r_[one, one] / 2, minlength=len(orbit)) for one in per_link]
    return _Averages(
        population.mean(axis=0),
        per_link.mean(axis=0),
        float(per_ion_and_s.mean(axis=0).sum()),
        float(executed.sum(axis=0) @ square / executed.sum()),
        error_of_ratio(np.array(leaving), population),
    )


def error_of_ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Standard error of mean over mean of independent replicas, the first axis of both, R ≥ 2, to first order."""
    ratio = numerator.mean(axis=0) / denominator.mean(axis=0)
    return error_over_replicas(numerator - ratio * denominator) / denominator.mean(axis=0)


def combine(plan: Plan, replicas: list[dict[str, np.ndarray]], temperature: float, species: int = 0) -> xr.Dataset:
    """Propagator of one species of all replicas' sums (`Measurement.sums`); at least two, for standard errors.

    P (state_a, state_b, time), p (state), flux (state_a, state_b), jumps from a to b per second and ion, leaving_rate
    (state), jumps a second of an ion on a, the reciprocal of its mean residence time (leaving_rate_se is 0 where
    equilibrium is known exactly), observations (time), ions times origins of all replicas (at time 0, where all is
    known, the largest number), P_early (state_a, state_b, early_time) at lags before the first tick, with
    early_observations, so many that times P they are about the jumps that tell of it, msd (lag) = ⟨|Δr|²⟩ per ion and
    msd_collective (lag) = ⟨|ΣΔr|²⟩/N in Å², P and both of these with `_se` and as the replicas have them (`_replica`),
    and msd_along_replica (replica, axis, lag), ⟨Δr²⟩ along the cell's vectors. What follows from replicas takes its
    error from their scatter, for elements and times of one replica are correlated. Times and lags are in s and start
    with 0. P is held at P(∞) from the lag on where it has decorrelated: where max|P − P(∞)| plus its standard error is
    below 1 % of max P(∞).
    The largest element of the positive semidefinite P − P(∞) is on its diagonal, and the same for all sites of an
    orbit: so the mean diagonal per orbit tells, with the least noise. Then `complete` is 1 and `decorrelation_time_s`
    says when; the displacements go on.
    Otherwise `complete` is 0: the grid ends before ions have decorrelated, or noise hides that they have.
    `residual` and `residual_se` are the value met at that lag, or at the last one.
    """
    if len(replicas) < 2:
        raise InputError("standard errors need at least two replicas")
    lattice, n = plan.lattice, plan.numbers[species]
    averages = equilibrium(lattice, n) if plan.gas is None else _averages(plan, replicas, species)
    p = averages.population
    at_infinity = limit(lattice, p)
    flux = np.zeros_like(at_infinity)
    np.add.at(flux, lattice.links[:2], averages.per_ion)
    flux = (flux + flux.T) / 2  # detailed balance: the same but for rounding, and noise where ions interact
    leaving_error = np.zeros_like(p) if plan.gas is None else averages.leaving_error
    expected = one_ion(flux, p, plan.lags * plan.tick_s)
    matrices = np.array([consistent(sums["pairs"][species], p, expected) for sums in replicas])
    probability, error = mean_and_error(matrices)

    orbit = np.array(lattice.orbit)
    excess = np.diagonal(matrices - at_infinity, axis1=-2, axis2=-1)
    of_orbit = np.stack([excess[..., orbit == label].mean(-1) for label in np.unique(orbit)], -1)
    residual, residual_se = (values / at_infinity.max() for values in mean_and_error(of_orbit))
    below = (residual + residual_se < DECORRELATED).all(-1)
    complete = bool(below.any())
    met = int(below.argmax()) if complete else len(below) - 1
    if complete:
        probability[met:] = at_infinity
        matrices[:, met:] = at_infinity
        error[met:] = 0.0

    watched = n * np.array([sums["watched"][0] for sums in replicas])
    unseen = one_ion(flux, p, plan.early_s) / plan.journal
    early = np.array(
        [early_joint(sums["early"][species], seconds, p, unseen)
         for sums, seconds in zip(replicas, watched, strict=True)]
    )  # fmt: skip

    origins = np.array([sums["origins"][species] for sums in replicas])
    squares = np.array([sums["square"][species] for sums in replicas]) / (origins * n)
    collectives = np.array([sums["collective"][species] for sums in replicas]) / (origins * n)
    along = np.array([sums["along"][species] for sums in replicas]) / (origins * n)[..., None]
    (msd, msd_se), (collective, collective_se) = mean_and_error(squares), mean_and_error(collectives)
    time = np.concatenate([[0.0], plan.lags * plan.tick_s])
    worst = residual[met].argmax()
    attributes = {
        "temperature_K": float(temperature),
        "mean_residence_time_s": 1.0 / averages.exit_rate,
        "exit_rate_per_s": averages.exit_rate,
        "mean_square_jump_A2": averages.mean_square_jump_A2,
        "seed": plan.seed,
        "replicas": len(replicas),
        "n_ions": n,
        "n_sites": lattice.n_sites,
        "vacancies_per_site": 1 - plan.n_ions / lattice.n_sites,
        "supercell": list(lattice.supercell),
        "jumps_executed": int(sum(sums["executed"][:, species].sum() for sums in replicas)),
        "complete": int(complete),
        "residual": float(residual[met][worst]),
        "residual_se": float(residual_se[met][worst]),
    }
    if complete:
        attributes["decorrelation_time_s"] = float(time[met + 1])
    matrix, curve = ("state_a", "state_b", "time"), ("lag",)
    by_replica = [("replica", *names) for names in (matrix, curve)]
    first = np.diag(p)[..., None]
    start = np.broadcast_to(first, (len(replicas), *first.shape))
    none = np.zeros((len(replicas), 1))
    return xr.Dataset(
        {
            "P": (matrix, np.concatenate([first, np.moveaxis(probability, 0, -1)], -1)),
            "P_se": (matrix, np.concatenate([0 * first, np.moveaxis(error, 0, -1)], -1)),
            # Single precision: far finer than the scatter that these are for.
            "P_replica": (by_replica[0], np.concatenate([start, np.moveaxis(matrices, 1, -1)], -1).astype(np.float32)),
            "P_infinity": (("state_a", "state_b"), at_infinity),
            "P_early": (("state_a", "state_b", "early_time"), np.moveaxis(early.mean(axis=0), 0, -1)),
            "P_early_replica": (("replica", "state_a", "state_b", "early_time"), np.moveaxis(early, 1, -1)),
            # A stay tells at most of as many origins as the lag is long.
            "early_observations": (("early_time",), watched.sum() / plan.early_s),
            "p": (("state",), p),
            "flux": (("state_a", "state_b"), flux, {"units": "1/s"}),
            "leaving_rate": (("state",), flux.sum(1) / p, {"units": "1/s"}),
            "leaving_rate_se": (("state",), leaving_error, {"units": "1/s"}),
            "observations": (("time",), np.concatenate([[np.finfo(float).max], origins.sum(0) * float(n)])),
            "msd": (curve, np.concatenate([[0.0], msd]), {"units": "angstrom^2"}),
            "msd_se": (curve, np.concatenate([[0.0], msd_se]), {"units": "angstrom^2"}),
            "msd_collective": (curve, np.concatenate([[0.0], collective]), {"units": "angstrom^2"}),
            "msd_collective_se": (curve, np.concatenate([[0.0], collective_se]), {"units": "angstrom^2"}),
            "msd_replica": (by_replica[1], np.concatenate([none, squares], 1), {"units": "angstrom^2"}),
            "msd_collective_replica": (by_replica[1], np.concatenate([none, collectives], 1), {"units": "angstrom^2"}),
            "msd_along_replica": (
                ("replica", "axis", "lag"),
                np.concatenate([np.repeat(none[:, None], 3, axis=1), np.moveaxis(along, 1, -1)], -1),
                {"units": "angstrom^2"},
            ),
        },
        # Displacements keep their lags where P is joined with that of later stages (`stages.py`).
        coords={
            "time": ("time", time, {"units": "s"}),
            "lag": ("lag", time, {"units": "s"}),
            "early_time": ("early_time", plan.early_s, {"units": "s"}),
            "axis": ["a", "b", "c"],
        },
        attrs=attributes,
    )


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over replicas, the first axis, and its standard error."""
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


def write_propagator(path: str | Path, dataset: xr.Dataset) -> None:
    """Write a propagator as NetCDF, whole or not at all. Raises InputError where a value is not finite."""
    for name, values in dataset.variables.items():
        if name != "axis" and not np.isfinite(values.values).all():
            raise InputError(f"{path}: {name} of the propagator holds values that are not finite")
    with atomic_path(path) as temporary:
        packed = {"P_replica": {"zlib": True, "complevel": 4}}
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=packed)


def read_propagator(path: str | Path) -> xr.Dataset:
    """Read a propagator into memory. Raises InputError naming what is missing."""
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    try:
        dataset = xr.load_dataset(path, engine="netcdf4")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a NetCDF file ({error})") from None
    for name in VARIABLES:
        if name not in dataset.variables:
            raise InputError(f"{path}: variable {name} is missing; expected a propagator")
    return dataset
