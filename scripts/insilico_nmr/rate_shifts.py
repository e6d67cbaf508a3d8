"""The rate model moved by one standard deviation: what its uncertainty does to everything that ions' motion makes.

Parameters θ (ln ν, site energies, barrier tops, and the logarithm of the number of vacancies, where that is an input
with an error of its own) have a covariance C. Kinetic Monte Carlo cannot be run for every direction of it, so the few
are taken along which the outcome moves most: with G the derivatives, at all temperatures, of the logarithms of D, of
the exit rate and of the slowest rate at which one ion among mean occupations forgets its site, the leading right
singular vectors u of G C^½, and the steps C^½ u. Mean fields only choose the directions; what the moves do is
simulated. The strength of interactions, which mean fields do not feel, is the first direction where there are any, with
what goes with it of the other parameters; the others are those at one strength.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json
from insilico_nmr.generator import occupations
from insilico_nmr.lattice import Rates, read_network_rates
from insilico_nmr.lattice_gas import UNMOVED, Move
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.sites import concentration

STRENGTH = "interaction_strength"
SMALLEST_MODE = 1e-12  # of the fastest: below, an eigenvalue is noise


def read_rate_model(path: str | Path, sites: dict) -> dict:
    """The parameters written by fit_rates.py. Raises InputError where they do not belong to the sites."""
    model = read_json(path)
    missing = {"parameters", "covariance", "prefactor_per_s", "site_energies_eV", "barrier_tops_eV"} - set(model)
    if missing:
        raise InputError(f"{path}: no key {', '.join(sorted(missing))}; expected the model of fit_rates.py")
    unknown = {jump["class"] for jump in sites["jumps"]} - set(model["parameters"])
    if unknown:
        raise InputError(f"{path}: no barrier for class {', '.join(sorted(unknown))} of the sites")
    return model


def parameters_of(model: dict) -> np.ndarray:
    """θ, shape (P,), in the order of the model's "parameters": ln ν, then eV."""
    named = model["barrier_tops_eV"] | model["site_energies_eV"]
    named |= {STRENGTH: model.get(STRENGTH)}
    return np.array([np.log(model["prefactor_per_s"]), *(named[name] for name in model["parameters"][1:])])


def mean_field(sites: dict, model: dict, parameters: np.ndarray, temperature_K: float, filling: float) -> np.ndarray:
    """ln of tracer D (m²/s), of the exit rate and of the slowest mode (1/s) of one ion among mean occupations, (3,).

    The slowest mode is that of the sites of one primitive cell, images of a site being one; NaN where there is none, or
    where rounding hides it. The walk is reversible, so that D is the smallest value of Σ_ij p_i k_ij |d_ij + g_j −
    g_i|²/6 over vectors g at the sites (the effective conductivity of a network of resistors): no difference of large
    numbers, however unequal the rates are.
    """
    named = dict(zip(model["parameters"], parameters, strict=True))
    kT = BOLTZMANN_EV_PER_K * temperature_K
    orbit = [site["orbit"] for site in sites["sites"]]
    energy = np.array([named.get(label, 0.0) for label in orbit])
    start, end = (np.array([jump[key] for jump in sites["jumps"]]) for key in ("from", "to"))
    top = np.array([named[jump["class"]] for jump in sites["jumps"]])
    rate = np.exp(named["ln_prefactor"] - (top - energy[start]) / kT)
    filled = occupations(-energy / kT, filling)
    flux = filled[start] / filled.sum() * rate * (1 - filled[end])
    position = np.array([site["position"] for site in sites["sites"]])
    image = np.array([jump["image"] for jump in sites["jumps"]])
    step = (position[end] + image - position[start]) @ np.array(sites["cell"])
    weight = np.sqrt(flux / flux.max())
    difference = np.zeros((len(step), len(orbit)))
    difference[np.arange(len(step)), end] += 1
    difference[np.arange(len(step)), start] -= 1
    shift = np.linalg.lstsq(weight[:, None] * difference, -weight[:, None] * step, rcond=1e-13)[0]
    left = weight[:, None] * (step + difference @ shift)
    population = filled / filled.sum()
    among = coo_array((flux, (start, end)), shape=(len(orbit),) * 2).toarray()
    among = (among + among.T) / 2  # detailed balance: the same but for rounding
    np.fill_diagonal(among, -(among.sum(axis=1) - np.diag(among)))
    modes = np.sort(-np.linalg.eigvalsh(among / np.sqrt(np.outer(population, population))))
    parts = connected_components(coo_array((flux, (start, end)), shape=(len(orbit),) * 2), directed=False)[0]
    slowest = modes[parts] if parts < len(modes) and modes[parts] > SMALLEST_MODE * modes[-1] else np.nan
    return np.log([(left**2).sum() / 6 * flux.max() * 1e-20, flux.sum(), slowest])


