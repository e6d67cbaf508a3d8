"""Crystals with partly occupied sites: what a CIF says, and ordered supercells to start molecular dynamics from.

Fractional coordinates x are rows; a symmetry operation is x → R x + t with integer R in the basis of the cell vectors.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms
from ase.geometry import cell_to_cellpar
from ase.io.cif import parse_cif
from ase.neighborlist import neighbor_list
from ase.spacegroup.spacegroup import SpacegroupError

from insilico_nmr.errors import InputError, naming
from insilico_nmr.files import atomic_path

# Images of an atom closer than this are one atom on a special position that the CIF rounded, Å.
MERGE_A = 0.1
# Above this a site counts as full.
FULL = 0.999


@dataclass(frozen=True)
class Orbit:
    """Atoms that symmetry makes equal: positions (n, 3) fractional in [0, 1), the first is the representative.

    `operation` (n,) numbers an operation of the crystal that maps the representative to each position; `stabiliser`
    numbers those that leave the representative where it is, up to whole cells.
    """

    label: str
    element: str
    wyckoff: str
    occupancy: float
    positions: np.ndarray
    operation: np.ndarray
    stabiliser: np.ndarray


@dataclass(frozen=True)
class Crystal:
    """Cell (3, 3) rows in Å, operations as rotations (g, 3, 3) int and translations (g, 3), orbits of atoms."""

    cell: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    orbits: tuple[Orbit, ...]

    def mobile_orbits(self, element: str) -> tuple[Orbit, ...]:
        """Orbits of the mobile element. Raises InputError where there is none."""
        found = tuple(orbit for orbit in self.orbits if orbit.element == element)
        if not found:
            present = ", ".join(sorted({orbit.element for orbit in self.orbits}))
            raise InputError(f"no site of the mobile element {element}; the crystal has {present}")
        return found

    def host(self, mobile: str) -> Atoms:
        """One cell of everything that does not move. Raises InputError where a host site is not full."""
        fixed = [orbit for orbit in self.orbits if orbit.element != mobile]
        for orbit in fixed:
            if orbit.occupancy < FULL:
                raise InputError(f"host site {orbit.label} has the occupancy {orbit.occupancy:g}; expected 1")
        symbols = [orbit.element for orbit in fixed for _ in orbit.positions]
        positions = np.concatenate([orbit.positions for orbit in fixed]) if fixed else np.empty((0, 3))
        return Atoms(symbols, scaled_positions=positions, cell=self.cell, pbc=True)

    def cartesian_rotations(self) -> np.ndarray:
        """Rotations as orthogonal Cartesian matrices (g, 3, 3), active.

        Raises InputError where the cell does not have the symmetry that the operations claim.
        """
        matrices = self.cell.T @ self.rotations @ np.linalg.inv(self.cell.T)
        bent = np.abs(matrices @ np.swapaxes(matrices, 1, 2) - np.eye(3)).max(axis=(1, 2))
        if bent.max() > 1e-4:
            raise InputError(
                f"the cell does not have the space group's symmetry (operation {bent.argmax()} strains it)"
            )
        return matrices


def wrapped(positions: np.ndarray) -> np.ndarray:
    """Fractional positions in [0, 1); what rounding left just below a whole number is that number, so 0."""
    return np.where(np.abs(positions - np.round(positions)) < 1e-9, 0.0, positions % 1.0)


def _orbit_positions(crystal_cell, rotations, translations, start, label) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, an operation to each, and the stabiliser of one atom; a rounded special position is made exact."""
    images = rotations @ start + translations
    offset = images - start
    offset -= np.round(offset)
    stabiliser = np.nonzero(np.linalg.norm(offset @ crystal_cell, axis=1) < MERGE_A)[0]
    start = start + offset[stabiliser].mean(axis=0)
    images = rotations @ start + translations
    operation: list[int] = []
    for number, image in enumerate(images):
        difference = images[operation] - image
        difference -= np.round(difference)
        if not (np.linalg.norm(difference @ crystal_cell, axis=1) < MERGE_A).any():
            operation.append(number)
    if len(operation) * len(stabiliser) != len(rotations):
        raise InputError(
            f"atom {label} at {np.round(start, 4).tolist()} lies near a special position but not on it: "
            f"{len(operation)} images of it and {len(stabiliser)} operations that fix it do not make the "
            f"{len(rotations)} operations of the space group"
        )
    # The identity comes first in every list, so that the representative is the first position.
    return wrapped(images[operation]), np.array(operation), stabiliser


