"""Signals along paths: against the exact two-site process, brute force, and the propagator's frozen echo."""

import numpy as np
import pandas as pd
import pytest
from echoes import matrix_echo
from insilico_nmr import kmc, paths
from insilico_nmr.echo import evolution_kernel, frozen_echo
from insilico_nmr.errors import InputError
from insilico_nmr.files import write_json
from insilico_nmr.lattice import build_lattice, equilibrium, number_of_ions
from insilico_nmr.nuclei import nucleus
from insilico_nmr.powder import frequency_unit, quadrupolar_frequency, zcw
from insilico_nmr.spectra import exchange_fid
from insilico_nmr.surroundings import Added
from insilico_nmr.tensors import COLUMNS, ROWS
from lattices import isolated_sites, network
from programs import run
from scipy.spatial.transform import Rotation
from spins import two_site_decay, two_site_echo
from student import widening

Li7 = nucleus("7Li")
SPLITTING_HZ = 20e3


def uniaxial(axis) -> np.ndarray:
    """A field gradient along `axis` (3,) whose satellites lie at ±SPLITTING_HZ, a.u."""
    n = np.asarray(axis, float) / np.linalg.norm(axis)
    return SPLITTING_HZ / frequency_unit(Li7) * (1.5 * np.outer(n, n) - 0.5 * np.eye(3))


TWO = np.array([uniaxial([0, 0, 1]), uniaxial([1, 0, 0])])


def two_sites(rate_per_s: float, pairs: int = 800):
    """As many isolated pairs of sites, one ion in each, at random: independent two-site exchange."""
    sites = isolated_sites("AA", [(0, 1, "x")])
    lattice = build_lattice(sites, {("x", "A", "A"): rate_per_s}, (pairs, 1, 1))
    rng = np.random.default_rng(5)
    start = 2 * np.arange(pairs) + rng.integers(2, size=pairs)
    return lattice, start, kmc.start(lattice, start, 7), paths.orientations(pairs, rng)


@pytest.mark.parametrize("rate", [1.0, 3e4, 1e7])
def test_the_decay_is_that_of_two_site_exchange_from_rest_to_fast(rate):
    lattice, start, state, turned = two_sites(rate)
    times = np.linspace(0, 1e-4, 26)
    fields = [(paths.field_of_sites(lattice, TWO), len(start))]
    integral = paths.integrated_tensors(lattice, fields, start, state, times)[0]
    found = paths.decay(integral, turned, Li7)
    generator = rate * np.array([[-1.0, 1.0], [1.0, -1.0]])
    exact = exchange_fid(generator, np.full(2, 0.5), TWO, Li7, *zcw(5000), times[1], len(times))
    assert np.abs(0.4 + found - exact).max() < 0.015  # the central line stays
    # At 3e4 jumps a second the exchange is what decides: neither limit would pass.
    static = exchange_fid(0 * generator, np.full(2, 0.5), TWO, Li7, *zcw(5000), times[1], len(times))
    assert rate == 1.0 or np.abs(static - exact).max() > 0.1


