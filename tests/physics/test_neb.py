"""Nudged elastic bands on analytic landscapes with known barriers."""

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from insilico_nmr import neb
from insilico_nmr.crystal import make_crystal
from insilico_nmr.errors import InputError
from insilico_nmr.neb import NebFailed, Start, find_barrier, hop_start
from insilico_nmr.sites import build_sites

PERIOD = 3.0  # Å


class EggBox(Calculator):
    """Every atom in U = (barrier/2)·(1 − cos 2πx/a) − tilt·sin²(πx/2a) + stiff walls in y and z."""

    implemented_properties = ("energy", "forces")

    def __init__(self, barrier_eV: float, tilt_eV: float = 0.0, stiffness: float = 2.0):
        super().__init__()
        self.barrier, self.tilt, self.stiffness = barrier_eV, tilt_eV, stiffness

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, rest = (
            self.atoms.positions[:, 0],
            self.atoms.positions[:, 1:] - np.round(self.atoms.positions[:, 1:] / 8) * 8,
        )
        k = 2 * np.pi / PERIOD
        energy = self.barrier / 2 * (1 - np.cos(k * x)) - self.tilt * np.sin(k * x / 4) ** 2
        forces = np.zeros((len(x), 3))
        forces[:, 0] = -self.barrier / 2 * k * np.sin(k * x) + self.tilt * k / 4 * np.sin(k * x / 2)
        forces[:, 1:] = -self.stiffness * rest
        self.results = {"energy": energy.sum() + self.stiffness / 2 * (rest**2).sum(), "forces": forces}


def start(displacement=(PERIOD, 0, 0)) -> Start:
    cell = np.diag([4 * PERIOD, 8, 8])
    atoms = Atoms("Li2", positions=[[0.1, 0.1, 0], [2 * PERIOD, 0, 0]], cell=cell, pbc=True)
    return Start(atoms, 0, np.array(displacement, float), np.array([[2 * PERIOD, 0, 0], [3 * PERIOD, 0, 0]]))


def test_barrier_of_a_sinusoidal_landscape():
    hop = find_barrier(start(), EggBox(0.35), max_force=0.01)
    assert hop.forward_eV == pytest.approx(0.35, abs=2e-3)
    assert hop.backward_eV == pytest.approx(0.35, abs=2e-3)
    assert len(hop.energies_eV) == 7


def test_barriers_of_a_tilted_landscape_differ_by_the_site_energies():
    hop = find_barrier(start(), EggBox(0.5, tilt_eV=0.12), max_force=0.01)
    assert hop.forward_eV - hop.backward_eV == pytest.approx(-0.12, abs=2e-3)
    x = np.linspace(0, PERIOD, 100_001)
    exact = (0.25 * (1 - np.cos(2 * np.pi * x / PERIOD)) - 0.12 * np.sin(np.pi * x / 2 / PERIOD) ** 2).max()
    assert hop.forward_eV == pytest.approx(exact, abs=2e-3)


def test_a_hop_longer_than_half_a_cell_keeps_its_way():
    # An image of its end is nearer on the other side; that is the way of another jump.
    atoms = Atoms("Li", positions=[[0.1, 0.1, 0]], cell=np.diag([1.5 * PERIOD, 8, 8]), pbc=True)
    hop = find_barrier(Start(atoms, 0, np.array([PERIOD, 0, 0]), np.empty((0, 3))), EggBox(0.35), max_force=0.01)
    assert hop.path[-1].positions[0, 0] - hop.path[0].positions[0, 0] == pytest.approx(PERIOD, abs=0.05)
    assert hop.forward_eV == pytest.approx(0.35, abs=2e-3)


def test_a_potential_that_breaks_down_is_a_hop_without_a_barrier():
    class Hole(EggBox):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            if self.atoms.positions[0, 0] > 2.0:
                raise CalculationFailed("energy or forces are not finite")

    with pytest.raises(NebFailed, match="breaks down: energy or forces") as failed:
        find_barrier(start(), Hole(0.35))
    assert failed.value.status == "not converged"


