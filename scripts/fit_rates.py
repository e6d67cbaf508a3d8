"""One thermodynamically consistent rate model from MD counts and NEB barriers, and its rates at any temperature.

Barriers of NEB, their mean over arrangements of the other ions and committee members, enter for the classes that MD
saw fewer than --min-count times; those of the others are laid beside. The error is their standard deviation about the
class means, pooled over all classes since each has few paths, and at least --neb-error. One path in one arrangement is
off by that much, and the mean is given no smaller error: arrangements are few, and those of ions at rest.

A barrier over which MD would hardly have seen the jumps that it did see (probability below one in a thousand, with the
barrier two errors lower and the attempt frequency two factors higher) is not that of the way they took: ions moved
together, say, while the others stand still in NEB. It is left out, and named.

Directed classes whose jumps end within a frame or two have no rate that MD could tell: such a site is left, as soon as
its ion has come, by the next. The model gives them no barrier, within k_BT of the runs, in place of their counts and of
NEB's barrier.

Vineyard's attempt frequencies of the paths are laid beside the model's one (in the model's file) and not fitted: they
stand for harmonic vibrations about single minima of the potential, which an ion at the temperatures of MD leaves.
Rates of NEB laid beside the model's have them: of the class where it has a path with one, or else of all paths.

MD above --mark-above, where the phase is not stable, takes no part in the model; where there is some, a second model
fitted to all temperatures is given beside it, in rows of origin "model_with_marked", to show what that changes.

What the members of the potential's committee disagree on, along the same MD (--member-energies, of
compare_members.py), widens the intervals; --out-members has the site energies and barriers of each member's runs alone.

With --neighbours ions interact: jumps are sorted by what their neighbours do to them, the model has the strength of the
interactions as a parameter more, and its rates, like those of MD beside them, are those among the mean occupancies of
the file of interactions. Of a NEB path the mean of both directions counts: their difference is that of its neighbours.

What the choice of a core radius does to all MD rates alike (radius_log_sd of the counts, root-mean-square over the
temperatures) is a systematic error of the prefactor. Rates of the model are given at --temperatures and at those of MD.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, write_json
from insilico_nmr.member_energies import covariance, read_differences
from insilico_nmr.neighbourhoods import (
    among_mean_occupancies,
    of_all_members,
    read_interactions,
    read_neighbours,
)
from insilico_nmr.rate_members import check_sums
from insilico_nmr.rate_shifts import STRENGTH
from insilico_nmr.rates import (
    BOLTZMANN_EV_PER_K,
    NebBarrier,
    RateModel,
    fit_rates,
    model_table,
    read_counts,
    unresolved,
    up_to,
    write_rates,
)
from insilico_nmr.sites import read_sites
from insilico_nmr.tables import read_table
from scipy import stats

MEMBER_COLUMNS = ["member", "quantity", "class", "from", "to", "value", "standard_error_eV", "reason"]


def read_barriers(path: Path, least_error_eV: float, sites: dict) -> list[NebBarrier]:
    """Mean of the converged barriers of each class, seen from both ends, with the pooled spread as error.

    Raises InputError where the table lacks a column or holds what is no number, or a class that the sites have not.
    """
    table = read_table(path, ["forward_eV", "backward_eV"], ["class", "from", "to", "status"], may_be_empty=True)
    unknown = set(table["class"]) - {entry["name"] for entry in sites["classes"]}
    if unknown:
        raise InputError(f"{path}: class {', '.join(sorted(unknown))} is none of the sites'")
    sampled = []
    converged = table[table["status"] == "converged"]
    for (name, start, end), rows in converged.groupby(["class", "from", "to"], sort=False):
        sides = {(name, start, end): ["forward_eV"], (name, end, start): ["backward_eV"]}
        if start == end:
            # Both ends are the same kind of site: both barriers measure one number.
            sides = {(name, start, end): ["forward_eV", "backward_eV"]}
        for directed, columns in sides.items():
            values = rows[columns].to_numpy(float).ravel()
            if not np.isfinite(values).all():
                raise InputError(f"{path}: class {name} has a converged row without a barrier")
            sampled.append((directed, values))
    freedom = sum(len(values) - 1 for _, values in sampled)
    pooled = np.sqrt(sum(values.var() * len(values) for _, values in sampled) / freedom) if freedom else 0.0
    error = max(least_error_eV, float(pooled))
    return [NebBarrier(directed, float(values.mean()), error) for directed, values in sampled]


def vineyard_prefactors(path: Path, prefactor_per_s: float, factor: float) -> list[dict]:
    """Geometric mean of the paths' attempt frequencies by directed class, 1/s, spread as a factor, and their number.

    Last those of all paths together, the mean over the `prefactor_per_s` that was expected, and how many lie within
    `factor` of it.
    """
    table = pd.read_csv(path, dtype={"class": str, "from": str, "to": str})
    sides = {"forward_prefactor_per_s": ["from", "to"], "backward_prefactor_per_s": ["to", "from"]}
    missing = set(sides) - set(table)
    if missing:
        raise InputError(f"{path}: column {', '.join(sorted(missing))} is missing")
    named = [
        table[["class", *ends, column]].set_axis(["class", "from", "to", "per_s"], axis=1)
        for column, ends in sides.items()
    ]
    long = pd.concat(named).astype({"per_s": float}).dropna(subset="per_s")  # the column of no path is not a number's
    if not (np.isfinite(long["per_s"]) & (long["per_s"] > 0)).all():
        raise InputError(f"{path}: a prefactor is not a positive number")
    long["log"] = np.log(long["per_s"])

    def summary(log: pd.Series) -> dict:
        return {
            "geometric_mean_per_s": float(np.exp(log.mean())),
            "spread_factor": float(np.exp(log.std(ddof=0))),
            "paths": len(log),
        }

    rows = [
        dict(zip(("class", "from", "to"), key, strict=True)) | summary(part["log"])
        for key, part in long.groupby(["class", "from", "to"], sort=False)
    ]
    if rows:
        every = summary(long["log"])
        within = (long["log"] - np.log(prefactor_per_s)).abs() <= np.log(factor)
        every |= {"over_expected": every["geometric_mean_per_s"] / prefactor_per_s, "within_factor": int(within.sum())}
        rows.append({"class": "all"} | every)
    return rows


def log_attempts(
    vineyard: list[dict], barriers: list[NebBarrier], factor: float
) -> dict[tuple[str, str, str], tuple[float, float]]:
    """ln ν (1/s) of the directed classes of `barriers` by `vineyard_prefactors`, and its standard deviation: that of
    all paths about their mean, or ln `factor` of fewer than three. Empty where no path has one.

    Of a barrier that is the mean of both sides, the geometric mean of both.
    """
    if not vineyard:
        return {}
    every = vineyard[-1]
    error = np.log(every["spread_factor"] if every["paths"] > 2 else factor)
    own = {(row["class"], row["from"], row["to"]): np.log(row["geometric_mean_per_s"]) for row in vineyard[:-1]}
    found = {}
    for barrier in barriers:
        name, start, end = barrier.directed
        sides = [barrier.directed, *([(name, end, start)] if barrier.kinetic else [])]
        known = [own[side] for side in sides if side in own] or [np.log(every["geometric_mean_per_s"])]
        found |= dict.fromkeys(sides, (float(np.mean(known)), error))
    return found


def read_member_counts(path: Path, mark_above_K: float) -> pd.DataFrame:
    """Counts of each member's runs that take part in the model."""
    table = read_counts(path)
    if "member" not in table:
        raise InputError(f"{path}: column member is missing")
    return up_to(table, mark_above_K, path)


