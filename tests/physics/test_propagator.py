"""The estimated propagator against closed forms, and its exact properties."""

import os
import signal
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from insilico_nmr import propagator
from insilico_nmr.echo import contract, load_propagator
from insilico_nmr.errors import InputError
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import write_json
from insilico_nmr.lattice import build_lattice, equilibrium
from insilico_nmr.lattice_gas import build_gas
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from lattices import ONE_RATE, THREE_RATES, bravais, isolated_sites, network, three_orbits
from programs import run
from scipy import stats
from scipy.linalg import expm

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_kmc.py"


def replica(plan, number):
    measurement = propagator.begin(plan, number)
    while propagator.proceed(plan, measurement):
        pass
    return measurement.sums


def measured(lattice, n_ions, max_events, replicas=6, **options):
    plan = propagator.make_plan(lattice, n_ions, 11, max_events, **options)
    return propagator.combine(plan, [replica(plan, number) for number in range(replicas)], 300.0)


def two_sites():
    return isolated_sites("AB", [(0, 1, "ab")]), {("ab", "A", "B"): 3.0, ("ab", "B", "A"): 1.0}


def three_sites():
    """A–B–C with A and C linked too."""
    rates = {key: value for key, value in THREE_RATES.items() if key[0] != "y"}
    return isolated_sites("ABC", [(0, 1, "ab"), (1, 2, "bc"), (0, 2, "ac")]), rates


def trapped_pair(gas=False):
    """Two ions on A–E–A, E 7 kT higher: one that goes to E finds the other A filled, and has to return.

    Their propagator, and exact joint probabilities of all states of both ions, from which P follows.
    """
    rates = {("x", "A", "E"): 1e3 * float(np.exp(-7.0)), ("x", "E", "A"): 1e3}
    lattice = build_lattice(isolated_sites("AEA", [(0, 1, "x"), (1, 2, "x")]), rates, (1, 1, 1))
    plan = propagator.make_plan(lattice, 2, 11, 300_000, gas=build_gas(lattice, [], 300.0) if gas else None)
    return propagator.combine(plan, [replica(plan, number) for number in range(4)], 300.0), rates


def of_both(rates, times_s):
    """P (3, 3, T) of ions on A–E–A that the other ion excludes, by the master equation of both."""
    states = list(permutations(range(3), 2))
    generator = np.zeros((len(states),) * 2)
    for n, (one, other) in enumerate(states):
        for m, (then, stays) in enumerate(states):
            if (other == stays and abs(one - then) == 1) or (one == then and abs(other - stays) == 1):
                up = 1 in (then, stays) and 1 not in (one, other)
                generator[n, m] = rates["x", "A", "E"] if up else rates["x", "E", "A"]
    generator -= np.diag(generator.sum(axis=1))
    weight = np.array([rates["x", "A", "E"] / rates["x", "E", "A"] if 1 in state else 1.0 for state in states])
    at = np.array([np.eye(3)[state[0]] for state in states])
    joint = [(weight / weight.sum())[:, None] * expm(generator * t) for t in times_s]
    return np.stack([at.T @ matrix @ at for matrix in joint], axis=-1)


@pytest.mark.parametrize("gas", [False, True])
def test_before_the_first_lag_ions_that_have_to_return_do(gas):
    found, rates = trapped_pair(gas)
    early_s, first_s = found["early_time"].to_numpy(), float(found["time"][1])
    assert early_s[0] * 1e3 < 0.2
    assert first_s * 1e3 > 4
    exact, P = of_both(rates, early_s), found["P_early"].to_numpy()
    assert P.sum(axis=1) == pytest.approx(np.broadcast_to(found["p"].to_numpy()[:, None], P.sum(axis=1).shape))
    assert P[0, 1] == pytest.approx(exact[0, 1], rel=0.03)
    # An ion by itself, with the same flux, would go on to the other side.
    assert P[0, 2].max() < 1e-3 * P[0, 1].max()
    assert propagator.one_ion(found["flux"].to_numpy(), found["p"].to_numpy(), [first_s])[0, 0, 2] > P[0, 1].max()
    # A count of the jumps that tell: all that were made, as long as none has returned.
    assert (P[0, 1] + P[2, 1])[0] * found["early_observations"].to_numpy()[0] == pytest.approx(4 * 15_000, rel=0.1)


