"""occupancy_table.py as a user runs it: equilibrium of a network by hand, and the mean over runs."""

import numpy as np
import pandas as pd
import pytest
from insilico_nmr import propagator
from insilico_nmr.files import write_json
from insilico_nmr.generator import occupations
from insilico_nmr.lattice import build_lattice, number_of_ions
from lattices import isolated_sites
from programs import run


def simulated(path, energy_kT: float, shift: int) -> None:
    """Sites A and B, B by `energy_kT` above A, 0.6 ions a site."""
    sites = isolated_sites("AB", [(0, 1, "nn")])
    rates = {("nn", "A", "B"): 1.0, ("nn", "B", "A"): float(np.exp(energy_kT))}
    lattice = build_lattice(sites, rates, (10, 10, 10))
    plan = propagator.make_plan(lattice, number_of_ions(lattice, 0.6), 1, 20_000, 5)
    sums = []
    for replica in range(2):
        measurement = propagator.begin(plan, replica)
        while propagator.proceed(plan, measurement):
            pass
        sums.append(measurement.sums)
    propagator.write_propagator(path, propagator.combine(plan, sums, 300.0).assign_attrs(shift=shift))
    write_json(path.with_name("sites.json"), sites)


def test_both_ways_are_laid_side_by_side(tmp_path):
    for name, energy, shift in (("a.nc", 1.0, 0), ("b.nc", 1.2, 1)):
        simulated(tmp_path / name, energy, shift)
    runs = [
        {"temperature_K": 300.0, "occupancies": {"A": {"ions_per_site": value, "standard_error": 0.01}}}
        for value in (0.70, 0.74, 0.78)
    ]
    write_json(tmp_path / "jumps.json", {"trajectories": runs})
    files = [tmp_path / "a.nc", tmp_path / "b.nc", "--sites", tmp_path / "sites.json", "--md-summary"]
    code, said = run("occupancy_table", *files, tmp_path / "jumps.json", "--out", tmp_path / "o.csv")
    assert code == 0, said
    table = pd.read_csv(tmp_path / "o.csv").set_index(["orbit", "origin"])
    model, moved = (occupations(np.array([0.0, -energy]), 0.6) for energy in (1.0, 1.2))
    # A finite box of 1000 cells differs from the endless lattice by a part in as many.
    assert table.loc[("A", "kmc"), "ions_per_site"] == pytest.approx(model[0], abs=2e-3)
    assert table.loc[("B", "kmc"), "ions_per_site"] == pytest.approx(model[1], abs=2e-3)
    half = table.loc[("A", "kmc"), "ci_high"] - table.loc[("A", "kmc"), "ions_per_site"]
    assert half == pytest.approx(1.96 * (moved[0] - model[0]), abs=2e-3)
    md = table.loc[("A", "md")]
    assert (md["ions_per_site"], md["ci_high"]) == pytest.approx((0.74, 0.74 + 4.303 * 0.04 / np.sqrt(3)), rel=1e-3)
    write_json(tmp_path / "jumps.json", {"trajectories": [{"temperature_K": 300.0}]})
    code, said = run("occupancy_table", *files, tmp_path / "jumps.json", "--out", tmp_path / "o.csv")
    assert (code, "expected trajectories with temperature_K and occupancies" in said) == (2, True)
