"""Dipolar second moments of mobile spins, at rest and hopping, and the width of the central line that they give.

A pair of spins at distance r along a direction at θ to the field has the secular coupling D(1 − 3cos²θ), D =
(μ₀/4π)γ_Iγ_Sħ/r³. The second moment is that of J. H. Van Vleck, Phys. Rev. 74, 1168 (1948), M₂ = f Σ D²(1 − 3cos²θ)²,
where f follows from traces of spin operators, −Tr([H, X]²)/Tr(X²). Where field gradients differ from spin to spin and
exceed the couplings, only the central transitions of two like spins flip each other and the line observed is the
central one alone: `pair_factor` takes the traces over these (K. Kambe, J. F. Ollom, J. Phys. Soc. Jpn. 11, 50 (1956)).
For two spins 3/2 that gives 9/4. Spins of equal gradients flip each other in satellites too, 81/32, and those whose
gradients vanish or are averaged away have Van Vleck's 45/16: narrowed lines of like spins are wider than given here by
up to an eighth or a quarter.

When ions hop, M₂ becomes the correlation function M₂(t) of the couplings: averaged over a powder, each pair adds
(4/5) f D(0)D(t) P₂(cos γ), γ being the angle by which the vector has turned. The signal is that of a local field with
normal distribution, G(t) = exp[−∫₀^t (t − s) M₂(s) ds] (P. W. Anderson, P. R. Weiss, Rev. Mod. Phys. 25, 269 (1953)):
a Gaussian of M₂ at rest, a narrow Lorentzian when hops are fast. Rigid lines of real crystals are not exactly Gaussian,
and spins that flip each other do not narrow lines here. Couplings are secular: where hops are as fast as the Larmor
frequency, relaxation by the other terms adds a width of the same order.
"""

import numpy as np
from numba import njit
from scipy import constants
from scipy.optimize import brentq

from insilico_nmr.errors import InputError
from insilico_nmr.lattice import Lattice, widths_of
from insilico_nmr.nuclei import Nucleus, isotopes
from insilico_nmr.relaxation import Decay

POWDER = 0.8  # average of (1 − 3cos²θ)² over directions
REACH_A = 12.0  # pairs farther apart have less than a per cent of the second moment
FID_POINTS = 8192
END_OF_SIGNAL = 12.0  # the signal is followed until it is exp(−12)


def spin_operators(spin: float) -> tuple[np.ndarray, np.ndarray]:
    """I_z and I_+ in the basis m = I, I − 1, ..., each (2I + 1, 2I + 1)."""
    m = np.arange(spin, -spin - 1, -1)
    return np.diag(m), np.diag(np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), k=1)


def pair_factor(observed_spin: float, partner_spin: float | None = None) -> float:
    """f of the central line of a half-integer spin, so that a pair adds f D²(1 − 3cos²θ)² to the second moment.

    `partner_spin`: of an unlike spin, which gives S(S + 1)/3; None for a like one, of another field gradient. For spin
    ½ the result is Van Vleck's, (3/4)I(I + 1). Raises InputError for a spin that has no central transition.
    """
    if observed_spin % 1 != 0.5:
        raise InputError(f"spin {observed_spin:g} has no central transition; dipolar widths need a half-integer spin")
    Iz, Ip = spin_operators(observed_spin)
    middle = int(observed_spin - 0.5)
    raising = np.zeros_like(Ip)
    raising[middle, middle + 1] = Ip[middle, middle + 1]
    line = (raising + raising.T) / 2
    if partner_spin is not None:
        Sz, _ = spin_operators(partner_spin)
        H, X = np.kron(Iz, Sz), np.kron(line, np.eye(len(Sz)))
    else:
        one = np.eye(len(Iz))
        flips = np.kron(raising, raising.T)
        H, X = np.kron(Iz, Iz) - (flips + flips.T) / 4, np.kron(line, one) + np.kron(one, line)
    change = H @ X - X @ H
    return float(-np.trace(change @ change) / np.trace(X @ X))


def coupling(first: Nucleus, second: Nucleus) -> float:
    """(μ₀/4π)γ_Iγ_Sħ, rad/s·Å³."""
    return constants.mu_0 / (4 * np.pi) * first.gamma * second.gamma * constants.hbar * 1e30


def strength(observed: Nucleus, element: str) -> float:
    """Powder average of f (Dr³)² over the isotopes of an element in natural abundance, (rad/s)²·Å⁶.

    0 for an element of which resources/nuclei.csv has no isotope, be it that none has a spin.
    """
    total = 0.0
    for nucleus in isotopes(element):
        like = nucleus.isotope == observed.isotope
        factor = pair_factor(observed.spin, None if like else nucleus.spin)
        total += nucleus.abundance * factor * coupling(observed, nucleus) ** 2
    return POWDER * total


@njit(cache=True)
def _fall_off(x, y, z, u, v, w):
    """P₂(cos γ)/(r³r'³) of two vectors, Å⁻⁶."""
    first, second = x * x + y * y + z * z, u * u + v * v + w * w
    dot = x * u + y * v + z * w
    return (1.5 * dot * dot / (first * second) - 0.5) / (first * second) ** 1.5