@pytest.mark.parametrize("case", [two_sites, three_sites])
def test_one_ion_follows_the_matrix_exponential(case):
    """P(t) = diag(p) exp(Kt), K_ij = k(i → j), K_ii = −Σ_j k_ij."""
    lattice = build_lattice(*case(), (1, 1, 1))
    generator = np.zeros((len(lattice.basis),) * 2)
    start, end, rate = lattice.links
    np.add.at(generator, (start, end), rate)
    generator -= np.diag(generator.sum(1))
    p = np.exp(lattice.log_weight) / np.exp(lattice.log_weight).sum()
    assert np.allclose(p @ generator, 0)
    found = measured(lattice, 1, 40_000, replicas=10, max_residence_times=100)
    assert found.attrs["mean_residence_time_s"] == pytest.approx(-1 / (p @ np.diag(generator)))
    assert found.attrs["complete"] == 1
    held = found.attrs["decorrelation_time_s"]
    deviations = []
    for n, t in enumerate(found["time"].values):
        exact = np.diag(p) @ expm(generator * t)
        if t >= held:
            assert np.abs(exact - np.outer(p, p)).max() < 0.015 * np.outer(p, p).max()
        elif n > 0:
            deviation = np.abs(found["P"].values[..., n] - exact)
            assert deviation.max() < 0.004
            deviations.append((deviation / found["P_se"].values[..., n]).ravel())
    # Standard errors are what they say (of ten replicas: Student's t with nine degrees of freedom; the times of a run
    # deviate together).
    assert 0.5 < np.sqrt(np.mean(np.square(deviations))) < 2.5


def test_interacting_ions_follow_the_master_equation_of_all_occupations():
    """Two ions on three sites that repel or attract each other: six occupations with names."""
    sites, rates = three_sites()
    lattice = build_lattice(sites, rates, (1, 1, 1))
    energy_kT = {(0, 1): 1.0, (0, 2): -1.5, (1, 2): 0.5}
    pairs = [
        {"from": a, "to": b, "image": [0, 0, 0], "energy_eV": BOLTZMANN_EV_PER_K * 300 * energy}
        for pair, energy in energy_kT.items()
        for a, b in (pair, pair[::-1])
    ]
    places = list(permutations(range(3), 2))
    generator = np.zeros((6, 6))
    start, end, rate = lattice.links
    hop = {(a, b): k for a, b, k in zip(start.tolist(), end.tolist(), rate.tolist(), strict=True)}
    for row, before in enumerate(places):
        for column, after in enumerate(places):
            moved = [n for n in (0, 1) if before[n] != after[n]]
            if len(moved) == 1:
                change = energy_kT[tuple(sorted(after))] - energy_kT[tuple(sorted(before))]
                generator[row, column] = hop[before[moved[0]], after[moved[0]]] * np.exp(-change / 2)
    generator -= np.diag(generator.sum(1))
    weight = np.exp([lattice.log_weight[list(place)].sum() - energy_kT[tuple(sorted(place))] for place in places])
    weight /= weight.sum()
    assert np.allclose(weight @ generator, 0)  # detailed balance of the rates as documented
    found = measured(lattice, 2, 150_000, replicas=10, max_residence_times=100, gas=build_gas(lattice, pairs, 300.0))
    assert found.attrs["exit_rate_per_s"] == pytest.approx(-weight @ np.diag(generator) / 2, rel=0.01)
    occupied = np.array([[place[0] == site for site in range(3)] for place in places], float)
    assert np.allclose(found["p"], weight @ occupied, atol=0.004)
    of_first = np.array([sum(hops for hops, after in zip(row, places, strict=True) if after[0] != before[0])
                         for row, before in zip(generator, places, strict=True)])  # fmt: skip
    leaving = (weight * of_first) @ occupied / (weight @ occupied)
    assert found["leaving_rate"].to_numpy() == pytest.approx(leaving, rel=0.01)
    assert (found["leaving_rate_se"] < 0.01 * leaving).all()
    ended = found.attrs["decorrelation_time_s"]
    for n, t in enumerate(found["time"].values):
        if 0 < t < ended:
            exact = occupied.T @ (weight[:, None] * expm(generator * t)) @ occupied
            assert np.abs(found["P"].values[..., n] - exact).max() < 0.005


