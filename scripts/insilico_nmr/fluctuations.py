"""What tensors that depend on filled neighbours add to two-time functions of the sites' means.

An ion's tensor is V = V̄ + δ, with V̄ the mean of its site and δ = Σ_k (n_k − ⟨n_k⟩) A_k over the neighbouring sites
that are filled (n_k = 1) or not (`surroundings`). Along histories of kinetic Monte Carlo of all ions, from equilibrium,

    ΔC(t) = ⟨V(0):V(t)⟩ − ⟨V̄(0):V̄(t)⟩        ΔS₂(t_p, t) = A⟨sin ωt_p sin ω′t_p⟩ − the same of V̄

are averaged over the same ions, orientations and moments, so that what both terms have in common brings no noise (A and
ω as in echo.py). The terms of the means are those that the propagator has, and better: results are its contraction plus
these. ΔS₂ is the frozen form, right as long as surroundings stay while phases evolve (`during`); where they change many
times, phases evolve with the means and nothing is to be added.

Tensors change by jumps, so averages over all moments of a run are exact for it, however short the lag: what is lost
from C, ½⟨|V(t) − V(0)|²⟩, is an integral over a function that is constant between changes. Excursions of a tenth of a
nanosecond every millisecond, which no snapshots would meet, are in it with all their events.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numba import njit
from scipy.spatial.transform import Rotation

from insilico_nmr import paths, stages
from insilico_nmr.echo import Propagator, amplitude
from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path
from insilico_nmr.moving import Mover, averages, exit_rate, lattice_of, start_in_equilibrium
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import outermost_unit, unit_direction, zcw
from insilico_nmr.relaxation import fluctuation_parts
from insilico_nmr.surroundings import Added

TIMES_PER_DECADE = 10
FIRST = 0.01  # lag after 0, in residence times on the site that is left soonest
LONGEST = 0.8  # lag, of a run
MOST_CHANGES = 1_000_000  # of the tensors of the ions that are watched, in a replica
LEFT = 0.02  # of ΔC(0), at which it has decayed
NOISE = 3.0  # standard errors, above which ΔC is told from 0
CHANGE = 0.1  # of ΔC(0): what may be lost, or left, after an evolution time in which surroundings stay, or average


@dataclass(frozen=True)
class Fluctuations:
    """ΔC of m = 0, 1, 2, (R, 3, T) a.u.², and ΔS₂ by evolution time, (R, E, T), of R replicas at times (T,) from 0 on.

    `member_scales` (M,): factors that ΔC and ΔS₂ have by each member of the committee; empty where they are not known.
    `direction` (3,): of the field in a single crystal, None of a powder. `shift`: that of the rate model.
    """

    time_s: np.ndarray
    correlation: np.ndarray
    evolution_s: np.ndarray
    echo: np.ndarray
    member_scales: np.ndarray
    temperature_K: float
    shift: int
    direction: np.ndarray | None

    def correlation_at(self, time_s: np.ndarray) -> np.ndarray:
        """ΔC of replicas at other times, (R, 3, ...); 0 once it is lost in noise, else in the end as at the last."""
        kept = np.where(np.arange(len(self.time_s)) < told(self.correlation[:, 0]), self.correlation, 0.0)
        return self._at(kept, time_s)

    def contraction_at(self, time_s: np.ndarray) -> np.ndarray:
        """What surroundings add to ⟨V(0):V(t)⟩ of replicas, (R, T): to its parts of m = 0, ±1 and ±2."""
        return np.tensordot([0.2, 0.4, 0.4], self.correlation_at(time_s), (0, 1))

    def echo_at(self, evolution_s: float, time_s: np.ndarray) -> np.ndarray:
        """ΔS₂ of replicas, (R, T); 0 unless surroundings stay while phases evolve. Raises InputError for another
        evolution time than those there are."""
        found = np.flatnonzero(np.isclose(self.evolution_s, evolution_s, rtol=1e-6))
        if not len(found):
            raise InputError(f"surroundings: no evolution time {1e6 * evolution_s:g} µs in them")
        if self.during(evolution_s) != "frozen":
            return np.zeros((len(self.echo), len(time_s)))
        return self._at(self.echo[:, found[0]], time_s)

    def scales_of_members(self, count: int) -> np.ndarray:
        """`member_scales` of so many members, (count,); ones where they are not known. Raises InputError for another
        number."""
        if len(self.member_scales) not in (0, count):
            raise InputError(f"surroundings: fitted to {len(self.member_scales)} members, site tensors have {count}")
        return self.member_scales if len(self.member_scales) else np.ones(count)

    @property
    def decayed(self) -> bool:
        """True where ΔC has come down to LEFT of its start, or to its noise."""
        return has_decayed(self.correlation[:, 0])

    def during(self, evolution_s: float) -> str:
        """What surroundings do in an evolution time: "frozen", "averaged", or "changing", which is neither."""
        left = left_after(self.time_s, self.correlation[:, 0], evolution_s)
        return "frozen" if left >= 1 - CHANGE else "averaged" if left <= CHANGE else "changing"

    def _at(self, values: np.ndarray, time_s: np.ndarray) -> np.ndarray:
        rows = values.reshape(-1, values.shape[-1])
        return np.reshape([np.interp(time_s, self.time_s, row) for row in rows], (*values.shape[:-1], len(time_s)))


def told(correlation: np.ndarray) -> int:
    """Number of times of ΔC, (R, T), up to the last at which it stands out of the noise of the last third of them.

    What comes later would pass for a slow decay.
    """
    mean, error = correlation.mean(axis=0), correlation.std(axis=0, ddof=1) / np.sqrt(len(correlation))
    noise = np.sqrt((error[2 * len(error) // 3 :] ** 2).mean())
    above = np.flatnonzero(np.abs(mean) > NOISE * np.maximum(error, noise))
    return int(above[-1]) + 1 if len(above) else 0


def has_decayed(correlation: np.ndarray) -> bool:
    """True where ΔC, (R, T), has come down to LEFT of its start, or to its noise."""
    mean = correlation.mean(axis=0)
    return bool(told(correlation) < len(mean) or abs(mean[-1]) <= LEFT * mean[0])


def left_after(time_s: np.ndarray, correlation: np.ndarray, evolution_s: float) -> float:
    """Part of ΔC, (R, T) at times (T,), that is left after an evolution time; 0 where there was none."""
    mean = correlation.mean(axis=0)
    if not mean[0] > 0 or (evolution_s > time_s[-1] and has_decayed(correlation)):
        return 0.0
    return float(np.interp(evolution_s, time_s, mean) / mean[0])


def simulate(
    mover: Mover,
    n_ions: int,
    tensors: np.ndarray,
    added: Added,
    evolution_s: np.ndarray,
    nucleus: Nucleus,
    seed: int,
    replicas: int,
    max_events: int,
    until_s: float,
    direction: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) and, of every replica, ΔC of m = 0, 1, 2 and ΔS₂ by evolution time (R, T, 3 + E).

    tensors : (m, 3, 3) a.u., means of the sites. Stages of `max_events` jumps a replica go on to `until_s`, or as long
    as surroundings are not forgotten, where no echo needs more. Raises InputError as `paths.field_of_surroundings`
    and `echo.amplitude`.
    """
    field = paths.field_of_surroundings(mover, n_ions, tensors, added)
    height, phase = amplitude(nucleus), 2 * np.pi * outermost_unit(nucleus) * np.asarray(evolution_s, float)
    length = max_events / n_ions  # of a run, in mean residence times
    # Each jump changes the tensors of the ion and of those near the sites that it leaves and comes to.
    changes_per_time = 1 + 2 * (n_ions / lattice_of(mover).n_sites) * (added.site >= 0).sum(axis=1).mean()
    shorter = min(length, MOST_CHANGES / n_ions / changes_per_time)

    def one_run(hopping: Mover, times: np.ndarray, seeds: list[int], of_length: float, rate: float) -> np.ndarray:
        """A run of so many mean residence times, of as many ions as MOST_CHANGES allows for."""
        rng = np.random.default_rng(seeds)
        start, state = start_in_equilibrium(hopping, n_ions, rng)
        watched = int(np.clip(MOST_CHANGES / changes_per_time / of_length, 1, n_ions))
        seen = paths.changes(hopping, field, start, state, of_length / rate, watched)
        along = a_powder(watched, rng) if direction is None else np.tile(unit_direction(direction), (watched, 1))
        of_ion = np.repeat(along, np.diff(seen.begin), axis=0)
        kinds = about_means(seen, tensors), tensors[seen.site]
        correlations, sines = [], []
        for kind in kinds:
            # Of a powder the parts are one and the same.
            parts = fluctuation_parts(kind, direction)[: 1 if direction is None else 3]
            correlations.append([two_time(seen, part, times).sum(axis=-1) for part in parts])
            angles = np.einsum("ni,nij,nj->n", of_ion, kind, of_ion, optimize=True)
            sines.append(two_time(seen, np.sin(np.outer(angles, phase)), times))
        correlation, echo = np.subtract(*correlations), height * np.subtract(*sines)
        return np.concatenate([np.broadcast_to(correlation, (3, len(times))), echo.T]).T

    def follow(hopping: Mover, times: np.ndarray) -> np.ndarray:
        """Long runs of some ions, and for lags that these allow, short ones of all: where carriers are few and stay in
        parts of the lattice, some ions by themselves have more or fewer of them about than all have."""
        rate = exit_rate(hopping, n_ions)
        reach_s = LONGEST * shorter / rate
        near = (times <= reach_s) & (times[1] <= reach_s)  # lag 0 is not worth runs of its own
        found = np.empty((replicas, len(times), 3 + len(phase)))
        for part, of_length in ((near, shorter), (~near, length)):
            for replica in range(replicas) if part.any() else ():
                seeds = [seed, replica, int(of_length == length)]
                found[replica, part] = one_run(hopping, times[part], seeds, of_length, rate)
        return found

    def times_of(hopping: Mover) -> np.ndarray:
        mean = averages(hopping, n_ions)
        leaving = np.zeros(len(tensors))
        np.add.at(leaving, lattice_of(hopping).links[0], mean.flux)
        first, last = FIRST / (leaving / mean.occupation).max(), LONGEST * length / mean.exit_rate
        if last < 10 * first:
            raise InputError(f"{max_events} jumps of {n_ions} ions tell nothing of their surroundings: expected more")
        return np.concatenate([[0.0], np.geomspace(first, last, int(TIMES_PER_DECADE * np.log10(last / first)) + 1)])

    def ended(times: np.ndarray, values: np.ndarray) -> bool:
        correlation = values[..., 0]
        stay = [left_after(times, correlation, evolution) >= 1 - CHANGE for evolution in evolution_s]
        return times[-1] >= until_s or (has_decayed(correlation) and not any(stay))

    return stages.followed_in_stages(mover, n_ions, times_of, follow, ended)


