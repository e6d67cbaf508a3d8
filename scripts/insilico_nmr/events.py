"""Jumps in molecular dynamics, core to core: occupations of the sites, counts and exposures of every jump class.

An ion is at a site while it is within the core radius of it, and stays assigned to the last core it was in until it
enters another one (hysteresis): rattling at the border of a core is no jump. Exposure of a class is the time that ions
spent at i with j empty, summed over its ordered pairs of sites (i, j): a rate is count over exposure.

Replacements, jumps to a site that another ion is still assigned to in the frame before, are counted: to a lattice gas
they are two jumps in a row, the first of which empties j, so that the pair (i occupied, j empty) is met within the
frame. That frame goes into the exposure, and every jump counted is one that the exposure allows. To leave them out
would break detailed balance: of a chain of ions that moves on together the leader would count, and of the same chain
moving back the other end, while all changes of core together are as many there as back (N_ij = N_ji).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from ase.data import atomic_numbers

from insilico_nmr.crystal import supercell_cells
from insilico_nmr.errors import InputError
from insilico_nmr.sites import closest_pair, directed_classes, site_orbits, site_positions
from insilico_nmr.trajectory import Trajectory

LOST_S = 1e-11, 5e-11  # outside all cores: for half of the run and the first, or for the second


def supercell_number(cells: np.ndarray, repeat: tuple[int, int, int]) -> np.ndarray:
    """Number (...) of cells (..., 3) in a periodic supercell."""
    n0, n1, n2 = np.moveaxis(cells % np.array(repeat), -1, 0)
    return (n0 * repeat[1] + n1) * repeat[2] + n2


@dataclass(frozen=True)
class Assignment:
    """Where every ion is in every frame; F frames, N ions, supercell of n1×n2×n3 cells with m sites each.

    site : (F, N) int, site of the primitive cell that the ion is assigned to.
    cell : (F, N, 3) int, cell of that site, unwrapped.
    outside : (F, N) bool, the ion was in no core at that time.
    displacement_A : (F, N, 3) float32, Cartesian, ion minus the site it is assigned to.
    frame_s : time between frames.
    """

    sites: dict
    repeat: tuple[int, int, int]
    site: np.ndarray
    cell: np.ndarray
    outside: np.ndarray
    displacement_A: np.ndarray
    frame_s: float

    @property
    def n_sites(self) -> int:
        """Sites of the supercell."""
        return int(np.prod(self.repeat)) * len(self.sites["sites"])

    @property
    def supercell_site(self) -> np.ndarray:
        """(F, N) int, number of the site in the supercell: cell number × m + site."""
        return supercell_number(self.cell, self.repeat) * len(self.sites["sites"]) + self.site


@dataclass(frozen=True)
class Jumps:
    """Jumps in order of time, arrays of one length: time (s), ion, from and to (sites of the primitive cell), image.

    `kind` (J,) is the row of `directed_classes(sites)`, or −1 for a pair of sites that no jump of the network joins.
    `replacement` (J,) bool: in the frame before, another ion was assigned to the target; `into_occupied` (J,) bool: it
    still was in the frame after. `duration_s`: length of the trajectory.
    """

    time_s: np.ndarray
    ion: np.ndarray
    start: np.ndarray
    end: np.ndarray
    image: np.ndarray
    kind: np.ndarray
    replacement: np.ndarray
    into_occupied: np.ndarray
    duration_s: float


def supercell_repeat(trajectory: Trajectory, sites: dict) -> tuple[int, int, int]:
    """Cells (`sites["cell"]`) along each edge of the trajectory's cell.

    Raises InputError where the trajectory's cell is not a supercell of the network's, within 3 % in strain.
    """
    matrix = trajectory.cell @ np.linalg.inv(np.array(sites["cell"]))
    repeat = np.round(np.diag(matrix)).astype(int)
    if repeat.min() < 1 or np.abs(matrix / repeat[:, None] - np.eye(3)).max() > 0.03:
        raise InputError(
            f"the trajectory's cell is not a multiple of the cell of the sites: found {np.round(matrix, 3).tolist()}"
        )
    return tuple(repeat.tolist())


def own_cell(trajectory: Trajectory, sites: dict) -> np.ndarray:
    """One cell (3, 3) in Å of the trajectory, which may be slightly strained: what its positions are fractions of.

    Raises InputError as `supercell_repeat` does.
    """
    return trajectory.cell / np.array(supercell_repeat(trajectory, sites))[:, None]


def host_drift(trajectory: Trajectory, sites: dict) -> np.ndarray:
    """Mean displacement (F, 3) in Å of the host from where the crystal has it, 0 for a network without host.

    Of `sites` the cell, the mobile element and the host count. Every host atom is matched once, in the first frame,
    with the nearest host site of its element. Units that turn on their places do not shift the mean.
    """
    frames = len(trajectory.positions)
    host = trajectory.numbers != atomic_numbers[sites["mobile"]]
    if not host.any() or not sites["host"]:
        return np.zeros((frames, 3))
    cell = own_cell(trajectory, sites)
    reference = np.array([atom["position"] for atom in sites["host"]])
    kinds = np.array([atomic_numbers[atom["element"]] for atom in sites["host"]])
    unknown = set(trajectory.numbers[host]) - set(kinds)
    if unknown:
        raise InputError(f"the trajectory has atoms of number {min(unknown)}, which the host of the sites has not")
    first = trajectory.positions[0, host] @ np.linalg.inv(cell)
    offset = first[:, None] - reference
    offset = (offset - np.round(offset)) @ cell
    away = np.linalg.norm(offset, axis=-1)
    away[trajectory.numbers[host][:, None] != kinds] = np.inf
    start = offset[np.arange(len(first)), away.argmin(axis=1)].mean(axis=0)
    moved = trajectory.positions[:, host].mean(axis=1, dtype=float)
    return start + moved - moved[0]


@numba.njit(cache=True)
def _assign(positions, drift, inverse, cell, basis, radius, site, image, outside):
    """Fill site, image, outside frame by frame; an ion that was in no core yet gets −1.

    Within a core the image is the nearest one in fractional coordinates; the site nearest of all, in a skewed cell, may
    be an image beside it.
    """
    reach = 1 if np.isinf(radius) else 0
    frames, ions = site.shape
    for frame in range(frames):
        for ion in range(ions):
            f = np.empty(3)
            for k in range(3):
                f[k] = 0.0
                for c in range(3):
                    f[k] += (positions[frame, ion, c] - drift[frame, c]) * inverse[c, k]
            nearest, best = -1, radius * radius
            best_image = np.zeros(3, np.int64)
            for s in range(len(basis)):
                r0, r1, r2 = np.round(f[0] - basis[s, 0]), np.round(f[1] - basis[s, 1]), np.round(f[2] - basis[s, 2])
                for n0 in range(int(r0) - reach, int(r0) + reach + 1):
                    for n1 in range(int(r1) - reach, int(r1) + reach + 1):
                        for n2 in range(int(r2) - reach, int(r2) + reach + 1):
                            d0, d1, d2 = f[0] - basis[s, 0] - n0, f[1] - basis[s, 1] - n1, f[2] - basis[s, 2] - n2
                            square = 0.0
                            for c in range(3):
                                x = d0 * cell[0, c] + d1 * cell[1, c] + d2 * cell[2, c]
                                square += x * x
                            if square < best:
                                best, nearest = square, s
                                best_image[0], best_image[1], best_image[2] = n0, n1, n2
            outside[frame, ion] = nearest < 0
            if nearest >= 0:
                site[frame, ion] = nearest
                image[frame, ion] = best_image
            elif frame > 0:
                site[frame, ion] = site[frame - 1, ion]
                image[frame, ion] = image[frame - 1, ion]
            else:
                site[frame, ion] = -1


def check_cores(sites: dict, core_radius_A: float) -> None:
    """Raise InputError where cores of the sites (content of a sites.json) overlap."""
    first, second, distance = closest_pair(sites)
    if 2 * core_radius_A >= distance:
        raise InputError(
            f"cores of radius {core_radius_A:g} Å overlap: sites {first} ({sites['sites'][first]['orbit']}) and "
            f"{second} ({sites['sites'][second]['orbit']}) are {distance:.2f} Å apart; expected a core radius of less "
            f"than {distance / 2:.2f} Å"
        )


def assign(trajectory: Trajectory, sites: dict, core_radius_A: float) -> Assignment:
    """Assign every ion of the mobile element to a site in every frame.

    An ion that starts outside every core counts as in the first core it enters. An infinite core radius assigns every
    ion to the nearest site at every moment, without hysteresis. Raises InputError for a core radius
    that does not fit the cell or lets cores overlap, a trajectory without mobile ions or of too few frames, and for an
    ion that is lost: that never enters a core, or enters none for as long as LOST_S says.
    """
    repeat, cell = supercell_repeat(trajectory, sites), own_cell(trajectory, sites)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    if not (0 < core_radius_A < heights.min() / 2 or np.isposinf(core_radius_A)):
        raise InputError(
            f"the core radius is {core_radius_A:g} Å; expected more than 0 and less than {heights.min() / 2:.2f} Å"
        )
    if np.isfinite(core_radius_A):
        check_cores(sites, core_radius_A)
    mobile = np.nonzero(trajectory.numbers == atomic_numbers[sites["mobile"]])[0]
    frames = len(trajectory.positions)
    if len(mobile) == 0 or frames < 2:
        raise InputError(f"{frames} frames with {len(mobile)} {sites['mobile']} ions: nothing to follow")
    basis = site_positions(sites)
    drift = host_drift(trajectory, sites)
    positions = np.ascontiguousarray(trajectory.positions[:, mobile])
    site = np.empty((frames, len(mobile)), np.int32)
    image = np.zeros((frames, len(mobile), 3), np.int32)
    outside = np.empty((frames, len(mobile)), np.bool_)
    _assign(positions, drift, np.linalg.inv(cell), cell, basis, core_radius_A, site, image, outside)

    first = (site >= 0).argmax(axis=0)
    lost = np.nonzero((site < 0).all(axis=0))[0]
    if len(lost):
        raise InputError(f"ion {sites['mobile']}{mobile[lost[0]]} never comes within {core_radius_A:g} Å of a site")
    frame_s = float(trajectory.time_ps[1] - trajectory.time_ps[0]) * 1e-12
    away, ends = _longest_absence(outside)
    worst = int(away.argmax())
    if away[worst] * frame_s > max(LOST_S[0], min(frames * frame_s / 2, LOST_S[1])):
        since, until = trajectory.time_ps[[ends[worst] - away[worst] + 1, ends[worst]]]
        raise InputError(
            f"ion {sites['mobile']}{mobile[worst]} is within {core_radius_A:g} Å of no site from {since:.1f} to "
            f"{until:.1f} ps: does the structure lack a site (find_sites.py looks for them), or did the ion leave it?"
        )
    for ion in np.nonzero(first)[0]:
        site[: first[ion], ion] = site[first[ion], ion]
        image[: first[ion], ion] = image[first[ion], ion]
    displacement = positions - drift[:, None] - (basis[site] + image) @ cell
    return Assignment(sites, repeat, site, image, outside, displacement.astype(np.float32), frame_s)


def _longest_absence(outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longest run of frames outside all cores of each ion, (N,), and the frame that it ends with; outside (F, N)."""
    length = np.zeros(outside.shape, np.int32)
    length[0] = outside[0]
    for frame in range(1, len(outside)):
        length[frame] = (length[frame - 1] + 1) * outside[frame]
    return length.max(axis=0), length.argmax(axis=0)


