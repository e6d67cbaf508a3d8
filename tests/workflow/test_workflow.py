"""The workflow as a user meets it: planning, configuration errors, provenance, published figures."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from describe_config import readme
from insilico_nmr.dataset import read_frames, write_frames
from insilico_nmr.files import read_json
from insilico_nmr.registry import check_registered, read_registry

ROOT = Path(__file__).parents[2]


def snakemake(
    *arguments: str, folder: Path = ROOT, snakefile: Path = ROOT / "Snakefile", path: str = os.environ["PATH"]
) -> subprocess.CompletedProcess:
    """Run Snakemake with this interpreter's environment on the PATH."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}"}
    command = [sys.executable, "-m", "snakemake", "-s", str(snakefile), "-d", str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def workspace(folder: Path) -> Path:
    """A folder with the repository's resources in place, so that nothing is written into the repository."""
    for name in ("resources", "config", "scripts", "rules", "envs", "report"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def study(tmp_path):
    workspace(tmp_path)
    return tmp_path, yaml.safe_load((ROOT / "config" / "test.yaml").read_text())


def plan(folder: Path, config: dict, *arguments: str) -> subprocess.CompletedProcess:
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(config))
    return snakemake("-n", "--cores", "1", *arguments, "--configfile", str(path), folder=folder)


def test_all_studies_plan(study):
    folder, _ = study
    for path in sorted((ROOT / "config").glob("*.yaml")):
        done = snakemake("-n", "--cores", "2", "--configfile", str(path), folder=folder)
        assert done.returncode == 0, done.stderr
        assert "run_kmc" in done.stdout + done.stderr


def test_md_up_to_the_mark_is_told_from_md_above_whatever_its_mean_temperature(study):
    folder, config = study
    config["md"]["rates"] |= {"temperatures_K": [500, 700, 720], "mark_above_K": 700}
    assert "--mark-above 710 " in plan(folder, config, "-p").stdout


def test_slurm_profile_plans_with_memory_and_runtime_on_every_rule(study):
    folder, config = study
    done = plan(folder, config, "--profile", str(ROOT / "profiles" / "slurm"))
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    jobs = [block for block in text.split("\nrule ")[1:] if "output:" in block]
    assert len(jobs) > 10
    for block in jobs:
        assert "mem_mb=" in block, block
        assert "runtime=" in block, block


DFT = {"pool": "resources/dft/li3ps4_pool.extxyz", "valence_electrons": {"Li": 3}}
CONVERGENCE = {"frame": 999, "cutoffs_eV": [300, 400], "k_lengths_A": [5, 10]}
SCALE = {"compounds": ["A"], "valence_electrons": {"Li": 1}}
LEARN = {"validation_groups": ["a"], "supercell": [1, 1, 1], "temperatures_K": [300], "seed": 1}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c["kmc"].update(replicsa=3), "kmc.replicsa"),
        (lambda c: c.pop("study"), "study"),
        (lambda c: c.update(study=".."), "study"),
        (lambda c: c["kmc"].update(seed=-5), "kmc.seed"),
        (lambda c: c["md"].update(interval_fs=2000), "md.rates.production_ps is 6 and frames are 2000 fs apart"),
        (lambda c: c["neb"].update(members=4), "neb.members is 4; potential.members is 3"),
        (
            lambda c: c.update(interactions={"members": 4, "seed": 1, "cutoff_A": 3}),
            "interactions.members is 4; potential.members",
        ),
        (lambda c: c["neb"].update(paths={"supercell": [1, 1, 1], "number": 1}), "neb.paths needs the key labelled"),
        (lambda c: c["observables"].update(reference_shielding_ppm=90), "needs tensor_model.shieldings"),
        (lambda c: c["observables"].update(paths={"temperatures_K": [123]}), "observables.paths.temperatures_K is 123"),
        (lambda c: c.update(dft=DFT | {"valence_electrons": {}}), "dft.valence_electrons"),
        (lambda c: c["observables"].update(temperatures_K=[300, 0]), "observables.temperatures_K"),
        (
            lambda c: c["material"].update(dataset="data/mine.extxyz"),
            "material.dataset is data/mine.extxyz: no such file",
        ),
        (lambda c: c.update(dft=DFT | {"pool": "data/pool.extxyz"}), "dft.pool is data/pool.extxyz: no such file"),
        (
            lambda c: c.update(dft=DFT | {"pool": "config/test.yaml"}),
            "config/test.yaml, line 1: expected the number of atoms of frame 0",
        ),
        (lambda c: c.update(dft=DFT | {"convergence": CONVERGENCE}), "dft.convergence.frame is 999; dft.pool has"),
        (lambda c: c.update(reference_scale=SCALE), "reference_scale needs the section dft"),
        (lambda c: c.update(reference_scale=SCALE, dft=DFT), "reference_scale.valence_electrons.Li is 1, dft has 3"),
        (lambda c: c.update(active_learning=LEARN, dft=DFT, potential={"kind": "painn", "seed": 1}), "kind uf3"),
        (lambda c: c["md"]["rates"].update(mark_above_K=300), "are all above md.rates.mark_above_K, 300"),
        (lambda c: c["observables"].update(arrhenius_range_K=[400, 200]), "observables.arrhenius_range_K is 400, 200"),
        (lambda c: c["observables"].update(direction=[0, 0, 0]), "observables.direction is [0, 0, 0]"),
        (lambda c: c["observables"].update(evolution_times_us=[5, 5]), "observables.evolution_times_us"),
        (lambda c: c["material"].update(isotope="31P"), "no isotope of material.mobile"),
        (lambda c: c["material"].update(isotope="6Li"), "spin 3/2"),
        (lambda c: c["material"].update(isotope="19F", mobile="F"), "no quadrupole moment"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(study, change, expected):
    folder, config = study
    change(config)
    done = plan(folder, config)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert expected in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("target", "rules"),
    [
        ("dft", ["make_paw_dataset", "label_snapshot", "gather_labels"]),
        ("convergence", ["label_for_convergence", "convergence_table"]),
        ("label_crystals", ["prepare_crystals", "label_crystal"]),
        ("scale", ["label_crystals", "reference_scale", "plot_scale"]),
        ("learn", ["split_dataset", "learn_potential", "learn_tensors", "explore", "pick_snapshots", "plot_learning"]),
        ("curves", ["curve_point", "curve_table", "curve_ratios", "plot_curves"]),
        ("silicates", ["read_silicates", "silicate_point", "curve_ratios", "plot_curves"]),
        ("uncertainty", ["train_without_fold", "judge_uncertainty", "plot_uncertainty"]),
        ("barriers", ["converge_barriers", "plot_barriers"]),
        ("hop_paths", ["export_hop_paths", "label_hop_path", "compare_hop_paths", "plot_hop_paths"]),
    ],
)
def test_what_is_no_part_of_the_study_plans(study, target, rules):
    folder, config = study
    convergence = {"frame": 0, "cutoffs_eV": [300, 400], "k_lengths_A": [5, 10]}
    config |= {"dft": DFT | {"convergence": convergence}, "reference_scale": SCALE | {"valence_electrons": {"Li": 3}}}
    config["active_learning"] = LEARN
    config["learning_curves"] = {"sizes": [8], "repeats": 2}
    config["neb"] |= {"convergence": {"arrangements": 1, "supercells": [[1, 1, 1], [1, 1, 2]]}}
    config["neb"] |= {"paths": {"supercell": [1, 1, 1], "number": 1}}
    (folder / "si29.json").write_text("{}")
    config["silicates"] = {"table": "si29.json"}
    done = plan(folder, config, target)
    assert done.returncode == 0, done.stderr
    for name in rules:
        assert re.search(rf"(rule|checkpoint) {name}:", done.stdout + done.stderr), name


