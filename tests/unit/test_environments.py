"""The conda environments hold exact versions, and the same ones as the pip pins of `make study`."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
CONDA_TO_PIP = {"pytorch": "torch"}
WITHOUT_PIP_PIN = {"python", "pip", "gpaw"}
SCRIPTS = ROOT / "scripts"
# Packages by what is imported of them, where that is another name; numba brings llvmlite, jinja2 markupsafe.
IMPORTED_AS = {"yaml": "pyyaml", "llvmlite": "numba", "markupsafe": "jinja2"}


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


def imported_at_once(script: Path) -> set[str]:
    """Packages that a script imports when it starts, by itself and through the modules of this study."""
    packages, seen, queue = set(), set(), [script]
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                own = [SCRIPTS / f"{name.replace('.', '/')}.py", SCRIPTS / name.replace(".", "/") / "__init__.py"]
                queue += [path for path in own if path.is_file()]
                packages.add(name.partition(".")[0])
    return {name for name in packages if name not in sys.stdlib_module_names and not (SCRIPTS / f"{name}.py").is_file()}


def scripts_of_rules() -> list[tuple[str, str]]:
    """Script and environment of every rule that names both."""
    found = []
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^ *(?:rule|checkpoint) \w+:$", path.read_text(), flags=re.MULTILINE)[1:]:
            script = re.search(r'code=code\("(\w+)"\)', rule)
            environment = re.search(r'conda:\s+(?:"\.\./envs/(\w+)\.yaml"|(POTENTIAL_ENVIRONMENT))', rule)
            if script and environment:
                # Of PaiNN's rules it is the other one.
                found.append((script[1], environment[1] or ("ml" if "painn" in script[1] else "md")))
    return sorted(set(found))


@pytest.mark.parametrize(("script", "environment"), scripts_of_rules())
def test_an_environment_has_what_its_scripts_import(script: str, environment: str) -> None:
    pins = environment_pins(ROOT / "envs" / f"{environment}.yaml")
    by_hand = {"schnetpack"} if environment == "ml" else set()  # ml.post-deploy.sh
    imported = {normalised(IMPORTED_AS.get(name, name)) for name in imported_at_once(SCRIPTS / f"{script}.py")}
    assert imported - {"insilico-nmr"} <= set(pins) | by_hand


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "numpy=2.*"])
def test_an_inexact_version_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "loose.yaml"
    path.write_text(f"dependencies:\n  - {line}\n")
    with pytest.raises(AssertionError, match="not an exact version"):
        environment_pins(path)