def mean_displacements(runs: Sequence[Assignment]) -> dict[str, np.ndarray]:
    """Mean of ion minus site (3,) in Å for each orbit's representative, over ions in cores, turned back to it.

    Of runs with the same sites. Orbits that no ion visited are absent.
    """
    sites = runs[0].sites["sites"]
    rotations = np.array([site["rotation"] for site in sites])
    # V = R V0: displacements of a site are turned into the representative's frame by Rᵀ.
    sums, visits = np.zeros((len(sites), 3)), np.zeros(len(sites))
    for run in runs:
        inside = ~run.outside
        np.add.at(sums, run.site[inside], run.displacement_A[inside])
        np.add.at(visits, run.site[inside], 1)
    turned = np.einsum("sji,sj->si", rotations, sums)
    orbit = np.array(site_orbits(runs[0].sites))
    return {
        str(label): turned[orbit == label].sum(axis=0) / visits[orbit == label].sum()
        for label in dict.fromkeys(orbit)
        if visits[orbit == label].sum() > 0
    }


def occupation(assignment: Assignment) -> np.ndarray:
    """(F, S) uint8, ions assigned to each site of the supercell."""
    frames, _ = assignment.site.shape
    count = np.zeros((frames, assignment.n_sites), np.uint8)
    np.add.at(count, (np.arange(frames)[:, None], assignment.supercell_site), 1)
    return count


