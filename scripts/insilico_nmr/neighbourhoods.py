"""Jumps of interacting ions in molecular dynamics, counted by what the neighbours of the moment do to their rates.

An ion on i that jumps to a vacant j has a rate in proportion to x^s, ln x = −ΔJ/2kT, ΔJ being what the jump changes the
energy of interactions by, less what it would change it by if every site held its mean number of ions (`lattice_gas`).
Counts and exposures are therefore sorted by ln x; `rates.fit_rates` finds the strength s along with the rate model.

A replacement (`events`) is to a lattice gas the second of two jumps: its neighbours are those after the first, in which
the ion on j has gone to the site where it is found next.
"""

from pathlib import Path

import numba
import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError
from insilico_nmr.events import Assignment, Jumps, occupation, ordered_pairs, supercell_pairs
from insilico_nmr.files import read_json
from insilico_nmr.lattice_gas import occupancies
from insilico_nmr.rate_members import adds_up
from insilico_nmr.rates import BOLTZMANN_EV_PER_K, RateModel, limited
from insilico_nmr.sites import directed_classes, site_orbits
from insilico_nmr.tables import read_table

BIN = 0.1  # of ln x
LARGEST = 1000  # bins on either side of ln x = 0
COLUMNS = ["class", "from", "to", "log_x", "count", "exposure_s"]
KEYS = ["class", "from", "to", "temperature_K"]


def read_interactions(path: str | Path, sites: dict) -> dict:
    """Content of an interactions file with `pairs` and `occupancy`, mean ions a site, by orbit.

    Raises InputError where either is missing, or an orbit of the sites, or an occupancy is none.
    """
    found = read_json(path)
    missing = {"pairs", "occupancy"} - (set(found) if isinstance(found, dict) else set())
    if missing:
        raise InputError(f"{path}: no {', '.join(sorted(missing))}; expected interactions of fit_interactions.py")
    occupancies(found, set(site_orbits(sites)), path)
    return found


def pair_matrix(pairs: list[dict], m: int, repeat: tuple[int, int, int]) -> np.ndarray:
    """J (S, S), eV, between the sites of a supercell of cells of m sites; pairs as of `lattice_gas.build_gas`."""
    n = m * int(np.prod(repeat))
    found = np.zeros((n, n))
    np.add.at(
        found, supercell_pairs(pairs, m, repeat), np.repeat([p["energy_eV"] for p in pairs], int(np.prod(repeat)))
    )
    return found


@numba.njit(cache=True)
def _bin(log_x):
    return min(max(LARGEST + int(np.rint(log_x / BIN)), 0), 2 * LARGEST)


@numba.njit(cache=True)
def _expose(count, field, own, start, end, row, exposed):
    """Add ions at `start` while `end` is empty, by class and bin of ln x, one a frame."""
    for frame in range(len(count)):
        for jump in range(len(start)):
            if count[frame, start[jump]] > 0 and count[frame, end[jump]] == 0:
                log_x = field[frame, start[jump]] - field[frame, end[jump]] + own[jump]
                exposed[row[jump], _bin(log_x)] += count[frame, start[jump]]


def count_by_neighbours(assignment: Assignment, jumps: Jumps, interactions: dict, temperature_K: float) -> pd.DataFrame:
    """Counts and exposures (s) of `events.count_jumps` by directed class and ln x: COLUMNS.

    `interactions` as of `read_interactions`.
    """
    sites, repeat = assignment.sites, assignment.repeat
    m, cells = len(sites["sites"]), int(np.prod(repeat))
    scaled = pair_matrix(interactions["pairs"], m, repeat) / (2 * BOLTZMANN_EV_PER_K * temperature_K)
    mean = np.tile([interactions["occupancy"][orbit] for orbit in site_orbits(sites)], cells)
    count = occupation(assignment)
    field = (count - mean) @ scaled
    start, end, row = ordered_pairs(sites, repeat)
    classes = directed_classes(sites)
    exposed = np.zeros((len(classes), 2 * LARGEST + 1), np.int64)
    # An ion is no neighbour of the site that it jumps to.
    _expose(count, field, scaled[start, end], start, end, row, exposed)
    counted, where = np.zeros_like(exposed), assignment.supercell_site
    before = np.round(jumps.time_s / assignment.frame_s).astype(int) - 1
    for frame, ion, kind, replacement in zip(before, jumps.ion, jumps.kind, jumps.replacement, strict=True):
        if kind >= 0:
            home, target = where[frame : frame + 2, ion]
            log_x = field[frame, home] - field[frame, target] + scaled[home, target]
            for ahead in np.flatnonzero(where[frame] == target) if replacement else ():
                later = where[frame + 1 :, ahead]
                gone = later[later != target][:1]
                if len(gone) and gone[0] != home:
                    log_x += (scaled[home, gone] - scaled[target, gone]).item() - scaled[home, target]
            place = _bin(log_x)
            counted[kind, place] += 1
            exposed[kind, place] += replacement
    kind, place = np.nonzero(exposed + counted)
    table = pd.DataFrame([classes[n] for n in kind], columns=COLUMNS[:3])
    return table.assign(
        log_x=(place - LARGEST) * BIN,
        count=counted[kind, place],
        exposure_s=exposed[kind, place] * assignment.frame_s,
    )


def read_neighbours(path: str | Path, counts: pd.DataFrame) -> pd.DataFrame:
    """Counts of each member by ln x, written by analyse_jumps.py, with what `counts`, of the same runs, say of a class.

    Raises InputError where both do not add up to the same.
    """
    table = read_table(path, ["temperature_K", "member", "log_x", "count", "exposure_s"], KEYS[:3])
    if not adds_up(table, counts):
        raise InputError(f"{path}: does not add up to the counts of all runs: are the files of one analysis?")
    return table.merge(counts[[*KEYS, "fano", "radius_log_sd", "frame_s"]], on=KEYS)


def of_all_members(neighbours: pd.DataFrame) -> pd.DataFrame:
    """Counts by ln x of all members together."""
    return neighbours.groupby([*KEYS, "log_x", "fano", "radius_log_sd", "frame_s"], as_index=False)[
        ["count", "exposure_s"]
    ].sum()


def among_mean_occupancies(counts: pd.DataFrame, neighbours: pd.DataFrame, model: RateModel) -> pd.DataFrame:
    """Counts with rates and intervals divided by the mean k/k0 that the model has for the neighbours that were met."""
    there, back = (
        np.array([model.log_rate_row(tuple(key), T) @ model.parameters for *key, T in zip(*columns, strict=True)])
        for columns in (
            [neighbours[name] for name in ("class", "from", "to", "temperature_K")],
            [neighbours[name] for name in ("class", "to", "from", "temperature_K")],
        )
    )
    log_x = model.strength * neighbours["log_x"].to_numpy()
    ratio = np.exp(log_x) * limited(there + log_x, back - log_x, model.parameters[0])
    weighted = neighbours.assign(worth_s=ratio * neighbours["exposure_s"]).groupby(KEYS)[["worth_s", "exposure_s"]]
    mean = weighted.sum().eval("worth_s / exposure_s").reindex(pd.MultiIndex.from_frame(counts[KEYS])).to_numpy()
    columns = ["rate_per_s", "ci_low_per_s", "ci_high_per_s"]
    return counts.assign(**{name: counts[name] / mean for name in columns})
