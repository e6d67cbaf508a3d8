"""Spectra of static and of spinning powders through mrsimulator (D. J. Srivastava et al., J. Chem. Phys. 161, 212501
(2024)): first- and second-order quadrupolar interaction, and shieldings where there are some.

One ion on a site is one spin; rigid is the superposition over sites, fast the spectrum of the mean tensors. Exchange in
between is not modelled, nor are dipolar couplings (their width enters as a broadening), pulses of finite length and
spinning off the magic angle. mrsimulator gives all transitions m ↔ m−1 one weight, so each is simulated alone and
weighed here, ∝ I(I+1) − m(m−1), as after a short hard pulse.

Frequencies are in Hz from the reference compound, or where there is no shielding from the Larmor frequency, and grow
with the shift (deshielded is positive), whatever the sign of γ. Intensities in 1/Hz; area 1 over all transitions.
"""

import numpy as np
from mrsimulator import Simulator, SpinSystem
from mrsimulator.method import Method, SpectralDimension
from mrsimulator.spin_system.isotope import Isotope

from insilico_nmr.errors import InputError
from insilico_nmr.generator import check_populations
from insilico_nmr.nuclei import Nucleus
from insilico_nmr.powder import frequency_unit, transitions
from insilico_nmr.spin_systems import DENSITY, spin_systems

MAGIC_ANGLE = np.arccos(1 / np.sqrt(3))
MOST_POINTS = 1 << 17
MOST_SIDEBANDS = 4096
POINTS_A_WIDTH = 8  # points of the axis in a line's full width
LOST = 2e-3  # part of a transition that may lie beyond the axis
GAMMA_AGREES = 1e-3  # to which mrsimulator's own table of nuclei has to be ours


def larmor_Hz(nucleus: Nucleus, field_T: float) -> float:
    """Size of the Larmor frequency. Raises InputError for a field that is not positive."""
    if not (np.isfinite(field_T) and field_T > 0):
        raise InputError(f"field {field_T:g} T: expected a positive one")
    return abs(nucleus.gamma) * field_T / (2 * np.pi)


def frequency_axis(
    tensors: np.ndarray,
    nucleus: Nucleus,
    field_T: float,
    spin_rate_Hz: float,
    lorentz_Hz: float,
    gauss_Hz: float = 0.0,
    shifts_ppm: float = 0.0,
    central: bool = False,
) -> np.ndarray:
    """Even axis (n,), Hz, n even, that holds the spectra of tensors (..., 3, 3) in a.u. and of shifts up to a size.

    1.3 times the widest first-order pattern (none with `central`, that line alone), what second order and shifts may
    move lines by, and ten widths and two spin rates to either side. Raises InputError for a broadening, field or
    spin rate that cannot be, and where the axis would have more than MOST_POINTS points.
    """
    width = lorentz_Hz + gauss_Hz
    if not width > 0 or min(lorentz_Hz, gauss_Hz) < 0:
        raise InputError(
            f"broadening {lorentz_Hz} Hz (Lorentz), {gauss_Hz} Hz (Gauss): one must be positive, none negative"
        )
    _check_spin_rate(spin_rate_Hz)
    largest = np.abs(np.linalg.eigvalsh(tensors)).max() * abs(frequency_unit(nucleus))
    first = 0.0 if central else 1.3 * largest * transitions(nucleus.spin)[0].max()
    second = nucleus.spin * (nucleus.spin + 1) * largest**2 / larmor_Hz(nucleus, field_T)
    reach = first + second + 1.3 * shifts_ppm * 1e-6 * larmor_Hz(nucleus, field_T) + 10 * width + 2 * spin_rate_Hz
    step = width / POINTS_A_WIDTH
    half = int(np.ceil(reach / step))
    if 2 * half > MOST_POINTS:
        raise InputError(
            f"broadening {width:g} Hz: too small for spectra of ±{reach:.3g} Hz, which would have {2 * half} points; "
            f"expected at most {MOST_POINTS}"
        )
    return (np.arange(2 * half) - half) * step


def sideband_count(reach_Hz: float, spin_rate_Hz: float) -> int:
    """Number of sidebands, a power of two, that holds ±`reach_Hz` twice; too few fold back into the spectrum.

    Raises InputError where a spin rate is so slow that it would take more than MOST_SIDEBANDS.
    """
    if spin_rate_Hz == 0:
        return 1
    count = max(32, 1 << int(np.ceil(np.log2(4 * reach_Hz / spin_rate_Hz))))
    if count > MOST_SIDEBANDS:
        raise InputError(
            f"spin rate {spin_rate_Hz:g} Hz: too slow for spectra of ±{reach_Hz:.3g} Hz, {count} sidebands; expected 0 "
            f"or at most {MOST_SIDEBANDS} sidebands"
        )
    return count