def find_jumps(assignment: Assignment) -> Jumps:
    """Every change of core. A jump from site i of cell n to site j of cell n' has the image n' − n."""
    site, cell = assignment.site, assignment.cell
    changed = (site[1:] != site[:-1]) | (cell[1:] != cell[:-1]).any(axis=-1)
    frame, ion = np.nonzero(changed)
    start, end = site[frame, ion], site[frame + 1, ion]
    image = cell[frame + 1, ion] - cell[frame, ion]
    rows = {key: n for n, key in enumerate(directed_classes(assignment.sites))}
    orbit = site_orbits(assignment.sites)
    kinds = {
        (jump["from"], jump["to"], *jump["image"]): rows[jump["class"], orbit[jump["from"]], orbit[jump["to"]]]
        for jump in assignment.sites["jumps"]
    }
    kind = [kinds.get(key, -1) for key in zip(start.tolist(), end.tolist(), *image.T.tolist(), strict=True)]
    target, count = assignment.supercell_site[frame + 1, ion], occupation(assignment)
    return Jumps(
        time_s=(frame + 1) * assignment.frame_s,
        ion=ion,
        start=start,
        end=end,
        image=image,
        kind=np.array(kind, int),
        replacement=count[frame, target] > 0,
        into_occupied=count[frame + 1, target] > 1,
        duration_s=len(site) * assignment.frame_s,
    )