def a_powder(count: int, rng: np.random.Generator) -> np.ndarray:
    """Field directions (count, 3), more even than chance, turned and dealt out at random."""
    return rng.permutation(zcw(count)[0])[:count] @ Rotation.random(rng=rng).as_matrix()


def about_means(seen: paths.Changes, tensors: np.ndarray) -> np.ndarray:
    """Tensors (n, 3, 3) of `seen`, with averages over its ions and moments on each site that are those of `tensors`.

    Of some ions, whose surroundings are not those of all by chance, the averages are a little off. The product of that
    with the means themselves, which are large, would be the noise of all that is left in the end.
    """
    found, weight = paths.as_tensors(seen.tensor), lasting(seen)
    off, time = np.zeros((len(tensors), 3, 3)), np.zeros(len(tensors))
    np.add.at(off, seen.site, weight[:, None, None] * (found - tensors[seen.site]))
    np.add.at(time, seen.site, weight)
    return found - (off / np.maximum(time, 1e-300)[:, None, None])[seen.site]


def lasting(seen: paths.Changes) -> np.ndarray:
    """Time (n,) until the next change, or the end, in s."""
    lasts = np.diff(seen.time_s, append=seen.end_s)
    lasts[seen.begin[1:] - 1] = seen.end_s - seen.time_s[seen.begin[1:] - 1]
    return lasts


