"""Width of the central line by dipolar couplings at one temperature, from kinetic Monte Carlo of all ions.

Replicas start from equilibrium; each follows the couplings of some ions to all others, and to host atoms at their
places in the crystal, from one origin on: until the signal has decayed, ten times as long as it would take at rest (a
hundred times where it has not decayed by then), or the budget of jumps ends.
Where it ends first, replicas go on with frequent jumps slowed, as for the propagator (`insilico_nmr.stages`): the part
of the couplings that these average away is lost by then, and what rare jumps do to the rest is seen. Their correlation
function, as a sum of exponentials, gives the line by Anderson and Weiss (`insilico_nmr.dipolar`): one line of all ions,
those that move and those that stay.

One row: `fwhm_Hz` with its standard error over replicas (Student's t), `rigid_fwhm_Hz` of ions at rest,
`second_moment_rad2_per_s2` at rest and the part of it that the mobile element has (`mobile_part`),
`correlation_time_s`, and `remaining`, the part of the second moment left at the last time. `complete` is 0 where signal
is left then, and so is, by three standard errors, a part whose line alone, at rest, would be more than a third as wide
as the line: that part is taken to be lost no more slowly than, on average, what has been lost up to then, and the width
is a lower bound.
`shift` is that of the rate model. Elements that resources/nuclei.csv does not have have no spin here, and are named.
"""

import argparse
import sys
from functools import partial

import numpy as np
import pandas as pd
from insilico_nmr import dipolar, stages
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_over_replicas
from insilico_nmr.files import atomic_path
from insilico_nmr.lattice import wide_enough
from insilico_nmr.moving import Mover, asked_for, exit_rate, lattice_of, run_snapshots, seed_at, start_in_equilibrium
from insilico_nmr.nuclei import check_element, isotopes, nucleus
from insilico_nmr.rate_shifts import add_rate_arguments
from insilico_nmr.relaxation import Decay, fit_decay
from insilico_nmr.sites import read_network

WATCHED = 150  # ions a replica whose surroundings are followed
TIMES_PER_DECADE = 10
LONGEST_RESIDENCES = 1e4
SIGNAL_LENGTHS = 10, 100  # in 1/√M₂ of ions at rest: no signal is left after the first, unless the line is narrowed
TAIL = 0.3  # width that what is left would have alone, over that of the line, from where on it matters
SPENT = 6.0  # −ln of the signal from where on what is left of it does not shape the line


def times_of(mover: Mover, n_ions: int, signal_s: float, max_events: int) -> np.ndarray:
    """Times from 0 on, s: to the end of the signal, or as far as the jumps reach."""
    residence_s = 1 / exit_rate(mover, n_ions)
    last = min(signal_s, min(LONGEST_RESIDENCES, max_events / n_ions) * residence_s)
    first = 0.01 * min(residence_s, last)
    count = int(TIMES_PER_DECADE * np.log10(last / first)) + 1
    return np.concatenate([[0.0], np.geomspace(first, last, count)])


