"""The network of sites that mobile ions jump on, from a crystal: sites, symmetry maps, jumps and their classes.

A jump class is an orbit of unordered pairs of sites under the space group, so that the jump there and the jump back
belong to one class and pairs of equal distance that symmetry does not relate are told apart. The network is kept as
the content of a sites.json:

    cell        3×3, Å, rows
    mobile      element
    concentration   ions per site, from the crystal's occupancies
    sites       index, orbit, wyckoff, position (fractional), representative (index), rotation (3×3 Cartesian, active:
                V = R V0 Rᵀ turns the representative's tensor into this site's)
    stabilisers representative's index → Cartesian matrices of its site symmetry group
    jumps       from, to, image (cell of the target), class; both directions of every jump
    classes     name, from (orbit), to (orbit), distance (Å)
    host        element, position (fractional) of one cell of what does not move
"""

from dataclasses import replace
from operator import index
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from insilico_nmr.crystal import Crystal, wrapped
from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json, write_json

SAME_PLACE_A = 1e-3


def build_sites(crystal: Crystal, mobile: str, jump_cutoff_A: float) -> dict:
    """Content of sites.json: sites of `mobile`, and a jump for every pair of sites within `jump_cutoff_A`.

    Raises InputError where two sites coincide, or no pair lies within the cutoff.
    """
    orbits = crystal.mobile_orbits(mobile)
    turns = crystal.cartesian_rotations()
    sites, stabilisers = [], {}
    for orbit in orbits:
        representative = len(sites)
        stabilisers[str(representative)] = _distinct(turns[orbit.stabiliser]).tolist()
        for position, operation in zip(orbit.positions, orbit.operation, strict=True):
            sites.append(
                {
                    "index": len(sites),
                    "orbit": orbit.label,
                    "wyckoff": orbit.wyckoff,
                    "position": position.tolist(),
                    "representative": representative,
                    "rotation": turns[operation].tolist(),
                }
            )
    jumps, classes = _jumps_and_classes(crystal, sites, jump_cutoff_A)
    return {
        "cell": crystal.cell.tolist(),
        "mobile": mobile,
        "concentration": sum(orbit.occupancy * len(orbit.positions) for orbit in orbits) / len(sites),
        "sites": sites,
        "stabilisers": stabilisers,
        "jumps": jumps,
        "classes": classes,
        "host": host_atoms(crystal, mobile),
    }


def host_atoms(crystal: Crystal, mobile: str) -> list[dict]:
    """Element and fractional position of what does not move in one cell, as in sites.json."""
    host = crystal.host(mobile)
    return [
        {"element": element, "position": position.tolist()}
        for element, position in zip(host.symbols, host.get_scaled_positions(), strict=True)
    ]


def _distinct(matrices: np.ndarray) -> np.ndarray:
    """Matrices (n, 3, 3) without repetition (operations that differ by a centring translation turn alike)."""
    _, first = np.unique(np.round(matrices, 6).reshape(len(matrices), 9), axis=0, return_index=True)
    return matrices[np.sort(first)]


