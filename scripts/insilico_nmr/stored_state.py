"""States of long runs, as they are stored to go on from after a kill."""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from insilico_nmr.errors import InputError


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of a stored state (npz). Raises InputError naming the file where it is torn, or none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a stored state of a run ({error}); delete it to start again") from None
