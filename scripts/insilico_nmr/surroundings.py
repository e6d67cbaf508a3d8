"""Tensors that depend on which neighbouring sites are filled: a site's own and one more for each filled neighbour.

V = R (C₀ + Σ_k n_k C_k) Rᵀ, with R the rotation of the site from its orbit's representative and n_k = 1 where the k-th
neighbour of the site is filled. The C (3, 3) of an orbit are fitted to tensors of molecular dynamics by least squares
and are made to obey the site's point group, which turns neighbours into one another. A neighbour that is always
filled, or always empty, gets no tensor of its own: its part is in C₀.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.files import read_json
from insilico_nmr.sites import in_frame_of_representative, site_positions

REACH_A = 4.5  # of the mobile ions' neighbours
RIDGE = 1e-3  # on the mean square occupation of a neighbour, which lies between 0 and 1
SAME_A = 0.1  # images of a neighbour under symmetry agree within this


@dataclass(frozen=True)
class Neighbours:
    """Sites near every site, in the order of the orbit's representative.

    site, image : (S, z) int and (S, z, 3) int, number of the neighbour and the cell it is in, relative to the site's
    own; −1 where an orbit has fewer than z. count : (S,) int. permutations : by representative, (g, count) int: where
    each operation of its point group takes every neighbour.
    """

    site: np.ndarray
    image: np.ndarray
    count: np.ndarray
    permutations: dict[int, np.ndarray]


@dataclass(frozen=True)
class Added:
    """What filled neighbours add to the tensors of the sites: `tensor` (S, z, 3, 3) a.u. in the crystal's frame, 0
    where there is no neighbour; site (S, z) and image (S, z, 3) as of `Neighbours`. `member_scales` (M,): what each
    member of the committee has in place of the mean square of that, which is 1; empty where it is not known."""

    site: np.ndarray
    image: np.ndarray
    tensor: np.ndarray
    member_scales: np.ndarray = field(default_factory=lambda: np.empty(0))


def neighbours(sites: dict, reach_A: float = REACH_A) -> Neighbours:
    """Neighbours within a reach. Raises InputError where symmetry does not map them onto one another."""
    cell = np.array(sites["cell"], float)
    positions = site_positions(sites) @ cell
    around = np.ceil(reach_A * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    images = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in around], indexing="ij"), axis=-1).reshape(-1, 3)
    vectors, numbers, shifts = [], [], []
    for number, place in enumerate(positions):
        away = positions[None] + (images @ cell)[:, None] - place
        distance = np.linalg.norm(away, axis=-1)
        which, other = np.nonzero((distance < reach_A) & ((distance > 1e-6) | (np.arange(len(positions)) != number)))
        vectors.append(away[which, other])
        numbers.append(other)
        shifts.append(images[which])
    most = max(map(len, numbers))
    site = np.full((len(positions), most), -1)
    image = np.zeros((len(positions), most, 3), int)
    for number, entry in enumerate(sites["sites"]):
        home, turn = entry["representative"], np.array(entry["rotation"])
        order = _matched(vectors[home] @ turn.T, vectors[number], f"site {number} ({entry['orbit']})")
        site[number, : len(order)] = numbers[number][order]
        image[number, : len(order)] = shifts[number][order]
    permutations = {}
    for name, group in sites["stabilisers"].items():
        own, label = vectors[int(name)], f"site {name}"
        permutations[int(name)] = np.array([_matched(own @ np.array(turn).T, own, label) for turn in group])
    return Neighbours(site, image, (site >= 0).sum(axis=1), permutations)


def _matched(wanted: np.ndarray, present: np.ndarray, name: str) -> np.ndarray:
    """Index into `present` (n, 3) of each of `wanted` (n, 3), Å."""
    if len(wanted) != len(present):
        raise InputError(f"{name} has {len(present)} neighbours, the representative of its orbit {len(wanted)}")
    distance = np.linalg.norm(wanted[:, None] - present[None], axis=-1).reshape(len(wanted), len(present))
    order = distance.argmin(axis=1) if len(wanted) else np.empty(0, int)
    if len(set(order.tolist())) < len(order) or (len(order) and distance[np.arange(len(order)), order].max() > SAME_A):
        raise InputError(f"the neighbours of {name} are not those of its orbit's representative, turned")
    return order


def filled(near: Neighbours, repeat: tuple[int, int, int], site: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Which neighbours of every ion's site are filled, (F, N, z) float 0 or 1; columns without a neighbour are 0.

    site (F, N), cell (F, N, 3): where the ions are, in a periodic box of `repeat` cells.
    """
    shape, frames = np.array(repeat), np.arange(len(site))[:, None]
    occupied = np.zeros((len(site), *repeat, len(near.site)), bool)
    home = cell % shape
    occupied[(frames, *np.moveaxis(home, -1, 0), site)] = True
    places = (home[:, :, None] + near.image[site]) % shape
    found = occupied[(frames[..., None], *np.moveaxis(places, -1, 0), near.site[site])]
    return np.where(near.site[site] >= 0, found, False).astype(float)


