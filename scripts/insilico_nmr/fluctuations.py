"""What tensors that depend on filled neighbours add to two-time functions of the sites' means.

An ion's tensor is V = V̄ + δ, with V̄ the mean of its site and δ = Σ_k (n_k − ⟨n_k⟩) A_k over the neighbouring sites
that are filled (n_k = 1) or not (`surroundings`). Along histories of kinetic Monte Carlo of all ions, from equilibrium,

    ΔC(t) = ⟨V(0):V(t)⟩ − ⟨V̄(0):V̄(t)⟩        ΔS₂(t_p, t) = (9/20)⟨sin ωt_p sin ω′t_p⟩ − the same of V̄

are averaged over the same ions, orientations and moments, so that what both terms have in common brings no noise. The
terms of the means are those that the propagator has, and better: results are its contraction plus these. ΔS₂ is the
frozen form, right as long as surroundings stay while phases evolve (`during`); where they change many times, phases
evolve with the means and nothing is to be added.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from insilico_nmr import kmc, stages
from insilico_nmr.echo import AMPLITUDE, Propagator
from insilico_nmr.errors import InputError
from insilico_nmr.files import atomic_path
from insilico_nmr.fits import error_over_replicas
from insilico_nmr.lattice import Lattice, equilibrium
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.paths import check_width
from insilico_nmr.powder import frequency_unit, unit_direction
from insilico_nmr.relaxation import fluctuation_parts
from insilico_nmr.surroundings import Added, momentary

TIMES_PER_DECADE = 10
FIRST = 0.01  # time after 0, in mean residence times
LONGEST = 1e4  # likewise
MOST_DRAWS = 8  # of an equilibrium, in a replica
LEFT = 0.02  # of ΔC(0), at which it has decayed
NOISE = 2.0  # standard errors, below which ΔC is taken to be 0 from then on
CHANGE = 0.1  # of ΔC(0): what may be lost, or left, after an evolution time in which surroundings stay, or average


@dataclass(frozen=True)
class Fluctuations:
    """ΔC of m = 0, 1, 2, (R, 3, T) a.u.², and ΔS₂ by evolution time, (R, E, T), of R replicas at times (T,) from 0 on.

    `direction` (3,): of the field in a single crystal, None of a powder. `shift`: that of the rate model.
    """

    time_s: np.ndarray
    correlation: np.ndarray
    evolution_s: np.ndarray
    echo: np.ndarray
    temperature_K: float
    shift: int
    direction: np.ndarray | None

    def correlation_at(self, time_s: np.ndarray) -> np.ndarray:
        """ΔC of replicas at other times, (R, 3, ...); 0 once it is lost in noise, else in the end as at the last."""
        above = np.where(np.arange(len(self.time_s)) < self.told, self.correlation, 0.0)
        return self._at(above, time_s)

    def echo_at(self, evolution_s: float, time_s: np.ndarray) -> np.ndarray:
        """ΔS₂ of replicas, (R, T); 0 at evolution times in which surroundings average. Raises InputError for another
        evolution time than those there are."""
        found = np.flatnonzero(np.isclose(self.evolution_s, evolution_s, rtol=1e-6))
        if not len(found):
            raise InputError(f"surroundings: no evolution time {1e6 * evolution_s:g} µs in them")
        if self.during(evolution_s) != "frozen":
            return np.zeros((len(self.echo), len(time_s)))
        return self._at(self.echo[:, found[0]], time_s)

    @property
    def told(self) -> int:
        """Number of times up to which ΔC stands out of its noise: what comes later would pass for a slow decay."""
        return told(self.correlation[:, 0])

    @property
    def decayed(self) -> bool:
        """True where ΔC has come down to LEFT of its start, or to its noise."""
        return has_decayed(self.correlation[:, 0])

    def during(self, evolution_s: float) -> str:
        """What surroundings do in an evolution time: "frozen", "averaged", or "changing", which is neither."""
        mean = self.correlation[:, 0].mean(axis=0)
        left = self.correlation_at(np.array([evolution_s]))[:, 0].mean() / mean[0] if mean[0] > 0 else 0.0
        return "frozen" if left >= 1 - CHANGE else "averaged" if left <= CHANGE else "changing"

    def _at(self, values: np.ndarray, time_s: np.ndarray) -> np.ndarray:
        rows = values.reshape(-1, values.shape[-1])
        return np.reshape([np.interp(time_s, self.time_s, row) for row in rows], (*values.shape[:-1], len(time_s)))


def told(correlation: np.ndarray) -> int:
    """Number of the first times of ΔC, (R, T), at which it is above NOISE."""
    lost = correlation.mean(axis=0) <= NOISE * error_over_replicas(correlation)
    return int(lost.argmax()) if lost.any() else len(lost)


def has_decayed(correlation: np.ndarray) -> bool:
    """True where ΔC, (R, T), has come down to LEFT of its start, or to its noise."""
    mean = correlation.mean(axis=0)
    return bool(told(correlation) < len(mean) or mean[-1] <= LEFT * mean[0])


def simulate(
    lattice: Lattice,
    n_ions: int,
    tensors: np.ndarray,
    added: Added,
    evolution_s: np.ndarray,
    nucleus: Nucleus,
    seed: int,
    replicas: int,
    max_events: int,
    direction: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) and, of every replica, ΔC of m = 0, 1, 2 and ΔS₂ by evolution time (R, T, 3 + E).

    tensors : (m, 3, 3) a.u., means of the sites. A replica draws equilibria anew until `max_events` jumps are spent.
    Raises InputError where the supercell is so small that one site would be two neighbours.
    """
    check_width(lattice, added)
    occupation = equilibrium(lattice, n_ions).occupation
    phase = 2 * np.pi * frequency_unit(nucleus) * np.asarray(evolution_s, float)

    def one_draw(hopping: Lattice, times: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        start, state = kmc.start_in_equilibrium(hopping, n_ions, rng)
        records = kmc.run_snapshots(hopping, state, times)
        site, cell = records[..., kmc.SITE], hopping.cells_of(start) + records[..., 1:]
        along = rng.normal(size=(n_ions, 3)) if direction is None else np.tile(unit_direction(direction), (n_ions, 1))
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        whole = (momentary(tensors, added, occupation, lattice.supercell, *at) for at in zip(site, cell, strict=True))
        means = (tensors[at] for at in site)
        of_both = (two_time(histories, along, phase, direction) for histories in (whole, means))
        return next(of_both) - next(of_both), state.events

    def replica(hopping: Lattice, times: np.ndarray, number: int) -> np.ndarray:
        rng = np.random.default_rng([seed, number])
        total, events = one_draw(hopping, times, rng)
        draws = int(np.clip(max_events / max(events, 1), 1, MOST_DRAWS))
        for _ in range(draws - 1):
            total += one_draw(hopping, times, rng)[0]
        return total / draws

    def follow(hopping: Lattice, times: np.ndarray) -> np.ndarray:
        return np.array([replica(hopping, times, number) for number in range(replicas)])

    def times_of(hopping: Lattice) -> np.ndarray:
        residence_s, longest = 1 / equilibrium(hopping, n_ions).exit_rate, min(LONGEST, max_events / n_ions)
        count = int(TIMES_PER_DECADE * np.log10(longest / FIRST)) + 1
        return np.concatenate([[0.0], residence_s * np.geomspace(FIRST, longest, count)])

    return stages.followed_in_stages(lattice, n_ions, times_of, follow, lambda _, values: has_decayed(values[..., 0]))


def two_time(
    histories: Iterable[np.ndarray], along: np.ndarray, phase: np.ndarray, direction: np.ndarray | None
) -> np.ndarray:
    """Averages over ions, with the first moment, of tensors (N, 3, 3) at each of T: C of m = 0, 1, 2 and S₂, (T, 3 +
    E).

    along : (N, 3), the field of each ion's crystallite. phase : (E,), 2π·t_p·unit: of an evolution time and 1 a.u.
    """
    rows, first = [], None
    for tensors in histories:
        parts = fluctuation_parts(tensors, direction)
        sines = np.sin(phase[:, None] * np.einsum("ni,nij,nj->n", along, tensors, along, optimize=True))
        first = first or (parts, sines)
        correlation = [np.einsum("nk,nk->", *both) / len(tensors) for both in zip(first[0], parts, strict=True)]
        rows.append([*correlation, *(AMPLITUDE * (first[1] * sines).mean(axis=1))])
    return np.array(rows)


def write_fluctuations(path: str | Path, found: Fluctuations) -> None:
    """Write as NetCDF, whole or not at all."""
    variables = {
        "correlation": (("replica", "quanta", "time"), found.correlation, {"units": "au^2"}),
        "echo": (("replica", "evolution_time", "time"), found.echo),
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
        values = [data[name].to_numpy() for name in ("time", "correlation", "evolution_time", "echo")]
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
