"""Which reader a file needs: told by what the file begins with, and only where that says nothing by its name."""

from pathlib import Path

from ase import Atoms

from insilico_nmr.dataset import read_frames
from insilico_nmr.errors import InputError
from insilico_nmr.files import sha256
from insilico_nmr.readers import abinit, magres, qe_gipaw, vasp
from insilico_nmr.readers.printed import read_lines

# Enough for the headers of all codes; CASTEP, ABINIT and VASP say who they are in the first lines.
HEAD_CHARACTERS = 4096
KNOWN = "extended XYZ, .magres (CASTEP, QE-GIPAW), VASP OUTCAR, ABINIT or gipaw.x text output"


def read_output(path: str | Path, structure: str | Path | None = None) -> list[Atoms]:
    """Frames of one file, in the data contract (see insilico_nmr.dataset), whatever code wrote it.

    Reads extended XYZ (which is also what our own GPAW labelling writes; GPAW's text holds no tensors), .magres,
    VASP OUTCAR, ABINIT and gipaw.x text output. The text of gipaw.x has no cell: `structure` is then the pw.x
    output of the ground state under it. Frames of code outputs carry source, level_of_theory and output_sha256 (of
    the file) in `info`.

    Raises InputError for a file that no reader knows, and as the readers do.
    """
    path = Path(path)
    head = _head(path)
    if qe_gipaw.recognises(head):
        frames = [qe_gipaw.read(path, structure)]
    elif structure is not None:
        raise InputError(f"{path}: has its own structure; a structure file is only for gipaw.x text output")
    elif any(reader.recognises(head) for reader in (magres, vasp, abinit)):
        reader = next(reader for reader in (magres, vasp, abinit) if reader.recognises(head))
        frames = [reader.read(path)]
    else:
        _refuse_relatives(path, head)
        return _by_name(path)
    for atoms in frames:
        atoms.info["output_sha256"] = sha256(path)
    return frames


def _head(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with open(path, errors="replace") as handle:
        return handle.read(HEAD_CHARACTERS)


def _refuse_relatives(path: Path, head: str) -> None:
    """Name the right file where a code's other output is given."""
    if "<modeling>" in head:
        raise InputError(f"{path}: vasprun.xml holds neither field gradients nor shieldings; expected VASP's OUTCAR")
    if qe_gipaw.is_pw_output(head):
        raise InputError(
            f"{path}: pw.x computes no field gradients or shieldings; expected the output of gipaw.x, "
            "with this file as --structure"
        )


def _by_name(path: Path) -> list[Atoms]:
    """A file that says nothing of itself: the reader that its name asks for says what is wrong with it."""
    if path.suffix in (".extxyz", ".xyz"):
        return read_frames(path)
    if path.suffix == ".magres":
        return [magres.read(path)]
    if "OUTCAR" in path.name:
        return [vasp.read(path)]
    if path.suffix == ".abo":
        return [abinit.read(path)]
    lines = read_lines(path, KNOWN)
    if next(line for line in lines if line.strip()).strip().isdigit():
        return read_frames(path)
    raise InputError(f"{path}: begins like no output that is known; expected {KNOWN}")
