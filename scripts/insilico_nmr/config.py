"""The study's configuration held to its JSON Schema: defaults filled in, everything wrong named at once.

Imported while Snakemake parses the Snakefile, so only the standard library and jsonschema (which Snakemake
brings) are used. An object that lists its properties takes no others unless the schema says
`additionalProperties`; references are followed inside the schema ("#/$defs/…").
"""

import difflib
import json
import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import jsonschema

from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json


def load_and_validate(config: dict, schema_path: str | Path) -> dict:
    """A copy of `config` with every default of the schema filled in, at any depth.

    Raises InputError that lists all errors, one a line, each by full dotted key: unknown keys with the nearest
    valid one, missing keys, wrong types, numbers out of range or not finite, values not among those allowed.
    """
    schema = read_json(schema_path)
    errors: list[str] = []
    filled = _fill(config, schema, schema, (), errors)
    errors += _not_finite(filled, ())
    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(filled), key=lambda error: [str(part) for part in error.path]):
        if error.validator not in ("additionalProperties", "unevaluatedProperties"):  # named by _fill, better
            errors.append(_message(error))
    if errors:
        listed = "\n".join(f"  - {error}" for error in dict.fromkeys(errors))
        raise InputError(f"configuration does not fit {schema_path}:\n{listed}")
    return filled


def describe(schema: dict) -> str:
    """Markdown table of every key of a schema: dotted name, type and limits, default, description."""
    rows = ["| key | type | default | description |", "|---|---|---|---|"]
    for key, entry, required in _keys(schema, schema, ""):
        default = "*required*" if required and "default" not in entry else ""
        if "default" in entry:
            default = f"`{json.dumps(entry['default'], ensure_ascii=False)}`"
        cells = (f"`{key}`", _type_text(entry), default, entry.get("description", ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _resolve(entry: dict, root: dict) -> dict:
    """The entry with a local reference followed; keys beside `$ref` win."""
    while "$ref" in entry:
        target = root
        for part in entry["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        entry = {**target, **{key: value for key, value in entry.items() if key != "$ref"}}
    return entry


def _fill(value: object, entry: dict, root: dict, path: tuple, errors: list[str]) -> object:
    """Copy of a value with defaults filled in; unknown keys are appended to `errors` and left out."""
    entry = _resolve(entry, root)
    if isinstance(value, list) and isinstance(entry.get("items"), dict):
        return [_fill(item, entry["items"], root, (*path, i), errors) for i, item in enumerate(value)]
    if not isinstance(value, dict) or not ("properties" in entry or "additionalProperties" in entry):
        return deepcopy(value)
    properties = entry.get("properties", {})
    extra = entry.get("additionalProperties", False)
    filled = {}
    for key, item in value.items():
        if key in properties:
            filled[key] = _fill(item, properties[key], root, (*path, key), errors)
        elif extra is False:
            errors.append(_unknown(str(key), properties, value, path))
        else:
            filled[key] = _fill(item, extra if isinstance(extra, dict) else {}, root, (*path, key), errors)
    for key, sub in properties.items():
        sub = _resolve(sub, root)
        if key in value:
            continue
        if "default" in sub:
            filled[key] = _fill(deepcopy(sub["default"]), sub, root, (*path, key), errors)
        elif "properties" in sub and key not in entry.get("required", []):
            # An object without a default of its own is there with the defaults of its keys, if these suffice.
            inner = _fill({}, sub, root, (*path, key), errors)
            if all(name in inner for name in sub.get("required", [])):
                filled[key] = inner
    return filled


def _unknown(key: str, properties: dict, siblings: dict, path: tuple) -> str:
    near = difflib.get_close_matches(key, [name for name in properties if name not in siblings], n=1, cutoff=0.5)
    near = near or difflib.get_close_matches(key, list(properties), n=1, cutoff=0.0)
    hint = f"; did you mean {_dotted((*path, near[0]))!r}?" if near else ""
    return f"unknown key {_dotted((*path, key))!r}{hint}"


def _not_finite(value: object, path: tuple) -> Iterator[str]:
    """Errors for NaN and infinity anywhere: a range check lets NaN through."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _not_finite(item, (*path, i))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{_dotted(path)}: {value} is not a finite number"


def _message(error: jsonschema.ValidationError) -> str:
    """One line for an error of jsonschema."""
    key = _dotted(tuple(error.absolute_path)) or "the configuration"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if f"'{name}' is a required" in error.message)
        return f"missing key {_dotted((*error.absolute_path, missing))!r}"
    if error.validator == "type":
        expected = (
            error.validator_value if isinstance(error.validator_value, str) else " or ".join(error.validator_value)
        )
        return f"{key}: expected {expected}, found {_kind(error.instance)} {error.instance!r}{_number_hint(error)}"
    if error.validator == "enum":
        near = difflib.get_close_matches(str(error.instance), [str(value) for value in error.validator_value], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key}: expected one of {', '.join(map(repr, error.validator_value))}, found {error.instance!r}{hint}"
    limits = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "more than {}",
        "exclusiveMaximum": "less than {}",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
        "pattern": "text that matches {}",
    }
    if error.validator in limits:
        return f"{key}: expected {limits[error.validator].format(error.validator_value)}, found {error.instance!r}"
    return f"{key}: {error.message}"


def _number_hint(error: jsonschema.ValidationError) -> str:
    """YAML 1.1 takes 1e-3 for text: a number needs a dot there."""
    if not isinstance(error.instance, str):
        return ""
    try:
        float(error.instance)
    except ValueError:
        return ""
    return " (a number is written without quotes, and with a dot before an exponent: 1.0e-3)"


def _kind(value: object) -> str:
    """JSON Schema's name for the type of a value."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


def _dotted(path: tuple) -> str:
    """Keys joined by dots, positions in square brackets: md.runs[0].steps."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _keys(entry: dict, root: dict, prefix: str) -> Iterator[tuple[str, dict, bool]]:
    """(dotted key, resolved entry, whether required) of every key, parents before children."""
    entry = _resolve(entry, root)
    for key, sub in entry.get("properties", {}).items():
        sub = _resolve(sub, root)
        name = f"{prefix}.{key}" if prefix else key
        yield name, sub, key in entry.get("required", [])
        yield from _keys(sub, root, name)
    if isinstance(entry.get("additionalProperties"), dict):
        sub = _resolve(entry["additionalProperties"], root)
        yield f"{prefix}.<name>", sub, False
        yield from _keys(sub, root, f"{prefix}.<name>")
    if isinstance(entry.get("items"), dict):
        yield from _keys(entry["items"], root, f"{prefix}[]")


def _type_text(entry: dict) -> str:
    """Type of an entry with its limits, in words."""
    if "const" in entry:
        return f"`{json.dumps(entry['const'])}`"
    if "enum" in entry:
        return " or ".join(f"`{json.dumps(value)}`" for value in entry["enum"])
    for name in ("oneOf", "anyOf"):
        if name in entry:
            return " or ".join(_type_text(choice) for choice in entry[name])
    kind = entry.get("type", "any")
    text = kind if isinstance(kind, str) else " or ".join(kind)
    if isinstance(entry.get("items"), dict):
        text += f" of {_type_text(entry['items'])}"
    limits = [
        f"{sign} {entry[name]}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in entry
    ]
    return f"{text} {', '.join(limits)}".strip()
