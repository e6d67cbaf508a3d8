"""Every program can be asked what it does. Those that measure public codes beside ours need these installed."""

from pathlib import Path

import pytest
from programs import run

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize("program", sorted(p.stem for p in SCRIPTS.glob("*.py") if not p.stem.endswith("_peer")))
def test_help(program, capsys):
    code, said = run(program, "--help")
    assert code == 0, said
    assert "usage:" in capsys.readouterr().out
