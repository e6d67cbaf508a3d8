"""The network of sites that ions jump on: primitive cell, rates at one temperature, and a periodic supercell of it.

Ions exclude each other from sites and do not interact otherwise. A jump from site i to a vacant site j then has
the rate k_ij whatever its surroundings, and where the rates obey detailed balance, k_ij / k_ji = w_j / w_i, every
occupation pattern of a fixed number of ions has the weight Π w_i over the occupied sites (R. Kutner, Phys. Lett. A
81, 239 (1981)). That is what makes the equilibrium averages at the end of this file exact.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import signal, stats
from scipy.optimize import brentq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from insilico_nmr.errors import InputError
from insilico_nmr.sites import check_network, site_orbits

# Largest |Δ ln w| by which the rates around a closed loop of orbits may miss detailed balance.
BALANCE_TOLERANCE = 1e-3
# Largest part by which fixing the number of ions in a finite box may change how often jumps of any class are made.
# Where MAX_SITES do not suffice for that, the largest box is taken as long as it deviates by no more than this; a moved
# rate model, which only tells how far curves may move, by factors, may deviate by more.
LARGEST_DEVIATION, LARGEST_DEVIATION_MOVED = 0.1, 0.5
# Where carriers are thermal pairs (an ion on a site of high energy and the vacancy that it left), L of them on average,
# the box has too few by 1 − I₁(2L)/I₀(2L), about 1/(4L) (modified Bessel functions).
SIZE_TOLERANCE = 0.03
MAX_SITES = 100_000
# kmc.py keeps a bit for each jump of a site, and one for its ion, in 32 bits.
MAX_SLOTS = 31

Rates = dict[tuple[str, str, str], float]


@dataclass(frozen=True)
class Lattice:
    """A supercell of n1×n2×n3 cells with m sites each and z jump slots a site; S = n1 n2 n3 m sites.

    Site number = cell number × m + site of the primitive cell; cells are numbered along a Z-order curve, which
    keeps neighbours close in memory. A jump is numbered site × z + slot. The `jump_*` tables hold what is the same in
    every cell, by jump of the primitive cell; jumps of one directed class fill a run of slots. An unused slot has the
    target −1.

    Attributes
    ----------
    cell : (3, 3) float, Å, primitive cell vectors as rows.
    basis : (m, 3) float, Å, Cartesian positions of the primitive cell's sites.
    orbit : (m,) str, orbit label of each site.
    log_weight : (m,) float, ln of the Boltzmann weight of each site, the largest being 0.
    supercell : (n1, n2, n3).
    jump_target : (m z,) int32, site of the primitive cell at the end of the jump, or −1.
    jump_image : (m z, 3) int32, cells crossed by the jump.
    jump_back : (m z,) int32, slot, at the target, of the jump back.
    jump_class : (m z,) int32, directed class of the jump, a row of `rates`.
    rates : (C,) float, 1/s, rates of the directed classes.
    class_names : C tuples (class, from orbit, to orbit).
    first_slot, width : (C,) int64, the run of slots of each directed class.
    neighbour : (S z,) int32, site at the end of each jump.
    """

    cell: np.ndarray
    basis: np.ndarray
    orbit: tuple[str, ...]
    log_weight: np.ndarray
    supercell: tuple[int, int, int]
    jump_target: np.ndarray
    jump_image: np.ndarray
    jump_back: np.ndarray
    jump_class: np.ndarray
    rates: np.ndarray
    class_names: tuple[tuple[str, str, str], ...]
    first_slot: np.ndarray
    width: np.ndarray
    neighbour: np.ndarray

    @property
    def n_sites(self) -> int:
        """S, the number of sites of the supercell."""
        return int(np.prod(self.supercell)) * len(self.basis)

    @property
    def slots(self) -> int:
        """z, the number of jump slots of every site."""
        return len(self.jump_target) // len(self.basis)

    @property
    def used(self) -> np.ndarray:
        """(m z,) bool, the slots of the primitive cell that hold a jump."""
        return self.jump_target >= 0

    @property
    def links(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start and end (sites of the primitive cell) and rate in 1/s of every jump of the primitive cell."""
        start = np.repeat(np.arange(len(self.basis)), self.slots)[self.used]
        return start, self.jump_target[self.used], self.rates[self.jump_class[self.used]]

    @property
    def steps(self) -> np.ndarray:
        """Displacement of every jump of `links`, shape (J, 3), Å."""
        start, end, _ = self.links
        return self.basis[end] - self.basis[start] + self.jump_image[self.used] @ self.cell

    def cells_of(self, sites: np.ndarray) -> np.ndarray:
        """Cell (n, 3) that each of these sites of the supercell, (n,), is in."""
        return _z_order(self.supercell)[0][np.asarray(sites) // len(self.basis)]

    @property
    def component(self) -> np.ndarray:
        """(m,) int, label of the connected part of the network that each site of the primitive cell belongs to."""
        start, end, rate = self.links
        return connected_components(coo_array((rate, (start, end)), shape=(len(self.basis),) * 2), directed=False)[1]


def read_rates(path: str | Path, temperature: float) -> Rates:
    """Rates in 1/s by (class, from orbit, to orbit), from the "model" rows of a rate table at `temperature` (K).

    Raises InputError where columns are missing, the temperature is absent or a row is double.
    """
    try:
        table = pd.read_csv(path, dtype={"class": str, "from": str, "to": str, "origin": str})
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table ({error})") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: empty, expected a table of rates") from None
    columns = ["class", "from", "to", "temperature_K", "rate_per_s", "origin"]
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing")
    table = table[table["origin"] == "model"]
    if table.empty:
        raise InputError(f"{path}: no row has the origin 'model', which kinetic Monte Carlo uses")
    for column in ("temperature_K", "rate_per_s"):
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise InputError(f"{path}: column {column} holds something that is not a number")
    at_temperature = table[np.isclose(table["temperature_K"], temperature, rtol=1e-6, atol=0)]
    if at_temperature.empty:
        present = ", ".join(f"{value:g}" for value in sorted(table["temperature_K"].unique()))
        raise InputError(f"{path}: no rates at {temperature:g} K; it has {present} K")
    rates: Rates = {}
    for row in at_temperature.itertuples(index=False, name=None):
        named = dict(zip(table.columns, row, strict=True))
        key = (named["class"], named["from"], named["to"])
        if key in rates:
            raise InputError(f"{path}: two rates for class {key[0]} from {key[1]} to {key[2]} at {temperature:g} K")
        rates[key] = float(named["rate_per_s"])
        _check_rate(key, rates[key], str(path))
    return rates


