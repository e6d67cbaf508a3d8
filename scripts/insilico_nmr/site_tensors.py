"""Field gradients of the sites of mobile ions: averages of the tensor model over molecular dynamics.

Every tensor of every ion is turned into the frame of its orbit's representative site, averaged over frames, ions and
runs, made symmetric under the site's own point group, and turned back to each site. Nuclei are classical; at every
moment an ion counts for the site that it is nearest to, so that excursions belong to a site's average.

Two errors are kept apart, both as sets of whole tensors, so that any observable can be computed anew on each: the
committee's members, and samples, replicates of the committee's mean by a bootstrap over the histories (one ion of one
run) that it was averaged over. The content of a site_tensors.json:

    temperature_K   of the thermostat
    isotope         for example 7Li
    method          in words
    outside_domain  part of the ions in the frames that most members find unlike all that they know
    spread_factor   by which the members' deviations from their mean were multiplied
    dft_error       relative standard deviation of DFT's field gradients from measured ones
    states          one a site of the primitive cell, in the Cartesian frame of the cell of sites.json, atomic units:
        index, orbit
        tensor      3×3, mean over the committee
        members     [3×3 per committee member]
        samples     [3×3 per replicate]: the standard deviation of an observable over them (one less than their number
                    in the divisor) is its sampling error. Replicate n is one draw of all states together, so an
                    observable takes replicate n of every state
        histories   number of (run, ion) that visited the orbit; where it is 1 samples are of frames, a lower bound
        filled      part of the time that each neighbouring site is filled, in the order of `surroundings.neighbours`
        spread_within_site  root-mean-square deviation of a component of a single ion's momentary tensor
        shielding, shielding_members, shielding_samples
                    likewise of shieldings, ppm, antisymmetric part kept; where there is a committee of them. Replicates
                    are of the same draws; `spread_factor` is of field gradients and not in these
"""

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.events import assign
from insilico_nmr.sites import in_frame_of_representative
from insilico_nmr.surroundings import filled, neighbours
from insilico_nmr.tensor_model import TensorModel, mostly_outside
from insilico_nmr.tensors import to_components
from insilico_nmr.trajectory import Trajectory
from insilico_nmr.uncertainty import widened

SAMPLES = 8
# Tensors of one orbit's histories in the frame of its representative: number of the (run, ion) → (members, k, 3, 3).
Histories = dict[int, np.ndarray]