def make_crystal(cell, rotations, translations, atoms: list[tuple[str, str, float, np.ndarray]]) -> Crystal:
    """Crystal of one atom (label, element, occupancy, fractional position) per orbit. Raises InputError.

    Operations that differ by whole cells are one. The identity must be among them; it is put first.
    """
    cell = np.asarray(cell, float)
    distinct = {}
    for rotation, translation in zip(np.asarray(rotations, int), np.asarray(translations, float), strict=True):
        translation = wrapped(translation)
        is_identity = (rotation == np.eye(3, dtype=int)).all() and not translation.any()
        # Twelfths suffice to tell the translations of all space groups apart.
        key = (not is_identity, rotation.tobytes(), tuple(np.round(translation * 24).astype(int) % 24))
        distinct[key] = (rotation, translation)
    if not any(not key[0] for key in distinct):
        raise InputError("the identity is not among the symmetry operations")
    operations = [value for key, value in sorted(distinct.items(), key=lambda item: item[0][0])]
    rotations, translations = (np.array(part) for part in zip(*operations, strict=True))
    orbits, taken = [], []
    for label, element, occupancy, position in atoms:
        if not np.isfinite(position).all():
            raise InputError(f"atom {label} has no finite position")
        if not 0 < occupancy <= 1:
            raise InputError(f"atom {label} has the occupancy {occupancy:g}; expected more than 0 and at most 1")
        if label in taken:
            raise InputError(f"two atoms have the label {label}")
        taken.append(label)
        positions, operation, stabiliser = _orbit_positions(cell, rotations, translations, np.array(position), label)
        orbits.append(Orbit(label, element, str(len(positions)), occupancy, positions, operation, stabiliser))
    return Crystal(cell, rotations, translations, _with_wyckoff_letters(cell, orbits, len(rotations)))


def _with_wyckoff_letters(cell: np.ndarray, orbits: list[Orbit], order: int) -> tuple[Orbit, ...]:
    """Letters from spglib; where it finds another symmetry than the operations have, the multiplicity stands alone."""
    positions = np.concatenate([orbit.positions for orbit in orbits])
    kinds = np.repeat(np.arange(1, len(orbits) + 1), [len(orbit.positions) for orbit in orbits])
    found = spglib.get_symmetry_dataset((cell, positions, kinds), symprec=1e-3)
    if found is None or len(found.rotations) != order:
        return tuple(orbits)
    first = np.concatenate([[0], np.cumsum([len(orbit.positions) for orbit in orbits])[:-1]])
    return tuple(
        Orbit(**(vars(orbit) | {"wyckoff": orbit.wyckoff + found.wyckoffs[n]}))
        for orbit, n in zip(orbits, first, strict=True)
    )


