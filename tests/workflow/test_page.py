"""The study's page: made of published tables and figures drawn from them, and opened in a browser."""

import json
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from insilico_nmr.captions import render
from insilico_nmr.errors import InputError
from insilico_nmr.files import sha256
from insilico_nmr.page import kind, linked, listing, number, summary, unit, words
from insilico_nmr.provenance import commit
from programs import run

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "resources" / "published" / "li3ps4_beta"
CONFIG = {
    "study": "a_study",
    "material": {"name": "Li3PS4", "phase": "<b>beta</b>", "isotope": "7Li"},
    "observables": {"temperatures_K": [80, 95]},
}
# Runs in a copy of the page: what went wrong while it loaded, and what a reader would miss.
CHECKER = """
<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message || event.target.outerHTML.slice(0, 80)), true);
// A cut-off image has its width, and what is missing stays transparent; figures are opaque to the last row.
const whole = (image) => {
  if (image.naturalWidth === 0) return false;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const last = context.getImageData(0, canvas.height - 1, canvas.width, 1).data;
  return last.every((value, place) => place % 4 !== 3 || value === 255);
};
addEventListener("load", () => {
  const table = document.querySelector("table.agreement"), figure = document.querySelector("figure");
  const captions = [...document.querySelectorAll("figcaption")];
  const found = document.createElement("pre");
  found.id = "found-by-the-test";
  found.textContent = JSON.stringify({
    errors,
    broken: [...document.images].filter((image) => !whole(image)).map((image) => image.alt),
    images: document.images.length,
    without_alt: [...document.images].filter((image) => !image.alt).length,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    table_first: Boolean(table.compareDocumentPosition(figure) & Node.DOCUMENT_POSITION_FOLLOWING),
    rows: [...table.tBodies].map((body) => body.rows.length),
    verdicts: [...table.querySelectorAll(".verdict span")].map((span) => span.textContent),
    captions: captions.map((caption) => caption.textContent.replace(/\\s+/g, " ").trim()),
    complaints: document.querySelectorAll(".system-message, .problematic").length,
    dead_links: [...document.querySelectorAll('a[href^="#"]')]
      .filter((a) => !document.getElementById(decodeURIComponent(a.hash.slice(1)))).map((a) => a.hash),
    header: getComputedStyle(table.tHead.rows[0].cells[0]).position,
    wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  });
  document.body.append(found);
});
</script>
"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs the browser Chromium: apt-get install chromium"
)


def chromium(page: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent}/profile"]
    command += [*arguments, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def opened(page: Path, change: Callable[[str], str] = lambda text: text, width: int = 1280) -> dict:
    """What the browser finds in a copy of the page, changed; without the policy, which would keep the checker out."""
    text, policies = POLICY.subn("", page.read_text())
    assert policies == 1
    changed = change(text.replace("<head>", "<head>" + CHECKER, 1))
    copy = page.with_name("copy.html")
    copy.write_text(changed)
    found = re.search(r'<pre id="found-by-the-test">(.*?)</pre>', chromium(copy, f"--window-size={width},900").stdout)
    assert found, "the checker did not run"
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def console(page: Path) -> list[str]:
    """Lines of the browser's console, where errors of scripts and refused requests are told."""
    return [line for line in chromium(page, "--enable-logging=stderr").stderr.splitlines() if "CONSOLE" in line]


def tiny_png() -> bytes:
    """A grey image of 40 x 20 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(b"".join(b"\0" + bytes(range(40)) for _ in range(20)))
    header = struct.pack(">IIBBBBB", 40, 20, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@dataclass
class Inputs:
    """Arguments of make_page.py: options by name, and figures as lists of image, caption and tables."""

    options: dict[str, Path]
    figures: list[list[Path]]

    def make(self) -> tuple[int, str]:
        words = [word for name, path in self.options.items() for word in (f"--{name}", path)]
        return run("make_page", *words, *[word for figure in self.figures for word in ("--figure", *figure)])


def inputs(folder: Path, draw: bool = False) -> Inputs:
    """Published tables of agreement and three figures, drawn from theirs or a grey patch each."""
    tables = {
        "dataset": ["dataset_histograms"],
        "parity": ["tensor_metrics", "parity_components", "parity_parameters"],
        "exchange": ["exchange"],
    }
    figures = []
    for name, used in tables.items():
        png, used = folder / f"{name}.png", [PUBLISHED / f"{table}.csv" for table in used]
        if draw:
            code, said = run(f"plot_{name}", *used, "--out-pdf", folder / f"{name}.pdf", "--out-png", png)
            assert code == 0, said
        else:
            png.write_bytes(tiny_png())
        figures.append([png, ROOT / "report" / "figure.rst", *used])
    (folder / "config.json").write_text(json.dumps(CONFIG))
    options = {
        "agreement": PUBLISHED / "agreement.csv",
        "agreement-caption": ROOT / "report" / "agreement.rst",
        "introduction": ROOT / "report" / "workflow.rst",
        "config": folder / "config.json",
        "dataset": ROOT / "resources" / "dft" / "li3ps4.extxyz",
        "structure": ROOT / "resources" / "structures" / "li3ps4_beta.cif",
        "literature": ROOT / "resources" / "experiment" / "literature.csv",
        "out": folder / "report.html",
    }
    return Inputs(options, figures)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of published tables and figures drawn from them."""
    made = inputs(tmp_path_factory.mktemp("page"), draw=True)
    code, said = made.make()
    assert code == 0, said
    return made.options["out"]


