"""Barriers of single hops on a potential: climbing-image nudged elastic band through ASE.

G. Henkelman, B. P. Uberuaga, H. Jónsson, J. Chem. Phys. 113, 9901 (2000); start path by image-dependent pair
potentials, S. Smidstrup, A. Pedersen, K. Stokbro, H. Jónsson, J. Chem. Phys. 140, 214106 (2014).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE

from insilico_nmr.crystal import Crystal, arrange, mobile_sites, supercell, supercell_cells
from insilico_nmr.errors import InputError

# Another atom that differs by more than this between the relaxed end points makes it a concerted process, Å.
SPECTATOR_A = 1.2
# Ends relax to this part of the force that images are left with: shelves 0.1 to 0.2 eV above a minimum look like one at
# 0.05 eV/Å.
END_FORCE = 0.2
# A dip in a path that relaxes further down than this is a shelf beside a minimum of another path, eV.
SHELF_EV = 0.05
MOST_MOVES = 1000


class NebFailed(InputError):
    """A hop without a barrier to trust. `status` is "no minimum" (it starts or ends in none) or "not converged"."""

    def __init__(self, status: str, reason: str):
        self.status = status
        super().__init__(f"{status}: {reason}")


@contextmanager
def breakdown_fails() -> Iterator[None]:
    """A potential that breaks down on the way leaves a hop without a barrier, and is no error."""
    try:
        yield
    except CalculationFailed as error:
        raise NebFailed("not converged", f"the potential breaks down: {error}") from None


@dataclass(frozen=True)
class Hop:
    """A relaxed hop: barriers from the lowest point on either side, energies (images,) relative to the first, eV.

    `path` holds the images, both ends included, positions unwrapped from one to the next, without calculators.
    """

    forward_eV: float
    backward_eV: float
    energies_eV: tuple[float, ...]
    path: tuple[Atoms, ...]


@dataclass(frozen=True)
class Start:
    """An ion about to hop: atoms with the ion at its site, index of the ion, displacement (3,) in Å to the target.

    `others` (n, 3): positions of all other sites of the network, Å; an ion that relaxes to one of them is elsewhere.
    `follower`: index and displacement (3,) of an ion that moves up to the site that is left, where one does.
    """

    atoms: Atoms
    ion: int
    displacement: np.ndarray
    others: np.ndarray
    follower: tuple[int, np.ndarray] | None = None


def jump_of_class(sites: dict, entry: dict) -> dict:
    """The first entry of sites["jumps"] that belongs to an entry of sites["classes"], in its direction."""
    return next(
        jump
        for jump in sites["jumps"]
        if jump["class"] == entry["name"] and sites["sites"][jump["from"]]["orbit"] == entry["from"]
    )


def hop_start(
    crystal: Crystal,
    sites: dict,
    repeat: tuple[int, int, int],
    jump: dict,
    min_distance_A: float,
    seed: int,
    follow: bool = False,
    calculator: Calculator | None = None,
) -> Start:
    """The jump (an entry of sites["jumps"]) from cell 0 in an arrangement of the other ions drawn with `seed`.

    With `calculator` the other ions then go from site to vacant site as long as that lowers the energy: drawn at the
    stated occupancies, which are those of a hot crystal, many would leave their sites as soon as they relax.
    With `follow` the ion whose own jump to the site that is left is most nearly in line with this one moves up.
    Raises InputError where the supercell is so small that the jump ends on an image of its own start, and where no ion
    is there to follow.
    """
    mobile, m = sites["mobile"], len(sites["sites"])
    cells = supercell_cells(repeat)
    target = int(np.nonzero((cells == np.array(jump["image"]) % repeat).all(axis=1))[0][0])
    start, end = jump["from"], target * m + jump["to"]
    if start == end:
        raise InputError(f"in a supercell of {repeat} the jump {jump['class']} ends on an image of its own start")
    occupied = arrange(crystal, mobile, repeat, seed, min_distance_A, filled=start, empty=end)
    positions = mobile_sites(crystal, mobile, repeat)
    if calculator is not None:
        occupied = _lowered(supercell(crystal, mobile, repeat, occupied), occupied, positions, start, end,
                            min_distance_A, calculator, np.random.default_rng(seed))  # fmt: skip
    atoms = supercell(crystal, mobile, repeat, occupied)
    displacement = _displacement(sites, jump)
    others = np.delete(positions, [start, end], axis=0)
    ion = int(np.nonzero(occupied == start)[0][0])
    if not follow:
        return Start(atoms, ion, displacement, others)
    behind = []
    for entry in sites["jumps"]:
        home = (cells == -np.array(entry["image"]) % repeat).all(axis=1).argmax() * m + entry["from"]
        if entry["to"] == jump["from"] and home in occupied and home != start:
            way = _displacement(sites, entry)
            behind.append(
                (float(way @ displacement / np.linalg.norm(way)), int(np.nonzero(occupied == home)[0][0]), way)
            )
    if not behind:
        raise InputError(f"class {jump['class']}: no ion is beside the site that is left, to move up to it")
    _, follower, way = max(behind, key=lambda entry: entry[:2])
    return Start(atoms, ion, displacement, others, (follower, way))


def _lowered(
    atoms: Atoms,
    occupied: np.ndarray,
    positions: np.ndarray,
    start: int,
    end: int,
    min_distance_A: float,
    calculator: Calculator,
    rng: np.random.Generator,
) -> np.ndarray:
    """The occupied sites (ions,) after moves of single ions, other than that on `start`, to sites other than `end`.

    Moves are tried in random order, all from every arrangement or MOST_MOVES in all, and made where the energy at rest
    falls; the first atoms of `atoms` are the ions.
    """
    atoms.calc, occupied = calculator, occupied.copy()
    energy, tried, lowered = atoms.get_potential_energy(), 0, True
    while lowered:
        lowered = False
        vacant = np.setdiff1d(np.arange(len(positions)), [*occupied, end])
        moves = [(ion, site) for ion in np.flatnonzero(occupied != start) for site in vacant]
        for ion, site in rng.permutation(moves):
            if tried == MOST_MOVES:
                return occupied
            before = atoms.positions[ion].copy()
            atoms.positions[ion] = positions[site]
            if np.delete(atoms.get_distances(ion, range(len(occupied)), mic=True), ion).min() < min_distance_A:
                atoms.positions[ion] = before
                continue
            tried += 1
            try:
                trial = atoms.get_potential_energy()
            except CalculationFailed:
                trial = np.inf
            if trial < energy:
                energy, occupied[ion], lowered = trial, site, True
                break
            atoms.positions[ion] = before
    return occupied


def _displacement(sites: dict, jump: dict) -> np.ndarray:
    """From one site to the other, (3,), Å."""
    start, end = (np.array(sites["sites"][jump[side]]["position"]) for side in ("from", "to"))
    return (end + jump["image"] - start) @ np.array(sites["cell"])


def repeated(start: Start, relaxed: Atoms, times: tuple[int, int, int]) -> Start:
    """The same hop of one ion in so many copies of its cell, `relaxed` with the ion at its start; images stay there."""
    shifts = supercell_cells(times) @ start.atoms.cell[:]
    home = start.atoms.positions[start.ion]
    target = home + start.displacement
    # Start and end of this ion are no other sites, those of its images are.
    here = np.vstack([start.others, home, target])
    others = np.vstack([start.others, *(here + shift for shift in shifts if shift.any())])
    return Start(relaxed.repeat(times), start.ion, target - relaxed.positions[start.ion], others)


@breakdown_fails()
def find_barrier(
    start: Start, calculator: Calculator, images: int = 5, max_force: float = 0.05, max_steps: int = 300
) -> Hop:
    """Climbing-image barrier of one hop with `images` between the relaxed ends; `max_force` in eV/Å.

    The calculator is shared by all images. Raises NebFailed where an end point relaxes into the other or to another
    site, takes other ions along, where a dip on the way that counts as one is a shelf, or where the path does not
    converge in `max_steps` or has no saddle inside, and where the potential breaks down; InputError where the two sites
    coincide.
    """
    if np.linalg.norm(start.displacement) < 0.3:
        raise InputError(f"the hop of atom {start.ion} is {np.linalg.norm(start.displacement):.2f} Å long: one site?")
    home = start.atoms.positions[start.ion].copy()
    first = start.atoms.copy()
    relax(first, calculator, END_FORCE * max_force, 4 * max_steps, "start")
    _check_stayed(first, start, home, "start")
    # The end point starts from the relaxed surroundings of the start, so that only the hop tells them apart.
    last = first.copy()
    last.positions[start.ion] = home + start.displacement
    if start.follower:
        follower, way = start.follower
        last.positions[follower] = start.atoms.positions[follower] + way
    relax(last, calculator, END_FORCE * max_force, 4 * max_steps, "end")
    _check_stayed(last, start, home + start.displacement, "end")
    # Not by the nearest image: in a narrow cell another way to an image of the end may be shorter than this one.
    moved = np.linalg.norm(last.positions - first.positions, axis=1)
    if moved[start.ion] < 0.3:
        raise NebFailed("no minimum", f"start and end relax into each other, {moved[start.ion]:.2f} Å apart")
    moved[start.ion] = 0
    if start.follower:
        if moved[follower] < np.linalg.norm(way) / 2:
            raise NebFailed("no minimum", f"{first.symbols[follower]}{follower} does not move up behind the ion")
        moved[follower] = 0
    if moved.max() > SPECTATOR_A:
        other = moved.argmax()
        raise NebFailed("no minimum", f"{first.symbols[other]}{other} moves {moved.max():.1f} Å along with the hop")

    path = [first, *(first.copy() for _ in range(images)), last]
    for image in path:
        image.calc = calculator
    band = NEB(path, k=0.3, climb=False, method="improvedtangent", allow_shared_calculator=True)
    # Ions in a row keep their distance along straight lines; pair distances would drive them into each other.
    band.interpolate(method="linear" if start.follower else "idpp", mic=False)
    # The chain settles before the highest image starts to climb: off the path it would climb without end.
    FIRE(band, logfile=None).run(fmax=2 * max_force, steps=max_steps // 2)
    band.climb = True
    if not FIRE(band, logfile=None).run(fmax=max_force, steps=max_steps):
        raise NebFailed("not converged", f"forces above {max_force:g} eV/Å after {max_steps} steps")
    steps = np.array([np.linalg.norm(b.positions - a.positions) for a, b in pairwise(path)])
    if steps.min() < 0.05 * steps.mean():
        raise NebFailed("not converged", f"images {steps.argmin()} and {steps.argmin() + 1} lie on top of each other")
    energies = np.array([image.get_potential_energy() for image in path])
    energies -= energies[0]
    top = int(energies.argmax())
    if top in (0, len(path) - 1):
        raise NebFailed("no minimum", "the energy has no maximum between the end points")
    for name, lowest in zip(("start", "end"), bottoms(energies), strict=True):
        if lowest not in (0, len(path) - 1):
            _check_dip(path[lowest].copy(), calculator, END_FORCE * max_force, 4 * max_steps, name)
    forward, backward = heights(energies)
    return Hop(forward, backward, tuple(energies.tolist()), tuple(image.copy() for image in path))


def bottoms(energies_eV: np.ndarray) -> tuple[int, int]:
    """The lowest images before and after the highest of a path, whose energies are (images,)."""
    top = int(energies_eV.argmax())
    return int(energies_eV[: top + 1].argmin()), top + int(energies_eV[top:].argmin())


def heights(energies_eV: np.ndarray) -> tuple[float, float]:
    """Barriers forward and backward of energies along a path, (images,), each 0 where nothing is to be climbed.

    Where the path dips below an end point on its way, the ion starts from the bottom of the dip.
    """
    before, after = bottoms(energies_eV)
    return float(energies_eV.max() - energies_eV[before]), float(energies_eV.max() - energies_eV[after])


def relax(atoms: Atoms, calculator: Calculator, max_force: float, max_steps: int, name: str) -> None:
    """Bring atoms to rest, forces below `max_force`, eV/Å; raises NebFailed where that takes more than `max_steps`."""
    atoms.calc = calculator
    if not FIRE(atoms, logfile=None).run(fmax=max_force, steps=max_steps):
        raise NebFailed("not converged", f"forces at the {name} above {max_force:g} eV/Å after {max_steps} steps")


def _check_dip(image: Atoms, calculator: Calculator, max_force: float, max_steps: int, name: str) -> None:
    """Raise NebFailed where the bottom of a dip, which images hold with larger forces than ends, lies on a shelf."""
    image.calc = calculator
    before = image.get_potential_energy()
    relax(image, calculator, max_force, max_steps, f"dip beside the {name}")
    deeper = before - image.get_potential_energy()
    if deeper > SHELF_EV:
        raise NebFailed("no minimum", f"the dip beside the {name} relaxes to a minimum {deeper:.2f} eV below the path")


def _check_stayed(atoms: Atoms, start: Start, site: np.ndarray, name: str) -> None:
    """Raise NebFailed where the ion is nearer to any other site than to the one it was put on."""
    ion = atoms.positions[start.ion]
    far = start.atoms.positions[start.ion] + (start.displacement if name == "start" else 0)
    own = float(find_mic(ion - site, atoms.cell)[1])
    nearest = find_mic(np.vstack([start.others, far]) - ion, atoms.cell)[1].min()
    if nearest < own:
        raise NebFailed("no minimum", f"at the {name} the ion relaxes {own:.1f} Å away, to another site")
