"""Tensors that depend on filled neighbours: symmetry, what a fit gives back, what cannot be told apart.

The crystal of test_site_tensors.py with fewer sites: point group 432, Li on threefold axes (8 a cell).
"""

from itertools import permutations, product

import correlate_trajectory
import numpy as np
import pytest
from insilico_nmr import site_tensors, surroundings
from insilico_nmr.crystal import make_crystal
from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json, write_json
from insilico_nmr.sites import build_sites
from insilico_nmr.trajectory import Trajectory
from programs import run

EDGE, REPEAT, REACH = 8.0, (2, 2, 2), 4.0


@pytest.fixture(scope="module")
def sites() -> dict:
    signed = [np.diag(s) @ np.eye(3)[list(p)] for p in permutations(range(3)) for s in product((1, -1), repeat=3)]
    group = np.array([matrix for matrix in signed if np.linalg.det(matrix) > 0])
    atoms = [("Axial", "Li", 0.6, np.full(3, 0.22)), ("F", "F", 1.0, np.zeros(3))]
    return build_sites(make_crystal(EDGE * np.eye(3), group, np.zeros((24, 3)), atoms), "Li", 4.0)


@pytest.fixture(scope="module")
def near(sites) -> surroundings.Neighbours:
    return surroundings.neighbours(sites, REACH)