def test_errors_of_ratios_hold_the_truth():
    """As many jumps as an ion's time on a site lets be expected, of six replicas whose time there varies."""
    rng = np.random.default_rng(5)
    time_on_site = rng.gamma(100, 0.01, (6, 4000))
    jumps = rng.poisson(300 * time_on_site) / 300
    error = propagator.error_of_ratio(jumps, time_on_site)
    held = np.abs(jumps.sum(axis=0) / time_on_site.sum(axis=0) - 1) < 1.96 * error
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)
    assert np.mean(error) < 0.1 / np.sqrt(6)  # of the times, which vary more than jumps in a given time


def test_a_short_run_of_a_gas_counts_all_of_its_time():
    """Without interactions the rate is exact; ticks after the last one that is looked at have jumps too."""
    lattice = build_lattice(three_orbits(), THREE_RATES, (8, 8, 4))
    found = measured(lattice, 460, 19 * 460, replicas=10, gas=build_gas(lattice, [], 300.0))
    assert found.attrs["exit_rate_per_s"] == pytest.approx(equilibrium(lattice, 460).exit_rate, rel=0.02)


def test_sites_that_no_interacting_ion_was_found_on_are_named():
    sites = isolated_sites("AAAB", [(0, 1, "aa"), (1, 2, "aa"), (2, 3, "ab")])
    lattice = build_lattice(sites, {("aa", "A", "A"): 1.0, ("ab", "A", "B"): 1e-30, ("ab", "B", "A"): 1.0}, (1, 1, 1))
    with pytest.raises(InputError, match="no ion was ever found on B"):
        measured(lattice, 1, 2000, gas=build_gas(lattice, [], 300.0))


@pytest.fixture(scope="module")
def exclusion():
    lattice = build_lattice(three_orbits(), THREE_RATES, (8, 8, 4))
    plan = propagator.make_plan(lattice, 460, 5, 400_000, max_residence_times=200)
    sums = [replica(plan, number) for number in range(6)]
    return plan, sums, propagator.combine(plan, sums, 250.0)


def test_it_is_a_joint_probability(exclusion):
    plan, _, found = exclusion
    exact = equilibrium(plan.lattice, 460)
    joint, p = found["P"].values, found["p"].values
    assert np.allclose(p, exact.occupation / exact.occupation.sum())
    assert not np.allclose(p, exact.occupation)
    assert np.array_equal(joint[..., 0], np.diag(p))
    assert joint.min() >= 0
    assert np.allclose(joint.sum(1), p[:, None], atol=1e-12)
    assert np.allclose(joint, joint.transpose(1, 0, 2), atol=1e-15)
    assert found.attrs["complete"] == 1
    assert found.attrs["residual"] < 0.01
    late = found["time"].values >= found.attrs["decorrelation_time_s"]
    assert np.allclose(joint[..., late], np.outer(p, p)[..., None])
    assert np.all(found["P_se"].values[..., 1 : np.argmax(late)] > 0)


def test_what_is_read_again_is_at_its_limit_exactly(exclusion, tmp_path):
    """Replicas are stored in single precision, which no population of this lattice is a number of."""
    propagator.write_propagator(tmp_path / "P.nc", exclusion[2].assign_attrs(shift=0))
    found = load_propagator(tmp_path / "P.nc")
    late = found.time_s >= exclusion[2].attrs["decorrelation_time_s"]
    assert late.any()
    assert (found.limit != found.limit.astype(np.float32)).all()
    assert (found.joint[..., late] == found.limit[..., None]).all()
    assert (found.replicas[..., late] == found.limit[..., None]).all()


def test_it_decays_from_the_populations_to_their_product(exclusion):
    _, _, found = exclusion
    p = found["p"].values
    excess = np.moveaxis(found["P"].values, -1, 0) - np.outer(p, p)
    assert np.linalg.eigvalsh(excess).min() > -2e-4
    stays = np.trace(excess, axis1=1, axis2=2)
    assert np.all(np.diff(stays) < 1e-3)
    # The first jump is made with the exit rate of each site.
    short = found["P"].values[..., 1]
    left = p - np.diag(short)
    start, end, rate = exclusion[0].lattice.links
    occupied = equilibrium(exclusion[0].lattice, 460).occupation
    other = start != end
    first = rate * occupied[start] * (1 - occupied[end]) / occupied.sum() * found["time"].values[1]
    assert np.allclose(left, np.bincount(start[other], first[other]), rtol=0.08)


def test_ions_leave_a_site_for_what_is_vacant(exclusion):
    plan, _, found = exclusion
    start, end, rate = plan.lattice.links
    vacant = 1 - equilibrium(plan.lattice, 460).occupation
    assert found["leaving_rate"].to_numpy() == pytest.approx(np.bincount(start, rate * vacant[end]), rel=3 / 768)
    assert not found["leaving_rate_se"].any()


