"""Equations of state and distances: closed forms, and a potential held against itself."""

import numpy as np
import pandas as pd
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.eos import birchmurnaghan
from crystals import cif
from insilico_nmr.dataset import read_frames, write_frames
from insilico_nmr.distances import element_pairs, nearest_distances
from insilico_nmr.equation_of_state import fit_equation_of_state
from insilico_nmr.errors import InputError
from insilico_nmr.files import write_json
from insilico_nmr.potential import calculator, read_training_frames
from insilico_nmr.strained_cells import read_strained_cells
from insilico_nmr.trajectory import Trajectory, write_trajectory
from potentials import synthetic_crystal, synthetic_potential
from programs import run

VOLUMES = np.linspace(18, 23, 7)
RATIOS = [0.98, 1.01, 1.04, 1.07, 1.1, 1.13]
PULAY_GPA = -1.5


def test_the_fit_returns_the_equation_that_made_the_energies():
    energies = birchmurnaghan(VOLUMES, -3.0, 40 * units.GPa, 5.2, 20.5)
    fit = fit_equation_of_state(VOLUMES, energies, "made up")
    assert fit.volume_A3 == pytest.approx(20.5, rel=1e-6)
    assert fit.bulk_modulus_GPa == pytest.approx(40, rel=1e-4)
    assert fit.energy_eV(fit.volume_A3) == pytest.approx(-3.0, abs=1e-7)
    slope = (fit.energy_eV(19.01) - fit.energy_eV(18.99)) / 0.02
    assert fit.pressure_GPa(19.0) == pytest.approx(-slope / units.GPa, rel=1e-5)
    assert fit.pressure_GPa(fit.volume_A3) == pytest.approx(0, abs=1e-6)


def test_a_minimum_is_not_extrapolated():
    energies = birchmurnaghan(VOLUMES, -3.0, 0.25, 4.0, 24.0)
    with pytest.raises(InputError, match="made up: no minimum of the energy between 18 and 23"):
        fit_equation_of_state(VOLUMES, energies, "made up")
    with pytest.raises(InputError, match="4 volumes; an equation of state needs 5"):
        fit_equation_of_state(VOLUMES[[0, 1, 2, 3, 3]], energies[:5], "made up")


def test_distances_in_rock_salt():
    for cell in (bulk("NaCl", "rocksalt", a=5.6), bulk("NaCl", "rocksalt", a=5.6, cubic=True)):
        assert nearest_distances(cell, "Na", "Cl") == pytest.approx(2.8)
        assert nearest_distances(cell, "Cl", "Cl") == pytest.approx(5.6 / np.sqrt(2))
    assert len(nearest_distances(cell, "Na", "Li")) == 0
    far = Atoms("LiF", positions=[[0, 0, 0], [20, 0, 0]], cell=[40, 40, 40], pbc=True)
    assert nearest_distances(far, "Li", "F") == pytest.approx(20)


def test_bonds_are_counted_from_the_ligand():
    pairs = element_pairs(Atoms("LiPS4").symbols, "Li")
    assert ("S", "P") in pairs
    assert ("P", "S") not in pairs
    assert len(pairs) == 6


