"""occupancy_table.py as a user runs it: equilibrium of a network by hand, and the mean over runs."""

import numpy as np
import pandas as pd
import pytest
from insilico_nmr import propagator
from insilico_nmr.files import write_json
from insilico_nmr.generator import occupations
from insilico_nmr.lattice import build_lattice, number_of_ions
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from lattices import isolated_sites
from occupancy_table import logit_with_error
from programs import run
from scipy.special import logit


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


def rate_model(energy_kT: float, variance_kT: float) -> dict:
    """The model of `simulated` at 300 K, its site energy with a variance."""
    kT = BOLTZMANN_EV_PER_K * 300
    return {
        "parameters": ["ln_prefactor", "nn", "B"], "prefactor_per_s": 1e12, "barrier_tops_eV": {"nn": 0.5},
        "site_energies_eV": {"A": 0.0, "B": energy_kT * kT},
        "covariance": [[0.04, 0, 0], [0, 0.01, 0], [0, 0, variance_kT * kT**2]],
    }  # fmt: skip


def test_a_full_orbit_has_an_interval():
    """60 kT below the other: its vacancies are fewer than double precision tells from none."""
    known = logit_with_error(np.array(["A", "B"]), rate_model(60.0, 0.09), 300.0, 0.6, 1.0)
    # B has 0.2 ions a site whatever its energy, and that of A moves with it.
    assert known["mean"].to_numpy() == pytest.approx([60 + logit(0.2), logit(0.2)], rel=1e-6)
    assert known["sd"].to_numpy() == pytest.approx([0.3, 0.0], abs=1e-3)


def test_both_ways_are_laid_side_by_side(tmp_path):
    simulated(tmp_path / "a.nc", 1.0, 0)
    write_json(tmp_path / "model.json", rate_model(1.0, 0.09))
    runs = [
        {"temperature_K": 300.0, "occupancies": {"A": {"ions_per_site": value, "standard_error": 0.01}}}
        for value in (0.70, 0.74, 0.78)
    ]
    write_json(tmp_path / "jumps.json", {"trajectories": runs})
    flags = ["--sites", tmp_path / "sites.json", "--md-summary", tmp_path / "jumps.json"]
    flags += ["--rate-model", tmp_path / "model.json", "--out", tmp_path / "o.csv"]
    code, said = run("occupancy_table", tmp_path / "a.nc", *flags)
    assert code == 0, said
    table = pd.read_csv(tmp_path / "o.csv").set_index(["orbit", "origin"])
    model = occupations(np.array([0.0, -1.0]), 0.6)
    # A finite box of 1000 cells differs from the endless lattice by a part in as many.
    assert table.loc[("A", "kmc"), "ions_per_site"] == pytest.approx(model[0], abs=2e-3)
    assert table.loc[("B", "kmc"), "ions_per_site"] == pytest.approx(model[1], abs=2e-3)
    # What one standard deviation of the site energy, 0.3 kT, does to the ions on both sites.
    up, down = (occupations(np.array([0.0, -1.0 - 0.3 * sign]), 0.6) for sign in (1, -1))
    for place, orbit in enumerate("AB"):
        low, high = table.loc[(orbit, "kmc"), ["ci_low", "ci_high"]]
        expected = 1.96 * abs(logit(up[place]) - logit(down[place]))
        assert logit(high) - logit(low) == pytest.approx(expected, rel=0.02)
    md = table.loc[("A", "md")]
    assert (md["ions_per_site"], md["ci_high"]) == pytest.approx((0.74, 0.74 + 4.303 * 0.04 / np.sqrt(3)), rel=1e-3)
    before = table.loc[("A", "kmc"), "ci_high"]
    code, said = run("occupancy_table", tmp_path / "a.nc", *flags, "--vacancy-factor", 1.2)
    assert pd.read_csv(tmp_path / "o.csv").set_index(["orbit", "origin"]).loc[("A", "kmc"), "ci_high"] > before
    simulated(tmp_path / "b.nc", 1.2, 1)
    code, said = run("occupancy_table", tmp_path / "b.nc", *flags)
    assert (code, "b.nc is of a rate model that was moved" in said) == (2, True)
    write_json(tmp_path / "jumps.json", {"trajectories": [{"temperature_K": 300.0}]})
    code, said = run("occupancy_table", tmp_path / "a.nc", *flags)
    assert (code, "expected trajectories with temperature_K and occupancies" in said) == (2, True)
