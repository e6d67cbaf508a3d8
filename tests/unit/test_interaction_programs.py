"""Ions that repel each other, from the potential to kinetic Monte Carlo, as a user runs the programs.

The potential is made up: lithium is held to its sites by springs, and repels lithium. The runs are made by kinetic
Monte Carlo of the same ions, in place of molecular dynamics.
"""

import argparse

import fit_interactions
import numpy as np
import pandas as pd
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from crystals import cif
from insilico_nmr import gas_kmc, lattice_gas
from insilico_nmr.files import read_json
from insilico_nmr.kmc import SITE, X, Z
from insilico_nmr.lattice import build_lattice
from insilico_nmr.rate_shifts import add_rate_arguments, rates_asked_for
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.sites import directed_classes, read_sites
from insilico_nmr.trajectory import Trajectory, write_trajectory
from programs import run

EDGE, REPEAT = 3.2, (3, 3, 3)
CIF = cif(47, (EDGE, EDGE, EDGE), "Li1 Li 0 0 0 0.6", "Li2 Li 0.5 0.5 0.5 0.2", "O1 O 0.5 0 0 1.0")
J_EV, SITE_EV, STRENGTH, TOP_EV, NU = 0.08, 0.03, 0.5, 0.30, 4e12
NEAREST = EDGE * np.sqrt(3) / 2


class Springs(Calculator):
    """Lithium in wells at both sites, SITE_EV apart, and J_EV for each pair at NEAREST, with no force between them."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        ions = np.flatnonzero(self.atoms.symbols == "Li")
        half = self.atoms.positions[ions] / (EDGE / 2)
        second = np.abs(half % 2 - 1).sum(axis=1) < 1.5  # nearer to the centre of the cell than to a corner
        well = EDGE / 2 * (2 * np.round((half - second[:, None]) / 2) + second[:, None])
        away = self.atoms.positions[ions] - well
        wells = self.atoms[ions]
        wells.positions = well
        pairs = len(neighbor_list("i", wells, NEAREST + 0.1)) / 2
        forces = np.zeros((len(self.atoms), 3))
        forces[ions] = -2 * away
        self.results = {"energy": (away**2).sum() + SITE_EV * second.sum() + J_EV * pairs, "forces": forces}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Crystal, sites, a potential by name, and runs at three temperatures."""
    path = tmp_path_factory.mktemp("interactions")
    (path / "crystal.cif").write_text(CIF)
    (path / "potential").write_text("made up")
    made = ["--mobile", "Li", "--jump-cutoff", NEAREST + 0.1, "--out", path / "sites.json"]
    assert run("make_sites", path / "crystal.cif", *made) == (0, "")
    sites = read_sites(path / "sites.json")
    pairs = [
        {name: jump[name] for name in ("from", "to", "image")} | {"energy_eV": STRENGTH * J_EV}
        for jump in sites["jumps"]
    ]
    position = np.array([site["position"] for site in sites["sites"]])
    for temperature in (500, 600, 700):
        kT = BOLTZMANN_EV_PER_K * temperature
        energy = {"Li1": 0.0, "Li2": SITE_EV + STRENGTH * 8 * J_EV * (0.6 - 0.2)}  # among mean occupancies
        rates = {key: NU * np.exp(-(TOP_EV + 0.1 - energy[key[1]]) / kT) for key in directed_classes(sites)}
        lattice = build_lattice(sites, rates, REPEAT)
        mean = np.array([{"Li1": 0.6, "Li2": 0.2}[orbit] for orbit in lattice.orbit])
        gas = lattice_gas.build_gas(lattice, pairs, temperature, NU, occupancy=mean)
        state = gas_kmc.start_in_equilibrium(gas, (22,), np.random.default_rng(7))
        cells, frame_s = lattice.cells_of(state.where), 0.01 / max(rates.values())
        records = gas_kmc.run_snapshots(gas, state, frame_s * np.arange(1, 40_001))
        places = (position[records[..., SITE]] + cells + records[..., X : Z + 1]) * EDGE
        host = EDGE * (np.array([0.5, 0, 0]) + np.array(list(np.ndindex(REPEAT))))
        positions = np.concatenate([places, np.broadcast_to(host, (len(places), *host.shape))], axis=1)
        time_ps = 1e12 * frame_s * np.arange(len(places))
        numbers, cell = np.array([3] * 22 + [8] * 27), EDGE * np.diag(REPEAT)
        kelvin = temperature + 30.0 * np.resize([-1, 1], len(time_ps))
        trajectory = Trajectory(
            positions.astype(np.float32), numbers, cell, time_ps, kelvin, 0 * time_ps, float(temperature)
        )
        write_trajectory(path / f"run_{temperature}.h5", trajectory)
    return path


