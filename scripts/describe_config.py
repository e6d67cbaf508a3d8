"""Write config/README.md: every key of the configuration, from the schema.

describe_config.py --schema config/schema/config.schema.json --out config/README.md
"""

import argparse
from pathlib import Path

from insilico_nmr.config import describe
from insilico_nmr.errors import run_script
from insilico_nmr.files import atomic_path, read_json


def readme(schema: dict) -> str:
    """Text of config/README.md for a schema."""
    return (
        f"# {schema.get('title', 'Configuration')}\n\n"
        f"{schema.get('description', 'Every key of a study.')}\n\n"
        "Written by `scripts/describe_config.py` from the schema in `config/schema/`; edit the schema, not this file. "
        "A key that is not listed here is an error. `[]` is an item of a list, `<name>` a name of your choice.\n\n"
        f"{describe(schema)}"
    )


def main() -> None:
    """Read the schema, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--schema", type=Path, default=Path("config/schema/config.schema.json"), help="JSON Schema (%(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("config/README.md"), help="Markdown file to write (%(default)s)"
    )
    args = parser.parse_args()
    with atomic_path(args.out) as temporary:
        temporary.write_text(readme(read_json(args.schema)))


if __name__ == "__main__":
    run_script(main)
