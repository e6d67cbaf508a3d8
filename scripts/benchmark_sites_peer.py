"""Sites and jumps of ions in molecular dynamics by this study beside those of a public code, site-analysis 1.8.0.

Needs `pip install site-analysis==1.8.0 ase h5py numba scipy spglib` in an environment of its own. Both codes get the
same positions, less the drift of the host, and the same sites: spheres as large as this study's cores, and then the
site that is nearest (Voronoi sites there, an infinite core radius here). After its table, the program stops with an
error where the codes differ in the site of any ion in any frame, or in a count that follows from it.

The definitions differ for an ion outside all spheres. In site-analysis it is at no site, and in 1.8.0, the last release
for Python 3.11, it makes a transition only where two frames in a row find it in different spheres; from 1.9.0 on it
also makes one across frames outside. This study keeps it at its last core, or at the first one it will enter where
there is none before. The table has both counts for both codes: site-analysis's own count is one of them, the other is
made here from the spheres that it found.

Two ions at a site count as two in both codes (but as one in site-analysis's average_occupation, not used here). An ion
at just the radius is inside for site-analysis and outside here; of sites equally near, both take the first. Only this
study tells periodic images of a site apart: supercells so small that this matters are refused.

Processor time is of one thread, from positions to sites, transitions and occupations, without files, compilation or,
for site-analysis, the making of pymatgen's structures, which hold the mobile ions only.
site-analysis: B. J. Morgan, University of Bath.
"""

import argparse
import gc
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from ase.data import atomic_numbers
from insilico_nmr.crystal import supercell_cells
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.events import (
    Assignment,
    Jumps,
    assign,
    find_jumps,
    host_drift,
    occupancies,
    ordered_pairs,
    supercell_repeat,
)
from insilico_nmr.sites import directed_classes, read_sites, site_orbits, site_positions
from insilico_nmr.trajectory import Trajectory, read_trajectory

try:
    import site_analysis
    from pymatgen.core import Structure
    from site_analysis import TrajectoryBuilder
except ImportError as error:
    sys.exit(f"error: {error}; this benchmark needs site-analysis: pip install site-analysis==1.8.0")

ACROSS_GAPS = hasattr(TrajectoryBuilder, "with_commitment")  # 1.9.0 brought both
OURS_REPEATED = 20  # this study's analysis is timed over so many runs


@dataclass(frozen=True)
class Found:
    """What site-analysis found; F frames, N ions, S sites of the supercell.

    at : (F, N) int, site of the supercell that the ion is in, −1 for none.
    transitions : (S, S) int, from and to.
    visits : (S,) int, ions in the site, summed over frames.
    """

    at: np.ndarray
    transitions: np.ndarray
    visits: np.ndarray
    processor_s: float


def mobile_structures(trajectory: Trajectory, sites: dict) -> list[Structure]:
    """The mobile ions of every frame, less the drift of the host."""
    ions = trajectory.numbers == atomic_numbers[sites["mobile"]]
    positions = trajectory.positions[:, ions] - host_drift(trajectory, sites)[:, None]
    elements = [sites["mobile"]] * int(ions.sum())
    return [Structure(trajectory.cell, elements, frame, coords_are_cartesian=True) for frame in positions]


def run_theirs(structures: list[Structure], sites: dict, repeat: tuple[int, int, int], radius: float) -> Found:
    """Analysis by site-analysis: spherical sites, or Voronoi sites for an infinite radius."""
    centres = (site_positions(sites) + supercell_cells(repeat)[:, None]).reshape(-1, 3) / np.array(repeat)
    orbits = site_orbits(sites) * int(np.prod(repeat))
    builder = TrajectoryBuilder().with_structure(structures[0]).with_mobile_species(sites["mobile"])
    if np.isinf(radius):
        builder = builder.with_voronoi_sites(centres.tolist(), orbits)
    else:
        builder = builder.with_spherical_sites(centres.tolist(), radius, orbits)
    followed = builder.build()
    before = time.process_time()
    followed.trajectory_from_structures(structures)
    transitions = followed.transition_counts_by_site().matrix
    visits = np.array([sum(map(len, site.trajectory)) for site in followed.sites])
    processor_s = time.process_time() - before
    at = np.nan_to_num(np.array(followed.atoms_trajectory, float), nan=-1).astype(int)  # None where it is in no site
    return Found(at, transitions, visits, processor_s)


