"""Do jumps in molecular dynamics forget, as jumps of kinetic Monte Carlo do?

In kinetic Monte Carlo the ions' occupations alone say what comes next: a jump to an empty site of its class has its
rate whatever came before. Two consequences can be tested on a trajectory, given the rates counted in it.

Frames are what is seen: an ion leaves from one frame to the next with the probability h, the sum of the rates of the
jumps that are possible for it times the time between frames. All below holds for such chains of frames, however large
h is; what happens between two frames is in neither test.

Stays: −ln(1 − h), summed from the frame in which an ion is first seen at a site to the one in which it is last seen
there, with a random part of the last, is distributed as exp(−u), although the surroundings change meanwhile (discrete
time-rescaling theorem: R. Haslinger, G. Pipa, E. Brown, Neural Comput. 22, 2477 (2010); in continuous time F.
Papangelou, Trans. Am. Math. Soc. 165, 483 (1972)). Stays that the end of the run cuts off are completed by random
draws, which are harmless: under the hypothesis the rest is exp(−u) too.

Refills: how often a site that was just left, and is still vacant in the frame after, is filled again by the same ion (a
return) or by another one (a chain, or concerted motion), is on average the sum of the probabilities of such jumps.
Both are counted and expected, frame by frame, until the sum of those of all jumps into the site reaches WINDOW. An ion
that follows within a frame is a replacement (`events`) and not among them.
"""

from dataclasses import dataclass

import numba
import numpy as np
from scipy import stats

from insilico_nmr.events import Assignment, Jumps, occupation, ordered_pairs
from insilico_nmr.sites import site_orbits

WINDOW = 0.1
MOST_LIKELY = 0.99
STAY_COLUMNS = ["orbit", "stays", "departures", "mean_stay_s", "mean_rescaled", "share_below_0.1"]
STAY_COLUMNS += ["share_below_0.1_expected", "ks_distance", "ks_p_value"]
REFILL_COLUMNS = ["kind", "found", "expected", "ratio", "ci_low", "ci_high"]


@dataclass(frozen=True)
class Stays:
    """Of all ions, in no order: orbit of the site, time in s and as an integral of rates, and whether its end was seen.

    A stay begins with an arrival that was seen.
    """

    orbit: np.ndarray
    time_s: np.ndarray
    rescaled: np.ndarray
    ended: np.ndarray


@numba.njit(cache=True)
def _site_rates(count, start, end, rate, out, into):
    """Per frame: rate (S) at which an ion on each site leaves it, and at which a vacant site is filled."""
    for frame in range(len(count)):
        for pair in range(len(start)):
            if count[frame, end[pair]] == 0:
                out[frame, start[pair]] += rate[pair]
                into[frame, end[pair]] += rate[pair] * count[frame, start[pair]]


