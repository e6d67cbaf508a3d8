"""What members of a committee make of barriers and sites, on synthetic runs whose members differ by known energies."""

import compare_members
import numpy as np
import pandas as pd
import pytest
from ase.calculators.calculator import Calculator, all_changes
from insilico_nmr.crystal import make_crystal
from insilico_nmr.files import write_json
from insilico_nmr.member_energies import covariance, run_weights, site_differences, weighted_mean
from insilico_nmr.sites import build_sites
from insilico_nmr.trajectory import Trajectory, write_trajectory
from programs import run

EDGE = 4.0
ON_B_EV, TOP_EV = 0.05, 0.12  # of an ion on B and halfway to it, by which member 1 is above member 0


class Member(Calculator):
    """Energy that goes along x with the distance from the nearest A: none there, `on_b` on B and `top` halfway."""

    implemented_properties = ("energy",)

    def __init__(self, number: int):
        super().__init__()
        self.number = number

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x = atoms.positions[:, 0] % EDGE
        away = np.minimum(x, EDGE - x) / (EDGE / 2)
        self.results = {"energy": float(self.number * np.interp(away, [0, 0.5, 1], [0, TOP_EV, ON_B_EV]).sum())}


@pytest.fixture
def row(tmp_path):
    """Files of a row of sites A and B, 2 Å apart, and of a run of three ions that hop along it one after the other,
    a quarter of the hops from one frame to the next."""
    mirror = np.array([np.eye(3, dtype=int), np.diag([1, -1, -1])])
    atoms = [("A", "Li", 0.5, np.zeros(3)), ("B", "Li", 0.25, np.array([0.5, 0, 0]))]
    sites = build_sites(make_crystal(np.diag([EDGE, 9.0, 9.0]), mirror, np.zeros((2, 3)), atoms), "Li", 2.5)
    write_json(tmp_path / "sites.json", sites)
    rng = np.random.default_rng(1)
    place = np.array([0.0, 8.0, 16.0])
    frames = []
    for step in range(60):
        ion, way = step % 3, 1 if (step // 3) % 2 == 0 else -1
        frames += [place + 0 for _ in range(rng.integers(4, 9))]
        for part in [] if step % 4 == 0 else (0.9, 1.0, 1.1, 1.15, 1.1):  # it lingers beyond the top, or is not seen
            between = place.copy()
            between[ion] += part * way
            frames.append(between)
        place = place.copy()
        place[ion] += 2 * way
    positions = np.zeros((len(frames), 3, 3), np.float32)
    positions[..., 0] = frames
    cell, none = np.diag([6 * EDGE, 9.0, 9.0]), np.zeros(len(frames))
    time_ps = 0.02 * np.arange(1, len(frames) + 1)
    write_trajectory(tmp_path / "run.h5", Trajectory(positions, np.full(3, 3), cell, time_ps, none, none, 300.0))
    return tmp_path


def test_sites_and_tops_are_those_that_members_differ_by(row, monkeypatch):
    monkeypatch.setattr(compare_members, "calculator", lambda folder, symbols, member: Member(member))
    monkeypatch.setattr(compare_members, "load_members", lambda folder: 3)
    code, said = run(
        "compare_members", row / "run.h5", "--sites", row / "sites.json", "--core-radius", 0.8, "--potential", row,
        "--frames", 200, "--jumps", 20, "--seed", 1, "--out", row / "energies.csv",
    )  # fmt: skip
    assert code == 0, said
    assert ": 15 jumps between two frames, whose tops nothing shows, left out" in said
    found = pd.read_csv(row / "energies.csv").set_index(["quantity", "member"])["difference_eV"]
    for member in range(3):
        assert found["site_energy", member] == pytest.approx(member * ON_B_EV, abs=0.03 * max(member, 1) * ON_B_EV)
        assert found["barrier_top", member] == pytest.approx(member * TOP_EV, abs=0.03 * max(member, 1) * TOP_EV)


def test_a_member_in_a_state_of_its_own_tells_nothing_of_sites():
    """Three runs whose member 1 is 0.05 eV higher for every ion on B; in the third it wanders by an electronvolt."""
    rng = np.random.default_rng(4)
    counts = [np.stack([4 - on_b, on_b, 0 * on_b, 0 * on_b], axis=1) for on_b in rng.integers(0, 4, (3, 60))]
    differences = [np.stack([0 * run[:, 1], 0.05 * run[:, 1] + rng.normal(0, 0.01, 60)], axis=1) for run in counts]
    differences[2][:, 1] += np.cumsum(rng.normal(0, 0.3, 60))
    found, errors = site_differences(counts, differences, run_weights(differences))
    assert found[1] == pytest.approx([0.0, 0.05], abs=0.005)
    assert abs(found[1, 1] - 0.05) < 3 * errors[1, 1] < 0.02
    assert site_differences(counts, differences, np.ones((3, 2)))[1][1, 1] > 5 * errors[1, 1]
    mean, error = weighted_mean(np.array([[0.1], [0.12], [0.11], [2.0]]), np.array([[1.0], [1.0], [1.0], [1e-4]]))
    assert mean[0] == pytest.approx(0.11, abs=1e-3)
    assert error[0] == pytest.approx(0.01 / np.sqrt(3), rel=0.05)
    assert np.isnan(weighted_mean(np.ones((1, 1)), np.ones((1, 1)))[1][0])


def test_a_class_without_jumps_has_the_largest_variance_of_the_others():
    known = np.array([[0.0, 0.0, np.nan], [0.01, 0.03, np.nan], [0.02, -0.01, np.nan]])
    found = covariance(known)
    assert np.linalg.eigvalsh(found).min() >= 0
    assert found[2, 2] == found[1, 1] > found[0, 0]
    assert found[2, :2].tolist() == [0, 0]
