"""What the members of a potential's committee make of site energies and barriers, along MD that any of them ran.

First-order perturbation of free energies (R. W. Zwanzig, J. Chem. Phys. 22, 1420 (1954)): for a member m a barrier is
higher than for the member that ran by the mean of E_m − E_ran over configurations at its top, less that where the ion
still was on its site. All members see the same configurations, so that chance is nearly out of their differences, which
numbers of jumps in runs of each member's own would be full of.

With member 0 as the reference, D_m = E_m − E_0 of a frame is taken to be a constant of the run plus ε_m(o) for every
ion on an orbit o; from an ion between two sites its barrier top is what is left of D_m when all others have had theirs.

First order holds where D_m scatters by k_BT or so. A member that lacks some of the data may run into states that it has
far too low, and D_m, by electronvolts, tells nothing else in that run. Runs therefore count by the reciprocal of the
variance of D_m (`run_weights`), each member's own.
"""

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError
from insilico_nmr.events import Assignment, Jumps
from insilico_nmr.few_values import over_members, widening
from insilico_nmr.rates import RateModel
from insilico_nmr.sites import site_orbits, site_positions
from insilico_nmr.tables import read_table

COLUMNS = ["member", "quantity", "name", "difference_eV", "standard_error_eV", "configurations"]
SITE, TOP = "site_energy", "barrier_top"
LEAST_SCATTER_EV = 1e-3  # of a cell, below which runs count alike


def tops(assignment: Assignment, jumps: Jumps, chosen: np.ndarray) -> np.ndarray:
    """Frame of each of the jumps `chosen` (n,) that is nearest to its top: of those between the last in the core that
    the ion leaves and the first in the one it enters, the one in which it is most nearly as far from one site as from
    the other. −1 where there is none between: a frame that is still in a core tells of the site."""
    positions, cell = site_positions(assignment.sites), np.array(assignment.sites["cell"])
    frames = []
    for jump in chosen:
        arrived, ion = int(np.round(jumps.time_s[jump] / assignment.frame_s)), jumps.ion[jump]
        inside = np.flatnonzero(~assignment.outside[:arrived, ion])
        between = np.arange(inside[-1] + 1 if len(inside) else 0, arrived)
        if len(between) == 0:
            frames.append(-1)
            continue
        away = (positions[jumps.end[jump]] + jumps.image[jump] - positions[jumps.start[jump]]) @ cell
        left = assignment.displacement_A[between, ion]  # until it arrives it counts as on the site that it leaves
        unequal = np.abs(np.linalg.norm(left, axis=1) - np.linalg.norm(left - away, axis=1))
        frames.append(between[unequal.argmin()])
    return np.array(frames, int)


def ions_by_orbit(assignment: Assignment) -> np.ndarray:
    """Ions assigned to each orbit in the order of the network, and those of them that are in no core, (F, 2 O)."""
    labels = site_orbits(assignment.sites)
    number = {label: n for n, label in enumerate(dict.fromkeys(labels))}
    of_site = np.array([number[label] for label in labels])[assignment.site]
    assigned = [of_site == n for n in range(len(number))]
    return np.stack([some.sum(axis=1) for some in [*assigned, *(one & assignment.outside for one in assigned)]], axis=1)


def run_weights(differences: list[np.ndarray]) -> np.ndarray:
    """Weight of each run for each member, (R, M), 1/eV², by the scatter of D (F, M) in its frames."""
    return 1 / (np.array([run.var(axis=0) for run in differences]) + LEAST_SCATTER_EV**2)


def site_differences(
    counts: list[np.ndarray], differences: list[np.ndarray], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ε of all orbits over the first and of being in no core (2 O, M), eV, and standard errors, from frames of each
    run: `ions_by_orbit` (F, 2 O) and D (F, M), and the runs' weights (R, M). 0 for what does not change."""
    x = np.concatenate([run - run.mean(axis=0) for run in counts])[:, 1:]  # all ions are somewhere
    y = np.concatenate([run - run.mean(axis=0) for run in differences])
    rows = np.repeat(weights, [len(run) for run in counts], axis=0)
    found, errors = np.zeros((2, x.shape[1] + 1, y.shape[1]))
    for member, weight in enumerate(rows.T):
        inverse = np.linalg.pinv((x.T * weight) @ x, rcond=1e-9)
        slopes = inverse @ (x.T * weight) @ y[:, member]
        left = weight @ (y[:, member] - x @ slopes) ** 2 / max(1, len(y) - x.shape[1] - len(counts))
        found[1:, member], errors[1:, member] = slopes, np.sqrt(inverse.diagonal() * left)
    return found, errors


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis of (n, M), and its standard error by the scatter; NaN where one value has the weight."""
    share = weights / weights.sum(axis=0)
    mean, effective = (share * values).sum(axis=0), 1 / (share**2).sum(axis=0)
    square = (share**2 * (values - mean) ** 2).sum(axis=0)
    many = effective > 1 + 1e-9
    return mean, np.where(many, np.sqrt(square * effective / np.where(many, effective - 1, 1)), np.nan)


def read_differences(path, model: RateModel) -> tuple[np.ndarray, list[str]]:
    """Parameters of the rate model by member (M, P), eV, as differences from member 0, NaN for a class of which no jump
    was seen, and the parameters' names. Raises InputError as `read_table` does, and for orbits or classes that the
    model has not, or orbits that the table misses: it is of other sites.
    """
    table = read_table(path, ["member", "difference_eV"], ["quantity", "name"])
    sites = [(SITE, name) for name in model.orbits[1:]]
    names = [*sites, *((TOP, name) for name, _, _ in model.classes)]
    given = set(table[["quantity", "name"]].itertuples(index=False, name=None))
    if strange := (given - set(names)) | (set(sites) - given):
        found = ", ".join(sorted(f"{quantity} {name}" for quantity, name in strange))
        raise InputError(f"{path}: {found}: in the table or in the rate model, not in both; is it of other sites?")
    wide = table.pivot_table(index="member", columns=["quantity", "name"], values="difference_eV")
    return wide.reindex(columns=pd.MultiIndex.from_tuples(names)).to_numpy(), [name for _, name in names]


def covariance(differences: np.ndarray) -> np.ndarray:
    """Covariance (P, P), eV², of parameters by the data of the potential, from those of its members (M, P).

    Stretched for what members share of their data and widened for so few (`few_values`). A parameter that is not known
    (NaN) has the largest variance of the others and no covariance.
    """
    count = len(differences)
    known = np.isfinite(differences).all(axis=0)
    found = np.zeros((differences.shape[1],) * 2)
    found[np.ix_(known, known)] = np.atleast_2d(np.cov(differences[:, known].T, ddof=1))
    found[~known, ~known] = found.diagonal().max(initial=0.0)
    return over_members(count) * widening(count) ** 2 * found