@pytest.mark.parametrize("section", ["dft", "reference_scale", "active_learning", "learning_curves", "silicates"])
def test_a_target_without_its_section_names_the_section(study, section):
    folder, config = study
    targets = {"reference_scale": "scale", "active_learning": "learn", "learning_curves": "curves"}
    target = targets.get(section, section)
    config.pop(section, None)
    done = plan(folder, config, target)
    assert done.returncode != 0
    assert f"this target needs the section {section} in the config" in done.stdout + done.stderr


def test_a_pool_that_grows_keeps_its_labels(study):
    folder, config = study
    labels = folder / "results" / config["study"] / "dft"
    pool = read_frames(ROOT / DFT["pool"])
    write_frames(folder / "pool.extxyz", pool[:2])
    config["dft"] = DFT | {"pool": "pool.extxyz"}
    for path in (labels / "paw" / "Li.e.PBE", labels / "frames" / "0.extxyz", labels / "frames" / "1.extxyz"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made up for the plan\n")
    time.sleep(1.1)  # a file system may count whole seconds
    write_frames(folder / "pool.extxyz", pool[:3])
    done = plan(folder, config, "dft", "--rerun-triggers", "mtime")
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert re.search(r"label_snapshot\s+1\b", text), text


def test_without_gpaw_the_rule_says_how_to_get_it(study):
    folder, config = study
    tools = folder / "tools"
    tools.mkdir()
    for directory in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in directory.iterdir() if directory.is_dir() else ():
            if not program.name.startswith("gpaw") and not (tools / program.name).exists():
                (tools / program.name).symlink_to(program)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(config | {"dft": DFT}))
    arguments = ("dft", "--cores", "1", "--configfile", str(path))
    done = snakemake(*arguments, folder=folder, path=str(tools))
    assert done.returncode != 0
    assert "this rule needs GPAW, which is not installed: apt-get install gpaw" in done.stdout + done.stderr


