"""Intervals of rates, and the reversible rate model, against known parameters."""

import numpy as np
import pandas as pd
import pytest
from insilico_nmr.errors import InputError
from insilico_nmr.lattice import read_rates
from insilico_nmr.rates import (
    BOLTZMANN_EV_PER_K,
    NebBarrier,
    count_table,
    fano_factor,
    fit_rates,
    model_table,
    poisson_interval,
    rate_interval,
    read_counts,
    write_rates,
)

ENERGY = {"A": 0.0, "B": 0.08, "C": 0.12}
TOP = {"aa": 0.30, "ab": 0.22, "bc": 0.25, "ac": 0.60}
PREFACTOR = 5e12
CLASSES = [
    {"name": name, "from": name[0].upper(), "to": name[1].upper(), "distance": 3.0} for name in ("aa", "ab", "bc", "ac")
]


def true_rate(name: str, start: str, temperature: float) -> float:
    return PREFACTOR * np.exp(-(TOP[name] - ENERGY[start]) / (BOLTZMANN_EV_PER_K * temperature))


def synthetic_counts(seed: int, exposure: float = 2e-9, temperatures=(500, 600, 700)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for temperature in temperatures:
        for entry in CLASSES:
            ends = {(entry["from"], entry["to"]), (entry["to"], entry["from"])}
            for start, end in sorted(ends):
                count = rng.poisson(true_rate(entry["name"], start, temperature) * exposure)
                rows.append([entry["name"], start, end, temperature, count, exposure, 1.0, 0.0, 1e-13])
    columns = ["class", "from", "to", "temperature_K", "count", "exposure_s", "fano", "radius_log_sd", "frame_s"]
    return pd.DataFrame(rows, columns=columns)


def test_garwood_interval_is_the_tabulated_one():
    # Exact Poisson limits, e.g. Pearson and Hartley, Biometrika Tables for Statisticians, table 40.
    for count, low, high in ((1, 0.0253, 5.572), (10, 4.795, 18.39), (50, 37.11, 65.92)):
        np.testing.assert_allclose(poisson_interval(count, 1.0), (low, high), rtol=1e-3)
    np.testing.assert_allclose(poisson_interval(50, 1e-9), np.array([37.11, 65.92]) / 1e-9, rtol=1e-3)


def test_nothing_seen_bounds_the_rate_by_three_over_the_exposure():
    assert poisson_interval(0, 2e-9) == (0.0, pytest.approx(1.5e9))
    with pytest.raises(InputError):
        poisson_interval(0, 0.0)
    with pytest.raises(InputError):
        poisson_interval(-1, 1.0)


def test_fano_factor_of_independent_and_of_paired_jumps():
    rng = np.random.default_rng(1)
    single = rng.poisson(8, 400)
    exposures = np.ones(400)
    assert fano_factor(single, exposures) == pytest.approx(1, abs=0.25)
    assert fano_factor(2 * single, exposures) == pytest.approx(2, abs=0.5)
    # Exposure that varies is no over-dispersion.
    varying = rng.uniform(0.2, 2, 400)
    assert fano_factor(rng.poisson(8 * varying), varying) == pytest.approx(1, abs=0.25)
    assert fano_factor(np.zeros(10), np.ones(10)) == 1.0
    assert fano_factor(np.array([1, 0, 0]), np.array([0.1, 1.0, 1.0])) == 1.0  # one jump does not bunch


def test_bunched_jumps_get_a_wider_interval():
    rng = np.random.default_rng(2)
    bunched = 6 * rng.poisson(1.0, 50)
    rate, low, high = rate_interval(bunched, np.ones(50), seed=3)
    poisson_low, poisson_high = poisson_interval(int(bunched.sum()), 50.0)
    assert low < poisson_low < rate < poisson_high < high
    assert (high - low) / (poisson_high - poisson_low) == pytest.approx(np.sqrt(6), rel=0.3)


def test_poisson_intervals_cover_the_truth():
    rng = np.random.default_rng(4)
    inside = [low <= 7 <= high for low, high in (poisson_interval(int(n), 1.0) for n in rng.poisson(7, 2000))]
    assert np.mean(inside) >= 0.94


def test_known_parameters_are_recovered_with_honest_errors():
    truth = np.array([np.log(PREFACTOR), ENERGY["B"], ENERGY["C"], *TOP.values()])
    pulls = []
    rng = np.random.default_rng(0)
    for seed in range(100):
        # All that the fit is told scatters as it is told: counts, the barrier, and what is known of ν beforehand.
        counts, barrier = synthetic_counts(seed), NebBarrier(("ac", "A", "C"), 0.60 + 0.03 * rng.normal(), 0.03)
        model = fit_rates(CLASSES, counts, [barrier], PREFACTOR * 3.0 ** rng.normal(), 3.0)
        stretched = max(1.0, model.chi_squared / model.degrees_of_freedom)  # errors grow with χ², never shrink
        pulls.append((model.parameters - truth) / np.sqrt(np.diag(model.covariance) / stretched))
    pulls = np.array(pulls)
    assert np.abs(pulls.mean(axis=0)).max() < 0.35
    assert pulls.std(axis=0) == pytest.approx(np.ones(len(truth)), abs=0.2)
    assert model.barrier_eV(("ab", "B", "A"))[0] == pytest.approx(TOP["ab"] - ENERGY["B"], abs=0.02)
    assert 0.2 < model.chi_squared / model.degrees_of_freedom < 3


def test_detailed_balance_is_exact_at_every_temperature():
    model = fit_rates(CLASSES, synthetic_counts(1), [NebBarrier(("ac", "A", "C"), 0.6, 0.05)], 1e13, 3.0)
    energy = model.site_energies_eV
    for temperature in (105.0, 300.0, 700.0):
        thermal = BOLTZMANN_EV_PER_K * temperature
        for name, start, end in model.directed:
            if start == end:
                continue
            ratio = model.rate((name, start, end), temperature)[0] / model.rate((name, end, start), temperature)[0]
            assert ratio == pytest.approx(np.exp(-(energy[end] - energy[start]) / thermal), rel=1e-9)


def test_intervals_widen_towards_cold_and_contain_the_rate():
    model = fit_rates(CLASSES, synthetic_counts(2), [NebBarrier(("ac", "A", "C"), 0.6, 0.05)], PREFACTOR, 3.0)
    widths = []
    for temperature in (600.0, 300.0, 150.0):
        rate, low, high = model.rate(("ab", "A", "B"), temperature)
        assert 0 < low < rate < high
        assert low < true_rate("ab", "A", temperature) < high
        widths.append(np.log(high / low))
    assert widths[0] < widths[1] < widths[2]


def test_a_barrier_of_nudged_elastic_band_rules_a_class_that_was_not_seen():
    counts = synthetic_counts(3)
    counts.loc[counts["class"] == "ac", "count"] = 0
    for error in (0.02, 0.1):
        model = fit_rates(CLASSES, counts, [NebBarrier(("ac", "A", "C"), 0.9, error)], PREFACTOR, 3.0)
        value, spread = model.barrier_eV(("ac", "A", "C"))
        assert value == pytest.approx(0.9, abs=0.03)
        assert spread == pytest.approx(error, rel=0.25)
        assert not model.assumed


def test_both_sides_of_a_path_are_one_saddle_and_no_two_measurements_of_it():
    """A class that was not seen, between orbits of known energies: its barriers are known as well as a path's are."""
    counts = synthetic_counts(3)
    counts.loc[counts["class"] == "ac", "count"] = 0
    counts.loc[counts["class"] == "ac", "exposure_s"] = 1e-15
    rise = fit_rates(CLASSES, counts, [NebBarrier(("ac", "A", "C"), 0.9, 0.05)], PREFACTOR, 3.0).site_energies_eV["C"]
    sides = [NebBarrier(("ac", "A", "C"), 0.9, 0.05), NebBarrier(("ac", "C", "A"), 0.9 - rise - 0.02, 0.05)]
    for barriers in (sides, sides[::-1]):
        model = fit_rates(CLASSES, counts, barriers, PREFACTOR, 3.0)
        (there, error), (back, error_back) = (model.barrier_eV(("ac", *ends)) for ends in ("AC", "CA"))
        assert (there + back) / 2 == pytest.approx(0.9 - rise / 2 - 0.01, abs=1e-3)
        assert there - back == pytest.approx(rise, abs=5e-3)  # which jumps between A, B and C tell far better
        for found in (error, error_back):
            assert 0.95 * 0.05 < found < 1.5 * 0.05


def test_the_mean_barrier_of_both_sides_leaves_their_difference_to_the_site_energies():
    counts = synthetic_counts(3)
    counts.loc[counts["class"] == "ac", "count"] = 0
    counts.loc[counts["class"] == "ac", "exposure_s"] = 1e-15
    barrier = NebBarrier(("ac", "A", "C"), 0.8, 0.02, kinetic=True)
    model = fit_rates(CLASSES, counts, [barrier], PREFACTOR, 3.0)
    there, back = (model.barrier_eV(("ac", *ends))[0] for ends in (("A", "C"), ("C", "A")))
    assert (there + back) / 2 == pytest.approx(0.8, abs=0.005)
    assert there - back == pytest.approx(model.site_energies_eV["C"])
    rows = model_table(model, [500.0], [barrier]).set_index(["origin", "class", "from"])["rate_per_s"]
    for start in ("A", "C"):
        assert rows["neb", "ac", start] == pytest.approx(rows["model", "ac", start], rel=0.15)


def test_an_unseen_class_without_barrier_gets_one_jump_and_says_so():
    counts = synthetic_counts(4, temperatures=(600,))
    counts.loc[counts["class"] == "ac", "count"] = 0
    model = fit_rates(CLASSES, counts, [], PREFACTOR, 3.0)
    assert set(model.assumed) == {("ac", "A", "C"), ("ac", "C", "A")}
    expected = sum(model.rate(key, 600)[0] * 2e-9 for key in model.assumed)
    assert expected == pytest.approx(1.0, rel=1e-3)
    # The one jump must not bend the site energies that the other classes fix.
    assert model.site_energies_eV["C"] == pytest.approx(ENERGY["C"], abs=0.02)


def test_jumps_seen_one_way_only_leave_no_site_energy_open():
    """A single jump out of a site of high energy, none into it seen, and nothing else leads there."""
    counts = synthetic_counts(4, temperatures=(600,))
    counts = counts[~counts["class"].isin(["bc"])].copy()
    counts.loc[counts["class"] == "ac", "count"] = 0
    counts.loc[(counts["class"] == "ac") & (counts["from"] == "C"), ["count", "exposure_s"]] = [1, 1e-13]
    classes = [entry for entry in CLASSES if entry["name"] != "bc"]
    model = fit_rates(classes, counts, [], PREFACTOR, 3.0)
    assert model.assumed == (("ac", "A", "C"),)
    # One jump each way: the energy difference is that of the exposures.
    expected = BOLTZMANN_EV_PER_K * 600 * np.log(2e-9 / 1e-13)
    assert model.site_energies_eV["C"] == pytest.approx(expected, abs=0.03)
    # The same where the way back is known by its barrier alone, as of jumps that last no longer than a frame.
    forward = counts[~((counts["class"] == "ac") & (counts["from"] == "C"))]
    model = fit_rates(classes, forward, [NebBarrier(("ac", "C", "A"), 0.0, 0.05)], PREFACTOR, 3.0)
    assert model.assumed == (("ac", "A", "C"),)
    assert model.rate(("ac", "A", "C"), 600)[0] * 2e-9 == pytest.approx(1.0, rel=0.05)


def test_barriers_are_never_negative():
    counts = synthetic_counts(5)
    counts.loc[counts["class"] == "aa", "count"] = 10**6
    model = fit_rates(CLASSES, counts, [NebBarrier(("ac", "A", "C"), 0.6, 0.05)], 1e12, 1.2)
    assert model.at_bound == ("aa",)
    assert all(model.barrier_eV(key)[0] >= -1e-9 for key in model.directed)
    # What has next to no barrier is extrapolated to the cold no faster than it attempts, errors or not.
    attempts = model.prefactor_per_s * np.exp(1.96 * model.covariance[0, 0] ** 0.5)
    assert all(model.rate(key, 20.0)[2] <= attempts * (1 + 1e-9) for key in model.directed)
    assert model.rate(("aa", "A", "A"), 20.0)[2] == pytest.approx(attempts)


def test_overdispersed_rows_weigh_less():
    counts = synthetic_counts(6)
    model = fit_rates(CLASSES, counts, [], PREFACTOR, 3.0)
    loose = fit_rates(CLASSES, counts.assign(fano=4.0), [], PREFACTOR, 3.0)
    narrow, wide = (
        m.barrier_eV(("ab", "A", "B"))[1] / max(1, m.chi_squared / m.degrees_of_freedom) ** 0.5 for m in (model, loose)
    )
    assert 1.2 < wide / narrow < 2.05


def test_a_factor_on_all_rates_is_an_error_of_the_prefactor_alone():
    counts, barriers = synthetic_counts(9), [NebBarrier(("ac", "A", "C"), 0.6, 0.05)]
    known, loose = (fit_rates(CLASSES, counts, barriers, PREFACTOR, 3.0, log_sd) for log_sd in (0.0, 0.5))
    np.testing.assert_array_equal(known.parameters, loose.parameters)
    for key in known.directed:
        assert loose.barrier_eV(key) == known.barrier_eV(key)
        for temperature in (600.0, 200.0):
            narrow, wide = (np.log(m.rate(key, temperature)[2] / m.rate(key, temperature)[0]) for m in (known, loose))
            assert wide**2 - narrow**2 == pytest.approx((1.96 * 0.5) ** 2)


def test_undetermined_models_are_refused():
    counts = synthetic_counts(7)
    with pytest.raises(InputError, match="class ac"):
        fit_rates(CLASSES, counts[counts["class"] != "ac"], [], PREFACTOR, 3.0)
    with pytest.raises(InputError, match="not a class"):
        fit_rates(CLASSES[:3], counts, [], PREFACTOR, 3.0)
    never = counts[(counts["from"] != "C")].copy()
    never.loc[never["to"] == "C", "count"] = 0
    with pytest.raises(InputError, match="are ac A C, ac C A, bc B C, bc C B"):
        fit_rates(CLASSES, never, [], PREFACTOR, 3.0)


def test_jumps_that_contradict_a_barrier_are_named_and_no_interval_hides_them():
    counts = synthetic_counts(8)
    # A dozen jumps in two nanoseconds, over a barrier that lets none pass.
    counts["count"] = counts["count"].mask((counts["class"] == "ac") & (counts["from"] == "A"), 12)
    barriers = [NebBarrier(("ac", *ends), 2.0, 0.02) for ends in ("AC", "CA")]
    with pytest.raises(InputError, match="most of it from the jumps of class ac from A to C"):
        fit_rates(CLASSES, counts, barriers, PREFACTOR, 3.0)


def test_the_rate_table_serves_kinetic_monte_carlo(tmp_path):
    blocks = np.array([[30, 4, 0], [28, 6, 0]])
    exposures = np.full((2, 3), 1e-9)
    keys = [("ab", "A", "B"), ("ab", "B", "A"), ("aa", "A", "A")]
    counts = count_table(keys, blocks, exposures, 600.0, seed=1)
    assert counts["ci_high_per_s"].iloc[2] == pytest.approx(1.5e9)
    barriers = [NebBarrier(("aa", "A", "A"), 0.5, 0.05)]
    classes = [entry for entry in CLASSES if entry["name"] in ("aa", "ab")]
    model = fit_rates(classes, counts, barriers, PREFACTOR, 3.0)
    write_rates(tmp_path / "rates.csv", counts, model_table(model, [300.0, 150.0], barriers))
    table = pd.read_csv(tmp_path / "rates.csv")
    assert set(table["origin"]) == {"md", "neb", "model"}
    rates = read_rates(tmp_path / "rates.csv", 150.0)
    assert set(rates) == set(keys)
    assert all(0 < rate < 1e13 for rate in rates.values())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("count", -4),
        ("exposure_s", 0.0),
        ("temperature_K", 0.0),
        ("fano", "x"),
        ("radius_log_sd", -0.1),
        ("frame_s", 0.0),
    ],
)
def test_counts_out_of_range_are_named(tmp_path, column, value):
    table = synthetic_counts(8).astype({column: object})
    table.loc[2, column] = value
    table.to_csv(tmp_path / "counts.csv", index=False)
    with pytest.raises(InputError, match=rf"row 4 has {column} = {value}"):
        read_counts(tmp_path / "counts.csv")
    table.drop(columns="exposure_s").to_csv(tmp_path / "counts.csv", index=False)
    with pytest.raises(InputError, match="column exposure_s is missing"):
        read_counts(tmp_path / "counts.csv")
