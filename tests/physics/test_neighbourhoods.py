"""Jumps of interacting ions: what made them is found from where the ions were, frame by frame.

The trajectories are kinetic Monte Carlo of the lattice gas with known parameters, in place of molecular dynamics.
"""

import numpy as np
import pandas as pd
import pytest
from insilico_nmr import cluster_energies, gas_kmc, lattice_gas, neighbourhoods
from insilico_nmr.crystal import make_crystal, supercell_cells
from insilico_nmr.errors import InputError
from insilico_nmr.events import Assignment, count_jumps, find_jumps, supercell_number
from insilico_nmr.files import write_json
from insilico_nmr.kmc import SITE, X, Z
from insilico_nmr.lattice import build_lattice
from insilico_nmr.rates import BOLTZMANN_EV_PER_K, fit_rates
from insilico_nmr.sites import build_sites, directed_classes

REPEAT, EDGE, N_IONS = (3, 3, 3), 3.0, 27
SITE_EV, TOPS_EV, NU, STRENGTH = {"A": 0.0, "B": 0.10}, {}, 4e12, 0.6
TEMPERATURES = 500.0, 600.0, 700.0


@pytest.fixture(scope="module")
def sites() -> dict:
    """Two sites a cell, each linked with the other's eight nearest, in classes that a mirror tells apart."""
    atoms = [("A", "Li", 0.7, np.zeros(3)), ("B", "Li", 0.3, np.array([0.5, 0.5, 0.45]))]
    group = [np.eye(3), np.diag([-1, 1, 1])]
    return build_sites(make_crystal(EDGE * np.eye(3), group, np.zeros((2, 3)), atoms), "Li", 2.75)


@pytest.fixture(scope="module")
def interactions(sites) -> dict:
    pairs = [{name: jump[name] for name in ("from", "to", "image")} | {"energy_eV": 0.05} for jump in sites["jumps"]]
    return {"pairs": pairs, "occupancy": {"A": 0.7, "B": 0.3}}


@pytest.fixture(scope="module")
def runs(sites, interactions) -> dict[float, Assignment]:
    """Frames of the gas at each temperature, closer together than jumps are."""
    names = [entry["name"] for entry in sites["classes"]]
    tops = {name: 0.30 + 0.04 * n for n, name in enumerate(names)}
    TOPS_EV.update(tops)
    pairs = [pair | {"energy_eV": STRENGTH * pair["energy_eV"]} for pair in interactions["pairs"]]
    found = {}
    for temperature in TEMPERATURES:
        kT = BOLTZMANN_EV_PER_K * temperature
        rates = {key: NU * np.exp(-(tops[key[0]] - SITE_EV[key[1]]) / kT) for key in directed_classes(sites)}
        lattice = build_lattice(sites, rates, REPEAT)
        mean = np.array([interactions["occupancy"][orbit] for orbit in lattice.orbit])
        gas = lattice_gas.build_gas(lattice, pairs, temperature, NU, occupancy=mean)
        state = gas_kmc.start_in_equilibrium(gas, (N_IONS,), np.random.default_rng(7))
        # Of every ion the cell at the start, which records count from.
        cells = lattice.cells_of(state.where)
        frame_s = 0.003 / sum(rates[key] for key in rates if key[1] == "A")
        records = gas_kmc.run_snapshots(gas, state, frame_s * np.arange(1, 200_001))
        found[temperature] = Assignment(
            sites,
            REPEAT,
            site=records[..., SITE].astype(int),
            cell=cells + records[..., X : Z + 1],
            outside=np.zeros(records.shape[:2], bool),
            displacement_A=np.zeros((*records.shape[:2], 3), np.float32),
            frame_s=frame_s,
        )
    return found


@pytest.fixture(scope="module")
def counted(runs, interactions) -> pd.DataFrame:
    tables = [
        neighbourhoods.count_by_neighbours(run, find_jumps(run), interactions, T).assign(temperature_K=T)
        for T, run in runs.items()
    ]
    return pd.concat(tables).assign(fano=1.0)


def test_counts_by_neighbours_add_up_to_those_of_classes(runs, counted, sites):
    for temperature, run in runs.items():
        counts, exposures = (blocks.sum(axis=0) for blocks in count_jumps(run, find_jumps(run)))
        assert counts.sum() > 3000
        sums = counted[counted["temperature_K"] == temperature].groupby(["class", "from", "to"])
        for n, key in enumerate(directed_classes(sites)):
            assert sums["count"].sum()[key] == counts[n]
            assert sums["exposure_s"].sum()[key] == pytest.approx(exposures[n], rel=1e-9)


