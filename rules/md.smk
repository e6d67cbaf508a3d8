"""Sites of the crystal, molecular dynamics hot (rates) and cold (tensors), and the jumps in it."""


rule make_sites:
    input:
        code=code("make_sites"),
        crystal=config["material"]["structure"],
        runs=REFINING_RUNS,
    output:
        f"{RESULTS}/sites/sites.json",
    log:
        f"{RESULTS}/logs/make_sites.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_sites.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags("material", mobile="mobile"),
        cutoff=flags("sites", jump_cutoff="jump_cutoff_A", core_radius="core_radius_A"),
        runs=lambda wildcards, input: ["--trajectories", *input.runs] if input.runs else [],
    shell:
        "python {input.code[0]} {input.crystal} {params.flags} {params.cutoff} {params.runs} --out {output}"
        " > {log} 2>&1"


rule make_structure:
    input:
        code=code("make_structure"),
        crystal=config["material"]["structure"],
    output:
        f"{RESULTS}/md/start_{{arrangement}}.extxyz",
    log:
        f"{RESULTS}/logs/make_structure_{{arrangement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_structure_{{arrangement}}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        mobile=flags("material", mobile="mobile"),
        cell=flags("md", repeat="supercell", min_distance="min_distance_A"),
        seed=lambda wildcards: config["md"]["seed"] + int(wildcards.arrangement),
    shell:
        "python {input.code[0]} {input.crystal} {params.mobile} {params.cell} --seed {params.seed} --out {output}"
        " > {log} 2>&1"


# Each arrangement runs on another member of the committee: what members disagree on is in the counts.
rule run_md_rates:
    input:
        code=code("run_md"),
        start=f"{RESULTS}/md/start_{{arrangement}}.extxyz",
        potential=rules.train_potential.output.config,
        member=lambda wildcards: POTENTIAL_FILES[committee_member(wildcards.arrangement)],
    output:
        trajectory=f"{RESULTS}/md/rates_{{temperature}}K_{{arrangement}}.h5",
        checks=f"{RESULTS}/md/rates_{{temperature}}K_{{arrangement}}.json",
    log:
        f"{RESULTS}/logs/run_md_rates_{{temperature}}K_{{arrangement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_md_rates_{{temperature}}K_{{arrangement}}.tsv"
    priority: 20
    conda:
        POTENTIAL_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=600,
    params:
        folder=subpath(input.potential, parent=True),
        resume=lambda wildcards: resume("run_md_rates", wildcards.temperature, wildcards.arrangement),
        unit=host_unit(),
        common=flags("md", timestep_fs="timestep_fs", interval_fs="interval_fs", damping_ps="damping_ps"),
        length=flags("md/rates", equilibration_ps="equilibration_ps", production_ps="production_ps"),
        seed=lambda wildcards: config["md"]["seed"] + int(wildcards.arrangement),
        number=lambda wildcards: committee_member(wildcards.arrangement),
    shell:
        "python {input.code[0]} {input.start} --potential {params.folder} --temperature {wildcards.temperature}"
        " {params.length} {params.common} --seed {params.seed} --member {params.number} {params.unit}"
        " --resume {params.resume}"
        " --out {output.trajectory} --out-checks {output.checks} > {log} 2>&1"


if "eos" in config["potential"]:

    rule check_potential:
        input:
            code=code("check_potential"),
            potential=rules.train_potential.output.config,
            members=POTENTIAL_FILES,
            eos=config["potential"]["eos"],
            dataset=POTENTIAL_DATASET,
            trajectories=expand(rules.run_md_rates.output.trajectory, temperature=HOT, arrangement=HOT_RUNS),
            checks=expand(rules.run_md_rates.output.checks, temperature=HOT, arrangement=HOT_RUNS),
        output:
            eos=f"{RESULTS}/tables/eos.csv",
            metrics=f"{RESULTS}/tables/potential_metrics.csv",
            distances=f"{RESULTS}/tables/distances.csv",
            means=f"{RESULTS}/tables/distance_means.csv",
        log:
            f"{RESULTS}/logs/check_potential.log",
        benchmark:
            f"{RESULTS}/benchmarks/check_potential.tsv"
        conda:
            POTENTIAL_ENVIRONMENT
        threads: 1
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            folder=subpath(input.potential, parent=True),
            mobile=flags("material", mobile="mobile"),
        shell:
            "python {input.code[0]} {params.folder} --eos {input.eos} --dataset {input.dataset} {params.mobile}"
            " --trajectories {input.trajectories} --checks {input.checks} --out-eos {output.eos}"
            " --out-metrics {output.metrics} --out-distances {output.distances} --out-means {output.means} > {log} 2>&1"


rule run_md_tensors:
    input:
        code=code("run_md"),
        start=f"{RESULTS}/md/start_{{arrangement}}.extxyz",
        potential=rules.train_potential.output.config,
        member=POTENTIAL_FILES[0],
    output:
        trajectory=f"{RESULTS}/md/tensors_{{temperature}}K_{{arrangement}}.h5",
        checks=f"{RESULTS}/md/tensors_{{temperature}}K_{{arrangement}}.json",
    log:
        f"{RESULTS}/logs/run_md_tensors_{{temperature}}K_{{arrangement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_md_tensors_{{temperature}}K_{{arrangement}}.tsv"
    conda:
        POTENTIAL_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        folder=subpath(input.potential, parent=True),
        resume=lambda wildcards: resume("run_md_tensors", wildcards.temperature, wildcards.arrangement),
        unit=host_unit(),
        common=flags("md", timestep_fs="timestep_fs", interval_fs="interval_fs", damping_ps="damping_ps"),
        length=flags("md/tensors", equilibration_ps="equilibration_ps", production_ps="production_ps"),
        seed=lambda wildcards: config["md"]["seed"] + 100 * (1 + int(wildcards.arrangement)),
    shell:
        "python {input.code[0]} {input.start} --potential {params.folder} --temperature {wildcards.temperature}"
        " {params.length} {params.common} --seed {params.seed} {params.unit} --resume {params.resume}"
        " --out {output.trajectory} --out-checks {output.checks} > {log} 2>&1"


