"""How large a box of a fixed number of interacting ions has to be.

In such a box an ion that leaves the ground state leaves a vacancy behind. Of z carriers of either sign in a piece of
that size of an endless lattice, where numbers are free, it has z I₁(2z)/I₀(2z) (modified Bessel functions: the numbers
of both are equal), 1 − 1/(4z) of them where z is large, and hardly any where it is small. The variance of the number of
ions in that piece is 2z. Ions and vacancies that stay together count for neither.

The variance is of Metropolis sampling with a chemical potential, of one site at a time, in a small box whose ions come
from nowhere (D. Frenkel, B. Smit, Understanding Molecular Simulation, 2nd ed. (2002), chapter 5). The potential is that
at which the mean number is what is asked for, to which what was sampled near it is reweighted.
"""

from collections.abc import Callable

import numpy as np
from numba import njit
from scipy.optimize import brentq
from scipy.special import logsumexp

from insilico_nmr import gas_kmc
from insilico_nmr.errors import InputError
from insilico_nmr.kernels import seeded, uniform
from insilico_nmr.lattice import grown_supercell
from insilico_nmr.lattice_gas import Gas

FEWEST_SWEEPS, MOST_SWEEPS = 10_000, 3_000_000  # of a run, a trial a site each
CHANGES = 1000  # of the number of ions in a run that tells their variance
ROUNDS = 30


def number_variance(gas: Gas, n_ions: int) -> float:
    """Variance per site of the number of ions in an endless lattice, whose mean is `n_ions` in this box.

    Raises InputError where that mean leaves no ion or no vacancy, where it is not met, and where numbers hardly vary.
    """
    lattice = gas.lattice
    if not 0 < n_ions < lattice.n_sites:
        raise InputError(f"{n_ions} ions on {lattice.n_sites} sites; expected at least one ion and one vacancy")
    partner = gas.partner.reshape(lattice.n_sites, -1)
    pair_kT = np.tile(-2 * np.log(gas.factor[:, 0, 0]), lattice.n_sites // len(gas.site_kT)).reshape(partner.shape)
    state = gas_kmc.start_in_equilibrium(gas.levelled, (n_ions,), np.random.default_rng(2))
    filled = state.ion >= 0
    energy = np.tile(gas.site_kT, lattice.n_sites // len(gas.site_kT))
    energy = energy + (pair_kT * (filled[partner] & (partner >= 0))).sum(axis=1)
    mu = (energy[filled].max() + energy[~filled].min()) / 2
    sweeps, rng = FEWEST_SWEEPS, seeded(np.uint64(3))
    for _ in range(ROUNDS):
        seen = np.zeros(lattice.n_sites + 1, np.int64)
        changes = _sample(sweeps * lattice.n_sites, mu, filled, energy, partner, pair_kT, seen, rng)
        numbers = np.flatnonzero(seen)
        if numbers[0] < n_ions < numbers[-1]:
            step, share = _share(numbers, np.log(seen[numbers]), n_ions)
            if changes >= CHANGES and abs(step) < 1:
                return float(share @ (numbers - n_ions) ** 2) / lattice.n_sites
            mu += step
        else:
            # Numbers to one side alone, or the mean's own alone.
            mu += np.sign(2 * n_ions - numbers[0] - numbers[-1])
        if changes < CHANGES:
            if sweeps == MOST_SWEEPS:
                raise InputError("carriers are too rare to be seen; simulate at a higher temperature")
            sweeps = min(4 * sweeps, MOST_SWEEPS)
    raise InputError(f"no chemical potential was found in {ROUNDS} rounds that puts {n_ions} ions on the box's sites")


@njit(cache=True)
def _sample(trials, mu, filled, energy, partner, pair_kT, seen, rng):
    """Fill and empty sites; `seen` gets how long each number of ions was there. Returns how often it changed."""
    n_sites, changes = len(filled), 0
    number = filled.sum()
    for _ in range(trials):
        site = int(uniform(rng) * n_sites)
        rise = energy[site] - mu
        if uniform(rng) < np.exp(rise if filled[site] else -rise):
            filled[site] = not filled[site]
            sign = 1 if filled[site] else -1
            number += sign
            changes += 1
            for q in range(partner.shape[1]):
                if partner[site, q] >= 0:
                    energy[partner[site, q]] += sign * pair_kT[site, q]
        seen[number] += 1
    return changes


def _share(numbers: np.ndarray, log_seen: np.ndarray, mean: float) -> tuple[float, np.ndarray]:
    """How much higher the chemical potential of that mean is, over kT, and the share of each number there."""

    def at(step: float) -> np.ndarray:
        log_p = log_seen + step * (numbers - mean)
        return np.exp(log_p - logsumexp(log_p))

    step = brentq(lambda step: at(step) @ numbers - mean, -100.0, 100.0, xtol=1e-9)
    return step, at(step)


def converged_gas(
    gas: Gas, n_ions: int, larger: Callable[[tuple[int, int, int]], Gas], source: str, moved: bool = False
) -> Gas:
    """The gas in a supercell whose carriers are those of an endless lattice, as far as `lattice.grown_supercell` goes.

    It is made by `larger(supercell)`, and grows from that of `gas`.
    """
    lattice, per_site = gas.lattice, number_variance(gas, n_ions)
    m = len(lattice.basis)

    def deviation(supercell: tuple[int, int, int]) -> float:
        return 1 / (2 * per_site * np.prod(supercell) * m)

    what = "carriers are about {:.0f} % fewer"
    supercell = grown_supercell(lattice.cell, m, lattice.supercell, deviation, what, source, moved)
    return gas if supercell == lattice.supercell else larger(supercell)
