"""simulate_linewidth.py as a user runs it, on a half filled simple cubic lattice with a host of phosphorus."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from insilico_nmr.dipolar import anderson_weiss, rigid_width, strength
from insilico_nmr.nuclei import nucleus
from insilico_nmr.relaxation import Decay
from lattices import network
from programs import run
from simulate_linewidth import decay_of


def simulated_line(folder, supercell, replicas: int, max_events: int, *flags: object) -> tuple[int, str]:
    """Exit code and words of the program on sites.json and rates.csv of a folder; its row goes to line.csv there."""
    return run(
        "simulate_linewidth", folder / "sites.json", "--rates", folder / "rates.csv", "--temperature", 300,
        "--isotope", "7Li", "--supercell", *supercell, "--out", folder / "line.csv", "--replicas", replicas,
        "--max-events", max_events, *flags,
    )  # fmt: skip


@pytest.fixture
def line_at(tmp_path):
    """The program's row at a jump rate (1/s), or its message."""
    sites = network([[3, 0, 0], [0, 3, 0], [0, 0, 3]], [[0, 0, 0]], "A", {"nn": 3.0})
    sites |= {"mobile": "Li", "concentration": 0.5}

    def simulated(rate_per_s: float, *flags: object, host: str = "P") -> pd.Series | str:
        atom = {"element": host, "position": [0.5, 0.5, 0.5]}
        (tmp_path / "sites.json").write_text(json.dumps(sites | {"host": [atom]}))
        header = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin"
        (tmp_path / "rates.csv").write_text(f"{header}\nnn,A,A,300,,,{rate_per_s},,,model\n")
        code, said = simulated_line(tmp_path, (2, 2, 2), 3, 200_000, *flags)
        if code:
            return said
        row = pd.read_csv(tmp_path / "line.csv").iloc[0]
        row["said"] = said
        return row

    return simulated


def test_ions_at_rest_have_the_rigid_line(line_at):
    """Slow hops leave the Gaussian; lithium has a half of what the full lattice has, phosphorus all of it."""
    line = line_at(1e-3)
    assert line["fwhm_Hz"] == pytest.approx(line["rigid_fwhm_Hz"], rel=1e-3)
    assert line["rigid_fwhm_Hz"] == pytest.approx(rigid_width(line["second_moment_rad2_per_s2"]), rel=1e-4)
    assert line["complete"] == 1
    cubes = 3.0 * np.array(list(product(range(-4, 5), repeat=3)))
    sums = []
    for shift in (0.0, 1.5):
        r = np.linalg.norm(cubes + shift, axis=1)
        sums.append((r[(r > 0) & (r <= 12)] ** -6).sum())
    Li7 = nucleus("7Li")
    lithium, phosphorus = strength(Li7, "Li") * sums[0] / 2, strength(Li7, "P") * sums[1]
    assert line["second_moment_rad2_per_s2"] == pytest.approx(lithium + phosphorus, rel=0.02)
    assert line["mobile_part"] == pytest.approx(lithium / (lithium + phosphorus), rel=0.02)


def test_fast_hops_narrow_in_proportion(line_at):
    """In the narrowed regime the width goes with the inverse jump rate."""
    slow, fast = line_at(1e7), line_at(1e8)
    assert slow["fwhm_Hz"] < 0.05 * slow["rigid_fwhm_Hz"]
    assert slow["fwhm_Hz"] / fast["fwhm_Hz"] == pytest.approx(10, rel=0.15)
    assert fast["complete"] == 1


def line_of_layers(tmp_path, out_per_s: float) -> tuple[pd.Series, float]:
    """Full layers between half filled ones, whose 1e9 jumps a second average all couplings but those in full layers,
    which ions leave at such a rate; and the second moment of those.

    Jumps of 5e-4 s, in which the signal decays, are 1e4 times as many as the budget has.
    """
    sites = network(np.diag([3.0, 3.0, 5.0]), [[0, 0, 0], [0, 0, 0.5]], "AB", {"in": 3.0, "out": 2.5})
    sites["jumps"] = [jump for jump in sites["jumps"] if jump["class"] == "out" or jump["from"] == 1]
    sites |= {"mobile": "Li", "concentration": 0.75, "host": []}
    (tmp_path / "sites.json").write_text(json.dumps(sites))
    rates = pd.DataFrame(
        [["in", "B", "B", 1e9], ["out", "A", "B", 1e-5 * out_per_s], ["out", "B", "A", out_per_s]],
        columns=["class", "from", "to", "rate_per_s"],
    )
    rates = rates.assign(temperature_K=300, count="", exposure_s="", ci_low_per_s="", ci_high_per_s="", origin="model")
    rates.to_csv(tmp_path / "rates.csv", index=False)
    code, said = simulated_line(tmp_path, (2, 2, 2), 3, 400_000)
    assert code == 0, said
    line = pd.read_csv(tmp_path / "line.csv").iloc[0]
    at = np.array(list(product(range(-4, 5), range(-4, 5), range(-2, 3)))) * [3.0, 3.0, 5.0]
    r = np.linalg.norm(at, axis=1)
    between_A = strength(nucleus("7Li"), "Li") * (r[(r > 0) & (r <= 12)] ** -6).sum()
    return line, between_A / 1.5  # the share of the ions that is on A


