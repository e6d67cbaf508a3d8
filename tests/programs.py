"""Command-line programs run in this process, much faster than one of their own."""

import contextlib
import importlib
import io
import sys

import pytest
from insilico_nmr.errors import run_script


def run(program: str, *arguments: object) -> tuple[int, str]:
    """Exit code of scripts/<program>.py with these arguments, and what it said on stderr."""
    main = importlib.import_module(program).main
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", [program, *map(str, arguments)])
        try:
            run_script(main)
        except SystemExit as leave:
            return leave.code, said.getvalue()
    return 0, said.getvalue()
