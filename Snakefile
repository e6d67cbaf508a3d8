"""In-silico solid-state NMR of an ion conductor: from DFT snapshots to spectra, echoes and diffusion.

Targets: all (default), figures (drawn from tables alone), page (agreement, figures and captions as one HTML file),
tables, uncertainty (committee spread against errors). Where the config has a section for them: dft (labels of further
snapshots), convergence (of labels), scale (DFT against measured couplings), label_crystals (its DFT), learn (active
learning), barriers (in growing supercells), hop_paths (DFT along them), curves (error against the number of snapshots,
tensor beside scalar models), silicates (the same on 29Si shieldings).
Configuration: config/README.md.
"""

from snakemake.utils import min_version

min_version("9.0")

# Snakemake's limit on jobs per second wakes its scheduler every second, once for each job that has ended so far, to look at
# all inputs of all ready jobs: a tenth of a study's CPU time. On one machine its cores are limit enough.
if workflow.scheduling_settings and workflow.local_exec:
    workflow.scheduling_settings.max_jobs_per_timespan = None

# A config of the user's own is not completed by that of the default study.
if "study" not in config and not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/md.smk"
include: "rules/kmc.smk"
include: "rules/nmr.smk"
include: "rules/export.smk"
include: "rules/figures.smk"
include: "rules/uncertainty.smk"


if "dft" in config:

    include: "rules/dft.smk"


if "reference_scale" in config:

    include: "rules/scale.smk"


if "active_learning" in config:

    include: "rules/learn.smk"


include: "rules/barriers.smk"
include: "rules/curves.smk"


report: "report/workflow.rst"


wildcard_constraints:
    temperature=r"[0-9.]+",
    member=r"[0-9]+",
    arrangement=r"[0-9]+",


onsuccess:
    shell("echo 'finished; what it made lies in results/, see README.md' >&2")


rule all:
    default_target: True
    input:
        expand("{root}/figures/{figure}.{suffix}", root=RESULTS, figure=FIGURES, suffix=["pdf", "png"]),
        f"{RESULTS}/tables/agreement.csv",
        f"{RESULTS}/tables/occupancies.csv",
        f"{RESULTS}/data/CARD.md",
        f"{RESULTS}/data/nmr_parameters.csv",
        expand(f"{RESULTS}/exports/sites_{{temperature}}K.{{suffix}}", temperature=COLD, suffix=EXPORTED),
        f"{RESULTS}/config.json",
        f"{RESULTS}/report.html",
        rules.evaluate_shieldings.output if SHIELDING_MODEL else [],
        [f"{RESULTS}/reference_scale/scale.png"] if "labelled" in config.get("reference_scale", {}) else [],


rule tables:
    input:
        expand("{root}/tables/{table}.csv", root=RESULTS, table=TABLES),


rule figures:
    input:
        figure_targets(),


rule uncertainty:
    input:
        rules.plot_uncertainty.output,


rule dft:
    input:
        rules.gather_labels.output if "dft" in config else without("dft"),


rule convergence:
    input:
        rules.convergence_table.output if "convergence" in config.get("dft", {}) else without("dft.convergence"),


rule scale:
    input:
        rules.plot_scale.output if "reference_scale" in config else without("reference_scale"),


rule barriers:
    input:
        rules.plot_barriers.output if "convergence" in config["neb"] else without("neb.convergence"),


rule hop_paths:
    input:
        rules.plot_hop_paths.output if "paths" in config["neb"] else without("neb.paths"),


rule curves:
    input:
        expand(
            f"{RESULTS}/{{name}}", name=["config.json", "curves/curves.pdf", "curves/curves.png", "curves/ratios.csv"]
        )
        if "learning_curves" in config
        else without("learning_curves"),


rule silicates:
    input:
        (
            [
                f"{RESULTS}/config.json",
                *expand(f"{RESULTS}/silicates/{{name}}", name=["curves.pdf", "curves.png", "ratios.csv"]),
                *expand(rules.silicate_point.output, split=["grouped", "random"], kind="tensor", size=0, repeat=0),
            ]
            if "silicates" in config
            else without("silicates")
        ),


rule learn:
    input:
        [rules.learnt_dataset.output, rules.plot_learning.output]
        if "active_learning" in config
        else without("active_learning"),
