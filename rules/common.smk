"""Configuration, names and helpers that all rules share. Standard library only: parsing stays light."""

import csv
import json
import os
import re
import shlex
import sys
from functools import reduce
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from insilico_nmr.config import load_and_validate
from insilico_nmr.errors import InputError
from insilico_nmr.registry import check_checksum, read_registry
from insilico_nmr.source_files import source_files
from insilico_nmr.xyz_frames import count_frames

LEAST_FRAMES = 20  # of a run of molecular dynamics, by which it can be judged

REGISTRY = str(Path(workflow.basedir) / "resources" / "registry.csv")


def check_isotope():
    """Stop before anything is computed where the isotope is not of the mobile element, or its spin not 3/2."""
    isotope, mobile = config["material"]["isotope"], config["material"]["mobile"]
    with open(Path(workflow.basedir) / "resources" / "nuclei.csv", newline="") as handle:
        known = {row["isotope"]: row for row in csv.DictReader(handle)}
    if isotope not in known:
        raise InputError(f"material.isotope is {isotope}; resources/nuclei.csv has {', '.join(known)}")
    if known[isotope]["element"] != mobile:
        raise InputError(f"material.isotope is {isotope}, which is no isotope of material.mobile, {mobile}")
    if float(known[isotope]["Q_mb"]) == 0:
        raise InputError(f"material.isotope is {isotope}, which has no quadrupole moment: no field gradient acts on it")
    if float(known[isotope]["spin"]) != 1.5:
        raise InputError(f"material.isotope is {isotope} of spin {known[isotope]['spin']}; a study needs spin 3/2")


def check_sections():
    """Stop where a section of the config needs another one, or says otherwise."""
    for name in ("reference_scale", "active_learning"):
        if name in config and "dft" not in config:
            raise InputError(f"{name} needs the section dft, which says how labels are made")
    if "paths" in config["neb"] and "labelled" not in config["neb"]["paths"] and "dft" not in config:
        raise InputError("neb.paths needs the key labelled, or the section dft, which says how labels are made")
    for name in ("neb", "interactions"):
        asked, present = config.get(name, {}).get("members", 0), config["potential"]["members"]
        if asked > present:
            raise InputError(f"{name}.members is {asked}; potential.members is {present}: no more can be asked")
    if "reference_shielding_ppm" in config["observables"] and not config["tensor_model"]["shieldings"]:
        raise InputError("observables.reference_shielding_ppm needs tensor_model.shieldings: there is nothing to refer")
    rates = config["md"]["rates"]
    if min(rates["temperatures_K"]) > rates["mark_above_K"]:
        raise InputError(
            f"md.rates.temperatures_K are all above md.rates.mark_above_K, {rates['mark_above_K']:g}: no run is left for "
            "the rate model"
        )
    runs = {f"md.{part}": config["md"] | config["md"][part] for part in ("rates", "tensors")}
    if "vibrations" in config["observables"]:
        runs["observables.vibrations"] = config["observables"]["vibrations"]
    for name, run in runs.items():
        if run["production_ps"] < LEAST_FRAMES * run["interval_fs"] / 1000:
            raise InputError(
                f"{name}.production_ps is {run['production_ps']:g} and frames are {run['interval_fs']:g} fs apart: "
                f"expected a run of {LEAST_FRAMES} frames or more"
            )
    if not any(config["observables"].get("direction", [1])):
        raise InputError("observables.direction is [0, 0, 0]: not a direction of the field")
    observed = config["observables"]["temperatures_K"]
    low, high = config["observables"]["arrhenius_range_K"]
    if not low < high:
        raise InputError(f"observables.arrhenius_range_K is {low:g}, {high:g}; expected the lower temperature first")
    sections = {name: config["observables"].get(name, {}) for name in ("exchange", "mas", "paths")}
    asked = [
        (name, "temperature_K", [sections[name]["temperature_K"]]) for name in ("exchange", "mas") if sections[name]
    ]
    asked.append(("paths", "temperatures_K", sections["paths"].get("temperatures_K", [])))
    for name, key, values in asked:
        for chosen in sorted(set(values) - set(observed)):
            raise InputError(
                f"observables.{name}.{key} is {chosen:g}; expected one of observables.temperatures_K, "
                f"{', '.join(f'{value:g}' for value in observed)}"
            )
    if "active_learning" in config and config["potential"]["kind"] != "uf3":
        raise InputError("active_learning needs potential.kind uf3, whose committee is one fit")
    if "dft" in config:
        frames = count_frames(config["dft"]["pool"])
        if frames == 0:
            raise InputError(f"dft.pool is {config['dft']['pool']}, which has no frames")
        chosen = config["dft"].get("convergence", {}).get("frame", 0)
        if chosen >= frames:
            raise InputError(f"dft.convergence.frame is {chosen}; dft.pool has {frames} frames, counted from 0")
    own = config.get("dft", {}).get("valence_electrons", {})
    for element, electrons in config.get("reference_scale", {}).get("valence_electrons", {}).items():
        if own.get(element, electrons) != electrons:
            raise InputError(f"reference_scale.valence_electrons.{element} is {electrons}, dft has {own[element]}")