def symmetrised(tensors: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Average of S V Sᵀ over the matrices S (g, 3, 3) of a point group; tensors (..., 3, 3)."""
    return np.einsum("gik,...kl,gjl->...ij", group, tensors, group) / len(group)


def collect(
    trajectories: list[Trajectory], sites: dict, committee: list[TensorModel], n_frames: int
) -> dict[int, Histories]:
    """Tensors in the frame of each orbit's representative: representative → histories, numbered over runs and ions.

    `n_frames` frames, evenly spaced, are taken from every trajectory. Raises InputError for fewer than one, and for
    trajectories of different target temperatures.
    """
    if n_frames < 1:
        raise InputError(f"{n_frames} frames a run; expected at least 1")
    targets = sorted({trajectory.target_temperature_K for trajectory in trajectories})
    if len(targets) > 1:
        raise InputError(f"runs at {' and '.join(f'{target:g}' for target in targets)} K; expected one temperature")
    representative = np.array([site["representative"] for site in sites["sites"]])
    collected: dict[int, Histories] = {int(index): {} for index in np.unique(representative)}
    history = 0
    for trajectory in trajectories:
        assignment = assign(trajectory, sites, np.inf)
        mobile = trajectory.frame(0).symbols == sites["mobile"]
        frames = trajectory.evenly_spaced(n_frames)
        tensors = np.array(
            [[model.predict(trajectory.frame(frame))[mobile] for frame in frames] for model in committee]
        )
        tensors = in_frame_of_representative(sites, assignment.site[frames], tensors)
        home = representative[assignment.site[frames]]
        for ion in range(tensors.shape[2]):
            for index in np.unique(home[:, ion]):
                collected[int(index)][history] = tensors[:, home[:, ion] == index, ion]
            history += 1
    return collected


def site_means(sites: dict, of_orbits: dict[int, np.ndarray]) -> np.ndarray:
    """Mean tensor of every site, (S, 3, 3), from tensors (k, 3, 3) in the frame of each orbit's representative.

    Of any kind of tensor; symmetric under the site's point group. Raises InputError for an orbit without a tensor.
    """
    means = []
    for site in sites["sites"]:
        tensors = of_orbits.get(site["representative"], np.empty((0, 3, 3)))
        if len(tensors) == 0:
            raise InputError(f"site {site['orbit']} was not visited: it has no tensor")
        mean = symmetrised(tensors.mean(axis=0), np.array(sites["stabilisers"][str(site["representative"])]))
        turn = np.array(site["rotation"])
        means.append(turn @ mean @ turn.T)
    return np.array(means)


def collected_by_orbit(sites: dict, site: np.ndarray, tensors: np.ndarray) -> dict[int, np.ndarray]:
    """Tensors (F, N, 3, 3) of ions on sites (F, N), by representative of the orbit and in its frame, (k, 3, 3)."""
    turned = in_frame_of_representative(sites, site, tensors)
    home = np.array([entry["representative"] for entry in sites["sites"]])[site]
    return {int(index): turned[home == index] for index in np.unique(home)}


def neighbours_filled(trajectories: list[Trajectory], sites: dict, n_frames: int) -> list[list[float]]:
    """Part of the time that each neighbour of a site is filled while an ion is on it, (S, z), over the frames of
    `collect`; equal for neighbours that the site's point group turns into one another.

    Raises InputError for an orbit that no ion visited.
    """
    near = neighbours(sites)
    home = np.array([entry["representative"] for entry in sites["sites"]])
    sums, counts = {index: 0.0 for index in near.permutations}, dict.fromkeys(near.permutations, 0)
    for trajectory in trajectories:
        assignment, frames = assign(trajectory, sites, np.inf), trajectory.evenly_spaced(n_frames)
        site, cell = assignment.site[frames], assignment.cell[frames]
        occupied = filled(near, assignment.repeat, site, cell)
        for index in sums:
            here = home[site] == index
            sums[index] = sums[index] + occupied[here].sum(axis=0)
            counts[index] += int(here.sum())
    means = {}
    for index, orders in near.permutations.items():
        if not counts[index]:
            raise InputError(f"site {sites['sites'][index]['orbit']} was not visited: it has no neighbours")
        mean = (sums[index] / counts[index])[: near.count[index]]
        means[index] = np.mean([mean[np.argsort(order)] for order in orders], axis=0)
    return [means[int(index)].tolist() for index in home]


def outside_domain(trajectories: list[Trajectory], element: str, committee: list[TensorModel], n_frames: int) -> float:
    """Part of the ions of `element` that most members find unlike all that they know, over the frames of `collect`."""
    flags = []
    for trajectory in trajectories:
        for frame in trajectory.evenly_spaced(n_frames):
            atoms = trajectory.frame(frame)
            flags.append(mostly_outside(committee, atoms)[atoms.symbols == element])
    return float(np.mean(flags))


def replicates(values: np.ndarray, weights: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Replicates (samples, 3, 3) of the mean of values (n, 3, 3) with weights (n,), by the multiplier bootstrap.

    Each value's deviation from the mean counts z times, `draws` (samples, n) being normal random numbers z (A. W. van
    der Vaart, J. A. Wellner, Weak Convergence and Empirical Processes (1996), section 2.9). No value is ever left out,
    so that the mean stays defined, and the variance is the squared standard error, n/(n − 1) Σ w²(V − V̄)², for any
    effective number n of values, and 0 where one value has all the weight.
    """
    weights = weights / weights.sum()
    mean = np.einsum("n,nij->ij", weights, values)
    effective = 1 / (weights**2).sum()
    stretch = np.sqrt(effective / max(effective - 1, 1e-12))
    return mean + stretch * np.einsum("sn,nij->sij", draws * weights, values - mean)


def site_tensors(
    sites: dict, collected: dict[int, Histories], seed: int, spread_factor: float = 1.0, n_samples: int = SAMPLES
) -> list[dict]:
    """Rows `states` of the contract in the module's docstring; `collected` as `collect` gives it.

    The members' deviations from their mean are multiplied by `spread_factor`. Histories are drawn together for all
    orbits. Raises InputError for an orbit that no ion visited.
    """
    rng = np.random.default_rng(seed)
    n_histories = 1 + max((history for histories in collected.values() for history in histories), default=0)
    draws = rng.normal(size=(n_samples, n_histories))
    averages = {}
    for index, histories in collected.items():
        if not histories:
            orbit = sites["sites"][index]["orbit"]
            raise InputError(f"site {orbit} was not visited in any run at this temperature: it has no tensor")
        group = np.array(sites["stabilisers"][str(index)])
        momentary = np.concatenate([tensors.mean(axis=0) for tensors in histories.values()])
        frames = np.array([tensors.shape[1] for tensors in histories.values()], float)
        means = symmetrised(np.array([tensors.mean(axis=1) for tensors in histories.values()]), group)
        members = widened(np.einsum("h,hmij->mij", frames / frames.sum(), means), spread_factor)
        if len(histories) > 1:
            samples = replicates(means.mean(axis=1), frames, draws[:, list(histories)])
        else:
            values = symmetrised(momentary, group)
            samples = replicates(values, np.ones(len(values)), rng.normal(size=(n_samples, len(values))))
        spread = float(np.sqrt(to_components(momentary - members.mean(axis=0)).var(axis=0).mean()))
        averages[index] = (members, samples, {"histories": len(histories), "spread_within_site": spread})
    states = []
    for site in sites["sites"]:
        turn = np.array(site["rotation"])
        *sets, numbers = averages[site["representative"]]
        members, samples = (np.einsum("ik,nkl,jl->nij", turn, tensors, turn) for tensors in sets)
        state = {"index": site["index"], "orbit": site["orbit"], "tensor": members.mean(axis=0).tolist()}
        states.append(state | {"members": members.tolist(), "samples": samples.tolist()} | numbers)
    return states
