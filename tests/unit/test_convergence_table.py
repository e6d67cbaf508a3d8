"""The table of convergence: differences from the tightest level of each series, in the units it says."""

from pathlib import Path

import pandas as pd
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from insilico_nmr.dataset import read_dataset, write_frames
from programs import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "li3n" / "li3n.extxyz"


def at_level(folder, cutoff, length, off):
    """The same snapshot, with labels that are `off` by so many meV per atom, meV/Å and percent."""
    atoms = read_dataset(EXAMPLE)[0]
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy + 1e-3 * off * len(atoms), forces=forces + 1e-3 * off)
    atoms.arrays["efg"] *= 1 + off / 100
    path = folder / f"{cutoff}eV_{length}A.extxyz"
    write_frames(path, [atoms])
    return path


def table(folder, files):
    flags = ("--cutoff-ev", 400, "--k-length", 10, "--out", folder / "t.csv")
    return run("convergence_table", *files, *flags)


def test_differences_are_those_from_the_tightest_level_of_a_series(tmp_path):
    files = [at_level(tmp_path, *row) for row in ((350, 10, 5), (400, 10, 2), (600, 10, 0), (400, 6, 9), (400, 14, 1))]
    code, said = table(tmp_path, files)
    assert code == 0, said
    found = pd.read_csv(tmp_path / "t.csv")
    cutoffs, lengths = (found[found["series"] == name] for name in ("cut-off", "k points"))
    assert cutoffs["cutoff_eV"].tolist() == [350, 400, 600]
    assert lengths["k_length_A"].tolist() == [6, 10, 14]
    assert cutoffs["energy_meV_per_atom"].tolist() == pytest.approx([5, 2, 0], abs=0.01)
    assert lengths["energy_meV_per_atom"].tolist() == pytest.approx([8, 1, 0], abs=0.01)
    assert lengths["force_rms_eV_per_A"].tolist() == pytest.approx([8e-3, 1e-3, 0], abs=1e-5)
    for element in ("Li", "N"):
        assert cutoffs[f"efg_{element}_percent"].tolist() == pytest.approx([5, 2, 0], abs=0.02)


def test_a_series_of_one_level_shows_nothing(tmp_path):
    code, said = table(tmp_path, [at_level(tmp_path, 400, 10, 0), at_level(tmp_path, 400, 14, 0)])
    assert code == 2
    assert "cut-off: 1 levels; differences need two or more" in said