def labelled(potential, ratio: float, rattle: float = 0.0) -> Atoms:
    """The crystal at a volume, labelled by the potential, but for a zero of energies and an offset of stresses."""
    atoms = synthetic_crystal()
    atoms.set_cell(atoms.cell[:] * ratio ** (1 / 3), scale_atoms=True)
    if rattle:
        atoms.rattle(rattle, seed=4)
    atoms.info.update(
        material="made up", phase="fcc", group="strained", source="made up", level_of_theory="a pair potential"
    )
    copy = atoms.copy()
    copy.calc = calculator(potential, {"Li"})
    stress = copy.get_stress(voigt=False) - PULAY_GPA * units.GPa * np.eye(3)
    energy = copy.get_potential_energy() + 0.7 * len(copy)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=copy.get_forces(), stress=stress)
    return atoms


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A potential, strained cells and snapshots that it labelled, and a run around the crystal."""
    folder = tmp_path_factory.mktemp("study")
    potential = synthetic_potential(folder)
    write_frames(folder / "eos.extxyz", [labelled(potential, ratio) for ratio in reversed(RATIOS)])
    write_frames(folder / "snapshots.extxyz", [labelled(potential, 1.1), labelled(potential, 1.0, 0.05)])
    crystal = synthetic_crystal()
    crystal.positions[0] += [0.9, 0, 0]
    positions = np.repeat(crystal.positions[None], 4, axis=0)
    nothing = np.zeros(4)
    write_trajectory(
        folder / "run.h5",
        Trajectory(positions, crystal.numbers, crystal.cell[:], np.arange(4.0), nothing, nothing, 300.0),
    )
    write_json(folder / "checks.json", {"nve_drift_meV_per_atom_ps": -0.02})
    return folder


def test_a_potential_held_against_itself_differs_by_what_was_put_in(study):
    outputs = {name: study / f"{name}.csv" for name in ("eos", "metrics", "distances", "means")}
    flags = [word for name, path in outputs.items() for word in (f"--out-{name}", path)]
    code, said = run("check_potential", study, "--eos", study / "eos.extxyz", "--dataset", study / "snapshots.extxyz",
                     "--mobile", "Li", "--trajectories", study / "run.h5", "--checks", study / "checks.json",
                     *flags)  # fmt: skip
    assert (code, said) == (0, "")
    metrics = pd.read_csv(outputs["metrics"]).set_index("quantity")
    for name in ("volume", "bulk modulus"):
        row = metrics.loc[f"{name} at the minimum"]
        assert row["potential"] == pytest.approx(row["dft"], rel=1e-4)
    offset = metrics.loc["pressure of stresses less slope of energies"]
    assert offset["dft"] == pytest.approx(PULAY_GPA, abs=0.05)
    assert offset["potential"] == pytest.approx(0, abs=0.05)
    assert metrics.loc["energy error over the cells, up to a constant", "potential"] == pytest.approx(0, abs=1e-3)
    assert metrics.loc["largest drift of the energy without thermostat", "potential"] == -0.02
    eos = pd.read_csv(outputs["eos"])
    assert eos.groupby("source")["volume_A3_per_atom"].apply(lambda v: v.is_monotonic_increasing).all()
    means = pd.read_csv(outputs["means"]).set_index("source")
    assert means.loc["dft_at_rest", "mean_A"] == pytest.approx(means.loc["potential_at_rest", "mean_A"], abs=1e-3)
    # One of 32 atoms moved away from a neighbour and towards others, nearer than in any snapshot.
    assert 1 / 32 <= means.loc["md", "beyond_labelled"] <= 5 / 32
    bins = pd.read_csv(outputs["distances"]).query("source == 'md'")
    assert (bins["density_per_A"] * (bins["bin_right_A"] - bins["bin_left_A"])).sum() == pytest.approx(1, abs=1e-4)


def test_a_potential_is_trained_on_stresses_that_are_slopes_of_the_energies(study, tmp_path):
    frames = read_frames(study / "eos.extxyz")
    for number, atoms in enumerate(frames):
        atoms.info["group"] = f"group {number % 2}"
    write_frames(tmp_path / "frames.extxyz", frames)
    for atoms in read_training_frames(tmp_path / "frames.extxyz", PULAY_GPA):
        copy = atoms.copy()
        copy.calc = calculator(study, {"Li"})
        assert atoms.get_stress() == pytest.approx(copy.get_stress(), abs=1e-7)


WRONG = {
    "another level": (lambda frame: frame.info.update(level_of_theory="better"), "frame 2: level of theory better"),
    "another shape": (
        lambda frame: frame.set_cell(frame.cell[:] * [[1.01], [1], [1]], scale_atoms=True),
        "frame 2: its cell is not that of frame 0 under isotropic strain",
    ),
    "other atoms": (lambda frame: frame.symbols.__setitem__(3, "Na"), "frame 2: expected the same atoms"),
    "not at rest": (
        lambda frame: frame.calc.results["forces"].__setitem__((5, 0), 0.3),
        r"frame 2: a force of 0\.30 eV/Å; expected atoms at rest",
    ),
    "no stress": (lambda frame: frame.calc.results.pop("stress"), "frame 2: no stress"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_series_of_strained_cells_is_refused(study, tmp_path, name):
    change, message = WRONG[name]
    frames = read_frames(study / "eos.extxyz")
    change(frames[2])
    write_frames(tmp_path / "eos.extxyz", frames)
    with pytest.raises(InputError, match=message):
        read_strained_cells(tmp_path / "eos.extxyz")


def test_strained_cells_of_a_partly_occupied_crystal(tmp_path):
    (tmp_path / "crystal.cif").write_text(
        cif(123, (4, 4, 5), "Li1 Li 0 0 0 0.6", "Li2 Li 0 0 0.5 0.4", "F1 F 0.5 0.5 0.25 1.0")
    )
    said = ["--material", "made up", "--phase", "x", "--group", "g", "--out", tmp_path / "cells.extxyz"]
    command = ["strain_cells", tmp_path / "crystal.cif", "--volumes", 1.1, 0.9, *said]
    assert run(*command, "--empty", "Li2")[0] == 0
    small, large = read_frames(tmp_path / "cells.extxyz")
    assert small.get_chemical_formula() == "F2Li"
    assert (small.get_volume(), large.get_volume()) == pytest.approx((72, 88))
    assert small.get_scaled_positions() == pytest.approx(large.get_scaled_positions())
    code, text = run(*command, "--empty", "Li3")
    assert code == 2
    assert "no site Li3 to leave empty; it has Li1, Li2, F1" in text
