"""Jumps in synthetic trajectories whose hops are known."""

from dataclasses import replace

import numpy as np
import pytest
from insilico_nmr.crystal import make_crystal
from insilico_nmr.errors import InputError
from insilico_nmr.events import assign, count_jumps, find_jumps, host_drift, mean_displacements, radius_factors, summary
from insilico_nmr.sites import build_sites, closest_pair, directed_classes
from insilico_nmr.trajectory import Trajectory

REPEAT = np.array([4, 2, 2])
CELL = np.diag([3.0, 4.0, 4.0])


@pytest.fixture(scope="module")
def sites() -> dict:
    """A tetragonal lattice of Li with jumps of 3 Å along x only, and one host atom per cell."""
    turn = np.diag([1, -1, -1])
    mirror = np.diag([-1, 1, 1])
    group = np.array([np.eye(3, dtype=int), turn, mirror, turn @ mirror])
    atoms = [("A", "Li", 0.5, np.zeros(3)), ("O1", "O", 1.0, np.full(3, 0.5))]
    return build_sites(make_crystal(CELL, group, np.zeros((4, 3)), atoms), "Li", 3.5)


def trajectory(paths: np.ndarray, drift: np.ndarray | None = None) -> Trajectory:
    """Ions on the given unwrapped positions (F, N, 3), and the host of 16 atoms, both shifted by `drift` (F, 3)."""
    cells = np.stack(np.meshgrid(*map(np.arange, REPEAT), indexing="ij"), axis=-1).reshape(-1, 3)
    host = np.broadcast_to((cells + 0.5) @ CELL, (len(paths), len(cells), 3))
    positions = np.concatenate([paths, host], axis=1)
    if drift is not None:
        positions = positions + drift[:, None]
    frames = len(paths)
    return Trajectory(
        positions.astype(np.float32),
        np.array([3] * paths.shape[1] + [8] * len(cells)),
        CELL * REPEAT[:, None],
        0.1 * np.arange(1, frames + 1),
        np.full(frames, 600.0),
        np.zeros(frames),
        600.0,
    )


def hopper(steps: list[int], frames_each: int, noise: float, seed: int = 0) -> np.ndarray:
    """One ion that stays `frames_each` frames on every site of a walk along x, rattling by `noise` Å: (F, 1, 3)."""
    at = np.repeat(np.concatenate([[0], np.cumsum(steps)]), frames_each)
    positions = np.zeros((len(at), 1, 3))
    positions[:, 0, 0] = 3.0 * at
    return positions + np.random.default_rng(seed).normal(0, noise, positions.shape)


def test_a_cell_that_is_strained_along_a_short_edge_is_no_supercell(sites):
    run = trajectory(hopper([1], 10, 0.0))
    for part, fits in ((0.02, True), (0.05, False)):
        strained = replace(run, cell=run.cell * np.array([[1.0], [1.0 + part], [1.0]]))
        if fits:
            assert assign(strained, sites, 1.0).repeat == (4, 2, 2)
        else:
            with pytest.raises(InputError, match="not a multiple of the cell"):
                assign(strained, sites, 1.0)


@pytest.mark.parametrize("strain", [0.01, -0.02])
def test_a_strained_crystal_at_rest_has_no_drift(sites, strain):
    run = trajectory(hopper([1], 10, 0.0))
    strained = replace(run, cell=run.cell * (1 + strain), positions=run.positions * (1 + strain))
    np.testing.assert_allclose(host_drift(strained, sites), 0, atol=1e-5)


def test_a_run_of_few_frames_has_occupancies_with_errors(sites):
    assignment = assign(trajectory(hopper([1], 3, 0.0)), sites, 1.0)
    found = summary(assignment, find_jumps(assignment))["occupancies"]["A"]
    assert found["ions_per_site"] == pytest.approx(1 / 16)
    assert found["standard_error"] == 0


def test_known_hops_are_found_with_their_times_and_images(sites):
    walk = [1, 1, -1, 1, 1, 1, 1, 1]
    found = find_jumps(assign(trajectory(hopper(walk, 10, 0.1)), sites, 1.0))
    np.testing.assert_allclose(found.time_s, np.arange(10, 90, 10) * 1e-13)
    np.testing.assert_array_equal(found.image[:, 0], walk)
    assert (found.kind == 0).all()


def test_rattling_across_the_border_between_sites_is_no_jump(sites):
    path = hopper([], 400, 0.0)
    # Swings to 1.9 Å, beyond the mid-plane at 1.5 Å but outside the core of the next site (from 2.0 Å on).
    path[:, 0, 0] = 1.9 * np.abs(np.sin(np.arange(400)))
    assignment = assign(trajectory(path), sites, 1.0)
    assert len(find_jumps(assignment).time_s) == 0
    assert 0.3 < assignment.outside.mean() < 0.8
    # Once it does enter the next core it counts, and coming back counts too.
    path[200, 0, 0] = 2.5
    assert len(find_jumps(assign(trajectory(path), sites, 1.0)).time_s) == 2