def named_files():
    """Files that the config names: keys and paths."""
    keys = ["material.dataset", "material.structure", "material.literature"]
    keys += ["dft.pool", "reference_scale.sites", "reference_scale.labelled", "silicates.table"]
    keys += ["potential.eos", "potential.snapshots", "neb.paths.labelled"]
    keys += ["observables.measured_echoes", "observables.measured_spectra"]
    found = []
    for name in keys:
        *sections, key = name.split(".")
        paths = reduce(lambda part, section: part.get(section, {}), sections, config).get(key) or []
        found += [(name, path) for path in ([paths] if isinstance(paths, str) else paths)]
    return found


def check_files():
    """Stop where a file that the config names is not there: where results exist already, Snakemake would not ask for it."""
    for name, path in named_files():
        if not Path(path).is_file():
            raise InputError(
                f"{name} is {path}: no such file (paths are relative to the folder that Snakemake runs in)"
            )
        if not re.fullmatch(r"[\w@%+=:,./-]+", path):
            raise InputError(f"{name} is {path!r}: blanks and signs that mean something to a shell cannot be in a path")


def check_resources():
    """Stop where a file that ships and that the study reads is not the registered one."""
    folder = Path(workflow.basedir) / "resources"
    used = [folder / "nuclei.csv", *(folder / "published" / config["study"]).glob("*.csv")]
    used += [Path(path) for _, path in named_files()]
    registered = read_registry(REGISTRY)
    for path in used:
        if path.resolve() in registered:
            check_checksum(path, registered[path.resolve()], REGISTRY)


try:
    config = load_and_validate(config, Path(workflow.basedir) / "config" / "schema" / "config.schema.json")
    check_isotope()
    check_files()
    check_sections()
    check_resources()
except InputError as error:
    sys.exit(f"error: configuration: {error}")

RESULTS = f"results/{config['study']}"
PUBLISHED = f"resources/published/{config['study']}"
REPORT = os.path.relpath(Path(workflow.basedir) / "report")

# Ions that interact, or only exclude each other.
INTERACT = "interactions" in config

# The tables that each figure is drawn from.
FIGURE_TABLES = {
    "summary": ["parity_parameters", "spectra", "echo", "echo_fits", "diffusion", "linewidth", "relaxation"],
    "dataset": ["dataset_histograms"],
    "parity": ["tensor_metrics", "parity_components", "parity_parameters"],
    "couplings": ["couplings"],
    "rates": ["rates"],
    "histories": ["histories"],
    "echo": ["echo", "echo_fits", "correlation"],
    "spectra": ["spectra"],
    "relaxation": ["relaxation"],
    "linewidth": ["linewidth", "relaxation"],
    "diffusion": ["diffusion"],
}
if "vibrations" in config["observables"]:
    FIGURE_TABLES["relaxation"].append("vibrations")
if "eos" in config["potential"]:
    FIGURE_TABLES["potential"] = ["eos", "potential_metrics", "distances", "distance_means"]
if "exchange" in config["observables"]:
    FIGURE_TABLES["exchange"] = ["exchange"]
if "paths" in config["observables"]:
    FIGURE_TABLES["paths"] = ["path_echoes", "path_spectra", "spectra", "echo"]
if INTERACT:
    FIGURE_TABLES["interactions"] = [
        "interactions",
        "interaction_parity",
        "interaction_cutoffs",
        "pair_correlation",
    ]
if config["observables"]["tensors"] == "surroundings":
    FIGURE_TABLES["surroundings"] = ["correlation", "relaxation", "echo"]
if "mas" in config["observables"]:
    FIGURE_TABLES["mas"] = ["mas"]
