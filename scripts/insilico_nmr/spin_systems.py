"""One spin a site in the conventions of mrsimulator 1.0, and tensors rebuilt from them. Does not import mrsimulator.

mrsimulator's documentation does not fix its Euler angles; they follow from the frequencies that it gives for single
crystallites (tests/physics/test_mas.py asks it). With the field along (sin β′ cos α′, sin β′ sin α′, cos β′) for a
crystallite (α′, β′), it takes

- principal axes, as columns, R_z(−γ)R_y(−β)R_z(−α): the angles turn the principal frame into the crystal's, passively;
- both tensors in Haeberlen order |zz| ≥ |xx| ≥ |yy|, so that x and y of a field gradient are our y and −x;
- Cq = eQV_zz/h with its sign; zeta = σ_zz − σ_iso of the shielding, ppm, and isotropic_chemical_shift of the shift.

`eta` is the same number in both orders. Frame: that of the stored cell vectors.
"""

import numpy as np

from insilico_nmr.nuclei import Nucleus
from insilico_nmr.tensors import (
    asymmetry,
    efg_principal,
    euler_angles,
    reduced_anisotropy,
    shielding_principal,
    shift_ppm,
)

DENSITY = 70  # of mrsimulator's grid: 2556 directions of an octant
# Columns of a principal frame (x, y, z) of ours to (y, −x, z), which is right-handed too.
_HAEBERLEN = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])


def passive_angles(axes: np.ndarray) -> np.ndarray:
    """mrsimulator's (α, β, γ), rad, (..., 3), of right-handed principal axes (..., 3, 3; columns, Haeberlen order).

    0 ≤ α < π, 0 ≤ β ≤ π/2, 0 ≤ γ < 2π.
    """
    first, second, third = np.moveaxis(np.radians(euler_angles(axes)), -1, 0)
    # R_z(a)R_y(b)R_z(c) = R_z(a + π)R_y(−b)R_z(c − π), and a turn by π about z leaves a principal frame what it is.
    return np.stack([-third % np.pi, second, (np.pi - first) % (2 * np.pi)], axis=-1)


def axes_of(angles: np.ndarray) -> np.ndarray:
    """Principal axes (..., 3, 3; columns) of mrsimulator's angles (..., 3), rad."""
    alpha, beta, gamma = np.moveaxis(np.asarray(angles, float), -1, 0)
    return _about_z(-gamma) @ _about_y(-beta) @ _about_z(-alpha)


def quadrupolar(tensors: np.ndarray, nucleus: Nucleus) -> dict[str, np.ndarray]:
    """Cq (Hz, with its sign), eta, alpha, beta, gamma (rad) of field gradients (..., 3, 3) in a.u., each (...)."""
    values, axes = efg_principal(tensors)
    alpha, beta, gamma = np.moveaxis(passive_angles(axes @ _HAEBERLEN), -1, 0)
    return {"Cq": nucleus.coupling_per_au * values[..., 2], "eta": asymmetry(values)} | {
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
    }


def shielding(tensors: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """σ_iso (...) in ppm, and zeta (ppm), eta, alpha, beta, gamma (rad), of shieldings (..., 3, 3) in ppm.

    The antisymmetric part does not enter (it is second order in a spectrum).
    """
    iso, values, axes = shielding_principal(tensors)
    alpha, beta, gamma = np.moveaxis(passive_angles(axes), -1, 0)
    zeta, eta = reduced_anisotropy(iso, values)
    return iso, {"zeta": zeta, "eta": eta, "alpha": alpha, "beta": beta, "gamma": gamma}


def rebuilt(size: np.ndarray, eta: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Symmetric traceless tensors (..., 3, 3) of zz values (...), asymmetries (...) and angles (..., 3), rad.

    The inverse of `quadrupolar` (C_Q for size: the tensor in Hz) and `shielding` (zeta: in ppm).
    """
    size, eta = np.asarray(size, float), np.asarray(eta, float)
    values = size[..., None] * np.stack([-(1 + eta) / 2, -(1 - eta) / 2, np.ones_like(eta)], axis=-1)
    axes = axes_of(angles)
    return np.einsum("...ik,...k,...jk->...ij", axes, values, axes)


def spin_systems(
    populations: np.ndarray,
    tensors: np.ndarray,
    nucleus: Nucleus,
    shieldings: np.ndarray | None = None,
    reference_ppm: float | None = None,
) -> list[dict]:
    """mrsimulator's spin systems, plain numbers in its units (Hz, rad, ppm, %): one a site, abundances of sum 100.

    `populations` (S,) of sum 1, `tensors` (S, 3, 3) in a.u., `shieldings` (S, 3, 3) in ppm or none; a shift only with
    the shielding of a reference.
    """
    efg = quadrupolar(tensors, nucleus)
    systems = []
    for index, share in enumerate(populations):
        site = {"isotope": nucleus.isotope, "quadrupolar": {name: float(value[index]) for name, value in efg.items()}}
        if shieldings is not None:
            iso, parts = shielding(shieldings[index])
            if reference_ppm is not None:
                site["isotropic_chemical_shift"] = float(shift_ppm(iso, reference_ppm))
            site["shielding_symmetric"] = {name: float(value) for name, value in parts.items()}
        # A sum of populations may come to a little more than 1, which mrsimulator refuses.
        systems.append({"sites": [site], "abundance": min(100 * float(share), 100.0)})
    return systems


UNITS = {
    "Cq": "Hz",
    "zeta": "ppm",
    "isotropic_chemical_shift": "ppm",
    "abundance": "%",
    "alpha": "rad",
    "beta": "rad",
    "gamma": "rad",
}


def with_units(value: object, name: str = "") -> object:
    """Numbers as mrsimulator's files have them, texts such as "1.5 rad"; ten digits, so that equal sites look so."""
    if isinstance(value, dict):
        return {key: with_units(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [with_units(item) for item in value]
    if isinstance(value, float):
        return f"{value:.10g} {UNITS[name]}" if name in UNITS else float(f"{value:.10g}")
    return value


def _about_z(angle: np.ndarray) -> np.ndarray:
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([np.stack([c, -s, zero], -1), np.stack([s, c, zero], -1), np.stack([zero, zero, one], -1)], -2)


def _about_y(angle: np.ndarray) -> np.ndarray:
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([np.stack([c, zero, s], -1), np.stack([zero, one, zero], -1), np.stack([-s, zero, c], -1)], -2)