def test_rates_among_interacting_neighbours_are_found(counted, sites):
    """The strength of interactions, barriers and site energies are those that the jumps were made with."""
    model = fit_rates(sites["classes"], counted, [], 5e12, 3)
    assert model.interacting
    error = np.sqrt(np.diag(model.covariance))
    assert model.strength == pytest.approx(STRENGTH, abs=4 * error[-1])
    assert error[-1] < 0.03
    assert model.site_energies_eV["B"] == pytest.approx(SITE_EV["B"], abs=4 * error[1])
    for n, (name, top) in enumerate(TOPS_EV.items()):
        assert model.barrier_tops_eV[name] == pytest.approx(top, abs=4 * error[2 + n])
    assert model.chi_squared < 2 * model.degrees_of_freedom
    # Without the neighbours site energies hold the mean of the interactions, and the counts are not explained.
    plain = counted.groupby(neighbourhoods.KEYS, as_index=False)[["count", "exposure_s"]].sum().assign(fano=1.0)
    alone = fit_rates(sites["classes"], plain, [], 5e12, 3)
    assert abs(alone.site_energies_eV["B"] - SITE_EV["B"]) > 5 * error[1]


def test_an_ion_that_follows_within_a_frame_met_the_same_neighbours_as_one_that_does_so_a_frame_later(
    sites, interactions
):
    onward = next(jump for jump in sites["jumps"] if jump["from"] == 0)
    beyond = next(
        jump
        for jump in sites["jumps"]
        if jump["from"] == onward["to"] and jump["image"] != (-np.array(onward["image"])).tolist()
    )
    places = [(0, np.zeros(3, int)), (onward["to"], np.array(onward["image"]))]
    places.append((beyond["to"], places[1][1] + beyond["image"]))
    met = []
    # Places of the follower and of the one ahead; at last that one is assigned to its core while both are on the way.
    for steps in ([(0, 1), (0, 2), (1, 2)], [(0, 1), (1, 2)], [(0, 1), (1, 1), (1, 2)]):
        site, cell = (np.array([[places[n][part] for n in step] for step in steps]) for part in (0, 1))
        shape = site.shape
        run = Assignment(sites, REPEAT, site, cell, np.zeros(shape, bool), np.zeros((*shape, 3), np.float32), 1e-13)
        found = neighbourhoods.count_by_neighbours(run, find_jumps(run), interactions, 500.0)
        (row,) = found[(found["count"] > 0) & (found["from"] == "A")].itertuples(index=False)
        met.append((row[0], row.log_x))
        assert row.exposure_s > 0
    assert met[0] == met[1] == met[2]


def test_the_gas_of_the_model_has_the_occupancies_of_the_run(runs, counted, sites, interactions):
    """At the highest temperature, where the run is long enough to tell."""
    model = fit_rates(sites["classes"], counted, [], 5e12, 3)
    pairs = [pair | {"energy_eV": model.strength * pair["energy_eV"]} for pair in interactions["pairs"]]
    on_a = (runs[700.0].site == 0).mean(axis=1)
    parts = [part.mean() for part in np.array_split(on_a, 20)]
    error = np.std(parts, ddof=1) / np.sqrt(len(parts))
    plan = 700.0, REPEAT, N_IONS, 4000, 3
    gas = cluster_energies.sample_gas(sites, model.site_energies_eV, pairs, *plan, interactions["occupancy"])
    free = cluster_energies.sample_gas(sites, model.site_energies_eV, [], *plan)
    assert error < 0.012
    assert gas[:, 0::2].sum() / gas.sum() == pytest.approx(on_a.mean(), abs=3 * error)
    assert abs(free[:, 0::2].sum() / free.sum() - on_a.mean()) > 5 * error


def test_rates_beside_the_models_are_among_mean_occupancies(counted, sites):
    model = fit_rates(sites["classes"], counted, [], 5e12, 3)
    sums = counted.groupby(neighbourhoods.KEYS, as_index=False)[["count", "exposure_s"]].sum()
    sums["rate_per_s"] = sums["count"] / sums["exposure_s"]
    found = neighbourhoods.among_mean_occupancies(
        sums.assign(ci_low_per_s=sums["rate_per_s"], ci_high_per_s=sums["rate_per_s"]), counted, model
    )
    for row in found.itertuples():
        expected = model.rate((row[1], row[2], row[3]), row.temperature_K)[0]
        assert row.rate_per_s == pytest.approx(expected, rel=6 / np.sqrt(row.count))


def test_cells_are_where_the_lattice_has_them(runs):
    """Ions never share a site: the frames above are those of the gas."""
    run = runs[600.0]
    assert (
        np.sort(run.supercell_site[::500], axis=1)[:, 1:] != np.sort(run.supercell_site[::500], axis=1)[:, :-1]
    ).all()
    assert supercell_number(supercell_cells(REPEAT), REPEAT).tolist() == list(range(27))


def test_interactions_without_an_orbit_are_refused(sites, interactions, tmp_path):
    write_json(tmp_path / "i.json", interactions | {"occupancy": {"A": 0.7}})
    with pytest.raises(InputError, match="occupancy has no B"):
        neighbourhoods.read_interactions(tmp_path / "i.json", sites)
    write_json(tmp_path / "i.json", {"pairs": interactions["pairs"]})
    with pytest.raises(InputError, match="no occupancy"):
        neighbourhoods.read_interactions(tmp_path / "i.json", sites)