def test_a_drift_of_the_whole_crystal_is_no_jump(sites):
    path = hopper([1, 1, 1], 50, 0.05)
    drift = np.outer(np.linspace(0, 9, len(path)), [1, 0.3, -0.2])
    run = trajectory(path, drift)
    np.testing.assert_allclose(host_drift(run, sites), drift, atol=1e-4)
    assert find_jumps(assign(run, sites, 1.0)).image[:, 0].tolist() == [1, 1, 1]


def test_exposure_is_the_time_that_a_jump_was_possible(sites):
    # Two ions in a row of four sites: neighbours first (each has one empty side), then apart (each has two).
    near = np.zeros((40, 2, 3))
    near[:, 1, 0] = 3.0
    apart = near[:60].repeat(2, axis=0)[:60].copy()
    apart[:, 1, 0] = 6.0
    assignment = assign(trajectory(np.concatenate([near, apart])), sites, 1.0)
    counts, exposures = count_jumps(assignment, find_jumps(assignment), 5)
    assert directed_classes(sites) == [("A-A:3.00", "A", "A")]
    assert counts.sum() == 1
    assert exposures.sum() == pytest.approx((40 * 2 + 60 * 4) * 1e-13)
    np.testing.assert_allclose(exposures[:2, 0], [20 * 2 * 2e-13 / 2] * 2)


def test_every_jump_counted_is_one_that_the_exposure_allows(sites):
    # Two neighbours move on together: the target of the second is occupied until the frame in which it gets there.
    path = hopper([1, 1], 10, 0.0)
    assignment = assign(trajectory(np.concatenate([path, path + np.array([3.0, 0, 0])], axis=1)), sites, 1.0)
    jumps = find_jumps(assignment)
    np.testing.assert_array_equal(jumps.replacement, [True, False, True, False])
    assert not jumps.into_occupied.any()
    counts, exposures = count_jumps(assignment, jumps, 3)
    # Each ion has one empty side in 30 frames; the frame before each replacement was one in which it could happen.
    np.testing.assert_allclose(exposures.sum(), (2 * 30 + 2) * 1e-13)
    # Jumps after frames 9 and 19 of 30: they belong to the blocks of those frames.
    np.testing.assert_array_equal(counts[:, 0], [2, 2, 0])
    assert summary(assignment, jumps)["replacement_fraction"] == 0.5


def test_a_class_met_in_replacements_only_still_has_an_exposure(sites):
    # A full row of four: nothing is ever empty, and all move on at once.
    row = np.concatenate([hopper([1], 10, 0.0) + np.array([3.0 * n, 0, 0]) for n in range(4)], axis=1)
    assignment = assign(trajectory(row), sites, 1.0)
    counts, exposures = count_jumps(assignment, find_jumps(assignment))
    assert counts.sum() == 4
    assert exposures.sum() == pytest.approx(4e-13)


def test_time_reversal_exchanges_the_counts_of_there_and_back():
    # Two orbits in turn along x, and chains of ions that push each other on to the right more often than not: read
    # backwards, as many jumps of each class there as back. Without replacements this fails.
    cell = np.diag([6.0, 8.0, 8.0])
    atoms = [("A", "Li", 0.5, np.zeros(3)), ("B", "Li", 0.5, np.array([0.5, 0, 0]))]
    group = np.array([np.eye(3, dtype=int), np.diag([-1, 1, 1])])
    sites = build_sites(make_crystal(cell, group, np.zeros((2, 3)), atoms), "Li", 3.5)
    rng, at, frames = np.random.default_rng(11), np.array([0, 1, 4]), []
    for _ in range(600):
        step, ion = rng.choice([-1, 1]), rng.integers(3)
        moved, pushed = at.copy(), ion
        while True:
            moved[pushed] += step
            hit = [n for n in range(3) if n != pushed and (moved[n] - moved[pushed]) % 8 == 0]
            if not hit or abs(moved[hit[0]] - at[hit[0]]) > 0:
                break
            pushed = hit[0]
        at = moved
        frames += [at] * int(rng.integers(2, 6))
    positions = np.zeros((len(frames), 3, 3))
    positions[..., 0] = 3.0 * np.array(frames)
    time = 0.1 * np.arange(len(frames))
    record = (np.full(3, 3), cell * np.array([4, 1, 1])[:, None], time, np.full(len(time), 600.0), 0 * time, 600.0)
    forward, backward = (
        count_jumps(assignment, find_jumps(assignment))[0].sum(axis=0)
        for assignment in (assign(Trajectory(p, *record), sites, 1.0) for p in (positions, positions[::-1].copy()))
    )
    classes = directed_classes(sites)
    back = [classes.index((name, end, start)) for name, start, end in classes]
    assert forward.min() > 100
    np.testing.assert_array_equal(forward, backward[back])


