"""Tests of memory on trajectories that have none, made by kinetic Monte Carlo, and on ones that have."""

import numpy as np
import pytest
from insilico_nmr import kmc, memory
from insilico_nmr.events import assign, count_jumps, find_jumps
from insilico_nmr.lattice import build_lattice, equilibrium_occupation, sites_reached
from insilico_nmr.trajectory import Trajectory
from lattices import THREE_RATES, three_orbits

SHAPE = (3, 4, 1)
FRAME_PS = 0.1


def network() -> dict:
    """The chain of three orbits with all of a sites.json that is needed here; a class joins one pair of orbits only."""
    sites = three_orbits()
    for jump in sites["jumps"]:
        jump["class"] += "ABC"[jump["from"]] if jump["class"] == "y" else ""
    named = sorted({(jump["class"], *sorted((jump["from"], jump["to"]))) for jump in sites["jumps"]})
    classes = [{"name": name, "from": "ABC"[a], "to": "ABC"[b], "distance": 1.0} for name, a, b in named]
    return {**sites, "mobile": "Li", "classes": classes, "host": []}


def trajectory(sites: dict, positions: np.ndarray, frame_ps: float) -> Trajectory:
    """Of ions alone, on positions (F, N, 3)."""
    frames, ions, _ = positions.shape
    return Trajectory(
        positions.astype(np.float32),
        np.full(ions, 3),
        np.array(sites["cell"]) * np.array(SHAPE)[:, None],
        frame_ps * np.arange(1, frames + 1),
        np.full(frames, 600.0),
        np.zeros(frames),
        600.0,
    )


def followed(sites: dict, positions: np.ndarray, frame_ps: float = FRAME_PS) -> tuple:
    """Assignment, jumps, and the rates counted in them."""
    assignment = assign(trajectory(sites, positions, frame_ps), sites, 0.3)
    jumps = find_jumps(assignment)
    counts, exposures = (blocks.sum(axis=0) for blocks in count_jumps(assignment, jumps))
    return assignment, jumps, np.divide(counts, exposures, out=np.zeros(len(counts)), where=exposures > 0)


@pytest.fixture(scope="module", params=[1, 5], ids=["short frames", "long frames"])
def forgetful(request):
    """An exclusion gas: 20 ions on 36 sites; of those on C 2 or 12 % leave from one frame to the next."""
    sites = network()
    rates = {
        (name + start if name == "y" else name, start, end): 1e10 * rate
        for (name, start, end), rate in THREE_RATES.items()
    }
    lattice = build_lattice(sites, rates, SHAPE)
    cell_of = {
        int(sites_reached(SHAPE, np.zeros((3, 1), int), np.broadcast_to(cell, (3, 1, 3)))[0, 0, 0]) // 3: cell
        for cell in np.stack(np.unravel_index(range(12), SHAPE), axis=-1)
    }
    placed = equilibrium_occupation(lattice, 20, np.random.default_rng(1))
    state = kmc.start(lattice, placed, 5)
    frame_ps = FRAME_PS * request.param
    records = kmc.run_snapshots(lattice, state, frame_ps * 1e-12 * np.arange(1, 40_001))
    began = np.array([cell_of[int(site) // 3] for site in placed])
    positions = lattice.basis[records[..., 0]] + (records[..., 1:] + began) @ lattice.cell
    return followed(sites, positions, frame_ps)


def test_stays_without_memory_are_exponential_in_rescaled_time(forgetful):
    assignment, jumps, rates = forgetful
    found = memory.stays(assignment, jumps, rates, 1)
    rows = memory.stay_rows([found], 3)
    assert {row["orbit"] for row in rows} == set("ABC")
    for row in rows:
        assert row["departures"] > 300
        assert row["mean_rescaled"] == pytest.approx(1, abs=4 / np.sqrt(row["departures"]))
        assert row["ks_p_value"] > 0.01
    # That time is not the plain one: the rate of an ion changes with its surroundings.
    c = (found.orbit == "A") & found.ended
    rate = found.rescaled[c] / found.time_s[c]
    assert rate.std() > 0.2 * rate.mean()


def test_refills_without_memory_are_as_many_as_rates_say(forgetful):
    for row in memory.refill_rows(memory.refills(*forgetful)):
        assert row["expected"] > 30
        assert row["found"] == pytest.approx(row["expected"], abs=4 * np.sqrt(row["expected"]))
        assert row["ci_low"] < 1 < row["ci_high"]


def test_ions_that_follow_each_other_are_chains_and_ones_that_turn_back_return():
    sites, frames = network(), 4000
    cell = np.array(sites["cell"])
    cells_along = np.arange(frames) // 40  # one cell along y every 40 frames
    places = {kind: np.zeros((frames, 2, 3)) for kind in ("chain", "return")}
    places["chain"][:, 0] = (cells_along + 1)[:, None] * cell[1]
    places["chain"][:, 1] = np.concatenate([[0], cells_along[:-1]])[:, None] * cell[1]  # a frame later
    places["return"][:, 0] = cell[1] * (np.arange(frames) % 40 == 20)[:, None]  # there for one frame
    places["return"][:, 1] = 2 * cell[0] / 3
    for kind, positions in places.items():
        rows = {row["kind"]: row for row in memory.refill_rows(memory.refills(*followed(sites, positions)))}
        other = rows.pop("return" if kind == "chain" else "chain")
        assert rows[kind]["found"] > 90
        assert rows[kind]["ci_low"] > 2
        assert other["found"] == 0