def _jumps_and_classes(crystal: Crystal, sites: list[dict], cutoff: float) -> tuple[list[dict], list[dict]]:
    """Directed jumps within the cutoff, and their classes, each class named by its orbits and distance."""
    positions = np.array([site["position"] for site in sites])
    lattice = Atoms("X" * len(sites), scaled_positions=positions, cell=crystal.cell, pbc=True)
    start, end, image, distance = neighbor_list("ijSd", lattice, cutoff)
    if len(distance) == 0:
        raise InputError(f"no two sites lie within {cutoff:g} Å of each other; raise the jump cutoff")
    if distance.min() < 0.3:
        closest = distance.argmin()
        raise InputError(f"sites {start[closest]} and {end[closest]} are {distance.min():.2f} Å apart: the same site?")
    moved_to, moved_by = _permutations(crystal, positions)
    keys = zip(start.tolist(), end.tolist(), map(tuple, image.tolist()), strict=True)
    length = dict(zip(keys, np.round(distance, 6).tolist(), strict=True))
    class_of, members = {}, []
    for a, b, shift in sorted(length, key=lambda key: (key[0], length[key], key[1], key[2])):
        if (a, b, shift) in class_of:
            continue
        # Images of the pair under all operations, in both directions.
        ends = moved_by[:, b] + shift @ np.swapaxes(crystal.rotations, 1, 2) - moved_by[:, a]
        orbit = set()
        for i, j, cells in zip(moved_to[:, a].tolist(), moved_to[:, b].tolist(), ends.tolist(), strict=True):
            orbit |= {(i, j, tuple(cells)), (j, i, tuple(-x for x in cells))}
        class_of |= dict.fromkeys(orbit, len(members))
        members.append((sites[a]["orbit"], sites[b]["orbit"], length[a, b, shift]))
    missing = set(length) ^ set(class_of)
    if missing:
        a, b, shift = min(missing)
        raise InputError(
            f"the pair of sites {a} and {b} (image {shift}) lies at the jump cutoff {cutoff:g} Å, so that rounding "
            "lets only some of its images in; choose another cutoff"
        )
    names = _names(members)
    classes = [
        {"name": name, "from": first, "to": second, "distance": distance}
        for name, (first, second, distance) in zip(names, members, strict=True)
    ]
    jumps = [
        {"from": a, "to": b, "image": list(shift), "class": names[class_of[a, b, shift]]} for a, b, shift in length
    ]
    return jumps, classes