def run_ours(trajectory: Trajectory, sites: dict, radius: float) -> tuple[Assignment, Jumps, dict, float]:
    """Analysis by this study, and its processor time in s."""
    before = time.process_time()
    for _ in range(OURS_REPEATED):
        assignment = assign(trajectory, sites, radius)
        jumps, occupied = find_jumps(assignment), occupancies(assignment)
    return assignment, jumps, occupied, (time.process_time() - before) / OURS_REPEATED


def last_site_kept(at: np.ndarray) -> np.ndarray:
    """Sites (F, N) with every −1 replaced by the ion's last site, or its first one where there is none before."""
    frames, ions = np.arange(len(at))[:, None], np.arange(at.shape[1])
    last = np.maximum.accumulate(np.where(at >= 0, frames, -1), axis=0)
    return at[np.where(last >= 0, last, (at >= 0).argmax(axis=0)), ions]


def transitions_between(at: np.ndarray, n_sites: int) -> np.ndarray:
    """Changes of site (S, S), from and to, between frames in a row, both of which the ion spends in a site."""
    start, end = at[:-1], at[1:]
    moved = (start != end) & (start >= 0) & (end >= 0)
    counts = np.zeros((n_sites, n_sites), int)
    np.add.at(counts, (start[moved], end[moved]), 1)
    return counts