def read_crystal(path: str | Path) -> Crystal:
    """Crystal of the first data block of a CIF, partial occupancies kept. Raises InputError naming file and atom."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        block = next(iter(parse_cif(str(path))))
        atoms = block.get_unsymmetrized_structure()
        rotations, translations = block.get_spacegroup(True).get_op()
    except (StopIteration, RuntimeError, ValueError, KeyError, AssertionError, SpacegroupError) as error:
        raise InputError(f"{path}: not a CIF with a cell, atoms and a space group ({error})") from None
    if atoms.cell.rank < 3:
        raise InputError(f"{path}: no cell")
    labels = block.get("_atom_site_label") or [f"{symbol}{n + 1}" for n, symbol in enumerate(atoms.symbols)]
    occupancies = block.get("_atom_site_occupancy") or [1.0] * len(atoms)
    for label, value in zip(labels, occupancies, strict=True):
        if not isinstance(value, int | float):
            raise InputError(f"{path}: atom {label} has the occupancy {value!r}; expected a number")
    with naming(path):
        listed = zip(labels, atoms.symbols, occupancies, atoms.get_scaled_positions(wrap=False), strict=True)
        return make_crystal(atoms.cell[:], rotations, translations, list(listed))


def write_crystal(path: str | Path, crystal: Crystal, comment: str) -> None:
    """Write a CIF that `read_crystal` reads back, atomically; `comment` is one line.

    The symmetry is in the list of all operations. The symbol is P 1 whatever it is, for readers such as ASE's add what
    a symbol stands for, in its standard setting, to the list.
    """
    lengths, angles = cell_to_cellpar(crystal.cell).reshape(2, 3)
    lines = [f"# {comment}", "data_crystal"]
    lines += [f"_cell_length_{axis} {length:.5f}" for axis, length in zip("abc", lengths, strict=True)]
    lines += [f"_cell_angle_{name} {angle:.5f}" for name, angle in zip(("alpha", "beta", "gamma"), angles, strict=True)]
    lines += ["_space_group_name_H-M_alt 'P 1'", "loop_", "_space_group_symop_operation_xyz"]
    lines += [f"'{_triplet(*operation)}'" for operation in zip(crystal.rotations, crystal.translations, strict=True)]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_{name}" for name in ("fract_x", "fract_y", "fract_z", "occupancy")]
    for orbit in crystal.orbits:
        x, y, z = orbit.positions[0]
        lines.append(f"{orbit.label} {orbit.element} {x:.5f} {y:.5f} {z:.5f} {orbit.occupancy:.5f}")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def _triplet(rotation: np.ndarray, translation: np.ndarray) -> str:
    """An operation as 'x, y, z' text."""
    parts = []
    for row, shift in zip(rotation, translation, strict=True):
        terms = "".join(
            f"{'+' if factor > 0 else '-'}{axis}" for factor, axis in zip(row, "xyz", strict=True) if factor
        )
        whole = Fraction(float(shift)).limit_denominator(24)
        parts.append(terms.lstrip("+") + (f"+{whole}" if whole else ""))
    return ", ".join(parts)


def ion_numbers(orbits: tuple[Orbit, ...], cells: int) -> list[int]:
    """Ions per orbit in so many cells: full orbits full, in all the rounded sum of occupancies, halves up."""
    exact = np.array([orbit.occupancy * len(orbit.positions) * cells for orbit in orbits])
    numbers = np.floor(exact + 1e-9).astype(int)
    missing = int(np.floor(exact.sum() + 0.5)) - numbers.sum()
    for n in np.argsort(numbers - exact, kind="stable")[:missing]:
        numbers[n] += 1
    return numbers.tolist()


def starting_structure(
    crystal: Crystal, mobile: str, repeat: tuple[int, int, int], seed: int, min_distance_A: float
) -> Atoms:
    """Supercell at the stated occupancies, mobile ions first, then the host; see `arrange` for how ions are placed."""
    return supercell(crystal, mobile, repeat, arrange(crystal, mobile, repeat, seed, min_distance_A))


def supercell_cells(repeat: tuple[int, int, int]) -> np.ndarray:
    """Cells (n, 3) of a supercell, in the order of their numbers."""
    return np.stack(np.meshgrid(*map(np.arange, repeat), indexing="ij"), axis=-1).reshape(-1, 3)


def mobile_sites(crystal: Crystal, mobile: str, repeat: tuple[int, int, int]) -> np.ndarray:
    """Positions (cells × m, 3), Å, of all sites of the mobile element; site number = cell number × m + site."""
    basis = np.concatenate([orbit.positions for orbit in crystal.mobile_orbits(mobile)])
    return (basis + supercell_cells(repeat)[:, None]).reshape(-1, 3) @ crystal.cell


def supercell(crystal: Crystal, mobile: str, repeat: tuple[int, int, int], occupied: np.ndarray) -> Atoms:
    """Ions on the numbered sites of `mobile_sites`, in that order, followed by the host."""
    host = crystal.host(mobile)
    cells = supercell_cells(repeat)
    host_positions = (host.get_scaled_positions() + cells[:, None]).reshape(-1, 3) @ crystal.cell
    return Atoms(
        [mobile] * len(occupied) + list(host.symbols) * len(cells),
        np.concatenate([mobile_sites(crystal, mobile, repeat)[occupied], host_positions]),
        cell=crystal.cell * np.array(repeat)[:, None],
        pbc=True,
    )


def arrange(
    crystal: Crystal,
    mobile: str,
    repeat: tuple[int, int, int],
    seed: int,
    min_distance_A: float,
    filled: int | None = None,
    empty: int | None = None,
) -> np.ndarray:
    """Numbers of occupied sites, (ions,), at the stated occupancies in a supercell.

    Full orbits are filled; ions of the others go to sites at random, no two ions closer than `min_distance_A`. Site
    `filled` is occupied and site `empty` is not, whatever their orbits; both keep the distance from all other ions, and
    an ion that finds its orbit full goes to another. Where occupancies fill all sites of the supercell, `empty` is a
    vacancy: there is one ion less. Raises InputError where a thousand attempts find no arrangement.
    """
    if min(repeat) < 1:
        raise InputError(f"repeat is {repeat}; expected three whole numbers of at least 1")
    orbits = crystal.mobile_orbits(mobile)
    positions = mobile_sites(crystal, mobile, repeat)
    cells = int(np.prod(repeat))
    lattice = Atoms(mobile * len(positions), positions, cell=crystal.cell * np.array(repeat)[:, None], pbc=True)
    near = np.zeros((len(positions), len(positions)), bool)
    near[neighbor_list("ij", lattice, min_distance_A)] = True
    orbit_of = np.tile(np.repeat(np.arange(len(orbits)), [len(orbit.positions) for orbit in orbits]), cells)

    blocked = np.zeros(len(positions), bool)
    for site in (filled, empty):
        if site is not None:
            blocked |= near[site]
            blocked[site] = True
    numbers = np.array(ion_numbers(orbits, cells))
    if empty is not None and numbers.sum() == len(positions):
        numbers[orbit_of[empty]] -= 1
    if filled is not None:
        # The ion there is one of its orbit's, or of the fullest other one where its own has none.
        own = orbit_of[filled]
        numbers[own if numbers[own] else numbers.argmax()] -= 1
    # Ions that the blocked sites leave without a place go where there is room.
    room = np.bincount(orbit_of[~blocked], minlength=len(orbits))
    surplus = np.maximum(numbers - room, 0).sum()
    numbers = np.minimum(numbers, room)
    for _ in range(surplus):
        numbers[(room - numbers).argmax()] += 1
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        chosen = _fill(orbit_of, numbers, near, blocked.copy(), rng)
        if chosen is not None:
            return np.array(chosen if filled is None else [filled, *chosen])
    raise InputError(
        f"no arrangement of {sum(ion_numbers(orbits, cells))} {mobile} ions keeps all pairs "
        f"{min_distance_A:g} Å apart; lower the distance"
    )


def _fill(orbit_of: np.ndarray, numbers: np.ndarray, near: np.ndarray, blocked: np.ndarray, rng) -> list[int] | None:
    """One attempt: sites with `numbers` of each orbit, none blocked, no two near; None where it gets stuck."""
    chosen: list[int] = []
    # Fullest orbits first: they leave the least choice.
    for orbit in np.argsort(-numbers / np.bincount(orbit_of, minlength=len(numbers)), kind="stable"):
        left = numbers[orbit]
        for site in rng.permutation(np.nonzero(orbit_of == orbit)[0]):
            if left and not blocked[site]:
                chosen.append(int(site))
                blocked |= near[site]
                blocked[site] = True
                left -= 1
        if left:
            return None
    return chosen