def test_counts_are_symmetric_and_populated_as_in_equilibrium_before_they_are_made_so(exclusion):
    """Detailed balance of tagged ions is found, not imposed: counts of ab and ba differ by noise only."""
    plan, sums, found = exclusion
    samples = np.array([s["origins"][0] for s in sums])[..., None, None] * plan.n_ions
    raw = np.array([s["pairs"][0] for s in sums]) / samples
    odd = raw - raw.transpose(0, 1, 3, 2)
    error = odd.std(0, ddof=1) / np.sqrt(len(sums))
    off = ~np.eye(3, dtype=bool)
    assert np.sqrt(np.mean((odd.mean(0)[:, off] / error[:, off]) ** 2)) < 2
    many = plan.lags <= propagator.TICKS_PER_RESIDENCE
    assert np.abs(odd.mean(0)[many]).max() < 1e-3
    assert np.abs(raw.sum(-1).mean(0)[many] - found["p"].values).max() < 1.5e-3


def test_collective_displacement_of_exclusion_on_a_bravais_lattice_is_that_of_independent_jumps():
    """⟨|ΣΔr|²⟩/N = Γa²t at every filling and time (R. Kutner 1981), while a tracer falls behind by f(c) < 1."""
    lattice = build_lattice(bravais("simple cubic"), ONE_RATE, (9, 9, 9))
    found = measured(lattice, 510, 500_000, replicas=8, max_residence_times=30)
    t, rate = found["time"].values[1:], found.attrs["exit_rate_per_s"]
    ratio = found["msd_collective"].values[1:] / (rate * t)
    error = found["msd_collective_se"].values[1:] / (rate * t)
    assert np.all(error < 0.1)
    assert np.sqrt(np.mean(((ratio - 1) / error) ** 2)) < 2
    tracer = found["msd"].values[1:] / (rate * t)
    along = found["msd_along_replica"].mean("replica").values
    assert along.sum(axis=0) == pytest.approx(found["msd"].values)
    assert along[:, 1] == pytest.approx(np.full(3, found["msd"].values[1] / 3), rel=0.05)
    assert tracer[0] == pytest.approx(1, abs=0.02)
    # Filling 0.7: between 1 and the single-vacancy limit.
    assert 0.653 < tracer[-1] < 0.85


def test_parts_of_a_network_without_a_link_never_mix():
    layer = bravais("honeycomb")
    positions = [[x, y, z] for z in (0, 0.5) for x, y, _ in (site["position"] for site in layer["sites"])]
    layers = network(layer["cell"], positions, "AAAA", {"nn": 1.0})
    found = measured(build_lattice(layers, ONE_RATE, (8, 8, 2)), 100, 200_000, max_residence_times=50)
    assert found.attrs["complete"] == 1
    assert found["P"].values[:2, 2:].max() < 1e-5
    assert found["P"].values[0, 1, -1] == pytest.approx(0.125)
    # In layers ions move alike along all directions, of which a and b are not at right angles, and not out of them.
    along = found["msd_along_replica"].mean("replica").values[:, 1:] / found["msd"].values[1:]
    assert along[2].max() == 0
    assert along[:2] == pytest.approx(np.full_like(along[:2], 0.5), abs=0.06)


def test_a_budget_that_ends_before_decorrelation_is_told():
    """Pairs with jumps a thousand times as fast as those between pairs: the budget goes into to and fro."""
    sites = isolated_sites("AAAA", [(0, 1, "fast"), (1, 2, "slow"), (2, 3, "fast")])
    lattice = build_lattice(sites, {("fast", "A", "A"): 1e5, ("slow", "A", "A"): 1.0}, (30, 1, 1))
    found = measured(lattice, 40, 20_000, replicas=3)
    assert found.attrs["complete"] == 0
    assert "decorrelation_time_s" not in found.attrs
    assert found.attrs["residual"] > 0.5
    assert found["P"].values[0, 3, -1] < 0.01
    assert found["time"].values[-1] <= 20_000 / 40 * found.attrs["mean_residence_time_s"]
    with pytest.raises(InputError, match="do not cover lags of one mean residence time"):
        propagator.make_plan(lattice, 40, 1, 30)


