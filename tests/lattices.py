"""Synthetic networks of sites for tests: the content of a sites.json, and rates by (class, from orbit, to orbit)."""

from itertools import product

import numpy as np


def network(cell, positions, orbits, distances, reach=1) -> dict:
    """sites.json content: every pair of sites at one of `distances` (name → Å) is a jump of that class."""
    cell, positions = np.array(cell, float), np.array(positions, float)
    jumps = []
    for start, end in product(range(len(positions)), repeat=2):
        for image in product(range(-reach, reach + 1), repeat=3):
            length = np.linalg.norm((positions[end] + image - positions[start]) @ cell)
            for name, distance in distances.items():
                if abs(length - distance) < 1e-6:
                    jumps.append({"from": start, "to": end, "image": list(image), "class": name})
    sites = [
        {"index": n, "orbit": orbit, "position": list(position)}
        for n, (orbit, position) in enumerate(zip(orbits, positions.tolist(), strict=True))
    ]
    return {"cell": cell.tolist(), "mobile": "X", "sites": sites, "jumps": jumps}


def isolated_sites(orbits, pairs) -> dict:
    """A few sites that are linked inside one cell only; pairs are (site, site, class)."""
    sites = [{"index": n, "orbit": orbit, "position": [0.1 * n, 0.1 * (n // 10), 0]} for n, orbit in enumerate(orbits)]
    jumps = [
        {"from": start, "to": end, "image": [0, 0, 0], "class": name}
        for a, b, name in pairs
        for start, end in ((a, b), (b, a))
    ]
    return {"cell": (10 * np.eye(3)).tolist(), "mobile": "X", "sites": sites, "jumps": jumps}


def bravais(kind: str) -> dict:
    """One orbit "A", one class "nn", in the primitive cell; nearest neighbours 1 Å apart."""
    half, root = 0.5, np.sqrt(0.5)
    fcc = root * (np.ones((3, 3)) - np.eye(3))
    cells = {
        "simple cubic": (np.eye(3), [[0, 0, 0]]),
        "bcc": ((np.ones((3, 3)) - 2 * np.eye(3)) / np.sqrt(3), [[0, 0, 0]]),
        "fcc": (fcc, [[0, 0, 0]]),
        "diamond": (fcc * np.sqrt(8 / 3), [[0, 0, 0], [0.25, 0.25, 0.25]]),
        "honeycomb": (
            [[np.sqrt(3), 0, 0], [np.sqrt(3) * half, 1.5, 0], [0, 0, 10]],
            [[0, 0, 0], [1 / 3, 1 / 3, 0]],
        ),
    }
    cell, positions = cells[kind]
    return network(cell, positions, ["A"] * len(positions), {"nn": 1.0}, reach=1)


ONE_RATE = {("nn", "A", "A"): 1.0}

# Site energies 0, 1 and 2.5 in units of kT: rates are barrier factors times exp(E_from).
_ENERGY = {"A": 0.0, "B": 1.0, "C": 2.5}
THREE_RATES = {
    (name, start, end): factor * float(np.exp(_ENERGY[start]))
    for name, factor, orbits in (
        ("ab", 1.0, "AB"),
        ("bc", 0.3, "BC"),
        ("ac", 2.0, "AC"),
        ("y", 0.5, "AA"),
        ("y", 0.1, "BB"),
        ("y", 1.0, "CC"),
    )
    for start, end in (orbits, orbits[::-1])
}


def three_orbits() -> dict:
    """A chain of A, B, C sites along x, joined into a rectangular lattice by jumps along y between equals."""
    return network(
        np.diag([3.0, 2.3, 9.0]),
        [[0, 0, 0], [1.1 / 3, 0, 0], [2.0 / 3, 0, 0]],
        "ABC",
        {"ab": 1.1, "bc": 0.9, "ac": 1.0, "y": 2.3},
    )