def arguments_of(*words: list) -> argparse.Namespace:
    """What programs that simulate with rates are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sites")
    add_rate_arguments(parser)
    return parser.parse_known_args([str(word) for part in words for word in part])[0]


def made(folder, name: str) -> list:
    return [folder / "crystal.cif", "--sites", folder / "sites.json", "--out", folder / name]


def fit(folder) -> None:
    """Interactions to the potential."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_interactions, "calculator", lambda *_: Springs())
        patch.setattr(fit_interactions, "member_file", lambda potential, _: potential)
        tables = [word for name in ("table", "parity", "cutoffs") for word in (f"--{name}", folder / f"{name}.csv")]
        arguments = ["--potential", folder / "potential", "--repeat", *REPEAT, "--cutoff", NEAREST + 0.1]
        arguments += ["--arrangements", 30, "--temperature", 600, "--seed", 1, "--state", folder / "state", *tables]
        code, said = run("fit_interactions", *made(folder, "fitted.json"), *arguments)
        assert code == 0, said


@pytest.fixture(scope="module")
def fitted(folder):
    """Interactions fitted to the potential, and the rate model with their strength."""
    fit(folder)
    runs = [folder / f"run_{temperature}.h5" for temperature in (500, 600, 700)]
    tables = [word for name in ("stays", "refills", "jumps") for word in (f"--{name}", folder / f"{name}.csv")]
    code, said = run(
        "analyse_jumps", *runs, "--sites", folder / "sites.json", "--core-radius", 0.8, "--out", folder / "counts.csv",
        "--member-counts", folder / "members.csv", "--summary", folder / "jumps.json", *tables,
        "--interactions", folder / "fitted.json", "--neighbours", folder / "neighbours.csv",
    )  # fmt: skip
    assert code == 0, said
    code, said = run(
        "fit_rates", folder / "counts.csv", "--members", folder / "members.csv", "--sites", folder / "sites.json",
        "--min-count", 5, "--neb-error", 0.05, "--prefactor", 5e12, "--prefactor-factor", 3, "--temperatures", 500, 400,
        "--neighbours", folder / "neighbours.csv", "--interactions", folder / "fitted.json",
        "--out-interactions", folder / "interactions.json", "--out", folder / "rates.csv",
        "--out-members", folder / "rate_members.csv", "--model", folder / "model.json",
    )  # fmt: skip
    assert code == 0, said
    return said


def test_pair_energies_are_those_of_the_potential(folder, fitted):
    table = pd.read_csv(folder / "table.csv").set_index("name")
    pair = table[table["kind"] == "pair"].iloc[0]
    assert pair["energy_eV"] == pytest.approx(J_EV, abs=0.004)
    assert table.loc["Li2", "energy_eV"] == pytest.approx(SITE_EV, abs=0.01)
    assert read_json(folder / "fitted.json")["occupancy"] == {"Li1": 0.6, "Li2": 0.2}


def test_a_fit_that_was_stopped_goes_on_to_the_same_numbers(folder, fitted):
    for number in range(12, 19):
        (folder / "state" / f"arrangement_{number:04d}.json").unlink()
    before = (folder / "table.csv").read_text()
    fit(folder)
    assert (folder / "table.csv").read_text() == before


def test_their_strength_is_that_of_the_jumps(folder, fitted):
    model = read_json(folder / "model.json")
    assert model["parameters"][-1] == "interaction_strength"
    error = model["covariance"][-1][-1] ** 0.5
    assert model["interaction_strength"] == pytest.approx(STRENGTH, abs=4 * error)
    assert error < 0.1
    assert f"strength of interactions {model['interaction_strength']:.3f}" in fitted
    among = SITE_EV + STRENGTH * 8 * J_EV * (0.6 - 0.2)
    assert model["site_energies_eV"]["Li2"] == pytest.approx(among, abs=0.015)
    rates = pd.read_csv(folder / "rates.csv")
    both = rates[rates["temperature_K"] == 500].set_index(["origin", "from"])["rate_per_s"]
    for start in ("Li1", "Li2"):
        assert both["md", start] == pytest.approx(both["model", start], rel=0.15)
    written = read_json(folder / "interactions.json")
    assert written["strength"] == model["interaction_strength"]