def test_ions_that_stay_keep_their_line_whatever_the_others_do(tmp_path):
    line, of_full_layers = line_of_layers(tmp_path, 1e-3)
    assert line["complete"] == 1
    assert line["remaining"] * line["second_moment_rad2_per_s2"] == pytest.approx(of_full_layers, rel=0.1)
    assert line["fwhm_Hz"] == pytest.approx(rigid_width(of_full_layers), rel=0.1)


def test_a_narrowed_line_is_followed_until_its_own_signal_is_gone(tmp_path):
    """Ions leave the full layers in 20 µs: the line is that of their couplings, lost by one exponential."""
    line, of_full_layers = line_of_layers(tmp_path, 3e9)
    assert line["complete"] == 1
    assert line["remaining"] < 0.01
    time_s = line["correlation_time_s"] * line["second_moment_rad2_per_s2"] / of_full_layers
    expected = anderson_weiss(Decay(np.array([1 / time_s]), np.array([of_full_layers])))
    assert expected < 0.6 * rigid_width(of_full_layers)
    assert line["fwhm_Hz"] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("rate_per_s", [1.5e3, 5e3])
def test_a_known_exchange_gives_the_width_of_anderson_and_weiss(tmp_path, rate_per_s):
    """Lone ions that hop between two places beside a phosphorus: what differs is lost at twice the rate of hops."""
    places = np.array([[1.5, 1.5, 0.0], [-1.5, 1.5, 0.0]])  # from either site to the host atom, Å
    sites = network(26.0 * np.eye(3), [[0, 0, 0], [3 / 26, 0, 0]], "AA", {"nn": 3.0})
    host = [{"element": "P", "position": (places[0] / 26).tolist()}]
    sites |= {"mobile": "Li", "concentration": 0.005, "host": host}
    (tmp_path / "sites.json").write_text(json.dumps(sites))
    header = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin"
    (tmp_path / "rates.csv").write_text(f"{header}\nnn,A,A,300,,,{rate_per_s},,,model\n")
    code, said = simulated_line(tmp_path, (24, 24, 24), 25, 200_000)
    assert code == 0, said
    line = pd.read_csv(tmp_path / "line.csv").iloc[0]
    r = np.linalg.norm(places, axis=1)
    cosine = places @ places.T / np.outer(r, r)
    products = strength(nucleus("7Li"), "P") * (1.5 * cosine**2 - 0.5) / np.outer(r, r) ** 3
    lasting, lost = products.mean(), products.trace() / 2 - products.mean()
    exact = Decay(np.array([1.0, 2 * rate_per_s]), np.array([lasting, lost]))
    width, rigid = anderson_weiss(exact), rigid_width(lasting + lost)
    half, twice = (anderson_weiss(replace(exact, rate_per_s=factor * exact.rate_per_s)) for factor in (0.5, 2))
    assert half > 1.07 * width > 1.14 * twice  # the width tells the rate
    assert line["rigid_fwhm_Hz"] == pytest.approx(rigid, rel=0.02)
    assert line["fwhm_Hz"] == pytest.approx(width, rel=0.04)


def test_same_seed_same_numbers(line_at):
    first, again, other = (line_at(1e6, "--seed", seed)["fwhm_Hz"] for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_the_stated_error_is_that_of_the_mean(line_at):
    """Over seeds, widths scatter by the stated error, which Student's t widens for three replicas by 2.2."""
    lines = [line_at(1e7, "--seed", seed) for seed in range(8)]
    scatter = np.std([line["fwhm_Hz"] for line in lines], ddof=1)
    stated = np.sqrt(np.mean([line["se_sampling_Hz"] ** 2 for line in lines])) / 2.2
    assert 0.5 < scatter / stated < 2


def test_an_element_without_isotopes_is_named_and_has_no_spin(line_at):
    line = line_at(1e-3, host="Xe")
    assert "Xe: not in resources/nuclei.csv, taken to have no spin" in line["said"]
    assert "not in resources" not in line_at(1e-3)["said"]
    assert line["mobile_part"] == 1
    assert 0 < line_at(1e-3)["mobile_part"] < 1


def test_a_nucleus_that_does_not_move_is_refused(line_at):
    assert "--isotope is 31P, which is no isotope of what moves, Li" in line_at(1e5, "--isotope", "31P")


def test_too_few_jumps_are_said_to_be_incomplete(line_at):
    assert line_at(1e5, "--max-events", 300)["complete"] == 0


@pytest.mark.parametrize("left", [0.7, 0.4, 0.1])
def test_couplings_that_are_not_lost_at_the_last_time_go_on_as_they_were(left):
    """One exponential, followed to where `left` of it is left: its line is that of all of it."""
    tau, square = 3e-4, 8e7
    times = np.concatenate([[0], np.geomspace(1e-3, -np.log(left), 40)]) * tau
    moments = square * np.exp(-times / tau)
    width = anderson_weiss(decay_of(times, moments, 1e-3 * moments, spent=False))
    assert width == pytest.approx(anderson_weiss(Decay(np.array([1 / tau]), np.array([square]))), rel=0.05)
