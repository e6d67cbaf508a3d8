"""The conda environments hold exact versions, and the same ones as the pip pins of `make study`."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
CONDA_TO_PIP = {"pytorch": "torch"}
WITHOUT_PIP_PIN = {"python", "pip", "gpaw"}


def pip_pins(name: str) -> dict[str, str]:
    """Package to version of a requirements file, in which anything but `package==version` is an error."""
    pins = {}
    for line in (ROOT / name).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        package, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()
        assert normalised(package) not in pins, f"{name} pins {package} twice"
        pins[normalised(package)] = version
    return pins


def normalised(package: str) -> str:
    """The name by which package indexes compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def environment_pins(path: Path) -> dict[str, str]:
    """Package (pip's name) to version, conda's `package=version[=build]` and pip's `package==version` alike."""
    pins = {}
    for entry in yaml.safe_load(path.read_text())["dependencies"]:
        if isinstance(entry, dict):
            assert set(entry) == {"pip"}
            exact = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) or line for line in entry["pip"]]
        else:
            exact = [re.fullmatch(r"([\w.-]+)=([\w.]+)(?:=[\w*]+)?", entry) or entry]
        for match in exact:
            assert not isinstance(match, str), f"{path.name}: {match!r} is not an exact version"
            package, version = match.groups()
            pins[normalised(CONDA_TO_PIP.get(package, package))] = version
    return pins


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_conda_environment_has_the_pinned_versions(path: Path) -> None:
    wanted = pip_pins("requirements.txt")
    found = environment_pins(path)
    assert found["python"].startswith("3.11.")
    compared = {package: version for package, version in found.items() if package not in WITHOUT_PIP_PIN}
    assert compared == {package: wanted.get(package) for package in compared}


def test_an_environment_is_there_for_every_family_of_rules() -> None:
    assert {path.stem for path in ENVIRONMENTS} == {"base", "dft", "figures", "md", "ml", "mrsimulator"}


def test_schnetpack_is_the_same_by_conda_and_by_pip() -> None:
    pins = pip_pins("requirements-schnetpack.txt")
    assert set(pins) == {"schnetpack"}
    post_deploy = (ROOT / "envs" / "ml.post-deploy.sh").read_text()
    assert re.findall(r"^python -m pip install --no-deps (\S+)$", post_deploy, re.MULTILINE) == [
        f"schnetpack=={pins['schnetpack']}"
    ]


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "numpy=2.*"])
def test_an_inexact_version_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "loose.yaml"
    path.write_text(f"dependencies:\n  - {line}\n")
    with pytest.raises(AssertionError, match="not an exact version"):
        environment_pins(path)
