"""The table of what ships: every file of resources/ with its checksum, source and licence. Standard library only."""

import csv
from pathlib import Path

from insilico_nmr.errors import InputError
from insilico_nmr.files import sha256

COLUMNS = ("path", "sha256", "source", "licence", "units", "level_of_theory")


def read_registry(registry: str | Path) -> dict[Path, dict[str, str]]:
    """Rows of a registry, a CSV with the columns path, sha256, source, licence, units, level_of_theory.

    Keys are resolved paths; a path in the table is relative to the registry's folder. Raises InputError for a
    missing file, missing columns, or a path listed twice.
    """
    registry = Path(registry)
    if not registry.is_file():
        raise InputError(f"{registry}: no such registry")
    with open(registry, newline="") as handle:
        reader = csv.DictReader(handle)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise InputError(f"{registry}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
        rows: dict[Path, dict[str, str]] = {}
        for row in reader:
            key = (registry.parent / row["path"]).resolve()
            if key in rows:
                raise InputError(f"{registry}: {row['path']} is listed twice")
            rows[key] = row
    return rows


def check_registered(path: str | Path, registry: str | Path) -> dict[str, str]:
    """Registry row of a file whose bytes are the registered ones.

    Raises InputError where the file is missing or not listed, or where its checksum differs (expected and found).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    row = read_registry(registry).get(path.resolve())
    if row is None:
        raise InputError(f"{path}: not listed in {registry}; add its path and sha256")
    check_checksum(path, row, registry)
    return row


def check_checksum(path: Path, row: dict[str, str], registry: str | Path) -> None:
    """Raise InputError where the bytes of a file are not those of its row in the registry."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    found = sha256(path)
    if found != row["sha256"]:
        raise InputError(f"{path}: checksum differs from {registry}: expected {row['sha256']}, found {found}")
