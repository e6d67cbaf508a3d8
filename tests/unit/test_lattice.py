"""Networks and rate tables that cannot be trusted are refused, by the name of what is wrong."""

import copy

import numpy as np
import pytest
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import build_lattice, number_of_ions, read_rates
from lattices import ONE_RATE, THREE_RATES, bravais, isolated_sites, three_orbits

HEADER = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin\n"


def refused(message, sites, rates, supercell=(3, 3, 3)):
    with pytest.raises(InputError, match=message):
        build_lattice(sites, rates, supercell)


@pytest.mark.parametrize(
    ("kind", "neighbours"), [("simple cubic", 6), ("bcc", 8), ("fcc", 12), ("diamond", 4), ("honeycomb", 3)]
)
def test_every_site_has_its_neighbours_one_jump_away(kind, neighbours):
    lattice = build_lattice(bravais(kind), ONE_RATE, (4, 5, 3))
    table = lattice.neighbour.reshape(lattice.n_sites, -1)
    assert table.shape == (4 * 5 * 3 * len(lattice.basis), neighbours)
    # Each jump has its way back: site i is where the slot `jump_back` of its neighbour leads.
    back = np.tile(lattice.jump_back.reshape(len(lattice.basis), -1), (60, 1))
    assert np.array_equal(table[table, back], np.broadcast_to(np.arange(lattice.n_sites)[:, None], table.shape))
    start, end, _ = lattice.links
    steps = lattice.basis[end] + lattice.jump_image @ lattice.cell - lattice.basis[start]
    assert np.allclose(np.linalg.norm(steps, axis=1), 1.0)


def test_a_jump_without_its_reverse_is_named():
    sites = bravais("diamond")
    del sites["jumps"][0]
    refused(r"class nn from site . \(A\) to . \(A\).* has no reverse", sites, ONE_RATE)


def test_a_reverse_of_another_class_is_no_reverse():
    sites = bravais("simple cubic")
    sites["jumps"][0]["class"] = "other"
    refused("no reverse of the same class", sites, ONE_RATE)


def test_a_jump_twice_is_named():
    sites = bravais("simple cubic")
    sites["jumps"].append(dict(sites["jumps"][3]))
    refused("jump 6 .* is there twice", sites, ONE_RATE)


def test_a_jump_to_nowhere_is_named():
    sites = bravais("simple cubic")
    sites["jumps"][2]["to"] = 7
    refused(r"jump 2 \(0 to 7\) leads to a site that does not exist", sites, ONE_RATE)


def test_a_missing_rate_is_named():
    rates = {key: value for key, value in THREE_RATES.items() if key != ("bc", "C", "B")}
    refused("no rate is given for class bc from C to B", three_orbits(), rates)


@pytest.mark.parametrize("rate", [-1.0, np.nan, np.inf])
def test_a_senseless_rate_is_named(rate):
    refused("class nn from A to A has the rate", bravais("bcc"), {("nn", "A", "A"): rate})


def test_all_rates_zero():
    refused("every rate is zero", bravais("bcc"), {("nn", "A", "A"): 0.0})


def test_zero_one_way_only():
    refused("class ab: rate zero from B to A", three_orbits(), THREE_RATES | {("ab", "B", "A"): 0.0})


def test_rates_around_a_loop_must_balance():
    rates = THREE_RATES | {("ac", "C", "A"): 2 * THREE_RATES["ac", "C", "A"]}
    refused("breaks detailed balance with the other classes by 0.693", three_orbits(), rates)


def test_orbits_without_a_link():
    rates = THREE_RATES | {
        (name, *pair): 0.0 for name, pair in (("bc", "BC"), ("bc", "CB"), ("ac", "AC"), ("ac", "CA"))
    }
    refused("no jump links orbit C with A", three_orbits(), rates)


def test_a_supercell_too_small():
    refused("site 0 .* is its own neighbour", bravais("simple cubic"), ONE_RATE, (3, 1, 3))
    refused("three positive whole numbers", bravais("simple cubic"), ONE_RATE, (3, 0, 3))


def test_too_many_jumps_from_a_site():
    sites = isolated_sites("A" + "B" * 32, [(0, n, "star") for n in range(1, 33)])
    refused("32 jumps leave a site of orbit A", sites, {("star", "A", "B"): 1.0, ("star", "B", "A"): 1.0})


@pytest.mark.parametrize("key", ["cell", "sites", "jumps"])
def test_a_missing_key_is_named(key):
    sites = bravais("bcc")
    del sites[key]
    refused(f"key '{key}' is missing", sites, ONE_RATE)


def test_sites_out_of_order_or_without_position():
    sites = copy.deepcopy(three_orbits())
    sites["sites"][1]["index"] = 5
    refused("site 1 has the index 5", sites, THREE_RATES)
    sites = copy.deepcopy(three_orbits())
    sites["sites"][2]["position"] = [0, float("nan"), 0]
    refused("site 2 lacks", sites, THREE_RATES)


@pytest.mark.parametrize("concentration", [-0.1, 0.0, 1.0, 1.5, float("nan")])
def test_concentrations_that_leave_nothing_to_move(concentration):
    with pytest.raises(InputError, match="more than 0 and less than 1"):
        number_of_ions(build_lattice(bravais("bcc"), ONE_RATE, (3, 3, 3)), concentration)


def test_a_concentration_below_one_ion():
    with pytest.raises(InputError, match="0 ions on 27 sites"):
        number_of_ions(build_lattice(bravais("bcc"), ONE_RATE, (3, 3, 3)), 0.001)


def test_rate_table(tmp_path):
    table = tmp_path / "rates.csv"
    table.write_text(
        HEADER + "ab,A,B,300,12,1e-9,2.5e9,1e9,4e9,model\nab,B,A,300,12,1e-9,5e9,1e9,9e9,model\n"
        "ab,A,B,300,12,1e-9,2e9,1e9,4e9,md\nab,A,B,400,12,1e-9,9e9,1e9,4e9,model\n"
    )
    assert read_rates(table, 300.0) == {("ab", "A", "B"): 2.5e9, ("ab", "B", "A"): 5e9}
    with pytest.raises(InputError, match="no rates at 350 K; it has 300, 400 K"):
        read_rates(table, 350.0)
    table.write_text(HEADER + 2 * "ab,A,B,300,12,1e-9,2.5e9,1e9,4e9,model\n")
    with pytest.raises(InputError, match="two rates for class ab from A to B at 300 K"):
        read_rates(table, 300.0)
    table.write_text(HEADER + "ab,A,B,300,12,1e-9,2.5e9,1e9,4e9,md\n")
    with pytest.raises(InputError, match="no row has the origin 'model'"):
        read_rates(table, 300.0)
    table.write_text("class,from,to\nab,A,B\n")
    with pytest.raises(InputError, match="column temperature_K, rate_per_s, origin is missing"):
        read_rates(table, 300.0)
