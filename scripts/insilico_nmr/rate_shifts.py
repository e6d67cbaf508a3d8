"""The rate model moved by one standard deviation: what its uncertainty does to everything that ions' motion makes.

Parameters θ (ln ν, site energies, barrier tops) have a covariance C. Kinetic Monte Carlo cannot be run for every
direction of it, so the few are taken along which the outcome moves most: with G the derivatives of ln D and of the
logarithmic exit rate of one ion among mean occupations at all temperatures, the leading right singular vectors u of
G C^½, and the steps C^½ u. Mean fields only choose the directions; what the moves do is simulated.
"""

from pathlib import Path

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json
from insilico_nmr.fits import BOLTZMANN_EV_PER_K
from insilico_nmr.generator import occupations
from insilico_nmr.lattice import Rates


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
    return np.array([np.log(model["prefactor_per_s"]), *(named[name] for name in model["parameters"][1:])])


def mean_field(sites: dict, model: dict, parameters: np.ndarray, temperature_K: float, filling: float) -> np.ndarray:
    """ln of tracer D (m²/s) and of the exit rate (1/s) of one ion among mean occupations, shape (2,).

    The walk is reversible, so that D is the smallest value of Σ_ij p_i k_ij |d_ij + g_j − g_i|²/6 over vectors g at the
    sites (the effective conductivity of a network of resistors): no difference of large numbers, however unequal the
    rates are.
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
    return np.log([(left**2).sum() / 6 * flux.max() * 1e-20, flux.sum()])


def steps(model: dict, sites: dict, temperatures_K: list[float], filling: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps of one standard deviation (P, P), the leading direction first, and the share of variance of each, (P,).

    `filling`: ions per site. Signs are such that mean-field diffusion at the lowest temperature falls.
    """
    values, vectors = np.linalg.eigh(np.array(model["covariance"], float))
    root = vectors * np.sqrt(np.maximum(values, 0))  # C = root rootᵀ
    theta = parameters_of(model)
    columns = []
    for direction in root.T:
        outcomes = [
            [mean_field(sites, model, theta + 0.1 * sign * direction, T, filling) for T in sorted(temperatures_K)]
            for sign in (1, -1)
        ]
        columns.append((np.subtract(*outcomes) / 0.2).ravel())
    gradient = np.array(columns).T  # rows: ln D and ln exit rate at each temperature
    _, sizes, right = np.linalg.svd(gradient, full_matrices=False)
    sign = -np.sign(gradient[0] @ right.T)
    return (root @ right.T).T * np.where(sign == 0, 1, sign)[:, None], sizes**2 / (sizes**2).sum()


def moved_rates(rates: Rates, model: dict, step: np.ndarray, temperature_K: float) -> Rates:
    """`rates` at a temperature with the parameters moved by `step` (P,); detailed balance holds."""
    moved = dict(zip(model["parameters"], step, strict=True))
    kT = BOLTZMANN_EV_PER_K * temperature_K
    return {
        (name, start, end): rate * np.exp(moved["ln_prefactor"] - (moved[name] - moved.get(start, 0.0)) / kT)
        for (name, start, end), rate in rates.items()
    }