def test_a_replica_stored_midway_goes_on_bit_for_bit(exclusion, tmp_path, monkeypatch):
    plan, sums, _ = exclusion
    measurement = propagator.begin(plan, 2)
    for _ in range(3):
        propagator.proceed(plan, measurement)
    propagator.save_measurement(tmp_path / "current.npz", plan, 2, measurement)
    assert propagator.load_measurement(tmp_path / "current.npz", plan, 1) is None
    again = propagator.load_measurement(tmp_path / "current.npz", plan, 2)
    assert 0 < again.ticks[0] < plan.n_ticks
    while propagator.proceed(plan, again):
        pass
    for name, array in again.sums.items():
        assert np.array_equal(array, sums[2][name]), name
    other = propagator.make_plan(plan.lattice, 460, 6, 400_000, max_residence_times=200)
    assert propagator.load_measurement(tmp_path / "current.npz", other, 2) is None


def test_scatter_over_replicas_is_the_error_of_what_is_contracted_from_them():
    """Elements of P are correlated: the interval from replicas holds a sum over them as often as it should.

    Four replicas at a time, twenty times; taking elements as independent would miss the factor that is told below.
    """
    lattice = build_lattice(three_orbits(), THREE_RATES, (6, 6, 4))
    plan = propagator.make_plan(lattice, 330, 5, 15_000, max_residence_times=10)
    sets = [
        propagator.combine(plan, [replica(plan, 4 * group + number) for number in range(4)], 250.0)
        for group in range(20)
    ]
    kernel = np.array([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]])
    curves = np.array([contract(kernel, found["P_replica"].values.astype(float)) for found in sets])
    means, errors = curves.mean(1), np.array([error_over_replicas(curve) for curve in curves])
    truth = means.mean(0)
    lags = slice(5, 28)
    held = np.abs(means - truth)[:, lags] < 1.96 * errors[:, lags]
    assert 0.88 < held.mean() <= 1.0
    scatter = means.std(0, ddof=1)[lags]
    without_t = errors[:, lags] / (stats.t.ppf(0.975, 3) / 1.96)
    assert np.sqrt((without_t**2).mean(0) / scatter**2).mean() == pytest.approx(1, abs=0.35)
    # The same from P_se, its elements taken as independent.
    blind = np.sqrt(np.mean([(kernel[..., None] ** 2 * found["P_se"].values ** 2).sum((0, 1)) for found in sets], 0))
    assert np.abs(np.log((blind[lags] / scatter).mean())) > 0.3


def test_one_replica_gives_no_error_and_is_refused(exclusion):
    plan, sums, _ = exclusion
    with pytest.raises(InputError, match="at least two replicas"):
        propagator.combine(plan, sums[:1], 250.0)


def test_written_and_read_again(exclusion, tmp_path):
    found = exclusion[2]
    propagator.write_propagator(tmp_path / "P.nc", found)
    xr.testing.assert_identical(propagator.read_propagator(tmp_path / "P.nc"), found)
    broken = found.copy(deep=True)
    broken["msd"][3] = np.nan
    with pytest.raises(InputError, match="msd of the propagator"):
        propagator.write_propagator(tmp_path / "broken.nc", broken)
    found.drop_vars("msd_se").to_netcdf(tmp_path / "lacking.nc")
    with pytest.raises(InputError, match="variable msd_se is missing"):
        propagator.read_propagator(tmp_path / "lacking.nc")


def command(folder, checkpoint, out, concentration=0.6):
    return [
        sys.executable, str(SCRIPT), str(folder / "sites.json"), "--rates", str(folder / "rates.csv"),
        "--temperature", "300", "--concentration", str(concentration), "--supercell", "8", "8", "4",
        "--seed", "3", "--replicas", "3", "--max-events", "700000", "--max-residence-times", "50",
        "--checkpoint", str(folder / checkpoint), "--out", str(folder / out),
    ]  # fmt: skip


