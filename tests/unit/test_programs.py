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


def test_the_benchmark_of_kinetic_monte_carlo_runs_at_any_size(capsys):
    code, said = run("benchmark_kmc", "--events", 2000, "--sites", 1000)
    assert code == 0, said
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[3:7] == ["events/s", "with", "propagator/s", "estimators/events"]
    speeds = {row[:16].strip(): float(row[16:].split()[2]) for row in rows}
    assert list(speeds) == ["one class", "three classes", "repelling, kT/2", "repelling, 3 kT"]
    assert min(speeds.values()) > 1000