def test_a_name_with_a_blank_stays_one_word(study):
    folder, config = study
    config["material"]["phase"] = "high T"
    done = plan(folder, config, "--printshellcmds")
    assert done.returncode == 0, done.stderr
    assert "--phase 'high T'" in done.stdout + done.stderr


def test_a_changed_resource_stops_the_plan(tmp_path):
    for name in ("resources", "config", "scripts", "rules", "envs", "report"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    table = tmp_path / "resources" / "experiment" / "literature.csv"
    table.write_text(table.read_text().replace("0.24", "0.42", 1))
    done = snakemake("-n", "--cores", "1", folder=tmp_path, snakefile=tmp_path / "Snakefile")
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "literature.csv: checksum differs" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(("name", "more"), [("exchange", {"mixing_times_s": [0.1]}), ("mas", {"spin_rates_kHz": [10]})])
def test_spectra_at_a_temperature_that_is_not_simulated_are_refused(study, name, more):
    folder, config = study
    config["observables"][name] = {"temperature_K": 999.0} | more
    done = plan(folder, config)
    assert done.returncode != 0
    assert f"observables.{name}.temperature_K is 999; expected one of" in done.stdout + done.stderr


def test_a_misspelt_key_is_met_with_the_nearest_one(study):
    folder, config = study
    config["kmc"]["replicsa"] = 3
    done = plan(folder, config)
    assert "replicas" in done.stdout + done.stderr


def test_published_figures_plan_without_any_rule_upstream(study):
    folder, _ = study
    tables = ROOT / "resources" / "published" / "li3ps4_beta"
    assert tables.is_dir()
    done = snakemake("figures", "-n", "--cores", "1", folder=folder)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert "rule figure:" in text
    for upstream in ("train_tensors", "run_md", "run_kmc", "ingest"):
        assert f"rule {upstream}" not in text


def test_registered_resources_have_their_checksums():
    registry = ROOT / "resources" / "registry.csv"
    listed = read_registry(registry)
    for path in listed:
        check_registered(path, registry)
    shipped = [p for p in (ROOT / "resources").rglob("*") if p.suffix in (".extxyz", ".csv", ".cif")]
    unlisted = {p.resolve() for p in shipped} - {Path(p).resolve() for p in listed} - {registry.resolve()}
    assert not unlisted, unlisted


def test_every_key_of_the_configuration_is_documented():
    before = (ROOT / "config" / "README.md").read_text()
    schema = read_json(ROOT / "config" / "schema" / "config.schema.json")
    assert readme(schema) == before, "run scripts/describe_config.py"


def test_no_code_names_a_material():
    names = {"Li3PS4", "Li3N", "Li4Ti5O12", "PS4"}
    for path in [*ROOT.glob("rules/*.smk"), ROOT / "Snakefile", *ROOT.glob("scripts/**/*.py")]:
        text = path.read_text()
        assert not [name for name in names if name in text], path


def test_each_rule_names_what_a_scheduler_needs():
    for path in ROOT.glob("rules/*.smk"):
        _, *rules = re.split(r"\n *(rule|checkpoint|use rule) ", path.read_text())
        assert rules or path.name == "common.smk"
        for kind, rule in zip(rules[::2], rules[1::2], strict=True):
            if "localrule: True" in rule:
                continue
            # A rule that uses another has what it does not name; of other outputs, its log has to be another too.
            needed = ["log:", "benchmark:"] if kind != "use rule" or "output:" in rule else []
            if kind != "use rule":
                needed += ["threads:", "mem_mb=", "runtime=", "conda:"]
            for directive in needed:
                assert directive in rule, f"{path.name}: {kind} {rule.split(':')[0]} lacks {directive}"


def test_no_setting_hides_in_a_parameter_that_depends_on_inputs():
    """Of such parameters Snakemake keeps no record: a changed setting in one would run nothing again."""
    seen = 0
    for path in sorted((ROOT / "rules").glob("*.smk")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if "lambda wildcards, input" in line:
                depth = len(line) - len(line.lstrip())
                after = lines[number + 1 :]
                end = next(n for n, other in enumerate(after) if len(other) - len(other.lstrip()) <= depth)
                assert "flags(" not in "".join([line, *after[:end]]), f"{path.name}, line {number + 1}"
                seen += 1
    assert seen > 5
