"""Site energies and pair interactions from energies of arrangements that are made up from known ones."""

import numpy as np
import pytest
from ase.calculators.calculator import CalculationFailed, Calculator
from insilico_nmr import cluster_energies
from insilico_nmr.crystal import make_crystal
from insilico_nmr.errors import InputError
from insilico_nmr.sites import build_sites

CUTOFF, REPEAT, EDGE = 4.3, (3, 3, 3), 3.0
SITE_EV = {"A": 0.0, "B": 0.15}


@pytest.fixture(scope="module")
def network() -> dict:
    """Two sites a cell that symmetry does not relate, pairs up to the cut-off; the mirror x → −x is in the group."""
    mirror = np.diag([-1, 1, 1])
    atoms = [("A", "Li", 0.7, np.zeros(3)), ("B", "Li", 0.3, np.array([0.5, 0.5, 0.5]))]
    return build_sites(make_crystal(EDGE * np.eye(3), [np.eye(3), mirror], np.zeros((2, 3)), atoms), "Li", CUTOFF)


@pytest.fixture(scope="module")
def pair_eV(network) -> np.ndarray:
    """Screened Coulomb's law with a deviation of each class."""
    _, distance = cluster_energies.pair_classes(network)
    return 0.3 * (1 / distance - 1 / CUTOFF) + 0.01 * np.cos(np.arange(len(distance)))


def arrangements(count: int, n_ions: int = 27) -> np.ndarray:
    rng = np.random.default_rng(5)
    filled = np.zeros((count, 2 * int(np.prod(REPEAT))))
    for row in filled:
        row[rng.permutation(len(row))[:n_ions]] = 1
    return filled


def energies(network: dict, pair_eV: np.ndarray, filled: np.ndarray) -> np.ndarray:
    singles, pairs = cluster_energies.count_clusters(network, REPEAT, filled)
    return singles @ list(SITE_EV.values()) + pairs @ pair_eV


def test_counts_are_sums_over_pairs_of_ions(network):
    """Of every ion all images within the cut-off, halved: counted from positions alone."""
    filled = arrangements(3)
    names, distance = cluster_energies.pair_classes(network)
    cells = np.stack(np.meshgrid(*map(np.arange, REPEAT), indexing="ij"), axis=-1).reshape(-1, 3)
    places = EDGE * (cells[:, None] + np.array([[0, 0, 0], [0.5, 0.5, 0.5]])).reshape(-1, 3)
    shifts = EDGE * np.array(REPEAT) * np.stack(np.meshgrid(*[range(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    singles, pairs = cluster_energies.count_clusters(network, REPEAT, filled)
    for row, one, several in zip(filled, singles, pairs, strict=True):
        assert one.tolist() == [row[0::2].sum(), row[1::2].sum()]
        ions = places[row > 0]
        away = np.linalg.norm(ions[:, None, None] - ions[None, :, None] - shifts, axis=-1).ravel()
        for length in np.unique(np.round(distance, 6)):
            of_length = several[np.abs(distance - length) < 1e-5].sum()
            assert of_length == (np.abs(away - length) < 1e-5).sum() / 2
    assert len(names) > len(np.unique(np.round(distance, 6)))  # classes of one length are told apart


def test_energies_that_went_in_come_out(network, pair_eV):
    filled = arrangements(80)
    fit = cluster_energies.fit_energies(
        *cluster_energies.count_clusters(network, REPEAT, filled),
        cluster_energies.pair_classes(network)[1], CUTOFF, energies(network, pair_eV, filled),
    )  # fmt: skip
    assert fit.site_eV == pytest.approx(list(SITE_EV.values()), abs=2e-3)
    assert fit.pair_eV == pytest.approx(pair_eV, abs=2e-3)
    spread = energies(network, pair_eV, filled).std()
    assert np.abs(fit.predicted_eV - energies(network, pair_eV, filled)).max() < 0.02 * spread


def test_with_few_arrangements_coulombs_law_is_learnt_and_deviations_are_not_made_up(network):
    _, distance = cluster_energies.pair_classes(network)
    pure = 0.3 * (1 / distance - 1 / CUTOFF)
    filled = arrangements(12)
    fit = cluster_energies.fit_energies(
        *cluster_energies.count_clusters(network, REPEAT, filled), distance, CUTOFF, energies(network, pure, filled)
    )
    assert fit.coulomb_eV_A == pytest.approx(0.3, rel=0.02)
    assert fit.pair_eV == pytest.approx(pure, abs=2e-3)


def test_too_little_to_tell_is_refused(network, pair_eV):
    filled = arrangements(80)
    singles, pairs = cluster_energies.count_clusters(network, REPEAT, filled)
    values, distance = energies(network, pair_eV, filled), cluster_energies.pair_classes(network)[1]
    with pytest.raises(InputError, match="at least 6"):
        cluster_energies.fit_energies(singles[:4], pairs[:4], distance, CUTOFF, values[:4])
    same = np.flatnonzero(singles[:, 0] == np.median(singles[:, 0]))
    with pytest.raises(InputError, match="undetermined"):
        cluster_energies.fit_energies(singles[same], pairs[same], distance, CUTOFF, values[same])


def test_ions_that_repel_are_paired_less_than_at_random(network, pair_eV):
    random = np.array([row for row in arrangements(4000)])
    occupation, correlation = cluster_energies.pair_correlation(network, REPEAT, random)
    assert occupation == pytest.approx(0.5, abs=0.01)
    expected = 26 / 53 / (27 / 54)  # with one ion placed, the rest are 26 on 53 sites
    assert correlation == pytest.approx(expected, abs=0.01)
    sites = build_sites_to_jump()
    pairs = cluster_energies.pair_list(network, pair_eV)
    sampled = cluster_energies.sample_gas(sites, SITE_EV, pairs, 800.0, REPEAT, 27, 400, 3)
    occupation, correlation = cluster_energies.pair_correlation(network, REPEAT, sampled)
    assert occupation[0] > 0.6 > occupation[1]
    nearest = cluster_energies.pair_classes(network)[1].argmin()
    assert correlation[nearest] < 0.9


def build_sites_to_jump() -> dict:
    """The same two sites with jumps between nearest ones."""
    atoms = [("A", "Li", 0.7, np.zeros(3)), ("B", "Li", 0.3, np.array([0.5, 0.5, 0.5]))]
    group = [np.eye(3), np.diag([-1, 1, 1])]
    return build_sites(make_crystal(EDGE * np.eye(3), group, np.zeros((2, 3)), atoms), "Li", 2.7)


def test_an_arrangement_on_the_way_to_which_the_potential_breaks_down_is_not_sound():
    class Breaks(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, *_):
            raise CalculationFailed("energy or forces are not finite")

    crystal = make_crystal(EDGE * np.eye(3), [np.eye(3)], np.zeros((1, 3)), [("A", "Li", 0.5, np.zeros(3))])
    found = cluster_energies.find_minimum(crystal, "Li", (2, 1, 1), np.array([0]), Breaks(), 0.05)
    assert not found.sound