@needs_chromium
def test_a_browser_shows_all_of_the_page(page):
    found = opened(page)
    assert found["errors"] == found["broken"] == found["requests"] == found["dead_links"] == []
    assert (found["images"], found["without_alt"], found["complaints"]) == (3, 0, 0)
    assert found["table_first"]
    agreement = pd.read_csv(PUBLISHED / "agreement.csv", keep_default_na=False)
    measured = int((agreement["measured"] != "").sum())
    assert found["rows"] == [measured, len(agreement) - measured + 1]
    assert sorted(found["verdicts"]) == sorted(agreement["verdict"])
    assert found["header"] == "sticky"
    starts = ["Figure 1. Dataset. Labelled snapshots", "Figure 2. Parity. Field grad", "Figure 3. Exchange. Two-dim"]
    for caption, start in zip(found["captions"], starts, strict=True):
        assert caption.startswith(start)
        assert "_" not in caption.split(" Drawn from ")[0]


@needs_chromium
@pytest.mark.parametrize("width", [500, 1280])
def test_only_the_table_scrolls_sideways(page, width):
    assert opened(page, width=width)["wider"] == 0


@needs_chromium
def test_the_page_as_it_is_has_an_empty_console(page):
    assert console(page) == []


@needs_chromium
def test_the_checks_find_what_is_broken(page):
    image = re.search(r"data:image/png;base64,[^\"]+", page.read_text())[0]
    for kept in (40, len(image) // 2):
        found = opened(page, lambda text, kept=kept: text.replace(image, image[: kept // 4 * 4 + 2]))
        assert len(found["broken"]) == 1, kept
    found = opened(page, lambda text: text.replace("</body>", "<script>nonsense()</script></body>"))
    assert "nonsense" in found["errors"][0]
    found = opened(page, lambda text: text.replace("</main>", '<img src="http://127.0.0.1:9/x.png" alt="x"></main>'))
    assert found["requests"] == ["http://127.0.0.1:9/x.png"]
    assert found["broken"] == ["x"]
    refused = page.with_name("refused.html")
    refused.write_text(page.read_text().replace("</main>", '<img src="http://127.0.0.1:9/x.png" alt="x"></main>'))
    assert "Content Security Policy" in console(refused)[0]


class Links(HTMLParser):
    """Collects what a page would load: all addresses but those of links that a reader follows."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "a":
            self.loaded += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]


def test_the_page_stands_alone_and_says_where_it_comes_from(page):
    text = page.read_text()
    links = Links()
    links.feed(text)
    assert len(links.loaded) == 4
    assert all(address.startswith("data:") for address in links.loaded)
    assert "script" not in links.tags
    assert "url(" not in text
    assert "@import" not in text
    for path in (PUBLISHED / "agreement.csv", PUBLISHED / "exchange.csv", ROOT / "resources" / "dft" / "li3ps4.extxyz"):
        assert f'<code title="{sha256(path)}">{sha256(path)[:12]}</code>' in text
    assert "&#34;temperatures_K&#34;: [80, 95]" in text
    assert "<b>beta" not in text
    assert re.search(r"numpy \d", text)


def test_a_study_without_measured_values_has_its_page(tmp_path):
    given = inputs(tmp_path)
    table = pd.read_csv(given.options["agreement"], dtype=str, keep_default_na=False)
    given.options["agreement"] = tmp_path / "agreement.csv"
    table[table["measured"] == ""].to_csv(given.options["agreement"], index=False)
    assert given.make() == (0, "")
    text = given.options["out"].read_text()
    assert "No measured values to compare with." in text
    assert text.count("prediction only") == (table["verdict"] == "prediction only").sum()


def unknown_figure(given: Inputs) -> list[Path]:
    png, *others = given.figures[0]
    return [shutil.copy(png, png.with_name("unknown.png")), *others]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda given, _: given.figures[1][0].unlink(), "parity.png"),
        (lambda given, _: given.figures[1][0].write_bytes(tiny_png()[:-9]), "parity.png: expected a whole PNG"),
        (lambda given, _: given.figures.__setitem__(1, given.figures[1][:2]), "one table or more"),
        (lambda given, _: given.figures.append(unknown_figure(given)), "figure.rst, figure unknown: no caption"),
        (lambda given, _: given.options.update(agreement=PUBLISHED / "rates.csv"), "column quantity"),
        (lambda given, _: given.options.update(agreement=Path("nowhere.csv")), "nowhere.csv"),
        (lambda given, folder: (folder / "config.json").write_text("{}"), "found no key study"),
        (lambda given, folder: (folder / "config.json").write_text('{"study": "x"}'), "workflow.rst: "),
    ],
)
def test_bad_input_is_one_clear_message(tmp_path, spoil, expected):
    given = inputs(tmp_path)
    spoil(given, tmp_path)
    code, said = given.make()
    assert code == 2
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert expected in said
    assert not given.options["out"].exists()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{% if snakemake.wildcards.figure == "a" %}Text.{% endif %}', "no caption"),
        ("{{ snakemake.wildcards.temperature }}", "temperature"),
        ("{% if %}", "caption.rst, figure b: "),
        ("Text with `an open end.", "not valid reStructuredText"),
        ("Text.\n\n.. include:: /etc/hostname", "not valid reStructuredText"),
    ],
)
def test_a_caption_that_cannot_be_shown_is_refused(tmp_path, template, expected):
    path = tmp_path / "caption.rst"
    path.write_text(template)
    with pytest.raises(InputError, match=expected):
        render(path, {}, figure="b")


def test_every_figure_of_the_study_has_a_caption():
    drawn = set(re.findall(r'figure == "(\w+)"', (ROOT / "report" / "figure.rst").read_text()))
    common = (ROOT / "rules" / "common.smk").read_text()
    listed = set(re.findall(r'^    "(\w+)": \[', common, re.MULTILINE))
    listed |= set(re.findall(r'FIGURE_TABLES\["(\w+)"\]', common))
    assert {"dataset", "echo", "exchange"} <= listed <= drawn
    for figure in drawn:
        assert len(render(ROOT / "report" / "figure.rst", CONFIG, figure=figure).first_sentence) > 20


def test_numbers_keep_their_digits():
    assert number("4.10e-11") == "4.10&nbsp;×&nbsp;10<sup>−11</sup>"
    assert number("-0.070") == "−0.070"
    assert number("a < b") == "a &lt; b"
    assert unit("m2/s") == "m<sup>2</sup>/s"
    assert unit("1") == ""
    assert [words(name) for name in ("mas", "activation_energy")] == ["MAS", "Activation energy"]
    assert listing({"a": [1, 2], "b": [{"c": ["x"]}]}).count("\n") == 7
    assert linked("10.1000/x.y (table)") == '<a href="https://doi.org/10.1000/x.y">10.1000/x.y</a> (table)'


def test_verdicts_are_counted():
    verdicts = [
        "agrees, in an interval of a factor 500",
        "0.07 eV lower",
        "460 times higher",
        "measured value to be confirmed",
    ]
    assert [kind(verdict) for verdict in verdicts] == ["agrees", "lower", "higher", "open"]
    rows = [{"verdict": verdict} for verdict in verdicts]
    inside = "4 measured values: 1 inside the predicted 95 % interval (1 of one too wide to tell much)"
    assert summary(rows) == f"{inside}, 2 outside, 1 not judged."
    agrees = [{"verdict": "agrees"}]
    assert summary(agrees) == "1 measured value: 1 inside the predicted 95 % interval, 0 outside."
    assert summary([]) == "No measured values to compare with."


def test_the_commit_is_that_of_the_repository_that_tracks_the_file(tmp_path):
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    tracked, unpacked = tmp_path / "tracked.py", tmp_path / "unpacked.py"
    tracked.write_text("")
    unpacked.write_text("")
    git("add", "tracked.py")
    git("commit", "-qm", "One")
    assert re.fullmatch("[0-9a-f]{40}", commit(tracked))
    assert commit(unpacked) is None
    tracked.write_text("changed")
    assert commit(tracked).endswith(" and uncommitted changes")