def test_overlapping_cores_are_refused_and_the_pair_named(sites):
    first, second, distance = closest_pair(sites)
    assert (first, second, distance) == (0, 0, pytest.approx(3.0))
    path = trajectory(hopper([], 10, 0.0))
    assign(path, sites, 1.49)
    # Two sites in a cell, 2.4 Å apart through its border; the cell's own heights would allow 3 Å.
    cell = np.diag([6.0, 8.0, 8.0])
    atoms = [("A", "Li", 0.5, np.array([0.1, 0, 0])), ("B", "Li", 0.5, np.array([0.7, 0, 0]))]
    pair = build_sites(make_crystal(cell, [np.eye(3, dtype=int)], np.zeros((1, 3)), atoms), "Li", 3.0)
    assert closest_pair(pair)[2] == pytest.approx(2.4)
    still = np.broadcast_to([0.6, 0, 0], (5, 1, 3))
    run = Trajectory(still, np.array([3]), cell, 0.1 * np.arange(5), np.ones(5), np.zeros(5), 300.0)
    assign(run, pair, 1.19)
    with pytest.raises(InputError, match=r"\(A\) and 1 \(B\) are 2.40 Å apart; expected .* less than 1.20 Å"):
        assign(run, pair, 1.201)
    assign(run, pair, np.inf)


def test_the_core_radius_that_attempts_reach_raises_the_rates(sites):
    # Ions go to within 1.1 Å of the next site and turn back five times for every jump: attempts of a smaller radius,
    # jumps there and back of a larger one (1.2 Å).
    leg = np.array([0.0, 1.9, 0.0, 1.9, 0.0, 1.9, 0.0, 1.9, 0.0, 1.9, 0.0, 3.0])
    path = np.concatenate([3.0 * n + leg for n in range(40)])
    positions = np.zeros((len(path), 1, 3))
    positions[:, 0, 0] = path
    run = trajectory(positions)
    assignment = assign(run, sites, 0.96)
    counted = count_jumps(assignment, find_jumps(assignment))
    smaller, larger = radius_factors(run, sites, 0.96, counted)
    assert (smaller["core_radius_A"], larger["core_radius_A"]) == (pytest.approx(0.72), pytest.approx(1.2))
    assert counted[0].sum() == 40
    assert (smaller["jumps"], larger["jumps"]) == (40, 40 * 11)
    assert smaller["rate_factor"] == pytest.approx(1.0)
    assert larger["rate_factor"] == pytest.approx(11, rel=0.02)
    assert larger["returned_fraction"] == pytest.approx(10 / 11, abs=0.01)
    # Cores may not touch: the larger radius stops half-way to that.
    assert radius_factors(run, sites, 1.3, counted)[1]["core_radius_A"] == pytest.approx(1.4)
    # An ion that keeps 0.8 Å away is in no core of the smaller radius: said, not fatal.
    positions[:, 0, 1] = 0.8
    run = trajectory(positions)
    assignment = assign(run, sites, 1.0)
    assert "never comes within" in radius_factors(run, sites, 1.0, counted)[0]["reason"]


def test_a_rate_is_recovered_from_a_random_walk(sites):
    rng = np.random.default_rng(5)
    frames, rate = 40_000, 2e10  # to each side, 1/s: 4e-3 in a frame of 0.1 ps
    steps = rng.choice([-1, 0, 1], frames, p=[rate * 1e-13, 1 - 2 * rate * 1e-13, rate * 1e-13])
    path = np.zeros((frames, 1, 3))
    path[:, 0, 0] = 3.0 * np.cumsum(steps)
    path += rng.normal(0, 0.15, path.shape)
    assignment = assign(trajectory(path), sites, 1.0)
    counts, exposures = count_jumps(assignment, find_jumps(assignment))
    estimate, error = counts.sum() / exposures.sum(), np.sqrt(counts.sum()) / exposures.sum()
    assert abs(estimate - rate) < 4 * error
    assert error < 0.1 * rate


def test_an_unlisted_jump_and_a_double_occupation_are_reported(sites):
    path = hopper([2], 20, 0.0)
    second = np.zeros_like(path)
    second[:, 0, 0] = 6.0
    assignment = assign(trajectory(np.concatenate([path, second], axis=1)), sites, 1.0)
    found = summary(assignment, find_jumps(assignment))
    assert found["jumps"] == 0
    assert found["jumps_unlisted"] == 1
    assert found["unlisted_by_orbits"] == {"A-A": 1}
    assert found["into_occupied_fraction"] == 1.0
    assert found["double_occupied_fraction"] == pytest.approx(20 / 60)