# Frames so close that vibrations are followed.
use rule run_md_tensors as run_md_vibrations with:
    output:
        trajectory=f"{RESULTS}/md/vibrations_{{temperature}}K_{{arrangement}}.h5",
        checks=f"{RESULTS}/md/vibrations_{{temperature}}K_{{arrangement}}.json",
    log:
        f"{RESULTS}/logs/run_md_vibrations_{{temperature}}K_{{arrangement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_md_vibrations_{{temperature}}K_{{arrangement}}.tsv"
    params:
        folder=subpath(input.potential, parent=True),
        resume=lambda wildcards: resume("run_md_vibrations", wildcards.temperature, wildcards.arrangement),
        unit=host_unit(),
        common=flags("md", timestep_fs="timestep_fs", damping_ps="damping_ps")
        + " "
        + flags("observables/vibrations", interval_fs="interval_fs"),
        length=flags("md/tensors", equilibration_ps="equilibration_ps")
        + " "
        + flags("observables/vibrations", production_ps="production_ps"),
        seed=lambda wildcards: config["md"]["seed"] + 100 * (1 + int(wildcards.arrangement)),


rule quench_trajectory:
    input:
        code=code("quench_trajectory"),
        trajectory=rules.run_md_tensors.output.trajectory,
        potential=rules.train_potential.output.config,
        member=POTENTIAL_FILES[0],
    output:
        f"{RESULTS}/md/still_{{temperature}}K_{{arrangement}}.h5",
    log:
        f"{RESULTS}/logs/quench_trajectory_{{temperature}}K_{{arrangement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/quench_trajectory_{{temperature}}K_{{arrangement}}.tsv"
    conda:
        POTENTIAL_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        folder=subpath(input.potential, parent=True),
        frames=flags("md/tensors", frames="frames"),
    shell:
        "python {input.code[0]} {input.trajectory} --potential {params.folder} {params.frames} --out {output}"
        " > {log} 2>&1"


rule fit_interactions:
    input:
        code=code("fit_interactions"),
        crystal=config["material"]["structure"],
        sites=rules.make_sites.output,
        potential=rules.train_potential.output.config,
        members=POTENTIAL_FILES,
    output:
        interactions=f"{RESULTS}/rates/fitted_interactions.json",
        energies=f"{RESULTS}/tables/interactions.csv",
        parity=f"{RESULTS}/tables/interaction_parity.csv",
        cutoffs=f"{RESULTS}/tables/interaction_cutoffs.csv",
    log:
        f"{RESULTS}/logs/fit_interactions.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_interactions.tsv"
    priority: 15
    conda:
        POTENTIAL_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        folder=subpath(input.potential, parent=True),
        state=resume("fit_interactions"),
        flags=flags(
            "interactions",
            cutoff="cutoff_A",
            arrangements="arrangements",
            temperature="temperature_K",
            members="members",
            max_force="max_force_eV_per_A",
            seed="seed",
        ),
        cell=flags("md", repeat="supercell"),
    shell:
        "python {input.code[0]} {input.crystal} --sites {input.sites} --potential {params.folder} {params.flags}"
        " {params.cell} --state {params.state} --out {output.interactions} --table {output.energies}"
        " --parity {output.parity} --cutoffs {output.cutoffs} > {log} 2>&1"


# What neighbours do to jumps is counted where the config has ions interact.
INTERACTIONS = [rules.fit_interactions.output.interactions] if INTERACT else []


rule analyse_jumps:
    input:
        code=code("analyse_jumps"),
        trajectories=expand(rules.run_md_rates.output.trajectory, temperature=HOT, arrangement=HOT_RUNS),
        sites=rules.make_sites.output,
        interactions=INTERACTIONS,
    output:
        **({"neighbours": f"{RESULTS}/rates/neighbours.csv"} if INTERACT else {}),
        counts=f"{RESULTS}/rates/counts.csv",
        members=f"{RESULTS}/rates/member_counts.csv",
        summary=f"{RESULTS}/rates/jumps.json",
        stays=f"{RESULTS}/tables/stays.csv",
        refills=f"{RESULTS}/tables/refills.csv",
        jumps=f"{RESULTS}/tables/jumps.csv",
    log:
        f"{RESULTS}/logs/analyse_jumps.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse_jumps.tsv"
    priority: 15
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        radius=flags("sites", core_radius="core_radius_A"),
        seed=flags("md", seed="seed"),
        neighbours=lambda wildcards, input, output: (
            f"--interactions {input.interactions} --neighbours {output.neighbours}" if INTERACT else ""
        ),
    shell:
        "python {input.code[0]} {input.trajectories} --sites {input.sites} {params.radius} {params.seed}"
        " {params.neighbours}"
        " --out {output.counts} --member-counts {output.members} --summary {output.summary} --stays {output.stays}"
        " --refills {output.refills} --jumps {output.jumps} > {log} 2>&1"
