"""What the members of a potential's committee disagree on, as a part of the rate model's covariance.

Each member ran MD of its own. The rate model of all runs is fitted again without those of one member, for each in turn:
the delete-one jackknife (B. Efron and C. Stein, Ann. Statist. 9, 586 (1981)). Its variance holds the noise of sampling
too; what exceeds that noise, times the number of members, is the variance among members. It is not divided by their
number again: members share their data and their form, and the mean of them is given no smaller error than one has.
It is stretched for what members share of their data (`few_values.over_members`) and widened by Student's t for so few,
so that 1.96 standard deviations are a 95 % interval.

Parameters are compared where MD tells them apart: the logarithms of ν and of the rates of each class at the harmonic
mean T of the runs' temperatures, and site energies over k_BT.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from insilico_nmr.errors import InputError
from insilico_nmr.few_values import over_members, widening
from insilico_nmr.rates import BOLTZMANN_EV_PER_K, RateModel

Fit = Callable[[pd.DataFrame], RateModel]


def _keys(counts: pd.DataFrame) -> list[str]:
    """Columns that tell rows of counts apart."""
    return [name for name in ("class", "from", "to", "temperature_K", "log_x") if name in counts]


@dataclass(frozen=True)
class MemberSpread:
    """Standard deviation by the potential's data, of ln ν, of site energies (eV), of ln k at `temperature_K`, by class,
    and of the strength of interactions, 0 without any."""

    temperature_K: float
    ln_prefactor: float
    site_energies_eV: dict[str, float]
    ln_rates: dict[str, float]
    strength: float


def adds_up(parts: pd.DataFrame, counts: pd.DataFrame) -> bool:
    """Whether the rows of `counts` are the sums of rows of `parts`."""
    sums, whole = (table.groupby(_keys(counts))[["count", "exposure_s"]].sum() for table in (parts, counts))
    return sums.index.equals(whole.index) and np.allclose(sums, whole, rtol=1e-9, atol=0)


def check_sums(member_counts: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Raises InputError where the rows of `counts` are not the sums of the members' rows."""
    if not adds_up(member_counts, counts):
        raise InputError("counts of the members do not add up to those of all runs: are the files of one analysis?")


def without_member(member_counts: pd.DataFrame, counts: pd.DataFrame, member: int) -> pd.DataFrame:
    """Counts of all members but one, in rows of `counts`, the table of all; their Fano factors are those of all."""
    keys = _keys(counts)
    part = member_counts[member_counts["member"] != member].groupby(keys)[["count", "exposure_s"]].sum()
    rest = counts.drop(columns=["count", "exposure_s"]).set_index(keys)
    return part.join(rest).reset_index()


def widened(
    model: RateModel, fit: Fit, counts: pd.DataFrame, member_counts: pd.DataFrame
) -> tuple[RateModel, MemberSpread]:
    """The model with the variance among members in its covariance, and their spread (`MemberSpread`).

    fit: makes a model of counts with the covariance of sampling alone; counts, member_counts: as `analyse_jumps.py`
    writes them, for two members or more. Raises InputError where the runs of all members but one do not make a model.
    """
    members = sorted(member_counts["member"].unique())
    thermal = BOLTZMANN_EV_PER_K / float((1 / counts["temperature_K"]).mean())
    # Rows: ln ν, E/kT of all orbits but the first, ln k of each class from its first orbit, strength of interactions.
    orbits = len(model.orbits) - 1
    rows = np.eye(len(model.parameters))
    rows[1 : 1 + orbits] /= thermal
    rows[1 + orbits : 1 + orbits + len(model.classes)] = [
        model.log_rate_row(key, thermal / BOLTZMANN_EV_PER_K) for key in model.classes
    ]
    sampled = np.diag(rows @ fit(counts).covariance @ rows.T)
    left = np.array([fit(without_member(member_counts, counts, member)).parameters for member in members]) @ rows.T
    jackknife = (len(members) - 1) / len(members) * ((left - left.mean(axis=0)) ** 2).sum(axis=0)
    stretch = widening(len(members)) ** 2 * over_members(len(members))
    variance = stretch * len(members) * np.maximum(0, jackknife - sampled)
    back = np.linalg.inv(rows)
    deviation = np.sqrt(variance)
    of_classes = deviation[1 + orbits : 1 + orbits + len(model.classes)]
    spread = MemberSpread(
        temperature_K=thermal / BOLTZMANN_EV_PER_K,
        ln_prefactor=float(deviation[0]),
        site_energies_eV=dict(zip(model.orbits[1:], (thermal * deviation[1 : 1 + orbits]).tolist(), strict=True)),
        ln_rates={name: float(value) for (name, _, _), value in zip(model.classes, of_classes, strict=True)},
        strength=float(deviation[-1]) if model.interacting else 0.0,
    )
    return replace(model, covariance=model.covariance + back @ np.diag(variance) @ back.T), spread