@pytest.fixture
def inputs(tmp_path):
    write_json(tmp_path / "sites.json", three_orbits())
    rows = [f"{name},{start},{end},300,1,1,{rate!r},0,0,model" for (name, start, end), rate in THREE_RATES.items()]
    header = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin"
    (tmp_path / "rates.csv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path


def interactions(folder, **changes):
    """File of a repulsion of 0.03 eV along every jump."""
    names = ("from", "to", "image")
    pairs = [{name: jump[name] for name in names} | {"energy_eV": 0.03} for jump in three_orbits()["jumps"]]
    write_json(folder / "interactions.json", {"pairs": pairs, "attempt_frequency_per_s": 1e3} | changes)
    return folder / "interactions.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": [{"from": 0, "to": 1, "image": [0, 0, 0], "energy_eV": 0.1}]}, "but not the other way round"),
        ({"attempt_frequency_per_s": "fast"}, "attempt_frequency_per_s is 'fast'; expected a number"),
        ({"attempt_frequency_per_s": 1.0}, "the attempt frequency 1 1/s is below the rate"),
        ({"pairs": 5}, "has pairs, attempt_frequency_per_s; expected pairs (a list)"),
        ({"pair": []}, "expected pairs (a list), occupancy, strength"),
        ({"strength": None}, "strength is None; expected a number"),
        ({"occupancy": {"A": 7, "B": 0.5, "C": 0.5}}, "occupancy of A is 7; expected ions a site"),
        ({"pairs": [{"from": 0.9, "to": 1, "image": [0, 0, 0], "energy_eV": 0.1}]}, "pair 0 is no interaction"),
    ],
)
def test_interactions_that_make_no_sense_are_refused(inputs, changes, message):
    file = interactions(inputs, **changes)
    code, said = run("run_kmc", *command(inputs, "c", "P.nc")[2:], "--interactions", file)
    assert (code, message in said, str(file) in said) == (2, True, True)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (["nn,A,B,300,,,1e9,,,model"], "no rate is given for class nn from A to A"),
        (["nn,A,A,300,,,0,,,model"], "every rate is zero"),
        (["nn,A,A,300,,,-1e9,,,model"], "has the rate -1000000000.0; expected a number"),
    ],
)
def test_rates_that_do_not_fit_the_network_are_refused_by_the_name_of_their_file(tmp_path, rates, message):
    write_json(tmp_path / "sites.json", bravais("simple cubic"))
    header = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin"
    (tmp_path / "rates.csv").write_text("\n".join([header, *rates]) + "\n")
    code, said = run("run_kmc", *command(tmp_path, "c", "P.nc")[2:])
    assert (code, message in said, str(tmp_path / "rates.csv") in said) == (2, True, True), said


def of_first(kind, **changes):
    """A network with the first site or jump changed; a value of None leaves the key out."""

    def changed(network):
        entry = {key: value for key, value in (network[kind][0] | changes).items() if value is not None}
        return network | {kind: [entry, *network[kind][1:]]}

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_first("jumps", to=7), "jump 0 (0 to 7) leads to a site that does not exist"),
        (of_first("jumps", to="b"), "jump 0 is not made of from, to, image and class"),
        (of_first("jumps", image=None), "jump 0 is not made of from, to, image and class"),
        (of_first("sites", orbit=None), "site 0 lacks an orbit"),
        (lambda network: network | {"jumps": {}}, "'jumps' is not a list of jumps"),
        (lambda network: network | {"jumps": []}, "no jumps, so that no ion can ever move"),
        (lambda network: {key: network[key] for key in ("cell", "sites")}, "key 'jumps' is missing"),
        (lambda network: network | {"sites": {"0": network["sites"][0]}}, "'sites' is not a list of sites"),
        (lambda network: network | {"concentration": "much"}, "concentration is much, and not a number"),
    ],
)
def test_networks_that_are_none_are_refused_by_the_name_of_their_file(inputs, change, message):
    write_json(inputs / "sites.json", change(three_orbits()))
    arguments = [word for word in command(inputs, "c", "P.nc")[2:] if word not in ("--concentration", "0.6")]
    code, said = run("run_kmc", *arguments)
    assert (code, len(said.splitlines()), f"{inputs / 'sites.json'}: {message}" in said) == (2, 1, True), said


@pytest.mark.parametrize("whole", [0, 0.5])
def test_a_torn_state_is_named(inputs, whole):
    killed_when(inputs / "c" / "stage_0" / "replica_0000.npz", [*command(inputs, "c", "P.nc"), "--jobs", "1"], inputs)
    state = inputs / "c" / "stage_0" / "replica_0000.npz"
    state.write_bytes(state.read_bytes()[: int(whole * state.stat().st_size)])
    code, said = run("run_kmc", *command(inputs, "c", "P.nc")[2:])
    assert (code, f"{state}: not a stored state of a run" in said) == (2, True), said