def without(directed: list[tuple[str, str, str]], counts: pd.DataFrame) -> pd.DataFrame:
    """Counts of all other directed classes."""
    keys = pd.Series(list(zip(counts["class"], counts["from"], counts["to"], strict=True)), counts.index)
    return counts[~keys.isin(directed)].reset_index(drop=True)


def of_one_member(fit: Callable[[pd.DataFrame], RateModel], member_counts: pd.DataFrame, member: int) -> list[dict]:
    """Rows of one member's runs alone: attempt frequency, site energies and barriers, or why there are none."""
    try:
        model = fit(member_counts[member_counts["member"] == member].reset_index(drop=True))
    except InputError as error:
        return [{"member": member, "quantity": "none", "reason": str(error)}]
    rows = [{"quantity": "prefactor_per_s", "value": model.prefactor_per_s}]
    rows += [
        {"quantity": "site_energy_eV", "from": name, "value": energy} for name, energy in model.site_energies_eV.items()
    ]
    rows += [{"quantity": "barrier_eV", "value": row.pop("barrier_eV")} | row for row in barrier_rows(model)]
    return [{"member": member} | row for row in rows]


def with_members(model: RateModel, path: Path) -> tuple[RateModel, dict[str, float]]:
    """The model with what the potential's data leave open in its covariance, and its standard deviations in eV by name
    of orbit and class."""
    differences, names = read_differences(path, model)
    added = covariance(differences)
    among = slice(1, 1 + len(names))
    total = model.covariance.copy()
    total[among, among] += added
    return replace(model, covariance=total), dict(zip(names, np.sqrt(added.diagonal()).tolist(), strict=True))


