"""Make the study's page: one HTML file with the table of agreement, every figure with its caption, and provenance.

It opens in any browser without a network: images are embedded, and there is no script. Captions are those of
Snakemake's report, templates in report/.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from insilico_nmr import __version__
from insilico_nmr.captions import render
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.page import build, read_agreement, read_figure
from insilico_nmr.provenance import commit, fingerprint, versions


def main() -> None:
    """Render the captions, embed the figures, take the fingerprints, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agreement", type=Path, required=True, help="table of compare_with_literature.py, CSV")
    parser.add_argument("--agreement-caption", type=Path, required=True, help="its caption, a template")
    parser.add_argument("--introduction", type=Path, required=True, help="title and text on the study, a template")
    parser.add_argument(
        "--figure",
        dest="figures",
        nargs="+",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="a figure (PNG), the template of its caption, and the tables it is drawn from; once for each, in order",
    )
    parser.add_argument("--config", type=Path, required=True, help="the study's configuration, config.json")
    parser.add_argument("--dataset", type=Path, required=True, help="labelled snapshots of the study")
    parser.add_argument("--structure", type=Path, required=True, help="crystal of the study")
    parser.add_argument("--literature", type=Path, required=True, help="table of measured values, CSV")
    parser.add_argument(
        "--template",
        type=Path,
        default=Path(__file__).parents[1] / "report" / "page.html",
        help="HTML template of the page, with page.css beside it (default: report/page.html of the repository)",
    )
    parser.add_argument("--out", type=Path, required=True, help="page to write, HTML")
    args = parser.parse_args()
    for files in args.figures:
        if len(files) < 3:
            raise InputError(f"--figure {files[0]}: expected a PNG, the template of its caption and one table or more")

    config = read_json(args.config)
    if "study" not in config:
        raise InputError(f"{args.config}: expected the configuration of a study, found no key study")
    figures = [
        read_figure(number, png, render(caption, config, figure=png.stem), tables)
        for number, (png, caption, *tables) in enumerate(args.figures, 1)
    ]
    roles = {args.dataset: "dataset", args.structure: "structure", args.literature: "measured values"}
    roles[args.agreement] = "table of agreement"
    roles |= {table: "table" for figure in figures for table in figure.tables}
    text = build(
        args.template,
        read_agreement(args.agreement),
        render(args.agreement_caption, config),
        render(args.introduction, config, titled=True),
        figures,
        [fingerprint(role, path) for path, role in roles.items()],
        config,
        version=__version__,
        versions=versions(),
        commit=commit(Path(__file__).resolve()),
        made=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    with atomic_path(args.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{args.out}: {len(figures)} figures, {len(text) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