def mas_spectrum(
    populations: np.ndarray,
    tensors: np.ndarray,
    nucleus: Nucleus,
    field_T: float,
    spin_rate_Hz: float,
    axis_Hz: np.ndarray,
    shieldings: np.ndarray | None = None,
    reference_ppm: float = 0.0,
    central: bool = False,
    density: int = DENSITY,
) -> dict[str, np.ndarray]:
    """Spectra (n,), 1/Hz, `central` and `satellites`, of spins at rest on their sites, on an even axis; no broadening.

    `populations` (S,), `tensors` (S, 3, 3) in a.u., `shieldings` (S, 3, 3) in ppm with that of the reference compound.
    Both together have area 1; with `central` the central line has it and there are no satellites. A nucleus of integer
    spin has no central line. Raises InputError for a field, spin rate, nucleus or axis that does not do.
    """
    check_populations(populations, len(tensors))
    _check_spin_rate(spin_rate_Hz)
    _check_nucleus(nucleus)
    larmor_Hz(nucleus, field_T)
    multipliers, intensities = transitions(nucleus.spin)
    chosen = multipliers == 0 if central else np.full(len(multipliers), True)
    if not chosen.any():
        raise InputError(f"{nucleus.isotope} has spin {nucleus.spin:g}: it has no central line")
    if shieldings is None:
        # Of one tensor alone an octant of directions is enough, and orientation does not matter.
        values, members = _distinct(tensors)
        populations, tensors = np.bincount(members, weights=populations), values
    systems = [
        SpinSystem(**system)
        for system in spin_systems(populations, tensors, nucleus, shieldings, reference_ppm)
        if system["abundance"] > 0
    ]
    step = float(axis_Hz[1] - axis_Hz[0])
    shape = {
        "count": len(axis_Hz),
        "spectral_width": len(axis_Hz) * step,
        "reference_offset": float(axis_Hz[len(axis_Hz) // 2]),
    }
    methods = [
        Method(
            channels=[nucleus.isotope],
            magnetic_flux_density=field_T,
            rotor_frequency=float(spin_rate_Hz),
            rotor_angle=float(MAGIC_ANGLE),
            # m → m−1 has (m−1)² − m² = −2(m − ½).
            spectral_dimensions=[
                SpectralDimension(
                    **shape, events=[{"transition_queries": [{"ch1": {"P": [-1], "D": [round(-2 * multiplier)]}}]}]
                )
            ],
        )
        for multiplier in multipliers[chosen]
    ]
    simulator = Simulator(spin_systems=systems, methods=methods)
    simulator.config.integration_density = density
    simulator.config.integration_volume = "octant" if shieldings is None else "hemisphere"
    simulator.config.number_of_sidebands = sideband_count(np.abs(axis_Hz).max(), spin_rate_Hz)
    simulator.run(pack_as_csdm=False)
    spectra = {"central": np.zeros(len(axis_Hz)), "satellites": np.zeros(len(axis_Hz))}
    total = intensities[chosen].sum()
    for method, multiplier, intensity in zip(
        simulator.methods, multipliers[chosen], intensities[chosen] / total, strict=True
    ):
        found = np.asarray(method.simulation).real.reshape(-1)
        area = found.sum() * step / 100
        if not area > 1 - LOST:
            raise InputError(
                f"frequency axis from {axis_Hz[0]:.4g} to {axis_Hz[-1]:.4g} Hz: {100 * (1 - area):.2g} % of a "
                "transition lies beyond it"
            )
        spectra["central" if multiplier == 0 else "satellites"] += intensity * found / (found.sum() * step)
    return spectra


def _distinct(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal tensors (D, 3, 3) that differ by more than a rotation, and which of them each of (S, 3, 3) is, (S,)."""
    scale = max(np.abs(tensors).max(), 1e-12)
    values, members = np.unique(np.round(np.linalg.eigvalsh(tensors) / scale, 9), axis=0, return_inverse=True)
    return scale * np.einsum("di,ij->dij", values, np.eye(3)), members.ravel()


def _check_spin_rate(spin_rate_Hz: float) -> None:
    if not (np.isfinite(spin_rate_Hz) and spin_rate_Hz >= 0):
        raise InputError(f"spin rate {spin_rate_Hz:g} Hz: expected 0 (static) or more")


def _check_nucleus(nucleus: Nucleus) -> None:
    """Raise InputError where mrsimulator's table, which sets its Larmor frequency, disagrees with ours."""
    theirs = Isotope(symbol=nucleus.isotope)
    ours = nucleus.gamma / (2 * np.pi) * 1e-6
    if theirs.spin != nucleus.spin or abs(theirs.gyromagnetic_ratio / ours - 1) > GAMMA_AGREES:
        raise InputError(
            f"{nucleus.isotope}: mrsimulator has spin {theirs.spin:g} and {theirs.gyromagnetic_ratio:.6g} MHz/T, "
            f"resources/nuclei.csv has {nucleus.spin:g} and {ours:.6g} MHz/T"
        )
