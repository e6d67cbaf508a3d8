"""Networks and rate tables that cannot be trusted are refused, by the name of what is wrong."""

import copy

import numpy as np
import pytest
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import (
    SIZE_TOLERANCE,
    build_lattice,
    converged_lattice,
    equilibrium,
    number_of_ions,
    read_rates,
    size_deviation,
)
from lattices import ONE_RATE, THREE_RATES, bravais, isolated_sites, network, three_orbits
from scipy import special

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


def test_two_sites_at_one_place_are_named():
    sites = bravais("diamond")
    sites["sites"][1]["position"] = [1.0, 0.0, 0.0]
    refused("sites 0 and 1 are at the same place", sites, ONE_RATE)


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
    table.write_text(HEADER + "ab,A,B,300,12,1e-9,inf,1e9,4e9,model\n")
    with pytest.raises(InputError, match=r"rates.csv: class ab from A to B has the rate inf"):
        read_rates(table, 300.0)
    table.write_text("class,from,to\nab,A,B\n")
    with pytest.raises(InputError, match="column temperature_K, rate_per_s, origin is missing"):
        read_rates(table, 300.0)


def full_below(energy_kT):
    """A–B chain in a rectangular lattice whose A sites alone the ions could fill: carriers are thermal pairs."""
    sites = network(np.diag([2.0, 2.3, 9.0]), [[0, 0, 0], [0.5, 0, 0]], "AB", {"x": 1.0, "y": 2.3})
    rates = {("x", "A", "B"): 1.0, ("x", "B", "A"): float(np.exp(energy_kT))}
    return sites, rates | {("y", "A", "A"): 0.5, ("y", "B", "B"): 2.0}


def test_too_few_carriers_in_a_box_are_told_by_the_bessel_ratio():
    """L thermal pairs in the endless lattice; with the number of ions fixed, L·I₁(2L)/I₀(2L) of them on average."""
    energy = 8.0
    sites, rates = full_below(energy)
    for n in (4, 12, 40):
        lattice = build_lattice(sites, rates, (n, n, 1))
        pairs = n * n * np.exp(-energy / 2)
        expected = 1 - special.ive(1, 2 * pairs) / special.ive(0, 2 * pairs)
        assert size_deviation(lattice, 0.5) == pytest.approx(expected, abs=0.04 * expected + 0.005)


@pytest.mark.parametrize("energy", [4.0, 7.0])
def test_the_box_grows_until_jumps_are_as_frequent_as_in_an_endless_lattice(energy):
    sites, rates = full_below(energy)
    lattice = converged_lattice(sites, rates, (3, 3, 1), 0.5)
    exact = equilibrium(build_lattice(sites, rates, (60, 60, 1)), 3600)
    small = equilibrium(build_lattice(sites, rates, (3, 3, 1)), 9)
    found = equilibrium(lattice, number_of_ions(lattice, 0.5))
    assert small.occupation[1] < 0.9 * exact.occupation[1]
    assert found.occupation[1] == pytest.approx(exact.occupation[1], rel=2 * SIZE_TOLERANCE)
    # The mean exit rate is that of pairs made and gone again, and tells less.
    assert abs(small.exit_rate / exact.exit_rate - 1) < 0.5 * (1 - small.occupation[1] / exact.occupation[1])
    # Away from the exact filling carriers are there at any size.
    assert converged_lattice(sites, rates, (8, 8, 1), 0.25).supercell == (8, 8, 1)


def test_carriers_too_rare_for_any_box_are_refused():
    sites, rates = full_below(25.0)
    with pytest.raises(InputError, match=r"too few carriers; simulate at a higher temperature"):
        converged_lattice(sites, rates, (80, 80, 7), 0.5)


def test_the_largest_box_is_taken_with_a_warning_where_it_nearly_suffices(monkeypatch, capsys):
    sites, rates = full_below(8.0)
    monkeypatch.setattr("insilico_nmr.lattice.MAX_SITES", 450)
    lattice = converged_lattice(sites, rates, (3, 3, 1), 0.5)
    assert lattice.n_sites <= 450
    assert 0.03 < size_deviation(lattice, 0.5) < 0.1
    assert "warning: sites: in a supercell of" in capsys.readouterr().err
    # A moved rate model tells only by which factor curves move.
    monkeypatch.setattr("insilico_nmr.lattice.MAX_SITES", 100)
    with pytest.raises(InputError, match="too few carriers"):
        converged_lattice(sites, rates, (3, 3, 1), 0.5)
    assert 0.1 < size_deviation(converged_lattice(sites, rates, (3, 3, 1), 0.5, moved=True), 0.5) < 0.5


def test_mean_square_jump_weighs_lengths_by_how_often_they_are_jumped():
    """A single ion: two jumps of 1 Å and two of 2.3 Å from each site, at the rates given."""
    sites, rates = full_below(2.0)
    lattice = build_lattice(sites, rates, (20, 20, 1))
    p = np.array([1, np.exp(-2.0)]) / (1 + np.exp(-2.0))
    x, y = 2 * (p[0] * 1.0 + p[1] * np.exp(2.0)), 2 * (p[0] * 0.5 + p[1] * 2.0)
    expected = (x * 1.0 + y * 2.3**2) / (x + y)
    assert equilibrium(lattice, 1).mean_square_jump_A2 == pytest.approx(expected)