def read_network_rates(path: str | Path, temperature: float, sites: dict) -> Rates:
    """`read_rates`, checked to be those of the network `sites` (`network_log_weights`)."""
    rates = read_rates(path, temperature)
    network_log_weights(sites, rates, str(path))
    return rates


def build_lattice(sites: dict, rates: Rates, supercell: tuple[int, int, int], source: str = "sites") -> Lattice:
    """Replicate the network `sites` (content of a sites.json) into a supercell, with the given rates.

    Jumps of rate zero are left out. Raises InputError, naming the offending site or class of `source`, where jumps
    lack their reverse, are double or lead nowhere; where rates are missing, negative, not finite, all zero or break
    detailed balance; where orbits are not linked, so that their occupations are undetermined; and where the
    supercell is so small that a jump ends on an image of its own start.
    """
    check_network(sites, source)
    cell = np.array(sites["cell"], float)
    basis = np.array([site["position"] for site in sites["sites"]], float) @ cell
    orbit = tuple(site_orbits(sites))
    if len(supercell) != 3 or min(supercell) < 1:
        raise InputError(f"the supercell is three positive whole numbers, not {supercell}")
    log_weight = network_log_weights(sites, rates, source)
    jumps = [jump for jump in _directed_jumps(sites, orbit) if rates[jump["rate"]] > 0]
    names = tuple(sorted({jump["rate"] for jump in jumps}))

    # Runs of slots: the classes that leave an orbit one after the other, each as wide as its busiest site needs.
    m = len(basis)
    leaving = Counter((jump["from"], jump["rate"]) for jump in jumps)
    width = np.array([max(leaving[site, name] for site in range(m)) for name in names])
    first_slot = np.array(
        [width[[b < a and names[b][1] == name[1] for b in range(len(names))]].sum() for a, name in enumerate(names)]
    )
    z = int((first_slot + width).max())
    if z > MAX_SLOTS:
        crowded = names[int((first_slot + width).argmax())][1]
        raise InputError(f"{source}: {z} jumps leave a site of orbit {crowded}; at most {MAX_SLOTS} are possible")
    if int(np.prod(supercell, dtype=object)) * m * z >= 2**31:
        raise InputError(f"a supercell of {supercell} holds more than 2^31 jumps: choose a smaller one")
    slot_of, taken = {}, Counter()
    for jump in jumps:
        a, start = names.index(jump["rate"]), jump["from"]
        slot_of[start, jump["to"], jump["image"]] = first_slot[a] + taken[start, a]
        taken[start, a] += 1
    target = np.full((m, z), -1, np.int32)
    back, of_class = np.zeros((m, z), np.int32), np.zeros((m, z), np.int32)
    image = np.zeros((m, z, 3), np.int32)
    for jump in jumps:
        at = jump["from"], slot_of[jump["from"], jump["to"], jump["image"]]
        target[at], image[at], of_class[at] = jump["to"], jump["image"], names.index(jump["rate"])
        back[at] = slot_of[jump["to"], jump["from"], tuple(-x for x in jump["image"])]

    neighbour = sites_reached(supercell, target, image)
    itself = ((neighbour[0] == np.arange(m)[:, None]) & (target >= 0)).any(1)
    if itself.any():
        site = int(itself.argmax())
        raise InputError(
            f"{source}: in a supercell of {supercell} site {site} ({orbit[site]}) is its own neighbour: "
            "choose a larger one"
        )
    return Lattice(
        cell=cell,
        basis=basis,
        orbit=orbit,
        log_weight=log_weight,
        supercell=tuple(int(n) for n in supercell),
        jump_target=target.ravel(),
        jump_image=image.reshape(-1, 3),
        jump_back=back.ravel(),
        jump_class=of_class.ravel(),
        rates=np.array([rates[name] for name in names]),
        class_names=names,
        first_slot=first_slot,
        width=width,
        neighbour=neighbour.ravel(),
    )