def test_diffusion_of_sites_and_ions_agree_and_returns_are_counted(sites):
    assignment = assign(trajectory(hopper([1, -1] * 50, 5, 0.1)), sites, 1.0)
    found = summary(assignment, find_jumps(assignment))
    # 100 jumps, each but the first undoes the one before.
    assert found["returned_fraction"] == pytest.approx(0.99)
    assert found["diffusion_A2_per_ps"]["uncorrelated"] == pytest.approx(100 * 9 / (6 * 50.5), rel=1e-6)
    assert abs(found["diffusion_A2_per_ps"]["sites"]) < 0.1
    assert found["occupancies"]["A"]["ions_per_site"] == pytest.approx(1 / 16)


def test_mean_displacements_are_turned_back_to_the_representative():
    # Two sites that a mirror at x = 1/2 maps onto each other: the same shift in the frame of the first.
    group = np.array([np.eye(3, dtype=int), np.diag([-1, 1, 1])])
    cell = np.diag([6.0, 5.0, 5.0])
    sites = build_sites(make_crystal(cell, group, np.zeros((2, 3)), [("A", "Li", 1.0, np.array([0.2, 0, 0]))]), "Li", 3)
    path = np.zeros((50, 2, 3))
    path[:, 0], path[:, 1] = [1.2 + 0.3, 0.1, 0], [4.8 - 0.3, 0.1, 0]
    run = Trajectory(path, np.array([3, 3]), cell, 0.1 * np.arange(50), np.ones(50), np.zeros(50), 300.0)
    np.testing.assert_allclose(mean_displacements([assign(run, sites, 1.0)])["A"], [0.3, 0.1, 0], atol=1e-6)


def test_lost_ions_and_foreign_cells_are_refused(sites):
    path = hopper([], 10, 0.0)
    path[..., 1] = 2.0
    with pytest.raises(InputError, match="ion Li0 never comes within"):
        assign(trajectory(path), sites, 1.0)
    # Away for 16 of 20 ps; a shorter absence, or a shorter run, is none.
    path = hopper([], 200, 0.0)
    path[30:190, ..., 1] = 2.0
    with pytest.raises(InputError, match=r"ion Li0 is within 1 Å of no site from 3\.1 to 19\.0 ps"):
        assign(trajectory(path), sites, 1.0)
    with pytest.raises(InputError, match=r"no site from 3\.1 to 54\.1 ps"):  # 51 of 200 ps
        assign(trajectory(np.concatenate([path[:31], *[path[31:41]] * 51, *[path[:30]] * 49])), sites, 1.0)
    path[100, ..., 1] = 0.0
    assert assign(trajectory(path), sites, 1.0).outside.sum() == 159
    path = hopper([], 100, 0.0)
    path[30:, ..., 1] = 2.0
    assert assign(trajectory(path), sites, 1.0).outside.sum() == 70
    with pytest.raises(InputError, match="core radius"):
        assign(trajectory(hopper([], 10, 0.0)), sites, 1.6)
    foreign = dict(sites, cell=(CELL * 1.2).tolist())
    with pytest.raises(InputError, match="not a multiple"):
        assign(trajectory(hopper([], 10, 0.0)), foreign, 1.0)


def test_the_nearest_site_of_a_skewed_cell_is_the_nearest_of_all_images():
    cell = np.array([[3.65, 0, 0], [-1.825, 3.161, 0], [0, 0, 3.9]])
    group = np.array([np.eye(3, dtype=int)])
    atoms = [("A", "Li", 1.0, np.zeros(3)), ("B", "Li", 1.0, np.array([1 / 3, 2 / 3, 0.5]))]
    sites = build_sites(make_crystal(cell, group, np.zeros((1, 3)), atoms), "Li", 3.0)
    repeat = np.array([3, 3, 3])
    paths = np.random.default_rng(1).uniform(0, 1, (200, 5, 3)) @ (cell * repeat[:, None])
    run = Trajectory(
        paths.astype(np.float32), np.full(5, 3), cell * repeat[:, None], 0.1 * np.arange(1, 201), np.full(200, 600.0),
        np.zeros(200), 600.0,
    )  # fmt: skip
    found = assign(run, sites, np.inf)
    basis = np.array([site["position"] for site in sites["sites"]])
    images = np.stack(np.meshgrid(*[np.arange(-2, 6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    everywhere = ((basis[:, None] + images) @ cell).reshape(-1, 3)
    nearest = np.linalg.norm(run.positions[:, :, None] - everywhere, axis=-1).min(axis=-1)
    np.testing.assert_allclose(np.linalg.norm(found.displacement_A, axis=-1), nearest, atol=1e-4)