def test_images_that_end_on_top_of_each_other_are_no_path(monkeypatch):
    class Collapses(neb.FIRE):
        def run(self, **how):
            atoms = self.optimizable
            done = super().run(**how)
            if isinstance(getattr(atoms, "neb", None), neb.NEB):
                images = atoms.neb.images
                images[2].positions = images[3].positions
            return done

    monkeypatch.setattr(neb, "FIRE", Collapses)
    with pytest.raises(NebFailed, match="images 2 and 3 lie on top of each other"):
        find_barrier(start(), EggBox(0.35), max_force=0.01)


def test_the_climbing_image_finds_a_saddle_between_images():
    # Four images straddle the top of a symmetric barrier; only climbing brings one onto it.
    hop = find_barrier(start(), EggBox(0.35), images=4, max_force=0.01)
    assert hop.forward_eV == pytest.approx(0.35, abs=2e-3)


def test_an_end_that_is_no_minimum_is_told_from_failure():
    # At half a period the landscape has its top: an ion put there rolls to one of the wells.
    with pytest.raises(NebFailed) as failure:
        find_barrier(start((1.3, 0.05, 0)), EggBox(0.35))
    assert failure.value.status == "no minimum"
    with pytest.raises(NebFailed) as failure:
        find_barrier(start(), EggBox(0.35), max_steps=2)
    assert failure.value.status == "not converged"


def test_an_ion_that_relaxes_to_a_third_site_is_reported():
    # The target is nearer to the well at 2 a, which is another site.
    with pytest.raises(NebFailed, match="another site"):
        find_barrier(start((PERIOD * 1.6, 0, 0)), EggBox(0.35))


def test_an_end_on_a_shelf_slides_down_to_its_minimum():
    # 0.9 Å off the valley floor the force is 0.036 eV/Å, less than images may keep.
    begun = start()
    begun.atoms.positions[0, 1] = 0.9
    hop = find_barrier(begun, EggBox(0.35, stiffness=0.04), max_force=0.05)
    assert abs(hop.path[0].positions[0, 1]) < 0.3
    assert hop.path[0].positions[0, 0] == pytest.approx(0, abs=0.05)
    assert hop.path[-1].positions[0, 0] == pytest.approx(PERIOD, abs=0.05)


class Dip(EggBox):
    """The landscape with a dip 1.2 Å from the start, whose floor falls slowly in y down to `deeper_eV` 4 Å aside."""

    def __init__(self, deeper_eV: float):
        super().__init__(0.35, stiffness=0.01)
        self.deeper = deeper_eV

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y = self.atoms.positions[0, :2]
        depth, slope = 0.5 + self.deeper / 8 * (4 + y), self.deeper / 8
        at = np.exp(-(((x - 1.2) / 0.45) ** 2))
        self.results["energy"] -= depth * at
        self.results["forces"][0, :2] += [-2 * (x - 1.2) / 0.45**2 * depth * at, slope * at]


def test_a_dip_on_the_way_counts_as_the_start_unless_it_is_a_shelf():
    hop = find_barrier(start(), Dip(0.0), images=9)
    x = np.linspace(0, PERIOD, 100_001)
    along = 0.175 * (1 - np.cos(2 * np.pi * x / PERIOD)) - 0.5 * np.exp(-(((x - 1.2) / 0.45) ** 2))
    assert hop.forward_eV == pytest.approx(along.max() - along.min(), abs=0.03)
    with pytest.raises(NebFailed, match="dip beside the start relaxes to a minimum") as failed:
        find_barrier(start(), Dip(0.3), images=9)
    assert failed.value.status == "no minimum"


def test_coinciding_sites_are_refused():
    with pytest.raises(InputError, match="one site"):
        find_barrier(start((0.1, 0, 0)), EggBox(0.35))