def _permutations(crystal: Crystal, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each operation takes each site: index (g, m) and cell (g, m, 3), R x_i + t = x_index + cell."""
    images = np.einsum("gij,mj->gmi", crystal.rotations, positions) + crystal.translations[:, None]
    difference = images[:, :, None] - positions
    cells = np.round(difference)
    away = np.linalg.norm((difference - cells) @ crystal.cell, axis=-1)
    index = away.argmin(axis=-1)
    if away.min(axis=-1).max() > 1e-2:
        raise InputError("the symmetry operations do not map the sites onto each other")
    return index, np.take_along_axis(cells, index[..., None, None], axis=2)[:, :, 0].astype(int)


def _names(pairs: list[tuple[str, str, float]]) -> list[str]:
    """Names such as Li1-Li2:2.95; classes that would share a name get the letters a, b, … in order."""
    plain = [f"{a}-{b}:{length:.2f}" for a, b, length in pairs]
    letters = [chr(ord("a") + plain[:n].count(name)) for n, name in enumerate(plain)]
    return [name + letter * (plain.count(name) > 1) for name, letter in zip(plain, letters, strict=True)]


def refined(crystal: Crystal, mobile: str, displacement_A: dict[str, np.ndarray]) -> Crystal:
    """Crystal whose mobile orbits are moved by a Cartesian displacement (3,) in Å of each representative.

    Only the part that the site symmetry allows is taken, so that no orbit splits. Orbits without a displacement stay.
    """
    turns = crystal.cartesian_rotations()
    orbits = []
    for orbit in crystal.orbits:
        if orbit.element == mobile and orbit.label in displacement_A:
            allowed = turns[orbit.stabiliser].mean(axis=0) @ displacement_A[orbit.label]
            start = orbit.positions[0] + np.linalg.solve(crystal.cell.T, allowed)
            images = crystal.rotations[orbit.operation] @ start + crystal.translations[orbit.operation]
            orbit = replace(orbit, positions=wrapped(images))
        orbits.append(orbit)
    return replace(crystal, orbits=tuple(orbits))


def on_network(crystal: Crystal, sites: dict) -> Crystal:
    """The crystal with its mobile ions' sites where a sites.json, made from it and maybe refined, has them.

    Raises InputError where it has not as many sites.
    """
    positions, orbits = site_positions(sites), []
    if sum(len(orbit.positions) for orbit in crystal.mobile_orbits(sites["mobile"])) != len(positions):
        raise InputError(f"{len(positions)} sites are not those of the crystal: make sites.json from it")
    for orbit in crystal.orbits:
        if orbit.element == sites["mobile"]:
            own, positions = np.split(positions, [len(orbit.positions)])
            orbit = replace(orbit, positions=own)
        orbits.append(orbit)
    return replace(crystal, orbits=tuple(orbits))


def site_positions(sites: dict) -> np.ndarray:
    """Fractional positions (m, 3) of the sites."""
    return np.array([site["position"] for site in sites["sites"]], float)


def in_frame_of_representative(sites: dict, site: np.ndarray, tensors: np.ndarray) -> np.ndarray:
    """Tensors (..., F, N, 3, 3) of ions on sites (F, N), turned into the frame of their orbit's representative."""
    turn = np.array([entry["rotation"] for entry in sites["sites"]])[site]
    return np.einsum("fnki,...fnkl,fnlj->...fnij", turn, tensors, turn)  # the inverse of V = R V0 Rᵀ


def closest_pair(sites: dict) -> tuple[int, int, float]:
    """The two sites that are nearest to each other, one of them maybe in another cell, and their distance in Å."""
    positions, cell = site_positions(sites), np.array(sites["cell"], float)
    # No pair can be farther apart than a site and its own image along the shortest edge of the cell.
    reach = np.linalg.norm(cell, axis=1).min() + 1e-6
    lattice = Atoms("X" * len(positions), scaled_positions=positions, cell=cell, pbc=True)
    start, end, distance = neighbor_list("ijd", lattice, reach)
    nearest = distance.argmin()
    return int(start[nearest]), int(end[nearest]), float(distance[nearest])


def site_orbits(sites: dict) -> list[str]:
    """Orbit label of each site."""
    return [site["orbit"] for site in sites["sites"]]


def directed_classes(sites: dict) -> list[tuple[str, str, str]]:
    """(class, from orbit, to orbit) of every rate of the network: one for a class inside an orbit, else two."""
    found = []
    for entry in sites["classes"]:
        found.append((entry["name"], entry["from"], entry["to"]))
        if entry["from"] != entry["to"]:
            found.append((entry["name"], entry["to"], entry["from"]))
    return found


def write_sites(path: str | Path, sites: dict) -> None:
    """Write sites.json atomically, after the checks of `read_sites`."""
    check_sites(sites, str(path))
    write_json(path, sites)


def read_sites(path: str | Path) -> dict:
    """Read and check a sites.json. Raises InputError naming file and site or jump."""
    sites = read_json(path)
    check_sites(sites, str(path))
    return sites


def read_network(path: str | Path) -> dict:
    """Read a sites.json of which only the network counts (`check_network`)."""
    sites = read_json(path)
    check_network(sites, str(path))
    return sites


def concentration(path: str | Path) -> float:
    """Mobile ions per site, from the occupancies of the crystal. Raises InputError where the file does not say."""
    value = read_json(path).get("concentration")
    if not isinstance(value, int | float):
        raise InputError(f"{path}: concentration is {value}, and not a number of ions per site; give --concentration")
    return value


def _numbers(values: object) -> np.ndarray:
    """As an array; empty where they are none."""
    try:
        return np.array(values, float)
    except (TypeError, ValueError):
        return np.empty(0)


def check_network(sites: dict, source: str) -> None:
    """Raise InputError, naming the site or jump, where cell, sites and jumps are not a network that ions can jump on.

    Symmetry, classes and host are not looked at: see `check_sites`.
    """
    for key in ("cell", "sites", "jumps"):
        if key not in sites:
            raise InputError(f"{source}: key '{key}' is missing")
    cell = _numbers(sites["cell"])
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6:
        raise InputError(f"{source}: 'cell' is not three independent vectors in Å")
    for key in ("sites", "jumps"):
        if not isinstance(sites[key], list):
            raise InputError(f"{source}: '{key}' is not a list of {key}")
    if not sites["sites"]:
        raise InputError(f"{source}: no sites")
    for number, site in enumerate(sites["sites"]):
        if not isinstance(site, dict):
            raise InputError(f"{source}: site {number} is {site!r}; expected index, orbit and position")
        if site.get("index") != number:
            raise InputError(f"{source}: site {number} has the index {site.get('index')}; sites are in order from 0")
        position = _numbers(site.get("position", []))
        if position.shape != (3,) or not np.isfinite(position).all() or "orbit" not in site:
            raise InputError(f"{source}: site {number} lacks an orbit or three finite coordinates")
    positions = np.array([site["position"] for site in sites["sites"]], float)
    for number, position in enumerate(positions):
        apart = positions[:number] - position
        same = np.linalg.norm((apart - np.round(apart)) @ cell, axis=1) < SAME_PLACE_A
        if same.any():
            raise InputError(f"{source}: sites {int(same.argmax())} and {number} are at the same place")
    orbit, class_of = site_orbits(sites), {}
    for number, jump in enumerate(sites["jumps"]):
        try:
            start, end, image = index(jump["from"]), index(jump["to"]), tuple(index(x) for x in jump["image"])
            name = jump["class"]
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{source}: jump {number} is not made of from, to, image and class") from None
        if not (0 <= start < len(orbit) and 0 <= end < len(orbit) and len(image) == 3):
            raise InputError(f"{source}: jump {number} ({start} to {end}) leads to a site that does not exist")
        if (start, end, image) in class_of:
            raise InputError(f"{source}: jump {number} from site {start} to {end}, image {image}, is there twice")
        class_of[start, end, image] = name
    for (start, end, image), name in class_of.items():
        if class_of.get((end, start, tuple(-x for x in image))) != name:
            raise InputError(
                f"{source}: the jump of class {name} from site {start} ({orbit[start]}) to {end} ({orbit[end]}), "
                f"image {image}, has no reverse of the same class"
            )


def check_sites(sites: dict, source: str) -> None:
    """Raise InputError, naming the site, jump or class, where the contract in the module's docstring is not kept."""
    for key in ("mobile", "stabilisers", "classes", "host"):
        if key not in sites:
            raise InputError(f"{source}: key '{key}' is missing")
    check_network(sites, source)
    for number, site in enumerate(sites["sites"]):
        _check_symmetry(number, site, sites, source)
    names = [entry["name"] for entry in sites["classes"]]
    if len(set(names)) < len(names):
        raise InputError(f"{source}: two jump classes share a name")
    orbits_of = {entry["name"]: {entry["from"], entry["to"]} for entry in sites["classes"]}
    orbit = site_orbits(sites)
    for jump in sites["jumps"]:
        a, b, name = jump["from"], jump["to"], jump["class"]
        if orbits_of.get(name) != {orbit[a], orbit[b]}:
            raise InputError(
                f"{source}: the jump from site {a} ({orbit[a]}) to {b} ({orbit[b]}) has the class '{name}', which is "
                "not listed under 'classes' for these orbits"
            )


def _check_symmetry(number: int, site: dict, sites: dict, source: str) -> None:
    missing = {"wyckoff", "representative", "rotation"} - set(site)
    if missing:
        raise InputError(f"{source}: site {number} lacks {', '.join(sorted(missing))}")
    rotation = np.array(site["rotation"], float)
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
        raise InputError(f"{source}: the rotation of site {number} is not orthogonal")
    representative = site["representative"]
    if not 0 <= representative < len(sites["sites"]) or sites["sites"][representative]["orbit"] != site["orbit"]:
        raise InputError(f"{source}: the representative of site {number} is not a site of its orbit {site['orbit']}")
    if str(representative) not in sites["stabilisers"]:
        raise InputError(f"{source}: no stabiliser for site {representative}, the representative of site {number}")
