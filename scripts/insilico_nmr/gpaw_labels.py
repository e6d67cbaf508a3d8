"""First-principles labels of a snapshot by GPAW: energy, forces, stress and field gradients of all atoms.

Runs in the interpreter that GPAW is installed for (`gpaw python`), which need not be the study's own: numpy and ASE
only. Plane-wave mode, PBE or another functional, projector augmented waves (P. E. Blöchl, Phys. Rev. B 50, 17953
(1994)) with data sets of GPAW's own generator.
"""

from dataclasses import dataclass
from math import ceil, pi

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from ase.units import Bohr

from insilico_nmr.errors import InputError
from insilico_nmr.tensors import L2_BASIS

RELAXATION_STEPS = 60
MESHES = {"gamma": "Gamma-centred", "monkhorst-pack": "Monkhorst-Pack"}
# Real spherical harmonics of l = 2 are n·M·n times this, with M the matrices of L2_BASIS, in the same order as GPAW's.
Y2_NORM = np.sqrt(15 / (8 * pi))


@dataclass(frozen=True)
class Level:
    """Level of theory. `k_length_A`: as many k points along an axis as make its length reach so many Å.

    `mesh`: "gamma", or "monkhorst-pack", which straddles the Γ point where numbers are even: H. J. Monkhorst, J. D.
    Pack, Phys. Rev. B 13, 5188 (1976).
    """

    functional: str
    cutoff_eV: float
    k_length_A: float
    setups: str
    mesh: str = "gamma"
    density_tolerance: float = 1e-5

    def __post_init__(self):
        if self.mesh not in MESHES:
            raise InputError(f"mesh of k points is {self.mesh!r}; expected one of {', '.join(MESHES)}")
        if not (self.cutoff_eV > 0 and self.k_length_A > 0):
            raise InputError(f"cut-off {self.cutoff_eV:g} eV and k length {self.k_length_A:g} Å must be positive")

    def k_points(self, atoms: Atoms) -> tuple[int, int, int]:
        """Number of k points along each cell vector."""
        first, second, third = (max(1, ceil(self.k_length_A / length - 1e-6)) for length in atoms.cell.lengths())
        return first, second, third

    def describe(self, atoms: Atoms, version: str) -> str:
        """The level of theory in words, as `dataset.check_one_level` compares them."""
        return (
            f"GPAW {version}, {self.functional}, plane waves {self.cutoff_eV:g} eV, PAW data sets {self.setups}, "
            f"{MESHES[self.mesh]} k points {'×'.join(map(str, self.k_points(atoms)))}"
        )


def gpaw_version() -> str:
    """Version of the GPAW that labels are made with."""
    from gpaw import __version__

    return __version__


def label(atoms: Atoms, level: Level, folder: str, log: str, relax_eV_per_A: float | None = None) -> Atoms:
    """A copy of a snapshot with energy, forces, stress (eV, Å) and array "efg" (n, 3, 3) in atomic units.

    PAW data sets `<element>.<setups>.<functional>` are looked for in `folder`; GPAW's text goes to the file `log`.
    A frame's info key `charge` (in units of e, default 0) is that of its cell, against an even background: −1 for a
    vacancy of a cation of charge one. With `relax_eV_per_A` the atoms first move, in their fixed cell, until no force
    is larger.
    Raises InputError where the electronic structure or the relaxation does not converge or a data set is missing.
    """
    from gpaw import GPAW, PW, KohnShamConvergenceError, Mixer, setup_paths

    setup_paths.insert(0, folder)
    charge = _charge(atoms)
    calculation = GPAW(
        mode=PW(level.cutoff_eV),
        xc=level.functional,
        kpts={"size": level.k_points(atoms), "gamma": level.mesh == "gamma"},
        setups=level.setups,
        charge=charge,
        convergence={"density": level.density_tolerance},
        # No damping of long waves: ion conductors have a gap, and the default, meant for metals, takes twice as long.
        mixer=Mixer(0.3, 8, 1.0),
        maxiter=150,
        txt=log,
    )
    work = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True, calculator=calculation)
    try:
        if relax_eV_per_A is not None and not BFGS(work, logfile=None).run(relax_eV_per_A, RELAXATION_STEPS):
            raise InputError(f"forces stay above {relax_eV_per_A:g} eV/Å after {RELAXATION_STEPS} steps of relaxation")
        results = {
            "energy": work.get_potential_energy(),
            "forces": work.get_forces(),
            "stress": work.get_stress(),
        }
    except KohnShamConvergenceError as error:
        raise InputError(f"the electronic structure does not converge in 150 steps ({error}); see {log}") from None
    except FileNotFoundError as error:
        raise InputError(f"a PAW data set is missing in {folder}: {error}") from None
    except NameError as error:  # what GPAW's interface to libxc raises
        raise InputError(f"functional {level.functional!r} is unknown to GPAW ({error})") from None
    labelled = atoms.copy()
    labelled.positions = work.positions
    labelled.arrays["efg"] = field_gradients(calculation)
    labelled.info["source"] = f"GPAW {gpaw_version()}"
    labelled.info["level_of_theory"] = level.describe(atoms, gpaw_version())
    labelled.calc = SinglePointCalculator(labelled, **results)
    return labelled


