"""Captions: one source in report/, reStructuredText under Jinja, for Snakemake's report and for the study's own page.

A template sees what Snakemake's report shows it: `snakemake.wildcards` and `snakemake.config`.
"""

import html
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from docutils.core import publish_parts
from docutils.utils import SystemMessage
from jinja2 import StrictUndefined, Template, TemplateError

from insilico_nmr.errors import InputError

SETTINGS = {
    "_disable_config": True,  # no docutils.conf of the machine
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": 2,  # a warning ends it: the message would stand in the caption
    "warning_stream": False,
    "math_output": "MathML",  # the other kinds need style sheets or scripts
    "initial_header_level": 3,
}


@dataclass(frozen=True)
class Text:
    """A rendered text: its title (HTML, empty where it has none) and its body (HTML)."""

    title: str
    body: str

    @property
    def first_sentence(self) -> str:
        """The first sentence of the body as plain text, for those who do not see the figure."""
        plain = " ".join(html.unescape(re.sub(r"<[^>]+>", "", self.body)).split())
        return re.split(r"(?<=\.)\s+(?=[A-Z(])", plain)[0]


def render(template: str | Path, config: dict, titled: bool = False, **wildcards: str) -> Text:
    """Render a caption as HTML; with `titled`, a lone first heading is the title.

    Raises InputError, naming the file and the wildcards, where the template asks for what is not there, where its text
    is empty (no caption for this figure), or where docutils finds anything to complain about.
    """
    where = ", ".join([str(template), *[f"{name} {value}" for name, value in wildcards.items()]])
    snakemake = SimpleNamespace(wildcards=SimpleNamespace(**wildcards), config=config)
    try:
        source = Template(Path(template).read_text(), undefined=StrictUndefined).render(snakemake=snakemake)
    except TemplateError as error:
        raise InputError(f"{where}: {error}") from None
    if not source.strip():
        raise InputError(f"{where}: no caption; expected some reStructuredText")
    try:
        parts = publish_parts(source, writer="html5", settings_overrides=SETTINGS | {"doctitle_xform": titled})
    except SystemMessage as error:
        raise InputError(f"{where}: not valid reStructuredText: {error}") from None
    return Text(parts["title"], parts["body"])