def class_numbers(sites: dict, repeat: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Unordered class of each row of `directed_classes(sites)`, and of each pair (S, S); as many as classes for none.

    Raises InputError where a site is joined with an image of itself, or two sites by jumps of several classes.
    """
    names = [entry["name"] for entry in sites["classes"]]
    of_row = np.array([names.index(name) for name, _, _ in directed_classes(sites)])
    n_sites = int(np.prod(repeat)) * len(sites["sites"])
    start, end, row = ordered_pairs(sites, repeat)
    of_pair = np.full((n_sites, n_sites), len(names))
    of_pair[start, end] = of_row[row]
    unclear = (start == end) | (of_pair[start, end] != of_row[row])
    if unclear.any():
        a, b, name = start[unclear][0], end[unclear][0], names[of_row[row[unclear][0]]]
        raise InputError(
            f"the supercell of {repeat} cells is too small: a jump of class {name} leads from site {a} to {b}, "
            "which is the same or is reached by jumps of another class too"
        )
    return of_row, of_pair


def must_agree(what: str, axes: str, theirs: np.ndarray, ours: np.ndarray) -> None:
    """Raise InputError, naming the first place, where two arrays of integers differ."""
    differ = theirs != ours
    if differ.any():
        place = tuple(np.argwhere(differ)[0].tolist())
        at = ", ".join(f"{axis} {number}" for axis, number in zip(axes.split(", "), place, strict=True))
        raise InputError(
            f"{what}: the codes differ in {differ.sum()} of {differ.size} values, first at {at}: {theirs[place]} in "
            f"site-analysis, {ours[place]} here"
        )


def compare(path: Path, sites: dict, radius: float) -> None:
    """Print what both codes find in one trajectory, and then raise InputError where they disagree."""
    trajectory = read_trajectory(path)
    repeat = supercell_repeat(trajectory, sites)
    of_row, of_pair = class_numbers(sites, repeat)
    orbits = np.array(site_orbits(sites) * int(np.prod(repeat)))
    labels = list(dict.fromkeys(orbits.tolist()))
    classes = [entry["name"] for entry in sites["classes"]] + ["other pairs"]
    n_sites, frames = len(orbits), len(trajectory.positions)

    # The study's side first: it refuses input that does not fit. What is not timed compiles both codes.
    assign(trajectory.part(slice(2)), sites, np.inf)
    cores, jumps, occupied, cores_s = run_ours(trajectory, sites, radius)
    nearest, nearest_jumps, nearest_occupied, nearest_s = run_ours(trajectory, sites, np.inf)
    structures = mobile_structures(trajectory, sites)
    for size in (radius, np.inf):
        run_theirs(structures[:2], sites, repeat, size)
    spheres = run_theirs(structures, sites, repeat, radius)
    voronoi = run_theirs(structures, sites, repeat, np.inf)

    def visits(at: np.ndarray) -> np.ndarray:
        return np.bincount(at[at >= 0], minlength=n_sites)

    def column(visits: np.ndarray, transitions: np.ndarray) -> tuple[list[float], np.ndarray]:
        counts = np.bincount(of_pair.ravel(), transitions.ravel(), minlength=len(classes)).astype(int)
        return [visits[orbits == label].mean() / frames for label in labels], counts

    def own_column(occupied: dict, jumps: Jumps) -> tuple[list[float], np.ndarray]:
        kinds = np.where(jumps.kind < 0, len(classes) - 1, of_row[jumps.kind])
        return [occupied[label]["ions_per_site"] for label in labels], np.bincount(kinds, minlength=len(classes))

    in_cores = np.where(cores.outside, -1, cores.supercell_site)
    kept = last_site_kept(spheres.at)
    columns = [
        column(spheres.visits, transitions_between(spheres.at, n_sites)),
        column(visits(in_cores), transitions_between(in_cores, n_sites)),
        column(visits(kept), transitions_between(kept, n_sites)),
        own_column(occupied, jumps),
        column(voronoi.visits, voronoi.transitions),
        own_column(nearest_occupied, nearest_jumps),
    ]
    step_ps = cores.frame_s * 1e12
    print(f"{path}: {spheres.at.shape[1]} ions, {n_sites} sites, {frames} frames, one in {step_ps:.3g} ps")
    print(f"{'':14s}" + "".join(f"{title:>24s}" for title in ("in spheres", "last sphere kept", "nearest site")))
    print(f"{'':14s}" + f"{'site-analysis':>15s}{'here':>9s}" * 3)
    print("ions per site")
    for n, label in enumerate(labels):
        print(row_of(label, [f"{occupation[n]:.4f}" for occupation, _ in columns]))
    print("transitions")
    for n, name in enumerate(classes):
        print(row_of(name, [str(counts[n]) for _, counts in columns]))
    print(row_of("all", [str(counts.sum()) for _, counts in columns]))
    print(
        f"time outside all spheres: {np.mean(spheres.at < 0):.4f} (site-analysis), {cores.outside.mean():.4f} (here); "
        f"transitions between spheres in site-analysis's own count: {spheres.transitions.sum()}"
    )
    for what, theirs_s, ours_s in (
        ("spheres", spheres.processor_s, cores_s),
        ("nearest site", voronoi.processor_s, nearest_s),
    ):
        print(
            f"processor time, {what + ':':14s}{theirs_s:8.3g} s (site-analysis), {ours_s:8.3g} s (here), "
            f"ratio {theirs_s / ours_s:.3g}"
        )

    own_count = transitions_between(cores.supercell_site if ACROSS_GAPS else in_cores, n_sites)
    for what, axes, theirs, ours in (
        ("the sphere of an ion (-1: none)", "frame, ion", spheres.at, in_cores),
        ("the last sphere of an ion", "frame, ion", kept, cores.supercell_site),
        ("the nearest site of an ion", "frame, ion", voronoi.at, nearest.supercell_site),
        ("ions in a sphere, summed over frames", "site", spheres.visits, visits(in_cores)),
        ("ions nearest to a site, summed over frames", "site", voronoi.visits, visits(nearest.supercell_site)),
        ("site-analysis's own count of transitions between spheres", "from, to", spheres.transitions, own_count),
        ("jumps core to core", "class", columns[2][1], columns[3][1]),
        ("changes of nearest site", "class", columns[4][1], columns[5][1]),
    ):
        must_agree(f"{path}: {what}", axes, theirs, ours)


def row_of(name: str, cells: list[str]) -> str:
    """A line of the table, cells of site-analysis and of this study in turn."""
    return f"  {name:12s}" + "".join(f"{cell:>{9 if k % 2 else 15}s}" for k, cell in enumerate(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path, nargs="+", metavar="TRAJ", help="HDF5 trajectories of run_md.py")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--core-radius", type=float, required=True, help="Å, also of the spheres")
    args = parser.parse_args()

    numba.set_num_threads(1)
    gc.disable()  # as timeit does
    sites = read_sites(args.sites)
    print(f"site-analysis {site_analysis.__version__}; spheres and cores of {args.core_radius:g} Å")
    for path in args.trajectories:
        print()
        compare(path, sites, args.core_radius)
        gc.collect()


if __name__ == "__main__":
    run_script(main)