def fit(sites: dict, near: Neighbours, site: np.ndarray, occupied: np.ndarray, tensors: np.ndarray) -> np.ndarray:
    """C of every site's orbit in the frame of the representative, (S, 1 + z, 3, 3), the site's own first.

    tensors (F, N, 3, 3), `occupied` of `filled`. Raises InputError for an orbit without a tensor.
    """
    home = np.array([entry["representative"] for entry in sites["sites"]])
    turned = in_frame_of_representative(sites, site, tensors)
    found = {}
    for index, permutations in near.permutations.items():
        mask = home[site] == index
        if not mask.any():
            raise InputError(f"site {sites['sites'][index]['orbit']} was not visited: it has no tensor")
        z = int(near.count[index])
        values, design = turned[mask], occupied[mask][:, :z]
        mean, average = design.mean(axis=0), values.mean(axis=0)
        square = (design - mean).T @ (design - mean) / len(design)
        cross = np.einsum("qk,qij->kij", design - mean, values - average) / len(design)
        group = np.array(sites["stabilisers"][str(index)])
        # Every operation makes another set of data, as likely as the first: neighbours permuted, tensors turned.
        squares, crosses, means, averages = np.zeros((z, z)), np.zeros((z, 3, 3)), np.zeros(z), np.zeros((3, 3))
        for turn, order in zip(group, permutations, strict=True):
            squares[np.ix_(order, order)] += square / len(group)
            crosses[order] += turn @ cross @ turn.T / len(group)
            means[order] += mean / len(group)
            averages += turn @ average @ turn.T / len(group)
        slopes = np.linalg.solve(squares + RIDGE * np.eye(z), crosses.reshape(z, 9)).reshape(z, 3, 3)
        found[index] = np.concatenate([(averages - np.einsum("k,kij->ij", means, slopes))[None], slopes])
    coefficients = np.zeros((len(home), 1 + near.site.shape[1], 3, 3))
    for number, index in enumerate(home):
        coefficients[number, : 1 + near.count[index]] = found[index]
    return coefficients


def tensors_of(sites: dict, coefficients: np.ndarray, site: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """Tensors (F, N, 3, 3) of ions on sites (F, N) with filled neighbours (F, N, z), in the crystal's frame."""
    own = coefficients[site, 0] + np.einsum("fnk,fnkij->fnij", occupied, coefficients[site, 1:])
    turn = np.array([entry["rotation"] for entry in sites["sites"]])[site]
    return turn @ own @ np.swapaxes(turn, -1, -2)


def mean_square(sites: dict, coefficients: np.ndarray, site: np.ndarray, occupied: np.ndarray) -> float:
    """Mean |Σ_k (n_k − ⟨n_k⟩) C_k|² over ions on sites (F, N) with filled neighbours (F, N, z), a.u.².

    ⟨n_k⟩ is the mean over the ions of one orbit; coefficients of `fit`.
    """
    home = np.array([entry["representative"] for entry in sites["sites"]])[site]
    total = 0.0
    for index in np.unique(home):
        there = occupied[home == index]
        added = np.einsum("qk,kij->qij", there - there.mean(axis=0), coefficients[index, 1:])
        total += float((added**2).sum())
    return total / site.size


def content_of(sites: dict, near: Neighbours, coefficients: np.ndarray) -> list[dict]:
    """Sites of a surroundings.json: what each filled neighbour adds to a site's tensor, 3×3 a.u., crystal's frame."""
    turn = np.array([entry["rotation"] for entry in sites["sites"]])[:, None]
    added = turn @ coefficients[:, 1:] @ np.swapaxes(turn, -1, -2)
    return [
        {
            "index": number,
            "orbit": entry["orbit"],
            "neighbours": [
                {
                    "site": int(near.site[number, k]),
                    "image": near.image[number, k].tolist(),
                    "adds": added[number, k].tolist(),
                }
                for k in range(near.count[number])
            ],
        }
        for number, entry in enumerate(sites["sites"])
    ]


def read_surroundings(path: str | Path, site_count: int) -> Added:
    """What filled neighbours add, of a surroundings.json.

    Raises InputError for a file of another number of sites, and for tensors that are not finite.
    """
    whole = read_json(path)
    content, scales = whole.get("sites", []), np.array(whole.get("member_scales", []), float)
    numbered = [entry.get("index") for entry in content] == list(range(site_count))
    if not (numbered and all("neighbours" in entry for entry in content)):
        raise InputError(f"{path}: expected sites 0 to {site_count - 1}, in order, each with its neighbours")
    most = max(len(entry["neighbours"]) for entry in content)
    site, image = np.full((site_count, most), -1), np.zeros((site_count, most, 3), int)
    added = np.zeros((site_count, most, 3, 3))
    for entry in content:
        for k, neighbour in enumerate(entry["neighbours"]):
            where = entry["index"], k
            site[where], image[where], added[where] = neighbour["site"], neighbour["image"], neighbour["adds"]
    if not np.isfinite(added).all() or site.max(initial=-1) >= site_count:
        raise InputError(f"{path}: expected finite tensors of neighbours 0 to {site_count - 1}")
    if not (scales >= 0).all():
        raise InputError(f"{path}: member_scales are {scales.tolist()}; expected numbers of at least 0")
    return Added(site, image, added, scales)