def test_runs_at_two_temperatures_are_independent(inputs):
    """The same rates at both: with the same random numbers it would be the same history."""
    table = inputs / "rates.csv"
    table.write_text(table.read_text() + "".join(line.replace(",300,", ",310,") + "\n"
                                                 for line in table.read_text().splitlines()[1:]))  # fmt: skip
    sums = []
    for temperature in ("300", "310", "300"):
        flags = ["--temperature", temperature, "--max-events", 20000, "--replicas", 2, "--checkpoint", inputs / "c"]
        code, said = run("run_kmc", *command(inputs, "c", "P.nc")[2:], *flags)
        assert code == 0, said
        sums.append(propagator.read_propagator(inputs / "P.nc")["P_replica"].to_numpy())
    assert np.array_equal(sums[0], sums[2])
    assert not np.isclose(sums[0], sums[1], rtol=1e-6, atol=0)[..., -3:].all(axis=(1, 2, 3)).any()


def killed_when(path, arguments, folder):
    """Start run_kmc.py so that it stores its state after every block of ticks, and kill it once `path` is there."""
    often = "import run_kmc; run_kmc.CHECKPOINT_EVERY_S = 0.0; run_kmc.run_script(run_kmc.main)"
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", often, *arguments[2:]], env=environment, stderr=subprocess.DEVNULL
    )
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.exists()
    assert not any(folder.glob("*.nc"))