def moments_of_replicas(
    mover: Mover, n_ions: int, sites: dict, isotope: str, seed: int, replicas: int, max_events: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Times (T,), M₂(t) of each replica by kind of partner (R, T, 1 + host elements), and whether the signal has
    decayed by the last of them."""
    check_element(isotope, sites.get("mobile"))
    observed = nucleus(isotope)
    elements = list(dict.fromkeys(atom["element"] for atom in sites["host"]))
    unknown = [element for element in [sites["mobile"], *elements] if not isotopes(element)]
    if unknown:
        print(f"{', '.join(unknown)}: not in resources/nuclei.csv, taken to have no spin", file=sys.stderr)
    strengths = np.array([dipolar.strength(observed, element) for element in [sites["mobile"], *elements]])
    host = np.array([atom["position"] for atom in sites["host"]], float).reshape(-1, 3) @ lattice_of(mover).cell
    kind = np.array([elements.index(atom["element"]) for atom in sites["host"]], int)
    watched = np.arange(min(n_ions, WATCHED))

    def followed(hopping: Mover, times: np.ndarray) -> np.ndarray:
        found = []
        for replica in range(replicas):
            start, state = start_in_equilibrium(hopping, n_ions, np.random.default_rng([seed, replica]))
            records = run_snapshots(hopping, state, times)
            found.append(dipolar.pair_sums(lattice_of(hopping), start, records, host, kind, watched) * strengths)
        return np.array(found)

    at_rest = followed(mover, np.zeros(1)).sum(axis=-1).mean()
    if not at_rest > 0:
        raise InputError(f"{isotope} has no neighbour with a spin within {dipolar.REACH_A:g} Å: no dipolar width")

    def spent(times: np.ndarray, moments: np.ndarray) -> bool:
        by_replica = moments.sum(axis=-1)
        decay = decay_of(times, by_replica.mean(axis=0), error_over_replicas(by_replica), True)
        return bool(dipolar.exponent(decay, times[-1:])[0] > SPENT)

    for lengths in SIGNAL_LENGTHS:
        signal_s = lengths / np.sqrt(at_rest)
        times, moments = stages.followed_in_stages(
            mover, n_ions, partial(times_of, n_ions=n_ions, signal_s=signal_s, max_events=max_events), followed, spent
        )
        if (decayed := spent(times, moments)) or times[-1] < signal_s * (1 - 1e-9):
            break
    return times, moments, decayed


def decay_of(times: np.ndarray, moments: np.ndarray, errors: np.ndarray, spent: bool) -> Decay:
    """M₂(t), (T,), as exponentials; as slow as may be where the signal is `spent` by the last time.

    Where times end before the signal does, none is slower than the one that would lead from the first to the last.
    """
    lost = -np.log(np.clip(moments[-1] / moments[0], 1e-12, 0.999))
    return fit_decay(times, moments, moments[0] - moments, errors, slowest=1e3 if spent else max(1.0, 1 / lost))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", metavar="SITES", help="sites.json: sites, jumps and host atoms of the primitive cell")
    add_rate_arguments(parser)
    parser.add_argument("--isotope", required=True, help="observed nucleus, for example 7Li")
    parser.add_argument("--supercell", type=int, nargs=3, required=True, metavar=("N1", "N2", "N3"),
                        help="cells, at least; grows to hold all pairs and enough carriers")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=6, help="independent runs, at least 2 (default: %(default)s)")
    parser.add_argument("--max-events", type=int, default=10_000_000, help="jumps in a replica, at most (default: 1e7)")
    parser.add_argument("--out", required=True, help="CSV of one row")
    arguments = parser.parse_args()
    if arguments.replicas < 2:
        raise InputError(f"--replicas is {arguments.replicas}; standard errors need at least 2")

    sites = read_network(arguments.sites)
    smallest = wide_enough(np.array(sites["cell"], float), arguments.supercell, dipolar.REACH_A)
    mover, n_ions = asked_for(arguments, sites, smallest)
    seed = seed_at(arguments.seed, arguments.temperature)
    times, moments, spent = moments_of_replicas(
        mover, n_ions, sites, arguments.isotope, seed, arguments.replicas, arguments.max_events
    )
    by_replica = moments.sum(axis=-1)
    mean, errors = by_replica.mean(axis=0), error_over_replicas(by_replica)
    decay = decay_of(times, mean, errors, spent)
    widths = [
        dipolar.anderson_weiss(decay_of(times, one, np.sqrt(arguments.replicas) * errors, spent)) for one in by_replica
    ]
    remaining, width = mean[-1] / mean[0], dipolar.anderson_weiss(decay)
    tail = decay.weight @ np.exp(-decay.rate_per_s * times[-1])
    row = {
        "temperature_K": arguments.temperature,
        "shift": arguments.shift,
        "fwhm_Hz": width,
        "se_sampling_Hz": float(error_over_replicas(np.array(widths))),
        "rigid_fwhm_Hz": dipolar.rigid_width(mean[0]),
        "second_moment_rad2_per_s2": mean[0],
        "mobile_part": moments[:, 0, 0].mean() / mean[0],
        "correlation_time_s": decay.correlation_time_s,
        "remaining": remaining,
        "complete": int(spent or mean[-1] < 3 * errors[-1] or dipolar.rigid_width(tail) < TAIL * width),
    }
    print(
        f"{n_ions} ions in a supercell {lattice_of(mover).supercell}; central line {row['fwhm_Hz']:.4g} ± "
        f"{row['se_sampling_Hz']:.2g} Hz, at rest {row['rigid_fwhm_Hz']:.4g} Hz; pairs beyond {dipolar.REACH_A:g} Å "
        f"are left out; {100 * remaining:.2g} % of the second moment are left after {times[-1]:.3g} s",
        file=sys.stderr,
    )
    with atomic_path(arguments.out) as temporary:
        pd.DataFrame([row]).to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
