"""Site tensors from trajectories: symmetry maps between sites, site symmetry, and sampling errors.

The crystal has the point group 432, with axes of order three and four: turning a tensor the wrong way round, which
twofold axes and mirrors would forgive, gives another tensor.
"""

from itertools import permutations, product

import numpy as np
import pytest
from ase import Atoms
from insilico_nmr.crystal import make_crystal
from insilico_nmr.errors import InputError
from insilico_nmr.site_tensors import collect, replicates, site_tensors
from insilico_nmr.sites import build_sites
from insilico_nmr.tensors import asymmetry, efg_principal
from insilico_nmr.trajectory import Trajectory

EDGE = 9.0
CHARGE = {3: 1.0, 9: -1.0}


class PointCharges:
    """Field gradients Σ q(3rr − r²1)/r⁵ of the charges within a cut-off: an exactly equivariant model."""

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def predict(self, atoms: Atoms) -> np.ndarray:
        """Tensors (n, 3, 3) of all atoms."""
        shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ atoms.cell[:]
        vector = (atoms.positions[:, None] + shifts).reshape(-1, 3) - atoms.positions[:, None, None].reshape(-1, 1, 3)
        charge = np.repeat([CHARGE[number] for number in atoms.numbers], len(shifts))
        length = np.linalg.norm(vector, axis=-1)
        weight = np.where((length > 1e-6) & (length < 0.99 * EDGE), charge, 0) / np.maximum(length, 1e-6) ** 5
        outer = 3 * np.einsum("nmi,nmj->nmij", vector, vector) - (length**2)[..., None, None] * np.eye(3)
        return self.scale * np.einsum("nm,nmij->nij", weight, outer)


@pytest.fixture(scope="module")
def sites() -> dict:
    """P432 with Li on general positions (24, symmetry 1) and on threefold axes (8), and F at the origin."""
    signed = [np.diag(s) @ np.eye(3)[list(p)] for p in permutations(range(3)) for s in product((1, -1), repeat=3)]
    group = np.array([matrix for matrix in signed if np.linalg.det(matrix) > 0])
    assert len(group) == 24
    atoms = [
        ("General", "Li", 1.0, np.array([0.13, 0.24, 0.41])),
        ("Axial", "Li", 1.0, np.full(3, 0.29)),
        ("F", "F", 1.0, np.zeros(3)),
    ]
    return build_sites(make_crystal(EDGE * np.eye(3), group, np.zeros((24, 3)), atoms), "Li", 3.0)


def run(sites: dict, frames: int, noise: float, seed: int = 0, temperature: float = 300.0) -> Trajectory:
    """All sites filled, ions off them by `noise` Å."""
    ideal = np.array([site["position"] for site in sites["sites"]] + [[0, 0, 0]]) @ np.array(sites["cell"])
    rattle = np.random.default_rng(seed).normal(0, noise, (frames, len(ideal), 3))
    rattle[:, -1] = 0
    numbers = np.array([3] * len(sites["sites"]) + [9])
    time = 0.1 * np.arange(frames)
    return Trajectory(ideal + rattle, numbers, EDGE * np.eye(3), time, 0 * time, 0 * time, temperature)


def test_every_site_gets_back_the_tensor_that_it_has_in_the_crystal(sites):
    crystal = run(sites, 2, 0.0)
    direct = PointCharges().predict(crystal.frame(0))[:-1]
    states = site_tensors(sites, collect([crystal], sites, [PointCharges(), PointCharges(1.5)], 2), seed=1)
    assert [state["index"] for state in states] == list(range(32))
    size = np.abs(direct).max()
    for state, expected in zip(states, direct, strict=True):
        np.testing.assert_allclose(state["members"], [expected, 1.5 * expected], atol=1e-10 * size)
        np.testing.assert_allclose(state["tensor"], 1.25 * expected, atol=1e-10 * size)
    # What makes this a test: the general site is biaxial and its images are truly different.
    assert 0.1 < asymmetry(efg_principal(direct[0])[0]) < 0.9
    turned = np.array([np.array(site["rotation"]).T @ direct[0] @ site["rotation"] for site in sites["sites"][:24]])
    assert np.abs(turned - direct[:24]).max() > 0.3 * np.abs(direct[0]).max()


def test_samples_are_turned_to_each_site_as_tensors_are(sites):
    states = site_tensors(sites, collect([run(sites, 4, 0.1)], sites, [PointCharges()], 4), seed=3)
    for state, site in zip(states, sites["sites"], strict=True):
        turn, home = np.array(site["rotation"]), states[site["representative"]]
        for name in ("members", "samples"):
            for tensor, original in zip(state[name], home[name], strict=True):
                np.testing.assert_allclose(tensor, turn @ original @ turn.T, atol=1e-12)