@numba.njit(cache=True)
def _exposed_frames(count, start, end, row, block, exposed):
    """Add, for each block of frames and class, ions at `start` while `end` is empty."""
    for frame in range(len(count)):
        for jump in range(len(start)):
            if count[frame, end[jump]] == 0:
                exposed[block[frame], row[jump]] += count[frame, start[jump]]


def blocks(frames: int, n_blocks: int) -> np.ndarray:
    """Block number (frames,) of every frame, blocks as equal as can be."""
    return np.arange(frames) * n_blocks // frames


def supercell_pairs(pairs: list[dict], m: int, repeat: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Sites of the supercell (pairs × cells,) that each of `pairs` (`from`, `to`, `image`) leads from and to.

    A cell holds m sites; the pairs of one entry come one after the other.
    """
    cells = supercell_cells(repeat)
    number = supercell_number(cells, repeat) * m
    start = np.concatenate([number + pair["from"] for pair in pairs])
    end = np.concatenate([supercell_number(cells + pair["image"], repeat) * m + pair["to"] for pair in pairs])
    return start, end


def ordered_pairs(sites: dict, repeat: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start and end (sites of the supercell) of every jump of the network, and its row of `directed_classes(sites)`."""
    rows = {key: n for n, key in enumerate(directed_classes(sites))}
    orbit = site_orbits(sites)
    start, end = supercell_pairs(sites["jumps"], len(sites["sites"]), repeat)
    kinds = [rows[jump["class"], orbit[jump["from"]], orbit[jump["to"]]] for jump in sites["jumps"]]
    return start, end, np.repeat(kinds, int(np.prod(repeat)))


def count_jumps(assignment: Assignment, jumps: Jumps, n_blocks: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Counts and exposures in s, both (blocks, directed classes), in the order of `directed_classes(sites)`.

    A jump belongs to the frame before it, in which it was possible.
    """
    sites = assignment.sites
    classes = directed_classes(sites)
    start, end, row = ordered_pairs(sites, assignment.repeat)
    frames = len(assignment.site)
    block = blocks(frames, n_blocks)
    exposed = np.zeros((n_blocks, len(classes)), np.int64)
    _exposed_frames(occupation(assignment), start, end, row, block, exposed)

    counts = np.zeros((n_blocks, len(classes)), np.int64)
    listed = jumps.kind >= 0
    before = np.round(jumps.time_s / assignment.frame_s).astype(int) - 1
    np.add.at(counts, (block[before[listed]], jumps.kind[listed]), 1)
    replaced = listed & jumps.replacement
    np.add.at(exposed, (block[before[replaced]], jumps.kind[replaced]), 1)
    return counts, exposed * assignment.frame_s


def radius_factors(
    trajectory: Trajectory, sites: dict, core_radius_A: float, counted: tuple[np.ndarray, np.ndarray]
) -> list[dict]:
    """How rates change with the core radius: one row for a radius smaller, and one larger, by a quarter.

    `counted` are the counts and exposures at `core_radius_A`. `rate_factor` is the jumps at the other radius over those
    expected of its exposures at the rates found at `core_radius_A`, all classes together: the maximum-likelihood
    estimate of one factor on all rates (half a jump is added to both, so that runs without jumps have the factor 1).
    The larger radius ends short of where cores touch. A radius at which some ion enters no core has a `reason` instead.
    """
    counts, exposures = (blocks.sum(axis=0) for blocks in counted)
    rates = np.divide(counts, exposures, out=np.zeros(len(counts)), where=exposures > 0)
    largest = 0.5 * closest_pair(sites)[2]
    rows = []
    for radius in (0.75 * core_radius_A, min(1.25 * core_radius_A, 0.5 * (core_radius_A + largest))):
        try:
            assignment = assign(trajectory, sites, radius)
        except InputError as error:
            rows.append({"core_radius_A": radius, "reason": str(error)})
            continue
        jumps = find_jumps(assignment)
        seen, exposed = (blocks.sum(axis=0) for blocks in count_jumps(assignment, jumps))
        found = summary(assignment, jumps)
        rows.append(
            {
                "core_radius_A": radius,
                **{name: found[name] for name in ("jumps", "jumps_per_ion_per_s", "returned_fraction")},
                "rate_factor": float((seen.sum() + 0.5) / (rates @ exposed + 0.5)),
            }
        )
    return rows


def occupancies(assignment: Assignment, n_blocks: int = 10) -> dict[str, dict[str, float]]:
    """Ions per site of every orbit, and its standard error over blocks of time, at most one a frame."""
    orbit = np.array(site_orbits(assignment.sites))
    n_blocks = min(n_blocks, len(assignment.site))
    block = blocks(len(assignment.site), n_blocks)
    cells = int(np.prod(assignment.repeat))
    found = {}
    for label in dict.fromkeys(orbit.tolist()):
        per_frame = (orbit == label)[assignment.site].sum(axis=1) / (cells * (orbit == label).sum())
        means = np.array([per_frame[block == b].mean() for b in range(n_blocks)])
        found[label] = {
            "ions_per_site": float(per_frame.mean()),
            "standard_error": float(means.std(ddof=1) / np.sqrt(n_blocks)),
        }
    return found


def summary(assignment: Assignment, jumps: Jumps) -> dict:
    """What the assignment left out, and how correlated the jumps are; plain values for JSON.

    `replacement_fraction`: jumps to sites that were occupied in the frame before; `into_occupied_fraction`: that stayed
    so in the frame after. `returned_fraction`: jumps that are undone by the same ion's next jump. Diffusion
    coefficients, Å²/ps: "uncorrelated" is Σ d²/(6 N t) of the jumps, what a random walk of so many jumps would do;
    "sites" and "ions" are slopes of the mean squared displacement, of the assigned sites and of the ions themselves,
    between lags of 1/8 and 1/4 of the run. The last two agree where the network of sites carries the whole transport.
    """
    orbit, cell = site_orbits(assignment.sites), np.array(assignment.sites["cell"])
    basis = site_positions(assignment.sites)
    unlisted = jumps.kind < 0
    strangers = Counter(
        f"{orbit[a]}-{orbit[b]}" for a, b in zip(jumps.start[unlisted], jumps.end[unlisted], strict=True)
    )
    count = occupation(assignment)
    steps = (basis[jumps.end] + jumps.image - basis[jumps.start]) @ cell
    ions, ps = assignment.site.shape[1], jumps.duration_s * 1e12
    order = np.lexsort((jumps.time_s, jumps.ion))
    same_ion = jumps.ion[order][1:] == jumps.ion[order][:-1]
    undone = same_ion & (np.linalg.norm(steps[order][1:] + steps[order][:-1], axis=1) < 1e-3)
    places = (basis[assignment.site] + assignment.cell) @ cell
    return {
        "ions": ions,
        "sites": assignment.n_sites,
        "frames": len(assignment.site),
        "duration_s": jumps.duration_s,
        "outside_fraction": float(assignment.outside.mean()),
        "double_occupied_fraction": float((count > 1).sum() / ((count > 0).sum())),
        "jumps": int((~unlisted).sum()),
        "jumps_per_ion_per_s": float((~unlisted).sum() / (ions * jumps.duration_s)),
        "jumps_unlisted": int(unlisted.sum()),
        "unlisted_by_orbits": dict(strangers.most_common()),
        "replacement_fraction": float(jumps.replacement.mean()) if len(steps) else 0.0,
        "into_occupied_fraction": float(jumps.into_occupied.mean()) if len(steps) else 0.0,
        "returned_fraction": float(undone.sum() / max(len(steps), 1)),
        "diffusion_A2_per_ps": {
            "uncorrelated": float((steps**2).sum() / (6 * ions * ps)),
            "sites": _diffusion(places, assignment.frame_s * 1e12),
            "ions": _diffusion(places + assignment.displacement_A, assignment.frame_s * 1e12),
        },
        "occupancies": occupancies(assignment),
    }


def _diffusion(positions: np.ndarray, frame_ps: float) -> float:
    """Slope/6 of the mean squared displacement of positions (F, N, 3), Å²/ps, between lags of F/8 and F/4."""
    short, long = max(1, len(positions) // 8), max(2, len(positions) // 4)
    msd = [((positions[lag:] - positions[:-lag]) ** 2).sum(axis=-1).mean() for lag in (short, long)]
    return float((msd[1] - msd[0]) / (6 * (long - short) * frame_ps))
