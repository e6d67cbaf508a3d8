"""Which files a program is made of: what Snakemake compares, and what states for going on are told apart by."""

import ast
import hashlib
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parents[1]
NUCLEI = SCRIPTS.parent / "resources" / "nuclei.csv"


@cache
def imported(path: Path) -> tuple[Path, ...]:
    """Library modules that a file of scripts/ imports, here or within functions, by its import statements."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("insilico_nmr"):
            package = node.module.replace(".", "/")
            names += [f"{package}.py", *[f"{package}/{alias.name}.py" for alias in node.names]]
        elif isinstance(node, ast.Import):
            names += [f"{alias.name.replace('.', '/')}.py" for alias in node.names]
    return tuple(SCRIPTS / name for name in names if (SCRIPTS / name).is_file())


def source_files(script: Path) -> list[Path]:
    """The script, first, the library modules that it imports, and that these import, and the table of nuclei where one
    of them reads it."""
    found, queue = [], [script]
    while queue:
        path = queue.pop(0)
        if path not in found:
            found.append(path)
            queue += imported(path)
    return [*found, NUCLEI] if any(path.name == "nuclei.py" for path in found) else found


@cache
def substance(path: Path) -> str:
    """What a file does: a table's bytes, or code without comments and docstrings."""
    if path.suffix != ".py":
        return path.read_text()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def hash_of_program(script: str | Path) -> str:
    """Hash of all files that a program is made of (`source_files`), for what makes its numbers: not their comments."""
    files = sorted(source_files(Path(script)), key=lambda path: path.name)
    return hashlib.sha256("".join(map(substance, files)).encode()).hexdigest()