def barrier_rows(model: RateModel) -> list[dict]:
    """Barriers of all directed classes with their errors, for the model's file."""
    rows = ((*key, *model.barrier_eV(key)) for key in model.directed)
    return [dict(zip(("class", "from", "to", "barrier_eV", "standard_error_eV"), row, strict=True)) for row in rows]


def as_row(barrier: NebBarrier) -> dict:
    """For the model's file."""
    row = dict(zip(("class", "from", "to"), barrier.directed, strict=True))
    return row | {"barrier_eV": barrier.energy_eV, "error_eV": barrier.error_eV}


def of_both_sides(barriers: list[NebBarrier]) -> list[NebBarrier]:
    """The mean of both sides of each class: what neighbours do to their difference is not what others would do."""
    found = []
    for name in dict.fromkeys(barrier.directed[0] for barrier in barriers):
        sides = [barrier for barrier in barriers if barrier.directed[0] == name]
        energy = float(np.mean([barrier.energy_eV for barrier in sides]))
        found.append(NebBarrier(sides[0].directed, energy, sides[0].error_eV, kinetic=len(sides) > 1))
    return found


def ways_taken(
    barriers: list[NebBarrier], counts: pd.DataFrame, prefactor_per_s: float, factor: float
) -> tuple[list[NebBarrier], list[NebBarrier]]:
    """Barriers that allow for the jumps that MD saw of their class in each direction, and those that do not."""
    refused = set()
    for barrier in barriers:
        name, start, end = barrier.directed
        rows = counts[(counts["class"] == name) & (counts["from"] == start) & (counts["to"] == end)]
        lowest = (barrier.energy_eV - 2 * barrier.error_eV) / BOLTZMANN_EV_PER_K
        rates = prefactor_per_s * factor**2 * np.exp(-lowest / rows["temperature_K"])
        # Where the way back is free, many returns are expected, whatever the way there: each direction is judged alone.
        if stats.poisson.sf(rows["count"].sum() - 1, float(rates @ rows["exposure_s"])) < 1e-3:
            refused.add(name)
    taken, others = [], []
    for barrier in barriers:
        (others if barrier.directed[0] in refused else taken).append(barrier)
    return taken, others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=Path, help="counts of analyse_jumps.py, CSV")
    parser.add_argument("--members", type=Path, required=True, help="counts of each member of the potential, CSV")
    parser.add_argument("--member-energies", type=Path, help="what the members make of the same MD, CSV")
    parser.add_argument("--sites", type=Path, required=True, help="sites.json")
    parser.add_argument("--neb", type=Path, help="barriers of run_neb.py, CSV")
    parser.add_argument(
        "--neighbours", type=Path, help="counts of each member by what neighbours do to them, CSV: ions interact"
    )
    parser.add_argument("--interactions", type=Path, help="what --neighbours was counted with, JSON")
    parser.add_argument("--out-interactions", type=Path, help="the same with the strength found, for run_kmc.py, JSON")
    parser.add_argument("--min-count", type=int, required=True, help="rarer classes take their NEB barrier in")
    parser.add_argument("--neb-error", type=float, required=True, help="eV, least error of a NEB barrier")
    parser.add_argument("--prefactor", type=float, required=True, help="attempt frequency expected beforehand, 1/s")
    parser.add_argument("--prefactor-factor", type=float, required=True, help="factor within which it is expected")
    parser.add_argument(
        "--mark-above", type=float, default=np.inf, metavar="T", help="K; MD above takes no part in the model"
    )
    parser.add_argument("--temperatures", type=float, nargs="+", required=True, metavar="T", help="K, model rows")
    parser.add_argument("--out", type=Path, required=True, help="rates, CSV")
    parser.add_argument("--out-members", type=Path, required=True, help="model of each member's runs alone, CSV")
    parser.add_argument("--model", type=Path, required=True, help="parameters, JSON")
    args = parser.parse_args()
    if len({bool(path) for path in (args.neighbours, args.interactions, args.out_interactions)}) > 1:
        raise InputError("--neighbours, --interactions and --out-interactions go together")

    sites, all_counts = read_sites(args.sites), read_counts(args.counts)
    counts = up_to(all_counts, args.mark_above, args.counts)
    seen = counts.groupby("class")["count"].sum()
    rare = {entry["name"] for entry in sites["classes"] if seen.get(entry["name"], 0) < args.min_count}
    found = read_barriers(args.neb, args.neb_error, sites) if args.neb else []
    vineyard = vineyard_prefactors(args.neb, args.prefactor, args.prefactor_factor) if args.neb else []
    possible, impossible = ways_taken(found, counts, args.prefactor, args.prefactor_factor)
    barriers = [barrier for barrier in possible if barrier.directed[0] in rare]
    fast = unresolved(counts)
    thermal_eV = BOLTZMANN_EV_PER_K * float(counts["temperature_K"].mean())
    members = read_member_counts(args.members, args.mark_above)
    check_sums(members, counts)
    seen_counts = without(fast, all_counts)
    if args.neighbours:
        found, barriers = of_both_sides(found), of_both_sides(barriers)
        neighbours = read_neighbours(args.neighbours, all_counts)
        all_counts, members = of_all_members(neighbours), up_to(neighbours, args.mark_above, args.neighbours)
        counts = up_to(all_counts, args.mark_above, args.neighbours)
    # MD has seen that these barriers are crossed at once, whatever NEB found among ions at rest.
    taken = [barrier for barrier in barriers if barrier.kinetic or barrier.directed not in fast]
    taken += [NebBarrier(key, 0.0, thermal_eV) for key in fast]
    counts, all_counts, members = (without(fast, table) for table in (counts, all_counts, members))
    radius_log_sd = float(np.sqrt((counts.groupby("temperature_K")["radius_log_sd"].first() ** 2).mean()))

    def fit(part: pd.DataFrame, log_sd_of_all: float = 0.0) -> RateModel:
        return fit_rates(sites["classes"], part, taken, args.prefactor, args.prefactor_factor, log_sd_of_all)

    model, spread, plain = fit(counts, radius_log_sd), None, None
    if args.member_energies:
        model, spread = with_members(model, args.member_energies)
    if model.interacting:
        other = fit(up_to(seen_counts, args.mark_above, args.counts))
        plain = {name: getattr(other, name) for name in ("site_energies_eV", "chi_squared", "degrees_of_freedom")}
    temperatures = sorted({*args.temperatures, *all_counts["temperature_K"].tolist()})
    attempts = log_attempts(vineyard, found, args.prefactor_factor)
    rows = model_table(model, temperatures, found, attempts)
    if len(counts) < len(all_counts):
        hotter = fit(all_counts, radius_log_sd)
        rows = pd.concat([rows, model_table(hotter, temperatures, []).assign(origin="model_with_marked")])
    if args.neighbours:
        seen_counts = among_mean_occupancies(seen_counts, all_counts, model)
        interactions = read_interactions(args.interactions, sites)
        # A hair more than ν, lest rounding puts a rate without barrier above it.
        ceiling = 1.0001 * model.prefactor_per_s
        write_json(
            args.out_interactions, interactions | {"strength": model.strength, "attempt_frequency_per_s": ceiling}
        )
    write_rates(args.out, seen_counts.assign(origin="md"), rows)
    write_json(
        args.model,
        {
            "prefactor_per_s": model.prefactor_per_s,
            "site_energies_eV": model.site_energies_eV,
            "barrier_tops_eV": model.barrier_tops_eV,
            "barriers_eV": barrier_rows(model),
            "parameters": [
                "ln_prefactor",
                *model.orbits[1:],
                *(name for name, _, _ in model.classes),
                *([STRENGTH] if model.interacting else []),
            ],
            STRENGTH: model.strength,
            "covariance": model.covariance.tolist(),
            "core_radius_log_sd": radius_log_sd,
            "chi_squared": model.chi_squared,
            "degrees_of_freedom": model.degrees_of_freedom,
            "spread_of_members_eV": spread,
            "unresolved": [list(key) for key in fast],
            "assumed_from_one_jump": [list(key) for key in model.assumed],
            "barriers_held_at_zero": list(model.at_bound),
            "without_interactions": plain,
            "vineyard": vineyard,
            "neb": [as_row(barrier) for barrier in barriers],
            "neb_beside": [as_row(barrier) for barrier in found if barrier not in barriers],
        },
    )
    if spread is None:
        print("warning: what the potential's data leave open is not in the intervals: one member", file=sys.stderr)
    else:
        parts = ", ".join(f"{deviation:.3f} ({name})" for name, deviation in spread.items())
        print(f"the potential's data leave open, in eV: {parts}", file=sys.stderr)
    rows = [row for number in sorted(set(members["member"])) for row in of_one_member(fit, members, number)]
    with atomic_path(args.out_members) as temporary:
        pd.DataFrame(rows, columns=MEMBER_COLUMNS).to_csv(temporary, index=False, float_format="%.6g")
    if plain:
        print(
            f"strength of interactions {model.strength:.3f}, standard error {model.covariance[-1, -1] ** 0.5:.3f}; "
            f"without interactions chi-squared is {plain['chi_squared']:.1f}",
            file=sys.stderr,
        )
    print(f"chi-squared {model.chi_squared:.1f} for {model.degrees_of_freedom} degrees of freedom", file=sys.stderr)
    print(
        f"attempt frequency of the model {model.prefactor_per_s:.3g} 1/s, expected {args.prefactor:.3g}",
        file=sys.stderr,
    )
    for row in vineyard[-1:]:
        print(
            f"Vineyard's, of {row['paths']} directed paths: {row['geometric_mean_per_s']:.3g} 1/s, spread by a factor "
            f"{row['spread_factor']:.2g}; {row['within_factor']} within a factor {args.prefactor_factor:g} of the "
            "expected one",
            file=sys.stderr,
        )
    for name, start, end in fast:
        print(
            f"warning: class {name} from {start} to {end}: jumps end within a frame or two; no barrier", file=sys.stderr
        )
    for name in sorted({barrier.directed[0] for barrier in impossible}):
        print(f"warning: class {name}: MD saw jumps that the NEB barrier does not allow", file=sys.stderr)
    for key in sorted({key[0] for key in model.assumed}):
        print(f"warning: class {key} was never seen and has no NEB barrier; one jump assumed", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
