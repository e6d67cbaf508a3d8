"""Sites that a crystal structure does not list: maxima of the density of mobile ions in molecular dynamics.

Positions of all ions at all times, folded into one cell and copied by all symmetry operations, make a density; its
maxima away from every known site are new ones. A maximum within SNAP_A of its own image lies on the special position
between them.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from insilico_nmr.crystal import Crystal, make_crystal
from insilico_nmr.errors import InputError

SPACING_A = 0.2
SMOOTH_A = 0.35
REACH_A = 0.8  # about a maximum, whose density counts for it
SNAP_A = 0.5


def density_maxima(crystal: Crystal, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima (n, 3), fractional, highest first, of the density of fractional positions (P, 3), and the part of all
    positions within REACH_A of each (n,), in the mean over its images."""
    edges = np.linalg.norm(crystal.cell, axis=1)
    shape = np.maximum(4, np.round(edges / SPACING_A).astype(int))
    counts = np.zeros(shape)
    for rotation, translation in zip(crystal.rotations, crystal.translations, strict=True):
        voxel = np.floor((positions @ rotation.T + translation) % 1.0 * shape).astype(int) % shape
        np.add.at(counts, tuple(voxel.T), 1.0)
    spacing = edges / shape
    smooth = gaussian_filter(counts, SMOOTH_A / spacing, mode="wrap")
    around = 2 * np.round(REACH_A / spacing).astype(int) + 1
    peaks = np.argwhere((smooth == maximum_filter(smooth, around, mode="wrap")) & (smooth > 0))
    peaks = peaks[np.argsort(-smooth[tuple(peaks.T)], kind="stable")]
    visited = np.nonzero(counts)
    centres, times = (np.transpose(visited) + 0.5) / shape, counts[visited]
    found, parts = [], []
    for peak in (peaks + 0.5) / shape:
        for _ in range(5):  # to the mean of the positions about it
            offset = centres - peak
            offset -= np.round(offset)
            near = np.linalg.norm(offset @ crystal.cell, axis=1) < REACH_A
            if near.any():
                peak = peak + np.average(offset[near], axis=0, weights=times[near])
        found.append(peak % 1.0)
        parts.append(times[near].sum() / times.sum())
    return np.array(found).reshape(-1, 3), np.array(parts)


def on_special_position(crystal: Crystal, position: np.ndarray) -> np.ndarray:
    """The mean of a fractional position (3,) and those of its images within SNAP_A."""
    offset = crystal.rotations @ position + crystal.translations - position
    offset -= np.round(offset)
    return position + offset[np.linalg.norm(offset @ crystal.cell, axis=1) < SNAP_A].mean(axis=0)


def with_found_sites(
    crystal: Crystal, mobile: str, positions: np.ndarray, apart_A: float, least_part: float
) -> Crystal:
    """The crystal and orbits of `mobile` at maxima `apart_A` or more from its sites, of each other too.

    positions (P, 3): fractional, of all ions at all times. Maxima occupied less than `least_part` of the time are left
    out. A new orbit is occupied as it was; the known ones share the rest. Raises InputError where none is found.
    """
    known = crystal.mobile_orbits(mobile)
    ions = sum(orbit.occupancy * len(orbit.positions) for orbit in known)
    taken = np.concatenate([orbit.positions for orbit in known])
    labels = {orbit.label for orbit in crystal.orbits}
    new: list[tuple[str, str, float, np.ndarray]] = []
    for peak, part in zip(*density_maxima(crystal, positions), strict=True):
        place = on_special_position(crystal, peak)
        away = taken - place
        away -= np.round(away)
        occupied = part * ions
        if np.linalg.norm(away @ crystal.cell, axis=1).min() < apart_A or occupied < least_part:
            continue
        label = next(name for n in range(1, 1000) if (name := f"{mobile}{n}") not in labels)
        labels.add(label)
        new.append((label, mobile, min(1.0, occupied), place))
        images = crystal.rotations @ place + crystal.translations
        taken = np.concatenate([taken, images])
    if not new:
        raise InputError(f"no density of {mobile} at {apart_A:g} Å or more from the known sites; run hotter or longer")
    atoms = [(orbit.label, orbit.element, orbit.occupancy, orbit.positions[0]) for orbit in crystal.orbits]
    both = make_crystal(crystal.cell, crystal.rotations, crystal.translations, atoms + new)
    moved = sum(orbit.occupancy * len(orbit.positions) for orbit in both.orbits[len(atoms) :])
    orbits = [
        replace(orbit, occupancy=orbit.occupancy * (1 - moved / ions))
        if orbit.element == mobile and number < len(atoms)
        else orbit
        for number, orbit in enumerate(both.orbits)
    ]
    return replace(both, orbits=tuple(orbits))