@njit(cache=True)
def _correlate(records, cells, watched, cell, inverse, basis, host, host_kind, periods, reach_squared, images, out):
    """Add Σ P₂/(r³r'³) over pairs within reach at the first record to `out` (K, 1 + host kinds)."""
    count, ions = records.shape[0], records.shape[1]
    start = np.empty((ions, 3))
    path = np.empty((count, ions, 3))
    for n in range(ions):
        for k in range(count):
            record = records[k, n]
            for axis in range(3):
                path[k, n, axis] = basis[record[0], axis]
                for q in range(3):
                    path[k, n, axis] += (cells[n, q] + record[1 + q]) * cell[q, axis]
        start[n] = path[0, n]
    step = np.empty(3)
    for i in watched:
        for j in range(ions):
            if j == i:
                continue
            # The nearest image of j, which is then followed as one and the same neighbour.
            delta = start[j] - start[i]
            for q in range(3):
                step[q] = 0.0
                for axis in range(3):
                    step[q] -= delta[axis] * inverse[axis, q]
            whole = np.rint(step / periods) * periods
            for axis in range(3):
                for q in range(3):
                    delta[axis] += whole[q] * cell[q, axis]
            if delta[0] ** 2 + delta[1] ** 2 + delta[2] ** 2 > reach_squared:
                continue
            for k in range(count):
                u = delta + (path[k, j] - start[j]) - (path[k, i] - start[i])
                out[k, 0] += _fall_off(delta[0], delta[1], delta[2], u[0], u[1], u[2])
        home = basis[records[0, i, 0]]
        for h in range(len(host)):
            for a in range(-images[0], images[0] + 1):
                for b in range(-images[1], images[1] + 1):
                    for c in range(-images[2], images[2] + 1):
                        delta = host[h] - home + a * cell[0] + b * cell[1] + c * cell[2]
                        if delta[0] ** 2 + delta[1] ** 2 + delta[2] ** 2 > reach_squared:
                            continue
                        for k in range(count):
                            u = delta - (path[k, i] - start[i])
                            out[k, 1 + host_kind[h]] += _fall_off(delta[0], delta[1], delta[2], u[0], u[1], u[2])


def pair_sums(
    lattice: Lattice,
    sites: np.ndarray,
    records: np.ndarray,
    host: np.ndarray,
    host_kind: np.ndarray,
    watched: np.ndarray,
    reach_A: float = REACH_A,
) -> np.ndarray:
    """⟨Σ P₂(cos γ)/(r³r'³)⟩ of a watched ion, Å⁻⁶: columns mobile ions, then each kind of host atoms; (K, 1 + kinds).

    sites : (N,) where the ions were at the start of the simulation.
    records : (K, N, 4), `kmc.run_snapshots`; r is taken at the first, r' at each. Pairs within `reach_A` at first.
    host : (H, 3) Cartesian positions in the primitive cell, Å; host_kind : (H,) whole numbers from 0.
    watched : ions (n,) whose surroundings are summed.
    Raises InputError where the supercell is narrower than twice the reach.
    """
    narrowest = float(widths_of(lattice.cell * np.array(lattice.supercell)[:, None]).min())
    if narrowest < 2 * reach_A * (1 - 1e-9):
        raise InputError(
            f"supercell {lattice.supercell} is {narrowest:.1f} Å wide; pairs up to {reach_A:g} Å need {2 * reach_A:g} Å"
        )
    kinds = int(host_kind.max()) + 1 if len(host_kind) else 0
    out = np.zeros((len(records), 1 + kinds))
    images = np.ceil(reach_A / widths_of(lattice.cell)).astype(np.int64) + 1
    periods = np.array(lattice.supercell, float)
    _correlate(
        records, lattice.cells_of(sites), watched, lattice.cell, np.linalg.inv(lattice.cell), lattice.basis,
        host.reshape(-1, 3), host_kind.astype(np.int64), periods, reach_A**2, images, out,
    )  # fmt: skip
    return out / len(watched)


def rigid_width(second_moment: float) -> float:
    """Full width at half maximum in Hz of a Gaussian line of this second moment, (rad/s)²."""
    return float(2 * np.sqrt(2 * np.log(2) * second_moment) / (2 * np.pi))


def exponent(decay: Decay, time_s: np.ndarray) -> np.ndarray:
    """−ln G(t) at times (T,): each exponential of M₂(t), (rad/s)², adds weight·τ²(e^{−t/τ} − 1 + t/τ)."""
    phase = np.outer(time_s, decay.rate_per_s)
    # The series where the closed form would be a difference of nearly equal numbers.
    shape = np.where(phase < 1e-3, phase**2 / 2 - phase**3 / 6, np.expm1(-phase) + phase)
    return shape @ (decay.weight / decay.rate_per_s**2)


def anderson_weiss(decay: Decay) -> float:
    """Full width at half maximum, Hz, of the line of M₂(t), (rad/s)², given as a sum of exponentials.

    Raises InputError where there is no coupling.
    """
    if not decay.weight.sum() > 0:
        raise InputError("a dipolar correlation function that starts at 0: no spin is within reach of another")
    end = 1 / np.sqrt(decay.weight.sum())
    while exponent(decay, np.array([end]))[0] < END_OF_SIGNAL:
        end *= 1.5
    times = np.linspace(0, end, FID_POINTS)
    signal = np.exp(-exponent(decay, times))

    def intensity(omega: float) -> float:
        return float(np.trapezoid(signal * np.cos(omega * times), times))

    half, above = intensity(0.0) / 2, 1 / end
    while intensity(above) > half:
        above *= 2
    return float(brentq(lambda omega: intensity(omega) - half, 0, above, xtol=1e-9 * above) / np.pi)