def _rates_of_sites(assignment: Assignment, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, S) float32 each, 1/s: out of a site, if it holds an ion, and into it, if it is vacant."""
    start, end, row = ordered_pairs(assignment.sites, assignment.repeat)
    count = occupation(assignment)
    out, into = np.zeros(count.shape, np.float32), np.zeros(count.shape, np.float32)
    _site_rates(count, start, end, rates[row], out, into)
    return out, into


def _rescaled(hazard: np.ndarray) -> np.ndarray:
    """−ln(1 − h) of probabilities; of ones that the rates make too large, as of the largest that is sensible."""
    return -np.log1p(-np.minimum(hazard, MOST_LIKELY))


def stays(assignment: Assignment, jumps: Jumps, rates: np.ndarray, seed: int) -> Stays:
    """Stays between the `jumps` of each ion; `rates` (C,) in 1/s in the order of `directed_classes`.

    `seed` draws the moments within last frames.
    """
    rng = np.random.default_rng(seed)
    out, _ = _rates_of_sites(assignment, rates)
    frames, ions = assignment.site.shape
    hazard = np.take_along_axis(out, assignment.supercell_site, axis=1).astype(float) * assignment.frame_s
    survived = np.concatenate([np.zeros((1, ions)), _rescaled(hazard).cumsum(axis=0)])
    orbit = np.array(site_orbits(assignment.sites))
    arrived = np.round(jumps.time_s / assignment.frame_s).astype(int)  # first frame on the new site
    # A jump to a site that another ion was still assigned to was possible within the frame; see events.
    extra = np.where(jumps.replacement & (jumps.kind >= 0), rates[jumps.kind] * assignment.frame_s, 0.0)
    rows = []
    for ion in range(ions):
        mine = np.flatnonzero(jumps.ion == ion)
        mine = mine[np.argsort(arrived[mine])]
        for place, jump in enumerate(mine):
            ended = place + 1 < len(mine)
            until = arrived[mine[place + 1]] if ended else frames
            last = until - 1  # frame on the site
            rescaled = survived[last, ion] - survived[arrived[jump], ion]
            if ended:
                rescaled += _rescaled(rng.random() * (hazard[last, ion] + extra[mine[place + 1]]))
            rows.append((jumps.end[jump], (until - arrived[jump]) * assignment.frame_s, rescaled, ended))
    end, time_s, rescaled, ended = np.array(rows, float).reshape(-1, 4).T
    return Stays(orbit[end.astype(int)], time_s, rescaled, ended.astype(bool))


def stay_rows(runs: list[Stays], seed: int) -> list[dict]:
    """How stays compare with exp(−u), one row an orbit: means, share below 0.1, Kolmogorov-Smirnov test.

    Orbits that no ion was seen to leave after a stay are left out. `seed` draws the completions.
    """
    orbit, time_s, rescaled, ended = (
        np.concatenate([getattr(run, name) for run in runs]) for name in ("orbit", "time_s", "rescaled", "ended")
    )
    whole = rescaled + np.where(ended, 0.0, np.random.default_rng(seed).exponential(size=len(rescaled)))
    rows = []
    for label in np.unique(orbit).tolist():
        mine = orbit == label
        departures = int(ended[mine].sum())
        if departures == 0:
            continue
        test = stats.kstest(whole[mine], "expon")
        rows.append(
            {
                "orbit": label,
                "stays": int(mine.sum()),
                "departures": departures,
                "mean_stay_s": float(time_s[mine].sum() / departures),
                "mean_rescaled": float(rescaled[mine].sum() / departures),
                "share_below_0.1": float((whole[mine] < 0.1).mean()),
                "share_below_0.1_expected": float(-np.expm1(-0.1)),
                "ks_distance": float(test.statistic),
                "ks_p_value": float(test.pvalue),
            }
        )
    return rows


@numba.njit(cache=True)
def _refills(count, into, site_of, frame, ion, vacated, first, source, rate, frame_s, window, found, expected):
    """Follow each vacated site until it is filled or the window ends: columns 0 return, 1 chain."""
    for jump in range(len(frame)):
        site, integral = vacated[jump], 0.0
        for now in range(frame[jump] + 1, len(count) - 1):
            if count[now, site] > 0 or integral >= window:
                break
            own = 0.0
            for pair in range(first[site], first[site + 1]):
                if source[pair] == site_of[now, ion[jump]]:
                    own += rate[pair]
            expected[0] += own * frame_s
            expected[1] += (into[now, site] - own) * frame_s
            integral += into[now, site] * frame_s
            if count[now + 1, site] > 0:
                found[0 if site_of[now + 1, ion[jump]] == site else 1] += 1


def refills(assignment: Assignment, jumps: Jumps, rates: np.ndarray) -> np.ndarray:
    """Of all jumps along the network: [[returns, chains] found, [returns, chains] expected], float."""
    start, end, row = ordered_pairs(assignment.sites, assignment.repeat)
    order = np.argsort(end, kind="stable")
    first = np.searchsorted(end[order], np.arange(assignment.n_sites + 1))
    _, into = _rates_of_sites(assignment, rates)
    listed = jumps.kind >= 0
    frame = np.round(jumps.time_s[listed] / assignment.frame_s).astype(int) - 1
    ion = jumps.ion[listed]
    site_of = assignment.supercell_site
    found, expected = np.zeros(2, np.int64), np.zeros(2)
    _refills(
        occupation(assignment), into, site_of, frame, ion, site_of[frame, ion], first, start[order], rates[row][order],
        assignment.frame_s, WINDOW, found, expected,
    )  # fmt: skip
    return np.array([found, expected])


def refill_rows(found: np.ndarray) -> list[dict]:
    """Rows of returns and chains from the sum of `refills`: their ratio with an interval of 95 % (Poisson)."""
    rows = []
    for kind, seen, expected in zip(("return", "chain"), *found, strict=True):
        low, high = stats.chi2.ppf([0.025, 0.975], [2 * seen, 2 * seen + 2]) / 2
        ratios = {"ratio": seen, "ci_low": np.nan_to_num(low), "ci_high": high}
        rows.append({"kind": kind, "found": int(seen), "expected": float(expected)})
        rows[-1] |= {name: float(value / expected) if expected > 0 else np.nan for name, value in ratios.items()}
    return rows