@pytest.mark.parametrize(
    ("isotope", "lines"),
    [("6Li", {0.5: 1 / 2}), ("7Li", {1: 3 / 10}), ("27Al", {1: 8 / 35, 2: 5 / 35})],
)
def test_decays_and_echoes_of_any_spin_are_those_of_two_sites(isotope, lines):
    """Closed forms, by the share of the line at each multiple of ν_Q > 0, which has a mirror image."""
    observed, rate = nucleus(isotope), 3e4
    tensors = frequency_unit(Li7) / frequency_unit(observed) * TWO
    lattice, start, state, turned = two_sites(rate)
    delays, times = 1e-6 * np.array([8, 20, 48]), 4e-6 * np.arange(26)
    every = np.unique([*times, *delays, *(2 * delays)])
    fields = [(paths.field_of_sites(lattice, tensors), len(start))]
    integral = paths.integrated_tensors(lattice, fields, start, state, every)[0]

    def at(wanted) -> np.ndarray:
        return integral[np.searchsorted(every, wanted)]

    directions, weights = zcw(5000)
    splitting = 2 * np.pi * quadrupolar_frequency(tensors, directions, observed).T[..., None]

    def exact(closed_form, time: np.ndarray) -> np.ndarray:
        return sum(2 * share * weights @ closed_form(line * splitting, rate, time) for line, share in lines.items())

    decay, echo = exact(two_site_decay, times), exact(two_site_echo, delays)
    np.testing.assert_allclose(paths.decay(at(times), turned, observed), decay, atol=0.015)
    np.testing.assert_allclose(paths.decay(at(2 * delays) - 2 * at(delays), turned, observed), echo, atol=0.015)
    assert decay[0] == pytest.approx(2 * sum(lines.values()))
    assert echo[-1] < 0.8 * decay[0]  # neither at rest
    assert (echo > 1.05 * np.interp(2 * delays, times, decay)).all()  # nor without a pulse


def test_an_echo_gives_back_rest_and_not_exchange():
    times = np.array([1e-4, 2e-4])
    for rate, low, high in ((0.01, 0.599, 0.601), (1e4, 0.0, 0.3)):
        lattice, start, state, turned = two_sites(rate)
        field = paths.field_of_sites(lattice, TWO)
        integral = paths.integrated_tensors(lattice, [(field, len(start))], start, state, times)[0]
        assert low < paths.decay(integral[1:] - 2 * integral[:1], turned, Li7)[0] < high
        assert paths.decay(integral[1:], turned, Li7)[0] < 0.2


def test_jumps_during_the_evolution_times_lower_the_echo_as_the_matrix_form_says():
    rate, evolution = 1e4, 2e-5  # k t_p = 0.2
    lattice, start, state, turned = two_sites(rate, pairs=4000)
    mixing = np.array([1e-9, 3e-5, 1e-4, 1e-3])
    times = np.sort(np.concatenate([[evolution], evolution + mixing, 2 * evolution + mixing]))
    fields = [(paths.field_of_sites(lattice, TWO), len(start))]
    integral = paths.integrated_tensors(lattice, fields, start, state, times)[0]
    at = {time: integral[place] for place, time in enumerate(times)}
    second = np.array([at[time + 2 * evolution] - at[time + evolution] for time in mixing])
    found = paths.alignment_echo(at[evolution], second, turned, Li7)
    generator = rate * np.array([[-1.0, 1.0], [1.0, -1.0]])
    exact = matrix_echo(generator, np.full(2, 0.5), TWO, evolution, mixing, Li7)
    np.testing.assert_allclose(found, exact, atol=0.006)
    stay = (1 + np.exp(-2 * rate * mixing)) / 4
    joint = np.array([[stay, 0.5 - stay], [0.5 - stay, stay]])
    frozen = frozen_echo(joint, evolution_kernel(TWO, evolution, Li7), Li7)
    assert (frozen[0] - exact[0]) > 0.05


def test_signals_along_paths_do_not_depend_on_the_frame():
    """Of a powder of ions with integrated tensors of up to a few turns."""
    rng = np.random.default_rng(5)
    integrals = rng.normal(size=(3, 400, 3, 3))
    integrals = (integrals + integrals.swapaxes(-1, -2)) / (2 * np.pi * frequency_unit(Li7))
    turn = Rotation.random(random_state=1).as_matrix()
    found = []
    for frame in (np.eye(3), turn):
        first, *second = (frame @ integrals @ frame.T)[..., ROWS, COLUMNS]
        grid = paths.orientations(400, np.random.default_rng(6))
        found.append(
            [*paths.decay(np.array(second), grid, Li7), *paths.alignment_echo(first, np.array(second), grid, Li7)]
        )
    np.testing.assert_allclose(*found, atol=2e-3)
    assert np.abs(found[0]).max() > 0.05


def square() -> dict:
    return network(np.diag([3.0, 3.0, 9.0]), [[0, 0, 0]], "A", {"nn": 3.0})


