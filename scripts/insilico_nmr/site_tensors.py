"""Field gradients of the sites of mobile ions: averages of the tensor model over molecular dynamics.

Every tensor of every ion is turned into the frame of its orbit's representative site, averaged over frames, ions and
runs, made symmetric under the site's own point group, and turned back to each site. Nuclei are classical; at every
moment an ion counts for the site that it is nearest to, so that excursions belong to a site's average.
"""

import numpy as np

from insilico_nmr.errors import InputError
from insilico_nmr.events import assign
from insilico_nmr.tensor_model import TrainedModel
from insilico_nmr.tensors import to_components
from insilico_nmr.trajectory import Trajectory


def symmetrised(tensors: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Average of S V Sᵀ over the matrices S (g, 3, 3) of a point group; tensors (..., 3, 3)."""
    return np.einsum("gik,...kl,gjl->...ij", group, tensors, group) / len(group)


def collect(
    trajectories: list[Trajectory], sites: dict, committee: list[TrainedModel], n_frames: int
) -> dict[int, list[np.ndarray]]:
    """Tensors in the frame of each orbit's representative: representative → list over (run, ion) of (members, k, 3, 3).

    `n_frames` frames, evenly spaced, are taken from every trajectory.
    """
    rotation = np.array([site["rotation"] for site in sites["sites"]])
    representative = np.array([site["representative"] for site in sites["sites"]])
    collected: dict[int, list[np.ndarray]] = {int(index): [] for index in np.unique(representative)}
    for trajectory in trajectories:
        assignment = assign(trajectory, sites, np.inf)
        mobile = trajectory.frame(0).symbols == sites["mobile"]
        frames = np.unique(np.linspace(0, len(trajectory.time_ps) - 1, n_frames).astype(int))
        tensors = np.array(
            [[model.predict(trajectory.frame(frame))[mobile] for frame in frames] for model in committee]
        )
        turned = rotation[assignment.site[frames]]
        tensors = np.einsum("fnki,mfnkl,fnlj->mfnij", turned, tensors, turned)
        home = representative[assignment.site[frames]]
        for ion in range(tensors.shape[2]):
            for index in np.unique(home[:, ion]):
                collected[int(index)].append(tensors[:, home[:, ion] == index, ion])
    return collected


def site_tensors(sites: dict, collected: dict[int, list[np.ndarray]]) -> list[dict]:
    """Rows `states` of the site tensors' contract, one a site of the primitive cell; tensors in atomic units.

    `sem` is the standard error over (run, ion) means, turned into the site's frame; `spread_within_site` the
    root-mean-square deviation of one component of a single ion's momentary tensor. Raises InputError for an orbit that
    no ion visited.
    """
    averages = {}
    for index, samples in collected.items():
        orbit = sites["sites"][index]["orbit"]
        if not samples:
            raise InputError(f"site {orbit} was not visited in any run at this temperature: it has no tensor")
        group = np.array(sites["stabilisers"][str(index)])
        weights = np.array([sample.shape[1] for sample in samples], float)
        means = symmetrised(np.array([sample.mean(axis=1) for sample in samples]), group)
        members = np.einsum("s,smij->mij", weights / weights.sum(), means)
        committee_means = means.mean(axis=1)
        deviations = committee_means - members.mean(axis=0)
        effective = weights.sum() ** 2 / (weights**2).sum()
        variance = np.einsum("s,sij->ij", weights / weights.sum(), deviations**2)
        momentary = np.concatenate([sample.mean(axis=0) for sample in samples])
        averages[index] = {
            "members": members,
            "sem": np.sqrt(variance / max(1.0, effective - 1)),
            "spread": float(np.sqrt(to_components(momentary - members.mean(axis=0)).var(axis=0).mean())),
        }
    states = []
    for site in sites["sites"]:
        average, turn = averages[site["representative"]], np.array(site["rotation"])
        members = np.einsum("ik,mkl,jl->mij", turn, average["members"], turn)
        states.append(
            {
                "index": site["index"],
                "orbit": site["orbit"],
                "tensor": members.mean(axis=0).tolist(),
                "members": members.tolist(),
                "sem": np.abs(np.einsum("ik,kl,jl->ij", turn, average["sem"], turn)).tolist(),
                "spread_within_site": average["spread"],
            }
        )
    return states