def _charge(atoms: Atoms) -> float:
    stated = atoms.info.get("charge", 0)
    try:
        return float(stated)
    except (TypeError, ValueError):
        raise InputError(f"charge is {stated!r}; expected a number, in units of e") from None


def field_gradients(calculation) -> np.ndarray:
    """Field gradients of all atoms, shape (n, 3, 3), atomic units, of a converged plane-wave calculation of GPAW.

    V = ∂²φ/∂x∂x of the potential that a positive charge feels. H. M. Petrilli, P. E. Blöchl, P. Blaha, K. Schwarz,
    Phys. Rev. B 57, 14690 (1998): second derivatives of the pseudo charge's electrostatic potential, plus, inside
    each augmentation sphere, the l = 2 moments over r³ of the all-electron charge minus the pseudo charge.
    """
    smooth = _smooth_gradients(calculation)
    inside = np.array([_sphere_gradient(calculation.density, number) for number in range(len(smooth))])
    return smooth + inside


def _smooth_gradients(calculation) -> np.ndarray:
    """Part (n, 3, 3) of the plane-wave potential: −Σ_G φ(G) (G G − G²/3) e^{iG·R}."""
    atoms = calculation.atoms
    hamiltonian = calculation.hamiltonian
    potential = -hamiltonian.pd3.ifft(hamiltonian.vHt_q)  # GPAW's is the energy of an electron
    coefficients = np.fft.fftn(potential) / potential.size
    numbers = [np.fft.fftfreq(n, 1 / n) for n in potential.shape]
    # The highest frequency of an even mesh stands for +G and −G at once and has no second derivative.
    for axis, frequencies in enumerate(numbers):
        unpaired = np.abs(frequencies) * 2 == len(frequencies)
        coefficients[(slice(None),) * axis + (unpaired,)] = 0
    reciprocal = 2 * pi * np.linalg.inv(atoms.cell[:] / Bohr).T
    waves = np.stack(np.meshgrid(*numbers, indexing="ij"), axis=-1) @ reciprocal
    products = np.einsum("xyzi,xyzj->ijxyz", waves, waves)
    products -= np.trace(products) / 3 * np.eye(3)[:, :, None, None, None]
    products = products * coefficients
    gradients = np.empty((len(atoms), 3, 3))
    for number, place in enumerate(atoms.get_scaled_positions()):
        x, y, z = (np.exp(2j * pi * frequencies * part) for frequencies, part in zip(numbers, place, strict=True))
        gradients[number] = -np.einsum("ijxyz,x,y,z->ij", products, x, y, z, optimize=True).real
    return gradients


def _sphere_gradient(density, number: int) -> np.ndarray:
    """Part (3, 3) of what all-electron and pseudo charge differ by inside the augmentation sphere of one atom."""
    setup = density.setups[number]
    correction = setup.xc_correction
    occupation = density.D_asp[number].sum(axis=0)
    harmonics = np.inner(occupation, correction.B_pqL.T)[4:9]
    electrons = harmonics @ (correction.n_qg - correction.nt_qg)  # number density, positive
    compensation = (occupation @ setup.Delta_pL)[4:9]  # charges in units of an electron's
    shape = setup.g_lg[2]
    moments = _over_r_cubed(electrons, correction.rgd) - compensation * _over_r_cubed(shape, setup.rgd)
    # A charge −ρ_m(r) Y_m gives V = −(4π/5) ∫ρ_m/r dr ∂²(r² Y_m), and r² Y_m = Y2_NORM r·M_m·r.
    return -(4 * pi / 5) * 2 * Y2_NORM * np.einsum("m,mij->ij", moments, L2_BASIS)


def _over_r_cubed(radial: np.ndarray, grid) -> np.ndarray:
    """∫ f(r)/r³ r² dr over a radial grid of GPAW, f of shape (..., points); the point r = 0 contributes nothing."""
    points = radial.shape[-1]
    return (radial[..., 1:] / grid.r_g[1:points] * grid.dr_g[1:points]).sum(axis=-1)