def test_the_lattice_gas_is_laid_beside_the_runs(folder, fitted):
    runs = [folder / f"run_{temperature}.h5" for temperature in (500, 600, 700)]
    code, said = run(
        "compare_gas", *runs, "--cif", folder / "crystal.cif", "--sites", folder / "sites.json",
        "--interactions", folder / "fitted.json", "--cutoff", NEAREST + 0.1, "--model", folder / "model.json",
        "--core-radius", 0.8, "--seed", 2, "--out", folder / "pairs.csv", "--out-occupancies", folder / "filled.csv",
    )  # fmt: skip
    assert code == 0, said
    pairs = pd.read_csv(folder / "pairs.csv")
    pairs = pairs[pairs["kind"] == "pair"]
    off = {name: ((pairs[name] - pairs["md"]) / pairs["md_se"]).abs().max() for name in ("interacting", "exclusion")}
    assert off["interacting"] < 4 < off["exclusion"]
    filled = pd.read_csv(folder / "filled.csv").set_index(["temperature_K", "origin", "orbit"])
    for temperature in (500.0, 600.0, 700.0):
        md, kmc = (filled.loc[(temperature, origin, "Li1")] for origin in ("md", "kmc"))
        assert kmc["ions_per_site"] == pytest.approx(md["ions_per_site"], abs=0.03)
        assert 0 < kmc["ci_high"] - kmc["ci_low"] < 0.1


def test_kinetic_monte_carlo_and_its_shifts_go_on_from_there(folder, fitted):
    common = [folder / "sites.json", "--rates", folder / "rates.csv", "--temperature", 400, "--supercell", 3, 3, 3,
              "--seed", 3, "--interactions", folder / "interactions.json"]  # fmt: skip
    budget = ["--replicas", 2, "--max-events", 20_000, "--max-residence-times", 20]
    shifted = ["--rate-model", folder / "model.json", "--shift", 1, "--shift-temperatures", 400]
    told = []
    for name, more in (("P", []), ("Q", shifted)):
        output = ["--checkpoint", folder / name, "--out", folder / f"{name}.nc"]
        code, said = run("run_kmc", *common, *budget, *more, *output)
        assert code == 0, said
        told.append(said)
    assert "shift 1: strength of interactions" in told[1]
    asked = rates_asked_for(arguments_of(common, shifted), read_json(folder / "sites.json"))
    model = read_json(folder / "model.json")
    step = np.array(model["covariance"])[-1] / model["covariance"][-1][-1] ** 0.5
    assert asked.move.strength == pytest.approx(step[-1])
    assert abs(step[0]) > 0.001
    assert asked.move.attempt == pytest.approx(np.exp(step[0]))  # a rate without barrier stays the attempt frequency
    width = ["--isotope", "7Li", "--replicas", 2, "--max-events", 20_000, "--out", folder / "width.csv"]
    code, said = run("simulate_linewidth", *common, *width)
    assert code == 0, said
    assert 0 < pd.read_csv(folder / "width.csv")["fwhm_Hz"][0] < 1e5


def test_counts_of_other_runs_are_refused(folder, fitted):
    table = pd.read_csv(folder / "neighbours.csv")
    table.assign(count=table["count"] + 1).to_csv(folder / "more.csv", index=False)
    code, said = run(
        "fit_rates", folder / "counts.csv", "--members", folder / "members.csv", "--sites", folder / "sites.json",
        "--min-count", 5, "--neb-error", 0.05, "--prefactor", 5e12, "--prefactor-factor", 3, "--temperatures", 500,
        "--neighbours", folder / "more.csv", "--interactions", folder / "fitted.json",
        "--out-interactions", folder / "i.json", "--out", folder / "r.csv", "--out-members", folder / "m.csv",
        "--model", folder / "x.json",
    )  # fmt: skip
    assert (code, "more.csv: does not add up" in said) == (2, True)