def arrangements(sites: dict, frames: int, filling: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Sites and cells of as many ions in every frame, anew in each."""
    rng = np.random.default_rng(3)
    places = [(site, *cell) for cell in product(*map(range, REPEAT)) for site in range(len(sites["sites"]))]
    count = round(filling * len(places))
    drawn = np.array([[places[n] for n in rng.permutation(len(places))[:count]] for _ in range(frames)])
    return drawn[..., 0], drawn[..., 1:]


def pair_units(sites: dict, near: surroundings.Neighbours) -> np.ndarray:
    """(3rr − r²1)/r⁵ of every neighbour, (S, z, 3, 3): what a unit charge there does; without the code under test."""
    cell = np.array(sites["cell"])
    places = np.array([entry["position"] for entry in sites["sites"]]) @ cell
    r = places[near.site] + near.image @ cell - places[:, None]
    length = np.linalg.norm(r, axis=-1)[..., None, None]
    return (3 * np.einsum("ski,skj->skij", r, r) - length**2 * np.eye(3)) / length**5


def pair_tensors(sites: dict, near: surroundings.Neighbours, site: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """The sum of `pair_units` over the filled neighbours."""
    return np.einsum("fnk,fnkij->fnij", occupied, pair_units(sites, near)[site])


def test_charges_on_neighbours_are_given_back_exactly(sites, near):
    site, cell = arrangements(sites, 60)
    occupied = surroundings.filled(near, REPEAT, site, cell)
    tensors = pair_tensors(sites, near, site, occupied)
    coefficients = surroundings.fit(sites, near, site, occupied, tensors)
    found = surroundings.tensors_of(sites, coefficients, site, occupied)
    assert np.abs(found - tensors).max() < 0.01 * np.abs(tensors).max()  # the ridge takes less than a per cent
    # In arrangements that were not fitted, too.
    site, cell = arrangements(sites, 80)
    occupied = surroundings.filled(near, REPEAT, site[60:], cell[60:])
    found = surroundings.tensors_of(sites, coefficients, site[60:], occupied)
    assert np.abs(found - pair_tensors(sites, near, site[60:], occupied)).max() < 0.01 * np.abs(tensors).max()


def test_coefficients_obey_the_point_group_of_the_site(sites, near):
    """Even of noise: an operation turns the tensor of a neighbour into that of the neighbour it leads to."""
    site, cell = arrangements(sites, 5)
    occupied = surroundings.filled(near, REPEAT, site, cell)
    noise = np.random.default_rng(4).normal(size=(*site.shape, 3, 3))
    coefficients = surroundings.fit(sites, near, site, occupied, noise + noise.swapaxes(-1, -2))
    for index, orders in near.permutations.items():
        assert len(orders) == 3
        own, each = coefficients[index, 0], coefficients[index, 1 : 1 + near.count[index]]
        for turn, order in zip(np.array(sites["stabilisers"][str(index)]), orders, strict=True):
            assert turn @ own @ turn.T == pytest.approx(own, abs=1e-12)
            assert each[order] == pytest.approx(turn @ each @ turn.T, abs=1e-12)


def test_filled_neighbours_are_counted_from_both_sides(sites, near):
    """A full lattice fills all; in any other an ion is its neighbours' neighbour: pairs counted twice."""
    site, cell = arrangements(sites, 3, filling=1.0)
    full = surroundings.filled(near, REPEAT, site, cell)
    assert full.sum(axis=-1) == pytest.approx(near.count[site])
    site, cell = arrangements(sites, 3)
    there = np.array([entry["position"] for entry in sites["sites"]])[site] + cell
    apart = there[:, :, None] - there[:, None]
    apart = (apart - 2 * np.rint(apart / 2)) * EDGE
    distance = np.linalg.norm(apart, axis=-1)
    expected = ((distance < REACH) & (distance > 0)).sum(axis=(1, 2))
    assert surroundings.filled(near, REPEAT, site, cell).sum(axis=(1, 2)) == pytest.approx(expected)


def test_neighbours_that_are_always_filled_belong_to_the_site(sites, near):
    site, cell = arrangements(sites, 4, filling=1.0)
    occupied = surroundings.filled(near, REPEAT, site, cell)
    tensors = pair_tensors(sites, near, site, occupied)
    coefficients = surroundings.fit(sites, near, site, occupied, tensors)
    assert np.abs(coefficients[:, 1:]).max() < 1e-12
    assert surroundings.tensors_of(sites, coefficients, site, occupied) == pytest.approx(tensors)


def test_halves_of_a_run_do_not_see_themselves(sites, near):
    """Of noise, nothing is explained in the half that was not fitted; of charges, all."""
    site, cell = arrangements(sites, 40)
    occupied = surroundings.filled(near, REPEAT, site, cell)
    noise = np.random.default_rng(5).normal(size=(*site.shape, 3, 3))
    noise += noise.swapaxes(-1, -2)
    found = correlate_trajectory.of_other_half(sites, near, site, occupied, noise)
    assert ((noise - found) ** 2).sum() > (noise**2).sum()
    tensors = pair_tensors(sites, near, site, occupied)
    found = correlate_trajectory.of_other_half(sites, near, site, occupied, tensors)
    assert np.abs(found - tensors).max() < 0.01 * np.abs(tensors).max()


def test_members_are_laid_beside_their_mean(sites, near):
    """Charges as large as 1, 2 and 3: squares as 1, 4, 9, over 14/3."""
    site, cell = arrangements(sites, 40)
    occupied = surroundings.filled(near, REPEAT, site, cell)
    tensors = pair_tensors(sites, near, site, occupied)
    found = correlate_trajectory.member_scales(sites, near, site, occupied, [tensors, 2 * tensors, 3 * tensors])
    assert found == pytest.approx(np.array([1, 4, 9]) * 3 / 14)
    # Independent neighbours: n_k − ⟨n_k⟩ has the variance c(1 − c), and squares of unit charges add up.
    coefficients = surroundings.fit(sites, near, site, occupied, tensors)
    squares = (pair_units(sites, near) ** 2).sum(axis=(-1, -2, -3))[0]
    there = occupied[..., : near.count[0]]
    filling = there.mean()
    expected = filling * (1 - filling) * squares
    assert surroundings.mean_square(sites, coefficients, site, occupied) == pytest.approx(expected, rel=0.05)


def test_a_site_out_of_place_is_named(sites):
    moved = sites | {"sites": [dict(entry) for entry in sites["sites"]]}
    moved["sites"][3]["position"] = np.add(moved["sites"][3]["position"], [0.03, 0, 0]).tolist()
    with pytest.raises(InputError, match="neighbours"):
        surroundings.neighbours(moved, REACH)


def test_an_orbit_that_no_ion_visits_is_named(sites, near):
    empty = np.empty((2, 0), int)
    with pytest.raises(InputError, match="Axial was not visited"):
        surroundings.fit(sites, near, empty, np.empty((2, 0, near.site.shape[1])), np.empty((2, 0, 3, 3)))


def test_tensors_of_a_crowded_run_become_those_of_the_equilibrium(sites, tmp_path):
    """Charges add up, so that means at 0.6 ions a site tell those at 0.3 exactly."""
    near = surroundings.neighbours(sites)
    site, cell = arrangements(sites, 40)
    cell_A, places = np.array(sites["cell"]), np.array([entry["position"] for entry in sites["sites"]])
    positions = np.concatenate([(places[site] + cell) @ cell_A, np.zeros((len(site), 1, 3))], axis=1)
    numbers = np.array([3] * site.shape[1] + [9])
    box = cell_A * np.array(REPEAT)[:, None]
    time = np.arange(float(len(site)))
    followed = Trajectory(positions, numbers, box, time, 300 + 0 * time, 0 * time, 300.0)
    parts = site_tensors.neighbours_filled([followed], sites, len(site))
    assert np.mean(parts) == pytest.approx(0.6, abs=0.02)
    group = near.permutations[0]
    for order in group:  # neighbours on one orbit of the threefold axis are filled alike
        assert np.array(parts[0])[order] == pytest.approx(parts[0])

    def content(filling) -> list:
        tensors = [np.einsum("k,kij->ij", filling[s], each) for s, each in enumerate(pair_units(sites, near))]
        return [
            {"index": s, "orbit": "Axial", "tensor": tensors[s].tolist(), "members": [tensors[s].tolist()],
             "samples": [], "filled": list(filling[s])}
            for s in range(8)
        ]  # fmt: skip

    occupied = surroundings.filled(near, REPEAT, site, cell)
    coefficients = surroundings.fit(sites, near, site, occupied, pair_tensors(sites, near, site, occupied))
    write_json(tmp_path / "around.json", {"sites": surroundings.content_of(sites, near, coefficients)})
    write_json(tmp_path / "sites.json", sites)
    write_json(
        tmp_path / "T.json", {"temperature_K": 300.0, "isotope": "7Li", "method": "runs", "states": content(parts)}
    )
    rows = [f"{c['name']},Axial,Axial,300,1e9,model" for c in sites["classes"]]
    (tmp_path / "rates.csv").write_text("\n".join(["class,from,to,temperature_K,rate_per_s,origin", *rows]) + "\n")
    command = ["adapt_tensors", tmp_path / "T.json", "--surroundings", tmp_path / "around.json", "--sites",
               tmp_path / "sites.json", "--rates", tmp_path / "rates.csv", "--concentration", 0.3]  # fmt: skip
    code, said = run(*command, "--out", tmp_path / "adapted.json")
    assert code == 0, said
    expected = content(np.full((8, near.site.shape[1]), 0.3))
    for state, other in zip(read_json(tmp_path / "adapted.json")["states"], expected, strict=True):
        for name in ("tensor", "members"):
            assert np.array(state[name]) == pytest.approx(
                np.array(other[name]), abs=0.01 * np.abs(pair_units(sites, near)).max()
            )
    states = content(parts)
    states[3]["filled"].pop()
    write_json(tmp_path / "T.json", {"temperature_K": 300.0, "isotope": "7Li", "method": "runs", "states": states})
    code, said = run(*command, "--out", tmp_path / "adapted.json")
    assert (code, "state 3 says of" in said) == (2, True)
