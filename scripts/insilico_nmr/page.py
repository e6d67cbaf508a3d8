"""The study as one HTML page: table of agreement, figures with captions, provenance; nothing outside the file.

Texts are escaped by Jinja; only `Markup` made here and captions rendered by docutils go in as they are.
"""

import base64
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from markupsafe import Markup, escape

from insilico_nmr.captions import Text
from insilico_nmr.errors import InputError
from insilico_nmr.provenance import Fingerprint
from insilico_nmr.tables import read_table

AGREEMENT = ["quantity", "temperature_K", "predicted", "ci_low", "ci_high", "unit", "measured", "measured_uncertainty"]
AGREEMENT += ["method", "reference", "ratio", "difference_eV", "verdict", "basis", "interval", "note"]
ABBREVIATIONS = {"mas"}
LINE_END = re.compile(r"\n *")
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Figure:
    """A figure of the page: its image as data URI, size in CSS pixels, caption, and the tables it is drawn from."""

    number: int
    name: str
    image: str
    width: int
    height: int
    caption: Text
    tables: list[Path]

    @property
    def alt(self) -> str:
        """What the image shows, in words: the first sentence of its caption."""
        return f"Figure {self.number}, {self.name}. {self.caption.first_sentence}"


def read_figure(number: int, png: Path, caption: Text, tables: list[Path]) -> Figure:
    """Embed a PNG at half its size in pixels, sharp on fine screens and in print.

    Raises InputError where the file is no whole PNG.
    """
    data = png.read_bytes()
    if not (data.startswith(PNG_START) and data.endswith(PNG_END)):
        raise InputError(f"{png}: expected a whole PNG image, found {len(data)} bytes that are none")
    width, height = struct.unpack(">II", data[16:24])
    image = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return Figure(number, png.stem, image, round(width / 2), round(height / 2), caption, tables)


def number(text: str) -> Markup:
    """A number as it is printed, digits unchanged: 4.1e-11 becomes 4.1 × 10⁻¹¹; other texts stay."""
    parts = re.fullmatch(r"([+-]?[\d.]+)(?:e([+-]?\d+))?", text)
    if parts is None:
        return escape(text)
    mantissa, exponent = parts[1].replace("-", "−"), parts[2]
    if exponent is None:
        return Markup(mantissa)
    return Markup(f"{mantissa}&nbsp;×&nbsp;10<sup>{int(exponent)}</sup>".replace("-", "−"))


def unit(text: str) -> Markup:
    """A unit with raised powers: m2/s becomes m²/s; "1" is none."""
    return Markup(re.sub(r"(?<=[a-zA-Z])(\d)", r"<sup>\1</sup>", str(escape(text)))) if text != "1" else Markup("")


def words(text: str) -> str:
    """A name of a table or a column as words: activation_energy becomes Activation energy."""
    if text in ABBREVIATIONS:
        return text.upper()
    spaced = text.replace("_", " ")
    return spaced[:1].upper() + spaced[1:]


def linked(text: str) -> Markup:
    """A reference, in which a DOI is a link."""
    return Markup(re.sub(r"\b10\.\d{4,9}/[^\s&;,]+", r'<a href="https://doi.org/\g<0>">\g<0></a>', str(escape(text))))


def kind(verdict: str) -> str:
    """Kind of a verdict: "agrees", "higher" or "lower" (the prediction is off), or "open" (not judged)."""
    if verdict.startswith("agrees"):
        return "agrees"
    return next((word for word in ("higher", "lower") if verdict.endswith(word)), "open")


def read_agreement(path: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of the table of agreement, all cells text: those with a measured value, and the predictions alone."""
    rows = read_table(path, [], AGREEMENT).to_dict("records")
    return {
        "measured": [row for row in rows if row["measured"]],
        "alone": [row for row in rows if not row["measured"]],
    }


def summary(measured: list[dict[str, str]]) -> str:
    """The table in a sentence: how many measured values lie inside the predicted interval, and what that tells."""
    if not measured:
        return "No measured values to compare with."
    kinds = [kind(row["verdict"]) for row in measured]
    outside = kinds.count("higher") + kinds.count("lower")
    values = "1 measured value" if len(kinds) == 1 else f"{len(kinds)} measured values"
    wide = sum(row["verdict"].startswith("agrees, in an interval") for row in measured)
    inside = f"{kinds.count('agrees')} inside the predicted 95 % interval"
    inside += f" ({wide} of one too wide to tell much)" if wide else ""
    judged = f"{values}: {inside}, {outside} outside"
    return f"{judged}, {kinds.count('open')} not judged." if "open" in kinds else f"{judged}."


def listing(config: dict) -> str:
    """A configuration as JSON to read: one key a line, lists of plain values on one."""
    text = json.dumps(config, indent=2, ensure_ascii=False)
    # No string spans lines in JSON, so these brackets and line ends are those of lists.
    return re.sub(r"\[\n([^\[\]{}]*)\n *\]", lambda inner: f"[{LINE_END.sub(' ', inner[1].strip())}]", text)


def build(template: Path, agreement: dict, caption: Text, introduction: Text, figures: list[Figure],
          files: list[Fingerprint], config: dict, **provenance: object) -> str:  # fmt: skip
    """Text of the page, from a template beside its style sheet page.css.

    Raises InputError where the template asks for what is not there, such as a key of the configuration.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "unit": unit, "words": words, "linked": linked, "kind": kind}
    try:
        return environment.get_template(template.name).render(
            agreement=agreement,
            summary=summary(agreement["measured"]),
            caption=caption,
            introduction=introduction,
            figures=figures,
            files=files,
            config=config,
            listing=listing(config),
            **provenance,
        )
    except TemplateError as error:
        raise InputError(f"{template}: {type(error).__name__}: {error}") from None