def moved_filling(filling: float, step: np.ndarray) -> float:
    """Ions per site with exp(last of `step`) times the vacancies. Raises InputError where no ions would be left."""
    moved = 1 - (1 - filling) * float(np.exp(step[-1]))
    if not 0 < moved < 1:
        raise InputError(f"{1 - filling:.3g} vacancies per site within their factor leave {moved:.3g} ions per site")
    return moved


def steps(
    model: dict, sites: dict, temperatures_K: list[float], filling: float, vacancy_factor: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps of one standard deviation (P + 1, P + 1), the leading direction first, each one's share of variance, and
    the least part of any outcome's variance that the directions up to each one hold together. Of interacting ions there
    is one step more, before all others, by the interactions' strength; what share it has is not known (NaN).

    The last parameter is the logarithm of the number of vacancies. `filling`: ions per site; `vacancy_factor` is the
    factor, one standard deviation, within which the vacancies are known, 1 where they are exact. Signs are such that
    mean-field diffusion at the lowest temperature falls.
    """
    covariance, with_strength = np.array(model["covariance"], float), []
    if STRENGTH in model["parameters"]:
        at = model["parameters"].index(STRENGTH)
        along = covariance[at] / np.sqrt(covariance[at, at])
        covariance = covariance - np.outer(along, along)
        with_strength = [np.append(along, 0.0)]
    values, vectors = np.linalg.eigh(covariance)
    root = np.zeros((len(values) + 1,) * 2)
    root[:-1, :-1] = vectors * np.sqrt(np.maximum(values, 0))  # C = root rootᵀ
    root[-1, -1] = np.log(vacancy_factor)
    theta = parameters_of(model)
    columns = []
    for direction in root.T:
        outcomes = [
            [
                mean_field(sites, model, theta + move[:-1], T, moved_filling(filling, move))
                for T in sorted(temperatures_K)
            ]
            for move in (0.1 * direction, -0.1 * direction)
        ]
        columns.append((np.subtract(*outcomes) / 0.2).ravel())
    gradient = np.array(columns).T  # rows: the three logarithms at each temperature
    gradient = gradient[np.isfinite(gradient).all(axis=1)]
    _, sizes, right = np.linalg.svd(gradient, full_matrices=False)
    sign = -np.sign(gradient[0] @ right.T)
    along = (gradient @ right.T) ** 2
    held = (np.cumsum(along, axis=1) / np.maximum(along.sum(axis=1, keepdims=True), 1e-300)).min(axis=0)
    moves = (root @ right.T).T * np.where(sign == 0, 1, sign)[:, None]
    unknown = [np.nan] * len(with_strength)
    return (
        np.array([*with_strength, *moves]),
        np.append(unknown, sizes**2 / (sizes**2).sum()),
        np.append(unknown, held),
    )


def lengthening(shares: np.ndarray, count: int) -> float:
    """Factor on the steps of the directions taken, `count` with that of the strength (NaN in `shares`).

    One over the root of the part that they hold of the variance of all outcomes together, so that intervals are as wide
    as all directions would make them: somewhat too wide for outcomes that these move most, too narrow for others.
    """
    return float(1 / np.sqrt(np.nansum(shares[:count]) or 1.0))


def moved_rates(rates: Rates, model: dict, step: np.ndarray, temperature_K: float) -> Rates:
    """`rates` at a temperature with the parameters moved by `step` (P + 1,).

    Detailed balance holds, and a top that sinks below a site stays level with it: no barrier becomes negative.
    """
    moved = dict(zip(model["parameters"], step[:-1], strict=True))
    there = dict(zip(model["parameters"], parameters_of(model) + step[:-1], strict=True))
    kT = BOLTZMANN_EV_PER_K * temperature_K
    found = {}
    for (name, start, end), rate in rates.items():
        sunk = max(0.0, max(there.get(start, 0.0), there.get(end, 0.0)) - there[name])
        barrier = moved[name] + sunk - moved.get(start, 0.0)
        found[name, start, end] = rate * np.exp(moved["ln_prefactor"] - barrier / kT)
    return found


def add_rate_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the programs that simulate with rates: those of the table or of the model moved, and how many ions."""
    parser.add_argument("--concentration", type=float, help="ions per site, between 0 and 1 (default: the crystal's)")
    parser.add_argument(
        "--vacancy-factor", type=float, default=1.0,
        help="factor, one standard deviation, within which the number of vacancies is known: with --shift (default: 1)",
    )  # fmt: skip
    parser.add_argument("--interactions", help="pairs of sites whose ions interact, JSON (default: none)")
    parser.add_argument("--rates", required=True, help="rate table, CSV; its rows of origin 'model' are used")
    parser.add_argument("--temperature", type=float, required=True, help="temperature in K, one of the rate table's")
    parser.add_argument("--rate-model", help="parameters of fit_rates.py, JSON: with --shift")
    parser.add_argument(
        "--shift", type=int, default=0, help="direction that the rate model is moved along (default: 0, none)"
    )
    parser.add_argument(
        "--shift-count", type=int, help="directions that are taken in all (default: every one): see --shift"
    )
    parser.add_argument("--shift-temperatures", type=float, nargs="+", metavar="T",
                        help="K, all temperatures of the study: the directions are chosen for these")  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """Rates, ions per site, and what becomes of interactions."""

    rates: Rates
    filling: float
    move: Move


def rates_asked_for(arguments: argparse.Namespace, sites: dict) -> Asked:
    """What `add_rate_arguments` ask for. Raises InputError where an argument does not fit."""
    if arguments.temperature <= 0:
        raise InputError(f"--temperature is {arguments.temperature:g}; expected more than 0 K")
    if not arguments.vacancy_factor >= 1:
        raise InputError(f"--vacancy-factor is {arguments.vacancy_factor:g}; expected at least 1")
    if not sites["jumps"]:
        raise InputError(f"{arguments.sites}: no jumps, so that no ion can ever move")
    filling = concentration(arguments.sites) if arguments.concentration is None else arguments.concentration
    rates = read_network_rates(arguments.rates, arguments.temperature, sites)
    if not arguments.shift:
        return Asked(rates, filling, UNMOVED)
    if arguments.rate_model is None or arguments.shift_temperatures is None:
        raise InputError("--shift needs --rate-model and --shift-temperatures")
    model = read_rate_model(arguments.rate_model, sites)
    moves, shares, held = steps(model, sites, arguments.shift_temperatures, filling, arguments.vacancy_factor)
    count = len(moves) if arguments.shift_count is None else arguments.shift_count
    if not 1 <= arguments.shift <= count <= len(moves):
        raise InputError(
            f"--shift is {arguments.shift} of --shift-count {count}; expected 1 to {len(moves)}, or 0 for no shift"
        )
    share, part = shares[arguments.shift - 1], held[count - 1]
    move = moves[arguments.shift - 1]
    if np.isfinite(share):
        longer = lengthening(shares, count)
        move = longer * move
        print(
            f"shift {arguments.shift}: {100 * share:.2g} % of the variance; of that of D, of the exit rate and of the "
            f"slowest mode at every temperature, all shifts hold at least {100 * part:.2g} %; steps are {longer:.2f} "
            "standard deviations for the others",
            file=sys.stderr,
        )
    else:
        print(f"shift {arguments.shift}: strength of interactions", file=sys.stderr)
    by_name = dict(zip(model["parameters"], move[:-1], strict=True))
    rates = moved_rates(rates, model, move, arguments.temperature)
    of_interactions = Move(by_name.get(STRENGTH, 0.0), float(np.exp(by_name["ln_prefactor"])))
    return Asked(rates, moved_filling(filling, move), of_interactions)