def sites_reached(supercell: tuple[int, int, int], target: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Number of the site `target` (m, w), in the cell `image` (m, w, 3) away, from every cell: (cells, m, w) int32."""
    cells, number = _z_order(supercell)
    reached = (cells[:, None, None, :] + image) % np.array(supercell)
    return (number[tuple(np.moveaxis(reached, -1, 0))] * len(target) + target).astype(np.int32)


def widths_of(cell: np.ndarray) -> np.ndarray:
    """Distances (3,) between opposite faces of a cell (3, 3), rows in Å."""
    return 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def wide_enough(cell: np.ndarray, supercell: list[int], reach_A: float) -> tuple[int, int, int]:
    """The supercell, or a larger one in which no two images of a site are neighbours within `reach_A` of one ion."""
    needed = np.ceil(2 * reach_A / widths_of(cell) - 1e-9).astype(int)
    return tuple(int(n) for n in np.maximum(supercell, needed))


def _z_order(supercell: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n, 3) along a Z-order curve that starts at (0, 0, 0), and the number of each cell, (n1, n2, n3)."""
    cells = np.stack(np.meshgrid(*map(np.arange, supercell), indexing="ij"), axis=-1).reshape(-1, 3)
    key = np.zeros(len(cells), np.int64)
    for bit in range(int(max(supercell)).bit_length()):
        for axis in range(3):
            key |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    order = np.argsort(key)
    number = np.empty(len(cells), np.int64)
    number[order] = np.arange(len(cells))
    return cells[order], number.reshape(supercell)


def _directed_jumps(sites: dict, orbit: tuple[str, ...]) -> list[dict]:
    """Jumps as dicts of from, to, image (tuple) and rate (class, from orbit, to orbit)."""
    jumps = []
    for jump in sites["jumps"]:
        start, end, image = int(jump["from"]), int(jump["to"]), tuple(int(x) for x in jump["image"])
        jumps.append({"from": start, "to": end, "image": image, "rate": (jump["class"], orbit[start], orbit[end])})
    return jumps


def _check_rate(directed: tuple[str, str, str], rate: float, source: str) -> None:
    if not np.isfinite(rate) or rate < 0:
        name, start, end = directed
        raise InputError(
            f"{source}: class {name} from {start} to {end} has the rate {rate}; expected a number ≥ 0 in 1/s"
        )


def check_rates(names: Iterable[tuple[str, str, str]], rates: Rates, source: str) -> None:
    """Raise InputError unless every one of these directed classes has a rate, finite, not negative and reversible."""
    for name, start, end in sorted(names):
        if (name, start, end) not in rates:
            raise InputError(f"{source}: no rate is given for class {name} from {start} to {end}")
        rate = rates[name, start, end]
        _check_rate((name, start, end), rate, source)
        if rate == 0 and rates.get((name, end, start), 0) > 0:
            raise InputError(
                f"{source}: class {name}: rate zero from {start} to {end} but not back breaks detailed balance"
            )


def network_log_weights(sites: dict, rates: Rates, source: str) -> np.ndarray:
    """ln w of every site, (m,), as `log_weights` has it. Raises InputError, naming `source` and the class, where rates
    are missing, negative, not finite, all zero or break detailed balance, or do not link all orbits."""
    orbit = tuple(site_orbits(sites))
    names = {jump["rate"] for jump in _directed_jumps(sites, orbit)}
    check_rates(names, rates, source)
    moving = tuple(sorted(name for name in names if rates[name] > 0))
    if not moving:
        raise InputError(f"{source}: every rate is zero, so that no ion can ever jump")
    return log_weights(moving, rates, orbit, source)


def log_weights(
    names: tuple[tuple[str, str, str], ...], rates: Rates, orbit: tuple[str, ...], source: str
) -> np.ndarray:
    """ln w of every site, shape (m,), from w_to / w_from = k(from → to) / k(to → from), class by class."""
    log_weight = {orbit[0]: 0.0}
    grown = True
    while grown:
        grown = False
        for name, start, end in names:
            if start in log_weight and end not in log_weight:
                log_weight[end] = log_weight[start] + np.log(rates[name, start, end] / rates[name, end, start])
                grown = True
    for label in dict.fromkeys(orbit):
        if label not in log_weight:
            raise InputError(
                f"{source}: no jump links orbit {label} with {orbit[0]}, so that their occupations are undetermined"
            )
    for name, start, end in names:
        miss = np.log(rates[name, start, end] / rates[name, end, start]) - (log_weight[end] - log_weight[start])
        if abs(miss) > BALANCE_TOLERANCE:
            raise InputError(
                f"{source}: class {name} between {start} and {end} breaks detailed balance with the other classes by "
                f"{abs(miss):.3g} in ln(rate ratio): the rate model must be thermodynamically consistent"
            )
    values = np.array([log_weight[label] for label in orbit])
    return values - values.max()


@dataclass(frozen=True)
class Equilibrium:
    """Exact averages over all ways to place `n_ions` ions, weighted by Π w_i.

    occupation : (m,) ⟨n_a⟩ of the primitive cell's sites, between 0 and 1.
    flux : (J,) jumps per second along each of `Lattice.links` in one cell.
    mean_square_jump_A2 : mean of the squared length of the jumps that are made, Å².
    """

    n_ions: int
    occupation: np.ndarray
    flux: np.ndarray
    mean_square_jump_A2: float

    @property
    def exit_rate(self) -> float:
        """Jumps per ion and second."""
        return float(self.flux.sum() / self.occupation.sum())

    @property
    def per_ion(self) -> np.ndarray:
        """(J,) jumps per second and ion along each of `Lattice.links`."""
        return self.flux / self.occupation.sum()

    @property
    def population(self) -> np.ndarray:
        """p, (m,): probability that a given ion is on each site of the primitive cell, Σ = 1."""
        return self.occupation / self.occupation.sum()


def number_of_ions(lattice: Lattice, concentration: float) -> int:
    """Ions in the supercell at `concentration` ions per site. Raises InputError unless 0 < ions < sites."""
    if not 0 < concentration < 1:
        raise InputError(f"the concentration is {concentration}; expected more than 0 and less than 1 ions per site")
    n_ions = round(concentration * lattice.n_sites)
    if not 0 < n_ions < lattice.n_sites:
        raise InputError(
            f"a concentration of {concentration} puts {n_ions} ions on {lattice.n_sites} sites: "
            "choose a larger supercell"
        )
    return n_ions


def _groups(lattice: Lattice, n_ions: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sites of one energy, their number and Fermi occupation at the filling: group of each site (m,), (G,), (G,).

    The binomial distributions of the groups, conditioned on the total, are the exact distribution of fixed n_ions.
    """
    log_weight, group = np.unique(np.round(lattice.log_weight, 9), return_inverse=True)
    size = np.bincount(group) * (lattice.n_sites // len(lattice.basis))
    reach = 60.0 - log_weight.min()
    potential = brentq(lambda mu: (size * expit(log_weight + mu)).sum() - n_ions, -reach, reach, xtol=1e-13)
    return group, size, expit(log_weight + potential)


def equilibrium(lattice: Lattice, n_ions: int) -> Equilibrium:
    """Exact canonical averages of exclusion without interactions, at any size of the supercell.

    The number of ions in a group of equal sites is binomial given that all add up to n_ions. For two sites of
    different weight, ⟨n_a(1 − n_b)⟩ follows from detailed balance, w_b⟨n_a(1 − n_b)⟩ = w_a⟨n_b(1 − n_a)⟩, and
    ⟨n_a(1 − n_b)⟩ − ⟨n_b(1 − n_a)⟩ = ⟨n_a⟩ − ⟨n_b⟩.
    """
    group, size, filling = _groups(lattice, n_ions)
    chance = [stats.binom.pmf(np.arange(min(n, n_ions) + 1), n, f) for n, f in zip(size, filling, strict=True)]
    occupation, pairs = np.empty(len(size)), np.empty(len(size))
    for g in range(len(size)):
        rest = np.ones(1)
        for h in range(len(size)):
            if h != g:
                rest = signal.convolve(rest, chance[h])[: n_ions + 1]
        count = np.arange(max(0, n_ions + 1 - len(rest)), len(chance[g]))
        joint = chance[g][count] * rest[n_ions - count]
        joint /= joint.sum()
        occupation[g] = (joint * count).sum() / size[g]
        pairs[g] = (joint * count * (size[g] - count)).sum() / max(size[g] * (size[g] - 1), 1)

    start, end, rate = lattice.links
    gain = lattice.log_weight[end] - lattice.log_weight[start]
    same = group[start] == group[end]
    free = np.where(
        same,
        pairs[group[start]],
        (occupation[group[start]] - occupation[group[end]]) / -np.expm1(np.where(same, 1.0, gain)),
    )
    per_site, flux = occupation[group], rate * free
    square_A2 = float(flux @ (lattice.steps**2).sum(1) / flux.sum())
    return Equilibrium(n_ions, per_site, flux, square_A2)


def size_deviation(lattice: Lattice, concentration: float) -> float:
    """Largest relative deviation, over the classes of jumps, of how often they are made from the endless lattice.

    In this supercell the number of ions is fixed; without that the sites are independent, each filled as Fermi's
    distribution says. The mean exit rate alone would not tell: jumps to and fro between a full and an empty site are
    made as often in any box, while a walk needs carriers.
    """
    here = equilibrium(lattice, number_of_ions(lattice, concentration))
    group, _, filling = _groups(lattice, concentration * lattice.n_sites)
    filled = filling[group]
    start, end, rate = lattice.links
    directed = lattice.jump_class[lattice.used]
    endless = np.bincount(directed, rate * filled[start] * (1 - filled[end]))
    return float(np.abs(np.bincount(directed, here.flux) / endless - 1).max())


def grown_supercell(
    cell: np.ndarray,
    sites_per_cell: int,
    smallest: tuple[int, int, int],
    deviation: Callable[[tuple[int, int, int]], float],
    what: str,
    source: str,
    moved: bool,
) -> tuple[int, int, int]:
    """The first supercell, by one cell at a time along the shortest edge, with a `deviation` of up to SIZE_TOLERANCE.

    Where MAX_SITES do not suffice the largest, with a warning on stderr: `what` deviates, by how many % in braces, from
    an endless lattice. Raises InputError where it does by more than LARGEST_DEVIATION, or LARGEST_DEVIATION_MOVED of a
    rate model that is `moved`.
    """
    supercell = smallest
    while (off := deviation(supercell)) > SIZE_TOLERANCE:
        larger = list(supercell)
        larger[int(np.argmin(np.linalg.norm(cell, axis=1) * supercell))] += 1
        if np.prod(larger) * sites_per_cell > MAX_SITES:
            tolerated = LARGEST_DEVIATION_MOVED if moved else LARGEST_DEVIATION
            met = (
                f"{source}: in a supercell of {supercell}, the largest of up to {MAX_SITES} sites, "
                f"{what.format(100 * off)} than in an endless lattice"
            )
            if off > tolerated:
                raise InputError(
                    f"{met} (tolerated: {100 * tolerated:g} %): there are too few carriers; simulate at a higher "
                    "temperature"
                )
            print(f"warning: {met}", file=sys.stderr)
            break
        supercell = tuple(larger)
    return supercell


def converged_lattice(
    sites: dict,
    rates: Rates,
    smallest: tuple[int, int, int],
    concentration: float,
    source: str = "sites",
    moved: bool = False,
) -> Lattice:
    """The first supercell, from `smallest` on, with a `size_deviation` of at most SIZE_TOLERANCE; see `build_lattice`.

    It grows by one cell at a time along its shortest edge. Where MAX_SITES do not suffice the largest is taken, with a
    warning on stderr; `moved`: the rates are those of a rate model that is moved. Raises InputError where even that
    deviates by more than LARGEST_DEVIATION(_MOVED): carriers are then too rare for a simulation of this kind.
    """
    lattice = build_lattice(sites, rates, tuple(smallest), source)

    def deviation(supercell: tuple[int, int, int]) -> float:
        nonlocal lattice
        if supercell != lattice.supercell:
            lattice = build_lattice(sites, rates, supercell, source)
        return size_deviation(lattice, concentration)

    what = "jumps are still made {:.0f} % more or less often"
    grown_supercell(lattice.cell, len(lattice.basis), lattice.supercell, deviation, what, source, moved)
    return lattice


def equilibrium_occupation(lattice: Lattice, n_ions: int, rng: np.random.Generator) -> np.ndarray:
    """Sites of n_ions ions drawn from the exact equilibrium distribution, shape (n_ions,), int32.

    Numbers per group of equal sites are binomial and are drawn until they add up; inside a group all placements
    are alike. No run-in is needed, however slow the slowest jumps are.
    """
    group, size, filling = _groups(lattice, n_ions)
    numbers = np.empty((0, len(size)), np.int64)
    while not len(numbers):
        drawn = rng.binomial(size, filling, size=(500, len(size)))
        numbers = drawn[drawn.sum(1) == n_ions]
    member = np.tile(group, lattice.n_sites // len(lattice.basis))
    placed = [rng.choice(np.nonzero(member == g)[0], n, replace=False) for g, n in enumerate(numbers[0])]
    # Which ion is where must not depend on the group it was drawn with.
    return rng.permutation(np.concatenate(placed)).astype(np.int32)
