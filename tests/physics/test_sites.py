"""Crystals, site networks and their symmetry, against crystals whose neighbours can be counted by hand."""

from collections import Counter

import numpy as np
import pytest
from crystals import cif
from insilico_nmr.crystal import arrange, mobile_sites, read_crystal, starting_structure
from insilico_nmr.errors import InputError
from insilico_nmr.sites import build_sites, check_sites, on_network, read_sites, refined, site_positions, write_sites

HEXAGONAL = cif(
    191, (3.6, 3.6, 3.9), "Li1 Li 0 0 0.5 1.0", "Li2 Li 0.3333 0.6667 0 1.0", "N1 N 0 0 0 1.0", angles=(90, 90, 120)
)

# A general position in Pnma: an 8d site has no symmetry, and pairs of equal sites need not be equal.
ORTHORHOMBIC = """data_x
_cell_length_a 12.8
_cell_length_b 8.2
_cell_length_c 6.1
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P n m a'
_symmetry_Int_Tables_number 62
loop_
_symmetry_equiv_pos_as_xyz
x,y,z
-x+1/2,-y,z+1/2
-x,y+1/2,-z
x+1/2,-y+1/2,-z+1/2
-x,-y,-z
x+1/2,y,-z+1/2
x,-y+1/2,z
-x+1/2,y+1/2,z+1/2
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0.33 0.03 0.37 1.0
Na2 Na 0 0 0.5 0.6
Na3 Na 0.42 0.25 0.73 0.4
P1 P 0.088 0.25 0.17 1.0
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "crystal.cif"
        path.write_text(text)
        return path

    return write


def rock_salt(a=4.0, octahedral=1.0, tetrahedral=0.5) -> str:
    lithium = f"Li1 Li 0 0 0 {octahedral}", f"Li2 Li 0.25 0.25 0.25 {tetrahedral}"
    return cif(225, (a, a, a), *lithium, "F1 F 0.5 0.5 0.5 1.0")


def test_orbits_and_wyckoff_letters(written):
    crystal = read_crystal(written(rock_salt()))
    found = {orbit.label: (orbit.wyckoff, orbit.occupancy) for orbit in crystal.orbits}
    assert found == {"Li1": ("4a", 1.0), "Li2": ("8c", 0.5), "F1": ("4b", 1.0)}
    assert [len(orbit.stabiliser) for orbit in crystal.orbits] == [48, 24, 48]
    pnma = read_crystal(written(ORTHORHOMBIC))
    assert [orbit.wyckoff for orbit in pnma.orbits] == ["8d", "4b", "4c", "4c"]
    assert len(pnma.rotations) == 8


def test_rounded_special_positions_are_made_exact(written):
    crystal = read_crystal(written(HEXAGONAL))
    np.testing.assert_allclose(crystal.orbits[1].positions[0], [1 / 3, 2 / 3, 0], atol=1e-9)
    assert [orbit.wyckoff[0] for orbit in crystal.orbits] == ["1", "2", "1"]


def test_rotations_map_representatives_to_sites_and_stabilisers_are_groups(written):
    for text, mobile in ((rock_salt(), "Li"), (HEXAGONAL, "Li"), (ORTHORHOMBIC, "Na")):
        sites = build_sites(read_crystal(written(text)), mobile, 4.2)
        cell = np.array(sites["cell"])
        neighbours = {}
        for jump in sites["jumps"]:
            start, end = (np.array(sites["sites"][jump[key]]["position"]) for key in ("from", "to"))
            neighbours.setdefault(jump["from"], []).append((end + jump["image"] - start) @ cell)

        def same(first, second):
            return all(np.linalg.norm(np.array(second) - vector, axis=1).min() < 1e-6 for vector in first)

        for site in sites["sites"]:
            rotation = np.array(site["rotation"])
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
            # The surroundings turn with the site: this is what V = R V0 Rᵀ relies on.
            here, there = neighbours[site["index"]], neighbours[site["representative"]]
            assert same(np.array(there) @ rotation.T, here)
        for number, group in sites["stabilisers"].items():
            group = np.array(group)
            products = np.einsum("aij,bjk->abik", group, group).reshape(-1, 3, 3)
            assert all(np.abs(group - product).max(axis=(1, 2)).min() < 1e-6 for product in products)
            for matrix in group:
                assert same(np.array(neighbours[int(number)]) @ matrix.T, neighbours[int(number)])
        for site in sites["sites"]:
            if site["index"] == site["representative"]:
                np.testing.assert_allclose(site["rotation"], np.eye(3), atol=1e-12)


def test_jump_classes_of_rock_salt(written):
    sites = build_sites(read_crystal(written(rock_salt(a=4.0))), "Li", 2.9)
    # Octahedral to tetrahedral: a√3/4; between tetrahedra: a/2 and a/√2; between octahedra: a/√2.
    per_site = Counter((jump["from"], jump["class"]) for jump in sites["jumps"])
    assert {entry["name"] for entry in sites["classes"]} == {
        "Li1-Li2:1.73",
        "Li1-Li1:2.83",
        "Li2-Li2:2.00",
        "Li2-Li2:2.83",
    }
    assert per_site[0, "Li1-Li2:1.73"] == 8
    assert per_site[0, "Li1-Li1:2.83"] == 12
    assert per_site[4, "Li1-Li2:1.73"] == 4
    assert per_site[4, "Li2-Li2:2.00"] == 6
    # The twelve jumps of a/√2 between tetrahedra cross an edge shared with one octahedron or another: all are equal.
    assert per_site[4, "Li2-Li2:2.83"] == 12


def test_pairs_of_equal_length_that_symmetry_does_not_relate_are_two_classes(written):
    # In the hexagonal cell with c = a the jumps along a and along c between sites of one orbit have one length.
    text = HEXAGONAL.replace("_cell_length_c 3.9", "_cell_length_c 3.6")
    sites = build_sites(read_crystal(written(text)), "Li", 3.61)
    names = {entry["name"] for entry in sites["classes"]}
    assert {"Li1-Li1:3.60a", "Li1-Li1:3.60b"} <= names
    numbers = Counter(jump["class"] for jump in sites["jumps"] if jump["from"] == 0)
    assert sorted((numbers["Li1-Li1:3.60a"], numbers["Li1-Li1:3.60b"])) == [2, 6]


def test_every_jump_has_its_reverse_and_the_file_is_read_back(written, tmp_path):
    sites = build_sites(read_crystal(written(ORTHORHOMBIC)), "Na", 4.0)
    write_sites(tmp_path / "sites.json", sites)
    assert read_sites(tmp_path / "sites.json") == sites
    del sites["jumps"][0]
    with pytest.raises(InputError, match="no reverse"):
        check_sites(sites, "x")
    sites["jumps"][0] = sites["jumps"][1]
    with pytest.raises(InputError, match="is there twice"):
        check_sites(sites, "x")


def test_broken_sites_are_named(written):
    sites = build_sites(read_crystal(written(ORTHORHOMBIC)), "Na", 4.0)
    sites["sites"][5]["rotation"] = [[1, 0, 0], [0, 2, 0], [0, 0, 1]]
    with pytest.raises(InputError, match="rotation of site 5"):
        check_sites(sites, "x")
    sites["sites"][5]["position"] = [0, 0, float("nan")]
    with pytest.raises(InputError, match="site 5"):
        check_sites(sites, "x")
    for key in ("cell", "host", "jumps", "sites"):
        with pytest.raises(InputError, match=f"key '{key}' is missing"):
            check_sites({name: value for name, value in sites.items() if name != key}, "x")
    with pytest.raises(InputError, match="not listed under 'classes'"):
        check_sites(build_sites(read_crystal(written(ORTHORHOMBIC)), "Na", 4.0) | {"classes": []}, "x")


def test_refinement_keeps_the_site_symmetry(written):
    crystal = read_crystal(written(ORTHORHOMBIC))
    moved = refined(crystal, "Na", {label: np.array([0.2, 0.3, -0.1]) for label in ("Na1", "Na2", "Na3")})
    before, after = (site_positions(build_sites(c, "Na", 4.0)) @ c.cell for c in (crystal, moved))
    np.testing.assert_allclose((after - before)[0], [0.2, 0.3, -0.1], atol=1e-9)  # 8d: anything goes
    np.testing.assert_allclose(after[8:12], before[8:12], atol=1e-9)  # 4b: an inversion centre does not move
    np.testing.assert_allclose((after - before)[12], [0.2, 0, -0.1], atol=1e-9)  # 4c: stays on its mirror plane
    # Ions are put where the network has its sites, the host where it was.
    network = build_sites(moved, "Na", 4.0)
    there = on_network(crystal, network)
    np.testing.assert_allclose(mobile_sites(there, "Na", (1, 2, 1)), mobile_sites(moved, "Na", (1, 2, 1)), atol=1e-9)
    np.testing.assert_array_equal(there.host("Na").positions, crystal.host("Na").positions)
    assert np.abs(mobile_sites(crystal, "Na", (1, 2, 1)) - mobile_sites(there, "Na", (1, 2, 1))).max() > 0.2
    with pytest.raises(InputError, match="3 sites are not those of the crystal"):
        on_network(crystal, network | {"sites": network["sites"][:3]})


def test_starting_structure_keeps_composition_and_distances(written):
    crystal = read_crystal(written(ORTHORHOMBIC))
    atoms = starting_structure(crystal, "Na", (1, 2, 2), seed=3, min_distance_A=2.5)
    assert Counter(atoms.symbols) == {"Na": round(4 * (8 + 4 * 0.6 + 4 * 0.4)), "P": 16}
    ions = atoms[atoms.symbols == "Na"]
    distances = ions.get_all_distances(mic=True) + 99 * np.eye(len(ions))
    assert distances.min() > 2.5
    again = starting_structure(crystal, "Na", (1, 2, 2), seed=3, min_distance_A=2.5)
    other = starting_structure(crystal, "Na", (1, 2, 2), seed=4, min_distance_A=2.5)
    np.testing.assert_array_equal(atoms.positions, again.positions)
    assert not np.allclose(atoms.positions, other.positions)
    with pytest.raises(InputError, match="lower the distance"):
        starting_structure(crystal, "Na", (1, 2, 2), seed=3, min_distance_A=5.0)


def test_half_an_ion_more_is_an_ion_and_not_a_vacancy(written):
    crystal = read_crystal(written(ORTHORHOMBIC.replace("0.6", "0.625").replace("0.4", "0.5")))
    atoms = starting_structure(crystal, "Na", (1, 1, 1), seed=3, min_distance_A=2.0)
    assert Counter(atoms.symbols)["Na"] == 13  # 8 + 4 * 0.625 + 4 * 0.5 = 12.5


def test_an_arrangement_can_be_told_one_filled_and_one_empty_site(written):
    crystal = read_crystal(written(ORTHORHOMBIC))
    for filled, empty in ((0, 1), (9, 0), (13, 8), (2, 12)):
        occupied = arrange(crystal, "Na", (1, 1, 1), 5, 2.0, filled=filled, empty=empty)
        assert filled in occupied
        assert empty not in occupied
        assert len(set(occupied.tolist())) == 12
    assert len(mobile_sites(crystal, "Na", (1, 2, 1))) == 32


def test_in_a_cell_without_vacancies_the_empty_site_is_one(written):
    crystal = read_crystal(written(ORTHORHOMBIC.replace("0.6", "1.0").replace("0.4", "1.0")))
    for filled, empty in ((0, 1), (9, 0), (13, 8)):
        occupied = arrange(crystal, "Na", (1, 1, 1), 5, 1.0, filled=filled, empty=empty)
        assert sorted(occupied) == [site for site in range(16) if site != empty]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("F1 F 0.5 0.5 0.5 1.0", "F1 F 0.5 0.5 0.5 0.8"), "host site F1"),
        (("Li1 Li 0 0 0 1.0", "Li1 Li 0 0 0 1.2"), "occupancy 1.2"),
        (("Li1 Li 0 0 0 1.0", "Li1 Li 0.05 0 0 1.0"), "the same site"),
        (("_cell_length_a 4.0", "_cell_length_a 4.5"), "symmetry"),
        (("_space_group_IT_number 225", "_space_group_IT_number 999"), "space group"),
        (("Li2 Li", "Li1 Li"), "two atoms"),
    ],
)
def test_bad_crystals_are_named(written, change, message):
    with pytest.raises(InputError, match=message):
        build_sites(read_crystal(written(rock_salt().replace(*change))), "Li", 2.5)


def test_no_such_mobile_element(written):
    with pytest.raises(InputError, match="Na; the crystal has F, Li"):
        build_sites(read_crystal(written(rock_salt())), "Na", 2.5)
