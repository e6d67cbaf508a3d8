"""The configuration against its schema: defaults, and errors that name the full key."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from insilico_nmr.config import describe, load_and_validate
from insilico_nmr.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "scripts"

SCHEMA = {
    "title": "Small study",
    "type": "object",
    "required": ["study"],
    "properties": {
        "study": {"type": "string", "description": "Name of the study."},
        "md": {
            "type": "object",
            "description": "Molecular dynamics.",
            "properties": {
                "temperature_K": {
                    "type": "array",
                    "items": {"type": "number", "exclusiveMinimum": 0},
                    "minItems": 1,
                    "default": [300.0],
                    "description": "Temperatures of the runs.",
                },
                "steps": {"type": "integer", "minimum": 1, "default": 100, "description": "Steps | run."},
                "thermostat": {"enum": ["langevin", "nose-hoover"], "default": "langevin"},
                "deep": {"type": "object", "properties": {"friction_per_fs": {"$ref": "#/$defs/positive"}}},
            },
        },
        "datasets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["path"],
                "properties": {"path": {"type": "string"}, "weight": {"type": "number", "default": 1.0}},
            },
        },
        "runs": {
            "type": "array",
            "items": {"type": "object", "properties": {"seed": {"type": "integer", "default": 0}}},
        },
        "needs_more": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string"}, "scale": {"type": "number", "default": 2.0}},
        },
    },
    "$defs": {"positive": {"type": "number", "exclusiveMinimum": 0, "default": 0.01, "description": "Above zero."}},
}


@pytest.fixture
def schema_path(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


def test_defaults_are_filled_at_every_depth(schema_path):
    given = {"study": "x", "datasets": {"mine": {"path": "a"}}, "runs": [{}, {"seed": 4}]}
    filled = load_and_validate(given, schema_path)
    assert filled["md"] == {
        "temperature_K": [300.0],
        "steps": 100,
        "thermostat": "langevin",
        "deep": {"friction_per_fs": 0.01},
    }
    assert filled["datasets"] == {"mine": {"path": "a", "weight": 1.0}}
    assert filled["runs"] == [{"seed": 0}, {"seed": 4}]
    assert "needs_more" not in filled, "an optional object whose keys cannot be guessed stays away"
    assert given == {"study": "x", "datasets": {"mine": {"path": "a"}}, "runs": [{}, {"seed": 4}]}
    assert load_and_validate(filled, schema_path) == filled


def test_defaults_are_not_shared_between_calls(schema_path):
    load_and_validate({"study": "x"}, schema_path)["md"]["temperature_K"].append(-1)
    assert load_and_validate({"study": "x"}, schema_path)["md"]["temperature_K"] == [300.0]


WRONG = {
    "misspelt": ({"md": {"temprature_K": [300]}}, "unknown key 'md.temprature_K'; did you mean 'md.temperature_K'?"),
    "misspelt at the top": ({"mdd": {}}, "unknown key 'mdd'; did you mean 'md'?"),
    "misspelt in a list": ({"runs": [{}, {"sed": 1}]}, "unknown key 'runs[1].sed'; did you mean 'runs[1].seed'?"),
    "misspelt in a map": (
        {"datasets": {"mine": {"path": "a", "wieght": 2}}},
        "unknown key 'datasets.mine.wieght'; did you mean 'datasets.mine.weight'?",
    ),
    "missing in a map": ({"datasets": {"mine": {}}}, "missing key 'datasets.mine.path'"),
    "wrong type": ({"md": {"steps": "many"}}, "md.steps: expected integer, found string 'many'"),
    "boolean for a number": ({"md": {"steps": True}}, "md.steps: expected integer, found boolean True"),
    "yaml exponent": ({"md": {"deep": {"friction_per_fs": "1e-3"}}}, "with a dot before an exponent: 1.0e-3"),
    "object expected": ({"md": 3}, "md: expected object, found integer 3"),
    "null": ({"md": None}, "md: expected object, found null None"),
    "temperature of zero": ({"md": {"temperature_K": [300, 0]}}, "md.temperature_K[1]: expected more than 0, found 0"),
    "negative steps": ({"md": {"steps": -1}}, "md.steps: expected at least 1, found -1"),
    "no temperature": ({"md": {"temperature_K": []}}, "md.temperature_K: expected at least 1 items, found []"),
    "nan": ({"md": {"temperature_K": [float("nan")]}}, "md.temperature_K[0]: nan is not a finite number"),
    "infinity": ({"md": {"temperature_K": [float("inf")]}}, "md.temperature_K[0]: inf is not a finite number"),
    "choice": (
        {"md": {"thermostat": "langvin"}},
        "md.thermostat: expected one of 'langevin', 'nose-hoover', found 'langvin'; did you mean 'langevin'?",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_key_is_named_in_full(name, schema_path):
    config, message = WRONG[name]
    with pytest.raises(InputError) as caught:
        load_and_validate({"study": "x", **config}, schema_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2, lines  # one error, once
    assert message in lines[1]


def test_all_errors_are_listed_at_once(schema_path):
    with pytest.raises(InputError) as caught:
        load_and_validate({"md": {"steps": 0, "thermstat": 1}, "datasets": []}, schema_path)
    text = str(caught.value)
    for part in ("missing key 'study'", "md.steps", "md.thermostat", "datasets: expected object, found array"):
        assert part in text


def test_a_default_that_breaks_the_schema_is_found(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"type": "object", "properties": {"n": {"type": "integer", "default": "one"}}}))
    with pytest.raises(InputError, match="n: expected integer"):
        load_and_validate({}, path)


def test_every_key_is_described():
    table = describe(SCHEMA)
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [row[0].strip("| `") for row in rows] == [
        "study",
        "md",
        "md.temperature_K",
        "md.steps",
        "md.thermostat",
        "md.deep",
        "md.deep.friction_per_fs",
        "datasets",
        "datasets.<name>",
        "datasets.<name>.path",
        "datasets.<name>.weight",
        "runs",
        "runs[].seed",
        "needs_more",
        "needs_more.file",
        "needs_more.scale",
    ]
    assert "| `md.temperature_K` | array of number > 0 | `[300.0]` | Temperatures of the runs. |" in table
    assert "| `study` | string | *required* | Name of the study. |" in table
    assert "| `md.deep.friction_per_fs` | number > 0 | `0.01` | Above zero. |" in table
    assert "Steps \\| run." in table


def test_the_script_writes_the_table(schema_path, tmp_path):
    command = [sys.executable, SCRIPTS / "describe_config.py", "--schema", schema_path, "--out", tmp_path / "README.md"]
    subprocess.run(command, check=True)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Small study\n")
    assert describe(SCHEMA) in text


def test_parsing_stays_light():
    code = (
        "import sys, insilico_nmr.config; print([m for m in ('pandas', 'numpy', 'scipy', 'ase') if m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, check=True, capture_output=True, text=True
    ).stdout
    assert loaded.strip() == "[]"