def neighbours_of_square() -> Added:
    """The four nearest sites, each adding what a unit charge there does."""
    image = np.array([[[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]])
    return Added(np.zeros((1, 4), int), image, np.array([[uniaxial(step) for step in image[0]]]))


def test_surroundings_follow_every_jump():
    """Against tensors built anew from the occupation after every event."""
    lattice = build_lattice(square(), {("nn", "A", "A"): 1.0}, (4, 4, 2))
    n_ions = number_of_ions(lattice, 0.5)
    own = np.array([uniaxial([0, 0, 1])])
    added = neighbours_of_square()
    field = paths.field_of_surroundings(lattice, n_ions, own, added)
    start, state = kmc.start_in_equilibrium(lattice, n_ions, np.random.default_rng(1))
    times = np.array([0.0, 0.4, 3.0, 7.0])
    found = paths.integrated_tensors(lattice, [(field, n_ions)], start, state, times)[0]

    _, again = kmc.start_in_equilibrium(lattice, n_ions, np.random.default_rng(1))
    ions, sites, moments = kmc.run_journal(lattice, again, times[-1], 10_000)
    assert len(ions) > 50
    place, cells = np.array(start), lattice.cells_of(np.arange(lattice.n_sites))
    number = {tuple(cell): n for n, cell in enumerate(cells.tolist())}
    filling = equilibrium(lattice, n_ions).occupation[0]
    expected, now = np.zeros((n_ions, 3, 3)), 0.0
    checked = 1
    for moment, ion, target in [*zip(moments, ions, sites, strict=True), (np.inf, 0, 0)]:
        occupied = set(place.tolist())
        tensors = np.array([
            own[0] + sum(
                ((number[tuple((cells[p] + step) % lattice.supercell)] in occupied) - filling) * part
                for step, part in zip(added.image[0], added.tensor[0], strict=True)
            )
            for p in place
        ])  # fmt: skip
        while checked < len(times) and times[checked] < moment:
            at = expected + tensors * (times[checked] - now)
            np.testing.assert_allclose(found[checked], at[:, ROWS, COLUMNS], rtol=1e-9, atol=1e-12)
            checked += 1
        expected += tensors * (min(moment, times[-1]) - now)
        now = moment
        place[ion] = target
    assert checked == len(times)
    assert np.abs(found[0]).max() == 0


def test_surroundings_leave_the_mean_tensor_of_a_site():
    lattice = build_lattice(square(), {("nn", "A", "A"): 1.0}, (20, 20, 2))
    n_ions = number_of_ions(lattice, 0.3)
    own = np.array([uniaxial([0, 0, 1])])
    field = paths.field_of_surroundings(lattice, n_ions, own, neighbours_of_square())
    start, state = kmc.start_in_equilibrium(lattice, n_ions, np.random.default_rng(2))
    found = paths.integrated_tensors(lattice, [(field, n_ions)], start, state, np.array([300.0]))[0]
    mean = found[0].mean(axis=0) / 300
    assert mean == pytest.approx(own[0][ROWS, COLUMNS], abs=0.02 * np.abs(own).max())


def test_a_neighbour_that_is_none_back_and_a_box_too_small_are_refused():
    added = neighbours_of_square()
    one_less = Added(added.site[:, :3], added.image[:, :3], added.tensor[:, :3])
    lattice = build_lattice(square(), {("nn", "A", "A"): 1.0}, (4, 4, 2))
    own = np.array([uniaxial([0, 0, 1])])
    with pytest.raises(InputError, match="none of its own"):
        paths.field_of_surroundings(lattice, 8, own, one_less)
    small = build_lattice(square(), {("nn", "A", "A"): 1.0}, (4, 2, 2))
    image = np.array([[[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [2, 0, 0], [-2, 0, 0]]])
    farther = Added(np.zeros((1, 6), int), image, np.zeros((1, 6, 3, 3)))
    with pytest.raises(InputError, match="wide"):
        paths.field_of_surroundings(small, 4, own, farther)


@pytest.fixture
def program(tmp_path):
    """simulate_paths.py at a jump rate (1/s) on the square lattice half full: both tables, or its message."""
    sites = square() | {"mobile": "Li", "concentration": 0.5, "host": []}
    added = neighbours_of_square()
    adds = [
        {"site": 0, "image": step.tolist(), "adds": part.tolist()}
        for step, part in zip(added.image[0], added.tensor[0], strict=True)
    ]
    write_json(tmp_path / "sites.json", sites)
    write_json(tmp_path / "around.json", {"sites": [{"index": 0, "orbit": "A", "neighbours": adds}]})
    out = tmp_path / "spectra.csv", tmp_path / "echoes.csv"

    def simulated(
        rate_per_s: float, *flags: object, size: float = 1.0, members: tuple[float, ...] = (), isotope: str = "7Li",
        evolution_us: tuple[float, ...] = (10,),
    ):  # fmt: skip
        tensor = uniaxial([0, 0, 1])
        state = {"index": 0, "orbit": "A", "tensor": (size * tensor).tolist(), "samples": []}
        state["members"] = [(factor * tensor).tolist() for factor in members]
        write_json(tmp_path / "tensors.json", {"temperature_K": 300.0, "isotope": isotope, "states": [state]})
        header = "class,from,to,temperature_K,count,exposure_s,rate_per_s,ci_low_per_s,ci_high_per_s,origin"
        rows = [f"nn,A,A,{T},,,{rate_per_s},,,model" for T in (300, 400)]
        (tmp_path / "rates.csv").write_text("\n".join([header, *rows]) + "\n")
        code, said = run(
            "simulate_paths", tmp_path / "sites.json", "--rates", tmp_path / "rates.csv", "--temperature", 300,
            "--site-tensors", tmp_path / "tensors.json", "--surroundings", tmp_path / "around.json",
            "--isotope", isotope, "--supercell", 3, 3, 2, "--replicas", 2, "--max-events", 50_000,
            "--echo-delay-us", 20, "--lorentz-Hz", 2000, "--out-spectra", out[0], "--out-echoes", out[1],
            *(["--evolution-times-us", *evolution_us] if evolution_us else []), *flags,
        )  # fmt: skip
        return [pd.read_csv(path) for path in out] if code == 0 else said

    return simulated


def test_sites_of_one_tensor_show_motion_by_their_surroundings_alone(program):
    spectra, echoes = program(1e5)
    # Of the same ions at the same times, until each neighbour has had half a jump.
    early = echoes[echoes["mixing_time_s"] < 5e-6].sort_values("mixing_time_s").groupby("tensors")["S2"]
    early = early.agg(["first", "last"])
    assert early.loc["sites", "last"] == pytest.approx(early.loc["sites", "first"], rel=1e-6)
    assert early.loc["surroundings", "last"] < 0.99 * early.loc["surroundings", "first"]
    step = np.diff(spectra["frequency_kHz"].unique()).mean()
    area = spectra.groupby(["experiment", "tensors"])["intensity_per_kHz"].sum() * step
    assert area["fid"].to_numpy() == pytest.approx(1, abs=0.02)
    assert area["quadrupole_echo", "sites"] == pytest.approx(1, abs=0.02)  # rest is refocused
    assert area["quadrupole_echo", "surroundings"] < 0.9


@pytest.mark.parametrize(("isotope", "highest_kHz", "echoes_at"), [("6Li", 5, {10}), ("27Al", 0, set())])
def test_other_spins_have_their_spectra_and_spin_1_its_alignment_echo(program, isotope, highest_kHz, echoes_at):
    """Ions at rest, ν_Q from −10 to 20 kHz: spin 1 has horns at ±5 kHz, and spin 5/2 a central line."""
    observed = nucleus(isotope)
    spectra, echoes = program(1e3, size=frequency_unit(Li7) / frequency_unit(observed), isotope=isotope)
    rest = spectra[(spectra["tensors"] == "sites") & (spectra["experiment"] == "quadrupole_echo")]
    step = rest["frequency_kHz"].diff().iloc[1]
    assert rest["intensity_per_kHz"].sum() * step == pytest.approx(1, abs=0.02)
    highest = rest.loc[rest["intensity_per_kHz"].idxmax(), "frequency_kHz"]
    assert abs(highest) == pytest.approx(highest_kHz, abs=1)
    end_kHz = (observed.spin - 0.5) * SPLITTING_HZ / 1e3
    size = [rest["intensity_per_kHz"][abs(rest["frequency_kHz"].abs() - end_kHz - by) < 1].mean() for by in (-3, 3)]
    assert size[0] > 3 * size[1]
    assert set(echoes["evolution_time_us"]) == echoes_at
    directions, weights = zcw(5000)
    phases = np.pi * 1e-5 * quadrupolar_frequency(uniaxial([0, 0, 1]), directions, Li7)
    for value in echoes["S2"][echoes["tensors"] == "sites"].iloc[:1]:
        assert value == pytest.approx(0.75 * weights @ np.sin(phases) ** 2, rel=0.01)


def test_without_evolution_times_there_are_spectra_alone(program):
    spectra, echoes = program(1e5, evolution_us=())
    assert (len(spectra) > 0, len(echoes)) == (True, 0)
    assert "too soon for a spectrum" in program(1e8, evolution_us=())


def test_errors_of_tensors_are_what_other_tensors_give(program):
    """At one replica's paths and orientations; the scatter of two runs with tensors a tenth apart, within sampling."""
    _, echoes = program(1e5, members=(0.95, 1.05))
    smaller, larger = (program(1e5, size=size)[1]["S2"] for size in (0.95, 1.05))
    first = echoes["mixing_time_s"] == echoes["mixing_time_s"].min()
    expected = widening(2) * np.abs(larger - smaller)[first] / np.sqrt(2)
    np.testing.assert_allclose(echoes["S2_sd_model"][first], expected, rtol=0.3)
    assert (expected > widening(2) * 5e-3).all()
    assert echoes["S2_sd_dft"].isna().all()  # the file of tensors says nothing of DFT's error


def test_a_dead_time_takes_the_decays_start(program):
    whole, _ = program(1e5)
    late, _ = program(1e5, "--dead-time-us", 60)
    area = [table[table["experiment"] == "fid"]["intensity_per_kHz"].sum() for table in (whole, late)]
    assert abs(area[1]) < 0.1 * area[0]  # the area is the signal at time 0, which is lost


def test_what_the_budget_does_not_reach_is_said(program):
    spectra, echoes = program(1e7)
    assert (len(spectra), len(echoes) > 0) == (0, True)
    short, _ = program(1e6)
    whole, _ = program(1e5)
    assert 5e-4 < short["followed_s"].iloc[0] < 0.9 * whole["followed_s"].iloc[0]
    area = short.groupby(["experiment", "tensors"])["intensity_per_kHz"].sum() * short["frequency_kHz"].diff().iloc[1]
    assert area["fid", "sites"] == pytest.approx(1, abs=0.02)
    short, _ = program(1e6, "--lorentz-Hz", 500)
    outside = short[(short["experiment"] == "fid") & (short["tensors"] == "sites") & (short["frequency_kHz"] > 28)]
    # No ripples of a central line cut short.
    assert outside["intensity_per_kHz"].diff().abs().max() < 1e-3 * short["intensity_per_kHz"].max()
    assert "end after" in program(1e12)
    assert "is at 300 K" in program(1e5, "--temperature", 400)
    assert "--replicas is 1" in program(1e5, "--replicas", 1)
    assert "--evolution-times-us: '0'; expected a finite number above 0" in program(1e5, "--evolution-times-us", 0)


def test_a_file_that_holds_no_surroundings_is_named(program, tmp_path):
    assert f"{tmp_path / 'sites.json'}: expected sites 0 to 0" in program(
        1e5, "--surroundings", tmp_path / "sites.json"
    )