def test_an_arrangement_starts_with_the_ion_on_its_site_and_the_target_empty():
    cell = np.diag([PERIOD, 8.0, 8.0])
    turn = np.diag([1, -1, -1])
    group = np.array([np.eye(3, dtype=int), turn, -turn, -np.eye(3, dtype=int)])
    crystal = make_crystal(
        cell, group, np.zeros((4, 3)), [("A", "Li", 0.5, np.zeros(3)), ("O", "O", 1.0, np.full(3, 0.5))]
    )
    sites = build_sites(crystal, "Li", 3.1)
    jump = sites["jumps"][0]
    seen = set()
    for seed in range(8):
        begun = hop_start(crystal, sites, (6, 1, 1), jump, 2.0, seed)
        ions = begun.atoms.positions[begun.atoms.symbols == "Li"]
        assert len(ions) == 3
        np.testing.assert_allclose(begun.atoms.positions[begun.ion], 0, atol=1e-12)
        target = begun.displacement[0] % (6 * PERIOD)
        assert np.abs(ions[:, 0] - target).min() > 1
        assert len(begun.others) == 4
        seen.add(tuple(sorted(np.round(ions[:, 0], 3))))
    assert len(seen) > 1
    with pytest.raises(InputError, match="image of its own start"):
        hop_start(crystal, sites, (1, 1, 1), jump, 2.0, 0)


class Repulsion(Calculator):
    """Σ 1/r² over pairs of lithium ions, by their nearest images."""

    implemented_properties = ("energy",)

    def calculate(self, atoms, properties, changes):
        super().calculate(atoms, properties, changes)
        distances = atoms[atoms.symbols == "Li"].get_all_distances(mic=True)
        self.results["energy"] = float((distances[np.triu_indices_from(distances, 1)] ** -2.0).sum())


def test_the_other_ions_go_where_they_rest():
    """Eight sites in a ring, four ions, of which one hops to the next site: no other single move lowers the energy."""
    crystal = make_crystal(
        np.diag([PERIOD, 8.0, 8.0]), np.eye(3, dtype=int)[None], np.zeros((1, 3)), [("A", "Li", 0.5, np.zeros(3))]
    )
    sites = build_sites(crystal, "Li", 3.1)
    jump = next(entry for entry in sites["jumps"] if entry["image"] == [1, 0, 0])

    def repelled(place):
        distances = Atoms("Li4", cell=[8 * PERIOD, 0, 0], pbc=True)
        distances.positions[:, 0] = PERIOD * np.array(place)
        return Repulsion().get_potential_energy(distances)

    drawn, found = set(), set()
    for seed in range(6):
        for kept, calculator in ((drawn, None), (found, Repulsion())):
            begun = hop_start(crystal, sites, (8, 1, 1), jump, 2.0, seed, calculator=calculator)
            assert begun.atoms.positions[begun.ion, 0] == pytest.approx(0)
            kept.add(tuple(sorted(np.rint(begun.atoms.positions[:, 0] / PERIOD).astype(int))))
    assert len(drawn) > 2
    for place in found:
        assert 0 in place
        assert 1 not in place
        for ion, site in product(set(place) - {0}, set(range(8)) - {1, *place}):
            assert repelled([*(set(place) - {ion}), site]) >= repelled(place) - 1e-12


def test_the_ion_behind_moves_up_and_both_barriers_are_paid():
    cell = np.diag([PERIOD, 8.0, 8.0])
    crystal = make_crystal(cell, np.eye(3, dtype=int)[None], np.zeros((1, 3)), [("A", "Li", 0.75, np.zeros(3))])
    sites = build_sites(crystal, "Li", 3.1)
    jump = next(entry for entry in sites["jumps"] if entry["image"] == [1, 0, 0])
    begun = hop_start(crystal, sites, (4, 1, 1), jump, 2.0, 1, follow=True)  # three ions on four sites in a row
    follower, way = begun.follower
    assert begun.atoms.positions[follower, 0] == pytest.approx(3 * PERIOD)  # through the wall of the box
    np.testing.assert_allclose(way, [PERIOD, 0, 0])
    hop = find_barrier(begun, EggBox(0.35), max_force=0.01)
    assert hop.forward_eV == pytest.approx(2 * 0.35, abs=4e-3)  # these ions do not feel each other
    moved = hop.path[-1].positions - hop.path[0].positions
    np.testing.assert_allclose(sorted(moved[:, 0]), [0, PERIOD, PERIOD], atol=0.02)
    lonely = make_crystal(cell, np.eye(3, dtype=int)[None], np.zeros((1, 3)), [("A", "Li", 0.25, np.zeros(3))])
    with pytest.raises(InputError, match="no ion is beside the site that is left"):
        hop_start(lonely, sites, (4, 1, 1), jump, 2.0, 1, follow=True)