FIGURES = list(FIGURE_TABLES)
TABLES = [*dict.fromkeys(name for names in FIGURE_TABLES.values() for name in names), "agreement"]


def numbers(values):
    """Temperatures as they stand in file names."""
    return [f"{value:g}" for value in values]


HOT = numbers(config["md"]["rates"]["temperatures_K"])
HOT_RUNS = range(config["md"]["rates"]["arrangements"])
# Whose ions sites move to: the runs of MD at its lowest temperature.
REFINING_RUNS = [f"{RESULTS}/md/rates_{min(HOT, key=float)}K_{run}.h5" for run in HOT_RUNS if config["sites"]["refine"]]
COLD = numbers(config["observables"]["temperatures_K"])
MEMBERS = range(config["tensor_model"]["members"])


def temperatures_of(observable):
    """Temperatures of an observable that is made at one or some, where the config has a section for it."""
    section = config["observables"].get(observable, {})
    return numbers(section.get("temperatures_K", [section["temperature_K"]] if "temperature_K" in section else []))


def code(script):
    """The script's file, first, and all others that it is made of."""
    files = source_files(Path(workflow.basedir) / "scripts" / f"{script}.py")
    return [os.path.relpath(path) for path in files]


def flags(section, **names):
    """Command-line flags from config keys: flags("potential", ridge="ridge", pair_cutoff="pair_cutoff_A")."""
    values = config
    for key in section.split("/"):
        values = values.get(key, {})
    words = []
    for flag, key in names.items():
        value = values.get(key)
        if value is None:
            continue
        value = value if isinstance(value, list) else [value]
        words.append(f"--{flag.replace('_', '-')} {' '.join(shlex.quote(str(item)) for item in value)}")
    return " ".join(words)


def start_model(wildcards):
    """Files of the member to go on from, where the config names a committee."""
    if "start_from" not in config["tensor_model"]:
        return []
    folder = f"{config['tensor_model']['start_from']}/member_{wildcards.member}"
    return [f"{folder}/config.json", f"{folder}/state.pt"]


def without(section):
    """Input of a target that needs a section which the config has not: says so where the target is asked for."""

    def refuse(wildcards):
        raise WorkflowError(f"this target needs the section {section} in the config; see config/README.md")

    return refuse


def concentration_flag():
    """How many ions there are, where the config says it."""
    found = config["kmc"].get("vacancies")
    return "" if found is None else f"--concentration {1 - found['per_site']:.12g}"


def vacancy_flags():
    """The same, and how well that is known."""
    known = flags("kmc/vacancies", vacancy_factor="within_factor")
    return f" {concentration_flag()} {known}" if known else ""


def kmc_flags(replicas, max_events=None):
    """Flags of run_kmc.py, with as many replicas as the config key named says; `max_events`: other than the config's."""
    max_events = max_events or config["kmc"]["max_events"]
    known = flags(
        "kmc", supercell="supercell", replicas=replicas, max_residence_times="max_residence_times", seed="seed"
    )
    return f"{known} --max-events {max_events}{vacancy_flags()}"


def shift_flags(wildcards):
    """Flags of a run with the rate model moved. Not of a rule's `input`: Snakemake does not see that such flags change."""
    moved = f"--shift {wildcards.shift} --shift-count {len(SHIFTS)} --shift-temperatures {' '.join(COLD)}"
    return f"--rate-model {rules.fit_rates.output.model} {moved}"


def resume(rule_name, *parts):
    """Folder with the state for going on after a kill; not a declared output, which Snakemake would delete."""
    return os.path.join(RESULTS, ".resume", rule_name, *map(str, parts))


def committee_member(arrangement):
    """Number of the potential's member that MD of a starting arrangement runs on."""
    return int(arrangement) % config["potential"]["members"]


def host_unit():
    """The run_md.py flag for host units, or nothing."""
    unit = config["material"].get("host_unit")
    if unit is None:
        return ""
    return f"--host-unit {unit['centre']} {unit['ligand']} {unit['number']} {unit['cutoff_A']}"


def paw_recipe(element, valence_electrons):
    """Flags of `gpaw dataset` that say how an element's PAW data set is made."""
    own = config["dft"].get("projectors", {}).get(element)
    if own:
        return f"-P {shlex.quote(own['states'])} -r {own['radius_Bohr']}"
    return f"-e {valence_electrons[element]}"