@pytest.mark.parametrize("interacting", [False, True])
def test_a_run_killed_in_and_between_replicas_goes_on_to_the_same_numbers(inputs, interacting):
    more = ["--interactions", str(interactions(inputs)), "--max-events", "200000"] if interacting else []
    arguments, state = [*command(inputs, "killed", "killed.nc"), *more], inputs / "killed"
    killed_when(state / "stage_0" / "current_0000.npz", arguments, inputs)
    with np.load(state / "stage_0" / "current_0000.npz") as stored:
        assert stored["replica"] == 0
        assert stored["ticks"][0] > 0
    assert not (state / "stage_0" / "replica_0000.npz").exists()
    killed_when(state / "stage_0" / "replica_0000.npz", arguments, inputs)
    again = subprocess.run(arguments, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "replica 1:" not in again.stderr
    assert "ETA" in again.stderr
    at_once = [*command(inputs, "whole", "whole.nc"), *more, "--jobs", "2"]
    assert subprocess.run(at_once, capture_output=True).returncode == 0
    xr.testing.assert_identical(
        propagator.read_propagator(inputs / "killed.nc"), propagator.read_propagator(inputs / "whole.nc")
    )
    assert not any((inputs / "whole").iterdir())


def test_a_bare_lattice_gives_its_correlation_factor(tmp_path):
    """Simple cubic, one vacancy in a hundred sites: f near that of a single one, 0.653, and no more in the files."""
    write_json(tmp_path / "sites.json", {key: bravais("simple cubic")[key] for key in ("cell", "sites", "jumps")})
    header = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin"
    (tmp_path / "rates.csv").write_text(f"{header}\nnn,A,A,300,,,1e9,,,model\n")
    kmc = [
        "run_kmc", tmp_path / "sites.json", "--rates", tmp_path / "rates.csv", "--temperature", 300,
        "--concentration", 0.99, "--supercell", 14, 14, 14, "--replicas", 4, "--max-events", 1_000_000,
        "--max-residence-times", 100, "--checkpoint", tmp_path / "c", "--out", tmp_path / "P.nc",
    ]  # fmt: skip
    assert run(*kmc)[0] == 0
    table = tmp_path / "diffusion.csv"
    code, said = run("diffusion_table", tmp_path / "P.nc", "--sites", tmp_path / "sites.json", "--out", table)
    assert code == 0, said
    row = pd.read_csv(table).iloc[0]
    assert row["correlation_factor"] == pytest.approx(0.653, abs=0.02)
    assert row["correlation_factor_ci_low"] < row["correlation_factor"] < row["correlation_factor_ci_high"]
    assert row["haven_ratio"] == pytest.approx(row["correlation_factor"], rel=0.2)
    (tmp_path / "sites.json").write_text("{}")
    code, said = run("diffusion_table", tmp_path / "P.nc", "--sites", tmp_path / "sites.json", "--out", table)
    assert (code, "key 'cell' is missing" in said) == (2, True)


def test_the_example_of_a_lattice_runs(tmp_path, capsys):
    """Planes of honeycombs, one site in a hundred vacant: f of a single vacancy is 1/3."""
    example = Path(__file__).parents[2] / "examples" / "lattice"
    kmc = [
        "run_kmc", example / "sites.json", "--rates", example / "rates.csv", "--temperature", 300,
        "--concentration", 0.99, "--supercell", 20, 20, 2, "--replicas", 4, "--max-events", 1_000_000,
        "--checkpoint", tmp_path / "c", "--out", tmp_path / "P.nc",
    ]  # fmt: skip
    code, said = run(*kmc)
    assert code == 0, said
    orbit, per_site, residence_s, low_s, high_s = capsys.readouterr().out.split()[-5:]
    assert (orbit, per_site) == ("A", "0.99")
    assert residence_s == low_s == high_s
    assert float(residence_s) == pytest.approx(1 / (3 * 1e9 * 0.01), rel=2e-3)
    code, said = run(
        "diffusion_table", tmp_path / "P.nc", "--sites", example / "sites.json", "--out", tmp_path / "d.csv"
    )
    assert code == 0, said
    assert pd.read_csv(tmp_path / "d.csv").loc[0, "correlation_factor"] == pytest.approx(1 / 3, abs=0.02)


def fcc_with_impurities(folder, ratio):
    """Files of an fcc lattice, and flags for impurities that exchange with a vacancy `ratio` times as often."""
    write_json(folder / "sites.json", {key: bravais("fcc")[key] for key in ("cell", "sites", "jumps")})
    header = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin"
    for name, rate in (("host", 1.0), ("impurity", ratio)):
        (folder / f"{name}.csv").write_text(f"{header}\nnn,A,A,300,,,{rate},,,model\n")
    return [
        "run_kmc", folder / "sites.json", "--rates", folder / "host.csv", "--temperature", 300,
        "--concentration", 0.98, "--supercell", 9, 9, 9, "--replicas", 4, "--max-events", 1_500_000,
        "--max-residence-times", 300, "--checkpoint", folder / "c", "--out", folder / "host.nc",
        "--also", folder / "impurity.csv", 0.0137, folder / "impurity.nc",
    ]  # fmt: skip


def test_impurities_have_the_correlation_factor_of_the_five_frequency_model(tmp_path):
    """fcc, one vacancy, host atoms of one frequency w: f = (2w + 7Fw)/(2w₂ + 2w + 7Fw), 7F = 5.15 (J. R. Manning, Phys.
    Rev. 136, A1758 (1964)): 0.781 where the impurity is one of the host, 0.417 at w₂ = 5w."""
    assert run(*fcc_with_impurities(tmp_path, 5.0))[0] == 0
    table = tmp_path / "diffusion.csv"
    for name, expected in (("host", 0.781), ("impurity", 0.417)):
        code, said = run("diffusion_table", tmp_path / f"{name}.nc", "--sites", tmp_path / "sites.json", "--out", table)
        assert code == 0, said
        row = pd.read_csv(table).iloc[0]
        assert row["correlation_factor"] == pytest.approx(expected, rel=0.06)
        assert row["vacancies_per_site"] == pytest.approx(5 / 729)
    host, impurity = (propagator.read_propagator(tmp_path / f"{name}.nc").attrs for name in ("host", "impurity"))
    assert (host["n_ions"], impurity["n_ions"]) == (714, 10)
    assert impurity["exit_rate_per_s"] / host["exit_rate_per_s"] == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize(
    ("also", "message"),
    [
        (["impurity.csv", "much", "x.nc"], "--also: 'much' is no number of ions per site"),
        (["impurity.csv", "0.3", "x.nc"], "714 + 219 ions leave none of 729 sites vacant"),
        (["missing.csv", "0.01", "x.nc"], "missing.csv"),
        (["zero.csv", "0.01", "x.nc"], "expected numbers above 0"),
    ],
)
def test_species_that_make_no_sense_are_refused(tmp_path, also, message):
    flags = fcc_with_impurities(tmp_path, 5.0)[:-3]
    (tmp_path / "zero.csv").write_text((tmp_path / "host.csv").read_text().replace(",1.0,", ",0.0,"))
    code, said = run(*flags, tmp_path / also[0], also[1], tmp_path / also[2])
    assert code == 2
    assert message in said


@pytest.mark.parametrize("concentration", [0, 1])
def test_a_full_or_empty_lattice_is_refused(inputs, concentration):
    code, said = run("run_kmc", *command(inputs, "c", "P.nc", concentration)[2:])
    assert code == 2
    assert said.startswith("error: the concentration is")
    assert not (inputs / "P.nc").exists()