def test_a_threefold_axis_makes_mean_and_samples_axial_along_it(sites):
    states = site_tensors(sites, collect([run(sites, 3, 0.15)], sites, [PointCharges()], 3), seed=1)
    for state, site in list(zip(states, sites["sites"], strict=True))[24:]:
        values, axes = efg_principal(np.array([state["tensor"], *state["samples"]]))
        np.testing.assert_allclose(asymmetry(values), 0, atol=1e-9)
        position = np.array(site["position"])
        axis = (position - np.round(position)) / np.linalg.norm(position - np.round(position))
        np.testing.assert_allclose(np.abs(axes[:, :, 2] @ axis), 1, atol=1e-9)


def synthetic(sites: dict, histories: int, seed: int, frames=(3, 3)) -> dict[int, dict[int, np.ndarray]]:
    """Histories of both orbits: a mean of zero, a deviation of 1 of xy and yx that lasts through each history."""
    rng = np.random.default_rng(seed)
    pattern = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    found = {}
    for index in (0, 24):
        kept = [rng.normal() * np.ones((2, rng.integers(*frames, endpoint=True), 1, 1)) for _ in range(histories)]
        found[index] = {n: values * pattern for n, values in enumerate(kept)}
    return found


def test_the_scatter_of_samples_is_the_standard_error_of_the_mean(sites):
    # Frames of one history are copies of each other and must not count as independent.
    for histories in (6, 40):
        variances = []
        for seed in range(60):
            state = site_tensors(sites, synthetic(sites, histories, seed), 1000 + seed, n_samples=40)[0]
            variances.append(np.array(state["samples"])[:, 0, 1].var(ddof=1))
            assert state["histories"] == histories
        assert np.mean(variances) == pytest.approx(1 / histories, rel=0.25)
    # Histories are drawn together for all orbits: an ion that brought the same to both moves both alike.
    both = synthetic(sites, 30, 1)
    both[24] = {n: values.copy() for n, values in both[0].items()}
    sites_same = sites | {"stabilisers": {"0": [np.eye(3).tolist()], "24": [np.eye(3).tolist()]}}
    states = site_tensors(sites_same, both, 5, n_samples=40)
    np.testing.assert_allclose(states[0]["samples"], states[24]["samples"], atol=1e-12)


def test_uneven_histories_weigh_by_their_frames(sites):
    values, weights = np.array([np.eye(3), -np.eye(3), 0 * np.eye(3)]), np.array([2.0, 1.0, 1.0])
    found = replicates(values, weights, np.random.default_rng(2).normal(size=(4000, 3)))
    np.testing.assert_allclose(found.mean(axis=0), 0.25 * np.eye(3), atol=0.05)
    # n/(n − 1) Σ w²(V − V̄)² with w = 1/2, 1/4, 1/4, so n = 8/3, and V̄ = 1/4.
    assert found[:, 0, 0].var() == pytest.approx(1.6 * (0.75**2 / 4 + 1.25**2 / 16 + 0.25**2 / 16), rel=0.1)
    assert replicates(values[:1], np.ones(1), np.ones((5, 1)))[:, 0, 0].tolist() == [1.0] * 5


@pytest.mark.parametrize("frames", [(1, 1), (9, 1), (90, 5, 5)])
def test_the_error_of_a_few_uneven_histories_is_right_in_the_mean(frames):
    """Histories whose means scatter in proportion to 1/frames, as those of independent frames do."""
    rng, weights = np.random.default_rng(7), np.array(frames, float)
    means = rng.normal(size=(1000, len(frames))) / np.sqrt(weights)
    variances = [
        replicates(mean[:, None, None] * np.eye(3), weights, rng.normal(size=(50, len(frames))))[:, 0, 0].var(ddof=1)
        for mean in means
    ]
    true = (means @ weights / weights.sum()).var()
    assert np.mean(variances) / true == pytest.approx(1 if len(frames) == 2 else 0.8, abs=0.25)


def test_one_history_is_resampled_by_frames_and_says_so(sites):
    rng = np.random.default_rng(4)
    collected = synthetic(sites, 5, 0)
    collected[0] = {3: rng.normal(size=(1, 50, 1, 1)) * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])}
    state = site_tensors(sites, collected, 1, n_samples=200)[0]
    assert state["histories"] == 1
    assert np.array(state["samples"])[:, 0, 1].std() == pytest.approx(1 / np.sqrt(50), rel=0.3)
    collected[0] = {}
    with pytest.raises(InputError, match="site General was not visited"):
        site_tensors(sites, collected, 1)


def test_runs_of_two_temperatures_and_no_frames_are_refused(sites):
    with pytest.raises(InputError, match="runs at 300 and 400 K"):
        collect([run(sites, 2, 0.0), run(sites, 2, 0.0, temperature=400.0)], sites, [PointCharges()], 1)
    with pytest.raises(InputError, match="0 frames"):
        collect([run(sites, 2, 0.0)], sites, [PointCharges()], 0)