def picked_labels(checkpoints, loop, number):
    """Labels of the snapshots that a round of active learning picked, once it has; none where learning has ended."""
    picked = checkpoints.pick_snapshots.get(round=number).output[0]
    return [f"{loop}/{number}/labels/{frame}.extxyz" for frame in range(count_frames(picked))]


def last_round(checkpoints, loop, rounds):
    """The round after which nothing more is labelled."""
    for number in range(rounds):
        if not picked_labels(checkpoints, loop, number):
            return number
    return rounds


def figure_targets():
    """Figures whose tables are published, and those of this study where its tables are complete, or nothing ships."""
    published = f"results/published/{config['study']}"
    curves = [name for name in ("curves", "silicates") if Path(f"{PUBLISHED}/{name}_curves.csv").exists()]
    targets = expand("{root}/{curves}/curves.{suffix}", root=published, curves=curves, suffix=["pdf", "png"])
    ship = [name for name, tables in FIGURE_TABLES.items() if are_there(PUBLISHED, tables)]
    targets += expand("{root}/figures/{figure}.{suffix}", root=published, figure=ship, suffix=["pdf", "png"])
    own = FIGURES if are_there(f"{RESULTS}/tables", TABLES) or not targets else []
    return targets + expand("{root}/figures/{figure}.{suffix}", root=RESULTS, figure=own, suffix=["pdf", "png"])


def are_there(folder, tables):
    """Whether a folder has all of these tables."""
    return all(Path(f"{folder}/{table}.csv").exists() for table in tables)


def curve_points_table(wildcards):
    """Points of learning curves, under the root that their figure is asked for."""
    if wildcards.root == RESULTS:
        return f"{RESULTS}/{wildcards.curves}/curves.csv"
    return f"{PUBLISHED}/{wildcards.curves}_curves.csv"


def figure_tables(wildcards):
    """Tables of a figure, under the root that the figure is asked for."""
    published = wildcards.root == f"results/published/{config['study']}"
    folder = PUBLISHED if published else f"{wildcards.root}/tables"
    return [f"{folder}/{table}.csv" for table in FIGURE_TABLES[wildcards.figure]]


def page_figures():
    """Figures of the study's page, in order: each one's image, the template of its caption, and its tables."""
    figures = [
        [
            f"{RESULTS}/figures/{figure}.png",
            f"{REPORT}/figure.rst",
            *[f"{RESULTS}/tables/{name}.csv" for name in tables],
        ]
        for figure, tables in FIGURE_TABLES.items()
    ]
    if "labelled" in config.get("reference_scale", {}):
        folder = f"{RESULTS}/reference_scale"
        figures.append([f"{folder}/scale.png", f"{REPORT}/scale.rst", f"{folder}/table.csv"])
    if "labelled" in config["neb"].get("paths", {}):
        tables = [f"{RESULTS}/tables/{name}.csv" for name in ("hop_paths", "hop_path_barriers")]
        figures.append([f"{RESULTS}/figures/hop_paths.png", f"{REPORT}/hop_paths.rst", *tables])
    return figures


# Figures whose intervals can be chosen.
WITH_INTERVALS = ["summary", "couplings", "echo", "spectra", "relaxation", "linewidth", "mas", "paths", "surroundings"]
WITH_INTERVALS += ["diffusion", "exchange", "rates", "histories", "interactions"]


def mark():
    """Flag that says above which temperature MD is drawn and takes no part in the rate model.

    Runs of few atoms have other mean temperatures than were asked for: between two of these lies where they part.
    """
    asked, above_K = config["md"]["rates"]["temperatures_K"], config["md"]["rates"]["mark_above_K"]
    above = [T for T in asked if T > above_K]
    return f"--mark-above {(max(set(asked) - set(above)) + min(above)) / 2:g}" if above else ""


MARK = mark()

# Curves that the user measured, by the figure that they go into; decays with their fits.
MEASURED_ECHO_FITS = [f"{RESULTS}/tables/measured_echo_fits.csv"] if "measured_echoes" in config["observables"] else []
MEASURED_CURVES = {
    figure: [config["observables"][key], *fits]
    for figure, key, fits in [("echo", "measured_echoes", MEASURED_ECHO_FITS), ("spectra", "measured_spectra", [])]
    if key in config["observables"]
}

LITERATURE_FLAGS = {
    "rates": MARK,
    "diffusion": MARK,
    "summary": "",
    **dict.fromkeys(["couplings", "relaxation", "linewidth"], flags("material", isotope="isotope")),
}
