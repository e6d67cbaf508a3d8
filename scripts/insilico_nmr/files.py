"""Writing files whole or not at all, and recognising them again."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from insilico_nmr.errors import InputError
from insilico_nmr.source_files import hash_of_program


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is moved into place only when the block ends without error.

    A kill in between leaves at most a file named `.<name>.<pid>.partial<suffix>`, never a half `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict) -> None:
    """Write a JSON file atomically; NaN and infinity are refused with ValueError."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict:
    """Read a JSON file; raise InputError with the file's name where it is missing or malformed."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def keep_state_of(folder: str | Path, script: str | Path, *parts: object) -> None:
    """Empty a folder with state for going on unless it belongs to the same work: that of the same program, by its
    files, and of the same `parts`, by their repr.

    Without this, a run that was killed and then changed would go on from what old code, settings or data had made.
    """
    folder = Path(folder)
    mark = hashlib.sha256(repr((hash_of_program(script), *parts)).encode()).hexdigest()
    owner = folder / "belongs_to.txt"
    if not (owner.exists() and owner.read_text() == mark):
        if owner.exists():
            print(f"{folder}: what was there is of other code, settings or data; starting anew", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_path(owner) as temporary:
            temporary.write_text(mark)