def two_time(seen: paths.Changes, columns: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Averages over ions and moments of f(0)f(t), (T, K), of columns f (n, K) that are constant between changes."""
    ions = len(seen.begin) - 1
    lost = np.zeros((len(times_s), columns.shape[1]))
    _lost(seen.begin, seen.time_s, np.ascontiguousarray(columns), seen.end_s, times_s, lost)
    return (lasting(seen) @ columns**2) / (ions * seen.end_s) - lost / (ions * (seen.end_s - times_s[:, None]))


@njit(cache=True)
def _lost(begin, time, columns, end, lags, lost):
    """Add ½∫(f(s + lag) − f(s))² ds over s from 0 to end − lag, of all ions, to lost (lags, columns)."""
    for ion in range(len(begin) - 1):
        for lag in range(len(lags)):
            a, b, now = begin[ion], begin[ion], 0.0
            while now < end - lags[lag]:
                while b + 1 < begin[ion + 1] and time[b + 1] - lags[lag] <= now:
                    b += 1
                while a + 1 < begin[ion + 1] and time[a + 1] <= now:
                    a += 1
                until = end - lags[lag]
                if b + 1 < begin[ion + 1]:
                    until = min(until, time[b + 1] - lags[lag])
                if a + 1 < begin[ion + 1]:
                    until = min(until, time[a + 1])
                if a != b:
                    for k in range(columns.shape[1]):
                        step = columns[b, k] - columns[a, k]
                        lost[lag, k] += 0.5 * (until - now) * step * step
                now = until


def write_fluctuations(path: str | Path, found: Fluctuations) -> None:
    """Write as NetCDF, whole or not at all."""
    variables = {
        "correlation": (("replica", "quanta", "time"), found.correlation, {"units": "au^2"}),
        "echo": (("replica", "evolution_time", "time"), found.echo),
        "member_scales": ("member", found.member_scales),
    }
    coordinates = {
        "time": ("time", found.time_s, {"units": "s"}),
        "evolution_time": ("evolution_time", found.evolution_s, {"units": "s"}),
    }
    facts = {"temperature_K": found.temperature_K, "shift": found.shift}
    facts |= {} if found.direction is None else {"direction": found.direction}
    with atomic_path(path) as temporary:
        xr.Dataset(variables, coordinates, facts).to_netcdf(temporary, engine="netcdf4")


def read_fluctuations(path: str | Path, propagator: Propagator, direction: list[float] | None = None) -> Fluctuations:
    """Of a file of correlate_surroundings.py. Raises InputError where it is none, and where its temperature, rate
    model, number of replicas or direction is another than the propagator's, or the one asked for."""
    try:
        data = xr.load_dataset(path, engine="netcdf4")
        values = [data[name].to_numpy() for name in ("time", "correlation", "evolution_time", "echo", "member_scales")]
        facts = float(data.attrs["temperature_K"]), int(data.attrs["shift"]), data.attrs.get("direction")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a file of correlate_surroundings.py ({error})") from None
    found = Fluctuations(*values, *facts)
    wanted = (propagator.temperature_K, propagator.shift, len(propagator.replicas))
    held = (found.temperature_K, found.shift, len(found.correlation))
    if not np.allclose(wanted, held, atol=0.5 - 1e-9):
        raise InputError(
            f"{path}: of {held[0]:g} K, shift {held[1]} and {held[2]} replicas; the propagator has {wanted[0]:g} K, "
            f"shift {wanted[1]} and {wanted[2]} replicas"
        )
    if (direction is None) != (found.direction is None) or not np.allclose(
        [] if direction is None else direction, [] if found.direction is None else found.direction
    ):
        raise InputError(f"{path}: of the field along {found.direction}, --direction is {direction}")
    return found
